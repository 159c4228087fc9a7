//! Several shards at once.

use std::sync::Barrier;

use anyhow::{Result, anyhow, ensure};
use weir_core::pipeline::STEER_SEED;
use weir_core::wire;

use super::bed::{self, Bed};
use super::frames::Traffic;
use super::{Args, CHUNK};
use crate::measure::{self, Times};

/// Million packets a second, and the states at the end.
pub struct Scaled {
    pub one: Times,
    pub all: Times,
    pub states: u64,
}

/// One shard alone, then all of them at once, one thread each.
pub fn run(args: &Args, image: &[u8], states: usize) -> Result<Scaled> {
    let count = usize::from(args.shards);
    // Every flow belongs to one shard, as steering has it.
    let everyone = Traffic::new(args, 0..args.flows);
    let mut mine = vec![vec![]; count];
    for (frames, _) in everyone.openings().iter().take(1) {
        for (number, frame) in frames.iter().enumerate() {
            let shard = wire::shard_of(wire::flow_hash(frame, &wire::parse(frame), STEER_SEED), count);
            mine[shard].push(number);
        }
    }
    let mut beds = bed::beds(args, image, states, count)?;
    let shared = beds[0].shared.clone();
    let alone = Barrier::new(1);
    let first = measure_on(args, &mut beds[..1], &mine[..1], &alone)?;
    let together = Barrier::new(count);
    let all = measure_on(args, &mut beds, &mine, &together)?;
    let found = shared.states();
    ensure!(found == args.flows as u64, "{found} states of {} flows", args.flows);
    Ok(Scaled { one: first, all, states: found })
}

fn measure_on(args: &Args, beds: &mut [Bed], mine: &[Vec<usize>], start: &Barrier) -> Result<Times> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let rates: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = beds
            .iter_mut()
            .zip(mine)
            .enumerate()
            .map(|(shard, (bed, mine))| {
                scope.spawn(move || -> Result<Vec<f64>> {
                    measure::pin(shard % cores)?;
                    let traffic = Traffic::of(args, mine, 0..0);
                    let batch = usize::from(args.batch);
                    // Twice, so that every state is there and settled.
                    let opened = Traffic::every(args, mine);
                    for _ in 0..2 {
                        let refs: Vec<&[u8]> = opened.iter().map(Vec::as_slice).collect();
                        ensure!(bed.run(&refs, batch, false).passed == refs.len(), "first packets do not pass");
                    }
                    let mut rates = vec![];
                    for repetition in 0..measure::REPETITIONS + 2 {
                        start.wait();
                        let spent = bed.run(&traffic.order, batch, false);
                        ensure!(spent.passed == traffic.order.len(), "{} frames pass", spent.passed);
                        if repetition >= 2 {
                            rates.push(traffic.order.len() as f64 / spent.time.as_secs_f64() / 1e6);
                        }
                    }
                    Ok(rates)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a shard's thread stopped"))?)
            .collect::<Result<_>>()
    })?;
    // More threads than cores take turns, and processor time does not see that.
    let turns = rates.len().div_ceil(cores) as f64;
    let sum = |repetition: usize| rates.iter().filter_map(|of| of.get(repetition)).sum::<f64>() / turns;
    const { assert!(CHUNK >= 64) };
    Ok(Times::new((0..measure::REPETITIONS).map(sum).collect()))
}
