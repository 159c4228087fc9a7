//! Changing a frame in place: addresses, ports, identifiers, sequence numbers, time to live, type of service, options.
//!
//! Every checksum that covers a changed byte is updated incrementally (RFC 1624 equation 3), so a checksum that was
//! wrong stays wrong: a change never hides damage. An [`Edit`] borrows a frame and what the parse found, and keeps
//! the two in step. Its methods return false, and change nothing, where the frame has no such field.
//!
//! - A *partial* checksum (`TX_CSUM_PARTIAL`, and every TSO super-frame) holds the pseudo header's sum, not
//!   complemented: addresses count, everything else does not.
//! - UDP over IPv4 without a checksum stays without (RFC 768).
//! - Of a fragmented datagram the first fragment has the transport header. The same change of addresses in every
//!   fragment leaves the checksum in the first right for the whole.
//! - SCTP's CRC32c (RFC 9260 section 6.8) has no pseudo header and is linear, so ports change it by a value that
//!   depends on how much follows.

mod inner;
mod ip;
mod tcp;
#[cfg(test)]
mod tests;
mod transport;

use super::checksum::{self, Sum};
use super::fixed::{get, set};
use super::parsed::{Family, Parsed, ParsedFlags};
use super::{extensions, icmp, ipv4, protocol, udp};

/// A frame that is being changed. See the module.
pub struct Edit<'a> {
    frame: &'a mut [u8],
    parsed: &'a mut Parsed,
    sum: TransportSum,
    /// Changes of the pseudo header's addresses reach the transport checksum: source, destination.
    pseudo: (bool, bool),
    /// Where the bytes of the packet end, here.
    limit: usize,
    /// Where the checksum of the ICMP error around the packet stands.
    outer: Option<usize>,
}

/// The checksum that covers the transport header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TransportSum {
    /// There is none here: another protocol, a later fragment, a header that is cut off.
    Absent,
    /// The Internet checksum, at this offset.
    Whole(usize),
    /// The Internet checksum, where 0 says that there is none.
    Udp(usize),
    /// The pseudo header's sum, which the NIC turns into the checksum.
    Partial(usize),
}

impl<'a> Edit<'a> {
    /// For a frame and what [`super::parse`] or [`super::parse_super`] made of it. `partial`: its transport checksum
    /// is left to the NIC. `None` for a malformed frame.
    #[must_use]
    pub fn new(frame: &'a mut [u8], parsed: &'a mut Parsed, partial: bool) -> Option<Self> {
        if parsed.error.is_some() {
            return None;
        }
        let limit = frame.len();
        Some(Self::with(frame, parsed, partial, limit, None))
    }

    fn with(frame: &'a mut [u8], parsed: &'a mut Parsed, partial: bool, limit: usize, outer: Option<usize>) -> Self {
        let sum = transport_sum(parsed, partial, limit);
        // RFC 8200 section 8.1: while a routing header has segments left, the pseudo header has the last address.
        let final_dst = !parsed.flags.contains(ParsedFlags::ROUTING_HEADER)
            || extensions::segments_left(frame, parsed).is_none_or(|left| left == 0);
        let covered = parsed.protocol != protocol::ICMP;
        Self { frame, parsed, sum, pseudo: (covered, covered && final_dst), limit, outer }
    }

    /// What the parse found, with all changes so far.
    #[must_use]
    pub fn parsed(&self) -> &Parsed {
        self.parsed
    }

    /// Replaces bytes that no checksum but an outer one covers.
    fn write<const N: usize>(&mut self, at: usize, new: [u8; N]) {
        let old: [u8; N] = get(self.frame, at);
        set(self.frame, at, new);
        if let Some(outer) = self.outer {
            let sum = fixed_up(u16::from_be_bytes(get(self.frame, outer)), at, &old, &new);
            set(self.frame, outer, sum.to_be_bytes());
        }
    }

    /// Replaces bytes of the IP header.
    fn write_ip<const N: usize>(&mut self, at: usize, new: [u8; N]) {
        let old: [u8; N] = get(self.frame, at);
        self.write(at, new);
        if self.parsed.family == Family::V4 {
            let field = usize::from(self.parsed.l3) + ipv4::CHECKSUM_OFFSET;
            let sum = fixed_up(u16::from_be_bytes(get(self.frame, field)), at, &old, &new);
            self.write(field, sum.to_be_bytes());
        }
    }

    /// Replaces bytes that the transport checksum covers.
    fn write_transport<const N: usize>(&mut self, at: usize, new: [u8; N]) {
        let old: [u8; N] = get(self.frame, at);
        self.write(at, new);
        if !matches!(self.sum, TransportSum::Partial(_)) {
            self.update_transport(at, &old, &new);
        }
    }

    /// Brings the transport checksum in step with covered bytes that changed, wherever they stand.
    fn update_transport(&mut self, at: usize, old: &[u8], new: &[u8]) {
        let field = match self.sum {
            TransportSum::Absent => return,
            TransportSum::Whole(field) | TransportSum::Udp(field) | TransportSum::Partial(field) => field,
        };
        let sum = u16::from_be_bytes(get(self.frame, field));
        let sum = match self.sum {
            TransportSum::Udp(_) if sum == 0 => return,
            TransportSum::Udp(_) => match fixed_up(sum, at, old, new) {
                0 => 0xffff,
                sum => sum,
            },
            TransportSum::Partial(_) => !fixed_up(!sum, at, old, new),
            TransportSum::Whole(_) | TransportSum::Absent => fixed_up(sum, at, old, new),
        };
        self.write(field, sum.to_be_bytes());
    }
}

/// `sum` after bytes at offset `at` changed. Headers start at even offsets of a frame, so `at` says which half of a
/// word a byte is; a sum over bytes that are off by one is the sum with its halves swapped (RFC 1071 section 2 (B)).
fn fixed_up(sum: u16, at: usize, old: &[u8], new: &[u8]) -> u16 {
    let mut old = Sum::ZERO.add_bytes(old).value();
    let mut new = Sum::ZERO.add_bytes(new).value();
    if at % 2 == 1 {
        (old, new) = (old.swap_bytes(), new.swap_bytes());
    }
    checksum::update(sum, old, new)
}

/// The transport checksum of a packet of which the bytes before `limit` are there.
fn transport_sum(parsed: &Parsed, partial: bool, limit: usize) -> TransportSum {
    if parsed.l4 == 0 {
        return TransportSum::Absent;
    }
    let l4 = usize::from(parsed.l4);
    let icmp = parsed.flags.contains(ParsedFlags::ICMP);
    let (field, sum) = match parsed.protocol {
        protocol::TCP => (l4 + super::tcp::CHECKSUM_OFFSET, TransportSum::Whole as fn(usize) -> TransportSum),
        protocol::UDP => (l4 + udp::CHECKSUM_OFFSET, TransportSum::Udp as fn(usize) -> TransportSum),
        protocol::ICMP | protocol::ICMPV6 if icmp => {
            (l4 + icmp::CHECKSUM_OFFSET, TransportSum::Whole as fn(usize) -> TransportSum)
        }
        _ => return TransportSum::Absent,
    };
    if field + 2 > limit {
        return TransportSum::Absent;
    }
    if partial { TransportSum::Partial(field) } else { sum(field) }
}
