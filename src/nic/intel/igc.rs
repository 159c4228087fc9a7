//! Intel I225 and I226 (and I220, I221): 2.5 Gb/s controllers with four queues and MSI-X.
//!
//! Their registers are those of the I210 but for the speed in STATUS; sections are those of the I210 datasheet, revision 3.7.
//! The PHY is left to the firmware, which has it negotiate all speeds after a reset (section 3.7.8): nothing here needs the
//! semaphore that driver and firmware share it by.

use super::control::{self, Intel, IntelConfig};
use super::desc::{Context, TxPlan, Wanted};
use super::family::Family;
use super::regs::{self, CTRL, MRQC, RETA, ctrl};
use crate::nic::settings::Adapter as _;
use crate::nic::{Device, NicEnv, NicError};

/// Extended interrupt causes: read and clear, mask set, mask clear, automatic clear, automatic mask (sections 8.8.3 to
/// 8.8.8).
const EICR: u64 = 0x1580;
const EIMS: u64 = 0x1524;
const EIMC: u64 = 0x1528;
const EIAC: u64 = 0x152c;
const EIAM: u64 = 0x1530;
/// EICR without MSI-X: queues' bits are 0 to 3, everything else is this (table 8-11).
const EICR_OTHER: u32 = 1 << 31;
/// Time between interrupts of a vector: microseconds from bit 2 on (section 8.8.14).
const EITR: u64 = 0x1680;
const THROTTLE: u32 = 20 << 2;
/// Causes to vectors, two queues a register (section 8.8.15), and everything else (section 8.8.16).
const IVAR: u64 = 0x1700;
const IVAR_MISC: u64 = 0x1740;
const IVAR_VALID: u32 = 1 << 7;
/// Interrupt modes (section 8.8.17): reading ICR clears it; several vectors; a message masks its causes.
const GPIE: u64 = 0x1514;
const GPIE_CLEAR_ON_READ: u32 = 1 << 0;
const GPIE_VECTORS: u32 = 1 << 4;
const GPIE_AUTO_MASK: u32 = 1 << 30;
const GPIE_PBA: u32 = 1 << 31;

/// From a receive queue's base: buffer size in KiB, and one buffer a descriptor, advanced (section 8.10.2).
const SRRCTL: u64 = 0x0c;
const SRRCTL_ONE_BUFFER: u32 = 1 << 25;
/// A queue without buffers drops, so that it does not hold up the others.
const SRRCTL_DROP: u32 = 1 << 31;
/// A queue's control register: enabled (sections 8.10.9, 8.12.15).
const ENABLE: u32 = 1 << 25;
/// Longest frame with RCTL.LPE, FCS included (section 8.10.20).
const RLPML: u64 = 0x5004;
/// RSS: mode 010b; TCP and addresses of IPv4 and IPv6 are hashed (section 8.10.21).
const MRQC_RSS: u32 = 2 | 1 << 16 | 1 << 17 | 1 << 20 | 1 << 21;

/// Commands of data descriptors (section 7.2.2.3), in the third word.
const TYPE_DATA: u32 = 3 << 20;
const INSERT_FCS: u32 = 1 << 25;
const EXTENDED: u32 = 1 << 29;
const SEGMENT: u32 = 1 << 31;
/// PAYLEN, in the fourth.
const PAYLOAD_SHIFT: u32 = 14;
const PAYLOAD_MAX: usize = (1 << 18) - 1;
/// Context descriptors (section 7.2.2.2): their type, and what TUCMD says.
const TYPE_CONTEXT: u32 = 2 << 20;
const CONTEXT_V4: u32 = 1 << 10;
const CONTEXT_TCP: u32 = 1 << 11;
/// MACLEN, IPLEN, all headers, and a segment's payload at most (sections 7.2.2.2.1, .2, .9).
const MAC_MAX: usize = 127;
const IP_MAX: usize = 511;
const HEADER_MAX: usize = 512;
const SEGMENT_MAX: u16 = 9216;
/// STATUS: 2.5 Gb/s; not in the I210.
const SPEED_2500: u32 = 1 << 22;

/// Opens the device behind `env.registers`; it is quiet afterwards, and disabled.
///
/// # Errors
/// It is no such device, does not answer, or contradicts the configuration; no memory.
/// Allocates; called at Start.
pub fn open(given: &IntelConfig, env: NicEnv) -> Result<Device, NicError> {
    control::open::<Igc>(given, env)
}

/// See the module.
pub(super) struct Igc;

/// One vector a queue and one for the rest; else queues share a message and have bits of their own.
fn is_several(vectors: u32) -> bool {
    vectors > 1
}

impl Family for Igc {
    const NAME: &'static str = "the device is no I225 nor kin";
    /// I225-LM, -V, I220-V, I225-I, -K, -K2, I226-K, I225-LMvP, I226-LMvP, I225-IT, I226-LM, -V, -IT, I221-V: as the vendor's
    /// drivers list them.
    const DEVICES: &'static [u32] = &[
        0x15f2, 0x15f3, 0x15f7, 0x15f8, 0x3100, 0x3101, 0x3102, 0x5502, 0x5503, 0x0d9f, 0x125b, 0x125c, 0x125d, 0x125e,
    ];
    /// Section 7.1.2.
    const QUEUES: usize = 4;
    /// Of the 9.5 KB that section 7.1.1 allows a frame.
    const MTU_MAX: u32 = 9000;
    /// Section 8.4.2.
    const EERD: u64 = 0x12014;
    /// Sections 8.10.4, 8.12.10.
    const RX_QUEUE: u64 = 0xc000;
    const TX_QUEUE: u64 = 0xe000;
    const QUEUE_STRIDE: u64 = 0x40;
    /// Sections 8.8.9 to 8.8.12.
    const ICR: u64 = 0x1500;
    const IMS: u64 = 0x1508;
    const IMC: u64 = 0x150c;
    /// GPIE has it.
    const CTRL_EXT_MESSAGES: u32 = 0;
    /// Back-off of 64 bytes; a late collision is tried again (section 8.12.1).
    const TCTL: u32 = 0x40 << 12 | 1 << 24;
    const ENABLE: u32 = ENABLE;
    /// In descriptors: prefetch below 8, at 8 free, write back at once (section 8.10.9).
    const RXDCTL: u32 = ENABLE | 8 | 8 << 8 | 1 << 16;
    /// Section 8.12.15.
    const TXDCTL: u32 = ENABLE | 8 | 1 << 8 | 1 << 16;
    /// RXE (section 7.1.4.2.2).
    const RX_ERRORS: u32 = 1 << 31;

    fn buffer(len: u32) -> Option<(u32, u32)> {
        let size = len.checked_next_multiple_of(1024)?;
        Some((size, size / 1024))
    }

    fn arming(index: usize, _vectors: u32) -> (u64, u32) {
        // Queue and vector, or queue and bit of its own: the same number.
        (EIMS, 1u32.checked_shl(index as u32).unwrap_or(0))
    }

    fn start_phy(nic: &Intel<Self>) {
        // Section 8.2.1: the MAC follows the PHY.
        let control = nic.read(CTRL) & !(ctrl::FORCE_SPEED | ctrl::FORCE_DUPLEX | ctrl::VLAN_MODE);
        nic.write(CTRL, control | ctrl::SET_LINK_UP);
    }

    /// Section 4.5.9, before a queue is enabled.
    fn receive(nic: &Intel<Self>) -> u32 {
        for index in 0..nic.pairs() as u64 {
            let at = Self::RX_QUEUE + Self::QUEUE_STRIDE * index + SRRCTL;
            nic.write(at, nic.buffer_bits() | SRRCTL_ONE_BUFFER | SRRCTL_DROP);
        }
        nic.write(RLPML, nic.frame_max());
        0
    }

    /// Section 8.10.22: the queue is the low bits of an entry.
    fn steer(nic: &Intel<Self>) {
        let pairs = nic.pairs().max(1) as u32;
        for word in 0..32u32 {
            let entry = |i: u32| ((4 * word + i) % pairs) << (8 * i);
            nic.write(RETA + 4 * u64::from(word), entry(0) | entry(1) | entry(2) | entry(3));
        }
        nic.write(MRQC, MRQC_RSS);
    }

    /// Section 7.3.2.
    fn start_interrupts(nic: &Intel<Self>) {
        let vectors = nic.vectors();
        let pairs = nic.pairs() as u32;
        nic.write(EIMC, u32::MAX);
        let modes = if is_several(vectors) { GPIE_VECTORS | GPIE_PBA | GPIE_AUTO_MASK } else { 0 };
        nic.write(GPIE, GPIE_CLEAR_ON_READ | modes);
        for pair in 0..pairs.div_ceil(2) {
            // Receive, then transmit of the even queue, then of the odd one.
            let route = |queue: u32| if queue < pairs { (IVAR_VALID | queue) * 0x0101 } else { 0 };
            nic.write(IVAR + 4 * u64::from(pair), route(2 * pair) | route(2 * pair + 1) << 16);
        }
        let queues = (1u32 << pairs) - 1;
        let other = if is_several(vectors) { 1 << (vectors - 1) } else { EICR_OTHER };
        if is_several(vectors) {
            nic.write(IVAR_MISC, (IVAR_VALID | (vectors - 1)) << 8);
        }
        nic.write(EIAC, if is_several(vectors) { queues | other } else { 0 });
        nic.write(EIAM, queues);
        for vector in 0..vectors.saturating_sub(1).max(1) {
            nic.write(EITR + 4 * u64::from(vector), THROTTLE);
        }
        if vectors > 0 {
            nic.write(Self::IMS, regs::CAUSE_LINK);
            nic.write(EIMS, other);
        }
    }

    fn acknowledge(nic: &Intel<Self>) {
        // Section 8.8.3: without MSI-X reading clears, and masks what EIAM says; with it the message did both.
        if !is_several(nic.vectors()) {
            let _ = nic.read(EICR);
        }
        // Section 8.8.9.
        if nic.read(Self::ICR) != u32::MAX && nic.is_enabled() {
            nic.write(Self::IMS, regs::CAUSE_LINK);
            nic.write(EIMS, if is_several(nic.vectors()) { 1 << (nic.vectors() - 1) } else { EICR_OTHER });
        }
    }

    fn speed(status: u32) -> u64 {
        if status & SPEED_2500 != 0 { 2_500_000_000 } else { regs::status::gigabit(status) }
    }

    #[inline]
    fn plain(len: usize) -> TxPlan {
        let options = (len as u32) << PAYLOAD_SHIFT;
        TxPlan { context: None, command: TYPE_DATA | INSERT_FCS | EXTENDED, options }
    }

    fn plan(wanted: &Wanted) -> Option<TxPlan> {
        let Wanted { l3, l4, .. } = *wanted;
        let ip_len = l4.checked_sub(l3)?;
        let (payload, header, mss) = wanted.segments.unwrap_or((wanted.len, l4, 0));
        if l3 > MAC_MAX || ip_len > IP_MAX || header > HEADER_MAX || payload > PAYLOAD_MAX || mss > SEGMENT_MAX {
            return None;
        }
        let mut kind = TYPE_CONTEXT | EXTENDED;
        kind |= if wanted.v4 { CONTEXT_V4 } else { 0 };
        kind |= if wanted.tcp { CONTEXT_TCP } else { 0 };
        let l4_len = if wanted.segments.is_some() { (header - l4) as u32 & 0xff } else { 0 };
        let mut plan = Self::plain(payload);
        if wanted.segments.is_some() {
            plan.command |= SEGMENT;
        }
        plan.context = Some(Context([ip_len as u32 | (l3 as u32) << 9, 0, kind, l4_len << 8 | u32::from(mss) << 16]));
        plan.options |= wanted.options();
        Some(plan)
    }
}
