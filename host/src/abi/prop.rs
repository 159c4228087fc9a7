//! Property trees.

use std::ffi::{c_char, c_void};

use super::{bytes, put, text};
use crate::prop::{Prop, Properties};

pub(super) fn anchor() -> usize {
    dk_prop_bool as *const () as usize
}

pub(super) fn out(p: Prop) -> *mut Prop {
    Box::into_raw(Box::new(p))
}

/// Takes a tree back from the C++ layer; null is an empty one.
pub(super) fn take(p: *mut Prop) -> Prop {
    if p.is_null() {
        return Prop::Null;
    }
    // SAFETY: made by out(), owned by the C++ layer until this call, which takes it (dk_runtime.h).
    *unsafe { Box::from_raw(p) }
}

pub(super) fn peek<'a>(p: *const Prop) -> &'a Prop {
    static NULL: Prop = Prop::Null;
    // SAFETY: made by out() or a child of such a tree, alive during the call (dk_runtime.h); trees are not changed while
    // borrowed children are in use.
    unsafe { p.as_ref() }.unwrap_or(&NULL)
}

fn change<'a>(p: *mut Prop) -> Option<&'a mut Prop> {
    // SAFETY: made by out(), owned by the caller, who uses it on one thread at a time (dk_runtime.h).
    unsafe { p.as_mut() }
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_bool(value: bool) -> *mut Prop {
    out(Prop::Bool(value))
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_number(value: u64, bits: u32) -> *mut Prop {
    out(Prop::Number(value, bits))
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_string(p: *const c_char, len: usize) -> *mut Prop {
    out(Prop::String(String::from_utf8_lossy(bytes(p.cast(), len)).into_owned()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_data(p: *const c_void, len: usize) -> *mut Prop {
    out(Prop::Data(bytes(p, len).to_vec()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_array() -> *mut Prop {
    out(Prop::Array(Vec::new()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_dict() -> *mut Prop {
    out(Prop::Dict(Properties::new()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_copy(p: *const Prop) -> *mut Prop {
    out(peek(p).clone())
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_free(p: *mut Prop) {
    drop(take(p));
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_append(array: *mut Prop, child: *mut Prop) {
    let child = take(child);
    if let Some(Prop::Array(a)) = change(array) {
        a.push(child);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_set(dict: *mut Prop, key: *const c_char, len: usize, child: *mut Prop) {
    let child = take(child);
    if let Some(Prop::Dict(d)) = change(dict) {
        d.insert(String::from_utf8_lossy(bytes(key.cast(), len)).into_owned(), child);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_type(p: *const Prop) -> u32 {
    match peek(p) {
        Prop::Null => 0,
        Prop::Bool(_) => 1,
        Prop::Number(..) => 2,
        Prop::String(_) => 3,
        Prop::Data(_) => 4,
        Prop::Array(_) => 5,
        Prop::Dict(_) => 6,
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_value(p: *const Prop, bits: *mut u32) -> u64 {
    match peek(p) {
        Prop::Bool(b) => {
            put(bits, 1);
            u64::from(*b)
        }
        Prop::Number(v, n) => {
            put(bits, *n);
            *v
        }
        _ => 0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_bytes(p: *const Prop, len: *mut usize) -> *const c_void {
    let b: &[u8] = match peek(p) {
        Prop::String(s) => s.as_bytes(),
        Prop::Data(d) => d,
        _ => &[],
    };
    put(len, b.len());
    b.as_ptr().cast()
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_count(p: *const Prop) -> usize {
    match peek(p) {
        Prop::Array(a) => a.len(),
        Prop::Dict(d) => d.len(),
        _ => 0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_at(p: *const Prop, i: usize, key: *mut *const c_char, key_len: *mut usize) -> *const Prop {
    match peek(p) {
        Prop::Array(a) => a.get(i).map_or(std::ptr::null(), std::ptr::from_ref),
        Prop::Dict(d) => match d.iter().nth(i) {
            Some((k, v)) => {
                put(key, k.as_ptr().cast());
                put(key_len, k.len());
                v
            }
            None => std::ptr::null(),
        },
        _ => std::ptr::null(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_prop_get(p: *const Prop, key: *const c_char) -> *const Prop {
    peek(p).get(&text(key).to_string_lossy()).map_or(std::ptr::null(), std::ptr::from_ref)
}
