//! A virtqueue of either layout, with its memory.

use alloc::sync::Arc;

use super::header::Usual;
use super::packed::Packed;
use super::spec::header::LEN;
use super::split::Split;
use crate::mem::region::{Dma, Region};
use crate::mem::row::Row;
use crate::mem::rows::{Entry, OwnedRows, Rows};
use crate::mem::slots::Slots;
use crate::mem::{Burst, Packet};

/// A piece of a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub addr: u64,
    /// At most 32 bits.
    pub len: u64,
    /// The device writes it.
    pub write: bool,
}

/// Makes a buffer empty and what the device may write of it: the header stands in the headroom, where it stood last time, so that
/// a frame dropped here does not push the next one further back. `None` for memory that the device cannot reach.
#[inline(always)]
pub(super) fn receive_part(packet: &mut Packet) -> Option<Part> {
    packet.empty(LEN as u32);
    Some(Part { addr: packet.frame_iova()?, len: packet.space().into(), write: true })
}

/// A finished buffer, as the device says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub id: u16,
    /// Bytes that it wrote.
    pub len: u32,
}

/// The device broke the rules of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation;

/// Where the areas of a virtqueue are in its memory (section 2.6: descriptor, driver and device area).
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub driver: usize,
    pub device: usize,
    /// `used_event` and `avail_event` (sections 2.7.6, 2.7.8).
    pub driver_event: usize,
    pub device_event: usize,
    pub len: usize,
}

/// A virtqueue's areas, as they are looked at for a burst.
pub(super) struct Areas<'a> {
    pub descriptors: Rows<'a, 16, 8>,
    /// Entries of the available ring and elements of the used ring; a packed ring has neither.
    pub avail: Rows<'a, 2, 2>,
    pub used: Rows<'a, 8, 8>,
    /// What the driver's and the device's area begin with: flags and index of a split ring (sections 2.7.6, 2.7.8), the event
    /// suppression of a packed one (section 2.8.14).
    pub driver: Entry<'a, 4, 2>,
    pub device: Entry<'a, 4, 2>,
    pub driver_event: Entry<'a, 2, 2>,
    pub device_event: Entry<'a, 2, 2>,
}

/// A virtqueue's memory, which control sets up and a queue works on.
pub(super) struct Memory {
    region: Arc<Region>,
    descriptors: OwnedRows<16, 8>,
    avail: OwnedRows<2, 2>,
    used: OwnedRows<8, 8>,
    driver: OwnedRows<4, 2>,
    device: OwnedRows<4, 2>,
    driver_event: OwnedRows<2, 2>,
    device_event: OwnedRows<2, 2>,
    pub layout: Layout,
    pub size: u16,
    pub packed: bool,
}

impl Memory {
    /// Allocates; called at Start.
    pub fn new(dma: &Arc<dyn Dma>, size: u16, packed: bool) -> Option<Self> {
        let layout = if packed { Packed::layout(size) } else { Split::layout(size) };
        let region = Arc::new(Region::alloc(dma.clone(), layout.len, 4096)?);
        // Both rings begin with flags and an index (sections 2.7.6, 2.7.8).
        let (avail, used) = if packed { (0, 0) } else { (layout.driver + 4, layout.device + 4) };
        Some(Self {
            descriptors: OwnedRows::new(&region, 0, size.into())?,
            avail: OwnedRows::new(&region, avail, size.into())?,
            used: OwnedRows::new(&region, used, size.into())?,
            driver: OwnedRows::new(&region, layout.driver, 1)?,
            device: OwnedRows::new(&region, layout.device, 1)?,
            driver_event: OwnedRows::new(&region, layout.driver_event, 1)?,
            device_event: OwnedRows::new(&region, layout.device_event, 1)?,
            region,
            layout,
            size,
            packed,
        })
    }

    pub fn iova(&self) -> u64 {
        self.region.iova()
    }

    #[inline(always)]
    pub fn areas(&self) -> Areas<'_> {
        Areas {
            descriptors: self.descriptors.rows(),
            avail: self.avail.rows(),
            used: self.used.rows(),
            driver: self.driver.rows().at(0),
            device: self.device.rows().at(0),
            driver_event: self.driver_event.rows().at(0),
            device_event: self.device_event.rows().at(0),
        }
    }

    /// Section 2.7.1, 2.8.10.1: rings start zeroed. The device stands still.
    pub fn clear(&self) {
        let mem = self.region.shared();
        for at in (0..self.layout.len / 8 * 8).step_by(8) {
            mem.store_u64(at, 0, core::sync::atomic::Ordering::Relaxed);
        }
        for at in self.layout.len / 8 * 8..self.layout.len {
            mem.store_u8(at, 0, core::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// What both layouts can do.
pub(super) trait AnyRing: Send + Sized {
    /// Allocates; called at Start.
    fn new(memory: &Memory, event_idx: bool) -> Self;
    /// The device was reset, and the memory cleared.
    fn reset(&mut self, memory: &Memory);
    /// The packets that the device has.
    fn buffers(&self) -> &Buffers;
    fn buffers_mut(&mut self) -> &mut Buffers;
    /// Takes the packet of a buffer that [`AnyRing::gather`] or [`AnyRing::pop`] just gave, if the device had it; number and
    /// descriptors may be used again.
    fn take(&mut self, id: u16) -> Option<Packet>;
    /// Free descriptors.
    fn free(&self) -> usize;
    /// The number that a buffer of two parts gets next.
    fn chain_number(&mut self) -> Option<u16>;
    /// Makes empty buffers from the front of `burst` available to be written, with room for a header in front of the frame: as
    /// many as there is room for and the device can reach. How many.
    fn offer_empty(&mut self, memory: &Memory, burst: &mut Burst) -> usize;
    /// Makes packets from the front of `burst` available, each a buffer of the one part that `part` makes of it, until that is
    /// none; at most `max`, and as many as there is room for. How many.
    fn offer(
        &mut self,
        memory: &Memory,
        burst: &mut Burst,
        max: usize,
        part: impl FnMut(&mut Packet) -> Option<Part>,
    ) -> usize;
    /// Moves finished packets to the end of `out`, at most `max`, if `wanted` says so, which is told of each how many bytes the
    /// device wrote, and changes those that it wants alone. What is `usual` it wants, too: that is looked for first. How many,
    /// and the first one that is not `wanted` or has two parts: that was taken out of the ring, and is in its place until
    /// [`AnyRing::take`].
    fn gather(
        &mut self,
        memory: &Memory,
        out: &mut Burst,
        max: usize,
        usual: &Usual,
        wanted: impl FnMut(&mut Packet, u32) -> bool,
    ) -> Result<(usize, Option<Used>), Violation>;
    /// As [`AnyRing::gather`] of all that is finished.
    fn gather_finished(&mut self, memory: &Memory, out: &mut Burst) -> Result<(usize, Option<Used>), Violation>;
    /// Makes a buffer of one or two parts available; its number. `None` without room.
    fn add(&mut self, memory: &Memory, first: &Part, then: Option<&Part>) -> Option<u16>;
    /// Shows the device what was added; true if it wants to be notified.
    fn publish(&mut self, memory: &Memory) -> bool;
    /// Whether the device has finished a buffer that [`AnyRing::pop`] has not given yet.
    fn pending(&self, memory: &Memory) -> Result<bool, Violation>;
    /// The next finished buffer, if there is one.
    fn pop(&mut self, memory: &Memory) -> Result<Option<Used>, Violation>;
    /// The number of a buffer that has no packet, and its descriptors, may be used again.
    fn recycle(&mut self, id: u16);
    /// Asks for an interrupt at the next finished buffer. True: there is one already.
    fn arm(&mut self, memory: &Memory) -> Result<bool, Violation>;
    /// Asks for none.
    fn disarm(&mut self, memory: &Memory);
}

/// The packets of a ring's buffers, by number.
///
/// As long as the device finishes buffers in the order in which it got them, and all have one part, a buffer's number is its
/// place in the ring. From the first that is otherwise on, until the next reset, numbers are any that are free.
pub(super) struct Buffers {
    /// All packets are in `row`; else in `slots`.
    pub ordered: bool,
    pub row: Row,
    pub slots: Slots,
    /// Buffers that the device has and that have no packet: a command of the control queue.
    pub bare: usize,
}

impl Buffers {
    /// Allocates; called at Start.
    pub fn new(size: u16) -> Self {
        Self { ordered: true, row: Row::new(size.into()), slots: Slots::new(size.into()), bare: 0 }
    }

    /// The ring begins anew.
    pub fn restart(&mut self) {
        self.bare = 0;
        self.slots.restart();
        self.ordered = self.slots.is_empty() && self.row.start_at(0);
        if !self.ordered {
            self.leave_order();
        }
    }

    /// From here on numbers are any.
    #[cold]
    pub fn leave_order(&mut self) {
        self.ordered = false;
        loop {
            let place = self.row.head();
            let Some(packet) = self.row.pop() else { break };
            let kept = self.slots.put(place as u16, 0, packet);
            debug_assert!(kept.is_ok(), "no packet had the number of another's place");
        }
        self.slots.restart();
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.row.len() + self.slots.len()
    }

    /// Buffers that the device has.
    pub fn in_flight(&self) -> usize {
        self.len() + self.bare
    }

    /// The packet of a buffer that the ring just gave.
    pub fn get(&self, id: u16) -> Option<&Packet> {
        if self.ordered { self.row.front() } else { self.slots.get(id.into()) }
    }

    /// Takes that packet.
    pub fn take(&mut self, id: u16) -> Option<Packet> {
        if self.ordered { self.row.pop() } else { self.slots.take(id.into()).map(|(packet, _)| packet) }
    }

    /// Keeps the packet of a buffer of `parts` parts that was added just now.
    pub fn keep(&mut self, id: u16, parts: u16, packet: Packet) {
        let kept = if self.ordered {
            self.row.push(packet).is_ok_and(|place| place == usize::from(id))
        } else {
            self.slots.put(id, parts - 1, packet).is_ok()
        };
        debug_assert!(kept, "the ring gives out free numbers");
    }

    /// The number of the next buffer.
    pub fn take_number(&mut self) -> Option<u16> {
        if self.ordered { Some(self.row.tail() as u16) } else { self.slots.take_number() }
    }

    /// Takes packets back from a device that stands still, as many as fit into `out`; `each` sees every one.
    pub fn drain(&mut self, out: &mut Burst, each: impl Fn(&mut Packet)) -> usize {
        self.row.drain(out, &each) + self.slots.drain(out, &each)
    }
}

/// Either layout, where it does not matter how fast it is.
pub(super) enum Ring {
    Split(Split),
    Packed(Packed),
}

macro_rules! each {
    ($self:ident, $ring:ident => $body:expr) => {
        match $self {
            Ring::Split($ring) => $body,
            Ring::Packed($ring) => $body,
        }
    };
}

impl AnyRing for Ring {
    fn new(memory: &Memory, event_idx: bool) -> Self {
        if memory.packed {
            Self::Packed(Packed::new(memory, event_idx))
        } else {
            Self::Split(Split::new(memory, event_idx))
        }
    }

    fn reset(&mut self, memory: &Memory) {
        each!(self, ring => ring.reset(memory));
    }

    fn buffers(&self) -> &Buffers {
        each!(self, ring => ring.buffers())
    }

    fn buffers_mut(&mut self) -> &mut Buffers {
        each!(self, ring => ring.buffers_mut())
    }

    fn take(&mut self, id: u16) -> Option<Packet> {
        each!(self, ring => ring.take(id))
    }

    fn offer_empty(&mut self, memory: &Memory, burst: &mut Burst) -> usize {
        each!(self, ring => ring.offer_empty(memory, burst))
    }

    fn offer(
        &mut self,
        memory: &Memory,
        burst: &mut Burst,
        max: usize,
        part: impl FnMut(&mut Packet) -> Option<Part>,
    ) -> usize {
        each!(self, ring => ring.offer(memory, burst, max, part))
    }

    fn gather(
        &mut self,
        memory: &Memory,
        out: &mut Burst,
        max: usize,
        usual: &Usual,
        wanted: impl FnMut(&mut Packet, u32) -> bool,
    ) -> Result<(usize, Option<Used>), Violation> {
        each!(self, ring => ring.gather(memory, out, max, usual, wanted))
    }

    fn gather_finished(&mut self, memory: &Memory, out: &mut Burst) -> Result<(usize, Option<Used>), Violation> {
        each!(self, ring => ring.gather_finished(memory, out))
    }

    fn free(&self) -> usize {
        each!(self, ring => ring.free())
    }

    fn chain_number(&mut self) -> Option<u16> {
        each!(self, ring => ring.chain_number())
    }

    fn add(&mut self, memory: &Memory, first: &Part, then: Option<&Part>) -> Option<u16> {
        each!(self, ring => ring.add(memory, first, then))
    }

    fn publish(&mut self, memory: &Memory) -> bool {
        each!(self, ring => ring.publish(memory))
    }

    fn pending(&self, memory: &Memory) -> Result<bool, Violation> {
        each!(self, ring => ring.pending(memory))
    }

    fn pop(&mut self, memory: &Memory) -> Result<Option<Used>, Violation> {
        each!(self, ring => ring.pop(memory))
    }

    fn recycle(&mut self, id: u16) {
        each!(self, ring => ring.recycle(id));
    }

    fn arm(&mut self, memory: &Memory) -> Result<bool, Violation> {
        each!(self, ring => ring.arm(memory))
    }

    fn disarm(&mut self, memory: &Memory) {
        each!(self, ring => ring.disarm(memory));
    }
}
