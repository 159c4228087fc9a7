//! The data side of a loopback NIC.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::config::Wire;
use super::port::{Fifo, OwnEnds, Port, PortQueue};
use super::reflect::Reflector;
use super::{client, pair, reflect};
use crate::mem::packet::{BURST_MAX, Burst, Packet, PacketFlags, Status};
use crate::mem::ring::{Consumer, Producer};
use crate::nic::rx_filter::Refusal;
use crate::nic::{NicQueue, QueueGauges, Reclaimed, Refused};

/// Frames on their way out.
pub(super) struct TxFrames {
    /// Taken, not yet with the far end; the first may be sent in part.
    pub waiting: Fifo,
    /// With a status.
    pub finished: Fifo,
    /// Segments of the first waiting frame that the far end has.
    pub cut: usize,
}

impl TxFrames {
    /// Ends the first waiting frame.
    pub fn finish(&mut self, status: Status) {
        self.cut = 0;
        if let Some(mut packet) = self.waiting.pop_front() {
            packet.set_status(status);
            self.finished.push_back(packet);
        }
    }

    /// Ends them all.
    pub fn finish_all(&mut self, status: Status) {
        while !self.waiting.is_empty() {
            self.finish(status);
        }
    }

    fn len(&self) -> usize {
        self.waiting.len() + self.finished.len()
    }
}

/// What is at the other end.
pub(super) enum FarEnd {
    Pair,
    Reflect(Box<Reflector>),
    Client,
}

/// See the module.
pub(super) struct LoopbackQueue {
    port: Arc<Port>,
    index: usize,
    far: FarEnd,
    ring_size: usize,
    posted: Producer<Packet>,
    done: Consumer<Packet>,
    /// Receive buffers in `posted`, `done` and the inbox.
    outstanding: usize,
    refused: Refused,
    tx: TxFrames,
}

impl LoopbackQueue {
    /// Allocates; called at Start.
    pub fn new(port: Arc<Port>, index: usize, wire: Wire, ring_size: usize, own: OwnEnds) -> Self {
        let far = match wire {
            Wire::Pair(_) => FarEnd::Pair,
            Wire::Reflect => FarEnd::Reflect(Box::new(Reflector::new(reflect::far_mac(port.filter.mac())))),
            Wire::None | Wire::Client => FarEnd::Client,
        };
        let fifo = || Fifo::with_capacity(ring_size);
        let tx = TxFrames { waiting: fifo(), finished: fifo(), cut: 0 };
        let OwnEnds { posted, done } = own;
        Self { port, index, far, ring_size, posted, done, outstanding: 0, refused: Refused::default(), tx }
    }

    fn shared(&self) -> Option<&PortQueue> {
        self.port.queues.get(self.index)
    }

    /// Sends what can be sent.
    fn progress(&mut self) {
        if self.tx.waiting.is_empty() {
            return;
        }
        if !self.port.is_enabled() {
            self.tx.finish_all(Status::Disabled);
        } else if !self.port.is_plugged() {
            self.tx.finish_all(Status::NoCarrier);
        } else {
            match &mut self.far {
                FarEnd::Pair => pair::send(&self.port, self.index, &mut self.tx),
                FarEnd::Reflect(far) => far.send(&self.port, self.index, &mut self.tx, &mut self.refused),
                FarEnd::Client => client::send(&self.port, self.index, &mut self.tx),
            }
        }
    }

    /// Puts an empty buffer in front of the far end. There is room for it: it was just taken out.
    fn post(&mut self, mut packet: Packet) {
        packet.reset();
        match self.posted.push(packet) {
            Ok(()) => self.outstanding += 1,
            Err(packet) => {
                debug_assert!(false, "outstanding buffers never exceed the ring");
                // Still handed back, with the frames: nothing is lost.
                self.tx.finished.push_back(packet);
            }
        }
    }

    /// Wakes whoever ran out of posted buffers.
    fn wake_starved(&self) {
        if !self.shared().is_some_and(|shared| shared.starved.ring()) {
            return;
        }
        match self.far {
            FarEnd::Pair => pair::wake(&self.port, self.index),
            _ => self.port.events.wake(self.index as u32),
        }
    }

    /// Whether a filled buffer is for the driver, or why not.
    fn judge(&self, packet: &Packet) -> Result<(), Refusal> {
        if packet.status() == Status::TooLong {
            return Err(Refusal::Giant);
        }
        self.port.filter.check(packet.frame(), packet.flags().intersects(PacketFlags::RX_LRO))
    }
}

impl NicQueue for LoopbackQueue {
    fn rx_post(&mut self, burst: &mut Burst) -> usize {
        if !self.port.is_enabled() {
            return 0;
        }
        for packet in burst.iter_mut() {
            packet.reset();
        }
        let room = self.rx_space();
        let count = if burst.len() <= room {
            self.posted.push_burst(burst)
        } else {
            let mut first: Burst = burst.drain(..room).collect();
            self.posted.push_burst(&mut first)
        };
        self.outstanding += count;
        if count > 0 {
            self.wake_starved();
        }
        count
    }

    fn rx_space(&mut self) -> usize {
        // `posted` and `done` are as large, so neither can overflow.
        self.ring_size.saturating_sub(self.outstanding)
    }

    fn rx_burst(&mut self, out: &mut Burst, budget: usize) -> usize {
        if !self.port.is_enabled() {
            return 0;
        }
        let budget = budget.min(BURST_MAX.saturating_sub(out.len()));
        if matches!(self.far, FarEnd::Client) {
            client::receive(&self.port, self.index, budget, &mut self.refused);
        }
        let mut filled = Burst::new();
        let taken = self.done.pop_burst(&mut filled, budget);
        self.outstanding = self.outstanding.saturating_sub(taken);
        let before = out.len();
        let mut reposted = false;
        for packet in filled {
            match self.judge(&packet) {
                Ok(()) => {
                    if let Err(packet) = out.push(packet) {
                        self.post(packet);
                    }
                }
                Err(refusal) => {
                    self.refused.count(refusal, packet.len());
                    self.post(packet);
                    reposted = true;
                }
            }
        }
        if reposted {
            self.wake_starved();
        }
        out.len().saturating_sub(before)
    }

    fn rx_pending(&mut self) -> bool {
        if !self.port.is_enabled() {
            return false;
        }
        !self.done.is_empty() || (matches!(self.far, FarEnd::Client) && client::pending(&self.port, self.index))
    }

    fn take_refused(&mut self) -> Refused {
        core::mem::take(&mut self.refused)
    }

    fn tx_space(&mut self) -> usize {
        self.ring_size.saturating_sub(self.tx.len())
    }

    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        let count = burst.len().min(self.tx_space());
        self.tx.waiting.extend(burst.drain(..count));
        self.progress();
        count
    }

    fn tx_reap(&mut self, out: &mut Burst) -> usize {
        self.progress();
        let count = self.tx.finished.len().min(BURST_MAX.saturating_sub(out.len()));
        out.extend(self.tx.finished.drain(..count));
        count
    }

    fn arm(&mut self) -> bool {
        if !self.port.is_enabled() {
            return false;
        }
        if let Some(shared) = self.shared() {
            shared.bell.arm();
        }
        // Whoever cannot progress for want of something is armed there, too, and woken when it comes.
        self.progress();
        let client = matches!(self.far, FarEnd::Client) && client::arm(&self.port, self.index);
        let work = client || !self.tx.finished.is_empty() || !self.done.is_empty();
        if work && let Some(shared) = self.shared() {
            shared.bell.disarm();
        }
        work
    }

    fn reclaim(&mut self, out: &mut Burst) -> Reclaimed {
        let mut reclaimed = Reclaimed::default();
        if self.port.is_enabled() {
            return reclaimed;
        }
        let room = |out: &Burst| BURST_MAX.saturating_sub(out.len());
        let start = out.len();
        let taken = self.done.pop_burst(out, room(out));
        self.refused.disabled += taken as u64;
        if let Some(mut inbox) = self.port.queues.get(self.index).and_then(|shared| shared.inbox.claim()) {
            while room(out) > 0
                && let Some(packet) = inbox.take()
            {
                out.extend([packet]);
            }
        }
        reclaimed.rx = out.len().saturating_sub(start);
        self.outstanding = self.outstanding.saturating_sub(reclaimed.rx);
        for packet in out.iter_mut().skip(start) {
            packet.reset();
        }
        self.tx.finish_all(Status::Disabled);
        reclaimed.tx = self.tx.finished.len().min(room(out));
        out.extend(self.tx.finished.drain(..reclaimed.tx));
        reclaimed
    }

    fn gauges(&self) -> QueueGauges {
        QueueGauges { rx_posted: self.outstanding, tx_in_flight: self.tx.len() }
    }
}
