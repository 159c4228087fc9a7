//! What the data side, the control side and the bus share. All of it is atomics.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{PIPE_IN, PIPE_NOTIFY, PIPE_OUT, TransferError, UsbConfig};
use crate::mem::doorbell::Doorbell;
use crate::mem::transfer::Completions;
use crate::nic::rx_filter::RxFilter;
use crate::nic::{Events, NicError, NicStats};

/// Pipes of a function.
pub const PIPES: usize = 3;

/// Why a pipe rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Rest {
    /// It does not.
    No = 0,
    /// Its endpoint is halted.
    Stalled = 1,
    /// Something is wrong with it; it may try again after a while.
    BackOff = 2,
    /// It delivers nothing without end; it may try again after a while.
    Quiet = 3,
}

/// The device is there, and works.
const HERE: u32 = 0;
/// It is there, and does not work whatever is done: until the interface is enabled the next time.
const FAILED: u32 = 1;
/// It was unplugged.
const GONE: u32 = 2;

/// A counter that several threads bump.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened on the bus.
#[derive(Debug, Default)]
pub struct Tallies {
    pub transfers_in: Tally,
    pub transfers_out: Tally,
    pub frames_in: Tally,
    pub frames_out: Tally,
    pub submits: Tally,
    pub completions: Tally,
    pub copies: Tally,
    pub stalls: Tally,
    pub recoveries: Tally,
    pub timeouts: Tally,
    pub bad_blocks: Tally,
    pub empty_transfers: Tally,
    pub failed_transfers: Tally,
}

/// See the module.
pub struct Port {
    pub(super) filter: RxFilter,
    pub(super) events: Arc<dyn Events>,
    pub(super) enabled: AtomicBool,
    /// Counts the times that the interface was enabled: the queue begins anew with each.
    pub(super) epoch: AtomicU32,
    pub(super) bell: Doorbell,
    connected: AtomicBool,
    speed_bps: AtomicU64,
    /// [`HERE`], [`FAILED`] or [`GONE`].
    state: AtomicU32,
    rests: [AtomicU32; PIPES],
    /// Transfers of each pipe that worked.
    pub(super) worked: [Tally; PIPES],
    completions: [Option<Arc<Completions>>; PIPES],
    /// Transfers of the OUT pipe that run, and that ended: what a time-out is seen by.
    pub(super) out_busy: AtomicU32,
    pub(super) out_done: AtomicU64,
    /// An encapsulated response waits.
    pub(super) response: AtomicBool,
    pub(super) tallies: Tallies,
    /// The device tells of its cable; until then it is unplugged.
    notifies: bool,
}

impl Port {
    pub(super) fn new(
        config: &UsbConfig,
        mac: [u8; 6],
        events: Arc<dyn Events>,
        completions: [Option<Arc<Completions>>; PIPES],
        notifies: bool,
    ) -> Result<Self, NicError> {
        Ok(Self {
            filter: RxFilter::new(mac, config.mtu)?,
            events,
            enabled: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
            bell: Doorbell::new(),
            connected: AtomicBool::new(!notifies),
            speed_bps: AtomicU64::new(if config.plan.packet_in > 64 { 480_000_000 } else { 12_000_000 }),
            state: AtomicU32::new(HERE),
            rests: [const { AtomicU32::new(Rest::No as u32) }; PIPES],
            worked: [const { Tally(AtomicU64::new(0)) }; PIPES],
            completions,
            out_busy: AtomicU32::new(0),
            out_done: AtomicU64::new(0),
            response: AtomicBool::new(false),
            tallies: Tallies::default(),
            notifies,
        })
    }

    /// A transfer ended (`weir_usb_complete`). False for one that did not run. Any thread; [`Port::ring`] follows.
    pub fn complete(&self, pipe: u32, slot: usize, result: Result<u32, TransferError>) -> bool {
        let completions = self.completions.get(pipe as usize).and_then(Option::as_deref);
        completions.is_some_and(|completions| completions.complete(slot, result))
    }

    /// After a burst of [`Port::complete`]: wakes the queue.
    pub fn ring(&self) {
        self.tallies.completions.add(1);
        if self.bell.ring() {
            self.events.wake(0);
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// Unplugged, or given up.
    pub(super) fn is_gone(&self) -> bool {
        self.state.load(Ordering::Acquire) != HERE
    }

    pub(super) fn is_unplugged(&self) -> bool {
        self.state.load(Ordering::Acquire) == GONE
    }

    pub(super) fn is_up(&self) -> bool {
        self.connected.load(Ordering::Acquire) && !self.is_gone()
    }

    /// At every start; `known` if the class could be asked.
    pub(super) fn restart(&self, known: Option<bool>) {
        self.connected.store(known.unwrap_or(!self.notifies), Ordering::Release);
        for rest in &self.rests {
            rest.store(Rest::No as u32, Ordering::Release);
        }
        self.response.store(false, Ordering::Release);
        let _ = self.state.compare_exchange(FAILED, HERE, Ordering::AcqRel, Ordering::Acquire);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn set_connected(&self, up: bool) {
        if self.connected.load(Ordering::Acquire) != up && self.connected.swap(up, Ordering::AcqRel) != up {
            self.events.link_changed();
        }
    }

    pub(super) fn set_speed(&self, bps: u64) {
        if bps != 0 && self.speed_bps.swap(bps, Ordering::AcqRel) != bps {
            self.events.link_changed();
        }
    }

    pub(super) fn speed_bps(&self) -> u64 {
        self.speed_bps.load(Ordering::Acquire)
    }

    /// The device was unplugged.
    pub(super) fn set_gone(&self) {
        if self.state.swap(GONE, Ordering::AcqRel) == HERE {
            self.events.link_changed();
        }
    }

    /// Nothing helps: its link goes, until the interface is enabled the next time.
    pub(super) fn give_up(&self) {
        if self.state.compare_exchange(HERE, FAILED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.events.link_changed();
        }
    }

    /// A transfer worked.
    pub(super) fn note_worked(&self, pipe: u32) {
        if let Some(worked) = self.worked.get(pipe as usize) {
            worked.add(1);
        }
    }

    pub(super) fn rest(&self, pipe: u32) -> Rest {
        match self.rests.get(pipe as usize).map(|rest| rest.load(Ordering::Acquire)) {
            Some(1) => Rest::Stalled,
            Some(2) => Rest::BackOff,
            Some(3) => Rest::Quiet,
            _ => Rest::No,
        }
    }

    /// The queue stops using a pipe until control has dealt with it.
    pub(super) fn put_to_rest(&self, pipe: u32, why: Rest) {
        if let Some(rest) = self.rests.get(pipe as usize) {
            rest.store(why as u32, Ordering::Release);
            self.events.attention();
        }
    }

    /// Control has.
    pub(super) fn end_rest(&self, pipe: u32) {
        if let Some(rest) = self.rests.get(pipe as usize) {
            rest.store(Rest::No as u32, Ordering::Release);
        }
    }

    pub(super) fn stats(&self) -> NicStats {
        let t = &self.tallies;
        NicStats {
            doorbells: t.submits.get(),
            interrupts: t.completions.get(),
            transfers_in: t.transfers_in.get(),
            transfers_out: t.transfers_out.get(),
            frames_in: t.frames_in.get(),
            frames_out: t.frames_out.get(),
            copies: t.copies.get(),
            stalls: t.stalls.get(),
            recoveries: t.recoveries.get(),
            timeouts: t.timeouts.get(),
            device_errors: t.bad_blocks.get() + t.failed_transfers.get(),
            empty_transfers: t.empty_transfers.get(),
            ..NicStats::default()
        }
    }
}

/// The pipes by number.
pub(super) const ALL_PIPES: [u32; PIPES] = [PIPE_IN, PIPE_OUT, PIPE_NOTIFY];
