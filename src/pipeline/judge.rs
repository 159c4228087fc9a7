//! One frame's way: layer 2 rules, normalisation, states, and what packets without one meet (`pf_test`).
#![forbid(unsafe_code)]

use super::ahead::{Ahead, Hints};
use super::answer::Answers;
use super::note::Added;
use super::tracker::{Tracker, time_of};
use super::{Mark, Outcome, Random, Recorder, Shared, change, hold};
use crate::filter::{
    self, Action, Bound, Direction, Family, Foreseen, FragmentPolicy, List, Mismatch, Rule, Scrub, Subject, Tally,
    Timeout, Verdict, Witness,
};
use crate::flow::frag::Arrival;
use crate::flow::scrub::{Moment, normalize};
use crate::flow::state::{self, Phase, Segment, StateFlags, StateRef, Tracked, Way};
use crate::flow::table::FlowId;
use crate::flow::{FlowKey, Secret};
use crate::telemetry::{DropReason, Event, EventKind, ShardCounters};
use crate::wire::rewrite::Edit;
use crate::wire::{self, Parsed, ParsedFlags, protocol};

/// What evaluation and translation work with.
pub struct Help<'a, R> {
    pub bound: &'a Bound,
    pub shard: usize,
    pub shards: usize,
    /// Another shard found out that the frame belongs here.
    pub handed: bool,
    pub way: Way,
    pub tracker: &'a mut Tracker,
    pub random: &'a mut Random,
    pub added: &'a mut Added,
    pub recorder: &'a mut R,
    /// Of an ICMP query: the request's type.
    pub query: Option<u16>,
    /// The last `match` rule that translated.
    pub translated_by: u32,
}

impl<R> Help<'_, R> {
    /// The way, as rules call it.
    pub const fn direction(&self) -> Direction {
        match self.way {
            Way::In => Direction::In,
            Way::Out => Direction::Out,
        }
    }
}

impl<R: Recorder> Witness for Help<'_, R> {
    fn random(&mut self) -> u32 {
        self.random.bits()
    }

    fn second(&self) -> u32 {
        (time_of(self.tracker.now) / 1_000_000_000) as u32
    }

    fn is_added(&self, table: u32, family: Family, addr: &[u8; 16]) -> bool {
        self.added.contains(table, family, addr)
    }

    fn translate(&mut self, number: u32, rule: &Rule, subject: &mut Subject<'_>) -> bool {
        let pool = match self.way {
            Way::Out => &rule.nat,
            Way::In => &rule.rdr,
        };
        let Some(pool) = pool else { return true };
        self.translated_by = number;
        match self.way {
            Way::Out => self.nat(number, pool, subject),
            Way::In => self.redirect(number, rule, pool, subject),
        }
    }

    fn wants_every_look(&self) -> bool {
        self.recorder.wants_every_look()
    }

    fn saw(&mut self, list: List, number: u32, result: Result<(), Mismatch>) {
        self.recorder.saw(list, number, result);
    }
}

/// The key of a packet that a state could be about: not of a fragment, nor of an ICMP error.
#[inline]
pub fn state_key(frame: &[u8], parsed: &Parsed, way: Way) -> Option<FlowKey> {
    let none = ParsedFlags::FRAGMENT | ParsedFlags::ICMP_ERROR;
    if parsed.family == wire::Family::None || parsed.error.is_some() || parsed.flags.intersects(none) {
        return None;
    }
    state::key(frame, parsed, way)
}

/// Judges frames of one burst; see [`super::burst`].
pub struct Judge<'a, R> {
    pub help: Help<'a, R>,
    pub now_ns: u64,
    pub shared: &'a Shared,
    pub counters: &'a ShardCounters,
    pub answers: &'a mut Answers,
    pub mark: Mark,
    pub tally: Tally<'a>,
    /// A packet with a key meets nothing before its state.
    pub is_plain: bool,
    /// What filter rules say of a packet without a state can be known before its turn.
    pub foresees: bool,
    /// What they say of every packet without a state, of IPv4 and of IPv6.
    pub always: [Foreseen; 2],
    /// Nobody else has states that a packet could belong to: no other shard, nor a table whose states are moving.
    pub is_alone: bool,
    /// A packet of the burst was refused for want of a state, and an event told of it.
    pub told_full: bool,
}

impl<'a, R: Recorder> Judge<'a, R> {
    /// For one burst.
    pub fn new(
        help: Help<'a, R>,
        now_ns: u64,
        shared: &'a Shared,
        counters: &'a ShardCounters,
        answers: &'a mut Answers,
    ) -> Self {
        let bound = help.bound;
        let options = &bound.ruleset().options;
        let clears = options.reassemble && options.reassemble_no_df;
        let is_plain = !bound.skips() && !bound.has(List::Ether) && !bound.has(List::Scrub) && !clears;
        let translations = match help.way {
            Way::In => [List::Rdr, List::Binat],
            Way::Out => [List::Binat, List::Nat],
        };
        let translates = translations.into_iter().any(|list| bound.has(list));
        let foresees = is_plain && !translates && !help.recorder.wants_every_look();
        let has_others = help.tracker.has_others() && !help.handed;
        // While states move, what the table does not have may be in the one before.
        let is_alone = shared.states() == 0 || (!has_others && help.tracker.chores.old().is_none());
        help.tracker.has_made = false;
        let tally = bound.tally(help.shard);
        Self {
            help,
            now_ns,
            shared,
            counters,
            answers,
            mark: Mark::NONE,
            tally,
            is_plain,
            foresees,
            always: [Foreseen::Unknown; 2],
            is_alone,
            told_full: false,
        }
    }

    #[inline(never)]
    pub(super) fn in_full(&mut self, frame: &mut [u8], parsed: &mut Parsed, partial: bool, ahead: &Ahead) -> Outcome {
        self.mark = Mark::NONE;
        let bound = self.help.bound;
        let has_key = ahead.hints.contains(Hints::KEY);
        let key = if ahead.hints.contains(Hints::HASHED) || !has_key {
            has_key.then(|| ahead.key.key())
        } else {
            state_key(frame, parsed, self.help.way)
        };
        if bound.skips() {
            return if frame.len() < super::FRAME_MIN { Outcome::Drop(DropReason::Runt) } else { Outcome::Pass };
        }
        let found = key.as_ref().and_then(|key| self.known(key, ahead));
        if found.is_none()
            && self.help.tracker.has_others()
            && !self.help.handed
            && let Some(shard) = self.elsewhere(frame, parsed, key.as_ref())
        {
            return Outcome::Elsewhere(shard);
        }
        let mut tag = 0;
        if bound.has(List::Ether) {
            let mut subject = self.subject(frame, parsed);
            let verdict = bound.last_match(List::Ether, self.help.shard, &mut subject, &mut self.help);
            tag = subject.tag;
            if verdict.log {
                self.log(frame.len(), parsed, verdict.rule, verdict.block);
            }
            if let Some(reason) = verdict.block {
                self.mark.rule = verdict.rule;
                return Outcome::Drop(reason);
            }
        }
        if let Some(reason) = filter::malformed(parsed) {
            self.log(frame.len(), parsed, Verdict::NO_RULE, Some(reason));
            return Outcome::Drop(reason);
        }
        if parsed.family == wire::Family::None {
            return Outcome::Pass;
        }
        let scrub = match self.scrub_rules(frame, parsed, partial) {
            Ok(scrub) => scrub,
            Err(outcome) => return outcome,
        };
        if let Some(id) = found {
            if let Some(outcome) = self.follow(id, frame, parsed, partial) {
                return outcome;
            }
        } else if parsed.flags.contains(ParsedFlags::ICMP_ERROR)
            && !parsed.is_fragment()
            && let Some(outcome) = self.follow_error(frame, parsed)
        {
            return outcome;
        }
        self.by_rules(frame, parsed, partial, (key, tag, ahead.foreseen(&self.always, parsed)), &scrub)
    }

    /// The state that has this key.
    fn known(&mut self, key: &FlowKey, ahead: &Ahead) -> Option<FlowId> {
        let tracker = &mut *self.help.tracker;
        // What was not there when the burst began may have been made since.
        if ahead.is_absent() && !tracker.has_made && tracker.chores.old().is_none() {
            return None;
        }
        let (hash, inner) = if ahead.hints.contains(Hints::HASHED) {
            (ahead.hash, ahead.inner())
        } else {
            (tracker.table.hash(key), None)
        };
        tracker.find_hashed(hash, inner, key, self.help.way == Way::In)
    }

    /// The other shard that has the frame's state.
    #[cold]
    fn elsewhere(&mut self, frame: &[u8], parsed: &Parsed, key: Option<&FlowKey>) -> Option<u8> {
        let shard = match key {
            Some(key) => self.help.tracker.elsewhere(key, self.help.way == Way::In)?,
            None if parsed.flags.contains(ParsedFlags::ICMP_ERROR) && !parsed.is_fragment() => {
                let (key, hash, _) = self.error_key(frame, parsed)?;
                if self.help.tracker.find(hash, &key, self.help.way == Way::In).is_some() {
                    return None;
                }
                self.help.tracker.elsewhere(&key, self.help.way == Way::In)?
            }
            None => return None,
        };
        u8::try_from(shard).ok()
    }

    pub(super) fn subject<'b>(&self, frame: &[u8], parsed: &'b Parsed) -> Subject<'b> {
        Subject::new(self.help.direction(), frame, parsed)
    }

    /// The first `scrub` rule that matches, carried out. An error is what becomes of the frame at once: a fragment waits
    /// for the others, a segment that contradicts itself is dropped.
    fn scrub_rules(&mut self, frame: &mut [u8], parsed: &mut Parsed, partial: bool) -> Result<Scrub, Outcome> {
        let bound = self.help.bound;
        let options = &bound.ruleset().options;
        let mut reassemble = options.reassemble && !bound.has(List::Scrub); // as in `pf_normalize_ip`
        let mut scrub = Scrub { no_df: reassemble && options.reassemble_no_df, ..Scrub::NONE };
        let mut policy = FragmentPolicy::Default;
        let mut by_rule = false;
        if bound.has(List::Scrub) {
            let mut subject = self.subject(frame, parsed);
            let number = bound.first_match(List::Scrub, self.help.shard, &mut subject, &mut self.help);
            let rule = number.and_then(|number| bound.rule(number));
            if let Some(rule) = rule.filter(|rule| rule.action == Action::Scrub) {
                scrub.add(&rule.scrub);
                policy = rule.scrub.fragment;
                reassemble = policy != FragmentPolicy::NoReassemble;
                by_rule = true;
            }
        }
        if parsed.is_fragment() && reassemble {
            let strict = match policy {
                FragmentPolicy::Crop if parsed.family == wire::Family::V4 => false,
                FragmentPolicy::DropOverlap if parsed.family == wire::Family::V4 => true,
                _ => return Err(Outcome::Hold { no_df: scrub.no_df }),
            };
            let is_out = self.help.way == Way::Out;
            let zone = parsed.vlans.first().map_or(0, |tci| tci & 0x0fff) | u16::from(is_out) << 15;
            let arrival = Arrival { now: self.now_ns, zone, no_df: scrub.no_df, check_header: !is_out };
            let taken = self.help.tracker.ranges.take(frame, parsed, &arrival, strict);
            taken.map_err(|fault| Outcome::Drop(hold::reason(fault)))?;
        }
        if (by_rule || scrub.no_df)
            && let Some(mut edit) = Edit::new(frame, parsed, partial)
        {
            if by_rule && edit.parsed().flags.contains(ParsedFlags::TCP) && !normalize(&mut edit) {
                self.log(frame.len(), parsed, Verdict::NO_RULE, Some(DropReason::Normalize));
                return Err(Outcome::Drop(DropReason::Normalize));
            }
            change::scrub(&mut edit, &scrub, self.help.random);
        }
        Ok(scrub)
    }

    // ---- packets of states ----

    /// A packet of a state. `None`: the state is over, and the packet is a new one's.
    #[inline]
    fn follow(&mut self, id: FlowId, frame: &mut [u8], parsed: &mut Parsed, partial: bool) -> Option<Outcome> {
        let (bound, way) = (self.help.bound, self.help.way);
        let epoch = self.help.tracker.epoch;
        let now = self.help.tracker.now;
        let mut state = self.help.tracker.table.state_mut(id)?;
        if !state.hot.is_of_epoch(epoch) {
            // Another ruleset: the rule may have another number, or be gone; the state stays (pf_ioctl.c, DIOCXCOMMIT).
            state.hot.rule = bound.counters().number_of(state.more.rule_id).unwrap_or(Verdict::NO_RULE);
            state.hot.set_epoch(epoch);
        }
        let forward = state.hot.is_forward(way);
        let before = state.hot.lifetime;
        let mut shifts = (0, 0);
        let mut established = false;
        // What a segment with a bad timestamp has changed by then is put back.
        let saved =
            (state.hot.flags.contains(StateFlags::TIMESTAMPS)).then_some((*state.peers, state.more.phases, before));
        if state.more.protocol == protocol::TCP {
            let Some(segment) = Segment::read(frame, parsed) else {
                return Some(Outcome::Drop(DropReason::Short));
            };
            if state.hot.flags.intersects(StateFlags::PROXY_CLIENT | StateFlags::PROXY_SERVER) {
                return Some(self.proxy(id, forward, frame, parsed, &segment));
            }
            let (sender, receiver) = state.ends(forward);
            let starts = sender.low == 0 && sender.shift == 0 && receiver.shift != 0;
            match state.track_tcp(forward, &segment, true) {
                Tracked::Pass => {}
                Tracked::Established => established = true,
                Tracked::Reused => {
                    self.help.tracker.remove(Some(bound), id);
                    return None;
                }
                Tracked::Reset => {
                    self.answers.reset(way, frame, parsed, 0);
                    return Some(Outcome::Drop(DropReason::StateMismatch));
                }
                Tracked::Mismatch => return Some(Outcome::Drop(DropReason::StateMismatch)),
            }
            let (mut sender, receiver) = state.ends(forward);
            // `modulate state` is for both ends: the other one's numbers begin here.
            sender.shift |= if starts { self.help.random.bits().wrapping_sub(segment.seq).max(1) } else { 0 };
            shifts = (sender.shift, receiver.shift.wrapping_neg());
        } else {
            state.track_datagram(forward);
        }
        if filter::has_dangerous_options(parsed) && !state.hot.flags.contains(StateFlags::ALLOW_OPTS) {
            return Some(Outcome::Drop(DropReason::IpOption));
        }
        state.hot.see(now);
        state.count(way, frame.len());
        let (rule, flags, lifetime) = (state.hot.rule, state.hot.flags, state.hot.lifetime);
        let changes = StateFlags::TRANSLATED | StateFlags::SCRUB | StateFlags::TIMESTAMPS;
        if flags.intersects(changes) || shifts != (0, 0) {
            let target = *state.more.target(way);
            let scrub = scrub_of(state.as_ref());
            if let Some(mut edit) = Edit::new(frame, parsed, partial) {
                if flags.contains(StateFlags::TIMESTAMPS) {
                    let moment = moment(self.now_ns, bound, state.as_ref(), forward, &self.help.tracker.stamps);
                    if state.more.stamps.segment(&mut edit, forward, &moment).is_err() {
                        if let Some(saved) = saved {
                            (*state.peers, state.more.phases, state.hot.lifetime) = saved;
                        }
                        return Some(Outcome::Drop(DropReason::BadTimestamp));
                    }
                }
                if flags.contains(StateFlags::TRANSLATED) {
                    change::translate(&mut edit, way, &target);
                }
                if flags.contains(StateFlags::SCRUB) {
                    change::scrub(&mut edit, &scrub, self.help.random);
                }
                if shifts.0 != 0 {
                    edit.shift_seq(shifts.0);
                }
                if shifts.1 != 0 {
                    edit.shift_ack(shifts.1);
                }
            }
        }
        self.mark = Mark { rule, copied: flags.contains(StateFlags::COPY) };
        bound.count(self.help.shard, rule, frame.len());
        if lifetime != before {
            self.help.tracker.rearm(bound, id);
        }
        if flags.contains(StateFlags::LOG_ALL) {
            self.log(frame.len(), parsed, rule, None);
        }
        if established && !self.connected(id) {
            return Some(Outcome::Drop(DropReason::SrcLimit));
        }
        Some(Outcome::Pass)
    }

    /// Tells that no state was made and why. Of packets that find no room, the first of a burst is told and the others are
    /// counted as lost events: a flood is not to push everything else out of the ring.
    pub(super) fn tell_refused(&mut self, len: usize, parsed: &Parsed, rule: u32, reason: DropReason) {
        if reason == DropReason::StateLimit && core::mem::replace(&mut self.told_full, true) {
            self.counters.events_lost.add(1);
            return;
        }
        self.log(len, parsed, rule, Some(reason));
    }

    pub(super) fn log(&self, len: usize, parsed: &Parsed, rule: u32, block: Option<DropReason>) {
        let icmp = parsed.flags.contains(ParsedFlags::ICMP);
        let event = Event {
            time_ns: self.now_ns,
            kind: EventKind::Log,
            rule,
            direction: self.help.way as u8,
            action: u8::from(block.is_some()),
            reason: block.map_or(Event::NO_REASON, |reason| reason as u8),
            protocol: parsed.protocol,
            ethertype: parsed.ethertype,
            vlan: parsed.vlans.first().copied().unwrap_or(0),
            sport: if icmp { u16::from(parsed.icmp_type) } else { parsed.src_port },
            dport: if icmp { u16::from(parsed.icmp_code) } else { parsed.dst_port },
            len: u16::try_from(len).unwrap_or(u16::MAX),
            family: parsed.family as u8,
            src: parsed.src,
            dst: parsed.dst,
        };
        if !self.shared.event(self.help.shard, event) {
            self.counters.events_lost.add(1);
        }
    }
}

/// What surrounds a segment whose timestamps are looked at. What is added to them is a matter of both addresses and of
/// nothing else: to who reuses a port, the next connection's have to be later than the last one's (RFC 6191).
pub(super) fn moment(now: u64, bound: &Bound, state: StateRef<'_>, forward: bool, secret: &Secret) -> Moment {
    let [first, second] = state.more.phases;
    let modulation = if state.more.stamps.has_begun(forward) {
        0
    } else {
        let (far, near) = (state.more.wire.src(), state.more.wire.dst());
        let (from, to) = if forward == (state.hot.way == Way::In) { (far, near) } else { (near, far) };
        let between = FlowKey::new((&from, 0), (&to, 0), protocol::TCP, state.more.wire.family(), 0);
        secret.hash(&between) as u32
    };
    Moment {
        now,
        created: time_of(state.more.made),
        established: first.min(second) >= Phase::ESTABLISHED,
        leeway: bound.ruleset().options.timeouts.get(Timeout::TcpTsDiff),
        modulation,
    }
}

pub(super) fn scrub_of(state: StateRef<'_>) -> Scrub {
    Scrub {
        no_df: state.hot.flags.contains(StateFlags::NO_DF),
        random_id: state.hot.flags.contains(StateFlags::RANDOM_ID),
        min_ttl: state.more.min_ttl,
        max_mss: state.more.max_mss,
        set_tos: state.more.set_tos,
        ..Scrub::NONE
    }
}
