//! One shard without a NIC: frames one by one, with somebody watching. What `weir explain` and simulations run: the
//! driver's own code.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::judge::{Help, Judge};
use super::note::Listed;
use super::tracker::Tracker;
use super::{Added, Answers, Chore, Direction, Known, Note, Outcome, Random, Recorder, Shared, Sizes};
use crate::filter::{Compiled, Installed, InterfaceAddress, Place};
use crate::flow::state::Way;
use crate::telemetry::{Event, ShardCounters};
use crate::wire;

/// See the module.
pub struct Single {
    shared: Arc<Shared>,
    installed: Installed,
    tracker: Tracker,
    random: Random,
    added: Added,
    answers: Answers,
    counters: ShardCounters,
    rule_id: u32,
}

impl Single {
    /// A ruleset on an interface with addresses. `None` without memory. Allocates.
    #[must_use]
    pub fn new(ruleset: Compiled, if_name: &str, addresses: &[InterfaceAddress], sizes: Sizes) -> Option<Self> {
        let shared = Arc::new(Shared::new(1024, 1));
        let mut rule_id = 0;
        let place = Place { if_name, addresses, shards: 1 };
        let installed = Installed::new(1, ruleset, place, &Installed::none(0), &mut rule_id)?;
        let known = Known::new(1, sizes.states, sizes.sources, sizes.seed)?;
        let mut tracker = Tracker::new(0, &sizes, sizes.seed, &known, shared.clone())?;
        tracker.epoch = 1;
        Some(Self {
            installed,
            tracker,
            random: Random::new(sizes.seed.rotate_left(32)),
            added: Added::new(sizes.seed)?,
            answers: Answers::new()?,
            counters: ShardCounters::default(),
            shared,
            rule_id,
        })
    }

    /// Replaces the ruleset, as a load does. False without memory; the old one stays.
    pub fn reload(&mut self, ruleset: Compiled, if_name: &str, addresses: &[InterfaceAddress]) -> bool {
        let place = Place { if_name, addresses, shards: 1 };
        let epoch = self.installed.epoch.saturating_add(1);
        let Some(next) = Installed::new(epoch, ruleset, place, &self.installed, &mut self.rule_id) else {
            return false;
        };
        self.installed = next;
        self.tracker.epoch = epoch;
        self.added.clear();
        self.tracker.add_chore(Chore::Rearm);
        true
    }

    /// The ruleset at work.
    #[must_use]
    pub const fn installed(&self) -> &Installed {
        &self.installed
    }

    /// Judges a frame and changes it. `partial`: its transport checksum is left to the NIC.
    pub fn frame<R: Recorder>(
        &mut self,
        direction: Direction,
        now_ns: u64,
        frame: &mut [u8],
        partial: bool,
        recorder: &mut R,
    ) -> Outcome {
        self.answers.begin(now_ns);
        let Some(bound) = self.installed.bound() else { return Outcome::Pass };
        self.tracker.expire(now_ns, Some(bound));
        let way = match direction {
            Direction::In => Way::In,
            Direction::Out => Way::Out,
        };
        let mut parsed = wire::parse(frame);
        let help = Help {
            bound,
            shard: 0,
            shards: 1,
            handed: false,
            way,
            tracker: &mut self.tracker,
            random: &mut self.random,
            added: &mut self.added,
            recorder,
            query: None,
            translated_by: u32::MAX,
        };
        let mut judge = Judge::new(help, now_ns, &self.shared, &self.counters, &mut self.answers);
        let outcome = judge.alone(frame, &mut parsed, partial);
        self.tracker.work_off(Some(bound));
        outcome
    }

    /// What the last frame was answered with: to the wire (true) or to the stack.
    pub fn answers(&self) -> impl Iterator<Item = (bool, &[u8])> {
        self.answers.frames()
    }

    /// The next event.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        self.shared.events.pop()
    }

    /// Its states. Allocates.
    #[must_use]
    pub fn states(&mut self) -> Vec<Listed> {
        let mut all = Vec::new();
        self.tracker.add_chore(Chore::List);
        loop {
            self.tracker.work_off(self.installed.bound());
            let before = all.len();
            all.extend(core::iter::from_fn(|| self.shared.listed.pop()));
            if all.len() == before {
                return all;
            }
        }
    }

    /// How many states are counted.
    #[must_use]
    pub fn state_count(&self) -> u64 {
        self.shared.states()
    }

    /// Does what control asks for.
    pub fn note(&mut self, note: Note) {
        self.tracker.take_note(&mut self.added, note);
        self.tracker.work_off(self.installed.bound());
    }
}
