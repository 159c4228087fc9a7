//! Addresses, ports and pools as pfctl prints them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ast::{Family, Modifiers, PoolKind, Port, PortOp};
use crate::flat::{Addr, FlatHost, FlatPool};
use crate::names::services;

/// An IPv6 address in the form of BSD's `inet_ntop`: like RFC 5952, but with the last four bytes in dotted form after
/// `::ffff:`, and after `::` if the first two of them are not zero.
fn v6(addr: Ipv6Addr) -> String {
    let words = addr.segments();
    let zeros = words.iter().take_while(|w| **w == 0).count();
    let dotted = Ipv4Addr::from(((u32::from(words[6])) << 16) | u32::from(words[7]));
    if zeros == 6 {
        return format!("::{dotted}");
    }
    if zeros == 5 && words[5] == 0xffff {
        return format!("::ffff:{dotted}");
    }
    addr.to_string()
}

fn ip(addr: &IpAddr) -> String {
    match addr {
        IpAddr::V4(a) => a.to_string(),
        IpAddr::V6(a) => v6(*a),
    }
}

/// `:network` and the like.
fn modifiers(m: Modifiers) -> String {
    let mut out = String::new();
    for (on, text) in [(m.network, ":network"), (m.broadcast, ":broadcast"), (m.peer, ":peer"), (m.no_alias, ":0")] {
        if on {
            out.push_str(text);
        }
    }
    out
}

/// An address in a rule of a family.
#[must_use]
pub fn address(addr: &Addr, family: Family) -> String {
    match addr {
        Addr::Any => "any".to_owned(),
        Addr::NoRoute => "no-route".to_owned(),
        Addr::UrpfFailed => "urpf-failed".to_owned(),
        Addr::RouteLabel(label) => format!("route \"{label}\""),
        Addr::Table(name) => format!("<{name}>"),
        Addr::Range(a, b) => format!("{} - {}", ip(a), ip(b)),
        Addr::Dynamic { interface, modifiers: m, len } => {
            let whole = if family == Family::V4 { 32 } else { 128 };
            let len = len.filter(|len| *len < whole).map_or(String::new(), |len| format!("/{len}"));
            format!("({interface}{}){len}", modifiers(*m))
        }
        Addr::Prefix { addr, len } => {
            if *len == 0 && addr.is_unspecified() {
                return "any".to_owned();
            }
            let whole = if addr.is_ipv4() { 32 } else { 128 };
            match *len < whole {
                true => format!("{}/{len}", ip(addr)),
                false => ip(addr),
            }
        }
    }
}

/// Whether an address prints as `any`.
#[must_use]
pub fn is_any(addr: &Addr) -> bool {
    match addr {
        Addr::Any => true,
        Addr::Prefix { addr, len } => *len == 0 && addr.is_unspecified(),
        _ => false,
    }
}

/// `[!] address`
#[must_use]
pub fn host(host: &FlatHost, family: Family) -> String {
    let not = if host.negate { "! " } else { "" };
    format!("{not}{}", address(&host.addr, family))
}

/// An operator and its operands, each as text.
#[must_use]
pub fn operator(op: PortOp, a: &str, b: &str) -> String {
    match op {
        PortOp::Any => String::new(),
        PortOp::Eq => format!(" = {a}"),
        PortOp::Ne => format!(" != {a}"),
        PortOp::Lt => format!(" < {a}"),
        PortOp::Le => format!(" <= {a}"),
        PortOp::Gt => format!(" > {a}"),
        PortOp::Ge => format!(" >= {a}"),
        PortOp::Range => format!(" {a}:{b}"),
        PortOp::Inside => format!(" {a} >< {b}"),
        PortOp::Outside => format!(" {a} <> {b}"),
    }
}

/// ` port ...`
#[must_use]
pub fn port(port: Port, protocol: u8) -> String {
    let named = matches!(port.op, PortOp::Eq | PortOp::Ne);
    let name = services::name(port.a, protocol).filter(|_| named);
    let a = name.map_or_else(|| port.a.to_string(), str::to_owned);
    format!(" port{}", operator(port.op, &a, &port.b.to_string()))
}

/// A pool's options.
#[must_use]
pub fn pool_options(pool: &crate::ast::Pool) -> String {
    let mut out = String::new();
    match &pool.kind {
        None => {}
        Some(PoolKind::Bitmask) => out.push_str(" bitmask"),
        Some(PoolKind::Random) => out.push_str(" random"),
        Some(PoolKind::SourceHash(Some(key))) => {
            out.push_str(&format!(" source-hash 0x{:08x}{:08x}{:08x}{:08x}", key[0], key[1], key[2], key[3]));
        }
        // pfctl makes a key up at each load; the text cannot show one that is not there yet.
        Some(PoolKind::SourceHash(None)) => out.push_str(" source-hash"),
        Some(PoolKind::RoundRobin) => out.push_str(" round-robin"),
    }
    if pool.sticky {
        out.push_str(" sticky-address");
    }
    if pool.static_port {
        out.push_str(" static-port");
    }
    if let Some((offset, length, id)) = pool.map_e {
        out.push_str(&format!(" map-e-portset {offset}/{length}/{id}"));
    }
    for (on, word) in [(pool.endpoint_independent, " endpoint-independent"), (pool.v6_nexthop, " prefer-ipv6-nexthop")]
    {
        if on {
            out.push_str(word);
        }
    }
    out
}

/// Members of a list: alone, or in braces with commas.
#[must_use]
pub fn members(items: &[String]) -> String {
    match items {
        [one] => one.clone(),
        several => format!("{{ {} }}", several.join(", ")),
    }
}

/// Addresses, ports and options of a pool.
#[must_use]
pub fn pool(pool: &FlatPool, family: Family) -> String {
    let hosts: Vec<String> = pool.hosts.iter().map(|h| address(&h.addr, family)).collect();
    let ports = match pool.ports {
        (0, _) => String::new(),
        (a, b) if b == 0 || a == b => format!(" port {a}"),
        (a, b) => format!(" port {a}:{b}"),
    };
    format!("{}{ports}{}", members(&hosts), pool_options(&pool.pool))
}
