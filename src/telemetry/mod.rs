//! What happened: counters, drop reasons, histograms, events, and the check that every frame is accounted for.
//!
//! Nothing here blocks or allocates after construction. Counters are written by one shard and summed by whoever
//! reads; a sum taken while traffic runs is off by what is in flight between two loads, and exact when it stands.
#![forbid(unsafe_code)]

pub mod bpf;
mod counters;
mod drop_reason;
mod event;
mod histogram;

pub use counters::{Broken, Counter, Counters, ShardCounters};
pub use drop_reason::{DROP_REASONS, DropReason};
pub use event::{Event, EventKind, EventRing};
pub use histogram::{Histogram, HistogramKind, Histograms};

#[cfg(test)]
mod tests;
