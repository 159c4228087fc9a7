//! The ring of `IODataQueueDispatchSource`: variable-sized entries in memory that a client process may map.
//!
//! Layout (32-bit little-endian words): ring size in bytes, head, tail, "the writer waits", then the ring. Head and tail
//! run freely modulo 2^32; the ring's size is a power of two. An entry is a length word and its data, padded to 4 bytes;
//! an entry never wraps: a length of 2^32-1 says "go on at the start". All words are treated as hostile: whatever a
//! client writes there, nothing outside the ring is read or written.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex};

use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::sched::lock;

const HEADER: u64 = 16;
const SKIP: u32 = u32::MAX;
/// Largest ring: 256 MiB.
const MAX_BYTES: u64 = 1 << 28;

/// One ring, one writer side and one reader side.
pub struct DataQueue {
    mem: Arc<Mem>,
    base: *mut u8,
    size: u32,
    /// Largest entry. Half of the ring at most, so that it fits an empty ring wherever that begins.
    limit: u32,
    write: Mutex<()>,
    read: Mutex<()>,
}

// SAFETY: `base` points into `mem`, which is never unmapped before self is dropped; each side's accesses are serialised
// by its mutex, the words both sides use are atomic.
unsafe impl Send for DataQueue {}
// SAFETY: as above.
unsafe impl Sync for DataQueue {}

impl DataQueue {
    /// A ring of at least twice `bytes`, rounded up to a power of two.
    ///
    /// # Errors
    /// `BAD_ARGUMENT`: 0, not a multiple of 4 (as XNU's `IODataQueueDispatchSource::Create`), above 256 MiB.
    /// `NO_MEMORY`.
    pub fn new(bytes: u64) -> IoResult<DataQueue> {
        if bytes == 0 || !bytes.is_multiple_of(4) || bytes > MAX_BYTES {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let size = bytes.next_power_of_two().max(64) * 2;
        let mem = Mem::buffer(3, HEADER + size, 0)?;
        let (base, _) = mem.address()?;
        let limit = (size / 2) as u32;
        let q = DataQueue { mem, base, size: size as u32, limit, write: Mutex::new(()), read: Mutex::new(()) };
        q.word(0).store(q.size, Ordering::Relaxed);
        Ok(q)
    }

    fn word(&self, i: usize) -> &AtomicU32 {
        debug_assert!(i < 4);
        // SAFETY: the header is 16 bytes at a page boundary inside `mem`; only accessed as atomics.
        unsafe { AtomicU32::from_ptr(self.base.cast::<u32>().add(i & 3)) }
    }

    fn head(&self) -> &AtomicU32 {
        self.word(1)
    }

    fn tail(&self) -> &AtomicU32 {
        self.word(2)
    }

    fn ring(&self, at: u32) -> *mut u8 {
        // SAFETY: masked to the ring, which has `size` bytes after the header.
        unsafe { self.base.add(HEADER as usize + (at & (self.size - 1)) as usize) }
    }

    /// The entry's length word. Positions are multiples of 4 (they are sums of padded entries, or forced here).
    fn len_at(&self, at: u32) -> &AtomicU32 {
        // SAFETY: 4-byte aligned inside the ring: `at & !3` and a ring that is a multiple of 64 bytes.
        unsafe { AtomicU32::from_ptr(self.ring(at & !3).cast()) }
    }

    /// Ring memory, for `CopyMemory`.
    pub fn memory(&self) -> &Arc<Mem> {
        &self.mem
    }

    fn padded(len: u32) -> Option<u32> {
        len.checked_add(7).map(|l| l & !3)
    }

    /// Where an entry of `len` bytes would go: `(bytes to skip, bytes of the entry)`, if it fits between tail and head.
    fn room(&self, len: u32) -> Option<(u32, u32)> {
        let need = Self::padded(len)?;
        let tail = self.tail().load(Ordering::Relaxed) & !3;
        let used = tail.wrapping_sub(self.head().load(Ordering::Acquire));
        let to_end = self.size - (tail & (self.size - 1));
        let skip = if to_end < need { to_end } else { 0 };
        let total = need.checked_add(skip)?.checked_add(used)?;
        (total <= self.size).then_some((skip, need))
    }

    /// Adds an entry; `fill` writes its `len` bytes. `Ok(true)`: the ring was empty, tell the reader.
    ///
    /// # Errors
    /// `OVERRUN` if it is full (the reader will be asked to tell), `BAD_ARGUMENT` if it can never fit.
    pub fn enqueue(&self, len: u32, fill: impl FnOnce(*mut u8)) -> IoResult<bool> {
        if Self::padded(len).is_none_or(|n| n > self.limit) {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let _writer = lock(&self.write);
        let mut room = self.room(len);
        if room.is_none() {
            self.word(3).store(1, Ordering::SeqCst);
            // The reader may have made room between the look and the flag.
            fence(Ordering::SeqCst);
            room = self.room(len);
        }
        let Some((skip, need)) = room else { return Err(IoReturn::OVERRUN) };
        let tail = self.tail().load(Ordering::Relaxed) & !3;
        if skip > 0 {
            self.len_at(tail).store(SKIP, Ordering::Relaxed);
        }
        let at = tail.wrapping_add(skip);
        self.len_at(at).store(len, Ordering::Relaxed);
        fill(self.ring(at.wrapping_add(4)));
        self.tail().store(at.wrapping_add(need), Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Ok(self.head().load(Ordering::SeqCst) == tail)
    }

    /// The first entry: `(position after it, its data, its length)`.
    fn first(&self) -> IoResult<(u32, *const u8, u32)> {
        let mut head = self.head().load(Ordering::Relaxed) & !3;
        let tail = self.tail().load(Ordering::SeqCst) & !3;
        if head == tail {
            return Err(IoReturn::UNDERRUN);
        }
        if self.len_at(head).load(Ordering::Relaxed) == SKIP {
            head = head.wrapping_add(self.size - (head & (self.size - 1)));
        }
        let len = self.len_at(head).load(Ordering::Relaxed);
        let need = Self::padded(len).filter(|n| *n <= self.size - (head & (self.size - 1)));
        let Some(need) = need else { return Err(IoReturn::ERROR) };
        Ok((head.wrapping_add(need), self.ring(head.wrapping_add(4)), len))
    }

    /// Shows the first entry to `take` and, with `remove`, takes it out. `Ok(true)`: the writer waits for room.
    ///
    /// # Errors
    /// `UNDERRUN` if it is empty, `ERROR` if a client wrote nonsense into the ring.
    pub fn dequeue(&self, remove: bool, take: impl FnOnce(*const u8, u32)) -> IoResult<bool> {
        let _reader = lock(&self.read);
        let (next, data, len) = self.first()?;
        take(data, len);
        if !remove {
            return Ok(false);
        }
        self.head().store(next, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Ok(self.word(3).swap(0, Ordering::SeqCst) != 0)
    }

    /// True if there is an entry.
    pub fn available(&self) -> bool {
        self.head().load(Ordering::SeqCst) != self.tail().load(Ordering::SeqCst)
    }

    /// True if `count` entries of `len` bytes fit now.
    pub fn can_enqueue(&self, len: u32, count: u64) -> bool {
        let Some(need) = Self::padded(len) else { return false };
        let _writer = lock(&self.write);
        let tail = self.tail().load(Ordering::Relaxed) & !3;
        let mut used = u64::from(tail.wrapping_sub(self.head().load(Ordering::Acquire)));
        let mut at = u64::from(tail & (self.size - 1));
        let (need, size) = (u64::from(need), u64::from(self.size));
        for _ in 0..count.min(size) {
            if size - at < need {
                used += size - at;
                at = 0;
            }
            used += need;
            at = (at + need) % size;
            if used > size {
                return false;
            }
        }
        count <= size
    }
}
