use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::mock::{NIC, mock, personality, process_exit, register};
use crate::port::{Offload, Port, RxFrame, Sink};
use crate::sched::lock;
use crate::{Host, HostConfig, IoReturn, Service};

#[derive(Default)]
struct Seen(Mutex<Vec<(Vec<u8>, Offload)>>);

impl Sink for Seen {
    fn deliver(&self, _queue: usize, frames: &[RxFrame<'_>]) {
        lock(&self.0).extend(frames.iter().map(|f| (f.bytes.to_vec(), f.offload)));
    }
}

fn host(config: HostConfig) -> Host {
    register();
    Host::new(HostConfig { collect_violations: true, strict_leaks: true, ..config })
}

fn frame(n: usize, len: usize) -> Vec<u8> {
    let mut f = vec![0u8; len];
    f[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    f[12..14].copy_from_slice(&[0x88, 0xb5]);
    for (i, b) in f[14..].iter_mut().enumerate() {
        *b = (i + n) as u8;
    }
    f
}

fn submit(port: &Arc<dyn Port>, frames: &[(Vec<u8>, Offload)]) -> usize {
    let mut list = Vec::new();
    for (bytes, offload) in frames {
        let Some(mut f) = port.tx_alloc() else { break };
        f.buffer()[..bytes.len()].copy_from_slice(bytes);
        f.finish(bytes.len(), *offload);
        list.push(f);
    }
    let offered = list.len();
    port.tx_submit(0, &mut list);
    offered - list.len()
}

fn plain(n: usize, len: usize) -> (Vec<u8>, Offload) {
    (frame(n, len), Offload::default())
}

fn up(host: &Host, what: &[&str]) -> (Service, Arc<dyn Port>, Arc<Seen>) {
    let s = host.boot(NIC, personality(what)).unwrap();
    s.set_enabled(true).unwrap();
    let port = s.port().unwrap();
    let seen = Arc::new(Seen::default());
    port.set_sink(Some(seen.clone()));
    (s, port, seen)
}

fn end(host: Host, s: Service) -> Vec<String> {
    let r = s.terminate();
    assert!(r.finished && r.freed, "{r:?}");
    drop(s);
    let f = host.finish();
    f.violations.into_iter().map(|v| v.kind).collect()
}

#[test]
fn frames_go_through_the_driver_and_come_back_in_both_models() {
    for what in [&["EarlyEnable"][..], &["ModelB"], &["TwoQueues"], &["Lower", "AskMac"]] {
        for seed in 0..40 {
            let h = host(HostConfig::simulated(seed));
            let (s, port, seen) = up(&h, what);
            let mut sent = Vec::new();
            for round in 0..10 {
                let batch: Vec<_> = (0..20).map(|i| plain(round * 20 + i, 60 + i)).collect();
                let n = submit(&port, &batch);
                sent.extend_from_slice(&batch[..n]);
                h.run_until_idle();
            }
            let got = lock(&seen.0).clone();
            assert_eq!(got, sent, "seed {seed} {what:?}");
            let c = s.counters().unwrap();
            assert_eq!((c.packets_in, c.packets_out, c.dropped), (200, 200, 0), "seed {seed} {what:?}");
            port.set_sink(None);
            drop(port);
            assert_eq!(end(h, s), Vec::<String>::new(), "seed {seed} {what:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_does_not() {
    let run = |seed| {
        let h = host(HostConfig::simulated(seed));
        let (s, port, _) = up(&h, &["Timer", "TwoQueues"]);
        let (t, port2, _) = up(&h, &["Timer", "ModelB"]);
        for i in 0..20 {
            submit(&port, &[plain(i, 100)]);
            submit(&port2, &[plain(i, 200)]);
            h.advance_to(h.now_ns() + 700_000);
        }
        let hash = h.trace_hash();
        s.terminate();
        t.terminate();
        hash
    };
    assert_eq!(run(1), run(1));
    assert_eq!(run(99), run(99));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn the_interface_says_what_the_driver_said() {
    let h = host(HostConfig::simulated(3));
    let (s, port, _) = up(&h, &[]);
    let i = port.info();
    assert_eq!((i.bsd_name.as_str(), i.mtu, i.mtu_max), ("en0", 1500, 9000));
    assert_eq!((i.tso_max, i.tx_queues, i.buffer_size), ([16000, 0], 1, 16384));
    let (other, p2, _) = up(&h, &[]);
    assert_eq!(p2.info().bsd_name, "en1");
    assert_eq!(s.set_mtu(9001), Err(IoReturn::BAD_ARGUMENT));
    s.set_mtu(9000).unwrap();
    assert_eq!(port.info().mtu, 9000);
    assert_eq!(mock(s.entry()).max_mtu_asked.load(std::sync::atomic::Ordering::Relaxed), 1);
    s.set_promiscuous(true).unwrap();
    s.set_multicast(&[[0x33; 6]; 16]).unwrap();
    assert_eq!(s.set_multicast(&[[0x33; 6]; 17]), Err(IoReturn::NO_RESOURCES));
    s.set_power_state(0).unwrap();
    assert_eq!(s.entry().power(), 0);
    assert!(port.running());
    s.set_enabled(false).unwrap();
    assert!(!port.running() && port.tx_alloc().is_none());
    s.set_enabled(true).unwrap();
    assert!(port.running());
    drop((port, p2));
    assert!(other.terminate().freed);
    assert!(end(h, s).is_empty());
}

#[test]
fn offloads_are_done_in_software_or_refused_when_the_driver_has_none() {
    let h = host(HostConfig::simulated(3));
    let (s, port, seen) = up(&h, &[]);
    // UDP is not offered: the port sums. The pseudo-header's part is taken as given.
    let mut udp = frame(0, 60);
    udp[40..42].copy_from_slice(&[0, 0]);
    let sum = |f: &[u8]| {
        let s: u32 = f.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum();
        let s = (s & 0xffff) + (s >> 16);
        !((s & 0xffff) + (s >> 16)) as u16
    };
    let want = sum(&udp[34..]);
    let partial = |start, stuff| Offload { partial_csum: Some((start, stuff)), ..Offload::default() };
    // TCP is offered (stuff - start = 16): untouched.
    let tcp = frame(1, 60);
    let tso = Offload { mss: 1000, partial_csum: Some((34, 50)), ..Offload::default() };
    let list = [
        (udp.clone(), partial(34, 40)),
        (tcp.clone(), partial(34, 50)),
        (frame(2, 9000), tso),
        (frame(3, 9000), Offload { v6: true, ..tso }),
        (frame(4, 60), partial(34, 59)),
        (frame(5, 1600), Offload::default()),
    ];
    assert_eq!(submit(&port, &list), 6);
    h.run_until_idle();
    let got = lock(&seen.0).clone();
    assert_eq!(got.len(), 3);
    assert_eq!(u16::from_be_bytes([got[0].0[40], got[0].0[41]]), want);
    assert_eq!(got[1].0, tcp);
    assert_eq!(got[2].1.segments, 9);
    assert_eq!(s.counters().unwrap().dropped, 3);
    drop(port);
    assert!(end(h, s).is_empty());
}

#[test]
fn a_full_ring_keeps_frames_and_loses_none() {
    let h = host(HostConfig::simulated(9));
    let (s, port, seen) = up(&h, &[]);
    let batch: Vec<_> = (0..100).map(|i| plain(i, 80)).collect();
    // 64 packets, half of them posted for receive: 32 for the ring of 32.
    assert_eq!(submit(&port, &batch), 32);
    assert!(port.tx_alloc().is_none());
    h.run_until_idle();
    assert_eq!(lock(&seen.0).len(), 32);
    assert_eq!(submit(&port, &batch), 32);
    s.set_enabled(false).unwrap();
    h.run_until_idle();
    let c = s.counters().unwrap();
    assert_eq!((c.packets_out, c.packets_in + c.dropped), (64, 64));
    drop(port);
    assert!(end(h, s).is_empty());
}

#[test]
fn broken_rules_are_reported() {
    for (what, kind) in [("HoldTx", "packet leak"), ("CompleteTwice", "double completion")] {
        let h = host(HostConfig::simulated(1));
        let (s, port, _) = up(&h, &[what]);
        submit(&port, &(0..8).map(|i| plain(i, 100)).collect::<Vec<_>>());
        h.run_until_idle();
        drop(port);
        s.terminate();
        let v = h.violations();
        assert!(!v.is_empty() && v.iter().all(|v| v.kind == kind), "{what}: {v:?}");
        assert!(v[0].history.iter().any(|l| l.contains("dequeued from TX submission queue")), "{v:?}");
    }
}

#[test]
fn calls_off_the_queue_after_stop_and_before_registration_are_reported() {
    let h = host(HostConfig::simulated(1));
    let (s, _port, _) = up(&h, &[]);
    let svc = s.entry().clone();
    assert!(svc.check_network("bpfAttach", true, crate::diag::Site::NONE));
    s.terminate();
    assert!(!svc.check_network("reportLinkStatus", true, crate::diag::Site::NONE));
    assert_eq!(h.violations()[0].kind, "use after Stop");
}

#[test]
fn start_and_enable_that_fail_leave_nothing() {
    let h = host(HostConfig::simulated(1));
    let e = h.boot(NIC, personality(&["FailStart"])).err().unwrap();
    assert_eq!(e.code(), IoReturn::NO_RESOURCES);
    let s = h.boot(NIC, personality(&["FailEnable"])).unwrap();
    assert_eq!(s.set_enabled(true), Err(IoReturn::DEVICE_ERROR));
    let port = s.port().unwrap();
    assert!(!port.running() && port.tx_alloc().is_none());
    drop(port);
    assert!(end(h, s).is_empty());
    // A second host after the first.
    let h = host(HostConfig::simulated(1));
    assert!(h.boot("NoSuchClass", personality(&[])).is_err());
}

#[test]
fn a_stop_that_never_finishes_is_noticed_and_a_crash_needs_none() {
    let h = host(HostConfig::simulated(1));
    let (s, _p, _) = up(&h, &["NeverStop", "Timer"]);
    h.advance_to(h.now_ns() + 5_500_000);
    assert!(mock(s.entry()).polls.load(std::sync::atomic::Ordering::Relaxed) >= 5);
    let r = s.terminate();
    assert!(!r.finished);
    assert_eq!(h.violations()[0].kind, "Stop did not finish");
    let (t, port, _) = up(&h, &["HoldTx", "Timer"]);
    submit(&port, &[plain(0, 60)]);
    h.run_until_idle();
    t.crash();
    let polls = mock(t.entry()).polls.load(std::sync::atomic::Ordering::Relaxed);
    h.advance_to(h.now_ns() + 10_000_000);
    assert_eq!(mock(t.entry()).polls.load(std::sync::atomic::Ordering::Relaxed), polls);
    assert!(!port.running() && !port.tx_wait(0, 1));
    assert_eq!(h.violations().len(), 1);
    // The dext starts again.
    let (u, port, seen) = up(&h, &[]);
    submit(&port, &[plain(0, 60)]);
    h.run_until_idle();
    assert_eq!(lock(&seen.0).len(), 1);
    assert!(u.terminate().freed);
    process_exit(s.entry());
    process_exit(t.entry());
}

#[test]
fn threads_carry_traffic_while_services_stop_and_start() {
    let h = host(HostConfig::threads());
    for round in 0..10 {
        let (s, port, seen) = up(&h, if round % 2 == 0 { &["Timer"] } else { &["ModelB", "Timer"] });
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let sender = {
            let (port, stop) = (port.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut sent = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    sent += submit(&port, &[plain(sent, 100), plain(sent, 1500)]);
                    if !port.tx_wait(0, 10) {
                        break;
                    }
                }
                sent
            })
        };
        while lock(&seen.0).len() < 200 {
            std::thread::sleep(Duration::from_millis(1));
        }
        if round % 3 == 0 {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        let r = s.terminate();
        let sent = sender.join().unwrap();
        assert!(r.finished && r.freed && r.leaked_packets == 0, "{r:?}");
        let c = s.entry().interface().unwrap().counters();
        assert!(sent >= 200 && c.packets_in <= c.packets_out, "{sent} {c:?}");
    }
    let f = h.finish();
    assert!(f.violations.is_empty() && f.leaks.is_empty(), "{f:?}");
}
