//! A day of virtual time.

use std::time::Duration;

use weir_host::port::Offload;

use super::backend::Backend;
use super::bench::{Bench, PEER, frame};
use super::packets::{answer, ping};

/// 24 hours: a burst of echoes each minute, a pulled cable each hour, a disturbed device every four. Nothing is lost but what a
/// disturbance takes, and the accounting is whole at the end.
#[test]
fn a_day_passes() {
    // USB functions have a day of their own beside their models.
    for backend in [Backend::Loopback, Backend::Igc] {
        let bench = Bench::up(backend);
        for minute in 0..24 * 60u32 {
            for i in 0..10 {
                let request = ping(bench.mac, PEER, (10 * minute + i) as u16, (minute as usize * 11) % 1400);
                bench.send(&request, Offload::default());
                let got = bench.next_on_wire();
                assert_eq!(got, request, "{backend}: minute {minute}");
                bench.put_on_wire(&answer(&got).unwrap());
                assert_eq!(Some(bench.receive(1).remove(0).bytes), answer(&request), "{backend}: minute {minute}");
            }
            if minute % 60 == 59 {
                bench.far.set_cable(false);
                bench.wait("the link to go", || !bench.port.running());
                bench.far.set_cable(true);
                bench.wait("the link to come", || bench.port.running());
            }
            if minute % 240 == 239 && bench.far.disturb() {
                let _ = bench.try_send(0, &frame(PEER, 60, 0), Offload::default());
                bench.pass(Duration::from_secs(10));
                bench.drain_wire(Duration::from_secs(1));
                bench.received();
            }
            bench.pass(Duration::from_secs(60));
        }
        bench.end_anyhow();
    }
}
