//! Registers and interrupts (I210 datasheet sections 7.3 and 8).

use std::collections::BTreeMap;

use super::{QUEUES, VECTORS, misuse};

pub(super) const CTRL: u64 = 0x0000;
const STATUS: u64 = 0x0008;
const EEC: u64 = 0x0010;
const EERD: u64 = 0x1_2014;
pub(super) const RCTL: u64 = 0x0100;
pub(super) const TCTL: u64 = 0x0400;
const GPIE: u64 = 0x1514;
const EICS: u64 = 0x1520;
const EIMS: u64 = 0x1524;
const EIMC: u64 = 0x1528;
const EIAC: u64 = 0x152c;
const EIAM: u64 = 0x1530;
const EICR: u64 = 0x1580;
const ICR: u64 = 0x1500;
const ICS: u64 = 0x1504;
const IMS: u64 = 0x1508;
const IMC: u64 = 0x150c;
const EITR: u64 = 0x1680;
const IVAR: u64 = 0x1700;
const IVAR_MISC: u64 = 0x1740;
const RAL: u64 = 0x5400;
pub(super) const RX: u64 = 0xc000;
pub(super) const TX: u64 = 0xe000;
const STRIDE: u64 = 0x40;

/// Registers of a queue, from its base.
pub(super) mod queue {
    pub const BASE: u64 = 0x00;
    pub const LEN: u64 = 0x08;
    pub const SPLIT: u64 = 0x0c;
    pub const HEAD: u64 = 0x10;
    pub const TAIL: u64 = 0x18;
    pub const CONTROL: u64 = 0x28;
}
pub(super) const QUEUE_ENABLE: u32 = 1 << 25;

/// CTRL: GIO master disable, set link up, port reset, device reset (section 8.2.1).
const MASTER_DISABLE: u32 = 1 << 2;
const SET_LINK_UP: u32 = 1 << 6;
const RESET: u32 = 1 << 26;
const DEVICE_RESET: u32 = 1 << 29;
/// ICR.LSC.
const LINK_CHANGED: u32 = 1 << 2;
/// EICR's bit for everything that is no queue's, without MSI-X (table 8-11).
const OTHER: u32 = 1 << 31;
/// GPIE: reading ICR clears it, MSI-X with several vectors, messages mask by EIAM.
const NSICR: u32 = 1 << 0;
const MULTIPLE: u32 = 1 << 4;
const EIAME: u32 = 1 << 30;

/// A descriptor ring.
#[derive(Clone, Copy)]
pub(super) struct Ring {
    pub base: u64,
    pub entries: u64,
    pub head: u64,
    pub tail: u64,
}

impl Ring {
    pub fn at(&self, index: u64) -> u64 {
        self.base + 16 * (index % self.entries)
    }

    pub fn next(&self, index: u64) -> u64 {
        (index + 1) % self.entries
    }
}

/// See the module.
pub(super) struct Registers {
    mac: [u8; 6],
    values: BTreeMap<u64, u32>,
    plugged: bool,
    icr: u32,
    ims: u32,
    eicr: u32,
    eims: u32,
    /// When a vector may send again, ns.
    next: [u64; VECTORS as usize],
    /// Contexts of each transmit queue.
    pub contexts: [[[u32; 4]; 2]; QUEUES],
    /// Which queue sends next.
    pub turn: usize,
    /// It lost its power, which the driver cannot know until it resets it.
    pub lost: bool,
}

impl Registers {
    pub fn new(mac: [u8; 6]) -> Self {
        let mut registers = Registers {
            mac,
            values: BTreeMap::new(),
            plugged: true,
            icr: 0,
            ims: 0,
            eicr: 0,
            eims: 0,
            next: [0; VECTORS as usize],
            contexts: [[[0; 4]; 2]; QUEUES],
            turn: 0,
            lost: false,
        };
        registers.power_on(true);
        registers
    }

    /// What a reset leaves (the initial values of section 8): the address from the flash, queue 0 of each kind enabled.
    pub fn power_on(&mut self, plugged: bool) {
        let [a, b, c, d, e, f] = self.mac;
        self.values.clear();
        self.values.insert(RAL, u32::from_le_bytes([a, b, c, d]));
        self.values.insert(RAL + 4, 1 << 31 | u32::from_le_bytes([e, f, 0, 0]));
        self.values.insert(RX + queue::CONTROL, QUEUE_ENABLE);
        self.values.insert(TX + queue::CONTROL, QUEUE_ENABLE);
        self.values.insert(EEC, 1 << 9);
        (self.icr, self.ims, self.eicr, self.eims) = (0, 0, 0, 0);
        self.next = [0; VECTORS as usize];
        self.contexts = [[[0; 4]; 2]; QUEUES];
        self.lost = false;
        self.plugged = plugged;
    }

    pub fn get(&self, at: u64) -> u32 {
        self.values.get(&at).copied().unwrap_or(0)
    }

    pub fn set(&mut self, at: u64, value: u32) {
        self.values.insert(at, value);
    }

    pub fn queue(base: u64, index: usize) -> u64 {
        base + STRIDE * index as u64
    }

    /// A queue's ring, if it is enabled and there is one.
    pub fn ring(&self, base: u64, index: usize) -> Option<Ring> {
        let at = Self::queue(base, index);
        let get = |register: u64| u64::from(self.get(at + register));
        let entries = get(queue::LEN) / 16;
        if self.get(at + queue::CONTROL) & QUEUE_ENABLE == 0 || entries == 0 {
            return None;
        }
        let base = get(queue::BASE) | get(queue::BASE + 4) << 32;
        Some(Ring { base, entries, head: get(queue::HEAD), tail: get(queue::TAIL) })
    }

    pub fn set_head(&mut self, base: u64, index: usize, head: u64) {
        self.set(Self::queue(base, index) + queue::HEAD, head as u32);
    }

    pub fn set_cable(&mut self, plugged: bool) {
        self.plugged = plugged;
        self.cause(LINK_CHANGED);
    }

    /// Section 8.2.2: full duplex, link, 2.5 Gb/s, master.
    fn status(&self) -> u32 {
        let up = self.plugged && self.get(CTRL) & SET_LINK_UP != 0;
        let master = self.get(CTRL) & MASTER_DISABLE == 0;
        1 | u32::from(up) << 1 | 2 << 6 | 1 << 22 | u32::from(master) << 19
    }

    pub fn read(&mut self, at: u64) -> u32 {
        match at {
            STATUS => self.status(),
            EERD => {
                // Words 0 to 2 of the flash are the address.
                let value = self.get(EERD);
                let word = (value >> 2 & 0x3fff) as usize;
                let pair = self.mac.get(2 * word..2 * word + 2).map_or(0, |p| u16::from_le_bytes([p[0], p[1]]));
                u32::from(pair) << 16 | value & 0xfffc | 2
            }
            ICR => {
                let value = self.icr | u32::from(self.icr & self.ims != 0) << 31;
                if self.get(GPIE) & NSICR != 0 || value >> 31 != 0 || self.ims == 0 {
                    self.icr = 0;
                }
                value
            }
            IMS => self.ims,
            EIMS => self.eims,
            EICR => {
                let value = self.eicr;
                if self.get(GPIE) & MULTIPLE == 0 {
                    self.eicr = 0;
                    self.eims &= !self.get(EIAM);
                }
                value
            }
            IMC | EIMC | ICS | EICS => 0,
            _ => self.get(at),
        }
    }

    /// True if it was a reset.
    pub fn write(&mut self, at: u64, value: u32, plugged: bool) -> bool {
        match at {
            CTRL if value & (RESET | DEVICE_RESET) != 0 => {
                self.power_on(plugged);
                return true;
            }
            STATUS | ICR => {}
            IMS => {
                self.ims |= value;
                self.cause(0);
            }
            IMC => self.ims &= !value,
            ICS => self.cause(value),
            EIMS => self.eims |= value,
            EIMC => self.eims &= !value,
            EICS => self.eicr |= value,
            EICR => self.eicr &= !value,
            _ => self.write_plain(at, value),
        }
        false
    }

    fn write_plain(&mut self, at: u64, value: u32) {
        if self.lost {
            self.set(at, value);
            return;
        }
        let queue_of = |base: u64| {
            let inside = at.checked_sub(base)?;
            (inside < STRIDE * QUEUES as u64).then_some(inside % STRIDE)
        };
        for (base, name) in [(RX, "receive"), (TX, "transmit")] {
            let Some(register) = queue_of(base) else { continue };
            let start = at - register;
            let enabled = self.get(start + queue::CONTROL) & QUEUE_ENABLE != 0;
            match register {
                queue::BASE | 0x04 | queue::LEN if enabled => {
                    misuse(format!(
                        "{name} queue at {start:#x}: its ring is moved while it is enabled (section 8.10.4)"
                    ));
                }
                queue::LEN if !value.is_multiple_of(128) => {
                    misuse(format!("{name} queue at {start:#x}: a ring of {value} bytes (section 8.10.6)"));
                }
                queue::TAIL if !enabled => {
                    misuse(format!("{name} queue at {start:#x}: its tail moves before it is enabled (section 4.5.10)"));
                }
                queue::TAIL if u64::from(value) >= u64::from(self.get(start + queue::LEN) / 16).max(1) => {
                    misuse(format!("{name} queue at {start:#x}: tail {value} is behind the ring"));
                }
                queue::HEAD => return,
                queue::CONTROL if !enabled && value & QUEUE_ENABLE != 0 => {
                    // Enabling starts the queue at its first descriptor (section 8.12.15).
                    self.set(start + queue::HEAD, 0);
                    self.set(start + queue::TAIL, 0);
                }
                _ => {}
            }
        }
        self.set(at, value);
    }

    /// Something other than a queue happened (section 7.3.1): it shows in EICR where it is not masked.
    fn cause(&mut self, bits: u32) {
        self.icr |= bits;
        if self.icr & self.ims == 0 {
            return;
        }
        if self.get(GPIE) & MULTIPLE == 0 {
            self.eicr |= OTHER;
        } else {
            let entry = self.get(IVAR_MISC) >> 8 & 0xff;
            if entry & 0x80 != 0 {
                self.eicr |= 1 << (entry & 7);
            }
        }
    }

    /// A queue has written descriptors back (section 8.8.15: four bytes a pair of queues).
    pub fn queue_cause(&mut self, index: usize, transmit: bool) {
        let shift = 16 * (index % 2) + 8 * usize::from(transmit);
        let entry = self.get(IVAR + 4 * (index / 2) as u64) >> shift & 0xff;
        if entry & 0x80 != 0 {
            self.eicr |= 1 << (entry & 7);
        }
    }

    /// Vectors that send a message now, and after how many ns another one may (section 7.3.4).
    pub fn messages(&mut self, now: u64) -> (Vec<u32>, Option<u64>) {
        let (mut vectors, mut wait) = (Vec::new(), None);
        let several = self.get(GPIE) & MULTIPLE != 0;
        for vector in 0..VECTORS {
            let bits = match (several, vector) {
                (true, _) => 1 << vector,
                (false, 0) => u32::MAX,
                (false, _) => break,
            };
            if self.eicr & self.eims & bits == 0 {
                continue;
            }
            let next = self.next.get_mut(vector as usize);
            let Some(next) = next else { continue };
            if *next > now {
                let left = *next - now;
                wait = Some(wait.map_or(left, |w: u64| w.min(left)));
                continue;
            }
            let interval =
                u64::from(self.values.get(&(EITR + 4 * u64::from(vector))).copied().unwrap_or(0) >> 2 & 0x1fff);
            *next = now + 1000 * interval;
            vectors.push(vector);
            if several {
                let clear = bits & self.get(EIAC);
                self.eicr &= !clear;
                if self.get(GPIE) & EIAME != 0 {
                    self.eims &= !(bits & self.get(EIAM));
                }
            } else {
                // One edge until the driver reads the causes.
                self.eims &= !self.eicr;
            }
        }
        (vectors, wait)
    }
}
