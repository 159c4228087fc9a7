//! What all shards and control share.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crossbeam_queue::ArrayQueue;

use super::chores::Memory;
use super::note::{Addition, Listed, Note};
use super::tap::Taps;
use super::{FRAME_MIN, Mode};
use crate::flow::index::Index;
use crate::telemetry::{Event, EventRing};

/// What all shards and control share.
pub struct Shared {
    mode: AtomicU32,
    /// Longest frame of the link; see [`Shared::set_mtu`].
    pub(super) frame_max: AtomicU32,
    /// States of all shards.
    states: AtomicU64,
    /// Events of every shard.
    pub events: EventRing,
    /// Who watches.
    pub taps: Taps,
    /// What each shard is to do besides packets.
    pub(super) notes: Vec<ArrayQueue<Note>>,
    /// What control is to do with tables.
    pub additions: ArrayQueue<Addition>,
    /// States that shards list for control.
    pub listed: ArrayQueue<Listed>,
    /// More memory for each shard, and what counts with it.
    pub(super) growth: Vec<ArrayQueue<Growth>>,
    /// Memory that shards do not need any more, for control to free.
    retired: ArrayQueue<Box<Memory>>,
}

/// A shard's larger table, and one more index if there are other shards.
pub struct Growth {
    /// The table.
    pub memory: Box<Memory>,
    /// The index, the same for all shards.
    pub index: Option<Arc<Index>>,
}

/// Room for notes that wait, and for table entries that control has not taken over.
const NOTES: usize = 256;
/// Room for states that are listed and not fetched.
const LISTED: usize = 4096;

impl Shared {
    /// Filtering, with room for `events` events. Allocates; called at Start.
    #[must_use]
    pub fn new(events: usize, shards: usize) -> Self {
        Self {
            mode: AtomicU32::new(Mode::Filter as u32),
            frame_max: AtomicU32::new(0),
            states: AtomicU64::new(0),
            events: EventRing::new(events),
            taps: Taps::new(shards),
            notes: (0..shards).map(|_| ArrayQueue::new(NOTES)).collect(),
            additions: ArrayQueue::new(NOTES),
            listed: ArrayQueue::new(LISTED),
            growth: (0..shards).map(|_| ArrayQueue::new(1)).collect(),
            retired: ArrayQueue::new(shards.saturating_mul(2).max(1)),
        }
    }

    /// The mode; each burst reads it once.
    #[must_use]
    pub fn mode(&self) -> Mode {
        // Relaxed: the mode publishes nothing but itself. A number that is no mode cannot be there; blocking would
        // be the safe reading of one.
        Mode::from_number(u64::from(self.mode.load(Ordering::Relaxed))).unwrap_or(Mode::Block)
    }

    /// Changes the mode, from the next burst of each shard on.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u32, Ordering::Relaxed);
    }

    /// Notes the longest payload of a frame: what a reassembled datagram may leave as, from the next ruleset on.
    pub fn set_mtu(&self, mtu: u32) {
        // Relaxed: it publishes nothing but itself.
        self.frame_max.store(mtu.saturating_add(FRAME_MIN as u32), Ordering::Relaxed);
    }

    /// States of all shards.
    #[must_use]
    pub fn states(&self) -> u64 {
        // Relaxed, here and below: the count guards no other memory.
        self.states.load(Ordering::Relaxed)
    }

    pub(super) fn add_state(&self, limit: u64) -> bool {
        let add = |count: u64| if count >= limit { None } else { count.checked_add(1) };
        self.states.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    pub(super) fn remove_state(&self) {
        let remove = |count: u64| count.checked_sub(1);
        // An error: none was counted, which is how it stays.
        let _ = self.states.fetch_update(Ordering::Relaxed, Ordering::Relaxed, remove);
    }

    /// Puts an event of a shard where readers find it; false if an older one was lost for it.
    pub(super) fn event(&self, shard: usize, event: Event) -> bool {
        self.taps.event(shard, &event);
        self.events.push(event)
    }

    /// Puts an event where readers find it that none of the `shards` shards made; false as for theirs.
    pub fn outside_event(&self, shards: usize, event: Event) -> bool {
        self.event(shards, event)
    }

    /// Tells every shard; false if one of them has too much to do already.
    pub fn tell(&self, note: Note) -> bool {
        // Every shard is told, also behind one that has too much to do.
        let refused = self.notes.iter().filter(|queue| queue.push(note).is_err()).count();
        refused == 0
    }

    /// Tells every shard but one.
    pub(super) fn tell_others(&self, shard: usize, note: Note) {
        for (_, queue) in self.notes.iter().enumerate().filter(|(other, _)| *other != shard) {
            // A shard that has too much to do does not hear of it.
            let _ = queue.push(note);
        }
    }

    /// Gives a shard more memory, with its next burst; an error if it has not taken the last yet.
    ///
    /// # Errors
    /// The memory.
    pub fn grow(&self, shard: usize, growth: Growth) -> Result<(), Growth> {
        match self.growth.get(shard) {
            Some(queue) => queue.push(growth),
            None => Err(growth),
        }
    }

    /// True if some shard has not taken the memory that it was given.
    #[must_use]
    pub fn is_growing(&self) -> bool {
        self.growth.iter().any(|queue| !queue.is_empty())
    }

    pub(super) fn retire(&self, memory: Box<Memory>) -> Result<(), Box<Memory>> {
        self.retired.push(memory)
    }

    /// Frees what shards do not need any more. Control only.
    pub fn free_retired(&self) {
        while self.retired.pop().is_some() {}
    }

    /// Adds an address to a table, for every shard at once and for control to take over.
    pub(super) fn add_to_table(&self, addition: Addition) {
        // A queue that is full loses it: the source is seen again with its next connection.
        let _ = self.tell(Note::Added(addition));
        let _ = self.additions.push(addition);
    }
}
