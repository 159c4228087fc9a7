//! Entries, and the lists that they are in.

use super::{Datagram, Fault, Frame, Outcome, Place, Reassembly};
use crate::flow::FlowKey;
use crate::flow::table::FlowId;
use crate::wire::Family;

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// Part of a datagram; or ready to leave; or free.
pub(super) struct Entry<P, V> {
    pub frame: Option<P>,
    pub place: Option<Place>,
    /// The bytes of the datagram that count, out of those that the frame has.
    pub start: u32,
    pub end: u32,
    /// The next one of the list that it is in.
    pub next: u32,
    pub outcome: Option<Outcome<V>>,
}

impl<P, V> Entry<P, V> {
    pub fn free(next: u32) -> Self {
        Self { frame: None, place: None, start: 0, end: 0, next, outcome: None }
    }

    pub fn held(frame: P, place: Place, start: u32) -> Self {
        Self { frame: Some(frame), place: Some(place), start, end: place.end, next: NONE, outcome: None }
    }
}

impl<P: Frame, V: Copy> Reassembly<P, V> {
    pub(super) fn entry(&self, index: u32) -> Option<&Entry<P, V>> {
        self.entries.get(index as usize)
    }

    /// Start, end, and the entry behind.
    pub(super) fn span(&self, index: u32) -> Option<(u32, u32, u32)> {
        self.entry(index).map(|entry| (entry.start, entry.end, entry.next))
    }

    pub(super) fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<P, V>> {
        self.entries.get_mut(index as usize)
    }

    /// The datagram with this key; a new one if there is none. `None` if there is no room for another.
    pub(super) fn datagram(&mut self, key: FlowKey, family: Family, now: u64) -> Option<FlowId> {
        let hash = self.datagrams.hash(&key);
        if let Some(id) = self.datagrams.find(hash, &key) {
            return Some(id);
        }
        let new = Datagram {
            first: NONE,
            last: NONE,
            count: 0,
            bytes: 0,
            total: None,
            family,
            doomed: false,
            created: now,
            older: self.newest,
            newer: None,
        };
        if self.datagrams.len() >= self.capacity
            && let Some(oldest) = self.oldest
        {
            // Doomed ones have no entries, so that room for entries does not mean room for datagrams.
            self.counts.evicted += 1;
            self.give_up(oldest, Fault::Full);
        }
        let older = self.newest;
        let id = self.datagrams.insert(hash, key, Datagram { older, ..new }).ok()?;
        match older.and_then(|older| self.datagrams.get_mut(older)) {
            Some(older) => older.newer = Some(id),
            None => self.oldest = Some(id),
        }
        self.newest = Some(id);
        Some(id)
    }

    /// The last entry that starts at `start` or in front of it, out of the list from `first` to `last`.
    pub(super) fn before(&self, first: u32, last: u32, start: u32) -> u32 {
        if self.entry(last).is_some_and(|entry| entry.start <= start) {
            return last;
        }
        let (mut previous, mut at) = (NONE, first);
        while let Some(entry) = self.entry(at)
            && entry.start <= start
        {
            (previous, at) = (at, entry.next);
        }
        previous
    }

    /// Puts an entry into a datagram, behind `previous`. False if there is no entry left.
    pub(super) fn link(&mut self, id: FlowId, mut new: Entry<P, V>, previous: u32) -> bool {
        let index = self.free;
        let len = new.end - new.start;
        let more = new.place.is_none_or(|place| place.more);
        let end = new.end;
        let Some(next_free) = self.entry(index).map(|entry| entry.next) else {
            return false;
        };
        let Some(datagram) = self.datagrams.get_mut(id) else {
            return false;
        };
        self.free = next_free;
        datagram.count += 1;
        datagram.bytes += len;
        if !more {
            datagram.total = Some(end);
        }
        if datagram.last == previous {
            datagram.last = index;
        }
        if previous == NONE {
            new.next = datagram.first;
            datagram.first = index;
        } else if let Some(entry) = self.entries.get_mut(previous as usize) {
            new.next = entry.next;
            entry.next = index;
        }
        if let Some(entry) = self.entry_mut(index) {
            *entry = new;
        }
        self.collecting += 1;
        true
    }

    /// Takes an entry, which stands behind `previous`, out of its datagram. It is in no list then.
    pub(super) fn unlink(&mut self, id: FlowId, index: u32, previous: u32) {
        let Some((next, len)) = self.entry(index).map(|entry| (entry.next, entry.end - entry.start)) else {
            return;
        };
        if let Some(entry) = self.entry_mut(previous) {
            entry.next = next;
        }
        if let Some(datagram) = self.datagrams.get_mut(id) {
            datagram.count -= 1;
            datagram.bytes -= len;
            if datagram.first == index {
                datagram.first = next;
            }
            if datagram.last == index {
                datagram.last = previous;
            }
        }
        self.collecting -= 1;
    }

    /// Leaves only the bytes from `start` on of an entry.
    pub(super) fn crop_front(&mut self, id: FlowId, index: u32, start: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return;
        };
        let cut = start - entry.start;
        entry.start = start;
        if let Some(datagram) = self.datagrams.get_mut(id) {
            datagram.bytes -= cut;
        }
    }

    /// Appends an entry that is in no list to those that are ready; one without a frame is free at once.
    pub(super) fn make_ready(&mut self, index: u32, outcome: Outcome<V>) {
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return;
        };
        if entry.frame.is_none() {
            *entry = Entry::free(self.free);
            self.free = index;
            return;
        }
        entry.outcome = Some(outcome);
        entry.next = NONE;
        match self.entries.get_mut(self.ready_last as usize) {
            Some(last) => last.next = index,
            None => self.ready_first = index,
        }
        self.ready_last = index;
        self.ready += 1;
        if outcome_is_bad(&outcome) {
            self.counts.bad += 1;
        }
    }

    /// The first entry that is ready, in no list any more.
    pub(super) fn take_ready(&mut self) -> Option<u32> {
        let index = self.ready_first;
        let next = self.entry(index)?.next;
        self.ready_first = next;
        if next == NONE {
            self.ready_last = NONE;
        }
        self.ready -= 1;
        Some(index)
    }

    /// Empties an entry that is in no list.
    pub(super) fn free_entry(&mut self, index: u32) -> Option<(P, Outcome<V>)> {
        let free = self.free;
        let entry = self.entry_mut(index)?;
        let found = entry.frame.take().zip(entry.outcome.take());
        *entry = Entry::free(free);
        self.free = index;
        found
    }

    /// Makes all entries of a datagram ready with one outcome.
    pub(super) fn empty(&mut self, id: FlowId, outcome: Outcome<V>) {
        while let Some(first) = self.datagrams.get(id).map(|datagram| datagram.first)
            && first != NONE
        {
            self.unlink(id, first, NONE);
            self.make_ready(first, outcome);
        }
    }

    /// Drops all that is held of a datagram and remembers it, so that the rest is dropped too.
    pub(super) fn doom(&mut self, id: FlowId) {
        self.empty(id, Outcome::Lost(Fault::Bad));
        if let Some(datagram) = self.datagrams.get_mut(id) {
            datagram.doomed = true;
        }
    }

    /// Drops all that is held of a datagram and forgets it.
    pub(super) fn give_up(&mut self, id: FlowId, fault: Fault) {
        self.empty(id, Outcome::Lost(fault));
        self.forget(id);
    }

    /// Forgets a datagram that no fragment was accepted of.
    pub(super) fn forget_if_empty(&mut self, id: FlowId) {
        if self.datagrams.get(id).is_some_and(|datagram| datagram.count == 0 && !datagram.doomed) {
            self.forget(id);
        }
    }

    /// Forgets a datagram without entries.
    pub(super) fn forget(&mut self, id: FlowId) {
        let Some(gone) = self.datagrams.remove(id) else {
            return;
        };
        match gone.older.and_then(|older| self.datagrams.get_mut(older)) {
            Some(older) => older.newer = gone.newer,
            None => self.oldest = gone.newer,
        }
        match gone.newer.and_then(|newer| self.datagrams.get_mut(newer)) {
            Some(newer) => newer.older = gone.older,
            None => self.newest = gone.older,
        }
    }

    /// All bytes are there.
    pub(super) fn is_whole(&self, id: FlowId) -> bool {
        self.datagrams.get(id).is_some_and(|datagram| datagram.total == Some(datagram.bytes))
    }
}

fn outcome_is_bad<V>(outcome: &Outcome<V>) -> bool {
    matches!(outcome, Outcome::Lost(Fault::Bad))
}
