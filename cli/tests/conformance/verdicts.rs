//! A ruleset decides alike wherever it runs.

use weir_core::abi::sys;
use weir_core::filter::image;
use weir_core::wire::{self, offload};
use weir_host::port::Offload;
use weir_pf::{Options, Source};

use super::backend::ALL;
use super::bench::{Bench, PEER, frame};
use super::packets::{arp_request, ping, tcp4, tcp6, udp4};

/// Loads rules into the driver, as `weir load` does.
fn load(bench: &Bench, text: &str) {
    let source = Source { name: "demo.conf".to_owned(), text: text.to_owned() };
    let loaded = weir_pf::load(&source, &Options::default()).unwrap();
    let (status, _) = bench.command(sys::WEIR_CMD_RULESET_LOAD, 0, &image::encode(&loaded.ruleset), 136);
    assert_eq!(status, 0, "{}: the ruleset was refused", bench.backend);
}

fn to_port(mut frame: Vec<u8>, l4: usize, port: u16) -> Vec<u8> {
    frame[l4 + 2..l4 + 4].copy_from_slice(&port.to_be_bytes());
    frame
}

fn to_address(mut frame: Vec<u8>, address: [u8; 4]) -> Vec<u8> {
    frame[30..34].copy_from_slice(&address);
    frame
}

/// Traffic that the demo's rules pass and block, with right checksums.
fn traffic(from: [u8; 6], to: [u8; 6]) -> Vec<Vec<u8>> {
    let mut all = vec![arp_request(from), frame(to, 100, 1)];
    for port in [22, 23, 80, 443, 2323] {
        all.push(to_port(tcp4(from, to, 100), 34, port));
        all.push(to_port(tcp6(from, to, 100), 54, port));
    }
    for port in [9, 53, 5001] {
        all.push(to_port(udp4(from, to, 100), 34, port));
    }
    for last in [65, 66, 67] {
        all.push(to_address(ping(from, to, last, 56), [10, 77, 0, last as u8]));
    }
    for frame in &mut all {
        let _ = offload::fill_ipv4_header_of(frame);
        let parsed = wire::parse(frame);
        let _ = offload::fill_transport(frame, &parsed);
    }
    // The addresses of the cards are the only thing that differs between back ends.
    for frame in &mut all {
        if frame[0] & 1 == 0 {
            frame[..6].copy_from_slice(&to);
        }
        frame[6..12].copy_from_slice(&from);
    }
    all
}

/// The demo's rules give the same verdicts on the same traffic, both ways, on every back end.
#[test]
fn the_demos_rules_decide_alike() {
    let rules = include_str!("../../src/demo/demo.conf");
    let mut first: Option<(Vec<bool>, Vec<bool>)> = None;
    for backend in ALL {
        let bench = Bench::up(backend);
        load(&bench, rules);
        // A frame behind each that always passes marks the end of what came of it.
        let mark = frame(PEER, 90, 7);
        let out = traffic(bench.mac, PEER).into_iter().map(|sent| {
            bench.send(&sent, Offload::default());
            bench.send(&mark, Offload::default());
            let passed = bench.next_on_wire() == sent;
            assert!(!passed || bench.next_on_wire() == mark, "{backend}");
            passed
        });
        let out: Vec<bool> = out.collect();
        let mark = frame(bench.mac, 90, 8);
        let into = traffic(PEER, bench.mac).into_iter().map(|sent| {
            bench.put_on_wire(&sent);
            bench.put_on_wire(&mark);
            let passed = bench.receive(1)[0].bytes == sent;
            assert!(!passed || bench.receive(1)[0].bytes == mark, "{backend}");
            passed
        });
        let into: Vec<bool> = into.collect();
        let verdicts = (out, into);
        assert!(verdicts.0.contains(&false) && verdicts.0.contains(&true), "{backend}: {verdicts:?}");
        assert!(verdicts.1.contains(&false) && verdicts.1.contains(&true), "{backend}: {verdicts:?}");
        assert_eq!(*first.get_or_insert_with(|| verdicts.clone()), verdicts, "{backend}");
        bench.end();
    }
}
