//! Whole frames and fragments.

use super::{Change, apply, changes, fill};
use crate::wire::rewrite::Edit;
use crate::wire::tests::frames::{Net, Shape, Transport, shape};
use crate::wire::{ParsedFlags, crc32c, offload, parse, protocol};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

fn valid(frame: &[u8]) -> bool {
    let parsed = parse(frame);
    offload::is_ipv4_header_valid(frame, &parsed) != Some(false)
        && offload::is_transport_valid(frame, &parsed) != Some(false)
}

proptest! {
    // Only one shape in five has a checksum that can be left to the NIC.
    #![proptest_config(ProptestConfig { max_global_rejects: 16_384, ..ProptestConfig::default() })]

    /// Whatever is changed: sums are right, `Parsed` is what a new parse says, and nothing else moved.
    #[test]
    fn sums_and_parse_stay_in_step(shape in shape(), changes in changes()) {
        let mut frame = shape.build();
        let mut parsed = fill(&mut frame);
        let before = frame.clone();
        let routed = parsed.flags.contains(ParsedFlags::ROUTING_HEADER);
        let Some(mut edit) = Edit::new(&mut frame, &mut parsed, false) else {
            prop_assert!(parsed.error.is_some());
            return Ok(());
        };
        let done = apply(&mut edit, &changes);
        prop_assert_eq!(parsed, parse(&frame));
        prop_assert!(routed || valid(&frame));
        prop_assert_eq!(&frame[parsed.payload as usize..], &before[parsed.payload as usize..]);
        if done == 0 {
            prop_assert_eq!(frame, before);
        }
    }

    /// A sum that was wrong is as wrong afterwards: the error is the same in ones' complement.
    #[test]
    fn damage_is_not_hidden(shape in shape(), changes in changes(), error in 1u16..0xffff) {
        let mut frame = shape.build();
        let mut parsed = fill(&mut frame);
        prop_assume!(offload::is_transport_valid(&frame, &parsed) == Some(true));
        let field = usize::from(parsed.l4) + match parsed.protocol { 6 => 16, 17 => 6, _ => 2 };
        let sum = u16::from_be_bytes([frame[field], frame[field + 1]]);
        let damaged = crate::wire::checksum::update(sum, 0, error);
        prop_assume!(damaged != 0 || parsed.protocol != protocol::UDP);
        frame[field..field + 2].copy_from_slice(&damaged.to_be_bytes());
        prop_assume!(offload::is_transport_valid(&frame, &parsed) == Some(false));
        apply(&mut Edit::new(&mut frame, &mut parsed, false).unwrap(), &changes);
        prop_assert_eq!(offload::is_transport_valid(&frame, &parsed), Some(false));
    }

    /// The NIC finishes a partial checksum after the change as it would have before.
    #[test]
    fn partial_checksums(shape in shape(), changes in changes(), super_frame in any::<bool>()) {
        let mut frame = shape.build();
        let parsed = parse(&frame);
        let at = match parsed.protocol { 6 => 16, 17 => 6, _ => 0 };
        let routed = parsed.flags.contains(ParsedFlags::ROUTING_HEADER);
        prop_assume!(parsed.error.is_none() && !parsed.is_fragment() && at > 0 && !routed);
        frame.truncate(parsed.end());
        let mut parsed = if super_frame { crate::wire::parse_super(&frame) } else { parse(&frame) };
        let (l4, at) = (usize::from(parsed.l4), usize::from(parsed.l4) + at);
        let _ = offload::fill_ipv4_header(&mut frame, &parsed);
        let pseudo = offload::pseudo_header(&parsed, frame.len() - l4).unwrap();
        frame[at..at + 2].copy_from_slice(&pseudo.value().to_be_bytes());
        apply(&mut Edit::new(&mut frame, &mut parsed, true).unwrap(), &changes);
        prop_assert!(offload::finish_partial(&mut frame, parsed.l4, at as u16));
        prop_assert!(valid(&frame));
    }

    /// The same change in every fragment is that change of the datagram.
    #[test]
    fn fragments_join_to_a_valid_datagram(
        payload in prop::collection::vec(any::<u8>(), 40..400),
        udp in any::<bool>(),
        cut in 3usize..20,
        changes in changes(),
    ) {
        let link = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        let mut whole = Vec::new();
        match udp {
            true => link.udp(1000, 53).write(&mut whole, &payload),
            false => link.tcp(1000, 80, 7, 8).ack(9).write(&mut whole, &payload),
        }.unwrap();
        let (head, body) = whole.split_at(34);
        let mut joined = Vec::new();
        let mut headers = Vec::new();
        for (index, part) in body.chunks(cut * 8).enumerate() {
            let mut frame = [head, part].concat();
            let offset = (index * cut) as u16 | u16::from((index + 1) * cut * 8 < body.len()) << 13;
            frame[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            frame[20..22].copy_from_slice(&offset.to_be_bytes());
            let mut parsed = parse(&frame);
            prop_assert_eq!(parsed.error, None);
            let _ = offload::fill_ipv4_header(&mut frame, &parsed);
            apply(&mut Edit::new(&mut frame, &mut parsed, false).unwrap(), &changes);
            prop_assert_eq!(parsed, parse(&frame));
            prop_assert_eq!(offload::is_ipv4_header_valid(&frame, &parsed), Some(true));
            joined.extend_from_slice(&frame[34..]);
            headers.push(frame[..34].to_vec());
        }
        let mut frame = [&headers[0][..], &joined].concat();
        frame[16..18].copy_from_slice(&(20 + joined.len() as u16).to_be_bytes());
        frame[20..22].fill(0);
        prop_assert_eq!(offload::is_transport_valid(&frame, &parse(&frame)), Some(true));
    }

    /// No bytes at all make it panic, whatever was parsed.
    #[test]
    fn any_bytes(frame in prop::collection::vec(any::<u8>(), 0..120), other in shape(), changes in changes(), partial in any::<bool>()) {
        let mut parsed = parse(&frame);
        let mut bytes = frame.clone();
        if let Some(mut edit) = Edit::new(&mut bytes, &mut parsed, partial) {
            apply(&mut edit, &changes);
        }
        // Even a description of another frame.
        let mut foreign = parse(&other.build());
        let mut bytes = frame;
        if let Some(mut edit) = Edit::new(&mut bytes, &mut foreign, partial) {
            apply(&mut edit, &changes);
        }
    }
}

/// A translated frame is, byte for byte, the frame that etherparse builds with the other addresses and ports.
#[test]
fn as_if_built_that_way() {
    let payload = b"the quick brown fox";
    for v6 in [false, true] {
        for kind in 0..3 {
            let build = |addrs: [u8; 2], ports: (u16, u16)| {
                let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
                let [a, b] = addrs;
                let mut out = Vec::new();
                let mut v4 = [10, 0, 0, a];
                v4[1] = a ^ 0x5a;
                match (v6, kind) {
                    (false, 0) => link.ipv4(v4, [10, 9, 8, b], 61).tcp(ports.0, ports.1, 1, 2).write(&mut out, payload),
                    (false, 1) => link.ipv4(v4, [10, 9, 8, b], 61).udp(ports.0, ports.1).write(&mut out, payload),
                    (false, _) => {
                        link.ipv4(v4, [10, 9, 8, b], 61).icmpv4_echo_request(ports.0, 7).write(&mut out, payload)
                    }
                    (true, 0) => link.ipv6([a; 16], [b; 16], 61).tcp(ports.0, ports.1, 1, 2).write(&mut out, payload),
                    (true, 1) => link.ipv6([a; 16], [b; 16], 61).udp(ports.0, ports.1).write(&mut out, payload),
                    (true, _) => {
                        link.ipv6([a; 16], [b; 16], 61).icmpv6_echo_request(ports.0, 7).write(&mut out, payload)
                    }
                }
                .unwrap();
                out
            };
            let mut frame = build([1, 2], (1111, 2222));
            let wanted = build([201, 77], (40_000, 443));
            let target = parse(&wanted);
            let mut parsed = parse(&frame);
            let mut edit = Edit::new(&mut frame, &mut parsed, false).unwrap();
            assert!(edit.set_src(target.src) && edit.set_dst(target.dst));
            if kind == 2 {
                assert_eq!(edit.icmp_id(), Some(1111));
                assert!(edit.set_icmp_id(40_000) && !edit.set_src_port(1));
            } else {
                assert!(edit.set_src_port(40_000) && edit.set_dst_port(443) && !edit.set_icmp_id(1));
            }
            assert_eq!(frame, wanted, "v6 {v6}, kind {kind}");
            assert_eq!(parsed, target);
            assert!(SlicedPacket::from_ethernet(&frame).is_ok());
        }
    }
}

#[test]
fn udp_without_a_checksum_stays_without() {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9).udp(1, 2);
    builder.write(&mut frame, b"x").unwrap();
    frame[40..42].fill(0);
    let mut parsed = parse(&frame);
    let mut edit = Edit::new(&mut frame, &mut parsed, false).unwrap();
    assert!(edit.set_src([9; 16]) && edit.set_dst_port(99));
    assert_eq!(frame[40..42], [0, 0]);
    assert_eq!(offload::is_ipv4_header_valid(&frame, &parsed), Some(true));
}

/// RFC 768: a sum that comes out as zero is sent as ffff. Some port makes it so.
#[test]
fn udp_never_becomes_without() {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9).udp(1, 2);
    builder.write(&mut frame, b"x").unwrap();
    let mut zeros = 0;
    for port in 0..=u16::MAX {
        let mut parsed = parse(&frame);
        assert!(Edit::new(&mut frame, &mut parsed, false).unwrap().set_src_port(port));
        assert_ne!(frame[40..42], [0, 0]);
        zeros += usize::from(frame[40..42] == [0xff, 0xff]);
        if port % 257 == 0 {
            assert_eq!(offload::is_transport_valid(&frame, &parsed), Some(true));
        }
    }
    assert!(zeros >= 1);
}

#[test]
fn type_of_service_keeps_congestion_marks() {
    for v6 in [false, true] {
        let net = if v6 {
            Net::V6 { extensions: Vec::new(), src: [1; 16], dst: [2; 16] }
        } else {
            Net::V4 { options: 0, id: 7, dont: true, offset: 0, more: false, src: [1; 4], dst: [2; 4] }
        };
        let transport = Transport::Udp { src: 1, dst: 2 };
        let mut frame = Shape { tags: vec![(false, 5)], net, transport, payload: vec![1; 9], padding: 0 }.build();
        let at = 18;
        if v6 {
            frame[at + 1] |= 0x30
        } else {
            frame[at + 1] |= 3
        };
        let mut parsed = fill(&mut frame);
        assert_eq!(parsed.tos & 3, 3);
        let mut edit = Edit::new(&mut frame, &mut parsed, false).unwrap();
        assert!(edit.set_tos(0x28) && edit.set_vlan(0, 0xe00a) && !edit.set_vlan(1, 1));
        assert_eq!(parsed.tos, 0x2b);
        assert_eq!(parsed, parse(&frame));
        let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
        match sliced.net.unwrap() {
            NetSlice::Ipv4(ip) => assert_eq!((ip.header().dcp().value(), ip.header().ecn().value()), (10, 3)),
            NetSlice::Ipv6(ip) => {
                assert_eq!((ip.header().traffic_class(), ip.header().flow_label().value()), (0x2b, 0x1_0203))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sctp_ports_change_the_crc() {
    // RFC 3720 appendix B.4: the CRC32c of 32 zeros.
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    let sum = |packet: &[u8]| {
        let mut packet = packet.to_vec();
        packet[8..12].fill(0);
        crc32c::crc32c(&packet)
    };
    for v6 in [false, true] {
        let mut packet = vec![0x0b, 0xb8, 0x0b, 0xb9, 1, 2, 3, 4, 0, 0, 0, 0];
        packet.extend((0..101).map(|byte: u8| byte.wrapping_mul(37)));
        let crc = sum(&packet).to_le_bytes();
        packet[8..12].copy_from_slice(&crc);
        let mut frame = Vec::new();
        let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
        if v6 {
            link.ipv6([1; 16], [2; 16], 64).write(&mut frame, etherparse::IpNumber::SCTP, &packet).unwrap();
        } else {
            link.ipv4([1; 4], [2; 4], 64).write(&mut frame, etherparse::IpNumber::SCTP, &packet).unwrap();
        }
        let mut parsed = parse(&frame);
        let mut edit = Edit::new(&mut frame, &mut parsed, false).unwrap();
        assert!(edit.set_src([7; 16]) && edit.set_src_port(5000) && edit.set_dst_port(6000));
        assert_eq!(parsed, parse(&frame));
        let packet = &frame[usize::from(parsed.l4)..];
        assert_eq!(packet[8..12], sum(packet).to_le_bytes());
        assert_eq!((parsed.src_port, parsed.dst_port), (5000, 6000));
    }
}

/// Each change does what it says; the property above only says that nothing breaks.
#[test]
fn changes_take_effect() {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9).tcp(1, 2, 100, 3);
    builder.ack(50).write(&mut frame, b"x").unwrap();
    let mut parsed = parse(&frame);
    let all = [
        Change::MinTtl(20),
        Change::MinTtl(10),
        Change::Seq(5),
        Change::Ack(u32::MAX),
        Change::Id(0x1234),
        Change::NoDf,
        Change::NoDf,
    ];
    // The lower min-ttl and the second no-df find nothing to do.
    assert_eq!(apply(&mut Edit::new(&mut frame, &mut parsed, false).unwrap(), &all), 5);
    let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!() };
    assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (105, 49));
    let Some(NetSlice::Ipv4(ip)) = sliced.net else { panic!() };
    assert_eq!((ip.header().ttl(), ip.header().identification(), ip.header().dont_fragment()), (20, 0x1234, false));
    assert!(valid(&frame));
}
