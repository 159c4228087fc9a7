//! Anchors that are loaded and emptied one by one, while the rest of the ruleset stays (`pfctl -a`).
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;

use super::{AddrKind, AddrMatch, List, Pool, Rule, Ruleset};

type Lists = [Vec<Rule>; List::ALL.len()];

/// `path`, or what is below it.
fn is_inside(path: &str, anchor: &str) -> bool {
    anchor == path || anchor.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
}

fn join(path: &str, child: &str) -> String {
    let mut joined = String::from(path);
    if !child.is_empty() {
        joined.push('/');
        joined.push_str(child);
    }
    joined
}

/// A ruleset in which the anchor `path`, and everything below it, is what `with` has as its root: `None` empties it.
/// Calls of anchors that are gone call empty ones. Tables of `with` become tables of the anchor, but for those that it
/// only names and the main ruleset has. Options of `with` are ignored. Allocates; the result has not been validated.
#[must_use]
pub fn replace_anchor(main: &Ruleset, path: &str, with: Option<&Ruleset>) -> Ruleset {
    let mut out = Ruleset {
        options: main.options.clone(),
        tags: main.tags.clone(),
        tables: main.tables.clone(),
        dynamics: main.dynamics.clone(),
        ..Ruleset::default()
    };
    // Every anchor with its rules; calls hold indices into `paths`, which are set right at the end.
    let mut anchors: Vec<(String, Lists)> = Vec::new();
    let mut paths: Vec<String> = Vec::new();
    for (index, anchor) in main.anchors.iter().enumerate() {
        let keep = !is_inside(path, &anchor.path);
        let lists = List::ALL.map(|list| if keep { main.list(index, list).to_vec() } else { Vec::new() });
        paths.push(anchor.path.clone());
        anchors.push((anchor.path.clone(), lists));
    }
    if let Some(with) = with {
        let adopt = Adopted::new(with, &mut out, path, paths.len());
        for (index, anchor) in with.anchors.iter().enumerate() {
            let own = join(path, &anchor.path);
            let lists = List::ALL.map(|list| {
                let rules = with.list(index, list);
                rules.iter().map(|rule| adopt.rule(rule)).collect()
            });
            paths.push(own.clone());
            match anchors.iter_mut().find(|(path, _)| *path == own) {
                Some(slot) => slot.1 = lists,
                None => anchors.push((own, lists)),
            }
        }
    }
    // Every anchor is in one that is there.
    for index in 0..anchors.len() {
        let mut rest = anchors.get(index).map(|(path, _)| path.clone()).unwrap_or_default();
        while let Some((parent, _)) = rest.rsplit_once('/').map(|(parent, name)| (String::from(parent), name.len())) {
            if !anchors.iter().any(|(path, _)| *path == parent) {
                anchors.push((parent.clone(), Lists::default()));
            }
            rest = parent;
        }
    }
    if !anchors.iter().any(|(path, _)| path.is_empty()) {
        anchors.push((String::new(), Lists::default()));
    }
    anchors.sort_by(|(a, _), (b, _)| (!a.is_empty()).cmp(&!b.is_empty()).then_with(|| a.split('/').cmp(b.split('/'))));
    let place = |old: u32| {
        let wanted = paths.get(old as usize);
        let at = anchors.iter().position(|(path, _)| Some(path) == wanted);
        at.and_then(|at| u32::try_from(at).ok()).unwrap_or(0)
    };
    let places: Vec<u32> = (0u32..).take(paths.len()).map(place).collect();
    for (path, mut lists) in anchors {
        for call in lists.iter_mut().flatten().filter_map(|rule| rule.call.as_mut()) {
            call.anchor = places.get(call.anchor as usize).copied().unwrap_or(0);
        }
        out.push_anchor(path, lists);
    }
    out
}

/// Where tables, tags and interfaces of a ruleset are in another one.
struct Adopted {
    tables: Vec<u32>,
    tags: Vec<u16>,
    dynamics: u32,
    anchors: u32,
}

fn index(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Adopted {
    fn new(with: &Ruleset, out: &mut Ruleset, path: &str, anchors: usize) -> Self {
        let mut tables = Vec::new();
        for table in &with.tables {
            let mut own = table.clone();
            let main = out.tables.iter().position(|known| known.anchor.is_empty() && known.name == table.name);
            if let Some(at) = main.filter(|_| !table.defined && table.anchor.is_empty()) {
                tables.push(index(at));
                continue;
            }
            own.anchor = join(path, &table.anchor);
            match out.tables.iter().position(|known| known.anchor == own.anchor && known.name == own.name) {
                Some(at) => {
                    if let Some(slot) = out.tables.get_mut(at) {
                        *slot = own;
                    }
                    tables.push(index(at));
                }
                None => {
                    tables.push(index(out.tables.len()));
                    out.tables.push(own);
                }
            }
        }
        let mut tags = Vec::new();
        for tag in &with.tags {
            let at = out.tags.iter().position(|known| known == tag).unwrap_or_else(|| {
                out.tags.push(tag.clone());
                out.tags.len().saturating_sub(1)
            });
            tags.push(u16::try_from(at.saturating_add(1)).unwrap_or(u16::MAX));
        }
        let dynamics = index(out.dynamics.len());
        out.dynamics.extend(with.dynamics.iter().cloned());
        Self { tables, tags, dynamics, anchors: index(anchors) }
    }

    fn address(&self, test: &mut AddrMatch) {
        match test.kind {
            AddrKind::Table => test.table = self.table(test.table),
            AddrKind::Dynamic => test.table = test.table.saturating_add(self.dynamics),
            _ => {}
        }
    }

    fn table(&self, old: u32) -> u32 {
        self.tables.get(old as usize).copied().unwrap_or(u32::MAX)
    }

    fn tag(&self, old: u16) -> u16 {
        usize::from(old).checked_sub(1).map_or(0, |at| self.tags.get(at).copied().unwrap_or(u16::MAX))
    }

    fn rule(&self, rule: &Rule) -> Rule {
        let mut rule = rule.clone();
        self.address(&mut rule.src.addr);
        self.address(&mut rule.dst.addr);
        let pools = [&mut rule.nat, &mut rule.rdr].into_iter().flatten();
        pools.flat_map(|Pool { hosts, .. }| hosts).for_each(|host| self.address(host));
        if let Some(overload) = &mut rule.state.overload {
            overload.table = self.table(overload.table);
        }
        (rule.tag, rule.tagged) = (self.tag(rule.tag), self.tag(rule.tagged));
        if let Some(call) = &mut rule.call {
            call.anchor = call.anchor.saturating_add(self.anchors);
        }
        rule
    }
}
