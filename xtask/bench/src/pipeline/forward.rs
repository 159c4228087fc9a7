//! What one core of DPDK does with the same frames: a burst out of a ring, headers read, rte_acl, MAC addresses exchanged,
//! a burst into another ring (as its examples l3fwd-acl and testpmd's macswap do). It keeps no state.

use anyhow::{Result, ensure};
use weir_core::filter::classify::{self, Rule};

use super::frames::Traffic;
use super::{Args, CHUNK};
use crate::measure::{self, Times};
use crate::peer::acl::{Acl, Header};
use crate::peer::eal;
use crate::peer::ring::Ring;
use crate::rules;

/// Bytes of a buffer, as in [`crate::peer::lent`].
const BUFFER: usize = 2048;

/// Its rules and rings.
struct Forward {
    acl: Acl,
    from: Ring,
    to: Ring,
}

impl Forward {
    /// A burst; how many frames a rule matched.
    fn burst(&self, memory: &mut [[u8; BUFFER]], batch: usize) -> usize {
        let mut items = [0u64; 64];
        let mut headers = [Header::default(); 64];
        let mut pointers = [std::ptr::null(); 64];
        let mut results = [0u32; 64];
        let count = self.from.pop(&mut items[..batch]);
        for ((item, header), pointer) in items.iter().zip(&mut headers).zip(&mut pointers).take(count) {
            let frame = &memory[*item as usize];
            // As l3fwd-acl does: the type, then the fields where they are without options.
            if frame[12..14] == [8, 0] {
                let be32 = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
                let be16 = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
                let (src, dst, ports) = ([be32(26)], [be32(30)], [be16(34), be16(36)]);
                *header = Header::new(&classify::Key { src, dst, ports, class: frame[23].into() });
            }
            *pointer = std::ptr::from_ref(header).cast();
        }
        self.acl.classify(&pointers[..count], &mut results);
        let mut left = 0;
        for at in 0..count {
            if results[at] != 0 {
                let frame = &mut memory[items[at] as usize];
                let (dst, src) = frame.split_at_mut(6);
                dst.swap_with_slice(&mut src[..6]);
                items[left] = items[at];
                left += 1;
            }
        }
        self.to.push(&items[..left])
    }
}

/// Nanoseconds per frame.
pub fn measure(args: &Args, traffic: &Traffic) -> Result<Times> {
    eal::start(args.core)?;
    let mut rules = match &args.rules {
        Some(path) => rules::load::<1>(path)?,
        None => vec![],
    };
    let last = Rule {
        src: [0],
        src_mask: [0],
        dst: [0],
        dst_mask: [0],
        low: [0; 2],
        high: [u16::MAX; 2],
        class: 0,
        class_mask: 0,
        priority: rules.len() as u32,
    };
    rules.push(last);
    let forward = Forward {
        acl: Acl::build(&rules, args.core)?,
        from: Ring::new(2 * CHUNK as u32)?,
        to: Ring::new(2 * CHUNK as u32)?,
    };
    let batch = usize::from(args.batch);
    let mut memory = vec![[0; BUFFER]; CHUNK];
    let mut times = vec![];
    let clock = measure::clock_time();
    for repetition in 0..measure::REPETITIONS + 2 {
        let mut spent = std::time::Duration::ZERO;
        for frames in traffic.order.chunks(CHUNK) {
            for (buffer, frame) in memory.iter_mut().zip(frames) {
                buffer[..frame.len()].copy_from_slice(frame);
            }
            let numbers: Vec<u64> = (0..frames.len() as u64).collect();
            ensure!(forward.from.push(&numbers) == frames.len(), "the ring is full");
            let started = measure::cpu_time();
            let passed: usize = (0..frames.len().div_ceil(batch)).map(|_| forward.burst(&mut memory, batch)).sum();
            spent += (measure::cpu_time() - started).saturating_sub(clock);
            ensure!(passed == frames.len(), "{passed} of {} frames pass DPDK's loop", frames.len());
            let mut out = vec![0; frames.len()];
            ensure!(forward.to.pop(&mut out) == frames.len(), "frames are lost in the ring");
        }
        if repetition >= 2 {
            times.push(spent.as_nanos() as f64 / traffic.order.len() as f64);
        }
    }
    Ok(Times::new(times))
}
