//! Leaves: eight rules a block, of which the addresses are known to match.

use super::super::Rule;
pub(super) use crate::mem::ranges::{Block, LANES};

/// Puts a rule into a lane.
pub(super) fn set<const W: usize>(block: &mut Block, lane: usize, rule: &Rule<W>) {
    for ((low, span), (from, to)) in block.low.iter_mut().zip(&mut block.span).zip(rule.low.into_iter().zip(rule.high))
    {
        if let (Some(low), Some(span)) = (low.get_mut(lane), span.get_mut(lane)) {
            (*low, *span) = (from, to.wrapping_sub(from));
        }
    }
    if let Some((class, mask)) = block.class.get_mut(lane).zip(block.class_mask.get_mut(lane)) {
        (*class, *mask) = (rule.class & rule.class_mask, rule.class_mask);
    }
    block.set_priority(lane, rule.priority);
}
