//! One queue pair of an Intel controller.
//!
//! A descriptor belongs to the device from the moment the tail register passes it until it is reported done (82574
//! datasheet sections 7.1.8, 7.2.5). Packets are remembered by descriptor; what the device writes names none.

use alloc::sync::Arc;
use alloc::vec::Vec;

use core::marker::PhantomData;

use super::desc::{self, Context, OwnedDescriptors, rx};
use super::family::Family;
use super::regs::{self, queue};
use crate::mem::packet::{BURST_MAX, PacketFlags};
use crate::mem::region::Region;
use crate::mem::slots::{Slots, Stop};
use crate::mem::{Burst, Packet, Status};
use crate::nic::hw::{self, Port};
use crate::nic::{NicQueue, Offloads, QueueGauges, Reclaimed, Refused, Registers as _};

/// Most bytes that one data descriptor is given.
const DATA_MAX: usize = 8192;
/// Descriptors of the longest frame, 64 KiB, and one for a context.
const FRAME_DESCRIPTORS: usize = 65536 / DATA_MAX + 2;

/// Rings of a pair, which control points the device at.
pub(super) struct Rings {
    pub rx: Arc<Region>,
    pub tx: Arc<Region>,
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
    rx_ring: OwnedDescriptors,
    tx_ring: OwnedDescriptors,
    /// Turns a count of descriptors into a place.
    mask: usize,
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
    /// A frame is where its last descriptor is, with a note of how many it has in front of that.
    tx_slots: Slots,
    tx_tail: usize,
    tx_head: usize,
    tx_free: usize,
    tx_context: Option<Context>,
    finished: Vec<Packet>,
}

impl<F: Family> IntelQueue<F> {
    /// Allocates; called at Start.
    pub fn new(port: Arc<Port>, index: usize, rings: &Rings, buffer_size: u32, vectors: u32) -> Option<Self> {
        let size = rings.size;
        Some(Self {
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
            tx_free: size - 1,
            tx_context: None,
            finished: Vec::with_capacity(size + BURST_MAX),
            port,
            index,
            mask: size - 1,
            rx_ring: OwnedDescriptors::new(&rings.rx, 0, size)?,
            tx_ring: OwnedDescriptors::new(&rings.tx, 0, size)?,
        })
    }

    fn awake(&mut self) -> bool {
        if !self.port.is_running() {
            return false;
        }
        let epoch = self.port.epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            (self.rx_tail, self.rx_head, self.rx_shown, self.rx_skipping) = (0, 0, 0, false);
            (self.tx_tail, self.tx_head, self.tx_free, self.tx_context) = (0, 0, self.mask, None);
        }
        true
    }

    #[inline]
    fn next(&self, index: usize) -> usize {
        (index + 1) & self.mask
    }

    fn tail(&self, base: u64, value: usize) {
        let at = base + F::QUEUE_STRIDE * self.index as u64 + queue::TAIL;
        // Release: descriptors before the tail (section 7.1.6).
        core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
        self.port.regs.write32(regs::BAR, at, value as u32);
        self.port.note_doorbell(self.index);
    }

    /// Fills the next receive descriptor; there is a free one.
    fn post(&mut self, mut packet: Packet) {
        let tail = self.rx_tail;
        packet.reset();
        desc::write_rx(&self.rx_ring.rows(), tail, packet.frame_iova().unwrap_or(0));
        let kept = self.rx_slots.put(tail as u16, 0, packet);
        debug_assert!(kept.is_ok(), "the descriptor was free");
        self.rx_tail = self.next(tail);
    }

    fn show_rx(&mut self) {
        if self.rx_shown != self.rx_tail {
            self.rx_shown = self.rx_tail;
            self.tail(F::RX_QUEUE, self.rx_tail);
        }
    }

    /// Counts what a finished descriptor's buffer holds instead of a frame.
    fn refuse(&mut self, done: desc::RxDone) {
        let end = done.status & rx::END != 0;
        let was_skipping = core::mem::replace(&mut self.rx_skipping, !end);
        if was_skipping || !end {
            // A frame in several buffers is longer than any that was asked for: counted once, at its end.
            self.refused.giant += u64::from(end);
        } else {
            self.refused.device += 1;
        }
        self.refused.bytes += u64::from(done.len);
    }

    fn receive(&mut self, out: &mut Burst, budget: usize) {
        let vouches =
            if self.port.offloads().contains(Offloads::RX_CSUM) { PacketFlags::all() } else { PacketFlags::empty() };
        let (size, mask, shown) = (self.buffer_size, self.mask, self.rx_shown);
        let mut left = budget.min(BURST_MAX.saturating_sub(out.len()));
        while left > 0 && self.rx_head != shown {
            let glance = self.port.filter.glance();
            let (ring, mut head) = (self.rx_ring.rows(), self.rx_head);
            let max = left.min(shown.wrapping_sub(head) & mask);
            let mut next = || {
                let done = desc::read_rx(&ring, head)?;
                let number = head as u32;
                head = (head + 1) & mask;
                Some((number, done))
            };
            let plain = |packet: &mut Packet, done: desc::RxDone| {
                let len = u32::from(done.len);
                if !done.is_good_end(F::RX_ERRORS) || len > size || !packet.fill(0, len) {
                    return false;
                }
                packet.set_flags(done.flags() & vouches);
                glance.takes(packet.frame())
            };
            // The rest of a frame that is dropped is looked at buffer by buffer.
            let (count, stop) = if self.rx_skipping {
                (0, next().map_or(Stop::End, |(number, done)| Stop::Odd(number, done)))
            } else {
                self.rx_slots.take_burst(out, max, false, next, plain)
            };
            self.rx_head = head;
            left -= count;
            let Stop::Odd(number, done) = stop else { break };
            left -= 1;
            if !self.discard(number, done) {
                break;
            }
        }
        self.show_rx();
    }

    /// The buffer holds no frame for the stack: it is posted again. False if the device broke a rule.
    #[cold]
    fn discard(&mut self, number: u32, done: desc::RxDone) -> bool {
        let Some((mut packet, _)) = self.rx_slots.take(number) else { return false };
        let len = u32::from(done.len);
        let fits = len <= self.buffer_size && packet.fill(0, len);
        if !fits {
            self.port.violation();
        } else if self.rx_skipping || !done.is_good_end(F::RX_ERRORS) {
            self.refuse(done);
        } else {
            hw::judge(&self.port, &packet, false, &mut self.refused);
        }
        self.post(packet);
        fits
    }

    fn finish(&mut self, mut packet: Packet, status: Status) {
        packet.set_status(status);
        self.finished.push(packet);
    }

    /// Describes plain frames from the front of the burst to the device, one descriptor each, at most `max`; the tail moves later.
    #[inline(always)]
    fn send_plain(&mut self, burst: &mut Burst, max: usize) -> usize {
        let ring = self.tx_ring.rows();
        let done = self.tx_slots.put_row(burst, max, self.tx_tail as u16, |packet, at| {
            let len = packet.len();
            let (Some(iova), true) = (packet.frame_iova(), desc::is_plain(packet) && len <= DATA_MAX) else {
                return false;
            };
            desc::write_tx(&ring, at.into(), iova, len as u32, &F::plain(len), true);
            true
        });
        self.tx_tail = (self.tx_tail + done) & self.mask;
        self.tx_free -= done;
        done
    }

    /// The frame whose last descriptor is `last` is the device's.
    fn keep(&mut self, last: usize, span: usize, packet: Packet) {
        self.tx_free -= span;
        let kept = self.tx_slots.put(last as u16, (span - 1) as u16, packet);
        debug_assert!(kept.is_ok(), "the descriptor was free");
    }

    /// Describes any frame, or finishes it.
    #[inline(never)]
    fn send(&mut self, mut packet: Packet, offloads: Offloads) {
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
            context.write(&self.tx_ring.rows(), self.tx_tail);
            self.tx_context = plan.context;
            self.tx_tail = self.next(self.tx_tail);
        }
        let mut at = 0;
        let mut last = self.tx_tail;
        loop {
            let piece = (len - at).min(DATA_MAX);
            let is_last = at + piece == len;
            desc::write_tx(&self.tx_ring.rows(), self.tx_tail, iova + at as u64, piece as u32, &plan, is_last);
            last = if is_last { self.tx_tail } else { last };
            self.tx_tail = self.next(self.tx_tail);
            at += piece;
            if is_last {
                break;
            }
        }
        self.keep(last, span, packet);
    }

    fn reap(&mut self, out: &mut Burst) -> usize {
        let before = out.len();
        while !out.is_full() {
            let ring = self.tx_ring.rows();
            let (head, tail, mask) = (self.tx_head, self.tx_tail, self.mask);
            let mut at = head;
            let next = || {
                let number = at;
                at = (number + 1) & mask;
                Some((number as u32, number))
            };
            let sent = |_: &mut Packet, number: usize| desc::is_sent(&ring, number);
            let room = BURST_MAX.saturating_sub(out.len()).min(tail.wrapping_sub(head) & mask);
            let (count, _) = self.tx_slots.take_burst(out, room, false, next, sent);
            self.tx_free += count;
            self.tx_head = (head + count) & mask;
            // Of several descriptors, perhaps.
            let last = self.tx_last();
            if out.is_full() || self.tx_head == tail || !desc::is_sent(&ring, last) {
                break;
            }
            let Some((packet, before)) = self.tx_slots.take(last as u32) else {
                self.port.violation();
                break;
            };
            self.tx_free += usize::from(before) + 1;
            self.tx_head = self.next(last);
            out.extend([packet]);
        }
        out.len() - before
    }

    /// The last descriptor of the frame at the head: where the first packet at or behind it is.
    fn tx_last(&self) -> usize {
        let mut last = self.tx_head;
        for _ in 0..FRAME_DESCRIPTORS {
            if self.tx_slots.note(last as u32).is_some() {
                break;
            }
            last = self.next(last);
        }
        last
    }

    fn rx_ready(&self) -> bool {
        self.rx_head != self.rx_shown && desc::read_rx(&self.rx_ring.rows(), self.rx_head).is_some()
    }

    fn tx_ready(&self) -> bool {
        self.tx_head != self.tx_tail && desc::is_sent(&self.tx_ring.rows(), self.tx_last())
    }
}

impl<F: Family> NicQueue for IntelQueue<F> {
    fn rx_post(&mut self, burst: &mut Burst) -> usize {
        if !self.awake() {
            return 0;
        }
        // A buffer that the device cannot reach, or that is smaller than what it writes, is not taken.
        let (size, space) = (self.buffer_size as usize, self.rx_space());
        let ring = self.rx_ring.rows();
        let count = self.rx_slots.put_row(burst, space, self.rx_tail as u16, |packet, at| {
            packet.reset();
            let (Some(iova), true) = (packet.frame_iova(), packet.room() >= size) else { return false };
            desc::write_rx(&ring, at.into(), iova);
            true
        });
        self.rx_tail = (self.rx_tail + count) & self.mask;
        self.show_rx();
        count
    }

    fn rx_space(&mut self) -> usize {
        // Head and tail are equal in an empty ring: one descriptor stays unused (section 7.1.8).
        if self.awake() { (self.mask).saturating_sub(self.rx_slots.len()) } else { 0 }
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
        let before = self.tx_tail;
        let space = self.tx_space();
        let plain = if link { self.send_plain(burst, space) } else { 0 };
        // A super-frame needs more descriptors than others: what does not fit waits.
        let mut free = self.tx_free;
        let fits = |packet: &&Packet| {
            let fits = free > FRAME_DESCRIPTORS;
            free = free.saturating_sub(packet.len() / DATA_MAX + 2);
            fits
        };
        let count = burst.iter().take(space - plain).take_while(fits).count();
        for packet in burst.drain(..count) {
            if link {
                self.send(packet, offloads);
            } else {
                self.finish(packet, Status::NoCarrier);
            }
        }
        if self.tx_tail != before {
            self.tail(F::TX_QUEUE, self.tx_tail);
        }
        self.port.note_tx(self.index, self.tx_slots.len(), 0);
        plain + count
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
