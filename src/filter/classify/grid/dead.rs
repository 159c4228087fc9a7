//! Rules of a grid that were removed, while it still finds them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Rule;

/// Most of them.
const MOST: usize = 256;
/// Lower bits of a priority by which they are counted.
const COUNTED: u32 = 10;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Dead<const W: usize> {
    /// In the order of priority.
    rules: Vec<Rule<W>>,
    /// How many have such a priority, by its lower bits: every header's answer is asked about, and mostly this is enough.
    counts: Box<[u16; 1 << COUNTED]>,
}

impl<const W: usize> Dead<W> {
    /// None. `None` without memory. Allocates.
    pub fn new() -> Option<Self> {
        let (mut rules, mut counts) = (Vec::new(), Vec::new());
        rules.try_reserve_exact(MOST).ok()?;
        counts.try_reserve_exact(1 << COUNTED).ok()?;
        counts.resize(1 << COUNTED, 0);
        Some(Self { rules, counts: counts.into_boxed_slice().try_into().ok()? })
    }

    /// What it takes, in bytes.
    pub const fn memory_bytes(&self) -> usize {
        self.rules.capacity() * size_of::<Rule<W>>() + size_of::<[u16; 1 << COUNTED]>()
    }

    /// True if there are none.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn place(&self, priority: u32) -> Result<usize, usize> {
        self.rules.binary_search_by_key(&priority, |rule| rule.priority)
    }

    /// True if the one with this priority is here.
    #[inline(always)]
    pub fn has(&self, priority: u32) -> bool {
        let count = self.counts.get(counted(priority)).copied().unwrap_or(0);
        count > 0 && self.place(priority).is_ok()
    }

    /// Adds one. False if it is here, or without room.
    pub fn insert(&mut self, rule: &Rule<W>) -> bool {
        let (Err(place), Some(count)) = (self.place(rule.priority), self.counts.get_mut(counted(rule.priority))) else {
            return false;
        };
        if self.rules.len() >= MOST {
            return false;
        }
        self.rules.insert(place, *rule);
        *count += 1;
        true
    }

    /// Takes one out. False if it is not here.
    pub fn remove(&mut self, rule: &Rule<W>) -> bool {
        let (Ok(place), Some(count)) = (self.place(rule.priority), self.counts.get_mut(counted(rule.priority))) else {
            return false;
        };
        if self.rules.get(place) != Some(rule) {
            return false;
        }
        self.rules.remove(place);
        *count -= 1;
        true
    }
}

#[inline(always)]
const fn counted(priority: u32) -> usize {
    (priority & ((1 << COUNTED) - 1)) as usize
}
