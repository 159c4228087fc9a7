//! `bench pipeline`: parse, state lookup, rules and counters over bursts, in memory; the way from one loopback ring to
//! another around it; and what one core of DPDK does with the same frames and rules.

mod bed;
#[cfg(feature = "dpdk")]
mod forward;
mod frames;
mod rules;
mod shards;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::{Value, json};
use weir_core::filter::image;
use weir_core::flow::state::StateTable;
use weir_core::flow::wheel::Wheel;

use self::bed::{Bed, Spent};
use self::frames::Traffic;
use crate::measure::{self, Times};
use crate::peer::glue::Cable;

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
    #[arg(long, default_value_t = 10_000, value_parser = measure::count)]
    flows: usize,
    /// Bytes of a frame, with the FCS that it does not have in memory.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(64..=1518))]
    size: u16,
    /// Frames per burst. The extension takes 64 at a time (`WEIR_BURST_MAX`).
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
    /// Frames of one repetition.
    #[arg(long, default_value_t = 400_000, value_parser = measure::count)]
    frames: usize,
    /// Queue pairs, each with a thread of its own; their sum beside one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    shards: u16,
    /// DPDK's forward loop with rte_acl over the same frames and rules: also for more than 20,000 rules, whose build
    /// takes minutes and gigabytes there; or not at all.
    #[arg(long, value_enum, default_value_t = Peer::Auto)]
    peer: Peer,
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
    /// UDP packets of states that are there, in random order.
    Established,
    /// The same of TCP connections: acknowledgements.
    Tcp,
    /// The frames of `established` under rules without state.
    Stateless,
    /// The first packets of TCP connections that never go on, with one in eight of an established flow. The table is
    /// full when it is measured.
    SynFlood,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    Auto,
    Acl,
    None,
}

/// Frames that lie ready at a time: as many as there are in a NIC's two rings of the driver's usual size (`WeirRingSize`).
const CHUNK: usize = 512;
/// States that there is room for in a driver; see `driver.rs`.
const DRIVER_STATES: usize = 200_000;

/// What was measured.
struct Measured {
    whole: Times,
    parse: Times,
    passed: usize,
    /// Both ways from ring to ring.
    path: Option<Times>,
    peer: Option<Times>,
}

/// Runs the benchmark.
///
/// # Errors
/// Rules that cannot be read, or frames that do not pass.
pub fn run(args: &Args) -> Result<()> {
    let states = if args.mix == Mix::SynFlood { args.flows + args.frames } else { args.flows } + 1;
    let ruleset = rules::ruleset(args, states)?;
    let image = image::encode(&ruleset);
    let started = Instant::now();
    let mut beds = bed::beds(args, &image, states, 1)?;
    let build_ms = started.elapsed().as_secs_f64() * 1e3;
    if args.shards > 1 {
        let scaled = shards::run(args, &image, states)?;
        report_shards(args, &scaled);
        return Ok(());
    }
    measure::pin(args.core)?;
    let traffic = Traffic::new(args, 0..args.flows);
    let bed = &mut beds[0];
    traffic.establish(bed)?;
    let mut measured = measure_bed(args, bed, &traffic)?;
    if args.mix != Mix::SynFlood && args.flows <= DRIVER_STATES {
        measured.path = Some(measure_path(args, &image, &traffic)?);
    }
    #[cfg(feature = "dpdk")]
    if args.peer == Peer::Acl || (args.peer == Peer::Auto && ruleset.rules.len() <= 20_000) {
        measured.peer = Some(forward::measure(args, &traffic)?);
        measure::pin(args.core)?;
    }
    report(args, &measured, ruleset.rules.len(), states, build_ms);
    Ok(())
}

fn measure_bed(args: &Args, bed: &mut Bed, traffic: &Traffic) -> Result<Measured> {
    let (mut whole, mut parse) = (vec![], vec![]);
    let mut passed = 0;
    for repetition in 0..measure::REPETITIONS + 2 {
        let syns = traffic.syns(repetition);
        let frames = traffic.mixed(&syns);
        let spent = bed.run(&frames, usize::from(args.batch), false);
        let parsed = bed.run(&frames, usize::from(args.batch), true);
        passed = spent.passed;
        let flood = args.mix == Mix::SynFlood;
        let expected = if flood { frames.len() / 8 } else { frames.len() };
        ensure!(passed >= expected, "{passed} of {} frames pass", frames.len());
        if repetition >= 2 {
            let each = |spent: &Spent| spent.time.as_nanos() as f64 / frames.len() as f64;
            whole.push(each(&spent));
            parse.push(each(&parsed));
        }
    }
    Ok(Measured { whole: Times::new(whole), parse: Times::new(parse), passed, path: None, peer: None })
}

/// From the stack of one driver to the stack of another: both ways through the pipeline, the C ABI and the cable
/// between two rings included.
fn measure_path(args: &Args, image: &[u8], traffic: &Traffic) -> Result<Times> {
    let mut cable = Cable::new("bench-path", CHUNK, Some(image))?;
    let batch = usize::from(args.batch);
    for (frames, back) in traffic.openings() {
        for frames in frames.chunks(CHUNK) {
            cable.fill(frames.iter().map(Vec::as_slice), back);
            ensure!(cable.cross(frames.len(), batch, back) == frames.len(), "first packets are lost on the cable");
        }
    }
    let mut times = vec![];
    let clock = measure::clock_time();
    for repetition in 0..measure::REPETITIONS + 2 {
        let mut spent = std::time::Duration::ZERO;
        for frames in traffic.order.chunks(CHUNK) {
            cable.fill(frames.iter().copied(), false);
            let started = measure::cpu_time();
            let arrived = cable.cross(frames.len(), batch, false);
            spent += (measure::cpu_time() - started).saturating_sub(clock);
            ensure!(arrived == frames.len(), "{arrived} of {} frames arrive", frames.len());
        }
        if repetition >= 2 {
            times.push(spent.as_nanos() as f64 / traffic.order.len() as f64);
        }
    }
    Ok(Times::new(times))
}

fn spread(times: Times) -> Value {
    json!({ "min": times.min, "max": times.max })
}

fn report(args: &Args, measured: &Measured, rules: usize, states: usize, build_ms: f64) {
    let Measured { whole, parse, passed, path, peer } = measured;
    let judge = whole.median - parse.median;
    let memory = StateTable::memory(states, states) + Wheel::memory(states);
    if args.json {
        let mut all = json!({
            "flows": args.flows, "rules": rules, "size": args.size, "batch": args.batch, "frames": args.frames,
            "ns_per_packet": whole.median, "mpps": 1e3 / whole.median, "passed": passed, "spread": spread(*whole),
            "stages": { "parse": parse.median, "judge": judge },
            "memory_bytes": memory, "bytes_per_state": memory / states, "build_ms": build_ms,
        });
        if let Some(path) = path {
            all["stages"]["ring_to_ring_tx_and_rx"] = path.median.into();
        }
        if let Some(peer) = peer {
            all["peer"] = json!({ "name": "DPDK rings, forward loop, rte_acl", "ns_per_packet": peer.median,
                "mpps": 1e3 / peer.median, "spread": spread(*peer) });
        }
        println!("{all}");
        return;
    }
    println!(
        "{rules} rules, {} flows, {} bytes, bursts of {}, ns per packet: median (min..max)",
        args.flows, args.size, args.batch
    );
    let line =
        |name: &str, times: &Times| println!("{name:36}{:>8.1} ({:.1}..{:.1})", times.median, times.min, times.max);
    line("pipeline", whole);
    line("  parse", parse);
    println!("{:36}{judge:>8.1}", "  states, rules, counters");
    path.iter().for_each(|path| line("ring to ring, transmit and receive", path));
    peer.iter().for_each(|peer| line("DPDK: rings, forward loop, rte_acl", peer));
    println!(
        "{:.1} Mpps, {passed} of {} frames passed, {} bytes per state, rules ready in {build_ms:.0} ms",
        1e3 / whole.median,
        args.frames,
        memory / states
    );
}

fn report_shards(args: &Args, scaled: &shards::Scaled) {
    let shards::Scaled { one, all, states } = scaled;
    let scaling = all.median / one.median;
    if args.json {
        println!(
            "{}",
            json!({
                "flows": args.flows, "shards": args.shards, "mpps": all.median, "ns_per_packet": 1e3 / all.median,
                "mpps_one_shard": one.median, "scaling": scaling, "states": states, "spread": spread(*all),
                "stages": {},
            })
        );
        return;
    }
    println!("{} flows over {} shards, million packets a second: median (min..max)", args.flows, args.shards);
    for (name, times) in [("one shard", one), ("all", all)] {
        println!("{name:12}{:>8.1} ({:.1}..{:.1})", times.median, times.min, times.max);
    }
    println!("{scaling:.2} times as many, {states} states");
}
