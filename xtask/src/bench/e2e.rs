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

/// What to measure.
#[derive(clap::Args)]
pub struct Args {
    /// Seconds of each iperf3 run.
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Rounds: a run over each path and with each congestion control in turn.
    #[arg(long, default_value_t = 9)]
    repeat: usize,
    /// Queue pairs of the driver.
    #[arg(long, default_value_t = 1)]
    queues: u32,
    /// TCP streams at a time.
    #[arg(long, default_value_t = 1)]
    streams: u32,
    /// The server sends.
    #[arg(long)]
    reverse: bool,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
}

/// Namespaces, forwarder and driver; everything goes when this is dropped.
struct Bed {
    driver: Child,
    forwarder: Child,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.driver.id().to_string()]).status();
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

fn build(queues: u32) -> Result<Bed> {
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
        .args(["run", "--nic", "pair", "--queues", &queues.to_string()])
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

/// What iperf3's receiver counted.
struct Run {
    gbps: f64,
    gigabytes: f64,
}

/// TCP under a congestion control that the kernel knows.
fn throughput((client, server): (&str, &str), args: &Args, congestion: &str) -> Result<Run> {
    let mut listener = Command::new("ip")
        .args(["netns", "exec", server, "iperf3", "-s", "-1"])
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start iperf3")?;
    std::thread::sleep(Duration::from_millis(300));
    let (seconds, streams) = (args.seconds.to_string(), args.streams.to_string());
    let output = Command::new("ip")
        .args(["netns", "exec", client, "iperf3", "-J", "-c", "10.79.0.2", "-C", congestion])
        .args(["-t", &seconds, "-P", &streams])
        .args(args.reverse.then_some("-R"))
        .output()?;
    listener.wait()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).context("iperf3 printed no report")?;
    let received = &report["end"]["sum_received"];
    let number = |key: &str| received[key].as_f64().with_context(|| format!("iperf3 reported no {key} received"));
    Ok(Run { gbps: number("bits_per_second")? / 1e9, gigabytes: number("bytes")? / 1e9 })
}

/// Processor time in seconds that a process's threads have had (`Documentation/scheduler/sched-stats.rst`).
fn busy(pid: u32) -> Result<f64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += text.split_ascii_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum as f64 / 1e9)
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

/// What was measured under one congestion control, by path and round.
struct Rates {
    congestion: String,
    gbps: [Vec<f64>; PATHS.len()],
    /// Processor seconds of what joins the namespaces, per gigabyte; none for veth, whose work its users do.
    cost: [Vec<f64>; PATHS.len()],
}

impl Rates {
    fn new(congestion: String) -> Self {
        Self { congestion, gbps: Default::default(), cost: Default::default() }
    }

    fn median(&self, path: usize) -> f64 {
        self.gbps.get(path).map_or(0.0, |all| median(all.clone()))
    }

    fn cost(&self, path: usize) -> Option<f64> {
        self.cost.get(path).filter(|all| !all.is_empty()).map(|all| median(all.clone()))
    }

    /// Of another path: the median over the rounds, each with its own pair of runs, so that what the machine's neighbours
    /// do and how its scheduler places both ends weighs on both.
    fn ratio(&self, path: usize, of: usize) -> f64 {
        let (Some(these), Some(those)) = (self.gbps.get(path), self.gbps.get(of)) else { return 0.0 };
        median(these.iter().zip(those).filter(|(_, that)| **that > 0.0).map(|(this, that)| this / that).collect())
    }
}

/// Measures and prints.
///
/// # Errors
/// Not root, or a tool failed.
pub fn run(args: &Args) -> Result<()> {
    let (seconds, repeat) = (args.seconds, args.repeat.max(1));
    if !setup::is_root() {
        bail!("namespaces and TAP devices need root");
    }
    let bed = build(args.queues)?;
    let mut rates: Vec<Rates> = congestions()?.into_iter().map(Rates::new).collect();
    let pids = [None, Some(bed.forwarder.id()), Some(bed.driver.id())];
    let mut rtt: [Vec<f64>; PATHS.len()] = Default::default();
    for _ in 0..repeat {
        for rates in &mut rates {
            for (path, ((gbps, cost), pid)) in rates.gbps.iter_mut().zip(&mut rates.cost).zip(pids).enumerate() {
                let before = pid.map(busy).transpose()?;
                let run = throughput(ends(path), args, &rates.congestion)?;
                if let (Some(before), Some(after)) = (before, pid.map(busy).transpose()?) {
                    cost.push((after - before) / run.gigabytes.max(1e-9));
                }
                gbps.push(run.gbps);
            }
        }
        for (path, all) in rtt.iter_mut().enumerate() {
            all.push(round_trip(ends(path).0)?);
        }
    }
    drop(bed);
    let rtt = rtt.map(median);
    if args.json {
        let runs: Vec<_> = rates
            .iter()
            .map(|rates| {
                let mut run = serde_json::json!({ "congestion": rates.congestion });
                for (path, name) in PATHS.iter().enumerate() {
                    run[format!("{name}_gbps")] = rates.median(path).into();
                    run[format!("{name}_ratio")] = rates.ratio(path, 0).into();
                    if let Some(cost) = rates.cost(path) {
                        run[format!("{name}_cpu_s_per_gb")] = cost.into();
                    }
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
    let streams = args.streams;
    println!("iperf3 TCP, streams: {streams}, {repeat} runs of {seconds} s each in turn, median (lowest to highest)");
    for rates in &rates {
        println!("  {}: Weir {:.2} of the forwarder", rates.congestion, rates.ratio(2, 1));
        for (path, name) in PATHS.iter().enumerate() {
            let (low, high) = rates.gbps.get(path).map_or((0.0, 0.0), |all| spread(all));
            let (rate, ratio) = (rates.median(path), rates.ratio(path, 0));
            let cost = rates.cost(path).map_or(String::new(), |cost| format!("   {cost:.2} s of processor per GB"));
            println!("    {name:<9}  {rate:6.2} Gb/s ({low:5.2} to {high:5.2})   {ratio:5.2} of veth{cost}");
        }
    }
    println!("flood ping, mean round trip");
    for (name, rtt) in PATHS.iter().zip(rtt) {
        println!("    {name:<9}  {rtt:6.1} us");
    }
    Ok(())
}
