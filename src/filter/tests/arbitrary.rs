//! Rulesets that an image may carry, drawn so that rules and packets meet often.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use proptest::prelude::*;

use crate::filter::*;

pub fn v4(last: [u8; 4]) -> [u8; 16] {
    let mut addr = [0; 16];
    addr[..4].copy_from_slice(&last);
    addr
}

/// A handful of addresses, near each other.
pub fn addr(family: Family) -> impl Strategy<Value = [u8; 16]> + Clone {
    (0u8..3, 0u8..4, prop_oneof![0u8..4, Just(255)]).prop_map(move |(a, b, c)| match family {
        Family::V6 => [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c],
        _ => v4([10, a, b, c]),
    })
}

pub fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn mask(family: Family, len: u8) -> u128 {
    let bits = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
    if family == Family::V4 { bits & !(u128::MAX >> 32) } else { bits }
}

fn prefix_len(family: Family) -> impl Strategy<Value = u8> {
    let bits = if family == Family::V4 { 32u8 } else { 128 };
    prop_oneof![4 => bits - 26..=bits, 1 => 0..=bits]
}

fn addr_match(family: Family, tables: usize) -> BoxedStrategy<AddrMatch> {
    let is_v4 = family == Family::V4;
    let anything = prop::bool::weighted(0.1).prop_map(|negate| AddrMatch { negate, ..AddrMatch::default() });
    let masked = (any::<bool>(), addr(family), prefix_len(family)).prop_map(move |(negate, addr, len)| {
        let mask = mask(family, len);
        let kind = if is_v4 { AddrKind::Mask4 } else { AddrKind::Mask6 };
        let addr = (u128::from_be_bytes(addr) & mask).to_be_bytes();
        AddrMatch { kind, negate, addr, end: mask.to_be_bytes(), table: 0 }
    });
    let range = (any::<bool>(), addr(family), addr(family)).prop_map(move |(negate, a, b)| AddrMatch {
        kind: if is_v4 { AddrKind::Range4 } else { AddrKind::Range6 },
        negate,
        addr: a.min(b),
        end: a.max(b),
        table: 0,
    });
    if tables == 0 {
        return prop_oneof![3 => anything, 3 => masked, 1 => range].boxed();
    }
    let table = (any::<bool>(), 0..tables as u32).prop_map(|(negate, table)| AddrMatch {
        kind: AddrKind::Table,
        negate,
        table,
        ..AddrMatch::default()
    });
    prop_oneof![3 => anything, 3 => masked, 1 => range, 2 => table].boxed()
}

fn port_match() -> impl Strategy<Value = PortMatch> {
    let op = prop_oneof![
        Just(PortOp::Any),
        Just(PortOp::Eq),
        Just(PortOp::Ne),
        Just(PortOp::Lt),
        Just(PortOp::Le),
        Just(PortOp::Gt),
        Just(PortOp::Ge),
        Just(PortOp::Range),
        Just(PortOp::Inside),
        Just(PortOp::Outside),
    ];
    (op, port(), port()).prop_map(|(op, a, b)| match op {
        PortOp::Any => PortMatch::default(),
        PortOp::Range | PortOp::Inside | PortOp::Outside => PortMatch { op, a: a.min(b), b: a.max(b) },
        _ => PortMatch { op, a, b: 0 },
    })
}

pub fn port() -> impl Strategy<Value = u16> {
    prop_oneof![8 => 20u16..26, 1 => Just(0u16), 1 => Just(u16::MAX), 1 => any::<u16>()]
}

pub fn tcp_flags() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0x02u8), Just(0x12), Just(0x10), Just(0x04), any::<u8>()]
}

fn flags() -> impl Strategy<Value = RuleFlags> {
    let bit = |weight: f64, flag: RuleFlags| {
        prop::bool::weighted(weight).prop_map(move |on| if on { flag } else { RuleFlags::empty() })
    };
    (
        bit(0.2, RuleFlags::QUICK),
        bit(0.3, RuleFlags::LOG),
        bit(0.1, RuleFlags::LOG_ALL),
        bit(0.1, RuleFlags::FRAGMENT),
        bit(0.3, RuleFlags::ALLOW_OPTS),
    )
        .prop_map(|(a, b, c, d, e)| a | b | c | d | e)
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![4 => Just(Action::Pass), 4 => Just(Action::Block), 1 => Just(Action::Match)]
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Any), Just(Direction::In), Just(Direction::Out)]
}

fn interface() -> impl Strategy<Value = (String, bool)> {
    let name = prop_oneof![
        6 => Just(""), 2 => Just("en0"), 1 => Just("en"), 1 => Just("en1"), 1 => Just("utun"), 1 => Just("en00")
    ];
    (name, any::<bool>()).prop_map(|(name, not)| (name.into(), not && !name.is_empty()))
}

fn text(longest: usize) -> impl Strategy<Value = String> {
    prop_oneof![2 => Just(String::new()), 1 => "[ -~äß→]{1,20}"]
        .prop_filter("length", move |text| text.len() <= longest)
}

fn ip_rule(tables: usize) -> impl Strategy<Value = Rule> {
    let protocol = prop_oneof![
        2 => Just(None), 3 => Just(Some(6u8)), 2 => Just(Some(17)), 1 => Just(Some(1)), 1 => Just(Some(58)),
        1 => any::<u8>().prop_map(Some)
    ];
    (family(), any::<bool>(), protocol).prop_flat_map(move |(family, named, protocol)| {
        let protocol = match (family, protocol) {
            (Family::V4, Some(58)) => Some(1),
            (Family::V6, Some(1)) => Some(58),
            (_, other) => other,
        };
        let heads = (action(), direction(), flags(), interface(), text(63), text(4096), any::<u32>());
        let sides = (addr_match(family, tables), addr_match(family, tables), port_match(), port_match());
        let icmp = prop::option::of((0u8..12, prop::option::of(0u8..3)));
        let tcp = (tcp_flags(), tcp_flags());
        (heads, sides, icmp, tcp).prop_map(move |(heads, (src, dst, sport, dport), icmp, (set, out_of))| {
            let (action, direction, flags, (interface, not), label, text, line) = heads;
            let not = if not { RuleFlags::NOT_INTERFACE } else { RuleFlags::empty() };
            let has_ports = matches!(protocol, Some(6 | 17));
            let ports = |port: PortMatch| if has_ports { port } else { PortMatch::default() };
            let has_icmp = matches!(protocol, Some(1 | 58));
            Rule {
                action,
                direction,
                flags: flags | not,
                interface,
                family: if named { family } else { Family::Any },
                protocol,
                src: Endpoint { addr: src, port: ports(sport) },
                dst: Endpoint { addr: dst, port: ports(dport) },
                icmp: icmp.filter(|_| has_icmp).map(|(kind, code)| IcmpMatch { kind, code }),
                tcp_flags: TcpFlagsMatch { set: set & out_of, out_of },
                labels: (!label.is_empty()).then_some(label).into_iter().collect(),
                text,
                line,
                ..Rule::default()
            }
        })
    })
}

fn ether_rule() -> impl Strategy<Value = Rule> {
    (action(), direction(), flags(), interface()).prop_map(|(action, direction, flags, (interface, not))| {
        let flags = flags - RuleFlags::FRAGMENT - RuleFlags::ALLOW_OPTS;
        Rule {
            flags: if not { flags | RuleFlags::NOT_INTERFACE } else { flags },
            interface,
            ether: Some(EtherMatch::default()),
            ..empty_rule(action, direction)
        }
    })
}

/// `action direction all`.
pub fn empty_rule(action: Action, direction: Direction) -> Rule {
    Rule { action, direction, ..Rule::default() }
}

/// A table's contents, sorted as an image has them.
pub fn entries() -> impl Strategy<Value = Vec<TableEntry>> {
    let entry = family().prop_flat_map(|family| {
        (addr(family), prefix_len(family), any::<bool>()).prop_map(move |(addr, len, negate)| {
            let addr = (u128::from_be_bytes(addr) & mask(family, len)).to_be_bytes();
            TableEntry { family, addr, len, negate }
        })
    });
    prop::collection::vec(entry, 0..24).prop_map(|mut entries| {
        entries.sort_by_key(|entry| (entry.family as u8, entry.addr, entry.len));
        entries.dedup_by_key(|entry| (entry.family as u8, entry.addr, entry.len));
        entries
    })
}

/// A ruleset as an image gives it back.
pub fn ruleset(rules: core::ops::Range<usize>) -> impl Strategy<Value = Ruleset> {
    prop::collection::vec(entries(), 0..4).prop_flat_map(move |tables| {
        let rule = prop_oneof![12 => ip_rule(tables.len()), 1 => ether_rule()];
        prop::collection::vec(rule, rules.clone()).prop_map(move |rules| {
            let tables = tables.iter().enumerate();
            let tables = tables.map(|(n, entries)| Table {
                name: format!("table{n}"),
                defined: true,
                entries: entries.clone(),
                ..Table::default()
            });
            let (ether, filter) = rules.into_iter().partition(|rule| rule.ether.is_some());
            let mut ruleset = Ruleset { tables: tables.collect(), ..Ruleset::default() };
            let mut lists = [const { Vec::new() }; List::ALL.len()];
            lists[List::Ether as usize] = ether;
            lists[List::Filter as usize] = filter;
            ruleset.push_anchor(String::new(), lists);
            ruleset
        })
    })
}
