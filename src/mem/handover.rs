//! Bursts on their way into the core and out of it, in memory of whoever lends the packets.

use core::mem::MaybeUninit;

use super::packet::{Burst, Packet, PacketFlags, RawPacket};
use super::ring::Consumer;

/// What is found in a burst of descriptors: a bit is set if it is set in one of them. Fields share words, because nobody asks
/// about one of them alone before the end.
#[derive(Clone, Copy, Default)]
pub struct Found {
    len: u32,
    flags: u32,
    sums_segments: u64,
    ends: u64,
}

impl Found {
    #[inline(always)]
    fn note(&mut self, raw: &RawPacket) {
        self.len |= raw.len;
        self.flags |= raw.flags;
        self.sums_segments |= u64::from(raw.csum_start)
            | u64::from(raw.csum_stuff) << 16
            | u64::from(raw.mss) << 32
            | u64::from(raw.segs) << 48;
        self.ends |= u64::from(raw.status.cast_unsigned()) | u64::from(raw.reserved) << 32;
    }

    /// [`RawPacket::flags`].
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Something is the core's to say: segments that were merged, a status, where a packet is from.
    #[must_use]
    pub fn said(&self) -> bool {
        self.sums_segments >> 48 | self.ends != 0
    }

    /// There is more than empty buffers: a frame, or something about one.
    #[must_use]
    pub fn framed(&self) -> bool {
        u64::from(self.len | self.flags) | self.sums_segments | self.ends != 0
    }
}

/// Descriptors that can be taken as they are: packets, though not in the core's memory yet.
pub struct Lent<'a> {
    raws: &'a [RawPacket],
}

impl<'a> Lent<'a> {
    /// `None` if one of `raws` may not be sound, or if there is something in them that is unwanted. All are looked at: to stop at
    /// the first would be a branch for each.
    ///
    /// # Safety
    /// As for [`Packet::from_raw`], for each; and nobody else makes packets of them if there is a result.
    #[inline(always)]
    pub unsafe fn new(raws: &'a [RawPacket], unwanted: impl FnOnce(&Found) -> bool) -> Option<Self> {
        // What `Packet::from_raw` asks first: how often the answer was no.
        let (mut nameless, mut nowhere, mut outside, mut short) = (0, 0, 0, 0);
        let mut iovas = 0;
        let mut found = Found::default();
        for raw in raws {
            nameless += u32::from(raw.cookie == 0);
            nowhere += u32::from(raw.base.is_null());
            let (room, below) = raw.buf_len.overflowing_sub(raw.data_off);
            outside += u32::from(below);
            short += u32::from(room < raw.len);
            iovas |= raw.iova;
            found.note(raw);
        }
        // What is below the middle of a device's addresses does not pass their end.
        let sound = nameless | nowhere | outside | short == 0
            && iovas >> 63 == 0
            && (found.flags & PacketFlags::TX_CSUM_PARTIAL.bits() == 0 || raws.iter().all(RawPacket::sums_sound));
        (sound && !unwanted(&found)).then_some(Self { raws })
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

    /// All that is there as a burst, which is `spare` unless it is one already.
    fn as_burst<'a>(&'a mut self, spare: &'a mut Burst) -> &'a mut Burst;
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

    fn as_burst<'a>(&'a mut self, spare: &'a mut Burst) -> &'a mut Burst {
        self.move_to(spare);
        spare
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

    fn as_burst<'a>(&'a mut self, _: &'a mut Burst) -> &'a mut Burst {
        self
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

    /// Gives packets up, as many as fit; the others end here. They keep their marks until [`Room::forget`].
    pub fn give(&mut self, packets: &mut Burst) {
        let count = packets.len().min(self.left());
        let free = self.places.get_mut(self.filled..).unwrap_or_default();
        // SAFETY: there are `count` packets and `count` places, which no packet is in; a Packet is a RawPacket, has no
        // destructor, and is not looked at here again.
        unsafe {
            core::ptr::copy_nonoverlapping(packets.as_ptr().cast::<RawPacket>(), free.as_mut_ptr().cast(), count);
            packets.set_len(0);
        }
        self.filled += count;
    }

    /// Takes out what only the core has to know, as [`Packet::into_raw`] does it.
    pub fn forget(&mut self) {
        for place in self.places.get_mut(..self.filled).unwrap_or_default() {
            // SAFETY: it was filled.
            unsafe { (*place.as_mut_ptr()).reserved = 0 };
        }
    }
}

impl Taker for Room<'_> {
    fn take_from(&mut self, ring: &mut Consumer<Packet>, max: usize) -> usize {
        let count = max.min(self.left());
        let free = self.places.get_mut(self.filled..).unwrap_or_default();
        // SAFETY: a Packet is a RawPacket, and a place that is not initialised may become either.
        let free = unsafe { &mut *(core::ptr::from_mut(free) as *mut [MaybeUninit<Packet>]) };
        let count = ring.pop_places(free.get_mut(..count).unwrap_or_default());
        self.filled += count;
        count
    }
}
