//! What every class must do.

use weir_host::Host;
use weir_host::usb::UsbDevice as _;
use weir_host::usb::sim::{Model, Quirk, SimDevice};

use crate::rig::{Rig, try_up_on, up, up_on};
use crate::support::*;

#[test]
fn one_frame_each_way() {
    for model in Model::ALL {
        let rig = up(model, 1, &[]);
        assert_eq!(rig.nic.service.link().unwrap().status, 3, "{model}: link");
        assert_eq!(rig.nic.mac(), rig.device.mac(), "{model}");
        rig.device.set_respond(false);
        let out = ethernet([0xff; 6], rig.nic.mac(), 0x88b5, &[7; 50]);
        assert!(rig.send(&out));
        rig.settle();
        assert_eq!(rig.device.take(), [out], "{model}");
        let back = ethernet(rig.nic.mac(), [2, 0, 0, 0, 0, 9], 0x88b5, &[9; 47]);
        rig.device.send([back.clone()]);
        rig.settle();
        let got: Vec<_> = rig.nic.take().into_iter().map(|r| r.bytes).collect();
        assert_eq!(got, [back], "{model}");
        rig.end();
    }
}

#[test]
fn ten_thousand_echo_requests_in_bursts_are_answered() {
    for model in Model::ALL {
        let rig = up(model, 2, &[]);
        let far = resolve_far(&rig);
        let (mut sent, mut answered) = (0u16, 0);
        while sent < 10_000 {
            while sent < 10_000 && rig.send(&ping(far, rig.nic.mac(), sent, usize::from(sent % 1400))) {
                sent += 1;
            }
            rig.pass(5);
            answered += rig.nic.take().len();
        }
        rig.pass(200);
        answered += rig.nic.take().len();
        assert_eq!(answered, 10_000, "{model}");
        let seen = rig.device.seen();
        if model != Model::Ecm {
            // Load fills transfers. RNDIS: the device takes eight messages at most.
            let goal = if model == Model::Rndis { 5 } else { 10 };
            assert!(seen.frames_out / seen.transfers_out >= goal, "{model}: {seen:?}");
        }
        assert!(seen.depth_in >= 4, "{model}: several transfers wait at once: {seen:?}");
        rig.end();
    }
}

#[test]
fn every_size_arrives_whole_both_ways() {
    for model in Model::ALL {
        let rig = up(model, 3, &[]);
        rig.device.set_respond(false);
        let me = rig.nic.mac();
        for len in (0..=46).chain(440..520).chain(960..1030).chain(1480..=1500) {
            let payload: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let out = ethernet([0xff; 6], me, 0x88b5, &payload);
            let back = ethernet(me, [2, 0, 0, 0, 0, 9], 0x88b5, &payload);
            assert!(rig.send(&out));
            rig.device.send([back.clone()]);
            rig.pass(2);
            assert_eq!(rig.device.take(), [out], "{model}: {len}");
            let got: Vec<_> = rig.nic.take().into_iter().map(|r| r.bytes).collect();
            assert_eq!(got, [back], "{model}: {len}");
        }
        rig.end();
    }
}

#[test]
fn filters_are_programmed_and_hold() {
    for model in Model::ALL {
        let rig = up(model, 4, &[]);
        let rndis = model == Model::Rndis;
        let (directed, multicast, all, promiscuous) = if rndis { (1, 2, 4, 0x20) } else { (4, 16, 2, 1) };
        assert_ne!(rig.device.filter().0 & directed, 0, "{model}");
        let group = [1, 0, 0x5e, 0, 0, 0xfb];
        let to_group = ethernet(group, [2, 0, 0, 0, 0, 9], 0x88b5, &[1; 46]);
        let to_other = ethernet([2, 0, 0, 0, 0, 8], [2, 0, 0, 0, 0, 9], 0x88b5, &[1; 46]);
        let arrived = || {
            rig.device.send([to_group.clone(), to_other.clone()]);
            rig.settle();
            rig.nic.take().len()
        };
        assert_eq!(arrived(), 0, "{model}");
        rig.nic.service.set_multicast(&[group]).unwrap();
        assert_eq!(rig.device.filter().1, [group], "{model}");
        assert_eq!(rig.device.filter().0 & (multicast | all), multicast, "{model}");
        assert_eq!(arrived(), 1, "{model}");
        rig.nic.service.set_all_multicast(true).unwrap();
        assert_ne!(rig.device.filter().0 & all, 0, "{model}");
        rig.nic.service.set_promiscuous(true).unwrap();
        assert_ne!(rig.device.filter().0 & promiscuous, 0, "{model}");
        assert_eq!(arrived(), 2, "{model}");
        rig.end();
    }
}

#[test]
fn the_cable_is_reported() {
    for model in Model::ALL {
        let rig = up(model, 5, &[]);
        rig.device.set_cable(false);
        rig.settle();
        rig.pass(200);
        assert_eq!(rig.nic.service.link().unwrap().status, 1, "{model}");
        rig.device.set_cable(true);
        rig.settle();
        rig.pass(200);
        assert_eq!(rig.nic.service.link().unwrap().status, 3, "{model}");
        rig.end();
    }
}

#[test]
fn halted_endpoints_recover_without_a_loss_of_accounting() {
    for model in Model::ALL {
        for quirk in [Quirk::StallIn, Quirk::StallOut] {
            let rig = up(model, 6, &[]);
            let far = resolve_far(&rig);
            rig.device.misbehave(quirk);
            for sequence in 0..20 {
                rig.send(&ping(far, rig.nic.mac(), sequence, 100));
                rig.pass(1);
            }
            rig.pass(500);
            let _ = rig.nic.take();
            assert!(rig.send(&ping(far, rig.nic.mac(), 99, 100)));
            rig.pass(100);
            let got = rig.nic.take();
            assert!(got.iter().any(|r| is_pong(&r.bytes, 99)), "{model} {quirk:?}: {got:?}");
            rig.end();
        }
    }
}

#[test]
fn a_device_that_takes_nothing_is_timed_out() {
    for model in Model::ALL {
        let rig = up(model, 7, &[]);
        let far = resolve_far(&rig);
        rig.device.misbehave(Quirk::HangOut);
        for sequence in 0..100 {
            rig.send(&ping(far, rig.nic.mac(), sequence, 1000));
        }
        rig.pass(7000);
        rig.nic.check();
        assert!(rig.nic.counters().tx_dropped_total() > 0, "{model}: nothing was given up");
        rig.device.go_on();
        rig.pass(7000);
        let _ = rig.nic.take();
        assert!(rig.send(&ping(far, rig.nic.mac(), 999, 100)));
        rig.pass(100);
        assert!(rig.nic.take().iter().any(|r| is_pong(&r.bytes, 999)), "{model}");
        let _ = rig.device.take_faults();
        rig.end();
    }
}

#[test]
fn empty_transfers_without_end_do_not_spin() {
    let rig = up(Model::Ecm, 8, &[]);
    rig.device.misbehave(Quirk::EmptyIn);
    rig.pass(1000);
    let (_, events) = rig.host.trace_hash();
    // 16 slots and 64 empties a turn, ten turns a second: some thousands of events, not a million.
    assert!(events < 200_000, "{events} events in a second");
    rig.device.go_on();
    let far = resolve_far(&rig);
    assert_ne!(far, rig.nic.mac());
    rig.end();
}

#[test]
fn rndis_keeps_alive_both_ways() {
    let rig = up(Model::Rndis, 9, &[]);
    rig.device.ask_keepalive();
    rig.pass(12_000);
    let (answered, asked) = rig.device.keepalives();
    assert_eq!(answered, 1);
    assert!(asked >= 2, "{asked} keepalives in 12 s");
    rig.end();
}

#[test]
fn unplugging_at_any_moment_ends_in_order() {
    for model in Model::ALL {
        for moment in 0..40u64 {
            let rig = up(model, 10 + moment, &[]);
            let far = resolve_far(&rig);
            for sequence in 0..30 {
                rig.send(&ping(far, rig.nic.mac(), sequence, 700));
            }
            rig.host.advance(std::time::Duration::from_micros(moment * 23));
            rig.device.unplug();
            rig.pass(50);
            assert_eq!(rig.nic.service.link().unwrap().status, 1, "{model} {moment}");
            rig.send(&ping(far, rig.nic.mac(), 1, 10));
            rig.settle();
            rig.nic.check();
            rig.nic.terminate();
            finish(rig.host);
        }
    }
}

#[test]
fn sleep_wake_and_restart_leave_a_working_link() {
    for model in Model::ALL {
        let rig = up(model, 11, &[]);
        let far = resolve_far(&rig);
        for round in 0..5u16 {
            rig.nic.service.set_power_state(POWER_OFF).unwrap();
            rig.settle();
            rig.nic.service.set_power_state(POWER_ON).unwrap();
            rig.settle();
            rig.nic.service.set_enabled(false).unwrap();
            rig.nic.service.set_enabled(true).unwrap();
            rig.settle();
            let _ = rig.nic.take();
            assert!(rig.send(&ping(far, rig.nic.mac(), round, 100)));
            rig.settle();
            assert!(rig.nic.take().iter().any(|r| is_pong(&r.bytes, round)), "{model} {round}");
        }
        rig.end();
    }
}

#[test]
fn datagrams_with_crc_and_16_bit_blocks_on_request() {
    for (key, model) in
        [("WeirNCMWithCRC", Model::Ncm), ("WeirNCMWithCRC", Model::Ncm32), ("WeirNCM16Bit", Model::Ncm32)]
    {
        let rig = up(model, 12, &[(key, 1u32.into())]);
        let far = resolve_far(&rig);
        for sequence in 0..200 {
            assert!(rig.send(&ping(far, rig.nic.mac(), sequence, 300)));
        }
        rig.pass(100);
        assert_eq!(rig.nic.take().len(), 200, "{model} {key}");
        rig.end();
    }
}

#[test]
fn hostile_devices_break_nothing() {
    let mut started = 0;
    for seed in 1..=24u64 {
        let model = Model::ALL[seed as usize % 4];
        let rig = match try_up_on(Host::new(strict(seed)), SimDevice::new(model, seed)) {
            Ok(rig) => rig,
            Err(host) => {
                finish(host);
                continue;
            }
        };
        started += 1;
        for round in 0..200u16 {
            rig.send(&ping([2, 0, 0, 0, 0, 9], rig.nic.mac(), round, 200));
            rig.pass(3);
            let _ = rig.nic.take();
        }
        rig.nic.check();
        rig.nic.terminate();
        finish(rig.host);
    }
    assert!(started > 6, "{started} of 24 were taken for devices");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let rig = up_on(Host::new(strict(77)), SimDevice::new(Model::Ncm, 5), &[]);
        for round in 0..50u16 {
            rig.send(&ping([2, 0, 0, 0, 0, 9], rig.nic.mac(), round, 200));
            rig.pass(2);
        }
        let hash = rig.host.trace_hash();
        rig.nic.terminate();
        finish(rig.host);
        hash
    };
    assert_eq!(run(), run());
}

#[test]
fn the_device_level_driver_chooses_a_configuration() {
    let host = Host::new(strict(13));
    let device = SimDevice::new(Model::Ecm, 0);
    device.set_configuration(0).unwrap();
    let service = host.boot_usb("WeirUSBDevice", personality("none", &[]), device.clone(), None).unwrap();
    assert_eq!(device.configuration(), 1);
    let report = service.terminate();
    assert!(report.finished && report.freed, "{report:?}");
    finish(host);
}

/// The far station's address.
fn resolve_far(rig: &Rig) -> [u8; 6] {
    let _ = rig.nic.take();
    assert!(rig.send(&arp_request(rig.nic.mac())));
    rig.settle();
    let reply = rig.nic.take();
    assert_eq!(reply.len(), 1, "one ARP reply");
    reply[0].bytes[6..12].try_into().unwrap()
}
