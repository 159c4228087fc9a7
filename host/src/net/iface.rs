//! One registered interface: what the kernel keeps about it and how frames cross.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::netq::{BURST, NetQ, NetqKind};
use super::ops::Tso;
use super::packet::{Packet, flag};
use super::pool::Pool;
use super::port::PortFrame;
use crate::ioreturn::{IoResult, IoReturn};
use crate::port::{Offload, RxFrame, Sink};
use crate::rt::Runtime;
use crate::sched::{Queue, lock};
use crate::service::Svc;

/// `kIOUserNetworkLinkStatusActive`.
pub const LINK_ACTIVE: u32 = 3;
/// Default MTU of Ethernet, bytes.
pub const DEFAULT_MTU: u32 = 1500;
/// Ethernet header and one VLAN tag.
const LINK_HEADERS: u32 = 18;

/// What the interface counts (`IOUserNetworkStatistics`), as the kernel sees it: "in" is towards the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames delivered by the driver.
    pub packets_in: u64,
    /// Frames handed to the driver.
    pub packets_out: u64,
    /// Bytes of `packets_in`.
    pub bytes_in: u64,
    /// Bytes of `packets_out`.
    pub bytes_out: u64,
    /// Frames from the driver that are no Ethernet frames.
    pub errors_in: u64,
    /// Frames that the driver completed with an error status.
    pub errors_out: u64,
    /// Group-addressed frames among `packets_in`.
    pub multicasts_in: u64,
    /// Group-addressed frames among `packets_out`.
    pub multicasts_out: u64,
    /// Frames dropped in between: no sink, no such offload, queue disabled.
    pub dropped: u64,
    /// `collisions`, from the driver's hardware counts only.
    pub collisions: u64,
    /// `no_protocol`, from the driver's hardware counts only.
    pub no_protocol: u64,
}

#[derive(Default)]
struct Stats([AtomicU64; 11]);

const PACKETS_IN: usize = 0;
const PACKETS_OUT: usize = 1;
const BYTES_IN: usize = 2;
const BYTES_OUT: usize = 3;
const ERRORS_IN: usize = 4;
const ERRORS_OUT: usize = 5;
const MULTICASTS_IN: usize = 6;
const MULTICASTS_OUT: usize = 7;
const DROPPED: usize = 8;

impl Stats {
    fn add(&self, i: usize, n: u64) {
        if n > 0
            && let Some(c) = self.0.get(i)
        {
            c.fetch_add(n, Ordering::Relaxed);
        }
    }
}

/// Link as the driver reported it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// `kIOUserNetworkLinkStatus*`: 1 inactive, 3 active.
    pub status: u32,
    /// Media word.
    pub media: u32,
    /// `kIOUserNetworkLinkQuality*`.
    pub quality: i32,
    /// Bits per second: most in, most out, effective in, effective out.
    pub bandwidth: [u64; 4],
}

impl Link {
    /// Frames can pass.
    pub fn up(&self) -> bool {
        self.status == LINK_ACTIVE
    }
}

/// What the driver set before registration.
#[derive(Clone, Debug, Default)]
pub struct NetConfig {
    pub(crate) tx_headroom: u32,
    pub(crate) tx_tailroom: u32,
    pub(crate) wake_on_magic_packet: bool,
    pub(crate) software_vlan: bool,
    pub(crate) media: Option<Vec<u32>>,
    pub(crate) dlts: Vec<(u32, u32)>,
    pub(crate) nic_proxy_limits: Vec<u8>,
}

/// Arguments of a registration.
pub struct Registration {
    /// `registerEthernetInterface`, the lowercase generation.
    pub lower: bool,
    /// The address, if it was given.
    pub mac: Option<[u8; 6]>,
    /// Pool of the TX queues.
    pub tx_pool: Arc<Pool>,
    /// Pool of the RX queues.
    pub rx_pool: Arc<Pool>,
    /// All queues, in any order.
    pub queues: Vec<Arc<NetQ>>,
}

/// What the driver answered when it was asked at registration.
pub(crate) struct Answers {
    pub mac: [u8; 6],
    pub mtu_max: u32,
    pub assists: u32,
    pub tso: Tso,
    pub tx_data_offset: u32,
    pub name: String,
    pub feature_flags: u32,
    pub initial_media: u32,
    pub subfamily: u32,
}

/// Called with the link's state when it changes; on a queue of the engine.
pub type LinkListener = Arc<dyn Fn(bool) + Send + Sync>;

/// A registered interface.
pub struct Iface {
    pub(super) rt: Arc<Runtime>,
    pub(super) service: std::sync::Weak<Svc>,
    name: String,
    pub(crate) lower: bool,
    pub(super) mac: Mutex<[u8; 6]>,
    pub(super) mtu: AtomicU32,
    pub(super) mtu_max: u32,
    pub(super) assists: AtomicU32,
    offered_assists: u32,
    pub(super) tso: Tso,
    pub(super) tx_headroom: u32,
    pub(super) tx_tailroom: u32,
    /// `getFeatureFlags`, `getInitialMedia`, `getInterfaceSubFamily`.
    pub traits: [u32; 3],
    pub(super) tx: Vec<Arc<NetQ>>,
    queues: Vec<Arc<NetQ>>,
    pub(super) tx_pool: Arc<Pool>,
    rx_pool: Arc<Pool>,
    /// Inside `setInterfaceEnable(true)`.
    enabling: AtomicBool,
    pub(super) enabled: AtomicBool,
    gone: AtomicBool,
    link: Mutex<Link>,
    link_up: AtomicBool,
    listener: Mutex<Option<LinkListener>>,
    sink: RwLock<Option<Arc<dyn Sink>>>,
    stats: Stats,
    taps: AtomicU64,
    /// Boxes of submitted frames, to be used again.
    // Boxes, because they are handed out as Box<dyn TxFrame> again.
    #[allow(clippy::vec_box)]
    pub(super) boxes: Mutex<Vec<Box<PortFrame>>>,
}

/// Checks a registration's queues and pools.
pub(crate) fn check(r: &Registration) -> IoResult<()> {
    let mut seen = HashSet::new();
    for q in &r.queues {
        let pool = match q.kind() {
            NetqKind::TxSubmission | NetqKind::TxCompletion => &r.tx_pool,
            NetqKind::RxSubmission | NetqKind::RxCompletion => &r.rx_pool,
        };
        if !Arc::ptr_eq(q.pool(), pool) || !seen.insert(Arc::as_ptr(q)) || q.iface.get().is_some() {
            return Err(IoReturn::BAD_ARGUMENT);
        }
    }
    let has = |k: NetqKind| r.queues.iter().any(|q| q.kind() == k);
    let all = [NetqKind::TxSubmission, NetqKind::TxCompletion, NetqKind::RxSubmission, NetqKind::RxCompletion];
    if all.into_iter().all(has) { Ok(()) } else { Err(IoReturn::BAD_ARGUMENT) }
}

impl Iface {
    pub(crate) fn new(service: &Arc<Svc>, r: Registration, a: Answers, config: &NetConfig) -> Arc<Iface> {
        let of = |k: NetqKind| r.queues.iter().filter(move |q| q.kind() == k).cloned();
        let rx_subs: Vec<_> = of(NetqKind::RxSubmission).collect();
        let shared = Arc::ptr_eq(&r.tx_pool, &r.rx_pool);
        let most = r.rx_pool.options().packet_count / if shared { 2 } else { 1 };
        for q in &rx_subs {
            q.set_rx_target(most / rx_subs.len().max(1) as u32);
        }
        let iface = Arc::new(Iface {
            rt: service.rt().clone(),
            service: Arc::downgrade(service),
            name: a.name,
            lower: r.lower,
            mac: Mutex::new(a.mac),
            mtu: AtomicU32::new(DEFAULT_MTU.min(a.mtu_max)),
            mtu_max: a.mtu_max,
            assists: AtomicU32::new(a.assists),
            offered_assists: a.assists,
            tso: a.tso,
            tx_headroom: config.tx_headroom.max(a.tx_data_offset),
            tx_tailroom: config.tx_tailroom,
            traits: [a.feature_flags, a.initial_media, a.subfamily],
            tx: of(NetqKind::TxSubmission).collect(),
            queues: r.queues.clone(),
            tx_pool: r.tx_pool,
            rx_pool: r.rx_pool,
            enabling: AtomicBool::new(false),
            enabled: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            link: Mutex::new(Link { quality: -1, ..Link::default() }),
            link_up: AtomicBool::new(false),
            listener: Mutex::new(None),
            sink: RwLock::new(None),
            stats: Stats::default(),
            taps: AtomicU64::new(0),
            boxes: Mutex::new(Vec::new()),
        });
        let mut numbers = [0usize; 4];
        for q in &r.queues {
            if let Some(n) = numbers.get_mut(q.kind() as usize) {
                let _ = q.iface.set((Arc::downgrade(&iface), *n));
                *n += 1;
            }
        }
        iface
    }

    /// `en0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Queues may be enabled: inside or after `setInterfaceEnable(true)`.
    pub(crate) fn may_enable_queues(&self) -> bool {
        self.enabling.load(Ordering::Acquire) || self.enabled.load(Ordering::Acquire)
    }

    /// The caller runs in an action function of one of the queues (model B).
    pub(super) fn inside_action(&self) -> bool {
        self.queues.iter().any(|q| q.inside_action())
    }

    /// After Stop.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn begin_enable(&self) {
        self.enabling.store(true, Ordering::Release);
    }

    pub(crate) fn end_enable(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Release);
        self.enabling.store(false, Ordering::Release);
        if !enabled {
            self.shut_queues();
        }
        self.tx_pool.wake_waiters();
    }

    /// Before the driver is told to disable: no more frames for it.
    pub(crate) fn begin_disable(&self) {
        self.enabled.store(false, Ordering::Release);
    }

    fn shut_queues(&self) {
        for q in self.queues.iter().filter(|q| q.enabled()) {
            let _ = q.set_enable(false);
        }
        self.set_link_up(false);
    }

    /// The interface is no more: nothing crosses it, nobody waits for it.
    pub(crate) fn close(&self) {
        self.enabled.store(false, Ordering::Release);
        self.gone.store(true, Ordering::Release);
        for q in &self.queues {
            q.close();
        }
        self.set_link_up(false);
        self.tx_pool.close();
        self.rx_pool.close();
    }

    /// Where the driver's handlers and action functions run.
    pub(crate) fn dispatch_queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queues.iter().map(|q| q.dispatch_queue())
    }

    fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        let second = (!Arc::ptr_eq(&self.tx_pool, &self.rx_pool)).then_some(&self.rx_pool);
        std::iter::once(&self.tx_pool).chain(second)
    }

    pub(crate) fn report_leaks(&self, when: &str) -> usize {
        self.pools().map(|p| p.report_leaks(when)).sum()
    }

    pub(crate) fn reclaim(&self) {
        for p in self.pools() {
            p.reclaim();
        }
    }

    /// Enabled, with a link.
    pub fn running(&self) -> bool {
        self.enabled.load(Ordering::Acquire) && self.link_up.load(Ordering::Acquire)
    }

    /// Link as reported.
    pub fn link(&self) -> Link {
        *lock(&self.link)
    }

    pub(crate) fn set_listener(&self, l: Option<LinkListener>) {
        *lock(&self.listener) = l;
    }

    fn set_link_up(&self, up: bool) {
        if self.link_up.swap(up, Ordering::AcqRel) != up {
            self.rt.trace.event(self.rt.trace_now(), "link", u64::from(up), 0);
            let listener = lock(&self.listener).clone();
            if let Some(l) = listener {
                l(up);
            }
            self.tx_pool.wake_waiters();
        }
    }

    pub(crate) fn report_link(&self, status: u32, media: u32) {
        if !self.may_enable_queues() {
            return;
        }
        {
            let mut l = lock(&self.link);
            l.status = status;
            l.media = media;
        }
        self.set_link_up(status == LINK_ACTIVE);
    }

    pub(crate) fn update_link(&self, f: impl FnOnce(&mut Link)) {
        f(&mut lock(&self.link));
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        let c = |i: usize| self.stats.0.get(i).map_or(0, |c| c.load(Ordering::Relaxed));
        Counters {
            packets_in: c(PACKETS_IN),
            packets_out: c(PACKETS_OUT),
            bytes_in: c(BYTES_IN),
            bytes_out: c(BYTES_OUT),
            errors_in: c(ERRORS_IN),
            errors_out: c(ERRORS_OUT),
            multicasts_in: c(MULTICASTS_IN),
            multicasts_out: c(MULTICASTS_OUT),
            dropped: c(DROPPED),
            collisions: c(9),
            no_protocol: c(10),
        }
    }

    /// A `bpfTapInputPacket` or `bpfTapOutputPacket` call.
    pub(crate) fn count_tap(&self, input: bool, dlt: u32) {
        self.taps.fetch_add(1, Ordering::Relaxed);
        self.rt.trace.event(self.rt.trace_now(), "bpf tap", u64::from(input), dlt.into());
    }

    /// Packets that the driver showed to bpf.
    pub fn taps(&self) -> u64 {
        self.taps.load(Ordering::Relaxed)
    }

    pub(crate) fn raw_counters(&self, out: &mut [u64; 11]) {
        for (o, c) in out.iter_mut().zip(&self.stats.0) {
            *o = c.load(Ordering::Relaxed);
        }
    }

    pub(crate) fn add_counts(&self, counts: &[u64; 11]) {
        for (i, n) in counts.iter().enumerate() {
            self.stats.add(i, *n);
        }
    }

    pub(super) fn count_tx_dropped(&self, n: usize) {
        self.stats.add(DROPPED, n as u64);
    }

    pub(super) fn count_tx(&self, packets: usize, bytes: u64, multicasts: u64) {
        self.stats.add(PACKETS_OUT, packets as u64);
        self.stats.add(BYTES_OUT, bytes);
        self.stats.add(MULTICASTS_OUT, multicasts);
    }

    pub(super) fn tx_completed(&self, pool: &Pool, indices: &[u32]) {
        let mut errors = 0;
        for i in indices {
            let p = pool.packet(*i);
            // SAFETY: take_back() made these packets ours; index is in range.
            errors += u64::from(unsafe { (*p).completion_status } != 0);
        }
        self.stats.add(ERRORS_OUT, errors);
    }

    pub(crate) fn mtu_max(&self) -> u32 {
        self.mtu_max
    }

    pub(crate) fn store_mtu(&self, mtu: u32) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }

    pub(crate) fn store_mac(&self, mac: [u8; 6]) {
        *lock(&self.mac) = mac;
    }

    pub(crate) fn mask_assists(&self, assists: u32, mask: u32) {
        let offered = self.offered_assists;
        let _ = self
            .assists
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some((now & !mask | assists & mask) & offered));
    }

    /// Longest frame the stack may hand over without TSO.
    pub(super) fn max_frame(&self) -> usize {
        (self.mtu.load(Ordering::Relaxed) + LINK_HEADERS) as usize
    }

    /// Sets where received frames go; waits for deliveries into the old one.
    pub(super) fn replace_sink(&self, sink: Option<Arc<dyn Sink>>) {
        let old = std::mem::replace(&mut *self.sink.write().unwrap_or_else(PoisonError::into_inner), sink);
        drop(old);
    }

    /// Gives received packets to the sink. They are ours until this returns.
    pub(super) fn rx_deliver(&self, pool: &Pool, queue: usize, indices: &[u32]) {
        let empty = RxFrame { bytes: &[], offload: Offload::default() };
        let mut frames = [empty; BURST];
        let (mut n, mut bytes, mut multicasts, mut bad) = (0, 0u64, 0u64, 0u64);
        for i in indices {
            let frame = frame_of(pool, *i);
            if frame.bytes.len() < 14 {
                bad += 1;
                continue;
            }
            bytes += frame.bytes.len() as u64;
            multicasts += u64::from(frame.bytes.first().is_some_and(|b| b & 1 != 0));
            if let Some(slot) = frames.get_mut(n) {
                *slot = frame;
                n += 1;
            }
        }
        let frames = frames.get(..n).unwrap_or_default();
        self.stats.add(PACKETS_IN, n as u64);
        self.stats.add(BYTES_IN, bytes);
        self.stats.add(MULTICASTS_IN, multicasts);
        self.stats.add(ERRORS_IN, bad);
        if self.rt.sched.is_simulated() {
            for f in frames {
                self.rt.trace.bytes(self.rt.now_ns(), "frame in", queue as u64, f.bytes);
            }
        }
        if frames.is_empty() {
            return;
        }
        match &*self.sink.read().unwrap_or_else(PoisonError::into_inner) {
            Some(sink) => sink.deliver(queue, frames),
            None => self.stats.add(DROPPED, n as u64),
        }
    }
}

/// The frame in a packet that the engine has.
fn frame_of(pool: &Pool, index: u32) -> RxFrame<'_> {
    let p: *const Packet = pool.packet(index);
    // SAFETY: take_back() made the packet ours and checked offset and length against the buffer; the memory is mapped as
    // long as the pool lives, and nobody else has it until give().
    let (bytes, p) = unsafe {
        let at = (*p).cpu.add((*p).data_off as usize);
        (std::slice::from_raw_parts(at, (*p).data_len as usize), &*p)
    };
    let mut offload = Offload { data_valid: p.rx_csum_flags & flag::RX_DATA_VALID != 0, ..Offload::default() };
    if p.lro_flags & (flag::TSO_IPV4 | flag::TSO_IPV6) != 0 && p.lro_segs > 1 {
        offload.segments = p.lro_segs.min(u16::MAX.into()) as u16;
        offload.v6 = p.lro_flags & flag::TSO_IPV6 != 0;
        let payload = tcp_payload(bytes).unwrap_or(0);
        offload.mss = payload.div_ceil(p.lro_segs).min(u16::MAX.into()) as u16;
    }
    RxFrame { bytes, offload }
}

/// Bytes of TCP payload in an Ethernet frame without IPv6 extension headers (what receive offloads merge).
fn tcp_payload(frame: &[u8]) -> Option<u32> {
    let be16 = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let mut at = 12;
    while matches!(be16(at)?, 0x8100 | 0x88a8) {
        at += 4;
    }
    let ip = at + 2;
    let tcp = match be16(at)? {
        0x0800 => ip + usize::from(*frame.get(ip)? & 0xf) * 4,
        0x86dd => ip + 40,
        _ => return None,
    };
    let header = usize::from(*frame.get(tcp + 12)? >> 4) * 4;
    u32::try_from(frame.len().checked_sub(tcp + header)?).ok()
}
