//! Hash tables: where their slots are, what a slot says, and how rules get into and out of them.

use alloc::vec::Vec;

use super::leaf::Leaves;
use super::order::Order;
use super::plan::{self, Plan};
use super::{Classifier, NONE, PRIORITY_MAX, Refused, Rule, block, grid, pair};

/// Bits of a slot that number a leaf's first block.
pub(super) const LEAF_BITS: u32 = 20;
const LEAF_MASK: u32 = (1 << LEAF_BITS) - 1;
/// Bits of a slot with the upper part of the best priority behind it.
const COARSE_BITS: u32 = 4;
const COARSE_MASK: u32 = (1 << COARSE_BITS) - 1;
/// The upper eight bits: which values the next three bits of the hashes have (0 is the top bit), a small Bloom filter.
/// All zero: no leaf.
const KNOWN_SHIFT: u32 = LEAF_BITS + COARSE_BITS;

/// Leaves become this long at least before a rule goes into a table that lookups leave out so far.
const DORMANT: usize = 64;

/// Leaves of more rules than this are compared block by block for so long that bits may be faster.
const LONG: usize = 64;

/// How many rules there are where leaves do not fit into a core's second-level cache, and pairs can be numbered.
const FAR: core::ops::Range<usize> = 1 << 14..3 << (LEAF_BITS - 2);

/// What to build.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// Nothing beside the tables.
    Tables,
    /// A grid too, if it makes lookups faster.
    Fast,
    /// A grid too, the first or a later one of those that can be, before the tables or behind, with services by so many
    /// ports.
    #[cfg(test)]
    Grid { skip: usize, is_last: bool, sides: usize },
    /// Bits instead of a grid, before the tables or behind.
    #[cfg(test)]
    Bits { is_last: bool },
    /// No grid, and tables narrow where leaves have one or two rules mostly, or all of them.
    #[cfg(test)]
    Narrow { all: bool },
}

impl Wanted {
    /// True if a table is to be narrow, of so many rules in so many leaves, and whether the leaves of all tables are far.
    const fn is_narrow(self, is_far: bool, rules: u32, leaves: u32) -> bool {
        let is_short = leaves > 0 && rules <= 2 * leaves;
        match self {
            #[cfg(test)]
            Self::Narrow { all } => is_short || all,
            _ => is_far && is_short,
        }
    }

    /// True if there may be a grid.
    const fn tries_grids(self) -> bool {
        match self {
            #[cfg(test)]
            Self::Grid { .. } => true,
            wanted => matches!(wanted, Self::Fast),
        }
    }

    /// A table is tried with bits if it has a leaf of more rules than this.
    const fn long(self) -> usize {
        match self {
            #[cfg(test)]
            Self::Bits { .. } => 0,
            Self::Fast => LONG,
            _ => usize::MAX,
        }
    }

    /// So many grids are not even tried.
    const fn skip(self) -> usize {
        match self {
            #[cfg(test)]
            Self::Grid { skip, .. } => skip,
            _ => 0,
        }
    }

    /// By how many ports a grid may have services.
    const fn sides(self) -> usize {
        match self {
            #[cfg(test)]
            Self::Grid { sides, .. } => sides,
            _ => 2,
        }
    }

    /// True if there should be the grid with which this is the best order, rather than none.
    fn takes(self, with_grid: &mut Order, without: &Order) -> bool {
        match self {
            #[cfg(test)]
            Self::Grid { is_last, .. } | Self::Bits { is_last } => {
                with_grid.grid_is_last = is_last;
                true
            }
            _ => with_grid.cost < without.cost,
        }
    }
}

/// One hash table; its mask is in [`Classifier::masks`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// Its first slot.
    pub base: u32,
    /// Hashes are shifted by this to become the number of a slot.
    pub shift: u32,
    /// How many rules it has.
    pub rules: u32,
    /// How many of them are in no grid; without any, lookups leave the table out.
    pub loose: u32,
    /// None of those has a better priority.
    pub best: u32,
    /// Its leaves have one or two rules mostly.
    pub is_narrow: bool,
}

impl Table {
    /// So many rules of a leaf are compared at once.
    const fn short(self) -> u32 {
        (if self.is_narrow { pair::LANES } else { block::LANES }) as u32
    }

    #[inline(always)]
    pub(super) const fn slot(self, hash: u32) -> usize {
        self.base.wrapping_add(hash >> self.shift) as usize
    }

    #[inline(always)]
    const fn known(self, hash: u32) -> u32 {
        (hash >> self.shift.wrapping_sub(3)) & 7
    }

    /// False if no rule behind the slot can match and be better than what is known.
    #[inline(always)]
    pub(super) const fn admits(self, slot: u32, hash: u32, coarse_best: u32) -> bool {
        (slot << self.known(hash)).cast_signed() < 0 && (slot >> LEAF_BITS) & COARSE_MASK <= coarse_best
    }
}

/// The leaf that a slot leads to.
#[inline(always)]
pub(super) const fn leaf_of(slot: u32) -> u32 {
    slot & LEAF_MASK
}

/// How many bits number the slots of a table for so many rules.
pub(super) fn bits<const W: usize>(rules: usize, mask: &super::Mask<W>) -> u32 {
    if *mask == super::Mask::NOTHING { 1 } else { (rules * 5 / 2).max(2).ilog2() + 1 }
}

/// Builds a classifier.
pub(super) fn build<const W: usize>(rules: &[Rule<W>], wanted: Wanted) -> Result<Classifier<W>, Refused> {
    if !rules.iter().all(Rule::is_valid) {
        return Err(Refused::Invalid);
    }
    let plan = plan::plan(rules)?;
    let sizes = plan.sizes();
    let Plan { masks, table: table_of } = plan;
    let mut tables = Vec::new();
    tables.try_reserve_exact(masks.len()).map_err(|_| Refused::Full)?;
    let mut base = 0u32;
    for (size, mask) in sizes.iter().zip(&masks) {
        let bits = bits(*size, mask);
        let rules = *size as u32;
        tables.push(Table { base, shift: 32 - bits, rules, loose: rules, best: NONE, is_narrow: false });
        base += 1 << bits;
    }
    let mut slots = Vec::new();
    slots.try_reserve_exact(base as usize).map_err(|_| Refused::Full)?;
    slots.resize(base as usize, 0u32);

    // The rules by slot, and in a slot by priority.
    let mut order = Vec::<(u32, u32, u32, u32)>::new();
    order.try_reserve_exact(rules.len()).map_err(|_| Refused::Full)?;
    for ((number, rule), table) in (0u32..).zip(rules).zip(&table_of) {
        if let (Some(mask), Some(table)) = (masks.get(usize::from(*table)), tables.get(usize::from(*table))) {
            let hash = mask.hash_rule(rule);
            order.push((table.slot(hash) as u32, rule.priority, number, table.known(hash)));
        }
    }
    order.sort_unstable();
    let chunks = || order.chunk_by(|a, b| a.0 == b.0);
    let table_of_leaf = |leaf: &[(u32, u32, u32, u32)]| {
        leaf.first().and_then(|(_, _, number, _)| table_of.get(*number as usize)).map_or(0, |table| usize::from(*table))
    };
    let (mut leaves_of, mut longest_of) = ([0u32; plan::MAX_TABLES], [0; plan::MAX_TABLES]);
    for leaf in chunks() {
        let table = table_of_leaf(leaf);
        if let (Some(leaves), Some(longest)) = (leaves_of.get_mut(table), longest_of.get_mut(table)) {
            *leaves += 1;
            *longest = leaf.len().max(*longest);
        }
    }
    let is_far = FAR.contains(&rules.len());
    for (table, leaves) in tables.iter_mut().zip(leaves_of) {
        table.is_narrow = wanted.is_narrow(is_far, table.rules, leaves);
    }
    let with_table = |leaf: &[_]| tables.get(table_of_leaf(leaf)).copied();
    let planned = chunks().filter_map(|leaf| Some((with_table(leaf)?.is_narrow, leaf.len())));
    let mut leaves = Leaves::new(planned, rules.len() / 4 + 64)?;
    let worst = rules.iter().map(|rule| rule.priority).max().unwrap_or(0);
    let coarse = (u32::BITS - worst.leading_zeros()).saturating_sub(COARSE_BITS);
    // Those with more than one rule first, so that there are no gaps.
    let (long, short) = (chunks().filter(|leaf| leaf.len() > 1), chunks().filter(|leaf| leaf.len() == 1));
    for chunk in long.chain(short) {
        let (Some((at, best, ..)), Some(table)) = (chunk.first(), with_table(chunk)) else {
            continue;
        };
        let leaf = leaves.create(table, chunk.iter().filter_map(|(_, _, number, _)| rules.get(*number as usize)));
        let leaf = leaf.ok_or(Refused::Full)?;
        let known = chunk.iter().fold(0, |known, (.., bit)| known | 0x80 >> bit);
        if let Some(slot) = slots.get_mut(*at as usize) {
            *slot = encode(known, coarse_of(coarse, *best), leaf);
        }
    }
    let vector = crate::mem::simd::Vector::detect();
    let asks_tables = !rules.is_empty();
    let mut classifier = Classifier {
        tables,
        masks,
        slots,
        leaves,
        asks_tables,
        longest: 0,
        coarse,
        rules: rules.len(),
        grid: None,
        vector,
    };
    for (rule, table) in rules.iter().zip(&table_of) {
        if let Some(table) = classifier.tables.get_mut(usize::from(*table)) {
            table.best = table.best.min(rule.priority);
        }
    }
    let found_first = || {
        chunks().filter_map(|leaf| {
            let (_, best, number, _) = leaf.first()?;
            Some((*table_of.get(*number as usize)?, *best, leaf.len()))
        })
    };
    let long =
        (0u32..).zip(longest_of).fold(0, |tables, (table, len)| tables | u32::from(len > wanted.long()) << table);
    let mut order = classifier.best_order(rules, found_first());
    let mut with_bits = None;
    if long != 0 && classifier.add_bits(rules, &table_of, long) {
        let mut with = classifier.best_order(rules, found_first());
        if wanted.takes(&mut with, &order) {
            with_bits = classifier.grid.take().map(|bits| (with, bits));
        }
        classifier.drop_grid();
    }
    if wanted.tries_grids() {
        let mut work = grid::WORK;
        for tables in grid::candidates(&sizes).skip(wanted.skip()) {
            if classifier.add_grid(rules, &table_of, tables, wanted, &mut work) {
                let mut with_grid = classifier.best_order(rules, found_first());
                if wanted.takes(&mut with_grid, &order) {
                    order = with_grid;
                    break;
                }
                classifier.drop_grid();
            }
        }
    }
    if let Some((mut with_bits, bits)) = with_bits
        && wanted.takes(&mut with_bits, &order)
    {
        classifier.drop_grid();
        classifier.grid = Some(bits);
        classifier.leave_out(rules, &table_of, long, |_| true);
        order = with_bits;
    }
    let asked = classifier.tables.iter().zip(longest_of).filter(|(table, _)| table.loose > 0);
    classifier.longest = asked.map(|(_, longest)| longest).max().unwrap_or(0).max(DORMANT) as u32;
    classifier.put_in_order(&order);
    Ok(classifier)
}

/// True if a table is one of those that are given as bits.
const fn is_among(tables: u32, table: u16) -> bool {
    tables.unbounded_shr(table as u32) & 1 != 0
}

/// The rules of tables, given as bits, that fit. `None` without memory.
fn inside<const W: usize>(
    rules: &[Rule<W>],
    table_of: &[u16],
    tables: u32,
    fits: impl Fn(&Rule<W>) -> bool,
) -> Option<Vec<Rule<W>>> {
    let these = || rules.iter().zip(table_of).filter(|(rule, table)| is_among(tables, **table) && fits(rule));
    let mut inside = Vec::new();
    inside.try_reserve_exact(these().count()).ok()?;
    inside.extend(these().map(|(rule, _)| *rule));
    Some(inside)
}

const fn encode(known: u32, coarse: u32, leaf: u32) -> u32 {
    known << KNOWN_SHIFT | coarse << LEAF_BITS | leaf
}

/// A priority as a slot knows it.
#[inline(always)]
pub(super) const fn coarse_of(shift: u32, priority: u32) -> u32 {
    let coarse = priority >> shift;
    if coarse < COARSE_MASK { coarse } else { COARSE_MASK }
}

impl<const W: usize> Classifier<W> {
    /// Adds a rule; its priority must not be in use. It takes constant time unless the rules are such that leaves are
    /// long.
    ///
    /// # Errors
    /// [`Refused::Full`] if the room that was left at first is used up: build anew.
    pub fn insert(&mut self, rule: &Rule<W>) -> Result<(), Refused> {
        if !rule.is_valid() {
            return Err(Refused::Invalid);
        }
        let own = super::Mask::of(rule);
        let is_loose = !self.grid.as_mut().is_some_and(|grid| grid.revive(rule));
        let placed = self.place(rule, &own, is_loose);
        if placed.is_err()
            && !is_loose
            && let Some(grid) = &mut self.grid
        {
            // It was dead until now, so there is room.
            grid.bury(rule);
        }
        placed
    }

    fn place(&mut self, rule: &Rule<W>, own: &super::Mask<W>, is_loose: bool) -> Result<(), Refused> {
        // The table where the rule's leaf is the shortest.
        let mut choice: Option<(usize, usize, u32, u32)> = None;
        for (number, (mask, table)) in self.masks.iter().zip(&self.tables).enumerate() {
            if !mask.within(own) {
                continue;
            }
            let hash = mask.hash_rule(rule);
            let at = table.slot(hash);
            let length = self.slots.get(at).map_or(u32::MAX, |slot| self.length(*table, *slot));
            // A table that no lookup asks so far would be one more for all.
            // One more for which lookups ask a table is paid for by all headers, and one more in a long leaf by few.
            let is_dear = if is_loose { table.loose == 0 || rule.priority < table.best } else { table.loose > 0 };
            let length = if is_dear { length.saturating_add(self.longest) } else { length };
            if choice.is_none_or(|(.., shortest)| length < shortest) {
                choice = Some((at, number, hash, length));
            }
            if length < table.short() {
                break;
            }
        }
        let (at, number, hash, _) = choice.ok_or(Refused::Full)?;
        let table = self.tables.get_mut(number).ok_or(Refused::Full)?;
        let slot = self.slots.get_mut(at).ok_or(Refused::Full)?;
        let (mut known, mut best, mut leaf) =
            (*slot >> KNOWN_SHIFT, (*slot >> LEAF_BITS) & COARSE_MASK, leaf_of(*slot));
        if known == 0 {
            leaf = self.leaves.create(*table, core::iter::once(rule)).ok_or(Refused::Full)?;
            best = COARSE_MASK;
        } else {
            self.leaves.insert(*table, leaf, rule).ok_or(Refused::Full)?;
        }
        known |= 0x80 >> table.known(hash);
        *slot = encode(known, best.min(coarse_of(self.coarse, rule.priority)), leaf);
        table.rules += 1;
        table.loose += u32::from(is_loose);
        self.asks_tables |= is_loose;
        table.best = table.best.min(rule.priority);
        self.rules += 1;
        Ok(())
    }

    /// Builds a grid for the rules of the tables that are given as bits. `table_of` has the table of each rule. False if it
    /// cannot be. Allocates.
    fn add_grid(&mut self, rules: &[Rule<W>], table_of: &[u16], tables: u32, wanted: Wanted, work: &mut usize) -> bool {
        let Some(inside) = inside(rules, table_of, tables, grid::fits) else { return false };
        let limits = grid::limits(self.memory_bytes(), inside.len() == self.rules, wanted.sides());
        let mut here = *work / 2;
        *work -= here;
        self.grid = grid::build(&inside, limits, &mut here);
        *work += here;
        self.leave_out(rules, table_of, tables, grid::fits)
    }

    /// [`Classifier::add_grid`] with bits instead of cells.
    fn add_bits(&mut self, rules: &[Rule<W>], table_of: &[u16], tables: u32) -> bool {
        let Some(inside) = inside(rules, table_of, tables, |_| true) else { return false };
        self.grid = grid::build_by_bits(&inside);
        self.leave_out(rules, table_of, tables, |_| true)
    }

    /// What the grid answers for is loose no more. False if there is none.
    fn leave_out(&mut self, rules: &[Rule<W>], table_of: &[u16], tables: u32, fits: impl Fn(&Rule<W>) -> bool) -> bool {
        if self.grid.is_none() {
            return false;
        }
        for (_, number) in rules.iter().zip(table_of).filter(|(rule, table)| is_among(tables, **table) && fits(rule)) {
            if let Some(table) = self.tables.get_mut(usize::from(*number)) {
                table.loose = table.loose.saturating_sub(1);
            }
        }
        self.asks_tables = self.tables_asked() > 0;
        true
    }

    fn drop_grid(&mut self) {
        self.grid = None;
        self.tables.iter_mut().for_each(|table| table.loose = table.rules);
        self.asks_tables = true;
    }

    /// Rules behind a slot, up to a few.
    fn length(&self, table: Table, slot: u32) -> u32 {
        let most = 2 * self.longest as usize;
        if slot >> KNOWN_SHIFT == 0 { 0 } else { self.leaves.rules(table, leaf_of(slot)).take(most).count() as u32 }
    }

    /// Removes a rule. False if it is not there.
    pub fn remove(&mut self, rule: &Rule<W>) -> bool {
        let own = super::Mask::of(rule);
        for (mask, table) in self.masks.iter().zip(&mut self.tables) {
            if !mask.within(&own) {
                continue;
            }
            let hash = mask.hash_rule(rule);
            let Some(slot) = self.slots.get_mut(table.slot(hash)) else {
                continue;
            };
            // Where a lookup would not look for it, it is not, and a leaf from far away need not be read.
            if !table.admits(*slot, hash, coarse_of(self.coarse, rule.priority)) {
                continue;
            }
            let Some(leaf) = self.leaves.remove(*table, leaf_of(*slot), rule.priority) else {
                continue;
            };
            *slot = 0;
            if leaf != NONE {
                let (mut known, mut best) = (0, PRIORITY_MAX);
                for rule in self.leaves.rules(*table, leaf) {
                    known |= 0x80 >> table.known(mask.hash_rule(&rule));
                    best = best.min(rule.priority);
                }
                *slot = encode(known, coarse_of(self.coarse, best), leaf);
            }
            table.rules = table.rules.saturating_sub(1);
            self.rules = self.rules.saturating_sub(1);
            let Some(grid) = self.grid.as_mut().filter(|grid| grid.holds(rule)) else {
                table.loose = table.loose.saturating_sub(1);
                return true;
            };
            if !grid.bury(rule) {
                grid.retire();
                self.tables.iter_mut().for_each(|table| table.loose = table.rules);
                self.asks_tables = true;
            }
            return true;
        }
        false
    }
}
