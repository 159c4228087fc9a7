//! Rings of descriptors: rows of one size whose number is a power of two.

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::region::{Region, Shared};

/// A window on rows of `SIZE` bytes, aligned to `ALIGN`, in memory that someone else may write at any moment. An index is
/// taken modulo the number of rows, so that no access can leave the window and none needs a check.
#[derive(Clone, Copy)]
pub struct Rows<'a, const SIZE: usize, const ALIGN: usize> {
    base: *mut u8,
    mask: usize,
    life: PhantomData<Shared<'a>>,
}

/// One row of them.
#[derive(Clone, Copy)]
pub struct Entry<'a, const SIZE: usize, const ALIGN: usize> {
    base: *mut u8,
    life: PhantomData<Shared<'a>>,
}

macro_rules! word {
    ($load:ident, $store:ident, $atomic:ty, $word:ty) => {
        /// Reads the word at byte `AT`.
        #[must_use]
        #[inline(always)]
        pub fn $load<const AT: usize>(&self, order: Ordering) -> $word {
            // SAFETY: `word` says that it is inside the row and aligned; all accesses are atomic.
            unsafe { <$atomic>::from_ptr(self.word::<$word, AT>()) }.load(order)
        }

        /// Writes the word at byte `AT`.
        #[inline(always)]
        pub fn $store<const AT: usize>(&self, value: $word, order: Ordering) {
            // SAFETY: as above.
            unsafe { <$atomic>::from_ptr(self.word::<$word, AT>()) }.store(value, order);
        }
    };
}

impl<const SIZE: usize, const ALIGN: usize> Entry<'_, SIZE, ALIGN> {
    /// Where a word of the row is: inside it, and aligned to its size.
    #[inline(always)]
    fn word<W, const AT: usize>(&self) -> *mut W {
        const {
            assert!(size_of::<W>() <= ALIGN && AT.is_multiple_of(size_of::<W>()) && AT + size_of::<W>() <= SIZE);
        }
        // SAFETY: the word is inside the row, which is inside a window.
        unsafe { self.base.add(AT) }.cast()
    }

    word!(load_u16, store_u16, AtomicU16, u16);
    word!(load_u32, store_u32, AtomicU32, u32);
    word!(load_u64, store_u64, AtomicU64, u64);
}

impl<'a, const SIZE: usize, const ALIGN: usize> Rows<'a, SIZE, ALIGN> {
    /// `count` rows of `shared` from `at` on. `None` if `count` is no power of two, `at` is not aligned, or they are not all
    /// inside.
    #[must_use]
    pub fn new(shared: &Shared<'a>, at: usize, count: usize) -> Option<Self> {
        const {
            assert!(ALIGN.is_power_of_two() && ALIGN <= 8 && SIZE.is_multiple_of(ALIGN));
        }
        let end = SIZE.checked_mul(count)?.checked_add(at)?;
        if !count.is_power_of_two() || at & (ALIGN - 1) != 0 || end > shared.len() {
            return None;
        }
        // SAFETY: `at` is inside the window.
        let base = unsafe { shared.base().add(at) };
        Some(Self { base, mask: count - 1, life: PhantomData })
    }

    /// How many.
    #[must_use]
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.mask + 1
    }

    /// Never true; here because `len` is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// One of them.
    #[must_use]
    #[inline(always)]
    pub fn at(&self, index: usize) -> Entry<'a, SIZE, ALIGN> {
        // SAFETY: the masked index is below the number of rows.
        unsafe { self.at_unchecked(index & self.mask) }
    }

    /// One of them.
    ///
    /// # Safety
    /// `index` is below [`Rows::len`].
    #[inline(always)]
    pub(super) unsafe fn at_unchecked(&self, index: usize) -> Entry<'a, SIZE, ALIGN> {
        // SAFETY: `new` found so many rows inside the window.
        Entry { base: unsafe { self.base.add(SIZE * index) }, life: PhantomData }
    }
}

/// Rows of a region that is kept for them: checked once.
pub struct OwnedRows<const SIZE: usize, const ALIGN: usize> {
    base: *mut u8,
    mask: usize,
    /// What `base` points into.
    _region: Arc<Region>,
}

// SAFETY: it only gives out `Rows`, whose accesses are atomic.
unsafe impl<const SIZE: usize, const ALIGN: usize> Send for OwnedRows<SIZE, ALIGN> {}
// SAFETY: as above.
unsafe impl<const SIZE: usize, const ALIGN: usize> Sync for OwnedRows<SIZE, ALIGN> {}

impl<const SIZE: usize, const ALIGN: usize> OwnedRows<SIZE, ALIGN> {
    /// As [`Rows::new`].
    #[must_use]
    pub fn new(region: &Arc<Region>, at: usize, count: usize) -> Option<Self> {
        let Rows { base, mask, .. } = Rows::<SIZE, ALIGN>::new(&region.shared(), at, count)?;
        Some(Self { base, mask, _region: region.clone() })
    }

    /// The window.
    #[must_use]
    #[inline(always)]
    pub fn rows(&self) -> Rows<'_, SIZE, ALIGN> {
        Rows { base: self.base, mask: self.mask, life: PhantomData }
    }
}
