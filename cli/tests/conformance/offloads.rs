//! Checksums and segments, held against the software reference.

use weir_core::wire::tso::Segmenter;
use weir_core::wire::{self, offload};
use weir_host::pci::qemu::Model;
use weir_host::port::Offload;

use super::backend::{ALL, Backend};
use super::bench::{Bench, PEER, each};
use super::packets::{tcp4, tcp6, udp4};

/// The stack leaves a checksum to the NIC: what leaves has the right one.
#[test]
fn transmit_checksums_are_completed() {
    each(|bench| {
        for (mut out, stuff) in [
            (udp4(bench.mac, PEER, 200), 34 + 6),
            (tcp4(bench.mac, PEER, 333), 34 + 16),
            (tcp6(bench.mac, PEER, 77), 54 + 16),
        ] {
            let parsed = wire::parse(&out);
            let l4 = parsed.l4;
            assert!(offload::fill_transport(&mut out, &parsed));
            let want = out.clone();
            let seed = offload::pseudo_header(&parsed, out.len() - usize::from(l4)).unwrap().value();
            out[stuff..stuff + 2].copy_from_slice(&seed.to_be_bytes());
            let partial = Some((l4, stuff as u16));
            bench.send(&out, Offload { partial_csum: partial, ..Offload::default() });
            assert_eq!(bench.next_on_wire(), want, "{}", bench.backend);
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
                let mut sent = make(PEER, bench.mac, len);
                let parsed = wire::parse(&sent);
                assert!(offload::fill_transport(&mut sent, &parsed));
                if wrong {
                    let last = sent.len() - 1;
                    sent[last] ^= 0x55;
                }
                bench.put_on_wire(&sent);
                let got = bench.receive(1).remove(0);
                assert_eq!(got.bytes, sent, "{}", bench.backend);
                assert!(!(wrong && got.offload.data_valid), "{}: vouched for a wrong checksum", bench.backend);
                vouched += usize::from(got.offload.data_valid);
            }
        }
        if bench.backend.checks_on_receive() {
            assert_eq!(vouched, 6, "the device looks at checksums");
        }
        bench.end();
    });
}

/// Segments of TCP over IPv4 and IPv6 are the software reference's, byte for byte.
#[test]
fn segments_equal_the_reference() {
    for backend in ALL.into_iter().filter(|backend| backend.cuts_segments()) {
        let bench = Bench::up(backend);
        let most = bench.port.info().tso_max.iter().copied().min().unwrap() as usize;
        assert!(most > 60_000, "{backend}");
        for make in [tcp4, tcp6] {
            for (payload, mss) in
                [(2000, 1000), (9001, 1448), (20_000, 536), (60_000, 1448), (1449, 1448), (1448, 1448)]
            {
                let out = make(bench.mac, PEER, payload);
                let parsed = wire::parse_super(&out);
                let segmenter = Segmenter::new(&out, &parsed, mss).unwrap();
                let v6 = parsed.family == wire::Family::V6;
                let partial_csum = Some((parsed.l4, parsed.l4 + 16));
                bench.send(&out, Offload { partial_csum, mss, v6, ..Offload::default() });
                for index in 0..segmenter.segments() {
                    let mut want = vec![0; segmenter.segment_max()];
                    let len = segmenter.write(&out, index, &mut want).unwrap();
                    want.truncate(len);
                    assert!(bench.next_on_wire() == want, "{backend}: {payload} bytes by {mss}, segment {index}");
                }
            }
        }
        bench.end();
    }
}

/// Super-frames arrive whole where what cuts them is QEMU 7.2, which makes IP fragments for a far end that takes none: what
/// the fragments carry is compared.
#[test]
fn super_frames_arrive_whole() {
    let bench = Bench::up(Backend::Qemu(Model::E1000e));
    assert!(bench.port.info().tso_max.iter().all(|max| *max > 60_000));
    for (payload, mss) in [(2000, 1000), (9001, 1448), (20_000, 536), (60_000, 1448), (1449, 1448)] {
        let out = tcp4(bench.mac, PEER, payload);
        let parsed = wire::parse_super(&out);
        let offload = Offload { partial_csum: Some((parsed.l4, parsed.l4 + 16)), mss, ..Offload::default() };
        bench.send(&out, offload);
        let mut carried = Vec::new();
        while carried.len() < 20 + payload {
            carried.extend_from_slice(&bench.next_on_wire()[34..]);
        }
        // The checksum is the device's.
        carried[16..18].fill(0);
        assert!(carried == out[34..], "{payload} bytes by {mss}");
    }
    bench.end();
}
