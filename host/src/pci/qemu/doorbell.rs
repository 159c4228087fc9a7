//! The machine's interrupt controller, as far as message interrupts go: QEMU's ivshmem device turns a write to its doorbell
//! register into an eventfd of ours (QEMU's docs/specs/ivshmem-spec.txt).
//!
//! A message interrupt is a 4-byte write of the device (PCI 3.0 section 6.8); pointed at the doorbell, it wakes a thread here.

use std::io::{IoSlice, Write as _};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::ioreturn::{IoResult, IoReturn};
use crate::pci::Raise;

/// Peer number of this process; the device is peer 0.
const US: i64 = 1;
/// Offset of the doorbell register in BAR 0.
pub const REGISTER: u64 = 12;

/// See the module.
pub struct Doorbell {
    events: Arc<Vec<EventFd>>,
    stop: Arc<EventFd>,
    stopping: Arc<AtomicBool>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
    _shared: OwnedFd,
    _socket: UnixStream,
}

fn send(socket: &UnixStream, value: i64, fd: Option<RawFd>) -> IoResult<()> {
    let bytes = value.to_le_bytes();
    let sent = match fd {
        Some(fd) => {
            let fds = [fd];
            let control = [ControlMessage::ScmRights(&fds)];
            let data = [IoSlice::new(&bytes)];
            sendmsg::<()>(socket.as_raw_fd(), &data, &control, MsgFlags::empty(), None).is_ok_and(|n| n == bytes.len())
        }
        None => (&*socket).write_all(&bytes).is_ok(),
    };
    if sent { Ok(()) } else { Err(IoReturn::IO_ERROR) }
}

impl Doorbell {
    /// Speaks the server's part of the protocol on `socket` for `vectors` vectors.
    pub fn new(socket: UnixStream, vectors: u32) -> IoResult<Doorbell> {
        // SAFETY: a literal name; checked and owned below.
        let fd = unsafe { libc::memfd_create(c"dk-doorbell".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(IoReturn::NO_MEMORY);
        }
        // SAFETY: a new descriptor that nobody else has.
        let shared = unsafe { OwnedFd::from_raw_fd(fd) };
        nix::unistd::ftruncate(&shared, 4096).map_err(|_| IoReturn::NO_MEMORY)?;
        let event = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let events: Vec<EventFd> =
            (0..vectors).map(|_| event()).collect::<Result<_, _>>().map_err(|_| IoReturn::NO_RESOURCES)?;
        let stop = Arc::new(event().map_err(|_| IoReturn::NO_RESOURCES)?);
        // Protocol version 0, the device's own number, its memory, then the other peer's vectors.
        send(&socket, 0, None)?;
        send(&socket, 0, None)?;
        send(&socket, -1, Some(shared.as_raw_fd()))?;
        for event in &events {
            send(&socket, US, Some(event.as_fd().as_raw_fd()))?;
        }
        Ok(Doorbell {
            events: Arc::new(events),
            stop,
            stopping: Arc::default(),
            thread: std::sync::Mutex::default(),
            _shared: shared,
            _socket: socket,
        })
    }

    /// What a device writes to signal `vector`.
    pub fn data(vector: u32) -> u32 {
        (US as u32) << 16 | vector
    }

    /// True once after `vector` was signalled.
    pub fn take(&self, vector: u32) -> bool {
        self.events.get(vector as usize).is_some_and(|event| event.read().is_ok())
    }

    /// Calls `raise` from a thread for each signal from now on.
    pub fn start(&self, raise: Raise) -> IoResult<()> {
        self.finish();
        self.stopping.store(false, Ordering::SeqCst);
        let events = self.events.clone();
        let (stop, stopping) = (self.stop.clone(), self.stopping.clone());
        let run = move || {
            while !stopping.load(Ordering::SeqCst) {
                let mut fds: Vec<PollFd<'_>> =
                    events.iter().map(|event| PollFd::new(event.as_fd(), PollFlags::POLLIN)).collect();
                fds.push(PollFd::new(stop.as_fd(), PollFlags::POLLIN));
                if poll(&mut fds, PollTimeout::NONE).is_err() {
                    continue;
                }
                let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
                for (vector, event) in events.iter().enumerate() {
                    if ready.get(vector) == Some(&true) && event.read().is_ok() {
                        raise(vector as u32);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("dk-interrupts".into()).spawn(run);
        *crate::sched::lock(&self.thread) = Some(thread.map_err(|_| IoReturn::NO_RESOURCES)?);
        Ok(())
    }

    fn finish(&self) {
        if let Some(thread) = crate::sched::lock(&self.thread).take() {
            self.stopping.store(true, Ordering::SeqCst);
            let _ = self.stop.write(1);
            let _ = thread.join();
            let _ = self.stop.read();
        }
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        self.finish();
    }
}
