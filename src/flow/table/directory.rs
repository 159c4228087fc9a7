//! From a hash to the numbers of what may have the key: buckets of a cache line.

use super::bucket::{Bucket, FREE, WAYS};
use crate::mem::prefetch::Level;
use crate::mem::scaled::Scaled;

/// No number has such a hash.
pub(super) const ABSENT: u32 = u32::MAX;
/// There is more to search.
pub(super) const SEARCH: u32 = u32::MAX - 1;

/// See the module.
pub(super) struct Directory {
    buckets: Scaled<Bucket>,
}

impl Directory {
    /// For so many entries: half full when it is full. `None` without memory.
    pub fn new(entries: usize) -> Option<Self> {
        let count = Self::buckets(entries);
        let mut buckets = super::room(count)?;
        buckets.resize(count, Bucket::EMPTY);
        Some(Self { buckets: Scaled::new(buckets)? })
    }

    const fn buckets(entries: usize) -> usize {
        entries.div_ceil(WAYS / 2) + 1
    }

    /// Bytes that one for so many entries takes.
    pub const fn memory(entries: usize) -> usize {
        Self::buckets(entries) * size_of::<Bucket>()
    }

    /// The bucket where the search for a hash begins.
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        self.buckets.number(hash)
    }

    fn len(&self) -> usize {
        self.buckets.all().len()
    }

    #[inline(always)]
    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 < self.len() { bucket + 1 } else { 0 }
    }

    /// Begins to fetch what a search reads first.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64, level: Level) {
        self.buckets.prefetch(hash, level);
    }

    /// The first number that is found for a hash, [`ABSENT`], or [`SEARCH`].
    #[inline(always)]
    pub fn first(&self, hash: u64) -> u32 {
        let bucket = self.buckets.row(hash);
        let mut ways = bucket.with_tag(tag(hash));
        let Some(way) = ways.next() else { return if bucket.passed() == 0 { ABSENT } else { SEARCH } };
        if ways.is_empty() {
            // Mostly the one that is looked for: whoever needs to be sure compares keys.
            return bucket.reference(way).map_or(ABSENT, |reference| reference & NUMBER_MAX);
        }
        among(bucket, hash)
    }

    /// What `is_it` makes of the first of the numbers for this hash of which it makes something.
    #[inline(always)]
    pub fn search<R>(&self, hash: u64, is_it: impl Fn(u32) -> Option<R>) -> Option<R> {
        let mut at = self.home(hash);
        for _ in 0..self.len() {
            let bucket = self.buckets.all().get(at)?;
            for way in bucket.with_tag(tag(hash)) {
                let number = number_of(hash, bucket.reference(way)?);
                if is_number(number)
                    && let Some(found) = is_it(number)
                {
                    return Some(found);
                }
            }
            if bucket.passed() == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// Puts a number into the first bucket with room.
    pub fn link(&mut self, hash: u64, number: u32) {
        let mut at = self.home(hash);
        for _ in 0..self.len() {
            let Some(bucket) = self.buckets.all_mut().get_mut(at) else { return };
            if let Some(way) = bucket.free() {
                bucket.set(way, tag(hash), reference(hash, number));
                return;
            }
            bucket.set_passed(bucket.passed().saturating_add(1));
            at = self.after(at);
        }
        debug_assert!(false, "there are ways for twice the entries");
    }

    /// Takes a number out of its bucket.
    pub fn unlink(&mut self, hash: u64, number: u32) {
        let mut at = self.home(hash);
        for _ in 0..self.len() {
            let Some(bucket) = self.buckets.all_mut().get_mut(at) else { return };
            if let Some(way) = bucket.position(tag(hash), reference(hash, number)) {
                bucket.set(way, FREE, 0);
                return;
            }
            bucket.set_passed(bucket.passed().saturating_sub(1));
            at = self.after(at);
        }
        debug_assert!(false, "every entry is behind its home");
    }

    /// For each bucket, how many went past it, and whether nothing is in it.
    #[cfg(test)]
    pub fn fill(&self) -> impl Iterator<Item = (u32, bool)> {
        self.buckets.all().iter().map(|bucket| (bucket.passed(), bucket.with_tag(FREE).count() == WAYS))
    }
}

/// [`Directory::first`] where several have the tag.
#[cold]
fn among(bucket: &Bucket, hash: u64) -> u32 {
    let numbers = bucket.with_tag(tag(hash)).filter_map(|way| bucket.reference(way));
    numbers.map(|reference| number_of(hash, reference)).find(|number| is_number(*number)).unwrap_or(SEARCH)
}

/// The tag: the lowest byte, which says nothing about the bucket, and which is not [`FREE`].
#[inline(always)]
const fn tag(hash: u64) -> u8 {
    let tag = hash as u8;
    if tag == FREE { 1 } else { tag }
}

/// Bits of a reference that a number has; the others are more of a tag.
const NUMBER_BITS: u32 = 30;
const NUMBER_MAX: u32 = (1 << NUMBER_BITS) - 1;

const _: () = assert!(super::CAPACITY_MAX <= 1 << NUMBER_BITS);

/// What stands for a number in a bucket.
#[inline(always)]
const fn reference(hash: u64, number: u32) -> u32 {
    number | ((hash >> 8) as u32) << NUMBER_BITS
}

/// The number, if the reference may be one of this hash; otherwise what is no number.
#[inline(always)]
const fn number_of(hash: u64, reference: u32) -> u32 {
    reference ^ ((hash >> 8) as u32) << NUMBER_BITS
}

#[inline(always)]
const fn is_number(number: u32) -> bool {
    number >> NUMBER_BITS == 0
}
