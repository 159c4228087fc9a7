//! Rules by both their addresses: a grid with a class of source addresses a row and a class of destination addresses a
//! column, whose cells say which rules are left to compare.
//!
//! A header needs two short searches and one read of a cell, and if more than one rule is left there a comparison with
//! eight, however many masks the rules have; so this takes what would fill tables with few rules each. Where rules are not
//! too many their ports are part of the way to a cell, so that nothing is left to compare. It is built once; a rule that is
//! removed is noted as dead.
//!
//! Where rules are too many and too entangled for that, bits of all fields take the place of the cells (`bitmaps`).

mod axis;
mod bitmaps;
mod cells;
mod dead;
mod leaf;
mod lists;
mod own;
mod services;

use alloc::vec::Vec;

use super::burst::Words;
use super::plan::MAX_TABLES;
use super::{Key, NONE, Rule};
use crate::mem::answers;
use crate::mem::locate::{GROUP, Locator, NODE};
use crate::mem::ranges::Search;
#[cfg(target_arch = "x86_64")]
use crate::mem::simd::Avx2;
use crate::mem::simd::Vector;
#[cfg(target_arch = "x86_64")]
use crate::mem::transpose::Rows;
use bitmaps::Bitmaps;
use cells::Limits;
pub(super) use cells::{build, fits};
use dead::Dead;
use leaf::Leaves;

/// Most rules of a grid.
pub(super) const MOST_RULES: usize = 1 << 14;

/// What may be taken by a grid that answers for all rules, and by tables and a grid together, in bytes.
const ALONE: usize = 48_000_000;
const TOGETHER: usize = 16_000_000;

/// Entries of the index that services may take: a megabyte.
const INDEX: usize = 1 << 19;

/// What may be done until one of all the grids that are tried is built, so that it takes a few tenths of a second at most;
/// half of what is left for each.
pub(super) const WORK: usize = 1 << 27;

/// How large a grid may become beside so many bytes of tables: what can be built in a tenth of a second or two.
pub(super) const fn limits(tables: usize, has_all: bool, sides: usize) -> Limits {
    let beside = if has_all { 0 } else { tables };
    let bytes = if has_all { ALONE } else { TOGETHER.saturating_sub(tables) };
    Limits { cells: 1 << 23, bytes, beside, nodes: 1 << 12, sides, index: INDEX }
}

/// For which tables a grid is worth a try, as bits: all, and then the smallest ones, each time with a third of the rules less.
/// `sizes` are the tables' numbers of rules.
pub(super) fn candidates(sizes: &[usize; MAX_TABLES]) -> impl Iterator<Item = u32> {
    let mut by_size: heapless::Vec<(usize, u32), MAX_TABLES> =
        (0..).zip(sizes).filter(|(_, rules)| **rules > 0).map(|(table, rules)| (*rules, table)).collect();
    by_size.sort_unstable();
    let mut most = MOST_RULES;
    core::iter::from_fn(move || {
        let mut rules = by_size.iter().map(|(rules, _)| rules).sum::<usize>();
        while rules > most {
            rules -= by_size.pop()?.0;
        }
        most = rules * 2 / 3;
        (rules > 0).then(|| by_size.iter().fold(0, |tables, (_, table)| tables | 1 << table))
    })
}

/// What takes no more than this stays in a core's second-level cache.
const NEAR: usize = 2 << 20;

/// From a header to the rules that are left to compare.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a classifier has one")]
enum Way<const W: usize> {
    /// By the cells of the grid.
    Cells { locator: Locator, leaves: Leaves },
    /// By bits of all fields, where there would be too many cells.
    Bits(Bitmaps<W>),
}

/// The grid.
#[derive(Clone, Debug)]
pub(super) struct Grid<const W: usize> {
    way: Way<W>,
    /// Priorities of the rules that are in it, in order.
    priorities: Vec<u32>,
    /// Rules that are in it and were removed.
    dead: Dead<W>,
    /// Too many died: it must not be asked.
    is_retired: bool,
    /// It is asked behind the tables, about what has found nothing better than its best rule.
    pub is_last: bool,
    /// It takes more than [`NEAR`].
    is_far: bool,
}

/// Rules in the order of priority.
fn sorted<const W: usize>(rules: &[Rule<W>]) -> Option<Vec<&Rule<W>>> {
    let mut sorted = Vec::new();
    sorted.try_reserve_exact(rules.len()).ok()?;
    sorted.extend(rules);
    sorted.sort_unstable_by_key(|rule: &&Rule<W>| rule.priority);
    Some(sorted)
}

/// Builds one of bits instead of cells. `None` if there are more than [`bitmaps::MOST`] rules, or without memory. Allocates.
pub(super) fn build_by_bits<const W: usize>(rules: &[Rule<W>]) -> Option<Grid<W>> {
    let sorted = sorted(rules)?;
    Grid::new(Way::Bits(Bitmaps::new(&sorted)?), &sorted)
}

impl<const W: usize> Grid<W> {
    fn new(way: Way<W>, sorted: &[&Rule<W>]) -> Option<Self> {
        let mut priorities = Vec::new();
        priorities.try_reserve_exact(sorted.len()).ok()?;
        priorities.extend(sorted.iter().map(|rule| rule.priority));
        Some(Self { way, priorities, dead: Dead::new()?, is_retired: false, is_last: false, is_far: false })
    }

    /// What it takes, in bytes.
    pub(super) const fn memory_bytes(&self) -> usize {
        let way = match &self.way {
            Way::Cells { locator, leaves } => locator.memory_bytes() + leaves.memory_bytes(),
            Way::Bits(bitmaps) => bitmaps.memory_bytes(),
        };
        way + self.priorities.capacity() * size_of::<u32>() + self.dead.memory_bytes()
    }

    /// True if the rule is in the grid and alive.
    pub(super) fn holds(&self, rule: &Rule<W>) -> bool {
        let is_inside = self.priorities.binary_search(&rule.priority).is_ok();
        is_inside && !self.is_retired && !self.dead.has(rule.priority)
    }

    /// True if the rule with this priority was in the grid and is removed.
    #[inline(always)]
    pub(super) fn is_dead(&self, priority: u32) -> bool {
        self.dead.has(priority)
    }

    /// True if no rule is dead.
    #[inline]
    pub(super) const fn is_whole(&self) -> bool {
        self.dead.is_empty()
    }

    /// True if it takes more than a core's second-level cache has.
    pub(super) const fn is_far(&self) -> bool {
        self.is_far
    }

    /// The best priority of the rules that are in it, dead or not.
    #[inline]
    pub(super) fn best(&self) -> u32 {
        self.priorities.first().copied().unwrap_or(NONE)
    }

    /// Gives up: nothing is in it from now on.
    pub(super) const fn retire(&mut self) {
        self.is_retired = true;
    }

    /// False if nothing is in it any more.
    #[inline]
    pub(super) const fn is_active(&self) -> bool {
        !self.is_retired
    }

    /// Notes that a rule is removed. False if too many are.
    pub(super) fn bury(&mut self, rule: &Rule<W>) -> bool {
        self.dead.insert(rule)
    }

    /// Takes a rule back that was removed. False if it is not the one that was.
    pub(super) fn revive(&mut self, rule: &Rule<W>) -> bool {
        !self.is_retired && self.dead.remove(rule)
    }

    /// Finds the place of each header and puts down the answers. Returns those that lead on, as bits.
    #[inline(always)]
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "there is nothing in the token"))]
    fn locate<const N: usize>(
        tables: &Locator,
        vector: Vector,
        words: &Words<N>,
        keys: &[Key<W>],
        at: &mut [u32; GROUP],
        best: &mut [u32; GROUP],
    ) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if let (Some(avx2), Some(addrs)) = (vector.avx2(), words.addrs::<W>()) {
            return avx2.locate(tables, addrs, words.ports_and_class(), keys.len(), at, best);
        }
        let mut entries = [[0u16; 2]; GROUP];
        for (entries, key) in entries.iter_mut().zip(keys) {
            *entries = [(0, &key.src), (1, &key.dst)].map(|(side, addr)| tables.enter(side, addr));
        }
        for step in 2..4 * W {
            let mut any = 0;
            for (entries, key) in entries.iter_mut().zip(keys) {
                let [row, column] = *entries;
                any |= row | column;
                *entries = [(row, &key.src), (column, &key.dst)].map(|(entry, addr)| tables.follow(entry, addr, step));
            }
            if any & NODE == 0 {
                break;
            }
        }
        for ((at, [row, column]), key) in at.iter_mut().zip(entries).zip(keys) {
            *at = tables.find_by_classes(row, column, key.port_word(), key.class);
        }
        answers::take(at, keys.len(), best)
    }

    /// Puts down the best priority of the rules that match, dead or not, for those headers that are given as bits, where
    /// it is better than what is known.
    #[inline(always)]
    pub(super) fn lookup<const N: usize>(
        &self,
        vector: Vector,
        words: &Words<N>,
        keys: &[Key<W>],
        mut headers: u32,
        best: &mut [u32; GROUP],
    ) {
        let (locator, leaves) = match &self.way {
            Way::Cells { locator, leaves } => (locator, leaves),
            Way::Bits(bitmaps) => return Self::lookup_bits(bitmaps, keys, headers, best),
        };
        let mut at = [0u32; GROUP];
        // Those for which something is left to compare.
        headers &= Self::locate(locator, vector, words, keys, &mut at, best);
        self.compare(leaves, vector, words.ports_and_class(), &mut at, headers, best);
    }

    /// Compares headers, which are given as bits, with the leaves that their places lead to.
    #[inline(always)]
    fn compare(
        &self,
        leaves: &Leaves,
        vector: Vector,
        [ports, class]: [&[u32; GROUP]; 2],
        at: &mut [u32; GROUP],
        mut headers: u32,
        best: &mut [u32; GROUP],
    ) {
        self.prefetch(leaves, at, headers);
        let Leaves { blocks, classes } = leaves;
        let mut search = Search { blocks, classes, at, ports, class };
        // One block after the other.
        while headers != 0 {
            headers = vector.step(&mut search, headers, best);
            self.prefetch(leaves, search.at, headers);
        }
    }

    /// True if [`Grid::lookup_group`] does all that there is to do if no table is asked and no rule is dead.
    #[cfg(target_arch = "x86_64")]
    pub(super) const fn is_simple(&self) -> bool {
        W == 1 && matches!(self.way, Way::Cells { .. }) && !self.is_last && self.is_active()
    }

    /// The best priority of the rules that match each header of a group, for a grid that is simple. Without what others need on
    /// the way it takes a sixth less.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn lookup_group(&self, avx2: Avx2, vector: Vector, rows: &impl Rows, best: &mut [u32; GROUP]) {
        let Way::Cells { locator, leaves } = &self.way else { return };
        *best = [NONE; GROUP];
        let (mut columns, mut at) = ([[0; GROUP]; 4], [0; GROUP]);
        let headers = avx2.locate_rows(locator, rows, &mut columns, &mut at, best);
        let [_, _, ports, class] = &columns;
        self.compare(leaves, vector, [ports, class], &mut at, headers, best);
    }

    /// [`Grid::lookup`] by bits.
    #[inline(always)]
    fn lookup_bits(bitmaps: &Bitmaps<W>, keys: &[Key<W>], mut headers: u32, best: &mut [u32; GROUP]) {
        while headers != 0 {
            let number = headers.trailing_zeros() as usize;
            headers &= headers - 1;
            if let (Some(key), Some(best)) = (keys.get(number), best.get_mut(number)) {
                *best = (*best).min(bitmaps.find(key, *best).0);
            }
        }
    }

    /// Fetches the blocks at which headers are, which are given as bits, unless they are near anyway.
    #[inline(always)]
    fn prefetch(&self, leaves: &Leaves, at: &[u32; GROUP], headers: u32) {
        let mut far = if self.is_far { headers } else { 0 };
        while far != 0 {
            leaves.prefetch(answers::block(at.get(far.trailing_zeros() as usize).copied().unwrap_or(0)));
            far &= far - 1;
        }
    }

    /// The best priority of the rules that match a header, dead or not, and what was done for it: blocks that were compared, or
    /// about as much as so many.
    #[inline(always)]
    pub(super) fn find(&self, key: &Key<W>) -> (u32, u32) {
        let (locator, leaves) = match &self.way {
            Way::Cells { locator, leaves } => (locator, leaves),
            Way::Bits(bitmaps) => return bitmaps.find(key, NONE),
        };
        let found = locator.find(&key.src, &key.dst, key.port_word(), key.class);
        answers::answer(found).map_or_else(|| leaves.find(answers::block(found), key), |answer| (answer, 0))
    }
}
