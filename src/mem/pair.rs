//! Two rows that say what another row must be like.
//!
//! Such a row has four words: two that the other's must equal under masks; half words that the other's may be above by as much as
//! a span; and a half word to equal under a mask, above which half of the row's number is. `want` has what is wanted and the
//! lower half of the number, `mask` the masks, the spans, and the number's [`UPPER`] half.
//!
//! What is done here one by one, AVX2 does for both at once, with the same result.

use super::four::Four;

/// The bits of a number that its row has with the masks.
pub const UPPER: u32 = 0x3fff << 16;

const PORTS: [u32; 4] = [0, 0, u32::MAX, 0];
/// All that counts.
const ALL: [u32; 4] = [u32::MAX, u32::MAX, u32::MAX, 0xffff];

/// True if `row` is as wanted.
#[inline(always)]
#[must_use]
pub fn matches(want: Four, mask: Four, row: Four) -> bool {
    let ports = Four::new(&PORTS);
    // What is left of a word under its mask is nothing if it is the one that is wanted.
    let behind = row.and(mask.or(ports)).sub_halves(want);
    behind.halves_above(mask.and(ports)).and(Four::new(&ALL)).zeroes() == 15
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::four::Four;
    use super::super::simd::Avx2;
    use super::{ALL, PORTS, UPPER};

    impl Avx2 {
        /// The smaller number of the rows that [match](super::matches()), `u32::MAX` if none does.
        #[inline(always)]
        #[must_use]
        pub fn best_of_two(self, want: [Four; 2], mask: [Four; 2], row: Four) -> u32 {
            // SAFETY: the token says that the processor has AVX2.
            unsafe { best_of_two(want, mask, row) }
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn best_of_two(want: [Four; 2], mask: [Four; 2], row: Four) -> u32 {
        let pair = |[a, b]: [Four; 2]| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a.vector()), b.vector());
        let both = |words| pair([Four::new(words); 2]);
        let (want, mask, row) = (pair(want), pair(mask), pair([row; 2]));
        let (ports, zero) = (both(&PORTS), _mm256_setzero_si256());
        let behind = _mm256_sub_epi16(_mm256_and_si256(row, _mm256_or_si256(mask, ports)), want);
        let wrong = _mm256_and_si256(_mm256_subs_epu16(behind, _mm256_and_si256(mask, ports)), both(&ALL));
        // What is wrong with any of a row's words is wrong with each.
        let wrong = _mm256_or_si256(wrong, _mm256_shuffle_epi32::<0b0100_1110>(wrong));
        let wrong = _mm256_or_si256(wrong, _mm256_shuffle_epi32::<0b1011_0001>(wrong));
        let upper = _mm256_and_si256(mask, _mm256_set1_epi32(UPPER.cast_signed()));
        let numbers = _mm256_or_si256(_mm256_srli_epi32::<16>(want), upper);
        // The largest of what the numbers lack, as that is nothing where something is wrong.
        let lack = _mm256_andnot_si256(numbers, _mm256_cmpeq_epi32(wrong, zero));
        let most = _mm_max_epu32(_mm256_castsi256_si128(lack), _mm256_extracti128_si256::<1>(lack));
        !_mm_extract_epi32::<3>(most).cast_unsigned()
    }
}
