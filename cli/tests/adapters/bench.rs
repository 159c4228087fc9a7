//! A NIC on a device model, with the stack's side and the wire's side in the test's hands.

use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

// Linked for the symbols that the dext refers to.
use weir_core as _;
use weir_host::pci::Pci;
use weir_host::pci::qemu::{Config, Model, QemuDevice};
use weir_host::port::{Offload, Port, RxFrame, Sink, TxFrame};
use weir_host::{Host, HostConfig, Prop, Properties, Service};

/// Long enough for a machine on which other tests run; nothing waits this long when it works.
pub const LIMIT: Duration = Duration::from_secs(20);

pub const MAC: [u8; 6] = [0x02, 0x57, 0x45, 0x49, 0x52, 0x01];
pub const PEER: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0x00, 0x99];

/// Every model that the scenarios run on.
pub const MODELS: &[Model] = &[Model::VirtioNet { packed: false }, Model::VirtioNet { packed: true }, Model::E1000e];

/// What arrived at the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub bytes: Vec<u8>,
    pub offload: Offload,
}

#[derive(Default)]
struct Collector {
    list: Mutex<Vec<Received>>,
    came: Condvar,
}

impl Sink for Collector {
    fn deliver(&self, _queue: usize, frames: &[RxFrame<'_>]) {
        let mut list = self.list.lock().unwrap();
        list.extend(frames.iter().map(|f| Received { bytes: f.bytes.to_vec(), offload: f.offload }));
        self.came.notify_all();
    }
}

/// See the module.
pub struct Bench {
    pub model: Model,
    pub host: Host,
    pub service: Service,
    pub port: Arc<dyn Port>,
    pub wire: UnixDatagram,
    pub device: Arc<QemuDevice>,
    received: Arc<Collector>,
}

/// The personality of a model, as in Info.plist.
pub fn personality(model: Model, more: &[(&str, Prop)]) -> Properties {
    let kind = match model {
        Model::VirtioNet { .. } => "virtio",
        Model::E1000e => "e1000e",
    };
    let client: Properties = [("IOClass", "IOUserUserClient"), ("IOUserClass", "WeirUserClient")]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), Prop::from(value)))
        .collect();
    let mut all = Properties::new();
    all.insert("WeirNIC".into(), kind.into());
    all.insert("WeirSeed".into(), 7u64.into());
    all.insert("UserClientProperties".into(), client.into());
    all.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    all
}

impl Bench {
    /// A NIC that is up.
    pub fn up(model: Model) -> Bench {
        Self::with(model, &[], &[])
    }

    pub fn with(model: Model, device: &[&str], more: &[(&str, Prop)]) -> Bench {
        let host = Host::new(HostConfig { strict_leaks: true, ..HostConfig::threads() });
        let (mut config, wire) = Config::on_socket(model, MAC).unwrap();
        config.properties.extend(device.iter().map(|p| (*p).to_owned()));
        let device = QemuDevice::start(&config).unwrap();
        drop(config);
        let booted = host.boot_pci("WeirPCIEthernet", personality(model, more), device.clone());
        let service = booted.unwrap_or_else(|e| panic!("{model}: {e}"));
        let port = service.port().unwrap();
        let received = Arc::new(Collector::default());
        port.set_sink(Some(received.clone()));
        wire.set_read_timeout(Some(LIMIT)).unwrap();
        let bench = Bench { model, host, service, port, wire, device, received };
        bench.service.set_enabled(true).unwrap();
        bench.wait("the link", || bench.port.running());
        bench
    }

    pub fn pci(&self) -> Arc<Pci> {
        self.service.pci().unwrap()
    }

    pub fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + LIMIT;
        while !done() {
            assert!(Instant::now() < end, "{}: waited in vain for {what}", self.model);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends one frame from the stack.
    pub fn send(&self, frame: &[u8], offload: Offload) {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(mut packet) = self.port.tx_alloc() {
                packet.buffer()[..frame.len()].copy_from_slice(frame);
                packet.finish(frame.len(), offload);
                let mut list: Vec<Box<dyn TxFrame>> = vec![packet];
                self.port.tx_submit(0, &mut list);
                if list.is_empty() {
                    return;
                }
            }
            assert!(Instant::now() < end, "{}: no room to send", self.model);
            self.port.tx_wait(0, 10);
        }
    }

    /// The next frame on the wire.
    pub fn next_on_wire(&self) -> Vec<u8> {
        let mut buffer = vec![0; 70_000];
        let len = self.wire.recv(&mut buffer).unwrap_or_else(|e| panic!("{}: nothing on the wire: {e}", self.model));
        buffer.truncate(len);
        buffer
    }

    /// Puts a frame onto the wire.
    pub fn put_on_wire(&self, frame: &[u8]) {
        assert_eq!(self.wire.send(frame).unwrap(), frame.len());
    }

    /// The next `count` frames that the stack got.
    pub fn receive(&self, count: usize) -> Vec<Received> {
        let list = self.received.list.lock().unwrap();
        let (mut list, _) = self.received.came.wait_timeout_while(list, LIMIT, |list| list.len() < count).unwrap();
        assert!(list.len() >= count, "{}: {} of {count} frames arrived", self.model, list.len());
        list.drain(..count).collect()
    }

    /// Stops the driver and checks that nothing is left or went where it must not.
    pub fn end(self) {
        let model = self.model;
        self.pci().check_faults();
        let report = self.service.terminate();
        assert!(report.finished && report.freed, "{model}: {report:?}");
        assert_eq!(report.leaked_packets, 0, "{model}");
        let Bench { host, service, port, .. } = self;
        drop((service, port));
        assert_eq!(host.finish().leaks, [], "{model}");
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
