//! The port as a smoltcp device.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::smoltcp::phy::{Device as PhyDevice, DeviceCapabilities, Medium, RxToken, TxToken};
use ::smoltcp::time::Instant;

use super::Shared;
use crate::port::{Offload, Port, PortInfo, TxFrame};

/// Frames handed to the driver at once.
const BURST: usize = 32;
/// Bytes of an Ethernet header.
const HEADER: usize = 14;

pub(super) struct Device {
    port: Arc<dyn Port>,
    shared: Arc<Shared>,
    capabilities: DeviceCapabilities,
    pub frames: VecDeque<Vec<u8>>,
    burst: Vec<Box<dyn TxFrame>>,
    /// The driver had no packet for a frame.
    pub stalled: bool,
}

impl Device {
    pub fn new(port: Arc<dyn Port>, shared: Arc<Shared>, info: &PortInfo) -> Self {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        let mtu = (info.mtu as usize + HEADER).min(info.buffer_size.saturating_sub(info.tx_headroom));
        capabilities.max_transmission_unit = mtu;
        Self { port, shared, capabilities, frames: VecDeque::new(), burst: Vec::new(), stalled: false }
    }

    /// Hands over what was sent.
    pub fn flush(&mut self) {
        if !self.burst.is_empty() {
            self.port.tx_submit(0, &mut self.burst);
        }
    }

    /// True while frames wait for room in the driver's queue.
    pub fn waiting(&self) -> bool {
        !self.burst.is_empty()
    }

    fn packet(&mut self) -> Option<Box<dyn TxFrame>> {
        if self.burst.len() >= BURST {
            self.flush();
        }
        let packet = (self.burst.len() < BURST).then(|| self.port.tx_alloc()).flatten();
        self.stalled |= packet.is_none();
        packet
    }
}

pub(super) struct Received(Vec<u8>);

pub(super) struct Transmit<'a> {
    device: &'a mut Vec<Box<dyn TxFrame>>,
    shared: &'a Shared,
    packet: Box<dyn TxFrame>,
}

impl PhyDevice for Device {
    type RxToken<'a> = Received;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Transmit<'_>)> {
        if self.frames.is_empty() {
            return None;
        }
        // A frame is taken only with room for the answer, as smoltcp wants it.
        let packet = self.packet()?;
        let frame = self.frames.pop_front()?;
        Some((Received(frame), Transmit { device: &mut self.burst, shared: &self.shared, packet }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Transmit<'_>> {
        let packet = self.packet()?;
        Some(Transmit { device: &mut self.burst, shared: &self.shared, packet })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, len: usize, f: F) -> R {
        // `max_transmission_unit` was made to fit the packet.
        let Some(room) = self.packet.buffer().get_mut(..len) else {
            return f(&mut vec![0; len]);
        };
        room.fill(0);
        let result = f(room);
        self.packet.finish(len, Offload::default());
        self.shared.counters.sent.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.sent_bytes.fetch_add(len as u64, Ordering::Relaxed);
        self.device.push(self.packet);
        result
    }
}
