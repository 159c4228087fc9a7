//! The flow table: from a key to its flow, one cache line for the way there and one for the flow.
//!
//! A flow is in three places of the same number in three rows, by how often it is needed: a line with the part of its key
//! that every key has and `T`; a line with what only long keys have (two IPv6 addresses do not leave much of a line) and
//! `U`; and `V`. So the lines that every packet needs lie close together: of ten million flows they are 0.6 GB, a fifth of
//! everything, and that many pages are a fifth as often a miss of the caches that hold their addresses.
//!
//! Further keys, which translation adds, have buckets of their own: as long as there are none, nothing of them is touched.
//!
//! A bucket is a cache line of twelve entries: a tag of eight bits of the hash, and the index of the flow. All tags are
//! compared at once. There are buckets for twice the keys, so that one entry in a thousand finds its bucket full; it
//! goes to the next one with room, and the full one counts it, so that a search stops at the first bucket that nothing
//! went past. Two more bits of the hash stand
//! beside the index: a search meets another's entry once in 200 times, which costs a comparison of keys, and for that a
//! line from far away.
//!
//! A table never grows, and nothing is allocated after it was made. It is full when as many flows are in it as it was
//! made for, never before, and then refuses new ones and keeps the old: pf's `set limit states`. Who decides to make
//! room looks at flows in turn, a bounded number at a time ([`FlowTable::id_at`]), so that a flood pays with its own
//! flows in the order of their age and nobody's flow is the favourite victim of a hash.
//!
//! Whether a place is taken is said by its generation, which is odd then; and a free place has no key's head.
//!
//! **Memory**: 10.7 bytes of buckets, 24 of key and links and `T`, 24 of a long key's rest and `U`, both rounded up to whole
//! cache lines, and `V`; the operating system gives the flows' part when it is first used.

mod bucket;
mod directory;
mod place;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::num::NonZeroU32;

use self::directory::Directory;
pub use self::place::{Behind, Lines};
use self::place::{Further, Second, Slot};
use super::key::NO_HEAD;
use super::{FlowKey, Secret};
use crate::mem::prefetch::{self, Level};

/// Most flows, and most further keys, that a table can be made for.
pub const CAPACITY_MAX: usize = 1 << 30;

/// So many keys are hashed before the buckets of as many are looked at, where they come from a cache.
const NEAR_RUN: usize = 16;

/// Flows whose lines no cache holds: 10 MB and more.
const MANY: usize = 1 << 17;

/// No link.
const NONE: u32 = u32::MAX;

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

/// What a first look at the bucket of a hash says: the flow that it probably is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate(u32);

impl Candidate {
    /// No flow has such a hash. No slot has such a number.
    pub const ABSENT: Self = Self(directory::ABSENT);
    /// There is more to search.
    pub const SEARCH: Self = Self(directory::SEARCH);
}

/// A first look at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// [`FlowTable::hash`].
    pub hash: u64,
    /// [`FlowTable::candidate`].
    pub candidate: Candidate,
}

impl Look {
    /// At none.
    pub const NONE: Self = Self { hash: 0, candidate: Candidate::ABSENT };
}

/// The table has as many flows, or as many further keys, as it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// How much of a flow's first place comes before its own data, bytes.
pub const BEFORE: usize = core::mem::offset_of!(Slot<u64>, value);
/// The same of the second place.
pub const BEFORE_SECOND: usize = core::mem::offset_of!(Second<u64>, value);

/// A map from keys to flows. See the module.
pub struct FlowTable<T, U = (), V = ()> {
    secret: Secret,
    /// Of the keys that flows were inserted with, the numbers of the flows.
    firsts: Directory,
    /// Of further keys, their own numbers.
    others: Directory,
    /// As long as the most flows that there have been at a time, and the two behind it with it.
    slots: Vec<Slot<T>>,
    seconds: Vec<Second<U>>,
    thirds: Vec<V>,
    further: Vec<Further>,
    free_slot: u32,
    free_further: u32,
    len: usize,
    capacity: usize,
    further_len: usize,
    further_capacity: usize,
}

/// Room for so many, to be taken later.
fn room<T>(count: usize) -> Option<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(count).ok()?;
    Some(all)
}

/// The data of a flow that has nothing but its first place.
impl<T> FlowTable<T> {
    /// An empty table for `capacity` flows and `further` further keys ([`FlowTable::add_key`]).
    ///
    /// `None` without memory, or when one of them is more than [`CAPACITY_MAX`].
    #[must_use]
    pub fn new(capacity: usize, further: usize, secret: Secret) -> Option<Self> {
        Self::with_parts(capacity, further, secret)
    }

    /// [`FlowTable::insert_parts`].
    ///
    /// # Errors
    /// [`Full`]: there are [`FlowTable::capacity`] flows.
    pub fn insert(&mut self, hash: u64, key: FlowKey, value: T) -> Result<FlowId, Full> {
        self.insert_parts(hash, key, (value, (), ()))
    }

    /// [`FlowTable::remove_parts`].
    pub fn remove(&mut self, id: FlowId) -> Option<T>
    where
        T: Default,
    {
        self.remove_parts(id).map(|(value, (), ())| value)
    }
}

impl<T, U, V> FlowTable<T, U, V> {
    /// [`FlowTable::new`], of flows in three parts.
    #[must_use]
    pub fn with_parts(capacity: usize, further: usize, secret: Secret) -> Option<Self> {
        if capacity > CAPACITY_MAX || further > CAPACITY_MAX {
            return None;
        }
        Some(Self {
            secret,
            firsts: Directory::new(capacity)?,
            others: Directory::new(further)?,
            slots: room(capacity)?,
            seconds: room(capacity)?,
            thirds: room(capacity)?,
            further: room(further)?,
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
        Directory::memory(capacity)
            + Directory::memory(further)
            + capacity * (size_of::<Slot<T>>() + size_of::<Second<U>>() + size_of::<V>())
            + further * size_of::<Further>()
    }

    /// The hash of a key; every other method that takes a hash wants this one.
    #[must_use]
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        self.secret.hash(key)
    }

    /// How near the lines of a burst are brought: of few flows they come from a cache, of many from memory.
    #[inline(always)]
    const fn level(&self) -> Level {
        if self.slots.len() < MANY { Level::First } else { Level::Second }
    }

    /// Begins to fetch what [`FlowTable::find`] reads first.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        self.firsts.prefetch(hash, self.level());
    }

    /// The flow that [`FlowTable::find`] will probably find, once the memory that [`FlowTable::prefetch`] asked for is
    /// there; begins to fetch it: the first part, and with `both` also the second one, which a long key needs.
    #[must_use]
    #[inline(always)]
    pub fn candidate(&self, hash: u64, both: bool) -> Candidate {
        self.candidate_at(hash, both, self.level())
    }

    #[inline(always)]
    fn candidate_at(&self, hash: u64, both: bool, level: Level) -> Candidate {
        let first = self.firsts.first(hash);
        if first != directory::ABSENT {
            self.prefetch_slot(first, both, level);
        }
        Candidate(first)
    }

    /// Begins to fetch what [`FlowTable::find_further`] reads first.
    #[inline(always)]
    pub fn prefetch_further(&self, hash: u64) {
        self.others.prefetch(hash, self.level());
    }

    /// False if [`FlowTable::find_further`] finds nothing; begins to fetch what it reads otherwise.
    #[must_use]
    #[inline(always)]
    pub fn may_find_further(&self, hash: u64) -> bool {
        let first = self.others.first(hash);
        prefetch::element(&self.further, first as usize);
        first != directory::ABSENT
    }

    /// What a burst looks at: where its lines are, found once for all.
    #[inline(always)]
    pub fn lines(&mut self) -> Lines<'_, T, U> {
        Lines { slots: &mut self.slots, seconds: &mut self.seconds }
    }

    #[inline(always)]
    fn prefetch_slot(&self, index: u32, both: bool, level: Level) {
        prefetch::place(&self.slots, index as usize, level);
        if both {
            prefetch::place(&self.seconds, index as usize, level);
        }
    }

    /// This is where the flow with this key is.
    #[inline(always)]
    fn is_of(&self, index: usize, slot: &Slot<T>, key: &FlowKey) -> bool {
        key.has_head(&slot.head) && (!key.is_long() || self.seconds.get(index).is_some_and(|second| second.is_of(key)))
    }

    /// The flow that was inserted with this key. `hash` is the key's.
    #[must_use]
    #[inline(never)]
    pub fn find(&self, hash: u64, key: &FlowKey) -> Option<FlowId> {
        self.firsts.search(hash, |reference| self.verify(reference, key))
    }

    /// The flow that this key was added to. `hash` is the key's.
    #[must_use]
    pub fn find_further(&self, hash: u64, key: &FlowKey) -> Option<FlowId> {
        let owner = self.others.search(hash, |reference| {
            let entry = self.further.get(reference as usize)?;
            (entry.key == *key).then_some(entry.owner)
        })?;
        self.id_at(owner as usize)
    }

    /// The flow with this number, if it was inserted with this key.
    #[inline(always)]
    fn verify(&self, reference: u32, key: &FlowKey) -> Option<FlowId> {
        let slot = self.slots.get(reference as usize)?;
        let id = FlowId { index: reference, generation: slot.generation };
        self.is_of(reference as usize, slot, key).then_some(id)
    }

    /// [`FlowTable::hash`] and [`FlowTable::candidate`] for a burst of keys, with the memory of all of them fetched at the same
    /// time: as many looks as there are keys and places for them.
    pub fn look(&self, keys: &[FlowKey], looks: &mut [Look]) {
        // What comes from a cache is there a few keys later; what comes from memory takes longer than a burst.
        match self.level() {
            Level::First => self.look_in_runs(keys, looks, NEAR_RUN, Level::First),
            level => self.look_in_runs(keys, looks, keys.len().max(1), level),
        }
    }

    /// Hashes a run of keys before it looks at the buckets of the run before.
    #[inline(always)]
    fn look_in_runs(&self, keys: &[FlowKey], looks: &mut [Look], run: usize, level: Level) {
        let mut before: (&[FlowKey], &mut [Look]) = (&[], &mut []);
        for (keys, looks) in keys.chunks(run).zip(looks.chunks_mut(run)) {
            for (key, look) in keys.iter().zip(&mut *looks) {
                look.hash = self.hash(key);
                self.firsts.prefetch(look.hash, level);
            }
            self.look_at_buckets(before, level);
            before = (keys, looks);
        }
        self.look_at_buckets(before, level);
    }

    #[inline(always)]
    fn look_at_buckets(&self, (keys, looks): (&[FlowKey], &mut [Look]), level: Level) {
        for (key, look) in keys.iter().zip(looks) {
            look.candidate = self.candidate_at(look.hash, key.is_long(), level);
        }
    }

    /// [`FlowTable::find`] for a burst of keys that have been looked at: as many results as there are keys, looks and places
    /// for results.
    pub fn find_burst(&self, keys: &[FlowKey], looks: &[Look], found: &mut [Option<FlowId>]) {
        for ((key, look), found) in keys.iter().zip(looks).zip(found) {
            *found = None;
            if look.candidate != Candidate::ABSENT {
                *found = self.verify(look.candidate.0, key);
                if found.is_none() {
                    *found = self.find(look.hash, key);
                }
            }
        }
    }

    /// Adds a flow. `hash` is the key's, and the key is not in the table: [`FlowTable::find`] has just said so. (If it
    /// is, either flow may be found by it until one is removed.)
    ///
    /// # Errors
    /// [`Full`]: there are [`FlowTable::capacity`] flows.
    pub fn insert_parts(&mut self, hash: u64, key: FlowKey, parts: (T, U, V)) -> Result<FlowId, Full> {
        let (value, second, third) = parts;
        let (head, second) = (key.head(), Second { tail: *key.tail(), value: second });
        let free = self.free_slot as usize;
        let places = (self.slots.get_mut(free), self.seconds.get_mut(free), self.thirds.get_mut(free));
        let index = if let (Some(slot), Some(old_second), Some(old_third)) = places {
            let index = self.free_slot;
            self.free_slot = slot.next;
            slot.head = head;
            slot.next = NONE;
            slot.value = value;
            slot.turn();
            (*old_second, *old_third) = (second, third);
            index
        } else {
            if self.slots.len() >= self.capacity {
                return Err(Full);
            }
            // Below CAPACITY_MAX, and there is room: nothing is allocated.
            let index = self.slots.len() as u32;
            self.slots.push(Slot { head, generation: NonZeroU32::MIN, next: NONE, value });
            self.seconds.push(second);
            self.thirds.push(third);
            index
        };
        self.firsts.link(hash, index);
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
        self.others.link(hash, index);
        Ok(true)
    }

    /// The first part of the flow's data, while it is in the table.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, id: FlowId) -> Option<&T> {
        let slot = self.slots.get(id.index())?;
        slot.has(id).then_some(&slot.value)
    }

    /// The first part of the flow's data, while it is in the table.
    #[must_use]
    #[inline(always)]
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index())?;
        slot.has(id).then_some(&mut slot.value)
    }

    /// The flow's data, while it is in the table.
    #[must_use]
    #[inline(always)]
    pub fn parts(&self, id: FlowId) -> Option<(&T, &U, &V)> {
        let value = self.get(id)?;
        Some((value, &self.seconds.get(id.index())?.value, self.thirds.get(id.index())?))
    }

    /// The flow's data, while it is in the table.
    #[must_use]
    #[inline(always)]
    pub fn parts_mut(&mut self, id: FlowId) -> Option<(&mut T, &mut U, &mut V)> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.has(id))?;
        let second = self.seconds.get_mut(id.index())?;
        Some((&mut slot.value, &mut second.value, self.thirds.get_mut(id.index())?))
    }

    /// The key that the flow was inserted with.
    #[must_use]
    pub fn key(&self, id: FlowId) -> Option<FlowKey> {
        let slot = self.slots.get(id.index()).filter(|slot| slot.has(id))?;
        Some(FlowKey::from_parts(slot.head, self.seconds.get(id.index())?.tail))
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
    pub fn remove_parts(&mut self, id: FlowId) -> Option<(T, U, V)>
    where
        T: Default,
        U: Default,
        V: Default,
    {
        let key = self.key(id)?;
        let slot = self.slots.get_mut(id.index())?;
        let (second, third) = (self.seconds.get_mut(id.index())?, self.thirds.get_mut(id.index())?);
        let parts = (core::mem::take(&mut slot.value), core::mem::take(&mut second.value), core::mem::take(third));
        slot.head = NO_HEAD;
        let mut next = core::mem::replace(&mut slot.next, self.free_slot);
        slot.turn();
        self.free_slot = id.index;
        self.len -= 1;
        self.firsts.unlink(self.secret.hash(&key), id.index);
        while let Some(entry) = self.further.get_mut(next as usize) {
            let (key, index) = (entry.key, next);
            next = core::mem::replace(&mut entry.next, self.free_further);
            self.free_further = index;
            self.further_len -= 1;
            self.others.unlink(self.secret.hash(&key), index);
        }
        Some(parts)
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
