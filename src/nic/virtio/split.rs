//! The split virtqueue (virtio 1.2 section 2.7).
//!
//! The driver writes the descriptor table and the available ring, the device the used ring. The table is never read
//! back: what a chain consists of is remembered here.

use alloc::boxed::Box;
use core::sync::atomic::{Ordering, fence};

use super::header::{LEAST, Usual};
use super::ring::{AnyRing, Areas, Buffers, Layout, Memory, Part, Used, Violation, receive_part};
use super::spec::header::LEN;
use super::spec::split::{DESCRIPTOR, NEXT, NO_INTERRUPT, NO_NOTIFY, USED_ELEMENT, WRITE};
use crate::mem::packet::BURST_MAX;
use crate::mem::row::Row;
use crate::mem::rows::Entry;
use crate::mem::slots::Stop;
use crate::mem::{Burst, Packet};

/// No second descriptor.
const NONE: u16 = u16::MAX;

/// See the module.
pub(super) struct Split {
    /// A power of two (section 2.7).
    size: u16,
    event_idx: bool,
    /// In order they go on at `avail` and begin at `used`; else their numbers are those of descriptors.
    buffers: Buffers,
    /// Second descriptor of the chain that starts here.
    second: Box<[u16]>,
    /// Next `avail.idx`, and what the device was shown of it.
    avail: u16,
    shown: u16,
    /// Next used element to look at, and the device's index as it was seen last.
    used: u16,
    seen: u16,
}

impl Split {
    /// Descriptor table, available ring and used ring: alignments 16, 2 and 4 (section 2.7).
    pub fn layout(size: u16) -> Layout {
        let n = usize::from(size);
        let driver = DESCRIPTOR * n;
        // An element of the used ring is one word of 64 bits: it is aligned to them.
        let device = (driver + 6 + 2 * n).next_multiple_of(64) + 4;
        let (driver_event, device_event) = (driver + 4 + 2 * n, device + 4 + USED_ELEMENT * n);
        Layout { driver, device, driver_event, device_event, len: device_event + 2 }
    }

    #[inline(always)]
    fn describe(descriptor: Entry<'_, 16, 8>, part: &Part, next: u16) {
        let flags = if next == NONE { 0 } else { NEXT } | if part.write { WRITE } else { 0 };
        let next = if next == NONE { 0 } else { next };
        let rest = (u64::from(flags) << 32 | u64::from(next) << 48) + part.len;
        descriptor.store_u64::<0>(part.addr.to_le(), Ordering::Relaxed);
        descriptor.store_u64::<8>(rest.to_le(), Ordering::Relaxed);
    }

    /// The device's index; an error if it is ahead of what was made available.
    #[inline(always)]
    fn device_index(&self, areas: &Areas<'_>) -> Result<u16, Violation> {
        // Acquire: section 2.7.14, the index before the elements and the buffers.
        let index = u16::from_le(areas.device.load_u16::<2>(Ordering::Acquire));
        if usize::from(index.wrapping_sub(self.used)) > self.buffers.in_flight() { Err(Violation) } else { Ok(index) }
    }

    /// Lets `take` move finished packets, in order, from the front to the end of `out`, at most as many as it is told, until it has
    /// no more. How many, and whether these were all that are finished and fit.
    #[inline(always)]
    fn take_ordered(
        &mut self,
        areas: &Areas<'_>,
        out: &mut Burst,
        max: usize,
        mut take: impl FnMut(&mut Row, &mut Burst, usize) -> (usize, bool),
    ) -> Result<(usize, bool), Violation> {
        self.seen = self.device_index(areas)?;
        let finished = usize::from(self.seen.wrapping_sub(self.used));
        let room = max.min(finished).min(out.capacity() - out.len());
        let (mut done, more) = self.take_run(out, room, &mut take);
        if more {
            done += self.take_again(out, room - done, &mut take);
        }
        Ok((done, done == room))
    }

    #[inline(always)]
    fn take_run(
        &mut self,
        out: &mut Burst,
        max: usize,
        take: &mut impl FnMut(&mut Row, &mut Burst, usize) -> (usize, bool),
    ) -> (usize, bool) {
        let (done, more) = take(&mut self.buffers.row, out, max);
        self.used = self.used.wrapping_add(done as u16);
        (done, more)
    }

    /// Behind the ring's end its first place follows.
    #[inline(never)]
    fn take_again(
        &mut self,
        out: &mut Burst,
        max: usize,
        take: &mut impl FnMut(&mut Row, &mut Burst, usize) -> (usize, bool),
    ) -> usize {
        self.take_run(out, max, take).0
    }

    /// So many more are available.
    #[inline(always)]
    fn offered(&mut self, done: usize) -> usize {
        self.avail = self.avail.wrapping_add(done as u16);
        done
    }

    /// The rest of [`AnyRing::offer_empty`].
    #[inline(never)]
    fn offer_more(&mut self, memory: &Memory, burst: &mut Burst) -> usize {
        self.offer_empty(memory, burst)
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
        let (areas, mut done) = (&memory.areas(), 0);
        if self.buffers.ordered {
            let all;
            (done, all) = self.take_ordered(areas, out, max, |row, out, room| {
                let each = |packet: &mut Packet, place: usize, used: Entry<'_, 8, 8>| {
                    let (id, len) = Self::element(used);
                    id as usize == place && wanted(packet, len)
                };
                row.take_some(out, room, &areas.used, each)
            })?;
            if all {
                return Ok((done, None));
            }
            // Looked at again: whatever it says now is checked now.
            let (id, len) = Self::element(areas.used.at(self.used.into()));
            if id as usize == self.buffers.row.head() {
                self.used = self.used.wrapping_add(1);
                return Ok((done, Some(Used { id: id as u16, len })));
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
        let mut avail = usize::from(self.avail);
        let done = self.buffers.slots.put_burst(burst, max, |packet, id| {
            let Some(part) = part(packet) else { return false };
            Self::describe(areas.descriptors.at(id.into()), &part, NONE);
            areas.avail.at(avail).store_u16::<0>(id.to_le(), Ordering::Relaxed);
            avail += 1;
            true
        });
        self.avail = avail as u16;
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
        self.seen = self.device_index(areas)?;
        let mut used = usize::from(self.used);
        let next = || {
            let (id, len) = Self::element(areas.used.at(used));
            used += 1;
            Some((id, len))
        };
        let finished = usize::from(self.seen.wrapping_sub(self.used));
        let (done, stop) = self.buffers.slots.take_burst(out, max.min(finished), true, next, wanted);
        self.used = used as u16;
        match stop {
            Stop::End => Ok((done, None)),
            Stop::Odd(id, len) => Ok((done, Some(Used { id: id as u16, len }))),
            Stop::Unknown => Err(Violation),
        }
    }

    /// Section 2.7.8: the number of a used buffer, and the bytes that the device wrote.
    #[inline(always)]
    fn element(used: Entry<'_, 8, 8>) -> (u32, u32) {
        let word = u64::from_le(used.load_u64::<0>(Ordering::Relaxed));
        (word as u32, (word >> 32) as u32)
    }
}

impl AnyRing for Split {
    /// Allocates; called at Start.
    fn new(memory: &Memory, event_idx: bool) -> Self {
        let size = memory.size;
        let mut ring = Self {
            size,
            event_idx,
            buffers: Buffers::new(size),
            second: (0..size).map(|_| NONE).collect(),
            avail: 0,
            shown: 0,
            used: 0,
            seen: 0,
        };
        ring.reset(memory);
        ring
    }

    fn reset(&mut self, memory: &Memory) {
        self.buffers.restart();
        self.second.fill(NONE);
        (self.avail, self.shown, self.used, self.seen) = (0, 0, 0, 0);
        let avail = memory.areas().avail;
        (0..self.size).for_each(|place| avail.at(place.into()).store_u16::<0>(place.to_le(), Ordering::Relaxed));
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
        if self.buffers.ordered { self.buffers.row.room() } else { self.buffers.slots.free() }
    }

    fn chain_number(&mut self) -> Option<u16> {
        if self.buffers.ordered {
            self.buffers.leave_order();
        }
        self.buffers.slots.peek_number()
    }

    #[inline(always)]
    fn offer_empty(&mut self, memory: &Memory, burst: &mut Burst) -> usize {
        if !self.buffers.ordered {
            return self.offer_any(memory, burst, BURST_MAX, receive_part);
        }
        let descriptors = &memory.areas().descriptors;
        let each = |addr, len, _: usize, descriptor: Entry<'_, 16, 8>| {
            Self::describe(descriptor, &Part { addr, len, write: true }, NONE);
        };
        let (done, more) = self.buffers.row.put_empty(burst, BURST_MAX, descriptors, LEN as u32, 0, each);
        self.offered(done);
        if more { done + self.offer_more(memory, burst) } else { done }
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
        // The entry of each place names it already.
        let done = self.buffers.row.put_burst(burst, max, &memory.areas().descriptors, |packet, _, descriptor| {
            part(packet).map(|part| Self::describe(descriptor, &part, NONE)).is_some()
        });
        self.offered(done)
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
            let all;
            (done, all) = self.take_ordered(&areas, out, max, |row, out, room| {
                let written = |place: usize, used: Entry<'_, 8, 8>| {
                    // Section 2.7.8: the number below, the length above. What is left of the two is the rest of a length if the
                    // number is the place, and else no length.
                    let element = u64::from_le(used.load_u64::<0>(Ordering::Relaxed));
                    (element.wrapping_sub((u64::from(LEAST) << 32) + place as u64).rotate_left(32), ())
                };
                row.take_filled(out, room, &areas.used, lengths, written, |front, ()| usual.fits(front).then_some(None))
            })?;
            if all {
                return Ok((done, None));
            }
        }
        self.gather_rest(memory, out, max - done, wanted).map(|(more, odd)| (done + more, odd))
    }

    #[inline(always)]
    fn gather_finished(&mut self, memory: &Memory, out: &mut Burst) -> Result<(usize, Option<Used>), Violation> {
        let mut done = 0;
        if self.buffers.ordered {
            let all;
            let areas = memory.areas();
            (done, all) = self.take_ordered(&areas, out, BURST_MAX, |row, out, room| {
                let each = |_: &mut Packet, place: usize, used: Entry<'_, 8, 8>| {
                    u32::from_le(used.load_u32::<0>(Ordering::Relaxed)) as usize == place
                };
                row.take_some(out, room, &areas.used, each)
            })?;
            if all {
                return Ok((done, None));
            }
            self.buffers.leave_order();
        }
        self.gather_any(memory, out, BURST_MAX, |_, _| true).map(|(more, odd)| (done + more, odd))
    }

    fn add(&mut self, memory: &Memory, first: &Part, then: Option<&Part>) -> Option<u16> {
        let areas = &memory.areas();
        if self.buffers.ordered && then.is_some() {
            self.buffers.leave_order();
        }
        if self.free() < 1 + usize::from(then.is_some()) {
            return None;
        }
        let head = self.buffers.take_number()?;
        let mut next = NONE;
        if let Some(part) = then {
            next = self.buffers.slots.take_number()?;
            Self::describe(areas.descriptors.at(next.into()), part, NONE);
            // Of a chain of one it is none already.
            if let Some(second) = self.second.get_mut(usize::from(head)) {
                *second = next;
            }
        }
        Self::describe(areas.descriptors.at(head.into()), first, next);
        // Section 2.7.13.2: the entry first; publish() shows it.
        areas.avail.at(self.avail.into()).store_u16::<0>(head.to_le(), Ordering::Relaxed);
        self.avail = self.avail.wrapping_add(1);
        Some(head)
    }

    /// Section 2.7.13.
    fn publish(&mut self, memory: &Memory) -> bool {
        let areas = &memory.areas();
        let old = self.shown;
        if old == self.avail {
            return false;
        }
        // Release: section 2.7.13.3.1, descriptors and entries before the index.
        areas.driver.store_u16::<2>(self.avail.to_le(), Ordering::Release);
        self.shown = self.avail;
        // Section 2.7.13.4.1: the index before the suppression fields are read.
        fence(Ordering::SeqCst);
        if self.event_idx {
            let event = u16::from_le(areas.device_event.load_u16::<0>(Ordering::Relaxed));
            // Section 2.7.10.1: the index moved past avail_event.
            self.avail.wrapping_sub(event).wrapping_sub(1) < self.avail.wrapping_sub(old)
        } else {
            let flags = u16::from_le(areas.device.load_u16::<0>(Ordering::Relaxed));
            flags & NO_NOTIFY == 0
        }
    }

    fn pending(&self, memory: &Memory) -> Result<bool, Violation> {
        let areas = &memory.areas();
        Ok(self.device_index(areas)? != self.used)
    }

    fn pop(&mut self, memory: &Memory) -> Result<Option<Used>, Violation> {
        let areas = &memory.areas();
        if self.seen == self.used {
            self.seen = self.device_index(areas)?;
            if self.seen == self.used {
                return Ok(None);
            }
        }
        let (id, len) = Self::element(areas.used.at(self.used.into()));
        if id >= self.size.into() {
            return Err(Violation);
        }
        if self.buffers.ordered && id as usize != self.buffers.row.head() {
            self.buffers.leave_order();
        }
        self.used = self.used.wrapping_add(1);
        Ok(Some(Used { id: id as u16, len }))
    }

    fn recycle(&mut self, id: u16) {
        if let Some(second) = self.second.get_mut(usize::from(id)) {
            if *second != NONE {
                self.buffers.slots.give_number(*second);
                *second = NONE;
            }
            self.buffers.slots.give_number(id);
        }
    }

    fn arm(&mut self, memory: &Memory) -> Result<bool, Violation> {
        let areas = &memory.areas();
        if self.event_idx {
            // Section 2.7.7.1: used_event, behind the available ring.
            areas.driver_event.store_u16::<0>(self.used.to_le(), Ordering::Relaxed);
        } else {
            areas.driver.store_u16::<0>(0, Ordering::Relaxed);
        }
        // The request before the look: section 2.7.14's race.
        fence(Ordering::SeqCst);
        self.pending(memory)
    }

    /// With event indices interrupts stop by themselves.
    fn disarm(&mut self, memory: &Memory) {
        if !self.event_idx {
            memory.areas().driver.store_u16::<0>(NO_INTERRUPT.to_le(), Ordering::Relaxed);
        }
    }
}
