//! What a driver is made from, and the names it knows itself by.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::mem::region::{Dma, HeapDma};
use crate::nic::intel::{IntelConfig, e1000e, igc};
use crate::nic::loopback::{self, LoopbackConfig, Wire};
use crate::nic::virtio::{self, VirtioConfig};
use crate::nic::{Device, MTU_MAX, MTU_MIN, NicEnv, NicError, Registers, usb};

/// Most bytes of a pair's name (`weir_config.wire_name` without the NUL).
pub const WIRE_NAME_MAX: usize = 31;

/// Which adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NicKind {
    /// The virtual one.
    Loopback(WireKind),
    /// virtio-net over PCI.
    Virtio,
    /// Intel 82574L and kin.
    E1000e,
    /// Intel I225, I226 and kin.
    Igc,
    /// A USB network function.
    Usb(usb::Plan),
}

/// The far end of a loopback NIC (`WEIR_WIRE_*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireKind {
    /// Nothing.
    None,
    /// The other instance of this name.
    Pair(heapless::Vec<u8, WIRE_NAME_MAX>),
    /// A station that answers.
    Reflect,
    /// A user client with shared-memory rings.
    Client,
}

impl WireKind {
    fn wire(&self) -> Wire {
        match self {
            Self::None => Wire::None,
            Self::Pair(name) => {
                let mut padded = [0; 32];
                for (to, from) in padded.iter_mut().zip(name) {
                    *to = *from;
                }
                Wire::Pair(padded)
            }
            Self::Reflect => Wire::Reflect,
            Self::Client => Wire::Client,
        }
    }
}

/// A station address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

/// An interface's BSD name; empty while it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IfName(heapless::String<{ IfName::MAX_LEN }>);

impl IfName {
    /// IFNAMSIZ without the NUL, bytes.
    pub const MAX_LEN: usize = 15;

    /// `None` if it is too long or has characters that names do not have.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(bytes).ok()?;
        let is_name = text.bytes().all(|byte| byte.is_ascii_graphic());
        is_name.then(|| heapless::String::try_from(text).ok().map(Self))?
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `weir_config`, checked for form but not for range.
#[derive(Clone, Debug)]
pub struct Config {
    /// The adapter.
    pub nic: NicKind,
    /// BSD name, if it is known already.
    pub if_name: IfName,
    /// Station address.
    pub mac: Mac,
    /// Queue pairs, 1..=8.
    pub queues: usize,
    /// Descriptors per ring, a power of two, 64..=4096.
    pub ring_size: usize,
    /// Bytes without the Ethernet header.
    pub mtu: u32,
    /// The largest it may be set to.
    pub mtu_max: u32,
    /// Bytes of each packet buffer that will be lent.
    pub buf_len: u32,
    /// Keys the flow hash.
    pub seed: u64,
    /// Interrupt vectors that the glue has for the device.
    pub vectors: u32,
}

/// What the glue has for the device: memory, and registers if it has any.
pub struct Bus {
    /// Memory for rings.
    pub dma: Arc<dyn Dma>,
    /// Device registers.
    pub registers: Option<Arc<dyn Registers>>,
    /// A USB device.
    pub usb: Option<usb::Bus>,
}

impl Default for Bus {
    /// For a NIC without hardware.
    fn default() -> Self {
        Self { dma: Arc::new(HeapDma), registers: None, usb: None }
    }
}

impl Config {
    /// Opens the adapter.
    pub(super) fn open(&self, env: NicEnv) -> Result<Device, NicError> {
        match &self.nic {
            NicKind::Loopback(wire) => loopback::open(&self.loopback(wire), env),
            NicKind::E1000e => e1000e::open(&self.intel(), env),
            NicKind::Igc => igc::open(&self.intel(), env),
            NicKind::Virtio => virtio::open(&self.virtio(), env),
            NicKind::Usb(plan) => usb::open(&self.usb(*plan)?, env),
        }
    }

    /// Checks what the NIC does not.
    fn usb(&self, plan: usb::Plan) -> Result<usb::UsbConfig, NicError> {
        let sizes = self.ring_size.is_power_of_two() && (64..=4096).contains(&self.ring_size);
        if !sizes || !(MTU_MIN..=MTU_MAX).contains(&self.mtu) || !(MTU_MIN..=MTU_MAX).contains(&self.mtu_max) {
            return Err(NicError::Invalid("ring size or MTU"));
        }
        let (mac, seed) = (self.mac.0, self.seed);
        Ok(usb::UsbConfig { plan, mac, ring_size: self.ring_size, mtu: self.mtu, mtu_max: self.mtu_max, seed })
    }

    fn intel(&self) -> IntelConfig {
        IntelConfig {
            queues: self.queues,
            ring_size: self.ring_size,
            mtu: self.mtu,
            mtu_max: self.mtu_max,
            buf_len: self.buf_len,
            vectors: self.vectors,
        }
    }

    fn virtio(&self) -> VirtioConfig {
        VirtioConfig {
            mac: self.mac.0,
            queues: self.queues,
            ring_size: self.ring_size,
            mtu: self.mtu,
            mtu_max: self.mtu_max,
            buf_len: self.buf_len,
            vectors: self.vectors,
        }
    }

    fn loopback(&self, wire: &WireKind) -> LoopbackConfig {
        LoopbackConfig {
            wire: wire.wire(),
            mac: self.mac.0,
            queues: self.queues,
            ring_size: self.ring_size,
            mtu: self.mtu,
            mtu_max: self.mtu_max,
            buf_len: self.buf_len,
        }
    }
}

/// How loud a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LogLevel {
    /// Something is lost.
    Error = 0,
    /// Something is wrong and was dealt with.
    Warning = 1,
    /// For the record.
    Info = 2,
}

/// What the driver needs from its surroundings: time, a log, and [`Events`](crate::nic::Events).
pub trait Host: Send + Sync {
    /// Monotonic nanoseconds.
    fn now_ns(&self) -> u64;
    /// One line for people; never called per packet.
    fn log(&self, level: LogLevel, text: &str);
    /// [`wake`](crate::nic::Events::wake).
    fn wake(&self, queue: u32);
    /// [`link_changed`](crate::nic::Events::link_changed).
    fn link_changed(&self);
    /// [`wire_notify`](crate::nic::Events::wire_notify).
    fn wire_notify(&self, queue: u32);
    /// [`attention`](crate::nic::Events::attention).
    fn attention(&self) {}
    /// The watching programs of these taps, one bit each, sleep and have something to see. Any thread; must not call
    /// back.
    fn tap_notify(&self, _taps: u32) {}
}

/// Why a call was refused (`WEIR_E_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// An argument is outside its documented range.
    Invalid,
    /// No memory.
    NoMemory,
    /// Entered twice, or both ends of the pair are taken.
    Busy,
    /// No far end, or the device is gone.
    NoDevice,
    /// Version or size of a struct.
    Version,
    /// Not allowed in this state.
    State,
    /// The caller's buffer is too small.
    NoSpace,
    /// Unknown command, or the NIC cannot do that.
    Unsupported,
    /// A ruleset image was refused.
    Image,
}

impl From<NicError> for Error {
    fn from(error: NicError) -> Self {
        match error {
            NicError::Invalid(_) => Self::Invalid,
            NicError::Busy => Self::Busy,
            NicError::NoMemory => Self::NoMemory,
            NicError::State(_) => Self::State,
            NicError::Unsupported => Self::Unsupported,
        }
    }
}
