//! The memory that a loopback NIC shares with the process that serves the far end of its cable.
//!
//! The client is not trusted: the core keeps its own copy of the geometry and of its own indices, reads every word
//! of the client's once, and checks it before use. A ring whose indices make no sense is dead until the next attach.
//!
//! Layout, little endian, offsets in bytes:
//!
//! ```text
//! header        0 magic u32 "WEIR"   4 version u32      8 total length u64   16 queues u32   20 slots u32
//!              24 slot size u32     28 offers u32      32 MAC u8[6]          40 MTU u32
//!              64 accepts u32 (client)   68 ready u32 (client)
//! queue q      256 + q * queue length: ring to the client, then ring from the client
//! ring           0 tail u32 (producer)    128 head u32 (consumer)
//!              256 consumer waits u32     384 producer waits u32
//!              512 descriptors, 32 bytes each; behind them, aligned to 64, the slots
//! descriptor     0 length u32   4 flags u32   8 csum start u16   10 csum stuff u16   12 mss u16   14 segs u16
//!               16 timestamp u64, ns, 0 = none   24 reserved u64
//! ```
//!
//! Indices run freely; the slot is `index & (slots - 1)`. Descriptor flags are [`PacketFlags`]; of those only
//! [`FRAME_FLAGS`] mean something.

mod client;
mod core_side;
mod half;
#[cfg(all(not(loom), test))]
mod tests;

pub use client::{OpenError, WireClient, WireInfo};
pub use core_side::WireRing;
pub use half::{Receiver, Sender, WireFault};

use super::packet::{PacketFlags, PartialCsum};

pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"WEIR");
/// Version of the layout.
pub const VERSION: u32 = 1;
pub(crate) const HEADER_LEN: usize = 256;
pub(crate) const CONTROL_LEN: usize = 512;
pub(crate) const DESCRIPTOR_LEN: usize = 32;
const SLOT_ALIGN: usize = 64;
/// What [`Geometry::for_nic`] allows one ring's slots to take, in bytes.
const RING_BYTES: usize = 8 << 20;

pub(crate) mod header {
    pub const MAGIC: usize = 0;
    pub const VERSION: usize = 4;
    pub const TOTAL: usize = 8;
    pub const QUEUES: usize = 16;
    pub const SLOTS: usize = 20;
    pub const SLOT_SIZE: usize = 24;
    pub const OFFERS: usize = 28;
    pub const MAC: usize = 32;
    pub const MTU: usize = 40;
    pub const ACCEPTS: usize = 64;
    pub const READY: usize = 68;
}

/// Flags that a descriptor may carry; others are ignored.
pub const FRAME_FLAGS: PacketFlags = PacketFlags::TX_CSUM_PARTIAL.union(PacketFlags::TX_TSO);

bitflags::bitflags! {
    /// What one side takes as it is, in a descriptor, instead of finished.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct WireFeatures: u32 {
        /// Frames with a partial checksum.
        const CSUM = 1 << 0;
        /// TCP over IPv4 super-frames.
        const TSO4 = 1 << 1;
        /// TCP over IPv6 super-frames.
        const TSO6 = 1 << 2;
    }
}

/// Sizes of a wire memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Queues, 1..=8; each has a ring to the client and one from it.
    pub queues: u32,
    /// Slots of each ring, a power of two.
    pub slots: u32,
    /// Bytes of each slot, a multiple of 64: the longest frame.
    pub slot_size: u32,
}

impl Geometry {
    /// The sizes for a NIC with `queues` queues, rings of `ring_size` and packet buffers of `buf_len` bytes.
    #[must_use]
    pub fn for_nic(queues: u32, ring_size: u32, buf_len: u32) -> Self {
        let slot_size = buf_len.clamp(128, 1 << 17).next_multiple_of(SLOT_ALIGN as u32);
        let most = RING_BYTES.checked_div(slot_size as usize).unwrap_or(1).max(1);
        let most = 1u32 << most.ilog2();
        Self { queues, slots: ring_size.min(most).max(1), slot_size }
    }

    /// True when the numbers are within the layout's limits.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        (1..=8).contains(&self.queues)
            && self.slots.is_power_of_two()
            && self.slots <= 1 << 16
            && self.slot_size.is_multiple_of(SLOT_ALIGN as u32)
            && (128..=1 << 17).contains(&self.slot_size)
    }

    pub(crate) fn slots_offset(&self) -> usize {
        (CONTROL_LEN + self.slots as usize * DESCRIPTOR_LEN).next_multiple_of(SLOT_ALIGN)
    }

    pub(crate) fn ring_len(&self) -> usize {
        self.slots_offset() + self.slots as usize * self.slot_size as usize
    }

    pub(crate) fn ring_offset(&self, queue: u32, from_client: bool) -> usize {
        HEADER_LEN + (queue as usize * 2 + usize::from(from_client)) * self.ring_len()
    }

    /// Bytes of the whole memory.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.ring_offset(self.queues, false)
    }
}

/// What travels with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FrameMeta {
    /// The frame's transport checksum is still to be computed.
    pub csum: Option<PartialCsum>,
    /// TCP payload bytes per segment of a super-frame; 0 = an ordinary frame.
    pub mss: u16,
    /// The super-frame is TCP over IPv6.
    pub v6: bool,
    /// When the frame was taken from the wire, in nanoseconds of the client's clock; 0 = not known.
    pub timestamp_ns: u64,
}

/// One queue of a wire memory, as one side sees it.
pub struct WireQueue<'a> {
    /// Frames to the other side.
    pub send: Sender<'a>,
    /// Frames from the other side.
    pub recv: Receiver<'a>,
}
