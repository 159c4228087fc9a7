//! Fragments through the driver: judged as the datagram that they are parts of, each frame accounted for once.

mod common;

use common::frames::*;
use common::{Station, config, drops, settle};
use weir_core::abi::sys;
use weir_core::filter::{Action, Direction, Ruleset};
use weir_core::wire::{offload, parse};

/// Fragments of `cut` bytes of a UDP datagram with `len` bytes of payload.
fn fragments(port: u16, len: usize, cut: usize, id: u16) -> Vec<Vec<u8>> {
    let mut body = [[0x30, 0x39], port.to_be_bytes(), (8 + len as u16).to_be_bytes(), [0, 0]].concat();
    body.extend((0..len).map(|byte| byte as u8));
    let parts: Vec<&[u8]> = body.chunks(cut).collect();
    parts
        .iter()
        .enumerate()
        .map(|(index, part)| {
            let mut frame = [&B[..], &A, &[8, 0, 0x45, 0]].concat();
            frame.extend((20 + part.len() as u16).to_be_bytes());
            frame.extend(id.to_be_bytes());
            let more = u16::from(index + 1 < parts.len()) << 13;
            frame.extend(((index * cut / 8) as u16 | more).to_be_bytes());
            frame.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
            frame.extend_from_slice(part);
            let parsed = parse(&frame);
            assert!(offload::fill_ipv4_header(&mut frame, &parsed));
            frame
        })
        .collect()
}

/// Blocks UDP to port 53, in either direction, of whole datagrams.
fn rules() -> Ruleset {
    let block = udp_port(Action::Block, Direction::Any, 53);
    let mut ruleset = ruleset(vec![rule(Action::Pass, Direction::Any), block]);
    ruleset.options.reassemble = true;
    ruleset
}

fn pair(name: &str) -> (Station, Station) {
    let a = Station::enabled(&config(sys::WEIR_WIRE_PAIR, name, A, 1));
    let b = Station::enabled(&config(sys::WEIR_WIRE_PAIR, name, B, 1));
    (a, b)
}

#[test]
fn received_fragments_are_judged_by_the_ports_of_their_datagram() {
    let (mut a, mut b) = pair("fragments-in");
    b.load(&rules());
    let mut blocked = fragments(53, 4000, 1480, 1);
    blocked.reverse();
    a.send(0, &blocked);
    let passed = fragments(54, 4000, 1480, 2);
    let mut reversed = passed.clone();
    reversed.reverse();
    a.send(0, &reversed);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(b.received(), passed, "in order, as they came");
    let counters = b.counters();
    counters.check().unwrap();
    assert_eq!(drops(&counters.rx_dropped), [("match", 3)]);
    assert_eq!((counters.rx_frames, counters.rx_delivered, counters.rx_held), (6, 3, 0));
    a.close();
    b.close();
}

#[test]
fn transmitted_fragments_too() {
    let (mut a, mut b) = pair("fragments-out");
    a.load(&rules());
    a.send(0, &fragments(53, 4000, 1480, 1));
    let passed = fragments(54, 4000, 1480, 2);
    a.send(0, &passed);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(b.received(), passed);
    let counters = a.counters();
    assert_eq!(drops(&counters.tx_dropped), [("match", 3)]);
    assert_eq!((counters.tx_dequeued, counters.tx_sent, counters.tx_held), (6, 3, 0));
    assert_eq!(a.completed().len(), 6);
    a.close();
    b.close();
}

/// What fits the MTU leaves as one frame; the other buffers are consumed.
#[test]
fn small_datagrams_leave_whole() {
    let (mut a, mut b) = pair("fragments-small");
    b.load(&rules());
    a.send(0, &fragments(54, 1000, 400, 3));
    settle(&mut [&mut a, &mut b]);
    let received = b.received();
    assert_eq!(received.len(), 1);
    let parsed = parse(&received[0]);
    assert!(parsed.error.is_none() && !parsed.is_fragment());
    assert_eq!((parsed.payload_len, parsed.dst_port), (1000, 54));
    assert_eq!(offload::is_ipv4_header_valid(&received[0], &parsed), Some(true));
    let counters = b.counters();
    counters.check().unwrap();
    assert_eq!((counters.rx_frames, counters.rx_delivered, counters.rx_consumed), (3, 1, 2));
    a.close();
    b.close();
}

#[test]
fn what_waits_is_held_and_comes_back() {
    let (mut a, mut b) = pair("fragments-held");
    a.load(&rules());
    b.load(&rules());
    let incoming = fragments(54, 4000, 1480, 4);
    a.send(0, &incoming[..2]);
    settle(&mut [&mut a, &mut b]);
    let counters = a.counters();
    counters.check().unwrap();
    assert_eq!((counters.tx_held, counters.tx_sent), (2, 0), "it waits where it is sent");
    a.disable();
    let counters = a.counters();
    counters.check().unwrap();
    assert_eq!(drops(&counters.tx_dropped), [("disabled", 2)]);
    assert_eq!(a.completed(), [sys::WEIR_E_STATE; 2]);
    a.enable();
    a.load(&ruleset(vec![rule(Action::Pass, Direction::Any)]));
    a.send(0, &incoming[..2]);
    settle(&mut [&mut a, &mut b]);
    let counters = b.counters();
    counters.check().unwrap();
    assert_eq!((counters.rx_held, counters.rx_delivered), (2, 0), "or where it is received");
    b.disable();
    let counters = b.counters();
    counters.check().unwrap();
    assert_eq!(drops(&counters.rx_dropped), [("disabled", 2)]);
    a.close();
    b.close();
}
