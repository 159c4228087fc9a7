//! The linear matcher: pf's evaluation, written down rule by rule. Every other matcher is compared with it.
#![forbid(unsafe_code)]

use super::compiled::{Bound, Compiled, Installed, Side, Step, Test};
use super::{Action, AddrKind, Direction, Family, List, PortMatch, PortOp, RuleFlags};
use crate::telemetry::DropReason;
use crate::wire::{self, ParseError, Parsed, ParsedFlags, ethertype, protocol};

/// What a ruleset says about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `None` = pass, else why not.
    pub block: Option<DropReason>,
    /// Number of the rule that decided; [`Verdict::NO_RULE`] if none did.
    pub rule: u32,
    /// The frame is to leave an event.
    pub log: bool,
}

impl Verdict {
    /// [`Verdict::rule`] when no rule decided.
    pub const NO_RULE: u32 = u32::MAX;
    /// Pass, by no rule.
    pub const PASS: Self = Self { block: None, rule: Self::NO_RULE, log: false };

    const fn refuse(reason: DropReason) -> Self {
        Self { block: Some(reason), rule: Self::NO_RULE, log: true }
    }
}

/// Judges one frame of `len` bytes and counts for `shard` in the rules' counters. `direction` is In or Out.
///
/// pf's semantics (pf.conf(5), "Packet filtering"; xnu's `pf_test`, `pf_test6`, `pf_test_fragment`):
///
/// - Without a ruleset every frame passes.
/// - The last rule that matches decides, or the first that is `quick`. No match: pass. `match` rules count and log,
///   and change nothing.
/// - Frames that are not IPv4 or IPv6 are not seen by filter rules and pass. IP in VLAN tags is seen; pf never meets
///   it, because VLANs are interfaces of their own above the NIC.
/// - `ether` rules see every frame before the filter rules and are a ruleset of their own (FreeBSD's pf.conf(5),
///   "Ethernet filtering"): a frame that they block is dropped, one that they pass goes on.
/// - An IP packet that is malformed is dropped before the rules are looked at, with pf's reason: `short`,
///   `bad-offset`, `fragment` or `normalize`; a type 0 routing header is `ip-option`. So is a frame with so many
///   VLAN tags that it cannot be told what it carries. Malformed ARP is not IP and passes.
/// - Nothing reassembles: every fragment, the first included, matches only rules without ports, ICMP types and TCP
///   flags (`pf_test_fragment`). A rule with `fragment` matches fragments only.
/// - IPv4 options and IPv6 routing headers are dropped with `ip-option`, unless the rule that passes the frame has
///   `allow-opts`; when no rule matches there is none that has.
/// - `flags` is a test of TCP packets only; a rule with flags and without `proto` matches others whatever it says.
/// - `evaluations` counts each look at a rule, `packets` and `bytes` the frames that it decided or, for `match`,
///   matched, malformed ones excluded. pf skips rules in groups and counts fewer evaluations; bytes are the frame's,
///   with its Ethernet header.
/// - A frame leaves an event if the rule that decided, or a `match` rule on the way, has `log`; malformed packets and
///   forbidden options always do, as in pf.
#[must_use]
pub fn judge(installed: &Installed, shard: usize, direction: Direction, parsed: &Parsed, len: usize) -> Verdict {
    let Some(bound) = installed.bound() else {
        return Verdict::PASS;
    };
    let run = Run { bound, shard, direction, parsed, len };
    let mut log = false;
    if !bound.compiled.program(List::Ether).is_empty() {
        let verdict = run.evaluate(List::Ether);
        if verdict.block.is_some() {
            return verdict;
        }
        log = verdict.log;
    }
    if let Some(reason) = malformed(parsed) {
        return Verdict::refuse(reason);
    }
    if parsed.family == wire::Family::None {
        return Verdict { log, ..Verdict::PASS };
    }
    let verdict = run.evaluate(List::Filter);
    Verdict { log: verdict.log || log, ..verdict }
}

/// Why pf would not even look at its rules.
fn malformed(parsed: &Parsed) -> Option<DropReason> {
    if parsed.ethertype == ethertype::ARP {
        return None;
    }
    parsed.error.map(|error| match error {
        ParseError::BadOffset => DropReason::BadOffset,
        ParseError::Fragment => DropReason::Fragment,
        ParseError::Short => DropReason::Short,
        ParseError::Normalize => DropReason::Normalize,
        ParseError::IpOption => DropReason::IpOption,
        ParseError::Runt => DropReason::Runt,
    })
}

/// One frame's way through the rules.
struct Run<'a> {
    bound: &'a Bound,
    shard: usize,
    direction: Direction,
    parsed: &'a Parsed,
    len: usize,
}

impl Run<'_> {
    /// Goes through a list of which the last match decides.
    fn evaluate(&self, list: List) -> Verdict {
        let Bound { compiled, counters, applies } = self.bound;
        let hits = counters.shard(self.shard);
        let program = compiled.program(list);
        let mut log = false;
        let mut last: Option<(u32, &Test)> = None;
        let mut matched_at = None;
        let mut at = 0usize;
        while let Some(step) = program.get(at) {
            let here = at;
            at = at.saturating_add(1);
            let number = match *step {
                Step::Rule(number) | Step::Enter { rule: number, .. } => number,
                Step::Leave { start, quick } => {
                    if quick && matched_at.is_some_and(|matched| matched > start as usize) {
                        break;
                    }
                    continue;
                }
            };
            let index = number as usize;
            let (Some(test), Some(applies), Some(hits)) =
                (compiled.tests.get(index), applies.get(index), hits.get(index))
            else {
                continue;
            };
            hits.evaluations.add(1);
            let matches = *applies && self.matches(compiled, test, list);
            if let Step::Enter { end, .. } = *step {
                if !matches {
                    at = (end as usize).saturating_add(1);
                }
                continue;
            }
            if !matches {
                continue;
            }
            if test.action == Action::Match {
                log |= test.flags.contains(RuleFlags::LOG);
                hits.packets.add(1);
                hits.bytes.add(self.len as u64);
            } else {
                last = Some((number, test));
                matched_at = Some(here);
            }
            if test.flags.contains(RuleFlags::QUICK) {
                break;
            }
        }
        let (rule, flags, blocks) = match last {
            Some((number, test)) => (number, test.flags, test.action == Action::Block),
            None => (Verdict::NO_RULE, RuleFlags::empty(), false),
        };
        if let Some(hits) = hits.get(rule as usize) {
            hits.packets.add(1);
            hits.bytes.add(self.len as u64);
        }
        log |= flags.contains(RuleFlags::LOG);
        if blocks {
            return Verdict { block: Some(DropReason::Match), rule, log };
        }
        if list == List::Filter && self.has_dangerous_options() && !flags.contains(RuleFlags::ALLOW_OPTS) {
            return Verdict { block: Some(DropReason::IpOption), rule, log: true };
        }
        Verdict { block: None, rule, log }
    }

    fn has_dangerous_options(&self) -> bool {
        match self.parsed.family {
            wire::Family::V4 => self.parsed.flags.contains(ParsedFlags::IP_OPTIONS),
            wire::Family::V6 => self.parsed.flags.contains(ParsedFlags::ROUTING_HEADER),
            wire::Family::None => false,
        }
    }

    fn matches(&self, compiled: &Compiled, test: &Test, list: List) -> bool {
        let p = self.parsed;
        if test.direction != Direction::Any && test.direction != self.direction {
            return false;
        }
        if list == List::Ether {
            return true;
        }
        let family = match p.family {
            wire::Family::V4 => Family::V4,
            wire::Family::V6 => Family::V6,
            wire::Family::None => return false,
        };
        let is_fragment = p.is_fragment();
        (test.family == Family::Any || test.family == family)
            && test.protocol.is_none_or(|wanted| wanted == p.protocol)
            && (is_fragment || !test.flags.contains(RuleFlags::FRAGMENT))
            && addr_matches(compiled, &test.src, family, &p.src)
            && addr_matches(compiled, &test.dst, family, &p.dst)
            && port_matches(test.src.port, (!is_fragment).then_some(p.src_port))
            && port_matches(test.dst.port, (!is_fragment).then_some(p.dst_port))
            && self.icmp_matches(test)
            && self.tcp_flags_match(test)
    }

    fn icmp_matches(&self, test: &Test) -> bool {
        let p = self.parsed;
        test.icmp.is_none_or(|wanted| {
            !p.is_fragment()
                && p.flags.contains(ParsedFlags::ICMP)
                && wanted.kind == p.icmp_type
                && wanted.code.is_none_or(|code| code == p.icmp_code)
        })
    }

    fn tcp_flags_match(&self, test: &Test) -> bool {
        let p = self.parsed;
        test.tcp_flags.out_of == 0
            || p.protocol != protocol::TCP
            || (!p.is_fragment() && p.tcp_flags & test.tcp_flags.out_of == test.tcp_flags.set)
    }
}

fn addr_matches(compiled: &Compiled, side: &Side, family: Family, addr: &[u8; 16]) -> bool {
    let number = u128::from_be_bytes(*addr);
    let inside = match side.kind {
        AddrKind::Any => true,
        AddrKind::Mask4 | AddrKind::Mask6 => number & side.end == side.addr,
        AddrKind::Range4 | AddrKind::Range6 => side.addr <= number && number <= side.end,
        AddrKind::Dynamic => false,
        AddrKind::Table => compiled.tables.get(side.table as usize).is_some_and(|table| table.contains(family, addr)),
    };
    inside != side.negate
}

/// `port` is `None` where the packet has none to look at.
fn port_matches(test: PortMatch, port: Option<u16>) -> bool {
    let PortMatch { op, a, b } = test;
    if op == PortOp::Any {
        return true;
    }
    port.is_some_and(|port| match op {
        PortOp::Any => true,
        PortOp::Eq => port == a,
        PortOp::Ne => port != a,
        PortOp::Lt => port < a,
        PortOp::Le => port <= a,
        PortOp::Gt => port > a,
        PortOp::Ge => port >= a,
        PortOp::Range => a <= port && port <= b,
        PortOp::Inside => a < port && port < b,
        PortOp::Outside => port < a || b < port,
    })
}
