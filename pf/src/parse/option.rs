//! What follows `from ... to ...`: filter and scrub options.

use super::scrub::SCRUB_OPTIONS;
use super::{Parser, Res};
use crate::ast::{FilterOptions, IcmpType, IdMatch, Pipe, PortOp};
use crate::lex::Tok;
use crate::names::{accounts, icmp, protocols, services, tos};
use crate::source::{Span, Spanned};
use crate::suggest::did_you_mean;

/// Longest label, tag and queue name, in bytes (PF_RULE_LABEL_SIZE - 1, PF_TAG_NAME_SIZE - 1).
pub const LONGEST_LABEL: usize = 63;
/// Most labels of a rule (PF_RULE_MAX_LABEL_COUNT).
const MOST_LABELS: usize = 5;

/// TCP flags in the order of their bits (pf.conf(5), `flags`).
pub const TCP_FLAGS: &str = "FSRPAUEW";

/// Words that may begin an option, for suggestions.
#[rustfmt::skip]
pub const OPTIONS: &[&str] = &[
    "user", "group", "flags", "icmp-type", "icmp6-type", "tos", "keep", "modulate", "synproxy", "no", "fragment",
    "allow-opts", "label", "queue", "tag", "tagged", "probability", "rtable", "prio", "set", "scrub", "nat-to",
    "rdr-to", "binat-to", "dnpipe", "dnqueue", "ridentifier", "once", "divert-to",
];

impl Parser<'_> {
    /// Reads one option; false if the token does not begin one.
    pub(super) fn filter_option(&mut self, o: &mut FilterOptions) -> Res<bool> {
        let start = self.tok.span;
        let word = match &self.tok.tok {
            Tok::Word(word) => word.clone(),
            Tok::Punct('!') => {
                self.bump();
                self.want("tagged", "after `!`")?;
                let name = self.tag_name()?;
                self.once(&o.tagged, start, "tagged");
                o.tagged = Some(Spanned::new((true, name), self.span_from(start)));
                return Ok(true);
            }
            _ => return Ok(false),
        };
        match &*word {
            "user" => {
                self.bump();
                let mut ids = self.ids(true)?;
                ids.append(&mut o.user);
                o.user = ids;
            }
            "group" => {
                self.bump();
                let mut ids = self.ids(false)?;
                ids.append(&mut o.group);
                o.group = ids;
            }
            "flags" => {
                self.bump();
                let flags = self.flags()?;
                self.once(&o.flags, start, "flags");
                o.flags = Some(Spanned::new(flags, self.span_from(start)));
            }
            "icmp-type" | "icmp6-type" => {
                let v6 = &*word == "icmp6-type";
                self.bump();
                let types = self.list("ICMP type", |p, out| p.icmp_item(v6, out))?;
                if !o.icmp.is_empty() {
                    self.sink.error(start, "icmp-type cannot be redefined");
                }
                o.icmp = types;
            }
            "tos" => {
                self.bump();
                let value = self.tos()?;
                self.once(&o.tos, start, "tos");
                o.tos = Some(Spanned::new(value, self.span_from(start)));
            }
            "no" | "keep" | "modulate" | "synproxy" => self.state(&word, o)?,
            "fragment" => {
                self.bump();
                o.fragment = Some(start);
            }
            "allow-opts" => {
                self.bump();
                o.allow_opts = Some(start);
            }
            "label" => {
                self.bump();
                let label = self.string("a label")?;
                self.check_name(&label.node, label.span, false);
                if label.node.len() > LONGEST_LABEL {
                    self.sink.error(label.span, format!("label too long, at most {LONGEST_LABEL} bytes"));
                }
                if o.labels.len() >= MOST_LABELS {
                    self.sink.error(start, format!("a rule can have {MOST_LABELS} labels at most"));
                }
                o.labels.push(label);
            }
            // pfSense called it so before FreeBSD had it.
            "ridentifier" | "tracker" => {
                self.bump();
                o.ridentifier = Some(self.number_u32("a rule identifier")?);
            }
            "queue" => {
                self.bump();
                let names = self.queue_names()?;
                self.once(&o.queue, start, "queue");
                o.queue = Some(Spanned::new(names, self.span_from(start)));
            }
            "dnpipe" | "dnqueue" | "pipe" => {
                self.bump();
                let pipe = self.pipe(&*word == "dnqueue")?;
                o.pipe = Some(Spanned::new(pipe, self.span_from(start)));
            }
            "tag" => {
                self.bump();
                let name = self.tag_name()?;
                o.tag = Some(Spanned::new(name, self.span_from(start)));
            }
            "tagged" => {
                self.bump();
                let name = self.tag_name()?;
                o.tagged = Some(Spanned::new((false, name), self.span_from(start)));
            }
            "probability" => {
                self.bump();
                let value = self.probability()?;
                o.probability = Some(Spanned::new(value, self.span_from(start)));
                // pfctl prints the state options after the probability; what it prints must be read.
                let stateful = o.state.is_some_and(|s| s.node != crate::ast::StateKind::No);
                if stateful && o.state_options.is_empty() && self.take_punct('(') {
                    o.state_options = self.state_options()?;
                    self.want_punct(')', "after the state options")?;
                }
            }
            "rtable" => {
                self.bump();
                let id = self.number("a routing table", 0, 255)?.node as u32;
                o.rtable = Some(Spanned::new(id, self.span_from(start)));
            }
            "prio" => {
                self.bump();
                let prio = self.number("a priority", 0, 7)?.node as u8;
                self.once(&o.prio, start, "prio");
                o.prio = Some(Spanned::new(prio, self.span_from(start)));
            }
            "set" => {
                self.bump();
                self.filter_sets(o)?;
            }
            "scrub" => {
                self.bump();
                self.want_punct('(', "after `scrub`")?;
                o.scrub.span = Some(start);
                loop {
                    if !self.scrub_option(&mut o.scrub)? {
                        return Err(self.expected("a scrub option", SCRUB_OPTIONS));
                    }
                    self.take_punct(',');
                    if self.take_punct(')') {
                        break;
                    }
                }
            }
            "divert-to" => {
                self.bump();
                // An address may come first; it has no meaning for FreeBSD and none here.
                if !matches!(self.tok.tok, Tok::Number(_)) {
                    self.string("a divert port, or an address")?;
                    self.want("port", "after the address of `divert-to`")?;
                }
                let port = self.divert_port()?;
                o.divert = Some(Spanned::new(port, self.span_from(start)));
            }
            "divert-reply" | "divert-packet" => {
                self.bump();
                if self.take("port") {
                    self.divert_port()?;
                }
                let span = self.span_from(start);
                self.sink.meaningless(
                    span,
                    format!("`{word}` has no meaning in a NIC driver: there is no socket to divert to"),
                );
            }
            "state" | "source" => {
                self.bump();
                let limiter = self.limiter_use(&*word == "source")?;
                o.limiters.push(Spanned::new(limiter, self.span_from(start)));
            }
            "once" => {
                self.bump();
                o.once = Some(start);
            }
            "received-on" => {
                self.bump();
                let negate = self.take_punct('!');
                let mut interface = self.interface()?;
                interface.negate = negate;
                o.received_on = Some(interface);
            }
            "max-pkt-rate" => {
                self.bump();
                let packets = self.number_u32("a number of packets")?;
                self.want_punct('/', "after the number of packets")?;
                let seconds = self.number_u32("a number of seconds")?;
                o.max_pkt_rate = Some(Spanned::new((packets, seconds), self.span_from(start)));
            }
            "max-pkt-size" => {
                self.bump();
                let size = self.number("a number of bytes", 1, 65535)?.node as u16;
                self.once(&o.max_pkt_size, start, "max-pkt-size");
                o.max_pkt_size = Some(Spanned::new(size, self.span_from(start)));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn once<T>(&mut self, slot: &Option<Spanned<T>>, span: Span, name: &str) {
        if slot.is_some() {
            self.sink.error(span, format!("{name} cannot be redefined")).hint("give it once in a rule");
        }
    }

    /// A port by number or by the name of its service.
    fn divert_port(&mut self) -> Res<u16> {
        if matches!(self.tok.tok, Tok::Number(_)) {
            return Ok(self.number("a divert port", 1, 65535)?.node as u16);
        }
        let name = self.string("a divert port")?;
        let found = services::port(&name.node)
            .or_else(|| self.resolver.service(&name.node))
            .or_else(|| self.resolver.stand_in_service(&name.node));
        if found.is_none() {
            self.sink.error(name.span, format!("unknown port or service `{}`", name.node));
        }
        Ok(found.unwrap_or(1))
    }

    fn tag_name(&mut self) -> Res<String> {
        let tag = self.strings("the name of a tag")?;
        self.check_name(&tag.node, tag.span, false);
        if tag.node.len() > LONGEST_LABEL {
            self.sink.error(tag.span, format!("tag too long, at most {LONGEST_LABEL} bytes"));
        }
        Ok(tag.node)
    }

    fn queue_names(&mut self) -> Res<(String, Option<String>)> {
        if !self.take_punct('(') {
            return Ok((self.queue_name()?.node, None));
        }
        let first = self.queue_name()?.node;
        self.take_punct(',');
        let second = match self.tok.is_punct(')') {
            true => None,
            false => Some(self.queue_name()?.node),
        };
        self.want_punct(')', "after the queues")?;
        Ok((first, second))
    }

    fn pipe(&mut self, queue: bool) -> Res<Pipe> {
        let what = "the number of a pipe or queue";
        let mut pipe = Pipe { queue, number: 0, reverse: 0 };
        if !self.take_punct('(') {
            pipe.number = self.number(what, 1, 65535)?.node as u16;
            return Ok(pipe);
        }
        pipe.number = self.number(what, 0, 65535)?.node as u16;
        self.take_punct(',');
        if !self.tok.is_punct(')') {
            pipe.reverse = self.number(what, 0, 65535)?.node as u16;
        }
        self.want_punct(')', "after the pipes")?;
        Ok(pipe)
    }

    fn ids(&mut self, user: bool) -> Res<Vec<Spanned<IdMatch>>> {
        let what = if user { "user" } else { "group" };
        self.list(what, |p, out| {
            let start = p.tok.span;
            let op = p.unary_operator()?;
            let a = p.id(user)?;
            let binary = match p.tok.tok {
                Tok::Inside => Some(PortOp::Inside),
                Tok::Outside => Some(PortOp::Outside),
                _ => None,
            };
            let mut test = IdMatch { op: op.unwrap_or(PortOp::Eq), a, b: a };
            if let (Some(binary), None) = (binary, op) {
                p.bump();
                test.op = binary;
                test.b = p.id(user)?;
            }
            let span = p.span_from(start);
            let unknown = test.a == u32::MAX || test.b == u32::MAX;
            if unknown && !matches!(test.op, PortOp::Eq | PortOp::Ne) {
                p.sink.error(span, format!("{what} unknown requires operator = or !="));
            }
            out.push(Spanned::new(test, span));
            Ok(())
        })
    }

    fn id(&mut self, user: bool) -> Res<u32> {
        let what = if user { "user" } else { "group" };
        if matches!(self.tok.tok, Tok::Number(_)) {
            return Ok(self.number(&format!("the number of a {what}"), 0, i64::from(u32::MAX) - 1)?.node as u32);
        }
        let name = self.string(&format!("the name or number of a {what}"))?;
        if name.node == "unknown" {
            return Ok(u32::MAX);
        }
        let found = match user {
            true => accounts::user(&name.node).or_else(|| self.resolver.user(&name.node)),
            false => accounts::group(&name.node).or_else(|| self.resolver.group(&name.node)),
        };
        if found.is_none() {
            // Where the rule itself means nothing, neither does the name.
            self.sink.meaningless(name.span, format!("unknown {what} `{}`", name.node));
        }
        Ok(found.unwrap_or(0))
    }

    /// `set/mask`, `/mask` or `any`; `(0, 0)` is `any`.
    fn flags(&mut self) -> Res<(u8, u8)> {
        if self.take("any") {
            return Ok((0, 0));
        }
        let start = self.tok.span;
        let set = match self.tok.is_punct('/') {
            true => 0,
            false => self.flag_letters()?,
        };
        if !self.tok.is_punct('/') {
            let fail = self.expected("`/` and the flags to look at", &[]);
            self.hint_last("write flags SET/MASK, for instance `flags S/SA`: SYN set, of SYN and ACK");
            return Err(fail);
        }
        self.bump();
        let mask = self.flag_letters()?;
        if set & mask != set {
            let span = self.span_from(start);
            self.sink
                .error(span, "flags always false: a flag that must be set is not looked at")
                .hint("every letter before `/` must stand after it too");
        }
        Ok((set, mask))
    }

    fn flag_letters(&mut self) -> Res<u8> {
        let token = self.tok.clone();
        let text = self.string("TCP flags")?;
        let mut bits = 0u8;
        for letter in text.node.chars() {
            match TCP_FLAGS.find(letter) {
                Some(at) => bits |= 1 << at,
                None => {
                    let upper = letter.to_ascii_uppercase();
                    let hint = match TCP_FLAGS.contains(upper) && upper != letter {
                        true => format!("write `{upper}`"),
                        false => "the letters are F(IN), S(YN), R(ST), P(USH), A(CK), U(RG), E(CE), (C)W(R)".to_owned(),
                    };
                    self.at(&token, format!("`{letter}` is not a TCP flag")).hint(hint);
                    break;
                }
            }
        }
        Ok(if bits == 0 { 0xff } else { bits })
    }

    fn icmp_item(&mut self, v6: bool, out: &mut Vec<Spanned<IcmpType>>) -> Res<()> {
        let start = self.tok.span;
        let (keyword, protocol) = match v6 {
            true => ("icmp6", protocols::ICMP6),
            false => ("icmp", protocols::ICMP),
        };
        let kind = match self.tok.tok {
            Tok::Number(_) => Some(self.number(&format!("an {keyword} type"), 0, 255)?.node as u8),
            _ => {
                let token = self.tok.clone();
                let name = self.string(&format!("an {keyword} type"))?;
                let found = icmp::type_number(&name.node, v6);
                if found.is_none() {
                    let hint = match icmp::type_number(&name.node, !v6) {
                        Some(_) => {
                            Some(format!("{} has a type of that name", if v6 { "icmp-type" } else { "icmp6-type" }))
                        }
                        None => did_you_mean(&name.node, icmp::type_names(v6)),
                    };
                    self.at(&token, format!("unknown {keyword}-type `{}`", name.node)).maybe_hint(hint);
                }
                found
            }
        };
        let mut code = None;
        if self.take("code") {
            code = match self.tok.tok {
                Tok::Number(_) => Some(self.number(&format!("an {keyword} code"), 0, 255)?.node as u8),
                _ => {
                    let token = self.tok.clone();
                    let name = self.string(&format!("an {keyword} code"))?;
                    let found = kind.and_then(|k| icmp::code_number(k, &name.node, v6));
                    if let (Some(kind), None) = (kind, found) {
                        let hint = did_you_mean(&name.node, icmp::code_names(kind, v6));
                        self.at(&token, format!("unknown {keyword}-code `{}`", name.node)).maybe_hint(hint);
                    }
                    found
                }
            };
        }
        let span = self.span_from(start);
        out.push(Spanned::new(IcmpType { protocol, kind: kind.unwrap_or(0), code }, span));
        Ok(())
    }

    /// A type of service by name, number or `0x` number.
    pub(super) fn tos(&mut self) -> Res<u8> {
        if matches!(self.tok.tok, Tok::Number(_)) {
            return Ok(self.number("a type of service", 0, 255)?.node as u8);
        }
        let token = self.tok.clone();
        let name = self.string("a type of service")?;
        let hex = name.node.strip_prefix("0x").and_then(|h| u8::from_str_radix(h, 16).ok());
        match tos::tos(&name.node).or(hex) {
            Some(value) => Ok(value),
            None => {
                let hint = did_you_mean(&name.node, tos::TOS.iter().map(|t| t.0));
                self.at(&token, format!("illegal tos value `{}`", name.node)).maybe_hint(hint);
                Ok(0)
            }
        }
    }

    /// `50%`, `0.5` or a number; the result is of 2^32, never 0.
    fn probability(&mut self) -> Res<u32> {
        let token = self.tok.clone();
        let value = match &self.tok.tok {
            Tok::Number(value) => Some(*value as f64),
            _ => match self.tok.string() {
                Some(text) => match text.strip_suffix('%') {
                    Some(percent) => percent.parse::<f64>().ok().map(|p| p * 0.01),
                    None => text.parse::<f64>().ok(),
                },
                None => return Err(self.expected("a probability", &[])),
            },
        };
        self.bump();
        let scaled = value.map(|v| (v * f64::from(u32::MAX) + 0.5).floor());
        match scaled {
            Some(p) if p >= 0.0 && p <= f64::from(u32::MAX) => Ok((p as u32).max(1)),
            _ => {
                self.at(&token, "invalid probability: it must be 0% to 100%".to_owned())
                    .hint("write it with a percent sign, for instance `probability 20%`");
                Ok(1)
            }
        }
    }

    /// `set prio n`, `set tos n`, `set queue q`, or several in parentheses; `set` was read.
    fn filter_sets(&mut self, o: &mut FilterOptions) -> Res<()> {
        let several = self.take_punct('(');
        loop {
            let start = self.tok.span;
            if self.take("prio") {
                let both = if self.take_punct('(') {
                    let a = self.number("a priority", 0, 7)?.node as u8;
                    self.take_punct(',');
                    let b = self.number("a priority", 0, 7)?.node as u8;
                    self.want_punct(')', "after the priorities")?;
                    (a, b)
                } else {
                    let a = self.number("a priority", 0, 7)?.node as u8;
                    (a, a)
                };
                self.once(&o.set_prio, start, "prio");
                o.set_prio = Some(Spanned::new(both, self.span_from(start)));
            } else if self.take("tos") {
                let value = self.tos()?;
                o.scrub.span = o.scrub.span.or(Some(start));
                o.scrub.set_tos = Some(value);
            } else if self.take("queue") {
                let names = self.queue_names()?;
                self.once(&o.queue, start, "queue");
                o.queue = Some(Spanned::new(names, self.span_from(start)));
            } else {
                return Err(self.expected("`prio`, `tos` or `queue` after `set`", &["prio", "tos", "queue"]));
            }
            if !several {
                return Ok(());
            }
            self.take_punct(',');
            if self.take_punct(')') {
                return Ok(());
            }
        }
    }
}
