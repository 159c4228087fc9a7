//! `weir replay`: a capture through the driver, in virtual time that follows the capture.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use weir_capture::link::{LinkType, to_ethernet};
use weir_capture::{Direction, Reader, Record, Writer};

use weir_host::port::{Offload, Port, RxFrame, Sink};
use weir_host::wire::{ClientLink, Direct, WireLink};
use weir_host::{Host, HostConfig};

use crate::RuleArgs;
use crate::local::Local;
use crate::nic::{Nic, NicOptions, Wire, entitlements, no_leaks};
use crate::output::rule_json;
use crate::{capture_filter, rules};

/// Arguments of `weir replay`.
#[derive(Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    rules: RuleArgs,
    /// Capture to send through the driver: pcap or pcapng.
    #[arg(short, long, value_name = "FILE")]
    input: PathBuf,
    /// Send only the frames that this tcpdump expression names, such as `tcp port 443`.
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Write the frames that passed, as pcapng.
    #[arg(short = 'w', long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Addresses (MAC, IPv4, IPv6) of this machine: frames from them go out, all others come in.
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    local: Vec<String>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Chooses the schedule; the same seed gives the same run, bit for bit.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Frames that came through, in order.
#[derive(Default)]
struct Passed(Mutex<Vec<Vec<u8>>>);

impl Sink for Passed {
    fn deliver(&self, _queue: usize, frames: &[RxFrame<'_>]) {
        if let Ok(mut passed) = self.0.lock() {
            passed.extend(frames.iter().map(|frame| frame.bytes.to_vec()));
        }
    }
}

/// What the capture made of it.
#[derive(Default)]
struct Totals {
    frames: u64,
    /// Frames that never reached the driver, by reason.
    refused: BTreeMap<&'static str, u64>,
    /// Why reading ended early.
    defect: Option<String>,
}

/// Runs the capture through the driver.
///
/// # Errors
/// The capture or the rules cannot be read, or the driver did not start or stop in order. A capture that ends in the
/// middle of a record is replayed as far as it goes; that makes the exit code 2.
pub fn run(args: &ReplayArgs) -> Result<ExitCode> {
    let image = rules::compile(&args.rules)?;
    let local = Local::parse(&args.local)?;
    let filter = args.filter.as_deref().map(capture_filter::compile).transpose()?;
    let mut reader = Reader::open(&args.input)?;
    let mut output = args.write.as_deref().map(Output::create).transpose()?;

    let mut host = Host::new(HostConfig::simulated(args.seed));
    let options = NicOptions {
        wire: Wire::Client,
        mtu: crate::explain::MTU_MAX,
        mtu_max: crate::explain::MTU_MAX,
        offloads: false,
        mac: Some([0x02, 0, 0, 0, 0, 1]),
        seed: Some(args.seed),
        ..NicOptions::default()
    };
    let mut nic = Nic::boot(&host, &options)?;
    if let Some(image) = &image {
        nic.control().load(image)?;
    }
    let link: Arc<dyn WireLink> = ClientLink::open(nic.service(), entitlements()).context("cannot open the wire")?;
    let mut wire = Direct::open(&link, false)?;
    let port = nic.port()?;
    let passed = Arc::new(Passed::default());
    port.set_sink(Some(Arc::clone(&passed) as Arc<dyn Sink>));
    nic.enable(true)?;
    nic.service().set_promiscuous(true).context("the driver refused promiscuous mode")?;
    host.run_until_idle();

    let mut totals = Totals::default();
    let mut scratch = Vec::new();
    let mut first = None;
    let mut clock = host.now_ns();
    let start = clock;
    loop {
        let frame = match reader.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(error) => {
                totals.defect = Some(format!("{}: {error}", args.input.display()));
                break;
            }
        };
        totals.frames += 1;
        // Captures are not always in order; time is.
        let epoch = *first.get_or_insert(frame.time_ns);
        clock = clock.max(start.saturating_add(frame.time_ns.saturating_sub(epoch)));
        let Some(ethernet) = to_ethernet(frame.link, frame.bytes, &mut scratch) else {
            *totals.refused.entry("link-type").or_default() += 1;
            continue;
        };
        let cut = frame.original_len.saturating_sub(frame.bytes.len());
        if filter.as_ref().is_some_and(|filter| filter.run(ethernet, ethernet.len() + cut) == 0) {
            *totals.refused.entry("filter").or_default() += 1;
            continue;
        }
        host.advance_to(clock);
        let out = local.sent(ethernet);
        let accepted = if out { transmit(&*port, ethernet) } else { wire.send(ethernet, &Offload::default()) };
        if !accepted {
            // In virtual time everything before it was taken, so that only its length can keep a frame out.
            let longest =
                if out { port.tx_alloc().map_or(0, |mut frame| frame.buffer().len()) } else { wire.frame_max() };
            let reason = match ethernet.len() {
                0 => "runt",
                len if len > longest => "giant",
                _ => "no-buffer",
            };
            *totals.refused.entry(reason).or_default() += 1;
            continue;
        }
        host.run_until_idle();
        let time_ns = frame.time_ns;
        let sink = RefCell::new(output.as_mut());
        let write = |direction, bytes: &[u8]| match sink.borrow_mut().as_mut() {
            Some(output) => output.write(time_ns, direction, bytes),
            None => Ok(()),
        };
        let mut failed = None;
        wire.receive(|bytes, _| failed = write(Direction::Out, bytes).err().or(failed.take()));
        if let Ok(mut frames) = passed.0.lock() {
            for frame in frames.drain(..) {
                write(Direction::In, &frame)?;
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
    host.run_until_idle();
    drop(wire);
    drop(link);
    port.set_sink(None);
    drop(port);
    let last = nic.stop(&mut host)?;
    if let Some(output) = output {
        output.finish()?;
    }
    no_leaks(&host.finish())?;
    Ok(print(args, &totals, &last))
}

fn transmit(port: &dyn Port, bytes: &[u8]) -> bool {
    let Some(mut frame) = port.tx_alloc() else { return false };
    let Some(room) = frame.buffer().get_mut(..bytes.len()) else { return false };
    room.copy_from_slice(bytes);
    frame.finish(bytes.len(), Offload::default());
    let mut frames = vec![frame];
    port.tx_submit(0, &mut frames);
    frames.is_empty()
}

struct Output(Writer<BufWriter<File>>, u32);

impl Output {
    fn create(path: &std::path::Path) -> Result<Self> {
        let mut writer = Writer::create(path)?;
        let interface = writer.add_interface("weir0", LinkType::ETHERNET)?;
        Ok(Self(writer, interface))
    }

    fn write(&mut self, time_ns: u64, direction: Direction, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write(&Record {
            interface: self.1,
            time_ns,
            original_len: bytes.len(),
            direction: Some(direction),
            comment: None,
            bytes,
        })?)
    }

    fn finish(self) -> Result<()> {
        self.0.finish()?;
        Ok(())
    }
}

fn print(args: &ReplayArgs, totals: &Totals, last: &crate::nic::Last) -> ExitCode {
    let counters = &last.counters;
    let mut dropped: BTreeMap<&str, u64> = totals.refused.clone();
    for transmit in [false, true] {
        for (reason, count) in counters.dropped(transmit) {
            *dropped.entry(reason).or_default() += count;
        }
    }
    let delivered = counters.get("rx_delivered") + counters.get("tx_sent");
    let consumed = counters.get("rx_consumed") + counters.get("tx_consumed");
    let held = counters.get("rx_held") + counters.get("tx_held") + counters.get("tx_in_flight");
    let ended = delivered + consumed + held + dropped.values().sum::<u64>();
    let accounting = match counters.check() {
        Err(error) => format!("{error:#}"),
        Ok(()) if ended != totals.frames => format!("{} frames came, {ended} ended", totals.frames),
        Ok(()) => "ok".to_owned(),
    };
    if args.json {
        let value = json!({
            "frames": totals.frames, "delivered": delivered, "consumed": consumed, "held": held, "dropped": dropped,
            "rules": last.rules.iter().map(rule_json).collect::<Vec<_>>(), "accounting": accounting,
        });
        println!("{value}");
    } else {
        println!(
            "{}: {} frames, {delivered} delivered, {consumed} consumed, {held} held",
            args.input.display(),
            totals.frames
        );
        for (reason, count) in &dropped {
            println!("dropped {reason}: {count}");
        }
        for rule in &last.rules {
            println!("@{} {}", rule.number, rule.text);
            println!(
                "  [ Evaluations: {:<9} Packets: {:<9} Bytes: {:<11} ]",
                rule.evaluations, rule.packets, rule.bytes
            );
        }
        println!("accounting: {accounting}");
    }
    if let Some(defect) = &totals.defect {
        eprintln!("weir: {defect}");
    }
    match (accounting.as_str(), &totals.defect) {
        ("ok", None) => ExitCode::SUCCESS,
        ("ok", Some(_)) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}
