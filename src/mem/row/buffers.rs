//! Empty buffers in a row, that a device fills: it is handed their addresses, and says how many bytes it wrote.

use super::{Burst, Entry, Row, Rows};
use crate::mem::PacketFlags;

/// What a device may have written, in bytes, and how many of them in front are no frame.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// At least.
    pub least: u32,
    /// At most.
    pub most: u32,
    /// No frame; at most `least`.
    pub skip: u32,
}

impl Row {
    /// Moves buffers from the front of `burst` behind the last packet here, emptied as [`Packet::empty`] does it, at most `max` and
    /// as many as there is room for, to the last place at most, until one that no device can reach or that has less room than
    /// `least`: that one stays what it was. How long a frame they hold says nothing here. `each` sees address and room for the
    /// device, the place, and what is in `ring` there, which has a row for each place. How many, and whether more may follow.
    ///
    /// [`Packet::empty`]: super::Packet::empty
    #[inline(always)]
    pub fn put_empty<const SIZE: usize, const ALIGN: usize>(
        &mut self,
        burst: &mut Burst,
        max: usize,
        ring: &Rows<'_, SIZE, ALIGN>,
        by: u32,
        least: u32,
        mut each: impl FnMut(u64, u64, usize, Entry<'_, SIZE, ALIGN>),
    ) -> (usize, bool) {
        if self.len == 0 {
            self.least = u32::MAX;
            self.expect(burst, by, least);
        }
        let bound = u64::from(self.least);
        let (done, more) = self.put_run(burst, max, ring, |packet, place, row| {
            let Some((iova, space)) = packet.lay_bare(by) else { return false };
            if space < bound {
                return false;
            }
            each(iova, space, place, row);
            true
        });
        (done, more || done < max && !burst.is_empty() && self.expect(burst, by, least))
    }

    /// Whether the first buffer has less room than all that are here, but as much as is asked for: from here on less is expected.
    #[cold]
    fn expect(&mut self, burst: &Burst, by: u32, least: u32) -> bool {
        let space = burst.first().map_or(0, |packet| packet.space_of_empty(by));
        let fewer = (least..self.least).contains(&space);
        if fewer {
            self.least = space;
        }
        fewer
    }

    /// Moves buffers from the front to the end of `out`, filled, at most `max` and as many as fit, from the last place at most,
    /// until one whose contents are not of these lengths, or not `wanted`: that one stays empty. `written` sees a place and what is
    /// in `ring` there, which has a row for each place, and tells how many bytes more than at least the device wrote; any number
    /// that is too large says that it did not. `wanted` sees the first `N` bytes, and may tell flags. How many, and whether more
    /// may follow.
    #[inline(always)]
    pub fn take_filled<const SIZE: usize, const ALIGN: usize, const N: usize, T>(
        &mut self,
        out: &mut Burst,
        max: usize,
        ring: &Rows<'_, SIZE, ALIGN>,
        lengths: Lengths,
        mut written: impl FnMut(usize, Entry<'_, SIZE, ALIGN>) -> (u64, T),
        mut wanted: impl FnMut(&[u8; N], T) -> Option<Option<PacketFlags>>,
    ) -> (usize, bool) {
        let Lengths { least, most, skip } = lengths;
        let most = most.min(self.least);
        if least > most || skip > least || N > self.least as usize {
            return (0, false);
        }
        let more_at_most = u64::from(most - least);
        self.take_run(out, max, ring, |packet, place, row| {
            let (more, what) = written(place, row);
            if more > more_at_most {
                return false;
            }
            // SAFETY: the packet is in the row, so it has at least `self.least` bytes of room, which is at least `N`.
            let front = unsafe { packet.front_of_room::<N>() };
            let Some(flags) = wanted(front, what) else { return false };
            // SAFETY: `least + more` is at most `self.least`, and `skip` at most `least`.
            unsafe { packet.fill_unchecked(skip, least + more as u32) };
            if let Some(flags) = flags {
                packet.set_flags(flags);
            }
            true
        })
    }
}
