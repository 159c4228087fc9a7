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
            _ => return Err(CommandError::Unknown),
        };
        if rest.is_empty() { Ok(command) } else { Err(CommandError::Length) }
    }
}
