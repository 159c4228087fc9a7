//! Columns: one word of many frames side by side, so that all frames are asked at once.

#[cfg(target_arch = "x86_64")]
use super::simd::Avx2;
use super::simd::{Vector, Work};

/// Frames of a column.
pub const LANES: usize = 32;

/// A word of each frame.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub struct Column(pub [u32; LANES]);

/// The bit of each frame.
#[rustfmt::skip]
pub static BITS: [u32; LANES] = [
    1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7,
    1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15,
    1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22, 1 << 23,
    1 << 24, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30, 1 << 31,
];

/// So many keys are compared at a time.
pub const KEYS: usize = 4;

/// How columns are compared; the answers are bits.
pub trait Compare: Copy {
    /// Whose word under a mask is a key.
    fn equal(self, column: &Column, mask: u32, key: u32) -> u32;
    /// Whose word under a mask is one of these keys.
    fn any(self, column: &Column, mask: u32, keys: &[u32; KEYS]) -> u32;
    /// Whose word is greater.
    fn above(self, column: &Column, limit: u32) -> u32;
    /// Gives the words of some frames a value.
    fn put(self, word: u32, frames: u32, column: &mut Column);
}

/// What can be done with a way to compare.
pub trait Task {
    /// Does it. Always inlined.
    fn run(self, compare: impl Compare);
}

impl Vector {
    /// Does a task with the best way to compare.
    #[inline(always)]
    pub fn compare(self, task: impl Task) {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2() {
            return avx2.within(With(avx2, task));
        }
        With(Plain, task).run();
    }
}

struct With<C, T>(C, T);

impl<C: Compare, T: Task> Work for With<C, T> {
    #[inline(always)]
    fn run(self) {
        self.1.run(self.0);
    }
}

/// The frames for which a condition holds.
#[inline(always)]
pub fn gather(a: &Column, b: &Column, condition: impl Fn(u32, u32) -> bool) -> u32 {
    let mut yes = 0;
    for ((a, b), bit) in a.0.iter().zip(b.0).zip(BITS) {
        yes |= if condition(*a, b) { bit } else { 0 };
    }
    yes
}

/// Up to [`LANES`] frames.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a> {
    all: &'a [&'a [u8]],
    /// Of frames of 4 GiB and more, which no network has, the lower bits.
    lengths: Column,
    shortest: u32,
}

impl<'a> Frames<'a> {
    /// The first [`LANES`] of them.
    #[inline(always)]
    #[must_use]
    pub fn new(all: &'a [&'a [u8]]) -> Self {
        let all = all.get(..LANES).unwrap_or(all);
        let mut lengths = Column([u32::MAX; LANES]);
        let (fours, rest) = all.as_chunks();
        let mut out = lengths.0.chunks_exact_mut(4);
        for (frames, out) in fours.iter().zip(&mut out) {
            if let Some(out) = out.first_chunk_mut() {
                four(frames.map(|frame: &[u8]| frame.len() as u32), out);
            }
        }
        if let Some(out) = out.next() {
            for (out, frame) in out.iter_mut().zip(rest) {
                *out = frame.len() as u32;
            }
        }
        let shortest = lengths.0.iter().fold(u32::MAX, |least, len| least.min(*len));
        Self { all, lengths, shortest }
    }

    /// All of them.
    #[inline(always)]
    #[must_use]
    pub const fn all(&self) -> &'a [&'a [u8]] {
        self.all
    }

    /// The length of each.
    #[inline(always)]
    #[must_use]
    pub const fn lengths(&self) -> &Column {
        &self.lengths
    }

    /// The length of the shortest.
    #[inline(always)]
    #[must_use]
    pub const fn shortest(&self) -> u32 {
        self.shortest
    }

    /// The four bytes from an offset on of every frame, the first in the lowest bits. Of frames that end before them, zeros
    /// stand for what is not there; if only `whole` words are asked for, anything does.
    #[inline(always)]
    pub fn load(&self, offset: usize, whole: bool, column: &mut Column) {
        let reach = self.shortest as usize;
        if offset.checked_add(4).is_some_and(|end| end <= reach) {
            // SAFETY: no frame is shorter than `offset` and four bytes.
            self.each(column, |frame| unsafe { word(frame, offset) });
        } else if whole && reach >= 4 {
            // SAFETY: no frame is shorter than four bytes.
            self.each(column, |frame| unsafe { word(frame, offset.min(frame.len() - 4)) });
        } else {
            self.each(column, |frame| padded(frame, offset));
        }
    }

    #[inline(always)]
    fn each(&self, column: &mut Column, word: impl Fn(&[u8]) -> u32) {
        let (fours, rest) = self.all.as_chunks::<4>();
        let mut out = column.0.chunks_exact_mut(4);
        for (frames, out) in fours.iter().zip(&mut out) {
            if let Some(out) = out.first_chunk_mut() {
                four(frames.map(&word), out);
            }
        }
        if let Some(out) = out.next() {
            for (out, frame) in out.iter_mut().zip(rest) {
                *out = word(frame);
            }
        }
    }
}

/// Four bytes from an offset on.
///
/// # Safety
/// The frame has them.
#[inline(always)]
unsafe fn word(frame: &[u8], offset: usize) -> u32 {
    debug_assert!(offset + 4 <= frame.len());
    // SAFETY: the caller says that the bytes exist; `read_unaligned` needs no alignment.
    u32::from_le(unsafe { frame.as_ptr().add(offset).cast::<u32>().read_unaligned() })
}

/// Four bytes from an offset on, with zeros behind the end. Without a jump that depends on how long the frame is, but for
/// frames that no network has.
#[inline(always)]
#[must_use]
pub fn padded(frame: &[u8], offset: usize) -> u32 {
    let at = offset.min(frame.len().saturating_sub(4));
    match frame.get(at..).and_then(|bytes| bytes.first_chunk()) {
        Some(bytes) => (u64::from(u32::from_le_bytes(*bytes)) >> (8 * (offset - at).min(4))) as u32,
        None => (0..4).fold(0, |word, place| {
            let byte = offset.checked_add(place).and_then(|at| frame.get(at)).copied().unwrap_or(0);
            word | u32::from(byte) << (8 * place)
        }),
    }
}

/// Stores four words. They are put together in a register: a vector that is read soon after four separate stores waits
/// until these are in the cache.
#[inline(always)]
fn four(words: [u32; 4], out: &mut [u32; 4]) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::*;
        // SAFETY: SSE2 is part of x86-64; the array has the 16 bytes that are written, and they need no alignment.
        unsafe {
            let [a, b, c, d] = words.map(|word| _mm_cvtsi32_si128(word.cast_signed()));
            let all = _mm_unpacklo_epi64(_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
            _mm_storeu_si128(out.as_mut_ptr().cast(), all);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        *out = words;
    }
}

/// Without instructions that a processor may lack: on x86-64 with SSE2, elsewhere with [`Portable`].
#[derive(Clone, Copy, Debug)]
pub struct Plain;

/// The same everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Portable {
    #[inline(always)]
    fn gather(column: &Column, condition: impl Fn(u32) -> bool) -> u32 {
        gather(column, column, |word, _| condition(word))
    }
}

impl Compare for Portable {
    #[inline(always)]
    fn equal(self, column: &Column, mask: u32, key: u32) -> u32 {
        Self::gather(column, |word| word & mask == key)
    }

    #[inline(always)]
    fn any(self, column: &Column, mask: u32, keys: &[u32; KEYS]) -> u32 {
        Self::gather(column, |word| keys.iter().fold(false, |is, key| is | (word & mask == *key)))
    }

    #[inline(always)]
    fn above(self, column: &Column, limit: u32) -> u32 {
        Self::gather(column, |word| word > limit)
    }

    #[inline(always)]
    fn put(self, word: u32, frames: u32, column: &mut Column) {
        for (out, bit) in column.0.iter_mut().zip(BITS) {
            *out = if frames & bit == 0 { *out } else { word };
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Compare for Plain {
    #[inline(always)]
    fn equal(self, column: &Column, mask: u32, key: u32) -> u32 {
        Portable.equal(column, mask, key)
    }

    #[inline(always)]
    fn any(self, column: &Column, mask: u32, keys: &[u32; KEYS]) -> u32 {
        Portable.any(column, mask, keys)
    }

    #[inline(always)]
    fn above(self, column: &Column, limit: u32) -> u32 {
        Portable.above(column, limit)
    }

    #[inline(always)]
    fn put(self, word: u32, frames: u32, column: &mut Column) {
        Portable.put(word, frames, column);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{Avx2, BITS, Column, Compare, KEYS, LANES, Plain};

    /// Words of a vector of SSE2, and of AVX2.
    const FOUR: usize = 4;
    const EIGHT: usize = 8;

    impl Plain {
        /// For which words the vectors that `with` makes of four are ones; else they are zeros.
        #[inline(always)]
        fn ones(column: &Column, with: impl Fn(__m128i) -> __m128i) -> u32 {
            let words = column.0.as_ptr();
            // SAFETY: SSE2 is part of x86-64; the column has eight such vectors, and they need no alignment.
            unsafe {
                let one = |at: usize| with(_mm_loadu_si128(words.add(at * FOUR).cast()));
                let half = |at: usize| {
                    let (low, high) =
                        (_mm_packs_epi32(one(at), one(at + 1)), _mm_packs_epi32(one(at + 2), one(at + 3)));
                    _mm_movemask_epi8(_mm_packs_epi16(low, high)).cast_unsigned()
                };
                half(0) | half(4) << 16
            }
        }
    }

    #[inline(always)]
    fn splat(word: u32) -> __m128i {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_set1_epi32(word.cast_signed()) }
    }

    impl Compare for Plain {
        #[inline(always)]
        fn equal(self, column: &Column, mask: u32, key: u32) -> u32 {
            let (mask, key) = (splat(mask), splat(key));
            // SAFETY: SSE2 is part of x86-64.
            Self::ones(column, |words| unsafe { _mm_cmpeq_epi32(_mm_and_si128(words, mask), key) })
        }

        #[inline(always)]
        fn any(self, column: &Column, mask: u32, keys: &[u32; KEYS]) -> u32 {
            let (mask, [a, b, c, d]) = (splat(mask), keys.map(splat));
            // SAFETY: SSE2 is part of x86-64.
            Self::ones(column, |words| unsafe {
                let words = _mm_and_si128(words, mask);
                let is = |key| _mm_cmpeq_epi32(words, key);
                _mm_or_si128(_mm_or_si128(is(a), is(b)), _mm_or_si128(is(c), is(d)))
            })
        }

        #[inline(always)]
        fn above(self, column: &Column, limit: u32) -> u32 {
            // Comparisons are of signed numbers.
            let sign = splat(1 << 31);
            let limit = splat(limit ^ 1 << 31);
            // SAFETY: SSE2 is part of x86-64.
            Self::ones(column, |words| unsafe { _mm_cmpgt_epi32(_mm_xor_si128(words, sign), limit) })
        }

        #[inline(always)]
        fn put(self, word: u32, frames: u32, column: &mut Column) {
            let (word, frames) = (splat(word), splat(frames));
            let (out, bits) = (column.0.as_mut_ptr(), BITS.as_ptr());
            for at in (0..LANES).step_by(FOUR) {
                // SAFETY: SSE2 is part of x86-64; both arrays have these four words, and they need no alignment.
                unsafe {
                    let bits = _mm_loadu_si128(bits.add(at).cast());
                    let takes = _mm_cmpeq_epi32(_mm_and_si128(frames, bits), bits);
                    let out = out.add(at).cast();
                    let kept = _mm_andnot_si128(takes, _mm_loadu_si128(out));
                    _mm_storeu_si128(out, _mm_or_si128(kept, _mm_and_si128(takes, word)));
                }
            }
        }
    }

    impl Compare for Avx2 {
        #[inline(always)]
        fn equal(self, column: &Column, mask: u32, key: u32) -> u32 {
            // SAFETY: the token says that the processor has AVX2.
            unsafe { equal(column, mask, key) }
        }

        #[inline(always)]
        fn any(self, column: &Column, mask: u32, keys: &[u32; KEYS]) -> u32 {
            // SAFETY: the token says that the processor has AVX2.
            unsafe { any(column, mask, keys) }
        }

        #[inline(always)]
        fn above(self, column: &Column, limit: u32) -> u32 {
            // SAFETY: the token says that the processor has AVX2.
            unsafe { above(column, limit) }
        }

        #[inline(always)]
        fn put(self, word: u32, frames: u32, column: &mut Column) {
            // SAFETY: the token says that the processor has AVX2.
            unsafe { put(word, frames, column) }
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(column: &Column) -> [__m256i; 4] {
        let words = column.0.as_ptr();
        // SAFETY: the column has four such vectors; they need no alignment.
        let one = |at: usize| unsafe { _mm256_loadu_si256(words.add(at * EIGHT).cast()) };
        [one(0), one(1), one(2), one(3)]
    }

    /// Which words are ones; the others are zeros.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn ones([a, b, c, d]: [__m256i; 4]) -> u32 {
        let mixed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        // Both halves of vectors are packed by themselves: four bytes of a to d are in each.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        _mm256_movemask_epi8(_mm256_permutevar8x32_epi32(mixed, order)).cast_unsigned()
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn wide(word: u32) -> __m256i {
        _mm256_set1_epi32(word.cast_signed())
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn equal(column: &Column, mask: u32, key: u32) -> u32 {
        let ([a, b, c, d], mask, key) = (load(column), wide(mask), wide(key));
        let is = |words| _mm256_cmpeq_epi32(_mm256_and_si256(words, mask), key);
        ones([is(a), is(b), is(c), is(d)])
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn any(column: &Column, mask: u32, keys: &[u32; KEYS]) -> u32 {
        let ([a, b, c, d], mask, [first, second, third, fourth]) = (load(column), wide(mask), *keys);
        let (first, second, third, fourth) = (wide(first), wide(second), wide(third), wide(fourth));
        let is = |words| {
            let words = _mm256_and_si256(words, mask);
            let low = _mm256_or_si256(_mm256_cmpeq_epi32(words, first), _mm256_cmpeq_epi32(words, second));
            let high = _mm256_or_si256(_mm256_cmpeq_epi32(words, third), _mm256_cmpeq_epi32(words, fourth));
            _mm256_or_si256(low, high)
        };
        ones([is(a), is(b), is(c), is(d)])
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn above(column: &Column, limit: u32) -> u32 {
        let Some(least) = limit.checked_add(1) else { return 0 };
        let ([a, b, c, d], least) = (load(column), wide(least));
        let is = |words| _mm256_cmpeq_epi32(_mm256_max_epu32(words, least), words);
        ones([is(a), is(b), is(c), is(d)])
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn put(word: u32, frames: u32, column: &mut Column) {
        let (word, frames) = (wide(word), wide(frames));
        let (out, bits) = (column.0.as_mut_ptr(), BITS.as_ptr());
        for at in (0..LANES).step_by(EIGHT) {
            // SAFETY: both arrays have these eight words, and they need no alignment.
            unsafe {
                let bits = _mm256_loadu_si256(bits.add(at).cast());
                let takes = _mm256_cmpeq_epi32(_mm256_and_si256(frames, bits), bits);
                let out = out.add(at).cast();
                _mm256_storeu_si256(out, _mm256_blendv_epi8(_mm256_loadu_si256(out), word, takes));
            }
        }
    }
}
