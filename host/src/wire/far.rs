//! The rings as pumps use them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_core::mem::packet::PartialCsum;
use weir_core::mem::region::Shared;
use weir_core::mem::wire_ring::{FrameMeta, Receiver, Sender, WireClient, WireFault, WireFeatures, WireInfo};
use weir_core::pipeline::STEER_SEED;
use weir_core::wire;

use super::WireLink;
use crate::port::{Offload, StackCounters};

/// Frames between two looks at the doorbell.
pub(super) const BURST: usize = 32;

#[derive(Default)]
pub(super) struct Counters {
    pub sent: AtomicU64,
    pub sent_bytes: AtomicU64,
    pub send_dropped: AtomicU64,
    pub received: AtomicU64,
    pub received_bytes: AtomicU64,
    pub receive_dropped: AtomicU64,
}

impl Counters {
    pub fn read(&self) -> StackCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StackCounters {
            sent: read(&self.sent),
            sent_bytes: read(&self.sent_bytes),
            received: read(&self.received),
            received_bytes: read(&self.received_bytes),
            send_dropped: read(&self.send_dropped),
            receive_dropped: read(&self.receive_dropped),
        }
    }

    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// Both directions of an opened link.
pub(super) struct Far {
    pub to_nic: ToNic,
    pub from_nic: FromNic,
    // Fields are dropped in order: the client says goodbye while the link still maps the memory.
    pub client: Client,
}

/// Says that somebody serves the far end, as long as it lives.
pub(super) struct Client {
    client: WireClient<'static>,
    _link: Arc<dyn WireLink>,
}

/// Frames to the NIC, one ring a queue.
pub(super) struct ToNic {
    rings: Vec<Sender<'static>>,
    link: Arc<dyn WireLink>,
    counters: Arc<Counters>,
}

/// Frames from the NIC, one ring a queue.
pub(super) struct FromNic {
    rings: Vec<Receiver<'static>>,
    link: Arc<dyn WireLink>,
    counters: Arc<Counters>,
}

impl Far {
    pub fn open(link: &Arc<dyn WireLink>, counters: &Arc<Counters>, accepts: WireFeatures) -> io::Result<Self> {
        let memory = link.memory();
        // SAFETY: `WireLink` promises that the memory stays mapped while the link lives and that all writers are
        // atomic. Everything that holds the window (`Client`, `ToNic`, `FromNic`) holds the link, and drops it last.
        let shared = unsafe { Shared::new(memory.as_ptr().cast(), memory.len()) };
        let shared = shared.ok_or_else(|| io::Error::other("the wire rings' memory is not aligned"))?;
        let (client, queues) = WireClient::open(shared, accepts).map_err(io::Error::other)?;
        let (send, recv) = queues.into_iter().map(|queue| (queue.send, queue.recv)).unzip();
        link.kick();
        Ok(Self {
            to_nic: ToNic { rings: send, link: Arc::clone(link), counters: Arc::clone(counters) },
            from_nic: FromNic { rings: recv, link: Arc::clone(link), counters: Arc::clone(counters) },
            client: Client { client, _link: Arc::clone(link) },
        })
    }
}

impl Client {
    pub fn info(&self) -> &WireInfo {
        self.client.info()
    }
}

/// What became of a frame for the NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// Longer than a slot, empty, or the ring is dead: counted.
    Never,
    /// The ring is full.
    Full,
}

impl ToNic {
    pub fn frame_max(&self) -> usize {
        self.rings.first().map_or(0, Sender::frame_max)
    }

    /// Copies a frame into the ring of its flow; the NIC sees it after [`ToNic::flush`].
    pub fn send(&mut self, frame: &[u8], offload: &Offload) -> Sent {
        let queues = self.rings.len();
        let Some(ring) = self.rings.get_mut(queue_of(frame, offload.mss != 0, queues)) else { return Sent::Never };
        let meta = FrameMeta {
            csum: offload.partial_csum.map(|(start, stuff)| PartialCsum { start, stuff }),
            mss: offload.mss,
            v6: offload.v6,
            timestamp_ns: self.link.now_ns(),
        };
        if ring.send(frame, &meta) {
            Counters::add(&self.counters.sent, 1);
            Counters::add(&self.counters.sent_bytes, frame.len() as u64);
            Sent::Yes
        } else if frame.is_empty() || frame.len() > ring.frame_max() || ring.is_dead() {
            self.drop_frame();
            Sent::Never
        } else {
            Sent::Full
        }
    }

    pub fn drop_frame(&self) {
        Counters::add(&self.counters.send_dropped, 1);
    }

    /// Shows the NIC what was sent and wakes it if it sleeps.
    pub fn flush(&mut self) {
        let mut wake = false;
        for ring in &mut self.rings {
            wake |= ring.flush();
        }
        if wake {
            self.link.kick();
        }
    }

    /// Asks to be notified of room. True: there is room in every ring now.
    pub fn wait(&mut self) -> bool {
        self.rings.iter_mut().all(|ring| ring.space() > 0 || ring.wait())
    }
}

impl FromNic {
    /// Gives up to [`BURST`] frames of each queue to `f`, using `buffer` (at least a slot long), and frees their
    /// slots. Returns how many there were.
    pub fn receive(&mut self, buffer: &mut [u8], mut f: impl FnMut(&mut [u8], &Offload)) -> usize {
        let (mut seen, mut wake) = (0, false);
        for ring in &mut self.rings {
            for _ in 0..BURST {
                match ring.recv(buffer) {
                    Some(Ok((len, meta))) => {
                        seen += 1;
                        let offload = Offload {
                            partial_csum: meta.csum.map(|csum| (csum.start, csum.stuff)),
                            mss: meta.mss,
                            v6: meta.v6,
                            ..Offload::default()
                        };
                        f(buffer.get_mut(..len).unwrap_or_default(), &offload);
                    }
                    Some(Err(WireFault::Index)) | None => break,
                    Some(Err(_)) => {
                        seen += 1;
                        Counters::add(&self.counters.receive_dropped, 1);
                    }
                }
            }
            wake |= ring.release();
        }
        if wake {
            self.link.kick();
        }
        seen
    }

    /// Asks to be notified of frames. True: there are some now.
    pub fn wait(&mut self) -> bool {
        self.rings.iter_mut().fold(false, |ready, ring| ready | ring.wait())
    }
}

/// The queue of a frame's flow: the one that the core comes to as well, so that nothing has to change shards.
fn queue_of(frame: &[u8], super_frame: bool, queues: usize) -> usize {
    if queues <= 1 {
        return 0;
    }
    let parsed = if super_frame { wire::parse_super(frame) } else { wire::parse(frame) };
    wire::shard_of(wire::flow_hash(frame, &parsed, STEER_SEED), queues)
}
