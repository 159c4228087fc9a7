//! State clauses: defaults, repeated and contradicting options.

use super::Expander;
use crate::ast::{Action, Rule, StateKind, StateOption};
use crate::flat::{State, StateMode};
use crate::names::timeouts::{TIMEOUTS, TIMEOUTS_MORE};
use crate::source::{Span, Spanned};

/// Highest connection rate (PF_THRESHOLD_MAX).
const HIGHEST_RATE: u32 = u32::MAX / 1000;

impl Expander<'_> {
    /// The state clause of a rule, with `keep state` for `pass` rules that say nothing.
    pub(super) fn state(&mut self, rule: &Rule) -> State {
        let given = rule.options.state.as_ref();
        let pass = rule.action.node == Action::Pass;
        let mode = match given.map(|s| s.node) {
            Some(StateKind::No) => StateMode::No,
            Some(StateKind::Keep) => StateMode::Keep,
            Some(StateKind::Modulate) => StateMode::Modulate,
            Some(StateKind::Synproxy) => StateMode::Synproxy,
            None if pass => StateMode::Keep,
            None => StateMode::No,
        };
        let mut state = State { kind: mode, ..State::default() };
        let defaults = self.state_defaults.clone().unwrap_or_default();
        let options: &[Spanned<StateOption>] = match given {
            None if pass => &defaults,
            _ => &rule.options.state_options,
        };
        let mut track = None;
        let mut lock = false;
        for option in options {
            self.state_option(&mut state, &mut track, &mut lock, option);
        }
        let adaptive = state.timeouts.iter().any(|t| t.0.starts_with("adaptive."));
        if state.max > 0 && !adaptive {
            state.timeouts.push(("adaptive.start", state.max / 10 * 6));
            state.timeouts.push(("adaptive.end", state.max / 10 * 12));
        }
        if state.source_track {
            self.source_track(&mut state, track, options);
        }
        if mode != StateMode::No && !lock {
            state.if_bound = self.if_bound;
        }
        state.timeouts.retain(|t| t.1 != 0);
        let order = |name: &str| TIMEOUTS.iter().chain(TIMEOUTS_MORE).position(|t| *t == name);
        state.timeouts.sort_by_key(|t| order(t.0));
        state
    }

    fn twice(&mut self, again: bool, name: &str, span: Span) {
        if again {
            self.sink.error(span, format!("state option '{name}' multiple definitions"));
        }
    }

    fn state_option(
        &mut self,
        state: &mut State,
        track: &mut Option<Option<bool>>,
        lock: &mut bool,
        option: &Spanned<StateOption>,
    ) {
        let span = option.span;
        match &option.node {
            StateOption::Max(count) => {
                self.twice(state.max > 0, "max", span);
                state.max = *count;
            }
            StateOption::NoSync => {
                self.twice(state.no_sync, "sync", span);
                state.no_sync = true;
            }
            StateOption::SourceTrack(which) => {
                self.twice(track.is_some(), "source-track", span);
                *track = Some(*which);
                state.source_track = true;
            }
            StateOption::MaxSrcStates(count) => {
                self.twice(state.max_src_states > 0, "max-src-states", span);
                state.max_src_states = *count;
                state.source_track = true;
            }
            StateOption::MaxSrcConn(count) => {
                self.twice(state.max_src_conn > 0, "max-src-conn", span);
                state.max_src_conn = *count;
                (state.source_track, state.source_track_rule) = (true, true);
            }
            StateOption::MaxSrcConnRate(count, seconds) => {
                self.twice(state.max_src_conn_rate.0 > 0, "max-src-conn-rate", span);
                if *count > HIGHEST_RATE {
                    self.sink.error(span, format!("'max-src-conn-rate' maximum rate must be < {HIGHEST_RATE}"));
                }
                state.max_src_conn_rate = (*count, *seconds);
                (state.source_track, state.source_track_rule) = (true, true);
            }
            StateOption::MaxSrcNodes(count) => {
                self.twice(state.max_src_nodes > 0, "max-src-nodes", span);
                state.max_src_nodes = *count;
                (state.source_track, state.source_track_rule) = (true, true);
            }
            StateOption::Overload { table, flush, global } => {
                if state.overload.is_some() {
                    self.sink.error(span, "multiple 'overload' table definitions");
                }
                state.overload = Some((table.clone(), *flush, *global));
            }
            StateOption::Bound(bound) => {
                if *lock {
                    self.sink.error(span, "state locking option: multiple definitions");
                }
                *lock = true;
                state.if_bound = *bound;
            }
            StateOption::Sloppy => {
                self.twice(state.sloppy, "sloppy", span);
                state.sloppy = true;
            }
            StateOption::Pflow => {
                self.twice(state.pflow, "pflow", span);
                state.pflow = true;
            }
            StateOption::Timeout(name, seconds) => {
                self.twice(state.timeouts.iter().any(|t| t.0 == *name), name, span);
                state.timeouts.push((name, *seconds));
            }
        }
    }

    fn source_track(&mut self, state: &mut State, track: Option<Option<bool>>, options: &[Spanned<StateOption>]) {
        if track == Some(Some(false)) {
            for option in options {
                let name = match option.node {
                    StateOption::MaxSrcNodes(_) => "max-src-nodes",
                    StateOption::MaxSrcConn(_) => "max-src-conn",
                    StateOption::MaxSrcConnRate(..) => "max-src-conn-rate",
                    _ => continue,
                };
                self.sink
                    .error(option.span, format!("'{name}' is incompatible with 'source-track global'"))
                    .hint("write `source-track rule`");
            }
        }
        let seconds = state.max_src_conn_rate.1;
        let tracked = state.timeouts.iter_mut().find(|t| t.0 == "src.track");
        match tracked {
            Some(timeout) => timeout.1 = timeout.1.max(seconds),
            None => state.timeouts.push(("src.track", seconds)),
        }
        if track == Some(Some(true)) {
            state.source_track_rule = true;
        }
    }
}
