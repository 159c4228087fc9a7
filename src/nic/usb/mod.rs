//! USB network functions: CDC NCM, CDC ECM and RNDIS over one base.
//!
//! `queue` moves frames between packet buffers and the transfers of the bulk pipes; a `framing::Framing` says how
//! frames lie in a transfer. `control` sets the device up and keeps it alive through requests on the default pipe,
//! which wait for the device and therefore never happen on the data path. The two meet in [`port::Port`].
//!
//! Everything that a device sends (descriptors, blocks, messages, notifications) is checked before it is used.
//!
//! Copies: one per frame and direction. A block holds many frames, each of which must end up in a packet of its own,
//! and a packet's buffer is not memory that a host controller may be given; ECM shares the buffers for the same reason.
//! In return a pipe needs one call per up to [`SLOTS_MAX`] transfers.

mod control;
mod descriptor;
mod ecm;
mod framing;
mod ncm;
mod notify;
mod port;
mod queue;
mod rndis;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;

pub use crate::mem::transfer::{Pipes, SLOTS_MAX, TransferError};
pub use descriptor::{Kind, Plan, probe};
pub use port::Port;

use super::{Device, NicEnv, NicError};
use crate::mem::transfer::TransferRing;
use control::UsbNic;
use queue::UsbQueue;

/// Numbers of the pipes (`WEIR_USB_PIPE_*`).
pub const PIPE_IN: u32 = 0;
/// Bulk OUT.
pub const PIPE_OUT: u32 = 1;
/// Interrupt IN of the communication interface.
pub const PIPE_NOTIFY: u32 = 2;

/// A control request (USB 2.0 table 9-2).
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

/// Requests to a device; each waits for the answer, for a bounded time.
pub trait Ops: Send + Sync {
    /// Ends all transfers of a pipe.
    ///
    /// # Errors
    /// What the bus said.
    fn abort(&self, pipe: u32) -> Result<(), TransferError>;
    /// Clears the halt of a pipe's endpoint.
    ///
    /// # Errors
    /// What the bus said.
    fn clear_stall(&self, pipe: u32) -> Result<(), TransferError>;
    /// Selects an alternate setting of the data interface.
    ///
    /// # Errors
    /// What the bus said.
    fn set_alternate(&self, alternate: u8) -> Result<(), TransferError>;
    /// A control request; returns the bytes of the data stage.
    ///
    /// # Errors
    /// What the bus said.
    fn control(&self, setup: Setup, data: &mut [u8]) -> Result<usize, TransferError>;
    /// Waits.
    fn delay_ms(&self, ms: u32);
}

/// A device on its bus.
#[derive(Clone)]
pub struct Bus {
    /// Data transfers.
    pub pipes: Arc<dyn Pipes>,
    /// Requests.
    pub ops: Arc<dyn Ops>,
}

/// What a USB NIC is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbConfig {
    /// Where the function is.
    pub plan: Plan,
    /// Station address; all zero: the device's own.
    pub mac: [u8; 6],
    /// Packets that the NIC may hold per direction.
    pub ring_size: usize,
    /// Bytes without the Ethernet header.
    pub mtu: u32,
    /// The largest it may be set to.
    pub mtu_max: u32,
    /// Makes an address for a device that has none.
    pub seed: u64,
}

impl UsbConfig {
    /// The same, within what the device said of its frames; one that said nothing takes ordinary ones.
    fn within(&self, plan: &Plan) -> Self {
        /// Ethernet's header, and its payload (IEEE 802.3 clause 3.2.7).
        const HEADER: u32 = 14;
        const ORDINARY: u32 = 1500;
        let most = match plan.max_segment {
            0..=HEADER_AND_MIN => ORDINARY,
            segment => u32::from(segment).saturating_sub(HEADER),
        };
        let mtu_max = self.mtu_max.min(most);
        Self { mtu_max, mtu: self.mtu.min(mtu_max), ..*self }
    }
}

/// A `wMaxSegmentSize` up to here cannot be meant.
const HEADER_AND_MIN: u16 = 14 + super::MTU_MIN as u16;

/// Makes a NIC of a USB function: disabled, its data interface at rest.
///
/// # Errors
/// The device does not answer as its class demands, or there is no memory.
/// Allocates and waits for the device; called at Start.
pub fn open(config: &UsbConfig, env: NicEnv) -> Result<Device, NicError> {
    let bus = env.usb.ok_or(NicError::Unsupported)?;
    let config = &config.within(&config.plan);
    let mut link = control::Link::new(bus.clone(), config.plan);
    let sizes = link.identify(config)?;
    let ring = |pipe, slots, len| TransferRing::new(bus.pipes.clone(), pipe, slots, len).ok_or(NicError::NoMemory);
    let rx = ring(PIPE_IN, sizes.in_slots, sizes.in_len)?;
    let tx = ring(PIPE_OUT, sizes.out_slots, sizes.out_len)?;
    let notify = match config.plan.endpoint_notify {
        0 => None,
        _ => Some(ring(PIPE_NOTIFY, notify::SLOTS, notify::buffer(config.plan.packet_notify))?),
    };
    let completions = [Some(rx.completions()), Some(tx.completions()), notify.as_ref().map(TransferRing::completions)];
    let port = Arc::new(Port::new(config, sizes.mac, env.events, completions, notify.is_some())?);
    let framing = sizes.framing;
    let packet = usize::from(config.plan.packet_out);
    let queue = UsbQueue::new(port.clone(), framing, config.ring_size, packet, queue::Rings { rx, tx, notify });
    let nic = UsbNic::new(port.clone(), link, config);
    Ok(Device { nic: Box::new(nic), queues: vec![Box::new(queue)], usb: Some(port) })
}

#[cfg(all(test, not(loom)))]
mod tests;
