//! Building a grid.
//!
//! The rules of a cell are those whose prefixes are the cell's classes, and those of the cells with the next shorter
//! prefix on either side. Lists of rules are kept once each and known by number, so that most cells cost a comparison
//! of two numbers.

use alloc::vec::Vec;

use super::super::Rule;
use super::axis::{Classes, FAN, Prefix, push};
use super::leaf::{self, Block, LANES};
use super::{DEAD, Grid, NEAR};
use crate::mem::locate::{CHUNK, KINDS};

/// How large a grid may become.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Limits {
    /// Cells.
    pub cells: usize,
    /// Blocks of eight rules, at most `u16::MAX`.
    pub blocks: usize,
    /// Nodes of the tries, at most 2^15.
    pub nodes: usize,
}

/// Rules of a list, at most.
const LONGEST: usize = 512;

/// Rules of all lists together, at most.
const ITEMS: usize = 1 << 20;

/// Lists, at most.
const LISTS: usize = 3 << 15;

/// Unions that are remembered.
const UNIONS: usize = 1 << 14;

/// Lists of numbers, each known by its own.
struct Lists {
    items: Vec<u32>,
    /// Where each begins; one more for the end.
    starts: Vec<u32>,
    /// By hash.
    slots: Vec<u32>,
}

impl Lists {
    /// With the empty list as number 0.
    fn new() -> Option<Self> {
        let mut lists = Self { items: Vec::new(), starts: Vec::new(), slots: Vec::new() };
        push(&mut lists.starts, 0)?;
        lists.slots.try_reserve_exact(1 << 10).ok()?;
        lists.slots.resize(1 << 10, u32::MAX);
        lists.number(&[])?;
        Some(lists)
    }

    fn get(&self, number: u32) -> &[u32] {
        match self.starts.get(number as usize..) {
            Some([start, end, ..]) => self.items.get(*start as usize..*end as usize).unwrap_or(&[]),
            _ => &[],
        }
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn slot(&self, list: &[u32]) -> usize {
        let hash = list.iter().fold(list.len() as u64, |hash, item| {
            (hash ^ u64::from(*item)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
        });
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & (self.slots.len() - 1)
    }

    /// The number of a list. `None` without memory or with too many.
    fn number(&mut self, list: &[u32]) -> Option<u32> {
        let mut slot = self.slot(list);
        loop {
            match *self.slots.get(slot)? {
                u32::MAX => break,
                number if self.get(number) == list => return Some(number),
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
        if list.len() > LONGEST || self.items.len() + list.len() > ITEMS {
            return None;
        }
        let number = u32::try_from(self.len()).ok()?;
        self.items.try_reserve(list.len()).ok()?;
        self.items.extend_from_slice(list);
        push(&mut self.starts, self.items.len() as u32)?;
        *self.slots.get_mut(slot)? = number;
        if self.len() * 2 > self.slots.len() {
            let more = self.slots.len();
            self.slots.try_reserve_exact(more).ok()?;
            self.slots.resize(2 * more, u32::MAX);
            self.slots.fill(u32::MAX);
            for number in 0..self.len() as u32 {
                let mut slot = self.slot(self.get(number));
                while *self.slots.get(slot)? != u32::MAX {
                    slot = (slot + 1) & (self.slots.len() - 1);
                }
                *self.slots.get_mut(slot)? = number;
            }
        }
        Some(number)
    }
}

/// Unions of two lists.
struct Unions {
    /// Two lists' numbers and that of their union.
    known: Vec<(u32, u32, u32)>,
    list: Vec<u32>,
}

impl Unions {
    fn new() -> Option<Self> {
        let mut known = Vec::new();
        known.try_reserve_exact(UNIONS).ok()?;
        known.resize(UNIONS, (0, 0, 0));
        Some(Self { known, list: Vec::new() })
    }

    fn of(&mut self, lists: &mut Lists, a: u32, b: u32) -> Option<u32> {
        if a == b || b == 0 {
            return Some(a);
        }
        if a == 0 {
            return Some(b);
        }
        let slot = (a.wrapping_mul(0x9E37_79B1) ^ b.wrapping_mul(0x85EB_CA77)) >> (32 - UNIONS.ilog2());
        let known = self.known.get_mut(slot as usize)?;
        if (known.0, known.1) == (a, b) {
            return Some(known.2);
        }
        self.list.clear();
        let (mut from_a, mut from_b) = (lists.get(a), lists.get(b));
        self.list.try_reserve(from_a.len() + from_b.len()).ok()?;
        while let ([a, rest_a @ ..], [b, rest_b @ ..]) = (from_a, from_b) {
            self.list.push(*a.min(b));
            (from_a, from_b) = (if a <= b { rest_a } else { from_a }, if b <= a { rest_b } else { from_b });
        }
        self.list.extend_from_slice(from_a);
        self.list.extend_from_slice(from_b);
        let union = lists.number(&self.list)?;
        *known = (a, b, union);
        Some(union)
    }
}

/// An address and its mask as a prefix.
fn prefix<const W: usize>(addr: &[u32; W], mask: &[u32; W]) -> Option<Prefix> {
    let wide = |words: &[u32; W]| {
        words.iter().fold(0u128, |wide, word| wide << 32 | u128::from(*word)).unbounded_shl(128 - 32 * W as u32)
    };
    let mask = wide(mask);
    let len = mask.leading_ones();
    (mask.unbounded_shl(len) == 0).then_some((wide(addr) & mask, len as u8))
}

/// True if a rule's addresses are prefixes: others cannot be in a grid.
pub(in super::super) fn fits<const W: usize>(rule: &Rule<W>) -> bool {
    prefix(&rule.src, &rule.src_mask).is_some() && prefix(&rule.dst, &rule.dst_mask).is_some()
}

/// Different prefixes in order.
fn prefixes(of: impl Iterator<Item = Option<Prefix>>) -> Option<Vec<Prefix>> {
    let mut prefixes = Vec::new();
    for prefix in of {
        push(&mut prefixes, prefix?)?;
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    Some(prefixes)
}

/// True if whatever a rule says of ports and class, another says too: where both match by address, the other is never
/// reached behind it.
fn covers<const W: usize>(rule: &Rule<W>, other: &Rule<W>) -> bool {
    let inside = |side: usize| {
        let (low, high) = (rule.low.get(side), rule.high.get(side));
        low <= other.low.get(side) && high >= other.high.get(side)
    };
    inside(0)
        && inside(1)
        && rule.class_mask & !other.class_mask == 0
        && (rule.class ^ other.class) & rule.class_mask == 0
}

/// Builds a grid. `None` if it would be larger than it may be, or without memory. Allocates.
pub(in super::super) fn build<const W: usize>(rules: &[Rule<W>], limits: Limits) -> Option<Grid<W>> {
    let src = prefixes(rules.iter().map(|rule| prefix(&rule.src, &rule.src_mask)))?;
    let dst = prefixes(rules.iter().map(|rule| prefix(&rule.dst, &rule.dst_mask)))?;
    let (rows, columns) = (src.len() + 1, dst.len() + 1);
    if rows.checked_mul(columns)? > limits.cells {
        return None;
    }
    // Row, column and number of each rule, the numbers in the order of priority.
    let mut sorted: Vec<&Rule<W>> = Vec::new();
    sorted.try_reserve_exact(rules.len()).ok()?;
    sorted.extend(rules);
    sorted.sort_unstable_by_key(|rule| rule.priority);
    let mut placed = Vec::new();
    placed.try_reserve_exact(rules.len()).ok()?;
    for (number, rule) in (0u32..).zip(&sorted) {
        let row = src.binary_search(&prefix(&rule.src, &rule.src_mask)?).ok()? + 1;
        let column = dst.binary_search(&prefix(&rule.dst, &rule.dst_mask)?).ok()? + 1;
        placed.push((row * columns + column, number));
    }
    placed.sort_unstable();

    let (src, dst) = (Classes::new(&src)?, Classes::new(&dst)?);
    // The cheapest to fail comes first.
    let mut nodes = Vec::new();
    nodes.try_reserve(FAN).ok()?;
    nodes.resize(FAN, 0);
    let roots = [src.trie(&mut nodes, limits.nodes)?, dst.trie(&mut nodes, limits.nodes)?];
    let mut lists = Lists::new()?;
    let mut unions = Unions::new()?;
    let mut cells = Vec::<u32>::new();
    cells.try_reserve_exact(rows * columns).ok()?;
    let mut placed = placed.chunk_by(|a, b| a.0 == b.0).peekable();
    let mut own = Vec::new();
    // The list of the cell that each rule stands for.
    let mut list_of = Vec::<u32>::new();
    list_of.try_reserve_exact(rules.len()).ok()?;
    list_of.resize(rules.len(), 0);
    for (row, around) in src.parent.iter().enumerate() {
        for (column, left) in dst.parent.iter().enumerate() {
            let at = row * columns + column;
            let above = if row == 0 { 0 } else { *cells.get(usize::from(*around) * columns + column)? };
            let beside = if column == 0 { 0 } else { *cells.get(row * columns + usize::from(*left))? };
            let mut list = unions.of(&mut lists, above, beside)?;
            if let Some(here) = placed.next_if(|chunk| chunk.first().is_some_and(|(cell, _)| *cell == at)) {
                own.clear();
                for (_, number) in here {
                    push(&mut own, *number)?;
                }
                let numbers = lists.number(&own)?;
                list = unions.of(&mut lists, list, numbers)?;
                for number in &own {
                    *list_of.get_mut(*number as usize)? = list;
                }
            }
            cells.push(list);
        }
        // Each has at least one leaf, or almost.
        if lists.len() > LISTS {
            return None;
        }
    }

    let kinds = kinds(&sorted);
    let (leaf_of, leaves, blocks) = leaves(&lists, &sorted, &kinds, limits.blocks)?;
    // About how many blocks a header that a rule of the grid matches is compared with, beyond the first.
    let steps = sorted.iter().zip(&list_of).filter_map(|(rule, list)| {
        let kind = kinds.get(usize::from(rule.class & rule.class_mask & 0xff)).copied().unwrap_or(0);
        let leaf = leaves.get(usize::from(*leaf_of.get(*list as usize)?))?;
        let first = usize::from(*leaf.get(usize::from(kind))?);
        let length = blocks.get(first..)?.iter().take_while(|block| block.goes_on()).count();
        Some(length as u32)
    });
    let steps = steps.sum::<u32>() / rules.len().max(1) as u32;
    let (chunks, index) = chunks(&cells, columns, &leaf_of)?;
    push(&mut nodes, 0)?;
    let mut grid = Grid {
        roots,
        nodes,
        index,
        index_columns: columns.div_ceil(CHUNK) as u32,
        chunks: padded(&chunks)?,
        kinds: padded(&kinds.map(|kind| [kind.into()]))?,
        ports_only: sorted.iter().all(|rule| is_known_by_kind(*rule, &kinds)),
        leaves: padded(&leaves)?,
        blocks,
        priorities: Vec::new(),
        dead: Vec::new(),
        is_retired: false,
        steps,
        is_far: false,
    };
    grid.nodes.shrink_to_fit();
    grid.priorities.try_reserve_exact(rules.len()).ok()?;
    grid.priorities.extend(sorted.iter().map(|rule| rule.priority));
    grid.dead.try_reserve_exact(DEAD).ok()?;
    grid.is_far = grid.memory_bytes() > NEAR;
    Some(grid)
}

/// The cells in chunks, of which many rows have the same, and which chunk is where.
fn chunks(cells: &[u32], columns: usize, leaf_of: &[u16]) -> Option<(Vec<[u16; CHUNK]>, Vec<u16>)> {
    let mut chunks = Vec::<[u16; CHUNK]>::new();
    let mut slots = Vec::<u32>::new();
    slots.try_reserve_exact(1 << 17).ok()?;
    slots.resize(1 << 17, u32::MAX);
    let mut index = Vec::new();
    index.try_reserve_exact(cells.len() / columns.max(1) * columns.div_ceil(CHUNK)).ok()?;
    for row in cells.chunks(columns) {
        for part in row.chunks(CHUNK) {
            let mut chunk = [0; CHUNK];
            let mut hash = 0u64;
            for (to, list) in chunk.iter_mut().zip(part) {
                *to = *leaf_of.get(*list as usize)?;
                hash = (hash ^ u64::from(*to)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
            }
            let mut slot = hash as usize & (slots.len() - 1);
            let number = loop {
                match *slots.get(slot)? {
                    u32::MAX => {
                        let number = chunks.len() as u32;
                        *slots.get_mut(slot)? = number;
                        push(&mut chunks, chunk)?;
                        break number;
                    }
                    number if chunks.get(number as usize) == Some(&chunk) => break number,
                    _ => slot = (slot + 1) & (slots.len() - 1),
                }
            };
            index.push(u16::try_from(number).ok()?);
        }
    }
    push(&mut index, 0)?;
    Some((chunks, index))
}

/// All entries in a row, and one more.
fn padded<const N: usize>(entries: &[[u16; N]]) -> Option<Vec<u16>> {
    let mut padded = Vec::new();
    padded.try_reserve_exact(entries.len() * N + 1).ok()?;
    padded.extend_from_slice(entries.as_flattened());
    padded.push(0);
    Some(padded)
}

/// The kinds of headers by the lower byte of their classes: one for each of the values that most rules want, 0 for all
/// others.
fn kinds<const W: usize>(rules: &[&Rule<W>]) -> [u8; 256] {
    let mut counts = [0u32; 256];
    for rule in rules.iter().filter(|rule| rule.class_mask & 0xff == 0xff) {
        if let Some(count) = counts.get_mut(usize::from(rule.class & 0xff)) {
            *count += 1;
        }
    }
    let mut kinds = [0; 256];
    for kind in 1..KINDS as u8 {
        let most = counts.iter_mut().zip(&mut kinds).max_by_key(|(count, _)| **count).filter(|(count, _)| **count > 0);
        if let Some((count, here)) = most {
            (*count, *here) = (0, kind);
        }
    }
    kinds
}

/// True if a rule can match headers of a kind.
fn is_for<const W: usize>(rule: &Rule<W>, kind: u8, kinds: &[u8; 256]) -> bool {
    let (class, mask) = (rule.class as u8, rule.class_mask as u8);
    (0..=u8::MAX).zip(kinds).any(|(value, of)| *of == kind && (value ^ class) & mask == 0)
}

/// True if all headers of a kind for which the rule is have its class.
fn is_known_by_kind<const W: usize>(rule: &Rule<W>, kinds: &[u8; 256]) -> bool {
    let kind = kinds.get(usize::from(rule.class & 0xff)).copied().unwrap_or(0);
    rule.class_mask == 0 || rule.class_mask == 0xff && kind != 0
}

/// Leaves for the lists: the one of each list, the first blocks of each leaf by kind, and the blocks.
#[allow(clippy::type_complexity, reason = "three things that are made together")]
fn leaves<const W: usize>(
    lists: &Lists,
    rules: &[&Rule<W>],
    kinds: &[u8; 256],
    limit: usize,
) -> Option<(Vec<u16>, Vec<[u16; KINDS]>, Vec<Block>)> {
    let mut may = Vec::new();
    may.try_reserve_exact(rules.len()).ok()?;
    for rule in rules {
        may.push((0..KINDS as u8).fold(0u32, |may, kind| may | u32::from(is_for(*rule, kind, kinds)) << kind));
    }
    let mut blocks = Vec::new();
    push(&mut blocks, Block::EMPTY)?;
    let mut leaf_of = Vec::new();
    leaf_of.try_reserve_exact(lists.len()).ok()?;
    // Lists that are the same without what is never reached share blocks.
    let mut reached = Lists::new()?;
    let mut first_of = Vec::<u16>::new();
    push(&mut first_of, 0)?;
    let (mut leaves, mut leaf_numbers) = (Vec::new(), Lists::new()?);
    push(&mut leaves, [0; KINDS])?;
    let mut list = Vec::<u32>::new();
    for number in 0..lists.len() as u32 {
        let mut leaf = [0; KINDS];
        for (kind, first) in leaf.iter_mut().enumerate() {
            list.clear();
            for rule in
                lists.get(number).iter().filter(|rule| may.get(**rule as usize).is_some_and(|may| may >> kind & 1 != 0))
            {
                let this = rules.get(*rule as usize)?;
                if !list.iter().any(|before| rules.get(*before as usize).is_some_and(|before| covers(before, this))) {
                    push(&mut list, *rule)?;
                }
            }
            let known = reached.number(&list)? as usize;
            if known == first_of.len() {
                push(&mut first_of, u16::try_from(blocks.len()).ok()?)?;
                emit(&list, rules, &mut blocks, limit)?;
            }
            *first = *first_of.get(known)?;
        }
        let number = if leaf == [0; KINDS] { 0 } else { leaf_numbers.number(&leaf.map(u32::from))? };
        if number as usize == leaves.len() {
            push(&mut leaves, leaf)?;
        }
        push(&mut leaf_of, u16::try_from(number).ok()?)?;
    }
    blocks.shrink_to_fit();
    Some((leaf_of, leaves, blocks))
}

/// Blocks for a list.
fn emit<const W: usize>(mut list: &[u32], rules: &[&Rule<W>], blocks: &mut Vec<Block>, limit: usize) -> Option<()> {
    while !list.is_empty() {
        let (here, behind) = list.split_at(list.len().min(LANES));
        let mut block = Block::EMPTY;
        for lane in 0..LANES {
            // The last one again where there are no more: what is left empty would match if classes are not compared.
            let rule = here.get(lane).or(here.last())?;
            leaf::set(&mut block, lane, rules.get(*rule as usize)?);
        }
        if !behind.is_empty() {
            block.set_goes_on();
        }
        if blocks.len() >= limit {
            return None;
        }
        push(blocks, block)?;
        list = behind;
    }
    Some(())
}
