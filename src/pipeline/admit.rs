//! A packet without a state: translation rules, filter rules, a new state (`pf_test_rule`).
#![forbid(unsafe_code)]

use super::judge::{Judge, moment};
use super::tracker::Refused;
use super::{Mark, Outcome, Recorder, change};
use crate::filter::{Action, Foreseen, List, RuleFlags, Scrub, SourceTrack, StateMode, Subject, Verdict, Witness};
use crate::flow::FlowKey;
use crate::flow::state::{self, Segment, State, StateFlags, Way};
use crate::flow::table::FlowId;
use crate::telemetry::DropReason;
use crate::wire::rewrite::Edit;
use crate::wire::{self, Parsed, protocol, tcp};

/// What rules said about a packet without a state.
struct Ruling {
    verdict: Verdict,
    /// The rule that translated it; [`Verdict::NO_RULE`] = none.
    translation: u32,
}

impl<R: Recorder> Judge<'_, R> {
    pub(super) fn by_rules(
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
                    self.tell_refused(frame.len(), parsed, number, reason);
                    return Outcome::Drop(reason);
                }
            };
            let Some(id) = id else {
                // The handshake is proxied: the SYN ends here.
                return Outcome::Drop(DropReason::Synproxy);
            };
            let Some(state) = self.help.tracker.table.state_mut(id) else { return Outcome::Drop(DropReason::Memory) };
            let shift = state.peers.first().map_or(0, |peer| peer.shift);
            if let Some(mut edit) = Edit::new(frame, parsed, partial) {
                if state.hot.flags.contains(StateFlags::TIMESTAMPS) {
                    let moment = moment(self.now_ns, bound, state.as_ref(), true, &self.help.tracker.stamps);
                    // The first segment of a connection contradicts nothing.
                    let _ = state.more.stamps.segment(&mut edit, true, &moment);
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
        state.hot.set_epoch(self.help.tracker.epoch);
        state.hot.rule = number;
        state.more.rule_id = life.map_or(0, |life| life.id);
        state.more.translation = translation;
        state.more.tag = tag;
        let mut set = |flag, on: bool| state.hot.flags.set(flag, on);
        let flags = rule.map_or(RuleFlags::empty(), |rule| rule.flags);
        set(StateFlags::SLOPPY, options.sloppy);
        set(StateFlags::LOG_ALL, flags.contains(RuleFlags::LOG_ALL) || verdict.copy);
        set(StateFlags::COPY, verdict.copy);
        set(StateFlags::ALLOW_OPTS, flags.contains(RuleFlags::ALLOW_OPTS));
        set(StateFlags::SCRUB, verdict.scrub != Scrub::NONE);
        set(StateFlags::NO_DF, verdict.scrub.no_df);
        set(StateFlags::RANDOM_ID, verdict.scrub.random_id);
        (state.more.min_ttl, state.more.max_mss) = (verdict.scrub.min_ttl, verdict.scrub.max_mss);
        state.more.set_tos = verdict.scrub.set_tos;
        let segment = if parsed.protocol == protocol::TCP { Segment::read(frame, parsed) } else { None };
        let mut proxied = false;
        if let Some(segment) = &segment {
            state.as_mut().open(segment);
            state.hot.flags.set(StateFlags::TIMESTAMPS, scrub.reassemble_tcp);
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
            state.as_mut().open_datagram();
        }
        state.as_mut().count(way, frame.len());
        if options.source_track != SourceTrack::No {
            state.more.source = self.track_source(&options, parsed, state.as_ref())?;
        }
        if let Some(life) = life
            && !life.add_state(options.max)
        {
            self.forget_source(state.more.source);
            return Err(DropReason::StateLimit);
        }
        let source = state.more.source;
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
}
