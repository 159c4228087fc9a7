//! What a loopback NIC is told when it is made.

use crate::nic::{MTU_MAX, MTU_MIN, NicError, QUEUES_MAX};

/// What is at the other end of the cable (`WEIR_WIRE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Nothing until a wire client attaches.
    None,
    /// The other instance in this process that gives the same name.
    Pair([u8; 32]),
    /// A station that answers ARP, neighbour solicitation, ICMP and ICMPv6 echo, and UDP to port 7.
    Reflect,
    /// Rings in memory that is shared with a client.
    Client,
}

/// Configuration of a loopback NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopbackConfig {
    /// The far end.
    pub wire: Wire,
    /// Station address.
    pub mac: [u8; 6],
    /// Queue pairs, 1..=8.
    pub queues: usize,
    /// Descriptors per ring, a power of two, 64..=4096.
    pub ring_size: usize,
    /// MTU at the start, in bytes.
    pub mtu: u32,
    /// Largest MTU, in bytes.
    pub mtu_max: u32,
    /// Bytes of each packet buffer that will be lent.
    pub buf_len: u32,
}

impl LoopbackConfig {
    pub(super) fn check(&self) -> Result<(), NicError> {
        if !(1..=QUEUES_MAX).contains(&self.queues) {
            return Err(NicError::Invalid("queues must be 1 to 8"));
        }
        if !self.ring_size.is_power_of_two() || !(64..=4096).contains(&self.ring_size) {
            return Err(NicError::Invalid("ring size must be a power of two from 64 to 4096"));
        }
        if !(MTU_MIN..=MTU_MAX).contains(&self.mtu_max) || !(MTU_MIN..=self.mtu_max).contains(&self.mtu) {
            return Err(NicError::Invalid("MTU must be 68 to its maximum, which is at most 16110"));
        }
        Ok(())
    }
}
