//! Atomics, cells and reference counts, from `core` or, in a model check, from loom.
//!
//! Everything in `mem` that synchronises goes through this module, so that what loom explores is the code that runs.

#[cfg(not(all(loom, test)))]
mod imp {
    pub use alloc::sync::Arc;
    pub use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};

    /// `core::cell::UnsafeCell` with loom's interface.
    #[repr(transparent)]
    pub struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        /// The address of the value; what may be done with it is the caller's matter.
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// Lets another thread run while this one waits for it.
    pub fn relax(spins: u32) {
        #[cfg(feature = "std")]
        if spins > 64 {
            std::thread::yield_now();
            return;
        }
        let _ = spins;
        core::hint::spin_loop();
    }
}

#[cfg(all(loom, test))]
mod imp {
    pub use loom::cell::UnsafeCell;
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};

    pub fn relax(_spins: u32) {
        loom::thread::yield_now();
    }
}

pub use imp::*;

/// Keeps what two processors write apart: 128 bytes is Apple silicon's cache line and the pair of lines that x86
/// prefetches together.
#[repr(align(128))]
pub struct CachePadded<T>(pub T);
