//! Datagrams that become whole: what is shown, and what leaves.

use super::*;
use crate::flow::frag::{Fault, HEAD_MAX};
use crate::wire::rewrite::Edit;
use crate::wire::{Family, ParsedFlags};
use proptest::prelude::*;

fn shuffled(len: usize, mut seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for index in (1..len).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        order.swap(index, (seed >> 33) as usize % (index + 1));
    }
    order
}

/// All fragments of `whole` but for `cut` times 8 bytes each.
fn cut_up(whole: &[u8], cut: usize) -> Vec<Vec<u8>> {
    let len = whole.len() - if whole[12] == 0x86 { 54 } else { 34 };
    (0..len)
        .step_by(cut * 8)
        .map(|start| fragment(whole, start, len.min(start + cut * 8), start + cut * 8 < len, 9))
        .collect()
}

proptest! {
    #[test]
    fn any_order_gives_the_datagram(v6 in any::<bool>(), payload in prop::collection::vec(any::<u8>(), 40..4000), cut in 5usize..150, seed in any::<u64>(), tagged in any::<bool>()) {
        let whole = datagram(v6, &payload);
        let parts = cut_up(&whole, cut);
        prop_assume!(parts.len() > 1 && parts.len() < 128);
        let tag = |frame: &[u8]| if tagged { [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat() } else { frame.to_vec() };
        let shift = if tagged { 4 } else { 0 };
        let mut pool = pool(200);
        let mut complete = None;
        for (count, index) in shuffled(parts.len(), seed).into_iter().enumerate() {
            match put(&mut pool, index, &tag(&parts[index]), count as u64) {
                Taken::Held => prop_assert!(count + 1 < parts.len()),
                Taken::Complete(id) => {
                    prop_assert_eq!(count + 1, parts.len());
                    complete = Some(id);
                }
                Taken::Refused(_, fault) => panic!("{fault:?}"),
            }
        }
        prop_assert_eq!(pool.held(), parts.len());
        let id = complete.unwrap();
        let mut shown = pool.whole(id).unwrap();
        prop_assert_eq!(shown.frame_len(), whole.len() + shift);
        prop_assert_eq!(shown.fragments(), parts.len());
        let (head, parsed) = shown.head();
        let mut wanted = tag(&whole);
        if !v6 {
            wanted[shift + 18..shift + 20].copy_from_slice(&[0, 9]);
            let parsed = parse(&wanted);
            let _ = offload::fill_ipv4_header(&mut wanted, &parsed);
        }
        prop_assert_eq!(&head[..], &wanted[..wanted.len().min(HEAD_MAX)]);
        prop_assert_eq!(*parsed, parse(&wanted));
        // As translation does it: in the head, which carries over.
        let mut edit = Edit::new(head, parsed, false).unwrap();
        prop_assert!(edit.set_src([0x55; 16]) && edit.set_dst_port(5353) && edit.set_ttl(7) && edit.set_tos(0x28));
        shown.finish("pass", true);
        prop_assert_eq!(pool.ready(), parts.len());
        let out = popped(&mut pool);
        prop_assert!(out.iter().all(|(_, outcome)| *outcome == Outcome::Judged("pass")));
        prop_assert_eq!(pool.held(), 0);
        let frames: Vec<Vec<u8>> = out.iter().map(|(frame, _)| if tagged { [&frame.bytes[..12], &frame.bytes[16..]].concat() } else { frame.bytes.clone() }).collect();
        for frame in &frames {
            let parsed = parse(frame);
            prop_assert_eq!(parsed.error, None);
            prop_assert_eq!(parsed.end(), frame.len());
            prop_assert_ne!(offload::is_ipv4_header_valid(frame, &parsed), Some(false));
            prop_assert_eq!((parsed.src[0], parsed.ttl, parsed.tos), (0x55, 7, 0x28));
        }
        let joined = join(&frames);
        let parsed = parse(&joined);
        prop_assert_eq!(offload::is_transport_valid(&joined, &parsed), Some(true));
        prop_assert_eq!((parsed.src_port, parsed.dst_port), (1000, 5353));
        prop_assert_eq!(&joined[parsed.payload as usize..], &payload[..]);
    }

    /// An IPv4 datagram that fits leaves as one frame; the others' buffers come back.
    #[test]
    fn what_fits_is_merged(payload in prop::collection::vec(any::<u8>(), 40..1400), cut in 5usize..40, seed in any::<u64>()) {
        let whole = datagram(false, &payload);
        let parts = cut_up(&whole, cut);
        prop_assume!(parts.len() > 1);
        let mut pool = pool(200);
        pool.configure(200, 1, 1514);
        for index in shuffled(parts.len(), seed) {
            if let Taken::Complete(id) = put(&mut pool, index, &parts[index], 0) {
                let mut shown = pool.whole(id).unwrap();
                let (head, parsed) = shown.head();
                Edit::new(head, parsed, false).unwrap().set_src([9; 16]);
                shown.finish("pass", true);
            }
        }
        let out = popped(&mut pool);
        prop_assert_eq!(out.len(), parts.len());
        prop_assert_eq!(out.iter().filter(|(_, outcome)| *outcome == Outcome::Merged).count(), parts.len() - 1);
        let (frame, outcome) = &out[0];
        prop_assert_eq!((frame.number, *outcome), (0, Outcome::Judged("pass")));
        let parsed = parse(&frame.bytes);
        prop_assert_eq!(parsed.error, None);
        prop_assert!(!parsed.is_fragment() && parsed.end() == frame.bytes.len());
        prop_assert_eq!(offload::is_ipv4_header_valid(&frame.bytes, &parsed), Some(true));
        prop_assert_eq!(offload::is_transport_valid(&frame.bytes, &parsed), Some(true));
        prop_assert_eq!(&frame.bytes[parsed.payload as usize..], &payload[..]);
    }
}

/// A TCP header in two fragments is read, and changed, as one. (8 bytes in the first; RFC 3128 forbids the next to start
/// there, so it is UDP's length and checksum that are split off here, and TCP's options in IPv6.)
#[test]
fn headers_that_are_cut_in_two() {
    let mut whole = Vec::new();
    let link = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([0x20; 16], [0x30; 16], 64);
    let options = [2, 4, 5, 0xb4, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1];
    link.tcp(1000, 80, 1, 2).syn().options_raw(&options).unwrap().write(&mut whole, b"0123456789").unwrap();
    let mut pool = pool(8);
    let len = whole.len() - 54;
    // The first has 16 bytes: ports, sequence numbers, flags, but no checksum. The parse alone would call it short.
    let first = fragment(&whole, 0, 16, true, 1);
    assert!(parse(&first).error.is_some());
    assert!(matches!(put(&mut pool, 0, &first, 0), Taken::Held));
    let Taken::Complete(id) = put(&mut pool, 1, &fragment(&whole, 16, len, false, 1), 0) else { panic!() };
    let mut shown = pool.whole(id).unwrap();
    let (head, parsed) = shown.head();
    assert!(parsed.flags.contains(ParsedFlags::TCP) && parsed.error.is_none());
    let mut edit = Edit::new(head, parsed, false).unwrap();
    assert!(edit.clamp_mss(1000) && edit.set_dst_port(8080) && edit.set_dst([0x31; 16]));
    shown.finish("pass", true);
    let frames: Vec<Vec<u8>> = popped(&mut pool).into_iter().map(|(frame, _)| frame.bytes).collect();
    assert_eq!(frames.len(), 2);
    let joined = join(&frames);
    let parsed = parse(&joined);
    assert_eq!(offload::is_transport_valid(&joined, &parsed), Some(true));
    assert_eq!((parsed.dst_port, crate::wire::build::mss_of(&joined, &parsed)), (8080, Some(1000)));
}

#[test]
fn a_blocked_datagram_is_not_touched() {
    let whole = datagram(false, &[7; 100]);
    let parts = cut_up(&whole, 6);
    let mut pool = pool(8);
    pool.configure(8, 1, 1514);
    let last = parts.iter().enumerate().map(|(index, part)| put(&mut pool, index, part, 0)).last();
    let Some(Taken::Complete(id)) = last else { panic!() };
    pool.whole(id).unwrap().finish("block", false);
    let out = popped(&mut pool);
    assert_eq!(out.len(), parts.len());
    for (frame, outcome) in out {
        assert_eq!(outcome, Outcome::Judged("block"));
        assert_eq!(frame.bytes, parts[frame.number]);
    }
    assert!(pool.whole(id).is_none());
}

/// RFC 6946: an IPv6 fragment that is the whole.
#[test]
fn an_atomic_fragment() {
    let whole = datagram(true, &[7; 100]);
    let frame = fragment(&whole, 0, whole.len() - 54, false, 4);
    // The parse does not count it as a fragment: there is nothing to wait for.
    let parsed = parse(&frame);
    assert!(!parsed.is_fragment() && parsed.family == Family::V6 && parsed.dst_port == 53);
    assert!(matches!(put(&mut pool(4), 0, &frame, 0), Taken::Refused(_, Fault::Bad)));
}

/// 65535 bytes are the most; one more is not a datagram.
#[test]
fn the_longest_datagram() {
    for v6 in [false, true] {
        let max = if v6 { 65_535 } else { 65_515 };
        for (len, good) in [(max, true), (max + 1, false)] {
            let whole = datagram(v6, &[1; 2000]);
            let mut pool = pool(200);
            let step = 1448;
            let mut last = None;
            for start in (0..len).step_by(step) {
                let end = len.min(start + step);
                let mut data = vec![3; end - start];
                if start == 0 {
                    data[..8].copy_from_slice(&[0, 1, 0, 2, 0xff, 0xeb, 0, 0]);
                }
                last = Some(put(&mut pool, 0, &raw(&whole, &data, start, end < len, 1), 0));
            }
            match last.unwrap() {
                Taken::Complete(id) if good => {
                    let shown = pool.whole(id).unwrap();
                    assert_eq!(shown.frame_len(), len + if v6 { 54 } else { 34 });
                    shown.finish("pass", true);
                    assert_eq!(popped(&mut pool).len(), len.div_ceil(step));
                }
                Taken::Refused(_, Fault::Bad) if !good => {}
                other => panic!("{v6} {len} {other:?}"),
            }
        }
    }
}
