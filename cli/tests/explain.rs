//! `weir explain`, and the examples: what becomes of packets, by the driver's own evaluation.

use std::path::{Path, PathBuf};
use std::process::Command;

use etherparse::PacketBuilder;
use serde_json::Value;
use weir_capture::link::LinkType;
use weir_capture::{Record, Writer};

// The package's build script links the driver into every target; it needs the runtime and the core beside it.
use {weir_core as _, weir_host as _, weir_pf as _};

fn weir() -> Command {
    Command::new(std::env::var_os("WEIR_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_weir").into()))
}

/// A file that goes away with the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-explain-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a temporary file");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn run(args: &[&str]) -> String {
    let output = weir().args(args).output().expect("weir runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_packet_is_explained_rule_by_rule() {
    let rules = Temporary::new(
        "rules.conf",
        "table <friends> { 192.0.2.0/24 }\n\
         rdr on en0 inet proto tcp to any port 8080 -> 10.0.0.7 port 80\n\
         block in log\n\
         pass in proto udp\n\
         pass in from <friends>\n\
         pass in inet proto tcp to port 25 >< 90\n\
         anchor \"late\" in {\n\
         pass quick proto tcp flags A/A no state\n\
         }\n",
    );
    let text = run(&["explain", "-f", rules.path(), "-p", "in tcp 198.51.100.1:999 > 203.0.113.5:8080 flags S"]);
    assert_eq!(
        text,
        "in tcp 198.51.100.1:999 > 203.0.113.5:8080 flags S\n\
         \x20 in on en0: tcp 198.51.100.1:999 > 203.0.113.5:8080 flags S, 54 bytes\n\
         rdr rules\n\
         \x20 line 2: rdr on en0 inet proto tcp from any to any port = http-alt -> 10.0.0.7 port 80\n\
         \x20     matches\n\
         filter rules\n\
         \x20 line 3: block drop in log all\n\
         \x20     matches\n\
         \x20 line 4: pass in proto udp all keep state\n\
         \x20     no: proto: the packet has tcp, the rule wants udp\n\
         \x20 line 5: pass in from <friends> to any flags S/SA keep state\n\
         \x20     no: from: the packet has 198.51.100.1, the rule wants <friends>\n\
         \x20 line 6: pass in inet proto tcp from any to any port 25 >< 90 flags S/SA keep state\n\
         \x20     matches\n\
         \x20 line 7: anchor \"late\" in all\n\
         \x20     matches\n\
         \x20 line 8 of late: pass quick proto tcp all flags A/A no state\n\
         \x20     no: flags: the packet has S, the rule wants A/A\n\
         PASS: line 6, the last that matches\n\
         \x20 pass in inet proto tcp from any to any port 25 >< 90 flags S/SA keep state\n\
         \x20 destination 203.0.113.5:8080 becomes 10.0.0.7:80\n\
         \x20 makes a state (keep state): tcp 198.51.100.1:999 > 203.0.113.5:8080 on the wire, \
         198.51.100.1:999 > 10.0.0.7:80 for the stack\n"
    );
    let json: Value = serde_json::from_str(&run(&[
        "explain",
        "--json",
        "-f",
        rules.path(),
        "-p",
        "in icmp 198.51.100.1 > 203.0.113.5",
        "-p",
        "in on en1 tcp 192.0.2.1:1 > 203.0.113.5:22",
        "-p",
        "in on en1 tcp 192.0.2.1:1 > 203.0.113.5:22",
    ]))
    .expect("JSON");
    assert_eq!(json[0]["verdict"], "block");
    assert_eq!(json[0]["rules"][0]["mismatch"]["field"], "proto");
    assert_eq!((&json[1]["verdict"], &json[1]["states"][0]["mode"]), (&"pass".into(), &"keep state".into()));
    assert_eq!((&json[2]["verdict"], &json[2]["why"]), (&"pass".into(), &"it belongs to a state".into()));
}

fn frame(src: [u8; 4], dst: [u8; 4], ports: (u16, u16), syn: bool) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(src, dst, 64).tcp(ports.0, ports.1, 100, 1000);
    let builder = if syn { builder.syn() } else { builder.syn().ack(101) };
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).expect("a frame");
    frame
}

fn capture(name: &str, frames: &[Vec<u8>]) -> Temporary {
    let file = Temporary::new(name, "");
    let mut writer = Writer::create(&file.0).expect("a capture");
    let interface = writer.add_interface("en0", LinkType::ETHERNET).expect("an interface");
    for (at, bytes) in frames.iter().enumerate() {
        let time_ns = 1_000_000 * at as u64;
        let record = Record { interface, time_ns, original_len: bytes.len(), direction: None, comment: None, bytes };
        writer.write(&record).expect("a record");
    }
    writer.finish().expect("a capture");
    file
}

#[test]
fn a_captured_frame_is_explained_behind_those_before_it() {
    let rules = Temporary::new("capture.conf", "block all\npass out proto tcp\n");
    let (us, them) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let frames = [frame(us, them, (999, 80), true), frame(them, us, (80, 999), false)];
    let file = capture("explain.pcapng", &frames);
    let args = ["explain", "-f", rules.path(), "-i", file.path(), "--local", "10.0.0.1"];
    let second = run(&[&args[..], &["-n", "2"]].concat());
    assert!(second.contains("in on en0: tcp 10.0.0.2:80 > 10.0.0.1:999 flags SA"), "{second}");
    assert!(second.ends_with("PASS: it belongs to a state\n"), "{second}");
    let alone = run(&[&args[..5], &["--local", "10.0.0.77", "-n", "1,2"]].concat());
    assert_eq!(alone.matches("BLOCK: line 1").count(), 2, "{alone}");
    let output = weir().args(args).args(["-n", "3"]).output().expect("weir runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("has 2 frames"));
}

#[test]
fn what_no_adapter_takes_is_explained_as_replay_counts_it() {
    let rules = Temporary::new("giant.conf", "pass all no state\n");
    let (us, them) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let long = |src, dst, len: usize| {
        let mut frame = frame(src, dst, (999, 80), true);
        // Behind the datagram, as padding is.
        frame.resize(len, 0);
        frame
    };
    let (most, tagged) = (14 + 16_110, [0x81, 0, 0, 7]);
    let mut vlan = long(them, us, most);
    vlan.splice(12..12, tagged);
    let frames =
        [long(them, us, most), long(them, us, most + 1), vlan, long(us, them, most), long(us, them, most + 300)];
    let file = capture("giant.pcapng", &frames);
    let of = |command: &str, more: &[&str]| -> serde_json::Value {
        let args = [command, "--json", "-f", rules.path(), "-i", file.path(), "--local", "10.0.0.1"];
        serde_json::from_str(&run(&[&args[..], more].concat())).expect("JSON")
    };
    let replayed = of("replay", &[]);
    assert_eq!((&replayed["delivered"], &replayed["dropped"]["giant"]), (&3.into(), &2.into()), "{replayed}");
    let explained = of("explain", &["-n", "1,2,3,4,5"]);
    let verdicts: Vec<_> = (0..5).map(|at| explained[at]["why"] == "giant").collect();
    assert_eq!(verdicts, [false, true, false, false, true], "{explained}");
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Packets, one after the other, and what becomes of them.
fn verdicts(example: &str, address: &str, packets: &[(&str, &str)]) {
    let path = examples().join(example);
    let path = path.to_str().expect("a path");
    let mut args = vec!["explain", "--json", "-f", path, "--address", address];
    for (words, _) in packets {
        args.extend(["-p", words]);
    }
    let json: Value = serde_json::from_str(&run(&args)).expect("JSON");
    for (at, (words, wanted)) in packets.iter().enumerate() {
        assert_eq!(json[at]["verdict"], *wanted, "{example}: {words}: {:#}", json[at]);
    }
}

#[test]
fn a_laptop_calls_out_and_is_not_called() {
    verdicts(
        "laptop.conf",
        "192.0.2.7/24",
        &[
            ("out tcp 192.0.2.7:999 > 198.51.100.1:443", "pass"),
            ("in tcp 198.51.100.1:443 > 192.0.2.7:999 flags SA", "pass"),
            ("in tcp 198.51.100.1:443 > 192.0.2.7:22 flags S", "block"),
            ("in icmp fe80::1 > fe80::2 icmp6-type neighbrsol", "pass"),
            ("in udp 192.0.2.1:67 > 255.255.255.255:68", "pass"),
            ("out tcp 192.0.2.7:999 > 198.51.100.1:445", "block"),
            ("in arp 192.0.2.1 > 192.0.2.7", "pass"),
        ],
    );
}

#[test]
fn a_gateway_translates_for_its_machines() {
    verdicts(
        "gateway.conf",
        "192.0.2.7/24",
        &[
            ("out tcp 10.211.55.3:999 > 198.51.100.1:443", "pass"),
            ("in udp 198.51.100.1:53 > 192.0.2.7:999", "block"),
            ("in icmp 198.51.100.1 > 192.0.2.7", "pass"),
            // The proxy answers itself.
            ("in tcp 198.51.100.1:999 > 192.0.2.7:80", "block"),
        ],
    );
}

#[test]
fn a_kiosk_has_one_site() {
    verdicts(
        "kiosk.conf",
        "192.0.2.7/24",
        &[
            ("out tcp 192.0.2.7:999 > 198.51.100.20:443", "pass"),
            ("in tcp 198.51.100.20:443 > 192.0.2.7:999 flags SA", "pass"),
            ("out tcp 192.0.2.7:999 > 198.51.100.22:443", "block"),
            ("in tcp 192.0.2.70:999 > 192.0.2.7:22", "pass"),
            ("in tcp 192.0.2.7:999 > 192.0.2.7:22", "block"),
            ("in ether 0x88cc", "block"),
            ("in arp 192.0.2.1 > 192.0.2.7", "pass"),
        ],
    );
}

#[test]
fn a_lab_keeps_to_itself() {
    verdicts(
        "lab.conf",
        "192.0.2.7/24",
        &[
            ("in on en7 udp 192.0.2.9:9 > 192.0.2.10:9", "pass"),
            ("in on en7 udp 192.0.2.9:9 > 198.51.100.1:9", "block"),
            ("in on en7 udp 192.0.2.9:9 > 192.0.2.1:9", "block"),
            ("in on en7 vlan 5 udp 192.0.2.9:9 > 192.0.2.10:9", "block"),
            ("in on en7 icmp fe80::1 > ff02::1 icmp6-type neighbrsol", "pass"),
        ],
    );
}

#[test]
fn a_monitor_changes_nothing() {
    verdicts(
        "monitor.conf",
        "192.0.2.7/24",
        &[
            ("in tcp 10.0.0.1:999 > 192.0.2.7:22", "pass"),
            ("in tcp 10.0.0.2:999 > 192.0.2.7:22 flags A", "pass"),
            ("out udp 192.0.2.7:9 > 10.0.0.1:53", "pass"),
            ("in udp 10.0.0.9:9 > 192.0.2.7:9 fragment 1480 len 32", "pass"),
        ],
    );
}

/// The same rules in the driver: every example takes a capture and accounts for all of its frames.
#[test]
fn examples_run_in_the_driver() {
    let frames: Vec<Vec<u8>> = (1..=20)
        .flat_map(|n: u8| {
            let (a, b) = ([192, 0, 2, n], [198, 51, 100, 20]);
            [frame(a, b, (1000 + u16::from(n), 443), true), frame(b, a, (443, 1000 + u16::from(n)), false)]
        })
        .collect();
    let file = capture("examples.pcapng", &frames);
    for example in ["laptop", "gateway", "kiosk", "lab", "monitor"] {
        let path = examples().join(format!("{example}.conf"));
        let rules = path.to_str().expect("a path");
        let local: Vec<String> = (1..=20).map(|n| format!("192.0.2.{n}")).collect();
        let text = run(&["replay", "--json", "-f", rules, "-i", file.path(), "--local", &local.join(",")]);
        let json: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&json["frames"], &json["accounting"]), (&40.into(), &"ok".into()), "{example}: {text}");
    }
}

#[test]
fn rules_to_check_are_given_as_to_every_other_command() {
    let file = examples().join("laptop.conf");
    let file = file.to_str().expect("a path");
    assert_eq!(run(&["check", "-v", "-f", file]), run(&["check", "-v", file]));
}
