//! pf's behaviour as two real kernels see it, in network namespaces joined only by the driver. Needs root; `WEIR_BIN`
//! names the binary.

mod answers;
mod craft;
mod forged;
mod fragments;
#[path = "../kernel/lab.rs"]
#[allow(dead_code, reason = "shared with the kernel tests, which use all of it")]
mod lab;
mod mix;
mod net;
mod translation;

// The package's build script links the driver into every target; it needs the runtime and the core beside it.
use {weir_core as _, weir_host as _};

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use lab::{Driver, Lab, allowed, ip, run};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Rules in a file of their own.
struct Rules(PathBuf);

impl Rules {
    fn new(text: &str) -> Self {
        let name = format!("weir-pf-{}-{}.conf", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A lab whose two drivers have these rules.
fn filtered(text: &str) -> (Lab, Driver) {
    let lab = Lab::new();
    let rules = Rules::new(text);
    let driver = lab.join(&["-f", rules.0.to_str().unwrap()]);
    (lab, driver)
}

fn python(ns: &str, text: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", ns, "python3", "-c", text]);
    command
}

/// A TCP server that answers each client with the address that it sees, once it listens.
struct Server(Child);

impl Server {
    fn start(ns: &str, address: &str, port: u16) -> Self {
        let family = if address.contains(':') { "AF_INET6" } else { "AF_INET" };
        let text = format!(
            "import socket\n\
             s=socket.socket(socket.{family});s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n\
             s.bind(('{address}',{port}));s.listen(5);print('ready',flush=True)\n\
             while True:\n c,a=s.accept();c.sendall(a[0].encode());c.close()"
        );
        let mut child = python(ns, &text).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a TCP client is told, or the error that it gets.
fn connect(ns: &str, address: &str, port: u16) -> String {
    let text = format!(
        "import socket,errno\n\
         try:\n s=socket.create_connection(('{address}',{port}),2);s.settimeout(2);print(s.recv(99).decode())\n\
         except socket.timeout: print('timeout')\n\
         except OSError as e: print(errno.errorcode[e.errno])"
    );
    run(&mut python(ns, &text)).trim().to_owned()
}

/// The error that a connected UDP socket gets.
fn datagram(ns: &str, address: &str, port: u16) -> String {
    let family = if address.contains(':') { "AF_INET6" } else { "AF_INET" };
    let text = format!(
        "import socket,errno\n\
         s=socket.socket(socket.{family},socket.SOCK_DGRAM);s.settimeout(2);s.connect(('{address}',{port}))\n\
         try:\n s.send(b'x');s.recv(9)\n\
         except socket.timeout: print('timeout')\n\
         except OSError as e: print(errno.errorcode[e.errno])"
    );
    run(&mut python(ns, &text)).trim().to_owned()
}

fn mac(ns: &str) -> String {
    run(Command::new("ip").args(["netns", "exec", ns, "cat", "/sys/class/net/w0/address"])).trim().to_owned()
}

#[test]
fn pf_return_is_seen_by_the_client() {
    if !allowed() {
        return;
    }
    let (lab, driver) = filtered(
        "pass all\n\
         block return-rst in proto tcp to port 81\n\
         block drop in proto tcp to port 82\n\
         block return-icmp in inet proto udp to port 83\n\
         block return-icmp6 in inet6 proto udp to port 83\n\
         block return in proto udp to port 84\n",
    );
    for address in ["10.78.0.2", "fd78::2"] {
        assert_eq!(connect(&lab.a, address, 81), "ECONNREFUSED");
        assert_eq!(connect(&lab.a, address, 82), "timeout");
        assert_eq!(datagram(&lab.a, address, 83), "ECONNREFUSED");
        assert_eq!(datagram(&lab.a, address, 84), "ECONNREFUSED");
    }
    driver.stop();
}

#[test]
fn pf_states_let_answers_in_and_nothing_else() {
    if !allowed() {
        return;
    }
    let (lab, driver) = filtered(
        "block in inet all\npass out inet all keep state\npass in inet proto tcp to 10.78.0.2 port 5001 keep state\n",
    );
    let _server = Server::start(&lab.b, "10.78.0.2", 5001);
    let _other = Server::start(&lab.b, "10.78.0.2", 5002);
    assert_eq!(connect(&lab.a, "10.78.0.2", 5001), "10.78.0.1");
    assert_eq!(connect(&lab.a, "10.78.0.2", 5002), "timeout");
    driver.stop();
}

#[test]
fn pf_rdr_and_nat_are_undone_on_the_way_back() {
    if !allowed() {
        return;
    }
    let (lab, driver) = filtered(
        "nat inet proto tcp from 10.78.0.1 to any -> 10.78.0.7\n\
         rdr inet proto tcp from any to 10.78.0.9 port 80 -> 10.78.0.2 port 5001\n\
         pass all\n",
    );
    // Nobody answers ARP for the addresses that only translation knows.
    ip(&format!("-n {} neigh replace 10.78.0.9 lladdr {} dev w0", lab.a, mac(&lab.b)));
    ip(&format!("-n {} neigh replace 10.78.0.7 lladdr {} dev w0", lab.b, mac(&lab.a)));
    let _server = Server::start(&lab.b, "10.78.0.2", 5001);
    assert_eq!(connect(&lab.a, "10.78.0.9", 80), "10.78.0.7");
    assert_eq!(connect(&lab.a, "10.78.0.2", 5001), "10.78.0.7");
    driver.stop();
}

#[test]
fn pf_fragments_are_reassembled() {
    if !allowed() {
        return;
    }
    let (lab, driver) = filtered("scrub all fragment reassemble\npass all\n");
    for address in ["10.78.0.2", "fd78::2"] {
        let text = run(&mut lab.exec(&lab.a, &format!("ping -q -n -c 10 -i 0.05 -W 2 -M dont -s 20000 {address}")));
        assert!(text.contains("10 packets transmitted, 10 received"), "{text}");
    }
    driver.stop();
}

#[test]
fn pf_synproxy_completes_both_handshakes() {
    if !allowed() {
        return;
    }
    let (lab, driver) = filtered("pass all\npass in inet proto tcp to 10.78.0.2 port 5001 synproxy state\n");
    let _server = Server::start(&lab.b, "10.78.0.2", 5001);
    for _ in 0..5 {
        assert_eq!(connect(&lab.a, "10.78.0.2", 5001), "10.78.0.1");
    }
    // Nobody listens there: the client is connected before that is known, and then told.
    let text = connect(&lab.a, "10.78.0.2", 5002);
    assert_eq!(text, "ECONNREFUSED");
    driver.stop();
}

#[test]
fn pf_binat_works_from_both_ends() {
    if !allowed() {
        return;
    }
    let (lab, driver) = filtered("binat inet from 10.78.0.1 to any -> 10.78.0.7\npass all\n");
    ip(&format!("-n {} neigh replace 10.78.0.7 lladdr {} dev w0", lab.b, mac(&lab.a)));
    let _far = Server::start(&lab.b, "10.78.0.2", 5001);
    let _near = Server::start(&lab.a, "10.78.0.1", 5003);
    assert_eq!(connect(&lab.a, "10.78.0.2", 5001), "10.78.0.7");
    assert_eq!(connect(&lab.b, "10.78.0.7", 5003), "10.78.0.2");
    driver.stop();
}

#[test]
fn pf_overload_shuts_out_who_connects_too_often() {
    if !allowed() {
        return;
    }
    let (lab, driver) = filtered(
        "table <bad> persist\n\
         pass all\n\
         block in quick inet from <bad>\n\
         pass in inet proto tcp to 10.78.0.2 port 5001 keep state (max-src-conn-rate 3/30, overload <bad> flush global)\n",
    );
    let _server = Server::start(&lab.b, "10.78.0.2", 5001);
    for _ in 0..3 {
        assert_eq!(connect(&lab.a, "10.78.0.2", 5001), "10.78.0.1");
    }
    // The one too many may still get its answer, or not; the next is blocked.
    connect(&lab.a, "10.78.0.2", 5001);
    assert_eq!(connect(&lab.a, "10.78.0.2", 5001), "timeout");
    driver.stop();
}

#[test]
fn pf_rewrites_what_scrub_asks_for() {
    if !allowed() {
        return;
    }
    let (lab, driver) = filtered("match in all scrub (min-ttl 100, max-mss 1000)\npass all\n");
    let text = "import socket\n\
         s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.setsockopt(0,12,1) # IP_RECVTTL, linux/in.h\n\
         s.bind(('10.78.0.2',5005));print('ready',flush=True);s.settimeout(5)\n\
         d,a,f,x=s.recvmsg(10,100);print(int.from_bytes(a[0][2],'little'))";
    let mut child = python(&lab.b, text).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let sender = "import socket\n\
         s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.setsockopt(socket.IPPROTO_IP,socket.IP_TTL,5)\n\
         s.sendto(b'x',('10.78.0.2',5005))";
    run(&mut python(&lab.a, sender));
    line.clear();
    output.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "100");
    assert!(child.wait().unwrap().success());

    let _server = Server::start(&lab.b, "10.78.0.2", 5006);
    let client = "import socket\n\
         s=socket.create_connection(('10.78.0.2',5006),2);print(s.getsockopt(socket.IPPROTO_TCP,socket.TCP_MAXSEG))";
    let mss: u32 = run(&mut python(&lab.a, client)).trim().parse().unwrap();
    assert!(mss <= 1000, "{mss}");
    driver.stop();
}
