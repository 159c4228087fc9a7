//! A burst is judged as its frames would be one by one.

use alloc::sync::Arc;
use alloc::vec;
use proptest::prelude::*;

use super::any::{everything, frame};
use super::frames::{SECOND, tcp};
use super::*;
use crate::filter::epoch::Publisher;
use crate::mem::Burst;
use crate::mem::pool::Pool;
use crate::mem::region::{HeapDma, Region};
use crate::pipeline::{Chore, Known, Note, Outcomes, Pipeline, Recorder, Shared};
use crate::telemetry::ShardCounters;
use crate::wire::tcp::SYN;

const SIZES: Sizes = Sizes { states: 1024, sources: 64, fragments: 64, seed: 7 };

fn compiled(ruleset: &Ruleset) -> Compiled {
    Compiled::new(image::parse(&image::encode(ruleset)).expect("a ruleset")).unwrap()
}

/// What became of a frame, and what it is then.
type Judged = Vec<(Outcome, Vec<u8>)>;

/// Wants to see every look at a rule, so that nothing is foreseen.
struct Everything;

impl Recorder for Everything {
    fn saw(&mut self, _: List, _: u32, _: Result<(), Mismatch>) {}
}

/// A pipeline that judges bursts.
struct Bursts {
    pipeline: Pipeline,
    shared: Arc<Shared>,
    publisher: Publisher,
    pool: Pool,
    counters: ShardCounters,
}

impl Bursts {
    fn new(ruleset: &Ruleset) -> Self {
        let shared = Arc::new(Shared::new(1024, 1));
        let place = Place { if_name: "en0", addresses: &[], shards: 1 };
        let installed = Installed::new(1, compiled(ruleset), place, &Installed::none(0), &mut 0).unwrap();
        let (publisher, mut readers) = Publisher::new(installed, 1);
        let known = Known::new(1, SIZES.states, SIZES.sources, SIZES.seed).unwrap();
        let pipeline = Pipeline::new((0, 1), shared.clone(), &known, readers.pop().unwrap(), SIZES).unwrap();
        let region = Region::alloc(Arc::new(HeapDma), 64 * 2048, 64).unwrap();
        let pool = Pool::for_own(region, 2048, 32).unwrap();
        Self { pipeline, shared, publisher, pool, counters: ShardCounters::default() }
    }

    fn judge(&mut self, direction: Direction, now: u64, frames: &[Vec<u8>]) -> (Judged, Vec<(bool, Vec<u8>)>) {
        let mut burst = Burst::new();
        self.pool.take_burst(&mut burst, frames.len());
        for (packet, frame) in burst.iter_mut().zip(frames) {
            assert!(packet.write(frame));
        }
        let mut outcomes = Outcomes::new();
        self.pipeline.begin();
        self.pipeline.parse(&burst, direction);
        self.pipeline.judge((direction, false), now, &mut burst, &self.counters, &mut outcomes);
        let judged = burst.iter().zip(&outcomes).map(|(packet, outcome)| (*outcome, packet.frame().to_vec())).collect();
        for packet in burst {
            self.pool.put(packet).unwrap();
        }
        let answers = self.pipeline.answers.frames().map(|(to_wire, frame)| (to_wire, frame.to_vec())).collect();
        (judged, answers)
    }

    fn states(&mut self) -> Vec<crate::pipeline::Listed> {
        assert!(self.shared.tell(Note::Begin(Chore::List)));
        self.pipeline.begin();
        while self.pipeline.has_chores() {
            self.pipeline.begin();
        }
        core::iter::from_fn(|| self.shared.listed.pop()).collect()
    }
}

/// Short and long lists, with and without what stands in front of them.
fn rulesets() -> impl Strategy<Value = Ruleset> {
    let long = |quick: bool| {
        let mut rules = vec![];
        for port in 0..100u16 {
            let dst = Endpoint { port: PortMatch { op: PortOp::Eq, a: port % 7, b: 0 }, ..Endpoint::default() };
            let action = if port % 3 == 0 { Action::Block } else { Action::Pass };
            let blocks = action == Action::Block;
            let answer = if port % 2 == 0 && blocks { Answer::Return } else { Answer::Drop };
            let state = if port % 5 == 0 || blocks { StateOptions::default() } else { keep() };
            let flags = if quick { RuleFlags::QUICK } else { RuleFlags::empty() };
            let protocol = Some([6, 17, 1][usize::from(port) % 3]);
            let dst = if protocol == Some(1) { Endpoint::default() } else { dst };
            let text = alloc::format!("rule {port}");
            rules.push(Rule { action, protocol, dst, state, answer, flags, text, ..Rule::default() });
        }
        rules
    };
    let no_state = vec![Rule { action: Action::Pass, ..Rule::default() }];
    let block_out = Rule { action: Action::Block, direction: crate::filter::Direction::Out, ..Rule::default() };
    let mut logged = stateful();
    logged[1].flags |= RuleFlags::LOG;
    let mut few = Ruleset::filter(stateful(), Vec::new());
    few.options.limits.states = 2;
    let filters = vec![stateful(), no_state, vec![block_out], logged, long(true), long(false), vec![]];
    let mut all = vec![everything(), few];
    all.extend(filters.into_iter().map(|rules| Ruleset::filter(rules, Vec::new())));
    prop::sample::select(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_burst_is_judged_as_its_frames_would_be(
        ruleset in rulesets(),
        bursts in prop::collection::vec(
            (any::<bool>(), 0u64..3, prop::collection::vec(frame(), 1..9)), 1..20,
        ),
    ) {
        let mut one = Single::new(compiled(&ruleset), "en0", &[], SIZES).unwrap();
        let mut slow = Single::new(compiled(&ruleset), "en0", &[], SIZES).unwrap();
        let mut many = Bursts::new(&ruleset);
        let mut now = SECOND;
        for (inbound, seconds, frames) in bursts {
            now += seconds * SECOND;
            let direction = if inbound { Direction::In } else { Direction::Out };
            let frames: Vec<_> = frames.iter().map(frames::Frame::bytes).collect();
            let mut judged = vec![];
            let mut answers = vec![];
            for frame in &frames {
                let mut bytes = frame.clone();
                let outcome = one.frame(direction, now, &mut bytes, false, &mut ());
                let mut walked = frame.clone();
                prop_assert_eq!(slow.frame(direction, now, &mut walked, false, &mut Everything), outcome);
                prop_assert_eq!(&walked, &bytes);
                judged.push((outcome, bytes));
                answers.extend(one.answers().map(|(to_wire, frame)| (to_wire, frame.to_vec())));
            }
            prop_assert_eq!((judged, answers), many.judge(direction, now, &frames));
        }
        prop_assert_eq!(one.states(), many.states());
        prop_assert_eq!(one.states(), slow.states());
        let installed = many.publisher.current();
        for rule in 0..ruleset.rules.len() {
            let sums = [one.installed(), installed].map(|installed| installed.counters().unwrap().sum(rule));
            prop_assert_eq!(sums[0], sums[1], "rule {}", rule);
            let slow = slow.installed().counters().unwrap().sum(rule);
            prop_assert_eq!(sums[0].map(|sum| [sum[1], sum[2], sum[3]]), slow.map(|sum| [sum[1], sum[2], sum[3]]));
        }
    }
}

#[test]
fn a_burst_of_packets_without_room_is_one_event() {
    let rule = Rule { action: Action::Pass, state: keep(), ..Rule::default() };
    let mut ruleset = Ruleset::filter(vec![rule], Vec::new());
    ruleset.options.limits.states = 2;
    let mut bursts = Bursts::new(&ruleset);
    let syns = |first: u16| {
        (0..4).map(|n| tcp(([198, 51, 100, 1], first + n), ([192, 0, 2, 1], 22), SYN, 1, 0).bytes()).collect::<Vec<_>>()
    };
    let full = Outcome::Drop(DropReason::StateLimit);
    let expected = [[Outcome::Pass, Outcome::Pass, full, full], [full; 4]];
    for (first, (outcomes, lost)) in [1000, 2000].into_iter().zip(expected.into_iter().zip([1, 4])) {
        let (judged, _) = bursts.judge(Direction::In, SECOND, &syns(first));
        assert_eq!(judged.iter().map(|(outcome, _)| *outcome).collect::<Vec<_>>(), outcomes);
        let events: Vec<_> = core::iter::from_fn(|| bursts.shared.events.pop()).collect();
        let [event] = &events[..] else { panic!("{} events", events.len()) };
        assert_eq!((event.rule, event.reason), (0, DropReason::StateLimit as u8));
        assert_eq!(bursts.counters.events_lost.get(), lost);
    }
    let [evaluations, packets, ..] = bursts.publisher.current().counters().unwrap().sum(0).unwrap();
    assert_eq!((evaluations, packets), (8, 8));
}
