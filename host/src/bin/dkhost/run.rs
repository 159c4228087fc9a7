//! `dkhost run`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use weir_host::port::{Mode, StackCounters};
use weir_host::{FaultPlan, Host, HostConfig, LogConfig, Prop, Properties, Service, stack};

use crate::args::RunArgs;

const FAILED: u8 = 1;
const UNCLEAN: u8 = 3;
/// How often a run is looked at: for signals, and for the end of a capture.
const TICK: Duration = Duration::from_millis(50);
/// How long frames still have after the end of a capture, in the runtime's time.
const DRAIN: Duration = Duration::from_millis(200);

/// Runs a driver as `args` say.
pub fn run(args: &RunArgs) -> ExitCode {
    // Before any thread: they all inherit the mask, and one of our own waits for the signals.
    let signals = match signals() {
        Ok(signals) => signals,
        Err(e) => return failed(format_args!("signals: {e}")),
    };
    let base = if args.simulate { HostConfig::simulated(args.seed) } else { HostConfig::threads() };
    let mut host = Host::new(HostConfig {
        faults: FaultPlan { inject: args.fail.clone(), record: args.list_calls },
        log: LogConfig { print: args.log, ..LogConfig::default() },
        ..base
    });
    let outcome = session(&mut host, args, &signals);
    if args.list_calls {
        for (name, count) in host.fault_points() {
            println!("call {name} {count}");
        }
    }
    for fault in host.fault_hits() {
        println!("failed on demand: {}:{}", fault.name, fault.count);
    }
    if args.simulate {
        let (hash, events) = host.trace_hash();
        println!("trace: {hash:016x}, {events} events");
    }
    let report = host.finish();
    println!("leaks: {} objects", report.leaks.len());
    let clean = match outcome {
        Ok(clean) => clean,
        Err(text) => return failed(format_args!("{text}")),
    };
    if clean && (report.leaks.is_empty() || !args.strict_leaks) { ExitCode::SUCCESS } else { ExitCode::from(UNCLEAN) }
}

fn failed(what: std::fmt::Arguments<'_>) -> ExitCode {
    eprintln!("dkhost: {what}");
    ExitCode::from(FAILED)
}

/// SIGINT and SIGTERM, as messages.
fn signals() -> Result<Receiver<Signal>, Box<dyn std::error::Error>> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block()?;
    let (sender, receiver) = channel();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        while let Ok(signal) = set.wait() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// From boot to Stop. True when the driver ended in order.
fn session(host: &mut Host, args: &RunArgs, signals: &Receiver<Signal>) -> Result<bool, String> {
    let dext = args.dext.display();
    let classes = host.load_dext(&args.dext).map_err(|e| format!("{dext}: {e}"))?;
    if !classes.contains(&args.class) {
        return Err(format!("{dext} has no class {}; it has {}", args.class, classes.join(", ")));
    }
    let service = match args.provider.as_ref() {
        None => host.boot(&args.class, properties(args)),
        Some(spec) => host.boot_on(&args.class, properties(args), spec.open()?),
    };
    let service = service.map_err(|e| e.to_string())?;
    let attached = attach(host, &service, args);
    let waited = attached.inspect(|_| wait(host, args, signals));
    let outcome = waited.map(|id| (service.set_enabled(false), host.detach(id).unwrap_or_default()));
    let counters = service.counters();
    let report = service.terminate();
    let (disabled, moved) = outcome?;
    if let Ok(c) = counters {
        println!(
            "interface: in {} packets {} bytes, out {} packets {} bytes, errors in {} out {}, dropped {}",
            c.packets_in, c.bytes_in, c.packets_out, c.bytes_out, c.errors_in, c.errors_out, c.dropped
        );
    }
    print_stack(&moved);
    if let Err(e) = disabled {
        eprintln!("dkhost: disabling the interface: {e}");
    }
    let finished = if report.finished { "finished" } else { "did not finish" };
    let freed = if report.freed { "freed" } else { "still held" };
    println!("stop: {}, {finished}, object {freed}, {} packets leaked", report.stop, report.leaked_packets);
    Ok(report.finished && report.leaked_packets == 0 && report.stop.ok().is_ok() && disabled.is_ok())
}

fn print_stack(moved: &StackCounters) {
    println!(
        "stack: sent {} frames {} bytes, received {} frames {} bytes, dropped sending {} receiving {}",
        moved.sent, moved.sent_bytes, moved.received, moved.received_bytes, moved.send_dropped, moved.receive_dropped
    );
}

fn properties(args: &RunArgs) -> Properties {
    let mut properties = Properties::new();
    for (path, value) in &args.property {
        insert(&mut properties, path, value);
    }
    properties
}

fn insert(into: &mut Properties, path: &str, value: &Prop) {
    match path.split_once('/') {
        None => {
            into.insert(path.to_owned(), value.clone());
        }
        Some((outer, rest)) => {
            let entry = into.entry(outer.to_owned()).or_default();
            if !matches!(entry, Prop::Dict(_)) {
                *entry = Prop::Dict(Properties::new());
            }
            if let Prop::Dict(inner) = entry {
                insert(inner, rest, value);
            }
        }
    }
}

fn attach(host: &mut Host, service: &Service, args: &RunArgs) -> Result<u64, String> {
    if service.port().is_err() {
        return Err(format!("{} started, but registered no Ethernet interface to attach the stack to", args.class));
    }
    let mode = if args.simulate { Mode::Simulated } else { Mode::Threads };
    let stack = stack::open(&args.stack, mode).map_err(|e| e.to_string())?;
    let id = host.attach(service, stack).map_err(|e| e.to_string())?;
    if let Some(path) = &args.control {
        let own = nix::unistd::getuid().as_raw();
        let granted: Properties = args.entitlement.iter().map(|key| (key.clone(), Prop::Bool(true))).collect();
        let policy = Arc::new(move |uid: u32| (uid == own || uid == 0).then(|| granted.clone()));
        host.listen(path, policy).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    service.set_enabled(true).map_err(|e| format!("the driver refused to enable the interface: {e}"))?;
    if let Ok(port) = service.port() {
        let info = port.info();
        let mac = info.mac.map(|byte| format!("{byte:02x}")).join(":");
        println!(
            "{}: {mac}, MTU {} of {}, {} TX queues, assists {:#x}",
            info.bsd_name, info.mtu, info.mtu_max, info.tx_queues, info.hw_assists
        );
    }
    Ok(id)
}

/// Stays until a signal, the given time, or the end of all that an attachment sends by itself.
fn wait(host: &Host, args: &RunArgs, signals: &Receiver<Signal>) {
    let start_ns = host.now_ns();
    let start = Instant::now();
    let mut drained = false;
    loop {
        let passed = if args.simulate { Duration::from_nanos(host.now_ns() - start_ns) } else { start.elapsed() };
        let left = args.duration.map(|limit| limit.saturating_sub(passed));
        if left.is_some_and(|left| left.is_zero()) || drained {
            return;
        }
        let mut step = left.map_or(TICK, |left| left.min(TICK));
        if host.attachments_finished() && args.duration.is_none() {
            (step, drained) = (DRAIN, true);
        }
        if args.simulate {
            host.advance(step);
            step = Duration::ZERO;
        }
        match signals.recv_timeout(step) {
            Err(RecvTimeoutError::Timeout) => {}
            // A second signal while the driver stops has nobody to receive it: Stop has its own limit.
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
