//! Dispatch sources.

use std::ffi::c_void;
use std::sync::Arc;

use super::queue::work;
use super::{borrow, made, put, rt, take};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::sched::Queue;
use crate::service::Svc;
use crate::source::{Handler, Kind, RawHandler, Source};

type WorkFn = Option<extern "C" fn(*mut c_void, bool)>;
type Fill = Option<extern "C" fn(*mut c_void, *mut c_void, usize)>;
type Take = Option<extern "C" fn(*mut c_void, *const c_void, usize)>;

pub(super) fn anchor() -> usize {
    dk_timer_create as *const () as usize
}

pub(super) fn take_handler(raw: *const RawHandler) -> Option<Arc<Handler>> {
    // SAFETY: a valid structure during the call (dk_runtime.h), or null.
    unsafe { raw.as_ref() }.and_then(Handler::take)
}

#[unsafe(no_mangle)]
extern "C" fn dk_source_retain(s: *const Source) {
    if let Some(a) = borrow(s) {
        a.add_handle();
        std::mem::forget(Arc::clone(&a));
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_source_release(s: *const Source) {
    if let Some(s) = take(s) {
        s.drop_handle();
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_source_set_enable(s: *const Source, enable: bool, f: WorkFn, ctx: *mut c_void) -> i32 {
    let done = work(f, ctx);
    match borrow(s) {
        Some(s) => {
            s.set_enable(enable, done);
            0
        }
        None => IoReturn::BAD_ARGUMENT.0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_source_cancel(s: *const Source, f: WorkFn, ctx: *mut c_void) -> i32 {
    let done = work(f, ctx);
    match borrow(s) {
        Some(s) => {
            s.cancel(done);
            0
        }
        None => IoReturn::BAD_ARGUMENT.0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_source_cancelled(s: *const Source) -> bool {
    borrow(s).is_some_and(|s| s.cancelled())
}

#[unsafe(no_mangle)]
extern "C" fn dk_source_queue(s: *const Source) -> *const Queue {
    borrow(s).map_or(std::ptr::null(), |s| Arc::as_ptr(s.queue()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_source_set_handler(s: *const Source, raw: *const RawHandler) -> i32 {
    let h = take_handler(raw);
    borrow(s).map_or(IoReturn::BAD_ARGUMENT.0, |s| IoReturn::of(s.set_handler(h)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_timer_create(q: *const Queue, err: *mut i32) -> *const Source {
    let made_timer = || Ok(Source::timer(&rt()?, &*borrow(q).ok_or(IoReturn::BAD_ARGUMENT)?));
    made(made_timer(), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_timer_wake_at(s: *const Source, deadline_ns: u64, leeway_ns: u64) -> i32 {
    borrow(s).map_or(IoReturn::BAD_ARGUMENT.0, |s| IoReturn::of(s.wake_at(deadline_ns, leeway_ns)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_interrupt_create(p: *const Svc, index: u32, q: *const Queue, err: *mut i32) -> *const Source {
    let create = || {
        let (p, q) = (borrow(p).ok_or(IoReturn::BAD_ARGUMENT)?, borrow(q).ok_or(IoReturn::BAD_ARGUMENT)?);
        Source::interrupt(&q, &p, index)
    };
    made(create(), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_interrupt_type(p: *const Svc, index: u32, kind: *mut u64) -> i32 {
    let Some(p) = borrow(p) else { return IoReturn::BAD_ARGUMENT.0 };
    IoReturn::of(p.interrupt_type(index).map(|k| put(kind, k)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_interrupt_last(s: *const Source, count: *mut u64, time: *mut u64) -> i32 {
    match borrow(s) {
        Some(s) if matches!(s.kind(), Kind::Interrupt { .. }) => {
            let (c, t) = s.last_interrupt();
            put(count, c);
            put(time, t);
            0
        }
        _ => IoReturn::BAD_ARGUMENT.0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_interrupt_raise(p: *const Svc, index: u32) -> i32 {
    borrow(p).map_or(IoReturn::BAD_ARGUMENT.0, |p| IoReturn::of(p.raise_interrupt(index)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_create(bytes: u64, q: *const Queue, err: *mut i32) -> *const Source {
    let create = || Source::data(&rt()?, &*borrow(q).ok_or(IoReturn::BAD_ARGUMENT)?, bytes);
    made(create(), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_set_space_handler(s: *const Source, raw: *const RawHandler) -> i32 {
    let h = take_handler(raw);
    borrow(s).map_or(IoReturn::BAD_ARGUMENT.0, |s| IoReturn::of(s.set_space_handler(h)))
}

fn enqueue(s: *const Source, len: u32, fill: Fill, ctx: *mut c_void) -> IoResult<(Arc<Source>, bool)> {
    let s = borrow(s).ok_or(IoReturn::BAD_ARGUMENT)?;
    let fill = fill.ok_or(IoReturn::BAD_ARGUMENT)?;
    let d = s.data_queue().ok_or(IoReturn::UNSUPPORTED)?;
    let tell = d.enqueue(len, |p| fill(ctx, p.cast(), len as usize))?;
    Ok((Arc::clone(&s), tell))
}

fn dequeue(s: *const Source, remove: bool, take: Take, ctx: *mut c_void) -> IoResult<(Arc<Source>, bool)> {
    let s = borrow(s).ok_or(IoReturn::BAD_ARGUMENT)?;
    let take = take.ok_or(IoReturn::BAD_ARGUMENT)?;
    let d = s.data_queue().ok_or(IoReturn::UNSUPPORTED)?;
    let tell = d.dequeue(remove, |p, len| take(ctx, p.cast(), len as usize))?;
    Ok((Arc::clone(&s), tell))
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_enqueue(s: *const Source, len: u32, fill: Fill, ctx: *mut c_void) -> i32 {
    IoReturn::of(enqueue(s, len, fill, ctx).map(|(s, tell)| {
        if tell {
            s.ring();
        }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_dequeue(s: *const Source, take: Take, ctx: *mut c_void) -> i32 {
    IoReturn::of(dequeue(s, true, take, ctx).map(|(s, tell)| {
        if tell {
            s.ring_space();
        }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_peek(s: *const Source, take: Take, ctx: *mut c_void) -> i32 {
    IoReturn::of(dequeue(s, false, take, ctx).map(|_| ()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_enqueue_coalesce(
    s: *const Source,
    len: u32,
    send: *mut bool,
    fill: Fill,
    ctx: *mut c_void,
) -> i32 {
    IoReturn::of(enqueue(s, len, fill, ctx).map(|(_, tell)| put(send, tell)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_dequeue_coalesce(s: *const Source, send: *mut bool, take: Take, ctx: *mut c_void) -> i32 {
    IoReturn::of(dequeue(s, true, take, ctx).map(|(_, tell)| put(send, tell)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_send_available(s: *const Source) {
    if let Some(s) = borrow(s) {
        s.ring();
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_send_serviced(s: *const Source) {
    if let Some(s) = borrow(s) {
        s.ring_space();
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_can_enqueue(s: *const Source, len: u32, count: u64) -> bool {
    borrow(s).is_some_and(|s| s.data_queue().is_some_and(|d| d.can_enqueue(len, count)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_available(s: *const Source) -> bool {
    borrow(s).is_some_and(|s| s.data_queue().is_some_and(crate::source::dataq::DataQueue::available))
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_copy_memory(s: *const Source, err: *mut i32) -> *const Mem {
    let copy = || {
        let s = borrow(s).ok_or(IoReturn::BAD_ARGUMENT)?;
        Ok(s.data_queue().ok_or(IoReturn::UNSUPPORTED)?.memory().clone())
    };
    made(copy(), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_dataq_is_doorbell(s: *const Source) -> bool {
    borrow(s).is_some_and(|s| matches!(s.kind(), Kind::Doorbell))
}
