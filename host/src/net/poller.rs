//! `IOUserNetworkPacketPoller`: calls the driver at intervals while it is enabled.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::netq::BURST;
use crate::rt::Runtime;
use crate::sched::{Expire, Item, Queue, Task, lock};
use crate::source::Handler;

const DEFAULT_INTERVAL_NS: u64 = 1_000_000;
const MIN_INTERVAL_NS: u64 = 10_000;
const POLL: u32 = 0;
const START: u32 = 1;
const STOP: u32 = 2;

struct State {
    enabled: bool,
    generation: u64,
    interval_ns: u64,
    poll: Option<Arc<Handler>>,
    event: Option<Arc<Handler>>,
}

/// A poller.
pub struct Poller {
    rt: Arc<Runtime>,
    queue: Arc<Queue>,
    state: Mutex<State>,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Poller {
    /// A poller that is disabled.
    pub fn new(
        rt: &Arc<Runtime>,
        queue: &Arc<Queue>,
        poll: Option<Arc<Handler>>,
        event: Option<Arc<Handler>>,
    ) -> Arc<Poller> {
        let state = State { enabled: false, generation: 0, interval_ns: DEFAULT_INTERVAL_NS, poll, event };
        Arc::new(Poller {
            rt: rt.clone(),
            queue: queue.clone(),
            state: Mutex::new(state),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// Time between polls; 0 = the default of 1 ms, at least 10 us.
    pub fn set_interval(&self, ns: u64) {
        let ns = if ns == 0 { DEFAULT_INTERVAL_NS } else { ns.max(MIN_INTERVAL_NS) };
        lock(&self.state).interval_ns = ns;
    }

    /// Starts polling: event 0, then a poll per interval.
    pub fn enable(self: &Arc<Self>) {
        let arm = {
            let mut s = lock(&self.state);
            if std::mem::replace(&mut s.enabled, true) {
                return;
            }
            s.generation += 1;
            (s.interval_ns, s.generation)
        };
        self.queue.push(Item::Task(self.clone(), START));
        self.rt.sched.arm(self.rt.now_ns() + arm.0, 0, self.clone(), arm.1);
    }

    /// Stops polling: event 1. The caller that needs to know that no poll runs waits for the queue.
    pub fn disable(self: &Arc<Self>) {
        {
            let mut s = lock(&self.state);
            if !std::mem::replace(&mut s.enabled, false) {
                return;
            }
            s.generation += 1;
        }
        self.queue.push(Item::Task(self.clone(), STOP));
    }

    /// The queue of both functions.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// `updatePacketCounters`.
    pub fn update(&self, packets: u32, bytes: u32) {
        self.packets.fetch_add(packets.into(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes.into(), Ordering::Relaxed);
    }

    /// Packets and bytes that the driver reported.
    pub fn counters(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// The C++ layer let go of it: no more calls.
    pub(crate) fn close(&self) {
        let old = {
            let mut s = lock(&self.state);
            s.enabled = false;
            s.generation += 1;
            (s.poll.take(), s.event.take())
        };
        drop(old);
    }
}

impl Task for Poller {
    fn run(self: Arc<Self>, what: u32) {
        let (poll, event, again) = {
            let s = lock(&self.state);
            let again = s.enabled.then_some((s.interval_ns, s.generation));
            (s.poll.clone(), s.event.clone(), again)
        };
        match what {
            START => event.inspect(|e| e.invoke(0, 0)),
            STOP => event.inspect(|e| e.invoke(1, 0)),
            _ if again.is_some() => poll.inspect(|p| p.invoke(BURST as u64, 0)),
            _ => None,
        };
        if let (POLL, Some((interval, generation))) = (what, again) {
            self.rt.sched.arm(self.rt.now_ns() + interval, 0, self.clone(), generation);
        }
    }

    fn name(&self) -> &'static str {
        "poller"
    }
}

impl Expire for Poller {
    fn expired(self: Arc<Self>, generation: u64, _now_ns: u64) {
        let due = {
            let s = lock(&self.state);
            s.enabled && s.generation == generation
        };
        if due {
            self.queue.push(Item::Task(self.clone(), POLL));
        }
    }
}
