//! Kernel to kernel: TCP and round trips between two namespaces, over veth, through the least program that joins two TAP
//! interfaces, and through the driver.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::setup;
use crate::sh;

const NAMES: [&str; 6] = ["weirb-va", "weirb-vb", "weirb-fa", "weirb-fb", "weirb-da", "weirb-db"];
/// What joins each pair of `NAMES`.
const PATHS: [&str; 3] = ["veth", "forwarder", "weir"];

/// Namespaces, forwarder and driver; everything goes when this is dropped.
struct Bed {
    driver: Child,
    forwarder: Child,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.driver.id().to_string()]).status();
        let _ = self.driver.wait();
        let _ = self.forwarder.kill();
        let _ = self.forwarder.wait();
        clean();
    }
}

/// The namespaces of a path: client, server.
fn ends(path: usize) -> (&'static str, &'static str) {
    NAMES.get(2 * path).zip(NAMES.get(2 * path + 1)).map_or(("", ""), |(client, server)| (client, server))
}

/// Reads a child's output until it says that it is ready, and goes on reading, so that it never blocks.
fn ready(child: &mut Child, what: &str) -> Result<()> {
    let output = child.stdout.take().with_context(|| format!("{what} has no output"))?;
    let mut lines = BufReader::new(output).lines();
    let found = lines.by_ref().map_while(std::result::Result::ok).any(|line| line == "ready");
    std::thread::spawn(move || lines.for_each(drop));
    if !found {
        bail!("{what} ended before it was ready");
    }
    Ok(())
}

fn clean() {
    for name in NAMES {
        sh::succeeds(Command::new("ip").args(["netns", "del", name]));
    }
}

fn ip(args: &str) -> Result<()> {
    sh::run(Command::new("ip").args(args.split_whitespace()))
}

fn build() -> Result<Bed> {
    sh::run(sh::cargo().args(["build", "--quiet", "--release", "-p", "weir-cli"]))?;
    clean();
    for name in NAMES {
        ip(&format!("netns add {name}"))?;
        ip(&format!("-n {name} link set lo up"))?;
    }
    let ((va, vb), (fa, fb), (da, db)) = (ends(0), ends(1), ends(2));
    ip(&format!("-n {va} link add w0 type veth peer name w0 netns {vb}"))?;
    let program = sh::target_dir().join("release/weir-bench-forward");
    sh::run(Command::new("cc").args(["-O2", "-pthread", "xtask/bench/src/peer/forward.c", "-o"]).arg(&program))?;
    let mut forwarder = Command::new(&program)
        .args([fa, fb, "w0"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the forwarder")?;
    let joined = ready(&mut forwarder, "the forwarder");
    let driver = Command::new(sh::target_dir().join("release/weir"))
        .args(["run", "--nic", "pair"])
        .args(["--stack", &format!("tap:w0,netns={da}"), "--stack", &format!("tap:w0,netns={db}")])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start weir run")?;
    let mut bed = Bed { driver, forwarder };
    joined?;
    ready(&mut bed.driver, "weir run")?;
    for (at, name) in NAMES.iter().enumerate() {
        ip(&format!("-n {name} addr add 10.79.0.{}/24 dev w0", at % 2 + 1))?;
        ip(&format!("-n {name} link set w0 up"))?;
    }
    std::thread::sleep(Duration::from_millis(500));
    Ok(bed)
}

/// Bits per second that iperf3's receiver counted, under a congestion control that the kernel knows.
fn throughput((client, server): (&str, &str), seconds: u32, congestion: &str) -> Result<f64> {
    let mut listener = Command::new("ip")
        .args(["netns", "exec", server, "iperf3", "-s", "-1"])
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start iperf3")?;
    std::thread::sleep(Duration::from_millis(300));
    let output = Command::new("ip")
        .args([
            "netns",
            "exec",
            client,
            "iperf3",
            "-J",
            "-c",
            "10.79.0.2",
            "-t",
            &seconds.to_string(),
            "-C",
            congestion,
        ])
        .output()?;
    listener.wait()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // The last bits_per_second of the report is sum_received's, or cpu figures follow it.
    let received = text.split("\"sum_received\"").nth(1).context("iperf3 reported no received sum")?;
    let value = received.split("\"bits_per_second\":").nth(1).context("iperf3 reported no throughput")?;
    let number: String =
        value.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.' || *c == 'e' || *c == '+').collect();
    number.parse().context("iperf3's throughput is not a number")
}

/// Mean round-trip time in microseconds of 2000 flood pings.
fn round_trip(client: &str) -> Result<f64> {
    let output = Command::new("ip")
        .args(["netns", "exec", client, "ping", "-q", "-f", "-n", "-c", "2000", "10.79.0.2"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mean =
        text.split(" = ").nth(1).and_then(|numbers| numbers.split('/').nth(1)).context("ping printed no times")?;
    Ok(mean.parse::<f64>()? * 1000.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(*value), high.max(*value)))
}

/// The congestion controls to measure: the one that this machine uses, and CUBIC, which macOS and most Linux systems
/// use. The choice matters: BBR paces with a timer of its own, and on a virtual machine each one costs an exit.
fn congestions() -> Result<Vec<String>> {
    let own = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")
        .context("no tcp_congestion_control in /proc/sys")?;
    let mut all = vec![own.trim().to_owned()];
    if all.iter().all(|name| name != "cubic") {
        all.push("cubic".into());
    }
    Ok(all)
}

/// Medians and spreads of one congestion control, by path.
struct Rates {
    congestion: String,
    gbps: [Vec<f64>; PATHS.len()],
}

impl Rates {
    fn median(&self, path: usize) -> f64 {
        self.gbps.get(path).map_or(0.0, |all| median(all.clone()))
    }

    /// Of the bare veth pair.
    fn ratio(&self, path: usize) -> f64 {
        let veth = self.median(0);
        if veth > 0.0 { self.median(path) / veth } else { 0.0 }
    }
}

/// Measures and prints.
///
/// # Errors
/// Not root, or a tool failed.
pub fn run(seconds: u32, repeat: usize, json: bool) -> Result<()> {
    if !setup::is_root() {
        bail!("namespaces and TAP devices need root");
    }
    let bed = build()?;
    let mut rates: Vec<Rates> =
        congestions()?.into_iter().map(|congestion| Rates { congestion, gbps: Default::default() }).collect();
    let mut rtt: [Vec<f64>; PATHS.len()] = Default::default();
    for _ in 0..repeat.max(1) {
        for rates in &mut rates {
            for (path, all) in rates.gbps.iter_mut().enumerate() {
                all.push(throughput(ends(path), seconds, &rates.congestion)? / 1e9);
            }
        }
        for (path, all) in rtt.iter_mut().enumerate() {
            all.push(round_trip(ends(path).0)?);
        }
    }
    drop(bed);
    let rtt = rtt.map(median);
    if json {
        let runs: Vec<_> = rates
            .iter()
            .map(|rates| {
                let mut run = serde_json::json!({ "congestion": rates.congestion });
                for (path, name) in PATHS.iter().enumerate() {
                    run[format!("{name}_gbps")] = rates.median(path).into();
                    run[format!("{name}_ratio")] = rates.ratio(path).into();
                }
                run
            })
            .collect();
        let mut all = serde_json::json!({ "repeat": repeat, "seconds": seconds, "throughput": runs });
        for (name, rtt) in PATHS.iter().zip(rtt) {
            all[format!("{name}_rtt_us")] = rtt.into();
        }
        println!("{all}");
        return Ok(());
    }
    println!("iperf3 TCP, one stream, {repeat} runs of {seconds} s each in turn, median (lowest to highest)");
    for rates in &rates {
        println!("  {}", rates.congestion);
        for (path, name) in PATHS.iter().enumerate() {
            let (low, high) = rates.gbps.get(path).map_or((0.0, 0.0), |all| spread(all));
            let (rate, ratio) = (rates.median(path), rates.ratio(path));
            println!("    {name:<9}  {rate:6.2} Gb/s ({low:5.2} to {high:5.2})   {ratio:5.2} of veth");
        }
    }
    println!("flood ping, mean round trip");
    for (name, rtt) in PATHS.iter().zip(rtt) {
        println!("    {name:<9}  {rtt:6.1} us");
    }
    Ok(())
}
