//! Start, Stop, sleep, wake, and what the personality may say.

use weir_host::port::Offload;
use weir_host::{BootError, Host, IoReturn, Prop};

use crate::support::*;

#[test]
fn a_hundred_lives_under_traffic() {
    let host = Host::new(strict(1));
    for life in 0..100u16 {
        let nic = Nic::up(&host, personality("reflect", &[("WeirQueues", u32::from(life % 3 + 1).into())]));
        let far = resolve(&host, &nic);
        for n in 0..50 {
            let _ = nic.send(n, &ping(far, nic.mac(), life, 64), Offload::default());
        }
        if life % 2 == 0 {
            host.run_until_idle();
        }
        nic.terminate();
    }
    finish(host);
}

#[test]
fn a_crash_leaves_nothing_that_the_next_start_depends_on() {
    let host = Host::new(strict(2));
    for _ in 0..5 {
        let nic = Nic::up(&host, personality("reflect", &[]));
        let far = resolve(&host, &nic);
        for n in 0..20 {
            let _ = nic.send(0, &ping(far, nic.mac(), n, 64), Offload::default());
        }
        nic.port.set_sink(None);
        nic.service.crash();
    }
    let nic = Nic::up(&host, personality("reflect", &[]));
    resolve(&host, &nic);
    nic.check();
    nic.terminate();
    drop(host);
}

#[test]
fn sleep_returns_packets_and_wake_restores_traffic() {
    let host = Host::new(strict(3));
    let nic = Nic::up(&host, personality("reflect", &[("WeirQueues", 2u32.into())]));
    let far = resolve(&host, &nic);
    for round in 0..10u16 {
        for n in 0..30 {
            let _ = nic.send(n, &ping(far, nic.mac(), round, 64), Offload::default());
        }
        nic.service.set_power_state(POWER_OFF).unwrap();
        assert_eq!(nic.glue_counters().in_flight(), 0);
        nic.check();
        // Sent while asleep: waits.
        let waiting = nic.send(0, &ping(far, nic.mac(), 1000 + round, 64), Offload::default());
        host.run_until_idle();
        assert_eq!(nic.glue_counters().in_flight(), 0);
        let _ = nic.take();
        nic.service.set_power_state(POWER_ON).unwrap();
        host.run_until_idle();
        if waiting {
            assert!(nic.take().iter().any(|f| is_pong(&f.bytes, 1000 + round)));
        }
        assert_eq!(nic.service.link().unwrap().status, 3);
    }
    // Down while asleep, up while asleep, awake.
    nic.service.set_power_state(POWER_OFF).unwrap();
    nic.service.set_enabled(false).unwrap();
    nic.service.set_enabled(true).unwrap();
    nic.service.set_power_state(POWER_ON).unwrap();
    host.run_until_idle();
    let _ = nic.take();
    resolve(&host, &nic);
    nic.terminate();
    finish(host);
}

#[test]
fn stop_while_asleep_and_while_down() {
    let host = Host::new(strict(4));
    let nic = Nic::up(&host, personality("reflect", &[]));
    nic.service.set_power_state(POWER_OFF).unwrap();
    nic.terminate();
    let nic = Nic::boot(&host, personality("reflect", &[]));
    nic.terminate();
    let nic = Nic::up(&host, personality("reflect", &[]));
    nic.service.set_enabled(false).unwrap();
    nic.terminate();
    finish(host);
}

#[test]
fn a_bad_property_is_named_and_refused() {
    let cases: &[(&str, Prop)] = &[
        ("WeirWire", "both".into()),
        ("WeirWire", 1u32.into()),
        ("WeirWireName", "".into()),
        ("WeirWireName", "x".repeat(32).into()),
        ("WeirQueues", 0u32.into()),
        ("WeirQueues", 9u32.into()),
        ("WeirQueues", "2".into()),
        ("WeirRingSize", 63u32.into()),
        ("WeirRingSize", 100u32.into()),
        ("WeirRingSize", 8192u32.into()),
        ("WeirMTU", 67u32.into()),
        ("WeirMTU", 9001u32.into()),
        ("WeirMaxMTU", 20000u32.into()),
        ("WeirMAC", "02:00:00:00:00".into()),
        ("WeirMAC", "02:00:00:00:00:01:02".into()),
        ("WeirMAC", "01:00:5e:00:00:01".into()),
        ("WeirMAC", "00:00:00:00:00:00".into()),
        ("WeirMAC", "02:00:00:00:00:0g".into()),
        ("WeirMAC", Prop::Data(vec![2, 0, 0])),
        ("WeirOffloads", 32u32.into()),
        ("WeirSeed", "x".into()),
    ];
    let host = Host::new(strict(5));
    for (key, value) in cases {
        let error = host.boot("WeirEthernet", personality("reflect", &[(key, value.clone())])).err();
        assert_eq!(error, Some(BootError::Start("WeirEthernet".into(), IoReturn::BAD_ARGUMENT)), "{key} = {value:?}");
        assert!(host.log_lines().iter().any(|l| l.text.contains(&format!("property {key}: must be"))), "{key}");
    }
    finish(host);
}

#[test]
fn derived_addresses_are_local_stable_and_distinct() {
    let host = Host::new(strict(6));
    let mac = |more: &[(&str, Prop)]| {
        let nic = Nic::boot(&host, personality("reflect", more));
        let mac = nic.mac();
        nic.terminate();
        assert_eq!(mac[0] & 3, 2, "locally administered, unicast");
        mac
    };
    let plain = mac(&[]);
    assert_eq!(plain, mac(&[]));
    assert_ne!(plain, mac(&[("IOMatchCategory", "dev.weir.other".into())]));
    assert_ne!(plain, mac(&[("WeirSeed", 8u32.into())]));
    finish(host);
}

#[test]
fn media_follow_the_choice() {
    const FULL: u32 = 0x0010_0000;
    let host = Host::new(strict(7));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let media = nic.service.media();
    assert_eq!(media, [0x20, 0x26 | FULL, 0x30 | FULL, 0x36 | FULL, 0x37 | FULL, 0x35 | FULL]);
    assert_eq!(nic.service.link().unwrap().media, 0x35 | FULL, "automatic: what the cable does");
    nic.service.set_media(0x30 | FULL).unwrap();
    assert_eq!(nic.service.link().unwrap().media, 0x30 | FULL);
    assert_eq!(nic.service.set_media(0x24), Err(IoReturn::UNSUPPORTED));
    nic.service.set_media(0x20).unwrap();
    assert_eq!(nic.service.link().unwrap().media, 0x35 | FULL);
    assert!(nic.service.link().unwrap().quality > 0);
    nic.terminate();
    finish(host);
}
