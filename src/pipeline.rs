//! What happens to a burst between the NIC and the stack: parse, classify, outcome.
//!
//! Stages are functions over a burst. Each frame leaves with exactly one [`Outcome`], which the driver carries out
//! and counts. Nothing here allocates, locks or reads the time.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::filter::epoch::Reader;
use crate::filter::{self, Verdict, linear};
use crate::mem::packet::BURST_MAX;
use crate::mem::{Burst, Packet, PacketFlags};
use crate::telemetry::{DropReason, Event, EventKind, EventRing, ShardCounters};
use crate::wire::{self, Parsed};

/// Shortest frame that anything is done with: an Ethernet header (`WEIR_FRAME_MIN`), bytes.
pub const FRAME_MIN: usize = 14;

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
}

/// One [`Outcome`] per frame of a burst, in its order.
pub type Outcomes = heapless::Vec<Outcome, BURST_MAX>;

/// What all shards and control share.
pub struct Shared {
    mode: AtomicU32,
    /// Events of every shard.
    pub events: EventRing,
}

impl Shared {
    /// Filtering, with room for `events` events.
    #[must_use]
    pub fn new(events: usize) -> Self {
        Self { mode: AtomicU32::new(Mode::Filter as u32), events: EventRing::new(events) }
    }

    /// The mode; each burst reads it once.
    #[must_use]
    pub fn mode(&self) -> Mode {
        // Relaxed: the mode publishes nothing but itself. A number that is no mode cannot be there; blocking would
        // be the safe reading of one.
        Mode::from_number(u64::from(self.mode.load(Ordering::Relaxed))).unwrap_or(Mode::Block)
    }

    /// Changes the mode, from the next burst of each shard on.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u32, Ordering::Relaxed);
    }
}

/// One shard's pipeline.
pub struct Pipeline {
    shard: usize,
    shared: Arc<Shared>,
    rules: Reader,
    mode: Mode,
    /// What the frames of the current burst are.
    parsed: heapless::Vec<Parsed, BURST_MAX>,
}

impl Pipeline {
    /// The pipeline of shard number `shard`.
    #[must_use]
    pub fn new(shard: usize, shared: Arc<Shared>, rules: Reader) -> Self {
        Self { shard, shared, rules, mode: Mode::Filter, parsed: heapless::Vec::new() }
    }

    /// Settles what the next burst is judged by: mode and ruleset, once for all of its frames.
    pub fn begin(&mut self) {
        self.mode = self.shared.mode();
        self.rules.refresh();
    }

    /// True if frames have to be parsed, because something will look at what they are.
    #[must_use]
    pub fn looks_at_frames(&self) -> bool {
        self.mode == Mode::Filter && self.rules.current().has_ruleset()
    }

    /// Parses the burst.
    pub fn parse(&mut self, burst: &Burst) {
        self.parsed.clear();
        self.parsed.extend(burst.iter().map(|packet| {
            if packet.flags().intersects(PacketFlags::TX_TSO | PacketFlags::RX_LRO) {
                wire::parse_super(packet.frame())
            } else {
                wire::parse(packet.frame())
            }
        }));
    }

    /// Keeps in `burst` the frames whose flow belongs to this shard, and gives each of the others to `elsewhere`
    /// with its shard's number. Needs [`Pipeline::parse`].
    pub fn steer(&mut self, burst: &mut Burst, shards: usize, mut elsewhere: impl FnMut(usize, Packet)) {
        let packets = core::mem::take(burst);
        let parsed = core::mem::take(&mut self.parsed);
        for (packet, parsed) in packets.into_iter().zip(parsed) {
            let target = wire::shard_of(wire::flow_hash(packet.frame(), &parsed, STEER_SEED), shards);
            if target == self.shard {
                // Both have room: they held at least as many before.
                let _ = burst.push(packet);
                let _ = self.parsed.push(parsed);
            } else {
                elsewhere(target, packet);
            }
        }
    }

    /// Judges the burst: one outcome per frame, and true if all of them pass. When [`Pipeline::looks_at_frames`],
    /// needs [`Pipeline::parse`]. `now_ns` goes into events.
    pub fn judge(
        &mut self,
        direction: Direction,
        now_ns: u64,
        burst: &Burst,
        counters: &ShardCounters,
        outcomes: &mut Outcomes,
    ) -> bool {
        outcomes.clear();
        match self.mode {
            Mode::Block => outcomes.extend(burst.iter().map(|_| Outcome::Drop(DropReason::Admin))),
            Mode::Filter if self.rules.current().has_ruleset() => {
                self.classify(direction, now_ns, burst, counters, outcomes);
            }
            Mode::Filter | Mode::Bypass => {
                outcomes.extend(burst.iter().map(|packet| {
                    if packet.len() < FRAME_MIN { Outcome::Drop(DropReason::Runt) } else { Outcome::Pass }
                }))
            }
        }
        outcomes.iter().all(|outcome| *outcome == Outcome::Pass)
    }

    fn classify(
        &self,
        direction: Direction,
        now_ns: u64,
        burst: &Burst,
        counters: &ShardCounters,
        outcomes: &mut Outcomes,
    ) {
        let side = match direction {
            Direction::In => filter::Direction::In,
            Direction::Out => filter::Direction::Out,
        };
        let rules = self.rules.current();
        for (packet, parsed) in burst.iter().zip(&self.parsed) {
            let verdict = linear::judge(rules, self.shard, side, parsed, packet.len());
            if verdict.log && !self.shared.events.push(log_event(direction, now_ns, packet.len(), parsed, &verdict)) {
                counters.events_lost.add(1);
            }
            // As many outcomes as frames, which fit.
            let _ = outcomes.push(verdict.block.map_or(Outcome::Pass, Outcome::Drop));
        }
    }
}

fn log_event(direction: Direction, time_ns: u64, len: usize, parsed: &Parsed, verdict: &Verdict) -> Event {
    let icmp = parsed.flags.contains(wire::ParsedFlags::ICMP);
    Event {
        time_ns,
        kind: EventKind::Log,
        rule: verdict.rule,
        direction: match direction {
            Direction::In => 1,
            Direction::Out => 2,
        },
        action: u8::from(verdict.block.is_some()),
        reason: verdict.block.map_or(Event::NO_REASON, |reason| reason as u8),
        protocol: parsed.protocol,
        ethertype: parsed.ethertype,
        vlan: parsed.vlans.first().copied().unwrap_or(0),
        sport: if icmp { u16::from(parsed.icmp_type) } else { parsed.src_port },
        dport: if icmp { u16::from(parsed.icmp_code) } else { parsed.dst_port },
        len: u16::try_from(len).unwrap_or(u16::MAX),
        family: parsed.family as u8,
        src: parsed.src,
        dst: parsed.dst,
    }
}
