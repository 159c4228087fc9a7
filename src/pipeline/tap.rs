//! Who watches: up to eight taps, each a program outside that is shown frames, or events.
//!
//! A shard asks one word whether anybody watches; that is all it costs while nobody does. What a tap is shown goes into
//! memory that it shares with its program, one ring for each shard, so that nobody waits for anybody; events that no
//! shard makes have a ring of their own.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{Direction, Outcome};
use crate::mem::Burst;
use crate::mem::packet::{BURST_MAX, Packet};
use crate::mem::region::Shared as SharedMemory;
use crate::mem::seat::{Guard, Seat};
use crate::mem::tap_ring::{RecordHead, RecordKind, TapGeometry, TapVerdict, TapWriter, format};
use crate::telemetry::Event;
use crate::telemetry::bpf::{Program, Scratch};

/// Taps at once (`WEIR_TAPS_MAX`).
pub const TAPS: usize = 8;
/// [`RecordHead::flags`]: a rule with `dup-to` matched (`WEIR_TAP_COPY`).
const COPY: u16 = 1;

bitflags::bitflags! {
    /// What a tap is shown (`WEIR_TAP_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct TapKinds: u32 {
        /// Frames from the wire, as they arrived.
        const IN = 1 << 0;
        /// Frames to the wire, as they leave.
        const OUT = 1 << 1;
        /// Of those only frames that a rule with `dup-to` matched; frames from the wire as they go on.
        const COPIES = 1 << 2;
        /// Events, and no frames.
        const EVENTS = 1 << 3;
    }
}

/// What a tap wants.
#[derive(Debug)]
pub struct TapConfig {
    /// Which.
    pub kinds: TapKinds,
    /// Bytes of each frame; 0 = all.
    pub snaplen: u32,
    /// Bytes of each ring.
    pub ring_bytes: u32,
    /// Which frames; `None` = all.
    pub program: Option<Program>,
}

impl TapConfig {
    /// Frames or events, and not both; something of either.
    #[must_use]
    pub fn is_valid(&self, shards: usize) -> bool {
        let frames = self.kinds.intersects(TapKinds::IN | TapKinds::OUT);
        let events = self.kinds == TapKinds::EVENTS && self.program.is_none();
        (events || (frames && !self.kinds.contains(TapKinds::EVENTS))) && self.geometry(shards).is_valid()
    }

    /// Sizes of its memory.
    #[must_use]
    pub fn geometry(&self, shards: usize) -> TapGeometry {
        let outside = usize::from(self.kinds.contains(TapKinds::EVENTS));
        let rings = u32::try_from(shards.saturating_add(outside)).unwrap_or(u32::MAX);
        TapGeometry { rings, ring_bytes: self.ring_bytes }
    }
}

/// What a tap did (`weir_tap_info`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapInfo {
    /// [`TapKinds`]; 0 = nobody has it.
    pub kinds: u32,
    /// Bytes of each frame.
    pub snaplen: u32,
    /// Frames or events that were looked at.
    pub seen: u64,
    /// Those that found room.
    pub kept: u64,
    /// Those that found none.
    pub lost: u64,
}

#[derive(Default)]
struct Numbers {
    kinds: AtomicU32,
    snaplen: AtomicU32,
    seen: AtomicU64,
    kept: AtomicU64,
    lost: AtomicU64,
}

/// One shard's end of a tap.
struct Lane {
    writer: TapWriter<'static>,
    config: Arc<TapConfig>,
    /// Where the frames of the burst stand; [`NOWHERE`] = not kept.
    records: [u32; BURST_MAX],
    /// Where the program works.
    scratch: Box<Scratch>,
    seen: u64,
    kept: u64,
}

/// No record: they stand at multiples of eight.
const NOWHERE: u32 = u32::MAX;

struct Tap {
    /// Open while a program is attached.
    lanes: Vec<Seat<Option<Lane>>>,
    numbers: Numbers,
}

/// See the module.
pub struct Taps {
    taps: Vec<Tap>,
    /// One byte for each of [`TapKinds::IN`], `OUT`, `EVENTS`: the taps that want it.
    wanted: AtomicU32,
    /// Taps whose programs are to be woken.
    bells: AtomicU32,
}

const fn byte_of(kind: TapKinds) -> u32 {
    kind.bits().trailing_zeros() * 8
}

fn kind_of(direction: Direction) -> TapKinds {
    match direction {
        Direction::In => TapKinds::IN,
        Direction::Out => TapKinds::OUT,
    }
}

impl Taps {
    /// Nobody watches. Allocates; called at Start.
    pub(super) fn new(shards: usize) -> Self {
        let tap = |_| Tap { lanes: (0..=shards).map(|_| Seat::new(None)).collect(), numbers: Numbers::default() };
        Self { taps: (0..TAPS).map(tap).collect(), wanted: AtomicU32::new(0), bells: AtomicU32::new(0) }
    }

    // ---- control ----

    /// Attaches a program to tap number `tap`, with zeroed memory. False: there is no such tap, somebody has it, or the
    /// memory is too small. Allocates.
    pub fn attach(&self, tap: usize, config: TapConfig, shards: usize, mem: SharedMemory<'static>) -> bool {
        let geometry = config.geometry(shards);
        let Some(slot) = self.taps.get(tap) else { return false };
        let numbers = &slot.numbers;
        if numbers.kinds.load(Ordering::Relaxed) != 0 || !config.is_valid(shards) || !format(mem, &geometry) {
            return false;
        }
        let (kinds, snaplen) = (config.kinds, config.snaplen);
        let config = Arc::new(config);
        for (index, seat) in (0..geometry.rings).zip(&slot.lanes) {
            let Some(writer) = TapWriter::new(mem, &geometry, index) else { continue };
            let (config, scratch) = (config.clone(), Box::default());
            *seat.lock() = Some(Lane { writer, config, records: [NOWHERE; BURST_MAX], scratch, seen: 0, kept: 0 });
            seat.open();
        }
        // Relaxed: whoever sees a bit of `wanted` enters a seat, which orders what is behind it.
        for number in [&numbers.seen, &numbers.kept, &numbers.lost] {
            number.store(0, Ordering::Relaxed);
        }
        numbers.snaplen.store(snaplen, Ordering::Relaxed);
        numbers.kinds.store(kinds.bits(), Ordering::Relaxed);
        self.wanted.fetch_or(Self::bits(tap, kinds), Ordering::Relaxed);
        true
    }

    fn bits(tap: usize, kinds: TapKinds) -> u32 {
        let of = |kind: TapKinds| if kinds.contains(kind) { (1 << tap) << byte_of(kind) } else { 0 };
        of(TapKinds::IN) | of(TapKinds::OUT) | of(TapKinds::EVENTS)
    }

    /// Lets a program go. On return its memory is not touched any more. False: there is none.
    pub fn detach(&self, tap: usize) -> bool {
        let Some(slot) = self.taps.get(tap) else { return false };
        let kinds = TapKinds::from_bits_truncate(slot.numbers.kinds.load(Ordering::Relaxed));
        self.wanted.fetch_and(!Self::bits(tap, kinds), Ordering::Relaxed);
        for seat in &slot.lanes {
            seat.close();
            *seat.lock() = None;
        }
        slot.numbers.kinds.store(0, Ordering::Relaxed);
        !kinds.is_empty()
    }

    /// What each tap did.
    pub fn infos(&self) -> impl Iterator<Item = TapInfo> + '_ {
        self.taps.iter().map(|tap| TapInfo {
            kinds: tap.numbers.kinds.load(Ordering::Relaxed),
            snaplen: tap.numbers.snaplen.load(Ordering::Relaxed),
            seen: tap.numbers.seen.load(Ordering::Relaxed),
            kept: tap.numbers.kept.load(Ordering::Relaxed),
            lost: tap.numbers.lost.load(Ordering::Relaxed),
        })
    }

    // ---- data path ----

    /// The taps that want frames of a direction; 0 costs nothing more.
    #[inline]
    pub fn wanting(&self, direction: Direction) -> u32 {
        // Relaxed: a burst more or less does not matter.
        self.wanted.load(Ordering::Relaxed) >> byte_of(kind_of(direction)) & 0xff
    }

    /// Enters the rings of a shard's taps for one burst.
    #[cold]
    pub fn enter(&self, shard: usize, wanting: u32) -> Entered<'_> {
        let mut lanes = heapless::Vec::new();
        for (index, tap) in self.taps.iter().enumerate() {
            if wanting >> index & 1 != 0
                && let Some(guard) = tap.lanes.get(shard).and_then(Seat::enter)
            {
                // As many as taps, which fit.
                let _ = lanes.push((index, guard));
            }
        }
        Entered { taps: self, lanes, queue: shard as u16 }
    }

    /// Shows an event to those who want events. `shard`: the one that made it; the number of shards for all else.
    pub(super) fn event(&self, shard: usize, event: &Event) {
        let wanting = self.wanted.load(Ordering::Relaxed) >> byte_of(TapKinds::EVENTS) & 0xff;
        if wanting != 0 {
            self.show_event(shard, wanting, event);
        }
    }

    #[cold]
    fn show_event(&self, shard: usize, wanting: u32, event: &Event) {
        let head = RecordHead {
            direction: event.direction,
            frame_len: Event::LEN as u32,
            rule: event.rule,
            ..RecordHead::new(RecordKind::Event, event.time_ns)
        };
        for (index, tap) in self.taps.iter().enumerate().filter(|(index, _)| wanting >> index & 1 != 0) {
            // Of those outside a shard two may come at once: the second is lost.
            let mut entered = tap.lanes.get(shard).and_then(Seat::enter);
            let kept = match entered.as_deref_mut() {
                Some(Some(lane)) => {
                    let kept = lane.writer.write(&head, &event.bytes()).is_some();
                    if lane.writer.publish() {
                        self.bells.fetch_or(1 << index, Ordering::Relaxed);
                    }
                    kept
                }
                _ => false,
            };
            tap.numbers.seen.fetch_add(1, Ordering::Relaxed);
            let of = if kept { &tap.numbers.kept } else { &tap.numbers.lost };
            of.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The taps whose programs are to be woken, once.
    #[inline]
    pub fn take_bells(&self) -> u32 {
        if self.bells.load(Ordering::Relaxed) == 0 { 0 } else { self.bells.swap(0, Ordering::Relaxed) }
    }
}

/// What is known of a judged frame besides its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The rule that decided; `u32::MAX` = none.
    pub rule: u32,
    /// A rule with `dup-to` matched.
    pub copied: bool,
}

impl Mark {
    /// Nothing is known.
    pub const NONE: Self = Self { rule: u32::MAX, copied: false };
}

/// The rings of one shard's taps, for one burst.
pub struct Entered<'a> {
    taps: &'a Taps,
    lanes: heapless::Vec<(usize, Guard<'a, Option<Lane>>), TAPS>,
    queue: u16,
}

impl Entered<'_> {
    /// Writes frames of a burst down as they stand. Before they are judged: for those who want what the wire brought.
    pub fn frames(&mut self, direction: Direction, now_ns: u64, burst: &Burst) {
        for lane in self.lanes.iter_mut().filter_map(|(_, lane)| lane.as_mut()) {
            if lane.config.kinds.contains(TapKinds::COPIES) {
                lane.records = [NOWHERE; BURST_MAX];
                continue;
            }
            let mut wanted = [u32::MAX; BURST_MAX];
            if let Some(program) = &lane.config.program {
                let mut frames: heapless::Vec<&[u8], BURST_MAX> = heapless::Vec::new();
                // As many as the burst, which fit.
                frames.extend(burst.iter().take(BURST_MAX).map(Packet::frame));
                program.run_burst(&mut lane.scratch, &frames, &mut wanted);
            }
            for ((place, packet), wanted) in lane.records.iter_mut().zip(burst).zip(wanted) {
                let head = head(direction, now_ns, self.queue);
                *place = write(&mut lane.writer, &lane.config, head, packet.frame(), wanted);
                lane.seen = lane.seen.saturating_add(1);
                lane.kept = lane.kept.saturating_add(u64::from(*place != NOWHERE));
            }
        }
    }

    /// Adds what became of the frames of the burst.
    pub fn judged(&mut self, direction: Direction, now_ns: u64, burst: &Burst, outcomes: &[Outcome], marks: &[Mark]) {
        for (index, (packet, outcome)) in burst.iter().zip(outcomes).enumerate() {
            let mark = marks.get(index).copied().unwrap_or(Mark::NONE);
            let (verdict, reason) = match outcome {
                Outcome::Pass => (TapVerdict::Pass, Event::NO_REASON),
                Outcome::Drop(reason) => (TapVerdict::Block, *reason as u8),
                Outcome::Hold { .. } => (TapVerdict::Hold, Event::NO_REASON),
                // The other shard writes it down.
                Outcome::Elsewhere(_) => (TapVerdict::Void, Event::NO_REASON),
            };
            let head = RecordHead {
                verdict,
                reason,
                rule: mark.rule,
                flags: if mark.copied { COPY } else { 0 },
                ..head(direction, now_ns, self.queue)
            };
            for lane in self.lanes.iter_mut().filter_map(|(_, lane)| lane.as_mut()) {
                let at = lane.records.get(index).copied().unwrap_or(NOWHERE);
                if at != NOWHERE {
                    lane.writer.amend(at, &head);
                    if verdict == TapVerdict::Void {
                        (lane.seen, lane.kept) = (lane.seen.saturating_sub(1), lane.kept.saturating_sub(1));
                    }
                } else if mark.copied && lane.config.kinds.contains(TapKinds::COPIES) {
                    let at = keep(&mut lane.writer, &lane.config, head, packet.frame());
                    lane.seen = lane.seen.saturating_add(1);
                    lane.kept = lane.kept.saturating_add(u64::from(at != NOWHERE));
                }
            }
        }
    }

    /// Writes a frame down that the driver made.
    pub fn made(&mut self, direction: Direction, now_ns: u64, frame: &[u8]) {
        let head = RecordHead { verdict: TapVerdict::Made, ..head(direction, now_ns, self.queue) };
        for lane in self.lanes.iter_mut().filter_map(|(_, lane)| lane.as_mut()) {
            let kinds = lane.config.kinds;
            if kinds.contains(kind_of(direction)) && !kinds.contains(TapKinds::COPIES) {
                let at = keep(&mut lane.writer, &lane.config, head, frame);
                lane.seen = lane.seen.saturating_add(1);
                lane.kept = lane.kept.saturating_add(u64::from(at != NOWHERE));
            }
        }
    }
}

fn head(direction: Direction, time_ns: u64, queue: u16) -> RecordHead {
    let direction = if direction == Direction::In { 1 } else { 2 };
    RecordHead { direction, queue, ..RecordHead::new(RecordKind::Frame, time_ns) }
}

/// Writes a frame down if its tap wants it and there is room.
fn keep(writer: &mut TapWriter<'_>, config: &TapConfig, head: RecordHead, frame: &[u8]) -> u32 {
    let wanted = config.program.as_ref().map_or(u32::MAX, |program| program.run(frame, frame.len()));
    write(writer, config, head, frame, wanted)
}

/// Writes down what the program wants of a frame, if anything and there is room.
fn write(writer: &mut TapWriter<'_>, config: &TapConfig, head: RecordHead, frame: &[u8], wanted: u32) -> u32 {
    if wanted == 0 {
        return NOWHERE;
    }
    let limit = if config.snaplen == 0 { wanted } else { wanted.min(config.snaplen) };
    let kept = frame.get(..limit as usize).unwrap_or(frame);
    let head = RecordHead { frame_len: u32::try_from(frame.len()).unwrap_or(u32::MAX), ..head };
    writer.write(&head, kept).unwrap_or(NOWHERE)
}

impl Drop for Entered<'_> {
    /// Shows the programs what was written.
    fn drop(&mut self) {
        for (index, guard) in &mut self.lanes {
            let Some(lane) = guard.as_mut() else { continue };
            if lane.writer.publish() {
                self.taps.bells.fetch_or(1 << *index, Ordering::Relaxed);
            }
            if let Some(tap) = self.taps.taps.get(*index) {
                let (seen, kept) = (core::mem::take(&mut lane.seen), core::mem::take(&mut lane.kept));
                tap.numbers.seen.fetch_add(seen, Ordering::Relaxed);
                tap.numbers.kept.fetch_add(kept, Ordering::Relaxed);
                let lost = lane.writer.take_lost();
                tap.numbers.lost.fetch_add(lost, Ordering::Relaxed);
            }
        }
    }
}
