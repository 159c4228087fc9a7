use weir_core::mem::wire_ring::{FrameMeta, Geometry, WireQueue};

use super::super::fake_link::FakeLink;
use super::*;
use crate::capture::{LinkType, Reader, Record, Writer};

const GEOMETRY: Geometry = Geometry { queues: 2, slots: 4, slot_size: 2048 };

fn capture(path: &std::path::Path, frames: u8, gap_ns: u64) {
    let mut writer = Writer::create(path).unwrap();
    let interface = writer.add_interface("x", LinkType::ETHERNET).unwrap();
    for n in 0..frames {
        let bytes = [n; 60];
        let time_ns = 5_000_000_000 + u64::from(n) * gap_ns;
        let record = Record { interface, time_ns, original_len: 60, direction: None, comment: None, bytes: &bytes };
        writer.write(&record).unwrap();
    }
    writer.finish().unwrap();
}

/// The next frame of whichever queue its flow belongs to.
fn receive(queues: &mut [WireQueue<'static>], buffer: &mut [u8]) -> Option<usize> {
    queues.iter_mut().find_map(|queue| queue.recv.recv(buffer)).map(|frame| frame.unwrap().0)
}

#[test]
fn frames_come_in_on_time_and_go_out_into_a_file() {
    let dir = std::env::temp_dir().join(format!("weir-wire-pcap-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (input, output) = (dir.join("in.pcapng"), dir.join("out.pcapng"));
    capture(&input, 3, 1000);
    let link = FakeLink::new(&GEOMETRY);
    link.virtual_ns.store(1_000_000, Ordering::Relaxed);
    let (ring, mut queues) = link.nic(&GEOMETRY);
    let spec = PcapSpec { input: Some(input), output: Some(output.clone()), fast: false };
    let mut pump = PcapPump::new(spec, link.clone(), Mode::Simulated);
    pump.start().unwrap();
    assert!(ring.client_ready());
    assert!(ring.client_accepts().is_empty());
    let mut buffer = [0; 2048];
    for n in 0..3u8 {
        let now = 1_000_000 + u64::from(n) * 1000;
        link.virtual_ns.store(now, Ordering::Relaxed);
        let next = pump.poll(now);
        let len = receive(&mut queues, &mut buffer).unwrap();
        assert_eq!((&buffer[..len], next), (&[n; 60][..], (n < 2).then_some(now + 1000)));
        assert!(receive(&mut queues, &mut buffer).is_none());
    }
    assert!(pump.finished());
    for queue in &mut queues {
        assert!(queue.send.send(&[7; 100], &FrameMeta::default()));
        let _ = queue.send.flush();
    }
    pump.poll(1_010_000);
    let counters = pump.counters();
    assert_eq!((counters.sent, counters.received, counters.received_bytes), (3, 2, 200));
    pump.stop();
    assert!(!ring.client_ready());
    let mut reader = Reader::open(&output).unwrap();
    for _ in 0..2 {
        let frame = reader.next().unwrap().unwrap();
        assert_eq!((frame.time_ns, frame.direction), (5_000_010_000, Some(Direction::Out)));
        assert_eq!(frame.bytes, [7; 100]);
    }
    assert!(reader.next().unwrap().is_none());
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_slow_nic_loses_nothing() {
    let path = std::env::temp_dir().join(format!("weir-wire-slow-{}.pcapng", std::process::id()));
    capture(&path, 200, 0);
    let link = FakeLink::new(&GEOMETRY);
    let (_ring, mut queues) = link.nic(&GEOMETRY);
    let spec = PcapSpec { input: Some(path.clone()), output: None, fast: false };
    let mut pump = PcapPump::new(spec, link.clone(), Mode::Threads);
    pump.start().unwrap();
    let (mut seen, mut buffer) = (Vec::new(), [0; 2048]);
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while seen.len() < 200 {
        assert!(std::time::Instant::now() < end, "{} frames came", seen.len());
        // All frames are of one flow, so that they are in order.
        if let Some(len) = receive(&mut queues, &mut buffer) {
            seen.push(buffer[len - 1]);
        }
        if queues.iter_mut().fold(false, |wake, queue| queue.recv.release() | wake) {
            link.notify();
        }
    }
    assert_eq!(seen, (0..200).collect::<Vec<u8>>());
    pump.stop();
    assert_eq!(pump.counters().send_dropped, 0);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn without_a_nic_there_is_nothing_to_serve() {
    let link = FakeLink::new(&GEOMETRY);
    let spec = PcapSpec { input: None, output: None, fast: false };
    let error = PcapPump::new(spec, link, Mode::Simulated).start().unwrap_err();
    assert!(error.to_string().contains("no NIC"), "{error}");
}
