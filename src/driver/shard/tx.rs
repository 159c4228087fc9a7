//! The transmit half of a shard: where its frames are, and their way back to the glue.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use crate::driver::Common;
use crate::driver::lane::{Lane, LaneEnds};
use crate::mem::handover::Taker;
use crate::mem::packet::BURST_MAX;
use crate::mem::ring::{self, Consumer, Producer};
use crate::mem::{Burst, Packet, Status};
use crate::nic::NicQueue;
use crate::telemetry::{DropReason, ShardCounters};

/// [`Packet::shard`] of a frame that the core made: it is nobody's but this shard's, and its buffer is a receive buffer.
const MADE: u8 = u8::MAX;
/// Most made frames under way.
pub const MADE_MAX: usize = 64;

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

/// Frames to transmit are in a lane to another shard, in `pending`, in `sending` or in the NIC's ring, all of them in
/// flight; or they are finished and counted, in `done` or in a lane back to their own shard.
pub(super) struct Tx {
    index: usize,
    /// Lanes to the other shards, by their number; `None` for this one. Empty if there are no others.
    lanes: Vec<Option<LaneEnds>>,
    /// Judged, in order, for `sending`.
    pending: Fifo,
    /// The burst that the NIC is taking.
    sending: Burst,
    done: Fifo,
    /// Buffers of made frames that are sent.
    spent: heapless::Vec<Packet, MADE_MAX>,
    /// Made frames under way, and in `spent`.
    made: usize,
    /// Frames taken from the glue and not yet handed back.
    lent: usize,
    limit: usize,
}

impl Tx {
    /// `None` if the sizes are no rings'.
    pub fn new(index: usize, lanes: Vec<Option<LaneEnds>>, ring_size: usize) -> Option<Self> {
        let steered_in = lanes.iter().flatten().count().checked_mul(Lane::CAPACITY)?;
        Some(Self {
            index,
            lanes,
            // All frames that can be here at once: this shard's own, and what the lanes hold.
            pending: Fifo::new(ring_size.checked_add(steered_in)?.checked_add(MADE_MAX)?)?,
            sending: Burst::new(),
            done: Fifo::new(ring_size)?,
            spent: heapless::Vec::new(),
            made: 0,
            lent: 0,
            limit: ring_size,
        })
    }

    /// There are other shards.
    pub fn has_lanes(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// Frames that the glue has not got back.
    pub fn lent(&self) -> usize {
        self.lent
    }

    /// Frames that may still be taken, wherever they may have to go.
    pub fn space(&self) -> usize {
        self.lanes.iter().flatten().fold(self.room(), |space, lane| space.min(lane.space()))
    }

    /// Frames that may still be taken if all of them stay here.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.lent)
    }

    /// Notes frames taken from the glue, at most [`Tx::room`], and marks them as this shard's. Returns their bytes, and whether none
    /// has a status. `bytes`: if that is known, and that none has a mark either.
    pub fn take(&mut self, burst: &mut Burst, bytes: Option<u64>) -> (u64, bool) {
        self.lent = self.lent.saturating_add(burst.len());
        if let Some(bytes) = bytes
            && self.index == 0
        {
            // The first shard's mark is none.
            return (bytes, true);
        }
        let shard = u8::try_from(self.index).unwrap_or(u8::MAX);
        let (mut bytes, mut all_good) = (0u64, true);
        for packet in burst {
            // What is written here waits to be read as a whole soon.
            if packet.shard() != shard {
                packet.set_shard(shard);
            }
            bytes = bytes.saturating_add(packet.len() as u64);
            all_good &= packet.status() == Status::Ok;
        }
        (bytes, all_good)
    }

    /// Sends a frame to the shard that its flow belongs to.
    pub fn steer(&mut self, counters: &ShardCounters, target: usize, packet: Packet) -> Result<(), Packet> {
        match self.lanes.get_mut(target).and_then(Option::as_mut) {
            Some(lane) => lane.send(packet)?,
            None => return Err(packet),
        }
        counters.steered.add(1);
        Ok(())
    }

    /// Takes the next burst that another shard sent here; false if there is none.
    pub fn receive_steered(&mut self, counters: &ShardCounters, burst: &mut Burst) -> bool {
        let found = self.lanes.iter_mut().flatten().any(|lane| lane.receive(burst) > 0);
        counters.steered_in.add(burst.len() as u64);
        found
    }

    /// Hands judged frames on to the NIC, behind those that wait; `burst` is empty then.
    pub fn send(&mut self, common: &Common, counters: &ShardCounters, queue: &mut dyn NicQueue, burst: &mut Burst) {
        if self.sending.is_empty() && self.pending.head.is_empty() {
            queue.tx_burst(burst);
        }
        self.pending.tail.push_burst(burst);
        for packet in burst.drain(..) {
            // Cannot happen while the limits hold (see `new`); if they did not, this is what it is.
            self.drop(common, counters, packet, DropReason::Congestion, Status::Dropped);
        }
    }

    /// Sends a frame that the core made, in a receive buffer.
    ///
    /// # Errors
    /// The buffer, when too many are under way.
    pub fn send_made(
        &mut self,
        common: &Common,
        counters: &ShardCounters,
        queue: &mut dyn NicQueue,
        mut packet: Packet,
    ) -> Result<(), Packet> {
        if self.made >= MADE_MAX {
            return Err(packet);
        }
        packet.set_shard(MADE);
        self.made = self.made.saturating_add(1);
        counters.tx_injected.add(1);
        let mut burst = Burst::new();
        let _ = burst.push(packet);
        self.send(common, counters, queue, &mut burst);
        Ok(())
    }

    /// A buffer of a made frame that is done with.
    pub fn take_spent(&mut self) -> Option<Packet> {
        let mut packet = self.spent.pop()?;
        packet.set_shard(0);
        self.made = self.made.saturating_sub(1);
        Some(packet)
    }

    /// Made frames that are not back among the receive buffers.
    pub fn made(&self) -> usize {
        self.made
    }

    /// Made frames that are on their way to the wire.
    pub fn made_in_flight(&self) -> usize {
        self.made.saturating_sub(self.spent.len())
    }

    /// Keeps the buffer of a made frame, which counts nowhere but where it was made.
    fn keep_made(&mut self, common: &Common, packet: Packet) {
        if self.spent.push(packet).is_err() {
            // No more were made than there is room for.
            common.count_misuse();
        }
    }

    /// Ends a frame that is not sent.
    pub fn drop(
        &mut self,
        common: &Common,
        counters: &ShardCounters,
        mut packet: Packet,
        reason: DropReason,
        status: Status,
    ) {
        if packet.shard() == MADE {
            return self.keep_made(common, packet);
        }
        counters.tx_dropped.add(reason, 1);
        packet.set_status(status);
        self.finish(common, packet);
    }

    /// Ends a frame whose payload leaves in another one.
    pub fn consume(&mut self, common: &Common, counters: &ShardCounters, mut packet: Packet) {
        counters.tx_consumed.add(1);
        packet.set_status(Status::Ok);
        self.finish(common, packet);
    }

    /// Ends a frame that the NIC is done with.
    pub fn complete(&mut self, common: &Common, counters: &ShardCounters, packet: Packet) {
        if packet.shard() == MADE {
            return self.keep_made(common, packet);
        }
        let reason = match packet.status() {
            Status::Ok => None,
            Status::BadDescriptor => Some(DropReason::BadDescriptor),
            Status::NoMemory => Some(DropReason::Memory),
            Status::Disabled => Some(DropReason::Disabled),
            Status::NoCarrier => Some(DropReason::NoCarrier),
            Status::TooLong => Some(DropReason::Giant),
            Status::BadOffload => Some(DropReason::Offload),
            Status::Dropped => Some(DropReason::Congestion),
        };
        match reason {
            None => counters.tx_sent.add(1),
            Some(reason) => counters.tx_dropped.add(reason, 1),
        }
        self.finish(common, packet);
    }

    /// A frame is counted and on its way back to the glue.
    fn finish(&mut self, common: &Common, packet: Packet) {
        let home = usize::from(packet.shard());
        let returned = match self.lanes.get_mut(home).and_then(Option::as_mut) {
            Some(lane) => lane.give_back(packet),
            None => self.done.tail.push(packet),
        };
        if returned.is_err() {
            // The rings hold every frame that is out; one too many is one that was handed in twice.
            common.count_misuse();
        }
    }

    /// Gives the NIC what it takes.
    pub fn flush(&mut self, queue: &mut dyn NicQueue) {
        loop {
            let room = BURST_MAX.saturating_sub(self.sending.len());
            self.pending.head.pop_burst(&mut self.sending, room);
            if self.sending.is_empty() || queue.tx_burst(&mut self.sending) == 0 {
                return;
            }
        }
    }

    /// Takes what the NIC is done with.
    pub fn reap(&mut self, common: &Common, counters: &ShardCounters, queue: &mut dyn NicQueue) {
        let mut burst = Burst::new();
        while queue.tx_reap(&mut burst) > 0 {
            let own = |packet: &Packet| usize::from(packet.shard()) == self.index && packet.status() == Status::Ok;
            if burst.iter().all(own) {
                counters.tx_sent.add(burst.len() as u64);
                self.done.tail.push_burst(&mut burst);
                // As in `finish`.
                burst.drain(..).for_each(|_| common.count_misuse());
                continue;
            }
            for packet in burst.drain(..) {
                self.complete(common, counters, packet);
            }
        }
    }

    /// Takes this shard's own frames back from the others and appends up to `max` finished ones to `out`.
    pub fn hand_back(&mut self, common: &Common, max: usize, out: &mut impl Taker) {
        for lane in self.lanes.iter_mut().flatten() {
            while let Some(packet) = lane.take_back() {
                if self.done.tail.push(packet).is_err() {
                    common.count_misuse();
                }
            }
        }
        let count = out.take_from(&mut self.done.head, max);
        self.lent = self.lent.saturating_sub(count);
    }

    /// Wakes the shards whose lanes got something.
    pub fn ring_lanes(&mut self, common: &Common) {
        for (other, lane) in self.lanes.iter_mut().enumerate() {
            if lane.as_mut().is_some_and(LaneEnds::take_dirty) {
                common.ring(other);
            }
        }
    }

    /// There is something to do that no wake-up of the NIC announces.
    pub fn has_work(&mut self, queue: &mut dyn NicQueue) -> bool {
        let unsent = !self.sending.is_empty() || !self.pending.head.is_empty();
        self.lanes.iter_mut().flatten().any(LaneEnds::has_work)
            || !self.done.head.is_empty()
            || (unsent && queue.tx_space() > 0)
    }

    /// Ends every frame that is neither with the NIC nor finished: the interface went down.
    pub fn drop_unsent(&mut self, common: &Common, counters: &ShardCounters) {
        let mut burst = Burst::new();
        while self.receive_steered(counters, &mut burst) {
            self.drop_burst(common, counters, &mut burst);
        }
        let mut burst = core::mem::take(&mut self.sending);
        loop {
            self.drop_burst(common, counters, &mut burst);
            if self.pending.head.pop_burst(&mut burst, BURST_MAX) == 0 {
                return;
            }
        }
    }

    fn drop_burst(&mut self, common: &Common, counters: &ShardCounters, burst: &mut Burst) {
        for packet in burst.drain(..) {
            self.drop(common, counters, packet, DropReason::Disabled, Status::Disabled);
        }
    }

    /// Frames here that the NIC does not have yet.
    pub fn waiting(&mut self) -> usize {
        self.pending.head.len().saturating_add(self.sending.len())
    }
}
