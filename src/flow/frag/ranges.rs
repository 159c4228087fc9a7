//! `fragment crop` and `fragment drop-ovl` (pf.conf(5) of macOS and of FreeBSD before 10, `pf_fragcache`): IPv4 fragments
//! pass as they come, and what is remembered of a datagram is which bytes have passed, so that none passes twice.
//!
//! `crop` cuts off what has been seen: the first occurrence of a byte counts. A fragment that reaches over others is cut
//! where the next one begins. `drop-ovl` drops a fragment that overlaps, and all of its datagram that follow.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::place::Place;
use super::{Arrival, Fault, key};
use crate::flow::Secret;
use crate::flow::table::{FlowId, FlowTable};
use crate::wire::{self, Parsed, ParsedFlags};

/// Pieces of a datagram that may be apart.
const SPANS: usize = 16;
/// Datagrams of which the oldest goes when there is no room.
const CANDIDATES: usize = 8;

/// What has passed of a datagram.
#[derive(Default)]
struct Seen {
    /// Sorted, and apart from each other.
    spans: heapless::Vec<(u32, u32), SPANS>,
    /// Where it ends, once the last fragment has come.
    total: Option<u32>,
    /// Nothing more of it passes.
    lost: bool,
    created: u64,
}

impl Seen {
    /// The part of `start..end` that is new, up to the next piece that is not; and whether anything was cut off.
    fn part(&self, mut start: u32, mut end: u32) -> (u32, u32, bool) {
        let (first, last) = (start, end);
        for (from, to) in &self.spans {
            if *from <= start && start < *to {
                start = *to;
            } else if *from > start && *from < end {
                end = *from;
            }
        }
        (start, end.max(start), (first, last) != (start, end))
    }

    /// Notes a part that is new. False without room.
    fn add(&mut self, start: u32, end: u32) -> bool {
        if self.spans.push((start, end)).is_err() {
            return false;
        }
        self.spans.sort_unstable();
        let mut joined: heapless::Vec<(u32, u32), SPANS> = heapless::Vec::new();
        for (from, to) in &self.spans {
            match joined.last_mut() {
                Some(last) if last.1 == *from => last.1 = *to,
                // No more than there were.
                _ => drop(joined.push((*from, *to))),
            }
        }
        self.spans = joined;
        true
    }

    fn is_whole(&self) -> bool {
        self.total.is_some_and(|total| self.spans.as_slice() == [(0, total)])
    }
}

/// See the module.
pub struct Ranges {
    datagrams: FlowTable<Seen>,
    limit: usize,
    timeout: u64,
    /// Where to look for one that may go.
    hand: usize,
    order: Box<[Option<FlowId>]>,
}

impl Ranges {
    /// For `capacity` datagrams. `None` without memory.
    #[must_use]
    pub fn new(capacity: usize, secret: Secret) -> Option<Self> {
        let mut order = Vec::new();
        order.try_reserve_exact(capacity.max(1)).ok()?;
        order.resize(capacity.max(1), None);
        let datagrams = FlowTable::new(capacity, 0, secret)?;
        let order = order.into_boxed_slice();
        Some(Self { datagrams, limit: capacity, timeout: 30_000_000_000, hand: 0, order })
    }

    /// Takes over `set limit frags` and `set timeout frag`, nanoseconds.
    pub fn configure(&mut self, limit: usize, timeout: u64) {
        self.limit = limit.min(self.datagrams.capacity());
        self.timeout = timeout;
    }

    /// The datagram of a fragment, made if there is none.
    fn datagram(&mut self, parsed: &Parsed, arrival: &Arrival) -> Option<FlowId> {
        let key = key(parsed, arrival.zone);
        let hash = self.datagrams.hash(&key);
        if let Some(id) = self.datagrams.find(hash, &key) {
            let is_over = |seen: &Seen| arrival.now.saturating_sub(seen.created) >= self.timeout;
            if !self.datagrams.get(id).is_some_and(is_over) {
                return Some(id);
            }
            self.datagrams.remove(id);
        }
        if self.datagrams.len() >= self.limit {
            self.make_room();
        }
        let id = self.datagrams.insert(hash, key, Seen { created: arrival.now, ..Seen::default() }).ok()?;
        *self.order.get_mut(id.index())? = Some(id);
        Some(id)
    }

    /// The oldest of a few goes.
    fn make_room(&mut self) {
        let mut oldest: Option<(u64, FlowId)> = None;
        for _ in 0..CANDIDATES.min(self.order.len()) {
            self.hand = if self.hand.saturating_add(1) < self.order.len() { self.hand.saturating_add(1) } else { 0 };
            let Some(id) = self.order.get(self.hand).copied().flatten() else { continue };
            let Some(seen) = self.datagrams.get(id) else { continue };
            if oldest.is_none_or(|(created, _)| seen.created < created) {
                oldest = Some((seen.created, id));
            }
        }
        if let Some((_, id)) = oldest {
            self.datagrams.remove(id);
        }
    }

    /// Takes an IPv4 fragment, and cuts off what has passed before unless `strict`: then it is dropped, and the rest of its
    /// datagram too. What is cut off stays behind the packet's end, as padding does.
    ///
    /// # Errors
    /// It is to be dropped.
    pub fn take(
        &mut self,
        frame: &mut [u8],
        parsed: &mut Parsed,
        arrival: &Arrival,
        strict: bool,
    ) -> Result<(), Fault> {
        let place = Place::find(frame, parsed, arrival).ok_or(Fault::Bad)?;
        if parsed.flags.contains(ParsedFlags::DONT_FRAGMENT) {
            if !arrival.no_df {
                return Err(Fault::Bad);
            }
            place.clear_df(frame);
        }
        let id = self.datagram(parsed, arrival).ok_or(Fault::Full)?;
        let seen = self.datagrams.get_mut(id).ok_or(Fault::Full)?;
        let beyond = seen.spans.last().map_or(0, |(_, end)| *end);
        let contradicts = match seen.total {
            Some(total) => place.end > total || (!place.more && place.end != total),
            None => !place.more && place.end < beyond,
        };
        let (start, end, is_cut) = seen.part(place.start, place.end);
        if seen.lost || contradicts || (strict && is_cut) {
            seen.lost |= contradicts || strict;
            return Err(Fault::Bad);
        }
        if !place.more {
            seen.total = Some(place.end);
        }
        if start >= end {
            return Err(Fault::Bad);
        }
        if !seen.add(start, end) {
            return Err(Fault::Full);
        }
        if seen.is_whole() {
            self.datagrams.remove(id);
        }
        if is_cut {
            place.refit(frame, start, end, place.more || end != place.end).ok_or(Fault::Bad)?;
            *parsed = wire::parse(frame);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// Bytes `start..end` of a datagram whose byte n is n times `mark`.
    fn fragment(start: u16, end: u16, more: bool, mark: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        frame.extend((20 + end - start).to_be_bytes());
        frame.extend([0, 9]);
        frame.extend(((start / 8) | (u16::from(more) << 13)).to_be_bytes());
        frame.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend((start..end).map(|n| (n as u8).wrapping_mul(mark)));
        let parsed = wire::parse(&frame);
        assert!(wire::offload::fill_ipv4_header(&mut frame, &parsed));
        frame
    }

    fn ranges() -> Ranges {
        Ranges::new(4, Secret::from_seed(1)).unwrap()
    }

    const ARRIVAL: Arrival = Arrival { now: 0, zone: 0, no_df: false, check_header: true };

    /// What passes of a fragment: where it begins, its bytes, and whether more follow.
    fn take(ranges: &mut Ranges, frame: &[u8], strict: bool) -> Option<(usize, Vec<u8>, bool)> {
        let mut frame = frame.to_vec();
        let mut parsed = wire::parse(&frame);
        ranges.take(&mut frame, &mut parsed, &ARRIVAL, strict).ok()?;
        assert!(crate::wire::ipv4::Ipv4Header::new(&frame[14..]).unwrap().is_checksum_valid());
        let place = Place::find(&frame, &parsed, &ARRIVAL).unwrap();
        let len = (place.end - place.start) as usize;
        Some((place.start as usize, frame[place.data..place.data + len].to_vec(), place.more))
    }

    #[test]
    fn overlaps_are_cut_off() {
        let mut ranges = ranges();
        assert_eq!(take(&mut ranges, &fragment(0, 16, true, 1), false), Some((0, (0..16).collect(), true)));
        assert_eq!(take(&mut ranges, &fragment(32, 48, true, 1), false), Some((32, (32..48).collect(), true)));
        // In front and behind: only what is between is new.
        assert_eq!(take(&mut ranges, &fragment(8, 40, true, 1), false), Some((16, (16..32).collect(), true)));
        assert_eq!(take(&mut ranges, &fragment(8, 40, true, 1), false), None, "a duplicate");
        assert_eq!(take(&mut ranges, &fragment(40, 60, false, 1), false), Some((48, (48..60).collect(), false)));
        // It is whole, and forgotten.
        assert!(ranges.datagrams.is_empty());
    }

    #[test]
    fn drop_ovl_drops_all_that_follows() {
        let mut ranges = ranges();
        assert!(take(&mut ranges, &fragment(0, 16, true, 1), true).is_some());
        assert!(take(&mut ranges, &fragment(16, 32, true, 1), true).is_some());
        assert_eq!(take(&mut ranges, &fragment(24, 40, true, 1), true), None);
        assert_eq!(take(&mut ranges, &fragment(40, 60, false, 1), true), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut ranges = ranges();
        for id in 0..1000u16 {
            let mut frame = fragment(0, 16, true, 1);
            frame[18..20].copy_from_slice(&id.to_be_bytes());
            let parsed = wire::parse(&frame);
            assert!(wire::offload::fill_ipv4_header(&mut frame, &parsed));
            assert!(take(&mut ranges, &frame, false).is_some());
            assert!(ranges.datagrams.len() <= 4);
        }
    }

    proptest! {
        /// No byte passes twice, and what passes first is what the datagram has.
        #[test]
        fn no_byte_twice(parts in prop::collection::vec((0u16..20, 1u16..9, any::<u8>()), 1..30)) {
            let mut ranges = ranges();
            let mut passed = [None; 240];
            for (start, len, mark) in parts {
                let (start, end) = (start * 8, (start + len) * 8);
                if let Some((at, bytes, _)) = take(&mut ranges, &fragment(start, end, true, mark), false) {
                    for (n, byte) in (at..).zip(bytes) {
                        prop_assert_eq!(passed[n], None, "byte {} passed before", n);
                        prop_assert_eq!(byte, (n as u8).wrapping_mul(mark));
                        passed[n] = Some(byte);
                    }
                }
            }
        }
    }
}
