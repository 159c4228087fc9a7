//! Hints to the processor that memory will be read soon.

/// Starts to bring `value`'s first cache line, `offset` bytes behind its start if that is inside it, into the cache.
#[inline(always)]
pub fn line<T>(value: &T, offset: usize) {
    if offset >= size_of::<T>().max(1) {
        return;
    }
    at(core::ptr::from_ref(value).cast::<u8>().wrapping_add(offset));
}

/// [`line()`] for every cache line of a value that begins with one.
#[inline(always)]
pub fn all<T>(value: &T) {
    for number in 0..size_of::<T>().div_ceil(64) {
        line(value, 64 * number);
    }
}

/// Any address will do.
#[inline(always)]
fn at(at: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing that the program sees and faults on no address; SSE is part of x86-64.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above; the instruction changes neither registers nor flags nor memory.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = at;
}

/// As `at`, no nearer than the second cache.
#[inline(always)]
fn below(at: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T1 }>(at.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pldl2keep, [{0}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = at;
}

/// As `at`, and takes the line away from other cores, as a store does.
#[inline(always)]
fn at_for_write(at: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as above. Processors that do not know it take it for a NOP (Intel SDM volume 2, PREFETCHW).
    unsafe {
        core::arch::asm!("prefetchw [{0}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{0}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = at;
}

/// Takes over the cache lines of so many elements from a place on, which will be written soon. Any address will do.
#[inline(always)]
pub fn for_write<T>(place: *const T, count: usize) {
    let place = place.cast::<u8>();
    for offset in (0..count * size_of::<T>()).step_by(64) {
        at_for_write(place.wrapping_add(offset));
    }
}

/// How near a line is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Level the first cache: best for what comes from the others.
    First,
    /// Level the second: best for what comes from memory, as more lines can be on their way there at a time.
    Second,
}

#[inline(always)]
fn to(level: Level, place: *const u8) {
    match level {
        Level::First => at(place),
        Level::Second => below(place),
    }
}

/// [`line()`] for the beginning of a value.
#[inline(always)]
pub fn whole<T>(value: &T, level: Level) {
    to(level, core::ptr::from_ref(value).cast());
}

/// [`line()`] for the beginning of some bytes.
#[inline(always)]
pub fn line_of(bytes: &[u8]) {
    at(bytes.as_ptr());
}

/// [`line()`] for where an element of a slice is if there is one with that index: a look whether there is would cost more than
/// to fetch in vain.
#[inline(always)]
pub fn place<T>(slice: &[T], index: usize, level: Level) {
    to(level, slice.as_ptr().wrapping_add(index).cast());
}

/// [`line()`] for an element of a slice, if there is one with that index.
#[inline(always)]
pub fn element<T>(slice: &[T], index: usize) {
    if let Some(value) = slice.get(index) {
        line(value, 0);
    }
}
