//! What is found out about every frame of a burst before the first one is judged, so that the memory that judging them
//! needs is on its way by then.
#![forbid(unsafe_code)]

use super::Recorder;
use super::judge::{Judge, state_key};
use crate::filter::Foreseen;
use crate::flow::FlowKey;
use crate::flow::state::{Way, inside, key_of_ports};
use crate::flow::table::Candidate;
use crate::mem::Burst;
use crate::mem::packet::BURST_MAX;
use crate::wire::{self, Parsed, ParsedFlags, protocol};

/// What is known about a frame.
#[derive(Clone, Copy)]
pub struct Ahead {
    /// What a state of it would be found by, with `is_hashed`.
    pub key: FlowKey,
    /// The key's hash, with `is_hashed`.
    pub hash: u64,
    /// The hash of the key that a translated state of an outgoing packet has, where there are such states.
    pub inner: Option<u64>,
    /// Where the key was when the burst began.
    pub candidate: Candidate,
    /// What the filter rules will say, as far as it is known.
    pub foreseen: Foreseen,
    /// A state could be about it.
    pub has_key: bool,
    /// `key` and `hash` are there; otherwise there were no states when the burst began.
    pub is_hashed: bool,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            key: FlowKey::EMPTY,
            hash: 0,
            inner: None,
            candidate: Candidate::ABSENT,
            foreseen: Foreseen::Unknown,
            has_key: false,
            is_hashed: false,
        }
    }
}

impl Ahead {
    /// When the burst began, no state had the packet's key.
    #[inline(always)]
    pub fn is_absent(&self) -> bool {
        self.candidate == Candidate::ABSENT
    }
}

/// A packet with ports that is no fragment.
#[inline(always)]
fn has_ports(parsed: &Parsed) -> bool {
    let flags = ParsedFlags::PORTS | ParsedFlags::FRAGMENT;
    parsed.error.is_none() && parsed.flags & flags == ParsedFlags::PORTS
}

impl<R: Recorder> Judge<'_, R> {
    /// The first two looks at a burst whose packets all go one way.
    pub fn look_at_all(&self, aheads: &mut [Ahead], burst: &Burst, parsed: &[Parsed]) {
        match self.help.way {
            Way::In => self.look_at_all_going(Way::In, aheads, burst, parsed),
            Way::Out => self.look_at_all_going(Way::Out, aheads, burst, parsed),
        }
    }

    /// [`Judge::look_at_all`], made for each way anew.
    #[inline(always)]
    fn look_at_all_going(&self, way: Way, aheads: &mut [Ahead], burst: &Burst, parsed: &[Parsed]) {
        for ((packet, parsed), ahead) in burst.iter().zip(parsed).zip(&mut *aheads) {
            self.look_ahead(way, ahead, packet.frame(), parsed);
        }
        for ahead in aheads {
            self.look_closer(ahead);
        }
    }

    /// The first look: key, hash, and the way to the table's bucket.
    #[inline(always)]
    pub fn look_ahead(&self, way: Way, ahead: &mut Ahead, frame: &[u8], parsed: &Parsed) {
        let table = &self.help.tracker.table;
        ahead.candidate = Candidate::ABSENT;
        ahead.foreseen = Foreseen::Unknown;
        ahead.is_hashed = false;
        if has_ports(parsed) {
            ahead.has_key = true;
            if table.is_empty() {
                return;
            }
            ahead.key = key_of_ports(parsed, way);
        } else {
            let key = state_key(frame, parsed, way);
            ahead.has_key = key.is_some();
            if !ahead.has_key || table.is_empty() {
                return;
            }
            ahead.key = key.unwrap_or(FlowKey::EMPTY);
        }
        ahead.hash = table.hash(&ahead.key);
        ahead.is_hashed = true;
        table.prefetch(ahead.hash);
        ahead.inner = None;
        if way == Way::Out && table.further_len() != 0 {
            let inner = table.hash(&inside(&ahead.key));
            table.prefetch(inner);
            ahead.inner = Some(inner);
        }
    }

    /// The second look: the state that the bucket names.
    #[inline(always)]
    pub fn look_closer(&self, ahead: &mut Ahead) {
        if ahead.is_hashed {
            let table = &self.help.tracker.table;
            // TCP's numbers are where the rest of a long key is.
            let both = ahead.key.is_long() || ahead.key.protocol() == protocol::TCP;
            ahead.candidate = table.candidate(ahead.hash, both);
            if let Some(inner) = ahead.inner.filter(|_| ahead.is_absent()) {
                ahead.candidate = table.candidate(inner, both);
            }
        }
    }

    /// The third look: what rules will say of packets without a state.
    #[inline(always)]
    pub fn foresee(&self, aheads: &mut [Ahead], parsed: &[Parsed]) {
        if !self.foresees {
            return;
        }
        let bound = self.help.bound;
        let direction = self.help.direction();
        let by_family = [wire::Family::V4, wire::Family::V6].map(|family| bound.foresee_all(direction, family));
        let mut left: heapless::Vec<(u8, &Parsed), BURST_MAX> = heapless::Vec::new();
        for (place, (ahead, parsed)) in (0u8..).zip(aheads.iter_mut().zip(parsed)) {
            if ahead.is_absent() && has_ports(parsed) {
                let [v4, v6] = by_family;
                ahead.foreseen = if parsed.family == wire::Family::V4 { v4 } else { v6 };
                if ahead.foreseen == Foreseen::Unknown {
                    // As many as aheads, which fit.
                    let _ = left.push((place, parsed));
                }
            }
        }
        if !left.is_empty() {
            let shard = self.help.shard;
            let packets = left.iter().map(|(place, parsed)| (usize::from(*place), *parsed));
            bound.foresee(direction, packets, |place, foreseen| {
                bound.prefetch_counters(shard, foreseen);
                if let Some(ahead) = aheads.get_mut(place) {
                    ahead.foreseen = foreseen;
                }
            });
        }
    }
}
