//! The demo without privileges: two in-process TCP/IP stacks in place of the kernel's.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Result;
use weir_host::port::Mode;
use weir_host::stack::smoltcp::{Client, Smoltcp, echo};
use weir_host::stack::spec::SmoltcpSpec;
use weir_host::{Host, HostConfig};

use super::report::{Report, Row, rate, short};
use super::{A4, A6, B4, B6, HIDDEN4, HIDDEN6};
use crate::nic::{Nic, NicOptions, Wire, no_leaks};
use crate::rules;

/// How long any one test may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Bytes of the bulk transfer.
const BULK: u64 = 64 << 20;

/// Runs the demo.
///
/// # Errors
/// The driver did not start or stop, or a stack gave up.
pub fn run(text: &str, queues: u16) -> Result<Report> {
    let mut host = Host::new(HostConfig::threads());
    let image = rules::compile_text("demo.conf", text, &[])?;
    let mut nics = Vec::new();
    let mut clients = Vec::new();
    let sides = [
        vec![(IpAddr::V4(A4), 24), (A6.into(), 64)],
        vec![(IpAddr::V4(B4), 24), (B6.into(), 64), (HIDDEN4.into(), 24), (HIDDEN6.into(), 64)],
    ];
    for (instance, addresses) in sides.into_iter().enumerate() {
        let options = NicOptions { wire: Wire::Pair("demo".into()), queues, instance, ..NicOptions::default() };
        let mut nic = Nic::boot(&host, &options)?;
        nic.control().load(&image)?;
        let stack = Smoltcp::new(SmoltcpSpec { addresses, gateways: Vec::new() }, Mode::Threads);
        clients.push(stack.client());
        nic.attach(&mut host, Box::new(stack))?;
        nic.enable(true)?;
        nics.push(nic);
    }
    let names: Vec<String> = nics.iter().map(|nic| nic.name().to_owned()).collect();
    let mut report = Report {
        setting: format!(
            "two in-process TCP/IP stacks, joined only by the driver\n  A {A4} {A6} - {} B {B4} {B6}",
            names.join(" === ")
        ),
        ..Report::default()
    };
    if let Some(a) = clients.first() {
        report.rows = tests(a)?;
    }
    drop(clients);
    for (nic, name) in nics.into_iter().zip(names) {
        let last = nic.stop(&mut host)?;
        report.nics.push((name, last.rules, last.counters));
    }
    no_leaks(&host.finish())?;
    Ok(report)
}

fn tests(a: &Client) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, to) in [("ping IPv4", IpAddr::V4(B4)), ("ping IPv6", B6.into())] {
        let report = a.ping(to, 200, Duration::from_millis(2)).wait(LIMIT)?;
        let mut times = report.rtt_ns;
        times.sort_unstable();
        let median = Duration::from_nanos(times.get(times.len() / 2).copied().unwrap_or_default());
        rows.push(Row::new(name, report.sent, report.received, false, format!("round trip median {}", short(median))));
    }
    for (name, to) in [("UDP echo IPv4", IpAddr::V4(B4)), ("UDP echo IPv6", B6.into())] {
        let report = a.udp_exchange(echo(to), 200, 512, 1).wait(LIMIT)?;
        rows.push(Row::new(name, report.sent, report.received, false, "512 bytes each".into()));
    }
    for (name, to) in [("TCP IPv4, 64 MiB", IpAddr::V4(B4)), ("TCP IPv6, 64 MiB", B6.into())] {
        let start = Instant::now();
        let report =
            a.tcp_transfer(SocketAddr::new(to, weir_host::stack::smoltcp::DISCARD_PORT), BULK, 1).wait(LIMIT * 3)?;
        let speed = report.bytes as f64 / start.elapsed().as_secs_f64();
        rows.push(Row::new(name, 1, u32::from(report.bytes == BULK), false, rate(speed)));
    }
    let forbidden = "the rules forbid it";
    let telnet = a.tcp_transfer(SocketAddr::new(B4.into(), 23), 1, 1).wait(Duration::from_millis(400));
    // Nobody listens there: an answer, even a refusal, would mean that the segment passed.
    let answered = telnet.as_ref().map_or_else(|error| error.kind() != ErrorKind::TimedOut, |_| true);
    rows.push(Row::new("TCP to port telnet", 1, u32::from(answered), true, forbidden.into()));
    for (name, to) in [("ping a hidden host, IPv4", IpAddr::V4(HIDDEN4)), ("ping a hidden host, IPv6", HIDDEN6.into())]
    {
        let report = a.ping(to, 3, Duration::from_millis(10)).wait(LIMIT)?;
        rows.push(Row::new(name, report.sent, report.received, true, forbidden.into()));
    }
    Ok(rows)
}
