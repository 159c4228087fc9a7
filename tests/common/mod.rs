//! A glue in Rust: drives the core through its C ABI as the dext does, and checks what the ABI promises. Every cookie
//! comes back exactly once, from the queue it was lent on; the accounts are right whenever nothing runs.
#![allow(dead_code, reason = "each test uses its part")]

pub mod frames;

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use weir_core::abi::sys;
use weir_core::abi::*;
use weir_core::filter::{Ruleset, image};
use weir_core::telemetry::{Counters, DropReason};

pub const BUF_LEN: usize = 2048;
pub const HEADROOM: u32 = 64;
pub const RING: u32 = 64;

/// What the core calls.
#[derive(Default)]
pub struct Glue {
    pub now_ns: AtomicU64,
    pub clock_reads: AtomicU64,
    pub woken: AtomicU32,
    pub link_changes: AtomicU32,
    pub log: Mutex<Vec<String>>,
}

unsafe extern "C" fn now_ns(ctx: *mut c_void) -> u64 {
    // SAFETY: the context is the station's glue, which outlives the core.
    let glue = unsafe { &*ctx.cast::<Glue>() };
    glue.clock_reads.fetch_add(1, Ordering::Relaxed);
    glue.now_ns.fetch_add(100, Ordering::Relaxed)
}

unsafe extern "C" fn write(ctx: *mut c_void, level: u32, text: *const std::ffi::c_char, len: usize) {
    // SAFETY: as above; the text is valid for its length.
    let (glue, text) = unsafe { (&*ctx.cast::<Glue>(), std::slice::from_raw_parts(text.cast::<u8>(), len)) };
    glue.log.lock().unwrap().push(format!("{level} {}", std::str::from_utf8(text).unwrap()));
}

unsafe extern "C" fn wake(ctx: *mut c_void, queue: u32) {
    // SAFETY: as above.
    unsafe { &*ctx.cast::<Glue>() }.woken.fetch_or(1 << queue, Ordering::SeqCst);
}

unsafe extern "C" fn link_changed(ctx: *mut c_void) {
    // SAFETY: as above.
    unsafe { &*ctx.cast::<Glue>() }.link_changes.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn wire_notify(_ctx: *mut c_void, _queue: u32) {}

pub fn ops(glue: &Glue) -> sys::weir_ops {
    let ctx = std::ptr::from_ref(glue).cast_mut().cast::<c_void>();
    // SAFETY: every field is a pointer, an optional function or a number, for which zero is a value.
    let mut ops: sys::weir_ops = unsafe { std::mem::zeroed() };
    ops.size = size_of::<sys::weir_ops>() as u32;
    ops.abi_version = sys::WEIR_ABI_VERSION;
    ops.clock = sys::weir_clock_ops { ctx, now_ns: Some(now_ns) };
    ops.log = sys::weir_log_ops { ctx, write: Some(write) };
    ops.event = sys::weir_event_ops {
        ctx,
        wake: Some(wake),
        link_changed: Some(link_changed),
        wire_notify: Some(wire_notify),
        attention: None,
        tap_notify: None,
    };
    ops
}

pub fn config(wire: u32, name: &str, mac: [u8; 6], queues: u16) -> sys::weir_config {
    let mut wire_name = [0; 32];
    for (to, from) in wire_name.iter_mut().zip(name.bytes()) {
        *to = from as std::ffi::c_char;
    }
    sys::weir_config {
        size: size_of::<sys::weir_config>() as u32,
        abi_version: sys::WEIR_ABI_VERSION,
        nic: sys::WEIR_NIC_LOOPBACK,
        wire,
        wire_name,
        if_name: [0; 16],
        mac,
        queues,
        ring_size: RING,
        mtu: 1500,
        mtu_max: 9000,
        buf_len: BUF_LEN as u32,
        seed: 7,
        vectors: 0,
        reserved: 0,
    }
}

/// A pointer that may go to the thread that serves a queue, as it does in the dext.
#[derive(Clone, Copy)]
pub struct Handle(pub *mut sys::weir_core);
// SAFETY: the C ABI allows every call from any thread.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// One queue's buffers as the glue keeps them: cookie to memory, and who has it.
pub struct Queue {
    pub core: Handle,
    pub index: u32,
    buffers: HashMap<u64, (Box<[u8; BUF_LEN]>, bool)>,
    next_cookie: u64,
    pub received: Vec<Vec<u8>>,
    /// Status of each completed frame.
    pub completed: Vec<i32>,
}

impl Queue {
    fn new(core: Handle, index: u32) -> Self {
        Self {
            core,
            index,
            buffers: HashMap::new(),
            next_cookie: 1 + (u64::from(index) << 32),
            received: Vec::new(),
            completed: Vec::new(),
        }
    }

    /// A buffer that nobody has, as a descriptor; it counts as lent from now on.
    pub fn descriptor(&mut self, frame: &[u8]) -> sys::weir_pkt {
        let free = self.buffers.iter().find(|(_, (_, lent))| !lent).map(|(cookie, _)| *cookie);
        let cookie = free.unwrap_or_else(|| {
            self.next_cookie += 1;
            self.buffers.insert(self.next_cookie, (Box::new([0; BUF_LEN]), false));
            self.next_cookie
        });
        let (buffer, lent) = self.buffers.get_mut(&cookie).unwrap();
        *lent = true;
        let at = HEADROOM as usize;
        buffer[at..at + frame.len()].copy_from_slice(frame);
        sys::weir_pkt {
            cookie,
            base: buffer.as_mut_ptr(),
            iova: 0,
            buf_len: BUF_LEN as u32,
            data_off: HEADROOM,
            len: frame.len() as u32,
            flags: 0,
            csum_start: 0,
            csum_stuff: 0,
            mss: 0,
            segs: 0,
            status: 0,
            reserved: 0,
        }
    }

    /// The core did not take it.
    pub fn keep(&mut self, pkt: &sys::weir_pkt) {
        self.buffers.get_mut(&pkt.cookie).unwrap().1 = false;
    }

    fn take_back(&mut self, pkt: &sys::weir_pkt) {
        let entry = self.buffers.get_mut(&pkt.cookie);
        let (buffer, lent) = entry.unwrap_or_else(|| panic!("cookie {:#x} is not queue {}'s", pkt.cookie, self.index));
        assert!(*lent, "cookie {:#x} came back twice", pkt.cookie);
        *lent = false;
        assert!(pkt.base == buffer.as_mut_ptr() || pkt.buf_len == 0);
        assert_eq!(pkt.reserved, 0);
    }

    pub fn lent(&self) -> usize {
        self.buffers.values().filter(|(_, lent)| *lent).count()
    }

    /// Lends as many receive buffers as the core takes.
    pub fn refill(&mut self) {
        loop {
            // SAFETY: a live core.
            let space = unsafe { weir_rx_space(self.core.0, self.index) }.min(sys::WEIR_BURST_MAX);
            let pkts: Vec<_> = (0..space).map(|_| self.descriptor(&[])).collect();
            let empties: Vec<_> = pkts.iter().map(empty).collect();
            // SAFETY: a live core; the descriptors' buffers stay where they are until they come back.
            let taken = unsafe { weir_rx_post(self.core.0, self.index, empties.as_ptr(), space) };
            pkts.iter().skip(taken as usize).for_each(|pkt| self.keep(pkt));
            if taken == 0 {
                return;
            }
        }
    }

    /// Offers frames; returns how many were taken.
    pub fn submit(&mut self, frames: &[Vec<u8>]) -> usize {
        let pkts: Vec<_> = frames.iter().map(|frame| self.descriptor(frame)).collect();
        self.submit_raw(&pkts)
    }

    pub fn submit_raw(&mut self, pkts: &[sys::weir_pkt]) -> usize {
        let mut lent = burst(pkts);
        // SAFETY: a live core; the descriptors' buffers stay where they are until they come back.
        let taken = unsafe { weir_tx_submit(self.core.0, self.index, &mut lent, pkts.len() as u32) } as usize;
        pkts.iter().skip(taken).for_each(|pkt| self.keep(pkt));
        for (pkt, left) in pkts.iter().zip(&lent.pkts).skip(taken) {
            assert_eq!((pkt.cookie, pkt.base, pkt.len), (left.cookie, left.base, left.len), "not taken, yet changed");
        }
        taken
    }

    pub fn tx_space(&self) -> usize {
        // SAFETY: a live core.
        unsafe { weir_tx_space(self.core.0, self.index) as usize }
    }

    fn collect(&mut self, call: impl FnOnce(&mut sys::weir_burst) -> u32) -> Vec<sys::weir_pkt> {
        let mut out = burst(&[]);
        let count = call(&mut out) as usize;
        out.pkts[..count].iter().for_each(|pkt| self.take_back(pkt));
        out.pkts[..count].to_vec()
    }

    /// One turn of the poll sequence; true if something happened.
    pub fn turn(&mut self) -> bool {
        let (core, index) = (self.core.0, self.index);
        let mut flags = 0;
        // SAFETY: a live core, room for a burst.
        let got = self.collect(|out| unsafe { weir_rx_poll(core, index, out, 64, &mut flags) });
        for pkt in &got {
            let (at, len) = (pkt.data_off as usize, pkt.len as usize);
            assert_eq!(pkt.data_off, HEADROOM);
            self.received.push(self.buffers[&pkt.cookie].0[at..at + len].to_vec());
        }
        self.refill();
        // SAFETY: as above.
        let done = self.collect(|out| unsafe { weir_tx_reap(core, index, out.pkts.as_mut_ptr(), 64) });
        self.completed.extend(done.iter().map(|pkt| pkt.status));
        // SAFETY: a live core.
        let again = unsafe { weir_arm(core, index) } != 0;
        !got.is_empty() || !done.is_empty() || flags != 0 || again
    }

    /// After disabling: takes everything back.
    pub fn reclaim(&mut self) {
        loop {
            let (core, index) = (self.core.0, self.index);
            // SAFETY: a live core, room for a burst.
            let back = self.collect(|out| unsafe { weir_reclaim(core, index, out.pkts.as_mut_ptr(), 64) });
            if back.is_empty() {
                break;
            }
            // Frames have a length; receive buffers come back empty.
            self.completed.extend(back.iter().filter(|pkt| pkt.len != 0).map(|pkt| pkt.status));
        }
        assert_eq!(self.lent(), 0, "queue {} did not get everything back", self.index);
    }
}

/// The buffer of a packet, to receive into.
pub fn empty(pkt: &sys::weir_pkt) -> sys::weir_empty {
    let sys::weir_pkt { cookie, base, iova, buf_len, data_off, .. } = *pkt;
    sys::weir_empty { cookie, base, iova, buf_len, data_off }
}

/// The first of `pkts`, as many as fit.
pub fn burst(pkts: &[sys::weir_pkt]) -> sys::weir_burst {
    // SAFETY: weir_burst is numbers and pointers.
    let mut burst: sys::weir_burst = unsafe { std::mem::zeroed() };
    // The core's own, whatever is there.
    burst.reserved = u64::MAX;
    burst.pkts.iter_mut().zip(pkts).for_each(|(place, pkt)| *place = *pkt);
    burst
}

/// One NIC instance with its glue.
pub struct Station {
    pub core: Handle,
    pub glue: Arc<Glue>,
    pub queues: Vec<Queue>,
    pub mac: [u8; 6],
}

impl Station {
    pub fn new(config: &sys::weir_config) -> Self {
        let glue = Arc::new(Glue::default());
        let mut core = std::ptr::null_mut();
        // SAFETY: valid structs; the glue outlives the core.
        let status = unsafe { weir_create(config, &ops(&glue), &mut core) };
        assert_eq!(status, sys::WEIR_OK);
        let core = Handle(core);
        let queues = (0..u32::from(config.queues)).map(|index| Queue::new(core, index)).collect();
        Self { core, glue, queues, mac: config.mac }
    }

    pub fn enabled(config: &sys::weir_config) -> Self {
        let mut station = Self::new(config);
        station.enable();
        station
    }

    pub fn enable(&mut self) {
        // SAFETY: a live core.
        assert_eq!(unsafe { weir_enable(self.core.0, 1) }, sys::WEIR_OK);
        self.queues.iter_mut().for_each(Queue::refill);
    }

    pub fn disable(&mut self) {
        // SAFETY: a live core.
        assert_eq!(unsafe { weir_enable(self.core.0, 0) }, sys::WEIR_OK);
        self.queues.iter_mut().for_each(Queue::reclaim);
        self.counters().check().unwrap();
    }

    /// Turns every queue once; true if something happened.
    pub fn turn(&mut self) -> bool {
        self.queues.iter_mut().fold(false, |any, queue| queue.turn() | any)
    }

    pub fn received(&mut self) -> Vec<Vec<u8>> {
        self.queues.iter_mut().flat_map(|queue| std::mem::take(&mut queue.received)).collect()
    }

    pub fn completed(&mut self) -> Vec<i32> {
        self.queues.iter_mut().flat_map(|queue| std::mem::take(&mut queue.completed)).collect()
    }

    /// Sends frames on one queue, completely.
    pub fn send(&mut self, queue: usize, frames: &[Vec<u8>]) {
        let mut sent = 0;
        while sent < frames.len() {
            let end = frames.len().min(sent + 64);
            sent += self.queues[queue].submit(&frames[sent..end]);
            self.turn();
        }
    }

    /// Runs a command. The reply has what the core said it has, even with an error.
    pub fn control(&self, command: u32, arg: u64, payload: &[u8]) -> (i32, Vec<u8>) {
        let mut request = Vec::new();
        request.extend_from_slice(&sys::WEIR_ABI_VERSION.to_ne_bytes());
        request.extend_from_slice(&command.to_ne_bytes());
        request.extend_from_slice(&arg.to_ne_bytes());
        request.extend_from_slice(payload);
        let mut reply = vec![0u8; 64 * 1024];
        let mut len = 0;
        // SAFETY: a live core and buffers of the given lengths.
        let status = unsafe {
            let (req, resp) = (request.as_ptr().cast(), reply.as_mut_ptr().cast());
            weir_control(self.core.0, req, request.len(), resp, reply.len(), &mut len)
        };
        reply.truncate(len);
        (status, reply)
    }

    /// A reply that is one struct of the header.
    pub fn ask<T: Copy>(&self, command: u32, arg: u64) -> T {
        let (status, reply) = self.control(command, arg, &[]);
        assert_eq!((status, reply.len()), (sys::WEIR_OK, size_of::<T>()));
        // SAFETY: the structs of the header are plain numbers, and the reply has the size of one.
        unsafe { reply.as_ptr().cast::<T>().read_unaligned() }
    }

    pub fn counters(&self) -> Counters {
        let (status, reply) = self.control(sys::WEIR_CMD_COUNTERS, u64::from(sys::WEIR_ALL_QUEUES), &[]);
        assert_eq!((status, reply.len()), (sys::WEIR_OK, size_of::<sys::weir_counters>()));
        let numbers = reply.chunks_exact(8).map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap()));
        Counters::from_numbers(numbers).unwrap()
    }

    pub fn load(&self, ruleset: &Ruleset) -> sys::weir_load_result {
        let (status, reply) = self.control(sys::WEIR_CMD_RULESET_LOAD, 0, &image::encode(ruleset));
        let log = || self.glue.log.lock().unwrap().join("\n");
        assert_eq!((status, reply.len()), (sys::WEIR_OK, size_of::<sys::weir_load_result>()), "{}", log());
        // SAFETY: as in `ask`.
        unsafe { reply.as_ptr().cast::<sys::weir_load_result>().read_unaligned() }
    }

    pub fn events(&self) -> Vec<sys::weir_event> {
        let (status, reply) = self.control(sys::WEIR_CMD_EVENTS, 0, &[]);
        assert_eq!(status, sys::WEIR_OK);
        let events = reply.chunks_exact(size_of::<sys::weir_event>());
        assert!(events.remainder().is_empty());
        // SAFETY: as in `ask`.
        events.map(|event| unsafe { event.as_ptr().cast::<sys::weir_event>().read_unaligned() }).collect()
    }

    /// (evaluations, packets, bytes) of each rule.
    pub fn rule_counters(&self) -> Vec<(u64, u64, u64)> {
        let (status, reply) = self.control(sys::WEIR_CMD_RULE_COUNTERS, 0, &[]);
        assert_eq!(status, sys::WEIR_OK);
        let number = |at: &[u8]| u64::from_ne_bytes(at.try_into().unwrap());
        reply.chunks_exact(32).map(|rule| (number(&rule[..8]), number(&rule[8..16]), number(&rule[16..24]))).collect()
    }

    /// Stops, checks that everything came back and that the accounts are right, and ends the instance.
    pub fn close(mut self) -> Counters {
        self.disable();
        let counters = self.counters();
        assert_eq!((counters.rx_lent, counters.tx_in_flight), (0, 0));
        // SAFETY: nobody else has the handle.
        unsafe { weir_destroy(self.core.0) };
        let log = self.glue.log.lock().unwrap();
        assert!(log.iter().all(|line| !line.contains("not reclaimed")), "{log:?}");
        counters
    }
}

/// Turns stations until nothing happens any more, then checks their accounts.
pub fn settle(stations: &mut [&mut Station]) {
    let mut woken = vec![0; stations.len()];
    for _ in 0..100_000 {
        let mut quiet = true;
        for (station, woken) in stations.iter_mut().zip(&mut woken) {
            quiet &= !station.turn();
            // A queue that was woken has something to do, also if none had before.
            let new = station.glue.woken.swap(0, Ordering::SeqCst);
            *woken |= new;
            quiet &= new == 0;
        }
        if quiet {
            for (station, woken) in stations.iter().zip(woken) {
                station.glue.woken.fetch_or(woken, Ordering::SeqCst);
                station.counters().check().unwrap_or_else(|broken| panic!("{broken}"));
            }
            return;
        }
    }
    panic!("the stations never come to rest");
}

/// The drops of one direction that are not zero.
pub fn drops(table: &[u64; 32]) -> Vec<(&'static str, u64)> {
    let reasons = DropReason::ALL.iter().map(|reason| (reason.name(), table[reason.index()]));
    reasons.filter(|(_, count)| *count != 0).collect()
}
