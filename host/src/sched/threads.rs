//! Threads mode: a pool of workers, local ready lists, one timer thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::libc;

use super::timers::{Expire, Timers};
use super::{Queue, lock};

/// Items that a queue may run before others get their turn.
const BATCH: usize = 64;
/// Queue turns that a guest ([`Pool::enter`]) takes before it hands the rest to the pool.
const GUEST_TURNS: usize = 128;
/// Every so many local turns a worker looks at the common list first.
const FAIR: u32 = 16;
/// A queue waits on a local list no longer than about two of these.
const RESCUE_TICK: Duration = Duration::from_millis(2);
/// Ticks without anything to rescue after which the timer thread goes back to sleep.
const RESCUE_IDLE_TICKS: u32 = 32;
/// More workers than this are never started, however many are blocked.
const WORKERS_LIMIT: usize = 256;

/// `CLOCK_MONOTONIC` in ns.
pub(super) fn monotonic_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid out structure and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    (t.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(t.tv_nsec as u64)
}

/// 64 bits from the kernel.
pub(super) fn random() -> u64 {
    let mut out = [0u8; 8];
    // SAFETY: `out` is 8 writable bytes; getrandom with no flags fills them once the system is up.
    unsafe { libc::getrandom(out.as_mut_ptr().cast(), out.len(), 0) };
    u64::from_ne_bytes(out)
}

/// Queues that one worker made ready and means to run itself.
struct Local {
    list: Mutex<VecDeque<Arc<Queue>>>,
    /// The list's oldest entry was there at the last tick.
    seen: AtomicBool,
}

struct Common {
    ready: VecDeque<Arc<Queue>>,
    idle: usize,
    workers: usize,
    blocked: usize,
    stop: bool,
}

struct Clock {
    timers: Timers,
    stop: bool,
}

pub(super) struct Pool {
    common: Mutex<Common>,
    wake: Condvar,
    locals: Mutex<Vec<Weak<Local>>>,
    clock: Mutex<Clock>,
    tick: Condvar,
    /// The timer thread watches the local lists.
    watching: AtomicBool,
    target: usize,
    id: u64,
    me: Weak<Pool>,
}

static NEXT_POOL: AtomicU64 = AtomicU64::new(1);

/// What a worker thread knows of itself.
struct Worker {
    pool: u64,
    local: Arc<Local>,
    /// Inside a worker's loop or inside `enter`.
    active: bool,
}

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

impl Pool {
    pub fn start() -> Arc<Pool> {
        let cpus = std::thread::available_parallelism().map_or(2, usize::from);
        let pool = Arc::new_cyclic(|me| Pool {
            common: Mutex::new(Common { ready: VecDeque::new(), idle: 0, workers: 0, blocked: 0, stop: false }),
            wake: Condvar::new(),
            locals: Mutex::new(Vec::new()),
            clock: Mutex::new(Clock { timers: Timers::default(), stop: false }),
            tick: Condvar::new(),
            watching: AtomicBool::new(false),
            target: (cpus * 2).max(4),
            id: NEXT_POOL.fetch_add(1, Ordering::Relaxed),
            me: me.clone(),
        });
        lock(&pool.common).workers = 1;
        pool.spawn("dk-timer", Pool::run_clock);
        pool
    }

    fn spawn(&self, name: &str, body: fn(&Pool)) {
        let Some(pool) = self.me.upgrade() else { return };
        let run = move || {
            body(&pool);
            lock(&pool.common).workers -= 1;
            pool.wake.notify_all();
        };
        if let Err(e) = std::thread::Builder::new().name(name.to_owned()).spawn(run) {
            eprintln!("dkhost: cannot start a thread: {e}");
            lock(&self.common).workers -= 1;
        }
    }

    /// The calling thread's local list, if it is a worker of this pool right now.
    fn with_local<R>(&self, f: impl FnOnce(&Arc<Local>) -> R) -> Option<R> {
        WORKER.with(|w| match &*w.borrow() {
            Some(w) if w.active && w.pool == self.id => Some(f(&w.local)),
            _ => None,
        })
    }

    /// Makes the calling thread a worker; false if it is one already.
    fn activate(&self) -> bool {
        WORKER.with(|w| {
            let mut w = w.borrow_mut();
            match &mut *w {
                Some(x) if x.pool == self.id => !std::mem::replace(&mut x.active, true),
                other => {
                    let local = Arc::new(Local { list: Mutex::new(VecDeque::new()), seen: AtomicBool::new(false) });
                    let mut locals = lock(&self.locals);
                    locals.retain(|l| l.strong_count() > 0);
                    locals.push(Arc::downgrade(&local));
                    *other = Some(Worker { pool: self.id, local, active: true });
                    true
                }
            }
        })
    }

    fn deactivate(&self) {
        WORKER.with(|w| {
            if let Some(w) = &mut *w.borrow_mut() {
                w.active = false;
            }
        });
    }

    fn pop_local(&self) -> Option<Arc<Queue>> {
        self.with_local(|l| {
            let q = lock(&l.list).pop_front();
            l.seen.store(false, Ordering::Relaxed);
            q
        })
        .flatten()
    }

    pub fn ready(&self, queue: Arc<Queue>) {
        let mut queue = Some(queue);
        let local = self.with_local(|l| lock(&l.list).extend(queue.take()));
        if local.is_some() {
            if !self.watching.swap(true, Ordering::AcqRel) {
                let _clock = lock(&self.clock);
                self.tick.notify_one();
            }
            return;
        }
        self.inject(queue.into_iter());
    }

    fn inject(&self, queues: impl Iterator<Item = Arc<Queue>>) {
        let mut c = lock(&self.common);
        if c.stop {
            return;
        }
        c.ready.extend(queues);
        let waiting = c.ready.len();
        let idle = c.idle;
        for _ in 0..waiting.min(idle) {
            self.wake.notify_one();
        }
        self.grow(&mut c);
    }

    /// Starts a worker if there is work that nobody is free for. One at a time; each that starts looks again.
    fn grow(&self, c: &mut Common) {
        let running = c.workers - 1 - c.blocked.min(c.workers - 1);
        if !c.stop && c.ready.len() > c.idle && running < self.target && c.workers < WORKERS_LIMIT {
            c.workers += 1;
            self.spawn("dk-worker", Pool::run_worker);
        }
    }

    /// Hands the calling worker's list to the pool.
    fn give_up_local(&self) {
        let list = self.with_local(|l| std::mem::take(&mut *lock(&l.list))).unwrap_or_default();
        if !list.is_empty() {
            self.inject(list.into_iter());
        }
    }

    /// Runs `f`, which may block; the caller's ready queues and its place in the pool go to others meanwhile.
    pub fn blocking<R>(&self, f: impl FnOnce() -> R) -> R {
        let worker = self.with_local(|_| ()).is_some();
        if !worker {
            return f();
        }
        self.give_up_local();
        {
            let mut c = lock(&self.common);
            c.blocked += 1;
            self.grow(&mut c);
        }
        let out = f();
        lock(&self.common).blocked -= 1;
        out
    }

    fn turn(&self, queue: Arc<Queue>) {
        let (_, more) = queue.drain(BATCH, None);
        if more {
            self.ready(queue);
        }
    }

    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        if !self.activate() {
            return f();
        }
        let out = f();
        for _ in 0..GUEST_TURNS {
            match self.pop_local() {
                Some(q) => self.turn(q),
                None => break,
            }
        }
        self.give_up_local();
        self.deactivate();
        out
    }

    fn run_worker(&self) {
        self.activate();
        let mut turns = 0u32;
        loop {
            turns = turns.wrapping_add(1);
            let local = if turns.is_multiple_of(FAIR) { None } else { self.pop_local() };
            let queue = match local {
                Some(q) => q,
                None => match self.next_common() {
                    Some(q) => q,
                    None => break,
                },
            };
            self.turn(queue);
        }
        self.give_up_local();
        self.deactivate();
    }

    /// The next queue of the common list; the local one if that is empty; waits. `None`: the pool ends.
    fn next_common(&self) -> Option<Arc<Queue>> {
        let mut c = lock(&self.common);
        loop {
            if c.stop {
                return None;
            }
            if let Some(q) = c.ready.pop_front() {
                self.grow(&mut c);
                return Some(q);
            }
            if let Some(q) = self.pop_local() {
                return Some(q);
            }
            c.idle += 1;
            c = self.wake.wait(c).unwrap_or_else(PoisonError::into_inner);
            c.idle -= 1;
        }
    }

    pub fn arm(&self, deadline: u64, target: Arc<dyn Expire>, generation: u64) {
        let mut c = lock(&self.clock);
        if c.stop {
            return;
        }
        let first = c.timers.next().is_none_or(|t| deadline < t);
        c.timers.arm(deadline, target, generation);
        if first {
            self.tick.notify_one();
        }
    }

    fn run_clock(&self) {
        let mut quiet = 0;
        let mut last_tick = Instant::now();
        loop {
            let due = {
                let mut c = lock(&self.clock);
                if c.stop {
                    return;
                }
                let now = monotonic_ns();
                let due = c.timers.due(now);
                if due.is_none() {
                    let watching = self.watching.load(Ordering::Acquire);
                    let next = c.timers.next().map(|t| Duration::from_nanos(t.saturating_sub(now)));
                    let wait = match (next, watching) {
                        (Some(n), true) => Some(n.min(RESCUE_TICK)),
                        (None, true) => Some(RESCUE_TICK),
                        (n, false) => n,
                    };
                    match wait {
                        Some(w) => drop(self.tick.wait_timeout(c, w).unwrap_or_else(PoisonError::into_inner)),
                        None => drop(self.tick.wait(c).unwrap_or_else(PoisonError::into_inner)),
                    }
                }
                due.map(|d| (d, now))
            };
            if let Some(((target, generation), now)) = due {
                target.expired(generation, now);
            }
            if self.watching.load(Ordering::Acquire) && last_tick.elapsed() >= RESCUE_TICK {
                last_tick = Instant::now();
                quiet = if self.rescue() { 0 } else { quiet + 1 };
                if quiet >= RESCUE_IDLE_TICKS {
                    quiet = 0;
                    self.watching.store(false, Ordering::SeqCst);
                    // A list that filled up before the store was seen is looked at once more.
                    if self.any_local() {
                        self.watching.store(true, Ordering::SeqCst);
                    }
                }
            }
        }
    }

    fn any_local(&self) -> bool {
        lock(&self.locals).iter().filter_map(Weak::upgrade).any(|l| !lock(&l.list).is_empty())
    }

    /// Moves lists that nobody got to since the last tick to the pool. True if any list has entries.
    fn rescue(&self) -> bool {
        let locals: Vec<Arc<Local>> = lock(&self.locals).iter().filter_map(Weak::upgrade).collect();
        let mut any = false;
        for l in locals {
            let mut list = lock(&l.list);
            if list.is_empty() {
                continue;
            }
            any = true;
            if l.seen.swap(true, Ordering::Relaxed) {
                l.seen.store(false, Ordering::Relaxed);
                let moved = std::mem::take(&mut *list);
                drop(list);
                self.inject(moved.into_iter());
            }
        }
        any
    }

    /// Ends all threads and drops what waits. Waits a bounded time: a worker may hang in the dext.
    pub fn shutdown(&self) {
        {
            let mut c = lock(&self.clock);
            c.stop = true;
            self.tick.notify_all();
            // Dropped without the lock: a timer's last reference may call back.
            let timers = std::mem::take(&mut c.timers);
            drop(c);
            drop(timers);
        }
        let ready = {
            let mut c = lock(&self.common);
            c.stop = true;
            self.wake.notify_all();
            std::mem::take(&mut c.ready)
        };
        drop(ready);
        let mut c = lock(&self.common);
        let until = Instant::now() + Duration::from_secs(5);
        while c.workers > 0 {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                eprintln!("dkhost: {} threads are still inside the dext at the end", c.workers);
                break;
            };
            c = self.wake.wait_timeout(c, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(c);
        for l in lock(&self.locals).iter().filter_map(Weak::upgrade) {
            let list = std::mem::take(&mut *lock(&l.list));
            drop(list);
        }
    }
}
