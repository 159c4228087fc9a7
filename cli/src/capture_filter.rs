//! tcpdump expressions: libpcap compiles them, through tcpdump, and the core runs them.

use std::process::Command;

use anyhow::{Context, Result, bail};
use weir_core::telemetry::bpf::Instruction;
#[cfg(target_os = "linux")]
use weir_core::telemetry::bpf::Program;

/// The program of [`instructions`].
///
/// # Errors
/// As [`instructions`].
#[cfg(target_os = "linux")]
pub fn compile(expression: &str) -> Result<Program> {
    Ok(Program::new(&instructions(expression)?)?)
}

/// The instructions of an expression for Ethernet frames, as libpcap gives them.
///
/// # Errors
/// tcpdump is not there, or what it says about the expression.
pub fn instructions(expression: &str) -> Result<Vec<Instruction>> {
    let output = Command::new("tcpdump")
        .args(["-y", "EN10MB", "-ddd", "--", expression])
        .output()
        .context("tcpdump compiles filter expressions and cannot be run")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("filter {expression:?}: {}", said.trim().trim_start_matches("tcpdump: "));
    }
    let text = String::from_utf8(output.stdout).context("tcpdump does not print text")?;
    parse(&text).with_context(|| format!("not a program: {text:?}"))
}

/// `-ddd`: the number of instructions, then one a line as decimal numbers.
fn parse(text: &str) -> Option<Vec<Instruction>> {
    let mut lines = text.lines();
    let count: usize = lines.next()?.trim().parse().ok()?;
    let instructions: Vec<_> = lines.map(instruction).collect::<Option<_>>()?;
    (instructions.len() == count).then_some(instructions)
}

fn instruction(line: &str) -> Option<Instruction> {
    let mut words = line.split_whitespace();
    let (code, jt, jf, k) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some(Instruction { code: code.parse().ok()?, jt: jt.parse().ok()?, jf: jf.parse().ok()?, k: k.parse().ok()? })
}
