//! USB (`dk_usb.h`).

use std::ffi::c_void;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{array_mut, borrow, made, put, take};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::sched::lock;
use crate::service::Svc;
use crate::usb::{Node, Setup, Transfer, descriptors};

pub(super) fn anchor() -> usize {
    dk_usb_open as *const () as usize
}

/// An endpoint of an interface's selected setting.
pub struct UsbPipe {
    node: Arc<Node>,
    address: u8,
    descriptor: Vec<u8>,
}

fn node(service: *const Svc) -> IoResult<Arc<Node>> {
    borrow(service).and_then(|svc| svc.usb.get().cloned()).ok_or(IoReturn::NOT_ATTACHED)
}

fn code(result: IoResult<()>) -> i32 {
    result.err().unwrap_or(IoReturn::SUCCESS).0
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_open(service: *const Svc) -> i32 {
    code(node(service).and_then(|node| node.open()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_close(service: *const Svc) -> i32 {
    code(node(service).and_then(|node| node.close()))
}

fn bind(to: *const Svc, new: Arc<Node>) -> IoResult<()> {
    borrow(to).and_then(|svc| svc.usb.set(new).ok()).ok_or(IoReturn::BAD_ARGUMENT)
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_bind_device(interface: *const Svc, device: *const Svc) -> i32 {
    code(node(interface).and_then(|node| bind(device, Node::new(node.device.clone(), None))))
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_bind_interface(device: *const Svc, nth: u32, interface: *const Svc) -> i32 {
    code(node(device).and_then(|node| {
        let number = node.interfaces().get(nth as usize).copied().ok_or(IoReturn::NOT_FOUND)?;
        bind(interface, Node::new(node.device.clone(), Some(number)))
    }))
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_interface_number(service: *const Svc) -> i32 {
    node(service).ok().and_then(|node| node.interface).map_or(-1, i32::from)
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_descriptor(service: *const Svc, what: u32, which: u32, out: *mut c_void, room: u32) -> u32 {
    let Ok(node) = node(service) else { return 0 };
    let found = match what {
        1 => Some(node.device.descriptor()),
        2 => node.device.configurations().into_iter().nth(which as usize),
        3 => node.device.configurations().into_iter().find(|one| one.get(5).is_some_and(|v| u32::from(*v) == which)),
        _ => node.configuration(),
    };
    let bytes = found.unwrap_or_default();
    let room = array_mut(out.cast::<u8>(), room);
    let len = bytes.len().min(room.len());
    room[..len].copy_from_slice(&bytes[..len]);
    u32::try_from(bytes.len()).unwrap_or(0)
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_set_configuration(device: *const Svc, value: u32) -> i32 {
    code(node(device).and_then(|node| {
        node.check_open()?;
        node.device.set_configuration(u8::try_from(value).map_err(|_| IoReturn::BAD_ARGUMENT)?)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_set_alternate(interface: *const Svc, alternate: u32) -> i32 {
    code(
        node(interface)
            .and_then(|node| node.set_alternate(u8::try_from(alternate).map_err(|_| IoReturn::BAD_ARGUMENT)?)),
    )
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_control(
    service: *const Svc,
    request_type: u8,
    request: u8,
    value: u16,
    index: u16,
    data: *const Mem,
    length: u16,
    transferred: *mut u16,
    timeout_ms: u32,
) -> i32 {
    let run = || {
        let node = node(service)?;
        let setup = Setup { kind: request_type, request, value, index };
        let mut bytes = vec![0; length.into()];
        let memory = borrow(data);
        if length > 0 && memory.is_none() {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        if let (Some(memory), false) = (&memory, setup.is_in()) {
            memory.read(0, &mut bytes)?;
        }
        let limit = if timeout_ms == 0 { Duration::from_secs(5) } else { Duration::from_millis(timeout_ms.into()) };
        let got = node.device.control(setup, &mut bytes, limit)?;
        if let (Some(memory), true) = (&memory, setup.is_in()) {
            memory.write(0, bytes.get(..got).unwrap_or(&[]))?;
        }
        put(transferred, u16::try_from(got).unwrap_or(u16::MAX));
        Ok(())
    };
    code(run())
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_reset(device: *const Svc) -> i32 {
    code(node(device).and_then(|node| node.device.reset()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_speed(service: *const Svc) -> u32 {
    node(service).map_or(0, |node| node.device.speed().into())
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_address(service: *const Svc) -> u32 {
    node(service).map_or(0, |node| node.device.address().into())
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_set_idle(service: *const Svc, ms: u32) {
    if let Ok(node) = node(service) {
        *lock(&node.idle_ms) = ms;
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_idle(service: *const Svc) -> u32 {
    node(service).map_or(0, |node| *lock(&node.idle_ms))
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_copy_pipe(interface: *const Svc, address: u8, err: *mut i32) -> *const UsbPipe {
    let find = || {
        let node = node(interface)?;
        node.check_open()?;
        if !node.endpoints().contains(&address) {
            return Err(IoReturn::NOT_FOUND);
        }
        let all = node.configuration().unwrap_or_default();
        let descriptor = descriptors(&all).find(|one| matches!(one, [_, 5, a, ..] if *a == address));
        let descriptor = descriptor.unwrap_or(&[]).to_vec();
        Ok(Arc::new(UsbPipe { node, address, descriptor }))
    };
    made(find(), err)
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_pipe_release(pipe: *const UsbPipe) {
    drop(take(pipe));
}

type DoneFn = Option<extern "C" fn(*mut c_void, i32, u32)>;

struct Context(*mut c_void);

// SAFETY: dk_usb_done's contract (dk_usb.h): callable from any thread.
unsafe impl Send for Context {}

impl Context {
    /// The pointer; a method, so that a closure captures the whole.
    fn get(&self) -> *mut c_void {
        self.0
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_pipe_submit(
    pipe: *const UsbPipe,
    mem: *const Mem,
    length: u32,
    done: DoneFn,
    ctx: *mut c_void,
) -> i32 {
    let (Some(pipe), Some(memory), Some(done)) = (borrow(pipe), borrow(mem), done) else {
        return IoReturn::BAD_ARGUMENT.0;
    };
    if u64::from(length) > memory.length() {
        return IoReturn::NO_SPACE.0;
    }
    let context = Context(ctx);
    let told = move |result: IoResult<u32>| {
        let (status, actual) = match result {
            Ok(actual) => (0, actual),
            Err(error) => (error.0, 0),
        };
        done(context.get(), status, actual);
    };
    let transfer = Transfer { memory: Arc::clone(&memory), length, done: Box::new(told) };
    code(pipe.node.device.submit(pipe.address, transfer))
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_pipe_io(
    pipe: *const UsbPipe,
    mem: *const Mem,
    length: u32,
    actual: *mut u32,
    timeout_ms: u32,
) -> i32 {
    let (Some(pipe), Some(memory)) = (borrow(pipe), borrow(mem)) else { return IoReturn::BAD_ARGUMENT.0 };
    if u64::from(length) > memory.length() {
        return IoReturn::NO_SPACE.0;
    }
    let slot = Arc::new((Mutex::new(None), Condvar::new()));
    let told = slot.clone();
    let done = move |result: IoResult<u32>| {
        *lock(&told.0) = Some(result);
        told.1.notify_all();
    };
    let transfer = Transfer { memory: Arc::clone(&memory), length, done: Box::new(done) };
    if let Err(error) = pipe.node.device.submit(pipe.address, transfer) {
        return error.0;
    }
    let limit = if timeout_ms == 0 { Duration::from_secs(3600) } else { Duration::from_millis(timeout_ms.into()) };
    let ended = match super::rt() {
        Ok(rt) if rt.sched.is_simulated() => rt.wait_until(limit, || lock(&slot.0).is_some()),
        Ok(rt) => rt.sched.blocking(|| {
            let wait = slot.1.wait_timeout_while(lock(&slot.0), limit, |result| result.is_none());
            !wait.unwrap_or_else(PoisonError::into_inner).1.timed_out()
        }),
        Err(_) => false,
    };
    if !ended {
        pipe.node.device.abort(pipe.address);
        return IoReturn::TIMEOUT.0;
    }
    let result = lock(&slot.0).take();
    match result {
        Some(Ok(bytes)) => {
            put(actual, bytes);
            0
        }
        Some(Err(error)) => error.0,
        None => IoReturn::INTERNAL_ERROR.0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_pipe_abort(pipe: *const UsbPipe) {
    if let Some(pipe) = borrow(pipe) {
        pipe.node.device.abort(pipe.address);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_pipe_clear_stall(pipe: *const UsbPipe) -> i32 {
    borrow(pipe).map_or(IoReturn::BAD_ARGUMENT.0, |pipe| code(pipe.node.device.clear_halt(pipe.address)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_pipe_descriptor(pipe: *const UsbPipe, out: *mut u8) -> i32 {
    let Some(pipe) = borrow(pipe) else { return IoReturn::BAD_ARGUMENT.0 };
    let Some(bytes) = pipe.descriptor.get(..7) else { return IoReturn::NOT_FOUND.0 };
    array_mut(out, 7).copy_from_slice(bytes);
    0
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_pipe_speed(pipe: *const UsbPipe) -> u32 {
    borrow(pipe).map_or(0, |pipe| pipe.node.device.speed().into())
}

#[unsafe(no_mangle)]
extern "C" fn dk_usb_pipe_address(pipe: *const UsbPipe) -> u32 {
    borrow(pipe).map_or(0, |pipe| pipe.node.device.address().into())
}
