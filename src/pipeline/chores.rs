//! What takes longer than a burst may: walks over all states, a few of them with each burst; and a table that grows.
#![forbid(unsafe_code)]

use alloc::boxed::Box;

use super::note::{Listed, StateFilter, number_of};
use super::tracker::{Tracker, find_in, ticks_of_seconds};
use crate::filter::{Bound, Timeout};
use crate::flow::FlowKey;
use crate::flow::Secret;
use crate::flow::state::{Phase, StateRef, StateTable};
use crate::flow::table::FlowId;
use crate::flow::wheel::Wheel;
use crate::wire::Family;

/// Places of the table that are looked at with one burst.
const STEPS: usize = 256;
/// Walks that wait.
const CHORES: usize = 16;
/// Of those, places for what the shard itself begins: timers after a reload, `flush`.
const OWN: usize = 4;

/// A walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// States go.
    Kill(StateFilter),
    /// States of a source go: those of one rule, or all (`overload ... flush`).
    Flush(Flush),
    /// States are put on control's list.
    List,
    /// Timers are set anew: the timeouts are others.
    Rearm,
}

/// Whose states go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush {
    /// The source; IPv4 in the first four bytes.
    pub addr: [u8; 16],
    /// IPv4 or IPv6.
    pub family: Family,
    /// [`crate::filter::RuleLife::id`] of the rule; `None` = all.
    pub rule_id: Option<u32>,
}

/// A larger table in the place of a shard's, made by control; and the smaller one, to be freed by control.
pub struct Memory {
    table: StateTable,
    wheel: Wheel,
}

impl Memory {
    /// For `capacity` states of a shard with this seed. `None` without memory. Allocates.
    #[must_use]
    pub fn new(capacity: usize, seed: u64) -> Option<Self> {
        let table = StateTable::with_parts(capacity, capacity, Secret::from_seed(seed))?;
        Some(Self { table, wheel: Wheel::new(capacity, 0)? })
    }

    /// What a tracker works with.
    pub fn into_parts(self) -> (StateTable, Wheel) {
        (self.table, self.wheel)
    }

    /// States that it has room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.table.capacity()
    }
}

/// Walks that are under way.
#[derive(Default)]
pub struct Chores {
    queue: heapless::Deque<Chore, CHORES>,
    /// Where the first one goes on.
    at: usize,
    /// Where the list of states goes on.
    list_at: Option<usize>,
    /// The list waits for control to take what was listed.
    waits: bool,
    /// The table before, while its states move into the new one.
    old: Option<Box<Memory>>,
    /// Where that goes on.
    old_at: usize,
    /// When timers were last set anew because of the number of states.
    scaled: u64,
}

impl Chores {
    /// There is room for one more that somebody else asks for.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.queue.len() < CHORES - OWN
    }

    /// Something can be done at once.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.old.is_some() || !self.queue.is_empty() || (self.list_at.is_some() && !self.waits)
    }

    /// The table before, with states that have not moved yet.
    #[inline]
    pub fn old(&self) -> Option<&StateTable> {
        self.old.as_ref().map(|old| &old.table)
    }
}

impl Tracker {
    /// One more walk; false if too many wait. Of two alike that have not begun, one is enough.
    pub fn add_chore(&mut self, chore: Chore) -> bool {
        if chore == Chore::List {
            // A list that is asked for again begins anew.
            (self.chores.list_at, self.chores.waits) = (Some(0), false);
            return true;
        }
        let mut waiting = self.chores.queue.iter().skip(usize::from(self.chores.at > 0));
        waiting.any(|other| *other == chore) || self.chores.queue.push_back(chore).is_ok()
    }

    /// Goes on with what takes longer, a bounded number of steps.
    pub fn work(&mut self, bound: Option<&Bound>) {
        self.scale(bound);
        if self.chores.old.is_some() {
            return self.move_some();
        }
        let mut left = STEPS;
        while left > 0
            && let Some(chore) = self.chores.queue.front().copied()
        {
            if self.chores.at >= self.table.reach() {
                self.chores.queue.pop_front();
                self.chores.at = 0;
                continue;
            }
            if let Some(id) = self.table.id_at(self.chores.at) {
                self.step(chore, id, bound);
            }
            self.chores.at = self.chores.at.saturating_add(1);
            left = left.saturating_sub(1);
        }
        self.list_some(left, bound);
    }

    fn list_some(&mut self, steps: usize, bound: Option<&Bound>) {
        let Some(first) = self.chores.list_at else { return };
        let reach = self.table.reach();
        let end = first.saturating_add(steps).min(reach);
        self.chores.waits = false;
        for at in first..end {
            let Some(id) = self.table.id_at(at) else { continue };
            if self.table.state(id).is_some_and(|state| !self.list(number_of(self.shard, id), state, bound)) {
                (self.chores.list_at, self.chores.waits) = (Some(at), true);
                return;
            }
        }
        self.chores.list_at = (end < reach).then_some(end);
    }

    /// Does everything that waits.
    pub fn work_off(&mut self, bound: Option<&Bound>) {
        loop {
            self.work(bound);
            if !self.chores.is_busy() {
                return;
            }
        }
    }

    /// One state of a walk.
    fn step(&mut self, chore: Chore, id: FlowId, bound: Option<&Bound>) {
        let Some(state) = self.table.state(id) else { return };
        let goes = match chore {
            Chore::Kill(filter) => filter.matches(number_of(self.shard, id), state),
            Chore::Flush(flush) => {
                let ends = [state.more.wire.src(), state.more.stack.dst()];
                let is_his = state.more.wire.family() == flush.family && ends.contains(&flush.addr);
                is_his && flush.rule_id.is_none_or(|rule| rule == state.more.rule_id)
            }
            Chore::Rearm => {
                if let Some(bound) = bound {
                    self.rearm(bound, id);
                }
                return;
            }
            // Has a place of its own.
            Chore::List => return,
        };
        if goes {
            self.remove(bound, id);
        }
    }

    /// While there are so many states that timeouts shrink, timers are set anew now and then (pf's `interval`): idle states
    /// make room for new ones.
    fn scale(&mut self, bound: Option<&Bound>) {
        let Some(bound) = bound else { return };
        let timeouts = &bound.ruleset().options.timeouts;
        let start = u64::from(timeouts.get(Timeout::AdaptiveStart));
        if timeouts.get(Timeout::AdaptiveEnd) == 0 || self.shared.states() <= start {
            return;
        }
        let interval = ticks_of_seconds(timeouts.get(Timeout::Interval)).max(1);
        if self.now >= self.chores.scaled.saturating_add(interval) {
            self.chores.scaled = self.now;
            self.add_chore(Chore::Rearm);
        }
    }

    /// Puts one state on control's list; false if there is no room.
    fn list(&self, id: u64, state: StateRef<'_>, bound: Option<&Bound>) -> bool {
        let expires = bound.map_or(0, |bound| self.expiry(bound, state));
        let number = bound.and_then(|bound| bound.counters().number_of(state.more.rule_id));
        let listed = Listed {
            id,
            rule: number.unwrap_or(u32::MAX),
            epoch: self.epoch,
            way: state.hot.way as u8,
            protocol: state.more.protocol,
            phases: state.more.phases.map(Phase::number),
            wire: state.more.wire,
            stack: state.more.stack,
            age: self.now.saturating_sub(state.more.made),
            expires: expires.saturating_sub(self.now),
            packets: state.packets(),
            bytes: state.hot.bytes(),
        };
        self.shared.listed.push(listed).is_ok()
    }

    // ---- growing ----

    /// Goes over to a larger table, whose seed is the old one's. The states follow, some with each burst, and each at once
    /// when a packet asks for it. An error: not before the last change is done.
    pub fn grow(&mut self, memory: Box<Memory>) -> Result<(), Box<Memory>> {
        if self.chores.old.is_some() {
            return Err(memory);
        }
        let mut memory = memory;
        core::mem::swap(&mut self.table, &mut memory.table);
        core::mem::swap(&mut self.wheel, &mut memory.wheel);
        (self.chores.old, self.chores.old_at) = (Some(memory), 0);
        // A walk that is under way would miss what moves.
        self.chores.at = 0;
        self.chores.list_at = self.chores.list_at.map(|_| 0);
        Ok(())
    }

    /// Moves the state with this key, if it is still in the table before.
    #[cold]
    pub fn fetch(&mut self, hash: u64, key: &FlowKey, inner: bool) -> Option<FlowId> {
        let id = find_in(self.chores.old()?, hash, key, inner)?;
        self.move_one(id)
    }

    fn move_one(&mut self, old_id: FlowId) -> Option<FlowId> {
        let old = self.chores.old.as_mut()?;
        old.wheel.cancel(old_id);
        let state = old.table.take(old_id)?;
        // The new table has room for more than the old one had.
        let id = self.place(state)?;
        self.has_made = true;
        // Its time is worked out when this one comes, at once.
        self.wheel.schedule(id, self.now);
        Some(id)
    }

    fn move_some(&mut self) {
        for _ in 0..STEPS {
            let Some(old) = &self.chores.old else { return };
            if self.chores.old_at >= old.table.reach() {
                if let Some(old) = self.chores.old.take()
                    && let Err(old) = self.shared.retire(old)
                {
                    // Control has not fetched the last ones yet.
                    self.chores.old = Some(old);
                }
                return;
            }
            let id = old.table.id_at(self.chores.old_at);
            self.chores.old_at = self.chores.old_at.saturating_add(1);
            if let Some(id) = id {
                self.move_one(id);
            }
        }
    }
}
