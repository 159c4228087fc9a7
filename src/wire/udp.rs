//! UDP headers (RFC 768).

use super::fixed::{get, set};

/// Where the checksum stands in the header.
pub const CHECKSUM_OFFSET: usize = 6;

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

/// A UDP header.
pub struct UdpHeader<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> UdpHeader<T> {
    /// Wraps a header. `None` if there are fewer bytes than [`HEADER_LEN`].
    pub fn new(bytes: T) -> Option<Self> {
        (bytes.as_ref().len() >= HEADER_LEN).then_some(Self { bytes })
    }

    /// Source port.
    pub fn src_port(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 0))
    }

    /// Destination port.
    pub fn dst_port(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 2))
    }

    /// Length of header and payload, in bytes.
    pub fn datagram_len(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 4))
    }

    /// Checksum, pseudo header included; 0 = none.
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 6))
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> UdpHeader<T> {
    /// Replaces: source port.
    pub fn set_src_port(&mut self, value: u16) {
        set(self.bytes.as_mut(), 0, value.to_be_bytes());
    }

    /// Replaces: destination port.
    pub fn set_dst_port(&mut self, value: u16) {
        set(self.bytes.as_mut(), 2, value.to_be_bytes());
    }

    /// Replaces: length of header and payload, in bytes.
    pub fn set_datagram_len(&mut self, value: u16) {
        set(self.bytes.as_mut(), 4, value.to_be_bytes());
    }

    /// Replaces: checksum, pseudo header included; 0 = none.
    pub fn set_checksum(&mut self, value: u16) {
        set(self.bytes.as_mut(), 6, value.to_be_bytes());
    }
}
