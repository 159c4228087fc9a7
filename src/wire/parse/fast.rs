//! The frames that most frames are, read with one length check per header and each field written once: TCP or UDP
//! directly behind IPv4 without options or IPv6, not fragmented, with at most one VLAN tag, and nothing wrong.

use super::be16;
use crate::wire::parsed::{Family, Fragment, Parsed, ParsedFlags, VLAN_MAX};
use crate::wire::{ethertype, protocol};

/// The same as the full parse; or `None` for a frame that is not of this kind, and then `p` holds anything.
#[inline(always)]
pub(super) fn parse(p: &mut Parsed, frame: &[u8]) -> Option<()> {
    let (header, rest) = frame.split_first_chunk::<14>()?;
    let flags = if header[0] & 1 == 0 { ParsedFlags::empty() } else { group(header) };
    let outer = be16([header[12], header[13]]);
    match outer {
        ethertype::IPV4 => {
            p.vlans = [0; VLAN_MAX];
            p.vlan_count = 0;
            ipv4(p, rest, 14, flags)
        }
        ethertype::IPV6 => {
            p.vlans = [0; VLAN_MAX];
            p.vlan_count = 0;
            ipv6(p, rest, 14, flags)
        }
        ethertype::VLAN | ethertype::SVLAN => {
            let (&[c0, c1, t0, t1], rest) = rest.split_first_chunk::<4>()?;
            p.vlans = [be16([c0, c1]), 0, 0, 0];
            p.vlan_count = 1;
            match be16([t0, t1]) {
                ethertype::IPV4 => ipv4(p, rest, 18, flags),
                ethertype::IPV6 => ipv6(p, rest, 18, flags),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cold]
fn group(header: &[u8; 14]) -> ParsedFlags {
    let [d0, d1, d2, d3, d4, d5, ..] = *header;
    if [d0, d1, d2, d3, d4, d5] == [0xff; 6] {
        ParsedFlags::MULTICAST | ParsedFlags::BROADCAST
    } else {
        ParsedFlags::MULTICAST
    }
}

#[inline(always)]
fn ipv4(p: &mut Parsed, packet: &[u8], l3: u16, flags: ParsedFlags) -> Option<()> {
    let (header, after) = packet.split_first_chunk::<20>()?;
    let [vihl, tos, len0, len1, id0, id1, frag0, frag1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let frag = be16([frag0, frag1]);
    // No options, offset zero, no more fragments.
    if vihl != 0x45 || frag & 0x3fff != 0 {
        return None;
    }
    let body = after.get(..usize::from(be16([len0, len1])).checked_sub(20)?)?;
    p.src = u128::from(u32::from_le_bytes([s0, s1, s2, s3])).to_le_bytes();
    p.dst = u128::from(u32::from_le_bytes([d0, d1, d2, d3])).to_le_bytes();
    p.ethertype = ethertype::IPV4;
    p.l3 = l3;
    p.family = Family::V4;
    p.protocol = protocol;
    p.tos = tos;
    p.ttl = ttl;
    p.fragment = Fragment { id: u32::from(be16([id0, id1])), offset: 0, more: false };
    // The bit of the header, moved to the flag's place.
    let dont = (frag >> 14 & 1) * ParsedFlags::DONT_FRAGMENT.bits();
    let padded = if body.len() == after.len() { 0 } else { ParsedFlags::PADDED.bits() };
    transport(p, body, l3 + 20, flags | ParsedFlags::from_bits_retain(dont | padded))
}

#[inline(always)]
fn ipv6(p: &mut Parsed, packet: &[u8], l3: u16, flags: ParsedFlags) -> Option<()> {
    let (header, after) = packet.split_first_chunk::<40>()?;
    let (&[v0, v1, _, _, len0, len1, next, hops], addresses) = header.split_first_chunk::<8>()?;
    let (src, dst) = addresses.split_first_chunk::<16>()?;
    if v0 >> 4 != 6 {
        return None;
    }
    let body = after.get(..usize::from(be16([len0, len1])))?;
    p.src = *src;
    p.dst = *dst.first_chunk::<16>()?;
    p.ethertype = ethertype::IPV6;
    p.l3 = l3;
    p.family = Family::V6;
    p.protocol = next;
    p.tos = v0 << 4 | v1 >> 4;
    p.ttl = hops;
    p.fragment = Fragment { id: 0, offset: 0, more: false };
    let padded = if body.len() == after.len() { 0 } else { ParsedFlags::PADDED.bits() };
    transport(p, body, l3 + 40, flags | ParsedFlags::from_bits_retain(padded))
}

#[inline(always)]
fn transport(p: &mut Parsed, body: &[u8], l4: u16, flags: ParsedFlags) -> Option<()> {
    p.arp_op = 0;
    p.icmp_type = 0;
    p.icmp_code = 0;
    p.error = None;
    p.l4 = l4;
    match p.protocol {
        protocol::TCP => {
            let header = body.first_chunk::<20>()?;
            let header_len = usize::from(header[12] >> 4) * 4;
            let payload_len = body.len().checked_sub(header_len)?;
            if header_len < 20 {
                return None;
            }
            p.src_port = be16([header[0], header[1]]);
            p.dst_port = be16([header[2], header[3]]);
            p.tcp_flags = header[13];
            p.flags = flags | ParsedFlags::TCP | ParsedFlags::PORTS;
            p.payload = u32::from(l4) + header_len as u32;
            p.payload_len = payload_len as u32;
        }
        protocol::UDP => {
            let header = body.first_chunk::<8>()?;
            let len = usize::from(be16([header[4], header[5]]));
            if len < 8 || len > body.len() {
                return None;
            }
            p.src_port = be16([header[0], header[1]]);
            p.dst_port = be16([header[2], header[3]]);
            p.tcp_flags = 0;
            p.flags = flags | ParsedFlags::PORTS;
            p.payload = u32::from(l4) + 8;
            p.payload_len = len as u32 - 8;
        }
        _ => return None,
    }
    Some(())
}
