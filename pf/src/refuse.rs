//! What a file says that cannot be done: because it has no meaning in a NIC driver, or because nobody built it.
//!
//! Works on statements, so that each refusal points at the words it is about.

use crate::ast::{
    AnchorCall, EtherRule, FilterOptions, Host, HostKind, Peer, RedirectKind, RouteKind, Rule, SetOption, StateOption,
    Statement,
};
use crate::diag::Sink;
use crate::source::Span;

/// Notes a refusal for everything that `compile` cannot carry into the driver.
pub struct Refusal<'a> {
    sink: &'a mut Sink,
}

impl<'a> Refusal<'a> {
    /// Begins.
    pub fn new(sink: &'a mut Sink) -> Self {
        Self { sink }
    }

    /// Looks through a file.
    pub fn statements(&mut self, statements: &[Statement]) {
        for statement in statements {
            match statement {
                Statement::Macro { .. } | Statement::Table(_) | Statement::Antispoof(_) => {}
                Statement::Set(option, span) => self.option(option, *span),
                Statement::LoadAnchor { body, .. } => self.statements(body),
                Statement::Ether(rule) => self.ether(rule),
                Statement::Queue(queue) => {
                    let (place, word) = match &queue.name {
                        Some(name) => (name.span, "queue"),
                        None => (queue.span, "altq"),
                    };
                    self.sink
                        .meaningless(
                            place,
                            format!("`{word}` has no meaning in a NIC driver: there is no ALTQ below the stack"),
                        )
                        .hint("shape with `dnpipe` and `dnqueue` rules instead");
                }
                Statement::Limiter(limiter) => {
                    let word = if limiter.source { "source" } else { "state" };
                    self.sink
                        .unsupported(limiter.name.span, format!("`{word} limiter`"))
                        .hint("limit the rules: keep state (max N, max-src-states N, max-src-conn-rate N/S)");
                }
                Statement::Rule(rule) => self.rule(rule),
            }
        }
    }

    fn option(&mut self, option: &SetOption, span: Span) {
        match option {
            SetOption::Fingerprints(_) => {
                self.sink.warn(span, "`set fingerprints` has no effect: nothing looks at operating systems");
            }
            SetOption::Debug(_) | SetOption::LogInterface(_) => {
                self.sink
                    .warn(span, "this option has no effect: it sets up the kernel's pf")
                    .hint("it can stay in the file");
            }
            SetOption::SynCookies { .. } => {
                self.sink
                    .warn(span, "`set syncookies` has no effect")
                    .hint("write `synproxy state` in the rules of the servers that are to be kept from floods");
            }
            SetOption::FailPolicy(true) => {
                self.sink.warn(
                    span,
                    "`set fail-policy return` has no effect: a packet that no state is made for is dropped",
                );
            }
            SetOption::Limit(list) if list.iter().any(|(name, _)| name == "app-states") => {
                self.sink.warn(span, "`app-states` has no effect: no application protocol is followed");
            }
            _ => {}
        }
    }

    fn ether(&mut self, rule: &EtherRule) {
        if let Some(bridge) = &rule.bridge_to {
            self.sink
                .meaningless(bridge.span, "`bridge-to` has no meaning in a NIC driver: it has one interface")
                .hint("bridge in the system, above the adapter");
        }
        if let Some((from, to)) = &rule.l3 {
            self.hosts(from);
            self.hosts(to);
        }
        self.options(&rule.options);
        if let Some(AnchorCall { body: Some(body), .. }) = &rule.anchor {
            self.statements(body);
        }
    }

    fn rule(&mut self, rule: &Rule) {
        if let Some(body) = &rule.anchor.body {
            self.statements(body);
        }
        self.hosts(&rule.from);
        self.hosts(&rule.to);
        if let Some(os) = rule.os.first() {
            self.sink
                .unsupported(os.span, "matching operating systems (`os`)")
                .hint("a fingerprint is a guess; match the addresses instead");
        }
        if let Some(route) = rule.route.as_ref().filter(|route| route.kind != RouteKind::DupTo) {
            self.sink
                .meaningless(
                    route.span,
                    "`route-to` and `reply-to` have no meaning in a NIC driver: it has one interface",
                )
                .hint("choose the route in the system's routing table");
        }
        for redirect in rule.redirects.iter().filter(|r| matches!(r.kind, RedirectKind::AfTo(_))) {
            self.sink
                .meaningless(
                    redirect.span,
                    "`af-to` has no meaning in a NIC driver: the other family's packet has a route of its own, above it",
                )
                .hint("translate between families on a router");
        }
        self.options(&rule.options);
    }

    /// Pipes and queues are kept with the ruleset; nothing shapes by them.
    fn shaping(&mut self, span: Span) {
        self.sink.warn(span, "pipes and queues are kept with the rules, but this version does not shape by them");
    }

    fn hosts(&mut self, peer: &Peer) {
        for Host { kind, span, .. } in &peer.hosts {
            if matches!(kind, HostKind::NoRoute | HostKind::UrpfFailed | HostKind::RouteLabel(_)) {
                self.sink
                    .meaningless(*span, "a routing test has no meaning in a NIC driver: routes are above it")
                    .hint("use `antispoof`, or block the addresses that must not come in");
            }
        }
    }

    fn options(&mut self, o: &FilterOptions) {
        for (tests, word) in [(&o.user, "user"), (&o.group, "group")] {
            if let Some(test) = tests.first() {
                self.sink
                    .meaningless(
                        test.span,
                        format!("`{word}` has no meaning in a NIC driver: packets do not tell whose process sent them"),
                    )
                    .hint("use the system's application firewall for rules about programs and users");
            }
        }
        if let Some(interface) = &o.received_on {
            self.sink
                .meaningless(interface.span, "`received-on` has no meaning in a NIC driver: it sees one interface")
                .hint("write the rule with `in` and `on`");
        }
        for (span, word, instead) in [
            (o.queue.as_ref().map(|q| q.span), "queue", "shape with `dnpipe` or `dnqueue`"),
            (o.rtable.map(|r| r.span), "rtable", "choose the route in the system's routing table"),
            (o.divert.map(|d| d.span), "divert-to", "there is no socket to divert to"),
            (o.prio.map(|p| p.span), "prio", "it has no queues of its own to choose from; test `tos`"),
            (o.set_prio.map(|p| p.span), "set prio", "it has no queues of its own to choose from; write `set tos`"),
        ] {
            if let Some(span) = span {
                self.sink.meaningless(span, format!("`{word}` has no meaning in a NIC driver")).hint(instead);
            }
        }
        if let Some(size) = o.max_pkt_size {
            self.sink.unsupported(size.span, "`max-pkt-size`");
        }
        if let Some(limiter) = o.limiters.first() {
            let word = if limiter.node.source { "source" } else { "state" };
            self.sink
                .unsupported(limiter.span, format!("`{word} limiter`"))
                .hint("limit the rule itself: keep state (max N, max-src-states N, max-src-conn-rate N/S)");
        }
        if let Some(pipe) = o.pipe {
            self.shaping(pipe.span);
        }
        for option in &o.state_options {
            match option.node {
                StateOption::Pflow => {
                    self.sink.warn(option.span, "`pflow` has no effect: nothing exports flows by rule");
                }
                StateOption::NoSync => {
                    self.sink.warn(option.span, "`no-sync` has no effect: states are never synchronised");
                }
                _ => {}
            }
        }
    }
}
