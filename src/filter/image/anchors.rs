//! Anchors: their paths, and what calls what.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::{CALL_DEPTH_MAX, EXPANDED_MAX, ImageErrorKind, check};
use crate::filter::{Anchor, List, Rule};

/// Paths are right, in order, without duplicates, and each anchor stands behind the one it is in.
pub fn paths(anchors: &[Anchor]) -> Result<(), ImageErrorKind> {
    let Some((root, below)) = anchors.split_first() else {
        return Ok(());
    };
    if !root.path.is_empty() {
        return Err(ImageErrorKind::AnchorPath);
    }
    // The anchors around the next one, each inside the one before.
    let mut around: heapless::Vec<&str, PATH_DEPTH_MAX> = heapless::Vec::new();
    let mut last = "";
    for Anchor { path, .. } in below {
        check::anchor_path(path)?;
        if !last.is_empty() && !last.split('/').lt(path.split('/')) {
            return Err(ImageErrorKind::AnchorOrder);
        }
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        while around.last().is_some_and(|outer| *outer != parent) {
            around.pop();
        }
        if around.last().copied().unwrap_or("") != parent || around.push(path).is_err() {
            return Err(ImageErrorKind::AnchorOrder);
        }
        last = path;
    }
    Ok(())
}

/// Most components of a path: each has a character and a slash.
const PATH_DEPTH_MAX: usize = super::ANCHOR_PATH_MAX / 2 + 1;

/// For each anchor, where the anchors directly in it stand in one list of all.
pub struct Children {
    starts: Vec<u32>,
    list: Vec<u32>,
}

impl Children {
    /// `None` without memory. Paths were checked.
    pub fn new(anchors: &[Anchor]) -> Option<Self> {
        let mut parents: Vec<Option<usize>> = Vec::new();
        parents.try_reserve_exact(anchors.len()).ok()?;
        let mut around: heapless::Vec<usize, PATH_DEPTH_MAX> = heapless::Vec::new();
        for (index, anchor) in anchors.iter().enumerate() {
            let parent = anchor.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            while around.last().is_some_and(|at| anchors.get(*at).is_some_and(|outer| outer.path != parent)) {
                around.pop();
            }
            parents.push(around.last().copied().or((index > 0).then_some(0)));
            if index > 0 {
                // As deep as paths have components, which were counted.
                let _ = around.push(index);
            }
        }
        let mut starts: Vec<u32> = Vec::new();
        starts.try_reserve_exact(anchors.len().checked_add(1)?).ok()?;
        starts.resize(anchors.len().checked_add(1)?, 0);
        for parent in parents.iter().flatten() {
            let count = starts.get_mut(parent.checked_add(1)?)?;
            *count = count.checked_add(1)?;
        }
        let mut sum = 0u32;
        for start in &mut starts {
            sum = sum.checked_add(*start)?;
            *start = sum;
        }
        let mut list: Vec<u32> = Vec::new();
        list.try_reserve_exact(sum as usize).ok()?;
        list.resize(sum as usize, 0);
        let mut next = Vec::new();
        next.try_reserve_exact(starts.len()).ok()?;
        next.extend_from_slice(&starts);
        for (index, parent) in parents.iter().enumerate() {
            if let Some(at) = parent.and_then(|parent| next.get_mut(parent)) {
                *list.get_mut(*at as usize)? = u32::try_from(index).ok()?;
                *at = at.checked_add(1)?;
            }
        }
        Some(Self { starts, list })
    }

    /// The anchors directly in one, in the order of their names.
    pub fn of(&self, anchor: usize) -> &[u32] {
        let start = self.starts.get(anchor).copied().unwrap_or(0) as usize;
        let end = self.starts.get(anchor.saturating_add(1)).copied().unwrap_or(0) as usize;
        self.list.get(start..end).unwrap_or(&[])
    }
}

/// What is known of a list of an anchor, or of that list of all its children together.
#[derive(Clone, Copy, Default)]
struct Node {
    state: State,
    /// Rules and ends of calls, with what is called, everything counted as often as it is met.
    expanded: usize,
    /// Calls inside calls.
    depth: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Open,
    Done,
}

/// One list of every anchor: node `2 a` is anchor `a`'s, node `2 a + 1` those of its children.
struct Graph<'a> {
    lists: &'a [&'a [Rule]],
    children: &'a Children,
    nodes: Vec<Node>,
}

/// No anchor is called from inside itself, nor too deep, and going through a list from the root with everything it
/// calls meets no more than [`EXPANDED_MAX`] rules. Linear in rules and anchors.
pub fn calls(anchors: &[Anchor], rules: &[Rule], children: &Children) -> Result<(), ImageErrorKind> {
    for kind in List::ALL {
        let mut lists: Vec<&[Rule]> = Vec::new();
        lists.try_reserve_exact(anchors.len()).map_err(|_| ImageErrorKind::NoMemory)?;
        let mut rest = rules;
        for anchor in anchors {
            for (number, count) in anchor.lists.iter().enumerate() {
                let (own, behind) = rest.split_at_checked(*count as usize).ok_or(ImageErrorKind::AnchorRules)?;
                rest = behind;
                if number == kind as usize {
                    lists.push(own);
                }
            }
        }
        if !rest.is_empty() {
            return Err(ImageErrorKind::AnchorRules);
        }
        let mut nodes = Vec::new();
        let count = anchors.len().saturating_mul(2);
        nodes.try_reserve_exact(count).map_err(|_| ImageErrorKind::NoMemory)?;
        nodes.resize(count, Node::default());
        let mut graph = Graph { lists: &lists, children, nodes };
        for node in 0..count {
            graph.visit(node)?;
        }
    }
    Ok(())
}

impl Graph<'_> {
    /// The node that edge number `edge` (or the next one behind it) leads to, and the number behind that.
    fn edge(&self, node: usize, edge: usize) -> Option<(usize, usize)> {
        let anchor = node / 2;
        if node % 2 == 1 {
            let child = *self.children.of(anchor).get(edge)? as usize;
            return Some((child.saturating_mul(2), edge.saturating_add(1)));
        }
        let rest = self.lists.get(anchor)?.get(edge..)?;
        let (at, call) = rest.iter().enumerate().find_map(|(at, rule)| rule.call.map(|call| (at, call)))?;
        let target = (call.anchor as usize).saturating_mul(2).saturating_add(usize::from(call.children));
        Some((target, edge.saturating_add(at).saturating_add(1)))
    }

    fn visit(&mut self, start: usize) -> Result<(), ImageErrorKind> {
        // A call to all children is two nodes on the way.
        let mut way: heapless::Vec<(usize, usize), { 2 * CALL_DEPTH_MAX + 2 }> = heapless::Vec::new();
        let mut next = Some(start);
        loop {
            if let Some(node) = next.take() {
                match self.nodes.get(node).map_or(State::Done, |node| node.state) {
                    State::Open => return Err(ImageErrorKind::AnchorCycle),
                    State::Done => self.close_edge(way.last().map(|(node, _)| *node), node)?,
                    State::New => {
                        let own = self.lists.get(node / 2).map_or(0, |rules| rules.len());
                        let own = if node % 2 == 0 { own } else { 0 };
                        if let Some(slot) = self.nodes.get_mut(node) {
                            *slot = Node { state: State::Open, expanded: own, depth: 0 };
                        }
                        way.push((node, 0)).map_err(|_| ImageErrorKind::AnchorDepth)?;
                    }
                }
            }
            let Some((node, edge)) = way.last().copied() else {
                return Ok(());
            };
            if let Some((target, behind)) = self.edge(node, edge) {
                if let Some(top) = way.last_mut() {
                    top.1 = behind;
                }
                next = Some(target);
                continue;
            }
            if let Some(slot) = self.nodes.get_mut(node) {
                slot.state = State::Done;
            }
            way.pop();
            self.close_edge(way.last().map(|(node, _)| *node), node)?;
        }
    }

    /// Adds what a finished node weighs to one that leads to it.
    fn close_edge(&mut self, from: Option<usize>, to: usize) -> Result<(), ImageErrorKind> {
        let (Some(from), Some(to)) = (from, self.nodes.get(to).copied()) else {
            return Ok(());
        };
        let is_call = from % 2 == 0;
        let Some(from) = self.nodes.get_mut(from) else {
            return Ok(());
        };
        from.expanded = from.expanded.saturating_add(to.expanded).saturating_add(1);
        from.depth = from.depth.max(to.depth.saturating_add(usize::from(is_call)));
        if from.expanded > EXPANDED_MAX {
            return Err(ImageErrorKind::Limit);
        }
        if from.depth > CALL_DEPTH_MAX { Err(ImageErrorKind::AnchorDepth) } else { Ok(()) }
    }
}
