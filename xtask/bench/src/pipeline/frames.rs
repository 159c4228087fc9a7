//! Frames of flows.

use std::ops::Range;

use anyhow::{Result, ensure};
use weir_core::pipeline::Direction;

use super::bed::Bed;
use super::{Args, Mix};
use crate::frames::Random;

const SYN: u8 = 2;
const ACK: u8 = 0x10;

/// A frame of a flow: UDP, or a TCP segment with these flags and numbers. `back`: from the end that was addressed.
fn frame(number: usize, seed: u64, size: usize, tcp: Option<(u8, u32, u32)>, back: bool) -> Vec<u8> {
    let bits = Random((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed << 1 | 1).next();
    let len = size - 4 - 14;
    let (to, from) = if back { (2, 1) } else { (1, 2) };
    let mut bytes = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0, 0x45, 0];
    let total = if tcp.is_some() { 40 } else { len };
    bytes.extend((total as u16).to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, if tcp.is_some() { 6 } else { 17 }, 0, 0]);
    let far = ((number as u32).wrapping_mul(0x9e37_79b1)).to_be_bytes();
    let near = [192, 0, 2, bits as u8];
    let (far_port, near_port) = (((bits >> 8) as u16 | 1024).to_be_bytes(), 53u16.to_be_bytes());
    if back {
        bytes.extend([near, far].concat());
        bytes.extend([near_port, far_port].concat());
    } else {
        bytes.extend([far, near].concat());
        bytes.extend([far_port, near_port].concat());
    }
    match tcp {
        Some((flags, seq, ack)) => {
            bytes.extend(seq.to_be_bytes());
            bytes.extend(ack.to_be_bytes());
            bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        }
        None => {
            bytes.extend(((len - 20) as u16).to_be_bytes());
            bytes.extend([0, 0]);
        }
    }
    bytes.resize(size - 4, 0);
    bytes
}

/// What is sent.
pub struct Traffic {
    seed: u64,
    mix: Mix,
    flows: Range<usize>,
    frames: usize,
    batch: usize,
    size: usize,
    /// Frames of established flows in random order.
    pub order: Vec<&'static [u8]>,
}

impl Traffic {
    /// Of flows with these numbers. What it needs it keeps until the program ends.
    pub fn new(args: &Args, flows: Range<usize>) -> Self {
        Self::of(args, &flows.clone().collect::<Vec<_>>(), flows)
    }

    /// Of some of the flows.
    pub fn of(args: &Args, chosen: &[usize], flows: Range<usize>) -> Self {
        let size = usize::from(args.size);
        let tcp = (args.mix == Mix::Tcp).then_some((ACK, 101, 501));
        let stride = size - 4;
        let mut all = Vec::with_capacity(chosen.len() * stride);
        for number in chosen {
            all.extend(frame(*number, args.seed, size, tcp, false));
        }
        let all: &'static [u8] = all.leak();
        let mut random = Random(args.seed | 1);
        let mut pick = || {
            let at = (random.next() % chosen.len() as u64) as usize * stride;
            &all[at..at + stride]
        };
        let order = (0..args.frames).map(|_| pick()).collect();
        let (seed, mix, frames, batch) = (args.seed, args.mix, args.frames, usize::from(args.batch));
        Self { seed, mix, flows, frames, batch, size, order }
    }

    /// A frame of each of some flows.
    pub fn every(args: &Args, chosen: &[usize]) -> Vec<Vec<u8>> {
        chosen.iter().map(|number| frame(*number, args.seed, usize::from(args.size), None, false)).collect()
    }

    /// The first packets of every flow: frames, and whether they come from the other end.
    pub fn openings(&self) -> Vec<(Vec<Vec<u8>>, bool)> {
        let all = |tcp, back| {
            let frames = self.flows.clone().map(|number| frame(number, self.seed, self.size, tcp, back)).collect();
            (frames, back)
        };
        match self.mix {
            Mix::Tcp => vec![
                all(Some((SYN, 100, 0)), false),
                all(Some((SYN | ACK, 500, 101)), true),
                all(Some((ACK, 101, 501)), false),
            ],
            // The second packet settles the state's timeout.
            _ => vec![all(None, false), all(None, false)],
        }
    }

    /// Makes the states.
    pub fn establish(&self, bed: &mut Bed) -> Result<()> {
        for (frames, back) in self.openings() {
            bed.direction = if back { Direction::Out } else { Direction::In };
            let refs: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            let passed = bed.run(&refs, self.batch, false).passed;
            ensure!(passed == refs.len(), "{passed} of {} first packets pass", refs.len());
        }
        bed.direction = Direction::In;
        Ok(())
    }

    /// The first packets of connections that never go on, other ones in each repetition.
    pub fn syns(&self, repetition: usize) -> Vec<Vec<u8>> {
        let first = self.flows.end + repetition * self.frames;
        let syn = |number| frame(first + number, self.seed, 64, Some((SYN, 1, 0)), false);
        if self.mix == Mix::SynFlood { (0..self.frames).map(syn).collect() } else { vec![] }
    }

    /// What a repetition sends.
    pub fn mixed<'a>(&'a self, syns: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
        if syns.is_empty() {
            return self.order.clone();
        }
        let pairs = self.order.iter().zip(syns).enumerate();
        pairs.map(|(number, (old, syn))| if number % 8 == 0 { *old } else { syn.as_slice() }).collect()
    }
}
