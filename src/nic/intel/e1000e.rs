//! Intel 82574L and kin: PCI Express gigabit controllers with two queues and MSI-X.
//!
//! Sections are those of the 82574 datasheet, revision 3.4.

use super::control::{self, Intel, IntelConfig};
use super::desc::{Context, TxPlan, Wanted};
use super::family::Family;
use super::regs::{self, CTRL, MDIC, MRQC, PHY_CONTROL, RETA, RFCTL};
use super::regs::{ctrl, mdic, phy_control, rctl};
use crate::nic::settings::Adapter as _;
use crate::nic::{Device, NicEnv, NicError};

/// Interrupt vectors and causes (section 10.2.4).
const EIAC: u64 = 0x00dc;
const IVAR: u64 = 0x00e4;
/// One for each MSI-X vector; 256 ns units (section 10.2.4.4).
const EITR: u64 = 0x00e8;
/// 20 us between interrupts of a vector (section 7.4.4).
const THROTTLE: u32 = 78;
mod cause {
    pub const TX_WRITTEN_BACK: u32 = 1 << 0;
    pub const RX_TIMER: u32 = 1 << 7;
    /// Queue 0 of each kind; queue 1's is the next bit.
    pub const RX_QUEUE: u32 = 1 << 20;
    pub const TX_QUEUE: u32 = 1 << 22;
    pub const OTHER: u32 = 1 << 24;
}
mod ivar {
    pub const VALID: u32 = 1 << 3;
    /// Shifts of the fields (section 10.2.4.10).
    pub const RX_SHIFT: u32 = 0;
    pub const TX_SHIFT: u32 = 8;
    pub const OTHER_SHIFT: u32 = 16;
    /// An interrupt at every write-back of a transmit descriptor.
    pub const EVERY_WRITE_BACK: u32 = 1 << 31;
}
/// Receive filter control: extended descriptors (section 10.2.5.16).
const RFCTL_EXTENDED: u32 = 1 << 15;
/// RSS, and what is hashed (section 10.2.5.21).
const MRQC_RSS: u32 = 1 | 1 << 16 | 1 << 17 | 1 << 20 | 1 << 21;

/// Commands of data descriptors (section 7.2.10.3), in the upper byte of the third word.
const TYPE_DATA: u32 = 1 << 20;
const INSERT_FCS: u32 = 1 << 25;
const SEGMENT: u32 = 1 << 26;
const EXTENDED: u32 = 1 << 29;
/// Commands of context descriptors (section 7.2.10.2).
const CONTEXT_TCP: u32 = 1 << 24;
const CONTEXT_IP: u32 = 1 << 25;
/// PAYLEN has 20 bits, HDRLEN and the offsets of a context have 8 (section 7.2.10.2).
const PAYLOAD_MAX: usize = (1 << 20) - 1;
const OFFSET_MAX: usize = 255;
/// Header of a super-frame at most (section 7.3.6.1).
const HEADER_MAX: usize = 240;

/// Opens the device behind `env.registers`; it is quiet afterwards, and disabled.
///
/// # Errors
/// It is no such device, does not answer, or contradicts the configuration; no memory.
/// Allocates; called at Start.
pub fn open(given: &IntelConfig, env: NicEnv) -> Result<Device, NicError> {
    control::open::<E1000e>(given, env)
}

/// See the module.
pub(super) struct E1000e;

/// Reads a PHY register (section 10.2.2.7).
fn phy_read(nic: &Intel<E1000e>, register: u32) -> Option<u16> {
    nic.write(MDIC, mdic::READ | mdic::PHY_1 | register << mdic::REGISTER_SHIFT);
    let done = nic.wait(MDIC, |value| value & (mdic::READY | mdic::ERROR) != 0);
    let value = nic.read(MDIC);
    (done && value & mdic::ERROR == 0).then_some(value as u16)
}

fn phy_write(nic: &Intel<E1000e>, register: u32, value: u16) {
    let command = mdic::WRITE | mdic::PHY_1 | register << mdic::REGISTER_SHIFT;
    nic.write(MDIC, command | u32::from(value));
    let _ = nic.wait(MDIC, |value| value & (mdic::READY | mdic::ERROR) != 0);
}

impl Family for E1000e {
    const NAME: &'static str = "the device is no 82574 nor kin";
    /// 82574L, 82574LA, 82583V (section 9.1.1.2; its specification update).
    const DEVICES: &'static [u32] = &[0x10d3, 0x10f6, 0x150c];
    /// Section 7.1.11.
    const QUEUES: usize = 2;
    /// Of the 9 KB that section 7.1.1 allows a frame.
    const MTU_MAX: u32 = 9000;
    const EERD: u64 = 0x0014;
    const RX_QUEUE: u64 = 0x2800;
    const TX_QUEUE: u64 = 0x3800;
    const QUEUE_STRIDE: u64 = 0x100;
    /// Section 10.2.4.
    const ICR: u64 = 0x00c0;
    const IMS: u64 = 0x00d0;
    const IMC: u64 = 0x00d8;
    /// Pending bits clear when the message is sent (section 7.4.2).
    const CTRL_EXT_MESSAGES: u32 = 1 << 31;
    /// 64 bytes of collision distance for full duplex; several requests at once (section 10.2.6.1).
    const TCTL: u32 = 63 << 12 | 1 << 28;
    const ENABLE: u32 = 0;
    /// In descriptors: prefetch below 32, at 4 free, write back at once (section 10.2.5.10).
    const RXDCTL: u32 = 1 << 24 | 32 | 4 << 8 | 1 << 16;
    /// In descriptors: prefetch below 31, 1 free, write back at once; bit 22 is to be set (section 10.2.6.10).
    const TXDCTL: u32 = 1 << 24 | 1 << 22 | 31 | 1 << 8 | 1 << 16;
    /// CRC or alignment, symbol, sequence, carrier extension, data (section 7.1.4.2).
    const RX_ERRORS: u32 = 1 << 24 | 1 << 25 | 1 << 26 | 1 << 28 | 1 << 31;

    fn buffer(len: u32) -> Option<(u32, u32)> {
        rctl::SIZES.iter().find(|(size, _)| *size >= len).copied()
    }

    fn arming(index: usize, _vectors: u32) -> (u64, u32) {
        let bit = 1u32.checked_shl(index as u32).unwrap_or(0);
        // Both kinds: with one message for everything the queues' own causes do not exist (section 7.4.1).
        (Self::IMS, ((cause::RX_QUEUE | cause::TX_QUEUE) * bit) | cause::RX_TIMER | cause::TX_WRITTEN_BACK)
    }

    /// Section 4.6.3.2; a PHY that sleeps or does not negotiate is woken.
    fn start_phy(nic: &Intel<Self>) {
        let control = nic.read(CTRL) & !(ctrl::FORCE_SPEED | ctrl::FORCE_DUPLEX | ctrl::VLAN_MODE);
        nic.write(CTRL, control | ctrl::SET_LINK_UP);
        if let Some(value) = phy_read(nic, PHY_CONTROL)
            && (value & phy_control::POWER_DOWN != 0 || value & phy_control::NEGOTIATE == 0)
        {
            let awake = value & !phy_control::POWER_DOWN;
            phy_write(nic, PHY_CONTROL, awake | phy_control::NEGOTIATE | phy_control::RESTART_NEGOTIATION);
        }
    }

    fn receive(nic: &Intel<Self>) -> u32 {
        nic.write(RFCTL, RFCTL_EXTENDED);
        nic.buffer_bits()
    }

    fn steer(nic: &Intel<Self>) {
        // Section 10.2.5.22: the queue is bit 7 of an entry.
        for word in 0..32 {
            nic.write(RETA + 4 * word, 0x8000_8000);
        }
        nic.write(MRQC, MRQC_RSS);
    }

    /// Section 7.4.2: vectors, automatic clearing, throttling.
    fn start_interrupts(nic: &Intel<Self>) {
        let vectors = nic.vectors();
        let (mut routes, mut automatic) = (0, 0);
        let mut route = |shift: u32, vector: u32| routes |= (ivar::VALID | vector) << shift;
        for queue in 0..nic.pairs() as u32 {
            let vector = if vectors > 1 { queue } else { 0 };
            route(ivar::RX_SHIFT + 4 * queue, vector);
            route(ivar::TX_SHIFT + 4 * queue, vector);
            automatic |= cause::RX_QUEUE << queue | cause::TX_QUEUE << queue;
        }
        route(ivar::OTHER_SHIFT, vectors.saturating_sub(1));
        nic.write(IVAR, routes | ivar::EVERY_WRITE_BACK);
        nic.write(EIAC, if vectors > 0 { automatic } else { 0 });
        for vector in 0..vectors.saturating_sub(1).max(1) {
            nic.write(EITR + 4 * u64::from(vector), THROTTLE);
        }
        if vectors > 0 {
            nic.write(Self::IMS, regs::CAUSE_LINK | cause::OTHER);
        }
    }

    fn acknowledge(nic: &Intel<Self>) {
        // Reading clears (section 10.2.4.1); queues' causes have cleared themselves (section 10.2.4.8: EIAC).
        if nic.read(Self::ICR) != u32::MAX && nic.is_enabled() {
            nic.write(Self::IMS, regs::CAUSE_LINK | cause::OTHER);
        }
    }

    /// Section 10.2.2.2.
    fn speed(status: u32) -> u64 {
        regs::status::gigabit(status)
    }

    fn plain(_len: usize) -> TxPlan {
        TxPlan { context: None, command: TYPE_DATA | INSERT_FCS | EXTENDED, options: 0 }
    }

    /// Section 7.2.10.2: where the IP and transport checksums start, go and end.
    fn plan(wanted: &Wanted) -> Option<TxPlan> {
        let Wanted { l3, l4, stuff, v4, .. } = *wanted;
        let byte = |value: usize| (value & 0xff) as u32;
        let fits = l4.max(stuff) <= OFFSET_MAX;
        let (payload, header, mss) = wanted.segments.unwrap_or_default();
        if !fits || payload > PAYLOAD_MAX || header > HEADER_MAX {
            return None;
        }
        let ip = if v4 { byte(l3) | byte(l3 + 10) << 8 | (l4 as u32).saturating_sub(1) << 16 } else { byte(l3) };
        let transport = byte(l4) | byte(stuff) << 8;
        let mut command = EXTENDED | payload as u32;
        command |= if wanted.transport && wanted.tcp { CONTEXT_TCP } else { 0 };
        command |= if v4 { CONTEXT_IP } else { 0 };
        let mut plan = Self::plain(0);
        if wanted.segments.is_some() {
            command |= SEGMENT;
            plan.command |= SEGMENT;
        }
        plan.context = Some(Context([ip, transport, command, byte(header) << 8 | u32::from(mss) << 16]));
        plan.options = wanted.options();
        Some(plan)
    }
}
