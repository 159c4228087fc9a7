//! A TAP interface as the stack: the Linux kernel sends and receives through the driver.
//!
//! A [`Pump`]'s threads move frames from the kernel to the driver; received frames are written where the driver
//! delivers them. Frames carry `virtio_net_hdr`, so that partial checksums and TSO super-frames reach the driver and
//! come back from it. A control thread tells the driver what the kernel's side is told: up and down, MTU, hardware
//! address, promiscuous mode and multicast groups.

mod control;
mod device;
mod pump;
mod schedule;

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use nix::libc;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::netlink::{LinkChange, Netlink, in_netns};
use super::spec::TapSpec;
use crate::port::{Port, RxFrame, Sink, Stack, StackCounters};
use device::Queue;
pub use pump::Pump;
use pump::Reader;

/// `kIOUserNetworkHWAssist*` (NetworkingDriverKit, IOUserNetworkTypes.h).
const ASSIST_TX_TCP: u32 = 0x2;
const ASSIST_TX_UDP: u32 = 0x4;
const ASSIST_TSO4: u32 = 0x20_0000;
const ASSIST_TSO6: u32 = 0x40_0000;
/// Linux's ordinary limit of a super-frame (`GSO_LEGACY_MAX_SIZE`), and the smallest it makes sense to ask for.
const GSO_MAX: u32 = 65536;
const GSO_MIN: u32 = 4096;

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    send_dropped: AtomicU64,
    receive_dropped: AtomicU64,
}

/// What the threads and the sink share.
struct Shared {
    name: String,
    queues: Vec<Queue>,
    counters: Counters,
    stop: EventFd,
    /// The link changed: the control thread has something to tell the driver.
    nudge: EventFd,
    stopping: AtomicBool,
    /// The interface was deleted: said once.
    gone: AtomicBool,
}

impl Shared {
    fn log(&self, text: std::fmt::Arguments<'_>) {
        eprintln!("tap {}: {text}", self.name);
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn lost(&self, why: &io::Error) {
        if !self.gone.swap(true, Ordering::AcqRel) && !self.stopping() {
            self.log(format_args!("the interface is gone or unusable ({why}); no more frames pass"));
        }
    }
}

/// The attachment `tap:NAME`.
pub struct Tap {
    spec: TapSpec,
    pump: Pump,
    running: Option<Running>,
    last: StackCounters,
}

struct Running {
    shared: Arc<Shared>,
    port: Arc<dyn Port>,
    pump: Pump,
    control: Option<JoinHandle<()>>,
}

impl Tap {
    /// Nothing is opened before [`Stack::attach`].
    pub fn new(spec: TapSpec) -> Self {
        Self::sharing(spec, &Pump::default())
    }

    /// One of several that `pump`'s threads serve: right for interfaces that a driver joins.
    pub fn sharing(spec: TapSpec, pump: &Pump) -> Self {
        Self { spec, pump: pump.clone(), running: None, last: StackCounters::default() }
    }
}

impl Stack for Tap {
    fn attach(&mut self, port: Arc<dyn Port>) -> io::Result<()> {
        self.detach();
        let name = self.spec.name.clone();
        if let Some(mtu) = self.spec.mtu {
            port.request(crate::port::PortRequest::Mtu(mtu))
                .map_err(|e| io::Error::new(e.kind(), format!("tap {name}: mtu={mtu}: the driver refused: {e}")))?;
        }
        let info = port.info();
        let (count, persist) = (self.spec.queues.unwrap_or(info.tx_queues).max(1), self.spec.persist);
        let (queues, requests, watch) = in_netns(self.spec.netns.as_deref(), || {
            let queues = Queue::open(&name, count)?;
            let requests = Netlink::open(false)?;
            let index = nix::net::if_::if_nametoindex(name.as_str())?;
            Ok((queues, requests, control::Watch::open(index)?))
        })?;
        let step = |what: &str, result: io::Result<()>| {
            result.map_err(|e| io::Error::new(e.kind(), format!("tap {name}: {what}: {e}")))
        };
        for queue in &queues {
            step("TUNSETOFFLOAD", queue.set_offload(offload_flags(info.hw_assists)))?;
        }
        if let Some(first) = queues.first() {
            if persist {
                step("TUNSETPERSIST", first.set_persist(true))?;
            }
            step("TUNSETCARRIER", first.set_carrier(port.running()))?;
        }
        let index = watch.index();
        step("set the hardware address", requests.change(index, LinkChange::Mac(info.mac)))?;
        step("set the MTU", requests.change(index, LinkChange::Mtu(info.mtu)))?;
        if let Some(size) = super_frame_limit(info.tso_max, info.hw_assists, info.buffer_size) {
            step("set gso_max_size", requests.change(index, LinkChange::GsoMaxSize(size)))?;
        }
        step("set it up", requests.change(index, LinkChange::Up(true)))?;

        let shared = Arc::new(Shared {
            name,
            queues,
            counters: Counters::default(),
            stop: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            nudge: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            stopping: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        });
        port.set_sink(Some(Arc::new(TapSink(Arc::clone(&shared)))));
        let mut running = Running { shared, port, pump: self.pump.clone(), control: None };
        let spawned = running.spawn(count, info.tx_queues, watch, requests);
        self.running = Some(running);
        if spawned.is_err() {
            self.detach();
        }
        spawned
    }

    fn poll(&mut self, _now_ns: u64) -> Option<u64> {
        // Threads do the work; `stack::open` refuses simulated mode.
        None
    }

    fn link_changed(&mut self, up: bool) {
        let Some(Running { shared, .. }) = &self.running else { return };
        if let Some(Err(e)) = shared.queues.first().map(|queue| queue.set_carrier(up)) {
            shared.lost(&e);
        }
        let _ = shared.nudge.write(1);
    }

    fn counters(&self) -> StackCounters {
        let Some(Running { shared, .. }) = &self.running else {
            return self.last;
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &shared.counters;
        StackCounters {
            sent: read(&c.sent),
            sent_bytes: read(&c.sent_bytes),
            received: read(&c.received),
            received_bytes: read(&c.received_bytes),
            send_dropped: read(&c.send_dropped),
            receive_dropped: read(&c.receive_dropped),
        }
    }

    fn detach(&mut self) {
        if let Some(running) = &mut self.running {
            running.shared.stopping.store(true, Ordering::Release);
            // The counter is 0, so that a write neither blocks nor fails.
            let _ = running.shared.stop.write(1);
            running.pump.leave(&running.shared);
            if let Some(thread) = running.control.take() {
                let _ = thread.join();
            }
            running.port.set_sink(None);
            self.last = self.counters();
            self.running = None;
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.detach();
    }
}

impl Running {
    fn spawn(&mut self, count: usize, tx_queues: usize, watch: control::Watch, netlink: Netlink) -> io::Result<()> {
        for queue in 0..count {
            let (shared, port) = (Arc::clone(&self.shared), Arc::clone(&self.port));
            self.pump.join(Reader::new(shared, port, queue, queue % tx_queues.max(1)))?;
        }
        let (shared, port) = (Arc::clone(&self.shared), Arc::clone(&self.port));
        let thread = std::thread::Builder::new().name(format!("{}-ctl", self.shared.name));
        self.control = Some(thread.spawn(move || watch.run(&shared, &*port, &netlink))?);
        Ok(())
    }
}

/// What the kernel may leave to the driver.
fn offload_flags(assists: u32) -> u32 {
    let both = ASSIST_TX_TCP | ASSIST_TX_UDP;
    if assists & both != both {
        // The kernel cannot be told "TCP but not UDP"; TSO needs checksums (tun.c refuses it without).
        return 0;
    }
    let mut flags = libc::TUN_F_CSUM;
    if assists & ASSIST_TSO4 != 0 {
        flags |= libc::TUN_F_TSO4;
    }
    if assists & ASSIST_TSO6 != 0 {
        flags |= libc::TUN_F_TSO6;
    }
    flags
}

/// The largest super-frame that fits what the driver said and its buffers; `None` without TSO.
fn super_frame_limit(tso_max: [u32; 2], assists: u32, buffer_size: usize) -> Option<u32> {
    let flags = offload_flags(assists);
    let [tso4, tso6] = tso_max;
    let offered = [(flags & libc::TUN_F_TSO4, tso4), (flags & libc::TUN_F_TSO6, tso6)];
    let least = offered.into_iter().filter(|(on, _)| *on != 0).map(|(_, max)| max).min()?;
    let buffer = u32::try_from(buffer_size).unwrap_or(u32::MAX);
    Some(least.min(buffer).clamp(GSO_MIN, GSO_MAX))
}

struct TapSink(Arc<Shared>);

impl Sink for TapSink {
    fn deliver(&self, queue: usize, frames: &[RxFrame<'_>]) {
        let shared = &*self.0;
        let Some(file) = shared.queues.get(queue % shared.queues.len().max(1)) else {
            return;
        };
        let (mut taken, mut bytes, mut refused) = (0, 0, 0);
        for frame in frames {
            match file.write(frame.bytes, &frame.offload) {
                Ok(()) => {
                    taken += 1;
                    bytes += frame.bytes.len() as u64;
                }
                // EIO: the interface is administratively down. EINVAL: shorter than an Ethernet header, or offload
                // metadata that does not fit the frame.
                Err(_) => refused += 1,
            }
        }
        shared.counters.received.fetch_add(taken, Ordering::Relaxed);
        shared.counters.received_bytes.fetch_add(bytes, Ordering::Relaxed);
        shared.counters.receive_dropped.fetch_add(refused, Ordering::Relaxed);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A persistent interface must not look connected while nobody serves it.
        if let Some(queue) = self.queues.first() {
            let _ = queue.set_carrier(false);
        }
    }
}

/// Bytes of header that stand before each frame of [`open_queues`]'s.
pub const HEADER_LEN: usize = super::vnet::LEN;

/// Opens `count` queues of a TAP interface, makes it if there is none, and brings it up: for a device model in another
/// process, which then is the interface's other side.
///
/// # Errors
/// What the kernel said.
pub fn open_queues(spec: &TapSpec, count: usize) -> io::Result<Vec<std::os::fd::OwnedFd>> {
    let queues = in_netns(spec.netns.as_deref(), || {
        let queues = Queue::open(&spec.name, count)?;
        let index = nix::net::if_::if_nametoindex(spec.name.as_str())?;
        Netlink::open(false)?.change(index, LinkChange::Up(true))?;
        Ok(queues)
    })?;
    queues.iter().map(|queue| queue.as_fd().try_clone_to_owned()).collect()
}
