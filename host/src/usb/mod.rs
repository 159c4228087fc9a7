//! USB: what is behind `IOUSBHostDevice`, `IOUSBHostInterface` and `IOUSBHostPipe`.
//!
//! A [`UsbDevice`] is a device of Linux's (usbfs) or a model (sim). A [`Node`] ties it to a service: the device itself, or one
//! of its interfaces.

pub mod fs;
pub mod sim;
pub mod spec;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::host::{Host, Service};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::prop::Properties;
use crate::rt::Runtime;
use crate::sched::lock;
use crate::service::{BootError, Svc};

/// `kUSBHostReturnPipeStalled`.
pub const PIPE_STALLED: IoReturn = IoReturn(0xe000_5000_u32 as i32);

/// A control request's first eight bytes (USB 2.0 table 9-2), without the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// `bmRequestType`.
    pub kind: u8,
    /// `bRequest`.
    pub request: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`.
    pub index: u16,
}

impl Setup {
    /// The data stage goes to the host.
    #[must_use]
    pub fn is_in(self) -> bool {
        self.kind & 0x80 != 0
    }
}

/// What is told when a transfer ends: the bytes, or why not.
pub type Done = Box<dyn FnOnce(IoResult<u32>) + Send>;

/// A bulk or interrupt transfer.
pub struct Transfer {
    /// Where the bytes come from or go to.
    pub memory: Arc<Mem>,
    /// How many at most.
    pub length: u32,
    /// Called once, by any thread, without locks held.
    pub done: Done,
}

/// A device. Any thread may call; `control`, `abort` and the like may wait for the device.
pub trait UsbDevice: Send + Sync {
    /// The device descriptor, 18 bytes.
    fn descriptor(&self) -> Vec<u8>;
    /// Each configuration's descriptor with all that follows it, as the device sent them.
    fn configurations(&self) -> Vec<Vec<u8>>;
    /// `bConfigurationValue` of the one that is selected; 0 = none.
    fn configuration(&self) -> u8;
    /// Selects one.
    ///
    /// # Errors
    /// What the bus said.
    fn set_configuration(&self, value: u8) -> IoResult<()>;
    /// Takes an interface away from whoever else drives it.
    ///
    /// # Errors
    /// Somebody holds it.
    fn claim(&self, interface: u8) -> IoResult<()>;
    /// Gives it back.
    fn release(&self, interface: u8);
    /// Selects an alternate setting.
    ///
    /// # Errors
    /// What the bus said.
    fn set_alternate(&self, interface: u8, alternate: u8) -> IoResult<()>;
    /// A control request; the bytes of its data stage.
    ///
    /// # Errors
    /// What the bus said: a stall, a time-out, no device.
    fn control(&self, setup: Setup, data: &mut [u8], timeout: Duration) -> IoResult<usize>;
    /// Starts a transfer. With an error `done` is dropped without being called.
    ///
    /// # Errors
    /// What the bus said.
    fn submit(&self, endpoint: u8, transfer: Transfer) -> IoResult<()>;
    /// Ends all transfers of an endpoint; each was told so on return.
    fn abort(&self, endpoint: u8);
    /// Clears an endpoint's halt.
    ///
    /// # Errors
    /// What the bus said.
    fn clear_halt(&self, endpoint: u8) -> IoResult<()>;
    /// Resets the port.
    ///
    /// # Errors
    /// What the bus said.
    fn reset(&self) -> IoResult<()>;
    /// `kIOUSBHostConnectionSpeed*`.
    fn speed(&self) -> u8;
    /// Bus address.
    fn address(&self) -> u8;
    /// The device is in use on this runtime from now on.
    fn attach(&self, rt: &Arc<Runtime>) {
        let _ = rt;
    }
}

/// A device or one of its interfaces, as a service has it.
pub struct Node {
    /// The device.
    pub device: Arc<dyn UsbDevice>,
    /// `bInterfaceNumber`; `None` for the device.
    pub interface: Option<u8>,
    open: AtomicBool,
    alternate: Mutex<u8>,
    /// `SetIdlePolicy`'s.
    pub idle_ms: Mutex<u32>,
}

impl Node {
    /// A node that nobody opened.
    #[must_use]
    pub fn new(device: Arc<dyn UsbDevice>, interface: Option<u8>) -> Arc<Self> {
        let (open, alternate, idle_ms) = (AtomicBool::new(false), Mutex::new(0), Mutex::new(0));
        Arc::new(Self { device, interface, open, alternate, idle_ms })
    }

    /// `Open`.
    ///
    /// # Errors
    /// `EXCLUSIVE_ACCESS` if it is open.
    pub fn open(&self) -> IoResult<()> {
        if self.open.swap(true, Ordering::AcqRel) {
            return Err(IoReturn::EXCLUSIVE_ACCESS);
        }
        match self.interface.map(|interface| self.device.claim(interface)) {
            Some(Err(error)) => {
                self.open.store(false, Ordering::Release);
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// `Close`: ends everything that is under way.
    ///
    /// # Errors
    /// `NOT_OPEN`.
    pub fn close(&self) -> IoResult<()> {
        if !self.open.swap(false, Ordering::AcqRel) {
            return Err(IoReturn::NOT_OPEN);
        }
        if let Some(interface) = self.interface {
            for endpoint in self.endpoints() {
                self.device.abort(endpoint);
            }
            self.device.release(interface);
        }
        Ok(())
    }

    /// Fails with `NOT_OPEN` unless somebody opened it.
    ///
    /// # Errors
    /// As said.
    pub fn check_open(&self) -> IoResult<()> {
        if self.open.load(Ordering::Acquire) { Ok(()) } else { Err(IoReturn::NOT_OPEN) }
    }

    /// `SelectAlternateSetting`.
    ///
    /// # Errors
    /// `NOT_OPEN`, or what the bus said.
    pub fn set_alternate(&self, alternate: u8) -> IoResult<()> {
        self.check_open()?;
        let interface = self.interface.ok_or(IoReturn::UNSUPPORTED)?;
        for endpoint in self.endpoints() {
            self.device.abort(endpoint);
        }
        self.device.set_alternate(interface, alternate)?;
        *lock(&self.alternate) = alternate;
        Ok(())
    }

    /// The selected configuration's descriptor with all that follows.
    #[must_use]
    pub fn configuration(&self) -> Option<Vec<u8>> {
        let value = self.device.configuration();
        self.device.configurations().into_iter().find(|one| one.get(5) == Some(&value))
    }

    /// Addresses of the endpoints of the selected alternate setting.
    #[must_use]
    pub fn endpoints(&self) -> Vec<u8> {
        let (Some(interface), Some(bytes)) = (self.interface, self.configuration()) else { return Vec::new() };
        let alternate = *lock(&self.alternate);
        let mut inside = false;
        let mut found = Vec::new();
        for one in descriptors(&bytes) {
            match (one.get(1), one.get(2), one.get(3)) {
                (Some(4), Some(number), Some(setting)) => inside = (*number, *setting) == (interface, alternate),
                (Some(5), Some(address), _) if inside => found.push(*address),
                _ => {}
            }
        }
        found
    }

    /// Numbers of the interfaces of the selected configuration, each once.
    #[must_use]
    pub fn interfaces(&self) -> Vec<u8> {
        let bytes = self.configuration().unwrap_or_default();
        let mut found: Vec<u8> = Vec::new();
        for one in descriptors(&bytes) {
            if let (Some(4), Some(number)) = (one.get(1), one.get(2))
                && !found.contains(number)
            {
                found.push(*number);
            }
        }
        found
    }
}

/// The descriptors in `bytes`, up to the first broken one.
pub fn descriptors(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::from(*rest.first()?);
        if len < 2 || len > rest.len() {
            return None;
        }
        let (one, after) = rest.split_at(len);
        rest = after;
        Some(one)
    })
}

impl Host {
    /// As [`Host::boot`], on interface `interface` of `device` as the provider (`IOUSBHostInterface`); `None` = on the
    /// device (`IOUSBHostDevice`).
    ///
    /// # Errors
    /// See [`BootError`].
    pub fn boot_usb(
        &self,
        class: &str,
        mut properties: Properties,
        device: Arc<dyn UsbDevice>,
        interface: Option<u8>,
    ) -> Result<Service, BootError> {
        let provider = if interface.is_some() { "IOUSBHostInterface" } else { "IOUSBHostDevice" };
        properties.insert("IOProviderClass".into(), provider.into());
        device.attach(self.runtime());
        let ready = |provider: &Arc<Svc>| {
            let _ = provider.usb.set(Node::new(device, interface));
        };
        Svc::boot_on(self.runtime(), class, properties, ready).map(|svc| Service { svc })
    }
}
