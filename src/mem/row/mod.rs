//! Packets that a device finishes in the order in which it got them, by their place in its ring.
//!
//! Places are next to each other and say nothing of themselves: which have a packet is known from the first one and their
//! number, so that a burst moves in and out as one copy.

use alloc::boxed::Box;
use core::mem::MaybeUninit;
use core::ptr::copy_nonoverlapping;

use super::rows::{Entry, Rows};
use super::{Burst, Packet};

mod buffers;
pub use buffers::Lengths;

/// See the module.
pub struct Row {
    /// As many as a power of two. Invariant: the `len` from `head` on, round and round, are initialised.
    places: Box<[MaybeUninit<Packet>]>,
    head: usize,
    len: usize,
    /// Bytes. Invariant: no packet here has less room.
    least: u32,
}

impl Row {
    /// At least `size` places, at most 2^15. Allocates; called at Start.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let size = size.clamp(1, 1 << 15).next_power_of_two();
        Self { places: (0..size).map(|_| MaybeUninit::uninit()).collect(), head: 0, len: 0, least: 0 }
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
        let (done, more) = self.put_some(burst, max, ring, &mut each);
        if more { done + self.put_rest(burst, max - done, ring, &mut each) } else { done }
    }

    /// Behind the last place comes the first.
    #[inline(never)]
    fn put_rest<const SIZE: usize, const ALIGN: usize>(
        &mut self,
        burst: &mut Burst,
        max: usize,
        ring: &Rows<'_, SIZE, ALIGN>,
        each: impl FnMut(&mut Packet, usize, Entry<'_, SIZE, ALIGN>) -> bool,
    ) -> usize {
        self.put_some(burst, max, ring, each).0
    }

    /// As [`Row::put_burst`], to the last place at most: also, whether it ended there and more may follow.
    #[inline(always)]
    pub fn put_some<const SIZE: usize, const ALIGN: usize>(
        &mut self,
        burst: &mut Burst,
        max: usize,
        ring: &Rows<'_, SIZE, ALIGN>,
        each: impl FnMut(&mut Packet, usize, Entry<'_, SIZE, ALIGN>) -> bool,
    ) -> (usize, bool) {
        // Whatever `each` leaves of them.
        self.least = 0;
        self.put_run(burst, max, ring, each)
    }

    /// [`Row::put_some`]; the caller sees to `least`.
    #[inline(always)]
    fn put_run<const SIZE: usize, const ALIGN: usize>(
        &mut self,
        burst: &mut Burst,
        max: usize,
        ring: &Rows<'_, SIZE, ALIGN>,
        mut each: impl FnMut(&mut Packet, usize, Entry<'_, SIZE, ALIGN>) -> bool,
    ) -> (usize, bool) {
        if ring.len() != self.places.len() {
            return (0, false);
        }
        let (len, first) = (burst.len(), self.tail());
        let count = len.min(max).min(self.room());
        let run = count.min(self.places.len() - first);
        let (from, places) = (burst.as_mut_ptr(), self.places.as_mut_ptr().cast::<Packet>());
        // SAFETY: the `run` places from `first` on have no packet, and the burst has as many. Until `each` wants them the packets
        // count as the burst's, and the copies are the only ones that are looked at.
        unsafe { copy_nonoverlapping(from, places.add(first), run) };
        // SAFETY: the places of `visit` were just written, and `ring` has a row for each.
        let done = unsafe { visit(places, ring, first, run, &mut each) };
        // SAFETY: the packets in front were moved away; the others move up and are as many as the new length says.
        unsafe {
            if done < len {
                core::ptr::copy(from.add(done), from, len - done);
            }
            burst.set_len(len - done);
        }
        self.len += done;
        (done, done == run && run < count)
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
        let (done, more) = self.take_some(out, max, ring, &mut wanted);
        if more { done + self.take_rest(out, max - done, ring, &mut wanted) } else { done }
    }

    /// Behind the last place comes the first.
    #[inline(never)]
    fn take_rest<const SIZE: usize, const ALIGN: usize>(
        &mut self,
        out: &mut Burst,
        max: usize,
        ring: &Rows<'_, SIZE, ALIGN>,
        wanted: impl FnMut(&mut Packet, usize, Entry<'_, SIZE, ALIGN>) -> bool,
    ) -> usize {
        self.take_some(out, max, ring, wanted).0
    }

    /// As [`Row::take_burst`], from the last place at most: also, whether it ended there and more may follow.
    #[inline(always)]
    pub fn take_some<const SIZE: usize, const ALIGN: usize>(
        &mut self,
        out: &mut Burst,
        max: usize,
        ring: &Rows<'_, SIZE, ALIGN>,
        wanted: impl FnMut(&mut Packet, usize, Entry<'_, SIZE, ALIGN>) -> bool,
    ) -> (usize, bool) {
        let done = self.take_run(out, max, ring, wanted);
        if self.least > 0 {
            self.expect_front();
        }
        done
    }

    /// Whoever looked at the first packet may have left it less room.
    #[cold]
    fn expect_front(&mut self) {
        self.least = self.front().map_or(0, |packet| self.least.min(packet.space()));
    }

    /// [`Row::take_some`]; `wanted` gives no packet less room that it does not want.
    #[inline(always)]
    fn take_run<const SIZE: usize, const ALIGN: usize>(
        &mut self,
        out: &mut Burst,
        max: usize,
        ring: &Rows<'_, SIZE, ALIGN>,
        mut wanted: impl FnMut(&mut Packet, usize, Entry<'_, SIZE, ALIGN>) -> bool,
    ) -> (usize, bool) {
        if ring.len() != self.places.len() {
            return (0, false);
        }
        let (len, first) = (out.len(), self.head);
        let count = (out.capacity() - len).min(max).min(self.len);
        let run = count.min(self.places.len() - first);
        let places = self.places.as_mut_ptr().cast::<Packet>();
        // SAFETY: the `run` places from `first` on have a packet, and `ring` has a row for each.
        let done = unsafe { visit(places, ring, first, run, &mut wanted) };
        // SAFETY: as above; `out` has room for so many behind its old length. From here on they are nobody else's.
        unsafe {
            copy_nonoverlapping(places.add(first), out.as_mut_ptr().add(len), done);
            out.set_len(len + done);
        }
        self.head = (first + done) & (self.places.len() - 1);
        self.len -= done;
        (done, done == run && run < count)
    }

    /// The first packet.
    #[must_use]
    #[inline]
    pub fn front(&self) -> Option<&Packet> {
        if self.len == 0 {
            return None;
        }
        // SAFETY: there is a packet, and `head` is its place.
        self.places.get(self.head).map(|place| unsafe { place.assume_init_ref() })
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
            self.least = self.least.min(packet.space());
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
    macro_rules! look {
        ($next:literal) => {
            // SAFETY: the caller's promise.
            let (packet, row) = unsafe { (&mut *places.add(at + $next), ring.at_unchecked(at + $next)) };
            if !each(packet, at + $next, row) {
                return stopped::<$next>(at) - first;
            }
        };
    }
    while end - at >= 8 {
        look!(0);
        look!(1);
        look!(2);
        look!(3);
        look!(4);
        look!(5);
        look!(6);
        look!(7);
        at += 8;
    }
    while at < end {
        look!(0);
        at += 1;
    }
    run
}

/// Which place was not wanted: a call, so that nothing is remembered of it before.
#[cold]
#[inline(never)]
fn stopped<const NEXT: usize>(at: usize) -> usize {
    at + NEXT
}
