//! Packets that a device has, by the number that it will name them with, and the numbers that are free.
//!
//! A packet moves from a burst to its place and back with its place's line as the only memory that is looked at: one word
//! beside it says whether it is there, under which number, and what else is noted of it.

use alloc::boxed::Box;
use core::mem::MaybeUninit;

use super::{Burst, Packet};

/// Nothing is here: these bits are set in a place's word, with the next free number below them. A number that a device names has
/// 32 bits, so it equals no such word.
const VACANT: u64 = u64::MAX << 31;
const NOTE_SHIFT: u32 = 32;

/// One place. Invariant: without `VACANT` in `state` the packet is initialised, and `state` is its number, the place's own, with
/// its note above.
#[repr(C, align(64))]
struct Slot {
    packet: MaybeUninit<Packet>,
    state: u64,
}

const _: () = assert!(size_of::<Slot>() == 64);

impl Slot {
    fn is_vacant(&self) -> bool {
        self.state & 1 << 63 != 0
    }
}

/// See the module.
pub struct Slots {
    /// As many as a power of two.
    slots: Box<[Slot]>,
    /// Numbers that are given out: below this.
    size: usize,
    used: usize,
    /// The first free number, for users that take numbers from here, and how many there are. Invariant: this and what a vacant
    /// place has in its lowest bits is below the number of places.
    next: u16,
    free: usize,
}

/// Why [`Slots::take_burst`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop<T> {
    /// Nothing more, or no room.
    End,
    /// The packet with that number was not wanted, or has a note; it is where it was.
    Odd(u32, T),
    /// There is no packet with that number.
    Unknown,
}

impl Slots {
    /// For numbers below `size`, at most 2^15. Allocates; called at Start.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let size = size.clamp(1, 1 << 15);
        let empty = |_| Slot { packet: MaybeUninit::uninit(), state: VACANT };
        let slots = (0..size.next_power_of_two()).map(empty).collect();
        let mut slots = Self { slots, size, used: 0, next: 0, free: 0 };
        slots.restart();
        slots
    }

    /// Packets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used
    }

    /// No packet is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Numbers that are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free
    }

    /// Makes every number free that no packet has.
    pub fn restart(&mut self) {
        (self.next, self.free) = (0, 0);
        for (number, slot) in self.slots.iter_mut().enumerate().take(self.size).rev() {
            if slot.is_vacant() {
                slot.state = VACANT | u64::from(self.next);
                self.next = number as u16;
                self.free += 1;
            }
        }
    }

    fn at(&self, number: u32) -> usize {
        number as usize & (self.slots.len() - 1)
    }

    /// The place of that number's packet, if it has one.
    #[inline]
    fn slot(&self, number: u32) -> Option<&Slot> {
        self.slots.get(self.at(number)).filter(|slot| !slot.is_vacant() && slot.state as u32 == number)
    }

    /// The same.
    #[inline]
    fn slot_mut(&mut self, number: u32) -> Option<&mut Slot> {
        let at = self.at(number);
        self.slots.get_mut(at).filter(|slot| !slot.is_vacant() && slot.state as u32 == number)
    }

    /// The free number that comes next.
    #[must_use]
    pub fn peek_number(&self) -> Option<u16> {
        (self.free > 0).then_some(self.next)
    }

    /// Takes a free number.
    pub fn take_number(&mut self) -> Option<u16> {
        let number = self.peek_number()?;
        let at = self.at(number.into());
        self.next = self.slots.get(at)?.state as u16;
        self.free -= 1;
        Some(number)
    }

    /// Makes a number free that was taken and has no packet.
    pub fn give_number(&mut self, number: u16) {
        let (at, next) = (self.at(number.into()), self.next);
        if let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.is_vacant()) {
            slot.state = VACANT | u64::from(next);
            self.next = number;
            self.free += 1;
        }
    }

    /// Keeps a packet under a number that is not free, with a note for the caller of at most 15 bits.
    ///
    /// # Errors
    /// The packet, if the number is taken or too large: then the caller gave one out twice.
    #[inline]
    pub fn put(&mut self, number: u16, note: u16, packet: Packet) -> Result<(), Packet> {
        match self.slots.get_mut(usize::from(number)) {
            Some(slot) if slot.is_vacant() => {
                slot.packet.write(packet);
                slot.state = u64::from(number) | u64::from(note & 0x7fff) << NOTE_SHIFT;
                self.used += 1;
                Ok(())
            }
            _ => Err(packet),
        }
    }

    /// The packet with that number, where it is.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&Packet> {
        // SAFETY: a place that is not vacant holds a packet.
        self.slot(number).map(|slot| unsafe { slot.packet.assume_init_ref() })
    }

    /// What was noted of the packet with that number.
    #[must_use]
    pub fn note(&self, number: u32) -> Option<u16> {
        self.slot(number).map(|slot| (slot.state >> NOTE_SHIFT) as u16)
    }

    /// The packet with that number and its note. The number is not free by that.
    #[inline]
    pub fn take(&mut self, number: u32) -> Option<(Packet, u16)> {
        let slot = self.slot_mut(number)?;
        let note = (slot.state >> NOTE_SHIFT) as u16;
        slot.state = VACANT;
        // SAFETY: the place was not vacant, so it held a packet; from here on it is, so that nobody takes it again.
        let packet = unsafe { slot.packet.assume_init_read() };
        self.used -= 1;
        Some((packet, note))
    }

    /// Moves packets from the front of `burst` to free numbers, at most as many as are free, until `each`, which sees a packet in
    /// its place and the number, does not want one: that one stays what it was. How many.
    #[inline(always)]
    pub fn put_burst(&mut self, burst: &mut Burst, max: usize, each: impl FnMut(&mut Packet, u16) -> bool) -> usize {
        let (done, next) =
            self.place(burst, max.min(self.free), self.next.into(), |_, state| (state as u16).into(), each);
        self.next = next as u16;
        self.free -= done;
        done
    }

    /// As [`Slots::put_burst`], to the numbers from `first` on, round and round. The caller knows that no packet has them.
    #[inline(always)]
    pub fn put_row(
        &mut self,
        burst: &mut Burst,
        max: usize,
        first: u16,
        each: impl FnMut(&mut Packet, u16) -> bool,
    ) -> usize {
        let mask = self.slots.len() - 1;
        self.place(burst, max, usize::from(first) & mask, |number, _| (number + 1) & mask, each).0
    }

    /// How many were moved, and the number that follows. `first` is below the number of places, and so is what `follow` makes of
    /// a number and the word of its vacant place.
    #[inline(always)]
    fn place(
        &mut self,
        burst: &mut Burst,
        max: usize,
        first: usize,
        follow: impl Fn(usize, u64) -> usize,
        mut each: impl FnMut(&mut Packet, u16) -> bool,
    ) -> (usize, usize) {
        let len = burst.len();
        let count = len.min(max);
        let (from, slots) = (burst.as_mut_ptr(), self.slots.as_mut_ptr());
        let (mut done, mut number) = (0, first);
        while done < count {
            // SAFETY: `number` is below the number of places.
            let slot = unsafe { &mut *slots.add(number) };
            debug_assert!(slot.is_vacant(), "the number was free");
            // SAFETY: `done` is below the burst's length. Until `each` wants it the packet counts as the burst's, and the copy
            // is the only one that is looked at.
            let packet = unsafe { slot.packet.write(from.add(done).read()) };
            if !each(packet, number as u16) {
                break;
            }
            let state = core::mem::replace(&mut slot.state, number as u64);
            number = follow(number, state);
            done += 1;
        }
        // SAFETY: the packets in front were moved away; the others move up and are as many as the new length says.
        unsafe {
            core::ptr::copy(from.add(done), from, len - done);
            burst.set_len(len - done);
        }
        self.used += done;
        (done, number)
    }

    /// Moves packets to the end of `out`, at most `max`: those whose numbers `next` names, if `wanted`, which sees a packet where
    /// it arrives, wants them and they have no note. With `free` their numbers are free by that. How many, and why no more.
    #[inline(always)]
    pub fn take_burst<T: Copy>(
        &mut self,
        out: &mut Burst,
        max: usize,
        free: bool,
        mut next: impl FnMut() -> Option<(u32, T)>,
        mut wanted: impl FnMut(&mut Packet, T) -> bool,
    ) -> (usize, Stop<T>) {
        let (len, mask) = (out.len(), self.slots.len() - 1);
        let room = out.capacity().saturating_sub(len).min(max);
        // SAFETY: `len` is at most the capacity.
        let (to, slots) = (unsafe { out.as_mut_ptr().add(len) }, self.slots.as_mut_ptr());
        let (mut done, mut stop) = (0, Stop::End);
        let mut vacant = VACANT | u64::from(self.next);
        while done < room {
            let Some((number, what)) = next() else { break };
            // SAFETY: there are a power of two of places, of which `mask` names the last.
            let slot = unsafe { &mut *slots.add(number as usize & mask) };
            if slot.state != u64::from(number) {
                let here = !slot.is_vacant() && slot.state as u32 == number;
                stop = if here { Stop::Odd(number, what) } else { Stop::Unknown };
                break;
            }
            // SAFETY: the place is not vacant, so it holds a packet; `done` is below the room behind `out`. Until it is wanted
            // the packet counts as the place's, and the copy is the only one that is looked at.
            let packet = unsafe {
                let place = to.add(done);
                place.write(slot.packet.assume_init_read());
                &mut *place
            };
            if !wanted(packet, what) {
                stop = Stop::Odd(number, what);
                break;
            }
            if free {
                slot.state = vacant;
                vacant = VACANT | u64::from(number);
            } else {
                slot.state = VACANT;
            }
            done += 1;
        }
        // SAFETY: so many were written behind the old length, and are nobody else's any more.
        unsafe { out.set_len(len + done) };
        self.used -= done;
        if free {
            self.next = vacant as u16;
            self.free += done;
        }
        (done, stop)
    }

    /// Takes packets back from a device that stands still, as many as fit into `out`; `each` sees every one.
    pub fn drain(&mut self, out: &mut Burst, mut each: impl FnMut(&mut Packet)) -> usize {
        let before = out.len();
        for number in 0..self.size as u32 {
            if self.used == 0 || out.is_full() {
                break;
            }
            if let Some((mut packet, _)) = self.take(number) {
                each(&mut packet);
                out.extend([packet]);
            }
        }
        out.len() - before
    }
}
