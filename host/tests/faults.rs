//! Every call that can fail is made to fail, one at a time, through Start, enable, traffic, disable and Stop: the driver
//! and the runtime end in order, with an honest result, and nothing is left over.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Recorder, SEED, fixture, frame, try_send};
use weir_host::{Fault, FaultPlan, Host, HostConfig, Properties};

/// How a run went; the two are for the host's final report.
struct Run {
    started: bool,
    enabled: bool,
    echoed: usize,
    points: Vec<(String, u64)>,
    hits: Vec<Fault>,
    text: String,
}

fn run(library: &Path, class: &str, faults: FaultPlan) -> Run {
    let host = Host::new(HostConfig { faults, collect_violations: true, ..HostConfig::simulated(SEED) });
    host.load_dext(library).expect("the driver loads");
    let recorder = Arc::new(Recorder::default());
    let (mut started, mut enabled) = (false, false);
    match host.boot(class, Properties::new()) {
        Err(_) => {
            host.run_until_idle();
        }
        Ok(service) => {
            started = true;
            host.run_until_idle();
            let port = service.port().expect("a started driver has registered");
            port.set_sink(Some(recorder.clone()));
            enabled = service.set_enabled(true).is_ok();
            host.run_until_idle();
            for number in 0..20 {
                // A failure may cost frames; it must not cost more than that.
                try_send(&port, &frame(number, 100));
                host.run_until_idle();
            }
            host.advance(Duration::from_millis(2500));
            // The kernel goes on whatever the driver answers.
            let _ = service.set_enabled(false);
            host.run_until_idle();
            port.set_sink(None);
            drop(port);
            service.terminate();
            host.run_until_idle();
        }
    }
    let (points, hits) = (host.fault_points(), host.fault_hits());
    let report = host.finish();
    let clean = report.violations.is_empty() && report.leaks.is_empty();
    let text = if clean { String::new() } else { format!("{report:#?}") };
    Run { started, enabled, echoed: recorder.take().len(), points, hits, text }
}

fn enumerate(library: &Path, class: &str) {
    let good = run(library, class, FaultPlan { inject: Vec::new(), record: true });
    assert!(good.started && good.enabled && good.text.is_empty(), "{class}: {}", good.text);
    assert_eq!(good.echoed, 20, "{class}");
    let mut tried = 0;
    for (name, count) in &good.points {
        // A call that is made for each frame is tried at the beginning and at the end.
        let picks: Vec<u64> =
            if *count <= 6 { (1..=*count).collect() } else { vec![1, 2, *count / 2, *count - 1, *count] };
        for count in picks {
            let fault = Fault { name: name.clone(), count, code: None };
            let plan = FaultPlan { inject: vec![fault.clone()], record: false };
            let run = run(library, class, plan);
            assert_eq!(run.hits, [fault], "{class}: {name}:{count} did not happen again");
            assert!(run.text.is_empty(), "{class}: {name}:{count}: {}", run.text);
            tried += 1;
        }
    }
    assert!(tried > 20, "{class}: only {tried} failures tried");
}

#[test]
fn a_driver_of_the_data_queue_model_survives_every_failure() {
    enumerate(&fixture("echo"), "EchoNic");
}

#[test]
fn a_driver_of_the_action_model_survives_every_failure() {
    enumerate(&fixture("pull"), "PullNic");
}
