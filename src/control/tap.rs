//! What a program asks for that wants to watch (`weir_tap_config`).
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::{ABI_VERSION, CommandError};
use crate::telemetry::bpf::{INSTRUCTIONS_MAX, Instruction, Program};

/// Bytes of `weir_tap_config`, which the request starts with.
pub const TAP_REQUEST_LEN: usize = 24;
/// Bytes of `weir_bpf_insn`.
const INSTRUCTION_LEN: usize = 8;

/// A request, checked as far as its form goes.
#[derive(Debug)]
pub struct TapRequest {
    /// `WEIR_TAP_*`.
    pub kinds: u32,
    /// Bytes of each frame; 0 = all.
    pub snaplen: u32,
    /// Bytes of each ring.
    pub ring_bytes: u32,
    /// Which frames; `None` = all.
    pub program: Option<Program>,
}

impl TapRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(request: &[u8]) -> Result<Self, CommandError> {
        let (head, rest) = request.split_first_chunk::<TAP_REQUEST_LEN>().ok_or(CommandError::Length)?;
        let (words, _) = head.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_ne_bytes(*word));
        let mut next = || words.next().unwrap_or(0);
        if next() != ABI_VERSION {
            return Err(CommandError::Version);
        }
        let (kinds, snaplen, ring_bytes, count, reserved) = (next(), next(), next(), next() as usize, next());
        let fits = count <= INSTRUCTIONS_MAX && count.checked_mul(INSTRUCTION_LEN) == Some(rest.len());
        if !fits {
            return Err(CommandError::Length);
        }
        if reserved != 0 {
            return Err(CommandError::Argument);
        }
        Ok(Self { kinds, snaplen, ring_bytes, program: program(rest)? })
    }
}

fn program(bytes: &[u8]) -> Result<Option<Program>, CommandError> {
    let (instructions, _) = bytes.as_chunks::<INSTRUCTION_LEN>();
    if instructions.is_empty() {
        return Ok(None);
    }
    let mut list = Vec::new();
    list.try_reserve_exact(instructions.len()).map_err(|_| CommandError::Argument)?;
    list.extend(instructions.iter().map(|[c0, c1, jt, jf, k @ ..]| Instruction {
        code: u16::from_ne_bytes([*c0, *c1]),
        jt: *jt,
        jf: *jf,
        k: u32::from_ne_bytes(*k),
    }));
    Program::new(&list).map(Some).map_err(|_| CommandError::Argument)
}
