use alloc::vec;

use super::frames::{SECOND, echo, handshake, tcp, udp, unreachable};
use super::*;
use crate::wire::tcp::{ACK, FIN, RST, SYN};

const HERE: [u8; 4] = [10, 0, 0, 1];
const THERE: [u8; 4] = [192, 0, 2, 7];

#[test]
fn answers_come_in_and_strangers_do_not() {
    let mut world = World::filter(stateful());
    let query = udp((HERE, 4000), (THERE, 53));
    assert_eq!(world.enters(&query.back()), Err(DropReason::Match));
    assert!(world.leaves(&query).is_ok());
    assert!(world.enters(&query.back()).is_ok());
    assert_eq!(world.enters(&udp((THERE, 54), (HERE, 4000))), Err(DropReason::Match));
    // Out with the ends exchanged is another flow.
    let states = world.single.states();
    assert_eq!((states.len(), states[0].packets), (1, [1, 1]));
    assert_eq!(world.single.installed().counters().unwrap().sum(1).unwrap()[1..], [2, 2 * 52, 1]);
    // A minute of silence and more than one answer: udp.multiple is 60 s.
    world.now += 70 * SECOND;
    assert_eq!(world.enters(&query.back()), Err(DropReason::Match));
    assert_eq!(world.single.installed().counters().unwrap().sum(1).unwrap()[3], 0);
}

#[test]
fn a_tcp_connection_lives_and_forgeries_do_not() {
    let mut world = World::filter(stateful());
    let [syn, syn_ack, ack] = handshake((HERE, 4000), (THERE, 80));
    assert!(world.leaves(&syn).is_ok());
    assert!(world.enters(&syn_ack).is_ok());
    assert!(world.leaves(&ack).is_ok());
    let forged = tcp((THERE, 80), (HERE, 4000), RST, 500_000, 0);
    assert_eq!(world.enters(&forged), Err(DropReason::StateMismatch));
    let data = tcp((THERE, 80), (HERE, 4000), ACK, 9001, 1001);
    assert!(world.enters(&super::Frame { payload: vec![1; 1000], ..data }).is_ok());
    assert!(world.leaves(&tcp((HERE, 4000), (THERE, 80), FIN | ACK, 1001, 10001)).is_ok());
    assert!(world.enters(&tcp((THERE, 80), (HERE, 4000), FIN | ACK, 10001, 1002)).is_ok());
    assert!(world.leaves(&tcp((HERE, 4000), (THERE, 80), ACK, 1002, 10002)).is_ok());
    // The same ports again, at once.
    assert!(world.leaves(&super::Frame { seq: 77, ..syn.clone() }).is_ok());
    assert_eq!(world.single.states().len(), 1);
    // tcp.first: 120 s.
    world.now += 125 * SECOND;
    assert_eq!(world.enters(&syn_ack), Err(DropReason::Match));
}

#[test]
fn pings_and_errors_belong_to_states() {
    let mut world = World::filter(stateful());
    let ping = echo(HERE, THERE, 99, 8);
    assert!(world.leaves(&ping).is_ok());
    assert!(world.enters(&echo(THERE, HERE, 99, 0)).is_ok());
    assert_eq!(world.enters(&echo(THERE, HERE, 98, 0)), Err(DropReason::Match));
    let query = udp((HERE, 4000), (THERE, 53));
    assert_eq!(world.enters(&unreachable([203, 0, 113, 1], &query)), Err(DropReason::Match));
    assert!(world.leaves(&query).is_ok());
    assert!(world.enters(&unreachable([203, 0, 113, 1], &query)).is_ok());
}

#[test]
fn blocked_packets_are_answered() {
    let answer = |answer| World::filter(vec![Rule { action: Action::Block, answer, ..Rule::default() }]);
    let mut world = answer(Answer::Return);
    assert!(world.enters(&tcp((THERE, 4000), (HERE, 22), SYN, 500, 0)).is_err());
    let [(true, rst)] = &world.answers()[..] else { panic!("one answer") };
    assert_eq!((rst.src, rst.dst, rst.sport, rst.dport), (HERE, THERE, 22, 4000));
    assert_eq!((rst.flags & RST, rst.ack), (RST, 501));
    // What the host sends is answered to the host.
    assert!(world.leaves(&udp((HERE, 4000), (THERE, 53))).is_err());
    let [(false, error)] = &world.answers()[..] else { panic!("one answer") };
    assert_eq!((error.src, error.dst, error.icmp), (THERE, HERE, (3, 3)));
    let mut world = answer(Answer::Drop);
    assert!(world.enters(&tcp((THERE, 4000), (HERE, 22), SYN, 500, 0)).is_err());
    assert!(world.answers().is_empty());
    let mut world = answer(Answer::Icmp { v4: (3, 13), v6: (1, 1) });
    assert!(world.enters(&tcp((THERE, 4000), (HERE, 22), SYN, 500, 0)).is_err());
    assert_eq!(world.answers()[0].1.icmp, (3, 13));
}

#[test]
fn limits_hold() {
    let mut rules = stateful();
    rules[1].state.max = 2;
    let mut world = World::filter(rules);
    for port in [1, 2] {
        assert!(world.leaves(&udp((HERE, port), (THERE, 53))).is_ok());
    }
    assert_eq!(world.leaves(&udp((HERE, 3), (THERE, 53))), Err(DropReason::StateLimit));
    let mut rules = stateful();
    rules[1].state.source_track = SourceTrack::Rule;
    rules[1].state.max_src_states = 1;
    let mut world = World::filter(rules);
    assert!(world.leaves(&udp((HERE, 1), (THERE, 53))).is_ok());
    assert_eq!(world.leaves(&udp((HERE, 2), (THERE, 53))), Err(DropReason::SrcLimit));
    assert!(world.leaves(&udp(([10, 0, 0, 2], 2), (THERE, 53))).is_ok());
}

#[test]
fn whoever_connects_too_often_ends_in_a_table() {
    let table = Table { name: "bad".into(), persist: true, ..Table::default() };
    let mut pass = Rule { direction: Direction2::In, text: "pass in".into(), state: keep(), ..Rule::default() };
    pass.state.source_track = SourceTrack::Rule;
    pass.state.max_src_conn_rate = Some(Rate { limit: 3, seconds: 10 });
    pass.state.overload = Some(Overload { table: 0, flush: true, global: true });
    let mut block = Rule { action: Action::Block, flags: RuleFlags::QUICK, ..Rule::default() };
    block.src.addr = AddrMatch { kind: AddrKind::Table, ..AddrMatch::default() };
    let mut world = World::new(Ruleset::filter(vec![block, pass], vec![table]));
    let connect = |world: &mut World, from: [u8; 4], port: u16| {
        let [syn, syn_ack, ack] = handshake((from, port), (HERE, 22));
        world.enters(&syn)?;
        world.leaves(&syn_ack)?;
        world.enters(&ack)
    };
    for port in 1..=3 {
        assert!(connect(&mut world, THERE, port).is_ok(), "{port}");
    }
    assert_eq!(connect(&mut world, THERE, 4), Err(DropReason::SrcLimit));
    assert_eq!(connect(&mut world, THERE, 5), Err(DropReason::Match));
    assert!(connect(&mut world, [192, 0, 2, 8], 1).is_ok());
    world.now += SECOND;
    // The flush took the others with it.
    assert_eq!(world.enters(&tcp((THERE, 1), (HERE, 22), ACK, 1001, 9001)), Err(DropReason::Match));
}

#[test]
fn a_reload_keeps_states() {
    let mut world = World::filter(stateful());
    let query = udp((HERE, 4000), (THERE, 53));
    assert!(world.leaves(&query).is_ok());
    let mut rules = stateful();
    rules.insert(0, Rule { action: Action::Match, text: "match all".into(), ..Rule::default() });
    let next = Compiled::new(Ruleset::filter(rules, vec![])).unwrap();
    assert!(world.single.reload(next, "en0", &[]));
    assert!(world.enters(&query.back()).is_ok());
    assert_eq!(world.single.installed().counters().unwrap().sum(2).unwrap(), [0, 1, 52, 1]);
    assert_eq!(world.single.states()[0].rule, 2);
}

#[test]
fn a_proxied_handshake_reaches_the_server_when_the_client_is_real() {
    let state = StateOptions { mode: StateMode::Synproxy, ..StateOptions::default() };
    let mut world = World::filter(vec![Rule { direction: Direction2::In, state, ..Rule::default() }]);
    let (client, server) = ((THERE, 4000), (HERE, 80));
    assert_eq!(world.enters(&tcp(client, server, SYN, 1000, 0)), Err(DropReason::Synproxy));
    let [(true, offer)] = &world.answers()[..] else { panic!("one answer") };
    assert_eq!((offer.flags, offer.ack, offer.window), (SYN | ACK, 1001, 0));
    let number = offer.seq;
    assert!(world.enters(&tcp(client, server, ACK, 1001, number ^ 0x55)).is_err());
    assert!(world.answers().is_empty());
    assert!(world.enters(&tcp(client, server, ACK, 1001, number.wrapping_add(1))).is_err());
    let [(false, syn)] = &world.answers()[..] else { panic!("one answer") };
    assert_eq!((syn.src, syn.dst, syn.flags), (THERE, HERE, SYN));
    let ours = syn.seq;
    assert!(world.leaves(&tcp(server, client, SYN | ACK, 7777, ours.wrapping_add(1))).is_err());
    let answers = world.answers();
    let [(false, to_server), (true, to_client)] = &answers[..] else { panic!("two answers: {answers:?}") };
    assert_eq!((to_server.seq, to_server.ack), (ours.wrapping_add(1), 7778));
    assert_eq!((to_client.seq, to_client.ack), (number.wrapping_add(1), 1001));
    // Data goes through, renumbered on the way.
    let data = super::Frame { payload: vec![1; 10], ..tcp(client, server, ACK, 1001, number.wrapping_add(1)) };
    let seen = world.enters(&data).unwrap();
    assert_eq!((seen.seq, seen.ack), (ours.wrapping_add(1), 7778));
    let back = super::Frame { payload: vec![2; 5], ..tcp(server, client, ACK, 7778, ours.wrapping_add(11)) };
    let seen = world.leaves(&back).unwrap();
    assert_eq!((seen.seq, seen.ack), (number.wrapping_add(1), 1011));
}

#[test]
fn modulated_numbers_are_others_on_the_wire() {
    let mut rules = stateful();
    rules[1].state.mode = StateMode::Modulate;
    let mut world = World::filter(rules);
    let [syn, syn_ack, ack] = handshake((HERE, 4000), (THERE, 80));
    let seen = world.leaves(&syn).unwrap();
    assert_ne!(seen.seq, syn.seq);
    let number = syn_ack.seq;
    let seen = world.enters(&super::Frame { ack: seen.seq.wrapping_add(1), ..syn_ack }).unwrap();
    assert_eq!(seen.ack, 1001);
    // The other end's numbers are shifted too, and acknowledgements of them back.
    assert_ne!(seen.seq, number);
    let seen = world.leaves(&super::Frame { ack: seen.seq.wrapping_add(1), ..ack }).unwrap();
    assert_eq!(seen.ack, number.wrapping_add(1));
}

#[test]
fn a_rule_may_match_so_often_and_another_shows_every_packet() {
    let rate = Some(Rate { limit: 2, seconds: 10 });
    let limited = Rule { packet_rate: rate, ..Rule::default() };
    let mut world = World::filter(vec![Rule { action: Action::Block, ..Rule::default() }, limited]);
    let query = udp((HERE, 4000), (THERE, 53));
    assert!(world.leaves(&query).is_ok() && world.leaves(&query).is_ok());
    assert_eq!(world.leaves(&query), Err(DropReason::Match));
    world.now += 11 * SECOND;
    assert!(world.leaves(&query).is_ok());
    let shown = Rule { flags: RuleFlags::DUP_TO, state: keep(), ..Rule::default() };
    let mut world = World::filter(vec![shown]);
    assert!(world.leaves(&query).is_ok() && world.enters(&query.back()).is_ok());
    assert_eq!(core::iter::from_fn(|| world.single.event()).count(), 2);
}

#[test]
fn a_probe_of_a_closed_window_sends_a_lost_syn_again() {
    let rule = Rule { state: StateOptions { mode: StateMode::Synproxy, ..keep() }, ..Rule::default() };
    let mut world = World::filter(vec![rule]);
    let (client, server) = ((THERE, 4000), (HERE, 80));
    assert_eq!(world.enters(&tcp(client, server, SYN, 1000, 0)), Err(DropReason::Synproxy));
    let (to_wire, offer) = world.answers().remove(0);
    assert!(to_wire && offer.flags == SYN | ACK && offer.window == 0);
    // The acknowledgement, then probes of the window, which have the number before it; a stranger's is another.
    for (seq, ack, heard) in
        [(1001, offer.seq + 1, 1), (1000, offer.seq + 1, 1), (1000, offer.seq, 0), (999, offer.seq + 1, 0)]
    {
        assert_eq!(world.enters(&tcp(client, server, ACK, seq, ack)), Err(DropReason::Synproxy));
        let answers = world.answers();
        assert_eq!(answers.len(), heard, "{seq} {ack}");
        assert!(answers.iter().all(|(to_wire, syn)| !to_wire && syn.flags == SYN));
    }
}
