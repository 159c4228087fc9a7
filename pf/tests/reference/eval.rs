//! What pf does with a packet, written down as pf.conf(5) describes it: one rule after the other, states in a list.

use super::model::*;
use super::packet::*;
use super::rules::*;
use super::track::{End, State};
use super::traffic::Place;
use std::net::IpAddr;
use std::rc::Rc;

/// pf, as it stands after some packets. Where chance decides there are several.
#[derive(Clone)]
pub struct Pf {
    rules: Rc<Rules>,
    states: Vec<State>,
    /// What `overload` has added.
    bad: Vec<IpAddr>,
    now: u64,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass(Packet),
    Block,
    /// A fragment that waits for the others.
    Hold,
    /// pf's own versions differ here, or its documents say nothing.
    Unclear,
}

/// Percentage of a choice that is no rule's.
const UNSEEN: u8 = 0;

/// What the engine chose where pf leaves the choice: `nat`'s address and port, `random-id`'s number.
#[derive(Clone, Copy, Debug)]
pub struct Chosen {
    pub src: IpAddr,
    pub port: u16,
    pub id: u16,
}

/// A translation: both ends as they are now, whether the filter is skipped.
struct Translated {
    new: (End, End),
    pass: bool,
}

impl Pf {
    pub fn new(rules: Rc<Rules>) -> Self {
        Self { rules, states: Vec::new(), bad: Vec::new(), now: 0 }
    }

    pub fn states(&self) -> usize {
        self.states.len()
    }

    /// The same in all that matters later.
    pub fn is_like(&self, other: &Self) -> bool {
        self.states == other.states && self.bad == other.bad
    }

    /// Time moves on; states whose time is up are over. `None`: it is too close to tell for some of them.
    pub fn at(&mut self, now: u64) -> Option<bool> {
        // The engine's clock ticks four times a second.
        const LEEWAY: u64 = 1_000_000_000;
        let set = &self.rules.timeouts;
        if self.states.iter().any(|state| state.end(set).abs_diff(now) < LEEWAY) {
            return None;
        }
        let before = self.states.len();
        self.states.retain(|state| state.end(set) > now);
        self.now = now;
        Some(self.states.len() < before)
    }

    /// `place`: what a TCP segment is in its connection.
    pub fn packet(&mut self, packet: &Packet, place: Place, chosen: Option<&Chosen>, coins: &mut Coins) -> Fate {
        let rules = Rc::clone(&self.rules);
        let Some(tag) = rules.ether(packet) else { return Fate::Block };
        if let Body::Raw { .. } = packet.body {
            return Fate::Pass(packet.clone());
        }
        let mut packet = packet.clone();
        match (Look { rules: &rules, bad: &self.bad, coins }).scrub(&mut packet, chosen) {
            Fate::Pass(_) => {}
            other => return other,
        }
        let packet = &packet;
        if let Body::Error { about, .. } = &packet.body
            && let Some((mut translated, answered, scrub)) = self.error(packet, about)
        {
            normalise(&scrub, &mut translated, chosen);
            // A state that has seen one end only knows no window, and pf checks where an error's segment was.
            let clear = answered || about.proto() != 6;
            return if clear { Fate::Pass(translated) } else { Fate::Unclear };
        }
        if let Some(ends) = ends(packet)
            && let Some((index, src, dst)) = self.known(packet, ends)
        {
            return self.follow(index, &packet.between(src, dst), place, chosen);
        }
        self.first(packet, place, tag, chosen, coins)
    }

    /// A packet of a state; `left` has its ends already.
    fn follow(&mut self, index: usize, left: &Packet, place: Place, chosen: Option<&Chosen>) -> Fate {
        let state = &mut self.states[index];
        // `nat` may have given what one connection was called to another: to that one the numbers mean nothing.
        let plausible = place.plausible && place.connection == state.connection;
        let back = state.dir != left.dir;
        let known = !back || (state.answered && !state.began_late);
        if let Body::Tcp { flags, .. } = left.body {
            if flags & RST != 0 && state.began_late && !state.sloppy {
                // A reset must have the very number that is expected, which pf has only guessed.
                return Fate::Unclear;
            }
            if !plausible && !state.sloppy {
                state.answered |= back;
                // Of an end that was never seen, or whose start was not, anything is plausible.
                return if known { Fate::Block } else { Fate::Unclear };
            }
        }
        let connected = state.follow(left, self.now);
        let mut left = left.clone();
        normalise(&state.scrub, &mut left, chosen);
        if connected && !self.connected(index) {
            return Fate::Block;
        }
        Fate::Pass(left)
    }

    /// A handshake is over. False: it was one too many for its source, and the state is gone.
    fn connected(&mut self, index: usize) -> bool {
        let Some((source, false)) = self.states[index].source else { return true };
        self.states[index].connected = true;
        let rule = self.states[index].rule;
        let Some(track) = rule.and_then(|id| self.rules.track_of(id)) else { return true };
        let same = |state: &State| state.source == Some((source, false)) && state.rule == rule;
        let count = self.states.iter().filter(|state| state.connected && same(state)).count();
        if track.connections == 0 || count <= track.connections {
            return true;
        }
        self.states.remove(index);
        if let Some(flush) = track.overload {
            if !self.bad.contains(&source) {
                self.bad.push(source);
            }
            // States of the source, whichever end it is, as each side shows it (`pf_src_connlimit`).
            self.states.retain(|state| {
                let far = if state.dir == Dir::In { state.came.0.0 } else { state.left.1.0 };
                let near = if state.dir == Dir::In { state.left.1.0 } else { state.came.0.0 };
                let hit = match flush {
                    Flush::No => false,
                    Flush::Rule => state.rule == rule,
                    Flush::Global => true,
                };
                !(hit && (far == source || near == source))
            });
        }
        false
    }

    /// The conversation of a packet, if it is known, and where the packet goes.
    fn known(&self, packet: &Packet, (src, dst): (End, End)) -> Option<(usize, End, End)> {
        self.states.iter().enumerate().filter(|(_, state)| state.proto == packet.proto()).find_map(|(index, state)| {
            let (src, dst) = if packet.dir == state.dir {
                (state.came == (src, dst) && !is_reply(packet)).then_some(state.left)
            } else {
                (state.left == (dst, src) && is_answer(packet)).then_some((state.came.1, state.came.0))
            }?;
            Some((index, src, dst))
        })
    }

    /// An error belongs to the conversation of the packet that it is about; and whether that was answered.
    fn error(&self, packet: &Packet, about: &Packet) -> Option<(Packet, bool, Scrub)> {
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
            Some((translated, state.answered, state.scrub))
        })
    }

    /// A packet of no conversation: translation, then the rules.
    fn first(
        &mut self,
        packet: &Packet,
        place: Place,
        tag: Option<usize>,
        chosen: Option<&Chosen>,
        coins: &mut Coins,
    ) -> Fate {
        let rules = Rc::clone(&self.rules);
        let mut walk = Walk { tag, ..Walk::default() };
        let mut look = Look { rules: &rules, bad: &self.bad, coins };
        let translation = match ends(packet) {
            Some(ends) => match self.translate(&mut look, packet, ends, chosen, &mut walk) {
                Ok(translation) => translation,
                Err(fate) => return fate,
            },
            None => None,
        };
        let mut packet_now = match &translation {
            Some(Translated { new: (src, dst), .. }) => packet.between(*src, *dst),
            None => packet.clone(),
        };
        let pass = translation.as_ref().is_some_and(|translated| translated.pass);
        if !pass {
            look.walk(&rules.filter, &packet_now, &mut walk);
        }
        if walk.last.is_some_and(|rule| rule.action == Action::Block) {
            return Fate::Block;
        }
        // Nothing matched: it passes, and nothing is remembered unless it was translated.
        let keeps = pass || walk.last.is_some_and(|rule| rule.state);
        if let Some(rule) = walk.last {
            walk.scrub.add(&rule.scrub);
        }
        let came = ends(packet).filter(|_| !matches!(packet.body, Body::Error { .. }));
        if let Some(came) = came
            && (keeps || translation.is_some())
        {
            let left = translation.as_ref().map_or(came, |translated| translated.new);
            // An answer that nothing asked for; a segment that says nothing true of its connection; two conversations that
            // would look the same from one side.
            if is_reply(packet) || !place.plausible || self.states.iter().any(|state| state.clashes(packet, came, left))
            {
                return Fate::Unclear;
            }
            let mut state = State::new(packet, came, left, self.now);
            (state.scrub, state.connection) = (walk.scrub, place.connection);
            if let Some(rule) = walk.last {
                state.rule = Some(rule.id);
                let of_rule = self.states.iter().filter(|state| state.rule == Some(rule.id));
                if rule.state && rule.keep.max != 0 && of_rule.count() >= rule.keep.max {
                    return Fate::Block;
                }
                if rule.state {
                    (state.sloppy, state.timeout) = (rule.keep.sloppy, rule.keep.timeout);
                }
                if let Some(track) = rule.keep.track.filter(|_| rule.state) {
                    if translation.is_some() && packet.dir == Dir::Out {
                        // FreeBSD tracks the address that `nat` has made, OpenBSD the one before.
                        return Fate::Unclear;
                    }
                    if !self.may_have_another(rule.id, &track, packet.src) {
                        return Fate::Block;
                    }
                    state.source = Some((packet.src, track.global));
                }
            }
            self.states.push(state);
        }
        normalise(&walk.scrub, &mut packet_now, chosen);
        Fate::Pass(packet_now)
    }

    /// Whether limits allow a source another state (`pf_insert_src_node`).
    fn may_have_another(&self, rule: usize, track: &Track, source: IpAddr) -> bool {
        let of_source =
            |state: &&State| state.source == Some((source, track.global)) && (track.global || state.rule == Some(rule));
        let states = self.states.iter().filter(of_source).count();
        if track.nodes != 0 && states == 0 {
            let mut sources: Vec<IpAddr> = self
                .states
                .iter()
                .filter(|state| state.rule == Some(rule))
                .filter_map(|state| state.source.map(|(source, _)| source))
                .collect();
            sources.sort_unstable();
            sources.dedup();
            if sources.len() >= track.nodes {
                return false;
            }
        }
        track.states == 0 || states < track.states
    }

    /// First match wins in each list; the lists in pf's order (`pf_get_translation`). `no` ends its own list only.
    fn translate(
        &self,
        look: &mut Look,
        packet: &Packet,
        (src, dst): (End, End),
        chosen: Option<&Chosen>,
        walk: &mut Walk,
    ) -> Result<Option<Translated>, Fate> {
        let order = match packet.dir {
            Dir::Out => [Kind::Binat, Kind::Nat],
            Dir::In => [Kind::Rdr, Kind::Binat],
        };
        for kind in order {
            let rules = look.rules;
            let Some(found) = rules.translations.iter().filter(|rule| rule.kind == kind).find(|rule| {
                // An arriving packet meets `binat` from its other side.
                if kind == Kind::Binat && packet.dir == Dir::In && !rule.no {
                    let mut outside = rule.tests.clone();
                    (outside.src, outside.dst) = (rule.tests.dst.clone(), Address::ANY);
                    packet.dst == rule.to && look.matches(&outside, false, packet, walk.tag)
                } else {
                    look.matches(&rule.tests, false, packet, walk.tag)
                }
            }) else {
                continue;
            };
            walk.tag = found.tag.or(walk.tag);
            let new = match (kind, packet.dir, &found.tests.src.host) {
                _ if found.no => continue,
                (Kind::Rdr, ..) => {
                    (src, (found.to, found.to_port.filter(|_| packet.ports().is_some()).unwrap_or(dst.1)))
                }
                (Kind::Binat, Dir::In, Host::Prefix(inside, _)) => (src, (*inside, dst.1)),
                (Kind::Nat, ..) => {
                    let end = self.nat(found, packet, (src, dst), chosen, look.coins)?;
                    // Both ends of a query have its identifier.
                    (end, if is_query(packet) { (dst.0, end.1) } else { dst })
                }
                _ => ((found.to, src.1), dst),
            };
            if new == (src, dst) {
                // To what it is already: as if there had been no rule.
                return Ok(None);
            }
            return Ok(Some(Translated { new, pass: found.pass }));
        }
        Ok(None)
    }

    /// The source that `nat` gives: pf may take any address of the pool and any port of the range, but none that would
    /// make this conversation look like another (`pf_get_sport`).
    fn nat(
        &self,
        rule: &Translation,
        packet: &Packet,
        (src, dst): (End, End),
        chosen: Option<&Chosen>,
        coins: &mut Coins,
    ) -> Result<End, Fate> {
        let taken = |end: End| {
            self.states.iter().filter(|state| state.proto == packet.proto()).any(|state| {
                let shown = if state.dir == Dir::Out { state.left } else { (state.came.1, state.came.0) };
                shown == (end, if is_query(packet) { (dst.0, end.1) } else { dst })
            })
        };
        let ports = match rule.ports {
            Some(_) if is_query(packet) => Some((1, u16::MAX)),
            Some(ports) if packet.ports().is_some() => Some(ports),
            _ => None,
        };
        let addresses = [Some(rule.to), rule.or];
        let free = |addr: IpAddr| match ports {
            Some((low, high)) => (low..=high).any(|port| !taken((addr, port))),
            None => !taken((addr, src.1)),
        };
        let Some(chosen) = chosen else {
            // The engine did not let it pass: fine if there is nothing to choose. Else it has chosen something that rules
            // have blocked, and one port of the range is to them like another.
            let mut free = addresses.into_iter().flatten().filter(|addr| free(*addr));
            let Some(first) = free.next() else { return Err(Fate::Block) };
            let addr = free.next().filter(|_| coins.toss(UNSEEN)).unwrap_or(first);
            let port = ports.and_then(|(low, high)| (low..=high).find(|port| !taken((addr, *port))));
            return Ok((addr, port.unwrap_or(src.1)));
        };
        let port = if ports.is_some() { chosen.port } else { src.1 };
        let end = (chosen.src, port);
        let fits = addresses.contains(&Some(chosen.src))
            && ports.is_none_or(|(low, high)| (low..=high).contains(&port))
            && !taken(end);
        // Nothing that it could be: the comparison will show it.
        Ok(if fits { end } else { (rule.to, 0) })
    }
}
