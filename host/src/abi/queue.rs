//! Dispatch queues.

use std::ffi::{c_char, c_void};

use super::{borrow, made, retain, rt, set_object, take, text};
use crate::diag::{Site, violation};
use crate::ioreturn::IoReturn;
use crate::sched::{Item, Job, Queue, Work};

type WorkFn = Option<extern "C" fn(*mut c_void, bool)>;

pub(super) fn anchor() -> usize {
    dk_queue_create as *const () as usize
}

pub(super) fn work(f: WorkFn, ctx: *mut c_void) -> Option<Work> {
    f.map(|f| Work::new(f, ctx))
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_create(name: *const c_char, err: *mut i32) -> *const Queue {
    made(rt().map(|r| Queue::new(&r, text(name))), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_retain(q: *const Queue) {
    retain(q);
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_release(q: *const Queue) {
    drop(take(q));
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_name(q: *const Queue) -> *const c_char {
    borrow(q).map_or(c"".as_ptr(), |q| q.name().as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_object(q: *const Queue) -> *mut c_void {
    borrow(q).map_or(std::ptr::null_mut(), |q| q.object().load(std::sync::atomic::Ordering::Acquire))
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_set_object(q: *const Queue, object: *mut c_void) -> *mut c_void {
    borrow(q).map_or(std::ptr::null_mut(), |q| set_object(q.object(), object))
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_async(q: *const Queue, f: WorkFn, ctx: *mut c_void) {
    if let (Some(q), Some(w)) = (borrow(q), work(f, ctx)) {
        q.push(Item::Work(w));
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_sync(q: *const Queue, f: WorkFn, ctx: *mut c_void, site: Site) {
    if let (Some(q), Some(w)) = (borrow(q), work(f, ctx)) {
        q.sync(Job::Work(w), site);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_concurrent(q: *const Queue, f: WorkFn, ctx: *mut c_void) {
    if let (Some(q), Some(w)) = (borrow(q), work(f, ctx)) {
        // A queue of its own for each: they run beside one another and beside the queue.
        let beside = Queue::new(q.rt(), q.name());
        beside.set_owner(q.owner());
        beside.push(Item::Work(w));
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_on_queue(q: *const Queue) -> bool {
    borrow(q).is_some_and(|q| q.on_queue())
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_current() -> *const Queue {
    Queue::with_current(|q| q.map_or(std::ptr::null(), std::ptr::from_ref))
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_cancel(q: *const Queue, f: WorkFn, ctx: *mut c_void) -> i32 {
    let done = work(f, ctx);
    match borrow(q) {
        Some(q) => {
            q.cancel(done);
            0
        }
        None => IoReturn::BAD_ARGUMENT.0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_cancelled(q: *const Queue) -> bool {
    borrow(q).is_some_and(|q| q.cancelled())
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_suspend(q: *const Queue) {
    if let Some(q) = borrow(q) {
        q.suspend();
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_resume(q: *const Queue) {
    if let Some(q) = borrow(q) {
        q.resume();
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_sleep(q: *const Queue, event: *mut c_void, deadline_ns: u64) -> i32 {
    borrow(q).map_or(IoReturn::BAD_ARGUMENT.0, |q| IoReturn::of(q.sleep(event, deadline_ns)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_queue_wakeup(q: *const Queue, event: *mut c_void) -> i32 {
    match borrow(q) {
        Some(q) => {
            q.wakeup(event);
            0
        }
        None => IoReturn::BAD_ARGUMENT.0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_require_queue(q: *const Queue, what: *const c_char, site: Site) {
    let Some(q) = borrow(q) else { return };
    if !q.on_queue() {
        let here = crate::rt::Runtime::queue_text();
        let what = text(what).to_string_lossy();
        let text = format!("{what} belongs on queue {:?} and was called on {here:?}", q.name());
        violation("wrong queue", text, site, Vec::new());
    }
}
