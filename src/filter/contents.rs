//! What a table holds, and what changes of it.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::{Family, LookupTable, Table, TableEntry};

/// More entries than this that change at once make a table anew.
const CHANGES_MAX: usize = 64;

/// A table's contents: in the order they were given, and for lookup.
#[derive(Debug, Default)]
pub struct TableContents {
    /// The entries, sorted.
    pub entries: Vec<TableEntry>,
    lookup: LookupTable,
}

impl TableContents {
    /// `None` without memory.
    #[must_use]
    pub fn new(mut entries: Vec<TableEntry>) -> Option<Self> {
        let key = |entry: &TableEntry| (entry.family as u8, entry.addr, entry.len);
        entries.sort_unstable_by_key(key);
        entries.dedup_by_key(|entry| key(entry));
        let table = Table { entries, ..Table::default() };
        let lookup = LookupTable::new(&table)?;
        Some(Self { entries: table.entries, lookup })
    }

    /// The contents with other entries, sorted, each once: `changed` names those that are not as they were, the ones that are
    /// gone too. Where they are few, what lookups need is changed, not built anew. `None` without memory.
    #[must_use]
    pub fn changed(&self, entries: Vec<TableEntry>, changed: &[TableEntry]) -> Option<Self> {
        if changed.len() > CHANGES_MAX {
            return Self::new(entries);
        }
        let mut lookup = self.lookup.copy()?;
        for entry in changed {
            lookup.update(&entries, entry)?;
        }
        Some(Self { entries, lookup })
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, family: Family, addr: &[u8; 16]) -> bool {
        self.lookup.contains(family, addr)
    }
}
