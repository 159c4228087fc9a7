//! What must not be answered.

use crate::wire::fixed::get;
use crate::wire::parsed::{Family, Parsed, ParsedFlags};
use crate::wire::{protocol, tcp};

/// Whether a TCP reset may answer: to a TCP segment that is no reset (RFC 9293 section 3.5.2), from one host to one host.
#[must_use]
pub fn may_reset(parsed: &Parsed) -> bool {
    parsed.flags.contains(ParsedFlags::TCP) && parsed.tcp_flags & tcp::RST == 0 && between_hosts(parsed)
}

/// Whether an ICMP or ICMPv6 error may answer (RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e)). Like pf, never to a
/// message of that protocol itself, error or not.
#[must_use]
pub fn may_send_error(parsed: &Parsed) -> bool {
    let icmp = match parsed.family {
        Family::V4 => protocol::ICMP,
        Family::V6 => protocol::ICMPV6,
        Family::None => return false,
    };
    parsed.protocol != icmp && between_hosts(parsed)
}

/// A packet, or its first fragment, from a source that is one host to a destination that is one host.
fn between_hosts(parsed: &Parsed) -> bool {
    let link = parsed.flags.intersects(ParsedFlags::MULTICAST | ParsedFlags::BROADCAST);
    if parsed.error.is_some() || parsed.is_later_fragment() || link {
        return false;
    }
    match parsed.family {
        Family::V4 => {
            let [src, ..] = parsed.src;
            let [dst, ..] = parsed.dst;
            // This network, loopback, and everything from multicast up (RFC 1122 section 3.2.1.3).
            let host = |first: u8| first != 0 && first != 127 && first < 224;
            host(src) && host(dst)
        }
        Family::V6 => {
            // Unspecified, loopback, multicast (RFC 4291 sections 2.5.2, 2.5.3, 2.7).
            let host = |addr: &[u8; 16]| {
                let [first]: [u8; 1] = get(addr, 0);
                first != 0xff && u128::from_be_bytes(*addr) > 1
            };
            host(&parsed.src) && host(&parsed.dst)
        }
        Family::None => false,
    }
}
