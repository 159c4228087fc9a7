//! Interrupts that get lost, devices that forget, sleep, and the plug pulled.

use std::time::{Duration, Instant};

use weir_host::port::Offload;

use super::backend::ALL;
use super::bench::{Bench, LIMIT, PEER, each, frame};
use super::scenarios::{POWER_OFF, POWER_ON, back, there};

/// Sends a frame of its own kind until it comes out; what comes before it is thrown away.
fn until_it_passes(bench: &Bench, seed: usize) {
    let probe = frame(PEER, 90, seed);
    let end = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < end, "{}: did not recover", bench.backend);
        let _ = bench.try_send(0, &probe, Offload::default());
        if bench.drain_wire(Duration::from_millis(50)).contains(&probe) {
            bench.drain_wire(Duration::from_millis(50));
            return;
        }
    }
}

/// Interrupts that nobody sent, and ones that never arrive.
#[test]
fn lost_and_spurious_interrupts_do_no_harm() {
    each(|bench| {
        if !bench.backend.is_pci() {
            return bench.end();
        }
        for vector in [0, 1, 0, 1, 1, 0] {
            bench.service.raise_interrupt(vector).unwrap();
            there(&bench, 1);
        }
        bench.far.mask_messages(true);
        there(&bench, 2);
        back(&bench, 3);
        back(&bench, 4);
        bench.far.mask_messages(false);
        back(&bench, 5);
        bench.end();
    });
}

/// The device forgets everything, or halts, while frames are in flight: it is set up again, and no packet is lost to the
/// pool.
#[test]
fn a_reset_behind_the_drivers_back_is_recovered_from() {
    each(|bench| {
        for round in 0..3 {
            for seed in 0..40 {
                bench.send(&frame(PEER, 300, seed), Offload::default());
            }
            if !bench.far.disturb() {
                break;
            }
            until_it_passes(&bench, 1000 + round);
            bench.wait("the link", || bench.port.running());
            bench.received();
            back(&bench, round);
        }
        bench.end_anyhow();
    });
}

/// A transmitter that stands still for longer than any time-out is brought back.
#[test]
fn a_device_that_hangs_is_brought_back() {
    each(|bench| {
        if bench.far.hang(true) {
            for seed in 0..40 {
                bench.send(&frame(PEER, 300, seed), Offload::default());
            }
            bench.pass(Duration::from_secs(7));
            bench.far.hang(false);
            until_it_passes(&bench, 77);
            bench.wait("the link", || bench.port.running());
            bench.received();
            back(&bench, 1);
        }
        bench.end_anyhow();
    });
}

/// Asleep and awake, ten times, with frames on their way.
#[test]
fn sleep_and_wake_under_traffic() {
    each(|bench| {
        for round in 0..10 {
            for seed in 0..20 {
                bench.send(&frame(PEER, 100, seed), Offload::default());
            }
            bench.service.set_power_state(POWER_OFF).unwrap();
            let _ = bench.far.put(&frame(bench.mac, 100, 7));
            bench.service.set_power_state(POWER_ON).unwrap();
            bench.drain_wire(Duration::from_millis(30));
            bench.wait("the link", || bench.port.running());
            there(&bench, round);
            let end = Instant::now() + LIMIT;
            // What was sent to a sleeper may arrive or not.
            bench.put_on_wire(&frame(bench.mac, 200, 40 + round));
            while bench.receive(1)[0].bytes != frame(bench.mac, 200, 40 + round) {
                assert!(Instant::now() < end);
            }
        }
        bench.end();
    });
}

/// Pulled out at any moment: nothing hangs, nothing leaks, every packet comes back.
#[test]
fn unplugged_in_every_state() {
    for backend in ALL {
        for state in ["idle", "sending", "receiving", "down", "asleep", "hung"] {
            let bench = Bench::up(backend);
            there(&bench, 1);
            match state {
                "sending" => (0..50).for_each(|seed| bench.send(&frame(PEER, 500, seed), Offload::default())),
                "receiving" => (0..50).for_each(|seed| bench.put_on_wire(&frame(bench.mac, 500, seed))),
                "down" => bench.service.set_enabled(false).unwrap(),
                "asleep" => bench.service.set_power_state(POWER_OFF).unwrap(),
                "hung" if bench.far.hang(true) => {
                    (0..20).for_each(|seed| bench.send(&frame(PEER, 500, seed), Offload::default()));
                }
                _ => {}
            }
            if bench.far.unplug() && state == "idle" {
                bench.wait("the link to go", || !bench.port.running());
            }
            bench.end_anyhow();
        }
    }
}
