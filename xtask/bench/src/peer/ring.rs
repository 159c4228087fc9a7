//! DPDK's rte_ring, one producer and one consumer, through `ring.c`.

use std::ffi::c_void;

use anyhow::{Result, bail};

unsafe extern "C" {
    fn weir_bench_ring(count: u32) -> *mut c_void;
    fn weir_bench_ring_push(ring: *mut c_void, items: *const u64, count: u32) -> u32;
    fn weir_bench_ring_pop(ring: *mut c_void, items: *mut u64, count: u32) -> u32;
    fn rte_ring_free(ring: *mut c_void);
}

/// A ring of numbers, for one producer and one consumer at a time.
pub struct Ring(*mut c_void);

// SAFETY: the library's ring may be used by one producer and one consumer on different threads.
unsafe impl Send for Ring {}
// SAFETY: as above; who calls `push` and `pop` keeps to one thread each.
unsafe impl Sync for Ring {}

impl Ring {
    /// A ring of `count` slots, a power of two. DPDK's environment has started.
    ///
    /// # Errors
    /// The library refuses.
    pub fn new(count: u32) -> Result<Self> {
        // SAFETY: no argument is a pointer.
        let ring = unsafe { weir_bench_ring(count) };
        if ring.is_null() {
            bail!("rte_ring_create failed");
        }
        Ok(Self(ring))
    }

    /// Adds items; how many.
    pub fn push(&self, items: &[u64]) -> usize {
        // SAFETY: an item is as wide as a pointer and is copied.
        unsafe { weir_bench_ring_push(self.0, items.as_ptr(), items.len() as u32) as usize }
    }

    /// Takes items; how many.
    pub fn pop(&self, items: &mut [u64]) -> usize {
        // SAFETY: there is room for as many items.
        unsafe { weir_bench_ring_pop(self.0, items.as_mut_ptr(), items.len() as u32) as usize }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the ring is ours and used by nobody else.
        unsafe { rte_ring_free(self.0) };
    }
}
