//! One queue pair of an Intel controller.
//!
//! A descriptor belongs to the device from the moment the tail register passes it until it is reported done (82574
//! datasheet sections 7.1.8, 7.2.5). Packets are remembered by descriptor; what the device writes names none.

use alloc::sync::Arc;
use alloc::vec::Vec;

use core::marker::PhantomData;

use super::desc::{self, Context, rx};
use super::family::Family;
use super::regs::{self, queue};
use crate::mem::packet::BURST_MAX;
use crate::mem::region::{Region, Shared};
use crate::mem::{Burst, Packet, Status};
use crate::nic::hw::{self, Port, Slots};
use crate::nic::{NicQueue, Offloads, QueueGauges, Reclaimed, Refused, Registers as _};

/// Most bytes that one data descriptor is given.
const DATA_MAX: usize = 8192;
/// Descriptors of the longest frame, 64 KiB, and one for a context.
const FRAME_DESCRIPTORS: usize = 65536 / DATA_MAX + 2;

/// Rings of a pair, which control points the device at.
pub(super) struct Rings {
    pub rx: Region,
    pub tx: Region,
    /// Descriptors of each: a power of two, at least 8 (section 10.2.5.7: the length is a multiple of 128 bytes).
    pub size: usize,
}

impl Rings {
    /// Section 7.1.8, 7.2.5: descriptors start out as nobody's. The device stands still.
    pub fn clear(&self) {
        for region in [&self.rx, &self.tx] {
            let mem = region.shared();
            for at in (0..mem.len() / 8 * 8).step_by(8) {
                mem.store_u64(at, 0, core::sync::atomic::Ordering::Relaxed);
            }
        }
    }
}

/// See the module.
pub(super) struct IntelQueue<F: Family> {
    family: PhantomData<F>,
    port: Arc<Port>,
    index: usize,
    rings: Arc<Rings>,
    /// See [`Family::arming`].
    arming: (u64, u32),
    /// Bytes that the device may write into a buffer.
    buffer_size: u32,
    epoch: u32,
    rx_slots: Slots,
    /// Next descriptor to fill, and next to look at.
    rx_tail: usize,
    rx_head: usize,
    rx_shown: usize,
    /// The rest of a frame that is being dropped follows.
    rx_skipping: bool,
    refused: Refused,
    tx_slots: Slots,
    tx_tail: usize,
    tx_head: usize,
    /// Descriptors of the frame whose last descriptor is here.
    tx_spans: Vec<u8>,
    tx_free: usize,
    tx_context: Option<Context>,
    finished: Vec<Packet>,
}

impl<F: Family> IntelQueue<F> {
    /// Allocates; called at Start.
    pub fn new(port: Arc<Port>, index: usize, rings: Arc<Rings>, buffer_size: u32, vectors: u32) -> Self {
        let size = rings.size;
        Self {
            family: PhantomData,
            arming: F::arming(index, vectors),
            buffer_size,
            epoch: port.epoch(),
            rx_slots: Slots::new(size),
            rx_tail: 0,
            rx_head: 0,
            rx_shown: 0,
            rx_skipping: false,
            refused: Refused::default(),
            tx_slots: Slots::new(size),
            tx_tail: 0,
            tx_head: 0,
            tx_spans: (0..size).map(|_| 0).collect(),
            tx_free: size - 1,
            tx_context: None,
            finished: Vec::with_capacity(size + BURST_MAX),
            port,
            index,
            rings,
        }
    }

    fn awake(&mut self) -> bool {
        if !self.port.is_running() {
            return false;
        }
        let epoch = self.port.epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            (self.rx_tail, self.rx_head, self.rx_shown, self.rx_skipping) = (0, 0, 0, false);
            (self.tx_tail, self.tx_head, self.tx_free, self.tx_context) = (0, 0, self.rings.size - 1, None);
        }
        true
    }

    fn next(&self, index: usize) -> usize {
        (index + 1) & (self.rings.size - 1)
    }

    fn tail(&self, base: u64, value: usize) {
        let at = base + F::QUEUE_STRIDE * self.index as u64 + queue::TAIL;
        // Release: descriptors before the tail (section 7.1.6).
        core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
        self.port.regs.write32(regs::BAR, at, value as u32);
        self.port.note_doorbell(self.index);
    }

    /// Fills the next receive descriptor; there is a free one.
    fn post(&mut self, mem: &Shared<'_>, mut packet: Packet) {
        packet.reset();
        desc::write_rx(mem, self.rx_tail, packet.frame_iova().unwrap_or(0));
        let kept = self.rx_slots.put(self.rx_tail as u16, packet);
        debug_assert!(kept.is_ok(), "the descriptor was free");
        self.rx_tail = self.next(self.rx_tail);
    }

    fn show_rx(&mut self) {
        if self.rx_shown != self.rx_tail {
            self.rx_shown = self.rx_tail;
            self.tail(F::RX_QUEUE, self.rx_tail);
        }
    }

    /// Why a finished descriptor's buffer holds no frame, if it does not.
    fn refuse(&mut self, done: desc::RxDone) -> bool {
        let end = done.status & rx::END != 0;
        let was_skipping = core::mem::replace(&mut self.rx_skipping, !end);
        if was_skipping || !end {
            // A frame in several buffers is longer than any that was asked for: counted once, at its end.
            self.refused.giant += u64::from(end);
            self.refused.bytes += u64::from(done.len);
            return true;
        }
        if done.status & F::RX_ERRORS != 0 {
            self.refused.device += 1;
            self.refused.bytes += u64::from(done.len);
            return true;
        }
        false
    }

    fn receive(&mut self, out: &mut Burst, budget: usize) {
        let rings = self.rings.clone();
        let mem = rings.rx.shared();
        let vouches = self.port.offloads().contains(Offloads::RX_CSUM);
        let mut left = budget.min(BURST_MAX.saturating_sub(out.len()));
        while left > 0 && self.rx_head != self.rx_shown {
            let Some(done) = desc::read_rx(&mem, self.rx_head) else { break };
            let Some(mut packet) = self.rx_slots.take(self.rx_head as u16) else {
                return self.port.violation();
            };
            self.rx_head = self.next(self.rx_head);
            left -= 1;
            if u32::from(done.len) > self.buffer_size || !packet.set_len(usize::from(done.len)) {
                self.post(&mem, packet);
                return self.port.violation();
            }
            if self.refuse(done) {
                self.post(&mem, packet);
                continue;
            }
            if vouches {
                packet.set_flags(done.flags());
            }
            if hw::judge(&self.port, &packet, false, &mut self.refused) {
                out.extend([packet]);
            } else {
                self.post(&mem, packet);
            }
        }
        self.show_rx();
    }

    fn finish(&mut self, mut packet: Packet, status: Status) {
        packet.set_status(status);
        self.finished.push(packet);
    }

    /// Describes one frame to the device; the tail moves later.
    fn send(&mut self, mem: &Shared<'_>, mut packet: Packet, offloads: Offloads) {
        let plan = match desc::plan::<F>(&mut packet, offloads) {
            Ok(plan) => plan,
            Err(status) => return self.finish(packet, status),
        };
        let Some(iova) = packet.frame_iova() else {
            return self.finish(packet, Status::BadDescriptor);
        };
        let len = packet.len();
        let new_context = plan.context.is_some() && plan.context != self.tx_context;
        let span = len.div_ceil(DATA_MAX).max(1) + usize::from(new_context);
        if span > self.tx_free || len > u16::MAX.into() {
            return self.finish(packet, Status::TooLong);
        }
        if let (true, Some(context)) = (new_context, plan.context) {
            context.write(mem, self.tx_tail);
            self.tx_context = plan.context;
            self.tx_tail = self.next(self.tx_tail);
        }
        let mut at = 0;
        let mut last = self.tx_tail;
        loop {
            let piece = (len - at).min(DATA_MAX);
            let is_last = at + piece == len;
            desc::write_tx(mem, self.tx_tail, iova + at as u64, piece as u32, &plan, is_last);
            last = if is_last { self.tx_tail } else { last };
            self.tx_tail = self.next(self.tx_tail);
            at += piece;
            if is_last {
                break;
            }
        }
        self.tx_free -= span;
        if let Some(spans) = self.tx_spans.get_mut(last) {
            *spans = span as u8;
        }
        let kept = self.tx_slots.put(last as u16, packet);
        debug_assert!(kept.is_ok(), "the descriptor was free");
    }

    fn reap(&mut self, out: &mut Burst) -> usize {
        let rings = self.rings.clone();
        let mem = rings.tx.shared();
        let mut done = 0;
        // The frame at the head ends where the first packet at or behind it is.
        while out.len() < BURST_MAX && self.tx_head != self.tx_tail {
            let mut last = self.tx_head;
            let mut span = 1;
            while self.tx_spans.get(last) == Some(&0) && span < FRAME_DESCRIPTORS {
                last = self.next(last);
                span += 1;
            }
            if !desc::is_sent(&mem, last) {
                break;
            }
            let Some(packet) = self.tx_slots.take(last as u16) else {
                self.port.violation();
                break;
            };
            if let Some(spans) = self.tx_spans.get_mut(last) {
                *spans = 0;
            }
            self.tx_free += span;
            self.tx_head = self.next(last);
            out.extend([packet]);
            done += 1;
        }
        done
    }

    fn rx_ready(&self) -> bool {
        self.rx_head != self.rx_shown && desc::read_rx(&self.rings.rx.shared(), self.rx_head).is_some()
    }

    fn tx_ready(&self) -> bool {
        let mut last = self.tx_head;
        if last == self.tx_tail {
            return false;
        }
        for _ in 0..FRAME_DESCRIPTORS {
            if self.tx_spans.get(last) != Some(&0) {
                break;
            }
            last = self.next(last);
        }
        desc::is_sent(&self.rings.tx.shared(), last)
    }
}

impl<F: Family> NicQueue for IntelQueue<F> {
    fn rx_post(&mut self, burst: &mut Burst) -> usize {
        if !self.awake() {
            return 0;
        }
        // A buffer that the device cannot reach, or that is smaller than what it writes, is not taken.
        let size = self.buffer_size as usize;
        let fit = burst.iter().take_while(|packet| packet.frame_iova().is_some() && packet.room() >= size).count();
        let count = fit.min(self.rx_space());
        let rings = self.rings.clone();
        let mem = rings.rx.shared();
        for packet in burst.drain(..count) {
            self.post(&mem, packet);
        }
        self.show_rx();
        count
    }

    fn rx_space(&mut self) -> usize {
        // Head and tail are equal in an empty ring: one descriptor stays unused (section 7.1.8).
        if self.awake() { (self.rings.size - 1).saturating_sub(self.rx_slots.len()) } else { 0 }
    }

    fn rx_burst(&mut self, out: &mut Burst, budget: usize) -> usize {
        let before = out.len();
        if self.awake() {
            self.receive(out, budget);
            self.port.note_rx(self.index, out.len() - before);
        }
        out.len() - before
    }

    fn rx_pending(&mut self) -> bool {
        self.awake() && self.rx_ready()
    }

    fn take_refused(&mut self) -> Refused {
        core::mem::take(&mut self.refused)
    }

    fn tx_space(&mut self) -> usize {
        if !self.awake() {
            return 0;
        }
        // Ordinary frames need two descriptors at most. A super-frame that finds fewer than it needs waits here.
        let frames = self.tx_free.saturating_sub(FRAME_DESCRIPTORS) / 2;
        frames.saturating_sub(self.finished.len())
    }

    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.awake() {
            return 0;
        }
        let link = self.port.link().up;
        let offloads = self.port.offloads();
        let rings = self.rings.clone();
        let mem = rings.tx.shared();
        let before = self.tx_tail;
        let mut count = 0;
        let room = self.tx_space();
        while count < room && self.tx_free > FRAME_DESCRIPTORS && count < burst.len() {
            count += 1;
            let Some(slot) = burst.get_mut(count - 1) else { break };
            let packet = core::mem::replace(slot, Packet::refused(0, Status::Ok));
            if link {
                self.send(&mem, packet, offloads);
            } else {
                self.finish(packet, Status::NoCarrier);
            }
        }
        burst.drain(..count);
        if self.tx_tail != before {
            self.tail(F::TX_QUEUE, self.tx_tail);
        }
        self.port.note_tx(self.index, self.tx_slots.len(), 0);
        count
    }

    fn tx_reap(&mut self, out: &mut Burst) -> usize {
        let before = out.len();
        let count = self.finished.len().min(BURST_MAX.saturating_sub(before));
        out.extend(self.finished.drain(..count));
        if self.awake() {
            let done = self.reap(out);
            self.port.note_tx(self.index, self.tx_slots.len(), done);
        }
        out.len() - before
    }

    fn arm(&mut self) -> bool {
        if !self.awake() {
            return false;
        }
        // Looked at before, so that a busy queue costs no register write, and after, for the race.
        if self.rx_ready() || self.tx_ready() || !self.finished.is_empty() {
            return true;
        }
        // The device cleared the bits when it sent the message (section 10.2.4.8: EIAC; I210: 8.8.8, EIAM).
        let (register, bits) = self.arming;
        self.port.regs.write32(regs::BAR, register, bits);
        self.rx_ready() || self.tx_ready()
    }

    fn reclaim(&mut self, out: &mut Burst) -> Reclaimed {
        if self.port.is_enabled() {
            return Reclaimed::default();
        }
        self.tx_spans.fill(0);
        let mut reclaimed = hw::reclaim(&mut self.rx_slots, &mut self.tx_slots, out, |_| {});
        let count = self.finished.len().min(BURST_MAX.saturating_sub(out.len()));
        out.extend(self.finished.drain(..count));
        reclaimed.tx += count;
        reclaimed
    }

    fn gauges(&self) -> QueueGauges {
        QueueGauges { rx_posted: self.rx_slots.len(), tx_in_flight: self.tx_slots.len() + self.finished.len() }
    }
}
