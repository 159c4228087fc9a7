//! A bounded single-producer single-consumer ring that moves items in bursts.
//!
//! Indices run freely and wrap at the width of `usize`; the slot is `index & mask`, so the capacity is a power of
//! two and all of it is usable. Each side keeps the other's index as it last saw it and reads the shared one only
//! when that says full or empty (Lamport 1983; the cached indices are from FastForward and DPDK's `rte_ring`).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

#[cfg(not(all(loom, test)))]
use super::prefetch;
use super::primitive::{Arc, AtomicUsize, CachePadded, Ordering, UnsafeCell};

/// Most slots a ring may have.
pub const CAPACITY_MAX: usize = 1 << 20;

struct Shared<T> {
    /// Next slot to take. Written by the consumer only.
    head: CachePadded<AtomicUsize>,
    /// Next slot to fill. Written by the producer only.
    tail: CachePadded<AtomicUsize>,
    mask: usize,
    /// Slots in `head..tail` are initialised and belong to the consumer, all others to the producer.
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a slot is touched by one side at a time, handed over by release stores of `tail` and `head`; the two
// handles are unique because neither is Clone.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

/// A producer takes over cache lines so many bytes ahead of what it writes, at least: what is on its way from one core to
/// the other while it writes the rest.
#[cfg(not(all(loom, test)))]
const AHEAD: usize = 256;

impl<T> Shared<T> {
    /// Takes over the cache lines of a burst that may follow the one behind `index`, so that stores do not wait for the
    /// consumer's cache to give each of them back.
    #[cfg(not(all(loom, test)))]
    #[inline(always)]
    fn fetch_behind(&self, index: usize, count: usize) {
        let ahead = count.max(AHEAD / size_of::<T>().max(1));
        // In a ring that is not much longer it would be the consumer that waits.
        if 4 * ahead <= self.slots.len() {
            let at = index.wrapping_add(ahead) & self.mask;
            prefetch::for_write(self.slots.as_ptr().wrapping_add(at), count.min(self.slots.len() - at));
        }
    }

    /// Copies `count` items from `src` into the slots from `index` on.
    ///
    /// # Safety
    /// The slots belong to the caller, `count <= mask + 1`, `src` is valid for `count` reads and the items are not
    /// used by the caller afterwards.
    unsafe fn write(&self, index: usize, src: *const T, count: usize) {
        #[cfg(not(all(loom, test)))]
        {
            let at = index & self.mask;
            let first = count.min(self.slots.len() - at);
            let slots = self.slots.as_ptr().cast::<T>().cast_mut();
            self.fetch_behind(index.wrapping_add(count), count);
            // SAFETY: `UnsafeCell<MaybeUninit<T>>` is transparent over T; `at + first` and `count - first` stay
            // within the slots; the caller owns them and `src`'s items.
            unsafe {
                core::ptr::copy_nonoverlapping(src, slots.add(at), first);
                core::ptr::copy_nonoverlapping(src.add(first), slots, count - first);
            }
        }
        #[cfg(all(loom, test))]
        for i in 0..count {
            // SAFETY: as above, one slot at a time so that loom sees each access.
            unsafe {
                let item = core::ptr::read(src.add(i));
                self.slots[(index + i) & self.mask].with_mut(|slot| (*slot).write(item));
            }
        }
    }

    /// Moves `count` items from the slots from `index` on to `dst`.
    ///
    /// # Safety
    /// The slots are initialised and belong to the caller, who does not read them again; `dst` is valid for `count`
    /// writes and `count <= mask + 1`.
    unsafe fn read(&self, index: usize, dst: *mut T, count: usize) {
        #[cfg(not(all(loom, test)))]
        {
            let at = index & self.mask;
            let first = count.min(self.slots.len() - at);
            let slots = self.slots.as_ptr().cast::<T>();
            // SAFETY: the mirror image of `write`.
            unsafe {
                core::ptr::copy_nonoverlapping(slots.add(at), dst, first);
                core::ptr::copy_nonoverlapping(slots, dst.add(first), count - first);
            }
        }
        #[cfg(all(loom, test))]
        for i in 0..count {
            // SAFETY: as above, one slot at a time so that loom sees each access.
            unsafe {
                let item = self.slots[(index + i) & self.mask].with_mut(|slot| (*slot).assume_init_read());
                core::ptr::write(dst.add(i), item);
            }
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Relaxed: the last handle's release of the reference count happened before.
        let mut head = self.head.0.load(Ordering::Relaxed);
        let tail = self.tail.0.load(Ordering::Relaxed);
        while head != tail {
            let mut item = MaybeUninit::<T>::uninit();
            // SAFETY: slots in head..tail are initialised and nobody else is left.
            unsafe {
                self.read(head, item.as_mut_ptr(), 1);
                item.assume_init_drop();
            }
            head = head.wrapping_add(1);
        }
    }
}

/// The filling end.
pub struct Producer<T> {
    ring: Arc<Shared<T>>,
    tail: usize,
    head_seen: usize,
}

/// The emptying end.
pub struct Consumer<T> {
    ring: Arc<Shared<T>>,
    head: usize,
    tail_seen: usize,
}

/// Makes a ring of `capacity` slots.
///
/// Returns `None` unless `capacity` is a power of two of at most [`CAPACITY_MAX`].
/// Allocates; called at Start.
#[must_use]
pub fn channel<T: Send>(capacity: usize) -> Option<(Producer<T>, Consumer<T>)> {
    if !capacity.is_power_of_two() || capacity > CAPACITY_MAX {
        return None;
    }
    let slots = (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let ring = Arc::new(Shared {
        head: CachePadded(AtomicUsize::new(0)),
        tail: CachePadded(AtomicUsize::new(0)),
        mask: capacity - 1,
        slots,
    });
    let producer = Producer { ring: ring.clone(), tail: 0, head_seen: 0 };
    Some((producer, Consumer { ring, head: 0, tail_seen: 0 }))
}

impl<T> Producer<T> {
    /// Slots of the ring.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.mask + 1
    }

    /// Free slots now; the consumer can only make it more.
    pub fn space(&mut self) -> usize {
        // Acquire: pairs with the consumer's release, so that its reads of the slots are over before they are
        // filled again.
        self.head_seen = self.ring.head.0.load(Ordering::Acquire);
        self.capacity() - self.tail.wrapping_sub(self.head_seen)
    }

    fn space_for(&mut self, wanted: usize) -> usize {
        let seen = self.capacity() - self.tail.wrapping_sub(self.head_seen);
        if seen >= wanted { wanted } else { self.space().min(wanted) }
    }

    /// Items that the consumer has not taken yet.
    pub fn len(&mut self) -> usize {
        self.capacity() - self.space()
    }

    /// True when the consumer has taken everything.
    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    fn publish(&mut self, count: usize) {
        self.tail = self.tail.wrapping_add(count);
        // Release: the slots' contents are written before the consumer can see the new tail.
        self.ring.tail.0.store(self.tail, Ordering::Release);
    }

    /// Adds one item.
    ///
    /// # Errors
    /// The item, when the ring is full.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.space_for(1) == 0 {
            return Err(item);
        }
        let item = MaybeUninit::new(item);
        // SAFETY: slot `tail` is free, so it is the producer's; the item moves in.
        unsafe { self.ring.write(self.tail, item.as_ptr(), 1) };
        self.publish(1);
        Ok(())
    }

    /// Moves items from the front of `items` into the ring and returns how many; the rest stays, in order.
    pub fn push_burst<const N: usize>(&mut self, items: &mut heapless::Vec<T, N>) -> usize {
        let len = items.len();
        let count = self.space_for(len);
        if count == 0 {
            return 0;
        }
        // SAFETY: `count` slots from `tail` on are free; the first `count` items move in and are then cut off
        // `items` without being dropped: its length goes to zero before the rest is moved to the front.
        unsafe {
            self.ring.write(self.tail, items.as_ptr(), count);
            items.set_len(0);
            if count < len {
                let base = items.as_mut_ptr();
                core::ptr::copy(base.add(count), base, len - count);
                items.set_len(len - count);
            }
        }
        self.publish(count);
        count
    }
}

impl<T: Copy> Producer<T> {
    /// Copies items from the front of `items` into the ring and returns how many.
    pub fn push_slice(&mut self, items: &[T]) -> usize {
        let count = self.space_for(items.len());
        if count > 0 {
            // SAFETY: `count` slots from `tail` on are free and `items` has that many; T is Copy.
            unsafe { self.ring.write(self.tail, items.as_ptr(), count) };
            self.publish(count);
        }
        count
    }
}

impl<T: Copy> Consumer<T> {
    /// Copies items to the front of `out`, as many as it has room for; returns how many.
    pub fn pop_slice(&mut self, out: &mut [T]) -> usize {
        let count = self.available(out.len());
        if count > 0 {
            // SAFETY: `count` slots from `head` on are initialised and the consumer's, and `out` has room for them.
            unsafe { self.ring.read(self.head, out.as_mut_ptr(), count) };
            self.release(count);
        }
        count
    }
}

impl<T> Consumer<T> {
    /// Slots of the ring.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.mask + 1
    }

    /// Items that can be taken now; the producer can only make it more.
    pub fn len(&mut self) -> usize {
        // Acquire: pairs with the producer's release, so that the slots' contents are there.
        self.tail_seen = self.ring.tail.0.load(Ordering::Acquire);
        self.tail_seen.wrapping_sub(self.head)
    }

    /// True when there is nothing to take.
    pub fn is_empty(&mut self) -> bool {
        self.tail_seen == self.head && self.len() == 0
    }

    fn available(&mut self, wanted: usize) -> usize {
        let seen = self.tail_seen.wrapping_sub(self.head);
        if seen >= wanted { wanted } else { self.len().min(wanted) }
    }

    fn release(&mut self, count: usize) {
        self.head = self.head.wrapping_add(count);
        // Release: the reads of the slots are over before the producer can see them free.
        self.ring.head.0.store(self.head, Ordering::Release);
    }

    /// Takes one item.
    pub fn pop(&mut self) -> Option<T> {
        if self.available(1) == 0 {
            return None;
        }
        let mut item = MaybeUninit::uninit();
        // SAFETY: slot `head` is initialised and the consumer's until `release`.
        let item = unsafe {
            self.ring.read(self.head, item.as_mut_ptr(), 1);
            item.assume_init()
        };
        self.release(1);
        Some(item)
    }

    /// Moves items to the front of `out`, as many as it has places; returns how many, which are initialised then.
    pub fn pop_places(&mut self, out: &mut [MaybeUninit<T>]) -> usize {
        let count = self.available(out.len());
        if count > 0 {
            // SAFETY: `count` slots from `head` on are initialised and the consumer's, and `out` has places for them.
            unsafe { self.ring.read(self.head, out.as_mut_ptr().cast(), count) };
            self.release(count);
        }
        count
    }

    /// Moves items to the end of `out`, as many as its capacity has room for; returns how many.
    pub fn pop_behind(&mut self, out: &mut Vec<T>) -> usize {
        let count = self.pop_places(out.spare_capacity_mut());
        // SAFETY: the first `count` places behind those that were in use were just filled.
        unsafe { out.set_len(out.len() + count) };
        count
    }

    /// Moves up to `max` items to the end of `out`, as many as it has room for; returns how many.
    pub fn pop_burst<const N: usize>(&mut self, out: &mut heapless::Vec<T, N>, max: usize) -> usize {
        let len = out.len();
        let count = self.available(max.min(N - len));
        if count > 0 {
            // SAFETY: `count` slots from `head` on are initialised and the consumer's; `out` has room for them
            // behind its length, which then covers them.
            unsafe {
                self.ring.read(self.head, out.as_mut_ptr().add(len), count);
                out.set_len(len + count);
            }
            self.release(count);
        }
        count
    }
}
