//! A virtqueue of either layout, with its memory.

use alloc::sync::Arc;

use super::packed::Packed;
use super::split::Split;
use crate::mem::region::{Dma, Region, Shared};
use crate::mem::rows::{OwnedRows, Rows};
use crate::mem::slots::Slots;
use crate::mem::{Burst, Packet};

/// A piece of a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub addr: u64,
    pub len: u32,
    /// The device writes it.
    pub write: bool,
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
    pub len: usize,
}

/// A virtqueue's areas, as they are looked at for a burst.
pub(super) struct Areas<'a> {
    pub mem: Shared<'a>,
    pub layout: Layout,
    pub descriptors: Rows<'a, 16, 8>,
    /// Entries of the available ring and elements of the used ring; a packed ring has neither.
    pub avail: Rows<'a, 2, 2>,
    pub used: Rows<'a, 8, 4>,
}

/// A virtqueue's memory, which control sets up and a queue works on.
pub(super) struct Memory {
    region: Arc<Region>,
    descriptors: OwnedRows<16, 8>,
    avail: OwnedRows<2, 2>,
    used: OwnedRows<8, 4>,
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
            region,
            layout,
            size,
            packed,
        })
    }

    pub fn iova(&self) -> u64 {
        self.region.iova()
    }

    fn shared(&self) -> Shared<'_> {
        self.region.shared()
    }

    pub fn areas(&self) -> Areas<'_> {
        Areas {
            descriptors: self.descriptors.rows(),
            avail: self.avail.rows(),
            used: self.used.rows(),
            mem: self.shared(),
            layout: self.layout,
        }
    }

    /// Section 2.7.1, 2.8.10.1: rings start zeroed. The device stands still.
    pub fn clear(&self) {
        let mem = self.shared();
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
    /// The device was reset.
    fn reset(&mut self);
    /// The packets that the device has, by the number of their buffer.
    fn slots(&mut self) -> &mut Slots;
    /// How many of them there are.
    fn held(&self) -> usize;
    /// Free descriptors.
    fn free(&self) -> usize;
    fn in_flight(&self) -> usize;
    /// Makes packets from the front of `burst` available, each a buffer of the one part that `part` makes of it, until that is
    /// none; at most `max`, and as many as there is room for. How many.
    fn offer(
        &mut self,
        areas: &Areas<'_>,
        burst: &mut Burst,
        max: usize,
        part: impl FnMut(&mut Packet) -> Option<Part>,
    ) -> usize;
    /// Moves finished packets to the end of `out`, at most `max`, if `wanted` says so, which is told of each how many bytes the
    /// device wrote. How many, and the first one that is not `wanted` or has two parts: that was taken out of the ring, and is
    /// in its place until [`AnyRing::recycle`].
    fn gather(
        &mut self,
        areas: &Areas<'_>,
        out: &mut Burst,
        max: usize,
        wanted: impl FnMut(&mut Packet, u32) -> bool,
    ) -> Result<(usize, Option<Used>), Violation>;
    /// Makes a buffer of one or two parts available; its number. `None` without room.
    fn add(&mut self, areas: &Areas<'_>, first: &Part, then: Option<&Part>) -> Option<u16>;
    /// The number that [`AnyRing::add`] gives next.
    fn next_id(&self) -> Option<u16>;
    /// Keeps the packet of a buffer of `parts` parts that was added.
    fn keep(&mut self, id: u16, parts: u16, packet: Packet) {
        let kept = self.slots().put(id, parts - 1, packet);
        debug_assert!(kept.is_ok(), "the ring gives out free numbers");
    }
    /// Shows the device what was added; true if it wants to be notified.
    fn publish(&mut self, areas: &Areas<'_>) -> bool;
    /// Whether the device has finished a buffer that [`AnyRing::pop`] has not given yet.
    fn pending(&self, areas: &Areas<'_>) -> Result<bool, Violation>;
    /// The next finished buffer, if there is one.
    fn pop(&mut self, areas: &Areas<'_>) -> Result<Option<Used>, Violation>;
    /// The number and the descriptors may be used again; the caller made sure that the device had it.
    fn recycle(&mut self, id: u16);
    /// Asks for an interrupt at the next finished buffer. True: there is one already.
    fn arm(&mut self, areas: &Areas<'_>) -> Result<bool, Violation>;
    /// Asks for none.
    fn disarm(&mut self, areas: &Areas<'_>);
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

    fn reset(&mut self) {
        each!(self, ring => ring.reset());
    }

    fn slots(&mut self) -> &mut Slots {
        each!(self, ring => ring.slots())
    }

    fn held(&self) -> usize {
        each!(self, ring => ring.held())
    }

    fn offer(
        &mut self,
        areas: &Areas<'_>,
        burst: &mut Burst,
        max: usize,
        part: impl FnMut(&mut Packet) -> Option<Part>,
    ) -> usize {
        each!(self, ring => ring.offer(areas, burst, max, part))
    }

    fn gather(
        &mut self,
        areas: &Areas<'_>,
        out: &mut Burst,
        max: usize,
        wanted: impl FnMut(&mut Packet, u32) -> bool,
    ) -> Result<(usize, Option<Used>), Violation> {
        each!(self, ring => ring.gather(areas, out, max, wanted))
    }

    fn free(&self) -> usize {
        each!(self, ring => ring.free())
    }

    fn in_flight(&self) -> usize {
        each!(self, ring => ring.in_flight())
    }

    fn add(&mut self, areas: &Areas<'_>, first: &Part, then: Option<&Part>) -> Option<u16> {
        each!(self, ring => ring.add(areas, first, then))
    }

    fn next_id(&self) -> Option<u16> {
        each!(self, ring => ring.next_id())
    }

    fn publish(&mut self, areas: &Areas<'_>) -> bool {
        each!(self, ring => ring.publish(areas))
    }

    fn pending(&self, areas: &Areas<'_>) -> Result<bool, Violation> {
        each!(self, ring => ring.pending(areas))
    }

    fn pop(&mut self, areas: &Areas<'_>) -> Result<Option<Used>, Violation> {
        each!(self, ring => ring.pop(areas))
    }

    fn recycle(&mut self, id: u16) {
        each!(self, ring => ring.recycle(id));
    }

    fn arm(&mut self, areas: &Areas<'_>) -> Result<bool, Violation> {
        each!(self, ring => ring.arm(areas))
    }

    fn disarm(&mut self, areas: &Areas<'_>) {
        each!(self, ring => ring.disarm(areas));
    }
}
