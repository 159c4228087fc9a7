//! A serial dispatch queue.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::{Core, Item, Job, STACK, Work, lock, thread_token};
use crate::diag::{Site, violation};
use crate::ioreturn::{IoResult, IoReturn};
use crate::rt::Runtime;

/// Set when the item that somebody waits for has run (or was dropped).
pub struct SyncDone(AtomicBool);

struct Sleeper {
    event: usize,
    id: u64,
    woken: bool,
}

struct State {
    items: VecDeque<Item>,
    /// Thread that runs an item now; 0 = none.
    owner: u64,
    /// In a ready list, or about to be.
    scheduled: bool,
    suspended: u32,
    cancelled: bool,
    sleepers: Vec<Sleeper>,
    next_sleeper: u64,
    /// Threads blocked on `changed`.
    blocked: u32,
}

/// A serial dispatch queue: its items run one at a time, in order.
pub struct Queue {
    rt: Arc<Runtime>,
    id: u64,
    name: CString,
    /// Entry id of the service it was made for or by; 0 = none.
    owner: AtomicU64,
    object: AtomicPtr<c_void>,
    state: Mutex<State>,
    changed: Condvar,
}

/// Threads that wait for a queue, to find a circle of waiting threads.
static WAITS: Mutex<Vec<Wait>> = Mutex::new(Vec::new());

struct Wait {
    thread: u64,
    queue: *const Queue,
    done: Arc<SyncDone>,
}

// SAFETY: the pointer is followed under the WAITS lock only; the waiting thread holds an Arc to the queue and takes its
// entry out, under that lock, before it lets go.
unsafe impl Send for Wait {}

/// Marks a queue as running on this thread until dropped.
struct OnStack;

impl OnStack {
    fn push(queue: &Queue) -> Self {
        STACK.with(|s| s.borrow_mut().push(queue));
        OnStack
    }
}

impl Drop for OnStack {
    fn drop(&mut self) {
        STACK.with(|s| s.borrow_mut().pop());
    }
}

impl Queue {
    /// A new queue of `rt`.
    pub fn new(rt: &Arc<Runtime>, name: &CStr) -> Arc<Queue> {
        let id = rt.sched.next_queue.fetch_add(1, Ordering::Relaxed);
        let queue = Arc::new(Queue {
            rt: rt.clone(),
            id,
            name: name.to_owned(),
            owner: AtomicU64::new(Self::current_owner()),
            object: AtomicPtr::new(std::ptr::null_mut()),
            state: Mutex::new(State {
                items: VecDeque::new(),
                owner: 0,
                scheduled: false,
                suspended: 0,
                cancelled: false,
                sleepers: Vec::new(),
                next_sleeper: 0,
                blocked: 0,
            }),
            changed: Condvar::new(),
        });
        let mut all = lock(&rt.sched.queues);
        if all.len() == all.capacity() {
            all.retain(|w| w.strong_count() > 0);
        }
        all.push(Arc::downgrade(&queue));
        queue
    }

    /// The queue's name.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// Number of the queue, in the order of creation.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn set_owner(&self, service: u64) {
        self.owner.store(service, Ordering::Relaxed);
    }

    /// Entry id of the service this queue belongs to; 0 = none.
    pub(crate) fn owner(&self) -> u64 {
        self.owner.load(Ordering::Relaxed)
    }

    pub(crate) fn object(&self) -> &AtomicPtr<c_void> {
        &self.object
    }

    pub(crate) fn rt(&self) -> &Arc<Runtime> {
        &self.rt
    }

    /// Calls `f` with the queue the caller runs on.
    pub fn with_current<R>(f: impl FnOnce(Option<&Queue>) -> R) -> R {
        let top = STACK.with(|s| s.borrow().last().copied());
        match top {
            // SAFETY: whoever pushed it holds an Arc until it pops it, and that is below us on this very stack.
            Some(q) => f(Some(unsafe { &*q })),
            None => f(None),
        }
    }

    fn current_owner() -> u64 {
        Self::with_current(|q| q.map_or(0, Queue::owner))
    }

    /// True if the caller runs on this queue.
    pub fn on_queue(&self) -> bool {
        let me: *const Queue = self;
        STACK.with(|s| s.borrow().contains(&me))
    }

    /// Appends an item. False: dropped, the queue is cancelled.
    pub fn push(self: &Arc<Self>, item: Item) -> bool {
        let dropped = {
            let mut s = lock(&self.state);
            if s.cancelled && !item.survives_cancel() {
                Some(item)
            } else {
                s.items.push_back(item);
                None
            }
        };
        if dropped.is_some() {
            return false;
        }
        self.schedule();
        true
    }

    fn schedule(self: &Arc<Self>) {
        let ready = {
            let mut s = lock(&self.state);
            let ready = !s.scheduled && s.owner == 0 && s.suspended == 0 && !s.items.is_empty();
            s.scheduled |= ready;
            ready
        };
        if ready {
            self.rt.sched.ready(self.clone());
        }
    }

    /// Runs up to `budget` items, or until `until` is done. Returns whether anything ran and whether the caller has to
    /// put the queue into a ready list again. The caller took the queue out of a ready list iff `until` is none.
    pub(super) fn drain(self: &Arc<Self>, budget: usize, until: Option<&SyncDone>) -> (bool, bool) {
        let me = thread_token();
        let mut s = lock(&self.state);
        if until.is_none() {
            s.scheduled = false;
        }
        if s.owner != 0 || s.suspended > 0 || s.items.is_empty() {
            return (false, false);
        }
        s.owner = me;
        let mut ran = 0;
        while ran < budget && s.suspended == 0 && s.owner == me {
            if until.is_some_and(|u| u.0.load(Ordering::Acquire)) {
                break;
            }
            let Some(item) = s.items.pop_front() else { break };
            drop(s);
            ran += 1;
            self.execute(item);
            s = lock(&self.state);
        }
        s.owner = 0;
        if s.blocked > 0 {
            self.changed.notify_all();
        }
        let more = !s.items.is_empty() && s.suspended == 0 && !s.scheduled;
        if until.is_none() {
            s.scheduled |= more;
            return (ran > 0, more);
        }
        drop(s);
        self.schedule();
        (ran > 0, false)
    }

    fn execute(&self, item: Item) {
        self.rt.trace.event(self.rt.trace_now(), item.name(), self.id, 0);
        let _on = OnStack::push(self);
        match item {
            Item::Work(w) | Item::Done(w) => w.run(),
            Item::Call(f) => f(),
            Item::Task(t, what) => t.run(what),
            Item::Sync(job, done) => {
                match job {
                    Job::Work(w) => w.run(),
                    Job::Call(f) => f(),
                }
                self.finish(&done);
            }
        }
    }

    fn finish(&self, done: &SyncDone) {
        let s = lock(&self.state);
        done.0.store(true, Ordering::Release);
        if s.blocked > 0 {
            self.changed.notify_all();
        }
    }

    /// Runs `job` on the queue and waits for it. False: it did not run (deadlock, reported).
    pub fn sync(self: &Arc<Self>, job: Job, site: Site) -> bool {
        if self.on_queue() {
            self.deadlock("waits for a queue that it runs on itself", site);
            return false;
        }
        let done = Arc::new(SyncDone(AtomicBool::new(false)));
        lock(&self.state).items.push_back(Item::Sync(job, done.clone()));
        loop {
            self.drain(usize::MAX, Some(&done));
            if done.0.load(Ordering::Acquire) {
                return true;
            }
            if !self.wait_turn(&done, site) {
                return false;
            }
        }
    }

    fn deadlock(&self, what: &str, site: Site) {
        let held: Vec<String> = STACK.with(|s| {
            // SAFETY: entries of STACK are alive while they are on it (see with_current).
            s.borrow().iter().map(|q| format!("runs on {:?}", unsafe { &**q }.name)).collect()
        });
        violation("deadlock", format!("DispatchSync on queue {:?}: the caller {what}", self.name), site, held);
    }

    /// Waits until `done`, or until the queue is free to be drained by the caller.
    fn wait_turn(self: &Arc<Self>, done: &Arc<SyncDone>, site: Site) -> bool {
        match &self.rt.sched.core {
            Core::Sim(sim) => {
                if sim.step() {
                    return true;
                }
                match sim.next_timer() {
                    Some(t) => {
                        sim.jump(t);
                        true
                    }
                    None => {
                        self.deadlock("waits for an item that nothing will ever run", site);
                        self.forget(done);
                        false
                    }
                }
            }
            Core::Threads(pool) => {
                if !self.enter_wait(done) {
                    self.deadlock("is part of a circle of waiting queues", site);
                    self.forget(done);
                    return false;
                }
                pool.blocking(|| {
                    let mut s = lock(&self.state);
                    s.blocked += 1;
                    while !(done.0.load(Ordering::Acquire) || s.owner == 0 && s.suspended == 0) {
                        s = self.changed.wait(s).unwrap_or_else(std::sync::PoisonError::into_inner);
                    }
                    s.blocked -= 1;
                });
                let me = thread_token();
                lock(&WAITS).retain(|w| w.thread != me);
                true
            }
        }
    }

    /// Notes that this thread waits for this queue. False: the thread that runs it waits, directly or not, for us.
    fn enter_wait(&self, done: &Arc<SyncDone>) -> bool {
        let me = thread_token();
        let mut waits = lock(&WAITS);
        let mut queue: *const Queue = self;
        for _ in 0..=waits.len() {
            // SAFETY: `queue` is self or an entry of WAITS, whose thread keeps it alive until it removed the entry,
            // which takes the lock that we hold.
            let owner = lock(unsafe { &(*queue).state }).owner;
            if owner == me {
                return false;
            }
            // One whose item has run is no longer waiting, only not yet awake.
            match waits.iter().find(|w| w.thread == owner && !w.done.0.load(Ordering::Acquire)) {
                Some(next) => queue = next.queue,
                None => break,
            }
        }
        waits.push(Wait { thread: me, queue: self, done: done.clone() });
        true
    }

    /// Runs `f` on the queue and returns what it said; directly if the caller is on it. `None`: it did not run.
    pub fn call<R: Send + 'static>(self: &Arc<Self>, f: impl FnOnce() -> R + Send + 'static) -> Option<R> {
        if self.on_queue() {
            return Some(f());
        }
        let slot = Arc::new(Mutex::new(None));
        let to = slot.clone();
        self.sync(Job::Call(Box::new(move || *lock(&to) = Some(f()))), Site::NONE);
        lock(&slot).take()
    }

    /// Takes an item back that is waited for no longer.
    fn forget(&self, done: &SyncDone) {
        let mut s = lock(&self.state);
        let at = s.items.iter().position(|i| matches!(i, Item::Sync(_, d) if std::ptr::eq(&**d, done)));
        let item = at.and_then(|at| s.items.remove(at));
        drop(s);
        drop(item);
    }

    /// Stops the queue after the running item; `done` runs elsewhere once that is over.
    pub fn cancel(self: &Arc<Self>, done: Option<Work>) {
        let dropped: Vec<Item> = {
            let mut s = lock(&self.state);
            s.cancelled = true;
            s.suspended = 0;
            let (keep, gone) = std::mem::take(&mut s.items).into_iter().partition(Item::survives_cancel);
            s.items = keep;
            gone.into_iter().collect::<Vec<_>>()
        };
        drop(dropped);
        if let Some(done) = done {
            // The last item of the queue starts it, so that nothing of the queue runs beside it.
            let rt = self.rt.clone();
            let after = move || {
                let elsewhere = Queue::new(&rt, c"cancel handler");
                elsewhere.push(Item::Done(done));
            };
            self.push(Item::Call(Box::new(after)));
        }
        self.schedule();
    }

    /// True after [`Queue::cancel`].
    pub fn cancelled(&self) -> bool {
        lock(&self.state).cancelled
    }

    /// No item starts until as many [`Queue::resume`].
    pub fn suspend(&self) {
        lock(&self.state).suspended += 1;
    }

    /// Undoes one [`Queue::suspend`].
    pub fn resume(self: &Arc<Self>) {
        {
            let mut s = lock(&self.state);
            s.suspended = s.suspended.saturating_sub(1);
            if s.blocked > 0 {
                self.changed.notify_all();
            }
        }
        self.schedule();
    }

    /// `IODispatchQueue::Sleep`: lets other items run until [`Queue::wakeup`] with the same event, or the deadline.
    ///
    /// # Errors
    /// `NOT_READY` off the queue, `TIMEOUT`.
    pub fn sleep(self: &Arc<Self>, event: *mut c_void, deadline_ns: u64) -> IoResult<()> {
        let me = thread_token();
        let id = {
            let mut s = lock(&self.state);
            if s.owner != me {
                return Err(IoReturn::NOT_READY);
            }
            s.next_sleeper += 1;
            let id = s.next_sleeper;
            s.sleepers.push(Sleeper { event: event as usize, id, woken: false });
            s.owner = 0;
            id
        };
        // The queue runs on below us; it is not "up-stack" for its other items.
        let depth = STACK.with(|s| {
            let mut s = s.borrow_mut();
            let at = s.iter().rposition(|q| std::ptr::eq(*q, &raw const **self));
            at.map(|at| (at, s.remove(at)))
        });
        self.schedule();
        let woken = match &self.rt.sched.core {
            Core::Sim(sim) => loop {
                let (woken, free) = self.sleep_state(id);
                let late = deadline_ns != 0 && sim.now_ns() >= deadline_ns;
                if (woken || late) && free {
                    break woken;
                }
                if !sim.step() {
                    let next = sim.next_timer().unwrap_or(u64::MAX);
                    let next = if deadline_ns == 0 { next } else { next.min(deadline_ns) };
                    if next == u64::MAX {
                        self.deadlock("sleeps and nothing will ever wake it", Site::NONE);
                        break false;
                    }
                    sim.jump(next);
                }
            },
            Core::Threads(pool) => pool.blocking(|| {
                let mut s = lock(&self.state);
                s.blocked += 1;
                let woken = loop {
                    let woken = s.sleepers.iter().any(|x| x.id == id && x.woken);
                    let now = self.rt.sched.now_ns();
                    let late = deadline_ns != 0 && now >= deadline_ns;
                    if (woken || late) && s.owner == 0 {
                        break woken;
                    }
                    let wait = if deadline_ns == 0 || late { 3_600_000_000_000 } else { deadline_ns - now };
                    s = self
                        .changed
                        .wait_timeout(s, Duration::from_nanos(wait))
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .0;
                };
                s.blocked -= 1;
                s.owner = me;
                woken
            }),
        };
        {
            let mut s = lock(&self.state);
            s.owner = me;
            s.sleepers.retain(|x| x.id != id);
        }
        if let Some((at, q)) = depth {
            STACK.with(|s| {
                let mut s = s.borrow_mut();
                let at = at.min(s.len());
                s.insert(at, q);
            });
        }
        if woken { Ok(()) } else { Err(IoReturn::TIMEOUT) }
    }

    fn sleep_state(&self, id: u64) -> (bool, bool) {
        let s = lock(&self.state);
        (s.sleepers.iter().any(|x| x.id == id && x.woken), s.owner == 0)
    }

    /// Wakes every sleeper of `event`.
    pub fn wakeup(&self, event: *mut c_void) {
        let mut s = lock(&self.state);
        for x in s.sleepers.iter_mut().filter(|x| x.event == event as usize) {
            x.woken = true;
        }
        self.changed.notify_all();
    }

    /// Drops everything that waits: the host is gone.
    pub(super) fn discard(&self) {
        let (items, done): (VecDeque<Item>, Vec<_>) = {
            let mut s = lock(&self.state);
            s.cancelled = true;
            let items = std::mem::take(&mut s.items);
            let done = items
                .iter()
                .filter_map(|i| match i {
                    Item::Sync(_, d) => Some(d.clone()),
                    _ => None,
                })
                .collect();
            (items, done)
        };
        drop(items);
        for d in done {
            self.finish(&d);
        }
    }
}
