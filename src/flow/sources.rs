//! Sources that are tracked (pf.conf(5), `source-track`): one table for all shards, so that a source's limits hold for
//! all that it does, whichever queue pairs its flows come to.
//!
//! A node is a cache line of words; sixteen of them are a bucket. Finding or making a node, and forgetting it, claims the
//! bucket for a moment. Who finds it claimed tries again, a bounded number of times, and then does without: a new state
//! is refused, a node that is over is forgotten later. Numbers of a node that a state holds change without that, in one
//! step each, and only while the node is what it was: a word carries its generation.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{FlowKey, Secret};
use crate::mem::words::{self, Line};
use crate::wire::Family;

/// Nodes of a bucket.
const WAYS: usize = 16;
/// Nodes that there are places for, for each that may be used: a full bucket is refused for its sake alone.
const ROOM: usize = 4;
/// Attempts to claim a bucket.
const TRIES: usize = 1000;
/// A connection's weight in a node's rate (pf.c, PF_THRESHOLD_MULT).
const WEIGHT: u64 = 1000;

// Words of a node.
const ADDR_HIGH: usize = 0;
const ADDR_LOW: usize = 1;
/// The rule in the lower half, the family, and [`LIVE`].
const WHO: usize = 2;
/// Generation, connections, states: 16, 24 and 24 bits.
const COUNTS: usize = 3;
/// Thousandths of a connection within the period, and when that was, in ticks.
const RATE: usize = 4;
/// When it was made, ticks.
const MADE: usize = 5;
/// When it is over, ticks; counts without states only.
const OVER: usize = 6;

const LIVE: u64 = 1 << 63;
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const GENERATION_SHIFT: u32 = 2 * COUNT_BITS;

/// A node that a state counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId {
    index: u32,
    generation: u16,
}

/// A node as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The source; IPv4 in the first four bytes.
    pub addr: [u8; 16],
    /// IPv4 or IPv6.
    pub family: Family,
    /// The rule whose node it is; 0 = of all rules.
    pub rule_id: u32,
    /// States it has.
    pub states: u32,
    /// Of those, connections whose handshake is over.
    pub connections: u32,
    /// Thousandths of connections that count for the rate, at [`Node::last`].
    pub rate: u32,
    /// When a connection was counted last, ticks.
    pub last: u32,
    /// When it was made, ticks.
    pub made: u64,
    /// When it is over, ticks, if it has no states.
    pub over: u64,
}

/// What is asked of a source before it gets one more state.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The source.
    pub addr: &'a [u8; 16],
    /// IPv4 or IPv6.
    pub family: Family,
    /// The rule whose node it is to be; 0 = of all rules.
    pub rule_id: u32,
    /// `max-src-states`; 0 = any number.
    pub max_states: u32,
    /// `set limit src-nodes`.
    pub limit: usize,
    /// Now, ticks.
    pub now: u64,
}

/// See the module.
pub struct Sources {
    secret: Secret,
    nodes: Box<[Line]>,
    /// A word for each bucket; not zero: claimed.
    claims: Box<[Line]>,
    buckets: usize,
    capacity: usize,
    used: AtomicUsize,
    /// Where [`Sources::sweep`] goes on.
    hand: AtomicUsize,
}

/// A bucket while it is claimed.
struct Claimed<'a> {
    word: &'a AtomicU64,
    nodes: &'a [Line],
    first: usize,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        // Release: the next to claim it sees what was done.
        self.word.store(0, Ordering::Release);
    }
}

fn get(node: &Line, word: usize) -> u64 {
    node.0.get(word).map_or(0, |word| word.load(Ordering::Relaxed))
}

fn set(node: &Line, word: usize, value: u64) {
    if let Some(word) = node.0.get(word) {
        word.store(value, Ordering::Relaxed);
    }
}

fn states_of(counts: u64) -> u64 {
    counts & COUNT_MASK
}

fn connections_of(counts: u64) -> u64 {
    counts >> COUNT_BITS & COUNT_MASK
}

fn generation_of(counts: u64) -> u16 {
    (counts >> GENERATION_SHIFT) as u16
}

/// One word from another, unless `next` says no.
fn change(node: &Line, word: usize, next: impl FnMut(u64) -> Option<u64>) -> Result<u64, u64> {
    let Some(word) = node.0.get(word) else { return Err(0) };
    // Relaxed: the numbers guard no other memory.
    word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
}

fn read(node: &Line) -> Option<Node> {
    let (who, counts, rate) = (get(node, WHO), get(node, COUNTS), get(node, RATE));
    if who & LIVE == 0 {
        return None;
    }
    let mut addr = [0; 16];
    for (to, from) in
        addr.iter_mut().zip(get(node, ADDR_HIGH).to_be_bytes().into_iter().chain(get(node, ADDR_LOW).to_be_bytes()))
    {
        *to = from;
    }
    Some(Node {
        addr,
        family: if (who >> 32) as u8 == 4 { Family::V4 } else { Family::V6 },
        rule_id: who as u32,
        states: states_of(counts) as u32,
        connections: connections_of(counts) as u32,
        rate: (rate >> 32) as u32,
        last: rate as u32,
        made: get(node, MADE),
        over: get(node, OVER),
    })
}

/// Forgets a node without states; false, and nothing changes, if it has some.
fn end(node: &Line, force: bool) -> bool {
    let next = |counts: u64| {
        let generation = u64::from(generation_of(counts).wrapping_add(1));
        (force || states_of(counts) == 0).then_some(generation << GENERATION_SHIFT)
    };
    let ended = change(node, COUNTS, next).is_ok();
    if ended {
        set(node, WHO, 0);
    }
    ended
}

impl Sources {
    /// For `capacity` nodes. `None` without memory. Allocates.
    #[must_use]
    pub fn new(capacity: usize, seed: u64) -> Option<Self> {
        let buckets = capacity.checked_mul(ROOM)?.div_ceil(WAYS).max(1);
        Some(Self {
            secret: Secret::from_seed(seed),
            nodes: words::lines(buckets.checked_mul(WAYS)?)?,
            claims: words::lines(buckets.div_ceil(words::WORDS))?,
            buckets,
            capacity,
            used: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
        })
    }

    /// Nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// No node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn claim(&self, bucket: usize) -> Option<Claimed<'_>> {
        let word = self.claims.get(bucket / words::WORDS)?.0.get(bucket % words::WORDS)?;
        let first = bucket.checked_mul(WAYS)?;
        let nodes = self.nodes.get(first..first.checked_add(WAYS)?)?;
        for _ in 0..TRIES {
            // Acquire: pairs with the release of who had it.
            if word.load(Ordering::Relaxed) == 0
                && word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Some(Claimed { word, nodes, first });
            }
            core::hint::spin_loop();
        }
        None
    }

    /// Counts a new state of a source. `reserve` is asked before a node is made, and may refuse it (`max-src-nodes`).
    /// `None`: it has too many, or there is no room.
    pub fn count(&self, wanted: &Wanted<'_>, reserve: impl FnOnce() -> bool) -> Option<NodeId> {
        let Wanted { addr, family, rule_id, .. } = *wanted;
        let who = LIVE | (family as u64) << 32 | u64::from(rule_id);
        let number = u128::from_be_bytes(*addr);
        let (high, low) = ((number >> 64) as u64, number as u64);
        let key = FlowKey::new((addr, rule_id as u16), (&[0; 16], (rule_id >> 16) as u16), 0, family, 0);
        let bucket = (((self.secret.hash(&key) >> 32) * self.buckets as u64) >> 32) as usize;
        let claimed = self.claim(bucket)?;
        let is_it = |node: &Line| get(node, WHO) == who && get(node, ADDR_HIGH) == high && get(node, ADDR_LOW) == low;
        let position = match claimed.nodes.iter().position(is_it) {
            Some(position) => position,
            None => {
                let free = claimed.nodes.iter().position(|node| get(node, WHO) == 0)?;
                let limit = wanted.limit.min(self.capacity);
                let more = |used: usize| (used < limit).then_some(used.wrapping_add(1));
                self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
                if !reserve() {
                    self.used.fetch_sub(1, Ordering::Relaxed);
                    return None;
                }
                let node = claimed.nodes.get(free)?;
                for (word, value) in [(ADDR_HIGH, high), (ADDR_LOW, low), (RATE, 0), (MADE, wanted.now), (OVER, 0)] {
                    set(node, word, value);
                }
                set(node, WHO, who);
                free
            }
        };
        let node = claimed.nodes.get(position)?;
        let max = if wanted.max_states == 0 { COUNT_MASK } else { u64::from(wanted.max_states).min(COUNT_MASK) };
        let counts = change(node, COUNTS, |counts| (states_of(counts) < max).then(|| counts.wrapping_add(1))).ok()?;
        let index = u32::try_from(claimed.first.checked_add(position)?).ok()?;
        Some(NodeId { index, generation: generation_of(counts) })
    }

    /// The node, while it is what it was.
    fn node(&self, id: NodeId) -> Option<&Line> {
        self.nodes.get(id.index as usize)
    }

    /// What is known of a node.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<Node> {
        let node = self.node(id)?;
        read(node).filter(|_| generation_of(get(node, COUNTS)) == id.generation)
    }

    /// Counts a handshake that is over; `is_new` = it was not counted before. Says how many connections the source has,
    /// and whether there were more than `limit` in `period` ticks (pf.c, `pf_check_threshold`).
    pub fn connected(&self, id: NodeId, is_new: bool, rate: Option<(u32, u64)>, now: u64) -> Option<(u32, bool)> {
        let node = self.node(id)?;
        let add = if is_new { 1 << COUNT_BITS } else { 0 };
        let more = |counts: u64| (generation_of(counts) == id.generation).then(|| counts.wrapping_add(add));
        let before = change(node, COUNTS, more).ok()?;
        let connections = connections_of(before.wrapping_add(add)) as u32;
        let Some((limit, period)) = rate else { return Some((connections, false)) };
        let period = period.max(1);
        let mut next = 0;
        let count = |old: u64| {
            let (rate, last) = (old >> 32, old as u32);
            let passed = u64::from((now as u32).wrapping_sub(last));
            let gone =
                if passed >= period { rate } else { rate.saturating_mul(passed).checked_div(period).unwrap_or(0) };
            next = rate.saturating_sub(gone).saturating_add(WEIGHT).min(u64::from(u32::MAX));
            Some(next << 32 | u64::from(now as u32))
        };
        let _ = change(node, RATE, count);
        Some((connections, next > u64::from(limit).saturating_mul(WEIGHT)))
    }

    /// A state of a source is gone. A node without states is over at the tick `over`, and at once if that is 0; `ended`
    /// is told the rule of one that is.
    pub fn leave(&self, id: NodeId, was_connection: bool, over: u64, ended: impl FnMut(u32)) {
        let Some(node) = self.node(id) else { return };
        let gone = 1 | if was_connection { 1 << COUNT_BITS } else { 0 };
        // Written before the last state goes, so that nobody finds an old time.
        if states_of(get(node, COUNTS)) == 1 {
            set(node, OVER, over);
        }
        let less = |counts: u64| {
            let is_same = generation_of(counts) == id.generation && states_of(counts) > 0;
            is_same.then(|| counts.wrapping_sub(gone))
        };
        let Ok(before) = change(node, COUNTS, less) else { return };
        if states_of(before) == 1 && over == 0 {
            self.forget(id.index as usize / WAYS, 0, |_| true, ended);
        }
    }

    /// Ends nodes of a bucket without states that are over, or for which `also` holds.
    fn forget(&self, bucket: usize, now: u64, also: impl Fn(&Node) -> bool, mut ended: impl FnMut(u32)) {
        let Some(claimed) = self.claim(bucket) else { return };
        for line in claimed.nodes {
            let Some(node) = read(line) else { continue };
            if node.states == 0 && (node.over <= now || also(&node)) && end(line, false) {
                self.used.fetch_sub(1, Ordering::Relaxed);
                ended(node.rule_id);
            }
        }
    }

    /// Looks for nodes that are over, in the next `buckets` buckets; `ended` is told the rule of each.
    pub fn sweep(&self, now: u64, buckets: usize, mut ended: impl FnMut(u32)) {
        if self.is_empty() {
            return;
        }
        for _ in 0..buckets {
            let turn = self.hand.fetch_add(1, Ordering::Relaxed);
            self.forget(turn.checked_rem(self.buckets).unwrap_or(0), now, |_| false, &mut ended);
        }
    }

    /// All nodes, from the place `first` on, each with the place behind it. Control only.
    pub fn list(&self, first: usize) -> impl Iterator<Item = (usize, Node)> {
        let places = self.nodes.iter().enumerate().skip(first);
        places.filter_map(|(place, line)| Some((place.wrapping_add(1), read(line)?)))
    }

    /// Forgets nodes, also such as have states, which then count in none; `ended` is told the rule of each. How many.
    /// Control only: it may wait for a shard.
    pub fn kill(&self, which: impl Fn(&Node) -> bool, mut ended: impl FnMut(u32)) -> usize {
        let mut count = 0usize;
        for bucket in 0..self.buckets {
            let claimed = loop {
                if let Some(claimed) = self.claim(bucket) {
                    break claimed;
                }
            };
            for line in claimed.nodes {
                let Some(node) = read(line) else { continue };
                if which(&node) && end(line, true) {
                    self.used.fetch_sub(1, Ordering::Relaxed);
                    count = count.saturating_add(1);
                    ended(node.rule_id);
                }
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    fn wanted(addr: &[u8; 16], max_states: u32) -> Wanted<'_> {
        Wanted { addr, family: Family::V4, rule_id: 3, max_states, limit: 100, now: 7 }
    }

    fn addr(n: u8) -> [u8; 16] {
        let mut addr = [0; 16];
        addr[..4].copy_from_slice(&[10, 0, 0, n]);
        addr
    }

    #[test]
    fn a_source_has_as_many_states_as_it_may() {
        let sources = Sources::new(100, 1).unwrap();
        let ids: Vec<_> = (0..3).map(|_| sources.count(&wanted(&addr(1), 3), || true).unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_eq!(sources.count(&wanted(&addr(1), 3), || true), None);
        assert!(sources.count(&wanted(&addr(2), 3), || false).is_none(), "no more nodes");
        assert_eq!(sources.len(), 1);
        assert_eq!(sources.connected(ids[0], true, None, 0), Some((1, false)));
        let node = sources.get(ids[0]).unwrap();
        assert_eq!((node.addr, node.rule_id, node.states, node.connections, node.made), (addr(1), 3, 3, 1, 7));
        sources.leave(ids[0], true, 0, |_| panic!("it has states"));
        sources.leave(ids[0], false, 0, |_| panic!("it has states"));
        let mut ended = Vec::new();
        sources.leave(ids[0], false, 0, |rule| ended.push(rule));
        assert_eq!((ended.as_slice(), sources.len()), (&[3][..], 0));
        sources.leave(ids[0], false, 0, |_| panic!("it is gone"));
    }

    #[test]
    fn a_node_stays_for_a_while_and_may_be_killed() {
        let sources = Sources::new(100, 1).unwrap();
        let id = sources.count(&wanted(&addr(1), 0), || true).unwrap();
        sources.leave(id, false, 50, |_| panic!("too early"));
        sources.sweep(49, 1000, |_| panic!("too early"));
        assert_eq!(sources.len(), 1);
        let mut ended = 0;
        sources.sweep(50, 1000, |_| ended += 1);
        assert_eq!((ended, sources.len()), (1, 0));
        let old = sources.count(&wanted(&addr(1), 0), || true).unwrap();
        assert_eq!(sources.kill(|node| node.addr == addr(1), |_| ()), 1);
        let new = sources.count(&wanted(&addr(1), 0), || true).unwrap();
        assert_ne!(old, new);
        sources.leave(old, false, 0, |_| panic!("it counts in none"));
        assert_eq!(sources.get(new).map(|node| node.states), Some(1));
        assert_eq!(sources.get(old), None);
    }

    #[test]
    fn connections_leak_away() {
        let sources = Sources::new(10, 1).unwrap();
        let id = sources.count(&wanted(&addr(1), 0), || true).unwrap();
        let over = |now| sources.connected(id, false, Some((3, 40)), now).unwrap().1;
        assert_eq!([over(0), over(0), over(0), over(0)], [false, false, false, true]);
        assert_eq!([over(20), over(30), over(100)], [false, true, false]);
    }

    #[test]
    fn there_are_as_many_nodes_as_may_be() {
        let sources = Sources::new(1000, 9).unwrap();
        let made = (0..2000u32).filter(|n| {
            let mut addr = [0; 16];
            addr[..4].copy_from_slice(&n.to_be_bytes());
            sources.count(&Wanted { limit: 900, ..wanted(&addr, 0) }, || true).is_some()
        });
        assert_eq!(made.count(), 900);
        assert_eq!(sources.list(0).count(), 900);
        let half: Vec<_> = sources.list(0).take(450).collect();
        assert_eq!(sources.list(half.last().unwrap().0).count(), 450);
    }

    #[test]
    fn threads_count_to_the_limit_and_back() {
        let sources = Arc::new(Sources::new(64, 9).unwrap());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let sources = sources.clone();
                std::thread::spawn(move || {
                    for round in 0..5000u32 {
                        let addr = addr((round % 5) as u8);
                        if let Some(id) = sources.count(&wanted(&addr, 2), || true) {
                            assert!(sources.get(id).unwrap().states <= 2);
                            sources.leave(id, false, 0, |_| ());
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        sources.sweep(1, 1000, |_| ());
        assert_eq!(sources.len(), 0);
    }
}
