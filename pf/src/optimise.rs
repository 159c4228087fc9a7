//! `set ruleset-optimization basic`: fewer filter rules that mean the same (pf.conf(5), "set ruleset-optimization").
//!
//! 1. Rules that never decide go: a later rule, or an earlier `quick` one, matches all that they match.
//! 2. Where several rules in a row do the same, their order does not matter: those that differ in one address only
//!    stand together.
//! 3. Six or more of them become one rule with a table.
//!
//! A rule that can be told from outside (by its label, tag, limit or chance) stays where it is.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::ast::{Direction, Family, PortOp};
use crate::flat::{Addr, Flat, FlatAction, FlatHost, FlatLine, FlatRule, FlatSet, FlatTable, FlatTablePart};
use crate::resolve::{interface_matches, mask};
use crate::source::Span;

/// So many rules that differ in one address become a table.
const TABLE_FROM: usize = 6;
/// Longer lists are not searched for rules that never decide: the search compares each with each.
const MOST_RULES: usize = 4000;

/// Optimises all filter rules of a file.
pub fn basic(flat: &mut Flat) {
    let mut tables = Vec::new();
    set(&mut flat.set, &mut tables);
    flat.lines.extend(tables.into_iter().map(FlatLine::Table));
    for (_, inner) in &mut flat.loaded {
        basic(inner);
    }
}

fn set(set: &mut FlatSet, tables: &mut Vec<FlatTable>) {
    for rule in &mut set.filter {
        if let Some(body) = rule.anchor.as_mut().and_then(|anchor| anchor.body.as_mut()) {
            self::set(body, tables);
        }
    }
    undecided(&mut set.filter);
    let rules = std::mem::take(&mut set.filter);
    let mut run: Vec<FlatRule> = Vec::new();
    for rule in rules {
        let joins = run.first().is_none_or(|first| movable(first) && movable(&rule) && effect(first) == effect(&rule));
        if !joins {
            set.filter.extend(combine(std::mem::take(&mut run), tables));
        }
        run.push(rule);
    }
    set.filter.extend(combine(run, tables));
}

/// Whether nobody could tell if another rule that does the same decided instead.
fn movable(rule: &FlatRule) -> bool {
    plain(rule) && rule.labels.is_empty() && rule.ridentifier == 0 && rule.tag.is_none()
}

/// Whether a rule decides, and by its tests alone.
fn plain(rule: &FlatRule) -> bool {
    matches!(rule.action, FlatAction::Pass | FlatAction::Block(_))
        && rule.probability == 0
        && !rule.once
        && rule.max_pkt_rate.is_none()
        && rule.state.max == 0
        && !rule.state.source_track
}

/// A rule without its tests: what is left is what it does.
fn effect(rule: &FlatRule) -> FlatRule {
    FlatRule {
        span: Span::default(),
        number: 0,
        flags_given: false,
        direction: Direction::Any,
        interface: (false, String::new()),
        received_on: None,
        family: Family::Any,
        protocol: 0,
        src: FlatHost::default(),
        src_port: None,
        os: None,
        dst: FlatHost::default(),
        dst_port: None,
        user: None,
        group: None,
        flags: (0, 0),
        icmp: None,
        tos: 0,
        prio: None,
        fragment: false,
        max_pkt_size: None,
        tagged: None,
        ..rule.clone()
    }
}

/// Whether evaluation may end here although nothing was decided here: then the rule decides that matched before.
fn may_end(rule: &FlatRule) -> bool {
    rule.anchor.is_some() || (rule.action == FlatAction::Match && rule.quick)
}

/// Takes rules away that never decide.
fn undecided(rules: &mut Vec<FlatRule>) {
    if rules.len() > MOST_RULES {
        return;
    }
    let mut at = 0;
    while at < rules.len() {
        let rule = &rules[at];
        let gone = movable(rule)
            && rules.iter().enumerate().any(|(other, by)| {
                let takes = match other < at {
                    true => by.quick,
                    false => other > at && !rule.quick && !rules[at..other].iter().any(may_end),
                };
                // The tag that a rule tests may be another by then.
                takes && plain(by) && by.tagged.is_none() && covers(by, rule)
            });
        if gone {
            rules.remove(at);
        } else {
            at += 1;
        }
    }
}

fn side(rule: &mut FlatRule, source: bool) -> &mut FlatHost {
    if source { &mut rule.src } else { &mut rule.dst }
}

/// The address that a table could hold.
fn single(host: &FlatHost) -> bool {
    matches!(host.addr, Addr::Prefix { len, .. } if len > 0) && !host.negate
}

/// The rule with one side left out: rules for which this is equal can share a table.
fn without(rule: &FlatRule, source: bool) -> FlatRule {
    let mut rest = FlatRule { span: Span::default(), number: 0, ..rule.clone() };
    *side(&mut rest, source) = FlatHost::default();
    rest
}

/// Puts a run of rules that do the same together, by tables where there are enough.
fn combine(run: Vec<FlatRule>, tables: &mut Vec<FlatTable>) -> Vec<FlatRule> {
    let mut rules = run;
    for source in [false, true] {
        // Rules that a table could stand for, by what else they test; the others are groups of one.
        let mut groups: Vec<Vec<FlatRule>> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for mut rule in rules {
            let fits = single(side(&mut rule, source)) && movable(&rule);
            let group = match fits {
                true => *known.entry(format!("{:?}", without(&rule, source))).or_insert(groups.len()),
                false => groups.len(),
            };
            match groups.get_mut(group) {
                Some(members) => members.push(rule),
                None => groups.push(vec![rule]),
            }
        }
        rules = Vec::new();
        for members in groups {
            if members.len() < TABLE_FROM {
                rules.extend(members);
                continue;
            }
            rules.push(as_table(members, source, tables));
        }
    }
    rules
}

fn as_table(members: Vec<FlatRule>, source: bool, tables: &mut Vec<FlatTable>) -> FlatRule {
    let mut hosts: Vec<FlatHost> = Vec::new();
    let mut first = members[0].clone();
    for mut member in members {
        let host = FlatHost { family: Some(member.family), ..side(&mut member, source).clone() };
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let mut hasher = DefaultHasher::new();
    for host in &hosts {
        format!("{:?}", host.addr).hash(&mut hasher);
    }
    let name = format!("__automatic_{:08x}_{}", hasher.finish() as u32, tables.len());
    *side(&mut first, source) = FlatHost { addr: Addr::Table(name.clone()), ..FlatHost::default() };
    tables.push(FlatTable {
        span: first.span,
        name,
        constant: true,
        persist: false,
        counters: false,
        parts: vec![FlatTablePart::List(hosts)],
    });
    first
}

/// Whether every packet that `b` matches is matched by `a`.
fn covers(a: &FlatRule, b: &FlatRule) -> bool {
    let interface = a.interface.1.is_empty()
        || a.interface == b.interface
        || (!a.interface.0 && !b.interface.0 && interface_matches(&b.interface.1, &a.interface.1));
    let icmp = match (a.icmp, b.icmp) {
        (None, _) => true,
        (Some(a), Some(b)) => a.kind == b.kind && (a.code.is_none() || a.code == b.code),
        (Some(_), None) => false,
    };
    fn same<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
        a.is_none() || a == b
    }
    interface
        && icmp
        && (!a.fragment || b.fragment)
        && (a.direction == Direction::Any || a.direction == b.direction)
        && (a.family == Family::Any || a.family == b.family)
        && (a.protocol == 0 || a.protocol == b.protocol)
        && (a.flags == (0, 0) || a.flags == b.flags)
        && (a.tos == 0 || a.tos == b.tos)
        && same(&a.user, &b.user)
        && same(&a.group, &b.group)
        && same(&a.os, &b.os)
        && same(&a.received_on, &b.received_on)
        && same(&a.prio, &b.prio)
        && same(&a.max_pkt_size, &b.max_pkt_size)
        && host_covers(&a.src, &b.src)
        && host_covers(&a.dst, &b.dst)
        && same_ports(a.src_port, b.src_port)
        && same_ports(a.dst_port, b.dst_port)
}

fn host_covers(a: &FlatHost, b: &FlatHost) -> bool {
    if (a.addr == Addr::Any && !a.negate) || (a.addr == b.addr && a.negate == b.negate) {
        return true;
    }
    match (&a.addr, &b.addr) {
        (Addr::Prefix { addr: outer, len }, Addr::Prefix { addr: inner, len: longer }) => {
            !a.negate
                && !b.negate
                && outer.is_ipv4() == inner.is_ipv4()
                && len <= longer
                && mask(*inner, *len) == mask(*outer, *len)
        }
        _ => false,
    }
}

fn same_ports(a: Option<crate::ast::Port>, b: Option<crate::ast::Port>) -> bool {
    let Some(a) = a else { return true };
    let Some(b) = b else { return false };
    let one = b.op == PortOp::Eq;
    a == b || (one && a.op == PortOp::Range && (a.a..=a.b).contains(&b.a)) || (one && a.op == PortOp::Eq && a.a == b.a)
}
