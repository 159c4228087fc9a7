//! Address tables: longest prefix match.
#![forbid(unsafe_code)]

mod steps;

use alloc::vec::Vec;

use super::{Family, Table, TableEntry};
use steps::{Steps, steps};

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
