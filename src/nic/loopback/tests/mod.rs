//! The loopback NIC with each of its far ends.

mod bench;
mod client;
mod pair;
mod reflect;
