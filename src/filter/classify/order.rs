//! In which order tables are asked, and whether the grid is asked before them or behind.

use alloc::vec::Vec;

use super::block::LANES;
use super::plan::MAX_TABLES;
use super::{Classifier, Key, NONE, Rule};

/// So many rules are tried to find out which order is cheaper.
const SAMPLE: usize = 512;

/// A random header is tried for each so many of those.
const RANDOM: usize = 10;

/// What a comparison with a table's leaf costs, in units of a table that says no; what the grid's tables cost, and each
/// further block of either.
const COMPARED: u32 = 4;
const GRID: u32 = 4;
const FAR_GRID: u32 = 6;
/// Some headers must be followed through each further word of an address.
const GRID_WORD: u32 = 1;
const BLOCK: u32 = 1;

/// Blocks of a leaf that cost nothing if one of them has what is looked for.
const FEW: usize = 8;

/// Places of tables.
type Places = heapless::Vec<u16, MAX_TABLES>;

/// An order, whether the grid comes last in it, and about what a lookup costs then.
pub(super) struct Order {
    places: Places,
    pub grid_is_last: bool,
    pub cost: u64,
}

impl<const W: usize> Classifier<W> {
    /// The best order of those that are worth a try: the better the rule that a header finds first, the more of what comes
    /// behind need not be asked. `leaves` are those of all tables, each with its table, its best priority and its number of
    /// rules.
    pub(super) fn best_order(&self, rules: &[Rule<W>], leaves: impl Iterator<Item = (u16, u32, usize)>) -> Order {
        let mut sums = [(0u64, 0u64); MAX_TABLES];
        for (table, best, len) in leaves {
            if let Some((sum, count)) = sums.get_mut(usize::from(table)) {
                *sum += u64::from(best) * len as u64;
                *count += len as u64;
            }
        }
        let planned: Places = (0..self.tables.len() as u16).take(MAX_TABLES).collect();
        // What the headers of a table's rules find first there, on average.
        let found = |place: &u16| {
            sums.get(usize::from(*place)).and_then(|(sum, count)| sum.checked_div(*count)).unwrap_or(u64::MAX)
        };
        let mut sorted = planned.clone();
        sorted.sort_by_key(found);
        let mut best = Order { cost: self.cost(rules, &planned, false), places: planned.clone(), grid_is_last: false };
        for (places, grid_is_last) in [(&sorted, false), (&planned, true), (&sorted, true)] {
            let cost =
                if grid_is_last && self.grid.is_none() { u64::MAX } else { self.cost(rules, places, grid_is_last) };
            if cost < best.cost {
                best = Order { places: places.clone(), grid_is_last, cost };
            }
        }
        best
    }

    /// Asks in this order from now on. Allocates; without memory nothing happens.
    pub(super) fn put_in_order(&mut self, order: &Order) {
        if let Some(grid) = &mut self.grid {
            grid.is_last = order.grid_is_last;
        }
        let (mut tables, mut masks) = (Vec::new(), Vec::new());
        let len = order.places.len();
        if tables.try_reserve_exact(len).is_ok() && masks.try_reserve_exact(len).is_ok() {
            tables.extend(order.places.iter().filter_map(|place| self.tables.get(usize::from(*place))));
            masks.extend(order.places.iter().filter_map(|place| self.masks.get(usize::from(*place))));
            (self.tables, self.masks) = (tables, masks);
        }
    }

    /// About what the lookups of a sample cost in this order.
    fn cost(&self, rules: &[Rule<W>], order: &Places, grid_is_last: bool) -> u64 {
        let sample = rules.iter().step_by((rules.len() / SAMPLE).max(1)).map(Rule::lowest);
        let random = (0..(SAMPLE / RANDOM) as u32).map(Key::scattered);
        sample.chain(random).map(|key| u64::from(self.cost_of(order, grid_is_last, &key))).sum()
    }

    /// About what a header costs in this order, in units of a table that says no.
    fn cost_of(&self, order: &Places, grid_is_last: bool, key: &Key<W>) -> u32 {
        let (mut best, mut cost) = (NONE, 0);
        let ask_grid = |best: &mut u32, cost: &mut u32| {
            if let Some(grid) = self.grid.as_ref().filter(|grid| *best > grid.best()) {
                let (found, blocks) = grid.find(key);
                *cost += if grid.is_far() { FAR_GRID } else { GRID } + GRID_WORD * (W as u32 - 1) + BLOCK * blocks;
                *best = (*best).min(found);
            }
        };
        if !grid_is_last {
            ask_grid(&mut best, &mut cost);
        }
        let places = order.iter().map(|place| usize::from(*place));
        for (table, mask) in places.filter_map(|place| self.tables.get(place).zip(self.masks.get(place))) {
            if table.loose == 0 || best <= table.best {
                continue;
            }
            cost += 1;
            if let Some(leaf) = self.leaf_in(*table, mask, key, best) {
                let found = self.leaves.find(self.vector, *table, leaf, key);
                let further = if found == NONE {
                    self.leaves.blocks(*table, leaf).saturating_sub(1)
                } else {
                    // The first few are with it.
                    let before = self.leaves.rules(*table, leaf).take_while(|rule| rule.priority != found).count();
                    (before / LANES).saturating_sub(FEW) as u32
                };
                cost += COMPARED + BLOCK * further;
                best = best.min(found);
            }
        }
        if grid_is_last {
            ask_grid(&mut best, &mut cost);
        }
        cost
    }
}
