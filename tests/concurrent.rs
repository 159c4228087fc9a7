//! Control and data path at the same time, on threads.

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::frames::*;
use common::{Glue, Queue, Station, config, settle};
use weir_core::abi::{sys, weir_link_set, weir_set_mtu};
use weir_core::filter::{
    Action, Direction, Endpoint, List, Pool, Rule, Ruleset, StateMode, StateOptions, Table, TableEntry,
};

/// Runs `control` while each queue of both stations is served by a thread that also sends what `frames` gives it.
fn under_traffic(
    a: &mut Station,
    b: &mut Station,
    frames: impl Fn(u32, u32) -> Vec<Vec<u8>> + Sync,
    control: impl FnOnce(),
) {
    let stop = AtomicBool::new(false);
    let (stop, frames) = (&stop, &frames);
    let serve = |queue: &mut Queue, sends: bool| {
        let mut burst = 0;
        while !stop.load(Ordering::Relaxed) {
            if sends {
                let next = frames(queue.index, burst);
                if queue.tx_space() >= next.len() {
                    assert_eq!(queue.submit(&next), next.len());
                    burst += 1;
                }
            }
            if !queue.turn() {
                std::thread::yield_now();
            }
        }
    };
    std::thread::scope(|scope| {
        for queue in &mut a.queues {
            scope.spawn(move || serve(queue, true));
        }
        for queue in &mut b.queues {
            scope.spawn(move || serve(queue, false));
        }
        control();
        stop.store(true, Ordering::Relaxed);
    });
    settle(&mut [a, b]);
}

/// Blocks UDP to `port`; and has a table, so that there is something to free.
fn blocks(port: u16) -> Ruleset {
    let entries = (0..200u8)
        .map(|n| {
            let mut addr = [0; 16];
            addr[1] = n;
            TableEntry { family: weir_core::filter::Family::V4, addr, len: 16, negate: n % 3 == 0 }
        })
        .collect();
    let tables = vec![Table { name: "t".into(), defined: true, entries, ..Table::default() }];
    Ruleset::filter(vec![rule(Action::Pass, Direction::Any), udp_port(Action::Block, Direction::Any, port)], tables)
}

#[test]
fn a_burst_is_judged_by_one_ruleset() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "swap", A, 1));
    let mut b = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "swap", B, 1));
    assert_eq!(a.load(&blocks(1)).epoch, 1);
    let core = a.core;
    let images = [1, 2].map(|port| weir_core::filter::image::encode(&blocks(port)));
    let load = |image: &[u8]| {
        let mut request = [1u32, sys::WEIR_CMD_RULESET_LOAD, 0, 0].map(u32::to_ne_bytes).concat();
        request.extend_from_slice(image);
        let (mut reply, mut len) = ([0u8; 200], 0usize);
        // SAFETY: a live core and buffers of the given lengths.
        let status = unsafe {
            let (req, resp) = (request.as_ptr().cast(), reply.as_mut_ptr().cast());
            weir_core::abi::weir_control({ core }.0, req, request.len(), resp, reply.len(), &mut len)
        };
        assert_eq!(status, sys::WEIR_OK);
    };
    // Each burst has as many frames to either port; its number is their mark.
    let frames = |_, burst| (0..16).map(|n| a_to_b(n, n % 2 + 1, burst)).collect();
    under_traffic(&mut a, &mut b, frames, || {
        for n in 0..500 {
            load(&images[n % 2]);
            std::thread::yield_now();
        }
    });
    let mut bursts: HashMap<u32, Vec<u16>> = HashMap::new();
    for frame in b.received() {
        bursts.entry(mark(&frame)).or_default().push(u16::from_be_bytes([frame[36], frame[37]]));
    }
    let counters = a.counters();
    assert_eq!(bursts.len() as u64 * 16, counters.tx_dequeued);
    for (number, ports) in &bursts {
        assert_eq!(ports.len(), 8, "burst {number}: {ports:?}");
        assert!(ports.iter().all(|port| *port == ports[0]), "burst {number} was judged by a mixture: {ports:?}");
    }
    let of_port = |port: u16| bursts.values().filter(|ports| ports[0] == port).count();
    assert!(of_port(1) > 0 && of_port(2) > 0, "no load took effect in the middle of the traffic");
    assert_eq!(a.ask::<sys::weir_info>(sys::WEIR_CMD_INFO, 0).ruleset_epoch, 501);
    a.close();
    b.close();
}

#[test]
fn nothing_is_lost_while_control_does_what_it_likes() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "churn", A, 2));
    let mut b = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "churn", B, 2));
    let frames = |queue, burst: u32| (0..8).map(|n| a_to_b((burst % 50) as u16 + n, queue as u16, burst)).collect();
    // Control calls of one instance are serialised by its glue: this thread makes all of them.
    let (core_a, core_b) = (a.core, b.core);
    let command = |core: common::Handle, command: u32, arg: u64, payload: &[u8]| {
        let mut request = [1u32, command].map(u32::to_ne_bytes).concat();
        request.extend_from_slice(&arg.to_ne_bytes());
        request.extend_from_slice(payload);
        let (mut reply, mut len) = (vec![0u8; 8192], 0usize);
        // SAFETY: a live core and buffers of the given lengths.
        unsafe {
            let (req, resp) = (request.as_ptr().cast(), reply.as_mut_ptr().cast());
            weir_core::abi::weir_control(core.0, req, request.len(), resp, reply.len(), &mut len)
        }
    };
    let image = weir_core::filter::image::encode(&blocks(1));
    under_traffic(&mut a, &mut b, frames, || {
        for n in 0..300u32 {
            for core in [core_a, core_b] {
                match n % 7 {
                    0 => assert_eq!(command(core, sys::WEIR_CMD_RULESET_LOAD, 0, &image), 0),
                    1 => assert_eq!(command(core, sys::WEIR_CMD_MODE, u64::from(n % 3), &[]), 0),
                    2 => assert_eq!(command(core, sys::WEIR_CMD_RULESET_CLEAR, 0, &[]), 0),
                    3 => assert_eq!(command(core, sys::WEIR_CMD_RULESET_LOAD, 0, &image[1..]), sys::WEIR_E_IMAGE),
                    // SAFETY: live cores.
                    4 => assert_eq!(unsafe { weir_link_set(core.0, n / 7 % 2) }, 0),
                    // SAFETY: live cores.
                    5 => assert_eq!(unsafe { weir_set_mtu(core.0, 500 + n) }, 0),
                    _ => assert_eq!(command(core, sys::WEIR_CMD_EVENTS, 0, &[]), 0),
                }
            }
            std::thread::yield_now();
        }
    });
    let (a, b) = (a.close(), b.close());
    assert!(a.tx_dequeued > 0 && a.steered > 0);
    assert_eq!((a.misuse, b.misuse), (0, 0));
    assert_eq!(a.tx_sent, b.rx_frames);
}

/// One address stands for another, so that a packet and its answer have different hashes.
fn translates() -> Ruleset {
    let inside = Endpoint { addr: host([10, 0, 0, 1]), ..Endpoint::default() };
    let outside = Pool { hosts: vec![host([192, 0, 2, 5])], ..Pool::default() };
    let state = StateOptions { mode: StateMode::Keep, ..StateOptions::default() };
    let mut lists = [const { Vec::new() }; List::ALL.len()];
    lists[List::Binat as usize] = vec![Rule { src: inside, nat: Some(outside), ..rule(Action::Binat, Direction::Any) }];
    lists[List::Filter as usize] = vec![Rule { state, ..rule(Action::Pass, Direction::Any) }];
    let mut ruleset = Ruleset::default();
    ruleset.push_anchor(String::new(), lists);
    ruleset
}

#[test]
fn stopping_and_starting_under_traffic() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "stops", A, 4));
    let mut b = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "stops", B, 4));
    a.load(&translates());
    for _ in 0..50 {
        let side_a = a.core.0 as usize;
        let frames = |core: common::Handle, queue: u32, burst: u32| {
            let port = |n| (burst % 50) as u16 + n;
            (0..8)
                .map(|n| match core.0 as usize == side_a {
                    true => a_to_b(port(n), queue as u16, burst),
                    false => udp(B, A, ([10, 0, 0, 2], [192, 0, 2, 5]), (queue as u16, port(n)), burst),
                })
                .collect::<Vec<_>>()
        };
        let stop = AtomicBool::new(false);
        let core = a.core;
        std::thread::scope(|scope| {
            for queue in a.queues.iter_mut().chain(&mut b.queues) {
                let (stop, frames) = (&stop, &frames);
                scope.spawn(move || {
                    let mut burst = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let next = frames(queue.core, queue.index, burst);
                        // Less than offered is taken when the interface goes down in between.
                        if queue.tx_space() >= next.len() {
                            queue.submit(&next);
                            burst += 1;
                        }
                        queue.turn();
                    }
                });
            }
            std::thread::yield_now();
            // SAFETY: a live core.
            assert_eq!(unsafe { weir_core::abi::weir_enable({ core }.0, 0) }, 0);
            stop.store(true, Ordering::Relaxed);
        });
        // The queues' serial executors are idle now; what they lent comes back.
        a.queues.iter_mut().for_each(Queue::reclaim);
        a.counters().check().unwrap();
        a.enable();
        settle(&mut [&mut a, &mut b]);
    }
    let (a, b) = (a.close(), b.close());
    assert_eq!((a.misuse, b.misuse), (0, 0));
    // What one side sent the other received, or had in its ring when it went down.
    assert_eq!(a.tx_sent, b.rx_frames);
    assert_eq!(b.tx_sent, a.rx_frames);
    assert!(a.rx_delivered > 0 && a.steered > 0);
}

/// Threads that sleep until they are woken, as dispatch queues do: whoever has work and is not woken hangs this test.
#[test]
fn nobody_sleeps_through_work() {
    const FRAMES: u32 = 20_000;
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "woken", A, 2));
    let mut b = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "woken", B, 2));
    a.load(&ruleset(vec![rule(Action::Pass, Direction::Any)]));
    let received = AtomicU32::new(0);
    let stop = AtomicBool::new(false);
    let (received, stop) = (&received, &stop);
    let glues = [a.glue.clone(), b.glue.clone()];
    let serve = |queue: &mut Queue, glue: &Glue, frames: u32| {
        let mut sent = 0;
        loop {
            // Everything that can be done now, down to a refusal by `weir_arm`.
            loop {
                while sent < frames && queue.tx_space() > 0 {
                    let burst: Vec<_> = (0..(frames - sent).min(32).min(queue.tx_space() as u32))
                        .map(|n| a_to_b((sent + n) as u16, queue.index as u16, sent + n))
                        .collect();
                    sent += queue.submit(&burst) as u32;
                }
                let more = queue.turn();
                received.fetch_add(std::mem::take(&mut queue.received).len() as u32, Ordering::SeqCst);
                if !more {
                    break;
                }
            }
            while glue.woken.fetch_and(!(1 << queue.index), Ordering::SeqCst) & (1 << queue.index) == 0 {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::yield_now();
            }
        }
    };
    std::thread::scope(|scope| {
        for (station, glue, frames) in [(&mut a, &glues[0], FRAMES / 2), (&mut b, &glues[1], 0)] {
            for queue in &mut station.queues {
                scope.spawn(move || serve(queue, glue, frames));
            }
        }
        while received.load(Ordering::SeqCst) < FRAMES {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::SeqCst);
    });
    settle(&mut [&mut a, &mut b]);
    assert_eq!(received.load(Ordering::SeqCst), FRAMES);
    let counters = a.close();
    assert!(counters.steered > 0 && counters.wakes > 0);
    b.close();
}
