//! A Linux interface at the far end of the cable: what arrives on it comes in, what the NIC sends leaves through it.

mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use weir_core::mem::wire_ring::WireFeatures;

use super::WireLink;
use super::far::{Client, Counters, Far, FromNic, Sent, ToNic};
use crate::port::{StackCounters, WirePump};
use crate::stack::netlink::in_netns;
use socket::{FRAME_MAX, ReceiveBatch, SendBatch, Socket};

/// How often a full ring is looked at again, and how often before a frame is dropped, as a NIC does.
const RETRY_MS: u16 = 1;
const RETRIES: u32 = 20;

struct Shared {
    name: String,
    socket: Socket,
    counters: Arc<Counters>,
    stopping: AtomicBool,
    /// Wakes the thread that reads the interface.
    stop: EventFd,
    /// Wakes the thread that reads the NIC.
    bell: EventFd,
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn lost(&self, error: &io::Error) {
        if !self.stopping() {
            eprintln!("packet {}: {error}; no more frames pass", self.name);
        }
    }
}

fn wait(fds: &[(&dyn AsFd, PollFlags)], timeout: PollTimeout) {
    let mut fds: Vec<_> = fds.iter().map(|(fd, flags)| PollFd::new(fd.as_fd(), *flags)).collect();
    // An error of poll (EINTR) only means to look again.
    let _ = poll(&mut fds, timeout);
}

/// The far end `packet:IFNAME`.
pub struct PacketPump {
    name: String,
    netns: Option<String>,
    link: Arc<dyn WireLink>,
    counters: Arc<Counters>,
    running: Option<(Arc<Shared>, Client)>,
    threads: Vec<JoinHandle<()>>,
}

impl PacketPump {
    /// Nothing is opened before [`WirePump::start`].
    pub fn new(name: String, netns: Option<String>, link: Arc<dyn WireLink>) -> Self {
        Self { name, netns, link, counters: Arc::default(), running: None, threads: Vec::new() }
    }

    fn open(&self) -> io::Result<Socket> {
        in_netns(self.netns.as_deref(), || {
            let index = nix::net::if_::if_nametoindex(self.name.as_str())?;
            Socket::open(index)
        })
        .map_err(|e| {
            let hint = match e.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => "; raw sockets take root or CAP_NET_RAW",
                Some(libc::ENODEV) => "; there is no such interface (`ip link`)",
                Some(libc::ENETDOWN) => "; set it up (`ip link set IFNAME up`)",
                _ => "",
            };
            io::Error::new(e.kind(), format!("packet {}: {e}{hint}", self.name))
        })
    }
}

impl WirePump for PacketPump {
    fn start(&mut self) -> io::Result<()> {
        self.stop();
        let socket = self.open()?;
        let Far { to_nic, from_nic, client } = Far::open(&self.link, &self.counters, WireFeatures::all())?;
        let event = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let shared = Arc::new(Shared {
            name: self.name.clone(),
            socket,
            counters: Arc::clone(&self.counters),
            stopping: AtomicBool::new(false),
            stop: event()?,
            bell: event()?,
        });
        let bell = Arc::clone(&shared);
        // The counter saturates instead of blocking: the descriptor is non-blocking.
        self.link.set_notify(Some(Box::new(move || {
            let _ = bell.bell.write(1);
        })));
        let slot = client.info().geometry.slot_size as usize;
        self.running = Some((Arc::clone(&shared), client));
        let reader = Arc::clone(&shared);
        let builder = |suffix| std::thread::Builder::new().name(format!("{}-{suffix}", self.name));
        let threads = builder("in").spawn(move || read_interface(&reader, to_nic)).and_then(|first| {
            self.threads.push(first);
            builder("out").spawn(move || read_nic(&shared, from_nic, slot))
        });
        match threads {
            Ok(second) => {
                self.threads.push(second);
                Ok(())
            }
            Err(e) => {
                self.stop();
                Err(e)
            }
        }
    }

    fn poll(&mut self, _now_ns: u64) -> Option<u64> {
        // Threads do the work; `wire::open` refuses simulated mode.
        None
    }

    fn counters(&self) -> StackCounters {
        self.counters.read()
    }

    fn stop(&mut self) {
        if let Some((shared, _)) = &self.running {
            self.link.set_notify(None);
            shared.stopping.store(true, Ordering::Release);
            let _ = shared.stop.write(1);
            let _ = shared.bell.write(1);
            for thread in self.threads.drain(..) {
                let _ = thread.join();
            }
            Counters::add(&self.counters.send_dropped, shared.socket.take_drops());
        }
        self.running = None;
    }
}

impl Drop for PacketPump {
    fn drop(&mut self) {
        self.stop();
    }
}

/// From the interface to the NIC.
fn read_interface(shared: &Shared, mut to_nic: ToNic) {
    let mut batch = ReceiveBatch::new();
    while !shared.stopping() {
        let n = match shared.socket.receive(&mut batch) {
            Ok(n) => n,
            Err(e) => match e.raw_os_error() {
                Some(libc::EAGAIN) => {
                    let fds: [(&dyn AsFd, _); 2] =
                        [(&shared.socket, PollFlags::POLLIN), (&shared.stop, PollFlags::POLLIN)];
                    wait(&fds, PollTimeout::NONE);
                    continue;
                }
                // Down for now: said once per change, then frames come again.
                Some(libc::ENETDOWN | libc::EINTR) => continue,
                _ => return shared.lost(&e),
            },
        };
        for i in 0..n {
            let Some((frame, offload)) = batch.frame(i) else {
                to_nic.drop_frame();
                continue;
            };
            let mut tries = 0;
            while to_nic.send(frame, &offload) == Sent::Full {
                to_nic.flush();
                if tries >= RETRIES || shared.stopping() {
                    to_nic.drop_frame();
                    break;
                }
                tries += 1;
                if !to_nic.wait() {
                    wait(&[(&shared.stop, PollFlags::POLLIN)], PollTimeout::from(RETRY_MS));
                }
            }
        }
        to_nic.flush();
    }
}

/// From the NIC to the interface.
fn read_nic(shared: &Shared, mut from_nic: FromNic, slot: usize) {
    let mut buffer = vec![0; slot.max(FRAME_MAX)];
    let mut batch = SendBatch::default();
    while !shared.stopping() {
        let seen = from_nic.receive(&mut buffer, |frame, offload| batch.push(frame, offload));
        while batch.len() > 0 {
            let (sent, error) = shared.socket.send(&mut batch);
            let bytes: usize = (0..sent).map(|i| batch.bytes(i)).sum();
            Counters::add(&shared.counters.received, sent as u64);
            Counters::add(&shared.counters.received_bytes, bytes as u64);
            batch.done(sent);
            match error {
                None => {}
                // The interface's queue is full: wait as a sender does, do not lose the order.
                Some(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS)) && !shared.stopping() => {
                    let fds: [(&dyn AsFd, _); 2] =
                        [(&shared.socket, PollFlags::POLLOUT), (&shared.stop, PollFlags::POLLIN)];
                    wait(&fds, PollTimeout::from(RETRY_MS));
                }
                // EMSGSIZE, ENETDOWN, EINVAL: this frame cannot leave, the next one may.
                Some(_) => {
                    Counters::add(&shared.counters.receive_dropped, 1);
                    batch.done(1);
                }
            }
        }
        if seen == 0 && !from_nic.wait() {
            wait(&[(&shared.bell, PollFlags::POLLIN)], PollTimeout::NONE);
            let _ = shared.bell.read();
        }
    }
}
