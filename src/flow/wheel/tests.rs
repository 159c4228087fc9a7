use core::num::NonZeroU32;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn id(index: u32, generation: u32) -> FlowId {
    FlowId::from_parts(index, NonZeroU32::new(generation).unwrap())
}

/// Everything that is due by `now`, each with the tick at which the wheel named it.
fn drain(wheel: &mut Wheel, now: u64) -> Vec<FlowId> {
    let mut named = Vec::new();
    assert!(wheel.advance(now, usize::MAX, |id| {
        named.push(id);
        None
    }));
    named
}

#[test]
fn a_timer_fires_at_its_tick_whatever_level_it_is_on() {
    for start in [0, 1, 255, 256, 0xfffe, 0xffff_ffff, 0x1_0000_00ff] {
        for delay in [1, 2, 255, 256, 257, 0xffff, 0x1_0000, 0x1_0001, 0xff_ffff, 0x100_0000] {
            let mut wheel = Wheel::new(4, start).unwrap();
            assert!(wheel.schedule(id(3, 1), start + delay));
            assert_eq!(drain(&mut wheel, start + delay - 1), [], "{start} + {delay}");
            assert_eq!(drain(&mut wheel, start + delay), [id(3, 1)], "{start} + {delay}");
            assert_eq!(drain(&mut wheel, start + 2 * delay), []);
        }
    }
}

#[test]
fn a_time_that_has_passed_is_the_next_tick() {
    let mut wheel = Wheel::new(1, 1000).unwrap();
    wheel.schedule(id(0, 1), 3);
    assert_eq!(drain(&mut wheel, 1000), []);
    assert_eq!(drain(&mut wheel, 1001), [id(0, 1)]);
}

#[test]
fn beyond_the_horizon_is_still_exact() {
    let mut wheel = Wheel::new(1, 0).unwrap();
    let at = (1u64 << 32) * 3 + 77;
    wheel.schedule(id(0, 1), at);
    assert_eq!(drain(&mut wheel, at - 1), []);
    assert_eq!(drain(&mut wheel, at), [id(0, 1)]);
}

#[test]
fn a_budget_bounds_the_work_and_loses_nothing() {
    let mut wheel = Wheel::new(1000, 0).unwrap();
    for index in 0..1000 {
        wheel.schedule(id(index, 1), 300);
    }
    let mut named = 0;
    let mut calls = 0;
    loop {
        let mut here = 0;
        let done = wheel.advance(400, 10, |_| {
            here += 1;
            None
        });
        assert!(here <= 10);
        named += here;
        calls += 1;
        if done {
            break;
        }
    }
    assert_eq!(named, 1000);
    assert!(calls >= 100);
    assert!(wheel.is_done(400));
}

#[test]
fn another_flow_in_the_same_place_has_its_own_time() {
    let mut wheel = Wheel::new(1, 0).unwrap();
    wheel.schedule(id(0, 1), 1000);
    // Removed without cancelling; the next one lives shorter.
    wheel.schedule(id(0, 2), 10);
    assert_eq!(drain(&mut wheel, 10), [id(0, 2)]);
    assert_eq!(drain(&mut wheel, 2000), []);
    wheel.schedule(id(0, 3), 2010);
    wheel.schedule(id(0, 4), 3000);
    wheel.cancel(id(0, 3));
    assert_eq!(drain(&mut wheel, 2999), []);
    assert_eq!(drain(&mut wheel, 3000), [id(0, 4)]);
}

#[test]
fn an_index_outside_is_refused() {
    let mut wheel = Wheel::new(2, 0).unwrap();
    assert!(!wheel.schedule(id(2, 1), 1));
    wheel.cancel(id(7, 1));
    assert!(drain(&mut wheel, 10).is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Schedule(u32, u64),
    /// What an owner does who keeps the time in the flow and re-arms late.
    Rearm(u32, u64),
    Cancel(u32),
    Advance(u64, usize),
}

fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, 0..600u64, 0..200_000u64, 0..60_000_000u64]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40u32, delay()).prop_map(|(index, delay)| Step::Schedule(index, delay)),
        2 => (0..40u32, delay()).prop_map(|(index, delay)| Step::Rearm(index, delay)),
        1 => (0..40u32).prop_map(Step::Cancel),
        3 => (delay(), prop_oneof![0..8usize, Just(usize::MAX)]).prop_map(|(by, budget)| Step::Advance(by, budget)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// The oracle is a sorted map of deadlines.
    #[test]
    fn names_each_timer_once_when_its_time_has_come(start in delay(), steps in prop::collection::vec(step(), 1..120)) {
        let mut wheel = Wheel::new(40, start).unwrap();
        let mut now = start;
        let mut armed: BTreeMap<u32, u64> = BTreeMap::new();
        // What the owner wants; later than what the wheel knows after a re-arming.
        let mut wanted: BTreeMap<u32, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Schedule(index, delay) => {
                    wheel.schedule(id(index, 1), now + delay);
                    armed.insert(index, now + delay);
                    wanted.insert(index, now + delay);
                }
                Step::Rearm(index, delay) => {
                    if let Some(at) = wanted.get_mut(&index) {
                        *at = (*at).max(now + delay);
                    }
                }
                Step::Cancel(index) => {
                    wheel.cancel(id(index, 1));
                    armed.remove(&index);
                    wanted.remove(&index);
                }
                Step::Advance(by, budget) => {
                    now += by;
                    let done = wheel.advance(now, budget, |id| {
                        let index = id.index() as u32;
                        let at = armed.remove(&index).expect("named without being armed");
                        assert!(at <= now, "named at {now}, before its time {at}");
                        if wanted[&index] > now {
                            armed.insert(index, wanted[&index]);
                            return Some(wanted[&index]);
                        }
                        wanted.remove(&index);
                        None
                    });
                    if done {
                        let late: Vec<_> = armed.iter().filter(|(_, at)| **at <= now && by > 0).collect();
                        // What was set for the past after the tick was done waits for the next one.
                        for (_, at) in late {
                            prop_assert!(*at >= now - by);
                        }
                    }
                }
            }
        }
        // In the end everything comes.
        now += 1 << 33;
        let mut left: Vec<u32> = Vec::new();
        let done = wheel.advance(now, usize::MAX, |id| {
            left.push(id.index() as u32);
            None
        });
        prop_assert!(done);
        left.sort_unstable();
        prop_assert_eq!(left, armed.into_keys().collect::<Vec<_>>());
    }
}
