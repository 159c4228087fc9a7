//! Every back end, and what the far end of its cable and its device can be made to do.

use std::fmt;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_host::pci::PciDevice as _;
use weir_host::pci::qemu::{Config, Model, QemuDevice};
use weir_host::pci::sim::{SimNic, Wire};
use weir_host::port::Offload;
use weir_host::provider::ProviderSpec;
use weir_host::usb::sim::{Model as UsbModel, Quirk, SimDevice};
use weir_host::wire::{ClientLink, Direct, WireLink};
use weir_host::{Call, Host, HostConfig, Prop, Properties, Service};

/// The station's address on models that take one.
const MAC: [u8; 6] = [0x02, 0x57, 0x45, 0x49, 0x52, 0x01];
/// Interface of the USB models' communication class.
const USB_CONTROL: u8 = 0;
/// `WEIR_SELECTOR_SET_LINK`.
const SET_LINK: u64 = 4;

/// A back end with a model under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The virtual NIC, its far end in the test's hands.
    Loopback,
    /// A PCI device of QEMU's.
    Qemu(Model),
    /// The model of an I225.
    Igc,
    /// A model of a USB function.
    Usb(UsbModel),
}

/// All of them: the table's columns.
pub const ALL: [Backend; 9] = [
    Backend::Loopback,
    Backend::Qemu(Model::VirtioNet { packed: false }),
    Backend::Qemu(Model::VirtioNet { packed: true }),
    Backend::Qemu(Model::E1000e),
    Backend::Igc,
    Backend::Usb(UsbModel::Ncm),
    Backend::Usb(UsbModel::Ncm32),
    Backend::Usb(UsbModel::Ecm),
    Backend::Usb(UsbModel::Rndis),
];

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::Qemu(model) => write!(f, "{model}"),
            Self::Igc => f.write_str("igc"),
            Self::Usb(model) => write!(f, "{model}"),
        }
    }
}

impl Backend {
    /// Real time and threads; the others live in virtual time.
    pub fn is_real_time(self) -> bool {
        matches!(self, Self::Qemu(_))
    }

    pub fn is_pci(self) -> bool {
        matches!(self, Self::Qemu(_) | Self::Igc)
    }

    /// The largest MTU.
    pub fn mtu_max(self) -> u32 {
        if matches!(self, Self::Usb(_)) { 1500 } else { 9000 }
    }

    /// The device looks at checksums of what arrives.
    pub fn checks_on_receive(self) -> bool {
        matches!(self, Self::Qemu(Model::E1000e) | Self::Igc)
    }

    /// Super-frames leave as segments. (QEMU 7.2's e1000e makes IP fragments of them where the far end takes no
    /// super-frames; its virtio-net offers no segmentation there.)
    pub fn cuts_segments(self) -> bool {
        matches!(self, Self::Loopback | Self::Igc)
    }

    pub fn host(self, seed: u64) -> HostConfig {
        let base = if self.is_real_time() { HostConfig::threads() } else { HostConfig::simulated(seed) };
        HostConfig { strict_leaks: true, ..base }
    }

    /// The personality, as in Info.plist.
    fn personality(self, more: &[(&str, Prop)]) -> Properties {
        let client: Properties = [("IOClass", "IOUserUserClient"), ("IOUserClass", "WeirUserClient")]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), Prop::from(value)))
            .collect();
        let mut all = Properties::new();
        match self {
            Self::Loopback => {
                all.insert("WeirWire".into(), "client".into());
                all.insert("WeirMAC".into(), Prop::Data(MAC.to_vec()));
                all.insert("WeirMaxMTU".into(), 9000u32.into());
            }
            Self::Qemu(Model::E1000e) => drop(all.insert("WeirNIC".into(), "e1000e".into())),
            Self::Qemu(Model::VirtioNet { .. }) => drop(all.insert("WeirNIC".into(), "virtio".into())),
            Self::Igc => drop(all.insert("WeirNIC".into(), "igc".into())),
            Self::Usb(_) => {}
        }
        all.insert("WeirSeed".into(), 7u64.into());
        all.insert("UserClientProperties".into(), client.into());
        all.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        all
    }

    /// Boots the driver on a provider by its name, as `dkhost run --provider` does.
    pub fn boot_named(self, host: &Host, name: &str) -> (Service, Box<dyn Far>) {
        let provider = name.parse::<ProviderSpec>().unwrap().open().unwrap();
        let booted = host.boot_on("WeirPCIEthernet", self.personality(&[]), provider);
        (booted.unwrap_or_else(|e| panic!("{name}: {e}")), Box::new(Nobody))
    }

    /// Boots the driver on a new device.
    pub fn boot(self, host: &Host, more: &[(&str, Prop)]) -> (Service, Box<dyn Far>) {
        let properties = self.personality(more);
        let failed = |error: weir_host::BootError| -> ! { panic!("{self}: {error}: {:?}", host.log_lines()) };
        match self {
            Self::Loopback => {
                let service = host.boot("WeirEthernet", properties).unwrap_or_else(|e| failed(e));
                let link: Arc<dyn WireLink> = ClientLink::open(&service, writer()).unwrap();
                let wire = Mutex::new((Direct::open(&link, false).unwrap(), Vec::new()));
                (service.clone(), Box::new(Rings { service, wire }))
            }
            Self::Qemu(model) => {
                let (config, wire) = Config::on_socket(model, MAC).unwrap();
                let device = QemuDevice::start(&config).unwrap();
                drop(config);
                let booted = host.boot_pci("WeirPCIEthernet", properties, device.clone());
                let service = booted.unwrap_or_else(|e| failed(e));
                (service.clone(), Box::new(Socket { model, wire, device, service }))
            }
            Self::Igc => {
                let device = SimNic::new(MAC, Wire::station());
                device.set_respond(false);
                let booted = host.boot_pci("WeirPCIEthernet", properties, device.clone());
                let service = booted.unwrap_or_else(|e| failed(e));
                (service.clone(), Box::new(Sim { device, service, taken: Mutex::default() }))
            }
            Self::Usb(model) => {
                let device = SimDevice::new(model, 0);
                device.set_respond(false);
                let booted = host.boot_usb("WeirUSBEthernet", properties, device.clone(), Some(USB_CONTROL));
                (booted.unwrap_or_else(|e| failed(e)), Box::new(Usb { device, taken: Mutex::default() }))
            }
        }
    }
}

/// Entitlements of a program that may write.
pub fn writer() -> Properties {
    Properties::from([("dev.weir.control".to_owned(), Prop::Bool(true))])
}

/// The far end of the cable, and the device itself.
pub trait Far: Send + Sync {
    /// Puts a frame onto the wire; false: not now.
    fn put(&self, frame: &[u8]) -> bool;
    /// The next frame on the wire, if there is one; waits no longer than `limit` of real time.
    fn take(&self, limit: Duration) -> Option<Vec<u8>>;
    fn set_cable(&self, plugged: bool);
    /// Makes the device lose what it was told, or halt; false: it cannot.
    fn disturb(&self) -> bool;
    /// Makes the device move nothing, or go on; false: it cannot.
    fn hang(&self, on: bool) -> bool;
    /// Keeps messages of a PCI device back, or lets them go (PCI 3.0 section 6.8.2.3: the function mask).
    fn mask_messages(&self, _on: bool) {}
    /// Pulls the device out; false: it is none that can be.
    fn unplug(&self) -> bool;
    /// What the device found wrong with its driver.
    fn faults(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Frames of a list, one at a time.
fn next(list: &Mutex<Vec<Vec<u8>>>, more: impl FnOnce() -> Vec<Vec<u8>>) -> Option<Vec<u8>> {
    let mut list = list.lock().unwrap();
    if list.is_empty() {
        *list = more();
        list.reverse();
    }
    list.pop()
}

/// The far end of a cable that answers by itself.
struct Nobody;

impl Far for Nobody {
    fn put(&self, _frame: &[u8]) -> bool {
        false
    }

    fn take(&self, _limit: Duration) -> Option<Vec<u8>> {
        None
    }

    fn set_cable(&self, _plugged: bool) {}

    fn disturb(&self) -> bool {
        false
    }

    fn hang(&self, _on: bool) -> bool {
        false
    }

    fn unplug(&self) -> bool {
        false
    }
}

struct Rings {
    service: Service,
    wire: Mutex<(Direct, Vec<Vec<u8>>)>,
}

impl Far for Rings {
    fn put(&self, frame: &[u8]) -> bool {
        self.wire.lock().unwrap().0.send(frame, &Offload::default())
    }

    fn take(&self, _limit: Duration) -> Option<Vec<u8>> {
        let (direct, list) = &mut *self.wire.lock().unwrap();
        if list.is_empty() {
            direct.receive(|frame, _| list.push(frame.to_vec()));
            list.reverse();
        }
        list.pop()
    }

    fn set_cable(&self, plugged: bool) {
        let client = self.service.open_user_client(0, writer(), None).unwrap();
        let call = Call { selector: SET_LINK, scalars: vec![plugged.into()], ..Call::default() };
        assert_eq!(client.call(call).unwrap().status, weir_host::IoReturn::SUCCESS);
    }

    fn disturb(&self) -> bool {
        false
    }

    fn hang(&self, _on: bool) -> bool {
        false
    }

    fn unplug(&self) -> bool {
        false
    }
}

struct Socket {
    model: Model,
    wire: UnixDatagram,
    device: Arc<QemuDevice>,
    service: Service,
}

impl Far for Socket {
    fn put(&self, frame: &[u8]) -> bool {
        assert_eq!(self.wire.send(frame).unwrap(), frame.len());
        true
    }

    fn take(&self, limit: Duration) -> Option<Vec<u8>> {
        self.wire.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).unwrap();
        let mut buffer = vec![0; 70_000];
        let len = self.wire.recv(&mut buffer).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    fn set_cable(&self, plugged: bool) {
        self.device.set_cable(plugged).unwrap();
    }

    fn disturb(&self) -> bool {
        match self.model {
            // Section 10.2.2.1 of the 82574 datasheet.
            Model::E1000e => self.device.write(0, 0, 4, 1 << 26),
            // Section 4.1.4.3: the status register of the common structure, which QEMU has in BAR 4.
            Model::VirtioNet { .. } => self.device.write(4, 0x14, 1, 0),
        }
        true
    }

    fn hang(&self, _on: bool) -> bool {
        false
    }

    fn mask_messages(&self, on: bool) {
        mask(&*self.device, on);
    }

    fn unplug(&self) -> bool {
        self.service.pci().unwrap().unplug();
        true
    }
}

fn mask(device: &dyn weir_host::pci::PciDevice, on: bool) {
    let at = (0x40..0x100).step_by(4).find(|at| device.config_read(*at, 1) == 0x11).unwrap();
    let control = device.config_read(at + 2, 2) & !0x4000;
    device.config_write(at + 2, 2, control | if on { 0x4000 } else { 0 });
}

struct Sim {
    device: Arc<SimNic>,
    service: Service,
    taken: Mutex<Vec<Vec<u8>>>,
}

impl Far for Sim {
    fn put(&self, frame: &[u8]) -> bool {
        self.device.send([frame.to_vec()]);
        true
    }

    fn take(&self, _limit: Duration) -> Option<Vec<u8>> {
        next(&self.taken, || self.device.take())
    }

    fn set_cable(&self, plugged: bool) {
        self.device.set_cable(plugged);
    }

    fn disturb(&self) -> bool {
        self.device.lose_power();
        true
    }

    fn hang(&self, on: bool) -> bool {
        self.device.set_stuck(on);
        true
    }

    fn mask_messages(&self, on: bool) {
        mask(&*self.device, on);
    }

    fn unplug(&self) -> bool {
        self.service.pci().unwrap().unplug();
        true
    }
}

struct Usb {
    device: Arc<SimDevice>,
    taken: Mutex<Vec<Vec<u8>>>,
}

impl Far for Usb {
    fn put(&self, frame: &[u8]) -> bool {
        self.device.send([frame.to_vec()]);
        true
    }

    fn take(&self, _limit: Duration) -> Option<Vec<u8>> {
        next(&self.taken, || self.device.take())
    }

    fn set_cable(&self, plugged: bool) {
        self.device.set_cable(plugged);
    }

    fn disturb(&self) -> bool {
        self.device.misbehave(Quirk::StallOut);
        true
    }

    fn hang(&self, on: bool) -> bool {
        if on {
            self.device.misbehave(Quirk::HangOut)
        } else {
            self.device.go_on()
        }
        true
    }

    fn unplug(&self) -> bool {
        self.device.unplug();
        true
    }

    fn faults(&self) -> Vec<String> {
        self.device.take_faults()
    }
}
