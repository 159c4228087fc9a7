//! A [`WireLink`] for the tests of pumps: memory of this process, with the NIC's side of the rings in the test.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Instant;

use weir_core::mem::region::Shared;
use weir_core::mem::wire_ring::{Geometry, WireQueue, WireRing};

use super::{Notify, WireLink};

pub struct FakeLink {
    base: NonNull<u8>,
    layout: Layout,
    pub kicks: AtomicUsize,
    notify: RwLock<Option<Notify>>,
    start: Instant,
    /// Virtual time; 0 = real time since the link was made.
    pub virtual_ns: AtomicU64,
}

// SAFETY: the memory is only reached through `Shared`, whose accesses are atomic.
unsafe impl Send for FakeLink {}
// SAFETY: as above.
unsafe impl Sync for FakeLink {}

impl FakeLink {
    pub fn new(geometry: &Geometry) -> Arc<Self> {
        let layout = Layout::from_size_align(geometry.total_len(), 64).expect("a small size");
        // SAFETY: the size is not 0.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("memory");
        Arc::new(Self {
            base,
            layout,
            kicks: AtomicUsize::new(0),
            notify: RwLock::new(None),
            start: Instant::now(),
            virtual_ns: AtomicU64::new(0),
        })
    }

    /// Attaches the NIC's side. It must be dropped before the link, which tests see to.
    pub fn nic(&self, geometry: &Geometry) -> (WireRing<'static>, Vec<WireQueue<'static>>) {
        // SAFETY: the allocation lives as long as the link, which the test keeps to its end.
        let shared = unsafe { Shared::new(self.base.as_ptr(), self.layout.size()) }.expect("aligned");
        WireRing::attach(shared, geometry, [2, 0, 0, 0, 0, 9], 1500).expect("the memory is large enough")
    }

    pub fn notify(&self) {
        if let Some(notify) = &*self.notify.read().expect("no panic with the lock held") {
            notify();
        }
    }
}

impl Drop for FakeLink {
    fn drop(&mut self) {
        // SAFETY: `alloc_zeroed` gave the memory with this layout.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

// SAFETY: the allocation lives until the link is dropped; the test's side uses `Shared`.
unsafe impl WireLink for FakeLink {
    fn memory(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.base, self.layout.size())
    }

    fn kick(&self) {
        self.kicks.fetch_add(1, Ordering::Relaxed);
    }

    fn set_notify(&self, notify: Option<Notify>) {
        *self.notify.write().expect("no panic with the lock held") = notify;
    }

    fn now_ns(&self) -> u64 {
        match self.virtual_ns.load(Ordering::Relaxed) {
            0 => self.start.elapsed().as_nanos() as u64,
            ns => ns,
        }
    }
}
