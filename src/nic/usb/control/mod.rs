//! The control side: requests on the default pipe, and what keeps the device alive.

mod link;
mod requests;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

pub use link::Link;

use super::port::{ALL_PIPES, Port, Rest};
use super::{PIPE_OUT, UsbConfig};
use crate::nic::{self, Hardware, MTU_MIN, MulticastList, Nic, NicError, NicStats, Offloads};

/// How long a transfer may take before it is aborted.
const OUT_TIMEOUT_NS: u64 = 5_000_000_000;
/// How often the device is looked after; a pipe that backs off rests until then.
const PERIOD_MS: u32 = 100;
/// Attempts to bring a device up that has just woken.
const START_ATTEMPTS: u32 = 3;
const START_WAIT_MS: u32 = 100;

fn wanted<'a>(port: &Port, all_multicast: bool, multicast: &'a MulticastList) -> link::Wanted<'a> {
    link::Wanted { mtu: port.filter.mtu(), promiscuous: port.filter.promiscuous(), all_multicast, multicast }
}

/// See the module.
pub(super) struct UsbNic {
    port: Arc<Port>,
    link: Link,
    mtu_max: u32,
    all_multicast: bool,
    multicast: MulticastList,
    /// When OUT transfers were last seen to end, and how many had then.
    progress: (u64, u64),
    backing_off: bool,
    /// When the device was last asked whether it lives.
    asked_ns: Option<u64>,
}

impl UsbNic {
    pub fn new(port: Arc<Port>, link: Link, config: &UsbConfig) -> Self {
        Self {
            port,
            link,
            mtu_max: config.mtu_max,
            all_multicast: false,
            multicast: MulticastList::new(),
            progress: (0, 0),
            backing_off: false,
            asked_ns: None,
        }
    }

    /// Tells the device what to let through. A device that cannot be told lets everything through, and the filter in
    /// software stands.
    fn program_filter(&mut self) {
        if self.is_enabled() && !self.port.is_gone() {
            let wanted = wanted(&self.port, self.all_multicast, &self.multicast);
            if self.link.set_filter(&wanted).is_err() {
                self.port.tallies.failed_transfers.add(1);
            }
        }
    }

    fn start(&mut self) -> Result<(), NicError> {
        let mut attempt = 0;
        let known = loop {
            let wanted = wanted(&self.port, self.all_multicast, &self.multicast);
            match self.link.start(&wanted) {
                Ok(known) => break known,
                Err(error) => {
                    attempt += 1;
                    if attempt >= START_ATTEMPTS {
                        return Err(error);
                    }
                    self.link.delay_ms(START_WAIT_MS);
                }
            }
        };
        self.port.restart(known);
        self.backing_off = false;
        self.asked_ns = None;
        self.progress = (0, 0);
        Ok(())
    }

    fn stop(&mut self) {
        for pipe in ALL_PIPES {
            self.link.abort(pipe);
        }
        self.link.stop();
    }

    /// Aborts what the device does not take.
    fn check_progress(&mut self, now_ns: u64) {
        let done = self.port.out_done.load(Ordering::Relaxed);
        if self.port.out_busy.load(Ordering::Relaxed) == 0 || done != self.progress.1 || self.progress.0 == 0 {
            self.progress = (now_ns, done);
        } else if now_ns.saturating_sub(self.progress.0) >= OUT_TIMEOUT_NS {
            self.progress = (now_ns, done);
            self.port.tallies.timeouts.add(1);
            self.link.abort(PIPE_OUT);
            self.port.events.wake(0);
        }
    }

    /// Deals with pipes that rest.
    fn recover(&mut self) {
        let waited = core::mem::take(&mut self.backing_off);
        let mut woken = false;
        for pipe in ALL_PIPES {
            match self.port.rest(pipe) {
                Rest::No => {}
                Rest::Stalled => {
                    if self.link.clear_stall(pipe) {
                        self.port.tallies.recoveries.add(1);
                        self.port.end_rest(pipe);
                        woken = true;
                    } else {
                        self.backing_off = true;
                    }
                }
                Rest::BackOff if waited => {
                    self.port.end_rest(pipe);
                    woken = true;
                }
                Rest::BackOff => self.backing_off = true,
            }
        }
        if woken {
            self.port.events.wake(0);
        }
    }

    fn keep_alive(&mut self, now_ns: u64) {
        let due = *self.asked_ns.get_or_insert(now_ns);
        let quiet_ns = now_ns.saturating_sub(due);
        if self.port.response.swap(false, Ordering::AcqRel) {
            self.link.listen();
        }
        if quiet_ns >= self.link.keepalive_ns() {
            self.asked_ns = Some(now_ns);
            if !self.link.keepalive() {
                self.port.tallies.timeouts.add(1);
                // MS-RNDIS 3.2.4: a device that does not answer is started anew.
                self.stop();
                match self.start() {
                    Ok(()) => self.port.tallies.recoveries.add(1),
                    Err(_) => self.port.set_connected(false),
                }
                self.port.events.wake(0);
            }
        }
        if let Some(up) = self.link.heard_connected() {
            self.port.set_connected(up);
        }
    }
}

impl Drop for UsbNic {
    fn drop(&mut self) {
        let _ = self.enable(false);
    }
}

impl Nic for UsbNic {
    fn queues(&self) -> usize {
        1
    }

    fn enable(&mut self, on: bool) -> Result<(), NicError> {
        if on == self.port.is_enabled() {
            return Ok(());
        }
        if on {
            if self.port.is_gone() {
                return Err(NicError::State("the device was unplugged"));
            }
            self.start()?;
            self.port.enabled.store(true, Ordering::Release);
            self.port.events.attention();
        } else {
            self.port.enabled.store(false, Ordering::Release);
            self.stop();
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
        self.link.set_mac(mac);
        Ok(())
    }

    fn set_promiscuous(&mut self, on: bool) {
        self.port.filter.set_promiscuous(on);
        self.program_filter();
    }

    fn promiscuous(&self) -> bool {
        self.port.filter.promiscuous()
    }

    fn set_all_multicast(&mut self, on: bool) {
        self.port.filter.set_all_multicast(on);
        self.all_multicast = on;
        self.program_filter();
    }

    fn set_multicast(&mut self, list: &MulticastList) -> Result<(), NicError> {
        self.port.filter.set_multicast(list)?;
        self.multicast.clone_from(list);
        self.program_filter();
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
        // None of the classes has any.
        Offloads::empty()
    }

    fn offloads(&self) -> Offloads {
        Offloads::empty()
    }

    fn set_offloads(&mut self, offloads: Offloads) -> Result<(), NicError> {
        if offloads.is_empty() { Ok(()) } else { Err(NicError::Unsupported) }
    }

    fn link(&self) -> nic::Link {
        nic::Link { up: self.port.is_up(), full_duplex: true, speed_bps: self.port.speed_bps() }
    }

    fn hardware(&self) -> Hardware {
        Hardware { mtu_max: self.mtu_max, vectors: 0, tick_ms: PERIOD_MS, wake: false }
    }

    /// Recovers by itself: no restart of the data path is needed.
    fn tick(&mut self, now_ns: u64) -> bool {
        if self.is_enabled() && !self.port.is_gone() {
            self.check_progress(now_ns);
            self.recover();
            self.keep_alive(now_ns);
        }
        false
    }

    fn stats(&self) -> NicStats {
        self.port.stats()
    }
}
