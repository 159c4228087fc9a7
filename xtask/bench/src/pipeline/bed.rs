//! Pipelines under test.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use weir_core::filter::epoch::Publisher;
use weir_core::filter::{Compiled, Installed, Place, image};
use weir_core::pipeline::{Direction, Known, Outcome, Outcomes, Pipeline, Shared, Sizes};
use weir_core::telemetry::ShardCounters;

use super::{Args, CHUNK};
use crate::measure;
use crate::peer::lent::Buffers;

/// One shard's pipeline.
pub struct Bed {
    pipeline: Pipeline,
    counters: ShardCounters,
    outcomes: Outcomes,
    buffers: Buffers,
    now_ns: u64,
    /// Of each span, what reading the clock took.
    clock: Duration,
    /// Which way frames go.
    pub direction: Direction,
    pub shared: Arc<Shared>,
    _publisher: Arc<Publisher>,
}

/// What frames took.
#[derive(Default)]
pub struct Spent {
    pub time: Duration,
    pub passed: usize,
}

/// `count` shards under one ruleset, each with room for `states`.
pub fn beds(args: &Args, image: &[u8], states: usize, count: usize) -> Result<Vec<Bed>> {
    let compiled = Compiled::new(image::parse(image).context("the image is refused")?).context("no memory")?;
    let shared = Arc::new(Shared::new(1024, count));
    let place = Place { if_name: "en0", addresses: &[], shards: count };
    let installed = Installed::new(1, compiled, place, &Installed::none(0), &mut 0).context("no memory")?;
    let (publisher, readers) = Publisher::new(installed, count);
    let publisher = Arc::new(publisher);
    let sizes = Sizes { states, sources: 64, fragments: 64, seed: args.seed };
    let known = Known::new(count, sizes.states, sizes.sources, sizes.seed).context("no memory for sources")?;
    let bed = |(shard, reader)| {
        Some(Bed {
            pipeline: Pipeline::new((shard, count), shared.clone(), &known, reader, sizes)?,
            counters: ShardCounters::default(),
            outcomes: Outcomes::new(),
            buffers: Buffers::new(CHUNK),
            now_ns: 1_000_000_000,
            clock: measure::clock_time(),
            direction: Direction::In,
            shared: shared.clone(),
            _publisher: publisher.clone(),
        })
    };
    readers.into_iter().enumerate().map(bed).collect::<Option<_>>().context("no memory for states")
}

impl Bed {
    /// Frames through, in bursts of `batch`. They are put where a NIC would have put them, which is not timed, as many
    /// as a ring holds at a time.
    pub fn run(&mut self, frames: &[&[u8]], batch: usize, only_parse: bool) -> Spent {
        let mut spent = Spent::default();
        for frames in frames.chunks(CHUNK) {
            let mut bursts = self.buffers.lend_all(frames.iter().copied(), batch);
            let started = measure::cpu_time();
            for burst in &mut bursts {
                self.pipeline.begin();
                self.pipeline.parse(burst, self.direction);
                if only_parse {
                    continue;
                }
                let (now, counters) = (self.now_ns, &self.counters);
                let all_pass = self.pipeline.judge((self.direction, false), now, burst, counters, &mut self.outcomes);
                spent.passed += if all_pass {
                    burst.len()
                } else {
                    self.outcomes.iter().filter(|outcome| **outcome == Outcome::Pass).count()
                };
                self.now_ns += 1000;
            }
            spent.time += (measure::cpu_time() - started).saturating_sub(self.clock);
        }
        spent
    }
}
