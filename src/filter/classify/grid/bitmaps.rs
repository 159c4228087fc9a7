//! Rules by all fields at once, where a grid of their addresses would be too large and their leaves in tables too long.
//!
//! Each field is cut into a few classes, and each class has a row with a bit for every rule that a header of the class may
//! match, the best rule first: the bits that are in the rows of all a header's classes are the rules left to compare. It is
//! Lakshman and Stiliadis' scheme (SIGCOMM 1998) with as many classes as memory in proportion to the rules allows, instead
//! of one for each interval: no rules make it larger, and none slower than a look at an eighth of a byte a rule and field,
//! and a comparison with those blocks of rules that its classes do not tell from what is looked for.

use alloc::vec::Vec;

use super::super::block::{Block, LANES};
use super::super::{Key, NONE, Rule};
use super::axis::push;
use super::cells::{is_for, prefix, values, wide};
use crate::mem::locate::KINDS;

/// Classes of an address or a port.
const CLASSES: usize = 64;

/// Rows: of the classes of two addresses and two ports, and of kinds.
const ROWS: usize = 4 * CLASSES + KINDS + 1;

/// Most rules: 4 MB of bits.
pub(super) const MOST: usize = 1 << 17;

/// Rules of a line of bits.
const LINE: usize = 512;

/// The bits of a block's rules.
const BLOCK: u64 = (1 << LANES) - 1;

/// What finding the classes costs, a line of all rows, and a block that is compared: in blocks that are compared one behind the
/// other.
const CLASSED: u32 = 8;
const LOOKED: u32 = 3;
const COMPARED: u32 = 2;

/// A cache line of a row.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u64; LINE / 64]);

/// Where the classes of a field begin. The first begins with the least value, and where there are fewer the last begins
/// more than once.
#[derive(Clone, Debug)]
struct Starts<T>([T; CLASSES]);

impl<T: Copy + Ord + Default> Starts<T> {
    /// From where ranges begin and where what is behind them does, in order.
    fn new(sorted: &[T]) -> Self {
        let mut starts = Self([T::default(); CLASSES]);
        let Some((_, to)) = starts.0.split_first_mut() else { return starts };
        let mut all = sorted.chunk_by(|a, b| a == b).filter_map(|same| same.first()).copied();
        if all.clone().count() < CLASSES {
            let last = sorted.last().copied().unwrap_or_default();
            to.fill_with(|| all.next().unwrap_or(last));
        } else {
            // So that each has about as many of them.
            for (number, to) in (1..).zip(to) {
                *to = sorted.get(number * sorted.len() / CLASSES).copied().unwrap_or_default();
            }
        }
        starts
    }

    /// The class of a value.
    #[inline(always)]
    fn class(&self, value: T) -> usize {
        let mut class = 0;
        for step in [32, 16, 8, 4, 2, 1] {
            let next = (class | step) & (CLASSES - 1);
            class = if self.0.get(next).is_some_and(|start| *start <= value) { next } else { class };
        }
        class
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Bitmaps<const W: usize> {
    /// In the order of priority.
    blocks: Vec<Block<W>>,
    addrs: [Starts<u128>; 2],
    ports: [Starts<u16>; 2],
    /// The kind of each lower byte of a class.
    kinds: [u8; 256],
    rows: Vec<Line>,
    /// Of a row.
    lines: usize,
}

/// The least and the greatest address that a rule has on a side: all, if its mask is no prefix.
fn range<const W: usize>(addr: &[u32; W], mask: &[u32; W]) -> (u128, u128) {
    prefix(addr, mask).map_or((0, u128::MAX), |(addr, len)| (addr, addr | u128::MAX.unbounded_shr(len.into())))
}

fn addrs<const W: usize>(rule: &Rule<W>, side: usize) -> (u128, u128) {
    if side == 0 { range(&rule.src, &rule.src_mask) } else { range(&rule.dst, &rule.dst_mask) }
}

fn ports<const W: usize>(rule: &Rule<W>, side: usize) -> (u16, u16) {
    let ([low_a, low_b], [high_a, high_b]) = (rule.low, rule.high);
    if side == 0 { (low_a, high_a) } else { (low_b, high_b) }
}

/// Classes for ranges, given by their ends. `None` without memory.
fn classes<T: Copy + Ord + Default>(
    ranges: impl Iterator<Item = (T, T)>,
    behind: impl Fn(T) -> Option<T>,
) -> Option<Starts<T>> {
    let mut ends = Vec::new();
    for (first, last) in ranges {
        for start in [Some(first).filter(|first| *first > T::default()), behind(last)].into_iter().flatten() {
            push(&mut ends, start)?;
        }
    }
    ends.sort_unstable();
    Some(Starts::new(&ends))
}

impl<const W: usize> Bitmaps<W> {
    /// From rules in the order of priority. `None` if there are too many, or without memory. Allocates.
    pub(super) fn new(sorted: &[&Rule<W>]) -> Option<Self> {
        if sorted.len() > MOST {
            return None;
        }
        let all = || sorted.iter().copied();
        let addrs_of = |side| classes(all().map(|rule| addrs(rule, side)), |last| last.checked_add(1));
        let ports_of = |side| classes(all().map(|rule| ports(rule, side)), |last| last.checked_add(1));
        let lines = sorted.len().div_ceil(LINE);
        let mut bitmaps = Self {
            blocks: Vec::new(),
            addrs: [addrs_of(0)?, addrs_of(1)?],
            ports: [ports_of(0)?, ports_of(1)?],
            kinds: [0; 256],
            rows: Vec::new(),
            lines,
        };
        bitmaps.blocks.try_reserve_exact(sorted.len().div_ceil(LANES)).ok()?;
        bitmaps.blocks.extend(sorted.chunks(LANES).map(|rules| {
            let mut block = Block::EMPTY;
            (0..LANES).for_each(|lane| block.set(lane, rules.get(lane).copied()));
            block
        }));
        bitmaps.rows.try_reserve_exact(ROWS * lines).ok()?;
        bitmaps.rows.resize(ROWS * lines, Line([0; LINE / 64]));
        let values = values(sorted);
        for (kind, value) in (1u8..).zip(&values) {
            *bitmaps.kinds.get_mut(usize::from(*value))? = kind;
        }
        for (number, rule) in sorted.iter().enumerate() {
            for side in 0..2 {
                let ((from, to), starts) = (addrs(rule, side), bitmaps.addrs.get(side)?);
                let classes = starts.class(from)..=starts.class(to);
                bitmaps.set(number, classes.map(|class| side * CLASSES + class))?;
                let ((from, to), starts) = (ports(rule, side), bitmaps.ports.get(side)?);
                let classes = starts.class(from)..=starts.class(to);
                bitmaps.set(number, classes.map(|class| (2 + side) * CLASSES + class))?;
            }
            let kinds = core::iter::once(None).chain(values.iter().copied().map(Some));
            let kinds = kinds.enumerate().filter(|(_, value)| is_for(rule, *value, &values));
            bitmaps.set(number, kinds.map(|(kind, _)| 4 * CLASSES + kind))?;
        }
        Some(bitmaps)
    }

    /// Sets a rule's bit in rows.
    fn set(&mut self, rule: usize, rows: impl Iterator<Item = usize>) -> Option<()> {
        for row in rows {
            let line = self.rows.get_mut(row * self.lines + rule / LINE)?;
            *line.0.get_mut(rule % LINE / 64)? |= 1 << (rule % 64);
        }
        Some(())
    }

    /// What they take, in bytes.
    pub(super) const fn memory_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block<W>>() + self.rows.capacity() * size_of::<Line>() + size_of::<Self>()
    }

    /// The best priority of the rules that match a header if it is better than `best`, else [`NONE`] or a worse one; and about
    /// what that costs, in blocks.
    #[inline(always)]
    pub(super) fn find(&self, key: &Key<W>, best: u32) -> (u32, u32) {
        let mut cost = CLASSED;
        let Some([a, b, c, d, e]) = self.rows_of(key) else { return (NONE, cost) };
        let rows = a.iter().zip(b).zip(c).zip(d).zip(e);
        for (number, ((((a, b), c), d), e)) in rows.enumerate() {
            cost += LOOKED;
            let mut left = Line([0; LINE / 64]);
            for (at, left) in left.0.iter_mut().enumerate() {
                let word = |line: &Line| line.0.get(at).copied().unwrap_or(0);
                *left = word(a) & word(b) & word(c) & word(d) & word(e);
            }
            if left.0.iter().fold(0, |any, word| any | word) == 0 {
                continue;
            }
            for (word, mut left) in left.0.into_iter().enumerate() {
                while left != 0 {
                    let first = left.trailing_zeros() as usize / LANES * LANES;
                    left &= !(BLOCK << first);
                    cost += COMPARED;
                    let Some(block) = self.blocks.get((number * LINE + word * 64 + first) / LANES) else { break };
                    if block.priority(0).is_none_or(|priority| priority >= best) {
                        return (NONE, cost);
                    }
                    let found = block.find(key);
                    if found != NONE {
                        return (found, cost);
                    }
                }
            }
        }
        (NONE, cost)
    }

    /// The rows of a header's classes.
    #[inline(always)]
    fn rows_of(&self, key: &Key<W>) -> Option<[&[Line]; 5]> {
        let ([src, dst], [src_port, dst_port], [a, b]) = (&self.addrs, &self.ports, key.ports);
        let kind = self.kinds.get(usize::from(key.class as u8)).copied()?;
        let row = |field: usize, class: usize| {
            let row = (field * CLASSES + class) * self.lines;
            self.rows.get(row..row + self.lines)
        };
        Some([
            row(0, src.class(wide(&key.src)))?,
            row(1, dst.class(wide(&key.dst)))?,
            row(2, src_port.class(a))?,
            row(3, dst_port.class(b))?,
            row(4, kind.into())?,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_is_of_the_last_class_that_begins_before(
            mut sorted in prop::collection::vec(1u16..500, 0..300),
            values in prop::collection::vec(0u16..600, 1..20),
        ) {
            sorted.sort_unstable();
            let starts = Starts::new(&sorted);
            prop_assert!(starts.0.is_sorted());
            for value in values.into_iter().chain([0, u16::MAX]) {
                let class = starts.0.iter().rposition(|start| *start <= value);
                prop_assert_eq!(Some(starts.class(value)), class);
            }
        }
    }
}
