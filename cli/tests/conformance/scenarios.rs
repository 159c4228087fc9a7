//! Frames, sizes, filters, the cable, and pressure.

use std::time::Duration;

use weir_core::wire::{self, offload};
use weir_host::Host;
use weir_host::port::Offload;

use super::backend::Backend;
use super::bench::{Bench, PEER, each, frame};
use super::packets::{answer, arp_request, ping, udp4};

/// kIOServicePowerCapabilityOn and ...Off.
pub const POWER_ON: u32 = 2;
pub const POWER_OFF: u32 = 0;

pub fn there(bench: &Bench, seed: usize) {
    let out = frame(PEER, 60 + seed % 1400, seed);
    bench.send(&out, Offload::default());
    assert_eq!(bench.next_on_wire(), out, "{}: frame {seed} out", bench.backend);
}

pub fn back(bench: &Bench, seed: usize) {
    let out = frame(bench.mac, 60 + seed % 1400, seed);
    bench.put_on_wire(&out);
    assert_eq!(bench.receive(1)[0].bytes, out, "{}: frame {seed} in", bench.backend);
}

/// Both ways, byte for byte: small sizes, every length modulo a cache line, sizes up to the MTU's end.
#[test]
fn frames_pass_both_ways_unchanged() {
    each(|bench| {
        for len in (60..=130).chain(1440..=1514) {
            let out = frame(PEER, len, len);
            bench.send(&out, Offload::default());
            assert_eq!(bench.next_on_wire(), out, "{}: {len} bytes out", bench.backend);
            let back = frame(bench.mac, len, len + 1);
            bench.put_on_wire(&back);
            assert_eq!(bench.receive(1)[0].bytes, back, "{}: {len} bytes in", bench.backend);
        }
        // Doorbells, interrupts, registers, then transfers and frames (weir_core.h): what a device costs is told.
        let stats = bench.nic_stats();
        if bench.backend != Backend::Loopback {
            assert!(stats[0] > 0, "{}: no doorbell in {stats:?}", bench.backend);
            // Frames in and out, and copies: PCI has none, USB one a frame.
            let frames = stats[5] + stats[6];
            let copies = if bench.backend.is_pci() { 0 } else { frames };
            assert_eq!(stats[7], copies, "{}: copies of {frames} frames", bench.backend);
        }
        bench.end();
    });
}

/// MTU 9000, with and without a tag; one byte more is refused.
#[test]
fn jumbo_frames_pass_up_to_the_mtu() {
    each(|bench| {
        if bench.backend.mtu_max() < 9000 {
            assert!(bench.service.set_mtu(9000).is_err());
            return bench.end();
        }
        bench.service.set_mtu(9000).unwrap();
        for len in (1515..9014).step_by(67).chain([4096, 8191, 8192, 8193, 9013, 9014]) {
            let out = frame(PEER, len, len);
            bench.send(&out, Offload::default());
            assert_eq!(bench.next_on_wire(), out, "{}: {len} bytes out", bench.backend);
            let back = frame(bench.mac, len, len + 1);
            bench.put_on_wire(&back);
            assert_eq!(bench.receive(1)[0].bytes, back, "{}: {len} bytes in", bench.backend);
        }
        bench.put_on_wire(&frame(bench.mac, 9015, 1));
        back(&bench, 2);
        assert!(bench.service.set_mtu(9001).is_err());
        bench.end();
    });
}

/// A frame may begin anywhere in its buffer; a device that computes its checksum is told where.
#[test]
fn frames_begin_at_every_alignment() {
    each(|bench| {
        for offset in 0..=64 {
            for len in [60, 61, 1514] {
                let out = frame(PEER, len, offset);
                bench.send_at(offset, &out, Offload::default());
                assert_eq!(bench.next_on_wire(), out, "{}: {len} bytes at {offset}", bench.backend);
            }
            let mut out = udp4(bench.mac, PEER, 100 + offset);
            let parsed = wire::parse(&out);
            let (l4, stuff) = (parsed.l4, parsed.l4 + 6);
            assert!(offload::fill_transport(&mut out, &parsed));
            let want = out.clone();
            let seed = offload::pseudo_header(&parsed, out.len() - usize::from(l4)).unwrap().value();
            out[usize::from(stuff)..][..2].copy_from_slice(&seed.to_be_bytes());
            bench.send_at(offset, &out, Offload { partial_csum: Some((l4, stuff)), ..Offload::default() });
            assert_eq!(bench.next_on_wire(), want, "{}: a checksum at {offset}", bench.backend);
        }
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
            assert_eq!(bench.next_on_wire(), out, "{}", bench.backend);
            let back = tag(frame(bench.mac, 1514, 4));
            bench.put_on_wire(&back);
            assert_eq!(bench.receive(1)[0].bytes, back, "{}", bench.backend);
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
            bench.put_on_wire(&frame(bench.mac, 101, 2));
            let first = bench.receive(1).remove(0).bytes;
            if first.starts_with(&bench.mac) {
                return false;
            }
            assert!(first.starts_with(&to));
            bench.receive(1);
            true
        };
        let expect = |what: &str, want: [bool; 4]| {
            let got = [BROADCAST, GROUP, OTHER_GROUP, STRANGER].map(arrives);
            assert_eq!(got, want, "{}: {what}", bench.backend);
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

/// Address resolution and 10,000 echoes of every size up to the ordinary MTU, none lost, none changed, in order.
#[test]
fn ten_thousand_echoes_come_back() {
    each(|bench| {
        bench.send(&arp_request(bench.mac), Offload::default());
        let reply = answer(&bench.next_on_wire()).unwrap();
        bench.put_on_wire(&reply);
        assert_eq!(bench.receive(1)[0].bytes, reply, "{}: ARP", bench.backend);
        for burst in 0..10_000u32.div_ceil(16) {
            let requests: Vec<_> =
                (16 * burst..).take(16).map(|n| ping(bench.mac, PEER, n as u16, n as usize % 1473)).collect();
            requests.iter().for_each(|request| bench.send(request, Offload::default()));
            for request in &requests {
                let got = bench.next_on_wire();
                assert_eq!(&got, request, "{}: echo request out", bench.backend);
                bench.put_on_wire(&answer(&got).unwrap());
            }
            for (got, request) in bench.receive(16).into_iter().zip(&requests) {
                assert_eq!(Some(got.bytes), answer(request), "{}: echo reply in", bench.backend);
            }
        }
        bench.end();
    });
}

/// A device that takes no frames, or a wire: the ring fills, the stack waits, nothing is lost or overtaken.
#[test]
fn a_full_ring_holds_the_stack_back() {
    each(|bench| {
        let total = 3000;
        let hung = bench.far.hang(true);
        let (mut sent, mut full, mut got) = (0, false, 0);
        while got < total {
            while sent < total && bench.try_send(0, &frame(PEER, 1514, sent), Offload::default()) {
                sent += 1;
            }
            if !full {
                full = sent < total;
                bench.far.hang(false);
            }
            while let Some(out) = bench.far.take(Duration::from_millis(1)) {
                assert_eq!(out, frame(PEER, 1514, got), "{}: frame {got}", bench.backend);
                got += 1;
            }
            bench.pause();
        }
        assert!(full || !hung, "{}: 3000 frames never filled it", bench.backend);
        bench.end();
    });
}

/// The cable is pulled and plugged: the stack hears of it, frames are refused meanwhile and pass again afterwards.
#[test]
fn the_cable_can_be_pulled() {
    each(|bench| {
        for round in 0..3 {
            there(&bench, round);
            bench.far.set_cable(false);
            bench.wait("the link to go", || !bench.port.running());
            bench.far.set_cable(true);
            bench.wait("the link to come", || bench.port.running());
            there(&bench, round + 10);
            back(&bench, round + 20);
        }
        bench.end();
    });
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

/// A model as `dkhost run --provider` is told of it: its far end answers.
#[test]
fn a_device_is_driven_by_its_name() {
    let host = Host::new(Backend::Igc.host(3));
    let (service, far) = Backend::Igc.boot_named(&host, "sim:igc");
    let bench = Bench::of(Backend::Igc, host, service, far);
    bench.send(&arp_request(bench.mac), Offload::default());
    let reply = bench.receive(1).remove(0).bytes;
    // RFC 826: a reply.
    assert_eq!((&reply[..6], &reply[20..22]), (&bench.mac[..], &[0, 2][..]));
    bench.end();
}
