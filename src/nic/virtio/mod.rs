//! virtio network cards over PCI (virtio 1.2: modern devices only).
//!
//! Split and packed virtqueues, event indices, mergeable receive buffers, checksum and segmentation offloads both
//! ways, control virtqueue, several queue pairs. Indirect descriptors are not asked for: a frame needs one descriptor
//! or two. VLAN filtering is not asked for either: tags stay in the frames, and every tag is for the stack.

mod control;
mod header;
mod packed;
mod queue;
mod ring;
mod spec;
mod split;
mod transport;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use self::control::Control;
use self::packed::Packed;
use self::queue::{Bell, Parts, VirtioQueue, Virtqueue};
use self::ring::Memory;
use self::spec::{NO_VECTOR, config, feature, status};
use self::split::Split;
use self::transport::Transport;
pub(super) use self::transport::is_network_card;
use super::hw::{Meter, Port, TICK_MS, Watchdog};
use super::rx_filter::RxFilter;
use super::settings::{Adapter, Settings};
use super::{
    Device, Hardware, Link, MTU_MIN, MulticastList, Nic as _, NicEnv, NicError, NicQueue, NicStats, Offloads,
    QUEUES_MAX,
};
use crate::mem::region::Region;

/// Largest super-frame that a device may deliver: 64 KiB of IP behind an Ethernet header with one tag, and the header
/// (section 5.1.6.3.1).
const SUPER_FRAME: u32 = 65550 + 4 + spec::header::LEN as u32;
/// Ethernet header and one tag.
const OVERHEAD: u32 = 18;
/// What is said of a device that does not know its speed.
const SPEED_DEFAULT: u64 = 10_000_000_000;
/// 1 Mb/s, the unit of the speed field (section 5.1.4).
const SPEED_UNIT: u64 = 1_000_000;

/// What a virtio NIC is made from.
#[derive(Clone, Copy, Debug)]
pub struct VirtioConfig {
    /// Station address, for a device that has none of its own.
    pub mac: [u8; 6],
    /// Queue pairs wanted.
    pub queues: usize,
    /// Descriptors per ring wanted.
    pub ring_size: usize,
    /// Bytes without the Ethernet header.
    pub mtu: u32,
    /// The largest it may be set to.
    pub mtu_max: u32,
    /// Bytes of each packet buffer that will be lent.
    pub buf_len: u32,
    /// Interrupt vectors that there are.
    pub vectors: u32,
}

/// The control side.
struct Virtio {
    transport: Transport,
    port: Arc<Port>,
    /// Receive and transmit virtqueues of each pair.
    pairs: Vec<(Arc<Virtqueue>, Arc<Virtqueue>)>,
    control: Option<(Control, Arc<Virtqueue>)>,
    features: u64,
    settings: Settings,
    vectors: u32,
    /// The address that the device has after a reset.
    own_mac: Option<[u8; 6]>,
    watchdog: Watchdog,
}

/// The features to accept of those on offer (section 5.1.3.1: what needs what).
fn choose(offered: u64, config: &VirtioConfig) -> u64 {
    use feature::*;
    let mut wanted = VERSION_1 | ACCESS_PLATFORM | ORDER_PLATFORM | RING_PACKED | EVENT_IDX;
    wanted |= MAC | MTU | STATUS | SPEED_DUPLEX | MRG_RXBUF | CSUM | GUEST_CSUM;
    if offered & CSUM != 0 {
        wanted |= HOST_TSO4 | HOST_TSO6 | HOST_ECN;
    }
    // Only where a whole super-frame fits into one buffer.
    if offered & GUEST_CSUM != 0 && config.buf_len >= SUPER_FRAME {
        wanted |= GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN;
    }
    if offered & CTRL_VQ != 0 {
        wanted |= CTRL_VQ | CTRL_RX | CTRL_MAC_ADDR;
        if config.queues > 1 {
            wanted |= MQ | RSS;
        }
    }
    let mut chosen = offered & wanted;
    // HOST_ECN and GUEST_ECN need a kind of segmentation.
    if chosen & (HOST_TSO4 | HOST_TSO6) == 0 {
        chosen &= !HOST_ECN;
    }
    if chosen & (GUEST_TSO4 | GUEST_TSO6) == 0 {
        chosen &= !GUEST_ECN;
    }
    chosen
}

fn offloads_of(features: u64) -> Offloads {
    let mut offloads = Offloads::empty();
    offloads.set(Offloads::TX_CSUM, features & feature::CSUM != 0);
    offloads.set(Offloads::RX_CSUM, features & feature::GUEST_CSUM != 0);
    offloads.set(Offloads::TSO4, features & feature::HOST_TSO4 != 0);
    offloads.set(Offloads::TSO6, features & feature::HOST_TSO6 != 0);
    offloads.set(Offloads::LRO, features & (feature::GUEST_TSO4 | feature::GUEST_TSO6) != 0);
    offloads
}

/// Opens the device behind `env.registers`; it is quiet afterwards, and disabled.
///
/// # Errors
/// It is no such device, does not answer, or contradicts the configuration; no memory.
/// Allocates; called at Start.
pub fn open(given: &VirtioConfig, env: NicEnv) -> Result<Device, NicError> {
    if !(1..=QUEUES_MAX).contains(&given.queues) || !given.ring_size.is_power_of_two() {
        return Err(NicError::Invalid("queues or ring size"));
    }
    let regs = Meter::of(&env)?;
    let transport = Transport::find(regs.clone())?;
    // Section 3.1.1: reset, notice, drive; then the features.
    if !transport.reset() {
        return Err(NicError::State("the device does not reset"));
    }
    transport.add_status(status::ACKNOWLEDGE);
    transport.add_status(status::DRIVER);
    let offered = transport.features();
    if offered & feature::VERSION_1 == 0 {
        return Err(NicError::Invalid("the device speaks the legacy interface only"));
    }
    let mut features = choose(offered, given);
    let device_mtu = transport.config_stable(|t| t.config16(config::MTU));
    if features & feature::MTU != 0 && u32::from(device_mtu) < MTU_MIN {
        // Section 5.1.4.2: an MTU below 68 is not to be negotiated.
        features &= !feature::MTU;
    }
    let mtu_max = if features & feature::MTU != 0 { given.mtu_max.min(device_mtu.into()) } else { given.mtu_max };
    if mtu_max + OVERHEAD + spec::header::LEN as u32 > given.buf_len {
        return Err(NicError::Invalid("a frame of the largest MTU does not fit into a buffer"));
    }
    if !transport.accept(features) {
        transport.add_status(status::FAILED);
        return Err(NicError::State("the device refuses its own features"));
    }
    let own_mac = (features & feature::MAC != 0)
        .then(|| transport.config_stable(|t| core::array::from_fn(|i| t.config8(config::MAC + i as u64))));
    let has_pairs = features & (feature::MQ | feature::RSS) != 0;
    let max_pairs = if has_pairs { transport.config16(config::MAX_PAIRS).max(1) } else { 1 };
    // Section 5.1.2: behind the queues of every pair that the device has; a device of more has no number for it.
    let control_number = max_pairs.checked_mul(2).ok_or(NicError::State("the device has more queues than numbers"))?;
    let pairs = given.queues.min(usize::from(max_pairs));
    let supported = offloads_of(features);
    let port = Port::new(&env, regs, own_mac.unwrap_or(given.mac), given.mtu.min(mtu_max), pairs, supported)?;
    let packed = features & feature::RING_PACKED != 0;
    let event_idx = features & feature::EVENT_IDX != 0;
    let virtqueue = |number: u16, wanted: usize| -> Result<Arc<Virtqueue>, NicError> {
        let most = transport.queue_size_max(number);
        let size = usize::from(most).min(wanted);
        // Section 2.7: a split ring's size is a power of two; ours always is.
        let size = if size == 0 { 0 } else { 1 << size.ilog2() };
        if size < 2 || most > 1 << 15 {
            return Err(NicError::State("the device lacks a virtqueue"));
        }
        let memory = Memory::new(&env.dma, size as u16, packed).ok_or(NicError::NoMemory)?;
        Ok(Arc::new(Virtqueue { memory, bell: Bell::default(), number }))
    };
    let mut queues: Vec<Box<dyn NicQueue>> = Vec::with_capacity(pairs);
    let mut shared = Vec::with_capacity(pairs);
    for index in 0..pairs {
        // Section 5.1.2: receiveq1 0, transmitq1 1, and so on.
        let rx = virtqueue(2 * index as u16, given.ring_size)?;
        let tx = virtqueue(2 * index as u16 + 1, given.ring_size)?;
        let headers = Region::alloc(env.dma.clone(), queue::headers_len(tx.memory.size), 64);
        let parts = Parts {
            port: port.clone(),
            index,
            rx: rx.clone(),
            tx: tx.clone(),
            headers: headers.ok_or(NicError::NoMemory)?,
            event_idx,
            merges: features & feature::MRG_RXBUF != 0,
            negotiated: supported,
        };
        queues.push(if packed {
            Box::new(VirtioQueue::<Packed>::new(parts))
        } else {
            Box::new(VirtioQueue::<Split>::new(parts))
        });
        shared.push((rx, tx));
    }
    let control = if features & feature::CTRL_VQ != 0 {
        let queue = virtqueue(control_number, 64)?;
        let region = Region::alloc(env.dma.clone(), control::REGION_LEN, 64).ok_or(NicError::NoMemory)?;
        Some((Control::new(port.clone(), queue.clone(), region, event_idx), queue))
    } else {
        None
    };
    // Quiet until it is enabled.
    if !transport.reset() {
        return Err(NicError::State("the device does not reset"));
    }
    let vectors = match given.vectors as usize {
        0 => 0,
        n if n > pairs => pairs as u32 + 1,
        _ => 1,
    };
    let watchdog = Watchdog::new(pairs);
    let mut nic = Virtio {
        transport,
        port,
        pairs: shared,
        control,
        features,
        settings: Settings::new(mtu_max, supported),
        vectors,
        own_mac,
        watchdog,
    };
    nic.read_link();
    Ok(Device { nic: Box::new(nic), queues, usb: None })
}

impl Virtio {
    fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }

    /// Link and speed (section 5.1.4).
    fn read_link(&mut self) {
        let status = if self.has(feature::STATUS) { self.transport.config16(config::STATUS) } else { config::LINK_UP };
        if status == u16::MAX && self.transport.status() == u8::MAX {
            self.port.set_gone();
            return;
        }
        let (mut speed_bps, mut full_duplex) = (SPEED_DEFAULT, true);
        if self.has(feature::SPEED_DUPLEX) {
            let speed = self.transport.config32(config::SPEED);
            if speed != config::SPEED_UNKNOWN && speed != 0 {
                speed_bps = u64::from(speed) * SPEED_UNIT;
            }
            full_duplex = self.transport.config8(config::DUPLEX) != 0;
        }
        self.port.set_link(Link { up: status & config::LINK_UP != 0, full_duplex, speed_bps });
    }

    fn vector_of(&self, queue: usize) -> u16 {
        match self.vectors {
            0 => NO_VECTOR,
            1 => 0,
            _ => queue as u16,
        }
    }

    fn config_vector(&self) -> u16 {
        match self.vectors {
            0 => NO_VECTOR,
            n => n as u16 - 1,
        }
    }

    /// Section 3.1.1, from the reset to DRIVER_OK.
    fn start(&mut self) -> Result<(), NicError> {
        let failed = |what| Err(NicError::State(what));
        if !self.transport.reset() {
            return failed("the device does not reset");
        }
        self.transport.add_status(status::ACKNOWLEDGE);
        self.transport.add_status(status::DRIVER);
        if !self.transport.accept(self.features) {
            return failed("the device refuses its own features");
        }
        if self.vectors > 0 && !self.transport.set_config_vector(self.config_vector()) {
            return failed("the device refuses an interrupt vector");
        }
        for (index, (rx, tx)) in self.pairs.iter().enumerate() {
            for queue in [rx, tx] {
                self.enable_queue(queue, self.vector_of(index))?;
            }
        }
        if let Some((control, queue)) = &mut self.control {
            control.reset();
            let queue = queue.clone();
            self.enable_queue(&queue, NO_VECTOR)?;
        }
        self.transport.add_status(status::DRIVER_OK);
        self.port.start();
        self.program();
        self.read_link();
        if self.port.is_gone() { failed("the device is gone") } else { Ok(()) }
    }

    fn enable_queue(&self, queue: &Virtqueue, vector: u16) -> Result<(), NicError> {
        queue.memory.clear();
        let refused = NicError::State("the device refuses a virtqueue");
        let bell = self.transport.enable_queue(queue.number, &queue.memory, vector).ok_or(refused)?;
        queue.bell.set(bell.bar, bell.offset);
        Ok(())
    }

    /// Runs commands; what the device does not do, the filter in software does.
    fn with_control(&mut self, run: impl FnOnce(&mut Control, &Context<'_>) -> bool) -> bool {
        if !self.port.is_enabled() || self.port.is_gone() {
            return true;
        }
        let (port, transport) = (&self.port, &self.transport);
        let look = || {
            if transport.status() == u8::MAX {
                port.set_gone();
            }
        };
        let (multicast, all_multicast) = (&*self.settings.multicast, self.settings.all_multicast);
        let context = Context { look: &look, multicast, all_multicast };
        self.control.as_mut().is_none_or(|(control, _)| run(control, &context))
    }

    /// The hashes to steer by; 0: none that both know.
    fn hashes(&self) -> u32 {
        if !self.has(feature::RSS) {
            return 0;
        }
        let (key, table) =
            (self.transport.config8(config::RSS_KEY_MAX), self.transport.config16(config::RSS_TABLE_MAX));
        if usize::from(key) < control::RSS_KEY || table < control::RSS_TABLE {
            return 0;
        }
        self.transport.config32(config::RSS_TYPES) & spec::control::HASH_TYPES
    }

    /// Tells a device that was just reset everything that it has to know.
    fn program(&mut self) {
        let (pairs, mac) = (self.pairs.len() as u16, self.port.filter.mac());
        let promiscuous = self.port.filter.promiscuous();
        let (has_rx, has_mac) = (self.has(feature::CTRL_RX), self.has(feature::CTRL_MAC_ADDR));
        let own = self.own_mac == Some(mac);
        let (has_pairs, hashes) = (self.has(feature::MQ), self.hashes());
        let done = self.with_control(|control, context| {
            let look = context.look;
            // Section 5.1.6.5.7.1: RSS sets the number of pairs too; a device that refuses it steers by itself.
            let steered = hashes != 0 && control.set_rss(pairs, hashes, look);
            (steered || !has_pairs || control.set_pairs(pairs, look))
                && (own || !has_mac || control.set_mac(&mac, look))
                && (!has_rx
                    || control.set_table(context.multicast, look)
                        && control.set_receive_mode(promiscuous, context.all_multicast, look))
        });
        if !done && pairs > 1 {
            self.port.violation();
        }
    }
}

/// What commands are made from.
struct Context<'a> {
    look: &'a dyn Fn(),
    multicast: &'a MulticastList,
    all_multicast: bool,
}

impl Drop for Virtio {
    fn drop(&mut self) {
        let _ = self.enable(false);
    }
}

impl Adapter for Virtio {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    fn filter(&self) -> &RxFilter {
        &self.port.filter
    }

    fn station_changed(&mut self) {
        let mac = self.port.filter.mac();
        if self.has(feature::CTRL_MAC_ADDR) {
            self.with_control(|control, context| control.set_mac(&mac, context.look));
        }
    }

    fn groups_changed(&mut self) {
        if self.has(feature::CTRL_RX) {
            self.with_control(|control, context| control.set_table(context.multicast, context.look));
        }
    }

    fn mode_changed(&mut self) {
        let promiscuous = self.port.filter.promiscuous();
        if self.has(feature::CTRL_RX) {
            self.with_control(|control, context| {
                control.set_receive_mode(promiscuous, context.all_multicast, context.look)
            });
        }
    }

    fn offloads(&self) -> Offloads {
        self.port.offloads()
    }

    fn offloads_changed(&mut self, offloads: Offloads) {
        self.port.set_offloads(offloads);
    }

    fn queues(&self) -> usize {
        self.pairs.len()
    }

    fn is_enabled(&self) -> bool {
        self.port.is_enabled()
    }

    fn turn(&mut self, on: bool) -> Result<(), NicError> {
        if on {
            let started = self.start();
            if started.is_err() {
                self.port.stop();
                self.transport.add_status(status::FAILED);
                let _ = self.transport.reset();
            }
            return started;
        }
        self.port.stop();
        // Section 2.4.1: after a reset the device touches no ring and no buffer.
        if !self.port.is_gone() && !self.transport.reset() {
            self.port.set_gone();
        }
        Ok(())
    }

    fn link(&self) -> Link {
        self.port.link()
    }

    fn hardware(&self) -> Hardware {
        Hardware { mtu_max: self.settings.mtu_max, vectors: self.vectors, tick_ms: TICK_MS, wake: false }
    }

    fn interrupt(&mut self, vector: u32) -> u32 {
        let all = self.port.all_queues();
        if vector.checked_add(1) == Some(self.vectors) {
            self.read_link();
            if self.vectors == 1 { all } else { 0 }
        } else {
            all & 1u32.checked_shl(vector).unwrap_or(0)
        }
    }

    fn tick(&mut self, now_ns: u64) -> bool {
        if !self.port.is_enabled() || self.port.is_gone() {
            return false;
        }
        let now = self.transport.status();
        if now == u8::MAX {
            self.port.set_gone();
            return false;
        }
        // An interrupt that was lost, for queues and for the link.
        self.port.wake_all();
        // A frame that RSS leads from one pair's queue to another that has no buffer just then: QEMU's model looks at it again,
        // and at what came after it, when the first one is rung for, however many buffers the other has got since.
        if self.pairs.len() > 1 {
            for (rx, _) in &self.pairs {
                rx.bell.remind(&self.port, rx.number);
            }
        }
        self.read_link();
        // Section 2.1.2: DEVICE_NEEDS_RESET.
        let forgot = now & status::DRIVER_OK == 0 || now & status::NEEDS_RESET != 0;
        self.watchdog.must_reset(&self.port, now_ns, forgot)
    }

    fn stats(&self) -> NicStats {
        self.port.stats()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
