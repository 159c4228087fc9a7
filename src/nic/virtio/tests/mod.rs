//! The driver against a device model of its own kind, honest and not.

mod known;
mod model;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use self::model::Model;
use super::{VirtioConfig, open};
use crate::mem::packet::{PacketFlags, PartialCsum};
use crate::nic::Offloads;
use crate::nic::tests::rig::{BUF_LEN, MAC, Rig, lives, seeds};

fn config() -> VirtioConfig {
    VirtioConfig { mac: MAC, queues: 1, ring_size: 128, mtu: 1500, mtu_max: 9000, buf_len: BUF_LEN, vectors: 2 }
}

fn rig(packed: bool, event_idx: bool, headroom: u32) -> (Arc<Model>, Rig) {
    let model = Arc::new(Model::new(packed, event_idx));
    let rig = Rig::new(model.clone(), 512, headroom, |env| open(&config(), env));
    (model, rig)
}

fn each(run: impl Fn(Arc<Model>, Rig)) {
    for (packed, event_idx) in [(false, false), (false, true), (true, false), (true, true)] {
        for headroom in [0, 64] {
            let (model, rig) = rig(packed, event_idx, headroom);
            run(model, rig);
        }
    }
}

fn frame(len: usize) -> Vec<u8> {
    let mut frame = MAC.to_vec();
    frame.extend((6..len).map(|i| i as u8));
    frame
}

/// Sends and receives `count` frames; those that are sent have `len` bytes.
fn pass(model: &Model, rig: &mut Rig, count: usize, len: usize) {
    rig.post();
    rig.send(count, |packet| assert!(packet.write(&frame(len))));
    let sent = model.transmit(&rig.dma);
    assert_eq!(sent.len(), count);
    assert!(sent.iter().all(|(header, sent)| header == &[0; 12] && *sent == frame(len)));
    assert_eq!(rig.reap(), count);
    for i in 0..count {
        assert!(model.receive(&rig.dma, &frame(60 + i), &[0; 12], 1));
    }
    let got = rig.receive();
    assert_eq!(got, (0..count).map(|i| frame(60 + i)).collect::<Vec<_>>());
}

#[test]
fn frames_pass_over_every_kind_of_ring() {
    each(|model, mut rig| {
        rig.nic.enable(true).unwrap();
        for round in 0..200 {
            pass(&model, &mut rig, round % 65, 60 + round);
        }
        assert!(!rig.queues[0].arm(), "nothing is left");
        assert_eq!(rig.dma.faults.load(Ordering::Relaxed), 0);
        rig.stop();
    });
}

/// A device may finish buffers in any order, and change its mind at any moment.
#[test]
fn buffers_finish_in_any_order() {
    each(|model, mut rig| {
        for start in 0..3 {
            rig.nic.enable(true).unwrap();
            for round in 0..100usize {
                rig.post();
                let count = 1 + round * 7 % 40;
                let frames: Vec<_> = (0..count).map(|i| frame(60 + i)).collect();
                let backwards = start != 0 && round >= 3 * start && round % 3 != 0;
                rig.send(count, |packet| assert!(packet.write(&frame(60))));
                if backwards {
                    assert_eq!(model.transmit_backwards(&rig.dma), count);
                    model.receive_backwards(&rig.dma, &frames);
                    assert_eq!(rig.receive(), frames.into_iter().rev().collect::<Vec<_>>());
                } else {
                    assert_eq!(model.transmit(&rig.dma).len(), count);
                    assert!(frames.iter().all(|frame| model.receive(&rig.dma, frame, &[0; 12], 1)));
                    assert_eq!(rig.receive(), frames);
                }
                assert_eq!(rig.reap(), count);
            }
            let gauges = rig.queues[0].gauges();
            assert_eq!(gauges.tx_in_flight, 0);
            assert_eq!(rig.dma.faults.load(Ordering::Relaxed), 0);
            rig.stop();
        }
    });
}

/// Buffers of a frame that is refused are posted again, in order and out of it, whoever has them.
#[test]
fn refused_frames_leave_the_ring_whole() {
    each(|model, mut rig| {
        rig.nic.enable(true).unwrap();
        for round in 0..200 {
            rig.post();
            let posted = rig.queues[0].gauges().rx_posted;
            let mut other = frame(60);
            other[0] = 6;
            let runt = vec![0; 5];
            if round < 100 {
                for bytes in [&frame(60), &other, &runt, &frame(61)] {
                    assert!(model.receive(&rig.dma, bytes, &[0; 12], 1));
                }
                assert_eq!(rig.receive(), [frame(60), frame(61)]);
            } else {
                model.receive_backwards(&rig.dma, &[frame(60), other, runt, frame(61)]);
                assert_eq!(rig.receive(), [frame(61), frame(60)]);
            }
            assert_eq!(rig.queues[0].gauges().rx_posted, posted - 2);
            let refused = rig.queues[0].take_refused();
            assert_eq!((refused.mac_filter, refused.runt, refused.frames()), (1, 1, 2));
        }
        rig.stop();
    });
}

/// Section 5.1.6.4: a frame in several buffers.
#[test]
fn merged_buffers_become_one_frame() {
    each(|model, mut rig| {
        rig.nic.enable(true).unwrap();
        rig.post();
        let whole = frame(1400);
        let mut header = [0; 12];
        header[10] = 3;
        assert!(model.receive_parts(&rig.dma, &header, &[&whole[..500], &whole[500..501], &whole[501..]]));
        assert_eq!(rig.receive(), [whole]);
        // The device promises three and gives one: a violation, and no frame.
        assert!(model.receive(&rig.dma, &frame(100), &header, 1));
        assert!(rig.receive().is_empty());
        assert!(rig.nic.tick(1));
        rig.stop();
        rig.nic.enable(true).unwrap();
        rig.post();
        assert!(model.receive(&rig.dma, &frame(100), &[0; 12], 1));
        assert_eq!(rig.receive().len(), 1);
        rig.stop();
    });
}

/// Section 5.1.6.2: what the header says about a checksum.
#[test]
fn a_partial_checksum_is_described() {
    each(|model, mut rig| {
        rig.nic.enable(true).unwrap();
        assert!(rig.nic.offloads_supported().contains(Offloads::TX_CSUM));
        rig.send(1, |packet| {
            assert!(packet.write(&frame(100)));
            assert!(packet.set_partial_csum(Some(PartialCsum { start: 34, stuff: 50 })));
        });
        let (header, _) = model.transmit(&rig.dma).remove(0);
        assert_eq!(header, [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0]);
        rig.reap();
        rig.stop();
    });
}

/// Section 5.1.6.4.1: DATA_VALID and NEEDS_CSUM are believed only where they were negotiated and fit.
#[test]
fn received_headers_are_checked() {
    each(|model, mut rig| {
        rig.nic.enable(true).unwrap();
        rig.post();
        let cases: [([u8; 12], bool); 5] = [
            ([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], true),
            ([1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 1, 0], true),
            // Behind the end of the frame.
            ([1, 0, 0, 0, 0, 0, 90, 0, 16, 0, 1, 0], false),
            ([1, 0, 0, 0, 0, 0, 255, 255, 255, 255, 1, 0], false),
            // Segmentation that was never offered, in a frame that is no TCP.
            ([1, 1, 54, 0, 100, 0, 34, 0, 16, 0, 1, 0], false),
        ];
        for (header, good) in cases {
            assert!(model.receive(&rig.dma, &frame(100), &header, 1));
            let mut burst = crate::mem::Burst::new();
            rig.queues[0].rx_burst(&mut burst, 64);
            assert_eq!(burst.len(), usize::from(good), "{header:?}");
            for packet in burst {
                assert!(packet.flags().contains(PacketFlags::RX_DATA_VALID));
                rig.came_back(packet);
            }
            assert_eq!(rig.queues[0].take_refused().device, u64::from(!good));
        }
        rig.stop();
    });
}

#[test]
fn a_hostile_device_breaks_nothing() {
    seeds(200, |seed, rounds| {
        let (model, mut rig) = rig(seed & 1 != 0, seed & 2 != 0, if seed & 4 != 0 { 64 } else { 0 });
        lives(&mut rig, &*model, seed, rounds, |rig| pass(&model, rig, 8, 60));
    });
}

/// What `cargo xtask bench nic` runs under callgrind, and reads the accesses of.
fn cost(packed: bool, burst: usize) {
    let (model, mut rig) = rig(packed, true, 64);
    rig.nic.enable(true).unwrap();
    rig.post();
    let before = model.accesses();
    let (start, rounds) = (rig.nic.stats(), 2048 / burst as u64);
    for _ in 0..rounds {
        rig.post();
        rig.send(burst, |packet| assert!(packet.write(&[0x5a; 60])));
        assert_eq!(model.transmit(&rig.dma).len(), burst);
        for _ in 0..burst {
            assert!(model.receive(&rig.dma, &frame(60), &[0; 12], 1));
        }
        assert_eq!(rig.receive().len(), burst);
        assert_eq!(rig.reap(), burst);
        assert!(!rig.queues[0].arm());
    }
    let accesses = model.accesses() - before;
    let stats = rig.nic.stats();
    assert_eq!(stats.frames_in + stats.frames_out, 2 * 2048);
    assert_eq!((stats.registers - start.registers, stats.doorbells - start.doorbells), (accesses, accesses));
    println!("cost: {accesses} {} {rounds} {}", stats.doorbells - start.doorbells, stats.copies);
    // One doorbell a burst, each way.
    assert!(accesses <= rounds * 3);
    rig.stop();
}

#[test]
fn cost_of_split_rings_at_burst_32() {
    cost(false, 32);
}

#[test]
fn cost_of_split_rings_at_burst_1() {
    cost(false, 1);
}

#[test]
fn cost_of_packed_rings_at_burst_32() {
    cost(true, 32);
}

#[test]
fn cost_of_packed_rings_at_burst_1() {
    cost(true, 1);
}

/// Finished frames that do not fit into the burst wait, in order and out of it.
#[test]
fn a_full_burst_takes_no_more() {
    each(|model, mut rig| {
        rig.nic.enable(true).unwrap();
        for backwards in [false, true] {
            rig.send(40, |packet| assert!(packet.write(&frame(60))));
            assert_eq!(if backwards { model.transmit_backwards(&rig.dma) } else { model.transmit(&rig.dma).len() }, 40);
            for left in [64, 63, 62, 40, 0] {
                let mut burst = crate::mem::Burst::new();
                let room = 64 - left;
                burst.extend((0..left).map(|_| rig.lend().unwrap()));
                let before = rig.queues[0].gauges().tx_in_flight;
                let done = rig.queues[0].tx_reap(&mut burst);
                assert_eq!(done, room.min(before));
                burst.into_iter().for_each(|packet| rig.came_back(packet));
            }
            assert_eq!(rig.queues[0].gauges().tx_in_flight, 0);
            assert!(!rig.nic.tick(1), "nothing was wrong");
        }
        rig.stop();
    });
}
