//! Huge pages for whatever is large, ours and the peers' alike: a random access to a table of gigabytes should cost a
//! cache miss, not the walk to its page as well.

use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes of a huge page of x86-64 and of most arm64 kernels.
const HUGE: usize = 2 << 20;

/// The system's allocator, which asks for huge pages (madvise(2), `MADV_HUGEPAGE`) where an allocation is large enough.
pub struct Advised;

/// Asks for huge pages; a kernel without them goes on with small ones.
#[cfg(target_os = "linux")]
pub fn advise(at: *mut u8, len: usize) {
    if let Some(at) = std::ptr::NonNull::new(at.cast()) {
        // SAFETY: the advice changes no contents; an address that is not mapped is refused.
        let _ = unsafe { nix::sys::mman::madvise(at, len, nix::sys::mman::MmapAdvise::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
pub fn advise(_: *mut u8, _: usize) {}

fn aligned(layout: Layout) -> Layout {
    if layout.size() < HUGE { layout } else { layout.align_to(HUGE).unwrap_or(layout) }
}

// SAFETY: all is done by the system's allocator, with a layout that is a function of the caller's and no less aligned.
unsafe impl GlobalAlloc for Advised {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let memory = unsafe { System.alloc(aligned(layout)) };
        if layout.size() >= HUGE {
            advise(memory, layout.size() / HUGE * HUGE);
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `alloc` asked for the same layout.
        unsafe { System.dealloc(memory, aligned(layout)) }
    }
}
