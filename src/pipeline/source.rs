//! Sources that are tracked: `source-track`, `max-src-*`, `overload` (`pf_insert_src_node`, `pf_src_connlimit`).
//!
//! Nodes are of all shards: a source has its limits wherever its flows go ([`crate::flow::sources`]).
#![forbid(unsafe_code)]

use super::Recorder;
use super::chores::{Chore, Flush};
use super::judge::Judge;
use super::note::{Addition, Note};
use super::tracker::ticks;
use crate::filter::{Family, SourceTrack, StateOptions};
use crate::flow::sources::{NodeId, Wanted};
use crate::flow::state::{StateFlags, StateRef};
use crate::flow::table::FlowId;
use crate::telemetry::DropReason;
use crate::wire::{self, Parsed};

impl<R: Recorder> Judge<'_, R> {
    /// Counts a new state of a source, unless it has too many.
    pub fn track_source(
        &mut self,
        options: &StateOptions,
        parsed: &Parsed,
        state: StateRef<'_>,
    ) -> Result<Option<NodeId>, DropReason> {
        let bound = self.help.bound;
        let by_rule = options.source_track == SourceTrack::Rule;
        let wanted = Wanted {
            addr: &parsed.src,
            family: parsed.family,
            rule_id: if by_rule { state.more.rule_id } else { 0 },
            max_states: options.max_src_states,
            limit: bound.ruleset().options.limits.src_nodes as usize,
            now: self.help.tracker.now,
        };
        let life = bound.counters().life(state.hot.rule).filter(|_| by_rule);
        let reserve = || life.is_none_or(|life| life.add_node(options.max_src_nodes));
        self.help.tracker.sources.count(&wanted, reserve).map(Some).ok_or(DropReason::SrcLimit)
    }

    /// Takes back [`Judge::track_source`].
    pub fn forget_source(&mut self, id: Option<NodeId>) {
        if let Some(id) = id {
            self.help.tracker.leave_source(Some(self.help.bound), id, false);
        }
    }

    /// A handshake is over: counts the connection. False: it is one too many, and has been dealt with.
    pub fn connected(&mut self, id: FlowId) -> bool {
        let bound = self.help.bound;
        let tracker = &mut self.help.tracker;
        let now = tracker.now;
        let Some(state) = tracker.table.state_mut(id) else { return true };
        let (Some(node), Some(rule)) = (state.more.source, bound.rule(state.hot.rule)) else { return true };
        let options = rule.state;
        let is_new = !state.hot.flags.contains(StateFlags::CONNECTION);
        let rate = options
            .max_src_conn_rate
            .map(|rate| (rate.limit, ticks(u64::from(rate.seconds).saturating_mul(1_000_000_000))));
        let Some((connections, too_fast)) = tracker.sources.connected(node, is_new, rate, now) else { return true };
        state.hot.flags |= StateFlags::CONNECTION;
        let too_many = options.max_src_conn != 0 && connections > options.max_src_conn;
        if !too_many && !too_fast {
            return true;
        }
        let (wire_family, rule_id) = (state.more.wire.family(), state.more.rule_id);
        let addr =
            if state.hot.way == crate::flow::state::Way::In { state.more.wire.src() } else { state.more.stack.dst() };
        tracker.remove(Some(bound), id);
        if let Some(overload) = options.overload {
            let family = if wire_family == wire::Family::V4 { Family::V4 } else { Family::V6 };
            self.shared.add_to_table(Addition { epoch: tracker.epoch, table: overload.table, family, addr });
            self.help.added.note(overload.table, family, &addr);
            if overload.flush {
                let flush = Flush { addr, family: wire_family, rule_id: (!overload.global).then_some(rule_id) };
                self.help.tracker.add_chore(Chore::Flush(flush));
                self.shared.tell_others(self.help.shard, Note::Begin(Chore::Flush(flush)));
            }
        }
        false
    }
}
