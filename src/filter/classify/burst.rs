//! Looking up a burst.

use super::mask::{FACTORS, Mask, WORDS};
#[cfg(target_arch = "x86_64")]
use super::table::LEAF_BITS;
use super::table::{Table, coarse_of, leaf_of};
use super::{Classifier, Key, NONE};
use crate::mem::prefetch;
#[cfg(target_arch = "x86_64")]
use crate::mem::simd::Sieve;
use crate::mem::simd::{SIFT, Sifted};

/// Headers that go through the stages together.
const GROUP: usize = SIFT;

/// Room for what is left after some tables were asked: [`ENOUGH`] and one more table's.
const WORK: usize = 2 * GROUP;

/// A table whose slots take more than this does not stay in the innermost caches.
#[cfg(target_arch = "x86_64")]
const FAR: u32 = 1 << 13;

/// So many leaves are worth comparing before more tables are asked: what they say lets others be left out.
const ENOUGH: usize = 16;

/// Leaves that take no more than this are in the caches anyway.
const NEAR: usize = 1 << 18;

/// The vector instructions there are beyond those that every processor of the kind has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vector {
    #[cfg(target_arch = "x86_64")]
    avx2: Option<crate::mem::simd::Avx2>,
}

impl Vector {
    pub(super) fn detect() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: crate::mem::simd::Avx2::detect(),
        }
    }

    /// AVX2, if there is any.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) const fn avx2(self) -> Option<crate::mem::simd::Avx2> {
        self.avx2
    }

    #[cfg(test)]
    pub(super) const fn none() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: None,
        }
    }
}

/// The headers of a group, word by word in the order in which a mask has them.
pub(super) struct Words<const N: usize>([[u32; GROUP]; N]);

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
        for (keys, found) in keys.chunks(GROUP).zip(found.chunks_mut(GROUP)) {
            if W == 1 {
                self.lookup_group::<4>(keys, found);
            } else {
                self.lookup_group::<WORDS>(keys, found);
            }
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

    fn lookup_group<const N: usize>(&self, keys: &[Key<W>], found: &mut [u32]) {
        // Packets of one conversation come one behind the other.
        if let [key, _, ..] = keys
            && are_alike(keys)
        {
            let mut answer = [NONE];
            self.lookup_different::<N>(core::slice::from_ref(key), &mut answer);
            let [answer] = answer;
            found.iter_mut().take(keys.len()).for_each(|found| *found = answer);
            return;
        }
        self.lookup_different::<N>(keys, found);
    }

    #[inline(always)]
    fn lookup_different<const N: usize>(&self, keys: &[Key<W>], found: &mut [u32]) {
        let mut words = Words([[0; GROUP]; N]);
        words.fill(keys);
        match self.grid.as_ref().filter(|grid| grid.is_active()) {
            Some(grid) => {
                grid.lookup(self.vector, &words, keys, found);
                if !grid.is_whole() {
                    for (key, found) in keys.iter().zip(&mut *found).filter(|(_, found)| grid.is_dead(**found)) {
                        // What the grid does not know is the next one: all tables have all rules.
                        *found = self.lookup_in_all(key);
                    }
                }
            }
            None => found.fill(NONE),
        }
        let mut tables = self.tables.iter().zip(&self.masks).filter(|(table, _)| table.loose > 0).peekable();
        if tables.peek().is_none() {
            return;
        }
        let mut known = Known { hashes: [0; GROUP], limits: [u32::MAX >> 1; GROUP] };
        for (limit, found) in known.limits.iter_mut().zip(&*found) {
            *limit = coarse_of(self.coarse, *found);
        }
        let mut work = Sifted::<WORK>::new();
        let mut is_first = true;
        for (table, mask) in tables {
            self.sift(&words, &mut known, keys.len(), *table, mask, &mut work);
            if is_first || work.len >= ENOUGH {
                self.work_off(&mut work, keys, found);
                is_first = false;
                for (limit, found) in known.limits.iter_mut().zip(&*found) {
                    *limit = coarse_of(self.coarse, *found);
                }
            }
        }
        self.work_off(&mut work, keys, found);
    }

    /// The priority of the best rule of all tables that matches.
    #[inline(never)]
    fn lookup_in_all(&self, key: &Key<W>) -> u32 {
        let mut best = NONE;
        for (table, mask) in self.tables.iter().zip(&self.masks).filter(|(table, _)| table.rules > 0) {
            let hash = mask.hash(key);
            let slot = self.slots.get(table.slot(hash)).copied().unwrap_or(0);
            if table.admits(slot, hash, coarse_of(self.coarse, best)) {
                best = best.min(self.leaves.find(leaf_of(slot), key));
            }
        }
        best
    }

    /// Asks a table about a group.
    #[inline(always)]
    fn sift<const N: usize>(
        &self,
        words: &Words<N>,
        known: &mut Known,
        len: usize,
        table: Table,
        mask: &Mask<W>,
        work: &mut Sifted<WORK>,
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.vector.avx2 {
            let Known { hashes, limits } = known;
            let (masks, factors) = (mask.words(), FACTORS);
            if let (Some(masks), Some(factors)) = (masks.first_chunk::<N>(), factors.first_chunk()) {
                avx2.hash(&words.0, *masks, *factors, len, hashes);
            }
            if table.shift < 32 - FAR.ilog2() {
                for hash in hashes.iter().take(len) {
                    prefetch::element(&self.slots, table.slot(*hash));
                }
            }
            let sieve = Sieve { slots: &self.slots, base: table.base, shift: table.shift, leaf_bits: LEAF_BITS };
            let before = work.len;
            avx2.sift(sieve, hashes, limits, len, work);
            // Lanes without a header are the last ones.
            while work.len > before && work.header.get(work.len - 1).is_some_and(|header| *header as usize >= len) {
                work.len -= 1;
            }
            return;
        }
        self.sift_portable(words, known, len, table, mask, work);
    }

    #[inline(always)]
    fn sift_portable<const N: usize>(
        &self,
        words: &Words<N>,
        known: &mut Known,
        len: usize,
        table: Table,
        mask: &Mask<W>,
        work: &mut Sifted<WORK>,
    ) {
        let masks = mask.words();
        for (number, hash) in known.hashes.iter_mut().enumerate().take(len) {
            let words = words.0.iter().take(2 + 2 * W).zip(masks).zip(FACTORS);
            *hash =
                Mask::<W>::mix(words.map(|((words, mask), factor)| {
                    (words.get(number).copied().unwrap_or(0) & mask).wrapping_mul(factor)
                }));
            prefetch::element(&self.slots, table.slot(*hash));
        }
        for ((number, hash), limit) in (0u32..).zip(&known.hashes).zip(&known.limits).take(len) {
            let slot = self.slots.get(table.slot(*hash)).copied().unwrap_or(0);
            if let (Some(header), Some(leaf)) = (work.header.get_mut(work.len), work.leaf.get_mut(work.len)) {
                (*header, *leaf) = (number, leaf_of(slot));
                work.len += usize::from(table.admits(slot, *hash, *limit));
            }
        }
    }

    /// Compares the headers that passed with the leaves that their slots lead to.
    #[inline(always)]
    fn work_off(&self, work: &mut Sifted<WORK>, keys: &[Key<W>], found: &mut [u32]) {
        let far = self.leaves.memory_bytes() > NEAR;
        for leaf in work.leaf.iter().take(if far { work.len } else { 0 }) {
            if let Some(block) = self.leaves.block(*leaf) {
                for line in 0..size_of_val(block) / 64 {
                    prefetch::line(block, 64 * line);
                }
            }
        }
        for (number, leaf) in work.header.iter().zip(&work.leaf).take(work.len) {
            let number = *number as usize;
            if let (Some(key), Some(found)) = (keys.get(number), found.get_mut(number)) {
                *found = (*found).min(self.leaves.find(*leaf, key));
            }
        }
        work.len = 0;
    }
}

/// True if all headers are the same. The first and the last one tell most bursts apart.
#[inline(always)]
fn are_alike<const W: usize>(keys: &[Key<W>]) -> bool {
    keys.first() == keys.last() && keys.iter().zip(keys.get(1..).unwrap_or(&[])).all(|(before, key)| before == key)
}

impl<const N: usize> Words<N> {
    /// Source addresses, destination addresses and classes, if an address has one word.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn narrow(&self) -> Option<[&[u32; GROUP]; 4]> {
        match self.0.as_slice() {
            [ports, class, src, dst] => Some([ports, class, src, dst]),
            _ => None,
        }
    }

    #[inline(always)]
    fn fill<const W: usize>(&mut self, keys: &[Key<W>]) {
        let [ports, class, addrs @ ..] = self.0.as_mut_slice() else { return };
        for ((ports, class), key) in ports.iter_mut().zip(class).zip(keys) {
            let [a, b] = key.ports.map(u32::from);
            (*ports, *class) = (a | b << 16, u32::from(key.class));
        }
        for (word, to) in addrs.iter_mut().enumerate().take(2 * W) {
            for (to, key) in to.iter_mut().zip(keys) {
                *to = if word < W { key.src.get(word) } else { key.dst.get(word - W) }.copied().unwrap_or(0);
            }
        }
    }
}

const _: () = assert!(ENOUGH + GROUP <= WORK);
