//! The packed virtqueue (virtio 1.2 section 2.8).
//!
//! Driver and device write one ring of descriptors in turn. A buffer's number (`id`) is the driver's; how many
//! descriptors it took is remembered here, never read back.

use alloc::boxed::Box;
use core::sync::atomic::{Ordering, fence};

use super::ring::{AnyRing, Areas, Layout, Memory, Part, Used, Violation};
use super::spec::packed::{AVAIL, DESC, DISABLE, ENABLE, NEXT, USED, WRITE};
use crate::mem::slots::{Slots, Stop};
use crate::mem::{Burst, Packet};

const DESCRIPTOR: usize = 16;
/// Event suppression structure: `off_wrap`, `flags` (section 2.8.14).
const FLAGS: usize = 2;
const WRAP: u16 = 1 << 15;

/// The flags of a descriptor that the device has used, in the word that they are in, while its wrap counter is 1.
const USED_UP: u64 = ((AVAIL | USED) as u64) << 48;

/// See the module.
pub(super) struct Packed {
    size: u16,
    event_idx: bool,
    slots: Slots,
    /// Descriptors of the buffer with that number, or of the next one.
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

    /// Takes the next place: with the flags that make it available.
    #[inline]
    fn advance(&mut self, part: &Part, next: bool) -> (u16, u16) {
        let place = self.next;
        // Section 2.8.1: available is AVAIL equal to, USED unlike the wrap counter.
        let turn = if self.wrap { AVAIL } else { USED };
        self.next += 1;
        if self.next == self.size {
            self.next = 0;
            self.wrap = !self.wrap;
        }
        (place, turn | if next { NEXT } else { 0 } | if part.write { WRITE } else { 0 })
    }

    /// Writes a descriptor behind one that the device has not been shown yet.
    #[inline]
    fn describe(areas: &Areas<'_>, (place, flags): (u16, u16), id: u16, part: &Part) {
        let rest = u64::from(part.len) | u64::from(id) << 32 | u64::from(flags) << 48;
        areas.descriptors.store_u64::<0>(place.into(), part.addr.to_le(), Ordering::Relaxed);
        areas.descriptors.store_u64::<8>(place.into(), rest.to_le(), Ordering::Relaxed);
    }

    /// Writes one without its flags, which publish() shows.
    #[inline]
    fn describe_held(areas: &Areas<'_>, place: u16, id: u16, part: &Part) {
        areas.descriptors.store_u64::<0>(place.into(), part.addr.to_le(), Ordering::Relaxed);
        areas.descriptors.store_u32::<8>(place.into(), part.len.to_le(), Ordering::Relaxed);
        areas.descriptors.store_u16::<12>(place.into(), id.to_le(), Ordering::Relaxed);
    }

    /// Moves the place where the device writes next.
    fn skip(&mut self, descriptors: u16) {
        self.used += descriptors;
        if self.used >= self.size {
            self.used -= self.size;
            self.used_wrap = !self.used_wrap;
        }
    }

    fn is_used(&self, flags: u16) -> bool {
        let (avail, used) = (flags & AVAIL != 0, flags & USED != 0);
        avail == used && used == self.used_wrap
    }
}

impl AnyRing for Packed {
    /// Allocates; called at Start.
    fn new(memory: &Memory, event_idx: bool) -> Self {
        let size = memory.size;
        let mut ring = Self {
            size,
            event_idx,
            slots: Slots::new(usize::from(size)),
            count: (0..size).map(|_| 1).collect(),
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

    fn reset(&mut self) {
        self.slots.restart();
        self.count.fill(1);
        (self.room, self.next, self.used, self.shown, self.since, self.in_flight) = (self.size, 0, 0, 0, 0, 0);
        // Section 2.8.1: both wrap counters start at 1.
        (self.wrap, self.used_wrap, self.held) = (true, true, None);
    }

    fn slots(&mut self) -> &mut Slots {
        &mut self.slots
    }

    fn held(&self) -> usize {
        self.slots.len()
    }

    fn free(&self) -> usize {
        usize::from(self.room)
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
        // Section 2.8.21.1.1: the flags of the first descriptor last of all. Until then it has those of the round before, which
        // the device stops in front of.
        let first = self.next;
        let mut hidden = if self.held.is_none() { AVAIL | USED } else { 0 };
        let (size, mut place) = (self.size, first);
        let mut turn = if self.wrap { AVAIL } else { USED };
        let (shown, mut rest) = (turn, 0);
        let done = self.slots.put_burst(burst, max.min(self.room.into()), |packet, id| {
            let Some(part) = part(packet) else { return false };
            rest = if part.write { WRITE } else { 0 };
            Self::describe(areas, (place, turn ^ hidden | rest), id, &part);
            hidden = 0;
            place += 1;
            if place == size {
                place = 0;
                turn ^= AVAIL | USED;
            }
            true
        });
        if done > 0 && self.held.is_none() {
            self.held = Some((first, shown | rest));
        }
        self.next = place;
        self.wrap = turn == AVAIL;
        self.room -= done as u16;
        self.since += done as u16;
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
        let (size, mut place) = (self.size, self.used);
        let mut turn = if self.used_wrap { USED_UP } else { 0 };
        let next = || {
            // Acquire: section 2.8.22, flags, number and length in one word before the buffer.
            let word = u64::from_le(areas.descriptors.load_u64::<8>(place.into(), Ordering::Acquire));
            if word & USED_UP != turn {
                return None;
            }
            // Section 2.8.6: the device skips as many descriptors as the buffer had: here one.
            place += 1;
            if place == size {
                place = 0;
                turn ^= USED_UP;
            }
            Some((u32::from((word >> 32) as u16), word as u32))
        };
        let (done, stop) = self.slots.take_burst(out, max.min(self.in_flight.into()), true, next, wanted);
        self.used = place;
        self.used_wrap = turn != 0;
        self.room += done as u16;
        self.in_flight -= done as u16;
        match stop {
            Stop::End => Ok((done, None)),
            Stop::Odd(id, len) => {
                let id = id as u16;
                // The rest of what it had.
                let more = self.count.get(usize::from(id)).map_or(0, |count| u16::from(*count) - 1);
                self.skip(more);
                Ok((done, Some(Used { id, len })))
            }
            Stop::Unknown => Err(Violation),
        }
    }

    #[inline]
    fn add(&mut self, areas: &Areas<'_>, first: &Part, then: Option<&Part>) -> Option<u16> {
        let needed = 1 + u16::from(then.is_some());
        if self.room < needed {
            return None;
        }
        let id = self.slots.take_number()?;
        let head = self.advance(first, then.is_some());
        if let Some(part) = then {
            let place = self.advance(part, false);
            Self::describe(areas, place, id, part);
        }
        if let Some(count) = self.count.get_mut(usize::from(id)) {
            *count = needed as u8;
        }
        // Section 2.8.21.1.1: the flags of the first descriptor last of all; the device stops in front of it.
        if self.held.is_some() {
            Self::describe(areas, head, id, first);
        } else {
            Self::describe_held(areas, head.0, id, first);
            self.held = Some(head);
        }
        self.room -= needed;
        self.since += needed;
        self.in_flight += 1;
        Some(id)
    }

    /// Section 2.8.21.3.
    fn publish(&mut self, areas: &Areas<'_>) -> bool {
        let Some((place, flags)) = self.held.take() else {
            return false;
        };
        // Release: everything behind it first.
        areas.descriptors.store_u16::<14>(place.into(), flags.to_le(), Ordering::Release);
        let (old, since) = (self.shown, core::mem::take(&mut self.since));
        self.shown = self.next;
        // The flags before the device's suppression structure is read (section 2.8.21.3.1).
        fence(Ordering::SeqCst);
        let (mem, at) = (&areas.mem, areas.layout.device);
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

    /// Only the next descriptor says so.
    fn pending(&self, areas: &Areas<'_>) -> Result<bool, Violation> {
        // Acquire: section 2.8.22, the flags before the rest.
        let flags = u16::from_le(areas.descriptors.load_u16::<14>(self.used.into(), Ordering::Acquire));
        Ok(self.in_flight > 0 && self.is_used(flags))
    }

    #[inline]
    fn pop(&mut self, areas: &Areas<'_>) -> Result<Option<Used>, Violation> {
        // Acquire: section 2.8.22, flags, number and length in one word before the buffer.
        let word = u64::from_le(areas.descriptors.load_u64::<8>(self.used.into(), Ordering::Acquire));
        if self.in_flight == 0 || !self.is_used((word >> 48) as u16) {
            return Ok(None);
        }
        let (len, id) = (word as u32, (word >> 32) as u16);
        // Section 2.8.6: the device skips as many descriptors as the buffer had.
        self.skip(u16::from(*self.count.get(usize::from(id)).ok_or(Violation)?));
        Ok(Some(Used { id, len }))
    }

    #[inline]
    fn recycle(&mut self, id: u16) {
        if let Some(count) = self.count.get_mut(usize::from(id)) {
            self.room += u16::from(*count);
            *count = 1;
            self.slots.give_number(id);
            self.in_flight -= 1;
        }
    }

    fn arm(&mut self, areas: &Areas<'_>) -> Result<bool, Violation> {
        let (mem, at) = (&areas.mem, areas.layout.driver);
        if self.event_idx {
            let place = self.used | if self.used_wrap { WRAP } else { 0 };
            mem.store_u16(at, place.to_le(), Ordering::Relaxed);
            mem.store_u16(at + FLAGS, DESC.to_le(), Ordering::Release);
        } else {
            mem.store_u16(at + FLAGS, ENABLE.to_le(), Ordering::Relaxed);
        }
        // The request before the look.
        fence(Ordering::SeqCst);
        self.pending(areas)
    }

    fn disarm(&mut self, areas: &Areas<'_>) {
        areas.mem.store_u16(areas.layout.driver + FLAGS, DISABLE.to_le(), Ordering::Relaxed);
    }
}
