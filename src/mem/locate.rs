//! Tables of 16-bit entries, read one behind the other for many headers at once.
//!
//! What [`Locator::find`] does for a header, AVX2 does for eight, with the same result; both are here so that a test can
//! hold one to the other. Entries outside of a table are those of its last place.

use alloc::vec::Vec;

/// Headers that are worked on together.
pub const GROUP: usize = super::simd::SIFT;

/// An entry of a trie leads on to the node with the number in its other bits; else it is a class.
pub const NODE: u16 = 1 << 15;

/// Columns of a chunk of cells.
pub const CHUNK: usize = 64;

/// Most kinds of headers beside the one of all others.
pub const KINDS: usize = 7;

/// Which service a port is of: numbers that begin at `at`, up to the one of the port `last`, which is that of all higher
/// ones. Ports that have none are at 0, and `last` is 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// The number of port 0.
    pub at: u32,
    /// The last port that has its own.
    pub last: u16,
}

/// Which kind a header is of, by the lower byte of its class, and what is known of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kinds {
    values: [u8; KINDS],
    len: usize,
    /// The kind of all other headers comes first.
    starts: [u32; KINDS + 1],
    at: [[u32; KINDS + 1]; 2],
    last: [[u32; KINDS + 1]; 2],
}

impl Kinds {
    /// With the kind of all headers that are of no other: where it begins in the index, and its ports.
    #[must_use]
    pub fn new(start: u32, ports: [Ports; 2]) -> Self {
        let mut kinds = Self::default();
        kinds.set(0, start, ports);
        kinds
    }

    /// Adds a kind. Nothing happens if there are [`KINDS`] already.
    pub fn push(&mut self, value: u8, start: u32, ports: [Ports; 2]) {
        if let Some(to) = self.values.get_mut(self.len) {
            *to = value;
            self.len += 1;
            self.set(self.len, start, ports);
        }
    }

    fn set(&mut self, kind: usize, start: u32, ports: [Ports; 2]) {
        if let Some(to) = self.starts.get_mut(kind) {
            *to = start;
        }
        for ((at, last), ports) in self.at.iter_mut().zip(&mut self.last).zip(ports) {
            if let (Some(at), Some(last)) = (at.get_mut(kind), last.get_mut(kind)) {
                (*at, *last) = (ports.at, ports.last.into());
            }
        }
    }

    /// The values that are kinds of their own, with their numbers.
    fn all(&self) -> impl Iterator<Item = (u8, u8)> {
        self.values.into_iter().zip(1..).take(self.len)
    }

    /// The number of a header's kind.
    #[inline(always)]
    fn of(&self, class: u32) -> usize {
        self.all().fold(0, |kind, (value, number)| if class as u8 == value { number.into() } else { kind })
    }
}

/// Services: what a header's kind and its ports say together.
#[derive(Clone, Debug)]
pub struct Services {
    /// For the ports of each kind that has services numbers, which are added; one entry more. The first is 0 and that of ports
    /// that have none.
    pub numbers: Vec<u16>,
    /// Entries that each has in the index.
    pub len: u32,
}

/// The tables: two tries over addresses that end in classes, and for each service a grid of classes in chunks of
/// columns. Each has one entry more than its numbers reach, and none is empty.
#[derive(Clone, Debug)]
pub struct Locator {
    /// For the upper 16 bits of source and destination address, an entry.
    pub roots: [Vec<u16>; 2],
    /// Nodes of 256 entries each.
    pub nodes: Vec<u16>,
    /// Where each kind begins in the index.
    pub kinds: Kinds,
    /// And each service behind.
    pub services: Services,
    /// For each service, row and chunk of columns, the chunk's number.
    pub index: Vec<u16>,
    /// Chunks of a row.
    pub index_columns: u32,
    /// For each cell a [place](super::answers), in one word or two, the lower one first.
    pub chunks: Vec<u16>,
    /// It has two.
    pub is_wide: bool,
    /// What is added to an answer of one word.
    pub base: u32,
    /// Cells of one word from this on are those that are not answers.
    pub first: u32,
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

impl Locator {
    /// What they take, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        let [src, dst] = &self.roots;
        let tries = src.capacity() + dst.capacity() + self.nodes.capacity();
        (tries + self.services.numbers.capacity() + self.index.capacity() + self.chunks.capacity()) * size_of::<u16>()
    }

    /// An entry of a trie, followed by a byte of the address, the upper one first, if it leads to a node.
    #[inline(always)]
    #[must_use]
    pub fn follow<const W: usize>(&self, entry: u16, addr: &[u32; W], number: usize) -> u16 {
        let byte = addr.get(number / 4).map_or(0, |word| word >> (24 - 8 * (number & 3)) & 0xff);
        let is_node = (entry.cast_signed() >> 15).cast_unsigned();
        // The first node is read for nothing where there is no need.
        let next = read(&self.nodes, u32::from(entry & is_node & !NODE) << 8 | byte) as u16;
        (entry & !is_node) | (next & is_node)
    }

    /// From classes of addresses, a header's ports and its class to what is looked for.
    #[inline(always)]
    #[must_use]
    pub fn find_by_classes(&self, row: u16, column: u16, ports: u32, class: u32) -> u32 {
        let (row, column) = (u32::from(row), u32::from(column));
        let row = row.wrapping_mul(self.index_columns).wrapping_add(self.start(ports, class));
        let chunk = read(&self.index, row.wrapping_add(column / CHUNK as u32));
        let cell = (chunk * CHUNK as u32 + column % CHUNK as u32) << u32::from(self.is_wide);
        if self.is_wide {
            return read_two(&self.chunks, cell);
        }
        let cell = read(&self.chunks, cell);
        if cell >= self.first { cell | 0xffff_0000 } else { cell.wrapping_add(self.base) }
    }

    /// Where a header's rows begin in the index.
    #[inline(always)]
    fn start(&self, ports: u32, class: u32) -> u32 {
        let Kinds { starts, at, last, .. } = &self.kinds;
        let kind = self.kinds.of(class);
        let of_kind = |all: &[u32; KINDS + 1]| all.get(kind).copied().unwrap_or(0);
        let ports = [ports & 0xffff, ports >> 16].into_iter().zip(at).zip(last);
        let service = ports.fold(0u32, |service, ((port, at), last)| {
            let number = read(&self.services.numbers, of_kind(at).wrapping_add(port.min(of_kind(last))));
            service.wrapping_add(number)
        });
        of_kind(starts).wrapping_add(service.wrapping_mul(self.services.len))
    }

    /// The entry for the upper 16 bits of a source (0) or destination (1) address.
    #[inline(always)]
    #[must_use]
    pub fn enter<const W: usize>(&self, side: usize, addr: &[u32; W]) -> u16 {
        let upper = addr.first().map_or(0, |word| word >> 16);
        self.roots.get(side).map_or(0, |root| read(root, upper) as u16)
    }

    /// What is looked for. An address is given in words, the upper one first, and the ports in one, the first in the lower half.
    #[inline(always)]
    #[must_use]
    pub fn find<const W: usize>(&self, src: &[u32; W], dst: &[u32; W], ports: u32, class: u32) -> u32 {
        let [row, column] = [(0, src), (1, dst)].map(|(side, addr)| {
            let mut entry = self.enter(side, addr);
            for step in 2..4 * W {
                if entry & NODE == 0 {
                    break;
                }
                entry = self.follow(entry, addr, step);
            }
            entry
        });
        self.find_by_classes(row, column, ports, class)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::answers::take_eight;
    use super::super::simd::Avx2;
    use super::super::transpose::{Rows, columns_of};
    use super::{CHUNK, GROUP, KINDS, Kinds, Locator, NODE};

    /// Lanes of a vector.
    const LANES: usize = 8;
    const STEPS: usize = GROUP / LANES;

    const _: () = assert!(STEPS == 4 && LANES == KINDS + 1);

    impl Avx2 {
        /// [`Locator::find`] and [`take`](super::super::answers::take) for the first `len` headers of a group; what is found behind
        /// them is anything. Addresses are given word by word.
        #[inline(always)]
        pub fn locate<const W: usize>(
            self,
            tables: &Locator,
            addrs: [&[[u32; GROUP]; W]; 2],
            ports_and_class: [&[u32; GROUP]; 2],
            len: usize,
            at: &mut [u32; GROUP],
            best: &mut [u32; GROUP],
        ) -> u32 {
            // SAFETY: the token says that the processor has AVX2.
            unsafe {
                match len.div_ceil(LANES) {
                    0 | 1 => locate::<W, 1>(tables, addrs, ports_and_class, at, best),
                    2 => locate::<W, 2>(tables, addrs, ports_and_class, at, best),
                    3 => locate::<W, 3>(tables, addrs, ports_and_class, at, best),
                    _ => locate::<W, STEPS>(tables, addrs, ports_and_class, at, best),
                }
            }
        }

        /// [`Avx2::locate`] for a whole group with addresses of a word, of which each row has source, destination, ports and
        /// class. They are put down column by column.
        #[inline(always)]
        pub fn locate_rows(
            self,
            tables: &Locator,
            rows: &impl Rows,
            columns: &mut [[u32; GROUP]; 4],
            at: &mut [u32; GROUP],
            best: &mut [u32; GROUP],
        ) -> u32 {
            // SAFETY: the token says that the processor has AVX2.
            unsafe { locate_rows(tables, rows, columns, at, best) }
        }
    }

    /// A table of two entries or more.
    #[derive(Clone, Copy)]
    struct Table<'a> {
        entries: &'a [u16],
        /// The last entry but one.
        last: i32,
    }

    impl<'a> Table<'a> {
        #[inline(always)]
        fn new(entries: &'a [u16]) -> Self {
            let entries = if entries.len() < 2 { &[0; 2] } else { entries };
            Self { entries, last: i32::try_from(entries.len() - 2).unwrap_or(i32::MAX) }
        }

        /// Reads entries; places behind the table are those of the last one but one.
        #[target_feature(enable = "avx2")]
        #[inline]
        fn read(self, index: __m256i) -> __m256i {
            _mm256_and_si256(self.read_two(index), _mm256_set1_epi32(0xffff))
        }

        /// Reads entries and the ones behind.
        #[target_feature(enable = "avx2")]
        #[inline]
        fn read_two(self, index: __m256i) -> __m256i {
            let index = _mm256_min_epu32(index, _mm256_set1_epi32(self.last));
            // SAFETY: each index has two entries in the table, the four bytes that are read; no alignment is needed.
            unsafe { _mm256_i32gather_epi32::<2>(self.entries.as_ptr().cast(), index) }
        }
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
        let (shift, nodes) = (_mm_cvtsi32_si128(shift), Table::new(&tables.nodes));
        for step in 0..N {
            for side in 0..2 {
                let entry = entries[side][step];
                // The bit that says so moves to the sign.
                let is_node = _mm256_srai_epi32::<31>(_mm256_slli_epi32::<16>(entry));
                let node = _mm256_and_si256(_mm256_slli_epi32::<8>(entry), _mm256_set1_epi32(0x7f_ff00));
                let value = _mm256_and_si256(_mm256_srl_epi32(load(words[side], step), shift), _mm256_set1_epi32(0xff));
                let place = _mm256_and_si256(_mm256_or_si256(node, value), is_node);
                entries[side][step] = _mm256_blendv_epi8(entry, nodes.read(place), is_node);
            }
        }
    }

    /// Where headers' rows begin in the index.
    ///
    /// # Safety
    /// As [`locate_inline`].
    #[inline(always)]
    #[allow(clippy::indexing_slicing, clippy::needless_range_loop, reason = "loop variables below the arrays' lengths")]
    unsafe fn starts<const N: usize>(tables: &Locator, class: &[u32; GROUP], ports: &[u32; GROUP]) -> [__m256i; N] {
        // SAFETY: the caller's promise. What is loaded is arrays with the bytes of a vector, which needs no alignment.
        unsafe {
            let zero = _mm256_setzero_si256();
            // All classes are compared together, as bytes.
            let byte = _mm256_set1_epi32(0xff);
            let mut classes = [zero; STEPS];
            for step in 0..N {
                classes[step] = _mm256_and_si256(load(class, step), byte);
            }
            let [a, b, c, d] = classes;
            let bytes = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
            let kind = tables.kinds.all().fold(zero, |kind, (value, number)| {
                let is_it = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(value.cast_signed()));
                _mm256_or_si256(kind, _mm256_and_si256(is_it, _mm256_set1_epi8(number.cast_signed())))
            });
            let (ab, cd) = (_mm256_unpacklo_epi8(kind, zero), _mm256_unpackhi_epi8(kind, zero));
            let kinds = [
                _mm256_unpacklo_epi16(ab, zero),
                _mm256_unpackhi_epi16(ab, zero),
                _mm256_unpacklo_epi16(cd, zero),
                _mm256_unpackhi_epi16(cd, zero),
            ];
            let Kinds { starts: start, at: [src, dst], last: [src_last, dst_last], .. } = &tables.kinds;
            let [start, src, dst, src_last, dst_last] =
                [start, src, dst, src_last, dst_last].map(|words| _mm256_loadu_si256(words.as_ptr().cast()));
            let numbers = Table::new(&tables.services.numbers);
            let mut starts = [zero; N];
            for step in 0..N {
                let of_kind = |all| _mm256_permutevar8x32_epi32(all, kinds[step]);
                let ports = load(ports, step);
                let mut service = zero;
                // Mostly all kinds have numbers, or none.
                let last = of_kind(dst_last);
                let has_dst = _mm256_testz_si256(last, last) == 0;
                if has_dst {
                    let port = _mm256_min_epu32(_mm256_srli_epi32::<16>(ports), last);
                    service = numbers.read(_mm256_add_epi32(of_kind(dst), port));
                }
                let last = of_kind(src_last);
                let has_src = _mm256_testz_si256(last, last) == 0;
                if has_src {
                    let port = _mm256_min_epu32(_mm256_and_si256(ports, _mm256_set1_epi32(0xffff)), last);
                    service = _mm256_add_epi32(service, numbers.read(_mm256_add_epi32(of_kind(src), port)));
                }
                starts[step] = of_kind(start);
                if has_dst | has_src {
                    let here = _mm256_mullo_epi32(service, _mm256_set1_epi32(tables.services.len.cast_signed()));
                    starts[step] = _mm256_add_epi32(starts[step], here);
                }
            }
            starts
        }
    }

    #[target_feature(enable = "avx2")]
    fn locate<const W: usize, const N: usize>(
        tables: &Locator,
        addrs: [&[[u32; GROUP]; W]; 2],
        ports_and_class: [&[u32; GROUP]; 2],
        at: &mut [u32; GROUP],
        best: &mut [u32; GROUP],
    ) -> u32 {
        // SAFETY: this function may use the instructions.
        unsafe { locate_inline::<W, N>(tables, addrs, ports_and_class, at, best) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn locate_rows(
        tables: &Locator,
        rows: &impl Rows,
        columns: &mut [[u32; GROUP]; 4],
        at: &mut [u32; GROUP],
        best: &mut [u32; GROUP],
    ) -> u32 {
        for step in 0..STEPS {
            let first = LANES * step;
            let eight = [
                rows.row(first),
                rows.row(first + 1),
                rows.row(first + 2),
                rows.row(first + 3),
                rows.row(first + 4),
                rows.row(first + 5),
                rows.row(first + 6),
                rows.row(first + 7),
            ];
            for (to, column) in columns.iter_mut().zip(columns_of(eight)) {
                if let Some(to) = to.as_chunks_mut::<LANES>().0.get_mut(step) {
                    // SAFETY: the array has the bytes of a vector; the store needs no alignment.
                    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), column) };
                }
            }
        }
        let [src, dst, ports, class] = columns;
        let addrs = [src, dst].map(|addr| core::array::from_ref(&*addr));
        // SAFETY: this function may use the instructions.
        unsafe { locate_inline::<1, STEPS>(tables, addrs, [ports, class], at, best) }
    }

    /// Inlined always: it is the same for rows and columns, and a call would cost what [`locate_rows`] is there to save.
    ///
    /// # Safety
    /// The caller may use AVX2.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, clippy::needless_range_loop, reason = "loop variables below the arrays' lengths")]
    unsafe fn locate_inline<const W: usize, const N: usize>(
        tables: &Locator,
        [src, dst]: [&[[u32; GROUP]; W]; 2],
        [ports, class]: [&[u32; GROUP]; 2],
        at: &mut [u32; GROUP],
        best: &mut [u32; GROUP],
    ) -> u32 {
        // SAFETY: the caller's promise. What is stored is arrays with the bytes of a vector, which needs no alignment.
        unsafe {
            let mut entries = [[_mm256_setzero_si256(); N]; 2];
            // The first steps stand alone so that what is read stays in registers between them.
            let words = [&src[0], &dst[0]];
            let [src_root, dst_root] = tables.roots.each_ref().map(|root| Table::new(root));
            for step in 0..N {
                entries[0][step] = src_root.read(_mm256_srli_epi32::<16>(load(words[0], step)));
                entries[1][step] = dst_root.read(_mm256_srli_epi32::<16>(load(words[1], step)));
            }
            if leads_on(&entries) {
                follow(tables, words, 8, &mut entries);
            }
            if leads_on(&entries) {
                follow(tables, words, 0, &mut entries);
            }
            if W > 1 {
                'further: for (src, dst) in src.iter().zip(dst).skip(1) {
                    for shift in [24, 16, 8, 0] {
                        if !leads_on(&entries) {
                            break 'further;
                        }
                        follow(tables, [src, dst], shift, &mut entries);
                    }
                }
            }
            let starts = starts::<N>(tables, class, ports);
            let (index, chunks) = (Table::new(&tables.index), Table::new(&tables.chunks));
            let columns = _mm256_set1_epi32(tables.index_columns.cast_signed());
            for step in 0..N {
                let (row, column) = (entries[0][step], entries[1][step]);
                let row = _mm256_add_epi32(_mm256_mullo_epi32(row, columns), starts[step]);
                let chunk_column = _mm256_srli_epi32::<{ CHUNK.ilog2() as i32 }>(column);
                let chunk = index.read(_mm256_add_epi32(row, chunk_column));
                let within = _mm256_and_si256(column, _mm256_set1_epi32(CHUNK as i32 - 1));
                let cell = _mm256_or_si256(_mm256_slli_epi32::<{ CHUNK.ilog2() as i32 }>(chunk), within);
                entries[0][step] = cell;
            }
            let base = _mm256_set1_epi32(tables.base.cast_signed());
            let first = _mm256_set1_epi32(tables.first.cast_signed());
            let upper = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
            let width = _mm_cvtsi32_si128(tables.is_wide.into());
            let eights = at.as_chunks_mut::<LANES>().0.iter_mut().zip(best.as_chunks_mut::<LANES>().0);
            let mut others = 0;
            for ((step, cell), (at, best)) in entries[0].into_iter().enumerate().zip(eights) {
                let mut cell = chunks.read_two(_mm256_sll_epi32(cell, width));
                if !tables.is_wide {
                    cell = _mm256_and_si256(cell, _mm256_set1_epi32(0xffff));
                    let is_answer = _mm256_cmpgt_epi32(first, cell);
                    cell = _mm256_add_epi32(cell, _mm256_blendv_epi8(upper, base, is_answer));
                }
                _mm256_storeu_si256(at.as_mut_ptr().cast(), cell);
                others |= take_eight(cell, best) << (LANES * step);
            }
            others
        }
    }
}
