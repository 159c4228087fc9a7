//! The C interface of `cpp/dk_runtime.h`: conversions only; what a function means is in the header, what it does in the
//! module it calls.

mod base;
mod client;
mod memory;
mod net;
mod packets;
mod pci;
mod prop;
mod queue;
mod service;
mod source;
mod usb;

use std::ffi::{CStr, c_char, c_void};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::ioreturn::{IoResult, IoReturn};
use crate::rt::Runtime;

/// Addresses of one function of each part: referring to them keeps the parts in every program that makes a host.
pub(crate) fn linked() -> [usize; 11] {
    [
        base::anchor(),
        client::anchor(),
        memory::anchor(),
        net::anchor(),
        packets::anchor(),
        pci::anchor(),
        prop::anchor(),
        queue::anchor(),
        service::anchor(),
        source::anchor(),
        usb::anchor(),
    ]
}

/// A handle of the C++ layer as an `Arc`, without taking its reference. `None` for null.
fn borrow<T>(p: *const T) -> Option<ManuallyDrop<Arc<T>>> {
    if p.is_null() {
        return None;
    }
    // SAFETY: handles are made by give() (Arc::into_raw) and the C++ layer holds a reference during the call, as
    // dk_runtime.h demands; ManuallyDrop leaves that reference alone.
    Some(ManuallyDrop::new(unsafe { Arc::from_raw(p) }))
}

/// Hands one reference to the C++ layer.
fn give<T>(v: Arc<T>) -> *const T {
    Arc::into_raw(v)
}

/// One more reference for the C++ layer.
fn retain<T>(p: *const T) {
    if let Some(a) = borrow(p) {
        std::mem::forget(Arc::clone(&a));
    }
}

/// Takes a reference back from the C++ layer.
fn take<T>(p: *const T) -> Option<Arc<T>> {
    borrow(p).map(ManuallyDrop::into_inner)
}

/// Stores through an out pointer that may be null.
fn put<T>(to: *mut T, v: T) {
    if !to.is_null() {
        // SAFETY: an out parameter of the C++ layer: valid for a write during the call.
        unsafe { to.write(v) };
    }
}

/// The handle of a result; the reason goes to `err`.
fn made<T>(r: IoResult<Arc<T>>, err: *mut i32) -> *const T {
    match r {
        Ok(v) => {
            put(err, 0);
            give(v)
        }
        Err(e) => {
            put(err, e.0);
            std::ptr::null()
        }
    }
}

/// A C string argument; "" for null.
fn text<'a>(p: *const c_char) -> &'a CStr {
    if p.is_null() {
        return c"";
    }
    // SAFETY: a NUL-terminated string that outlives the call (dk_runtime.h); the callers copy what they keep.
    unsafe { CStr::from_ptr(p) }
}

/// A byte range argument.
fn bytes<'a>(p: *const c_void, len: usize) -> &'a [u8] {
    if p.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: `len` readable bytes during the call (dk_runtime.h); the callers copy what they keep.
    unsafe { std::slice::from_raw_parts(p.cast(), len) }
}

/// An array argument.
fn array<'a, T>(p: *const T, n: u32) -> &'a [T] {
    if p.is_null() || n == 0 {
        return &[];
    }
    // SAFETY: `n` readable, initialised values during the call (dk_runtime.h).
    unsafe { std::slice::from_raw_parts(p, n as usize) }
}

/// An out array argument.
fn array_mut<'a, T>(p: *mut T, n: u32) -> &'a mut [T] {
    if p.is_null() || n == 0 {
        return &mut [];
    }
    // SAFETY: `n` writable values during the call, nobody else's (dk_runtime.h); the element types have no invalid bits.
    unsafe { std::slice::from_raw_parts_mut(p, n as usize) }
}

/// The current host.
fn rt() -> IoResult<Arc<Runtime>> {
    Runtime::current().ok_or(IoReturn::NOT_READY)
}

/// `dk_*_set_object`: the first one wins; null clears.
fn set_object(slot: &AtomicPtr<c_void>, object: *mut c_void) -> *mut c_void {
    if object.is_null() {
        slot.store(object, Ordering::Release);
        return object;
    }
    match slot.compare_exchange(std::ptr::null_mut(), object, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => object,
        Err(there) => there,
    }
}
