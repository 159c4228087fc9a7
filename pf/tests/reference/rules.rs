//! Whether rules match, one after the other.

use super::eval::{Chosen, Fate};
use super::model::*;
use super::packet::*;
use super::track::End;
use std::net::IpAddr;

/// Rules with `probability`: whether each one, in the order in which they are met, matches.
#[derive(Default)]
pub struct Coins {
    pub faces: Vec<bool>,
    next: usize,
    /// The percentage of the last one met.
    pub percent: u8,
}

impl Coins {
    pub fn new(faces: Vec<bool>) -> Self {
        Self { faces, next: 0, percent: 0 }
    }

    pub fn toss(&mut self, percent: u8) -> bool {
        if percent == 100 {
            return true;
        }
        if self.next == self.faces.len() {
            self.faces.push(false);
        }
        self.next += 1;
        self.percent = percent;
        self.faces[self.next - 1]
    }
}

/// What a walk through the rules has found.
#[derive(Default)]
pub struct Walk<'a> {
    pub last: Option<&'a Rule>,
    pub tag: Option<usize>,
    pub scrub: Scrub,
    pub done: bool,
}

/// What rules work with besides the packet.
pub struct Look<'a> {
    pub rules: &'a Rules,
    pub bad: &'a [IpAddr],
    pub coins: &'a mut Coins,
}

pub fn is_query(packet: &Packet) -> bool {
    matches!(packet.body, Body::Icmp { .. })
}

/// An ICMP message that only answers.
pub fn is_reply(packet: &Packet) -> bool {
    matches!(packet.body, Body::Icmp { kind: 0 | 129, .. })
}

/// What may come back: anything but an ICMP query.
pub fn is_answer(packet: &Packet) -> bool {
    !matches!(packet.body, Body::Icmp { kind: 8 | 128, .. })
}

/// Both ends; `None` for an ICMP error, which is no conversation.
pub fn ends(packet: &Packet) -> Option<(End, End)> {
    let (sport, dport) = match packet.body {
        Body::Icmp { id, .. } => (id, id),
        Body::Error { .. } | Body::Fragment { .. } | Body::Raw { .. } => return None,
        _ => packet.ports().unwrap_or((0, 0)),
    };
    Some(((packet.src, sport), (packet.dst, dport)))
}

fn in_prefix(addr: IpAddr, net: IpAddr, len: u8) -> bool {
    match (addr, net) {
        (IpAddr::V4(addr), IpAddr::V4(net)) => {
            len == 0 || (addr.to_bits() ^ net.to_bits()) >> (32 - u32::from(len)) == 0
        }
        (IpAddr::V6(addr), IpAddr::V6(net)) => {
            len == 0 || (addr.to_bits() ^ net.to_bits()) >> (128 - u32::from(len)) == 0
        }
        _ => false,
    }
}

impl Port {
    fn holds(self, port: u16) -> bool {
        match self {
            Self::Equal(p) => port == p,
            Self::Not(p) => port != p,
            Self::Less(p) => port < p,
            Self::LessOrEqual(p) => port <= p,
            Self::Greater(p) => port > p,
            Self::GreaterOrEqual(p) => port >= p,
            Self::Span(a, b) => a <= port && port <= b,
            Self::Between(a, b) => a < port && port < b,
            Self::Outside(a, b) => port < a || port > b,
        }
    }
}

impl Scrub {
    pub fn add(&mut self, later: &Self) {
        self.no_df |= later.no_df;
        self.random_id |= later.random_id;
        if later.min_ttl != 0 {
            self.min_ttl = later.min_ttl;
        }
        if later.max_mss != 0 {
            self.max_mss = later.max_mss;
        }
        self.set_tos = later.set_tos.or(self.set_tos);
    }
}

/// Changes what is to be changed (`pf_scrub`, `pf_normalize_mss`).
pub fn normalise(scrub: &Scrub, packet: &mut Packet, chosen: Option<&Chosen>) {
    let is_fragment = matches!(packet.body, Body::Fragment { .. });
    if scrub.no_df {
        packet.df = false;
    }
    packet.ttl = packet.ttl.max(scrub.min_ttl);
    packet.tos = scrub.set_tos.unwrap_or(packet.tos);
    if scrub.random_id && !packet.v6() && !is_fragment {
        packet.id = chosen.map_or(packet.id, |chosen| chosen.id);
    }
    if let Body::Tcp { flags, mss: Some(mss), .. } = &mut packet.body
        && *flags & SYN != 0
        && scrub.max_mss != 0
    {
        *mss = (*mss).min(scrub.max_mss);
    }
}

impl Rules {
    pub fn track_of(&self, id: usize) -> Option<Track> {
        fn find(items: &[Item], id: usize) -> Option<Track> {
            items.iter().find_map(|item| match item {
                Item::Rule(rule) => rule.keep.track.filter(|_| rule.id == id),
                Item::Anchor { items, .. } => find(items, id),
            })
        }
        find(&self.filter, id)
    }

    /// The last `ether` rule that matches decides, `quick` at once. `None`: it blocks. Else the tag that they leave.
    pub fn ether(&self, packet: &Packet) -> Option<Option<usize>> {
        let (mut block, mut tag) = (false, None);
        let (src, dst) = packet.macs();
        for rule in &self.ether {
            let mac = |test: Option<(bool, u8)>, mac: [u8; 6]| {
                test.is_none_or(|(negate, last)| (mac == [2, 0, 0, 0, 0, last]) != negate)
            };
            let matches = rule.dir.is_none_or(|dir| dir == packet.dir)
                && rule.ethertype.is_none_or(|wanted| wanted == packet.ethertype())
                && mac(rule.macs[0], src)
                && mac(rule.macs[1], dst);
            if matches {
                block = rule.block;
                tag = rule.tag.or(tag);
                if rule.quick {
                    break;
                }
            }
        }
        (!block).then_some(tag)
    }
}

impl Look<'_> {
    /// The first `scrub` rule that matches, carried out (`pf_normalize_ip`, `pf_normalize_tcp`).
    pub fn scrub(&mut self, packet: &mut Packet, chosen: Option<&Chosen>) -> Fate {
        let rules = self.rules;
        let Some(rule) = rules.scrubs.iter().find(|rule| self.matches(&rule.tests, false, packet, None)) else {
            return Fate::Pass(packet.clone());
        };
        if rule.no {
            return Fate::Pass(packet.clone());
        }
        if matches!(packet.body, Body::Fragment { .. }) && rule.reassembles {
            return Fate::Hold;
        }
        if let Body::Tcp { flags, .. } = packet.body {
            let contradicts = match flags & SYN != 0 {
                true => flags & (RST | FIN) != 0,
                false => flags & (ACK | RST) == 0 || (flags & ACK == 0 && flags & FIN != 0),
            };
            if contradicts {
                return Fate::Block;
            }
        }
        normalise(&rule.scrub, packet, chosen);
        Fate::Pass(packet.clone())
    }

    fn holds(&self, address: &Address, addr: IpAddr) -> bool {
        let holds = match &address.host {
            Host::Any => true,
            Host::Prefix(net, len) => in_prefix(addr, *net, *len),
            Host::Range(a, b) => a.is_ipv4() == addr.is_ipv4() && *a <= addr && addr <= *b,
            // The longest prefix decides.
            Host::Table(BAD) => self.bad.contains(&addr),
            Host::Table(index) => self.rules.tables[*index]
                .iter()
                .filter(|(_, net, len)| in_prefix(addr, *net, *len))
                .max_by_key(|(_, _, len)| *len)
                .is_some_and(|(negate, ..)| !negate),
        };
        holds != address.negate
    }

    /// Whether all tests hold. `keeps`: the rule keeps state, so that its flags are S/SA unless it says otherwise.
    pub fn matches(&mut self, tests: &Tests, keeps: bool, packet: &Packet, tag: Option<usize>) -> bool {
        let (sport, dport) = packet.ports().unwrap_or((0, 0));
        let has_ports = packet.ports().is_some();
        let is_fragment = matches!(packet.body, Body::Fragment { .. });
        let port = |test: Option<Port>, port| test.is_none_or(|test| has_ports && test.holds(port));
        let flags = match (&packet.body, tests.flags) {
            (Body::Tcp { flags, .. }, Flags::Of(set, of)) => flags & of == set,
            (Body::Tcp { flags, .. }, Flags::Default) if keeps => flags & (SYN | ACK) == SYN,
            // A fragment shows no flags (`pf_test_fragment`).
            (Body::Fragment { proto: 6, .. }, Flags::Of(..)) => false,
            (Body::Fragment { proto: 6, .. }, Flags::Default) if keeps => false,
            _ => true,
        };
        let icmp = tests.icmp_type.is_none_or(|wanted| match packet.body {
            Body::Icmp { kind, .. } | Body::Error { kind, .. } => kind == wanted,
            _ => false,
        });
        tests.dir.is_none_or(|dir| dir == packet.dir)
            && tests.on.is_none_or(|(negate, ours)| ours != negate)
            && tests.v6.is_none_or(|v6| v6 == packet.v6())
            && tests.proto.is_none_or(|proto| proto == packet.proto())
            && self.holds(&tests.src, packet.src)
            && port(tests.src_port, sport)
            && self.holds(&tests.dst, packet.dst)
            && port(tests.dst_port, dport)
            && flags
            && icmp
            && tests.tos.is_none_or(|tos| tos == packet.tos)
            && tests.tagged.is_none_or(|(negate, wanted)| (tag == Some(wanted)) != negate)
            && (!tests.fragment || is_fragment)
            && tests.probability.is_none_or(|percent| self.coins.toss(percent))
    }

    /// Last match wins; `quick` ends the walk.
    pub fn walk<'r>(&mut self, items: &'r [Item], packet: &Packet, walk: &mut Walk<'r>) {
        for item in items {
            if walk.done {
                return;
            }
            match item {
                Item::Rule(rule) => {
                    let keeps = rule.action == Action::Pass && rule.state;
                    if !self.matches(&rule.tests, keeps, packet, walk.tag) {
                        continue;
                    }
                    walk.tag = rule.tag.or(walk.tag);
                    if rule.action == Action::Match {
                        walk.scrub.add(&rule.scrub);
                    } else {
                        walk.last = Some(rule);
                    }
                    walk.done = rule.quick;
                }
                Item::Anchor { quick, tests, items } => {
                    if self.matches(tests, false, packet, walk.tag) {
                        let before = walk.last.take();
                        self.walk(items, packet, walk);
                        walk.done |= *quick && walk.last.is_some();
                        walk.last = walk.last.take().or(before);
                    }
                }
            }
        }
    }
}
