//! Rules: their model, the binary image they arrive in, and what decides about a frame.
//!
//! Text never gets here. `weir-pf` compiles pf.conf to a [`Ruleset`] and [`image::encode`]s it; the driver
//! [`image::parse`]s the image, which validates it completely, makes a [`Compiled`] ruleset of it and hands that to
//! the shards through [`epoch`].
#![forbid(unsafe_code)]

mod action;
mod bound;
pub mod classify;
mod compiled;
mod contents;
pub mod epoch;
mod foresee;
mod guide;
pub mod image;
mod linear;
mod merge;
mod rule;
mod ruleset;
mod table;

pub use action::{
    Answer, FragmentPolicy, Overload, Pipe, Pool, PoolKind, Rate, Scrub, SourceTrack, StateMode, StateOptions,
};
pub use bound::{Bound, Installed, InterfaceAddress, Place, RuleCounters, RuleLife, Tally, table_path};
pub use compiled::Compiled;
pub use contents::TableContents;
pub use foresee::Foreseen;
pub use linear::{Mismatch, Subject, Verdict, Witness, has_dangerous_options, malformed};
pub use merge::replace_anchor;
pub use rule::{
    Action, AddrKind, AddrMatch, Call, Direction, Endpoint, EtherMatch, Family, IcmpMatch, MacMatch, PortMatch, PortOp,
    Rule, RuleFlags, TcpFlagsMatch,
};
pub use ruleset::{Anchor, Dynamic, DynamicKind, Limits, List, Options, Ruleset, Table, TableEntry, Timeout, Timeouts};
pub use table::LookupTable;

#[cfg(test)]
mod tests;
