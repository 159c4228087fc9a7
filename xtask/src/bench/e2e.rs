//! Kernel to kernel: TCP and round trips between two namespaces, over veth and through the driver.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::setup;
use crate::sh;

const NAMES: [&str; 4] = ["weirb-va", "weirb-vb", "weirb-da", "weirb-db"];

/// Namespaces and driver; everything goes when this is dropped.
struct Bed {
    driver: Child,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.driver.id().to_string()]).status();
        let _ = self.driver.wait();
        clean();
    }
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
    let [va, vb, da, db] = NAMES;
    ip(&format!("-n {va} link add w0 type veth peer name w0 netns {vb}"))?;
    let mut driver = Command::new(sh::target_dir().join("release/weir"))
        .args([
            "run",
            "--nic",
            "pair",
            "--stack",
            &format!("tap:w0,netns={da}"),
            "--stack",
            &format!("tap:w0,netns={db}"),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start weir run")?;
    let output = driver.stdout.take().context("weir run has no output")?;
    let mut ready = false;
    let mut lines = BufReader::new(output).lines();
    for line in lines.by_ref() {
        if line? == "ready" {
            ready = true;
            break;
        }
    }
    // Whatever it prints later must not block it.
    std::thread::spawn(move || lines.for_each(drop));
    let bed = Bed { driver };
    if !ready {
        bail!("weir run ended before it was ready");
    }
    for (name, last) in [(va, 1), (vb, 2), (da, 1), (db, 2)] {
        ip(&format!("-n {name} addr add 10.79.0.{last}/24 dev w0"))?;
        ip(&format!("-n {name} link set w0 up"))?;
    }
    std::thread::sleep(Duration::from_millis(500));
    Ok(bed)
}

/// Bits per second that iperf3's receiver counted.
fn throughput(client: &str, server: &str, seconds: u32) -> Result<f64> {
    let mut listener = Command::new("ip")
        .args(["netns", "exec", server, "iperf3", "-s", "-1"])
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start iperf3")?;
    std::thread::sleep(Duration::from_millis(300));
    let output = Command::new("ip")
        .args(["netns", "exec", client, "iperf3", "-J", "-c", "10.79.0.2", "-t", &seconds.to_string()])
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

/// Measures and prints.
///
/// # Errors
/// Not root, or a tool failed.
pub fn run(seconds: u32, repeat: usize, json: bool) -> Result<()> {
    if !setup::is_root() {
        bail!("namespaces and TAP devices need root");
    }
    let bed = build()?;
    let [va, vb, da, db] = NAMES;
    let (mut veth, mut weir, mut veth_rtt, mut weir_rtt) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repeat.max(1) {
        veth.push(throughput(va, vb, seconds)? / 1e9);
        weir.push(throughput(da, db, seconds)? / 1e9);
        veth_rtt.push(round_trip(va)?);
        weir_rtt.push(round_trip(da)?);
    }
    drop(bed);
    let ((veth_low, veth_high), (weir_low, weir_high)) = (spread(&veth), spread(&weir));
    let (veth, weir) = (median(veth), median(weir));
    let (veth_rtt, weir_rtt) = (median(veth_rtt), median(weir_rtt));
    let ratio = if veth > 0.0 { weir / veth } else { 0.0 };
    if json {
        println!(
            "{{\"repeat\":{repeat},\"seconds\":{seconds},\"veth_gbps\":{veth:.3},\"weir_gbps\":{weir:.3},\
             \"ratio\":{ratio:.3},\"veth_rtt_us\":{veth_rtt:.1},\"weir_rtt_us\":{weir_rtt:.1}}}"
        );
    } else {
        println!("iperf3 TCP, one stream, {repeat} runs of {seconds} s each in turn, median (lowest to highest)");
        println!("  veth pair   {veth:6.2} Gb/s ({veth_low:.2} to {veth_high:.2})   flood ping {veth_rtt:6.1} us");
        println!("  weir pair   {weir:6.2} Gb/s ({weir_low:.2} to {weir_high:.2})   flood ping {weir_rtt:6.1} us");
        println!("  ratio       {ratio:6.2}");
    }
    Ok(())
}
