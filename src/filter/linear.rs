//! The linear matcher: pf's evaluation, written down rule by rule. Every other matcher is compared with it.
//!
//! pf's semantics (pf.conf(5); xnu's and FreeBSD's `pf_test_rule`, `pf_test_eth_rule`, `pf_get_translation`):
//!
//! - Filter, layer 2 and dummynet rules: the last rule that matches decides, or the first that is `quick`; no match:
//!   pass. `match` rules count, log and set, and decide nothing. Translation and scrub rules: the first match decides.
//! - A call of an anchor is a rule whose own tests must match; then the anchor's rules are gone through in its place.
//!   A `quick` call ends evaluation if a rule in it decided something.
//! - `tag` takes effect when its rule matches, also if a later rule decides; so does the translation of a `match` rule,
//!   and later rules see what it made of the packet.
//! - Frames that are not IPv4 or IPv6 are not seen by filter rules and pass. IP in VLAN tags is seen; pf never meets
//!   it, because VLANs are interfaces of their own above the NIC.
//! - `ether` rules see every frame, before all others.
//! - A fragment matches only rules without ports, ICMP types and TCP flags (`pf_test_fragment`). A rule with `fragment`
//!   matches fragments only.
//! - IPv4 options and IPv6 routing headers are dropped with `ip-option`, unless the rule that passes the frame has
//!   `allow-opts`; when no rule matches there is none that has.
//! - `flags` is a test of TCP packets only; a rule with flags and without `proto` matches others whatever it says.
//! - `evaluations` counts each look at a rule, `packets` and `bytes` the frames that it decided or, for `match`,
//!   matched. pf skips rules in groups and counts fewer evaluations; bytes are the frame's, with its Ethernet header.
#![forbid(unsafe_code)]

use super::bound::Bound;
use super::compiled::{Side, Step, Test};
use super::guide::Way;
use super::{
    Action, AddrKind, Direction, EtherMatch, Family, List, MacMatch, PortMatch, PortOp, Rule, RuleFlags, Scrub,
};
use crate::telemetry::DropReason;
use crate::wire::{self, ParseError, Parsed, ParsedFlags, ethertype, protocol};

/// What rules look at: a frame, and what became of it so far.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// In or Out.
    pub direction: Direction,
    /// The frame as it came.
    pub parsed: &'a Parsed,
    /// Destination and source MAC address, as the frame begins; zero where it is shorter.
    pub macs: [u8; 12],
    /// Frame length, bytes.
    pub len: usize,
    /// Source address, translated.
    pub src: [u8; 16],
    /// Destination address, translated.
    pub dst: [u8; 16],
    /// Source port, translated.
    pub src_port: u16,
    /// Destination port, translated.
    pub dst_port: u16,
    /// `tag`; 0 = none.
    pub tag: u16,
}

impl<'a> Subject<'a> {
    /// A frame that nothing has changed yet.
    #[must_use]
    pub fn new(direction: Direction, frame: &[u8], parsed: &'a Parsed) -> Self {
        Self {
            direction,
            parsed,
            macs: frame.first_chunk().copied().unwrap_or([0; 12]),
            len: frame.len(),
            src: parsed.src,
            dst: parsed.dst,
            src_port: parsed.src_port,
            dst_port: parsed.dst_port,
            tag: 0,
        }
    }

    /// Its family; `Any` = not IP.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self.parsed.family {
            wire::Family::V4 => Family::V4,
            wire::Family::V6 => Family::V6,
            wire::Family::None => Family::Any,
        }
    }
}

/// The part of a rule that a packet did not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Mismatch {
    Interface = 1,
    Direction = 2,
    Family = 3,
    Protocol = 4,
    Fragment = 5,
    Source = 6,
    Destination = 7,
    SourcePort = 8,
    DestinationPort = 9,
    IcmpType = 10,
    TcpFlags = 11,
    Tos = 12,
    Tagged = 13,
    Probability = 14,
    EtherType = 15,
    SourceMac = 16,
    DestinationMac = 17,
    Vlan = 18,
    /// A rule with `once` that has matched.
    Once = 19,
    /// `max-pkt-rate` is used up.
    PacketRate = 20,
}

impl Mismatch {
    /// In the words of pf.conf.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Interface => "on",
            Self::Direction => "direction",
            Self::Family => "address family",
            Self::Protocol => "proto",
            Self::Fragment => "fragment",
            Self::Source => "from",
            Self::Destination => "to",
            Self::SourcePort => "from port",
            Self::DestinationPort => "to port",
            Self::IcmpType => "icmp-type",
            Self::TcpFlags => "flags",
            Self::Tos => "tos",
            Self::Tagged => "tagged",
            Self::Probability => "probability",
            Self::EtherType => "ether proto",
            Self::SourceMac => "ether from",
            Self::DestinationMac => "ether to",
            Self::Vlan => "vlan",
            Self::Once => "once",
            Self::PacketRate => "max-pkt-rate",
        }
    }
}

/// What evaluation needs from outside, and who watches it.
pub trait Witness {
    /// 32 random bits.
    fn random(&mut self) -> u32;

    /// Seconds of a clock that goes on.
    fn second(&self) -> u32 {
        0
    }

    /// An address that was added to a table since the ruleset was installed.
    fn is_added(&self, table: u32, family: Family, addr: &[u8; 16]) -> bool {
        let _ = (table, family, addr);
        false
    }

    /// Translates by a `match` rule with a pool; false: there is no address or port, and the packet must go.
    fn translate(&mut self, number: u32, rule: &Rule, subject: &mut Subject<'_>) -> bool;

    /// Every rule is to be looked at, also those that a guide knows cannot match.
    fn wants_every_look(&self) -> bool {
        true
    }

    /// A look at a rule.
    fn saw(&mut self, list: List, number: u32, result: Result<(), Mismatch>) {
        let _ = (list, number, result);
    }
}

/// What a list whose last match decides says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `None` = pass, else why not.
    pub block: Option<DropReason>,
    /// Number of the rule that decided; [`Verdict::NO_RULE`] if none did.
    pub rule: u32,
    /// The frame is to leave an event.
    pub log: bool,
    /// A copy is to go to the capture ring.
    pub copy: bool,
    /// Normalisation by `match` rules and the one that decided.
    pub scrub: Scrub,
}

impl Verdict {
    /// [`Verdict::rule`] when no rule decided.
    pub const NO_RULE: u32 = u32::MAX;
    /// Pass, by no rule.
    pub const PASS: Self = Self { block: None, rule: Self::NO_RULE, log: false, copy: false, scrub: Scrub::NONE };

    /// Dropped before a rule was asked.
    #[must_use]
    pub const fn refuse(reason: DropReason) -> Self {
        Self { block: Some(reason), log: true, ..Self::PASS }
    }
}

/// Why pf would not even look at its filter rules: an IP packet that is malformed has pf's reason; so has a frame with
/// so many VLAN tags that it cannot be told what it carries. Malformed ARP is not IP and passes.
#[must_use]
pub fn malformed(parsed: &Parsed) -> Option<DropReason> {
    if parsed.ethertype == ethertype::ARP {
        return None;
    }
    parsed.error.map(|error| match error {
        ParseError::BadOffset => DropReason::BadOffset,
        ParseError::Fragment => DropReason::Fragment,
        ParseError::Short => DropReason::Short,
        ParseError::Normalize => DropReason::Normalize,
        ParseError::IpOption => DropReason::IpOption,
        ParseError::Runt => DropReason::Runt,
    })
}

/// IPv4 options or an IPv6 routing header: what `allow-opts` is for.
#[must_use]
pub fn has_dangerous_options(parsed: &Parsed) -> bool {
    match parsed.family {
        wire::Family::V4 => parsed.flags.contains(ParsedFlags::IP_OPTIONS),
        wire::Family::V6 => parsed.flags.contains(ParsedFlags::ROUTING_HEADER),
        wire::Family::None => false,
    }
}

/// One walk through a list.
pub(super) struct Walk<'a, W> {
    pub bound: &'a Bound,
    pub shard: usize,
    pub witness: &'a mut W,
}

impl<'a, W: Witness> Walk<'a, W> {
    /// The first rule of a list that matches.
    pub fn first(&mut self, list: List, subject: &mut Subject<'_>) -> Option<u32> {
        let bound = self.bound;
        let program = bound.compiled.program(list);
        let mut way = self.way(list, subject);
        let mut at = 0usize;
        loop {
            at = way.as_mut().map_or(at, |way| way.next(at, subject));
            let Some(step) = program.get(at) else {
                break;
            };
            at = at.saturating_add(1);
            let number = match *step {
                Step::Rule(number) | Step::Enter { rule: number, .. } => number,
                Step::Leave { .. } => continue,
            };
            let matches = self.look(list, number, subject).is_some();
            match *step {
                Step::Enter { end, .. } if !matches => at = (end as usize).saturating_add(1),
                Step::Rule(_) if matches => {
                    bound.count(self.shard, number, subject.len);
                    return Some(number);
                }
                _ => {}
            }
        }
        None
    }

    /// The verdict of a list whose last match decides.
    pub fn last(&mut self, list: List, subject: &mut Subject<'_>) -> Verdict {
        let bound = self.bound;
        let program = bound.compiled.program(list);
        let mut verdict = Verdict::PASS;
        let mut flags = RuleFlags::empty();
        let mut action = Action::Pass;
        // Where the rule that decides stands, to tell whether a call's rules decided something.
        let mut decided_at = 0usize;
        let mut way = self.way(list, subject);
        let mut at = 0usize;
        loop {
            at = way.as_mut().map_or(at, |way| way.next(at, subject));
            let Some(step) = program.get(at) else {
                break;
            };
            let here = at;
            at = at.saturating_add(1);
            let number = match *step {
                Step::Rule(number) | Step::Enter { rule: number, .. } => number,
                Step::Leave { start, quick } => {
                    if quick && verdict.rule != Verdict::NO_RULE && decided_at > start as usize {
                        break;
                    }
                    continue;
                }
            };
            let Some(test) = self.look(list, number, subject) else {
                if let Step::Enter { end, .. } = *step {
                    at = (end as usize).saturating_add(1);
                }
                continue;
            };
            if matches!(step, Step::Enter { .. }) {
                continue;
            }
            if test.action == Action::Match {
                verdict.log |= test.flags.contains(RuleFlags::LOG);
                verdict.copy |= test.flags.contains(RuleFlags::DUP_TO);
                bound.count(self.shard, number, subject.len);
                if test.is_rare
                    && let Some(rule) = bound.compiled.rule(number)
                {
                    verdict.scrub.add(&rule.scrub);
                    if rule.nat.is_some() || rule.rdr.is_some() {
                        if !self.witness.translate(number, rule, subject) {
                            return Verdict { block: Some(DropReason::Memory), rule: number, ..verdict };
                        }
                        // Other rules than before may match what the packet has become.
                        if let Some(way) = &mut way {
                            way.look(at, subject);
                        }
                    }
                }
            } else {
                (verdict.rule, flags, action) = (number, test.flags, test.action);
                decided_at = here;
            }
            if test.flags.contains(RuleFlags::QUICK) {
                break;
            }
        }
        verdict.log |= flags.contains(RuleFlags::LOG);
        verdict.copy |= flags.contains(RuleFlags::DUP_TO);
        if verdict.rule != Verdict::NO_RULE {
            bound.count(self.shard, verdict.rule, subject.len);
        }
        if matches!(action, Action::Block) {
            verdict.block = Some(DropReason::Match);
            return verdict;
        }
        if list == List::Filter && has_dangerous_options(subject.parsed) && !flags.contains(RuleFlags::ALLOW_OPTS) {
            return Verdict { block: Some(DropReason::IpOption), log: true, ..verdict };
        }
        if let Some(rule) = bound.compiled.rule(verdict.rule) {
            verdict.scrub.add(&rule.scrub);
        }
        verdict
    }

    /// The way through a long list, unless somebody wants to see every step.
    fn way(&self, list: List, subject: &Subject<'_>) -> Option<Way<'a>> {
        if self.witness.wants_every_look() {
            return None;
        }
        let bound = self.bound;
        bound.compiled.guide(list).map(|guide| guide.way(subject))
    }

    /// Looks at one rule: its test if it matches, whose `tag` has taken effect then.
    fn look(&mut self, list: List, number: u32, subject: &mut Subject<'_>) -> Option<&'a Test> {
        let bound = self.bound;
        let index = number as usize;
        let test = bound.compiled.tests.get(index)?;
        if let Some(hits) = bound.counters.shard(self.shard).get(index) {
            hits.evaluations.add(1);
        }
        let applies = bound.applies.get(index).is_some_and(|applies| *applies);
        let mismatch = if applies { self.mismatch(list, number, test, subject) } else { Some(Mismatch::Interface) };
        self.witness.saw(list, number, mismatch.map_or(Ok(()), Err));
        if mismatch.is_some() {
            return None;
        }
        if test.is_rare
            && let Some(rule) = bound.compiled.rule(number)
            && rule.tag != 0
        {
            subject.tag = rule.tag;
        }
        Some(test)
    }

    fn mismatch(&mut self, list: List, number: u32, test: &Test, subject: &Subject<'_>) -> Option<Mismatch> {
        let p = subject.parsed;
        if test.direction != Direction::Any && test.direction != subject.direction {
            return Some(Mismatch::Direction);
        }
        let family = subject.family();
        if list != List::Ether {
            if family == Family::Any || (test.family != Family::Any && test.family != family) {
                return Some(Mismatch::Family);
            }
            if test.protocol.is_some_and(|wanted| wanted != p.protocol) {
                return Some(Mismatch::Protocol);
            }
            if test.flags.contains(RuleFlags::FRAGMENT) && !p.is_fragment() {
                return Some(Mismatch::Fragment);
            }
        }
        let is_rare = test.is_rare.then(|| self.bound.compiled.rule(number)).flatten();
        if let Some(ether) = is_rare.and_then(|rule| rule.ether.as_ref())
            && let Some(mismatch) = ether_mismatch(ether, subject)
        {
            return Some(mismatch);
        }
        // `no binat` has no other side: it is read the same way in both directions.
        if test.action == Action::Binat && subject.direction == Direction::In {
            let mismatch = self.binat_mismatch(test, is_rare, family, subject);
            return mismatch.or_else(|| is_rare.and_then(|rule| self.rare_mismatch(number, rule, subject)));
        }
        if !self.addr_matches(&test.src, family, &subject.src) {
            return Some(Mismatch::Source);
        }
        if !self.addr_matches(&test.dst, family, &subject.dst) {
            return Some(Mismatch::Destination);
        }
        let has_ports = !p.is_fragment();
        if !port_matches(test.src.port, has_ports.then_some(subject.src_port)) {
            return Some(Mismatch::SourcePort);
        }
        if !port_matches(test.dst.port, has_ports.then_some(subject.dst_port)) {
            return Some(Mismatch::DestinationPort);
        }
        if !icmp_matches(test, p) {
            return Some(Mismatch::IcmpType);
        }
        if !tcp_flags_match(test, p) {
            return Some(Mismatch::TcpFlags);
        }
        is_rare.and_then(|rule| self.rare_mismatch(number, rule, subject))
    }

    /// A `binat` rule seen from outside: who it is `to` sends, and to where the rule leads (`pf_match_translation`).
    fn binat_mismatch(
        &self,
        test: &Test,
        rule: Option<&Rule>,
        family: Family,
        subject: &Subject<'_>,
    ) -> Option<Mismatch> {
        if !self.addr_matches(&test.dst, family, &subject.src) {
            return Some(Mismatch::Source);
        }
        let hosts = rule.and_then(|rule| rule.nat.as_ref()).map_or(&[][..], |pool| &pool.hosts);
        let inside = hosts.iter().any(|host| self.addr_matches(&Side::of(host), family, &subject.dst));
        if inside { None } else { Some(Mismatch::Destination) }
    }

    fn rare_mismatch(&mut self, number: u32, rule: &Rule, subject: &Subject<'_>) -> Option<Mismatch> {
        if rule.tos.is_some_and(|tos| tos != subject.parsed.tos) {
            return Some(Mismatch::Tos);
        }
        if rule.tagged != 0 && (rule.tagged == subject.tag) == rule.flags.contains(RuleFlags::NOT_TAGGED) {
            return Some(Mismatch::Tagged);
        }
        if rule.probability != 0 && self.witness.random() > rule.probability {
            return Some(Mismatch::Probability);
        }
        if let Some(rate) = rule.packet_rate
            && let Some(life) = self.bound.counters.life(number)
            && !life.takes_packet(rate, self.witness.second())
        {
            return Some(Mismatch::PacketRate);
        }
        if rule.flags.contains(RuleFlags::ONCE) && !self.bound.counters.take_once(number) {
            return Some(Mismatch::Once);
        }
        None
    }

    fn addr_matches(&self, side: &Side, family: Family, addr: &[u8; 16]) -> bool {
        let number = u128::from_be_bytes(*addr);
        let inside = match side.kind {
            AddrKind::Any => true,
            // Only a layer 2 rule gets here with a packet of another family.
            _ if side.family() != Family::Any && side.family() != family => false,
            AddrKind::Mask4 | AddrKind::Mask6 => number & side.end == side.addr,
            AddrKind::Range4 | AddrKind::Range6 => side.addr <= number && number <= side.end,
            AddrKind::Dynamic => self.bound.dynamic(side.table).is_some_and(|table| table.contains(family, addr)),
            AddrKind::Table => {
                let table = self.bound.table(side.table);
                table.is_some_and(|table| table.contains(family, addr))
                    || self.witness.is_added(side.table, family, addr)
            }
        };
        inside != side.negate
    }
}

fn ether_mismatch(ether: &EtherMatch, subject: &Subject<'_>) -> Option<Mismatch> {
    let p = subject.parsed;
    if ether.protocol != 0 && ether.protocol != p.ethertype {
        return Some(Mismatch::EtherType);
    }
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = subject.macs;
    if !mac_matches(&ether.src, [s0, s1, s2, s3, s4, s5]) {
        return Some(Mismatch::SourceMac);
    }
    if !mac_matches(&ether.dst, [d0, d1, d2, d3, d4, d5]) {
        return Some(Mismatch::DestinationMac);
    }
    // The VLAN identifier is the lower 12 bits of the TCI (IEEE 802.1Q clause 9.6).
    let vlan = p.vlans.first().map_or(0, |tci| tci & 0x0fff);
    if ether.vlan.is_some_and(|wanted| wanted != vlan) { Some(Mismatch::Vlan) } else { None }
}

fn mac_matches(test: &MacMatch, addr: [u8; 6]) -> bool {
    let inside = addr.iter().zip(&test.mask).zip(&test.addr).all(|((byte, mask), wanted)| byte & mask == *wanted);
    inside != test.negate
}

fn icmp_matches(test: &Test, p: &Parsed) -> bool {
    test.icmp.is_none_or(|wanted| {
        !p.is_fragment()
            && p.flags.contains(ParsedFlags::ICMP)
            && wanted.kind == p.icmp_type
            && wanted.code.is_none_or(|code| code == p.icmp_code)
    })
}

fn tcp_flags_match(test: &Test, p: &Parsed) -> bool {
    test.tcp_flags.out_of == 0
        || p.protocol != protocol::TCP
        || (!p.is_fragment() && p.tcp_flags & test.tcp_flags.out_of == test.tcp_flags.set)
}

/// `port` is `None` where the packet has none to look at.
fn port_matches(test: PortMatch, port: Option<u16>) -> bool {
    let PortMatch { op, a, b } = test;
    if op == PortOp::Any {
        return true;
    }
    port.is_some_and(|port| match op {
        PortOp::Any => true,
        PortOp::Eq => port == a,
        PortOp::Ne => port != a,
        PortOp::Lt => port < a,
        PortOp::Le => port <= a,
        PortOp::Gt => port > a,
        PortOp::Ge => port >= a,
        PortOp::Range => a <= port && port <= b,
        PortOp::Inside => a < port && port < b,
        PortOp::Outside => port < a || b < port,
    })
}
