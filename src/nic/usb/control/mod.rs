//! The control side: requests on the default pipe, and what keeps the device alive.

mod link;
mod requests;
mod strikes;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

pub use link::Link;

use super::port::{ALL_PIPES, PIPES, Port, Rest};
use super::{PIPE_OUT, UsbConfig};
use crate::nic::rx_filter::RxFilter;
use crate::nic::settings::{Adapter, Settings};
use crate::nic::{self, Hardware, Nic as _, NicError, NicStats, Offloads};
use strikes::{Remedy, Strikes};

/// How long a transfer may take before it is aborted.
const OUT_TIMEOUT_NS: u64 = 5_000_000_000;
/// How often the device is looked after.
const PERIOD_MS: u32 = 100;
/// How long a pipe that backs off rests.
const REST_NS: u64 = 100_000_000;
/// Attempts to bring a device up that has just woken.
const START_ATTEMPTS: u32 = 3;
const START_WAIT_MS: u32 = 100;

fn wanted<'a>(port: &Port, settings: &'a Settings) -> link::Wanted<'a> {
    link::Wanted {
        mtu: port.filter.mtu(),
        promiscuous: port.filter.promiscuous(),
        all_multicast: settings.all_multicast,
        multicast: &settings.multicast,
    }
}

/// See the module.
pub(super) struct UsbNic {
    port: Arc<Port>,
    link: Link,
    settings: Settings,
    /// When OUT transfers were last seen to end, and how many had then.
    progress: (u64, u64),
    /// Since when each pipe was seen to rest.
    resting: [Option<u64>; PIPES],
    strikes: Strikes,
    /// A restart of the function failed.
    down: bool,
    /// When the device was last asked whether it lives.
    asked_ns: Option<u64>,
}

impl UsbNic {
    pub fn new(port: Arc<Port>, link: Link, config: &UsbConfig) -> Self {
        Self {
            port,
            link,
            // None of the classes has an offload.
            settings: Settings::new(config.mtu_max, Offloads::empty()),
            progress: (0, 0),
            resting: [None; PIPES],
            strikes: Strikes::default(),
            down: false,
            asked_ns: None,
        }
    }

    /// Tells the device what to let through. A device that cannot be told lets everything through, and the filter in
    /// software stands.
    fn program_filter(&mut self) {
        if self.port.is_enabled() && !self.port.is_gone() {
            let wanted = wanted(&self.port, &self.settings);
            if self.link.set_filter(&wanted).is_err() {
                self.port.tallies.failed_transfers.add(1);
            }
        }
    }

    fn start(&mut self) -> Result<(), NicError> {
        let mut attempt = 0;
        let known = loop {
            let wanted = wanted(&self.port, &self.settings);
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
        self.resting = [None; PIPES];
        self.down = false;
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
    fn recover(&mut self, now_ns: u64) {
        let mut woken = false;
        for pipe in ALL_PIPES {
            let rest = self.port.rest(pipe);
            let Some(resting) = self.resting.get_mut(pipe as usize) else { continue };
            if rest == Rest::No {
                *resting = None;
                continue;
            }
            let since = *resting.get_or_insert(now_ns);
            // A halt is cleared at once if it is the first one.
            let at_once = rest == Rest::Stalled && !self.strikes.stands(pipe, &self.port);
            if !at_once && now_ns.saturating_sub(since) < REST_NS {
                continue;
            }
            *resting = None;
            if rest != Rest::Quiet {
                match self.strikes.note(pipe, &self.port) {
                    Remedy::TryAgain => {}
                    Remedy::Restart => return self.restart(),
                    Remedy::GiveUp => return self.give_up(),
                }
            }
            if rest == Rest::Stalled {
                if !self.link.clear_stall(pipe) {
                    continue;
                }
                self.port.tallies.recoveries.add(1);
            }
            self.port.end_rest(pipe);
            woken = true;
        }
        if woken {
            self.port.events.wake(0);
        }
    }

    /// Sets the function up anew under a queue that goes on.
    fn restart(&mut self) {
        self.stop();
        self.resting = [None; PIPES];
        match self.start() {
            Ok(()) => self.port.tallies.recoveries.add(1),
            // A pipe that rested still does, which leads here again.
            Err(_) => {
                self.down = true;
                self.port.set_connected(false);
            }
        }
        self.port.events.wake(0);
    }

    fn give_up(&mut self) {
        self.port.give_up();
        self.stop();
        self.port.events.wake(0);
    }

    fn keep_alive(&mut self, now_ns: u64) {
        let due = *self.asked_ns.get_or_insert(now_ns);
        let quiet_ns = now_ns.saturating_sub(due);
        if self.port.response.swap(false, Ordering::AcqRel) {
            self.link.listen();
        }
        if quiet_ns >= self.link.keepalive_ns() {
            self.asked_ns = Some(now_ns);
            if self.down || !self.link.keepalive() {
                self.port.tallies.timeouts.add(1);
                // MS-RNDIS 3.2.4: a device that does not answer is started anew.
                self.restart();
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

impl Adapter for UsbNic {
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
        self.link.set_mac(self.port.filter.mac());
    }

    fn groups_changed(&mut self) {
        self.program_filter();
    }

    fn mode_changed(&mut self) {
        self.program_filter();
    }

    fn offloads(&self) -> Offloads {
        Offloads::empty()
    }

    fn offloads_changed(&mut self, _none: Offloads) {}

    fn queues(&self) -> usize {
        1
    }

    fn is_enabled(&self) -> bool {
        self.port.is_enabled()
    }

    fn turn(&mut self, on: bool) -> Result<(), NicError> {
        if on {
            if self.port.is_unplugged() {
                return Err(NicError::State("the device was unplugged"));
            }
            self.strikes = Strikes::default();
            self.start()?;
            self.port.enabled.store(true, Ordering::Release);
            self.port.events.attention();
        } else {
            self.port.enabled.store(false, Ordering::Release);
            self.stop();
        }
        Ok(())
    }

    fn link(&self) -> nic::Link {
        nic::Link { up: self.port.is_up(), full_duplex: true, speed_bps: self.port.speed_bps() }
    }

    fn hardware(&self) -> Hardware {
        Hardware { mtu_max: self.settings.mtu_max, vectors: 0, tick_ms: PERIOD_MS, wake: false }
    }

    fn interrupt(&mut self, _vector: u32) -> u32 {
        0
    }

    /// Recovers by itself: no restart of the data path is needed.
    fn tick(&mut self, now_ns: u64) -> bool {
        if self.port.is_enabled() && !self.port.is_gone() {
            self.check_progress(now_ns);
            self.recover(now_ns);
            self.keep_alive(now_ns);
        }
        false
    }

    fn stats(&self) -> NicStats {
        self.port.stats()
    }
}
