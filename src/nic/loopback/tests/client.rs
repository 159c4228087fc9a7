//! A client's rings at the far end.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::bench::*;
use super::pair::{assert_sums, tcp};
use crate::mem::Status;
use crate::mem::packet::PacketFlags;
use crate::mem::region::{HeapDma, Region, Shared};
use crate::mem::wire_ring::{FrameMeta, WireClient, WireFeatures, WireQueue};
use crate::nic::loopback::{LoopbackConfig, Wire};
use crate::nic::{NicError, Offloads};
use crate::wire::parse;

/// Memory for a client that stays mapped as long as the test process: a window for `'static`.
fn memory(bench: &mut Bench) -> Shared<'static> {
    let len = bench.nic.wire().unwrap().size();
    Box::leak(Box::new(Region::alloc(Arc::new(HeapDma), len, 4096).unwrap())).shared()
}

struct Client {
    mem: Shared<'static>,
    side: WireClient<'static>,
    queues: Vec<WireQueue<'static>>,
}

fn attach(bench: &mut Bench, accepts: WireFeatures) -> Client {
    let mem = memory(bench);
    bench.nic.wire().unwrap().attach(mem).unwrap();
    let (side, queues) = WireClient::open(mem, accepts).unwrap();
    Client { mem, side, queues }
}

impl Client {
    fn receive(&mut self, queue: usize) -> Vec<(Vec<u8>, FrameMeta)> {
        let mut out = vec![0; 70_000];
        let mut frames = Vec::new();
        while let Some(next) = self.queues[queue].recv.recv(&mut out) {
            let (len, meta) = next.unwrap();
            frames.push((out[..len].to_vec(), meta));
        }
        let _ = self.queues[queue].recv.release();
        frames
    }

    fn send(&mut self, queue: usize, frame: &[u8], meta: FrameMeta) -> bool {
        let sent = self.queues[queue].send.send(frame, &meta);
        let _ = self.queues[queue].send.flush();
        sent
    }
}

#[test]
fn attach_plugs_the_cable_and_detach_pulls_it() {
    for wire in [Wire::None, Wire::Client] {
        let mut bench = Bench::up(config(wire, 1));
        assert!(!bench.nic.link().up);
        let frame = plain([0xff; 6], [2; 6], 0, 60);
        bench.lanes[0].send(&[&frame]);
        assert_eq!(bench.lanes[0].ended(Status::NoCarrier), 1);
        assert!(bench.nic.wire().unwrap().detach().is_err());
        let mem = memory(&mut bench);
        let short = mem.part(0, mem.len() - 8).unwrap();
        assert_eq!(bench.nic.wire().unwrap().attach(short), Err(NicError::NoMemory));
        let mut client = attach(&mut bench, WireFeatures::empty());
        assert_eq!(bench.nic.wire().unwrap().attach(mem), Err(NicError::Busy));
        assert!(bench.nic.link().up);
        assert_eq!(bench.ear.link_changes.load(Ordering::SeqCst), 1);
        bench.lanes[0].send(&[&frame]);
        assert_eq!(client.receive(0), [(frame.clone(), FrameMeta::default())]);
        bench.nic.wire().unwrap().detach().unwrap();
        assert!(!bench.nic.link().up && !client.side.is_attached());
        bench.lanes[0].send(&[&frame]);
        assert_eq!(bench.lanes[0].ended(Status::NoCarrier), 2);
    }
    assert!(Bench::new(config(Wire::Reflect, 1)).nic.wire().is_none());
}

#[test]
fn frames_cross_on_every_queue() {
    for queues in 1..=8 {
        let mut bench = Bench::up(LoopbackConfig { queues, ..config(Wire::Client, 1) });
        let mut client = attach(&mut bench, WireFeatures::all());
        let mac = bench.config.mac;
        for round in 0..50 {
            for queue in 0..queues {
                let out = plain([2; 6], mac, round, 60 + queue);
                bench.lanes[queue].send(&[&out]);
                assert_eq!(client.receive(queue), [(out, FrameMeta::default())]);
                let back = plain(mac, [2; 6], round, 70 + queue);
                assert!(client.send(queue, &back, FrameMeta::default()));
                bench.lanes[queue].settle();
                assert_eq!(bench.lanes[queue].received.pop().unwrap().frame, back);
            }
        }
        for lane in &bench.lanes {
            assert_eq!((lane.ended(Status::Ok), lane.refused.frames()), (50, 0));
        }
    }
}

#[test]
fn a_slow_client_holds_frames_back_and_kicks() {
    let mut bench = Bench::up(config(Wire::Client, 1));
    let mut client = attach(&mut bench, WireFeatures::all());
    let frames: Vec<_> = (0..120).map(|i| plain([2; 6], [4; 6], i, 60)).collect();
    let refs: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    assert!(!client.queues[0].recv.wait());
    bench.lanes[0].send(&refs[..64]);
    assert_eq!(bench.ear.notifies.load(Ordering::SeqCst), 1, "the client sleeps");
    bench.lanes[0].send(&refs[64..]);
    assert_eq!(bench.lanes[0].queue.gauges().tx_in_flight, 56, "64 slots");
    assert!(!bench.lanes[0].queue.arm());
    let wakes = bench.ear.wakes(0);
    bench.nic.wire().unwrap().kick();
    assert_eq!(bench.ear.wakes(0), wakes + 1);
    bench.nic.wire().unwrap().kick();
    assert_eq!(bench.ear.wakes(0), wakes + 1, "once per arming");
    assert_eq!(client.receive(0).len(), 64);
    bench.settle();
    let rest = client.receive(0);
    assert!(rest.iter().map(|(frame, _)| number(frame)).eq(64..120));
    assert_eq!(bench.lanes[0].ended(Status::Ok), 120);
}

#[test]
fn frames_wait_with_the_client_until_buffers_are_posted() {
    let mut bench = Bench::new(config(Wire::Client, 1));
    bench.nic.enable(true).unwrap();
    let mut client = attach(&mut bench, WireFeatures::all());
    let frame = plain(bench.config.mac, [2; 6], 3, 60);
    for _ in 0..10 {
        assert!(client.send(0, &frame, FrameMeta::default()));
    }
    assert!(!bench.lanes[0].queue.rx_pending());
    assert!(!bench.lanes[0].queue.arm(), "nothing can be done without buffers");
    let wakes = bench.ear.wakes(0);
    bench.lanes[0].post(4);
    assert_eq!(bench.ear.wakes(0), wakes + 1, "buffers came: receive");
    bench.lanes[0].receive(64);
    assert_eq!(bench.lanes[0].received.len(), 4);
    bench.settle();
    assert_eq!(bench.lanes[0].received.len(), 10);
    assert_eq!(bench.lanes[0].refused.frames(), 0);
}

#[test]
fn metadata_crosses_as_far_as_the_client_accepts_it() {
    for v6 in [false, true] {
        let mut bench = Bench::up(LoopbackConfig { buf_len: 65_535, ..config(Wire::Client, 1) });
        let mut client = attach(&mut bench, WireFeatures::all());
        let (frame, csum) = tcp(v6, 9_000, [2; 6]);
        let flags = if v6 { PacketFlags::TX_TSO6 } else { PacketFlags::TX_TSO4 };
        let ask = Ask { csum: Some(csum), flags, mss: 1400 };
        let (small, small_csum) = tcp(v6, 500, [2; 6]);
        let small_ask = Ask { csum: Some(small_csum), ..Ask::default() };
        bench.lanes[0].send_with(&[(&frame, ask), (&small, small_ask)]);
        let meta = FrameMeta { csum: Some(csum), mss: 1400, v6, timestamp_ns: 0 };
        let small_meta = FrameMeta { csum: Some(small_csum), ..FrameMeta::default() };
        assert_eq!(client.receive(0), [(frame.clone(), meta), (small.clone(), small_meta)]);

        client.side.set_accepts(WireFeatures::CSUM);
        bench.lanes[0].send_with(&[(&frame, ask)]);
        let segments = client.receive(0);
        assert_eq!(segments.len(), 7);
        segments.iter().for_each(|(segment, _)| assert_sums(segment));

        client.side.set_accepts(WireFeatures::empty());
        bench.lanes[0].send_with(&[(&small, small_ask)]);
        let [(finished, meta)] = client.receive(0).try_into().unwrap();
        assert_eq!(meta, FrameMeta::default());
        assert_sums(&finished);
    }
}

#[test]
fn a_super_frame_from_the_client_is_merged_or_cut() {
    for v6 in [false, true] {
        let mut bench = Bench::up(LoopbackConfig { buf_len: 16_384, ..config(Wire::Client, 1) });
        let mut client = attach(&mut bench, WireFeatures::all());
        let (frame, csum) = tcp(v6, 9_000, bench.config.mac);
        let meta = FrameMeta { csum: Some(csum), mss: 1000, v6, timestamp_ns: 0 };
        assert!(client.send(0, &frame, meta));
        bench.settle();
        let got = bench.lanes[0].received.pop().unwrap();
        assert_eq!((got.frame, got.mss, got.segs), (frame.clone(), 1000, 9));
        assert!(got.flags.intersects(PacketFlags::RX_LRO) && got.flags.contains(PacketFlags::RX_DATA_VALID));

        bench.nic.set_offloads(Offloads::RX_CSUM).unwrap();
        assert!(client.send(0, &frame, meta));
        bench.settle();
        let segments = core::mem::take(&mut bench.lanes[0].received);
        assert_eq!(segments.len(), 9);
        segments.iter().for_each(|segment| assert_sums(&segment.frame));
        let bytes: Vec<u8> =
            segments.iter().flat_map(|s| s.frame[parse(&s.frame).payload as usize..].to_vec()).collect();
        assert_eq!(bytes, frame[frame.len() - 9_000..]);
    }
}

#[test]
fn a_hostile_client_costs_frames_and_nothing_else() {
    let mut bench = Bench::up(LoopbackConfig { queues: 2, ..config(Wire::Client, 1) });
    let mut client = attach(&mut bench, WireFeatures::all());
    let mac = bench.config.mac;
    let geometry = client.side.info().geometry;
    let ring = geometry.ring_offset(0, true);
    // A descriptor that reaches past its slot, one of length 0, one whose checksum is outside, TCP that is none.
    let bad = [
        (u64::from(geometry.slot_size) + 1, 0),
        (0, 0),
        (60 | u64::from(PacketFlags::TX_CSUM_PARTIAL.bits()) << 32, 59 << 16),
        (60 | u64::from(PacketFlags::TX_TSO4.bits()) << 32, 0),
        (60 | u64::from(PacketFlags::TX_TSO4.bits()) << 32, 100 << 32),
    ];
    for (i, (w0, w1)) in bad.into_iter().enumerate() {
        assert!(client.queues[0].send.send(&plain(mac, [2; 6], 0, 60), &FrameMeta::default()));
        client.mem.store_u64(ring + 512 + i * 32, w0, Ordering::Relaxed);
        client.mem.store_u64(ring + 512 + i * 32 + 8, w1, Ordering::Relaxed);
    }
    let _ = client.queues[0].send.flush();
    assert!(client.send(0, &plain(mac, [2; 6], 1, 60), FrameMeta::default()));
    bench.settle();
    assert_eq!(bench.lanes[0].refused.device, 5);
    assert_eq!(bench.lanes[0].received.len(), 1, "the good one behind them");
    // Indices that cannot be.
    client.mem.store_u32(ring, u32::MAX / 2, Ordering::Relaxed);
    client.mem.store_u32(geometry.ring_offset(0, false) + 128, 77, Ordering::Relaxed);
    bench.lanes[0].send(&[&plain([2; 6], mac, 0, 60)]);
    bench.lanes[0].receive(8);
    bench.settle();
    assert_eq!(bench.lanes[0].refused.device, 6, "counted once");
    for _ in 0..2 {
        bench.lanes[0].send(&[plain([2; 6], mac, 0, 60).as_slice(); 64]);
    }
    assert!(bench.lanes[0].ended(Status::NoCarrier) >= 1, "found when room is needed");
    bench.lanes[1].send(&[&plain([2; 6], mac, 0, 60)]);
    assert_eq!(client.receive(1).len(), 1, "the other queue goes on");
}

#[test]
fn detaching_under_traffic_ends_what_waits() {
    let mut bench = Bench::up(config(Wire::Client, 1));
    for round in 0..20 {
        let mut client = attach(&mut bench, WireFeatures::all());
        let frames: Vec<_> = (0..64).map(|i| plain([2; 6], [4; 6], i, 60)).collect();
        let refs: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        bench.lanes[0].send(&refs);
        bench.lanes[0].send(&refs[..40]);
        assert!(client.send(0, &plain(bench.config.mac, [2; 6], 0, 60), FrameMeta::default()));
        bench.nic.wire().unwrap().detach().unwrap();
        bench.settle();
        assert_eq!(bench.lanes[0].ended(Status::Ok), 64 * (round + 1));
        assert_eq!(bench.lanes[0].ended(Status::NoCarrier), 40 * (round + 1));
        assert!(bench.lanes[0].received.is_empty());
    }
}

#[test]
fn a_client_on_its_own_thread_loses_nothing_and_nobody_sleeps_forever() {
    // Both sides sleep by the protocol: a side that waits for frames or room that are there would never end.
    const FRAMES: u32 = 20_000;
    let mut bench = Bench::up(config(Wire::Client, 1));
    let mut client = attach(&mut bench, WireFeatures::all());
    let mac = bench.config.mac;
    let kicks = Arc::new(core::sync::atomic::AtomicU32::new(0));
    let ear = bench.ear.clone();
    let client_side = {
        let (kicks, ear) = (kicks.clone(), ear.clone());
        std::thread::spawn(move || {
            let (mut sent, mut received, mut notified) = (0, 0, 0);
            let mut out = [0; 2048];
            let queue = &mut client.queues[0];
            while sent < FRAMES || received < FRAMES {
                while sent < FRAMES && queue.send.send(&plain(mac, [2; 6], sent, 60), &FrameMeta::default()) {
                    sent += 1;
                }
                let mut kick = queue.send.flush();
                while let Some(next) = queue.recv.recv(&mut out) {
                    let (len, _) = next.unwrap();
                    assert_eq!((len, number(&out)), (60, received));
                    received += 1;
                }
                kick |= queue.recv.release();
                if kick {
                    kicks.fetch_add(1, Ordering::SeqCst);
                }
                let work = queue.recv.wait() | (sent < FRAMES && queue.send.wait());
                if work || (received == FRAMES && sent == FRAMES) {
                    continue;
                }
                // Asleep until the core notifies.
                while ear.notifies.load(Ordering::SeqCst) == notified {
                    std::thread::yield_now();
                }
                notified = ear.notifies.load(Ordering::SeqCst);
            }
            drop(client);
        })
    };
    let (mut next, mut kicked, mut woken) = (0, 0, 0);
    while next < FRAMES
        || bench.lanes[0].received.len() < FRAMES as usize
        || bench.lanes[0].ended.len() < FRAMES as usize
    {
        let count = (FRAMES - next).min(32);
        let frames: Vec<_> = (next..next + count).map(|i| plain([2; 6], mac, i, 60)).collect();
        let refs: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let taken = bench.lanes[0].send(&refs) as u32;
        next += taken;
        bench.settle();
        while taken == 0 && bench.lanes[0].ended.len() < next as usize {
            // Asleep until the client kicks.
            let now = kicks.load(Ordering::SeqCst);
            if now != kicked {
                kicked = now;
                bench.nic.wire().unwrap().kick();
            }
            let wakes = bench.ear.wakes(0);
            if wakes != woken {
                woken = wakes;
                break;
            }
            std::thread::yield_now();
        }
    }
    client_side.join().unwrap();
    let lane = &bench.lanes[0];
    assert!(lane.received.iter().map(|packet| number(&packet.frame)).eq(0..FRAMES));
    assert_eq!((lane.ended(Status::Ok), lane.refused.frames()), (FRAMES as usize, 0));
}
