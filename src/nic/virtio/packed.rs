//! The packed virtqueue (virtio 1.2 section 2.8).
//!
//! Driver and device write one ring of descriptors in turn. A buffer's number (`id`) is the driver's; how many
//! descriptors it took is remembered here, never read back.

use alloc::boxed::Box;
use core::sync::atomic::{Ordering, fence};

use super::header::{LEAST, Usual};
use super::ring::{AnyRing, Areas, Buffers, Layout, Memory, Part, Used, Violation, receive_part};
use super::spec::header::LEN;
use super::spec::packed::{AVAIL, DESC, DISABLE, ENABLE, NEXT, USED, WRITE};
use crate::mem::packet::BURST_MAX;
use crate::mem::row::Row;
use crate::mem::rows::Entry;
use crate::mem::slots::Stop;
use crate::mem::{Burst, Packet};

const DESCRIPTOR: usize = 16;
/// Event suppression structure: `off_wrap`, `flags` (section 2.8.14).
const FLAGS: usize = 2;
const WRAP: u16 = 1 << 15;

/// Flags of a descriptor that the device has used while its wrap counter is 1, in the word of length, number and flags.
const USED_UP: u64 = ((AVAIL | USED) as u64) << 48;
/// They and the number.
const KEY: u64 = USED_UP | 0xffff << 32;
/// They, the number and the length.
const SAID: u64 = KEY | u32::MAX as u64;

/// See the module.
pub(super) struct Packed {
    size: u16,
    event_idx: bool,
    /// In order they go on at `next` and begin at `used`; else their numbers are those of buffers.
    buffers: Buffers,
    /// Descriptors of the buffer with that number, or of the next one.
    count: Box<[u8]>,
    /// Free descriptors, unless all buffers have one and are in order.
    room: u16,
    /// Where the driver writes next, and the flags that make a descriptor available there, which its wrap counter says.
    next: u16,
    turn: u16,
    /// Where the device writes next, and its wrap counter as the driver sees it.
    used: u16,
    used_wrap: bool,
    /// Descriptors that the device has not been notified of.
    since: u16,
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
        let (place, turn) = (self.next, self.turn);
        self.go_on(1);
        (place, turn | if next { NEXT } else { 0 } | if part.write { WRITE } else { 0 })
    }

    /// Moves the place where the driver writes next, at most to the ring's end: there the next round begins.
    #[inline(always)]
    fn go_on(&mut self, descriptors: u16) {
        self.next += descriptors;
        if self.next >= self.size {
            self.next -= self.size;
            self.turn ^= AVAIL | USED;
        }
    }

    /// From here on numbers are any.
    #[cold]
    fn leave_order(&mut self) {
        self.room = self.buffers.row.room() as u16;
        self.buffers.leave_order();
    }

    /// Makes a descriptor available.
    #[inline(always)]
    fn describe(descriptor: Entry<'_, 16, 8>, flags: u16, id: usize, part: &Part) {
        let rest = (u64::from(flags) << 48) + ((id as u64) << 32) + part.len;
        descriptor.store_u64::<0>(part.addr.to_le(), Ordering::Relaxed);
        // Release: section 2.8.21.1, the flags behind everything else. They are in one word with what they vouch for.
        descriptor.store_u64::<8>(rest.to_le(), Ordering::Release);
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

    /// The flags of a descriptor that the device has used while its wrap counter is as it is.
    #[inline(always)]
    fn used_turn(&self) -> u64 {
        if self.used_wrap { USED_UP } else { 0 }
    }

    /// Number and flags of a descriptor, as far as they say that it is used, and the bytes that the device wrote.
    #[inline(always)]
    fn used(descriptor: Entry<'_, 16, 8>) -> (u64, u32) {
        // Acquire: section 2.8.22, flags, number and length in one word before the buffer.
        let word = u64::from_le(descriptor.load_u64::<8>(Ordering::Acquire));
        (word & KEY, word as u32)
    }

    /// Lets `take` move finished packets, in order, from the front to the end of `out`, at most as many as it is told, to the ring's
    /// end at most; it is told the flags that say so, too. How many.
    #[inline(always)]
    fn take_ordered(
        &mut self,
        out: &mut Burst,
        max: usize,
        take: &mut impl FnMut(&mut Row, &mut Burst, usize, u64) -> (usize, bool),
    ) -> usize {
        let turn = self.used_turn();
        let (done, more) = take(&mut self.buffers.row, out, max, turn);
        self.skip(done as u16);
        if more { done + self.take_more(out, max - done, take) } else { done }
    }

    /// The rest of [`Packed::take_ordered`].
    #[inline(never)]
    fn take_more(
        &mut self,
        out: &mut Burst,
        max: usize,
        take: &mut impl FnMut(&mut Row, &mut Burst, usize, u64) -> (usize, bool),
    ) -> usize {
        self.take_ordered(out, max, take)
    }

    /// Whether the device has used the next descriptor, whatever it says of it.
    #[inline(always)]
    fn is_next_used(&self, areas: &Areas<'_>) -> bool {
        Self::used(areas.descriptors.at(self.used.into())).0 & USED_UP == self.used_turn()
    }

    /// Lets `put` make packets from the front of `burst` available in order, at most as many as it is told, to the ring's end at
    /// most; it is told the flags that do it. How many.
    #[inline(always)]
    fn offer_ordered(
        &mut self,
        burst: &mut Burst,
        max: usize,
        put: &mut impl FnMut(&mut Row, &mut Burst, usize, u16) -> (usize, bool),
    ) -> usize {
        let (done, more) = put(&mut self.buffers.row, burst, max, self.turn);
        self.go_on(done as u16);
        self.since += done as u16;
        if more { done + self.offer_more(burst, max - done, put) } else { done }
    }

    /// The rest of [`Packed::offer_ordered`].
    #[inline(never)]
    fn offer_more(
        &mut self,
        burst: &mut Burst,
        max: usize,
        put: &mut impl FnMut(&mut Row, &mut Burst, usize, u16) -> (usize, bool),
    ) -> usize {
        self.offer_ordered(burst, max, put)
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
            done += self.take_ordered(out, max - done, &mut |row, out, run, turn| {
                row.take_some(out, run, &areas.descriptors, |packet, place, descriptor| {
                    let (key, len) = Self::used(descriptor);
                    key == turn + ((place as u64) << 32) && wanted(packet, len)
                })
            });
            if done == max || out.is_full() || self.buffers.row.is_empty() {
                return Ok((done, None));
            }
            // Looked at again: whatever it says now is checked now.
            let (key, len) = Self::used(areas.descriptors.at(self.used.into()));
            let turn = self.used_turn();
            if key & USED_UP != turn {
                return Ok((done, None));
            }
            if key == turn | u64::from(self.used) << 32 {
                let id = self.used;
                self.skip(1);
                return Ok((done, Some(Used { id, len })));
            }
            self.leave_order();
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
        let (size, mut place, mut turn) = (self.size, self.next, self.turn);
        let done = self.buffers.slots.put_burst(burst, max.min(self.room.into()), |packet, id| {
            let Some(part) = part(packet) else { return false };
            let flags = turn | if part.write { WRITE } else { 0 };
            Self::describe(areas.descriptors.at(place.into()), flags, id.into(), &part);
            place += 1;
            if place == size {
                place = 0;
                turn ^= AVAIL | USED;
            }
            true
        });
        self.go_on(done as u16);
        self.since += done as u16;
        self.room -= done as u16;
        done
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
        let mut turn = self.used_turn();
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
        let (done, stop) = self.buffers.slots.take_burst(out, max.min(self.buffers.slots.len()), true, next, wanted);
        self.used = place;
        self.used_wrap = turn != 0;
        self.room += done as u16;
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
            turn: AVAIL,
            used: 0,
            used_wrap: true,
            since: 0,
        };
        ring.reset(memory);
        ring
    }

    fn reset(&mut self, _: &Memory) {
        self.buffers.restart();
        self.count.fill(1);
        (self.room, self.next, self.used, self.since) = (self.size, 0, 0, 0);
        // Section 2.8.1: both wrap counters start at 1; available is AVAIL equal to, USED unlike the driver's.
        (self.turn, self.used_wrap) = (AVAIL, true);
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
        if !self.buffers.ordered {
            self.recycle(id);
        }
        Some(packet)
    }

    fn free(&self) -> usize {
        if self.buffers.ordered { self.buffers.row.room() } else { self.room.into() }
    }

    fn chain_number(&mut self) -> Option<u16> {
        if self.buffers.ordered {
            self.leave_order();
        }
        self.buffers.slots.peek_number()
    }

    #[inline(always)]
    fn offer_empty(&mut self, memory: &Memory, burst: &mut Burst) -> usize {
        if !self.buffers.ordered {
            return self.offer_any(memory, burst, BURST_MAX, receive_part);
        }
        self.offer_ordered(burst, BURST_MAX, &mut |row, burst, run, turn| {
            let flags = turn | WRITE;
            row.put_empty(burst, run, &memory.areas().descriptors, LEN as u32, 0, |addr, len, place, descriptor| {
                Self::describe(descriptor, flags, place, &Part { addr, len, write: true });
            })
        })
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
        self.offer_ordered(burst, max, &mut |row, burst, run, turn| {
            row.put_some(burst, run, &memory.areas().descriptors, |packet, place, descriptor| {
                part(packet).map(|part| Self::describe(descriptor, turn, place, &part)).is_some()
            })
        })
    }

    #[inline(always)]
    fn gather(
        &mut self,
        memory: &Memory,
        out: &mut Burst,
        max: usize,
        usual: &Usual,
        wanted: impl FnMut(&mut Packet, u32) -> bool,
    ) -> Result<(usize, Option<Used>), Violation> {
        let mut done = 0;
        if self.buffers.ordered {
            let (areas, lengths) = (memory.areas(), usual.lengths());
            done = self.take_ordered(out, max, &mut |row, out, run, turn| {
                let expected = turn + u64::from(LEAST);
                let written = |place: usize, descriptor: Entry<'_, 16, 8>| {
                    // What is left is the rest of a length if flags and number are those of the place, and else no length.
                    // Acquire: section 2.8.22, flags, number and length in one word before the buffer.
                    let word = u64::from_le(descriptor.load_u64::<8>(Ordering::Acquire)) & SAID;
                    (word.wrapping_sub(expected + ((place as u64) << 32)), ())
                };
                let fits = |front: &_, ()| usual.fits(front).then_some(None);
                row.take_filled(out, run, &areas.descriptors, lengths, written, fits)
            });
            if done == max || !self.is_next_used(&areas) {
                return Ok((done, None));
            }
        }
        self.gather_rest(memory, out, max - done, wanted).map(|(more, odd)| (done + more, odd))
    }

    #[inline(always)]
    fn gather_finished(&mut self, memory: &Memory, out: &mut Burst) -> Result<(usize, Option<Used>), Violation> {
        let mut done = 0;
        if self.buffers.ordered {
            let areas = memory.areas();
            done = self.take_ordered(out, BURST_MAX, &mut |row, out, run, turn| {
                row.take_some(out, run, &areas.descriptors, |_, place, descriptor| {
                    Self::used(descriptor).0 == turn + ((place as u64) << 32)
                })
            });
            if !self.is_next_used(&areas) {
                return Ok((done, None));
            }
        }
        self.gather_rest(memory, out, BURST_MAX - done, |_, _| true).map(|(more, odd)| (done + more, odd))
    }

    fn add(&mut self, memory: &Memory, first: &Part, then: Option<&Part>) -> Option<u16> {
        let areas = &memory.areas();
        let needed = 1 + u16::from(then.is_some());
        if self.buffers.ordered && needed > 1 {
            self.leave_order();
        }
        if self.free() < needed.into() {
            return None;
        }
        let id = self.buffers.take_number()?;
        let head = self.advance(first, then.is_some());
        if let Some(part) = then {
            let place = self.advance(part, false);
            Self::describe(areas.descriptors.at(place.0.into()), place.1, id.into(), part);
        }
        if let Some(count) = self.count.get_mut(usize::from(id)) {
            *count = needed as u8;
        }
        // The first descriptor last: the device stops in front of it until its flags are there.
        Self::describe(areas.descriptors.at(head.0.into()), head.1, id.into(), first);
        self.since += needed;
        if !self.buffers.ordered {
            self.room -= needed;
        }
        Some(id)
    }

    /// Section 2.8.21.3; what was added is there already.
    fn publish(&mut self, memory: &Memory) -> bool {
        let areas = &memory.areas();
        let since = core::mem::take(&mut self.since);
        if since == 0 {
            return false;
        }
        // The flags before the device's suppression structure is read (section 2.8.21.3.1).
        fence(Ordering::SeqCst);
        match u16::from_le(areas.device.load_u16::<FLAGS>(Ordering::Relaxed)) {
            DISABLE => false,
            DESC if self.event_idx => {
                // Section 2.8.14: the place that it waits for was passed. Places are counted back from the last one.
                let event = u16::from_le(areas.device.load_u16::<0>(Ordering::Relaxed)) & !WRAP;
                self.next.wrapping_sub(1).wrapping_sub(event) & (self.size - 1) < since
            }
            _ => true,
        }
    }

    /// Only the next descriptor says so.
    fn pending(&self, memory: &Memory) -> Result<bool, Violation> {
        let areas = &memory.areas();
        // Acquire: section 2.8.22, the flags before the rest.
        let flags = u16::from_le(areas.descriptors.at(self.used.into()).load_u16::<14>(Ordering::Acquire));
        Ok(self.buffers.in_flight() > 0 && self.is_used(flags))
    }

    fn pop(&mut self, memory: &Memory) -> Result<Option<Used>, Violation> {
        let areas = &memory.areas();
        // Acquire: section 2.8.22, flags, number and length in one word before the buffer.
        let word = u64::from_le(areas.descriptors.at(self.used.into()).load_u64::<8>(Ordering::Acquire));
        if self.buffers.in_flight() == 0 || !self.is_used((word >> 48) as u16) {
            return Ok(None);
        }
        let (len, id) = (word as u32, (word >> 32) as u16);
        if self.buffers.ordered && usize::from(id) != self.buffers.row.head() {
            self.leave_order();
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
