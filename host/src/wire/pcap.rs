//! Capture files at the far end of the cable: frames come in from one, frames that go out are recorded in another.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_core::mem::wire_ring::WireFeatures;

use super::WireLink;
use super::far::{Counters, Far, Sent};
use crate::capture::{Direction, Player, Recorder};
use crate::port::{Mode, Offload, StackCounters, WirePump};
use crate::stack::spec::PcapSpec;

/// When to try again after a ring was full.
const RETRY_NS: u64 = 100_000;

#[derive(Default)]
struct Bell {
    rung: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self, stop: bool) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        *rung = (true, rung.1 | stop);
        self.changed.notify_all();
    }

    /// Sleeps until it rings or `ns` went by; true when it is time to stop.
    fn wait(&self, ns: Option<u64>) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = |r: &mut (bool, bool)| !r.0;
        let mut rung = match ns {
            Some(ns) => {
                let wait = self.changed.wait_timeout_while(rung, Duration::from_nanos(ns), silent);
                wait.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait_while(rung, silent).unwrap_or_else(PoisonError::into_inner),
        };
        rung.0 = false;
        rung.1
    }
}

/// The far end `pcap:FILE`.
pub struct PcapPump {
    spec: PcapSpec,
    mode: Mode,
    link: Arc<dyn WireLink>,
    counters: Arc<Counters>,
    finished: Arc<AtomicBool>,
    bell: Arc<Bell>,
    worker: Option<Worker>,
    thread: Option<JoinHandle<()>>,
}

impl PcapPump {
    /// Files are opened by [`WirePump::start`].
    pub fn new(spec: PcapSpec, link: Arc<dyn WireLink>, mode: Mode) -> Self {
        Self {
            spec,
            mode,
            link,
            counters: Arc::default(),
            finished: Arc::default(),
            bell: Arc::default(),
            worker: None,
            thread: None,
        }
    }
}

impl WirePump for PcapPump {
    fn start(&mut self) -> io::Result<()> {
        self.stop();
        self.bell = Arc::default();
        self.finished = Arc::default();
        let player = self.spec.input.as_deref().map(|path| Player::open(path, self.spec.fast)).transpose()?;
        let recorder = self.spec.output.as_deref().map(|path| Recorder::create(path, "wire")).transpose()?;
        let epoch = match (&player, self.mode) {
            (_, Mode::Threads) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64),
            (Some(player), Mode::Simulated) => player.first_ns(),
            (None, Mode::Simulated) => 0,
        };
        // Nothing is accepted unfinished: what is recorded is what a cable would carry.
        let far = Far::open(&self.link, &self.counters, WireFeatures::empty())?;
        let buffer = vec![0; far.to_nic.frame_max()];
        let mut worker = Worker {
            far,
            player,
            recorder,
            epoch,
            opened_ns: self.link.now_ns(),
            start_ns: None,
            buffer,
            counters: Arc::clone(&self.counters),
            finished: Arc::clone(&self.finished),
        };
        if self.mode == Mode::Simulated {
            self.worker = Some(worker);
            return Ok(());
        }
        let bell = Arc::clone(&self.bell);
        self.link.set_notify(Some(Box::new(move || bell.ring(false))));
        let (bell, link) = (Arc::clone(&self.bell), Arc::clone(&self.link));
        let thread = std::thread::Builder::new().name("pcap-wire".into()).spawn(move || {
            loop {
                let next = worker.step(link.now_ns());
                if bell.wait(next.map(|next| next.saturating_sub(link.now_ns()))) {
                    return;
                }
            }
        });
        match thread {
            Ok(thread) => {
                self.thread = Some(thread);
                Ok(())
            }
            Err(e) => {
                self.link.set_notify(None);
                Err(e)
            }
        }
    }

    fn poll(&mut self, now_ns: u64) -> Option<u64> {
        self.worker.as_mut().and_then(|worker| worker.step(now_ns))
    }

    fn finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    fn counters(&self) -> StackCounters {
        self.counters.read()
    }

    fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.link.set_notify(None);
            self.bell.ring(true);
            let _ = thread.join();
        }
        self.worker = None;
    }
}

impl Drop for PcapPump {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Worker {
    far: Far,
    player: Option<Player>,
    recorder: Option<Recorder>,
    /// Nanoseconds since 1970 at `opened_ns` of the link's clock.
    epoch: u64,
    opened_ns: u64,
    /// When the capture's first frame was due.
    start_ns: Option<u64>,
    buffer: Vec<u8>,
    counters: Arc<Counters>,
    finished: Arc<AtomicBool>,
}

impl Worker {
    /// Does what is due; returns when to come again without being notified.
    fn step(&mut self, now_ns: u64) -> Option<u64> {
        loop {
            self.record(now_ns);
            if !self.far.from_nic.wait() {
                break;
            }
        }
        let next = self.play(now_ns);
        self.far.to_nic.flush();
        next
    }

    fn record(&mut self, now_ns: u64) {
        let time_ns = self.epoch.saturating_add(now_ns.saturating_sub(self.opened_ns));
        let (counters, recorder) = (&self.counters, &self.recorder);
        let each = |frame: &mut [u8], _: &Offload| {
            if recorder.as_ref().is_none_or(|r| r.record(time_ns, Direction::Out, frame)) {
                Counters::add(&counters.received, 1);
                Counters::add(&counters.received_bytes, frame.len() as u64);
            } else {
                Counters::add(&counters.receive_dropped, 1);
            }
        };
        while self.far.from_nic.receive(&mut self.buffer, each) > 0 {}
    }

    fn play(&mut self, now_ns: u64) -> Option<u64> {
        let start = *self.start_ns.get_or_insert(now_ns);
        let player = self.player.as_mut()?;
        while let Some(due) = player.due_ns() {
            let due = start.saturating_add(due);
            if due > now_ns {
                return Some(due);
            }
            match self.far.to_nic.send(player.frame().unwrap_or_default(), &Offload::default()) {
                Sent::Full => {
                    self.far.to_nic.flush();
                    // Notified of room, or else after a while.
                    return if self.far.to_nic.wait() { Some(now_ns) } else { Some(now_ns + RETRY_NS) };
                }
                Sent::Yes | Sent::Never => player.advance(),
            }
        }
        Counters::add(&self.counters.send_dropped, player.unmapped());
        if let Some(e) = player.take_error() {
            eprintln!("{e}");
        }
        self.player = None;
        self.finished.store(true, Ordering::Release);
        None
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(recorder) = &self.recorder {
            recorder.flush();
        }
    }
}

#[cfg(test)]
mod tests;
