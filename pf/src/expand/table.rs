//! Tables: their addresses from lists and files.

use super::Expander;
use crate::ast::{Host, HostKind, TableDef, TablePart};
use crate::flat::{FlatHost, FlatTable, FlatTablePart};
use crate::source::{SourceFile, Span, Spanned};

impl Expander<'_> {
    pub(super) fn table(&mut self, table: &TableDef) -> Option<FlatTable> {
        let before = self.sink.error_count();
        let mut parts = Vec::new();
        for part in &table.parts {
            parts.push(match part {
                TablePart::List(hosts) => {
                    let mut found = Vec::new();
                    for host in hosts {
                        if let Some(reason) = forbidden(host) {
                            self.sink.error(host.span, reason);
                            continue;
                        }
                        found.extend(self.lookup.host(host, self.sink));
                    }
                    FlatTablePart::List(found)
                }
                TablePart::File(name) => FlatTablePart::File(name.node.clone(), self.table_file(name)),
            });
        }
        if self.sink.error_count() > before {
            return None;
        }
        Some(FlatTable {
            span: table.span,
            name: table.name.node.clone(),
            constant: table.constant,
            persist: table.persist,
            counters: table.counters,
            parts,
        })
    }

    /// A file of addresses: separated by white space, `#` and `;` begin comments (pfctl(8), `-T`, `-f`).
    fn table_file(&mut self, name: &Spanned<String>) -> Vec<FlatHost> {
        let text = match self.lookup.resolver().read(&name.node) {
            Ok(text) => text,
            Err(reason) => {
                self.sink.error(name.span, format!("cannot load \"{}\": {reason}", name.node));
                return Vec::new();
            }
        };
        let mut words = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let code = line.split(['#', ';']).next().unwrap_or("");
            for word in code.split_whitespace() {
                let start = at + (word.as_ptr() as usize - line.as_ptr() as usize);
                words.push((start, word.to_owned()));
            }
            at += line.len();
        }
        let file = self.sink.sources.add(SourceFile::new(name.node.clone(), text));
        let mut found = Vec::new();
        for (start, word) in words {
            let span = Span { file, start: start as u32, end: (start + word.len()) as u32 };
            let bare = word.trim_start_matches('!');
            let negate = (word.len() - bare.len()) % 2 == 1;
            let (address, len) = match bare.split_once('/') {
                Some((address, len)) => match len.parse() {
                    Ok(len) => (address, Some(len)),
                    Err(_) => {
                        self.sink.error(span, format!("`{len}` is not the length of a prefix"));
                        continue;
                    }
                },
                None => (bare, None),
            };
            for host in self.lookup.name(address, len, span, self.sink) {
                found.push(FlatHost { negate, ..host });
            }
        }
        found
    }
}

/// Why a host cannot stand in a table.
fn forbidden(host: &Host) -> Option<&'static str> {
    Some(match host.kind {
        HostKind::Range(..) => "address ranges are not permitted inside tables",
        HostKind::Dynamic { .. } => "dynamic addresses are not permitted inside tables",
        HostKind::Table(_) => "tables cannot contain tables",
        HostKind::NoRoute => "\"no-route\" is not permitted inside tables",
        HostKind::UrpfFailed => "\"urpf-failed\" is not permitted inside tables",
        HostKind::RouteLabel(_) => "\"route\" is not permitted inside tables",
        HostKind::Any => "\"any\" is not permitted inside tables",
        HostKind::Name { .. } => return None,
    })
}
