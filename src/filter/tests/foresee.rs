//! What is foreseen is what a walk through everything finds.

use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

use super::arbitrary::{empty_rule, ruleset};
use super::guide::{Same, spice};
use super::linear::tcp;
use super::packet::packet;
use crate::filter::*;
use crate::telemetry::DropReason;
use crate::wire::{self, Parsed, ParsedFlags};

fn foresee(bound: &Bound, direction: Direction, parsed: &[Parsed]) -> Vec<Foreseen> {
    let mut foreseen: Vec<_> = parsed.iter().map(|parsed| bound.foresee_all(direction, parsed.family)).collect();
    bound.foresee(direction, parsed.iter().enumerate(), |place, found| {
        if foreseen[place] == Foreseen::Unknown {
            foreseen[place] = found;
        }
    });
    foreseen
}

fn has_ports(parsed: &Parsed) -> bool {
    parsed.error.is_none() && parsed.flags.contains(ParsedFlags::PORTS) && !parsed.is_fragment()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn a_walk_finds_what_was_foreseen(
        ruleset in prop_oneof![ruleset(0..4), ruleset(4..40), ruleset(60..200)],
        seed in prop::option::of(any::<u8>()),
        only_quick in any::<bool>(),
        if_name in prop_oneof![Just("en0"), Just("en1")],
        direction in prop_oneof![Just(Direction::In), Just(Direction::Out)],
        packets in prop::collection::vec(packet(), 1..40),
    ) {
        let mut ruleset = if let Some(seed) = seed { spice(ruleset, seed) } else { ruleset };
        for rule in ruleset.rules.iter_mut().filter(|_| only_quick) {
            rule.flags |= RuleFlags::QUICK;
        }
        let installed = super::install(ruleset, if_name, 1);
        let bound = installed.bound().unwrap();
        let frames: Vec<_> = packets.iter().map(super::packet::Packet::bytes).collect();
        let (frames, parsed): (Vec<_>, Vec<_>) = frames
            .into_iter()
            .map(|frame| (wire::parse(&frame), frame))
            .filter(|(parsed, _)| has_ports(parsed))
            .map(|(parsed, frame)| (frame, parsed))
            .unzip();
        for ((frame, parsed), foreseen) in frames.iter().zip(&parsed).zip(foresee(bound, direction, &parsed)) {
            let mut witness = Same { guided: false, drawn: 1, looks: 0 };
            let mut subject = Subject::new(direction, frame, parsed);
            let walked = bound.last_match(List::Filter, 0, &mut subject, &mut witness);
            if let Some(verdict) = bound.foreseen(foreseen, 0, parsed, frame.len()) {
                prop_assert_eq!(verdict, walked);
                prop_assert_eq!((subject.tag, witness.drawn, subject.dst), (0, 1, parsed.dst));
                let rule = bound.rule(verdict.rule);
                if verdict.block == Some(DropReason::IpOption) {
                    continue;
                }
                match foreseen {
                    Foreseen::Pass(_) => prop_assert!(rule.unwrap().state.mode == StateMode::No && !verdict.log),
                    Foreseen::Drop(_) => prop_assert!(rule.unwrap().answer == Answer::Drop && !verdict.log),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn plain_rules_are_foreseen() {
    let frame = tcp(80, 2).bytes();
    let parsed = [wire::parse(&frame), wire::parse(&tcp(79, 2).bytes()), wire::parse(&tcp(80, 0x10).bytes())];
    let rule = |number: u16| {
        let mut rule = empty_rule(if number == 80 { Action::Pass } else { Action::Block }, Direction::In);
        rule.protocol = Some(6);
        rule.dst.port = PortMatch { op: PortOp::Eq, a: number, b: 0 };
        rule.tcp_flags = TcpFlagsMatch { set: 2, out_of: 0x12 };
        rule
    };
    for count in [9, 90] {
        for flags in [RuleFlags::empty(), RuleFlags::QUICK] {
            let rules = (0..count).map(|number| Rule { flags, ..rule(number + 75) }).collect();
            let installed = super::install(Ruleset::filter(rules, vec![]), "en0", 1);
            let found = foresee(installed.bound().unwrap(), Direction::In, &parsed);
            assert_eq!(found, [Foreseen::Pass(5), Foreseen::Drop(4), Foreseen::NoRule]);
        }
    }
    let all = super::install(Ruleset::filter(vec![empty_rule(Action::Pass, Direction::In)], vec![]), "en0", 1);
    let bound = all.bound().unwrap();
    assert_eq!(bound.foresee_all(Direction::In, wire::Family::V6), Foreseen::Pass(0));
    assert_eq!(bound.foresee_all(Direction::Out, wire::Family::V6), Foreseen::Unknown);
}
