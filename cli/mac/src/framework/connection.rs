//! A user client's connection through IOKit.

use std::ffi::{CStr, c_void};
use std::fmt;
use std::ptr::null_mut;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use dispatch2::DispatchQueue;
use objc2_core_foundation::{CFDictionary, CFRetained};
use objc2_io_kit::{
    IOConnectCallAsyncScalarMethod, IOConnectCallMethod, IOConnectMapMemory64, IOConnectUnmapMemory64, IOIteratorNext,
    IONotificationPort, IONotificationPortRef, IOObjectRelease, IOServiceClose, IOServiceGetMatchingServices,
    IOServiceMatching, IOServiceOpen, io_connect_t, kIOMainPortDefault,
};
use weir_core::mem::region::Shared;

/// `kern_return_t` of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoReturn(pub i32);

impl fmt::Display for IoReturn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // IOKit/IOReturn.h
        let text = match self.0 as u32 {
            0xe000_02c0 => "no such device: the driver is not running",
            0xe000_02c1 => "not privileged: the program lacks dev.weir.control or the user client entitlement",
            0xe000_02c2 => "bad argument",
            0xe000_02c5 => "another program has it",
            0xe000_02d8 => "the driver is not ready",
            0xe000_02d9 => "the driver is gone",
            0xe000_02e2 => "not permitted: the app needs com.apple.developer.driverkit.userclient-access",
            _ => return write!(f, "IOKit error {:#010x}", self.0),
        };
        write!(f, "{text} ({:#010x})", self.0)
    }
}

impl std::error::Error for IoReturn {}

fn check(ret: i32) -> Result<(), IoReturn> {
    if ret == 0 { Ok(()) } else { Err(IoReturn(ret)) }
}

/// kIOReturnNoDevice
const NO_DEVICE: IoReturn = IoReturn(0xe000_02c0_u32 as i32);

/// A notification: status and scalars.
pub type Notification = (i32, Vec<u64>);

/// An open user client.
pub struct Connection {
    connect: io_connect_t,
    port: Option<Port>,
}

struct Port {
    port: IONotificationPortRef,
    received: Receiver<Notification>,
    /// What the callback's reference points at; freed after the port.
    sender: *mut Sender<Notification>,
}

impl Connection {
    /// Opens a user client of `kind` of the `index`th service of the driver class that `class` names.
    ///
    /// # Errors
    /// No such driver, or it refused.
    pub fn open(class: &CStr, index: usize, kind: u32) -> Result<Self, IoReturn> {
        let mut iterator = 0;
        // SAFETY: the name is terminated; the dictionary's reference is handed over to the matching call, and the
        // iterator is this function's.
        unsafe {
            let matching: CFRetained<CFDictionary> =
                CFRetained::cast_unchecked(IOServiceMatching(class.as_ptr()).ok_or(NO_DEVICE)?);
            check(IOServiceGetMatchingServices(kIOMainPortDefault, Some(matching), &mut iterator))?;
        }
        let mut found = Err(NO_DEVICE);
        let mut at = 0;
        loop {
            let service = IOIteratorNext(iterator);
            if service == 0 {
                break;
            }
            if at == index {
                let mut connect = 0;
                // SAFETY: the service is live; `connect` is where the answer goes.
                let ret = unsafe { IOServiceOpen(service, mach2::traps::mach_task_self(), kind, &mut connect) };
                found = check(ret).map(|()| Self { connect, port: None });
            }
            IOObjectRelease(service);
            at += 1;
        }
        IOObjectRelease(iterator);
        found
    }

    /// One synchronous call. `scalars` is filled up to its length; at most `capacity` bytes come back.
    ///
    /// # Errors
    /// The driver's `kern_return_t`.
    pub fn call(
        &self,
        selector: u32,
        input: &[u64],
        structure: &[u8],
        scalars: &mut Vec<u64>,
        capacity: usize,
    ) -> Result<Vec<u8>, IoReturn> {
        let mut output = vec![0_u8; capacity];
        let mut output_len = capacity;
        let mut count = scalars.len() as u32;
        // SAFETY: each pointer is valid for the length that goes with it, or the length is 0.
        let ret = unsafe {
            IOConnectCallMethod(
                self.connect,
                selector,
                input.as_ptr(),
                input.len() as u32,
                structure.as_ptr().cast(),
                structure.len(),
                scalars.as_mut_ptr(),
                &mut count,
                output.as_mut_ptr().cast(),
                &mut output_len,
            )
        };
        check(ret)?;
        scalars.truncate(count as usize);
        output.truncate(output_len);
        Ok(output)
    }

    /// Registers for notifications of `mask` with the asynchronous call `selector`.
    ///
    /// # Errors
    /// The driver's `kern_return_t`.
    pub fn subscribe(&mut self, selector: u32, mask: u64) -> Result<(), IoReturn> {
        extern "C-unwind" fn called(context: *mut c_void, status: i32, arguments: *mut *mut c_void, count: u32) {
            // SAFETY: IOKit passes back the reference of the registration, which lives until the port is destroyed,
            // and `count` words at `arguments`.
            let (sender, words) = unsafe {
                let words =
                    if count == 0 { &[] } else { std::slice::from_raw_parts(arguments.cast::<u64>(), count as usize) };
                (&*context.cast::<Sender<Notification>>(), words)
            };
            let _ = sender.send((status, words.to_vec()));
        }
        let (sender, received) = channel();
        let queue = DispatchQueue::new("dev.weir.notifications", None);
        // SAFETY: the port is destroyed before what its callback refers to; see Drop. The reference has IOKit's layout:
        // reserved, callback, its context (OSMessageNotification.h, kIOAsyncCalloutCount).
        unsafe {
            let port = IONotificationPort::create(kIOMainPortDefault);
            IONotificationPort::set_dispatch_queue(port, Some(&queue));
            let sender = Box::into_raw(Box::new(sender));
            self.port = Some(Port { port, received, sender });
            let mut reference = [0_u64, called as *const () as u64, sender as u64];
            check(IOConnectCallAsyncScalarMethod(
                self.connect,
                selector,
                IONotificationPort::mach_port(port),
                reference.as_mut_ptr(),
                reference.len() as u32,
                &mask,
                1,
                null_mut(),
                &mut 0,
            ))
        }
    }

    /// Waits for the next notification.
    pub fn notification(&self, timeout: Duration) -> Option<Notification> {
        self.port.as_ref().and_then(|port| port.received.recv_timeout(timeout).ok())
    }

    /// Maps the driver's memory of type `kind`.
    ///
    /// # Errors
    /// The driver's `kern_return_t`.
    pub fn map(&self, kind: u32) -> Result<Mapping, IoReturn> {
        let (mut address, mut size) = (0, 0);
        // SAFETY: both are where the answer goes; kIOMapAnywhere is 1.
        let ret = unsafe {
            IOConnectMapMemory64(self.connect, kind, mach2::traps::mach_task_self(), &mut address, &mut size, 1)
        };
        check(ret)?;
        Ok(Mapping { connect: self.connect, kind, address, size: size as usize })
    }
}

/// The driver's memory in this process.
pub struct Mapping {
    connect: io_connect_t,
    kind: u32,
    address: u64,
    size: usize,
}

impl Mapping {
    /// A window on it: atomic accesses only. `None` if it is not aligned.
    pub fn shared(&self) -> Option<Shared<'_>> {
        // SAFETY: mapped until it is dropped, and the window borrows it; the driver writes there by atomic accesses, and
        // nobody else in this process has the address.
        unsafe { Shared::new(self.address as *mut u8, self.size) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped at this address, and nothing borrows it any more. A connection that is closed already has unmapped
        // it, and the call fails.
        unsafe { IOConnectUnmapMemory64(self.connect, self.kind, mach2::traps::mach_task_self(), self.address) };
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        IOServiceClose(self.connect);
        if let Some(port) = self.port.take() {
            // SAFETY: the connection is closed and the port destroyed, so that no callback comes any more.
            unsafe {
                IONotificationPort::destroy(port.port);
                drop(Box::from_raw(port.sender));
            }
        }
    }
}
