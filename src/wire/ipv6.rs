//! IPv6 headers (RFC 8200).

use super::fixed::{get, set};

/// Bytes of the header.
pub const HEADER_LEN: usize = 40;
/// Where the number of the next header stands.
pub const NEXT_HEADER_OFFSET: usize = 6;
/// Where the source address stands.
pub const SRC_OFFSET: usize = 8;
/// Where the destination address stands.
pub const DST_OFFSET: usize = 24;

/// An IPv6 header.
pub struct Ipv6Header<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Ipv6Header<T> {
    /// Wraps a header. `None` if there are fewer bytes than [`HEADER_LEN`].
    pub fn new(bytes: T) -> Option<Self> {
        (bytes.as_ref().len() >= HEADER_LEN).then_some(Self { bytes })
    }

    /// Length of what follows the header, extension headers included, in bytes.
    pub fn payload_len(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 4))
    }

    /// Protocol of what follows.
    pub fn next_header(&self) -> u8 {
        let [value] = get(self.bytes.as_ref(), 6);
        value
    }

    /// Hop limit.
    pub fn hop_limit(&self) -> u8 {
        let [value] = get(self.bytes.as_ref(), 7);
        value
    }

    /// Source address.
    pub fn src(&self) -> [u8; 16] {
        get(self.bytes.as_ref(), 8)
    }

    /// Destination address.
    pub fn dst(&self) -> [u8; 16] {
        get(self.bytes.as_ref(), 24)
    }

    /// Traffic class: DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        let [a, b] = get(self.bytes.as_ref(), 0);
        a << 4 | b >> 4
    }

    /// Flow label, 20 bits.
    pub fn flow_label(&self) -> u32 {
        u32::from_be_bytes(get(self.bytes.as_ref(), 0)) & 0xf_ffff
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv6Header<T> {
    /// Replaces: length of what follows the header, extension headers included, in bytes.
    pub fn set_payload_len(&mut self, value: u16) {
        set(self.bytes.as_mut(), 4, value.to_be_bytes());
    }

    /// Replaces: protocol of what follows.
    pub fn set_next_header(&mut self, value: u8) {
        set(self.bytes.as_mut(), 6, [value]);
    }

    /// Replaces: hop limit.
    pub fn set_hop_limit(&mut self, value: u8) {
        set(self.bytes.as_mut(), 7, [value]);
    }

    /// Replaces: source address.
    pub fn set_src(&mut self, value: [u8; 16]) {
        set(self.bytes.as_mut(), 8, value);
    }

    /// Replaces: destination address.
    pub fn set_dst(&mut self, value: [u8; 16]) {
        set(self.bytes.as_mut(), 24, value);
    }

    /// Replaces version (6), traffic class and flow label (20 bits).
    pub fn set_first_word(&mut self, traffic_class: u8, flow_label: u32) {
        let word = 6 << 28 | u32::from(traffic_class) << 20 | flow_label & 0xf_ffff;
        set(self.bytes.as_mut(), 0, word.to_be_bytes());
    }
}
