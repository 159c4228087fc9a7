//! ICMP and ICMPv6 errors.

use super::{Link, Network, TTL, answer, start};
use crate::wire::checksum::Sum;
use crate::wire::icmp::{HEADER_LEN, IcmpHeader};
use crate::wire::offload::pseudo_header;
use crate::wire::parsed::{Family, Parsed};
use crate::wire::{ipv4, ipv6, protocol};

/// Destination unreachable (RFC 792) because of the port.
pub const UNREACH_PORT: IcmpError = IcmpError { kind: 3, code: 3, rest: 0 };
/// Destination unreachable because a filter forbids it (RFC 1812 section 5.2.7.1).
pub const UNREACH_ADMIN: IcmpError = IcmpError { kind: 3, code: 13, rest: 0 };
/// ICMPv6 destination unreachable (RFC 4443 section 3.1) because of the port.
pub const V6_UNREACH_PORT: IcmpError = IcmpError { kind: 1, code: 4, rest: 0 };
/// ICMPv6 destination unreachable because a filter forbids it.
pub const V6_UNREACH_ADMIN: IcmpError = IcmpError { kind: 1, code: 1, rest: 0 };

/// Longest ICMP error, IP header included (RFC 1812 section 4.3.2.3).
const V4_LEN_MAX: usize = 576;
/// Longest ICMPv6 error, IP header included: the minimum MTU (RFC 4443 section 2.4 (c)).
pub(super) const V6_LEN_MAX: usize = 1280;
/// Precedence "internetwork control" (RFC 1812 section 4.3.2.5).
const V4_TOS: u8 = 0xc0;

/// What an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// ICMP or ICMPv6 type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Bytes 4 to 7: unused, or for instance an MTU.
    pub rest: u32,
}

/// Writes the error that answers `frame`, if one may, to the front of `out` and returns its length. It comes from where
/// the frame went, as if the far end had no such service, and quotes as much of the packet as it may. `None` if there
/// must be none, or it does not fit.
#[must_use]
pub fn icmp_error(frame: &[u8], parsed: &Parsed, error: IcmpError, out: &mut [u8]) -> Option<usize> {
    if !answer::may_send_error(parsed) {
        return None;
    }
    let (number, max, tos) = match parsed.family {
        Family::V4 => (protocol::ICMP, V4_LEN_MAX - ipv4::HEADER_LEN, V4_TOS),
        _ => (protocol::ICMPV6, V6_LEN_MAX - ipv6::HEADER_LEN, 0),
    };
    let packet = frame.get(usize::from(parsed.l3)..parsed.end().min(frame.len()))?;
    let quoted = packet.get(..packet.len().min(max - HEADER_LEN))?;
    let network = Network { family: parsed.family, src: parsed.dst, dst: parsed.src, protocol: number, tos, ttl: TTL };
    let link = Link::of(frame, parsed)?.reversed();
    let (at, end) = start(&link, &network, HEADER_LEN + quoted.len(), out)?;
    let message = out.get_mut(at..end)?;
    message.get_mut(HEADER_LEN..)?.copy_from_slice(quoted);
    let mut header = IcmpHeader::new(message)?;
    header.set_kind(error.kind);
    header.set_code(error.code);
    header.set_rest(error.rest);
    let mut sum = Sum::ZERO.add_bytes(out.get(at..end)?);
    if parsed.family == Family::V6 {
        let described = Parsed { src: parsed.dst, dst: parsed.src, protocol: number, ..*parsed };
        sum = sum.plus(pseudo_header(&described, end - at)?);
    }
    IcmpHeader::new(out.get_mut(at..end)?)?.set_checksum(sum.checksum());
    Some(end)
}
