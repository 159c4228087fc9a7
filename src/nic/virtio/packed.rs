//! The packed virtqueue (virtio 1.2 section 2.8).
//!
//! Driver and device write one ring of descriptors in turn. A buffer's number (`id`) is the driver's; how many
//! descriptors it took is remembered here, never read back.

use alloc::boxed::Box;
use core::sync::atomic::{Ordering, fence};

use super::ring::{AnyRing, Buffers, Layout, Memory, Part, Used, Violation};
use super::spec::packed::{AVAIL, DESC, DISABLE, ENABLE, NEXT, USED, WRITE};
use crate::mem::packet::BURST_MAX;
use crate::mem::rows::{Entry, Rows};
use crate::mem::slots::Stop;
use crate::mem::{Burst, Packet};

const DESCRIPTOR: usize = 16;
/// Event suppression structure: `off_wrap`, `flags` (section 2.8.14).
const FLAGS: usize = 2;
const WRAP: u16 = 1 << 15;

/// The flags of a descriptor that the device has used, above its number, while the device's wrap counter is 1.
const TURN: u32 = ((AVAIL | USED) as u32) << 16;
const NUMBER: u32 = 0xffff;
/// The same in the word that they are in.
const USED_UP: u64 = ((AVAIL | USED) as u64) << 48;

/// See the module.
pub(super) struct Packed {
    size: u16,
    event_idx: bool,
    /// In order they go on at `next` and begin at `used`; else their numbers are those of buffers.
    buffers: Buffers,
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
        // No event indices behind rings.
        Layout { driver, device: driver + 64, driver_event: driver, device_event: driver + 64, len: driver + 128 }
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
    #[inline(always)]
    fn describe(descriptor: Entry<'_, 16, 8>, flags: u16, id: u16, part: &Part) {
        let rest = u64::from(part.len) | u64::from(id) << 32 | u64::from(flags) << 48;
        descriptor.store_u64::<0>(part.addr.to_le(), Ordering::Relaxed);
        descriptor.store_u64::<8>(rest.to_le(), Ordering::Relaxed);
    }

    /// Writes one without its flags, which publish() shows.
    fn describe_held(descriptor: Entry<'_, 16, 8>, id: u16, part: &Part) {
        descriptor.store_u64::<0>(part.addr.to_le(), Ordering::Relaxed);
        descriptor.store_u32::<8>(part.len.to_le(), Ordering::Relaxed);
        descriptor.store_u16::<12>(id.to_le(), Ordering::Relaxed);
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

    /// Flags and number of a descriptor that the device has used are these while its wrap counter is as it is.
    #[inline(always)]
    fn used_turn(&self) -> u32 {
        if self.used_wrap { TURN } else { 0 }
    }

    /// Number and flags of a descriptor, as far as they say that it is used, and the bytes that the device wrote.
    #[inline(always)]
    fn used(descriptor: Entry<'_, 16, 8>) -> (u32, u32) {
        // Acquire: section 2.8.22, flags, number and length in one word before the buffer.
        let word = u64::from_le(descriptor.load_u64::<8>(Ordering::Acquire));
        ((word >> 32) as u32 & (TURN | NUMBER), word as u32)
    }

    /// Moves finished packets, in order, from the front to the end of `out` until one is not finished or not `wanted`, to the
    /// ring's end at most. How many, and how many there might have been.
    #[inline(always)]
    fn take_ordered(
        &mut self,
        descriptors: &Rows<'_, 16, 8>,
        out: &mut Burst,
        max: usize,
        mut wanted: impl FnMut(&mut Packet, u32) -> bool,
    ) -> (usize, usize) {
        let run = max.min(out.capacity() - out.len()).min(self.buffers.row.len());
        let run = run.min(usize::from(self.size - self.used));
        let turn = self.used_turn();
        let done = self.buffers.row.take_burst(out, run, descriptors, |packet, place, descriptor| {
            let (key, len) = Self::used(descriptor);
            key == turn | place as u32 && wanted(packet, len)
        });
        self.skip(done as u16);
        self.room += done as u16;
        self.in_flight -= done as u16;
        (done, run)
    }

    /// Where [`AnyRing::offer`] begins: the flags of descriptors that are available, and for the first one those to hide it behind.
    ///
    /// Section 2.8.21.1.1: the flags of the first descriptor last of all. Until then it has those of the round before, which the
    /// device stops in front of.
    #[inline(always)]
    fn turn(&self) -> (u16, u16) {
        (if self.wrap { AVAIL } else { USED }, if self.held.is_none() { AVAIL | USED } else { 0 })
    }

    /// Where it ended: `done` descriptors from `first` on, with `shown` in the first one's place.
    #[inline(always)]
    fn offered(&mut self, shown: u16, done: usize) -> usize {
        if done > 0 && self.held.is_none() {
            self.held = Some((self.next, shown));
        }
        self.next += done as u16;
        if self.next >= self.size {
            self.next -= self.size;
            self.wrap = !self.wrap;
        }
        self.room -= done as u16;
        self.since += done as u16;
        self.in_flight += done as u16;
        done
    }

    /// [`AnyRing::gather`] of what is left where the first look ended.
    #[inline(never)]
    fn gather_rest(
        &mut self,
        memory: &Memory,
        out: &mut Burst,
        max: usize,
        mut wanted: impl FnMut(&mut Packet, u32) -> bool,
    ) -> Result<(usize, Option<Used>), Violation> {
        let (areas, mut done) = (memory.areas(), 0);
        while self.buffers.ordered {
            let (count, run) = self.take_ordered(&areas.descriptors, out, max.saturating_sub(done), &mut wanted);
            done += count;
            if count == run {
                // Behind the ring's end the next round begins.
                if self.used == 0 && run > 0 {
                    continue;
                }
                return Ok((done, None));
            }
            // Looked at again: whatever it says now is checked now.
            let (key, len) = Self::used(areas.descriptors.at(self.used.into()));
            let turn = self.used_turn();
            if key & TURN != turn {
                return Ok((done, None));
            }
            if key == turn | u32::from(self.used) {
                let id = self.used;
                self.skip(1);
                return Ok((done, Some(Used { id, len })));
            }
            self.buffers.leave_order();
        }
        self.gather_any(memory, out, max - done, wanted).map(|(more, odd)| (done + more, odd))
    }

    /// [`AnyRing::offer`] with any free numbers.
    #[inline(never)]
    fn offer_any(
        &mut self,
        memory: &Memory,
        burst: &mut Burst,
        max: usize,
        mut part: impl FnMut(&mut Packet) -> Option<Part>,
    ) -> usize {
        let areas = &memory.areas();
        let (shown, mut hidden) = self.turn();
        let (size, mut place, mut turn, mut rest) = (self.size, self.next, shown, 0);
        let done = self.buffers.slots.put_burst(burst, max.min(self.room.into()), |packet, id| {
            let Some(part) = part(packet) else { return false };
            rest = if part.write { WRITE } else { 0 };
            Self::describe(areas.descriptors.at(place.into()), turn ^ hidden | rest, id, &part);
            hidden = 0;
            place += 1;
            if place == size {
                place = 0;
                turn ^= AVAIL | USED;
            }
            true
        });
        self.offered(shown | rest, done)
    }

    /// [`AnyRing::gather`] of buffers with any numbers.
    #[inline(never)]
    fn gather_any(
        &mut self,
        memory: &Memory,
        out: &mut Burst,
        max: usize,
        wanted: impl FnMut(&mut Packet, u32) -> bool,
    ) -> Result<(usize, Option<Used>), Violation> {
        let areas = &memory.areas();
        let (size, mut place) = (self.size, self.used);
        let mut turn = if self.used_wrap { USED_UP } else { 0 };
        let next = || {
            // Acquire: section 2.8.22, flags, number and length in one word before the buffer.
            let word = u64::from_le(areas.descriptors.at(place.into()).load_u64::<8>(Ordering::Acquire));
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
        let (done, stop) = self.buffers.slots.take_burst(out, max.min(self.in_flight.into()), true, next, wanted);
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
}

impl AnyRing for Packed {
    /// Allocates; called at Start.
    fn new(memory: &Memory, event_idx: bool) -> Self {
        let size = memory.size;
        let mut ring = Self {
            size,
            event_idx,
            buffers: Buffers::new(size),
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
        ring.reset(memory);
        ring
    }

    fn reset(&mut self, _: &Memory) {
        self.buffers.restart();
        self.count.fill(1);
        (self.room, self.next, self.used, self.shown, self.since, self.in_flight) = (self.size, 0, 0, 0, 0, 0);
        // Section 2.8.1: both wrap counters start at 1.
        (self.wrap, self.used_wrap, self.held) = (true, true, None);
    }

    fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    #[inline(always)]
    fn buffers_mut(&mut self) -> &mut Buffers {
        &mut self.buffers
    }

    fn take(&mut self, id: u16) -> Option<Packet> {
        let packet = self.buffers.take(id)?;
        if self.buffers.ordered {
            self.room += 1;
            self.in_flight -= 1;
        } else {
            self.recycle(id);
        }
        Some(packet)
    }

    fn free(&self) -> usize {
        usize::from(self.room)
    }

    fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    #[inline(always)]
    fn offer(
        &mut self,
        memory: &Memory,
        burst: &mut Burst,
        max: usize,
        mut part: impl FnMut(&mut Packet) -> Option<Part>,
    ) -> usize {
        if !self.buffers.ordered {
            return self.offer_any(memory, burst, max, part);
        }
        let (areas, mut all) = (memory.areas(), 0);
        loop {
            // Behind the ring's end the next round begins.
            let run = (max - all).min(self.room.into()).min(usize::from(self.size - self.next));
            let (shown, mut hidden) = self.turn();
            let mut rest = 0;
            let done = self.buffers.row.put_burst(burst, run, &areas.descriptors, |packet, place, descriptor| {
                let Some(part) = part(packet) else { return false };
                rest = if part.write { WRITE } else { 0 };
                Self::describe(descriptor, shown ^ hidden | rest, place as u16, &part);
                hidden = 0;
                true
            });
            all += self.offered(shown | rest, done);
            if done < run || run == 0 || burst.is_empty() {
                return all;
            }
        }
    }

    #[inline(always)]
    fn gather(
        &mut self,
        memory: &Memory,
        out: &mut Burst,
        max: usize,
        mut plain: impl FnMut(&mut Packet, u32) -> bool,
        wanted: impl FnMut(&mut Packet, u32) -> bool,
    ) -> Result<(usize, Option<Used>), Violation> {
        let mut done = 0;
        if self.buffers.ordered {
            (done, _) = self.take_ordered(&memory.areas().descriptors, out, max, &mut plain);
            let (key, _) = Self::used(memory.areas().descriptors.at(self.used.into()));
            if done == max || key & TURN != self.used_turn() {
                return Ok((done, None));
            }
        }
        self.gather_rest(memory, out, max - done, wanted).map(|(more, odd)| (done + more, odd))
    }

    #[inline(always)]
    fn gather_finished(&mut self, memory: &Memory, out: &mut Burst) -> Result<(usize, Option<Used>), Violation> {
        self.gather(memory, out, BURST_MAX, |_, _| true, |_, _| true)
    }

    fn add(&mut self, memory: &Memory, first: &Part, then: Option<&Part>) -> Option<u16> {
        let areas = &memory.areas();
        let needed = 1 + u16::from(then.is_some());
        if self.buffers.ordered && needed > 1 {
            self.buffers.leave_order();
        }
        if self.room < needed {
            return None;
        }
        let id = self.buffers.take_number()?;
        let head = self.advance(first, then.is_some());
        if let Some(part) = then {
            let place = self.advance(part, false);
            Self::describe(areas.descriptors.at(place.0.into()), place.1, id, part);
        }
        if let Some(count) = self.count.get_mut(usize::from(id)) {
            *count = needed as u8;
        }
        // Section 2.8.21.1.1: the flags of the first descriptor last of all; the device stops in front of it.
        if self.held.is_some() {
            Self::describe(areas.descriptors.at(head.0.into()), head.1, id, first);
        } else {
            Self::describe_held(areas.descriptors.at(head.0.into()), id, first);
            self.held = Some(head);
        }
        self.room -= needed;
        self.since += needed;
        self.in_flight += 1;
        Some(id)
    }

    /// Section 2.8.21.3.
    fn publish(&mut self, memory: &Memory) -> bool {
        let areas = &memory.areas();
        let Some((place, flags)) = self.held.take() else {
            return false;
        };
        // Release: everything behind it first.
        areas.descriptors.at(place.into()).store_u16::<14>(flags.to_le(), Ordering::Release);
        let (old, since) = (self.shown, core::mem::take(&mut self.since));
        self.shown = self.next;
        // The flags before the device's suppression structure is read (section 2.8.21.3.1).
        fence(Ordering::SeqCst);
        match u16::from_le(areas.device.load_u16::<FLAGS>(Ordering::Relaxed)) {
            DISABLE => false,
            DESC if self.event_idx => {
                // Section 2.8.14: the place that it waits for was passed. Places are counted from `old` on.
                let event = u16::from_le(areas.device.load_u16::<0>(Ordering::Relaxed)) & !WRAP;
                let distance = if event >= old { event - old } else { event.saturating_add(self.size) - old };
                distance < since
            }
            _ => true,
        }
    }

    /// Only the next descriptor says so.
    fn pending(&self, memory: &Memory) -> Result<bool, Violation> {
        let areas = &memory.areas();
        // Acquire: section 2.8.22, the flags before the rest.
        let flags = u16::from_le(areas.descriptors.at(self.used.into()).load_u16::<14>(Ordering::Acquire));
        Ok(self.in_flight > 0 && self.is_used(flags))
    }

    fn pop(&mut self, memory: &Memory) -> Result<Option<Used>, Violation> {
        let areas = &memory.areas();
        // Acquire: section 2.8.22, flags, number and length in one word before the buffer.
        let word = u64::from_le(areas.descriptors.at(self.used.into()).load_u64::<8>(Ordering::Acquire));
        if self.in_flight == 0 || !self.is_used((word >> 48) as u16) {
            return Ok(None);
        }
        let (len, id) = (word as u32, (word >> 32) as u16);
        if self.buffers.ordered && usize::from(id) != self.buffers.row.head() {
            self.buffers.leave_order();
        }
        // Section 2.8.6: the device skips as many descriptors as the buffer had.
        self.skip(u16::from(*self.count.get(usize::from(id)).ok_or(Violation)?));
        Ok(Some(Used { id, len }))
    }

    fn recycle(&mut self, id: u16) {
        if let Some(count) = self.count.get_mut(usize::from(id)) {
            self.room += u16::from(*count);
            *count = 1;
            self.buffers.slots.give_number(id);
            self.in_flight -= 1;
        }
    }

    fn arm(&mut self, memory: &Memory) -> Result<bool, Violation> {
        let areas = &memory.areas();
        if self.event_idx {
            let place = self.used | if self.used_wrap { WRAP } else { 0 };
            areas.driver.store_u16::<0>(place.to_le(), Ordering::Relaxed);
            areas.driver.store_u16::<FLAGS>(DESC.to_le(), Ordering::Release);
        } else {
            areas.driver.store_u16::<FLAGS>(ENABLE.to_le(), Ordering::Relaxed);
        }
        // The request before the look.
        fence(Ordering::SeqCst);
        self.pending(memory)
    }

    fn disarm(&mut self, memory: &Memory) {
        memory.areas().driver.store_u16::<FLAGS>(DISABLE.to_le(), Ordering::Relaxed);
    }
}
