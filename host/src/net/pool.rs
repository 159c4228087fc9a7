//! `IOUserNetworkPacketBufferPool`: packets, each with one buffer, in one piece of shared memory.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::netq::NetQ;
use super::packet::{History, Move, Packet, state};
use crate::diag::{Site, violation};
use crate::dma::Dma;
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::rt::Runtime;
use crate::sched::lock;

const MAP_TO_DEXT: u32 = 0x1000_0000;
const MAP_TO_DEVICE: u32 = 0x2000_0000;
const MAX_PACKETS: u32 = 1 << 20;
const MAX_BUFFER: u32 = 1 << 20;
/// Buffers begin at multiples of this.
const ALIGN: u64 = 64;
/// Reported leaks per pool; the rest is only counted.
const REPORTED_LEAKS: usize = 4;

/// `dk_pool_options`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct PoolOptions {
    pub packet_count: u32,
    pub buffer_count: u32,
    pub buffer_size: u32,
    pub max_buffers_per_packet: u32,
    pub memory_segment_size: u32,
    pub flags: u32,
    pub dma_options: u64,
    pub dma_max_address_bits: u64,
}

/// A packet buffer pool.
pub struct Pool {
    rt: Arc<Runtime>,
    name: String,
    id: u64,
    options: PoolOptions,
    mem: Arc<Mem>,
    dma: Option<Dma>,
    packets: Box<[UnsafeCell<Packet>]>,
    history: Box<[History]>,
    /// Indices of free packets, last freed on top.
    free: Mutex<Vec<u32>>,
    freed: Condvar,
    /// Threads waiting on `freed`.
    waiters: AtomicU32,
    closed: AtomicBool,
    /// An RX submission queue wanted packets and got too few.
    starved: AtomicBool,
    rx_queues: Mutex<Vec<Weak<NetQ>>>,
    /// References of the C++ layer.
    handles: AtomicUsize,
}

// SAFETY: a Packet's fields other than `state` are accessed only by whoever has the packet according to its state: the
// state is atomic and every hand-over goes through a lock or an acquire-release exchange. `cpu` points into `mem`.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Pool {
    /// A pool of `options.packet_count` packets. `device`: entry id of the service it is for; 0 = none.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` for counts and sizes outside `dk_runtime.h`'s limits, `NO_MEMORY`.
    pub fn new(rt: &Arc<Runtime>, device: u64, name: &str, options: PoolOptions) -> IoResult<Arc<Pool>> {
        let o = options;
        if o.packet_count == 0
            || o.packet_count > MAX_PACKETS
            || o.buffer_count < o.packet_count
            || o.buffer_count > MAX_PACKETS
            || o.buffer_size == 0
            || o.buffer_size > MAX_BUFFER
        {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let stride = u64::from(o.buffer_size).next_multiple_of(ALIGN);
        let bytes = stride * u64::from(o.buffer_count);
        if bytes > 1 << 32 {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let mem = Mem::buffer_in(rt.arena.get(), 3, bytes, 0)?;
        let (base, _) = mem.address()?;
        let (dma, iova) = if o.flags & MAP_TO_DEVICE != 0 && device != 0 {
            let bits = if o.dma_max_address_bits > 64 { 64 } else { o.dma_max_address_bits };
            let dma = Dma::new(rt, device, bits)?;
            let (iova, _) = dma.prepare(&mem, 0, 0)?;
            (Some(dma), iova)
        } else {
            (None, 0)
        };
        let pool = Arc::new_cyclic(|me: &Weak<Pool>| {
            let packet = |i: u32| {
                let offset = u64::from(i) * stride;
                // SAFETY: offset < bytes, all of which `mem` maps.
                let cpu = unsafe { base.add(offset as usize) };
                UnsafeCell::new(Packet {
                    object: std::ptr::null_mut(),
                    pool: me.as_ptr(),
                    cpu,
                    va: if o.flags & MAP_TO_DEXT != 0 { cpu as u64 } else { offset },
                    iova: if dma.is_some() { iova + offset } else { 0 },
                    seg_offset: offset,
                    state: AtomicU32::new(state::FREE),
                    index: i,
                    buf_size: o.buffer_size,
                    data_off: 0,
                    data_len: 0,
                    tx_csum_flags: 0,
                    tx_csum_start: 0,
                    tx_csum_stuff: 0,
                    tso_flags: 0,
                    tso_segsz: 0,
                    rx_csum_flags: 0,
                    rx_csum_value: 0,
                    lro_flags: 0,
                    lro_segs: 0,
                    flags: 0,
                    service_class: 0,
                    trace_id: 0,
                    completion_status: 0,
                    vlan_tag: 0,
                    link_header_len: 0,
                    headroom: 0,
                    reserved: [0; 2],
                    expiry_ns: 0,
                    timestamp_ns: 0,
                })
            };
            Pool {
                rt: rt.clone(),
                name: name.to_owned(),
                id: rt.next_serial(),
                options: o,
                mem,
                packets: (0..o.packet_count).map(packet).collect(),
                history: (0..o.packet_count).map(|_| History::default()).collect(),
                free: Mutex::new((0..o.packet_count).rev().collect()),
                freed: Condvar::new(),
                waiters: AtomicU32::new(0),
                closed: AtomicBool::new(false),
                starved: AtomicBool::new(false),
                rx_queues: Mutex::new(Vec::new()),
                handles: AtomicUsize::new(1),
                dma,
            }
        });
        Ok(pool)
    }

    /// What it was made with.
    pub fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// Its memory.
    pub fn memory(&self) -> &Arc<Mem> {
        &self.mem
    }

    pub(crate) fn handles(&self) -> &AtomicUsize {
        &self.handles
    }

    pub(crate) fn rt(&self) -> &Arc<Runtime> {
        &self.rt
    }

    /// Bytes of device mapping exist.
    pub fn device_mapped(&self) -> bool {
        self.dma.is_some()
    }

    /// The packet; null out of range. Access its fields only as its state allows.
    pub fn packet(&self, index: u32) -> *mut Packet {
        self.packets.get(index as usize).map_or(std::ptr::null_mut(), UnsafeCell::get)
    }

    /// The packet's index, if `p` is one of this pool's packets.
    pub(crate) fn index_of(&self, p: *const Packet) -> Option<u32> {
        let base = self.packets.as_ptr() as usize;
        let at = (p as usize).checked_sub(base)?;
        let index = at / size_of::<Packet>();
        (at.is_multiple_of(size_of::<Packet>()) && index < self.packets.len()).then_some(index as u32)
    }

    fn state(&self, index: u32) -> Option<&AtomicU32> {
        let p = self.packets.get(index as usize)?.get();
        // SAFETY: `state` is atomic and shared by design; the reference covers that field only.
        Some(unsafe { &(*p).state })
    }

    /// Who has the packet.
    pub(crate) fn state_of(&self, index: u32) -> u32 {
        self.state(index).map_or(u32::MAX, |s| s.load(Ordering::Relaxed))
    }

    pub(crate) fn set_state(&self, index: u32, to: u32) {
        if let Some(s) = self.state(index) {
            s.store(to, Ordering::Release);
        }
    }

    /// Moves the packet from `from` to `to`, if it is in `from`.
    pub(crate) fn exchange(&self, index: u32, from: u32, to: u32) -> bool {
        self.state(index).is_some_and(|s| s.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok())
    }

    pub(crate) fn note(&self, index: u32, what: Move, queue: u32) {
        if let Some(h) = self.history.get(index as usize) {
            h.note(what, queue);
        }
    }

    /// The packet's latest moves.
    pub fn history(&self, index: u32) -> Vec<String> {
        self.history.get(index as usize).map(History::lines).unwrap_or_default()
    }

    /// Reports a broken rule about a packet.
    pub(crate) fn violation(&self, kind: &str, index: u32, what: &str, site: Site) {
        let now = state::name(self.state_of(index));
        let text = format!("packet {index} of pool {:?}, {now}: {what}", self.name);
        violation(kind, text, site, self.history(index));
    }

    /// Packets on the free list.
    pub fn free_count(&self) -> u32 {
        lock(&self.free).len() as u32
    }

    /// Takes up to `n` packets off the free list, last freed first, into state `to`, and calls `f` for each.
    pub(crate) fn take(&self, n: u32, to: u32, what: Move, queue: u32, mut f: impl FnMut(u32)) -> u32 {
        let mut taken = 0;
        // Bounded rounds, so that no other thread waits long for the list.
        while taken < n {
            let mut batch = [0u32; 64];
            let got = {
                let mut free = lock(&self.free);
                let want = (n - taken).min(batch.len() as u32) as usize;
                let keep = free.len().saturating_sub(want);
                let got = free.len() - keep;
                for (slot, index) in batch.iter_mut().zip(free.drain(keep..).rev()) {
                    *slot = index;
                }
                got
            };
            for index in batch.iter().take(got) {
                self.set_state(*index, to);
                self.note(*index, what, queue);
                f(*index);
            }
            taken += got as u32;
            if got == 0 {
                break;
            }
        }
        taken
    }

    /// Puts packets back whose state the caller has already exchanged away from everybody else.
    pub(crate) fn give(&self, indices: &[u32]) {
        if indices.is_empty() {
            return;
        }
        for i in indices {
            self.set_state(*i, state::FREE);
        }
        lock(&self.free).extend_from_slice(indices);
        self.wake_waiters();
        if self.starved.load(Ordering::Relaxed) {
            self.refill_starved();
        }
    }

    /// Wakes threads that wait for a packet or for room in a TX submission queue.
    pub(crate) fn wake_waiters(&self) {
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            let _list = lock(&self.free);
            self.freed.notify_all();
        }
    }

    /// Waits until `until` holds, looked at when packets were freed, or for `timeout`. Returns what `until` said last.
    pub(crate) fn wait(&self, timeout: Duration, mut until: impl FnMut(usize) -> bool) -> bool {
        let deadline = std::time::Instant::now() + timeout;
        let mut free: MutexGuard<'_, Vec<u32>> = lock(&self.free);
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let ok = loop {
            fence(Ordering::SeqCst);
            if until(free.len()) {
                break true;
            }
            let Some(left) = deadline.checked_duration_since(std::time::Instant::now()) else { break false };
            free = self.freed.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        ok
    }

    pub(crate) fn add_rx_queue(&self, queue: &Arc<NetQ>) {
        lock(&self.rx_queues).push(Arc::downgrade(queue));
    }

    pub(crate) fn set_starved(&self) {
        self.starved.store(true, Ordering::Relaxed);
    }

    fn refill_starved(&self) {
        if !self.starved.swap(false, Ordering::Relaxed) {
            return;
        }
        let queues: Vec<Arc<NetQ>> = lock(&self.rx_queues).iter().filter_map(Weak::upgrade).collect();
        for q in queues {
            q.refill();
        }
    }

    /// `allocatePacket`: up to `out.len()` packets for the driver.
    pub fn alloc(&self, out: &mut [*mut Packet]) -> u32 {
        let mut n = 0;
        let want = out.len() as u32;
        self.take(want, state::POOL_DRIVER, Move::PoolAlloc, self.id as u32, |index| {
            let p = self.packet(index);
            // SAFETY: the packet just came off the free list into our hands.
            unsafe {
                (*p).data_off = 0;
                (*p).data_len = 0;
            }
            if let Some(slot) = out.get_mut(n) {
                *slot = p;
            }
            n += 1;
        })
    }

    /// As [`Pool::alloc`] for one packet; waits for one. Null when the host stops.
    pub fn alloc_blocking(&self) -> *mut Packet {
        let mut out = [std::ptr::null_mut(); 1];
        loop {
            if self.alloc(&mut out) == 1 {
                return out[0];
            }
            if self.closed.load(Ordering::Acquire) {
                return std::ptr::null_mut();
            }
            if self.rt.sched.is_simulated() {
                if !self.rt.sched.run_until_idle() {
                    return std::ptr::null_mut();
                }
            } else {
                let closed = || self.closed.load(Ordering::Acquire);
                let wait = || self.wait(Duration::from_millis(100), |free| free > 0 || closed());
                self.rt.sched.blocking(wait);
            }
        }
    }

    /// `deallocatePackets`: gives packets of the driver back.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` for a packet of another pool. One that the driver does not have is a violation.
    pub fn free(&self, packets: &[*mut Packet], site: Site) -> IoResult<()> {
        let mut result = Ok(());
        for p in packets {
            let Some(index) = self.index_of(*p) else {
                result = Err(IoReturn::BAD_ARGUMENT);
                continue;
            };
            let was = self.state_of(index);
            if !state::is_driver(was) || !self.exchange(index, was, state::FREE) {
                self.violation(
                    "double completion",
                    index,
                    "deallocatePacket of a packet the driver does not have",
                    site,
                );
                result = Err(IoReturn::BAD_ARGUMENT);
                continue;
            }
            self.note(index, Move::PoolFree, self.id as u32);
            self.give(&[index]);
        }
        result
    }

    pub(crate) fn set_object(&self, index: u32, object: *mut c_void) {
        let p = self.packet(index);
        if !p.is_null() {
            // SAFETY: the C++ layer sets objects once, before the pool is known to anyone else.
            unsafe { (*p).object = object };
        }
    }

    /// Packets that the driver has.
    pub fn with_driver(&self) -> Vec<u32> {
        (0..self.options.packet_count).filter(|i| state::is_driver(self.state_of(*i))).collect()
    }

    /// Reports packets that the driver still has, each once, and takes them back. Returns how many.
    pub(crate) fn report_leaks(&self, when: &str) -> usize {
        let leaked = self.with_driver();
        for (n, index) in leaked.iter().enumerate() {
            if n < REPORTED_LEAKS {
                let more = leaked.len() - n - 1;
                let text = format!("never completed or deallocated by {when} ({more} more)");
                self.violation("packet leak", *index, &text, Site::NONE);
            }
        }
        self.give(&leaked);
        leaked.len()
    }

    /// Takes the driver's packets back without a report: it crashed.
    pub(crate) fn reclaim(&self) -> usize {
        let lost = self.with_driver();
        self.give(&lost);
        lost.len()
    }

    /// No more waiting.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let _list = lock(&self.free);
        self.freed.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(dma) = &self.dma {
            // Prepared since it was made.
            let _ = dma.complete();
        }
    }
}
