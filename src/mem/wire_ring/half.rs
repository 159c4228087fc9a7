//! The two ends of one ring. Both sides of the wire use the same code, and neither trusts the other.

use core::sync::atomic::{Ordering, fence};

use super::{CONTROL_LEN, DESCRIPTOR_LEN, FRAME_FLAGS, FrameMeta, Geometry};
use crate::mem::packet::{Packet, PacketFlags, PartialCsum};
use crate::mem::region::Shared;

const TAIL: usize = 0;
const HEAD: usize = 128;
const CONSUMER_WAITS: usize = 256;
const PRODUCER_WAITS: usize = 384;

/// Why a frame of the other side was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFault {
    /// Indices that cannot be: the ring is dead until the next attach.
    Index,
    /// A length of 0 or past the slot, or checksum metadata outside the frame. The slot was skipped.
    Descriptor,
    /// The frame is longer than the buffer. The slot was skipped.
    TooLong,
}

#[derive(Clone, Copy)]
struct Ring<'a> {
    mem: Shared<'a>,
    slots: u32,
    slot_size: u32,
    slots_at: usize,
}

impl<'a> Ring<'a> {
    fn new(all: Shared<'a>, geometry: &Geometry, queue: u32, from_client: bool) -> Option<Self> {
        let mem = all.part(geometry.ring_offset(queue, from_client), geometry.ring_len())?;
        let slots_at = geometry.slots_offset();
        Some(Self { mem, slots: geometry.slots, slot_size: geometry.slot_size, slots_at })
    }

    fn slot(&self, index: u32) -> usize {
        self.slots_at + (index & (self.slots - 1)) as usize * self.slot_size as usize
    }

    fn descriptor(&self, index: u32) -> usize {
        CONTROL_LEN + (index & (self.slots - 1)) as usize * DESCRIPTOR_LEN
    }

    fn load(&self, at: usize) -> u32 {
        // Acquire: what the other side wrote before it moved the index is visible.
        self.mem.load_u32(at, Ordering::Acquire).unwrap_or(0)
    }

    fn publish(&self, at: usize, index: u32) {
        // Release: the slots' accesses come before the other side can see the index.
        self.mem.store_u32(at, index, Ordering::Release);
    }

    fn wait(&self, at: usize) {
        self.mem.store_u32(at, 1, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `wanted`, as in `mem::doorbell`.
        fence(Ordering::SeqCst);
    }

    fn wanted(&self, at: usize) -> bool {
        // SeqCst: the index published before comes before the load.
        fence(Ordering::SeqCst);
        self.mem.load_u32(at, Ordering::Relaxed) == Some(1) && self.mem.swap_u32(at, 0, Ordering::Relaxed) == Some(1)
    }
}

/// The filling end of a ring.
pub struct Sender<'a> {
    ring: Ring<'a>,
    tail: u32,
    published: u32,
    head_seen: u32,
    dead: bool,
}

impl<'a> Sender<'a> {
    pub(super) fn new(all: Shared<'a>, geometry: &Geometry, queue: u32, from_client: bool) -> Option<Self> {
        let ring = Ring::new(all, geometry, queue, from_client)?;
        Some(Self { ring, tail: 0, published: 0, head_seen: 0, dead: false })
    }

    /// Continues where the shared index stands (a client that attaches to a ring that was used before).
    pub(super) fn resume(mut self) -> Self {
        self.tail = self.ring.load(TAIL);
        self.published = self.tail;
        self.head_seen = self.ring.load(HEAD);
        self
    }

    /// Longest frame, in bytes.
    #[must_use]
    pub fn frame_max(&self) -> usize {
        self.ring.slot_size as usize
    }

    /// Free slots; 0 also when the other side wrecked the ring ([`Sender::is_dead`]).
    pub fn space(&mut self) -> usize {
        if self.dead {
            return 0;
        }
        let head = self.ring.load(HEAD);
        // The head moves from what was seen towards the tail, never back and never past it.
        if head.wrapping_sub(self.head_seen) > self.tail.wrapping_sub(self.head_seen) {
            self.dead = true;
            return 0;
        }
        self.head_seen = head;
        (self.ring.slots - self.tail.wrapping_sub(head)) as usize
    }

    /// True after the other side wrote an index that cannot be.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Copies a frame into the next slot. Nobody sees it before [`Sender::flush`]. False, and nothing done, when
    /// the ring is full or the frame does not fit or is empty.
    #[must_use]
    pub fn send(&mut self, frame: &[u8], meta: &FrameMeta) -> bool {
        let len = frame.len();
        let seen = self.ring.slots - self.tail.wrapping_sub(self.head_seen);
        if len == 0 || len > self.frame_max() || self.dead || (seen == 0 && self.space() == 0) {
            return false;
        }
        if !self.ring.mem.write_bytes(self.ring.slot(self.tail), frame) {
            return false;
        }
        let mut flags = PacketFlags::empty();
        if meta.csum.is_some() {
            flags |= PacketFlags::TX_CSUM_PARTIAL;
        }
        if meta.mss != 0 {
            flags |= if meta.v6 { PacketFlags::TX_TSO6 } else { PacketFlags::TX_TSO4 };
        }
        let csum = meta.csum.unwrap_or(PartialCsum { start: 0, stuff: 0 });
        let words = [
            len as u64 | u64::from(flags.bits()) << 32,
            u64::from(csum.start) | u64::from(csum.stuff) << 16 | u64::from(meta.mss) << 32,
            meta.timestamp_ns,
            0,
        ];
        let at = self.ring.descriptor(self.tail);
        for (i, word) in words.iter().enumerate() {
            self.ring.mem.store_u64(at + i * 8, word.to_le(), Ordering::Relaxed);
        }
        self.tail = self.tail.wrapping_add(1);
        true
    }

    /// Shows the other side what was sent. True: it sleeps and is to be woken.
    #[must_use]
    pub fn flush(&mut self) -> bool {
        if self.published == self.tail {
            return false;
        }
        self.published = self.tail;
        self.ring.publish(TAIL, self.tail);
        self.ring.wanted(CONSUMER_WAITS)
    }

    /// Asks to be woken when slots become free, and looks once more: true means there is room now, do not sleep.
    #[must_use]
    pub fn wait(&mut self) -> bool {
        self.ring.wait(PRODUCER_WAITS);
        self.space() > 0
    }

    /// Frames that the other side has not taken yet.
    pub fn queued(&mut self) -> usize {
        if self.dead { 0 } else { self.ring.slots as usize - self.space() }
    }
}

/// The emptying end of a ring.
pub struct Receiver<'a> {
    ring: Ring<'a>,
    head: u32,
    published: u32,
    tail_seen: u32,
    dead: bool,
    /// The descriptor at `head`, once it was read: it is read once.
    peeked: Option<Result<(usize, FrameMeta), WireFault>>,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(all: Shared<'a>, geometry: &Geometry, queue: u32, from_client: bool) -> Option<Self> {
        let ring = Ring::new(all, geometry, queue, from_client)?;
        Some(Self { ring, head: 0, published: 0, tail_seen: 0, dead: false, peeked: None })
    }

    /// Continues where the shared index stands.
    pub(super) fn resume(mut self) -> Self {
        self.head = self.ring.load(HEAD);
        self.published = self.head;
        self.tail_seen = self.head;
        self
    }

    /// Frames that wait; 0 also when the other side wrecked the ring ([`Receiver::is_dead`]).
    pub fn available(&mut self) -> usize {
        if self.dead {
            return 0;
        }
        let tail = self.ring.load(TAIL);
        let available = tail.wrapping_sub(self.head);
        // The tail never moves back, and the producer never has more than all slots outstanding. Slots that were
        // taken but not released are not the producer's yet.
        let outstanding = tail.wrapping_sub(self.published);
        if outstanding > self.ring.slots || available < self.tail_seen.wrapping_sub(self.head) {
            self.dead = true;
            return 0;
        }
        self.tail_seen = tail;
        available as usize
    }

    /// True after the other side wrote an index that cannot be.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Length and metadata of the next frame. `None`: nothing waits. The descriptor is read once, however often this
    /// is called before the frame is received.
    ///
    /// # Errors
    /// Why it will not be received.
    pub fn peek(&mut self) -> Option<Result<(usize, FrameMeta), WireFault>> {
        if self.peeked.is_none() {
            if self.tail_seen == self.head && self.available() == 0 {
                return self.dead.then_some(Err(WireFault::Index));
            }
            self.peeked = Some(self.read_descriptor());
        }
        self.peeked
    }

    fn read_descriptor(&self) -> Result<(usize, FrameMeta), WireFault> {
        let at = self.ring.descriptor(self.head);
        let word = |i: usize| {
            let word = self.ring.mem.load_u64(at + i * 8, Ordering::Relaxed);
            u64::from_le(word.unwrap_or(0))
        };
        let (w0, w1, timestamp_ns) = (word(0), word(1), word(2));
        let len = w0 as u32;
        let flags = PacketFlags::from_bits_truncate((w0 >> 32) as u32) & FRAME_FLAGS;
        if len == 0 || len > self.ring.slot_size {
            return Err(WireFault::Descriptor);
        }
        let mut meta = FrameMeta { timestamp_ns, ..FrameMeta::default() };
        if flags.contains(PacketFlags::TX_CSUM_PARTIAL) {
            let csum = PartialCsum { start: w1 as u16, stuff: (w1 >> 16) as u16 };
            if csum.start > csum.stuff || u32::from(csum.stuff) + 2 > len {
                return Err(WireFault::Descriptor);
            }
            meta.csum = Some(csum);
        }
        if flags.intersects(PacketFlags::TX_TSO) {
            meta.mss = (w1 >> 32) as u16;
            meta.v6 = flags.contains(PacketFlags::TX_TSO6);
            if meta.mss == 0 || flags.contains(PacketFlags::TX_TSO) {
                return Err(WireFault::Descriptor);
            }
        }
        Ok((len as usize, meta))
    }

    /// Takes the next frame off the ring: its slot's place, length and metadata.
    fn take(&mut self) -> Option<Result<(usize, usize, FrameMeta), WireFault>> {
        let next = self.peek()?;
        if next == Err(WireFault::Index) {
            return Some(Err(WireFault::Index));
        }
        self.peeked = None;
        let at = self.ring.slot(self.head);
        self.head = self.head.wrapping_add(1);
        Some(next.map(|(len, meta)| (at, len, meta)))
    }

    /// Copies the next frame into `packet` behind its headroom. `None`: nothing waits. The slot is free for the
    /// other side after [`Receiver::release`].
    ///
    /// # Errors
    /// Why the frame was not taken; `packet` is empty then.
    pub fn recv_packet(&mut self, packet: &mut Packet) -> Option<Result<FrameMeta, WireFault>> {
        packet.reset();
        let (at, len, meta) = match self.take()? {
            Ok(next) => next,
            Err(fault) => return Some(Err(fault)),
        };
        if !packet.set_len(len) {
            return Some(Err(WireFault::TooLong));
        }
        if !self.ring.mem.read_bytes(at, packet.frame_mut()) {
            packet.reset();
            return Some(Err(WireFault::Descriptor));
        }
        Some(Ok(meta))
    }

    /// Copies the next frame into `out` and returns its length and metadata. `None`: nothing waits.
    ///
    /// # Errors
    /// Why the frame was not taken.
    pub fn recv(&mut self, out: &mut [u8]) -> Option<Result<(usize, FrameMeta), WireFault>> {
        let (at, len, meta) = match self.take()? {
            Ok(next) => next,
            Err(fault) => return Some(Err(fault)),
        };
        let Some(out) = out.get_mut(..len) else {
            return Some(Err(WireFault::TooLong));
        };
        if !self.ring.mem.read_bytes(at, out) {
            return Some(Err(WireFault::Descriptor));
        }
        Some(Ok((len, meta)))
    }

    /// Gives the slots of what was received back. True: the other side waits for room and is to be woken.
    #[must_use]
    pub fn release(&mut self) -> bool {
        if self.published == self.head {
            return false;
        }
        self.published = self.head;
        self.ring.publish(HEAD, self.head);
        self.ring.wanted(PRODUCER_WAITS)
    }

    /// Asks to be woken when frames come, and looks once more: true means there are some now, do not sleep.
    #[must_use]
    pub fn wait(&mut self) -> bool {
        self.ring.wait(CONSUMER_WAITS);
        self.available() > 0
    }
}
