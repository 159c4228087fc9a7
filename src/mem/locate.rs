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

/// Most kinds of headers beside the one of all others.
pub const KINDS: usize = 7;

/// Which kind a header is of, by the lower byte of its class, and where the rows of each kind begin. Those of all others
/// begin at 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kinds {
    values: [u32; KINDS],
    starts: [u32; KINDS],
    len: usize,
}

impl Kinds {
    /// Adds a kind. Nothing happens if there are [`KINDS`] already.
    pub const fn push(&mut self, value: u8, start: u32) {
        if let Some((_, [to, ..])) = self.values.split_at_mut_checked(self.len)
            && let Some((_, [from, ..])) = self.starts.split_at_mut_checked(self.len)
        {
            (*to, *from) = (value as u32, start);
            self.len += 1;
        }
    }

    fn all(&self) -> impl Iterator<Item = (u32, u32)> {
        self.values.into_iter().zip(self.starts).take(self.len)
    }

    /// Where the rows of a header's kind begin.
    #[inline(always)]
    fn start(&self, class: u32) -> u32 {
        self.all().fold(0, |start, (value, from)| if class & 0xff == value { from } else { start })
    }
}

/// The tables: two tries over addresses that end in classes, and for each kind of headers a grid of classes in chunks of
/// columns. Each has one entry more than its numbers reach, and none is empty.
#[derive(Clone, Copy, Debug)]
pub struct Locator<'a> {
    /// For the upper 16 bits of source and destination address, an entry.
    pub roots: [&'a [u16]; 2],
    /// Nodes of 256 entries each.
    pub nodes: &'a [u16],
    /// Where the rows of each kind begin in the index.
    pub kinds: &'a Kinds,
    /// For each kind, row and chunk of columns, the chunk's number.
    pub index: &'a [u16],
    /// Chunks of a row.
    pub index_columns: u32,
    /// For each cell, what is looked for, in one word or two, the lower one first.
    pub chunks: &'a [u16],
    /// It has two.
    pub is_wide: bool,
}

fn read(table: &[u16], index: u32) -> u32 {
    read_two(table, index) & 0xffff
}

/// An entry, and above it the one behind.
fn read_two(table: &[u16], index: u32) -> u32 {
    let last = table.len().saturating_sub(2);
    match table.get((index as usize).min(last)..) {
        Some([lower, upper, ..]) => u32::from(*lower) | u32::from(*upper) << 16,
        _ => 0,
    }
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
        let row = row.wrapping_mul(self.index_columns).wrapping_add(self.kinds.start(class));
        let chunk = read(self.index, row.wrapping_add(column / CHUNK as u32));
        let cell = (chunk * CHUNK as u32 + column % CHUNK as u32) << u32::from(self.is_wide);
        if self.is_wide { read_two(self.chunks, cell) } else { read(self.chunks, cell) }
    }

    /// The entry for the upper 16 bits of a source (0) or destination (1) address.
    #[inline(always)]
    #[must_use]
    pub fn enter<const W: usize>(&self, side: usize, addr: &[u32; W]) -> u16 {
        let upper = addr.first().map_or(0, |word| word >> 16);
        self.roots.get(side).map_or(0, |root| read(root, upper) as u16)
    }

    /// What is looked for. An address is given in words, the upper one first.
    #[inline(always)]
    #[must_use]
    pub fn find<const W: usize>(&self, src: &[u32; W], dst: &[u32; W], class: u32) -> u32 {
        let [row, column] = [(0, src), (1, dst)].map(|(side, addr)| {
            let mut entry = self.enter(side, addr);
            for step in 2..4 * W {
                if entry & NODE == 0 {
                    break;
                }
                entry = Self::follow(self.nodes, entry, byte(addr, step));
            }
            entry
        });
        self.find_by_classes(row, column, class)
    }
}

/// A byte of an address, the upper one first.
#[inline(always)]
pub fn byte<const W: usize>(addr: &[u32; W], number: usize) -> u8 {
    addr.get(number / 4).map_or(0, |word| (word >> (24 - 8 * (number & 3))) as u8)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::simd::Avx2;
    use super::{CHUNK, GROUP, Locator, NODE};

    /// Lanes of a vector.
    const LANES: usize = 8;
    const STEPS: usize = GROUP / LANES;

    impl Avx2 {
        /// [`Locator::find`] for the first `len` headers of a group; what is found behind them is anything. Addresses are
        /// given word by word.
        #[inline(always)]
        pub fn locate<const W: usize>(
            self,
            tables: &Locator,
            addrs: [&[[u32; GROUP]; W]; 2],
            class: &[u32; GROUP],
            len: usize,
            found: &mut [u32; GROUP],
        ) {
            // SAFETY: the token says that the processor has AVX2.
            unsafe {
                match len.div_ceil(LANES) {
                    0 | 1 => locate::<W, 1>(tables, addrs, class, found),
                    2 => locate::<W, 2>(tables, addrs, class, found),
                    3 => locate::<W, 3>(tables, addrs, class, found),
                    _ => locate::<W, STEPS>(tables, addrs, class, found),
                }
            }
        }
    }

    /// Reads entries of a table; places behind it are those of the last one but one.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn read(table: &[u16], index: __m256i) -> __m256i {
        _mm256_and_si256(read_two(table, index), _mm256_set1_epi32(0xffff))
    }

    /// Reads entries and the ones behind.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn read_two(table: &[u16], index: __m256i) -> __m256i {
        let Some(last) = table.len().checked_sub(2).and_then(|last| i32::try_from(last).ok()) else {
            return _mm256_setzero_si256();
        };
        let index = _mm256_min_epu32(index, _mm256_set1_epi32(last));
        // SAFETY: each index has two entries in the table, the four bytes that are read; no alignment is needed.
        unsafe { _mm256_i32gather_epi32::<2>(table.as_ptr().cast(), index) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(words: &[u32; GROUP], step: usize) -> __m256i {
        debug_assert!(step < STEPS);
        // SAFETY: callers step through the array by whole vectors; the load needs no alignment.
        unsafe { _mm256_loadu_si256(words.as_ptr().add(step * LANES).cast()) }
    }

    /// True if an entry leads on to a node. Mostly that can be foreseen, while reads for nothing cost as much as others.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn leads_on<const N: usize>(entries: &[[__m256i; N]; 2]) -> bool {
        let any = entries.as_flattened().iter().fold(_mm256_setzero_si256(), |any, entry| _mm256_or_si256(any, *entry));
        _mm256_testz_si256(any, _mm256_set1_epi32(NODE.into())) == 0
    }

    /// Follows entries that lead to nodes by the byte that is so many bits up in a word of each address.
    #[target_feature(enable = "avx2")]
    #[inline]
    #[allow(clippy::indexing_slicing, clippy::needless_range_loop, reason = "loop variables below the arrays' lengths")]
    fn follow<const N: usize>(
        tables: &Locator,
        words: [&[u32; GROUP]; 2],
        shift: i32,
        entries: &mut [[__m256i; N]; 2],
    ) {
        let shift = _mm_cvtsi32_si128(shift);
        for step in 0..N {
            for side in 0..2 {
                let entry = entries[side][step];
                // The bit that says so moves to the sign.
                let is_node = _mm256_srai_epi32::<31>(_mm256_slli_epi32::<16>(entry));
                let node = _mm256_and_si256(_mm256_slli_epi32::<8>(entry), _mm256_set1_epi32(0x7f_ff00));
                let value = _mm256_and_si256(_mm256_srl_epi32(load(words[side], step), shift), _mm256_set1_epi32(0xff));
                let place = _mm256_and_si256(_mm256_or_si256(node, value), is_node);
                entries[side][step] = _mm256_blendv_epi8(entry, read(tables.nodes, place), is_node);
            }
        }
    }

    #[target_feature(enable = "avx2")]
    #[allow(clippy::indexing_slicing, clippy::needless_range_loop, reason = "loop variables below the arrays' lengths")]
    fn locate<const W: usize, const N: usize>(
        tables: &Locator,
        [src, dst]: [&[[u32; GROUP]; W]; 2],
        class: &[u32; GROUP],
        found: &mut [u32; GROUP],
    ) {
        let byte = _mm256_set1_epi32(0xff);
        let mut entries = [[_mm256_setzero_si256(); N]; 2];
        // The first steps stand alone so that what is read stays in registers between them.
        let words = [&src[0], &dst[0]];
        for step in 0..N {
            entries[0][step] = read(tables.roots[0], _mm256_srli_epi32::<16>(load(words[0], step)));
            entries[1][step] = read(tables.roots[1], _mm256_srli_epi32::<16>(load(words[1], step)));
        }
        if leads_on(&entries) {
            follow(tables, words, 8, &mut entries);
        }
        if leads_on(&entries) {
            follow(tables, words, 0, &mut entries);
        }
        'further: for (src, dst) in src.iter().zip(dst).skip(1) {
            for shift in [24, 16, 8, 0] {
                if !leads_on(&entries) {
                    break 'further;
                }
                follow(tables, [src, dst], shift, &mut entries);
            }
        }
        let mut starts = [_mm256_setzero_si256(); N];
        for (value, start) in tables.kinds.all() {
            let (value, start) = (_mm256_set1_epi32(value.cast_signed()), _mm256_set1_epi32(start.cast_signed()));
            for step in 0..N {
                let is_it = _mm256_cmpeq_epi32(_mm256_and_si256(load(class, step), byte), value);
                starts[step] = _mm256_or_si256(starts[step], _mm256_and_si256(is_it, start));
            }
        }
        let columns = _mm256_set1_epi32(tables.index_columns.cast_signed());
        for step in 0..N {
            let (row, column) = (entries[0][step], entries[1][step]);
            let row = _mm256_add_epi32(_mm256_mullo_epi32(row, columns), starts[step]);
            let chunk_column = _mm256_srli_epi32::<{ CHUNK.ilog2() as i32 }>(column);
            let chunk = read(tables.index, _mm256_add_epi32(row, chunk_column));
            let within = _mm256_and_si256(column, _mm256_set1_epi32(CHUNK as i32 - 1));
            let cell = _mm256_or_si256(_mm256_slli_epi32::<{ CHUNK.ilog2() as i32 }>(chunk), within);
            entries[0][step] = cell;
        }
        let width = _mm_cvtsi32_si128(tables.is_wide.into());
        let kept = _mm256_set1_epi32(if tables.is_wide { -1 } else { 0xffff });
        for step in 0..N {
            let cell = _mm256_sll_epi32(entries[0][step], width);
            let cell = _mm256_and_si256(read_two(tables.chunks, cell), kept);
            // SAFETY: the array has room for a whole vector at every step; the store needs no alignment.
            unsafe { _mm256_storeu_si256(found.as_mut_ptr().add(step * LANES).cast(), cell) };
        }
    }
}
