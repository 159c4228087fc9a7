//! A driver on a model.

use std::sync::Arc;
use std::time::Duration;

use weir_host::port::Offload;
use weir_host::usb::sim::{Model, SimDevice};
use weir_host::{Host, Prop};

use crate::support::{Nic, finish, personality, strict};

/// Interface of the models' communication class.
const CONTROL: u8 = 0;

pub struct Rig {
    pub host: Host,
    pub device: Arc<SimDevice>,
    pub nic: Nic,
}

/// Boots and brings up the driver on a device.
pub fn up_on(host: Host, device: Arc<SimDevice>, more: &[(&str, Prop)]) -> Rig {
    let booted = host.boot_usb("WeirUSBEthernet", personality("reflect", more), device.clone(), Some(CONTROL));
    let nic = Nic::of(booted.unwrap_or_else(|e| panic!("boot: {e}: {:?}", host.log_lines())));
    nic.service.set_enabled(true).unwrap_or_else(|e| panic!("enable: {e}: {:?}", host.log_lines()));
    let rig = Rig { host, device, nic };
    rig.settle();
    rig
}

/// The same on a device that may not answer as it must; the host if the driver would not have it.
pub fn try_up_on(host: Host, device: Arc<SimDevice>) -> Result<Rig, Host> {
    let booted = host.boot_usb("WeirUSBEthernet", personality("reflect", &[]), device.clone(), Some(CONTROL));
    let Ok(service) = booted else { return Err(host) };
    let nic = Nic::of(service);
    // One that cannot be enabled is sent frames all the same.
    let _ = nic.service.set_enabled(true);
    let rig = Rig { host, device, nic };
    rig.settle();
    Ok(rig)
}

pub fn up(model: Model, seed: u64, more: &[(&str, Prop)]) -> Rig {
    up_on(Host::new(strict(seed)), SimDevice::new(model, 0), more)
}

impl Rig {
    /// Lets 20 ms pass.
    pub fn settle(&self) {
        self.pass(20);
    }

    pub fn pass(&self, ms: u64) {
        self.host.advance(Duration::from_millis(ms));
    }

    pub fn send(&self, frame: &[u8]) -> bool {
        self.nic.send(0, frame, Offload::default())
    }

    /// Stops and asserts that nothing is left, and that the device found nothing wrong with the host.
    pub fn end(self) {
        self.nic.check();
        assert_eq!(self.device.take_faults(), Vec::<String>::new());
        self.nic.terminate();
        finish(self.host);
    }
}
