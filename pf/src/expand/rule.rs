//! One rule to many: the product of its lists, in pfctl's order.

use super::{Expander, label};
use crate::ast::{Action, AnchorKind, Direction, Family, FragmentPolicy, Host, Interface, PortOp, Return, Rule};
use crate::flat::{Addr, FlatAction, FlatAnchor, FlatHost, FlatRedirects, FlatRule, FlatScrub, FlatSet, StateMode};
use crate::names::protocols::{SCTP, TCP, UDP};
use crate::parse::{CARRIED_OVER, RETURN_ICMP};
use crate::source::Span;

/// The bits of `flags S/SA`.
const SYN: u8 = 0x02;
/// See [`SYN`].
const SYN_ACK: u8 = 0x12;

use crate::parse::LONGEST_LABEL;

/// Most rules of a file.
const MOST_OF_FILE: usize = 500_000;
/// Most rules of one statement.
const MOST_RULES: usize = 100_000;

/// A list's members, or one nothing.
fn each<T: Clone>(list: &[T]) -> Vec<Option<T>> {
    if list.is_empty() {
        return vec![None];
    }
    list.iter().cloned().map(Some).collect()
}

impl Expander<'_> {
    /// Addresses of one side. pfctl forgets an `any` that stands in a list with others.
    pub(super) fn side(&mut self, hosts: &[Host]) -> Vec<FlatHost> {
        let mut out = Vec::new();
        let several = hosts.len() > 1;
        for host in hosts {
            let found = self.lookup.host(host, self.sink);
            for one in found {
                if several && one.addr == Addr::Any && !one.negate {
                    self.sink
                        .warn(host.span, "pf ignores `any` in a list with other addresses")
                        .hint("write `any` alone, without a list");
                    continue;
                }
                out.push(one);
            }
        }
        self.negated_list(hosts, several);
        out
    }

    /// `{ !a, !b }` expands to two rules, which together match everything.
    fn negated_list(&mut self, hosts: &[Host], several: bool) {
        let negated: Vec<&Host> = hosts.iter().filter(|h| h.negate).collect();
        if several && negated.len() > 1 {
            self.sink
                .warn(
                    negated[1].span,
                    "each member of a list makes a rule of its own: two negated ones match everything",
                )
                .hint("put the addresses into a table and write `! <table>`");
        }
    }

    fn template(&mut self, rule: &Rule, body: Option<Box<FlatSet>>) -> FlatRule {
        let o = &rule.options;
        let action = match &rule.action.node {
            Action::Pass => FlatAction::Pass,
            Action::Match => FlatAction::Match,
            Action::Block(given) => FlatAction::Block(match given {
                Some(answer) => *answer,
                None if self.block_return => Return::Any,
                None => Return::Drop,
            }),
            Action::Scrub(no) => FlatAction::Scrub(*no),
            Action::Translate { kind, no, pass } => FlatAction::Translate(*kind, *no, *pass),
            Action::Dummynet(no) => FlatAction::Dummynet(*no),
            Action::Anchor(kind) => FlatAction::Anchor(*kind),
        };
        let anchor = matches!(action, FlatAction::Anchor(_))
            .then(|| FlatAnchor { name: rule.anchor.name.as_ref().map_or(String::new(), |n| n.node.clone()), body });
        let state = self.state(rule);
        let limiters = self.limiters(&o.limiters);
        let mut flags = o.flags.map_or((0, 0), |f| f.node);
        if rule.action.node == Action::Pass && o.flags.is_none() && o.fragment.is_none() && state.kind != StateMode::No
        {
            flags = (SYN, SYN_ACK);
        }
        FlatRule {
            span: rule.span,
            number: 0,
            flags_given: o.flags.is_some(),
            action,
            anchor,
            direction: rule.direction,
            log: rule.log,
            quick: rule.quick,
            interface: (false, String::new()),
            received_on: o.received_on.as_ref().map(|i| (i.negate, i.name.clone())),
            route: None,
            family: rule.family.map_or(Family::Any, |f| f.node),
            protocol: 0,
            src: FlatHost::default(),
            src_port: None,
            os: None,
            dst: FlatHost::default(),
            dst_port: None,
            user: None,
            group: None,
            flags,
            icmp: None,
            tos: o.tos.map_or(0, |t| t.node),
            prio: o.prio.map(|p| p.node),
            set_prio: o.set_prio.map(|p| p.node),
            state,
            limiters,
            probability: o.probability.map_or(0, |p| p.node),
            fragment: o.fragment.is_some(),
            allow_opts: o.allow_opts.is_some(),
            scrub: FlatScrub {
                no_df: o.scrub.no_df,
                random_id: o.scrub.random_id,
                min_ttl: o.scrub.min_ttl.unwrap_or(0),
                max_mss: o.scrub.max_mss.unwrap_or(0),
                set_tos: o.scrub.set_tos,
                reassemble_tcp: o.scrub.reassemble_tcp,
                fragment: match action {
                    FlatAction::Scrub(false) | FlatAction::Anchor(AnchorKind::Scrub) => {
                        o.scrub.fragment.or(Some(FragmentPolicy::Reassemble))
                    }
                    _ => o.scrub.fragment,
                },
            },
            labels: o.labels.iter().map(|l| l.node.clone()).collect(),
            ridentifier: o.ridentifier.unwrap_or(0),
            pipe: o.pipe.map(|p| p.node),
            queue: o.queue.as_ref().map(|q| q.node.clone()),
            tag: o.tag.as_ref().map(|t| t.node.clone()),
            tagged: o.tagged.as_ref().map(|t| t.node.clone()),
            rtable: o.rtable.map(|r| r.node),
            divert: o.divert.map(|d| d.node),
            once: o.once.is_some(),
            max_pkt_rate: o.max_pkt_rate.map(|r| r.node),
            max_pkt_size: o.max_pkt_size.map(|s| s.node),
            redirects: FlatRedirects::default(),
        }
    }

    /// Expands one rule. Rules with an error are not added; every error is noted once.
    pub(super) fn rule(&mut self, rule: &Rule, body: Option<Box<FlatSet>>, out: &mut Vec<FlatRule>) {
        let before = self.sink.error_count();
        let src = self.side(&rule.from.hosts);
        let dst = self.side(&rule.to.hosts);
        if self.sink.error_count() == before {
            self.rule_with(rule, body, src, dst, out);
        }
    }

    /// Expands a rule whose addresses are known.
    pub(super) fn rule_with(
        &mut self,
        rule: &Rule,
        body: Option<Box<FlatSet>>,
        src: Vec<FlatHost>,
        dst: Vec<FlatHost>,
        out: &mut Vec<FlatRule>,
    ) {
        let before = self.sink.error_count();
        let mut template = self.template(rule, body);
        if let Some(reason) = self.tcp_only(rule) {
            self.sink.error(reason.0, reason.1);
        }
        decide_family(&src, &mut template.family);
        decide_family(&dst, &mut template.family);
        self.check_statement(rule);
        if !self.routes_and_pools(rule, &mut template, &src, &dst) || self.sink.error_count() > before {
            return;
        }
        let lists = [
            rule.interfaces.len(),
            rule.protocols.len(),
            rule.options.icmp.len(),
            src.len(),
            rule.from.ports.len(),
            rule.os.len(),
            dst.len(),
            rule.to.ports.len(),
            rule.options.user.len(),
            rule.options.group.len(),
        ];
        let count = lists.iter().fold(1usize, |all, n| all.saturating_mul((*n).max(1)));
        if count > MOST_RULES {
            self.sink
                .error(rule.span, format!("this rule expands to {count} rules, more than {MOST_RULES}"))
                .hint("put addresses into a table: a table makes one rule, however many addresses it has");
            return;
        }
        self.total = self.total.saturating_add(count);
        if self.total > MOST_OF_FILE {
            if self.total - count <= MOST_OF_FILE {
                self.sink
                    .error(rule.span, format!("the file comes to more than {MOST_OF_FILE} rules here"))
                    .hint("put addresses into tables: a table makes one rule, however many addresses it has");
            }
            return;
        }
        let added = self.product(&template, rule, &src, &dst, out);
        if !added && self.sink.error_count() == before {
            self.sink
                .error(rule.span, "rule expands to no valid combination")
                .hint("its addresses are of different families, or not of the one the rule names");
        }
    }

    fn tcp_only(&self, rule: &Rule) -> Option<(Span, &'static str)> {
        let tcp = rule.protocols.is_empty() || rule.protocols.iter().any(|p| p.node == TCP);
        if tcp {
            return None;
        }
        if let Some(flags) = &rule.options.flags
            && flags.node != (0, 0)
        {
            return Some((flags.span, "flags only apply to tcp"));
        }
        let os = rule.os.first()?;
        Some((os.span, "OS fingerprinting only applies to tcp"))
    }

    /// Gives a rule its number, and its labels and tags their text.
    fn number(&mut self, one: &mut FlatRule) {
        one.number = self.next_number;
        self.next_number += 1;
        one.labels = one.labels.iter().map(|l| label::expand(l, one)).collect();
        one.tag = one.tag.as_ref().map(|t| label::expand(t, one));
        one.tagged = one.tagged.as_ref().map(|(not, t)| (*not, label::expand(t, one)));
        let texts = one.labels.iter().chain(&one.tag).chain(one.tagged.as_ref().map(|t| &t.1));
        if let Some(text) = texts.into_iter().find(|t| t.len() > LONGEST_LABEL) {
            let reason = format!("`{text}` is longer than {LONGEST_LABEL} bytes, its variables replaced");
            self.sink.error(one.span, reason);
        }
    }

    /// The product of all lists; whether there was a valid combination.
    fn product(
        &mut self,
        template: &FlatRule,
        rule: &Rule,
        src: &[FlatHost],
        dst: &[FlatHost],
        out: &mut Vec<FlatRule>,
    ) -> bool {
        let o = &rule.options;
        let errors = self.sink.error_count();
        let mut added = false;
        for interface in each(&rule.interfaces) {
            for protocol in each(&rule.protocols) {
                for icmp in each(&o.icmp) {
                    for from in each(src) {
                        for from_port in each(&rule.from.ports) {
                            for os in each(&rule.os) {
                                for to in each(dst) {
                                    for to_port in each(&rule.to.ports) {
                                        for user in each(&o.user) {
                                            for group in each(&o.group) {
                                                let mut one = template.clone();
                                                let from = from.clone().unwrap_or_default();
                                                let to = to.clone().unwrap_or_default();
                                                if !families(&mut one, &from, &to)
                                                    || !scopes(&mut one, interface.as_ref(), &from, &to)
                                                {
                                                    continue;
                                                }
                                                one.protocol = protocol.map_or(0, |p| p.node);
                                                one.icmp = icmp.map(|i| i.node);
                                                one.src = settled(from, one.family);
                                                one.src_port = from_port.map(|p| p.node);
                                                one.os = os.clone().map(|os| os.node);
                                                one.dst = settled(to, one.family);
                                                one.dst_port = to_port.map(|p| p.node);
                                                one.user = user.map(|u| u.node);
                                                one.group = group.map(|g| g.node);
                                                by_protocol(&mut one);
                                                by_family(&mut one);
                                                self.check(&one, rule);
                                                added = true;
                                                if self.sink.error_count() == errors {
                                                    self.number(&mut one);
                                                    out.push(one);
                                                }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        added
    }
}

/// The family all hosts of a side have, if the rule has none yet.
pub(super) fn decide_family(hosts: &[FlatHost], family: &mut Family) {
    if *family != Family::Any {
        return;
    }
    let mut families = hosts.iter().map(FlatHost::family);
    if let Some(first) = families.next()
        && families.all(|f| f == first)
    {
        *family = first;
    }
}

/// Whether the families of a combination fit; the rule takes the one its addresses have.
fn families(rule: &mut FlatRule, from: &FlatHost, to: &FlatHost) -> bool {
    for side in [from, to] {
        let family = side.family();
        if family == Family::Any {
            continue;
        }
        if rule.family != Family::Any && rule.family != family {
            return false;
        }
        rule.family = family;
    }
    true
}

/// A link-local address binds its rule to its interface.
fn scopes(rule: &mut FlatRule, interface: Option<&Interface>, from: &FlatHost, to: &FlatHost) -> bool {
    if let (Some(a), Some(b)) = (&from.scope, &to.scope)
        && a != b
    {
        return false;
    }
    let scope = from.scope.as_ref().or(to.scope.as_ref());
    match (interface, scope) {
        (Some(interface), Some(scope)) if interface.name != *scope => return false,
        (Some(interface), _) => rule.interface = (interface.negate, interface.name.clone()),
        (None, Some(scope)) => rule.interface = (false, scope.clone()),
        (None, None) => {}
    }
    true
}

/// A host whose family and interface its rule has taken over; all of IPv4 or IPv6 is `any` in a rule of that family.
fn settled(host: FlatHost, family: Family) -> FlatHost {
    let addr = match host.addr {
        Addr::Dynamic { interface, modifiers, len } if family == Family::V4 => {
            Addr::Dynamic { interface, modifiers, len: len.filter(|len| *len < 32) }
        }
        Addr::Prefix { addr, len: 0 } if addr.is_unspecified() => Addr::Any,
        addr => addr,
    };
    FlatHost { negate: host.negate, addr, family: None, scope: None }
}

/// What a rule loses when its protocol is not TCP.
fn by_protocol(rule: &mut FlatRule) {
    if rule.protocol == 0 || rule.protocol == TCP {
        return;
    }
    rule.flags = (0, 0);
    if matches!(rule.state.kind, StateMode::Modulate | StateMode::Synproxy) {
        rule.state.kind = StateMode::Keep;
    }
}

/// The answer of the family a rule is not for does not matter.
fn by_family(rule: &mut FlatRule) {
    let FlatAction::Block(Return::Icmp { v4, v6 }) = &mut rule.action else {
        return;
    };
    let Return::Icmp { v4: default4, v6: default6 } = RETURN_ICMP else {
        return;
    };
    match rule.family {
        Family::V4 => *v6 = default6,
        Family::V6 => {
            *v4 = default4;
            if *v6 == CARRIED_OVER {
                *v6 = default6;
            }
        }
        Family::Any => {}
    }
}

/// Whether a protocol has ports.
pub(super) fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP)
}

/// Whether an operator may stand in a `rdr` rule's destination.
pub(super) fn redirectable(op: PortOp) -> bool {
    matches!(op, PortOp::Eq | PortOp::Range)
}

/// Whether a rule names a direction.
pub(super) fn directed(rule: &Rule) -> bool {
    rule.direction != Direction::Any
}
