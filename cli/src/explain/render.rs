//! What became of a packet, as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};
use weir_core::filter::{Action, Direction, List, RuleFlags, Ruleset, StateMode};
use weir_core::flow::FlowKey;
use weir_core::pipeline::{Listed, Outcome};
use weir_core::wire::{self, Parsed};

use super::why::{flags, ip, mac, protocol, sides};
use super::{Explained, Look};

const fn list_name(list: List) -> &'static str {
    match list {
        List::Ether => "ether",
        List::Scrub => "scrub",
        List::Nat => "nat",
        List::Binat => "binat",
        List::Rdr => "rdr",
        List::Dummynet => "dummynet",
        List::Filter => "filter",
    }
}

/// One end of a packet.
fn end(parsed: &Parsed, addr: &[u8; 16], port: u16) -> String {
    let has_ports = !parsed.is_fragment() && matches!(parsed.protocol, 6 | 17 | 132);
    match (parsed.family, has_ports) {
        (wire::Family::V6, true) => format!("[{}]:{port}", ip(parsed, addr)),
        (_, true) => format!("{}:{port}", ip(parsed, addr)),
        (_, false) => ip(parsed, addr),
    }
}

/// A packet in a few words.
fn summary(parsed: &Parsed) -> String {
    if parsed.family == wire::Family::None {
        return format!("EtherType 0x{:04x}", parsed.ethertype);
    }
    let (src, dst) = (end(parsed, &parsed.src, parsed.src_port), end(parsed, &parsed.dst, parsed.dst_port));
    let mut out = format!("{} {src} > {dst}", protocol(parsed.protocol));
    if parsed.is_fragment() {
        out.push_str(" fragment");
    } else if parsed.protocol == 6 {
        let _ = write!(out, " flags {}", flags(parsed.tcp_flags));
    } else if matches!(parsed.protocol, 1 | 58) {
        let _ = write!(out, " type {} code {}", parsed.icmp_type, parsed.icmp_code);
    }
    out
}

/// The last rule of a list that matched and has a say.
fn decider(ruleset: &Ruleset, looks: &[Look], list: List) -> Option<u32> {
    let says = |look: &&Look| {
        let action = ruleset.rules.get(look.rule as usize).map(|rule| rule.action);
        look.list == list && look.result.is_ok() && !matches!(action, Some(Action::Anchor | Action::Match) | None)
    };
    looks.iter().filter(says).map(|look| look.rule).next_back()
}

/// The anchor that a rule stands in; empty = the root.
fn anchor(ruleset: &Ruleset, rule: u32) -> &str {
    let at = ruleset.ranges().position(|lists| lists.iter().any(|range| range.contains(&(rule as usize))));
    at.and_then(|at| ruleset.anchors.get(at)).map_or("", |anchor| anchor.path.as_str())
}

/// Why it ended as it did.
fn verdict(ruleset: &Ruleset, one: &Explained) -> (bool, String, Option<u32>) {
    let filter = decider(ruleset, &one.looks, List::Filter);
    let ether = decider(ruleset, &one.looks, List::Ether);
    let passes = one.outcome == Outcome::Pass;
    let by = |rule: u32| {
        let quick = ruleset.rules.get(rule as usize).is_some_and(|r| r.flags.contains(RuleFlags::QUICK));
        let line = ruleset.rules.get(rule as usize).map_or(0, |r| r.line);
        format!("line {line}{}", if quick { ", which is quick" } else { ", the last that matches" })
    };
    if let Outcome::Drop(reason) = one.outcome {
        let rule = filter.or(ether);
        let text = match (reason.name(), rule) {
            ("match", Some(rule)) => by(rule),
            (name, Some(rule)) => format!("{name}, after {}", by(rule)),
            (name, None) => name.to_owned(),
        };
        return (false, text, rule);
    }
    if matches!(one.outcome, Outcome::Hold { .. }) {
        return (false, "it is a fragment and waits for the others".to_owned(), None);
    }
    if let Some(rule) = filter {
        return (passes, by(rule), Some(rule));
    }
    if one.before.family == wire::Family::None {
        return (passes, ether.map_or("filter rules are for IP only".to_owned(), by), ether);
    }
    let judged = one.looks.iter().any(|look| look.list == List::Filter);
    let text = match (judged, one.had_states && one.states.is_empty()) {
        (false, true) => "it belongs to a state",
        (false, false) => "no filter rule was asked",
        (true, _) => "no filter rule matches",
    };
    (passes, text.to_owned(), None)
}

fn key(key: &FlowKey) -> (String, String) {
    let v4 = key.family() == wire::Family::V4;
    let one = |addr: [u8; 16], port: u16| {
        let [a, b, c, d, ..] = addr;
        match v4 {
            true => format!("{}:{port}", std::net::Ipv4Addr::new(a, b, c, d)),
            false => format!("[{}]:{port}", std::net::Ipv6Addr::from(addr)),
        }
    };
    (one(key.src(), key.src_port()), one(key.dst(), key.dst_port()))
}

/// Both ends of a state, as its first packet had them: on the wire, and for the stack.
fn ends(state: &Listed) -> [(String, String); 2] {
    // Keys are those of packets that come in.
    let turn = |(a, b): (String, String)| if state.way == 2 { (b, a) } else { (a, b) };
    [turn(key(&state.wire)), turn(key(&state.stack))]
}

fn state_mode(ruleset: &Ruleset, state: &Listed) -> &'static str {
    match ruleset.rules.get(state.rule as usize).map(|rule| rule.state.mode) {
        Some(StateMode::Modulate) => "modulate state",
        Some(StateMode::Synproxy) => "synproxy state",
        Some(StateMode::Keep) => "keep state",
        Some(StateMode::No) | None => "state",
    }
}

/// What translation made of the packet: each end that is another now.
fn translation(one: &Explained) -> Vec<(&'static str, String, String)> {
    let (a, b) = (&one.before, &one.after);
    let mut out = Vec::new();
    for (side, before, after) in [
        ("source", end(a, &a.src, a.src_port), end(b, &b.src, b.src_port)),
        ("destination", end(a, &a.dst, a.dst_port), end(b, &b.dst, b.dst_port)),
    ] {
        if before != after && b.family != wire::Family::None {
            out.push((side, before, after));
        }
    }
    out
}

/// For people.
pub fn text(ruleset: &Ruleset, one: &Explained) -> String {
    let way = if one.direction == Direction::Out { "out" } else { "in" };
    let mut out = format!("{}\n  {way} on {}: {}, {} bytes", one.title, one.interface, summary(&one.before), one.len);
    if one.before.family == wire::Family::None {
        let _ = write!(out, ", {} > {}", mac(one.macs.0), mac(one.macs.1));
    }
    out.push('\n');
    let mut list = None;
    for look in &one.looks {
        let Some(rule) = ruleset.rules.get(look.rule as usize) else { continue };
        if list != Some(look.list) {
            let _ = writeln!(out, "{} rules", list_name(look.list));
            list = Some(look.list);
        }
        let path = anchor(ruleset, look.rule);
        let place = if path.is_empty() { String::new() } else { format!(" of {path}") };
        let _ = writeln!(out, "  line {}{place}: {}", rule.line, rule.text);
        match look.result {
            Ok(()) => out.push_str("      matches\n"),
            Err(mismatch) => {
                let (packet, wanted) = sides(ruleset, rule, look, mismatch, one);
                let _ =
                    writeln!(out, "      no: {}: the packet has {packet}, the rule wants {wanted}", mismatch.text());
            }
        }
    }
    let (passes, why, rule) = verdict(ruleset, one);
    let word = match (passes, one.answers.is_empty()) {
        (true, _) => "PASS",
        _ if matches!(one.outcome, Outcome::Hold { .. }) => "WAIT",
        (false, true) => "BLOCK",
        (false, false) => "BLOCK, with an answer",
    };
    let _ = writeln!(out, "{word}: {why}");
    if let Some(rule) = rule.and_then(|rule| ruleset.rules.get(rule as usize)) {
        let _ = writeln!(out, "  {}", rule.text);
    }
    for (side, before, after) in translation(one) {
        let _ = writeln!(out, "  {side} {before} becomes {after}");
    }
    if one.changed && translation(one).is_empty() && passes {
        out.push_str("  other fields of the packet are changed\n");
    }
    for state in &one.states {
        let [(a, b), (c, d)] = ends(state);
        let _ = write!(
            out,
            "  makes a state ({}): {} {a} > {b} on the wire",
            state_mode(ruleset, state),
            protocol(state.protocol)
        );
        if (&a, &b) != (&c, &d) {
            let _ = write!(out, ", {c} > {d} for the stack");
        }
        out.push('\n');
    }
    for (to_wire, answer) in &one.answers {
        let to = if *to_wire { "the wire" } else { "the stack" };
        let _ = writeln!(out, "  answers to {to}: {}", summary(answer));
    }
    out
}

/// For programs.
pub fn json(ruleset: &Ruleset, one: &Explained) -> Value {
    let looks: Vec<Value> = one
        .looks
        .iter()
        .filter_map(|look| {
            let rule = ruleset.rules.get(look.rule as usize)?;
            let mut object = json!({
                "list": list_name(look.list), "nr": look.rule, "line": rule.line, "anchor": anchor(ruleset, look.rule),
                "text": rule.text, "matches": look.result.is_ok(),
            });
            if let Err(mismatch) = look.result {
                let (packet, wanted) = sides(ruleset, rule, look, mismatch, one);
                object["mismatch"] = json!({ "field": mismatch.text(), "packet": packet, "rule": wanted });
            }
            Some(object)
        })
        .collect();
    let (_, why, rule) = verdict(ruleset, one);
    let reason = match one.outcome {
        Outcome::Drop(reason) => Some(reason.name()),
        Outcome::Pass | Outcome::Hold { .. } | Outcome::Elsewhere(_) => None,
    };
    let states: Vec<Value> = one
        .states
        .iter()
        .map(|state| {
            let [(a, b), (c, d)] = ends(state);
            json!({
                "mode": state_mode(ruleset, state), "proto": protocol(state.protocol),
                "wire": { "src": a, "dst": b }, "stack": { "src": c, "dst": d },
            })
        })
        .collect();
    let translated: Vec<Value> = translation(one)
        .into_iter()
        .map(|(side, before, after)| json!({ "side": side, "from": before, "to": after }))
        .collect();
    let answers: Vec<Value> = one
        .answers
        .iter()
        .map(|(to_wire, answer)| json!({ "to": if *to_wire { "wire" } else { "stack" }, "packet": summary(answer) }))
        .collect();
    json!({
        "packet": one.title, "direction": if one.direction == Direction::Out { "out" } else { "in" },
        "interface": one.interface, "summary": summary(&one.before), "bytes": one.len, "rules": looks,
        "verdict": match one.outcome {
            Outcome::Pass => "pass",
            Outcome::Drop(_) => "block",
            Outcome::Hold { .. } | Outcome::Elsewhere(_) => "wait",
        }, "why": why, "reason": reason, "rule": rule,
        "translation": translated, "states": states, "answers": answers,
    })
}
