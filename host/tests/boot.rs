//! Drivers that are built as somebody else's would be, booted in simulated mode: frames through them, an orderly Stop, nothing
//! left over.
//!
//! Apple's NetworkingDriverKitSample is not part of this repository: name a directory that holds it in `WEIR_SAMPLES`
//! to try it too.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{Recorder, SEED, build, echoed, fixture, frame, try_send};
use weir_host::port::Port;
use weir_host::{Host, HostConfig, Properties, Service};

fn boot(host: &Host, library: &Path, class: &str) -> (Service, Arc<Recorder>) {
    // A library that an earlier test loaded brings no new classes.
    host.load_dext(library).expect("the driver loads");
    assert!(host.classes().iter().any(|known| known == class), "{class} is not among {:?}", host.classes());
    let service = host.boot(class, Properties::new()).unwrap_or_else(|error| panic!("{class}: {error}"));
    host.run_until_idle();
    let recorder = Arc::new(Recorder::default());
    let port = service.port().expect("an interface is registered");
    port.set_sink(Some(recorder.clone()));
    service.set_enabled(true).expect("the interface comes up");
    host.run_until_idle();
    (service, recorder)
}

fn send(port: &Arc<dyn Port>, bytes: &[u8]) {
    assert!(try_send(port, bytes), "frame {}: a packet is free and the queue has room", bytes[14]);
}

/// Boots, sends more frames than the queues hold, stops; returns the trace's hash.
fn round_trip(library: &Path, class: &str) -> (u64, u64) {
    let host = Host::new(HostConfig { collect_violations: true, ..HostConfig::simulated(SEED) });
    let (service, recorder) = boot(&host, library, class);
    let port = service.port().expect("an interface is registered");
    assert!(port.running(), "{class} reported a link");
    for number in 0..200u8 {
        let bytes = frame(number, 60 + usize::from(number));
        send(&port, &bytes);
        host.run_until_idle();
        assert_eq!(recorder.take(), [echoed(&bytes)], "{class}, frame {number}, seed {SEED:#x}");
    }
    // Several at once: they come back in order.
    let burst: Vec<_> = (0..8u8).map(|number| frame(number, 1514)).collect();
    for bytes in &burst {
        send(&port, bytes);
    }
    host.run_until_idle();
    assert_eq!(recorder.take(), burst.iter().map(|bytes| echoed(bytes)).collect::<Vec<_>>(), "{class}");
    // Down and up again.
    service.set_enabled(false).expect("the interface goes down");
    host.run_until_idle();
    assert!(port.tx_alloc().is_none(), "{class} is down");
    service.set_enabled(true).expect("the interface comes up again");
    host.run_until_idle();
    send(&port, &burst[0]);
    host.run_until_idle();
    assert_eq!(recorder.take(), [echoed(&burst[0])]);

    port.set_sink(None);
    drop(port);
    service.terminate();
    host.run_until_idle();
    let hash = host.trace_hash();
    drop(service);
    let report = host.finish();
    assert!(report.violations.is_empty(), "{class}: {:#?}", report.violations);
    assert!(report.leaks.is_empty(), "{class}: {:#?}", report.leaks);
    hash
}

#[test]
fn frames_cross_a_driver_of_the_data_queue_model() {
    let library = fixture("echo");
    let first = round_trip(&library, "EchoNic");
    assert_eq!(first, round_trip(&library, "EchoNic"), "the same seed gives the same trace");
}

#[test]
fn frames_cross_a_driver_of_the_action_model() {
    round_trip(&fixture("pull"), "PullNic");
}

#[test]
fn frames_cross_a_driver_with_a_ring_of_its_own() {
    round_trip(&fixture("ring"), "RingNic");
}

/// What its definitions hold, it tries itself in Start: own dispatched methods with every kind of parameter, an own kind of
/// callback, C sources, headers that only its author's build system would find.
#[test]
fn a_driver_in_every_style_passes_its_own_checks() {
    let host = Host::new(HostConfig { collect_violations: true, ..HostConfig::simulated(SEED) });
    host.load_dext(&fixture("styles")).expect("the driver loads");
    let service = host.boot("StylesNic", Properties::new()).unwrap_or_else(|error| panic!("{error}"));
    host.run_until_idle();
    let stopped = service.terminate();
    host.run_until_idle();
    drop(service);
    assert!(stopped.finished, "{stopped:?}");
    let report = host.finish();
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    assert!(report.leaks.is_empty(), "{:#?}", report.leaks);
}

/// Real queues and threads: frames from two senders at once, then Stop in the middle of it.
fn threads(library: &Path, class: &str, rounds: usize) {
    const FRAMES: usize = 1000;
    for round in 0..rounds {
        let host = Host::new(HostConfig { collect_violations: true, ..HostConfig::threads() });
        host.load_dext(library).expect("the driver loads");
        let service = host.boot(class, Properties::new()).unwrap_or_else(|error| panic!("{class}: {error}"));
        let recorder = Arc::new(Recorder::default());
        let port = service.port().expect("an interface is registered");
        port.set_sink(Some(recorder.clone()));
        service.set_enabled(true).expect("the interface comes up");
        let sender = |number: u8| {
            let port = port.clone();
            move || {
                let bytes = frame(number, 64);
                let mut left = FRAMES;
                while left > 0 && port.tx_wait(0, 1000) {
                    left -= usize::from(try_send(&port, &bytes));
                }
                left
            }
        };
        let left: usize = std::thread::scope(|scope| {
            let senders = [1, 2].map(|number| scope.spawn(sender(number)));
            senders.into_iter().map(|thread| thread.join().expect("a sender does not panic")).sum()
        });
        assert_eq!(left, 0, "{class}, round {round}: the interface went away");
        port.set_sink(None);
        drop(port);
        let report = service.terminate();
        assert!(report.finished, "{class}, round {round}: {report:?}");
        let received = recorder.take();
        assert!(received.iter().all(|bytes| (1..=2).any(|number| *bytes == echoed(&frame(number, 64)))));
        drop(service);
        let report = host.finish();
        assert!(report.violations.is_empty() && report.leaks.is_empty(), "{class}, round {round}: {report:#?}");
    }
}

#[test]
fn drivers_of_both_models_run_on_threads() {
    threads(&fixture("echo"), "EchoNic", 5);
    threads(&fixture("pull"), "PullNic", 5);
}

#[test]
fn timers_follow_virtual_time_and_the_log_hides_what_is_not_public() {
    let host = Host::new(HostConfig { collect_violations: true, ..HostConfig::simulated(SEED) });
    let (service, _recorder) = boot(&host, &fixture("echo"), "EchoNic");
    host.advance(Duration::from_millis(3500));
    let lines: Vec<_> = host.log_lines().into_iter().map(|line| line.text).collect();
    let ticks: Vec<_> = lines.iter().filter(|line| line.contains("tick")).collect();
    assert_eq!(ticks.len(), 3, "{lines:?}");
    assert_eq!(ticks[2], "EchoNic: tick 3 of the clock <private>");
    service.terminate();
    host.run_until_idle();
    drop(service);
    let report = host.finish();
    assert!(report.violations.is_empty() && report.leaks.is_empty(), "{report:#?}");
}

#[test]
fn apples_sample_runs_unchanged() {
    let Some(source) = std::env::var_os("WEIR_SAMPLES").map(|dir| PathBuf::from(dir).join("NetworkingDriverKitSample"))
    else {
        eprintln!("skipped: WEIR_SAMPLES names no directory with NetworkingDriverKitSample");
        return;
    };
    let library = build(&source);
    let host = Host::new(HostConfig { collect_violations: true, ..HostConfig::simulated(SEED) });
    let (service, recorder) = boot(&host, &library, "NetworkingDriverKitSample");
    // Its timer fakes received ICMP echo requests: after one second, then every five.
    host.advance(Duration::from_secs(7));
    let frames = recorder.take();
    assert!(!frames.is_empty(), "nothing was received");
    for bytes in &frames {
        assert_eq!(bytes.get(12..14), Some(&[0x08, 0x00][..]), "IPv4");
        assert_eq!(bytes.get(23), Some(&1), "ICMP");
        assert_eq!(bytes.get(34), Some(&8), "echo request");
    }
    let port = service.port().expect("an interface is registered");
    send(&port, &frame(1, 60));
    host.run_until_idle();
    port.set_sink(None);
    service.terminate();
    host.run_until_idle();
    drop((port, service));
    // Its Stop leaves the receive timer's action behind, and that holds the driver object.
    let report = host.finish();
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
}
