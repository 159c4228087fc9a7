//! User clients.

use std::ffi::c_void;
use std::sync::Arc;

use super::memory::Segment;
use super::{array, borrow, bytes, made, prop, retain, take};
use crate::client::{AsyncCall, RawExtArgs};
use crate::ioreturn::IoReturn;
use crate::mem::Mem;
use crate::prop::Prop;
use crate::sched::lock;
use crate::service::Svc;

pub(super) fn anchor() -> usize {
    dk_ext_set_output as *const () as usize
}

#[unsafe(no_mangle)]
extern "C" fn dk_ext_set_output(args: *mut RawExtArgs, data: *const c_void, len: usize) -> i32 {
    // SAFETY: the structure that the engine passed to external_method, still inside that call; `reply` is its vector.
    let Some((max, reply)) =
        (unsafe { args.as_ref() }).and_then(|a| Some((a.struct_out_max, unsafe { a.reply.as_mut() }?)))
    else {
        return IoReturn::BAD_ARGUMENT.0;
    };
    if len as u64 > max {
        return IoReturn::MESSAGE_TOO_LARGE.0;
    }
    reply.clear();
    reply.extend_from_slice(bytes(data, len));
    0
}

#[unsafe(no_mangle)]
extern "C" fn dk_async_retain(a: *const AsyncCall) {
    retain(a);
}

#[unsafe(no_mangle)]
extern "C" fn dk_async_release(a: *const AsyncCall) {
    drop(take(a));
}

#[unsafe(no_mangle)]
extern "C" fn dk_async_complete(a: *const AsyncCall, status: i32, values: *const u64, count: u32) -> i32 {
    if count as usize > crate::client::SCALARS_MAX {
        return IoReturn::BAD_ARGUMENT.0;
    }
    borrow(a).map_or(IoReturn::BAD_ARGUMENT.0, |a| IoReturn::of(a.complete(status, array(values, count))))
}

#[unsafe(no_mangle)]
extern "C" fn dk_client_entitlements(client: *const Svc) -> *mut Prop {
    let peer = borrow(client).and_then(|s| lock(&s.peer).clone());
    peer.map_or(std::ptr::null_mut(), |p| prop::out(Prop::Dict(p.entitlements.clone())))
}

#[unsafe(no_mangle)]
extern "C" fn dk_client_memory(
    client: *const Svc,
    direction: u64,
    segs: *const Segment,
    count: u32,
    err: *mut i32,
) -> *const Mem {
    let make = || {
        if count == 0 || count > 32 {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let s = borrow(client).ok_or(IoReturn::BAD_ARGUMENT)?;
        let peer = lock(&s.peer).clone().ok_or(IoReturn::NOT_ATTACHED)?;
        let list: Vec<(u64, u64)> = array(segs, count).iter().map(|s| (s.address, s.length)).collect();
        peer.memory(direction, &list)
    };
    made(make().map(|m: Arc<Mem>| m), err)
}
