//! Rules that load but probably do not do what was meant: those that never decide, and those that cut the link off.

use std::collections::BTreeMap;
use std::ops::Range;

use weir_core::filter::{
    Action, AddrKind, AddrMatch, Call, Direction, Endpoint, Family, List, PortMatch, PortOp, Rule, RuleFlags, Ruleset,
    SourceTrack,
};

use crate::diag::Sink;
use crate::names::protocols::{ICMP6, UDP};
use crate::resolve::interface_matches;
use crate::source::Span;

/// Rulesets with more rules are not searched for rules that never decide: the search compares each with each.
const MOST_RULES: usize = 4000;

/// Warns about a ruleset; `places` has the statement of each rule.
pub fn rules(ruleset: &Ruleset, places: &[Span], sink: &mut Sink) {
    for ranges in ruleset.ranges() {
        // Behind an anchor's call other rules decide too, but none of them takes back what a rule here takes away.
        let filter = ranges[List::Filter as usize].clone();
        if filter.len() <= MOST_RULES {
            undecided(&ruleset.rules[filter.clone()], &places[filter], sink);
        }
    }
    cut_off(ruleset, places, sink);
}

/// Statements of which no rule can decide, because others match all that they match.
fn undecided(rules: &[Rule], places: &[Span], sink: &mut Sink) {
    let mut statements: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        statements.entry((place.file, place.start)).or_default().push(index);
    }
    for own in statements.values() {
        let shadows: Vec<Option<usize>> = own.iter().map(|&at| shadow(rules, at, own)).collect();
        let Some(by) = shadows.iter().copied().collect::<Option<Vec<usize>>>() else {
            continue;
        };
        let (Some(&at), Some(&by)) = (own.first(), by.first()) else {
            continue;
        };
        let line = rules[by].line;
        let reason = match by < at {
            true => format!("this rule is never reached: line {line} matches everything it does, and is `quick`"),
            false => format!("this rule never decides: line {line} comes later and matches everything it does"),
        };
        sink.warn(places[at], reason).hint(match by < at {
            true => "move it above that line, or leave it out",
            false => "make it `quick`, move it below that line, or leave it out",
        });
    }
}

/// A rule of another statement that takes every decision of rule `at` away.
fn shadow(rules: &[Rule], at: usize, own: &[usize]) -> Option<usize> {
    let rule = &rules[at];
    // A rule that matches tags the packet also if another one decides.
    if !decides_alone(rule) || rule.tag != 0 {
        return None;
    }
    let quick = rule.flags.contains(RuleFlags::QUICK);
    (0..rules.len()).find(|&other| {
        let by = &rules[other];
        let takes = match other < at {
            true => by.flags.contains(RuleFlags::QUICK),
            false => other > at && !quick && !rules[at..other].iter().any(ends_undecided),
        };
        takes && decides_alone(by) && always(by) && !own.contains(&other) && covers(by, rule)
    })
}

/// `match quick` ends evaluation: the rule decides that matched before.
fn ends_undecided(rule: &Rule) -> bool {
    rule.action == Action::Match && rule.flags.contains(RuleFlags::QUICK)
}

/// Whether a rule has a say: it is no `match` rule and no call.
fn decides_alone(rule: &Rule) -> bool {
    matches!(rule.action, Action::Pass | Action::Block)
}

/// Whether nothing but the packet tells whether a rule matches.
fn always(rule: &Rule) -> bool {
    let by_packet = rule.probability == 0 && rule.packet_rate.is_none() && rule.tagged == 0 && rule.state.max == 0;
    by_packet && rule.state.source_track == SourceTrack::No && !rule.flags.contains(RuleFlags::ONCE)
}

/// Whether every packet that `b` matches is matched by `a`.
fn covers(a: &Rule, b: &Rule) -> bool {
    let interface = a.interface.is_empty()
        || (a.interface == b.interface && negated(a) == negated(b))
        || (!negated(a) && !negated(b) && interface_matches(&b.interface, &a.interface));
    let fragment = !a.flags.contains(RuleFlags::FRAGMENT) || b.flags.contains(RuleFlags::FRAGMENT);
    let code = match (&a.icmp, &b.icmp) {
        (None, _) => true,
        (Some(a), Some(b)) => a.kind == b.kind && (a.code.is_none() || a.code == b.code),
        (Some(_), None) => false,
    };
    interface
        && fragment
        && code
        && (a.direction == Direction::Any || a.direction == b.direction)
        && (a.family == Family::Any || a.family == family(b))
        && (a.protocol.is_none() || a.protocol == b.protocol)
        && (a.tcp_flags.out_of == 0 || a.tcp_flags == b.tcp_flags)
        && (a.tos.is_none() || a.tos == b.tos)
        && side_covers(&a.src, &b.src)
        && side_covers(&a.dst, &b.dst)
}

fn negated(rule: &Rule) -> bool {
    rule.flags.contains(RuleFlags::NOT_INTERFACE)
}

/// The family a rule is for, also if only its addresses tell.
fn family(rule: &Rule) -> Family {
    let of = |side: &Endpoint| match side.addr.kind {
        AddrKind::Mask4 | AddrKind::Range4 if !side.addr.negate => Family::V4,
        AddrKind::Mask6 | AddrKind::Range6 if !side.addr.negate => Family::V6,
        _ => Family::Any,
    };
    [rule.family, of(&rule.src), of(&rule.dst)].into_iter().find(|f| *f != Family::Any).unwrap_or(Family::Any)
}

fn side_covers(a: &Endpoint, b: &Endpoint) -> bool {
    address_covers(&a.addr, &b.addr) && port_covers(a.port, b.port)
}

/// First and last address of a test that is one span of addresses.
fn span(test: &AddrMatch) -> Option<([u8; 16], [u8; 16])> {
    match test.kind {
        AddrKind::Mask4 | AddrKind::Mask6 => {
            let mut last = test.addr;
            let length = if test.kind == AddrKind::Mask4 { 4 } else { 16 };
            for (byte, mask) in last.iter_mut().zip(test.end).take(length) {
                *byte |= !mask;
            }
            Some((test.addr, last))
        }
        AddrKind::Range4 | AddrKind::Range6 => Some((test.addr, test.end)),
        AddrKind::Any | AddrKind::Table | AddrKind::Dynamic => None,
    }
}

fn is_v4(test: &AddrMatch) -> bool {
    matches!(test.kind, AddrKind::Mask4 | AddrKind::Range4)
}

fn address_covers(a: &AddrMatch, b: &AddrMatch) -> bool {
    if a == b || (a.kind == AddrKind::Any && !a.negate) {
        return true;
    }
    match (span(a), span(b)) {
        (Some(a_span), Some(b_span)) if !a.negate && !b.negate && is_v4(a) == is_v4(b) => {
            a_span.0 <= b_span.0 && b_span.1 <= a_span.1
        }
        _ => false,
    }
}

/// First and last port of a test that is one span of ports.
fn port_span(test: PortMatch) -> Option<(u32, u32)> {
    let (a, b) = (u32::from(test.a), u32::from(test.b));
    Some(match test.op {
        PortOp::Eq => (a, a),
        PortOp::Lt => (0, a.checked_sub(1)?),
        PortOp::Le => (0, a),
        PortOp::Gt => (a + 1, 65535),
        PortOp::Ge => (a, 65535),
        PortOp::Range => (a, b),
        PortOp::Inside => (a + 1, b.checked_sub(1)?),
        PortOp::Any | PortOp::Ne | PortOp::Outside => return None,
    })
}

fn port_covers(a: PortMatch, b: PortMatch) -> bool {
    if a.op == PortOp::Any || a == b {
        return true;
    }
    match (port_span(a), port_span(b)) {
        (Some(a), Some(b)) => a.0 <= b.0 && b.1 <= a.1,
        _ => false,
    }
}

/// EtherType of ARP (RFC 826).
const ARP: u16 = 0x0806;

/// A packet that a link needs.
struct Probe {
    list: List,
    what: &'static str,
    allow: &'static str,
    unless: &'static str,
    direction: Direction,
    v4: bool,
    protocol: u8,
    src: [u8; 16],
    dst: [u8; 16],
    ports: (u16, u16),
    icmp: u8,
}

/// An IPv4 address in the form of the rule model.
const fn v4(a: u8, b: u8, c: u8, d: u8) -> [u8; 16] {
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// An IPv6 address of a first and a last word.
const fn v6(first: [u8; 2], last: u8) -> [u8; 16] {
    let [a, b] = first;
    [a, b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

const ND: &str = "IPv6 neighbour discovery";
const ND_RULE: &str = "pass inet6 proto icmp6 icmp6-type { neighbrsol, neighbradv, routeradv } no state";
const DHCP: &str = "DHCP";
const DHCP_RULE: &str = "pass proto udp from any port { bootpc, bootps } to any port { bootpc, bootps } no state";

fn probes() -> Vec<Probe> {
    let nd = |icmp, dst| Probe {
        list: List::Filter,
        what: ND,
        allow: ND_RULE,
        unless: ", or block inet6 by a rule of its own if you mean it",
        direction: Direction::In,
        v4: false,
        protocol: ICMP6,
        src: v6([0xfe, 0x80], 1),
        dst,
        ports: (0, 0),
        icmp,
    };
    let dhcp = |direction, src, dst, ports| Probe {
        list: List::Filter,
        what: DHCP,
        allow: DHCP_RULE,
        unless: "",
        direction,
        v4: true,
        protocol: UDP,
        src,
        dst,
        ports,
        icmp: 0,
    };
    let everyone = v4(255, 255, 255, 255);
    let arp = |direction| Probe {
        list: List::Ether,
        what: "ARP",
        allow: "ether pass quick proto arp",
        unless: " above it",
        direction,
        v4: true,
        protocol: 0,
        src: [0; 16],
        dst: [0; 16],
        ports: (0, 0),
        icmp: 0,
    };
    vec![
        arp(Direction::In),
        arp(Direction::Out),
        nd(135, v6([0xfe, 0x80], 2)),
        nd(136, v6([0xfe, 0x80], 2)),
        nd(134, v6([0xff, 0x02], 1)),
        dhcp(Direction::In, v4(192, 0, 2, 1), everyone, (67, 68)),
        dhcp(Direction::Out, v4(0, 0, 0, 0), everyone, (68, 67)),
    ]
}

/// Blocks that were not meant for what a link needs to come up and stay up.
fn cut_off(ruleset: &Ruleset, places: &[Span], sink: &mut Sink) {
    if ruleset.anchors.is_empty() {
        return;
    }
    let mut interfaces: Vec<&str> = Vec::new();
    for rule in ruleset.rules.iter().filter(|r| !negated(r) && !r.interface.is_empty()) {
        if !interfaces.contains(&rule.interface.as_str()) && interfaces.len() < MOST_INTERFACES {
            interfaces.push(&rule.interface);
        }
    }
    if interfaces.is_empty() {
        interfaces.push("");
    }
    let ranges: Vec<_> = ruleset.ranges().collect();
    let mut told = Vec::new();
    for interface in interfaces.into_iter().filter(|name| !skipped(ruleset, name)) {
        for probe in probes() {
            let way = Way { ruleset, ranges: &ranges, interface, probe: &probe };
            let Some(at) = way.decides(0).0 else { continue };
            let rule = &ruleset.rules[at];
            let meant = rule.protocol.is_some()
                || rule.family != Family::Any
                || rule.src.addr != AddrMatch::default()
                || rule
                    .ether
                    .is_some_and(|tests| tests.protocol != 0 || tests.vlan.is_some() || tests.src.mask != [0; 6]);
            let key = (places[at].start, probe.what);
            if rule.action != Action::Block || meant || told.contains(&key) {
                continue;
            }
            told.push(key);
            sink.warn(places[at], format!("this rule also blocks {}, and no rule lets it through", probe.what))
                .hint(format!("add `{}`{}", probe.allow, probe.unless));
        }
    }
}

/// Interfaces that are tried, at most.
const MOST_INTERFACES: usize = 16;

/// `set skip on`.
fn skipped(ruleset: &Ruleset, interface: &str) -> bool {
    ruleset.options.skip.iter().any(|name| interface_matches(interface, name))
}

/// A probe's way through a list.
struct Way<'a> {
    ruleset: &'a Ruleset,
    /// Where each anchor's rules stand.
    ranges: &'a [[Range<usize>; List::ALL.len()]],
    interface: &'a str,
    probe: &'a Probe,
}

impl Way<'_> {
    /// The rule that decides about the probe in an anchor, and whether it was `quick`.
    fn decides(&self, anchor: usize) -> (Option<usize>, bool) {
        let Some(range) = self.ranges.get(anchor).map(|ranges| ranges[self.probe.list as usize].clone()) else {
            return (None, false);
        };
        let mut last = None;
        for at in range {
            let rule = &self.ruleset.rules[at];
            if rule.action == Action::Match || !always(rule) || !self.matches(rule) {
                continue;
            }
            let quick = rule.flags.contains(RuleFlags::QUICK);
            let Some(call) = rule.call else {
                last = Some(at);
                if quick {
                    return (last, true);
                }
                continue;
            };
            for anchor in self.called(call) {
                let (found, ends) = self.decides(anchor);
                last = found.or(last);
                if ends || (quick && found.is_some()) {
                    return (last, true);
                }
            }
        }
        (last, false)
    }

    fn called(&self, call: Call) -> Vec<usize> {
        let anchors = &self.ruleset.anchors;
        if !call.children {
            return vec![call.anchor as usize];
        }
        let Some(parent) = anchors.get(call.anchor as usize) else {
            return Vec::new();
        };
        // Sorted by their parts, so those that are in an anchor stand behind it.
        let (at, below) = (call.anchor as usize + 1, parent.path.as_str());
        let inside = |path: &str| match path.strip_prefix(below) {
            Some(rest) if below.is_empty() => !rest.is_empty(),
            Some(rest) => rest.starts_with('/'),
            None => false,
        };
        let direct = |path: &str| path.rsplit_once('/').map_or("", |(outer, _)| outer) == below;
        (at..anchors.len())
            .take_while(|at| inside(&anchors[*at].path))
            .filter(|at| direct(&anchors[*at].path))
            .collect()
    }

    fn matches(&self, rule: &Rule) -> bool {
        let probe = self.probe;
        let on = rule.interface.is_empty() || interface_matches(self.interface, &rule.interface) != negated(rule);
        let direction = rule.direction == Direction::Any || rule.direction == probe.direction;
        if probe.list == List::Ether {
            let frame = rule.ether.is_none_or(|tests| {
                (tests.protocol == 0 || tests.protocol == ARP) && [tests.src.mask, tests.dst.mask] == [[0; 6]; 2]
            });
            return on && direction && frame && rule.src == Endpoint::default() && rule.dst == Endpoint::default();
        }
        let family = match rule.family {
            Family::Any => true,
            Family::V4 => probe.v4,
            Family::V6 => !probe.v4,
        };
        on && family
            && direction
            && !rule.flags.contains(RuleFlags::FRAGMENT)
            && rule.tos.is_none()
            && rule.protocol.is_none_or(|p| p == probe.protocol)
            && rule.icmp.is_none_or(|i| i.kind == probe.icmp && i.code.is_none_or(|c| c == 0))
            && side_matches(self.ruleset, &rule.src, probe.src, probe.v4, probe.ports.0)
            && side_matches(self.ruleset, &rule.dst, probe.dst, probe.v4, probe.ports.1)
    }
}

fn side_matches(ruleset: &Ruleset, side: &Endpoint, addr: [u8; 16], is_v4: bool, port: u16) -> bool {
    let test = &side.addr;
    let inside = match test.kind {
        AddrKind::Any => true,
        AddrKind::Table => in_table(ruleset, test.table, addr, is_v4),
        // The probes are from and to nobody in particular.
        AddrKind::Dynamic => false,
        _ => {
            let own = matches!(test.kind, AddrKind::Mask4 | AddrKind::Range4) == is_v4;
            own && span(test).is_some_and(|(first, last)| first <= addr && addr <= last)
        }
    };
    let port_inside = match side.port.op {
        PortOp::Any => true,
        PortOp::Ne => port != side.port.a,
        PortOp::Outside => port < side.port.a || port > side.port.b,
        _ => port_span(side.port).is_some_and(|(a, b)| a <= u32::from(port) && u32::from(port) <= b),
    };
    inside != test.negate && port_inside
}

fn in_table(ruleset: &Ruleset, table: u32, addr: [u8; 16], is_v4: bool) -> bool {
    let Some(table) = ruleset.tables.get(table as usize) else {
        return false;
    };
    let wanted = if is_v4 { Family::V4 } else { Family::V6 };
    let number = u128::from_be_bytes(addr);
    table
        .entries
        .iter()
        .filter(|e| {
            let keep = u128::MAX.checked_shl(128 - u32::from(e.len)).unwrap_or(0);
            e.family == wanted && number & keep == u128::from_be_bytes(e.addr) & keep
        })
        .max_by_key(|e| e.len)
        .is_some_and(|e| !e.negate)
}
