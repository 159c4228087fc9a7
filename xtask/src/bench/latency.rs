//! Round trips of one UDP datagram and one TCP stream, kernel to kernel: over a bare veth pair, over one with rules of
//! nftables, through the driver, and through the driver with the same rules.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::setup;
use crate::sh;

/// What joins each pair of namespaces, and how figures of it are called.
const PATHS: [&str; 4] = ["veth", "nft", "weir", "weir_rules"];

/// Arguments of `bench latency`.
#[derive(clap::Args)]
pub struct Args {
    /// Rules that do not match, before what passes.
    #[arg(long, default_value_t = 1000)]
    rules: u32,
    /// Round trips.
    #[arg(long, default_value_t = 20_000)]
    count: usize,
    /// Seconds of each iperf3 run.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
}

/// Children and namespaces that go when this is dropped.
struct Bed(Vec<Child>);

impl Drop for Bed {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let _ = child.wait();
        }
        clean();
    }
}

fn names(path: usize) -> [String; 2] {
    ["a", "b"].map(|end| format!("weirl-{path}{end}"))
}

fn clean() {
    for name in (0..PATHS.len()).flat_map(names) {
        sh::succeeds(Command::new("ip").args(["netns", "del", &name]));
    }
}

fn ip(args: &str) -> Result<()> {
    sh::run(Command::new("ip").args(args.split_whitespace()))
}

fn inside(name: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", name, program]);
    command
}

/// Starts a program and waits until it says that it is ready.
fn start(command: &mut Command, what: &str) -> Result<Child> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {what}"))?;
    let mut lines = BufReader::new(child.stdout.take().with_context(|| format!("{what} has no output"))?).lines();
    if !lines.by_ref().map_while(Result::ok).any(|line| line == "ready") {
        let _ = child.wait();
        bail!("{what} ended before it was ready");
    }
    // Whatever it prints later must not block it.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(child)
}

/// The same rules twice: addresses of the documentation's nets (RFC 5737), which no packet has, then what passes with its
/// state. States come first on both sides.
fn rules(count: u32) -> (String, String) {
    let (mut pf, mut nft) =
        (String::new(), String::from("table inet f {\nchain i {\ntype filter hook input priority 0;\n"));
    nft.push_str("ct state established,related accept\n");
    for number in 0..count {
        let (addr, port) = (format!("203.0.113.{}", number % 256), 1024 + number / 256);
        let _ = writeln!(pf, "block in quick inet proto udp from {addr} to any port {port}");
        let _ = writeln!(nft, "ip saddr {addr} udp dport {port} drop");
    }
    pf.push_str("pass all\n");
    nft.push_str("accept\n}\n}\n");
    (pf, nft)
}

fn build(count: u32) -> Result<Bed> {
    sh::run(sh::cargo().args(["build", "--quiet", "--release", "-p", "weir-cli"]))?;
    clean();
    let mut bed = Bed(Vec::new());
    let (pf, nft) = rules(count);
    let folder = sh::target_dir();
    let (pf_file, nft_file) = (folder.join("bench-latency.conf"), folder.join("bench-latency.nft"));
    std::fs::write(&pf_file, pf)?;
    std::fs::write(&nft_file, nft)?;
    for (path, name) in PATHS.iter().enumerate() {
        let [a, b] = names(path);
        for name in [&a, &b] {
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        if name.starts_with("weir") {
            let mut command = Command::new(folder.join("release/weir"));
            command.args(["run", "--nic", "pair"]);
            command.args(["--stack", &format!("tap:w0,netns={a}"), "--stack", &format!("tap:w0,netns={b}")]);
            if name.ends_with("rules") {
                command.arg("-f").arg(&pf_file);
            }
            bed.0.push(start(&mut command, "weir run")?);
        } else {
            ip(&format!("-n {a} link add w0 type veth peer name w0 netns {b}"))?;
            for name in [&a, &b].into_iter().filter(|_| *name == "nft") {
                sh::run(inside(name, "nft").arg("-f").arg(&nft_file))?;
            }
        }
        for (name, last) in [(&a, 1), (&b, 2)] {
            ip(&format!("-n {name} addr add 10.79.1.{last}/24 dev w0"))?;
            ip(&format!("-n {name} link set w0 up"))?;
        }
        let this = std::env::current_exe()?;
        let mut echo = inside(&b, &this.to_string_lossy());
        bed.0.push(start(echo.args(["bench", "latency-echo"]), "the echo")?);
    }
    std::thread::sleep(Duration::from_millis(500));
    Ok(bed)
}

/// Sends every datagram back; the driver of the benchmark ends it.
///
/// # Errors
/// A socket that fails.
pub fn echo() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:7007")?;
    println!("ready");
    let mut bytes = [0; 2048];
    loop {
        let (len, from) = socket.recv_from(&mut bytes)?;
        socket.send_to(bytes.get(..len).unwrap_or_default(), from)?;
    }
}

/// Prints the round trips' distribution.
///
/// # Errors
/// A socket that fails, or hardly an answer.
pub fn ask(count: usize) -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect("10.79.1.2:7007")?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let (mut times, mut lost) = (Vec::new(), 0);
    let mut bytes = [0; 64];
    for number in 0..count + count / 10 {
        let started = Instant::now();
        socket.send(&[0x5a; 64])?;
        match socket.recv(&mut bytes) {
            // The first tenth warms up.
            Ok(_) if number >= count / 10 => times.push(started.elapsed().as_nanos() as f64 / 1e3),
            Ok(_) => {}
            Err(_) => lost += 1,
        }
        if lost > 100 {
            bail!("100 datagrams were lost");
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get(((times.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or(0.0);
    println!(
        "{}",
        json!({ "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": at(1.0), "lost": lost })
    );
    Ok(())
}

fn json_of(command: &mut Command) -> Result<Value> {
    let output = command.output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no JSON came; it said: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Measures and prints.
///
/// # Errors
/// Not root, or a tool failed.
pub fn run(args: &Args) -> Result<()> {
    if !setup::is_root() {
        bail!("namespaces and TAP devices need root");
    }
    if !sh::has("nft") {
        bail!("nft is missing: `apt-get install nftables`");
    }
    let bed = build(args.rules)?;
    let this = std::env::current_exe()?;
    let mut all = json!({ "rules": args.rules, "count": args.count, "seconds": args.seconds });
    for (path, name) in PATHS.iter().enumerate() {
        let [client, server] = names(path);
        let mut ask = inside(&client, &this.to_string_lossy());
        let trips = json_of(ask.args(["bench", "latency-ask", &args.count.to_string()])).context(*name)?;
        let mut listener = inside(&server, "iperf3")
            .args(["-s", "-1"])
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start iperf3")?;
        std::thread::sleep(Duration::from_millis(300));
        let seconds = args.seconds.to_string();
        let stream = json_of(inside(&client, "iperf3").args(["-J", "-c", "10.79.1.2", "-t", &seconds]));
        let _ = listener.kill();
        let _ = listener.wait();
        let bits = stream?.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
        for at in ["p50", "p90", "p99", "p999", "max"] {
            all[format!("{name}_{at}_us")] = trips.get(at).cloned().unwrap_or_default();
        }
        all[format!("{name}_lost")] = trips.get("lost").cloned().unwrap_or_default();
        all[format!("{name}_gbps")] = bits.map(|bits| bits / 1e9).into();
    }
    drop(bed);
    if args.json {
        println!("{all}");
        return Ok(());
    }
    println!("UDP round trips of 64 bytes, us; one TCP stream, Gb/s; {} rules where there are rules", args.rules);
    println!("{:<12}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}", "", "50 %", "90 %", "99 %", "99.9 %", "worst", "Gb/s");
    for name in PATHS {
        let of = |key: &str| all.get(format!("{name}_{key}")).and_then(Value::as_f64).unwrap_or(0.0);
        let cells = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us", "gbps"].map(|key| format!("{:>9.1}", of(key)));
        println!("{name:<12}{}", cells.concat());
    }
    Ok(())
}
