//! `weir demo`: real traffic through the real driver, in under a minute, leaving nothing behind.

mod inprocess;
mod report;
mod traffic;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use weir_host::stack::spec::TapSpec;
use weir_host::stack::tap::{Pump, Tap};
use weir_host::{Host, HostConfig};

use crate::netns::Namespace;
use crate::nic::{Nic, NicOptions, Wire, no_leaks};
use crate::rules;
use report::{Report, Row, rate, short};

/// Arguments of `weir demo`.
#[derive(Args)]
pub struct DemoArgs {
    /// Print one JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// Use the in-process stack even where network namespaces are allowed.
    #[arg(long)]
    in_process: bool,
    /// Queue pairs of each NIC.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    queues: u16,
}

const RULES: &str = include_str!("demo.conf");

/// Runs the demo and prints what it found.
///
/// # Errors
/// The driver did not start, or a tool is missing.
pub fn run(args: &DemoArgs) -> Result<ExitCode> {
    let mut report = if args.in_process {
        inprocess::run(RULES, args.queues)?
    } else {
        match Namespace::new() {
            Ok(left) => kernel(left, args.queues)?,
            Err(error) => {
                eprintln!("weir: {error:#}; using the in-process stack (run as root for the kernel's)");
                inprocess::run(RULES, args.queues)?
            }
        }
    };
    report.setting = format!("weir demo: {}", report.setting);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    } else {
        println!("{}", report.text());
    }
    Ok(if report.problem().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Addresses of the demo: side A, side B, and a host behind B that the rules hide.
const A4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const B4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const HIDDEN4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 66);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
const HIDDEN6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x66);

/// How long something that must not arrive is waited for.
const PATIENCE: Duration = Duration::from_millis(400);

struct Side {
    namespace: Namespace,
    nic: Nic,
}

fn kernel(left: Namespace, queues: u16) -> Result<Report> {
    let mut host = Host::new(HostConfig::threads());
    let image = rules::compile_text("demo.conf", RULES, &[])?;
    let pump = Pump::default();
    let mut side = |namespace: Namespace, index: usize| -> Result<Side> {
        let options = NicOptions { wire: Wire::Pair("demo".into()), queues, instance: index, ..NicOptions::default() };
        let mut nic = Nic::boot(&host, &options)?;
        nic.control().load(&image)?;
        let name = format!("weir{index}");
        let spec = TapSpec {
            name: name.clone(),
            queues: None,
            persist: false,
            netns: Some(namespace.path().to_string_lossy().into_owned()),
            mtu: None,
        };
        let tap = Tap::sharing(spec, &pump);
        nic.attach(&mut host, Box::new(tap))?;
        nic.enable(true)?;
        Ok(Side { namespace, nic })
    };
    let a = side(left, 0)?;
    let b = side(Namespace::new()?, 1)?;
    for (side, name, addresses) in [
        (&a, "weir0", [format!("{A4}/24"), format!("{A6}/64")]),
        (&b, "weir1", [format!("{B4}/24"), format!("{B6}/64")]),
    ] {
        for address in addresses {
            // No duplicate address detection: it would hold the addresses back for a second.
            side.namespace
                .ip(&format!("addr add {address} dev {name}{}", if address.contains(':') { " nodad" } else { "" }))?;
        }
        side.namespace.ip(&format!("link set {name} up"))?;
    }
    b.namespace.ip(&format!("addr add {HIDDEN4}/24 dev weir1"))?;
    b.namespace.ip(&format!("addr add {HIDDEN6}/64 dev weir1 nodad"))?;
    let mut report = Report {
        setting: format!(
            "two network namespaces, joined only by the driver\n  A {A4} {A6} - tap weir0 - {} === {} - tap weir1 - {B4} {B6} B",
            a.nic.name(),
            b.nic.name()
        ),
        ..Report::default()
    };
    let rows = tests(&a.namespace, &b.namespace)?;
    report.rows = rows;
    for side in [a, b] {
        let name = side.nic.name().to_owned();
        let last = side.nic.stop(&mut host).with_context(|| format!("{name} did not stop in order"))?;
        report.nics.push((name, last.rules, last.counters));
    }
    no_leaks(&host.finish())?;
    Ok(report)
}

fn tests(a: &Namespace, b: &Namespace) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, to, size) in [
        ("ping IPv4", IpAddr::V4(B4), 56),
        ("ping IPv4, 1400 bytes", IpAddr::V4(B4), 1400),
        ("ping IPv6", IpAddr::V6(B6), 56),
    ] {
        let echo = traffic::ping(a, to, 200, size, Duration::from_secs(2))?;
        let note = format!("round trip median {}, p99 {}", short(echo.percentile(50)), short(echo.percentile(99)));
        rows.push(Row::new(name, echo.sent, echo.received, false, note));
    }
    for (name, host) in [("UDP echo IPv4", IpAddr::V4(B4)), ("UDP echo IPv6", IpAddr::V6(B6))] {
        let back = traffic::udp_echo(a, b, SocketAddr::new(host, 7777), 200, 512, Duration::from_secs(2))?;
        rows.push(Row::new(name, 200, back, false, "512 bytes each".into()));
    }
    for (name, host, client, server) in [
        ("TCP A to B, 3 s", IpAddr::V4(B4), a, b),
        ("TCP B to A, 3 s", IpAddr::V4(A4), b, a),
        ("TCP IPv6, 2 s", IpAddr::V6(B6), a, b),
    ] {
        let seconds = if host.is_ipv6() { 2 } else { 3 };
        let speed = traffic::tcp_throughput(client, server, SocketAddr::new(host, 5555), Duration::from_secs(seconds))?;
        rows.push(Row::new(name, 1, 1, false, rate(speed)));
    }
    let blocked = |test: &str, sent: u32, passed: u32| Row::new(test, sent, passed, true, "the rules forbid it".into());
    let telnet = traffic::tcp_connects(a, b, SocketAddr::new(B4.into(), 23), PATIENCE)?;
    rows.push(blocked("TCP to port telnet", 1, telnet.into()));
    let telnet = traffic::tcp_connects(a, b, SocketAddr::new(B6.into(), 2323), PATIENCE)?;
    rows.push(blocked("TCP IPv6 to port 2323", 1, telnet.into()));
    let discard = traffic::udp_echo(a, b, SocketAddr::new(B4.into(), 9), 3, 64, PATIENCE / 4)?;
    rows.push(blocked("UDP to port discard", 3, discard));
    for (name, host) in
        [("ping a hidden host, IPv4", IpAddr::V4(HIDDEN4)), ("ping a hidden host, IPv6", IpAddr::V6(HIDDEN6))]
    {
        let echo = traffic::ping(a, host, 3, 56, PATIENCE / 4)?;
        rows.push(blocked(name, echo.sent, echo.received));
    }
    Ok(rows)
}
