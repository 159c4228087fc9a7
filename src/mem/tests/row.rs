//! Packets in a row.

use crate::mem::packet::BURST_MAX;
use crate::mem::pool::Pool;
use crate::mem::region::{HeapDma, Region};
use crate::mem::row::Row;
use crate::mem::rows::{OwnedRows, Rows};
use crate::mem::{Burst, Packet};
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
    assert_eq!((row.head(), row.front_mut().map(|packet| packet.cookie())), (1, Some(all[3])));
    assert_eq!(row.pop().map(|packet| packet.cookie()), Some(all[3]));
    assert_eq!(row.take_burst(&mut out, 2, words, |_, _, _| true), 2);
    assert_eq!(row.drain(&mut out, |packet| packet.reset()), 2);
    assert_eq!(cookies(&out)[3..], all[4..8]);
    assert!(row.is_empty() && row.pop().is_none() && row.front_mut().is_none());
    assert_eq!(row.take_burst(&mut out, 64, words, |_, _, _| true), 0);
    // A ring of another size is none of this row's.
    let other = OwnedRows::<8, 8>::new(&shared(2 * SIZE), 0, 2 * SIZE).unwrap();
    assert_eq!(row.put_burst(&mut burst, 64, &other.rows(), |_, _, _| true), 0);
}

proptest! {
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
