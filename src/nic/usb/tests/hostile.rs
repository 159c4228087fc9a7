//! A device that obeys no rule, played against the whole back end: what it says of itself, what it answers, what it sends
//! and how its transfers end.

use alloc::sync::Arc;
use std::sync::Mutex;

use super::super::rndis::message::MESSAGE_MAX;
use super::super::{Bus, Kind, Ops, PIPE_IN, PIPE_NOTIFY, PIPE_OUT, Plan, Port, Setup, TransferError, UsbConfig, open};
use crate::mem::tests::pipes::TestPipes;
use crate::nic::MulticastList;
use crate::nic::tests::rig::{MAC, Random, Rig, seeds};

const BUFFERS: usize = 256;
const PIPES: [u32; 3] = [PIPE_IN, PIPE_OUT, PIPE_NOTIFY];

fn any_error(random: &mut Random) -> TransferError {
    match random.below(5) {
        0 => TransferError::Stall,
        1 => TransferError::Aborted,
        2 => TransferError::Timeout,
        3 => TransferError::Failed,
        _ => TransferError::Gone,
    }
}

/// A number that breaks sums and comparisons.
fn any_number(random: &mut Random, near: usize) -> usize {
    match random.below(8) {
        0 => 0,
        1 => u32::MAX as usize - random.below(16) as usize,
        2 => u16::MAX as usize - random.below(16) as usize,
        3 => near.wrapping_add(random.below(9) as usize).wrapping_sub(4),
        _ => random.below(near as u64 * 2 + 1) as usize,
    }
}

fn damage(bytes: &mut [u8], random: &mut Random) {
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            return;
        }
        let reach = if random.one_in(2) { bytes.len().min(48) } else { bytes.len() };
        let at = random.below(reach as u64) as usize;
        bytes[at] = match random.below(3) {
            0 => 0xff,
            1 => 0,
            _ => random.next() as u8,
        };
    }
}

/// Answers to requests: what the class demands, more or less.
struct Liar {
    random: Mutex<Random>,
    pipes: Arc<TestPipes>,
    port: Mutex<Option<Arc<Port>>>,
    kind: Kind,
    /// The last encapsulated command.
    asked: Mutex<Vec<u8>>,
    /// One answer in so many is a lie.
    honesty: u64,
}

impl Liar {
    fn honest(&self, setup: Setup) -> Option<Vec<u8>> {
        match (setup.kind, setup.request) {
            (0x80, 6) => {
                let digits = "02005E000009".encode_utf16().flat_map(u16::to_le_bytes);
                Some([26, 3].into_iter().chain(digits).collect())
            }
            (0xa1, 0x80) => {
                let mut answer = vec![28, 0, 3, 0];
                answer.extend(16384u32.to_le_bytes());
                answer.extend([4, 0, 0, 0, 4, 0, 0, 0]);
                answer.extend(16384u32.to_le_bytes());
                answer.extend([4, 0, 0, 0, 4, 0, 40, 0]);
                Some(answer)
            }
            (0xa1, 1) if self.kind == Kind::Rndis => {
                let asked = self.asked.lock().unwrap();
                let word = |at: usize| asked.get(at..at + 4).map(|b| u32::from_le_bytes(b.try_into().unwrap()));
                let (kind, id) = (word(0)?, word(8)?);
                let words: Vec<u32> = match kind {
                    2 => vec![0x8000_0002, 52, id, 0, 1, 0, 1, 0, 8, 16384, 2, 0, 0],
                    4 => vec![0x8000_0004, 30, id, 0, 6, 16, 0x0900_5e02, 0],
                    _ => vec![kind | 0x8000_0000, 16, id, 0],
                };
                Some(words.into_iter().flat_map(u32::to_le_bytes).collect())
            }
            _ => None,
        }
    }
}

impl Ops for Liar {
    fn abort(&self, pipe: u32) -> Result<(), TransferError> {
        let port = self.port.lock().unwrap().clone();
        for (slot, _) in self.pipes.running(pipe) {
            self.pipes.end(pipe, slot);
            if let Some(port) = &port {
                port.complete(pipe, slot, Err(TransferError::Aborted));
            }
        }
        Ok(())
    }

    fn clear_stall(&self, _pipe: u32) -> Result<(), TransferError> {
        let mut random = self.random.lock().unwrap();
        if random.one_in(self.honesty) { Err(any_error(&mut random)) } else { Ok(()) }
    }

    fn set_alternate(&self, _alternate: u8) -> Result<(), TransferError> {
        for pipe in PIPES {
            self.abort(pipe)?;
        }
        let mut random = self.random.lock().unwrap();
        if random.one_in(self.honesty * 4) { Err(any_error(&mut random)) } else { Ok(()) }
    }

    fn control(&self, setup: Setup, data: &mut [u8]) -> Result<usize, TransferError> {
        let random = &mut *self.random.lock().unwrap();
        if setup.kind & 0x80 == 0 {
            if setup.request == 0 {
                *self.asked.lock().unwrap() = data.to_vec();
            }
            return if random.one_in(self.honesty) { Err(any_error(random)) } else { Ok(data.len()) };
        }
        let Some(mut answer) = self.honest(setup) else { return Err(TransferError::Stall) };
        if random.one_in(self.honesty) {
            match random.below(5) {
                0 => return Err(any_error(random)),
                1 => answer.truncate(random.below(answer.len() as u64 + 1) as usize),
                2 => answer.resize(random.below(MESSAGE_MAX as u64) as usize, 0xa5),
                // An indication or a keepalive in place of the answer.
                3 => {
                    answer = [[7u32, 3, 8][random.below(3) as usize], 20, 0x4001_000b, 0, 0]
                        .into_iter()
                        .flat_map(u32::to_le_bytes)
                        .collect()
                }
                _ => damage(&mut answer, random),
            }
        }
        let len = answer.len().min(data.len());
        data[..len].copy_from_slice(&answer[..len]);
        Ok(len)
    }

    fn delay_ms(&self, _ms: u32) {}
}

/// An NTB that is nearly one: chains, tables, lengths and indices that are right more often than not.
fn ntb(random: &mut Random, room: usize) -> Vec<u8> {
    let wide = random.one_in(2);
    let width = if wide { 4 } else { 2 };
    let (head, table_head) = if wide { (16, 16) } else { (12, 8) };
    let len = head + random.below(room.saturating_sub(head).max(1) as u64) as usize;
    let mut bytes: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
    let mut put = |at: usize, value: usize, width: usize| {
        if let Some(room) = bytes.get_mut(at..at.saturating_add(width)) {
            room.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    };
    let say = |random: &mut Random, right: usize| if random.one_in(6) { any_number(random, right) } else { right };
    put(4, say(random, head), 2);
    put(6, random.next() as usize, 2);
    put(8, say(random, len), width);
    let first = head + random.below(len as u64) as usize / 2 / 4 * 4;
    put(8 + width, say(random, first), width);
    let mut at = first;
    let crc = usize::from(random.one_in(4));
    for left in (0..=random.below(3)).rev() {
        let entries = random.below(12) as usize;
        let size = table_head + 2 * width * (entries + 1);
        put(at, u32::from_le_bytes(if wide { *b"ncm0" } else { *b"NCM0" }) as usize + (crc << 24), 4);
        put(at + 4, say(random, size), 2);
        let next = if left == 0 { 0 } else { at + size + random.below(64) as usize };
        let right = if random.one_in(5) { at } else { next };
        let named = say(random, right);
        if wide {
            put(at + 8, named, 4);
        } else {
            put(at + 6, named, 2);
        }
        for entry in 0..entries {
            let index = head + random.below(len as u64) as usize;
            let size = random.below(1600) as usize;
            let spot = at + table_head + 2 * width * entry;
            put(spot, say(random, index), width);
            put(spot + width, say(random, size), width);
        }
        at = next;
    }
    bytes[..4].copy_from_slice(if wide { b"ncmh" } else { b"NCMH" });
    bytes
}

/// Packet messages one behind the other, nearly.
fn messages(random: &mut Random, room: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(6) {
        let size = random.below(1600) as usize;
        let say = |random: &mut Random, right: usize| {
            (if random.one_in(8) { any_number(random, right) } else { right }) as u32
        };
        let kind = if random.one_in(10) { random.next() as u32 } else { 1 };
        let offset = 36 + 4 * random.below(3) as usize * usize::from(random.one_in(3));
        let total = 8 + offset + size;
        let fields = [kind, say(random, total), say(random, offset), say(random, size), 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(fields.into_iter().flat_map(u32::to_le_bytes));
        bytes.resize(bytes.len() + total - 44, 0x5a);
    }
    bytes.truncate(room);
    bytes
}

fn notice(random: &mut Random) -> Vec<u8> {
    let code = [0u8, 1, 0x2a, 0x55][random.below(4) as usize];
    let mut bytes = vec![0xa1, code, random.below(2) as u8, 0, 0, 0, 8, 0];
    bytes.extend(random.next().to_le_bytes());
    if random.one_in(3) {
        damage(&mut bytes, random);
    }
    bytes.truncate(random.below(20) as usize);
    bytes
}

/// Ends one of the transfers that run, or one that does not.
fn finish_one(pipes: &TestPipes, port: &Port, kind: Kind, random: &mut Random) {
    let pipe = PIPES[random.below(3) as usize];
    let running = pipes.running(pipe);
    if random.one_in(30) {
        // A completion that nobody waits for.
        let slot = random.below(40) as usize;
        let real =
            slot.checked_rem(pipes.slots(pipe)).is_some_and(|slot| running.iter().any(|(busy, _)| *busy == slot));
        assert!(real || !port.complete(pipe, slot, Ok(random.next() as u32)), "it was nobody's");
        return port.ring();
    }
    let Some((slot, room)) = running.get(if random.one_in(10) { random.below(16) as usize } else { 0 }).copied() else {
        return;
    };
    let result = if random.one_in(16) {
        Err(any_error(random))
    } else {
        let mut bytes = match (pipe, kind) {
            (PIPE_OUT, _) => pipes.read(pipe, slot),
            (PIPE_NOTIFY, _) => notice(random),
            (_, Kind::Ncm) => ntb(random, room),
            (_, Kind::Rndis) => messages(random, room),
            (_, Kind::Ecm) => vec![0x5a; random.below(room as u64 + 1) as usize],
        };
        if random.one_in(5) {
            damage(&mut bytes, random);
        }
        if pipe != PIPE_OUT {
            pipes.write(pipe, slot, &bytes);
        }
        // More than fits is what a confused controller says.
        Ok(if random.one_in(12) { any_number(random, room) as u32 } else { bytes.len() as u32 })
    };
    // Gone is for good: not in every run.
    if result != Err(TransferError::Gone) || random.one_in(20) {
        pipes.end(pipe, slot);
        port.complete(pipe, slot, result);
    }
    port.ring();
}

fn plan(kind: Kind, random: &mut Random) -> Plan {
    let mut packet = |usual: u16| if random.one_in(4) { 1 + random.below(0x7ff) as u16 } else { usual };
    Plan {
        kind,
        packet_in: packet(512),
        packet_out: packet(512),
        packet_notify: packet(16),
        data_alternate: 1,
        data_interface: 1,
        endpoint_in: 0x81,
        endpoint_out: 2,
        endpoint_notify: if random.one_in(4) { 0 } else { 0x83 },
        mac_string: random.below(2) as u8,
        ncm_capabilities: random.next() as u8,
        max_segment: if random.one_in(2) { 1514 } else { random.next() as u16 },
        multicast_filters: random.below(20) as u16,
        crc: random.one_in(3),
        ntb16: random.one_in(3),
        ..Plan::default()
    }
}

fn play(kind: Kind, seed: u64, steps: u64) {
    let mut random = Random(seed | 1);
    let pipes = Arc::new(TestPipes::default());
    let honesty = 2 + random.below(60);
    let liar = Arc::new(Liar {
        random: Mutex::new(Random(random.next() | 1)),
        pipes: pipes.clone(),
        port: Mutex::default(),
        kind,
        asked: Mutex::default(),
        honesty,
    });
    let config = UsbConfig {
        plan: plan(kind, &mut random),
        mac: if random.one_in(2) { MAC } else { [0; 6] },
        ring_size: 64,
        mtu: 1500,
        mtu_max: 9000,
        seed,
    };
    let bus = Bus { pipes: pipes.clone(), ops: liar.clone() };
    let Some((mut rig, port)) = Rig::usb(bus, BUFFERS, |env| open(&config, env)) else { return };
    *liar.port.lock().unwrap() = Some(port.clone());
    let mut now = 0;
    for _ in 0..steps {
        match random.below(14) {
            0 if random.one_in(8) => {
                // A device that does not answer stays disabled; one that is does not fail to be stopped.
                let _ = rig.nic.enable(true);
            }
            1 if random.one_in(30) => rig.stop(),
            0 | 1 => rig.post(),
            2 | 3 => {
                for frame in rig.receive() {
                    assert!(frame.len() >= 14, "a frame of {} bytes", frame.len());
                }
            }
            4 => {
                let len = 14 + random.below(1600) as usize;
                rig.send(random.below(20) as usize, |packet| assert!(packet.write(&vec![0x5a; len])));
            }
            5 => {
                rig.reap();
            }
            6 => {
                rig.queues[0].arm();
            }
            7 => {
                now += random.below(3_000_000_000);
                rig.nic.tick(now);
                rig.queues[0].take_refused();
            }
            8 if random.one_in(10) => {
                *pipes.refuse.lock().unwrap() = Some((random.below(4) as usize, any_error(&mut random)));
            }
            9 if random.one_in(10) => {
                rig.nic.set_promiscuous(random.one_in(2));
                rig.nic.set_all_multicast(random.one_in(2));
                let mut list = MulticastList::new();
                for n in 0..random.below(12) {
                    let _ = list.push([1, 0, 0x5e, 0, 0, n as u8]);
                }
                rig.nic.set_multicast(&list).unwrap();
            }
            _ => finish_one(&pipes, &port, kind, &mut random),
        }
    }
    rig.stop();
}

fn play_many(kind: Kind) {
    seeds(100, |seed, rounds| play(kind, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), 600 * rounds as u64));
}

#[test]
fn a_hostile_device_of_ncm_breaks_nothing() {
    play_many(Kind::Ncm);
}

#[test]
fn a_hostile_device_of_ecm_breaks_nothing() {
    play_many(Kind::Ecm);
}

#[test]
fn a_hostile_device_of_rndis_breaks_nothing() {
    play_many(Kind::Rndis);
}
