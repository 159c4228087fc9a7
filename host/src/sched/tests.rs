use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Item, Job, Queue, Work, lock};
use crate::diag::Site;
use crate::{Host, HostConfig, IoReturn};

fn host(config: HostConfig) -> Host {
    Host::new(HostConfig { collect_violations: true, ..config })
}

fn both(f: impl Fn(Host, &str)) {
    for seed in 0..30 {
        f(host(HostConfig::simulated(seed)), &format!("seed {seed}"));
    }
    for _ in 0..5 {
        f(host(HostConfig::threads()), "threads");
    }
}

fn call(q: &Arc<Queue>, f: impl FnOnce() + Send + 'static) {
    q.push(Item::Call(Box::new(f)));
}

extern "C" fn count(ctx: *mut c_void, run: bool) {
    // SAFETY: the tests' counters are leaked Arcs or outlive the host.
    let c = unsafe { Arc::from_raw(ctx.cast::<[AtomicUsize; 2]>()) };
    c[usize::from(!run)].fetch_add(1, Ordering::SeqCst);
}

fn work(c: &Arc<[AtomicUsize; 2]>) -> Work {
    Work::new(count, Arc::into_raw(c.clone()).cast_mut().cast())
}

fn counters() -> Arc<[AtomicUsize; 2]> {
    Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)])
}

fn counted(c: &[AtomicUsize; 2]) -> (usize, usize) {
    (c[0].load(Ordering::SeqCst), c[1].load(Ordering::SeqCst))
}

#[test]
fn a_queue_is_serial_and_in_order() {
    both(|h, what| {
        let queues: Vec<_> = (0..4).map(|_| Queue::new(h.runtime(), c"q")).collect();
        let inside = Arc::new(AtomicUsize::new(0));
        let logs: Vec<_> = (0..4).map(|_| Arc::new(Mutex::new(Vec::new()))).collect();
        for i in 0..200 {
            for (q, log) in queues.iter().zip(&logs) {
                let (me, log, inside) = (q.clone(), log.clone(), inside.clone());
                call(q, move || {
                    assert!(me.on_queue());
                    inside.fetch_add(1, Ordering::SeqCst);
                    lock(&log).push(i);
                });
            }
        }
        for (q, log) in queues.iter().zip(&logs) {
            q.call(|| ());
            assert_eq!(*lock(log), (0..200).collect::<Vec<_>>(), "{what}");
            assert!(!q.on_queue());
        }
        assert_eq!(inside.load(Ordering::SeqCst), 800, "{what}");
    });
}

#[test]
fn queues_that_push_to_one_another_lose_nothing() {
    both(|h, what| {
        let a = Queue::new(h.runtime(), c"a");
        let b = Queue::new(h.runtime(), c"b");
        let done = Arc::new(AtomicUsize::new(0));
        fn bounce(from: Arc<Queue>, to: Arc<Queue>, left: usize, done: Arc<AtomicUsize>) {
            let (f, t) = (from.clone(), to.clone());
            from.push(Item::Call(Box::new(move || {
                if left == 0 {
                    done.fetch_add(1, Ordering::SeqCst);
                } else {
                    bounce(t, f, left - 1, done);
                }
            })));
        }
        for _ in 0..8 {
            bounce(a.clone(), b.clone(), 500, done.clone());
        }
        let all = || done.load(Ordering::SeqCst) == 8;
        assert!(h.runtime().wait_until(Duration::from_secs(20), all), "{what}");
    });
}

#[test]
fn sync_runs_after_what_is_queued_and_a_circle_is_reported() {
    both(|h, what| {
        let a = Queue::new(h.runtime(), c"a");
        let b = Queue::new(h.runtime(), c"b");
        let log = Arc::new(Mutex::new(Vec::new()));
        for i in 0..50 {
            let log = log.clone();
            call(&b, move || lock(&log).push(i));
        }
        let (inner, l2) = (b.clone(), log.clone());
        a.call(move || inner.call(move || lock(&l2).push(50)));
        assert_eq!(*lock(&log), (0..=50).collect::<Vec<_>>(), "{what}");
        assert!(h.violations().is_empty(), "{what}");
        // a waits for b, which waits for a.
        let (a2, b2) = (a.clone(), b.clone());
        a.call(move || {
            let a3 = a2.clone();
            b2.call(move || a3.sync(Job::Call(Box::new(|| ())), Site::NONE));
        });
        let v = h.violations();
        let kinds: Vec<_> = v.iter().map(|v| v.kind.as_str()).collect();
        assert_eq!(kinds, ["deadlock"], "{what} {v:?}");
    });
}

#[test]
fn a_circle_across_threads_is_reported() {
    let h = host(HostConfig::threads());
    let a = Queue::new(h.runtime(), c"a");
    let b = Queue::new(h.runtime(), c"b");
    let meet = Arc::new(std::sync::Barrier::new(2));
    for (x, y) in [(&a, &b), (&b, &a)] {
        let (y, meet) = (y.clone(), meet.clone());
        call(x, move || {
            meet.wait();
            y.call(|| ());
        });
    }
    a.call(|| ());
    b.call(|| ());
    let v = h.violations();
    assert_eq!((v.len(), v[0].kind.as_str()), (1, "deadlock"), "{v:?}");
}

#[test]
fn a_sync_that_nothing_can_run_is_reported_in_a_simulation() {
    let h = host(HostConfig::simulated(1));
    let q = Queue::new(h.runtime(), c"q");
    q.suspend();
    let c = counters();
    assert!(!q.sync(Job::Work(work(&c)), Site::NONE));
    assert_eq!(counted(&c), (0, 1));
    assert_eq!(h.violations()[0].kind, "deadlock");
    q.resume();
    assert!(q.sync(Job::Work(work(&c)), Site::NONE));
    assert_eq!(counted(&c), (1, 1));
}

#[test]
fn cancel_drops_what_waits_and_tells_once_per_call() {
    both(|h, what| {
        let q = Queue::new(h.runtime(), c"q");
        let (items, dones) = (counters(), counters());
        q.suspend();
        for _ in 0..10 {
            q.push(Item::Work(work(&items)));
        }
        q.cancel(Some(work(&dones)));
        q.cancel(Some(work(&dones)));
        assert!(!q.push(Item::Work(work(&items))));
        let all = || counted(&dones).0 == 2;
        assert!(h.runtime().wait_until(Duration::from_secs(10), all), "{what}");
        assert_eq!(counted(&items), (0, 11), "{what}");
        // Waiting items of a queue are released when the host ends.
        let p = Queue::new(h.runtime(), c"p");
        p.suspend();
        p.push(Item::Work(work(&items)));
        drop(h);
        assert_eq!(counted(&items), (0, 12), "{what}");
    });
}

#[test]
fn sleep_lets_other_items_run_until_wakeup_or_deadline() {
    both(|h, what| {
        let q = Queue::new(h.runtime(), c"q");
        assert_eq!(q.sleep(std::ptr::null_mut(), 0), Err(IoReturn::NOT_READY));
        let event = 8usize;
        let woken = Arc::new(Mutex::new(Vec::new()));
        for deadline in [0, 5_000_000] {
            let (me, out, rt) = (q.clone(), woken.clone(), h.runtime().clone());
            call(&q, move || {
                let deadline = if deadline == 0 { 0 } else { rt.now_ns() + deadline };
                let r = me.sleep((event + usize::from(deadline != 0)) as *mut c_void, deadline);
                assert!(me.on_queue());
                lock(&out).push((deadline != 0, r));
            });
        }
        let me = q.clone();
        call(&q, move || me.wakeup(event as *mut c_void));
        assert!(h.runtime().wait_until(Duration::from_secs(10), || lock(&woken).len() == 2), "{what}");
        let mut got = lock(&woken).clone();
        got.sort_by_key(|g| g.0);
        assert_eq!(got, [(false, Ok(())), (true, Err(IoReturn::TIMEOUT))], "{what}");
    });
}

#[test]
fn a_blocked_worker_does_not_hold_up_what_it_made_ready() {
    let h = host(HostConfig::threads());
    let a = Queue::new(h.runtime(), c"a");
    let b = Queue::new(h.runtime(), c"b");
    let (tell, told) = std::sync::mpsc::channel();
    let (rt, b2) = (h.runtime().clone(), b.clone());
    let (went, waited) = std::sync::mpsc::channel();
    call(&a, move || {
        b2.push(Item::Call(Box::new(move || tell.send(()).unwrap())));
        // Told to the runtime (IOSleep), and hidden from it (a lock of the dext's own).
        rt.sched.sleep(1_000_000);
        let (b3, tell) = (b2.clone(), went);
        b2.push(Item::Call(Box::new(move || tell.send(()).unwrap())));
        let _ = b3;
        waited.recv_timeout(Duration::from_secs(10)).unwrap();
    });
    told.recv_timeout(Duration::from_secs(10)).unwrap();
    a.call(|| ());
}

#[test]
fn a_guest_runs_what_it_made_ready_itself() {
    let h = host(HostConfig::threads());
    let q = Queue::new(h.runtime(), c"q");
    for _ in 0..100 {
        let ran_on = Arc::new(Mutex::new(None));
        let out = ran_on.clone();
        h.runtime().sched.enter(|| call(&q, move || *lock(&out) = Some(std::thread::current().id())));
        assert_eq!(*lock(&ran_on), Some(std::thread::current().id()));
    }
}
