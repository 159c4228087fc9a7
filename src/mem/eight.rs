//! Eight 16-bit words, worked on together: SSE2 on x86-64, of which it is part; elsewhere arrays that compilers turn into
//! vectors.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

/// Eight words.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub struct Eight(__m128i);

/// Eight words.
#[cfg(not(target_arch = "x86_64"))]
pub type Eight = Portable;

/// Eight words, everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Portable([u16; 8]);

#[cfg(target_arch = "x86_64")]
impl Eight {
    /// From memory.
    #[inline(always)]
    #[must_use]
    pub fn new(words: &[u16; 8]) -> Self {
        // SAFETY: SSE2 is part of x86-64; the array has the 16 bytes that are read, and they need no alignment.
        Self(unsafe { _mm_loadu_si128(words.as_ptr().cast()) })
    }

    /// The same word eight times.
    #[inline(always)]
    #[must_use]
    pub fn splat(word: u16) -> Self {
        // SAFETY: SSE2 is part of x86-64.
        Self(unsafe { _mm_set1_epi16(word.cast_signed()) })
    }

    of_two! {
        /// Bits that are in both.
        and: _mm_and_si128;
        /// Bits that are in either.
        or: _mm_or_si128;
        /// Bits that are in one only.
        xor: _mm_xor_si128;
        /// Words less words, wrapping.
        less: _mm_sub_epi16;
        /// By how much words are above words, else zero.
        above: _mm_subs_epu16;
    }

    /// Which words are zero, as bits.
    #[inline(always)]
    #[must_use]
    pub fn zeroes(self) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            let zero = _mm_setzero_si128();
            _mm_movemask_epi8(_mm_packs_epi16(_mm_cmpeq_epi16(self.0, zero), zero)).cast_unsigned()
        }
    }
}

impl Portable {
    /// As [`Eight::new`].
    #[inline(always)]
    #[must_use]
    pub const fn new(words: &[u16; 8]) -> Self {
        Self(*words)
    }

    /// As [`Eight::splat`].
    #[inline(always)]
    #[must_use]
    pub const fn splat(word: u16) -> Self {
        Self([word; 8])
    }

    #[inline(always)]
    fn zip(self, other: Self, with: impl Fn(u16, u16) -> u16) -> Self {
        let mut words = self.0;
        for (word, other) in words.iter_mut().zip(other.0) {
            *word = with(*word, other);
        }
        Self(words)
    }

    /// As [`Eight::and`].
    #[inline(always)]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// As [`Eight::or`].
    #[inline(always)]
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// As [`Eight::xor`].
    #[inline(always)]
    #[must_use]
    pub fn xor(self, other: Self) -> Self {
        self.zip(other, |a, b| a ^ b)
    }

    /// As [`Eight::less`].
    #[inline(always)]
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        self.zip(other, u16::wrapping_sub)
    }

    /// As [`Eight::above`].
    #[inline(always)]
    #[must_use]
    pub fn above(self, other: Self) -> Self {
        self.zip(other, u16::saturating_sub)
    }

    /// As [`Eight::zeroes`].
    #[inline(always)]
    #[must_use]
    pub fn zeroes(self) -> u32 {
        const BITS: [u16; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
        self.0.iter().zip(BITS).fold(0, |bits, (word, bit)| bits | if *word == 0 { u32::from(bit) } else { 0 })
    }
}
