//! ICMP errors: the packet inside, cut off anywhere.

use super::{Change, apply, changes, fill};
use crate::wire::rewrite::Edit;
use crate::wire::tests::frames::{Net, Shape, Transport, shape};
use crate::wire::{Family, offload, parse, parse_inner};
use proptest::prelude::*;

/// An error about the packet of `shape`, which is there up to byte `cut`.
fn error_about(shape: &Shape, cut: usize) -> Option<Vec<u8>> {
    let mut plain = shape.clone();
    plain.tags.clear();
    plain.padding = 0;
    let mut inside = plain.build();
    let parsed = fill(&mut inside);
    if parsed.family == Family::None || parsed.error.is_some() {
        return None;
    }
    let packet = inside.get(14..)?;
    let packet = &packet[..cut.min(packet.len())];
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let len = 8 + packet.len();
    if parsed.family == Family::V4 {
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((20 + len as u16).to_be_bytes());
        frame.extend([0, 1, 0, 0, 64, 1, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 3, 1, 0, 0, 0, 0, 0, 0]);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((len as u16).to_be_bytes());
        frame.extend([58, 64]);
        frame.extend([0x20; 16]);
        frame.extend([0x30; 16]);
        frame.extend([1, 4, 0, 0, 0, 0, 0, 0]);
    }
    frame.extend_from_slice(packet);
    fill(&mut frame);
    Some(frame)
}

proptest! {
    #[test]
    fn both_packets_stay_right(shape in shape(), cut in 0usize..140, inner_changes in changes(), outer_changes in changes()) {
        let Some(mut frame) = error_about(&shape, cut) else { return Ok(()) };
        let mut outer = parse(&frame);
        let Some(mut inner) = parse_inner(&frame, &outer) else { return Ok(()) };
        let done = apply(&mut Edit::inner(&mut frame, &outer, &mut inner).unwrap(), &inner_changes);
        prop_assert_eq!(offload::is_transport_valid(&frame, &outer), Some(true), "{} changes", done);
        prop_assert_eq!(parse_inner(&frame, &outer), Some(inner));
        apply(&mut Edit::new(&mut frame, &mut outer, false).unwrap(), &outer_changes);
        prop_assert_eq!(offload::is_transport_valid(&frame, &outer), Some(true));
        prop_assert_ne!(offload::is_ipv4_header_valid(&frame, &outer), Some(false));
        prop_assert_eq!(parse(&frame), outer);
        // As a frame of its own the inner packet is right too, as far as it is there.
        let inside = [&frame[..14], &frame[outer.payload as usize..outer.end()]].concat();
        let whole = parse(&inside);
        if whole.family == Family::V4 && inside.len() >= whole.payload as usize {
            prop_assert_ne!(offload::is_ipv4_header_valid(&inside, &whole), Some(false));
        }
        let routed = whole.flags.contains(crate::wire::ParsedFlags::ROUTING_HEADER);
        if whole.error.is_none() && !routed {
            prop_assert_ne!(offload::is_transport_valid(&inside, &whole), Some(false));
        }
    }

    #[test]
    fn any_bytes(frame in prop::collection::vec(any::<u8>(), 0..150), other in shape(), cut in 0usize..100, changes in changes()) {
        let outer = error_about(&other, cut).map_or_else(|| parse(&frame), |error| parse(&error));
        let mut frame = frame;
        if let Some(mut inner) = parse_inner(&frame, &outer)
            && let Some(mut edit) = Edit::inner(&mut frame, &outer, &mut inner)
        {
            apply(&mut edit, &changes);
        }
    }
}

/// RFC 792: the header and 8 bytes, which for TCP end behind the sequence number.
#[test]
fn eight_bytes_of_tcp() {
    let shape = Shape {
        tags: Vec::new(),
        net: Net::V4 { options: 0, id: 1, dont: false, offset: 0, more: false, src: [10, 0, 0, 1], dst: [10, 0, 0, 2] },
        transport: Transport::Tcp { options: 0, flags: 2, src: 1000, dst: 80 },
        payload: vec![7; 30],
        padding: 0,
    };
    let mut frame = error_about(&shape, 28).unwrap();
    let outer = parse(&frame);
    let mut inner = parse_inner(&frame, &outer).unwrap();
    let mut edit = Edit::inner(&mut frame, &outer, &mut inner).unwrap();
    let some = [Change::Src([9; 16]), Change::SrcPort(77), Change::Seq(1)];
    assert_eq!(apply(&mut edit, &some), 3);
    assert_eq!(apply(&mut edit, &[Change::Ack(1), Change::Mss(1), Change::Urgent]), 0, "these are cut off");
    assert_eq!(frame[62..], [0, 77, 0, 80, 0, 0, 0, 2]);
    assert_eq!(offload::is_transport_valid(&frame, &outer), Some(true));
}
