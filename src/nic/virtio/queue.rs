//! One queue pair of a virtio network card.
//!
//! Zero-copy: the header stands in front of the frame in the frame's own buffer, both ways, where there is room; a
//! transmit buffer without headroom gets its header from a slot of a shared region, and a chain of two.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::header::{self, LEAST, Received, Usual, WIDE_PLAIN};
use super::ring::{AnyRing, Memory, Part, Used, Violation, receive_part};
use super::spec::header::LEN;
use crate::mem::packet::BURST_MAX;
use crate::mem::region::Region;
use crate::mem::{Burst, Packet, Status};
use crate::nic::hw::{self, Port};
use crate::nic::{NicQueue, Offloads, QueueGauges, Reclaimed, Refused, Registers as _};

/// Bytes between two headers in their region.
const HEADER_STRIDE: usize = 16;
const HEADER_LEN: u32 = LEN as u32;
/// Bytes of a frame that has no flags.
const BARE_MAX: u64 = u32::MAX as u64 >> 1;

/// A doorbell that control finds when the device starts: BAR in the upper 16 bits, offset below.
#[derive(Default)]
pub(super) struct Bell(AtomicU64);

impl Bell {
    pub fn set(&self, bar: u32, offset: u64) {
        self.0.store(u64::from(bar) << 48 | offset & 0xffff_ffff_ffff, Ordering::Release);
    }

    /// Tells the device of the queue, which is the only one that counts it.
    pub fn ring(&self, port: &Port, queue: u16) {
        self.remind(port, queue);
        port.note_doorbell(usize::from(queue / 2));
    }

    /// Section 4.1.5.2: the queue's number, 16 bits, without NOTIFICATION_DATA.
    pub fn remind(&self, port: &Port, queue: u16) {
        let place = self.0.load(Ordering::Relaxed);
        port.regs.write16((place >> 48) as u32, place & 0xffff_ffff_ffff, queue);
    }
}

/// One virtqueue, as control and the queue share it.
pub(super) struct Virtqueue {
    pub memory: Memory,
    pub bell: Bell,
    /// Its number on the device.
    pub number: u16,
}

/// See the module; `R` is the layout of its rings.
pub(super) struct VirtioQueue<R> {
    port: Arc<Port>,
    index: usize,
    rx: Arc<Virtqueue>,
    tx: Arc<Virtqueue>,
    rx_ring: R,
    tx_ring: R,
    /// Transmit headers, for buffers without headroom.
    headers: Region,
    /// Frames that never got to the device.
    finished: Vec<Packet>,
    /// [`Port::state`] of the start that the rings are of.
    state: u64,
    /// What the device may do, from negotiation.
    negotiated: Offloads,
    merges: bool,
    armed: bool,
    refused: Refused,
}

/// What a queue is made from.
pub(super) struct Parts {
    pub port: Arc<Port>,
    pub index: usize,
    pub rx: Arc<Virtqueue>,
    pub tx: Arc<Virtqueue>,
    pub headers: Region,
    pub event_idx: bool,
    pub merges: bool,
    pub negotiated: Offloads,
}

/// Bytes of transmit headers for a ring.
pub(super) fn headers_len(size: u16) -> usize {
    HEADER_STRIDE * usize::from(size)
}

impl<R: AnyRing> VirtioQueue<R> {
    /// Allocates; called at Start.
    pub fn new(parts: Parts) -> Self {
        let Parts { port, index, rx, tx, headers, event_idx, merges, negotiated } = parts;
        let tx_size = usize::from(tx.memory.size);
        Self {
            rx_ring: R::new(&rx.memory, event_idx),
            tx_ring: R::new(&tx.memory, event_idx),
            finished: Vec::with_capacity(tx_size + BURST_MAX),
            state: u64::MAX,
            refused: Refused::default(),
            port,
            index,
            rx,
            tx,
            headers,
            negotiated,
            merges,
            armed: false,
        }
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
        self.rx_ring.reset(&self.rx.memory);
        self.tx_ring.reset(&self.tx.memory);
        true
    }

    /// A wake-up came, or somebody polls without one: no interrupt while the queue is served.
    fn disarm(&mut self) {
        if core::mem::take(&mut self.armed) {
            for (ring, virtqueue) in [(&mut self.rx_ring, &self.rx), (&mut self.tx_ring, &self.tx)] {
                ring.disarm(&virtqueue.memory);
            }
        }
    }

    /// Appends the rest of a frame that the device spread over several buffers to the first (section 5.1.6.4). False if it does
    /// not fit, or the device did not say what it promised.
    #[cold]
    fn merge(&mut self, memory: &Memory, whole: &mut Packet, buffers: u16) -> Result<bool, Violation> {
        let mut fits = true;
        for _ in 1..buffers {
            // All buffers of a frame are made used together.
            let used = self.rx_ring.pop(memory)?.ok_or(Violation)?;
            let mut part = self.rx_ring.take(used.id).ok_or(Violation)?;
            let valid = part.fill(0, used.len);
            let old = whole.len();
            if valid && fits && whole.set_len(old + part.len()) {
                if let Some(to) = whole.frame_mut().get_mut(old..) {
                    to.copy_from_slice(part.frame());
                }
                self.port.note_copy(self.index);
            } else {
                fits = false;
            }
            self.post(memory, part);
            if !valid {
                return Err(Violation);
            }
        }
        Ok(fits)
    }

    /// Gives an empty buffer to the device; publish comes later. There is room.
    fn post(&mut self, memory: &Memory, mut packet: Packet) {
        let part = receive_part(&mut packet).unwrap_or(Part { addr: 0, len: 0, write: true });
        if let Some(id) = self.rx_ring.add(memory, &part, None) {
            self.rx_ring.buffers_mut().keep(id, 1, packet);
        }
    }

    fn receive(&mut self, out: &mut Burst, budget: usize) -> Result<(), Violation> {
        let mut left = budget.min(BURST_MAX.saturating_sub(out.len()));
        let mut reposted = false;
        while left > 0 {
            let glance = self.port.filter.glance();
            let wanted = |packet: &mut Packet, len| take_plain(packet, len, |frame| glance.takes(frame));
            let (count, odd) = self.rx_ring.gather(&self.rx.memory, out, left, &Usual::of(&glance), wanted)?;
            left -= count;
            let Some(used) = odd else { break };
            left -= 1;
            reposted |= self.receive_special(used, out)?;
        }
        if reposted && self.rx_ring.publish(&self.rx.memory) {
            self.rx.bell.ring(&self.port, self.rx.number);
        }
        Ok(())
    }

    /// A frame in several buffers, one that the device says something of, or one that is refused: true if its buffer was posted
    /// again.
    #[inline(never)]
    fn receive_special(&mut self, used: Used, out: &mut Burst) -> Result<bool, Violation> {
        let virtqueue = self.rx.clone();
        let memory = &virtqueue.memory;
        // A buffer of a device that lies stays where it is until the reset.
        let place = self.rx_ring.buffers().get(used.id).ok_or(Violation)?;
        let header = Received::read(place.look_behind(used.len).ok_or(Violation)?.0);
        let mut packet = self.rx_ring.take(used.id).ok_or(Violation)?;
        if !packet.fill(HEADER_LEN, used.len) {
            return Err(Violation);
        }
        let judged = self.finish_receive(memory, &mut packet, header);
        if judged == Ok(true) {
            out.extend([packet]);
        } else {
            self.post(memory, packet);
        }
        judged.map(|wanted| !wanted)
    }

    /// Whether the frame is to be had.
    fn finish_receive(&mut self, memory: &Memory, packet: &mut Packet, received: Received) -> Result<bool, Violation> {
        if received.buffers > 1 {
            if !self.merges {
                return Err(Violation);
            }
            if !self.merge(memory, packet, received.buffers)? {
                self.refused.giant += 1;
                self.refused.bytes += packet.len() as u64;
                return Ok(false);
            }
        }
        if !received.is_plain() && !received.apply(packet, self.port.offloads(), self.negotiated) {
            self.refused.device += 1;
            self.refused.bytes += packet.len() as u64;
            return Ok(false);
        }
        Ok(hw::judge(&self.port, packet, received.is_super(), &mut self.refused))
    }

    /// Hands `count` frames from the front of the burst to the device whatever it takes, or finishes them; all of them without
    /// a link.
    #[inline(never)]
    fn send_rest(&mut self, burst: &mut Burst, count: usize) {
        let (link, offloads) = (self.port.link().up, self.port.offloads());
        let mut ready = 0;
        if link {
            ready = self.tx_ring.offer(&self.tx.memory, burst, count, |packet| transmit_part(packet, offloads));
        }
        if ready < count {
            let virtqueue = self.tx.clone();
            for packet in burst.drain(..count - ready) {
                if link {
                    self.send(&virtqueue.memory, packet, offloads);
                } else {
                    self.finish(packet, Status::NoCarrier);
                }
            }
        }
    }

    /// Hands one frame to the device, or finishes it.
    fn send(&mut self, memory: &Memory, mut packet: Packet, offloads: Offloads) {
        let header = match header::for_transmit(&mut packet, offloads) {
            Ok(header) => header,
            Err(status) => return self.finish(packet, status),
        };
        let Some(frame) = packet.frame_iova() else {
            return self.finish(packet, Status::BadDescriptor);
        };
        let len = packet.len() as u64;
        let mut parts = 1;
        let id = if let Some(room) = packet.front_mut::<LEN>() {
            *room = header;
            let whole = Part { addr: frame - LEN as u64, len: len + LEN as u64, write: false };
            self.tx_ring.add(memory, &whole, None)
        } else {
            parts = 2;
            self.send_with_slot(memory, frame, len, &header)
        };
        match id {
            Some(id) => self.tx_ring.buffers_mut().keep(id, parts, packet),
            None => self.finish(packet, Status::NoMemory),
        }
    }

    /// A chain of two whose header stands in the slot of its number: the number is known before the chain is shown.
    fn send_with_slot(&mut self, memory: &Memory, frame: u64, len: u64, header: &[u8; LEN]) -> Option<u16> {
        let id = self.tx_ring.chain_number()?;
        let at = HEADER_STRIDE * usize::from(id);
        if !self.headers.shared().write_bytes(at, header) {
            return None;
        }
        let first = Part { addr: self.headers.iova() + at as u64, len: LEN as u64, write: false };
        self.tx_ring.add(memory, &first, Some(&Part { addr: frame, len, write: false }))
    }

    fn finish(&mut self, mut packet: Packet, status: Status) {
        packet.set_status(status);
        self.finished.push(packet);
    }

    #[cold]
    fn take_finished(&mut self, out: &mut Burst) -> usize {
        let count = self.finished.len().min(BURST_MAX.saturating_sub(out.len()));
        out.extend(self.finished.drain(..count));
        count
    }

    fn reap(&mut self, out: &mut Burst) -> Result<usize, Violation> {
        let before = out.len();
        // A chain of two is taken by itself.
        while let (_, Some(used)) = self.tx_ring.gather_finished(&self.tx.memory, out)? {
            out.extend([self.tx_ring.take(used.id).ok_or(Violation)?]);
        }
        Ok(out.len() - before)
    }
}

/// A frame as it is with the header in front of it, in its own buffer. `None` if it needs more, or there is little room.
#[inline(always)]
fn plain_part(packet: &mut Packet) -> Option<Part> {
    let (frame, len) = (packet.frame_iova()?, packet.bare_len());
    if len > BARE_MAX {
        return None;
    }
    // One store; whatever was in front of the header is nobody's.
    *packet.front_mut()? = WIDE_PLAIN;
    Some(Part { addr: frame - LEN as u64, len: len + LEN as u64, write: false })
}

/// As [`plain_part`], with what the device is to finish.
#[inline(always)]
fn transmit_part(packet: &mut Packet, offloads: Offloads) -> Option<Part> {
    let frame = packet.frame_iova()?;
    packet.front_mut::<LEN>()?;
    let header = header::for_transmit(packet, offloads).ok()?;
    *packet.front_mut::<LEN>()? = header;
    Some(Part { addr: frame - LEN as u64, len: (packet.len() + LEN) as u64, write: false })
}

/// Takes a received frame that is in one buffer, of which nothing is said, and which is `wanted`.
#[inline(always)]
fn take_plain(packet: &mut Packet, len: u32, wanted: impl Fn(&[u8]) -> bool) -> bool {
    // What the device says it wrote is no more than it was given, and at least a header.
    len >= LEAST
        && packet.look_behind::<LEN>(len).is_some_and(|(header, frame)| Received::is_usual(header) && wanted(frame))
        && packet.fill(HEADER_LEN, len)
}

impl<R: AnyRing> NicQueue for VirtioQueue<R> {
    fn rx_post(&mut self, burst: &mut Burst) -> usize {
        if !self.awake() {
            return 0;
        }
        let count = self.rx_ring.offer_empty(&self.rx.memory, burst);
        if self.rx_ring.publish(&self.rx.memory) {
            self.rx.bell.ring(&self.port, self.rx.number);
        }
        count
    }

    fn rx_space(&mut self) -> usize {
        if self.awake() { self.rx_ring.free() } else { 0 }
    }

    fn rx_burst(&mut self, out: &mut Burst, budget: usize) -> usize {
        let before = out.len();
        self.disarm();
        if self.awake() && self.receive(out, budget).is_err() {
            self.port.violation();
        }
        self.port.note_rx(self.index, out.len() - before);
        out.len() - before
    }

    fn rx_pending(&mut self) -> bool {
        if !self.awake() {
            return false;
        }
        self.rx_ring.pending(&self.rx.memory) == Ok(true)
    }

    fn take_refused(&mut self) -> Refused {
        core::mem::take(&mut self.refused)
    }

    fn tx_space(&mut self) -> usize {
        // A frame may need two descriptors.
        let held = self.finished.len();
        if self.awake() { (self.tx_ring.free() / 2).saturating_sub(held) } else { 0 }
    }

    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.awake() {
            return 0;
        }
        let space = (self.tx_ring.free() / 2).saturating_sub(self.finished.len());
        let count = burst.len().min(space);
        let mut ready = 0;
        if self.port.link().up {
            ready = self.tx_ring.offer(&self.tx.memory, burst, count, plain_part);
        }
        if ready < count {
            self.send_rest(burst, count - ready);
        }
        if self.tx_ring.publish(&self.tx.memory) {
            self.tx.bell.ring(&self.port, self.tx.number);
        }
        self.port.note_tx(self.index, self.tx_ring.buffers().len(), 0);
        count
    }

    fn tx_reap(&mut self, out: &mut Burst) -> usize {
        let before = out.len();
        if !self.finished.is_empty() {
            self.take_finished(out);
        }
        if self.awake() {
            match self.reap(out) {
                Ok(done) => self.port.note_tx(self.index, self.tx_ring.buffers().len(), done),
                Err(Violation) => self.port.violation(),
            }
        }
        out.len() - before
    }

    fn arm(&mut self) -> bool {
        if !self.awake() {
            return false;
        }
        let received = self.rx_ring.arm(&self.rx.memory);
        let sent = if self.tx_ring.buffers().len() > 0 { self.tx_ring.arm(&self.tx.memory) } else { Ok(false) };
        match (received, sent) {
            (Ok(received), Ok(sent)) => {
                let work = received || sent || !self.finished.is_empty();
                self.armed = true;
                if work {
                    self.disarm();
                }
                work
            }
            _ => {
                self.port.violation();
                false
            }
        }
    }

    fn reclaim(&mut self, out: &mut Burst) -> Reclaimed {
        if self.port.is_enabled() {
            return Reclaimed::default();
        }
        let rx = self.rx_ring.buffers_mut().drain(out, Packet::reset);
        let mut reclaimed =
            Reclaimed { rx, tx: self.tx_ring.buffers_mut().drain(out, |packet| packet.set_status(Status::Disabled)) };
        reclaimed.tx += self.take_finished(out);
        reclaimed
    }

    fn gauges(&self) -> QueueGauges {
        QueueGauges {
            rx_posted: self.rx_ring.buffers().len(),
            tx_in_flight: self.tx_ring.buffers().len() + self.finished.len(),
        }
    }
}
