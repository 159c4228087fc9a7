use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::dataq::DataQueue;
use super::{Handler, RawHandler, Source};
use crate::mock::{NIC, personality, register};
use crate::sched::{Queue, Work, lock};
use crate::{Host, HostConfig, IoReturn};

type Log = Mutex<Vec<(u64, u64)>>;

extern "C" fn note(ctx: *mut c_void, a: u64, b: u64) {
    // SAFETY: ctx is a leaked Arc<Log> that `drop_log` takes back.
    lock(unsafe { &*ctx.cast::<Log>() }).push((a, b));
}

extern "C" fn drop_log(ctx: *mut c_void) {
    // SAFETY: made by handler(), called once.
    drop(unsafe { Arc::from_raw(ctx.cast::<Log>()) });
}

fn handler(log: &Arc<Log>) -> Option<Arc<Handler>> {
    let ctx = Arc::into_raw(log.clone()).cast_mut().cast();
    Handler::take(&RawHandler { ctx, invoke: Some(note), release: Some(drop_log) })
}

extern "C" fn count(ctx: *mut c_void, run: bool) {
    // SAFETY: a leaked Arc, once per call.
    let c = unsafe { Arc::from_raw(ctx.cast::<AtomicUsize>()) };
    c.fetch_add(if run { 1 } else { 1000 }, Ordering::SeqCst);
}

fn done(c: &Arc<AtomicUsize>) -> Option<Work> {
    Some(Work::new(count, Arc::into_raw(c.clone()).cast_mut().cast()))
}

fn host(seed: u64) -> Host {
    Host::new(HostConfig { collect_violations: true, ..HostConfig::simulated(seed) })
}

#[test]
fn timers_fire_once_at_their_latest_deadline() {
    for seed in 0..50 {
        let h = host(seed);
        let q = Queue::new(h.runtime(), c"q");
        let log = Arc::new(Log::default());
        let t = Source::timer(h.runtime(), &q);
        t.set_handler(handler(&log)).unwrap();
        let start = h.now_ns();
        t.wake_at(start + 100, 0).unwrap();
        t.wake_at(start + 500, 50).unwrap();
        h.advance_to(start + 499);
        assert!(lock(&log).is_empty());
        h.advance_to(start + 1000);
        let fired = lock(&log).clone();
        assert_eq!(fired.len(), 1, "seed {seed}");
        assert!((start + 500..=start + 550).contains(&fired[0].0), "seed {seed} {fired:?}");
        // In the past: at once. Disabled: kept.
        t.set_enable(false, None);
        t.wake_at(1, 0).unwrap();
        h.run_until_idle();
        assert_eq!(lock(&log).len(), 1);
        t.set_enable(true, None);
        h.run_until_idle();
        assert_eq!(lock(&log).len(), 2);
        // Cancelled: never, and every cancel handler runs, on the queue.
        t.wake_at(h.now_ns() + 10, 0).unwrap();
        let cancelled = Arc::new(AtomicUsize::new(0));
        t.cancel(done(&cancelled));
        t.cancel(done(&cancelled));
        h.advance_to(h.now_ns() + 100);
        assert_eq!((lock(&log).len(), cancelled.load(Ordering::SeqCst)), (2, 2), "seed {seed}");
        assert_eq!(t.wake_at(h.now_ns(), 0), Err(IoReturn::OFFLINE));
        assert_eq!(Arc::strong_count(&log), 1, "the handler is released");
    }
}

#[test]
fn a_cancel_on_a_dropped_queue_still_says_so() {
    let h = host(1);
    let q = Queue::new(h.runtime(), c"q");
    let t = Source::timer(h.runtime(), &q);
    q.cancel(None);
    let c = Arc::new(AtomicUsize::new(0));
    t.cancel(done(&c));
    h.run_until_idle();
    assert_eq!(c.load(Ordering::SeqCst), 1);
}

#[test]
fn interrupts_count_while_nobody_handles_them() {
    register();
    let h = host(7);
    let s = h.boot(NIC, personality(&[])).unwrap();
    let p = s.entry().provider().unwrap();
    let q = Queue::new(h.runtime(), c"q");
    assert_eq!(Source::interrupt(&q, &p, 1).err(), Some(IoReturn::NO_INTERRUPT));
    let i = Source::interrupt(&q, &p, 0).unwrap();
    let log = Arc::new(Log::default());
    i.set_handler(handler(&log)).unwrap();
    i.set_enable(false, None);
    for _ in 0..3 {
        s.raise_interrupt(0).unwrap();
    }
    h.run_until_idle();
    assert!(lock(&log).is_empty());
    i.set_enable(true, None);
    h.run_until_idle();
    s.raise_interrupt(0).unwrap();
    h.run_until_idle();
    assert_eq!(lock(&log).iter().map(|l| l.0).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(i.last_interrupt(), (4, h.now_ns()));
    assert_eq!(s.raise_interrupt(1), Err(IoReturn::NO_INTERRUPT));
    i.cancel(None);
    s.terminate();
}

fn put(d: &DataQueue, bytes: &[u8]) -> Result<bool, IoReturn> {
    // SAFETY: the queue gives room for the length asked for.
    d.enqueue(bytes.len() as u32, |p| unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), p, bytes.len()) })
}

fn get(d: &DataQueue, remove: bool) -> Result<(Vec<u8>, bool), IoReturn> {
    let mut out = Vec::new();
    // SAFETY: the queue shows `n` readable bytes.
    let tell = d.dequeue(remove, |p, n| out = unsafe { std::slice::from_raw_parts(p, n as usize) }.to_vec())?;
    Ok((out, tell))
}

#[test]
fn data_queues_keep_order_and_tell_at_the_edges() {
    let d = DataQueue::new(64).unwrap();
    assert_eq!(get(&d, true).err(), Some(IoReturn::UNDERRUN));
    let mut sent = std::collections::VecDeque::new();
    let mut n = 0u8;
    for round in 0..5000usize {
        let entry = vec![n; (round * 7) % 40];
        match put(&d, &entry) {
            Ok(first) => {
                assert_eq!(first, sent.is_empty(), "round {round}");
                sent.push_back(entry);
                n = n.wrapping_add(1);
            }
            Err(e) => {
                assert_eq!(e, IoReturn::OVERRUN);
                for (i, want) in std::mem::take(&mut sent).into_iter().enumerate() {
                    assert_eq!(get(&d, false).unwrap(), (want.clone(), false));
                    assert_eq!(get(&d, true).unwrap(), (want, i == 0), "only the first dequeue tells the writer");
                }
                assert!(!d.available());
            }
        }
    }
    assert_eq!(put(&d, &[0; 65]), Err(IoReturn::BAD_ARGUMENT));
    assert_eq!(DataQueue::new(6).err(), Some(IoReturn::BAD_ARGUMENT));
    assert_eq!(DataQueue::new(0).err(), Some(IoReturn::BAD_ARGUMENT));
}

#[test]
fn data_queues_survive_whatever_a_client_writes_into_them() {
    let mut x = 1u32;
    let mut random = move || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x
    };
    let d = DataQueue::new(256).unwrap();
    for _ in 0..20_000 {
        let at = u64::from(random() % 64) * 4;
        let word = if random() % 3 == 0 { random() } else { random() % 600 };
        let _ = d.memory().write(at, &word.to_le_bytes());
        let _ = put(&d, &vec![1; (random() % 100) as usize]);
        if let Ok((out, _)) = get(&d, random() % 2 == 0) {
            assert!(out.len() <= 512);
        }
        let _ = d.can_enqueue(random(), u64::from(random()));
    }
}
