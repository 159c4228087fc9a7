//! `fragment crop` and `fragment drop-ovl`: fragments pass as they come, and only what has passed is remembered.

use super::list::{Entry, NONE};
use super::{Arrival, Fault, Frame, Place, Reassembly, key};
use crate::flow::table::FlowId;
use crate::wire::{Family, Parsed, ParsedFlags};

/// Sets these datagrams apart from those that are reassembled.
const TRACKED: u16 = 1 << 14;

/// What becomes of overlaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackPolicy {
    /// `fragment crop`: of each byte, what came first has passed; the rest is cut away. IPv6 as under the other policy,
    /// because RFC 5722 allows no overlap there.
    Crop,
    /// `fragment drop-ovl`: an overlap, and everything of the datagram from then on, is dropped.
    DropOverlap,
}

/// What [`Reassembly::track`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// The frame passes, perhaps cropped: it is this long now.
    Pass(usize),
    /// It is to be dropped.
    Drop(Fault),
}

impl<P: Frame, V: Copy> Reassembly<P, V> {
    /// Judges a fragment that is not to be held, and crops it in place. Its parse has to be made anew if it was.
    pub fn track(&mut self, frame: &mut [u8], parsed: &Parsed, arrival: &Arrival, policy: TrackPolicy) -> Tracked {
        let tracked = self.try_track(frame, parsed, arrival, policy);
        match tracked {
            Ok(len) => Tracked::Pass(len),
            Err(fault) => {
                match fault {
                    Fault::Full => self.counts.full += 1,
                    _ => self.counts.bad += 1,
                }
                Tracked::Drop(fault)
            }
        }
    }

    fn try_track(
        &mut self,
        frame: &mut [u8],
        parsed: &Parsed,
        arrival: &Arrival,
        policy: TrackPolicy,
    ) -> Result<usize, Fault> {
        let place = Place::find(frame, parsed, arrival).ok_or(Fault::Bad)?;
        if parsed.flags.contains(ParsedFlags::DONT_FRAGMENT) {
            if !arrival.no_df {
                return Err(Fault::Bad);
            }
            place.clear_df(frame);
        }
        if self.collecting >= self.limit {
            self.make_room();
        }
        if self.free == NONE || self.collecting >= self.limit {
            return Err(Fault::Full);
        }
        let key = key(parsed, arrival.zone & 0x3fff | TRACKED);
        let id = self.datagram(key, parsed.family, arrival.now).ok_or(Fault::Full)?;
        let crop = policy == TrackPolicy::Crop && parsed.family == Family::V4;
        let gap = self.gap(id, &place, crop);
        if gap.is_none() {
            self.forget_if_empty(id);
        }
        let (start, end, previous) = gap.ok_or(Fault::Bad)?;
        let more = place.more || end < place.end;
        let len = place.refit(frame, start, end, more).ok_or(Fault::Bad)?;
        self.remember(id, start, end, previous, !more);
        if self.is_whole(id) {
            self.counts.reassembled += 1;
            self.give_up(id, Fault::Stopped);
        }
        Ok(len)
    }

    /// The part of a fragment that has not passed yet, up to the first that has, and the entry in front of it.
    fn gap(&mut self, id: FlowId, place: &Place, crop: bool) -> Option<(u32, u32, u32)> {
        let datagram = self.datagrams.get(id)?;
        if datagram.doomed || datagram.count >= super::FRAGMENTS_MAX {
            return None;
        }
        let (first, last, total) = (datagram.first, datagram.last, datagram.total);
        let seen = self.entry(last).map_or(0, |entry| entry.end);
        let contradicts = match total {
            Some(total) => place.end > total || (place.end == total && place.more),
            None => false,
        };
        if contradicts || (!place.more && place.end < seen) {
            return None;
        }
        let (mut start, mut end) = (place.start, place.end);
        let previous = self.before(first, last, start);
        let mut overlaps = false;
        if let Some(entry) = self.entry(previous)
            && entry.end > start
        {
            (overlaps, start) = (true, entry.end);
        }
        let behind = self.entry(previous).map_or(first, |entry| entry.next);
        if let Some(entry) = self.entry(behind)
            && entry.start < end
        {
            (overlaps, end) = (true, entry.start);
        }
        if overlaps {
            self.counts.overlaps += 1;
            if !crop {
                self.doom(id);
                return None;
            }
        }
        (start < end).then_some((start, end, previous))
    }

    /// Notes that a part has passed: one entry for what adjoins.
    fn remember(&mut self, id: FlowId, start: u32, end: u32, previous: u32, last: bool) {
        let behind = match self.entry(previous) {
            Some(entry) => entry.next,
            None => self.datagrams.get(id).map_or(NONE, |datagram| datagram.first),
        };
        let (mut start, mut end, mut previous) = (start, end, previous);
        if let Some(next) = self.entry(behind)
            && next.start == end
        {
            end = next.end;
            self.unlink(id, behind, previous);
            self.make_ready(behind, super::Outcome::Lost(Fault::Stopped));
        }
        if let Some(entry) = self.entry(previous)
            && entry.end == start
        {
            start = entry.start;
            let before = self.before_entry(id, previous);
            self.unlink(id, previous, before);
            self.make_ready(previous, super::Outcome::Lost(Fault::Stopped));
            previous = before;
        }
        // There is an entry: one was free before, and none was taken since.
        self.link(id, Entry::passed(start, end), previous);
        if let Some(datagram) = self.datagrams.get_mut(id).filter(|_| last) {
            datagram.total = Some(end);
        }
    }

    /// The entry in front of another in its datagram.
    fn before_entry(&self, id: FlowId, index: u32) -> u32 {
        let (mut previous, mut at) = (NONE, self.datagrams.get(id).map_or(NONE, |datagram| datagram.first));
        while at != index
            && let Some(entry) = self.entry(at)
        {
            (previous, at) = (at, entry.next);
        }
        previous
    }
}
