//! Every call that can fail, made to fail one at a time, through a whole life: nothing crashes, nothing leaks, and
//! what is reported is true.

use weir_host::port::Offload;
use weir_host::{Call, Fault, FaultPlan, Host, HostConfig, IoReturn};

use crate::support::*;

/// What a life came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    started: bool,
    enabled: bool,
    pinged: bool,
}

/// Start, client, enable, traffic, sleep and wake, disable, Stop. Goes on as far as the driver lets it.
fn life(host: &Host, wire: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let more = [("WeirQueues", 2u32.into()), ("WeirRingSize", 64u32.into())];
    let service = match host.boot("WeirEthernet", personality(wire, &more)) {
        Ok(service) => service,
        Err(error) => {
            assert_ne!(error.code(), IoReturn::SUCCESS);
            return outcome;
        }
    };
    outcome.started = true;
    let nic = Nic::of(service);
    outcome.enabled = nic.service.set_enabled(true).is_ok();
    host.run_until_idle();
    if outcome.enabled && nic.send(0, &arp_request(nic.mac()), Offload::default()) {
        host.run_until_idle();
        outcome.pinged = nic.take().len() == 1;
    }
    if let Ok(client) = nic.client(CONTROL_CLIENT, writer()) {
        let _ = client.call(Call { selector: NOTIFY, scalars: vec![7], async_reference: 1, ..Call::default() });
        let big = command_bytes(3, 0, &[0; 6000]);
        let _ = client.call(Call {
            selector: COMMAND,
            input: Some(big),
            scalars_out: 2,
            output_max: 5000,
            ..Call::default()
        });
        let _ = client.call(Call { selector: SET_LINK, scalars: vec![0], ..Call::default() });
        let _ = client.call(Call { selector: SET_LINK, scalars: vec![1], ..Call::default() });
        host.run_until_idle();
        client.close();
    }
    let far_end = nic.client(WIRE_CLIENT, writer()).ok();
    if let Some(client) = &far_end {
        let _ = client.call(Call { selector: OPEN_WIRE, scalars_out: 2, ..Call::default() });
        let _ = client.map_memory(0);
        let _ = client.call(Call { selector: KICK_WIRE, ..Call::default() });
        host.run_until_idle();
    }
    for n in 0..40 {
        let _ = nic.send(n, &ping([2; 6], nic.mac(), 1, 64), Offload::default());
    }
    host.run_until_idle();
    let _ = nic.service.set_mtu(9000);
    let _ = nic.service.set_multicast(&[[0x33, 0x33, 0, 0, 0, 1]]);
    let _ = nic.service.set_media(0x20);
    let _ = nic.service.set_power_state(POWER_OFF);
    let _ = nic.service.set_power_state(POWER_ON);
    host.run_until_idle();
    let _ = nic.service.set_enabled(false);
    let _ = nic.service.set_enabled(true);
    let _ = nic.send(0, &arp_request(nic.mac()), Offload::default());
    nic.port.set_sink(None);
    drop(far_end);
    let report = nic.service.terminate();
    drop(nic);
    assert!(report.finished && report.freed, "{report:?}");
    assert_eq!(report.leaked_packets, 0, "{report:?}");
    outcome
}

/// Violations are collected, so that one run names every failing call that is not survived.
fn config(inject: Vec<Fault>) -> HostConfig {
    HostConfig { faults: FaultPlan { inject, record: true }, collect_violations: true, ..strict(1) }
}

fn survive_each_failing_call(wire: &str, healthy: Outcome) {
    let host = Host::new(config(Vec::new()));
    assert_eq!(life(&host, wire), healthy);
    let points = host.fault_points();
    finish(host);
    assert!(points.len() > 20, "the runtime counts calls: {points:?}");

    let mut injected = 0;
    let mut broken = Vec::new();
    for (name, count) in points {
        // Calls of the data path come in hundreds that are all alike.
        for at in (1..=count).filter(|n| *n <= 12 || *n == count) {
            let host = Host::new(config(vec![Fault { name: name.clone(), count: at, code: None }]));
            let outcome = life(&host, wire);
            let hit = !host.fault_hits().is_empty();
            let report = host.finish();
            broken.extend(report.violations.iter().map(|v| format!("{name}:{at}: {outcome:?}: {v}")));
            broken.extend(report.leaks.iter().map(|l| format!("{name}:{at}: {outcome:?}: {l}")));
            injected += usize::from(hit);
        }
    }
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
    assert!(injected > 100, "{injected} failures");
}

#[test]
fn each_failing_call_is_survived() {
    survive_each_failing_call("reflect", Outcome { started: true, enabled: true, pinged: true });
}

#[test]
fn each_failing_call_is_survived_with_a_client_on_the_wire() {
    survive_each_failing_call("client", Outcome { started: true, enabled: true, pinged: false });
}
