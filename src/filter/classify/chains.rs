//! Rules in the order of priority, in chains of blocks.

use alloc::vec::Vec;

use super::block::{Block, LANES};
use super::{Key, NONE, Refused, Rule};
use crate::mem::prefetch;

/// All chains of a classifier.
#[derive(Clone, Debug)]
pub(super) struct Chains<const W: usize> {
    blocks: Vec<Block<W>>,
    /// The block behind each; for free blocks, the next free one.
    next: Vec<u32>,
    free: u32,
}

impl<const W: usize> Chains<W> {
    /// Room for `blocks` blocks. Allocates.
    pub(super) fn new(blocks: usize) -> Result<Self, Refused> {
        let mut chains = Self { blocks: Vec::new(), next: Vec::new(), free: NONE };
        chains.blocks.try_reserve_exact(blocks).map_err(|_| Refused::Full)?;
        chains.next.try_reserve_exact(blocks).map_err(|_| Refused::Full)?;
        Ok(chains)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block<W>>() + self.next.capacity() * size_of::<u32>()
    }

    /// A block, for prefetching.
    #[inline(always)]
    pub(super) fn block(&self, index: u32) -> Option<&Block<W>> {
        self.blocks.get(index as usize)
    }

    /// The best priority of the rules that match.
    #[inline(always)]
    pub(super) fn find(&self, chain: u32, key: &Key<W>) -> u32 {
        let Some(block) = self.block(chain) else {
            return NONE;
        };
        let found = block.find(key);
        // One branch for both: whether a rule matches is what no processor can foresee.
        if u32::from(found == NONE) & u32::from(block.goes_on()) == 0 { found } else { self.find_behind(chain, key) }
    }

    #[inline(never)]
    fn find_behind(&self, mut at: u32, key: &Key<W>) -> u32 {
        loop {
            // Chains are built block by block, so this is probably the one behind the next.
            if let Some(block) = self.blocks.get(at as usize + 2) {
                prefetch::all(block);
            }
            at = self.next.get(at as usize).copied().unwrap_or(NONE);
            let Some(block) = self.block(at) else {
                return NONE;
            };
            let found = block.find(key);
            if found != NONE || !block.goes_on() {
                return found;
            }
        }
    }

    /// How many blocks a header is compared with that nothing in a chain matches, up to a few.
    pub(super) fn blocks(&self, chain: u32) -> u32 {
        self.blocks_of(chain).take(16).count() as u32
    }

    fn take_block(&mut self) -> Option<u32> {
        if let Some(next) = self.next.get(self.free as usize) {
            let index = self.free;
            self.free = *next;
            return Some(index);
        }
        // What was reserved at first is all there is: growing would copy everything in one go.
        if self.blocks.len() == self.blocks.capacity() || self.next.len() == self.next.capacity() {
            return None;
        }
        let index = u32::try_from(self.blocks.len()).ok()?;
        self.blocks.push(Block::EMPTY);
        self.next.push(NONE);
        Some(index)
    }

    fn give_back(&mut self, index: u32) {
        if let (Some(block), Some(next)) = (self.blocks.get_mut(index as usize), self.next.get_mut(index as usize)) {
            *block = Block::EMPTY;
            *next = self.free;
            self.free = index;
        }
    }

    /// A new chain with these rules, which are in the order of priority.
    pub(super) fn create<'a>(&mut self, rules: impl Iterator<Item = &'a Rule<W>>) -> Option<u32> {
        let (mut first, mut last) = (NONE, NONE);
        let mut lane = LANES;
        for rule in rules {
            if lane == LANES {
                let index = self.take_block()?;
                match (self.blocks.get_mut(last as usize), self.next.get_mut(last as usize)) {
                    (Some(block), Some(next)) => {
                        block.set_goes_on(true);
                        *next = index;
                    }
                    _ => first = index,
                }
                (last, lane) = (index, 0);
            }
            self.blocks.get_mut(last as usize)?.set(lane, Some(rule));
            lane += 1;
        }
        Some(first)
    }

    /// The blocks of a chain.
    fn blocks_of(&self, chain: u32) -> impl Iterator<Item = &Block<W>> {
        let mut at = Some(chain);
        core::iter::from_fn(move || {
            let index = at?;
            let block = self.block(index)?;
            at = if block.goes_on() { self.next.get(index as usize).copied() } else { None };
            Some(block)
        })
    }

    /// The priorities of the rules in a chain that match.
    #[inline(always)]
    pub(super) fn matching(&self, chain: u32, key: &Key<W>, mut each: impl FnMut(u32)) {
        for block in self.blocks_of(chain) {
            let matching = block.matching(key);
            let lanes = (0..LANES).filter(|lane| matching >> lane & 1 != 0);
            lanes.filter_map(|lane| block.priority(lane)).for_each(&mut each);
        }
    }

    /// The rules of a chain.
    pub(super) fn rules(&self, chain: u32) -> impl Iterator<Item = Rule<W>> + '_ {
        self.blocks_of(chain).flat_map(|block| (0..LANES).map_while(|lane| block.get(lane)))
    }

    /// Puts a rule into its place. `None` without room; the chain is then as it was.
    pub(super) fn insert(&mut self, chain: u32, rule: &Rule<W>) -> Option<()> {
        let mut moving = *rule;
        let (mut at, mut last) = (chain, chain);
        // Room first, so that a failure changes nothing.
        while self.block(last).is_some_and(Block::goes_on) {
            last = self.next.get(last as usize).copied()?;
        }
        if self.block(last)?.get(LANES - 1).is_some() {
            let index = self.take_block()?;
            self.blocks.get_mut(last as usize)?.set_goes_on(true);
            *self.next.get_mut(last as usize)? = index;
        }
        loop {
            let block = self.blocks.get_mut(at as usize)?;
            for lane in 0..LANES {
                match block.get(lane) {
                    Some(here) if here.priority <= moving.priority => {}
                    Some(here) => {
                        block.set(lane, Some(&moving));
                        moving = here;
                    }
                    None => {
                        block.set(lane, Some(&moving));
                        return Some(());
                    }
                }
            }
            at = self.next.get(at as usize).copied()?;
        }
    }

    /// Takes the rule with this priority out. `None` if it is not there; else the chain that is left, [`NONE`] if
    /// nothing is.
    pub(super) fn remove(&mut self, chain: u32, priority: u32) -> Option<u32> {
        let lane_of =
            |block: &Block<W>| (0..LANES).find(|lane| block.get(*lane).is_some_and(|r| r.priority == priority));
        let mut at = chain;
        let mut before = NONE;
        let mut hole = loop {
            let block = self.block(at)?;
            if let Some(lane) = lane_of(block) {
                break lane;
            }
            if !block.goes_on() {
                return None;
            }
            before = at;
            at = self.next.get(at as usize).copied()?;
        };
        loop {
            let behind = self.next.get(at as usize).copied().unwrap_or(NONE);
            let goes_on = self.block(at)?.goes_on();
            let pulled = if goes_on { self.block(behind)?.get(0) } else { None };
            let block = self.blocks.get_mut(at as usize)?;
            for lane in hole..LANES {
                let next = if lane + 1 < LANES { block.get(lane + 1) } else { pulled };
                block.set(lane, next.as_ref());
            }
            if goes_on {
                (before, at, hole) = (at, behind, 0);
                continue;
            }
            if block.get(0).is_some() {
                return Some(chain);
            }
            self.give_back(at);
            if let Some(block) = self.blocks.get_mut(before as usize) {
                block.set_goes_on(false);
            }
            return Some(if at == chain { NONE } else { chain });
        }
    }
}
