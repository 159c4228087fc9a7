use std::net::SocketAddr;

use super::super::fake_port::FakePort;
use super::super::spec::StackSpec;
use super::*;
use crate::port::Offload;

fn spec(text: &str) -> SmoltcpSpec {
    match text.parse() {
        Ok(StackSpec::Smoltcp(spec)) => spec,
        other => panic!("{other:?}"),
    }
}

/// Two stacks in simulated mode, joined by a cable that takes 10 microseconds and may lose frames.
struct Pair {
    stacks: [Smoltcp; 2],
    ports: [Arc<FakePort>; 2],
    now_ns: u64,
    /// Every n-th frame is lost; 0 = none.
    lose: u64,
    carried: u64,
}

impl Pair {
    fn new() -> Self {
        let ports = [1, 2].map(|n| {
            let port = FakePort::new(64, 64, |info| info.mac[5] = n);
            port.virtual_ns.store(1, Ordering::Relaxed);
            port
        });
        let mut stacks = ["smoltcp:10.0.0.1/24,fd00::1/64", "smoltcp:10.0.0.2/24,fd00::2/64"]
            .map(|text| Smoltcp::new(spec(text), Mode::Simulated));
        for (stack, port) in stacks.iter_mut().zip(&ports) {
            stack.attach(port.port()).unwrap();
        }
        Self { stacks, ports, now_ns: 1, lose: 0, carried: 0 }
    }

    fn run(&mut self, mut done: impl FnMut() -> bool) {
        let end = self.now_ns + 120_000_000_000;
        while !done() {
            let mut next = u64::MAX;
            for stack in &mut self.stacks {
                next = next.min(stack.poll(self.now_ns).unwrap_or(u64::MAX));
            }
            if done() {
                return;
            }
            let mut moved = false;
            for (from, to) in [(0, 1), (1, 0)] {
                for sent in self.ports[from].take_sent(0) {
                    self.carried += 1;
                    if self.lose == 0 || !self.carried.is_multiple_of(self.lose) {
                        self.ports[to].deliver(0, &[RxFrame { bytes: &sent.bytes, offload: Offload::default() }]);
                        moved = true;
                    }
                }
            }
            self.now_ns = if moved { self.now_ns + 10_000 } else { next.max(self.now_ns + 1) };
            assert!(self.now_ns < end, "nothing more happens: {} {next} {}", self.now_ns, self.carried);
            for port in &self.ports {
                port.virtual_ns.store(self.now_ns, Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn ping_udp_and_tcp_in_virtual_time() {
    for host in ["10.0.0.2", "fd00::2"] {
        let host: IpAddr = host.parse().unwrap();
        let mut pair = Pair::new();
        let client = pair.stacks[0].client();
        let ping = client.ping(host, 100, Duration::from_millis(10));
        pair.run(|| ping.done());
        let report = ping.take().unwrap().unwrap();
        assert_eq!((report.sent, report.received, report.rtt_ns.len()), (100, 100, 100));
        assert!(report.rtt_ns.iter().skip(1).all(|rtt| *rtt == 20_000), "{:?}", report.rtt_ns);

        let udp = client.udp_exchange(echo(host), 50, 1000, 3);
        pair.run(|| udp.done());
        assert_eq!(udp.take().unwrap().unwrap(), UdpReport { sent: 50, received: 50, corrupt: 0 });

        let tcp = client.tcp_transfer(echo(host), 1 << 20, 3);
        pair.run(|| tcp.done());
        let report = tcp.take().unwrap().unwrap();
        assert_eq!((report.bytes, report.echoed), (1 << 20, 1 << 20));
        assert_eq!(report.sha256, report.echoed_sha256);

        let tcp = client.tcp_transfer(SocketAddr::new(host, DISCARD_PORT), 1 << 20, 4);
        pair.run(|| tcp.done());
        let report = tcp.take().unwrap().unwrap();
        assert_eq!((report.bytes, report.echoed), (1 << 20, 0));
        let server = pair.stacks[1].client();
        // The last acknowledgement is still on its way.
        let mut received = Vec::new();
        pair.run(|| {
            received.extend(server.received());
            !received.is_empty()
        });
        assert_eq!((received.len(), received[0].bytes, received[0].sha256), (1, 1 << 20, report.sha256));
        assert!(server.received().is_empty());
    }
}

#[test]
fn lost_frames_cost_time_not_bytes() {
    let mut pair = Pair::new();
    pair.lose = 23;
    let client = pair.stacks[0].client();
    let tcp = client.tcp_transfer(echo("10.0.0.2".parse().unwrap()), 300_000, 9);
    pair.run(|| tcp.done());
    let report = tcp.take().unwrap().unwrap();
    assert_eq!((report.echoed, report.sha256), (300_000, report.echoed_sha256));
}

#[test]
fn nobody_there_and_nobody_listening() {
    let mut pair = Pair::new();
    let client = pair.stacks[0].client();
    let udp = client.udp_exchange("10.0.0.2:4444".parse().unwrap(), 2, 10, 0);
    let closed = client.tcp_transfer("10.0.0.2:4444".parse().unwrap(), 10, 0);
    pair.run(|| udp.done() && closed.done());
    let ping = client.ping("10.0.0.9".parse().unwrap(), 3, Duration::from_millis(1));
    let absent = client.tcp_transfer("10.0.0.9:7".parse().unwrap(), 10, 0);
    pair.run(|| ping.done() && absent.done());
    let report = ping.take().unwrap().unwrap();
    assert_eq!((report.sent, report.received), (3, 0));
    assert_eq!(udp.take().unwrap().unwrap().received, 0);
    assert_eq!(closed.take().unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(absent.take().unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn the_same_every_time() {
    let run = || {
        let mut pair = Pair::new();
        pair.lose = 17;
        let tcp = pair.stacks[0].client().tcp_transfer(echo("fd00::2".parse().unwrap()), 100_000, 1);
        pair.run(|| tcp.done());
        (pair.now_ns, pair.carried)
    };
    assert_eq!(run(), run());
}

#[test]
fn threads_mode_and_a_port_with_little_room() {
    let ports = [1, 2].map(|n| FakePort::new(3, 2, |info| info.mac[5] = n));
    let mut stacks = ["smoltcp:10.0.0.1/24", "smoltcp:10.0.0.2/24"].map(|text| Smoltcp::new(spec(text), Mode::Threads));
    for (stack, port) in stacks.iter_mut().zip(&ports) {
        stack.attach(port.port()).unwrap();
    }
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let cables = [(0, 1), (1, 0)].map(|(from, to)| {
        let (from, to, stop) = (Arc::clone(&ports[from]), Arc::clone(&ports[to]), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for sent in from.take_sent(20) {
                    to.deliver(0, &[RxFrame { bytes: &sent.bytes, offload: Offload::default() }]);
                }
            }
        })
    });
    let (client, timeout) = (stacks[0].client(), Duration::from_secs(60));
    let host: IpAddr = "10.0.0.2".parse().unwrap();
    assert_eq!(client.ping(host, 20, Duration::from_millis(1)).wait(timeout).unwrap().received, 20);
    let report = client.tcp_transfer(echo(host), 1 << 20, 5).wait(timeout).unwrap();
    assert_eq!((report.echoed, report.sha256), (1 << 20, report.echoed_sha256));

    // Detached in the middle: whoever waits hears of it, no packet stays behind.
    let op = client.tcp_transfer(echo(host), u64::MAX, 5);
    std::thread::sleep(Duration::from_millis(50));
    stacks[0].detach();
    assert_eq!(op.wait(timeout).unwrap_err().kind(), io::ErrorKind::NotConnected);
    stacks[1].detach();
    stop.store(true, Ordering::Relaxed);
    for cable in cables {
        cable.join().unwrap();
    }
    for port in &ports {
        assert_eq!(port.lent(), 0);
    }
}

#[test]
fn a_flood_is_dropped_and_counted() {
    let port = FakePort::new(8, 8, |_| {});
    let mut stack = Smoltcp::new(spec("smoltcp:10.0.0.1/24"), Mode::Simulated);
    stack.attach(port.port()).unwrap();
    for _ in 0..BACKLOG + 5 {
        port.deliver(0, &[RxFrame { bytes: &[0xff; 60], offload: Offload::default() }]);
    }
    assert_eq!(stack.counters().receive_dropped, 5);
    stack.poll(1);
    assert_eq!(stack.counters().received, BACKLOG as u64);
}
