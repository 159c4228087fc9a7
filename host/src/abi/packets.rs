//! Packets, pools, packet queues, pollers.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::source::take_handler;
use super::{array, array_mut, borrow, made, retain, rt, set_object, take, text};
use crate::diag::{Site, violation};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::net::netq::{Actions, NetQ, NetqKind, RawActions};
use crate::net::packet::{Packet, flag};
use crate::net::poller::Poller;
use crate::net::pool::{Pool, PoolOptions};
use crate::sched::Queue;
use crate::service::Svc;
use crate::source::{RawHandler, Source};

pub(super) fn anchor() -> usize {
    dk_pool_create as *const () as usize
}

fn pool_of(p: *const Packet) -> Option<(std::mem::ManuallyDrop<Arc<Pool>>, u32)> {
    if p.is_null() {
        return None;
    }
    // SAFETY: packets live as long as their pool, which the C++ packet object keeps alive; `pool` is never written.
    let pool = borrow(unsafe { (*p).pool })?;
    let index = pool.index_of(p)?;
    Some((pool, index))
}

#[unsafe(no_mangle)]
extern "C" fn dk_packet_misuse(p: *const Packet, what: *const c_char, site: Site) {
    let what = text(what).to_string_lossy();
    match pool_of(p) {
        Some((pool, i)) => pool.violation("use of a packet that the driver does not have", i, &what, site),
        None => violation("use of a packet that the driver does not have", what.into_owned(), site, Vec::new()),
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_packet_range(p: *const Packet, what: *const c_char, offset: u64, length: u64, site: Site) {
    let what = text(what).to_string_lossy();
    let Some((pool, i)) = pool_of(p) else { return };
    let size = pool.options().buffer_size;
    let text = format!("{what}: offset {offset} + length {length} is outside the buffer of {size} bytes");
    pool.violation("pool address out of range", i, &text, site);
}

#[unsafe(no_mangle)]
extern "C" fn dk_packet_prepare(p: *mut Packet, q: *const NetQ, _direction: u32) -> i32 {
    let (Some((pool, _)), Some(q)) = (pool_of(p), borrow(q)) else { return IoReturn::BAD_ARGUMENT.0 };
    if !Arc::ptr_eq(q.pool(), &pool) {
        return IoReturn::BAD_ARGUMENT.0;
    }
    // SAFETY: the C++ layer checked that the driver has the packet; the driver is the one calling.
    unsafe { (*p).flags |= flag::PREPARED };
    0
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_create(
    owner: *const Svc,
    name: *const c_char,
    options: *const PoolOptions,
    err: *mut i32,
) -> *const Pool {
    let make = || {
        // SAFETY: a valid structure during the call (dk_runtime.h), or null.
        let options = unsafe { options.as_ref() }.ok_or(IoReturn::BAD_ARGUMENT)?;
        let device = borrow(owner).map_or(0, |o| o.id());
        Pool::new(&rt()?, device, &text(name).to_string_lossy(), *options)
    };
    made(make(), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_retain(p: *const Pool) {
    if let Some(a) = borrow(p) {
        a.handles().fetch_add(1, Ordering::Relaxed);
        std::mem::forget(Arc::clone(&a));
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_release(p: *const Pool) {
    if let Some(p) = take(p)
        && p.handles().fetch_sub(1, Ordering::AcqRel) == 1
    {
        p.report_leaks("the last release of the pool");
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_packet_count(p: *const Pool) -> u32 {
    borrow(p).map_or(0, |p| p.options().packet_count)
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_buffer_count(p: *const Pool) -> u32 {
    borrow(p).map_or(0, |p| p.options().buffer_count)
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_buffer_size(p: *const Pool) -> u32 {
    borrow(p).map_or(0, |p| p.options().buffer_size)
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_free_count(p: *const Pool) -> u32 {
    borrow(p).map_or(0, |p| p.free_count())
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_packet(p: *const Pool, index: u32) -> *mut Packet {
    borrow(p).map_or(std::ptr::null_mut(), |p| p.packet(index))
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_set_object(p: *const Pool, index: u32, object: *mut c_void) {
    if let Some(p) = borrow(p) {
        p.set_object(index, object);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_alloc(p: *const Pool, out: *mut *mut Packet, n: u32) -> u32 {
    borrow(p).map_or(0, |p| p.alloc(array_mut(out, n)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_alloc_blocking(p: *const Pool) -> *mut Packet {
    borrow(p).map_or(std::ptr::null_mut(), |p| p.alloc_blocking())
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_free(p: *const Pool, packets: *const *mut Packet, n: u32, site: Site) -> i32 {
    borrow(p).map_or(IoReturn::BAD_ARGUMENT.0, |p| IoReturn::of(p.free(array(packets, n), site)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_pool_copy_memory(p: *const Pool, err: *mut i32) -> *const Mem {
    made(borrow(p).map(|p| p.memory().clone()).ok_or(IoReturn::BAD_ARGUMENT), err)
}

#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments)]
extern "C" fn dk_netq_create(
    kind: u32,
    pool: *const Pool,
    capacity: u32,
    id: u32,
    service_class: u32,
    queue: *const Queue,
    actions: *const RawActions,
    err: *mut i32,
) -> *const NetQ {
    // SAFETY: a valid structure during the call (dk_runtime.h), or null.
    let actions = unsafe { actions.as_ref() }.map(|a| Actions::take(*a));
    let make = || -> IoResult<Arc<NetQ>> {
        let kind = NetqKind::from_raw(kind).ok_or(IoReturn::BAD_ARGUMENT)?;
        let pool = borrow(pool).ok_or(IoReturn::BAD_ARGUMENT)?;
        let queue = borrow(queue).map(|q| Arc::clone(&q));
        NetQ::new(kind, &pool, capacity, id, service_class, queue.as_ref(), actions)
    };
    made(make(), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_retain(q: *const NetQ) {
    retain(q);
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_release(q: *const NetQ) {
    drop(take(q));
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_object(q: *const NetQ) -> *mut c_void {
    borrow(q).map_or(std::ptr::null_mut(), |q| q.object().load(Ordering::Acquire))
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_set_object(q: *const NetQ, object: *mut c_void) -> *mut c_void {
    borrow(q).map_or(std::ptr::null_mut(), |q| set_object(q.object(), object))
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_id(q: *const NetQ) -> u32 {
    borrow(q).map_or(0, |q| q.id())
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_capacity(q: *const NetQ) -> u32 {
    borrow(q).map_or(0, |q| q.capacity())
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_pool(q: *const NetQ) -> *const Pool {
    borrow(q).map_or(std::ptr::null(), |q| Arc::as_ptr(q.pool()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_set_enable(q: *const NetQ, enable: bool) -> i32 {
    borrow(q).map_or(IoReturn::BAD_ARGUMENT.0, |q| IoReturn::of(q.set_enable(enable)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_enabled(q: *const NetQ) -> bool {
    borrow(q).is_some_and(|q| q.enabled())
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_copy_source(q: *const NetQ, err: *mut i32) -> *const Source {
    let copy = || {
        let q = borrow(q).ok_or(IoReturn::BAD_ARGUMENT)?;
        let s = q.source().ok_or(IoReturn::UNSUPPORTED)?;
        s.add_handle();
        Ok(s.clone())
    };
    made(copy(), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_dequeue(q: *const NetQ, out: *mut *mut Packet, max: u32, site: Site) -> u32 {
    borrow(q).map_or(0, |q| q.dequeue(array_mut(out, max), site))
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_enqueue(q: *const NetQ, packets: *const *mut Packet, n: u32, site: Site) -> u32 {
    borrow(q).map_or(0, |q| q.enqueue(array(packets, n), site))
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_request(q: *const NetQ) -> i32 {
    borrow(q).map_or(IoReturn::BAD_ARGUMENT.0, |q| IoReturn::of(q.request()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_purge(q: *const NetQ) -> i32 {
    borrow(q).map_or(IoReturn::BAD_ARGUMENT.0, |q| IoReturn::of(q.purge()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_netq_set_poller(q: *const NetQ, p: *const Poller) -> i32 {
    match borrow(q) {
        Some(q) => {
            q.set_poller(borrow(p).map(|p| Arc::clone(&p)));
            0
        }
        None => IoReturn::BAD_ARGUMENT.0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_poller_create(
    queue: *const Queue,
    poll: *const RawHandler,
    event: *const RawHandler,
    err: *mut i32,
) -> *const Poller {
    let (poll, event) = (take_handler(poll), take_handler(event));
    let make = || {
        let queue = borrow(queue).ok_or(IoReturn::BAD_ARGUMENT)?;
        let poll = poll.ok_or(IoReturn::BAD_ARGUMENT)?;
        Ok(Poller::new(&rt()?, &queue, Some(poll), event))
    };
    made(make(), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_poller_retain(p: *const Poller) {
    retain(p);
}

#[unsafe(no_mangle)]
extern "C" fn dk_poller_release(p: *const Poller) {
    if let Some(p) = take(p)
        && Arc::strong_count(&p) == 1
    {
        p.close();
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_poller_set_parameters(p: *const Poller, _data_rate: u64, interval_ns: u64) -> i32 {
    borrow(p).map_or(IoReturn::BAD_ARGUMENT.0, |p| {
        p.set_interval(interval_ns);
        0
    })
}

#[unsafe(no_mangle)]
extern "C" fn dk_poller_enable(p: *const Poller) -> i32 {
    borrow(p).map_or(IoReturn::BAD_ARGUMENT.0, |p| {
        p.enable();
        0
    })
}

#[unsafe(no_mangle)]
extern "C" fn dk_poller_disable(p: *const Poller) -> i32 {
    borrow(p).map_or(IoReturn::BAD_ARGUMENT.0, |p| {
        p.disable();
        p.queue().call(|| ());
        0
    })
}

#[unsafe(no_mangle)]
extern "C" fn dk_poller_update(p: *const Poller, packets: u32, bytes: u32) {
    if let Some(p) = borrow(p) {
        p.update(packets, bytes);
    }
}
