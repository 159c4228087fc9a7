//! Blocks of eight rules that say in which ranges two ports must be and what class a header must have, in the order of
//! priority.
//!
//! What [`Block::find`] does for a header, AVX2 does with half the instructions for all headers of a group.

use super::eight::Eight;

/// Rules of a block.
pub const LANES: usize = 8;

/// Set in the last lane's priority if more rules are in the block behind.
const MORE: u32 = 1 << 31;

/// What is found where nothing matches.
pub const NONE: u32 = u32::MAX;

/// Eight rules, field by field: two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
pub struct Block {
    /// The lowest port on each side.
    pub low: [[u16; LANES]; 2],
    /// Highest port less lowest.
    pub span: [[u16; LANES]; 2],
    /// Class under its mask.
    pub class: [u16; LANES],
    /// Its mask.
    pub class_mask: [u16; LANES],
    /// Below 2^31.
    priority: [u32; LANES],
}

impl Block {
    /// Nothing matches it.
    pub const EMPTY: Self = Self {
        low: [[0; LANES]; 2],
        span: [[0; LANES]; 2],
        class: [1; LANES],
        class_mask: [0; LANES],
        priority: [!MORE; LANES],
    };

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
    fn best(&self, matching: u32) -> u32 {
        let lane = (matching | 1 << LANES).trailing_zeros() as usize & (LANES - 1);
        let priority = self.priority.get(lane).map_or(NONE, |priority| priority & !MORE);
        priority | u32::from(matching == 0).wrapping_neg()
    }

    /// The best priority of the rules that match two ports, the first in the lower half, and a class; [`NONE`] if none
    /// does.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, ports: u32, class: u32) -> u32 {
        let ([low_a, low_b], [span_a, span_b]) = (&self.low, &self.span);
        let wrong_a = Eight::splat(ports as u16).less(Eight::new(low_a)).above(Eight::new(span_a));
        let wrong_b = Eight::splat((ports >> 16) as u16).less(Eight::new(low_b)).above(Eight::new(span_b));
        let class = Eight::splat(class as u16).and(Eight::new(&self.class_mask)).xor(Eight::new(&self.class));
        self.best(wrong_a.or(wrong_b).or(class).zeroes())
    }
}

/// Headers that go through blocks together.
pub const GROUP: usize = super::simd::SIFT;

/// Headers and where they are.
#[derive(Debug)]
pub struct Search<'a> {
    /// The blocks.
    pub blocks: &'a [Block],
    /// For each header, its block.
    pub at: &'a mut [u32; GROUP],
    /// Its ports, the first in the lower half.
    pub ports: &'a [u32; GROUP],
    /// Its class.
    pub class: &'a [u32; GROUP],
}

impl Search<'_> {
    /// Puts down what the blocks of the headers, which are given as bits, say. Returns the headers that nothing matched so
    /// far and for which there is another block, to which it moves them.
    #[inline(always)]
    pub fn step(&mut self, headers: u32, found: &mut [u32; GROUP]) -> u32 {
        self.each(headers, found, Block::find)
    }

    #[inline(always)]
    fn each(&mut self, mut headers: u32, found: &mut [u32; GROUP], find: impl Fn(&Block, u32, u32) -> u32) -> u32 {
        let mut left = 0;
        while headers != 0 {
            let number = headers.trailing_zeros() as usize & (GROUP - 1);
            headers &= headers - 1;
            let (Some(at), Some(ports), Some(class), Some(found)) =
                (self.at.get_mut(number), self.ports.get(number), self.class.get(number), found.get_mut(number))
            else {
                continue;
            };
            if let Some(block) = self.blocks.get(*at as usize) {
                let best = find(block, *ports, *class);
                *found = best;
                let goes_on = u32::from((best == NONE) & block.goes_on());
                *at += goes_on;
                left |= goes_on << number;
            }
        }
        left
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::simd::Avx2;
    use super::{Block, GROUP, Search};

    impl Avx2 {
        /// [`Search::step`].
        #[inline(always)]
        pub fn step(self, search: &mut Search, headers: u32, found: &mut [u32; GROUP]) -> u32 {
            // SAFETY: the token says that the processor has AVX2.
            unsafe { step(search, headers, found) }
        }
    }

    #[target_feature(enable = "avx2,bmi1")]
    fn step(search: &mut Search, headers: u32, found: &mut [u32; GROUP]) -> u32 {
        search.each(headers, found, |block, ports, class| block.best(matching(block, ports, class)))
    }

    /// Lanes whose rules match, as bits.
    #[target_feature(enable = "avx2,bmi1")]
    #[inline]
    fn matching(block: &Block, ports: u32, class: u32) -> u32 {
        // The first port in the lower eight words, the second in the upper ones.
        const SPREAD: [u8; 32] = {
            let mut spread = [0; 32];
            let mut at = 0;
            while at < 32 {
                #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
                {
                    spread[at] = (at & 1) as u8 + if at < 16 { 0 } else { 2 };
                }
                at += 1;
            }
            spread
        };
        // SAFETY: each load is of as many bytes as the array has, and needs no alignment.
        let (spread, low, span, want, mask) = unsafe {
            (
                _mm256_loadu_si256(SPREAD.as_ptr().cast()),
                _mm256_loadu_si256(block.low.as_ptr().cast()),
                _mm256_loadu_si256(block.span.as_ptr().cast()),
                _mm_loadu_si128(block.class.as_ptr().cast()),
                _mm_loadu_si128(block.class_mask.as_ptr().cast()),
            )
        };
        let ports = _mm256_shuffle_epi8(_mm256_set1_epi32(ports.cast_signed()), spread);
        let wrong = _mm256_subs_epu16(_mm256_sub_epi16(ports, low), span);
        let class = _mm_xor_si128(_mm_and_si128(_mm_set1_epi16((class as u16).cast_signed()), mask), want);
        let wrong = _mm_or_si128(_mm256_castsi256_si128(wrong), _mm256_extracti128_si256::<1>(wrong));
        let right = _mm_cmpeq_epi16(_mm_or_si128(wrong, class), _mm_setzero_si128());
        _mm_movemask_epi8(_mm_packs_epi16(right, _mm_setzero_si128())).cast_unsigned()
    }
}
