//! Fragments: reassembly with pf's overlap policy, without copying payload, in memory sized once.
//!
//! # What is held, and what comes out
//!
//! A fragment that waits keeps its own buffer: it is *held*, neither posted nor free. When its datagram is whole, the
//! owner judges one frame, the *head*: headers and beginning of the datagram as if it had never been fragmented, with
//! the length of all of it. What it changes there (addresses, ports, time to live, ...) is carried over to the
//! fragments, which then leave in order in the buffers that they came in, cropped so that no byte is in two of them:
//! no buffer has to be found for what a datagram becomes, which on transmit there would be none for. An IPv4 datagram
//! that fits the MTU leaves as one frame, as from pf; an IPv6 one always leaves in the fragments that its sender made
//! (RFC 8200 section 4.5: only a source fragments), which is what pf's refragmentation comes to.
//!
//! Every frame that [`Reassembly::insert`] takes comes out of [`Reassembly::pop`] exactly once with its [`Outcome`];
//! until then it counts in [`Reassembly::held`]. A frame that is refused is given back at once.
//!
//! # How the pipeline uses it
//!
//! 1. For each fragment that is to be reassembled: [`Reassembly::insert`]. `Held` ends the matter for now. `Refused`
//!    gives the frame back, to be dropped. `Complete` calls for a judgement:
//! 2. [`Reassembly::whole`] gives the head and its parse, which are evaluated and rewritten as any frame's; then
//!    [`Whole::finish`] with the verdict.
//! 3. After each burst: [`Reassembly::pop`] until there is room for no more; [`Reassembly::ready`] says whether to come
//!    back. Now and then [`Reassembly::expire`], and when the interface goes down [`Reassembly::flush`].
//!
//! # Overlaps
//!
//! IPv4 (OpenBSD's and FreeBSD's `pf_fillup_fragment`): where a new fragment overlaps the one in front of it, what came
//! first stays; where it overlaps those behind it, the new one stays, and a fragment that it covers wholly is lost. A
//! fragment that contradicts the end of the datagram is dropped alone. IPv6 (RFC 5722 section 4): an overlap dooms the
//! datagram, all that is held of it and all that comes until it times out. `fragment crop` and `fragment drop-ovl`
//! hold nothing: [`Ranges`].

mod list;
mod place;
mod ranges;
#[cfg(test)]
mod tests;
mod whole;

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::table::{FlowId, FlowTable};
use super::{FlowKey, Secret};
use crate::wire::{Family, Parsed, ParsedFlags};
use list::{Entry, NONE};
use place::Place;
pub use ranges::Ranges;
pub use whole::Whole;

/// Most fragments of one datagram: 65535 bytes in the fragments of the smallest IPv4 MTU that is in use (576 bytes,
/// RFC 791) are 119. More are an attack on whoever sorts them.
pub const FRAGMENTS_MAX: usize = 128;
/// Bytes of a datagram's beginning that are shown to be judged: more than any answer quotes (RFC 4443 section 2.4 (c)).
pub const HEAD_MAX: usize = 2048;
/// Room beyond the limit for frames that are ready to leave.
const READY_ROOM: usize = 2 * FRAGMENTS_MAX;

/// A frame that can be held.
pub trait Frame {
    /// Its bytes, from the Ethernet header on.
    fn bytes(&self) -> &[u8];
    /// The same, to be changed.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Makes it shorter, or longer with bytes that do not matter. False, and no change, if its buffer has no such room.
    fn set_len(&mut self, len: usize) -> bool;
}

/// Why a fragment is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be part of a datagram, or overlaps in a way that is not allowed: pf's reason `fragment`.
    Bad,
    /// There is no room: pf's reason `memory`.
    Full,
    /// The rest never came: pf's reason `fragment`.
    Timeout,
    /// Everything held had to go.
    Stopped,
}

/// How a frame that was held ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<V> {
    /// As its datagram was judged.
    Judged(V),
    /// Its payload left in the datagram's first frame, which was judged.
    Merged,
    /// Dropped.
    Lost(Fault),
}

/// What [`Reassembly::insert`] did.
#[derive(Debug)]
pub enum Taken<P> {
    /// It waits for the others.
    Held,
    /// The datagram is whole and wants to be judged.
    Complete(FlowId),
    /// Given back.
    Refused(P, Fault),
}

/// What goes with a fragment besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Now, in nanoseconds.
    pub now: u64,
    /// Tells datagrams apart that share addresses and identification: the VLAN, for instance.
    pub zone: u16,
    /// `no-df`: an IPv4 fragment with the don't-fragment bit loses the bit instead of its life.
    pub no_df: bool,
    /// Nobody has looked at the IPv4 header checksum yet. (Not for transmit, where the NIC may be going to write it.)
    pub check_header: bool,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Datagrams that became whole.
    pub reassembled: u64,
    /// Datagrams given up because time was up.
    pub timeouts: u64,
    /// Datagrams given up because room was needed.
    pub evicted: u64,
    /// Fragments that overlapped others.
    pub overlaps: u64,
    /// Fragments dropped as [`Fault::Bad`].
    pub bad: u64,
    /// Fragments refused as [`Fault::Full`].
    pub full: u64,
}

/// What is known of one datagram.
#[derive(Default)]
struct Datagram {
    /// Its entries, by offset.
    first: u32,
    last: u32,
    count: usize,
    /// Bytes in them.
    bytes: u32,
    /// Where it ends, once the last fragment has come.
    total: Option<u32>,
    family: Family,
    /// An IPv6 datagram that had an overlap.
    doomed: bool,
    created: u64,
    older: Option<FlowId>,
    newer: Option<FlowId>,
}

/// See the module. `P` are the frames, `V` the verdicts.
pub struct Reassembly<P, V> {
    datagrams: FlowTable<Datagram>,
    oldest: Option<FlowId>,
    newest: Option<FlowId>,
    entries: Vec<Entry<P, V>>,
    free: u32,
    /// Entries of datagrams.
    collecting: usize,
    /// Entries that are ready to leave.
    ready: usize,
    ready_first: u32,
    ready_last: u32,
    /// Frames in any entry.
    held: usize,
    capacity: usize,
    limit: usize,
    timeout: u64,
    frame_max: usize,
    head: whole::Head,
    counts: Counts,
}

impl<P: Frame, V: Copy> Reassembly<P, V> {
    /// Room for `capacity` fragments that wait. `None` without memory.
    #[must_use]
    pub fn new(capacity: usize, secret: Secret) -> Option<Self> {
        let datagrams = FlowTable::new(capacity, 0, secret)?;
        let slots = u32::try_from(capacity.checked_add(READY_ROOM)?).ok()?;
        let mut entries = Vec::new();
        entries.try_reserve_exact(slots as usize).ok()?;
        entries.extend((0..slots).map(|index| Entry::free(if index + 1 == slots { NONE } else { index + 1 })));
        Some(Self {
            datagrams,
            oldest: None,
            newest: None,
            entries,
            free: 0,
            collecting: 0,
            ready: 0,
            ready_first: NONE,
            ready_last: NONE,
            held: 0,
            capacity,
            limit: capacity,
            timeout: 30_000_000_000,
            frame_max: 0,
            head: whole::Head::new(),
            counts: Counts::default(),
        })
    }

    /// Takes over `set limit frags` (no more than the capacity counts), `set timeout frag` in nanoseconds, and the
    /// longest frame that an IPv4 datagram may leave in: MTU and Ethernet header; 0 = always in fragments.
    pub fn configure(&mut self, limit: usize, timeout: u64, frame_max: usize) {
        self.limit = limit.min(self.capacity);
        self.timeout = timeout;
        self.frame_max = frame_max;
    }

    /// Frames that are here.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Frames that [`Reassembly::pop`] would give now.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a fragment: a frame whose parse has [`ParsedFlags::FRAGMENT`], with or without an error behind it.
    pub fn insert(&mut self, mut frame: P, parsed: &Parsed, arrival: &Arrival) -> Taken<P> {
        let Some(place) = Place::find(frame.bytes(), parsed, arrival) else {
            return self.refuse(frame, Fault::Bad);
        };
        if parsed.flags.contains(ParsedFlags::DONT_FRAGMENT) {
            if !arrival.no_df {
                return self.refuse(frame, Fault::Bad);
            }
            place.clear_df(frame.bytes_mut());
        }
        if self.collecting >= self.limit {
            self.make_room();
        }
        if self.free == NONE || self.collecting >= self.limit {
            return self.refuse(frame, Fault::Full);
        }
        let Some(id) = self.datagram(key(parsed, arrival.zone), parsed.family, arrival.now) else {
            return self.refuse(frame, Fault::Full);
        };
        match self.fill_up(id, &place) {
            Ok((start, previous)) => {
                let entry = Entry::held(frame, place, start);
                self.link(id, entry, previous);
                self.held += 1;
            }
            Err(doomed) => {
                if doomed {
                    self.doom(id);
                }
                self.forget_if_empty(id);
                return self.refuse(frame, Fault::Bad);
            }
        }
        if self.is_whole(id) && self.show(id) {
            self.counts.reassembled += 1;
            return Taken::Complete(id);
        }
        Taken::Held
    }

    fn refuse(&mut self, frame: P, fault: Fault) -> Taken<P> {
        match fault {
            Fault::Full => self.counts.full += 1,
            _ => self.counts.bad += 1,
        }
        Taken::Refused(frame, fault)
    }

    /// Where a new fragment goes: its first byte that counts, and the entry in front of it ([`NONE`]: it is the first).
    /// Those behind it are cropped. An error is whether the whole datagram is doomed.
    fn fill_up(&mut self, id: FlowId, place: &Place) -> Result<(u32, u32), bool> {
        let datagram = self.datagrams.get(id).ok_or(false)?;
        if datagram.doomed || datagram.count >= FRAGMENTS_MAX {
            return Err(false);
        }
        let (family, total, last, first) = (datagram.family, datagram.total, datagram.last, datagram.first);
        let seen = self.entry(last).map_or(0, |entry| entry.end);
        let contradicts = match total {
            Some(total) => place.end > total || (place.end == total && place.more),
            None => place.end == seen && !place.more,
        };
        if contradicts || (place.end < seen && !place.more) {
            return Err(false);
        }
        let previous = self.before(first, last, place.start);
        let mut start = place.start;
        if let Some((_, end, _)) = self.span(previous)
            && end > start
        {
            self.counts.overlaps += 1;
            if family == Family::V6 {
                return Err(true);
            }
            start = end;
            if start >= place.end {
                return Err(false);
            }
        }
        let mut behind = self.entry(previous).map_or(first, |entry| entry.next);
        while let Some((start, end, next)) = self.span(behind)
            && start < place.end
        {
            self.counts.overlaps += 1;
            if family == Family::V6 {
                return Err(true);
            }
            if end > place.end {
                self.crop_front(id, behind, place.end);
                break;
            }
            self.unlink(id, behind, previous);
            self.make_ready(behind, Outcome::Lost(Fault::Bad));
            behind = next;
        }
        Ok((start, previous))
    }

    /// Gives up datagrams whose time is up, `budget` at most; true if it came to the end of them.
    pub fn expire(&mut self, now: u64, budget: usize) -> bool {
        for _ in 0..budget {
            let Some(id) = self.oldest else {
                return true;
            };
            let due =
                self.datagrams.get(id).is_none_or(|datagram| now.saturating_sub(datagram.created) >= self.timeout);
            if !due {
                return true;
            }
            self.counts.timeouts += 1;
            self.give_up(id, Fault::Timeout);
        }
        false
    }

    /// Gives up everything: all frames become ready.
    pub fn flush(&mut self) {
        while let Some(id) = self.oldest {
            self.give_up(id, Fault::Stopped);
        }
    }

    /// The oldest datagrams go until a tenth of the room is free, as pf does it (`pf_flush_fragments`).
    fn make_room(&mut self) {
        let goal = self.limit - self.limit.div_ceil(10);
        while self.collecting > goal
            && let Some(id) = self.oldest
        {
            self.counts.evicted += 1;
            self.give_up(id, Fault::Full);
        }
    }

    /// A frame that has its outcome.
    pub fn pop(&mut self) -> Option<(P, Outcome<V>)> {
        while let Some(index) = self.take_ready() {
            if let Some(found) = self.free_entry(index) {
                self.held -= 1;
                return Some(found);
            }
        }
        None
    }
}

/// What tells datagrams apart: addresses, identification, zone, and for IPv4 the protocol (RFC 791 section 3.2; RFC 8200
/// section 4.5: in IPv6 only the first fragment's counts).
fn key(parsed: &Parsed, zone: u16) -> FlowKey {
    let id = parsed.fragment.id;
    let protocol = if parsed.family == Family::V4 { parsed.protocol } else { 0 };
    FlowKey::new((&parsed.src, id as u16), (&parsed.dst, (id >> 16) as u16), protocol, parsed.family, zone)
}

/// A box of zeros. Allocates: at Start only.
fn zeroed<const N: usize>() -> Box<[u8; N]> {
    Box::new([0; N])
}
