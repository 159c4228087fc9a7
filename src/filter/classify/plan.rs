//! Which masks the tables get, and which rule goes where.
//!
//! Greedy: of the masks that many of the rules left can live under, take the one that leaves most of them in short
//! leaves; the rules of its long leaves stay for the next table. When no mask is good enough, longer leaves are
//! allowed, so that the number of tables is bounded whatever the rules are.

use alloc::vec::Vec;

use super::block::LANES;
use super::mask::Mask;
use super::{Refused, Rule};

/// Most tables.
pub(super) const MAX_TABLES: usize = 32;

/// This many rules are not worth a table of their own: they go into one that hashes nothing.
const REST: usize = 4;

/// Leaves are at most this long at first: two blocks.
const SHORT: u32 = 8;

/// How often leaves may be allowed to be twice as long: more than there can be rules.
const DOUBLINGS: usize = 28;

/// What a plan says.
pub(super) struct Plan<const W: usize> {
    pub masks: Vec<Mask<W>>,
    /// For each rule, the index of its mask.
    pub table: Vec<u16>,
}

impl<const W: usize> Plan<W> {
    /// How many rules each table has.
    pub(super) fn sizes(&self) -> [usize; MAX_TABLES] {
        let mut sizes = [0; MAX_TABLES];
        for table in &self.table {
            if let Some(size) = sizes.get_mut(usize::from(*table)) {
                *size += 1;
            }
        }
        sizes
    }
}

/// What decides under which masks a rule can live.
#[derive(Clone, Copy)]
struct Shape {
    src: u8,
    dst: u8,
    /// Bit 0: the source port is exact, bit 1: the destination port, bit 2: the class.
    exact: u8,
}

/// A mask that may become a table's.
#[derive(Clone, Copy)]
struct Candidate {
    shape: Shape,
    /// Rules that can live under it.
    fits: u32,
    /// About how many rules it takes if leaves may be [`SHORT`], twice as long, and so on; `None` is not known yet.
    scores: Option<[u32; DOUBLINGS]>,
}

struct Planner<'a, const W: usize> {
    rules: &'a [Rule<W>],
    shapes: Vec<Shape>,
    class_mask: u16,
    /// Rules without a table.
    left: Vec<u32>,
    /// Hashes of the rules that fit, and how many rules there are of each hash.
    hashes: Vec<(u32, u32)>,
    counts: Vec<u16>,
}

pub(super) fn vector<T>(len: usize) -> Result<Vec<T>, Refused> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(len).map_err(|_| Refused::Full)?;
    Ok(vector)
}

/// Number of leading ones.
fn length<const W: usize>(mask: &[u32; W]) -> u8 {
    let full = mask.iter().take_while(|word| **word == u32::MAX).count();
    let bits = 32 * full + mask.get(full).map_or(0, |word| word.leading_ones() as usize);
    u8::try_from(bits).unwrap_or(u8::MAX)
}

/// A mask with that many leading ones.
fn prefix<const W: usize>(length: u8) -> [u32; W] {
    let mut mask = [0; W];
    let mut left = u32::from(length);
    for word in &mut mask {
        *word = u32::MAX.checked_shl(32 - left.min(32)).unwrap_or(0);
        left = left.saturating_sub(32);
    }
    mask
}

/// Makes the plan. Allocates.
pub(super) fn plan<const W: usize>(rules: &[Rule<W>]) -> Result<Plan<W>, Refused> {
    let count = u32::try_from(rules.len()).map_err(|_| Refused::Full)?;
    let mut planner = Planner {
        rules,
        shapes: vector(rules.len())?,
        class_mask: common_class(rules),
        left: vector(rules.len())?,
        hashes: vector(rules.len())?,
        counts: Vec::new(),
    };
    planner.left.extend(0..count);
    let class_mask = planner.class_mask;
    planner.shapes.extend(rules.iter().map(|rule| Shape::of(rule, class_mask)));
    let mut plan = Plan { masks: vector(MAX_TABLES)?, table: vector(rules.len())? };
    plan.table.resize(rules.len(), 0);
    let mut doublings = 0;
    while !planner.left.is_empty() {
        if planner.left.len() <= REST || plan.masks.len() + 1 >= MAX_TABLES {
            let table = plan.masks.len() as u16;
            plan.masks.push(Mask::NOTHING);
            for rule in planner.left.drain(..) {
                if let Some(slot) = plan.table.get_mut(rule as usize) {
                    *slot = table;
                }
            }
            break;
        }
        let mut candidates = planner.candidates()?;
        let best = loop {
            let (best, score) = planner.best(&mut candidates, doublings)?;
            // Less than a fifth of what is left: tables would become many.
            if (score as usize) * 5 >= planner.left.len() || SHORT << doublings >= count {
                break best;
            }
            doublings += 1;
        };
        let table = plan.masks.len() as u16;
        plan.masks.push(planner.mask(best));
        planner.assign(best, SHORT << doublings, table, &mut plan.table)?;
    }
    // Every rule that is inserted later can at least live under this one.
    if !plan.masks.contains(&Mask::NOTHING) {
        plan.masks.push(Mask::NOTHING);
    }
    super::settle::settle(rules, &mut plan)?;
    Ok(plan)
}

/// The class mask that most rules have, of those that have one.
fn common_class<const W: usize>(rules: &[Rule<W>]) -> u16 {
    let mut seen = heapless::Vec::<(u16, u32), 8>::new();
    for mask in rules.iter().map(|rule| rule.class_mask).filter(|mask| *mask != 0) {
        match seen.iter_mut().find(|(known, _)| *known == mask) {
            Some((_, count)) => *count += 1,
            None => drop(seen.push((mask, 1))),
        }
    }
    seen.iter().max_by_key(|(_, count)| *count).map_or(0, |(mask, _)| *mask)
}

impl Shape {
    fn of<const W: usize>(rule: &Rule<W>, class_mask: u16) -> Self {
        let [low_a, low_b] = rule.low;
        let [high_a, high_b] = rule.high;
        let has_class = class_mask != 0 && rule.class_mask & class_mask == class_mask;
        let exact = u8::from(low_a == high_a) | u8::from(low_b == high_b) << 1 | u8::from(has_class) << 2;
        Self { src: length(&rule.src_mask), dst: length(&rule.dst_mask), exact }
    }

    const fn fits(self, rule: Self) -> bool {
        self.src <= rule.src && self.dst <= rule.dst && self.exact & !rule.exact == 0
    }
}

impl<const W: usize> Planner<'_, W> {
    fn mask(&self, shape: Shape) -> Mask<W> {
        let port = |bit: u8| if shape.exact & bit != 0 { u16::MAX } else { 0 };
        let class = if shape.exact & 4 != 0 { self.class_mask } else { 0 };
        Mask { src: prefix(shape.src), dst: prefix(shape.dst), ports: [port(1), port(2)], class }
    }

    fn rules_left(&self) -> impl Iterator<Item = (u32, Shape, &Rule<W>)> {
        self.left.iter().filter_map(|number| {
            Some((*number, *self.shapes.get(*number as usize)?, self.rules.get(*number as usize)?))
        })
    }

    /// Lengths that are worth trying: each keeps a fiftieth of the rules more than the next.
    fn lengths(&self, of: impl Fn(Shape) -> u8) -> heapless::Vec<u8, 64> {
        let mut counts = [0u32; 256];
        for (_, shape, _) in self.rules_left() {
            if let Some(count) = counts.get_mut(usize::from(of(shape))) {
                *count += 1;
            }
        }
        let step = (self.left.len() / 50) as u32;
        let mut lengths = heapless::Vec::new();
        let mut since = 0;
        for (length, count) in counts.iter().enumerate().rev().filter(|(_, count)| **count > 0) {
            since += count;
            if since > step || length == 0 {
                let _ = lengths.push(length as u8);
                since = 0;
            }
        }
        if lengths.last() != Some(&0) {
            let _ = lengths.push(0);
        }
        lengths
    }

    /// The masks that are worth a try: those that the most rules fit first.
    fn candidates(&self) -> Result<Vec<Candidate>, Refused> {
        let (src, dst) = (self.lengths(|shape| shape.src), self.lengths(|shape| shape.dst));
        // How many rules have which shape, in steps of the lengths; then sums over everything that fits.
        let (rows, columns) = (src.len(), dst.len());
        let mut fits = vector::<u32>(rows * columns * 8)?;
        fits.resize(rows * columns * 8, 0);
        let step = |lengths: &[u8], length: u8| lengths.partition_point(|step| *step > length);
        for (_, shape, _) in self.rules_left() {
            let (row, column) = (step(&src, shape.src), step(&dst, shape.dst));
            if let Some(count) = fits.get_mut((row * columns + column) * 8 + usize::from(shape.exact)) {
                *count += 1;
            }
        }
        let mut pull = |to: usize, from: usize| {
            let more = fits.get(from).copied().unwrap_or(0);
            if let Some(count) = fits.get_mut(to) {
                *count += more;
            }
        };
        for cell in 0..rows * columns * 8 {
            if cell / 8 / columns > 0 {
                pull(cell, cell - columns * 8);
            }
        }
        for cell in 0..rows * columns * 8 {
            if cell / 8 % columns > 0 {
                pull(cell, cell - 8);
            }
        }
        for bit in [1, 2, 4] {
            for cell in (0..rows * columns * 8).filter(|cell| cell & bit == 0) {
                pull(cell, cell | bit);
            }
        }
        let mut candidates = vector::<Candidate>(rows * columns * 8)?;
        for (cell, fits) in fits.iter().enumerate() {
            let row = src.get(cell / 8 / columns).copied().unwrap_or(0);
            let column = dst.get(cell / 8 % columns).copied().unwrap_or(0);
            candidates.push(Candidate {
                shape: Shape { src: row, dst: column, exact: (cell % 8) as u8 },
                fits: *fits,
                scores: None,
            });
        }
        // Of those that as many rules fit, the longest first.
        candidates.sort_by_key(|candidate| {
            let Shape { src, dst, exact } = candidate.shape;
            let bits = u32::from(src) + u32::from(dst) + 16 * exact.count_ones();
            (core::cmp::Reverse(candidate.fits), core::cmp::Reverse(bits))
        });
        candidates.dedup_by_key(|candidate| candidate.fits);
        Ok(candidates)
    }

    /// The best mask if leaves may be so much longer, and about how many rules it takes.
    fn best(&mut self, candidates: &mut [Candidate], doublings: u32) -> Result<(Shape, u32), Refused> {
        let mut best = (Shape { src: 0, dst: 0, exact: 0 }, 0);
        for candidate in candidates {
            if candidate.fits <= best.1 {
                break;
            }
            let scores = match candidate.scores {
                Some(scores) => scores,
                None => *candidate.scores.insert(self.scores(candidate.shape)?),
            };
            let score = scores.get(doublings as usize).copied().unwrap_or(0);
            if score > best.1 {
                best = (candidate.shape, score);
            }
        }
        Ok(best)
    }

    /// Counts the rules of each leaf that a table with this mask would have.
    fn count(&mut self, shape: Shape) -> Result<(), Refused> {
        let mask = self.mask(shape);
        let bits = usize::BITS - self.left.len().leading_zeros() + 1;
        self.counts.clear();
        self.counts.try_reserve(1 << bits).map_err(|_| Refused::Full)?;
        self.counts.resize(1 << bits, 0);
        let mut hashes = core::mem::take(&mut self.hashes);
        hashes.clear();
        for (number, rule_shape, rule) in self.rules_left() {
            if shape.fits(rule_shape) && hashes.len() < hashes.capacity() {
                hashes.push((number, mask.hash_rule(rule) >> (32 - bits)));
            }
        }
        for (_, hash) in &hashes {
            if let Some(count) = self.counts.get_mut(*hash as usize) {
                *count = count.saturating_add(1);
            }
        }
        self.hashes = hashes;
        Ok(())
    }

    /// [`Candidate::scores`].
    fn scores(&mut self, shape: Shape) -> Result<[u32; DOUBLINGS], Refused> {
        self.count(shape)?;
        let mut scores = [0; DOUBLINGS];
        for count in self.counts.iter().map(|count| u32::from(*count)).filter(|count| *count > 0) {
            // The first block of a leaf is worth more than those behind it.
            let first = count.min(LANES as u32);
            let doublings = u32::BITS - ((count - 1) / SHORT).leading_zeros();
            if let Some(score) = scores.get_mut(doublings as usize) {
                *score += 8 * first + 2 * (count - first);
            }
        }
        let mut sum = 0;
        Ok(scores.map(|score| {
            sum += score;
            sum / 8
        }))
    }

    /// Gives a table the rules whose leaves are short enough.
    fn assign(&mut self, shape: Shape, limit: u32, table: u16, tables: &mut [u16]) -> Result<(), Refused> {
        self.count(shape)?;
        for (number, hash) in &self.hashes {
            let count = self.counts.get(*hash as usize).copied().unwrap_or(0);
            if u32::from(count) <= limit
                && let Some(slot) = tables.get_mut(*number as usize)
            {
                *slot = table + 1;
            }
        }
        self.left.retain(|number| tables.get(*number as usize) != Some(&(table + 1)));
        for (number, _) in &self.hashes {
            if let Some(slot) = tables.get_mut(*number as usize)
                && *slot == table + 1
            {
                *slot = table;
            }
        }
        Ok(())
    }
}
