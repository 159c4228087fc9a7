//! One frame's way: layer 2 rules, normalisation, states, translation, filter rules, a new state
//! (`pf_test`, `pf_test_rule`).
#![forbid(unsafe_code)]

use super::ahead::Ahead;
use super::answer::Answers;
use super::note::Added;
use super::tracker::{Refused, Tracker, time_of};
use super::{Mark, Outcome, Random, Recorder, Shared, change};
use crate::filter::{
    self, Action, Bound, Direction, Family, Foreseen, FragmentPolicy, List, Mismatch, Rule, RuleFlags, Scrub,
    SourceTrack, StateMode, Subject, Timeout, Verdict, Witness,
};
use crate::flow::FlowKey;
use crate::flow::scrub::{Moment, normalize};
use crate::flow::state::{self, Lifetime, Phase, Segment, State, StateFlags, Tracked, Way};
use crate::flow::table::FlowId;
use crate::telemetry::{DropReason, Event, EventKind, ShardCounters};
use crate::wire::rewrite::Edit;
use crate::wire::{self, Parsed, ParsedFlags, protocol, tcp};

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

/// Judges frames of one burst.
pub struct Judge<'a, R> {
    pub help: Help<'a, R>,
    pub now_ns: u64,
    pub shared: &'a Shared,
    pub counters: &'a ShardCounters,
    pub answers: &'a mut Answers,
    pub mark: Mark,
    /// A packet with a key meets nothing before its state.
    pub is_plain: bool,
    /// What filter rules say of a packet without a state can be known before its turn.
    pub foresees: bool,
    /// No other shard has states that a packet could belong to.
    pub is_alone: bool,
}

/// What rules said about a packet without a state.
struct Ruling {
    verdict: Verdict,
    /// The rule that translated it; [`Verdict::NO_RULE`] = none.
    translation: u32,
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
        let is_alone = !help.tracker.has_others() || help.handed || shared.states() == 0;
        help.tracker.has_made = false;
        Self { help, now_ns, shared, counters, answers, mark: Mark::NONE, is_plain, foresees, is_alone }
    }

    /// Judges a frame that comes alone, and changes it.
    pub fn alone(&mut self, frame: &mut [u8], parsed: &mut Parsed, partial: bool) -> Outcome {
        let mut ahead = Ahead::default();
        self.look_ahead(&mut ahead, frame, parsed);
        self.look_closer(&mut ahead);
        self.foresee(core::slice::from_mut(&mut ahead), core::slice::from_ref(parsed));
        self.frame(frame, parsed, partial, &ahead)
    }

    /// Judges one frame, and changes it.
    #[inline(always)]
    pub fn frame(&mut self, frame: &mut [u8], parsed: &mut Parsed, partial: bool, ahead: &Ahead) -> Outcome {
        self.mark = Mark::NONE;
        if self.is_plain && ahead.has_key {
            let tracker = &mut *self.help.tracker;
            let moment = (tracker.epoch, tracker.now);
            if let Some(state) = tracker.table.candidate_mut(ahead.candidate, &ahead.key)
                && state.note_ordinary(self.help.way, moment, frame, parsed)
            {
                self.mark = Mark { rule: state.rule, copied: false };
                self.help.bound.count(self.help.shard, state.rule, frame.len());
                return Outcome::Pass;
            }
            let is_new = ahead.is_absent() && !self.help.tracker.has_made && self.is_alone;
            if is_new && !parsed.flags.contains(ParsedFlags::IP_OPTIONS) {
                let (rule, outcome) = match ahead.foreseen {
                    Foreseen::Pass(rule) => (rule, Outcome::Pass),
                    Foreseen::Drop(rule) => (rule, Outcome::Drop(DropReason::Match)),
                    _ => return self.in_full(frame, parsed, partial, ahead),
                };
                self.mark = Mark { rule, copied: false };
                self.help.bound.count_decision(self.help.shard, rule, frame.len());
                return outcome;
            }
        }
        self.in_full(frame, parsed, partial, ahead)
    }

    #[inline(never)]
    fn in_full(&mut self, frame: &mut [u8], parsed: &mut Parsed, partial: bool, ahead: &Ahead) -> Outcome {
        let bound = self.help.bound;
        let key = if ahead.is_hashed || !ahead.has_key {
            ahead.has_key.then_some(ahead.key)
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
        self.by_rules(frame, parsed, partial, (key, tag, ahead.foreseen), &scrub)
    }

    /// The state that has this key.
    fn known(&self, key: &FlowKey, ahead: &Ahead) -> Option<FlowId> {
        let tracker = &*self.help.tracker;
        // What was not there when the burst began may have been made since.
        if ahead.is_absent() && !tracker.has_made {
            return None;
        }
        let hash = if ahead.is_hashed { ahead.hash } else { tracker.table.hash(key) };
        tracker.find(hash, key, self.help.way == Way::In)
    }

    /// The other shard that has the frame's state.
    #[cold]
    fn elsewhere(&self, frame: &[u8], parsed: &Parsed, key: Option<&FlowKey>) -> Option<u8> {
        let shard = match key {
            Some(key) => self.help.tracker.elsewhere(key)?,
            None if parsed.flags.contains(ParsedFlags::ICMP_ERROR) && !parsed.is_fragment() => {
                let (key, hash, _) = self.error_key(frame, parsed)?;
                if self.help.tracker.find(hash, &key, self.help.way == Way::In).is_some() {
                    return None;
                }
                self.help.tracker.elsewhere(&key)?
            }
            None => return None,
        };
        u8::try_from(shard).ok()
    }

    fn subject<'b>(&self, frame: &[u8], parsed: &'b Parsed) -> Subject<'b> {
        Subject::new(self.help.direction(), frame, parsed)
    }

    /// The first `scrub` rule that matches, carried out. An error is what becomes of the frame at once: a fragment waits
    /// for the others, a segment that contradicts itself is dropped.
    fn scrub_rules(&mut self, frame: &mut [u8], parsed: &mut Parsed, partial: bool) -> Result<Scrub, Outcome> {
        let bound = self.help.bound;
        let options = &bound.ruleset().options;
        let mut reassemble = options.reassemble && !bound.has(List::Scrub); // as in `pf_normalize_ip`
        let mut scrub = Scrub { no_df: reassemble && options.reassemble_no_df, ..Scrub::NONE };
        let mut by_rule = false;
        if bound.has(List::Scrub) {
            let mut subject = self.subject(frame, parsed);
            let number = bound.first_match(List::Scrub, self.help.shard, &mut subject, &mut self.help);
            let rule = number.and_then(|number| bound.rule(number));
            if let Some(rule) = rule.filter(|rule| rule.action == Action::Scrub) {
                scrub.add(&rule.scrub);
                reassemble = rule.scrub.fragment != FragmentPolicy::NoReassemble;
                by_rule = true;
            }
        }
        if parsed.is_fragment() && reassemble {
            return Err(Outcome::Hold { no_df: scrub.no_df });
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
        let state = self.help.tracker.table.get_mut(id)?;
        if !state.is_of_epoch(epoch) {
            // Another ruleset: the rule may have another number, or be gone; the state stays (pf_ioctl.c, DIOCXCOMMIT).
            state.rule = bound.counters().number_of(state.rule_id).unwrap_or(Verdict::NO_RULE);
            state.set_epoch(epoch);
        }
        let forward = state.is_forward(way);
        let before = state.lifetime;
        let mut shifts = (0, 0);
        let mut established = false;
        if state.protocol == protocol::TCP {
            let Some(segment) = Segment::read(frame, parsed) else {
                return Some(Outcome::Drop(DropReason::Short));
            };
            if state.flags.intersects(StateFlags::PROXY_CLIENT | StateFlags::PROXY_SERVER) {
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
            let (sender, receiver) = state.ends(forward);
            // `modulate state` is for both ends: the other one's numbers begin here.
            sender.shift |= if starts { self.help.random.bits().wrapping_sub(segment.seq).max(1) } else { 0 };
            shifts = (sender.shift, receiver.shift.wrapping_neg());
        } else {
            state.track_datagram(forward);
        }
        if filter::has_dangerous_options(parsed) && !state.flags.contains(StateFlags::ALLOW_OPTS) {
            return Some(Outcome::Drop(DropReason::IpOption));
        }
        state.see(now);
        state.count(forward, frame.len());
        let (rule, flags, lifetime) = (state.rule, state.flags, state.lifetime);
        let changes = StateFlags::TRANSLATED | StateFlags::SCRUB | StateFlags::TIMESTAMPS;
        if flags.intersects(changes) || shifts != (0, 0) {
            let target = *state.target(way);
            let scrub = scrub_of(state);
            if let Some(mut edit) = Edit::new(frame, parsed, partial) {
                if flags.contains(StateFlags::TIMESTAMPS) {
                    let moment = moment(self.now_ns, bound, state, self.help.random);
                    if state.stamps.segment(&mut edit, forward, &moment).is_err() {
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

    // ---- packets without a state ----

    fn by_rules(
        &mut self,
        frame: &mut [u8],
        parsed: &mut Parsed,
        partial: bool,
        (key, tag, foreseen): (Option<FlowKey>, u16, Foreseen),
        scrub: &Scrub,
    ) -> Outcome {
        let (bound, way) = (self.help.bound, self.help.way);
        let original = *parsed;
        let mut subject = Subject { tag, ..self.subject(frame, &original) };
        self.help.query = None;
        self.help.translated_by = Verdict::NO_RULE;
        if let Some(key) = &key
            && let Some(request) = state::icmp_request(parsed.protocol, parsed.icmp_type)
        {
            subject.src_port = key.src_port();
            self.help.query = Some(u16::from(request));
        }
        let Ruling { verdict, translation } = match self.ruling(&mut subject, key.is_some(), foreseen) {
            Ok(ruling) => ruling,
            Err(reason) => {
                self.log(frame.len(), parsed, Verdict::NO_RULE, Some(reason));
                return Outcome::Drop(reason);
            }
        };
        let Verdict { rule: number, log, .. } = verdict;
        self.mark = Mark { rule: number, copied: verdict.copy };
        // `dup-to` shows a packet in the event ring, too; there is no other interface to send it to.
        if log || verdict.copy {
            self.log(frame.len(), parsed, number, verdict.block);
        }
        let rule = bound.rule(number);
        if let Some(reason) = verdict.block {
            if let Some(rule) = rule.filter(|_| reason == DropReason::Match) {
                self.answers.blocked(rule.answer, way, frame, parsed);
            }
            return Outcome::Drop(reason);
        }
        let translated = (subject.src, subject.dst, subject.dst_port) != (parsed.src, parsed.dst, parsed.dst_port)
            || (subject.src_port != parsed.src_port && self.help.query.is_none())
            || key.is_some_and(|key| self.help.query.is_some() && key.src_port() != subject.src_port);
        let keeps = rule.is_some_and(|rule| rule.state.mode != StateMode::No)
            || translated
            || bound.rule(translation).is_some_and(|rule| rule.flags.contains(RuleFlags::TRANSLATE_PASS));
        let mut all = *scrub;
        all.add(&verdict.scrub);
        if let Some(key) = key.filter(|_| keeps) {
            let target = self.target(&key, &subject);
            let made = self.make_state(frame, parsed, (key, target), (&verdict, translation, subject.tag), &all);
            let id = match made {
                Ok(id) => id,
                Err(reason) => {
                    self.log(frame.len(), parsed, number, Some(reason));
                    return Outcome::Drop(reason);
                }
            };
            let Some(id) = id else {
                // The handshake is proxied: the SYN ends here.
                return Outcome::Drop(DropReason::Synproxy);
            };
            let Some(state) = self.help.tracker.table.get_mut(id) else { return Outcome::Drop(DropReason::Memory) };
            let shift = state.peers.first().map_or(0, |peer| peer.shift);
            if let Some(mut edit) = Edit::new(frame, parsed, partial) {
                if state.flags.contains(StateFlags::TIMESTAMPS) {
                    let moment = moment(self.now_ns, bound, state, self.help.random);
                    // The first segment of a connection contradicts nothing.
                    let _ = state.stamps.segment(&mut edit, true, &moment);
                }
                if target != key {
                    change::translate(&mut edit, way, &target);
                }
                if verdict.scrub != Scrub::NONE {
                    change::scrub(&mut edit, &verdict.scrub, self.help.random);
                }
                if shift != 0 {
                    edit.shift_seq(shift);
                }
            }
            return Outcome::Pass;
        }
        if verdict.scrub != Scrub::NONE
            && let Some(mut edit) = Edit::new(frame, parsed, partial)
        {
            change::scrub(&mut edit, &verdict.scrub, self.help.random);
        }
        Outcome::Pass
    }

    /// The key with which a packet of this key leaves.
    fn target(&self, key: &FlowKey, subject: &Subject<'_>) -> FlowKey {
        let p = subject.parsed;
        let (far, near) = match self.help.way {
            Way::In => ((subject.src, subject.src_port), (subject.dst, subject.dst_port)),
            Way::Out => ((subject.dst, subject.dst_port), (subject.src, subject.src_port)),
        };
        match self.help.query {
            // Of a solicitation the key has the target, which nothing translates.
            Some(_) if p.icmp_type == wire::icmp::NEIGHBOR_SOLICIT || p.icmp_type == wire::icmp::NEIGHBOR_ADVERT => {
                *key
            }
            Some(request) => FlowKey::new((&far.0, subject.src_port), (&near.0, request), p.protocol, p.family, 0),
            None => FlowKey::new((&far.0, far.1), (&near.0, near.1), p.protocol, p.family, 0),
        }
    }

    /// Translation rules, then filter rules.
    fn ruling(&mut self, subject: &mut Subject<'_>, can_keep: bool, foreseen: Foreseen) -> Result<Ruling, DropReason> {
        let (bound, shard, way) = (self.help.bound, self.help.shard, self.help.way);
        if let Some(verdict) = bound.foreseen(foreseen, shard, subject.parsed, subject.len) {
            return Ok(Ruling { verdict, translation: Verdict::NO_RULE });
        }
        let mut translation = Verdict::NO_RULE;
        let lists = match way {
            Way::In => [List::Rdr, List::Binat],
            Way::Out => [List::Binat, List::Nat],
        };
        for list in lists {
            // What no state can be about could not be translated back.
            if !can_keep || !bound.has(list) {
                continue;
            }
            let Some(number) = bound.first_match(list, shard, subject, &mut self.help) else { continue };
            let Some(rule) = bound.rule(number) else { continue };
            let before = (subject.src, subject.src_port, subject.dst, subject.dst_port);
            let found = match (rule.action, &rule.nat, &rule.rdr) {
                (Action::Nat, Some(pool), _) => self.help.nat(number, pool, subject),
                (Action::Binat, Some(pool), _) => self.help.binat(rule, pool, subject),
                (Action::Rdr, _, Some(pool)) => self.help.redirect(number, rule, pool, subject),
                // `no binat` and its kin end their own list only (`pf_get_translation`).
                _ => continue,
            };
            if !found {
                return Err(DropReason::InvalidPort);
            }
            if before == (subject.src, subject.src_port, subject.dst, subject.dst_port) {
                // To what it is already: as if there had been no rule, `pass` included.
                break;
            }
            translation = number;
            if rule.flags.contains(RuleFlags::TRANSLATE_PASS) {
                let log = rule.flags.contains(RuleFlags::LOG);
                return Ok(Ruling { verdict: Verdict { rule: number, log, ..Verdict::PASS }, translation });
            }
            break;
        }
        let mut verdict = bound.last_match(List::Filter, shard, subject, &mut self.help);
        if verdict.block.is_none()
            && can_keep
            && let Some(rule) = bound.rule(verdict.rule)
            && !self.help.translate(verdict.rule, rule, subject)
        {
            verdict.block = Some(DropReason::InvalidPort);
        }
        if self.help.translated_by != Verdict::NO_RULE {
            translation = self.help.translated_by;
        }
        Ok(Ruling { verdict, translation })
    }

    /// Makes the state of a packet that passed; `None`: its handshake is proxied.
    fn make_state(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        (key, target): (FlowKey, FlowKey),
        (verdict, translation, tag): (&Verdict, u32, u16),
        scrub: &Scrub,
    ) -> Result<Option<FlowId>, DropReason> {
        let (bound, way) = (self.help.bound, self.help.way);
        let number = verdict.rule;
        let rule = bound.rule(number);
        let life = bound.counters().life(number);
        let options = rule.map(|rule| rule.state).unwrap_or_default();
        // Under a flood this is what becomes of most packets: nothing is made only to be refused. The key was looked for
        // and is free, so that there is no other reason.
        let counts = options.max != 0 || options.source_track != SourceTrack::No;
        if !counts && key == target && !self.help.tracker.has_room(bound) {
            return Err(DropReason::StateLimit);
        }
        let (wire, stack) = if way == Way::In { (key, target) } else { (target, key) };
        let mut state = State::new(way, parsed.protocol, wire, stack, self.help.tracker.now);
        state.set_epoch(self.help.tracker.epoch);
        state.rule = number;
        state.rule_id = life.map_or(0, |life| life.id);
        state.translation = translation;
        state.tag = tag;
        let mut set = |flag, on: bool| state.flags.set(flag, on);
        let flags = rule.map_or(RuleFlags::empty(), |rule| rule.flags);
        set(StateFlags::SLOPPY, options.sloppy);
        set(StateFlags::LOG_ALL, flags.contains(RuleFlags::LOG_ALL) || verdict.copy);
        set(StateFlags::COPY, verdict.copy);
        set(StateFlags::ALLOW_OPTS, flags.contains(RuleFlags::ALLOW_OPTS));
        set(StateFlags::SCRUB, verdict.scrub != Scrub::NONE);
        set(StateFlags::NO_DF, verdict.scrub.no_df);
        set(StateFlags::RANDOM_ID, verdict.scrub.random_id);
        (state.min_ttl, state.max_mss) = (verdict.scrub.min_ttl, verdict.scrub.max_mss);
        state.set_tos = verdict.scrub.set_tos;
        let segment = if parsed.protocol == protocol::TCP { Segment::read(frame, parsed) } else { None };
        let mut proxied = false;
        if let Some(segment) = &segment {
            state.open(segment);
            state.flags.set(StateFlags::TIMESTAMPS, scrub.reassemble_tcp);
            let is_syn = segment.flags & (tcp::SYN | tcp::ACK) == tcp::SYN;
            proxied = is_syn && options.mode == StateMode::Synproxy && way == Way::In;
            if is_syn && options.mode == StateMode::Modulate {
                // An initial sequence number that cannot be guessed (RFC 6528), whatever the sender's is.
                let shift = self.help.random.bits().wrapping_sub(segment.seq);
                if let Some(first) = state.peers.first_mut() {
                    first.shift = if shift == 0 { 1 } else { shift };
                }
            }
        } else {
            state.track_datagram(true);
            state.lifetime = match parsed.protocol {
                protocol::UDP => Lifetime::UdpFirst,
                protocol::ICMP | protocol::ICMPV6 => Lifetime::IcmpFirst,
                _ => Lifetime::OtherFirst,
            };
        }
        state.count(true, frame.len());
        if options.source_track != SourceTrack::No {
            state.source = self.track_source(&options, parsed, &state)?;
        }
        if let Some(life) = life
            && !life.add_state(options.max)
        {
            self.forget_source(state.source);
            return Err(DropReason::StateLimit);
        }
        let source = state.source;
        let id = match self.help.tracker.insert(bound, state) {
            Ok(id) => id,
            Err(refused) => {
                if let Some(life) = life {
                    life.remove_state();
                }
                self.forget_source(source);
                return Err(match refused {
                    Refused::Full => DropReason::StateLimit,
                    Refused::Taken => DropReason::StateInsert,
                });
            }
        };
        if proxied && let Some(segment) = &segment {
            self.proxy_begin(id, frame, parsed, segment);
            return Ok(None);
        }
        Ok(Some(id))
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

/// What surrounds a segment whose timestamps are looked at.
fn moment(now: u64, bound: &Bound, state: &State, random: &mut Random) -> Moment {
    let [first, second] = &state.peers;
    Moment {
        now,
        created: time_of(state.made),
        established: first.phase.min(second.phase) >= Phase::ESTABLISHED,
        leeway: bound.ruleset().options.timeouts.get(Timeout::TcpTsDiff),
        random: random.bits(),
    }
}

pub(super) fn scrub_of(state: &State) -> Scrub {
    Scrub {
        no_df: state.flags.contains(StateFlags::NO_DF),
        random_id: state.flags.contains(StateFlags::RANDOM_ID),
        min_ttl: state.min_ttl,
        max_mss: state.max_mss,
        set_tos: state.set_tos,
        ..Scrub::NONE
    }
}
