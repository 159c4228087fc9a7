//! A NIC on a device model, with the stack's side and the wire's side in the test's hands.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

// Linked for the symbols that the dext refers to.
use weir_core::abi::sys;
use weir_host::port::{Offload, Port, RxFrame, Sink, TxFrame};
use weir_host::{Call, Host, Prop, Service};

use super::backend::{ALL, Backend, Far, writer};

/// Long enough for a machine on which other tests run; nothing waits this long when it works. Of virtual time as many
/// milliseconds.
pub const LIMIT: Duration = Duration::from_secs(20);
/// `WEIR_SELECTOR_COMMAND`.
const COMMAND: u64 = 0;
/// A look at a device in real time.
const LOOK: Duration = Duration::from_millis(1);
/// A turn of virtual time; what is due at once needs none.
const TURN: Duration = Duration::from_micros(250);

pub const PEER: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0x00, 0x99];

/// What arrived at the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub queue: usize,
    pub bytes: Vec<u8>,
    pub offload: Offload,
}

#[derive(Default)]
struct Collector {
    list: Mutex<Vec<Received>>,
    came: Condvar,
}

impl Sink for Collector {
    fn deliver(&self, queue: usize, frames: &[RxFrame<'_>]) {
        let mut list = self.list.lock().unwrap();
        list.extend(frames.iter().map(|f| Received { queue, bytes: f.bytes.to_vec(), offload: f.offload }));
        self.came.notify_all();
    }
}

/// See the module.
pub struct Bench {
    pub backend: Backend,
    pub host: Host,
    pub service: Service,
    pub port: Arc<dyn Port>,
    pub far: Box<dyn Far>,
    pub mac: [u8; 6],
    received: Arc<Collector>,
}

/// Runs a scenario on every back end.
pub fn each(run: impl Fn(Bench)) {
    for backend in ALL {
        run(Bench::up(backend));
    }
}

impl Bench {
    /// A NIC that is up.
    pub fn up(backend: Backend) -> Bench {
        Self::with(backend, &[])
    }

    pub fn with(backend: Backend, more: &[(&str, Prop)]) -> Bench {
        let host = Host::new(backend.host(1));
        let (service, far) = backend.boot(&host, more);
        Self::of(backend, host, service, far)
    }

    /// Brings up a driver that was booted.
    pub fn of(backend: Backend, host: Host, service: Service, far: Box<dyn Far>) -> Bench {
        let port = service.port().unwrap();
        let received = Arc::new(Collector::default());
        port.set_sink(Some(received.clone()));
        let mac = port.info().mac;
        let bench = Bench { backend, host, service, port, far, mac, received };
        bench.service.set_enabled(true).unwrap();
        bench.wait("the link", || bench.port.running());
        bench
    }

    /// Lets a moment pass.
    pub fn pause(&self) {
        if self.backend.is_real_time() { std::thread::sleep(LOOK) } else { self.host.advance(TURN) }
    }

    /// Lets time pass: all of it where it is virtual.
    pub fn pass(&self, time: Duration) {
        if self.backend.is_real_time() { std::thread::sleep(time) } else { self.host.advance(time) }
    }

    pub fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let mut tries = Tries::new();
        while !done() {
            tries.next(|| format!("{}: waited in vain for {what}", self.backend));
            self.pause();
        }
    }

    /// Sends one frame from the stack, if there is room.
    pub fn try_send(&self, queue: usize, frame: &[u8], offload: Offload) -> bool {
        let Some(mut packet) = self.port.tx_alloc() else { return false };
        packet.buffer()[..frame.len()].copy_from_slice(frame);
        packet.finish(frame.len(), offload);
        let mut list: Vec<Box<dyn TxFrame>> = vec![packet];
        self.port.tx_submit(queue, &mut list);
        list.is_empty()
    }

    /// Sends one frame that begins `offset` bytes later in its buffer than it has to.
    pub fn send_at(&self, offset: usize, frame: &[u8], offload: Offload) {
        let mut tries = Tries::new();
        let mut packet = loop {
            if let Some(packet) = self.port.tx_alloc() {
                break packet;
            }
            tries.next(|| format!("{}: no packet to send", self.backend));
            self.pause();
        };
        packet.reserve(offset);
        packet.buffer()[..frame.len()].copy_from_slice(frame);
        packet.finish(frame.len(), offload);
        let mut list: Vec<Box<dyn TxFrame>> = vec![packet];
        while !list.is_empty() {
            self.port.tx_submit(0, &mut list);
            tries.next(|| format!("{}: no room to send", self.backend));
        }
    }

    /// Sends one frame from the stack.
    pub fn send(&self, frame: &[u8], offload: Offload) {
        let mut tries = Tries::new();
        while !self.try_send(0, frame, offload) {
            tries.next(|| format!("{}: no room to send", self.backend));
            if self.backend.is_real_time() {
                self.port.tx_wait(0, 10);
            } else {
                self.pause();
            }
        }
    }

    /// The next frame on the wire.
    pub fn next_on_wire(&self) -> Vec<u8> {
        let mut tries = Tries::new();
        loop {
            if let Some(frame) = self.far.take(Duration::from_millis(100)) {
                return frame;
            }
            tries.next(|| format!("{}: nothing on the wire; counters {:?}", self.backend, self.counters()));
            self.pause();
        }
    }

    /// Everything that still comes out within `time`.
    pub fn drain_wire(&self, time: Duration) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        if !self.backend.is_real_time() {
            self.pass(time);
        }
        let limit = if self.backend.is_real_time() { time } else { Duration::ZERO };
        while let Some(frame) = self.far.take(limit) {
            all.push(frame);
        }
        all
    }

    /// Puts a frame onto the wire.
    pub fn put_on_wire(&self, frame: &[u8]) {
        let mut tries = Tries::new();
        while !self.far.put(frame) {
            tries.next(|| format!("{}: the wire takes nothing", self.backend));
            self.pause();
        }
    }

    /// The next `count` frames that the stack got.
    pub fn receive(&self, count: usize) -> Vec<Received> {
        let mut tries = Tries::new();
        loop {
            let list = self.received.list.lock().unwrap();
            let mut list = if self.backend.is_real_time() {
                let look = Duration::from_millis(100);
                self.received.came.wait_timeout_while(list, look, |list| list.len() < count).unwrap().0
            } else {
                list
            };
            if list.len() >= count {
                return list.drain(..count).collect();
            }
            let got = list.len();
            drop(list);
            tries.next(|| format!("{}: {got} of {count} frames arrived", self.backend));
            self.pause();
        }
    }

    /// What the stack got, without waiting.
    pub fn received(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.list.lock().unwrap())
    }

    /// Runs one of the core's commands: its status and reply.
    pub fn command(&self, command: u32, argument: u64, rest: &[u8], room: u64) -> (u64, Vec<u8>) {
        let mut request = sys::WEIR_ABI_VERSION.to_ne_bytes().to_vec();
        request.extend_from_slice(&command.to_ne_bytes());
        request.extend_from_slice(&argument.to_ne_bytes());
        request.extend_from_slice(rest);
        let client = self.service.open_user_client(0, writer(), None).unwrap();
        let call =
            Call { selector: COMMAND, input: Some(request), scalars_out: 2, output_max: room, ..Call::default() };
        let reply = client.call(call).unwrap();
        assert_eq!(reply.status, weir_host::IoReturn::SUCCESS);
        (reply.scalars[0], reply.output)
    }

    /// Counters of the core, as `weir_counters` lays them out.
    fn counters(&self) -> Vec<u64> {
        let all = u64::from(sys::WEIR_ALL_QUEUES);
        let (_, reply) = self.command(sys::WEIR_CMD_COUNTERS, all, &[], size_of::<sys::weir_counters>() as u64);
        reply.chunks_exact(8).map(|bytes| u64::from_ne_bytes(bytes.try_into().unwrap())).collect()
    }

    /// What it cost the adapter, as `weir_nic_stats` lays it out.
    pub fn nic_stats(&self) -> Vec<u64> {
        let (status, reply) = self.command(sys::WEIR_CMD_NIC_STATS, 0, &[], size_of::<sys::weir_nic_stats>() as u64);
        assert_eq!(status, 0);
        reply.chunks_exact(8).map(|bytes| u64::from_ne_bytes(bytes.try_into().unwrap())).collect()
    }

    /// Stops the driver and checks that nothing is left or went where it must not.
    pub fn end(self) {
        assert_eq!(self.far.faults(), Vec::<String>::new(), "{}", self.backend);
        self.end_anyhow();
    }

    /// As [`Bench::end`], of a device that had reasons to complain.
    pub fn end_anyhow(self) {
        let backend = self.backend;
        if let Some(pci) = self.service.pci() {
            pci.check_faults();
        }
        let report = self.service.terminate();
        assert!(report.finished && report.freed, "{backend}: {report:?}");
        assert_eq!(report.leaked_packets, 0, "{backend}");
        let Bench { host, service, port, far, .. } = self;
        drop((service, port, far));
        assert_eq!(host.finish().leaks, [], "{backend}");
    }
}

/// Bounds a wait by real time and by attempts.
struct Tries {
    end: Instant,
    left: u32,
}

impl Tries {
    fn new() -> Tries {
        Tries { end: Instant::now() + LIMIT, left: 200_000 }
    }

    fn next(&mut self, what: impl FnOnce() -> String) {
        self.left -= 1;
        assert!(self.left > 0 && Instant::now() < self.end, "{}", what());
    }
}

/// A frame between the peer and the NIC whose payload says where it came from.
pub fn frame(destination: [u8; 6], len: usize, seed: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(len);
    frame.extend_from_slice(&destination);
    frame.extend_from_slice(&PEER);
    // IEEE Std 802 local experimental EtherType 1.
    frame.extend_from_slice(&[0x88, 0xb5]);
    let body = (0..len.saturating_sub(14)).map(|i| (i.wrapping_mul(31) ^ seed.wrapping_mul(7)) as u8);
    frame.extend(body);
    frame.truncate(len);
    frame
}
