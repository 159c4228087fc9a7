//! What is found out about every frame of a burst before the first one is judged, so that the memory that judging them
//! needs is on its way by then.
#![forbid(unsafe_code)]

use bitflags::bitflags;

use super::Recorder;
use super::judge::{Judge, state_key};
use crate::filter::Foreseen;
use crate::flow::state::{StateTable, Way, inside, key_of, key_of_ports};
use crate::flow::table::Candidate;
use crate::flow::{FlowKey, KeyPlace};
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
        /// It has ports and is no fragment.
        const PORTS = 1 << 4;
        /// [`Ahead::inner`] is there.
        const INNER = 1 << 5;
        /// [`Ahead::foreseen`] is there.
        const FORESEEN = 1 << 6;
    }
}

/// See the module. What is not there is what it was for another frame: to write less is what this is about.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Ahead {
    /// What a state of it would be found by.
    pub key: KeyPlace,
    /// The key's hash.
    pub hash: u64,
    /// Where the key was when the burst began.
    pub candidate: Candidate,
    /// What is there, and the rest in short.
    pub hints: Hints,
    /// What the filter rules will say.
    foreseen: Foreseen,
    /// The hash of the key that a translated state of an outgoing packet has, where there are such states.
    inner: u64,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            key: KeyPlace::EMPTY,
            hash: 0,
            candidate: Candidate::ABSENT,
            hints: Hints::empty(),
            foreseen: Foreseen::Unknown,
            inner: 0,
        }
    }
}

impl Ahead {
    /// When the burst began, no state had the packet's key.
    #[inline(always)]
    pub fn is_absent(&self) -> bool {
        self.candidate == Candidate::ABSENT
    }

    /// What rules will say of the packet. `always`: what they say of all packets without a state, by family.
    #[inline(always)]
    pub fn foreseen(&self, always: &[Foreseen; 2], parsed: &Parsed) -> Foreseen {
        if self.hints.contains(Hints::FORESEEN) {
            self.foreseen
        } else if self.hints.contains(Hints::PORTS) && self.is_absent() {
            let [v4, v6] = *always;
            if parsed.family == wire::Family::V4 { v4 } else { v6 }
        } else {
            Foreseen::Unknown
        }
    }

    /// [`Ahead::inner`].
    #[inline(always)]
    pub fn inner(&self) -> Option<u64> {
        self.hints.contains(Hints::INNER).then_some(self.inner)
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
        let hints = Hints::KEY | Hints::ORDINARY | Hints::PORTS;
        if self.is_empty {
            ahead.candidate = Candidate::ABSENT;
            ahead.hints = hints;
            return;
        }
        let both = if ends.protocol == protocol::TCP { Hints::BOTH } else { Hints::empty() };
        self.at_key(ahead, hints | both, &key_of(ends, way));
    }

    /// At any frame.
    #[inline(always)]
    pub fn at(&self, way: Way, ahead: &mut Ahead, frame: &[u8], parsed: &Parsed) {
        let ports = has_ports(parsed);
        let key = if ports { Some(key_of_ports(parsed, way)) } else { state_key(frame, parsed, way) };
        let mut hints = Hints::empty();
        hints.set(Hints::KEY, key.is_some());
        hints.set(Hints::PORTS, ports);
        hints.set(Hints::ORDINARY, key.is_some() && !parsed.flags.contains(ParsedFlags::IP_OPTIONS));
        // TCP's numbers are where the rest of a long key is.
        hints.set(Hints::BOTH, parsed.protocol == protocol::TCP || parsed.family != wire::Family::V4);
        match key {
            Some(key) if !self.is_empty => self.at_key(ahead, hints, &key),
            _ => {
                ahead.candidate = Candidate::ABSENT;
                ahead.hints = hints;
            }
        }
    }

    #[inline(always)]
    fn at_key(&self, ahead: &mut Ahead, hints: Hints, key: &FlowKey) {
        ahead.key.set(key);
        ahead.hash = self.table.hash(key);
        self.table.prefetch(ahead.hash);
        ahead.hints = hints | Hints::HASHED;
        if self.inner {
            ahead.inner = self.table.hash(&inside(key));
            self.table.prefetch_further(ahead.inner);
            ahead.hints |= Hints::INNER;
        }
    }

    /// The second look: the state that the bucket names. True if there is none.
    #[must_use]
    #[inline(always)]
    pub fn closer(&self, ahead: &mut Ahead) -> bool {
        if ahead.hints.contains(Hints::HASHED) {
            let both = ahead.hints.contains(Hints::BOTH);
            ahead.candidate = self.table.candidate(ahead.hash, both);
            if let Some(inner) = ahead.inner()
                && ahead.is_absent()
                && self.table.may_find_further(inner)
            {
                ahead.candidate = Candidate::SEARCH;
            }
        }
        ahead.is_absent()
    }
}

impl<R: Recorder> Judge<'_, R> {
    /// The third look, where there are packets without a state: what rules will say of them.
    #[inline(never)]
    pub fn foresee(&mut self, aheads: &mut [Ahead], parsed: &[Parsed]) {
        if !self.foresees {
            return;
        }
        let bound = self.help.bound;
        let direction = self.help.direction();
        self.always = [wire::Family::V4, wire::Family::V6].map(|family| bound.foresee_all(direction, family));
        if self.always.iter().all(|always| *always != Foreseen::Unknown) {
            return;
        }
        let mut left: heapless::Vec<(u8, &Parsed), BURST_MAX> = heapless::Vec::new();
        for (place, (ahead, parsed)) in (0u8..).zip(aheads.iter_mut().zip(parsed)) {
            if ahead.is_absent()
                && ahead.foreseen(&self.always, parsed) == Foreseen::Unknown
                && ahead.hints.contains(Hints::PORTS)
            {
                // As many as aheads, which fit.
                let _ = left.push((place, parsed));
            }
        }
        if !left.is_empty() {
            let shard = self.help.shard;
            let packets = left.iter().map(|(place, parsed)| (usize::from(*place), *parsed));
            bound.foresee(direction, packets, |place, foreseen| {
                bound.prefetch_counters(shard, foreseen);
                if let Some(ahead) = aheads.get_mut(place) {
                    ahead.foreseen = foreseen;
                    ahead.hints |= Hints::FORESEEN;
                }
            });
        }
    }
}
