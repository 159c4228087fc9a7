//! Devices of Linux's, through usbfs (`/dev/bus/usb`, linux/usbdevice_fs.h).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::libc;

use super::{Done, PIPE_STALLED, Setup, Transfer, UsbDevice, descriptors};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::rt::Runtime;
use crate::sched::lock;

// linux/usbdevice_fs.h.
const TYPE_BULK: u8 = 3;
const TYPE_INTERRUPT: u8 = 1;

#[repr(C)]
struct Urb {
    kind: u8,
    endpoint: u8,
    status: i32,
    flags: u32,
    buffer: *mut c_void,
    buffer_length: i32,
    actual_length: i32,
    start_frame: i32,
    packets: i32,
    error_count: i32,
    signal: u32,
    context: *mut c_void,
}

#[repr(C)]
struct ControlTransfer {
    kind: u8,
    request: u8,
    value: u16,
    index: u16,
    length: u16,
    timeout_ms: u32,
    data: *mut c_void,
}

#[repr(C)]
struct SetInterface {
    interface: u32,
    alternate: u32,
}

#[repr(C)]
struct DriverCall {
    interface: i32,
    code: i32,
    data: *mut c_void,
}

const fn code(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | (b'U' as u64) << 8 | number
}

const NONE: u64 = 0;
const WRITE: u64 = 1;
const READ: u64 = 2;
const CONTROL: u64 = code(READ | WRITE, 0, size_of::<ControlTransfer>());
const SETINTERFACE: u64 = code(READ, 4, size_of::<SetInterface>());
const SETCONFIGURATION: u64 = code(READ, 5, 4);
const SUBMITURB: u64 = code(READ, 10, size_of::<Urb>());
const DISCARDURB: u64 = code(NONE, 11, 0);
const REAPURBNDELAY: u64 = code(WRITE, 13, size_of::<*mut c_void>());
const CLAIMINTERFACE: u64 = code(READ, 15, 4);
const RELEASEINTERFACE: u64 = code(READ, 16, 4);
const IOCTL: u64 = code(READ | WRITE, 18, size_of::<DriverCall>());
const RESET: u64 = code(NONE, 20, 0);
const CLEAR_HALT: u64 = code(READ, 21, 4);
const DISCONNECT: u64 = code(NONE, 22, 0);
const CONNECT: u64 = code(NONE, 23, 0);
const GET_SPEED: u64 = code(NONE, 31, 0);

/// Bus and device number of the first device with these ids.
///
/// # Errors
/// There is none.
pub fn find(vendor: u16, product: u16) -> Result<(u16, u16), String> {
    let nothing = || format!("no USB device {vendor:04x}:{product:04x}");
    let number = |dir: &std::path::Path, name: &str, radix: u32| {
        let text = std::fs::read_to_string(dir.join(name)).ok()?;
        u16::from_str_radix(text.trim(), radix).ok()
    };
    let mut all: Vec<_> =
        std::fs::read_dir("/sys/bus/usb/devices").map_err(|_| nothing())?.flatten().map(|e| e.path()).collect();
    all.sort();
    all.iter()
        .find_map(|dir| {
            let is = number(dir, "idVendor", 16) == Some(vendor) && number(dir, "idProduct", 16) == Some(product);
            is.then(|| Some((number(dir, "busnum", 10)?, number(dir, "devnum", 10)?)))?
        })
        .ok_or_else(nothing)
}

fn error_of(error: &io::Error) -> IoReturn {
    match error.raw_os_error().unwrap_or(0) {
        // The interface's setting has no such endpoint: the kernel selected another one behind our back, as it does around
        // sleep.
        libc::ENOENT => IoReturn::NOT_RESPONDING,
        number => error_of_number(number),
    }
}

/// What an URB's errno means (Documentation/driver-api/usb/error-codes.rst).
fn error_of_number(number: i32) -> IoReturn {
    match number {
        libc::EPIPE => PIPE_STALLED,
        libc::ENOENT | libc::ECONNRESET => IoReturn::ABORTED,
        libc::ETIMEDOUT => IoReturn::TIMEOUT,
        libc::ENODEV => IoReturn::NO_DEVICE,
        libc::EOVERFLOW => IoReturn::OVERRUN,
        libc::ENOMEM => IoReturn::NO_MEMORY,
        libc::EBUSY => IoReturn::EXCLUSIVE_ACCESS,
        libc::EINVAL => IoReturn::BAD_ARGUMENT,
        // ESHUTDOWN ends transfers of a device that is unplugged, but of one that is put to sleep, too: the next call tells
        // which.
        libc::EPROTO | libc::EILSEQ | libc::ETIME | libc::ESHUTDOWN => IoReturn::NOT_RESPONDING,
        libc::EACCES | libc::EPERM => IoReturn::NOT_PRIVILEGED,
        _ => IoReturn::IO_ERROR,
    }
}

/// A transfer that the kernel has.
struct Pending {
    urb: Box<Urb>,
    /// Transfers before this one.
    serial: u64,
    endpoint: u8,
    /// Bytes that go through here because the memory is not in one piece.
    bounce: Option<Vec<u8>>,
    memory: Arc<Mem>,
    done: Done,
}

// SAFETY: the URB's pointers lead to the memory held here; the kernel and, after it, one reaper look at them.
unsafe impl Send for Pending {}

struct Shared {
    file: File,
    pending: Mutex<BTreeMap<usize, Pending>>,
    changed: Condvar,
    /// Transfers so far; changes with `pending` locked.
    serial: AtomicU64,
    gone: AtomicBool,
    over: AtomicBool,
}

impl Shared {
    fn ioctl<T>(&self, request: u64, argument: *mut T) -> io::Result<i32> {
        // SAFETY: `argument` is what the request's definition in linux/usbdevice_fs.h says; every caller below.
        let got = unsafe { libc::ioctl(self.file.as_raw_fd(), request as libc::Ioctl, argument) };
        if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got) }
    }

    fn number(&self, request: u64, mut value: u32) -> IoResult<()> {
        self.ioctl(request, &raw mut value).map(|_| ()).map_err(|e| error_of(&e))
    }

    /// Takes one finished transfer from the kernel.
    fn reap(&self) -> io::Result<bool> {
        let mut urb: *mut Urb = std::ptr::null_mut();
        match self.ioctl(REAPURBNDELAY, &raw mut urb) {
            Ok(_) => {}
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => return Ok(false),
            Err(e) => return Err(e),
        }
        let Some(pending) = lock(&self.pending).remove(&(urb as usize)) else { return Ok(true) };
        finish(pending);
        self.changed.notify_all();
        Ok(true)
    }

    /// The device is gone: what the kernel has not given back it never will.
    fn fail_all(&self) {
        self.gone.store(true, Ordering::Release);
        loop {
            let Some((_, pending)) = lock(&self.pending).pop_first() else { break };
            (pending.done)(Err(IoReturn::NO_DEVICE));
        }
        self.changed.notify_all();
    }

    fn run(&self) {
        while !self.over.load(Ordering::Acquire) {
            let mut poll = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
            // SAFETY: one descriptor, which is ours.
            unsafe { libc::poll(&raw mut poll, 1, 100) };
            loop {
                match self.reap() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(e) if e.raw_os_error() == Some(libc::ENODEV) => return self.fail_all(),
                    Err(_) => break,
                }
            }
            if poll.revents & (libc::POLLHUP | libc::POLLERR) != 0 && self.reap().is_err() {
                return self.fail_all();
            }
        }
    }
}

fn finish(pending: Pending) {
    let Pending { urb, endpoint, bounce, memory, done, .. } = pending;
    let actual = u32::try_from(urb.actual_length).unwrap_or(0);
    if let (Some(bytes), true) = (&bounce, endpoint & 0x80 != 0) {
        // It was as long when the transfer began.
        let _ = memory.write(0, bytes.get(..actual as usize).unwrap_or(&[]));
    }
    done(if urb.status == 0 { Ok(actual) } else { Err(error_of_number(-urb.status)) });
}

/// An open device.
pub struct FsDevice {
    shared: Arc<Shared>,
    raw: Vec<u8>,
    sysfs: std::path::PathBuf,
    number: u16,
    configuration: AtomicU8,
    /// Interfaces that are ours.
    claimed: Mutex<BTreeSet<u8>>,
    /// Interfaces whose kernel driver was sent away.
    taken: Mutex<Vec<u8>>,
    reaper: Mutex<Option<std::thread::JoinHandle<()>>>,
    rt: Mutex<Option<Arc<Runtime>>>,
}

impl FsDevice {
    /// Opens a device.
    ///
    /// # Errors
    /// It is not there, or may not be opened.
    pub fn open(bus: u16, device: u16) -> Result<Arc<Self>, String> {
        let path = format!("/dev/bus/usb/{bus:03}/{device:03}");
        let told = |e: io::Error| format!("{path}: {e}");
        let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(told)?;
        let mut raw = Vec::new();
        file.read_to_end(&mut raw).map_err(told)?;
        let sysfs = sysfs_of(bus, device).ok_or_else(|| format!("{path}: not in /sys"))?;
        let active = std::fs::read_to_string(sysfs.join("bConfigurationValue")).unwrap_or_default();
        let shared = Arc::new(Shared {
            file,
            pending: Mutex::default(),
            changed: Condvar::new(),
            serial: AtomicU64::new(0),
            gone: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let reaping = shared.clone();
        let reaper = std::thread::Builder::new().name("usbfs".into()).spawn(move || reaping.run()).map_err(told)?;
        Ok(Arc::new(Self {
            shared,
            raw,
            sysfs,
            number: device,
            configuration: AtomicU8::new(active.trim().parse().unwrap_or(0)),
            claimed: Mutex::default(),
            taken: Mutex::default(),
            reaper: Mutex::new(Some(reaper)),
            rt: Mutex::default(),
        }))
    }

    /// Runs something that may wait without keeping a worker from others.
    fn blocking<R>(&self, f: impl FnOnce() -> R) -> R {
        let rt = lock(&self.rt).clone();
        match rt {
            Some(rt) => rt.sched.blocking(f),
            None => f(),
        }
    }

    fn driver_call(&self, interface: u8, code: u64) -> io::Result<i32> {
        let mut call = DriverCall { interface: interface.into(), code: code as i32, data: std::ptr::null_mut() };
        self.shared.ioctl(IOCTL, &raw mut call)
    }

    /// Claims what was ours once more: a device that lost its power while the machine slept is given to the kernel's own
    /// drivers again.
    fn reclaim(&self) {
        for interface in lock(&self.claimed).iter() {
            let _ = self.driver_call(*interface, DISCONNECT);
            let _ = self.shared.number(CLAIMINTERFACE, (*interface).into());
        }
    }

    /// A call that may wait, on an interface that is to be ours.
    fn owned(&self, mut call: impl FnMut() -> io::Result<i32>) -> IoResult<i32> {
        let first = self.blocking(&mut call);
        let done = match first {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                self.reclaim();
                self.blocking(&mut call)
            }
            done => done,
        };
        done.map_err(|e| error_of(&e))
    }

    fn kind_of(&self, endpoint: u8) -> u8 {
        let interrupt = self.configurations().iter().any(|one| {
            descriptors(one).any(|d| matches!(d, [_, 5, address, kind, ..] if *address == endpoint && kind & 3 == 3))
        });
        if interrupt { TYPE_INTERRUPT } else { TYPE_BULK }
    }
}

fn sysfs_of(bus: u16, device: u16) -> Option<std::path::PathBuf> {
    let is = |dir: &std::path::Path, name: &str, wanted: u16| {
        std::fs::read_to_string(dir.join(name)).is_ok_and(|text| text.trim().parse() == Ok(wanted))
    };
    let all = std::fs::read_dir("/sys/bus/usb/devices").ok()?;
    all.flatten().map(|e| e.path()).find(|dir| is(dir, "busnum", bus) && is(dir, "devnum", device))
}

impl Drop for FsDevice {
    fn drop(&mut self) {
        let taken = std::mem::take(&mut *lock(&self.taken));
        for interface in taken {
            let _ = self.shared.number(RELEASEINTERFACE, interface.into());
            let _ = self.driver_call(interface, CONNECT);
        }
        self.shared.over.store(true, Ordering::Release);
        if let Some(reaper) = lock(&self.reaper).take()
            && reaper.thread().id() != std::thread::current().id()
        {
            let _ = reaper.join();
        }
    }
}

impl UsbDevice for FsDevice {
    fn attach(&self, rt: &Arc<Runtime>) {
        *lock(&self.rt) = Some(rt.clone());
    }

    fn descriptor(&self) -> Vec<u8> {
        self.raw.get(..18).unwrap_or(&[]).to_vec()
    }

    fn configurations(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut rest = self.raw.get(18..).unwrap_or(&[]);
        while let [_, 2, low, high, ..] = rest {
            let total = usize::from(u16::from_le_bytes([*low, *high])).clamp(9, rest.len().max(9));
            let Some((one, after)) = rest.split_at_checked(total) else { break };
            found.push(one.to_vec());
            rest = after;
        }
        found
    }

    fn configuration(&self) -> u8 {
        self.configuration.load(Ordering::Acquire)
    }

    fn set_configuration(&self, value: u8) -> IoResult<()> {
        // The kernel refuses while a driver is bound; its own attribute unbinds them all first.
        std::fs::write(self.sysfs.join("bConfigurationValue"), value.to_string())
            .or_else(|_| {
                let mut wanted = u32::from(value);
                self.shared.ioctl(SETCONFIGURATION, &raw mut wanted).map(|_| ())
            })
            .map_err(|e| error_of(&e))?;
        self.configuration.store(value, Ordering::Release);
        Ok(())
    }

    fn claim(&self, interface: u8) -> IoResult<()> {
        if self.driver_call(interface, DISCONNECT).is_ok() {
            lock(&self.taken).push(interface);
        }
        self.shared.number(CLAIMINTERFACE, interface.into())?;
        lock(&self.claimed).insert(interface);
        Ok(())
    }

    fn release(&self, interface: u8) {
        lock(&self.claimed).remove(&interface);
        let _ = self.shared.number(RELEASEINTERFACE, interface.into());
        let mut taken = lock(&self.taken);
        if let Some(at) = taken.iter().position(|one| *one == interface) {
            taken.remove(at);
            drop(taken);
            let _ = self.driver_call(interface, CONNECT);
        }
    }

    fn set_alternate(&self, interface: u8, alternate: u8) -> IoResult<()> {
        let mut wanted = SetInterface { interface: interface.into(), alternate: alternate.into() };
        self.owned(|| self.shared.ioctl(SETINTERFACE, &raw mut wanted)).map(|_| ())
    }

    fn control(&self, setup: Setup, data: &mut [u8], timeout: Duration) -> IoResult<usize> {
        let mut transfer = ControlTransfer {
            kind: setup.kind,
            request: setup.request,
            value: setup.value,
            index: setup.index,
            length: u16::try_from(data.len()).map_err(|_| IoReturn::BAD_ARGUMENT)?,
            timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
            data: data.as_mut_ptr().cast(),
        };
        let got = self.owned(|| self.shared.ioctl(CONTROL, &raw mut transfer))?;
        usize::try_from(got).map_err(|_| IoReturn::IO_ERROR)
    }

    fn submit(&self, endpoint: u8, transfer: Transfer) -> IoResult<()> {
        if self.shared.gone.load(Ordering::Acquire) {
            return Err(IoReturn::NO_DEVICE);
        }
        let Transfer { memory, length, done } = transfer;
        let segments = if length == 0 { Vec::new() } else { memory.segments(0, length.into())? };
        let mut bounce = match segments.as_slice() {
            [] | [_] => None,
            _ => Some(vec![0; length as usize]),
        };
        if let (Some(bytes), true) = (&mut bounce, endpoint & 0x80 == 0) {
            memory.read(0, bytes)?;
        }
        let buffer = match (&mut bounce, segments.first()) {
            (Some(bytes), _) => bytes.as_mut_ptr().cast(),
            (None, Some((at, _))) => at.cast(),
            (None, None) => std::ptr::null_mut(),
        };
        let mut urb = Box::new(Urb {
            kind: self.kind_of(endpoint),
            endpoint,
            status: 0,
            flags: 0,
            buffer,
            buffer_length: i32::try_from(length).map_err(|_| IoReturn::BAD_ARGUMENT)?,
            actual_length: 0,
            start_frame: 0,
            packets: 0,
            error_count: 0,
            signal: 0,
            context: std::ptr::null_mut(),
        });
        let at = &raw mut *urb;
        // Entered first, and the lock kept: the reaper may see the end of it before this call returns.
        let mut all = lock(&self.shared.pending);
        let serial = self.shared.serial.fetch_add(1, Ordering::Relaxed);
        all.insert(at as usize, Pending { urb, serial, endpoint, bounce, memory, done });
        if let Err(e) = self.shared.ioctl(SUBMITURB, at) {
            all.remove(&(at as usize));
            return Err(error_of(&e));
        }
        Ok(())
    }

    fn abort(&self, endpoint: u8) {
        let all = lock(&self.shared.pending);
        let next = self.shared.serial.load(Ordering::Relaxed);
        // Newest first, so that the kernel does not start one behind another that is being discarded.
        for at in all.iter().rev().filter(|(_, p)| p.endpoint == endpoint).map(|(at, _)| *at).collect::<Vec<_>>() {
            // One that has just finished is not there any more; it is reaped all the same.
            let _ = self.shared.ioctl(DISCARDURB, at as *mut Urb);
        }
        drop(all);
        self.blocking(|| {
            // Not for what begins later: whoever hears that a transfer was aborted may begin the next one at once.
            let waits = |pending: &Pending| pending.endpoint == endpoint && pending.serial < next;
            let mut all = lock(&self.shared.pending);
            while all.values().any(waits) && !self.shared.gone.load(Ordering::Acquire) {
                let waited = self.shared.changed.wait_timeout(all, Duration::from_millis(50));
                all = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        });
    }

    fn clear_halt(&self, endpoint: u8) -> IoResult<()> {
        self.blocking(|| self.shared.number(CLEAR_HALT, endpoint.into()))
    }

    fn reset(&self) -> IoResult<()> {
        self.blocking(|| self.shared.ioctl::<c_void>(RESET, std::ptr::null_mut())).map(|_| ()).map_err(|e| error_of(&e))
    }

    fn speed(&self) -> u8 {
        // enum usb_device_speed: low 1, full 2, high 3, super 5, super plus 6.
        match self.shared.ioctl::<c_void>(GET_SPEED, std::ptr::null_mut()) {
            Ok(1) => 2,
            Ok(2) => 1,
            Ok(3) => 3,
            Ok(5) => 4,
            Ok(6) => 5,
            _ => 0,
        }
    }

    fn address(&self) -> u8 {
        u8::try_from(self.number).unwrap_or(0)
    }
}
