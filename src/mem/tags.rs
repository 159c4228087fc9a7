//! Which of the tags of a bucket are the one that is looked for: all of them compared at once.

/// Tags that are compared.
pub const COUNT: usize = 12;
/// What stands in a row with them: the tags, and something else behind.
pub const ROW: usize = 16;

/// One bit per tag that is `tag`, the first tag's the lowest.
#[inline(always)]
#[must_use]
pub fn equal(tags: &[u8; ROW], tag: u8) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    return sse2::equal(tags, tag);
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
    plain::equal(tags, tag)
}

/// SSE2, which is part of x86-64.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
mod sse2 {
    use core::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_cvtsi32_si128, _mm_loadu_si128, _mm_movemask_epi8, _mm_shuffle_epi32,
    };

    use super::{COUNT, ROW};

    #[inline(always)]
    pub fn equal(tags: &[u8; ROW], tag: u8) -> u32 {
        let four = (u32::from(tag) * 0x0101_0101).cast_signed();
        // SAFETY: this is compiled only where SSE2 is there; 16 bytes are read, which are there, and need no alignment.
        let bits = unsafe {
            let tag = _mm_shuffle_epi32::<0>(_mm_cvtsi32_si128(four));
            _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(tags.as_ptr().cast()), tag))
        };
        bits.cast_unsigned() & ((1 << COUNT) - 1)
    }
}

/// The same in two plain registers, for every other processor.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))))]
pub(super) mod plain {
    use super::{COUNT, ROW};

    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;

    /// One bit per byte of `word` that is `tag`.
    #[inline(always)]
    fn bytes(word: u64, tag: u8) -> u32 {
        let x = word ^ (ONES * u64::from(tag));
        // The high bit of each byte that is zero: no carry goes from one to the next.
        let zero = !(((x & !HIGHS) + !HIGHS) | x) & HIGHS;
        // Gathers the eight high bits in the top byte.
        ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    }

    #[inline(always)]
    pub fn equal(tags: &[u8; ROW], tag: u8) -> u32 {
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *tags;
        let low = bytes(u64::from_le_bytes([a, b, c, d, e, f, g, h]), tag);
        let high = bytes(u64::from(u32::from_le_bytes([i, j, k, l])), tag);
        (low | high << 8) & ((1 << COUNT) - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_ways_of_comparing_agree_with_the_obvious_one(tags: [u8; super::ROW], tag: u8, few in any::<bool>()) {
            // Few different values make hits.
            let mask = if few { 3 } else { 0xff };
            let (tags, tag) = (tags.map(|tag| tag & mask), tag & mask);
            let expected = tags.iter().take(super::COUNT).enumerate().fold(0, |bits, (i, t)| bits | u32::from(*t == tag) << i);
            prop_assert_eq!(super::equal(&tags, tag), expected);
            prop_assert_eq!(super::plain::equal(&tags, tag), expected);
        }
    }
}
