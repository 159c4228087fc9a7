//! Long lists: what a guided walk finds is what a walk through everything finds.

use proptest::prelude::*;

use super::arbitrary::ruleset;
use super::packet::packet;
use crate::filter::*;
use crate::wire;

/// Draws from a sequence and moves packets to other addresses; two of the same kind do the same.
pub struct Same {
    pub guided: bool,
    pub drawn: u32,
    pub looks: u32,
}

impl Witness for Same {
    fn random(&mut self) -> u32 {
        self.drawn = self.drawn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.drawn
    }

    fn translate(&mut self, number: u32, _: &Rule, subject: &mut Subject<'_>) -> bool {
        subject.dst = super::arbitrary::v4([0, 0, 0, number as u8 % 4]);
        subject.dst_port = 80;
        true
    }

    fn wants_every_look(&self) -> bool {
        !self.guided
    }

    fn saw(&mut self, _: List, _: u32, _: Result<(), Mismatch>) {
        self.looks += 1;
    }
}

/// What rules of the same kind have on top: tags, chances, translations, and a list of the sort whose first match counts.
pub fn spice(mut ruleset: Ruleset, seed: u8) -> Ruleset {
    for (number, rule) in ruleset.rules.iter_mut().enumerate() {
        match (number * 7 + usize::from(seed)) % 16 {
            0 => rule.tag = 1 + number as u16 % 2,
            1 => rule.tagged = 1,
            2 => rule.probability = u32::MAX / 2,
            3 if rule.action == Action::Match && rule.ether.is_none() => rule.rdr = Some(Pool::default()),
            _ => {}
        }
    }
    ruleset
}

/// The second half of the filter rules moves into an anchor that is called from the middle of the first.
fn with_anchor(ruleset: Ruleset, quick: bool) -> Ruleset {
    let ether = ruleset.rules.iter().filter(|rule| rule.ether.is_some()).count();
    let mut filter = ruleset.rules.clone();
    let ether: Vec<_> = filter.drain(..ether).collect();
    let inner = filter.split_off(filter.len() / 2);
    let flags = if quick { RuleFlags::QUICK } else { RuleFlags::empty() };
    let call = Call { anchor: 1, children: false };
    let call = Rule { action: Action::Anchor, flags, call: Some(call), protocol: Some(6), ..Rule::default() };
    filter.insert(filter.len() / 2, call);
    let mut result = Ruleset { tables: ruleset.tables, ..Ruleset::default() };
    let mut lists = [const { Vec::new() }; List::ALL.len()];
    lists[List::Ether as usize] = ether;
    lists[List::Filter as usize] = filter;
    result.push_anchor(String::new(), lists);
    let mut lists = [const { Vec::new() }; List::ALL.len()];
    lists[List::Filter as usize] = inner;
    result.push_anchor("inner".into(), lists);
    result
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_guided_walk_finds_the_same(
        ruleset in ruleset(70..200),
        seed in any::<u8>(),
        anchor in prop::option::of(any::<bool>()),
        packets in prop::collection::vec((packet(), any::<bool>()), 1..16),
    ) {
        let ruleset = spice(ruleset, seed);
        let ruleset = match anchor {
            Some(quick) => with_anchor(ruleset, quick),
            None => ruleset,
        };
        let [everything, guided] = [(); 2].map(|()| super::install(ruleset.clone(), "en0", 1));
        let mut witnesses = [false, true].map(|guided| Same { guided, drawn: u32::from(seed), looks: 0 });
        for (packet, inbound) in &packets {
            let direction = if *inbound { Direction::In } else { Direction::Out };
            let frame = packet.bytes();
            let parsed = wire::parse(&frame);
            let mut found = Vec::new();
            for (installed, witness) in [&everything, &guided].into_iter().zip(&mut witnesses) {
                let mut subject = Subject::new(direction, &frame, &parsed);
                let verdict = installed.bound().unwrap().last_match(List::Filter, 0, &mut subject, witness);
                found.push((verdict, subject.tag, subject.dst, subject.dst_port, witness.drawn));
            }
            prop_assert_eq!(&found[0], &found[1], "{:?}", packet);
        }
        for number in 0..ruleset.rules.len() {
            let counted = |installed: &Installed| installed.counters().unwrap().sum(number).map(|sum| [sum[1], sum[2]]);
            prop_assert_eq!(counted(&everything), counted(&guided), "rule {}", number);
        }
        prop_assert!(witnesses[1].looks <= witnesses[0].looks);
    }

    #[test]
    fn a_guided_walk_finds_the_same_first_match(
        ruleset in ruleset(70..200),
        packets in prop::collection::vec((packet(), any::<bool>()), 1..16),
    ) {
        let mut nat = Ruleset { tables: ruleset.tables, ..Ruleset::default() };
        let mut lists = [const { Vec::new() }; List::ALL.len()];
        lists[List::Nat as usize] = ruleset.rules.into_iter().filter(|rule| rule.ether.is_none()).collect();
        nat.push_anchor(String::new(), lists);
        let installed = super::install(nat, "en0", 1);
        let bound = installed.bound().unwrap();
        for (packet, inbound) in &packets {
            let direction = if *inbound { Direction::In } else { Direction::Out };
            let frame = packet.bytes();
            let parsed = wire::parse(&frame);
            let [everything, guided] = [false, true].map(|guided| {
                let mut subject = Subject::new(direction, &frame, &parsed);
                bound.first_match(List::Nat, 0, &mut subject, &mut Same { guided, drawn: 0, looks: 0 })
            });
            prop_assert_eq!(everything, guided, "{:?}", packet);
        }
    }
}

/// More rules than a guide finds at once match, and only a few of very many are looked at.
#[test]
fn a_guide_skips_what_cannot_match_and_nothing_else() {
    let rule = |port: u16| Rule {
        protocol: Some(6),
        dst: Endpoint { port: PortMatch { op: PortOp::Eq, a: port, b: 0 }, ..Endpoint::default() },
        ..Rule { action: Action::Pass, direction: Direction::In, ..Rule::default() }
    };
    let mut lists = [const { Vec::new() }; List::ALL.len()];
    lists[List::Filter as usize] =
        (0..5000).map(|number| rule(if number % 10 == 0 { 80 } else { 1000 + number })).collect();
    let mut ruleset = Ruleset::default();
    ruleset.push_anchor(String::new(), lists);
    let installed = super::install(ruleset, "en0", 1);
    let frame = super::linear::tcp(80, 2).bytes();
    let parsed = wire::parse(&frame);
    let mut subject = Subject::new(Direction::In, &frame, &parsed);
    let mut witness = Same { guided: true, drawn: 0, looks: 0 };
    let verdict = installed.bound().unwrap().last_match(List::Filter, 0, &mut subject, &mut witness);
    assert_eq!((verdict.rule, witness.looks), (4990, 500));
}
