//! Anchors, unfolded: a call is replaced by the anchor's rules, each narrowed by the call's own tests.
//!
//! Last match wins across a call just as inside one file, so the order of rules is all that has to be kept.

use crate::ast::{AnchorKind, Direction, Family};
use crate::diag::Sink;
use crate::flat::{Addr, Flat, FlatAction, FlatHost, FlatRule};
use crate::resolve::{family_of, interface_matches, mask};

/// Why a rule of an anchor is not among the unfolded ones.
enum Narrow {
    /// It matches nothing that the call lets through.
    Never,
    /// Both have a test of this kind, and the rule model has room for one.
    Both(&'static str),
}

/// Filter rules without anchors.
pub struct Unfold<'a> {
    loaded: &'a [(String, Flat)],
    sink: &'a mut Sink,
    out: Vec<FlatRule>,
}

/// Deepest nesting of anchors.
const DEEPEST: usize = 64;

impl<'a> Unfold<'a> {
    /// Unfolds the anchors of a file.
    pub fn file(sink: &'a mut Sink, flat: &'a Flat) -> Vec<FlatRule> {
        let mut unfold = Self { loaded: &flat.loaded, sink, out: Vec::new() };
        unfold.rules(&flat.set.filter, "", &[], 0);
        unfold.out
    }

    fn rules(&mut self, rules: &[FlatRule], path: &str, calls: &[&FlatRule], depth: usize) {
        for rule in rules {
            let Some(anchor) = &rule.anchor else {
                self.rule(rule, calls);
                continue;
            };
            if rule.action != FlatAction::Anchor(AnchorKind::Filter) {
                continue;
            }
            if depth >= DEEPEST {
                self.sink.unsupported(rule.span, "nesting anchors so deeply");
                continue;
            }
            let mut inner = calls.to_vec();
            inner.push(rule);
            let own = join(path, &anchor.name);
            if let Some(body) = &anchor.body {
                self.rules(&body.filter, &own, &inner, depth + 1);
                continue;
            }
            let targets = self.targets(&own);
            if targets.is_empty() {
                self.sink
                    .warn(rule.span, format!("anchor \"{}\" has no rules", anchor.name))
                    .hint("this version cannot add any later; `load anchor` gives it rules");
            }
            for (name, flat) in targets {
                self.rules(&flat.set.filter, name, &inner, depth + 1);
            }
        }
    }

    /// What a path calls: one anchor, or, for `path/*`, the anchors in it in the order of their names.
    fn targets(&self, path: &str) -> Vec<(&'a str, &'a Flat)> {
        let loaded: &'a [(String, Flat)] = self.loaded;
        let mut found: Vec<(&str, &Flat)> = match path.strip_suffix("/*") {
            Some(parent) => loaded
                .iter()
                .filter(|(name, _)| {
                    let child = name.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/'));
                    child.is_some_and(|child| !child.contains('/'))
                })
                .map(|(name, flat)| (name.as_str(), flat))
                .collect(),
            None => loaded.iter().filter(|(name, _)| name == path).map(|(name, flat)| (name.as_str(), flat)).collect(),
        };
        found.sort_by_key(|(name, _)| *name);
        found
    }

    fn rule(&mut self, rule: &FlatRule, calls: &[&FlatRule]) {
        let mut narrowed = rule.clone();
        for call in calls.iter().rev() {
            match narrow(&mut narrowed, call) {
                Ok(()) => {}
                Err(Narrow::Never) => return,
                Err(Narrow::Both(what)) => {
                    self.sink
                        .unsupported(rule.span, format!("testing {what} here and in the anchor around it"))
                        .hint("test it in one of the two places");
                    return;
                }
            }
        }
        self.out.push(narrowed);
    }
}

/// A path that a call inside an anchor names; one that begins with `/` begins at the top.
fn join(path: &str, name: &str) -> String {
    match name.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None if path.is_empty() => name.to_owned(),
        None => format!("{path}/{name}"),
    }
}

/// Adds the tests of a call to a rule.
fn narrow(rule: &mut FlatRule, call: &FlatRule) -> Result<(), Narrow> {
    rule.direction = match (rule.direction, call.direction) {
        (own, Direction::Any) => own,
        (Direction::Any, outer) => outer,
        (own, outer) if own == outer => own,
        _ => return Err(Narrow::Never),
    };
    rule.family = match (rule.family, call.family) {
        (own, Family::Any) => own,
        (Family::Any, outer) => outer,
        (own, outer) if own == outer => own,
        _ => return Err(Narrow::Never),
    };
    rule.protocol = match (rule.protocol, call.protocol) {
        (own, 0) => own,
        (0, outer) => outer,
        (own, outer) if own == outer => own,
        _ => return Err(Narrow::Never),
    };
    rule.interface = interface(&rule.interface, &call.interface)?;
    rule.src = address(&rule.src, &call.src)?;
    rule.dst = address(&rule.dst, &call.dst)?;
    rule.src_port = either(rule.src_port, call.src_port, "ports")?;
    rule.dst_port = either(rule.dst_port, call.dst_port, "ports")?;
    rule.icmp = either(rule.icmp, call.icmp, "ICMP types")?;
    rule.fragment |= call.fragment;
    if call.flags_given && call.flags != (0, 0) {
        if rule.flags_given && rule.flags != (0, 0) && rule.flags != call.flags {
            return Err(Narrow::Both("TCP flags"));
        }
        (rule.flags, rule.flags_given) = (call.flags, true);
    }
    Ok(())
}

fn either<T: PartialEq>(own: Option<T>, outer: Option<T>, what: &'static str) -> Result<Option<T>, Narrow> {
    match (own, outer) {
        (own, None) => Ok(own),
        (None, outer) => Ok(outer),
        (own, outer) if own == outer => Ok(own),
        _ => Err(Narrow::Both(what)),
    }
}

type Interface = (bool, String);

fn interface(own: &Interface, outer: &Interface) -> Result<Interface, Narrow> {
    if outer.1.is_empty() || own == outer {
        return Ok(own.clone());
    }
    if own.1.is_empty() {
        return Ok(outer.clone());
    }
    match (own.0, outer.0) {
        (false, false) if interface_matches(&own.1, &outer.1) => Ok(own.clone()),
        (false, false) if interface_matches(&outer.1, &own.1) => Ok(outer.clone()),
        (false, false) => Err(Narrow::Never),
        _ => Err(Narrow::Both("interfaces")),
    }
}

fn address(own: &FlatHost, outer: &FlatHost) -> Result<FlatHost, Narrow> {
    let any = |host: &FlatHost| host.addr == Addr::Any && !host.negate;
    if any(outer) || own == outer {
        return Ok(own.clone());
    }
    if any(own) {
        return Ok(outer.clone());
    }
    let both = Err(Narrow::Both("addresses"));
    let (Addr::Prefix { addr: a, len: a_len }, Addr::Prefix { addr: b, len: b_len }) = (&own.addr, &outer.addr) else {
        return both;
    };
    if own.negate || outer.negate {
        return both;
    }
    if family_of(a) != family_of(b) {
        return Err(Narrow::Never);
    }
    let shorter = *a_len.min(b_len);
    if mask(*a, shorter) != mask(*b, shorter) {
        return Err(Narrow::Never);
    }
    Ok(if a_len >= b_len { own.clone() } else { outer.clone() })
}
