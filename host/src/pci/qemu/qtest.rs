//! QEMU's test protocol: reads and writes of a machine's address space, one command a line, over a pair of pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::Mutex;

use crate::sched::lock;

/// See the module. A machine that is gone reads as all ones.
pub struct Qtest {
    pipe: Mutex<Pipe>,
}

struct Pipe {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    dead: bool,
}

impl Pipe {
    /// Sends a command; the value of its answer, 0 for one without.
    fn command(&mut self, command: &str) -> Option<u64> {
        if self.dead {
            return None;
        }
        let answer = self.exchange(command);
        self.dead = answer.is_none();
        answer
    }

    fn exchange(&mut self, command: &str) -> Option<u64> {
        self.to.write_all(command.as_bytes()).ok()?;
        let mut line = String::new();
        loop {
            line.clear();
            if self.from.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let mut words = line.split_whitespace();
            match words.next() {
                Some("OK") => {
                    let Some(value) = words.next() else { return Some(0) };
                    return u64::from_str_radix(value.trim_start_matches("0x"), 16).ok();
                }
                // An interrupt line of the machine, which nobody asked for.
                Some("IRQ") => {}
                _ => return None,
            }
        }
    }
}

/// The letter of an access's width.
fn letter(width: u32) -> char {
    match width {
        1 => 'b',
        2 => 'w',
        4 => 'l',
        _ => 'q',
    }
}

impl Qtest {
    pub fn new(to: ChildStdin, from: ChildStdout) -> Qtest {
        Qtest { pipe: Mutex::new(Pipe { to, from: BufReader::new(from), dead: false }) }
    }

    pub fn is_dead(&self) -> bool {
        lock(&self.pipe).dead
    }

    fn ask(&self, command: &str) -> u64 {
        lock(&self.pipe).command(command).unwrap_or(u64::MAX)
    }

    /// Reads `width` bytes of physical memory.
    pub fn read(&self, at: u64, width: u32) -> u64 {
        self.ask(&format!("read{} 0x{at:x}\n", letter(width))) & (u64::MAX >> (64 - 8 * width.clamp(1, 8)))
    }

    /// Writes them.
    pub fn write(&self, at: u64, width: u32, value: u64) {
        self.ask(&format!("write{} 0x{at:x} 0x{value:x}\n", letter(width)));
    }

    /// The address and data ports of PCI configuration space (PCI 3.0 section 3.2.2.3.2).
    const ADDRESS: u32 = 0xcf8;
    const DATA: u32 = 0xcfc;

    /// Reads `width` bytes of a function's configuration space, below 256.
    pub fn config_read(&self, devfn: u32, offset: u64, width: u32) -> u32 {
        let mut pipe = lock(&self.pipe);
        let select = 0x8000_0000 | devfn << 8 | (offset as u32 & 0xfc);
        let (address, data) = (Self::ADDRESS, Self::DATA + (offset as u32 & 3));
        let ones = u32::MAX >> (32 - 8 * width.clamp(1, 4));
        if pipe.command(&format!("outl 0x{address:x} 0x{select:x}\n")).is_none() {
            return ones;
        }
        pipe.command(&format!("in{} 0x{data:x}\n", letter(width))).map_or(ones, |v| v as u32 & ones)
    }

    /// Writes them.
    pub fn config_write(&self, devfn: u32, offset: u64, width: u32, value: u32) {
        let mut pipe = lock(&self.pipe);
        let select = 0x8000_0000 | devfn << 8 | (offset as u32 & 0xfc);
        let (address, data) = (Self::ADDRESS, Self::DATA + (offset as u32 & 3));
        if pipe.command(&format!("outl 0x{address:x} 0x{select:x}\n")).is_some() {
            pipe.command(&format!("out{} 0x{data:x} 0x{value:x}\n", letter(width)));
        }
    }
}
