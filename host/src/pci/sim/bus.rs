//! The PCI side: configuration space, messages, and memory behind an IOMMU.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diag::{Site, violation};
use crate::mem::Mem;

/// I225-V.
const IDENTITY: u32 = 0x15f3_8086;
/// Network controller, Ethernet; revision 3.
const CLASS: u32 = 0x0200_0003;
/// Where the MSI-X capability is, behind power management's.
const MSIX: usize = 0x70;
const POWER: usize = 0x40;
/// Command register: memory space, bus lead (PCI 3.0 section 6.2.2).
const COMMAND: usize = 4;
/// `kIOMemoryDirectionIn` and `...Out`: the device writes, reads.
const WRITES: u64 = 1;
const READS: u64 = 2;

struct Range {
    mem: Arc<Mem>,
    offset: u64,
    length: u64,
    direction: u64,
}

/// See the module.
pub(super) struct Bus {
    config: [u8; 256],
    ranges: BTreeMap<u64, Range>,
}

impl Default for Bus {
    fn default() -> Self {
        let mut config = [0u8; 256];
        let mut put = |at: usize, value: u32| config[at..at + 4].copy_from_slice(&value.to_le_bytes());
        put(0, IDENTITY);
        // Status: there are capabilities.
        put(4, 0x0010_0000);
        put(8, CLASS);
        put(0x34, POWER as u32);
        put(POWER, 0x0003 << 16 | (MSIX as u32) << 8 | 0x01);
        // Five entries; the table and the pending bits are in BAR 3.
        put(MSIX, 4 << 16 | 0x11);
        put(MSIX + 4, 3);
        put(MSIX + 8, 0x2003);
        Bus { config, ranges: BTreeMap::new() }
    }
}

impl Bus {
    pub fn config_read(&self, offset: u64, width: u32) -> u32 {
        let byte = |i: u64| self.config.get((offset + i) as usize).copied().unwrap_or(0);
        (0..u64::from(width.min(4))).fold(0, |value, i| value | u32::from(byte(i)) << (8 * i))
    }

    /// Only what a driver may change changes: command, BARs, the interrupt line, power state, MSI-X control.
    pub fn config_write(&mut self, offset: u64, width: u32, value: u32) {
        for i in 0..u64::from(width.min(4)) {
            let at = (offset + i) as usize;
            let writable = matches!(at, 4 | 5 | 0x10..=0x27 | 0x3c) || at == POWER + 4 || at == MSIX + 3;
            if let (true, Some(byte)) = (writable, self.config.get_mut(at)) {
                *byte = (value >> (8 * i)) as u8;
            }
        }
    }

    pub fn has_memory(&self) -> bool {
        self.config[COMMAND] & 2 != 0
    }

    pub fn is_master(&self) -> bool {
        self.config[COMMAND] & 4 != 0
    }

    pub fn enable_messages(&mut self) {
        self.config[MSIX + 3] |= 0x80;
    }

    /// PCI 3.0 section 6.8.2.3: the function mask.
    pub fn function_masked(&self) -> bool {
        self.config[MSIX + 3] & 0x40 != 0
    }

    pub fn map(&mut self, iova: u64, mem: &Arc<Mem>, offset: u64, length: u64, direction: u64) {
        self.ranges.insert(iova, Range { mem: mem.clone(), offset, length, direction });
    }

    pub fn unmap(&mut self, iova: u64) {
        self.ranges.remove(&iova);
    }

    /// The range around `at`, the offset in its memory, and the bytes from there to its end.
    fn find(&self, at: u64, direction: u64) -> Option<(&Range, u64, u64)> {
        let (start, range) = self.ranges.range(..=at).next_back()?;
        let inside = at - start;
        let allowed = range.direction & direction != 0 && inside < range.length;
        allowed.then(|| (range, range.offset + inside, range.length - inside))
    }

    fn fault(at: u64, len: usize, what: &str) {
        let text = format!("the device {what} {len} bytes at {at:#x}, where nothing was prepared for it");
        violation("unmapped DMA access", text, Site::NONE, Vec::new());
    }

    /// Reads memory; nothing is changed where it may not.
    pub fn read(&self, at: u64, out: &mut [u8]) {
        let mut done = 0;
        while done < out.len() {
            let Some((range, offset, most)) = self.find(at + done as u64, READS) else {
                return Self::fault(at, out.len(), "reads");
            };
            let n = (out.len() - done).min(most as usize);
            if range.mem.read(offset, &mut out[done..done + n]).is_err() {
                return Self::fault(at, out.len(), "reads");
            }
            done += n;
        }
    }

    pub fn write(&self, at: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let Some((range, offset, most)) = self.find(at + done as u64, WRITES) else {
                return Self::fault(at, data.len(), "writes");
            };
            let n = (data.len() - done).min(most as usize);
            if range.mem.write(offset, &data[done..done + n]).is_err() {
                return Self::fault(at, data.len(), "writes");
            }
            done += n;
        }
    }

    /// Writes a word of a descriptor, which the driver may be looking at, in one piece.
    pub fn publish(&self, at: u64, word: &[u8]) {
        match self.find(at, WRITES) {
            Some((range, offset, most)) if most >= word.len() as u64 && range.mem.publish(offset, word).is_ok() => {}
            _ => self.write(at, word),
        }
    }
}

/// Message interrupts on their way out.
#[derive(Default)]
pub(super) struct Messages {
    masked: bool,
    pending: Vec<u32>,
}

impl Messages {
    /// What may leave of `vectors`; the rest is pending.
    pub fn filter(&mut self, vectors: Vec<u32>) -> Vec<u32> {
        if !self.masked {
            return vectors;
        }
        for vector in vectors {
            if !self.pending.contains(&vector) {
                self.pending.push(vector);
            }
        }
        Vec::new()
    }

    /// The function mask is this now; what was pending may leave.
    pub fn mask(&mut self, on: bool) -> Vec<u32> {
        self.masked = on;
        if on { Vec::new() } else { std::mem::take(&mut self.pending) }
    }
}
