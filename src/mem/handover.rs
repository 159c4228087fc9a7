//! Bursts on their way into the core and out of it, in memory of whoever lends the packets.

use core::mem::MaybeUninit;

use super::packet::{Burst, Packet, RawPacket};
use super::ring::Consumer;

/// Descriptors that can be taken as they are: packets, though not in the core's memory yet.
pub struct Lent<'a> {
    raws: &'a [RawPacket],
}

impl<'a> Lent<'a> {
    /// `None` if one of `raws` may not be sound, or has something that is `unwanted`: a number that is not zero. All are looked
    /// at: to stop at the first would be a branch for each.
    ///
    /// # Safety
    /// As for [`Packet::from_raw`], for each; and nobody else makes packets of them if there is a result.
    #[inline(always)]
    pub unsafe fn new(raws: &'a [RawPacket], unwanted: impl Fn(&RawPacket) -> u32) -> Option<Self> {
        let (mut doubts, mut found) = (0, 0);
        for raw in raws {
            doubts |= raw.doubts();
            found |= unwanted(raw);
        }
        (doubts >> 63 == 0 && found == 0).then_some(Self { raws })
    }

    /// Moves all to the end of a burst, as many as fit.
    pub fn move_to(&mut self, burst: &mut Burst) {
        let (len, room) = (burst.len(), burst.capacity() - burst.len());
        // SAFETY: these are the places behind those in use, of which there are so many.
        let count = unsafe {
            let places = burst.as_mut_ptr().add(len).cast::<MaybeUninit<Packet>>();
            self.give_to(core::slice::from_raw_parts_mut(places, room))
        };
        // SAFETY: so many were filled.
        unsafe { burst.set_len(len + count) };
    }
}

/// Where packets can be moved from.
pub trait Giver {
    /// Moves packets from the front to the front of `places`, as many as fit; returns how many, which are initialised then.
    fn give_to(&mut self, places: &mut [MaybeUninit<Packet>]) -> usize;
}

impl Giver for Lent<'_> {
    fn give_to(&mut self, places: &mut [MaybeUninit<Packet>]) -> usize {
        let count = self.raws.len().min(places.len());
        let (raws, rest) = self.raws.split_at(count);
        // SAFETY: there are `count` of both; a Packet is a RawPacket, these are sound (see `new`), and they are cut off here.
        unsafe { core::ptr::copy_nonoverlapping(raws.as_ptr(), places.as_mut_ptr().cast(), count) };
        self.raws = rest;
        count
    }
}

impl Giver for Burst {
    fn give_to(&mut self, places: &mut [MaybeUninit<Packet>]) -> usize {
        let count = self.len().min(places.len());
        for (place, packet) in places.iter_mut().zip(self.drain(..count)) {
            place.write(packet);
        }
        count
    }
}

/// What packets can be moved to from a ring.
pub trait Taker {
    /// Moves up to `max` packets, as many as fit; returns how many.
    fn take_from(&mut self, ring: &mut Consumer<Packet>, max: usize) -> usize;
}

impl Taker for Burst {
    fn take_from(&mut self, ring: &mut Consumer<Packet>, max: usize) -> usize {
        ring.pop_burst(self, max)
    }
}

/// Places for packets that go back, filled from the front. What is in one of them is its owner's again.
pub struct Room<'a> {
    places: &'a mut [MaybeUninit<RawPacket>],
    filled: usize,
}

impl<'a> Room<'a> {
    /// All of `places`.
    #[must_use]
    pub fn new(places: &'a mut [MaybeUninit<RawPacket>]) -> Self {
        Self { places, filled: 0 }
    }

    /// Packets that still fit.
    #[must_use]
    pub fn left(&self) -> usize {
        self.places.len() - self.filled
    }

    /// Packets that are there. All places before this one are initialised.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Gives packets up, as many as fit; the others end here.
    pub fn give(&mut self, packets: &mut Burst) {
        let count = packets.len().min(self.left());
        let free = self.places.get_mut(self.filled..).unwrap_or_default();
        // SAFETY: there are `count` packets and `count` places, which no packet is in; a Packet is a RawPacket, has no
        // destructor, and is not looked at here again.
        unsafe {
            core::ptr::copy_nonoverlapping(packets.as_ptr().cast::<RawPacket>(), free.as_mut_ptr().cast(), count);
            packets.set_len(0);
        }
        self.note(count);
    }

    /// `count` more places were filled: what only the core has to know goes, as [`Packet::into_raw`] does it.
    fn note(&mut self, count: usize) {
        for place in self.places.iter_mut().skip(self.filled).take(count) {
            // SAFETY: it was just filled.
            unsafe { (*place.as_mut_ptr()).reserved = 0 };
        }
        self.filled += count;
    }
}

impl Taker for Room<'_> {
    fn take_from(&mut self, ring: &mut Consumer<Packet>, max: usize) -> usize {
        let count = max.min(self.left());
        let free = self.places.get_mut(self.filled..).unwrap_or_default();
        // SAFETY: a Packet is a RawPacket, and a place that is not initialised may become either.
        let free = unsafe { &mut *(core::ptr::from_mut(free) as *mut [MaybeUninit<Packet>]) };
        let count = ring.pop_places(free.get_mut(..count).unwrap_or_default());
        self.note(count);
        count
    }
}
