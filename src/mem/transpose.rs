//! Headers word by word.
//!
//! What is done here four by four, AVX2 does for eight at once, with the same result.

use super::four::Four;
use super::simd::Vector;

/// Rows that are put side by side at once.
pub const ROWS: usize = 8;

/// The first words of eight rows go to the first of `to`, the second ones to the second and so on. Returns which rows are the
/// same as the one before, as bits; `before` is the one before the first.
#[inline(always)]
pub fn columns(rows: [Four; ROWS], before: Four, to: [&mut [u32; ROWS]; 4]) -> u32 {
    let [a, b, c, d, e, f, g, h] = rows;
    let (first, second) = ([a, b, c, d], [e, f, g, h]);
    for (to, (first, second)) in to.into_iter().zip(Four::columns(first).into_iter().zip(Four::columns(second))) {
        if let ([lower, upper], _) = to.as_chunks_mut() {
            first.store(lower);
            second.store(upper);
        }
    }
    Four::same_rows(first, [before, a, b, c]) | Four::same_rows(second, [d, e, f, g]) << 4
}

/// Where rows are.
pub trait Rows {
    /// A row by its number. Always inlined.
    fn row(&self, number: usize) -> Four;
}

impl Vector {
    /// [`columns`].
    #[inline(always)]
    pub fn columns(self, rows: [Four; ROWS], before: Four, to: [&mut [u32; ROWS]; 4]) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2() {
            return avx2.columns(rows, before, to);
        }
        columns(rows, before, to)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::columns_of;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::four::Four;
    use super::super::simd::Avx2;
    use super::ROWS;

    impl Avx2 {
        /// [`columns`](super::columns).
        #[inline(always)]
        pub fn columns(self, rows: [Four; ROWS], before: Four, to: [&mut [u32; ROWS]; 4]) -> u32 {
            // SAFETY: the token says that the processor has AVX2.
            unsafe { columns(rows, before, to) }
        }
    }

    /// Two vectors of four words as one.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn pair(lower: Four, upper: Four) -> __m256i {
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(lower.vector()), upper.vector())
    }

    /// The words of eight rows, of which each vector has two: those four rows apart.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn columns_of_pairs([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
        let (low_ab, high_ab) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let (low_cd, high_cd) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        [
            _mm256_unpacklo_epi64(low_ab, low_cd),
            _mm256_unpackhi_epi64(low_ab, low_cd),
            _mm256_unpacklo_epi64(high_ab, high_cd),
            _mm256_unpackhi_epi64(high_ab, high_cd),
        ]
    }

    /// The first words of eight rows, the second ones and so on.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn columns_of([a, b, c, d, e, f, g, h]: [Four; ROWS]) -> [__m256i; 4] {
        columns_of_pairs([pair(a, e), pair(b, f), pair(c, g), pair(d, h)])
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn columns(rows: [Four; ROWS], before: Four, to: [&mut [u32; ROWS]; 4]) -> u32 {
        let [a, b, c, d, e, f, g, h] = rows;
        let before = pair(before, d);
        let (a, b, c, d) = (pair(a, e), pair(b, f), pair(c, g), pair(d, h));
        let same = |a, b| _mm256_cmpeq_epi32(a, b);
        let ab = _mm256_packs_epi32(same(a, before), same(b, a));
        let cd = _mm256_packs_epi32(same(c, b), same(d, c));
        // A byte for each word, a word for each row.
        let all = _mm256_cmpeq_epi32(_mm256_packs_epi16(ab, cd), _mm256_set1_epi32(-1));
        for (to, column) in to.into_iter().zip(columns_of_pairs([a, b, c, d])) {
            // SAFETY: the array has the bytes of a vector; the store needs no alignment.
            unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), column) };
        }
        _mm256_movemask_ps(_mm256_castsi256_ps(all)).cast_unsigned()
    }
}
