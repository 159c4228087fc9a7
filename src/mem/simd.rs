//! Vector instructions that a processor may lack, and the proof that it has them.
//!
//! A token can only be had from a processor that has the instructions; what needs them is a method of the token. Every
//! such method does what portable code beside its caller does, and is tested against it.

#[cfg(target_arch = "x86_64")]
pub use x86::Avx2;

/// The vector instructions there are beyond those that every processor of the kind has.
#[derive(Clone, Copy, Debug)]
pub struct Vector {
    #[cfg(target_arch = "x86_64")]
    avx2: Option<Avx2>,
}

impl Vector {
    /// Asks the processor.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: Avx2::detect(),
        }
    }

    /// AVX2, if there is any.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    #[must_use]
    pub const fn avx2(self) -> Option<Avx2> {
        self.avx2
    }

    /// As if there were none.
    #[cfg(test)]
    pub const fn none() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: None,
        }
    }
}

/// Hash tables are asked about this many headers together.
pub const SIFT: usize = 32;

/// How many headers from the first one on hold all that are given as bits.
#[inline(always)]
#[must_use]
pub const fn reach(headers: u32) -> usize {
    (u32::BITS - headers.leading_zeros()) as usize
}

/// How one table is asked.
#[derive(Clone, Copy, Debug)]
pub struct Sieve<'a> {
    /// The slots of all tables.
    pub slots: &'a [u32],
    /// The table's first slot.
    pub base: u32,
    /// A hash shifted right by this is the slot's number in the table; the three bits below pick one of a slot's
    /// upper eight. 3 to 31.
    pub shift: u32,
    /// The bits of a slot that lead on: the lower ones.
    pub leaf_bits: u32,
}

/// What passes the sieve: numbers of headers, and what their slots lead to. Longer than needed by what one store
/// writes beyond the end.
#[derive(Clone, Debug)]
pub struct Sifted<const N: usize> {
    /// Which header.
    pub header: [u32; N],
    /// The lower bits of its slot.
    pub leaf: [u32; N],
    /// How many are in use.
    pub len: usize,
    /// The headers, as bits.
    pub which: u32,
}

impl<const N: usize> Sifted<N> {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { header: [0; N], leaf: [0; N], len: 0, which: 0 }
    }

    /// Appends a header if `passes`, without a branch that nobody could foresee. Nothing happens without room.
    #[inline(always)]
    pub fn add(&mut self, number: u32, to: u32, passes: bool) {
        if let (Some(header), Some(leaf)) = (self.header.get_mut(self.len), self.leaf.get_mut(self.len)) {
            (*header, *leaf) = (number, to);
            self.len += usize::from(passes);
            self.which |= u32::from(passes).wrapping_shl(number);
        }
    }
}

impl<const N: usize> Default for Sifted<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Something that is compiled anew for the instructions that it may use. Not a closure, as that is not inlined for sure.
pub trait Work {
    /// Does it. Always inlined, with all that is to use the instructions.
    fn run(self);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{SIFT, Sieve, Sifted, Work};

    /// The processor and the operating system know AVX2, and what every processor with it has besides: BMI1 and POPCNT,
    /// which a hypervisor may hide.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx2(());

    /// Lanes of a vector.
    const LANES: usize = 8;
    const STEPS: usize = SIFT / LANES;

    /// For each set of lanes, the lanes that are in it, moved to the front.
    static FRONT: [[u32; LANES]; 256] = front();

    const fn front() -> [[u32; LANES]; 256] {
        let mut table = [[0; LANES]; 256];
        let mut set = 0;
        while set < 256 {
            let (mut lane, mut to) = (0, 0);
            while lane < LANES {
                if set >> lane & 1 != 0 {
                    #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
                    {
                        table[set][to] = lane as u32;
                    }
                    to += 1;
                }
                lane += 1;
            }
            set += 1;
        }
        table
    }

    impl Avx2 {
        /// The token, if this processor has the instructions (Intel SDM volume 1, section 14.7.1: AVX and OSXSAVE of
        /// leaf 1, the state components SSE and AVX enabled in XCR0, AVX2 of leaf 7; volume 2, CPUID: POPCNT of leaf 1, BMI1 of
        /// leaf 7).
        #[must_use]
        pub fn detect() -> Option<Self> {
            if cfg!(miri) || __cpuid(0).eax < 7 {
                return None;
            }
            let basic = __cpuid(1).ecx;
            const POPCNT_OSXSAVE_AVX: u32 = 1 << 23 | 1 << 27 | 1 << 28;
            const BMI1_AVX2: u32 = 1 << 3 | 1 << 5;
            if basic & POPCNT_OSXSAVE_AVX != POPCNT_OSXSAVE_AVX {
                return None;
            }
            let enabled: u32;
            // SAFETY: OSXSAVE says that the instruction exists and may be used; it changes EAX and EDX only.
            unsafe {
                core::arch::asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _, options(nomem, nostack));
            }
            (enabled & 6 == 6 && __cpuid_count(7, 0).ebx & BMI1_AVX2 == BMI1_AVX2).then_some(Self(()))
        }

        /// Does `work`; what is inlined into it is compiled for these instructions.
        #[inline(always)]
        pub fn within(self, work: impl Work) {
            // SAFETY: the token says that the processor has all of them.
            unsafe { within(work) }
        }

        /// Hashes the first `len` headers: for each, the sum of its words, each under its mask and multiplied by its
        /// factor, mixed. Hashes behind them may change.
        #[inline(always)]
        pub fn hash<const N: usize>(
            self,
            words: &[[u32; SIFT]],
            masks: [u32; N],
            factors: [u32; N],
            len: usize,
            hashes: &mut [u32; SIFT],
        ) {
            if let Some(words) = words.first_chunk() {
                // SAFETY: the token says that the processor has AVX2.
                unsafe {
                    match len.div_ceil(LANES) {
                        0 | 1 => hash::<N, 1>(words, masks, factors, hashes),
                        2 => hash::<N, 2>(words, masks, factors, hashes),
                        3 => hash::<N, 3>(words, masks, factors, hashes),
                        _ => hash::<N, STEPS>(words, masks, factors, hashes),
                    }
                }
            }
        }

        /// Appends those of the headers, which are given as bits, whose slots have the bit that their hashes pick, and in
        /// the four bits above the leaf a number that is not above `limits`'.
        #[inline(always)]
        pub fn sift<const N: usize>(
            self,
            sieve: Sieve,
            hashes: &[u32; SIFT],
            limits: &[u32; SIFT],
            headers: u32,
            out: &mut Sifted<N>,
        ) {
            let last = (u32::MAX >> (sieve.shift & 31)) as usize + sieve.base as usize;
            if last >= sieve.slots.len() || i32::try_from(last).is_err() || out.len + SIFT > N {
                return;
            }
            // SAFETY: the token says that the processor has AVX2; no hash leads behind the slots, and the output has
            // room for every header.
            unsafe {
                match super::reach(headers).div_ceil(LANES) {
                    0 | 1 => sift::<N, 1>(sieve, hashes, limits, headers, out),
                    2 => sift::<N, 2>(sieve, hashes, limits, headers, out),
                    3 => sift::<N, 3>(sieve, hashes, limits, headers, out),
                    _ => sift::<N, STEPS>(sieve, hashes, limits, headers, out),
                }
            }
        }
    }

    #[target_feature(enable = "avx2,bmi1,popcnt")]
    fn within(work: impl Work) {
        work.run();
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(words: &[u32; SIFT], at: usize) -> __m256i {
        debug_assert!(at + LANES <= SIFT);
        // SAFETY: callers step through the array by whole vectors; the load needs no alignment.
        unsafe { _mm256_loadu_si256(words.as_ptr().add(at).cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[allow(clippy::indexing_slicing, clippy::needless_range_loop, reason = "loop variables below the arrays' lengths")]
    fn hash<const N: usize, const STEPS: usize>(
        words: &[[u32; SIFT]; N],
        masks: [u32; N],
        factors: [u32; N],
        hashes: &mut [u32; SIFT],
    ) {
        let splat = |word: u32| _mm256_set1_epi32(word.cast_signed());
        let mut sums = [_mm256_setzero_si256(); STEPS];
        for word in 0..N {
            if masks[word] == 0 {
                continue;
            }
            let (mask, factor) = (splat(masks[word]), splat(factors[word]));
            for step in 0..STEPS {
                let masked = _mm256_and_si256(load(&words[word], step * LANES), mask);
                sums[step] = _mm256_add_epi32(sums[step], _mm256_mullo_epi32(masked, factor));
            }
        }
        for step in 0..STEPS {
            let mixed = _mm256_xor_si256(sums[step], _mm256_srli_epi32::<15>(sums[step]));
            let mixed = _mm256_mullo_epi32(mixed, splat(super::MIX));
            // SAFETY: the array has room for a whole vector at every step; the store needs no alignment.
            unsafe { _mm256_storeu_si256(hashes.as_mut_ptr().add(step * LANES).cast(), mixed) };
        }
    }

    /// # Safety
    /// `STEPS` is at most 4; `base` and any number of `32 - shift` bits together are an index of a slot, and fit into an `i32`; `out` has
    /// room for 32 more.
    #[target_feature(enable = "avx2,popcnt")]
    unsafe fn sift<const N: usize, const STEPS: usize>(
        sieve: Sieve,
        hashes: &[u32; SIFT],
        limits: &[u32; SIFT],
        headers: u32,
        out: &mut Sifted<N>,
    ) {
        let count = |bits: u32| _mm_cvtsi32_si128(bits.cast_signed());
        let (to_slot, to_bit, to_limit) = (count(sieve.shift), count(sieve.shift - 3), count(sieve.leaf_bits));
        let leaf_mask = _mm256_set1_epi32((1i32 << sieve.leaf_bits) - 1);
        let mut numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        for at in (0..STEPS * LANES).step_by(LANES) {
            let hash = load(hashes, at);
            let index = _mm256_add_epi32(_mm256_srl_epi32(hash, to_slot), _mm256_set1_epi32(sieve.base.cast_signed()));
            // SAFETY: the caller's promise: each index is inside.
            let slot = unsafe { _mm256_i32gather_epi32::<4>(sieve.slots.as_ptr().cast(), index) };
            let bit = _mm256_and_si256(_mm256_srl_epi32(hash, to_bit), _mm256_set1_epi32(7));
            // The bit that the hash picks moves to the sign.
            let known = _mm256_sllv_epi32(slot, bit);
            let coarse = _mm256_and_si256(_mm256_srl_epi32(slot, to_limit), _mm256_set1_epi32(15));
            let worse = _mm256_cmpgt_epi32(coarse, load(limits, at));
            let pass = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_andnot_si256(worse, known)));
            let pass = pass.cast_unsigned() & headers >> at & 255;
            out.which |= pass << at;
            #[allow(clippy::indexing_slicing, reason = "a mask of eight lanes is below 256")]
            let front = &FRONT[pass as usize];
            // SAFETY: the caller's promise leaves room for the at most eight headers of each step behind those of the
            // steps before; loads and stores need no alignment.
            unsafe {
                let front = _mm256_loadu_si256(front.as_ptr().cast());
                let leaf = _mm256_and_si256(slot, leaf_mask);
                let header = out.header.as_mut_ptr().add(out.len);
                _mm256_storeu_si256(header.cast(), _mm256_permutevar8x32_epi32(numbers, front));
                let to = out.leaf.as_mut_ptr().add(out.len);
                _mm256_storeu_si256(to.cast(), _mm256_permutevar8x32_epi32(leaf, front));
            }
            out.len += pass.count_ones() as usize;
            numbers = _mm256_add_epi32(numbers, _mm256_set1_epi32(LANES as i32));
        }
    }
}

/// The last step of a hash multiplies by this.
pub const MIX: u32 = 0x2C1B_3C6D;
