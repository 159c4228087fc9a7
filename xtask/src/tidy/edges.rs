//! Imports follow the packet: which module of the core may know which.

use syn::visit::{self, Visit};
use syn::{Item, ItemUse, UseTree};

use super::Finding;
use super::source::{Source, is_test_only};

/// Module -> modules it may name. `docs/architecture.md` draws this table; a new edge is an argument to be
/// made in `docs/decisions/`.
const ALLOWED: &[(&str, &[&str])] = &[
    ("mem", &[]),
    ("wire", &[]),
    ("telemetry", &["mem"]),
    ("nic", &["mem", "wire"]),
    ("filter", &["mem", "wire", "telemetry"]),
    ("flow", &["mem", "wire"]),
    ("inspect", &["wire"]),
    ("shape", &["wire"]),
    ("proto", &["wire"]),
    ("pipeline", &["mem", "wire", "telemetry", "filter", "flow", "inspect", "shape", "proto", "nic"]),
    ("control", &["filter", "telemetry"]),
    ("driver", &["mem", "wire", "telemetry", "filter", "nic", "pipeline", "control"]),
    ("abi", &["mem", "wire", "telemetry", "filter", "nic", "pipeline", "control", "driver"]),
];

/// Adds a finding for every `crate::module` path that the table does not allow.
pub fn check(sources: &[Source], findings: &mut Vec<Finding>) {
    for source in sources {
        let Some(path) = source.path.strip_prefix("src/") else {
            continue;
        };
        let module: Vec<&str> = path.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
        let Some(&home) = module.first() else {
            continue;
        };
        if home == "lib" || source.is_test {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == home) else {
            findings.push(Finding {
                place: (source.path.clone(), 0),
                text: format!("module `{home}` is not in the design's import table (xtask/src/tidy/edges.rs)"),
            });
            continue;
        };
        let mut visitor = Edges { module: &module, seen: Vec::new() };
        visitor.visit_file(&source.syntax);
        for (target, line) in visitor.seen {
            let known = ALLOWED.iter().any(|(name, _)| *name == target);
            if known && target != home && !allowed.contains(&target.as_str()) {
                findings.push(Finding {
                    place: (source.path.clone(), line),
                    text: format!("`{home}` must not know `{target}` (imports follow the packet)"),
                });
            }
        }
    }
}

struct Edges<'a> {
    module: &'a [&'a str],
    seen: Vec<(String, usize)>,
}

impl Edges<'_> {
    /// The top-level module that `segments` (from `crate` or `super`) leads to.
    fn resolve(&mut self, segments: &[(String, usize)]) {
        let mut depth = None;
        for (index, (name, line)) in segments.iter().enumerate() {
            match (name.as_str(), depth) {
                ("crate", None) if index == 0 => depth = Some(0),
                ("self", None) if index == 0 => depth = Some(self.module.len()),
                ("super", None) if index == 0 => depth = Some(self.module.len().saturating_sub(1)),
                ("super", Some(at)) => depth = Some(at.saturating_sub(1)),
                (_, Some(0)) => {
                    self.seen.push((name.clone(), *line));
                    return;
                }
                _ => return,
            }
        }
    }

    fn walk(&mut self, tree: &UseTree, prefix: &mut Vec<(String, usize)>) {
        let ident = |ident: &syn::Ident| (ident.to_string(), ident.span().start().line);
        match tree {
            UseTree::Path(path) => {
                prefix.push(ident(&path.ident));
                self.walk(&path.tree, prefix);
                prefix.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.walk(tree, prefix);
                }
            }
            UseTree::Name(name) => {
                prefix.push(ident(&name.ident));
                self.resolve(prefix);
                prefix.pop();
            }
            UseTree::Rename(rename) => {
                prefix.push(ident(&rename.ident));
                self.resolve(prefix);
                prefix.pop();
            }
            UseTree::Glob(_) => self.resolve(prefix),
        }
    }
}

impl<'ast> Visit<'ast> for Edges<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.walk(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path
            .segments
            .iter()
            .map(|segment| (segment.ident.to_string(), segment.ident.span().start().line))
            .collect();
        if segments.len() > 1 {
            self.resolve(&segments);
        }
        visit::visit_path(self, path);
    }
}
