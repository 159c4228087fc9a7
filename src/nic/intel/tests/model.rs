//! An 82574 or an I225 as far as one queue pair goes: registers that remember, rings, and the transmit engine. What the latter
//! makes of contexts is the business of the model in the runtime.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::Mutex;

use crate::mem::tests::dma::TestDma;
use crate::nic::Registers;
use crate::nic::tests::rig::{Hostile, Lie, MAC, Random};

struct State {
    kind: Kind,
    registers: HashMap<u64, u32>,
    /// Last context descriptor.
    context: [u32; 4],
    lie: Lie,
    random: Random,
}

/// Which device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    I82574,
    I225,
}

impl Kind {
    fn identity(self) -> u32 {
        if self == Kind::I225 { 0x15f3_8086 } else { 0x10d3_8086 }
    }

    fn rx(self) -> u64 {
        if self == Kind::I225 { 0xc000 } else { 0x2800 }
    }

    fn tx(self) -> u64 {
        if self == Kind::I225 { 0xe000 } else { 0x3800 }
    }
}

/// See the module.
pub(super) struct Model {
    kind: Kind,
    state: Mutex<State>,
    accesses: AtomicU64,
}

impl State {
    fn get(&self, at: u64) -> u32 {
        self.registers.get(&at).copied().unwrap_or(0)
    }

    fn base(&self, queue: u64) -> u64 {
        u64::from(self.get(queue)) | u64::from(self.get(queue + 4)) << 32
    }

    fn entries(&self, queue: u64) -> u64 {
        u64::from(self.get(queue + 8) / 16).max(1)
    }

    fn power_on(&mut self) {
        let [a, b, c, d, e, f] = MAC;
        self.registers.clear();
        self.registers.insert(0x5400, u32::from_le_bytes([a, b, c, d]));
        self.registers.insert(0x5404, 1 << 31 | u32::from_le_bytes([e, f, 0, 0]));
        // Full duplex, link, 1000 Mb/s.
        self.registers.insert(0x08, 0x83);
        self.registers.insert(0x10, 1 << 9);
    }
}

fn sum(bytes: &[u8], mut total: u32) -> u16 {
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    total as u16
}

/// What a packet's context and options make of its bytes: one frame or several.
fn offload(context: &[u32; 4], options: u32, segment: bool, packet: &[u8]) -> Vec<Vec<u8>> {
    let [ip, transport, command, lengths] = *context;
    let at = |word: u32, shift: u32| (word >> shift & 0xff) as usize;
    let (ipcss, ipcso, ipcse) = (at(ip, 0), at(ip, 8), (ip >> 16) as usize);
    let (tucss, tucso) = (at(transport, 0), at(transport, 8));
    let is_v4 = command >> 25 & 1 == 1;
    let finish = |frame: &mut [u8]| {
        if options & 1 != 0 {
            let value = !sum(&frame[ipcss..=ipcse], 0);
            frame[ipcso..ipcso + 2].copy_from_slice(&value.to_be_bytes());
        }
        if options & 2 != 0 {
            let value = !sum(&frame[tucss..], 0);
            frame[tucso..tucso + 2].copy_from_slice(&value.to_be_bytes());
        }
    };
    if !segment {
        let mut frame = packet.to_vec();
        if options != 0 {
            finish(&mut frame);
        }
        return vec![frame];
    }
    let (header_len, mss) = (at(lengths, 8), (lengths >> 16) as usize);
    assert_eq!(command & 0xf_ffff, (packet.len() - header_len) as u32, "PAYLEN");
    assert_eq!(command >> 24 & 5, 5, "TSE and TCP");
    let (header, payload) = packet.split_at(header_len);
    let chunks: Vec<&[u8]> = payload.chunks(mss).collect();
    let mut frames = Vec::new();
    for (index, chunk) in chunks.iter().enumerate() {
        let mut frame = [header, chunk].concat();
        let put = |frame: &mut [u8], at: usize, value: u16| frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        let get = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if is_v4 {
            put(&mut frame, ipcss + 2, (header_len - ipcss + chunk.len()) as u16);
            put(&mut frame, ipcss + 4, get(ipcss + 4).wrapping_add(index as u16));
        } else {
            put(&mut frame, ipcss + 4, (header_len - ipcss - 40 + chunk.len()) as u16);
        }
        let sequence = u32::from_be_bytes(header[tucss + 4..tucss + 8].try_into().unwrap());
        let sequence = sequence.wrapping_add((index * mss) as u32);
        frame[tucss + 4..tucss + 8].copy_from_slice(&sequence.to_be_bytes());
        if index + 1 < chunks.len() {
            // FIN and PSH belong to the last.
            frame[tucss + 13] &= !0x09;
        }
        if index > 0 {
            frame[tucss + 13] &= !0x80;
        }
        // The pseudo header's length is the device's to add.
        let seed = u16::from_be_bytes([frame[tucso], frame[tucso + 1]]);
        let value = sum(&(header_len as u16 - tucss as u16 + chunk.len() as u16).to_be_bytes(), seed.into());
        put(&mut frame, tucso, value);
        finish(&mut frame);
        frames.push(frame);
    }
    frames
}

impl Model {
    pub fn new(kind: Kind) -> Self {
        let mut state = State { kind, registers: HashMap::new(), context: [0; 4], lie: Lie::Truth, random: Random(1) };
        state.power_on();
        Self { kind, state: Mutex::new(state), accesses: AtomicU64::new(0) }
    }

    pub fn accesses(&self) -> u64 {
        self.accesses.load(Ordering::Relaxed)
    }

    /// Sends everything between head and tail.
    pub fn transmit(&self, dma: &TestDma) -> Vec<Vec<u8>> {
        let mut state = self.state.lock().unwrap();
        assert_eq!(state.get(0x400) >> 1 & 1, 1, "the transmitter is on");
        let tx = self.kind.tx();
        let (base, entries) = (state.base(tx), state.entries(tx));
        let mut frames = Vec::new();
        let mut packet = Vec::new();
        while state.get(tx + 0x10) != state.get(tx + 0x18) {
            let head = u64::from(state.get(tx + 0x10));
            let at = base + 16 * head;
            let words: Vec<u32> = (0..4).map(|i| dma.number(at + 4 * i, 4) as u32).collect();
            assert_eq!(words[2] >> 29 & 1, 1, "extended");
            if [0, 2].contains(&(words[2] >> 20 & 0xf)) {
                state.context = words.try_into().unwrap();
            } else {
                let address = u64::from(words[0]) | u64::from(words[1]) << 32;
                let mask = if self.kind == Kind::I225 { 0xffff } else { 0xf_ffff };
                packet.extend(dma.read(address, (words[2] & mask) as usize));
                if words[2] >> 24 & 1 == 1 {
                    let options = words[3] >> 8 & 0xff;
                    let whole = core::mem::take(&mut packet);
                    frames.extend(offload(&state.context, options, words[2] >> 26 & 1 == 1, &whole));
                    assert_eq!(words[2] >> 27 & 1, 1, "reports");
                    dma.write(at + 12, &(words[3] | 1).to_le_bytes());
                }
            }
            state.registers.insert(tx + 0x10, ((head + 1) % entries) as u32);
        }
        frames
    }

    pub fn receive(&self, dma: &TestDma, frame: &[u8], status: u32) -> bool {
        self.receive_as(dma, frame, status, frame.len() as u16)
    }

    /// Writes a frame into the next buffer and says that it has `len` bytes.
    pub fn receive_as(&self, dma: &TestDma, frame: &[u8], status: u32, len: u16) -> bool {
        let mut state = self.state.lock().unwrap();
        let rx = self.kind.rx();
        let (head, tail) = (state.get(rx + 0x10), state.get(rx + 0x18));
        if state.get(0x100) & 2 == 0 || head == tail {
            return false;
        }
        let at = state.base(rx) + 16 * u64::from(head);
        dma.write(dma.number(at, 8), frame);
        dma.write(at, &[0; 8]);
        dma.write(at + 12, &len.to_le_bytes());
        dma.write(at + 8, &status.to_le_bytes());
        let next = (u64::from(head) + 1) % state.entries(rx);
        state.registers.insert(rx + 0x10, next as u32);
        true
    }
}

impl Registers for Model {
    fn read8(&self, bar: u32, offset: u64) -> u8 {
        self.read32(bar, offset) as u8
    }

    fn read16(&self, bar: u32, offset: u64) -> u16 {
        self.read32(bar, offset) as u16
    }

    fn read32(&self, _bar: u32, offset: u64) -> u32 {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap();
        match state.lie {
            Lie::Ones => u32::MAX,
            Lie::Random(_) => state.random.next() as u32,
            Lie::Truth => state.get(offset),
        }
    }

    fn write8(&self, _bar: u32, _offset: u64, _value: u8) {}

    fn write16(&self, _bar: u32, _offset: u64, _value: u16) {}

    fn write32(&self, _bar: u32, offset: u64, value: u32) {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap();
        match offset {
            0 if value & 1 << 26 != 0 => state.power_on(),
            // The PHY negotiates.
            0x20 => {
                state.registers.insert(0x20, value & !0xffff | 1 << 28 | 0x1140);
            }
            _ => {
                state.registers.insert(offset, value);
                let kind = state.kind;
                for queue in [kind.rx(), kind.tx()] {
                    // I210 datasheet section 8.12.15: a queue that is enabled starts at its first descriptor.
                    if kind == Kind::I225 && offset == queue + 0x28 && value >> 25 & 1 == 1 {
                        state.registers.insert(queue + 0x10, 0);
                        state.registers.insert(queue + 0x18, 0);
                    }
                }
            }
        }
    }

    fn config_read32(&self, offset: u64) -> u32 {
        if offset == 0 { self.kind.identity() } else { 0 }
    }

    fn config_write32(&self, _offset: u64, _value: u32) {}
}

impl Hostile for Model {
    fn scribble(&self, dma: &TestDma, random: &mut Random) {
        let mut state = self.state.lock().unwrap();
        let queue = if random.one_in(2) { self.kind.rx() } else { self.kind.tx() };
        let (base, entries) = (state.base(queue), state.entries(queue));
        if base == 0 {
            return;
        }
        let (head, tail) = (u64::from(state.get(queue + 0x10)), u64::from(state.get(queue + 0x18)));
        match random.below(4) {
            // What an honest device would do, with any length and status.
            0..=2 if head != tail => {
                let at = base + 16 * (head % entries);
                let len = if random.one_in(20) { random.next() as u16 } else { 14 + random.below(1500) as u16 };
                let status = if random.one_in(4) { random.next() as u32 } else { 3 };
                if queue == self.kind.rx() {
                    dma.write(dma.number(at, 8), &MAC);
                    dma.write(at + 12, &len.to_le_bytes());
                    dma.write(at + 8, &status.to_le_bytes());
                } else {
                    dma.write(at + 12, &(random.next() as u32 | 1).to_le_bytes());
                }
                state.registers.insert(queue + 0x10, ((head + 1) % entries) as u32);
            }
            _ => dma.write(base + random.below(16 * entries), &[random.next() as u8]),
        }
    }

    fn lie(&self, how: Lie) {
        let mut state = self.state.lock().unwrap();
        state.lie = how;
        if let Lie::Random(seed) = how {
            state.random = Random(seed | 1);
        }
    }
}
