//! An in-process TCP/IP stack (smoltcp) behind the driver: no privileges, no kernel.
//!
//! It answers echo requests, serves TCP and UDP echo and TCP discard, and runs clients for the demo and for tests. In
//! threads mode a thread of its own drives it; in simulated mode `poll` does, in virtual time.
#![forbid(unsafe_code)]

mod client;
mod device;
mod services;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ::smoltcp::iface::{Config, Interface, SocketSet};
use ::smoltcp::time::Instant;
use ::smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use super::spec::SmoltcpSpec;
use super::vnet::complete_checksum;
use crate::port::{Mode, Port, PortRequest, RxFrame, Sink, Stack, StackCounters};
pub use client::{Client, Op, PingReport, TcpReport, UdpReport, echo};
use client::{Context, Task};
use device::Device;
use services::Services;
pub use services::{DISCARD_PORT, ECHO_PORT, Received};

/// Frames that wait for the stack; more are dropped, as a kernel's backlog does (net.core.netdev_max_backlog).
const BACKLOG: usize = 1000;
/// How long to wait when the driver had no room for a frame.
const RETRY_NS: u64 = 1_000_000;

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    receive_dropped: AtomicU64,
}

/// The stack proper.
struct Net {
    interface: Interface,
    device: Device,
    sockets: SocketSet<'static>,
    services: Services,
    tasks: Vec<Box<dyn Task>>,
}

/// What wakes the stack.
#[derive(Default)]
struct Inbox {
    frames: std::collections::VecDeque<Vec<u8>>,
    tasks: Vec<Box<dyn Task>>,
    stop: bool,
}

struct Shared {
    /// Taken by whoever drives the stack.
    net: Mutex<Option<Net>>,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
    counters: Counters,
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn net(&self) -> MutexGuard<'_, Option<Net>> {
        self.net.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does all that can be done at `now_ns`; returns when to come again.
    fn step(&self, now_ns: u64) -> Option<u64> {
        let mut net = self.net();
        let net = net.as_mut()?;
        {
            let mut inbox = self.inbox();
            net.device.frames.append(&mut inbox.frames);
            net.tasks.append(&mut inbox.tasks);
        }
        let now = Instant::from_micros(i64::try_from(now_ns / 1000).unwrap_or(i64::MAX));
        net.device.stalled = false;
        let task_due = loop {
            let _ = net.interface.poll(now, &mut net.device, &mut net.sockets);
            let mut progress = net.services.step(&mut net.sockets);
            let mut task_due = None;
            let mut cx = Context { now_ns, interface: &mut net.interface, sockets: &mut net.sockets };
            net.tasks.retain_mut(|task| {
                let step = task.step(&mut cx);
                progress |= step.progress;
                if let Some(due) = step.due_ns {
                    task_due = Some(task_due.map_or(due, |t: u64| t.min(due)));
                }
                !step.done
            });
            if !progress {
                break task_due;
            }
        };
        net.device.flush();
        let sockets = net.interface.poll_at(now, &net.sockets).map(|at| {
            let at = u64::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1000);
            // What is due now was not possible now: the driver had no room.
            if at <= now_ns { now_ns + RETRY_NS } else { at }
        });
        let stalled = (net.device.stalled || net.device.waiting()).then_some(now_ns + RETRY_NS);
        [sockets, task_due.map(|due| due.max(now_ns + 1)), stalled].into_iter().flatten().min()
    }
}

/// The attachment `smoltcp:ADDR/LEN`.
pub struct Smoltcp {
    spec: SmoltcpSpec,
    mode: Mode,
    shared: Arc<Shared>,
    port: Option<Arc<dyn Port>>,
    thread: Option<JoinHandle<()>>,
}

impl Smoltcp {
    /// A stack with the addresses of `spec`.
    pub fn new(spec: SmoltcpSpec, mode: Mode) -> Self {
        let shared = Shared {
            net: Mutex::new(None),
            inbox: Mutex::new(Inbox::default()),
            arrived: Condvar::new(),
            counters: Counters::default(),
        };
        Self { spec, mode, shared: Arc::new(shared), port: None, thread: None }
    }

    /// Something that runs clients on this stack; it may be used before [`Stack::attach`] and from any thread.
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.shared))
    }

    /// Group addresses that neighbour discovery needs (RFC 2464 section 7, RFC 4291 section 2.7.1).
    fn groups(&self) -> Vec<[u8; 6]> {
        let mut groups = Vec::new();
        for (address, _) in &self.spec.addresses {
            if let IpAddr::V6(v6) = address {
                let [.., a, b, c] = v6.octets();
                groups.extend([[0x33, 0x33, 0, 0, 0, 1], [0x33, 0x33, 0xff, a, b, c]]);
            }
        }
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    fn interface(&self, mac: [u8; 6], device: &mut Device, now: Instant) -> io::Result<Interface> {
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
        // Sequence numbers and the like: the same for the same address, so that runs repeat.
        config.random_seed = mac.iter().fold(0x5745_4952, |seed, byte| seed << 8 ^ u64::from(*byte));
        let mut interface = Interface::new(config, device, now);
        let mut full = false;
        interface.update_ip_addrs(|addresses| {
            for (address, length) in &self.spec.addresses {
                full |= addresses.push(IpCidr::new((*address).into(), *length)).is_err();
            }
        });
        for gateway in &self.spec.gateways {
            full |= match gateway {
                IpAddr::V4(v4) => interface.routes_mut().add_default_ipv4_route(*v4).is_err(),
                IpAddr::V6(v6) => interface.routes_mut().add_default_ipv6_route(*v6).is_err(),
            };
        }
        if full {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "smoltcp: at most 8 addresses"));
        }
        Ok(interface)
    }
}

impl Stack for Smoltcp {
    fn attach(&mut self, port: Arc<dyn Port>) -> io::Result<()> {
        self.detach();
        let info = port.info();
        let mut device = Device::new(Arc::clone(&port), Arc::clone(&self.shared), &info);
        let now = Instant::from_micros(i64::try_from(port.now_ns() / 1000).unwrap_or(i64::MAX));
        let interface = self.interface(info.mac, &mut device, now)?;
        let mut sockets = SocketSet::new(Vec::new());
        let services = Services::new(&mut sockets)?;
        *self.shared.net() = Some(Net { interface, device, sockets, services, tasks: Vec::new() });
        self.shared.inbox().stop = false;
        if port.running() {
            let _ = port.request(PortRequest::Multicast(self.groups()));
        }
        port.set_sink(Some(Arc::new(SmoltcpSink(Arc::clone(&self.shared)))));
        self.port = Some(Arc::clone(&port));
        if self.mode == Mode::Threads {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("smoltcp".into()).spawn(move || drive(&shared, &*port));
            match thread {
                Ok(thread) => self.thread = Some(thread),
                Err(e) => {
                    self.detach();
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    fn poll(&mut self, now_ns: u64) -> Option<u64> {
        match self.mode {
            Mode::Simulated => self.shared.step(now_ns),
            Mode::Threads => None,
        }
    }

    fn link_changed(&mut self, up: bool) {
        // As a kernel joins its groups once the interface is up; a driver may forget them while it is down.
        if up && let Some(port) = &self.port {
            let _ = port.request(PortRequest::Multicast(self.groups()));
        }
    }

    fn counters(&self) -> StackCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.shared.counters;
        StackCounters {
            sent: read(&c.sent),
            sent_bytes: read(&c.sent_bytes),
            received: read(&c.received),
            received_bytes: read(&c.received_bytes),
            send_dropped: 0,
            receive_dropped: read(&c.receive_dropped),
        }
    }

    fn detach(&mut self) {
        self.shared.inbox().stop = true;
        self.shared.arrived.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(port) = self.port.take() {
            port.set_sink(None);
        }
        // Clients that wait hear that nothing will come: dropping a task says so.
        self.shared.net().take();
        let mut inbox = self.shared.inbox();
        inbox.frames.clear();
        inbox.tasks.clear();
    }
}

impl Drop for Smoltcp {
    fn drop(&mut self) {
        self.detach();
    }
}

fn drive(shared: &Shared, port: &dyn Port) {
    loop {
        let next = shared.step(port.now_ns());
        let inbox = shared.inbox();
        let idle = |i: &mut Inbox| !i.stop && i.frames.is_empty() && i.tasks.is_empty();
        let inbox = match next {
            Some(next) => {
                let wait = Duration::from_nanos(next.saturating_sub(port.now_ns()));
                shared.arrived.wait_timeout_while(inbox, wait, idle).unwrap_or_else(PoisonError::into_inner).0
            }
            None => shared.arrived.wait_while(inbox, idle).unwrap_or_else(PoisonError::into_inner),
        };
        if inbox.stop {
            return;
        }
    }
}

struct SmoltcpSink(Arc<Shared>);

impl Sink for SmoltcpSink {
    fn deliver(&self, _queue: usize, frames: &[RxFrame<'_>]) {
        let counters = &self.0.counters;
        let mut inbox = self.0.inbox();
        for frame in frames {
            if inbox.frames.len() >= BACKLOG {
                counters.receive_dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let mut bytes = frame.bytes.to_vec();
            complete_checksum(&mut bytes, &frame.offload);
            counters.received.fetch_add(1, Ordering::Relaxed);
            counters.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            inbox.frames.push_back(bytes);
        }
        drop(inbox);
        self.0.arrived.notify_one();
    }
}
