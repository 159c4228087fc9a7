//! Layer 2 rules: pfctl's `print_eth_rule`.

use super::addr::host;
use crate::ast::{Direction, Family, Mac};
use crate::flat::{FlatEther, FlatHost};

fn mac(mac: Mac) -> String {
    let pairs = |bytes: [u8; 6]| bytes.map(|b| format!("{b:02x}")).join(":");
    let not = if mac.negate { "! " } else { "" };
    let mut out = format!("{not}{}", pairs(mac.addr));
    let bits = mac.mask.iter().fold(0u64, |all, b| (all << 8) | u64::from(*b));
    let ones = bits.count_ones();
    let prefix = if ones == 0 { 0 } else { (u64::MAX << (48 - ones)) & 0xffff_ffff_ffff };
    if ones == 48 {
        return out;
    }
    if bits == prefix {
        out.push_str(&format!("/{ones}"));
    } else {
        out.push_str(&format!("&{}", pairs(mac.mask)));
    }
    out
}

/// One layer 2 rule, without a line's end.
#[must_use]
pub fn ether_rule(r: &FlatEther) -> String {
    let mut out = match &r.anchor {
        Some(anchor) if anchor.name.is_empty() => "ether anchor".to_owned(),
        Some(anchor) => format!("ether anchor \"{}\"", anchor.name),
        None if r.pass => "ether pass".to_owned(),
        None => "ether block".to_owned(),
    };
    match r.direction {
        Direction::In => out.push_str(" in"),
        Direction::Out => out.push_str(" out"),
        Direction::Any => {}
    }
    if r.quick {
        out.push_str(" quick");
    }
    if !r.interface.1.is_empty() {
        let not = if r.interface.0 { "! " } else { "" };
        out.push_str(&format!(" on {not}{}", r.interface.1));
    }
    if let Some(bridge) = &r.bridge_to {
        out.push_str(&format!(" bridge-to {bridge}"));
    }
    if let Some(vlan) = r.vlan {
        out.push_str(&format!(" vlan {vlan}"));
    }
    if r.protocol != 0 {
        out.push_str(&format!(" proto 0x{:04x}", r.protocol));
    }
    for (side, word) in [(r.src, "from"), (r.dst, "to")] {
        if let Some(side) = side {
            out.push_str(&format!(" {word} {}", mac(side)));
        }
    }
    let (from, to) = &r.l3;
    let family = match r.protocol {
        0x86dd => Family::V6,
        _ => Family::V4,
    };
    let any = |h: &FlatHost| super::addr::is_any(&h.addr) && !h.negate;
    match any(from) && any(to) {
        true => out.push_str(" l3 all"),
        false => out.push_str(&format!(" l3 from {} to {}", host(from, family), host(to, family))),
    }
    for label in r.labels.iter().filter(|l| !l.is_empty()) {
        out.push_str(&format!(" label \"{label}\""));
    }
    if r.ridentifier != 0 {
        out.push_str(&format!(" ridentifier {}", r.ridentifier));
    }
    if let Some(queue) = &r.queue {
        out.push_str(&format!(" queue {queue}"));
    }
    if let Some(tag) = &r.tag {
        out.push_str(&format!(" tag {tag}"));
    }
    if let Some((not, tag)) = &r.tagged {
        out.push_str(&format!("{} tagged {tag}", if *not { " !" } else { "" }));
    }
    if let Some(pipe) = r.pipe {
        let name = if pipe.queue { "dnqueue" } else { "dnpipe" };
        out.push_str(&format!(" {name} {}", pipe.number));
    }
    out
}
