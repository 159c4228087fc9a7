//! The conformance table: each scenario on every model.

use std::time::{Duration, Instant};

use weir_core::wire::{self, offload};
use weir_host::Prop;
use weir_host::pci::PciDevice;
use weir_host::pci::qemu::Model;
use weir_host::port::Offload;

use super::bench::{Bench, LIMIT, MAC, MODELS, PEER, frame};
use super::packets::{tcp4, tcp6, udp4};

/// kIOServicePowerCapabilityOn and ...Off.
const POWER_ON: u32 = 2;
const POWER_OFF: u32 = 0;

fn each(run: impl Fn(Bench)) {
    for model in MODELS {
        run(Bench::up(*model));
    }
}

fn there(bench: &Bench, seed: usize) {
    let out = frame(PEER, 60 + seed % 1400, seed);
    bench.send(&out, Offload::default());
    assert_eq!(bench.next_on_wire(), out, "{}: frame {seed} out", bench.model);
}

fn back(bench: &Bench, seed: usize) {
    let out = frame(MAC, 60 + seed % 1400, seed);
    bench.put_on_wire(&out);
    assert_eq!(bench.receive(1)[0].bytes, out, "{}: frame {seed} in", bench.model);
}

/// Both ways, byte for byte, every size up to the MTU's end and every length modulo a cache line.
#[test]
fn frames_pass_both_ways_unchanged() {
    each(|bench| {
        for len in (60..=130).chain(1440..=1514) {
            let out = frame(PEER, len, len);
            bench.send(&out, Offload::default());
            assert_eq!(bench.next_on_wire(), out, "{}: {len} bytes out", bench.model);
            let back = frame(MAC, len, len + 1);
            bench.put_on_wire(&back);
            assert_eq!(bench.receive(1)[0].bytes, back, "{}: {len} bytes in", bench.model);
        }
        bench.end();
    });
}

/// MTU 9000, with and without a tag; one byte more is refused.
#[test]
fn jumbo_frames_pass_up_to_the_mtu() {
    each(|bench| {
        bench.service.set_mtu(9000).unwrap();
        for len in [1515, 4000, 8191, 8192, 8193, 9013, 9014] {
            let out = frame(PEER, len, len);
            bench.send(&out, Offload::default());
            assert_eq!(bench.next_on_wire(), out, "{}: {len} bytes out", bench.model);
            let back = frame(MAC, len, len + 1);
            bench.put_on_wire(&back);
            assert_eq!(bench.receive(1)[0].bytes, back, "{}: {len} bytes in", bench.model);
        }
        bench.put_on_wire(&frame(MAC, 9015, 1));
        back(&bench, 2);
        assert!(bench.service.set_mtu(9001).is_err());
        bench.end();
    });
}

/// Tags stay in the frame, and do not count against the MTU.
#[test]
fn vlan_tags_pass_inline() {
    each(|bench| {
        for tci in [1u16, 0x2064, 0xefff] {
            let tag = |mut frame: Vec<u8>| {
                frame.splice(12..12, [0x81, 0x00].into_iter().chain(tci.to_be_bytes()));
                frame
            };
            let out = tag(frame(PEER, 1514, 3));
            bench.send(&out, Offload::default());
            assert_eq!(bench.next_on_wire(), out, "{}", bench.model);
            let back = tag(frame(MAC, 1514, 4));
            bench.put_on_wire(&back);
            assert_eq!(bench.receive(1)[0].bytes, back, "{}", bench.model);
        }
        bench.end();
    });
}

/// Who gets what, as the stack programs it.
#[test]
fn address_filters_follow_the_stack() {
    const GROUP: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0xfb];
    const OTHER_GROUP: [u8; 6] = [0x01, 0x00, 0x5e, 0, 0, 0xfb];
    const STRANGER: [u8; 6] = [0x02, 0x12, 0x34, 0x56, 0x78, 0x9a];
    const BROADCAST: [u8; 6] = [0xff; 6];
    each(|bench| {
        // A frame for the station behind each marks the end of what came of it.
        let arrives = |to: [u8; 6]| {
            bench.put_on_wire(&frame(to, 100, 1));
            bench.put_on_wire(&frame(MAC, 101, 2));
            let first = bench.receive(1).remove(0).bytes;
            if first.starts_with(&MAC) {
                return false;
            }
            assert!(first.starts_with(&to));
            bench.receive(1);
            true
        };
        let expect = |what: &str, want: [bool; 4]| {
            let got = [BROADCAST, GROUP, OTHER_GROUP, STRANGER].map(arrives);
            assert_eq!(got, want, "{}: {what}", bench.model);
        };
        expect("nothing asked for", [true, false, false, false]);
        bench.service.set_multicast(&[GROUP]).unwrap();
        expect("one group", [true, true, false, false]);
        bench.service.set_all_multicast(true).unwrap();
        expect("all groups", [true, true, true, false]);
        bench.service.set_all_multicast(false).unwrap();
        bench.service.set_promiscuous(true).unwrap();
        expect("promiscuous", [true, true, true, true]);
        bench.service.set_promiscuous(false).unwrap();
        bench.service.set_multicast(&[]).unwrap();
        expect("nothing again", [true, false, false, false]);
        // It survives being down.
        bench.service.set_multicast(&[OTHER_GROUP]).unwrap();
        bench.service.set_enabled(false).unwrap();
        bench.service.set_enabled(true).unwrap();
        bench.wait("the link", || bench.port.running());
        expect("after down and up", [true, false, true, false]);
        bench.service.set_mac(STRANGER).unwrap();
        bench.put_on_wire(&frame(STRANGER, 100, 9));
        assert!(bench.receive(1)[0].bytes.starts_with(&STRANGER));
        bench.end();
    });
}

/// 10,000 frames each way, none lost, none changed, in order.
#[test]
fn ten_thousand_frames_each_way() {
    each(|bench| {
        std::thread::scope(|scope| {
            let wire = bench.wire.try_clone().unwrap();
            scope.spawn(move || {
                let mut buffer = vec![0; 2048];
                for seed in 0..10_000 {
                    let len = wire.recv(&mut buffer).unwrap();
                    assert_eq!(buffer[..len], frame(PEER, 60 + seed % 1400, seed));
                    // The echo paces itself: the socket holds no more than the device takes.
                    wire.send(&frame(MAC, 60 + seed % 1400, seed)).unwrap();
                }
            });
            scope.spawn(|| {
                for seed in 0..10_000 {
                    let out = frame(PEER, 60 + seed % 1400, seed);
                    bench.send(&out, Offload::default());
                }
            });
            for seed in 0..10_000 {
                assert_eq!(bench.receive(1)[0].bytes, frame(MAC, 60 + seed % 1400, seed), "{}", bench.model);
            }
        });
        bench.end();
    });
}

/// A wire that does not take frames: the ring fills, the stack waits, nothing is lost or overtaken.
#[test]
fn a_full_ring_holds_the_stack_back() {
    each(|bench| {
        let total = 3000;
        let sent = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for seed in 0..total {
                    bench.send(&frame(PEER, 1514, seed), Offload::default());
                    sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
            std::thread::sleep(Duration::from_millis(100));
            for seed in 0..total {
                assert_eq!(bench.next_on_wire(), frame(PEER, 1514, seed), "{}", bench.model);
            }
        });
        bench.end();
    });
}

/// The stack leaves a checksum to the NIC: what leaves has the right one.
#[test]
fn transmit_checksums_are_completed() {
    each(|bench| {
        for (mut out, stuff) in
            [(udp4(MAC, PEER, 200), 34 + 6), (tcp4(MAC, PEER, 333), 34 + 16), (tcp6(MAC, PEER, 77), 54 + 16)]
        {
            let parsed = wire::parse(&out);
            let l4 = parsed.l4;
            assert!(offload::fill_transport(&mut out, &parsed));
            let want = out.clone();
            let seed = offload::pseudo_header(&parsed, out.len() - usize::from(l4)).unwrap().value();
            out[stuff..stuff + 2].copy_from_slice(&seed.to_be_bytes());
            let partial = Some((l4, stuff as u16));
            bench.send(&out, Offload { partial_csum: partial, ..Offload::default() });
            assert_eq!(bench.next_on_wire(), want, "{}", bench.model);
        }
        bench.end();
    });
}

/// Right and wrong checksums on receive: a wrong one is never vouched for, the frame arrives as it came.
#[test]
fn receive_checksums_are_vouched_for_only_when_right() {
    each(|bench| {
        let mut vouched = 0;
        for make in [udp4, tcp4, tcp6] {
            for (wrong, len) in [(false, 100), (true, 100), (false, 1400), (true, 1400)] {
                let mut sent = make(PEER, MAC, len);
                let parsed = wire::parse(&sent);
                assert!(offload::fill_transport(&mut sent, &parsed));
                if wrong {
                    let last = sent.len() - 1;
                    sent[last] ^= 0x55;
                }
                bench.put_on_wire(&sent);
                let got = bench.receive(1).remove(0);
                assert_eq!(got.bytes, sent, "{}", bench.model);
                assert!(!(wrong && got.offload.data_valid), "{}: vouched for a wrong checksum", bench.model);
                vouched += usize::from(got.offload.data_valid);
            }
        }
        if matches!(bench.model, Model::E1000e) {
            assert_eq!(vouched, 6, "the device looks at checksums");
        }
        bench.end();
    });
}

/// Super-frames arrive whole: QEMU 7.2 cuts them as IP fragments where the far end takes none, so that what is compared
/// is what the fragments carry. Segments proper are compared with the reference by the core's own tests.
#[test]
fn super_frames_arrive_whole() {
    for model in MODELS.iter().filter(|model| matches!(model, Model::E1000e)) {
        let bench = Bench::up(*model);
        assert!(bench.port.info().tso_max.iter().all(|max| *max > 60_000));
        for (payload, mss) in [(2000, 1000), (9001, 1448), (20_000, 536), (60_000, 1448), (1449, 1448)] {
            let out = tcp4(MAC, PEER, payload);
            let parsed = wire::parse_super(&out);
            let offload = Offload { partial_csum: Some((parsed.l4, parsed.l4 + 16)), mss, ..Offload::default() };
            bench.send(&out, offload);
            let mut carried = Vec::new();
            while carried.len() < 20 + payload {
                carried.extend_from_slice(&bench.next_on_wire()[34..]);
            }
            // The checksum is the device's.
            carried[16..18].fill(0);
            assert!(carried == out[34..], "{model}: {payload} bytes by {mss}");
        }
        bench.end();
    }
}

/// The cable is pulled and plugged: the stack hears of it, frames are refused meanwhile and pass again afterwards.
#[test]
fn the_cable_can_be_pulled() {
    each(|bench| {
        for round in 0..3 {
            there(&bench, round);
            bench.device.set_cable(false).unwrap();
            bench.wait("the link to go", || !bench.port.running());
            bench.device.set_cable(true).unwrap();
            bench.wait("the link to come", || bench.port.running());
            there(&bench, round + 10);
            back(&bench, round + 20);
        }
        bench.end();
    });
}

/// Interrupts that nobody sent, and one that never arrives.
#[test]
fn lost_and_spurious_interrupts_do_no_harm() {
    each(|bench| {
        for vector in [0, 1, 0, 1, 1, 0] {
            bench.service.raise_interrupt(vector).unwrap();
            there(&bench, 1);
        }
        // The function mask of MSI-X (PCI 3.0 section 6.8.2.3) keeps every message back.
        let at = (0x40..0x100).step_by(4).find(|at| bench.device.config_read(*at, 1) == 0x11).unwrap();
        let control = bench.device.config_read(at + 2, 2);
        bench.device.config_write(at + 2, 2, control | 0x4000);
        there(&bench, 2);
        back(&bench, 3);
        back(&bench, 4);
        bench.device.config_write(at + 2, 2, control & !0x4000);
        back(&bench, 5);
        bench.end();
    });
}

/// The device forgets everything while frames are in flight: it is set up again, and no packet is lost to the pool.
#[test]
fn a_reset_behind_the_drivers_back_is_recovered_from() {
    each(|bench| {
        for round in 0..3 {
            for seed in 0..40 {
                bench.send(&frame(PEER, 300, seed), Offload::default());
            }
            match bench.model {
                // Section 10.2.2.1 of the 82574 datasheet.
                Model::E1000e => bench.device.write(0, 0, 4, 1 << 26),
                // Section 4.1.4.3: the status register of the common structure, which QEMU has in BAR 4.
                Model::VirtioNet { .. } => bench.device.write(4, 0x14, 1, 0),
            }
            let end = Instant::now() + LIMIT;
            bench.wire.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let probe = frame(PEER, 90, 1000 + round);
            let mut buffer = [0; 2048];
            'recovered: loop {
                assert!(Instant::now() < end, "{}: did not recover", bench.model);
                bench.send(&probe, Offload::default());
                while let Ok(len) = bench.wire.recv(&mut buffer) {
                    if buffer[..len] == probe {
                        break 'recovered;
                    }
                }
            }
            while bench.wire.recv(&mut buffer).is_ok() {}
            bench.wire.set_read_timeout(Some(LIMIT)).unwrap();
            back(&bench, round);
        }
        bench.end();
    });
}

/// Asleep and awake, ten times, with frames on their way.
#[test]
fn sleep_and_wake_under_traffic() {
    each(|bench| {
        let mut buffer = [0; 2048];
        for round in 0..10 {
            for seed in 0..20 {
                bench.send(&frame(PEER, 100, seed), Offload::default());
            }
            bench.service.set_power_state(POWER_OFF).unwrap();
            bench.put_on_wire(&frame(MAC, 100, 7));
            bench.service.set_power_state(POWER_ON).unwrap();
            bench.wire.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
            while bench.wire.recv(&mut buffer).is_ok() {}
            bench.wire.set_read_timeout(Some(LIMIT)).unwrap();
            bench.wait("the link", || bench.port.running());
            there(&bench, round);
            let end = Instant::now() + LIMIT;
            // What was sent to a sleeper may arrive or not.
            bench.put_on_wire(&frame(MAC, 200, 40 + round));
            while bench.receive(1)[0].bytes != frame(MAC, 200, 40 + round) {
                assert!(Instant::now() < end);
            }
        }
        bench.end();
    });
}

/// Pulled out at any moment: nothing hangs, nothing leaks, every packet comes back.
#[test]
fn unplugged_in_every_state() {
    for model in MODELS {
        for state in ["idle", "sending", "receiving", "down", "asleep"] {
            let bench = Bench::up(*model);
            there(&bench, 1);
            match state {
                "sending" => (0..50).for_each(|seed| bench.send(&frame(PEER, 500, seed), Offload::default())),
                "receiving" => (0..50).for_each(|seed| bench.put_on_wire(&frame(MAC, 500, seed))),
                "down" => bench.service.set_enabled(false).unwrap(),
                "asleep" => bench.service.set_power_state(POWER_OFF).unwrap(),
                _ => {}
            }
            bench.pci().unplug();
            if state == "idle" {
                bench.wait("the link to go", || !bench.port.running());
            }
            bench.end();
        }
    }
}

/// Up and down a hundred times.
#[test]
fn a_hundred_times_up_and_down() {
    each(|bench| {
        for round in 0..100 {
            bench.service.set_enabled(false).unwrap();
            bench.service.set_enabled(true).unwrap();
            if round % 10 == 0 {
                bench.wait("the link", || bench.port.running());
                there(&bench, round);
                back(&bench, round);
            }
        }
        bench.end();
    });
}

/// A device whose rings are shorter than what was asked for, and the smallest ones.
#[test]
fn rings_of_every_size() {
    for model in MODELS {
        for ring in [64u64, 128, 1024] {
            let bench =
                Bench::with(*model, &[], &[("WeirRingSize", Prop::from(ring)), ("WeirOffloads", Prop::from(0u64))]);
            for seed in 0..300 {
                there(&bench, seed);
                back(&bench, seed);
            }
            bench.end();
        }
    }
}
