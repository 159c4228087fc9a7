//! The watcher's end.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{Ordering, fence};

use super::{CONTROL_LEN, MAGIC, RECORD_LEN, RecordHead, TapGeometry, TapVerdict, VERSION, header, ring};
use crate::mem::region::Shared;

/// Why a memory or a ring cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapFault {
    /// It is no tap's memory.
    Magic,
    /// Another version of the layout.
    Version(u32),
    /// Sizes out of range, or more than the memory has.
    Geometry(TapGeometry),
    /// Index or record that cannot be.
    Record,
}

impl fmt::Display for TapFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("the memory holds no capture rings"),
            Self::Version(version) => write!(f, "capture rings of version {version}, expected {VERSION}"),
            Self::Geometry(geometry) => write!(f, "capture rings of impossible sizes: {geometry:?}"),
            Self::Record => f.write_str("a capture ring is wrecked"),
        }
    }
}

impl core::error::Error for TapFault {}

/// An opened memory.
pub struct TapMemory<'a> {
    /// Its rings.
    pub rings: Vec<TapReader<'a>>,
}

impl<'a> TapMemory<'a> {
    /// Opens a memory that a driver laid out. Allocates.
    ///
    /// # Errors
    /// Why not.
    pub fn open(mem: Shared<'a>) -> Result<Self, TapFault> {
        let word = |at: usize| mem.load_u32(at, Ordering::Relaxed).map_or(0, u32::from_le);
        // Acquire: pairs with the release in `format`.
        if mem.load_u32(header::MAGIC, Ordering::Acquire).map(u32::from_le) != Some(MAGIC) {
            return Err(TapFault::Magic);
        }
        if word(header::VERSION) != VERSION {
            return Err(TapFault::Version(word(header::VERSION)));
        }
        let geometry = TapGeometry { rings: word(header::RINGS), ring_bytes: word(header::RING_BYTES) };
        if !geometry.is_valid() || geometry.total_len() > mem.len() {
            return Err(TapFault::Geometry(geometry));
        }
        let rings: Option<Vec<_>> = (0..geometry.rings).map(|ring| TapReader::new(mem, &geometry, ring)).collect();
        Ok(Self { rings: rings.ok_or(TapFault::Geometry(geometry))? })
    }
}

/// The emptying end of one ring.
pub struct TapReader<'a> {
    mem: Shared<'a>,
    data: Shared<'a>,
    size: u32,
    head: u32,
    tail_seen: u32,
    lost: u64,
}

impl<'a> TapReader<'a> {
    fn new(all: Shared<'a>, geometry: &TapGeometry, number: u32) -> Option<Self> {
        let at = geometry.ring_offset(number);
        let mem = all.part(at, CONTROL_LEN)?;
        let data = all.part(at.checked_add(CONTROL_LEN)?, geometry.ring_bytes as usize)?;
        let head = mem.load_u32(ring::HEAD, Ordering::Relaxed).map_or(0, u32::from_le);
        Some(Self { mem, data, size: geometry.ring_bytes, head, tail_seen: head, lost: 0 })
    }

    /// Records that this ring had no room for, as far as is known.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let shown = self.mem.load_u64(ring::LOST, Ordering::Relaxed).map_or(0, u64::from_le);
        shown.max(self.lost)
    }

    /// Puts the next record's bytes into `bytes` (emptied before) and returns the rest, with the number of records
    /// that were lost before it. `None`: nothing waits.
    ///
    /// # Errors
    /// [`TapFault::Record`].
    pub fn next(&mut self, bytes: &mut Vec<u8>) -> Result<Option<(RecordHead, u64)>, TapFault> {
        loop {
            match self.take(bytes)? {
                Some((head, _)) if head.verdict == TapVerdict::Void => {}
                found => return Ok(found),
            }
        }
    }

    fn take(&mut self, bytes: &mut Vec<u8>) -> Result<Option<(RecordHead, u64)>, TapFault> {
        if self.tail_seen == self.head {
            // Acquire: the records are there before the index.
            self.tail_seen = self.mem.load_u32(ring::TAIL, Ordering::Acquire).map_or(0, u32::from_le);
        }
        let waiting = self.tail_seen.wrapping_sub(self.head);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting > self.size || (waiting as usize) < RECORD_LEN || !waiting.is_multiple_of(8) {
            return Err(TapFault::Record);
        }
        let mut words = [0; RECORD_LEN / 8];
        let mut place = self.head;
        for word in &mut words {
            *word = self.data.load_u64(self.place(place), Ordering::Relaxed).map_or(0, u64::from_le);
            place = place.wrapping_add(8);
        }
        let [first, _, lengths, _, lost] = words;
        let (len, captured) = (first as u32, lengths as u32);
        let fits = captured.checked_add(RECORD_LEN as u32).is_some_and(|needed| needed <= len);
        if len > waiting || !len.is_multiple_of(8) || !fits {
            return Err(TapFault::Record);
        }
        let head = RecordHead::read(&words).ok_or(TapFault::Record)?;
        bytes.clear();
        bytes.resize(captured as usize, 0);
        let start = self.place(place);
        let split = (captured as usize).min(self.size as usize - start);
        let (one, two) = bytes.split_at_mut(split);
        if !self.data.read_bytes(start, one) || !self.data.read_bytes(0, two) {
            return Err(TapFault::Record);
        }
        self.lost = lost;
        self.head = self.head.wrapping_add(len);
        // Release: the bytes have been read before the driver may write there again.
        self.mem.store_u32(ring::HEAD, self.head.to_le(), Ordering::Release);
        Ok(Some((head, lost)))
    }

    /// Asks to be woken for the next record, and looks once more: true means that there is one, do not sleep.
    #[must_use]
    pub fn wait(&self) -> bool {
        self.mem.store_u32(ring::WAITS, 1, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `TapWriter::publish`.
        fence(Ordering::SeqCst);
        self.mem.load_u32(ring::TAIL, Ordering::Acquire).map(u32::from_le) != Some(self.head)
    }

    fn place(&self, index: u32) -> usize {
        (index & (self.size - 1)) as usize
    }
}
