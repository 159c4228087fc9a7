//! Forged segments against connections that are followed (OpenBSD's regress/sys/net/pf_state), and states that are killed
//! (FreeBSD's tests/sys/netpfil/pf/killstate.sh).

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::craft::{ACK, Hand, PSH, RST, SYN, Seg};
use crate::lab::allowed;
use crate::net::{B, World, alive, echo, greeter, open};

/// Only B's driver filters.
const ONE: &str = "set skip on en0\n";

/// A connection of A's kernel to an echo server of B's, and the numbers that the wire shows.
struct Live {
    stream: TcpStream,
    near: SocketAddr,
    far: SocketAddr,
    /// What A sends next, and what it has got.
    seq: u32,
    ack: u32,
}

fn live(world: &World, hand: &Hand, address: &str) -> Live {
    let stream = open(&world.lab.a, address, 5001).unwrap();
    assert!(alive(&stream));
    let (near, far) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    // The last of the exchange: the acknowledgement of five bytes echoed.
    let last = hand.segment(near, far, |seg| seg.flags == ACK && seg.data.is_empty());
    let mut last = last.unwrap();
    while let Some(next) = quick(hand, near, far) {
        last = next;
    }
    Live { stream, near, far, seq: last.seq, ack: last.ack }
}

/// A segment that is there already.
fn quick(hand: &Hand, near: SocketAddr, far: SocketAddr) -> Option<Seg> {
    hand.socket.set_nonblocking(true).unwrap();
    let mut bytes = vec![0; 2048];
    let mut found = None;
    while let Ok(len) = std::io::Read::read(&mut &hand.socket, &mut bytes) {
        let seen = crate::craft::look(&bytes[..len]);
        found = seen.filter(|seen| (seen.src, seen.dst) == (near, far)).and_then(|seen| seen.seg).or(found);
    }
    hand.socket.set_nonblocking(false).unwrap();
    found
}

#[test]
fn pf_forged_segments_do_not_end_a_connection() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!("{ONE}pass all\n"));
    let hand = Hand::at(&world, true);
    for address in ["10.78.0.2", "fd78::2"] {
        let _server = echo(&world.lab.b, address, 5001);
        let Live { stream, near, far, seq, ack } = live(&world, &hand, address);
        let before = world.dropped(B, "state-mismatch");
        let forged = [
            // Outside of every window.
            Seg { seq: seq.wrapping_add(0x2000_0000), ack, flags: RST | ACK, data: vec![] },
            Seg { seq: seq.wrapping_sub(0x2000_0000), ack: 0, flags: RST, data: vec![] },
            // Inside, but a reset must have the very number.
            Seg { seq: seq.wrapping_add(1000), ack, flags: RST | ACK, data: vec![] },
            Seg { seq: seq.wrapping_add(2), ack: 0, flags: RST, data: vec![] },
            // Data and acknowledgements from nowhere.
            Seg { seq: seq.wrapping_add(0x1000_0000), ack, flags: ACK | PSH, data: b"forged".to_vec() },
            Seg { seq, ack: ack.wrapping_add(0x1000_0000), flags: ACK | PSH, data: b"forged".to_vec() },
            // A new beginning.
            Seg { seq: seq.wrapping_add(0x3000_0000), ack: 0, flags: SYN, data: vec![] },
        ];
        for segment in &forged {
            hand.tcp(near, far, segment);
        }
        std::thread::sleep(Duration::from_millis(100));
        assert!(alive(&stream), "{address}");
        let after = world.dropped(B, "state-mismatch");
        assert_eq!(after - before, forged.len() as u64, "{address}: all of them were stopped");
        // The one with the number that is expected works, as it must.
        let fresh = live(&world, &hand, address);
        hand.tcp(fresh.near, fresh.far, &Seg { seq: fresh.seq, ack: fresh.ack, flags: RST | ACK, data: vec![] });
        std::thread::sleep(Duration::from_millis(100));
        assert!(!alive(&fresh.stream), "{address}");
        assert!(alive(&stream), "{address}: it was another's");
    }
    world.stop();
}

/// A client without a kernel: its address is nobody's.
fn handshake(hand: &Hand, near: SocketAddr, far: SocketAddr, seq: u32) -> Option<Seg> {
    hand.tcp(near, far, &Seg { seq, flags: SYN, ..Seg::default() });
    let answer = hand.segment(far, near, |seg| seg.flags & (SYN | ACK) == SYN | ACK)?;
    let (seq, ack) = (seq.wrapping_add(1), answer.seq.wrapping_add(1));
    hand.tcp(near, far, &Seg { seq, ack, flags: ACK, data: vec![] });
    Some(answer)
}

#[test]
fn pf_resets_around_a_gap_and_with_a_faked_acknowledgement() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!("{ONE}pass all\n"));
    let hand = Hand::at(&world, true);
    world.neighbour(&world.lab.b, "10.78.0.66", &world.lab.a);
    let _server = echo(&world.lab.b, "10.78.0.2", 5001);
    let far: SocketAddr = "10.78.0.2:5001".parse().unwrap();

    // Data before a gap and behind it: a reset at the number that the other end has acknowledged ends the connection.
    let near: SocketAddr = "10.78.0.66:40001".parse().unwrap();
    let first = handshake(&hand, near, far, 1000).unwrap();
    let ack = first.seq.wrapping_add(1);
    hand.tcp(near, far, &Seg { seq: 1017, ack, flags: ACK | PSH, data: b"ABCDEFGH".to_vec() });
    hand.tcp(near, far, &Seg { seq: 1001, ack, flags: ACK | PSH, data: b"abcdefgh".to_vec() });
    // The echo moves the number that the other end has sent, and that the reset must acknowledge.
    let echoed = hand.segment(far, near, |seg| seg.ack == 1009 && !seg.data.is_empty()).unwrap();
    let ack = echoed.seq.wrapping_add(echoed.data.len() as u32);
    hand.tcp(near, far, &Seg { seq: 1009, ack, flags: RST | ACK, data: vec![] });
    std::thread::sleep(Duration::from_millis(50));
    let again = handshake(&hand, near, far, 0x0100_0001);
    assert!(again.is_some(), "the port can be used again: the reset had its effect");

    // A reset behind the window's start with acknowledgement 0: that is nobody's number.
    let near: SocketAddr = "10.78.0.66:40002".parse().unwrap();
    let first = handshake(&hand, near, far, 0x0200_0000).unwrap();
    let ack = first.seq.wrapping_add(1);
    hand.tcp(near, far, &Seg { seq: 0x0200_0000 - 5000, ack: 0, flags: RST | ACK, data: vec![] });
    hand.tcp(near, far, &Seg { seq: 0x0200_0001, ack, flags: ACK | PSH, data: b"still here".to_vec() });
    let back = hand.segment(far, near, |seg| !seg.data.is_empty());
    assert_eq!(back.unwrap().data, b"still here");
    world.stop();
}

#[test]
fn pf_killed_states_stop_their_connections() {
    if !allowed() {
        return;
    }
    let rules = format!(
        "{ONE}block all\npass in proto tcp to port 5001 label \"web\"\npass in proto tcp to port 5002 label \"other\"\npass inet6 proto ipv6-icmp\n"
    );
    let world = World::new(&rules);
    let servers: Vec<_> = ["10.78.0.2", "fd78::2"]
        .iter()
        .flat_map(|address| [5001, 5002].map(|port| echo(&world.lab.b, address, port)))
        .collect();
    let start = |address: &str, port| {
        let stream = open(&world.lab.a, address, port).unwrap();
        assert!(alive(&stream));
        stream
    };
    let (one, two) = (start("10.78.0.2", 5001), start("fd78::2", 5001));
    let (labelled, by_id) = (start("10.78.0.2", 5002), start("fd78::2", 5002));
    // Nothing may begin any more, what has begun goes on.
    world.load(&format!("{ONE}block all\npass inet6 proto ipv6-icmp\n"));
    assert!(open(&world.lab.a, "10.78.0.2", 5001).is_err());
    for stream in [&one, &two, &labelled, &by_id] {
        assert!(alive(stream));
    }
    world.weir(B, &["kill", "10.78.0.3"]);
    world.weir(B, &["kill", "10.78.0.1", "10.78.0.3"]);
    assert!(alive(&one), "neither was it");
    world.weir(B, &["kill", "10.78.0.1", "10.78.0.2"]);
    assert!(!alive(&one) && !alive(&labelled) && alive(&two));
    world.weir(B, &["kill", "fd78::/64", "fd78::2"]);
    assert!(!alive(&two) && !alive(&by_id));

    world.load(&rules);
    let (web, other) = (start("10.78.0.2", 5001), start("10.78.0.2", 5002));
    let by_id = start("fd78::2", 5001);
    world.weir(B, &["kill", "--label", "other"]);
    // Its next segment would make another state only if it were a SYN.
    assert!(!alive(&other) && alive(&web) && alive(&by_id));
    let states = world.states(B);
    let port = by_id.local_addr().unwrap().port().to_string();
    let id = states
        .lines()
        .skip_while(|line| !line.contains(&port))
        .nth(1)
        .and_then(|line| line.split("id ").nth(1))
        .unwrap_or_else(|| panic!("{states}"))
        .trim()
        .to_owned();
    world.weir(B, &["kill", "--id", &id]);
    assert!(!alive(&by_id) && alive(&web));
    world.weir(B, &["kill", "--all"]);
    assert!(!alive(&web));
    drop(servers);
    world.stop();
}

/// Never more than this: the flood is bounded, in the lab's own addresses.
const FLOOD: u32 = 6000;

#[test]
fn pf_synproxy_serves_the_genuine_through_a_flood() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!("{ONE}pass all\npass in inet proto tcp to 10.78.0.2 port 5001 synproxy state\n"));
    let _server = greeter(&world.lab.b, "10.78.0.2", 5001);
    let hand = Hand::at(&world, true);
    let at_server = Hand::at(&world, false);
    let done = std::sync::atomic::AtomicBool::new(false);
    let far: SocketAddr = "10.78.0.2:5001".parse().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..FLOOD {
                // TEST-NET-2 and 3 (RFC 5737): nobody's.
                let last = (n % 250) as u8 + 1;
                let host = if n % 2 == 0 { [198, 51, 100, last] } else { [203, 0, 113, last] };
                let near = SocketAddr::from((host, 1024 + (n / 250) as u16));
                hand.tcp(near, far, &Seg { seq: n.wrapping_mul(7919), flags: SYN, ..Seg::default() });
                if n % 64 == 63 {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let mut served = 0;
        while !done.load(std::sync::atomic::Ordering::Relaxed) || served < 10 {
            // Queues and the limit of answers lose SYNs in a flood, genuine ones too: those are sent again.
            let limit = Duration::from_secs(10);
            let mut seen = String::new();
            let mut stream = crate::net::open_for(&world.lab.a, "10.78.0.2", 5001, limit).unwrap();
            // So is the proxy's own SYN to the server, but only when the client is heard again: one that said nothing at all
            // would wait for a server that was never asked. The end of what it says is said until it is acknowledged.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            std::io::Read::read_to_string(&mut stream, &mut seen).unwrap();
            assert!(seen.starts_with("10.78.0.1:"), "after {served}: {seen}");
            served += 1;
        }
    });
    // The server's kernel has heard of nobody but the genuine.
    at_server.socket.set_nonblocking(true).unwrap();
    let mut bytes = vec![0; 2048];
    let (mut syns, mut forged) = (0, 0);
    while let Ok(len) = std::io::Read::read(&mut &at_server.socket, &mut bytes) {
        let Some(seen) = crate::craft::look(&bytes[..len]) else { continue };
        if seen.seg.is_some_and(|seg| seg.flags & (SYN | ACK) == SYN) {
            syns += 1;
            forged += u32::from(seen.src.ip() != "10.78.0.1".parse::<std::net::IpAddr>().unwrap());
        }
    }
    assert!(syns > 0 && forged == 0, "{forged} of {syns}");
    world.stop();
}
