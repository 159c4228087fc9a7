//! Rust sources: where unsafe stands, SAFETY comments, and what the data path may not do.

use anyhow::{Context, Result};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item};

use super::Finding;
use crate::sh;

/// A parsed Rust file of the workspace.
pub struct Source {
    /// Relative to the workspace, with `/`.
    pub path: String,
    /// The text.
    pub text: String,
    /// Its syntax tree.
    pub syntax: syn::File,
    /// A module that only tests compile.
    pub is_test: bool,
}

/// Parses every tracked or new Rust file of the workspace.
///
/// # Errors
/// A file that cannot be read or is not Rust.
pub fn load() -> Result<Vec<Source>> {
    let root = sh::root();
    let mut sources = Vec::new();
    for dir in ["src", "pf", "host", "cli", "xtask", "tests", "benches", "fuzz", "build.rs"] {
        for entry in walkdir::WalkDir::new(root.join(dir)).sort_by_file_name() {
            let Ok(entry) = entry else { continue };
            let path = entry.path();
            if path.extension().is_none_or(|ext| ext != "rs") || path.components().any(|c| c.as_os_str() == "target") {
                continue;
            }
            let relative = path.strip_prefix(&root)?.to_string_lossy().replace('\\', "/");
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {relative}"))?;
            let syntax = syn::parse_file(&text).with_context(|| format!("{relative} is not Rust"))?;
            let is_test = relative.ends_with("tests.rs")
                || relative.contains("/tests/")
                || relative.starts_with("tests/")
                || relative.starts_with("fuzz/")
                || relative.starts_with("benches/");
            sources.push(Source { path: relative, text, syntax, is_test });
        }
    }
    Ok(sources)
}

/// True for items that only exist in tests or models: `#[cfg(test)]`, `#[cfg(all(test, loom))]` and the like.
pub fn is_test_only(item: &Item) -> bool {
    let attrs = match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        _ => return false,
    };
    attrs.iter().any(cfg_test)
}

fn cfg_test(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg")
        && attr.meta.require_list().is_ok_and(|list| {
            let text = list.tokens.to_string();
            text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "test") && !text.contains("not")
        })
}

/// Where unsafe may stand: mem, the C ABI, the runtime, the core's tests, which are the C side of the ABI, and the calls
/// of peers in the benchmarks and of Apple's frameworks.
fn may_be_unsafe(path: &str) -> bool {
    path.starts_with("src/mem/")
        || path == "src/abi.rs"
        || path.starts_with("src/abi/")
        || path.starts_with("host/")
        || path.starts_with("cli/mac/src/framework/")
        || path.starts_with("tests/")
        || path.starts_with("xtask/bench/src/peer/")
}

/// Modules that run per packet.
fn on_data_path(path: &str) -> bool {
    ["src/mem/", "src/wire/", "src/nic/", "src/flow/", "src/telemetry/"].iter().any(|dir| path.starts_with(dir))
        || path == "src/pipeline.rs"
        || path.starts_with("src/pipeline/")
        || path.starts_with("src/filter/linear")
}

/// Lints that stand in for checks of our own on the core.
const CORE_LINTS: &[&str] =
    &["clippy::indexing_slicing", "clippy::unwrap_used", "clippy::expect_used", "clippy::panic"];

/// True if the file or a module above it forbids unsafe code.
fn forbids_unsafe(path: &str, text: &str) -> bool {
    const ATTRIBUTE: &str = "#![forbid(unsafe_code)]";
    let above =
        std::path::Path::new(path).ancestors().skip(1).flat_map(|dir| [dir.join("mod.rs"), dir.with_extension("rs")]);
    text.contains(ATTRIBUTE)
        || above
            .filter(|file| file.starts_with("src/"))
            .any(|file| std::fs::read_to_string(sh::root().join(file)).is_ok_and(|text| text.contains(ATTRIBUTE)))
}

/// Adds a finding for every rule that `source` breaks.
pub fn check(source: &Source, findings: &mut Vec<Finding>) {
    let mut finding = |line: usize, text: String| {
        findings.push(Finding { place: (source.path.clone(), line), text });
    };
    if source.path == "src/lib.rs" {
        for lint in CORE_LINTS {
            if !source.text.contains(lint) {
                finding(0, format!("the core must deny {lint} outside tests"));
            }
        }
    }
    let forbids = forbids_unsafe(&source.path, &source.text);
    let in_core = source.path.starts_with("src/") && source.path != "src/lib.rs" && !source.is_test;
    if in_core && !may_be_unsafe(&source.path) && !forbids {
        finding(0, "a module outside mem and abi starts with #![forbid(unsafe_code)]".into());
    }
    let mut visitor = Rules {
        source,
        found: Vec::new(),
        function_doc: Vec::new(),
        data_path: on_data_path(&source.path) && !source.is_test,
    };
    visitor.visit_file(&source.syntax);
    for (line, text) in visitor.found {
        finding(line, text);
    }
}

struct Rules<'a> {
    source: &'a Source,
    found: Vec<(usize, String)>,
    /// For each function we are inside: does its documentation say that it allocates?
    function_doc: Vec<bool>,
    data_path: bool,
}

impl Rules<'_> {
    fn unsafe_at(&mut self, line: usize, is_block: bool) {
        if !may_be_unsafe(&self.source.path) {
            self.found.push((line, "unsafe stands only in src/mem, src/abi and host".into()));
        }
        let above = self.source.text.lines().skip(line.saturating_sub(10)).take(10.min(line));
        let explained = above.clone().any(|text| text.contains("SAFETY:") || text.contains("# Safety"));
        if !explained {
            let what = if is_block { "unsafe block" } else { "unsafe item" };
            self.found.push((line, format!("{what} without a SAFETY comment")));
        }
    }

    fn allocation(&mut self, line: usize, what: &str) {
        if self.data_path && !self.function_doc.iter().any(|says| *says) {
            self.found.push((
                line,
                format!("`{what}` allocates on the data path; a function for Start or control says \"Allocates\" in its documentation"),
            ));
        }
    }

    fn lint_override(&mut self, attr: &Attribute) {
        let is_allow = attr.path().is_ident("allow") || attr.path().is_ident("expect");
        if !is_allow {
            return;
        }
        let Ok(list) = attr.meta.require_list() else {
            return;
        };
        let text = list.tokens.to_string().replace(' ', "");
        if CORE_LINTS.iter().any(|lint| text.contains(lint)) && !text.contains("reason=") {
            self.found.push((attr.span().start().line, "an exception from a data-path lint gives its reason".into()));
        }
    }
}

fn says_allocates(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().is_ident("doc")
            && attr.meta.require_name_value().is_ok_and(|pair| match &pair.value {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => text.value().contains("llocates"),
                _ => false,
            })
    })
}

impl<'ast> Visit<'ast> for Rules<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_attribute(&mut self, attr: &'ast Attribute) {
        if self.source.path.starts_with("src/") && !self.source.is_test {
            self.lint_override(attr);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if let syn::Safety::Unsafe(token) = &item.sig.safety
            && item.sig.abi.is_none()
        {
            self.unsafe_at(token.span().start().line, false);
        }
        self.function_doc.push(says_allocates(&item.attrs));
        visit::visit_item_fn(self, item);
        self.function_doc.pop();
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if item.attrs.iter().any(cfg_test) {
            return;
        }
        if let syn::Safety::Unsafe(token) = &item.sig.safety {
            self.unsafe_at(token.span().start().line, false);
        }
        self.function_doc.push(says_allocates(&item.attrs));
        visit::visit_impl_item_fn(self, item);
        self.function_doc.pop();
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(token) = &item.unsafety {
            self.unsafe_at(token.span().start().line, false);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_at(block.unsafe_token.span().start().line, true);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        if let Some(name) = mac.path.get_ident().map(ToString::to_string)
            && ["vec", "format"].contains(&name.as_str())
        {
            self.allocation(mac.path.span().start().line, &format!("{name}!"));
        }
        visit::visit_macro(self, mac);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = call.method.to_string();
        // Where `Vec` is not in scope, what is collected is a fixed-capacity one.
        let collects = name == "collect" && self.source.text.contains("alloc::vec::Vec");
        if collects || ["to_vec", "to_string", "to_owned"].contains(&name.as_str()) {
            self.allocation(call.method.span().start().line, &name);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*call.func {
            let mut names = path.path.segments.iter().rev().map(|segment| segment.ident.to_string());
            let (method, owner) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
            let allocating = ["Box", "Arc", "Rc", "String"].contains(&owner.as_str()) && method != "clone"
                || owner == "Vec" && method == "with_capacity";
            if allocating && !["as_ptr", "ptr_eq", "from_raw", "into_raw", "strong_count"].contains(&method.as_str()) {
                self.allocation(path.span().start().line, &format!("{owner}::{method}"));
            }
        }
        visit::visit_expr_call(self, call);
    }
}
