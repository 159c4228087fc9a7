//! The receive side (I210 datasheet section 7.1).

use super::bus::Bus;
use super::registers::{RCTL, RX, Registers, queue};
use super::{QUEUES, Seen, misuse};

const RXCSUM: u64 = 0x5000;
const RLPML: u64 = 0x5004;
const MTA: u64 = 0x5200;
const RAL: u64 = 0x5400;
const MRQC: u64 = 0x5818;
const RETA: u64 = 0x5c00;
const RSSRK: u64 = 0x5c80;
const FCS: usize = 4;

/// Status and errors of a descriptor (section 7.1.4.2.2).
const DONE: u32 = 1 << 0;
const END: u32 = 1 << 1;
const UDP_CHECKED: u32 = 1 << 4;
const L4_CHECKED: u32 = 1 << 5;
const IP_CHECKED: u32 = 1 << 6;
const L4_ERROR: u32 = 1 << 29;
const IP_ERROR: u32 = 1 << 30;

/// What the parser found: offsets, and what is to be hashed.
#[derive(Default)]
struct Found {
    v6: bool,
    l3: usize,
    l4: usize,
    /// End of the IP payload.
    end: usize,
    protocol: u8,
    fragment: bool,
}

fn be16(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]))
}

/// IPv4 or IPv6 without extension headers, behind at most one tag that stays where it is.
fn look(frame: &[u8]) -> Option<Found> {
    let mut at = 12;
    if be16(frame, at)? == 0x8100 {
        at += 4;
    }
    let l3 = at + 2;
    match be16(frame, at)? {
        0x0800 => {
            let header = usize::from(frame.get(l3)? & 0xf) * 4;
            let total = usize::from(be16(frame, l3 + 2)?);
            let fits = frame.get(l3)? >> 4 == 4 && header >= 20 && total >= header && l3 + total <= frame.len();
            let fragment = be16(frame, l3 + 6)? & 0x3fff != 0;
            let protocol = *frame.get(l3 + 9)?;
            fits.then_some(Found { v6: false, l3, l4: l3 + header, end: l3 + total, protocol, fragment })
        }
        0x86dd => {
            let total = 40 + usize::from(be16(frame, l3 + 4)?);
            let fits = frame.get(l3)? >> 4 == 6 && l3 + total <= frame.len();
            let protocol = *frame.get(l3 + 6)?;
            fits.then_some(Found { v6: true, l3, l4: l3 + 40, end: l3 + total, protocol, fragment: false })
        }
        _ => None,
    }
}

fn folds_to_ones(parts: &[&[u8]], extra: u32) -> bool {
    let mut total = u64::from(extra);
    for part in parts {
        for pair in part.chunks(2) {
            total += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while total >> 16 != 0 {
        total = (total & 0xffff) + (total >> 16);
    }
    total == 0xffff
}

impl Found {
    fn addresses<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        if self.v6 { &frame[self.l3 + 8..self.l3 + 40] } else { &frame[self.l3 + 12..self.l3 + 20] }
    }

    /// Checksum status and errors (section 7.1.7).
    fn status(&self, frame: &[u8], rxcsum: u32) -> u32 {
        let mut status = 0;
        if rxcsum >> 8 & 1 == 1 && !self.v6 {
            status |= IP_CHECKED;
            if !folds_to_ones(&[&frame[self.l3..self.l4]], 0) {
                return status | IP_ERROR;
            }
        }
        let (least, is_udp) = match self.protocol {
            6 => (20, false),
            17 => (8, true),
            _ => return status,
        };
        let segment = &frame[self.l4..self.end];
        if rxcsum >> 9 & 1 == 0 || self.fragment || segment.len() < least {
            return status;
        }
        // RFC 768: zero means that the sender made none.
        if is_udp && be16(segment, 6) == Some(0) {
            return status;
        }
        status |= L4_CHECKED | if is_udp { UDP_CHECKED } else { 0 };
        let pseudo = segment.len() as u32 + u32::from(self.protocol);
        if !folds_to_ones(&[self.addresses(frame), segment], pseudo) {
            status |= L4_ERROR;
        }
        status
    }
}

impl Registers {
    /// Microsoft's Toeplitz hash over what MRQC names (section 7.1.2.10); `None`: the frame is not hashed.
    fn hash(&self, frame: &[u8], found: &Found) -> Option<u32> {
        let fields = self.get(MRQC) >> 16;
        let (with_ports, without) = if found.v6 { (5, 4) } else { (0, 1) };
        let ports = found.protocol == 6 && !found.fragment && fields >> with_ports & 1 == 1;
        let mut input = found.addresses(frame).to_vec();
        if ports {
            input.extend_from_slice(frame.get(found.l4..found.l4 + 4)?);
        } else if fields >> without & 1 == 0 {
            return None;
        }
        let key: Vec<u8> = (0..10).flat_map(|i| self.get(RSSRK + 4 * i).to_le_bytes()).collect();
        let bit = |at: usize| u32::from(key[at / 8] >> (7 - at % 8) & 1);
        let mut result = 0;
        for at in (0..8 * input.len()).filter(|at| input[at / 8] >> (7 - at % 8) & 1 == 1) {
            result ^= (0..32).fold(0, |window, i| window << 1 | bit(at + i));
        }
        Some(result)
    }

    fn queue_for(&self, frame: &[u8], found: Option<&Found>) -> (usize, u32) {
        if self.get(MRQC) & 7 != 2 {
            return (0, 0);
        }
        let Some(hash) = found.and_then(|found| self.hash(frame, found)) else { return (0, 0) };
        let entry = (hash & 0x7f) as u64;
        let queue = self.get(RETA + entry / 4 * 4) >> (8 * (entry % 4)) & 7;
        (queue as usize, hash)
    }

    /// Section 7.1.1: who gets it.
    fn wants(&self, frame: &[u8]) -> bool {
        let mode = self.get(RCTL);
        let with_fcs = (frame.len() + FCS) as u32;
        let limit = if mode >> 5 & 1 == 1 { self.get(RLPML) } else { 1522 };
        if frame.len() < 14 || with_fcs > limit {
            return false;
        }
        let to = &frame[..6];
        if to == [0xff; 6] {
            return mode >> 15 & 1 == 1 || mode >> 4 & 1 == 1;
        }
        if to[0] & 1 == 1 {
            // RCTL.MO: which twelve bits of the address choose from the table.
            let shift = [4, 3, 2, 0][(mode >> 12 & 3) as usize];
            let bit = (u32::from(to[4]) >> shift | u32::from(to[5]) << (8 - shift)) & 0xfff;
            let listed = self.get(MTA + u64::from(bit >> 5) * 4) >> (bit & 31) & 1 == 1;
            return mode >> 4 & 1 == 1 || listed;
        }
        let exact = (0..16).any(|i| {
            let (low, high) = (self.get(RAL + 8 * i), self.get(RAL + 8 * i + 4));
            high >> 31 == 1 && to[..4] == low.to_le_bytes() && to[4..] == high.to_le_bytes()[..2]
        });
        exact || mode >> 3 & 1 == 1
    }

    /// Takes a frame off the wire. False: there are not enough buffers for it, and it stays where it is.
    pub fn receive(&mut self, bus: &Bus, frame: &[u8], seen: &mut Seen) -> bool {
        if self.get(RCTL) & 2 == 0 || !self.wants(frame) {
            seen.filtered += 1;
            return true;
        }
        let found = look(frame);
        let (index, hash) = self.queue_for(frame, found.as_ref());
        let Some(ring) = (index < QUEUES).then(|| self.ring(RX, index)).flatten() else {
            seen.filtered += 1;
            return true;
        };
        let split = self.get(Registers::queue(RX, index) + queue::SPLIT);
        if split >> 25 & 7 != 1 {
            misuse(format!("receive queue {index}: SRRCTL.DESCTYPE is {} (section 8.10.2)", split >> 25 & 7));
        }
        let size = (split as usize & 0x7f) * 1024;
        let mut bytes = frame.to_vec();
        if self.get(RCTL) >> 26 & 1 == 0 {
            bytes.extend_from_slice(&[0; FCS]);
        }
        let free = (ring.tail + ring.entries - ring.head) % ring.entries;
        let needed = bytes.len().div_ceil(size.max(1)).max(1) as u64;
        if free < needed || size == 0 {
            return false;
        }
        let status = found.map_or(0, |found| found.status(frame, self.get(RXCSUM)));
        let mut head = ring.head;
        let last = needed - 1;
        for (i, piece) in bytes.chunks(size).enumerate() {
            let at = ring.at(head);
            let mut buffer = [0u8; 8];
            bus.read(at, &mut buffer);
            bus.write(u64::from_le_bytes(buffer), piece);
            let end = if i as u64 == last { END | status } else { 0 };
            // The status last: whoever sees it sees the rest.
            bus.publish(at, &(u64::from(hash) << 32).to_le_bytes());
            bus.publish(at + 8, &(u64::from(DONE | end) | (piece.len() as u64) << 32).to_le_bytes());
            head = ring.next(head);
        }
        self.set_head(RX, index, head);
        self.queue_cause(index, false);
        seen.received += 1;
        if let Some(count) = seen.by_queue.get_mut(index) {
            *count += 1;
        }
        true
    }
}

#[cfg(test)]
impl Registers {
    pub fn hash_of(&self, frame: &[u8]) -> Option<u32> {
        self.hash(frame, &look(frame)?)
    }
}
