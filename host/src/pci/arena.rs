//! Memory that another process's device model shares with us: one file, cut into pieces.
//!
//! A device model in another process sees the whole file as its machine's RAM. Buffers that a device may have to reach
//! are therefore allocated here instead of in files of their own.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::sync::Mutex;

use nix::libc;

use crate::ioreturn::{IoResult, IoReturn};
use crate::sched::lock;

/// See the module.
pub struct Arena {
    file: File,
    size: u64,
    /// Free pieces: start and bytes.
    free: Mutex<BTreeMap<u64, u64>>,
}

impl Arena {
    /// A file of `size` bytes whose pieces are given out from `first` on; both multiples of a page.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    pub fn new(size: u64, first: u64) -> IoResult<Arena> {
        // SAFETY: a literal name; the descriptor is checked and owned below. Without CLOEXEC: the model inherits it.
        let fd = unsafe { libc::memfd_create(c"dk-arena".as_ptr(), 0) };
        if fd < 0 {
            return Err(IoReturn::NO_MEMORY);
        }
        // SAFETY: a new descriptor that nobody else has.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(size).map_err(|_| IoReturn::NO_MEMORY)?;
        Ok(Arena { file, size, free: Mutex::new(BTreeMap::from([(first, size - first)])) })
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// `length` zeroed bytes, a multiple of a page: where they begin in the file.
    pub(crate) fn alloc(&self, length: u64) -> IoResult<u64> {
        let mut free = lock(&self.free);
        let (at, have) = free.iter().find(|(_, n)| **n >= length).map(|(a, n)| (*a, *n)).ok_or(IoReturn::NO_MEMORY)?;
        free.remove(&at);
        if have > length {
            free.insert(at + length, have - length);
        }
        Ok(at)
    }

    /// Takes a piece of [`Arena::alloc`] back; its pages are given back to the system and read as zero again.
    pub(crate) fn free(&self, at: u64, length: u64) {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: plain fallocate on our own file, inside it.
        unsafe { libc::fallocate(self.file.as_raw_fd(), mode, at as libc::off_t, length as libc::off_t) };
        let mut free = lock(&self.free);
        let (mut at, mut length) = (at, length);
        if let Some((before, n)) = free.range(..at).next_back().map(|(a, n)| (*a, *n))
            && before + n == at
        {
            free.remove(&before);
            (at, length) = (before, length + n);
        }
        if let Some(n) = free.remove(&(at + length)) {
            length += n;
        }
        free.insert(at, length);
    }
}
