//! `bench pipeline`: parse, state lookup, rules and counters over bursts, in memory, stage by stage.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::json;
use weir_core::filter::epoch::Publisher;
use weir_core::filter::{
    Action, AddrKind, AddrMatch, Compiled, Endpoint, Installed, Place, PortMatch, PortOp, Rule, RuleFlags, Ruleset,
    StateMode, StateOptions, Timeout, image,
};
use weir_core::pipeline::{Direction, Known, Outcome, Outcomes, Pipeline, Shared, Sizes};
use weir_core::telemetry::ShardCounters;

use crate::frames::Random;
use crate::measure::{self, Times};
use crate::peer::lent::Buffers;
use crate::rules;

/// Arguments of `bench pipeline`.
#[derive(ClapArgs)]
pub struct Args {
    /// A rule set in ClassBench's format: each rule passes and keeps state, the last one too. Without it that last one
    /// is alone.
    #[arg(long)]
    rules: Option<PathBuf>,
    /// What the frames are.
    #[arg(long, value_enum, default_value_t = Mix::Established)]
    mix: Mix,
    /// Flows.
    #[arg(long, default_value_t = 10_000)]
    flows: usize,
    /// Bytes of a frame, with the FCS that it does not have in memory.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(64..=1518))]
    size: u16,
    /// Frames per burst.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
    /// Frames of one repetition.
    #[arg(long, default_value_t = 400_000)]
    frames: usize,
    /// Seed of the flows.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// The core that the measuring thread stays on.
    #[arg(long, default_value_t = 1)]
    core: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mix {
    /// Packets of states that are there, in random order.
    Established,
    /// The same frames under `pass all no state`.
    Stateless,
    /// The first packets of TCP connections that never go on, with one in eight of an established flow.
    SynFlood,
}

/// The rules, each of them with state unless the mix says no.
fn ruleset(args: &Args) -> Result<Ruleset> {
    let state = match args.mix {
        Mix::Stateless => StateOptions { mode: StateMode::No, ..StateOptions::default() },
        _ => StateOptions { mode: StateMode::Keep, ..StateOptions::default() },
    };
    let last = Rule { action: Action::Pass, state, text: "pass all".into(), ..Rule::default() };
    let mut all = vec![];
    if let Some(path) = &args.rules {
        for rule in rules::load::<1>(path)? {
            let side = |addr: u32, mask: u32, low: u16, high: u16| {
                let wide = |word: u32| {
                    let mut bytes = [0; 16];
                    bytes[..4].copy_from_slice(&word.to_be_bytes());
                    bytes
                };
                let kind = if mask == 0 { AddrKind::Any } else { AddrKind::Mask4 };
                let addr = AddrMatch { kind, addr: wide(addr), end: wide(mask), ..AddrMatch::default() };
                let op = if (low, high) == (0, u16::MAX) { PortOp::Any } else { PortOp::Range };
                let port = if op == PortOp::Any { PortMatch::default() } else { PortMatch { op, a: low, b: high } };
                Endpoint { addr, port }
            };
            let src = side(rule.src[0], rule.src_mask[0], rule.low[0], rule.high[0]);
            let dst = side(rule.dst[0], rule.dst_mask[0], rule.low[1], rule.high[1]);
            let ports = src.port != PortMatch::default() || dst.port != PortMatch::default();
            let any = rule.class_mask as u8 == 0;
            let protocol = if any { ports.then_some(6) } else { Some(rule.class as u8) };
            // Ports mean something with TCP and UDP only.
            let plain = |side: Endpoint| Endpoint { addr: side.addr, ..Endpoint::default() };
            let (src, dst) = if matches!(protocol, Some(6 | 17)) { (src, dst) } else { (plain(src), plain(dst)) };
            let flags = RuleFlags::QUICK;
            let text = format!("pass quick {}", all.len());
            all.push(Rule { protocol, src, dst, flags, state, text, ..last.clone() });
        }
    }
    all.push(last);
    let mut ruleset = Ruleset::filter(all, Vec::new());
    // As many as the bed has room for, and all of them for as long as they are told to.
    ruleset.options.limits.states = u32::MAX;
    ruleset.options.timeouts.0[Timeout::AdaptiveStart as usize] = 0;
    ruleset.options.timeouts.0[Timeout::AdaptiveEnd as usize] = 0;
    Ok(ruleset)
}

/// A frame of flow number `number`: UDP, or the SYN of a TCP connection.
fn frame(number: usize, seed: u64, size: usize, syn: bool) -> Vec<u8> {
    let bits = Random((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed << 1 | 1).next();
    let (protocol, len) = if syn { (6, 46) } else { (17, size - 4 - 14) };
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    let total = if syn { 40 } else { len };
    bytes.extend((total as u16).to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend(((number as u32).wrapping_mul(0x9e37_79b1)).to_be_bytes());
    bytes.extend([192, 0, 2, bits as u8]);
    bytes.extend(((bits >> 8) as u16 | 1024).to_be_bytes());
    bytes.extend(53u16.to_be_bytes());
    if syn {
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    } else {
        bytes.extend(((len - 20) as u16).to_be_bytes());
        bytes.extend([0, 0]);
    }
    bytes.resize(size - 4, 0);
    bytes
}

/// A pipeline under test.
struct Bed {
    pipeline: Pipeline,
    counters: ShardCounters,
    outcomes: Outcomes,
    buffers: Buffers,
    now_ns: u64,
    _publisher: Publisher,
}

/// What the bursts of a repetition took.
#[derive(Default)]
struct Spent {
    parse: Duration,
    judge: Duration,
    passed: usize,
}

impl Bed {
    fn new(args: &Args, states: usize) -> Result<Self> {
        let image = image::encode(&ruleset(args)?);
        let compiled = Compiled::new(image::parse(&image).context("the image is refused")?).context("no memory")?;
        let shared = Arc::new(Shared::new(1024, 1));
        let place = Place { if_name: "en0", addresses: &[], shards: 1 };
        let installed = Installed::new(1, compiled, place, &Installed::none(0), &mut 0).context("no memory")?;
        let (publisher, mut readers) = Publisher::new(installed, 1);
        let reader = readers.pop().context("no reader")?;
        let sizes = Sizes { states, sources: 64, fragments: 64, seed: args.seed };
        let known = Known::new(1, sizes.states, sizes.sources, sizes.seed).context("no memory for sources")?;
        let pipeline = Pipeline::new((0, 1), shared, &known, reader, sizes).context("no memory for states")?;
        Ok(Self {
            pipeline,
            counters: ShardCounters::default(),
            outcomes: Outcomes::new(),
            buffers: Buffers::new(64),
            now_ns: 1_000_000_000,
            _publisher: publisher,
        })
    }

    /// One burst through; only the pipeline's part is timed, together or by stage.
    fn burst(&mut self, frames: &[&[u8]], spent: &mut Spent, by_stage: bool) {
        let mut lent = self.buffers.lend(frames.iter().copied());
        let started = measure::cpu_time();
        self.pipeline.begin();
        self.pipeline.parse(&lent.burst);
        let parsed = if by_stage { measure::cpu_time() } else { started };
        self.pipeline.judge((Direction::In, false), self.now_ns, &mut lent.burst, &self.counters, &mut self.outcomes);
        let judged = measure::cpu_time();
        spent.parse += parsed - started;
        spent.judge += judged - parsed;
        spent.passed += self.outcomes.iter().filter(|outcome| **outcome == Outcome::Pass).count();
        self.now_ns += 1000;
    }
}

/// What reading the clock twice costs, to be taken off each burst.
fn clock_cost() -> f64 {
    let count = 20_000;
    let started = measure::cpu_time();
    for _ in 0..count {
        std::hint::black_box(measure::cpu_time());
    }
    (measure::cpu_time() - started).as_nanos() as f64 / f64::from(count)
}

/// Runs the benchmark.
///
/// # Errors
/// Rules that cannot be read, or frames that do not pass.
pub fn run(args: &Args) -> Result<()> {
    measure::pin(args.core)?;
    let size = usize::from(args.size);
    let batch = usize::from(args.batch);
    let flood = args.mix == Mix::SynFlood;
    let states = if flood { args.flows + args.frames } else { args.flows };
    let mut bed = Bed::new(args, states + 1)?;
    let established: Vec<Vec<u8>> = (0..args.flows).map(|number| frame(number, args.seed, size, false)).collect();
    let refs: Vec<&[u8]> = established.iter().map(Vec::as_slice).collect();
    let mut spent = Spent::default();
    for burst in refs.chunks(batch) {
        bed.burst(burst, &mut spent, false);
    }
    ensure!(spent.passed == args.flows, "{} of {} first packets pass", spent.passed, args.flows);
    let mut random = Random(args.seed | 1);
    let mut pick = || refs[(random.next() % refs.len() as u64) as usize];
    let order: Vec<&[u8]> = (0..args.frames).map(|_| pick()).collect();
    let clock = clock_cost();
    let (mut total, mut parse, mut judge) = (vec![], vec![], vec![]);
    let mut established_passed = 0;
    for repetition in 0..2 * (measure::REPETITIONS + 1) {
        let by_stage = repetition % 2 == 1;
        let mut spent = Spent::default();
        let syns: Vec<Vec<u8>> = if flood {
            (0..args.frames).map(|n| frame(args.flows + repetition * args.frames + n, args.seed, 64, true)).collect()
        } else {
            vec![]
        };
        let mixed: Vec<&[u8]> = if flood {
            order.iter().zip(&syns).enumerate().map(|(n, (old, syn))| if n % 8 == 0 { *old } else { syn }).collect()
        } else {
            vec![]
        };
        let frames = if flood { &mixed } else { &order };
        for burst in frames.chunks(batch) {
            bed.burst(burst, &mut spent, by_stage);
        }
        ensure!(flood || spent.passed == frames.len(), "{} of {} frames pass", spent.passed, frames.len());
        established_passed = spent.passed;
        let bursts = frames.len().div_ceil(batch) as f64;
        let each = |span: Duration, clocks: f64| {
            (span.as_nanos() as f64 - bursts * clock * clocks).max(0.0) / frames.len() as f64
        };
        if repetition < 2 {
            continue;
        }
        if by_stage {
            parse.push(each(spent.parse, 1.0));
            judge.push(each(spent.judge, 1.0));
        } else {
            total.push(each(spent.judge, 1.0));
        }
    }
    let (total, parse, judge) = (Times::new(total), Times::new(parse), Times::new(judge));
    if args.json {
        println!(
            "{}",
            json!({
                "flows": args.flows, "size": args.size, "batch": args.batch, "ns_per_packet": total.median,
                "mpps": 1e3 / total.median, "passed": established_passed, "frames": args.frames,
                "spread": { "min": total.min, "max": total.max },
                "stages": { "parse": parse.median, "judge": judge.median },
            })
        );
        return Ok(());
    }
    println!("{} flows, {} bytes, bursts of {}, ns per packet: median (min..max)", args.flows, args.size, args.batch);
    for (name, times) in [("whole", total), ("parse", parse), ("judge", judge)] {
        println!("{name:8}{:>8.1} ({:.1}..{:.1})", times.median, times.min, times.max);
    }
    println!("{:.1} Mpps, {established_passed} of {} frames passed", 1e3 / total.median, args.frames);
    Ok(())
}
