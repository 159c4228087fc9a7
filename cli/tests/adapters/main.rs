//! The driver on adapters: the same scenarios on every device model that there is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod bench;
mod packets;
mod scenarios;
