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

    /// Lends frames, at most as many as there are buffers; whoever gets them has them until it drops the burst.
    pub fn lend<'a>(&'a mut self, frames: impl Iterator<Item = &'a [u8]>) -> Lent<'a> {
        let mut burst = Burst::new();
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
            // SAFETY: the buffer is borrowed for as long as the burst lives, and nobody else touches it.
            if let Ok(packet) = unsafe { Packet::from_raw(raw) } {
                let _ = burst.push(packet);
            }
        }
        Lent { burst, _buffers: std::marker::PhantomData }
    }
}

/// A burst whose buffers are borrowed.
pub struct Lent<'a> {
    /// The packets.
    pub burst: Burst,
    _buffers: std::marker::PhantomData<&'a mut ()>,
}
