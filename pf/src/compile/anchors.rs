//! Anchors: paths, numbers, and the order the image wants.

use std::collections::HashMap;

use weir_core::filter::List;
use weir_core::filter::image::{ANCHOR_NAME_MAX, ANCHOR_PATH_MAX, ANCHORS_MAX, CALL_DEPTH_MAX, EXPANDED_MAX};

use super::{Compiler, Lists};
use crate::source::Span;

impl Compiler<'_> {
    /// The number of a path; it and all that it is in exist from now on.
    pub(super) fn anchor(&mut self, path: &str) -> u32 {
        if let Some(number) = self.paths.get(path) {
            return *number;
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.anchor(parent);
        }
        let number = self.lists.len() as u32;
        self.paths.insert(path.to_owned(), number);
        self.lists.push((path.to_owned(), Lists::default()));
        number
    }

    /// The path that a call inside `path` names, and whether the call is for what is in it (`/*`).
    pub(super) fn target(&mut self, name: &str, path: &str) -> (String, bool) {
        if name.is_empty() {
            self.nameless += 1;
            return (join(path, &format!("_{}", self.nameless)), false);
        }
        match name.strip_suffix('*').filter(|parent| parent.is_empty() || parent.ends_with('/')) {
            Some(parent) => (join(path, parent), true),
            None => (join(path, name), false),
        }
    }

    /// Sorts anchors as the image has them, numbers calls anew and checks what they come to. Gives each rule's place.
    pub(super) fn finish(&mut self) -> Vec<Span> {
        let mut order: Vec<usize> = (0..self.lists.len()).collect();
        order.sort_by(|a, b| self.lists[*a].0.split('/').cmp(self.lists[*b].0.split('/')));
        let mut number = vec![0u32; order.len()];
        for (new, old) in order.iter().enumerate() {
            number[*old] = new as u32;
        }
        let mut places = Vec::new();
        for old in order {
            let (path, lists) = std::mem::take(&mut self.lists[old]);
            self.check_path(&path, &lists);
            let mut rules = lists.rules;
            for call in rules.iter_mut().flatten().filter_map(|rule| rule.call.as_mut()) {
                call.anchor = number[call.anchor as usize];
            }
            places.extend(lists.places.into_iter().flatten());
            self.ruleset.push_anchor(path, rules);
        }
        if self.ruleset.anchors.len() > ANCHORS_MAX {
            self.sink.error(Span::default(), format!("there are more than {ANCHORS_MAX} anchors"));
            return places;
        }
        for list in List::ALL {
            Calls::new(self, list, &places).check();
        }
        places
    }

    fn check_path(&mut self, path: &str, lists: &Lists) {
        let span = lists.places.iter().flatten().next().copied().unwrap_or_default();
        if path.len() > ANCHOR_PATH_MAX || path.split('/').any(|name| name.len() > ANCHOR_NAME_MAX) {
            self.sink.error(
                span,
                format!("anchor name too long: at most {ANCHOR_NAME_MAX} bytes, {ANCHOR_PATH_MAX} for a whole path"),
            );
        } else if !path.is_empty() && path.split('/').any(|name| name.is_empty() || name == "*") {
            self.sink.error(span, format!("`{path}` is not the path of an anchor"));
        }
    }
}

/// A path that a call inside an anchor names; one that begins with `/` begins at the top, `..` goes up.
fn join(path: &str, name: &str) -> String {
    let mut parts: Vec<&str> = match name.starts_with('/') {
        true => Vec::new(),
        false => path.split('/').filter(|part| !part.is_empty()).collect(),
    };
    for part in name.split('/').filter(|part| !part.is_empty()) {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What the calls of one list come to.
struct Calls<'c, 'a> {
    compiler: &'c mut Compiler<'a>,
    list: List,
    /// For each anchor: the anchors its rules call, and the place of the call.
    calls: Vec<Vec<(usize, Span)>>,
    /// For each anchor: rules of its own.
    own: Vec<usize>,
    /// For each anchor: rules with all calls written out, and the deepest nesting below.
    known: Vec<Option<(usize, usize)>>,
}

impl<'c, 'a> Calls<'c, 'a> {
    fn new(compiler: &'c mut Compiler<'a>, list: List, places: &[Span]) -> Self {
        let ruleset = &compiler.ruleset;
        let mut inside: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, anchor) in ruleset.anchors.iter().enumerate().filter(|(_, anchor)| !anchor.path.is_empty()) {
            inside.entry(anchor.path.rsplit_once('/').map_or("", |(outer, _)| outer)).or_default().push(at);
        }
        let mut calls = Vec::new();
        let mut own = Vec::new();
        for ranges in ruleset.ranges() {
            let range = ranges[list as usize].clone();
            own.push(range.len());
            let mut called = Vec::new();
            for index in range {
                let Some(call) = ruleset.rules[index].call else { continue };
                let span = places[index];
                match call.children {
                    false => called.push((call.anchor as usize, span)),
                    true => {
                        let parent = ruleset.anchors[call.anchor as usize].path.as_str();
                        called.extend(inside.get(parent).into_iter().flatten().map(|at| (*at, span)));
                    }
                }
            }
            calls.push(called);
        }
        let known = vec![None; calls.len()];
        Self { compiler, list, calls, own, known }
    }

    fn check(mut self) {
        let mut way = Vec::new();
        let Some((size, depth)) = self.walk(0, &mut way) else {
            return;
        };
        let span = self.calls[0].first().map_or(Span::default(), |call| call.1);
        if depth > CALL_DEPTH_MAX {
            self.compiler.sink.error(span, format!("anchors are nested {depth} deep, {CALL_DEPTH_MAX} is the most"));
        } else if size > EXPANDED_MAX {
            self.compiler.sink.error(
                span,
                format!("the anchors come to {size} rules when all calls are counted, more than {EXPANDED_MAX}"),
            );
        }
        // What nobody calls must not go in circles either: a command may call it later.
        for anchor in 1..self.calls.len() {
            if self.walk(anchor, &mut Vec::new()).is_none() {
                return;
            }
        }
    }

    /// Rules and depth of an anchor; `None` after an error.
    fn walk(&mut self, anchor: usize, way: &mut Vec<usize>) -> Option<(usize, usize)> {
        if let Some(known) = self.known[anchor] {
            return Some(known);
        }
        if way.len() > 4 * CALL_DEPTH_MAX {
            return Some((0, way.len()));
        }
        way.push(anchor);
        let (mut size, mut depth) = (self.own[anchor], 0);
        for at in 0..self.calls[anchor].len() {
            let (inner, span) = self.calls[anchor][at];
            if way.contains(&inner) {
                let path = self.compiler.ruleset.anchors[inner].path.clone();
                let list = self.list;
                self.compiler.sink.error(span, format!("anchor \"{path}\" is called from inside itself")).hint(
                    match list {
                        List::Filter => "a path that begins with / begins at the top: call another anchor",
                        _ => "call another anchor",
                    },
                );
                return None;
            }
            let (inner_size, inner_depth) = self.walk(inner, way)?;
            size = size.saturating_add(inner_size).saturating_add(1);
            depth = depth.max(inner_depth + 1);
        }
        way.pop();
        self.known[anchor] = Some((size, depth));
        Some((size, depth))
    }
}
