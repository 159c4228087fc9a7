//! A plan asks a burst: one column of values for all frames at a time, and of every answer one bit for each frame.
//!
//! Which way a frame takes through a program no processor guesses where traffic is mixed, and every wrong guess costs as
//! much as twenty instructions. Here the ways of up to 32 frames are bits of one word, and nothing depends on one frame.

use super::plan::{Plan, STEPS, Size, Step, Test, VALUES, Value};
use super::{Program, alu, compile::code};

/// Frames that are asked at once.
const LANES: usize = 32;

type Column = [u32; LANES];

/// Bytes of the shortest Ethernet frame without its check sequence (IEEE Std 802.3, 4A.2.3.2.4's minFrameSize less 4): what
/// is read of these needs no look at each frame's length.
const HEAD: usize = 60;

/// Up to [`LANES`] frames.
struct Frames<'a> {
    all: &'a [&'a [u8]],
    /// Their beginnings, if none is shorter.
    heads: Option<[&'a [u8; HEAD]; LANES]>,
}

impl<'a> Frames<'a> {
    #[inline(always)]
    fn new(all: &'a [&'a [u8]]) -> Self {
        let mut heads = [&[0; HEAD]; LANES];
        let mut is_short = false;
        for (head, frame) in heads.iter_mut().zip(all) {
            match frame.first_chunk() {
                Some(chunk) => *head = chunk,
                None => is_short = true,
            }
        }
        Self { all, heads: (!is_short).then_some(heads) }
    }
}

/// The bit of each frame.
#[rustfmt::skip]
const BITS: Column = [
    1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7,
    1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15,
    1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22, 1 << 23,
    1 << 24, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30, 1 << 31,
];

/// Memory for the values of a burst; what is left in it does not matter.
#[derive(Clone, Debug)]
pub struct Scratch {
    columns: [Column; VALUES],
    /// Frames that have no such value.
    missing: [u32; VALUES],
    /// Values that were computed.
    done: u32,
    /// Frames whose way leads to a step.
    reached: [u32; STEPS],
    kept: Column,
}

impl Default for Scratch {
    fn default() -> Self {
        let columns = [[0; LANES]; VALUES];
        Self { columns, missing: [0; VALUES], done: 0, reached: [0; STEPS], kept: [0; LANES] }
    }
}

impl Program {
    /// [`Program::run`] for every frame of a burst, all of which is there: how many bytes to keep of each.
    #[inline]
    pub fn run_burst(&self, scratch: &mut Scratch, frames: &[&[u8]], kept: &mut [u32]) {
        let Some(plan) = &self.plan else {
            for (frame, kept) in frames.iter().zip(kept) {
                *kept = self.run(frame, frame.len());
            }
            return;
        };
        for (frames, kept) in frames.chunks(LANES).zip(kept.chunks_mut(LANES)) {
            scratch.run(plan, &Frames::new(frames));
            for (kept, found) in kept.iter_mut().zip(scratch.kept) {
                *kept = found;
            }
        }
    }
}

impl Scratch {
    fn run(&mut self, plan: &Plan, frames: &Frames<'_>) {
        self.done = 0;
        self.kept = [0; LANES];
        for reached in self.reached.iter_mut().take(plan.steps.len()) {
            *reached = 0;
        }
        let all = if frames.all.len() >= LANES { u32::MAX } else { (1 << frames.all.len()) - 1 };
        self.lead(0, all);
        for (at, step) in plan.steps.iter().enumerate() {
            let here = self.reached.get(at).copied().unwrap_or(0);
            if here == 0 {
                continue;
            }
            match *step {
                Step::Compute { value, next } => {
                    self.compute(plan, value, frames);
                    let missing = self.missing.get(usize::from(value)).copied().unwrap_or(u32::MAX);
                    self.lead(next, here & !missing);
                }
                Step::Ask { test, a, b, yes, no } => {
                    let answer = self.ask(plan, test, a, b, frames);
                    self.lead(yes, here & answer);
                    self.lead(no, here & !answer);
                }
                Step::Return(value) => self.keep(plan, value, here, frames),
            }
        }
    }

    #[inline(always)]
    fn lead(&mut self, step: u8, frames: u32) {
        if let Some(reached) = self.reached.get_mut(usize::from(step)) {
            *reached |= frames;
        }
    }

    /// The frames whose answer is yes, whether their way leads here or not.
    #[inline(always)]
    fn ask(&mut self, plan: &Plan, test: Test, a: u8, b: u8, frames: &Frames<'_>) -> u32 {
        if let Some(Value::Number(k)) = plan.values.get(usize::from(b)) {
            let (k, a) = (*k, self.column(plan, a, frames));
            match test {
                Test::Equal => gather(a, |a| a == k),
                Test::Greater => gather(a, |a| a > k),
                Test::GreaterOrEqual => gather(a, |a| a >= k),
                Test::AnyOf => gather(a, |a| a & k != 0),
            }
        } else {
            let (a, b) = (*self.column(plan, a, frames), self.column(plan, b, frames));
            let mut yes = 0;
            for ((a, b), bit) in a.iter().zip(b).zip(BITS) {
                let answer = match test {
                    Test::Equal => a == b,
                    Test::Greater => a > b,
                    Test::GreaterOrEqual => a >= b,
                    Test::AnyOf => a & b != 0,
                };
                yes |= if answer { bit } else { 0 };
            }
            yes
        }
    }

    fn keep(&mut self, plan: &Plan, value: u8, here: u32, frames: &Frames<'_>) {
        // Dropped, as all are from the beginning.
        if plan.values.get(usize::from(value)) == Some(&Value::Number(0)) {
            return;
        }
        let column = *self.column(plan, value, frames);
        for ((kept, value), bit) in self.kept.iter_mut().zip(column).zip(BITS) {
            *kept = if here & bit == 0 { *kept } else { value };
        }
    }

    /// A value of all frames; numbers and lengths, for which no step asked, are filled in.
    #[inline(always)]
    fn column(&mut self, plan: &Plan, value: u8, frames: &Frames<'_>) -> &Column {
        self.compute(plan, value, frames);
        // There are as many columns as values.
        self.columns.get(usize::from(value)).unwrap_or(&BITS)
    }

    #[inline(always)]
    fn compute(&mut self, plan: &Plan, value: u8, frames: &Frames<'_>) {
        if self.done >> (value & 31) & 1 == 0 {
            self.compute_anew(plan, value, frames);
            self.done |= 1 << (value & 31);
        }
    }

    #[inline(never)]
    fn compute_anew(&mut self, plan: &Plan, value: u8, frames: &Frames<'_>) {
        let Some(&what) = plan.values.get(usize::from(value)) else { return };
        // What a value is made of was computed before it, where any frame's way leads here, or is filled in now.
        if let Value::LoadAt { base: a, .. } | Value::Of { a, .. } = what {
            self.fill(plan, a, frames);
        }
        if let Value::Of { b, .. } = what {
            self.fill(plan, b, frames);
        }
        self.fill(plan, value, frames);
        let (before, from) = self.columns.split_at_mut_checked(usize::from(value)).unwrap_or_default();
        let Some(column) = from.first_mut() else { return };
        let of = |number: u8| before.get(usize::from(number)).unwrap_or(&BITS);
        let missing = match what {
            Value::Number(_) | Value::Len => 0,
            Value::Load { size, offset } => match size {
                Size::Byte => load(column, frames, offset, |[byte]: [u8; 1]| byte.into()),
                Size::Half => load(column, frames, offset, |bytes: [u8; 2]| u16::from_be_bytes(bytes).into()),
                Size::Word => load(column, frames, offset, u32::from_be_bytes),
            },
            Value::Header(offset) => load(column, frames, offset, |[byte]: [u8; 1]| u32::from(byte & 15) * 4),
            Value::LoadAt { size, base, offset } => match size {
                Size::Byte => load_at(column, frames, of(base), offset, |[byte]: [u8; 1]| byte.into()),
                Size::Half => {
                    load_at(column, frames, of(base), offset, |bytes: [u8; 2]| u16::from_be_bytes(bytes).into())
                }
                Size::Word => load_at(column, frames, of(base), offset, u32::from_be_bytes),
            },
            Value::Of { operation: code::AND, a, b } => {
                for ((out, a), b) in column.iter_mut().zip(of(a)).zip(of(b)) {
                    *out = a & b;
                }
                0
            }
            Value::Of { operation, a, b } => {
                let mut missing = 0;
                for (((out, a), b), bit) in column.iter_mut().zip(of(a)).zip(of(b)).zip(BITS) {
                    match alu(operation, *a, *b) {
                        Some(result) => *out = result,
                        None => missing |= bit,
                    }
                }
                missing
            }
        };
        if let Some(place) = self.missing.get_mut(usize::from(value)) {
            *place = missing;
        }
    }

    /// Numbers and lengths have no step that computes them.
    fn fill(&mut self, plan: &Plan, value: u8, frames: &Frames<'_>) {
        let Some(column) = self.columns.get_mut(usize::from(value)) else { return };
        match plan.values.get(usize::from(value)) {
            Some(Value::Number(number)) => *column = [*number; LANES],
            Some(Value::Len) => {
                for (out, frame) in column.iter_mut().zip(frames.all) {
                    *out = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                }
            }
            _ => {}
        }
    }
}

/// The frames for which a condition holds.
#[inline(always)]
fn gather(column: &Column, condition: impl Fn(u32) -> bool) -> u32 {
    let mut yes = 0;
    for (value, bit) in column.iter().zip(BITS) {
        yes |= if condition(*value) { bit } else { 0 };
    }
    yes
}

/// Loads from an offset of all frames; those that end before.
#[inline(always)]
fn load<const N: usize>(column: &mut Column, frames: &Frames<'_>, offset: u32, number: impl Fn([u8; N]) -> u32) -> u32 {
    let offset = offset as usize;
    let Some(end) = offset.checked_add(N) else { return u32::MAX };
    if let Some(heads) = &frames.heads
        && end <= HEAD
    {
        for (out, head) in column.iter_mut().zip(heads) {
            if let Some(bytes) = head.get(offset..end).and_then(|bytes| bytes.first_chunk::<N>()) {
                *out = number(*bytes);
            }
        }
        return 0;
    }
    let mut missing = 0;
    for ((out, frame), bit) in column.iter_mut().zip(frames.all).zip(BITS) {
        match frame.get(offset..end).and_then(|bytes| bytes.first_chunk::<N>()) {
            Some(bytes) => *out = number(*bytes),
            None => missing |= bit,
        }
    }
    missing
}

/// The same where each frame has an offset of its own.
#[inline(always)]
fn load_at<const N: usize>(
    column: &mut Column,
    frames: &Frames<'_>,
    base: &Column,
    offset: u32,
    number: impl Fn([u8; N]) -> u32,
) -> u32 {
    let mut missing = 0;
    for (((out, frame), base), bit) in column.iter_mut().zip(frames.all).zip(base).zip(BITS) {
        let at = u64::from(*base) + u64::from(offset);
        let bytes = usize::try_from(at).ok().and_then(|at| frame.get(at..)?.first_chunk::<N>());
        match bytes {
            Some(bytes) => *out = number(*bytes),
            None => missing |= bit,
        }
    }
    missing
}
