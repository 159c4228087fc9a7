//! ARP for Ethernet and IPv4 (RFC 826).

use super::fixed::{get, set};

/// "Who has?"
pub const REQUEST: u16 = 1;
/// "I have."
pub const REPLY: u16 = 2;
/// Bytes of the header.
pub const HEADER_LEN: usize = 28;

/// An ARP packet.
pub struct ArpPacket<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> ArpPacket<T> {
    /// Wraps a header. `None` if there are fewer bytes than [`HEADER_LEN`].
    pub fn new(bytes: T) -> Option<Self> {
        (bytes.as_ref().len() >= HEADER_LEN).then_some(Self { bytes })
    }

    /// Operation: [`REQUEST`] or [`REPLY`].
    pub fn operation(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 6))
    }

    /// Hardware address of the sender.
    pub fn sender_mac(&self) -> [u8; 6] {
        get(self.bytes.as_ref(), 8)
    }

    /// Protocol address of the sender.
    pub fn sender_ip(&self) -> [u8; 4] {
        get(self.bytes.as_ref(), 14)
    }

    /// Hardware address of the target.
    pub fn target_mac(&self) -> [u8; 6] {
        get(self.bytes.as_ref(), 18)
    }

    /// Protocol address of the target.
    pub fn target_ip(&self) -> [u8; 4] {
        get(self.bytes.as_ref(), 24)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> ArpPacket<T> {
    /// Replaces: operation: [`REQUEST`] or [`REPLY`].
    pub fn set_operation(&mut self, value: u16) {
        set(self.bytes.as_mut(), 6, value.to_be_bytes());
    }

    /// Replaces: hardware address of the sender.
    pub fn set_sender_mac(&mut self, value: [u8; 6]) {
        set(self.bytes.as_mut(), 8, value);
    }

    /// Replaces: protocol address of the sender.
    pub fn set_sender_ip(&mut self, value: [u8; 4]) {
        set(self.bytes.as_mut(), 14, value);
    }

    /// Replaces: hardware address of the target.
    pub fn set_target_mac(&mut self, value: [u8; 6]) {
        set(self.bytes.as_mut(), 18, value);
    }

    /// Replaces: protocol address of the target.
    pub fn set_target_ip(&mut self, value: [u8; 4]) {
        set(self.bytes.as_mut(), 24, value);
    }

    /// Fills in the types and lengths of Ethernet and IPv4.
    pub fn set_ethernet_ipv4(&mut self) {
        set(self.bytes.as_mut(), 0, [0, 1, 8, 0, 6, 4]);
    }
}
