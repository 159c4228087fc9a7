//! Interfaces, addresses and ports.

use std::rc::Rc;

use super::{Fail, Parser, Res};
use crate::ast::{Host, HostKind, Interface, Modifiers, Peer, PoolPort, Port, PortOp};
use crate::lex::Tok;
use crate::names::services;
use crate::source::{Span, Spanned};
use crate::suggest::did_you_mean;

/// Longest name of an interface (IFNAMSIZ - 1).
const LONGEST_INTERFACE: usize = 15;
/// Longest name of a table (PF_TABLE_NAME_SIZE - 1).
pub const LONGEST_TABLE: usize = 31;

impl Parser<'_> {
    /// `on [!] if` or `on { ... }`; nothing read if there is no `on`.
    pub(super) fn interfaces(&mut self) -> Res<Vec<Interface>> {
        if !self.take("on") {
            return Ok(Vec::new());
        }
        self.interface_list()
    }

    pub(super) fn interface_list(&mut self) -> Res<Vec<Interface>> {
        self.list("interface", |p, out| {
            let start = p.tok.span;
            let negate = p.take_punct('!');
            if p.tok.is("any") {
                if negate {
                    p.error_here("`! any` can never match").hint("leave out the `!`");
                }
                // OpenBSD's `on any`: every interface.
                p.bump();
                return Ok(());
            }
            let mut one = p.interface()?;
            one.negate = negate;
            one.span = start.to(one.span);
            out.push(one);
            Ok(())
        })
    }

    pub(super) fn interface(&mut self) -> Res<Interface> {
        let dynamic = self.tok.is_punct('(');
        if let Some(text) = self.tok.string().cloned() {
            if text.len() > LONGEST_INTERFACE {
                self.error_here(format!("interface name too long, at most {LONGEST_INTERFACE} bytes"));
            }
            let span = self.tok.span;
            self.check_name(&text, span, true);
            self.bump();
            return Ok(Interface { negate: false, name: text.to_string(), dynamic: false, span });
        }
        let fail = self.expected("the name of an interface", &[]);
        if dynamic {
            self.hint_last("write the name without parentheses after `on`");
        }
        Err(fail)
    }

    /// `from` or `to` was read: addresses and ports.
    pub(super) fn peer(&mut self) -> Res<Peer> {
        let mut peer = Peer::default();
        if !self.tok.is("port") {
            peer.hosts = self.hosts()?;
            self.after_hosts = true;
        }
        if self.take("port") {
            peer.ports = self.ports()?;
        }
        Ok(peer)
    }

    /// One address, or a list; `any` alone is the empty list.
    pub(super) fn hosts(&mut self) -> Res<Vec<Host>> {
        let alone = !self.tok.is_punct('{');
        let mut hosts = self.list("address", Self::host_item)?;
        if alone && matches!(hosts.as_slice(), [h] if h.kind == HostKind::Any && !h.negate) {
            hosts.clear();
        }
        Ok(hosts)
    }

    pub(super) fn host_item(&mut self, out: &mut Vec<Host>) -> Res<()> {
        let start = self.tok.span;
        let negate = self.take_punct('!');
        let kind = match &self.tok.tok {
            Tok::Word(word) if &**word == "any" => {
                if negate {
                    self.error_here("`! any` can never match").hint("leave out the `!`");
                }
                self.bump();
                HostKind::Any
            }
            Tok::Word(word) if &**word == "no-route" => {
                self.bump();
                HostKind::NoRoute
            }
            Tok::Word(word) if &**word == "urpf-failed" => {
                self.bump();
                HostKind::UrpfFailed
            }
            Tok::Word(word) if &**word == "route" => {
                self.bump();
                HostKind::RouteLabel(self.string("the label of a route")?.node)
            }
            _ => self.host_kind()?,
        };
        out.push(Host { negate, kind, span: self.span_from(start) });
        Ok(())
    }

    /// A single address that is not `any` and the like.
    pub(super) fn host(&mut self) -> Res<Host> {
        let start = self.tok.span;
        let kind = self.host_kind()?;
        Ok(Host { negate: false, kind, span: self.span_from(start) })
    }

    fn host_kind(&mut self) -> Res<HostKind> {
        match &self.tok.tok {
            Tok::Punct('<') => Ok(HostKind::Table(self.table_name()?.node)),
            Tok::Punct('(') => self.dynamic(),
            Tok::Number(value) => {
                // 10/8
                let text: Rc<str> = value.to_string().into();
                let span = self.tok.span;
                self.bump();
                if !self.tok.is_punct('/') {
                    self.sink.error(span, format!("the number {text} is not an address")).hint(format!(
                        "write {text}/8 for the network {text}.0.0.0/8, or all four parts of an address"
                    ));
                    return Err(Fail);
                }
                self.bump();
                let len = self.prefix_length()?;
                Ok(HostKind::Name { text, len: Some(len) })
            }
            _ => {
                let Some(text) = self.tok.string().cloned() else {
                    return Err(self.expected("an address", &["any", "all", "from", "to", "port", "no-route", "self"]));
                };
                self.bump();
                if self.take_punct('/') {
                    let len = self.prefix_length()?;
                    return Ok(HostKind::Name { text, len: Some(len) });
                }
                if self.take_punct('-') {
                    let Some(end) = self.tok.string().cloned() else {
                        return Err(self.expected("the last address of a range", &[]));
                    };
                    self.bump();
                    return Ok(HostKind::Range(text, end));
                }
                Ok(HostKind::Name { text, len: None })
            }
        }
    }

    fn prefix_length(&mut self) -> Res<i64> {
        match self.tok.tok {
            Tok::Number(value) => {
                self.bump();
                Ok(value)
            }
            _ => {
                let netmask = matches!(&self.tok.tok, Tok::Word(w) if w.contains('.'));
                let fail = self.expected("the length of a prefix in bits after `/`", &[]);
                if netmask {
                    self.hint_last("pf takes the number of bits, not a netmask: /24, not /255.255.255.0");
                }
                Err(fail)
            }
        }
    }

    /// `<name>`
    pub(super) fn table_name(&mut self) -> Res<Spanned<String>> {
        let start = self.tok.span;
        self.want_punct('<', "before the name of a table")?;
        let name = self.string("the name of a table")?;
        self.check_name(&name.node, name.span, true);
        if name.node.len() > LONGEST_TABLE {
            self.sink.error(name.span, format!("table name too long, at most {LONGEST_TABLE} bytes"));
        }
        self.want_punct('>', "after the name of a table")?;
        Ok(Spanned::new(name.node, self.span_from(start)))
    }

    /// `(interface[:modifier]...)[/bits]`
    fn dynamic(&mut self) -> Res<HostKind> {
        self.bump();
        let name = self.string("the name of an interface")?;
        self.want_punct(')', "after the interface")?;
        let (interface, modifiers) = self.modifiers(&name.node, name.span);
        if !interface.starts_with(|c: char| c.is_ascii_alphabetic()) {
            self.sink
                .error(name.span, format!("`{interface}` is not the name of an interface"))
                .hint("only interfaces stand in parentheses; write an address without them");
        }
        if interface.len() > LONGEST_INTERFACE {
            self.sink.error(name.span, format!("interface name too long, at most {LONGEST_INTERFACE} bytes"));
        }
        let len = match self.take_punct('/') {
            true => Some(self.number("a prefix length", 0, 128)?.node as u8),
            false => None,
        };
        Ok(HostKind::Dynamic { interface, modifiers, len })
    }

    fn modifiers(&mut self, text: &str, span: Span) -> (String, Modifiers) {
        let mut modifiers = Modifiers::default();
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or("").to_owned();
        for part in parts {
            match part {
                "network" => modifiers.network = true,
                "broadcast" => modifiers.broadcast = true,
                "peer" => modifiers.peer = true,
                "0" => modifiers.no_alias = true,
                other => {
                    let hint = did_you_mean(other, ["network", "broadcast", "peer"]);
                    self.sink
                        .error(span, format!("`:{other}` is not a modifier of an interface"))
                        .hint(hint.unwrap_or_else(|| "one of :network, :broadcast, :peer, :0".to_owned()));
                }
            }
        }
        if u8::from(modifiers.network) + u8::from(modifiers.broadcast) + u8::from(modifiers.peer) > 1 {
            self.sink.error(span, "only one of :network, :broadcast and :peer can be given");
        }
        (name, modifiers)
    }

    /// `port` was read.
    pub(super) fn ports(&mut self) -> Res<Vec<Spanned<Port>>> {
        self.list("port", |p, out| {
            let start = p.tok.span;
            let port = p.port_item()?;
            let span = p.span_from(start);
            out.push(Spanned::new(port, span));
            Ok(())
        })
    }

    /// `=`, `!=`, `<` and so on.
    pub(super) fn unary_operator(&mut self) -> Res<Option<PortOp>> {
        if self.take_punct('=') {
            return Ok(Some(PortOp::Eq));
        }
        if self.take_punct('!') {
            self.want_punct('=', "after `!`")?;
            return Ok(Some(PortOp::Ne));
        }
        for (c, strict, equal) in [('<', PortOp::Lt, PortOp::Le), ('>', PortOp::Gt, PortOp::Ge)] {
            if self.take_punct(c) {
                return Ok(Some(if self.take_punct('=') { equal } else { strict }));
            }
        }
        Ok(None)
    }

    fn port_item(&mut self) -> Res<Port> {
        let op = self.unary_operator()?;
        let start = self.tok.span;
        let (a, range) = self.port_range(true)?;
        if let Some(op) = op {
            if range.is_some() {
                let span = self.span_from(start);
                self.sink.error(span, "`:` cannot be used with another port operator");
            }
            return Ok(Port { op, a, b: 0 });
        }
        let binary = match self.tok.tok {
            Tok::Inside => Some(PortOp::Inside),
            Tok::Outside => Some(PortOp::Outside),
            _ => None,
        };
        if let Some(op) = binary {
            self.bump();
            let (b, second) = self.port_range(true)?;
            if range.is_some() || second.is_some() {
                let span = self.span_from(start);
                self.sink.error(span, "`:` cannot be used with another port operator");
            }
            return Ok(Port { op, a, b });
        }
        match range {
            Some(b) if a != b => {
                if b < a {
                    let span = self.span_from(start);
                    self.sink
                        .error(span, format!("the port range {a}:{b} is empty: its first port is the higher one"))
                        .hint(format!("did you mean {b}:{a}?"));
                }
                Ok(Port { op: PortOp::Range, a, b })
            }
            _ => Ok(Port { op: PortOp::Eq, a, b: 0 }),
        }
    }

    /// `a` or `a:b`.
    fn port_range(&mut self, colon: bool) -> Res<(u16, Option<u16>)> {
        let text: Rc<str> = match &self.tok.tok {
            Tok::Number(value) => value.to_string().into(),
            _ => match self.tok.string() {
                Some(text) => text.clone(),
                None => return Err(self.expected("a port or the name of a service", &["port"])),
            },
        };
        let token = self.tok.clone();
        let parts = text.split_once(':').filter(|_| colon);
        let found = match parts {
            None => (self.service(&text, &token), None),
            Some((a, b)) => (self.service(a, &token), Some(self.service(b, &token))),
        };
        self.bump();
        Ok(found)
    }

    /// A port's number; reports and answers 0 if there is none.
    fn service(&mut self, text: &str, token: &crate::lex::Token) -> u16 {
        if let Some(number) = super::parse_c_number(text) {
            if let Ok(port) = u16::try_from(number) {
                return port;
            }
            self.at(token, format!("{number} is not a port: it must be 0 to 65535"));
            return 0;
        }
        if let Some(port) = services::port(text).or_else(|| self.resolver.service(text)) {
            return port;
        }
        if text.is_empty() {
            self.at(token, "a port is missing beside `:`".to_owned())
                .hint("write a range as first:last, without spaces");
            return 0;
        }
        let similar = did_you_mean(text, services::names());
        if similar.is_none()
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && let Some(port) = self.resolver.stand_in_service(text)
        {
            return port;
        }
        let hint = similar.or_else(|| {
            text.split_once('-')
                .filter(|(a, b)| a.parse::<u16>().is_ok() && b.parse::<u16>().is_ok())
                .map(|(a, b)| format!("write a range with a colon: {a}:{b}"))
        });
        self.at(token, format!("unknown port or service `{text}`"))
            .hint(hint.unwrap_or_else(|| "give the port's number".to_owned()));
        0
    }

    /// `port` of a pool was read: `a`, `a:b` or `a:*`.
    pub(super) fn pool_port(&mut self) -> Res<PoolPort> {
        let text: Option<Rc<str>> = self.tok.string().cloned();
        if let Some(first) = text.as_deref().and_then(|t| t.strip_suffix(":*")) {
            let token = self.tok.clone();
            let a = self.service(first, &token);
            self.bump();
            return Ok(PoolPort { a, b: 0, star: true });
        }
        let (a, b) = self.port_range(true)?;
        let b = b.filter(|b| *b != a).unwrap_or(0);
        Ok(PoolPort { a, b, star: false })
    }
}
