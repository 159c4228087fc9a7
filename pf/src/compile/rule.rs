//! One rule.

use weir_core::filter::image::TEXT_MAX;
use weir_core::filter::{
    Action, Answer, EtherMatch, Family, FragmentPolicy, IcmpMatch, List, MacMatch, Overload, Pipe, Pool, PoolKind,
    Rate, Rule, RuleFlags, Scrub, SourceTrack, StateMode, StateOptions, TcpFlagsMatch,
};

use super::Compiler;
use super::options::timeout;
use crate::ast::{self, Direction, Mac, Return, RouteKind, Translation};
use crate::flat::{self, Addr, FlatAction, FlatEther, FlatHost, FlatRule, FlatScrub};
use crate::names::protocols::{ICMP, ICMP6};
use crate::parse::{CARRIED_OVER, RETURN_ICMP};
use crate::print;
use crate::source::Span;

/// Whether a lenient load leaves a rule out: one of its conditions cannot be tested, and without it the rule would
/// match more than it says.
pub(super) fn left_out(rule: &FlatRule) -> bool {
    let routing = |host: &FlatHost| matches!(host.addr, Addr::NoRoute | Addr::UrpfFailed | Addr::RouteLabel(_));
    rule.user.is_some()
        || rule.group.is_some()
        || rule.received_on.is_some()
        || rule.os.is_some()
        || rule.max_pkt_size.is_some()
        || rule.redirects.af_to.is_some()
        || routing(&rule.src)
        || routing(&rule.dst)
}

fn action(rule: &FlatRule) -> Action {
    match rule.action {
        FlatAction::Pass => Action::Pass,
        FlatAction::Block(_) => Action::Block,
        FlatAction::Match => Action::Match,
        FlatAction::Scrub(false) => Action::Scrub,
        FlatAction::Scrub(true) => Action::NoScrub,
        FlatAction::Translate(Translation::Nat, no, _) => [Action::Nat, Action::NoNat][usize::from(no)],
        FlatAction::Translate(Translation::Binat, no, _) => [Action::Binat, Action::NoBinat][usize::from(no)],
        FlatAction::Translate(Translation::Rdr, no, _) => [Action::Rdr, Action::NoRdr][usize::from(no)],
        FlatAction::Dummynet(false) => Action::Dummynet,
        FlatAction::Dummynet(true) => Action::NoDummynet,
        FlatAction::Anchor(_) => Action::Anchor,
    }
}

fn answer(given: Return) -> Answer {
    match given {
        Return::Drop => Answer::Drop,
        Return::Any => Answer::Return,
        Return::Rst(ttl) => Answer::Rst { ttl },
        Return::Icmp { v4, v6 } => {
            let Return::Icmp { v6: default, .. } = RETURN_ICMP else {
                return Answer::Drop;
            };
            Answer::Icmp { v4, v6: if v6 == CARRIED_OVER { default } else { v6 } }
        }
    }
}

fn scrub(s: &FlatScrub, list: List) -> Scrub {
    Scrub {
        no_df: s.no_df,
        random_id: s.random_id,
        reassemble_tcp: s.reassemble_tcp,
        min_ttl: s.min_ttl,
        max_mss: s.max_mss,
        set_tos: s.set_tos,
        fragment: match s.fragment {
            None => FragmentPolicy::Default,
            Some(ast::FragmentPolicy::Reassemble) if list == List::Scrub => FragmentPolicy::Reassemble,
            Some(ast::FragmentPolicy::Reassemble) => FragmentPolicy::Reassemble,
            Some(ast::FragmentPolicy::NoReassemble) => FragmentPolicy::NoReassemble,
            Some(ast::FragmentPolicy::Crop) => FragmentPolicy::Crop,
            Some(ast::FragmentPolicy::DropOverlap) => FragmentPolicy::DropOverlap,
        },
    }
}

fn rate((limit, seconds): (u32, u32)) -> Option<Rate> {
    (seconds > 0).then_some(Rate { limit, seconds })
}

fn pipe(given: Option<ast::Pipe>) -> Option<Pipe> {
    given.map(|p| Pipe { queue: p.queue, number: p.number, reverse: p.reverse })
}

/// A rule's normal form, cut to what the image carries.
fn text(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX - 3).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn labels(given: &[String]) -> Vec<String> {
    given.iter().filter(|label| !label.is_empty()).cloned().collect()
}

fn mac(given: Option<Mac>) -> MacMatch {
    given.map_or(MacMatch::default(), |Mac { negate, addr, mask }| MacMatch {
        negate,
        addr: std::array::from_fn(|at| addr[at] & mask[at]),
        mask,
    })
}

impl Compiler<'_> {
    fn tag(&mut self, name: &str) -> u16 {
        if let Some(number) = self.tags.get(name) {
            return *number;
        }
        self.ruleset.tags.push(name.to_owned());
        let number = u16::try_from(self.ruleset.tags.len()).unwrap_or(u16::MAX);
        self.tags.insert(name.to_owned(), number);
        number
    }

    fn state(&mut self, rule: &FlatRule, path: &str) -> StateOptions {
        let s = &rule.state;
        let mode = match s.kind {
            flat::StateMode::No => return StateOptions::default(),
            flat::StateMode::Keep => StateMode::Keep,
            flat::StateMode::Modulate => StateMode::Modulate,
            flat::StateMode::Synproxy => StateMode::Synproxy,
        };
        let mut out = StateOptions {
            mode,
            if_bound: s.if_bound,
            sloppy: s.sloppy,
            no_sync: s.no_sync,
            max: s.max,
            source_track: match (s.source_track, s.source_track_rule) {
                (false, _) => SourceTrack::No,
                (true, false) => SourceTrack::Global,
                (true, true) => SourceTrack::Rule,
            },
            max_src_nodes: s.max_src_nodes,
            max_src_states: s.max_src_states,
            max_src_conn: s.max_src_conn,
            max_src_conn_rate: rate(s.max_src_conn_rate),
            overload: None,
            ..StateOptions::default()
        };
        if let Some((table, flush, global)) = &s.overload {
            let table = self.table_index(table, path, rule.span);
            out.overload = Some(Overload { table, flush: *flush, global: *global });
        }
        for (name, seconds) in &s.timeouts {
            if let Some(timeout) = timeout(name) {
                out.timeouts.set(timeout, *seconds);
            }
        }
        out
    }

    /// The rules an expanded one comes to: one, but for `binat-to`, which is one for each direction.
    pub(super) fn rules(&mut self, one: &FlatRule, list: List, path: &str) -> Vec<Rule> {
        let rule = self.rule(one, list, path);
        let Some(pool) = &one.redirects.binat else {
            return vec![rule];
        };
        let to = self.pool(pool, path, one.span);
        let Some(outside) = to.hosts.first().copied() else {
            return vec![rule];
        };
        let kind = PoolKind::Bitmask;
        let nat = Pool { kind, static_port: true, ports: (0, 0), ..to };
        let mut out = Rule { direction: Direction::Out, nat: Some(nat), ..rule.clone() };
        let mut back = Rule { direction: Direction::In, ..rule };
        let inside = back.src.addr;
        back.src.addr = back.dst.addr;
        back.dst.addr = outside;
        std::mem::swap(&mut back.src.port, &mut back.dst.port);
        back.rdr = Some(Pool { kind, hosts: vec![inside], ..Pool::default() });
        out.rdr = None;
        vec![out, back]
    }

    fn rule(&mut self, one: &FlatRule, list: List, path: &str) -> Rule {
        let mut flags = RuleFlags::empty();
        flags.set(RuleFlags::QUICK, one.quick);
        flags.set(RuleFlags::LOG, one.log.is_some());
        flags.set(RuleFlags::LOG_ALL, one.log.is_some_and(|l| l.all));
        flags.set(RuleFlags::LOG_MATCHES, one.log.is_some_and(|l| l.matches));
        flags.set(RuleFlags::NOT_INTERFACE, one.interface.0);
        flags.set(RuleFlags::FRAGMENT, one.fragment);
        flags.set(RuleFlags::ALLOW_OPTS, one.allow_opts);
        flags.set(RuleFlags::ONCE, one.once);
        flags.set(RuleFlags::TRANSLATE_PASS, matches!(one.action, FlatAction::Translate(_, false, true)));
        flags.set(RuleFlags::NOT_TAGGED, one.tagged.as_ref().is_some_and(|(not, _)| *not));
        flags.set(RuleFlags::DUP_TO, one.route.as_ref().is_some_and(|route| route.kind == RouteKind::DupTo));
        let family = match (one.family, one.protocol) {
            (Family::Any, ICMP) => Family::V4,
            (Family::Any, ICMP6) => Family::V6,
            (family, _) => family,
        };
        let t = &one.redirects;
        let (mut nat, mut rdr) = (t.nat.as_ref(), t.rdr.as_ref());
        match one.action {
            FlatAction::Translate(Translation::Rdr, ..) => rdr = t.arrow.as_ref(),
            FlatAction::Translate(..) => nat = t.arrow.as_ref(),
            _ => {}
        }
        let binat = matches!(one.action, FlatAction::Translate(Translation::Binat, ..));
        let src = self.endpoint(&one.src, one.src_port, path, one.span);
        let dst = self.endpoint(&one.dst, one.dst_port, path, one.span);
        Rule {
            action: action(one),
            direction: one.direction,
            flags,
            interface: one.interface.1.clone(),
            family,
            protocol: Some(one.protocol).filter(|p| *p != 0),
            src,
            dst,
            icmp: one.icmp.map(|i| IcmpMatch { kind: i.kind, code: i.code }),
            tcp_flags: TcpFlagsMatch { set: one.flags.0, out_of: one.flags.1 },
            tos: Some(one.tos).filter(|tos| *tos != 0),
            tagged: one.tagged.as_ref().map_or(0, |(_, name)| self.tag(name)),
            probability: one.probability,
            packet_rate: one.max_pkt_rate.and_then(rate),
            ether: None,
            call: None,
            tag: one.tag.as_ref().map_or(0, |name| self.tag(name)),
            answer: match one.action {
                FlatAction::Block(given) => answer(given),
                _ => Answer::Drop,
            },
            state: self.state(one, path),
            scrub: match one.action {
                FlatAction::Anchor(_) | FlatAction::Scrub(true) | FlatAction::Block(_) => Scrub::default(),
                _ => scrub(&one.scrub, list),
            },
            nat: nat.map(|pool| self.pool(pool, path, one.span)).map(|pool| match binat {
                true => Pool { kind: PoolKind::Bitmask, static_port: true, ..pool },
                false => pool,
            }),
            rdr: rdr.map(|pool| self.pool(pool, path, one.span)),
            pipe: match one.action {
                FlatAction::Anchor(_) | FlatAction::Dummynet(true) | FlatAction::Block(_) => None,
                _ => pipe(one.pipe),
            },
            ridentifier: one.ridentifier,
            labels: labels(&one.labels),
            text: text(print::rule(one)),
            line: self.line(one.span),
        }
    }

    pub(super) fn ether(&mut self, one: &FlatEther, path: &str) -> Rule {
        let mut flags = RuleFlags::empty();
        flags.set(RuleFlags::QUICK, one.quick);
        flags.set(RuleFlags::NOT_INTERFACE, one.interface.0);
        flags.set(RuleFlags::NOT_TAGGED, one.tagged.as_ref().is_some_and(|(not, _)| *not));
        let src = self.endpoint(&one.l3.0, None, path, one.span);
        let dst = self.endpoint(&one.l3.1, None, path, one.span);
        Rule {
            action: match (&one.anchor, one.pass) {
                (Some(_), _) => Action::Anchor,
                (None, true) => Action::Pass,
                (None, false) => Action::Block,
            },
            direction: one.direction,
            flags,
            interface: one.interface.1.clone(),
            src,
            dst,
            tagged: one.tagged.as_ref().map_or(0, |(_, name)| self.tag(name)),
            ether: Some(EtherMatch { protocol: one.protocol, src: mac(one.src), dst: mac(one.dst), vlan: one.vlan }),
            tag: one.tag.as_ref().map_or(0, |name| self.tag(name)),
            pipe: pipe(one.pipe),
            ridentifier: one.ridentifier,
            labels: labels(&one.labels),
            text: text(print::ether_rule(one)),
            line: self.line(one.span),
            ..Rule::default()
        }
    }

    fn line(&self, span: Span) -> u32 {
        self.sink.sources.line(span)
    }
}
