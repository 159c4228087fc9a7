//! The split virtqueue (virtio 1.2 section 2.7).
//!
//! The driver writes the descriptor table and the available ring, the device the used ring. The table is never read
//! back: what a chain consists of is remembered here.

use alloc::boxed::Box;
use core::sync::atomic::{Ordering, fence};

use super::ring::{AnyRing, Areas, Layout, Memory, Part, Used, Violation};
use super::spec::split::{DESCRIPTOR, NEXT, NO_INTERRUPT, NO_NOTIFY, USED_ELEMENT, WRITE};
use crate::mem::slots::{Slots, Stop};
use crate::mem::{Burst, Packet};

/// No second descriptor.
const NONE: u16 = u16::MAX;

/// See the module.
pub(super) struct Split {
    /// A power of two (section 2.7).
    size: u16,
    event_idx: bool,
    /// Numbers are those of descriptors.
    slots: Slots,
    /// Second descriptor of the chain that starts here.
    second: Box<[u16]>,
    /// Next `avail.idx`, and what the device was shown of it.
    avail: u16,
    shown: u16,
    /// Next used element to look at, and the device's index as it was seen last.
    used: u16,
    seen: u16,
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

    #[inline]
    fn describe(areas: &Areas<'_>, index: u16, part: &Part, next: u16) {
        let flags = if next == NONE { 0 } else { NEXT } | if part.write { WRITE } else { 0 };
        let next = if next == NONE { 0 } else { next };
        let rest = u64::from(part.len) | u64::from(flags) << 32 | u64::from(next) << 48;
        areas.descriptors.store_u64::<0>(index.into(), part.addr.to_le(), Ordering::Relaxed);
        areas.descriptors.store_u64::<8>(index.into(), rest.to_le(), Ordering::Relaxed);
    }

    /// The device's index; an error if it is ahead of what was made available.
    #[inline]
    fn device_index(&self, areas: &Areas<'_>) -> Result<u16, Violation> {
        // Acquire: section 2.7.14, the index before the elements and the buffers.
        let index = u16::from_le(areas.mem.load_u16(areas.layout.device + 2, Ordering::Acquire).unwrap_or(self.used));
        if index.wrapping_sub(self.used) > self.in_flight { Err(Violation) } else { Ok(index) }
    }
}

impl AnyRing for Split {
    /// Allocates; called at Start.
    fn new(memory: &Memory, event_idx: bool) -> Self {
        let size = memory.size;
        let mut ring = Self {
            size,
            event_idx,
            slots: Slots::new(usize::from(size)),
            second: (0..size).map(|_| NONE).collect(),
            avail: 0,
            shown: 0,
            used: 0,
            seen: 0,
            in_flight: 0,
        };
        ring.reset();
        ring
    }

    fn reset(&mut self) {
        self.slots.restart();
        self.second.fill(NONE);
        (self.avail, self.shown, self.used, self.seen, self.in_flight) = (0, 0, 0, 0, 0);
    }

    fn slots(&mut self) -> &mut Slots {
        &mut self.slots
    }

    fn held(&self) -> usize {
        self.slots.len()
    }

    fn free(&self) -> usize {
        self.slots.free()
    }

    fn next_id(&self) -> Option<u16> {
        self.slots.peek_number()
    }

    fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    #[inline(always)]
    fn offer(
        &mut self,
        areas: &Areas<'_>,
        burst: &mut Burst,
        max: usize,
        mut part: impl FnMut(&mut Packet) -> Option<Part>,
    ) -> usize {
        let mut avail = usize::from(self.avail);
        let done = self.slots.put_burst(burst, max, |packet, id| {
            let Some(part) = part(packet) else { return false };
            Self::describe(areas, id, &part, NONE);
            areas.avail.store_u16::<0>(avail, id.to_le(), Ordering::Relaxed);
            avail += 1;
            true
        });
        self.avail = avail as u16;
        self.in_flight += done as u16;
        done
    }

    #[inline(always)]
    fn gather(
        &mut self,
        areas: &Areas<'_>,
        out: &mut Burst,
        max: usize,
        wanted: impl FnMut(&mut Packet, u32) -> bool,
    ) -> Result<(usize, Option<Used>), Violation> {
        self.seen = self.device_index(areas)?;
        let mut used = usize::from(self.used);
        let next = || {
            let id = u32::from_le(areas.used.load_u32::<0>(used, Ordering::Relaxed));
            let len = u32::from_le(areas.used.load_u32::<4>(used, Ordering::Relaxed));
            used += 1;
            Some((id, len))
        };
        let finished = usize::from(self.seen.wrapping_sub(self.used));
        let (done, stop) = self.slots.take_burst(out, max.min(finished), true, next, wanted);
        self.used = used as u16;
        self.in_flight -= done as u16;
        match stop {
            Stop::End => Ok((done, None)),
            Stop::Odd(id, len) => Ok((done, Some(Used { id: id as u16, len }))),
            Stop::Unknown => Err(Violation),
        }
    }

    #[inline]
    fn add(&mut self, areas: &Areas<'_>, first: &Part, then: Option<&Part>) -> Option<u16> {
        if then.is_some() && self.slots.free() < 2 {
            return None;
        }
        let head = self.slots.take_number()?;
        let mut next = NONE;
        if let Some(part) = then {
            next = self.slots.take_number()?;
            Self::describe(areas, next, part, NONE);
            // Of a chain of one it is none already.
            if let Some(second) = self.second.get_mut(usize::from(head)) {
                *second = next;
            }
        }
        Self::describe(areas, head, first, next);
        // Section 2.7.13.2: the entry first; publish() shows it.
        areas.avail.store_u16::<0>(self.avail.into(), head.to_le(), Ordering::Relaxed);
        self.avail = self.avail.wrapping_add(1);
        self.in_flight += 1;
        Some(head)
    }

    /// Section 2.7.13.
    fn publish(&mut self, areas: &Areas<'_>) -> bool {
        let (mem, layout, old) = (&areas.mem, areas.layout, self.shown);
        if old == self.avail {
            return false;
        }
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

    fn pending(&self, areas: &Areas<'_>) -> Result<bool, Violation> {
        Ok(self.device_index(areas)? != self.used)
    }

    #[inline]
    fn pop(&mut self, areas: &Areas<'_>) -> Result<Option<Used>, Violation> {
        if self.seen == self.used {
            self.seen = self.device_index(areas)?;
            if self.seen == self.used {
                return Ok(None);
            }
        }
        let slot = usize::from(self.used);
        let id = u32::from_le(areas.used.load_u32::<0>(slot, Ordering::Relaxed));
        let len = u32::from_le(areas.used.load_u32::<4>(slot, Ordering::Relaxed));
        if id >= self.size.into() {
            return Err(Violation);
        }
        self.used = self.used.wrapping_add(1);
        Ok(Some(Used { id: id as u16, len }))
    }

    #[inline]
    fn recycle(&mut self, id: u16) {
        if let Some(second) = self.second.get_mut(usize::from(id)) {
            if *second != NONE {
                self.slots.give_number(*second);
                *second = NONE;
            }
            self.slots.give_number(id);
            self.in_flight -= 1;
        }
    }

    fn arm(&mut self, areas: &Areas<'_>) -> Result<bool, Violation> {
        let (mem, layout) = (&areas.mem, areas.layout);
        if self.event_idx {
            // Section 2.7.7.1: used_event, behind the available ring.
            let at = layout.driver + 4 + 2 * usize::from(self.size);
            mem.store_u16(at, self.used.to_le(), Ordering::Relaxed);
        } else {
            mem.store_u16(layout.driver, 0, Ordering::Relaxed);
        }
        // The request before the look: section 2.7.14's race.
        fence(Ordering::SeqCst);
        self.pending(areas)
    }

    /// With event indices interrupts stop by themselves.
    fn disarm(&mut self, areas: &Areas<'_>) {
        if !self.event_idx {
            areas.mem.store_u16(areas.layout.driver, NO_INTERRUPT.to_le(), Ordering::Relaxed);
        }
    }
}
