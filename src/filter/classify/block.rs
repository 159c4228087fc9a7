//! Four rules, compared with a header at once.
#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "every index is a loop variable below the constant length of the arrays, several of which go in step"
)]

use super::{Key, Rule};
use crate::mem::four::Four;

/// Rules of a block.
pub(super) const LANES: usize = 4;

/// Set in the last lane's priority if the leaf goes on in another block.
const MORE: u32 = 1 << 31;

/// Four rules, field by field; 128 bytes for IPv4. The lanes are in the order of priority, those in use first.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Block<const W: usize> {
    src: [[u32; LANES]; W],
    src_mask: [[u32; LANES]; W],
    dst: [[u32; LANES]; W],
    dst_mask: [[u32; LANES]; W],
    low: [[u16; 2]; LANES],
    /// Highest port less lowest.
    span: [[u16; 2]; LANES],
    class: [u16; LANES],
    class_mask: [u16; LANES],
    priority: [u32; LANES],
}

impl<const W: usize> Block<W> {
    /// Nothing matches it.
    pub(super) const EMPTY: Self = Self {
        src: [[1; LANES]; W],
        src_mask: [[0; LANES]; W],
        dst: [[1; LANES]; W],
        dst_mask: [[0; LANES]; W],
        low: [[0; 2]; LANES],
        span: [[0; 2]; LANES],
        class: [1; LANES],
        class_mask: [0; LANES],
        priority: [!MORE; LANES],
    };

    /// The best priority of the rules that match, `NONE` if none does.
    #[inline(always)]
    pub(super) fn find(&self, key: &Key<W>) -> u32 {
        let matching = self.matching(key);
        // The lanes are in the order of priority.
        let priority = self.priority[(matching | 1 << LANES).trailing_zeros() as usize & (LANES - 1)] & !MORE;
        priority | u32::from(matching == 0).wrapping_neg()
    }

    /// Lanes whose rules match, as bits.
    #[inline(always)]
    pub(super) fn matching(&self, key: &Key<W>) -> u32 {
        let [sport, dport] = key.ports.map(u32::from);
        let behind = Four::splat(sport | dport << 16).sub_halves(Four::from_pairs(&self.low));
        let mut wrong = behind.halves_above(Four::from_pairs(&self.span));
        let class = Four::splat(key.class).and(Four::from_halves(&self.class_mask));
        wrong = wrong.or(class.xor(Four::from_halves(&self.class)));
        for word in 0..W {
            for (addr, mask, want) in [
                (key.src[word], &self.src_mask[word], &self.src[word]),
                (key.dst[word], &self.dst_mask[word], &self.dst[word]),
            ] {
                wrong = wrong.or(Four::splat(addr).and(Four::new(mask)).xor(Four::new(want)));
            }
        }
        wrong.zeroes()
    }

    /// True if the leaf goes on in another block.
    #[inline(always)]
    pub(super) fn goes_on(&self) -> bool {
        self.priority[LANES - 1] & MORE != 0
    }

    pub(super) fn set_goes_on(&mut self, goes_on: bool) {
        self.priority[LANES - 1] &= !MORE;
        self.priority[LANES - 1] |= if goes_on { MORE } else { 0 };
    }

    /// The priority of the rule in a lane, if one is there.
    pub(super) fn priority(&self, lane: usize) -> Option<u32> {
        self.priority.get(lane).map(|priority| *priority & !MORE).filter(|priority| *priority != !MORE)
    }

    /// The rule in a lane, if one is there.
    pub(super) fn get(&self, lane: usize) -> Option<Rule<W>> {
        let priority = self.priority(lane)?;
        let word = |plane: &[[u32; LANES]; W]| plane.map(|lanes| lanes[lane]);
        let (low, span) = (self.low[lane], self.span[lane]);
        Some(Rule {
            src: word(&self.src),
            src_mask: word(&self.src_mask),
            dst: word(&self.dst),
            dst_mask: word(&self.dst_mask),
            low,
            high: [low[0].wrapping_add(span[0]), low[1].wrapping_add(span[1])],
            class: self.class[lane],
            class_mask: self.class_mask[lane],
            priority,
        })
    }

    fn copy_lane(&mut self, lane: usize, from: &Self) {
        for word in 0..W {
            self.src[word][lane] = from.src[word][lane];
            self.src_mask[word][lane] = from.src_mask[word][lane];
            self.dst[word][lane] = from.dst[word][lane];
            self.dst_mask[word][lane] = from.dst_mask[word][lane];
        }
        self.low[lane] = from.low[lane];
        self.span[lane] = from.span[lane];
        self.class[lane] = from.class[lane];
        self.class_mask[lane] = from.class_mask[lane];
        self.priority[lane] = from.priority[lane];
    }

    /// Puts a rule, or nothing, into a lane.
    pub(super) fn set(&mut self, lane: usize, rule: Option<&Rule<W>>) {
        let goes_on = self.goes_on();
        let Some(rule) = rule else {
            self.copy_lane(lane, &Self::EMPTY);
            self.set_goes_on(goes_on);
            return;
        };
        for word in 0..W {
            self.src[word][lane] = rule.src[word] & rule.src_mask[word];
            self.src_mask[word][lane] = rule.src_mask[word];
            self.dst[word][lane] = rule.dst[word] & rule.dst_mask[word];
            self.dst_mask[word][lane] = rule.dst_mask[word];
        }
        self.low[lane] = rule.low;
        self.span[lane] = [rule.high[0].wrapping_sub(rule.low[0]), rule.high[1].wrapping_sub(rule.low[1])];
        self.class[lane] = rule.class & rule.class_mask;
        self.class_mask[lane] = rule.class_mask;
        self.priority[lane] = rule.priority;
        self.set_goes_on(goes_on);
    }
}
