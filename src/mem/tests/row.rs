//! Packets in a row.

use crate::mem::packet::BURST_MAX;
use crate::mem::pool::Pool;
use crate::mem::region::{HeapDma, Region};
use crate::mem::row::{Lengths, Row};
use crate::mem::rows::{Entry, OwnedRows, Rows};
use crate::mem::tests::dma::TestDma;
use crate::mem::{Burst, Packet, PacketFlags};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use proptest::prelude::*;

const SIZE: usize = 8;

fn pool(buffers: usize) -> Pool {
    Pool::for_own(Region::alloc(Arc::new(HeapDma), buffers * 256, 64).unwrap(), 256, 64).unwrap()
}

/// What the other side shares, a word a place.
fn shared(size: usize) -> Arc<Region> {
    Arc::new(Region::alloc(Arc::new(HeapDma), 8 * size, 8).unwrap())
}

fn cookies(burst: &Burst) -> Vec<u64> {
    burst.iter().map(Packet::cookie).collect()
}

/// A packet that is not wanted stays where it was, as it was.
#[test]
fn packets_go_round() {
    let (mut pool, mut row, mut burst) = (pool(16), Row::new(SIZE), Burst::new());
    let words = OwnedRows::<8, 8>::new(&shared(SIZE), 0, SIZE).unwrap();
    let words = &words.rows();
    (0..SIZE).for_each(|at| words.at(at).store_u64::<0>(at as u64, Relaxed));
    assert!(row.start_at(SIZE + 6));
    assert_eq!(pool.take_burst(&mut burst, 12), 12);
    let all = cookies(&burst);
    let mut places = Vec::new();
    let put = row.put_burst(&mut burst, 64, words, |packet, place, word| {
        assert!(packet.set_len(place + 1));
        assert_eq!(word.load_u64::<0>(Relaxed), place as u64);
        places.push(place);
        places.len() < 5
    });
    assert_eq!((put, places), (4, vec![6, 7, 0, 1, 2]));
    assert_eq!(cookies(&burst), all[4..]);
    assert!(burst[0].is_empty(), "what `each` did to it counts only if it was wanted");
    assert_eq!(row.put_burst(&mut burst, 64, words, |_, _, _| true), SIZE - 4, "as many as there is room for");
    assert_eq!((row.len(), row.room(), row.head(), row.tail()), (SIZE, 0, 6, 6));
    assert!(!row.start_at(0), "there are packets");
    let late = burst.pop().unwrap();
    assert!(row.push(late).is_err());

    let mut out = Burst::new();
    assert_eq!(row.take_burst(&mut out, 64, words, |packet, place, _| packet.len() == place + 1 && place != 1), 3);
    assert_eq!(cookies(&out), all[..3]);
    assert_eq!((row.head(), row.front().map(Packet::cookie)), (1, Some(all[3])));
    assert_eq!(row.pop().map(|packet| packet.cookie()), Some(all[3]));
    assert_eq!(row.take_burst(&mut out, 2, words, |_, _, _| true), 2);
    assert_eq!(row.drain(&mut out, |packet| packet.reset()), 2);
    assert_eq!(cookies(&out)[3..], all[4..8]);
    assert!(row.is_empty() && row.pop().is_none() && row.front().is_none());
    assert_eq!(row.take_burst(&mut out, 64, words, |_, _, _| true), 0);
    // A ring of another size is none of this row's.
    let other = OwnedRows::<8, 8>::new(&shared(2 * SIZE), 0, 2 * SIZE).unwrap();
    assert_eq!(row.put_burst(&mut burst, 64, &other.rows(), |_, _, _| true), 0);
}

/// A buffer that no device can reach, or that is too small, stops a burst and stays what it was.
#[test]
fn buffers_are_told_the_device_as_they_are() {
    let words = OwnedRows::<8, 8>::new(&shared(SIZE), 0, SIZE).unwrap();
    let words = &words.rows();
    let mut large = device_pool(8, 256);
    let (mut small, mut unreachable) = (device_pool(8, 128), pool(4));
    let (mut row, mut burst, mut told) = (Row::new(SIZE), Burst::new(), Vec::new());
    large.take_burst(&mut burst, 2);
    small.take_burst(&mut burst, 1);
    large.take_burst(&mut burst, 1);
    unreachable.take_burst(&mut burst, 1);
    burst.iter_mut().for_each(|packet| assert!(packet.set_len(60)));
    let all = cookies(&burst);
    let mut put = |row: &mut Row, burst: &mut Burst, least| {
        let mut done = 0;
        loop {
            let (some, more) = row.put_empty(burst, 64, words, 12, least, |_, space, _, _| told.push(space));
            done += some;
            if !more {
                return done;
            }
        }
    };
    assert_eq!(put(&mut row, &mut burst, 100), 2, "the third is too small");
    assert_eq!((burst[0].headroom(), burst[0].len()), (64, 60));
    assert_eq!(put(&mut row, &mut burst, 0), 2, "the fifth is out of reach");
    assert_eq!(put(&mut row, &mut burst, 0), 0);
    assert_eq!((cookies(&burst), burst[0].len()), (all[4..].to_vec(), 60));
    assert_eq!(told, [204, 204, 76, 204]);
    // No more than the smallest of them, and what looks at more than that sees nothing.
    let take = |row: &mut Row, out: &mut Burst, more| {
        let lengths = Lengths { least: 14, most: 1000, skip: 12 };
        row.take_filled(out, 64, words, lengths, |_, _| (more, ()), |_: &[u8; 20], ()| Some(None))
    };
    let mut out = Burst::new();
    assert_eq!(take(&mut row, &mut out, 76 - 14 + 1), (0, false));
    assert_eq!(take(&mut row, &mut out, u64::MAX), (0, false));
    let looked = row.take_filled(&mut out, 64, words, Lengths { least: 14, most: 14, skip: 0 }, |_, _| (0, ()), far);
    assert_eq!(looked, (0, false));
    assert_eq!(take(&mut row, &mut out, 76 - 14), (4, false));
    assert!(out.iter().all(|packet| packet.headroom() == 64 && packet.len() == 64));
}

fn far(_: &[u8; 77], (): ()) -> Option<Option<PacketFlags>> {
    Some(None)
}

/// As [`pool`], where a device reaches it.
fn device_pool(buffers: usize, buf_len: u32) -> Pool {
    let dma = Arc::new(TestDma::default());
    Pool::for_own(Region::alloc(dma, buffers * buf_len as usize, 64).unwrap(), buf_len, 64).unwrap()
}

proptest! {
    /// Whatever the device says, no frame is longer than its buffer, and what was refused is as it was told.
    #[test]
    fn a_device_fills_no_more_than_it_was_given(
        steps in prop::collection::vec((any::<bool>(), 0u64..300, 0u32..300, any::<bool>()), 1..60),
    ) {
        let (mut large, mut small) = (device_pool(64, 256), device_pool(64, 128));
        let words = OwnedRows::<8, 8>::new(&shared(32), 0, 32).unwrap();
        let words = &words.rows();
        let (mut row, mut spaces, mut floor) = (Row::new(32), VecDeque::new(), 0);
        for (put, said, most, other) in steps {
            let mut burst = Burst::new();
            if row.is_empty() {
                floor = u64::MAX;
            }
            if put {
                large.take_burst(&mut burst, 3);
                if other {
                    small.take_burst(&mut burst, 2);
                }
                while row.put_empty(&mut burst, 64, words, 12, 0, |_, space, _, _| spaces.push_back(space)).1 {}
                floor = spaces.iter().copied().fold(floor, u64::min);
            } else {
                let lengths = Lengths { least: 26, most, skip: 12 };
                let written = |_, _: Entry<'_, 8, 8>| (said.wrapping_sub(26), ());
                while row.take_filled(&mut burst, 2, words, lengths, written, |_: &[u8; 18], ()| Some(None)).1 {}
                for packet in &burst {
                    let space = spaces.pop_front().unwrap();
                    prop_assert!(said <= space && said <= most.into() && packet.len() as u64 == said - 12);
                    prop_assert_eq!(packet.room() as u64, space - 12);
                }
                // What had less room once counts until the row is empty.
                let refused = said < 26 || said > most.into() || said > floor;
                prop_assert!(refused || burst.len() == 2 || row.is_empty());
                // One that looks at a packet and leaves it less room.
                row.take_burst(&mut burst, usize::from(other), words, |packet, _, _| {
                    if packet.fill(7, 7) {
                        spaces[0] -= 7;
                        floor = floor.min(spaces[0]);
                    }
                    false
                });
            }
            for packet in burst {
                let kept = if packet.origin() == large.origin() { large.put(packet) } else { small.put(packet) };
                prop_assert!(kept.is_ok());
            }
            prop_assert_eq!(row.len(), spaces.len());
        }
        while let Some(packet) = row.pop() {
            prop_assert_eq!(packet.room() as u64, spaces.pop_front().unwrap());
        }
    }

    /// A row is a queue, whatever is moved, and however much of it is wanted.
    #[test]
    fn a_row_is_a_queue(steps in prop::collection::vec((any::<bool>(), 0usize..80, 0usize..80), 1..60), start in 0usize..64) {
        let (mut pool, mut row, mut queue) = (pool(160), Row::new(64), VecDeque::new());
        let words = OwnedRows::<8, 8>::new(&shared(64), 0, 64).unwrap();
        let words: &Rows<'_, 8, 8> = &words.rows();
        row.start_at(start);
        let mut place = start;
        for (put, max, some) in steps {
            let mut burst = Burst::new();
            if put {
                pool.take_burst(&mut burst, BURST_MAX);
                let (held, room, mut seen) = (cookies(&burst), row.room(), 0);
                let mut next = row.tail();
                let done = row.put_burst(&mut burst, max, words, |packet, at, _| {
                    assert_eq!((packet.cookie(), at), (held[seen], next));
                    (next, seen) = ((next + 1) % 64, seen + 1);
                    seen <= some
                });
                prop_assert_eq!(done, held.len().min(room).min(max).min(some));
                prop_assert_eq!(cookies(&burst), &held[done..]);
                queue.extend(&held[..done]);
            } else {
                let mut seen = 0;
                let done = row.take_burst(&mut burst, max, words, |packet, at, _| {
                    assert_eq!((packet.cookie(), at), (queue[seen], (place + seen) % 64));
                    seen += 1;
                    seen <= some
                });
                prop_assert_eq!(done, queue.len().min(BURST_MAX).min(max).min(some));
                prop_assert_eq!(cookies(&burst), queue.drain(..done).collect::<Vec<u64>>());
                place = (place + done) % 64;
            }
            prop_assert_eq!((row.len(), row.head()), (queue.len(), place));
            burst.into_iter().for_each(|packet| assert!(pool.put(packet).is_ok()));
        }
        while let Some(packet) = row.pop() {
            prop_assert_eq!(Some(packet.cookie()), queue.pop_front());
            assert!(pool.put(packet).is_ok());
        }
        prop_assert!(queue.is_empty());
    }
}
