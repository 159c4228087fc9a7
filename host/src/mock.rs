//! A small driver in Rust for the engine's tests: what it is sent it receives again.

use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};

use crate::client::RawExtArgs;
use crate::diag::Site;
use crate::ioreturn::IoReturn;
use crate::mem::Mem;
use crate::net::iface::Registration;
use crate::net::netq::{Actions, NetQ, NetqKind, RawActions};
use crate::net::ops::{Class, NetOps, ServiceOps, Tso};
use crate::net::packet::Packet;
use crate::net::pool::{Pool, PoolOptions};
use crate::prop::{Prop, Properties};
use crate::rt::Runtime;
use crate::sched::{Item, Queue, Work, lock};
use crate::service::{Svc, class};
use crate::source::{Handler, RawHandler, Source};

pub const NIC: &str = "MockNic";
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const HELD: usize = 4;

/// What a personality may ask of the mock: one property each.
pub fn personality(what: &[&str]) -> Properties {
    let mut p: Properties = what.iter().map(|w| ((*w).to_owned(), Prop::Bool(true))).collect();
    let client = [("IOUserClass".to_owned(), Prop::from("MockClient"))].into_iter().collect::<Properties>();
    p.insert("UserClientProperties".to_owned(), client.into());
    p.insert("IOProviderClass".to_owned(), "MockProvider".into());
    p
}

#[derive(Default)]
struct Net {
    queues: Vec<Arc<NetQ>>,
    timer: Option<Arc<Source>>,
    held: Vec<usize>,
    ready: Vec<usize>,
}

/// The object behind all three classes.
pub struct Mock {
    references: AtomicU32,
    svc: *const Svc,
    net: Mutex<Net>,
    pub enables: AtomicUsize,
    pub max_mtu_asked: AtomicUsize,
    pub polls: AtomicUsize,
    stopping: AtomicBool,
}

impl Mock {
    fn svc(&self) -> Arc<Svc> {
        // SAFETY: the handle's reference is ours until the last release.
        unsafe {
            Arc::increment_strong_count(self.svc);
            Arc::from_raw(self.svc)
        }
    }

    fn says(&self, what: &str) -> bool {
        self.svc().property(what).is_some_and(|p| p == Prop::Bool(true))
    }

    fn queue(&self, kind: NetqKind) -> Option<Arc<NetQ>> {
        lock(&self.net).queues.iter().find(|q| q.kind() == kind).cloned()
    }
}

/// The mock behind a service.
pub fn mock(svc: &Svc) -> &Mock {
    of(svc.object())
}

fn of<'a>(object: *mut c_void) -> &'a Mock {
    // SAFETY: every object of these classes is a Mock made by make(), alive while somebody has a reference.
    unsafe { &*object.cast::<Mock>() }
}

fn make_as(name: &'static std::ffi::CStr) -> *mut c_void {
    let Some(rt) = Runtime::current() else { return std::ptr::null_mut() };
    let m = Box::new(Mock {
        references: AtomicU32::new(1),
        svc: std::ptr::null(),
        net: Mutex::default(),
        enables: AtomicUsize::new(0),
        max_mtu_asked: AtomicUsize::new(0),
        polls: AtomicUsize::new(0),
        stopping: AtomicBool::new(false),
    });
    let p = Box::into_raw(m);
    let svc = Svc::new(&rt, p.cast(), name);
    // SAFETY: nobody else knows the object yet.
    unsafe { (*p).svc = Arc::into_raw(svc) };
    p.cast()
}

extern "C" fn make_nic(_: *const Class) -> *mut c_void {
    make_as(c"MockNic")
}
extern "C" fn make_client(_: *const Class) -> *mut c_void {
    make_as(c"MockClient")
}
extern "C" fn make_provider(_: *const Class) -> *mut c_void {
    make_as(c"MockProvider")
}

extern "C" fn retain(object: *mut c_void) {
    of(object).references.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn release(object: *mut c_void) {
    if of(object).references.fetch_sub(1, Ordering::AcqRel) == 1 {
        // SAFETY: the last reference; made by make_as().
        let m = unsafe { Box::from_raw(object.cast::<Mock>()) };
        // SAFETY: the handle's own reference.
        unsafe { Arc::from_raw(m.svc) }.freed();
    }
}

extern "C" fn service(object: *mut c_void) -> *const Svc {
    of(object).svc
}

/// A source's handler that calls `f` with the object.
fn handler(object: *mut c_void, f: extern "C" fn(*mut c_void, u64, u64)) -> Option<Arc<Handler>> {
    Handler::take(&RawHandler { ctx: object, invoke: Some(f), release: None })
}

/// Copies a frame from a TX into an RX packet and delivers it.
fn reflect(m: &Mock, tx: *mut Packet) {
    let (Some(rxs), Some(rxc)) = (m.queue(NetqKind::RxSubmission), m.queue(NetqKind::RxCompletion)) else { return };
    let mut rx = [std::ptr::null_mut(); 1];
    if rxs.dequeue(&mut rx, Site::NONE) == 0 {
        return;
    }
    // SAFETY: both packets are ours (the driver's) between dequeue and enqueue; the buffers are mapped.
    unsafe {
        let (t, r) = (&*tx, &mut *rx[0]);
        let len = t.data_len.min(r.buf_size);
        std::ptr::copy_nonoverlapping(t.cpu.add(t.data_off as usize), r.cpu, len as usize);
        r.data_off = 0;
        r.data_len = len;
        r.rx_csum_flags = 0;
        r.lro_flags = t.tso_flags;
        let payload = len.saturating_sub(54);
        r.lro_segs = payload.div_ceil(t.tso_segsz.max(1));
    }
    if rxc.enqueue(&rx, Site::NONE) == 0 {
        free(&rx);
    }
}

/// Gives packets back without a completion.
fn free(packets: &[*mut Packet]) {
    for p in packets {
        // SAFETY: packets live as long as their pool, which the interface holds until the service is let go of.
        let pool = unsafe { &*(**p).pool };
        let _ = pool.free(&[*p], Site::NONE);
    }
}

fn send(m: &Mock, packets: &[*mut Packet]) {
    // None: Stop came first (the actions of model B run beside the Default queue).
    let Some(txc) = m.queue(NetqKind::TxCompletion) else { return free(packets) };
    for p in packets {
        if m.says("HoldTx") && lock(&m.net).held.len() < HELD {
            lock(&m.net).held.push(*p as usize);
            continue;
        }
        reflect(m, *p);
        if m.says("ModelB") {
            let mut net = lock(&m.net);
            if net.queues.is_empty() {
                drop(net);
                free(&[*p]);
            } else {
                net.ready.push(*p as usize);
            }
        } else if txc.enqueue(&[*p], Site::NONE) == 0 {
            free(&[*p]);
        }
        if m.says("CompleteTwice") {
            txc.enqueue(&[*p], Site::NONE);
        }
    }
    if m.says("ModelB") {
        let _ = txc.request();
    }
}

extern "C" fn doorbell(object: *mut c_void, _: u64, _: u64) {
    let m = of(object);
    let Some(txs) = m.queue(NetqKind::TxSubmission) else { return };
    loop {
        let mut packets = [std::ptr::null_mut(); 16];
        let n = txs.dequeue(&mut packets, Site::NONE) as usize;
        send(m, &packets[..n]);
        if n < packets.len() {
            break;
        }
    }
}

extern "C" fn tick(object: *mut c_void, _: u64, _: u64) {
    let m = of(object);
    m.polls.fetch_add(1, Ordering::Relaxed);
    let timer = lock(&m.net).timer.clone();
    if let Some(t) = timer {
        let rt = m.svc().rt().clone();
        let _ = t.wake_at(rt.now_ns() + 1_000_000, 0);
    }
}

extern "C" fn dequeue_action(object: *mut c_void, packets: *mut *mut Packet, n: u32) -> u32 {
    // SAFETY: the engine passes n packets.
    let packets = unsafe { std::slice::from_raw_parts(packets, n as usize) };
    let take = packets.len().min(3);
    send(of(object), &packets[..take]);
    if take < packets.len() {
        let q = of(object).queue(NetqKind::TxSubmission);
        let _ = q.map(|q| q.request());
    }
    take as u32
}

extern "C" fn refuse_action(_: *mut c_void, _: *mut *mut Packet, _: u32) -> u32 {
    0
}

extern "C" fn enqueue_action(object: *mut c_void, packets: *mut *mut Packet, n: u32) -> u32 {
    let mut net = lock(&of(object).net);
    let count = net.ready.len().min(n as usize);
    for (i, p) in net.ready.drain(..count).enumerate() {
        // SAFETY: i < n slots that the engine passed.
        unsafe { packets.add(i).write(p as *mut Packet) };
    }
    count as u32
}

extern "C" fn free_space(_: *mut c_void, _: *mut u32) -> u32 {
    5
}

extern "C" fn nic_start(object: *mut c_void, _provider: *mut c_void) -> i32 {
    let m = of(object);
    let r = start(m, object);
    IoReturn::of(r)
}

fn start(m: &Mock, object: *mut c_void) -> crate::IoResult<()> {
    let svc = m.svc();
    if m.says("FailStart") {
        return Err(IoReturn::NO_RESOURCES);
    }
    svc.super_start()?;
    let options = PoolOptions {
        packet_count: 64,
        buffer_count: 64,
        buffer_size: 16384,
        flags: 0x1000_0000,
        ..PoolOptions::default()
    };
    let pool = Pool::new(svc.rt(), 0, "mock", options)?;
    lock(&svc.config).media = Some(vec![0x20]);
    let model_b = m.says("ModelB");
    let kinds = [NetqKind::TxSubmission, NetqKind::TxCompletion, NetqKind::RxSubmission, NetqKind::RxCompletion];
    let other = m.says("TwoQueues").then(|| Queue::new(svc.rt(), c"data"));
    let mut queues = Vec::new();
    for kind in kinds {
        let actions = model_b && matches!(kind, NetqKind::TxSubmission | NetqKind::TxCompletion);
        let actions = actions.then(|| {
            Actions::take(RawActions {
                ctx: object,
                dequeue: Some(if kind == NetqKind::TxSubmission { dequeue_action } else { refuse_action }),
                enqueue: Some(enqueue_action),
                free_space: Some(free_space),
                release: None,
            })
        });
        let on = other.as_ref().unwrap_or(svc.queue());
        let q = NetQ::new(kind, &pool, 32, 0, 0, Some(on), actions)?;
        if kind == NetqKind::TxSubmission
            && let Some(s) = q.source()
        {
            s.set_handler(handler(object, doorbell))?;
        }
        queues.push(q);
    }
    let timer = Source::timer(svc.rt(), svc.queue());
    timer.set_handler(handler(object, tick))?;
    *lock(&m.net) = Net { queues: queues.clone(), timer: Some(timer), ..Net::default() };
    if m.says("EarlyEnable") {
        assert_eq!(queues[0].set_enable(true), Err(IoReturn::NOT_READY));
    }
    let lower = m.says("Lower");
    let mac = (!m.says("AskMac")).then_some(MAC);
    svc.register_interface(Registration { lower, mac, tx_pool: pool.clone(), rx_pool: pool, queues }, Site::NONE)?;
    svc.register()
}

extern "C" fn stopped(object: *mut c_void, run: bool) {
    if run {
        let net = std::mem::take(&mut *lock(&of(object).net));
        free(&net.ready.iter().map(|p| *p as *mut Packet).collect::<Vec<_>>());
        let svc = of(object).svc();
        svc.super_stop();
        drop(net);
    }
    release(object);
}

/// What the end of a dext's process would do for one that never said that it stopped, or that crashed.
pub fn process_exit(svc: &Svc) {
    let object = svc.object();
    let net = std::mem::take(&mut *lock(&of(object).net));
    drop(net);
    release(object);
}

extern "C" fn nic_stop(object: *mut c_void, _provider: *mut c_void) -> i32 {
    let m = of(object);
    m.stopping.store(true, Ordering::Relaxed);
    if m.says("NeverStop") {
        return 0;
    }
    let timer = lock(&m.net).timer.clone();
    retain(object);
    if let Some(t) = timer {
        t.cancel(Some(Work::new(stopped, object)));
    } else {
        stopped(object, true);
    }
    0
}

extern "C" fn set_enable(object: *mut c_void, _lower: bool, on: bool) -> i32 {
    let m = of(object);
    m.enables.fetch_add(1, Ordering::Relaxed);
    let queues = lock(&m.net).queues.clone();
    for q in &queues {
        if let Err(e) = q.set_enable(on) {
            return e.0;
        }
    }
    let svc = m.svc();
    if let (true, Ok(i)) = (on, svc.interface()) {
        i.report_link(3, 0x10_0030);
    }
    let timer = lock(&m.net).timer.clone();
    if let (true, Some(t)) = (m.says("Timer"), timer) {
        let _ = t.wake_at(svc.rt().now_ns() + 1_000_000, 0);
    }
    if m.says("FailEnable") { IoReturn::DEVICE_ERROR.0 } else { 0 }
}

extern "C" fn ok_bool(_: *mut c_void, _: bool, _: bool) -> i32 {
    0
}
extern "C" fn set_multicast(_: *mut c_void, _: bool, _: *const [u8; 6], n: u32) -> i32 {
    if n > 16 { IoReturn::NO_RESOURCES.0 } else { 0 }
}
extern "C" fn set_mtu(_: *mut c_void, _: bool, _: u32) -> i32 {
    0
}
extern "C" fn get_max_mtu(object: *mut c_void, _: bool, mtu: *mut u32) -> i32 {
    of(object).max_mtu_asked.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the engine's out parameter.
    unsafe { *mtu = 9000 };
    0
}
extern "C" fn get_assists(_: *mut c_void, _: bool, a: *mut u32) -> i32 {
    // SAFETY: the engine's out parameter.
    unsafe { *a = crate::net::assist::TSO4 | crate::net::assist::TX_CHECKSUM_TCP };
    0
}
extern "C" fn get_tso(_: *mut c_void, t: *mut Tso) -> i32 {
    // SAFETY: the engine's out parameter.
    unsafe { *t = Tso { tso_mtu4: 16000, ..Tso::default() } };
    0
}
extern "C" fn get_mac(_: *mut c_void, mac: *mut u8) -> i32 {
    // SAFETY: the engine passes six bytes.
    unsafe { mac.cast::<[u8; 6]>().write(MAC) };
    0
}
extern "C" fn set_mac(_: *mut c_void, _: *const u8) -> i32 {
    0
}
extern "C" fn set_power(object: *mut c_void, flags: u32) -> i32 {
    of(object).svc().super_set_power_state(flags);
    0
}
extern "C" fn new_client(object: *mut c_void, kind: u32, out: *mut *mut c_void) -> i32 {
    if kind != 7 {
        return IoReturn::BAD_ARGUMENT.0;
    }
    match of(object).svc().create_from_property("UserClientProperties") {
        Ok(c) => {
            // SAFETY: the engine's out parameter.
            unsafe { *out = c };
            0
        }
        Err(e) => e.0,
    }
}

extern "C" fn client_start(object: *mut c_void, _: *mut c_void) -> i32 {
    let svc = of(object).svc();
    let may = lock(&svc.peer).as_ref().is_some_and(|p| crate::prop::entitled(&p.entitlements, "may"));
    if !may {
        return IoReturn::NOT_PRIVILEGED.0;
    }
    IoReturn::of(svc.super_start())
}

extern "C" fn client_stop(object: *mut c_void, _: *mut c_void) -> i32 {
    of(object).svc().super_stop();
    0
}

/// Selector 0: scalars + 1 and the structure reversed. 1: completes asynchronously twice. 2: bytes of client memory.
extern "C" fn external(object: *mut c_void, args: *mut RawExtArgs) -> i32 {
    // SAFETY: the engine's structure, valid during the call; so are the arrays it names.
    let a = unsafe { &mut *args };
    match a.selector {
        0 => {
            let n = a.scalar_in_count.min(a.scalar_out_count);
            for i in 0..n as usize {
                // SAFETY: both arrays have at least n elements.
                unsafe { *a.scalar_out.add(i) = (*a.scalar_in.add(i)).wrapping_add(1) };
            }
            a.scalar_out_count = n;
            let mut data = vec![0u8; a.struct_in_len as usize];
            if a.struct_in_mem.is_null() {
                // SAFETY: struct_in has struct_in_len bytes.
                unsafe { std::ptr::copy(a.struct_in.cast(), data.as_mut_ptr(), data.len()) };
            } else {
                // SAFETY: borrowed during the call.
                let _ = unsafe { &*a.struct_in_mem }.read(0, &mut data);
            }
            data.reverse();
            if a.struct_out_mem.is_null() {
                data.truncate(a.struct_out_max as usize);
                // SAFETY: the engine's vector.
                unsafe { *a.reply = data };
            } else {
                // SAFETY: borrowed during the call.
                let out = unsafe { &*a.struct_out_mem };
                let _ = out.write(0, &data).and_then(|()| out.set_length(data.len() as u64));
            }
            0
        }
        1 if !a.async_call.is_null() => {
            // SAFETY: borrowed during the call; one more reference for later.
            let call = unsafe {
                Arc::increment_strong_count(a.async_call);
                Arc::from_raw(a.async_call)
            };
            let later = move || {
                let _ = call.complete(0, &[1, 2]);
                let _ = call.complete(IoReturn::ABORTED.0, &[]);
            };
            of(object).svc().queue().push(Item::Call(Box::new(later)));
            0
        }
        2 => {
            // SAFETY: two scalars are there if the count says so.
            let at = if a.scalar_in_count == 2 { unsafe { (*a.scalar_in, *a.scalar_in.add(1)) } } else { (0, 0) };
            let peer = lock(&of(object).svc().peer).clone();
            let mem = peer.ok_or(IoReturn::NOT_ATTACHED).and_then(|p| p.memory(3, &[at]));
            let mem = match mem {
                Ok(m) => m,
                Err(e) => return e.0,
            };
            let mut data = vec![0u8; mem.length() as usize];
            let _ = mem.read(0, &mut data);
            // SAFETY: the engine's vector.
            unsafe { *a.reply = data };
            0
        }
        _ => IoReturn::UNSUPPORTED.0,
    }
}

extern "C" fn copy_memory(_: *mut c_void, kind: u64, options: *mut u64, mem: *mut *const Mem) -> i32 {
    if kind > 1 {
        return IoReturn::NOT_FOUND.0;
    }
    let Ok(m) = Mem::buffer(3, 8192, 0) else { return IoReturn::NO_MEMORY.0 };
    let _ = m.write(0, b"hello");
    // SAFETY: the engine's out parameters.
    unsafe {
        *options = kind;
        *mem = Arc::into_raw(m);
    }
    0
}

static NIC_OPS: ServiceOps = ServiceOps {
    init: None,
    start: Some(nic_start),
    stop: Some(nic_stop),
    new_user_client: Some(new_client),
    set_power_state: Some(set_power),
    external_method: None,
    copy_client_memory: None,
    client_crashed: None,
};
static CLIENT_OPS: ServiceOps = ServiceOps {
    init: None,
    start: Some(client_start),
    stop: Some(client_stop),
    new_user_client: None,
    set_power_state: None,
    external_method: Some(external),
    copy_client_memory: Some(copy_memory),
    client_crashed: None,
};
static NET_OPS: NetOps = NetOps {
    set_interface_enable: Some(set_enable),
    set_promiscuous: Some(ok_bool),
    set_multicast: Some(set_multicast),
    set_all_multicast: Some(ok_bool),
    set_media: None,
    set_wake_on_magic_packet: Some(ok_bool),
    set_mtu: Some(set_mtu),
    get_max_mtu: Some(get_max_mtu),
    set_assists: None,
    get_assists: Some(get_assists),
    get_tso_options: Some(get_tso),
    get_tx_data_offset: None,
    get_feature_flags: None,
    get_mac: Some(get_mac),
    set_mac: Some(set_mac),
    get_initial_media: None,
    get_supported_media: None,
    get_bsd_prefix: None,
    get_bsd_unit: None,
    get_subfamily: None,
    process_command: None,
    bpf_tap: None,
};

const fn class_of(
    name: *const c_char,
    make: extern "C" fn(*const Class) -> *mut c_void,
    ops: *const ServiceOps,
    net: *const NetOps,
) -> Class {
    Class {
        name,
        super_name: c"IOService".as_ptr(),
        make: Some(make),
        retain: Some(retain),
        release: Some(release),
        service: Some(service),
        service_ops: ops,
        net_ops: net,
    }
}

static CLASSES: [Class; 3] = [
    class_of(c"MockNic".as_ptr(), make_nic, &NIC_OPS, &NET_OPS),
    class_of(c"MockClient".as_ptr(), make_client, &CLIENT_OPS, std::ptr::null()),
    class_of(c"MockProvider".as_ptr(), make_provider, std::ptr::null(), std::ptr::null()),
];

/// Makes the mock's classes known.
pub fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| CLASSES.iter().for_each(class::register));
}
