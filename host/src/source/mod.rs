//! Dispatch sources: timers, interrupts, data queues, doorbells of packet queues.

pub mod dataq;

#[cfg(test)]
mod tests;

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::ioreturn::{IoResult, IoReturn};
use crate::rt::Runtime;
use crate::sched::{Expire, Item, Queue, Task, Work, lock};
use crate::service::Svc;
use dataq::DataQueue;

/// `dk_handler`: a function that is called many times, with what it holds.
#[repr(C)]
pub struct RawHandler {
    /// First argument of both functions.
    pub ctx: *mut c_void,
    /// The handler.
    pub invoke: Option<extern "C" fn(*mut c_void, u64, u64)>,
    /// Called once after the last `invoke`.
    pub release: Option<extern "C" fn(*mut c_void)>,
}

/// An owned [`RawHandler`].
pub struct Handler(RawHandler);

// SAFETY: dk_handler's contract (dk_runtime.h): callable from any thread; upheld by the C++ layer.
unsafe impl Send for Handler {}
// SAFETY: as above; a source's queue is serial, so that one handler never runs twice at once.
unsafe impl Sync for Handler {}

impl Handler {
    /// Takes over what `raw` holds. `None` without a function.
    pub fn take(raw: &RawHandler) -> Option<Arc<Handler>> {
        raw.invoke?;
        Some(Arc::new(Handler(RawHandler { ctx: raw.ctx, invoke: raw.invoke, release: raw.release })))
    }

    /// Calls it.
    pub fn invoke(&self, a: u64, b: u64) {
        if let Some(f) = self.0.invoke {
            f(self.0.ctx, a, b);
        }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if let Some(f) = self.0.release {
            f(self.0.ctx);
        }
    }
}

/// What a source is.
pub enum Kind {
    /// `IOTimerDispatchSource`.
    Timer,
    /// `IOInterruptDispatchSource` of a provider's interrupt.
    Interrupt {
        /// The provider.
        provider: Weak<Svc>,
        /// Index there.
        index: u32,
    },
    /// `IODataQueueDispatchSource`.
    Data(DataQueue),
    /// What a packet queue's `CopyDataQueue` returns.
    Doorbell,
}

const MAIN: u32 = 0;
const SPACE: u32 = 1;

#[derive(Default)]
struct State {
    enabled: bool,
    cancelled: bool,
    /// Armed deadlines before this generation are void.
    generation: u64,
    handler: [Option<Arc<Handler>>; 2],
    /// An event waits for its handler.
    event: [bool; 2],
    /// A run of the handler is on the queue.
    queued: [bool; 2],
    count: u64,
    time_ns: u64,
}

/// A dispatch source of any kind.
pub struct Source {
    rt: Arc<Runtime>,
    queue: Arc<Queue>,
    kind: Kind,
    state: Mutex<State>,
    /// References of the C++ layer.
    handles: AtomicUsize,
}

impl Source {
    fn new(rt: &Arc<Runtime>, queue: &Arc<Queue>, kind: Kind) -> Arc<Source> {
        Arc::new(Source {
            rt: rt.clone(),
            queue: queue.clone(),
            kind,
            state: Mutex::new(State { enabled: true, ..State::default() }),
            handles: AtomicUsize::new(1),
        })
    }

    /// A timer whose handler runs on `queue`.
    pub fn timer(rt: &Arc<Runtime>, queue: &Arc<Queue>) -> Arc<Source> {
        Self::new(rt, queue, Kind::Timer)
    }

    /// A packet queue's doorbell.
    pub(crate) fn doorbell(rt: &Arc<Runtime>, queue: &Arc<Queue>) -> Arc<Source> {
        Self::new(rt, queue, Kind::Doorbell)
    }

    /// A data queue with `bytes` of ring.
    ///
    /// # Errors
    /// See [`DataQueue::new`].
    pub fn data(rt: &Arc<Runtime>, queue: &Arc<Queue>, bytes: u64) -> IoResult<Arc<Source>> {
        Ok(Self::new(rt, queue, Kind::Data(DataQueue::new(bytes)?)))
    }

    /// Interrupt `index` of `provider`.
    ///
    /// # Errors
    /// `NO_INTERRUPT` if the provider has none of that index.
    pub fn interrupt(queue: &Arc<Queue>, provider: &Arc<Svc>, index: u32) -> IoResult<Arc<Source>> {
        if index >= provider.interrupt_count() {
            return Err(IoReturn::NO_INTERRUPT);
        }
        let kind = Kind::Interrupt { provider: Arc::downgrade(provider), index };
        let source = Self::new(provider.rt(), queue, kind);
        provider.add_interrupt(index, &source);
        Ok(source)
    }

    /// What it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Where its handlers run.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// The data queue, if it is one.
    pub fn data_queue(&self) -> Option<&DataQueue> {
        match &self.kind {
            Kind::Data(d) => Some(d),
            _ => None,
        }
    }

    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// Drops a handle of the C++ layer; the last one cancels the source.
    pub(crate) fn drop_handle(self: &Arc<Self>) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.cancel(None);
        }
    }

    fn set(self: &Arc<Self>, which: u32, handler: Option<Arc<Handler>>) -> IoResult<()> {
        let mut s = lock(&self.state);
        if s.cancelled {
            drop(s);
            return Err(IoReturn::OFFLINE);
        }
        let old = s.handler.get_mut(which as usize).and_then(|h| std::mem::replace(h, handler));
        if which == MAIN && self.data_queue().is_some_and(DataQueue::available) {
            s.event[0] = true;
        }
        drop(s);
        drop(old);
        self.kick(which);
        Ok(())
    }

    /// Sets what happens on an event. An event that waits is handled.
    ///
    /// # Errors
    /// `OFFLINE` after cancel; the handler is released.
    pub fn set_handler(self: &Arc<Self>, handler: Option<Arc<Handler>>) -> IoResult<()> {
        self.set(MAIN, handler)
    }

    /// Data queues: called when the reader made room after the writer had found none.
    ///
    /// # Errors
    /// `OFFLINE` after cancel, `UNSUPPORTED` for other kinds.
    pub fn set_space_handler(self: &Arc<Self>, handler: Option<Arc<Handler>>) -> IoResult<()> {
        if self.data_queue().is_none() {
            return Err(IoReturn::UNSUPPORTED);
        }
        self.set(SPACE, handler)
    }

    /// Puts a run of the handler on the queue if an event waits and nothing holds it back.
    fn kick(self: &Arc<Self>, which: u32) {
        let i = which as usize;
        let push = {
            let mut s = lock(&self.state);
            let push = s.event[i] && s.enabled && !s.cancelled && !s.queued[i] && s.handler[i].is_some();
            s.queued[i] |= push;
            push
        };
        if push && !self.queue.push(Item::Task(self.clone(), which)) {
            lock(&self.state).queued[i] = false;
        }
    }

    fn fire(self: &Arc<Self>, which: u32, count: u64, time_ns: u64) {
        {
            let mut s = lock(&self.state);
            if s.cancelled {
                return;
            }
            s.event[which as usize] = true;
            s.count = s.count.wrapping_add(count);
            if time_ns != 0 {
                s.time_ns = time_ns;
            }
        }
        self.kick(which);
    }

    /// Data available, or the doorbell rang.
    pub fn ring(self: &Arc<Self>) {
        self.fire(MAIN, 0, 0);
    }

    /// The reader made room.
    pub fn ring_space(self: &Arc<Self>) {
        self.fire(SPACE, 0, 0);
    }

    /// The device raised the interrupt.
    pub fn raise(self: &Arc<Self>) {
        let now = self.rt.now_ns();
        self.fire(MAIN, 1, now);
    }

    /// Interrupts so far and when the last one was.
    pub fn last_interrupt(&self) -> (u64, u64) {
        let s = lock(&self.state);
        (s.count, s.time_ns)
    }

    /// Arms the timer; an earlier deadline is void.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` for another kind, `OFFLINE` after cancel.
    pub fn wake_at(self: &Arc<Self>, deadline_ns: u64, leeway_ns: u64) -> IoResult<()> {
        if !matches!(self.kind, Kind::Timer) {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let generation = {
            let mut s = lock(&self.state);
            if s.cancelled {
                return Err(IoReturn::OFFLINE);
            }
            s.generation += 1;
            s.event[0] = false;
            s.generation
        };
        self.rt.sched.arm(deadline_ns, leeway_ns, self.clone(), generation);
        Ok(())
    }

    /// Lets handlers run or holds events back; `done` runs on the queue after handlers that were already there.
    pub fn set_enable(self: &Arc<Self>, enable: bool, done: Option<Work>) {
        lock(&self.state).enabled = enable;
        if enable {
            self.kick(MAIN);
            self.kick(SPACE);
        }
        if let Some(done) = done {
            self.queue.push(Item::Done(done));
        }
    }

    /// No handler starts after this; `done` runs on the queue when none runs any more.
    pub fn cancel(self: &Arc<Self>, done: Option<Work>) {
        let first = {
            let mut s = lock(&self.state);
            s.generation += 1;
            s.event = [false; 2];
            !std::mem::replace(&mut s.cancelled, true)
        };
        if let (true, Kind::Interrupt { provider, index }) = (first, &self.kind)
            && let Some(p) = provider.upgrade()
        {
            p.remove_interrupt(*index, self);
        }
        if first && self.has_handler() {
            // The handler is let go on the queue: it may run right now.
            let me = self.clone();
            self.queue.push(Item::Call(Box::new(move || me.release_handlers())));
        }
        if let Some(done) = done {
            self.queue.push(Item::Done(done));
        }
    }

    fn has_handler(&self) -> bool {
        lock(&self.state).handler.iter().any(Option::is_some)
    }

    fn release_handlers(&self) {
        let old = std::mem::take(&mut lock(&self.state).handler);
        drop(old);
    }

    /// True after [`Source::cancel`].
    pub fn cancelled(&self) -> bool {
        lock(&self.state).cancelled
    }
}

impl Task for Source {
    fn run(self: Arc<Self>, which: u32) {
        let i = which as usize;
        let (handler, count, time) = {
            let mut s = lock(&self.state);
            s.queued[i] = false;
            if s.cancelled || !s.enabled || !s.event[i] {
                return;
            }
            let Some(handler) = s.handler[i].clone() else { return };
            s.event[i] = false;
            (handler, s.count, s.time_ns)
        };
        match self.kind {
            Kind::Timer => handler.invoke(self.rt.now_ns(), 0),
            Kind::Interrupt { .. } => handler.invoke(count, time),
            Kind::Data(_) | Kind::Doorbell => handler.invoke(0, 0),
        }
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Timer => "timer",
            Kind::Interrupt { .. } => "interrupt",
            Kind::Data(_) => "data",
            Kind::Doorbell => "doorbell",
        }
    }
}

impl Expire for Source {
    fn expired(self: Arc<Self>, generation: u64, _now_ns: u64) {
        if lock(&self.state).generation == generation {
            self.fire(MAIN, 0, 0);
        }
    }
}
