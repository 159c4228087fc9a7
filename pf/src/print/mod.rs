//! The normal form of `pfctl -nv`: macros, options and tables as they come, then the rulesets one after the other.

mod addr;
mod ether;
mod line;
mod queue;
mod rule;

pub use addr::{address, host};
pub use ether::ether_rule;
pub use line::line;
pub use rule::rule;

use crate::flat::{Flat, FlatAnchor, FlatSet};

/// The whole file, then what `load anchor` loaded: pfctl does not say on its standard output which is which.
#[must_use]
pub fn file(flat: &Flat) -> String {
    let mut out = String::new();
    for one in &flat.lines {
        out.push_str(&line(one));
    }
    set(&flat.set, 0, &mut out);
    for (_, inner) in &flat.loaded {
        out.push_str(&file(inner));
    }
    out
}

fn set(set: &FlatSet, depth: usize, out: &mut String) {
    for one in &set.scrub {
        ruleset_line(&rule(one), one.anchor.as_ref(), depth, out);
    }
    for one in &set.ether {
        ruleset_line(&ether_rule(one), one.anchor.as_ref(), depth, out);
    }
    for list in [&set.nat, &set.rdr, &set.binat, &set.dummynet, &set.filter] {
        for one in list {
            ruleset_line(&rule(one), one.anchor.as_ref(), depth, out);
        }
    }
}

fn ruleset_line(text: &str, anchor: Option<&FlatAnchor>, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    out.push_str(&indent);
    out.push_str(text);
    let body = anchor.and_then(|a| a.body.as_ref());
    match body.filter(|b| !b.filter.is_empty() || !b.ether.is_empty()) {
        Some(body) => {
            out.push_str(" {\n");
            set(body, depth + 1, out);
            out.push_str(&indent);
            out.push_str("}\n");
        }
        None => out.push('\n'),
    }
}
