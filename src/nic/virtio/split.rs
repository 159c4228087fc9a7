//! The split virtqueue (virtio 1.2 section 2.7).
//!
//! The driver writes the descriptor table and the available ring, the device the used ring. The table is never read
//! back: what a chain consists of is remembered here.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use super::ring::{Layout, Part, Used, Violation};
use super::spec::split::{DESCRIPTOR, NEXT, NO_INTERRUPT, NO_NOTIFY, USED_ELEMENT, WRITE};
use crate::mem::region::Shared;

/// No second descriptor.
const NONE: u16 = u16::MAX;

/// See the module.
pub(super) struct Split {
    /// A power of two (section 2.7).
    size: u16,
    event_idx: bool,
    free: Vec<u16>,
    /// Second descriptor of the chain that starts here.
    second: Box<[u16]>,
    /// Next `avail.idx`, and what the device was shown of it.
    avail: u16,
    shown: u16,
    /// Next used element to look at.
    used: u16,
    in_flight: u16,
}

impl Split {
    /// Descriptor table, available ring and used ring: alignments 16, 2 and 4 (section 2.7).
    pub fn layout(size: u16) -> Layout {
        let n = usize::from(size);
        let driver = DESCRIPTOR * n;
        let device = (driver + 6 + 2 * n).next_multiple_of(64);
        Layout { driver, device, len: device + 6 + USED_ELEMENT * n }
    }

    /// Allocates; called at Start.
    pub fn new(size: u16, event_idx: bool) -> Self {
        let mut ring = Self {
            size,
            event_idx,
            free: Vec::with_capacity(usize::from(size)),
            second: (0..size).map(|_| NONE).collect(),
            avail: 0,
            shown: 0,
            used: 0,
            in_flight: 0,
        };
        ring.reset();
        ring
    }

    pub fn reset(&mut self) {
        self.free.clear();
        self.free.extend((0..self.size).rev());
        self.second.fill(NONE);
        (self.avail, self.shown, self.used, self.in_flight) = (0, 0, 0, 0);
    }

    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// The number that [`Self::add`] gives next.
    pub fn next_id(&self) -> Option<u16> {
        self.free.last().copied()
    }

    pub fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    fn describe(mem: &Shared<'_>, index: u16, part: &Part, next: u16) {
        let at = DESCRIPTOR * usize::from(index);
        let flags = if next == NONE { 0 } else { NEXT } | if part.write { WRITE } else { 0 };
        let next = if next == NONE { 0 } else { next };
        let rest = u64::from(part.len) | u64::from(flags) << 32 | u64::from(next) << 48;
        mem.store_u64(at, part.addr.to_le(), Ordering::Relaxed);
        mem.store_u64(at + 8, rest.to_le(), Ordering::Relaxed);
    }

    /// Makes a chain of one or two parts available; its number. `None` without room.
    pub fn add(&mut self, mem: &Shared<'_>, first: &Part, then: Option<&Part>) -> Option<u16> {
        if self.free.len() < 1 + usize::from(then.is_some()) {
            return None;
        }
        let head = self.free.pop()?;
        let mut next = NONE;
        if let Some(part) = then {
            next = self.free.pop()?;
            Self::describe(mem, next, part, NONE);
        }
        Self::describe(mem, head, first, next);
        if let Some(second) = self.second.get_mut(usize::from(head)) {
            *second = next;
        }
        // Section 2.7.13.2: the entry first; publish() shows it.
        let slot = usize::from(self.avail & (self.size - 1));
        mem.store_u16(DESCRIPTOR * usize::from(self.size) + 4 + 2 * slot, head.to_le(), Ordering::Relaxed);
        self.avail = self.avail.wrapping_add(1);
        self.in_flight += 1;
        Some(head)
    }

    /// Shows the device what was added; true if it wants to be notified (section 2.7.13).
    pub fn publish(&mut self, mem: &Shared<'_>) -> bool {
        let old = self.shown;
        if old == self.avail {
            return false;
        }
        let layout = Self::layout(self.size);
        // Release: section 2.7.13.3.1, descriptors and entries before the index.
        mem.store_u16(layout.driver + 2, self.avail.to_le(), Ordering::Release);
        self.shown = self.avail;
        // Section 2.7.13.4.1: the index before the suppression fields are read.
        fence(Ordering::SeqCst);
        if self.event_idx {
            let at = layout.device + 4 + USED_ELEMENT * usize::from(self.size);
            let event = u16::from_le(mem.load_u16(at, Ordering::Relaxed).unwrap_or(0));
            // Section 2.7.10.1: the index moved past avail_event.
            self.avail.wrapping_sub(event).wrapping_sub(1) < self.avail.wrapping_sub(old)
        } else {
            let flags = u16::from_le(mem.load_u16(layout.device, Ordering::Relaxed).unwrap_or(0));
            flags & NO_NOTIFY == 0
        }
    }

    /// The device's index; an error if it is ahead of what was made available.
    fn device_index(&self, mem: &Shared<'_>) -> Result<u16, Violation> {
        let at = Self::layout(self.size).device + 2;
        // Acquire: section 2.7.14, the index before the elements and the buffers.
        let index = u16::from_le(mem.load_u16(at, Ordering::Acquire).unwrap_or(self.used));
        if index.wrapping_sub(self.used) > self.in_flight { Err(Violation) } else { Ok(index) }
    }

    /// How many chains the device has finished and [`Split::pop`] not yet given.
    pub fn pending(&self, mem: &Shared<'_>) -> Result<usize, Violation> {
        Ok(usize::from(self.device_index(mem)?.wrapping_sub(self.used)))
    }

    /// The next finished chain, of which there is one.
    pub fn pop(&mut self, mem: &Shared<'_>) -> Result<Used, Violation> {
        let slot = usize::from(self.used & (self.size - 1));
        let at = Self::layout(self.size).device + 4 + USED_ELEMENT * slot;
        let id = u32::from_le(mem.load_u32(at, Ordering::Relaxed).ok_or(Violation)?);
        let len = u32::from_le(mem.load_u32(at + 4, Ordering::Relaxed).ok_or(Violation)?);
        let id = u16::try_from(id).ok().filter(|id| *id < self.size).ok_or(Violation)?;
        self.used = self.used.wrapping_add(1);
        Ok(Used { id, len })
    }

    /// The chain's descriptors may be used again; the caller made sure that the device had it.
    pub fn recycle(&mut self, id: u16) {
        if let Some(second) = self.second.get_mut(usize::from(id)) {
            if *second != NONE {
                self.free.push(*second);
                *second = NONE;
            }
            self.free.push(id);
            self.in_flight -= 1;
        }
    }

    /// Asks for an interrupt at the next finished chain. True: there is one already.
    pub fn arm(&mut self, mem: &Shared<'_>) -> Result<bool, Violation> {
        let layout = Self::layout(self.size);
        if self.event_idx {
            // Section 2.7.7.1: used_event, behind the available ring.
            let at = layout.driver + 4 + 2 * usize::from(self.size);
            mem.store_u16(at, self.used.to_le(), Ordering::Relaxed);
        } else {
            mem.store_u16(layout.driver, 0, Ordering::Relaxed);
        }
        // The request before the look: section 2.7.14's race.
        fence(Ordering::SeqCst);
        Ok(self.pending(mem)? > 0)
    }

    /// Asks for none; with event indices they stop by themselves.
    pub fn disarm(&mut self, mem: &Shared<'_>) {
        if !self.event_idx {
            mem.store_u16(Self::layout(self.size).driver, NO_INTERRUPT.to_le(), Ordering::Relaxed);
        }
    }
}
