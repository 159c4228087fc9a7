//! Packets by number.

use crate::mem::pool::Pool;
use crate::mem::region::{HeapDma, Region};
use crate::mem::slots::{Slots, Stop};
use crate::mem::{Burst, Packet};
use alloc::sync::Arc;

const SIZE: usize = 8;

fn pool() -> Pool {
    Pool::for_own(Region::alloc(Arc::new(HeapDma), 16 * 2048, 64).unwrap(), 2048, 64).unwrap()
}

fn cookies(burst: &Burst) -> Vec<u64> {
    burst.iter().map(Packet::cookie).collect()
}

/// What comes out under a number is what went in, whichever number the other side names.
#[test]
fn packets_move_to_free_numbers_and_back() {
    let (mut pool, mut slots, mut burst) = (pool(), Slots::new(SIZE), Burst::new());
    assert_eq!(pool.take_burst(&mut burst, 10), 10);
    let all = cookies(&burst);
    let mut numbers = Vec::new();
    // The fifth is not wanted: it stays in front.
    let put = slots.put_burst(&mut burst, 64, |packet, number| {
        assert!(packet.set_len(usize::from(number) + 1));
        numbers.push(u32::from(number));
        numbers.len() < 5
    });
    assert_eq!((put, slots.len(), slots.free()), (4, 4, SIZE - 4));
    assert_eq!(cookies(&burst), all[4..]);
    assert!(burst[0].is_empty(), "what `each` did to it counts only if it was wanted");
    assert_eq!(slots.put_burst(&mut burst, 64, |_, _| true), SIZE - 4, "as many as are free");
    assert_eq!(slots.put_burst(&mut burst, 64, |_, _| true), 0);

    let mut out = Burst::new();
    let mut named = [numbers[2], numbers[0]].into_iter().map(|number| (number, ()));
    assert_eq!(slots.take_burst(&mut out, 64, true, || named.next(), |_, ()| true), (2, Stop::End));
    assert_eq!(cookies(&out), [all[2], all[0]]);
    // Not there any more, and numbers that are none.
    for number in [numbers[0], SIZE as u32, SIZE as u32 + numbers[1], u32::MAX, 1 << 31] {
        assert_eq!(slots.take_burst(&mut out, 64, true, || Some((number, ())), |_, ()| true), (0, Stop::Unknown));
        assert!(slots.get(number).is_none() && slots.take(number).is_none(), "{number}");
    }
    // One that is not wanted is where it was.
    let stop = slots.take_burst(&mut out, 64, true, || Some((numbers[1], 7)), |packet, _| !packet.set_len(0));
    assert_eq!(stop, (0, Stop::Odd(numbers[1], 7)));
    assert_eq!(slots.get(numbers[1]).map(|packet| packet.len()), Some(numbers[1] as usize + 1));
    assert_eq!((slots.len(), slots.free()), (SIZE - 2, 2));
    assert_eq!(slots.drain(&mut out, |_| {}), SIZE - 2);
    slots.restart();
    assert_eq!((slots.len(), slots.free(), out.len()), (0, SIZE, SIZE));
}

/// A row goes round, and a packet with a note is left to the caller.
#[test]
fn rows_go_round() {
    let (mut pool, mut slots, mut burst) = (pool(), Slots::new(SIZE), Burst::new());
    pool.take_burst(&mut burst, 4);
    let all = cookies(&burst);
    let mut numbers = Vec::new();
    let put = slots.put_row(&mut burst, 3, 6, |_, number| {
        numbers.push(number);
        true
    });
    assert_eq!((put, numbers), (3, vec![6, 7, 0]));
    assert!(slots.put(1, 2, burst.pop().unwrap()).is_ok());
    assert_eq!((slots.note(0), slots.note(1), slots.note(2)), (Some(0), Some(2), None));
    let (mut out, mut next) = (Burst::new(), [6, 7, 0, 1].into_iter().map(|number| (number, ())));
    assert_eq!(slots.take_burst(&mut out, 64, false, || next.next(), |_, ()| true), (3, Stop::Odd(1, ())));
    assert_eq!(cookies(&out), all[..3]);
    let (packet, note) = slots.take(1).unwrap();
    assert_eq!((packet.cookie(), note), (all[3], 2));
    assert!(slots.put(7, 0, packet).is_ok());
    assert!(slots.put(7, 0, out.pop().unwrap()).is_err(), "taken");
}
