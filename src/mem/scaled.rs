//! Rows of which a hash picks one: the upper half of the hash, scaled to their number, so that it needs neither a division nor a
//! check.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::prefetch;

/// One row at least, and fewer than 2^32.
pub struct Scaled<T> {
    rows: Box<[T]>,
}

impl<T> Scaled<T> {
    /// `None` if there are none, or too many.
    #[must_use]
    pub fn new(rows: Vec<T>) -> Option<Self> {
        let fits = !rows.is_empty() && u32::try_from(rows.len()).is_ok();
        fits.then(|| Self { rows: rows.into_boxed_slice() })
    }

    /// The number of a hash's row.
    #[inline(always)]
    #[must_use]
    pub fn number(&self, hash: u64) -> usize {
        (((hash >> 32) * self.rows.len() as u64) >> 32) as usize
    }

    /// A hash's row.
    #[inline(always)]
    #[must_use]
    pub fn row(&self, hash: u64) -> &T {
        // SAFETY: the upper half is below 2^32, so that its product with the number of rows, which fits by `new`, is below
        // 2^32 times that number.
        unsafe { self.rows.get_unchecked(self.number(hash)) }
    }

    /// Begins to fetch a hash's row.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64, level: prefetch::Level) {
        prefetch::whole(self.row(hash), level);
    }

    /// All of them.
    #[inline(always)]
    #[must_use]
    pub fn all(&self) -> &[T] {
        &self.rows
    }

    /// All of them, to be changed.
    #[inline(always)]
    pub fn all_mut(&mut self) -> &mut [T] {
        &mut self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_hash_has_its_row(count in 1..1000usize, hash: u64) {
            let rows = Scaled::new((0..count).collect::<Vec<_>>()).unwrap();
            let number = ((u128::from(hash >> 32) * count as u128) >> 32) as usize;
            for (hash, number) in [(hash, number), (0, 0), (u64::MAX, count - 1)] {
                prop_assert_eq!((rows.number(hash), *rows.row(hash)), (number, number));
            }
        }
    }

    #[test]
    fn there_is_a_row_at_least() {
        assert!(Scaled::<u8>::new(Vec::new()).is_none());
    }
}
