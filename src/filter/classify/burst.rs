//! Looking up a burst.

use super::table::{coarse_of, leaf_of};
use super::{BURST, Classifier, Key, NONE};
use crate::mem::prefetch;

/// Headers that go through the stages together.
const GROUP: usize = 32;

impl<const W: usize> Classifier<W> {
    /// The priority of the best rule that matches each header, [`NONE`] if none does. Headers beyond the shorter of
    /// the two slices are left out.
    #[inline]
    pub fn lookup_burst(&self, keys: &[Key<W>], found: &mut [u32]) {
        for (keys, found) in keys.chunks(GROUP).zip(found.chunks_mut(GROUP)) {
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
        let mut hashes = [0u32; GROUP];
        let mut work = [(0u8, 0u32); GROUP + 1];
        found.fill(NONE);
        for (table, mask) in self.tables.iter().zip(&self.masks).filter(|(table, _)| table.rules > 0) {
            for (key, hash) in keys.iter().zip(&mut hashes) {
                *hash = mask.hash(key);
                prefetch::element(&self.slots, table.slot(*hash));
            }
            let mut todo = 0;
            for (number, (hash, found)) in hashes.iter().zip(&*found).enumerate() {
                let slot = self.slots.get(table.slot(*hash)).copied().unwrap_or(0);
                let leaf = leaf_of(slot);
                if let Some(item) = work.get_mut(todo) {
                    *item = (number as u8, leaf);
                }
                todo += usize::from(table.admits(slot, *hash, coarse_of(self.coarse, *found)));
                if let Some(block) = self.leaves.block(leaf) {
                    prefetch::line(block, 0);
                    prefetch::line(block, 64);
                }
            }
            for (number, leaf) in work.iter().take(todo) {
                if let (Some(key), Some(found)) = (keys.get(usize::from(*number)), found.get_mut(usize::from(*number)))
                {
                    *found = (*found).min(self.leaves.find(*leaf, key));
                }
            }
        }
    }
}

const _: () = assert!(GROUP <= BURST);
