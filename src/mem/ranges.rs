//! Blocks of eight rules that say in which ranges two ports must be, in the order of priority, and what class a header must
//! have where nothing else says so.
//!
//! What [`Block::find`] does for a header, AVX2 does with half the instructions for all headers of a group.

use super::answers;
use super::four::Four;
use super::simd::Vector;

/// Rules of a block.
pub const LANES: usize = 8;

/// Set in the last lane's priority if more rules are in the block behind.
const MORE: u32 = 1 << 31;

/// What is found where nothing matches.
pub const NONE: u32 = u32::MAX;

/// Eight rules in two fours, field by field.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub struct Block {
    /// The lowest ports.
    pub low: [[[u16; 2]; 4]; 2],
    /// Highest ports less lowest.
    pub span: [[[u16; 2]; 4]; 2],
    /// Below 2^31.
    priority: [u32; LANES],
}

/// What they say of a header's class.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub struct Classes {
    /// Class under its mask.
    pub class: [[u16; 4]; 2],
    /// Its mask.
    pub mask: [[u16; 4]; 2],
}

impl Block {
    /// What each lane has matches ports of 0.
    pub const EMPTY: Self = Self { low: [[[0; 2]; 4]; 2], span: [[[0; 2]; 4]; 2], priority: [!MORE; LANES] };

    /// Sets the priority of the rule in a lane.
    pub const fn set_priority(&mut self, lane: usize, priority: u32) {
        if let Some((_, [to, ..])) = self.priority.split_at_mut_checked(lane) {
            *to = priority & !MORE | *to & MORE;
        }
    }

    /// Notes that more rules are in the block behind.
    pub const fn set_goes_on(&mut self) {
        let [.., last] = &mut self.priority;
        *last |= MORE;
    }

    /// True if more rules are in the block behind.
    #[inline(always)]
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        let [.., last] = self.priority;
        last & MORE != 0
    }

    /// The priority of the first of the lanes, [`NONE`] without any.
    #[inline(always)]
    fn first(&self, matching: u32) -> u32 {
        // Whether a rule matches is what no processor can foresee, so there is no branch.
        let lane = (matching | 1 << LANES).trailing_zeros() as usize & (LANES - 1);
        let priority = self.priority.get(lane).map_or(NONE, |priority| priority & !MORE);
        priority | u32::from(matching == 0).wrapping_neg()
    }

    /// The best priority of the rules that match two ports, the first in the lower half, and a class unless `classes` is
    /// `None`; [`NONE`] if none does.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, classes: Option<&Classes>, ports: u32, class: u32) -> u32 {
        let matching = |low, span, classes: Option<(_, _)>| {
            let mut wrong = Four::splat(ports).sub_halves(Four::from_pairs(low)).halves_above(Four::from_pairs(span));
            if let Some((want, mask)) = classes {
                let class = Four::splat(class & 0xffff).and(Four::from_halves(mask));
                wrong = wrong.or(class.xor(Four::from_halves(want)));
            }
            wrong.zeroes()
        };
        let ([low_a, low_b], [span_a, span_b]) = (&self.low, &self.span);
        let [class_a, class_b] = classes.map_or([None; 2], |Classes { class: [a, b], mask: [mask_a, mask_b] }| {
            [Some((a, mask_a)), Some((b, mask_b))]
        });
        self.first(matching(low_a, span_a, class_a) | matching(low_b, span_b, class_b) << 4)
    }
}

impl Classes {
    /// Nothing matches.
    pub const NONE: Self = Self { class: [[1; 4]; 2], mask: [[0; 4]; 2] };
}

/// Headers that go through blocks together.
pub const GROUP: usize = super::simd::SIFT;

/// Headers and where they are.
#[derive(Debug)]
pub struct Search<'a> {
    /// The blocks.
    pub blocks: &'a [Block],
    /// What each says of a header's class; empty if being at a block says that the class is right.
    pub classes: &'a [Classes],
    /// For each header, the place that leads to its block.
    pub at: &'a mut [u32; GROUP],
    /// Its ports, the first in the lower half.
    pub ports: &'a [u32; GROUP],
    /// Its class.
    pub class: &'a [u32; GROUP],
}

impl Search<'_> {
    /// Puts down what the blocks of the headers, which are given as bits, say, where it is better than what is known.
    /// Returns the headers that nothing matched so far and for which there is another block, to which it moves them.
    #[inline(always)]
    pub fn step(&mut self, headers: u32, best: &mut [u32; GROUP]) -> u32 {
        if self.classes.is_empty() {
            self.each(headers, best, |block, _, ports, _| block.find(None, ports, 0))
        } else {
            self.each(headers, best, Block::find)
        }
    }

    #[inline(always)]
    fn each(
        &mut self,
        mut headers: u32,
        best: &mut [u32; GROUP],
        find: impl Fn(&Block, Option<&Classes>, u32, u32) -> u32,
    ) -> u32 {
        let mut left = 0;
        while headers != 0 {
            let number = headers.trailing_zeros() as usize & (GROUP - 1);
            headers &= headers - 1;
            let (Some(at), Some(ports), Some(class), Some(best)) =
                (self.at.get(number), self.ports.get(number), self.class.get(number), best.get_mut(number))
            else {
                continue;
            };
            let place = answers::block(*at) as usize;
            if let Some(block) = self.blocks.get(place) {
                let priority = find(block, self.classes.get(place), *ports, *class);
                *best = (*best).min(priority);
                left |= u32::from((priority == NONE) & block.goes_on()) << number;
            }
        }
        let mut moving = left;
        while moving != 0 {
            if let Some(at) = self.at.get_mut(moving.trailing_zeros() as usize) {
                *at = answers::next_block(*at);
            }
            moving &= moving - 1;
        }
        left
    }
}

impl Vector {
    /// [`Search::step`].
    #[inline(always)]
    pub fn step(self, search: &mut Search, headers: u32, best: &mut [u32; GROUP]) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2() {
            return avx2.step(search, headers, best);
        }
        search.step(headers, best)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::simd::Avx2;
    use super::{Block, Classes, GROUP, Search};

    impl Avx2 {
        /// [`Search::step`].
        #[inline(always)]
        pub fn step(self, search: &mut Search, headers: u32, best: &mut [u32; GROUP]) -> u32 {
            // SAFETY: the token says that the processor has AVX2.
            unsafe { step(search, headers, best) }
        }
    }

    #[target_feature(enable = "avx2,bmi1")]
    fn step(search: &mut Search, headers: u32, best: &mut [u32; GROUP]) -> u32 {
        if search.classes.is_empty() {
            search.each(headers, best, |block, _, ports, _| block.first(lanes(wrong_ports(block, ports))))
        } else {
            search.each(headers, best, |block, classes, ports, class| {
                let wrong = classes.map_or(_mm256_setzero_si256(), |classes| wrong_class(classes, class));
                block.first(lanes(_mm256_or_si256(wrong_ports(block, ports), wrong)))
            })
        }
    }

    /// Zero in the lanes whose ranges have the ports.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn wrong_ports(block: &Block, ports: u32) -> __m256i {
        // SAFETY: each load is of as many bytes as the array has, and needs no alignment.
        let (low, span) =
            unsafe { (_mm256_loadu_si256(block.low.as_ptr().cast()), _mm256_loadu_si256(block.span.as_ptr().cast())) };
        _mm256_subs_epu16(_mm256_sub_epi16(_mm256_set1_epi32(ports.cast_signed()), low), span)
    }

    /// Zero in the lanes whose class it is.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn wrong_class(classes: &Classes, class: u32) -> __m256i {
        // SAFETY: as in `wrong_ports`.
        let (want, mask) =
            unsafe { (_mm_loadu_si128(classes.class.as_ptr().cast()), _mm_loadu_si128(classes.mask.as_ptr().cast())) };
        let class = _mm_and_si128(_mm_set1_epi16((class as u16).cast_signed()), mask);
        _mm256_cvtepu16_epi32(_mm_xor_si128(class, want))
    }

    /// Lanes that are zero, as bits.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn lanes(wrong: __m256i) -> u32 {
        let right = _mm256_cmpeq_epi32(wrong, _mm256_setzero_si256());
        _mm256_movemask_ps(_mm256_castsi256_ps(right)).cast_unsigned()
    }
}
