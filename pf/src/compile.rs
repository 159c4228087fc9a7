//! Expanded rules to the rule model that the core's image carries.
//!
//! Only what `refuse` lets through comes here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use weir_core::filter::{
    Action, AddrKind, AddrMatch, Anchor, Endpoint, Family, IcmpMatch, PortMatch, Rule, RuleFlags, Ruleset, Table,
    TableEntry, TcpFlagsMatch,
};

use crate::anchor::Unfold;
use crate::ast::{Port, SetOption};
use crate::diag::Sink;
use crate::flat::{Addr, Flat, FlatAction, FlatHost, FlatLine, FlatRule, FlatTable, FlatTablePart};
use crate::lint;
use crate::names::protocols::{ICMP, ICMP6};
use crate::print;
use crate::source::Span;

fn octets(addr: &IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(a) => {
            let mut out = [0; 16];
            out[..4].copy_from_slice(&a.octets());
            out
        }
        IpAddr::V6(a) => a.octets(),
    }
}

/// The bytes of a mask of so many bits.
fn mask(len: u8) -> [u8; 16] {
    u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0).to_be_bytes()
}

/// Builds a ruleset; warns about tables that are empty or not defined.
pub struct Compiler<'a> {
    sink: &'a mut Sink,
    ruleset: Ruleset,
    places: Vec<Span>,
}

impl<'a> Compiler<'a> {
    /// Compiles a file.
    pub fn file(sink: &'a mut Sink, flat: &Flat) -> Ruleset {
        let mut compiler = Self { sink, ruleset: Ruleset::default(), places: Vec::new() };
        compiler.tables(flat);
        for (_, inner) in &flat.loaded {
            compiler.tables(inner);
        }
        let rules = Unfold::file(compiler.sink, flat);
        for rule in &rules {
            compiler.rule(rule);
        }
        let Self { sink, mut ruleset, places } = compiler;
        let filter = ruleset.rules.len() as u32;
        ruleset.anchors.push(Anchor { path: String::new(), lists: [0, 0, 0, 0, 0, 0, filter] });
        if sink.only_meaningless() {
            lint::rules(&ruleset, &places, sink);
        }
        ruleset
    }

    /// Tables and skipped interfaces of a file. A table of an anchor's file is one of the whole ruleset here.
    fn tables(&mut self, flat: &Flat) {
        for line in &flat.lines {
            match line {
                FlatLine::Table(table) => self.table(table),
                FlatLine::Set(SetOption::Skip(interfaces)) => {
                    for interface in interfaces.iter().filter(|i| i.name != "none") {
                        self.skip(&interface.name, interface.span);
                    }
                }
                _ => {}
            }
        }
    }

    /// `set skip on IF`: a rule before all others that ends evaluation there. A loopback never meets a NIC.
    fn skip(&mut self, interface: &str, span: Span) {
        if interface.trim_end_matches(|c: char| c.is_ascii_digit()) == "lo" {
            return;
        }
        let line = self.sink.sources.line(span);
        self.places.push(span);
        self.ruleset.rules.push(Rule {
            flags: RuleFlags::QUICK,
            interface: interface.to_owned(),
            text: format!("set skip on {{ {interface} }}"),
            line,
            ..Rule::default()
        });
    }

    fn table(&mut self, table: &FlatTable) {
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
        let new = Table {
            name: table.name.clone(),
            persist: table.persist,
            constant: table.constant,
            counters: table.counters,
            defined: !table.parts.is_empty(),
            entries,
            ..Table::default()
        };
        match self.ruleset.tables.iter_mut().find(|t| t.name == new.name) {
            Some(old) => *old = new,
            None => self.ruleset.tables.push(new),
        }
    }

    fn table_index(&mut self, name: &str, span: Span) -> u32 {
        let found = self.ruleset.tables.iter().position(|t| t.name == name);
        let index = found.unwrap_or_else(|| {
            self.sink
                .warn(span, format!("table <{name}> is not defined: it is empty and never matches"))
                .hint(format!("define it: table <{name}> {{ ... }}"));
            self.ruleset.tables.push(Table { name: name.to_owned(), ..Table::default() });
            self.ruleset.tables.len() - 1
        });
        index as u32
    }

    fn address(&mut self, host: &FlatHost, span: Span) -> AddrMatch {
        let mut out = AddrMatch { negate: host.negate, ..AddrMatch::default() };
        match &host.addr {
            Addr::Prefix { addr, len } => {
                out.kind = match addr {
                    IpAddr::V4(_) => AddrKind::Mask4,
                    IpAddr::V6(_) => AddrKind::Mask6,
                };
                out.addr = octets(addr);
                out.end = mask(*len);
                if addr.is_ipv4() {
                    out.end[4..].fill(0);
                }
            }
            Addr::Range(a, b) => {
                out.kind = match a {
                    IpAddr::V4(_) => AddrKind::Range4,
                    IpAddr::V6(_) => AddrKind::Range6,
                };
                out.addr = octets(a);
                out.end = octets(b);
            }
            Addr::Table(name) => {
                out.kind = AddrKind::Table;
                out.table = self.table_index(name, span);
            }
            // Refused before, or left out by a lenient load together with its rule.
            Addr::Any | Addr::Dynamic { .. } | Addr::NoRoute | Addr::UrpfFailed | Addr::RouteLabel(_) => {}
        }
        out
    }

    fn endpoint(&mut self, host: &FlatHost, port: Option<Port>, span: Span) -> Endpoint {
        Endpoint {
            addr: self.address(host, span),
            port: port.map_or(PortMatch::default(), |p| PortMatch { op: p.op, a: p.a, b: p.b }),
        }
    }

    fn rule(&mut self, rule: &FlatRule) {
        let action = match rule.action {
            FlatAction::Pass => Action::Pass,
            FlatAction::Block(_) => Action::Block,
            FlatAction::Match => Action::Match,
            _ => return,
        };
        if left_out(rule) {
            return;
        }
        let mut flags = RuleFlags::empty();
        flags.set(RuleFlags::QUICK, rule.quick);
        flags.set(RuleFlags::LOG, rule.log.is_some());
        flags.set(RuleFlags::LOG_ALL, rule.log.is_some_and(|l| l.all));
        flags.set(RuleFlags::NOT_INTERFACE, rule.interface.0);
        flags.set(RuleFlags::FRAGMENT, rule.fragment);
        flags.set(RuleFlags::ALLOW_OPTS, rule.allow_opts);
        let family = match (rule.family, rule.protocol) {
            (Family::Any, ICMP) => Family::V4,
            (Family::Any, ICMP6) => Family::V6,
            (family, _) => family,
        };
        let tcp_flags = match rule.flags_given {
            true => TcpFlagsMatch { set: rule.flags.0, out_of: rule.flags.1 },
            false => TcpFlagsMatch::default(),
        };
        let src = self.endpoint(&rule.src, rule.src_port, rule.span);
        let dst = self.endpoint(&rule.dst, rule.dst_port, rule.span);
        self.places.push(rule.span);
        self.ruleset.rules.push(Rule {
            action,
            direction: rule.direction,
            flags,
            interface: rule.interface.1.clone(),
            family,
            protocol: Some(rule.protocol).filter(|p| *p != 0),
            src,
            dst,
            icmp: rule.icmp.map(|i| IcmpMatch { kind: i.kind, code: i.code }),
            tcp_flags,
            labels: rule.labels.clone(),
            text: print::rule(rule),
            line: self.sink.sources.line(rule.span),
            ..Rule::default()
        });
    }
}

/// Whether a lenient load leaves a rule out: one of its conditions cannot be tested, and without it the rule would
/// match more than it says.
fn left_out(rule: &FlatRule) -> bool {
    let routing = |host: &FlatHost| matches!(host.addr, Addr::NoRoute | Addr::UrpfFailed | Addr::RouteLabel(_));
    rule.user.is_some()
        || rule.group.is_some()
        || rule.received_on.is_some()
        || routing(&rule.src)
        || routing(&rule.dst)
}
