//! Reassembly against a byte-by-byte model of pf's policy, against sums computed from nothing, and its accounts.

mod bounds;
mod datagram;
mod overlap;

use super::{Arrival, Frame, Outcome, Reassembly, Taken};
use crate::flow::Secret;
use crate::wire::{Parsed, offload, parse};
use etherparse::PacketBuilder;

/// A buffer with a number.
#[derive(Debug)]
pub(super) struct Buffer {
    pub number: usize,
    bytes: Vec<u8>,
    room: usize,
}

impl Frame for Buffer {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn set_len(&mut self, len: usize) -> bool {
        let fits = len <= self.room;
        if fits {
            self.bytes.resize(len, 0xdd);
        }
        fits
    }
}

pub(super) type Pool = Reassembly<Buffer, &'static str>;

pub(super) fn pool(capacity: usize) -> Pool {
    Pool::new(capacity, Secret::from_seed(7)).unwrap()
}

pub(super) fn at(now: u64) -> Arrival {
    Arrival { now, zone: 0, no_df: false, check_header: true }
}

pub(super) fn buffer(number: usize, bytes: Vec<u8>) -> Buffer {
    Buffer { number, room: bytes.len().max(2048), bytes }
}

/// Puts a fragment in.
pub(super) fn put(pool: &mut Pool, number: usize, frame: &[u8], now: u64) -> Taken<Buffer> {
    pool.insert(buffer(number, frame.to_vec()), &parse(frame), &at(now))
}

/// Everything that is ready.
pub(super) fn popped(pool: &mut Pool) -> Vec<(Buffer, Outcome<&'static str>)> {
    std::iter::from_fn(|| pool.pop()).collect()
}

/// A UDP datagram in one frame.
pub(super) fn datagram(v6: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let written = match v6 {
        true => link.ipv6([0x20; 16], [0x30; 16], 64).udp(1000, 53).write(&mut frame, payload),
        false => link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1000, 53).write(&mut frame, payload),
    };
    written.unwrap();
    if !v6 {
        // No don't-fragment bit.
        frame[20] = 0;
        let parsed = parse(&frame);
        let _ = offload::fill_ipv4_header(&mut frame, &parsed);
    }
    frame
}

/// The fragment of `whole` that has bytes `start` to `end` of its IP payload, with identification `id`.
pub(super) fn fragment(whole: &[u8], start: usize, end: usize, more: bool, id: u16) -> Vec<u8> {
    let body = |at: usize| &whole[at + start..at + end];
    raw(whole, body(if whole[12] == 0x86 { 54 } else { 34 }), start, more, id)
}

/// A fragment with data of its own.
pub(super) fn raw(whole: &[u8], data: &[u8], start: usize, more: bool, id: u16) -> Vec<u8> {
    if whole[12] == 0x86 {
        let bits = (start as u16 | u16::from(more)).to_be_bytes();
        let header = [&[whole[20], 0][..], &bits, &[0xab, 0xcd], &id.to_be_bytes()].concat();
        let mut frame = [&whole[..54], &header, data].concat();
        frame[20] = 44;
        frame[18..20].copy_from_slice(&(8 + data.len() as u16).to_be_bytes());
        return frame;
    }
    let mut frame = [&whole[..34], data].concat();
    frame[16..18].copy_from_slice(&(20 + data.len() as u16).to_be_bytes());
    frame[18..20].copy_from_slice(&id.to_be_bytes());
    let bits = (start / 8) as u16 | u16::from(more) << 13;
    frame[20..22].copy_from_slice(&bits.to_be_bytes());
    let parsed = parse(&frame);
    let _ = offload::fill_ipv4_header(&mut frame, &parsed);
    frame
}

/// Where a fragment's data starts.
pub(super) fn data_at(frame: &[u8]) -> usize {
    if frame[12] == 0x86 { 62 } else { 34 }
}

/// What a receiver without any policy makes of fragments that do not overlap: the frame that was fragmented.
pub(super) fn join(frames: &[Vec<u8>]) -> Vec<u8> {
    let v6 = frames[0][12] == 0x86;
    let mut spans: Vec<(Parsed, &[u8])> = frames.iter().map(|frame| (parse(frame), &frame[data_at(frame)..])).collect();
    spans.sort_by_key(|(parsed, _)| parsed.fragment.offset);
    let mut body = Vec::new();
    for (index, (parsed, data)) in spans.iter().enumerate() {
        assert_eq!(usize::from(parsed.fragment.offset), body.len(), "no gap and no overlap");
        assert_eq!(parsed.fragment.more, index + 1 < frames.len());
        body.extend_from_slice(data);
    }
    let first = frames.iter().find(|frame| parse(frame).fragment.offset == 0).unwrap();
    let mut frame = [&first[..if v6 { 54 } else { 34 }], &body].concat();
    if v6 {
        frame[20] = first[54];
        frame[18..20].copy_from_slice(&(body.len() as u16).to_be_bytes());
    } else {
        frame[16..18].copy_from_slice(&(20 + body.len() as u16).to_be_bytes());
        frame[20..22].fill(0);
        let parsed = parse(&frame);
        let _ = offload::fill_ipv4_header(&mut frame, &parsed);
    }
    frame
}
