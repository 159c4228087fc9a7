//! When a flow's time is up: a hierarchical timing wheel (Varghese and Lauck, "Hashed and hierarchical timing wheels",
//! SOSP '87, scheme 7) of four levels of 256 slots.
//!
//! A flow is in one list at a time, so that memory is bounded by the number of flows: 24 bytes each. Time is in ticks of
//! whatever length the owner likes. Work is done in bounded steps: what is due and has not been looked at yet stays due.
//!
//! Moving a timer to a later time costs one store; it is when its old time comes that it is put where it belongs. The
//! owner who keeps the time in the flow itself may even leave that to then: [`Wheel::advance`] asks.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::table::{CAPACITY_MAX, FlowId};
use crate::mem::prefetch;

#[cfg(test)]
mod tests;

/// Bits of time that one level tells apart.
const BITS: u32 = 8;
/// Slots of a level.
const SLOTS: usize = 1 << BITS;
/// Levels: 2^32 ticks ahead; what is farther goes round once more.
const LEVELS: usize = 4;
/// Lists behind the slots: what is being looked at, one list per level.
const DUE: usize = SLOTS * LEVELS;
/// All lists.
const LISTS: usize = DUE + LEVELS;
/// No list, no neighbour.
const NONE: u32 = u32::MAX;

/// A flow's timer.
#[derive(Clone, Copy)]
struct Node {
    at: u64,
    next: u32,
    prev: u32,
    /// Right while `prev` is [`NONE`]: a list's head knows its list.
    list: u32,
    /// The flow's; `None` = not in a list.
    generation: Option<NonZeroU32>,
}

impl Node {
    const IDLE: Self = Self { at: 0, next: NONE, prev: NONE, list: NONE, generation: None };
}

/// The timers of a table's flows. See the module.
pub struct Wheel {
    /// As long as the highest index that was scheduled.
    nodes: Vec<Node>,
    capacity: usize,
    heads: Box<[u32]>,
    /// Which slots of the levels are not empty.
    used: [[u64; SLOTS / 64]; LEVELS],
    /// The last tick whose slots have been emptied into the due lists.
    current: u64,
    /// Timers in lists.
    armed: usize,
}

impl Wheel {
    /// A wheel for flows with an index below `capacity`, at time `now`. `None` without memory or above
    /// [`CAPACITY_MAX`].
    #[must_use]
    pub fn new(capacity: usize, now: u64) -> Option<Self> {
        if capacity > CAPACITY_MAX {
            return None;
        }
        let mut nodes = Vec::new();
        nodes.try_reserve_exact(capacity).ok()?;
        let mut heads = Vec::new();
        heads.try_reserve_exact(LISTS).ok()?;
        heads.resize(LISTS, NONE);
        Some(Self {
            nodes,
            capacity,
            heads: heads.into_boxed_slice(),
            used: [[0; SLOTS / 64]; LEVELS],
            current: now,
            armed: 0,
        })
    }

    /// Bytes that a wheel for `capacity` flows takes.
    #[must_use]
    pub const fn memory(capacity: usize) -> usize {
        capacity * size_of::<Node>() + LISTS * size_of::<u32>()
    }

    /// Sets the time at which [`Wheel::advance`] will name the flow; an earlier setting is forgotten. A time that has
    /// passed is the next tick. False when the index is not below the capacity.
    pub fn schedule(&mut self, id: FlowId, at: u64) -> bool {
        let index = id.index();
        if index >= self.capacity {
            return false;
        }
        // A table hands indices out in order, so that this adds one at a time; there is room.
        while self.nodes.len() <= index {
            self.nodes.push(Node::IDLE);
        }
        let Some(node) = self.nodes.get_mut(index) else { return false };
        if node.generation == Some(id.generation()) && node.at <= at {
            node.at = at;
            return true;
        }
        if node.generation.is_some() {
            self.unlink(index);
        }
        let Some(node) = self.nodes.get_mut(index) else { return false };
        node.at = at;
        node.generation = Some(id.generation());
        self.link(index);
        true
    }

    /// Forgets the flow's timer. A flow that has been removed without it may still be named once.
    pub fn cancel(&mut self, id: FlowId) {
        let index = id.index();
        if self.nodes.get(index).is_some_and(|node| node.generation == Some(id.generation())) {
            self.unlink(index);
        }
    }

    /// Moves time on to `now` in at most `budget` steps, and calls `f` for each flow whose time has come: it returns
    /// the time at which to ask again, or `None` when the flow needs no timer any more. True when everything up to
    /// `now` is done. A step is one timer looked at, or one stretch of time without any.
    pub fn advance(&mut self, now: u64, budget: usize, mut f: impl FnMut(FlowId) -> Option<u64>) -> bool {
        let mut left = budget;
        while let Some(id) = self.expired(now, &mut left) {
            if let Some(at) = f(id) {
                self.schedule(id, at);
            }
        }
        self.is_done(now)
    }

    /// [`Wheel::advance`] for callers who cannot lend everything to a closure: the next flow whose time has come, which
    /// has no timer then, or `None` when there is none before `now` or `budget`, which is counted down, is used up.
    pub fn expired(&mut self, now: u64, budget: &mut usize) -> Option<FlowId> {
        loop {
            while let Some(index) = self.first_due() {
                *budget = budget.checked_sub(1)?;
                let node = *self.nodes.get(index)?;
                self.unlink(index);
                if node.at <= self.current {
                    return Some(FlowId::from_parts(u32::try_from(index).ok()?, node.generation?));
                }
                let node_again = self.nodes.get_mut(index)?;
                node_again.generation = node.generation;
                self.link(index);
            }
            if self.current >= now {
                return None;
            }
            *budget = budget.checked_sub(1)?;
            self.step(now);
        }
    }

    /// Nothing up to `now` is left to look at.
    #[must_use]
    pub fn is_done(&self, now: u64) -> bool {
        self.current >= now && self.first_due().is_none()
    }

    fn first_due(&self) -> Option<usize> {
        let heads = self.heads.get(DUE..)?;
        let head = *heads.iter().find(|head| **head != NONE)?;
        if let Some(node) = self.nodes.get(head as usize) {
            prefetch::element(&self.nodes, node.next as usize);
        }
        Some(head as usize)
    }

    /// Goes on to the next tick with a slot to look at, but not past `now`.
    fn step(&mut self, now: u64) {
        if self.armed == 0 {
            self.current = now;
            return;
        }
        let turn_end = (self.current | (SLOTS as u64 - 1)) + 1;
        let next = match self.next_used(slot_of(self.current + 1, 0)) {
            _ if self.current + 1 == turn_end => turn_end,
            Some(slot) => (self.current & !(SLOTS as u64 - 1)) + slot as u64,
            None => turn_end,
        };
        if next > now {
            self.current = now;
            return;
        }
        self.current = next;
        for level in 0..LEVELS {
            self.make_due(level);
            // A level's slot is reached when all levels below have gone round.
            if slot_of(self.current, level) != 0 {
                break;
            }
        }
    }

    /// The first slot of level 0 that is not empty, from `from` on.
    fn next_used(&self, from: usize) -> Option<usize> {
        let words = self.used.first()?;
        let mut mask = u64::MAX << (from % 64);
        for (number, word) in words.iter().enumerate().skip(from / 64) {
            if word & mask != 0 {
                return Some(number * 64 + (word & mask).trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }

    /// Moves the whole list of a level's current slot to the level's due list, which is empty.
    fn make_due(&mut self, level: usize) {
        let slot = slot_of(self.current, level);
        let list = level * SLOTS + slot;
        let Some(head) = self.heads.get_mut(list).map(|head| core::mem::replace(head, NONE)) else { return };
        if let Some(word) = self.used.get_mut(level).and_then(|words| words.get_mut(slot / 64)) {
            *word &= !(1 << (slot % 64));
        }
        if let (Some(node), Some(due)) = (self.nodes.get_mut(head as usize), self.heads.get_mut(DUE + level)) {
            node.list = (DUE + level) as u32;
            *due = head;
        }
    }

    /// Puts a node that is in no list where its time says.
    fn link(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let at = node.at.max(self.current + 1);
        let delta = at - self.current;
        // Beyond the horizon: as far as possible, and then again.
        let at = if delta >> (BITS * LEVELS as u32) == 0 { at } else { self.current + u64::from(u32::MAX) };
        let level = (63 - (at - self.current).leading_zeros()) / BITS;
        let slot = slot_of(at, level as usize);
        let list = level as usize * SLOTS + slot;
        let Some(head) = self.heads.get_mut(list) else { return };
        self.armed += 1;
        let old = core::mem::replace(head, index as u32);
        node.prev = NONE;
        node.next = old;
        node.list = list as u32;
        if let Some(after) = self.nodes.get_mut(old as usize) {
            after.prev = index as u32;
        }
        if let Some(word) = self.used.get_mut(level as usize).and_then(|words| words.get_mut(slot / 64)) {
            *word |= 1 << (slot % 64);
        }
    }

    /// Takes a node out of its list.
    fn unlink(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let Node { next, prev, list, .. } = *node;
        node.generation = None;
        self.armed = self.armed.saturating_sub(1);
        if let Some(after) = self.nodes.get_mut(next as usize) {
            after.prev = prev;
            if prev == NONE {
                after.list = list;
            }
        }
        if let Some(before) = self.nodes.get_mut(prev as usize) {
            before.next = next;
            return;
        }
        if let Some(head) = self.heads.get_mut(list as usize) {
            *head = next;
        }
        if next == NONE {
            let (level, slot) = (list as usize / SLOTS, list as usize % SLOTS);
            if let Some(word) = self.used.get_mut(level).and_then(|words| words.get_mut(slot / 64)) {
                *word &= !(1 << (slot % 64));
            }
        }
    }
}

/// The slot of a level that a tick falls into.
const fn slot_of(tick: u64, level: usize) -> usize {
    (tick >> (BITS * level as u32)) as usize % SLOTS
}
