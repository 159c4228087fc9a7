//! What the two ends of a cable, and the control and data sides of one NIC, share.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::config::LoopbackConfig;
use crate::mem::doorbell::Doorbell;
use crate::mem::ring::{Consumer, Producer, channel};
use crate::mem::seat::Seat;
use crate::mem::wire_ring::{FrameMeta, WireQueue, WireRing};
use crate::mem::{Burst, Packet};
use crate::nic::rx_filter::RxFilter;
use crate::nic::{Events, NicError, Offloads, QUEUES_MAX};

/// The end of a queue's receive rings that whoever delivers frames holds.
pub(super) struct Inbox {
    /// Empty buffers.
    posted: Consumer<Packet>,
    /// Filled ones, and those that stand for a frame that did not fit ([`crate::mem::Status::TooLong`]).
    done: Producer<Packet>,
    /// Empty buffers out of `posted`, and those that were taken and not used. Its capacity is that of `posted`.
    stack: Vec<Packet>,
    /// Those that were taken, until they go to `done` together: what was just written to a descriptor cannot be copied at once.
    taken: Burst,
    /// Some went there since [`Inbox::leave`].
    is_filled: bool,
}

/// Buffers that go to the queue together.
const RUN: usize = 32;

impl Inbox {
    /// Allocates; called at Start.
    fn new(posted: Consumer<Packet>, done: Producer<Packet>, ring_size: usize) -> Self {
        Self { posted, done, stack: Vec::with_capacity(ring_size), taken: Burst::new(), is_filled: false }
    }

    /// The empty buffer that was posted last: with super-frames a ring of buffers is many times a core's cache, and
    /// what was in use last may still be in it. The queue has it, filled or not, after [`Inbox::hand_over`].
    pub fn take(&mut self) -> Option<&mut Packet> {
        if self.taken.len() >= RUN {
            self.hand_over();
        }
        if self.taken.is_empty() || self.stack.is_empty() {
            self.posted.pop_behind(&mut self.stack);
        }
        // Not full, so it fits.
        let _ = self.taken.push(self.stack.pop()?);
        self.taken.last_mut()
    }

    /// Moves all that is posted to the end of `out`, as many as fit.
    pub fn reclaim(&mut self, out: &mut Burst) {
        self.posted.pop_behind(&mut self.stack);
        while !out.is_full()
            && let Some(packet) = self.stack.pop()
        {
            out.extend([packet]);
        }
    }

    /// True when [`Inbox::take`] would return one.
    pub fn has_buffer(&mut self) -> bool {
        !self.stack.is_empty() || !self.posted.is_empty()
    }

    /// Takes back the buffer that [`Inbox::take`] gave last, which nothing was put into.
    pub fn untake(&mut self) {
        // Taking it left the room for it.
        if self.stack.len() < self.stack.capacity()
            && let Some(packet) = self.taken.pop()
        {
            self.stack.push(packet);
        }
    }

    /// Gives what was taken to the queue. The ring has room for every buffer that can be posted.
    pub fn hand_over(&mut self) {
        self.is_filled |= self.done.push_burst(&mut self.taken) > 0;
        debug_assert!(self.taken.is_empty(), "the done ring is as large as what can be posted");
    }

    /// As [`Inbox::hand_over`], by who leaves the seat. True if the queue got something since it was entered.
    #[must_use]
    pub fn leave(&mut self) -> bool {
        self.hand_over();
        core::mem::take(&mut self.is_filled)
    }
}

/// One queue pair, as seen by others than its [`super::queue::LoopbackQueue`].
pub(super) struct PortQueue {
    /// Open while the NIC is enabled.
    pub inbox: Seat<Inbox>,
    /// This queue sleeps.
    pub bell: Doorbell,
    /// Whoever delivers into [`PortQueue::inbox`] ran out of posted buffers and sleeps.
    pub starved: Doorbell,
    /// The other end of the pair; open while there is one.
    pub peer: Seat<Option<Arc<Port>>>,
    /// The wire client's rings; open while one is attached.
    pub wire: Seat<Option<ClientQueue>>,
}

/// A wire client's rings of one queue.
pub(super) struct ClientQueue {
    pub rings: WireQueue<'static>,
    pub shared: Arc<WireRing<'static>>,
    /// Room for one frame: a super-frame on its way to being cut, or a segment of one.
    pub scratch: Box<[u8]>,
    /// A super-frame in `scratch` that is not delivered completely yet: its length and metadata.
    pub cutting: Option<(usize, FrameMeta)>,
    /// Segments of it that were delivered.
    pub cut: usize,
    /// The client's ring was found wrecked, and that was counted.
    pub faulted: bool,
}

/// One loopback NIC.
pub(super) struct Port {
    pub filter: RxFilter,
    pub offloads: AtomicU32,
    pub enabled: AtomicBool,
    /// The cable is plugged in at this end.
    pub plugged: AtomicBool,
    /// A far end exists: the reflecting station, an attached client, or a peer that joined.
    pub joined: AtomicBool,
    pub events: Arc<dyn Events>,
    pub queues: heapless::Vec<PortQueue, QUEUES_MAX>,
}

/// What [`Port::new`] keeps for the queue itself.
pub(super) struct OwnEnds {
    pub posted: Producer<Packet>,
    pub done: Consumer<Packet>,
}

impl Port {
    /// Allocates; called at Start.
    pub fn new(
        config: &LoopbackConfig,
        events: Arc<dyn Events>,
    ) -> Result<(Arc<Self>, heapless::Vec<OwnEnds, QUEUES_MAX>), NicError> {
        let mut queues = heapless::Vec::new();
        let mut own = heapless::Vec::new();
        for _ in 0..config.queues {
            let (posted, posted_end) = channel(config.ring_size).ok_or(NicError::NoMemory)?;
            let (done_end, done) = channel(config.ring_size).ok_or(NicError::NoMemory)?;
            let inbox = Inbox::new(posted_end, done_end, config.ring_size);
            let queue = PortQueue {
                inbox: Seat::new(inbox),
                bell: Doorbell::new(),
                starved: Doorbell::new(),
                peer: Seat::new(None),
                wire: Seat::new(None),
            };
            if queues.push(queue).is_err() || own.push(OwnEnds { posted, done }).is_err() {
                return Err(NicError::NoMemory);
            }
        }
        let port = Self {
            filter: RxFilter::new(config.mac, config.mtu)?,
            offloads: AtomicU32::new(SUPPORTED.bits()),
            enabled: AtomicBool::new(false),
            plugged: AtomicBool::new(true),
            joined: AtomicBool::new(false),
            events,
            queues,
        };
        Ok((Arc::new(port), own))
    }

    pub fn offloads(&self) -> Offloads {
        Offloads::from_bits_truncate(self.offloads.load(Ordering::Relaxed))
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    pub fn is_plugged(&self) -> bool {
        self.plugged.load(Ordering::Acquire)
    }

    /// Whether frames from the other end of the cable can arrive here.
    pub fn is_listening(&self) -> bool {
        self.is_enabled() && self.is_plugged()
    }

    /// Runs the poll sequence of every queue: something changed that concerns frames in flight.
    pub fn wake_all(&self) {
        for queue in 0..self.queues.len() {
            self.events.wake(queue as u32);
        }
    }

    /// Wakes `queue` if it sleeps.
    pub fn wake(&self, queue: usize) {
        if self.queues.get(queue).is_some_and(|q| q.bell.ring()) {
            self.events.wake(queue as u32);
        }
    }
}

/// Assists that a loopback NIC has.
pub(super) const SUPPORTED: Offloads = Offloads::all();

/// A FIFO that never grows past what it was made for; its users check the room first.
pub(super) type Fifo = VecDeque<Packet>;
