//! A cache line of the table: twelve tags and what they stand for.

use crate::mem::tags;

/// Entries of one bucket.
pub(super) const WAYS: usize = tags::COUNT;
/// A way that is free.
pub(super) const FREE: u8 = 0;

/// One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    /// Eight bits of each entry's hash, or [`FREE`]; behind them, how many entries that belong here found this full and
    /// went on to a later bucket.
    row: [u8; tags::ROW],
    /// What each entry is; see `Reference`.
    references: [u32; WAYS],
}

const _: () = assert!(size_of::<Bucket>() == 64 && WAYS + size_of::<u32>() == tags::ROW && FREE == 0);

/// Which ways of a bucket have a tag: one bit each.
#[derive(Clone, Copy)]
pub(super) struct Ways(u32);

impl Ways {
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

impl Iterator for Ways {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let way = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(way as usize)
    }
}

impl Bucket {
    pub const EMPTY: Self = Self { row: [0; tags::ROW], references: [0; WAYS] };

    /// Entries that belong here and are elsewhere.
    #[inline(always)]
    pub fn passed(&self) -> u32 {
        self.row.last_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    /// Says how many they are.
    pub fn set_passed(&mut self, passed: u32) {
        if let Some(bytes) = self.row.last_chunk_mut() {
            *bytes = passed.to_ne_bytes();
        }
    }

    /// The ways whose tag is `tag`.
    #[inline(always)]
    pub fn with_tag(&self, tag: u8) -> Ways {
        Ways(tags::equal(&self.row, tag))
    }

    /// The first free way.
    #[inline(always)]
    pub fn free(&self) -> Option<usize> {
        self.with_tag(FREE).next()
    }

    #[inline(always)]
    pub fn reference(&self, way: usize) -> Option<u32> {
        self.references.get(way).copied()
    }

    /// The way that holds `reference`.
    pub fn position(&self, tag: u8, reference: u32) -> Option<usize> {
        self.with_tag(tag).find(|way| self.reference(*way) == Some(reference))
    }

    pub fn set(&mut self, way: usize, tag: u8, reference: u32) {
        if let (Some(t), Some(r)) = (self.row.get_mut(way), self.references.get_mut(way)) {
            *t = tag;
            *r = reference;
        }
    }
}
