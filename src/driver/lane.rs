//! The way of a frame that came in on one shard and belongs to another's flow, and back.
//!
//! Two single-producer single-consumer rings between each ordered pair of shards: frames there, finished frames back.
//! The sender counts what is out, so that the way back always has room. There are two such lanes: one for frames of the
//! stack that their hash leads elsewhere, and one for frames of either direction whose state is elsewhere ([`Handed`]).
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use crate::mem::ring::{self, Consumer, Producer};
use crate::mem::{Burst, Packet};
use crate::pipeline::Released;

/// A frame whose state another shard has: on its way there, or back with what became of it.
pub(super) struct Handed {
    pub packet: Packet,
    /// Of no meaning on the way there.
    pub outcome: Released,
}

/// A pair of rings, while the driver is made.
pub(super) struct Lane;

impl Lane {
    /// Frames that may be out between two shards, in each direction.
    pub const CAPACITY: usize = 256;
}

/// One shard's ends of the lanes to and from one other.
pub(super) struct LaneEnds<T = Packet> {
    /// This shard's frames, to the other.
    there: Producer<T>,
    /// This shard's frames, finished.
    back: Consumer<T>,
    /// The other's frames.
    theirs: Consumer<T>,
    /// The other's frames, finished.
    theirs_back: Producer<T>,
    /// This shard's frames that are out.
    out: usize,
    /// The other has something new to look at.
    dirty: bool,
}

impl<T: Send> LaneEnds<T> {
    /// For each shard, its ends by the other's number. `None` without memory.
    pub fn mesh(shards: usize) -> Option<Vec<Vec<Option<Self>>>> {
        let mut mesh: Vec<Vec<Option<Self>>> = (0..shards).map(|_| (0..shards).map(|_| None).collect()).collect();
        if shards == 1 {
            return Some(mesh.into_iter().map(|_| Vec::new()).collect());
        }
        for low in 0..shards {
            for high in low.saturating_add(1)..shards {
                let (there, theirs) = ring::channel(Lane::CAPACITY)?;
                let (theirs_back, back) = ring::channel(Lane::CAPACITY)?;
                let (high_there, low_theirs) = ring::channel(Lane::CAPACITY)?;
                let (low_theirs_back, high_back) = ring::channel(Lane::CAPACITY)?;
                let low_ends =
                    Self { there, back, theirs: low_theirs, theirs_back: low_theirs_back, out: 0, dirty: false };
                let high_ends = Self { there: high_there, back: high_back, theirs, theirs_back, out: 0, dirty: false };
                *mesh.get_mut(low)?.get_mut(high)? = Some(low_ends);
                *mesh.get_mut(high)?.get_mut(low)? = Some(high_ends);
            }
        }
        Some(mesh)
    }

    /// How many frames [`LaneEnds::send`] would take.
    pub fn space(&self) -> usize {
        Lane::CAPACITY.saturating_sub(self.out)
    }

    /// Sends one of this shard's frames to the other.
    pub fn send(&mut self, packet: T) -> Result<(), T> {
        if self.space() == 0 {
            return Err(packet);
        }
        self.there.push(packet)?;
        self.out = self.out.saturating_add(1);
        self.dirty = true;
        Ok(())
    }

    /// Takes one of this shard's frames back.
    pub fn take_back(&mut self) -> Option<T> {
        let packet = self.back.pop()?;
        self.out = self.out.saturating_sub(1);
        Some(packet)
    }

    /// Takes one of the other's frames.
    pub fn take(&mut self) -> Option<T> {
        self.theirs.pop()
    }

    /// Gives the other one of its frames back, finished.
    pub fn give_back(&mut self, packet: T) -> Result<(), T> {
        self.theirs_back.push(packet)?;
        self.dirty = true;
        Ok(())
    }

    /// Something waits for this shard.
    pub fn has_work(&mut self) -> bool {
        !self.theirs.is_empty() || !self.back.is_empty()
    }

    /// True once after something was put where the other looks.
    pub fn take_dirty(&mut self) -> bool {
        core::mem::take(&mut self.dirty)
    }
}

impl LaneEnds {
    /// Takes a burst of the other's frames.
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        self.theirs.pop_burst(burst, usize::MAX)
    }
}
