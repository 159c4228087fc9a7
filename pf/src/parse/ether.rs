//! Layer 2 rules, as FreeBSD writes them (pf.conf(5), "ETHERNET FILTERING").

use super::{Fail, Parser, Res};
use crate::ast::{AnchorCall, EtherRule, FilterOptions, Mac, Peer};
use crate::lex::Tok;
use crate::source::Spanned;

/// EtherTypes by name; pfctl knows none, the names are accepted here because a NIC sees these frames every day.
#[rustfmt::skip]
const ETHERTYPES: &[(&str, u16)] = &[
    ("ip", 0x0800), ("ipv4", 0x0800), ("arp", 0x0806), ("rarp", 0x8035), ("vlan", 0x8100), ("ipv6", 0x86dd),
    ("lldp", 0x88cc), ("eapol", 0x888e), ("ptp", 0x88f7), ("qinq", 0x88a8),
];

impl Parser<'_> {
    /// `ether` is the current token.
    pub(super) fn ether_rule(&mut self) -> Res<EtherRule> {
        let start = self.tok.span;
        self.bump();
        let mut rule = EtherRule {
            span: start,
            pass: true,
            anchor: None,
            direction: crate::ast::Direction::Any,
            quick: false,
            interfaces: Vec::new(),
            bridge_to: None,
            vlans: Vec::new(),
            protocols: Vec::new(),
            from: Vec::new(),
            to: Vec::new(),
            l3: None,
            options: FilterOptions::default(),
        };
        if self.take("anchor") {
            let name = self.tok.string().map(|t| Spanned::new(t.to_string(), self.tok.span));
            if name.is_some() {
                self.bump();
            }
            rule.anchor = Some(AnchorCall { name, body: None });
        } else if self.take("block") {
            rule.pass = false;
            if self.take("drop") {
            } else if self.tok.is("return") || self.tok.is("return-rst") || self.tok.is("return-icmp") {
                self.error_here("an ether rule cannot return anything").hint("write `ether block`");
                self.bump();
            }
        } else if !self.take("pass") {
            return Err(self.expected("`pass`, `block` or `anchor` after `ether`", &["pass", "block", "anchor"]));
        }
        rule.direction = self.direction();
        rule.quick = self.take("quick");
        rule.interfaces = self.interfaces()?;
        let bridge = self.tok.span;
        if self.take("bridge-to") {
            let name = self.string("the name of an interface")?.node;
            rule.bridge_to = Some(Spanned::new(name, self.span_from(bridge)));
        }
        if self.take("vlan") {
            rule.vlans = self.list("VLAN id", |p, out| {
                out.push(p.number("a VLAN id", 0, 4094).map(|id| Spanned::new(id.node as u16, id.span))?);
                Ok(())
            })?;
        }
        if self.take("proto") {
            rule.protocols = self.list("EtherType", |p, out| {
                let span = p.tok.span;
                out.push(Spanned::new(p.ethertype()?, span));
                Ok(())
            })?;
        }
        if !self.take("all") {
            if self.take("from") {
                rule.from = self.list("MAC address", Self::mac)?;
            }
            if self.take("to") {
                rule.to = self.list("MAC address", Self::mac)?;
            }
        }
        if self.take("l3") {
            rule.l3 = Some(self.l3()?);
        }
        while ["queue", "ridentifier", "label", "tag", "tagged", "dnpipe", "dnqueue"].iter().any(|w| self.tok.is(w))
            || self.tok.is_punct('!')
        {
            self.filter_option(&mut rule.options)?;
        }
        rule.span = self.span_from(start);
        if let Some(anchor) = &mut rule.anchor {
            let name = anchor.name.take();
            let body = self.anchor_body(true)?;
            if body.is_none() && name.is_none() {
                self.sink.error(rule.span, "anchors without explicit rules must specify a name");
            }
            rule.anchor = Some(AnchorCall { name, body });
        }
        Ok(rule)
    }

    fn l3(&mut self) -> Res<(Peer, Peer)> {
        let (mut from, mut to) = (Peer::default(), Peer::default());
        if self.take("all") {
            return Ok((from, to));
        }
        if self.take("from") {
            from = self.peer()?;
        }
        if self.take("to") {
            to = self.peer()?;
        }
        for (side, name) in [(&from, "from"), (&to, "to")] {
            for host in &side.hosts {
                use crate::ast::HostKind;
                if !matches!(host.kind, HostKind::Name { .. } | HostKind::Table(_) | HostKind::Any) {
                    self.sink.error(host.span, format!("{name} must be an address or table"));
                }
            }
            if let Some(port) = side.ports.first() {
                self.sink
                    .error(port.span, "an ether rule cannot test ports")
                    .hint("tag the frame and test the tag and the port in a pass or block rule");
            }
        }
        Ok((from, to))
    }

    fn ethertype(&mut self) -> Res<u16> {
        if matches!(self.tok.tok, Tok::Number(_)) {
            return Ok(self.number("an EtherType", 1, 65535)?.node as u16);
        }
        let token = self.tok.clone();
        let text = self.string("an EtherType")?.node;
        let hex = text.strip_prefix("0x").and_then(|h| u16::from_str_radix(h, 16).ok());
        let named = ETHERTYPES.iter().find(|e| e.0.eq_ignore_ascii_case(&text)).map(|e| e.1);
        match hex.or(named) {
            Some(0) => {
                self.at(&token, "proto 0 cannot be used".to_owned());
                Ok(0)
            }
            Some(value) => Ok(value),
            None => {
                self.at(&token, format!("`{text}` is not an EtherType"))
                    .hint("write it as 0x and four hexadecimal digits, for instance 0x88cc for LLDP");
                Ok(0)
            }
        }
    }

    fn mac(&mut self, out: &mut Vec<Mac>) -> Res<()> {
        let negate = self.take_punct('!');
        let token = self.tok.clone();
        let text = self.string("a MAC address")?.node;
        let (address, mask) = match text.split_once('&') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text.as_str(), None),
        };
        let Some(addr) = parse_mac(address) else {
            self.at(&token, format!("`{address}` is not a MAC address"))
                .hint("write six hexadecimal pairs: 00:11:22:33:44:55");
            return Err(Fail);
        };
        let mut bits = [0xff; 6];
        if let Some(mask) = mask {
            match parse_mac(mask) {
                Some(mask) => bits = mask,
                None => {
                    self.at(&token, format!("`{mask}` is not the mask of a MAC address"));
                }
            }
        } else if self.take_punct('/') {
            let len = self.number("the length of a MAC prefix", 0, 48)?.node as u32;
            let mask = if len == 0 { 0 } else { u64::MAX << (64 - len) };
            bits.copy_from_slice(&mask.to_be_bytes()[..6]);
        }
        out.push(Mac { negate, addr, mask: bits });
        Ok(())
    }
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut parts = text.split(':');
    let mut addr = [0; 6];
    for byte in &mut addr {
        let part = parts.next().filter(|p| (1..=2).contains(&p.len()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(addr)
}
