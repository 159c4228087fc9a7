//! The threads that move frames from the kernel to the driver.
//!
//! Queue n of every TAP that shares a pump is served by thread n. Two interfaces joined by a driver then answer each
//! other on one thread: a frame's way out, its delivery and the acknowledgement that comes back cost no wake-up.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Shared;
use super::device::{Queue, Read};
use super::schedule;
use crate::port::{Port, TxFrame};

/// Frames handed to the driver at once.
const BURST: usize = 32;
/// Bytes of a burst: three super-frames. They share the way to the driver and are still in a core's own cache when they
/// leave it.
const BURST_BYTES: usize = 180 * 1024;
/// Bytes that one queue may move before the next gets its turn.
const TURN_BYTES: usize = 480 * 1024;
/// What a short frame counts for in a turn: it costs as a long one does but for its bytes.
const FRAME_COST: usize = 1920;
/// How long a thread that found nothing goes on looking before it sleeps. Waking a sleeping core costs more than this,
/// and who sends little at a time waits for the answer.
const LINGER: Duration = Duration::from_micros(30);
/// A thread that usually finds more than this before it runs dry does not linger: who sends so much has the processor to
/// itself meanwhile, and there is more to fetch afterwards.
const BULK_BYTES: usize = 16 * 1024;
/// The slice of processor time to ask for (Linux 6.12). What a sender makes while this thread waits for its turn piles up
/// in the kernel, and beyond a core's own cache each copy of it takes twice as long: 0.1 ms is half a megabyte at
/// 40 Gb/s, the scheduler's usual 3 ms are not.
const SLICE: Duration = Duration::from_micros(100);
/// How long a lone reader waits for the driver before it looks whether it is to stop.
const WAIT_MS: u64 = 50;
/// The longest pause before a reader asks again for a packet that it did not get.
const PAUSE_MS: u16 = 20;

/// What became of a reader's turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Frames went on; there may be more.
    Moved,
    /// The kernel has nothing to send.
    Idle,
    /// The driver takes nothing now.
    Blocked,
    /// The interface is gone.
    Over,
}

/// One queue from the kernel to the driver.
pub(super) struct Reader {
    shared: Arc<Shared>,
    port: Arc<dyn Port>,
    queue: usize,
    tx_queue: usize,
    spare: Option<Box<dyn TxFrame>>,
    burst: Vec<Box<dyn TxFrame>>,
    burst_bytes: usize,
    last: Turn,
    /// Bytes that the last turn took from the kernel.
    moved: usize,
    /// Turns in a row that the driver took nothing.
    misses: u16,
}

impl Reader {
    pub fn new(shared: Arc<Shared>, port: Arc<dyn Port>, queue: usize, tx_queue: usize) -> Self {
        Self {
            shared,
            port,
            queue,
            tx_queue,
            spare: None,
            burst: Vec::with_capacity(BURST),
            burst_bytes: 0,
            last: Turn::Moved,
            moved: 0,
            misses: 0,
        }
    }

    fn device(&self) -> Option<&Queue> {
        self.shared.queues.get(self.queue)
    }

    fn turn(&mut self) {
        self.moved = 0;
        self.last = self.advance();
        self.misses = if self.last == Turn::Blocked { self.misses.saturating_add(1) } else { 0 };
        if self.last != Turn::Moved {
            // The packet goes back to the pool: an idle queue must not keep one from a busy queue.
            self.spare = None;
        }
    }

    fn advance(&mut self) -> Turn {
        let shared = Arc::clone(&self.shared);
        let Some(queue) = shared.queues.get(self.queue) else { return Turn::Over };
        if shared.stopping() {
            return Turn::Idle;
        }
        if !self.submit() {
            return Turn::Blocked;
        }
        let mut cost = 0;
        while cost < TURN_BYTES {
            let Some(mut frame) = self.spare.take().or_else(|| self.port.tx_alloc()) else {
                // Nothing to fill: let what is gathered go, it comes back as free packets.
                let waited = self.burst.is_empty();
                return if self.submit() && !waited { Turn::Moved } else { Turn::Blocked };
            };
            match queue.read(frame.buffer()) {
                Ok(Read::Frame(len, offload)) => {
                    frame.finish(len, offload);
                    self.count(len);
                    self.burst.push(frame);
                    self.burst_bytes += len;
                    self.moved += len;
                    cost += len.max(FRAME_COST);
                    if (self.burst.len() >= BURST || self.burst_bytes >= BURST_BYTES) && !self.submit() {
                        return Turn::Blocked;
                    }
                }
                Ok(Read::TooLong) => {
                    shared.counters.send_dropped.fetch_add(1, Ordering::Relaxed);
                    self.spare = Some(frame);
                    cost += TURN_BYTES / 8;
                }
                Ok(Read::Empty) => {
                    self.spare = Some(frame);
                    return match self.submit() {
                        false => Turn::Blocked,
                        true if cost > 0 => Turn::Moved,
                        true => Turn::Idle,
                    };
                }
                Err(e) => {
                    shared.lost(&e);
                    return Turn::Over;
                }
            }
        }
        if self.submit() { Turn::Moved } else { Turn::Blocked }
    }

    fn count(&self, len: usize) {
        self.shared.counters.sent.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.sent_bytes.fetch_add(len as u64, Ordering::Relaxed);
    }

    /// Hands the burst over; false while part of it is still here.
    fn submit(&mut self) -> bool {
        if !self.burst.is_empty() {
            self.port.tx_submit(self.tx_queue, &mut self.burst);
        }
        self.burst_bytes = 0;
        self.burst.is_empty()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let left = self.burst.len() as u64;
        self.shared.counters.sent.fetch_sub(left, Ordering::Relaxed);
        self.shared.counters.send_dropped.fetch_add(left, Ordering::Relaxed);
    }
}

/// What a thread and those who join and leave share.
struct Lane {
    state: Mutex<State>,
    changed: Condvar,
    /// Somebody joins or leaves.
    nudge: EventFd,
}

#[derive(Default)]
struct State {
    joining: Vec<Reader>,
    /// Attachments whose readers are to go.
    leaving: Vec<Weak<Shared>>,
    /// The thread ended or is about to: it looks at nothing more.
    over: bool,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // The counter is far from its end, so that a write neither blocks nor fails.
        let _ = self.nudge.write(1);
    }

    fn run(&self) {
        schedule::ask_for_slices(SLICE);
        let mut readers: Vec<Reader> = Vec::new();
        let mut empty_since: Option<Instant> = None;
        let (mut run_bytes, mut usual_bytes) = (0, 0);
        while self.follow(&mut readers) {
            let mut moved = false;
            for reader in readers.iter_mut().filter(|reader| reader.last != Turn::Over) {
                reader.turn();
                moved |= reader.last == Turn::Moved;
                run_bytes += reader.moved;
            }
            if moved {
                empty_since = None;
                continue;
            }
            if run_bytes > 0 {
                // Over about eight runs.
                usual_bytes = usual_bytes - usual_bytes / 8 + run_bytes.min(TURN_BYTES) / 8;
                run_bytes = 0;
            }
            if usual_bytes < BULK_BYTES
                && readers.iter().any(|reader| reader.last == Turn::Idle)
                && empty_since.get_or_insert_with(Instant::now).elapsed() < LINGER
            {
                std::thread::yield_now();
            } else {
                empty_since = None;
                self.sleep(&mut readers);
            }
        }
    }

    /// Takes in who joins and lets go who leaves; false when nobody is left.
    fn follow(&self, readers: &mut Vec<Reader>) -> bool {
        let mut state = self.lock();
        readers.append(&mut state.joining);
        if !state.leaving.is_empty() {
            let leaving = std::mem::take(&mut state.leaving);
            readers.retain(|reader| !leaving.iter().any(|who| std::ptr::eq(who.as_ptr(), &*reader.shared)));
            self.changed.notify_all();
        }
        state.over = readers.is_empty();
        !state.over
    }

    /// Waits for frames, for room, or for somebody who joins or leaves.
    fn sleep(&self, readers: &mut [Reader]) {
        if let [reader] = readers
            && reader.last == Turn::Blocked
            && reader.misses <= 1
        {
            // The driver's own word that there is room again.
            reader.port.tx_wait(reader.tx_queue, WAIT_MS);
            return;
        }
        let pause = readers.iter().filter(|reader| reader.last == Turn::Blocked).map(|reader| reader.misses).min();
        let timeout = pause.map_or(PollTimeout::NONE, |misses| PollTimeout::from(misses.clamp(1, PAUSE_MS)));
        let mut fds = vec![PollFd::new(self.nudge.as_fd(), PollFlags::POLLIN)];
        for reader in readers.iter().filter(|reader| reader.last == Turn::Idle) {
            fds.extend(reader.device().map(|queue| PollFd::new(queue.as_fd(), PollFlags::POLLIN)));
        }
        // An error of poll (EINTR) only means to look again.
        let _ = poll(&mut fds, timeout);
        let _ = self.nudge.read();
    }
}

struct Running {
    lane: Arc<Lane>,
    thread: JoinHandle<()>,
}

/// Threads that several TAPs may share; clones are the same pump.
#[derive(Clone, Default)]
pub struct Pump {
    /// By queue.
    lanes: Arc<Mutex<Vec<Option<Running>>>>,
}

impl Pump {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<Running>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a queue until [`Pump::leave`].
    pub(super) fn join(&self, reader: Reader) -> io::Result<()> {
        let mut lanes = self.lock();
        let queue = reader.queue;
        if lanes.len() <= queue {
            lanes.resize_with(queue + 1, || None);
        }
        let Some(slot) = lanes.get_mut(queue) else { return Ok(()) };
        if let Some(Running { lane, .. }) = slot {
            let mut state = lane.lock();
            if !state.over {
                state.joining.push(reader);
                lane.wake();
                return Ok(());
            }
        }
        let lane = Arc::new(Lane {
            state: Mutex::new(State { joining: vec![reader], ..State::default() }),
            changed: Condvar::new(),
            nudge: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
        });
        let run = Arc::clone(&lane);
        let thread = std::thread::Builder::new().name(format!("tap-q{queue}")).spawn(move || run.run())?;
        *slot = Some(Running { lane, thread });
        Ok(())
    }

    /// After this returns no queue of the attachment is served. Not from a pump's own thread.
    pub(super) fn leave(&self, shared: &Arc<Shared>) {
        let mut lanes = self.lock();
        for slot in lanes.iter_mut() {
            let Some(Running { lane, .. }) = slot else { continue };
            let mut state = lane.lock();
            let who = Arc::downgrade(shared);
            let here = |state: &State| state.leaving.iter().any(|other| other.ptr_eq(&who));
            state.leaving.push(who.clone());
            lane.wake();
            while !state.over && here(&state) {
                state = lane.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let over = state.over;
            drop(state);
            if over && let Some(ended) = slot.take() {
                let _ = ended.thread.join();
            }
        }
    }
}
