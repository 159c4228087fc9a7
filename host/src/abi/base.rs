//! Time, log, boot arguments, faults, violations, the ledger.

use std::ffi::{c_char, c_void};

use super::{bytes, rt, text};
use crate::diag::ledger::{self, Birth, Entry};
use crate::diag::log::{LogLine, format_line};
use crate::diag::{Site, fault, violation, warning};
use crate::rt::Runtime;
use crate::sched::Queue;

pub(super) fn anchor() -> usize {
    dk_now_ns as *const () as usize
}

#[unsafe(no_mangle)]
extern "C" fn dk_now_ns() -> u64 {
    rt().map_or(0, |r| r.now_ns())
}

#[unsafe(no_mangle)]
extern "C" fn dk_wall_ns() -> u64 {
    rt().map_or(0, |r| r.wall_ns())
}

#[unsafe(no_mangle)]
extern "C" fn dk_sleep_ns(ns: u64) {
    if let Ok(r) = rt() {
        r.sched.sleep(ns);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_random(out: *mut u8, len: usize) {
    let Ok(r) = rt() else { return };
    let n = u32::try_from(len).unwrap_or(u32::MAX);
    for chunk in super::array_mut(out, n).chunks_mut(8) {
        let word = r.sched.random().to_le_bytes();
        for (to, from) in chunk.iter_mut().zip(word) {
            *to = from;
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_log(level: u32, subsystem: *const c_char, line: *const c_char, len: usize) {
    let line = String::from_utf8_lossy(bytes(line.cast(), len));
    let subsystem = text(subsystem).to_string_lossy();
    match rt() {
        Ok(r) => r.log_line(level, &subsystem, &line),
        Err(_) => {
            let line = LogLine { time_ns: 0, level, subsystem: subsystem.into_owned(), text: line.into_owned() };
            eprintln!("{}", format_line(&line));
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_boot_arg(name: *const c_char) -> *const c_char {
    let Ok(r) = rt() else { return std::ptr::null() };
    r.boot_arg(&text(name).to_string_lossy()).map_or(std::ptr::null(), std::ffi::CStr::as_ptr)
}

#[unsafe(no_mangle)]
extern "C" fn dk_fault_check(name: *const c_char, natural: i32) -> i32 {
    fault::check(&text(name).to_string_lossy(), natural)
}

#[unsafe(no_mangle)]
extern "C" fn dk_violation(kind: *const c_char, what: *const c_char, site: Site) {
    violation(&text(kind).to_string_lossy(), text(what).to_string_lossy().into_owned(), site, Vec::new());
}

#[unsafe(no_mangle)]
extern "C" fn dk_warning(what: *const c_char, site: Site) {
    warning(&text(what).to_string_lossy(), site);
}

fn birth() -> Birth {
    let owner = Queue::with_current(|q| q.map_or(0, Queue::owner));
    Birth { host: rt().map_or(0, |r| r.generation), owner, queue: Runtime::queue_text() }
}

#[unsafe(no_mangle)]
extern "C" fn dk_obj_new(class: *const c_char, object: *mut c_void, site: Site) -> *const Entry {
    ledger::enter(class, object, site, birth(), false)
}

#[unsafe(no_mangle)]
extern "C" fn dk_obj_new_immortal(class: *const c_char, object: *mut c_void) -> *const Entry {
    ledger::enter(class, object, Site::NONE, birth(), true)
}

/// A ledger entry of the C++ layer.
fn entry<'a>(p: *const Entry) -> Option<&'a Entry> {
    // SAFETY: entries come from ledger::enter and stay valid until they left the quarantine after dk_obj_freed; the
    // C++ layer keeps its pointers no longer than that (DK_OBJ_QUARANTINE).
    unsafe { p.as_ref() }
}

#[unsafe(no_mangle)]
extern "C" fn dk_obj_retain(obj: *const Entry, site: Site) {
    if let Some(e) = entry(obj) {
        e.retain(site);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_obj_release(obj: *const Entry, site: Site) -> u32 {
    entry(obj).map_or(u32::MAX, |e| e.release(site))
}

#[unsafe(no_mangle)]
extern "C" fn dk_obj_freed(obj: *const Entry, site: Site) {
    if let Some(e) = entry(obj) {
        ledger::freed(e, site);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_obj_count(obj: *const Entry) -> u32 {
    entry(obj).map_or(0, Entry::count)
}

#[unsafe(no_mangle)]
extern "C" fn dk_obj_object(obj: *const Entry) -> *mut c_void {
    entry(obj).map_or(std::ptr::null_mut(), Entry::object)
}

#[unsafe(no_mangle)]
extern "C" fn dk_obj_set_class(obj: *const Entry, class: *const c_char) {
    if let Some(e) = entry(obj) {
        e.set_class(class);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_obj_set_internal(obj: *const Entry) {
    if let Some(e) = entry(obj) {
        e.set_internal();
    }
}
