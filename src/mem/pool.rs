//! A bounded stack of packet buffers of one owner: the free ones.
//!
//! Two uses. Buffers that the core made itself, for frames it originates, live in a pool over a [`Region`]. Buffers
//! that the glue lent for receive and that are not posted to the NIC wait in a pool without one. In both cases
//! `lent = free + posted + held` is the account: the pool knows `lent` and `free`, the NIC `posted`, the caller
//! `held`.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use super::handover::Giver;
use super::packet::{Burst, Packet, RawPacket};
use super::region::Region;

/// Numbers for [`Packet::origin`]; 0 is the glue.
static NEXT_ORIGIN: AtomicU32 = AtomicU32::new(1);

/// Free packet buffers of one owner.
pub struct Pool {
    /// Never grows past the capacity it was made with.
    free: Vec<Packet>,
    capacity: usize,
    lent: usize,
    origin: u32,
    headroom: u32,
    /// Keeps the buffers of a pool that made them alive.
    region: Option<Region>,
}

/// Where the buffers of a [`Pool`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PoolGauges {
    /// Buffers that belong to the pool or were lent to it.
    pub lent: usize,
    /// Of those, the ones in the pool.
    pub free: usize,
}

impl Pool {
    /// An empty pool for up to `capacity` buffers that the glue lends.
    /// Allocates; called at Start.
    #[must_use]
    pub fn for_lent(capacity: usize) -> Self {
        Self { free: Vec::with_capacity(capacity), capacity, lent: 0, origin: 0, headroom: 0, region: None }
    }

    /// A full pool of the core's own buffers of `buf_len` bytes each, as many as fit into `region`, with `headroom`
    /// bytes free in front of every frame. `None` if not a single one fits.
    ///
    /// Drop it when all of them are back: the memory of a pool that still misses some is never given back.
    /// Allocates; called at Start.
    #[must_use]
    pub fn for_own(region: Region, buf_len: u32, headroom: u32) -> Option<Self> {
        let capacity = region.len().checked_div(buf_len as usize)?;
        if capacity == 0 || headroom >= buf_len {
            return None;
        }
        let origin = NEXT_ORIGIN.fetch_add(1, Ordering::Relaxed);
        let mut free = Vec::with_capacity(capacity);
        for index in 0..capacity {
            let offset = index * buf_len as usize;
            let iova = if region.iova() == 0 { 0 } else { region.iova().checked_add(offset as u64)? };
            let raw = RawPacket {
                cookie: index as u64 + 1,
                // SAFETY: `offset + buf_len` is at most the region's length.
                base: unsafe { region.base().add(offset) },
                iova,
                buf_len,
                data_off: headroom,
                len: 0,
                flags: 0,
                csum_start: 0,
                csum_stuff: 0,
                mss: 0,
                segs: 0,
                status: 0,
                reserved: 0,
            };
            // SAFETY: each buffer is a piece of its own of the region, which is zeroed and the pool's alone.
            free.push(unsafe { Packet::from_raw(raw) }.ok()?.with_origin(origin));
        }
        Some(Self { free, capacity, lent: capacity, origin, headroom, region: Some(region) })
    }

    /// Takes over buffers from the front while there is room, and returns how many. Of a pool that made its own: none.
    pub fn lend(&mut self, packets: &mut impl Giver) -> usize {
        let room = self.room();
        // What is free is lent, so there are places for the rest.
        let count = packets.give_to(self.free.spare_capacity_mut().get_mut(..room).unwrap_or_default());
        // SAFETY: the first `count` places behind those that were in use were just filled.
        unsafe { self.free.set_len(self.free.len() + count) };
        self.lent += count;
        count
    }

    /// How many buffers [`Pool::lend`] would take.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.origin == 0 { self.capacity - self.lent } else { 0 }
    }

    /// A free buffer, empty.
    pub fn take(&mut self) -> Option<Packet> {
        self.free.pop()
    }

    /// Moves up to `max` free buffers to the end of `out`, as many as fit; returns how many.
    pub fn take_burst(&mut self, out: &mut Burst, max: usize) -> usize {
        let (len, taken) = (self.free.len(), out.len());
        let count = len.min(max).min(out.capacity() - taken);
        // SAFETY: there are `count` packets at the end and `count` places behind those in use; they move, so that each is in one
        // of the two.
        unsafe {
            let from = self.free.as_ptr().add(len - count);
            core::ptr::copy_nonoverlapping(from, out.as_mut_ptr().add(taken), count);
            self.free.set_len(len - count);
            out.set_len(taken + count);
        }
        count
    }

    /// Gives a buffer back; it is emptied.
    ///
    /// # Errors
    /// The packet, when it is not one of this pool's.
    pub fn put(&mut self, mut packet: Packet) -> Result<(), Packet> {
        if packet.origin() != self.origin || self.free.len() >= self.lent {
            return Err(packet);
        }
        packet.reset();
        if self.origin != 0 {
            let moved = packet.headroom();
            // A handler may have moved the frame's start; the next user finds the headroom as it was.
            if let Ok(by) = i32::try_from(i64::from(self.headroom) - moved as i64) {
                let _ = packet.set_len(usize::try_from(by).unwrap_or(0)) && packet.move_start(by);
                packet.reset();
            }
        }
        self.free.push(packet);
        Ok(())
    }

    /// Notes that `count` buffers that were taken went back to the glue by another way than [`Pool::take`]'s
    /// caller putting them back: delivered, reclaimed. Nothing to a pool that made its own.
    pub fn handed_back(&mut self, count: usize) {
        if self.origin == 0 {
            self.lent = self.lent.saturating_sub(count).max(self.free.len());
        }
    }

    /// Where the buffers are.
    #[must_use]
    pub fn gauges(&self) -> PoolGauges {
        PoolGauges { lent: self.lent, free: self.free.len() }
    }

    /// The [`Packet::origin`] of this pool's packets.
    #[must_use]
    pub fn origin(&self) -> u32 {
        self.origin
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.free.len() < self.lent {
            // A packet somewhere still points into the region: its memory must stay.
            core::mem::forget(self.region.take());
        }
    }
}
