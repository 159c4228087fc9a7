//! Where things stand in a fragment.

use super::Arrival;
use crate::wire::checksum;
use crate::wire::extensions;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::{Family, Parsed, ParsedFlags};

/// The longest IP packet (RFC 791 section 3.1, RFC 8200 section 4.5).
const PACKET_MAX: usize = 65_535;
/// Bytes of IPv6's fragment header.
pub(super) const FRAGMENT_HEADER: usize = 8;

/// A fragment's layout. Offsets of frames are bytes from their start; offsets of datagrams are bytes of their
/// fragmentable part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub family: Family,
    pub l3: usize,
    /// IPv6: the fragment header, where the number that announces it stands, and the number it announces.
    pub header: usize,
    pub announced_at: usize,
    pub next: u8,
    /// Where the payload starts in the frame.
    pub data: usize,
    /// Where it belongs in the datagram.
    pub start: u32,
    pub end: u32,
    pub more: bool,
}

impl Place {
    /// Finds a fragment's payload and checks what can be checked without the others.
    pub fn find(frame: &[u8], parsed: &Parsed, arrival: &Arrival) -> Option<Self> {
        if !parsed.is_fragment() || parsed.error == Some(crate::wire::ParseError::Fragment) {
            return None;
        }
        let l3 = usize::from(parsed.l3);
        let mut place = Self {
            family: parsed.family,
            l3,
            header: 0,
            announced_at: 0,
            next: 0,
            data: 0,
            start: u32::from(parsed.fragment.offset),
            end: 0,
            more: parsed.fragment.more,
        };
        let packet_end = match parsed.family {
            Family::V4 => {
                let header = Ipv4Header::new(frame.get(l3..)?)?;
                if arrival.check_header && !header.is_checksum_valid() {
                    return None;
                }
                place.data = l3 + header.header_len();
                l3 + usize::from(header.total_len())
            }
            Family::V6 => {
                let found = extensions::fragment_header(frame, parsed)?;
                (place.header, place.announced_at, place.next) = (found.at, found.announced_at, found.next);
                place.data = found.at + FRAGMENT_HEADER;
                l3 + ipv6::HEADER_LEN + usize::from(Ipv6Header::new(frame.get(l3..)?)?.payload_len())
            }
            Family::None => return None,
        };
        let len = packet_end.checked_sub(place.data)?;
        let end = usize::from(parsed.fragment.offset) + len;
        // As much header goes in front of the whole as in front of this part, without the fragment header.
        let in_front = match parsed.family {
            Family::V4 => place.data - l3,
            _ => place.header - l3 - ipv6::HEADER_LEN,
        };
        let fits = packet_end <= frame.len() && in_front + end <= PACKET_MAX;
        if len == 0 || (place.more && len % 8 != 0) || !fits {
            return None;
        }
        place.end = u32::try_from(end).ok()?;
        Some(place)
    }

    /// Clears the don't-fragment bit, and the reserved one beside it.
    pub fn clear_df(&self, frame: &mut [u8]) {
        if let Some(mut header) = frame.get_mut(self.l3..).and_then(Ipv4Header::new) {
            let old = header.fragment_bits();
            let new = old & 0x3fff;
            header.set_fragment_bits(new);
            header.set_checksum(checksum::update(header.checksum(), old, new));
        }
    }

    /// Cuts the frame down to bytes `start` to `end` of the datagram, moves them to where the payload starts, and says
    /// so in the headers. Returns the frame's length.
    pub fn refit(&self, frame: &mut [u8], start: u32, end: u32, more: bool) -> Option<usize> {
        let skip = start.checked_sub(self.start)? as usize;
        let len = end.checked_sub(start)? as usize;
        let from = self.data + skip;
        if from + len > frame.len() {
            return None;
        }
        if skip > 0 {
            frame.copy_within(from..from + len, self.data);
        }
        let offset = u16::try_from(start).ok()?;
        if self.family == Family::V4 {
            let mut header = Ipv4Header::new(frame.get_mut(self.l3..)?)?;
            let length = u16::try_from(self.data - self.l3 + len).ok()?;
            let bits = offset >> 3 | u16::from(more) << 13;
            let sum = checksum::update(header.checksum(), header.total_len(), length);
            header.set_checksum(checksum::update(sum, header.fragment_bits(), bits));
            header.set_total_len(length);
            header.set_fragment_bits(bits);
        } else {
            let length = u16::try_from(self.data - self.l3 - ipv6::HEADER_LEN + len).ok()?;
            Ipv6Header::new(frame.get_mut(self.l3..)?)?.set_payload_len(length);
            let [high, low] = (offset | u16::from(more)).to_be_bytes();
            frame.get_mut(self.header + 2..self.header + 4)?.copy_from_slice(&[high, low]);
        }
        Some(self.data + len)
    }

    /// A fragment as the parse would see it without its transport header: for changes of the network header alone.
    pub fn describe(&self, frame: &[u8]) -> Parsed {
        let mut parsed = crate::wire::parse(frame);
        parsed.error = None;
        parsed.l4 = 0;
        parsed.flags.remove(ParsedFlags::PORTS | ParsedFlags::TCP | ParsedFlags::ICMP | ParsedFlags::ICMP_ERROR);
        parsed
    }

    /// Writes the headers of the whole datagram of `total` bytes in front of its beginning `data`, as if it had never
    /// been fragmented, and returns the length of both and where the data starts. Cut off where `out` ends.
    pub fn write_head(&self, frame: &[u8], total: u32, out: &mut [u8]) -> Option<usize> {
        if self.family == Family::V4 {
            out.get_mut(..self.data)?.copy_from_slice(frame.get(..self.data)?);
            let mut header = Ipv4Header::new(out.get_mut(self.l3..)?)?;
            let length = u16::try_from(self.data - self.l3 + total as usize).ok()?;
            let sum = checksum::update(header.checksum(), header.total_len(), length);
            header.set_checksum(checksum::update(sum, header.fragment_bits(), 0));
            header.set_total_len(length);
            header.set_fragment_bits(0);
            return Some(self.data);
        }
        out.get_mut(..self.header)?.copy_from_slice(frame.get(..self.header)?);
        let length = u16::try_from(self.header - self.l3 - ipv6::HEADER_LEN + total as usize).ok()?;
        Ipv6Header::new(out.get_mut(self.l3..)?)?.set_payload_len(length);
        *out.get_mut(self.announced_at)? = self.next;
        Some(self.header)
    }
}
