#![allow(clippy::field_reassign_with_default, reason = "a counter a line reads better")]
use alloc::format;

use super::*;

#[test]
fn identities_that_hold_and_one_that_does_not_each() {
    let mut counters = Counters::default();
    counters.rx_frames = 10;
    counters.rx_delivered = 4;
    counters.rx_consumed = 1;
    counters.rx_held = 2;
    counters.rx_dropped[DropReason::Match.index()] = 1;
    counters.rx_dropped[DropReason::Giant.index()] = 2;
    counters.tx_dequeued = 8;
    counters.tx_sent = 3;
    counters.tx_in_flight = 2;
    counters.tx_consumed = 1;
    counters.tx_held = 1;
    counters.tx_dropped[DropReason::NoCarrier.index()] = 1;
    counters.rx_lent = 6;
    counters.pool_free = 1;
    counters.pool_posted = 2;
    counters.pool_held = 3;
    assert_eq!(counters.check(), Ok(()));
    let broken = |change: fn(&mut Counters)| {
        let mut counters = counters;
        change(&mut counters);
        counters.check().unwrap_err()
    };
    assert_eq!(broken(|c| c.rx_delivered += 1), Broken::Rx { frames: 10, outcomes: 11 });
    assert_eq!(broken(|c| c.tx_sent -= 1), Broken::Tx { frames: 8, outcomes: 7 });
    assert_eq!(broken(|c| c.pool_held = 0), Broken::Pool { lent: 6, found: 3 });
    let text = format!("{}", broken(|c| c.pool_held = 0));
    assert_eq!(text, "rx buffers lent 6 != free + posted + held 3");
}

#[test]
fn numbers_go_out_and_come_back() {
    let mut counters = Counters { rx_frames: 1, steered: 2, ..Counters::default() };
    counters.tx_dropped[31] = 3;
    assert_eq!(counters.numbers().count(), Counters::NAMES.len() + 64);
    assert_eq!(counters.numbers().last(), Some(3));
    assert_eq!(Counters::from_numbers(counters.numbers()), Some(counters));
    assert_eq!(Counters::from_numbers(counters.numbers().skip(1)), None);
}

#[test]
fn what_is_between_shards_is_in_flight() {
    let shards = [ShardCounters::default(), ShardCounters::default()];
    shards[0].steered.add(5);
    shards[0].tx_dequeued.add(5);
    shards[1].steered_in.add(2);
    shards[1].tx_sent.add(1);
    shards[1].tx_in_flight.set(1);
    let sum = Counters::sum(shards.iter());
    assert_eq!((sum.steered, sum.tx_in_flight), (5, 4));
    assert_eq!(sum.check(), Ok(()));
}

#[test]
fn buckets_are_powers_of_two() {
    let histogram = Histogram::default();
    for value in [0, 1, 2, 3, 4, 1023, 1024, u64::MAX] {
        histogram.record(value);
    }
    let mut total = [0; 65];
    histogram.add_to(&mut total);
    assert_eq!((total[0], total[1], total[2], total[9], total[10], total[63]), (2, 2, 1, 1, 1, 1));
    assert_eq!(total[64], 2056, "the sum wraps");
    assert_eq!(total[..64].iter().sum::<u64>(), 8);
}

#[test]
fn the_newest_events_stay() {
    let ring = EventRing::new(2);
    let event = |time_ns| Event::plain(EventKind::Link, time_ns);
    assert!(ring.push(event(1)));
    assert!(ring.push(event(2)));
    assert!(!ring.push(event(3)), "one was lost");
    assert_eq!((ring.len(), ring.is_empty()), (2, false));
    assert_eq!(
        [ring.pop(), ring.pop(), ring.pop()].map(|event| event.map(|event| event.time_ns)),
        [Some(2), Some(3), None]
    );
}
