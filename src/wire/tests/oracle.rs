//! The parse against etherparse, an implementation by others, on good, damaged and cut frames.

use super::frames::{Shape, shape};
use crate::wire::parse::parse_in_full;
use crate::wire::{Family, ParseError, Parsed, ParsedFlags, flow_hash, parse, parse_inner, parse_super, protocol};
use etherparse::{LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

fn pad(addr: [u8; 4]) -> [u8; 16] {
    let mut out = [0; 16];
    out[..4].copy_from_slice(&addr);
    out
}

/// Where `inner`, a part of `frame`, starts.
fn offset(frame: &[u8], inner: &[u8]) -> usize {
    inner.as_ptr().addr() - frame.as_ptr().addr()
}

/// Asserts that both understood a frame alike.
fn same(frame: &[u8], ours: &Parsed, theirs: &SlicedPacket) -> Result<(), TestCaseError> {
    let tags: Vec<u16> = theirs
        .link_exts
        .iter()
        .filter_map(|ext| match ext {
            LinkExtSlice::Vlan(vlan) => Some(u16::from_be_bytes([vlan.slice()[0], vlan.slice()[1]])),
            _ => None,
        })
        .collect();
    prop_assert_eq!(&ours.vlans[..usize::from(ours.vlan_count)], &tags);
    let payload = match &theirs.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            prop_assert_eq!(ours.family, Family::V4);
            prop_assert_eq!(usize::from(ours.l3), offset(frame, header.slice()));
            prop_assert_eq!((ours.src, ours.dst), (pad(header.source()), pad(header.destination())));
            prop_assert_eq!((ours.ttl, ours.protocol), (header.ttl(), header.protocol().0));
            prop_assert_eq!(ours.tos >> 2, header.dcp().value());
            prop_assert_eq!(ours.flags.contains(ParsedFlags::IP_OPTIONS), !header.options().is_empty());
            prop_assert_eq!(ours.flags.contains(ParsedFlags::DONT_FRAGMENT), header.dont_fragment());
            prop_assert_eq!(ours.is_fragment(), header.is_fragmenting_payload());
            prop_assert_eq!(ours.fragment.id, u32::from(header.identification()));
            prop_assert_eq!(ours.fragment.offset, header.fragments_offset().value() * 8);
            prop_assert_eq!(ours.fragment.more, header.more_fragments());
            // Weir leaves an authentication header over IPv4 to the filter as a protocol of its own.
            if ours.protocol == protocol::AH {
                return Ok(());
            }
            ip.payload()
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header();
            prop_assert_eq!(ours.family, Family::V6);
            prop_assert_eq!((ours.src, ours.dst), (header.source(), header.destination()));
            prop_assert_eq!((ours.ttl, ours.tos), (header.hop_limit(), header.traffic_class()));
            // etherparse 0.19 takes two bits of the fragment offset for the reserved ones, and the other way round
            // (RFC 8200 section 4.5): the tables in `parse.rs` say who is right.
            if ours.is_fragment() != ip.is_payload_fragmented() {
                return Ok(());
            }
            if later_extension(ours) {
                return Ok(());
            }
            ip.payload()
        }
        _ => return Ok(()),
    };
    prop_assert_eq!(ours.protocol, payload.ip_number.0);
    match &theirs.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            prop_assert!(ours.flags.contains(ParsedFlags::TCP | ParsedFlags::PORTS));
            prop_assert_eq!(usize::from(ours.l4), offset(frame, tcp.slice()));
            prop_assert_eq!((ours.src_port, ours.dst_port), (tcp.source_port(), tcp.destination_port()));
            prop_assert_eq!(ours.tcp_flags, tcp.slice()[13]);
            prop_assert_eq!(ours.payload as usize, offset(frame, tcp.payload()));
            prop_assert_eq!(ours.payload_len as usize, tcp.payload().len());
        }
        Some(TransportSlice::Udp(udp)) => {
            prop_assert!(ours.flags.contains(ParsedFlags::PORTS));
            prop_assert_eq!((ours.src_port, ours.dst_port), (udp.source_port(), udp.destination_port()));
            prop_assert_eq!(ours.payload as usize, offset(frame, udp.payload()));
            prop_assert_eq!(ours.payload_len as usize, udp.payload().len());
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            if ours.family == Family::V4 {
                prop_assert_eq!((ours.icmp_type, ours.icmp_code), (icmp.type_u8(), icmp.code_u8()));
            }
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            if ours.family == Family::V6 {
                prop_assert_eq!((ours.icmp_type, ours.icmp_code), (icmp.type_u8(), icmp.code_u8()));
            }
        }
        None => {
            // etherparse reads no transport header in any fragment, Weir in the first; nor SCTP.
            let known = ours.flags.intersects(ParsedFlags::PORTS | ParsedFlags::ICMP);
            prop_assert!(!known || ours.is_fragment() || ours.protocol == protocol::SCTP, "{ours:?}");
            let start = if known { usize::from(ours.l4) } else { ours.payload as usize };
            prop_assert_eq!(start, offset(frame, payload.payload));
            if !known {
                prop_assert_eq!(ours.payload_len as usize, payload.payload.len());
            }
        }
    }
    Ok(())
}

/// Compares verdicts, then contents.
fn compare(frame: &[u8]) -> Result<(), TestCaseError> {
    let ours = parse(frame);
    prop_assert_eq!(ours, parse_in_full(frame));
    check_bounds(frame, &ours)?;
    // Tags that are not IEEE 802.1Q's, and MACsec: only etherparse looks behind them.
    // Behind four tags only Weir does.
    if matches!(ours.ethertype, 0x9100 | 0x88e5) || ours.vlan_count > 3 {
        return Ok(());
    }
    let theirs = SlicedPacket::from_ethernet(frame);
    // etherparse takes an IPv6 payload length of 0 for "to the end", as of a super-frame; Weir only in `parse_super`.
    let open_end = |ip: &NetSlice| ip.ipv6_ref().is_some_and(|ip| ip.header().payload_length() == 0);
    if theirs.as_ref().is_ok_and(|theirs| theirs.net.as_ref().is_some_and(open_end)) {
        return Ok(());
    }
    match (ours.error, theirs) {
        (None, Ok(theirs)) => same(frame, &ours, &theirs),
        // Weir is stricter about fragments, option chains and tags, and reads ICMP's eight bytes.
        (Some(ParseError::Fragment | ParseError::IpOption | ParseError::Normalize), _) => Ok(()),
        (Some(_), Err(_)) => Ok(()),
        (Some(error), Ok(theirs)) => {
            let lenient = match &theirs.transport {
                Some(TransportSlice::Udp(_)) => true,
                None => ours.protocol == protocol::SCTP || ours.is_fragment() || theirs.net.is_none(),
                _ => false,
            };
            prop_assert!(lenient, "{error:?} {ours:?} {theirs:?}");
            Ok(())
        }
        (None, Err(error)) => {
            // What etherparse alone refuses: AH over IPv4, odd ARP, ICMP over the other
            // IP, and timestamp messages that are not 20 bytes.
            let ours_only = ours.protocol == protocol::AH
                || ours.family == Family::None
                || matches!(
                    (ours.family, ours.protocol),
                    (Family::V6, protocol::ICMP) | (Family::V4, protocol::ICMPV6)
                )
                || matches!((ours.protocol, ours.icmp_type), (protocol::ICMP, 13 | 14))
                || later_extension(&ours);
            prop_assert!(ours_only, "{error:?} {ours:?}");
            Ok(())
        }
    }
}

/// A fragment's payload that begins with another extension header: only etherparse goes on there.
fn later_extension(ours: &Parsed) -> bool {
    ours.is_later_fragment() && matches!(ours.protocol, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)
        || matches!(ours.protocol, 135 | 139 | 140)
}

/// Every offset that a parse returns is inside the frame.
fn check_bounds(frame: &[u8], parsed: &Parsed) -> Result<(), TestCaseError> {
    if parsed.error.is_none() {
        prop_assert!(parsed.end() <= frame.len(), "{parsed:?}");
        prop_assert!(usize::from(parsed.l4) <= frame.len());
        prop_assert!(usize::from(parsed.l3) <= frame.len());
    }
    prop_assert!(usize::from(parsed.vlan_count) <= parsed.vlans.len());
    let _ = flow_hash(frame, parsed, 1);
    let _ = parse_inner(frame, parsed);
    Ok(())
}

fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)
}

fn well_formed(shape: &Shape) -> bool {
    parse(&shape.build()).error.is_none()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn good_frames_are_read_alike(shape in shape()) {
        let frame = shape.build();
        compare(&frame)?;
        // Of damaged frames the two disagree on the reserved bits of a fragment header, which RFC 8200 has ignored.
        if let (Ok(SlicedPacket { net: Some(NetSlice::Ipv6(ip)), .. }), true) = (SlicedPacket::from_ethernet(&frame), well_formed(&shape)) {
            prop_assert_eq!(parse(&frame).is_fragment(), ip.is_payload_fragmented());
        }
    }

    #[test]
    fn damaged_frames_are_judged_alike(shape in shape(), damage in damage(), cut in any::<prop::sample::Index>(), cuts in any::<bool>()) {
        let mut frame = shape.build();
        for (at, value) in damage {
            // Half of the damage goes where the headers are.
            let len = if value & 1 == 0 { frame.len() } else { frame.len().min(70) };
            frame[at.index(len)] = value;
        }
        if cuts {
            frame.truncate(cut.index(frame.len() + 1));
        }
        compare(&frame)?;
    }

    #[test]
    fn any_bytes_at_all(frame in prop::collection::vec(any::<u8>(), 0..200)) {
        compare(&frame)?;
        let parsed = parse_super(&frame);
        check_bounds(&frame, &parsed)?;
    }

    /// Both directions of a flow, and every fragment of a datagram, fall to one shard.
    #[test]
    fn hash_is_symmetric(shape in shape(), seed in any::<u64>()) {
        let frame = shape.build();
        let parsed = parse(&frame);
        let turned = Parsed {
            src: parsed.dst,
            dst: parsed.src,
            src_port: parsed.dst_port,
            dst_port: parsed.src_port,
            ..parsed
        };
        if !parsed.flags.contains(ParsedFlags::ICMP_ERROR) {
            prop_assert_eq!(flow_hash(&frame, &parsed, seed), flow_hash(&frame, &turned, seed));
        }
    }
}

#[test]
fn most_shapes_are_well_formed() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let good = (0..1000).filter(|_| well_formed(&shape().new_tree(&mut runner).unwrap().current())).count();
    assert!(good > 500, "the strategy makes mostly malformed frames: {good} of 1000 are good");
}
