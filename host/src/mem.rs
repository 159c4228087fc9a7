//! Memory descriptors and mappings: pages of a memfd, mapped once for the engine and again for each mapping.

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use nix::libc;

use crate::ioreturn::{IoResult, IoReturn};
use crate::pci::arena::Arena;

/// Page size in bytes; every Linux this runs on has 4 KiB pages, and larger ones would only waste the difference.
pub const PAGE: u64 = 4096;
/// Largest buffer: 4 GiB.
const MAX_BUFFER: u64 = 1 << 32;
/// Most parts of a multi descriptor (Apple's limit).
const MAX_PARTS: usize = 32;
/// `kIOMemoryMapReadOnly`.
const MAP_READ_ONLY: u64 = 0x1000;

/// An address range of this process that is unmapped when dropped.
struct Mapping {
    base: *mut u8,
    len: usize,
}

// SAFETY: an address range; whoever reads or writes through it has its own rules.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `len` bytes without access.
    fn reserve(len: u64) -> IoResult<Mapping> {
        let len = usize::try_from(len).map_err(|_| IoReturn::VM_ERROR)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address the kernel chooses.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(IoReturn::VM_ERROR);
        }
        Ok(Mapping { base: base.cast(), len })
    }

    /// Maps `len` bytes of `fd` at `at` bytes into the reservation.
    fn place(&self, at: u64, len: u64, fd: BorrowedFd<'_>, offset: u64, write: bool) -> IoResult<()> {
        let end = at.checked_add(len).ok_or(IoReturn::VM_ERROR)?;
        if end > self.len as u64 {
            return Err(IoReturn::VM_ERROR);
        }
        let prot = libc::PROT_READ | if write { libc::PROT_WRITE } else { 0 };
        let offset = libc::off_t::try_from(offset).map_err(|_| IoReturn::VM_ERROR)?;
        // SAFETY: replaces pages inside our own reservation (checked above).
        let got = unsafe {
            let addr = self.base.add(at as usize).cast::<c_void>();
            libc::mmap(addr, len as usize, prot, libc::MAP_SHARED | libc::MAP_FIXED, fd.as_raw_fd(), offset)
        };
        if got == libc::MAP_FAILED { Err(IoReturn::VM_ERROR) } else { Ok(()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own reservation; its owner is being dropped, so that nobody has an address in it by contract.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

fn pages(len: u64) -> u64 {
    len.div_ceil(PAGE).max(1) * PAGE
}

/// Pages with a file descriptor.
struct Buffer {
    fd: OwnedFd,
    map: Mapping,
    /// First byte in `map` (after the guard page and for alignment).
    start: u64,
    /// First byte in the file.
    file_at: u64,
    capacity: u64,
    /// Whose piece it is.
    arena: Option<Arc<Arena>>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(arena) = &self.arena {
            arena.free(self.file_at, pages(self.capacity));
        }
    }
}

enum Kind {
    Buffer(Buffer),
    Sub { parent: Arc<Mem>, offset: u64 },
    Multi(Vec<Arc<Mem>>),
}

/// A memory descriptor.
pub struct Mem {
    kind: Kind,
    direction: u64,
    length: AtomicU64,
    object: AtomicPtr<c_void>,
}

/// A piece of a file, for a client process to map.
pub struct Piece<'a> {
    /// The file.
    pub fd: BorrowedFd<'a>,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// The arena whose file it is.
    arena: Option<&'a Arena>,
}

impl Mem {
    fn with(kind: Kind, direction: u64, length: u64) -> Arc<Mem> {
        let object = AtomicPtr::new(std::ptr::null_mut());
        Arc::new(Mem { kind, direction, length: AtomicU64::new(length), object })
    }

    /// `capacity` zeroed bytes aligned to `alignment` (0 or a power of two), with inaccessible pages around them.
    ///
    /// # Errors
    /// `BAD_ARGUMENT`: capacity 0 or above 4 GiB, alignment not a power of two or above 1 GiB. `NO_MEMORY`.
    pub fn buffer(direction: u64, capacity: u64, alignment: u64) -> IoResult<Arc<Mem>> {
        let alignment = alignment.max(1);
        if capacity == 0 || capacity > MAX_BUFFER || !alignment.is_power_of_two() || alignment > 1 << 30 {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        // SAFETY: a literal name; the descriptor is checked and owned below.
        let fd = unsafe { libc::memfd_create(c"dk-memory".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        if fd < 0 {
            return Err(IoReturn::NO_MEMORY);
        }
        // SAFETY: a new descriptor that nobody else has.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(pages(capacity)).map_err(|_| IoReturn::NO_MEMORY)?;
        // A client that gets the descriptor must not be able to pull the pages out from under us.
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: plain fcntl on our descriptor.
        unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) };
        let spare = if alignment > PAGE { alignment } else { 0 };
        let map = Mapping::reserve(pages(capacity) + 2 * PAGE + spare).map_err(|_| IoReturn::NO_MEMORY)?;
        let first = map.base as u64 + PAGE;
        let start = first.next_multiple_of(alignment.max(PAGE)) - map.base as u64;
        map.place(start, pages(capacity), file.as_fd(), 0, true).map_err(|_| IoReturn::NO_MEMORY)?;
        let buffer = Buffer { fd: file.into(), map, start, file_at: 0, capacity, arena: None };
        Ok(Self::with(Kind::Buffer(buffer), direction, capacity))
    }

    /// As [`Mem::buffer`], a piece of `arena` if there is one.
    ///
    /// # Errors
    /// As [`Mem::buffer`].
    pub fn buffer_in(arena: Option<&Arc<Arena>>, direction: u64, capacity: u64, alignment: u64) -> IoResult<Arc<Mem>> {
        let Some(arena) = arena else { return Self::buffer(direction, capacity, alignment) };
        let alignment = alignment.max(1);
        if capacity == 0 || capacity > MAX_BUFFER || !alignment.is_power_of_two() || alignment > 1 << 30 {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let fd = arena.fd().try_clone_to_owned().map_err(|_| IoReturn::NO_MEMORY)?;
        let spare = if alignment > PAGE { alignment } else { 0 };
        let map = Mapping::reserve(pages(capacity) + 2 * PAGE + spare).map_err(|_| IoReturn::NO_MEMORY)?;
        let first = map.base as u64 + PAGE;
        let start = first.next_multiple_of(alignment.max(PAGE)) - map.base as u64;
        let file_at = arena.alloc(pages(capacity))?;
        let buffer = Buffer { fd, map, start, file_at, capacity, arena: Some(arena.clone()) };
        let fd = buffer.fd.as_fd();
        buffer.map.place(start, pages(capacity), fd, file_at, true).map_err(|_| IoReturn::NO_MEMORY)?;
        Ok(Self::with(Kind::Buffer(buffer), direction, capacity))
    }

    /// Where a range is in `arena`: `(byte in the file, bytes)` in order.
    ///
    /// # Errors
    /// `NO_SPACE` outside the descriptor, `DMA_ERROR` if any of it is not there.
    pub(crate) fn arena_segments(&self, arena: &Arena, offset: u64, length: u64) -> IoResult<Vec<(u64, u64)>> {
        let mut out = Vec::new();
        self.walk(offset, length, &mut |_, piece| {
            out.push((piece.offset, piece.length));
            if piece.arena.is_some_and(|a| std::ptr::eq(a, arena)) { Ok(()) } else { Err(IoReturn::DMA_ERROR) }
        })?;
        Ok(out)
    }

    /// Memory that a client offered: `length` bytes of `fd` from its start.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` if the file is not sealed against shrinking or is smaller than that, `NO_MEMORY`.
    pub fn foreign(fd: OwnedFd, direction: u64, length: u64) -> IoResult<Arc<Mem>> {
        if length == 0 || length > MAX_BUFFER {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        // SAFETY: plain fcntl on a descriptor we own; an error is -1 and has the seal's bit, hence the sign check.
        let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 || seals & libc::F_SEAL_SHRINK == 0 {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let file = File::from(fd);
        let size = file.metadata().map_err(|_| IoReturn::BAD_ARGUMENT)?.len();
        if size < length {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let map = Mapping::reserve(pages(length) + 2 * PAGE)?;
        map.place(PAGE, pages(length), file.as_fd(), 0, true).map_err(|_| IoReturn::NO_MEMORY)?;
        let buffer = Buffer { fd: file.into(), map, start: PAGE, file_at: 0, capacity: length, arena: None };
        Ok(Self::with(Kind::Buffer(buffer), direction, length))
    }

    /// A part of `parent`.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` for length 0, `NO_SPACE` outside the parent.
    pub fn sub(direction: u64, offset: u64, length: u64, parent: &Arc<Mem>) -> IoResult<Arc<Mem>> {
        if length == 0 {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let end = offset.checked_add(length).ok_or(IoReturn::NO_SPACE)?;
        if end > parent.length() {
            return Err(IoReturn::NO_SPACE);
        }
        Ok(Self::with(Kind::Sub { parent: parent.clone(), offset }, direction, length))
    }

    /// `parts` one after the other.
    ///
    /// # Errors
    /// `BAD_ARGUMENT`: not 1 to 32 parts, or too long together.
    pub fn multi(direction: u64, parts: Vec<Arc<Mem>>) -> IoResult<Arc<Mem>> {
        if parts.is_empty() || parts.len() > MAX_PARTS {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let total = parts.iter().try_fold(0u64, |sum, p| sum.checked_add(p.length())).ok_or(IoReturn::BAD_ARGUMENT)?;
        Ok(Self::with(Kind::Multi(parts), direction, total))
    }

    /// Bytes.
    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    /// `kIOMemoryDirection*` bits.
    pub fn direction(&self) -> u64 {
        self.direction
    }

    pub(crate) fn object(&self) -> &AtomicPtr<c_void> {
        &self.object
    }

    /// Shortens or lengthens a buffer within its capacity.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` beyond the capacity, `UNSUPPORTED` for other descriptors.
    pub fn set_length(&self, length: u64) -> IoResult<()> {
        match &self.kind {
            Kind::Buffer(b) if length <= b.capacity => {
                self.length.store(length, Ordering::Relaxed);
                Ok(())
            }
            Kind::Buffer(_) => Err(IoReturn::BAD_ARGUMENT),
            _ => Err(IoReturn::UNSUPPORTED),
        }
    }

    /// The engine's mapping of a buffer: address and length.
    ///
    /// # Errors
    /// `UNSUPPORTED` for descriptors that are not one piece.
    pub fn address(&self) -> IoResult<(*mut u8, u64)> {
        match &self.kind {
            // SAFETY: `start` was computed inside the reservation.
            Kind::Buffer(b) => Ok((unsafe { b.map.base.add(b.start as usize) }, self.length())),
            _ => Err(IoReturn::UNSUPPORTED),
        }
    }

    /// Calls `f` for every piece of `offset..offset + length`, in order: `(buffer's address, file offset, bytes)`.
    fn walk<'a>(
        &'a self,
        offset: u64,
        length: u64,
        f: &mut dyn FnMut(*mut u8, Piece<'a>) -> IoResult<()>,
    ) -> IoResult<()> {
        let end = offset.checked_add(length).ok_or(IoReturn::NO_SPACE)?;
        if end > self.length() {
            return Err(IoReturn::NO_SPACE);
        }
        if length == 0 {
            return Ok(());
        }
        match &self.kind {
            Kind::Buffer(b) => {
                // SAFETY: `end` is at most the capacity, which was mapped from `start` on.
                let at = unsafe { b.map.base.add((b.start + offset) as usize) };
                f(at, Piece { fd: b.fd.as_fd(), offset: b.file_at + offset, length, arena: b.arena.as_deref() })
            }
            Kind::Sub { parent, offset: base } => {
                parent.walk(base.checked_add(offset).ok_or(IoReturn::NO_SPACE)?, length, f)
            }
            Kind::Multi(parts) => {
                let (mut skip, mut left) = (offset, length);
                for p in parts {
                    let here = p.length();
                    if skip >= here {
                        skip -= here;
                        continue;
                    }
                    let take = left.min(here - skip);
                    p.walk(skip, take, f)?;
                    skip = 0;
                    left -= take;
                    if left == 0 {
                        return Ok(());
                    }
                }
                Err(IoReturn::NO_SPACE)
            }
        }
    }

    /// The engine's addresses of a range: `(address, bytes)` in order.
    ///
    /// # Errors
    /// `NO_SPACE` outside the descriptor.
    pub(crate) fn segments(&self, offset: u64, length: u64) -> IoResult<Vec<(*mut u8, u64)>> {
        let mut out = Vec::new();
        self.walk(offset, length, &mut |at, piece| {
            out.push((at, piece.length));
            Ok(())
        })?;
        Ok(out)
    }

    /// The file pieces of the whole descriptor, to pass to a client process.
    ///
    /// # Errors
    /// As [`Mem::read`].
    pub(crate) fn pieces(&self) -> IoResult<Vec<Piece<'_>>> {
        let mut out = Vec::new();
        self.walk(0, self.length(), &mut |_, piece| {
            out.push(piece);
            Ok(())
        })?;
        Ok(out)
    }

    /// Copies out.
    ///
    /// # Errors
    /// `NO_SPACE` outside the descriptor.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> IoResult<()> {
        let mut rest = out;
        for (at, n) in self.segments(offset, rest.len() as u64)? {
            let (head, tail) = rest.split_at_mut(n as usize);
            // SAFETY: segments() gives mapped ranges inside the buffer; `head` is our own slice. A client process may
            // write there meanwhile: bytes may be torn, which the callers expect of hostile memory.
            unsafe { std::ptr::copy_nonoverlapping(at, head.as_mut_ptr(), head.len()) };
            rest = tail;
        }
        Ok(())
    }

    /// Copies in.
    ///
    /// # Errors
    /// `NO_SPACE` outside the descriptor.
    pub fn write(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        let mut rest = data;
        for (at, n) in self.segments(offset, rest.len() as u64)? {
            let (head, tail) = rest.split_at(n as usize);
            // SAFETY: as in read(), the other way round.
            unsafe { std::ptr::copy_nonoverlapping(head.as_ptr(), at, head.len()) };
            rest = tail;
        }
        Ok(())
    }

    /// Writes 4 or 8 bytes in one piece where they lie aligned in one: as a device's write reaches a processor that looks
    /// at the word meanwhile. Whoever sees it sees what was written before it.
    ///
    /// # Errors
    /// `NO_SPACE` outside the descriptor.
    pub fn publish(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        let segments = self.segments(offset, data.len() as u64)?;
        if let &[(at, _)] = segments.as_slice() {
            if let Ok(word) = data.try_into()
                && at.cast::<AtomicU64>().is_aligned()
            {
                // SAFETY: as in write(); aligned, and the segment has as many bytes as `data`.
                unsafe { AtomicU64::from_ptr(at.cast()) }.store(u64::from_ne_bytes(word), Ordering::Release);
                return Ok(());
            }
            if let Ok(word) = data.try_into()
                && at.cast::<AtomicU32>().is_aligned()
            {
                // SAFETY: as above.
                unsafe { AtomicU32::from_ptr(at.cast()) }.store(u32::from_ne_bytes(word), Ordering::Release);
                return Ok(());
            }
        }
        self.write(offset, data)
    }
}

/// A mapping of a descriptor; the addresses are gone when it is dropped.
pub struct Map {
    _mem: Option<Arc<Mem>>,
    map: Mapping,
    start: u64,
    offset: u64,
    length: u64,
}

impl Map {
    /// Maps `length` bytes (0 = the rest) from `offset`. `options` may say read-only.
    ///
    /// # Errors
    /// `BAD_ARGUMENT`: alignment not a power of two, fixed address asked for. `NO_SPACE` outside the descriptor.
    /// `NOT_ALIGNED` if the pieces of a multi descriptor do not meet at page boundaries. `VM_ERROR`.
    pub fn new(mem: &Arc<Mem>, options: u64, address: u64, offset: u64, length: u64, align: u64) -> IoResult<Map> {
        let align = align.max(1);
        if address != 0 || !align.is_power_of_two() || align > 1 << 30 {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let rest = mem.length().checked_sub(offset).ok_or(IoReturn::NO_SPACE)?;
        let length = if length == 0 { rest } else { length };
        if length == 0 || length > rest {
            return Err(IoReturn::NO_SPACE);
        }
        let write = options & MAP_READ_ONLY == 0;
        let mut pieces = Vec::new();
        mem.walk(offset, length, &mut |_, p| {
            pieces.push(p);
            Ok(())
        })?;
        // The first piece may begin inside a page, the last may end inside one, all others are whole pages.
        let lead = pieces.first().map_or(0, |p| p.offset % PAGE);
        let count = pieces.len();
        for (i, p) in pieces.iter().enumerate() {
            let begins = i == 0 || p.offset.is_multiple_of(PAGE);
            let ends = i + 1 == count || (p.offset + p.length).is_multiple_of(PAGE);
            if !begins || !ends {
                return Err(IoReturn::NOT_ALIGNED);
            }
        }
        let spare = if align > PAGE { align } else { 0 };
        let map = Mapping::reserve(pages(lead + length) + 2 * PAGE + spare)?;
        let start = (map.base as u64 + PAGE).next_multiple_of(align.max(PAGE)) - map.base as u64;
        let mut at = start;
        for p in pieces {
            let from = p.offset / PAGE * PAGE;
            let span = pages(p.offset - from + p.length);
            map.place(at, span, p.fd, from, write)?;
            at += span;
        }
        Ok(Map { _mem: Some(mem.clone()), map, start: start + lead, offset, length })
    }

    /// Maps `length` bytes of a file that another process sent.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` if it is empty or shorter than that, `VM_ERROR`.
    pub(crate) fn of_file(fd: OwnedFd, offset: u64, length: u64, read_only: bool) -> IoResult<Map> {
        let file = File::from(fd);
        let size = file.metadata().map_err(|_| IoReturn::BAD_ARGUMENT)?.len();
        if length == 0 || offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let from = offset / PAGE * PAGE;
        let span = pages(offset - from + length);
        let map = Mapping::reserve(span + 2 * PAGE)?;
        map.place(PAGE, span, file.as_fd(), from, !read_only)?;
        Ok(Map { _mem: None, map, start: PAGE + offset - from, offset: 0, length })
    }

    /// First byte.
    pub fn address(&self) -> u64 {
        self.map.base as u64 + self.start
    }

    /// Bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// A window on it, for memory that driver and client both write: atomic accesses only. `None` if it is not aligned.
    pub fn shared(&self) -> Option<weir_core::mem::region::Shared<'_>> {
        let len = usize::try_from(self.length).ok()?;
        // SAFETY: the mapping lives as long as `self`, which the window borrows. It is shared with a driver that is not
        // trusted not to write; rings are written by atomic accesses on both sides.
        unsafe { weir_core::mem::region::Shared::new(self.address() as *mut u8, len) }
    }

    /// Where it begins in the descriptor.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

#[cfg(test)]
mod tests;
