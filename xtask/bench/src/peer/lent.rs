//! Packets as the glue lends them: memory of this program, taken back after each burst.

use weir_core::mem::packet::RawPacket;
use weir_core::mem::{Burst, Packet};

/// Bytes of a buffer, and where its frame starts.
const BUFFER: usize = 2048;
const HEADROOM: usize = 64;

/// Buffers for a burst.
pub struct Buffers {
    memory: Vec<[u8; BUFFER]>,
}

impl Buffers {
    /// For `count` packets.
    pub fn new(count: usize) -> Self {
        Self { memory: vec![[0; BUFFER]; count] }
    }

    /// Lends frames in bursts of `batch`. They are not used any more when this is dropped or lends again.
    pub fn lend_all<'a>(&mut self, frames: impl Iterator<Item = &'a [u8]>, batch: usize) -> Vec<Burst> {
        let mut bursts = vec![];
        for ((cookie, buffer), frame) in (1..).zip(&mut self.memory).zip(frames) {
            buffer[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
            let raw = RawPacket {
                cookie,
                base: buffer.as_mut_ptr(),
                iova: 0,
                buf_len: BUFFER as u32,
                data_off: HEADROOM as u32,
                len: frame.len() as u32,
                flags: 0,
                csum_start: 0,
                csum_stuff: 0,
                mss: 0,
                segs: 0,
                status: 0,
                reserved: 0,
            };
            // SAFETY: nobody else touches the buffer: it is lent again only when the burst is not used any more.
            if let Ok(packet) = unsafe { Packet::from_raw(raw) } {
                if bursts.last().is_none_or(|burst: &Burst| burst.len() == batch) {
                    bursts.push(Burst::new());
                }
                if let Some(burst) = bursts.last_mut() {
                    let _ = burst.push(packet);
                }
            }
        }
        bursts
    }
}
