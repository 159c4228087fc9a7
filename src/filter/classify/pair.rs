//! Two rules of one leaf or of two, compared with a header at once.
#![allow(clippy::indexing_slicing, reason = "every index is below the constant length of the arrays")]

use super::{Key, Rule};
use crate::mem::four::Four;
use crate::mem::pair::{self, UPPER};
use crate::mem::simd::Vector;

/// Rules of a pair.
pub(super) const LANES: usize = 2;

/// Set above the upper half of a priority if its leaf goes on behind, and if it has the other lane, too.
const MORE: u32 = 1 << 31;
const BOTH: u32 = 1 << 30;

/// The priority of no rule.
const VACANT: u32 = UPPER | 0xffff;

/// The words of a rule in the order of those of a header.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Words<const W: usize> {
    src: [u32; W],
    dst: [u32; W],
    ports: u32,
    /// Above the class is half of the priority.
    class: u32,
}

/// Two rules; a cache line for IPv4.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Pair<const W: usize> {
    /// Addresses, lowest ports and class.
    want: [Words<W>; LANES],
    /// The masks of addresses and class; highest ports less lowest.
    mask: [Words<W>; LANES],
}

const _: () = assert!(size_of::<Pair<1>>() == 64);

impl<const W: usize> Words<W> {
    /// The last words of the addresses, and the others.
    #[inline(always)]
    fn row(&self) -> Four {
        Four::new(&[self.src[W - 1], self.dst[W - 1], self.ports, self.class])
    }
}

/// A header's.
#[inline(always)]
fn row<const W: usize>(key: &Key<W>) -> Four {
    Four::new(&[key.src[W - 1], key.dst[W - 1], key.port_word(), key.class])
}

const fn both([a, b]: [u16; 2]) -> u32 {
    a as u32 | (b as u32) << 16
}

const fn apart(ports: u32) -> [u16; 2] {
    [ports as u16, (ports >> 16) as u16]
}

impl<const W: usize> Pair<W> {
    /// Nothing matches it.
    pub(super) const EMPTY: Self = Self {
        want: [Words { src: [1; W], dst: [1; W], ports: 0, class: 0xffff << 16 }; LANES],
        mask: [Words { src: [0; W], dst: [0; W], ports: 0, class: UPPER }; LANES],
    };

    #[inline(always)]
    const fn priority_bits(&self, lane: usize) -> u32 {
        self.want[lane].class >> 16 | self.mask[lane].class & UPPER
    }

    #[inline(always)]
    fn matches(&self, lane: usize, key: &Key<W>) -> bool {
        let (want, mask) = (&self.want[lane], &self.mask[lane]);
        let mut others = 0;
        for word in 0..W - 1 {
            others |= key.src[word] & mask.src[word] ^ want.src[word];
            others |= key.dst[word] & mask.dst[word] ^ want.dst[word];
        }
        pair::matches(want.row(), mask.row(), row(key)) & (others == 0)
    }

    /// True if what is in the chain behind can be better than what was found: it is worse than the rule here.
    #[inline(always)]
    pub(super) const fn can_be_behind(&self, lane: usize, found: u32) -> bool {
        found > self.priority_bits(lane & 1)
    }

    /// The best priority of the rules that match, whether they are of one leaf or of two.
    #[inline(always)]
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "there is nothing in the token"))]
    pub(super) fn best(&self, vector: Vector, key: &Key<W>) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if let (1, Some(avx2)) = (W, vector.avx2()) {
            let ([a, b], [mask_a, mask_b]) = (&self.want, &self.mask);
            return avx2.best_of_two([a.row(), b.row()], [mask_a.row(), mask_b.row()], row(key));
        }
        let best = |lane: usize| self.priority_bits(lane) | u32::from(self.matches(lane, key)).wrapping_sub(1);
        best(0).min(best(1))
    }

    #[inline(always)]
    const fn has(&self, lane: usize, flag: u32) -> bool {
        self.mask[lane & 1].class & flag != 0
    }

    const fn put(&mut self, lane: usize, flag: u32, is_set: bool) {
        let class = &mut self.mask[lane & 1].class;
        *class = *class & !flag | if is_set { flag } else { 0 };
    }

    /// True if the leaf goes on behind.
    #[inline(always)]
    pub(super) const fn goes_on(&self, lane: usize) -> bool {
        self.has(lane, MORE)
    }

    pub(super) const fn set_goes_on(&mut self, lane: usize, goes_on: bool) {
        self.put(lane, MORE, goes_on);
    }

    /// True if the leaf has the other lane, too.
    pub(super) const fn has_both(&self, lane: usize) -> bool {
        self.has(lane, BOTH)
    }

    pub(super) const fn set_both(&mut self, lane: usize, has_both: bool) {
        self.put(lane, BOTH, has_both);
    }

    /// The rule in a lane, if one is there.
    pub(super) fn get(&self, lane: usize) -> Option<Rule<W>> {
        let (want, mask) = (self.want.get(lane)?, self.mask.get(lane)?);
        let priority = self.priority_bits(lane);
        let ([low_a, low_b], [span_a, span_b]) = (apart(want.ports), apart(mask.ports));
        (priority != VACANT).then_some(Rule {
            src: want.src,
            src_mask: mask.src,
            dst: want.dst,
            dst_mask: mask.dst,
            low: [low_a, low_b],
            high: [low_a.wrapping_add(span_a), low_b.wrapping_add(span_b)],
            class: want.class as u16,
            class_mask: mask.class as u16,
            priority,
        })
    }

    /// Puts a rule, or nothing, into a lane.
    pub(super) fn set(&mut self, lane: usize, rule: Option<&Rule<W>>) {
        let (Some(want), Some(mask)) = (self.want.get_mut(lane), self.mask.get_mut(lane)) else {
            return;
        };
        let flags = mask.class & (MORE | BOTH);
        (*want, *mask) = rule.map_or((Self::EMPTY.want[0], Self::EMPTY.mask[0]), |rule| {
            let under = |addr: &[u32; W], mask: &[u32; W]| core::array::from_fn(|word| addr[word] & mask[word]);
            let ([low_a, low_b], [high_a, high_b]) = (rule.low, rule.high);
            let want = Words {
                src: under(&rule.src, &rule.src_mask),
                dst: under(&rule.dst, &rule.dst_mask),
                ports: both(rule.low),
                class: u32::from(rule.class & rule.class_mask) | rule.priority << 16,
            };
            let mask = Words {
                src: rule.src_mask,
                dst: rule.dst_mask,
                ports: both([high_a.wrapping_sub(low_a), high_b.wrapping_sub(low_b)]),
                class: u32::from(rule.class_mask) | rule.priority & UPPER,
            };
            (want, mask)
        });
        mask.class |= flags;
    }
}
