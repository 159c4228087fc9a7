//! What NICs with hardware behind them have in common: the state that control and queues share.
//!
//! The device is not trusted. Whatever it writes is checked; a value that breaks the rules is a violation: the queue
//! stops believing the device, and the watchdog ([`crate::nic::Nic::tick`]) asks for a reset. A register that reads
//! as all ones where it cannot means that the device was pulled out.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::rx_filter::RxFilter;
use super::{Events, Link, NicEnv, NicError, NicStats, Offloads, Refused, Registers};
use crate::mem::Packet;

/// Interval of the watchdog, milliseconds.
pub(crate) const TICK_MS: u32 = 250;
/// Looks without a finished frame, while some are out, until transmit counts as hung: 2 s.
const HUNG_TICKS: u32 = 8;
const NS_PER_TICK: u64 = TICK_MS as u64 * 1_000_000;

/// The device's registers, with a count of accesses.
pub(crate) struct Meter {
    inner: Arc<dyn Registers>,
    accesses: AtomicU64,
}

impl Meter {
    /// Allocates; called at Start.
    pub fn of(env: &NicEnv) -> Result<Arc<Self>, NicError> {
        let inner = env.registers.clone().ok_or(NicError::State("the device's registers are missing"))?;
        Ok(Arc::new(Self { inner, accesses: AtomicU64::new(0) }))
    }

    fn note(&self) -> &dyn Registers {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        &*self.inner
    }
}

impl Registers for Meter {
    fn read8(&self, bar: u32, offset: u64) -> u8 {
        self.note().read8(bar, offset)
    }

    fn read16(&self, bar: u32, offset: u64) -> u16 {
        self.note().read16(bar, offset)
    }

    fn read32(&self, bar: u32, offset: u64) -> u32 {
        self.note().read32(bar, offset)
    }

    fn write8(&self, bar: u32, offset: u64, value: u8) {
        self.note().write8(bar, offset, value);
    }

    fn write16(&self, bar: u32, offset: u64, value: u16) {
        self.note().write16(bar, offset, value);
    }

    fn write32(&self, bar: u32, offset: u64, value: u32) {
        self.note().write32(bar, offset, value);
    }

    fn config_read32(&self, offset: u64) -> u32 {
        self.note().config_read32(offset)
    }

    fn config_write32(&self, offset: u64, value: u32) {
        self.note().config_write32(offset, value);
    }
}

/// One queue's part of [`Port`]; the queue is the only one that writes there.
#[derive(Default)]
pub(crate) struct PortQueue {
    /// Frames that the device has, as the queue says.
    tx_out: AtomicU64,
    /// Frames that it finished.
    tx_done: AtomicU64,
    rx_done: AtomicU64,
    doorbells: AtomicU64,
    copies: AtomicU64,
}

/// One writer, so this needs no exchange.
fn add(counter: &AtomicU64, n: usize) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n as u64), Ordering::Relaxed);
}

/// What control and the queues share.
pub(crate) struct Port {
    pub events: Arc<dyn Events>,
    pub regs: Arc<Meter>,
    pub filter: RxFilter,
    enabled: AtomicBool,
    /// A violation: wait for the watchdog.
    broken: AtomicBool,
    gone: AtomicBool,
    /// See [`Port::state`].
    state: AtomicU64,
    offloads: AtomicU32,
    /// Bits per second, with bit 63 for carrier and bit 62 for half duplex.
    link: AtomicU64,
    violations: AtomicU64,
    /// Times that the watchdog asked for a reset, and those of them because transmit hung.
    pub recoveries: AtomicU64,
    pub timeouts: AtomicU64,
    queues: Vec<PortQueue>,
}

const RUNNING: u64 = 1;
const LINK_UP: u64 = 1 << 63;
const LINK_HALF: u64 = 1 << 62;

impl Port {
    /// Allocates; called at Start.
    pub fn new(
        env: &NicEnv,
        regs: Arc<Meter>,
        mac: [u8; 6],
        mtu: u32,
        queues: usize,
        offloads: Offloads,
    ) -> Result<Arc<Self>, NicError> {
        Ok(Arc::new(Self {
            events: env.events.clone(),
            regs,
            filter: RxFilter::new(mac, mtu)?,
            enabled: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            state: AtomicU64::new(0),
            offloads: AtomicU32::new(offloads.bits()),
            link: AtomicU64::new(0),
            violations: AtomicU64::new(0),
            recoveries: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            queues: (0..queues).map(|_| PortQueue::default()).collect(),
        }))
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// Odd while queues may be served and believe the device, and another number after each start: a queue that sees a new one
    /// begins with empty rings.
    #[inline(always)]
    pub fn state(&self) -> u64 {
        // Acquire: whoever sees a start sees the rings.
        self.state.load(Ordering::Acquire)
    }

    /// Whether queues may be served in that state.
    pub fn runs(state: u64) -> bool {
        state & RUNNING != 0
    }

    /// From here on queues rest.
    fn rest(&self) {
        self.state.fetch_and(!RUNNING, Ordering::AcqRel);
    }

    /// The rings are set up anew and the device is about to run.
    pub fn start(&self) {
        self.broken.store(false, Ordering::Relaxed);
        for queue in &self.queues {
            queue.tx_out.store(0, Ordering::Relaxed);
        }
        self.enabled.store(true, Ordering::Release);
        // Release: whoever sees it sees the rings.
        self.state.store((self.state.load(Ordering::Relaxed) & !RUNNING).wrapping_add(2) | RUNNING, Ordering::Release);
    }

    pub fn stop(&self) {
        self.rest();
        self.enabled.store(false, Ordering::Release);
    }

    /// The device broke a rule.
    #[cold]
    pub fn violation(&self) {
        self.violations.fetch_add(1, Ordering::Relaxed);
        self.broken.store(true, Ordering::Relaxed);
        self.rest();
    }

    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// A register said that the device is not there any more.
    #[cold]
    pub fn set_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.broken.store(true, Ordering::Relaxed);
        self.rest();
        self.set_link(Link { up: false, full_duplex: true, speed_bps: 0 });
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub fn offloads(&self) -> Offloads {
        Offloads::from_bits_truncate(self.offloads.load(Ordering::Relaxed))
    }

    pub fn set_offloads(&self, offloads: Offloads) {
        self.offloads.store(offloads.bits(), Ordering::Relaxed);
    }

    pub fn link(&self) -> Link {
        let link = self.link.load(Ordering::Relaxed);
        Link { up: link & LINK_UP != 0, full_duplex: link & LINK_HALF == 0, speed_bps: link & !(LINK_UP | LINK_HALF) }
    }

    /// Notes the state of the cable and tells the driver if it is another.
    pub fn set_link(&self, link: Link) {
        let up = if link.up { LINK_UP } else { 0 };
        let half = if link.full_duplex { 0 } else { LINK_HALF };
        let new = up | half | link.speed_bps & !(LINK_UP | LINK_HALF);
        if self.link.swap(new, Ordering::Relaxed) != new {
            self.events.link_changed();
        }
    }

    /// Notes how much transmit has to do, for the watchdog.
    pub fn note_tx(&self, queue: usize, out: usize, done: usize) {
        if let Some(queue) = self.queues.get(queue) {
            queue.tx_out.store(out as u64, Ordering::Relaxed);
            if done > 0 {
                add(&queue.tx_done, done);
            }
        }
    }

    /// Notes frames that arrived.
    pub fn note_rx(&self, queue: usize, frames: usize) {
        if let Some(queue) = self.queues.get(queue) {
            add(&queue.rx_done, frames);
        }
    }

    /// Notes that the device was told of work.
    pub fn note_doorbell(&self, queue: usize) {
        if let Some(queue) = self.queues.get(queue) {
            add(&queue.doorbells, 1);
        }
    }

    /// Notes that a frame was copied.
    pub fn note_copy(&self, queue: usize) {
        if let Some(queue) = self.queues.get(queue) {
            add(&queue.copies, 1);
        }
    }

    /// What it cost so far; interrupts are the driver's to count.
    pub fn stats(&self) -> NicStats {
        let sum = |field: fn(&PortQueue) -> &AtomicU64| {
            self.queues.iter().fold(0u64, |sum, queue| sum.wrapping_add(field(queue).load(Ordering::Relaxed)))
        };
        NicStats {
            registers: self.regs.accesses.load(Ordering::Relaxed),
            doorbells: sum(|queue| &queue.doorbells),
            frames_in: sum(|queue| &queue.rx_done),
            frames_out: sum(|queue| &queue.tx_done),
            copies: sum(|queue| &queue.copies),
            recoveries: self.recoveries.load(Ordering::Relaxed),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            device_errors: self.violations.load(Ordering::Relaxed),
            ..NicStats::default()
        }
    }

    /// Polls every queue once, for interrupts that got lost.
    pub fn wake_all(&self) {
        for queue in 0..self.queues.len() {
            self.events.wake(queue as u32);
        }
    }

    pub fn all_queues(&self) -> u32 {
        (1u32 << self.queues.len().min(31)) - 1
    }
}

/// The watchdog's memory.
pub(crate) struct Watchdog {
    /// `(tx_done, looks without progress)` of each queue.
    seen: Vec<(u64, u32)>,
    last_ns: u64,
}

impl Watchdog {
    /// Allocates; called at Start.
    pub fn new(queues: usize) -> Self {
        Self { seen: (0..queues).map(|_| (0, 0)).collect(), last_ns: 0 }
    }

    /// True if the device must be reset: it `forgot` its set-up or says so, broke a rule, or has hung.
    pub fn must_reset(&mut self, port: &Port, now_ns: u64, forgot: bool) -> bool {
        let reset = forgot || port.is_broken() || self.look(port, now_ns);
        if reset {
            port.recoveries.fetch_add(1, Ordering::Relaxed);
        }
        reset
    }

    /// Looks at every queue; true if one has hung.
    fn look(&mut self, port: &Port, now_ns: u64) -> bool {
        // A machine that slept, or was busy, has not given the device its time.
        let regular = now_ns.saturating_sub(self.last_ns) < 4 * NS_PER_TICK;
        self.last_ns = now_ns;
        let mut hung = false;
        for (queue, (seen, stuck)) in port.queues.iter().zip(&mut self.seen) {
            let done = queue.tx_done.load(Ordering::Relaxed);
            let idle = queue.tx_out.load(Ordering::Relaxed) == 0;
            *stuck = if idle || done != *seen || !regular { 0 } else { *stuck + 1 };
            *seen = done;
            hung |= *stuck >= HUNG_TICKS;
        }
        if hung {
            port.timeouts.fetch_add(1, Ordering::Relaxed);
            self.seen.iter_mut().for_each(|(_, stuck)| *stuck = 0);
        }
        hung
    }
}

/// Judges a received frame; what is refused is counted.
#[inline]
pub(crate) fn judge(port: &Port, packet: &Packet, super_frame: bool, refused: &mut Refused) -> bool {
    match port.filter.check(packet.frame(), super_frame) {
        Ok(()) => true,
        Err(refusal) => {
            refused.count(refusal, packet.len());
            false
        }
    }
}
