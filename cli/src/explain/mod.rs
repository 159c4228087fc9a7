//! `weir explain`: a packet's way through a ruleset, rule by rule, by the driver's own code.

mod packet;
mod render;
mod why;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use weir_core::filter::{Compiled, Direction, Family, InterfaceAddress, List, Mismatch, Ruleset};
use weir_core::pipeline::{self, Listed, Outcome, Recorder, Single, Sizes};
use weir_core::telemetry::DropReason;
use weir_core::wire::{self, Parsed};

use crate::RuleArgs;
use crate::rules;

/// Arguments of `weir explain`.
#[derive(Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    rules: RuleArgs,
    /// The interface that the adapter is; `on IF` in a packet overrules it.
    #[arg(long, value_name = "NAME", default_value = "en0")]
    on: String,
    /// An address of the interface, for rules with `(IF)`; can be given several times.
    #[arg(long, value_name = "ADDRESS/BITS")]
    address: Vec<String>,
    /// A packet in words: `in tcp 10.0.0.1:1234 > 10.0.0.2:22 flags S`. Several come one after the other.
    #[arg(short, long, value_name = "WORDS", required_unless_present = "input")]
    packet: Vec<String>,
    /// A capture whose frames are sent one after the other; only those of -n are explained.
    #[arg(short, long, value_name = "FILE", conflicts_with = "packet")]
    input: Option<PathBuf>,
    /// Numbers of frames, from 1.
    #[arg(short, value_name = "NUMBER", value_delimiter = ',', requires = "input", default_value = "1")]
    number: Vec<u64>,
    /// Addresses (MAC, IPv4, IPv6) of this machine: captured frames from them go out, all others come in.
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    local: Vec<String>,
    /// A JSON list with an object for each packet, instead of text.
    #[arg(long)]
    json: bool,
}

/// One look at a rule.
struct Look {
    list: List,
    rule: u32,
    result: Result<(), Mismatch>,
}

/// Everything that was looked at.
#[derive(Default)]
struct Looks(Vec<Look>);

impl Recorder for Looks {
    fn saw(&mut self, list: List, rule: u32, result: Result<(), Mismatch>) {
        self.0.push(Look { list, rule, result });
    }
}

/// What became of one packet.
struct Explained {
    /// How it was described, or its number.
    title: String,
    direction: Direction,
    interface: String,
    before: Parsed,
    /// Source and destination MAC address.
    macs: ([u8; 6], [u8; 6]),
    len: usize,
    looks: Vec<Look>,
    outcome: Outcome,
    after: Parsed,
    /// The frame was changed.
    changed: bool,
    /// States that were not there before.
    states: Vec<Listed>,
    /// Some state was there before.
    had_states: bool,
    /// Answers: to the wire, or to the stack, and what they are.
    answers: Vec<(bool, Parsed)>,
}

/// An interface's driver, and what it is called.
struct Tracer {
    single: Single,
    interface: String,
    now_ns: u64,
}

/// Memory for as many states as a capture could make.
const SIZES: Sizes = Sizes { states: 65_536, sources: 4096, fragments: 64, seed: 1 };

fn address(text: &str) -> Result<InterfaceAddress> {
    let (addr, len) = text.split_once('/').with_context(|| format!("--address {text}: write ADDRESS/BITS"))?;
    let addr: IpAddr = addr.parse().with_context(|| format!("--address {text}"))?;
    let (family, bits) = if addr.is_ipv4() { (Family::V4, 32) } else { (Family::V6, 128) };
    let len: u8 = len.parse().with_context(|| format!("--address {text}"))?;
    ensure!(len <= bits, "--address {text}: at most {bits} bits");
    let octets = |addr: IpAddr| {
        let mut out = [0; 16];
        match addr {
            IpAddr::V4(a) => out[..4].copy_from_slice(&a.octets()),
            IpAddr::V6(a) => out = a.octets(),
        }
        out
    };
    let broadcast = match addr {
        IpAddr::V4(a) if len < 31 => Some(octets(IpAddr::V4((u32::from(a) | u32::MAX >> len).into()))),
        _ => None,
    };
    Ok(InterfaceAddress { family, addr: octets(addr), len, broadcast, peer: None })
}

/// Room for the largest super-frame that any capture of a single machine holds.
pub const MTU_MAX: u32 = 16_110;

/// The longest frame that the adapter of `weir replay` takes, which no rule sees if it is longer: header, tags, MTU.
fn longest(parsed: &Parsed) -> usize {
    14 + 4 * usize::from(parsed.vlan_count.min(2)) + MTU_MAX as usize
}

impl Tracer {
    fn new(ruleset: &Ruleset, interface: &str, addresses: &[InterfaceAddress]) -> Result<Self> {
        let compiled = Compiled::new(ruleset.clone()).context("there is no memory for the rules")?;
        let single = Single::new(compiled, interface, addresses, SIZES).context("there is no memory for states")?;
        Ok(Self { single, interface: interface.to_owned(), now_ns: 1_000_000_000 })
    }

    fn send(&mut self, title: String, direction: Direction, frame: &[u8]) -> Explained {
        let known: Vec<u64> = self.single.states().iter().map(|state| state.id).collect();
        let before = wire::parse(frame);
        let mut changed = frame.to_vec();
        let mut looks = Looks::default();
        let way = match direction {
            Direction::Out => pipeline::Direction::Out,
            _ => pipeline::Direction::In,
        };
        let outcome = if frame.len() > longest(&before) {
            Outcome::Drop(DropReason::Giant)
        } else {
            self.single.frame(way, self.now_ns, &mut changed, false, &mut looks)
        };
        let states = self.single.states().into_iter().filter(|state| !known.contains(&state.id)).collect();
        let mac = |at: usize| frame.get(at..at + 6).and_then(|mac| mac.try_into().ok()).unwrap_or_default();
        Explained {
            title,
            direction,
            interface: self.interface.clone(),
            before,
            macs: (mac(6), mac(0)),
            len: frame.len(),
            looks: looks.0,
            outcome,
            after: wire::parse(&changed),
            changed: changed != frame,
            states,
            had_states: !known.is_empty(),
            answers: self.single.answers().map(|(to_wire, frame)| (to_wire, wire::parse(frame))).collect(),
        }
    }
}

/// Explains packets.
///
/// # Errors
/// The rules, a packet's words or the capture are wrong.
pub fn run(args: &ExplainArgs) -> Result<ExitCode> {
    let Some(ruleset) = rules::ruleset(&args.rules)? else {
        bail!("give the rules with -f FILE");
    };
    let addresses: Vec<InterfaceAddress> = args.address.iter().map(|text| address(text)).collect::<Result<_>>()?;
    let explained = match &args.input {
        Some(path) => captured(args, path, &ruleset, &addresses)?,
        None => described(args, &ruleset, &addresses)?,
    };
    if args.json {
        let all: Vec<serde_json::Value> = explained.iter().map(|one| render::json(&ruleset, one)).collect();
        println!("{:#}", serde_json::Value::from(all));
    } else {
        for (at, one) in explained.iter().enumerate() {
            if at > 0 {
                println!();
            }
            print!("{}", render::text(&ruleset, one));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn described(args: &ExplainArgs, ruleset: &Ruleset, addresses: &[InterfaceAddress]) -> Result<Vec<Explained>> {
    let mut tracer: Option<Tracer> = None;
    let mut out = Vec::new();
    for words in &args.packet {
        let found = packet::parse(words)?;
        let interface = found.interface.unwrap_or_else(|| args.on.clone());
        // Each interface is a driver of its own, with its own states.
        let current = match tracer.take().filter(|tracer| tracer.interface == interface) {
            Some(tracer) => tracer,
            None => Tracer::new(ruleset, &interface, addresses)?,
        };
        let tracer = tracer.insert(current);
        out.push(tracer.send(words.clone(), found.direction, &found.frame));
        tracer.now_ns += 1_000_000;
    }
    Ok(out)
}

fn captured(
    args: &ExplainArgs,
    path: &std::path::Path,
    ruleset: &Ruleset,
    addresses: &[InterfaceAddress],
) -> Result<Vec<Explained>> {
    use weir_capture::{Reader, link::to_ethernet};

    let local = crate::local::Local::parse(&args.local)?;
    let mut reader = Reader::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut tracer = Tracer::new(ruleset, &args.on, addresses)?;
    let start = tracer.now_ns;
    let last = args.number.iter().copied().max().unwrap_or(1);
    let (mut out, mut scratch, mut first, mut number) = (Vec::new(), Vec::new(), None, 0);
    while number < last {
        let frame = reader.next().with_context(|| format!("{} ends early", path.display()))?;
        let Some(frame) = frame else {
            bail!("{} has {number} frames", path.display());
        };
        number += 1;
        let epoch = *first.get_or_insert(frame.time_ns);
        tracer.now_ns = tracer.now_ns.max(start.saturating_add(frame.time_ns.saturating_sub(epoch)));
        let wanted = args.number.contains(&number);
        let Some(ethernet) = to_ethernet(frame.link, frame.bytes, &mut scratch) else {
            ensure!(!wanted, "frame {number} of {} is of a link type that has no Ethernet form", path.display());
            continue;
        };
        let direction = if local.sent(ethernet) { Direction::Out } else { Direction::In };
        let explained = tracer.send(format!("frame {number}"), direction, ethernet);
        if wanted {
            out.push(explained);
        }
    }
    Ok(out)
}
