//! Memory descriptors, mappings, DMA commands.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{array, borrow, bytes, made, put, retain, rt, set_object, take};
use crate::dma::Dma;
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::{Map, Mem};
use crate::service::Svc;

/// `dk_segment`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub address: u64,
    pub length: u64,
}

pub(super) fn anchor() -> usize {
    dk_mem_create as *const () as usize
}

fn mem(p: *const Mem) -> IoResult<std::mem::ManuallyDrop<Arc<Mem>>> {
    borrow(p).ok_or(IoReturn::BAD_ARGUMENT)
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_create(direction: u64, capacity: u64, alignment: u64, err: *mut i32) -> *const Mem {
    let arena = rt().ok().and_then(|rt| rt.arena.get().cloned());
    made(Mem::buffer_in(arena.as_ref(), direction, capacity, alignment), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_sub(direction: u64, offset: u64, length: u64, parent: *const Mem, err: *mut i32) -> *const Mem {
    made(mem(parent).and_then(|p| Mem::sub(direction, offset, length, &p)), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_multi(direction: u64, parts: *const *const Mem, count: u32, err: *mut i32) -> *const Mem {
    let make = || {
        if count > 32 {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let parts =
            array(parts, count).iter().map(|p| mem(*p).map(|m| Arc::clone(&m))).collect::<IoResult<Vec<_>>>()?;
        Mem::multi(direction, parts)
    };
    made(make(), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_retain(m: *const Mem) {
    retain(m);
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_release(m: *const Mem) {
    drop(take(m));
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_object(m: *const Mem) -> *mut c_void {
    borrow(m).map_or(std::ptr::null_mut(), |m| m.object().load(Ordering::Acquire))
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_set_object(m: *const Mem, object: *mut c_void) -> *mut c_void {
    borrow(m).map_or(std::ptr::null_mut(), |m| set_object(m.object(), object))
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_length(m: *const Mem) -> u64 {
    borrow(m).map_or(0, |m| m.length())
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_set_length(m: *const Mem, length: u64) -> i32 {
    IoReturn::of(mem(m).and_then(|m| m.set_length(length)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_address(m: *const Mem, address: *mut u64, length: *mut u64) -> i32 {
    IoReturn::of(mem(m).and_then(|m| m.address()).map(|(a, n)| {
        put(address, a as u64);
        put(length, n);
    }))
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_read(m: *const Mem, offset: u64, out: *mut c_void, length: u64) -> i32 {
    let read = || {
        let m = mem(m)?;
        if out.is_null() || offset.checked_add(length).is_none_or(|end| end > m.length()) {
            return Err(IoReturn::NO_SPACE);
        }
        // SAFETY: `length` writable bytes during the call (dk_runtime.h).
        m.read(offset, unsafe { std::slice::from_raw_parts_mut(out.cast(), length as usize) })
    };
    IoReturn::of(read())
}

#[unsafe(no_mangle)]
extern "C" fn dk_mem_write(m: *const Mem, offset: u64, data: *const c_void, length: u64) -> i32 {
    let write = || {
        let m = mem(m)?;
        if offset.checked_add(length).is_none_or(|end| end > m.length()) {
            return Err(IoReturn::NO_SPACE);
        }
        m.write(offset, bytes(data, length as usize))
    };
    IoReturn::of(write())
}

#[unsafe(no_mangle)]
extern "C" fn dk_map_create(
    m: *const Mem,
    options: u64,
    address: u64,
    offset: u64,
    length: u64,
    alignment: u64,
    err: *mut i32,
) -> *const Map {
    let map = mem(m).and_then(|m| Map::new(&m, options, address, offset, length, alignment));
    made(map.map(Arc::new), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_map_retain(m: *const Map) {
    retain(m);
}

#[unsafe(no_mangle)]
extern "C" fn dk_map_release(m: *const Map) {
    drop(take(m));
}

#[unsafe(no_mangle)]
extern "C" fn dk_map_address(m: *const Map) -> u64 {
    borrow(m).map_or(0, |m| m.address())
}

#[unsafe(no_mangle)]
extern "C" fn dk_map_length(m: *const Map) -> u64 {
    borrow(m).map_or(0, |m| m.length())
}

#[unsafe(no_mangle)]
extern "C" fn dk_map_offset(m: *const Map) -> u64 {
    borrow(m).map_or(0, |m| m.offset())
}

#[unsafe(no_mangle)]
extern "C" fn dk_dma_create(device: *const Svc, _options: u64, bits: u64, err: *mut i32) -> *const Dma {
    let make = || {
        let device = borrow(device).ok_or(IoReturn::BAD_ARGUMENT)?;
        Dma::new(&rt()?, device.id(), bits).map(Arc::new)
    };
    made(make(), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_dma_release(d: *const Dma) {
    drop(take(d));
}

#[unsafe(no_mangle)]
extern "C" fn dk_dma_prepare(
    d: *const Dma,
    _options: u64,
    m: *const Mem,
    offset: u64,
    length: u64,
    flags: *mut u64,
    count: *mut u32,
    segs: *mut Segment,
) -> i32 {
    let prepare = || {
        let d = borrow(d).ok_or(IoReturn::BAD_ARGUMENT)?;
        // SAFETY: an in-out parameter of the C++ layer, valid during the call, or null.
        let room = unsafe { count.as_ref() }.copied().unwrap_or(0);
        if room == 0 || segs.is_null() {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let m = mem(m)?;
        let (address, length) = d.prepare(&m, offset, length)?;
        put(segs, Segment { address, length });
        put(count, 1);
        put(flags, m.direction());
        Ok(())
    };
    IoReturn::of(prepare())
}

#[unsafe(no_mangle)]
extern "C" fn dk_dma_complete(d: *const Dma, _options: u64) -> i32 {
    borrow(d).map_or(IoReturn::BAD_ARGUMENT.0, |d| IoReturn::of(d.complete()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_dma_get_preparation(d: *const Dma, offset: *mut u64, length: *mut u64, m: *mut *const Mem) -> i32 {
    match borrow(d).and_then(|d| d.preparation()) {
        Some((o, n, mem)) => {
            put(offset, o);
            put(length, n);
            // Borrowed: the command holds it while it is prepared.
            put(m, Arc::as_ptr(&mem));
            0
        }
        None => IoReturn::NOT_READY.0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_dma_perform(
    d: *const Dma,
    options: u64,
    dma_offset: u64,
    length: u64,
    data_offset: u64,
    data: *const Mem,
) -> i32 {
    let Some(d) = borrow(d) else { return IoReturn::BAD_ARGUMENT.0 };
    let data = borrow(data).map(|m| Arc::clone(&m));
    IoReturn::of(d.perform(options, dma_offset, length, data_offset, data.as_ref()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_iommu_access(device: *const Svc, iova: u64, length: u64, write: bool) -> *mut c_void {
    let Some(device) = borrow(device) else { return std::ptr::null_mut() };
    let at = device.rt().iommu.access(device.id(), iova, length, write);
    at.map_or(std::ptr::null_mut(), |p| p.cast())
}
