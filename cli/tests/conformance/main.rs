//! The conformance table: one list of scenarios, run on every back end of the driver, each on the most independent model of
//! its device that there is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod backend;
mod bench;
mod disturbances;
mod offloads;
mod packets;
mod queues;
mod scenarios;
mod soak;
mod verdicts;
