//! A virtqueue of either layout, with its memory.

use alloc::sync::Arc;

use super::packed::Packed;
use super::split::Split;
use crate::mem::region::{Dma, Region, Shared};

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

/// A virtqueue's memory, which control sets up and a queue works on.
pub(super) struct Memory {
    region: Region,
    pub layout: Layout,
    pub size: u16,
    pub packed: bool,
}

impl Memory {
    /// Allocates; called at Start.
    pub fn new(dma: &Arc<dyn Dma>, size: u16, packed: bool) -> Option<Self> {
        let layout = if packed { Packed::layout(size) } else { Split::layout(size) };
        Some(Self { region: Region::alloc(dma.clone(), layout.len, 4096)?, layout, size, packed })
    }

    pub fn iova(&self) -> u64 {
        self.region.iova()
    }

    pub fn shared(&self) -> Shared<'_> {
        self.region.shared()
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

/// See the module.
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

impl Ring {
    /// Allocates; called at Start.
    pub fn new(memory: &Memory, event_idx: bool) -> Self {
        if memory.packed {
            Self::Packed(Packed::new(memory.size, event_idx))
        } else {
            Self::Split(Split::new(memory.size, event_idx))
        }
    }

    pub fn reset(&mut self) {
        each!(self, ring => ring.reset());
    }

    pub fn free(&self) -> usize {
        each!(self, ring => ring.free())
    }

    pub fn in_flight(&self) -> usize {
        each!(self, ring => ring.in_flight())
    }

    pub fn add(&mut self, mem: &Shared<'_>, first: &Part, then: Option<&Part>) -> Option<u16> {
        each!(self, ring => ring.add(mem, first, then))
    }

    /// The number that [`Ring::add`] gives next.
    pub fn next_id(&self) -> Option<u16> {
        each!(self, ring => ring.next_id())
    }

    pub fn publish(&mut self, mem: &Shared<'_>) -> bool {
        each!(self, ring => ring.publish(mem))
    }

    pub fn pending(&self, mem: &Shared<'_>) -> Result<usize, Violation> {
        each!(self, ring => ring.pending(mem))
    }

    pub fn pop(&mut self, mem: &Shared<'_>) -> Result<Used, Violation> {
        each!(self, ring => ring.pop(mem))
    }

    pub fn recycle(&mut self, id: u16) {
        each!(self, ring => ring.recycle(id));
    }

    pub fn arm(&mut self, mem: &Shared<'_>) -> Result<bool, Violation> {
        each!(self, ring => ring.arm(mem))
    }

    pub fn disarm(&mut self, mem: &Shared<'_>) {
        each!(self, ring => ring.disarm(mem));
    }
}
