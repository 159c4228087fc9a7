//! Zeroed cache lines of atomic words, as large as one likes: the system gives their memory when it is first touched.

use alloc::alloc::{Layout, alloc_zeroed};
use alloc::boxed::Box;
use core::sync::atomic::AtomicU64;

/// Words of a line.
pub const WORDS: usize = 8;

/// A cache line of words that shards share.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Line(pub [AtomicU64; WORDS]);

const _: () = assert!(size_of::<Line>() == 64);

/// Lines full of zeroes. `None` without memory. Allocates; called by control.
#[must_use]
pub fn lines(count: usize) -> Option<Box<[Line]>> {
    let layout = Layout::array::<Line>(count).ok()?;
    if layout.size() == 0 {
        return Some(Box::new([]));
    }
    // SAFETY: the layout is not empty.
    let first = unsafe { alloc_zeroed(layout) }.cast::<Line>();
    if first.is_null() {
        return None;
    }
    // SAFETY: `first` is `count` lines from the global allocator with the layout of a boxed slice of them; zero is a value
    // of every word.
    Some(unsafe { Box::from_raw(core::ptr::slice_from_raw_parts_mut(first, count)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering;

    #[test]
    fn lines_are_zero_and_aligned() {
        for count in [0, 1, 1000] {
            let lines = lines(count).unwrap();
            assert_eq!(lines.len(), count);
            assert!(lines.iter().all(|line| line.0.iter().all(|word| word.load(Ordering::Relaxed) == 0)));
            assert_eq!(lines.as_ptr() as usize % 64, 0);
        }
        assert!(super::lines(usize::MAX / 2).is_none());
    }
}
