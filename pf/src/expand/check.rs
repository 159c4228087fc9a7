//! Contradictions in a rule: pfctl's `filter_consistent` and `rdr_consistent`.

use super::Expander;
use super::rule::{has_ports, redirectable};
use crate::ast::{Action, AnchorKind, Family, HostKind, Return, Rule, StateKind, Translation};
use crate::flat::{Addr, FlatAction, FlatHost, FlatRule, StateMode};
use crate::names::protocols::{ICMP, ICMP6, TCP};
use crate::source::Span;

impl Expander<'_> {
    /// What is wrong with a statement before it is expanded.
    pub(super) fn check_statement(&mut self, rule: &Rule) {
        for host in &rule.to.hosts {
            if host.kind == HostKind::UrpfFailed {
                self.sink.error(host.span, "\"urpf-failed\" is not permitted in a destination address");
            }
        }
        let o = &rule.options;
        match rule.action.node {
            Action::Anchor(AnchorKind::Filter) => {
                if let Some(state) = o.state.filter(|s| s.node != StateKind::No) {
                    self.sink.error(state.span, "cannot specify state handling on anchors");
                }
            }
            Action::Anchor(AnchorKind::Rdr) => self.check_rdr_anchor(rule),
            Action::Anchor(AnchorKind::Binat) => {
                let used = [&rule.from, &rule.to].iter().any(|p| !p.hosts.is_empty() || !p.ports.is_empty());
                if used {
                    self.sink.error(rule.span, "fromto parameter not supported in binat-anchor");
                }
                if let Some(second) = rule.protocols.get(1) {
                    self.sink.error(second.span, "proto list expansion not supported in binat-anchor");
                }
            }
            Action::Match | Action::Block(_) => {
                if let Some(state) = o.state.filter(|s| s.node != StateKind::No) {
                    self.sink
                        .error(state.span, "keep state is great, but only for pass rules")
                        .hint("leave it out: a block or match rule makes no state");
                }
            }
            Action::Scrub(_) if o.scrub.reassemble_tcp && super::rule::directed(rule) => {
                self.sink.error(rule.span, "reassemble tcp rules can not specify direction");
            }
            _ => {}
        }
        if rule.action.node == Action::Match {
            if let Some(route) = &rule.route {
                self.sink.error(route.span, "route-to, reply-to, dup-to and fastroute must not be used on match rules");
            }
            if let Some(divert) = o.divert {
                self.sink.error(divert.span, "divert is not supported on match rules");
            }
        }
    }

    fn check_rdr_anchor(&mut self, rule: &Rule) {
        if let Some(port) = rule.from.ports.first() {
            self.sink.error(port.span, "source port parameter not supported in rdr-anchor");
        }
        if let Some(port) = rule.to.ports.get(1) {
            self.sink.error(port.span, "destination port list expansion not supported in rdr-anchor");
        } else if let Some(port) = rule.to.ports.first()
            && port.node.op != crate::ast::PortOp::Eq
        {
            self.sink.error(port.span, "destination port operators not supported in rdr-anchor");
        }
    }

    /// What is wrong with one of a statement's rules.
    pub(super) fn check(&mut self, one: &FlatRule, rule: &Rule) {
        self.check_netmask(&one.src, one.family, &rule.from.hosts, rule.span);
        self.check_netmask(&one.dst, one.family, &rule.to.hosts, rule.span);
        let o = &rule.options;
        if let Some(icmp) = one.icmp {
            let span = o.icmp.iter().find(|i| i.node == icmp).map_or(rule.span, |i| i.span);
            if one.protocol != icmp.protocol {
                let name = if icmp.protocol == ICMP { "icmp" } else { "icmp6" };
                self.sink
                    .error(span, "icmp-type mismatch: the rule is not for that protocol")
                    .hint(format!("write `proto {name}` in the rule"));
                return;
            }
            if one.family == Family::Any {
                let name = if icmp.protocol == ICMP { "inet" } else { "inet6" };
                self.sink
                    .error(span, "must indicate address family with icmp-type/code")
                    .hint(format!("write `{name}` before `proto`"));
            }
        }
        match one.action {
            FlatAction::Translate(Translation::Rdr, ..) => self.check_rdr(one, rule),
            FlatAction::Translate(..) | FlatAction::Anchor(AnchorKind::Nat | AnchorKind::Rdr | AnchorKind::Binat) => {}
            _ => self.check_filter(one, rule),
        }
    }

    fn check_netmask(&mut self, host: &FlatHost, family: Family, hosts: &[crate::ast::Host], span: Span) {
        if let Addr::Prefix { addr, len } = host.addr
            && family == Family::V4
            && addr.is_ipv4()
            && len > 32
        {
            let span = hosts.first().map_or(span, |h| h.span);
            self.sink.error(span, format!("netmask {len} invalid for IPv4 address"));
        }
    }

    fn check_filter(&mut self, one: &FlatRule, rule: &Rule) {
        let o = &rule.options;
        let port = rule.from.ports.first().or(rule.to.ports.first());
        if let Some(port) = port
            && !has_ports(one.protocol)
        {
            self.sink
                .error(port.span, "port only applies to tcp/udp")
                .hint("write `proto tcp`, `proto udp` or `proto { tcp, udp }` before the addresses");
        }
        let mismatch =
            (one.protocol == ICMP && one.family == Family::V6) || (one.protocol == ICMP6 && one.family == Family::V4);
        if mismatch {
            let (name, family) = match one.protocol {
                ICMP => ("icmp", "inet6"),
                _ => ("icmp6", "inet"),
            };
            let span = rule.protocols.iter().find(|p| p.node == one.protocol).map_or(rule.span, |p| p.span);
            self.sink.error(span, format!("proto {name} doesn't match address family {family}"));
        }
        if let Some((table, ..)) = &one.state.overload
            && one.state.max_src_conn == 0
            && one.state.max_src_conn_rate.1 == 0
        {
            let span = o.state.map_or(rule.span, |s| s.span);
            self.sink
                .error(span, "'overload' requires 'max-src-conn' or 'max-src-conn-rate'")
                .hint(format!("without a limit, nothing is ever added to <{table}>"));
        }
        if let Some(span) = o.allow_opts
            && one.action != FlatAction::Pass
        {
            self.sink.error(span, "allow-opts can only be specified for pass rules");
        }
        if let Some(span) = o.fragment
            && (port.is_some() || one.flags.1 != 0 || one.icmp.is_some())
        {
            self.sink.error(span, "fragments can be filtered only on IP header fields");
        }
        if let FlatAction::Block(Return::Rst(_)) = one.action
            && one.protocol != TCP
        {
            self.sink
                .error(rule.action.span, "return-rst can only be applied to TCP rules")
                .hint("write `proto tcp`, or use `block return`, which answers each protocol its own way");
        }
        if one.state.max_src_nodes > 0 && !one.state.source_track_rule {
            self.sink.error(rule.span, "max-src-nodes requires 'source-track rule'");
        }
        if one.state.sloppy && matches!(one.state.kind, StateMode::Modulate | StateMode::Synproxy) {
            let span = o.state.map_or(rule.span, |s| s.span);
            self.sink.error(span, "sloppy state matching cannot be used with synproxy state or modulate state");
        }
    }

    fn check_rdr(&mut self, one: &FlatRule, rule: &Rule) {
        if !has_ports(one.protocol) {
            let hint = "write `proto tcp`, `proto udp` or `proto { tcp, udp }` in the rule";
            if let Some(port) = rule.from.ports.first() {
                self.sink.error(port.span, "src port only applies to tcp/udp").hint(hint);
            }
            if let Some(port) = rule.to.ports.first() {
                self.sink.error(port.span, "dst port only applies to tcp/udp").hint(hint);
            }
            if let Some(pool) = &one.redirects.arrow
                && pool.ports.0 != 0
            {
                let span = rule.redirects.first().map_or(rule.span, |r| r.span);
                self.sink.error(span, "rpool port only applies to tcp/udp").hint(hint);
            }
        }
        if let Some(port) = rule.to.ports.iter().find(|p| !redirectable(p.node.op)) {
            self.sink
                .error(port.span, "invalid port operator for rdr destination port")
                .hint("a rdr rule takes one port or a range a:b");
        }
    }
}
