//! Leaves: the rules of one slot in the order of priority.

use super::block::LANES;
use super::chains::Chains;
use super::pairs::Pairs;
use super::table::{LEAF_BITS, Table};
use super::{Key, NONE, Refused, Rule};
use crate::mem::simd::Vector;

/// All leaves of a classifier. Those of narrow tables have one or two rules in a pair and all others in a chain, those of other
/// tables are chains.
#[derive(Clone, Debug)]
pub(super) struct Leaves<const W: usize> {
    pub chains: Chains<W>,
    pub pairs: Pairs<W>,
}

impl<const W: usize> Leaves<W> {
    /// Room for what `planned` says of each leaf, whether its table is narrow and how many rules it has, and for `spare` rules
    /// more. Allocates.
    pub(super) fn new(planned: impl Iterator<Item = (bool, usize)>, spare: usize) -> Result<Self, Refused> {
        let (mut singles, mut blocks) = (0, spare);
        for (is_narrow, rules) in planned {
            singles += if is_narrow { rules.min(2) } else { 0 };
            blocks += if is_narrow { rules.saturating_sub(2) } else { rules }.div_ceil(LANES);
        }
        let most = |wanted: usize| wanted.min(1 << LEAF_BITS);
        let singles = if singles == 0 { 0 } else { singles + spare };
        Ok(Self { chains: Chains::new(most(blocks))?, pairs: Pairs::new(most(singles))? })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.chains.memory_bytes() + self.pairs.memory_bytes()
    }

    /// The best priority of the rules that match. It may be of another leaf's rule that matches, if that is better.
    #[inline(always)]
    pub(super) fn find(&self, vector: Vector, table: Table, leaf: u32, key: &Key<W>) -> u32 {
        if !table.is_narrow {
            return self.chains.find(leaf, key);
        }
        let (found, goes_on) = self.pairs.find(vector, leaf, key);
        if goes_on { found.min(self.chains.find(self.pairs.behind_if_better(leaf, found), key)) } else { found }
    }

    /// Where the chain of a leaf begins.
    fn chain(&self, table: Table, leaf: u32) -> u32 {
        if table.is_narrow { self.pairs.behind(leaf) } else { leaf }
    }

    /// How many blocks a header is compared with that nothing in a leaf matches, up to a few.
    pub(super) fn blocks(&self, table: Table, leaf: u32) -> u32 {
        u32::from(table.is_narrow) + self.chains.blocks(self.chain(table, leaf))
    }

    /// The priorities of the rules in a leaf that match.
    #[inline(always)]
    pub(super) fn matching(&self, table: Table, leaf: u32, key: &Key<W>, mut each: impl FnMut(u32)) {
        if table.is_narrow {
            self.pairs.rules(leaf).filter(|rule| rule.matches(key)).for_each(|rule| each(rule.priority));
        }
        self.chains.matching(self.chain(table, leaf), key, each);
    }

    /// The rules of a leaf.
    pub(super) fn rules(&self, table: Table, leaf: u32) -> impl Iterator<Item = Rule<W>> + '_ {
        let first = self.pairs.rules(if table.is_narrow { leaf } else { NONE });
        first.chain(self.chains.rules(self.chain(table, leaf)))
    }

    /// A new leaf with these rules, which are in the order of priority.
    pub(super) fn create<'a>(&mut self, table: Table, mut rules: impl Iterator<Item = &'a Rule<W>>) -> Option<u32> {
        if !table.is_narrow {
            return self.chains.create(rules);
        }
        let leaf = self.pairs.create(rules.next()?)?;
        let mut rules = rules.peekable();
        if rules.peek().is_some() {
            self.pairs.widen(leaf);
        }
        // The rules come in order, so what finds no room is the one that came.
        while rules.next_if(|rule| self.pairs.insert(leaf, rule).is_none()).is_some() {}
        if rules.peek().is_some() {
            let chain = self.chains.create(rules)?;
            self.pairs.set_behind(leaf, chain);
        }
        Some(leaf)
    }

    /// Puts a rule into its place. `None` without room; the leaf is then as it was.
    pub(super) fn insert(&mut self, table: Table, leaf: u32, rule: &Rule<W>) -> Option<()> {
        if !table.is_narrow {
            return self.chains.insert(leaf, rule);
        }
        let Some(worst) = self.pairs.insert(leaf, rule) else {
            return Some(());
        };
        let behind = self.pairs.behind(leaf);
        let placed = if behind == NONE {
            self.chains.create(core::iter::once(&worst)).map(|chain| self.pairs.set_behind(leaf, chain))
        } else {
            self.chains.insert(behind, &worst)
        };
        if placed.is_none() && worst != *rule {
            self.pairs.replace(leaf, rule.priority, Some(&worst));
        }
        placed
    }

    /// Takes the rule with this priority out. `None` if it is not there; else the leaf that is left, [`NONE`] if
    /// nothing is.
    pub(super) fn remove(&mut self, table: Table, leaf: u32, priority: u32) -> Option<u32> {
        if !table.is_narrow {
            return self.chains.remove(leaf, priority);
        }
        let behind = self.pairs.behind(leaf);
        if !self.pairs.rules(leaf).any(|rule| rule.priority == priority) {
            let left = self.chains.remove(behind, priority)?;
            self.pairs.set_behind(leaf, left);
            return Some(leaf);
        }
        // What comes first behind moves up.
        let next = self.chains.rules(behind).next();
        if let Some(next) = next {
            let left = self.chains.remove(behind, next.priority)?;
            self.pairs.set_behind(leaf, left);
        }
        Some(self.pairs.replace(leaf, priority, next.as_ref()))
    }
}
