//! Limits, time, accounts.

use super::*;
use crate::flow::frag::{FRAGMENTS_MAX, Fault};
use proptest::prelude::*;

#[test]
fn time_runs_out_oldest_first() {
    let whole = datagram(false, &[1; 100]);
    let mut pool = pool(8);
    pool.configure(8, 30, 0);
    for (id, now) in [(1, 0), (2, 10), (3, 20)] {
        assert!(matches!(put(&mut pool, id, &fragment(&whole, 0, 8, true, id as u16), now), Taken::Held));
    }
    // A later fragment buys no time.
    assert!(matches!(put(&mut pool, 4, &fragment(&whole, 16, 24, true, 1), 25), Taken::Held));
    assert!(pool.expire(29, 8));
    assert_eq!(pool.ready(), 0);
    assert!(!pool.expire(45, 1), "there is more to do");
    assert!(pool.expire(45, 8));
    let gone: Vec<usize> = popped(&mut pool)
        .into_iter()
        .map(|(frame, outcome)| {
            assert_eq!(outcome, Outcome::Lost(Fault::Timeout));
            frame.number
        })
        .collect();
    assert_eq!(gone, [1, 4, 2]);
    assert_eq!((pool.held(), pool.counts().timeouts), (1, 2));
}

#[test]
fn room_is_made_by_giving_up_the_oldest() {
    let whole = datagram(false, &[1; 100]);
    let mut pool = pool(10);
    for id in 0..25 {
        assert!(matches!(put(&mut pool, id, &fragment(&whole, 0, 8, true, id as u16), 0), Taken::Held));
        assert!(pool.held() - pool.ready() <= 10);
    }
    let gone: Vec<usize> = popped(&mut pool).into_iter().map(|(frame, _)| frame.number).collect();
    assert_eq!(gone, (0..15).collect::<Vec<_>>());
    assert_eq!(pool.counts().evicted, 15);
    pool.configure(0, 1, 0);
    assert!(matches!(put(&mut pool, 0, &fragment(&whole, 0, 8, true, 99), 0), Taken::Refused(_, Fault::Full)));
}

/// Nobody takes what is ready: room runs out, and what does not fit comes back at once.
#[test]
fn a_lazy_owner_loses_nothing() {
    let whole = datagram(false, &[1; 100]);
    let mut pool = pool(4);
    let mut back = 0;
    for id in 0..1000 {
        if let Taken::Refused(_, fault) = put(&mut pool, id, &fragment(&whole, 0, 8, true, id as u16), 0) {
            assert_eq!(fault, Fault::Full);
            back += 1;
        }
    }
    assert!(back > 0);
    pool.flush();
    assert_eq!(popped(&mut pool).len() + back, 1000);
    assert_eq!(pool.held(), 0);
    assert!(matches!(put(&mut pool, 0, &fragment(&whole, 0, 8, true, 1), 0), Taken::Held), "and all room is back");
}

#[test]
fn a_datagram_has_so_many_fragments() {
    let whole = datagram(false, &[1; 4000]);
    let mut pool = pool(1000);
    for index in 0..FRAGMENTS_MAX {
        let frame = fragment(&whole, index * 16, index * 16 + 8, true, 1);
        assert!(matches!(put(&mut pool, index, &frame, 0), Taken::Held));
    }
    assert!(matches!(put(&mut pool, 0, &fragment(&whole, 3000, 3008, true, 1), 0), Taken::Refused(_, Fault::Bad)));
}

#[test]
fn what_cannot_be_a_fragment() {
    let whole = datagram(false, &[1; 100]);
    let good = fragment(&whole, 0, 16, true, 1);
    let mut pool = pool(10);
    let refused = |pool: &mut Pool, frame: &[u8], arrival: &Arrival| {
        matches!(pool.insert(buffer(0, frame.to_vec()), &parse(frame), arrival), Taken::Refused(_, Fault::Bad))
    };
    // Not a fragment; header checksum; odd length; nothing in it.
    assert!(refused(&mut pool, &whole, &at(0)));
    let mut damaged = good.clone();
    damaged[24] ^= 1;
    assert!(refused(&mut pool, &damaged, &at(0)));
    assert!(!refused(&mut pool, &damaged, &Arrival { check_header: false, ..at(0) }));
    assert!(refused(&mut pool, &raw(&whole, &[1; 15], 0, true, 2), &at(0)));
    assert!(refused(&mut pool, &raw(&whole, &[], 8, false, 2), &at(0)));
    // The don't-fragment bit, unless it is to be cleared.
    let mut df = fragment(&whole, 0, 16, true, 3);
    df[20] |= 0x40;
    let parsed = parse(&df);
    let _ = offload::fill_ipv4_header(&mut df, &parsed);
    assert!(refused(&mut pool, &df, &at(0)));
    let cleared = Arrival { no_df: true, ..at(0) };
    assert!(!refused(&mut pool, &df, &cleared));
    let Taken::Complete(id) = put(&mut pool, 1, &fragment(&whole, 16, 108, false, 3), 0) else { panic!() };
    pool.whole(id).unwrap().finish("pass", true);
    let (first, _) = pool.pop().unwrap();
    let parsed = parse(first.bytes());
    assert!(!parsed.flags.contains(crate::wire::ParsedFlags::DONT_FRAGMENT));
    assert_eq!(offload::is_ipv4_header_valid(first.bytes(), &parsed), Some(true));
}

proptest! {
    /// Whatever comes, each frame is in one place: refused, popped, or held.
    #[test]
    fn accounts(ops in prop::collection::vec((0u8..12, 0usize..10, 1usize..4, any::<bool>(), 0u16..3, any::<bool>()), 0..150), capacity in 1usize..12) {
        let (four, six) = (datagram(false, &[1; 200]), datagram(true, &[1; 200]));
        let mut pool = pool(capacity);
        pool.configure(capacity, 40, 200);
        let (mut put_in, mut out) = (0, 0);
        for (now, (op, start, units, more, id, v6)) in ops.into_iter().enumerate() {
            match op {
                0 => { pool.expire(now as u64, 2); }
                1 => out += usize::from(pool.pop().is_some()),
                2 if start == 0 => pool.flush(),
                _ => {
                    let whole = if v6 { &six } else { &four };
                    let frame = fragment(whole, start * 8, (start + units) * 8, more, id);
                    put_in += 1;
                    match put(&mut pool, 0, &frame, now as u64) {
                        Taken::Held => {}
                        Taken::Refused(..) => out += 1,
                        // Some are never judged.
                        Taken::Complete(whole) if op != 3 => pool.whole(whole).unwrap().finish("pass", op > 7),
                        Taken::Complete(_) => {}
                    }
                }
            }
            prop_assert_eq!(pool.held() + out, put_in);
            prop_assert!(pool.ready() <= pool.held());
            prop_assert!(pool.held() - pool.ready() <= capacity);
        }
        pool.flush();
        prop_assert_eq!(popped(&mut pool).len() + out, put_in);
        prop_assert_eq!((pool.held(), pool.ready(), pool.collecting), (0, 0, 0));
        prop_assert_eq!(pool.datagrams.len(), 0);
        let mut free = 0;
        let mut at = pool.free;
        while let Some(entry) = pool.entry(at) {
            (free, at) = (free + 1, entry.next);
        }
        prop_assert_eq!(free, pool.entries.len());
    }

    #[test]
    fn any_bytes(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..10), v6 in any::<bool>()) {
        let mut pool = pool(16);
        for mut frame in frames {
            if frame.len() > 24 {
                let start = if v6 { [0x86, 0xdd, 0x60] } else { [8, 0, 0x45] };
                frame[12..15].copy_from_slice(&start);
                frame[20] = if v6 { 44 } else { 0x20 };
            }
            let parsed = parse(&frame);
            let arrival = Arrival { check_header: false, ..at(0) };
            if let Taken::Complete(id) = pool.insert(buffer(0, frame), &parsed, &arrival) {
                pool.whole(id).unwrap().finish("pass", true);
            }
        }
    }
}
