//! What a driver is put on, by name: `dkhost run --provider`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::host::{Host, Service};
use crate::pci::PciDevice;
use crate::pci::spec::PciSpec;
use crate::prop::Properties;
use crate::service::BootError;
use crate::stack::spec::{StackSpec, TapSpec};
use crate::usb::UsbDevice;
use crate::usb::spec::UsbSpec;

/// Which node of a USB device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The network function's interface that classes are matched by; without one the first interface.
    Found,
    /// This interface: `IOUSBHostInterface`.
    Interface(u8),
    /// The device: `IOUSBHostDevice`.
    Device,
}

/// A provider that is not open yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderSpec {
    /// `usb:...` or `sim:...`, with `,interface=N` or `,device`.
    Usb(UsbSpec, Place),
    /// `qemu:MODEL,tap:NAME`, `sim:igc[,tap:NAME]`, `vfio:ADDRESS`: a PCI NIC; a model's cable ends in a TAP interface.
    Pci(PciSpec, Option<TapSpec>),
}

/// A provider.
pub enum Provider {
    /// `IOUSBHostInterface`, or for `None` `IOUSBHostDevice`.
    Usb(Arc<dyn UsbDevice>, Option<u8>),
    /// `IOPCIDevice`.
    Pci(Arc<dyn PciDevice>),
}

impl fmt::Display for ProviderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usb(spec, Place::Found) => write!(f, "{spec}"),
            Self::Usb(spec, Place::Interface(number)) => write!(f, "{spec},interface={number}"),
            Self::Usb(spec, Place::Device) => write!(f, "{spec},device"),
            Self::Pci(spec, _) => write!(f, "{spec}"),
        }
    }
}

impl FromStr for ProviderSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if ["qemu:", "vfio:", "sim:igc"].iter().any(|kind| text.starts_with(kind)) {
            return pci(text);
        }
        if !text.starts_with("usb:") && !text.starts_with("sim:") {
            let kinds = "usb:BUS-DEV, usb:VID:PID, sim:MODEL, qemu:MODEL,tap:NAME or vfio:ADDRESS";
            return Err(format!("a provider is {kinds}"));
        }
        let mut place = Place::Found;
        let mut kept = Vec::new();
        for word in text.split(',') {
            match word.split_once('=') {
                None if word == "device" => place = Place::Device,
                Some(("interface", number)) => {
                    place = Place::Interface(number.parse().map_err(|_| format!("{number}: not an interface"))?);
                }
                _ => kept.push(word),
            }
        }
        Ok(Self::Usb(kept.join(",").parse()?, place))
    }
}

fn pci(text: &str) -> Result<ProviderSpec, String> {
    let (device, peer) = match text.split_once(",tap:") {
        Some((device, tap)) => (device, Some(format!("tap:{tap}"))),
        None => (text, None),
    };
    let device: PciSpec = device.parse()?;
    let peer = match peer.map(|peer| peer.parse::<StackSpec>()).transpose().map_err(|e| e.to_string())? {
        None if device.needs_peer() => return Err(format!("write {text},tap:NAME: where the cable ends")),
        None => None,
        Some(StackSpec::Tap(tap)) if device.takes_peer() => Some(tap),
        Some(_) => return Err(format!("{device} has a cable of its own")),
    };
    Ok(ProviderSpec::Pci(device, peer))
}

impl ProviderSpec {
    /// Opens it; a model is started.
    ///
    /// # Errors
    /// It is not there, somebody else has it, or a model does not start.
    pub fn open(&self) -> Result<Provider, String> {
        match self {
            Self::Usb(spec, place) => {
                let (device, found) = spec.open_any()?;
                let interface = match place {
                    Place::Found => Some(found.ok_or_else(|| format!("{self} has no interface; write ,device"))?),
                    Place::Interface(number) => Some(*number),
                    Place::Device => None,
                };
                Ok(Provider::Usb(device, interface))
            }
            Self::Pci(spec, peer) => {
                // Locally administered, and another for each process.
                let [.., a, b] = std::process::id().to_be_bytes();
                let opened = spec.device(peer.as_ref(), 1, [0x02, 0x57, 0x45, 0x49, a, b]);
                Ok(Provider::Pci(opened.map_err(|e| format!("{self}: {e}"))?))
            }
        }
    }
}

impl Host {
    /// As [`Host::boot`], on a provider.
    ///
    /// # Errors
    /// See [`BootError`].
    pub fn boot_on(&self, class: &str, properties: Properties, provider: Provider) -> Result<Service, BootError> {
        match provider {
            Provider::Usb(device, interface) => self.boot_usb(class, properties, device, interface),
            Provider::Pci(device) => self.boot_pci(class, properties, device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_named_by_bus_and_place() {
        let usb = |text: &str| text.parse::<UsbSpec>().unwrap();
        let spec = |text: &str| text.parse::<ProviderSpec>();
        assert_eq!(spec("sim:ecm"), Ok(ProviderSpec::Usb(usb("sim:ecm"), Place::Found)));
        let placed = ProviderSpec::Usb(usb("usb:0525:a4a2,config=2"), Place::Interface(1));
        assert_eq!(spec("usb:0525:a4a2,config=2,interface=1"), Ok(placed));
        assert_eq!(spec("usb:1-4,device"), Ok(ProviderSpec::Usb(usb("usb:1-4"), Place::Device)));
        let pci = |text: &str| text.parse::<PciSpec>().unwrap();
        for (text, device, tap) in [
            ("qemu:virtio-net,packed,tap:far0", "qemu:virtio-net,packed", true),
            ("sim:igc", "sim:igc", false),
            ("sim:igc,tap:far0,netns=x", "sim:igc", true),
            ("vfio:0000:03:00.0", "vfio:0000:03:00.0", false),
        ] {
            let found = spec(text).unwrap();
            assert!(matches!(&found, ProviderSpec::Pci(found, peer) if *found == pci(device) && peer.is_some() == tap));
            assert_eq!(found.to_string(), device);
        }
        for wrong in
            ["qemu:e1000e", "qemu:disk,tap:x0", "vfio:0000:03:00.0,tap:x0", "usb:1-4,interface=x", "sim:disk", "pci:0"]
        {
            assert!(spec(wrong).is_err(), "{wrong}");
        }
    }
}
