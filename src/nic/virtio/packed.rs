//! The packed virtqueue (virtio 1.2 section 2.8).
//!
//! Driver and device write one ring of descriptors in turn. A buffer's number (`id`) is the driver's; how many
//! descriptors it took is remembered here, never read back.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use super::ring::{Layout, Part, Used, Violation};
use super::spec::packed::{AVAIL, DESC, DISABLE, ENABLE, NEXT, USED, WRITE};
use crate::mem::region::Shared;

const DESCRIPTOR: usize = 16;
/// Event suppression structure: `off_wrap`, `flags` (section 2.8.14).
const FLAGS: usize = 2;
const WRAP: u16 = 1 << 15;

/// See the module.
pub(super) struct Packed {
    size: u16,
    event_idx: bool,
    free_ids: Vec<u16>,
    /// Descriptors of the buffer with that number.
    count: Box<[u8]>,
    /// Free descriptors.
    room: u16,
    /// Where the driver writes next, and its wrap counter.
    next: u16,
    wrap: bool,
    /// Where the device writes next, and its wrap counter as the driver sees it.
    used: u16,
    used_wrap: bool,
    /// Head of the first buffer that the device has not been shown: its place and its flags.
    held: Option<(u16, u16)>,
    /// Place and wrap counter at the last notification, and descriptors since then.
    shown: u16,
    since: u16,
    in_flight: u16,
}

impl Packed {
    /// Ring, driver's and device's event suppression: alignments 16, 4 and 4 (section 2.8.10).
    pub fn layout(size: u16) -> Layout {
        let driver = DESCRIPTOR * usize::from(size);
        Layout { driver, device: driver + 64, len: driver + 128 }
    }

    /// Allocates; called at Start.
    pub fn new(size: u16, event_idx: bool) -> Self {
        let mut ring = Self {
            size,
            event_idx,
            free_ids: Vec::with_capacity(usize::from(size)),
            count: (0..size).map(|_| 0).collect(),
            room: 0,
            next: 0,
            wrap: true,
            used: 0,
            used_wrap: true,
            held: None,
            shown: 0,
            since: 0,
            in_flight: 0,
        };
        ring.reset();
        ring
    }

    pub fn reset(&mut self) {
        self.free_ids.clear();
        self.free_ids.extend((0..self.size).rev());
        self.count.fill(0);
        (self.room, self.next, self.used, self.shown, self.since, self.in_flight) = (self.size, 0, 0, 0, 0, 0);
        // Section 2.8.1: both wrap counters start at 1.
        (self.wrap, self.used_wrap, self.held) = (true, true, None);
    }

    pub fn free(&self) -> usize {
        usize::from(self.room)
    }

    /// The number that [`Self::add`] gives next.
    pub fn next_id(&self) -> Option<u16> {
        self.free_ids.last().copied()
    }

    pub fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    /// Writes a descriptor without its flags; returns its place and them.
    fn describe(&mut self, mem: &Shared<'_>, id: u16, part: &Part, next: bool) -> (u16, u16) {
        let place = self.next;
        let at = DESCRIPTOR * usize::from(place);
        // Section 2.8.1: available is AVAIL equal to, USED unlike the wrap counter.
        let turn = if self.wrap { AVAIL } else { USED };
        let flags = turn | if next { NEXT } else { 0 } | if part.write { WRITE } else { 0 };
        mem.store_u64(at, part.addr.to_le(), Ordering::Relaxed);
        mem.store_u32(at + 8, part.len.to_le(), Ordering::Relaxed);
        mem.store_u16(at + 12, id.to_le(), Ordering::Relaxed);
        self.next += 1;
        if self.next == self.size {
            self.next = 0;
            self.wrap = !self.wrap;
        }
        (place, flags)
    }

    fn set_flags(mem: &Shared<'_>, place: u16, flags: u16, order: Ordering) {
        mem.store_u16(DESCRIPTOR * usize::from(place) + 14, flags.to_le(), order);
    }

    /// Makes a buffer of one or two parts available; its number. `None` without room.
    pub fn add(&mut self, mem: &Shared<'_>, first: &Part, then: Option<&Part>) -> Option<u16> {
        let needed = 1 + u16::from(then.is_some());
        if self.room < needed {
            return None;
        }
        let id = self.free_ids.pop()?;
        let head = self.describe(mem, id, first, then.is_some());
        if let Some(part) = then {
            let (place, flags) = self.describe(mem, id, part, false);
            Self::set_flags(mem, place, flags, Ordering::Relaxed);
        }
        if let Some(count) = self.count.get_mut(usize::from(id)) {
            *count = needed as u8;
        }
        // Section 2.8.21.1.1: the flags of the first descriptor last of all; the device stops in front of it.
        match self.held {
            None => self.held = Some(head),
            Some(_) => Self::set_flags(mem, head.0, head.1, Ordering::Relaxed),
        }
        self.room -= needed;
        self.since += needed;
        self.in_flight += 1;
        Some(id)
    }

    /// Shows the device what was added; true if it wants to be notified (section 2.8.21.3).
    pub fn publish(&mut self, mem: &Shared<'_>) -> bool {
        let Some((place, flags)) = self.held.take() else {
            return false;
        };
        // Release: everything behind it first.
        Self::set_flags(mem, place, flags, Ordering::Release);
        let (old, since) = (self.shown, core::mem::take(&mut self.since));
        self.shown = self.next;
        // The flags before the device's suppression structure is read (section 2.8.21.3.1).
        fence(Ordering::SeqCst);
        let at = Self::layout(self.size).device;
        match u16::from_le(mem.load_u16(at + FLAGS, Ordering::Relaxed).unwrap_or(ENABLE)) {
            DISABLE => false,
            DESC if self.event_idx => {
                // Section 2.8.14: the place that it waits for was passed. Places are counted from `old` on.
                let event = u16::from_le(mem.load_u16(at, Ordering::Relaxed).unwrap_or(0)) & !WRAP;
                let distance = if event >= old { event - old } else { event.saturating_add(self.size) - old };
                distance < since
            }
            _ => true,
        }
    }

    /// 1 if the device has finished a buffer, else 0: only the next descriptor says so.
    pub fn pending(&self, mem: &Shared<'_>) -> Result<usize, Violation> {
        if self.in_flight == 0 {
            return Ok(0);
        }
        let at = DESCRIPTOR * usize::from(self.used) + 14;
        // Acquire: section 2.8.22, the flags before the rest.
        let flags = u16::from_le(mem.load_u16(at, Ordering::Acquire).ok_or(Violation)?);
        let (avail, used) = (flags & AVAIL != 0, flags & USED != 0);
        Ok(usize::from(avail == used && used == self.used_wrap))
    }

    /// The next finished buffer, of which there is one.
    pub fn pop(&mut self, mem: &Shared<'_>) -> Result<Used, Violation> {
        let at = DESCRIPTOR * usize::from(self.used);
        let len = u32::from_le(mem.load_u32(at + 8, Ordering::Relaxed).ok_or(Violation)?);
        let id = u16::from_le(mem.load_u16(at + 12, Ordering::Relaxed).ok_or(Violation)?);
        // Section 2.8.6: the device skips as many descriptors as the buffer had.
        let count = u16::from(*self.count.get(usize::from(id)).ok_or(Violation)?);
        if count == 0 {
            return Err(Violation);
        }
        self.used += count;
        if self.used >= self.size {
            self.used -= self.size;
            self.used_wrap = !self.used_wrap;
        }
        Ok(Used { id, len })
    }

    /// The number and the descriptors may be used again; the caller made sure that the device had it.
    pub fn recycle(&mut self, id: u16) {
        if let Some(count) = self.count.get_mut(usize::from(id)).filter(|count| **count != 0) {
            self.room += u16::from(*count);
            *count = 0;
            self.free_ids.push(id);
            self.in_flight -= 1;
        }
    }

    /// Asks for an interrupt at the next finished buffer. True: there is one already.
    pub fn arm(&mut self, mem: &Shared<'_>) -> Result<bool, Violation> {
        let at = Self::layout(self.size).driver;
        if self.event_idx {
            let place = self.used | if self.used_wrap { WRAP } else { 0 };
            mem.store_u16(at, place.to_le(), Ordering::Relaxed);
            mem.store_u16(at + FLAGS, DESC.to_le(), Ordering::Release);
        } else {
            mem.store_u16(at + FLAGS, ENABLE.to_le(), Ordering::Relaxed);
        }
        // The request before the look.
        fence(Ordering::SeqCst);
        Ok(self.pending(mem)? > 0)
    }

    /// Asks for none.
    pub fn disarm(&mut self, mem: &Shared<'_>) {
        mem.store_u16(Self::layout(self.size).driver + FLAGS, DISABLE.to_le(), Ordering::Relaxed);
    }
}
