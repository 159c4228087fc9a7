//! The states of one shard: found, made, aged, counted.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::chores::Chores;
use super::{Shared, Sizes};
use crate::filter::{Bound, Timeout};
use crate::flow::frag::Ranges;
use crate::flow::index::{Claim, Index, Owner};
use crate::flow::sources::{Node, NodeId, Sources};
use crate::flow::state::{State, StateFlags, StateRef, StateTable, inside};
use crate::flow::table::{FlowId, FlowTable};
use crate::flow::wheel::Wheel;
use crate::flow::{FlowKey, Secret};

/// Nanoseconds of a tick, as a power of two: about a quarter of a second.
const TICK_SHIFT: u32 = 28;
/// Timers looked at in one burst.
const EXPIRE_BUDGET: usize = 64;
/// Buckets of sources looked at in one burst.
const SWEEP_BUDGET: usize = 2;
/// Indexes that a NIC may have come to have.
const INDEXES: usize = 8;

/// What the shards of a NIC know in common.
#[derive(Clone)]
pub struct Known {
    /// Whose a state is; `None` with one shard.
    pub index: Option<Arc<Index>>,
    /// Nodes of tracked sources.
    pub sources: Arc<Sources>,
    seed: u64,
}

impl Known {
    /// For `shards` shards with `states` states and `sources` nodes in all. `None` without memory. Allocates.
    #[must_use]
    pub fn new(shards: usize, states: usize, sources: usize, seed: u64) -> Option<Self> {
        let index = if shards > 1 { Some(Arc::new(Index::new(states, shards, seed.rotate_left(9))?)) } else { None };
        Some(Self { index, sources: Arc::new(Sources::new(sources, seed.rotate_left(17))?), seed })
    }

    /// One more index, for `states` states of `shards` shards. `None` without memory. Allocates.
    #[must_use]
    pub fn index(&self, states: usize, shards: usize) -> Option<Arc<Index>> {
        Index::new(states, shards, self.seed.rotate_left(9)).map(Arc::new)
    }

    /// Forgets nodes, also such as have states; how many. Control only.
    pub fn kill_sources(&self, bound: Option<&Bound>, which: impl Fn(&Node) -> bool) -> usize {
        self.sources.kill(which, |rule_id| node_ended(bound, rule_id))
    }
}

/// Ticks of a time.
#[must_use]
pub const fn ticks(now_ns: u64) -> u64 {
    now_ns >> TICK_SHIFT
}

/// The time at which a tick began, nanoseconds.
#[must_use]
pub const fn time_of(ticks: u64) -> u64 {
    ticks << TICK_SHIFT
}

pub(super) const fn ticks_of_seconds(seconds: u32) -> u64 {
    (seconds as u64).saturating_mul(1_000_000_000) >> TICK_SHIFT
}

/// See the module.
pub struct Tracker {
    /// The states.
    pub table: StateTable,
    pub(super) wheel: Wheel,
    /// Nodes of tracked sources, of all shards.
    pub sources: Arc<Sources>,
    /// Whose a key is, of all shards, the newest last; empty if there are no others.
    indexes: heapless::Vec<Arc<Index>, INDEXES>,
    /// What has passed of datagrams that are not joined.
    pub ranges: Ranges,
    /// What timestamps are shifted by (`reassemble tcp`), the same in all shards.
    pub(super) stamps: Secret,
    pub(super) shard: usize,
    pub(super) chores: Chores,
    pub(super) shared: Arc<Shared>,
    /// Ticks of the burst.
    pub now: u64,
    /// Of the ruleset that the burst is judged by.
    pub epoch: u64,
    /// States were made since somebody set this to false.
    pub has_made: bool,
}

/// The state with this key: the one that the wire shows, or the inner one.
#[inline]
pub(super) fn find_in(table: &StateTable, hash: u64, key: &FlowKey, inner: bool) -> Option<FlowId> {
    if inner { table.find_further(hash, key) } else { table.find(hash, key) }
}

/// A node of a rule is gone.
fn node_ended(bound: Option<&Bound>, rule_id: u32) {
    if let Some(bound) = bound
        && let Some(number) = bound.counters().number_of(rule_id)
        && let Some(life) = bound.counters().life(number)
    {
        life.remove_node();
    }
}

/// Why a state was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `set limit states`, or the memory behind it.
    Full,
    /// One of its keys is another state's.
    Taken,
}

impl Tracker {
    /// Shard number `shard`. `None` without memory.
    #[must_use]
    pub fn new(shard: usize, sizes: &Sizes, seed: u64, known: &Known, shared: Arc<Shared>) -> Option<Self> {
        let capacity = sizes.states;
        let mut tracker = Self {
            table: StateTable::with_parts(capacity, capacity, Secret::from_seed(seed))?,
            wheel: Wheel::new(capacity, 0)?,
            sources: known.sources.clone(),
            indexes: heapless::Vec::new(),
            ranges: Ranges::new(sizes.fragments, Secret::from_seed(seed.rotate_left(41)))?,
            stamps: Secret::from_seed(known.seed.rotate_left(25)),
            shard,
            chores: Chores::default(),
            shared,
            now: 0,
            epoch: 0,
            has_made: false,
        };
        if let Some(index) = &known.index {
            tracker.look_at(index.clone());
        }
        Some(tracker)
    }

    /// One more index counts from now on.
    pub fn look_at(&mut self, index: Arc<Index>) {
        index.look();
        // Control makes no more than there is room for.
        let _ = self.indexes.push(index);
    }

    /// There are other shards, which may have states.
    #[inline]
    pub fn has_others(&self) -> bool {
        !self.indexes.is_empty()
    }

    /// The other shard that has a state with this key. `wire` = the key is what the wire shows.
    #[must_use]
    pub fn elsewhere(&self, key: &FlowKey, wire: bool) -> Option<usize> {
        let owner = match self.owner(key) {
            Some(owner) if wire || !owner.one_side => owner,
            _ if wire => return None,
            _ => self.inner_owner(key)?,
        };
        (owner.shard != self.shard).then_some(owner.shard)
    }

    /// Who has a key.
    fn owner(&self, key: &FlowKey) -> Option<Owner> {
        self.indexes.iter().find_map(|index| index.owner(index.hash(key)))
    }

    /// Who has a translated state with this key on the stack's side.
    fn inner_owner(&self, key: &FlowKey) -> Option<Owner> {
        if self.indexes.first()?.has_translated() { self.owner(&inside(key)) } else { None }
    }

    /// Enters a key as this shard's.
    fn claim(&self, key: &FlowKey, one_side: bool) -> Result<(), Refused> {
        let Some(newest) = self.indexes.iter().rfind(|index| index.is_open()) else { return Ok(()) };
        let of_another = self.indexes.iter().filter(|index| !Arc::ptr_eq(index, newest));
        if of_another.into_iter().any(|index| index.owner(index.hash(key)).is_some()) {
            return Err(Refused::Taken);
        }
        match newest.claim(newest.hash(key), Owner { shard: self.shard, one_side }) {
            Claim::Made => Ok(()),
            Claim::Taken => Err(Refused::Taken),
            Claim::Full => Err(Refused::Full),
        }
    }

    /// Takes a key of this shard out.
    fn release(&self, key: &FlowKey, one_side: bool) {
        for index in &self.indexes {
            index.release(index.hash(key), Owner { shard: self.shard, one_side });
        }
    }

    /// Enters both keys of a state as this shard's. Each is entered before the other side is looked at, so that of two
    /// that would be alike from one side at least one is refused.
    fn claim_both(&self, wire: &FlowKey, stack: &FlowKey) -> Result<(), Refused> {
        if wire == stack {
            self.claim(wire, false)?;
            if self.inner_owner(stack).is_some() {
                self.release(wire, false);
                return Err(Refused::Taken);
            }
            return Ok(());
        }
        self.claim(wire, true)?;
        self.count_translated(true);
        let claimed = self.claim(&inside(stack), true);
        if claimed.is_ok() && self.owner(stack).is_none_or(|owner| owner.one_side) {
            return Ok(());
        }
        if claimed.is_ok() {
            self.release(&inside(stack), true);
        }
        self.count_translated(false);
        self.release(wire, true);
        claimed.and(Err(Refused::Taken))
    }

    /// Takes both keys of a state out.
    fn release_both(&self, wire: &FlowKey, stack: &FlowKey) {
        let translated = wire != stack;
        self.release(wire, translated);
        if translated {
            self.release(&inside(stack), true);
            self.count_translated(false);
        }
    }

    /// One more translated state, or one less: the first index, which has been there for all of them, counts.
    fn count_translated(&self, more: bool) {
        if let Some(index) = self.indexes.first() {
            if more { index.add_translated() } else { index.remove_translated() }
        }
    }

    /// The state that a packet with this key belongs to. `wire` = the key is what the wire shows.
    #[inline]
    pub fn find(&mut self, hash: u64, key: &FlowKey, wire: bool) -> Option<FlowId> {
        self.find_hashed(hash, None, key, wire)
    }

    /// [`Tracker::find`], where the hash of the key that a translated state would have may be known, too.
    #[inline]
    pub fn find_hashed(&mut self, hash: u64, inner: Option<u64>, key: &FlowKey, wire: bool) -> Option<FlowId> {
        let mut found = self.look(hash, key, false);
        if !wire && self.has_inner_keys() {
            let both = |id| self.table.get(id).is_some_and(|state| !state.flags.contains(StateFlags::TRANSLATED));
            if !found.is_some_and(both) {
                let key = inside(key);
                found = self.look(inner.unwrap_or_else(|| self.table.hash(&key)), &key, true);
            }
        }
        found
    }

    /// The state with this key: the one that the wire shows, or the inner one.
    #[inline]
    fn look(&mut self, hash: u64, key: &FlowKey, inner: bool) -> Option<FlowId> {
        match find_in(&self.table, hash, key, inner) {
            Some(id) => Some(id),
            None if self.chores.old().is_some() => self.fetch(hash, key, inner),
            None => None,
        }
    }

    /// There are translated states in this shard.
    #[inline(always)]
    pub fn has_inner_keys(&self) -> bool {
        self.table.further_len() != 0 || self.chores.old().is_some()
    }

    /// True if no state of any shard has this key on the wire.
    #[must_use]
    pub fn is_free(&self, key: &FlowKey) -> bool {
        self.has(key).is_none() && self.elsewhere(key, true).is_none()
    }

    /// A state of this shard has this key on the wire: whether it is a translated one.
    fn has(&self, key: &FlowKey) -> Option<bool> {
        let is_translated = |(table, id): (&StateTable, FlowId)| {
            table.get(id).is_some_and(|state| state.flags.contains(StateFlags::TRANSLATED))
        };
        self.anywhere(key, false).map(is_translated)
    }

    /// The table with the state that has this key, and the state.
    fn anywhere(&self, key: &FlowKey, inner: bool) -> Option<(&StateTable, FlowId)> {
        let hash = self.table.hash(key);
        let in_table = |table| Some((table, find_in(table, hash, key, inner)?));
        in_table(&self.table).or_else(|| self.chores.old().and_then(in_table))
    }

    /// From one side a state with these keys would look like one that this shard has.
    fn clashes(&self, wire: &FlowKey, stack: &FlowKey) -> bool {
        self.has(wire).is_some()
            || (self.has_inner_keys() && self.anywhere(&inside(stack), true).is_some())
            || (wire != stack && self.has(stack) == Some(false))
    }

    /// There is room for one more state.
    #[must_use]
    pub fn has_room(&self, bound: &Bound) -> bool {
        let limit = u64::from(bound.ruleset().options.limits.states);
        self.shared.states() < limit && self.has_memory()
    }

    /// There is memory for one more state, and for those that are still to move.
    fn has_memory(&self) -> bool {
        let moving = self.chores.old().map_or(0, FlowTable::len);
        self.table.len().saturating_add(moving) < self.table.capacity()
    }

    /// Adds a state; it expires if nothing follows.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn insert(&mut self, bound: &Bound, state: State) -> Result<FlowId, Refused> {
        let limit = u64::from(bound.ruleset().options.limits.states);
        let (wire, stack) = (state.more.wire, state.more.stack);
        if self.clashes(&wire, &stack) {
            return Err(Refused::Taken);
        }
        if !self.has_memory() || !self.shared.add_state(limit) {
            return Err(Refused::Full);
        }
        let entered = self.enter(state);
        let id = entered.inspect_err(|_| self.shared.remove_state())?;
        self.has_made = true;
        self.rearm(bound, id);
        Ok(id)
    }

    /// Puts a state where it is found, by all shards; or nowhere.
    fn enter(&mut self, state: State) -> Result<FlowId, Refused> {
        let (wire, stack) = (state.more.wire, state.more.stack);
        if self.has_others() {
            self.claim_both(&wire, &stack)?;
        }
        let id = self.place(state);
        if id.is_none() && self.has_others() {
            self.release_both(&wire, &stack);
        }
        id.ok_or(Refused::Full)
    }

    /// Puts a state into the table, under both keys.
    pub(super) fn place(&mut self, state: State) -> Option<FlowId> {
        let (wire, stack) = (state.more.wire, state.more.stack);
        let id = self.table.add(self.table.hash(&wire), state).ok()?;
        if wire != stack {
            let inner = inside(&stack);
            if self.table.add_key(id, self.table.hash(&inner), inner) != Ok(true) {
                let _ = self.table.take(id);
                return None;
            }
        }
        Some(id)
    }

    /// Sets the timer of a state by its lifetime.
    pub fn rearm(&mut self, bound: &Bound, id: FlowId) {
        if let Some(state) = self.table.state(id) {
            let at = self.expiry(bound, state);
            self.wheel.schedule(id, at);
        }
    }

    /// Takes a state out, with everything that counts it.
    pub fn remove(&mut self, bound: Option<&Bound>, id: FlowId) {
        self.wheel.cancel(id);
        let Some(state) = self.table.take(id) else { return };
        self.shared.remove_state();
        if let Some(bound) = bound
            && let Some(number) = bound.counters().number_of(state.more.rule_id)
            && let Some(life) = bound.counters().life(number)
        {
            life.remove_state();
        }
        if self.has_others() {
            self.release_both(&state.more.wire, &state.more.stack);
        }
        if let Some(node) = state.more.source {
            self.leave_source(bound, node, state.hot.flags.contains(StateFlags::CONNECTION));
        }
    }

    /// A state of a source is gone (`pf_remove_src_node`): the node stays for `src.track` after its last one.
    pub fn leave_source(&self, bound: Option<&Bound>, node: NodeId, was_connection: bool) {
        let track = bound.map_or(0, |bound| bound.ruleset().options.timeouts.get(Timeout::SrcTrack));
        let over = if track == 0 { 0 } else { self.now.saturating_add(ticks_of_seconds(track)) };
        self.sources.leave(node, was_connection, over, |rule_id| node_ended(bound, rule_id));
    }

    /// Moves time on and removes states whose time is up, a bounded number.
    pub fn expire(&mut self, now_ns: u64, bound: Option<&Bound>) {
        self.now = ticks(now_ns);
        let mut budget = EXPIRE_BUDGET;
        while let Some(id) = self.wheel.expired(self.now, &mut budget) {
            let Some(state) = self.table.state(id) else { continue };
            let at = bound.map_or(0, |bound| self.expiry(bound, state));
            if at > self.now {
                self.wheel.schedule(id, at);
            } else {
                self.remove(bound, id);
            }
        }
        self.sources.sweep(self.now, SWEEP_BUDGET, |rule_id| node_ended(bound, rule_id));
    }

    /// The tick at which a state is over if nothing follows: its rule's timeout or the ruleset's, shortened when there are
    /// many states (pf.conf(5), `adaptive.start`).
    #[must_use]
    pub fn expiry(&self, bound: &Bound, state: StateRef<'_>) -> u64 {
        let options = &bound.ruleset().options;
        let number = if state.hot.is_of_epoch(self.epoch) {
            Some(state.hot.rule)
        } else {
            bound.counters().number_of(state.more.rule_id)
        };
        let own = number.and_then(|number| bound.rule(number)).map(|rule| &rule.state.timeouts);
        let of = |timeout: usize| {
            let own = own.and_then(|own| own.0.get(timeout).copied()).unwrap_or(0);
            if own != 0 { own } else { options.timeouts.0.get(timeout).copied().unwrap_or(0) }
        };
        let seconds = of(state.hot.lifetime as usize);
        // A rule with a start of its own counts its own states.
        let own_start = own.map_or(0, |own| own.get(Timeout::AdaptiveStart));
        let states = if own_start != 0 {
            let life = number.and_then(|number| bound.counters().life(number));
            life.map_or(0, |life| u64::from(life.states()))
        } else {
            self.shared.states()
        };
        let start = u64::from(of(Timeout::AdaptiveStart as usize));
        let end = u64::from(of(Timeout::AdaptiveEnd as usize));
        let full = ticks_of_seconds(seconds);
        let life = if end != 0 && states > start && start < end {
            let left = end.saturating_sub(states);
            full.saturating_mul(left).checked_div(end.saturating_sub(start)).unwrap_or(0)
        } else {
            full
        };
        state.hot.seen(self.now).saturating_add(life).max(1)
    }
}
