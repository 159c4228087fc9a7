//! What is said about what is blocked, and what is blocked at all (FreeBSD's pass_block.sh, match.sh, set_skip.sh, tos.sh).

use std::time::Duration;

use crate::lab::{allowed, ip};
use crate::net::{A, B, World, ask, connect, connect_for, echo, greeter, seen_as, udp};

const ONE: &str = "set skip on en0\n";

#[test]
fn pf_return_codes_reach_the_client_as_its_errors() {
    if !allowed() {
        return;
    }
    // How a connecting socket hears of each code: net/ipv4/icmp.c (icmp_err_convert), net/ipv6/icmp.c (tab_unreach).
    let v4 = [
        ("net-unr", "ENETUNREACH"),
        ("host-unr", "EHOSTUNREACH"),
        ("proto-unr", "ENOPROTOOPT"),
        ("port-unr", "ECONNREFUSED"),
        ("net-unk", "ENETUNREACH"),
        ("host-unk", "EHOSTDOWN"),
        ("isolate", "ENONET"),
        ("net-prohib", "ENETUNREACH"),
        ("host-prohib", "EHOSTUNREACH"),
        ("filter-prohib", "EHOSTUNREACH"),
    ];
    let v6 = [("noroute-unr", "ENETUNREACH"), ("admin-unr", "EACCES"), ("addr-unr", "EHOSTUNREACH")];
    let mut rules = format!("{ONE}pass all\n");
    for (port, (code, _)) in (6000..).zip(v4) {
        rules += &format!("block return-icmp({code}) in inet proto tcp to port {port}\n");
    }
    for (port, (code, _)) in (6000..).zip(v6) {
        rules += &format!("block return-icmp6({code}) in inet6 proto tcp to port {port}\n");
    }
    rules += "block return-rst(ttl 7) in proto tcp to port 6100\n";
    for queues in ["1", "4"] {
        let world = World::with(&rules, &["--queues", queues]);
        // An error that comes while the call still has the socket is a soft one (RFC 1122 section 4.2.3.9): the next SYN's
        // answer tells.
        let told = |address, port| connect_for(&world.lab.a, address, port, Duration::from_secs(30));
        for (port, (code, error)) in (6000..).zip(v4) {
            assert_eq!(told("10.78.0.2", port), error, "{code}");
        }
        for (port, (code, error)) in (6000..).zip(v6) {
            assert_eq!(told("fd78::2", port), error, "{code}");
        }
        let hand = crate::craft::Hand::at(&world, true);
        assert_eq!(connect(&world.lab.a, "10.78.0.2", 6100), "ECONNREFUSED");
        let ttl = crate::net::sniff(&hand.socket, |frame| {
            let seen = crate::craft::look(frame)?;
            seen.seg.filter(|seg| seg.flags & crate::craft::RST != 0).map(|_| seen.ttl)
        });
        assert_eq!(ttl, Some(7));
        world.stop();
    }
}

#[test]
fn pf_passes_and_blocks_by_family_interface_and_direction() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!("{ONE}block in inet proto udp\n"));
    let _echoes = [echo(&world.lab.b, "10.78.0.2", 5001), echo(&world.lab.b, "fd78::2", 5001)];
    let answered = |address: &str| {
        let socket = udp(&world.lab.b, address, 5100);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut bytes = [0; 99];
                socket.set_read_timeout(Some(Duration::from_millis(1700))).unwrap();
                if let Ok((len, from)) = socket.recv_from(&mut bytes) {
                    let _ = socket.send_to(&bytes[..len], from);
                }
            });
            ask(&world.lab.a, address, 5100) == "question"
        })
    };
    assert!(!answered("10.78.0.2") && answered("fd78::2"));
    for (rules, v4, v6) in [
        ("block in inet6 proto udp\n", true, false),
        ("block in proto udp\npass in inet proto udp\n", true, false),
        ("block in quick proto udp\npass in inet proto udp\n", false, false),
        ("block in on en0 proto udp\n", true, true),
        ("block in on ! en1 proto udp\n", true, true),
        ("block in on en proto udp\n", false, false),
        // What passes because no rule says otherwise leaves no state that would let its answer out.
        ("block out proto udp\n", false, false),
        ("block out proto udp\npass in proto udp no state\n", false, false),
        ("block out proto udp\npass in proto udp\n", true, true),
        ("block in proto udp to port 5100\nmatch in proto udp to port 5100\n", false, false),
        ("match in inet proto udp tag GOOD\nblock in proto udp ! tagged GOOD\n", true, false),
        ("block in proto udp\npass in proto udp to port 5000 >< 5200\n", true, true),
        ("block in proto udp from { 10.78.0.0/24, fd78::/64 }\npass in proto udp from 10.78.0.1\n", true, false),
    ] {
        world.load(&format!("{ONE}{rules}"));
        world.weir(B, &["kill", "--all"]);
        assert_eq!((answered("10.78.0.2"), answered("fd78::2")), (v4, v6), "{rules}");
    }
    // An interface that is skipped is not looked at.
    world.load("set skip on { en0, en1 }\nblock all\n");
    assert!(answered("10.78.0.2") && answered("fd78::2"));
    world.stop();
}

#[test]
fn pf_probability_is_as_likely_as_it_says() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!("{ONE}pass all no state\nblock in proto udp to port 5100 probability 25%\n"));
    let (from, to) = (udp(&world.lab.a, "10.78.0.1", 5101), udp(&world.lab.b, "10.78.0.2", 5100));
    to.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let (count, mut got, mut bytes) = (800, 0, [0; 9]);
    for n in 0..count {
        from.send_to(b"x", "10.78.0.2:5100").unwrap();
        if n % 40 == 39 {
            while got < n && to.recv(&mut bytes).is_ok() {
                got += 1;
            }
        }
    }
    while to.recv(&mut bytes).is_ok() {
        got += 1;
    }
    // 600 are expected; five standard deviations are 61.
    assert!((539..=661).contains(&got), "{got} of {count}");
    assert_eq!(world.dropped(B, "match"), count - got);
    world.stop();
}

#[test]
fn pf_tos_is_matched_and_set() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!(
        "{ONE}pass in proto udp no state\nblock in inet proto udp tos 0x10\nblock in inet proto udp tos af11\n\
         match in inet proto udp to port 5102 scrub (set-tos ef)\n"
    ));
    let to = udp(&world.lab.b, "10.78.0.2", 5100);
    to.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let arrives = |tos: u32| {
        let from = udp(&world.lab.a, "10.78.0.1", 0);
        socket2::SockRef::from(&from).set_tos_v4(tos).unwrap();
        from.send_to(b"x", "10.78.0.2:5100").unwrap();
        to.recv(&mut [0; 9]).is_ok()
    };
    // RFC 2474: the class is the upper six bits; AF11 is 10 (RFC 2597).
    for (tos, passes) in [(0, true), (0x10, false), (0x14, true), (10 << 2, false), (0x2c, true)] {
        assert_eq!(arrives(tos), passes, "{tos:#x}");
    }
    let hand = crate::craft::Hand::at(&world, false);
    let _there = udp(&world.lab.b, "10.78.0.2", 5102);
    udp(&world.lab.a, "10.78.0.1", 0).send_to(b"x", "10.78.0.2:5102").unwrap();
    let tos = crate::net::sniff(&hand.socket, |frame| {
        crate::craft::look(frame).filter(|seen| seen.dst.port() == 5102).map(|seen| seen.tos)
    });
    // EF is 46 (RFC 3246).
    assert_eq!(tos, Some(46 << 2));
    world.stop();
}

#[test]
fn pf_tables_change_while_traffic_flows() {
    if !allowed() {
        return;
    }
    let file = crate::net::Scratch::with("list", "10.78.0.0/24 # all of it\n!10.78.0.1\nfd78::/64\n");
    let rules = format!(
        "{ONE}table <bad> persist\ntable <listed> persist file \"{}\"\npass all\nblock return in proto tcp from <bad>\n\
         block return in proto tcp from <listed> to port 5002\nblock return in proto tcp from ! <listed> to port 5003\n",
        file.path()
    );
    let world = World::new(&rules);
    let servers: Vec<_> = ["10.78.0.2", "fd78::2"]
        .iter()
        .flat_map(|address| [5001, 5002, 5003].map(|port| greeter(&world.lab.b, address, port)))
        .collect();
    let try_it = |address: &str, port| seen_as(&world.lab.a, address, port);
    assert_eq!(try_it("10.78.0.2", 5001), "10.78.0.1");
    world.weir(B, &["table", "add", "bad", "10.78.0.0/24"]);
    assert_eq!(try_it("10.78.0.2", 5001), "ECONNREFUSED");
    assert_eq!(try_it("fd78::2", 5001), "fd78::1");
    // The longest prefix decides.
    world.weir(B, &["table", "add", "bad", "!10.78.0.1"]);
    assert_eq!(try_it("10.78.0.2", 5001), "10.78.0.1");
    world.weir(B, &["table", "replace", "bad", "fd78::1"]);
    assert_eq!((try_it("10.78.0.2", 5001), try_it("fd78::2", 5001)), ("10.78.0.1".into(), "ECONNREFUSED".into()));
    world.weir(B, &["table", "delete", "bad", "fd78::1"]);
    assert_eq!(try_it("fd78::2", 5001), "fd78::1");
    // From a file, with an exception in it; and what is not in it.
    assert_eq!((try_it("10.78.0.2", 5002), try_it("fd78::2", 5002)), ("10.78.0.1".into(), "ECONNREFUSED".into()));
    assert_eq!((try_it("10.78.0.2", 5003), try_it("fd78::2", 5003)), ("ECONNREFUSED".into(), "fd78::1".into()));
    drop(servers);
    world.stop();
}

#[test]
fn pf_anchors_are_loaded_nested_and_by_wildcard() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!(
        "{ONE}pass all\nanchor \"first\" in on en1 {{\n  block return proto tcp to port 5001\n  anchor \"inner\" {{\n    \
         pass proto tcp from 10.78.0.1 to port 5001\n  }}\n}}\nanchor \"apps/*\"\n"
    ));
    let servers: Vec<_> = ["10.78.0.2", "fd78::2"]
        .iter()
        .flat_map(|address| [5001, 5002].map(|port| greeter(&world.lab.b, address, port)))
        .collect();
    let try_it = |address: &str, port| seen_as(&world.lab.a, address, port);
    assert_eq!((try_it("10.78.0.2", 5001), try_it("fd78::2", 5001)), ("10.78.0.1".into(), "ECONNREFUSED".into()));
    let load = |path: &str, text: &str| {
        let file = crate::net::Scratch::with("conf", text);
        world.weir(B, &["anchor", path, "-f", file.path()]);
    };
    assert_eq!(try_it("10.78.0.2", 5002), "10.78.0.1");
    load("apps/two", "block return in proto tcp to port 5002\n");
    assert_eq!(try_it("10.78.0.2", 5002), "ECONNREFUSED");
    // In the order of their names: a later one has the last word, an earlier one has not.
    load("apps/zebra", "pass in inet proto tcp to port 5002\n");
    load("apps/ant", "pass in inet6 proto tcp to port 5002\n");
    assert_eq!((try_it("10.78.0.2", 5002), try_it("fd78::2", 5002)), ("10.78.0.1".into(), "ECONNREFUSED".into()));
    world.weir(B, &["anchor", "apps/zebra", "--flush"]);
    assert_eq!(try_it("10.78.0.2", 5002), "ECONNREFUSED");
    world.weir(B, &["anchor", "apps/two", "--flush"]);
    assert_eq!(try_it("10.78.0.2", 5002), "10.78.0.1");
    drop(servers);
    world.stop();
}

#[test]
fn pf_sources_are_held_to_their_limits() {
    if !allowed() {
        return;
    }
    let world = World::new(&format!(
        "{ONE}table <bad> persist\npass all\nblock return in quick proto tcp from <bad>\n\
         pass in proto tcp to port 5001 keep state (max-src-states 3)\n\
         pass in proto tcp to port 5002 keep state (max 2)\n\
         pass in proto tcp to port 5003 keep state (max-src-nodes 1)\n\
         pass in proto tcp to port 5004 keep state (max-src-conn 2, overload <bad> flush global)\n"
    ));
    ip(&format!("-n {} addr add 10.78.0.5/24 dev w0", world.lab.a));
    let servers: Vec<_> =
        [5000, 5001, 5002, 5003, 5004].map(|port| echo(&world.lab.b, "10.78.0.2", port)).into_iter().collect();
    let open = |port| crate::net::open(&world.lab.a, "10.78.0.2", port);
    let from = |source: &str, port: u16| {
        let source = std::net::SocketAddr::new(source.parse().unwrap(), 0);
        let socket = crate::net::within(&world.lab.a, || {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&source.into()).unwrap();
            socket
        });
        let target = std::net::SocketAddr::new("10.78.0.2".parse().unwrap(), port);
        socket.connect_timeout(&target.into(), Duration::from_millis(1500)).map(|()| std::net::TcpStream::from(socket))
    };
    for (port, limit) in [(5001, 3), (5002, 2)] {
        let held: Vec<_> = (0..limit).map(|_| open(port).unwrap()).collect();
        assert!(open(port).is_err(), "port {port}: {limit} and no more");
        world.weir(B, &["kill", "--all"]);
        assert!(open(port).is_ok());
        drop(held);
        world.weir(B, &["kill", "--all"]);
    }
    assert!(world.dropped(B, "src-limit") + world.dropped(B, "state-limit") > 1);
    let held = open(5003).unwrap();
    assert!(from("10.78.0.5", 5003).is_err() && open(5003).is_ok(), "one source is what it may have");
    drop(held);

    // One connection too many: the source is out, and all that it had.
    let other = open(5000).unwrap();
    assert!(crate::net::alive(&other));
    let held = [open(5004).unwrap(), open(5004).unwrap()];
    assert!(held.iter().all(crate::net::alive));
    let third = open(5004);
    assert!(!third.is_ok_and(|third| crate::net::alive(&third)));
    assert!(!held.iter().any(crate::net::alive), "flush");
    assert!(!crate::net::alive(&other), "flush global: those of other rules, too");
    assert_eq!(connect(&world.lab.a, "10.78.0.2", 5000), "ECONNREFUSED");
    assert!(world.weir(B, &["table", "show", "bad"]).contains("10.78.0.1"));
    assert!(from("10.78.0.5", 5000).is_ok(), "others are served");
    world.weir(B, &["table", "flush", "bad"]);
    assert!(open(5000).is_ok());
    drop(servers);
    world.stop();
}

#[test]
fn pf_a_reload_neither_stalls_a_stream_nor_mixes_rulesets() {
    if !allowed() {
        return;
    }
    // Each tags as the other does not: a packet that both had a hand in would be blocked.
    let rules = |mine: &str, padding: usize| {
        let padding: String = (0..padding).map(|n| format!("block in proto udp to port {}\n", 20_000 + n)).collect();
        format!(
            "{ONE}match in proto udp tag {mine}\n{padding}pass in proto udp no state\n\
             block in quick proto udp ! tagged {mine}\npass proto tcp\n"
        )
    };
    for queues in ["1", "4"] {
        let world = World::with(&rules("ONE", 0), &["--queues", queues]);
        let _server = echo(&world.lab.b, "10.78.0.2", 5001);
        let stream = crate::net::open(&world.lab.a, "10.78.0.2", 5001).unwrap();
        let (from, to) = (udp(&world.lab.a, "10.78.0.1", 0), udp(&world.lab.b, "10.78.0.2", 5100));
        to.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let stop = &stop;
            let probes = scope.spawn(move || {
                let mut count = 0u64;
                let mut bytes = [0; 8];
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    from.send_to(&count.to_be_bytes(), "10.78.0.2:5100").unwrap();
                    assert_eq!(to.recv(&mut bytes).ok(), Some(8), "probe {count} was blocked");
                    count += 1;
                }
                count
            });
            let rounds = scope.spawn(|| {
                let (mut rounds, mut slowest) = (0u64, Duration::ZERO);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let start = std::time::Instant::now();
                    assert!(crate::net::alive(&stream), "the stream stopped after {rounds}");
                    slowest = slowest.max(start.elapsed());
                    rounds += 1;
                }
                (rounds, slowest)
            });
            for n in 0..12 {
                world.load(&rules(if n % 2 == 0 { "TWO" } else { "ONE" }, n * 40));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let probes = probes.join().unwrap();
            let (rounds, slowest) = rounds.join().unwrap();
            println!("{queues} queue pairs: {probes} probes, {rounds} rounds, the slowest {slowest:?}");
            assert!(probes > 50 && rounds > 50 && slowest < Duration::from_secs(5));
        });
        assert_eq!(world.dropped(B, "match") + world.dropped(A, "match"), 0);
        world.stop();
    }
}
