//! Checks programs and turns them into nodes.

use super::{BpfError, INSTRUCTIONS_MAX, Instruction, MEMORY};

/// Parts of an operation code (bpf(4)).
pub(super) mod code {
    pub const CLASS: u16 = 0x07;
    pub const LD: u16 = 0x00;
    pub const LDX: u16 = 0x01;
    pub const ST: u16 = 0x02;
    pub const STX: u16 = 0x03;
    pub const ALU: u16 = 0x04;
    pub const JMP: u16 = 0x05;
    pub const RET: u16 = 0x06;
    pub const MISC: u16 = 0x07;

    pub const SIZE: u16 = 0x18;
    pub const W: u16 = 0x00;
    pub const H: u16 = 0x08;
    pub const B: u16 = 0x10;

    pub const MODE: u16 = 0xe0;
    pub const IMM: u16 = 0x00;
    pub const ABS: u16 = 0x20;
    pub const IND: u16 = 0x40;
    pub const MEM: u16 = 0x60;
    pub const LEN: u16 = 0x80;
    pub const MSH: u16 = 0xa0;

    pub const OPERATION: u16 = 0xf0;
    pub const ADD: u16 = 0x00;
    pub const SUB: u16 = 0x10;
    pub const MUL: u16 = 0x20;
    pub const DIV: u16 = 0x30;
    pub const OR: u16 = 0x40;
    pub const AND: u16 = 0x50;
    pub const LSH: u16 = 0x60;
    pub const RSH: u16 = 0x70;
    pub const NEG: u16 = 0x80;
    pub const MOD: u16 = 0x90;
    pub const XOR: u16 = 0xa0;

    pub const JA: u16 = 0x00;
    pub const JEQ: u16 = 0x10;
    pub const JGT: u16 = 0x20;
    pub const JGE: u16 = 0x30;
    pub const JSET: u16 = 0x40;

    /// The operand is X, not the constant.
    pub const X: u16 = 0x08;
    /// Return A.
    pub const A: u16 = 0x10;
    pub const TXA: u16 = 0x80;
}

use code::*;

/// A comparison with a constant, and where to go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub k: u32,
    /// Of what is loaded.
    pub offset: u16,
    /// Number of the next operation if it is true.
    pub yes: u16,
    pub no: u16,
}

impl Node {
    /// Where to go on. A jump, and not a choice among two numbers: a processor that guesses it goes on at once, and
    /// one that guessed wrong knows it before the next operation is fetched.
    #[inline(always)]
    pub fn way(&self, answer: bool) -> usize {
        if answer {
            core::hint::black_box(());
            usize::from(self.yes)
        } else {
            usize::from(self.no)
        }
    }
}

/// What runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Load a half word, compare for equality and jump.
    Half(Node),
    /// The same with a byte.
    Byte(Node),
    /// The same with a word.
    Word(Node),
    /// X behind the offset.
    HalfAt(Node),
    /// X behind the offset.
    ByteAt(Node),
    /// X behind the offset.
    WordAt(Node),
    /// Compare what is in A.
    Accumulator(Node),
    /// Jump if A is greater.
    Above(Node),
    /// Jump if A has one of the bits.
    AnyOf(Node),
    /// Clear all other bits of A.
    Mask(Node),
    /// X is the length of the IPv4 header that is there.
    Header(u32),
    /// Keep so many bytes.
    Return(u32),
    /// Keep A bytes.
    ReturnA,
    /// Anything else.
    Step(Instruction),
}

/// True for what reads or writes scratch memory.
pub(super) fn touches_memory(i: &Instruction) -> bool {
    match i.code & CLASS {
        LD | LDX => i.code & MODE == MEM,
        ST | STX => true,
        _ => false,
    }
}

/// Refuses what must not run.
pub(super) fn check(instructions: &[Instruction]) -> Result<(), BpfError> {
    let len = instructions.len();
    if len == 0 || len > INSTRUCTIONS_MAX {
        return Err(BpfError::Length(len));
    }
    for (at, i) in instructions.iter().enumerate() {
        if !is_known(i.code) {
            return Err(BpfError::Code(at));
        }
        if touches_memory(i) && i.k as usize >= MEMORY {
            return Err(BpfError::Memory(at));
        }
        let divides = i.code & CLASS == ALU && matches!(i.code & OPERATION, DIV | MOD);
        if divides && i.code & X == 0 && i.k == 0 {
            return Err(BpfError::Divisor(at));
        }
        if i.code & CLASS == JMP {
            let left = len - at - 1;
            let farthest = match i.code & OPERATION {
                JA => i.k as usize,
                _ => usize::from(i.jt.max(i.jf)),
            };
            if farthest >= left {
                return Err(BpfError::Jump(at));
            }
        }
    }
    match instructions.last() {
        Some(last) if last.code & CLASS == RET => Ok(()),
        _ => Err(BpfError::End),
    }
}

/// The codes that bpf(4) lists, and no others.
fn is_known(code: u16) -> bool {
    let (size, mode, operation) = (code & SIZE, code & MODE, code & OPERATION);
    if code > 0xff {
        return false;
    }
    match code & CLASS {
        LD => match mode {
            ABS | IND => matches!(size, W | H | B),
            IMM | MEM | LEN => size == W,
            _ => false,
        },
        LDX => match mode {
            IMM | MEM | LEN => size == W,
            MSH => size == B,
            _ => false,
        },
        ST | STX => code & !CLASS == 0,
        ALU => operation <= XOR && (operation != NEG || code & X == 0),
        JMP => operation <= JSET && (operation != JA || code & X == 0),
        RET => matches!(code & !CLASS, 0 | A),
        _ => matches!(code & !CLASS, 0 | TXA),
    }
}

/// What runs for the instruction with this number, in a program that was checked. The comparison that a load covers
/// keeps a place of its own, for jumps to it.
pub(super) fn op(instructions: &[Instruction], at: usize) -> Op {
    let Some(first) = instructions.get(at) else { return Op::Return(0) };
    special(instructions, first, at).unwrap_or(Op::Step(*first))
}

fn special(instructions: &[Instruction], i: &Instruction, at: usize) -> Option<Op> {
    const RETURN_A: u16 = RET | A;
    const LENGTH: u16 = LDX | B | MSH;
    const MASK: u16 = ALU | AND;
    const EQUAL: u16 = JMP | JEQ;
    const GREATER: u16 = JMP | JGT;
    const GREATER_OR_EQUAL: u16 = JMP | JGE;
    const ANY_OF: u16 = JMP | JSET;
    Some(match i.code {
        RET => Op::Return(i.k),
        RETURN_A => Op::ReturnA,
        LENGTH => Op::Header(i.k),
        MASK => Op::Mask(Node { k: i.k, offset: 0, yes: 0, no: 0 }),
        EQUAL => Op::Accumulator(jump(i, at)?),
        GREATER => Op::Above(jump(i, at)?),
        GREATER_OR_EQUAL => Op::Above(Node { k: i.k.checked_sub(1)?, ..jump(i, at)? }),
        ANY_OF => Op::AnyOf(jump(i, at)?),
        _ if i.code & CLASS == LD => {
            let comparison = instructions.get(at + 1).filter(|next| next.code == EQUAL)?;
            let node = Node { offset: u16::try_from(i.k).ok()?, ..jump(comparison, at + 1)? };
            match (i.code & MODE, i.code & SIZE) {
                (ABS, W) => Op::Word(node),
                (ABS, H) => Op::Half(node),
                (ABS, _) => Op::Byte(node),
                (IND, W) => Op::WordAt(node),
                (IND, H) => Op::HalfAt(node),
                (IND, _) => Op::ByteAt(node),
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// Constant and targets of a comparison.
fn jump(i: &Instruction, at: usize) -> Option<Node> {
    let next = u16::try_from(at).ok()?.checked_add(1)?;
    let (yes, no) = (next.checked_add(i.jt.into())?, next.checked_add(i.jf.into())?);
    Some(Node { k: i.k, offset: 0, yes, no })
}
