//! The seam between the runtime and what is attached to it.
//!
//! A dext that registers an interface gets a [`Port`]: the kernel's side of `IOUserNetworkEthernet`, with its packet
//! pool and queues. A [`Stack`] (TAP, smoltcp, pcap) sends into it and receives from it through a [`Sink`].
//! A [`WirePump`] is the other side: it serves the far end of a loopback NIC.

use std::any::Any;
use std::io;
use std::sync::Arc;

/// Offload metadata of one frame, in virtio's terms (virtio 1.2 section 5.1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Sum from `.0` to the end of the frame and store it at `.1`; both are byte offsets from the start of the
    /// frame, and the pseudo-header's sum is already in place.
    pub partial_csum: Option<(u16, u16)>,
    /// Super-frame: TCP payload bytes per segment; 0 = an ordinary frame.
    pub mss: u16,
    /// The super-frame is TCP over IPv6 (else IPv4).
    pub v6: bool,
    /// Receive: segments merged into this frame; 0 or 1 = ordinary.
    pub segments: u16,
    /// Receive: the transport checksum need not be looked at.
    pub data_valid: bool,
}

/// What a registered interface told the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Name the runtime gave it, `en0` style (`getBSDName`).
    pub bsd_name: String,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Current MTU in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Largest MTU the driver takes.
    pub mtu_max: u32,
    /// `kIOUserNetworkHWAssist*` bits that the driver offered and the runtime enabled.
    pub hw_assists: u32,
    /// Largest TSO super-frame in bytes, IPv4 and IPv6; 0 = none.
    pub tso_max: [u32; 2],
    /// Number of TX submission queues.
    pub tx_queues: usize,
    /// Bytes of every packet buffer in the TX pool.
    pub buffer_size: usize,
    /// Bytes to leave free in front of a frame (`SetTxPacketHeadroom`, `getTxDataOffset`).
    pub tx_headroom: usize,
}

/// A packet of the TX pool while the stack fills it. Dropping it gives it back to the pool.
pub trait TxFrame: Send {
    /// The whole room for a frame after the headroom.
    fn buffer(&mut self) -> &mut [u8];
    /// Leaves `more` bytes more in front of the frame, as far as there are any; [`TxFrame::buffer`] begins behind them.
    fn reserve(&mut self, more: usize);
    /// Sets the frame's length and metadata. `len` is at most `buffer().len()`.
    fn finish(&mut self, len: usize, offload: Offload);
    /// For the port that made the frame: gets its own type back in [`Port::tx_submit`].
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// A frame on its way to the stack; valid during [`Sink::deliver`] only.
#[derive(Clone, Copy, Debug)]
pub struct RxFrame<'a> {
    /// The frame, from the Ethernet header, without FCS.
    pub bytes: &'a [u8],
    /// What the driver vouches for.
    pub offload: Offload,
}

/// Where received frames go.
pub trait Sink: Send + Sync {
    /// Takes frames of one `EnqueuePackets` call. Runs on the dext's dispatch queue: must not block.
    fn deliver(&self, queue: usize, frames: &[RxFrame<'_>]);
}

/// What the kernel asks of an interface outside the data path (`ifconfig`, routing sockets, multicast joins).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortRequest {
    /// `SetInterfaceEnable`: administratively up or down.
    Enable(bool),
    /// `SetMTU`, in bytes without the Ethernet header.
    Mtu(u32),
    /// `setHardwareAddress`.
    HardwareAddress([u8; 6]),
    /// `SetPromiscuousModeEnable`.
    Promiscuous(bool),
    /// `SetAllMulticastModeEnable`.
    AllMulticast(bool),
    /// `SetMulticastAddresses`: replaces the whole list.
    Multicast(Vec<[u8; 6]>),
}

/// The kernel's side of one registered interface.
pub trait Port: Send + Sync {
    /// Current properties.
    fn info(&self) -> PortInfo;
    /// A packet from the TX pool; `None` while the pool is empty or the interface is down.
    fn tx_alloc(&self) -> Option<Box<dyn TxFrame>>;
    /// Moves frames from the front of `frames` into TX submission queue `queue`, rings the doorbell and, on a
    /// runtime thread, runs the work that became ready. What does not fit stays in `frames`.
    fn tx_submit(&self, queue: usize, frames: &mut Vec<Box<dyn TxFrame>>);
    /// Blocks until `queue` has room, the pool has a packet, or `timeout_ms` went by (threads mode only).
    /// Returns false when the interface is gone for good.
    fn tx_wait(&self, queue: usize, timeout_ms: u64) -> bool;
    /// Sets where received frames go. `None` detaches: on return, no call of the old sink runs any more.
    fn set_sink(&self, sink: Option<Arc<dyn Sink>>);
    /// Calls the driver's method for `request` and waits for it (threads mode: not from one of its own queues).
    ///
    /// # Errors
    /// The driver refused; the text has the `IOReturn`. An MTU above [`PortInfo::mtu_max`] is refused without asking it.
    fn request(&self, request: PortRequest) -> io::Result<()>;
    /// The runtime's clock in nanoseconds: monotonic in threads mode, virtual in simulated mode.
    fn now_ns(&self) -> u64;
    /// True between `SetInterfaceEnable(true)` and `(false)` with an active link.
    fn running(&self) -> bool;
}

/// How the runtime runs dispatch queues and timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Real dispatch queues on threads, real time.
    Threads,
    /// One thread, virtual time, seeded schedule: attachments start no thread and are driven by `poll`.
    Simulated,
}

/// What an attachment moved since it was attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackCounters {
    /// Frames handed to the driver.
    pub sent: u64,
    /// Bytes of those frames.
    pub sent_bytes: u64,
    /// Frames taken from the driver.
    pub received: u64,
    /// Bytes of those frames.
    pub received_bytes: u64,
    /// Frames for the driver that had no room there: longer than its buffers, or a link type without Ethernet form.
    pub send_dropped: u64,
    /// Frames from the driver that the other side refused (interface down, malformed, queue full).
    pub receive_dropped: u64,
}

/// The stack side: something that sends and receives frames through a [`Port`].
pub trait Stack: Send {
    /// Starts using `port`. An attachment opened for [`Mode::Threads`] starts its threads here.
    ///
    /// # Errors
    /// What the operating system said, with the name of the thing that failed.
    fn attach(&mut self, port: Arc<dyn Port>) -> io::Result<()>;
    /// Simulated mode: does what is due at `now_ns` (virtual) and returns when to be called next. It is also called
    /// after frames were delivered or packets came back to the pool, when nothing else is ready.
    fn poll(&mut self, now_ns: u64) -> Option<u64>;
    /// True when the attachment has sent all it will ever send by itself (a capture's end).
    fn finished(&self) -> bool {
        false
    }
    /// The driver reported a link change.
    fn link_changed(&mut self, up: bool);
    /// Frames moved so far; final after [`Stack::detach`].
    fn counters(&self) -> StackCounters;
    /// Stops every thread and lets go of the port. After this returns nothing of the attachment runs.
    fn detach(&mut self);
}

/// The far end of a loopback NIC: moves frames between the NIC's wire rings and something else.
pub trait WirePump: Send {
    /// Serves the rings (see `weir_core::mem::wire_ring`) until [`WirePump::stop`]. A pump opened for
    /// [`Mode::Threads`] starts its threads here.
    ///
    /// # Errors
    /// What the operating system said, with the name of the thing that failed.
    fn start(&mut self) -> io::Result<()>;
    /// Simulated mode: moves what is there at `now_ns`; returns when to be called next. It is also called after the
    /// NIC notified the link, when nothing else is ready.
    fn poll(&mut self, now_ns: u64) -> Option<u64>;
    /// True when the pump has sent all it will ever send by itself (a capture's end).
    fn finished(&self) -> bool {
        false
    }
    /// Frames moved so far, `sent` towards the NIC; final after [`WirePump::stop`].
    fn counters(&self) -> StackCounters;
    /// Stops every thread.
    fn stop(&mut self);
}
