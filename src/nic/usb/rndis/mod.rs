//! Remote NDIS (MS-RNDIS): control messages through CDC's encapsulated commands, frames in packet messages.

pub mod message;
pub mod packet;
pub mod session;
