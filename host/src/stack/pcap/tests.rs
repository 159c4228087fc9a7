use std::path::{Path, PathBuf};

use super::super::fake_port::FakePort;
use super::*;
use crate::capture::{LinkType, Reader, Record, Writer};

struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-pcap-stack-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Frames of 60 bytes whose first byte counts, one a millisecond from second 1000 on.
    fn capture(&self, frames: u8) -> PathBuf {
        let path = self.0.join("in.pcapng");
        let mut writer = Writer::create(&path).unwrap();
        let ethernet = writer.add_interface("x", LinkType::ETHERNET).unwrap();
        let wifi = writer.add_interface("w", LinkType(105)).unwrap();
        for n in 0..frames {
            let bytes = [&[n][..], &[0; 59]].concat();
            let time_ns = 1_000_000_000_000 + u64::from(n) * 1_000_000;
            let record = Record {
                interface: ethernet,
                time_ns,
                original_len: 60,
                direction: None,
                comment: None,
                bytes: &bytes,
            };
            writer.write(&record).unwrap();
        }
        let record =
            Record { interface: wifi, time_ns: 0, original_len: 3, direction: None, comment: None, bytes: b"abc" };
        writer.write(&record).unwrap();
        writer.finish().unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn stack(input: Option<PathBuf>, output: Option<&Path>, fast: bool, mode: Mode) -> Pcap {
    Pcap::new(PcapSpec { input, output: output.map(Into::into), fast }, mode)
}

#[test]
fn virtual_time_follows_the_capture() {
    let dir = Dir::new("time");
    let port = FakePort::new(4, 4, |_| {});
    port.running.store(false, Ordering::Relaxed);
    let mut stack = stack(Some(dir.capture(5)), None, false, Mode::Simulated);
    stack.attach(port.port()).unwrap();
    // Nothing is sent, and no time of the capture passes, before the interface runs.
    assert_eq!(stack.poll(7_000), Some(7_000 + RETRY_NS));
    port.running.store(true, Ordering::Relaxed);
    let mut now = 1_000_000;
    for n in 0..5u8 {
        let next = stack.poll(now);
        let sent = port.take_sent(0);
        assert_eq!(sent.iter().map(|s| s.bytes[0]).collect::<Vec<_>>(), [n]);
        assert_eq!(next, (n < 4).then_some(now + 1_000_000));
        now += 1_000_000;
    }
    assert!(stack.finished());
    stack.detach();
    let counters = stack.counters();
    assert_eq!((counters.sent, counters.sent_bytes, counters.send_dropped), (5, 300, 1));
    assert_eq!(port.lent(), 0);
    assert!(!port.attached());
}

#[test]
fn as_fast_as_the_driver_takes_them() {
    let dir = Dir::new("fast");
    // Two packets and room for one: everything arrives, in order, in small bites.
    let port = FakePort::new(2, 1, |_| {});
    let mut stack = stack(Some(dir.capture(200)), None, true, Mode::Simulated);
    stack.attach(port.port()).unwrap();
    let (mut now, mut seen, mut rounds) = (0, Vec::new(), 0);
    while let Some(next) = stack.poll(now) {
        seen.extend(port.take_sent(0).iter().map(|s| s.bytes[0]));
        now = next;
        rounds += 1;
        assert!(rounds < 1000);
    }
    seen.extend(port.take_sent(0).iter().map(|s| s.bytes[0]));
    assert_eq!(seen, (0..200).collect::<Vec<u8>>());
}

#[test]
fn threads_send_wait_and_stop() {
    let dir = Dir::new("threads");
    let port = FakePort::new(8, 8, |_| {});
    let mut one = stack(Some(dir.capture(20)), None, false, Mode::Threads);
    one.attach(port.port()).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 20 {
        let sent = port.take_sent(10_000);
        assert!(!sent.is_empty(), "frames stopped after {seen:?}");
        seen.extend(sent.iter().map(|s| s.bytes[0]));
    }
    assert_eq!(seen, (0..20).collect::<Vec<u8>>());

    // Stopped in the middle, with a port that takes nothing: no packet stays behind.
    let stuck = FakePort::new(8, 0, |_| {});
    let mut two = stack(Some(dir.capture(20)), None, true, Mode::Threads);
    two.attach(stuck.port()).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    two.detach();
    assert_eq!(stuck.lent(), 0);
}

#[test]
fn what_is_delivered_is_recorded_with_the_ports_time() {
    let dir = Dir::new("record");
    let out = dir.0.join("out.pcapng");
    let port = FakePort::new(2, 2, |_| {});
    port.virtual_ns.store(5_000, Ordering::Relaxed);
    let mut stack = stack(Some(dir.capture(1)), Some(&out), false, Mode::Simulated);
    stack.attach(port.port()).unwrap();
    port.virtual_ns.store(5_042, Ordering::Relaxed);
    // Four bytes of UDP over IPv4, checksum left to whoever looks: the recorded one is complete.
    let mut udp = vec![0; 12];
    udp.extend([8, 0, 0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 7, 0, 7, 0, 12, 0, 0]);
    udp.extend(*b"weir");
    let seed: u16 = 0x0a00 + 1 + 0x0a00 + 2 + 17 + 12;
    udp[40..42].copy_from_slice(&seed.to_be_bytes());
    let offload = Offload { partial_csum: Some((34, 40)), ..Offload::default() };
    port.deliver(0, &[RxFrame { bytes: &udp, offload }, RxFrame { bytes: &[1; 14], offload: Offload::default() }]);
    stack.detach();
    assert_eq!(stack.counters().received, 2);

    let mut reader = Reader::open(&out).unwrap();
    let first = reader.next().unwrap().unwrap();
    assert_eq!((first.time_ns, first.direction), (1_000_000_000_042, Some(Direction::In)));
    let sum =
        u64::from(seed) + 7 + 7 + 12 + u64::from(u16::from_be_bytes(*b"we")) + u64::from(u16::from_be_bytes(*b"ir"));
    let sum = (sum & 0xffff) + (sum >> 16);
    assert_eq!(first.bytes[40..42], (!(sum as u16)).to_be_bytes());
    assert_eq!(reader.next().unwrap().unwrap().bytes, [1; 14]);
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn a_missing_or_cut_capture_says_so() {
    let dir = Dir::new("cut");
    let port = FakePort::new(8, 8, |_| {});
    let missing = dir.0.join("nothing.pcap");
    let error = stack(Some(missing), None, false, Mode::Simulated).attach(port.port()).unwrap_err();
    assert!(error.to_string().contains("nothing.pcap"), "{error}");

    let path = dir.capture(3);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
    let mut cut = stack(Some(path), None, true, Mode::Simulated);
    cut.attach(port.port()).unwrap();
    assert_eq!(cut.poll(0), None);
    assert_eq!(cut.counters().sent, 3);
    assert!(cut.finished());
}
