//! Places: answers, or what leads on to a block of rules.
//!
//! What [`take`] does for a header, AVX2 does for eight, with the same result.

/// Headers that are worked on together.
pub const GROUP: usize = super::simd::SIFT;

/// No answer. As a place, the answer that there is none.
pub const NONE: u32 = u32::MAX;

/// The place that leads on to a block. As signed numbers such places are below [`NONE`], and answers above, in words of
/// 16 bits as in those of 32.
#[must_use]
pub const fn leading_to(block: u32) -> u32 {
    NONE.wrapping_sub(1).wrapping_sub(block)
}

/// The block that a place leads on to.
#[inline(always)]
#[must_use]
pub const fn block(at: u32) -> u32 {
    leading_to(at)
}

/// The place that leads on to the block behind.
#[inline(always)]
#[must_use]
pub const fn next_block(at: u32) -> u32 {
    at.wrapping_sub(1)
}

/// The answer that a place is, [`NONE`] included; `None` if it leads on.
#[inline(always)]
#[must_use]
pub const fn answer(at: u32) -> Option<u32> {
    if at.cast_signed() >= -1 { Some(at) } else { None }
}

/// Puts down the answers of the first `len` headers, by their places, where they are less than what is known. Returns the
/// headers whose places lead on, as bits; those behind `len` are anything.
#[inline(always)]
pub fn take(at: &[u32; GROUP], len: usize, best: &mut [u32; GROUP]) -> u32 {
    let mut others = 0;
    for (number, (at, best)) in at.iter().zip(best).enumerate().take(len) {
        *best = (*best).min(answer(*at).unwrap_or(NONE));
        others |= u32::from(answer(*at).is_none()) << number;
    }
    others
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::take_eight;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    /// [`take`](super::take) for eight headers.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn take_eight(at: __m256i, best: &mut [u32; 8]) -> u32 {
        let none = _mm256_set1_epi32(-1);
        // What leads on becomes none.
        let found = _mm256_max_epi32(at, none);
        let leads_on = _mm256_cmpgt_epi32(none, at);
        // SAFETY: the array has the bytes of a vector, which needs no alignment.
        unsafe {
            let known = _mm256_loadu_si256(best.as_ptr().cast());
            _mm256_storeu_si256(best.as_mut_ptr().cast(), _mm256_min_epu32(known, found));
        }
        _mm256_movemask_ps(_mm256_castsi256_ps(leads_on)).cast_unsigned()
    }
}
