//! A [`Port`] for the tests of attachments: a pool of buffers and queues in memory, nothing of DriverKit.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use crate::port::{Offload, Port, PortInfo, PortRequest, RxFrame, Sink, TxFrame};

/// A frame that the stack sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub queue: usize,
    pub bytes: Vec<u8>,
    pub offload: Offload,
}

#[derive(Default)]
struct State {
    free: Vec<Vec<u8>>,
    lent: usize,
    sent: VecDeque<Sent>,
    requests: Vec<PortRequest>,
}

pub struct FakePort {
    info: PortInfo,
    queue_room: usize,
    state: Mutex<State>,
    changed: Condvar,
    sink: RwLock<Option<Arc<dyn Sink>>>,
    start: Instant,
    /// Virtual time; 0 = real time since the port was made.
    pub virtual_ns: AtomicU64,
    pub running: AtomicBool,
    pub gone: AtomicBool,
    pub allocations_refused: AtomicUsize,
}

struct FakeFrame {
    port: Arc<FakePort>,
    buffer: Vec<u8>,
    len: usize,
    offload: Offload,
}

impl FakePort {
    pub fn new(packets: usize, queue_room: usize, change: impl FnOnce(&mut PortInfo)) -> Arc<Self> {
        let mut info = PortInfo {
            bsd_name: "en0".into(),
            mac: [2, 0x57, 0x45, 0, 0, 1],
            mtu: 1500,
            mtu_max: 9000,
            hw_assists: 0x6 | 0x20_0000 | 0x40_0000,
            tso_max: [65535, 65535],
            tx_queues: 1,
            buffer_size: 65536 + 256,
            tx_headroom: 0,
        };
        change(&mut info);
        let free = (0..packets).map(|_| vec![0xaa; info.buffer_size]).collect();
        Arc::new(Self {
            info,
            queue_room,
            state: Mutex::new(State { free, ..State::default() }),
            changed: Condvar::new(),
            sink: RwLock::new(None),
            start: Instant::now(),
            virtual_ns: AtomicU64::new(0),
            running: AtomicBool::new(true),
            gone: AtomicBool::new(false),
            allocations_refused: AtomicUsize::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the lock held")
    }

    /// The `Port` as attachments take it.
    pub fn port(self: &Arc<Self>) -> Arc<dyn Port> {
        Arc::new(Handle(Arc::clone(self)))
    }

    /// Waits up to `ms` for frames the stack sent and takes them.
    pub fn take_sent(&self, ms: u64) -> Vec<Sent> {
        let state = self.state();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, Duration::from_millis(ms), |s| s.sent.is_empty())
            .expect("no test panics with the lock held");
        let sent = state.sent.drain(..).collect();
        drop(state);
        self.changed.notify_all();
        sent
    }

    pub fn requests(&self) -> Vec<PortRequest> {
        self.state().requests.clone()
    }

    pub fn lent(&self) -> usize {
        self.state().lent
    }

    pub fn deliver(&self, queue: usize, frames: &[RxFrame<'_>]) {
        if let Some(sink) = &*self.sink.read().expect("no panic with the lock held") {
            sink.deliver(queue, frames);
        }
    }

    pub fn attached(&self) -> bool {
        self.sink.read().expect("no panic with the lock held").is_some()
    }
}

struct Handle(Arc<FakePort>);

impl Port for Handle {
    fn info(&self) -> PortInfo {
        self.0.info.clone()
    }

    fn tx_alloc(&self) -> Option<Box<dyn TxFrame>> {
        let mut state = self.0.state();
        let buffer = self.0.running.load(Ordering::Relaxed).then(|| state.free.pop()).flatten();
        let Some(buffer) = buffer else {
            self.0.allocations_refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        state.lent += 1;
        Some(Box::new(FakeFrame { port: Arc::clone(&self.0), buffer, len: 0, offload: Offload::default() }))
    }

    fn tx_submit(&self, queue: usize, frames: &mut Vec<Box<dyn TxFrame>>) {
        let room = self.0.queue_room.saturating_sub(self.0.state().sent.len());
        let taken: Vec<_> = frames.drain(..room.min(frames.len())).collect();
        for frame in taken {
            let frame = frame.into_any().downcast::<FakeFrame>().expect("a frame of this port");
            let bytes = frame.buffer[..frame.len].to_vec();
            self.0.state().sent.push_back(Sent { queue, bytes, offload: frame.offload });
        }
        self.0.changed.notify_all();
    }

    fn tx_wait(&self, _queue: usize, timeout_ms: u64) -> bool {
        let state = self.0.state();
        let wait = Duration::from_millis(timeout_ms);
        let blocked = |s: &mut State| s.free.is_empty() || s.sent.len() >= self.0.queue_room;
        let _state = self.0.changed.wait_timeout_while(state, wait, blocked).expect("no panic with the lock held");
        !self.0.gone.load(Ordering::Relaxed)
    }

    fn set_sink(&self, sink: Option<Arc<dyn Sink>>) {
        *self.0.sink.write().expect("no panic with the lock held") = sink;
    }

    fn request(&self, request: PortRequest) -> io::Result<()> {
        let refused = matches!(request, PortRequest::Mtu(mtu) if mtu > self.0.info.mtu_max);
        self.0.state().requests.push(request);
        self.0.changed.notify_all();
        if refused { Err(io::Error::other("kIOReturnBadArgument")) } else { Ok(()) }
    }

    fn now_ns(&self) -> u64 {
        match self.0.virtual_ns.load(Ordering::Relaxed) {
            0 => u64::try_from(self.0.start.elapsed().as_nanos()).unwrap_or(u64::MAX),
            ns => ns,
        }
    }

    fn running(&self) -> bool {
        self.0.running.load(Ordering::Relaxed)
    }
}

impl TxFrame for FakeFrame {
    fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    fn reserve(&mut self, _more: usize) {}

    fn finish(&mut self, len: usize, offload: Offload) {
        assert!(len <= self.buffer.len());
        (self.len, self.offload) = (len, offload);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Drop for FakeFrame {
    fn drop(&mut self) {
        let mut state = self.port.state();
        state.lent -= 1;
        state.free.push(std::mem::take(&mut self.buffer));
        drop(state);
        self.port.changed.notify_all();
    }
}
