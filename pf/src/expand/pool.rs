//! Address pools of translation rules and routes.

use super::Expander;
use super::rule::decide_family;
use crate::ast::{Action, Family, Host, PoolKind, PortOp, Redirect, RedirectKind, RouteKind, Rule, Translation};
use crate::flat::{Addr, FlatHost, FlatPool, FlatRoute, FlatRule};

/// What pfctl allows besides round-robin depends on what the pool is for.
struct Use {
    tables: &'static str,
    aliases: &'static str,
    several: &'static str,
    routing: bool,
}

const REDIRECTION: Use = Use {
    tables: "tables are only supported in round-robin redirection pools",
    aliases: "is only supported in round-robin redirection pools",
    several: "only round-robin valid for multiple redirection addresses",
    routing: false,
};

const ROUTING: Use = Use {
    tables: "tables are only supported in round-robin routing pools",
    aliases: "is only supported in round-robin routing pools",
    several: "only round-robin valid for multiple routes",
    routing: true,
};

/// The ports of a nat rule that gives none (pf.conf(5): 50001 to 65535). pfctl does not print them when they are given.
const NAT_PORTS: (u16, u16) = (50001, 65535);

/// The ports of a pool, `(0, 0)` if they are those that would be taken anyway.
fn given(ports: (u16, u16), kind: Translation) -> (u16, u16) {
    if kind == Translation::Nat && ports == NAT_PORTS { (0, 0) } else { ports }
}

/// Whether an interface in parentheses may have several addresses.
fn multiple(addr: &Addr) -> bool {
    match addr {
        Addr::Dynamic { interface, modifiers, .. } => {
            !modifiers.no_alias || !interface.ends_with(|c: char| c.is_ascii_digit())
        }
        _ => false,
    }
}

impl Expander<'_> {
    /// Fills in routes and translation; false if the rule cannot be used.
    pub(super) fn routes_and_pools(
        &mut self,
        rule: &Rule,
        template: &mut FlatRule,
        src: &[FlatHost],
        dst: &[FlatHost],
    ) -> bool {
        match rule.action.node {
            Action::Translate { kind: Translation::Binat, no, .. } => return self.binat(rule, template, no, src, dst),
            Action::Translate { kind, no, .. } => {
                return self.nat_rdr(rule, template, kind, no, src, dst);
            }
            _ => {}
        }
        self.route(rule, template) && self.redirects(rule, template)
    }

    fn pool_hosts(&mut self, hosts: &[Host]) -> Vec<FlatHost> {
        let mut out = Vec::new();
        for host in hosts {
            out.extend(self.lookup.host(host, self.sink));
        }
        out
    }

    /// Drops addresses of the wrong family; the first right one decides where nothing did.
    fn fit(&mut self, hosts: Vec<FlatHost>, family: &mut Family, redirect: &Redirect) -> Option<Vec<FlatHost>> {
        if *family == Family::Any
            && let Some(first) = hosts.first()
            && first.scope.is_none()
        {
            *family = first.family();
        }
        let mut kept = Vec::new();
        for host in hosts {
            let own = host.family();
            if *family != Family::Any && own != Family::Any && own != *family {
                continue;
            }
            if *family == Family::Any {
                *family = own;
            }
            kept.push(FlatHost { scope: None, ..host });
        }
        if kept.is_empty() {
            self.sink.error(redirect.span, "no translation address with matching address family found");
            return None;
        }
        Some(kept)
    }

    /// Makes `round-robin` explicit where pfctl implies it, and refuses what another type cannot do.
    fn pool_type(&mut self, pool: &mut crate::ast::Pool, hosts: &[FlatHost], span: crate::source::Span, us: &Use) {
        let table = hosts.iter().any(|h| matches!(h.addr, Addr::Table(_)));
        let alias = hosts.iter().find(|h| multiple(&h.addr));
        if pool.kind.is_none() && (hosts.len() > 1 || table || alias.is_some()) {
            pool.kind = Some(PoolKind::RoundRobin);
        }
        if pool.kind == Some(PoolKind::RoundRobin) {
            return;
        }
        if table {
            self.sink.error(span, us.tables);
        }
        if let Some(Addr::Dynamic { interface, .. }) = alias.map(|h| &h.addr) {
            self.sink.error(span, format!("interface ({interface}) {}", us.aliases));
        }
        if hosts.len() > 1 && us.routing {
            // Where the route is left out anyway, it does not matter how it would have been chosen.
            self.sink.meaningless(span, us.several);
        } else if hosts.len() > 1 {
            self.sink.error(span, us.several);
        }
    }

    fn nat_rdr(
        &mut self,
        rule: &Rule,
        template: &mut FlatRule,
        kind: Translation,
        no: bool,
        src: &[FlatHost],
        dst: &[FlatHost],
    ) -> bool {
        let first =
            |hosts: &[FlatHost]| hosts.first().filter(|h| h.scope.is_none()).map_or(Family::Any, FlatHost::family);
        template.family = match rule.family {
            Some(family) => family.node,
            None if first(src) != Family::Any => first(src),
            None => first(dst),
        };
        let Some(redirect) = rule.redirects.first() else {
            if !no {
                self.sink
                    .error(rule.span, "translation rule requires '-> address'")
                    .hint("end it with `-> address`, or begin it with `no`");
            }
            return no;
        };
        if no {
            self.sink.error(redirect.span, "translation rule with 'no' does not need '->'");
            return false;
        }
        let hosts = self.pool_hosts(&redirect.hosts);
        if hosts.is_empty() {
            return false;
        }
        let Some(hosts) = self.fit(hosts, &mut template.family, redirect) else {
            return false;
        };
        let mut pool = redirect.pool.clone();
        self.pool_type(&mut pool, &hosts, redirect.span, &REDIRECTION);
        let ports = self.ports(redirect, kind, rule);
        if pool.static_port {
            if kind != Translation::Nat {
                self.sink.error(redirect.span, "the 'static-port' option is only valid with nat rules");
            } else if ports != (0, 0) {
                self.sink.error(redirect.span, "the 'static-port' option can't be used when specifying a port range");
            }
        }
        if pool.map_e.is_some() && (kind != Translation::Nat || pool.static_port || ports != (0, 0)) {
            self.sink.error(
                redirect.span,
                "the 'map-e-portset' option is only valid with nat rules, without ports and 'static-port'",
            );
        }
        if pool.endpoint_independent && (kind != Translation::Nat || pool.static_port) {
            self.sink.error(
                redirect.span,
                "the 'endpoint-independent' option is only valid with nat rules, without 'static-port'",
            );
        }
        template.redirects.arrow = Some(FlatPool { hosts, ports: given(ports, kind), pool });
        true
    }

    /// First and last port of a pool.
    fn ports(&self, redirect: &Redirect, kind: Translation, rule: &Rule) -> (u16, u16) {
        let Some(port) = redirect.port else {
            return (0, 0);
        };
        match kind {
            Translation::Nat => (port.a, if port.b == 0 { port.a } else { port.b }),
            _ => match rule.to.ports.first() {
                Some(to) if port.star && port.b == 0 && to.node.op == PortOp::Range => {
                    (port.a, port.a.saturating_add(to.node.b.saturating_sub(to.node.a)))
                }
                _ => (port.a, port.b),
            },
        }
    }

    fn binat(&mut self, rule: &Rule, template: &mut FlatRule, no: bool, src: &[FlatHost], dst: &[FlatHost]) -> bool {
        let before = self.sink.error_count();
        let redirect = rule.redirects.first();
        let hosts = redirect.map_or(Vec::new(), |r| self.pool_hosts(&r.hosts));
        let mut family = rule.family.map_or(Family::Any, |f| f.node);
        for list in [src, dst, &hosts] {
            if family == Family::Any {
                family = list.first().map_or(Family::Any, FlatHost::family);
            }
        }
        if family == Family::Any {
            self.sink
                .error(rule.span, "address family (inet/inet6) undefined")
                .hint("write `inet` or `inet6` before the addresses");
            return false;
        }
        template.family = family;
        for (list, place) in [(src, "source"), (&hosts, "redirect")] {
            for host in list {
                match &host.addr {
                    Addr::Table(name) => {
                        self.sink.error(
                            rule.span,
                            format!("invalid use of table <{name}> as the {place} address of a binat rule"),
                        );
                    }
                    Addr::Dynamic { interface, .. } if multiple(&host.addr) => {
                        self.sink.error(
                            rule.span,
                            format!("invalid use of interface ({interface}) as the {place} address of a binat rule"),
                        );
                    }
                    _ => {}
                }
            }
        }
        if src.len() > 1 || dst.len() > 1 {
            self.sink.error(rule.span, "multiple binat ip addresses");
        }
        for side in [src, dst] {
            if side.iter().any(|h| h.family() != Family::Any && h.family() != family) {
                self.sink.error(rule.span, "binat ip versions must match");
            }
        }
        match redirect {
            None if !no => {
                self.sink.error(rule.span, "'binat' rule requires '-> address'");
            }
            Some(redirect) if no => {
                self.sink.error(redirect.span, "'no binat' rule does not need '->'");
            }
            Some(redirect) => {
                let Some(hosts) = self.fit(hosts, &mut template.family, redirect) else {
                    return false;
                };
                if hosts.len() > 1 {
                    self.sink.error(redirect.span, "binat rule must redirect to a single address");
                }
                let length = |host: Option<&FlatHost>| match host.map(|h| &h.addr) {
                    Some(Addr::Prefix { len, .. }) => Some(*len),
                    _ => None,
                };
                if let (Some(a), Some(b)) = (length(src.first()), length(hosts.first()))
                    && a != b
                {
                    self.sink
                        .error(redirect.span, "'binat' source mask and redirect mask must be the same")
                        .hint(format!("the source is /{a}, the redirection /{b}"));
                }
                template.redirects.arrow = Some(FlatPool { hosts, ports: (0, 0), pool: redirect.pool.clone() });
            }
            None => {}
        }
        self.sink.error_count() == before
    }

    fn route(&mut self, rule: &Rule, template: &mut FlatRule) -> bool {
        let Some(route) = &rule.route else {
            return true;
        };
        if matches!(rule.action.node, Action::Block(_)) && route.kind != RouteKind::DupTo {
            self.sink.error(route.span, "a block rule cannot route: what it matches goes nowhere");
            return false;
        }
        if !super::rule::directed(rule) {
            self.sink
                .error(route.span, "direction must be explicit with rules that specify routing")
                .hint("write `in` or `out` after the action");
            return false;
        }
        let mut hosts: Vec<(String, Option<FlatHost>)> = Vec::new();
        for one in &route.hosts {
            match &one.host {
                None => hosts.push((one.interface.clone(), None)),
                Some(host) => {
                    for found in self.lookup.host(host, self.sink) {
                        hosts.push((one.interface.clone(), Some(found)));
                    }
                }
            }
        }
        let addresses: Vec<FlatHost> = hosts.iter().filter_map(|h| h.1.clone()).collect();
        let translated = rule.redirects.iter().find_map(|r| match r.kind {
            RedirectKind::AfTo(family) if route.kind == RouteKind::RouteTo => Some(family),
            _ => None,
        });
        let family = match translated {
            Some(family) => family,
            None if route.pool.v6_nexthop && template.family == Family::V4 => Family::V6,
            None => {
                decide_family(&addresses, &mut template.family);
                template.family
            }
        };
        hosts.retain(|(_, host)| {
            let own = host.as_ref().map_or(Family::Any, FlatHost::family);
            family == Family::Any || own == Family::Any || own == family
        });
        if hosts.is_empty() {
            self.sink.error(route.span, "no routing address with matching address family found");
            return false;
        }
        let mut pool = route.pool.clone();
        let all: Vec<FlatHost> = hosts.iter().map(|h| h.1.clone().unwrap_or_default()).collect();
        self.pool_type(&mut pool, &all, route.span, &ROUTING);
        template.route = Some(FlatRoute { kind: route.kind, hosts, pool });
        true
    }

    /// `nat-to`, `rdr-to`, `binat-to` and `af-to`.
    fn redirects(&mut self, rule: &Rule, template: &mut FlatRule) -> bool {
        let before = self.sink.error_count();
        for redirect in &rule.redirects {
            if matches!(rule.action.node, Action::Block(_)) {
                self.sink
                    .error(redirect.span, "a block rule cannot translate")
                    .hint("translate in a match or pass rule");
                return false;
            }
            let hosts = self.pool_hosts(&redirect.hosts);
            if let RedirectKind::AfTo(family) = redirect.kind {
                self.af_to(redirect, family, hosts, template);
                continue;
            }
            if hosts.is_empty() {
                return false;
            }
            let Some(hosts) = self.fit(hosts, &mut template.family, redirect) else {
                return false;
            };
            let mut pool = redirect.pool.clone();
            self.pool_type(&mut pool, &hosts, redirect.span, &REDIRECTION);
            let (kind, name) = match redirect.kind {
                RedirectKind::NatTo => (Translation::Nat, "nat-to"),
                RedirectKind::RdrTo => (Translation::Rdr, "rdr-to"),
                _ => (Translation::Binat, "binat-to"),
            };
            let ports = self.ports(redirect, kind, rule);
            if kind == Translation::Binat && redirect.port.is_some() {
                self.sink.error(redirect.span, "binat-to takes no port");
            }
            if kind != Translation::Nat && pool.static_port {
                self.sink.error(redirect.span, "the 'static-port' option is only valid with nat-to");
            }
            if kind == Translation::Binat && hosts.len() > 1 {
                self.sink.error(redirect.span, "binat-to takes a single address");
            }
            let wrong = match kind {
                Translation::Nat => rule.direction == crate::ast::Direction::In,
                Translation::Rdr => rule.direction == crate::ast::Direction::Out,
                Translation::Binat => super::rule::directed(rule),
            };
            if wrong && kind == Translation::Binat {
                self.sink
                    .error(redirect.span, "binat-to can not specify direction")
                    .hint("leave out `in` and `out`: it translates both ways");
            } else if wrong {
                let way = if kind == Translation::Nat { "outgoing" } else { "incoming" };
                self.sink.warn(redirect.span, format!("{name} usually translates {way} packets"));
            }
            let flat = Some(FlatPool { hosts, ports: given(ports, kind), pool });
            match redirect.kind {
                RedirectKind::NatTo => template.redirects.nat = flat,
                RedirectKind::RdrTo => template.redirects.rdr = flat,
                _ => template.redirects.binat = flat,
            }
        }
        self.sink.error_count() == before
    }

    fn af_to(&mut self, redirect: &Redirect, family: Family, hosts: Vec<FlatHost>, template: &mut FlatRule) {
        if template.family == Family::Any || template.family == family {
            self.sink
                .error(redirect.span, "af-to needs a rule of the other address family")
                .hint("write `inet6 ... af-to inet` or `inet ... af-to inet6`");
            return;
        }
        let to_hosts = self.pool_hosts(&redirect.to_hosts);
        let mut pools = Vec::new();
        for list in [hosts, to_hosts] {
            if list.is_empty() {
                pools.push(None);
                continue;
            }
            let mut wanted = family;
            let Some(hosts) = self.fit(list, &mut wanted, redirect) else {
                return;
            };
            pools.push(Some(FlatPool { hosts, ports: (0, 0), pool: redirect.pool.clone() }));
        }
        let to = pools.pop().flatten();
        template.redirects.af_to = Some((family, pools.pop().flatten(), to));
    }
}
