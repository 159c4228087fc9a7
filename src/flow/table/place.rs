//! Where a flow is.

use core::num::NonZeroU32;

use super::{Candidate, FlowId};
use crate::flow::key::{Head, Tail};
use crate::flow::{FlowKey, Wanted, is_long};

/// A flow's first place.
#[repr(C, align(64))]
pub(super) struct Slot<T> {
    /// The key's, if it is in use; otherwise nobody's.
    pub(super) head: Head,
    /// Odd: in use.
    pub(super) generation: NonZeroU32,
    /// In use: its first further key. Free: the next free slot.
    pub(super) next: u32,
    pub(super) value: T,
}

/// A flow's second place.
#[repr(C, align(64))]
pub(super) struct Second<U> {
    /// The rest of the key.
    pub(super) tail: Tail,
    pub(super) value: U,
}

impl<T> Slot<T> {
    #[inline(always)]
    pub(super) const fn is_used(&self) -> bool {
        self.generation.get() & 1 != 0
    }

    /// This is where the flow with this id is.
    #[inline(always)]
    pub(super) fn has(&self, id: FlowId) -> bool {
        self.generation == id.generation && self.is_used()
    }

    /// Taken, or free again.
    pub(super) fn turn(&mut self) {
        // Behind the last, which is odd, comes the first that is even.
        self.generation = self.generation.checked_add(1).unwrap_or(const { NonZeroU32::MIN.saturating_add(1) });
    }
}

impl<U> Second<U> {
    /// The rest of this key is here.
    #[inline(always)]
    pub(super) const fn is_of(&self, key: &FlowKey) -> bool {
        key.has_tail(&self.tail)
    }
}

/// The flows' lines of a table.
pub struct Lines<'a, T, U> {
    pub(super) slots: &'a mut [Slot<T>],
    pub(super) seconds: &'a mut [Second<U>],
}

impl<T, U> Lines<'_, T, U> {
    /// The first part of the flow that was inserted with this key, if it is where `FlowTable::candidate` said, and the
    /// way to the second part. Nothing is said about its absence.
    #[inline(always)]
    pub fn at(&mut self, candidate: Candidate, key: &impl Wanted) -> Option<(&mut T, Behind<'_, U>)> {
        let index = candidate.0 as usize;
        let slot = self.slots.get_mut(index)?;
        let head = key.head();
        if slot.head != head || (is_long(&head) && self.seconds.get(index)?.tail != *key.tail()) {
            return None;
        }
        Some((&mut slot.value, Behind { seconds: self.seconds, index }))
    }
}

/// The way to the second part of a flow's data, which not everybody goes.
pub struct Behind<'a, U> {
    pub(super) seconds: &'a mut [Second<U>],
    pub(super) index: usize,
}

impl<'a, U> Behind<'a, U> {
    /// The second part.
    #[inline(always)]
    pub fn second(self) -> Option<&'a mut U> {
        self.seconds.get_mut(self.index).map(|second| &mut second.value)
    }
}

/// A further key of a flow.
#[derive(Clone, Copy)]
pub(super) struct Further {
    pub(super) key: FlowKey,
    pub(super) owner: u32,
    /// In use: the flow's next one. Free: the next free one.
    pub(super) next: u32,
}
