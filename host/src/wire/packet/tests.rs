//! Against the kernel: they need the right to make network namespaces and raw sockets; without, they say so.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use weir_core::mem::wire_ring::{Geometry, WireQueue};

use super::super::fake_link::FakeLink;
use super::*;

const GEOMETRY: Geometry = Geometry { queues: 1, slots: 64, slot_size: 66560 };

struct Netns(String);

impl Netns {
    fn new(test: &str) -> Option<Self> {
        let name = format!("weir-p-{}-{test}", std::process::id());
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
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).args(line.split(' '));
        command
    }

    fn run(&self, line: &str) {
        let out = self.command(line).output().unwrap();
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// The NIC's part: what one pump's interface receives leaves through the other's.
fn forward(from: &mut WireQueue<'static>, to: &mut WireQueue<'static>, buffer: &mut [u8]) -> (bool, bool, u64) {
    let (mut moved, mut large) = (0u64, 0);
    while let Some(frame) = from.recv.recv(buffer) {
        let (len, meta) = frame.unwrap();
        while !to.send.send(&buffer[..len], &meta) {
            thread::yield_now();
        }
        moved += 1;
        large += u64::from(meta.mss != 0);
        if moved == 32 {
            break;
        }
    }
    (to.send.flush(), from.recv.release(), large)
}

#[test]
fn two_interfaces_joined_by_two_pumps() {
    let (Some(left), Some(right), Some(middle)) = (Netns::new("l"), Netns::new("r"), Netns::new("m")) else { return };
    for (ns, n) in [(&left, 1), (&right, 2)] {
        middle.run(&format!("ip link add v{n} type veth peer name w0 netns {}", ns.0));
        middle.run(&format!("ip link set v{n} up"));
        ns.run(&format!("ip addr add 10.8.0.{n}/24 dev w0"));
        ns.run(&format!("ip addr add fd08::{n}/64 dev w0 nodad"));
        ns.run("ip link set w0 up");
    }
    let links = [0, 1].map(|_| FakeLink::new(&GEOMETRY));
    let [(ring_a, mut a), (ring_b, mut b)] = [0, 1].map(|i: usize| links[i].nic(&GEOMETRY));
    let mut pumps =
        [0, 1].map(|i: usize| PacketPump::new(format!("v{}", i + 1), Some(middle.0.clone()), links[i].clone()));
    for pump in &mut pumps {
        pump.start().unwrap();
    }
    assert!(ring_a.client_ready() && ring_b.client_ready());
    let stop = Arc::new(AtomicBool::new(false));
    let nic = {
        let (stop, links) = (Arc::clone(&stop), links.clone());
        thread::spawn(move || {
            let mut buffer = vec![0; 66560];
            let mut super_frames = 0;
            while !stop.load(Ordering::Relaxed) {
                let (wake_b, wake_a, n) = forward(&mut a[0], &mut b[0], &mut buffer);
                let (wake_a2, wake_b2, m) = forward(&mut b[0], &mut a[0], &mut buffer);
                super_frames += n + m;
                if wake_a || wake_a2 {
                    links[0].notify();
                }
                if wake_b || wake_b2 {
                    links[1].notify();
                }
                thread::sleep(Duration::from_micros(50));
            }
            super_frames
        })
    };
    left.run("ping -q -c 20 -i 0.01 10.8.0.2");
    left.run("ping -q -c 20 -i 0.01 -s 8000 10.8.0.2");
    left.run("ping -q -c 20 -i 0.01 fd08::2");
    // TCP: 8 MiB with the kernel's offloads, compared at the other end.
    for family in ["10.8.0.2", "fd08::2"] {
        let server = format!(
            "import socket,hashlib;s=socket.create_server(('{family}',5000),family=socket.{});print(flush=True);\
             c,_=s.accept();h=hashlib.sha256();[h.update(b) for b in iter(lambda:c.recv(65536),b'')];print(h.hexdigest())",
            if family.contains(':') { "AF_INET6" } else { "AF_INET" }
        );
        let client = format!(
            "import socket,hashlib,random;d=random.Random(7).randbytes(8<<20);\
             c=socket.create_connection(('{family}',5000));c.sendall(d);c.close();print(hashlib.sha256(d).hexdigest())"
        );
        let python = |ns: &Netns, text: &str| {
            let mut command = ns.command("python3 -c");
            command.arg(text).stdout(Stdio::piped()).spawn().unwrap()
        };
        let mut server = python(&right, &server);
        let mut output = std::io::BufReader::new(server.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let sent = python(&left, &client).wait_with_output().unwrap();
        line.clear();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        server.wait().unwrap();
        assert_eq!(line.as_bytes(), sent.stdout);
        assert_eq!(line.trim().len(), 64);
    }
    // A tagged frame, which the kernel takes apart on its way in, arrives with its tag.
    let tagged = "import socket;s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW);s.bind(('w0',0));\
                  s.send(b'\\xff'*6+b'\\2\\0\\0\\0\\0\\1'+b'\\x81\\0\\x20\\x07\\x88\\xb5'+b'weir'*12)";
    let sniff = "import socket;s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,0x0300);s.bind(('w0',3));\
                 s.settimeout(10);s.setsockopt(263,8,1);print(flush=True)\n\
                 while True:\n d,a,_,_=s.recvmsg(2000,100)\n if b'weirweir' in d: print(d[12:14].hex(),a[0][2][16:18].hex());break";
    let mut sniffer = right.command("python3 -c");
    let mut sniffer = sniffer.arg(sniff).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = std::io::BufReader::new(sniffer.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert!(left.command("python3 -c").arg(tagged).status().unwrap().success());
    line.clear();
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    sniffer.wait().unwrap();
    // EtherType behind the tag, and the TCI (native byte order in tpacket_auxdata).
    let tci = 0x2007u16.to_ne_bytes();
    assert_eq!(line.trim(), format!("88b5 {:02x}{:02x}", tci[0], tci[1]));

    for pump in &mut pumps {
        pump.stop();
        let counters = pump.counters();
        assert_eq!((counters.send_dropped, counters.receive_dropped), (0, 0), "{counters:?}");
        assert!(counters.sent > 0 && counters.received > 0);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(nic.join().unwrap() > 0, "no super-frame came");
    assert!(!ring_a.client_ready());
}

#[test]
fn errors_name_the_interface() {
    let link = FakeLink::new(&GEOMETRY);
    let error = PacketPump::new("weir-none".into(), None, link).start().unwrap_err();
    assert!(error.to_string().contains("packet weir-none"), "{error}");
}
