//! The flow table: from a key to its flow, one cache line for the way there and one for the flow.
//!
//! A flow's place begins with the part of its key that every key has, and then its own data; what only long keys have
//! (two IPv6 addresses do not leave much of a line) comes behind the data. So the owner says, by the order of the data, what
//! is in the line that every packet needs, and what in the last one, with the rest of a long key.
//!
//! A bucket is a cache line of twelve entries: a tag of eight bits of the hash, and the index of the flow. All tags are
//! compared at once. There are buckets for twice the entries, so that one entry in a thousand finds its bucket full; it
//! goes to the next one with room, and the full one counts it, so that a search stops at the first bucket that nothing
//! went past. Tags have no wrong hit but one in 20, which costs a comparison of keys.
//!
//! A table never grows, and nothing is allocated after it was made. It is full when as many flows are in it as it was
//! made for, never before, and then refuses new ones and keeps the old: pf's `set limit states`. Who decides to make
//! room looks at flows in turn, a bounded number at a time ([`FlowTable::id_at`]), so that a flood pays with its own
//! flows in the order of their age and nobody's flow is the favourite victim of a hash.
//!
//! Whether a place is taken is said by its generation, which is odd then; and a free place has no key's head.
//!
//! **Memory**: 10.7 bytes of buckets, 48 of key and links and the flow's own, rounded up to whole cache lines; the
//! operating system gives the flows' part when it is first used.

mod bucket;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use self::bucket::{Bucket, FREE, WAYS};
use super::key::{Head, NO_HEAD, Tail};
use super::{FlowKey, Secret};
use crate::mem::prefetch;

/// Most flows, and most further keys, that a table can be made for.
pub const CAPACITY_MAX: usize = 1 << 30;

/// Most lookups that [`FlowTable::find_burst`] does at once.
pub const BURST_MAX: usize = 64;

/// No link.
const NONE: u32 = u32::MAX;
/// In a bucket: the rest of the number is the index of a further key, not of a flow.
const FURTHER: u32 = 1 << 31;

/// A flow in a table, while it is there: when it has been removed, its id finds nothing, even when its place has been
/// taken by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    index: u32,
    generation: NonZeroU32,
}

impl FlowId {
    /// A number below the table's capacity that no other flow has at the same time.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// Tells flows that have had the same index, one after the other, apart.
    #[must_use]
    pub const fn generation(self) -> NonZeroU32 {
        self.generation
    }

    /// The id that has these numbers, as they came from another id: an id that no table ever gave finds nothing.
    #[must_use]
    pub const fn from_parts(index: u32, generation: NonZeroU32) -> Self {
        Self { index, generation }
    }
}

/// A flow, and which of its keys found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The flow.
    pub id: FlowId,
    /// False: the key that it was inserted with. True: one that was added.
    pub further: bool,
}

/// What a first look at the bucket of a hash says: the flow that it probably is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate(u32);

impl Candidate {
    /// No flow and no key has such a hash. No slot and no further key has such a number.
    pub const ABSENT: Self = Self(u32::MAX);
    /// There is more to search.
    const SEARCH: Self = Self(u32::MAX - 1);
}

/// The table has as many flows, or as many further keys, as it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A place for a flow.
#[repr(C, align(64))]
struct Slot<T> {
    /// The key's, if it is in use; otherwise nobody's.
    head: Head,
    /// Odd: in use.
    generation: NonZeroU32,
    /// In use: its first further key. Free: the next free slot.
    next: u32,
    value: T,
    /// The rest of the key.
    tail: Tail,
}

/// How much of a place comes before a flow's own data, bytes.
pub const BEFORE: usize = core::mem::offset_of!(Slot<u64>, value);
/// How much comes behind.
pub const BEHIND: usize = size_of::<Tail>();

impl<T> Slot<T> {
    #[inline(always)]
    const fn is_used(&self) -> bool {
        self.generation.get() & 1 != 0
    }

    /// The key, if it is in use.
    const fn key(&self) -> FlowKey {
        FlowKey::from_parts(self.head, self.tail)
    }

    /// This is where the flow with this key is.
    #[inline(always)]
    const fn is_of(&self, key: &FlowKey) -> bool {
        key.is(&self.head, &self.tail)
    }

    /// This is where the flow with this id is.
    #[inline(always)]
    fn has(&self, id: FlowId) -> bool {
        self.generation == id.generation && self.is_used()
    }

    /// Taken, or free again.
    fn turn(&mut self) {
        // Behind the last, which is odd, comes the first that is even.
        self.generation = self.generation.checked_add(1).unwrap_or(const { NonZeroU32::MIN.saturating_add(1) });
    }
}

/// A further key of a flow.
#[derive(Clone, Copy)]
struct Further {
    key: FlowKey,
    owner: u32,
    /// In use: the flow's next one. Free: the next free one.
    next: u32,
}

/// A map from keys to flows. See the module.
pub struct FlowTable<T> {
    secret: Secret,
    buckets: Box<[Bucket]>,
    /// As long as the most flows that there have been at a time.
    slots: Vec<Slot<T>>,
    further: Vec<Further>,
    free_slot: u32,
    free_further: u32,
    len: usize,
    capacity: usize,
    further_len: usize,
    further_capacity: usize,
}

impl<T> FlowTable<T> {
    /// An empty table for `capacity` flows and `further` further keys ([`FlowTable::add_key`]).
    ///
    /// `None` without memory, or when one of them is more than [`CAPACITY_MAX`].
    #[must_use]
    pub fn new(capacity: usize, further: usize, secret: Secret) -> Option<Self> {
        if capacity > CAPACITY_MAX || further > CAPACITY_MAX {
            return None;
        }
        // Half full when it is full.
        let count = (capacity + further).div_ceil(WAYS / 2) + 1;
        let mut buckets = Vec::new();
        buckets.try_reserve_exact(count).ok()?;
        buckets.resize(count, Bucket::EMPTY);
        let mut slots = Vec::new();
        slots.try_reserve_exact(capacity).ok()?;
        let mut further_keys = Vec::new();
        further_keys.try_reserve_exact(further).ok()?;
        Some(Self {
            secret,
            buckets: buckets.into_boxed_slice(),
            slots,
            further: further_keys,
            free_slot: NONE,
            free_further: NONE,
            len: 0,
            capacity,
            further_len: 0,
            further_capacity: further,
        })
    }

    /// Flows in the table.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// No flow is in the table.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Flows that it was made for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that a table for `capacity` flows and `further` further keys takes, when it is full.
    #[must_use]
    pub const fn memory(capacity: usize, further: usize) -> usize {
        ((capacity + further).div_ceil(WAYS / 2) + 1) * size_of::<Bucket>()
            + capacity * size_of::<Slot<T>>()
            + further * size_of::<Further>()
    }

    /// The hash of a key; every other method that takes a hash wants this one.
    #[must_use]
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        self.secret.hash(key)
    }

    /// The bucket where the search for a hash begins: the upper half scaled, so no division.
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline(always)]
    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 < self.buckets.len() { bucket + 1 } else { 0 }
    }

    /// Begins to fetch what [`FlowTable::find`] reads first.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        prefetch::element(&self.buckets, self.home(hash));
    }

    /// The flow that [`FlowTable::find`] will probably find, once the memory that [`FlowTable::prefetch`] asked for is
    /// there; begins to fetch it: the first cache line, and with `both` also the last one, which a long key and whoever
    /// reads the end of the data needs.
    #[must_use]
    #[inline(always)]
    pub fn candidate(&self, hash: u64, both: bool) -> Candidate {
        let Some(bucket) = self.buckets.get(self.home(hash)) else { return Candidate::SEARCH };
        let Some(reference) = bucket.with_tag(tag(hash)).next().and_then(|way| bucket.reference(way)) else {
            return if bucket.passed() == 0 { Candidate::ABSENT } else { Candidate::SEARCH };
        };
        if reference & FURTHER == 0 {
            self.prefetch_slot(reference, both);
        } else {
            prefetch::element(&self.further, (reference & !FURTHER) as usize);
        }
        Candidate(reference)
    }

    /// The data of the flow that was inserted with this key, if it is where [`FlowTable::candidate`] said. Nothing is
    /// said about its absence.
    #[inline(always)]
    pub fn candidate_mut(&mut self, candidate: Candidate, key: &FlowKey) -> Option<&mut T> {
        let slot = self.slots.get_mut(candidate.0 as usize)?;
        slot.is_of(key).then_some(&mut slot.value)
    }

    #[inline(always)]
    fn prefetch_slot(&self, index: u32, both: bool) {
        if let Some(slot) = self.slots.get(index as usize) {
            prefetch::line(slot, 0);
            if both && core::mem::offset_of!(Slot<T>, tail) >= 64 {
                prefetch::line(slot, core::mem::offset_of!(Slot<T>, tail));
            }
        }
    }

    /// The flow that has this key. `hash` is the key's.
    #[must_use]
    #[inline]
    pub fn find(&self, hash: u64, key: &FlowKey) -> Option<FlowId> {
        self.locate(hash, key).map(|hit| hit.id)
    }

    /// The flow that has this key, and which of its keys that is. `hash` is the key's.
    #[must_use]
    #[inline]
    pub fn locate(&self, hash: u64, key: &FlowKey) -> Option<Hit> {
        let tag = tag(hash);
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = self.buckets.get(at)?;
            for way in bucket.with_tag(tag) {
                if let Some(hit) = self.verify(bucket.reference(way)?, key) {
                    return Some(hit);
                }
            }
            if bucket.passed() == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// The flow behind `reference`, if it has this key.
    #[inline(always)]
    fn verify(&self, reference: u32, key: &FlowKey) -> Option<Hit> {
        if reference & FURTHER == 0 {
            let slot = self.slots.get(reference as usize)?;
            let id = FlowId { index: reference, generation: slot.generation };
            return slot.is_of(key).then_some(Hit { id, further: false });
        }
        let entry = self.further.get((reference & !FURTHER) as usize)?;
        if entry.key != *key {
            return None;
        }
        let slot = self.slots.get(entry.owner as usize)?;
        Some(Hit { id: FlowId { index: entry.owner, generation: slot.generation }, further: true })
    }

    /// [`FlowTable::locate`] for up to [`BURST_MAX`] keys, with the memory of all of them fetched at the same time: as
    /// many results as there are hashes, keys and places for results.
    pub fn find_burst(&self, hashes: &[u64], keys: &[FlowKey], found: &mut [Option<Hit>]) {
        let mut first = [Candidate::SEARCH; BURST_MAX];
        for hash in hashes {
            self.prefetch(*hash);
        }
        for ((hash, key), first) in hashes.iter().zip(keys).zip(&mut first) {
            *first = self.candidate(*hash, key.is_long());
        }
        for (((hash, key), found), first) in hashes.iter().zip(keys).zip(found).zip(first) {
            *found = None;
            if first != Candidate::ABSENT {
                *found = self.verify(first.0, key);
                if found.is_none() {
                    *found = self.locate(*hash, key);
                }
            }
        }
    }

    /// Adds a flow. `hash` is the key's, and the key is not in the table: [`FlowTable::find`] has just said so. (If it
    /// is, either flow may be found by it until one is removed.)
    ///
    /// # Errors
    /// [`Full`]: there are [`FlowTable::capacity`] flows.
    pub fn insert(&mut self, hash: u64, key: FlowKey, value: T) -> Result<FlowId, Full> {
        let index = if let Some(slot) = self.slots.get_mut(self.free_slot as usize) {
            let index = self.free_slot;
            self.free_slot = slot.next;
            (slot.head, slot.tail) = (key.head(), *key.tail());
            slot.next = NONE;
            slot.value = value;
            slot.turn();
            index
        } else {
            if self.slots.len() >= self.capacity {
                return Err(Full);
            }
            // Below CAPACITY_MAX, and there is room: nothing is allocated.
            let index = self.slots.len() as u32;
            let (head, tail) = (key.head(), *key.tail());
            self.slots.push(Slot { head, generation: NonZeroU32::MIN, next: NONE, value, tail });
            index
        };
        self.link(hash, index);
        self.len += 1;
        self.id_at(index as usize).ok_or(Full)
    }

    /// Gives a flow a further key, as translation does. `hash` is the key's, and the key is not in the table. False
    /// when there is no such flow.
    ///
    /// # Errors
    /// [`Full`]: there are as many further keys as the table was made for.
    pub fn add_key(&mut self, id: FlowId, hash: u64, key: FlowKey) -> Result<bool, Full> {
        let Some(slot) = self.slots.get_mut(id.index()) else { return Ok(false) };
        if !slot.has(id) {
            return Ok(false);
        }
        let entry = Further { key, owner: id.index, next: slot.next };
        let index = if let Some(place) = self.further.get_mut(self.free_further as usize) {
            let index = self.free_further;
            self.free_further = place.next;
            *place = entry;
            index
        } else {
            if self.further.len() >= self.further_capacity {
                return Err(Full);
            }
            let index = self.further.len() as u32;
            self.further.push(entry);
            index
        };
        slot.next = index;
        self.further_len += 1;
        self.link(hash, index | FURTHER);
        Ok(true)
    }

    /// Puts `reference` into the first bucket with room.
    fn link(&mut self, hash: u64, reference: u32) {
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let Some(bucket) = self.buckets.get_mut(at) else { return };
            if let Some(way) = bucket.free() {
                bucket.set(way, tag(hash), reference);
                return;
            }
            bucket.set_passed(bucket.passed().saturating_add(1));
            at = self.after(at);
        }
        debug_assert!(false, "there are ways for twice the entries");
    }

    /// Takes `reference` out of its bucket.
    fn unlink(&mut self, hash: u64, reference: u32) {
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let Some(bucket) = self.buckets.get_mut(at) else { return };
            if let Some(way) = bucket.position(tag(hash), reference) {
                bucket.set(way, FREE, 0);
                return;
            }
            bucket.set_passed(bucket.passed().saturating_sub(1));
            at = self.after(at);
        }
        debug_assert!(false, "every entry is behind its home");
    }

    /// The flow's data, while it is in the table.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, id: FlowId) -> Option<&T> {
        let slot = self.slots.get(id.index())?;
        slot.has(id).then_some(&slot.value)
    }

    /// The flow's data, while it is in the table.
    #[must_use]
    #[inline(always)]
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index())?;
        slot.has(id).then_some(&mut slot.value)
    }

    /// The key that the flow was inserted with.
    #[must_use]
    pub fn key(&self, id: FlowId) -> Option<FlowKey> {
        let slot = self.slots.get(id.index())?;
        slot.has(id).then_some(slot.key())
    }

    /// The keys that were added to the flow, the last one first.
    pub fn further_keys(&self, id: FlowId) -> impl Iterator<Item = &FlowKey> {
        let live = self.key(id).is_some();
        let mut next = if live { self.slots.get(id.index()).map_or(NONE, |slot| slot.next) } else { NONE };
        core::iter::from_fn(move || {
            let entry = self.further.get(next as usize)?;
            next = entry.next;
            Some(&entry.key)
        })
    }

    /// Removes the flow and all its keys.
    pub fn remove(&mut self, id: FlowId) -> Option<T>
    where
        T: Default,
    {
        let slot = self.slots.get_mut(id.index())?;
        if !slot.has(id) {
            return None;
        }
        let value = core::mem::take(&mut slot.value);
        let key = slot.key();
        slot.head = NO_HEAD;
        let mut next = core::mem::replace(&mut slot.next, self.free_slot);
        slot.turn();
        self.free_slot = id.index;
        self.len -= 1;
        self.unlink(self.secret.hash(&key), id.index);
        while let Some(entry) = self.further.get_mut(next as usize) {
            let (key, index) = (entry.key, next);
            next = core::mem::replace(&mut entry.next, self.free_further);
            self.free_further = index;
            self.further_len -= 1;
            self.unlink(self.secret.hash(&key), index | FURTHER);
        }
        Some(value)
    }

    /// One more than the highest index that a flow ever had. With [`FlowTable::id_at`], for those who look at all flows
    /// a few at a time: flows that stay are met exactly once, those that come or go meanwhile, once or not at all.
    #[must_use]
    pub const fn reach(&self) -> usize {
        self.slots.len()
    }

    /// The flow with this index, if there is one.
    #[must_use]
    pub fn id_at(&self, index: usize) -> Option<FlowId> {
        let slot = self.slots.get(index)?;
        let generation = slot.is_used().then_some(slot.generation)?;
        Some(FlowId { index: u32::try_from(index).ok()?, generation })
    }

    /// Further keys in the table.
    #[must_use]
    pub const fn further_len(&self) -> usize {
        self.further_len
    }
}

/// The tag: the lowest byte, which says nothing about the bucket, and which is not [`FREE`].
#[inline(always)]
const fn tag(hash: u64) -> u8 {
    let tag = hash as u8;
    if tag == FREE { 1 } else { tag }
}
