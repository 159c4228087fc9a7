//! Memory for device models in tests: an IOMMU that knows what was given out, and nothing else.

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Mutex;

use crate::mem::region::{Dma, HeapDma, RawRegion};

/// Far from every address of a process.
const FIRST: u64 = 0x7000_0000_0000_0000;

/// See the module.
#[derive(Default)]
pub struct TestDma {
    /// By device address: where it is here, and bytes.
    map: Mutex<BTreeMap<u64, (usize, usize)>>,
    next: AtomicU64,
    /// Accesses outside what was given out.
    pub faults: AtomicUsize,
}

// SAFETY: HeapDma's memory, under another device address.
unsafe impl Dma for TestDma {
    fn alloc(&self, len: u64, align: u64) -> Option<RawRegion> {
        let region = HeapDma.alloc(len, align)?;
        let iova = FIRST + self.next.fetch_add((len + 8192) & !4095, Ordering::Relaxed);
        self.map.lock().unwrap().insert(iova, (region.base.addr(), len as usize));
        Some(RawRegion { iova, ..region })
    }

    fn free(&self, region: &RawRegion) {
        self.map.lock().unwrap().remove(&region.iova);
        HeapDma.free(region);
    }
}

impl TestDma {
    fn at(&self, iova: u64, len: usize) -> Option<*mut u8> {
        let map = self.map.lock().unwrap();
        let found = map.range(..=iova).next_back().and_then(|(base, (at, size))| {
            let offset = usize::try_from(iova - base).ok()?;
            (offset.checked_add(len)? <= *size).then_some(at + offset)
        });
        if found.is_none() {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        found.map(core::ptr::with_exposed_provenance_mut)
    }

    /// The device reads; zeros where nothing is.
    pub fn read(&self, iova: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        if let Some(at) = self.at(iova, len) {
            // SAFETY: inside a region that lives; tests are single-threaded, so nobody writes meanwhile.
            unsafe { core::ptr::copy_nonoverlapping(at, out.as_mut_ptr(), len) };
        }
        out
    }

    /// The device writes; nothing happens where nothing is.
    pub fn write(&self, iova: u64, data: &[u8]) {
        if let Some(at) = self.at(iova, data.len()) {
            // SAFETY: as above.
            unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), at, data.len()) };
        }
    }

    /// A little-endian number.
    pub fn number(&self, iova: u64, len: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&self.read(iova, len));
        u64::from_le_bytes(bytes)
    }
}
