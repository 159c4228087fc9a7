//! Bursts on their way into the core and out of it, in memory of whoever lends the packets.

use core::mem::MaybeUninit;

use super::packet::{BURST_MAX, Burst, Packet, PacketFlags, RawPacket};
use super::ring::Consumer;

/// Memory for a burst that somebody else lends for a call (`weir_burst`). It is laid out as a [`Burst`], which can therefore be
/// made there.
#[repr(C)]
pub struct Places {
    pub(crate) reserved: MaybeUninit<usize>,
    pub(crate) pkts: [MaybeUninit<RawPacket>; BURST_MAX],
}

const _: () = {
    assert!(size_of::<Places>() == size_of::<Burst>() && align_of::<Places>() == align_of::<Burst>());
    // SAFETY: words that may be uninitialised may be anything.
    let words: [MaybeUninit<usize>; size_of::<Burst>() / size_of::<usize>()] =
        unsafe { core::mem::transmute(Burst::new()) };
    // SAFETY: nothing of a burst without packets is initialised but its length: this does not compile unless that comes first,
    // so that all the rest are places, of the same size.
    assert!(unsafe { words[0].assume_init() } == 0);
};

impl Places {
    /// The first `count` of them, at most all.
    ///
    /// # Safety
    /// They are initialised.
    pub unsafe fn raws(&self, count: usize) -> &[RawPacket] {
        let raws = self.pkts.get(..count).unwrap_or(&self.pkts);
        // SAFETY: the caller's.
        unsafe { &*(core::ptr::from_ref(raws) as *const [RawPacket]) }
    }

    /// All of them, as a burst without packets.
    pub fn burst(&mut self) -> &mut Burst {
        self.reserved.write(0);
        // SAFETY: the layout is a burst's (see above), and its length is 0.
        unsafe { &mut *core::ptr::from_mut(self).cast() }
    }
}

/// `weir_empty`: one empty packet buffer, in the order of [`RawPacket`]'s first fields.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RawEmpty {
    /// [`RawPacket::cookie`].
    pub cookie: u64,
    /// [`RawPacket::base`].
    pub base: *mut u8,
    /// [`RawPacket::iova`].
    pub iova: u64,
    /// [`RawPacket::buf_len`].
    pub buf_len: u32,
    /// The headroom to leave.
    pub data_off: u32,
}

const _: () = {
    assert!(size_of::<RawEmpty>() == core::mem::offset_of!(RawPacket, len));
    assert!(core::mem::offset_of!(RawEmpty, data_off) == core::mem::offset_of!(RawPacket, data_off));
};

impl RawEmpty {
    /// Where a packet's buffer is.
    #[inline(always)]
    pub(super) fn of(packet: &RawPacket) -> Self {
        let RawPacket { cookie, base, iova, buf_len, data_off, .. } = *packet;
        Self { cookie, base, iova, buf_len, data_off }
    }

    /// The whole descriptor.
    #[inline(always)]
    pub(super) fn packet(&self) -> RawPacket {
        let Self { cookie, base, iova, buf_len, data_off } = *self;
        let (len, flags, csum_start, csum_stuff, mss, segs, status, reserved) = (0, 0, 0, 0, 0, 0, 0, 0);
        RawPacket {
            cookie,
            base,
            iova,
            buf_len,
            data_off,
            len,
            flags,
            csum_start,
            csum_stuff,
            mss,
            segs,
            status,
            reserved,
        }
    }

    /// Writes [`RawEmpty::packet`] in four stores instead of one for each field.
    ///
    /// # Safety
    /// `to` is valid for writes.
    #[inline(always)]
    pub(super) unsafe fn write_packet(&self, to: *mut RawPacket) {
        const SAID: usize = size_of::<RawEmpty>();
        // SAFETY: a packet's first fields are these (see above), and what is said behind them may be all zeroes.
        unsafe {
            to.cast::<Self>().write(*self);
            core::ptr::write_bytes(to.cast::<u8>().add(SAID), 0, size_of::<RawPacket>() - SAID);
        }
    }
}

/// What `Packet::from_raw` asks first: how often the answer was no, in a burst of descriptors. All are looked at: to stop at the
/// first would be a branch for each.
#[derive(Default)]
struct Doubts {
    nameless: u32,
    nowhere: u32,
    outside: u32,
    iovas: u64,
}

impl Doubts {
    /// Returns how long a frame may be.
    #[inline(always)]
    fn note(&mut self, raw: &RawEmpty) -> u32 {
        self.nameless += u32::from(raw.cookie == 0);
        self.nowhere += u32::from(raw.base.is_null());
        let (room, below) = raw.buf_len.overflowing_sub(raw.data_off);
        self.outside += u32::from(below);
        self.iovas |= raw.iova;
        room
    }

    /// What is below the middle of a device's addresses does not pass their end.
    fn none(&self) -> bool {
        self.nameless | self.nowhere | self.outside == 0 && self.iovas >> 63 == 0
    }
}

/// What is found in a burst of frames: a bit is set if it is set in one of them. Fields share words, because nobody asks
/// about one of them alone before the end.
#[derive(Default)]
pub struct Found {
    flags: u32,
    sums_segments: u64,
    ends: u64,
}

impl Found {
    #[inline(always)]
    fn note(&mut self, raw: &RawPacket) {
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
}

/// Where frames to transmit are.
pub trait Frames {
    /// The first `max` as a burst, which is `spare`, an empty one, unless all may go; and how many bytes they have, if that is known, and that
    /// none has a status or a mark.
    fn take<'a>(&'a mut self, max: usize, spare: &'a mut Burst) -> (&'a mut Burst, Option<u64>);
}

impl Frames for Burst {
    fn take<'a>(&'a mut self, max: usize, _: &'a mut Burst) -> (&'a mut Burst, Option<u64>) {
        self.truncate(max);
        (self, None)
    }
}

/// Frames that can be taken as they are.
pub struct LentFrames<'a> {
    burst: &'a mut Burst,
    bytes: u64,
}

impl<'a> LentFrames<'a> {
    /// The first `count`. `None` if one of them may not be sound, or if there is something in them that is unwanted.
    ///
    /// # Safety
    /// They are initialised. As for [`Packet::from_raw`], for each; and nobody else makes packets of them if there is a result.
    #[inline(always)]
    pub unsafe fn new(places: &'a mut Places, count: usize, unwanted: impl FnOnce(&Found) -> bool) -> Option<Self> {
        // SAFETY: the caller's.
        let raws = unsafe { places.raws(count) };
        let (mut doubts, mut found) = (Doubts::default(), Found::default());
        let (mut short, mut bytes) = (0, 0u64);
        for raw in raws {
            short += u32::from(doubts.note(&RawEmpty::of(raw)) < raw.len);
            bytes = bytes.wrapping_add(raw.len.into());
            found.note(raw);
        }
        let sums = found.flags & PacketFlags::TX_CSUM_PARTIAL.bits() == 0 || raws.iter().all(RawPacket::sums_sound);
        if !doubts.none() || short != 0 || !sums || unwanted(&found) {
            return None;
        }
        let count = raws.len();
        let burst = places.burst();
        // SAFETY: so many are initialised and sound, and a Packet is a RawPacket.
        unsafe { burst.set_len(count) };
        Some(Self { burst, bytes })
    }
}

impl Frames for LentFrames<'_> {
    fn take<'a>(&'a mut self, max: usize, spare: &'a mut Burst) -> (&'a mut Burst, Option<u64>) {
        if self.burst.len() <= max {
            return (self.burst, Some(self.bytes));
        }
        // What stays the owner's is not to be written over, which a burst would do that loses its first.
        // SAFETY: there are more than `max`, `spare` has as many places as a burst has packets, and no packet stays in both.
        unsafe {
            core::ptr::copy_nonoverlapping(self.burst.as_ptr(), spare.as_mut_ptr(), max);
            spare.set_len(max);
            self.burst.set_len(0);
        }
        (spare, None)
    }
}

/// Where packets can be moved from.
pub trait Giver {
    /// Moves packets from the front to the front of `places`, as many as fit; returns how many, which are initialised then.
    fn give_to(&mut self, places: &mut [MaybeUninit<Packet>]) -> usize;
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

/// Empty buffers that are lent, and looked at where they move. One that is not sound ends them.
pub struct Empties<'a> {
    raws: &'a [RawEmpty],
}

impl<'a> Empties<'a> {
    /// All of `raws`.
    ///
    /// # Safety
    /// As for [`Packet::from_raw`], for each that is sound; and nobody else makes packets of them.
    #[must_use]
    pub unsafe fn new(raws: &'a [RawEmpty]) -> Self {
        Self { raws }
    }

    /// One of those that are left is not sound.
    #[must_use]
    pub fn any_bad(&self) -> bool {
        // SAFETY: nobody gets the packet.
        self.raws.iter().any(|raw| unsafe { Packet::from_raw(raw.packet()) }.is_err())
    }
}

impl Giver for Empties<'_> {
    fn give_to(&mut self, places: &mut [MaybeUninit<Packet>]) -> usize {
        let mut doubts = Doubts::default();
        for (place, raw) in places.iter_mut().zip(self.raws) {
            doubts.note(raw);
            // SAFETY: a Packet is a RawPacket. Whether it is sound is seen below, before anybody makes use of it.
            unsafe { raw.write_packet(place.as_mut_ptr().cast()) };
        }
        let most = self.raws.len().min(places.len());
        let count = if doubts.none() {
            most
        } else {
            // SAFETY: nobody gets the packet.
            let sound = |raw: &&RawEmpty| unsafe { Packet::from_raw(raw.packet()) }.is_ok();
            self.raws.iter().take(most).take_while(sound).count()
        };
        // They are cut off: this is the only time that packets are made of them.
        self.raws = self.raws.get(count..).unwrap_or_default();
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
