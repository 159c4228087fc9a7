//! Tests against the kernel. They need /dev/net/tun and the right to make network namespaces; without, they say so.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::fake_port::{FakePort, Sent};
use super::*;
use crate::port::{Offload, PortRequest};

/// A namespace that goes away with the test.
struct Netns(String);

impl Netns {
    fn new(test: &str) -> Option<Self> {
        let name = format!("weir-t-{}-{test}", std::process::id());
        match Command::new("ip").args(["netns", "add", &name]).stderr(Stdio::piped()).output() {
            Ok(out) if out.status.success() => Some(Self(name)),
            Ok(out) => {
                eprintln!("skipped: ip netns add: {}", String::from_utf8_lossy(&out.stderr).trim());
                None
            }
            Err(e) => {
                eprintln!("skipped: ip: {e}");
                None
            }
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut words = line.split(' ');
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(words.next().unwrap()).args(words);
        command
    }

    fn run(&self, line: &str) -> String {
        let out = self.command(line).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&out.stderr));
        text
    }

    fn tap(&self, name: &str, options: &str) -> Tap {
        Tap::new(match format!("tap:{name},netns={}{options}", self.0).parse() {
            Ok(super::super::spec::StackSpec::Tap(spec)) => spec,
            other => panic!("{other:?}"),
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A cable between two fake ports: what one's kernel sends, the other's receives, offloads included.
struct Cable {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Cable {
    fn new(a: &Arc<FakePort>, b: &Arc<FakePort>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = [(a, b), (b, a)]
            .into_iter()
            .map(|(from, to)| {
                let (from, to, stop) = (Arc::clone(from), Arc::clone(to), Arc::clone(&stop));
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        for Sent { queue, bytes, offload } in from.take_sent(20) {
                            to.deliver(queue, &[RxFrame { bytes: &bytes, offload }]);
                        }
                    }
                })
            })
            .collect();
        Self { stop, threads }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// Waits for something that another thread or the kernel does.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

struct Joined {
    left: Netns,
    right: Netns,
    ports: [Arc<FakePort>; 2],
    taps: [Tap; 2],
    _cable: Cable,
}

fn join(test: &str, options: &str, change: fn(&mut crate::port::PortInfo)) -> Option<Joined> {
    let (left, right) = (Netns::new(&format!("{test}-l"))?, Netns::new(&format!("{test}-r"))?);
    let ports = [1, 2].map(|n| {
        FakePort::new(512, 256, |info| {
            change(info);
            info.mac[5] = n;
        })
    });
    let mut taps = [left.tap("x0", options), right.tap("x0", options)];
    for (tap, port) in taps.iter_mut().zip(&ports) {
        tap.attach(port.port()).unwrap();
    }
    let cable = Cable::new(&ports[0], &ports[1]);
    for (ns, n) in [(&left, 1), (&right, 2)] {
        ns.run(&format!("ip addr add 10.9.0.{n}/24 dev x0"));
        ns.run(&format!("ip addr add fd09::{n}/64 dev x0 nodad"));
    }
    Some(Joined { left, right, ports, taps, _cable: cable })
}

/// Sends 24 MiB through TCP and compares the bytes at the other end.
fn transfer(joined: &Joined, address: &str) {
    let listen = format!(
        "import socket,hashlib,sys\n\
         s=socket.create_server(('{address}',5000),family=socket.{})\n\
         print('ready',flush=True)\n\
         c,_=s.accept()\nh=hashlib.sha256()\nn=0\n\
         while b:=c.recv(1<<20):\n h.update(b);n+=len(b)\n\
         print(n,h.hexdigest())",
        if address.contains(':') { "AF_INET6" } else { "AF_INET" }
    );
    let send = format!(
        "import socket,hashlib,random\n\
         d=random.Random(7).randbytes(24<<20)\n\
         c=socket.create_connection(('{address}',5000))\nc.sendall(d)\nc.close()\n\
         print(len(d),hashlib.sha256(d).hexdigest())"
    );
    let mut server = joined.right.command("python3 -").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    server.stdin.take().unwrap().write_all(listen.as_bytes()).unwrap();
    let mut output = std::io::BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    let mut client = joined.left.command("python3 -").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    client.stdin.take().unwrap().write_all(send.as_bytes()).unwrap();
    let sent = String::from_utf8(client.wait_with_output().unwrap().stdout).unwrap();
    line.clear();
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    server.wait().unwrap();
    assert!(sent.starts_with("25165824 "));
    assert_eq!(line, sent);
}

#[test]
fn two_kernels_talk_with_offloads() {
    let Some(mut joined) = join("off", "", |_| {}) else {
        return;
    };
    joined.left.run("ping -q -c 20 -i 0.01 10.9.0.2");
    joined.left.run("ping -q -c 20 -i 0.01 -s 8000 10.9.0.2");
    joined.left.run("ping -q -c 20 -i 0.01 fd09::2");
    transfer(&joined, "10.9.0.2");
    transfer(&joined, "fd09::2");
    let before = joined.taps[0].counters();
    assert!(before.sent_bytes > 48 << 20);
    assert!(before.sent < 20_000, "{before:?}: super-frames did not reach the driver");
    for tap in &mut joined.taps {
        tap.detach();
    }
    for (tap, port) in joined.taps.iter().zip(&joined.ports) {
        assert_eq!(tap.counters().receive_dropped, 0);
        assert_eq!(port.lent(), 0, "packets of the pool left behind");
        assert!(!port.attached());
    }
}

#[test]
fn two_kernels_talk_without_offloads_and_with_several_queues() {
    let Some(joined) = join("q4", ",queues=4", |info| (info.hw_assists, info.tx_queues) = (0, 4)) else {
        return;
    };
    let cable_saw_offload = |joined: &Joined| {
        joined.taps.iter().any(|t| t.counters().sent > 0 && t.counters().sent_bytes / t.counters().sent > 1514)
    };
    joined.left.run("ping -q -c 20 -i 0.01 10.9.0.2");
    transfer(&joined, "10.9.0.2");
    transfer(&joined, "fd09::2");
    assert!(!cable_saw_offload(&joined));
}

#[test]
fn jumbo_frames_and_tags() {
    let Some(joined) = join("mtu", ",mtu=9000", |info| info.mtu = 9000) else {
        return;
    };
    assert!(joined.ports[0].requests().contains(&PortRequest::Mtu(9000)));
    joined.left.run("ping -q -M do -c 5 -i 0.01 -s 8972 10.9.0.2");
    if joined.left.command("ip link add link x0 name x0.7 type vlan id 7").output().unwrap().status.success() {
        joined.right.run("ip link add link x0 name x0.7 type vlan id 7");
        for (ns, n) in [(&joined.left, 1), (&joined.right, 2)] {
            ns.run(&format!("ip addr add 10.9.7.{n}/24 dev x0.7"));
            ns.run("ip link set x0.7 up");
        }
        joined.left.run("ping -q -c 5 -i 0.01 10.9.7.2");
    } else {
        eprintln!("skipped: the kernel has no 802.1Q interfaces");
    }
}

#[test]
fn the_driver_hears_what_the_kernel_is_told() {
    let Some(ns) = Netns::new("ctl") else { return };
    let port = FakePort::new(64, 64, |_| {});
    let mut tap = ns.tap("x0", "");
    tap.attach(port.port()).unwrap();
    assert!(ns.run("ip link show x0").contains("02:57:45:00:00:01"));
    let heard = |request: PortRequest| eventually(&format!("{request:?}"), || port.requests().contains(&request));
    ns.run("ip link set x0 mtu 4000");
    heard(PortRequest::Mtu(4000));
    ns.run("ip link set x0 address 02:00:00:00:00:99");
    heard(PortRequest::HardwareAddress([2, 0, 0, 0, 0, 0x99]));
    ns.run("ip link set x0 promisc on");
    heard(PortRequest::Promiscuous(true));
    ns.run("ip maddr add 01:00:5e:01:02:03 dev x0");
    eventually("multicast", || {
        port.requests()
            .iter()
            .any(|r| matches!(r, PortRequest::Multicast(list) if list.contains(&[1, 0, 0x5e, 1, 2, 3])))
    });
    // Refused by the driver: the interface gets its old MTU back.
    ns.run("ip link set x0 mtu 9001");
    eventually("the MTU comes back", || ns.run("ip link show x0").contains("mtu 4000"));
    ns.run("ip link set x0 down");
    heard(PortRequest::Enable(false));
    ns.run("ip link set x0 up");
    heard(PortRequest::Enable(true));

    assert!(!ns.run("ip link show x0").contains("NO-CARRIER"));
    tap.link_changed(false);
    assert!(ns.run("ip link show x0").contains("NO-CARRIER"));
    tap.link_changed(true);
    assert!(!ns.run("ip link show x0").contains("NO-CARRIER"));
}

#[test]
fn an_empty_pool_and_a_port_that_is_down_do_not_spin() {
    let Some(ns) = Netns::new("pool") else { return };
    let port = FakePort::new(4, 2, |_| {});
    let mut tap = ns.tap("x0", "");
    tap.attach(port.port()).unwrap();
    ns.run("ip addr add 10.9.0.1/24 dev x0");
    ns.run("ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev x0");
    // 50 frames into a port with room for two: they wait in the kernel, none is lost, none is out of order.
    let _ = ns.command("ping -q -c 50 -i 0.002 -W 0.1 10.9.0.2").output().unwrap();
    let mut sequence = Vec::new();
    eventually("all frames", || {
        for sent in port.take_sent(50) {
            if sent.bytes.get(12..14) == Some(&[8, 0]) && sent.bytes[23] == 1 {
                sequence.push(u16::from_be_bytes([sent.bytes[40], sent.bytes[41]]));
            }
        }
        sequence.len() >= 50
    });
    assert_eq!(sequence, (1..=50).collect::<Vec<u16>>());

    // Down: packets are free, but there are none to be had.
    port.running.store(false, Ordering::Relaxed);
    ns.command("ping -q -c 1 -W 0.1 10.9.0.2").output().unwrap();
    let before = port.allocations_refused.load(Ordering::Relaxed);
    thread::sleep(Duration::from_millis(400));
    let asked = port.allocations_refused.load(Ordering::Relaxed) - before;
    assert!(asked < 200, "asked {asked} times for a packet");
    port.running.store(true, Ordering::Relaxed);
    eventually("traffic again", || !port.take_sent(10).is_empty());
    tap.detach();
    assert_eq!(port.lent(), 0);
}

#[test]
fn attach_and_detach_many_times_persistent_or_deleted_under_us() {
    let Some(ns) = Netns::new("many") else { return };
    for _ in 0..50 {
        let port = FakePort::new(8, 8, |info| info.tx_queues = 2);
        let mut tap = ns.tap("x0", ",persist");
        tap.attach(port.port()).unwrap();
        tap.detach();
        assert_eq!(port.lent(), 0);
    }
    assert!(ns.run("ip link show x0").contains("NO-CARRIER"));

    let port = FakePort::new(8, 8, |_| {});
    let mut tap = ns.tap("x0", "");
    tap.attach(port.port()).unwrap();
    ns.run("ip link del x0");
    eventually("noticed", || tap.running.as_ref().is_some_and(|r| r.shared.gone.load(Ordering::Relaxed)));
    port.deliver(0, &[RxFrame { bytes: &[0; 60], offload: Offload::default() }]);
    assert_eq!(tap.counters().receive_dropped, 1);
    tap.detach();
}

#[test]
fn frames_that_do_not_fit_are_counted() {
    let Some(ns) = Netns::new("fit") else { return };
    let port = FakePort::new(8, 8, |info| (info.hw_assists, info.buffer_size) = (0, 200));
    let mut tap = ns.tap("x0", "");
    tap.attach(port.port()).unwrap();
    ns.run("ip addr add 10.9.0.1/24 dev x0");
    ns.run("ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev x0");
    let _ = ns.command("ping -q -c 3 -i 0.01 -s 400 -W 0.1 10.9.0.2").output().unwrap();
    eventually("counted", || tap.counters().send_dropped == 3);
    // Shorter than an Ethernet header, and metadata beyond the frame: the kernel refuses, nothing else happens.
    port.deliver(0, &[RxFrame { bytes: &[0; 13], offload: Offload::default() }]);
    let offload = Offload { partial_csum: Some((70, 86)), ..Offload::default() };
    port.deliver(0, &[RxFrame { bytes: &[0; 60], offload }]);
    assert_eq!(tap.counters().receive_dropped, 2);
}

#[test]
fn errors_name_the_interface_and_what_to_do() {
    let Some(ns) = Netns::new("err") else { return };
    let port = FakePort::new(8, 8, |_| {});
    let fails = |tap: &mut Tap, words: &[&str]| {
        let text = tap.attach(port.port()).unwrap_err().to_string();
        assert!(words.iter().all(|w| text.contains(w)), "{text}");
        assert!(!port.attached());
    };
    ns.run("ip link add x1 type bridge");
    fails(&mut ns.tap("x1", ""), &["tap x1", "TUNSETIFF", "delete it"]);
    fails(&mut ns.tap("x2", ",mtu=9001"), &["tap x2", "mtu=9001", "refused"]);
    let mut first = ns.tap("x3", "");
    first.attach(FakePort::new(8, 8, |_| {}).port()).unwrap();
    ns.run("ip tuntap add x4 mode tap");
    let mut second = Tap::new(TapSpec { netns: Some("weir-none".into()), ..ns.tap("x3", "").spec.clone() });
    fails(&mut second, &["weir-none", "ip netns add"]);
    // One queue of an interface made without multi_queue works, two do not.
    fails(&mut ns.tap("x4", ",queues=2"), &["tap x4", "queue flags"]);
    let mut one = ns.tap("x4", ",queues=1");
    one.attach(port.port()).unwrap();
}

#[test]
fn groups_are_read_from_the_kernels_table() {
    let text = "1    lo              1     0     333300000001\n\
                12   x0              1     0     01005e000001\n\
                12   x0              1     0     333300000001\n\
                120  x1              1     0     01005e0000fb\n\
                12   x0              1     0     3333\n";
    assert_eq!(control::parse_groups(text, 12), [[1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]]);
}
