//! The parse.

mod fast;

use self::fast::Fast;
use super::parsed::{Ends, Family, Fragment, ParseError, Parsed, ParsedFlags, VLAN_MAX};
use super::{ethertype, protocol};

/// Most IPv6 extension headers that are walked (pf's `pf_hdr_limit` is the same idea).
const EXTENSIONS_MAX: usize = 16;

/// Parses a frame that starts with its Ethernet header and has no FCS.
#[must_use]
#[inline]
pub fn parse(frame: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let _ = parse_into(&mut parsed, frame);
    parsed
}

/// [`parse`] into memory that is there already; whatever it held is overwritten. `Some`: it is TCP or UDP over IPv4, neither
/// fragment nor malformed and without options. (`None` says nothing.)
#[inline(always)]
pub fn parse_into(parsed: &mut Parsed, frame: &[u8]) -> Option<Ends> {
    match fast::parse(parsed, frame) {
        Fast::Short(ends) => Some(ends),
        Fast::Long => None,
        Fast::No => {
            run_into(parsed, frame);
            None
        }
    }
}

#[inline(never)]
fn run_into(parsed: &mut Parsed, frame: &[u8]) {
    *parsed = run(frame, Mode::Whole);
}

/// [`parse`] without the shortcut for common frames; slower, and the same.
#[cfg(test)]
pub(super) fn parse_in_full(frame: &[u8]) -> Parsed {
    run(frame, Mode::Whole)
}

/// [`parse`] for a TSO super-frame: an IPv4 total length or IPv6 payload length that is zero or too small for the
/// frame, as stacks leave it, counts as "to the end of the frame".
#[must_use]
pub fn parse_super(frame: &[u8]) -> Parsed {
    run(frame, Mode::Super)
}

/// [`parse`] for the beginning of a frame whose rest is elsewhere: lengths are what the headers give, and headers have
/// to be whole.
#[must_use]
pub fn parse_head(frame: &[u8]) -> Parsed {
    run(frame, Mode::Head)
}

#[inline(never)]
fn run(frame: &[u8], mode: Mode) -> Parsed {
    let mut parsed = Parsed::default();
    if let Err(error) = ethernet(&mut parsed, frame, mode) {
        parsed.error = Some(error);
    }
    parsed
}

/// Parses the start of the packet that an ICMP or ICMPv6 error is about (RFC 792, RFC 4443 section 2.4). Offsets are
/// from the start of `frame`, `payload_len` is what the inner header gives, and the packet may be cut off anywhere
/// behind the first 8 bytes of its transport header. `None` when `outer` is no such error or the inner packet is
/// malformed.
#[must_use]
pub fn parse_inner(frame: &[u8], outer: &Parsed) -> Option<Parsed> {
    if !outer.flags.contains(ParsedFlags::ICMP_ERROR) || outer.error.is_some() {
        return None;
    }
    let at = outer.payload as usize;
    let packet = frame.get(at..outer.end())?;
    let mut inner = Parsed { l3: u16::try_from(at).ok()?, ethertype: outer.ethertype, ..Parsed::default() };
    let walked = match outer.family {
        Family::V4 => ipv4(&mut inner, packet, at, Mode::Inner),
        Family::V6 => ipv6(&mut inner, packet, at, Mode::Inner),
        Family::None => return None,
    };
    walked.ok()?;
    Some(inner)
}

/// How strictly lengths are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Whole,
    Super,
    /// Inside an ICMP error: cut off.
    Inner,
    /// Cut off behind the headers.
    Head,
}

impl Mode {
    /// The packet may be longer than the bytes that are there.
    fn is_cut(self) -> bool {
        matches!(self, Self::Inner | Self::Head)
    }
}

fn be16(bytes: [u8; 2]) -> u16 {
    u16::from_be_bytes(bytes)
}

fn ethernet(p: &mut Parsed, frame: &[u8], mode: Mode) -> Result<(), ParseError> {
    let Some((header, mut rest)) = frame.split_first_chunk::<14>() else {
        return Err(ParseError::Runt);
    };
    let [d0, d1, d2, d3, d4, d5, .., t0, t1] = *header;
    if d0 & 1 != 0 {
        p.flags |= ParsedFlags::MULTICAST;
        if [d0, d1, d2, d3, d4, d5] == [0xff; 6] {
            p.flags |= ParsedFlags::BROADCAST;
        }
    }
    p.ethertype = be16([t0, t1]);
    p.l3 = 14;
    while matches!(p.ethertype, ethertype::VLAN | ethertype::SVLAN) {
        let Some(slot) = p.vlans.get_mut(usize::from(p.vlan_count)) else {
            const { assert!(VLAN_MAX < 255) };
            return Err(ParseError::Normalize);
        };
        let Some(([c0, c1, t0, t1], inner)) = rest.split_first_chunk::<4>() else {
            return Err(ParseError::Short);
        };
        *slot = be16([*c0, *c1]);
        p.ethertype = be16([*t0, *t1]);
        p.vlan_count += 1;
        p.l3 += 4;
        rest = inner;
    }
    p.payload = u32::from(p.l3);
    p.payload_len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
    match p.ethertype {
        ethertype::IPV4 => ipv4(p, rest, usize::from(p.l3), mode),
        ethertype::IPV6 => ipv6(p, rest, usize::from(p.l3), mode),
        ethertype::ARP => arp(p, rest),
        _ => Ok(()),
    }
}

fn arp(p: &mut Parsed, packet: &[u8]) -> Result<(), ParseError> {
    let header = packet.first_chunk::<8>().ok_or(ParseError::Short)?;
    // RFC 826 for Ethernet (hardware type 1) and IPv4; others are carried, not read.
    let [0, 1, 8, 0, 6, 4, op0, op1] = *header else {
        return Ok(());
    };
    let body = packet.first_chunk::<28>().ok_or(ParseError::Short)?;
    let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, s0, s1, s2, s3, _, _, _, _, _, _, t0, t1, t2, t3] = *body;
    p.arp_op = be16([op0, op1]);
    p.src = first4([s0, s1, s2, s3]);
    p.dst = first4([t0, t1, t2, t3]);
    p.flags |= ParsedFlags::ARP;
    if packet.len() > 28 {
        p.flags |= ParsedFlags::PADDED;
    }
    p.payload += 28;
    p.payload_len = 0;
    Ok(())
}

fn first4(addr: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = addr;
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn ipv4(p: &mut Parsed, packet: &[u8], l3: usize, mode: Mode) -> Result<(), ParseError> {
    let header = packet.first_chunk::<20>().ok_or(ParseError::Short)?;
    let [vihl, tos, len0, len1, id0, id1, frag0, frag1, ttl, proto, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    if vihl >> 4 != 4 {
        return Err(ParseError::BadOffset);
    }
    p.family = Family::V4;
    p.tos = tos;
    p.ttl = ttl;
    p.protocol = proto;
    p.src = first4([s0, s1, s2, s3]);
    p.dst = first4([d0, d1, d2, d3]);
    let header_len = usize::from(vihl & 15) * 4;
    let mut total = usize::from(be16([len0, len1]));
    if mode == Mode::Super {
        total = packet.len();
    }
    if header_len < 20 || total < header_len {
        return Err(ParseError::BadOffset);
    }
    if packet.len() < header_len || (!mode.is_cut() && packet.len() < total) {
        return Err(ParseError::Short);
    }
    if header_len > 20 {
        p.flags |= ParsedFlags::IP_OPTIONS;
    }
    if packet.len() > total {
        p.flags |= ParsedFlags::PADDED;
    }
    let body_len = total - header_len;
    p.payload = (l3 + header_len) as u32;
    p.payload_len = body_len as u32;
    let frag = be16([frag0, frag1]);
    if frag & 0x4000 != 0 {
        p.flags |= ParsedFlags::DONT_FRAGMENT;
    }
    p.fragment.id = u32::from(be16([id0, id1]));
    fragment(p, (frag & 0x1fff) << 3, frag & 0x2000 != 0, body_len)?;
    let body = packet.get(header_len..total.min(packet.len())).ok_or(ParseError::Short)?;
    transport(p, body, l3 + header_len, mode)
}

/// Checks fragment fields; `len` is the fragment's payload in bytes.
fn fragment(p: &mut Parsed, offset: u16, more: bool, len: usize) -> Result<(), ParseError> {
    if offset == 0 && !more {
        return Ok(());
    }
    p.flags |= ParsedFlags::FRAGMENT;
    p.fragment = Fragment { id: p.fragment.id, offset, more };
    // All but the last are multiples of 8 bytes, none is empty, and together they fit into 65535 bytes.
    let odd = more && len & 7 != 0;
    // RFC 3128: a TCP fragment at offset 8 would overwrite the flags that the first one was judged by.
    let overwrites = p.protocol == protocol::TCP && offset == 8;
    if odd || len == 0 || usize::from(offset) + len > 65535 || overwrites {
        return Err(ParseError::Fragment);
    }
    Ok(())
}

fn ipv6(p: &mut Parsed, packet: &[u8], l3: usize, mode: Mode) -> Result<(), ParseError> {
    let (header, after) = packet.split_first_chunk::<40>().ok_or(ParseError::Short)?;
    let (&[v0, v1, _, _, len0, len1, next, hops], addresses) =
        header.split_first_chunk::<8>().ok_or(ParseError::Short)?;
    if v0 >> 4 != 6 {
        return Err(ParseError::BadOffset);
    }
    let (src, dst) = addresses.split_first_chunk::<16>().ok_or(ParseError::Short)?;
    p.family = Family::V6;
    p.tos = v0 << 4 | v1 >> 4;
    p.ttl = hops;
    p.protocol = next;
    p.src = *src;
    p.dst = *dst.first_chunk::<16>().ok_or(ParseError::Short)?;
    let mut len = usize::from(be16([len0, len1]));
    if mode == Mode::Super {
        len = after.len();
    } else if len == 0 && next == protocol::HOP_BY_HOP {
        // Only a jumbogram (RFC 2675) has hop-by-hop options in no payload.
        return Err(ParseError::Normalize);
    }
    p.payload = (l3 + 40) as u32;
    p.payload_len = len as u32;
    if after.len() < len && !mode.is_cut() {
        return Err(ParseError::Short);
    }
    if after.len() > len {
        p.flags |= ParsedFlags::PADDED;
    }
    let body = after.get(..len.min(after.len())).ok_or(ParseError::Short)?;
    match next {
        protocol::TCP | protocol::UDP | protocol::ICMPV6 => transport(p, body, l3 + 40, mode),
        _ => extensions(p, body, l3 + 40, mode),
    }
}

/// Walks extension headers (RFC 8200 section 4); `p.protocol` is the first one's number.
fn extensions(p: &mut Parsed, body: &[u8], at: usize, mode: Mode) -> Result<(), ParseError> {
    let mut rest = body;
    let mut start = at;
    let mut fragmented = false;
    for position in 0..EXTENSIONS_MAX {
        let units = match p.protocol {
            // Hop-by-hop options come first or not at all (section 4.1); elsewhere the number is unrecognised.
            protocol::HOP_BY_HOP if position > 0 => return Err(ParseError::IpOption),
            protocol::HOP_BY_HOP | protocol::DEST_OPTS | protocol::ROUTING => 8,
            protocol::FRAGMENT | protocol::AH => 4,
            _ => return transport(p, rest, start, mode),
        };
        let Some(&[next, len, b2, b3, b4, b5, b6, b7]) = rest.first_chunk::<8>() else {
            return Err(ParseError::Short);
        };
        let size = match p.protocol {
            protocol::FRAGMENT => 8,
            // RFC 4302 section 2.2: the length is in 4-byte units, minus 2.
            protocol::AH => (usize::from(len) + 2) * units,
            _ => (usize::from(len) + 1) * units,
        };
        // RFC 4302 section 2: next header to sequence number take 12 bytes.
        if p.protocol == protocol::AH && size < 12 {
            return Err(ParseError::BadOffset);
        }
        let Some(after) = rest.get(size..) else {
            return Err(ParseError::Short);
        };
        let kind = p.protocol;
        p.protocol = next;
        p.payload += size as u32;
        p.payload_len = p.payload_len.saturating_sub(size as u32);
        match kind {
            protocol::ROUTING if b2 == 0 => return Err(ParseError::IpOption),
            protocol::FRAGMENT => {
                if fragmented {
                    return Err(ParseError::Fragment);
                }
                fragmented = true;
                p.fragment.id = u32::from_be_bytes([b4, b5, b6, b7]);
                let bits = be16([b2, b3]);
                let len = p.payload_len as usize;
                fragment(p, bits & 0xfff8, bits & 1 != 0, len)?;
                if p.is_later_fragment() {
                    return Ok(());
                }
            }
            protocol::AH => {}
            protocol::ROUTING => p.flags |= ParsedFlags::IP_OPTIONS | ParsedFlags::ROUTING_HEADER,
            _ => p.flags |= ParsedFlags::IP_OPTIONS,
        }
        rest = after;
        start += size;
    }
    Err(ParseError::IpOption)
}

fn transport(p: &mut Parsed, body: &[u8], at: usize, mode: Mode) -> Result<(), ParseError> {
    if p.is_later_fragment() {
        return Ok(());
    }
    p.l4 = u16::try_from(at).map_err(|_| ParseError::BadOffset)?;
    // The length that counts is the one the network layer gave; an inner packet may have less of it here.
    let (header_len, payload_len) = match p.protocol {
        protocol::TCP => tcp(p, body, mode)?,
        protocol::UDP => udp(p, body, mode)?,
        protocol::SCTP => {
            ports(p, body)?;
            let whole = mode == Mode::Inner || body.len() >= 12;
            if !whole {
                return Err(ParseError::Short);
            }
            (12, p.payload_len.saturating_sub(12))
        }
        protocol::ICMP if p.family == Family::V4 => icmp(p, body)?,
        protocol::ICMPV6 if p.family == Family::V6 => icmp(p, body)?,
        _ => return Ok(()),
    };
    p.payload += header_len;
    p.payload_len = payload_len;
    Ok(())
}

fn ports(p: &mut Parsed, body: &[u8]) -> Result<(), ParseError> {
    let [s0, s1, d0, d1] = *body.first_chunk::<4>().ok_or(ParseError::Short)?;
    p.src_port = be16([s0, s1]);
    p.dst_port = be16([d0, d1]);
    p.flags |= ParsedFlags::PORTS;
    Ok(())
}

fn tcp(p: &mut Parsed, body: &[u8], mode: Mode) -> Result<(u32, u32), ParseError> {
    ports(p, body)?;
    let Some(&[.., offset, flags, _, _, _, _, _, _]) = body.first_chunk::<20>() else {
        // RFC 792 promises 8 bytes of what an error is about: the ports.
        return if mode == Mode::Inner { Ok((0, p.payload_len)) } else { Err(ParseError::Short) };
    };
    p.tcp_flags = flags;
    p.flags |= ParsedFlags::TCP;
    let header_len = usize::from(offset >> 4) * 4;
    if header_len < 20 {
        return Err(ParseError::BadOffset);
    }
    if header_len > body.len() && mode != Mode::Inner {
        return Err(ParseError::Short);
    }
    Ok((header_len as u32, p.payload_len.saturating_sub(header_len as u32)))
}

fn udp(p: &mut Parsed, body: &[u8], mode: Mode) -> Result<(u32, u32), ParseError> {
    ports(p, body)?;
    let Some(&[.., len0, len1, _, _]) = body.first_chunk::<8>() else {
        return Err(ParseError::Short);
    };
    let len = u32::from(be16([len0, len1]));
    if len < 8 {
        return Err(ParseError::BadOffset);
    }
    // A first fragment holds only part of what the length covers.
    if mode != Mode::Inner && !p.is_fragment() && len > p.payload_len {
        return Err(ParseError::Short);
    }
    Ok((8, (len - 8).min(p.payload_len.saturating_sub(8))))
}

fn icmp(p: &mut Parsed, body: &[u8]) -> Result<(u32, u32), ParseError> {
    let [kind, code, ..] = *body.first_chunk::<8>().ok_or(ParseError::Short)?;
    p.icmp_type = kind;
    p.icmp_code = code;
    p.flags |= ParsedFlags::ICMP;
    let error = match p.family {
        // Unreachable, quench, redirect, time exceeded, parameter problem (RFC 792).
        Family::V4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        // RFC 4443 section 2.1: types below 128 are errors; 1 to 4 are defined and carry the packet at byte 8.
        _ => matches!(kind, 1..=4),
    };
    if error {
        p.flags |= ParsedFlags::ICMP_ERROR;
    }
    Ok((8, p.payload_len.saturating_sub(8)))
}
