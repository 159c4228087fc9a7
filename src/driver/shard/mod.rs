//! One shard: a queue pair, its pipeline, and what it has in hand.
//!
//! Receive buffers are in the pool (`free`) or in the NIC's ring (`posted`); [`tx::Tx`] says where frames to transmit
//! are.
#![forbid(unsafe_code)]

mod handed;
mod tx;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub(super) use self::handed::Handing;
use self::tx::{MADE_MAX, Tx};
use super::Common;
use super::lane::LaneEnds;
use crate::mem::handover::{Giver, Taker};
use crate::mem::packet::BURST_MAX;
use crate::mem::pool::Pool;
use crate::mem::{Burst, Packet, Status};
use crate::nic::{NicQueue, Refused};
use crate::pipeline::{Direction, Outcome, Outcomes, Pipeline, Released};
use crate::telemetry::{DropReason, ShardCounters};

/// Receive buffers that are kept for frames that the core makes.
const RESERVE: usize = 8;

/// See the module.
pub(super) struct Shard {
    index: usize,
    common: Arc<Common>,
    counters: Arc<ShardCounters>,
    queue: Box<dyn NicQueue>,
    pipeline: Pipeline,
    pool: Pool,
    tx: Tx,
    handing: Handing,
    outcomes: Outcomes,
    /// Frames that the core made for the stack, in receive buffers, until the next poll.
    to_stack: heapless::Deque<Packet, MADE_MAX>,
}

impl Shard {
    /// `None` without memory.
    pub fn new(
        index: usize,
        common: Arc<Common>,
        queue: Box<dyn NicQueue>,
        pipeline: Pipeline,
        (lanes, handing): (Vec<Option<LaneEnds>>, Handing),
        ring_size: usize,
    ) -> Option<Self> {
        Some(Self {
            index,
            counters: common.counters.get(index)?.clone(),
            common,
            queue,
            pipeline,
            pool: Pool::for_lent(ring_size),
            tx: Tx::new(index, lanes, ring_size)?,
            handing,
            outcomes: Outcomes::new(),
            to_stack: heapless::Deque::new(),
        })
    }

    // ---- receive ----

    pub fn rx_space(&self) -> usize {
        self.pool.room()
    }

    /// Takes buffers from the front; returns how many.
    pub fn rx_post(&mut self, packets: &mut impl Giver) -> usize {
        let count = self.pool.lend(packets);
        self.refill();
        self.set_gauges();
        count
    }

    /// Posts free buffers to the NIC, as many as it takes. Some are kept for answers, before there are rules, too: what
    /// is posted comes back with a frame, and the first to be answered may be one that the stack sends.
    fn refill(&mut self) {
        let keeps = self.pool.gauges().lent > 4 * RESERVE;
        let reserve = if keeps { RESERVE } else { 0 };
        loop {
            let spare = self.pool.gauges().free.saturating_sub(reserve);
            let wanted = self.queue.rx_space().min(BURST_MAX).min(spare);
            let mut burst = Burst::new();
            if self.pool.take_burst(&mut burst, wanted) == 0 {
                return;
            }
            let taken = self.queue.rx_post(&mut burst);
            for packet in burst {
                recycle(&mut self.pool, &self.common, packet);
            }
            if taken == 0 {
                return;
            }
        }
    }

    /// Looks at up to `budget` received frames, appends those to deliver to the empty `out`, and says whether there is
    /// more to do.
    pub fn rx_poll(&mut self, budget: usize, out: &mut Burst) -> bool {
        self.pipeline.begin();
        let budget = budget.min(BURST_MAX);
        if self.tx.has_lanes() {
            self.take_handed();
        }
        let counters = &*self.counters;
        let found = self.queue.rx_burst(out, budget);
        let refused = self.queue.take_refused();
        if found > 0 || refused.frames() > 0 {
            let start_ns = self.common.host.now_ns();
            count_refused(counters, &refused);
            count_received(counters, out);
            if self.pipeline.looks_at_frames() {
                self.pipeline.parse(out, Direction::In);
            }
            let wanting = self.pipeline.taps().wanting(Direction::In);
            self.pipeline.keeps_marks = wanting != 0;
            let mut tapped = (wanting != 0).then(|| self.common.pipeline.taps.enter(self.index, wanting));
            if let Some(tapped) = &mut tapped {
                tapped.frames(Direction::In, start_ns, out);
            }
            let all_pass = self.pipeline.judge((Direction::In, false), start_ns, out, counters, &mut self.outcomes);
            if let Some(tapped) = &mut tapped {
                tapped.judged(Direction::In, start_ns, out, &self.outcomes, &self.pipeline.marks);
            }
            drop(tapped);
            if !all_pass {
                for (index, (packet, outcome)) in core::mem::take(out).into_iter().zip(&self.outcomes).enumerate() {
                    let refused = match *outcome {
                        Outcome::Pass => {
                            // It was there before, so it fits.
                            let _ = out.push(packet);
                            None
                        }
                        Outcome::Drop(reason) => Some((packet, reason)),
                        Outcome::Hold { no_df } => {
                            self.pipeline.hold(Direction::In, start_ns, (index, packet), (no_df, None), counters)
                        }
                        Outcome::Elsewhere(shard) => {
                            let handed = self.handing.hand_over(counters, Direction::In, shard, packet);
                            handed.err().map(|packet| (packet, DropReason::SteerFull))
                        }
                    };
                    if let Some((packet, reason)) = refused {
                        counters.rx_dropped.add(reason, 1);
                        recycle(&mut self.pool, &self.common, packet);
                    }
                }
            }
            counters.rx_delivered.add(out.len() as u64);
            self.pool.handed_back(out.len());
            self.send_answers(start_ns);
            self.common.ring_taps();
            let counters = &*self.counters;
            counters.bursts_rx.add(1);
            let frames = (found as u64).saturating_add(refused.frames());
            counters.histograms.rx_burst_len.record(frames);
            let spent_ns = self.common.host.now_ns().saturating_sub(start_ns);
            counters.histograms.rx_burst_ns.record(spent_ns);
        }
        self.deliver_fragments(budget, out);
        if self.tx.has_lanes() {
            self.take_returned(budget, out);
            self.handing.ring(&self.common);
        }
        self.deliver_made(budget, out);
        self.refill();
        self.set_gauges();
        let (_, ready) = self.pipeline.held(Direction::In);
        self.queue.rx_pending() || !self.to_stack.is_empty() || ready > 0 || self.handing.has_work()
    }

    /// Sends what the pipeline made for the burst: to the wire, or to the stack with the next poll.
    fn send_answers(&mut self, now_ns: u64) {
        if self.pipeline.answers.is_empty() {
            return;
        }
        self.take_spent();
        let taps = &self.common.pipeline.taps;
        let wanting = taps.wanting(Direction::In) | taps.wanting(Direction::Out);
        let mut tapped = (wanting != 0).then(|| taps.enter(self.index, wanting));
        let mut refused = Burst::new();
        for (to_wire, frame) in self.pipeline.answers.frames() {
            // Without a buffer there is no answer: who waits for one asks again.
            let Some(mut packet) = self.pool.take() else { break };
            if let Some(tapped) = &mut tapped {
                tapped.made(if to_wire { Direction::Out } else { Direction::In }, now_ns, frame);
            }
            let sent = if !packet.write(frame) || (!to_wire && self.to_stack.is_full()) {
                Err(packet)
            } else if to_wire {
                self.tx.send_made(&self.common, &self.counters, &mut *self.queue, packet)
            } else {
                self.to_stack.push_back(packet)
            };
            if let Err(packet) = sent {
                // At most as many as answers, which are fewer than a burst.
                let _ = refused.push(packet);
            }
        }
        for packet in refused {
            recycle(&mut self.pool, &self.common, packet);
        }
        self.tx.flush(&mut *self.queue);
        if !self.to_stack.is_empty() {
            self.common.wake_shard(self.index);
        }
    }

    /// Appends fragments of datagrams that passed to the frames that are delivered, and ends the others.
    fn deliver_fragments(&mut self, budget: usize, out: &mut Burst) {
        while out.len() < budget
            && let Some((packet, from, released)) = self.pipeline.release(Direction::In)
        {
            if let Some(from) = from {
                self.return_fragment(Direction::In, from, packet, released);
                continue;
            }
            match released {
                Released::Pass => {
                    // Below a burst, so it fits.
                    let _ = out.push(packet);
                    self.counters.rx_delivered.add(1);
                    self.pool.handed_back(1);
                    continue;
                }
                Released::Consumed => self.counters.rx_consumed.add(1),
                Released::Drop(reason) => self.counters.rx_dropped.add(reason, 1),
                Released::Elsewhere(shard) => {
                    self.hand_over_received(shard, packet);
                    continue;
                }
            }
            recycle(&mut self.pool, &self.common, packet);
        }
    }

    /// Sends fragments of datagrams that passed, and ends the others.
    fn send_fragments(&mut self) {
        let mut burst = Burst::new();
        while let Some((packet, from, released)) = self.pipeline.release(Direction::Out) {
            if let Some(from) = from {
                self.return_fragment(Direction::Out, from, packet, released);
                continue;
            }
            let (common, counters) = (&*self.common, &*self.counters);
            match released {
                Released::Pass => {
                    if let Err(packet) = burst.push(packet) {
                        self.tx.send(common, counters, &mut *self.queue, &mut burst);
                        // It was emptied.
                        let _ = burst.push(packet);
                    }
                }
                Released::Consumed => self.tx.consume(common, counters, packet),
                Released::Drop(reason) => self.tx.drop(common, counters, packet, reason, Status::Dropped),
                Released::Elsewhere(shard) => self.hand_over_sent(shard, packet),
            }
        }
        if !burst.is_empty() {
            self.tx.send(&self.common, &self.counters, &mut *self.queue, &mut burst);
        }
    }

    /// Appends frames that the core made for the stack to those that are delivered.
    fn deliver_made(&mut self, budget: usize, out: &mut Burst) {
        while out.len() < budget
            && let Some(packet) = self.to_stack.pop_front()
        {
            // Below a burst, so it fits.
            let _ = out.push(packet);
            self.counters.rx_injected.add(1);
            self.pool.handed_back(1);
        }
    }

    // ---- transmit ----

    pub fn tx_space(&self) -> usize {
        self.tx.space()
    }

    /// Frames that [`Shard::tx_submit`] takes.
    pub fn tx_room(&self) -> usize {
        self.tx.room()
    }

    /// Takes the frames of `burst`, at most [`Shard::tx_room`]; returns how many. `bytes`: of all of them, if it is known and also
    /// that none has a status or a mark.
    pub fn tx_submit(&mut self, burst: &mut Burst, bytes: Option<u64>) -> usize {
        let (common, counters) = (&*self.common, &*self.counters);
        let taken = burst.len();
        if taken == 0 {
            return 0;
        }
        let start_ns = common.host.now_ns();
        let (bytes, all_good) = self.tx.take(burst, bytes);
        counters.tx_dequeued.add(taken as u64);
        counters.tx_bytes.add(bytes);
        if !all_good {
            for packet in core::mem::take(burst) {
                if packet.status() == Status::Ok {
                    // It was there before, so it fits.
                    let _ = burst.push(packet);
                } else {
                    let (reason, status) = (DropReason::BadDescriptor, Status::BadDescriptor);
                    self.tx.drop(common, counters, packet, reason, status);
                }
            }
        }
        self.pipeline.begin();
        if self.tx.has_lanes() {
            let mut refused = Burst::new();
            let tx = &mut self.tx;
            self.pipeline.steer(burst, common.shards(), |target, packet| {
                if let Err(packet) = tx.steer(counters, target, packet) {
                    // At most the frames of one burst, which fit.
                    let _ = refused.push(packet);
                }
            });
            for packet in refused {
                let (reason, status) = (DropReason::SteerFull, Status::Dropped);
                self.tx.drop(common, counters, packet, reason, status);
            }
        } else if self.pipeline.looks_at_frames() {
            self.pipeline.parse(burst, Direction::Out);
        }
        self.judge_tx(start_ns, burst);
        self.tx.flush(&mut *self.queue);
        self.tx.ring_lanes(&self.common);
        let counters = &*self.counters;
        counters.bursts_tx.add(1);
        counters.histograms.tx_burst_len.record(taken as u64);
        let spent_ns = self.common.host.now_ns().saturating_sub(start_ns);
        counters.histograms.tx_burst_ns.record(spent_ns);
        self.set_gauges();
        taken
    }

    /// Judges frames and hands those that pass on to the NIC; `burst` is empty then. When something looks at frames,
    /// they have been parsed.
    fn judge_tx(&mut self, now_ns: u64, burst: &mut Burst) {
        let (common, counters) = (&*self.common, &*self.counters);
        let wanting = self.pipeline.taps().wanting(Direction::Out);
        self.pipeline.keeps_marks = wanting != 0;
        let all_pass = self.pipeline.judge((Direction::Out, false), now_ns, burst, counters, &mut self.outcomes);
        if wanting != 0 {
            let mut tapped = common.pipeline.taps.enter(self.index, wanting);
            tapped.frames(Direction::Out, now_ns, burst);
            tapped.judged(Direction::Out, now_ns, burst, &self.outcomes, &self.pipeline.marks);
        }
        if !all_pass {
            for (index, (packet, outcome)) in core::mem::take(burst).into_iter().zip(&self.outcomes).enumerate() {
                let refused = match *outcome {
                    Outcome::Pass => {
                        // It was there before, so it fits.
                        let _ = burst.push(packet);
                        None
                    }
                    Outcome::Drop(reason) => Some((packet, reason)),
                    Outcome::Hold { no_df } => {
                        self.pipeline.hold(Direction::Out, now_ns, (index, packet), (no_df, None), counters)
                    }
                    Outcome::Elsewhere(shard) => {
                        let handed = self.handing.hand_over(counters, Direction::Out, shard, packet);
                        handed.err().map(|packet| (packet, DropReason::SteerFull))
                    }
                };
                if let Some((packet, reason)) = refused {
                    self.tx.drop(common, counters, packet, reason, Status::Dropped);
                }
            }
        }
        self.tx.send(common, counters, &mut *self.queue, burst);
        self.send_fragments();
        self.send_answers(now_ns);
        self.handing.ring(&self.common);
        self.common.ring_taps();
    }

    /// Progresses transmit and appends up to `max` finished frames to `out`.
    pub fn tx_reap(&mut self, max: usize, out: &mut impl Taker) {
        self.take_steered();
        self.tx.flush(&mut *self.queue);
        self.tx.reap(&self.common, &self.counters, &mut *self.queue);
        // What was finished made room.
        self.tx.flush(&mut *self.queue);
        self.tx.hand_back(&self.common, max, out);
        self.tx.ring_lanes(&self.common);
        self.take_spent();
        self.set_gauges();
    }

    /// Takes the buffers of made frames that are sent back among the free ones.
    fn take_spent(&mut self) {
        while let Some(packet) = self.tx.take_spent() {
            recycle(&mut self.pool, &self.common, packet);
        }
    }

    /// Judges what the other shards sent here.
    fn take_steered(&mut self) {
        let mut now_ns = None;
        let mut burst = Burst::new();
        while self.tx.receive_steered(&self.counters, &mut burst) {
            let now_ns = *now_ns.get_or_insert_with(|| {
                self.pipeline.begin();
                self.common.host.now_ns()
            });
            if self.pipeline.looks_at_frames() {
                self.pipeline.parse(&burst, Direction::Out);
            }
            self.judge_tx(now_ns, &mut burst);
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
        let has_work = self.tx.has_work(&mut *self.queue) | self.handing.has_work();
        if self.queue.arm() | has_work | !self.to_stack.is_empty() | self.pipeline.has_chores() {
            bell.disarm();
            return true;
        }
        false
    }

    /// While disabled: ends every frame that is on its way and takes everything back from the NIC. Called for every
    /// shard with no other running, so that afterwards no shard has another's frames.
    pub fn stop(&mut self) {
        self.return_handed();
        self.pipeline.release_all();
        while let Some((packet, from, released)) = self.pipeline.release(Direction::In) {
            if let Some(from) = from {
                self.return_fragment(Direction::In, from, packet, released);
                continue;
            }
            let reason = if let Released::Drop(reason) = released { reason } else { DropReason::Disabled };
            self.counters.rx_dropped.add(reason, 1);
            recycle(&mut self.pool, &self.common, packet);
        }
        while let Some((packet, from, released)) = self.pipeline.release(Direction::Out) {
            if let Some(from) = from {
                self.return_fragment(Direction::Out, from, packet, released);
                continue;
            }
            let reason = if let Released::Drop(reason) = released { reason } else { DropReason::Disabled };
            self.tx.drop(&self.common, &self.counters, packet, reason, Status::Disabled);
        }
        let (common, counters) = (&*self.common, &*self.counters);
        self.tx.drop_unsent(common, counters);
        loop {
            let mut left = Burst::new();
            let reclaimed = self.queue.reclaim(&mut left);
            if left.is_empty() {
                break;
            }
            // Receive buffers come first.
            for (position, packet) in left.into_iter().enumerate() {
                if position < reclaimed.rx {
                    recycle(&mut self.pool, common, packet);
                } else {
                    self.tx.complete(common, counters, packet);
                }
            }
        }
        count_refused(counters, &self.queue.take_refused());
        self.take_spent();
        while let Some(packet) = self.to_stack.pop_front() {
            recycle(&mut self.pool, &self.common, packet);
        }
        self.set_gauges();
    }

    /// While disabled: appends up to `max` packets that are still lent to `out`; receive buffers are empty.
    pub fn reclaim(&mut self, max: usize, out: &mut Burst) {
        let buffers = self.pool.take_burst(out, max);
        self.pool.handed_back(buffers);
        self.tx.hand_back(&self.common, max.saturating_sub(buffers), out);
        self.set_gauges();
    }

    /// Receive buffers and frames that the glue has not got back.
    pub fn lent(&self) -> (usize, usize) {
        (self.pool.gauges().lent, self.tx.lent())
    }

    /// Moves on to the newest ruleset; for a shard that no traffic makes do it.
    pub fn refresh(&mut self) {
        self.pipeline.begin();
        while self.pipeline.has_chores() {
            self.pipeline.begin();
        }
    }

    fn set_gauges(&mut self) {
        let counters = &*self.counters;
        let pool = self.pool.gauges();
        let queue = self.queue.gauges();
        counters.rx_lent.set(pool.lent as u64);
        counters.pool_free.set(pool.free as u64);
        counters.pool_posted.set(queue.rx_posted as u64);
        // Made frames are receive buffers that the core holds, and no frames of the stack.
        let made = self.tx.made();
        let (fragments_in, _) = self.pipeline.held(Direction::In);
        let (fragments_out, _) = self.pipeline.held(Direction::Out);
        counters.rx_held.set(fragments_in as u64);
        counters.tx_held.set(fragments_out as u64);
        let held = made.saturating_add(self.to_stack.len()).saturating_add(fragments_in);
        counters.pool_held.set(held as u64);
        let in_flight = self.tx.waiting().saturating_add(queue.tx_in_flight);
        let in_flight = in_flight.saturating_sub(self.tx.made_in_flight());
        counters.tx_in_flight.set(in_flight as u64);
    }
}

/// Puts a receive buffer back among the free ones.
fn recycle(pool: &mut Pool, common: &Common, packet: Packet) {
    if pool.put(packet).is_err() {
        // Not one of the lent ones: it can only be a fault of a NIC back end, and the accounts will show it.
        common.count_misuse();
    }
}

fn count_refused(counters: &ShardCounters, refused: &Refused) {
    let reasons = [
        (DropReason::Runt, refused.runt),
        (DropReason::Giant, refused.giant),
        (DropReason::MacFilter, refused.mac_filter),
        (DropReason::NoBuffer, refused.no_buffer),
        (DropReason::Device, refused.device),
        (DropReason::Disabled, refused.disabled),
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
        let group = packet.frame().first().is_some_and(|byte| byte & 1 != 0);
        multicast = multicast.saturating_add(u64::from(group));
    }
    counters.rx_frames.add(burst.len() as u64);
    counters.rx_bytes.add(bytes);
    counters.rx_multicast.add(multicast);
}
