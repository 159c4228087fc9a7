//! Frames whose state is another shard's: it judges and changes them, and they leave where they came in.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::{Shard, recycle};
use crate::driver::Common;
use crate::driver::lane::{Handed, LaneEnds};
use crate::mem::packet::BURST_MAX;
use crate::mem::{Burst, Packet, Status};
use crate::pipeline::{Direction, Outcome, Released};
use crate::telemetry::{DropReason, ShardCounters};

/// Lanes to the other shards, by their number, for the frames of each direction; empty if there are no others.
pub(in crate::driver) struct Handing {
    pub inbound: Vec<Option<LaneEnds<Handed>>>,
    pub outbound: Vec<Option<LaneEnds<Handed>>>,
}

impl Handing {
    fn of(&mut self, direction: Direction) -> &mut [Option<LaneEnds<Handed>>] {
        match direction {
            Direction::In => &mut self.inbound,
            Direction::Out => &mut self.outbound,
        }
    }

    fn lane(&mut self, direction: Direction, shard: u8) -> Option<&mut LaneEnds<Handed>> {
        self.of(direction).get_mut(usize::from(shard)).and_then(Option::as_mut)
    }

    /// Gives a frame to the shard that has its state. An error if that has too many already.
    pub fn hand_over(
        &mut self,
        counters: &ShardCounters,
        direction: Direction,
        shard: u8,
        packet: Packet,
    ) -> Result<(), Packet> {
        let Some(lane) = self.lane(direction, shard) else { return Err(packet) };
        lane.send(Handed { packet, outcome: Released::Pass }).map_err(|handed| handed.packet)?;
        // It is accounted for here all the time.
        counters.steered.add(1);
        counters.steered_in.add(1);
        Ok(())
    }

    /// Gives a frame back to the shard that it came from.
    fn give_back(&mut self, common: &Common, direction: Direction, shard: u8, handed: Handed) {
        if self.lane(direction, shard).is_none_or(|lane| lane.give_back(handed).is_err()) {
            // There is room for all that is out.
            common.count_misuse();
        }
    }

    /// Something waits for this shard.
    pub fn has_work(&mut self) -> bool {
        self.inbound.iter_mut().chain(&mut self.outbound).flatten().any(LaneEnds::has_work)
    }

    /// Wakes the shards whose lanes got something.
    pub fn ring(&mut self, common: &Common) {
        for direction in [Direction::In, Direction::Out] {
            for (other, lane) in self.of(direction).iter_mut().enumerate() {
                if lane.as_mut().is_some_and(LaneEnds::take_dirty) {
                    common.ring(other);
                }
            }
        }
    }
}

impl Shard {
    /// Gives a received frame to the shard that has its state, or drops it.
    pub(super) fn hand_over_received(&mut self, shard: u8, packet: Packet) {
        if let Err(packet) = self.handing.hand_over(&self.counters, Direction::In, shard, packet) {
            self.counters.rx_dropped.add(DropReason::SteerFull, 1);
            recycle(&mut self.pool, &self.common, packet);
        }
    }

    /// Gives a frame of the stack to the shard that has its state, or drops it.
    pub(super) fn hand_over_sent(&mut self, shard: u8, packet: Packet) {
        if let Err(packet) = self.handing.hand_over(&self.counters, Direction::Out, shard, packet) {
            self.tx.drop(&self.common, &self.counters, packet, DropReason::SteerFull, Status::Dropped);
        }
    }

    /// Gives back a fragment that was handed over.
    pub(super) fn return_fragment(&mut self, direction: Direction, from: u8, packet: Packet, outcome: Released) {
        self.handing.give_back(&self.common, direction, from, Handed { packet, outcome });
    }

    /// Judges what other shards handed over: a burst of each and direction at most.
    pub(super) fn take_handed(&mut self) {
        for direction in [Direction::In, Direction::Out] {
            for shard in 0..u8::try_from(self.handing.of(direction).len()).unwrap_or(0) {
                let mut burst = Burst::new();
                while burst.len() < BURST_MAX
                    && let Some(handed) = self.handing.lane(direction, shard).and_then(LaneEnds::take)
                {
                    // Below a burst, so it fits.
                    let _ = burst.push(handed.packet);
                }
                if !burst.is_empty() {
                    self.judge_handed(direction, shard, burst);
                }
            }
        }
    }

    fn judge_handed(&mut self, direction: Direction, from: u8, mut burst: Burst) {
        let counters = &*self.counters;
        let now_ns = self.common.host.now_ns();
        if self.pipeline.looks_at_frames() {
            self.pipeline.parse(&burst, direction);
        }
        let wanting = self.pipeline.taps().wanting(direction);
        self.pipeline.keeps_marks = wanting != 0;
        let mut tapped = (wanting != 0).then(|| self.common.pipeline.taps.enter(self.index, wanting));
        if direction == Direction::In
            && let Some(tapped) = &mut tapped
        {
            tapped.frames(direction, now_ns, &burst);
        }
        self.pipeline.judge((direction, true), now_ns, &mut burst, counters, &mut self.outcomes);
        if let Some(tapped) = &mut tapped {
            if direction == Direction::Out {
                tapped.frames(direction, now_ns, &burst);
            }
            tapped.judged(direction, now_ns, &burst, &self.outcomes, &self.pipeline.marks);
        }
        drop(tapped);
        for (index, (packet, outcome)) in burst.into_iter().zip(&self.outcomes).enumerate() {
            let handed = match *outcome {
                Outcome::Pass => Some(Handed { packet, outcome: Released::Pass }),
                Outcome::Drop(reason) => Some(Handed { packet, outcome: Released::Drop(reason) }),
                // Nobody sends on what was handed over.
                Outcome::Elsewhere(_) => Some(Handed { packet, outcome: Released::Drop(DropReason::SteerFull) }),
                Outcome::Hold { no_df } => self
                    .pipeline
                    .hold(direction, now_ns, (index, packet), (no_df, Some(from)), counters)
                    .map(|(packet, reason)| Handed { packet, outcome: Released::Drop(reason) }),
            };
            if let Some(handed) = handed {
                self.handing.give_back(&self.common, direction, from, handed);
            }
        }
        if direction == Direction::Out {
            self.send_fragments();
        }
        self.send_answers(now_ns);
        self.common.ring_taps();
    }

    /// Delivers what other shards have judged, up to `budget` frames in `out`, and sends what was the stack's.
    pub(super) fn take_returned(&mut self, budget: usize, out: &mut Burst) {
        for lane in self.handing.inbound.iter_mut().flatten() {
            while out.len() < budget
                && let Some(Handed { packet, outcome }) = lane.take_back()
            {
                match outcome {
                    Released::Pass => {
                        // Below a burst, so it fits.
                        let _ = out.push(packet);
                        self.counters.rx_delivered.add(1);
                        self.pool.handed_back(1);
                        continue;
                    }
                    Released::Consumed => self.counters.rx_consumed.add(1),
                    Released::Drop(reason) => self.counters.rx_dropped.add(reason, 1),
                    Released::Elsewhere(_) => self.counters.rx_dropped.add(DropReason::SteerFull, 1),
                }
                recycle(&mut self.pool, &self.common, packet);
            }
        }
        let mut burst = Burst::new();
        for lane in self.handing.outbound.iter_mut().flatten() {
            while let Some(Handed { packet, outcome }) = lane.take_back() {
                let (common, counters) = (&*self.common, &*self.counters);
                match outcome {
                    Released::Pass => {
                        if let Err(packet) = burst.push(packet) {
                            self.tx.send(common, counters, &mut *self.queue, &mut burst);
                            // It was emptied.
                            let _ = burst.push(packet);
                        }
                    }
                    Released::Consumed => self.tx.consume(common, counters, packet),
                    Released::Drop(reason) => self.tx.drop(common, counters, packet, reason, Status::Dropped),
                    Released::Elsewhere(_) => {
                        self.tx.drop(common, counters, packet, DropReason::SteerFull, Status::Dropped);
                    }
                }
            }
        }
        if !burst.is_empty() {
            self.tx.send(&self.common, &self.counters, &mut *self.queue, &mut burst);
            self.tx.flush(&mut *self.queue);
        }
    }

    /// While disabled: gives back what others handed over.
    pub(super) fn return_handed(&mut self) {
        for direction in [Direction::In, Direction::Out] {
            for shard in 0..u8::try_from(self.handing.of(direction).len()).unwrap_or(0) {
                while let Some(mut handed) = self.handing.lane(direction, shard).and_then(LaneEnds::take) {
                    handed.outcome = Released::Drop(DropReason::Disabled);
                    self.handing.give_back(&self.common, direction, shard, handed);
                }
            }
        }
    }

    /// While disabled, after every shard has stopped: ends the frames that others had.
    pub fn settle(&mut self) {
        let why = |outcome| if let Released::Drop(reason) = outcome { reason } else { DropReason::Disabled };
        for lane in self.handing.inbound.iter_mut().flatten() {
            while let Some(Handed { packet, outcome }) = lane.take_back() {
                self.counters.rx_dropped.add(why(outcome), 1);
                recycle(&mut self.pool, &self.common, packet);
            }
        }
        for lane in self.handing.outbound.iter_mut().flatten() {
            while let Some(Handed { packet, outcome }) = lane.take_back() {
                self.tx.drop(&self.common, &self.counters, packet, why(outcome), Status::Disabled);
            }
        }
        self.set_gauges();
    }
}
