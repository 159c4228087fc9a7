//! Real dispatch queues on real threads: what a seeded schedule cannot show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use weir_host::port::{Offload, Port, TxFrame};
use weir_host::{Call, Host, HostConfig, Prop};

use crate::support::*;

fn strict_threads() -> HostConfig {
    HostConfig { strict_leaks: true, ..HostConfig::threads() }
}

/// Sends without pause until told to stop.
struct Sender {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    fn start(port: Arc<dyn Port>, queue: usize, frame: Vec<u8>) -> Sender {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, count) = (stop.clone(), sent.clone());
        let thread = spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let mut burst: Vec<Box<dyn TxFrame>> = Vec::new();
                for _ in 0..16 {
                    let Some(mut packet) = port.tx_alloc() else { break };
                    packet.buffer()[..frame.len()].copy_from_slice(&frame);
                    packet.finish(frame.len(), Offload::default());
                    burst.push(packet);
                }
                let before = burst.len();
                port.tx_submit(queue, &mut burst);
                count.fetch_add((before - burst.len()) as u64, Ordering::Relaxed);
                if (before == 0 || !burst.is_empty()) && !port.tx_wait(queue, 5) {
                    break;
                }
            }
        });
        Sender { stop, sent, thread: Some(thread) }
    }

    fn finish(&mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The far end's hardware address, by ARP.
fn far_end(nic: &Nic) -> [u8; 6] {
    let mut far = None;
    eventually("an ARP reply", || {
        nic.send(0, &arp_request(nic.mac()), Offload::default());
        std::thread::sleep(Duration::from_millis(2));
        far = nic.take().first().map(|f| f.bytes[6..12].try_into().unwrap());
        far.is_some()
    });
    far.unwrap()
}

fn settled(nic: &Nic) {
    eventually("frames came to rest", || {
        let before = nic.counters();
        std::thread::sleep(Duration::from_millis(20));
        nic.counters() == before
    });
    nic.check();
}

#[test]
fn flaps_sleep_and_commands_under_traffic() {
    let host = Host::new(strict_threads());
    let more = [("WeirQueues", 4u32.into()), ("WeirRingSize", 64u32.into())];
    let nic = Nic::boot(&host, personality("reflect", &more));
    nic.service.set_enabled(true).unwrap();
    eventually("link", || nic.port.running());
    let (mac, far) = (nic.mac(), far_end(&nic));
    let mut senders: Vec<Sender> =
        (0..2).map(|q| Sender::start(nic.port.clone(), q, ping(far, mac, q as u16, 100))).collect();
    let client = nic.client(CONTROL_CLIENT, writer()).unwrap();
    for round in 0..40u64 {
        nic.service.set_enabled(false).unwrap();
        assert_eq!(nic.glue_counters().in_flight(), 0);
        nic.service.set_enabled(true).unwrap();
        nic.service.set_power_state(POWER_OFF).unwrap();
        assert_eq!(nic.glue_counters().in_flight(), 0);
        nic.service.set_power_state(POWER_ON).unwrap();
        for up in [0, 1] {
            let call = Call { selector: SET_LINK, scalars: vec![up], ..Call::default() };
            assert!(client.call(call).unwrap().status.ok().is_ok());
        }
        nic.service.set_mtu(1280 + (round as u32 % 2) * 220).unwrap();
        nic.service.set_promiscuous(round % 2 == 0).unwrap();
        let (status, _) = command(&client, command_bytes(6, round % 3, &[]), 0);
        assert_eq!(status, 0);
        std::thread::sleep(Duration::from_millis(2));
    }
    let (status, _) = command(&client, command_bytes(6, 0, &[]), 0);
    assert_eq!(status, 0);
    client.close();
    for sender in &mut senders {
        assert!(sender.finish() > 0);
    }
    settled(&nic);
    let _ = nic.take();
    eventually("still answers", || {
        nic.send(0, &ping(far, mac, 999, 10), Offload::default());
        std::thread::sleep(Duration::from_millis(5));
        nic.take().iter().any(|f| is_pong(&f.bytes, 999))
    });
    settled(&nic);
    drop(senders);
    nic.terminate();
    finish(host);
}

#[test]
fn a_hundred_stops_under_traffic() {
    let host = Host::new(strict_threads());
    for life in 0..100u32 {
        let more = [("WeirQueues", (life % 4 + 1).into()), ("WeirRingSize", 64u32.into())];
        let nic = Nic::boot(&host, personality("reflect", &more));
        nic.service.set_enabled(true).unwrap();
        let far = far_end(&nic);
        let mut sender = Sender::start(nic.port.clone(), 0, ping(far, nic.mac(), 1, 64));
        eventually("traffic", || !nic.take().is_empty());
        nic.port.set_sink(None);
        let report = nic.service.terminate();
        assert!(report.finished, "{report:?}");
        sender.finish();
        drop(sender);
        assert_eq!(report.leaked_packets, 0, "{report:?}");
    }
    finish(host);
}

#[test]
fn a_pair_loses_nothing_while_both_ends_send() {
    let host = Host::new(strict_threads());
    let end = |mac: &str| personality("pair", &[("WeirMAC", mac.into()), ("WeirQueues", Prop::from(2u32))]);
    let a = Nic::boot(&host, end("02:00:00:00:00:0a"));
    let b = Nic::boot(&host, end("02:00:00:00:00:0b"));
    a.service.set_enabled(true).unwrap();
    b.service.set_enabled(true).unwrap();
    eventually("carrier", || a.port.running() && b.port.running());
    let mut to_b = Sender::start(a.port.clone(), 0, ping(b.mac(), a.mac(), 1, 200));
    let mut to_a = Sender::start(b.port.clone(), 1, ping(a.mac(), b.mac(), 2, 200));
    std::thread::sleep(Duration::from_millis(300));
    let (sent_b, sent_a) = (to_b.finish(), to_a.finish());
    settled(&a);
    settled(&b);
    let dropped_on_b = b.counters().rx_dropped_total() + a.counters().tx_dropped_total();
    let dropped_on_a = a.counters().rx_dropped_total() + b.counters().tx_dropped_total();
    assert_eq!(b.take().len() as u64 + dropped_on_b, sent_b, "{:?} {:?}", a.counters(), b.counters());
    assert_eq!(a.take().len() as u64 + dropped_on_a, sent_a);
    // One end goes under traffic, the other notices.
    let mut to_b = Sender::start(a.port.clone(), 0, ping(b.mac(), a.mac(), 1, 200));
    b.terminate();
    eventually("no carrier", || !a.port.running());
    to_b.finish();
    drop((to_a, to_b));
    a.terminate();
    finish(host);
}
