//! TCP headers (RFC 9293).

use super::fixed::{get, set};

/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// Synchronise sequence numbers.
pub const SYN: u8 = 0x02;
/// Reset the connection.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgement number counts.
pub const ACK: u8 = 0x10;
/// The urgent pointer counts.
pub const URG: u8 = 0x20;
/// ECN echo (RFC 3168).
pub const ECE: u8 = 0x40;
/// Congestion window reduced (RFC 3168).
pub const CWR: u8 = 0x80;
/// Where the checksum stands in the header.
pub const CHECKSUM_OFFSET: usize = 16;

/// Bytes of the header without options.
pub const HEADER_LEN: usize = 20;

/// A TCP header, perhaps with options behind it.
pub struct TcpHeader<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> TcpHeader<T> {
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

    /// Sequence number.
    pub fn seq(&self) -> u32 {
        u32::from_be_bytes(get(self.bytes.as_ref(), 4))
    }

    /// Acknowledgement number.
    pub fn ack(&self) -> u32 {
        u32::from_be_bytes(get(self.bytes.as_ref(), 8))
    }

    /// Flags: the constants of this module.
    pub fn flags(&self) -> u8 {
        let [value] = get(self.bytes.as_ref(), 13);
        value
    }

    /// Window, not scaled.
    pub fn window(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 14))
    }

    /// Checksum, pseudo header included.
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 16))
    }

    /// Urgent pointer.
    pub fn urgent(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 18))
    }

    /// Length of the header with its options, as it says, in bytes: 0 to 60.
    pub fn header_len(&self) -> usize {
        let [offset] = get(self.bytes.as_ref(), 12);
        usize::from(offset >> 4) * 4
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> TcpHeader<T> {
    /// Replaces: source port.
    pub fn set_src_port(&mut self, value: u16) {
        set(self.bytes.as_mut(), 0, value.to_be_bytes());
    }

    /// Replaces: destination port.
    pub fn set_dst_port(&mut self, value: u16) {
        set(self.bytes.as_mut(), 2, value.to_be_bytes());
    }

    /// Replaces: sequence number.
    pub fn set_seq(&mut self, value: u32) {
        set(self.bytes.as_mut(), 4, value.to_be_bytes());
    }

    /// Replaces: acknowledgement number.
    pub fn set_ack(&mut self, value: u32) {
        set(self.bytes.as_mut(), 8, value.to_be_bytes());
    }

    /// Replaces: flags: the constants of this module.
    pub fn set_flags(&mut self, value: u8) {
        set(self.bytes.as_mut(), 13, [value]);
    }

    /// Replaces: window, not scaled.
    pub fn set_window(&mut self, value: u16) {
        set(self.bytes.as_mut(), 14, value.to_be_bytes());
    }

    /// Replaces: checksum, pseudo header included.
    pub fn set_checksum(&mut self, value: u16) {
        set(self.bytes.as_mut(), 16, value.to_be_bytes());
    }

    /// Replaces: urgent pointer.
    pub fn set_urgent(&mut self, value: u16) {
        set(self.bytes.as_mut(), 18, value.to_be_bytes());
    }

    /// Replaces the header length, in bytes; a multiple of 4, at most 60.
    pub fn set_header_len(&mut self, len: usize) {
        set(self.bytes.as_mut(), 12, [((len / 4) as u8) << 4]);
    }
}
