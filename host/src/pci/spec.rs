//! Which PCI device: `qemu:MODEL`, `sim:igc`, `vfio:ADDRESS`.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use super::PciDevice;
use super::qemu::{Config, Model, Netdev, QemuDevice};
use super::sim::{SimNic, Wire};
use super::vfio::{Address, VfioDevice};
use crate::stack::spec::TapSpec;
use crate::stack::tap;

/// A PCI device that a driver can be put on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PciSpec {
    /// A device model of QEMU's.
    Qemu(Model),
    /// A model of an I225.
    Igc,
    /// A device of this machine.
    Vfio(Address),
}

impl FromStr for PciSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("qemu", model)) => model.parse().map(Self::Qemu),
            Some(("vfio", address)) => address.parse().map(Self::Vfio),
            Some(("sim", "igc")) => Ok(Self::Igc),
            _ => Err(format!("{text}: a PCI device is qemu:MODEL, sim:igc or vfio:ADDRESS")),
        }
    }
}

impl fmt::Display for PciSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qemu(model) => write!(f, "qemu:{model}"),
            Self::Igc => f.write_str("sim:igc"),
            Self::Vfio(address) => write!(f, "vfio:{address}"),
        }
    }
}

impl PciSpec {
    /// Whether its cable ends in an interface that the caller names.
    #[must_use]
    pub fn takes_peer(&self) -> bool {
        !matches!(self, Self::Vfio(_))
    }

    /// Whether it cannot do without one.
    #[must_use]
    pub fn needs_peer(&self) -> bool {
        matches!(self, Self::Qemu(_))
    }

    /// Opens the device: with the personality's `WeirNIC` for it. See [`PciSpec::device`].
    ///
    /// # Errors
    /// It is not there, cannot be had, or is none that the driver knows.
    pub fn open(
        &self,
        peer: Option<&TapSpec>,
        queues: usize,
        mac: [u8; 6],
    ) -> io::Result<(&'static str, Arc<dyn PciDevice>)> {
        let device = self.device(peer, queues, mac)?;
        // PCI 3.0 section 6.2.1: vendor and device.
        let identity = device.config_read(0, 4);
        let kind = weir_core::nic::pci_kind(identity).ok_or_else(|| {
            let (vendor, number) = (identity & 0xffff, identity >> 16);
            io::Error::other(format!("{self} is {vendor:04x}:{number:04x}, which is no device of the driver's"))
        })?;
        Ok((kind, device))
    }

    /// Opens the device, whatever it is. `peer` is where its cable ends, `mac` the address of a model.
    ///
    /// # Errors
    /// It is not there, or cannot be had.
    pub fn device(&self, peer: Option<&TapSpec>, queues: usize, mac: [u8; 6]) -> io::Result<Arc<dyn PciDevice>> {
        match self {
            Self::Qemu(model) => {
                let peer = peer.ok_or_else(|| io::Error::other("a device model of QEMU's needs a peer"))?;
                let is_virtio = matches!(model, Model::VirtioNet { .. });
                let queues = if is_virtio { queues } else { 1 };
                let netdev = Netdev::Tap(tap::open_queues(peer, queues)?);
                let config = Config { model: *model, netdev, mac, mtu: None, properties: Vec::new() };
                Ok(QemuDevice::start(&config)?)
            }
            Self::Igc => {
                let wire = match peer {
                    None => Wire::station(),
                    Some(peer) => {
                        let tap = tap::open_queues(peer, 1)?.pop().ok_or_else(|| io::Error::other("no queue"))?;
                        Wire::file(tap, tap::HEADER_LEN)
                    }
                };
                Ok(SimNic::new(mac, wire))
            }
            Self::Vfio(address) => Ok(VfioDevice::open(address)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named() {
        assert_eq!("sim:igc".parse(), Ok(PciSpec::Igc));
        assert_eq!("qemu:e1000e".parse(), Ok(PciSpec::Qemu(Model::E1000e)));
        assert!("vfio:03:00.0".parse::<PciSpec>().is_ok());
        for wrong in ["sim:e1000e", "qemu:ne2000", "vfio:eth0", "e1000e", "pci:1"] {
            assert!(wrong.parse::<PciSpec>().is_err(), "{wrong}");
        }
    }
}
