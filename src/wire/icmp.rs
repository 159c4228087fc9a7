//! ICMP (RFC 792) and ICMPv6 (RFC 4443) headers, with the message types that Weir makes or answers itself.

use super::fixed::{get, set};

/// ICMP echo reply.
pub const ECHO_REPLY: u8 = 0;
/// ICMP echo request.
pub const ECHO_REQUEST: u8 = 8;
/// ICMPv6 echo request.
pub const V6_ECHO_REQUEST: u8 = 128;
/// ICMPv6 echo reply.
pub const V6_ECHO_REPLY: u8 = 129;
/// Neighbour solicitation (RFC 4861 section 4.3).
pub const NEIGHBOR_SOLICIT: u8 = 135;
/// Neighbour advertisement (RFC 4861 section 4.4).
pub const NEIGHBOR_ADVERT: u8 = 136;
/// Where the checksum stands in the header.
pub const CHECKSUM_OFFSET: usize = 2;

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

/// The 8 bytes that ICMP and ICMPv6 messages begin with.
pub struct IcmpHeader<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> IcmpHeader<T> {
    /// Wraps a header. `None` if there are fewer bytes than [`HEADER_LEN`].
    pub fn new(bytes: T) -> Option<Self> {
        (bytes.as_ref().len() >= HEADER_LEN).then_some(Self { bytes })
    }

    /// ICMP type.
    pub fn kind(&self) -> u8 {
        let [value] = get(self.bytes.as_ref(), 0);
        value
    }

    /// ICMP code.
    pub fn code(&self) -> u8 {
        let [value] = get(self.bytes.as_ref(), 1);
        value
    }

    /// Checksum; ICMPv6's includes the pseudo header.
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 2))
    }

    /// What the type makes of it: echo identifier and sequence, for instance.
    pub fn rest(&self) -> u32 {
        u32::from_be_bytes(get(self.bytes.as_ref(), 4))
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> IcmpHeader<T> {
    /// Replaces: ICMP type.
    pub fn set_kind(&mut self, value: u8) {
        set(self.bytes.as_mut(), 0, [value]);
    }

    /// Replaces: ICMP code.
    pub fn set_code(&mut self, value: u8) {
        set(self.bytes.as_mut(), 1, [value]);
    }

    /// Replaces: checksum; ICMPv6's includes the pseudo header.
    pub fn set_checksum(&mut self, value: u16) {
        set(self.bytes.as_mut(), 2, value.to_be_bytes());
    }

    /// Replaces: what the type makes of it: echo identifier and sequence, for instance.
    pub fn set_rest(&mut self, value: u32) {
        set(self.bytes.as_mut(), 4, value.to_be_bytes());
    }
}
