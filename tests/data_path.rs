//! Frames through two cores, or one and its reflection, over the C ABI.

mod common;

use common::frames::*;
use common::{RING, Station, config, drops, settle};
use std::sync::atomic::Ordering;
use weir_core::abi::sys;
use weir_core::filter::{Action, Answer, Direction, Rule, RuleFlags};
use weir_core::telemetry::DropReason;

fn pair(name: &str, queues: u16) -> (Station, Station) {
    let a = Station::enabled(&config(sys::WEIR_WIRE_PAIR, name, A, queues));
    let b = Station::enabled(&config(sys::WEIR_WIRE_PAIR, name, B, queues));
    (a, b)
}

/// Buffers that the core keeps for answers of its own.
const KEPT: u32 = 8;

#[test]
fn frames_arrive_whole_and_in_order() {
    let (mut a, mut b) = pair("order", 1);
    let frames: Vec<_> = (0..1000).map(|n| a_to_b(1000, 2000, n)).collect();
    for chunk in frames.chunks(50) {
        a.send(0, chunk);
        settle(&mut [&mut a, &mut b]);
    }
    assert_eq!(b.received(), frames);
    assert_eq!(a.completed(), vec![sys::WEIR_OK; 1000]);
    let (a, b) = (a.close(), b.close());
    assert_eq!((a.tx_dequeued, a.tx_sent, a.tx_bytes), (1000, 1000, 60_000));
    assert_eq!((b.rx_frames, b.rx_delivered, b.rx_bytes), (1000, 1000, 60_000));
}

#[test]
fn without_a_ruleset_malformed_packets_pass_untouched() {
    let (mut a, mut b) = pair("malformed", 1);
    let mut frames = vec![a_to_b(1, 2, 3); 4];
    frames[0][14] = 0x4f;
    frames[1][16] = 0xff;
    frames[2].truncate(20);
    frames[3].truncate(14);
    let runt = vec![a_to_b(1, 2, 3)[..13].to_vec()];
    a.send(0, &frames);
    a.send(0, &runt);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(b.received(), frames);
    let counters = a.counters();
    assert_eq!(drops(&counters.tx_dropped), [("runt", 1)]);
    assert_eq!(a.completed().last(), Some(&sys::WEIR_E_DROPPED));
    a.close();
    b.close();
}

#[test]
fn a_receiver_that_sleeps_loses_nothing() {
    let (mut a, mut b) = pair("sleeps", 1);
    let frames: Vec<_> = (0..3 * RING).map(|n| a_to_b(1, 2, n)).collect();
    let mut offered = 0;
    // Only the sender runs: it stops taking frames once its ring and the receiver's buffers are full.
    for _ in 0..20 {
        let space = a.queues[0].tx_space();
        let end = frames.len().min(offered + space);
        offered += a.queues[0].submit(&frames[offered..end]);
        a.turn();
    }
    let with_receiver = RING - KEPT;
    assert_eq!(
        offered,
        (RING + with_receiver) as usize,
        "the ring's worth waits, the buffers' worth is with the receiver"
    );
    assert_eq!(a.queues[0].tx_space(), 0);
    assert_eq!(a.counters().tx_in_flight, u64::from(RING));
    a.counters().check().unwrap();
    settle(&mut [&mut a, &mut b]);
    a.send(0, &frames[offered..]);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(b.received(), frames);
    a.close();
    b.close();
}

#[test]
fn rules_judge_both_directions_and_count() {
    let (mut a, mut b) = pair("rules", 1);
    let logged = Rule { flags: RuleFlags::LOG, ..udp_port(Action::Block, Direction::Out, 53) };
    let result = a.load(&ruleset(vec![rule(Action::Pass, Direction::Any), logged]));
    assert_eq!((result.epoch, result.rules, result.error), (1, 2, 0));
    b.load(&ruleset(vec![udp_port(Action::Block, Direction::In, 7)]));
    a.send(0, &[a_to_b(1, 53, 0), a_to_b(1, 7, 1), a_to_b(1, 80, 2), arp_request()]);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(b.received(), [a_to_b(1, 80, 2), arp_request()]);
    let mut completed = a.completed();
    completed.sort_unstable();
    assert_eq!(completed, [sys::WEIR_E_DROPPED, 0, 0, 0]);
    assert_eq!(a.rule_counters(), [(3, 2, 120), (3, 1, 60)]);
    assert_eq!(b.rule_counters(), [(2, 1, 60)]);
    let events = a.events();
    let log = events.iter().find(|event| event.kind == sys::WEIR_EVENT_LOG).unwrap();
    assert_eq!((log.rule, log.direction, log.action, log.reason), (1, 2, 1, sys::WEIR_DROP_MATCH as u8));
    assert_eq!((log.protocol, log.ethertype, log.family, log.len), (17, 0x800, 4, 60));
    assert_eq!((log.sport, log.dport, &log.src[..4], &log.dst[..4]), (1, 53, &[10, 0, 0, 1][..], &[10, 0, 0, 2][..]));
    assert_eq!(drops(&a.close().tx_dropped), [("match", 1)]);
    assert_eq!(drops(&b.close().rx_dropped), [("match", 1)]);
}

#[test]
fn the_first_frame_that_the_stack_sends_is_answered_though_none_has_come() {
    let (mut a, mut b) = pair("early", 1);
    // Every buffer that the NIC takes was posted before there was a rule that answers, and none comes back.
    settle(&mut [&mut a, &mut b]);
    let answer = Answer::Icmp { v4: (3, 3), v6: (1, 4) };
    a.load(&ruleset(vec![Rule { answer, ..udp_port(Action::Block, Direction::Out, 53) }]));
    a.send(0, &[a_to_b(1, 53, 0)]);
    settle(&mut [&mut a, &mut b]);
    let received = a.received();
    // ICMP, destination unreachable, port unreachable (RFC 792).
    let kinds: Vec<_> = received.iter().map(|frame| (frame[23], frame[34], frame[35])).collect();
    assert_eq!(kinds, [(1, 3, 3)]);
    assert_eq!(b.received(), [] as [Vec<u8>; 0]);
    assert_eq!(drops(&a.close().tx_dropped), [("match", 1)]);
    b.close();
}

#[test]
fn modes_take_precedence_over_rules() {
    let (mut a, mut b) = pair("modes", 1);
    b.load(&ruleset(vec![rule(Action::Block, Direction::Any)]));
    let mut expected = Vec::new();
    for (mark, mode) in [sys::WEIR_MODE_FILTER, sys::WEIR_MODE_BYPASS, sys::WEIR_MODE_BLOCK].into_iter().enumerate() {
        assert_eq!(b.control(sys::WEIR_CMD_MODE, u64::from(mode), &[]).0, sys::WEIR_OK);
        assert_eq!(b.ask::<sys::weir_info>(sys::WEIR_CMD_INFO, 0).mode, mode);
        a.send(0, &[a_to_b(1, 2, mark as u32), arp_request()]);
        settle(&mut [&mut a, &mut b]);
        expected.push(b.received().len());
    }
    assert_eq!(expected, [1, 2, 0]);
    assert_eq!(b.control(sys::WEIR_CMD_MODE, 3, &[]).0, sys::WEIR_E_INVAL);
    a.close();
    assert_eq!(drops(&b.close().rx_dropped), [("match", 1), ("admin", 2)]);
}

#[test]
fn the_reflecting_station_answers() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    a.send(0, &[arp_request()]);
    settle(&mut [&mut a]);
    let answers = a.received();
    assert_eq!(answers.len(), 1);
    assert_eq!((&answers[0][..6], &answers[0][12..14], &answers[0][20..22]), (&A[..], &[8, 6][..], &[0, 2][..]));
    let mut far = [0; 6];
    far.copy_from_slice(&answers[0][6..12]);
    let echo = udp(A, far, ([10, 0, 0, 1], [10, 0, 0, 2]), (999, 7), 42);
    a.send(0, std::slice::from_ref(&echo));
    settle(&mut [&mut a]);
    let answers = a.received();
    assert_eq!(answers.iter().map(|frame| mark(frame)).collect::<Vec<_>>(), [42]);
    // The answers come in through the rules, too.
    a.load(&ruleset(vec![rule(Action::Block, Direction::In)]));
    a.send(0, &[echo]);
    settle(&mut [&mut a]);
    assert!(a.received().is_empty());
    let counters = a.close();
    assert_eq!((counters.tx_sent, counters.rx_frames, counters.rx_delivered), (3, 3, 2));
}

#[test]
fn flows_are_steered_to_one_shard_and_come_back() {
    let (mut a, mut b) = pair("steer", 4);
    a.load(&ruleset(vec![rule(Action::Pass, Direction::Any)]));
    // Every flow is offered on every queue in turn.
    let mut sent = Vec::new();
    for n in 0..400u32 {
        let frame = a_to_b(1000 + (n % 10) as u16, 80, n);
        a.send(n as usize % 4, std::slice::from_ref(&frame));
        sent.push(frame);
        settle(&mut [&mut a, &mut b]);
    }
    for (index, queue) in b.queues.iter().enumerate() {
        for frame in &queue.received {
            let sport = &frame[34..36];
            let elsewhere = b.queues.iter().enumerate().filter(|(other, _)| *other != index);
            assert!(elsewhere.flat_map(|(_, other)| &other.received).all(|other| &other[34..36] != sport));
        }
    }
    let mut received = b.received();
    received.sort_by_key(|frame| mark(frame));
    assert_eq!(received, sent);
    // Each queue got its own cookies back, or `take_back` would have said so.
    assert_eq!(a.completed(), vec![0; 400]);
    let counters = a.counters();
    assert_eq!(counters.tx_sent, 400);
    assert!((200..400).contains(&counters.steered), "{}", counters.steered);
    a.close();
    b.close();
}

#[test]
fn the_lanes_between_shards_push_back_instead_of_losing() {
    let (mut a, mut b) = pair("lanes", 2);
    settle(&mut [&mut a, &mut b]);
    a.glue.woken.store(0, Ordering::SeqCst);
    // Only queue 0 of the sender runs; flows of queue 1 pile up in the lane.
    let mut taken = 0;
    for n in 0..2000 {
        if a.queues[0].tx_space() == 0 {
            break;
        }
        taken += a.queues[0].submit(&[a_to_b(n as u16, 80, n)]);
        a.queues[0].turn();
        b.turn();
    }
    assert!(taken < 2000, "no limit");
    assert_eq!(drops(&a.counters().tx_dropped), []);
    a.counters().check().unwrap();
    assert_ne!(a.glue.woken.load(Ordering::SeqCst) & 2, 0, "queue 1 was not woken");
    settle(&mut [&mut a, &mut b]);
    assert_eq!(b.received().len(), taken);
    a.close();
    b.close();
}

#[test]
fn stopping_gives_everything_back_wherever_it_is() {
    let (mut a, mut b) = pair("stop", 2);
    for round in 0..20 {
        for n in 0..100 {
            let queue = n % 2;
            let pkts = [a_to_b(n as u16 * 7, 80, round)];
            if a.queues[queue].tx_space() > 0 {
                a.queues[queue].submit(&pkts);
            }
            if n % 10 == round as usize % 10 {
                b.queues[0].turn();
            }
        }
        let in_flight = a.counters().tx_in_flight;
        assert!(in_flight > 0);
        a.disable();
        let counters = a.counters();
        assert_eq!(counters.tx_dropped[DropReason::Disabled.index()] + counters.tx_sent, counters.tx_dequeued);
        assert!(a.completed().contains(&sys::WEIR_E_STATE));
        b.disable();
        a.enable();
        b.enable();
        settle(&mut [&mut a, &mut b]);
        b.received();
    }
    let a_counters = a.close();
    let b_counters = b.close();
    assert_eq!(a_counters.tx_sent, b_counters.rx_frames);
}

#[test]
fn without_a_far_end_frames_come_back_with_the_reason() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "alone", A, 1));
    a.send(0, &[a_to_b(1, 2, 3)]);
    settle(&mut [&mut a]);
    assert_eq!(a.completed(), [sys::WEIR_E_NODEV]);
    assert_eq!(drops(&a.close().tx_dropped), [("no-carrier", 1)]);
}

#[test]
fn descriptors_that_lie_are_completed_and_counted() {
    let (mut a, mut b) = pair("lies", 1);
    let mut pkts: Vec<_> = (0..5).map(|n| a.queues[0].descriptor(&a_to_b(1, 2, n))).collect();
    pkts[1].len = 3000;
    pkts[2].data_off = u32::MAX;
    pkts[3].flags = sys::WEIR_PKT_TX_CSUM_PARTIAL;
    pkts[3].csum_start = 34;
    pkts[3].csum_stuff = 59;
    pkts[4].flags = sys::WEIR_PKT_TX_TSO4;
    assert_eq!(a.queues[0].submit_raw(&pkts), 5);
    settle(&mut [&mut a, &mut b]);
    let mut completed = a.completed();
    completed.sort_unstable();
    let bad = sys::WEIR_E_INVAL;
    assert_eq!(completed, [sys::WEIR_E_UNSUPPORTED, bad, bad, bad, 0]);
    assert_eq!(b.received(), [a_to_b(1, 2, 0)]);
    assert_eq!(drops(&a.close().tx_dropped), [("bad-descriptor", 3), ("offload", 1)]);
    b.close();
}

#[test]
fn frames_for_others_and_giants_are_the_nics_to_refuse() {
    let (mut a, mut b) = pair("refused", 1);
    let stranger = udp(A, [2, 9, 9, 9, 9, 9], ([10, 0, 0, 1], [10, 0, 0, 2]), (1, 2), 0);
    let mut giant = a_to_b(1, 2, 3);
    giant.resize(1523, 0);
    a.send(0, &[stranger.clone(), giant, a_to_b(1, 2, 4)]);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(b.received().len(), 1);
    assert_eq!(drops(&b.counters().rx_dropped), [("giant", 1), ("mac-filter", 1)]);
    // SAFETY: a live core.
    assert_eq!(unsafe { weir_core::abi::weir_set_promiscuous(b.core.0, 1) }, 0);
    a.send(0, &[stranger]);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(b.received().len(), 1);
    a.close();
    b.close();
}

#[test]
fn the_clock_is_read_twice_per_burst_at_most() {
    let (mut a, mut b) = pair("clock", 1);
    b.load(&ruleset(vec![Rule { flags: RuleFlags::LOG, ..rule(Action::Pass, Direction::In) }]));
    let frames: Vec<_> = (0..RING - KEPT).map(|n| a_to_b(1, 2, n)).collect();
    let count = frames.len();
    let reads = |station: &Station| station.glue.clock_reads.load(Ordering::Relaxed);
    let before = reads(&a);
    assert_eq!(a.queues[0].submit(&frames), count);
    assert_eq!(reads(&a) - before, 2);
    let before = reads(&b);
    b.queues[0].turn();
    assert_eq!(b.received().len(), count);
    assert_eq!(reads(&b) - before, 2);
    assert_eq!(b.events().iter().filter(|event| event.kind == sys::WEIR_EVENT_LOG).count(), count);
    let lengths: sys::weir_histogram = b.ask(sys::WEIR_CMD_HISTOGRAM, u64::from(sys::WEIR_HIST_RX_BURST_LEN));
    assert_eq!((lengths.bucket[5], lengths.sum), (1, count as u64));
    a.close();
    b.close();
}

#[test]
fn more_events_than_fit_are_counted_as_lost() {
    let (mut a, mut b) = pair("events", 1);
    b.load(&ruleset(vec![Rule { flags: RuleFlags::LOG, ..rule(Action::Block, Direction::In) }]));
    b.events();
    for n in 0..100 {
        a.send(0, &vec![a_to_b(1, 2, n); 50]);
        settle(&mut [&mut a, &mut b]);
    }
    let mut events = Vec::new();
    loop {
        let some = b.events();
        if some.is_empty() {
            break;
        }
        events.extend(some);
    }
    let lost = b.counters().events_lost;
    assert!(lost > 0);
    assert_eq!(events.len() as u64 + lost, 5000);
    assert!(events.is_sorted_by_key(|event| event.time_ns));
    a.close();
    b.close();
}
