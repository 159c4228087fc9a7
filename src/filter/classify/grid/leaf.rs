//! Leaves: lists of rules of which the addresses are known to match, in blocks one behind the other.

use alloc::vec::Vec;

use super::super::{Key, Rule};
use super::axis::push;
use crate::mem::prefetch;
use crate::mem::ranges::{Block, Classes, LANES, NONE};

/// The blocks of all leaves.
#[derive(Clone, Debug)]
pub(super) struct Leaves {
    pub blocks: Vec<Block>,
    /// What each says of a header's class; empty if whatever leads to a block says that the class is right.
    pub classes: Vec<Classes>,
}

impl Leaves {
    /// Without leaves.
    pub(super) const fn new() -> Self {
        Self { blocks: Vec::new(), classes: Vec::new() }
    }

    /// Blocks.
    pub(super) const fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn shrink(&mut self) {
        self.blocks.shrink_to_fit();
        self.classes.shrink_to_fit();
    }

    /// What they take, in bytes.
    pub(super) const fn memory_bytes(&self) -> usize {
        size_of_val(self.blocks.as_slice()) + size_of_val(self.classes.as_slice())
    }

    /// Adds a leaf with the rules that a list names, and what they say of a class if that is asked for, for all or for none.
    /// The number of its first block; `None` without memory.
    pub(super) fn add<const W: usize>(
        &mut self,
        mut list: &[u32],
        rules: &[&Rule<W>],
        has_classes: bool,
    ) -> Option<u32> {
        let leaf = u32::try_from(self.len()).ok()?;
        while !list.is_empty() {
            let (here, behind) = list.split_at(list.len().min(LANES));
            let (mut block, mut classes) = (Block::EMPTY, Classes::NONE);
            for lane in 0..LANES {
                // The last one again where there are no more: what is left empty would match.
                let rule = *rules.get(*here.get(lane).or(here.last())? as usize)?;
                let ([low_a, low_b], [high_a, high_b]) = (rule.low, rule.high);
                *block.low.as_flattened_mut().get_mut(lane)? = rule.low;
                *block.span.as_flattened_mut().get_mut(lane)? =
                    [high_a.wrapping_sub(low_a), high_b.wrapping_sub(low_b)];
                *classes.class.as_flattened_mut().get_mut(lane)? = rule.class & rule.class_mask;
                *classes.mask.as_flattened_mut().get_mut(lane)? = rule.class_mask;
                block.set_priority(lane, rule.priority);
            }
            if !behind.is_empty() {
                block.set_goes_on();
            }
            push(&mut self.blocks, block)?;
            if has_classes {
                push(&mut self.classes, classes)?;
            }
            list = behind;
        }
        Some(leaf)
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, block: u32) {
        if let Some(block) = self.blocks.get(block as usize) {
            prefetch::all(block);
        }
    }

    /// The best priority of a leaf's rules that match a header, and how many blocks were compared.
    #[inline(always)]
    pub(super) fn find<const W: usize>(&self, leaf: u32, key: &Key<W>) -> (u32, u32) {
        let mut compared = 0;
        while let Some(block) = self.blocks.get((leaf + compared) as usize) {
            let priority = block.find(self.classes.get((leaf + compared) as usize), key.port_word(), key.class);
            compared += 1;
            if priority != NONE || !block.goes_on() {
                return (priority, compared);
            }
        }
        (NONE, compared)
    }
}
