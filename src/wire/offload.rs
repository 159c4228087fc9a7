//! Checksums that a stack left to the NIC, done in software.

use super::checksum::{Sum, pseudo_v4, pseudo_v6};
use super::ethernet::{HEADER_LEN, TAG_LEN};
use super::fixed::{get, set};
use super::ipv4::Ipv4Header;
use super::parsed::{Family, Parsed, ParsedFlags};
use super::{icmp, protocol, tcp, udp};

/// Finishes a partial checksum: the sum from `start` to the end of the frame, which holds the pseudo header's sum
/// already, goes to `stuff` (virtio 1.2 section 5.1.6.2). A result of 0 becomes 0xffff, which every protocol but
/// UDP takes as equal and UDP needs. False, and no change, if the offsets are not inside the frame.
#[must_use]
pub fn finish_partial(frame: &mut [u8], start: u16, stuff: u16) -> bool {
    let (start, stuff) = (usize::from(start), usize::from(stuff));
    if start > stuff || stuff + 2 > frame.len() {
        return false;
    }
    let sum = Sum::ZERO.add_bytes(frame.get(start..).unwrap_or_default()).udp_checksum();
    set(frame, stuff, sum.to_be_bytes());
    true
}

/// Computes the IPv4 header checksum. False, and no change, if the frame has no IPv4 header.
#[must_use]
pub fn fill_ipv4_header(frame: &mut [u8], parsed: &Parsed) -> bool {
    if parsed.family != Family::V4 {
        return false;
    }
    let Some(mut header) = frame.get_mut(usize::from(parsed.l3)..).and_then(Ipv4Header::new) else {
        return false;
    };
    header.fill_checksum();
    true
}

/// [`fill_ipv4_header`] for a frame that was not parsed; looks through VLAN tags.
#[must_use]
pub fn fill_ipv4_header_of(frame: &mut [u8]) -> bool {
    let mut at = HEADER_LEN;
    for _ in 0..=super::VLAN_MAX {
        match get(frame, at - 2) {
            [0x81, 0x00] | [0x88, 0xa8] => at += TAG_LEN,
            [0x08, 0x00] => {
                let Some(mut header) = frame.get_mut(at..).and_then(Ipv4Header::new) else {
                    return false;
                };
                header.fill_checksum();
                return true;
            }
            _ => return false,
        }
    }
    false
}

/// Sum of the pseudo header for a transport segment of `len` bytes; `None` if the frame is not IP.
#[must_use]
pub fn pseudo_header(parsed: &Parsed, len: usize) -> Option<Sum> {
    let len = u32::try_from(len).ok()?;
    match parsed.family {
        Family::V4 => Some(pseudo_v4(get(&parsed.src, 0), get(&parsed.dst, 0), parsed.protocol, len)),
        Family::V6 => Some(pseudo_v6(parsed.src, parsed.dst, parsed.protocol, len)),
        Family::None => None,
    }
}

/// Where the transport checksum stands, from the start of the frame, and the sum of the pseudo header that it
/// includes. `None` for a fragment, a malformed frame, or a protocol without a checksum of this kind.
fn transport_checksum(parsed: &Parsed) -> Option<(usize, Sum)> {
    if parsed.is_fragment() || parsed.error.is_some() || parsed.l4 == 0 {
        return None;
    }
    let l4 = usize::from(parsed.l4);
    let pseudo = pseudo_header(parsed, parsed.end().checked_sub(l4)?)?;
    match parsed.protocol {
        protocol::TCP => Some((l4 + tcp::CHECKSUM_OFFSET, pseudo)),
        protocol::UDP => Some((l4 + udp::CHECKSUM_OFFSET, pseudo)),
        protocol::ICMPV6 if parsed.flags.contains(ParsedFlags::ICMP) => Some((l4 + icmp::CHECKSUM_OFFSET, pseudo)),
        protocol::ICMP if parsed.flags.contains(ParsedFlags::ICMP) => Some((l4 + icmp::CHECKSUM_OFFSET, Sum::ZERO)),
        _ => None,
    }
}

/// Computes the transport checksum from nothing. False, and no change, where there is none to compute.
#[must_use]
pub fn fill_transport(frame: &mut [u8], parsed: &Parsed) -> bool {
    let Some((at, pseudo)) = transport_checksum(parsed) else {
        return false;
    };
    set(frame, at, [0, 0]);
    let Some(segment) = frame.get(usize::from(parsed.l4)..parsed.end()) else {
        return false;
    };
    let sum = pseudo.plus(Sum::ZERO.add_bytes(segment));
    let sum = if parsed.protocol == protocol::UDP { sum.udp_checksum() } else { sum.checksum() };
    set(frame, at, sum.to_be_bytes());
    true
}

/// Whether the transport checksum is right. `None` where there is none: fragments, other protocols, and UDP over
/// IPv4 without one.
#[must_use]
pub fn is_transport_valid(frame: &[u8], parsed: &Parsed) -> Option<bool> {
    let (at, pseudo) = transport_checksum(parsed)?;
    if parsed.protocol == protocol::UDP && get(frame, at) == [0, 0] {
        // RFC 768: none was made. RFC 8200 section 8.1: IPv6 requires one.
        return if parsed.family == Family::V4 { None } else { Some(false) };
    }
    let segment = frame.get(usize::from(parsed.l4)..parsed.end())?;
    Some(pseudo.plus(Sum::ZERO.add_bytes(segment)).checksum() == 0)
}

/// Whether the IPv4 header checksum is right. `None` if the frame is not IPv4.
#[must_use]
pub fn is_ipv4_header_valid(frame: &[u8], parsed: &Parsed) -> Option<bool> {
    if parsed.family != Family::V4 {
        return None;
    }
    frame.get(usize::from(parsed.l3)..).and_then(Ipv4Header::new).map(|header| header.is_checksum_valid())
}
