//! The NIC's side of a wire memory.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::{Geometry, HEADER_LEN, MAGIC, Receiver, Sender, VERSION, WireFeatures, WireQueue, header};
use crate::mem::region::Shared;

/// An attached wire memory: the part that is not a queue's.
pub struct WireRing<'a> {
    mem: Shared<'a>,
}

impl<'a> WireRing<'a> {
    /// Lays the memory out for a new client and returns its queues. `None` if it is too small or the sizes are out
    /// of range. `mac` and `mtu` are told to the client.
    /// Allocates; called at Start.
    #[must_use]
    pub fn attach(mem: Shared<'a>, geometry: &Geometry, mac: [u8; 6], mtu: u32) -> Option<(Self, Vec<WireQueue<'a>>)> {
        if !geometry.is_valid() || mem.len() < geometry.total_len() {
            return None;
        }
        for at in (0..HEADER_LEN).step_by(8) {
            mem.store_u64(at, 0, Ordering::Relaxed);
        }
        for (at, value) in [
            (header::VERSION, VERSION),
            (header::QUEUES, geometry.queues),
            (header::SLOTS, geometry.slots),
            (header::SLOT_SIZE, geometry.slot_size),
            (header::OFFERS, WireFeatures::all().bits()),
            (header::MTU, mtu),
        ] {
            mem.store_u32(at, value.to_le(), Ordering::Relaxed);
        }
        mem.store_u64(header::TOTAL, (geometry.total_len() as u64).to_le(), Ordering::Relaxed);
        for (i, byte) in mac.iter().enumerate() {
            mem.store_u8(header::MAC + i, *byte, Ordering::Relaxed);
        }
        let mut queues = Vec::with_capacity(geometry.queues as usize);
        for queue in 0..geometry.queues {
            for from_client in [false, true] {
                let control = mem.part(geometry.ring_offset(queue, from_client), super::CONTROL_LEN)?;
                for at in (0..super::CONTROL_LEN).step_by(8) {
                    control.store_u64(at, 0, Ordering::Relaxed);
                }
            }
            let send = Sender::new(mem, geometry, queue, false)?;
            let recv = Receiver::new(mem, geometry, queue, true)?;
            queues.push(WireQueue { send, recv });
        }
        // Release: a client that sees the magic sees all the rest.
        mem.store_u32(header::MAGIC, MAGIC.to_le(), Ordering::Release);
        Some((Self { mem }, queues))
    }

    /// What the client says it takes as it is. Hostile, may change at any time: it only ever decides whether the
    /// core finishes a frame itself.
    #[must_use]
    pub fn client_accepts(&self) -> WireFeatures {
        let bits = self.mem.load_u32(header::ACCEPTS, Ordering::Relaxed).unwrap_or(0);
        WireFeatures::from_bits_truncate(u32::from_le(bits))
    }

    /// True once a client has said that it is there.
    #[must_use]
    pub fn client_ready(&self) -> bool {
        self.mem.load_u32(header::READY, Ordering::Acquire).is_some_and(|ready| ready != 0)
    }

    /// Tells the client that the core is gone.
    pub fn detach(&self) {
        self.mem.store_u32(header::MAGIC, 0, Ordering::Release);
    }
}
