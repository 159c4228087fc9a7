//! Drivers that are built as somebody else's would be, booted in simulated mode: frames through them, an orderly Stop, nothing
//! left over.
//!
//! Apple's NetworkingDriverKitSample is not part of this repository: name a directory that holds it in `WEIR_SAMPLES`
//! to try it too.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use weir_host::port::{Offload, Port, RxFrame, Sink};
use weir_host::{Host, HostConfig, Properties, Service};

const SEED: u64 = 0x5eed_0001;

/// Builds the driver in `source` once per process.
fn build(source: &Path, out: &Path) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dext = weir_iig::Dext {
        src_dirs: vec![source.to_owned()],
        include_dirs: vec![manifest.join("include")],
        out: out.to_owned(),
        // As the runtime was built (build.rs).
        sanitizer: match option_env!("WEIR_SANITIZE") {
            Some("address") => weir_iig::Sanitizer::Address,
            Some("thread") => weir_iig::Sanitizer::Thread,
            _ => weir_iig::Sanitizer::None,
        },
        ..weir_iig::Dext::default()
    };
    if let Err(error) = weir_iig::build_dext(&dext) {
        panic!("{}: {error}", source.display());
    }
}

fn scratch() -> &'static Path {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIR.get_or_init(|| tempfile::tempdir().expect("a temporary directory")).path()
}

fn fixture(name: &str) -> PathBuf {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let out = scratch().join(format!("lib{name}.so"));
    let mut built = BUILT.lock().expect("no test panics while it builds");
    if !built.iter().any(|known| known == name) {
        build(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name), &out);
        built.push(name.to_owned());
    }
    out
}

/// Keeps what the driver delivers.
#[derive(Default)]
struct Recorder(Mutex<Vec<Vec<u8>>>);

impl Recorder {
    fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.0.lock().expect("deliver does not panic"))
    }
}

impl Sink for Recorder {
    fn deliver(&self, _queue: usize, frames: &[RxFrame<'_>]) {
        self.0.lock().expect("take does not panic").extend(frames.iter().map(|frame| frame.bytes.to_vec()));
    }
}

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

fn frame(number: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0x02, 1, 1, 1, 1, 1, 0x02, 2, 2, 2, 2, 2, 0x88, 0xb5];
    bytes.resize(length, number);
    bytes
}

/// What EchoNic and PullNic make of a frame.
fn echoed(sent: &[u8]) -> Vec<u8> {
    [&sent[6..12], &sent[..6], &sent[12..]].concat()
}

fn send(port: &Arc<dyn Port>, bytes: &[u8]) {
    let mut packet = port.tx_alloc().unwrap_or_else(|| panic!("no packet is free for frame {}", bytes[14]));
    packet.buffer()[..bytes.len()].copy_from_slice(bytes);
    packet.finish(bytes.len(), Offload::default());
    let mut frames = vec![packet];
    port.tx_submit(0, &mut frames);
    assert!(frames.is_empty(), "the queue has room");
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
    let library = scratch().join("libNetworkingDriverKitSample.so");
    build(&source, &library);
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
