//! A virtio network device: the device's half of virtio 1.2, for one queue pair and a control queue.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

use crate::mem::tests::dma::TestDma;
use crate::nic::Registers;
use crate::nic::tests::rig::{Hostile, Lie, MAC, Random};

const QUEUES: usize = 3;
const SIZE: u16 = 256;

#[derive(Clone, Copy, Default)]
struct Queue {
    size: u16,
    vector: u16,
    enabled: bool,
    desc: u64,
    driver: u64,
    device: u64,
    /// Next entry to look at, next to write, and their wrap counters.
    seen: u16,
    used: u16,
    seen_wrap: bool,
    used_wrap: bool,
}

struct State {
    status: u8,
    feature_select: u32,
    accepted: u64,
    config_vector: u16,
    select: u16,
    queues: [Queue; QUEUES],
    lie: Lie,
    random: Random,
}

/// See the module.
pub(super) struct Model {
    packed: bool,
    offered: u64,
    /// `max_virtqueue_pairs` (section 5.1.4).
    pairs: u16,
    state: Mutex<State>,
    accesses: AtomicU64,
}

/// A buffer that the driver made available: its number, its place in a packed ring, and its parts.
struct Taken {
    id: u16,
    descriptors: u16,
    parts: Vec<(u64, u32, bool)>,
}

impl Model {
    pub fn new(packed: bool, event_idx: bool) -> Self {
        // CSUM, GUEST_CSUM, MAC, MRG_RXBUF, STATUS, VERSION_1, ACCESS_PLATFORM.
        let mut offered = 1 | 1 << 1 | 1 << 5 | 1 << 15 | 1 << 16 | 1 << 32 | 1 << 33;
        offered |= u64::from(packed) << 34 | u64::from(event_idx) << 29;
        let state = State {
            status: 0,
            feature_select: 0,
            accepted: 0,
            config_vector: 0xffff,
            select: 0,
            queues: [Queue::default(); QUEUES],
            lie: Lie::Truth,
            random: Random(1),
        };
        Self { packed, offered, pairs: 1, state: Mutex::new(state), accesses: AtomicU64::new(0) }
    }

    /// As [`Model::new`], of a device that offers a control queue and says that it has so many pairs.
    pub fn of_pairs(pairs: u16) -> Self {
        let model = Self::new(false, false);
        // CTRL_VQ, MQ.
        Self { offered: model.offered | 1 << 17 | 1 << 22, pairs, ..model }
    }

    pub fn accesses(&self) -> u64 {
        self.accesses.load(Ordering::Relaxed)
    }

    fn take(&self, dma: &TestDma, queue: &mut Queue) -> Option<Taken> {
        let size = queue.size;
        let mut parts = Vec::new();
        if self.packed {
            let (mut at, mut wrap, mut count) = (queue.seen, queue.seen_wrap, 0);
            loop {
                let desc = dma.read(queue.desc + 16 * u64::from(at), 16);
                let flags = u16::from_le_bytes([desc[14], desc[15]]);
                let available = (flags & 0x80 != 0) == wrap && (flags & 0x8000 != 0) != wrap;
                if count == 0 && !available {
                    return None;
                }
                assert!(available, "a chain is made available as a whole");
                let addr = u64::from_le_bytes(desc[..8].try_into().unwrap());
                parts.push((addr, u32::from_le_bytes(desc[8..12].try_into().unwrap()), flags & 2 != 0));
                count += 1;
                at += 1;
                if at == size {
                    (at, wrap) = (0, !wrap);
                }
                if flags & 1 == 0 {
                    (queue.seen, queue.seen_wrap) = (at, wrap);
                    let id = u16::from_le_bytes([desc[12], desc[13]]);
                    return Some(Taken { id, descriptors: count, parts });
                }
            }
        }
        if dma.number(queue.driver + 2, 2) as u16 == queue.seen {
            return None;
        }
        let id = dma.number(queue.driver + 4 + 2 * u64::from(queue.seen % size), 2) as u16;
        queue.seen = queue.seen.wrapping_add(1);
        let mut at = id;
        loop {
            let desc = dma.read(queue.desc + 16 * u64::from(at), 16);
            let flags = u16::from_le_bytes([desc[12], desc[13]]);
            let addr = u64::from_le_bytes(desc[..8].try_into().unwrap());
            parts.push((addr, u32::from_le_bytes(desc[8..12].try_into().unwrap()), flags & 2 != 0));
            if flags & 1 == 0 {
                return Some(Taken { id, descriptors: parts.len() as u16, parts });
            }
            at = u16::from_le_bytes([desc[14], desc[15]]);
        }
    }

    fn put(&self, dma: &TestDma, queue: &mut Queue, id: u16, descriptors: u16, len: u32) {
        if self.packed {
            let at = queue.desc + 16 * u64::from(queue.used);
            dma.write(at + 8, &len.to_le_bytes());
            dma.write(at + 12, &id.to_le_bytes());
            let flags: u16 = if queue.used_wrap { 0x8080 } else { 0 };
            dma.write(at + 14, &flags.to_le_bytes());
            queue.used += descriptors;
            if queue.used >= queue.size {
                queue.used -= queue.size;
                queue.used_wrap = !queue.used_wrap;
            }
            return;
        }
        let at = queue.device + 4 + 8 * u64::from(queue.used % queue.size);
        dma.write(at, &u32::from(id).to_le_bytes());
        dma.write(at + 4, &len.to_le_bytes());
        queue.used = queue.used.wrapping_add(1);
        dma.write(queue.device + 2, &queue.used.to_le_bytes());
    }

    /// Takes everything that the driver sends: headers and frames.
    pub fn transmit(&self, dma: &TestDma) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut state = self.state.lock().unwrap();
        let queue = &mut state.queues[1];
        let mut sent = Vec::new();
        while let Some(taken) = self.take(dma, queue) {
            let mut bytes = Vec::new();
            for (addr, len, write) in &taken.parts {
                assert!(!write);
                bytes.extend(dma.read(*addr, *len as usize));
            }
            let frame = bytes.split_off(12);
            sent.push((bytes, frame));
            self.put(dma, queue, taken.id, taken.descriptors, 0);
        }
        sent
    }

    /// Takes everything that the driver sends and finishes the last first, which it may (section 2.7.13 asks for no order).
    pub fn transmit_backwards(&self, dma: &TestDma) -> usize {
        let mut state = self.state.lock().unwrap();
        let queue = &mut state.queues[1];
        let taken: Vec<Taken> = std::iter::from_fn(|| self.take(dma, queue)).collect();
        taken.iter().rev().for_each(|taken| self.put(dma, queue, taken.id, taken.descriptors, 0));
        taken.len()
    }

    /// Puts frames into the driver's next buffers and finishes the last first.
    pub fn receive_backwards(&self, dma: &TestDma, frames: &[Vec<u8>]) {
        let mut state = self.state.lock().unwrap();
        let queue = &mut state.queues[0];
        let taken: Vec<Taken> = frames.iter().map_while(|_| self.take(dma, queue)).collect();
        assert_eq!(taken.len(), frames.len());
        for (taken, frame) in taken.iter().zip(frames).rev() {
            dma.write(taken.parts[0].0, &[&[0; 12][..], frame].concat());
            self.put(dma, queue, taken.id, taken.descriptors, 12 + frame.len() as u32);
        }
    }

    /// Puts a frame into the driver's next buffer and lies about which it was, and how long.
    pub fn receive_as(&self, dma: &TestDma, frame: &[u8], len: fn(u32) -> u32, id: fn(u16) -> u16) -> bool {
        let mut state = self.state.lock().unwrap();
        let queue = &mut state.queues[0];
        let Some(taken) = self.take(dma, queue) else { return false };
        let bytes = [&[0; 12][..], frame].concat();
        dma.write(taken.parts[0].0, &bytes);
        self.put(dma, queue, id(taken.id), taken.descriptors, len(bytes.len() as u32));
        true
    }

    /// Puts a frame into the driver's next buffer.
    pub fn receive(&self, dma: &TestDma, frame: &[u8], header: &[u8; 12], _buffers: u16) -> bool {
        self.receive_parts(dma, header, &[frame])
    }

    pub fn receive_parts(&self, dma: &TestDma, header: &[u8; 12], parts: &[&[u8]]) -> bool {
        let mut state = self.state.lock().unwrap();
        let queue = &mut state.queues[0];
        for (index, part) in parts.iter().enumerate() {
            let Some(taken) = self.take(dma, queue) else { return false };
            let (addr, len, write) = taken.parts[0];
            let bytes = if index == 0 { [&header[..], part].concat() } else { part.to_vec() };
            assert!(write && len as usize >= bytes.len());
            dma.write(addr, &bytes);
            self.put(dma, queue, taken.id, taken.descriptors, bytes.len() as u32);
        }
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

    fn read32(&self, bar: u32, offset: u64) -> u32 {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap();
        match state.lie {
            Lie::Ones => return u32::MAX,
            Lie::Random(_) => return state.random.next() as u32,
            Lie::Truth => {}
        }
        assert_eq!(bar, 4);
        let select = usize::from(state.select);
        let queue = state.queues.get(select).copied();
        match offset {
            0x04 => (self.offered >> (32 * state.feature_select.min(1))) as u32,
            0x10 => state.config_vector.into(),
            0x14 => state.status.into(),
            0x15 => 0,
            0x18 => queue.map_or(0, |q| u32::from(if q.size == 0 { SIZE } else { q.size })),
            0x1a => queue.map_or(0xffff, |q| q.vector.into()),
            0x1e => select as u32,
            0x2000..0x2006 => MAC[offset as usize - 0x2000].into(),
            0x2006 => 1,
            0x2008 => self.pairs.into(),
            _ => 0,
        }
    }

    fn write8(&self, bar: u32, offset: u64, value: u8) {
        self.write32(bar, offset, value.into());
    }

    fn write16(&self, bar: u32, offset: u64, value: u16) {
        self.write32(bar, offset, value.into());
    }

    fn write32(&self, _bar: u32, offset: u64, value: u32) {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap();
        let select = usize::from(state.select);
        let half = |old: u64, low: bool| {
            if low { old & !0xffff_ffff | u64::from(value) } else { old & 0xffff_ffff | u64::from(value) << 32 }
        };
        match offset {
            0x00 | 0x08 => state.feature_select = value,
            0x0c => {
                let shift = 32 * state.feature_select.min(1);
                state.accepted = state.accepted & !(0xffff_ffff << shift) | u64::from(value) << shift;
            }
            0x10 => state.config_vector = value as u16,
            0x14 => {
                state.status = value as u8;
                if value == 0 {
                    state.queues = [Queue::default(); QUEUES];
                    state.accepted = 0;
                } else if value & 8 != 0 && state.accepted & !self.offered != 0 {
                    state.status &= !8;
                }
            }
            0x16 => state.select = value as u16,
            _ => {
                let Some(queue) = state.queues.get_mut(select) else { return };
                match offset {
                    0x18 => queue.size = value as u16,
                    0x1a => queue.vector = value as u16,
                    0x1c => {
                        queue.enabled = true;
                        (queue.seen_wrap, queue.used_wrap) = (true, true);
                    }
                    0x20 | 0x24 => queue.desc = half(queue.desc, offset == 0x20),
                    0x28 | 0x2c => queue.driver = half(queue.driver, offset == 0x28),
                    0x30 | 0x34 => queue.device = half(queue.device, offset == 0x30),
                    _ => {}
                }
            }
        }
    }

    fn config_read32(&self, offset: u64) -> u32 {
        let cap = |kind: u32, next: u32| 0x09 | next << 8 | 20 << 16 | kind << 24;
        match offset {
            0x00 => 0x1041_1af4,
            0x34 => 0x40,
            0x40 => cap(1, 0x60),
            0x48 => 0,
            0x4c => 0x1000,
            0x60 => cap(2, 0x80),
            0x68 => 0x3000,
            0x6c => 0x1000,
            0x70 => 4,
            0x80 => cap(4, 0),
            0x88 => 0x2000,
            0x8c => 0x1000,
            0x44 | 0x64 | 0x84 => 4,
            _ => 0,
        }
    }

    fn config_write32(&self, _offset: u64, _value: u32) {}
}

impl Hostile for Model {
    fn scribble(&self, dma: &TestDma, random: &mut Random) {
        let mut state = self.state.lock().unwrap();
        let index = random.below(2) as usize;
        let queue = &mut state.queues[index];
        if queue.size == 0 || !queue.enabled {
            return;
        }
        match random.below(8) {
            // What an honest device would do, so that the rest meets rings in every state.
            0..=4 => {
                let Some(taken) = self.take_quietly(dma, queue) else { return };
                let (addr, room, _) = taken.parts[0];
                let len = random.below(u64::from(room.min(1600)) + 1) as u32;
                if index == 0 {
                    dma.write(addr, &[0; 12]);
                    dma.write(addr + 12, &MAC);
                    if random.one_in(4) {
                        // The header of a hostile frame.
                        dma.write(addr, &random.next().to_le_bytes());
                        dma.write(addr + 8, &(random.next() as u32).to_le_bytes());
                    }
                }
                let id = if random.one_in(30) { random.next() as u16 } else { taken.id };
                let len = if random.one_in(30) { random.next() as u32 } else { len };
                self.put(dma, queue, id, taken.descriptors, len);
            }
            // Any byte of what the device may write.
            5 | 6 => {
                let (base, span) = if self.packed {
                    (queue.desc, 16 * u64::from(queue.size))
                } else {
                    (queue.device, 4 + 8 * u64::from(queue.size))
                };
                dma.write(base + random.below(span), &[random.next() as u8]);
            }
            _ => {
                let len = 2 * random.below(2) + 2;
                let at = queue.device;
                dma.write(at, &random.next().to_le_bytes()[..len as usize]);
            }
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

impl Model {
    /// As `take`, for rings that this device has scribbled on.
    fn take_quietly(&self, dma: &TestDma, queue: &mut Queue) -> Option<Taken> {
        if !self.packed {
            let ahead = (dma.number(queue.driver + 2, 2) as u16).wrapping_sub(queue.seen);
            if ahead == 0 || ahead > queue.size {
                return None;
            }
            let id = dma.number(queue.driver + 4 + 2 * u64::from(queue.seen % queue.size), 2) as u16;
            queue.seen = queue.seen.wrapping_add(1);
            let desc = dma.read(queue.desc + 16 * u64::from(id % queue.size), 16);
            let addr = u64::from_le_bytes(desc[..8].try_into().unwrap());
            let len = u32::from_le_bytes(desc[8..12].try_into().unwrap());
            return Some(Taken { id, descriptors: 1, parts: vec![(addr, len, true)] });
        }
        let desc = dma.read(queue.desc + 16 * u64::from(queue.seen), 16);
        let flags = u16::from_le_bytes([desc[14], desc[15]]);
        if (flags & 0x80 != 0) != queue.seen_wrap || (flags & 0x8000 != 0) == queue.seen_wrap {
            return None;
        }
        queue.seen += 1;
        if queue.seen == queue.size {
            (queue.seen, queue.seen_wrap) = (0, !queue.seen_wrap);
        }
        let addr = u64::from_le_bytes(desc[..8].try_into().unwrap());
        let len = u32::from_le_bytes(desc[8..12].try_into().unwrap());
        Some(Taken { id: u16::from_le_bytes([desc[12], desc[13]]), descriptors: 1, parts: vec![(addr, len, true)] })
    }
}
