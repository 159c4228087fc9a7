//! Where the families of Intel's controllers differ.

use super::control::Intel;
use super::desc::{TxPlan, Wanted};

/// A family: addresses of registers, and how descriptors say what all of them can do.
pub(super) trait Family: Send + Sync + Sized + 'static {
    /// What it is called in an error.
    const NAME: &'static str;
    /// Device numbers.
    const DEVICES: &'static [u32];
    /// Queue pairs.
    const QUEUES: usize;
    /// The largest MTU.
    const MTU_MAX: u32;
    /// The register that reads the EEPROM.
    const EERD: u64;
    /// Base of a receive queue's registers, of a transmit queue's, and the distance to the next queue's.
    const RX_QUEUE: u64;
    const TX_QUEUE: u64;
    const QUEUE_STRIDE: u64;
    /// Interrupt causes: read and clear, mask set, mask clear.
    const ICR: u64;
    const IMS: u64;
    const IMC: u64;
    /// What CTRL_EXT needs for message interrupts.
    const CTRL_EXT_MESSAGES: u32;
    /// Usual bits of TCTL beside those that all families share.
    const TCTL: u32;
    /// The bit of a queue's control register that it is enabled by, and that reads back; 0 where queues always run.
    const ENABLE: u32;
    /// Thresholds of a receive queue's control register, and of a transmit queue's.
    const RXDCTL: u32;
    const TXDCTL: u32;
    /// Errors of the frame itself in a receive descriptor.
    const RX_ERRORS: u32;

    /// The smallest receive buffer that the device can be told of and that holds a frame of `len` bytes; with the bits that
    /// say so to [`Family::receive`].
    fn buffer(len: u32) -> Option<(u32, u32)>;
    /// The register, and the bits in it, that let queue `index` interrupt again.
    fn arming(index: usize, vectors: u32) -> (u64, u32);
    /// Wakes the PHY and lets the MAC follow it.
    fn start_phy(nic: &Intel<Self>);
    /// Says how receive descriptors look and how large buffers are; RCTL's bits for it.
    fn receive(nic: &Intel<Self>) -> u32;
    /// Turns on RSS over all queues.
    fn steer(nic: &Intel<Self>);
    /// Vectors, throttling, and the interrupts that are no queue's; queues arm themselves.
    fn start_interrupts(nic: &Intel<Self>);
    /// An interrupt that is no queue's alone arrived: takes it back and allows the next.
    fn acknowledge(nic: &Intel<Self>);
    /// Bits per second in the status register.
    fn speed(status: u32) -> u64;
    /// How a frame of `len` bytes is sent as it is.
    fn plain(len: usize) -> TxPlan;
    /// How a frame is sent that the device finishes; `None` if it cannot.
    fn plan(wanted: &Wanted) -> Option<TxPlan>;
}
