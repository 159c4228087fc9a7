//! The kernel on both ends of a device model's cable.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use crate::lab::{Driver, Lab, allowed, run};
use crate::transfer;

const MODELS: [&str; 4] = ["qemu:e1000e", "qemu:virtio-net", "qemu:virtio-net,packed", "sim:igc"];

/// The far end of the cable in A, the driver's interface in B.
fn join(lab: &Lab, nic: &str, extra: &[&str]) -> Driver {
    let (peer, stack) = (format!("tap:w0,netns={}", lab.a), format!("tap:w0,netns={}", lab.b));
    let mut args = vec!["--nic", nic, "--peer", &peer, "--stack", &stack];
    args.extend(extra);
    let driver = Driver::start(&args);
    lab.addresses();
    driver
}

/// Address resolution, 10,000 echoes without a loss, IPv6, and TCP in bulk with every offload, by iperf3 and by sums.
fn pings_and_bulk_tcp(model: &str) {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let driver = join(&lab, model, &[]);
    let text = run(&mut lab.exec(&lab.b, "ping -q -f -c 10000 -W 10 10.78.0.1"));
    assert!(text.contains("10000 received"), "{model}: {text}");
    let text = run(&mut lab.exec(&lab.b, "ping -q -6 -c 100 -i 0.05 -W 10 fd78::1"));
    assert!(text.contains("100 received"), "{model}: {text}");
    for direction in ["", "-R"] {
        let mut server = Serving::start(&lab);
        let text = run(&mut lab.exec(&lab.b, &format!("iperf3 -c 10.78.0.1 -n 64M {direction}")));
        assert!(text.contains("receiver"), "{model}: {text}");
        server.wait();
    }
    transfer(&lab, 32 << 20, "10.78.0.2");
    driver.stop();
}

/// An iperf3 server in A for one test.
struct Serving(Child);

impl Serving {
    fn start(lab: &Lab) -> Self {
        let mut child = lab.exec(&lab.a, "stdbuf -oL iperf3 -s -1").stdout(Stdio::piped()).spawn().unwrap();
        // It says so when it listens.
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "iperf3 does not listen");
        }
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self(child)
    }

    fn wait(&mut self) {
        self.0.wait().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.wait();
    }
}

#[test]
fn pings_and_bulk_tcp_over_e1000e() {
    pings_and_bulk_tcp("qemu:e1000e");
}

#[test]
fn pings_and_bulk_tcp_over_virtio() {
    pings_and_bulk_tcp("qemu:virtio-net");
}

#[test]
fn pings_and_bulk_tcp_over_packed_virtio() {
    pings_and_bulk_tcp("qemu:virtio-net,packed");
}

#[test]
fn pings_and_bulk_tcp_over_igc() {
    pings_and_bulk_tcp("sim:igc");
}

/// Sends more than the rings hold over eight flows, then asks over 32 others until each was answered; three times.
const FLOOD_AND_ASK: &str = "import socket,time\n\
    def flow():\n\
    \x20s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
    \x20s.settimeout(0.1)\n\
    \x20return s\n\
    def answered(s):\n\
    \x20for i in range(100):\n\
    \x20 try:\n\
    \x20  s.sendto(b'q',('10.78.0.2',7000))\n\
    \x20  s.recv(64)\n\
    \x20  return True\n\
    \x20 except OSError: time.sleep(0.02)\n\
    \x20return False\n\
    assert answered(flow()),'no way there'\n\
    for round in range(3):\n\
    \x20for s in [flow() for i in range(8)]:\n\
    \x20 for i in range(600):\n\
    \x20  try: s.sendto(b'x'*100,('10.78.0.2',7001))\n\
    \x20  except OSError: pass\n\
    \x20lost=[i for i,s in enumerate([flow() for i in range(32)]) if not answered(s)]\n\
    \x20assert not lost,(round,lost)\n\
    print('answered')";

/// Answers on one port and lets what comes to the other lie.
const ANSWER: &str = "import socket\n\
    sink,s=[socket.socket(socket.AF_INET,socket.SOCK_DGRAM) for i in range(2)]\n\
    sink.bind(('10.78.0.2',7001));s.bind(('10.78.0.2',7000))\n\
    while True:\n\
    \x20d,a=s.recvfrom(64)\n\
    \x20s.sendto(d,a)";

/// RSS leads flows from one pair to another; a pair that runs out of buffers holds none of the others up for good.
fn four_pairs(model: &str) {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let driver = join(&lab, model, &["--queues", "4"]);
    let python = |ns: &str, text: &str| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", ns, "python3", "-c", text]).stdin(Stdio::null());
        command
    };
    let mut answering = Serving(python(&lab.b, ANSWER).spawn().unwrap());
    let text = run(&mut python(&lab.a, FLOOD_AND_ASK));
    assert!(text.contains("answered"), "{model}: {text}");
    let _ = answering.0.kill();
    answering.wait();
    let text = run(&mut lab.exec(&lab.b, "ping -q -f -c 2000 -W 10 10.78.0.1"));
    assert!(text.contains("2000 received"), "{model}: {text}");
    transfer(&lab, 32 << 20, "10.78.0.2");
    driver.stop();
}

#[test]
fn four_pairs_over_virtio() {
    four_pairs("qemu:virtio-net");
}

#[test]
fn four_pairs_over_packed_virtio() {
    four_pairs("qemu:virtio-net,packed");
}

/// One ruleset, the same verdicts on every adapter.
#[test]
fn rules_decide_alike_on_every_model() {
    if !allowed() {
        return;
    }
    let path = std::env::temp_dir().join(format!("weir-adapters-{}.conf", std::process::id()));
    let mut rules = std::fs::File::create(&path).unwrap();
    writeln!(rules, "block quick inet proto icmp all\npass all").unwrap();
    for model in MODELS {
        let lab = Lab::new();
        let driver = join(&lab, model, &["-f", path.to_str().unwrap()]);
        let blocked = lab.exec(&lab.b, "ping -q -c 5 -i 0.01 -W 1 10.78.0.1").output().unwrap();
        assert!(String::from_utf8_lossy(&blocked.stdout).contains(" 0 received"), "{model}: {blocked:?}");
        let text = run(&mut lab.exec(&lab.b, "ping -q -6 -c 5 -i 0.01 -W 10 fd78::1"));
        assert!(text.contains("5 received"), "{model}: {text}");
        driver.stop();
    }
    std::fs::remove_file(&path).unwrap();
}
