//! One NIC instance: shards, the NIC's control side, the ruleset, and the life cycle.
//!
//! A driver is shared between threads. Each queue pair's shard sits in a [`Seat`]: whoever runs a data-path call takes
//! the seat for its duration, and a second caller is refused and counted rather than let in. Control calls take a
//! seat of their own the same way. The two sides meet in atomics and in the ruleset's mailboxes only, except for
//! stopping, which waits for each shard to finish its burst.
#![forbid(unsafe_code)]

mod command;
mod config;
mod filter;
mod lane;
mod settings;
mod shard;
mod tap;

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub use config::{Bus, Config, Error, Host, IfName, LogLevel, Mac, NicKind, WIRE_NAME_MAX, WireKind};

use crate::filter::epoch::Publisher;
use crate::filter::{Installed, InterfaceAddress};
use crate::mem::Burst;
use crate::mem::doorbell::Doorbell;
use crate::mem::handover::{Frames, Giver, Taker};
use crate::mem::seat::{Guard, Seat};
use crate::nic::{Device, Events, Nic, NicEnv, usb};
use crate::pipeline::{Growth, Known, Memory, Pipeline, Shared, Sizes, shard_seed};
use crate::telemetry::{Counters, Event, EventKind, ShardCounters};
use lane::LaneEnds;
use shard::{Handing, Shard};

/// Events that wait for a reader; older ones are lost, and counted.
const EVENTS: usize = 4096;

/// States that there is memory for from the start, over all shards; the operating system gives most of it when it is
/// first used. A ruleset with a higher limit brings more ([`Driver::make_room`]).
const STATES: usize = 1 << 18;
/// Tracked sources that there is memory for.
const SOURCES: usize = 1 << 15;

/// What all shards, control and the NIC's event thread share.
struct Common {
    host: Arc<dyn Host>,
    /// Set once more when the NIC has said how many queue pairs it has.
    shards: AtomicUsize,
    /// One per shard, and one more for whatever has no shard; that one's writers use [`bump_shared`].
    ///
    /// [`bump_shared`]: crate::telemetry::Counter::bump_shared
    counters: Vec<Arc<ShardCounters>>,
    bells: Vec<Doorbell>,
    pipeline: Arc<Shared>,
    /// Interrupts that were answered.
    interrupts: AtomicU64,
}

impl Common {
    fn shards(&self) -> usize {
        self.shards.load(Ordering::Relaxed)
    }

    fn outside(&self) -> Option<&ShardCounters> {
        self.counters.last().map(|last| &**last)
    }

    /// Counts a call that breaks the contract, and leaves an event for the first, second, fourth, eighth...: who
    /// misbehaves in a loop must not flush everything else out of the ring. The event has no time, because the
    /// misbehaviour may be the clock's.
    fn count_misuse(&self) {
        let Some(counters) = self.outside() else {
            return;
        };
        if counters.misuse.bump_shared().is_power_of_two() {
            self.event(Event::plain(EventKind::Misuse, 0));
        }
    }

    /// Wakes another shard, if it sleeps.
    fn ring(&self, shard: usize) {
        if self.bells.get(shard).is_some_and(Doorbell::ring) {
            self.wake_shard(shard);
        }
    }

    fn wake_shard(&self, shard: usize) {
        if let Ok(queue) = u32::try_from(shard) {
            self.wake(queue);
        }
    }

    fn event(&self, event: Event) {
        if !self.pipeline.outside_event(self.shards(), event)
            && let Some(counters) = self.outside()
        {
            counters.events_lost.bump_shared();
        }
        self.ring_taps();
    }

    /// Wakes the programs that watch and have something to see.
    fn ring_taps(&self) {
        let taps = self.pipeline.taps.take_bells();
        if taps != 0 {
            self.host.tap_notify(taps);
        }
    }
}

impl Events for Common {
    fn wake(&self, queue: u32) {
        if let Some(counters) = self.outside() {
            counters.wakes.bump_shared();
        }
        self.host.wake(queue);
    }

    fn link_changed(&self) {
        self.event(Event::plain(EventKind::Link, self.host.now_ns()));
        self.host.link_changed();
    }

    fn wire_notify(&self, queue: u32) {
        self.host.wire_notify(queue);
    }

    fn attention(&self) {
        self.host.attention();
    }
}

/// What control calls work on.
struct Control {
    nic: Box<dyn Nic>,
    publisher: Publisher,
    if_name: IfName,
    /// All multicast frames are wanted: by request, or because the list was too long for the NIC.
    all_multicast: (bool, bool),
    /// Addresses of the interface, as it was told.
    addresses: Vec<InterfaceAddress>,
    /// What the shards know in common.
    known: Known,
    /// States that each shard has memory for.
    room: usize,
    seed: u64,
    /// The last number that a rule was given.
    rule_id: u32,
}

/// See the module.
pub struct Driver {
    common: Arc<Common>,
    /// Open from the start.
    shards: Vec<Seat<Shard>>,
    /// Never open: control claims it.
    control: Seat<Control>,
    enabled: AtomicBool,
    /// Where transfers of a USB NIC are reported.
    usb: Option<Arc<usb::Port>>,
}

impl Driver {
    /// Makes an instance; it is not enabled.
    ///
    /// # Errors
    /// What is wrong with the configuration, or [`Error::NoMemory`].
    pub fn new(config: &Config, host: Arc<dyn Host>, bus: Bus) -> Result<Self, Error> {
        let shards = config.queues;
        if !(1..=crate::nic::QUEUES_MAX).contains(&shards) {
            return Err(Error::Invalid);
        }
        let common = Arc::new(Common {
            host,
            shards: AtomicUsize::new(shards),
            counters: (0..=shards).map(|_| Arc::default()).collect(),
            bells: (0..shards).map(|_| Doorbell::new()).collect(),
            pipeline: Arc::new(Shared::new(EVENTS, shards)),
            interrupts: AtomicU64::new(0),
        });
        let env = NicEnv { events: common.clone(), dma: bus.dma, registers: bus.registers, usb: bus.usb };
        let Device { nic, queues, usb } = config.open(env)?;
        // A device may have fewer queue pairs than were asked for.
        let shards = queues.len();
        common.shards.store(shards, Ordering::Relaxed);
        let (publisher, readers) = Publisher::new(Installed::none(0), shards);
        let mesh = LaneEnds::mesh(shards).ok_or(Error::NoMemory)?;
        let inbound = LaneEnds::mesh(shards).ok_or(Error::NoMemory)?;
        let outbound = LaneEnds::mesh(shards).ok_or(Error::NoMemory)?;
        let handing = inbound.into_iter().zip(outbound).map(|(inbound, outbound)| Handing { inbound, outbound });
        let known = Known::new(shards, STATES, SOURCES, config.seed).ok_or(Error::NoMemory)?;
        let mut seats = Vec::new();
        for (index, ((queue, reader), lanes)) in
            queues.into_iter().zip(readers).zip(mesh.into_iter().zip(handing)).enumerate()
        {
            let sizes = Sizes {
                states: STATES / shards,
                sources: SOURCES,
                // Each keeps its buffer while it waits: the rest must be enough for traffic.
                fragments: config.ring_size / 4,
                seed: config.seed,
            };
            let pipeline = Pipeline::new((index, shards), common.pipeline.clone(), &known, reader, sizes)
                .ok_or(Error::NoMemory)?;
            let shard = Shard::new(index, common.clone(), queue, pipeline, lanes, config.ring_size);
            let seat = Seat::new(shard.ok_or(Error::NoMemory)?);
            seat.open();
            seats.push(seat);
        }
        common.pipeline.set_mtu(nic.mtu());
        let control = Control {
            nic,
            publisher,
            if_name: config.if_name.clone(),
            all_multicast: (false, false),
            addresses: Vec::new(),
            known,
            room: STATES / shards,
            seed: config.seed,
            rule_id: 0,
        };
        Ok(Self { common, shards: seats, control: Seat::new(control), enabled: AtomicBool::new(false), usb })
    }

    /// Counts a call that breaks the contract.
    pub fn count_misuse(&self) {
        self.common.count_misuse();
    }

    fn is_enabled(&self) -> bool {
        // Acquire: pairs with the release in `enable`.
        self.enabled.load(Ordering::Acquire)
    }

    /// The shard of `queue` for one call; `None`, and counted as misuse, if there is no such queue or someone else is
    /// in the middle of a call. While the interface goes down a refusal is nobody's fault.
    fn enter(&self, queue: u32) -> Option<Guard<'_, Shard>> {
        let guard = self.shards.get(queue as usize).and_then(Seat::enter);
        if guard.is_none() && (self.is_enabled() || queue as usize >= self.shards.len()) {
            self.common.count_misuse();
        }
        guard
    }

    /// Transfers of a USB pipe ended, in the slots from `first` on.
    pub fn usb_complete(
        &self,
        pipe: u32,
        first: usize,
        results: impl Iterator<Item = Result<u32, usb::TransferError>>,
    ) {
        let Some(port) = &self.usb else {
            return self.count_misuse();
        };
        for (slot, result) in results.enumerate() {
            if !port.complete(pipe, first.wrapping_add(slot), result) {
                self.count_misuse();
            }
        }
        port.ring();
    }

    // ---- data path ----

    /// How many buffers [`Driver::rx_post`] would take now.
    pub fn rx_space(&self, queue: u32) -> u32 {
        self.enter(queue).map_or(0, |shard| count(shard.rx_space()))
    }

    /// Takes empty receive buffers from the front; returns how many. The rest stays the caller's.
    pub fn rx_post(&self, queue: u32, packets: &mut impl Giver) -> u32 {
        self.enter(queue).map_or(0, |mut shard| count(shard.rx_post(packets)))
    }

    /// Receives: appends frames to deliver to the empty `out`, at most `budget` and at most a burst; true if there is
    /// more to do.
    pub fn rx_poll(&self, queue: u32, budget: usize, out: &mut Burst) -> bool {
        if !self.is_enabled() {
            return false;
        }
        self.enter(queue).is_some_and(|mut shard| self.is_enabled() && shard.rx_poll(budget, out))
    }

    /// How many frames [`Driver::tx_submit`] would take now.
    pub fn tx_space(&self, queue: u32) -> u32 {
        if !self.is_enabled() {
            return 0;
        }
        self.enter(queue).map_or(0, |shard| count(shard.tx_space()))
    }

    /// Takes frames to transmit from the front; returns how many. The rest stays the caller's.
    pub fn tx_submit(&self, queue: u32, frames: &mut impl Frames) -> u32 {
        if !self.is_enabled() {
            return 0;
        }
        // Asked again inside: a frame taken after `enable(false)` went through the shards would be left behind.
        self.enter(queue).filter(|_| self.is_enabled()).map_or(0, |mut shard| {
            let mut spare = Burst::new();
            let (burst, bytes) = frames.take(shard.tx_room(), &mut spare);
            count(shard.tx_submit(burst, bytes))
        })
    }

    /// Progresses transmit and appends finished frames to the empty `out`, at most `max`.
    pub fn tx_reap(&self, queue: u32, max: usize, out: &mut impl Taker) {
        if !self.is_enabled() {
            return;
        }
        if let Some(mut shard) = self.enter(queue).filter(|_| self.is_enabled()) {
            shard.tx_reap(max, out);
        }
    }

    /// Asks for a wake-up. True: there is work already, poll again.
    pub fn arm(&self, queue: u32) -> bool {
        self.is_enabled() && self.enter(queue).is_some_and(|mut shard| self.is_enabled() && shard.arm())
    }

    /// While disabled: appends what is still lent to the empty `out`, at most `max`. Nothing appended: nothing is left.
    pub fn reclaim(&self, queue: u32, max: usize, out: &mut Burst) {
        if self.is_enabled() {
            self.common.count_misuse();
            return;
        }
        if let Some(mut shard) = self.enter(queue) {
            shard.reclaim(max, out);
        }
    }

    // ---- control ----

    /// Control's state for one call, refused while another control call runs.
    fn claim(&self) -> Result<Guard<'_, Control>, Error> {
        let Some(mut control) = self.control.claim() else {
            self.common.count_misuse();
            return Err(Error::Busy);
        };
        // Rulesets that the shards have let go of since the last call.
        control.publisher.collect();
        self.common.pipeline.free_retired();
        Ok(control)
    }

    /// Starts or stops traffic. Starting what runs and stopping what stands still is no error. On return from
    /// stopping nothing touches a packet any more, and [`Driver::reclaim`] gives back what is lent.
    ///
    /// # Errors
    /// Why the NIC could not start.
    pub fn enable(&self, on: bool) -> Result<(), Error> {
        let mut control = self.claim()?;
        if on == self.is_enabled() {
            return Ok(());
        }
        if on {
            control.nic.enable(true)?;
            self.enabled.store(true, Ordering::Release);
            return Ok(());
        }
        // Release, and before the seats are closed: whoever enters from here on sees it.
        self.enabled.store(false, Ordering::Release);
        let stopped = control.nic.enable(false);
        self.shards.iter().for_each(Seat::close);
        for seat in &self.shards {
            seat.lock().stop();
        }
        // Only now has every shard given back what it had of the others.
        for seat in &self.shards {
            seat.lock().settle();
        }
        self.shards.iter().for_each(Seat::open);
        stopped.map_err(Error::from)
    }

    /// Hands a ruleset to the shards and sees to it that they look.
    fn publish(&self, control: &mut Control, next: Installed) {
        control.publisher.publish(next);
        self.nudge();
        control.publisher.collect();
    }

    /// Gives the shards memory for as many states as a ruleset allows. `None` without; nothing has changed then.
    fn make_room(&self, control: &mut Control, states: u32) -> Option<()> {
        let (shards, states) = (self.common.shards(), usize::try_from(states).ok()?);
        // Few may all come to one shard; of many, none gets more than twice its share.
        let share = states.checked_div(shards)?.saturating_mul(2).max(STATES);
        if states.min(share) <= control.room {
            return Some(());
        }
        // Twice as much at least, so that it does not happen often.
        let room = states.min(share).max(control.room.saturating_mul(2));
        if self.common.pipeline.is_growing() {
            return None;
        }
        let mut tables = Vec::new();
        tables.try_reserve_exact(shards).ok()?;
        for shard in 0..shards {
            tables.push(Box::new(Memory::new(room, shard_seed(control.seed, shard))?));
        }
        let index =
            if shards > 1 { Some(control.known.index(room.checked_mul(shards)?.min(states), shards)?) } else { None };
        for (shard, memory) in tables.into_iter().enumerate() {
            // There is room: nothing is growing.
            let _ = self.common.pipeline.grow(shard, Growth { memory, index: index.clone() });
        }
        control.room = room;
        self.nudge();
        Some(())
    }

    /// Makes every shard look at what control has left for it.
    fn nudge(&self) {
        for (index, seat) in self.shards.iter().enumerate() {
            if self.is_enabled() {
                self.common.wake_shard(index);
            } else if let Some(mut shard) = seat.enter() {
                shard.refresh();
            }
        }
    }

    /// The sum of all shards' counters; exact while no call runs.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::sum(self.common.counters.iter().map(|shard| &**shard))
    }

    /// Counters of one queue. A frame that was steered is taken on one queue and sent on another, so that identities
    /// hold for the sum only.
    #[must_use]
    pub fn queue_counters(&self, queue: usize) -> Option<Counters> {
        let shard = self.common.counters.get(queue).filter(|_| queue < self.common.shards())?;
        let mut counters = Counters::default();
        counters.add(shard);
        Some(counters)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.is_enabled() {
            // The owner forgot to; the far end must not find half a station.
            let _ = self.enable(false);
        }
        let (mut buffers, mut frames) = (0usize, 0usize);
        for seat in &self.shards {
            if let Some(shard) = seat.enter() {
                let (rx, tx) = shard.lent();
                buffers = buffers.saturating_add(rx);
                frames = frames.saturating_add(tx);
            }
        }
        if buffers != 0 || frames != 0 {
            let text = format!("destroyed with {buffers} receive buffers and {frames} frames not reclaimed");
            self.common.host.log(LogLevel::Error, &text);
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
