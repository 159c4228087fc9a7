//! pf's filter evaluation in plain words, over the rule model and a described packet: no parse, no compiled form.

use super::packet::{Packet, Part, Transport};
use crate::filter::*;
use crate::telemetry::DropReason;

/// What must come out: reason, deciding rule, log.
pub type Expected = (Option<DropReason>, Option<u32>, bool);

/// Adds to `hits` (evaluations, packets) of each rule and says what becomes of the packet.
pub fn evaluate(
    ruleset: &Ruleset,
    if_name: &str,
    direction: Direction,
    packet: &Packet,
    hits: &mut [(u64, u64)],
) -> Expected {
    let is_ether = |rule: &Rule| rule.ether.is_some();
    let ether = pass_through(ruleset, |rule| is_ether(rule) && applies(rule, if_name, direction), is_ether, hits);
    if let (Some((number, Action::Block)), log) = ether {
        return (Some(DropReason::Match), Some(number), log);
    }
    if packet.other.is_some() {
        return (None, None, ether.1);
    }
    let matches = |rule: &Rule| applies(rule, if_name, direction) && matches(ruleset, rule, packet);
    let (decided, log) = pass_through(ruleset, matches, |rule| !is_ether(rule), hits);
    let number = decided.map(|(number, _)| number);
    if let Some((_, Action::Block)) = decided {
        return (Some(DropReason::Match), number, log || ether.1);
    }
    let allows = number.is_some_and(|n| ruleset.rules[n as usize].flags.contains(RuleFlags::ALLOW_OPTS));
    if packet.options && !allows {
        return (Some(DropReason::IpOption), number, true);
    }
    (None, number, log || ether.1)
}

fn pass_through(
    ruleset: &Ruleset,
    matches: impl Fn(&Rule) -> bool,
    in_layer: impl Fn(&Rule) -> bool,
    hits: &mut [(u64, u64)],
) -> (Option<(u32, Action)>, bool) {
    let mut decided: Option<usize> = None;
    let mut log = false;
    for (number, rule) in ruleset.rules.iter().enumerate().filter(|(_, rule)| in_layer(rule)) {
        hits[number].0 += 1;
        if matches(rule) {
            if rule.action == Action::Match {
                hits[number].1 += 1;
                log = log || rule.flags.contains(RuleFlags::LOG);
            } else {
                decided = Some(number);
            }
            if rule.flags.contains(RuleFlags::QUICK) {
                break;
            }
        }
    }
    if let Some(number) = decided {
        hits[number].1 += 1;
        log = log || ruleset.rules[number].flags.contains(RuleFlags::LOG);
    }
    (decided.map(|number| (number as u32, ruleset.rules[number].action)), log)
}

fn applies(rule: &Rule, if_name: &str, direction: Direction) -> bool {
    let group = if_name.trim_end_matches(|c: char| c.is_ascii_digit());
    let named = rule.interface == if_name || rule.interface == group;
    let on = rule.interface.is_empty() || named != rule.flags.contains(RuleFlags::NOT_INTERFACE);
    on && (rule.direction == Direction::Any || rule.direction == direction)
}

fn matches(ruleset: &Ruleset, rule: &Rule, packet: &Packet) -> bool {
    if rule.family != Family::Any && rule.family != packet.family {
        return false;
    }
    if rule.protocol.is_some_and(|protocol| protocol != packet.protocol()) {
        return false;
    }
    let fragment = packet.part != Part::Whole;
    if rule.flags.contains(RuleFlags::FRAGMENT) && !fragment {
        return false;
    }
    if !address(ruleset, &rule.src.addr, packet.family, &packet.src)
        || !address(ruleset, &rule.dst.addr, packet.family, &packet.dst)
    {
        return false;
    }
    let wants_ports = rule.src.port.op != PortOp::Any || rule.dst.port.op != PortOp::Any;
    let wants_flags = rule.tcp_flags.out_of != 0;
    match packet.transport {
        Transport::Tcp { .. } if fragment => !wants_ports && !wants_flags,
        Transport::Udp { .. } if fragment => !wants_ports,
        Transport::Icmp { .. } if fragment => rule.icmp.is_none(),
        Transport::Tcp { sport, dport, flags } => {
            port(rule.src.port, sport)
                && port(rule.dst.port, dport)
                && (!wants_flags || flags & rule.tcp_flags.out_of == rule.tcp_flags.set)
        }
        Transport::Udp { sport, dport } => port(rule.src.port, sport) && port(rule.dst.port, dport),
        Transport::Icmp { kind, code } => {
            rule.icmp.is_none_or(|icmp| icmp.kind == kind && icmp.code.is_none_or(|wanted| wanted == code))
        }
        Transport::Other(_) => true,
    }
}

fn address(ruleset: &Ruleset, test: &AddrMatch, family: Family, addr: &[u8; 16]) -> bool {
    let family_of_test = match test.kind {
        AddrKind::Mask4 | AddrKind::Range4 => Family::V4,
        AddrKind::Mask6 | AddrKind::Range6 => Family::V6,
        AddrKind::Any | AddrKind::Table | AddrKind::Dynamic => family,
    };
    if family_of_test != family {
        return false;
    }
    let inside = match test.kind {
        AddrKind::Any => true,
        AddrKind::Dynamic => false,
        AddrKind::Mask4 | AddrKind::Mask6 => {
            addr.iter().zip(&test.end).zip(&test.addr).all(|((byte, mask), want)| byte & mask == *want)
        }
        AddrKind::Range4 | AddrKind::Range6 => &test.addr <= addr && addr <= &test.end,
        AddrKind::Table => in_table(&ruleset.tables[test.table as usize], family, addr),
    };
    inside != test.negate
}

/// The longest prefix decides, by looking at every entry.
pub fn in_table(table: &Table, family: Family, addr: &[u8; 16]) -> bool {
    let covers = |entry: &&TableEntry| {
        let shift = 128 - u32::from(entry.len);
        let cut = |addr: &[u8; 16]| u128::from_be_bytes(*addr).checked_shr(shift).unwrap_or(0);
        entry.family == family && cut(addr) == cut(&entry.addr)
    };
    table.entries.iter().filter(covers).max_by_key(|entry| entry.len).is_some_and(|entry| !entry.negate)
}

fn port(test: PortMatch, port: u16) -> bool {
    let (a, b) = (test.a, test.b);
    match test.op {
        PortOp::Any => true,
        PortOp::Eq => port == a,
        PortOp::Ne => port != a,
        PortOp::Lt => port < a,
        PortOp::Le => port <= a,
        PortOp::Gt => port > a,
        PortOp::Ge => port >= a,
        PortOp::Range => (a..=b).contains(&port),
        PortOp::Inside => port > a && port < b,
        PortOp::Outside => port < a || port > b,
    }
}
