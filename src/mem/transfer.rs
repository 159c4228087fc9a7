//! Buffers of USB transfers: a ring of slots per pipe, each either ours or the device's.
//!
//! The ring's owner fills or reads the buffer of a slot only while it is ours; [`TransferRing::submit`] gives slots
//! away in order, and they come back, in the same order, once [`Completions::complete`] named them. A USB device
//! reaches memory through transfers alone, so that the bytes of a slot that is ours do not change by themselves.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::region::RawRegion;

/// Most slots of a ring, and most transfers that one call starts (`WEIR_USB_SLOTS_MAX`).
pub const SLOTS_MAX: usize = 16;

/// How a transfer ended, or why it could not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferError {
    /// The endpoint is halted.
    Stall,
    /// It was aborted.
    Aborted,
    /// It took too long.
    Timeout,
    /// The device is gone.
    Gone,
    /// Anything else.
    Failed,
}

/// The pipes of a device.
///
/// # Safety
/// `alloc` must give each region at least `len` bytes of initialised memory, aligned to 8, that nobody else in this
/// process touches but a transfer that `submit` started, from then until its completion was reported.
pub unsafe trait Pipes: Send + Sync {
    /// Buffers of `len` bytes for the slots of `pipe`; false without memory.
    fn alloc(&self, pipe: u32, len: u32, out: &mut [RawRegion]) -> bool;
    /// Takes them back. Transfers that still run keep their memory by themselves.
    fn free(&self, pipe: u32);
    /// Starts transfers of `lengths` bytes in the slots from `first` on, wrapping. How many, from the front; if not
    /// all, why.
    fn submit(&self, pipe: u32, first: u32, lengths: &[u32]) -> (usize, Option<TransferError>);
}

/// A finished transfer in one word: done bit, status, bytes.
const DONE: u64 = 1 << 63;
const STATUS_SHIFT: u32 = 32;

fn pack(result: Result<u32, TransferError>) -> u64 {
    let (status, actual) = match result {
        Ok(actual) => (0, actual),
        Err(TransferError::Stall) => (1, 0),
        Err(TransferError::Aborted) => (2, 0),
        Err(TransferError::Timeout) => (3, 0),
        Err(TransferError::Gone) => (4, 0),
        Err(TransferError::Failed) => (5, 0),
    };
    DONE | status << STATUS_SHIFT | u64::from(actual)
}

fn unpack(word: u64) -> Result<u32, TransferError> {
    match (word & !DONE) >> STATUS_SHIFT {
        0 => Ok(word as u32),
        1 => Err(TransferError::Stall),
        2 => Err(TransferError::Aborted),
        3 => Err(TransferError::Timeout),
        4 => Err(TransferError::Gone),
        _ => Err(TransferError::Failed),
    }
}

/// Where completions of one ring arrive, from any thread.
pub struct Completions {
    slots: Box<[AtomicU64]>,
}

impl Completions {
    /// Allocates; called at Start.
    fn new(slots: usize) -> Self {
        Self { slots: (0..slots).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The transfer in `slot` (modulo the ring) ended. False for one that ended already: a glue that is confused must
    /// not hand a slot back twice.
    pub fn complete(&self, slot: usize, result: Result<u32, TransferError>) -> bool {
        let Some(word) = slot.checked_rem(self.slots.len()).and_then(|slot| self.slots.get(slot)) else {
            return false;
        };
        // Release: what the transfer wrote is visible to whoever sees the done bit.
        word.compare_exchange(SUBMITTED, pack(result), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// A slot's word while a transfer runs in it; 0 while it is ours.
const SUBMITTED: u64 = 1;

/// See the module.
pub struct TransferRing {
    pipes: Arc<dyn Pipes>,
    pipe: u32,
    regions: Vec<RawRegion>,
    len: usize,
    completions: Arc<Completions>,
    /// Oldest slot that is the device's.
    head: usize,
    /// Slots that are the device's, from `head` on.
    busy: usize,
}

// SAFETY: the ring owns its slots' memory (contract of `Pipes`) and reaches it through `&mut self` only.
unsafe impl Send for TransferRing {}

impl TransferRing {
    /// A ring of `slots` slots of `len` bytes. `None` without memory, or for sizes that no ring has.
    /// Allocates; called at Start.
    #[must_use]
    pub fn new(pipes: Arc<dyn Pipes>, pipe: u32, slots: usize, len: usize) -> Option<Self> {
        let empty = RawRegion { base: core::ptr::null_mut(), iova: 0, len: 0, handle: 0 };
        let bytes = u32::try_from(len).ok()?;
        if slots == 0 || slots > SLOTS_MAX || len == 0 {
            return None;
        }
        let mut regions = alloc::vec![empty; slots];
        if !pipes.alloc(pipe, bytes, &mut regions) {
            return None;
        }
        let completions = Arc::new(Completions::new(slots));
        let ring = Self { pipes, pipe, regions, len, completions, head: 0, busy: 0 };
        // Dropping a ring that does not fit gives it back.
        let fits = |r: &RawRegion| !r.base.is_null() && r.base.addr() & 7 == 0 && r.len >= len as u64;
        ring.regions.iter().all(fits).then_some(ring)
    }

    /// Where its transfers are to be reported.
    #[must_use]
    pub fn completions(&self) -> Arc<Completions> {
        self.completions.clone()
    }

    /// Slots.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.regions.len()
    }

    /// Bytes of a slot.
    #[must_use]
    pub fn slot_len(&self) -> usize {
        self.len
    }

    /// Slots that are the device's or finished and not yet taken.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Slots that are ours.
    #[must_use]
    pub fn free(&self) -> usize {
        self.slots().saturating_sub(self.busy)
    }

    fn index(&self, offset: usize) -> usize {
        self.head.saturating_add(offset).checked_rem(self.slots()).unwrap_or(0)
    }

    fn word(&self, slot: usize) -> Option<&AtomicU64> {
        self.completions.slots.get(slot)
    }

    /// The buffer of the `ahead`-th slot that is ours, in the order in which they will be submitted.
    #[must_use]
    pub fn buffer_mut(&mut self, ahead: usize) -> Option<&mut [u8]> {
        if ahead >= self.free() {
            return None;
        }
        let region = self.regions.get(self.index(self.busy.saturating_add(ahead)))?;
        // SAFETY: the slot is not submitted, so the memory is the ring's alone (contract of `Pipes`), which is
        // borrowed exclusively; `new` checked base and length.
        Some(unsafe { core::slice::from_raw_parts_mut(region.base, self.len) })
    }

    /// Starts transfers of `lengths` bytes, each at most a slot's, in the next slots that are ours. How many, from
    /// the front; if not all, why.
    pub fn submit(&mut self, lengths: &[u32]) -> (usize, Option<TransferError>) {
        let count = lengths.len().min(self.free());
        let Some(lengths) = lengths.get(..count) else { return (0, Some(TransferError::Failed)) };
        if count == 0 || lengths.iter().any(|len| *len as usize > self.len) {
            return (0, Some(TransferError::Failed));
        }
        let first = self.index(self.busy);
        for ahead in 0..count {
            if let Some(word) = self.word(self.index(self.busy.saturating_add(ahead))) {
                // Before the call: a completion may come at once, on another thread, and finds the word so because
                // starting the transfer orders the two.
                word.store(SUBMITTED, Ordering::Release);
            }
        }
        let (started, error) = self.pipes.submit(self.pipe, first as u32, lengths);
        let started = started.min(count);
        for ahead in started..count {
            if let Some(word) = self.word(self.index(self.busy.saturating_add(ahead))) {
                word.store(0, Ordering::Relaxed);
            }
        }
        self.busy = self.busy.saturating_add(started);
        (started, if started < count { error.or(Some(TransferError::Failed)) } else { None })
    }

    /// True if the oldest transfer ended.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.busy > 0 && self.word(self.head).is_some_and(|word| word.load(Ordering::Acquire) & DONE != 0)
    }

    /// The oldest transfer if it ended: how, and the bytes it transferred. Its slot stays where it is until
    /// [`TransferRing::release`].
    #[must_use]
    pub fn finished(&self) -> Option<Result<&[u8], TransferError>> {
        if self.busy == 0 {
            return None;
        }
        // Acquire: pairs with the release in `complete`.
        let word = self.word(self.head)?.load(Ordering::Acquire);
        if word & DONE == 0 {
            return None;
        }
        let region = self.regions.get(self.head)?;
        Some(unpack(word).map(|actual| {
            let len = (actual as usize).min(self.len);
            // SAFETY: the transfer ended, so the memory is the ring's again, and nobody writes it while it is
            // borrowed; `new` checked base and length.
            unsafe { core::slice::from_raw_parts(region.base.cast_const(), len) }
        }))
    }

    /// The oldest transfer ended and was dealt with: its slot is ours.
    pub fn release(&mut self) {
        if !self.has_finished() {
            return;
        }
        if let Some(word) = self.word(self.head) {
            word.store(0, Ordering::Relaxed);
        }
        self.head = self.index(1);
        self.busy = self.busy.saturating_sub(1);
    }
}

impl Drop for TransferRing {
    fn drop(&mut self) {
        self.pipes.free(self.pipe);
    }
}
