//! Packets that a device finishes in the order in which it got them, by their place in its ring.
//!
//! Places are next to each other and say nothing of themselves: which have a packet is known from the first one and their
//! number, so that a burst moves in and out as one copy.

use alloc::boxed::Box;
use core::mem::MaybeUninit;
use core::ptr::copy_nonoverlapping;

use super::rows::{Entry, Rows};
use super::{Burst, Packet};

/// See the module.
pub struct Row {
    /// As many as a power of two. Invariant: the `len` from `head` on, round and round, are initialised.
    places: Box<[MaybeUninit<Packet>]>,
    head: usize,
    len: usize,
}

impl Row {
    /// At least `size` places, at most 2^15. Allocates; called at Start.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let size = size.clamp(1, 1 << 15).next_power_of_two();
        Self { places: (0..size).map(|_| MaybeUninit::uninit()).collect(), head: 0, len: 0 }
    }

    /// Packets.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// No packet is here.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Places without a packet.
    #[must_use]
    #[inline]
    pub fn room(&self) -> usize {
        self.places.len() - self.len
    }

    /// Where the first packet is, or would be.
    #[must_use]
    #[inline]
    pub fn head(&self) -> usize {
        self.head
    }

    /// Where the next packet goes.
    #[must_use]
    #[inline]
    pub fn tail(&self) -> usize {
        (self.head + self.len) & (self.places.len() - 1)
    }

    /// The next packet goes to that place, round and round. False, and no change, if there are packets.
    pub fn start_at(&mut self, place: usize) -> bool {
        if self.len == 0 {
            self.head = place & (self.places.len() - 1);
        }
        self.len == 0
    }

    /// Moves packets from the front of `burst` behind the last one here, at most `max` and as many as there is room for, until
    /// `each`, which sees a packet where it is now, its place, and what is in `ring` there, does not want one: that one stays
    /// what it was. How many. `ring` has a row for each place.
    #[inline(always)]
    pub fn put_burst<const SIZE: usize, const ALIGN: usize>(
        &mut self,
        burst: &mut Burst,
        max: usize,
        ring: &Rows<'_, SIZE, ALIGN>,
        mut each: impl FnMut(&mut Packet, usize, Entry<'_, SIZE, ALIGN>) -> bool,
    ) -> usize {
        if ring.len() != self.places.len() {
            return 0;
        }
        let len = burst.len();
        let count = len.min(max).min(self.room());
        let (from, places) = (burst.as_mut_ptr(), self.places.as_mut_ptr().cast::<Packet>());
        let mut done = 0;
        loop {
            let first = (self.head + self.len + done) & (self.places.len() - 1);
            let run = (count - done).min(self.places.len() - first);
            // SAFETY: the `run` places from `first` on have no packet, and the burst has as many from `done` on. Until `each` wants
            // them the packets count as the burst's, and the copies are the only ones that are looked at.
            unsafe { copy_nonoverlapping(from.add(done), places.add(first), run) };
            // SAFETY: the places of `visit` were just written, and `ring` has a row for each.
            let wanted = unsafe { visit(places, ring, first, run, &mut each) };
            done += wanted;
            // Behind the last place comes the first.
            if wanted < run || done == count {
                break;
            }
        }
        // SAFETY: the packets in front were moved away; the others move up and are as many as the new length says.
        unsafe {
            if done < len {
                core::ptr::copy(from.add(done), from, len - done);
            }
            burst.set_len(len - done);
        }
        self.len += done;
        done
    }

    /// Moves packets from the front to the end of `out`, at most `max` and as many as fit, until `wanted`, which sees a packet,
    /// its place, and what is in `ring` there, does not want one. How many. `ring` has a row for each place.
    #[inline(always)]
    pub fn take_burst<const SIZE: usize, const ALIGN: usize>(
        &mut self,
        out: &mut Burst,
        max: usize,
        ring: &Rows<'_, SIZE, ALIGN>,
        mut wanted: impl FnMut(&mut Packet, usize, Entry<'_, SIZE, ALIGN>) -> bool,
    ) -> usize {
        if ring.len() != self.places.len() {
            return 0;
        }
        let most = out.capacity().saturating_sub(out.len()).min(max).min(self.len);
        let places = self.places.as_mut_ptr().cast::<Packet>();
        let mut done = 0;
        loop {
            let (len, first) = (out.len(), self.head);
            let run = (most - done).min(self.places.len() - first);
            // SAFETY: the `run` places from `first` on have a packet, and `ring` has a row for each.
            let taken = unsafe { visit(places, ring, first, run, &mut wanted) };
            // SAFETY: as above; `out` has room for so many behind its old length. From here on they are nobody else's.
            unsafe {
                copy_nonoverlapping(places.add(first), out.as_mut_ptr().add(len), taken);
                out.set_len(len + taken);
            }
            self.head = (first + taken) & (self.places.len() - 1);
            self.len -= taken;
            done += taken;
            // Behind the last place comes the first.
            if taken < run || done == most {
                return done;
            }
        }
    }

    /// The first packet.
    #[inline]
    pub fn front_mut(&mut self) -> Option<&mut Packet> {
        if self.len == 0 {
            return None;
        }
        // SAFETY: there is a packet, and `head` is its place.
        self.places.get_mut(self.head).map(|place| unsafe { place.assume_init_mut() })
    }

    /// Takes the first packet.
    #[inline]
    pub fn pop(&mut self) -> Option<Packet> {
        if self.len == 0 {
            return None;
        }
        // SAFETY: there is a packet, and `head` is its place, which has none from here on.
        let packet = self.places.get(self.head).map(|place| unsafe { place.assume_init_read() });
        self.head = (self.head + 1) & (self.places.len() - 1);
        self.len -= 1;
        packet
    }

    /// Puts a packet behind the last one; its place.
    ///
    /// # Errors
    /// The packet, without room.
    #[inline]
    pub fn push(&mut self, packet: Packet) -> Result<usize, Packet> {
        let at = self.tail();
        if self.room() == 0 {
            return Err(packet);
        }
        if let Some(place) = self.places.get_mut(at) {
            place.write(packet);
            self.len += 1;
        }
        Ok(at)
    }

    /// Takes packets back from a device that stands still, as many as fit into `out`; `each` sees every one.
    pub fn drain(&mut self, out: &mut Burst, mut each: impl FnMut(&mut Packet)) -> usize {
        let before = out.len();
        while !out.is_full()
            && let Some(mut packet) = self.pop()
        {
            each(&mut packet);
            out.extend([packet]);
        }
        out.len() - before
    }
}

/// Calls `each` with `run` places from `first` on, until it says no; how often it said yes.
///
/// # Safety
/// The places have packets that nobody else looks at, and `ring` has a row for each.
#[inline(always)]
unsafe fn visit<const SIZE: usize, const ALIGN: usize>(
    places: *mut Packet,
    ring: &Rows<'_, SIZE, ALIGN>,
    first: usize,
    run: usize,
    each: &mut impl FnMut(&mut Packet, usize, Entry<'_, SIZE, ALIGN>) -> bool,
) -> usize {
    let (mut at, end) = (first, first + run);
    while at < end {
        // SAFETY: the caller's promise.
        let (packet, row) = unsafe { (&mut *places.add(at), ring.at_unchecked(at)) };
        if !each(packet, at, row) {
            break;
        }
        at += 1;
    }
    at - first
}
