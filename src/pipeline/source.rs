//! Sources that are tracked: `source-track`, `max-src-*`, `overload` (`pf_insert_src_node`, `pf_src_connlimit`).
//!
//! Nodes belong to a shard, like states. With several queue pairs the flows of a source are spread over them, and each
//! shard holds it to the limit.
#![forbid(unsafe_code)]

use super::Recorder;
use super::judge::Judge;
use super::note::Addition;
use super::tracker::{Source, ticks};
use crate::filter::{Family, SourceTrack, StateOptions};
use crate::flow::state::{Lifetime, State, StateFlags};
use crate::flow::table::FlowId;
use crate::telemetry::DropReason;
use crate::wire::{self, Parsed};

/// A connection's weight in [`Source::rate`] (pf.c, PF_THRESHOLD_MULT).
const WEIGHT: u64 = 1000;

/// Notes a connection, and tells whether there have been more than `limit` in `seconds` (pf.c, `pf_check_threshold`).
fn exceeds(source: &mut Source, limit: u32, seconds: u32, now: u64) -> bool {
    let period = ticks(u64::from(seconds).saturating_mul(1_000_000_000)).max(1);
    let passed = now.saturating_sub(source.last);
    source.last = now;
    let rate = u64::from(source.rate);
    let left = if passed >= period {
        0
    } else {
        rate.saturating_sub(rate.saturating_mul(passed).checked_div(period).unwrap_or(0))
    };
    let next = left.saturating_add(WEIGHT);
    source.rate = u32::try_from(next).unwrap_or(u32::MAX);
    next > u64::from(limit).saturating_mul(WEIGHT)
}

impl<R: Recorder> Judge<'_, R> {
    /// Counts a new state of a source, unless it has too many.
    pub fn track_source(
        &mut self,
        options: &StateOptions,
        parsed: &Parsed,
        state: &State,
    ) -> Result<Option<FlowId>, DropReason> {
        let rule_id = if options.source_track == SourceTrack::Rule { state.rule_id } else { 0 };
        let tracker = &mut self.help.tracker;
        let before = tracker.sources.len();
        let limit = self.help.bound.ruleset().options.limits.src_nodes as usize;
        let id = tracker.source(&parsed.src, parsed.family, rule_id).ok_or(DropReason::SrcLimit)?;
        if tracker.sources.len() > before {
            let nodes = u32::try_from(tracker.sources_of(rule_id)).unwrap_or(u32::MAX);
            let too_many = options.max_src_nodes != 0 && nodes > options.max_src_nodes;
            if before >= limit || too_many {
                tracker.sources.remove(id);
                return Err(DropReason::SrcLimit);
            }
        }
        let source = tracker.sources.get_mut(id).ok_or(DropReason::SrcLimit)?;
        if options.max_src_states != 0 && source.states >= options.max_src_states {
            return Err(DropReason::SrcLimit);
        }
        source.states = source.states.saturating_add(1);
        Ok(Some(id))
    }

    /// Takes back [`Judge::track_source`].
    pub fn forget_source(&mut self, id: Option<FlowId>) {
        let Some(id) = id else { return };
        if let Some(source) = self.help.tracker.sources.get_mut(id) {
            source.states = source.states.saturating_sub(1);
            if source.states == 0 {
                self.help.tracker.sources.remove(id);
            }
        }
    }

    /// A handshake is over: counts the connection. False: it is one too many, and has been dealt with.
    pub fn connected(&mut self, id: FlowId) -> bool {
        let bound = self.help.bound;
        let tracker = &mut self.help.tracker;
        let now = tracker.now;
        let Some(state) = tracker.table.get_mut(id) else { return true };
        let (Some(node), Some(rule)) = (state.source, bound.rule(state.rule)) else { return true };
        let options = rule.state;
        let Some(source) = tracker.sources.get_mut(node) else { return true };
        if !state.flags.contains(StateFlags::CONNECTION) {
            state.flags |= StateFlags::CONNECTION;
            source.connections = source.connections.saturating_add(1);
        }
        let too_many = options.max_src_conn != 0 && source.connections > options.max_src_conn;
        let too_fast = match options.max_src_conn_rate {
            Some(rate) => exceeds(source, rate.limit, rate.seconds, now),
            None => false,
        };
        if !too_many && !too_fast {
            return true;
        }
        state.lifetime = Lifetime::Purge;
        let (family, rule_id) = (state.wire.family(), state.rule_id);
        let addr = if state.way == crate::flow::state::Way::In { state.wire.src() } else { state.stack.dst() };
        tracker.rearm(bound, id);
        if let Some(overload) = options.overload {
            let family = if family == wire::Family::V4 { Family::V4 } else { Family::V6 };
            self.shared.add_to_table(Addition { epoch: tracker.epoch, table: overload.table, family, addr });
            self.help.added.note(overload.table, family, &addr);
            if overload.flush {
                self.help.tracker.flush(bound, &addr, (!overload.global).then_some(rule_id));
            }
        }
        false
    }
}
