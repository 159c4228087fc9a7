//! What is built, read by another parser; what must stay unanswered.

use super::*;
use crate::wire::tcp::{ACK, FIN, RST, SYN};
use crate::wire::tests::frames::shape;
use crate::wire::{ParsedFlags, offload, parse, parse_inner, protocol};
use etherparse::{Icmpv4Type, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

fn valid(frame: &[u8]) -> Parsed {
    let parsed = parse(frame);
    assert_eq!(parsed.error, None);
    assert_eq!(parsed.end(), frame.len());
    assert_ne!(offload::is_ipv4_header_valid(frame, &parsed), Some(false));
    assert_eq!(offload::is_transport_valid(frame, &parsed), Some(true));
    assert!(SlicedPacket::from_ethernet(frame).is_ok());
    parsed
}

fn segment(v6: bool, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let builder = if v6 {
        link.ipv6([0x20; 16], [0x30; 16], 64).tcp(1000, 80, seq, 7)
    } else {
        link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1000, 80, seq, 7)
    };
    let mut builder = if flags & ACK != 0 { builder.ack(ack) } else { builder };
    if flags & SYN != 0 {
        builder = builder.syn();
    }
    if flags & FIN != 0 {
        builder = builder.fin();
    }
    if flags & RST != 0 {
        builder = builder.rst();
    }
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// RFC 9293 section 3.10.7.1: SEG.LEN counts SYN, FIN and data; the sequence number is SEG.ACK or 0.
#[test]
fn resets() {
    let cases = [
        (SYN, 100, 0, &b""[..], 0, 101),
        (SYN, u32::MAX, 0, b"", 0, 0),
        (ACK, 100, 555, b"", 555, 100),
        (ACK, 100, 555, b"hello", 555, 105),
        (ACK | FIN, 100, 555, b"hello", 555, 106),
        (SYN | ACK, 100, 555, b"", 555, 101),
    ];
    for v6 in [false, true] {
        for (flags, seq, ack, data, wanted_seq, wanted_ack) in cases {
            let frame = segment(v6, flags, seq, ack, data);
            let parsed = parse(&frame);
            let reset = Segment::reset(&frame, &parsed, 0).unwrap();
            let mut out = [0xee; FRAME_MAX];
            let len = tcp(&Link::of(&frame, &parsed).unwrap().reversed(), &reset, &mut out).unwrap();
            let answer = valid(&out[..len]);
            assert_eq!((answer.src, answer.dst), (parsed.dst, parsed.src));
            assert_eq!((answer.src_port, answer.dst_port, answer.ttl), (80, 1000, 64));
            assert_eq!(out[..12], [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
            let sliced = SlicedPacket::from_ethernet(&out[..len]).unwrap();
            let Some(TransportSlice::Tcp(header)) = sliced.transport else { panic!() };
            assert_eq!((header.sequence_number(), header.acknowledgment_number()), (wanted_seq, wanted_ack));
            assert!(header.rst() && header.ack() && !header.syn() && header.window_size() == 0);
        }
    }
}

#[test]
fn a_reset_keeps_tags_and_takes_a_ttl() {
    let plain = segment(false, SYN, 1, 0, b"");
    let frame = [&plain[..12], &[0x88, 0xa8, 0x20, 7, 0x81, 0, 0, 9], &plain[12..]].concat();
    let parsed = parse(&frame);
    let reset = Segment::reset(&frame, &parsed, 3).unwrap();
    let mut out = [0; FRAME_MAX];
    let len = tcp(&Link::of(&frame, &parsed).unwrap().reversed(), &reset, &mut out).unwrap();
    let answer = valid(&out[..len]);
    assert_eq!((answer.vlan_count, &answer.vlans[..2], answer.ttl), (2, &[0x2007, 9][..], 3));
    assert_eq!(tcp(&Link::of(&frame, &parsed).unwrap(), &reset, &mut out[..len - 1]), None, "no room");
}

#[test]
fn handshakes() {
    let frame = segment(true, SYN, 1, 0, b"");
    let parsed = parse(&frame);
    assert_eq!(mss_of(&frame, &parsed), None);
    let link = Link::of(&frame, &parsed).unwrap();
    let mut out = [0; FRAME_MAX];
    let syn_ack = Segment { seq: 9, ack: 2, flags: SYN | ACK, window: 1, mss: Some(1400), ..Segment::against(&parsed) };
    let len = tcp(&link.reversed(), &syn_ack, &mut out).unwrap();
    let answer = valid(&out[..len]);
    assert_eq!(mss_of(&out, &answer), Some(1400));
    assert_eq!((answer.tcp_flags, answer.payload_len, answer.src_port), (SYN | ACK, 0, 80));
    let syn = Segment { flags: SYN, mss: Some(MSS_DEFAULT_V6), ..Segment::along(&parsed) };
    let len = tcp(&link, &syn, &mut out).unwrap();
    assert_eq!((valid(&out[..len]).src_port, &out[..12]), (1000, &frame[..12]));
}

#[test]
fn errors_quote_what_they_may() {
    for (v6, error, max) in [(false, UNREACH_PORT, 576), (true, V6_UNREACH_PORT, 1280)] {
        for payload in [0, 1, 5, 500, 1232, 1400] {
            let mut frame = Vec::new();
            let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
            let data = vec![0x5a; payload];
            if v6 {
                link.ipv6([0x20; 16], [0x30; 16], 64).udp(1000, 53).write(&mut frame, &data).unwrap();
            } else {
                link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1000, 53).write(&mut frame, &data).unwrap();
            }
            frame.resize(frame.len() + 3, 0xff);
            let parsed = parse(&frame);
            let mut out = [0xee; FRAME_MAX];
            let len = icmp_error(&frame, &parsed, error, &mut out).unwrap();
            let answer = valid(&out[..len]);
            assert_eq!((answer.src, answer.dst), (parsed.dst, parsed.src));
            assert!(answer.flags.contains(ParsedFlags::ICMP_ERROR));
            assert_eq!((answer.icmp_type, answer.icmp_code), (error.kind, error.code));
            let header = if v6 { 40 } else { 20 };
            let whole = parsed.end() - 14;
            assert_eq!(len - 14, max.min(header + 8 + whole));
            assert_eq!(out[14 + header + 8..len], frame[14..14 + whole.min(max - header - 8)]);
            let inner = parse_inner(&out[..len], &answer).unwrap();
            assert_eq!((inner.src, inner.dst, inner.src_port, inner.dst_port), (parsed.src, parsed.dst, 1000, 53));
        }
    }
}

#[test]
fn etherparse_reads_the_error() {
    let frame = segment(false, SYN, 1, 0, b"");
    let mut out = [0; FRAME_MAX];
    let len = icmp_error(&frame, &parse(&frame), UNREACH_ADMIN, &mut out).unwrap();
    let sliced = SlicedPacket::from_ethernet(&out[..len]).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!() };
    let wanted = etherparse::icmpv4::DestUnreachableHeader::FilterProhibited;
    assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(wanted));
}

#[test]
fn what_is_never_answered() {
    let tcp = segment(false, SYN, 1, 0, b"");
    let six = segment(true, SYN, 1, 0, b"");
    let answered = |frame: &[u8]| {
        let parsed = parse(frame);
        assert_eq!(parsed.error, None);
        (may_reset(&parsed), may_send_error(&parsed))
    };
    let with = |frame: &[u8], at: usize, bytes: &[u8]| {
        let mut frame = frame.to_vec();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    assert_eq!(answered(&tcp), (true, true));
    assert_eq!(answered(&six), (true, true));
    // A reset is not answered by a reset.
    assert_eq!(answered(&segment(false, RST, 1, 0, b"")), (false, true));
    // Group addresses, on the link and above.
    assert_eq!(answered(&with(&tcp, 0, &[1])), (false, false));
    assert_eq!(answered(&with(&tcp, 0, &[0xff; 6])), (false, false));
    for first in [0, 127, 224, 240, 255] {
        assert_eq!(answered(&with(&tcp, 26, &[first])), (false, false), "from {first}");
        assert_eq!(answered(&with(&tcp, 30, &[first])), (false, false), "to {first}");
    }
    assert_eq!(answered(&with(&six, 22, &[0xff])), (false, false));
    assert_eq!(answered(&with(&six, 38, &[0xff, 2])), (false, false));
    assert_eq!(answered(&with(&six, 22, &[0; 16])), (false, false));
    // Fragments: the first one is, the others are not. (Offset 16: RFC 3128 forbids 8 anyway.)
    assert_eq!(answered(&with(&tcp, 20, &[0, 2])), (false, false));
    // ICMP, whatever it says.
    let mut echo = Vec::new();
    let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
    link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).icmpv4_echo_request(1, 2).write(&mut echo, b"").unwrap();
    assert_eq!(answered(&echo), (false, false));
    let mut out = [0; FRAME_MAX];
    let len = icmp_error(&tcp, &parse(&tcp), UNREACH_PORT, &mut out).unwrap();
    assert_eq!(answered(&out[..len]), (false, false), "an error about an error");
    assert_eq!(icmp_error(&out[..len], &parse(&out[..len]), UNREACH_PORT, &mut [0; FRAME_MAX]), None);
    // ARP is not IP.
    let arp = [&[2; 12][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[0; 20]].concat();
    assert_eq!(answered(&arp), (false, false));
}

proptest! {
    /// Whatever may be answered is answered well, and an answer never calls for another.
    #[test]
    fn answers_are_sound_and_final(shape in shape(), small in 0usize..200) {
        let frame = shape.build();
        let parsed = parse(&frame);
        let mut out = [0; FRAME_MAX];
        if let Some(reset) = Segment::reset(&frame, &parsed, 0) {
            let link = Link::of(&frame, &parsed).unwrap().reversed();
            let len = tcp(&link, &reset, &mut out).unwrap();
            let answer = valid(&out[..len]);
            prop_assert!(!may_reset(&answer));
            prop_assert_eq!(answer.protocol, protocol::TCP);
            prop_assert!(tcp(&link, &reset, &mut out[..small.min(len - 1)]).is_none());
        }
        let error = if parsed.family == Family::V4 { UNREACH_ADMIN } else { V6_UNREACH_ADMIN };
        if let Some(len) = icmp_error(&frame, &parsed, error, &mut out) {
            let answer = valid(&out[..len]);
            prop_assert!(!may_reset(&answer) && !may_send_error(&answer));
            prop_assert!(icmp_error(&frame, &parsed, error, &mut out[..small.min(len - 1)]).is_none());
        }
    }

    #[test]
    fn any_bytes(frame in prop::collection::vec(any::<u8>(), 0..120), other in shape()) {
        // A description of another frame must not make it panic.
        let parsed = parse(&other.build());
        let mut out = [0; FRAME_MAX];
        let _ = icmp_error(&frame, &parsed, UNREACH_PORT, &mut out);
        let _ = Segment::reset(&frame, &parsed, 0);
        let _ = mss_of(&frame, &parsed);
        let _ = Link::of(&frame, &parsed);
    }
}
