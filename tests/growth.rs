//! Many states: more than there is memory for from the start, walks over all of them, and timeouts that change.

mod common;

use std::sync::atomic::Ordering;

use common::frames::*;
use common::{Station, config, settle};
use weir_core::abi::sys;
use weir_core::filter::{Action, Direction, Rule, Ruleset, SourceTrack, StateMode, StateOptions, Timeout};

const SECOND: u64 = 1_000_000_000;

fn rules(states: u32, state: StateOptions) -> Ruleset {
    let state = StateOptions { mode: StateMode::Keep, ..state };
    let pass = Rule { state, ..rule(Action::Pass, Direction::Out) };
    let mut rules = ruleset(vec![rule(Action::Block, Direction::Any), pass]);
    rules.options.limits.states = states;
    rules
}

fn states(station: &Station) -> u64 {
    station.ask::<sys::weir_filter_status>(sys::WEIR_CMD_STATUS, 0).states
}

fn flow(n: u32) -> Vec<u8> {
    let [_, b, c, d] = n.to_be_bytes();
    udp(A, B, ([10, b, c, d], [10, 255, 0, 2]), (1000, 53), n)
}

fn answer(n: u32) -> Vec<u8> {
    let [_, b, c, d] = n.to_be_bytes();
    udp(B, A, ([10, 255, 0, 2], [10, b, c, d]), (53, 1000), n)
}

fn pair(name: &str, queues: u16) -> (Station, Station) {
    let wire = sys::WEIR_WIRE_PAIR;
    (Station::enabled(&config(wire, name, A, queues)), Station::enabled(&config(wire, name, B, queues)))
}

/// How many of the answers to these flows A takes.
fn answered(a: &mut Station, b: &mut Station, flows: impl Iterator<Item = u32>) -> usize {
    let answers: Vec<_> = flows.map(answer).collect();
    for part in answers.chunks(32) {
        b.send(0, part);
        settle(&mut [a, b]);
    }
    a.received().len()
}

fn exceeds_what_was_there(name: &str, queues: u16, all: u32) {
    const FIRST: u32 = 5_000;
    let (mut a, mut b) = pair(name, queues);
    let long = |mut rules: Ruleset| {
        rules.options.timeouts.0[Timeout::UdpFirst as usize] = 1000;
        rules
    };
    a.load(&long(rules(10_000, StateOptions::default())));
    let send = |a: &mut Station, b: &mut Station, flows: std::ops::Range<u32>| {
        for start in flows.clone().step_by(32) {
            let frames: Vec<_> = (start..(start + 32).min(flows.end)).map(flow).collect();
            a.send(0, &frames);
            b.turn();
            if start % 1024 == 0 {
                settle(&mut [a, b]);
                b.received();
                a.completed();
            }
        }
        settle(&mut [a, b]);
        b.received();
    };
    send(&mut a, &mut b, 0..FIRST);
    assert_eq!(states(&a), u64::from(FIRST));
    a.load(&long(rules(all + 1, StateOptions::default())));
    // The states that there were are known while they move, and afterwards.
    assert_eq!(answered(&mut a, &mut b, (0..FIRST).step_by(97)), FIRST.div_ceil(97) as usize);
    send(&mut a, &mut b, FIRST..all);
    assert_eq!(states(&a), u64::from(all));
    assert_eq!(answered(&mut a, &mut b, (0..all).step_by(1009)), all.div_ceil(1009) as usize);
    // The limit is exact.
    send(&mut a, &mut b, all..all + 64);
    assert_eq!(states(&a), u64::from(all) + 1);
    // All of them are listed, a part at a time, and killed, a part at a time.
    let (status, _) = a.control(sys::WEIR_CMD_STATES_LIST, 0, &[]);
    assert_eq!(status, sys::WEIR_OK);
    let mut listed = 0;
    loop {
        settle(&mut [&mut a, &mut b]);
        let before = listed;
        loop {
            let (_, reply) = a.control(sys::WEIR_CMD_STATES, 0, &[]);
            listed += reply.len() / size_of::<sys::weir_state>();
            if reply.is_empty() {
                break;
            }
        }
        if listed == before {
            break;
        }
    }
    assert_eq!(listed, all as usize + 1);
    let (status, _) = a.control(sys::WEIR_CMD_STATES_KILL, 0, &[0; size_of::<sys::weir_state_filter>()]);
    assert_eq!(status, sys::WEIR_OK);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(states(&a), 0);
    a.close();
    b.close();
}

#[test]
fn a_higher_limit_brings_the_memory() {
    exceeds_what_was_there("grows", 1, 270_000);
}

#[test]
fn with_several_pairs_too() {
    exceeds_what_was_there("grows-4", 4, 90_000);
}

#[test]
fn timeouts_of_a_reload_are_for_states_that_there_are() {
    let (mut a, mut b) = pair("timeouts", 2);
    let with = |seconds: u32| {
        let mut rules = rules(1000, StateOptions::default());
        for timeout in [Timeout::UdpFirst, Timeout::UdpSingle, Timeout::UdpMultiple] {
            rules.options.timeouts.0[timeout as usize] = seconds;
        }
        rules
    };
    a.load(&with(86_400));
    a.send(0, &(0..32).map(flow).collect::<Vec<_>>());
    settle(&mut [&mut a, &mut b]);
    a.load(&with(10));
    settle(&mut [&mut a, &mut b]);
    a.glue.now_ns.fetch_add(9 * SECOND, Ordering::Relaxed);
    assert_eq!(answered(&mut a, &mut b, 0..1), 1);
    a.glue.now_ns.fetch_add(3 * SECOND, Ordering::Relaxed);
    assert_eq!(answered(&mut a, &mut b, 0..32), 1, "only the one that was used");
    // And longer ones.
    a.load(&with(1000));
    settle(&mut [&mut a, &mut b]);
    a.glue.now_ns.fetch_add(500 * SECOND, Ordering::Relaxed);
    assert_eq!(answered(&mut a, &mut b, 0..1), 1);
    a.close();
    b.close();
}

#[test]
fn sources_are_listed_and_forgotten() {
    let (mut a, mut b) = pair("sources", 2);
    let tracked = StateOptions { source_track: SourceTrack::Rule, max_src_states: 2, ..StateOptions::default() };
    a.load(&rules(1000, tracked));
    let of = |n: u8, port: u16| udp(A, B, ([10, 0, 0, n], [10, 0, 0, 200]), (port, 53), 1);
    for n in 1..=3 {
        a.send(0, &[of(n, 1), of(n, 2), of(n, 3)]);
    }
    settle(&mut [&mut a, &mut b]);
    assert_eq!(b.received().len(), 6, "two of each");
    let list = |a: &Station| {
        let (status, reply) = a.control(sys::WEIR_CMD_SOURCES, 0, &[]);
        assert_eq!(status, sys::WEIR_OK);
        // SAFETY: the struct of the header is plain numbers.
        let read = |bytes: &[u8]| unsafe { bytes.as_ptr().cast::<sys::weir_source>().read_unaligned() };
        let mut all: Vec<_> =
            reply.chunks_exact(64).map(read).map(|s| (s.addr[3], s.states, s.rule, s.family)).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(list(&a), [(1, 2, 1, 4), (2, 2, 1, 4), (3, 2, 1, 4)]);
    let mut host = [0u8; 20];
    host[..4].copy_from_slice(&[10, 0, 0, 2]);
    (host[16], host[17]) = (4, 32);
    assert_eq!(a.control(sys::WEIR_CMD_SOURCES_KILL, 0, &host).0, sys::WEIR_OK);
    assert_eq!(list(&a).len(), 2);
    assert_eq!(a.control(sys::WEIR_CMD_SOURCES_KILL, 0, &host[1..]).0, sys::WEIR_E_INVAL);
    // Its states stay, and count no more.
    assert_eq!(states(&a), 6);
    a.send(0, &[of(2, 9), of(1, 9)]);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(b.received().len(), 1);
    assert_eq!(a.control(sys::WEIR_CMD_SOURCES_KILL, 0, &[]).0, sys::WEIR_OK);
    assert_eq!(list(&a), []);
    a.close();
    b.close();
}

/// A flood of new flows fills the table: those that are established go on, and the flood's states make room sooner than its
/// timeouts say (`adaptive.start`).
#[test]
fn a_flood_leaves_the_others_alone() {
    const LIMIT: u32 = 3000;
    let (mut a, mut b) = pair("flood", 4);
    let mut with = rules(LIMIT, StateOptions::default());
    with.options.timeouts.0[Timeout::UdpFirst as usize] = 600;
    with.options.timeouts.0[Timeout::AdaptiveStart as usize] = LIMIT * 6 / 10;
    with.options.timeouts.0[Timeout::AdaptiveEnd as usize] = LIMIT * 12 / 10;
    a.load(&with);
    let established: Vec<_> = (0..32).map(flow).collect();
    a.send(0, &established);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(answered(&mut a, &mut b, 0..32), 32);
    a.send(0, &established);
    settle(&mut [&mut a, &mut b]);
    for start in (1000..1000 + 2 * LIMIT).step_by(64) {
        a.send((start % 4) as usize, &(start..start + 64).map(flow).collect::<Vec<_>>());
        settle(&mut [&mut a, &mut b]);
    }
    b.received();
    assert_eq!(states(&a), u64::from(LIMIT), "exactly");
    let dropped = a.counters().tx_dropped[sys::WEIR_DROP_STATE_LIMIT as usize];
    assert_eq!(dropped, u64::from(2 * LIMIT).next_multiple_of(64) + 32 - u64::from(LIMIT));
    assert_eq!(answered(&mut a, &mut b, 0..32), 32);
    // A third of every timeout is left at the limit: of `udp.multiple`, 20 seconds.
    for _ in 0..30 {
        a.glue.now_ns.fetch_add(10 * SECOND, Ordering::Relaxed);
        assert_eq!(answered(&mut a, &mut b, 0..32), 32);
        a.send(0, &established);
        settle(&mut [&mut a, &mut b]);
    }
    // The fewer there are, the longer the rest may stay.
    assert!(states(&a) < u64::from(LIMIT) * 95 / 100, "{} states", states(&a));
    a.close();
    b.close();
}
