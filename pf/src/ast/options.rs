//! What follows `from ... to ...`.

use super::{Interface, LimiterUse, PortOp};
use crate::source::{Span, Spanned};

/// `user` and `group` tests: operator and ids; `u32::MAX` is `unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMatch {
    /// The operator.
    pub op: PortOp,
    /// First operand.
    pub a: u32,
    /// Second operand.
    pub b: u32,
}

/// ICMP type and code, and the protocol the keyword stood for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType {
    /// 1 or 58.
    pub protocol: u8,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: Option<u8>,
}

/// `no|keep|modulate|synproxy state`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// `no state`
    No,
    /// `keep state`
    Keep,
    /// `modulate state`
    Modulate,
    /// `synproxy state`
    Synproxy,
}

/// One of the options in parentheses after `state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateOption {
    /// `max n`
    Max(u32),
    /// `no-sync`
    NoSync,
    /// `source-track`; `Some(true)` = `rule`, `Some(false)` = `global`.
    SourceTrack(Option<bool>),
    /// `max-src-states n`
    MaxSrcStates(u32),
    /// `max-src-conn n`
    MaxSrcConn(u32),
    /// `max-src-conn-rate n/seconds`
    MaxSrcConnRate(u32, u32),
    /// `max-src-nodes n`
    MaxSrcNodes(u32),
    /// `overload <table> [flush [global]]`
    Overload {
        /// The table.
        table: String,
        /// `flush`
        flush: bool,
        /// `global`
        global: bool,
    },
    /// `if-bound` (true) or `floating`
    Bound(bool),
    /// `sloppy`
    Sloppy,
    /// `pflow`
    Pflow,
    /// A timeout and its seconds.
    Timeout(&'static str, u32),
}

/// `dnpipe`, `dnqueue`, macOS' `pipe`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipe {
    /// A queue, not a pipe.
    pub queue: bool,
    /// The number.
    pub number: u16,
    /// The number for the other direction; 0 = none.
    pub reverse: u16,
}

/// What follows `from ... to ...`.
#[derive(Clone, Debug, Default)]
pub struct FilterOptions {
    /// `user`
    pub user: Vec<Spanned<IdMatch>>,
    /// `group`
    pub group: Vec<Spanned<IdMatch>>,
    /// `flags set/mask`; `(0, 0)` = `any`.
    pub flags: Option<Spanned<(u8, u8)>>,
    /// `icmp-type`, `icmp6-type`
    pub icmp: Vec<Spanned<IcmpType>>,
    /// `tos`
    pub tos: Option<Spanned<u8>>,
    /// `keep state` and its kin.
    pub state: Option<Spanned<StateKind>>,
    /// Options in parentheses.
    pub state_options: Vec<Spanned<StateOption>>,
    /// `state limiter` and `source limiter`
    pub limiters: Vec<Spanned<LimiterUse>>,
    /// `fragment`
    pub fragment: Option<Span>,
    /// `allow-opts`
    pub allow_opts: Option<Span>,
    /// `label`s
    pub labels: Vec<Spanned<String>>,
    /// `ridentifier`
    pub ridentifier: Option<u32>,
    /// `queue name` or `queue (name, name)`
    pub queue: Option<Spanned<(String, Option<String>)>>,
    /// `dnpipe` and its kin.
    pub pipe: Option<Spanned<Pipe>>,
    /// `tag`
    pub tag: Option<Spanned<String>>,
    /// `[!] tagged`
    pub tagged: Option<Spanned<(bool, String)>>,
    /// `probability`, as pf stores it: of 2^32.
    pub probability: Option<Spanned<u32>>,
    /// `rtable`
    pub rtable: Option<Spanned<u32>>,
    /// `prio`
    pub prio: Option<Spanned<u8>>,
    /// `set prio`
    pub set_prio: Option<Spanned<(u8, u8)>>,
    /// `divert-to port`
    pub divert: Option<Spanned<u16>>,
    /// `once`
    pub once: Option<Span>,
    /// `received-on interface`
    pub received_on: Option<Interface>,
    /// `max-pkt-rate n/seconds`
    pub max_pkt_rate: Option<Spanned<(u32, u32)>>,
    /// `max-pkt-size bytes`
    pub max_pkt_size: Option<Spanned<u16>>,
    /// `scrub (...)` and the options of a `scrub` rule.
    pub scrub: ScrubOptions,
}

/// Normalisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubOptions {
    /// The place of `scrub (` or of the first option.
    pub span: Option<Span>,
    /// `no-df`
    pub no_df: bool,
    /// `random-id`
    pub random_id: bool,
    /// `min-ttl`
    pub min_ttl: Option<u8>,
    /// `max-mss`
    pub max_mss: Option<u16>,
    /// `set-tos`
    pub set_tos: Option<u8>,
    /// `reassemble tcp`
    pub reassemble_tcp: bool,
    /// `fragment ...`
    pub fragment: Option<FragmentPolicy>,
}

/// `fragment reassemble|crop|drop-ovl|no reassemble`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentPolicy {
    /// `reassemble`
    Reassemble,
    /// `no reassemble`
    NoReassemble,
    /// `crop`
    Crop,
    /// `drop-ovl`
    DropOverlap,
}
