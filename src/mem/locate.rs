//! Tables of 16-bit entries, read one behind the other for many headers at once.
//!
//! What [`Locator::find`] does for a header, AVX2 does for eight, with the same result; both are here so that a test can
//! hold one to the other. Entries outside of a table are those of its last place.

/// Headers that are worked on together.
pub const GROUP: usize = super::simd::SIFT;

/// An entry of a trie leads on to the node with the number in its other bits; else it is a class.
pub const NODE: u16 = 1 << 15;

/// Columns of a chunk of cells.
pub const CHUNK: usize = 64;

/// Kinds of headers.
pub const KINDS: usize = 8;

/// The tables: two tries over addresses that end in classes, a grid of classes in chunks of columns, leaves by kind.
/// Each has one entry more than its numbers reach, and none is empty.
#[derive(Clone, Copy, Debug)]
pub struct Locator<'a> {
    /// For the upper 16 bits of source and destination address, an entry.
    pub roots: [&'a [u16]; 2],
    /// Nodes of 256 entries each.
    pub nodes: &'a [u16],
    /// For each row and each chunk of columns, the chunk's number.
    pub index: &'a [u16],
    /// Chunks of a row.
    pub index_columns: u32,
    /// For each cell, its leaf.
    pub chunks: &'a [u16],
    /// For each lower byte of a class, the kind of header.
    pub kinds: &'a [u16],
    /// For each leaf and kind, what is looked for.
    pub leaves: &'a [u16],
}

fn read(table: &[u16], index: u32) -> u32 {
    let last = table.len().saturating_sub(2);
    table.get((index as usize).min(last)).copied().unwrap_or(0).into()
}

impl Locator<'_> {
    /// An entry of a trie, followed by a byte of the address if it leads to a node.
    #[inline(always)]
    #[must_use]
    pub fn follow(nodes: &[u16], entry: u16, byte: u8) -> u16 {
        let is_node = (entry.cast_signed() >> 15).cast_unsigned();
        // The first node is read for nothing where there is no need.
        let next = read(nodes, u32::from(entry & is_node & !NODE) << 8 | u32::from(byte)) as u16;
        (entry & !is_node) | (next & is_node)
    }

    /// From classes of addresses and a header's class to what is looked for.
    #[inline(always)]
    #[must_use]
    pub fn find_by_classes(&self, row: u16, column: u16, class: u32) -> u32 {
        let (row, column) = (u32::from(row), u32::from(column));
        let chunk = read(self.index, row.wrapping_mul(self.index_columns).wrapping_add(column / CHUNK as u32));
        let leaf = read(self.chunks, chunk * CHUNK as u32 + column % CHUNK as u32);
        read(self.leaves, leaf * KINDS as u32 + read(self.kinds, class & 0xff))
    }

    /// The entry for the upper 16 bits of a source (0) or destination (1) address.
    #[inline(always)]
    #[must_use]
    pub fn enter(&self, side: usize, addr: u32) -> u16 {
        self.roots.get(side).map_or(0, |root| read(root, addr >> 16) as u16)
    }

    /// What is looked for.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, src: u32, dst: u32, class: u32) -> u32 {
        let [row, column] = [(0, src), (1, dst)].map(|(side, addr)| {
            let entry = Self::follow(self.nodes, self.enter(side, addr), (addr >> 8) as u8);
            Self::follow(self.nodes, entry, addr as u8)
        });
        self.find_by_classes(row, column, class)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::simd::Avx2;
    use super::{CHUNK, GROUP, KINDS, Locator};

    /// Lanes of a vector.
    const LANES: usize = 8;
    const STEPS: usize = GROUP / LANES;

    impl Avx2 {
        /// [`Locator::find`] for the first `len` headers of a group; what is found behind them is anything.
        #[inline(always)]
        pub fn locate(
            self,
            tables: &Locator,
            src: &[u32; GROUP],
            dst: &[u32; GROUP],
            class: &[u32; GROUP],
            len: usize,
            found: &mut [u32; GROUP],
        ) {
            // SAFETY: the token says that the processor has AVX2.
            unsafe {
                match len.div_ceil(LANES) {
                    0 | 1 => locate::<1>(tables, [src, dst], class, found),
                    2 => locate::<2>(tables, [src, dst], class, found),
                    3 => locate::<3>(tables, [src, dst], class, found),
                    _ => locate::<STEPS>(tables, [src, dst], class, found),
                }
            }
        }
    }

    /// Reads entries of a table; places behind it are those of the last one but one.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn read(table: &[u16], index: __m256i) -> __m256i {
        let Some(last) = table.len().checked_sub(2).and_then(|last| i32::try_from(last).ok()) else {
            return _mm256_setzero_si256();
        };
        let index = _mm256_min_epu32(index, _mm256_set1_epi32(last));
        // SAFETY: each index has two entries in the table, the four bytes that are read; no alignment is needed.
        let words = unsafe { _mm256_i32gather_epi32::<2>(table.as_ptr().cast(), index) };
        _mm256_and_si256(words, _mm256_set1_epi32(0xffff))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(words: &[u32; GROUP], step: usize) -> __m256i {
        debug_assert!(step < STEPS);
        // SAFETY: callers step through the array by whole vectors; the load needs no alignment.
        unsafe { _mm256_loadu_si256(words.as_ptr().add(step * LANES).cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[allow(clippy::indexing_slicing, clippy::needless_range_loop, reason = "loop variables below the arrays' lengths")]
    fn locate<const N: usize>(
        tables: &Locator,
        addrs: [&[u32; GROUP]; 2],
        class: &[u32; GROUP],
        found: &mut [u32; GROUP],
    ) {
        let byte = _mm256_set1_epi32(0xff);
        let mut entries = [[_mm256_setzero_si256(); N]; 2];
        for step in 0..N {
            entries[0][step] = read(tables.roots[0], _mm256_srli_epi32::<16>(load(addrs[0], step)));
            entries[1][step] = read(tables.roots[1], _mm256_srli_epi32::<16>(load(addrs[1], step)));
        }
        for shift in [8, 0] {
            let shift = _mm_cvtsi32_si128(shift);
            for step in 0..N {
                for side in 0..2 {
                    let addr = load(addrs[side], step);
                    let entry = entries[side][step];
                    // The bit that says so moves to the sign.
                    let is_node = _mm256_srai_epi32::<31>(_mm256_slli_epi32::<16>(entry));
                    let node = _mm256_and_si256(_mm256_slli_epi32::<8>(entry), _mm256_set1_epi32(0x7f_ff00));
                    let value = _mm256_and_si256(_mm256_srl_epi32(addr, shift), byte);
                    let place = _mm256_and_si256(_mm256_or_si256(node, value), is_node);
                    entries[side][step] = _mm256_blendv_epi8(entry, read(tables.nodes, place), is_node);
                }
            }
        }
        let columns = _mm256_set1_epi32(tables.index_columns.cast_signed());
        for step in 0..N {
            let (row, column) = (entries[0][step], entries[1][step]);
            let chunk_column = _mm256_srli_epi32::<{ CHUNK.ilog2() as i32 }>(column);
            let chunk = read(tables.index, _mm256_add_epi32(_mm256_mullo_epi32(row, columns), chunk_column));
            let within = _mm256_and_si256(column, _mm256_set1_epi32(CHUNK as i32 - 1));
            let cell = _mm256_or_si256(_mm256_slli_epi32::<{ CHUNK.ilog2() as i32 }>(chunk), within);
            entries[0][step] = read(tables.chunks, cell);
        }
        for step in 0..N {
            let kind = read(tables.kinds, _mm256_and_si256(load(class, step), byte));
            let leaf = _mm256_slli_epi32::<{ KINDS.ilog2() as i32 }>(entries[0][step]);
            let leaf = read(tables.leaves, _mm256_or_si256(leaf, kind));
            // SAFETY: the array has room for a whole vector at every step; the store needs no alignment.
            unsafe { _mm256_storeu_si256(found.as_mut_ptr().add(step * LANES).cast(), leaf) };
        }
    }
}
