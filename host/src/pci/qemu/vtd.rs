//! The machine's IOMMU: Intel VT-d with one domain, whose tables stand in the machine's RAM.
//!
//! Sections are those of Intel's "Virtualization Technology for Directed I/O" architecture specification, revision 3.3.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::qtest::Qtest;
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::{Map, Mem, PAGE};
use crate::sched::lock;

/// Where the registers are on a q35 machine.
const REGISTERS: u64 = 0xfed9_0000;
/// Registers (section 10.4).
const CAPABILITY: u64 = 0x08;
const EXTENDED: u64 = 0x10;
const COMMAND: u64 = 0x18;
const ROOT: u64 = 0x20;
const CONTEXT: u64 = 0x28;
const FAULT_STATUS: u64 = 0x34;
/// Command register: translation on, take the root table (section 10.4.4).
const TRANSLATE: u64 = 1 << 31;
const SET_ROOT: u64 = 1 << 30;
/// Global invalidation of contexts (section 10.4.7) and of translations (section 10.4.8.1).
const DROP_CONTEXTS: u64 = 1 << 63 | 1 << 61;
const DROP_TRANSLATIONS: u64 = 1 << 63 | 1 << 60;
/// A table entry: readable, writable (section 9.8).
const READ: u64 = 1;
const WRITE: u64 = 2;
/// Present, in root and context entries (sections 9.1, 9.3).
const PRESENT: u64 = 1;
/// Context entry, upper half: 39 address bits in three levels, domain 1 (section 9.3).
const THREE_LEVELS_DOMAIN_1: u64 = 1 | 1 << 8;
const ENTRIES: u64 = 512;

/// See the module.
pub struct Vtd {
    qtest: Arc<Qtest>,
    tables: Mutex<Tables>,
    /// Offset of the translation invalidation register.
    invalidate: u64,
    /// Offset of the first fault record.
    records: u64,
    record_count: u64,
    invalidations: AtomicU64,
}

/// Page tables, in a piece of RAM that `map` shows.
struct Tables {
    map: Map,
    _mem: Arc<Mem>,
    /// Physical address of the piece.
    at: u64,
    /// Pages of it in use.
    used: u64,
    pages: u64,
    /// Physical address of the top table.
    top: u64,
    /// Tables by the address range that they translate: level and first page number.
    known: BTreeMap<(u32, u64), u64>,
}

impl Tables {
    fn page(&mut self) -> IoResult<u64> {
        if self.used >= self.pages {
            return Err(IoReturn::NO_RESOURCES);
        }
        self.used += 1;
        Ok(self.at + (self.used - 1) * PAGE)
    }

    fn entry(&self, table: u64, index: u64) -> &AtomicU64 {
        let offset = table - self.at + index * 8;
        debug_assert!(offset + 8 <= self.map.length());
        // SAFETY: tables are pages of the piece, indices are below 512, so the word is inside the mapping, which lives
        // as long as self; the machine reads it at any time, hence the atomic.
        unsafe { AtomicU64::from_ptr((self.map.address() + offset) as *mut u64) }
    }

    /// The entry of a page, with the tables above it made.
    fn leaf(&mut self, iova: u64) -> IoResult<&AtomicU64> {
        let mut table = self.top;
        for level in [2u32, 1] {
            let shift = 12 + 9 * level;
            let key = (level, iova >> shift);
            let next = match self.known.get(&key) {
                Some(next) => *next,
                None => {
                    let next = self.page()?;
                    self.entry(table, (iova >> shift) % ENTRIES).store(next | READ | WRITE, Ordering::Release);
                    self.known.insert(key, next);
                    next
                }
            };
            table = next;
        }
        Ok(self.entry(table, (iova >> 12) % ENTRIES))
    }
}

impl Vtd {
    /// Turns translation on: devices of bus 0 reach nothing yet. `mem` is RAM at physical address `at`.
    pub fn new(qtest: Arc<Qtest>, mem: Arc<Mem>, at: u64) -> IoResult<Vtd> {
        let map = Map::new(&mem, 0, 0, 0, 0, 0)?;
        let pages = mem.length() / PAGE;
        let mut tables = Tables { map, _mem: mem, at, used: 0, pages, top: 0, known: BTreeMap::new() };
        let (root, context) = (tables.page()?, tables.page()?);
        tables.top = tables.page()?;
        tables.entry(root, 0).store(context | PRESENT, Ordering::Release);
        for devfn in 0..256 {
            tables.entry(context, 2 * devfn + 1).store(THREE_LEVELS_DOMAIN_1, Ordering::Release);
            tables.entry(context, 2 * devfn).store(tables.top | PRESENT, Ordering::Release);
        }
        let capability = qtest.read(REGISTERS + CAPABILITY, 8);
        let extended = qtest.read(REGISTERS + EXTENDED, 8);
        // Section 10.4.2: number and place of fault records; 10.4.3: place of the invalidation registers.
        let record_count = (capability >> 40 & 0xff) + 1;
        let records = (capability >> 24 & 0x3ff) * 16;
        let invalidate = (extended >> 8 & 0x3ff) * 16 + 8;
        qtest.write(REGISTERS + ROOT, 8, root);
        qtest.write(REGISTERS + COMMAND, 4, SET_ROOT);
        qtest.write(REGISTERS + CONTEXT, 8, DROP_CONTEXTS);
        qtest.write(REGISTERS + invalidate, 8, DROP_TRANSLATIONS);
        qtest.write(REGISTERS + COMMAND, 4, TRANSLATE);
        if qtest.is_dead() {
            return Err(IoReturn::NO_DEVICE);
        }
        let tables = Mutex::new(tables);
        Ok(Vtd { qtest, tables, invalidate, records, record_count, invalidations: AtomicU64::new(0) })
    }

    /// Enters `(physical address, bytes)` pieces from `iova` on; `direction` has 1 (the device writes) and 2 (it reads).
    pub fn map(&self, iova: u64, pieces: &[(u64, u64)], direction: u64) -> IoResult<()> {
        let access = if direction & 1 != 0 { WRITE } else { 0 } | if direction & 2 != 0 { READ } else { 0 };
        let mut tables = lock(&self.tables);
        let mut at = iova;
        for (physical, length) in pieces {
            if at % PAGE != physical % PAGE || at >> 39 != 0 {
                return Err(IoReturn::NOT_ALIGNED);
            }
            for page in at / PAGE..=(at + length - 1) / PAGE {
                let physical = physical / PAGE + page - at / PAGE;
                tables.leaf(page * PAGE)?.store((physical * PAGE) | access, Ordering::Release);
            }
            at += length;
        }
        Ok(())
    }

    /// Takes pages out again; on return no device reaches them.
    pub fn unmap(&self, iova: u64, length: u64) {
        let mut tables = lock(&self.tables);
        for page in iova / PAGE..=(iova + length - 1) / PAGE {
            if let Ok(entry) = tables.leaf(page * PAGE) {
                entry.store(0, Ordering::Release);
            }
        }
        drop(tables);
        self.invalidations.fetch_add(1, Ordering::Relaxed);
        self.qtest.write(REGISTERS + self.invalidate, 8, DROP_TRANSLATIONS);
    }

    /// Accesses that were not translated, in words; forgets them.
    pub fn faults(&self) -> Vec<String> {
        // Section 10.4.9: pending fault, overflow.
        if self.qtest.is_dead() || self.qtest.read(REGISTERS + FAULT_STATUS, 4) & 3 == 0 {
            return Vec::new();
        }
        let mut found = Vec::new();
        for record in 0..self.record_count {
            let at = REGISTERS + self.records + record * 16;
            let high = self.qtest.read(at + 8, 8);
            // Section 10.4.14: fault, type, source, reason.
            if high >> 63 == 0 {
                continue;
            }
            let address = self.qtest.read(at, 8);
            let how = if high >> 62 & 1 == 1 { "reads" } else { "writes" };
            let (device, reason) = (high >> 3 & 0x1f, high >> 32 & 0xff);
            found.push(format!("device {device} {how} at IOVA 0x{address:x}, which is not mapped for that ({reason})"));
            self.qtest.write(at + 12, 4, 1 << 31);
        }
        self.qtest.write(REGISTERS + FAULT_STATUS, 4, 1);
        found
    }
}
