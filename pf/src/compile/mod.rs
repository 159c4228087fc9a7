//! Expanded rules to the rule model that the core's image carries: options, tables, anchors and their lists of rules.
//!
//! Only what `refuse` lets through comes here, or what a lenient load leaves out.

mod address;
mod anchors;
mod options;
mod rule;
mod table;

use std::collections::HashMap;

use weir_core::filter::image::TAGS_MAX;
use weir_core::filter::{List, Rule, Ruleset};

use crate::ast::AnchorKind;
use crate::diag::Sink;
use crate::flat::{Flat, FlatAction, FlatAnchor, FlatRule, FlatSet};
use crate::lint;
use crate::source::Span;

/// The rules of one anchor, with the statement each came from.
#[derive(Default)]
struct Lists {
    rules: [Vec<Rule>; List::ALL.len()],
    places: [Vec<Span>; List::ALL.len()],
}

/// Builds a ruleset; warns about tables that are empty or not defined.
pub struct Compiler<'a> {
    sink: &'a mut Sink,
    ruleset: Ruleset,
    /// Anchors in the order of their first mention, by which calls name them until all are known.
    paths: HashMap<String, u32>,
    lists: Vec<(String, Lists)>,
    /// Numbers of tags.
    tags: HashMap<String, u16>,
    /// Number of the next anchor without a name.
    nameless: u32,
}

impl<'a> Compiler<'a> {
    /// Compiles a file.
    pub fn file(sink: &'a mut Sink, flat: &Flat) -> Ruleset {
        let mut compiler = Self {
            sink,
            ruleset: Ruleset::default(),
            paths: HashMap::new(),
            lists: Vec::new(),
            tags: HashMap::new(),
            nameless: 0,
        };
        compiler.anchor("");
        compiler.options(flat);
        compiler.tables(flat, "");
        for (path, inner) in &flat.loaded {
            compiler.tables(inner, path);
        }
        compiler.set(&flat.set, "");
        for (path, inner) in &flat.loaded {
            compiler.set(&inner.set, path);
        }
        if compiler.ruleset.tags.len() > TAGS_MAX {
            compiler.sink.error(Span::default(), format!("there are more than {TAGS_MAX} tags"));
        }
        let places = compiler.finish();
        let Self { sink, ruleset, .. } = compiler;
        if sink.language_ok() {
            lint::rules(&ruleset, &places, sink);
        }
        ruleset
    }

    /// All rules of one anchor; those of its inline anchors go to theirs.
    fn set(&mut self, set: &FlatSet, path: &str) {
        for one in &set.ether {
            let inner = one.anchor.as_ref().map(|anchor| self.called(anchor, path));
            let mut rule = self.ether(one, path);
            rule.call = inner;
            self.push(path, List::Ether, rule, one.span);
        }
        let lists = [
            (List::Scrub, &set.scrub),
            (List::Nat, &set.nat),
            (List::Binat, &set.binat),
            (List::Rdr, &set.rdr),
            (List::Dummynet, &set.dummynet),
            (List::Filter, &set.filter),
        ];
        for (list, rules) in lists {
            for one in rules {
                self.one(one, list, path);
            }
        }
    }

    fn one(&mut self, one: &FlatRule, list: List, path: &str) {
        let call = match (&one.anchor, one.action) {
            (Some(anchor), FlatAction::Anchor(_)) => Some(self.called(anchor, path)),
            _ => None,
        };
        if rule::left_out(one) {
            return;
        }
        for mut rule in self.rules(one, list, path) {
            rule.call = call;
            self.push(path, list, rule, one.span);
        }
    }

    /// What an anchor rule calls; the rules in its braces are compiled.
    fn called(&mut self, anchor: &FlatAnchor, path: &str) -> weir_core::filter::Call {
        let (target, children) = self.target(&anchor.name, path);
        if let Some(body) = &anchor.body {
            self.set(body, &target);
        }
        weir_core::filter::Call { anchor: self.anchor(&target), children }
    }

    fn push(&mut self, path: &str, list: List, rule: Rule, span: Span) {
        let at = self.anchor(path) as usize;
        let lists = &mut self.lists[at].1;
        lists.rules[list as usize].push(rule);
        lists.places[list as usize].push(span);
    }
}

/// The list that an anchor's kind calls in.
#[must_use]
pub fn list_of(kind: AnchorKind) -> List {
    match kind {
        AnchorKind::Filter => List::Filter,
        AnchorKind::Nat => List::Nat,
        AnchorKind::Rdr => List::Rdr,
        AnchorKind::Binat => List::Binat,
        AnchorKind::Scrub => List::Scrub,
        AnchorKind::Dummynet => List::Dummynet,
    }
}
