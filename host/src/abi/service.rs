//! Classes and services.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::{borrow, give, prop, put, rt, take, text};
use crate::diag::Site;
use crate::ioreturn::{IoResult, IoReturn};
use crate::net::ops::Class;
use crate::prop::Prop;
use crate::sched::Queue;
use crate::service::{Phase, Svc, class};

pub(super) fn anchor() -> usize {
    dk_service_new as *const () as usize
}

#[unsafe(no_mangle)]
extern "C" fn dk_class_register(c: *const Class) {
    // SAFETY: lives as long as the process or until dk_class_unregister (dk_runtime.h).
    if let Some(c) = unsafe { c.as_ref() } {
        class::register(c);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_class_unregister(c: *const Class) {
    // SAFETY: still valid during the call (dk_runtime.h).
    if let Some(c) = unsafe { c.as_ref() } {
        class::unregister(c);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_class_find(name: *const c_char) -> *const Class {
    class::find(&text(name).to_string_lossy()).map_or(std::ptr::null(), |c| c.raw())
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_new(object: *mut c_void, class: *const c_char) -> *const Svc {
    rt().map_or(std::ptr::null(), |r| give(Svc::new(&r, object, text(class))))
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_free(s: *const Svc) {
    if let Some(s) = take(s) {
        s.freed();
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_object(s: *const Svc) -> *mut c_void {
    borrow(s).map_or(std::ptr::null_mut(), |s| s.object())
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_entry_id(s: *const Svc) -> u64 {
    borrow(s).map_or(0, |s| s.id())
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_class(s: *const Svc) -> *const c_char {
    borrow(s).map_or(c"".as_ptr(), |s| s.class().as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_provider(s: *const Svc) -> *mut c_void {
    borrow(s).and_then(|s| s.provider()).map_or(std::ptr::null_mut(), |p| p.object())
}

fn ret(s: *const Svc, f: impl FnOnce(&Arc<Svc>) -> IoResult<()>) -> i32 {
    borrow(s).map_or(IoReturn::BAD_ARGUMENT.0, |s| IoReturn::of(f(&s)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_super_start(s: *const Svc, _provider: *mut c_void) -> i32 {
    ret(s, |s| s.super_start())
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_super_stop(s: *const Svc, _provider: *mut c_void) -> i32 {
    ret(s, |s| {
        s.super_stop();
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_super_set_power_state(s: *const Svc, flags: u32) -> i32 {
    ret(s, |s| {
        s.super_set_power_state(flags);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_register(s: *const Svc) -> i32 {
    ret(s, |s| s.register())
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_terminate(s: *const Svc, _options: u64) -> i32 {
    ret(s, |s| {
        s.terminate_later();
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_started(s: *const Svc) -> bool {
    borrow(s).is_some_and(|s| (Phase::SuperStarted..=Phase::Stopping).contains(&s.phase()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_stopped(s: *const Svc) -> bool {
    borrow(s).is_none_or(|s| s.phase() >= Phase::Stopped)
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_set_name(s: *const Svc, name: *const c_char) -> i32 {
    ret(s, |s| {
        s.set_name(&text(name).to_string_lossy());
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_copy_queue(s: *const Svc, name: *const c_char) -> *const Queue {
    let q = borrow(s).and_then(|s| s.named_queue(&text(name).to_string_lossy()));
    q.map_or(std::ptr::null(), give)
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_queue_for(s: *const Svc, name: *const c_char) -> *const Queue {
    let Some(s) = borrow(s) else { return std::ptr::null() };
    let q = s.named_queue(&text(name).to_string_lossy()).unwrap_or_else(|| s.queue().clone());
    // Borrowed: the service holds it.
    Arc::as_ptr(&q)
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_set_queue(s: *const Svc, name: *const c_char, q: *const Queue, site: Site) -> i32 {
    ret(s, |s| {
        let q = borrow(q).ok_or(IoReturn::BAD_ARGUMENT)?;
        s.set_queue(&text(name).to_string_lossy(), &q, site)
    })
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_copy_properties(s: *const Svc) -> *mut Prop {
    borrow(s).map_or(std::ptr::null_mut(), |s| prop::out(Prop::Dict(s.properties())))
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_set_properties(s: *const Svc, p: *mut Prop) -> i32 {
    let p = prop::take(p);
    ret(s, |s| match p {
        Prop::Dict(d) => {
            s.set_properties(d);
            Ok(())
        }
        _ => Err(IoReturn::BAD_ARGUMENT),
    })
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_create_from_property(s: *const Svc, name: *const c_char, out: *mut *mut c_void) -> i32 {
    ret(s, |s| {
        let object = s.create_from_property(&text(name).to_string_lossy())?;
        put(out, object);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn dk_service_find(matching: *const Prop) -> *mut c_void {
    let Ok(r) = rt() else { return std::ptr::null_mut() };
    let Prop::Dict(m) = prop::peek(matching) else { return std::ptr::null_mut() };
    r.registry.find(|s| s.matches(m)).map_or(std::ptr::null_mut(), |s| s.object())
}
