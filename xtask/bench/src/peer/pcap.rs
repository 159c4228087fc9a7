//! libpcap's compiler and interpreter (pcap_compile(3PCAP), pcap_offline_filter(3PCAP), bpf(4)).

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

use anyhow::{Result, bail};
use weir_core::telemetry::bpf::{Instruction, Program};

/// `DLT_EN10MB`.
const ETHERNET: c_int = 1;
/// `PCAP_NETMASK_UNKNOWN`.
const NO_MASK: u32 = u32::MAX;

#[repr(C)]
#[derive(Clone, Copy)]
struct Insn {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

#[repr(C)]
struct Compiled {
    len: c_uint,
    insns: *mut Insn,
}

unsafe extern "C" {
    fn pcap_open_dead(linktype: c_int, snaplen: c_int) -> *mut c_void;
    fn pcap_close(pcap: *mut c_void);
    fn pcap_compile(
        pcap: *mut c_void,
        program: *mut Compiled,
        expression: *const c_char,
        optimize: c_int,
        netmask: u32,
    ) -> c_int;
    fn pcap_geterr(pcap: *mut c_void) -> *const c_char;
    fn pcap_freecode(program: *mut Compiled);
    fn bpf_filter(insns: *const Insn, packet: *const u8, wire_len: c_uint, len: c_uint) -> c_uint;
}

/// An expression, compiled.
pub struct Filter(Compiled);

impl Filter {
    /// Compiles a tcpdump expression for Ethernet.
    ///
    /// # Errors
    /// What libpcap says.
    pub fn new(expression: &str) -> Result<Self> {
        let text = CString::new(expression)?;
        let mut program = Compiled { len: 0, insns: std::ptr::null_mut() };
        // SAFETY: the handle is closed once and not used afterwards; the program and the text outlive the call, and the
        // error is copied before the handle is closed.
        unsafe {
            let pcap = pcap_open_dead(ETHERNET, 262_144);
            let status = pcap_compile(pcap, &raw mut program, text.as_ptr(), 1, NO_MASK);
            let error = CStr::from_ptr(pcap_geterr(pcap)).to_string_lossy().into_owned();
            pcap_close(pcap);
            if status != 0 {
                bail!("{expression}: {error}");
            }
        }
        Ok(Self(program))
    }

    /// The instructions.
    pub fn instructions(&self) -> Vec<Instruction> {
        // SAFETY: the program has as many instructions.
        let insns = unsafe { std::slice::from_raw_parts(self.0.insns, self.0.len as usize) };
        insns.iter().map(|Insn { code, jt, jf, k }| Instruction { code: *code, jt: *jt, jf: *jf, k: *k }).collect()
    }

    /// Runs it in libpcap's interpreter.
    pub fn run(&self, frame: &[u8]) -> u32 {
        // SAFETY: the program is a valid one, and the frame has as many bytes.
        unsafe { bpf_filter(self.0.insns, frame.as_ptr(), frame.len() as c_uint, frame.len() as c_uint) }
    }
}

/// Any program, in this project's interpreter and in libpcap's.
pub struct Both {
    /// This project's.
    pub program: Program,
    insns: Vec<Insn>,
}

impl Both {
    /// `None` for a program that is not valid.
    pub fn new(instructions: &[Instruction]) -> Option<Self> {
        let program = Program::new(instructions).ok()?;
        let insns = instructions.iter().map(|&Instruction { code, jt, jf, k }| Insn { code, jt, jf, k }).collect();
        Some(Self { program, insns })
    }

    /// Runs it in libpcap's interpreter, which checks nothing.
    pub fn run_theirs(&self, frame: &[u8]) -> u32 {
        let len = frame.len() as c_uint;
        // SAFETY: `Program::new` found the instructions valid: every jump stays inside, every memory word is one of the
        // sixteen, and the last instruction returns. The frame has as many bytes.
        unsafe { bpf_filter(self.insns.as_ptr(), frame.as_ptr(), len, len) }
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // SAFETY: the program is libpcap's and is freed once.
        unsafe { pcap_freecode(&raw mut self.0) };
    }
}
