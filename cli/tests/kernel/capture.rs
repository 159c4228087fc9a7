//! `weir capture` and `weir events` while the kernel's traffic passes, read by tcpdump and tshark.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::lab::{Driver, Lab, allowed, run, weir};

const RULES: &str = "pass all\nblock out log quick proto udp to port 9999\n";

struct Bench {
    lab: Lab,
    driver: Option<Driver>,
    dir: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("weir-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let rules = dir.join("rules.conf");
        std::fs::write(&rules, RULES).unwrap();
        let lab = Lab::new();
        let socket = dir.join("weir.sock");
        let driver = lab.join(&["--control", socket.to_str().unwrap(), "-f", rules.to_str().unwrap()]);
        Self { lab, driver: Some(driver), dir }
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    fn weir(&self, args: &[&str]) -> Command {
        let mut command = weir();
        command.args(args).args(["--control", &self.file("weir.sock")]);
        command
    }

    fn udp(&self, port: u16, count: u32) {
        let text = format!(
            "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
             for i in range({count}): s.sendto(b'x'*100,('10.78.0.2',{port}))"
        );
        run(Command::new("ip").args(["netns", "exec", &self.lab.a, "python3", "-c", &text]));
    }

    fn ping(&self, count: u32) {
        run(&mut self.lab.exec(&self.lab.a, &format!("ping -q -n -i 0.01 -c {count} -W 2 10.78.0.2")));
    }

    fn end(mut self) {
        if let Some(driver) = self.driver.take() {
            driver.stop();
        }
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// A running `weir capture`; what it says on its standard error.
struct Capture {
    child: Child,
    said: BufReader<std::process::ChildStderr>,
}

impl Capture {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("capturing on"), "{line}");
        Self { child, said }
    }

    fn signal(&self, name: &str) {
        run(Command::new("kill").args([name, &self.child.id().to_string()]));
    }

    /// Ctrl-C.
    fn end(self) -> String {
        self.signal("-INT");
        self.said()
    }

    /// What it says until it ends.
    fn said(mut self) -> String {
        let mut text = String::new();
        self.said.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text}");
        text
    }
}

fn tcpdump(file: &str, expression: &str) -> Vec<String> {
    let mut command = Command::new("tcpdump");
    command.args(["-n", "-t", "-r", file]).args(expression.split_whitespace()).stderr(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "tcpdump reads {file}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn tshark(file: &str, args: &[&str]) -> Option<String> {
    if Command::new("tshark").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "tshark must be there in CI");
        eprintln!("not compared with tshark: it is not installed");
        return None;
    }
    let output = Command::new("tshark").args(["-n", "-r", file]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn kernel_capture_is_what_passed_and_what_did_not() {
    if !allowed() {
        return;
    }
    let bench = Bench::new("capture");
    let file = bench.file("all.pcapng");
    let capture = Capture::start(bench.weir(&["capture", "-w", &file]));
    bench.ping(20);
    bench.udp(9999, 5);
    bench.ping(1);
    let said = capture.end();
    assert!(said.contains(" 0 lost"), "{said}");
    assert_eq!(tcpdump(&file, "icmp[icmptype] == icmp-echo").len(), 21);
    assert_eq!(tcpdump(&file, "icmp[icmptype] == icmp-echoreply").len(), 21);
    assert_eq!(tcpdump(&file, "udp port 9999").len(), 5);
    if let Some(text) = tshark(&file, &["-Y", "udp.port==9999", "-T", "fields", "-e", "frame.comment"]) {
        let expected = "block (match), rule 1 \"block drop out log quick";
        assert_eq!(text.lines().filter(|line| line.starts_with(expected)).count(), 5, "{text}");
    }
    if let Some(text) = tshark(&file, &["-Y", "icmp.type==8", "-T", "fields", "-e", "frame.packet_flags_direction"]) {
        assert!(text.lines().all(|line| line.contains('2')), "requests go out: {text}");
    }
    // What the kernel measured and what the capture's clock says lie close together.
    if let Some(text) = tshark(&file, &["-T", "fields", "-e", "frame.time_epoch", "-c", "1"]) {
        let seconds: f64 = text.trim().parse().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((0.0..60.0).contains(&(now - seconds)), "{seconds} at {now}");
    }
    bench.end();
}

/// Frames that wait in the rings when Ctrl-C comes.
#[test]
fn kernel_capture_ends_behind_the_last_frame() {
    if !allowed() {
        return;
    }
    let bench = Bench::new("capture-end");
    let file = bench.file("all.pcapng");
    let mut command = bench.weir(&["capture", "-w", &file]);
    command.arg("icmp");
    let capture = Capture::start(command);
    capture.signal("-STOP");
    bench.ping(1);
    run(&mut bench.lab.exec(&bench.lab.a, "ping -q -n -f -c 600 -W 2 10.78.0.2"));
    capture.signal("-INT");
    capture.signal("-CONT");
    let said = capture.said();
    assert!(said.contains("1202 frames captured, ") && said.contains(" 0 lost"), "{said}");
    assert_eq!(tcpdump(&file, "icmp[icmptype] == icmp-echo").len(), 601);
    bench.end();
}

#[test]
fn kernel_capture_takes_expressions_and_cuts() {
    if !allowed() {
        return;
    }
    let bench = Bench::new("expression");
    let (cut, blocked) = (bench.file("cut.pcapng"), bench.file("blocked.pcapng"));
    let args = ["capture", "-w", &cut, "-s", "60", "-Q", "out", "-c", "7"];
    let mut command = bench.weir(&args);
    command.args(["icmp", "and", "dst", "10.78.0.2"]);
    let first = Capture::start(command);
    let second = Capture::start(bench.weir(&["capture", "-w", &blocked, "--verdict", "block"]));
    bench.ping(10);
    bench.udp(9999, 3);
    bench.ping(1);
    let mut first = first;
    assert!(first.child.wait().unwrap().success(), "it ends by itself after seven");
    second.end();
    let lines = tcpdump(&cut, "");
    assert_eq!(lines.len(), 7);
    assert!(lines.iter().all(|line| line.contains("10.78.0.1 > 10.78.0.2: ICMP echo request")), "{lines:?}");
    if let Some(text) = tshark(&cut, &["-T", "fields", "-e", "frame.cap_len", "-e", "frame.len"]) {
        assert!(text.lines().all(|line| line == "60\t98"), "{text}");
    }
    let lines = tcpdump(&blocked, "");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("10.78.0.2.9999: UDP")), "{lines:?}");
    let output = bench.weir(&["capture", "-w", &cut, "no", "such", "thing"]).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("filter"));
    bench.end();
}

#[test]
fn kernel_capture_that_nobody_reads_stalls_nobody() {
    if !allowed() {
        return;
    }
    let bench = Bench::new("slow");
    let file = bench.file("slow.pcapng");
    let capture = Capture::start(bench.weir(&["capture", "-w", &file, "-B", "4"]));
    run(Command::new("kill").args(["-STOP", &capture.child.id().to_string()]));
    run(&mut bench.lab.exec(&bench.lab.a, "ping -q -n -f -c 3000 -W 2 10.78.0.2"));
    let shown = run(&mut bench.weir(&["show", "captures", "--json"]));
    run(Command::new("kill").args(["-CONT", &capture.child.id().to_string()]));
    bench.ping(1);
    let said = capture.end();
    let lost: u64 = said.rsplit(", ").next().unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!(lost > 5000 && lost < 6100, "{said}");
    assert!(shown.contains("\"lost\":"), "{shown}");
    assert!(!tcpdump(&file, "icmp").is_empty());
    bench.end();
}

#[test]
fn kernel_events_are_followed() {
    if !allowed() {
        return;
    }
    let bench = Bench::new("events");
    let mut follower = bench.weir(&["show", "events", "--follow", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    // Until it is there.
    while !run(&mut bench.weir(&["show", "captures"])).contains("events") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    bench.udp(9999, 4);
    for _ in 0..4 {
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains("\"action\":\"block\"") && line.contains("10.78.0.2:9999"), "{line}");
    }
    run(Command::new("kill").args(["-INT", &follower.id().to_string()]));
    assert!(follower.wait().unwrap().success());
    bench.end();
}
