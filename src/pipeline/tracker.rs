//! The states of one shard: found, made, aged, counted.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::Shared;
use crate::filter::{Bound, Timeout};
use crate::flow::state::{Lifetime, State, StateFlags};
use crate::flow::table::{FlowId, FlowTable};
use crate::flow::wheel::Wheel;
use crate::flow::{FlowKey, Secret};
use crate::wire::Family;

/// Nanoseconds of a tick, as a power of two: about a quarter of a second.
const TICK_SHIFT: u32 = 28;
/// Timers looked at in one burst.
const EXPIRE_BUDGET: usize = 64;

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

const fn ticks_of_seconds(seconds: u32) -> u64 {
    (seconds as u64).saturating_mul(1_000_000_000) >> TICK_SHIFT
}

/// A source that is tracked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source {
    /// States it has.
    pub states: u32,
    /// Of those, connections whose handshake is over.
    pub connections: u32,
    /// Connections in the current period, and when it began: pf's leaky threshold, in thousandths.
    pub rate: u32,
    /// Ticks of the last connection.
    pub last: u64,
    /// The rule whose node it is; 0 = global.
    pub rule_id: u32,
}

/// See the module.
pub struct Tracker {
    /// The states.
    pub table: FlowTable<State>,
    wheel: Wheel,
    /// Nodes of tracked sources.
    pub sources: FlowTable<Source>,
    pub(super) shared: Arc<Shared>,
    /// Ticks of the burst.
    pub now: u64,
    /// Of the ruleset that the burst is judged by.
    pub epoch: u64,
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
    /// For `capacity` states and `sources` nodes. `None` without memory.
    #[must_use]
    pub fn new(capacity: usize, sources: usize, seed: u64, shared: Arc<Shared>) -> Option<Self> {
        Some(Self {
            table: FlowTable::new(capacity, capacity, Secret::from_seed(seed))?,
            wheel: Wheel::new(capacity, 0)?,
            sources: FlowTable::new(sources, 0, Secret::from_seed(seed.rotate_left(17)))?,
            shared,
            now: 0,
            epoch: 0,
        })
    }

    /// The state that a packet with this key belongs to. `wire` = the key is what the wire shows.
    #[inline]
    pub fn find(&self, hash: u64, key: &FlowKey, wire: bool) -> Option<FlowId> {
        let hit = self.table.locate(hash, key)?;
        let state = self.table.get(hit.id)?;
        // A translated state has a key for each side, which must not be found from the other one.
        let fits = !state.flags.contains(StateFlags::TRANSLATED)
            || if wire { state.wire == *key } else { state.stack == *key };
        (fits && state.lifetime != Lifetime::Purge).then_some(hit.id)
    }

    /// True if no state has this key.
    #[must_use]
    pub fn is_free(&self, key: &FlowKey) -> bool {
        self.table.find(self.table.hash(key), key).is_none()
    }

    /// Adds a state; it expires if nothing follows.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn insert(&mut self, bound: &Bound, state: State) -> Result<FlowId, Refused> {
        let limit = u64::from(bound.ruleset().options.limits.states);
        let (wire, stack) = (state.wire, state.stack);
        let (wire_hash, stack_hash) = (self.table.hash(&wire), self.table.hash(&stack));
        if self.table.find(wire_hash, &wire).is_some() || self.table.find(stack_hash, &stack).is_some() {
            return Err(Refused::Taken);
        }
        if !self.shared.add_state(limit) {
            return Err(Refused::Full);
        }
        let translated = state.flags.contains(StateFlags::TRANSLATED);
        let Ok(id) = self.table.insert(wire_hash, wire, state) else {
            self.shared.remove_state();
            return Err(Refused::Full);
        };
        if translated && self.table.add_key(id, stack_hash, stack) != Ok(true) {
            self.table.remove(id);
            self.shared.remove_state();
            return Err(Refused::Full);
        }
        self.rearm(bound, id);
        Ok(id)
    }

    /// Sets the timer of a state by its lifetime.
    pub fn rearm(&mut self, bound: &Bound, id: FlowId) {
        if let Some(state) = self.table.get(id) {
            let at = self.expiry(bound, state);
            self.wheel.schedule(id, at);
        }
    }

    /// Takes a state out, with everything that counts it.
    pub fn remove(&mut self, bound: Option<&Bound>, id: FlowId) {
        self.wheel.cancel(id);
        let Some(state) = self.table.remove(id) else { return };
        self.shared.remove_state();
        if let Some(bound) = bound
            && let Some(number) = bound.counters().number_of(state.rule_id)
            && let Some(life) = bound.counters().life(number)
        {
            life.remove_state();
        }
        if let Some(node) = state.source
            && let Some(source) = self.sources.get_mut(node)
        {
            source.states = source.states.saturating_sub(1);
            if state.flags.contains(StateFlags::CONNECTION) {
                source.connections = source.connections.saturating_sub(1);
            }
            let keep = bound.is_some_and(|bound| bound.ruleset().options.timeouts.get(Timeout::SrcTrack) > 0);
            if source.states == 0 && (!keep || self.sources.len() == self.sources.capacity()) {
                self.sources.remove(node);
            }
        }
    }

    /// Moves time on and removes states whose time is up, a bounded number.
    pub fn expire(&mut self, now_ns: u64, bound: Option<&Bound>) {
        self.now = ticks(now_ns);
        let mut budget = EXPIRE_BUDGET;
        while let Some(id) = self.wheel.expired(self.now, &mut budget) {
            let Some(state) = self.table.get(id) else { continue };
            let at = bound.map_or(0, |bound| self.expiry(bound, state));
            if at > self.now {
                self.wheel.schedule(id, at);
            } else {
                self.remove(bound, id);
            }
        }
    }

    /// The node of a source, made if there is none. `None`: there is no room.
    pub fn source(&mut self, addr: &[u8; 16], family: Family, rule_id: u32) -> Option<FlowId> {
        let key = FlowKey::new((addr, rule_id as u16), (&[0; 16], (rule_id >> 16) as u16), 0, family, 0);
        let hash = self.sources.hash(&key);
        if let Some(id) = self.sources.find(hash, &key) {
            return Some(id);
        }
        self.sources.insert(hash, key, Source { rule_id, ..Source::default() }).ok()
    }

    /// The tick at which a state is over if nothing follows: its rule's timeout or the ruleset's, shortened when there are
    /// many states (pf.conf(5), `adaptive.start`).
    #[must_use]
    pub fn expiry(&self, bound: &Bound, state: &State) -> u64 {
        if state.lifetime == Lifetime::Purge {
            return 0;
        }
        let options = &bound.ruleset().options;
        let number =
            if state.epoch == self.epoch { Some(state.rule) } else { bound.counters().number_of(state.rule_id) };
        let own = number.and_then(|number| bound.rule(number)).map(|rule| &rule.state.timeouts);
        let of = |timeout: usize| {
            let own = own.and_then(|own| own.0.get(timeout).copied()).unwrap_or(0);
            if own != 0 { own } else { options.timeouts.0.get(timeout).copied().unwrap_or(0) }
        };
        let seconds = of(state.lifetime as usize);
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
        state.seen.saturating_add(life).max(1)
    }
}
