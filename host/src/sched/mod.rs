//! Dispatch queues, timers and the two ways to run them.
//!
//! *Threads*: a serial queue is drained by whichever thread has it. A thread that is a runtime worker (a pool thread, or
//! any thread inside [`Sched::enter`]) keeps the queues that its own work made ready on a local list and drains them
//! when it comes back to its loop, so that a frame's whole way runs on one thread. A worker that is about to block
//! hands that list to the pool, and a list that nobody gets to for some milliseconds is handed over by the timer thread.
//!
//! *Simulated*: one thread; a seeded generator picks the next queue among the ready ones, one item at a time; time
//! jumps from timer to timer.

pub mod queue;
mod sim;
mod threads;
mod timers;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use queue::Queue;
pub use timers::Expire;

/// A function with its context, as the C++ layer hands it over. Runs or is dropped exactly once.
pub struct Work {
    f: extern "C" fn(*mut c_void, bool),
    ctx: *mut c_void,
}

// SAFETY: the contract of dk_work (dk_runtime.h) is that it may be called from any thread; the C++ layer upholds it.
unsafe impl Send for Work {}

impl Work {
    /// Takes over `ctx`.
    pub fn new(f: extern "C" fn(*mut c_void, bool), ctx: *mut c_void) -> Self {
        Work { f, ctx }
    }

    fn run(self) {
        let (f, ctx) = (self.f, self.ctx);
        std::mem::forget(self);
        f(ctx, true);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        (self.f)(self.ctx, false);
    }
}

/// Something that runs on queues again and again without an allocation: sources, packet queues, pollers.
pub trait Task: Send + Sync {
    /// One run; `what` is what was pushed.
    fn run(self: Arc<Self>, what: u32);
    /// For the trace.
    fn name(&self) -> &'static str;
}

/// What somebody waits for.
pub enum Job {
    /// Work of the dext.
    Work(Work),
    /// Work of the engine.
    Call(Box<dyn FnOnce() + Send>),
}

/// One entry of a queue.
pub enum Item {
    /// Work of the dext.
    Work(Work),
    /// The end of a cancellation: runs even on a cancelled queue.
    Done(Work),
    /// Work of the engine; never dropped by a cancelled queue.
    Call(Box<dyn FnOnce() + Send>),
    /// A task's turn; dropped by a cancelled queue.
    Task(Arc<dyn Task>, u32),
    /// Somebody waits for this one.
    Sync(Job, Arc<queue::SyncDone>),
}

impl Item {
    fn name(&self) -> &'static str {
        match self {
            Item::Work(_) => "async",
            Item::Done(_) => "done",
            Item::Call(_) => "call",
            Item::Task(t, _) => t.name(),
            Item::Sync(..) => "sync",
        }
    }

    fn survives_cancel(&self) -> bool {
        matches!(self, Item::Done(_) | Item::Call(_) | Item::Sync(..))
    }
}

/// How a host runs its queues.
pub struct Sched {
    core: Core,
    next_queue: AtomicU64,
    queues: Mutex<Vec<std::sync::Weak<Queue>>>,
}

enum Core {
    Threads(Arc<threads::Pool>),
    Sim(sim::Sim),
}

static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static TOKEN: Cell<u64> = const { Cell::new(0) };
    /// Queues this thread runs, outermost first. Whoever pushes a queue holds an Arc to it until it is popped.
    static STACK: RefCell<Vec<*const Queue>> = const { RefCell::new(Vec::new()) };
}

/// A number for the calling thread, never 0.
pub(crate) fn thread_token() -> u64 {
    TOKEN.with(|t| {
        if t.get() == 0 {
            t.set(NEXT_THREAD.fetch_add(1, Ordering::Relaxed));
        }
        t.get()
    })
}

pub(crate) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sched {
    pub(crate) fn threads() -> Self {
        Self::with(Core::Threads(threads::Pool::start()))
    }

    pub(crate) fn simulated(seed: u64) -> Self {
        Self::with(Core::Sim(sim::Sim::new(seed)))
    }

    fn with(core: Core) -> Self {
        Sched { core, next_queue: AtomicU64::new(1), queues: Mutex::new(Vec::new()) }
    }

    /// True in simulated mode.
    pub fn is_simulated(&self) -> bool {
        matches!(self.core, Core::Sim(_))
    }

    /// The runtime's clock in ns.
    pub fn now_ns(&self) -> u64 {
        match &self.core {
            Core::Threads(_) => threads::monotonic_ns(),
            Core::Sim(s) => s.now_ns(),
        }
    }

    /// A number from the run's generator (simulated) or the system's (threads).
    pub fn random(&self) -> u64 {
        match &self.core {
            Core::Threads(_) => threads::random(),
            Core::Sim(s) => s.random(),
        }
    }

    /// `target.expired(generation)` at `deadline_ns` or up to `leeway_ns` later.
    pub fn arm(&self, deadline_ns: u64, leeway_ns: u64, target: Arc<dyn Expire>, generation: u64) {
        match &self.core {
            Core::Threads(p) => p.arm(deadline_ns, target, generation),
            Core::Sim(s) => s.arm(deadline_ns, leeway_ns, target, generation),
        }
    }

    /// Runs `f` as a runtime worker: queues that become ready in it are drained here before this returns, within
    /// bounds. In simulated mode they wait for the simulation's loop.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.core {
            Core::Threads(p) => p.enter(f),
            Core::Sim(_) => f(),
        }
    }

    /// The queues that belong to a service.
    pub(crate) fn queues_of(&self, owner: u64) -> Vec<Arc<Queue>> {
        lock(&self.queues).iter().filter_map(std::sync::Weak::upgrade).filter(|q| q.owner() == owner).collect()
    }

    fn ready(&self, queue: Arc<Queue>) {
        match &self.core {
            Core::Threads(p) => p.ready(queue),
            Core::Sim(s) => s.ready(queue),
        }
    }

    /// Threads mode: runs `f`, which may block; a worker's ready queues and its place in the pool go to others.
    pub(crate) fn blocking<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.core {
            Core::Threads(p) => p.blocking(f),
            Core::Sim(_) => f(),
        }
    }

    /// Blocks the caller for `ns`; other work goes on.
    pub fn sleep(&self, ns: u64) {
        match &self.core {
            Core::Threads(p) => p.blocking(|| std::thread::sleep(std::time::Duration::from_nanos(ns))),
            Core::Sim(s) => {
                let until = s.now_ns().saturating_add(ns);
                while s.now_ns() < until {
                    if !s.step() {
                        s.jump(until);
                    }
                }
            }
        }
    }

    /// Simulated: runs what is ready now and what timers are due; returns whether anything ran.
    pub fn run_until_idle(&self) -> bool {
        let Core::Sim(s) = &self.core else { return false };
        let mut any = false;
        while s.step() {
            any = true;
        }
        any
    }

    /// Simulated: when the next timer is due.
    pub fn next_timer(&self) -> Option<u64> {
        match &self.core {
            Core::Sim(s) => s.next_timer(),
            Core::Threads(_) => None,
        }
    }

    /// Simulated: moves the clock to `ns` (never back), at most to the next timer.
    pub fn jump(&self, ns: u64) {
        if let Core::Sim(s) = &self.core {
            s.jump(ns);
        }
    }

    /// No more work: pool threads end, waiting items are dropped.
    pub(crate) fn shutdown(&self) {
        match &self.core {
            Core::Threads(p) => p.shutdown(),
            Core::Sim(s) => s.clear(),
        }
        let queues = std::mem::take(&mut *lock(&self.queues));
        for q in queues.iter().filter_map(std::sync::Weak::upgrade) {
            q.discard();
        }
    }
}
