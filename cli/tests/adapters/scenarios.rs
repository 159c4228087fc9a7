//! The conformance table.

use weir_host::port::Offload;

use super::bench::{Bench, MAC, MODELS, PEER, frame};

/// Both ways, byte for byte.
#[test]
fn frames_pass_both_ways_unchanged() {
    for model in MODELS {
        let bench = Bench::up(*model);
        for len in [60, 61, 62, 63, 64, 65, 127, 128, 1000, 1513, 1514] {
            let out = frame(PEER, len, len);
            bench.send(&out, Offload::default());
            assert_eq!(bench.from_wire(), out, "{model}: {len} bytes out");
            let back = frame(MAC, len, len + 1);
            bench.to_wire(&back);
            let got = bench.receive(1);
            assert_eq!(got[0].bytes, back, "{model}: {len} bytes in");
        }
        bench.end();
    }
}
