//! Eight rules, of which the addresses are known to match, compared with the rest of a header at once.

use super::super::{Key, NONE, Rule};
use crate::mem::eight::Eight;

/// Rules of a block.
pub(super) const LANES: usize = 8;

/// Set in the last lane's priority if the leaf goes on in the block behind.
const MORE: u32 = 1 << 31;

/// Eight rules in the order of priority, field by field: two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
pub(super) struct Block {
    low: [[u16; LANES]; 2],
    /// Highest port less lowest.
    span: [[u16; LANES]; 2],
    class: [u16; LANES],
    class_mask: [u16; LANES],
    priority: [u32; LANES],
}

impl Block {
    /// Nothing matches it.
    pub(super) const EMPTY: Self = Self {
        low: [[0; LANES]; 2],
        span: [[0; LANES]; 2],
        class: [1; LANES],
        class_mask: [0; LANES],
        priority: [!MORE; LANES],
    };

    /// Puts a rule into a lane.
    pub(super) fn set<const W: usize>(&mut self, lane: usize, rule: &Rule<W>) {
        for ((low, span), (from, to)) in
            self.low.iter_mut().zip(&mut self.span).zip(rule.low.into_iter().zip(rule.high))
        {
            if let (Some(low), Some(span)) = (low.get_mut(lane), span.get_mut(lane)) {
                (*low, *span) = (from, to.wrapping_sub(from));
            }
        }
        let class = self.class.get_mut(lane).zip(self.class_mask.get_mut(lane)).zip(self.priority.get_mut(lane));
        if let Some(((class, mask), priority)) = class {
            (*class, *mask) = (rule.class & rule.class_mask, rule.class_mask);
            *priority = rule.priority | *priority & MORE;
        }
    }

    pub(super) const fn set_goes_on(&mut self) {
        let [.., last] = &mut self.priority;
        *last |= MORE;
    }

    /// [`MORE`] if the leaf goes on in the block behind.
    #[inline(always)]
    pub(super) const fn goes_on(&self) -> u32 {
        let [.., last] = self.priority;
        last & MORE
    }

    /// The best priority of the rules that match, [`NONE`] if none does.
    #[inline(always)]
    pub(super) fn find<const W: usize>(&self, key: &Key<W>) -> u32 {
        let ([low_a, low_b], [span_a, span_b], [a, b]) = (&self.low, &self.span, key.ports);
        let wrong_a = Eight::splat(a).less(Eight::new(low_a)).above(Eight::new(span_a));
        let wrong_b = Eight::splat(b).less(Eight::new(low_b)).above(Eight::new(span_b));
        let class = Eight::splat(key.class).and(Eight::new(&self.class_mask)).xor(Eight::new(&self.class));
        let matching = wrong_a.or(wrong_b).or(class).zeroes();
        // The lanes are in the order of priority.
        let lane = (matching | 1 << LANES).trailing_zeros() as usize & (LANES - 1);
        let priority = self.priority.get(lane).map_or(NONE, |priority| priority & !MORE);
        priority | u32::from(matching == 0).wrapping_neg()
    }
}
