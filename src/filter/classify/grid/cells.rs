//! Building a grid.
//!
//! Each kind of headers has a grid of its own. The rules of a cell are those whose prefixes are the cell's classes, and
//! those of the cells with the next shorter prefix on either side. Lists of rules are kept once each and known by number,
//! so that most cells cost a comparison of two numbers.

use alloc::vec::Vec;

use super::super::{NONE, Rule};
use super::axis::{Classes, FAN, Prefix, push};
use super::leaf::Leaves;
use super::lists::{Lists, Scope, Unions};
use super::own::OwnColumns;
use super::services::Split;
use super::{Grid, NEAR, Way};
use crate::mem::answers;
use crate::mem::locate::{CHUNK, KINDS, Kinds, Locator, Services};

/// How large a grid may become.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Limits {
    /// Rows times columns.
    pub cells: usize,
    /// Bytes.
    pub bytes: usize,
    /// Bytes of the tables that are asked, too.
    pub beside: usize,
    /// Nodes of the tries, at most 2^15.
    pub nodes: usize,
    /// Ports that services may be by, and entries of the index that they may take.
    pub sides: usize,
    pub index: usize,
}

/// Lists, at most.
const LISTS: usize = 1 << 18;

/// So many different cells can be of one word: all ones is none.
const NARROW: usize = 0xffff;

/// Slots for chunks, more than there can be chunks.
const CHUNK_SLOTS: usize = 1 << 17;

/// What a grid with services may take, in bytes, and how many there may be.
const SERVICES_BYTES: usize = 2 * NEAR;
const SERVICES: usize = 1 << 12;

/// A rule in its cell: row, column and number, the numbers in the order of priority.
type Placed = (u32, u32, u32);

/// An address as a number, in the upper bits.
#[inline(always)]
pub(super) fn wide<const W: usize>(addr: &[u32; W]) -> u128 {
    addr.iter().fold(0u128, |wide, word| wide << 32 | u128::from(*word)).unbounded_shl(128 - 32 * W as u32)
}

/// An address and its mask as a prefix.
pub(super) fn prefix<const W: usize>(addr: &[u32; W], mask: &[u32; W]) -> Option<Prefix> {
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

/// Builds a grid. `None` if it would be larger than it may be, if `work` (1 to 9 ns each) is used up, or without memory.
/// Allocates.
pub(in super::super) fn build<const W: usize>(rules: &[Rule<W>], limits: Limits, work: &mut usize) -> Option<Grid<W>> {
    let mut sides = limits.sides;
    while sides > 0 {
        let (mut here, mut used) = (*work / 4, 0);
        *work -= here;
        let near = Limits { bytes: limits.bytes.min(SERVICES_BYTES), sides, ..limits };
        let grid = build_within(rules, near, &mut here, &mut used);
        *work += here;
        if grid.is_some() {
            return grid;
        }
        // With less than was used up to where it failed.
        sides = used.min(sides).saturating_sub(1);
    }
    build_within(rules, Limits { sides: 0, ..limits }, work, &mut 0)
}

/// Builds a grid, with services by so many ports as the limits say; how many it were for one kind goes to `used`.
fn build_within<const W: usize>(
    rules: &[Rule<W>],
    limits: Limits,
    work: &mut usize,
    used: &mut usize,
) -> Option<Grid<W>> {
    let src = prefixes(rules.iter().map(|rule| prefix(&rule.src, &rule.src_mask)))?;
    let dst = prefixes(rules.iter().map(|rule| prefix(&rule.dst, &rule.dst_mask)))?;
    let (rows, columns) = (src.len() + 1, dst.len() + 1);
    if rows.checked_mul(columns)? > limits.cells {
        return None;
    }
    let sorted = super::sorted(rules)?;
    let (mut placed, mut scopes) = (Vec::<Placed>::new(), Vec::new());
    placed.try_reserve_exact(rules.len()).ok()?;
    scopes.try_reserve_exact(rules.len()).ok()?;
    for (number, rule) in (0u32..).zip(&sorted) {
        let row = src.binary_search(&prefix(&rule.src, &rule.src_mask)?).ok()? + 1;
        let column = dst.binary_search(&prefix(&rule.dst, &rule.dst_mask)?).ok()? + 1;
        placed.push((row as u32, column as u32, number));
        scopes.push(Scope::of(*rule));
    }
    placed.sort_unstable();

    let (src, dst) = (Classes::new(&src)?, Classes::new(&dst)?);
    // The cheapest to fail comes first.
    let mut nodes = Vec::new();
    nodes.try_reserve(FAN).ok()?;
    nodes.resize(FAN, 0);
    let roots = [src.trie(&mut nodes, limits.nodes)?, dst.trie(&mut nodes, limits.nodes)?];
    push(&mut nodes, 0)?;
    nodes.shrink_to_fit();

    let values = values(&sorted);
    let is_known = sorted.iter().all(|rule| is_known_by_kind(*rule, &values));
    let [src_root, dst_root] = &roots;
    let tries = 2 * (src_root.len() + dst_root.len() + nodes.len());
    let limit = limits.bytes.checked_sub(tries)?;
    let mut builder = Builder::new(&sorted, [&src.parent, &dst.parent], limit, is_known)?;
    let index_columns = columns.div_ceil(CHUNK);
    let service_len = rows * index_columns;
    let (mut kinds, mut count) = (Kinds::default(), 0);
    // The number of ports without services.
    let mut services = Vec::new();
    push(&mut services, 0)?;
    for value in core::iter::once(None).chain(values.iter().map(|value| Some(*value))) {
        let start = u32::try_from(builder.index.len()).ok()?;
        let is_inside = |number: u32| sorted.get(number as usize).is_some_and(|rule| is_for(*rule, value, &values));
        let mut inside = Vec::<Placed>::new();
        inside.try_reserve_exact(placed.len()).ok()?;
        inside.extend(placed.iter().filter(|(.., number)| is_inside(*number)));
        let most = (limits.index / service_len).min(SERVICES).saturating_sub(count + KINDS);
        let split = Split::new(&scopes, inside.iter().map(|(.., number)| *number), limits.sides, most, work)?;
        *used = split.sides().max(*used);
        let ports = split.add_numbers(&mut services)?;
        builder.limit = limit.checked_sub(size_of_val(services.as_slice()))?;
        count += split.len();
        let mut within = Vec::new();
        within.try_reserve_exact(scopes.len()).ok()?;
        within.extend(scopes.iter().map(|scope| split.within(*scope)));
        let mut unions = Unions::new(&within, if value.is_some() { 0xff } else { 0 })?;
        for service in 0..split.len() {
            *work = work.checked_sub(inside.len() + columns)?;
            let has = |number: u32| scopes.get(number as usize).is_some_and(|scope| split.has(service, scope));
            builder.add(inside.iter().filter(|(.., number)| has(*number)), &mut unions, work)?;
        }
        match value {
            Some(value) => kinds.push(value, start, ports),
            None => kinds = Kinds::new(start, ports),
        }
    }
    push(&mut services, 0)?;
    services.shrink_to_fit();
    let is_wide = builder.is_wide();
    let Builder { chunks, mut index, mut leaves, .. } = builder;
    push(&mut index, 0)?;
    index.shrink_to_fit();
    leaves.shrink();
    let base = if is_wide { 0 } else { sorted.first()?.priority };
    let locator = Locator {
        roots,
        nodes,
        kinds,
        services: Services { numbers: services, len: service_len as u32 },
        index,
        index_columns: index_columns as u32,
        chunks: words(chunks.as_flattened(), base, is_wide)?,
        is_wide,
        base,
        first: NARROW.saturating_sub(leaves.len()) as u32,
    };
    let mut grid = Grid::new(Way::Cells { locator, leaves }, &sorted)?;
    // A small one stays near beside tables that do not.
    let bytes = grid.memory_bytes();
    grid.is_far = bytes > NEAR || bytes > NEAR / 4 && bytes + limits.beside > NEAR;
    Some(grid)
}

/// What the grids of all kinds share.
struct Builder<'a, const W: usize> {
    rules: &'a [&'a Rule<W>],
    /// The class around each, by row and by column.
    parents: [&'a [u16]; 2],
    /// Most bytes of blocks, chunks and index.
    limit: usize,
    lists: Lists,
    /// The first block of each list, [`NONE`] for those that have none yet.
    block_of: Vec<u32>,
    /// A header's kind says all of its class.
    is_known: bool,
    leaves: Leaves,
    /// Cells in chunks, of which many rows have the same, and which chunk is where.
    chunks: Vec<[u32; CHUNK]>,
    /// Chunks by hash.
    slots: Vec<u32>,
    index: Vec<u16>,
}

impl<'a, const W: usize> Builder<'a, W> {
    fn new(rules: &'a [&'a Rule<W>], parents: [&'a [u16]; 2], limit: usize, is_known: bool) -> Option<Self> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(CHUNK_SLOTS).ok()?;
        slots.resize(CHUNK_SLOTS, u32::MAX);
        Some(Self {
            rules,
            parents,
            limit,
            lists: Lists::new()?,
            block_of: Vec::new(),
            is_known,
            leaves: Leaves::new(),
            chunks: Vec::new(),
            slots,
            index: Vec::new(),
        })
    }

    /// Adds the grid of a service with these rules, in order. What they say beside it stands in `unions`.
    fn add<'p>(
        &mut self,
        placed: impl Iterator<Item = &'p Placed>,
        unions: &mut Unions,
        work: &mut usize,
    ) -> Option<()> {
        let (scopes, known) = (unions.scopes, unions.class);
        let mut inside = Vec::<Placed>::new();
        for rule in placed {
            push(&mut inside, *rule)?;
        }
        let [above, left] = self.parents;
        let own = OwnColumns::new(left, inside.iter().map(|(_, column, _)| *column as usize))?;
        // The lists of those rows that have rules of their own, and where the lists and the index of each row begin; the
        // others are as the row above.
        let mut cells = Vec::<u32>::new();
        let mut begin = Vec::<(usize, usize)>::new();
        begin.try_reserve_exact(above.len()).ok()?;
        let index_columns = left.len().div_ceil(CHUNK);
        let mut inside = inside.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).peekable();
        for (row, parent) in above.iter().enumerate() {
            let around = begin.get(usize::from(*parent)).copied();
            let has_own = inside.peek().is_some_and(|chunk| chunk.first().is_some_and(|placed| placed.0 == row as u32));
            self.index.try_reserve(index_columns).ok()?;
            if let Some(around) = around.filter(|_| !has_own) {
                self.index.extend_from_within(around.1..around.1 + index_columns);
                begin.push(around);
                continue;
            }
            let (start, index) = (cells.len(), self.index.len());
            *work = work.checked_sub(own.columns.len() + index_columns)?;
            cells.try_reserve(own.columns.len()).ok()?;
            for (place, (column, beside)) in own.columns.iter().enumerate() {
                let beside = if place == 0 { 0 } else { *cells.get(start + usize::from(*beside))? };
                let above = around.map_or(Some(0), |(cell, _)| cells.get(cell + place).copied())?;
                let mut list = unions.of(&mut self.lists, above, beside, work)?;
                let at = (row as u32, u32::from(*column));
                if let Some(here) = inside.next_if(|here| here.first().is_some_and(|own| (own.0, own.1) == at)) {
                    let own = unions.list(&mut self.lists, here.iter().map(|(.., number)| *number), work)?;
                    list = unions.of(&mut self.lists, list, own, work)?;
                }
                cells.push(list);
            }
            begin.push((start, index));
            let row = cells.get(start..)?;
            let above = around.and_then(|(cell, index)| Some((cells.get(cell..)?, index)));
            for (chunk, columns) in own.places.chunks(CHUNK).enumerate() {
                // Most are as those of the row above.
                let as_above = above.filter(|(above, _)| {
                    own.in_chunk(chunk)
                        .iter()
                        .all(|place| row.get(usize::from(*place)) == above.get(usize::from(*place)))
                });
                let number = match as_above {
                    Some((_, index)) => *self.index.get(index + chunk)?,
                    None => {
                        *work = work.checked_sub(CHUNK)?;
                        self.chunk(columns.iter().map(|place| row.get(usize::from(*place)).copied()), scopes, known)?
                    }
                };
                self.index.push(number);
            }
            if self.lists.len() > LISTS || self.memory_bytes() > self.limit {
                return None;
            }
        }
        Some(())
    }

    /// True if a cell takes two words.
    fn is_wide(&self) -> bool {
        let spread = self.rules.first().zip(self.rules.last()).map_or(0, |(a, b)| b.priority - a.priority);
        self.leaves.len() + spread as usize >= NARROW
    }

    fn memory_bytes(&self) -> usize {
        let cell = if self.is_wide() { 4 } else { 2 };
        self.leaves.memory_bytes() + size_of_val(self.index.as_slice()) + self.chunks.len() * CHUNK * cell
    }

    /// The number of the chunk of cells for these lists, where some bits of the class are known to be right.
    fn chunk(&mut self, lists: impl Iterator<Item = Option<u32>>, scopes: &[Scope], known: u16) -> Option<u16> {
        let mut chunk = [NONE; CHUNK];
        let mut hash = 0u64;
        for (to, list) in chunk.iter_mut().zip(lists) {
            *to = self.cell(list?, scopes, known)?;
            hash = (hash ^ u64::from(*to)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        }
        let mut slot = hash as usize & (self.slots.len() - 1);
        loop {
            match *self.slots.get(slot)? {
                u32::MAX => break,
                number if self.chunks.get(number as usize) == Some(&chunk) => return u16::try_from(number).ok(),
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
        let number = u16::try_from(self.chunks.len()).ok()?;
        *self.slots.get_mut(slot)? = number.into();
        push(&mut self.chunks, chunk)?;
        Some(number)
    }

    /// What a cell with a list leads to.
    fn cell(&mut self, list: u32, scopes: &[Scope], known: u16) -> Option<u32> {
        match self.lists.get(list) {
            [] => return Some(NONE),
            [rule] if scopes.get(*rule as usize)?.has_all(known) => {
                return Some(self.rules.get(*rule as usize)?.priority);
            }
            _ => {}
        }
        let at = list as usize;
        if self.block_of.len() <= at {
            self.block_of.try_reserve(at + 1 - self.block_of.len()).ok()?;
            self.block_of.resize(at + 1, NONE);
        }
        let first = self.block_of.get_mut(at)?;
        if *first == NONE {
            *first = self.leaves.add(self.lists.get(list), self.rules, !self.is_known)?;
        }
        Some(answers::leading_to(*first))
    }
}

/// All cells in a row, as one word each or two, and one more. `base` is taken off the answers of one word.
fn words(cells: &[u32], base: u32, is_wide: bool) -> Option<Vec<u16>> {
    let mut words = Vec::new();
    words.try_reserve_exact((cells.len() << u32::from(is_wide)) + 1).ok()?;
    for cell in cells {
        if is_wide {
            words.extend([*cell as u16, (cell >> 16) as u16]);
        } else {
            words.push(if cell.cast_signed() < 0 { *cell } else { cell - base } as u16);
        }
    }
    words.push(0);
    Some(words)
}

/// The values of classes' lower bytes that most rules want.
pub(super) fn values<const W: usize>(rules: &[&Rule<W>]) -> heapless::Vec<u8, KINDS> {
    let mut counts = [0u32; 256];
    for rule in rules.iter().filter(|rule| rule.class_mask & 0xff == 0xff) {
        if let Some(count) = counts.get_mut(usize::from(rule.class & 0xff)) {
            *count += 1;
        }
    }
    let mut values = heapless::Vec::new();
    while !values.is_full() {
        let most = (0..=u8::MAX).zip(&mut counts).max_by_key(|(_, count)| **count).filter(|(_, count)| **count > 0);
        let Some((value, count)) = most else { break };
        *count = 0;
        let _ = values.push(value);
    }
    values
}

/// True if a rule can match headers with a value in the lower byte of their class, or with none of the values.
pub(super) fn is_for<const W: usize>(rule: &Rule<W>, value: Option<u8>, values: &[u8]) -> bool {
    let (class, mask) = (rule.class as u8, rule.class_mask as u8);
    let matches = |value: u8| (value ^ class) & mask == 0;
    value.map_or_else(|| (0..=u8::MAX).any(|value| matches(value) && !values.contains(&value)), matches)
}

/// True if all headers of a kind for which the rule is have its class.
fn is_known_by_kind<const W: usize>(rule: &Rule<W>, values: &[u8]) -> bool {
    rule.class_mask == 0 || rule.class_mask == 0xff && values.contains(&(rule.class as u8))
}
