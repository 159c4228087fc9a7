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

/// Option kinds (IANA, TCP option kind numbers).
pub mod option {
    /// End of the options.
    pub const END: u8 = 0;
    /// No operation: one byte of padding.
    pub const NOP: u8 = 1;
    /// Maximum segment size (RFC 9293 section 3.7.1).
    pub const MSS: u8 = 2;
    /// Window scale (RFC 7323 section 2.2).
    pub const WINDOW_SCALE: u8 = 3;
    /// Selective acknowledgements are understood (RFC 2018 section 2).
    pub const SACK_PERMITTED: u8 = 4;
    /// Selective acknowledgements (RFC 2018 section 3).
    pub const SACK: u8 = 5;
    /// Timestamps (RFC 7323 section 3.2).
    pub const TIMESTAMPS: u8 = 8;
}

/// One option, padding left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOption {
    /// Its kind: the constants of [`option`].
    pub kind: u8,
    /// Where its kind stands, in bytes from the end of the fixed header.
    pub at: usize,
    /// Its length with kind and length, in bytes; at least 2.
    pub len: usize,
}

impl TcpOption {
    /// A timestamps option of the length it must have.
    #[must_use]
    pub fn is_timestamps(&self) -> bool {
        self.kind == option::TIMESTAMPS && self.len == 10
    }

    /// Its value, out of the header that it was found in.
    #[must_use]
    pub fn value<'a>(&self, header: &'a [u8]) -> &'a [u8] {
        let start = HEADER_LEN + self.at;
        header.get(start + 2..start + self.len).unwrap_or_default()
    }
}

/// The options of the header that starts at `header`, as far as they are there. Ends at the first malformed one.
#[must_use]
pub fn options(header: &[u8]) -> Options<'_> {
    options_after(header, 0)
}

/// [`options`] from the one on that starts `from` bytes behind the fixed header; offsets count from there.
pub(super) fn options_after(header: &[u8], from: usize) -> Options<'_> {
    let len = TcpHeader::new(header).map_or(0, |header| header.header_len()).min(header.len());
    Options { rest: header.get(HEADER_LEN + from..len).unwrap_or_default(), at: 0 }
}

/// See [`options`].
pub struct Options<'a> {
    rest: &'a [u8],
    at: usize,
}

impl Iterator for Options<'_> {
    type Item = TcpOption;

    fn next(&mut self) -> Option<TcpOption> {
        loop {
            let &[kind, ref after @ ..] = self.rest else {
                return None;
            };
            let len = match kind {
                option::END => return None,
                option::NOP => 1,
                _ => usize::from(*after.first()?),
            };
            let at = self.at;
            // RFC 9293 section 3.1: a length counts kind and length, and none leaves the header.
            if kind != option::NOP && len < 2 {
                return None;
            }
            self.rest = self.rest.get(len..)?;
            self.at += len;
            if kind != option::NOP {
                return Some(TcpOption { kind, at, len });
            }
        }
    }
}
