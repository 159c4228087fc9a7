//! Rings of every size, several queues, interrupt moderation.

use std::time::Duration;

use weir_core::wire::{self, offload};
use weir_host::Prop;
use weir_host::pci::qemu::Model;
use weir_host::port::Offload;

use super::backend::{ALL, Backend};
use super::bench::{Bench, PEER, frame};
use super::packets::{flow, turned};
use super::scenarios::{back, there};

/// A device whose rings are shorter than what was asked for, and the smallest ones.
#[test]
fn rings_of_every_size() {
    for backend in ALL {
        for ring in [64u64, 128, 1024] {
            let bench = Bench::with(backend, &[("WeirRingSize", Prop::from(ring)), ("WeirOffloads", Prop::from(0u64))]);
            for seed in 0..300 {
                there(&bench, seed);
                back(&bench, seed);
            }
            bench.end();
        }
    }
}

/// Several pairs: flows spread over all of them; the frames of one stay on one, in order, and so do both directions of a
/// conversation, whichever side it is seen from.
#[test]
fn flows_are_shared_by_the_queues() {
    for (backend, pairs) in [(Backend::Qemu(Model::E1000e), 2), (Backend::Igc, 4)] {
        let bench = Bench::with(backend, &[("WeirQueues", Prop::from(pairs as u64))]);
        let mut queues = std::collections::BTreeSet::new();
        for port in 0..64u16 {
            let mut first = None;
            for round in 0..4 {
                let mut sent = flow(bench.mac, 10_000 + 131 * port, 40 + round);
                if round % 2 == 1 {
                    sent = turned(sent);
                }
                let parsed = wire::parse(&sent);
                assert!(offload::fill_transport(&mut sent, &parsed));
                bench.put_on_wire(&sent);
                let got = bench.receive(1).remove(0);
                assert_eq!(got.bytes, sent, "{backend}");
                assert_eq!(*first.get_or_insert(got.queue), got.queue, "{backend}: a flow moves");
                queues.insert(got.queue);
            }
        }
        assert_eq!(queues.len(), pairs, "{backend}: 64 flows on {queues:?}");
        for seed in 0..400 {
            let out = frame(PEER, 60 + seed, seed);
            while !bench.try_send(seed % pairs, &out, Offload::default()) {
                bench.pause();
            }
            assert_eq!(bench.next_on_wire(), out, "{backend}");
        }
        bench.end();
    }
}

/// 20 us between messages of a vector: a stream of 5000 frames in 5 ms makes 250 of them and a few, not 5000.
#[test]
fn interrupts_are_moderated() {
    let bench = Bench::up(Backend::Igc);
    let before = bench.service.pci().unwrap().counters().interrupts;
    for seed in 0..5000 {
        bench.put_on_wire(&frame(bench.mac, 60, seed));
        bench.host.advance(Duration::from_micros(1));
    }
    assert_eq!(bench.receive(5000).len(), 5000);
    let interrupts = bench.service.pci().unwrap().counters().interrupts - before;
    assert!((100..=300).contains(&interrupts), "{interrupts} interrupts");
    bench.end();
}
