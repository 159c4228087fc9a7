//! Rules: pfctl's `print_rule`.

use super::addr::{address, host, is_any, members, operator, pool, pool_options, port};
use crate::ast::{AnchorKind, Direction, Family, FragmentPolicy, IdMatch, Return, RouteKind, Translation};
use crate::flat::{FlatAction, FlatRoute, FlatRule, FlatScrub, State, StateMode};
use crate::names::{icmp, protocols};
use crate::parse::TCP_FLAGS;

/// One rule, without a line's end and without an anchor's inline rules.
#[must_use]
pub fn rule(r: &FlatRule) -> String {
    let mut out = action(r);
    match r.direction {
        Direction::In => out.push_str(" in"),
        Direction::Out => out.push_str(" out"),
        Direction::Any => {}
    }
    log(r, &mut out);
    if r.quick {
        out.push_str(" quick");
    }
    if !r.interface.1.is_empty() {
        let not = if r.interface.0 { "! " } else { "" };
        out.push_str(&format!(" on {not}{}", r.interface.1));
    }
    if let Some(route) = &r.route {
        out.push_str(&self::route(route, r.family));
    }
    match r.family {
        Family::V4 => out.push_str(" inet"),
        Family::V6 => out.push_str(" inet6"),
        Family::Any => {}
    }
    if r.protocol != 0 {
        match protocols::name(r.protocol) {
            Some(name) => out.push_str(&format!(" proto {name}")),
            None => out.push_str(&format!(" proto {}", r.protocol)),
        }
    }
    from_to(r, &mut out);
    if let Some((not, name)) = &r.received_on {
        let not = if *not { "! " } else { "" };
        out.push_str(&format!(" received-on {not}{name}"));
    }
    for (test, name) in [(&r.user, "user"), (&r.group, "group")] {
        if let Some(test) = test {
            out.push_str(&id(*test, name));
        }
    }
    flags(r, &mut out);
    icmp_type(r, &mut out);
    if r.tos != 0 {
        out.push_str(&format!(" tos 0x{:02x}", r.tos));
    }
    sets(r, &mut out);
    state_mode(r, &mut out);
    if r.probability != 0 {
        out.push_str(&format!(" probability {}%", percent(r.probability)));
    }
    state_options(&r.state, &mut out);
    for (source, id, no_match) in &r.limiters {
        // pfctl prints the word for what it does not do.
        let over = if *no_match { "" } else { " (no-match)" };
        out.push_str(&format!(" {} limiter id {id}{over}", if *source { "source" } else { "state" }));
    }
    scrub(r, &mut out);
    tail(r, &mut out);
    out
}

fn action(r: &FlatRule) -> String {
    let mut out = match r.action {
        FlatAction::Pass => "pass",
        FlatAction::Match => "match",
        FlatAction::Block(_) => "block",
        FlatAction::Scrub(false) => "scrub",
        FlatAction::Scrub(true) => "no scrub",
        FlatAction::Dummynet(false) => "dummynet",
        FlatAction::Dummynet(true) => "no dummynet",
        FlatAction::Translate(Translation::Nat, false, _) => "nat",
        FlatAction::Translate(Translation::Nat, true, _) => "no nat",
        FlatAction::Translate(Translation::Rdr, false, _) => "rdr",
        FlatAction::Translate(Translation::Rdr, true, _) => "no rdr",
        FlatAction::Translate(Translation::Binat, false, _) => "binat",
        FlatAction::Translate(Translation::Binat, true, _) => "no binat",
        FlatAction::Anchor(AnchorKind::Filter) => "anchor",
        FlatAction::Anchor(AnchorKind::Nat) => "nat-anchor",
        FlatAction::Anchor(AnchorKind::Rdr) => "rdr-anchor",
        FlatAction::Anchor(AnchorKind::Binat) => "binat-anchor",
        FlatAction::Anchor(AnchorKind::Scrub) => "scrub-anchor",
        FlatAction::Anchor(AnchorKind::Dummynet) => "dummynet-anchor",
    }
    .to_owned();
    if let FlatAction::Translate(_, _, true) = r.action {
        out.push_str(" pass");
    }
    if let Some(anchor) = r.anchor.as_ref().filter(|a| !a.name.is_empty()) {
        out.push_str(&format!(" \"{}\"", anchor.name));
    }
    if let FlatAction::Block(answer) = r.action {
        out.push_str(&block(answer, r.family));
    }
    out
}

fn block(answer: Return, family: Family) -> String {
    let code = |kind: (u8, u8), v6: bool| match icmp::code_name(kind.0, kind.1, v6) {
        Some(name) => name.to_owned(),
        None => kind.1.to_string(),
    };
    match answer {
        Return::Drop => " drop".to_owned(),
        Return::Any => " return".to_owned(),
        Return::Rst(0) => " return-rst".to_owned(),
        Return::Rst(ttl) => format!(" return-rst(ttl {ttl})"),
        Return::Icmp { v4, v6 } => match family {
            Family::V4 => format!(" return-icmp({})", code(v4, false)),
            Family::V6 => format!(" return-icmp6({})", code(v6, true)),
            Family::Any => format!(" return-icmp({}, {})", code(v4, false), code(v6, true)),
        },
    }
}

fn log(r: &FlatRule, out: &mut String) {
    let Some(log) = r.log else { return };
    out.push_str(" log");
    let mut parts = Vec::new();
    if log.all {
        parts.push("all".to_owned());
    }
    if log.matches {
        parts.push("matches".to_owned());
    }
    if log.user {
        parts.push("user".to_owned());
    }
    if log.to != 0 {
        parts.push(format!("to pflog{}", log.to));
    }
    if !parts.is_empty() {
        out.push_str(&format!(" ({})", parts.join(", ")));
    }
}

fn route(route: &FlatRoute, family: Family) -> String {
    let keyword = match route.kind {
        RouteKind::RouteTo => "route-to",
        RouteKind::ReplyTo => "reply-to",
        RouteKind::DupTo => "dup-to",
    };
    let hosts: Vec<String> = route
        .hosts
        .iter()
        .map(|(interface, host)| match host {
            None => interface.clone(),
            Some(host) if interface.is_empty() => address(&host.addr, family),
            Some(host) => format!("({interface} {})", address(&host.addr, family)),
        })
        .collect();
    format!(" {keyword} {}{}", members(&hosts), pool_options(&route.pool))
}

fn from_to(r: &FlatRule, out: &mut String) {
    let all = is_any(&r.src.addr)
        && is_any(&r.dst.addr)
        && !r.src.negate
        && !r.dst.negate
        && r.src_port.is_none()
        && r.dst_port.is_none()
        && r.os.is_none();
    if all {
        out.push_str(" all");
        return;
    }
    out.push_str(&format!(" from {}", host(&r.src, r.family)));
    if let Some(p) = r.src_port {
        out.push_str(&port(p, r.protocol));
    }
    if let Some(os) = &r.os {
        out.push_str(&format!(" os \"{os}\""));
    }
    out.push_str(&format!(" to {}", host(&r.dst, r.family)));
    if let Some(p) = r.dst_port {
        out.push_str(&port(p, r.protocol));
    }
}

fn id(test: IdMatch, name: &str) -> String {
    let text = |value: u32| match value {
        u32::MAX => "unknown".to_owned(),
        value => value.to_string(),
    };
    format!(" {name}{}", operator(test.op, &text(test.a), &text(test.b)))
}

fn letters(bits: u8) -> String {
    TCP_FLAGS.chars().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, letter)| letter).collect()
}

fn flags(r: &FlatRule, out: &mut String) {
    if r.flags != (0, 0) {
        out.push_str(&format!(" flags {}/{}", letters(r.flags.0), letters(r.flags.1)));
        return;
    }
    let any = r.action == FlatAction::Pass
        && (r.protocol == 0 || r.protocol == protocols::TCP)
        && !r.fragment
        && r.state.kind != StateMode::No;
    if any {
        out.push_str(" flags any");
    }
}

fn icmp_type(r: &FlatRule, out: &mut String) {
    let Some(test) = r.icmp else { return };
    let v6 = r.family == Family::V6;
    out.push_str(if v6 { " icmp6-type" } else { " icmp-type" });
    match icmp::type_name(test.kind, v6) {
        Some(name) => out.push_str(&format!(" {name}")),
        None => out.push_str(&format!(" {}", test.kind)),
    }
    if let Some(code) = test.code {
        match icmp::code_name(test.kind, code, v6) {
            Some(name) => out.push_str(&format!(" code {name}")),
            None => out.push_str(&format!(" code {code}")),
        }
    }
}

fn sets(r: &FlatRule, out: &mut String) {
    if let Some(prio) = r.prio {
        out.push_str(&format!(" prio {prio}"));
    }
    if let Some((rate, seconds)) = r.max_pkt_rate {
        out.push_str(&format!(" max-pkt-rate {rate}/{seconds}"));
    }
    if let Some(size) = r.max_pkt_size {
        out.push_str(&format!(" max-pkt-size {size}"));
    }
    let mut parts = Vec::new();
    match r.set_prio {
        Some((a, b)) if a == b => parts.push(format!(" prio {a}")),
        Some((a, b)) => parts.push(format!(" prio({a}, {b})")),
        None => {}
    }
    if let Some(tos) = r.scrub.set_tos
        && !scrubs(r)
    {
        parts.push(format!(" tos 0x{tos:02x}"));
    }
    if !parts.is_empty() {
        out.push_str(&format!(" set ({} )", parts.join(",")));
    }
}

/// Whether a rule is one of the older `scrub` rules.
fn scrubs(r: &FlatRule) -> bool {
    matches!(r.action, FlatAction::Scrub(_) | FlatAction::Anchor(AnchorKind::Scrub))
}

fn state_mode(r: &FlatRule, out: &mut String) {
    out.push_str(match r.state.kind {
        StateMode::No if r.action == FlatAction::Pass => " no state",
        StateMode::No => "",
        StateMode::Keep => " keep state",
        StateMode::Modulate => " modulate state",
        StateMode::Synproxy => " synproxy state",
    });
}

/// A probability of 2^32 as a percentage, in `printf("%f")`'s six places without trailing zeros.
fn percent(probability: u32) -> String {
    let text = format!("{:.6}", f64::from(probability) * 100.0 / 4_294_967_296.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn state_options(s: &State, out: &mut String) {
    let mut parts = Vec::new();
    if s.max > 0 {
        parts.push(format!("max {}", s.max));
    }
    if s.no_sync {
        parts.push("no-sync".to_owned());
    }
    if s.source_track {
        parts.push(format!("source-track {}", if s.source_track_rule { "rule" } else { "global" }));
    }
    for (name, value) in [("max-src-states", s.max_src_states), ("max-src-conn", s.max_src_conn)] {
        if value > 0 {
            parts.push(format!("{name} {value}"));
        }
    }
    if s.max_src_conn_rate.0 > 0 {
        parts.push(format!("max-src-conn-rate {}/{}", s.max_src_conn_rate.0, s.max_src_conn_rate.1));
    }
    if s.max_src_nodes > 0 {
        parts.push(format!("max-src-nodes {}", s.max_src_nodes));
    }
    if let Some((table, flush, global)) = &s.overload {
        let flush = if *flush { " flush" } else { "" };
        let global = if *global { " global" } else { "" };
        parts.push(format!("overload <{table}>{flush}{global}"));
    }
    if s.if_bound {
        parts.push("if-bound".to_owned());
    }
    if s.sloppy {
        parts.push("sloppy".to_owned());
    }
    if s.pflow {
        parts.push("pflow".to_owned());
    }
    for (name, seconds) in &s.timeouts {
        parts.push(format!("{name} {seconds}"));
    }
    if !parts.is_empty() {
        out.push_str(&format!(" ({})", parts.join(", ")));
    }
}

fn scrub_words(s: &FlatScrub) -> Vec<String> {
    let mut parts = Vec::new();
    if s.no_df {
        parts.push("no-df".to_owned());
    }
    if s.random_id {
        parts.push("random-id".to_owned());
    }
    if s.min_ttl > 0 {
        parts.push(format!("min-ttl {}", s.min_ttl));
    }
    if s.max_mss > 0 {
        parts.push(format!("max-mss {}", s.max_mss));
    }
    parts
}

fn scrub(r: &FlatRule, out: &mut String) {
    let s = &r.scrub;
    let mut parts = scrub_words(s);
    if r.fragment {
        out.push_str(" fragment");
    }
    if scrubs(r) {
        if let Some(tos) = s.set_tos {
            parts.push(format!("set-tos 0x{tos:02x}"));
        }
        for part in &parts {
            out.push_str(&format!(" {part}"));
        }
        if r.action != FlatAction::Scrub(true) {
            if s.reassemble_tcp {
                out.push_str(" reassemble tcp");
            }
            out.push_str(match s.fragment {
                Some(FragmentPolicy::NoReassemble) => " fragment no reassemble",
                Some(FragmentPolicy::Crop) => " fragment crop",
                Some(FragmentPolicy::DropOverlap) => " fragment drop-ovl",
                _ => " fragment reassemble",
            });
        }
    } else {
        if s.reassemble_tcp {
            parts.push("reassemble tcp".to_owned());
        }
        if !parts.is_empty() {
            out.push_str(&format!(" scrub ({})", parts.join(" ")));
        }
    }
    if r.allow_opts {
        out.push_str(" allow-opts");
    }
}

fn tail(r: &FlatRule, out: &mut String) {
    for label in r.labels.iter().filter(|l| !l.is_empty()) {
        out.push_str(&format!(" label \"{label}\""));
    }
    if r.ridentifier != 0 {
        out.push_str(&format!(" ridentifier {}", r.ridentifier));
    }
    if let Some(pipe) = r.pipe {
        let name = match (matches!(r.action, FlatAction::Dummynet(_)), pipe.queue) {
            (true, false) => "pipe",
            (true, true) => "queue",
            (false, false) => "dnpipe",
            (false, true) => "dnqueue",
        };
        match pipe.reverse {
            0 => out.push_str(&format!(" {name} {}", pipe.number)),
            reverse => out.push_str(&format!(" {name}({}, {reverse})", pipe.number)),
        }
    }
    match &r.queue {
        Some((queue, Some(second))) => out.push_str(&format!(" queue({queue}, {second})")),
        Some((queue, None)) => out.push_str(&format!(" queue {queue}")),
        None => {}
    }
    if r.once {
        out.push_str(" once");
    }
    if let Some(tag) = &r.tag {
        out.push_str(&format!(" tag {tag}"));
    }
    if let Some((not, tag)) = &r.tagged {
        out.push_str(&format!("{} tagged {tag}", if *not { " !" } else { "" }));
    }
    if let Some(table) = r.rtable {
        out.push_str(&format!(" rtable {table}"));
    }
    if let Some(divert) = r.divert {
        out.push_str(&format!(" divert-to {divert}"));
    }
    let t = &r.redirects;
    if let Some((family, from, to)) = &t.af_to {
        out.push_str(if *family == Family::V4 { " af-to inet" } else { " af-to inet6" });
        for (pool, word) in [(from, "from"), (to, "to")] {
            if let Some(pool) = pool {
                out.push_str(&format!(" {word} {}", self::pool(pool, *family)));
            }
        }
    }
    for (pool, word) in [(&t.arrow, "->"), (&t.nat, "nat-to"), (&t.rdr, "rdr-to"), (&t.binat, "binat-to")] {
        if let Some(pool) = pool {
            out.push_str(&format!(" {word} {}", self::pool(pool, r.family)));
        }
    }
}
