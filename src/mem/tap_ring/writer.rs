//! The driver's end.

use core::sync::atomic::{Ordering, fence};

use super::{CONTROL_LEN, MAGIC, RECORD_LEN, RecordHead, TapGeometry, VERSION, header, ring};
use crate::mem::region::Shared;

/// Lays the memory out, zeroed before; false if it is too small or the sizes are impossible.
#[must_use]
pub fn format(mem: Shared<'_>, geometry: &TapGeometry) -> bool {
    if !geometry.is_valid() || geometry.total_len() > mem.len() {
        return false;
    }
    mem.store_u32(header::VERSION, VERSION.to_le(), Ordering::Relaxed);
    mem.store_u64(header::TOTAL, (geometry.total_len() as u64).to_le(), Ordering::Relaxed);
    mem.store_u32(header::RINGS, geometry.rings.to_le(), Ordering::Relaxed);
    mem.store_u32(header::RING_BYTES, geometry.ring_bytes.to_le(), Ordering::Relaxed);
    // Release: whoever sees the magic sees the sizes.
    mem.store_u32(header::MAGIC, MAGIC.to_le(), Ordering::Release)
}

/// The filling end of one ring.
pub struct TapWriter<'a> {
    mem: Shared<'a>,
    data: Shared<'a>,
    size: u32,
    /// What the watcher has been shown ends here.
    tail: u32,
    /// What was written ends here.
    next: u32,
    head_seen: u32,
    lost: u64,
    lost_shown: u64,
    lost_told: u64,
    dead: bool,
}

impl<'a> TapWriter<'a> {
    /// The end of a ring that [`format()`] laid out.
    #[must_use]
    pub fn new(all: Shared<'a>, geometry: &TapGeometry, number: u32) -> Option<Self> {
        let at = geometry.ring_offset(number);
        Some(Self {
            mem: all.part(at, CONTROL_LEN)?,
            data: all.part(at.checked_add(CONTROL_LEN)?, geometry.ring_bytes as usize)?,
            size: geometry.ring_bytes,
            tail: 0,
            next: 0,
            head_seen: 0,
            lost: 0,
            lost_shown: 0,
            lost_told: 0,
            dead: false,
        })
    }

    /// Records that found no room.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Records that found no room since this was last asked.
    #[must_use]
    pub fn take_lost(&mut self) -> u64 {
        let lost = self.lost.wrapping_sub(self.lost_told);
        self.lost_told = self.lost;
        lost
    }

    /// True after the watcher wrote an index that cannot be.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        self.dead
    }

    /// Bytes that are free, by the watcher's index.
    fn space(&mut self) -> u32 {
        // Acquire: what the watcher read before it moved its index has been read.
        let head = u32::from_le(self.mem.load_u32(ring::HEAD, Ordering::Acquire).unwrap_or(0));
        // It moves from what was seen towards what was shown, never back, never past it.
        if head.wrapping_sub(self.head_seen) > self.tail.wrapping_sub(self.head_seen) {
            self.dead = true;
        }
        if self.dead {
            return 0;
        }
        self.head_seen = head;
        self.size.wrapping_sub(self.next.wrapping_sub(head))
    }

    fn place(&self, index: u32) -> usize {
        (index & (self.size - 1)) as usize
    }

    /// Writes a record that nobody sees before [`TapWriter::publish`]; where it stands. `None`: no room, and counted.
    #[must_use]
    pub fn write(&mut self, head: &RecordHead, bytes: &[u8]) -> Option<u32> {
        let captured = u32::try_from(bytes.len()).ok().filter(|captured| *captured < self.size);
        let len = captured.map(|captured| (captured + RECORD_LEN as u32).next_multiple_of(8));
        let used = self.next.wrapping_sub(self.head_seen);
        let fits = |len: u32, free: u32| len <= free;
        let room =
            !self.dead && len.is_some_and(|len| fits(len, self.size.wrapping_sub(used)) || fits(len, self.space()));
        let (Some(len), Some(captured), true) = (len, captured, room) else {
            self.lost = self.lost.saturating_add(1);
            return None;
        };
        let at = self.next;
        let mut place = at;
        for word in head.words(len, captured, self.lost) {
            self.data.store_u64(self.place(place), word.to_le(), Ordering::Relaxed);
            place = place.wrapping_add(8);
        }
        let start = self.place(place);
        let (first, rest) = bytes.split_at_checked(self.size as usize - start).unwrap_or((bytes, &[]));
        // Both are inside: the record fits the ring.
        let _ = self.data.write_bytes(start, first) && self.data.write_bytes(0, rest);
        self.next = at.wrapping_add(len);
        Some(at)
    }

    /// Says what became of the frame of a record that is not shown yet.
    pub fn amend(&mut self, at: u32, head: &RecordHead) {
        let small = (head.small() >> 32) as u32;
        self.data.store_u32(self.place(at.wrapping_add(4)), small.to_le(), Ordering::Relaxed);
        self.data.store_u64(self.place(at.wrapping_add(24)), head.last().to_le(), Ordering::Relaxed);
    }

    /// Shows what was written. True: the watcher sleeps and is to be woken.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        if self.lost != self.lost_shown {
            self.lost_shown = self.lost;
            self.mem.store_u64(ring::LOST, self.lost.to_le(), Ordering::Relaxed);
        }
        if self.tail == self.next {
            return false;
        }
        self.tail = self.next;
        // Release: the records are there before the index.
        self.mem.store_u32(ring::TAIL, self.tail.to_le(), Ordering::Release);
        // SeqCst: the index published before comes before the load; pairs with the fence in `TapReader::wait`.
        fence(Ordering::SeqCst);
        let waits = self.mem.load_u32(ring::WAITS, Ordering::Relaxed).is_some_and(|waits| waits != 0);
        waits && self.mem.swap_u32(ring::WAITS, 0, Ordering::Relaxed).is_some_and(|waits| waits != 0)
    }
}
