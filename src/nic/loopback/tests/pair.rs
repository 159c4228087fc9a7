//! Two instances back to back.

use super::bench::*;
use crate::mem::Status;
use crate::mem::packet::{PacketFlags, PartialCsum};
use crate::nic::{NicError, Offloads};
use crate::wire::{checksum, offload, parse};
use etherparse::PacketBuilder;

fn pair(name: &str) -> (Bench, Bench) {
    (Bench::up(config(cable(name), 1)), Bench::up(config(cable(name), 2)))
}

fn numbers(lane: &Lane) -> Vec<u32> {
    lane.received.iter().map(|packet| number(&packet.frame)).collect()
}

#[test]
fn frames_cross_both_ways_in_order_on_their_queue() {
    for queues in 1..=8 {
        let name = format!("order{queues}");
        let mut config_a = config(cable(&name), 1);
        config_a.queues = queues;
        let mut a = Bench::up(config_a);
        let mut b = Bench::up(crate::nic::loopback::LoopbackConfig { mac: config(cable(&name), 2).mac, ..config_a });
        for round in 0..20u32 {
            for queue in 0..queues {
                for back in [false, true] {
                    let (from, to) = if back { (&mut b, &mut a) } else { (&mut a, &mut b) };
                    let (src, dst) = (from.config.mac, to.config.mac);
                    let frames: Vec<_> = (0..30).map(|i| plain(dst, src, round * 30 + i, 60 + i as usize)).collect();
                    let refs: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                    assert_eq!(from.lanes[queue].send(&refs), 30);
                    to.lanes[queue].settle();
                    from.lanes[queue].settle();
                }
            }
        }
        for bench in [&a, &b] {
            for lane in &bench.lanes {
                assert_eq!(numbers(lane), (0..600).collect::<Vec<_>>());
                assert_eq!(lane.ended(Status::Ok), 600);
                assert_eq!(lane.refused.frames(), 0);
            }
        }
    }
}

#[test]
fn carrier_follows_both_ends() {
    let mut a = Bench::new(config(cable("carrier"), 1));
    a.nic.enable(true).unwrap();
    assert!(!a.nic.link().up, "alone");
    let frame = plain([0xff; 6], a.config.mac, 0, 60);
    a.lanes[0].send(&[&frame]);
    assert_eq!(a.lanes[0].ended(Status::NoCarrier), 1);
    let mut b = Bench::new(config(cable("carrier"), 2));
    assert!(!a.nic.link().up, "peer is down");
    assert!(b.nic.link().up, "b's peer is up");
    let before = a.ear.link_changes.load(core::sync::atomic::Ordering::SeqCst);
    b.nic.enable(true).unwrap();
    assert!(a.nic.link().up && a.ear.link_changes.load(core::sync::atomic::Ordering::SeqCst) > before);
    b.nic.set_link(false).unwrap();
    assert!(!a.nic.link().up && !b.nic.link().up);
    a.lanes[0].send(&[&frame]);
    b.lanes[0].send(&[&frame]);
    assert_eq!(a.lanes[0].ended(Status::NoCarrier), 2);
    assert_eq!(b.lanes[0].ended(Status::NoCarrier), 1);
    b.nic.set_link(true).unwrap();
    assert!(a.nic.link().up && b.nic.link().up);
    b.lanes[0].post(8);
    a.lanes[0].send(&[&frame]);
    b.settle();
    assert_eq!(b.lanes[0].received.len(), 1);
    drop(b);
    assert!(!a.nic.link().up);
    a.lanes[0].send(&[&frame]);
    assert_eq!(a.lanes[0].ended(Status::NoCarrier), 3);
}

#[test]
fn a_cable_has_two_alike_ends() {
    let a = Bench::new(config(cable("alike"), 1));
    let mut wrong = config(cable("alike"), 2);
    wrong.queues = 2;
    assert!(matches!(Bench::try_new(wrong).err(), Some(NicError::Invalid(text)) if text.contains("queues")));
    let b = Bench::new(config(cable("alike"), 2));
    assert_eq!(Bench::try_new(config(cable("alike"), 3)).err(), Some(NicError::Busy));
    drop(a);
    let c = Bench::new(config(cable("alike"), 3));
    drop((b, c));
    // Both gone: the name is free for any number of queues.
    drop(Bench::new(wrong));
}

#[test]
fn a_frame_waits_for_a_slow_reader_and_is_woken() {
    let mut a = Bench::up(config(cable("slow"), 1));
    let mut b = Bench::new(config(cable("slow"), 2));
    b.nic.enable(true).unwrap();
    b.lanes[0].post(10);
    assert!(!b.lanes[0].queue.arm());
    let frames: Vec<_> = (0..100).map(|i| plain(b.config.mac, a.config.mac, i, 60)).collect();
    let refs: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let wakes = |bench: &Bench| bench.ear.wakes(0);
    let (a0, b0) = (wakes(&a), wakes(&b));
    assert_eq!(a.lanes[0].send(&refs[..64]), 64);
    assert_eq!(a.lanes[0].queue.tx_space(), 10, "ten are sent and reaped");
    assert_eq!(a.lanes[0].send(&refs[64..]), 10, "the ring is full");
    assert_eq!(a.lanes[0].ended.len(), 10);
    assert_eq!(wakes(&b), b0 + 1, "coalesced");
    assert!(!a.lanes[0].queue.arm());
    let mut expected = 10;
    while b.lanes[0].received.len() < 74 {
        assert_eq!(wakes(&a), a0, "no wake without room");
        b.lanes[0].receive(64);
        b.lanes[0].post(7);
        if expected < 74 {
            assert_eq!(wakes(&a), a0 + 1, "one wake for new room");
            a.ear.wakes[0].store(a0, core::sync::atomic::Ordering::SeqCst);
        }
        a.lanes[0].reap();
        assert!(!a.lanes[0].queue.arm());
        expected = (expected + 7).min(74);
        assert_eq!(a.lanes[0].ended(Status::Ok), expected);
    }
    assert_eq!(numbers(&b.lanes[0]), (0..74).collect::<Vec<_>>());
}

#[test]
fn leaving_in_mid_traffic_gives_everything_back() {
    for enabled_first in [true, false] {
        let (mut a, mut b) = pair(if enabled_first { "leave1" } else { "leave0" });
        let frames: Vec<_> = (0..64).map(|i| plain(b.config.mac, a.config.mac, i, 600)).collect();
        let refs: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        a.lanes[0].send(&refs);
        b.lanes[0].receive(5);
        // 64 were posted and used; these wait.
        assert_eq!(a.lanes[0].send(&refs), 64);
        assert_eq!(a.lanes[0].queue.gauges().tx_in_flight, 64);
        if enabled_first {
            b.down();
            assert_eq!(b.lanes[0].refused.disabled, 59, "arrived, never taken");
            a.settle();
            assert_eq!(a.lanes[0].ended(Status::NoCarrier), 64);
            b.nic.enable(true).unwrap();
            b.lanes[0].post(usize::MAX);
            a.lanes[0].send(&refs[..3]);
            b.settle();
            assert_eq!(numbers(&b.lanes[0])[5..], [0, 1, 2], "nothing old comes back");
        } else {
            a.down();
            assert_eq!(a.lanes[0].ended(Status::Disabled), 64);
            b.settle();
            assert_eq!(b.lanes[0].received.len(), 64, "what had arrived is still delivered");
        }
    }
}

#[test]
fn a_disabled_nic_takes_nothing_and_ends_frames() {
    let mut a = Bench::new(config(cable("disabled"), 1));
    a.lanes[0].post(4);
    assert_eq!(a.lanes[0].queue.gauges().rx_posted, 0);
    let frame = plain([0xff; 6], a.config.mac, 0, 60);
    a.lanes[0].send(&[&frame]);
    assert_eq!(a.lanes[0].ended(Status::Disabled), 1);
    assert!(!a.lanes[0].queue.arm());
}

#[test]
fn the_filter_refuses_as_hardware_does() {
    let (mut a, mut b) = pair("filter");
    let mac = b.config.mac;
    let group = [0x01, 0, 0x5e, 0, 0, 7];
    let mut expect = |b: &mut Bench, dst: [u8; 6], len: usize, passes: bool| {
        let (before, refused) = (b.lanes[0].received.len(), b.lanes[0].refused.frames());
        a.lanes[0].send(&[&plain(dst, [2; 6], 0, len)]);
        b.settle();
        let (now, now_refused) = (b.lanes[0].received.len(), b.lanes[0].refused.frames());
        assert_eq!((now - before, now_refused - refused), (usize::from(passes), u64::from(!passes)), "{dst:?} {len}");
    };
    expect(&mut b, mac, 60, true);
    expect(&mut b, [0xff; 6], 60, true);
    expect(&mut b, [2, 2, 2, 2, 2, 2], 60, false);
    expect(&mut b, group, 60, false);
    assert_eq!(b.lanes[0].refused.mac_filter, 2);
    let mut list = crate::nic::MulticastList::new();
    list.extend([[0x33, 0x33, 0, 0, 0, 1], group, [0x01, 0, 0x5e, 0, 0, 1]]);
    b.nic.set_multicast(&list).unwrap();
    assert_eq!(b.nic.multicast_count(), 3);
    expect(&mut b, group, 60, true);
    expect(&mut b, [0x33, 0x33, 0, 0, 0, 1], 60, true);
    expect(&mut b, [0x33, 0x33, 0, 0, 0, 2], 60, false);
    list.push([2, 0, 0, 0, 0, 0]).unwrap();
    assert!(b.nic.set_multicast(&list).is_err());
    expect(&mut b, group, 60, true);
    b.nic.set_multicast(&crate::nic::MulticastList::new()).unwrap();
    expect(&mut b, group, 60, false);
    b.nic.set_all_multicast(true);
    expect(&mut b, group, 60, true);
    expect(&mut b, [2, 2, 2, 2, 2, 2], 60, false);
    b.nic.set_promiscuous(true);
    expect(&mut b, [2, 2, 2, 2, 2, 2], 60, true);
    expect(&mut b, mac, 1514, true);
    expect(&mut b, mac, 1515, false);
    expect(&mut b, mac, 2017, false);
    assert_eq!(b.lanes[0].refused.giant, 2, "longer than the MTU, longer than the buffer");
    expect(&mut b, mac, 13, false);
    expect(&mut b, mac, 0, false);
    assert_eq!(b.lanes[0].refused.runt, 2);
    b.nic.set_mtu(2000).unwrap();
    expect(&mut b, mac, 2014, true);
    expect(&mut b, mac, 2017, false);
    assert!(b.nic.set_mtu(9001).is_err() && b.nic.set_mtu(67).is_err());
    b.nic.set_promiscuous(false);
    b.nic.set_mac([2, 2, 2, 2, 2, 2]).unwrap();
    expect(&mut b, [2, 2, 2, 2, 2, 2], 60, true);
    expect(&mut b, mac, 60, false);
    assert!(b.nic.set_mac([1, 2, 3, 4, 5, 6]).is_err() && b.nic.set_mac([0; 6]).is_err());
}

#[test]
fn vlan_tags_make_room() {
    let (mut a, mut b) = pair("vlan");
    for (tags, len, passes) in [(1, 1518, true), (1, 1519, false), (2, 1522, true), (2, 1523, false), (3, 1526, false)]
    {
        let mut frame = plain(b.config.mac, a.config.mac, 0, len);
        for tag in 0..tags {
            let at = 12 + tag * 4;
            frame[at..at + 4].copy_from_slice(if tag == 0 { &[0x88, 0xa8, 0, 5] } else { &[0x81, 0, 0, 6] });
        }
        frame[12 + tags * 4..14 + tags * 4].copy_from_slice(&[0x88, 0xb5]);
        b.lanes[0].received.clear();
        a.lanes[0].send(&[&frame]);
        b.settle();
        assert_eq!(b.lanes[0].received.len(), usize::from(passes), "{tags} tags, {len} bytes");
    }
}

/// TCP from `a` to `b` with its checksum left to the NIC: the pseudo header's sum stands there.
pub fn tcp(v6: bool, payload: usize, dst: [u8; 6]) -> (Vec<u8>, PartialCsum) {
    let data: Vec<u8> = (0..payload).map(|i| (i * 7) as u8).collect();
    let link = PacketBuilder::ethernet2([2; 6], dst);
    let mut frame = Vec::new();
    let tcp = |ip: etherparse::PacketBuilderStep<etherparse::IpHeaders>| ip.tcp(1000, 80, 5, 9000).ack(6).psh().fin();
    if v6 {
        tcp(link.ipv6([0xfd; 16], [0xfe; 16], 64)).write(&mut frame, &data).unwrap();
    } else {
        tcp(link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)).write(&mut frame, &data).unwrap();
    }
    let start = if v6 { 54 } else { 34 };
    let parsed = parse(&frame);
    let pseudo = offload::pseudo_header(&parsed, frame.len() - start).unwrap();
    frame[start + 16..start + 18].copy_from_slice(&pseudo.value().to_be_bytes());
    (frame, PartialCsum { start: start as u16, stuff: start as u16 + 16 })
}

pub fn assert_sums(frame: &[u8]) {
    let parsed = parse(frame);
    assert_eq!(parsed.error, None);
    assert_ne!(offload::is_ipv4_header_valid(frame, &parsed), Some(false));
    assert_eq!(offload::is_transport_valid(frame, &parsed), Some(true));
}

#[test]
fn a_partial_checksum_crosses_or_is_finished() {
    for v6 in [false, true] {
        let (mut a, mut b) = pair(if v6 { "csum6" } else { "csum4" });
        let (mut frame, csum) = tcp(v6, 333, b.config.mac);
        let mut flags = PacketFlags::empty();
        if !v6 {
            frame[24..26].fill(0);
            flags = PacketFlags::TX_CSUM_IP4;
        }
        let ask = Ask { csum: Some(csum), flags, mss: 0 };
        a.lanes[0].send_with(&[(&frame, ask)]);
        b.settle();
        let got = b.lanes[0].received.pop().unwrap();
        assert!(got.flags.contains(PacketFlags::RX_DATA_VALID));
        assert_eq!(got.flags.contains(PacketFlags::RX_IP_VALID | PacketFlags::RX_IP_CHECKED), !v6);
        let at = usize::from(csum.stuff);
        assert_eq!(got.frame[at..at + 2], frame[at..at + 2], "left as it was");
        b.nic.set_offloads(Offloads::empty()).unwrap();
        a.lanes[0].send_with(&[(&frame, ask)]);
        b.settle();
        let got = b.lanes[0].received.pop().unwrap();
        assert!(got.flags.is_empty());
        assert_sums(&got.frame);
    }
}

#[test]
fn a_super_frame_is_merged_where_it_fits_and_cut_where_not() {
    for v6 in [false, true] {
        let mut config_a = config(cable(if v6 { "tso6" } else { "tso4" }), 1);
        config_a.buf_len = 65_535;
        let mut a = Bench::up(config_a);
        let mut b = Bench::up(crate::nic::loopback::LoopbackConfig { mac: [2, 9, 9, 9, 9, 9], ..config_a });
        let (mut frame, csum) = tcp(v6, 10_000, b.config.mac);
        // Stacks may leave the length of a super-frame open.
        frame[if v6 { 18..20 } else { 16..18 }].fill(0);
        let flags = if v6 { PacketFlags::TX_TSO6 } else { PacketFlags::TX_TSO4 };
        let ask = Ask { csum: Some(csum), flags, mss: 1400 };
        a.lanes[0].send_with(&[(&frame, ask)]);
        b.settle();
        let got = b.lanes[0].received.pop().unwrap();
        let lro = if v6 { PacketFlags::RX_LRO6 } else { PacketFlags::RX_LRO4 };
        assert!(got.flags.contains(lro | PacketFlags::RX_DATA_VALID));
        assert_eq!((got.mss, got.segs, got.frame.len()), (1400, 8, frame.len()));
        assert_eq!(parse(&got.frame).payload_len, 10_000);
        assert_ne!(offload::is_ipv4_header_valid(&got.frame, &parse(&got.frame)), Some(false));

        b.nic.set_offloads(Offloads::all() - Offloads::LRO).unwrap();
        a.lanes[0].send_with(&[(&frame, ask)]);
        b.settle();
        let segments = core::mem::take(&mut b.lanes[0].received);
        assert_eq!(segments.len(), 8);
        let mut bytes = Vec::new();
        for (i, segment) in segments.iter().enumerate() {
            assert_sums(&segment.frame);
            let parsed = parse(&segment.frame);
            assert_eq!(parsed.tcp_flags, if i == 7 { 0x19 } else { 0x10 });
            bytes.extend_from_slice(&segment.frame[parsed.payload as usize..]);
        }
        assert_eq!(bytes, frame[frame.len() - 10_000..]);
    }
}

#[test]
fn a_super_frame_is_cut_even_into_one_posted_buffer_at_a_time() {
    let (mut a, mut b) = (Bench::up(config(cable("trickle"), 1)), Bench::new(config(cable("trickle"), 2)));
    b.nic.enable(true).unwrap();
    let (frame, csum) = tcp(false, 60_000, b.config.mac);
    let ask = Ask { csum: Some(csum), flags: PacketFlags::TX_TSO4, mss: 1000 };
    a.lanes[0].send_with(&[(&frame, ask)]);
    let mut bytes = Vec::new();
    for _ in 0..60 {
        assert_eq!(a.lanes[0].ended.len(), 0);
        b.lanes[0].post(1);
        a.lanes[0].reap();
        b.lanes[0].receive(64);
        let got = b.lanes[0].received.pop().unwrap();
        assert_sums(&got.frame);
        bytes.extend_from_slice(&got.frame[54..]);
    }
    assert_eq!(a.lanes[0].ended, [Status::Ok]);
    assert_eq!(bytes, frame[54..]);
    assert_eq!(checksum::checksum(&bytes), checksum::checksum(&frame[54..]));
}

#[test]
fn offloads_that_do_not_fit_are_refused_to_the_sender() {
    let (mut a, mut b) = pair("badoffload");
    let (frame, csum) = tcp(false, 100, b.config.mac);
    let bad = [
        Ask { csum: Some(csum), flags: PacketFlags::TX_TSO4, mss: 0 },
        Ask { csum: Some(csum), flags: PacketFlags::TX_TSO, mss: 100 },
    ];
    for ask in bad {
        a.lanes[0].send_with(&[(&frame, ask)]);
    }
    let not_tcp = plain(b.config.mac, a.config.mac, 0, 200);
    a.lanes[0].send_with(&[(&not_tcp, Ask { csum: None, flags: PacketFlags::TX_TSO6, mss: 100 })]);
    b.settle();
    assert_eq!(a.lanes[0].ended, [Status::BadOffload; 3]);
    assert!(b.lanes[0].received.is_empty());
}

#[test]
fn traffic_survives_flapping_from_another_thread() {
    // The receiver's control runs on a thread of its own and pulls everything out from under the sender.
    let (mut a, mut b) = pair("flap");
    let frames: Vec<_> = (0..32).map(|i| plain(b.config.mac, a.config.mac, i, 300)).collect();
    let stop = std::sync::Arc::new(core::sync::atomic::AtomicBool::new(false));
    let sender = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let refs: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            while !stop.load(core::sync::atomic::Ordering::Relaxed) {
                a.lanes[0].send(&refs);
                a.lanes[0].reap();
                a.lanes[0].queue.arm();
            }
            a
        })
    };
    for round in 0..1000 {
        b.lanes[0].post(usize::MAX);
        for _ in 0..round % 7 {
            b.lanes[0].receive(64);
            b.lanes[0].post(usize::MAX);
        }
        b.down();
        b.nic.enable(true).unwrap();
    }
    stop.store(true, core::sync::atomic::Ordering::Relaxed);
    let mut a = sender.join().unwrap();
    b.down();
    a.settle();
    let lane = &a.lanes[0];
    let sent = lane.ended(Status::Ok) as u64;
    let lane_b = &b.lanes[0];
    assert_eq!(sent, lane_b.received.len() as u64 + lane_b.refused.frames(), "what was sent arrived");
    assert_eq!(lane.ended.len(), lane.ended(Status::Ok) + lane.ended(Status::NoCarrier));
}
