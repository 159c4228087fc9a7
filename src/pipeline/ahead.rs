//! What is found out about every frame of a burst before the first one is judged, so that the memory that judging them
//! needs is on its way by then.
#![forbid(unsafe_code)]

use bitflags::bitflags;

use super::Recorder;
use super::judge::{Judge, state_key};
use crate::filter::Foreseen;
use crate::flow::FlowKey;
use crate::flow::state::{StateTable, Way, inside, key_of, key_of_ports};
use crate::flow::table::Candidate;
use crate::mem::packet::BURST_MAX;
use crate::wire::{self, Ends, Parsed, ParsedFlags, protocol};

bitflags! {
    /// What is known about a frame.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Hints: u8 {
        /// A state could be about it.
        const KEY = 1 << 0;
        /// [`Ahead::key`] and [`Ahead::hash`] are there; otherwise there were no states when the burst began.
        const HASHED = 1 << 1;
        /// Nothing in it keeps a state from letting it pass.
        const ORDINARY = 1 << 2;
        /// Both ends of a state are needed.
        const BOTH = 1 << 3;
    }
}

/// See the module.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Ahead {
    /// What a state of it would be found by, if it is hashed.
    pub key: FlowKey,
    /// The key's hash.
    pub hash: u64,
    /// Where the key was when the burst began.
    pub candidate: Candidate,
    /// The rest in short.
    pub hints: Hints,
    /// What the filter rules will say, as far as it is known.
    pub foreseen: Foreseen,
    /// The hash of the key that a translated state of an outgoing packet has, where there are such states.
    pub inner: Option<u64>,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            key: FlowKey::EMPTY,
            hash: 0,
            inner: None,
            candidate: Candidate::ABSENT,
            foreseen: Foreseen::Unknown,
            hints: Hints::empty(),
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

/// The first look at the frames of a burst: key, hash, and the way to the table's bucket.
pub struct Look<'a> {
    table: &'a StateTable,
    /// There is nothing to find.
    is_empty: bool,
    /// Of outgoing packets the key of a translated state is looked up, too.
    inner: bool,
}

impl<'a> Look<'a> {
    /// At frames that go this way.
    #[inline(always)]
    pub fn new(table: &'a StateTable, way: Way) -> Self {
        Self { table, is_empty: table.is_empty(), inner: way == Way::Out && table.further_len() != 0 }
    }

    /// At a frame between these ends.
    #[inline(always)]
    pub fn at_ends(&self, way: Way, ahead: &mut Ahead, ends: &Ends) {
        ahead.candidate = Candidate::ABSENT;
        ahead.foreseen = Foreseen::Unknown;
        let hints = Hints::KEY | Hints::ORDINARY;
        if self.is_empty {
            ahead.hints = hints;
            return;
        }
        ahead.hints = hints | Hints::HASHED;
        if ends.protocol == protocol::TCP {
            ahead.hints |= Hints::BOTH;
        }
        self.at_key(ahead, key_of(ends, way));
    }

    /// At any frame.
    #[inline(always)]
    pub fn at(&self, way: Way, ahead: &mut Ahead, frame: &[u8], parsed: &Parsed) {
        ahead.candidate = Candidate::ABSENT;
        ahead.foreseen = Foreseen::Unknown;
        let key = if has_ports(parsed) { Some(key_of_ports(parsed, way)) } else { state_key(frame, parsed, way) };
        ahead.hints = Hints::empty();
        let Some(key) = key else { return };
        ahead.hints.set(Hints::KEY, true);
        ahead.hints.set(Hints::ORDINARY, !parsed.flags.contains(ParsedFlags::IP_OPTIONS));
        if self.is_empty {
            return;
        }
        ahead.hints.set(Hints::HASHED, true);
        // TCP's numbers are where the rest of a long key is.
        ahead.hints.set(Hints::BOTH, parsed.protocol == protocol::TCP || parsed.family != wire::Family::V4);
        self.at_key(ahead, key);
    }

    #[inline(always)]
    fn at_key(&self, ahead: &mut Ahead, key: FlowKey) {
        ahead.key = key;
        ahead.hash = self.table.hash(&key);
        self.table.prefetch(ahead.hash);
        ahead.inner = None;
        if self.inner {
            let inner = self.table.hash(&inside(&key));
            self.table.prefetch_further(inner);
            ahead.inner = Some(inner);
        }
    }

    /// The second look: the states that the buckets name.
    #[inline(always)]
    pub fn closer(&self, aheads: &mut [Ahead]) {
        if !self.is_empty {
            for ahead in aheads {
                self.at_bucket(ahead);
            }
        }
    }

    #[inline(always)]
    fn at_bucket(&self, ahead: &mut Ahead) {
        if ahead.hints.contains(Hints::HASHED) {
            let both = ahead.hints.contains(Hints::BOTH);
            ahead.candidate = self.table.candidate(ahead.hash, both);
            if let Some(inner) = ahead.inner
                && ahead.is_absent()
                && self.table.may_find_further(inner)
            {
                ahead.candidate = Candidate::SEARCH;
            }
        }
    }
}

impl<R: Recorder> Judge<'_, R> {
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
