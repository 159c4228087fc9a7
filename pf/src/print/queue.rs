//! Queues and limiters.

use crate::ast::{Bandwidth, Curve, Limiter, NewerQueue, Scheduler, SchedulerKind};
use crate::flat::FlatQueue;

/// The priority of a queue that gives none.
const DEFAULT_PRIORITY: u8 = 1;
/// The length of a queue that gives none.
const DEFAULT_QLIMIT: u16 = 50;

/// pfctl's `rate2str`: two decimals unless they are zero.
fn rate(bits: u64) -> String {
    let mut value = bits as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit < 3 {
        value /= 1000.0;
        unit += 1;
    }
    let unit = [' ', 'K', 'M', 'G'][unit];
    match (value * 100.0) as u64 % 100 {
        0 => format!("{}{unit}b", value as u64),
        _ => format!("{value:.2}{unit}b"),
    }
}

/// The whole line.
pub(super) fn queue(flat: &FlatQueue) -> String {
    let q = &flat.statement;
    if flat.kind.is_none() {
        return newer(flat);
    }
    let mut out = match &q.name {
        None => format!("altq on {} ", flat.interface),
        Some(name) if flat.interface.is_empty() => format!("queue {} ", name.node),
        Some(name) => format!("queue {} on {} ", name.node, flat.interface),
    };
    let own = q.scheduler.as_ref().map(|s| options(&s.node, flat)).unwrap_or_default();
    let kind = flat.kind.unwrap_or(SchedulerKind::Priq);
    if q.name.is_none() {
        match own.is_empty() {
            true => out.push_str(&format!("{} ", name(kind))),
            false => out.push_str(&own),
        }
        out.push_str(&format!("bandwidth {} ", rate(flat.bandwidth)));
    } else if !matches!(kind, SchedulerKind::Priq | SchedulerKind::Codel) {
        match q.bandwidth {
            None | Some(Bandwidth::Percent(100)) => {}
            Some(Bandwidth::Percent(percent @ 1..)) => out.push_str(&format!("bandwidth {percent}% ")),
            Some(_) => out.push_str(&format!("bandwidth {} ", rate(flat.bandwidth))),
        }
    }
    if q.name.is_some()
        && let Some(priority) = q.priority.filter(|p| p.node != DEFAULT_PRIORITY)
    {
        out.push_str(&format!("priority {} ", priority.node));
    }
    if let Some(limit) = q.qlimit.filter(|limit| *limit != DEFAULT_QLIMIT && *limit != 0) {
        out.push_str(&format!("qlimit {limit} "));
    }
    match q.name {
        None => out.push_str(&format!("tbrsize {} ", flat.tbrsize)),
        Some(_) => out.push_str(&own),
    }
    if !q.children.is_empty() {
        let children: String = q.children.iter().map(|c| format!("{} ", c.node)).collect();
        out.push_str(if q.name.is_none() { "queue { " } else { "{ " });
        out.push_str(&children);
        out.push('}');
    }
    out.push('\n');
    out
}

fn name(kind: SchedulerKind) -> &'static str {
    match kind {
        SchedulerKind::Cbq => "cbq",
        SchedulerKind::Priq => "priq",
        SchedulerKind::Hfsc => "hfsc",
        SchedulerKind::Fairq => "fairq",
        SchedulerKind::Codel => "codel",
    }
}

/// `cbq( red default ) `, or nothing if there is nothing to say.
fn options(s: &Scheduler, flat: &FlatQueue) -> String {
    let has = |flag: &str| s.flags.iter().any(|f| f == flag);
    if s.kind == SchedulerKind::Codel {
        let mut out = String::new();
        for (word, value) in [("target", s.target), ("interval", s.interval)] {
            if value > 0 {
                out.push_str(&format!(" {word} {value}"));
            }
        }
        if has("ecn") {
            out.push_str("ecn");
        }
        return if out.is_empty() { out } else { format!("codel({out} ) ") };
    }
    let mut out = String::new();
    for (on, flag) in [
        (has("red") || has("ecn"), "red"),
        (has("ecn"), "ecn"),
        (has("rio"), "rio"),
        (has("codel"), "codel"),
        (has("borrow"), "borrow"),
        (has("default"), "default"),
    ] {
        if on {
            out.push_str(&format!(" {flag}"));
        }
    }
    for (curve, word) in [(s.realtime, "realtime"), (s.linkshare, "linkshare"), (s.upperlimit, "upperlimit")] {
        if let Some(curve) = curve {
            out.push_str(&self::curve(curve, word, flat));
        }
    }
    if out.is_empty() { out } else { format!("{}({out} ) ", name(s.kind)) }
}

fn curve(c: Curve, word: &str, flat: &FlatQueue) -> String {
    let value = |b: Bandwidth| match b {
        Bandwidth::Percent(percent) => flat.whole / 100 * u64::from(percent),
        Bandwidth::Bits(bits) => bits.min(flat.whole),
    };
    let text = |b: Bandwidth| match b {
        Bandwidth::Percent(percent @ 1..) => format!("{percent}%"),
        other => rate(value(other)),
    };
    // A link share that is the queue's bandwidth is what it has anyway.
    let usual = word == "linkshare" && c.d == 0 && value(c.m2) == flat.bandwidth;
    if value(c.m2) == 0 || usual {
        return String::new();
    }
    match c.m1.filter(|_| c.d != 0) {
        Some(m1) => format!(" {word}({} {} {})", text(m1), c.d, text(c.m2)),
        None => format!(" {word} {}", text(c.m2)),
    }
}

/// OpenBSD's later queues: a number keeps the largest unit that it is a whole number of.
fn newer(flat: &FlatQueue) -> String {
    let q = &flat.statement;
    let none = NewerQueue::default();
    let n = q.newer.as_ref().unwrap_or(&none);
    let mut out = format!("queue {}", q.name.as_ref().map_or("", |name| &name.node));
    match (&n.parent, q.interfaces.first()) {
        (Some(parent), _) => out.push_str(&format!(" parent {parent}")),
        (None, Some(interface)) => out.push_str(&format!(" on {}", interface.name)),
        (None, None) => {}
    }
    if n.flows > 0 {
        out.push_str(&format!(" flows {}", n.flows));
    }
    if n.quantum > 0 {
        out.push_str(&format!(" quantum {}", n.quantum));
    }
    let share = q.bandwidth.map(|m2| Curve { m1: n.burst.map(|b| b.0), d: n.burst.map_or(0, |b| b.1), m2 });
    for (curve, word) in [(share, " bandwidth"), (n.min, ", min"), (n.max, ", max")] {
        let Some(c) = curve else { continue };
        out.push_str(&format!("{word} {}", whole_rate(c.m2)));
        if let Some(m1) = c.m1.filter(|_| c.d != 0) {
            out.push_str(&format!(" burst {} for {}ms", whole_rate(m1), c.d));
        }
    }
    if n.default {
        out.push_str(" default");
    }
    if let Some(limit) = q.qlimit.filter(|limit| *limit != 0) {
        out.push_str(&format!(" qlimit {limit}"));
    }
    out.push('\n');
    out
}

fn whole_rate(bandwidth: Bandwidth) -> String {
    match bandwidth {
        Bandwidth::Percent(percent) => format!("{percent}%"),
        Bandwidth::Bits(mut bits) => {
            let mut unit = 0;
            while bits >= 1000 && bits % 1000 == 0 && unit < 3 {
                bits /= 1000;
                unit += 1;
            }
            format!("{bits}{}", ["", "K", "M", "G"][unit])
        }
    }
}

/// `state limiter ...` and `source limiter ...`
pub(super) fn limiter(l: &Limiter) -> String {
    let mut out = match l.source {
        false => format!("state limiter {} id {} limit {}", l.name.node, l.id, l.limit),
        true => format!("source limiter {} id {} limit {} states {}", l.name.node, l.id, l.entries, l.limit),
    };
    if let Some((count, seconds)) = l.rate {
        out.push_str(&format!(" rate {count}/{seconds}"));
    }
    if let Some((table, above, below)) = &l.table {
        out.push_str(&format!(" table <{table}> above {above}"));
        if *below > 0 {
            out.push_str(&format!(" below {below}"));
        }
    }
    for (mask, family) in [(l.mask4, "inet"), (l.mask6, "inet6")] {
        if let Some(mask) = mask {
            out.push_str(&format!(" {family} mask {mask}"));
        }
    }
    out.push('\n');
    out
}
