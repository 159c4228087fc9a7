//! Fragments, whole and overlapping (OpenBSD's regress/sys/net/pf_fragment), and what scrub changes (FreeBSD's scrub.sh).

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::craft::{Hand, look};
use crate::lab::allowed;
use crate::net::{B, World, sniff, udp};

const ONE: &str = "set skip on en0\n";
const DATA: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
const JUNK: &[u8; 8] = b"junkjunk";

/// A UDP datagram's bytes from its header on, with the right sum.
fn datagram(src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
    let header = match (src.ip(), dst.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let ip =
                etherparse::Ipv4Header::new(40, 64, etherparse::ip_number::UDP, from.octets(), to.octets()).unwrap();
            etherparse::UdpHeader::with_ipv4_checksum(src.port(), dst.port(), &ip, DATA).unwrap()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let ip = etherparse::Ipv6Header {
                source: from.octets(),
                destination: to.octets(),
                ..etherparse::Ipv6Header::default()
            };
            etherparse::UdpHeader::with_ipv6_checksum(src.port(), dst.port(), &ip, DATA).unwrap()
        }
        _ => panic!("one family"),
    };
    [&header.to_bytes()[..], DATA].concat()
}

fn arrived(socket: &UdpSocket) -> bool {
    let mut bytes = [0; 99];
    socket.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    match socket.recv(&mut bytes) {
        Ok(len) => {
            assert_eq!(&bytes[..len], DATA, "what overlapped is as pf's policy has it");
            true
        }
        Err(_) => false,
    }
}

/// Parts of the 40 bytes of a datagram: from, to, whether something else is in all or in its first 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Junk {
    No,
    All,
    Start,
}

/// Name, fragments in their order, whether IPv4's datagram arrives, and IPv6's.
type Case = (&'static str, &'static [(u16, u16, Junk)], bool, bool);

#[test]
fn pf_fragments_overlapping_are_cut_in_ipv4_and_dropped_in_ipv6() {
    if !allowed() {
        return;
    }
    use Junk::{All, No, Start};
    // IPv6's datagram never arrives if anything overlaps (RFC 5722).
    let cases: [Case; 7] = [
        ("in order", &[(0, 16, No), (16, 40, No)], true, true),
        ("the last first", &[(16, 40, No), (0, 16, No)], true, true),
        ("three", &[(24, 40, No), (0, 8, No), (8, 24, No)], true, true),
        ("the new one's start is cut", &[(0, 16, No), (8, 40, Start)], true, false),
        ("the old one's start is cut", &[(8, 40, Start), (0, 16, No)], true, false),
        ("the new one is all old", &[(0, 24, No), (8, 16, All), (24, 40, No)], true, false),
        ("the old one is all new", &[(0, 8, No), (16, 24, All), (8, 40, No)], true, false),
    ];
    for (queues, v4) in [("1", true), ("1", false), ("4", true), ("4", false)] {
        let world = World::with(&format!("{ONE}scrub in all fragment reassemble\npass all\n"), &["--queues", queues]);
        let hand = Hand::at(&world, true);
        let (own, address) = if v4 { ("10.78.0.1", "10.78.0.2") } else { ("fd78::1", "fd78::2") };
        let (src, dst): (IpAddr, IpAddr) = (own.parse().unwrap(), address.parse().unwrap());
        let socket = udp(&world.lab.b, address, 5100);
        for (id, (name, parts, four, six)) in (1u16..).zip(cases) {
            let whole = datagram(SocketAddr::new(src, 5101), SocketAddr::new(dst, 5100));
            for (from, to, junk) in parts {
                let mut bytes = whole[usize::from(*from)..usize::from(*to)].to_vec();
                match junk {
                    No => {}
                    All => bytes.fill(b'!'),
                    Start => bytes[..8].copy_from_slice(JUNK),
                }
                hand.fragment(src, dst, 17, id, (*from, *to < 40), &bytes);
            }
            assert_eq!(arrived(&socket), if v4 { four } else { six }, "{name}, {address}, {queues} queue pairs");
        }
        world.stop();
    }
}

#[test]
fn pf_rules_see_whole_datagrams_only_if_reassembled() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!("{ONE}block in\npass in inet proto udp to port 5100\n"));
    let hand = Hand::at(&world, true);
    let (src, dst): (IpAddr, IpAddr) = ("10.78.0.1".parse().unwrap(), "10.78.0.2".parse().unwrap());
    let socket = udp(&world.lab.b, "10.78.0.2", 5100);
    let mut id = 100;
    let mut send = || {
        id += 1;
        let whole = datagram(SocketAddr::new(src, 5101), SocketAddr::new(dst, 5100));
        hand.fragment(src, dst, 17, id, (0, true), &whole[..16]);
        hand.fragment(src, dst, 17, id, (16, false), &whole[16..]);
        arrived(&socket)
    };
    assert!(!send(), "no rule with a port matches a fragment");
    for (rules, passes) in [
        ("set reassemble yes\nblock in\npass in inet proto udp to port 5100\n", true),
        ("set reassemble yes\nblock in\npass in inet proto udp to port 5102\n", false),
        ("block in\npass in inet proto udp fragment no state\n", true),
        ("set reassemble yes\npass in\nblock in inet proto udp fragment\n", true),
        ("pass in\nblock in inet proto udp fragment\n", false),
        ("scrub in all fragment no reassemble\npass in\nblock in inet proto udp fragment\n", false),
    ] {
        world.load(&format!("{ONE}{rules}"));
        world.weir(B, &["kill", "--all"]);
        assert_eq!(send(), passes, "{rules}");
    }
    world.stop();
}

#[test]
fn pf_scrub_changes_what_it_says() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!("{ONE}pass all no state\n"));
    let hand = Hand::at(&world, false);
    let _there = udp(&world.lab.b, "10.78.0.2", 5100);
    let from = udp(&world.lab.a, "10.78.0.1", 5101);
    from.set_ttl(9).unwrap();
    let seen = || {
        from.send_to(b"x", "10.78.0.2:5100").unwrap();
        sniff(&hand.socket, |frame| look(frame).filter(|seen| seen.dst.port() == 5100)).unwrap()
    };
    // Linux sends small datagrams with DF.
    let plain = seen();
    assert!(plain.df && plain.ttl == 9);
    world.load(&format!("{ONE}scrub in all no-df min-ttl 33\npass all no state\n"));
    let changed = seen();
    assert!(!changed.df && changed.ttl == 33);
    world.load(&format!("{ONE}match in all scrub (no-df)\npass all no state\n"));
    let changed = seen();
    assert!(!changed.df && changed.ttl == 9);
    world.load(&format!("{ONE}scrub in on en0 all no-df\nscrub in inet6 all no-df\npass all no state\n"));
    assert!(seen().df, "neither of these rules is for it");
    world.load(&format!("{ONE}scrub in all random-id\npass all no state\n"));
    let mut ids: Vec<u16> = (0..16).map(|_| seen().id).collect();
    let jumps = ids.windows(2).filter(|pair| pair[1].wrapping_sub(pair[0]) > 64).count();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() > 14 && jumps > 8, "{ids:?}");
    world.stop();
}

#[test]
fn pf_reassemble_tcp_hides_timestamps_and_keeps_connections() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!("{ONE}scrub all reassemble tcp max-mss 900\npass all\n"));
    let _servers = [crate::net::echo(&world.lab.b, "10.78.0.2", 5001), crate::net::echo(&world.lab.b, "fd78::2", 5001)];
    for address in ["10.78.0.2", "fd78::2"] {
        let (near, far) = (Hand::at(&world, true), Hand::at(&world, false));
        let stream = crate::net::open(&world.lab.a, address, 5001).unwrap();
        let options = |hand: &Hand| {
            sniff(&hand.socket, |frame| {
                let packet = etherparse::SlicedPacket::from_ethernet(frame).ok()?;
                let Some(etherparse::TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
                if !tcp.syn() || tcp.ack() {
                    return None;
                }
                let (mut stamp, mut mss) = (None, None);
                for option in tcp.options_iterator().flatten() {
                    match option {
                        etherparse::TcpOptionElement::Timestamp(value, _) => stamp = Some(value),
                        etherparse::TcpOptionElement::MaximumSegmentSize(size) => mss = Some(size),
                        _ => {}
                    }
                }
                Some((stamp?, mss?))
            })
            .unwrap()
        };
        let (said, heard) = (options(&near), options(&far));
        assert_ne!(said.0, heard.0, "the clock is not shown");
        assert!(said.1 > 900 && heard.1 == 900);
        for _ in 0..20 {
            assert!(crate::net::alive(&stream));
        }
    }
    assert_eq!(world.dropped(B, "bad-timestamp") + world.dropped(B, "state-mismatch"), 0);
    world.stop();
}
