use alloc::vec;

use super::frames::{echo, handshake, udp, unreachable};
use super::*;

const INSIDE: [u8; 4] = [10, 0, 0, 5];
const OUTSIDE: [u8; 4] = [192, 0, 2, 1];
const THERE: [u8; 4] = [203, 0, 113, 9];

fn host(addr: [u8; 4]) -> AddrMatch {
    network(addr, 32)
}

fn network(addr: [u8; 4], len: u32) -> AddrMatch {
    let mut test = AddrMatch { kind: AddrKind::Mask4, ..AddrMatch::default() };
    test.addr[..4].copy_from_slice(&addr);
    test.end[..4].copy_from_slice(&(u32::MAX << (32 - len)).to_be_bytes());
    test
}

fn to(addr: [u8; 4]) -> Pool {
    Pool { hosts: vec![host(addr)], ..Pool::default() }
}

fn nat_world(pool: Pool) -> World {
    let nat = Rule { action: Action::Nat, nat: Some(pool), ..Rule::default() };
    World::new(lists(vec![(List::Nat, vec![nat]), (List::Filter, stateful())]))
}

#[test]
fn nat_gives_a_port_and_takes_answers_back() {
    let mut world = nat_world(to(OUTSIDE));
    let query = udp((INSIDE, 4000), (THERE, 53));
    let seen = world.leaves(&query).unwrap();
    assert_eq!((seen.src, seen.dst, seen.dport), (OUTSIDE, THERE, 53));
    assert!((50001..=65535).contains(&seen.sport));
    assert_eq!(world.enters(&seen.back()).unwrap(), query.back());
    assert_eq!(world.leaves(&query).unwrap(), seen);
    // Another host, the same port.
    let other = world.leaves(&udp(([10, 0, 0, 6], 4000), (THERE, 53))).unwrap();
    assert_ne!(other.sport, seen.sport);
    // An error about it goes to who sent it, about what it sent.
    let error = world.enters(&unreachable([198, 51, 100, 1], &seen)).unwrap();
    assert_eq!((error.src, error.dst), ([198, 51, 100, 1], INSIDE));
    assert_eq!(error.payload[..20], query.bytes()[14..34]);
    assert_eq!(error.payload[20..24], query.bytes()[34..38]);
}

#[test]
fn nat_translates_pings_and_connections() {
    let mut world = nat_world(to(OUTSIDE));
    let ping = echo(INSIDE, THERE, 77, 8);
    let seen = world.leaves(&ping).unwrap();
    assert_eq!(seen.src, OUTSIDE);
    let answer = world.enters(&echo(THERE, OUTSIDE, seen.sport, 0)).unwrap();
    assert_eq!((answer.dst, answer.sport), (INSIDE, 77));
    let [syn, syn_ack, ack] = handshake((INSIDE, 4000), (THERE, 80));
    let seen = world.leaves(&syn).unwrap();
    let back = world.enters(&super::Frame { dst: seen.src, dport: seen.sport, ..syn_ack.clone() }).unwrap();
    assert_eq!(back, syn_ack);
    assert_eq!(world.leaves(&ack).unwrap().sport, seen.sport);
}

#[test]
fn a_static_port_stays_and_is_one_users_only() {
    let mut world = nat_world(Pool { static_port: true, ..to(OUTSIDE) });
    assert_eq!(world.leaves(&udp((INSIDE, 4000), (THERE, 53))).unwrap().sport, 4000);
    assert_eq!(world.leaves(&udp(([10, 0, 0, 6], 4000), (THERE, 53))), Err(DropReason::InvalidPort));
}

#[test]
fn rdr_and_filter_rules_see_each_other() {
    let mut rdr = Rule { action: Action::Rdr, protocol: Some(17), ..Rule::default() };
    rdr.dst.port = PortMatch { op: PortOp::Range, a: 2000, b: 2009 };
    rdr.rdr = Some(Pool { ports: (4000, 4009), ..to(INSIDE) });
    let mut pass = Rule { direction: Direction2::In, protocol: Some(17), state: keep(), ..Rule::default() };
    pass.dst.port = PortMatch { op: PortOp::Eq, a: 4003, b: 0 };
    let block = Rule { action: Action::Block, ..Rule::default() };
    let rules = vec![(List::Rdr, vec![rdr]), (List::Filter, vec![block, pass])];
    let mut world = World::new(lists(rules));
    let query = udp((THERE, 999), (OUTSIDE, 2003));
    let seen = world.enters(&query).unwrap();
    assert_eq!((seen.dst, seen.dport), (INSIDE, 4003));
    assert_eq!(world.leaves(&seen.back()).unwrap(), query.back());
    assert_eq!(world.enters(&udp((THERE, 999), (OUTSIDE, 2004))), Err(DropReason::Match));
}

#[test]
fn binat_works_both_ways() {
    let mut binat = Rule { action: Action::Binat, ..Rule::default() };
    binat.src.addr = network([10, 0, 0, 0], 24);
    binat.nat = Some(Pool { hosts: vec![network([192, 0, 2, 0], 24)], ..Pool::default() });
    let pass = Rule { state: keep(), ..Rule::default() };
    let mut world = World::new(lists(vec![(List::Binat, vec![binat]), (List::Filter, vec![pass])]));
    let query = udp((INSIDE, 4000), (THERE, 53));
    let seen = world.leaves(&query).unwrap();
    assert_eq!((seen.src, seen.sport), ([192, 0, 2, 5], 4000));
    assert_eq!(world.enters(&seen.back()).unwrap(), query.back());
    let fresh = udp((THERE, 1), ([192, 0, 2, 8], 2));
    assert_eq!(world.enters(&fresh).unwrap().dst, [10, 0, 0, 8]);
    assert_eq!(world.leaves(&udp(([10, 0, 1, 1], 1), (THERE, 2))).unwrap().src, [10, 0, 1, 1]);
}

#[test]
fn match_rules_translate_and_tag() {
    let mut translate = Rule { action: Action::Match, direction: Direction2::Out, tag: 1, ..Rule::default() };
    translate.nat = Some(to(OUTSIDE));
    let mut pass = Rule { direction: Direction2::Out, tagged: 1, state: keep(), ..Rule::default() };
    // What comes after sees the new address.
    pass.src.addr = host(OUTSIDE);
    let block = Rule { action: Action::Block, ..Rule::default() };
    let mut ruleset = Ruleset::filter(vec![block, translate, pass], vec![]);
    ruleset.tags.push("NATTED".into());
    let mut world = World::new(ruleset);
    let query = udp((INSIDE, 4000), (THERE, 53));
    let seen = world.leaves(&query).unwrap();
    assert_eq!(seen.src, OUTSIDE);
    assert_eq!(world.enters(&seen.back()).unwrap(), query.back());
}
