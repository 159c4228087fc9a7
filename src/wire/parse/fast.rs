//! The frames that most frames are, read with as few checks as there are lengths and with fields written next to each
//! other: TCP or UDP directly behind IPv4 without options or IPv6, not fragmented, with at most one VLAN tag, and nothing
//! wrong.

use super::be16;
use crate::wire::parsed::{Ends, Family, Fragment, Parsed, ParsedFlags, VLAN_MAX};
use crate::wire::{ethertype, protocol};

/// How a look at a frame ended.
pub(super) enum Fast {
    /// It is of another kind; `p` holds anything.
    No,
    /// `p` is what the full parse would say.
    Long,
    /// The same, and it is IPv4's.
    Short(Ends),
}

/// What an untagged IPv4 packet without options has at byte 12: its type, and version and header length.
const IPV4_PLAIN: u32 = 0x0045_0008;

/// Looks at a frame.
#[inline(always)]
pub(super) fn parse(p: &mut Parsed, frame: &[u8]) -> Fast {
    let Some(start) = frame.first_chunk::<34>() else { return Fast::No };
    let flags = if start[0] & 1 == 0 { ParsedFlags::empty() } else { group(start) };
    let [t0, t1, v0, v1] = [start[12], start[13], start[14], start[15]];
    if u32::from_le_bytes([t0, t1, v0, 0]) == IPV4_PLAIN {
        p.vlans = [0; VLAN_MAX];
        return short(ipv4::<false>(p, frame, flags));
    }
    match be16([t0, t1]) {
        ethertype::IPV6 => {
            p.vlans = [0; VLAN_MAX];
            long(ipv6::<false>(p, frame, flags))
        }
        ethertype::VLAN | ethertype::SVLAN => {
            p.vlans = [be16([v0, v1]), 0, 0, 0];
            match be16([start[16], start[17]]) {
                ethertype::IPV4 if start[18] == 0x45 => short(ipv4::<true>(p, frame, flags)),
                ethertype::IPV6 => long(ipv6::<true>(p, frame, flags)),
                _ => Fast::No,
            }
        }
        _ => Fast::No,
    }
}

#[inline(always)]
fn short(ends: Option<Ends>) -> Fast {
    ends.map_or(Fast::No, Fast::Short)
}

#[inline(always)]
fn long(found: Option<()>) -> Fast {
    if found.is_some() { Fast::Long } else { Fast::No }
}

#[cold]
fn group(header: &[u8; 34]) -> ParsedFlags {
    let [d0, d1, d2, d3, d4, d5, ..] = *header;
    if [d0, d1, d2, d3, d4, d5] == [0xff; 6] {
        ParsedFlags::MULTICAST | ParsedFlags::BROADCAST
    } else {
        ParsedFlags::MULTICAST
    }
}

/// Where the network header starts.
const fn l3(tagged: bool) -> u16 {
    if tagged { 18 } else { 14 }
}

/// Of a packet without options.
#[inline(always)]
fn ipv4<const TAGGED: bool>(p: &mut Parsed, frame: &[u8], flags: ParsedFlags) -> Option<Ends> {
    let packet = frame.get(usize::from(l3(TAGGED))..)?;
    let header = packet.first_chunk::<20>()?;
    let [_, tos, len0, len1, id0, id1, _, _, ttl, number, ..] = *header;
    let frag = u16::from_ne_bytes(*header.get(6..)?.first_chunk()?);
    // Offset zero, no more fragments.
    if frag & 0x3fff_u16.to_be() != 0 {
        return None;
    }
    let total = be16([len0, len1]);
    let ip = packet.get(..usize::from(total))?;
    let dont = if frag & 0x4000_u16.to_be() == 0 { ParsedFlags::empty() } else { ParsedFlags::DONT_FRAGMENT };
    let padded = if ip.len() == packet.len() { ParsedFlags::empty() } else { ParsedFlags::PADDED };
    let addresses = u64::from_le_bytes(*header.last_chunk()?);
    p.src = u128::from(addresses as u32).to_le_bytes();
    p.dst = u128::from(addresses >> 32).to_le_bytes();
    p.tos = tos;
    p.ttl = ttl;
    p.fragment = Fragment { id: u32::from(be16([id0, id1])), offset: 0, more: false };
    let facts =
        Facts { family: Family::V4, l3: l3(TAGGED), header_len: 20, tagged: TAGGED, flags: flags | dont | padded };
    let ports = match number {
        protocol::UDP => udp(p, &facts, ip.first_chunk::<28>()?.last_chunk()?, u32::from(total) - 20)?,
        protocol::TCP => tcp(p, &facts, ip.first_chunk::<40>()?.last_chunk()?, u32::from(total) - 20)?,
        _ => return None,
    };
    Some(Ends { addresses, ports, protocol: number })
}

#[inline(always)]
fn ipv6<const TAGGED: bool>(p: &mut Parsed, frame: &[u8], flags: ParsedFlags) -> Option<()> {
    let packet = frame.get(usize::from(l3(TAGGED))..)?;
    let (header, after) = packet.split_first_chunk::<40>()?;
    let (&[v0, v1, _, _, len0, len1, next, hops], addresses) = header.split_first_chunk::<8>()?;
    let (src, dst) = addresses.split_first_chunk::<16>()?;
    if v0 >> 4 != 6 {
        return None;
    }
    let body_len = be16([len0, len1]);
    let body = after.get(..usize::from(body_len))?;
    let padded = if body.len() == after.len() { ParsedFlags::empty() } else { ParsedFlags::PADDED };
    let facts = Facts { family: Family::V6, l3: l3(TAGGED), header_len: 40, tagged: TAGGED, flags: flags | padded };
    match next {
        protocol::UDP => udp(p, &facts, body.first_chunk()?, u32::from(body_len))?,
        protocol::TCP => tcp(p, &facts, body.first_chunk()?, u32::from(body_len))?,
        _ => return None,
    };
    p.src = *src;
    p.dst = *dst.first_chunk::<16>()?;
    p.tos = v0 << 4 | v1 >> 4;
    p.ttl = hops;
    p.fragment = Fragment { id: 0, offset: 0, more: false };
    Some(())
}

/// What is known before the transport header.
struct Facts {
    family: Family,
    l3: u16,
    header_len: u16,
    tagged: bool,
    flags: ParsedFlags,
}

/// The ports: the source's are the upper half.
#[inline(always)]
fn udp(p: &mut Parsed, facts: &Facts, header: &[u8; 8], body_len: u32) -> Option<u32> {
    let (ports, rest) = header.split_first_chunk()?;
    let len = be16(*rest.first_chunk()?);
    if len < 8 || u32::from(len) > body_len {
        return None;
    }
    p.payload_len = u32::from(len) - 8;
    Some(write(p, facts, protocol::UDP, (*ports, 0), ParsedFlags::PORTS, 8))
}

#[inline(always)]
fn tcp(p: &mut Parsed, facts: &Facts, header: &[u8; 20], body_len: u32) -> Option<u32> {
    let [.., offset, tcp_flags, _, _, _, _, _, _] = *header;
    let header_len = u32::from(offset >> 4) * 4;
    let payload_len = body_len.checked_sub(header_len)?;
    if header_len < 20 {
        return None;
    }
    p.payload_len = payload_len;
    let flags = ParsedFlags::PORTS | ParsedFlags::TCP;
    Some(write(p, facts, protocol::TCP, (*header.first_chunk()?, tcp_flags), flags, header_len))
}

/// Fields in the order they stand in, so that neighbours are written at once.
#[inline(always)]
fn write(
    p: &mut Parsed,
    facts: &Facts,
    number: u8,
    (ports, tcp_flags): ([u8; 4], u8),
    flags: ParsedFlags,
    header_len: u32,
) -> u32 {
    let l4 = facts.l3 + facts.header_len;
    p.ethertype = if facts.family == Family::V4 { ethertype::IPV4 } else { ethertype::IPV6 };
    p.l3 = facts.l3;
    p.l4 = l4;
    p.error = None;
    p.family = facts.family;
    p.protocol = number;
    p.vlan_count = u8::from(facts.tagged);
    p.icmp_type = 0;
    p.icmp_code = 0;
    p.tcp_flags = tcp_flags;
    let ports = u32::from_be_bytes(ports);
    p.dst_port = ports as u16;
    p.src_port = (ports >> 16) as u16;
    p.flags = facts.flags | flags;
    p.arp_op = 0;
    p.payload = u32::from(l4) + header_len;
    ports
}
