//! `bench ffi`: what the glue costs: the same bursts over the same cable by calls in C through weir_core.h, and by the
//! core's own functions. The cores, their rings and the packets' memory are the same for both, in turn, and others in each
//! repetition: where they happen to lie makes as much of a difference as the glue.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args as ClapArgs;
use serde_json::json;

use crate::measure::{self, Times};
use crate::peer::glue::Cable;

/// Arguments of `bench ffi`.
#[derive(ClapArgs)]
pub struct Args {
    /// Frames per burst.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// The core that the measuring thread stays on.
    #[arg(long, default_value_t = 1)]
    core: usize,
}

/// Frames that are there at a time, how often they are sent in a turn, and turns of a repetition after the first.
const FRAMES: usize = 1024;
const ROUNDS: usize = 10;
const TURNS: usize = 10;

/// Runs the benchmark.
///
/// # Errors
/// Frames that do not arrive.
pub fn run(args: &Args) -> Result<()> {
    measure::pin(args.core)?;
    let batch = usize::from(args.batch);
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 46];
    frame.resize(60, 0);
    let (mut in_c, mut in_rust, mut cables) = (vec![], vec![], vec![]);
    for repetition in 0..measure::REPETITIONS {
        let mut cable = Cable::new(&format!("bench-{repetition}"), FRAMES, None)?;
        cable.fill(std::iter::repeat_n(&*frame, FRAMES), false);
        let (mut c, mut rust) = (Duration::ZERO, Duration::ZERO);
        for turn in 0..=TURNS {
            let mut arrived = [0; 2];
            let started = measure::cpu_time();
            arrived[0] += (0..ROUNDS).map(|_| cable.cross(FRAMES, batch, false)).sum::<usize>();
            let took = measure::cpu_time() - started;
            let mut lent = cable.lend(FRAMES, batch)?;
            let started = measure::cpu_time();
            arrived[1] += (0..ROUNDS).map(|_| cable.cross_without_c(&mut lent)).sum::<usize>();
            let took = (took, measure::cpu_time() - started);
            ensure!(arrived == [ROUNDS * FRAMES; 2], "{arrived:?} of {} frames arrive", ROUNDS * FRAMES);
            if turn > 0 {
                c += took.0;
                rust += took.1;
            }
        }
        let each = |span: Duration| span.as_nanos() as f64 / (TURNS * ROUNDS * FRAMES) as f64;
        in_c.push(each(c));
        in_rust.push(each(rust));
        // The next one is to lie elsewhere.
        cables.push(cable);
    }
    // A frame goes through the glue of a sender and that of a receiver.
    let glue = Times::new(in_c.iter().zip(&in_rust).map(|(c, rust)| (c - rust) / 2.0).collect());
    let (in_c, in_rust) = (Times::new(in_c), Times::new(in_rust));
    if args.json {
        println!(
            "{}",
            json!({
                "batch": args.batch, "glue_ns_per_packet": glue.median, "glue_ns_per_burst": glue.median * batch as f64,
                "spread": { "min": glue.min, "max": glue.max },
                "through_c_ns_per_packet": in_c.median, "core_ns_per_packet": in_rust.median,
            })
        );
        return Ok(());
    }
    println!("bursts of {batch}, a frame sent by one core and received by another, ns per frame: median (min..max)");
    for (name, times) in [("through weir_core.h from C", in_c), ("the core's own functions", in_rust)] {
        println!("{name:28}{:>8.2} ({:.2}..{:.2})", times.median, times.min, times.max);
    }
    println!("glue, each way: {:.2} ns per packet, {:.0} ns per burst", glue.median, glue.median * batch as f64);
    Ok(())
}
