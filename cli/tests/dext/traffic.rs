//! Frames through glue and core.

use weir_core::abi::sys;
use weir_host::port::Offload;
use weir_host::{Host, Prop};

use crate::support::*;

#[test]
fn reflect_answers_arp_ping_and_udp_echo() {
    let host = Host::new(strict(1));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let far = resolve(&host, &nic);
    assert_ne!(far, nic.mac());

    assert!(nic.send(0, &ping(far, nic.mac(), 1, 56), Offload::default()));
    host.run_until_idle();
    let pongs = nic.take();
    assert_eq!(pongs.len(), 1);
    assert!(is_pong(&pongs[0].bytes, 1));

    let (frame, offload) = udp_partial(far, nic.mac(), (4000, 7), b"hello, far end");
    assert!(nic.send(0, &frame, offload));
    host.run_until_idle();
    let echo = nic.take();
    assert_eq!(echo.len(), 1);
    assert!(echo[0].bytes.ends_with(b"hello, far end"));
    assert_eq!(echo[0].bytes[34..38], [0, 7, 0x0f, 0xa0], "ports exchanged");

    nic.check();
    let counters = nic.counters();
    assert_eq!((counters.tx_sent(), counters.rx_delivered()), (3, 3));
    nic.terminate();
    finish(host);
}

#[test]
fn every_ping_of_many_bursts_is_answered() {
    for queues in [1u32, 2, 8] {
        let host = Host::new(strict(2));
        let nic =
            Nic::up(&host, personality("reflect", &[("WeirQueues", queues.into()), ("WeirRingSize", 64u32.into())]));
        assert_eq!(nic.port.info().tx_queues, queues as usize);
        let far = resolve(&host, &nic);
        let mut answered = 0;
        let mut sent = 0u16;
        while sent < 3000 {
            if nic.send(usize::from(sent), &ping(far, nic.mac(), sent, 20), Offload::default()) {
                sent += 1;
            } else {
                host.run_until_idle();
                answered += nic.take().len();
            }
            if sent.is_multiple_of(50) {
                host.run_until_idle();
                answered += nic.take().len();
            }
        }
        host.run_until_idle();
        answered += nic.take().len();
        assert_eq!(answered, 3000, "{queues} queue pairs");
        nic.check();
        nic.terminate();
        finish(host);
    }
}

#[test]
fn two_instances_are_joined_back_to_back() {
    let host = Host::new(strict(3));
    let a = Nic::boot(
        &host,
        personality("pair", &[("WeirWireName", "pair0".into()), ("WeirMAC", "02:00:00:00:00:0a".into())]),
    );
    a.service.set_enabled(true).unwrap();
    host.run_until_idle();
    assert_eq!(a.service.link().unwrap().status, 1, "alone there is no carrier");

    let b = Nic::up(
        &host,
        personality("pair", &[("WeirWireName", "pair0".into()), ("WeirMAC", Prop::Data(vec![2, 0, 0, 0, 0, 0xb]))]),
    );
    host.run_until_idle();
    assert!(a.port.running() && b.port.running());

    for n in 0..1000u16 {
        assert!(a.send(0, &ping(b.mac(), a.mac(), n, 100), Offload::default()));
        assert!(b.send(0, &ping(a.mac(), b.mac(), n, 100), Offload::default()));
        host.run_until_idle();
    }
    let (at_a, at_b) = (a.take(), b.take());
    assert_eq!((at_a.len(), at_b.len()), (1000, 1000));
    for (n, frame) in at_b.iter().enumerate() {
        assert_eq!(frame.bytes, ping(b.mac(), a.mac(), n as u16, 100));
    }
    a.check();
    b.check();

    b.terminate();
    host.run_until_idle();
    assert_eq!(a.service.link().unwrap().status, 1, "the peer is gone");
    a.terminate();
    finish(host);
}

#[test]
fn offload_metadata_crosses_a_pair() {
    let host = Host::new(strict(4));
    let a = Nic::up(&host, personality("pair", &[("WeirMAC", "02:00:00:00:00:0a".into())]));
    let b = Nic::up(&host, personality("pair", &[("WeirMAC", "02:00:00:00:00:0b".into())]));
    host.run_until_idle();
    let (frame, offload) = udp_partial(b.mac(), a.mac(), (4000, 4001), &[0x5a; 600]);
    assert!(a.send(0, &frame, offload));
    host.run_until_idle();
    let got = b.take();
    assert_eq!(got.len(), 1);
    assert!(got[0].offload.data_valid, "the frame never left this machine");

    // Receivers that do not take checksums for granted get a finished one.
    b.service.set_assists(0, !0).unwrap();
    assert!(a.send(0, &frame, offload));
    host.run_until_idle();
    let got = b.take();
    assert_eq!(got.len(), 1);
    assert!(!got[0].offload.data_valid);
    let segment = &got[0].bytes[34..];
    let pseudo = [&LOCAL_IP[..], &FAR_IP, &[0, 17], &(segment.len() as u16).to_be_bytes(), segment].concat();
    let sum: u32 = pseudo.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the checksum was finished");
    a.terminate();
    b.terminate();
    finish(host);
}

#[test]
fn a_super_frame_arrives_whole_or_in_segments() {
    let host = Host::new(strict(9));
    let a = Nic::up(&host, personality("pair", &[("WeirMAC", "02:00:00:00:00:0a".into())]));
    let b = Nic::up(&host, personality("pair", &[("WeirMAC", "02:00:00:00:00:0b".into())]));
    host.run_until_idle();
    let data: Vec<u8> = (0..40_000u32).map(|i| (i % 251) as u8).collect();
    let (frame, offload) = tcp_super(b.mac(), a.mac(), &data, 1448);

    assert!(a.send(0, &frame, offload));
    host.run_until_idle();
    let got = b.take();
    assert_eq!(got.len(), 1, "the receiver takes super-frames");
    assert_eq!(got[0].offload.segments, 28);
    assert!(got[0].offload.data_valid);
    assert!(got[0].bytes.ends_with(&data));

    b.service.set_assists(0, 0x1000_0000).unwrap();
    assert!(a.send(0, &frame, offload));
    host.run_until_idle();
    let got = b.take();
    assert_eq!(got.len(), 28, "the receiver does not");
    let joined: Vec<u8> = got.iter().flat_map(|f| f.bytes[54..].to_vec()).collect();
    assert_eq!(joined, data);
    assert!(got.iter().all(|f| f.bytes.len() <= 14 + 1500));

    // The sender's stack may not ask for what it was told is off.
    a.service.set_assists(0, 0x0020_0000).unwrap();
    assert!(a.send(0, &frame, offload));
    host.run_until_idle();
    assert!(b.take().is_empty());
    a.check();
    b.check();
    a.terminate();
    b.terminate();
    finish(host);
}

#[test]
fn frames_up_to_the_mtu_pass_and_no_longer() {
    let host = Host::new(strict(5));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let far = resolve(&host, &nic);
    assert_eq!(nic.port.info().mtu_max, 9000);
    // 20 bytes of IPv4 and 8 of ICMP.
    let full = |mtu: usize| mtu - 28;

    assert!(nic.service.set_mtu(9001).is_err());
    assert!(nic.service.set_mtu(60).is_err());
    for mtu in [1500u32, 9000, 1280] {
        nic.service.set_mtu(mtu).unwrap();
        assert!(nic.send(0, &ping(far, nic.mac(), 9, full(mtu as usize)), Offload::default()));
        host.run_until_idle();
        let got = nic.take();
        assert_eq!(got.len(), 1, "MTU {mtu}");
        assert_eq!(got[0].bytes.len(), mtu as usize + 14);
    }
    nic.check();
    nic.terminate();
    finish(host);
}

#[test]
fn the_cable_can_be_pulled_and_plugged_a_thousand_times() {
    let host = Host::new(strict(6));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let far = resolve(&host, &nic);
    let client = nic.client(CONTROL_CLIENT, writer()).unwrap();
    let set = |up: u64| {
        let call = weir_host::Call { selector: SET_LINK, scalars: vec![up], ..Default::default() };
        assert!(client.call(call).unwrap().status.ok().is_ok());
        host.run_until_idle();
    };
    for n in 0..1000u16 {
        set(0);
        assert_eq!(nic.service.link().unwrap().status, 1);
        set(1);
        assert_eq!(nic.service.link().unwrap().status, 3);
        if n % 100 == 0 {
            assert!(nic.send(0, &ping(far, nic.mac(), n, 10), Offload::default()));
            host.run_until_idle();
            assert_eq!(nic.take().len(), 1);
        }
    }
    client.close();
    nic.check();
    nic.terminate();
    finish(host);
}

#[test]
fn the_address_filter_follows_the_stack() {
    let host = Host::new(strict(7));
    let a = Nic::up(&host, personality("pair", &[("WeirMAC", "02:00:00:00:00:0a".into())]));
    let b = Nic::up(&host, personality("pair", &[("WeirMAC", "02:00:00:00:00:0b".into())]));
    host.run_until_idle();
    let group = [0x33, 0x33, 0, 0, 0, 1];
    let other = [2, 0, 0, 0, 0, 0xcc];
    let arrives = |dst: [u8; 6]| {
        assert!(a.send(0, &ping(dst, a.mac(), 1, 10), Offload::default()));
        host.run_until_idle();
        b.take().len() == 1
    };
    assert!(arrives(b.mac()) && arrives([0xff; 6]));
    assert!(!arrives(group) && !arrives(other));

    b.service.set_multicast(&[group]).unwrap();
    assert!(arrives(group) && !arrives([0x33, 0x33, 0, 0, 0, 2]));
    b.service.set_multicast(&[]).unwrap();
    assert!(!arrives(group));

    // Asked for, and because the list is too long: neither switches the other off.
    let many: Vec<[u8; 6]> = (0..300u16).map(|n| [0x33, 0x33, 1, 0, (n >> 8) as u8, n as u8]).collect();
    b.service.set_all_multicast(true).unwrap();
    b.service.set_multicast(&many).unwrap();
    b.service.set_all_multicast(false).unwrap();
    assert!(arrives(group), "the list is still too long");
    b.service.set_all_multicast(true).unwrap();
    b.service.set_multicast(&[]).unwrap();
    assert!(arrives(group), "still asked for");
    b.service.set_all_multicast(false).unwrap();
    assert!(!arrives(group));

    b.service.set_promiscuous(true).unwrap();
    assert!(arrives(other));
    b.service.set_promiscuous(false).unwrap();
    assert!(!arrives(other));

    b.service.set_mac(other).unwrap();
    assert!(arrives(other));
    assert!(b.service.set_mac(group).is_err());
    a.check();
    b.check();
    a.terminate();
    b.terminate();
    finish(host);
}

#[test]
fn taking_down_with_packets_in_flight_returns_every_packet() {
    for seed in 0..20 {
        let host = Host::new(strict(seed));
        let nic =
            Nic::up(&host, personality("reflect", &[("WeirQueues", 2u32.into()), ("WeirRingSize", 64u32.into())]));
        let far = resolve(&host, &nic);
        for round in 0..5u16 {
            for n in 0..100 {
                let _ = nic.send(n, &ping(far, nic.mac(), round, 64), Offload::default());
            }
            // No run in between: the doorbells have rung, the pairs have not run.
            nic.service.set_enabled(false).unwrap();
            assert!(nic.port.tx_alloc().is_none());
            assert_eq!(nic.glue_counters().in_flight(), 0, "seed {seed}");
            nic.check();
            nic.service.set_enabled(true).unwrap();
            host.run_until_idle();
        }
        let _ = nic.take();
        assert!(nic.send(0, &ping(far, nic.mac(), 77, 64), Offload::default()));
        host.run_until_idle();
        assert!(nic.take().iter().any(|f| is_pong(&f.bytes, 77)));
        nic.check();
        nic.terminate();
        finish(host);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed: u64| {
        let host = Host::new(strict(seed));
        let nic = Nic::up(&host, personality("reflect", &[("WeirQueues", 4u32.into())]));
        let far = resolve(&host, &nic);
        for n in 0..200u16 {
            nic.send(usize::from(n), &ping(far, nic.mac(), n, 30), Offload::default());
        }
        host.run_until_idle();
        nic.terminate();
        let hash = host.trace_hash();
        finish(host);
        hash
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11).0, run(12).0);
}

#[test]
fn bypass_and_block_modes_act_on_frames() {
    let host = Host::new(strict(8));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let far = resolve(&host, &nic);
    let client = nic.client(CONTROL_CLIENT, writer()).unwrap();
    let mode = |mode: u32| {
        let (status, _) = command(&client, command_bytes(sys::WEIR_CMD_MODE, mode.into(), &[]), 0);
        assert_eq!(status, 0);
    };
    mode(sys::WEIR_MODE_BLOCK);
    assert!(nic.send(0, &ping(far, nic.mac(), 1, 10), Offload::default()));
    host.run_until_idle();
    assert!(nic.take().is_empty());
    assert_eq!(nic.counters().tx_dropped(sys::WEIR_DROP_ADMIN), 1);
    assert_eq!(nic.service.counters().unwrap().errors_out, 1, "completed with a status");
    mode(sys::WEIR_MODE_BYPASS);
    assert!(nic.send(0, &ping(far, nic.mac(), 2, 10), Offload::default()));
    host.run_until_idle();
    assert_eq!(nic.take().len(), 1);
    client.close();
    nic.check();
    nic.terminate();
    finish(host);
}
