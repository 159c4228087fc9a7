//! The control side, alike for all families but for what [`Family`] says. Sections are those of the 82574 datasheet, revision
//! 3.4; the I210's says the same in its sections 4.3 to 4.5.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::marker::PhantomData;

use super::desc::LEN;
use super::family::Family;
use super::queue::{IntelQueue, Rings};
use super::regs::{self, *};
use crate::mem::region::Region;
use crate::nic::hw::{Meter, Port, TICK_MS, Watchdog};
use crate::nic::rx_filter::RxFilter;
use crate::nic::settings::{Adapter, Settings};
use crate::nic::{Device, Hardware, Link, Nic as _, NicEnv, NicError, NicQueue, NicStats, Offloads, Registers};

/// Ethernet header, one tag, and the FCS, which stands in the FIFO.
const OVERHEAD: u32 = 14 + 4 + 4;
/// Looks at a register until something must have happened; each is a read across the bus, which takes about 1 us.
const LOOKS: usize = 100_000;

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
pub(super) struct Intel<F: Family> {
    port: Arc<Port>,
    rings: Vec<Arc<Rings>>,
    settings: Settings,
    vectors: u32,
    /// How the family is told of the buffers' size.
    size_bits: u32,
    /// Bits of RCTL that the family asked for.
    mode_bits: u32,
    wake: bool,
    watchdog: Watchdog,
    family: PhantomData<F>,
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
fn reset<F: Family>(regs: &dyn Registers) -> bool {
    write(regs, F::IMC, u32::MAX);
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
    write(regs, F::IMC, u32::MAX);
    let _ = read(regs, F::ICR);
    done
}

/// The station address: from the first receive address, which the device fills from the EEPROM (section 10.2.5.18),
/// else from EEPROM words 0 to 2 themselves (section 6.1.1.1).
fn station<F: Family>(regs: &dyn Registers) -> Result<[u8; 6], NicError> {
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
        write(regs, F::EERD, (word as u32) << eerd::ADDRESS_SHIFT | eerd::START);
        if !wait(regs, F::EERD, |value| value & eerd::DONE != 0) {
            return Err(NicError::State("the EEPROM does not answer"));
        }
        let value = read(regs, F::EERD) >> eerd::DATA_SHIFT;
        pair.copy_from_slice(&(value as u16).to_le_bytes());
    }
    if usable(&mac) { Ok(mac) } else { Err(NicError::State("the device has no station address")) }
}

/// Opens the device behind `env.registers`; it is quiet afterwards, and disabled.
///
/// # Errors
/// It is no such device, does not answer, or contradicts the configuration; no memory.
/// Allocates; called at Start.
pub(super) fn open<F: Family>(given: &IntelConfig, env: NicEnv) -> Result<Device, NicError> {
    if given.queues == 0 || !given.ring_size.is_power_of_two() || given.ring_size < 64 {
        return Err(NicError::Invalid("queues or ring size"));
    }
    let regs = Meter::of(&env)?;
    let identity = regs.config_read32(0);
    if identity == u32::MAX {
        return Err(NicError::State("the device is gone"));
    }
    if identity & 0xffff != VENDOR || !F::DEVICES.contains(&(identity >> 16)) {
        return Err(NicError::Invalid(F::NAME));
    }
    if !reset::<F>(&*regs) {
        return Err(NicError::State("the device does not reset"));
    }
    let mac = station::<F>(&*regs)?;
    let mtu_max = given.mtu_max.min(F::MTU_MAX);
    let (buffer, size_bits) = F::buffer(mtu_max + OVERHEAD).ok_or(NicError::Invalid("the largest MTU is too large"))?;
    if buffer > given.buf_len {
        return Err(NicError::Invalid("the device may write more than a buffer holds"));
    }
    let pairs = given.queues.min(F::QUEUES);
    let vectors = match given.vectors as usize {
        0 => 0,
        n if n > pairs => pairs as u32 + 1,
        _ => 1,
    };
    let port = Port::new(&env, regs, mac, given.mtu.min(mtu_max), pairs, SUPPORTED)?;
    let mut queues: Vec<Box<dyn NicQueue>> = Vec::with_capacity(pairs);
    let mut rings = Vec::with_capacity(pairs);
    for index in 0..pairs {
        // Sections 10.2.5.5, 10.2.6.5: 16-byte alignment; a page keeps rings apart.
        let region =
            || Region::alloc(env.dma.clone(), LEN * given.ring_size, 4096).map(Arc::new).ok_or(NicError::NoMemory);
        let pair = Arc::new(Rings { rx: region()?, tx: region()?, size: given.ring_size });
        let queue = IntelQueue::<F>::new(port.clone(), index, &pair, buffer, vectors).ok_or(NicError::NoMemory)?;
        queues.push(Box::new(queue));
        rings.push(pair);
    }
    let mut nic: Intel<F> = Intel {
        port,
        rings,
        settings: Settings::new(mtu_max, SUPPORTED),
        vectors,
        size_bits,
        mode_bits: 0,
        wake: false,
        watchdog: Watchdog::new(pairs),
        family: PhantomData,
    };
    F::start_phy(&nic);
    nic.read_link();
    Ok(Device { nic: Box::new(nic), queues, usb: None })
}

impl<F: Family> Intel<F> {
    pub fn read(&self, at: u64) -> u32 {
        read(&*self.port.regs, at)
    }

    pub fn write(&self, at: u64, value: u32) {
        write(&*self.port.regs, at, value);
    }

    /// See [`wait`].
    pub fn wait(&self, at: u64, done: impl Fn(u32) -> bool) -> bool {
        wait(&*self.port.regs, at, done)
    }

    /// Queue pairs in use.
    pub fn pairs(&self) -> usize {
        self.rings.len()
    }

    pub fn vectors(&self) -> u32 {
        self.vectors
    }

    /// The second of [`Family::buffer`].
    pub fn buffer_bits(&self) -> u32 {
        self.size_bits
    }

    /// The longest frame, FCS included.
    pub fn frame_max(&self) -> u32 {
        self.settings.mtu_max + OVERHEAD
    }

    /// Link, duplex and speed (section 10.2.2.2).
    fn read_link(&mut self) {
        let value = self.read(STATUS);
        if value == u32::MAX {
            self.port.set_gone();
            return;
        }
        self.port.set_link(Link {
            up: value & status::LINK_UP != 0,
            full_duplex: value & status::FULL_DUPLEX != 0,
            speed_bps: F::speed(value),
        });
    }

    /// Section 4.6: everything from the reset to the enabled receiver.
    fn start(&mut self) -> Result<(), NicError> {
        if !reset::<F>(&*self.port.regs) {
            return Err(NicError::State("the device does not reset"));
        }
        let ext = self.read(CTRL_EXT) & !F::CTRL_EXT_MESSAGES;
        let msix = if self.vectors > 0 { F::CTRL_EXT_MESSAGES } else { 0 };
        self.write(CTRL_EXT, ext | ctrl_ext::DRIVER_LOADED | msix);
        F::start_phy(self);
        self.flow_control();
        if !self.start_transmit() || !self.start_receive() {
            return Err(NicError::State("the device does not enable a queue"));
        }
        F::start_interrupts(self);
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

    /// Points a queue at its ring. A queue that has an enable bit is stopped meanwhile, and starts at the ring's first
    /// descriptor (I210: sections 4.5.9, 4.5.10).
    fn set_ring(&self, base: u64, index: usize, region: &Region, control: u32) -> bool {
        let at = base + F::QUEUE_STRIDE * index as u64;
        let iova = region.iova();
        if F::ENABLE != 0 {
            self.write(at + regs::queue::CONTROL, 0);
        }
        self.write(at + regs::queue::BASE_LOW, iova as u32);
        self.write(at + regs::queue::BASE_HIGH, (iova >> 32) as u32);
        self.write(at + regs::queue::LEN, region_len(region, &self.rings));
        if F::ENABLE == 0 {
            self.write(at + regs::queue::HEAD, 0);
            self.write(at + regs::queue::TAIL, 0);
        }
        self.write(at + regs::queue::CONTROL, control | F::ENABLE);
        F::ENABLE == 0 || self.wait(at + regs::queue::CONTROL, |value| value & F::ENABLE != 0)
    }

    /// Section 4.6.6: rings, thresholds, gap, then the transmitter.
    fn start_transmit(&self) -> bool {
        for (index, rings) in self.rings.iter().enumerate() {
            rings.clear();
            if !self.set_ring(F::TX_QUEUE, index, &rings.tx, F::TXDCTL) {
                return false;
            }
        }
        self.write(TIPG, TIPG_USUAL);
        self.write(TCTL, tctl::ENABLE | tctl::PAD_SHORT | tctl::TRIES | F::TCTL);
        true
    }

    /// Section 4.6.5: addresses, filters, rings, checksums, steering. The receiver is turned on later.
    fn start_receive(&mut self) -> bool {
        self.set_station();
        self.set_groups();
        self.mode_bits = F::receive(self);
        for (index, rings) in self.rings.iter().enumerate() {
            if !self.set_ring(F::RX_QUEUE, index, &rings.rx, F::RXDCTL) {
                return false;
            }
        }
        let several = self.rings.len() > 1;
        self.write(RXCSUM, rxcsum::IP | rxcsum::TRANSPORT | if several { rxcsum::HASH } else { 0 });
        if several {
            // Section 7.1.11.1: a key whose halves are alike, so that both directions of a flow meet in one queue.
            for word in 0..10 {
                self.write(RSSRK + 4 * word, 0x5a6d_5a6d);
            }
            F::steer(self);
        } else {
            self.write(MRQC, 0);
        }
        true
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
        for [.., e, f] in self.settings.multicast.iter() {
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
        let mut mode = rctl::ENABLE | rctl::BROADCAST | rctl::STRIP_CRC | self.mode_bits;
        if self.frame_max() > 1522 {
            mode |= rctl::LONG;
        }
        if self.port.filter.promiscuous() {
            mode |= rctl::UNICAST_PROMISCUOUS | rctl::MULTICAST_PROMISCUOUS;
        }
        if self.settings.all_multicast {
            mode |= rctl::MULTICAST_PROMISCUOUS;
        }
        self.write(RCTL, mode);
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

impl<F: Family> Drop for Intel<F> {
    fn drop(&mut self) {
        let _ = self.enable(false);
    }
}

impl<F: Family> Adapter for Intel<F> {
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
        self.set_station();
    }

    fn groups_changed(&mut self) {
        self.set_groups();
    }

    fn mode_changed(&mut self) {
        self.apply_mode();
    }

    fn offloads(&self) -> Offloads {
        self.port.offloads()
    }

    fn offloads_changed(&mut self, offloads: Offloads) {
        self.port.set_offloads(offloads);
    }

    fn queues(&self) -> usize {
        self.rings.len()
    }

    fn is_enabled(&self) -> bool {
        self.port.is_enabled()
    }

    fn turn(&mut self, on: bool) -> Result<(), NicError> {
        if on {
            let started = self.start();
            if started.is_err() {
                self.port.stop();
                let _ = reset::<F>(&*self.port.regs);
            }
            return started;
        }
        self.port.stop();
        if !self.port.is_gone() {
            if reset::<F>(&*self.port.regs) {
                F::start_phy(self);
                self.set_wake_filter();
            } else {
                self.port.set_gone();
            }
        }
        Ok(())
    }

    fn link(&self) -> Link {
        self.port.link()
    }

    fn hardware(&self) -> Hardware {
        Hardware { mtu_max: self.settings.mtu_max, vectors: self.vectors, tick_ms: TICK_MS, wake: true }
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
        if vector.checked_add(1) != Some(self.vectors) {
            return all & 1u32.checked_shl(vector).unwrap_or(0);
        }
        F::acknowledge(self);
        self.read_link();
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
        self.watchdog.must_reset(&self.port, now_ns, forgot)
    }

    fn stats(&self) -> NicStats {
        self.port.stats()
    }
}
