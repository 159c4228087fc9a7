//! Translation as both ends see it (FreeBSD's nat.sh, rdr.sh), and ICMP errors through it (icmp.sh, OpenBSD's pf_forward).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::{NetSlice, SlicedPacket};

use crate::craft::{Hand, look};
use crate::lab::allowed;
use crate::net::{A, World, ask, connect, echo, greeter, seen_as, sniff, udp};

/// A's driver translates; B's looks on.
const ONE: &str = "set skip on en1\n";

fn shown(world: &World) {
    for addr in ["10.78.0.7", "10.78.0.8", "fd78::7"] {
        world.neighbour(&world.lab.b, addr, &world.lab.a);
    }
}

#[test]
fn pf_nat_ports_are_in_range_unique_and_run_out() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!(
        "{ONE}nat on en0 inet proto tcp from 10.78.0.1 to any port 5001 -> 10.78.0.7 port 40000:40003\n\
         nat on en0 inet proto tcp from 10.78.0.1 to any port 5002 -> 10.78.0.7 static-port\n\
         nat on en0 inet6 proto tcp from fd78::1 to any -> fd78::7\npass all\n"
    ));
    shown(&world);
    let _servers = [5001, 5002].map(|port| echo(&world.lab.b, "10.78.0.2", port));
    let _greeters = [greeter(&world.lab.b, "10.78.0.2", 5003), greeter(&world.lab.b, "fd78::2", 5003)];
    let held: Vec<_> = (0..4)
        .map(|n| crate::net::open(&world.lab.a, "10.78.0.2", 5001).unwrap_or_else(|error| panic!("{n}: {error}")))
        .collect();
    assert!(held.iter().all(crate::net::alive));
    assert!(crate::net::open(&world.lab.a, "10.78.0.2", 5001).is_err(), "there are four ports");
    assert!(world.dropped(A, "invalid-port") > 0, "{}", world.weir(A, &["show", "counters"]));
    let states = world.states(A);
    for port in 40000..=40003 {
        assert_eq!(states.matches(&format!("10.78.0.7 port {port}")).count(), 1, "{states}");
    }
    // Gone with its state, the port is there for another.
    world.weir(A, &["kill", "--all"]);
    assert!(crate::net::open(&world.lab.a, "10.78.0.2", 5001).is_ok());
    let fixed = crate::net::open(&world.lab.a, "10.78.0.2", 5002).unwrap();
    let port = fixed.local_addr().unwrap().port();
    assert!(crate::net::alive(&fixed));
    assert!(world.states(A).contains(&format!("10.78.0.7 port {port}")), "static-port");
    assert_eq!(seen_as(&world.lab.a, "10.78.0.2", 5003), "10.78.0.1");
    let port = connect(&world.lab.a, "fd78::2", 5003).parse::<SocketAddr>().unwrap();
    assert!(port.ip() == "fd78::7".parse::<IpAddr>().unwrap() && (50001..=65535).contains(&port.port()), "{port}");
    world.stop();
}

#[test]
fn pf_pools_take_turns_or_stick() {
    if !allowed() {
        return;
    }
    let pool = "{ 10.78.0.7, 10.78.0.8 }";
    let world = World::new(&format!(
        "{ONE}nat on en0 inet proto tcp from any to any port 5001 -> {pool} round-robin\n\
         nat on en0 inet proto tcp from any to any port 5002 -> {pool} round-robin sticky-address\n\
         nat on en0 inet proto tcp from any to any port 5003 -> 10.78.0.6/31 source-hash\npass all\n"
    ));
    shown(&world);
    world.neighbour(&world.lab.b, "10.78.0.6", &world.lab.a);
    let _servers = [5001, 5002, 5003].map(|port| greeter(&world.lab.b, "10.78.0.2", port));
    let several = |port| (0..6).map(|_| seen_as(&world.lab.a, "10.78.0.2", port)).collect::<Vec<_>>();
    let turns = several(5001);
    assert!(turns.windows(2).all(|pair| pair[0] != pair[1]), "{turns:?}");
    for port in [5002, 5003] {
        let same = several(port);
        assert!(same.iter().all(|one| *one == same[0] && one.starts_with("10.78.0.")), "{same:?}");
    }
    world.stop();
}

#[test]
fn pf_rdr_leads_ranges_of_ports() {
    if !allowed() {
        return;
    }
    // B's driver redirects.
    let world = World::new(
        "set skip on en0\nrdr on en1 inet proto tcp from any to 10.78.0.9 port 8000:8009 -> 10.78.0.2 port 5000:*\n\
         rdr pass on en1 inet proto tcp from any to 10.78.0.9 port 80 -> 10.78.0.2 port 5003\n\
         no rdr on en1 inet proto tcp from any to 10.78.0.2 port 81\n\
         rdr on en1 inet proto tcp from any to 10.78.0.2 port 80:82 -> 10.78.0.2 port 5004\n\
         rdr on en1 inet6 proto tcp from any to fd78::9 port 80 -> fd78::2 port 5003\n\
         block in\npass in inet proto tcp to port 5000:5004\npass in inet6 proto tcp to port 5003\npass inet6 proto icmp6\n",
    );
    for addr in ["10.78.0.9", "fd78::9"] {
        world.neighbour(&world.lab.a, addr, &world.lab.b);
    }
    let _servers: Vec<_> = [5000, 5003, 5004]
        .iter()
        .map(|port| {
            let port = *port;
            crate::net::Serving::start(crate::net::listen(&world.lab.b, "10.78.0.2", port), move |mut stream| {
                let _ = std::io::Write::write_all(&mut stream, port.to_string().as_bytes());
            })
        })
        .collect();
    let _six = greeter(&world.lab.b, "fd78::2", 5003);
    let told = |address: &str, port| connect(&world.lab.a, address, port);
    assert_eq!((told("10.78.0.9", 8003), told("10.78.0.9", 8000)), ("5003".into(), "5000".into()));
    assert_eq!((told("10.78.0.9", 80), told("10.78.0.2", 80)), ("5003".into(), "5004".into()));
    assert_eq!(told("10.78.0.2", 81), "timeout", "not redirected, and so blocked");
    assert_eq!(seen_as(&world.lab.a, "fd78::9", 80), "fd78::1");
    world.stop();
}

/// Source and destination of an ICMP error, and of the packet in it: addresses, source port, destination port.
type Quoted = ((IpAddr, IpAddr), (IpAddr, IpAddr, u16, u16));

fn error_in(frame: &[u8]) -> Option<Quoted> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let ends = |net: &NetSlice| -> Option<(IpAddr, IpAddr)> {
        match net {
            NetSlice::Ipv4(ip) => {
                // A changed header has a changed sum, the inner one as well.
                assert_eq!(ip.header().to_header().calc_header_checksum(), ip.header().header_checksum());
                Some((ip.header().source_addr().into(), ip.header().destination_addr().into()))
            }
            NetSlice::Ipv6(ip) => Some((ip.header().source_addr().into(), ip.header().destination_addr().into())),
            NetSlice::Arp(_) => None,
        }
    };
    let net = packet.net.as_ref()?;
    let outer = ends(net)?;
    let quote = match packet.transport.as_ref()? {
        etherparse::TransportSlice::Icmpv4(icmp) if matches!(icmp.slice()[0], 3 | 11 | 12) => {
            let sum = icmp.icmp_type().calc_checksum(icmp.payload());
            assert_eq!(sum, icmp.checksum(), "ICMP's own sum");
            icmp.payload()
        }
        etherparse::TransportSlice::Icmpv6(icmp) if icmp.slice()[0] < 128 => {
            let NetSlice::Ipv6(ip) = net else { return None };
            let valid = icmp.is_checksum_valid(ip.header().source(), ip.header().destination());
            assert!(valid, "ICMPv6's own sum");
            icmp.payload()
        }
        _ => return None,
    };
    let inner = etherparse::LaxSlicedPacket::from_ip(quote).ok()?;
    let (src, dst, at) = match inner.net.as_ref()? {
        etherparse::LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum(), "the inner header's sum");
            (header.source_addr().into(), header.destination_addr().into(), header.slice().len())
        }
        etherparse::LaxNetSlice::Ipv6(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into(), 40)
        }
        etherparse::LaxNetSlice::Arp(_) => return None,
    };
    let half = |at: usize| Some(u16::from_be_bytes([*quote.get(at)?, *quote.get(at + 1)?]));
    Some((outer, (src, dst, half(at)?, half(at + 2)?)))
}

#[test]
fn pf_icmp_errors_come_back_through_nat() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!(
        "{ONE}nat on en0 inet from 10.78.0.1 to any -> 10.78.0.7\nnat on en0 inet6 from fd78::1 to any -> fd78::7\npass all\n"
    ));
    shown(&world);
    let (near, far) = (Hand::at(&world, true), Hand::at(&world, false));
    for (address, shown, own) in [("10.78.0.2", "10.78.0.7", "10.78.0.1"), ("fd78::2", "fd78::7", "fd78::1")] {
        // B's kernel has nobody at the port, and says so to whom it sees; A's socket hears of it.
        assert_eq!(ask(&world.lab.a, address, 5999), "ECONNREFUSED");

        // A router on the way reports: time exceeded, too big. Both are about the packet as B's side shows it.
        let socket = udp(&world.lab.a, own, 0);
        let port = socket.local_addr().unwrap().port();
        let _there = udp(&world.lab.b, address, 5998);
        socket.send_to(&[0; 400], SocketAddr::new(address.parse().unwrap(), 5998)).unwrap();
        let about = sniff(&far.socket, |frame| {
            look(frame).filter(|seen| seen.dst.port() == 5998).map(|seen| (seen, frame[14..].to_vec()))
        });
        let (seen, about) = about.unwrap();
        assert_eq!(seen.src.ip(), shown.parse::<IpAddr>().unwrap());
        let (router, v4): (IpAddr, bool) = if own.contains(':') {
            ("fd78::99".parse().unwrap(), false)
        } else {
            ("10.78.0.99".parse().unwrap(), true)
        };
        let (exceeded, too_big) = if v4 { ((11, 0, 0), (3, 4, 1300)) } else { ((3, 0, 0), (2, 0, 1300)) };
        for what in [exceeded, too_big] {
            far.error(router, seen.src.ip(), what, &about);
            let (outer, inner) =
                sniff(&near.socket, |frame| error_in(frame).filter(|(outer, _)| outer.0 == router)).unwrap();
            let (own, address) = (own.parse::<IpAddr>().unwrap(), address.parse::<IpAddr>().unwrap());
            assert_eq!(outer, (router, own), "{what:?}");
            assert_eq!(inner, (own, address, port, 5998), "{what:?}");
        }
        // A's kernel believes the second: its path is narrower now.
        let route = crate::lab::run(&mut world.lab.exec(&world.lab.a, &format!("ip route get {address}")));
        assert!(route.contains("mtu 1300"), "{route}");
        // About something that never was: not let through.
        let mut other = about.clone();
        let at = if v4 { 20 } else { 40 };
        other[at..at + 2].copy_from_slice(&1u16.to_be_bytes());
        far.error(router, seen.src.ip(), exceeded, &other);
    }
    world.stop();
}

#[test]
fn pf_icmp_errors_go_out_through_rdr() {
    if !allowed() {
        return;
    }
    // B's driver redirects; A's kernel reports errors about what comes back.
    let world = World::new(
        "set skip on en0\nrdr on en1 inet proto udp from any to 10.78.0.9 port 80 -> 10.78.0.2 port 5997\n\
         rdr on en1 inet6 proto udp from any to fd78::9 port 80 -> fd78::2 port 5997\nblock in\npass in proto udp\n\
         pass inet6 proto icmp6 icmp6-type { neighbrsol, neighbradv }\npass out\n",
    );
    for addr in ["10.78.0.9", "fd78::9"] {
        world.neighbour(&world.lab.a, addr, &world.lab.b);
    }
    let (near, far) = (Hand::at(&world, true), Hand::at(&world, false));
    for (public, server, own) in [("10.78.0.9", "10.78.0.2", "10.78.0.1"), ("fd78::9", "fd78::2", "fd78::1")] {
        let (public, own): (IpAddr, IpAddr) = (public.parse().unwrap(), own.parse().unwrap());
        let at_b = udp(&world.lab.b, server, 5997);
        let server: IpAddr = server.parse().unwrap();
        let client = udp(&world.lab.a, &own.to_string(), 0);
        let port = client.local_addr().unwrap().port();
        client.send_to(b"question", SocketAddr::new(public, 80)).unwrap();
        let mut bytes = [0; 99];
        let (_, from) = at_b.recv_from(&mut bytes).unwrap();
        at_b.send_to(b"answer", from).unwrap();
        let about = sniff(&near.socket, |frame| {
            look(frame).filter(|seen| seen.dst == SocketAddr::new(own, port)).map(|seen| (seen, frame[14..].to_vec()))
        });
        let (seen, about) = about.unwrap();
        assert_eq!(seen.src, SocketAddr::new(public, 80), "as the client knows the server");
        let v4 = own.is_ipv4();
        let router: IpAddr = if v4 { "10.78.0.99".parse().unwrap() } else { "fd78::99".parse().unwrap() };
        for what in if v4 { [(11, 0, 0), (3, 4, 1280), (3, 13, 0)] } else { [(3, 0, 0), (2, 0, 1280), (1, 1, 0)] } {
            near.error(router, public, what, &about);
            let (outer, inner) =
                sniff(&far.socket, |frame| error_in(frame).filter(|(outer, _)| outer.0 == router)).unwrap();
            assert_eq!(outer, (router, server), "{what:?}");
            assert_eq!(inner, (server, own, 5997, port), "{what:?}");
        }
        // About no conversation: the rules decide, which block.
        let mut other = about.clone();
        let at = if v4 { 22 } else { 42 };
        other[at..at + 2].copy_from_slice(&1u16.to_be_bytes());
        near.error(router, public, if v4 { (11, 0, 0) } else { (3, 0, 0) }, &other);
        far.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut bytes = vec![0; 2048];
        while let Ok(len) = std::io::Read::read(&mut &far.socket, &mut bytes) {
            assert!(error_in(&bytes[..len]).is_none(), "an error about nothing");
        }
    }
    world.stop();
}
