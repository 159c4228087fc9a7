//! A datagram that is whole: what is shown of it, and how it leaves.

use alloc::boxed::Box;

use super::list::NONE;
use super::{Fault, Frame, HEAD_MAX, Outcome, Reassembly, zeroed};
use crate::flow::table::FlowId;
use crate::wire::rewrite::Edit;
use crate::wire::{self, Family, Parsed};

/// The datagram that is shown.
pub(super) struct Head {
    id: Option<FlowId>,
    /// The datagram's beginning, as it is being changed and as it was.
    bytes: Box<[u8; HEAD_MAX]>,
    before: Box<[u8; HEAD_MAX]>,
    /// Bytes of both that count.
    len: usize,
    /// Where the datagram's data starts.
    data: usize,
    /// The length of the whole frame.
    frame_len: usize,
    parsed: Parsed,
    parsed_before: Parsed,
}

impl Head {
    pub fn new() -> Self {
        Self {
            id: None,
            bytes: zeroed(),
            before: zeroed(),
            len: 0,
            data: 0,
            frame_len: 0,
            parsed: Parsed::default(),
            parsed_before: Parsed::default(),
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A datagram that waits for its verdict. One that gets none stays held until its time is up.
#[must_use]
pub struct Whole<'a, P, V> {
    owner: &'a mut Reassembly<P, V>,
    id: FlowId,
}

impl<P: Frame, V: Copy> Reassembly<P, V> {
    /// The datagram that [`super::Taken::Complete`] has named last, until it is finished.
    pub fn whole(&mut self, id: FlowId) -> Option<Whole<'_, P, V>> {
        (self.head.id == Some(id) && self.datagrams.get(id).is_some()).then_some(Whole { owner: self, id })
    }

    /// Writes a datagram's head. False, and nothing is held of it any more, if it cannot be.
    pub(super) fn show(&mut self, id: FlowId) -> bool {
        let shown = self.write_head(id);
        self.head.id = shown.map(|()| id);
        if shown.is_none() {
            self.give_up(id, Fault::Bad);
        }
        shown.is_some()
    }

    fn write_head(&mut self, id: FlowId) -> Option<()> {
        let datagram = self.datagrams.get(id)?;
        let total = datagram.total?;
        let mut at = datagram.first;
        let first = self.entries.get(at as usize)?;
        let head = &mut self.head;
        head.data = first.place?.write_head(first.frame.as_ref()?.bytes(), total, head.bytes.as_mut_slice())?;
        head.frame_len = head.data + total as usize;
        head.len = head.frame_len.min(HEAD_MAX);
        while let Some(entry) = self.entries.get(at as usize) {
            let place = entry.place?;
            let to = head.data + entry.start as usize;
            if to >= HEAD_MAX {
                break;
            }
            let from = place.data + (entry.start - place.start) as usize;
            let len = ((entry.end - entry.start) as usize).min(HEAD_MAX - to);
            let source = entry.frame.as_ref()?.bytes().get(from..from + len)?;
            head.bytes.get_mut(to..to + len)?.copy_from_slice(source);
            at = entry.next;
        }
        head.before.copy_from_slice(head.bytes.as_slice());
        let whole = head.frame_len == head.len;
        head.parsed = if whole { wire::parse(head.bytes()) } else { wire::parse_head(head.bytes()) };
        head.parsed_before = head.parsed;
        Some(())
    }
}

impl<P: Frame, V: Copy> Whole<'_, P, V> {
    /// The beginning of the datagram, at most [`HEAD_MAX`] bytes, and the parse of all of it. Both may be changed, in step.
    pub fn head(&mut self) -> (&mut [u8], &mut Parsed) {
        let head = &mut self.owner.head;
        (head.bytes.get_mut(..head.len).unwrap_or_default(), &mut head.parsed)
    }

    /// Bytes of the frame that the datagram would be.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        self.owner.head.frame_len
    }

    /// How many fragments it came in.
    #[must_use]
    pub fn fragments(&self) -> usize {
        self.owner.datagrams.get(self.id).map_or(0, |datagram| datagram.count)
    }

    /// Gives the verdict. With `pass`, what was changed in the head is carried over to the frames that leave; without,
    /// they are as they came, and only to be disposed of. All become ready.
    pub fn finish(self, verdict: V, pass: bool) {
        let Self { owner, id } = self;
        owner.head.id = None;
        let merged = pass && owner.merge(id);
        if pass && !merged {
            owner.carry_over(id);
        }
        let Some(first) = owner.datagrams.get(id).map(|datagram| datagram.first) else {
            return;
        };
        if merged {
            owner.unlink(id, first, NONE);
            owner.make_ready(first, Outcome::Judged(verdict));
            owner.empty(id, Outcome::Merged);
        } else {
            owner.empty(id, Outcome::Judged(verdict));
        }
        owner.forget(id);
    }
}

impl<P: Frame, V: Copy> Reassembly<P, V> {
    /// Joins an IPv4 datagram in its first frame. False, and no change, if it does not fit.
    fn merge(&mut self, id: FlowId) -> bool {
        let Some(datagram) = self.datagrams.get(id) else {
            return false;
        };
        let (first, family) = (datagram.first, datagram.family);
        if family != Family::V4 || self.head.frame_len > self.frame_max {
            return false;
        }
        let Some((mut frame, mut at)) = self.entry_mut(first).and_then(|entry| Some((entry.frame.take()?, entry.next)))
        else {
            return false;
        };
        let fits = frame.set_len(self.head.frame_len);
        while fits && let Some(entry) = self.entries.get(at as usize) {
            if let (Some(from), Some(place)) = (&entry.frame, entry.place) {
                let start = place.data + (entry.start - place.start) as usize;
                let len = (entry.end - entry.start) as usize;
                let to = self.head.data + entry.start as usize;
                let source = from.bytes().get(start..start + len);
                if let (Some(source), Some(target)) = (source, frame.bytes_mut().get_mut(to..to + len)) {
                    target.copy_from_slice(source);
                }
            }
            at = entry.next;
        }
        // What the first frame had at its place is there already; the head has all changes.
        if fits && let Some(target) = frame.bytes_mut().get_mut(..self.head.len) {
            target.copy_from_slice(self.head.bytes());
        }
        if let Some(entry) = self.entry_mut(first) {
            entry.frame = Some(frame);
        }
        fits
    }

    /// Makes each fragment what it is to leave as: no byte twice, and changed as the head was.
    fn carry_over(&mut self, id: FlowId) {
        let Some(datagram) = self.datagrams.get(id) else {
            return;
        };
        let (mut at, total) = (datagram.first, datagram.total.unwrap_or(0));
        let head = &self.head;
        while let Some(entry) = self.entries.get_mut(at as usize) {
            at = entry.next;
            let (Some(frame), Some(place)) = (&mut entry.frame, entry.place) else {
                continue;
            };
            let Some(len) = place.refit(frame.bytes_mut(), entry.start, entry.end, entry.end != total) else {
                continue;
            };
            let _ = frame.set_len(len);
            let bytes = frame.bytes_mut();
            change_network(bytes, &place.describe(bytes), head);
            change_data(bytes, place.data, (entry.start, entry.end), head);
        }
    }
}

/// Carries changes of link and network header over to a fragment.
fn change_network(frame: &mut [u8], parsed: &Parsed, head: &Head) {
    let (was, is) = (&head.parsed_before, &head.parsed);
    let mut parsed = *parsed;
    let Some(mut edit) = Edit::new(frame, &mut parsed, false) else {
        return;
    };
    if is.src != was.src {
        edit.set_src(is.src);
    }
    if is.dst != was.dst {
        edit.set_dst(is.dst);
    }
    if is.ttl != was.ttl {
        edit.set_ttl(is.ttl);
    }
    if is.tos != was.tos {
        edit.set_tos(is.tos);
    }
    if is.fragment.id != was.fragment.id {
        edit.set_datagram_id(is.fragment.id as u16);
    }
    for (index, (is, was)) in is.vlans.iter().zip(was.vlans).enumerate() {
        if *is != was {
            edit.set_vlan(index, *is);
        }
    }
}

/// Carries changes of the data, which starts with the transport header, over to the fragment that has bytes `span` of
/// it, from `at` on.
fn change_data(frame: &mut [u8], at: usize, (start, end): (u32, u32), head: &Head) {
    let from = head.data + start as usize;
    let to = (head.data + end as usize).min(head.len);
    let (Some(is), Some(was)) = (head.bytes.get(from..to), head.before.get(from..to)) else {
        return;
    };
    if is != was
        && let Some(target) = frame.get_mut(at..at + is.len())
    {
        target.copy_from_slice(is);
    }
}
