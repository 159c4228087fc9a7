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
    /// Those with a status come first, then those that are not yet with the far end.
    frames: Fifo,
    /// How many have a status.
    finished: usize,
    /// Segments of the next one that the far end has.
    cut: usize,
}

impl TxFrames {
    /// The next one to send, of which so many segments are sent.
    pub fn next(&mut self) -> Option<(&mut Packet, &mut usize)> {
        Some((self.frames.get_mut(self.finished)?, &mut self.cut))
    }

    /// True if none waits to be sent.
    pub fn is_finished(&self) -> bool {
        self.finished >= self.frames.len()
    }

    /// Ends the next one.
    pub fn finish(&mut self, status: Status) {
        self.cut = 0;
        if let Some(packet) = self.frames.get_mut(self.finished) {
            packet.set_status(status);
            self.finished += 1;
        }
    }

    /// Ends them all.
    pub fn finish_all(&mut self, status: Status) {
        while !self.is_finished() {
            self.finish(status);
        }
    }

    /// Hands something back with those that are finished.
    fn give_back(&mut self, packet: Packet) {
        self.frames.insert(self.finished, packet);
        self.finished += 1;
    }

    /// Moves finished ones to the end of `out`, as many as fit; returns how many.
    fn reap(&mut self, out: &mut Burst) -> usize {
        let count = self.finished.min(BURST_MAX.saturating_sub(out.len()));
        out.extend(self.frames.drain(..count));
        self.finished -= count;
        count
    }

    fn len(&self) -> usize {
        self.frames.len()
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
        let tx = TxFrames { frames: Fifo::with_capacity(ring_size), finished: 0, cut: 0 };
        let OwnEnds { posted, done } = own;
        Self { port, index, far, ring_size, posted, done, outstanding: 0, refused: Refused::default(), tx }
    }

    fn shared(&self) -> Option<&PortQueue> {
        self.port.queues.get(self.index)
    }

    /// Sends what can be sent.
    fn progress(&mut self) {
        if self.tx.is_finished() {
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
                self.tx.give_back(packet);
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
        // Mostly they are: what is written here would have to be copied at once.
        burst.iter_mut().filter(|packet| !packet.is_reset()).for_each(Packet::reset);
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
        let before = out.len();
        let taken = self.done.pop_burst(out, budget);
        self.outstanding = self.outstanding.saturating_sub(taken);
        let glance = self.port.filter.glance();
        let is_plain =
            |packet: &Packet| packet.status() == Status::Ok && !packet.flags().intersects(PacketFlags::RX_LRO);
        let takes = |packet: &Packet| is_plain(packet) && glance.takes(packet.frame()) || self.judge(packet).is_ok();
        if out.iter().skip(before).all(takes) {
            return taken;
        }
        let mut filled: Burst = out.drain(before..).collect();
        for packet in filled.drain(..) {
            match self.judge(&packet) {
                // It was there before, so it fits.
                Ok(()) => out.extend([packet]),
                Err(refusal) => {
                    self.refused.count(refusal, packet.len());
                    self.post(packet);
                }
            }
        }
        self.wake_starved();
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
        self.tx.frames.extend(burst.drain(..count));
        self.progress();
        count
    }

    fn tx_reap(&mut self, out: &mut Burst) -> usize {
        self.progress();
        self.tx.reap(out)
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
        let work = client || self.tx.finished > 0 || !self.done.is_empty();
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
            inbox.reclaim(out);
        }
        reclaimed.rx = out.len().saturating_sub(start);
        self.outstanding = self.outstanding.saturating_sub(reclaimed.rx);
        for packet in out.iter_mut().skip(start) {
            packet.reset();
        }
        self.tx.finish_all(Status::Disabled);
        reclaimed.tx = self.tx.reap(out);
        reclaimed
    }

    fn gauges(&self) -> QueueGauges {
        QueueGauges { rx_posted: self.outstanding, tx_in_flight: self.tx.len() }
    }
}
