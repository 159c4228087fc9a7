//! `weir capture` and `weir events`: what passes a driver that somebody else runs, as it passes.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use weir_capture::{Details, Direction, LinkType, Record, Statistics, Writer};
use weir_core::abi::sys;
use weir_core::mem::tap_ring::{RECORD_LEN, RecordHead, TapMemory, TapReader, TapVerdict};

use crate::capture_filter;
use crate::connect::{Remote, Target, connect, watch};
use crate::control::{Control, Event, RuleCounters, Watch, drop_name, watch_request};
use crate::output::{event_json, event_line};

/// How long to sleep when nothing happens, in case that a notification was lost.
const NAP: Duration = Duration::from_millis(250);
/// How often to ask whether there are other rules.
const RULES: Duration = Duration::from_secs(1);
/// Records of a ring at once.
const BATCH: usize = 4096;
/// Room for events, KiB.
const EVENTS_KIB: u32 = 256;

/// Arguments of `weir capture`.
#[derive(Args)]
pub struct CaptureArgs {
    /// Which frames, in tcpdump's language; without it all.
    #[arg(value_name = "EXPRESSION", trailing_var_arg = true)]
    expression: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// The file; `-` or none is the standard output.
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    write: Option<PathBuf>,
    /// Bytes of each frame; 0 = all.
    #[arg(short = 's', long = "snapshot-length", value_name = "BYTES", default_value_t = 0)]
    snaplen: u32,
    /// Frames that come from the wire, that go to the wire, or both.
    #[arg(short = 'Q', long, value_enum, default_value_t = Ways::Inout)]
    direction: Ways,
    /// Frames that passed, or that were dropped.
    #[arg(long, value_enum, default_value_t = Fate::Any)]
    verdict: Fate,
    /// Only frames that a rule with `dup-to` matched.
    #[arg(long)]
    copies: bool,
    /// Stop after so many frames.
    #[arg(short = 'c', long, value_name = "FRAMES")]
    count: Option<u64>,
    /// Room for frames that wait to be written, KiB for each queue pair; a power of two, 4 to 16384.
    #[arg(short = 'B', long, value_name = "KIB", default_value_t = 4096)]
    buffer: u32,
}

/// Arguments of `weir events`.
#[derive(Args)]
pub struct EventsArgs {
    #[command(flatten)]
    target: Target,
    /// One JSON value a line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ways {
    In,
    Out,
    Inout,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fate {
    Any,
    Pass,
    Block,
}

impl Fate {
    fn wants(self, verdict: TapVerdict) -> bool {
        match self {
            Fate::Any => true,
            Fate::Pass => verdict != TapVerdict::Block,
            Fate::Block => verdict == TapVerdict::Block,
        }
    }
}

/// Ctrl-C and SIGTERM set the flag; a second one ends the process at once.
fn catch_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// A record with the number of records that its ring had lost by then.
struct Taken {
    head: RecordHead,
    ring: usize,
    lost: u64,
    bytes: Vec<u8>,
}

/// Takes what waits in all rings, in the order of time; of each at most a batch, so that it ends.
fn take(rings: &mut [TapReader<'_>], to: &mut Vec<Taken>) -> Result<()> {
    for (number, ring) in rings.iter_mut().enumerate() {
        let mut bytes = Vec::new();
        for _ in 0..BATCH {
            let Some((head, lost)) = ring.next(&mut bytes)? else { break };
            to.push(Taken { head, ring: number, lost, bytes: std::mem::take(&mut bytes) });
        }
    }
    to.sort_by_key(|taken| taken.head.time_ns);
    Ok(())
}

/// Most bytes that can wait in all rings when the end comes: more came after it.
fn to_read(rings: usize, ring_bytes: u32) -> usize {
    rings.saturating_mul(ring_bytes as usize).max(1)
}

/// What is left of them after these, which were all there were if there are none.
fn still_to_read(left: usize, taken: &[Taken]) -> usize {
    let bytes: usize = taken.iter().map(|taken| RECORD_LEN + taken.bytes.len()).sum();
    if taken.is_empty() { 0 } else { left.saturating_sub(bytes) }
}

/// Sleeps until there may be something.
fn sleep(rings: &[TapReader<'_>], watcher: &impl Watch) -> Result<()> {
    // Every ring is asked to wake: no short cut.
    let waiting = rings.iter().filter(|ring| ring.wait()).count();
    if waiting == 0 { watcher.wait(NAP) } else { Ok(()) }
}

/// What to add to the driver's clock for the time since 1970, in nanoseconds.
fn clock_offset(control: &mut Control<Remote>) -> Result<i128> {
    let since = || Ok::<_, anyhow::Error>(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as i128);
    let before = since()?;
    let driver = control.clock()?;
    Ok((before + since()?) / 2 - i128::from(driver))
}

/// The rules' text, looked up anew when there is another ruleset.
struct Rules {
    list: Vec<RuleCounters>,
    epoch: u64,
    asked: Instant,
}

impl Rules {
    fn read(control: &mut Control<Remote>) -> Result<Self> {
        let epoch = control.info()?.epoch;
        Ok(Self { list: control.rules()?, epoch, asked: Instant::now() })
    }

    fn refresh(&mut self, control: &mut Control<Remote>) -> Result<()> {
        if self.asked.elapsed() >= RULES {
            self.asked = Instant::now();
            if control.info()?.epoch != self.epoch {
                *self = Self::read(control)?;
            }
        }
        Ok(())
    }

    /// `block (match), rule 3 "block drop out all"`
    fn comment(&self, head: &RecordHead) -> String {
        let mut text = match head.verdict {
            TapVerdict::Pass => String::from("pass"),
            TapVerdict::Block => format!("block ({})", drop_name(usize::from(head.reason))),
            TapVerdict::Hold => String::from("fragment, held"),
            TapVerdict::Made => String::from("made by the driver"),
            TapVerdict::Void => String::from("not judged"),
        };
        if head.rule != u32::MAX {
            text.push_str(&format!(", rule {}", head.rule));
            if let Some(rule) = self.list.get(head.rule as usize).filter(|rule| !rule.text.is_empty()) {
                text.push_str(&format!(" \"{}\"", rule.text));
            }
        }
        if u32::from(head.flags) & sys::WEIR_TAP_COPY != 0 {
            text.push_str(", dup-to");
        }
        text
    }
}

/// `weir capture`.
///
/// # Errors
/// No driver there, it refused, or the file cannot be written.
pub fn run(args: &CaptureArgs) -> Result<ExitCode> {
    let output: Box<dyn Write> = match &args.write {
        Some(path) if path.as_os_str() != "-" => {
            Box::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        _ if io::stdout().is_terminal() => {
            bail!("a capture is no text: write it with -w FILE, or pipe it into `tshark -r -` or `tcpdump -r -`")
        }
        _ => Box::new(io::stdout()),
    };
    let expression = args.expression.join(" ");
    let program = if expression.is_empty() { Vec::new() } else { capture_filter::instructions(&expression)? };
    let ways = match args.direction {
        Ways::In => sys::WEIR_TAP_IN,
        Ways::Out => sys::WEIR_TAP_OUT,
        Ways::Inout => sys::WEIR_TAP_IN | sys::WEIR_TAP_OUT,
    };
    let kinds = ways | if args.copies { sys::WEIR_TAP_COPIES } else { 0 };
    let ring_bytes = args.buffer.checked_mul(1024).filter(|bytes| bytes.is_power_of_two());
    let ring_bytes = ring_bytes.with_context(|| format!("-B {}: not a power of two", args.buffer))?;

    let mut control = connect(&args.target)?;
    let name = control.info()?.name;
    let mut rules = Rules::read(&mut control)?;
    let offset = clock_offset(&mut control)?;
    let before = control.taps()?;
    let watcher =
        watch(&args.target, &watch_request(kinds, args.snaplen, ring_bytes, &program)).context("cannot capture")?;
    let number = control.taps()?.iter().zip(&before).position(|(now, before)| now.kinds != 0 && before.kinds == 0);
    let memory = watcher.memory().context("the rings' memory is unusable")?;
    let mut rings = TapMemory::open(memory)?.rings;
    let stop = catch_signals()?;

    let mut writer = Writer::new(BufWriter::new(output))?;
    let filter = Some(expression.as_str()).filter(|text| !text.is_empty());
    let interface = writer.add_live_interface(&name, LinkType::ETHERNET, args.snaplen, filter)?;
    writer.flush()?;
    eprintln!("weir: capturing on {name}, Ctrl-C ends it");
    let mut totals = Totals { lost: vec![0; rings.len()], written: 0 };
    let mut taken = Vec::new();
    let full = |totals: &Totals| args.count.is_some_and(|count| totals.written >= count);
    let mut failed = None;
    let mut left = to_read(rings.len(), ring_bytes);
    while left > 0 && !full(&totals) && failed.is_none() {
        // Before the look: what came before Ctrl-C is read on.
        let ends = stop.load(Ordering::Relaxed);
        rules.refresh(&mut control)?;
        take(&mut rings, &mut taken)?;
        if ends {
            left = still_to_read(left, &taken);
        } else if taken.is_empty() {
            sleep(&rings, &watcher)?;
        }
        for record in taken.drain(..) {
            let lost_before = totals.lost_before(&record);
            if full(&totals) || !args.verdict.wants(record.head.verdict) {
                continue;
            }
            let time_ns = u64::try_from(i128::from(record.head.time_ns) + offset).unwrap_or(0);
            let written = writer.write_with(
                &Record {
                    interface,
                    time_ns,
                    original_len: record.head.frame_len as usize,
                    direction: Some(if record.head.direction == 1 { Direction::In } else { Direction::Out }),
                    comment: Some(&rules.comment(&record.head)),
                    bytes: &record.bytes,
                },
                &Details { queue: Some(record.head.queue.into()), lost_before },
            );
            totals.written += 1;
            failed = failed.or(written.err());
        }
        failed = failed.or(writer.flush().err());
    }
    let lost: u64 = rings.iter().map(TapReader::lost).sum();
    let tap = number.and_then(|number| control.taps().ok()?.get(number).copied()).unwrap_or_default();
    let time_ns = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let wanted = tap.kept + lost;
    let statistics = Statistics { time_ns, seen: tap.seen, wanted, lost, written: totals.written };
    if failed.is_none() {
        failed = writer.statistics(interface, &statistics).and_then(|()| writer.flush()).err();
    }
    eprintln!("weir: {} frames captured, {} seen, {lost} lost", totals.written, tap.seen);
    match failed {
        // Who reads has had enough.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Some(error) => Err(error).context("cannot write the capture"),
        None => Ok(ExitCode::SUCCESS),
    }
}

struct Totals {
    lost: Vec<u64>,
    written: u64,
}

impl Totals {
    /// Records that the ring lost between the last one and this.
    fn lost_before(&mut self, record: &Taken) -> u64 {
        let known = self.lost.get_mut(record.ring);
        known.map_or(0, |known| record.lost.saturating_sub(std::mem::replace(known, record.lost)))
    }
}

/// `weir events`.
///
/// # Errors
/// No driver there, or it refused.
pub fn events(args: &EventsArgs) -> Result<ExitCode> {
    follow(&args.target, args.json)
}

/// Shows events until Ctrl-C.
///
/// # Errors
/// As [`events`].
pub fn follow(target: &Target, json: bool) -> Result<ExitCode> {
    let watcher = watch(target, &watch_request(sys::WEIR_TAP_EVENTS, 0, EVENTS_KIB * 1024, &[]))?;
    let memory = watcher.memory().context("the rings' memory is unusable")?;
    let mut rings = TapMemory::open(memory)?.rings;
    let stop = catch_signals()?;
    let mut totals = Totals { lost: vec![0; rings.len()], written: 0 };
    let (mut taken, mut output) = (Vec::new(), io::stdout().lock());
    let mut left = to_read(rings.len(), EVENTS_KIB * 1024);
    while left > 0 {
        let ends = stop.load(Ordering::Relaxed);
        take(&mut rings, &mut taken)?;
        if ends {
            left = still_to_read(left, &taken);
        } else if taken.is_empty() {
            sleep(&rings, &watcher)?;
        }
        for record in taken.drain(..) {
            let lost = totals.lost_before(&record);
            if lost > 0 {
                eprintln!("weir: {lost} events were lost");
            }
            let event = Event::decode(&record.bytes)?;
            let line = if json { event_json(&event).to_string() } else { event_line(&event) };
            if writeln!(output, "{line}").is_err() {
                // Who reads has had enough.
                return Ok(ExitCode::SUCCESS);
            }
        }
        if output.flush().is_err() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    Ok(ExitCode::SUCCESS)
}
