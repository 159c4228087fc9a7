//! What happens to a burst between the NIC and the stack: parse, classify, outcome.
//!
//! Stages are functions over a burst. Each frame leaves with exactly one [`Outcome`], which the driver carries out
//! and counts. Nothing here allocates, locks or reads the time.
#![forbid(unsafe_code)]

mod admit;
mod ahead;
mod answer;
mod burst;
mod change;
mod chores;
mod hold;
mod icmp_error;
mod judge;
mod note;
mod shared;
mod single;
mod source;
mod synproxy;
pub mod tap;
#[cfg(test)]
mod tests;
mod tracker;
mod translate;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use crossbeam_queue::ArrayQueue;

use self::ahead::{Ahead, Look};
pub use self::answer::Answers;
pub use self::chores::{Chore, Flush, Memory};
pub use self::hold::Released;
use self::hold::Waiting;
use self::judge::{Help, Judge};
pub use self::note::{Added, Addition, Listed, Note, StateFilter};
pub use self::shared::{Growth, Shared};
pub use self::single::Single;
use self::tap::{Mark, Taps};
use self::tracker::Tracker;
pub use self::tracker::{Known, ticks};
use crate::filter::epoch::Reader;
use crate::filter::{List, Mismatch, Timeout};
use crate::flow::state::Way;
use crate::mem::packet::BURST_MAX;
use crate::mem::{Burst, Packet, PacketFlags, prefetch};
use crate::telemetry::{DropReason, ShardCounters};
use crate::wire::{self, Ends, Parsed};

/// Shortest frame that anything is done with: an Ethernet header (`WEIR_FRAME_MIN`), bytes.
pub const FRAME_MIN: usize = 14;

/// How many frames before its turn a frame is fetched. Buffers lie as far apart as they are long, so that the beginnings
/// of many compete for the same few places of the innermost cache.
const FETCH_AHEAD: usize = 16;

/// How many frames behind the first look at a frame the second one comes, which needs what the first one fetches: late enough for
/// that to be there, and early enough for what the second one fetches to be there when the first frame is judged.
const LOOK_BEHIND: usize = 12;

/// Key of the hash that flows are spread over shards by. The same everywhere: both ends of a virtual cable must come
/// to the same queue for a flow. Whoever picks addresses to crowd one queue loses only speed, and that of a queue.
pub const STEER_SEED: u64 = 0;

/// Who decides (`WEIR_MODE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Mode {
    /// The ruleset.
    Filter = 0,
    /// Nobody: every frame passes and is counted.
    Bypass = 1,
    /// Nobody: no frame passes.
    Block = 2,
}

impl Mode {
    /// The mode with this number.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Filter),
            1 => Some(Self::Bypass),
            2 => Some(Self::Block),
            _ => None,
        }
    }
}

/// Which way a frame goes, seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the wire to the stack.
    In,
    /// From the stack to the wire.
    Out,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// On to the stack, or to the NIC.
    Pass,
    /// Dropped and counted.
    Drop(DropReason),
    /// A fragment that waits for the others of its datagram ([`Pipeline::hold`]).
    Hold {
        /// An IPv4 fragment with the don't-fragment bit loses the bit instead of its life.
        no_df: bool,
    },
    /// Of a state of another shard, which is to judge it.
    Elsewhere(u8),
}

/// One [`Outcome`] per frame of a burst, in its order.
pub type Outcomes = heapless::Vec<Outcome, BURST_MAX>;

/// Who is told of each look at a rule: `weir explain`.
pub trait Recorder {
    /// True to be told of every rule, also of those that could not match for reasons known beforehand.
    fn wants_every_look(&self) -> bool {
        true
    }

    /// A rule of a list matched, or did not and why.
    fn saw(&mut self, list: List, rule: u32, result: Result<(), Mismatch>);
}

/// Nobody.
impl Recorder for () {
    fn wants_every_look(&self) -> bool {
        false
    }

    fn saw(&mut self, _: List, _: u32, _: Result<(), Mismatch>) {}
}

/// Random numbers for everything that must not be guessed within a burst or two: sequence numbers, ports, answers
/// (xorshift128+, Vigna 2014).
pub struct Random {
    state: [u64; 2],
}

impl Random {
    /// From a seed that nobody else knows.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let spread =
            |n: u64| (seed ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self { state: [spread(1) | 1, spread(2)] }
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        let [mut a, b] = self.state;
        let sum = a.wrapping_add(b);
        a ^= a << 23;
        self.state = [b, a ^ b ^ (a >> 18) ^ (b >> 5)];
        (sum >> 32) as u32
    }
}

/// Sizes and secrets of a shard.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// States that there is memory for.
    pub states: usize,
    /// Nodes of sources that there is memory for.
    pub sources: usize,
    /// Fragments that may wait, in each direction.
    pub fragments: usize,
    /// What everything random begins with.
    pub seed: u64,
}

/// The secret of one shard.
#[must_use]
pub const fn shard_seed(seed: u64, shard: usize) -> u64 {
    seed ^ (shard as u64).wrapping_mul(0x2545_f491_4f6c_dd1d)
}

/// One shard's pipeline.
pub struct Pipeline {
    shard: usize,
    shards: usize,
    shared: Arc<Shared>,
    rules: Reader,
    mode: Mode,
    /// What the frames of the current burst are.
    parsed: heapless::Vec<Parsed, BURST_MAX>,
    /// What is known about them before they are judged.
    aheads: [Ahead; BURST_MAX],
    /// One of them had no state then.
    some_absent: bool,
    tracker: Tracker,
    random: Random,
    added: Added,
    waiting: Waiting,
    /// Frames made for the current burst.
    pub answers: Answers,
    /// Somebody wants [`Pipeline::marks`].
    pub keeps_marks: bool,
    /// What is known of the frames of the burst that was judged last, if somebody wants it.
    pub marks: heapless::Vec<Mark, BURST_MAX>,
}

impl Pipeline {
    /// The pipeline of shard number `shard` of `shards`. `None` without memory.
    #[must_use]
    pub fn new(
        (shard, shards): (usize, usize),
        shared: Arc<Shared>,
        known: &Known,
        rules: Reader,
        sizes: Sizes,
    ) -> Option<Self> {
        let seed = shard_seed(sizes.seed, shard);
        Some(Self {
            shard,
            shards,
            tracker: Tracker::new(shard, &sizes, seed, known, shared.clone())?,
            random: Random::new(seed.rotate_left(32)),
            added: Added::new(seed)?,
            answers: Answers::new()?,
            waiting: Waiting::new(sizes.fragments, seed)?,
            shared,
            rules,
            mode: Mode::Filter,
            parsed: heapless::Vec::new(),
            keeps_marks: false,
            marks: heapless::Vec::new(),
            aheads: [Ahead::default(); BURST_MAX],
            some_absent: false,
        })
    }

    /// Settles what the next burst is judged by: mode and ruleset, once for all of its frames; and does what control
    /// asked for.
    pub fn begin(&mut self) {
        self.mode = self.shared.mode();
        self.rules.refresh();
        let epoch = self.rules.current().epoch;
        if epoch != self.tracker.epoch {
            self.tracker.epoch = epoch;
            self.added.clear();
            if !self.tracker.table.is_empty() {
                // Timeouts may be others; they are for states that there are, too.
                self.tracker.add_chore(Chore::Rearm);
            }
            if let Some(bound) = self.rules.current().bound() {
                let frame_max = self.shared.frame_max.load(Ordering::Relaxed) as usize;
                let options = &bound.ruleset().options;
                self.waiting.configure(options, frame_max);
                let timeout = u64::from(options.timeouts.get(Timeout::Fragment)).saturating_mul(1_000_000_000);
                self.tracker.ranges.configure(options.limits.frags as usize, timeout);
            }
        }
        self.take_growth();
        self.take_notes();
        self.tracker.work(self.rules.current().bound());
    }

    /// Goes over to the memory that control made.
    fn take_growth(&mut self) {
        if self.tracker.chores.old().is_some() {
            return;
        }
        let Some(growth) = self.shared.growth.get(self.shard).and_then(ArrayQueue::pop) else { return };
        if let Some(index) = growth.index {
            self.tracker.look_at(index);
        }
        // Nothing moves now.
        let _ = self.tracker.grow(growth.memory);
    }

    /// There is something to do besides frames, and nobody who would say so.
    #[must_use]
    pub fn has_chores(&self) -> bool {
        self.tracker.chores.is_busy()
    }

    /// Who watches.
    #[must_use]
    pub fn taps(&self) -> &Taps {
        &self.shared.taps
    }

    /// True if frames have to be parsed, because something will look at what they are.
    #[must_use]
    pub fn looks_at_frames(&self) -> bool {
        self.mode == Mode::Filter && self.rules.current().has_ruleset()
    }

    /// Parses the burst, and begins to look for the states of its frames, which all go one way.
    pub fn parse(&mut self, burst: &Burst, direction: Direction) {
        // As many as frames, which fit. What is there is overwritten.
        if self.parsed.len() != burst.len() {
            let _ = self.parsed.resize_default(burst.len());
        }
        match direction {
            Direction::In => self.parse_going(Way::In, burst),
            Direction::Out => self.parse_going(Way::Out, burst),
        }
    }

    /// [`Pipeline::parse`], made for each way anew.
    #[inline(always)]
    fn parse_going(&mut self, way: Way, burst: &Burst) {
        for packet in burst.iter().take(FETCH_AHEAD) {
            prefetch::line_of(packet.frame());
        }
        let look = Look::new(&self.tracker.table, way);
        let mut some_absent = false;
        for (number, (packet, parsed)) in burst.iter().zip(&mut self.parsed).enumerate() {
            if let Some(later) = burst.get(number + FETCH_AHEAD) {
                prefetch::line_of(later.frame());
            }
            let Some(ahead) = self.aheads.get_mut(number) else { break };
            match parse_one(parsed, packet) {
                Some(ends) => look.at_ends(way, ahead, &ends),
                None => look.at(way, ahead, packet.frame(), parsed),
            }
            if let Some(before) = self.aheads.get_mut(number.wrapping_sub(LOOK_BEHIND)) {
                some_absent |= look.closer(before);
            }
        }
        let last = burst.len().saturating_sub(LOOK_BEHIND);
        for ahead in self.aheads.get_mut(last..burst.len()).unwrap_or_default() {
            some_absent |= look.closer(ahead);
        }
        self.some_absent = some_absent;
    }

    /// Parses the burst, whose frames go out, keeps those whose flow belongs to this shard, and gives each of the others to
    /// `elsewhere` with its shard's number. Only for those that are kept begins to look for states, where
    /// [`Pipeline::looks_at_frames`].
    pub fn steer(&mut self, burst: &mut Burst, shards: usize, mut elsewhere: impl FnMut(usize, Packet)) {
        let look = self.looks_at_frames().then(|| Look::new(&self.tracker.table, Way::Out));
        self.parsed.clear();
        for packet in &*burst {
            prefetch::line_of(packet.frame());
        }
        for packet in core::mem::take(burst) {
            let mut parsed = Parsed::default();
            let _ = parse_one(&mut parsed, &packet);
            let target = wire::shard_of(wire::flow_hash(packet.frame(), &parsed, STEER_SEED), shards);
            if target == self.shard {
                if let (Some(look), Some(ahead)) = (&look, self.aheads.get_mut(burst.len())) {
                    look.at(Way::Out, ahead, packet.frame(), &parsed);
                }
                // Both have room: the burst held at least as many before.
                let _ = burst.push(packet);
                let _ = self.parsed.push(parsed);
            } else {
                elsewhere(target, packet);
            }
        }
        if let Some(look) = &look {
            self.some_absent = false;
            for ahead in self.aheads.get_mut(..burst.len()).unwrap_or_default() {
                self.some_absent |= look.closer(ahead);
            }
        }
    }

    /// Judges the burst and changes what is to be changed: one outcome per frame, and true if all of them pass. When
    /// [`Pipeline::looks_at_frames`], needs [`Pipeline::parse`]. What is to be sent in answer is in
    /// [`Pipeline::answers`]. `handed`: another shard found out that the frames belong here.
    pub fn judge(
        &mut self,
        (direction, handed): (Direction, bool),
        now_ns: u64,
        burst: &mut Burst,
        counters: &ShardCounters,
        outcomes: &mut Outcomes,
    ) -> bool {
        outcomes.clear();
        self.marks.clear();
        self.answers.begin(now_ns);
        match self.mode {
            Mode::Block => outcomes.extend(burst.iter().map(|_| Outcome::Drop(DropReason::Admin))),
            Mode::Filter if self.rules.current().has_ruleset() => {
                return self.filter((direction, handed), now_ns, burst, counters, outcomes);
            }
            Mode::Filter | Mode::Bypass => {
                outcomes.extend(burst.iter().map(|packet| {
                    if packet.len() < FRAME_MIN { Outcome::Drop(DropReason::Runt) } else { Outcome::Pass }
                }))
            }
        }
        outcomes.iter().all(|outcome| *outcome == Outcome::Pass)
    }

    fn filter(
        &mut self,
        (direction, handed): (Direction, bool),
        now_ns: u64,
        burst: &mut Burst,
        counters: &ShardCounters,
        outcomes: &mut Outcomes,
    ) -> bool {
        let way = match direction {
            Direction::In => Way::In,
            Direction::Out => Way::Out,
        };
        let rules = self.rules.current();
        let Some(bound) = rules.bound() else { return true };
        self.tracker.expire(now_ns, Some(bound));
        self.waiting.expire(direction, now_ns);
        let help = Help {
            bound,
            shard: self.shard,
            shards: self.shards,
            handed,
            way,
            tracker: &mut self.tracker,
            random: &mut self.random,
            added: &mut self.added,
            recorder: &mut (),
            query: None,
            translated_by: u32::MAX,
        };
        let mut judge = Judge::new(help, now_ns, &self.shared, counters, &mut self.answers);
        let aheads = self.aheads.get_mut(..burst.len()).unwrap_or_default();
        let known = (&mut *self.parsed, aheads, self.some_absent);
        let marks = self.keeps_marks.then_some(&mut self.marks);
        match way {
            Way::In => judge.burst(Way::In, burst, known, outcomes, marks),
            Way::Out => judge.burst(Way::Out, burst, known, outcomes, marks),
        }
    }
}

/// Parses a frame; see [`wire::parse_into`].
#[inline(always)]
fn parse_one(parsed: &mut Parsed, packet: &Packet) -> Option<Ends> {
    if packet.flags().intersects(PacketFlags::TX_TSO | PacketFlags::RX_LRO) {
        *parsed = wire::parse_super(packet.frame());
        return None;
    }
    wire::parse_into(parsed, packet.frame())
}
