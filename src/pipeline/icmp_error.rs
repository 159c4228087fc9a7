//! ICMP errors about packets of states (`pf_test_state_icmp`).
#![forbid(unsafe_code)]

use super::answer::other;
use super::judge::{Judge, scrub_of};
use super::{Outcome, Recorder, change};
use crate::filter::Verdict;
use crate::flow::FlowKey;
use crate::flow::state::{self, StateFlags, Way};
use crate::telemetry::DropReason;
use crate::wire::rewrite::Edit;
use crate::wire::{Parsed, parse_inner, protocol};

impl<R: Recorder> Judge<'_, R> {
    /// The key of the packet that an ICMP error is about, its hash, and its parse.
    pub(super) fn error_key(&self, frame: &[u8], parsed: &Parsed) -> Option<(FlowKey, u64, Parsed)> {
        let inner = parse_inner(frame, parsed)?;
        // The packet inside went the other way.
        let key = state::key(frame, &inner, other(self.help.way))?;
        Some((key, self.help.tracker.table.hash(&key), inner))
    }

    /// An ICMP error about a packet of a state. `None`: of none.
    pub(super) fn follow_error(&mut self, frame: &mut [u8], parsed: &mut Parsed) -> Option<Outcome> {
        let (bound, way) = (self.help.bound, self.help.way);
        let (key, hash, mut inner) = self.error_key(frame, parsed)?;
        let id = self.help.tracker.find(hash, &key, way == Way::In)?;
        let mut state = self.help.tracker.table.state_mut(id)?;
        if state.more.protocol == protocol::TCP && !state.hot.flags.contains(StateFlags::SLOPPY) {
            let bytes = frame.get(usize::from(inner.l4)..)?;
            let seq = u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
            let forward = state.hot.is_forward(other(way));
            let (sender, receiver) = state.ends(forward);
            let seq = seq.wrapping_sub(sender.shift);
            let reach = u32::from(receiver.window) << receiver.scale();
            let ahead = sender.high.wrapping_sub(seq).cast_signed();
            let behind = seq.wrapping_sub(sender.low.wrapping_sub(reach)).cast_signed();
            if ahead < 0 || behind < 0 {
                return Some(Outcome::Drop(DropReason::StateMismatch));
            }
        }
        let rule = bound.counters().number_of(state.more.rule_id).unwrap_or(Verdict::NO_RULE);
        let (flags, scrub) = (state.hot.flags, scrub_of(state.as_ref()));
        if flags.contains(StateFlags::TRANSLATED) {
            let (from, to) = (*state.more.key(way), *state.more.target(way));
            change::translate_error(frame, parsed, &mut inner, way, &from, &to);
        }
        if flags.contains(StateFlags::SCRUB)
            && let Some(mut edit) = Edit::new(frame, parsed, false)
        {
            change::scrub(&mut edit, &scrub, self.help.random);
        }
        bound.count(self.help.shard, rule, frame.len());
        if flags.contains(StateFlags::LOG_ALL) {
            self.log(frame.len(), parsed, rule, None);
        }
        Some(Outcome::Pass)
    }
}
