//! Which device: `usb:BUS-DEV`, `usb:VID:PID[,config=N]`, `sim:ncm`, `sim:ecm`, `sim:rndis`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::sim::{self, Model};
use super::{Node, UsbDevice, fs};

/// A USB device that a driver can be put on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsbSpec {
    /// By bus and device number.
    At {
        /// Bus.
        bus: u16,
        /// Device.
        device: u16,
        /// Configuration to select.
        configuration: Option<u8>,
    },
    /// The first with this vendor and product.
    Id {
        /// `idVendor`.
        vendor: u16,
        /// `idProduct`.
        product: u16,
        /// Configuration to select.
        configuration: Option<u8>,
    },
    /// A model.
    Sim(Model),
}

impl fmt::Display for UsbSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { bus, device, .. } => write!(f, "usb:{bus}-{device}"),
            Self::Id { vendor, product, .. } => write!(f, "usb:{vendor:04x}:{product:04x}"),
            Self::Sim(model) => write!(f, "sim:{model}"),
        }
    }
}

impl FromStr for UsbSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(model) = text.strip_prefix("sim:") {
            return model.parse().map(Self::Sim);
        }
        let rest = text.strip_prefix("usb:").ok_or("a USB device is usb:BUS-DEV, usb:VID:PID or sim:MODEL")?;
        let (place, option) = rest.split_once(',').map_or((rest, None), |(place, option)| (place, Some(option)));
        let configuration = match option {
            None => None,
            Some(option) => {
                let value = option.strip_prefix("config=").ok_or_else(|| format!("{option}: expected config=N"))?;
                Some(value.parse().map_err(|_| format!("{value}: not a configuration"))?)
            }
        };
        if let Some((vendor, product)) = place.split_once(':') {
            let hex = |text: &str| u16::from_str_radix(text, 16).map_err(|_| format!("{text}: not four hex digits"));
            return Ok(Self::Id { vendor: hex(vendor)?, product: hex(product)?, configuration });
        }
        let (bus, device) = place.split_once('-').ok_or_else(|| format!("{place}: expected BUS-DEV or VID:PID"))?;
        let number = |text: &str| text.parse().map_err(|_| format!("{text}: not a number"));
        Ok(Self::At { bus: number(bus)?, device: number(device)?, configuration })
    }
}

impl UsbSpec {
    /// Opens the device; the configuration that was asked for.
    fn device(&self) -> Result<(Arc<dyn UsbDevice>, Option<u8>), String> {
        Ok(match self {
            Self::Sim(model) => (sim::SimDevice::new(*model, 0), None),
            Self::At { bus, device, configuration } => (fs::FsDevice::open(*bus, *device)?, *configuration),
            Self::Id { vendor, product, configuration } => {
                let (bus, device) = fs::find(*vendor, *product)?;
                (fs::FsDevice::open(bus, device)?, *configuration)
            }
        })
    }

    /// Opens the device and finds its first network function: the device and `bInterfaceNumber`.
    ///
    /// # Errors
    /// It is not there, cannot be opened, or has no such function.
    pub fn open(&self) -> Result<(Arc<dyn UsbDevice>, u8), String> {
        let (device, wanted) = self.device()?;
        let (value, interface) =
            network_function(&device, wanted).ok_or_else(|| format!("{self} has no network function"))?;
        self.select(&device, value)?;
        Ok((device, interface))
    }

    /// Opens the device for a driver that knows it: with `bInterfaceNumber` of the first network function that a class
    /// defines, or else of the first interface.
    ///
    /// # Errors
    /// It is not there, or cannot be opened.
    pub fn open_any(&self) -> Result<(Arc<dyn UsbDevice>, Option<u8>), String> {
        let (device, wanted) = self.device()?;
        if let Some((value, interface)) = network_function(&device, wanted) {
            self.select(&device, value)?;
            return Ok((device, Some(interface)));
        }
        if let Some(value) = wanted {
            self.select(&device, value)?;
        }
        let first = Node::new(device.clone(), None).interfaces().first().copied();
        Ok((device, first))
    }

    fn select(&self, device: &Arc<dyn UsbDevice>, value: u8) -> Result<(), String> {
        if device.configuration() == value {
            return Ok(());
        }
        device.set_configuration(value).map_err(|e| format!("{self}: configuration {value}: {e}"))
    }
}

/// `bConfigurationValue` and `bInterfaceNumber` of the first network function, in the wanted configuration or else in
/// the selected one or else in any.
fn network_function(device: &Arc<dyn UsbDevice>, wanted: Option<u8>) -> Option<(u8, u8)> {
    let now = device.configuration();
    let mut all = device.configurations();
    all.sort_by_key(|one| one.get(5) != Some(&now));
    all.iter().find_map(|one| {
        let value = *one.get(5)?;
        let mut plan = weir_core::abi::sys::weir_usb_plan {
            nic: 0,
            configuration: 0,
            control_interface: 0,
            data_interface: 0,
            data_alternate: 0,
            idle_alternate: 0,
            endpoint_in: 0,
            endpoint_out: 0,
            endpoint_notify: 0,
            mac_string: 0,
            ncm_capabilities: 0,
            packet_in: 0,
            packet_out: 0,
            packet_notify: 0,
            max_segment: 0,
            multicast_filters: 0,
            flags: 0,
        };
        // SAFETY: the slice's own bytes, and a place for the result.
        let status = unsafe { weir_core::abi::weir_usb_probe(one.as_ptr(), one.len(), 255, &raw mut plan) };
        (status == 0 && wanted.is_none_or(|wanted| wanted == value)).then_some((value, plan.control_interface))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_by_place_number_and_model() {
        assert_eq!("usb:1-4".parse(), Ok(UsbSpec::At { bus: 1, device: 4, configuration: None }));
        let id = UsbSpec::Id { vendor: 0x0525, product: 0xa4a2, configuration: Some(2) };
        assert_eq!("usb:0525:a4a2,config=2".parse(), Ok(id));
        assert_eq!("sim:rndis".parse(), Ok(UsbSpec::Sim(Model::Rndis)));
        for wrong in ["usb:", "usb:1", "usb:x-y", "usb:0525:zz", "usb:1-1,conf=2", "sim:disk", "ncm"] {
            assert!(wrong.parse::<UsbSpec>().is_err(), "{wrong}");
        }
    }
}
