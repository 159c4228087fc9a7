//! Rules: the parts in the order of pfctl's grammar.

use super::option::OPTIONS;
use super::scrub::SCRUB_OPTIONS;
use super::state::STATE_OPTIONS;
use super::{Parser, Res};
use crate::ast::{Action, Direction, Family, Log, Return, Route, RouteHost, RouteKind, Rule};
use crate::lex::Tok;
use crate::names::{icmp, protocols};
use crate::source::{Span, Spanned};
use crate::suggest::did_you_mean;

/// ICMP type of `return-icmp`, destination unreachable.
const UNREACH: u8 = 3;
/// ICMPv6 type of `return-icmp6`, destination unreachable.
const UNREACH6: u8 = 1;
/// ICMP code of a plain `return-icmp`: port unreachable.
const PORT_UNREACH: u8 = 3;
/// ICMPv6 code of a plain `return-icmp6`: port unreachable.
const PORT_UNREACH6: u8 = 4;

/// What pfctl makes of ICMPv6 when only an ICMP code is given: ICMP's own default, printed as the number 3. Behind an
/// ICMP code that number is read back as the same; it stands for port unreachable.
pub const CARRIED_OVER: (u8, u8) = (UNREACH, PORT_UNREACH);

/// The default answer of `return-icmp`.
pub const RETURN_ICMP: Return = Return::Icmp { v4: (UNREACH, PORT_UNREACH), v6: (UNREACH6, PORT_UNREACH6) };

/// The order of a rule's parts, for a part that comes too late.
#[rustfmt::skip]
const ORDER: &[&str] = &[
    "in", "out", "log", "quick", "on", "route-to", "reply-to", "dup-to", "inet", "inet6", "proto", "all", "from", "os",
    "to",
];

impl Parser<'_> {
    /// `pass`, `block` or `match` is the current token.
    pub(super) fn filter_rule(&mut self) -> Res<Rule> {
        let start = self.tok.span;
        let action = if self.take("pass") {
            Action::Pass
        } else if self.take("match") {
            Action::Match
        } else {
            self.bump();
            Action::Block(self.block_return()?)
        };
        let mut rule = Rule::new(Spanned::new(action, self.span_from(start)));
        rule.direction = self.direction();
        self.log_quick(&mut rule)?;
        rule.interfaces = self.interfaces()?;
        self.rdomain()?;
        rule.route = self.route()?;
        rule.family = self.family();
        rule.protocols = self.protocols()?;
        self.source_and_destination(&mut rule)?;
        loop {
            if self.redirect_option(&mut rule)? || self.filter_option(&mut rule.options)? {
                continue;
            }
            // OpenBSD puts route-to among the options.
            if rule.route.is_none() && self.is_route() {
                rule.route = self.route()?;
                continue;
            }
            break;
        }
        rule.span = self.span_from(start);
        Ok(rule)
    }

    /// What stands where a rule should have ended.
    pub(super) fn leftover(&mut self) -> super::Fail {
        if self.tok.tok == Tok::Bad {
            return super::Fail;
        }
        let found = self.tok.describe();
        let reason = format!("{found} is not expected here");
        let hint = match &self.tok.tok {
            Tok::Word(word) if ORDER.contains(&&**word) => Some(format!(
                "`{word}` stands too late or twice: the order is action, in/out, log, quick, on, inet/inet6, proto, from, to, options"
            )),
            Tok::Word(word) if STATE_OPTIONS.contains(&&**word) => {
                Some(format!("options of states stand in parentheses: keep state ({word} ...)"))
            }
            Tok::Word(word) if &**word == "port" && !self.after_hosts => {
                Some("ports belong to an end: `to port 80`, `from any port 80`".to_owned())
            }
            Tok::Word(word) => {
                let port: &[&str] = if self.after_hosts { &["port"] } else { &[] };
                let known = [port, OPTIONS, ORDER, SCRUB_OPTIONS];
                did_you_mean(word, known.into_iter().flatten().copied())
            }
            Tok::Number(_) => Some("a port needs the word `port` before it".to_owned()),
            Tok::Punct(';') => Some("a statement ends with its line".to_owned()),
            Tok::Punct('{') => {
                Some("a list stands after the word it belongs to, such as `proto`, `from` or `port`".to_owned())
            }
            Tok::Arrow => Some(
                "only nat, rdr and binat rules have `->`; a pass or match rule takes `nat-to` or `rdr-to`".to_owned(),
            ),
            _ => None,
        };
        self.error_here(reason).maybe_hint(hint);
        super::Fail
    }

    fn block_return(&mut self) -> Res<Option<Return>> {
        let word = match &self.tok.tok {
            Tok::Word(word) => word.clone(),
            _ => return Ok(None),
        };
        let answer = match &*word {
            "drop" => Return::Drop,
            "return" => Return::Any,
            "return-rst" => {
                self.bump();
                if !self.take_punct('(') {
                    return Ok(Some(Return::Rst(0)));
                }
                self.want("ttl", "after `return-rst (`")?;
                let ttl = self.number("a time to live", 0, 255)?.node as u8;
                self.want_punct(')', "after the time to live")?;
                return Ok(Some(Return::Rst(ttl)));
            }
            "return-icmp" | "return-icmp6" => {
                let v6 = &*word == "return-icmp6";
                self.bump();
                if !self.take_punct('(') {
                    return Ok(Some(RETURN_ICMP));
                }
                let first = self.return_code(v6)?;
                let answer = if v6 {
                    Return::Icmp { v4: (UNREACH, PORT_UNREACH), v6: first }
                } else {
                    let comma = self.take_punct(',');
                    if comma || !self.tok.is_punct(')') {
                        let carried = self.tok.tok == Tok::Number(i64::from(PORT_UNREACH));
                        let v6 = self.return_code(true)?;
                        Return::Icmp { v4: first, v6: if carried { CARRIED_OVER } else { v6 } }
                    } else {
                        Return::Icmp { v4: first, v6: CARRIED_OVER }
                    }
                };
                self.want_punct(')', "after the ICMP code")?;
                return Ok(Some(answer));
            }
            _ => return Ok(None),
        };
        self.bump();
        Ok(Some(answer))
    }

    fn return_code(&mut self, v6: bool) -> Res<(u8, u8)> {
        let kind = if v6 { UNREACH6 } else { UNREACH };
        if matches!(self.tok.tok, Tok::Number(_)) {
            let code = self.number("an ICMP code", 0, 255)?.node as u8;
            return Ok((kind, code));
        }
        let token = self.tok.clone();
        let name = self.string("an ICMP code")?;
        match icmp::code_number(kind, &name.node, v6) {
            Some(code) => Ok((kind, code)),
            None => {
                let hint = did_you_mean(&name.node, icmp::code_names(kind, v6));
                self.at(&token, format!("unknown icmp code `{}`", name.node)).maybe_hint(hint);
                Ok((kind, 0))
            }
        }
    }

    pub(super) fn direction(&mut self) -> Direction {
        if self.take("in") {
            Direction::In
        } else if self.take("out") {
            Direction::Out
        } else {
            Direction::Any
        }
    }

    /// `log` and `quick`, in either order.
    pub(super) fn log_quick(&mut self, rule: &mut Rule) -> Res<()> {
        let quick = self.take("quick");
        rule.log = self.log()?;
        rule.quick = quick || self.take("quick");
        Ok(())
    }

    pub(super) fn log(&mut self) -> Res<Option<Log>> {
        if !self.take("log") {
            return Ok(None);
        }
        let mut log = Log::default();
        if !self.take_punct('(') {
            return Ok(Some(log));
        }
        loop {
            if self.take("all") {
                log.all = true;
            } else if self.take("user") || self.take("group") {
                log.user = true;
            } else if self.take("matches") {
                log.matches = true;
            } else if self.take("to") {
                let name = self.string("the name of a pflog interface")?;
                let number = name.node.strip_prefix("pflog").map(str::parse::<u8>);
                match number {
                    Some(Ok(number)) => log.to = number,
                    _ => {
                        self.sink
                            .error(name.span, format!("`{}` should be a pflog interface", name.node))
                            .hint("pflog0 to pflog255");
                    }
                }
            } else {
                return Err(self.expected("`all`, `user`, `matches` or `to pflogN`", &["all", "user", "matches", "to"]));
            }
            let comma = self.take_punct(',');
            if !comma && self.take_punct(')') {
                return Ok(Some(log));
            }
        }
    }

    /// OpenBSD's `on rdomain N`: read only to be refused.
    fn rdomain(&mut self) -> Res<()> {
        let start = self.tok.span;
        if self.take("rdomain") {
            self.number("a routing domain", 0, 255)?;
            let span = self.span_from(start);
            self.sink.meaningless(span, "`rdomain` has no meaning in a NIC driver: routing is above it");
        }
        Ok(())
    }

    pub(super) fn family(&mut self) -> Option<Spanned<Family>> {
        let span = self.tok.span;
        if self.take("inet") {
            Some(Spanned::new(Family::V4, span))
        } else if self.take("inet6") {
            Some(Spanned::new(Family::V6, span))
        } else {
            None
        }
    }

    pub(super) fn protocols(&mut self) -> Res<Vec<Spanned<u8>>> {
        if !self.take("proto") {
            return Ok(Vec::new());
        }
        self.list("protocol", |p, out| {
            let span = p.tok.span;
            if matches!(p.tok.tok, Tok::Number(_)) {
                let number = p.number("a protocol", 0, 255)?.node as u8;
                if number == 0 {
                    p.sink.error(span, "proto 0 cannot be used");
                }
                out.push(Spanned::new(number, span));
                return Ok(());
            }
            let token = p.tok.clone();
            let name = p.string("a protocol")?;
            match protocols::number(&name.node) {
                Some(0) => {
                    p.at(&token, "proto 0 cannot be used".to_owned()).hint("leave out `proto` to match every protocol");
                }
                Some(number) => out.push(Spanned::new(number, span)),
                None => {
                    let hint = did_you_mean(&name.node, protocols::names());
                    p.at(&token, format!("unknown protocol `{}`", name.node)).maybe_hint(hint);
                    // Any number keeps the rest of the rule quiet; the rule is not used.
                    out.push(Spanned::new(protocols::TCP, span));
                }
            }
            Ok(())
        })
    }

    /// `all`, or `from`, `os` and `to`.
    pub(super) fn source_and_destination(&mut self, rule: &mut Rule) -> Res<()> {
        if self.take("all") {
            return Ok(());
        }
        if self.take("from") {
            rule.from = self.peer()?;
        }
        if self.take("os") {
            rule.os = self.list("operating system", |p, out| {
                out.push(p.string("the name of an operating system")?);
                Ok(())
            })?;
        }
        if self.take("to") {
            rule.to = self.peer()?;
        }
        Ok(())
    }

    fn is_route(&self) -> bool {
        ["route-to", "reply-to", "dup-to"].iter().any(|w| self.tok.is(w))
    }

    pub(super) fn route(&mut self) -> Res<Option<Route>> {
        let start = self.tok.span;
        if self.take("fastroute") {
            return Ok(None);
        }
        let kind = if self.take("route-to") {
            RouteKind::RouteTo
        } else if self.take("reply-to") {
            RouteKind::ReplyTo
        } else if self.take("dup-to") {
            RouteKind::DupTo
        } else {
            return Ok(None);
        };
        let hosts = self.list("route", |p, out| {
            out.push(p.route_host()?);
            Ok(())
        })?;
        let pool = self.pool()?;
        Ok(Some(Route { kind, hosts, pool, span: self.span_from(start) }))
    }

    fn route_host(&mut self) -> Res<RouteHost> {
        let start = self.tok.span;
        if self.take_punct('(') {
            let interface = self.interface()?.name;
            let host = match self.tok.is_punct(')') {
                true => None,
                false => Some(self.host()?),
            };
            self.want_punct(')', "after the route")?;
            return Ok(RouteHost { interface, host, span: self.span_from(start) });
        }
        // An address alone is OpenBSD's form, an interface alone everyone else's.
        let looks_like_address =
            self.tok.is_punct('<') || self.tok.string().is_some_and(|t| t.parse::<std::net::IpAddr>().is_ok());
        let (interface, host) = match looks_like_address {
            true => (String::new(), Some(self.host()?)),
            false => (self.interface()?.name, None),
        };
        Ok(RouteHost { interface, host, span: self.span_from(start) })
    }

    pub(super) fn whole(&self, start: Span) -> Span {
        self.span_from(start)
    }
}
