//! Address tables: longest prefix match.
#![forbid(unsafe_code)]

mod steps;

use alloc::vec::Vec;

use super::{Family, Table, TableEntry};
use steps::{Steps, last_of, steps, steps_between};

/// Most addresses that are looked up together.
pub const BURST: usize = 64;

/// A table for lookup. What the longest prefix says changes at a few addresses only; those are all that is kept, so
/// that a lookup is a search among numbers whatever the lengths of the prefixes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupTable {
    v4: Steps<u32>,
    v6: Steps<u128>,
}

impl LookupTable {
    /// Builds it, in time `n log n`. `None` without memory.
    #[must_use]
    pub fn new(table: &Table) -> Option<Self> {
        let mut entries: Vec<TableEntry> = Vec::new();
        entries.try_reserve_exact(table.entries.len()).ok()?;
        entries.extend_from_slice(&table.entries);
        entries.sort_unstable_by_key(|entry| (entry.addr, entry.len));
        let of = |family: Family| entries.iter().filter(move |entry| entry.family == family);
        let starts = steps(of(Family::V4), 32)?;
        let mut starts4 = Vec::new();
        starts4.try_reserve_exact(starts.len()).ok()?;
        starts4.extend(starts.iter().map(|start| (start >> 96) as u32));
        drop(starts);
        Some(Self { v4: Steps::new(starts4)?, v6: Steps::new(steps(of(Family::V6), 128)?)? })
    }

    /// Makes the addresses of one prefix right that came, went or turned round: `entries` are those that are to hold now, by
    /// family, address and length. Costs a search and the moving of what lies behind. `None` without memory; the table
    /// is good for nothing then. Allocates.
    pub fn update(&mut self, entries: &[TableEntry], changed: &TableEntry) -> Option<()> {
        let family = changed.family;
        let bits = if family == Family::V4 { 32 } else { 128 };
        let first = u128::from_be_bytes(changed.addr);
        let last = last_of(first, changed.len, bits);
        // What the prefix covers stands behind it.
        let key = |entry: &TableEntry| (entry.family as u8, entry.addr, entry.len);
        let from = entries.partition_point(|entry| key(entry) < key(changed));
        let to =
            entries.partition_point(|entry| (entry.family as u8, entry.addr) <= (family as u8, last.to_be_bytes()));
        let inner = entries.get(from..to)?.iter();
        let around = (0..changed.len).rev().find_map(|len| {
            let addr = (first & !u128::MAX.checked_shr(u32::from(len)).unwrap_or(0)).to_be_bytes();
            let at = entries.binary_search_by_key(&(family as u8, addr, len), key).ok()?;
            entries.get(at).map(|entry| !entry.negate)
        });
        let around = around.unwrap_or(false);
        let next = last.checked_add(1);
        match family {
            Family::V4 => {
                let narrow = |addr: u128| (addr >> 96) as u32;
                let (first4, next4) = (narrow(first), next.map(narrow));
                let (begin, end) = self.v4.between(first4, next4);
                let sides = (begin % 2 != 0, end % 2 != 0);
                let steps = steps_between((first, last), inner, bits, around, sides)?;
                let mut steps4 = Vec::new();
                steps4.try_reserve_exact(steps.len()).ok()?;
                steps4.extend(steps.into_iter().map(narrow));
                self.v4.replace(first4, next4, &steps4)
            }
            Family::V6 => {
                let (begin, end) = self.v6.between(first, next);
                let sides = (begin % 2 != 0, end % 2 != 0);
                self.v6.replace(first, next, &steps_between((first, last), inner, bits, around, sides)?)
            }
            Family::Any => Some(()),
        }
    }

    /// The same table. `None` without memory. Allocates.
    #[must_use]
    pub fn copy(&self) -> Option<Self> {
        Some(Self { v4: self.v4.copy()?, v6: self.v6.copy()? })
    }

    /// True if the longest prefix that covers the address is there and has no `!`. The address is in network order,
    /// IPv4 in the first four bytes.
    #[must_use]
    pub fn contains(&self, family: Family, addr: &[u8; 16]) -> bool {
        match family {
            Family::V4 => {
                let [a, b, c, d, ..] = *addr;
                self.v4.contains(u32::from_be_bytes([a, b, c, d]))
            }
            Family::V6 => self.v6.contains(u128::from_be_bytes(*addr)),
            Family::Any => false,
        }
    }

    /// [`LookupTable::contains`] for many IPv4 addresses; what is behind the shorter of the two slices is left out.
    pub fn contains_burst4(&self, addrs: &[u32], inside: &mut [bool]) {
        self.v4.contains_burst(addrs, inside);
    }

    /// [`LookupTable::contains`] for many IPv6 addresses; what is behind the shorter of the two slices is left out.
    pub fn contains_burst6(&self, addrs: &[u128], inside: &mut [bool]) {
        self.v6.contains_burst(addrs, inside);
    }

    /// Number of intervals, both families.
    #[must_use]
    pub fn intervals(&self) -> usize {
        self.v4.len().saturating_add(self.v6.len())
    }

    /// What it takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes().saturating_add(self.v6.memory_bytes())
    }
}
