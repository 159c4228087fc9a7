//! Requests.
#![forbid(unsafe_code)]

use crate::filter::image;
use crate::telemetry::HistogramKind;

/// Version of the command format (`WEIR_ABI_VERSION`).
pub const ABI_VERSION: u32 = 1;
/// Bytes of `weir_cmd`, which every request starts with.
pub const COMMAND_LEN: usize = 16;
/// Longest request, bytes.
pub const REQUEST_MAX: usize = COMMAND_LEN + image::IMAGE_MAX;
/// [`Command::Counters`] of all queues together (`WEIR_ALL_QUEUES`).
pub const ALL_QUEUES: u64 = 0xffff_ffff;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// State and version.
    Info,
    /// Counters of one queue, or of all.
    Counters {
        /// `None` = the sum.
        queue: Option<u64>,
    },
    /// Replaces the ruleset.
    RulesetLoad {
        /// The image, not looked at yet.
        image: &'a [u8],
    },
    /// Removes the ruleset.
    RulesetClear,
    /// Counters of rules.
    RuleCounters {
        /// The first rule of the reply.
        first: u64,
    },
    /// Changes the mode.
    Mode {
        /// `WEIR_MODE_*`.
        mode: u64,
    },
    /// A histogram, summed over the queues.
    Histogram {
        /// Which.
        kind: HistogramKind,
    },
    /// Takes events out.
    Events,
    /// Normal form of rules.
    RulesetText {
        /// The first rule of the reply.
        first: u64,
    },
    /// Tells the interface's addresses.
    Addresses {
        /// `weir_address[]`.
        list: &'a [u8],
    },
    /// Names and sizes of tables.
    Tables {
        /// The first table of the reply.
        first: u64,
    },
    /// A table's contents.
    TableShow {
        /// The first entry of the reply.
        first: u64,
        /// Its path.
        path: &'a str,
    },
    /// Changes a table's contents.
    TableChange {
        /// How.
        change: TableChange,
        /// Its path.
        path: &'a str,
        /// `weir_table_entry[]`.
        entries: &'a [u8],
    },
    /// Asks which addresses are in a table.
    TableTest {
        /// Its path.
        path: &'a str,
        /// `weir_table_entry[]`.
        entries: &'a [u8],
    },
    /// Asks the shards to list their states.
    StatesList,
    /// Takes listed states.
    States,
    /// Kills states.
    StatesKill {
        /// `weir_state_filter`.
        filter: &'a [u8],
    },
    /// Numbers of states and limits.
    Status,
    /// Replaces an anchor's rules.
    AnchorLoad {
        /// Its path.
        path: &'a str,
        /// The image, whose root becomes the anchor.
        image: &'a [u8],
    },
    /// Empties an anchor.
    AnchorFlush {
        /// Its path.
        path: &'a str,
    },
    /// Forgets tracked sources.
    SourcesKill {
        /// `weir_source_filter`, or nothing: all.
        filter: &'a [u8],
    },
    /// Tracked sources.
    Sources {
        /// Where to go on: 0, or the last entry's `next`.
        first: u64,
    },
    /// Who watches, and what that came to.
    Taps,
    /// The driver's clock.
    Clock,
    /// What moving frames cost the adapter.
    NicStats,
}

/// What to do with a table's entries (`WEIR_TABLE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableChange {
    /// Adds them.
    Add,
    /// Takes them out.
    Delete,
    /// They become the contents.
    Replace,
}

/// Why a request is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Shorter than a command, longer than [`REQUEST_MAX`], or with bytes behind a command that takes none.
    Length,
    /// Another version.
    Version,
    /// No such command.
    Unknown,
    /// The argument is outside its range.
    Argument,
}

/// A path behind its length (32 bits), and what follows.
fn named(rest: &[u8]) -> Result<(&str, &[u8]), CommandError> {
    let (len, rest) = rest.split_first_chunk::<4>().ok_or(CommandError::Length)?;
    let len = usize::try_from(u32::from_ne_bytes(*len)).map_err(|_| CommandError::Length)?;
    let (path, rest) = rest.split_at_checked(len).ok_or(CommandError::Length)?;
    Ok((core::str::from_utf8(path).map_err(|_| CommandError::Argument)?, rest))
}

impl<'a> Command<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(request: &'a [u8]) -> Result<Self, CommandError> {
        if request.len() > REQUEST_MAX {
            return Err(CommandError::Length);
        }
        let (head, rest) = request.split_first_chunk::<COMMAND_LEN>().ok_or(CommandError::Length)?;
        let [v0, v1, v2, v3, c0, c1, c2, c3, arg @ ..] = *head;
        if u32::from_ne_bytes([v0, v1, v2, v3]) != ABI_VERSION {
            return Err(CommandError::Version);
        }
        let arg = u64::from_ne_bytes(arg);
        let command = match u32::from_ne_bytes([c0, c1, c2, c3]) {
            1 => Self::Info,
            2 => Self::Counters { queue: (arg != ALL_QUEUES).then_some(arg) },
            3 => return Ok(Self::RulesetLoad { image: rest }),
            4 => Self::RulesetClear,
            5 => Self::RuleCounters { first: arg },
            6 => Self::Mode { mode: arg },
            7 => {
                let kind = u32::try_from(arg).ok().and_then(HistogramKind::from_number);
                Self::Histogram { kind: kind.ok_or(CommandError::Argument)? }
            }
            8 => Self::Events,
            9 => Self::RulesetText { first: arg },
            10 => return Ok(Self::Addresses { list: rest }),
            11 => Self::Tables { first: arg },
            12 => {
                let (path, rest) = named(rest)?;
                return if rest.is_empty() {
                    Ok(Self::TableShow { first: arg, path })
                } else {
                    Err(CommandError::Length)
                };
            }
            13 => {
                let (path, entries) = named(rest)?;
                let change = match arg {
                    0 => TableChange::Add,
                    1 => TableChange::Delete,
                    2 => TableChange::Replace,
                    _ => return Err(CommandError::Argument),
                };
                return Ok(Self::TableChange { change, path, entries });
            }
            14 => {
                let (path, entries) = named(rest)?;
                return Ok(Self::TableTest { path, entries });
            }
            15 => Self::StatesList,
            16 => Self::States,
            17 => return Ok(Self::StatesKill { filter: rest }),
            18 => Self::Status,
            19 => {
                let (path, image) = named(rest)?;
                return Ok(Self::AnchorLoad { path, image });
            }
            20 => {
                let (path, rest) = named(rest)?;
                return if rest.is_empty() { Ok(Self::AnchorFlush { path }) } else { Err(CommandError::Length) };
            }
            21 => return Ok(Self::SourcesKill { filter: rest }),
            22 => Self::Sources { first: arg },
            40 => Self::Taps,
            41 => Self::Clock,
            60 => Self::NicStats,
            _ => return Err(CommandError::Unknown),
        };
        if rest.is_empty() { Ok(command) } else { Err(CommandError::Length) }
    }
}
