//! All rules that match a header, in the order of priority.

use super::table::leaf_of;
use super::{Classifier, Key};

/// Most that are found at once.
const MOST: usize = 64;

/// The best rules that match, from some priority on.
#[derive(Clone, Debug)]
pub struct Candidates {
    priorities: heapless::Vec<u32, MOST>,
    cut: bool,
}

impl Candidates {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { priorities: heapless::Vec::new(), cut: false }
    }

    /// One of them, the best first.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<u32> {
        self.priorities.get(index).copied()
    }

    /// True if more match, behind the last one here.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.cut
    }

    fn add(&mut self, priority: u32) {
        if self.priorities.is_full() {
            self.cut = true;
            if self.priorities.last().is_some_and(|worst| *worst < priority) {
                return;
            }
            self.priorities.pop();
        }
        let at = self.priorities.partition_point(|better| *better < priority);
        // There is room: it was made above.
        let _ = self.priorities.insert(at, priority);
    }
}

impl Default for Candidates {
    fn default() -> Self {
        Self::new()
    }
}

impl<const W: usize> Classifier<W> {
    /// Finds the rules that match, with a priority of at least `from`.
    pub fn candidates(&self, key: &Key<W>, from: u32, found: &mut Candidates) {
        found.priorities.clear();
        found.cut = false;
        for (table, mask) in self.tables.iter().zip(&self.masks).filter(|(table, _)| table.rules > 0) {
            let hash = mask.hash(key);
            let slot = self.slots.get(table.slot(hash)).copied().unwrap_or(0);
            if !table.admits(slot, hash, u32::MAX) {
                continue;
            }
            self.leaves.matching(*table, leaf_of(slot), key, |rule| {
                if rule >= from {
                    found.add(rule);
                }
            });
        }
    }
}
