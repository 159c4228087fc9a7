//! Leaves: eight rules a block, of which the addresses are known to match.

use super::super::Rule;
pub(super) use crate::mem::ranges::{Block, LANES};

/// Puts a rule into a lane.
pub(super) fn set<const W: usize>(block: &mut Block, lane: usize, rule: &Rule<W>) {
    let ([low_a, low_b], [high_a, high_b]) = (rule.low, rule.high);
    let spans = [high_a.wrapping_sub(low_a), high_b.wrapping_sub(low_b)];
    if let (Some(low), Some(span), Some(class), Some(mask)) = (
        block.low.as_flattened_mut().get_mut(lane),
        block.span.as_flattened_mut().get_mut(lane),
        block.class.as_flattened_mut().get_mut(lane),
        block.class_mask.as_flattened_mut().get_mut(lane),
    ) {
        (*low, *span, *class, *mask) = (rule.low, spans, rule.class & rule.class_mask, rule.class_mask);
    }
    block.set_priority(lane, rule.priority);
}
