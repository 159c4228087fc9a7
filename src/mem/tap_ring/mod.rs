//! The memory in which a process that watches finds frames or events.
//!
//! The driver only writes records and the watcher only reads them; a watcher that is slow, gone or hostile costs it
//! records, which are counted, and never time. As with the wire's memory, neither side trusts the other: the driver
//! keeps its own copy of sizes and of its own index, and the index that it reads is checked before use.
//!
//! Layout, little endian, offsets in bytes:
//!
//! ```text
//! header        0 magic u32 "WTAP"   4 version u32      8 total length u64   16 rings u32   20 bytes of a ring u32
//! ring r      256 + r * (256 + bytes of a ring)
//! ring          0 tail u32 (driver)      8 records lost u64 (driver)
//!              64 head u32 (watcher)   128 watcher waits u32 (watcher)
//!             256 records
//! record        0 length of all of it u32, a multiple of 8     4 kind u8   5 direction u8   6 verdict u8   7 reason u8
//!               8 time u64, ns        16 bytes that follow u32   20 bytes of the frame u32
//!              24 rule u32            28 queue u16   30 flags u16        32 records lost before it u64
//!              40 the bytes
//! ```
//!
//! Indices count bytes and run freely; a byte's place is `index & (bytes of a ring - 1)`, so that a record may go
//! around the end.
#![forbid(unsafe_code)]

mod reader;
#[cfg(all(not(loom), test))]
mod tests;
mod writer;

pub use reader::{TapFault, TapMemory, TapReader};
pub use writer::{TapWriter, format};

pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"WTAP");
/// Version of the layout.
pub const VERSION: u32 = 1;
const HEADER_LEN: usize = 256;
const CONTROL_LEN: usize = 256;
/// Bytes in front of a record's data.
pub const RECORD_LEN: usize = 40;
/// Rings at most: one for each queue, and one more.
pub const RINGS_MAX: u32 = 9;
/// Smallest and largest ring, bytes.
pub const RING_BYTES: core::ops::RangeInclusive<u32> = 1 << 12..=1 << 24;
/// Most bytes of a whole memory.
const TOTAL_MAX: usize = 64 << 20;

mod header {
    pub const MAGIC: usize = 0;
    pub const VERSION: usize = 4;
    pub const TOTAL: usize = 8;
    pub const RINGS: usize = 16;
    pub const RING_BYTES: usize = 20;
}

mod ring {
    pub const TAIL: usize = 0;
    pub const LOST: usize = 8;
    pub const HEAD: usize = 64;
    pub const WAITS: usize = 128;
}

/// Sizes of a tap's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapGeometry {
    /// Rings.
    pub rings: u32,
    /// Bytes of each, a power of two.
    pub ring_bytes: u32,
}

impl TapGeometry {
    /// True when the numbers are within the layout's limits.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        (1..=RINGS_MAX).contains(&self.rings)
            && self.ring_bytes.is_power_of_two()
            && RING_BYTES.contains(&self.ring_bytes)
            && self.total_len() <= TOTAL_MAX
    }

    fn ring_offset(&self, ring: u32) -> usize {
        HEADER_LEN + ring as usize * (CONTROL_LEN + self.ring_bytes as usize)
    }

    /// Bytes of the whole memory.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.ring_offset(self.rings)
    }
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A frame.
    Frame = 1,
    /// `weir_event`.
    Event = 2,
}

/// What became of a frame (`WEIR_TAP_PASS` and its kin).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum TapVerdict {
    /// Went on.
    #[default]
    Pass = 0,
    /// Dropped.
    Block = 1,
    /// A fragment that waits for the others.
    Hold = 2,
    /// The driver made it.
    Made = 3,
    /// Another queue has it; readers pass over the record.
    Void = 4,
}

/// A record without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// What the bytes are.
    pub kind: RecordKind,
    /// 1 in, 2 out, 0 neither.
    pub direction: u8,
    /// What became of the frame.
    pub verdict: TapVerdict,
    /// Why it was dropped; 255 = it was not.
    pub reason: u8,
    /// Nanoseconds of the driver's clock.
    pub time_ns: u64,
    /// Bytes of the frame, of which the record may have fewer.
    pub frame_len: u32,
    /// The rule that decided; `u32::MAX` = none.
    pub rule: u32,
    /// Queue.
    pub queue: u16,
    /// `WEIR_TAP_COPY`.
    pub flags: u16,
}

impl RecordHead {
    /// A record of a kind, with nothing known about it.
    #[must_use]
    pub const fn new(kind: RecordKind, time_ns: u64) -> Self {
        Self {
            kind,
            direction: 0,
            verdict: TapVerdict::Pass,
            reason: u8::MAX,
            time_ns,
            frame_len: 0,
            rule: u32::MAX,
            queue: 0,
            flags: 0,
        }
    }

    fn words(&self, len: u32, captured: u32, lost: u64) -> [u64; RECORD_LEN / 8] {
        [
            u64::from(len) | self.small(),
            self.time_ns,
            u64::from(captured) | u64::from(self.frame_len) << 32,
            self.last(),
            lost,
        ]
    }

    /// The upper half of the first word.
    fn small(&self) -> u64 {
        (self.kind as u64) << 32
            | u64::from(self.direction) << 40
            | (self.verdict as u64) << 48
            | u64::from(self.reason) << 56
    }

    /// The fourth word.
    fn last(&self) -> u64 {
        u64::from(self.rule) | u64::from(self.queue) << 32 | u64::from(self.flags) << 48
    }

    fn read(words: &[u64; RECORD_LEN / 8]) -> Option<Self> {
        let [first, time_ns, lengths, last, _] = *words;
        Some(Self {
            kind: match (first >> 32) as u8 {
                1 => RecordKind::Frame,
                2 => RecordKind::Event,
                _ => return None,
            },
            direction: (first >> 40) as u8,
            verdict: match (first >> 48) as u8 {
                0 => TapVerdict::Pass,
                1 => TapVerdict::Block,
                2 => TapVerdict::Hold,
                3 => TapVerdict::Made,
                4 => TapVerdict::Void,
                _ => return None,
            },
            reason: (first >> 56) as u8,
            time_ns,
            frame_len: (lengths >> 32) as u32,
            rule: last as u32,
            queue: (last >> 32) as u16,
            flags: (last >> 48) as u16,
        })
    }
}
