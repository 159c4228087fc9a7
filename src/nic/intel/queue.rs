//! One queue pair of an Intel controller.
//!
//! A descriptor belongs to the device from the moment the tail register passes it until it is reported done (82574
//! datasheet sections 7.1.8, 7.2.5). Descriptors are finished in order, and what the device writes names none: packets are
//! remembered in rows, from the first frame of several descriptors until nothing is being sent by descriptor.

use alloc::sync::Arc;
use alloc::vec::Vec;

use core::marker::PhantomData;

use super::desc::{self, Context, Descriptor, OwnedDescriptors, rx};
use super::family::Family;
use super::regs::{self, queue};
use crate::mem::packet::BURST_MAX;
use crate::mem::region::Region;
use crate::mem::row::{Lengths, Row};
use crate::mem::slots::Slots;
use crate::mem::{Burst, Packet, Status};
use crate::nic::hw::{self, Port};
use crate::nic::{NicQueue, Offloads, QueueGauges, Reclaimed, Refused, Registers as _};

/// Bytes of a frame's header (IEEE 802.3 clause 3); a shorter frame is none.
const ETHERNET: u32 = 14;
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
    /// [`Port::state`] of the start that the rings are of.
    state: u64,
    /// Goes on at the next descriptor to fill, and begins at the next to look at.
    rx: Row,
    rx_shown: usize,
    /// The rest of a frame that is being dropped follows.
    rx_skipping: bool,
    refused: Refused,
    /// Frames of one descriptor each, unless there are some in `tx_slots`.
    tx: Row,
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
            state: u64::MAX,
            rx: Row::new(size),
            rx_shown: 0,
            rx_skipping: false,
            refused: Refused::default(),
            tx: Row::new(size),
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

    /// Follows a start of the device; false while the queue rests.
    #[inline(always)]
    fn awake(&mut self) -> bool {
        let state = self.port.state();
        state == self.state || self.follow(state)
    }

    #[cold]
    fn follow(&mut self, state: u64) -> bool {
        if !Port::runs(state) {
            return false;
        }
        self.state = state;
        (self.rx_shown, self.rx_skipping) = (0, false);
        (self.tx_tail, self.tx_head, self.tx_free, self.tx_context) = (0, 0, self.mask, None);
        // All packets were reclaimed before.
        if !self.rx.start_at(0) || !self.tx.start_at(0) || !self.tx_slots.is_empty() {
            self.port.violation();
            return false;
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
        packet.reset();
        desc::write_rx(self.rx_ring.rows().at(self.rx.tail()), packet.frame_iova().unwrap_or(0));
        let kept = self.rx.push(packet);
        debug_assert!(kept.is_ok(), "the descriptor was free");
    }

    /// Fills descriptors with buffers from the front of the burst, at most `max`, until one that the device cannot reach, or that is
    /// smaller than what it writes. How many.
    #[inline(always)]
    fn post_burst(&mut self, burst: &mut Burst, max: usize) -> usize {
        let each = |iova, _, _: usize, at: Descriptor<'_>| desc::write_rx(at, iova);
        let (done, more) = self.rx.put_empty(burst, max, &self.rx_ring.rows(), 0, self.buffer_size, each);
        if more { done + self.post_more(burst, max - done) } else { done }
    }

    /// The rest of [`IntelQueue::post_burst`].
    #[inline(never)]
    fn post_more(&mut self, burst: &mut Burst, max: usize) -> usize {
        self.post_burst(burst, max)
    }

    fn show_rx(&mut self) {
        let tail = self.rx.tail();
        if self.rx_shown != tail {
            self.rx_shown = tail;
            self.tail(F::RX_QUEUE, tail);
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
        let vouches = self.port.offloads().contains(Offloads::RX_CSUM);
        let mut left = budget.min(BURST_MAX.saturating_sub(out.len()));
        if !self.rx_skipping {
            let max = left.min(self.rx_shown.wrapping_sub(self.rx.head()) & self.mask);
            let count = self.receive_usual(out, max, vouches);
            if count == max {
                return;
            }
            left -= count;
        }
        while left > 0 && self.rx_ready() {
            left -= self.receive_rest(out, left, vouches);
        }
        self.show_rx();
    }

    /// Takes frames as most are, of one buffer and for this station alone, until one that is none. How many.
    #[inline(always)]
    fn receive_usual(&mut self, out: &mut Burst, max: usize, vouches: bool) -> usize {
        let (glance, flags) = (self.port.filter.glance(), desc::usual_flags(vouches));
        let lengths = Lengths { least: ETHERNET, most: glance.longest().min(self.buffer_size), skip: 0 };
        let written = |_: usize, at: Descriptor<'_>| desc::read_usual(at, F::RX_ERRORS, ETHERNET);
        let wanted = |front: &_, status| glance.is_own(front).then(|| Some(flags.of(status)));
        let (done, more) = self.rx.take_filled(out, max, &self.rx_ring.rows(), lengths, written, wanted);
        if more { done + self.receive_more(out, max - done, vouches) } else { done }
    }

    /// Behind the ring's end its first place follows.
    #[inline(never)]
    fn receive_more(&mut self, out: &mut Burst, max: usize, vouches: bool) -> usize {
        self.receive_usual(out, max, vouches)
    }

    /// What is left where the first look ended: how many descriptors were looked at, at least one.
    #[inline(never)]
    fn receive_rest(&mut self, out: &mut Burst, left: usize, vouches: bool) -> usize {
        let max = left.min(self.rx_shown.wrapping_sub(self.rx.head()) & self.mask);
        let ring = self.rx_ring.rows();
        // What the device had finished when it was looked at: it may finish more at any moment.
        let (mut count, mut odd) = (0, None);
        if self.rx_skipping {
            // The rest of a frame that is dropped is looked at buffer by buffer.
            odd = Some(desc::read_rx(ring.at(self.rx.head())));
        } else {
            let (size, glance) = (self.buffer_size, self.port.filter.glance());
            count = self.rx.take_burst(out, max, &ring, |packet, _, at| {
                let done = desc::read_rx(at);
                let good =
                    done.is_good_end(F::RX_ERRORS) && take_good(packet, done.len, size, |frame| glance.takes(frame));
                if good && vouches {
                    packet.set_flags(done.flags());
                }
                odd = Some(done).filter(|_| !good);
                good
            });
        }
        if odd.is_some_and(|done| done.is_there() && !self.discard(done)) {
            return left;
        }
        left.min(count + 1)
    }

    /// The first buffer holds no frame for the stack: it is posted again. False if the device broke a rule.
    #[cold]
    fn discard(&mut self, done: desc::RxDone) -> bool {
        let Some(mut packet) = self.rx.pop() else { return false };
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
        let each = |packet: &mut Packet, at: Descriptor<'_>| {
            // No flags above it.
            let len = packet.bare_len();
            let (Some(iova), true) = (packet.frame_iova(), len <= DATA_MAX as u64) else { return false };
            desc::write_tx(at, iova, len as u32, &F::plain(len as usize), true);
            true
        };
        let done = if self.tx_slots.is_empty() {
            self.tx.put_burst(burst, max, &ring, |packet, _, at| each(packet, at))
        } else {
            put_among(&mut self.tx_slots, burst, max, self.tx_tail, |packet, at| each(packet, ring.at(at)))
        };
        self.tx_tail = (self.tx_tail + done) & self.mask;
        self.tx_free -= done;
        done
    }

    /// The frame whose last descriptor is `last` is the device's.
    fn keep(&mut self, last: usize, span: usize, packet: Packet) {
        self.tx_free -= span;
        if span == 1 && self.tx_slots.is_empty() {
            let kept = self.tx.push(packet);
            debug_assert_eq!(kept.ok(), Some(last), "the row goes on there");
            return;
        }
        loop {
            let at = self.tx.head();
            let Some(single) = self.tx.pop() else { break };
            let kept = self.tx_slots.put(at as u16, 0, single);
            debug_assert!(kept.is_ok(), "nothing else was being sent");
        }
        let kept = self.tx_slots.put(last as u16, (span - 1) as u16, packet);
        debug_assert!(kept.is_ok(), "the descriptor was free");
    }

    /// Describes frames from the front of the burst whatever they ask for, or finishes them, at most `max`; all of them without a
    /// link. How many.
    #[inline(never)]
    fn send_rest(&mut self, burst: &mut Burst, max: usize) -> usize {
        let (link, offloads) = (self.port.link().up, self.port.offloads());
        // A super-frame needs more descriptors than others: what does not fit waits.
        let mut free = self.tx_free;
        let fits = |packet: &&Packet| {
            let fits = free > FRAME_DESCRIPTORS;
            free = free.saturating_sub(packet.len() / DATA_MAX + 2);
            fits
        };
        let count = burst.iter().take(max).take_while(fits).count();
        for packet in burst.drain(..count) {
            if link {
                self.send(packet, offloads);
            } else {
                self.finish(packet, Status::NoCarrier);
            }
        }
        count
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
            context.write(self.tx_ring.rows().at(self.tx_tail));
            self.tx_context = plan.context;
            self.tx_tail = self.next(self.tx_tail);
        }
        let mut at = 0;
        let mut last = self.tx_tail;
        loop {
            let piece = (len - at).min(DATA_MAX);
            let is_last = at + piece == len;
            desc::write_tx(self.tx_ring.rows().at(self.tx_tail), iova + at as u64, piece as u32, &plan, is_last);
            last = if is_last { self.tx_tail } else { last };
            self.tx_tail = self.next(self.tx_tail);
            at += piece;
            if is_last {
                break;
            }
        }
        self.keep(last, span, packet);
    }

    #[cold]
    fn take_finished(&mut self, out: &mut Burst) -> usize {
        let count = self.finished.len().min(BURST_MAX.saturating_sub(out.len()));
        out.extend(self.finished.drain(..count));
        count
    }

    fn reap(&mut self, out: &mut Burst) -> usize {
        if !self.tx_slots.is_empty() {
            return self.reap_any(out);
        }
        let ring = self.tx_ring.rows();
        let done = self.tx.take_burst(out, BURST_MAX, &ring, |_, _, at| desc::is_sent(at));
        self.tx_free += done;
        self.tx_head = self.tx.head();
        done
    }

    /// Some frames have several descriptors.
    #[inline(never)]
    fn reap_any(&mut self, out: &mut Burst) -> usize {
        let before = out.len();
        while !out.is_full() && self.tx_head != self.tx_tail {
            let last = self.tx_last();
            if !desc::is_sent(self.tx_ring.rows().at(last)) {
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
        if self.tx_slots.is_empty() {
            self.tx.start_at(self.tx_tail);
        }
        out.len() - before
    }

    /// The last descriptor of the frame at the head: where the first packet at or behind it is.
    fn tx_last(&self) -> usize {
        let mut last = self.tx_head;
        if self.tx_slots.is_empty() {
            return last;
        }
        for _ in 0..FRAME_DESCRIPTORS {
            if self.tx_slots.note(last as u32).is_some() {
                break;
            }
            last = self.next(last);
        }
        last
    }

    /// Frames that may be sent now.
    fn tx_room(&self) -> usize {
        // Ordinary frames need two descriptors at most. A super-frame that finds fewer than it needs waits here.
        (self.tx_free.saturating_sub(FRAME_DESCRIPTORS) / 2).saturating_sub(self.finished.len())
    }

    fn rx_ready(&self) -> bool {
        let head = self.rx.head();
        head != self.rx_shown && desc::read_rx(self.rx_ring.rows().at(head)).is_there()
    }

    fn tx_ready(&self) -> bool {
        self.tx_head != self.tx_tail && desc::is_sent(self.tx_ring.rows().at(self.tx_last()))
    }
}

/// Takes a frame of that many bytes, no more than the device may write into a buffer, which is `wanted`.
#[inline(always)]
fn take_good(packet: &mut Packet, len: u16, size: u32, wanted: impl Fn(&[u8]) -> bool) -> bool {
    let len = u32::from(len);
    len <= size && packet.look(len).is_some_and(wanted) && packet.fill(0, len)
}

/// As [`IntelQueue::send_plain`], among frames of several descriptors.
#[inline(never)]
fn put_among(
    slots: &mut Slots,
    burst: &mut Burst,
    max: usize,
    tail: usize,
    mut each: impl FnMut(&mut Packet, usize) -> bool,
) -> usize {
    slots.put_row(burst, max, tail as u16, |packet, at| each(packet, at.into()))
}

impl<F: Family> NicQueue for IntelQueue<F> {
    fn rx_post(&mut self, burst: &mut Burst) -> usize {
        if !self.awake() {
            return 0;
        }
        // Head and tail are equal in an empty ring: one descriptor stays unused (section 7.1.8).
        let count = self.post_burst(burst, self.mask.saturating_sub(self.rx.len()));
        self.show_rx();
        count
    }

    fn rx_space(&mut self) -> usize {
        if self.awake() { self.mask.saturating_sub(self.rx.len()) } else { 0 }
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
        if self.awake() { self.tx_room() } else { 0 }
    }

    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.awake() {
            return 0;
        }
        let (before, space) = (self.tx_tail, self.tx_room());
        let mut count = if self.port.link().up { self.send_plain(burst, space) } else { 0 };
        if !burst.is_empty() {
            count += self.send_rest(burst, space - count);
        }
        if self.tx_tail != before {
            self.tail(F::TX_QUEUE, self.tx_tail);
        }
        self.port.note_tx(self.index, self.tx.len() + self.tx_slots.len(), 0);
        count
    }

    fn tx_reap(&mut self, out: &mut Burst) -> usize {
        let before = out.len();
        if !self.finished.is_empty() {
            self.take_finished(out);
        }
        if self.awake() {
            let done = self.reap(out);
            self.port.note_tx(self.index, self.tx.len() + self.tx_slots.len(), done);
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
        let disabled = |packet: &mut Packet| packet.set_status(Status::Disabled);
        let rx = self.rx.drain(out, Packet::reset);
        let mut reclaimed = Reclaimed { rx, tx: self.tx.drain(out, disabled) + self.tx_slots.drain(out, disabled) };
        reclaimed.tx += self.take_finished(out);
        reclaimed
    }

    fn gauges(&self) -> QueueGauges {
        QueueGauges {
            rx_posted: self.rx.len(),
            tx_in_flight: self.tx.len() + self.tx_slots.len() + self.finished.len(),
        }
    }
}
