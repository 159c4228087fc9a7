//! Allocator and panic handler of a core without std: the glue's `weir_hook_*`.

use alloc::alloc::{GlobalAlloc, Layout};
use core::fmt::Write;

use super::sys;

struct GlueAllocator;

// SAFETY: the header's contract for weir_hook_alloc and weir_hook_free is that of GlobalAlloc: memory of at least
// `size` bytes aligned to `align`, or null; freed with the same numbers.
unsafe impl GlobalAlloc for GlueAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the glue's function; it takes every size and alignment that a Layout can have.
        unsafe { sys::weir_hook_alloc(layout.size(), layout.align()) }.cast()
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `alloc` with the same layout.
        unsafe { sys::weir_hook_free(ptr.cast(), layout.size(), layout.align()) }
    }
}

#[global_allocator]
static ALLOCATOR: GlueAllocator = GlueAllocator;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut text = heapless::String::<256>::new();
    // What does not fit is cut off: a panic's first words are its place.
    let _ = write!(text, "{info}");
    // SAFETY: `text` is valid for its length.
    unsafe { sys::weir_hook_abort(text.as_ptr().cast(), text.len()) };
    // The hook must not return; if it does, stop here rather than in undefined behaviour.
    loop {
        core::hint::spin_loop();
    }
}
