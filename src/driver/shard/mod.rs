//! One shard: a queue pair, its pipeline, and what it has in hand.
//!
//! Where packets are between two calls, and which gauge says so:
//!
//! - receive buffers: in the pool (`free`) or in the NIC's ring (`posted`);
//! - frames to transmit: in a lane to another shard, in `pending`, in `sending`, in the NIC's ring (all of them `in
//!   flight`), or finished in `done`, waiting to be handed back (counted already).
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Common;
use super::lane::{Lane, LaneEnds};
use crate::mem::packet::{BURST_MAX, move_burst};
use crate::mem::pool::Pool;
use crate::mem::ring::{self, Consumer, Producer};
use crate::mem::{Burst, Packet, Status};
use crate::nic::{NicQueue, Refused};
use crate::pipeline::{Direction, Outcome, Outcomes, Pipeline};
use crate::telemetry::{DropReason, ShardCounters};

/// A queue of packets that never grows: both ends of a ring.
struct Fifo {
    tail: Producer<Packet>,
    head: Consumer<Packet>,
}

impl Fifo {
    fn new(capacity: usize) -> Option<Self> {
        let (tail, head) = ring::channel(capacity.checked_next_power_of_two()?)?;
        Some(Self { tail, head })
    }
}

/// See the module.
pub(super) struct Shard {
    index: usize,
    common: Arc<Common>,
    queue: Box<dyn NicQueue>,
    pipeline: Pipeline,
    pool: Pool,
    /// Lanes to the other shards, by their number; `None` for this one.
    lanes: Vec<Option<LaneEnds>>,
    /// Judged, in order, for `sending`.
    pending: Fifo,
    /// The burst that the NIC is taking.
    sending: Burst,
    done: Fifo,
    /// Frames taken from the glue and not yet handed back.
    tx_lent: usize,
    tx_limit: usize,
    outcomes: Outcomes,
}

impl Shard {
    /// `None` without memory.
    pub fn new(
        index: usize,
        common: Arc<Common>,
        queue: Box<dyn NicQueue>,
        pipeline: Pipeline,
        lanes: Vec<Option<LaneEnds>>,
        ring_size: usize,
    ) -> Option<Self> {
        let steered_in = lanes.iter().flatten().count().checked_mul(Lane::CAPACITY)?;
        Some(Self {
            index,
            common,
            queue,
            pipeline,
            pool: Pool::for_lent(ring_size),
            lanes,
            // All frames that can be here at once: this shard's own, and what the lanes hold.
            pending: Fifo::new(ring_size.checked_add(steered_in)?)?,
            sending: Burst::new(),
            done: Fifo::new(ring_size)?,
            tx_lent: 0,
            tx_limit: ring_size,
            outcomes: Outcomes::new(),
        })
    }

    fn counters<'a>(index: usize, common: &'a Common) -> Option<&'a ShardCounters> {
        common.counters.get(index)
    }

    // ---- receive ----

    pub fn rx_space(&self) -> usize {
        self.pool.room()
    }

    /// Takes buffers from the front; returns how many.
    pub fn rx_post(&mut self, mut burst: Burst) -> usize {
        let count = self.pool.lend(&mut burst);
        self.refill();
        self.set_gauges();
        count
    }

    /// Posts free buffers to the NIC, as many as it takes.
    fn refill(&mut self) {
        loop {
            let wanted = self.queue.rx_space().min(BURST_MAX);
            let mut burst = Burst::new();
            if self.pool.take_burst(&mut burst, wanted) == 0 {
                return;
            }
            let taken = self.queue.rx_post(&mut burst);
            for packet in burst {
                self.recycle(packet);
            }
            if taken == 0 {
                return;
            }
        }
    }

    /// Puts a receive buffer back among the free ones.
    fn recycle(&mut self, packet: Packet) {
        if self.pool.put(packet).is_err() {
            // Not one of the lent ones: it can only be a fault of a NIC back end, and the accounts will show it.
            self.common.count_misuse();
        }
    }

    /// Looks at up to `budget` received frames, appends those to deliver to `out`, which has room for as many, and
    /// says whether there is more to do.
    pub fn rx_poll(&mut self, budget: usize, out: &mut Burst) -> bool {
        let common = self.common.clone();
        let Some(counters) = Self::counters(self.index, &common) else {
            return false;
        };
        self.pipeline.begin();
        let mut burst = Burst::new();
        let found = self.queue.rx_burst(&mut burst, budget.min(BURST_MAX));
        let refused = self.queue.take_refused();
        if found > 0 || refused.frames() > 0 {
            let start_ns = common.host.now_ns();
            count_refused(counters, &refused);
            count_received(counters, &burst);
            if self.pipeline.looks_at_frames() {
                self.pipeline.parse(&burst);
            }
            self.pipeline.judge(
                Direction::In,
                start_ns,
                &burst,
                counters,
                &mut self.outcomes,
            );
            let outcomes = core::mem::take(&mut self.outcomes);
            for (packet, outcome) in burst.into_iter().zip(&outcomes) {
                match outcome {
                    // The NIC gave at most `budget` frames, and `out` has room for as many.
                    Outcome::Pass => {
                        let _ = out.push(packet);
                    }
                    Outcome::Drop(reason) => {
                        counters.rx_dropped.add(*reason, 1);
                        self.recycle(packet);
                    }
                }
            }
            self.outcomes = outcomes;
            counters.rx_delivered.add(out.len() as u64);
            self.pool.handed_back(out.len());
            counters.bursts_rx.add(1);
            counters
                .histograms
                .rx_burst_len
                .record((found as u64).saturating_add(refused.frames()));
            counters
                .histograms
                .rx_burst_ns
                .record(common.host.now_ns().saturating_sub(start_ns));
        }
        self.refill();
        self.set_gauges();
        self.queue.rx_pending()
    }

    // ---- transmit ----

    pub fn tx_space(&mut self) -> usize {
        let own = self.tx_limit.saturating_sub(self.tx_lent);
        self.lanes
            .iter()
            .flatten()
            .fold(own, |space, lane| space.min(lane.space()))
    }

    /// Takes frames from the front; returns how many.
    pub fn tx_submit(&mut self, mut offered: Burst) -> usize {
        let common = self.common.clone();
        let Some(counters) = Self::counters(self.index, &common) else {
            return 0;
        };
        let mut burst = Burst::new();
        let taken = move_burst(
            &mut offered,
            &mut burst,
            self.tx_limit.saturating_sub(self.tx_lent),
        );
        if taken == 0 {
            return 0;
        }
        self.tx_lent = self.tx_lent.saturating_add(taken);
        let start_ns = common.host.now_ns();
        counters.tx_dequeued.add(taken as u64);
        counters.tx_bytes.add(
            burst
                .iter()
                .fold(0u64, |sum, packet| sum.saturating_add(packet.len() as u64)),
        );
        let shard = u8::try_from(self.index).unwrap_or(u8::MAX);
        let mut good = Burst::new();
        for mut packet in burst {
            packet.set_shard(shard);
            if packet.status() == Status::Ok {
                // As many as were taken, which fit.
                let _ = good.push(packet);
            } else {
                self.drop_tx(
                    counters,
                    packet,
                    DropReason::BadDescriptor,
                    Status::BadDescriptor,
                );
            }
        }
        self.pipeline.begin();
        if self.pipeline.looks_at_frames() {
            self.pipeline.parse(&good);
            if !self.lanes.is_empty() {
                self.steer(counters, &mut good);
            }
        }
        self.judge_tx(counters, start_ns, good);
        self.flush();
        self.ring_lanes();
        counters.bursts_tx.add(1);
        counters.histograms.tx_burst_len.record(taken as u64);
        counters
            .histograms
            .tx_burst_ns
            .record(common.host.now_ns().saturating_sub(start_ns));
        self.set_gauges();
        taken
    }

    /// Moves frames of other shards' flows to their lanes.
    fn steer(&mut self, counters: &ShardCounters, burst: &mut Burst) {
        let mut refused = Burst::new();
        let lanes = &mut self.lanes;
        self.pipeline.steer(
            burst,
            self.common.seed,
            self.common.shards,
            |target, packet| {
                let sent = match lanes.get_mut(target).and_then(Option::as_mut) {
                    Some(lane) => lane.send(packet),
                    None => Err(packet),
                };
                if let Err(packet) = sent {
                    // At most the frames of one burst, which fit.
                    let _ = refused.push(packet);
                } else {
                    counters.steered.add(1);
                }
            },
        );
        for packet in refused {
            self.drop_tx(counters, packet, DropReason::SteerFull, Status::Dropped);
        }
    }

    /// Judges frames and queues those that pass for the NIC. When something looks at frames, they have been parsed.
    fn judge_tx(&mut self, counters: &ShardCounters, now_ns: u64, burst: Burst) {
        self.pipeline
            .judge(Direction::Out, now_ns, &burst, counters, &mut self.outcomes);
        let outcomes = core::mem::take(&mut self.outcomes);
        for (packet, outcome) in burst.into_iter().zip(&outcomes) {
            match outcome {
                Outcome::Pass => {
                    if let Err(packet) = self.pending.tail.push(packet) {
                        // Cannot happen while the limits hold (see `new`); if they did not, this is what it is.
                        self.drop_tx(counters, packet, DropReason::Congestion, Status::Dropped);
                    }
                }
                Outcome::Drop(reason) => self.drop_tx(counters, packet, *reason, Status::Dropped),
            }
        }
        self.outcomes = outcomes;
    }

    fn drop_tx(
        &mut self,
        counters: &ShardCounters,
        mut packet: Packet,
        reason: DropReason,
        status: Status,
    ) {
        counters.tx_dropped.add(reason, 1);
        packet.set_status(status);
        self.finish(packet);
    }

    /// A frame is counted; on its way back to the glue.
    fn finish(&mut self, packet: Packet) {
        let home = usize::from(packet.shard());
        let returned = match self.lanes.get_mut(home).and_then(Option::as_mut) {
            Some(lane) if home != self.index => lane.give_back(packet),
            _ => self.done.tail.push(packet),
        };
        if returned.is_err() {
            // No more frames are out than these rings hold; a frame too many is one that was handed in twice.
            self.common.count_misuse();
        }
    }

    /// Gives the NIC what it takes.
    fn flush(&mut self) {
        loop {
            let room = BURST_MAX.saturating_sub(self.sending.len());
            self.pending.head.pop_burst(&mut self.sending, room);
            if self.sending.is_empty() || self.queue.tx_burst(&mut self.sending) == 0 {
                return;
            }
        }
    }

    /// Progresses transmit and appends up to `max` finished frames to `out`.
    pub fn tx_reap(&mut self, max: usize, out: &mut Burst) {
        let common = self.common.clone();
        let Some(counters) = Self::counters(self.index, &common) else {
            return;
        };
        self.take_steered(counters);
        self.flush();
        let mut burst = Burst::new();
        while self.queue.tx_reap(&mut burst) > 0 {
            for packet in core::mem::take(&mut burst) {
                self.count_sent(counters, packet);
            }
        }
        // What was finished made room.
        self.flush();
        self.collect_returns();
        self.hand_back(max, out);
        self.ring_lanes();
        self.set_gauges();
    }

    /// Judges what the other shards sent here.
    fn take_steered(&mut self, counters: &ShardCounters) {
        let mut begun = false;
        for from in 0..self.lanes.len() {
            loop {
                let mut burst = Burst::new();
                let Some(lane) = self.lanes.get_mut(from).and_then(Option::as_mut) else {
                    break;
                };
                let count = lane.receive(&mut burst);
                if count == 0 {
                    break;
                }
                counters.steered_in.add(count as u64);
                if !begun {
                    self.pipeline.begin();
                    begun = true;
                }
                let now_ns = self.common.host.now_ns();
                if self.pipeline.looks_at_frames() {
                    self.pipeline.parse(&burst);
                }
                self.judge_tx(counters, now_ns, burst);
            }
        }
    }

    fn count_sent(&mut self, counters: &ShardCounters, packet: Packet) {
        let reason = match packet.status() {
            Status::Ok => {
                counters.tx_sent.add(1);
                return self.finish(packet);
            }
            Status::BadDescriptor => DropReason::BadDescriptor,
            Status::NoMemory => DropReason::Memory,
            Status::Disabled => DropReason::Disabled,
            Status::NoCarrier => DropReason::NoCarrier,
            Status::TooLong => DropReason::Giant,
            Status::BadOffload => DropReason::Offload,
            Status::Dropped => DropReason::Congestion,
        };
        counters.tx_dropped.add(reason, 1);
        self.finish(packet);
    }

    /// Takes this shard's own frames back from the others.
    fn collect_returns(&mut self) {
        for lane in self.lanes.iter_mut().flatten() {
            while let Some(packet) = lane.take_back() {
                if self.done.tail.push(packet).is_err() {
                    self.common.count_misuse();
                }
            }
        }
    }

    fn hand_back(&mut self, max: usize, out: &mut Burst) {
        let count = self.done.head.pop_burst(out, max);
        self.tx_lent = self.tx_lent.saturating_sub(count);
    }

    /// Wakes the shards whose lanes got something.
    fn ring_lanes(&mut self) {
        for (other, lane) in self.lanes.iter_mut().enumerate() {
            if lane.as_mut().is_some_and(LaneEnds::take_dirty) {
                self.common.ring(other);
            }
        }
    }

    // ---- sleep and stop ----

    /// Asks for a wake-up. True if there is work already, and none will come.
    pub fn arm(&mut self) -> bool {
        self.pipeline.begin();
        let Some(bell) = self.common.bells.get(self.index) else {
            return false;
        };
        bell.arm();
        let queue_has_work = self.queue.arm();
        let lanes_have_work = self.lanes.iter_mut().flatten().any(LaneEnds::has_work);
        let can_send = (!self.sending.is_empty() || !self.pending.head.is_empty())
            && self.queue.tx_space() > 0;
        if queue_has_work || lanes_have_work || can_send || !self.done.head.is_empty() {
            bell.disarm();
            return true;
        }
        false
    }

    /// While disabled: moves what the other shards sent here back to them, uncounted frames as dropped. Called for
    /// every shard with no other running, so that afterwards each shard has its own frames and no others.
    pub fn send_home(&mut self) {
        let common = self.common.clone();
        let Some(counters) = Self::counters(self.index, &common) else {
            return;
        };
        for from in 0..self.lanes.len() {
            let mut burst = Burst::new();
            while let Some(lane) = self.lanes.get_mut(from).and_then(Option::as_mut)
                && lane.receive(&mut burst) > 0
            {
                counters.steered_in.add(burst.len() as u64);
                for packet in core::mem::take(&mut burst) {
                    self.drop_tx(counters, packet, DropReason::Disabled, Status::Disabled);
                }
            }
        }
        self.drop_unsent(counters);
        let mut left = Burst::new();
        loop {
            let reclaimed = self.queue.reclaim(&mut left);
            if reclaimed.rx == 0 && reclaimed.tx == 0 {
                break;
            }
            // Receive buffers come first.
            for (position, packet) in core::mem::take(&mut left).into_iter().enumerate() {
                if position < reclaimed.rx {
                    self.recycle(packet);
                } else {
                    self.count_sent(counters, packet);
                }
            }
        }
        self.set_gauges();
    }

    fn drop_unsent(&mut self, counters: &ShardCounters) {
        loop {
            let mut burst = core::mem::take(&mut self.sending);
            self.pending.head.pop_burst(&mut burst, BURST_MAX);
            if burst.is_empty() {
                return;
            }
            for packet in burst {
                self.drop_tx(counters, packet, DropReason::Disabled, Status::Disabled);
            }
        }
    }

    /// While disabled: appends up to `max` packets that are still lent to `out`; receive buffers are empty.
    pub fn reclaim(&mut self, max: usize, out: &mut Burst) {
        let buffers = self.pool.take_burst(out, max);
        self.pool.handed_back(buffers);
        self.collect_returns();
        self.hand_back(max.saturating_sub(buffers), out);
        self.set_gauges();
    }

    /// Buffers and frames that the glue has not got back.
    pub fn lent(&self) -> (usize, usize) {
        (self.pool.gauges().lent, self.tx_lent)
    }

    /// Moves on to the newest ruleset; for a shard that no traffic makes do it.
    pub fn refresh(&mut self) {
        self.pipeline.begin();
    }

    fn set_gauges(&mut self) {
        let Some(counters) = Self::counters(self.index, &self.common) else {
            return;
        };
        let pool = self.pool.gauges();
        let queue = self.queue.gauges();
        counters.rx_lent.set(pool.lent as u64);
        counters.pool_free.set(pool.free as u64);
        counters.pool_posted.set(queue.rx_posted as u64);
        let waiting = self.pending.head.len().saturating_add(self.sending.len());
        counters
            .tx_in_flight
            .set(waiting.saturating_add(queue.tx_in_flight) as u64);
    }
}

fn count_refused(counters: &ShardCounters, refused: &Refused) {
    let reasons = [
        (DropReason::Runt, refused.runt),
        (DropReason::Giant, refused.giant),
        (DropReason::MacFilter, refused.mac_filter),
        (DropReason::NoBuffer, refused.no_buffer),
        (DropReason::Device, refused.device),
    ];
    for (reason, count) in reasons {
        if count > 0 {
            counters.rx_dropped.add(reason, count);
            counters.rx_frames.add(count);
        }
    }
    counters.rx_bytes.add(refused.bytes);
}

fn count_received(counters: &ShardCounters, burst: &Burst) {
    let (mut bytes, mut multicast) = (0u64, 0u64);
    for packet in burst {
        bytes = bytes.saturating_add(packet.len() as u64);
        multicast = multicast.saturating_add(u64::from(
            packet.frame().first().is_some_and(|byte| byte & 1 != 0),
        ));
    }
    counters.rx_frames.add(burst.len() as u64);
    counters.rx_bytes.add(bytes);
    counters.rx_multicast.add(multicast);
}
