//! What pf does with a packet, written down as pf.conf(5) describes it: one rule after the other, states in a list.

use super::model::*;
use super::packet::*;
use std::net::IpAddr;

/// One end of a conversation: address, and port or ICMP identifier.
type End = (IpAddr, u16);

/// A conversation that may go on.
#[derive(Clone, Debug)]
struct State {
    proto: u8,
    dir: Dir,
    /// The first packet's ends, as it came and as it left.
    came: (End, End),
    left: (End, End),
    /// Something came back.
    answered: bool,
    /// It began in the middle: pf guesses at the other end's window, and may let that end do anything.
    began_late: bool,
}

impl State {
    /// Whether another conversation of these ends could not be told from this one.
    fn clashes(&self, packet: &Packet, came: (End, End), left: (End, End)) -> bool {
        let (first, second) = if packet.dir == self.dir { (came, left) } else { ((left.1, left.0), (came.1, came.0)) };
        self.proto == packet.proto() && (self.came == first || self.left == second)
    }
}

#[derive(Default)]
pub struct Pf {
    rules: Rules,
    states: Vec<State>,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass(Packet),
    Block,
    /// pf's own versions differ here, or its documents say nothing.
    Unclear,
}

/// What a walk through the filter rules has found.
#[derive(Default)]
struct Walk {
    last: Option<(Action, bool)>,
    tag: Option<usize>,
    done: bool,
}

impl Pf {
    pub fn new(rules: Rules) -> Self {
        Self { rules, states: Vec::new() }
    }

    pub fn states(&self) -> usize {
        self.states.len()
    }

    /// Long enough for every state to be gone.
    pub fn forget_all(&mut self) {
        self.states.clear();
    }

    /// `plausible`: a TCP segment that its connection's ends could have sent, in order.
    pub fn packet(&mut self, packet: &Packet, plausible: bool) -> Fate {
        if let Body::Error { about, .. } = &packet.body
            && let Some((translated, answered)) = self.error(packet, about)
        {
            // A state that has seen one end only knows no window, and pf checks where an error's segment was.
            let clear = answered || about.proto() != 6;
            return if clear { Fate::Pass(translated) } else { Fate::Unclear };
        }
        if let Some(ends) = ends(packet)
            && let Some((state, src, dst)) = self.known(packet, ends)
        {
            let back = state.dir != packet.dir;
            let known = !back || (state.answered && !state.began_late);
            state.answered |= back;
            if let Body::Tcp { flags, .. } = packet.body
                && flags & RST != 0
                && state.began_late
            {
                // A reset must have the very number that is expected, which pf has only guessed.
                return Fate::Unclear;
            }
            return match (plausible, known) {
                (true, _) => Fate::Pass(packet.between(src, dst)),
                (false, true) => Fate::Block,
                // Of an end that was never seen, or whose start was not, anything is plausible.
                (false, false) => Fate::Unclear,
            };
        }
        self.first(packet, plausible)
    }

    /// The conversation of a packet, if it is known, and where the packet goes.
    fn known(&mut self, packet: &Packet, (src, dst): (End, End)) -> Option<(&mut State, End, End)> {
        self.states.iter_mut().filter(|state| state.proto == packet.proto()).find_map(|state| {
            let (src, dst) = if packet.dir == state.dir {
                (state.came == (src, dst) && !is_reply(packet)).then_some(state.left)
            } else {
                (state.left == (dst, src) && is_answer(packet)).then_some((state.came.1, state.came.0))
            }?;
            Some((state, src, dst))
        })
    }

    /// An error belongs to the conversation of the packet that it is about; and whether that was answered.
    fn error(&self, packet: &Packet, about: &Packet) -> Option<(Packet, bool)> {
        let (src, dst) = ends(about)?;
        self.states.iter().filter(|state| state.proto == about.proto()).find_map(|state| {
            // The packet inside went the other way.
            let inner = if packet.dir != state.dir {
                (state.left == (src, dst)).then_some(state.came)
            } else {
                (state.came == (dst, src)).then_some((state.left.1, state.left.0))
            }?;
            let mut translated = packet.clone();
            // It comes from one end of that packet and is for the other.
            (translated.src, translated.dst) = (inner.1.0, inner.0.0);
            if let Body::Error { about: inside, .. } = &mut translated.body {
                **inside = about.between(inner.0, inner.1);
            }
            Some((translated, state.answered))
        })
    }

    /// A packet of no conversation: translation, then the rules.
    fn first(&mut self, packet: &Packet, plausible: bool) -> Fate {
        let mut walk = Walk::default();
        let rules = self.rules.clone();
        let translation = ends(packet).and_then(|ends| {
            let found = rules.translate(packet, ends, &mut walk);
            found.map(|(new, pass)| (ends, new, pass))
        });
        let (packet_now, pass) = match &translation {
            Some((_, (src, dst), pass)) => (packet.between(*src, *dst), *pass),
            None => (packet.clone(), false),
        };
        if !pass {
            rules.walk(&rules.filter, &packet_now, &mut walk);
        } else {
            walk.last = Some((Action::Pass, true));
        }
        // Nothing matched: it passes, and nothing is remembered.
        let (action, keeps) = walk.last.unwrap_or((Action::Pass, false));
        if action == Action::Block {
            return Fate::Block;
        }
        if let Some(came) = ends(packet)
            && (keeps || translation.is_some())
            && !matches!(packet.body, Body::Error { .. })
        {
            let left = translation.map_or(came, |(_, new, _)| new);
            // An answer that nothing asked for; a segment that says nothing true of its connection; two conversations that
            // would look the same from one side.
            if is_reply(packet) || !plausible || self.states.iter().any(|state| state.clashes(packet, came, left)) {
                return Fate::Unclear;
            }
            let began_late = matches!(packet.body, Body::Tcp { flags, .. } if flags & (SYN | ACK) != SYN);
            self.states.push(State { proto: packet.proto(), dir: packet.dir, came, left, answered: false, began_late });
        }
        Fate::Pass(packet_now)
    }
}

/// An ICMP message that only answers.
fn is_reply(packet: &Packet) -> bool {
    matches!(packet.body, Body::Icmp { kind: 0 | 129, .. })
}

/// What may come back: anything but an ICMP query.
fn is_answer(packet: &Packet) -> bool {
    !matches!(packet.body, Body::Icmp { kind: 8 | 128, .. })
}

/// Both ends; `None` for an ICMP error, which is no conversation.
fn ends(packet: &Packet) -> Option<(End, End)> {
    let (sport, dport) = match packet.body {
        Body::Icmp { id, .. } => (id, id),
        Body::Error { .. } => return None,
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

impl Rules {
    fn holds(&self, address: &Address, addr: IpAddr) -> bool {
        let holds = match &address.host {
            Host::Any => true,
            Host::Prefix(net, len) => in_prefix(addr, *net, *len),
            Host::Range(a, b) => a.is_ipv4() == addr.is_ipv4() && *a <= addr && addr <= *b,
            // The longest prefix decides.
            Host::Table(index) => self.tables[*index]
                .iter()
                .filter(|(_, net, len)| in_prefix(addr, *net, *len))
                .max_by_key(|(_, _, len)| *len)
                .is_some_and(|(negate, ..)| !negate),
        };
        holds != address.negate
    }

    /// Whether all tests hold. `keeps`: the rule keeps state, so that its flags are S/SA unless it says otherwise.
    fn matches(&self, tests: &Tests, keeps: bool, packet: &Packet, tag: Option<usize>) -> bool {
        let (sport, dport) = packet.ports().unwrap_or((0, 0));
        let has_ports = packet.ports().is_some();
        let port = |test: Option<Port>, port| test.is_none_or(|test| has_ports && test.holds(port));
        let flags = match (&packet.body, tests.flags) {
            (Body::Tcp { flags, .. }, Flags::Of(set, of)) => flags & of == set,
            (Body::Tcp { flags, .. }, Flags::Default) if keeps => flags & (SYN | ACK) == SYN,
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
    }

    /// Last match wins; `quick` ends the walk.
    fn walk(&self, items: &[Item], packet: &Packet, walk: &mut Walk) {
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
                    if rule.action != Action::Match {
                        walk.last = Some((rule.action, keeps));
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

    /// First match wins in each list; the lists in pf's order (`pf_get_translation`). `no` ends its own list only.
    fn translate(&self, packet: &Packet, (src, dst): (End, End), walk: &mut Walk) -> Option<((End, End), bool)> {
        let order = match packet.dir {
            Dir::Out => [Kind::Binat, Kind::Nat],
            Dir::In => [Kind::Rdr, Kind::Binat],
        };
        let found = order.into_iter().find_map(|kind| {
            let found = self.translations.iter().filter(|rule| rule.kind == kind).find(|rule| {
                // An arriving packet meets `binat` from its other side.
                if kind == Kind::Binat && packet.dir == Dir::In && !rule.no {
                    let mut outside = rule.tests.clone();
                    (outside.src, outside.dst) = (rule.tests.dst.clone(), Address::ANY);
                    packet.dst == rule.to && self.matches(&outside, false, packet, walk.tag)
                } else {
                    self.matches(&rule.tests, false, packet, walk.tag)
                }
            })?;
            walk.tag = found.tag.or(walk.tag);
            let new = match (kind, packet.dir, &found.tests.src.host) {
                _ if found.no => return None,
                (Kind::Rdr, ..) => {
                    (src, (found.to, found.to_port.filter(|_| packet.ports().is_some()).unwrap_or(dst.1)))
                }
                (Kind::Binat, Dir::In, Host::Prefix(inside, _)) => (src, (*inside, dst.1)),
                _ => ((found.to, src.1), dst),
            };
            Some((new, found.pass))
        });
        // To what it is already: as if there had been no rule.
        found.filter(|(new, _)| *new != (src, dst))
    }
}
