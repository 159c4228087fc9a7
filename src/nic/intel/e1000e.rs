//! Intel 82574L and kin: PCI Express gigabit controllers with two queues and MSI-X.
//!
//! Sections are those of the 82574 datasheet, revision 3.4. VLAN tags stay in the frames (section 7.5 is not used):
//! the system has no way to take them apart.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use super::desc::LEN;
use super::queue::{IntelQueue, Rings, buffer_size};
use super::regs::{self, *};
use crate::mem::region::Region;
use crate::nic::hw::{Port, TICK_MS, Watchdog};
use crate::nic::{
    Device, Hardware, Link, MTU_MIN, MulticastList, Nic, NicEnv, NicError, NicQueue, Offloads, Registers,
};

/// Queue pairs (section 7.1.11).
const QUEUES_MAX: usize = 2;
/// The longest frame, of the 9 KB that section 7.1.1 allows: MTU 9000 behind a header with one tag.
const MTU_MAX: u32 = 9000;
/// Ethernet header, one tag, and the FCS, which stands in the FIFO.
const OVERHEAD: u32 = 14 + 4 + 4;
/// Looks at a register until something must have happened; each is a read across the bus, which takes about 1 us.
const LOOKS: usize = 100_000;
/// 20 us between interrupts of a vector, in 256 ns (section 7.4.4).
const THROTTLE: u32 = 78;
/// Device numbers that this back end is written for: 82574L, 82574LA, 82583V (section 9.1.1.2; its specification
/// update).
pub const DEVICES: &[u32] = &[0x10d3, 0x10f6, 0x150c];

/// What an Intel NIC is made from.
#[derive(Clone, Copy, Debug)]
pub struct IntelConfig {
    /// Queue pairs wanted.
    pub queues: usize,
    /// Descriptors per ring, a power of two.
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

/// Everything on; LRO is not among what the device has.
const SUPPORTED: Offloads = Offloads::TX_CSUM.union(Offloads::RX_CSUM).union(Offloads::TSO4).union(Offloads::TSO6);

/// The control side.
struct E1000e {
    regs: Arc<dyn Registers>,
    port: Arc<Port>,
    rings: Vec<Arc<Rings>>,
    mtu_max: u32,
    vectors: u32,
    /// Buffer size bits of RCTL.
    size_bits: u32,
    all_multicast: bool,
    multicast: Box<MulticastList>,
    wake: bool,
    watchdog: Watchdog,
    /// RCTL as it was last written.
    mode: AtomicU32,
}

fn read(regs: &dyn Registers, at: u64) -> u32 {
    regs.read32(BAR, at)
}

fn write(regs: &dyn Registers, at: u64, value: u32) {
    regs.write32(BAR, at, value);
}

/// Looks until `done` holds of a register; false if it never does or the device is gone.
fn wait(regs: &dyn Registers, at: u64, done: impl Fn(u32) -> bool) -> bool {
    for _ in 0..LOOKS {
        let value = read(regs, at);
        if value == u32::MAX {
            return false;
        }
        if done(value) {
            return true;
        }
    }
    false
}

/// Stops everything and puts the device into its power-on state (sections 4.6.2, 5.2.5.4.1: master disable first).
fn reset(regs: &dyn Registers) -> bool {
    write(regs, IMC, u32::MAX);
    write(regs, RCTL, 0);
    write(regs, TCTL, tctl::PAD_SHORT);
    let before = read(regs, CTRL);
    if before == u32::MAX {
        return false;
    }
    write(regs, CTRL, before | ctrl::MASTER_DISABLE);
    // A device that cannot finish its requests is reset all the same.
    let _ = wait(regs, STATUS, |status| status & status::MASTER_ENABLED == 0 || before & ctrl::MASTER_DISABLE != 0);
    write(regs, CTRL, before | ctrl::RESET);
    // Section 10.2.2.1: RST clears itself; section 4.6.2: then the EEPROM is read again.
    let done = wait(regs, CTRL, |value| value & ctrl::RESET == 0);
    let _ = done && wait(regs, EEC, |value| value & EEC_AUTO_READ != 0);
    write(regs, IMC, u32::MAX);
    let _ = read(regs, ICR);
    done
}

/// The station address: from the first receive address, which the device fills from the EEPROM (section 10.2.5.18),
/// else from EEPROM words 0 to 2 themselves (section 6.1.1.1).
fn station(regs: &dyn Registers) -> Result<[u8; 6], NicError> {
    let (low, high) = (read(regs, RAL), read(regs, RAH));
    let usable = |mac: &[u8; 6]| *mac != [0; 6] && mac.first().is_some_and(|byte| byte & 1 == 0);
    let [a, b, c, d] = low.to_le_bytes();
    let [e, f, _, _] = high.to_le_bytes();
    let mac = [a, b, c, d, e, f];
    if high & RAH_VALID != 0 && usable(&mac) {
        return Ok(mac);
    }
    let mut mac = [0; 6];
    for (word, pair) in mac.chunks_exact_mut(2).enumerate() {
        write(regs, EERD, (word as u32) << eerd::ADDRESS_SHIFT | eerd::START);
        if !wait(regs, EERD, |value| value & eerd::DONE != 0) {
            return Err(NicError::State("the EEPROM does not answer"));
        }
        let value = read(regs, EERD) >> eerd::DATA_SHIFT;
        pair.copy_from_slice(&(value as u16).to_le_bytes());
    }
    if usable(&mac) { Ok(mac) } else { Err(NicError::State("the device has no station address")) }
}

/// Opens the device behind `env.registers`; it is quiet afterwards, and disabled.
///
/// # Errors
/// It is no such device, does not answer, or contradicts the configuration; no memory.
/// Allocates; called at Start.
pub fn open(given: &IntelConfig, env: NicEnv) -> Result<Device, NicError> {
    if given.queues == 0 || !given.ring_size.is_power_of_two() || given.ring_size < 64 {
        return Err(NicError::Invalid("queues or ring size"));
    }
    let regs = env.registers.clone().ok_or(NicError::State("the device's registers are missing"))?;
    let identity = regs.config_read32(0);
    if identity == u32::MAX {
        return Err(NicError::State("the device is gone"));
    }
    if identity & 0xffff != VENDOR || !DEVICES.contains(&(identity >> 16)) {
        return Err(NicError::Invalid("the device is no 82574 nor kin"));
    }
    if !reset(&*regs) {
        return Err(NicError::State("the device does not reset"));
    }
    let mac = station(&*regs)?;
    let mtu_max = given.mtu_max.min(MTU_MAX);
    let (buffer, size_bits) =
        buffer_size(mtu_max + OVERHEAD).ok_or(NicError::Invalid("the largest MTU is too large"))?;
    if buffer > given.buf_len {
        return Err(NicError::Invalid("the device may write more than a buffer holds"));
    }
    let pairs = given.queues.min(QUEUES_MAX);
    let port = Port::new(&env, mac, given.mtu.min(mtu_max), pairs, SUPPORTED)?;
    let mut queues: Vec<Box<dyn NicQueue>> = Vec::with_capacity(pairs);
    let mut rings = Vec::with_capacity(pairs);
    for index in 0..pairs {
        // Sections 10.2.5.5, 10.2.6.5: 16-byte alignment; a page keeps rings apart.
        let region = || Region::alloc(env.dma.clone(), LEN * given.ring_size, 4096).ok_or(NicError::NoMemory);
        let pair = Arc::new(Rings { rx: region()?, tx: region()?, size: given.ring_size });
        queues.push(Box::new(IntelQueue::new(port.clone(), index, pair.clone(), buffer)));
        rings.push(pair);
    }
    let vectors = match given.vectors as usize {
        0 => 0,
        n if n > pairs => pairs as u32 + 1,
        _ => 1,
    };
    let mut nic = E1000e {
        regs,
        port,
        rings,
        mtu_max,
        vectors,
        size_bits,
        all_multicast: false,
        multicast: Box::default(),
        wake: false,
        watchdog: Watchdog::new(pairs),
        mode: AtomicU32::new(0),
    };
    nic.start_phy();
    nic.read_link();
    Ok(Device { nic: Box::new(nic), queues, usb: None })
}

impl E1000e {
    fn read(&self, at: u64) -> u32 {
        read(&*self.regs, at)
    }

    fn write(&self, at: u64, value: u32) {
        write(&*self.regs, at, value);
    }

    /// Reads a PHY register (section 10.2.2.7).
    fn phy_read(&self, register: u32) -> Option<u16> {
        self.write(MDIC, mdic::READ | mdic::PHY_1 | register << mdic::REGISTER_SHIFT);
        let done = wait(&*self.regs, MDIC, |value| value & (mdic::READY | mdic::ERROR) != 0);
        let value = self.read(MDIC);
        (done && value & mdic::ERROR == 0).then_some(value as u16)
    }

    fn phy_write(&self, register: u32, value: u16) {
        let command = mdic::WRITE | mdic::PHY_1 | register << mdic::REGISTER_SHIFT;
        self.write(MDIC, command | u32::from(value));
        let _ = wait(&*self.regs, MDIC, |value| value & (mdic::READY | mdic::ERROR) != 0);
    }

    /// Lets the MAC follow the PHY (section 4.6.3.2), and wakes a PHY that sleeps or does not negotiate.
    fn start_phy(&self) {
        let control = self.read(CTRL) & !(ctrl::FORCE_SPEED | ctrl::FORCE_DUPLEX | ctrl::VLAN_MODE);
        self.write(CTRL, control | ctrl::SET_LINK_UP);
        if let Some(value) = self.phy_read(PHY_CONTROL)
            && (value & phy_control::POWER_DOWN != 0 || value & phy_control::NEGOTIATE == 0)
        {
            let awake = value & !phy_control::POWER_DOWN;
            self.phy_write(PHY_CONTROL, awake | phy_control::NEGOTIATE | phy_control::RESTART_NEGOTIATION);
        }
    }

    /// Link, duplex and speed (section 10.2.2.2).
    fn read_link(&mut self) {
        let value = self.read(STATUS);
        if value == u32::MAX {
            self.port.set_gone();
            return;
        }
        let speed_bps = match value >> status::SPEED_SHIFT & 3 {
            0 => 10_000_000,
            1 => 100_000_000,
            _ => 1_000_000_000,
        };
        self.port.set_link(Link {
            up: value & status::LINK_UP != 0,
            full_duplex: value & status::FULL_DUPLEX != 0,
            speed_bps,
        });
    }

    /// Section 4.6: everything from the reset to the enabled receiver.
    fn start(&mut self) -> Result<(), NicError> {
        if !reset(&*self.regs) {
            return Err(NicError::State("the device does not reset"));
        }
        let ext = self.read(CTRL_EXT) & !ctrl_ext::PBA_SUPPORT;
        let msix = if self.vectors > 0 { ctrl_ext::PBA_SUPPORT } else { 0 };
        self.write(CTRL_EXT, ext | ctrl_ext::DRIVER_LOADED | msix);
        self.start_phy();
        self.flow_control();
        self.start_transmit();
        self.start_receive();
        self.start_interrupts();
        self.port.start();
        // Last: from here on frames arrive.
        self.apply_mode();
        self.read_link();
        if self.port.is_gone() { Err(NicError::State("the device is gone")) } else { Ok(()) }
    }

    /// Sections 10.2.2.10 to 10.2.2.13, IEEE 802.3 annex 31B: address and type of pause frames. None is sent: a host that is behind
    /// drops instead of stopping its neighbours.
    fn flow_control(&self) {
        self.write(FCAL, 0x00c2_8001);
        self.write(FCAH, 0x0000_0100);
        self.write(FCT, 0x8808);
        self.write(FCTTV, 0);
        self.write(FCRTL, 0);
        self.write(FCRTH, 0);
    }

    fn set_ring(&self, base: u64, index: usize, region: &Region, control: u32) {
        let at = base + regs::QUEUE_STRIDE * index as u64;
        let iova = region.iova();
        self.write(at + regs::queue::BASE_LOW, iova as u32);
        self.write(at + regs::queue::BASE_HIGH, (iova >> 32) as u32);
        self.write(at + regs::queue::LEN, region_len(region, &self.rings));
        self.write(at + regs::queue::HEAD, 0);
        self.write(at + regs::queue::TAIL, 0);
        self.write(at + regs::queue::CONTROL, control);
    }

    /// Section 4.6.6: rings, thresholds, gap, then the transmitter.
    fn start_transmit(&self) {
        for (index, rings) in self.rings.iter().enumerate() {
            rings.clear();
            self.set_ring(TX_QUEUE, index, &rings.tx, TXDCTL);
        }
        self.write(TIPG, TIPG_USUAL);
        self.write(TCTL, tctl::ENABLE | tctl::PAD_SHORT | tctl::USUAL);
    }

    /// Section 4.6.5: addresses, filters, rings, checksums, steering. The receiver is turned on later.
    fn start_receive(&self) {
        self.set_station();
        self.set_groups();
        for (index, rings) in self.rings.iter().enumerate() {
            self.set_ring(RX_QUEUE, index, &rings.rx, RXDCTL);
        }
        self.write(RFCTL, RFCTL_EXTENDED);
        let several = self.rings.len() > 1;
        self.write(RXCSUM, rxcsum::IP | rxcsum::TRANSPORT | if several { rxcsum::HASH } else { 0 });
        if several {
            // Section 7.1.11.1: a key whose halves are alike, so that both directions of a flow meet in one queue.
            for word in 0..10 {
                self.write(RSSRK + 4 * word, 0x5a6d_5a6d);
            }
            for word in 0..32 {
                self.write(RETA + 4 * word, 0x8000_8000);
            }
        }
        self.write(MRQC, if several { MRQC_RSS } else { 0 });
    }

    /// Section 10.2.5.19: the station's address first, no other.
    fn set_station(&self) {
        let [a, b, c, d, e, f] = self.port.filter.mac();
        self.write(RAL, u32::from_le_bytes([a, b, c, d]));
        self.write(RAH, u32::from_le_bytes([e, f, 0, 0]) | RAH_VALID);
        for entry in 1..RECEIVE_ADDRESSES {
            self.write(RAH + 8 * entry, 0);
            self.write(RAL + 8 * entry, 0);
        }
    }

    /// Section 10.2.5.17 with RCTL.MO = 0: bits 47 to 36 of the address choose one of 4096 bits.
    fn set_groups(&self) {
        let mut table = [0u32; MTA_WORDS];
        for [.., e, f] in self.multicast.iter() {
            let hash = (usize::from(*e) >> 4 | usize::from(*f) << 4) & 0xfff;
            if let Some(word) = table.get_mut(hash >> 5) {
                *word |= 1 << (hash & 31);
            }
        }
        for (word, value) in table.iter().enumerate() {
            self.write(MTA + 4 * word as u64, *value);
        }
    }

    /// Section 10.2.5.1: the receiver's mode; on while the NIC is enabled.
    fn apply_mode(&self) {
        if !self.port.is_enabled() {
            return;
        }
        let mut mode = rctl::ENABLE | rctl::BROADCAST | rctl::STRIP_CRC | self.size_bits;
        if self.mtu_max + OVERHEAD > 1522 {
            mode |= rctl::LONG;
        }
        if self.port.filter.promiscuous() {
            mode |= rctl::UNICAST_PROMISCUOUS | rctl::MULTICAST_PROMISCUOUS;
        }
        if self.all_multicast {
            mode |= rctl::MULTICAST_PROMISCUOUS;
        }
        self.mode.store(mode, Ordering::Relaxed);
        self.write(RCTL, mode);
    }

    /// Section 7.4.2: vectors, automatic clearing, throttling; causes of queues are armed by the queues.
    fn start_interrupts(&self) {
        let (mut routes, mut automatic) = (0, 0);
        let mut route = |shift: u32, vector: u32| routes |= (ivar::VALID | vector) << shift;
        for queue in 0..self.rings.len() as u32 {
            let vector = if self.vectors > 1 { queue } else { 0 };
            route(ivar::RX_SHIFT + 4 * queue, vector);
            route(ivar::TX_SHIFT + 4 * queue, vector);
            automatic |= cause::RX_QUEUE << queue | cause::TX_QUEUE << queue;
        }
        route(ivar::OTHER_SHIFT, self.vectors.saturating_sub(1));
        self.write(IVAR, routes | ivar::EVERY_WRITE_BACK);
        self.write(EIAC, if self.vectors > 0 { automatic } else { 0 });
        for vector in 0..self.vectors.saturating_sub(1).max(1) {
            self.write(EITR + 4 * u64::from(vector), THROTTLE);
        }
        if self.vectors > 0 {
            self.write(IMS, cause::LINK | cause::OTHER);
        }
    }

    /// Sections 10.2.8: while the machine sleeps the device waits for a magic packet.
    fn set_wake_filter(&self) {
        if self.wake {
            self.set_station();
            self.write(CTRL, self.read(CTRL) | ctrl::ADVERTISE_D3_WAKE | ctrl::SET_LINK_UP);
            self.write(WUFC, WUFC_MAGIC);
            self.write(WUC, WUC_PME);
        } else {
            self.write(WUFC, 0);
        }
    }
}

/// Sections 10.2.5.7, 10.2.6.7: bytes of the ring, a multiple of 128.
fn region_len(region: &Region, rings: &[Arc<Rings>]) -> u32 {
    let size = rings.first().map_or(0, |rings| rings.size * LEN);
    size.min(region.len()) as u32
}

impl Drop for E1000e {
    fn drop(&mut self) {
        let _ = self.enable(false);
    }
}

impl Nic for E1000e {
    fn queues(&self) -> usize {
        self.rings.len()
    }

    fn enable(&mut self, on: bool) -> Result<(), NicError> {
        if on == self.port.is_enabled() {
            return Ok(());
        }
        if on {
            let started = self.start();
            if started.is_err() {
                self.port.stop();
                let _ = reset(&*self.regs);
            }
            return started;
        }
        self.port.stop();
        if !self.port.is_gone() {
            if reset(&*self.regs) {
                self.start_phy();
                self.set_wake_filter();
            } else {
                self.port.set_gone();
            }
        }
        Ok(())
    }

    fn is_enabled(&self) -> bool {
        self.port.is_enabled()
    }

    fn mac(&self) -> [u8; 6] {
        self.port.filter.mac()
    }

    fn set_mac(&mut self, mac: [u8; 6]) -> Result<(), NicError> {
        self.port.filter.set_mac(mac)?;
        self.set_station();
        Ok(())
    }

    fn set_promiscuous(&mut self, on: bool) {
        self.port.filter.set_promiscuous(on);
        self.apply_mode();
    }

    fn promiscuous(&self) -> bool {
        self.port.filter.promiscuous()
    }

    fn set_all_multicast(&mut self, on: bool) {
        self.port.filter.set_all_multicast(on);
        self.all_multicast = on;
        self.apply_mode();
    }

    fn set_multicast(&mut self, list: &MulticastList) -> Result<(), NicError> {
        self.port.filter.set_multicast(list)?;
        *self.multicast = list.clone();
        self.set_groups();
        Ok(())
    }

    fn multicast_count(&self) -> usize {
        self.port.filter.multicast_count()
    }

    fn mtu(&self) -> u32 {
        self.port.filter.mtu()
    }

    fn set_mtu(&mut self, mtu: u32) -> Result<(), NicError> {
        if !(MTU_MIN..=self.mtu_max).contains(&mtu) {
            return Err(NicError::Invalid("MTU must be 68 to its maximum"));
        }
        self.port.filter.set_mtu(mtu);
        Ok(())
    }

    fn offloads_supported(&self) -> Offloads {
        SUPPORTED
    }

    fn offloads(&self) -> Offloads {
        self.port.offloads()
    }

    fn set_offloads(&mut self, offloads: Offloads) -> Result<(), NicError> {
        if !SUPPORTED.contains(offloads) {
            return Err(NicError::Unsupported);
        }
        self.port.set_offloads(offloads);
        Ok(())
    }

    fn link(&self) -> Link {
        self.port.link()
    }

    fn hardware(&self) -> Hardware {
        Hardware { mtu_max: self.mtu_max, vectors: self.vectors, tick_ms: TICK_MS, wake: true }
    }

    fn set_wake(&mut self, on: bool) -> Result<(), NicError> {
        self.wake = on;
        if !self.port.is_enabled() && !self.port.is_gone() {
            self.set_wake_filter();
        }
        Ok(())
    }

    fn interrupt(&mut self, vector: u32) -> u32 {
        let all = self.port.all_queues();
        if vector + 1 != self.vectors {
            return all & 1u32.checked_shl(vector).unwrap_or(0);
        }
        // Reading clears (section 10.2.4.1); queues' causes have cleared themselves.
        let causes = self.read(ICR);
        self.read_link();
        if causes != u32::MAX && self.port.is_enabled() {
            self.write(IMS, cause::LINK | cause::OTHER);
        }
        if self.vectors == 1 { all } else { 0 }
    }

    fn tick(&mut self, now_ns: u64) -> bool {
        if !self.port.is_enabled() || self.port.is_gone() {
            return false;
        }
        // For interrupts that were lost.
        self.port.wake_all();
        self.read_link();
        if self.port.is_gone() {
            return false;
        }
        // A device that somebody else reset, or that lost its power for a moment, has forgotten its mode.
        let forgot = self.read(RCTL) & rctl::ENABLE == 0;
        forgot || self.port.is_broken() || self.watchdog.look(&self.port, now_ns)
    }
}
