//! Everything that can go wrong between the driver and its device, one thing at a time, through a whole life: nothing
//! crashes, hangs or leaks, and every frame is accounted for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use weir_host::usb::sim::{Model, Quirk, SimDevice, Trap};
use weir_host::{Fault, FaultPlan, Host, HostConfig, IoReturn};

use crate::rig::{Rig, up};
use crate::support::*;

/// What a life came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcome {
    started: bool,
    enabled: bool,
    answered: bool,
    answered_at_last: bool,
    /// Calls that the device had seen when it was asked for the last time.
    calls_at_last: u64,
}

impl Outcome {
    fn is_healthy(self) -> bool {
        self.started && self.enabled && self.answered && self.answered_at_last
    }
}

fn answered(nic: &Nic, host: &Host) -> bool {
    let _ = nic.take();
    let sent = nic.send(0, &arp_request(nic.mac()), weir_host::port::Offload::default());
    host.advance(Duration::from_millis(20));
    sent && !nic.take().is_empty()
}

/// Start, enable, traffic, filters, sleep and wake, down and up, traffic, Stop. Goes on as far as the driver lets it. The
/// accounts are asked for where no call on the way to them can fail.
fn life(host: &Host, device: &Arc<SimDevice>, check: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let more = [("WeirRingSize", 64u32.into())];
    let Ok(service) = host.boot_usb("WeirUSBEthernet", personality("reflect", &more), device.clone(), Some(0)) else {
        host.run_until_idle();
        return outcome;
    };
    outcome.started = true;
    let nic = Nic::of(service);
    outcome.enabled = nic.service.set_enabled(true).is_ok();
    host.advance(Duration::from_millis(20));
    outcome.answered = answered(&nic, host);
    for n in 0..40 {
        let _ = nic.send(0, &ping([2; 6], nic.mac(), n, 700), weir_host::port::Offload::default());
    }
    host.advance(Duration::from_millis(10));
    let _ = nic.service.set_multicast(&[[0x33, 0x33, 0, 0, 0, 1]]);
    let _ = nic.service.set_promiscuous(true);
    let _ = nic.service.set_power_state(POWER_OFF);
    let _ = nic.service.set_power_state(POWER_ON);
    host.advance(Duration::from_millis(20));
    let _ = nic.service.set_enabled(false);
    let _ = nic.service.set_enabled(true);
    // Pipes that rest do so for a tenth of a second or two.
    host.advance(Duration::from_millis(500));
    outcome.calls_at_last = device.calls();
    outcome.answered_at_last = answered(&nic, host);
    for n in 0..10 {
        let _ = nic.send(0, &ping([2; 6], nic.mac(), n, 700), weir_host::port::Offload::default());
    }
    host.advance(Duration::from_millis(50));
    if check {
        nic.check();
    }
    nic.port.set_sink(None);
    let report = nic.service.terminate();
    drop(nic);
    assert!(report.finished && report.freed, "{report:?}");
    assert_eq!(report.leaked_packets, 0, "{report:?}");
    outcome
}

/// Violations are collected, so that one run names every failure that is not survived.
fn config(inject: Vec<Fault>) -> HostConfig {
    HostConfig { faults: FaultPlan { inject, record: true }, collect_violations: true, ..strict(1) }
}

fn each_failing_call(model: Model) {
    let host = Host::new(config(Vec::new()));
    let healthy = life(&host, &SimDevice::new(model, 0), false);
    assert!(healthy.is_healthy(), "{model}: {healthy:?}");
    let points = host.fault_points();
    finish(host);
    let usb: BTreeSet<_> =
        points.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("IOUSB")).collect();
    for needed in [
        "IOUSBHostInterface::Open",
        "IOUSBHostInterface::CopyPipe",
        "IOUSBHostInterface::CreateIOBuffer",
        "IOUSBHostInterface::DeviceRequest",
        "IOUSBHostPipe::AsyncIOBundled",
    ] {
        assert!(usb.contains(needed), "{needed} is not among {usb:?}");
    }
    let (mut injected, mut broken) = (0, Vec::new());
    for (name, count) in points {
        // Calls of the data path come in hundreds that are all alike.
        for at in (1..=count).filter(|n| *n <= 8 || *n == count) {
            let host = Host::new(config(vec![Fault { name: name.clone(), count: at, code: None }]));
            let outcome = life(&host, &SimDevice::new(model, 0), false);
            injected += usize::from(!host.fault_hits().is_empty());
            let report = host.finish();
            broken.extend(report.violations.iter().map(|v| format!("{name}:{at}: {outcome:?}: {v}")));
            broken.extend(report.leaks.iter().map(|l| format!("{name}:{at}: {outcome:?}: {l}")));
        }
    }
    assert!(broken.is_empty(), "{model}: {} broken:\n{}", broken.len(), broken.join("\n"));
    assert!(injected > 100, "{model}: {injected} failures");
}

#[test]
fn each_failing_call_is_survived_by_ncm() {
    each_failing_call(Model::Ncm);
}

#[test]
fn each_failing_call_is_survived_by_ecm() {
    each_failing_call(Model::Ecm);
}

#[test]
fn each_failing_call_is_survived_by_rndis() {
    each_failing_call(Model::Rndis);
}

/// Runs a life with a trap at each of the device's calls: the first sixty, and each seventh of the rest.
fn at_each_call(model: Model, trap: Trap, check: impl Fn(u64, Outcome)) {
    let host = Host::new(config(Vec::new()));
    let device = SimDevice::new(model, 0);
    let healthy = life(&host, &device, true);
    assert!(healthy.is_healthy(), "{model}: {healthy:?}");
    finish(host);
    let calls = device.calls();
    assert!(calls > 20, "{model}: {calls} calls");
    let mut broken = Vec::new();
    for nth in (1..=calls).filter(|n| *n <= 60 || n % 7 == 0) {
        let host = Host::new(config(Vec::new()));
        let device = SimDevice::new(model, 0);
        device.set_trap(nth, trap);
        let outcome = life(&host, &device, true);
        let report = host.finish();
        broken.extend(report.violations.iter().map(|v| format!("call {nth}: {outcome:?}: {v}")));
        broken.extend(report.leaks.iter().map(|l| format!("call {nth}: {outcome:?}: {l}")));
        check(nth, outcome);
    }
    assert!(broken.is_empty(), "{model} {trap:?}: {} broken:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn a_device_pulled_out_at_any_call_ends_in_order() {
    for model in Model::ALL {
        at_each_call(model, Trap::Unplugged, |nth, outcome| {
            let gone = nth <= outcome.calls_at_last;
            assert!(!gone || !outcome.answered_at_last, "{model}, call {nth}: an answer from a device that is gone");
        });
    }
}

#[test]
fn one_request_or_transfer_that_fails_is_got_over() {
    for error in [weir_host::usb::PIPE_STALLED, IoReturn::NOT_RESPONDING] {
        for model in Model::ALL {
            at_each_call(model, Trap::Fails(error), |nth, outcome| {
                // A device that fails once while it is started may be refused; later it must work again. A transfer that
                // fails takes its frame with it: the last one has the answer that is waited for.
                let took_the_answer = nth == outcome.calls_at_last;
                assert!(
                    outcome.answered_at_last || !outcome.enabled || took_the_answer,
                    "{model} {error:?}, call {nth}: {outcome:?}"
                );
            });
        }
    }
}

#[test]
fn transfers_that_end_too_early_or_too_late_cost_their_own_frames_only() {
    for model in Model::ALL {
        for quirk in [Quirk::ShortIn, Quirk::BabbleIn, Quirk::ShortOut] {
            let rig = up(model, 21, &[]);
            rig.device.misbehave(quirk);
            for n in 0..20 {
                rig.send(&ping([2; 6], rig.nic.mac(), n, 100));
                rig.pass(1);
            }
            rig.pass(500);
            assert!(answered(&rig.nic, &rig.host), "{model} {quirk:?}");
            let counters = rig.nic.counters();
            if quirk == Quirk::ShortOut {
                assert!(counters.tx_dropped_total() > 0, "{model}: what was taken in part was not sent");
            }
            let _ = rig.device.take_faults();
            rig.end();
        }
    }
}

#[test]
fn a_device_that_forgot_everything_while_asleep_is_set_up_again() {
    for model in Model::ALL {
        let rig = up(model, 22, &[]);
        for round in 0..3 {
            rig.nic.service.set_power_state(POWER_OFF).unwrap();
            rig.settle();
            rig.device.lose_power();
            rig.nic.service.set_power_state(POWER_ON).unwrap();
            rig.settle();
            assert!(answered(&rig.nic, &rig.host), "{model} {round}");
            assert_ne!(rig.device.filter().0, 0, "{model} {round}: the filter is programmed again");
        }
        rig.end();
    }
}

/// An RNDIS device takes frames without a session, and no transfer fails: its filter tells.
#[test]
fn a_device_that_forgot_its_session_is_set_up_again() {
    let rig = up(Model::Rndis, 25, &[]);
    for round in 0..3 {
        rig.device.lose_power();
        assert!(!answered(&rig.nic, &rig.host), "{round}");
        rig.pass(7000);
        assert!(answered(&rig.nic, &rig.host), "{round}");
    }
    rig.end();
}

/// Nobody says that the device was reset while the machine slept: transfers fail, and it is set up again within two seconds.
#[test]
fn a_device_that_lost_its_setting_is_set_up_again() {
    for model in Model::ALL {
        let rig = up(model, 24, &[]);
        for round in 0..3 {
            rig.device.lose_setting();
            let _ = answered(&rig.nic, &rig.host);
            rig.pass(2000);
            assert!(rig.nic.port.running(), "{model} {round}: the link is up");
            assert!(answered(&rig.nic, &rig.host), "{model} {round}");
        }
        rig.end();
    }
}

/// A pipe that never works again: the function is set up anew a few times, then the link goes and the device is left alone.
/// Enabling the interface gives it another chance.
#[test]
fn a_pipe_that_stays_dead_is_given_up() {
    for model in Model::ALL {
        for quirk in [Quirk::DeadIn, Quirk::DeadOut] {
            let rig = up(model, 25, &[]);
            rig.device.misbehave(quirk);
            // An OUT pipe is tried as often as there is something to send.
            for _ in 0..150 {
                let _ = answered(&rig.nic, &rig.host);
                rig.pass(100);
            }
            assert!(!rig.nic.port.running(), "{model} {quirk:?}: the link is still up");
            let calls = rig.device.calls();
            rig.pass(60_000);
            assert_eq!(rig.device.calls(), calls, "{model} {quirk:?}: it is not left alone");
            rig.device.go_on();
            rig.nic.service.set_enabled(false).unwrap();
            rig.nic.service.set_enabled(true).unwrap();
            rig.settle();
            assert!(answered(&rig.nic, &rig.host), "{model} {quirk:?}");
            let _ = rig.device.take_faults();
            rig.end();
        }
    }
}

/// `WEIR_FUZZ_SECONDS` of the process's own time with devices that lie about what they are, answer nonsense and send worse: 40
/// seeds without; only `WEIR_FUZZ_SEED` where that is set.
#[test]
fn a_hostile_device_from_the_first_descriptor_on_breaks_nothing() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seconds, only) = (number("WEIR_FUZZ_SECONDS").unwrap_or(0), number("WEIR_FUZZ_SEED"));
    let clock = nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID;
    let mut started = 0;
    for seed in only.unwrap_or(1).. {
        let enough = seed > 40 && clock.now().unwrap().tv_sec() as u64 >= seconds;
        if only.map_or(enough, |only| seed != only) {
            break;
        }
        // Before, and not after: a sanitizer ends the process.
        println!("seed {seed}");
        let model = Model::ALL[seed as usize % Model::ALL.len()];
        let host = Host::new(strict(seed));
        let device = if seed % 3 == 0 { SimDevice::new(model, seed) } else { SimDevice::impostor(model, seed) };
        let outcome = life(&host, &device, true);
        started += u32::from(outcome.started);
        finish(host);
    }
    assert!(started > 5 || only.is_some(), "{started} of them looked like devices");
}

/// A day of virtual time: traffic every minute, and once in a while everything that happens to a device in a day.
#[test]
fn a_day_without_a_loss() {
    const MINUTES: u64 = 24 * 60;
    for model in Model::ALL {
        let rig = up(model, 23, &[]);
        let (mut asked, mut heard) = (0, 0);
        for minute in 0..MINUTES {
            match minute % 97 {
                11 => {
                    rig.device.set_cable(false);
                    rig.pass(1000);
                    rig.device.set_cable(true);
                    rig.pass(300);
                }
                23 => {
                    rig.nic.service.set_power_state(POWER_OFF).unwrap();
                    rig.pass(2000);
                    rig.device.lose_power();
                    rig.nic.service.set_power_state(POWER_ON).unwrap();
                    rig.settle();
                }
                41 | 61 => {
                    // The transfer that meets the halt is lost with what is in it.
                    rig.device.misbehave(if minute % 97 == 41 { Quirk::StallIn } else { Quirk::StallOut });
                    let _ = answered(&rig.nic, &rig.host);
                    rig.pass(500);
                }
                83 => {
                    rig.nic.service.set_enabled(false).unwrap();
                    rig.pass(100);
                    rig.nic.service.set_enabled(true).unwrap();
                    rig.settle();
                }
                _ => {
                    asked += 1;
                    heard += u32::from(answered(&rig.nic, &rig.host));
                }
            }
            rig.pass(57_000);
            rig.nic.check();
        }
        assert_eq!(heard, asked, "{model}: an answer to every question");
        if model == Model::Rndis {
            let (_, keepalives) = rig.device.keepalives();
            // Every five seconds, but for the time that it was down.
            assert!((16_000..=17_400).contains(&keepalives), "{keepalives} keepalives in a day");
        }
        let _ = rig.device.take_faults();
        Rig::end(rig);
    }
}
