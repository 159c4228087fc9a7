//! What a network adapter is to the core: a control side and one data side per queue pair.
//!
//! A [`Nic`] is driven by control, serialised by its owner, at any time; each [`NicQueue`] by its own shard, which
//! may run on another thread at the same moment. Nothing of a `NicQueue` waits, allocates or locks.
#![forbid(unsafe_code)]

mod hw;
pub mod intel;
pub mod loopback;
mod rx_filter;
mod settings;
pub mod usb;
pub mod virtio;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;
use core::fmt;

use crate::mem::Burst;
use crate::mem::region::{Dma, HeapDma};
pub use rx_filter::{MULTICAST_MAX, MulticastList};

/// Most queue pairs of one NIC (`WEIR_QUEUES_MAX`).
pub const QUEUES_MAX: usize = 8;
/// Largest MTU, in bytes (`WEIR_MTU_MAX`).
pub const MTU_MAX: u32 = 16110;
/// Smallest MTU, in bytes: what IPv4 demands of a link (RFC 791).
pub const MTU_MIN: u32 = 68;

bitflags! {
    /// Hardware assists (`WEIR_OFFLOAD_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Offloads: u32 {
        /// The stack may leave IPv4 header and transport checksums to the NIC.
        const TX_CSUM = 1 << 0;
        /// The stack may send TCP over IPv4 super-frames.
        const TSO4 = 1 << 1;
        /// The stack may send TCP over IPv6 super-frames.
        const TSO6 = 1 << 2;
        /// The NIC vouches for checksums of received frames.
        const RX_CSUM = 1 << 3;
        /// The NIC may deliver several TCP segments as one frame.
        const LRO = 1 << 4;
    }
}

/// State of the cable (`weir_link`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Link {
    /// Carrier.
    pub up: bool,
    /// Both directions at once.
    pub full_duplex: bool,
    /// Bits per second.
    pub speed_bps: u64,
}

/// Why control refused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NicError {
    /// An argument is outside its documented range.
    Invalid(&'static str),
    /// Both ends of the named pair are taken.
    Busy,
    /// Memory is too small or could not be had.
    NoMemory,
    /// Not allowed in this state.
    State(&'static str),
    /// This NIC cannot do that.
    Unsupported,
}

impl fmt::Display for NicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what) | Self::State(what) => f.write_str(what),
            Self::Busy => f.write_str("both ends of the pair are taken"),
            Self::NoMemory => f.write_str("not enough memory"),
            Self::Unsupported => f.write_str("the NIC cannot do that"),
        }
    }
}

impl core::error::Error for NicError {}

/// How a NIC reaches its driver (`weir_event_ops`). Any thread may call; no method may call back into the NIC, nor
/// wait for a lock that is held during a call of [`Nic`]: control waits for bursts that are under way, and those ring.
pub trait Events: Send + Sync {
    /// Run the poll sequence of `queue` soon.
    fn wake(&self, queue: u32);
    /// [`Nic::link`] changed.
    fn link_changed(&self);
    /// The wire client of `queue` sleeps and has frames or room now.
    fn wire_notify(&self, queue: u32);
    /// Call [`Nic::tick`] soon, before its time.
    fn attention(&self) {}
}

/// Frames that the NIC received and did not give to the driver, by reason, and some sizes of it.
///
/// Each is one frame that the wire delivered: the driver counts it as received and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Refused {
    /// Shorter than an Ethernet header.
    pub runt: u64,
    /// Longer than the MTU allows, or than the receive buffer.
    pub giant: u64,
    /// Not for this station.
    pub mac_filter: u64,
    /// Nothing was posted to receive into.
    pub no_buffer: u64,
    /// The device, or the far end, described it wrongly.
    pub device: u64,
    /// It had arrived when the interface went down.
    pub disabled: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

impl Refused {
    /// Frames of all reasons.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.runt + self.giant + self.mac_filter + self.no_buffer + self.device + self.disabled
    }
}

/// How many packets a queue holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct QueueGauges {
    /// Receive buffers: posted, or filled and not yet taken by [`NicQueue::rx_burst`].
    pub rx_posted: usize,
    /// Frames: taken for transmit and not yet given back by [`NicQueue::tx_reap`].
    pub tx_in_flight: usize,
}

/// The data side of one queue pair. One caller at a time.
///
/// Every packet that is handed in comes out exactly once: receive buffers through [`NicQueue::rx_burst`], frames
/// through [`NicQueue::tx_reap`], and after [`Nic::enable`]`(false)` what is left of both through
/// [`NicQueue::reclaim`].
pub trait NicQueue: Send {
    /// Takes empty buffers from the front of `burst` and returns how many; 0 while disabled.
    fn rx_post(&mut self, burst: &mut Burst) -> usize;
    /// How many buffers [`NicQueue::rx_post`] would take now.
    fn rx_space(&mut self) -> usize;
    /// Appends received frames to `out`, at most `budget` and at most what fits. Frames that the NIC refuses do not
    /// appear but in [`NicQueue::take_refused`]; they use up budget, so 0 does not mean that there is nothing left:
    /// ask [`NicQueue::rx_pending`].
    fn rx_burst(&mut self, out: &mut Burst, budget: usize) -> usize;
    /// True when another [`NicQueue::rx_burst`] has something to do.
    fn rx_pending(&mut self) -> bool;
    /// What was refused since the last call.
    fn take_refused(&mut self) -> Refused;
    /// How many frames [`NicQueue::tx_burst`] would take now.
    fn tx_space(&mut self) -> usize;
    /// Takes frames from the front of `burst`, starts sending them, and returns how many.
    fn tx_burst(&mut self, burst: &mut Burst) -> usize;
    /// Progresses transmit and appends finished packets with their [`crate::mem::Status`] to `out`.
    fn tx_reap(&mut self, out: &mut Burst) -> usize;
    /// Asks for an [`Events::wake`] when there is something to do. True: there is already, and no wake will come.
    fn arm(&mut self) -> bool;
    /// While disabled: appends what is still here to `out`. Receive buffers come back empty, frames with
    /// [`crate::mem::Status::Disabled`] unless they were finished before. Returns how many; 0 = nothing is left.
    fn reclaim(&mut self, out: &mut Burst) -> Reclaimed;
    /// How many packets are here.
    fn gauges(&self) -> QueueGauges;
}

/// What [`NicQueue::reclaim`] appended; receive buffers come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Empty receive buffers.
    pub rx: usize,
    /// Frames that were in flight.
    pub tx: usize,
}

/// The control side. One caller at a time; the queues may run meanwhile.
pub trait Nic: Send {
    /// Queue pairs.
    fn queues(&self) -> usize;
    /// Starts or stops sending and receiving. After stopping no queue touches a packet any more and
    /// [`NicQueue::reclaim`] gives all of them back.
    ///
    /// # Errors
    /// Why it could not start; stopping always works.
    fn enable(&mut self, on: bool) -> Result<(), NicError>;
    /// True between the two.
    fn is_enabled(&self) -> bool;
    /// Station address.
    fn mac(&self) -> [u8; 6];
    /// Replaces the station address.
    ///
    /// # Errors
    /// [`NicError::Invalid`] for a multicast address or zero.
    fn set_mac(&mut self, mac: [u8; 6]) -> Result<(), NicError>;
    /// Takes every frame, or only those for this station.
    fn set_promiscuous(&mut self, on: bool);
    /// Whether every frame is taken.
    fn promiscuous(&self) -> bool;
    /// Takes every multicast frame, or only those of the list.
    fn set_all_multicast(&mut self, on: bool);
    /// Replaces the list of multicast addresses.
    ///
    /// # Errors
    /// [`NicError::Invalid`] when an address is not a multicast address; the list is unchanged then.
    fn set_multicast(&mut self, list: &MulticastList) -> Result<(), NicError>;
    /// How many addresses are in the list.
    fn multicast_count(&self) -> usize;
    /// Largest payload of a frame, in bytes.
    fn mtu(&self) -> u32;
    /// Replaces it.
    ///
    /// # Errors
    /// [`NicError::Invalid`] outside [`MTU_MIN`] and the configured maximum.
    fn set_mtu(&mut self, mtu: u32) -> Result<(), NicError>;
    /// Every assist that the NIC has.
    fn offloads_supported(&self) -> Offloads;
    /// The assists that are switched on.
    fn offloads(&self) -> Offloads;
    /// Switches assists on and off.
    ///
    /// # Errors
    /// [`NicError::Unsupported`] for one that the NIC does not have.
    fn set_offloads(&mut self, offloads: Offloads) -> Result<(), NicError>;
    /// State of the cable.
    fn link(&self) -> Link;
    /// Pulls or plugs the cable of a virtual NIC.
    ///
    /// # Errors
    /// [`NicError::Unsupported`] for a real one.
    fn set_link(&mut self, up: bool) -> Result<(), NicError> {
        let _ = up;
        Err(NicError::Unsupported)
    }
    /// What the adapter is. Asked once, after it was opened.
    fn hardware(&self) -> Hardware {
        Hardware { mtu_max: MTU_MAX, vectors: 0, tick_ms: 0, wake: false }
    }
    /// Interrupt `vector` arrived; a mask of the queues to poll.
    fn interrupt(&mut self, vector: u32) -> u32 {
        let _ = vector;
        0
    }
    /// The watchdog; true when the NIC must be disabled and enabled again to recover.
    fn tick(&mut self, now_ns: u64) -> bool {
        let _ = now_ns;
        false
    }
    /// Whether the NIC wakes the machine on a magic packet while it is disabled.
    ///
    /// # Errors
    /// [`NicError::Unsupported`] for one that cannot.
    fn set_wake(&mut self, on: bool) -> Result<(), NicError> {
        if on { Err(NicError::Unsupported) } else { Ok(()) }
    }
    /// What it cost to move the frames so far.
    fn stats(&self) -> NicStats {
        NicStats::default()
    }
    /// The wire memory that a virtual NIC shares with a client, if it can have one.
    fn wire(&mut self) -> Option<&mut dyn WirePort> {
        None
    }
}

/// Attaching and detaching a wire client (`weir_wire_*`).
pub trait WirePort {
    /// Bytes that [`WirePort::attach`] needs.
    fn size(&self) -> usize;
    /// Lays out `mem` and connects it; the cable is plugged then.
    ///
    /// # Errors
    /// [`NicError::NoMemory`] when it is too small, [`NicError::Busy`] when a client is attached.
    fn attach(&mut self, mem: crate::mem::region::Shared<'static>) -> Result<(), NicError>;
    /// Disconnects the client. On return the memory is not touched any more.
    ///
    /// # Errors
    /// [`NicError::State`] when none is attached.
    fn detach(&mut self) -> Result<(), NicError>;
    /// The client made frames or room: wakes the queues concerned.
    fn kick(&self);
}

/// The name of the back end for a PCI device (`WeirNIC`), by device number and vendor as the first word of its configuration
/// space has them.
#[must_use]
pub fn pci_kind(identity: u32) -> Option<&'static str> {
    if virtio::is_network_card(identity) { Some("virtio") } else { intel::kind(identity) }
}

/// A NIC and its queues, as a back end makes them.
pub struct Device {
    /// The control side.
    pub nic: Box<dyn Nic>,
    /// The data sides, queue 0 first.
    pub queues: Vec<Box<dyn NicQueue>>,
    /// Where transfers are reported, if it is a USB function.
    pub usb: Option<Arc<usb::Port>>,
}

/// Device registers, as the glue reaches them (`weir_reg_ops`). All ones = the device is gone, or says so.
pub trait Registers: Send + Sync {
    /// Reads 8 bits of BAR `bar`.
    fn read8(&self, bar: u32, offset: u64) -> u8;
    /// Reads 16 bits.
    fn read16(&self, bar: u32, offset: u64) -> u16;
    /// Reads 32 bits.
    fn read32(&self, bar: u32, offset: u64) -> u32;
    /// Writes 8 bits.
    fn write8(&self, bar: u32, offset: u64, value: u8);
    /// Writes 16 bits.
    fn write16(&self, bar: u32, offset: u64, value: u16);
    /// Writes 32 bits.
    fn write32(&self, bar: u32, offset: u64, value: u32);
    /// Reads 32 bits of configuration space.
    fn config_read32(&self, offset: u64) -> u32;
    /// Writes 32 bits of configuration space.
    fn config_write32(&self, offset: u64, value: u32);
}

/// What an adapter turned out to be (`weir_hardware`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// Largest MTU that it takes, at most the configured one.
    pub mtu_max: u32,
    /// Interrupt vectors used: 0 = none, 1 = everything shares it, else one a queue and one for control.
    pub vectors: u32,
    /// Interval of [`Nic::tick`] in milliseconds; 0 = never.
    pub tick_ms: u32,
    /// Can wake the machine on a magic packet.
    pub wake: bool,
}

/// What every back end needs from outside.
#[derive(Clone)]
pub struct NicEnv {
    /// The driver's ear.
    pub events: Arc<dyn Events>,
    /// Memory for rings.
    pub dma: Arc<dyn Dma>,
    /// The device's registers; `None` for a NIC without.
    pub registers: Option<Arc<dyn Registers>>,
    /// The USB device; `None` for a NIC that is none.
    pub usb: Option<usb::Bus>,
}

impl NicEnv {
    /// For a NIC without hardware. Allocates; called at Start.
    #[must_use]
    pub fn of(events: Arc<dyn Events>) -> Self {
        Self { events, dma: Arc::new(HeapDma), registers: None, usb: None }
    }
}

/// What moving frames cost, in the adapter's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NicStats {
    /// Calls that told the device of work: register writes, transfers submitted in one go.
    pub doorbells: u64,
    /// Times that the device told of work done.
    pub interrupts: u64,
    /// Register reads and writes, doorbells included.
    pub registers: u64,
    /// Transfers received that had something in them.
    pub transfers_in: u64,
    /// Transfers sent.
    pub transfers_out: u64,
    /// Frames found in transfers.
    pub frames_in: u64,
    /// Frames in transfers that arrived.
    pub frames_out: u64,
    /// Frames that the CPU copied.
    pub copies: u64,
    /// Endpoints found halted.
    pub stalls: u64,
    /// Times that the device was brought back.
    pub recoveries: u64,
    /// Times that it did not answer or did not take a frame.
    pub timeouts: u64,
    /// What it sent that makes no sense, and transfers that failed.
    pub device_errors: u64,
    /// Transfers with nothing in them.
    pub empty_transfers: u64,
}

#[cfg(all(test, not(loom)))]
mod tests;
