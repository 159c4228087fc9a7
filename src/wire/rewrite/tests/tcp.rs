//! TCP options, also at odd offsets.

use crate::wire::rewrite::Edit;
use crate::wire::tcp::{self, TcpOption, option};
use crate::wire::{offload, parse};
use etherparse::{PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice};
use proptest::prelude::*;

fn segment(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([1; 16], [2; 16], 64).tcp(1, 2, 1000, 4);
    let mut builder = builder.options_raw(options).unwrap();
    if flags & tcp::SYN != 0 {
        builder = builder.syn();
    }
    if flags & tcp::ACK != 0 {
        builder = builder.ack(5000);
    }
    builder.write(&mut frame, payload).unwrap();
    frame
}

fn elements(frame: &[u8]) -> Vec<TcpOptionElement> {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!() };
    tcp.options_iterator().map_while(Result::ok).filter(|element| *element != TcpOptionElement::Noop).collect()
}

/// Options at every parity: `pad` NOPs in front.
fn padded(pad: usize, options: &[u8]) -> Vec<u8> {
    [&vec![option::NOP; pad][..], options].concat()
}

#[test]
fn acknowledgements_move_with_their_sack_edges() {
    for pad in 0..4 {
        let mut sack = vec![option::SACK, 18];
        for edge in [5000u32, 6000, u32::MAX - 3, 10] {
            sack.extend(edge.to_be_bytes());
        }
        let mut frame = segment(tcp::ACK, &padded(pad, &sack), b"x");
        let mut parsed = parse(&frame);
        assert!(Edit::new(&mut frame, &mut parsed, false).unwrap().shift_ack(16));
        assert_eq!(
            elements(&frame),
            [TcpOptionElement::SelectiveAcknowledgement((5016, 6016), [Some((12, 26)), None, None])]
        );
        assert_eq!(offload::is_transport_valid(&frame, &parsed), Some(true), "{pad} bytes in front");
        assert_eq!(frame[62..66], 5016u32.to_be_bytes());
    }
}

#[test]
fn without_ack_nothing_is_acknowledged() {
    let mut frame = segment(tcp::SYN, &[], &[]);
    let mut parsed = parse(&frame);
    assert!(!Edit::new(&mut frame, &mut parsed, false).unwrap().shift_ack(16));
}

#[test]
fn the_maximum_segment_size_is_lowered_in_syns_only() {
    for pad in 0..4 {
        let options = padded(pad, &[option::WINDOW_SCALE, 3, 7, option::MSS, 4, 0x05, 0xb4]);
        for (flags, max, wanted) in
            [(tcp::SYN, 1400, 1400), (tcp::SYN | tcp::ACK, 1400, 1400), (tcp::SYN, 1460, 1460), (tcp::ACK, 1400, 1460)]
        {
            let mut frame = segment(flags, &options, &[]);
            let mut parsed = parse(&frame);
            assert_eq!(Edit::new(&mut frame, &mut parsed, false).unwrap().clamp_mss(max), wanted == 1400);
            assert_eq!(
                elements(&frame),
                [TcpOptionElement::WindowScale(7), TcpOptionElement::MaximumSegmentSize(wanted)]
            );
            assert_eq!(offload::is_transport_valid(&frame, &parsed), Some(true));
        }
    }
}

#[test]
fn timestamps() {
    for pad in 0..4 {
        let mut frame = segment(tcp::ACK, &padded(pad, &[option::TIMESTAMPS, 10, 0, 0, 0, 1, 0, 0, 0, 2]), b"abc");
        let mut parsed = parse(&frame);
        let mut edit = Edit::new(&mut frame, &mut parsed, false).unwrap();
        assert!(edit.set_timestamps(0, 0xdead_beef, 0x0102_0304) && !edit.set_timestamps(1, 0, 0));
        assert_eq!(elements(&frame), [TcpOptionElement::Timestamp(0xdead_beef, 0x0102_0304)]);
        assert_eq!(offload::is_transport_valid(&frame, &parsed), Some(true));
    }
}

#[test]
fn reserved_bits_and_idle_urgent_pointers_are_cleared() {
    let mut frame = segment(tcp::ACK, &[], b"abc");
    frame[66] |= 0x0a;
    frame[72..74].fill(9);
    let mut parsed = super::fill(&mut frame);
    let mut edit = Edit::new(&mut frame, &mut parsed, false).unwrap();
    assert!(edit.clear_reserved() && edit.clear_idle_urgent());
    assert!(!edit.clear_reserved() && !edit.clear_idle_urgent());
    assert_eq!((frame[66], &frame[72..74]), (0x50, &[0u8, 0][..]));
    assert_eq!(offload::is_transport_valid(&frame, &parsed), Some(true));
}

proptest! {
    /// The walk ends, inside the header, for any bytes.
    #[test]
    fn options_are_walked_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let all: Vec<TcpOption> = tcp::options(&bytes).collect();
        let mut end = 0;
        for found in all {
            prop_assert!(found.at >= end && found.len >= 2);
            end = found.at + found.len;
            prop_assert!(20 + end <= bytes.len() && 20 + end <= 60);
            prop_assert_eq!(found.value(&bytes).len(), found.len - 2);
        }
    }
}
