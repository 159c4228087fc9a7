//! The part of a rule that a packet did not meet, and what the packet has there.

use std::net::{Ipv4Addr, Ipv6Addr};

use weir_core::filter::{
    AddrKind, AddrMatch, Direction, DynamicKind, Family, List, Mismatch, PortMatch, PortOp, Rule, RuleFlags, Ruleset,
};
use weir_core::pipeline::Outcome;
use weir_core::wire::{self, Parsed};
use weir_pf::names::{icmp, protocols};
use weir_pf::parse::TCP_FLAGS;

use super::{Explained, Look};

/// An address of a packet.
pub fn ip(parsed: &Parsed, addr: &[u8; 16]) -> String {
    address(parsed.family == wire::Family::V4, addr)
}

fn address(v4: bool, addr: &[u8; 16]) -> String {
    let [a, b, c, d, ..] = *addr;
    if v4 { Ipv4Addr::new(a, b, c, d).to_string() } else { Ipv6Addr::from(*addr).to_string() }
}

/// A protocol by name, or its number.
pub fn protocol(number: u8) -> String {
    protocols::name(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// A MAC address.
pub fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// TCP flags by their letters.
pub fn flags(bits: u8) -> String {
    let letters: String = TCP_FLAGS.chars().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|f| f.1).collect();
    if letters.is_empty() { "none".to_owned() } else { letters }
}

fn test(ruleset: &Ruleset, test: &AddrMatch) -> String {
    let not = if test.negate { "! " } else { "" };
    let v4 = matches!(test.kind, AddrKind::Mask4 | AddrKind::Range4);
    let text = match test.kind {
        AddrKind::Any => "any".to_owned(),
        AddrKind::Mask4 | AddrKind::Mask6 => {
            let len = u128::from_be_bytes(test.end).leading_ones();
            let whole = if v4 { 32 } else { 128 };
            let addr = address(v4, &test.addr);
            if len == whole { addr } else { format!("{addr}/{len}") }
        }
        AddrKind::Range4 | AddrKind::Range6 => format!("{} - {}", address(v4, &test.addr), address(v4, &test.end)),
        AddrKind::Table => {
            ruleset.tables.get(test.table as usize).map_or(String::new(), |table| format!("<{}>", table.name))
        }
        AddrKind::Dynamic => ruleset.dynamics.get(test.table as usize).map_or(String::new(), |dynamic| {
            let which = match dynamic.which {
                DynamicKind::Own => "",
                DynamicKind::Network => ":network",
                DynamicKind::Broadcast => ":broadcast",
                DynamicKind::Peer => ":peer",
            };
            format!("({}{which})", dynamic.interface)
        }),
    };
    format!("{not}{text}")
}

fn ports(test: PortMatch) -> String {
    let PortMatch { op, a, b } = test;
    match op {
        PortOp::Any => "any".to_owned(),
        PortOp::Eq => a.to_string(),
        PortOp::Ne => format!("!= {a}"),
        PortOp::Lt => format!("< {a}"),
        PortOp::Le => format!("<= {a}"),
        PortOp::Gt => format!("> {a}"),
        PortOp::Ge => format!(">= {a}"),
        PortOp::Range => format!("{a}:{b}"),
        PortOp::Inside => format!("{a} >< {b}"),
        PortOp::Outside => format!("{a} <> {b}"),
    }
}

fn icmp_type(kind: u8, code: Option<u8>, v6: bool) -> String {
    let name = icmp::type_name(kind, v6).map_or_else(|| kind.to_string(), str::to_owned);
    code.map_or(name.clone(), |code| format!("{name} code {code}"))
}

/// What the packet has, and what the rule wants, for a part that did not fit.
pub fn sides(ruleset: &Ruleset, rule: &Rule, look: &Look, mismatch: Mismatch, one: &Explained) -> (String, String) {
    // Filter rules see a packet as translation left it.
    let p = if look.list == List::Filter && one.outcome == Outcome::Pass { &one.after } else { &one.before };
    let v6 = p.family == wire::Family::V6;
    let family = match p.family {
        wire::Family::V4 => "inet",
        wire::Family::V6 => "inet6",
        wire::Family::None => "not IP",
    };
    let fragment = "a fragment, which has no ports";
    let port = |number: u16| if p.is_fragment() { fragment.to_owned() } else { number.to_string() };
    let ether = rule.ether.unwrap_or_default();
    let tag = |number: u16| ruleset.tags.get(usize::from(number).wrapping_sub(1)).cloned().unwrap_or_default();
    let mac_test = |test: weir_core::filter::MacMatch| {
        let not = if test.negate { "! " } else { "" };
        let mask = if test.mask == [0xff; 6] { String::new() } else { format!("&{}", mac(test.mask)) };
        format!("{not}{}{mask}", mac(test.addr))
    };
    match mismatch {
        Mismatch::Interface => {
            let not = if rule.flags.contains(RuleFlags::NOT_INTERFACE) { "! " } else { "" };
            (one.interface.clone(), format!("{not}{}", rule.interface))
        }
        Mismatch::Direction => {
            let word = |direction| if direction == Direction::Out { "out" } else { "in" };
            (word(one.direction).to_owned(), word(rule.direction).to_owned())
        }
        Mismatch::Family => {
            let wanted = match rule.family {
                Family::V4 => "inet",
                Family::V6 => "inet6",
                Family::Any => "inet or inet6, as its addresses are",
            };
            (family.to_owned(), wanted.to_owned())
        }
        Mismatch::Protocol => (protocol(p.protocol), rule.protocol.map_or("any".to_owned(), protocol)),
        Mismatch::Fragment => ("a whole packet".to_owned(), "fragments".to_owned()),
        Mismatch::Source => (ip(p, &p.src), test(ruleset, &rule.src.addr)),
        Mismatch::Destination => (ip(p, &p.dst), test(ruleset, &rule.dst.addr)),
        Mismatch::SourcePort => (port(p.src_port), ports(rule.src.port)),
        Mismatch::DestinationPort => (port(p.dst_port), ports(rule.dst.port)),
        Mismatch::IcmpType => {
            let wanted = rule.icmp.map_or(String::new(), |test| icmp_type(test.kind, test.code, v6));
            (icmp_type(p.icmp_type, Some(p.icmp_code), v6), wanted)
        }
        Mismatch::TcpFlags => {
            let wanted = rule.tcp_flags;
            (flags(p.tcp_flags), format!("{}/{}", flags(wanted.set), flags(wanted.out_of)))
        }
        Mismatch::Tos => (format!("0x{:02x}", p.tos), rule.tos.map_or(String::new(), |tos| format!("0x{tos:02x}"))),
        Mismatch::Tagged => {
            let not = if rule.flags.contains(RuleFlags::NOT_TAGGED) { "! " } else { "" };
            ("other tags".to_owned(), format!("{not}{}", tag(rule.tagged)))
        }
        Mismatch::Probability => {
            let percent = f64::from(rule.probability) * 100.0 / 4_294_967_296.0;
            ("no luck".to_owned(), format!("{percent:.3}%"))
        }
        Mismatch::EtherType => (format!("0x{:04x}", p.ethertype), format!("0x{:04x}", ether.protocol)),
        Mismatch::SourceMac => (mac(one.macs.0), mac_test(ether.src)),
        Mismatch::DestinationMac => (mac(one.macs.1), mac_test(ether.dst)),
        Mismatch::Vlan => {
            let id = p.vlans.first().map_or(0, |tci| tci & 0x0fff);
            (id.to_string(), ether.vlan.map_or(String::new(), |id| id.to_string()))
        }
        Mismatch::Once => ("not the first".to_owned(), "one packet".to_owned()),
        Mismatch::PacketRate => {
            let most = rule.packet_rate.map_or(String::new(), |rate| format!("{} in {} s", rate.limit, rate.seconds));
            ("one more".to_owned(), most)
        }
    }
}
