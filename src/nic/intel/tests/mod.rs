//! The driver against a device model of its own kind, honest and not. What the model makes of the transmit contexts
//! is a reading of the datasheet of its own; segments are compared with the software reference.

mod model;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use self::model::{Kind, Model};
use super::{IntelConfig, e1000e, igc};
use crate::mem::packet::{PacketFlags, PartialCsum};
use crate::nic::Offloads;
use crate::nic::tests::rig::{BUF_LEN, MAC, Rig, lives, seeds};
use crate::wire::tso::Segmenter;
use crate::wire::{self, offload};

const KINDS: [Kind; 2] = [Kind::I82574, Kind::I225];

fn rig() -> (Arc<Model>, Rig) {
    rig_of(Kind::I82574)
}

fn rig_of(kind: Kind) -> (Arc<Model>, Rig) {
    let config = IntelConfig { queues: 1, ring_size: 128, mtu: 1500, mtu_max: 9000, buf_len: BUF_LEN, vectors: 2 };
    let model = Arc::new(Model::new(kind));
    let open = if kind == Kind::I225 { igc::open } else { e1000e::open };
    let rig = Rig::new(model.clone(), 512, 0, |env| open(&config, env));
    (model, rig)
}

fn frame(len: usize) -> Vec<u8> {
    let mut frame = MAC.to_vec();
    frame.extend((6..len).map(|i| i as u8));
    frame
}

/// TCP over IPv4 or IPv6, checksums zero but the IPv4 header's.
fn tcp(v6: bool, payload: usize) -> Vec<u8> {
    let mut frame = MAC.to_vec();
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 9]);
    if v6 {
        frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend_from_slice(&(20 + payload as u16).to_be_bytes());
        frame.extend_from_slice(&[6, 64]);
        for last in [1, 2] {
            frame.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
    } else {
        frame.extend_from_slice(&[8, 0, 0x45, 0]);
        frame.extend_from_slice(&(40 + payload as u16).to_be_bytes());
        frame.extend_from_slice(&[0x7f, 0xff, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    }
    frame.extend_from_slice(&[0x9c, 0x40, 1, 0xbb, 0xff, 0xff, 0xff, 0, 1, 2, 3, 4, 0x50, 0x19, 0x20, 0, 0, 0, 0, 0]);
    frame.extend((0..payload).map(|i| (i * 7) as u8));
    let _ = offload::fill_ipv4_header_of(&mut frame);
    frame
}

/// Sends and receives `count` frames; those that are sent have `len` bytes.
fn pass(model: &Model, rig: &mut Rig, count: usize, len: usize) {
    rig.post();
    rig.send(count, |packet| assert!(packet.write(&frame(len))));
    let sent = model.transmit(&rig.dma);
    assert_eq!(sent, (0..count).map(|_| frame(len)).collect::<Vec<_>>());
    assert_eq!(rig.reap(), count);
    for i in 0..count {
        assert!(model.receive(&rig.dma, &frame(60 + i), 3));
    }
    assert_eq!(rig.receive(), (0..count).map(|i| frame(60 + i)).collect::<Vec<_>>());
}

#[test]
fn frames_pass_and_nothing_is_missing() {
    for kind in KINDS {
        let (model, mut rig) = rig_of(kind);
        rig.nic.enable(true).unwrap();
        assert_eq!(rig.nic.mac(), MAC);
        for round in 0..300 {
            pass(&model, &mut rig, round % 50, 60 + round);
        }
        assert!(!rig.queues[0].arm());
        assert_eq!(rig.dma.faults.load(Ordering::Relaxed), 0);
        rig.stop();
    }
}

/// Section 7.3: segments as the device makes them of the context are the reference's, byte for byte.
#[test]
fn segments_equal_the_reference() {
    let (model, mut rig) = rig();
    rig.nic.enable(true).unwrap();
    for v6 in [false, true] {
        for (payload, mss) in
            [(3000u16, 1000u16), (9001, 1448), (10_000, 536), (1449, 1448), (1000, 1448), (14_480, 1448)]
        {
            let out = tcp(v6, payload.into());
            let parsed = wire::parse_super(&out);
            let segmenter = Segmenter::new(&out, &parsed, mss).unwrap();
            rig.send(1, |packet| {
                assert!(packet.write(&out));
                packet.set_flags(if v6 { PacketFlags::TX_TSO6 } else { PacketFlags::TX_TSO4 });
                packet.set_segments(mss, 0);
                assert!(packet.set_partial_csum(Some(PartialCsum { start: parsed.l4, stuff: parsed.l4 + 16 })));
            });
            let got = model.transmit(&rig.dma);
            let want: Vec<Vec<u8>> = (0..segmenter.segments())
                .map(|index| {
                    let mut segment = vec![0; segmenter.segment_max()];
                    let len = segmenter.write(&out, index, &mut segment).unwrap();
                    segment.truncate(len);
                    segment
                })
                .collect();
            assert_eq!(got.len(), want.len());
            assert!(got == want, "v6 {v6}, {payload} by {mss}");
            assert_eq!(rig.reap(), 1);
        }
    }
    rig.stop();
}

/// Section 7.2.10: checksums by context, and in software where a context cannot say it.
#[test]
fn checksums_are_completed() {
    let (model, mut rig) = rig();
    rig.nic.enable(true).unwrap();
    for hardware in [true, false] {
        rig.nic.set_offloads(if hardware { Offloads::TX_CSUM } else { Offloads::empty() }).unwrap();
        for v6 in [false, true] {
            let mut want = tcp(v6, 333);
            let parsed = wire::parse(&want);
            assert!(offload::fill_transport(&mut want, &parsed));
            let mut out = want.clone();
            let (start, stuff) = (parsed.l4, parsed.l4 + 16);
            let seed = offload::pseudo_header(&parsed, out.len() - usize::from(start)).unwrap().value();
            out[usize::from(stuff)..usize::from(stuff) + 2].copy_from_slice(&seed.to_be_bytes());
            if !v6 {
                out[24..26].fill(0);
            }
            rig.send(1, |packet| {
                assert!(packet.write(&out));
                packet.set_flags(if v6 { PacketFlags::empty() } else { PacketFlags::TX_CSUM_IP4 });
                assert!(packet.set_partial_csum(Some(PartialCsum { start, stuff })));
            });
            assert!(model.transmit(&rig.dma) == [want]);
            assert_eq!(rig.reap(), 1);
        }
    }
    rig.stop();
}

/// Section 7.1.4.2: what the descriptor says is vouched for, and no more.
#[test]
fn receive_status_is_translated() {
    let (model, mut rig) = rig();
    rig.nic.enable(true).unwrap();
    rig.post();
    let (ip, right, all) = (
        PacketFlags::RX_IP_CHECKED,
        PacketFlags::RX_IP_CHECKED | PacketFlags::RX_IP_VALID,
        PacketFlags::RX_IP_CHECKED | PacketFlags::RX_IP_VALID | PacketFlags::RX_DATA_VALID,
    );
    let cases = [
        (0x03, PacketFlags::empty()),
        (0x07 | 0x60, PacketFlags::empty()),
        (0x43, right),
        (0x63, all),
        (0x53, all),
        (0x63 | 1 << 29, right),
        (0x63 | 1 << 30, ip),
        (0x23, PacketFlags::RX_DATA_VALID),
    ];
    for (status, want) in cases {
        assert!(model.receive(&rig.dma, &frame(60), status));
        let mut burst = crate::mem::Burst::new();
        rig.queues[0].rx_burst(&mut burst, 1);
        let packet = burst.pop().unwrap();
        assert_eq!(packet.flags(), want, "status {status:#x}");
        rig.came_back(packet);
    }
    // Errors of the frame itself, and a frame in two buffers.
    for status in [0x03 | 1 << 24, 0x03 | 1 << 31] {
        assert!(model.receive(&rig.dma, &frame(60), status));
        assert!(rig.receive().is_empty());
    }
    assert_eq!(rig.queues[0].take_refused().device, 2);
    assert!(model.receive(&rig.dma, &frame(60), 1));
    assert!(model.receive(&rig.dma, &frame(60), 3));
    assert!(rig.receive().is_empty());
    assert_eq!(rig.queues[0].take_refused().giant, 1);
    // A length that the device cannot have written is a violation.
    assert!(model.receive_as(&rig.dma, &frame(60), 3, 0xffff));
    assert!(rig.receive().is_empty());
    assert!(rig.nic.tick(1));
    rig.stop();
}

/// A frame that arrives between two looks at its descriptor is neither lost nor refused.
#[test]
fn frames_may_arrive_while_the_ring_is_looked_at() {
    const FRAMES: usize = 20_000;
    for kind in KINDS {
        let (model, mut rig) = rig_of(kind);
        rig.nic.enable(true).unwrap();
        let (dma, device) = (rig.dma.clone(), model.clone());
        let sender = std::thread::spawn(move || {
            for i in 0..FRAMES {
                // Every third is not for this station.
                let mut frame = frame(60);
                frame[0] |= if i % 3 == 0 { 4 } else { 0 };
                while !device.receive(&dma, &frame, 3) {
                    std::thread::yield_now();
                }
            }
        });
        let (mut received, mut done) = (0, false);
        while !done {
            done = sender.is_finished();
            rig.post();
            loop {
                let frames = rig.receive().len();
                received += frames;
                if frames == 0 && !rig.queues[0].rx_pending() {
                    break;
                }
            }
        }
        sender.join().unwrap();
        let refused = rig.queues[0].take_refused();
        let others = FRAMES.div_ceil(3);
        assert_eq!(
            (received, refused.mac_filter as usize, refused.frames() as usize),
            (FRAMES - others, others, others)
        );
        rig.stop();
    }
}

/// A frame that stays with the device for two seconds of looks: the watchdog asks for a reset.
#[test]
fn a_hung_transmitter_is_noticed() {
    let (_model, mut rig) = rig();
    rig.nic.enable(true).unwrap();
    let mut now = 1_000_000_000;
    for _ in 0..20 {
        now += 250_000_000;
        assert!(!rig.nic.tick(now), "nothing is out");
    }
    rig.send(3, |packet| assert!(packet.write(&frame(60))));
    let hung = (0..20).position(|_| {
        now += 250_000_000;
        rig.nic.tick(now)
    });
    assert_eq!(hung, Some(7), "eight looks in two seconds");
    rig.stop();
}

fn hostile(kind: Kind) {
    seeds(200, |seed, rounds| {
        let (model, mut rig) = rig_of(kind);
        lives(&mut rig, &*model, seed, rounds, |rig| pass(&model, rig, 8, 60));
    });
}

#[test]
fn a_hostile_device_breaks_nothing() {
    hostile(Kind::I82574);
}

#[test]
fn a_hostile_device_of_the_next_family_breaks_nothing() {
    hostile(Kind::I225);
}

/// What `cargo xtask bench nic` runs under callgrind, and reads the accesses of.
fn cost(kind: Kind, burst: usize) {
    let (model, mut rig) = rig_of(kind);
    rig.nic.enable(true).unwrap();
    rig.post();
    let before = model.accesses();
    let (start, rounds) = (rig.nic.stats(), 2048 / burst as u64);
    for _ in 0..rounds {
        rig.post();
        rig.send(burst, |packet| assert!(packet.write(&[0x5a; 60])));
        assert_eq!(model.transmit(&rig.dma).len(), burst);
        for _ in 0..burst {
            assert!(model.receive(&rig.dma, &frame(60), 3));
        }
        assert_eq!(rig.receive().len(), burst);
        assert_eq!(rig.reap(), burst);
        assert!(!rig.queues[0].arm());
    }
    let accesses = model.accesses() - before;
    let stats = rig.nic.stats();
    assert_eq!(stats.frames_in + stats.frames_out, 2 * 2048);
    assert_eq!(stats.registers - start.registers, accesses);
    println!("cost: {accesses} {} {rounds} {}", stats.doorbells - start.doorbells, stats.copies);
    // A doorbell for each ring, one for what was refilled, and one to arm.
    assert!(accesses <= rounds * 4);
    rig.stop();
}

#[test]
fn cost_of_e1000e_at_burst_32() {
    cost(Kind::I82574, 32);
}

#[test]
fn cost_of_e1000e_at_burst_1() {
    cost(Kind::I82574, 1);
}

#[test]
fn cost_of_igc_at_burst_32() {
    cost(Kind::I225, 32);
}

#[test]
fn cost_of_igc_at_burst_1() {
    cost(Kind::I225, 1);
}
