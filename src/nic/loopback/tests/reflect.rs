//! The station that answers.

use super::bench::*;
use super::pair::assert_sums;
use crate::mem::Status;
use crate::mem::packet::{PacketFlags, PartialCsum};
use crate::nic::Offloads;
use crate::nic::loopback::Wire;
use crate::wire::{checksum, offload, parse, parse_super};
use etherparse::PacketBuilder;

const US: [u8; 4] = [10, 0, 0, 1];
const THEM: [u8; 4] = [10, 0, 0, 2];

fn us6() -> [u8; 16] {
    let mut addr = [0; 16];
    (addr[0], addr[15]) = (0xfd, 1);
    addr
}

fn them6() -> [u8; 16] {
    let mut addr = us6();
    addr[15] = 2;
    addr
}

fn far(bench: &Bench) -> [u8; 6] {
    let far = super::super::reflect::far_mac(bench.config.mac);
    assert_ne!(far, bench.config.mac);
    assert_eq!(far[0] & 3, 2, "local, not a group");
    far
}

/// Sends one frame and returns the answer, if there is one.
fn ask_with(bench: &mut Bench, frame: &[u8], ask: Ask) -> Option<Received> {
    bench.lanes[0].received.clear();
    bench.lanes[0].send_with(&[(frame, ask)]);
    bench.settle();
    let lane = &mut bench.lanes[0];
    assert_eq!(lane.ended.pop(), Some(Status::Ok), "a frame that nobody answers is still sent");
    lane.taken -= 1;
    assert!(lane.received.len() <= 1);
    lane.received.pop()
}

fn ask(bench: &mut Bench, frame: &[u8]) -> Option<Received> {
    ask_with(bench, frame, Ask::default())
}

fn arp(dst: [u8; 6], src: [u8; 6], op: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = [&dst[..], &src, &[8, 6, 0, 1, 8, 0, 6, 4, 0, op], &src, &sender, &[0; 6], &target].concat();
    frame.resize(60, 0);
    frame
}

fn tagged(frame: &[u8], tags: &[[u8; 4]]) -> Vec<u8> {
    [&frame[..12], &tags.concat(), &frame[12..]].concat()
}

#[test]
fn arp_requests_are_answered_but_for_our_own_address() {
    let mut bench = Bench::up(config(Wire::Reflect, 1));
    let (mac, far) = (bench.config.mac, far(&bench));
    assert!(bench.nic.link().up);
    for request in [
        arp([0xff; 6], mac, 1, US, THEM),
        arp(far, mac, 1, US, THEM),
        tagged(&arp([0xff; 6], mac, 1, US, THEM), &[[0x81, 0, 0, 9]]),
    ] {
        let got = ask(&mut bench, &request).unwrap().frame;
        let l3 = got.len() - 46;
        assert_eq!((&got[..6], &got[6..12]), (&mac[..], &far[..]));
        assert_eq!(got[12..l3], request[12..l3]);
        assert_eq!(got[l3 + 6..l3 + 28], [&[0, 2][..], &far, &THEM, &mac, &US].concat());
    }
    for silent in [
        arp([0xff; 6], mac, 1, US, US),
        arp([0xff; 6], mac, 1, [0; 4], THEM),
        arp([0xff; 6], mac, 2, US, THEM),
        arp([2; 6], mac, 1, US, THEM),
    ] {
        assert_eq!(ask(&mut bench, &silent), None);
    }
}

#[test]
fn neighbour_solicitations_are_answered_but_for_probes() {
    let mut bench = Bench::up(config(Wire::Reflect, 1));
    let (mac, far) = (bench.config.mac, far(&bench));
    let solicit = |dst_mac: [u8; 6], src: [u8; 16], hops: u8| {
        let mut group = [0; 16];
        (group[0], group[1], group[15]) = (0xff, 2, 2);
        let mut body = vec![0; 4];
        body.extend_from_slice(&them6());
        body.extend_from_slice(&[1, 1]);
        body.extend_from_slice(&mac);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(mac, dst_mac)
            .ipv6(src, group, hops)
            .icmpv6_raw(135, 0, [0; 4])
            .write(&mut frame, &body[4..])
            .unwrap();
        frame
    };
    let multicast = [0x33, 0x33, 0xff, 0, 0, 2];
    let request = solicit(multicast, us6(), 255);
    let got = ask(&mut bench, &request).unwrap();
    assert_sums(&got.frame);
    assert!(got.flags.contains(PacketFlags::RX_DATA_VALID));
    let parsed = parse(&got.frame);
    assert_eq!((parsed.icmp_type, parsed.ttl, parsed.src, parsed.dst), (136, 255, them6(), us6()));
    assert_eq!(got.frame[..12], [mac, far].concat());
    assert_eq!(got.frame[58..], [&[0x60, 0, 0, 0][..], &them6(), &[2, 1], &far].concat());
    let vlan = ask(&mut bench, &tagged(&request, &[[0x88, 0xa8, 0, 1], [0x81, 0, 0, 2]])).unwrap();
    assert_eq!(vlan.frame[12..20], [0x88, 0xa8, 0, 1, 0x81, 0, 0, 2]);
    assert_sums(&vlan.frame);

    assert_eq!(ask(&mut bench, &solicit(multicast, [0; 16], 255)), None, "duplicate address detection");
    assert_eq!(ask(&mut bench, &solicit(multicast, us6(), 254)), None, "from behind a router");
    assert_eq!(ask(&mut bench, &solicit(multicast, them6(), 255)), None, "its own address");
    assert_eq!(ask(&mut bench, &solicit([2; 6], us6(), 255)), None);
    let mut broken = request;
    broken[60] ^= 1;
    assert_eq!(ask(&mut bench, &broken), None, "wrong checksum");
}

/// ICMP echo, ICMPv6 echo, UDP echo over both.
fn requests(mac: [u8; 6], far: [u8; 6]) -> Vec<Vec<u8>> {
    let link = || PacketBuilder::ethernet2(mac, far);
    let mut frames = vec![Vec::new(); 4];
    let data: Vec<u8> = (0..99).collect();
    link().ipv4(US, THEM, 3).icmpv4_echo_request(77, 5).write(&mut frames[0], &data).unwrap();
    link().ipv6(us6(), them6(), 3).icmpv6_echo_request(77, 5).write(&mut frames[1], &data).unwrap();
    link().ipv4(US, THEM, 3).udp(4000, 7).write(&mut frames[2], &data).unwrap();
    link().ipv6(us6(), them6(), 3).udp(4000, 7).write(&mut frames[3], &data).unwrap();
    frames
}

#[test]
fn echoes_come_back() {
    for offloads in [Offloads::all(), Offloads::empty()] {
        let mut bench = Bench::up(config(Wire::Reflect, 1));
        bench.nic.set_offloads(offloads).unwrap();
        let (mac, far) = (bench.config.mac, far(&bench));
        for request in requests(mac, far) {
            for tags in [&[][..], &[[0x81, 0, 0, 9]], &[[0x88, 0xa8, 0, 1], [0x81, 0, 0, 2]]] {
                let request = tagged(&request, tags);
                let got = ask(&mut bench, &request).unwrap();
                assert_sums(&got.frame);
                let (sent, back) = (parse(&request), parse(&got.frame));
                assert_eq!((back.src, back.dst, back.ttl), (sent.dst, sent.src, 64));
                assert_eq!((back.src_port, back.dst_port), (sent.dst_port, sent.src_port));
                assert_eq!(back.vlans, sent.vlans);
                match sent.icmp_type {
                    8 => assert_eq!(back.icmp_type, 0),
                    128 => assert_eq!(back.icmp_type, 129),
                    _ => {}
                }
                assert_eq!(got.frame[back.payload as usize..], request[sent.payload as usize..]);
                let vouched = got.flags.contains(PacketFlags::RX_DATA_VALID);
                assert_eq!(vouched, offloads.contains(Offloads::RX_CSUM));

                let mut broken = request.clone();
                *broken.last_mut().unwrap() ^= 1;
                assert_eq!(ask(&mut bench, &broken), None, "wrong checksum");
                let mut other = request;
                other[5] ^= 1;
                assert_eq!(ask(&mut bench, &other), None, "another station");
            }
        }
    }
}

#[test]
fn partial_checksums_are_finished_first() {
    let mut bench = Bench::up(config(Wire::Reflect, 1));
    let (mac, far) = (bench.config.mac, far(&bench));
    for mut request in requests(mac, far) {
        let parsed = parse(&request);
        let start = parsed.l4;
        let stuff = start + if parsed.protocol == 17 { 6 } else { 2 };
        let len = request.len() - usize::from(start);
        // ICMP has no pseudo header.
        let pseudo = if parsed.protocol == 1 { 0 } else { offload::pseudo_header(&parsed, len).unwrap().value() };
        request[usize::from(stuff)..][..2].copy_from_slice(&pseudo.to_be_bytes());
        let mut flags = PacketFlags::empty();
        if parsed.family == crate::wire::Family::V4 {
            request[24..26].fill(0);
            flags = PacketFlags::TX_CSUM_IP4;
        }
        let csum = Some(PartialCsum { start, stuff });
        let got = ask_with(&mut bench, &request, Ask { csum, flags, mss: 0 }).unwrap();
        assert_sums(&got.frame);
    }
}

#[test]
fn fragments_of_an_echo_come_back_and_make_a_reply() {
    let mut bench = Bench::up(config(Wire::Reflect, 1));
    let (mac, far) = (bench.config.mac, far(&bench));
    for udp in [false, true] {
        let whole = requests(mac, far).swap_remove(if udp { 2 } else { 0 });
        let body = &whole[34..];
        let mut cuts = [(0usize, 48usize, true), (48, 96, true), (96, body.len(), false)].map(|(from, to, more)| {
            let mut frame = [&whole[..34], &body[from..to]].concat();
            frame[16..18].copy_from_slice(&((to - from + 20) as u16).to_be_bytes());
            frame[18..20].copy_from_slice(&[9, udp as u8]);
            let bits = (from / 8) as u16 | if more { 0x2000 } else { 0 };
            frame[20..22].copy_from_slice(&bits.to_be_bytes());
            frame[24..26].fill(0);
            let sum = checksum::checksum(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
            frame
        });
        let stranger = cuts[1].clone();
        assert_eq!(ask(&mut bench, &stranger), None, "no first fragment was seen");
        let mut reply = Vec::new();
        for cut in &cuts {
            let got = ask(&mut bench, cut).unwrap();
            assert!(!got.flags.contains(PacketFlags::RX_DATA_VALID), "nobody summed all of it");
            let parsed = parse(&got.frame);
            assert_eq!((parsed.error, parsed.is_fragment()), (None, true));
            assert_eq!(offload::is_ipv4_header_valid(&got.frame, &parsed), Some(true));
            reply.extend_from_slice(&got.frame[34..]);
        }
        let mut joined = [&whole[..34], &reply].concat();
        joined[26..30].copy_from_slice(&THEM);
        joined[30..34].copy_from_slice(&US);
        assert_eq!(offload::is_transport_valid(&joined, &parse(&joined)), Some(true), "the reply adds up");
        cuts[1][19] ^= 0x80;
        assert_eq!(ask(&mut bench, &cuts[1]), None, "of another datagram");
    }
}

#[test]
fn everything_else_is_silent() {
    let mut bench = Bench::up(config(Wire::Reflect, 1));
    let (mac, far) = (bench.config.mac, far(&bench));
    let link = || PacketBuilder::ethernet2(mac, far);
    let mut frames = vec![Vec::new(); 5];
    link().ipv4(US, THEM, 64).udp(4000, 53).write(&mut frames[0], &[1; 30]).unwrap();
    link().ipv4(US, THEM, 64).tcp(1, 2, 3, 4).syn().write(&mut frames[1], &[]).unwrap();
    link().ipv4(US, [224, 0, 0, 1], 64).icmpv4_echo_request(1, 1).write(&mut frames[2], &[]).unwrap();
    link().ipv4(US, [255; 4], 64).icmpv4_echo_request(1, 1).write(&mut frames[3], &[]).unwrap();
    link().ipv4(US, THEM, 64).icmpv4_echo_reply(1, 1).write(&mut frames[4], &[]).unwrap();
    frames.push(plain(far, mac, 1, 60));
    frames.push(vec![0; 13]);
    frames.push(Vec::new());
    for frame in frames {
        assert_eq!(ask(&mut bench, &frame), None);
    }
    let (super_frame, csum) = super::pair::tcp(false, 5000, far);
    assert_eq!(parse_super(&super_frame).error, None);
    let tso = Ask { csum: Some(csum), flags: PacketFlags::TX_TSO4, mss: 1000 };
    assert_eq!(ask_with(&mut bench, &super_frame, tso), None);
}

#[test]
fn an_answer_without_a_buffer_is_counted() {
    let mut bench = Bench::new(config(Wire::Reflect, 1));
    bench.nic.enable(true).unwrap();
    bench.lanes[0].post(3);
    let request = requests(bench.config.mac, far(&bench)).swap_remove(0);
    bench.lanes[0].queue.arm();
    let wakes = bench.ear.wakes(0);
    bench.lanes[0].send(&[request.as_slice(); 5]);
    assert_eq!(bench.ear.wakes(0), wakes + 1, "answers wake the sleeping queue");
    bench.settle();
    assert_eq!((bench.lanes[0].received.len(), bench.lanes[0].refused.no_buffer), (3, 2));
    assert_eq!(bench.lanes[0].ended(Status::Ok), 5);
    bench.nic.set_link(false).unwrap();
    bench.lanes[0].send(&[&request]);
    assert_eq!(bench.lanes[0].ended(Status::NoCarrier), 1);
}
