//! Tables.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use weir_core::filter::{Table, TableEntry};

use super::Compiler;
use super::address::octets;
use crate::flat::{Addr, Flat, FlatLine, FlatTable, FlatTablePart};
use crate::source::Span;

impl Compiler<'_> {
    /// The tables of a file, which belong to the anchor it is loaded into.
    pub(super) fn tables(&mut self, flat: &Flat, anchor: &str) {
        if !anchor.is_empty() {
            self.anchor(anchor);
        }
        for line in &flat.lines {
            if let FlatLine::Table(table) = line {
                self.table(table, anchor);
            }
        }
    }

    fn table(&mut self, table: &FlatTable, anchor: &str) {
        let mut entries: Vec<TableEntry> = Vec::new();
        let mut places = HashMap::new();
        for part in &table.parts {
            let (FlatTablePart::File(_, hosts) | FlatTablePart::List(hosts)) = part;
            for host in hosts {
                let Addr::Prefix { addr, len } = &host.addr else {
                    continue;
                };
                let entry = TableEntry {
                    family: crate::resolve::family_of(addr),
                    addr: octets(addr),
                    len: *len,
                    negate: host.negate,
                };
                match places.entry((entry.addr, entry.len, addr.is_ipv4())) {
                    Entry::Occupied(old) => entries[*old.get()] = entry,
                    Entry::Vacant(new) => {
                        new.insert(entries.len());
                        entries.push(entry);
                    }
                }
            }
        }
        if entries.is_empty() && !table.persist {
            self.sink
                .warn(table.span, format!("table <{}> is empty", table.name))
                .hint("give it addresses, or `persist` if they are added later");
        }
        entries.sort_by_key(|entry| (entry.family as u8, entry.addr, entry.len));
        let new = Table {
            anchor: anchor.to_owned(),
            name: table.name.clone(),
            persist: table.persist,
            constant: table.constant,
            counters: table.counters,
            defined: !table.parts.is_empty(),
            entries,
        };
        match self.ruleset.tables.iter_mut().find(|t| t.anchor == new.anchor && t.name == new.name) {
            Some(old) => *old = new,
            None => self.ruleset.tables.push(new),
        }
    }

    /// The table a rule of an anchor means: its own, or the next one further out. One that nobody defines is made.
    pub(super) fn table_index(&mut self, name: &str, anchor: &str, span: Span) -> u32 {
        let mut path = anchor;
        loop {
            if let Some(at) = self.ruleset.tables.iter().position(|t| t.anchor == path && t.name == name) {
                return at as u32;
            }
            if path.is_empty() {
                break;
            }
            path = path.rsplit_once('/').map_or("", |(outer, _)| outer);
        }
        self.sink
            .warn(span, format!("table <{name}> is not defined: it is empty until a command adds to it"))
            .hint(format!("define it: table <{name}> {{ ... }}, or table <{name}> persist"));
        self.ruleset.tables.push(Table { name: name.to_owned(), ..Table::default() });
        (self.ruleset.tables.len() - 1) as u32
    }
}
