//! A program as a graph of questions about a frame, so that a burst can be asked each of them at once.
//!
//! Jumps go forward only, so all ways to an instruction are known before it, and with them what the registers and the
//! scratch words hold there: numbers, or what is computed of the frame. An instruction that is come to with different
//! contents, of which something is still to be read, is as many steps. Where that makes too many there is no plan, and
//! frames are asked one by one.

use alloc::vec::Vec;

use super::compile::code::*;
use super::{Instruction, MEMORY};

/// Most values of a plan.
pub(super) const VALUES: usize = 64;
/// Most instructions with different contents that are looked at.
const VISITS: usize = 1024;
/// Most instructions that are looked at.
const INSTRUCTIONS: usize = 1024;

/// Bytes that a load reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Byte,
    Half,
    Word,
}

/// A constant, or something that is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Number(u32),
    Value(u8),
}

/// Something that is computed of a frame; others are named by number and come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u32),
    /// The frame's length on the wire.
    Len,
    /// Behind another value, if there is a base.
    Load {
        size: Size,
        base: Option<u8>,
        offset: u32,
    },
    /// Length of the IPv4 header at an offset.
    Header(u32),
    /// An operation of `ALU`.
    Of {
        operation: u16,
        a: u8,
        b: Operand,
    },
}

/// What is asked of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyOf,
}

/// What registers and scratch memory hold: numbers of values, or [`UNREAD`].
#[derive(Clone, Copy, PartialEq, Eq)]
struct Held {
    a: u8,
    x: u8,
    memory: [u8; MEMORY],
}

/// Of something that is not read before it is written again.
const UNREAD: u8 = u8::MAX;

/// Bits of what an instruction and those after it read: scratch words, then A and X.
type Read = u32;
const READS_A: Read = 1 << MEMORY;
const READS_X: Read = 1 << (MEMORY + 1);

/// What is read from an instruction on, if `after` is read behind it.
fn read(i: &Instruction, after: Read) -> Read {
    let word = 1u32.checked_shl(i.k).unwrap_or(0);
    let operand = if i.code & X == 0 { 0 } else { READS_X };
    match i.code & CLASS {
        class @ (LD | LDX) => {
            let after = after & !if class == LD { READS_A } else { READS_X };
            match i.code & MODE {
                IND => after | READS_X,
                MEM => after | word,
                _ => after,
            }
        }
        ST => after & !word | READS_A,
        STX => after & !word | READS_X,
        ALU if i.code & OPERATION == NEG => after | READS_A,
        ALU => after | READS_A | operand,
        JMP if i.code & OPERATION == JA => after,
        JMP => after | READS_A | operand,
        RET if i.code & A == 0 => 0,
        RET => READS_A,
        _ if i.code & TXA == 0 => after & !READS_X | READS_A,
        _ => after & !READS_A | READS_X,
    }
}

impl Held {
    /// Only what is read counts.
    fn keep(mut self, read: Read) -> Self {
        let forget = |value: &mut u8, bit: Read| {
            if read & bit == 0 {
                *value = UNREAD;
            }
        };
        forget(&mut self.a, READS_A);
        forget(&mut self.x, READS_X);
        for (number, word) in self.memory.iter_mut().enumerate() {
            forget(word, 1 << number);
        }
        self
    }
}

/// An instruction that is come to with these contents, and what it becomes.
#[derive(Clone, Copy)]
struct Visit {
    at: usize,
    held: Held,
    draft: Draft,
}

/// What is done for the frames whose way leads here; the steps after it have greater numbers. While they are made, next ones
/// are instructions' numbers, then visits', then steps'.
#[derive(Clone, Copy)]
pub(super) enum Draft {
    /// Nothing.
    Pass { next: usize },
    /// Compute a value; frames that have none are dropped.
    Compute { value: u8, next: usize },
    /// Ask and go on.
    Ask { test: Test, a: u8, b: Operand, yes: usize, no: usize },
    /// Keep so many bytes.
    Return(Operand),
}

#[derive(Default)]
struct Maker {
    values: Vec<Value>,
}

impl Maker {
    /// The number of a value.
    fn value(&mut self, value: Value) -> Option<u8> {
        let place = match self.values.iter().position(|have| *have == value) {
            Some(place) => place,
            None if self.values.len() < VALUES => {
                self.values.push(value);
                self.values.len() - 1
            }
            None => return None,
        };
        u8::try_from(place).ok()
    }

    /// What an instruction does to what is held.
    fn instruction(&mut self, i: &Instruction, at: usize, held: &mut Held) -> Option<Draft> {
        let next = at + 1;
        let computed = |value| Some(Draft::Compute { value, next });
        match i.code & CLASS {
            LD | LDX => {
                let (value, computes) = match i.code & MODE {
                    IMM => (self.value(Value::Number(i.k))?, false),
                    LEN => (self.value(Value::Len)?, false),
                    MEM => (*held.memory.get(i.k as usize)?, false),
                    MSH => (self.value(Value::Header(i.k))?, true),
                    mode => {
                        let size = match i.code & SIZE {
                            W => Size::Word,
                            H => Size::Half,
                            _ => Size::Byte,
                        };
                        // No frame is as long as the greatest number, so that a sum that is cut drops them all, too.
                        let (base, offset) = match (mode, self.operand(i.code & MODE == IND, i.k, held)) {
                            (IND, Operand::Number(x)) => (None, i.k.saturating_add(x)),
                            (IND, Operand::Value(x)) => (Some(x), i.k),
                            _ => (None, i.k),
                        };
                        (self.value(Value::Load { size, base, offset })?, true)
                    }
                };
                *(if i.code & CLASS == LD { &mut held.a } else { &mut held.x }) = value;
                if computes { computed(value) } else { Some(Draft::Pass { next }) }
            }
            ST | STX => {
                let value = if i.code & CLASS == ST { held.a } else { held.x };
                *held.memory.get_mut(i.k as usize)? = value;
                Some(Draft::Pass { next })
            }
            ALU => {
                let operation = i.code & OPERATION;
                let b = if operation == NEG { Operand::Number(0) } else { self.operand(i.code & X != 0, i.k, held) };
                let value = self.value(Value::Of { operation, a: held.a, b })?;
                held.a = value;
                computed(value)
            }
            JMP if i.code & OPERATION == JA => Some(Draft::Pass { next: next.checked_add(i.k as usize)? }),
            JMP => {
                let test = match i.code & OPERATION {
                    JEQ => Test::Equal,
                    JGT => Test::Greater,
                    JGE => Test::GreaterOrEqual,
                    _ => Test::AnyOf,
                };
                let (yes, no) = (next + usize::from(i.jt), next + usize::from(i.jf));
                Some(Draft::Ask { test, a: held.a, b: self.operand(i.code & X != 0, i.k, held), yes, no })
            }
            RET => Some(Draft::Return(if i.code & A == 0 { Operand::Number(i.k) } else { self.known(held.a) })),
            _ => {
                if i.code & TXA == 0 {
                    held.x = held.a;
                } else {
                    held.a = held.x;
                }
                Some(Draft::Pass { next })
            }
        }
    }

    fn operand(&self, is_x: bool, k: u32, held: &Held) -> Operand {
        if is_x { self.known(held.x) } else { Operand::Number(k) }
    }

    /// The constant that a value is, if it is one.
    fn known(&self, value: u8) -> Operand {
        match self.values.get(usize::from(value)) {
            Some(Value::Number(number)) => Operand::Number(*number),
            _ => Operand::Value(value),
        }
    }
}

/// The visits of a program, in the order in which they were found.
struct Visits {
    all: Vec<Visit>,
    /// What is read from each instruction on.
    read: Vec<Read>,
}

impl Visits {
    /// The number of a visit, a new one if there is none of its kind.
    fn number(&mut self, at: usize, held: Held) -> Option<usize> {
        let held = held.keep(*self.read.get(at)?);
        if let Some(number) = self.all.iter().position(|visit| visit.at == at && visit.held == held) {
            return Some(number);
        }
        if self.all.len() == self.all.capacity() {
            return None;
        }
        self.all.push(Visit { at, held, draft: Draft::Pass { next: usize::MAX } });
        Some(self.all.len() - 1)
    }
}

/// What a program asks, and in which order.
pub(super) struct Graph {
    pub values: Vec<Value>,
    pub steps: Vec<Draft>,
}

impl Graph {
    /// The graph of a program that was checked, if it is not too large. Allocates.
    pub(super) fn new(instructions: &[Instruction]) -> Option<Self> {
        if instructions.len() > INSTRUCTIONS {
            return None;
        }
        let mut maker = Maker::default();
        maker.values.try_reserve_exact(VALUES).ok()?;
        let mut visits = Visits { all: Vec::new(), read: filled(0, instructions.len())? };
        visits.all.try_reserve_exact(VISITS).ok()?;
        for (at, i) in instructions.iter().enumerate().rev() {
            let of = |next: usize| visits.read.get(next).copied().unwrap_or(0);
            let next = at + 1;
            let after = match i.code & CLASS {
                RET => 0,
                JMP if i.code & OPERATION == JA => of(next.saturating_add(i.k as usize)),
                JMP => of(next + usize::from(i.jt)) | of(next + usize::from(i.jf)),
                _ => of(next),
            };
            let read = read(i, after);
            *visits.read.get_mut(at)? = read;
        }
        let zero = maker.value(Value::Number(0))?;
        visits.number(0, Held { a: zero, x: zero, memory: [zero; MEMORY] })?;
        for (at, i) in instructions.iter().enumerate() {
            let mut number = 0;
            while let Some(&Visit { at: place, mut held, .. }) = visits.all.get(number) {
                if place == at {
                    let draft = match maker.instruction(i, at, &mut held)? {
                        Draft::Pass { next } => Draft::Pass { next: visits.number(next, held)? },
                        Draft::Compute { value, next } => Draft::Compute { value, next: visits.number(next, held)? },
                        Draft::Ask { test, a, b, yes, no } => {
                            let (yes, no) = (visits.number(yes, held)?, visits.number(no, held)?);
                            Draft::Ask { test, a, b, yes, no }
                        }
                        Draft::Return(value) => Draft::Return(value),
                    };
                    visits.all.get_mut(number)?.draft = draft;
                }
                number += 1;
            }
        }
        Some(Self { values: maker.values, steps: Self::steps(&visits.all)? })
    }

    /// Gives the steps that are left numbers, in the order of their instructions.
    fn steps(visits: &[Visit]) -> Option<Vec<Draft>> {
        let mut order = Vec::new();
        order.try_reserve_exact(visits.len()).ok()?;
        order.extend(0..visits.len());
        order.sort_unstable_by_key(|number| visits.get(*number).map(|visit| visit.at));
        let mut left = visits.iter().filter(|visit| !matches!(visit.draft, Draft::Pass { .. })).count();
        let mut steps = Vec::new();
        steps.try_reserve_exact(left).ok()?;
        // From the end, as what a visit leads to comes after it.
        let mut numbers: Vec<usize> = filled(0, visits.len())?;
        for visit in order.iter().rev() {
            let number = match visits.get(*visit)?.draft {
                Draft::Pass { next } => *numbers.get(next)?,
                _ => {
                    left = left.checked_sub(1)?;
                    left
                }
            };
            *numbers.get_mut(*visit)? = number;
        }
        for visit in order {
            steps.push(match visits.get(visit)?.draft {
                Draft::Pass { .. } => continue,
                Draft::Compute { value, next } => Draft::Compute { value, next: *numbers.get(next)? },
                Draft::Ask { test, a, b, yes, no } => {
                    Draft::Ask { test, a, b, yes: *numbers.get(yes)?, no: *numbers.get(no)? }
                }
                Draft::Return(value) => Draft::Return(value),
            });
        }
        Some(steps)
    }
}

pub(super) fn filled<T: Clone>(value: T, count: usize) -> Option<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(count).ok()?;
    all.resize(count, value);
    Some(all)
}
