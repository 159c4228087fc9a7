//! Leaves of one or two rules, and what comes behind.

use alloc::vec::Vec;

use super::pair::{LANES, Pair};
use super::{Key, NONE, Refused, Rule};
use crate::mem::prefetch::{self, Level};
use crate::mem::simd::Vector;

/// All such leaves of a classifier, by the number of the best rule's lane. Each lane that no leaf's second rule has is one of
/// its own.
#[derive(Clone, Debug)]
pub(super) struct Pairs<const W: usize> {
    pairs: Vec<Pair<W>>,
    /// The chain behind each lane's leaf, if it goes on; for free lanes, the next free one.
    next: Vec<u32>,
    free: u32,
}

impl<const W: usize> Pairs<W> {
    /// Room for so many rules. Allocates.
    pub(super) fn new(rules: usize) -> Result<Self, Refused> {
        let mut pairs = Self { pairs: Vec::new(), next: Vec::new(), free: NONE };
        pairs.pairs.try_reserve_exact(rules.div_ceil(LANES)).map_err(|_| Refused::Full)?;
        pairs.next.try_reserve_exact(rules).map_err(|_| Refused::Full)?;
        Ok(pairs)
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.pairs.capacity() * size_of::<Pair<W>>() + self.next.capacity() * size_of::<u32>()
    }

    /// Where the rules of a leaf are.
    #[inline(always)]
    pub(super) fn pair(&self, leaf: u32) -> Option<&Pair<W>> {
        self.pairs.get(leaf as usize / LANES)
    }

    /// Fetches it.
    #[inline(always)]
    pub(super) fn prefetch(&self, leaf: u32) {
        if W == 1 {
            prefetch::place(&self.pairs, leaf as usize / LANES, Level::First);
        } else if let Some(pair) = self.pair(leaf) {
            prefetch::all(pair);
        }
    }

    /// The best priority of the rules that match, which may be another leaf's, and whether the leaf goes on with a chain.
    #[inline(always)]
    pub(super) fn find(&self, vector: Vector, leaf: u32, key: &Key<W>) -> (u32, bool) {
        // No closure: what is in one is not inlined for sure.
        if let Some(pair) = self.pair(leaf) {
            (pair.best(vector, key), pair.goes_on(leaf as usize % LANES))
        } else {
            (NONE, false)
        }
    }

    /// The chain behind, [`NONE`] if there is none or nothing in it can be better than what was found.
    #[inline(always)]
    pub(super) fn behind_if_better(&self, leaf: u32, found: u32) -> u32 {
        let can_be = self.pair(leaf).is_some_and(|pair| pair.can_be_behind(leaf as usize % LANES, found));
        if can_be { self.behind(leaf) } else { NONE }
    }

    /// The chain behind, [`NONE`] if there is none.
    #[inline(always)]
    pub(super) fn behind(&self, leaf: u32) -> u32 {
        let goes_on = self.pair(leaf).is_some_and(|pair| pair.goes_on(leaf as usize % LANES));
        if goes_on { self.next.get(leaf as usize).copied().unwrap_or(NONE) } else { NONE }
    }

    fn pair_mut(&mut self, leaf: u32) -> Option<&mut Pair<W>> {
        self.pairs.get_mut(leaf as usize / LANES)
    }

    /// Lets a leaf go on with a chain, or with none.
    pub(super) fn set_behind(&mut self, leaf: u32, chain: u32) {
        if let Some(next) = self.next.get_mut(leaf as usize) {
            *next = chain;
        }
        if let Some(pair) = self.pair_mut(leaf) {
            pair.set_goes_on(leaf as usize % LANES, chain != NONE);
        }
    }

    fn take_lane(&mut self) -> Option<u32> {
        if let Some(next) = self.next.get(self.free as usize) {
            let lane = self.free;
            self.free = *next;
            return Some(lane);
        }
        // What was reserved at first is all there is: growing would copy everything in one go.
        if self.next.len() == self.next.capacity() {
            return None;
        }
        let lane = u32::try_from(self.next.len()).ok()?;
        if self.pair(lane).is_none() {
            if self.pairs.len() == self.pairs.capacity() {
                return None;
            }
            self.pairs.push(Pair::EMPTY);
        }
        self.next.push(NONE);
        Some(lane)
    }

    fn give_back(&mut self, lane: u32) {
        if let Some(next) = self.next.get_mut(lane as usize) {
            *next = self.free;
            self.free = lane;
        }
    }

    /// The lane of a leaf's second rule, if it has one.
    fn second(&self, leaf: u32) -> Option<u32> {
        self.pair(leaf)?.has_both(leaf as usize % LANES).then_some(leaf ^ 1)
    }

    fn get(&self, lane: u32) -> Option<Rule<W>> {
        self.pair(lane)?.get(lane as usize % LANES)
    }

    fn set(&mut self, lane: u32, rule: Option<&Rule<W>>) {
        if let Some(pair) = self.pair_mut(lane) {
            pair.set(lane as usize % LANES, rule);
        }
    }

    /// The rules of a leaf, without those in the chain behind.
    pub(super) fn rules(&self, leaf: u32) -> impl Iterator<Item = Rule<W>> + '_ {
        [Some(leaf), self.second(leaf)].into_iter().flatten().map_while(|lane| self.get(lane))
    }

    /// A new leaf.
    pub(super) fn create(&mut self, rule: &Rule<W>) -> Option<u32> {
        let lane = self.take_lane()?;
        self.set(lane, Some(rule));
        Some(lane)
    }

    /// Gives a leaf that is the last one so far a lane for a second rule, if there is one beside it.
    pub(super) fn widen(&mut self, leaf: u32) {
        let beside = (leaf as usize).is_multiple_of(LANES) && self.next.len() == leaf as usize + 1;
        if beside && self.next.len() < self.next.capacity() {
            self.next.push(NONE);
            if let Some(pair) = self.pair_mut(leaf) {
                pair.set_both(0, true);
            }
        }
    }

    /// Puts a rule into its place among the rules of a leaf. The worst if there is no room for it.
    pub(super) fn insert(&mut self, leaf: u32, rule: &Rule<W>) -> Option<Rule<W>> {
        let mut moving = Some(*rule);
        for lane in [Some(leaf), self.second(leaf)].into_iter().flatten() {
            let here = self.get(lane);
            if here.is_none_or(|here| moving.is_some_and(|moving| moving.priority < here.priority)) {
                self.set(lane, moving.as_ref());
                moving = here;
            }
        }
        moving
    }

    /// Takes the rule with this priority out, for which `next` comes in behind the others. The leaf that is left, [`NONE`] if
    /// nothing is.
    pub(super) fn replace(&mut self, leaf: u32, priority: u32, next: Option<&Rule<W>>) -> u32 {
        let second = self.second(leaf);
        let (mut rules, mut is_empty) = ([None, None], true);
        let left = self.rules(leaf).filter(|rule| rule.priority != priority).chain(next.copied());
        for (place, rule) in rules.iter_mut().zip(left) {
            (*place, is_empty) = (Some(rule), false);
        }
        for (lane, rule) in [Some(leaf), second].into_iter().flatten().zip(&rules) {
            self.set(lane, rule.as_ref());
        }
        if !is_empty {
            return leaf;
        }
        if let Some(pair) = self.pair_mut(leaf) {
            pair.set_both(leaf as usize % LANES, false);
        }
        [Some(leaf), second].into_iter().flatten().for_each(|lane| self.give_back(lane));
        NONE
    }
}
