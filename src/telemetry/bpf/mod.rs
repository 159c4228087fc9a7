//! Which frames a capture keeps: classic BPF programs (bpf(4); McCanne and Jacobson, "The BSD Packet Filter", USENIX Winter
//! 1993), as libpcap compiles them from tcpdump's expressions.
//!
//! A program comes from outside and is checked completely before it runs: every jump goes forward and stays inside, every
//! scratch word exists, no constant divisor is zero, the last instruction returns. So it ends after at most as many
//! steps as it has instructions, and what it may still do wrong, reading behind the frame or dividing by zero, ends it
//! with "drop".
//!
//! What runs is not the program but operations made of it: most of what tcpdump's programs do is to load a field, compare
//! it with a constant and jump. That is one operation; the others that they are made of have one each, and what is left
//! is done as the manual says. A burst is asked otherwise, all its frames at once ([`Program::run_burst`]).

mod burst;
mod compile;
mod graph;
mod plan;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

pub use self::burst::Scratch;
use self::compile::Op;
use self::plan::Plan;

/// Most instructions of a program: Linux's `BPF_MAXINSNS` (linux/bpf_common.h), more than libpcap makes.
pub const INSTRUCTIONS_MAX: usize = 4096;

/// Words of scratch memory, `BPF_MEMWORDS`.
const MEMORY: usize = 16;

/// An instruction: `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation, operand kind, size.
    pub code: u16,
    /// Instructions to skip if a comparison is true.
    pub jt: u8,
    /// And if it is not.
    pub jf: u8,
    /// Constant, offset or distance.
    pub k: u32,
}

/// Why a program is refused; the number is the instruction's, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BpfError {
    /// It has no instruction, or more than [`INSTRUCTIONS_MAX`].
    Length(usize),
    /// There is no such operation.
    Code(usize),
    /// A jump leaves the program.
    Jump(usize),
    /// There are only 16 words of scratch memory.
    Memory(usize),
    /// A constant divisor is zero.
    Divisor(usize),
    /// The last instruction is not a return.
    End,
    /// Not enough memory.
    NoMemory,
}

impl fmt::Display for BpfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => write!(f, "a filter program has 1 to {INSTRUCTIONS_MAX} instructions, not {len}"),
            Self::Code(at) => write!(f, "instruction {at} has no such operation"),
            Self::Jump(at) => write!(f, "instruction {at} jumps out of the program"),
            Self::Memory(at) => write!(f, "instruction {at} uses a scratch word that does not exist"),
            Self::Divisor(at) => write!(f, "instruction {at} divides by zero"),
            Self::End => f.write_str("the last instruction is not a return"),
            Self::NoMemory => f.write_str("not enough memory"),
        }
    }
}

impl core::error::Error for BpfError {}

/// A program that was checked and can run.
#[derive(Clone, Debug)]
pub struct Program {
    ops: Box<[Op]>,
    uses_memory: bool,
    /// For bursts, if the program can be planned.
    plan: Option<Plan>,
}

impl Program {
    /// Checks and prepares a program.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn new(instructions: &[Instruction]) -> Result<Self, BpfError> {
        compile::check(instructions)?;
        let mut ops = Vec::new();
        ops.try_reserve_exact(instructions.len()).map_err(|_| BpfError::NoMemory)?;
        ops.extend((0..instructions.len()).map(|at| compile::op(instructions, at)));
        let uses_memory = instructions.iter().any(compile::touches_memory);
        Ok(Self { ops: ops.into_boxed_slice(), uses_memory, plan: Plan::new(instructions) })
    }

    /// How many bytes of `frame` to keep; 0 = none of it. `len` is the frame's length on the wire, which may be more than
    /// what is there.
    #[must_use]
    pub fn run(&self, frame: &[u8], len: usize) -> u32 {
        if self.uses_memory { self.execute::<true>(frame, len) } else { self.execute::<false>(frame, len) }
    }

    #[inline(always)]
    fn execute<const USES_MEMORY: bool>(&self, frame: &[u8], len: usize) -> u32 {
        let mut machine =
            Machine { a: 0, x: 0, memory: [0; MEMORY], frame, len: u32::try_from(len).unwrap_or(u32::MAX) };
        let mut at = 0;
        // Every step goes forward, so this ends; an end without a return cannot be.
        while let Some(op) = self.ops.get(at) {
            // A load that fails drops the frame; else a comparison says where to go on.
            macro_rules! load {
                ($node:expr, $index:expr, $size:literal, $value:expr) => {{
                    let Some(bytes) = machine.load::<$size>(u64::from($node.offset) + $index) else { return 0 };
                    machine.a = $value(bytes);
                }};
            }
            let x = u64::from(machine.x);
            let node = match op {
                Op::Half(node) => {
                    load!(node, 0, 2, |bytes| u32::from(u16::from_be_bytes(bytes)));
                    node
                }
                Op::Byte(node) => {
                    load!(node, 0, 1, |[byte]: [u8; 1]| u32::from(byte));
                    node
                }
                Op::Word(node) => {
                    load!(node, 0, 4, u32::from_be_bytes);
                    node
                }
                Op::HalfAt(node) => {
                    load!(node, x, 2, |bytes| u32::from(u16::from_be_bytes(bytes)));
                    node
                }
                Op::ByteAt(node) => {
                    load!(node, x, 1, |[byte]: [u8; 1]| u32::from(byte));
                    node
                }
                Op::WordAt(node) => {
                    load!(node, x, 4, u32::from_be_bytes);
                    node
                }
                Op::Accumulator(node) => node,
                Op::Header(offset) => {
                    let Some([byte]) = machine.load::<1>(u64::from(*offset)) else { return 0 };
                    machine.x = u32::from(byte & 15) * 4;
                    at += 1;
                    continue;
                }
                Op::Mask(node) => {
                    machine.a &= node.k;
                    at += 1;
                    continue;
                }
                Op::Above(node) => {
                    at = node.way(machine.a > node.k);
                    continue;
                }
                Op::AnyOf(node) => {
                    at = node.way(machine.a & node.k != 0);
                    continue;
                }
                Op::Return(kept) => return *kept,
                Op::ReturnA => return machine.a,
                Op::Step(instruction) => match machine.step::<USES_MEMORY>(instruction, at) {
                    Some(next) => {
                        at = next;
                        continue;
                    }
                    None => return 0,
                },
            };
            at = node.way(machine.a == node.k);
        }
        0
    }
}

/// The registers, and what is read.
struct Machine<'a> {
    a: u32,
    x: u32,
    memory: [u32; MEMORY],
    frame: &'a [u8],
    len: u32,
}

impl Machine<'_> {
    /// The bytes at an offset, if they are all there.
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u64) -> Option<[u8; N]> {
        self.frame.get(usize::try_from(offset).ok()?..)?.first_chunk::<N>().copied()
    }

    /// One instruction as it stands; the next one's number, or `None` to drop.
    fn step<const USES_MEMORY: bool>(&mut self, i: &Instruction, at: usize) -> Option<usize> {
        use compile::code::*;
        let next = at + 1;
        let operand = if i.code & X == 0 { i.k } else { self.x };
        match i.code & CLASS {
            LD => self.a = self.value::<USES_MEMORY>(i)?,
            LDX => {
                self.x = match i.code & MODE {
                    MSH => {
                        let [byte] = self.load(i.k.into())?;
                        u32::from(byte & 15) * 4
                    }
                    _ => self.value::<USES_MEMORY>(i)?,
                }
            }
            ST | STX if USES_MEMORY => {
                *self.memory.get_mut(i.k as usize)? = if i.code & CLASS == ST { self.a } else { self.x };
            }
            ALU => self.a = alu(i.code & OPERATION, self.a, operand)?,
            JMP => {
                let jump = match i.code & OPERATION {
                    JA => return Some(next + i.k as usize),
                    JEQ => self.a == operand,
                    JGT => self.a > operand,
                    JGE => self.a >= operand,
                    _ => self.a & operand != 0,
                };
                return Some(next + usize::from(if jump { i.jt } else { i.jf }));
            }
            MISC if i.code & TXA == 0 => self.x = self.a,
            MISC => self.a = self.x,
            _ => return None,
        }
        Some(next)
    }

    fn value<const USES_MEMORY: bool>(&self, i: &Instruction) -> Option<u32> {
        use compile::code::*;
        let offset = match i.code & MODE {
            IMM => return Some(i.k),
            LEN => return Some(self.len),
            MEM if USES_MEMORY => return self.memory.get(i.k as usize).copied(),
            IND => u64::from(i.k) + u64::from(self.x),
            _ => i.k.into(),
        };
        match i.code & SIZE {
            W => self.load(offset).map(u32::from_be_bytes),
            H => self.load(offset).map(u16::from_be_bytes).map(u32::from),
            _ => self.load::<1>(offset).map(|[byte]| byte.into()),
        }
    }
}

fn alu(operation: u16, a: u32, b: u32) -> Option<u32> {
    use compile::code::*;
    Some(match operation {
        ADD => a.wrapping_add(b),
        SUB => a.wrapping_sub(b),
        MUL => a.wrapping_mul(b),
        DIV => a.checked_div(b)?,
        MOD => a.checked_rem(b)?,
        OR => a | b,
        AND => a & b,
        XOR => a ^ b,
        // Shifts by 32 and more leave nothing.
        LSH => a.checked_shl(b).unwrap_or(0),
        RSH => a.checked_shr(b).unwrap_or(0),
        _ => a.wrapping_neg(),
    })
}
