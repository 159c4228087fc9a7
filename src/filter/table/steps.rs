//! The addresses at which a table's answer changes, and how one of them is found.
//!
//! Addresses are inside behind an odd number of steps. A root, which maps addresses in proportion to numbers of a few
//! steps each, makes the search short: with addresses that are spread evenly it ends in the root's entry and a
//! cache line or two. Where they are not, what a root's entry leaves is searched by halves.

use alloc::vec::Vec;

use super::super::TableEntry;
use super::BURST;
use crate::mem::prefetch;

/// An address as a number.
pub(super) trait Number: Copy + Ord + Default {
    /// Steps that are compared without a branch; more are searched by halves.
    const WINDOW: usize;

    /// The upper 64 bits, or all with zeros behind.
    fn upper(self) -> u64;
}

impl Number for u32 {
    const WINDOW: usize = 8;

    #[inline(always)]
    fn upper(self) -> u64 {
        u64::from(self) << 32
    }
}

impl Number for u128 {
    const WINDOW: usize = 4;

    #[inline(always)]
    fn upper(self) -> u64 {
        (self >> 64) as u64
    }
}

/// Steps of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps<T> {
    starts: Vec<T>,
    /// For each part of the address space, how many steps are before it; one more at the end.
    root: Vec<u32>,
    /// Where the first part begins, upper bits.
    base: u64,
    /// Parts per address, as a fraction of 2^64.
    scale: u64,
}

impl<T: Number> Steps<T> {
    /// From steps in ascending order. Allocates.
    pub(super) fn new(starts: Vec<T>) -> Option<Self> {
        let count = u32::try_from(starts.len()).ok()?;
        let base = starts.first().map_or(0, |first| first.upper());
        let span = starts.last().map_or(0, |last| last.upper() - base);
        // A quarter of the window on average.
        let parts = (starts.len() * 4 / T::WINDOW).next_power_of_two().max(1);
        let (scale, _) = crate::wire::divide::div_rem((parts as u128) << 64, u128::from(span) + 1)?;
        let scale = u64::try_from(scale).unwrap_or(u64::MAX);
        let mut root = Vec::new();
        root.try_reserve_exact(parts + 1).ok()?;
        let mut steps = Self { starts, root, base, scale };
        for (number, start) in (0u32..).zip(&steps.starts) {
            let part = steps.raw_part(*start).min(parts - 1);
            while steps.root.len() <= part {
                steps.root.push(number);
            }
        }
        while steps.root.len() <= parts {
            steps.root.push(count);
        }
        Some(steps)
    }

    #[inline(always)]
    fn raw_part(&self, addr: T) -> usize {
        let behind = addr.upper().saturating_sub(self.base);
        ((u128::from(behind) * u128::from(self.scale)) >> 64) as usize
    }

    /// The part of the root that an address is in. The larger the address, the larger the part.
    #[inline(always)]
    fn part(&self, addr: T) -> usize {
        self.raw_part(addr).min(self.root.len().saturating_sub(2))
    }

    /// The steps of a part: the first one's number, and one behind the last.
    #[inline(always)]
    fn range(&self, part: usize) -> (u32, u32) {
        match self.root.get(part..) {
            Some([first, end, ..]) => (*first, *end),
            _ => (0, 0),
        }
    }

    /// True if an odd number of steps is at or before the address, whose part has the steps from `first` to `end`.
    #[inline(always)]
    fn search(&self, (first, end): (u32, u32), addr: T) -> bool {
        let (first, end) = (first as usize, end as usize);
        // Steps of later parts are behind the address, whether they are compared or not.
        let steps = match self.starts.get(first..first + T::WINDOW) {
            Some(window) if end - first <= T::WINDOW => {
                window.iter().fold(0, |steps, start| steps + u32::from(*start <= addr)) as usize
            }
            _ => self.starts.get(first..end).map_or(0, |steps| steps.partition_point(|start| *start <= addr)),
        };
        (first + steps) & 1 != 0
    }

    pub(super) fn contains(&self, addr: T) -> bool {
        self.search(self.range(self.part(addr)), addr)
    }

    pub(super) fn contains_burst(&self, addrs: &[T], inside: &mut [bool]) {
        for (addrs, inside) in addrs.chunks(BURST).zip(inside.chunks_mut(BURST)) {
            let mut parts = [0usize; BURST];
            for (part, addr) in parts.iter_mut().zip(addrs) {
                *part = self.part(*addr);
                prefetch::element(&self.root, *part);
            }
            let mut ranges = [(0, 0); BURST];
            for ((range, part), _) in ranges.iter_mut().zip(&parts).zip(addrs) {
                *range = self.range(*part);
                prefetch::element(&self.starts, range.0 as usize);
                prefetch::element(&self.starts, range.1 as usize);
            }
            for ((inside, addr), range) in inside.iter_mut().zip(addrs).zip(&ranges) {
                *inside = self.search(*range, *addr);
            }
        }
    }

    /// The numbers of the steps at `first` and behind, and of those behind `next`; `None`: behind the last address.
    pub(super) fn between(&self, first: T, next: Option<T>) -> (usize, usize) {
        let begin = self.starts.partition_point(|start| *start < first);
        let end = next.map_or(self.starts.len(), |next| self.starts.partition_point(|start| *start <= next));
        (begin, end)
    }

    /// Puts other steps in the place of those that [`Steps::between`] named. `None` without memory. Allocates.
    pub(super) fn replace(&mut self, first: T, next: Option<T>, with: &[T]) -> Option<()> {
        let (begin, end) = self.between(first, next);
        let old = end.checked_sub(begin)?;
        self.starts.try_reserve(with.len().saturating_sub(old)).ok()?;
        self.starts.splice(begin..end, with.iter().copied());
        let count = u32::try_from(self.starts.len()).ok()?;
        // Twice as many steps as the root was made for: a new one.
        let parts = self.root.len().saturating_sub(1);
        if self.starts.len() > parts * T::WINDOW / 2 {
            *self = Self::new(core::mem::take(&mut self.starts))?;
            return Some(());
        }
        let (low, high) = (self.part(first), next.map_or(parts - 1, |next| self.part(next)));
        let mut number = begin;
        for part in low + 1..=high {
            while self.starts.get(number).is_some_and(|start| self.part(*start) < part) {
                number += 1;
            }
            *self.root.get_mut(part)? = number as u32;
        }
        let (old, new) = (u32::try_from(old).ok()?, u32::try_from(with.len()).ok()?);
        for before in self.root.get_mut(high + 1..)? {
            *before = before.wrapping_add(new).wrapping_sub(old);
        }
        debug_assert_eq!(self.root.last(), Some(&count));
        Some(())
    }

    /// The same. `None` without memory. Allocates.
    pub(super) fn copy(&self) -> Option<Self> {
        let mut copy = Self { starts: Vec::new(), root: Vec::new(), base: self.base, scale: self.scale };
        copy.starts.try_reserve_exact(self.starts.len().checked_add(2)?).ok()?;
        copy.starts.extend_from_slice(&self.starts);
        copy.root.try_reserve_exact(self.root.len()).ok()?;
        copy.root.extend_from_slice(&self.root);
        Some(copy)
    }

    pub(super) const fn len(&self) -> usize {
        self.starts.len()
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.starts.capacity() * size_of::<T>() + self.root.capacity() * size_of::<u32>()
    }
}

/// The steps of prefixes that are sorted by address and length; `bits` is the length of an address. Addresses stand in
/// the upper bits. Allocates.
pub(super) fn steps<'a>(entries: impl Iterator<Item = &'a TableEntry> + Clone, bits: u8) -> Option<Vec<u128>> {
    let mut made = Made { steps: room_for(entries.clone().count())?, before: false, around: false };
    made.go_through(entries, bits);
    Some(made.steps)
}

/// The steps from `first` to the address behind `last`, which `around` surrounds: what the longest prefix that covers both
/// says. `before` and `after`: whether the addresses in front of and behind them are inside. Allocates.
pub(super) fn steps_between<'a>(
    (first, last): (u128, u128),
    entries: impl Iterator<Item = &'a TableEntry> + Clone,
    bits: u8,
    around: bool,
    (before, after): (bool, bool),
) -> Option<Vec<u128>> {
    let mut made = Made { steps: room_for(entries.clone().count().checked_add(1)?)?, before, around };
    made.answer(first, around);
    made.go_through(entries, bits);
    if let Some(next) = last.checked_add(1) {
        made.answer(next, after);
    }
    Some(made.steps)
}

fn room_for(entries: usize) -> Option<Vec<u128>> {
    let mut steps = Vec::new();
    steps.try_reserve_exact(entries.checked_mul(2)?).ok()?;
    Some(steps)
}

/// The prefixes that cover an address, the shortest first, each with its last address and whether what it covers is
/// inside. More than 129 nested prefixes do not exist: each is longer than the one around it.
type Open = heapless::Vec<(u128, bool), 129>;

/// Steps as they are found.
struct Made {
    steps: Vec<u128>,
    /// Addresses in front of the first step are inside.
    before: bool,
    /// Addresses that no prefix covers are inside.
    around: bool,
}

impl Made {
    fn go_through<'a>(&mut self, entries: impl Iterator<Item = &'a TableEntry>, bits: u8) {
        let mut open = Open::new();
        for entry in entries {
            let start = u128::from_be_bytes(entry.addr);
            self.close(&mut open, Some(start));
            self.answer(start, !entry.negate);
            let _ = open.push((last_of(start, entry.len, bits), !entry.negate));
        }
        self.close(&mut open, None);
    }

    /// Ends the open prefixes that lie before `next`: behind each, the one around it answers again.
    fn close(&mut self, open: &mut Open, next: Option<u128>) {
        while let Some((last, _)) = open.last().copied()
            && next.is_none_or(|next| last < next)
        {
            open.pop();
            // None: the prefix ends with the last address there is.
            if let Some(start) = last.checked_add(1) {
                self.answer(start, open.last().map_or(self.around, |(_, inside)| *inside));
            }
        }
    }

    /// From `start` on, addresses are inside or not. A step that is taken back at once goes away.
    fn answer(&mut self, start: u128, inside: bool) {
        if self.steps.len().is_multiple_of(2) == (self.before == inside) {
            return;
        }
        if self.steps.last() == Some(&start) {
            self.steps.pop();
        } else {
            self.steps.push(start);
        }
    }
}

/// The last address of a prefix.
pub(super) fn last_of(start: u128, len: u8, bits: u8) -> u128 {
    start | u128::MAX.checked_shr(u32::from(len.min(bits))).unwrap_or(0)
}
