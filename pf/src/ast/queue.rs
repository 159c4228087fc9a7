//! Queues of the systems' own schedulers: ALTQ's `altq` and `queue`, OpenBSD's later `queue`; and limiters.

use super::Interface;
use crate::source::{Span, Spanned};

/// A bandwidth, of a link or as a part of the parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bandwidth {
    /// Bits a second.
    Bits(u64),
    /// Per cent of the parent's.
    Percent(u8),
}

/// ALTQ's schedulers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulerKind {
    /// `cbq`
    Cbq,
    /// `priq`
    Priq,
    /// `hfsc`
    Hfsc,
    /// `fairq`
    Fairq,
    /// `codel`
    Codel,
}

/// A service curve: `m1` for the first `d` milliseconds, then `m2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Curve {
    /// Bandwidth at first.
    pub m1: Option<Bandwidth>,
    /// Milliseconds.
    pub d: u32,
    /// Bandwidth after that.
    pub m2: Bandwidth,
}

/// A scheduler and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduler {
    /// Which.
    pub kind: SchedulerKind,
    /// `red`, `ecn` and the like, as written.
    pub flags: Vec<String>,
    /// `realtime`
    pub realtime: Option<Curve>,
    /// `linkshare`
    pub linkshare: Option<Curve>,
    /// `upperlimit`
    pub upperlimit: Option<Curve>,
    /// CoDel's `target`, in milliseconds; 0 = none.
    pub target: u32,
    /// CoDel's `interval`, in milliseconds; 0 = none.
    pub interval: u32,
}

/// `altq on ...` and `queue name ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The whole statement.
    pub span: Span,
    /// The queue's name; `None` for `altq`.
    pub name: Option<Spanned<String>>,
    /// `on ...`
    pub interfaces: Vec<Interface>,
    /// `bandwidth`
    pub bandwidth: Option<Bandwidth>,
    /// `priority`
    pub priority: Option<Spanned<u8>>,
    /// `qlimit`
    pub qlimit: Option<u16>,
    /// `tbrsize`
    pub tbrsize: Option<Spanned<u32>>,
    /// The scheduler.
    pub scheduler: Option<Spanned<Scheduler>>,
    /// Child queues.
    pub children: Vec<Spanned<String>>,
    /// What only OpenBSD's later queues have.
    pub newer: Option<NewerQueue>,
}

/// The parts of OpenBSD's queues that ALTQ's do not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewerQueue {
    /// `parent`
    pub parent: Option<String>,
    /// `burst ... for ...` of the bandwidth.
    pub burst: Option<(Bandwidth, u32)>,
    /// `min`
    pub min: Option<Curve>,
    /// `max`
    pub max: Option<Curve>,
    /// `default`
    pub default: bool,
    /// `flows`; 0 = none.
    pub flows: u32,
    /// `quantum`; 0 = none.
    pub quantum: u32,
}

/// `state limiter ...` and `source limiter ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limiter {
    /// The whole statement.
    pub span: Span,
    /// Of sources, not of states.
    pub source: bool,
    /// The name rules call it by.
    pub name: Spanned<String>,
    /// `id`
    pub id: u32,
    /// `limit`: states, of a source limiter for each source.
    pub limit: u32,
    /// `entries`: sources.
    pub entries: u32,
    /// `rate n/seconds`
    pub rate: Option<(u32, u32)>,
    /// `table <name> above n below n`
    pub table: Option<(String, u32, u32)>,
    /// `inet mask`
    pub mask4: Option<u8>,
    /// `inet6 mask`
    pub mask6: Option<u8>,
}

/// How a rule names a limiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimiterName {
    /// By its name.
    Name(String),
    /// `id n`, as it is printed.
    Id(u32),
}

/// A limiter of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimiterUse {
    /// Of sources, not of states.
    pub source: bool,
    /// Which.
    pub name: LimiterName,
    /// What is over the limit is not blocked: the rule does not match it.
    pub no_match: bool,
}
