//! Flows: what is remembered of a conversation from packet to packet.
//!
//! [`table`] finds a flow by its key, [`wheel`] tells when its time is up, [`state`] is what pf remembers of it; [`frag`]
//! joins fragments; [`scrub`] normalises TCP; [`limit`] holds back what the driver says by itself.
#![forbid(unsafe_code)]

pub mod frag;
pub mod index;
mod key;
pub mod limit;
pub mod scrub;
pub mod sources;
pub mod state;
pub mod table;
pub mod wheel;

use key::is_long;
pub use key::{FlowKey, KeyPlace, Secret, Wanted};
