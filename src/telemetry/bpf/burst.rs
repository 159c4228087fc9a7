//! A plan asks a burst: one column of words for all frames at a time, and of every answer one bit for each frame.
//!
//! Which way a frame takes through a program no processor guesses where traffic is mixed, and every wrong guess costs as
//! much as twenty instructions. Here the ways of up to 32 frames are bits of one word, and nothing depends on one frame.

use super::graph::{Operand, Test, VALUES};
use super::plan::{Field, Plan, STEPS, Source, Step, WORDS};
use super::{Program, alu, compile::code};
use crate::mem::columns::{BITS, Column, Compare, Frames, LANES, Task, gather, padded};

/// Fewer frames are asked one by one: a column costs the same for one frame as for all.
const FEW: usize = 4;

const ALL: u32 = u32::MAX;

/// Memory for a burst; what is left in it does not matter.
#[derive(Clone, Debug)]
pub struct Scratch {
    words: [Column; WORDS],
    /// Frames whose word is there.
    loaded: [u32; WORDS],
    /// The base that all of these have.
    starts: [Option<u32>; WORDS],
    columns: [Column; VALUES],
    /// Frames whose value is there.
    computed: [u32; VALUES],
    /// Frames that have no such value.
    missing: [u32; VALUES],
    /// Frames whose way leads to a step. All zero in between.
    reached: [u32; STEPS],
    kept: Column,
}

impl Default for Scratch {
    fn default() -> Self {
        let column = Column([0; LANES]);
        Self {
            words: [column; WORDS],
            loaded: [0; WORDS],
            starts: [None; WORDS],
            columns: [column; VALUES],
            computed: [0; VALUES],
            missing: [0; VALUES],
            reached: [0; STEPS],
            kept: column,
        }
    }
}

impl Program {
    /// [`Program::run`] for every frame of a burst, all of which is there: how many bytes to keep of each.
    #[inline]
    pub fn run_burst(&self, scratch: &mut Scratch, frames: &[&[u8]], kept: &mut [u32]) {
        for (frames, kept) in frames.chunks(LANES).zip(kept.chunks_mut(LANES)) {
            let plan = self.plan.as_ref().filter(|_| frames.len() >= FEW);
            let Some(plan) = plan else {
                for (frame, kept) in frames.iter().zip(kept) {
                    *kept = self.run(frame, frame.len());
                }
                continue;
            };
            plan.vector.compare(Asked { scratch, plan, frames });
            for (kept, found) in kept.iter_mut().zip(scratch.kept.0) {
                *kept = found;
            }
        }
    }
}

struct Asked<'a> {
    scratch: &'a mut Scratch,
    plan: &'a Plan,
    frames: &'a [&'a [u8]],
}

impl Task for Asked<'_> {
    #[inline(always)]
    fn run(self, compare: impl Compare) {
        self.scratch.ask_all(compare, self.plan, &Frames::new(self.frames));
    }
}

#[allow(clippy::indexing_slicing, reason = "remainders of the arrays' lengths")]
impl Scratch {
    #[inline(always)]
    fn ask_all(&mut self, compare: impl Compare, plan: &Plan, frames: &Frames<'_>) {
        self.loaded = [0; WORDS];
        self.computed = [0; VALUES];
        self.kept = Column([0; LANES]);
        let all = if frames.all().len() >= LANES { ALL } else { (1 << frames.all().len()) - 1 };
        self.lead(0, all);
        for (at, step) in plan.steps.iter().enumerate() {
            let here = self.reached.get_mut(at).map_or(0, core::mem::take);
            if here == 0 {
                continue;
            }
            match step {
                Step::Is { field, mask, keys, yes, no } => {
                    let column = self.word(compare, plan, field.word, here, frames);
                    let keys = plan.keys.get(keys.clone()).unwrap_or_default();
                    let answer = any_of(compare, column, *mask, keys);
                    let here = here & !self.lacking(compare, plan, field, here, frames);
                    self.lead(*yes, here & answer);
                    self.lead(*no, here & !answer);
                }
                Step::Compute { value, next } => {
                    self.compute(compare, plan, *value, here, frames);
                    let missing = match plan.values.get(usize::from(*value)) {
                        Some(Source::Field(field) | Source::Header(field)) => {
                            self.lacking(compare, plan, field, here, frames)
                        }
                        Some(Source::Of { operation: code::DIV | code::MOD, .. }) => {
                            self.missing.get(usize::from(*value)).copied().unwrap_or(ALL)
                        }
                        _ => 0,
                    };
                    self.lead(*next, here & !missing);
                }
                Step::Need { field, next } => {
                    let missing = self.lacking(compare, plan, field, here, frames);
                    self.lead(*next, here & !missing);
                }
                Step::Ask { test, a, b, yes, no } => {
                    let answer = self.ask(compare, plan, *test, *a, *b, frames);
                    self.lead(*yes, here & answer);
                    self.lead(*no, here & !answer);
                }
                Step::Return(Operand::Number(0)) => {}
                Step::Return(Operand::Number(number)) => compare.put(*number, here, &mut self.kept),
                Step::Return(Operand::Value(value)) => {
                    let column = *self.column(plan, *value, frames);
                    for ((kept, value), bit) in self.kept.0.iter_mut().zip(column.0).zip(BITS) {
                        *kept = if here & bit == 0 { *kept } else { value };
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn lead(&mut self, step: u16, frames: u32) {
        if let Some(reached) = self.reached.get_mut(usize::from(step)) {
            *reached |= frames;
        }
    }

    /// A word of the frames whose bits are `here`; of those that end before, zeros.
    #[inline(always)]
    fn word(&mut self, compare: impl Compare, plan: &Plan, number: u8, here: u32, frames: &Frames<'_>) -> &Column {
        let at = usize::from(number) % WORDS;
        if here & !self.loaded[at] != 0 {
            self.load(compare, plan, at, here | self.loaded[at], frames);
        }
        &self.words[at]
    }

    #[inline(always)]
    fn load(&mut self, compare: impl Compare, plan: &Plan, at: usize, wanted: u32, frames: &Frames<'_>) {
        let Some(word) = plan.words.get(at) else { return };
        let offset = word.offset as usize;
        let Some(base) = word.base else {
            frames.load(offset, word.is_whole, &mut self.words[at % WORDS]);
            self.loaded[at % WORDS] = ALL;
            return;
        };
        // Nearly all IPv4 headers have the same length: all frames are read where the first one is, the others once more.
        let bases = *self.column(plan, base, frames);
        let column = &mut self.words[at % WORDS];
        let start = bases.0[wanted.trailing_zeros() as usize % LANES];
        let mut others = wanted & !compare.equal(&bases, ALL, start);
        frames.load(offset.saturating_add(start as usize), word.is_whole, column);
        self.starts[at % WORDS] = (others == 0).then_some(start);
        self.loaded[at % WORDS] = wanted;
        while others != 0 {
            let lane = others.trailing_zeros() as usize % LANES;
            others &= others - 1;
            if let Some(frame) = frames.all().get(lane) {
                column.0[lane] = padded(frame, offset.saturating_add(bases.0[lane] as usize));
            }
        }
    }

    /// Frames that do not have a field, of those whose bits are `here`.
    #[inline(always)]
    fn lacking(&mut self, compare: impl Compare, plan: &Plan, field: &Field, here: u32, frames: &Frames<'_>) -> u32 {
        let at = usize::from(field.word) % WORDS;
        let Some(base) = field.base else {
            return if field.end <= frames.shortest() { 0 } else { short(compare, frames, field.end) };
        };
        if here & !self.loaded[at] == 0
            && let Some(start) = self.starts[at]
            && field.end.saturating_add(start) <= frames.shortest()
        {
            return 0;
        }
        let bases = self.column(plan, base, frames);
        short(compare, frames, field.end)
            | gather(bases, frames.lengths(), |base, len| base > len.wrapping_sub(field.end))
    }

    /// The frames whose answer is yes, whether their way leads here or not.
    #[inline(always)]
    fn ask(&mut self, compare: impl Compare, plan: &Plan, test: Test, a: u8, b: Operand, frames: &Frames<'_>) -> u32 {
        match b {
            Operand::Number(k) => {
                let a = self.column(plan, a, frames);
                match test {
                    Test::Equal => compare.equal(a, ALL, k),
                    Test::AnyOf => !compare.equal(a, k, 0),
                    Test::Greater => compare.above(a, k),
                    Test::GreaterOrEqual => k.checked_sub(1).map_or(ALL, |k| compare.above(a, k)),
                }
            }
            Operand::Value(b) => {
                let a = *self.column(plan, a, frames);
                let b = self.column(plan, b, frames);
                match test {
                    Test::Equal => gather(&a, b, |a, b| a == b),
                    Test::AnyOf => gather(&a, b, |a, b| a & b != 0),
                    Test::Greater => gather(&a, b, |a, b| a > b),
                    Test::GreaterOrEqual => gather(&a, b, |a, b| a >= b),
                }
            }
        }
    }

    /// A value that was computed for all frames whose way leads here; numbers and lengths, for which no step asks, are
    /// filled in.
    #[inline(always)]
    fn column(&mut self, plan: &Plan, value: u8, frames: &Frames<'_>) -> &Column {
        let at = usize::from(value) % VALUES;
        match plan.values.get(at) {
            Some(Source::Number(number)) => self.columns[at] = Column([*number; LANES]),
            Some(Source::Len) => self.columns[at] = *frames.lengths(),
            _ => {}
        }
        &self.columns[at]
    }

    /// What a value is made of was computed before it for all frames whose way leads here.
    #[inline(always)]
    fn compute(&mut self, compare: impl Compare, plan: &Plan, value: u8, here: u32, frames: &Frames<'_>) {
        let at = usize::from(value) % VALUES;
        if here & !self.computed[at] == 0 {
            return;
        }
        let wanted = here | self.computed[at];
        self.computed[at] = wanted;
        match plan.values.get(at) {
            Some(Source::Field(field) | Source::Header(field)) => {
                let unit = if matches!(plan.values.get(at), Some(Source::Header(_))) { 4 } else { 1 };
                self.word(compare, plan, field.word, wanted, frames);
                let word = usize::from(field.word) % WORDS;
                for (out, word) in self.columns[at].0.iter_mut().zip(self.words[word].0) {
                    *out = field.number(word) * unit;
                }
                self.computed[at] = self.loaded[word];
            }
            Some(Source::Of { operation, a, b }) => self.operate(plan, at, *operation, *a, *b, frames),
            _ => {}
        }
    }

    #[inline(always)]
    fn operate(&mut self, plan: &Plan, at: usize, operation: u16, a: u8, b: Operand, frames: &Frames<'_>) {
        let a = *self.column(plan, a, frames);
        let b = match b {
            Operand::Number(number) => Column([number; LANES]),
            Operand::Value(b) => *self.column(plan, b, frames),
        };
        let column = &mut self.columns[at % VALUES];
        macro_rules! each {
            ($with:expr) => {
                for ((out, a), b) in column.0.iter_mut().zip(a.0).zip(b.0) {
                    *out = $with(a, b);
                }
            };
        }
        match operation {
            code::AND => each!(|a, b| a & b),
            code::OR => each!(|a, b| a | b),
            code::ADD => each!(u32::wrapping_add),
            code::SUB => each!(u32::wrapping_sub),
            code::MUL => each!(u32::wrapping_mul),
            code::LSH => each!(|a: u32, b| a.checked_shl(b).unwrap_or(0)),
            code::RSH => each!(|a: u32, b| a.checked_shr(b).unwrap_or(0)),
            _ => {
                let mut missing = 0;
                for (((out, a), b), bit) in column.0.iter_mut().zip(a.0).zip(b.0).zip(BITS) {
                    match alu(operation, a, b) {
                        Some(result) => *out = result,
                        None => missing |= bit,
                    }
                }
                self.missing[at % VALUES] = missing;
            }
        }
    }
}

/// Frames without that many bytes.
#[inline(always)]
fn short(compare: impl Compare, frames: &Frames<'_>, end: u32) -> u32 {
    end.checked_sub(1).map_or(0, |last| !compare.above(frames.lengths(), last))
}

/// The frames whose word under a mask is one of some keys.
#[inline(always)]
fn any_of(compare: impl Compare, column: &Column, mask: u32, keys: &[u32]) -> u32 {
    if let [key] = keys {
        return compare.equal(column, mask, *key);
    }
    let (keys, _) = keys.as_chunks();
    keys.iter().fold(0, |yes, keys| yes | compare.any(column, mask, keys))
}
