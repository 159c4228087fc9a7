//! IPv4 headers (RFC 791).

use super::checksum::{self, Sum};
use super::fixed::{get, set};

/// Bytes of the header without options.
pub const HEADER_LEN: usize = 20;
/// Where the checksum stands in the header.
pub const CHECKSUM_OFFSET: usize = 10;
/// Where the source address stands.
pub const SRC_OFFSET: usize = 12;
/// Where the destination address stands.
pub const DST_OFFSET: usize = 16;

/// An IPv4 header, perhaps with options behind it.
pub struct Ipv4Header<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Ipv4Header<T> {
    /// Wraps a header. `None` if there are fewer bytes than [`HEADER_LEN`].
    pub fn new(bytes: T) -> Option<Self> {
        (bytes.as_ref().len() >= HEADER_LEN).then_some(Self { bytes })
    }

    /// Type of service: DSCP (RFC 2474) and ECN (RFC 3168).
    pub fn tos(&self) -> u8 {
        let [value] = get(self.bytes.as_ref(), 1);
        value
    }

    /// Length of header and payload, in bytes.
    pub fn total_len(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 2))
    }

    /// Identification.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 4))
    }

    /// Flags (three bits) and fragment offset in units of 8 bytes.
    pub fn fragment_bits(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 6))
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        let [value] = get(self.bytes.as_ref(), 8);
        value
    }

    /// Protocol of the payload.
    pub fn protocol(&self) -> u8 {
        let [value] = get(self.bytes.as_ref(), 9);
        value
    }

    /// Header checksum.
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 10))
    }

    /// Source address.
    pub fn src(&self) -> [u8; 4] {
        get(self.bytes.as_ref(), 12)
    }

    /// Destination address.
    pub fn dst(&self) -> [u8; 4] {
        get(self.bytes.as_ref(), 16)
    }

    /// Length of the header with its options, as it says, in bytes: 0 to 60.
    pub fn header_len(&self) -> usize {
        let [first] = get(self.bytes.as_ref(), 0);
        usize::from(first & 15) * 4
    }

    /// True when the checksum fits the header, options included.
    pub fn is_checksum_valid(&self) -> bool {
        self.bytes.as_ref().get(..self.header_len()).is_some_and(|header| checksum::checksum(header) == 0)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv4Header<T> {
    /// Replaces: type of service: DSCP (RFC 2474) and ECN (RFC 3168).
    pub fn set_tos(&mut self, value: u8) {
        set(self.bytes.as_mut(), 1, [value]);
    }

    /// Replaces: length of header and payload, in bytes.
    pub fn set_total_len(&mut self, value: u16) {
        set(self.bytes.as_mut(), 2, value.to_be_bytes());
    }

    /// Replaces: identification.
    pub fn set_id(&mut self, value: u16) {
        set(self.bytes.as_mut(), 4, value.to_be_bytes());
    }

    /// Replaces: flags (three bits) and fragment offset in units of 8 bytes.
    pub fn set_fragment_bits(&mut self, value: u16) {
        set(self.bytes.as_mut(), 6, value.to_be_bytes());
    }

    /// Replaces: time to live.
    pub fn set_ttl(&mut self, value: u8) {
        set(self.bytes.as_mut(), 8, [value]);
    }

    /// Replaces: protocol of the payload.
    pub fn set_protocol(&mut self, value: u8) {
        set(self.bytes.as_mut(), 9, [value]);
    }

    /// Replaces: header checksum.
    pub fn set_checksum(&mut self, value: u16) {
        set(self.bytes.as_mut(), 10, value.to_be_bytes());
    }

    /// Replaces: source address.
    pub fn set_src(&mut self, value: [u8; 4]) {
        set(self.bytes.as_mut(), 12, value);
    }

    /// Replaces: destination address.
    pub fn set_dst(&mut self, value: [u8; 4]) {
        set(self.bytes.as_mut(), 16, value);
    }

    /// Computes the checksum of the header and its options, as far as they are there.
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let len = self.header_len();
        let bytes = self.bytes.as_ref();
        let sum = Sum::ZERO.add_bytes(bytes.get(..len).unwrap_or(bytes)).checksum();
        self.set_checksum(sum);
    }
}
