//! Frames that the driver makes itself: TCP resets and handshakes, ICMP and ICMPv6 errors.
//!
//! They are written to memory of the caller and are whole: addressed on the link as an answer to (or a continuation
//! of) a frame that was seen, with its VLAN tags, and with every checksum in place. What must not be answered at all is
//! decided here too, because the rules for it are the protocols' own and hold whatever the ruleset says.

mod answer;
mod icmp;
mod tcp;
#[cfg(test)]
mod tests;

use super::ethernet::{HEADER_LEN, TAG_LEN};
use super::fixed::set;
use super::ipv4::{self, Ipv4Header};
use super::ipv6::{self, Ipv6Header};
use super::parsed::{Family, Parsed, VLAN_MAX};

pub use answer::{may_reset, may_send_error};
pub use icmp::{IcmpError, UNREACH_ADMIN, UNREACH_PORT, V6_UNREACH_ADMIN, V6_UNREACH_PORT, icmp_error};
pub use tcp::{MSS_DEFAULT, MSS_DEFAULT_V6, Segment, mss_of, tcp};

/// Time to live of what is made here (IANA, IP option numbers: the recommended default).
pub const TTL: u8 = 64;
/// Memory that holds any frame made here, in bytes: the longest is an ICMPv6 error.
pub const FRAME_MAX: usize = LINK_MAX + icmp::V6_LEN_MAX;
/// Bytes of the longest link header.
const LINK_MAX: usize = HEADER_LEN + TAG_LEN * VLAN_MAX;

/// A frame's Ethernet header and VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    bytes: [u8; LINK_MAX],
    len: u8,
}

impl Link {
    /// As a frame has it: for what goes the same way.
    #[must_use]
    pub fn of(frame: &[u8], parsed: &Parsed) -> Option<Self> {
        let header = frame.get(..usize::from(parsed.l3))?;
        let mut bytes = [0; LINK_MAX];
        bytes.get_mut(..header.len())?.copy_from_slice(header);
        Some(Self { bytes, len: u8::try_from(header.len()).ok()? })
    }

    /// The other way: addresses exchanged, the same tags.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] = self.bytes;
        set(&mut self.bytes, 0, [s0, s1, s2, s3, s4, s5, d0, d1, d2, d3, d4, d5]);
        self
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What an IP header says.
struct Network {
    family: Family,
    src: [u8; 16],
    dst: [u8; 16],
    protocol: u8,
    tos: u8,
    ttl: u8,
}

/// Writes link and IP header for `len` bytes of payload to the front of `out`, and returns where the payload starts and
/// ends. `None` if it does not fit or is not IP.
fn start(link: &Link, network: &Network, len: usize, out: &mut [u8]) -> Option<(usize, usize)> {
    let l3 = link.bytes().len();
    let header_len = match network.family {
        Family::V4 => ipv4::HEADER_LEN,
        Family::V6 => ipv6::HEADER_LEN,
        Family::None => return None,
    };
    let (payload, end) = (l3 + header_len, l3 + header_len + len);
    let frame = out.get_mut(..end)?;
    frame.fill(0);
    let (link_bytes, packet) = frame.split_at_mut_checked(l3)?;
    link_bytes.copy_from_slice(link.bytes());
    let first4 = |addr: &[u8; 16]| super::fixed::get(addr, 0);
    if network.family == Family::V4 {
        set(packet, 0, [0x45]);
        let mut header = Ipv4Header::new(packet)?;
        header.set_tos(network.tos);
        header.set_total_len(u16::try_from(header_len + len).ok()?);
        // RFC 6864 section 4.1: with DF set and no fragments the identification means nothing.
        header.set_fragment_bits(0x4000);
        header.set_ttl(network.ttl);
        header.set_protocol(network.protocol);
        header.set_src(first4(&network.src));
        header.set_dst(first4(&network.dst));
        header.fill_checksum();
    } else {
        let mut header = Ipv6Header::new(packet)?;
        header.set_first_word(network.tos, 0);
        header.set_payload_len(u16::try_from(len).ok()?);
        header.set_next_header(network.protocol);
        header.set_hop_limit(network.ttl);
        header.set_src(network.src);
        header.set_dst(network.dst);
    }
    Some((payload, end))
}
