//! The transmit side (I210 datasheet section 7.2).

use std::collections::VecDeque;

use super::bus::Bus;
use super::registers::{Registers, TCTL, TX};
use super::{QUEUES, misuse};

/// Longest frame of one packet in memory: a super-frame (PAYLEN has 18 bits).
const PACKET_MAX: usize = 1 << 18;
/// Section 7.2.1.1: a buffer of the packet buffer's size.
const DESCRIPTORS_MAX: usize = 64;

/// Fields of a context (section 7.2.2.2).
struct Context {
    mac: usize,
    ip: usize,
    l4: usize,
    mss: usize,
    v4: bool,
    kind: u32,
}

impl Context {
    fn of(words: [u32; 4]) -> Context {
        Context {
            ip: (words[0] & 0x1ff) as usize,
            mac: (words[0] >> 9 & 0x7f) as usize,
            v4: words[2] >> 10 & 1 == 1,
            kind: words[2] >> 11 & 3,
            l4: (words[3] >> 8 & 0xff) as usize,
            mss: (words[3] >> 16) as usize,
        }
    }

    /// Where the transport checksum stands: TCP's 16 bytes in, UDP's 6.
    fn checksum_at(&self) -> usize {
        self.mac + self.ip + if self.kind == 1 { 16 } else { 6 }
    }
}

fn ones(bytes: &[u8], start: u32) -> u16 {
    let mut total = u64::from(start);
    for pair in bytes.chunks(2) {
        total += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while total >> 16 != 0 {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

fn put(frame: &mut [u8], at: usize, value: u16) {
    match frame.get_mut(at..at + 2) {
        Some(field) => field.copy_from_slice(&value.to_be_bytes()),
        None => misuse(format!("a context names byte {at} of a frame of {} bytes", frame.len())),
    }
}

/// Inserts the checksums that POPTS asks for.
fn finish(frame: &mut [u8], context: &Context, ip: bool, transport: bool) {
    let l4 = context.mac + context.ip;
    if l4 > frame.len() {
        return misuse(format!("MACLEN and IPLEN are {l4} bytes of a frame of {}", frame.len()));
    }
    if ip {
        put(frame, context.mac + 10, 0);
        let value = !ones(&frame[context.mac..l4], 0);
        put(frame, context.mac + 10, value);
    }
    if transport {
        let value = !ones(&frame[l4..], 0);
        // UDP: zero would say that there is none (RFC 768).
        put(frame, context.checksum_at(), if value == 0 && context.kind == 0 { 0xffff } else { value });
    }
}

/// Section 7.2.4: cuts a super-frame.
fn segments(packet: &[u8], context: &Context, out: &mut VecDeque<Vec<u8>>) {
    let header = context.mac + context.ip + context.l4;
    if context.kind != 1 || context.mss == 0 || header >= packet.len() || context.l4 < 20 || header > 512 {
        return misuse(format!("segmentation with headers of {header} bytes and MSS {}", context.mss));
    }
    let (head, payload) = packet.split_at(header);
    let l4 = context.mac + context.ip;
    let first_sequence = u32::from_be_bytes([head[l4 + 4], head[l4 + 5], head[l4 + 6], head[l4 + 7]]);
    let identification = u16::from_be_bytes([head[context.mac + 4], head[context.mac + 5]]);
    let seed = u32::from(u16::from_be_bytes([head[l4 + 16], head[l4 + 17]]));
    let count = payload.len().div_ceil(context.mss);
    for (index, chunk) in payload.chunks(context.mss).enumerate() {
        let mut frame = head.to_vec();
        frame.extend_from_slice(chunk);
        let l4_len = (context.l4 + chunk.len()) as u16;
        if context.v4 {
            put(&mut frame, context.mac + 2, context.ip as u16 + l4_len);
            put(&mut frame, context.mac + 4, identification.wrapping_add(index as u16));
        } else {
            put(&mut frame, context.mac + 4, (context.ip - 40) as u16 + l4_len);
        }
        let sequence = first_sequence.wrapping_add((index * context.mss) as u32);
        frame[l4 + 4..l4 + 8].copy_from_slice(&sequence.to_be_bytes());
        // DTXTCPFLGL and H (sections 8.12.3, 8.12.4): FIN and PSH on the last only, CWR on the first only.
        let ends = if index + 1 == count { 0xff } else { 0xf6 };
        let keep = if index == 0 { ends } else { ends & 0x7f };
        frame[l4 + 13] &= keep;
        // The pseudo header in place lacks the length.
        put(&mut frame, l4 + 16, ones(&l4_len.to_be_bytes(), seed));
        finish(&mut frame, context, context.v4, true);
        out.push_back(frame);
    }
}

impl Registers {
    /// Sends one packet of some queue; what leaves is appended to `out`. False: there is none.
    pub fn transmit(&mut self, bus: &Bus, out: &mut VecDeque<Vec<u8>>) -> bool {
        if self.get(TCTL) & 2 == 0 {
            return false;
        }
        for step in 0..QUEUES {
            let index = (self.turn + step) % QUEUES;
            if self.transmit_one(index, bus, out) {
                self.turn = (index + 1) % QUEUES;
                return true;
            }
        }
        false
    }

    fn transmit_one(&mut self, index: usize, bus: &Bus, out: &mut VecDeque<Vec<u8>>) -> bool {
        let Some(ring) = self.ring(TX, index) else { return false };
        let (mut at, mut packet, mut first) = (ring.head, Vec::new(), None);
        for _ in 0..DESCRIPTORS_MAX {
            if at == ring.tail {
                if first.is_some() {
                    misuse(format!("transmit queue {index}: the tail is inside a packet (section 7.2.2.4)"));
                }
                break;
            }
            let mut raw = [0u8; 16];
            bus.read(ring.at(at), &mut raw);
            let word = |i: usize| u32::from_le_bytes([raw[i], raw[i + 1], raw[i + 2], raw[i + 3]]);
            let words = [word(0), word(4), word(8), word(12)];
            let descriptor = ring.at(at);
            at = ring.next(at);
            if words[2] >> 29 & 1 == 0 {
                misuse(format!("transmit queue {index}: a legacy descriptor"));
                break;
            }
            match words[2] >> 20 & 0xf {
                2 => {
                    self.contexts[index][(words[3] >> 4 & 1) as usize] = words;
                    self.set_head(TX, index, at);
                }
                3 => {
                    let options = *first.get_or_insert((words[2], words[3]));
                    let len = (words[2] & 0xffff) as usize;
                    let start = packet.len();
                    if len == 0 || start + len > PACKET_MAX {
                        misuse(format!("transmit queue {index}: a buffer of {len} bytes behind {start}"));
                        break;
                    }
                    packet.resize(start + len, 0);
                    bus.read(u64::from(words[0]) | u64::from(words[1]) << 32, &mut packet[start..]);
                    let (last, report) = (words[2] >> 24 & 1 == 1, words[2] >> 27 & 1 == 1);
                    if report {
                        // DD (section 7.2.2.3.6).
                        bus.publish(descriptor + 12, &1u32.to_le_bytes());
                    }
                    if last {
                        self.set_head(TX, index, at);
                        self.leave(index, packet, options, out);
                        if report {
                            self.queue_cause(index, true);
                        }
                        return true;
                    }
                }
                kind => {
                    misuse(format!("transmit queue {index}: a descriptor of type {kind}"));
                    break;
                }
            }
        }
        false
    }

    /// A whole packet, as its first descriptor says.
    fn leave(
        &mut self,
        index: usize,
        mut packet: Vec<u8>,
        (command, options): (u32, u32),
        out: &mut VecDeque<Vec<u8>>,
    ) {
        let context = Context::of(self.contexts[index][(options >> 4 & 1) as usize]);
        let (ip, transport, cut) = (options >> 8 & 1 == 1, options >> 9 & 1 == 1, command >> 31 == 1);
        let payload = (options >> 14) as usize;
        let header = if cut { context.mac + context.ip + context.l4 } else { 0 };
        if payload + header != packet.len() {
            misuse(format!("PAYLEN {payload} of a packet of {} bytes (section 7.2.2.3.9)", packet.len()));
        }
        if cut {
            if !transport || ip != context.v4 {
                misuse("segmentation without the checksums that it needs (section 7.2.2.3.8)".to_owned());
            }
            segments(&packet, &context, out);
            return;
        }
        if ip || transport {
            finish(&mut packet, &context, ip, transport);
        }
        // TCTL.PSP: 64 bytes with the FCS.
        if self.get(TCTL) & 8 != 0 && packet.len() < 60 {
            packet.resize(60, 0);
        }
        out.push_back(packet);
    }
}
