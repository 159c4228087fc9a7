//! Memory that the core shares with a device or with a process it does not trust.
//!
//! [`Region`] is memory that the glue allocated for the core (`weir_dma_ops`) and gets back when it is dropped.
//! [`Shared`] is a bounds-checked window on memory that someone else may write at any moment. Its accesses are
//! relaxed or explicitly ordered atomics, one word at a time: whatever the other side does, what was read is some
//! value that was read once, and the behaviour is defined.

use alloc::sync::Arc;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// `weir_region`: one piece of memory as the glue describes it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RawRegion {
    /// First byte, in this process.
    pub base: *mut u8,
    /// First byte, for a device; 0 where no device looks at it.
    pub iova: u64,
    /// Bytes.
    pub len: u64,
    /// The allocator's.
    pub handle: u64,
}

const _: () = assert!(size_of::<RawRegion>() == 32);

/// Where regions come from.
///
/// # Safety
/// `alloc` must return zeroed memory of at least `len` bytes, aligned to `align`, that nobody else in this process
/// touches until it was given to `free`.
pub unsafe trait Dma: Send + Sync {
    /// `len` zeroed bytes, aligned to `align` (a power of two), contiguous for the device.
    fn alloc(&self, len: u64, align: u64) -> Option<RawRegion>;
    /// Takes a region of `alloc` back.
    fn free(&self, region: &RawRegion);
}

/// Memory of a [`Dma`] allocator, given back when dropped.
pub struct Region {
    raw: RawRegion,
    dma: Arc<dyn Dma>,
}

// SAFETY: the region owns its memory (contract of `Dma`).
unsafe impl Send for Region {}
// SAFETY: a shared region only gives out `Shared` windows, whose accesses are atomic.
unsafe impl Sync for Region {}

impl Region {
    /// Allocates `len` bytes aligned to `align`, a power of two. `None` when there is no memory, or when what came
    /// is null, too short or not aligned.
    #[must_use]
    pub fn alloc(dma: Arc<dyn Dma>, len: usize, align: usize) -> Option<Self> {
        if len == 0 || !align.is_power_of_two() {
            return None;
        }
        let raw = dma.alloc(len as u64, align as u64)?;
        let region = Self { raw, dma };
        let fits = raw.len >= len as u64 && raw.len <= isize::MAX as u64;
        // Dropping a region that does not fit gives it back.
        (!raw.base.is_null() && fits && raw.base.addr() & (align - 1) == 0).then_some(region)
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len as usize
    }

    /// Never true; here because `len` is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.len == 0
    }

    /// Address of the first byte for a device; 0 where no device looks at it.
    #[must_use]
    pub fn iova(&self) -> u64 {
        self.raw.iova
    }

    pub(super) fn base(&self) -> *mut u8 {
        self.raw.base
    }

    /// A window on all of it.
    #[must_use]
    pub fn shared(&self) -> Shared<'_> {
        // SAFETY: the memory is the region's as long as it lives, which the window borrows; `alloc` checked base
        // and length.
        unsafe { Shared::new(self.raw.base, self.len()) }.unwrap_or(Shared::EMPTY)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if !self.raw.base.is_null() {
            self.dma.free(&self.raw);
        }
    }
}

/// Regions from the heap, for NICs without a device behind them.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeapDma;

// SAFETY: `alloc_zeroed` returns zeroed memory of the layout that is asked for, exclusively, or null.
unsafe impl Dma for HeapDma {
    fn alloc(&self, len: u64, align: u64) -> Option<RawRegion> {
        let layout = core::alloc::Layout::from_size_align(usize::try_from(len).ok()?, align as usize).ok()?;
        if layout.size() == 0 {
            return None;
        }
        // SAFETY: the layout's size is not zero.
        let base = NonNull::new(unsafe { alloc::alloc::alloc_zeroed(layout) })?;
        Some(RawRegion { base: base.as_ptr(), iova: 0, len, handle: align })
    }

    fn free(&self, region: &RawRegion) {
        let layout = core::alloc::Layout::from_size_align(region.len as usize, region.handle as usize);
        if let Ok(layout) = layout {
            // SAFETY: `alloc` made the region with this very layout; the handle is its alignment.
            unsafe { alloc::alloc::dealloc(region.base, layout) }
        }
    }
}

/// A window on memory that others may read and write at any time.
///
/// Offsets are in bytes. What lies outside the window, or is not aligned to its size, reads as `None` and is not
/// written (`false`).
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    base: *mut u8,
    len: usize,
    life: core::marker::PhantomData<&'a AtomicU8>,
}

// SAFETY: every access is atomic.
unsafe impl Send for Shared<'_> {}
// SAFETY: every access is atomic.
unsafe impl Sync for Shared<'_> {}

macro_rules! word {
    ($load:ident, $store:ident, $swap:ident, $atomic:ty, $word:ty) => {
        /// Reads one word.
        #[must_use]
        pub fn $load(&self, at: usize, order: Ordering) -> Option<$word> {
            let word = self.word(at, size_of::<$word>())?;
            // SAFETY: `word` checked bounds and alignment; all accesses are atomic.
            Some(unsafe { <$atomic>::from_ptr(word.cast()) }.load(order))
        }

        /// Writes one word.
        pub fn $store(&self, at: usize, value: $word, order: Ordering) -> bool {
            let Some(word) = self.word(at, size_of::<$word>()) else {
                return false;
            };
            // SAFETY: as above.
            unsafe { <$atomic>::from_ptr(word.cast()) }.store(value, order);
            true
        }

        /// Swaps one word.
        #[must_use]
        pub fn $swap(&self, at: usize, value: $word, order: Ordering) -> Option<$word> {
            let word = self.word(at, size_of::<$word>())?;
            // SAFETY: as above.
            Some(unsafe { <$atomic>::from_ptr(word.cast()) }.swap(value, order))
        }
    };
}

impl<'a> Shared<'a> {
    const EMPTY: Self = Self { base: core::ptr::dangling_mut(), len: 0, life: core::marker::PhantomData };

    /// Opens a window. `None` if `base` is null or not aligned to 8 bytes, or `len` passes `isize::MAX`.
    ///
    /// # Safety
    /// `base..base + len` must stay mapped for `'a`, and everybody in this process who writes there at the same
    /// time must do so with atomic accesses (another `Shared`, for instance).
    #[must_use]
    pub unsafe fn new(base: *mut u8, len: usize) -> Option<Self> {
        let fits = !base.is_null() && base.addr() & 7 == 0 && isize::try_from(len).is_ok();
        fits.then_some(Self { base, len, life: core::marker::PhantomData })
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for a window on nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The part `at..at + len`, `at` aligned to 8 bytes.
    #[must_use]
    pub fn part(&self, at: usize, len: usize) -> Option<Shared<'a>> {
        let end = at.checked_add(len)?;
        if end > self.len || at & 7 != 0 {
            return None;
        }
        // SAFETY: `at` is inside the window.
        let base = unsafe { self.base.add(at) };
        Some(Self { base, len, life: self.life })
    }

    /// Where it is; aligned to 8 bytes.
    pub(super) fn base(&self) -> *mut u8 {
        self.base
    }

    fn word(&self, at: usize, size: usize) -> Option<*mut u8> {
        if at.checked_add(size)? > self.len || at & (size - 1) != 0 {
            return None;
        }
        // SAFETY: `at + size` is inside the window; its base is aligned to 8, so the word is to its size.
        Some(unsafe { self.base.add(at) })
    }

    word!(load_u8, store_u8, swap_u8, AtomicU8, u8);
    word!(load_u16, store_u16, swap_u16, AtomicU16, u16);
    word!(load_u32, store_u32, swap_u32, AtomicU32, u32);
    word!(load_u64, store_u64, swap_u64, AtomicU64, u64);

    /// Copies `out.len()` bytes from `at` on, which is aligned to 8; each byte is read once. False if they are not
    /// all inside.
    #[must_use]
    pub fn read_bytes(&self, at: usize, out: &mut [u8]) -> bool {
        let Some(part) = self.part(at, out.len()) else {
            return false;
        };
        let (words, tail) = out.as_chunks_mut::<8>();
        let mut src = part.base;
        for word in words {
            // SAFETY: `part` covers out.len() bytes and starts at a multiple of 8; all accesses are atomic.
            unsafe {
                *word = AtomicU64::from_ptr(src.cast()).load(Ordering::Relaxed).to_ne_bytes();
                src = src.add(8);
            }
        }
        for byte in tail {
            // SAFETY: as above.
            unsafe {
                *byte = AtomicU8::from_ptr(src).load(Ordering::Relaxed);
                src = src.add(1);
            }
        }
        true
    }

    /// Copies `data` to `at`, which is aligned to 8. False, and nothing written, if it is not all inside.
    #[must_use]
    pub fn write_bytes(&self, at: usize, data: &[u8]) -> bool {
        let Some(part) = self.part(at, data.len()) else {
            return false;
        };
        let (words, tail) = data.as_chunks::<8>();
        let mut dst = part.base;
        for word in words {
            // SAFETY: the mirror image of `read_bytes`.
            unsafe {
                AtomicU64::from_ptr(dst.cast()).store(u64::from_ne_bytes(*word), Ordering::Relaxed);
                dst = dst.add(8);
            }
        }
        for byte in tail {
            // SAFETY: as above.
            unsafe {
                AtomicU8::from_ptr(dst).store(*byte, Ordering::Relaxed);
                dst = dst.add(1);
            }
        }
        true
    }
}
