//! A capture file as the stack: its frames are sent, what the driver delivers is recorded.
#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::spec::PcapSpec;
use super::vnet::complete_checksum;
use crate::capture::{Direction, Player, Recorder};
use crate::port::{Mode, Offload, Port, RxFrame, Sink, Stack, StackCounters, TxFrame};

/// Frames handed to the driver at once.
const BURST: usize = 32;
/// When to try again after the driver had no room.
const RETRY_NS: u64 = 100_000;
const WAIT_MS: u64 = 50;

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    send_dropped: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    receive_dropped: AtomicU64,
    finished: AtomicBool,
    stopping: Mutex<bool>,
    stop: Condvar,
}

impl Shared {
    /// Sleeps; true when it is time to stop.
    fn sleep(&self, ns: u64) -> bool {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = Duration::from_nanos(ns);
        *self.stop.wait_timeout_while(stopping, wait, |stop| !*stop).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The attachment `pcap:FILE`.
pub struct Pcap {
    spec: PcapSpec,
    mode: Mode,
    shared: Arc<Shared>,
    port: Option<Arc<dyn Port>>,
    sender: Option<Sender>,
    recorder: Option<Arc<Recorder>>,
    thread: Option<JoinHandle<()>>,
}

impl Pcap {
    /// Files are opened by [`Stack::attach`].
    pub fn new(spec: PcapSpec, mode: Mode) -> Self {
        let shared = Arc::new(Shared::default());
        Self { spec, mode, shared, port: None, sender: None, recorder: None, thread: None }
    }
}

impl Stack for Pcap {
    fn attach(&mut self, port: Arc<dyn Port>) -> io::Result<()> {
        self.detach();
        self.shared = Arc::new(Shared::default());
        let player = self.spec.input.as_deref().map(|path| Player::open(path, self.spec.fast)).transpose()?;
        let info = port.info();
        if let Some(path) = &self.spec.output {
            let recorder = Arc::new(Recorder::create(path, &info.bsd_name)?);
            let epoch = match (&player, self.mode) {
                (_, Mode::Threads) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64),
                (Some(player), Mode::Simulated) => player.first_ns(),
                (None, Mode::Simulated) => 0,
            };
            let (start_ns, shared) = (port.now_ns(), Arc::clone(&self.shared));
            self.recorder = Some(Arc::clone(&recorder));
            let clock = Arc::clone(&port);
            let sink = PcapSink { recorder, epoch, start_ns, clock: Box::new(move || clock.now_ns()), shared };
            port.set_sink(Some(Arc::new(sink)));
        } else {
            port.set_sink(Some(Arc::new(CountSink(Arc::clone(&self.shared)))));
        }
        self.port = Some(Arc::clone(&port));
        let Some(player) = player else {
            self.shared.finished.store(true, Ordering::Release);
            return Ok(());
        };
        let sender = Sender { port, player, shared: Arc::clone(&self.shared), start_ns: None, burst: Vec::new() };
        match self.mode {
            Mode::Simulated => self.sender = Some(sender),
            Mode::Threads => {
                let thread = std::thread::Builder::new().name("pcap-stack".into());
                match thread.spawn(move || sender.run()) {
                    Ok(thread) => self.thread = Some(thread),
                    Err(e) => {
                        self.detach();
                        return Err(e);
                    }
                }
            }
        }
        Ok(())
    }

    fn poll(&mut self, now_ns: u64) -> Option<u64> {
        self.sender.as_mut().and_then(|sender| sender.step(now_ns))
    }

    fn finished(&self) -> bool {
        self.shared.finished.load(Ordering::Acquire)
    }

    fn link_changed(&mut self, _up: bool) {}

    fn counters(&self) -> StackCounters {
        let s = &*self.shared;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StackCounters {
            sent: read(&s.sent),
            sent_bytes: read(&s.sent_bytes),
            received: read(&s.received),
            received_bytes: read(&s.received_bytes),
            send_dropped: read(&s.send_dropped),
            receive_dropped: read(&s.receive_dropped),
        }
    }

    fn detach(&mut self) {
        *self.shared.stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.stop.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.sender = None;
        if let Some(port) = self.port.take() {
            port.set_sink(None);
        }
        if let Some(recorder) = self.recorder.take() {
            recorder.flush();
        }
    }
}

impl Drop for Pcap {
    fn drop(&mut self) {
        self.detach();
    }
}

struct Sender {
    port: Arc<dyn Port>,
    player: Player,
    shared: Arc<Shared>,
    /// The port's time at which the first frame was due: when the interface was first seen running.
    start_ns: Option<u64>,
    burst: Vec<Box<dyn TxFrame>>,
}

impl Sender {
    fn run(mut self) {
        loop {
            let now = self.port.now_ns();
            let Some(next) = self.step(now) else { return };
            if next <= now + RETRY_NS && !self.port.tx_wait(0, WAIT_MS) {
                return self.end();
            }
            if self.shared.sleep(next.saturating_sub(self.port.now_ns())) {
                return;
            }
        }
    }

    /// Sends what is due. Returns when to come again; `None` at the end.
    fn step(&mut self, now_ns: u64) -> Option<u64> {
        if self.start_ns.is_none() && !self.port.running() {
            return Some(now_ns + RETRY_NS);
        }
        let start = *self.start_ns.get_or_insert(now_ns);
        loop {
            let due = self.player.due_ns().map(|due| start.saturating_add(due));
            let more = due.is_some_and(|due| due <= now_ns);
            if !self.burst.is_empty() && (!more || self.burst.len() >= BURST) && !self.submit() {
                return Some(now_ns + RETRY_NS);
            }
            match due {
                None => {
                    self.end();
                    return None;
                }
                Some(due) if due > now_ns => return Some(due),
                Some(_) => {}
            }
            if !self.fill() {
                // No packet: those in hand are to come back first.
                if self.burst.is_empty() || !self.submit() {
                    return Some(now_ns + RETRY_NS);
                }
            }
        }
    }

    /// Puts the due frame into a packet. False when there is none.
    fn fill(&mut self) -> bool {
        let Some(frame) = self.player.frame() else {
            return true;
        };
        let Some(mut packet) = self.port.tx_alloc() else {
            return false;
        };
        match packet.buffer().get_mut(..frame.len()) {
            Some(room) => {
                room.copy_from_slice(frame);
                packet.finish(frame.len(), Offload::default());
                self.shared.sent.fetch_add(1, Ordering::Relaxed);
                self.shared.sent_bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
                self.burst.push(packet);
            }
            None => {
                self.shared.send_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.player.advance();
        true
    }

    /// True when the whole burst went.
    fn submit(&mut self) -> bool {
        // All on one queue: the capture's order is kept.
        self.port.tx_submit(0, &mut self.burst);
        self.burst.is_empty()
    }

    fn end(&mut self) {
        let left = self.burst.len() as u64;
        self.shared.sent.fetch_sub(left, Ordering::Relaxed);
        self.burst.clear();
        self.shared.send_dropped.fetch_add(left + self.player.unmapped(), Ordering::Relaxed);
        if let Some(e) = self.player.take_error() {
            eprintln!("{e}");
        }
        self.shared.finished.store(true, Ordering::Release);
    }
}

struct PcapSink {
    recorder: Arc<Recorder>,
    /// Nanoseconds since 1970 at `start_ns` of the port's clock.
    epoch: u64,
    start_ns: u64,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    shared: Arc<Shared>,
}

impl Sink for PcapSink {
    fn deliver(&self, _queue: usize, frames: &[RxFrame<'_>]) {
        let time_ns = self.epoch + (self.clock)().saturating_sub(self.start_ns);
        for frame in frames {
            let mut bytes = frame.bytes.to_vec();
            complete_checksum(&mut bytes, &frame.offload);
            if self.recorder.record(time_ns, Direction::In, &bytes) {
                self.shared.received.fetch_add(1, Ordering::Relaxed);
                self.shared.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            } else {
                self.shared.receive_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

struct CountSink(Arc<Shared>);

impl Sink for CountSink {
    fn deliver(&self, _queue: usize, frames: &[RxFrame<'_>]) {
        let bytes: u64 = frames.iter().map(|frame| frame.bytes.len() as u64).sum();
        self.0.received.fetch_add(frames.len() as u64, Ordering::Relaxed);
        self.0.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
