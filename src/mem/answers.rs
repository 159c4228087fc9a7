//! Answers that are known by number.
//!
//! What [`Answers::take`] does for a header, AVX2 does for eight, with the same result.

use super::simd::Vector;

/// Headers that are worked on together.
pub const GROUP: usize = super::simd::SIFT;

/// What is no answer.
pub const NONE: u32 = u32::MAX;

/// Answers in a row.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    /// The number of the first one; what is below stands for something else.
    pub first: u32,
    /// The answers. The last is [`NONE`] and nobody's.
    pub answers: &'a [u32],
}

impl Answers<'_> {
    /// Puts down the answers of the first `len` headers, by their numbers, where they are less than what is known. Returns
    /// the headers whose numbers stand for none, as bits; those behind `len` are anything.
    #[inline(always)]
    pub fn take(self, at: &[u32; GROUP], len: usize, best: &mut [u32; GROUP]) -> u32 {
        let last = self.answers.len().saturating_sub(1);
        let mut others = 0;
        for (number, (at, best)) in at.iter().zip(best).enumerate().take(len) {
            let answer = (at.wrapping_sub(self.first) as usize).min(last);
            *best = (*best).min(self.answers.get(answer).copied().unwrap_or(NONE));
            others |= u32::from(answer == last) << number;
        }
        others
    }
}

impl Vector {
    /// [`Answers::take`].
    #[inline(always)]
    pub fn take(self, answers: Answers, at: &[u32; GROUP], len: usize, best: &mut [u32; GROUP]) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2() {
            return avx2.answer(answers, at, len, best);
        }
        answers.take(at, len, best)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::simd::Avx2;
    use super::{Answers, GROUP};

    /// Lanes of a vector.
    const LANES: usize = 8;

    impl Avx2 {
        /// [`Answers::take`].
        #[inline(always)]
        pub fn answer(self, answers: Answers, at: &[u32; GROUP], len: usize, best: &mut [u32; GROUP]) -> u32 {
            // SAFETY: the token says that the processor has AVX2.
            unsafe { answer(answers, at, len, best) }
        }
    }

    #[target_feature(enable = "avx2")]
    fn answer(Answers { first, answers }: Answers, at: &[u32; GROUP], len: usize, best: &mut [u32; GROUP]) -> u32 {
        let Some(last) = answers.len().checked_sub(1).and_then(|last| i32::try_from(last).ok()) else {
            return u32::MAX;
        };
        let (first, last) = (_mm256_set1_epi32(first.cast_signed()), _mm256_set1_epi32(last));
        let mut others = 0;
        let groups = at.as_chunks::<LANES>().0.iter().zip(best.as_chunks_mut::<LANES>().0).enumerate();
        for (number, (at, best)) in groups.take(len.div_ceil(LANES)) {
            // SAFETY: both have the bytes of a vector, which needs no alignment.
            let (at, known) =
                unsafe { (_mm256_loadu_si256(at.as_ptr().cast()), _mm256_loadu_si256(best.as_ptr().cast())) };
            let place = _mm256_min_epu32(_mm256_sub_epi32(at, first), last);
            // SAFETY: no place is behind the last answer.
            let found = unsafe { _mm256_i32gather_epi32::<4>(answers.as_ptr().cast(), place) };
            // SAFETY: as above.
            unsafe { _mm256_storeu_si256(best.as_mut_ptr().cast(), _mm256_min_epu32(known, found)) };
            let other = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(place, last)));
            others |= other.cast_unsigned() << (LANES * number);
        }
        others
    }
}
