//! Looking up a burst.

use super::grid::Grid;
use super::mask::{FACTORS, Mask, WORDS};
#[cfg(target_arch = "x86_64")]
use super::table::LEAF_BITS;
use super::table::{Table, coarse_of, leaf_of};
use super::{Classifier, Key, NONE};
use crate::mem::four::Four;
use crate::mem::prefetch;
#[cfg(target_arch = "x86_64")]
use crate::mem::simd::{Avx2, Sieve, Work};
use crate::mem::simd::{SIFT, Sifted, Vector, reach};
use crate::mem::transpose::ROWS;
#[cfg(target_arch = "x86_64")]
use crate::mem::transpose::Rows;

/// Headers that go through the stages together.
const GROUP: usize = SIFT;

/// Room for what is left after some tables were asked: [`ENOUGH`] and one more table's.
const WORK: usize = 2 * GROUP;

/// A table whose slots take more than this does not stay in the innermost caches.
#[cfg(target_arch = "x86_64")]
const FAR: u32 = 1 << 13;

/// So many headers are asked about one by one.
const FEW: u32 = 6;

/// The grid is asked about fewer than this one by one, and about no more than that with others left out.
const FEWEST: u32 = 3;
const PACKED: usize = GROUP / 2;

/// So many leaves are worth comparing before more tables are asked: what they say lets others be left out.
const ENOUGH: usize = 16;

/// Leaves that take no more than this are in the caches anyway.
const NEAR: usize = 1 << 18;

/// The headers of a group, word by word in the order in which a mask has them.
pub(super) struct Words<const N: usize>([[u32; GROUP]; N]);

/// A group to look up.
#[cfg(target_arch = "x86_64")]
struct Lookup<'a, const W: usize, K: ?Sized, F: ?Sized> {
    classifier: &'a Classifier<W>,
    keys: &'a K,
    found: &'a mut F,
}

#[cfg(target_arch = "x86_64")]
impl<const W: usize, K: AsRef<[Key<W>]> + ?Sized, F: AsMut<[u32]> + ?Sized> Work for Lookup<'_, W, K, F> {
    #[inline(always)]
    fn run(self) {
        self.classifier.lookup_group(self.keys.as_ref(), self.found.as_mut());
    }
}

/// A whole group that a [simple](Grid::is_simple) grid answers for.
#[cfg(target_arch = "x86_64")]
struct Group<'a, const W: usize> {
    grid: &'a Grid<W>,
    avx2: Avx2,
    vector: Vector,
    keys: &'a [Key<W>; GROUP],
    found: &'a mut [u32; GROUP],
}

#[cfg(target_arch = "x86_64")]
impl<const W: usize> Work for Group<'_, W> {
    #[inline(always)]
    fn run(self) {
        self.grid.lookup_group(self.avx2, self.vector, &Keys(self.keys), self.found);
    }
}

#[cfg(target_arch = "x86_64")]
struct Keys<'a, const W: usize>(&'a [Key<W>; GROUP]);

#[cfg(target_arch = "x86_64")]
impl<const W: usize> Rows for Keys<'_, W> {
    #[inline(always)]
    fn row(&self, number: usize) -> Four {
        self.0.get(number).map_or(Four::splat(0), row)
    }
}

/// False if headers are not the same one over and over, for sure.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn is_one_run<const W: usize>(keys: &[Key<W>; GROUP]) -> bool {
    let [first, .., last] = keys;
    first.src == last.src && first.ports == last.ports
}

/// What is known about the headers of a group.
struct Known {
    hashes: [u32; GROUP],
    /// The best priorities so far as slots know them.
    limits: [u32; GROUP],
}

impl<const W: usize> Classifier<W> {
    /// The priority of the best rule that matches each header, [`NONE`] if none does: what a scan of all rules finds, after
    /// any number of inserts and removals. Headers beyond the shorter of the two slices are left out, and what is in
    /// `found` behind them stays. It does not allocate and takes bursts of any length; 32 at a time go through together,
    /// and multiples of that are the cheapest.
    pub fn lookup_burst(&self, keys: &[Key<W>], found: &mut [u32]) {
        let len = keys.len().min(found.len());
        let (Some(keys), Some(found)) = (keys.get(..len), found.get_mut(..len)) else { return };
        #[cfg(target_arch = "x86_64")]
        let simple = self.grid.as_ref().filter(|grid| grid.is_simple() && !self.asks_tables);
        for (keys, found) in keys.chunks(GROUP).zip(found.chunks_mut(GROUP)) {
            #[cfg(target_arch = "x86_64")]
            if let Some(avx2) = self.vector.avx2() {
                // Whole groups are compiled for themselves: nothing need be asked about how many headers there are.
                match (<&[_; GROUP]>::try_from(keys), <&mut [_; GROUP]>::try_from(&mut *found)) {
                    (Ok(keys), Ok(found)) => match simple.filter(|_| !is_one_run(keys)) {
                        Some(grid) => {
                            avx2.within(Group { grid, avx2, vector: self.vector, keys, found });
                            self.replace_dead(grid, keys, found);
                        }
                        None => avx2.within(Lookup { classifier: self, keys, found }),
                    },
                    _ => avx2.within(Lookup { classifier: self, keys, found }),
                }
                continue;
            }
            self.lookup_group(keys, found);
        }
    }

    /// The priority of the best rule that matches.
    #[must_use]
    pub fn lookup(&self, key: &Key<W>) -> u32 {
        let mut found = [NONE];
        self.lookup_burst(core::slice::from_ref(key), &mut found);
        let [found] = found;
        found
    }

    #[inline(always)]
    fn lookup_group(&self, keys: &[Key<W>], found: &mut [u32]) {
        if W == 1 {
            self.lookup_runs::<4>(keys, found);
        } else {
            self.lookup_runs::<WORDS>(keys, found);
        }
    }

    #[inline(always)]
    fn lookup_runs<const N: usize>(&self, keys: &[Key<W>], found: &mut [u32]) {
        let mut words = Words([[0; GROUP]; N]);
        let repeats = words.fill(self.vector, keys);
        // Packets of one conversation come one behind the other: the first of each run is looked up for all.
        let repeats = if W == 1 || repeats == 0 { repeats } else { repeats & same_as_before(keys, repeats) };
        let all = u32::MAX.unbounded_shr(u32::BITS.saturating_sub(keys.len() as u32));
        if repeats == all & !1
            && let [key, _, ..] = keys
        {
            let answer = self.lookup(key);
            found.iter_mut().take(keys.len()).for_each(|found| *found = answer);
            return;
        }
        self.lookup_words(&words, keys, all & !repeats, found);
        let mut left = repeats;
        while left != 0 {
            let number = left.trailing_zeros() as usize;
            if let Some([before, found]) = found.get_mut(number.wrapping_sub(1)..=number) {
                *found = *before;
            }
            left &= left - 1;
        }
    }

    /// Looks up those headers that are given as bits.
    #[inline(always)]
    fn lookup_words<const N: usize>(&self, words: &Words<N>, keys: &[Key<W>], headers: u32, found: &mut [u32]) {
        let mut best = [NONE; GROUP];
        let grid = self.grid.as_ref().filter(|grid| grid.is_active());
        if let Some(grid) = grid.filter(|grid| !grid.is_last) {
            grid.lookup(self.vector, words, keys, headers, &mut best);
        }
        if self.asks_tables {
            self.ask_tables(words, keys, headers, &mut best);
        }
        if let Some(grid) = grid {
            if grid.is_last {
                self.ask_grid_last(grid, words, keys, headers & worse_than(&best, grid.best()), &mut best);
            }
            self.replace_dead(grid, keys, &mut best);
        }
        match <&mut [u32; GROUP]>::try_from(&mut *found) {
            Ok(found) => *found = best,
            Err(_) => found.iter_mut().zip(best).for_each(|(found, best)| *found = best),
        }
    }

    /// Puts down what is right where a grid found a rule that is removed.
    #[inline(always)]
    fn replace_dead(&self, grid: &Grid<W>, keys: &[Key<W>], best: &mut [u32]) {
        if grid.is_whole() {
            return;
        }
        for (key, best) in keys.iter().zip(best).filter(|(_, best)| grid.is_dead(**best)) {
            // What the grid does not know is the next one: all tables have all rules.
            *best = self.lookup_in_all(key);
        }
    }

    /// Asks the grid about those headers that are given as bits.
    #[inline(never)]
    fn ask_grid_last<const N: usize>(
        &self,
        grid: &Grid<W>,
        words: &Words<N>,
        keys: &[Key<W>],
        mut headers: u32,
        best: &mut [u32; GROUP],
    ) {
        if headers.count_ones() as usize > PACKED {
            grid.lookup(self.vector, words, keys, headers, best);
            return;
        }
        if headers.count_ones() < FEWEST {
            while headers != 0 {
                let number = headers.trailing_zeros() as usize;
                headers &= headers - 1;
                if let (Some(key), Some(best)) = (keys.get(number), best.get_mut(number)) {
                    *best = (*best).min(grid.find(key).0);
                }
            }
            return;
        }
        // Side by side they take fewer vectors.
        let (mut packed, mut numbers) = (heapless::Vec::<_, PACKED>::new(), heapless::Vec::<_, PACKED>::new());
        while headers != 0 {
            let number = headers.trailing_zeros() as usize;
            headers &= headers - 1;
            if let Some(key) = keys.get(number) {
                let _ = (packed.push(*key), numbers.push(number));
            }
        }
        let mut words = Words([[0; GROUP]; N]);
        words.fill(self.vector, &packed);
        let mut found = [NONE; GROUP];
        grid.lookup(self.vector, &words, &packed, (1 << packed.len()) - 1, &mut found);
        for (number, found) in numbers.into_iter().zip(found) {
            if let Some(best) = best.get_mut(number) {
                *best = (*best).min(found);
            }
        }
    }

    /// Asks the tables about those headers that are given as bits, and for which they can have something better.
    #[inline(always)]
    fn ask_tables<const N: usize>(&self, words: &Words<N>, keys: &[Key<W>], headers: u32, best: &mut [u32; GROUP]) {
        let mut known = Known { hashes: [0; GROUP], limits: [0; GROUP] };
        let (mut work, mut is_narrow) = (Sifted::<WORK>::new(), false);
        let mut tables = self.tables.iter().zip(&self.masks).filter(|(table, _)| table.loose > 0);
        loop {
            let next = tables.next();
            // What waits is compared first if that may leave few, and behind the last table.
            let (mut open, is_next_narrow) = match next {
                Some((table, _)) => (headers & worse_than(best, table.best), table.is_narrow),
                None => (0, !is_narrow),
            };
            let may_leave_few = open & work.which != 0 && (open & !work.which).count_ones() <= FEW;
            if may_leave_few || work.len >= ENOUGH || is_narrow != is_next_narrow {
                self.compare(&mut work, is_narrow, keys, best);
                open &= next.map_or(0, |(table, _)| worse_than(best, table.best));
                is_narrow = is_next_narrow;
            }
            let Some((table, mask)) = next else { return };
            if open.count_ones() > FEW {
                self.limit(&mut known, best);
                self.sift(words, &mut known, open, *table, mask, &mut work);
            } else {
                self.sift_few(keys, best, open, *table, mask, &mut work);
            }
        }
    }

    #[inline(always)]
    fn limit(&self, known: &mut Known, found: &[u32]) {
        for (limit, found) in known.limits.iter_mut().zip(found) {
            *limit = coarse_of(self.coarse, *found);
        }
    }

    /// The priority of the best rule of all tables that matches.
    #[inline(never)]
    fn lookup_in_all(&self, key: &Key<W>) -> u32 {
        let tables = self.tables.iter().zip(&self.masks).filter(|(table, _)| table.rules > 0);
        tables.fold(NONE, |best, (table, mask)| {
            self.leaf_in(*table, mask, key, best)
                .map_or(best, |leaf| best.min(self.leaves.find(self.vector, *table, leaf, key)))
        })
    }

    /// The leaf of a table that a header must be compared with; `None` if its slot says that no rule can match, or none that
    /// is better than `best`.
    #[inline(always)]
    pub(super) fn leaf_in(&self, table: Table, mask: &Mask<W>, key: &Key<W>, best: u32) -> Option<u32> {
        let hash = mask.hash(key);
        let slot = self.slots.get(table.slot(hash)).copied().unwrap_or(0);
        table.admits(slot, hash, coarse_of(self.coarse, best)).then(|| leaf_of(slot))
    }

    /// Asks a table about those headers of a group that are given as bits.
    #[inline(always)]
    fn sift<const N: usize>(
        &self,
        words: &Words<N>,
        known: &mut Known,
        headers: u32,
        table: Table,
        mask: &Mask<W>,
        work: &mut Sifted<WORK>,
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.vector.avx2() {
            let Known { hashes, limits } = known;
            let (masks, factors) = (mask.words(), FACTORS);
            if let (Some(masks), Some(factors)) = (masks.first_chunk::<N>(), factors.first_chunk()) {
                avx2.hash(&words.0, *masks, *factors, reach(headers), hashes);
            }
            if table.shift < 32 - FAR.ilog2() {
                for hash in hashes.get(..reach(headers)).unwrap_or(&[]) {
                    prefetch::place(&self.slots, table.slot(*hash), prefetch::Level::First);
                }
            }
            let sieve = Sieve { slots: &self.slots, base: table.base, shift: table.shift, leaf_bits: LEAF_BITS };
            avx2.sift(sieve, hashes, limits, headers, work);
            return;
        }
        self.sift_portable(words, known, headers, table, mask, work);
    }

    #[inline(always)]
    fn sift_portable<const N: usize>(
        &self,
        words: &Words<N>,
        known: &mut Known,
        headers: u32,
        table: Table,
        mask: &Mask<W>,
        work: &mut Sifted<WORK>,
    ) {
        let masks = mask.words();
        for (number, hash) in known.hashes.iter_mut().enumerate().take(reach(headers)) {
            let words = words.0.iter().take(2 + 2 * W).zip(masks).zip(FACTORS);
            *hash =
                Mask::<W>::mix(words.map(|((words, mask), factor)| {
                    (words.get(number).copied().unwrap_or(0) & mask).wrapping_mul(factor)
                }));
            prefetch::element(&self.slots, table.slot(*hash));
        }
        for ((number, hash), limit) in (0u32..).zip(&known.hashes).zip(&known.limits).take(reach(headers)) {
            let slot = self.slots.get(table.slot(*hash)).copied().unwrap_or(0);
            let admits = table.admits(slot, *hash, *limit) & (headers >> number & 1 != 0);
            work.add(number, leaf_of(slot), admits);
        }
    }

    /// Asks a table about a few headers, one by one.
    #[inline(always)]
    fn sift_few(
        &self,
        keys: &[Key<W>],
        best: &[u32; GROUP],
        mut headers: u32,
        table: Table,
        mask: &Mask<W>,
        work: &mut Sifted<WORK>,
    ) {
        while headers != 0 {
            let number = headers.trailing_zeros() as usize;
            headers &= headers - 1;
            let (Some(key), Some(best)) = (keys.get(number), best.get(number)) else { continue };
            let hash = mask.hash(key);
            let slot = self.slots.get(table.slot(hash)).copied().unwrap_or(0);
            work.add(number as u32, leaf_of(slot), table.admits(slot, hash, coarse_of(self.coarse, *best)));
        }
    }

    /// Compares the headers that passed with the leaves that their slots lead to.
    #[inline(always)]
    fn compare(&self, work: &mut Sifted<WORK>, is_narrow: bool, keys: &[Key<W>], found: &mut [u32]) {
        if is_narrow {
            self.compare_pairs(work, keys, found);
        } else {
            self.compare_chains(work, keys, found);
        }
        (work.len, work.which) = (0, 0);
    }

    #[inline(always)]
    fn compare_chains(&self, work: &Sifted<WORK>, keys: &[Key<W>], found: &mut [u32]) {
        let chains = &self.leaves.chains;
        let far = chains.memory_bytes() > NEAR;
        for chain in work.leaf.iter().take(if far { work.len } else { 0 }) {
            if let Some(block) = chains.block(*chain) {
                prefetch::all(block);
            }
        }
        for (number, chain) in work.header.iter().zip(&work.leaf).take(work.len) {
            let number = *number as usize;
            if let (Some(key), Some(found)) = (keys.get(number), found.get_mut(number)) {
                *found = (*found).min(chains.find(*chain, key));
            }
        }
    }

    #[inline(always)]
    fn compare_pairs(&self, work: &Sifted<WORK>, keys: &[Key<W>], found: &mut [u32]) {
        let pairs = &self.leaves.pairs;
        let far = pairs.memory_bytes() > NEAR;
        for leaf in work.leaf.get(..if far { work.len } else { 0 }).unwrap_or(&[]) {
            pairs.prefetch(*leaf);
        }
        // Whether a rule matches is what no processor can foresee: what is behind the first two comes later.
        let (mut behind, vector) = (0u64, self.vector);
        let (Some(headers), Some(leaves)) = (work.header.get(..work.len), work.leaf.get(..work.len)) else { return };
        for ((number, leaf), bit) in headers.iter().zip(leaves).zip(0..) {
            if let (Some(key), Some(found)) = (keys.get(*number as usize), found.get_mut(*number as usize)) {
                let (here, goes_on) = pairs.find(vector, *leaf, key);
                *found = (*found).min(here);
                behind |= u64::from(goes_on) << bit;
            }
        }
        while behind != 0 {
            let at = behind.trailing_zeros() as usize;
            behind &= behind - 1;
            if let (Some(number), Some(leaf)) = (headers.get(at), leaves.get(at))
                && let (Some(key), Some(found)) = (keys.get(*number as usize), found.get_mut(*number as usize))
            {
                *found = (*found).min(self.leaves.chains.find(pairs.behind_if_better(*leaf, *found), key));
            }
        }
    }
}

/// Those headers for which a priority would be better than what is known, as bits.
#[inline(always)]
fn worse_than(best: &[u32; GROUP], priority: u32) -> u32 {
    // Without the top bit what was not found stays above all priorities, and numbers may be compared as signed ones.
    let (mask, priority) = (Four::splat(NONE >> 1), Four::splat(priority & NONE >> 1));
    let fours = best.as_chunks().0.iter().rev();
    fours.fold(0, |bits, four| bits << 4 | Four::new(four).and(mask).above(priority))
}

/// Of the headers that the bits stand for, those that are the same as the one before in every word.
#[inline(always)]
fn same_as_before<const W: usize>(keys: &[Key<W>], of: u32) -> u32 {
    let pairs = keys.iter().zip(keys.get(1..).unwrap_or(&[]));
    pairs.fold((0, 2), |(same, bit), (before, key)| (same | if before == key { bit } else { 0 }, bit << 1)).0 & of
}

impl<const N: usize> Words<N> {
    /// Ports and classes.
    #[inline(always)]
    pub(super) fn ports_and_class(&self) -> [&[u32; GROUP]; 2] {
        const NOTHING: [u32; GROUP] = [0; GROUP];
        match self.0.as_slice() {
            [ports, class, ..] => [ports, class],
            _ => [&NOTHING; 2],
        }
    }

    /// Source and destination addresses of `W` words.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn addrs<const W: usize>(&self) -> Option<[&[[u32; GROUP]; W]; 2]> {
        let (src, dst) = self.0.get(2..)?.split_first_chunk()?;
        Some([src, dst.first_chunk()?])
    }

    /// Takes over the words of headers, and tells, as bits, which may be the same as the one before: the lowest words of
    /// their addresses, ports and class are.
    #[inline(always)]
    fn fill<const W: usize>(&mut self, vector: Vector, keys: &[Key<W>]) -> u32 {
        let mut before = keys.first().map_or(Four::splat(0), row);
        let mut same = 0;
        for (number, eight) in keys.chunks(ROWS).enumerate().take(GROUP / ROWS) {
            let rows = match <&[Key<W>; ROWS]>::try_from(eight) {
                Ok(eight) => eight.each_ref().map(row),
                Err(_) => core::array::from_fn(|lane| eight.get(lane).map_or(Four::splat(0), row)),
            };
            let mut words = self.0.iter_mut().filter_map(|words| words.as_chunks_mut().0.get_mut(number));
            // Ports and class come first, and the last words of the addresses last.
            let (ports, class) = (words.next(), words.next());
            let (src, dst) = (words.nth(W - 1), words.nth(W - 1));
            if let (Some(src), Some(dst), Some(ports), Some(class)) = (src, dst, ports, class) {
                same |= vector.columns(rows, before, [src, dst, ports, class]) << (ROWS * number);
            }
            [.., before] = rows;
        }
        for word in 0..W - 1 {
            for (from, to) in [(0, 2 + word), (1, 2 + W + word)] {
                let Some(to) = self.0.get_mut(to) else { continue };
                for (to, key) in to.iter_mut().zip(keys) {
                    *to = if from == 0 { key.src.get(word) } else { key.dst.get(word) }.copied().unwrap_or(0);
                }
            }
        }
        // The first has none before it, and there are none behind the last.
        same & !1 & u32::MAX.unbounded_shr(u32::BITS.saturating_sub(keys.len() as u32))
    }
}

/// The words of a header that four registers take in.
#[inline(always)]
fn row<const W: usize>(key: &Key<W>) -> Four {
    let last = |addr: &[u32; W]| addr.last().copied().unwrap_or(0);
    Four::new(&[last(&key.src), last(&key.dst), key.port_word(), key.class])
}

const _: () = assert!(ENOUGH + GROUP <= WORK);
