//! `$if`, `$srcaddr` and the like in labels and tags.

use std::net::IpAddr;

use crate::ast::{Family, Port, PortOp};
use crate::flat::{Addr, FlatHost, FlatRule};
use crate::names::protocols;

fn address(host: &FlatHost, family: Family) -> String {
    let text = match &host.addr {
        Addr::Dynamic { interface, .. } => format!("({interface})"),
        Addr::Table(name) => format!("<{name}>"),
        Addr::NoRoute => "no-route".to_owned(),
        Addr::UrpfFailed => "urpf-failed".to_owned(),
        Addr::Any => "any".to_owned(),
        Addr::Prefix { .. } if family == Family::Any => "any".to_owned(),
        Addr::Prefix { addr, len } => {
            let whole = match addr {
                IpAddr::V4(_) => 32,
                IpAddr::V6(_) => 128,
            };
            match *len {
                0 if addr.is_unspecified() => "any".to_owned(),
                len if len < whole => format!("{addr}/{len}"),
                _ => addr.to_string(),
            }
        }
        Addr::Range(..) | Addr::RouteLabel(_) => "?".to_owned(),
    };
    if host.negate { format!("! {text}") } else { text }
}

fn port(port: Option<Port>) -> String {
    let Some(Port { op, a, b }) = port else {
        return String::new();
    };
    match op {
        PortOp::Inside => format!("{a}><{b}"),
        PortOp::Outside => format!("{a}<>{b}"),
        PortOp::Eq => a.to_string(),
        PortOp::Ne => format!("!={a}"),
        PortOp::Lt => format!("<{a}"),
        PortOp::Le => format!("<={a}"),
        PortOp::Gt => format!(">{a}"),
        PortOp::Ge => format!(">={a}"),
        // pfctl has no text for a range.
        PortOp::Range | PortOp::Any => String::new(),
    }
}

/// A label or tag of a rule with its variables replaced.
pub fn expand(text: &str, rule: &FlatRule) -> String {
    if !text.contains('$') {
        return text.to_owned();
    }
    let interface = match rule.interface.1.as_str() {
        "" => "any",
        name => name,
    };
    let protocol = protocols::name(rule.protocol).map_or_else(|| rule.protocol.to_string(), str::to_owned);
    text.replace("$if", interface)
        .replace("$srcaddr", &address(&rule.src, rule.family))
        .replace("$dstaddr", &address(&rule.dst, rule.family))
        .replace("$srcport", &port(rule.src_port))
        .replace("$dstport", &port(rule.dst_port))
        .replace("$proto", &protocol)
        .replace("$nr", &rule.number.to_string())
}
