//! What a file says that cannot be done: because it has no meaning in a NIC driver, or not by this version.
//!
//! Works on statements, so that each refusal points at the words it is about.

use crate::ast::{Action, AnchorKind, Host, HostKind, Peer, Return, Rule, SetOption, StateKind, Statement};
use crate::diag::Sink;
use crate::source::Span;

/// Notes a refusal for everything that `compile` cannot carry into the driver.
pub struct Refusal<'a> {
    sink: &'a mut Sink,
    block_return: bool,
}

impl<'a> Refusal<'a> {
    /// Begins with pf's defaults.
    pub fn new(sink: &'a mut Sink) -> Self {
        Self { sink, block_return: false }
    }

    /// Looks through a file.
    pub fn statements(&mut self, statements: &[Statement]) {
        for statement in statements {
            match statement {
                Statement::Macro { .. } | Statement::Table(_) => {}
                Statement::Set(option, span) => self.option(option, *span),
                Statement::Antispoof(antispoof) => {
                    for interface in antispoof.interfaces.iter().filter(|i| i.dynamic) {
                        self.sink
                            .unsupported(interface.span, "an interface in parentheses")
                            .hint("write the name without them: its addresses are looked up when the file is loaded");
                    }
                }
                Statement::LoadAnchor { body, .. } => {
                    let outer = std::mem::take(&mut self.block_return);
                    self.statements(body);
                    self.block_return = outer;
                }
                Statement::Ether(rule) => {
                    self.sink.unsupported(rule.span, "a layer 2 (`ether`) rule");
                }
                Statement::Rule(rule) => self.rule(rule),
            }
        }
    }

    fn option(&mut self, option: &SetOption, span: Span) {
        let without_states = match option {
            SetOption::BlockPolicy(returns) => {
                self.block_return = *returns;
                return;
            }
            SetOption::Timeout(_) => "`set timeout`",
            SetOption::Limit(_) => "`set limit`",
            SetOption::Optimization(_) => "`set optimization`",
            SetOption::StatePolicy(_) => "`set state-policy`",
            SetOption::StateDefaults(_) => "`set state-defaults`",
            SetOption::SynCookies { .. } => "`set syncookies`",
            SetOption::FailPolicy(_) => "`set fail-policy`",
            SetOption::Reassemble { on: true, .. } => {
                self.sink.warn(span, "`set reassemble` has no effect: this version does not reassemble fragments");
                return;
            }
            SetOption::Fingerprints(_) => {
                self.sink
                    .warn(span, "`set fingerprints` has no effect: this version does not look at operating systems");
                return;
            }
            SetOption::Debug(_) | SetOption::HostId(_) | SetOption::LogInterface(_) => {
                self.sink
                    .warn(span, "this option has no effect: it sets up the kernel's pf")
                    .hint("it can stay in the file");
                return;
            }
            _ => return,
        };
        self.sink.warn(span, format!("{without_states} has no effect: this version keeps no states"));
    }

    fn rule(&mut self, rule: &Rule) {
        let at = rule.action.span;
        let what = match &rule.action.node {
            Action::Pass | Action::Match | Action::Block(Some(Return::Drop)) => None,
            Action::Block(None) if !self.block_return => None,
            Action::Block(_) => {
                self.sink.unsupported(at, "answering blocked packets (`return`)").hint("write `block drop`");
                None
            }
            Action::Scrub(_) => Some("`scrub`"),
            Action::Translate { .. } => Some("address translation"),
            Action::Dummynet(_) => Some("`dummynet`"),
            Action::Anchor(AnchorKind::Filter) if rule.quick => Some("an anchor that is `quick`"),
            Action::Anchor(AnchorKind::Filter) => {
                self.statements(rule.anchor.body.as_deref().unwrap_or_default());
                None
            }
            // The rules such an anchor could call are refused themselves.
            Action::Anchor(_) => return,
        };
        if let Some(what) = what {
            self.sink.unsupported(at, what);
            return;
        }
        self.hosts(&rule.from);
        self.hosts(&rule.to);
        if let Some(os) = rule.os.first() {
            self.sink.unsupported(os.span, "matching operating systems (`os`)");
        }
        if let Some(route) = &rule.route {
            match route.kind {
                crate::ast::RouteKind::DupTo => self.sink.unsupported(route.span, "`dup-to`"),
                _ => self
                    .sink
                    .meaningless(
                        route.span,
                        "`route-to` and `reply-to` have no meaning in a NIC driver: it has one interface",
                    )
                    .hint("choose the route in the system's routing table"),
            };
        }
        for redirect in &rule.redirects {
            self.sink.unsupported(redirect.span, "address translation");
        }
        self.options(rule);
    }

    fn hosts(&mut self, peer: &Peer) {
        for Host { kind, span, .. } in &peer.hosts {
            match kind {
                HostKind::NoRoute | HostKind::UrpfFailed | HostKind::RouteLabel(_) => {
                    self.sink
                        .meaningless(*span, "a routing test has no meaning in a NIC driver: routes are above it")
                        .hint("use `antispoof`, or block the addresses that must not come in");
                }
                HostKind::Dynamic { interface, .. } => {
                    self.sink
                        .unsupported(*span, "an interface in parentheses")
                        .hint(format!("write {interface}: its addresses are looked up when the file is loaded"));
                }
                _ => {}
            }
        }
    }

    fn options(&mut self, rule: &Rule) {
        let o = &rule.options;
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
        if let Some(state) = o.state.filter(|s| s.node != StateKind::No) {
            self.sink
                .unsupported(state.span, "keeping states")
                .hint("leave it out or write `no state`, and pass the answers with a rule for the other direction");
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
        ] {
            if let Some(span) = span {
                self.sink.meaningless(span, format!("`{word}` has no meaning in a NIC driver")).hint(instead);
            }
        }
        for (span, word) in [
            (o.tos.map(|t| t.span), "`tos`"),
            (o.pipe.map(|p| p.span), "`dnpipe` and `dnqueue`"),
            (o.tag.as_ref().map(|t| t.span), "`tag`"),
            (o.tagged.as_ref().map(|t| t.span), "`tagged`"),
            (o.probability.map(|p| p.span), "`probability`"),
            (o.prio.map(|p| p.span), "`prio`"),
            (o.set_prio.map(|p| p.span), "`set prio`"),
            (o.once, "`once`"),
            (o.max_pkt_rate.map(|m| m.span), "`max-pkt-rate`"),
            (o.max_pkt_size.map(|m| m.span), "`max-pkt-size`"),
            (o.scrub.span, "`scrub (...)` and `set tos`"),
            (o.labels.get(1).map(|l| l.span), "more than one label"),
        ] {
            if let Some(span) = span {
                self.sink.unsupported(span, word);
            }
        }
    }
}
