//! Flows: what is remembered of a conversation from packet to packet.
//!
//! [`table`] finds a flow by its key, [`wheel`] tells when its time is up.
#![forbid(unsafe_code)]

mod key;
pub mod table;
pub mod wheel;

pub use key::{FlowKey, Secret};
