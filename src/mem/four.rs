//! Four 32-bit words, worked on together: SSE2 on x86-64, of which it is part; elsewhere arrays that compilers turn into
//! vectors.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

/// Four words.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub struct Four(__m128i);

/// Four words.
#[cfg(not(target_arch = "x86_64"))]
pub type Four = Portable;

/// Four words, everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Portable([u32; 4]);

#[cfg(target_arch = "x86_64")]
impl Four {
    /// From memory.
    #[inline(always)]
    #[must_use]
    pub fn new(words: &[u32; 4]) -> Self {
        // SAFETY: SSE2 is part of x86-64; the array has the 16 bytes that are read, and they need no alignment.
        Self(unsafe { _mm_loadu_si128(words.as_ptr().cast()) })
    }

    /// The vector.
    #[inline(always)]
    pub(super) const fn vector(self) -> __m128i {
        self.0
    }

    /// From pairs of half words, the first of each in the lower half.
    #[inline(always)]
    #[must_use]
    pub fn from_pairs(pairs: &[[u16; 2]; 4]) -> Self {
        // SAFETY: as in `new`.
        Self(unsafe { _mm_loadu_si128(pairs.as_ptr().cast()) })
    }

    /// From half words; the upper halves are zero.
    #[inline(always)]
    #[must_use]
    pub fn from_halves(halves: &[u16; 4]) -> Self {
        // SAFETY: SSE2 is part of x86-64; the array has the 8 bytes that are read, and they need no alignment.
        Self(unsafe { _mm_unpacklo_epi16(_mm_loadl_epi64(halves.as_ptr().cast()), _mm_setzero_si128()) })
    }

    /// The same word four times.
    #[inline(always)]
    #[must_use]
    pub fn splat(word: u32) -> Self {
        // SAFETY: SSE2 is part of x86-64.
        Self(unsafe { _mm_set1_epi32(word.cast_signed()) })
    }

    of_two! {
        /// Bits that are in both.
        and: _mm_and_si128;
        /// Bits that are in either.
        or: _mm_or_si128;
        /// Bits that are in one only.
        xor: _mm_xor_si128;
        /// Half words less half words, wrapping.
        sub_halves: _mm_sub_epi16;
        /// By how much half words are above half words, else zero.
        halves_above: _mm_subs_epu16;
    }

    /// Into memory.
    #[inline(always)]
    pub fn store(self, words: &mut [u32; 4]) {
        // SAFETY: SSE2 is part of x86-64; the array has the 16 bytes that are written, and they need no alignment.
        unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), self.0) };
    }

    /// The first words of four rows, the second ones and so on.
    #[inline(always)]
    #[must_use]
    pub fn columns(rows: [Self; 4]) -> [Self; 4] {
        let [a, b, c, d] = rows.map(|row| row.0);
        // SAFETY: SSE2 is part of x86-64.
        let columns = unsafe {
            let (low_ab, high_ab) = (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
            let (low_cd, high_cd) = (_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d));
            [
                _mm_unpacklo_epi64(low_ab, low_cd),
                _mm_unpackhi_epi64(low_ab, low_cd),
                _mm_unpacklo_epi64(high_ab, high_cd),
                _mm_unpackhi_epi64(high_ab, high_cd),
            ]
        };
        columns.map(Self)
    }

    /// Which rows are the same as those of the others, as bits.
    #[inline(always)]
    #[must_use]
    pub fn same_rows(rows: [Self; 4], others: [Self; 4]) -> u32 {
        let ([a, b, c, d], [e, f, g, h]) = (rows, others);
        // SAFETY: SSE2 is part of x86-64.
        let bits = unsafe {
            let ab = _mm_packs_epi32(_mm_cmpeq_epi32(a.0, e.0), _mm_cmpeq_epi32(b.0, f.0));
            let cd = _mm_packs_epi32(_mm_cmpeq_epi32(c.0, g.0), _mm_cmpeq_epi32(d.0, h.0));
            // A byte for each word, a word for each row.
            let all = _mm_cmpeq_epi32(_mm_packs_epi16(ab, cd), _mm_set1_epi32(-1));
            _mm_movemask_ps(_mm_castsi128_ps(all))
        };
        bits.cast_unsigned()
    }

    /// Which words are above the other's as signed numbers, as bits.
    #[inline(always)]
    #[must_use]
    pub fn above(self, other: Self) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpgt_epi32(self.0, other.0))) }.cast_unsigned()
    }

    /// Which words are zero, as bits.
    #[inline(always)]
    #[must_use]
    pub fn zeroes(self) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(self.0, _mm_setzero_si128()))) }.cast_unsigned()
    }
}

impl Portable {
    /// As [`Four::new`].
    #[inline(always)]
    #[must_use]
    pub const fn new(words: &[u32; 4]) -> Self {
        Self(*words)
    }

    /// As [`Four::from_pairs`].
    #[inline(always)]
    #[must_use]
    pub fn from_pairs(pairs: &[[u16; 2]; 4]) -> Self {
        Self(pairs.map(|[a, b]| u32::from(a) | u32::from(b) << 16))
    }

    /// As [`Four::from_halves`].
    #[inline(always)]
    #[must_use]
    pub fn from_halves(halves: &[u16; 4]) -> Self {
        Self(halves.map(u32::from))
    }

    /// As [`Four::splat`].
    #[inline(always)]
    #[must_use]
    pub const fn splat(word: u32) -> Self {
        Self([word; 4])
    }

    #[inline(always)]
    fn zip(self, other: Self, with: impl Fn(u32, u32) -> u32) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([with(a, e), with(b, f), with(c, g), with(d, h)])
    }

    #[inline(always)]
    fn zip_halves(self, other: Self, with: impl Fn(u16, u16) -> u16) -> Self {
        self.zip(other, |a, b| {
            u32::from(with(a as u16, b as u16)) | u32::from(with((a >> 16) as u16, (b >> 16) as u16)) << 16
        })
    }

    /// As [`Four::and`].
    #[inline(always)]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// As [`Four::or`].
    #[inline(always)]
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// As [`Four::xor`].
    #[inline(always)]
    #[must_use]
    pub fn xor(self, other: Self) -> Self {
        self.zip(other, |a, b| a ^ b)
    }

    /// As [`Four::sub_halves`].
    #[inline(always)]
    #[must_use]
    pub fn sub_halves(self, other: Self) -> Self {
        self.zip_halves(other, u16::wrapping_sub)
    }

    /// As [`Four::halves_above`].
    #[inline(always)]
    #[must_use]
    pub fn halves_above(self, other: Self) -> Self {
        self.zip_halves(other, u16::saturating_sub)
    }

    /// As [`Four::store`].
    #[inline(always)]
    pub const fn store(self, words: &mut [u32; 4]) {
        *words = self.0;
    }

    /// As [`Four::columns`].
    #[inline(always)]
    #[must_use]
    pub fn columns(rows: [Self; 4]) -> [Self; 4] {
        let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = rows.map(|row| row.0);
        [[a, e, i, m], [b, f, j, n], [c, g, k, o], [d, h, l, p]].map(Self)
    }

    /// As [`Four::same_rows`].
    #[inline(always)]
    #[must_use]
    pub fn same_rows(rows: [Self; 4], others: [Self; 4]) -> u32 {
        let [a, b, c, d] = core::array::from_fn(|row| {
            rows.get(row).zip(others.get(row)).map_or(0, |(row, other)| u32::from(row.0 == other.0))
        });
        a | b << 1 | c << 2 | d << 3
    }

    /// As [`Four::above`].
    #[inline(always)]
    #[must_use]
    pub fn above(self, other: Self) -> u32 {
        let pairs = self.0.iter().zip(other.0).rev();
        pairs.fold(0, |bits, (word, other)| bits << 1 | u32::from(word.cast_signed() > other.cast_signed()))
    }

    /// As [`Four::zeroes`].
    #[inline(always)]
    #[must_use]
    pub fn zeroes(self) -> u32 {
        let [a, b, c, d] = self.0.map(|word| u32::from(word == 0));
        a | b << 1 | c << 2 | d << 3
    }
}
