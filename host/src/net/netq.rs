//! The four packet queues, in both models: data queue and dequeue calls (A), action functions (B).

mod actions;

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};

use super::iface::Iface;
use super::packet::{Move, Packet, state};
use super::poller::Poller;
use super::pool::Pool;
use crate::diag::{Site, violation};
use crate::ioreturn::{IoResult, IoReturn};
use crate::sched::{Item, Queue, Task, lock};
use crate::source::Source;

/// Packets handed over in one call of an action function or the sink.
pub(super) const BURST: usize = 64;
const MAX_CAPACITY: u32 = 65536;

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NetqKind {
    TxSubmission,
    TxCompletion,
    RxSubmission,
    RxCompletion,
}

impl NetqKind {
    /// From `DK_NETQ_*`.
    pub fn from_raw(raw: u32) -> Option<NetqKind> {
        Some(match raw {
            0 => NetqKind::TxSubmission,
            1 => NetqKind::TxCompletion,
            2 => NetqKind::RxSubmission,
            3 => NetqKind::RxCompletion,
            _ => return None,
        })
    }

    /// The driver takes packets out of it.
    pub fn is_submission(self) -> bool {
        matches!(self, NetqKind::TxSubmission | NetqKind::RxSubmission)
    }
}

type MoveAction = extern "C" fn(*mut c_void, *mut *mut Packet, u32) -> u32;

/// `dk_netq_actions`.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct RawActions {
    pub ctx: *mut c_void,
    pub dequeue: Option<MoveAction>,
    pub enqueue: Option<MoveAction>,
    pub free_space: Option<extern "C" fn(*mut c_void, *mut u32) -> u32>,
    pub release: Option<extern "C" fn(*mut c_void)>,
}

/// The owned actions of a queue.
pub struct Actions(RawActions);

// SAFETY: dk_netq_actions' functions are called from any thread, one at a time (the queue's own serial queue).
unsafe impl Send for Actions {}
// SAFETY: as above.
unsafe impl Sync for Actions {}

impl Actions {
    /// Takes over what `raw` holds.
    pub fn take(raw: RawActions) -> Actions {
        Actions(raw)
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        if let Some(f) = self.0.release {
            f(self.0.ctx);
        }
    }
}

/// A packet queue.
pub struct NetQ {
    pub(super) kind: NetqKind,
    pub(super) pool: Arc<Pool>,
    capacity: u32,
    id: u32,
    service_class: u32,
    queue: Arc<Queue>,
    source: Option<Arc<Source>>,
    actions: Option<Actions>,
    /// Packets on their way to the driver (submission queues).
    ring: Mutex<VecDeque<u32>>,
    /// Entries of `ring`, readable without its lock.
    len: AtomicU32,
    enabled: AtomicBool,
    /// Somebody is inside dequeue or enqueue.
    inside: AtomicBool,
    requested: AtomicBool,
    /// No action function and no doorbell's handler begins any more.
    closed: AtomicBool,
    /// Most packets posted at once (RX submission); set at registration.
    rx_target: AtomicU32,
    pub(super) iface: OnceLock<(Weak<Iface>, usize)>,
    poller: RwLock<Option<Arc<Poller>>>,
    object: AtomicPtr<c_void>,
}

impl NetQ {
    /// Model A with `queue`, model B with `actions`.
    ///
    /// # Errors
    /// `BAD_ARGUMENT`: capacity not 1 to 65536, neither or no fitting action.
    pub fn new(
        kind: NetqKind,
        pool: &Arc<Pool>,
        capacity: u32,
        id: u32,
        service_class: u32,
        queue: Option<&Arc<Queue>>,
        actions: Option<Actions>,
    ) -> IoResult<Arc<NetQ>> {
        if capacity == 0 || capacity > MAX_CAPACITY {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let (queue, source) = match (&actions, queue) {
            (Some(a), _) => {
                let fits = if kind.is_submission() { a.0.dequeue.is_some() } else { a.0.enqueue.is_some() };
                if !fits {
                    return Err(IoReturn::BAD_ARGUMENT);
                }
                (Queue::new(pool.rt(), c"packet queue actions"), None)
            }
            (None, Some(q)) => (q.clone(), Some(Source::doorbell(pool.rt(), q))),
            (None, None) => return Err(IoReturn::BAD_ARGUMENT),
        };
        let room = if kind.is_submission() { capacity as usize } else { 0 };
        let netq = Arc::new(NetQ {
            kind,
            pool: pool.clone(),
            capacity,
            id,
            service_class,
            queue,
            source,
            actions,
            ring: Mutex::new(VecDeque::with_capacity(room)),
            len: AtomicU32::new(0),
            enabled: AtomicBool::new(false),
            inside: AtomicBool::new(false),
            requested: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            rx_target: AtomicU32::new(capacity),
            iface: OnceLock::new(),
            poller: RwLock::new(None),
            object: AtomicPtr::new(std::ptr::null_mut()),
        });
        if kind == NetqKind::RxSubmission {
            pool.add_rx_queue(&netq);
        }
        Ok(netq)
    }

    /// Which of the four.
    pub fn kind(&self) -> NetqKind {
        self.kind
    }

    /// The driver's number for it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Packets it holds at most.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The service class it is for (TX submission); 0 = best effort.
    pub fn service_class(&self) -> u32 {
        self.service_class
    }

    /// Where its packets come from.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(crate) fn object(&self) -> &AtomicPtr<c_void> {
        &self.object
    }

    /// Model A's doorbell.
    pub fn source(&self) -> Option<&Arc<Source>> {
        self.source.as_ref()
    }

    /// Free entries of a submission queue.
    pub fn room(&self) -> u32 {
        self.capacity.saturating_sub(self.len.load(Ordering::Relaxed))
    }

    /// On and taking part.
    pub fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    fn iface(&self) -> Option<(Arc<Iface>, usize)> {
        let (weak, n) = self.iface.get()?;
        weak.upgrade().map(|i| (i, *n))
    }

    pub(super) fn set_rx_target(&self, n: u32) {
        self.rx_target.store(n.clamp(1, self.capacity), Ordering::Relaxed);
    }

    /// For good: no action function and no doorbell's handler begins after this. One that runs now has ended when an item
    /// pushed to [`NetQ::dispatch_queue`] afterwards has run; then what they point to may be freed.
    pub(super) fn close(self: &Arc<Self>) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = self.set_enable(false);
        if let Some(s) = &self.source {
            s.cancel(None);
        }
    }

    /// Where the handler or the action functions run.
    pub(super) fn dispatch_queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// The caller runs in one of this queue's action functions.
    pub(super) fn inside_action(&self) -> bool {
        self.actions.is_some() && self.queue.on_queue()
    }

    fn trace(&self, name: &'static str, n: usize) {
        let rt = self.pool.rt();
        rt.trace.event(rt.trace_now(), name, u64::from(self.id), n as u64);
    }

    /// `SetEnable`.
    ///
    /// # Errors
    /// `NOT_READY` before the interface is registered and being enabled.
    pub fn set_enable(self: &Arc<Self>, enable: bool) -> IoResult<()> {
        if enable {
            let ready = self.iface().is_some_and(|(i, _)| i.may_enable_queues());
            if !ready {
                return Err(IoReturn::NOT_READY);
            }
            self.enabled.store(true, Ordering::Release);
            if self.kind == NetqKind::RxSubmission {
                self.refill();
            }
        } else {
            self.enabled.store(false, Ordering::Release);
            self.withdraw();
        }
        Ok(())
    }

    /// Takes waiting packets out again; returns how many.
    pub(super) fn withdraw(&self) -> usize {
        let waiting: Vec<u32> = {
            let mut ring = lock(&self.ring);
            self.len.store(0, Ordering::Relaxed);
            ring.drain(..).collect()
        };
        let what = if self.kind == NetqKind::TxSubmission { Move::TxPurge } else { Move::RxWithdraw };
        for i in &waiting {
            self.pool.note(*i, what, self.id);
        }
        if self.kind == NetqKind::TxSubmission
            && let Some((iface, _)) = self.iface()
        {
            iface.count_tx_dropped(waiting.len());
        }
        self.pool.give(&waiting);
        waiting.len()
    }

    /// `purgePackets`.
    ///
    /// # Errors
    /// `UNSUPPORTED` on other queues than TX submission.
    pub fn purge(&self) -> IoResult<()> {
        if self.kind != NetqKind::TxSubmission {
            return Err(IoReturn::UNSUPPORTED);
        }
        self.withdraw();
        Ok(())
    }

    /// Fills the RX submission queue up from the pool.
    pub(crate) fn refill(self: &Arc<Self>) {
        if self.kind != NetqKind::RxSubmission || !self.enabled() {
            return;
        }
        let target = self.rx_target.load(Ordering::Relaxed);
        let want = target.saturating_sub(self.len.load(Ordering::Relaxed));
        if want == 0 {
            return;
        }
        let mut left = want;
        let mut rang = false;
        while left > 0 {
            let mut batch = [0u32; BURST];
            let mut n = 0;
            self.pool.take(left.min(BURST as u32), state::RX_POSTED, Move::RxPost, self.id, |i| {
                if let Some(slot) = batch.get_mut(n) {
                    *slot = i;
                }
                n += 1;
            });
            if n == 0 {
                self.pool.set_starved();
                break;
            }
            left -= n as u32;
            let filled = batch.get(..n).unwrap_or_default();
            for i in filled {
                let p = self.pool.packet(*i);
                // SAFETY: in state RX_POSTED and not yet in the ring, the packet is ours alone.
                unsafe {
                    (*p).data_off = 0;
                    (*p).data_len = 0;
                    (*p).flags = 0;
                }
            }
            let mut ring = lock(&self.ring);
            if !self.enabled() {
                drop(ring);
                self.pool.give(filled);
                return;
            }
            rang |= ring.is_empty();
            // In front: empty packets have no order, and the one that was in use last may still be in the cache.
            for i in filled {
                ring.push_front(*i);
            }
            self.len.store(ring.len() as u32, Ordering::Relaxed);
        }
        if rang {
            self.ring_doorbell();
        }
    }

    pub(super) fn ring_doorbell(self: &Arc<Self>) {
        match &self.source {
            Some(s) => s.ring(),
            None => self.pull(),
        }
    }

    /// Puts a run of the action function on the queue's own dispatch queue.
    fn pull(self: &Arc<Self>) {
        if !self.requested.swap(true, Ordering::AcqRel) {
            self.queue.push(Item::Task(self.clone(), 0));
        }
    }

    /// `requestDequeue`, `requestEnqueue`.
    ///
    /// # Errors
    /// `UNSUPPORTED` for model A.
    pub fn request(self: &Arc<Self>) -> IoResult<()> {
        if self.actions.is_none() {
            return Err(IoReturn::UNSUPPORTED);
        }
        self.pull();
        Ok(())
    }

    /// Sets the poller.
    pub fn set_poller(&self, poller: Option<Arc<Poller>>) {
        *self.poller.write().unwrap_or_else(std::sync::PoisonError::into_inner) = poller;
    }

    /// The stack's side: appends frames that are in state STACK; returns how many fitted.
    pub(super) fn submit(self: &Arc<Self>, indices: &[u32]) -> usize {
        let taken = {
            let mut ring = lock(&self.ring);
            // Looked at under the lock: set_enable(false) empties the ring after it cleared the flag.
            let open = if self.enabled() { self.capacity as usize } else { 0 };
            let room = open.saturating_sub(ring.len());
            let take = indices.get(..room.min(indices.len())).unwrap_or_default();
            for i in take {
                self.pool.set_state(*i, state::TX_QUEUED);
                self.pool.note(*i, Move::TxSubmit, self.id);
            }
            ring.extend(take);
            self.len.store(ring.len() as u32, Ordering::Relaxed);
            take.len()
        };
        if taken > 0 {
            self.trace("tx submit", taken);
            self.ring_doorbell();
        }
        taken
    }

    /// One caller at a time, on a dispatch queue, before Stop.
    fn check_caller(&self, what: &str, site: Site) -> bool {
        if !Queue::with_current(|q| q.is_some()) {
            let text = format!("{what} on packet queue {} from a thread that runs no dispatch queue", self.id);
            violation("wrong queue", text, site, Vec::new());
            return false;
        }
        if let Some((iface, _)) = self.iface()
            && iface.is_gone()
        {
            // A driver cannot wait for its action functions: the framework runs them, and one that began before Stop may
            // still be inside. It gets nothing, and has done nothing wrong.
            if !iface.inside_action() {
                let text = format!("{what} on packet queue {} of {}", self.id, iface.name());
                violation("use after Stop", text, site, Vec::new());
            }
            return false;
        }
        if self.inside.swap(true, Ordering::Acquire) {
            let text = format!("{what} on packet queue {}: another caller is inside (two dispatch queues)", self.id);
            violation("wrong queue", text, site, Vec::new());
            return false;
        }
        true
    }

    /// `DequeuePackets`: moves up to `out.len()` packets to the driver.
    pub fn dequeue(self: &Arc<Self>, out: &mut [*mut Packet], site: Site) -> u32 {
        if !self.kind.is_submission() || !self.check_caller("DequeuePackets", site) {
            return 0;
        }
        let n = self.dequeue_inside(out);
        self.inside.store(false, Ordering::Release);
        if n > 0 {
            self.refill();
        }
        n
    }

    fn dequeue_inside(self: &Arc<Self>, out: &mut [*mut Packet]) -> u32 {
        if !self.enabled() {
            return 0;
        }
        let tx = self.kind == NetqKind::TxSubmission;
        let (to, what) = if tx { (state::TX_DRIVER, Move::TxDequeue) } else { (state::RX_DRIVER, Move::RxDequeue) };
        let (n, was_full) = {
            let mut ring = lock(&self.ring);
            let was_full = ring.len() >= self.capacity as usize;
            let n = out.len().min(ring.len());
            for (slot, i) in out.iter_mut().zip(ring.drain(..n)) {
                self.pool.set_state(i, to);
                self.pool.note(i, what, self.id);
                *slot = self.pool.packet(i);
            }
            self.len.store(ring.len() as u32, Ordering::Relaxed);
            (n, was_full)
        };
        if tx && was_full && n > 0 {
            self.pool.wake_waiters();
        }
        self.trace(if tx { "tx dequeue" } else { "rx dequeue" }, n);
        n as u32
    }

    /// `EnqueuePackets`: takes packets from the driver; returns how many were accepted, from the front.
    pub fn enqueue(self: &Arc<Self>, packets: &[*mut Packet], site: Site) -> u32 {
        if self.kind.is_submission() || !self.check_caller("EnqueuePackets", site) {
            return 0;
        }
        let n = self.enqueue_inside(packets, site);
        self.inside.store(false, Ordering::Release);
        n
    }

    fn enqueue_inside(self: &Arc<Self>, packets: &[*mut Packet], site: Site) -> u32 {
        if !self.enabled() {
            return 0;
        }
        let Some((iface, queue)) = self.iface() else { return 0 };
        let mut accepted = 0;
        for burst in packets.chunks(BURST) {
            let mut batch = [0u32; BURST];
            let mut n = 0;
            for p in burst {
                let Some(index) = self.take_back(*p, site) else { break };
                if let Some(slot) = batch.get_mut(n) {
                    *slot = index;
                }
                n += 1;
            }
            let got = batch.get(..n).unwrap_or_default();
            match self.kind {
                NetqKind::TxCompletion => iface.tx_completed(&self.pool, got),
                _ => iface.rx_deliver(&self.pool, queue, got),
            }
            self.pool.give(got);
            accepted += n as u32;
            if n < burst.len() {
                break;
            }
        }
        self.trace(if self.kind == NetqKind::TxCompletion { "tx complete" } else { "rx deliver" }, accepted as usize);
        accepted
    }

    /// Takes one packet out of the driver's hands, if all is right with it.
    fn take_back(&self, p: *mut Packet, site: Site) -> Option<u32> {
        let Some(index) = self.pool.index_of(p) else {
            let text = format!("packet queue {} was given a packet of another pool, or none", self.id);
            violation("pool address out of range", text, site, Vec::new());
            return None;
        };
        let was = self.pool.state_of(index);
        let tx = self.kind == NetqKind::TxCompletion;
        let right = if tx { was == state::TX_DRIVER } else { was == state::RX_DRIVER || was == state::POOL_DRIVER };
        if !right || !self.pool.exchange(index, was, if tx { state::FREE } else { state::RX_STACK }) {
            self.pool.violation(
                "double completion",
                index,
                "EnqueuePackets of a packet that is not to complete here",
                site,
            );
            return None;
        }
        // SAFETY: the exchange above made the packet ours.
        let (off, len, size) = unsafe { ((*p).data_off, (*p).data_len, (*p).buf_size) };
        if u64::from(off) + u64::from(len) > u64::from(size) {
            let text = format!("offset {off} + length {len} is outside the buffer of {size} bytes");
            self.pool.violation("pool address out of range", index, &text, site);
            self.pool.set_state(index, was);
            return None;
        }
        self.pool.note(index, if tx { Move::TxComplete } else { Move::RxDeliver }, self.id);
        Some(index)
    }
}

impl Task for NetQ {
    fn run(self: Arc<Self>, _what: u32) {
        self.requested.store(false, Ordering::Release);
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        let Some(actions) = self.actions.as_ref().map(|a| a.0) else { return };
        match (self.kind.is_submission(), actions.dequeue, actions.enqueue) {
            (true, Some(f), _) => self.push_to_driver(&actions, f),
            (false, _, Some(f)) => self.pull_from_driver(&actions, f),
            _ => {}
        }
    }

    fn name(&self) -> &'static str {
        "packet queue"
    }
}
