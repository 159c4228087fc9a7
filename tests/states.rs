//! States, answers and fragments through two whole instances, with the accounts checked at every rest.

mod common;

use common::frames::*;
use common::{Station, config, settle};
use weir_core::abi::sys;
use weir_core::filter::{
    Action, Answer, Direction, Endpoint, List, Options, Pool, PortMatch, PortOp, Rule, Ruleset, StateMode, StateOptions,
};

fn pair(name: &str) -> (Station, Station) {
    let wire = sys::WEIR_WIRE_PAIR;
    (Station::enabled(&config(wire, name, A, 1)), Station::enabled(&config(wire, name, B, 1)))
}

fn keep() -> StateOptions {
    StateOptions { mode: StateMode::Keep, ..StateOptions::default() }
}

/// A SYN from A to B.
fn syn(dport: u16) -> Vec<u8> {
    let mut frame = a_to_b(1000, dport, 0);
    frame[23] = 6;
    frame[46] = 0x50;
    frame[47] = 2;
    header_sum(&mut frame);
    frame
}

fn header_sum(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum = frame[14..34].chunks(2).fold(0u32, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// The two halves of a frame of [`a_to_b`] as fragments.
fn fragments(frame: &[u8]) -> [Vec<u8>; 2] {
    let part = |bytes: &[u8], field: u16| {
        let mut part = frame[..34].to_vec();
        part.extend_from_slice(bytes);
        part[16..18].copy_from_slice(&(20 + bytes.len() as u16).to_be_bytes());
        part[18..20].copy_from_slice(&[0x12, 0x34]);
        part[20..22].copy_from_slice(&field.to_be_bytes());
        header_sum(&mut part);
        part
    };
    [part(&frame[34..50], 0x2000), part(&frame[50..60], 2)]
}

#[test]
fn answers_leave_where_they_belong() {
    let (mut a, mut b) = pair("answers");
    let block = |direction| Rule { answer: Answer::Return, ..rule(Action::Block, direction) };
    b.load(&ruleset(vec![block(Direction::In)]));
    a.send(0, &[syn(22)]);
    settle(&mut [&mut a, &mut b]);
    // B had nothing for its own stack, so that its wake-up of A is all that tells of the answer.
    settle(&mut [&mut a, &mut b]);
    let [rst] = &a.received()[..] else { panic!("one answer") };
    assert_eq!((&rst[..6], &rst[26..30], rst[47] & 4), (&A[..], &[10, 0, 0, 2][..], 4));
    assert_eq!(b.counters().tx_injected, 1);
    // What the stack may not send is answered to the stack.
    a.load(&ruleset(vec![block(Direction::Out)]));
    // The buffer of a frame that comes while there are rules is the first that is kept for answers.
    b.send(0, &[udp(B, A, ([10, 0, 0, 2], [10, 0, 0, 1]), (1, 2), 3)]);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(a.received().len(), 1);
    a.send(0, &[a_to_b(1000, 53, 1)]);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(a.completed(), [0, sys::WEIR_E_DROPPED]);
    let [error] = &a.received()[..] else { panic!("one answer") };
    assert_eq!((error[23], error[34], error[35]), (1, 3, 3));
    let counters = a.close();
    assert_eq!((counters.rx_injected, counters.rx_frames, counters.tx_sent), (1, 2, 1));
    b.close();
}

#[test]
fn a_state_lets_the_answer_in() {
    let (mut a, mut b) = pair("states");
    let pass = Rule { state: keep(), ..rule(Action::Pass, Direction::Out) };
    a.load(&ruleset(vec![rule(Action::Block, Direction::Any), pass]));
    let back = udp(B, A, ([10, 0, 0, 2], [10, 0, 0, 1]), (53, 1000), 9);
    b.send(0, std::slice::from_ref(&back));
    settle(&mut [&mut a, &mut b]);
    assert!(a.received().is_empty());
    a.send(0, &[a_to_b(1000, 53, 1)]);
    settle(&mut [&mut a, &mut b]);
    b.send(0, &[back]);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(a.received().len(), 1);
    a.close();
    b.close();
}

#[test]
fn what_is_translated_comes_back() {
    let (mut a, mut b) = pair("translated");
    let nat = Pool { hosts: vec![host([192, 0, 2, 1])], ..Pool::default() };
    let nat = Rule { nat: Some(nat), ..rule(Action::Nat, Direction::Any) };
    let mut rules = Ruleset::default();
    let mut lists = [const { Vec::new() }; List::ALL.len()];
    lists[List::Nat as usize] = vec![nat];
    lists[List::Filter as usize] = vec![rule(Action::Block, Direction::In)];
    rules.push_anchor(String::new(), lists);
    a.load(&rules);
    a.send(0, &[a_to_b(1000, 53, 1)]);
    settle(&mut [&mut a, &mut b]);
    let [seen] = &b.received()[..] else { panic!("one frame") };
    assert_eq!(seen[26..30], [192, 0, 2, 1]);
    let port = u16::from_be_bytes([seen[34], seen[35]]);
    b.send(0, &[udp(B, A, ([10, 0, 0, 2], [192, 0, 2, 1]), (53, port), 9)]);
    settle(&mut [&mut a, &mut b]);
    let [answer] = &a.received()[..] else { panic!("one answer") };
    assert_eq!((&answer[30..34], &answer[36..38]), (&[10, 0, 0, 1][..], &1000u16.to_be_bytes()[..]));
    a.close();
    b.close();
}

#[test]
fn fragments_are_judged_as_their_datagram() {
    let (mut a, mut b) = pair("fragments");
    let port = PortMatch { op: PortOp::Eq, a: 53, b: 0 };
    let pass = Rule {
        protocol: Some(17),
        dst: Endpoint { port, ..Endpoint::default() },
        state: keep(),
        ..rule(Action::Pass, Direction::Any)
    };
    let options = Options { reassemble: true, ..Options::default() };
    let rules = Ruleset { options, ..ruleset(vec![rule(Action::Block, Direction::Any), pass]) };
    a.load(&rules);
    b.load(&rules);
    let datagram = a_to_b(1000, 53, 7);
    let [first, second] = fragments(&datagram);
    // In the wrong order, at two times.
    a.send(0, std::slice::from_ref(&second));
    settle(&mut [&mut a, &mut b]);
    assert_eq!((a.counters().tx_held, b.received().len()), (1, 0));
    a.send(0, std::slice::from_ref(&first));
    settle(&mut [&mut a, &mut b]);
    // One that fits the MTU goes on as what it is, as pf's does (pf_reassemble).
    let [whole] = &b.received()[..] else { panic!("one frame") };
    assert_eq!(whole[20..22], [0, 0], "no fragment");
    assert_eq!(whole[34..], datagram[34..]);
    let forbidden = fragments(&a_to_b(1000, 54, 7));
    a.send(0, &forbidden);
    settle(&mut [&mut a, &mut b]);
    assert!(b.received().is_empty());
    assert_eq!(a.completed(), [0, 0, sys::WEIR_E_DROPPED, sys::WEIR_E_DROPPED]);
    // What waits when the interface goes down is given back.
    a.send(0, &forbidden[..1]);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(a.counters().tx_held, 1);
    let counters = a.close();
    assert_eq!((counters.tx_held, counters.tx_sent, counters.tx_consumed), (0, 1, 1));
    b.close();
}
