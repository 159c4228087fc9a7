//! A graph of questions, made into what a burst is asked.
//!
//! What a program loads are fields of words: four bytes each, so that one load of every frame serves several fields. A
//! field that is compared with constants is not taken out of its word; the constants are put where the field stands. A
//! chain of such comparisons that lead to the same place is one question.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use super::Instruction;
use super::compile::code;
use super::graph::{Draft, Graph, Operand, Size, Test, VALUES, Value, filled};
use crate::mem::columns::KEYS as KEYS_AT_ONCE;
use crate::mem::simd::Vector;

/// Most words of a plan.
pub(super) const WORDS: usize = 32;
/// Most steps of a plan.
pub(super) const STEPS: usize = 256;
/// Most constants of all questions together.
const KEYS: usize = 4096;
/// Bytes of the shortest Ethernet frame without its check sequence (IEEE Std 802.3, 4A.2.3.2.4's minFrameSize less 4), and
/// those of them behind the shortest IPv4 header (RFC 791, 3.1).
const HEAD: u32 = 60;
const BEHIND_HEADER: u32 = HEAD - 20;

/// Four bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// The offset is behind this value.
    pub base: Option<u8>,
    pub offset: u32,
    /// A frame that does not have all of it has none of its fields.
    pub is_whole: bool,
}

/// Bits of a word that are read together, most significant byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub word: u8,
    /// How far it is shifted up.
    pub shift: u8,
    pub mask: u32,
    /// A frame without this many bytes (behind the base) does not have it.
    pub end: u32,
    /// The word's.
    pub base: Option<u8>,
}

impl Field {
    /// What a word holds in place of `number`; words are as they stand in the frame.
    fn place(&self, number: u32) -> u32 {
        (number << (self.shift & 31)).swap_bytes()
    }

    /// What is in a word.
    #[inline(always)]
    pub fn number(&self, word: u32) -> u32 {
        word.swap_bytes() >> (self.shift & 31) & self.mask
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Number(u32),
    Len,
    Field(Field),
    Header(Field),
    Of { operation: u16, a: u8, b: Operand },
}

/// What is done for the frames whose way leads here; the steps after it have greater numbers.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Compute a value; frames that have none are dropped.
    Compute { value: u8, next: u16 },
    /// Only drop the frames that do not have a field.
    Need { field: Field, next: u16 },
    /// Ask and go on.
    Ask { test: Test, a: u8, b: Operand, yes: u16, no: u16 },
    /// Ask whether a field's word under a mask is one of these keys, of frames that have it.
    Is { field: Field, mask: u32, keys: Range<usize>, yes: u16, no: u16 },
    /// Keep so many bytes.
    Return(Operand),
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub values: Box<[Source]>,
    pub words: Box<[Word]>,
    pub steps: Box<[Step]>,
    /// Of a question with more than one key a multiple of [`KEYS_AT_ONCE`].
    pub keys: Box<[u32]>,
    pub vector: Vector,
}

/// A step while they are made; next ones are numbers in the graph.
#[derive(Clone)]
enum Folded {
    Compute { value: u8, next: usize },
    Need { field: Field, next: usize },
    Ask { test: Test, a: u8, b: Operand, yes: usize, no: usize },
    Is { field: Field, mask: u32, keys: Range<usize>, yes: usize, no: usize },
    Return(Operand),
}

impl Folded {
    fn next(&self) -> [Option<usize>; 2] {
        match self {
            Self::Compute { next, .. } | Self::Need { next, .. } => [Some(*next), None],
            Self::Ask { yes, no, .. } | Self::Is { yes, no, .. } => [Some(*yes), Some(*no)],
            Self::Return(_) => [None, None],
        }
    }
}

impl Plan {
    /// The plan of a program that was checked, if it is not too large. Allocates.
    pub(super) fn new(instructions: &[Instruction]) -> Option<Self> {
        let graph = Graph::new(instructions)?;
        let mut words = Vec::new();
        words.try_reserve_exact(WORDS).ok()?;
        let values = sources(&graph.values, &mut words)?;
        let (steps, keys) = Fold { graph: &graph, values: &values, words: &words, keys: Vec::new() }.steps()?;
        Some(Self {
            values: values.into_boxed_slice(),
            words: words.into_boxed_slice(),
            steps: steps.into_boxed_slice(),
            keys: keys.into_boxed_slice(),
            vector: Vector::detect(),
        })
    }
}

/// Base, offset and bytes of what is loaded.
fn extent(value: &Value) -> Option<(Option<u8>, u32, u32)> {
    match *value {
        Value::Load { size, base, offset } => {
            let bytes = match size {
                Size::Byte => 1,
                Size::Half => 2,
                Size::Word => 4,
            };
            Some((base, offset, bytes))
        }
        Value::Header(offset) => Some((None, offset, 1)),
        _ => None,
    }
}

/// Puts all fields into words.
fn sources(values: &[Value], words: &mut Vec<Word>) -> Option<Vec<Source>> {
    let mut sources = Vec::new();
    sources.try_reserve_exact(values.len()).ok()?;
    sources.extend(values.iter().map(|value| match *value {
        Value::Number(number) => Source::Number(number),
        Value::Of { operation, a, b } => Source::Of { operation, a, b },
        _ => Source::Len,
    }));
    let mut left: Vec<bool> = filled(false, values.len())?;
    for (left, value) in left.iter_mut().zip(values) {
        *left = extent(value).is_some();
    }
    loop {
        let all = || values.iter().zip(&left).filter(|(_, left)| **left).filter_map(|(value, _)| extent(value));
        // The first field that has no word yet, and those that fit into one with it. Words that not all frames may have end
        // where their fields do: what stands there if there is no field does not matter.
        let Some((base, first, bytes)) = all().min_by_key(|(base, offset, _)| (*base, *offset)) else { break };
        let (least, head) = (first.saturating_add(bytes), if base.is_none() { HEAD } else { BEHIND_HEADER });
        let most = if least > head { least } else { first.saturating_add(4).min(head) };
        let fits = |(other, offset, bytes): (Option<u8>, u32, u32)| {
            other == base && offset >= first && offset.saturating_add(bytes) <= most
        };
        let end = all().filter(|extent| fits(*extent)).map(|(_, offset, bytes)| offset.saturating_add(bytes)).max()?;
        let offset = end.saturating_sub(4);
        let is_whole =
            all().filter(|extent| fits(*extent)).all(|(_, offset, bytes)| offset.saturating_add(bytes) == end);
        if words.len() == words.capacity() {
            return None;
        }
        let word = u8::try_from(words.len()).ok()?;
        words.push(Word { base, offset, is_whole: is_whole && end >= 4 });
        for ((value, left), source) in values.iter().zip(&mut left).zip(&mut sources) {
            let Some((other, start, bytes)) = extent(value).filter(|extent| *left && fits(*extent)) else { continue };
            debug_assert_eq!(other, base);
            let end = start.saturating_add(bytes);
            // No frame has what ends behind the greatest number; where it would stand does not matter.
            let shift = offset.saturating_add(4).saturating_sub(end) * 8;
            let mask = if bytes == 4 { u32::MAX } else { (1 << (8 * bytes)) - 1 };
            let field = Field { word, shift: (shift & 31) as u8, mask, end, base };
            *source = match value {
                Value::Header(_) => Source::Header(Field { mask: 15, ..field }),
                _ => Source::Field(field),
            };
            *left = false;
        }
    }
    Some(sources)
}

struct Fold<'a> {
    graph: &'a Graph,
    values: &'a [Source],
    words: &'a [Word],
    keys: Vec<u32>,
}

impl Fold<'_> {
    fn source(&self, value: u8) -> Option<&Source> {
        self.values.get(usize::from(value))
    }

    /// The field, and the mask in its word, if a question is one whether a field has certain bits.
    fn field(&self, a: u8) -> Option<(Field, u32)> {
        match self.source(a)? {
            Source::Field(field) => Some((*field, field.mask)),
            Source::Of { operation: code::AND, a, b: Operand::Number(mask) } => match self.source(*a)? {
                Source::Field(field) => Some((*field, field.mask & mask)),
                _ => None,
            },
            _ => None,
        }
    }

    /// A question about bits of a field: the field, the mask, the key if there is any, and whether the answer is the
    /// opposite.
    fn is(&self, test: Test, a: u8, b: Operand) -> Option<(Field, u32, Option<u32>, bool)> {
        let ((field, mask), Operand::Number(k)) = (self.field(a)?, b) else { return None };
        match test {
            Test::Equal => Some((field, field.place(mask), (k & !mask == 0).then(|| field.place(k)), false)),
            Test::AnyOf => Some((field, field.place(mask & k), Some(0), true)),
            _ => None,
        }
    }

    /// Which values have to be there as numbers.
    fn needed(&self) -> u64 {
        let mut needed = 0u64;
        let need = |needed: &mut u64, value: u8| *needed |= 1u64.checked_shl(value.into()).unwrap_or(0);
        for step in &self.graph.steps {
            match *step {
                Draft::Ask { test, a, b, .. } if self.is(test, a, b).is_none() => {
                    need(&mut needed, a);
                    if let Operand::Value(b) = b {
                        need(&mut needed, b);
                    }
                }
                Draft::Return(Operand::Value(value)) => need(&mut needed, value),
                _ => {}
            }
        }
        for base in self.words.iter().filter_map(|word| word.base) {
            need(&mut needed, base);
        }
        for (number, source) in (0..).zip(self.values) {
            // There may be none.
            if matches!(source, Source::Of { operation: code::DIV | code::MOD, .. }) {
                need(&mut needed, number);
            }
        }
        // What a value is made of comes before it.
        for (number, source) in self.values.iter().enumerate().take(VALUES).rev() {
            if needed >> number & 1 == 0 {
                continue;
            }
            if let Source::Of { a, b, .. } = source {
                need(&mut needed, *a);
                if let Operand::Value(b) = b {
                    need(&mut needed, *b);
                }
            }
        }
        needed
    }

    /// What is left of a step that computes a value.
    fn compute(&self, value: u8, is_needed: bool, next: usize, then: Option<&Folded>) -> Option<Folded> {
        if is_needed {
            return Some(Folded::Compute { value, next });
        }
        match *self.source(value)? {
            Source::Field(field) | Source::Header(field) => {
                let is_asked = matches!(then, Some(Folded::Is { field: asked, .. } | Folded::Need { field: asked, .. })
                    if asked.base == field.base && asked.end >= field.end);
                (!is_asked).then_some(Folded::Need { field, next })
            }
            _ => None,
        }
    }

    /// Appends the keys of a question.
    fn key(&mut self, key: Option<u32>, more: Range<usize>) -> Option<Range<usize>> {
        let count = usize::from(key.is_some()) + more.len();
        if self.keys.len() + count > KEYS {
            return None;
        }
        let start = self.keys.len();
        self.keys.try_reserve(count).ok()?;
        self.keys.extend(key);
        self.keys.extend_from_within(more);
        Some(start..self.keys.len())
    }

    fn steps(mut self) -> Option<(Vec<Step>, Vec<u32>)> {
        let needed = self.needed();
        let count = self.graph.steps.len();
        let mut folded: Vec<Option<Folded>> = filled(None, count)?;
        // Where each step's way goes on; from the end, as that comes after it.
        let mut ways: Vec<usize> = filled(0, count)?;
        for (at, step) in self.graph.steps.iter().enumerate().rev() {
            let way = |next: usize| ways.get(next).copied();
            let new = match *step {
                Draft::Pass { .. } => return None,
                Draft::Return(value) => Some(Folded::Return(value)),
                Draft::Compute { value, next } => {
                    let next = way(next)?;
                    let is_needed = needed.checked_shr(value.into()).unwrap_or(0) & 1 != 0;
                    let left = self.compute(value, is_needed, next, folded.get(next)?.as_ref());
                    if left.is_none() {
                        *ways.get_mut(at)? = next;
                        continue;
                    }
                    left
                }
                Draft::Ask { test, a, b, yes, no } => {
                    let (yes, no) = (way(yes)?, way(no)?);
                    Some(match self.is(test, a, b) {
                        None => Folded::Ask { test, a, b, yes, no },
                        Some((field, mask, key, is_opposite)) => {
                            let (yes, no) = if is_opposite { (no, yes) } else { (yes, no) };
                            match folded.get(no)? {
                                Some(Folded::Is { field: other, mask: under, keys, yes: there, no: else_ })
                                    if *other == field && *under == mask && *there == yes =>
                                {
                                    let (keys, no) = (keys.clone(), *else_);
                                    Folded::Is { field, mask, keys: self.key(key, keys)?, yes, no }
                                }
                                _ => Folded::Is { field, mask, keys: self.key(key, 0..0)?, yes, no },
                            }
                        }
                    })
                }
            };
            *folded.get_mut(at)? = new;
            *ways.get_mut(at)? = at;
        }
        self.finish(*ways.first()?, &folded)
    }

    /// Gives the steps that a way leads to numbers.
    fn finish(&self, first: usize, folded: &[Option<Folded>]) -> Option<(Vec<Step>, Vec<u32>)> {
        let mut numbers: Vec<Option<u16>> = filled(None, folded.len())?;
        *numbers.get_mut(first)? = Some(0);
        let mut count = 0;
        for (at, step) in folded.iter().enumerate() {
            if numbers.get(at)?.is_none() {
                continue;
            }
            if usize::from(count) == STEPS {
                return None;
            }
            *numbers.get_mut(at)? = Some(count);
            count += 1;
            for next in step.as_ref()?.next().into_iter().flatten() {
                *numbers.get_mut(next)? = Some(0);
            }
        }
        let mut keys = Vec::new();
        let mut steps = Vec::new();
        steps.try_reserve_exact(usize::from(count)).ok()?;
        for (step, number) in folded.iter().zip(&numbers) {
            let (Some(step), Some(_)) = (step, number) else { continue };
            let to = |next: usize| numbers.get(next).copied().flatten();
            steps.push(match step.clone() {
                Folded::Compute { value, next } => Step::Compute { value, next: to(next)? },
                Folded::Need { field, next } => Step::Need { field, next: to(next)? },
                Folded::Ask { test, a, b, yes, no } => Step::Ask { test, a, b, yes: to(yes)?, no: to(no)? },
                Folded::Return(value) => Step::Return(value),
                Folded::Is { field, mask, keys: range, yes, no } => {
                    let from = self.keys.get(range)?;
                    let start = keys.len();
                    keys.try_reserve(from.len() + KEYS_AT_ONCE).ok()?;
                    keys.extend_from_slice(from);
                    if let (true, Some(last)) = (from.len() > 1, from.last()) {
                        keys.resize(start + from.len().next_multiple_of(KEYS_AT_ONCE), *last);
                    }
                    Step::Is { field, mask, keys: start..keys.len(), yes: to(yes)?, no: to(no)? }
                }
            });
        }
        Some((steps, keys))
    }
}
