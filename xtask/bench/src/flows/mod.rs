//! `bench flows`: the flow table beside hashbrown with foldhash and DPDK's rte_hash.

mod keys;

use std::hint::black_box;

use anyhow::{Result, ensure};
use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};
use weir_core::flow::table::{Candidate, FlowId, FlowTable, Look};
use weir_core::flow::wheel::Wheel;
use weir_core::flow::{FlowKey, Secret};
use weir_core::mem::prefetch;

use self::keys::Keys;
use crate::measure::{self, Times};

/// Arguments of `bench flows`.
#[derive(ClapArgs)]
pub struct Args {
    /// Flows in the table.
    #[arg(long, default_value_t = 1_000_000, value_parser = measure::count)]
    count: usize,
    /// Keys per call.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
    /// Lookups of one repetition.
    #[arg(long, default_value_t = 1_000_000, value_parser = measure::count)]
    lookups: usize,
    /// Seed of keys and order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// The core that the measuring thread stays on.
    #[arg(long, default_value_t = 1)]
    core: usize,
}

/// What is kept per flow and written at each packet.
#[derive(Clone, Copy, Default)]
struct State {
    bytes: u64,
    packets: u32,
    /// The key's number.
    number: u32,
}

impl State {
    fn new(number: usize) -> Self {
        Self { bytes: 0, packets: 0, number: number as u32 }
    }

    fn number(&self) -> usize {
        self.number as usize
    }

    #[inline(always)]
    fn update(&mut self) {
        self.packets += 1;
        self.bytes += 64;
    }
}

/// A table of the same contents, measured alike.
trait Table {
    /// The numbers of the keys, for those that are in the table.
    fn find(&mut self, keys: &[FlowKey], found: &mut [Option<usize>]);
    /// Looks up and updates states.
    fn update(&mut self, keys: &[FlowKey]);
}

struct Ours {
    table: FlowTable<State>,
    hits: Vec<Option<FlowId>>,
    looks: Vec<Look>,
}

impl Ours {
    #[inline(always)]
    fn look(&mut self, keys: &[FlowKey]) {
        self.table.look(keys, &mut self.looks);
        self.table.find_burst(keys, &self.looks, &mut self.hits);
    }
}

impl Table for Ours {
    fn find(&mut self, keys: &[FlowKey], found: &mut [Option<usize>]) {
        self.look(keys);
        for (found, hit) in found.iter_mut().zip(&self.hits).take(keys.len()) {
            *found = hit.and_then(|id| self.table.get(id)).map(State::number);
        }
    }

    /// As the pipeline does it: bucket, candidate, and the search where that is not the flow.
    fn update(&mut self, keys: &[FlowKey]) {
        self.table.look(keys, &mut self.looks);
        let mut left = keys.iter().zip(&self.looks);
        loop {
            let mut lines = self.table.lines();
            let other = left.find_map(|(key, look)| match lines.at(look.candidate, key) {
                Some((state, _)) => {
                    state.update();
                    None
                }
                None => (look.candidate != Candidate::ABSENT).then_some((key, look.hash)),
            });
            let Some((key, hash)) = other else { break };
            if let Some(id) = self.table.find(hash, key)
                && let Some(state) = self.table.get_mut(id)
            {
                state.update();
            }
        }
    }
}

struct HashBrown(hashbrown::HashMap<FlowKey, State, foldhash::fast::RandomState>);

impl Table for HashBrown {
    fn find(&mut self, keys: &[FlowKey], found: &mut [Option<usize>]) {
        for (found, key) in found.iter_mut().zip(keys) {
            *found = self.0.get(key).map(State::number);
        }
    }

    fn update(&mut self, keys: &[FlowKey]) {
        for key in keys {
            if let Some(state) = self.0.get_mut(key) {
                state.update();
            }
        }
    }
}

#[cfg(feature = "dpdk")]
struct RteHash {
    hash: crate::peer::hash::Hash,
    states: Vec<State>,
}

#[cfg(feature = "dpdk")]
impl Table for RteHash {
    fn find(&mut self, keys: &[FlowKey], found: &mut [Option<usize>]) {
        let mut numbers = [0; crate::peer::hash::BULK_MAX];
        let hits = self.hash.find(keys, &mut numbers);
        for (bit, (found, number)) in found.iter_mut().zip(numbers).enumerate() {
            *found = (hits >> bit & 1 != 0).then(|| self.states.get(number).map(State::number)).flatten();
        }
    }

    fn update(&mut self, keys: &[FlowKey]) {
        let mut numbers = [0; crate::peer::hash::BULK_MAX];
        let hits = self.hash.find(keys, &mut numbers);
        for (bit, number) in numbers.iter().take(keys.len()).enumerate() {
            if hits >> bit & 1 != 0
                && let Some(state) = self.states.get_mut(*number)
            {
                state.update();
            }
        }
    }
}

/// A table's times per lookup and update.
struct Measured {
    name: &'static str,
    hit: Times,
    zipf: Times,
    miss: Times,
}

/// What is looked up.
struct Work {
    uniform: (Vec<FlowKey>, Vec<usize>),
    zipf: (Vec<FlowKey>, Vec<usize>),
    missing: Vec<FlowKey>,
    batch: usize,
}

impl Work {
    fn measure(&self, name: &'static str, table: &mut dyn Table) -> Result<Measured> {
        let mut found = vec![None; self.batch];
        for (keys, numbers) in [&self.uniform, &self.zipf] {
            for (keys, numbers) in keys.chunks(self.batch).zip(numbers.chunks(self.batch)) {
                table.find(keys, &mut found);
                let right = numbers.iter().zip(&found).all(|(number, found)| *found == Some(*number));
                ensure!(right, "{name} does not find what is there");
            }
        }
        for keys in self.missing.chunks(self.batch) {
            table.find(keys, &mut found);
            ensure!(found.iter().take(keys.len()).all(Option::is_none), "{name} finds what is not there");
        }
        let mut time = |keys: &[FlowKey]| {
            measure::time(keys.len(), || {
                let mut batches = keys.chunks(self.batch).peekable();
                while let Some(keys) = batches.next() {
                    // Who looks up a key has just made it: keys are at hand, for every table.
                    for next in batches.peek().into_iter().copied().flatten() {
                        prefetch::line(next, 0);
                    }
                    table.update(black_box(keys));
                }
            })
        };
        Ok(Measured { name, hit: time(&self.uniform.0), zipf: time(&self.zipf.0), miss: time(&self.missing) })
    }
}

/// New flows among those that are there, and their end: nanoseconds each.
struct Churn {
    insert: Times,
    expire: Times,
}

/// Ticks that a new flow lives.
const LIFETIME: u64 = 30_000;

fn churn(ours: &mut Ours, wheel: &mut Wheel, fresh: &[FlowKey], batch: usize) -> Result<Churn> {
    let resident = ours.table.len();
    let (mut insert, mut expire) = (vec![], vec![]);
    let mut now = 0;
    for repetition in 0..measure::REPETITIONS + 2 {
        let started = measure::cpu_time();
        for keys in fresh.chunks(batch) {
            ours.look(keys);
            for ((key, look), hit) in keys.iter().zip(&ours.looks).zip(&ours.hits) {
                if hit.is_none()
                    && let Ok(id) = ours.table.insert(look.hash, *key, State::new(0))
                {
                    wheel.schedule(id, now + LIFETIME);
                }
            }
            // A millisecond has 8192 of them.
            now += u64::from(ours.table.len() % 8192 < batch);
        }
        let inserted = measure::cpu_time();
        ensure!(ours.table.len() == resident + fresh.len(), "not every new flow was added");
        now += LIFETIME;
        let mut due = 0;
        while !wheel.advance(now, 64, |id| {
            due += usize::from(ours.table.remove(id).is_some());
            None
        }) {}
        let expired = measure::cpu_time();
        ensure!(due == fresh.len() && ours.table.len() == resident, "not every flow's time came");
        if repetition >= 2 {
            let each = |span: std::time::Duration| span.as_nanos() as f64 / fresh.len() as f64;
            insert.push(each(inserted - started));
            expire.push(each(expired - inserted));
        }
    }
    Ok(Churn { insert: Times::new(insert), expire: Times::new(expire) })
}

/// Runs the benchmark.
///
/// # Errors
/// A table that gives a wrong result, or has no memory.
pub fn run(args: &Args) -> Result<()> {
    measure::pin(args.core)?;
    let keys = Keys::new(args.seed);
    let work = Work {
        uniform: keys.uniform(args.count, args.lookups),
        zipf: keys.zipf(args.count, args.lookups),
        missing: (0..args.lookups).map(|n| keys.get(args.count + n)).collect(),
        batch: usize::from(args.batch),
    };
    let mut measured = vec![];
    // New flows on top of those that are there.
    let fresh: Vec<_> = work.missing.iter().take(200_000).copied().collect();
    let memory = FlowTable::<State>::memory(args.count, 0) + Wheel::memory(args.count);
    let filled = |capacity: usize| -> Result<(Ours, Wheel)> {
        let no_memory = || anyhow::anyhow!("no memory for {capacity} flows");
        let table = FlowTable::new(capacity, 0, Secret::from_seed(args.seed)).ok_or_else(no_memory)?;
        let mut wheel = Wheel::new(capacity, 0).ok_or_else(no_memory)?;
        let mut ours = Ours { table, hits: vec![None; work.batch], looks: vec![Look::NONE; work.batch] };
        for number in 0..args.count {
            let key = keys.get(number);
            let id = ours.table.insert(ours.table.hash(&key), key, State::new(number)).map_err(|_| no_memory())?;
            wheel.schedule(id, u64::MAX);
        }
        Ok((ours, wheel))
    };
    // Room for as many as there are, as its peers have; for new ones a table with more room.
    measured.push(work.measure("weir", &mut filled(args.count)?.0)?);
    let churned = {
        let (mut ours, mut wheel) = filled(args.count + fresh.len())?;
        churn(&mut ours, &mut wheel, &fresh, work.batch)?
    };
    {
        let map = (0..args.count).map(|number| (keys.get(number), State::new(number))).collect();
        measured.push(work.measure("hashbrown", &mut HashBrown(map))?);
    }
    #[cfg(feature = "dpdk")]
    {
        crate::peer::eal::start(args.core)?;
        let hash = crate::peer::hash::Hash::new(args.count)?;
        for number in 0..args.count {
            ensure!(hash.add(&keys.get(number), number), "rte_hash is full at {number}");
        }
        measure::pin(args.core)?;
        let states = (0..args.count).map(State::new).collect();
        measured.push(work.measure("rte_hash", &mut RteHash { hash, states })?);
    }
    report(args, &measured, &churned, memory / args.count.max(1));
    Ok(())
}

fn report(args: &Args, measured: &[Measured], churned: &Churn, bytes: usize) {
    let per_second = |times: Times| 1e9 / times.median;
    if args.json {
        let spread = |times: Times| json!({ "min": times.min, "max": times.max });
        let mut all: Map<String, Value> = Map::new();
        for Measured { name, hit, zipf, miss } in measured {
            let prefix = if *name == "weir" { "lookup" } else { name };
            all.insert(format!("{prefix}_ns"), hit.median.into());
            all.insert(format!("{prefix}_zipf_ns"), zipf.median.into());
            all.insert(format!("{prefix}_miss_ns"), miss.median.into());
            all.insert(format!("{prefix}_spread"), spread(*hit));
        }
        all.insert("flows".into(), args.count.into());
        all.insert("batch".into(), args.batch.into());
        all.insert("insert_per_s".into(), per_second(churned.insert).into());
        all.insert("expire_per_s".into(), per_second(churned.expire).into());
        all.insert("bytes_per_flow".into(), bytes.into());
        println!("{}", Value::Object(all));
        return;
    }
    println!("{} flows, lookup and update in bursts of {}, ns each: median (min..max)", args.count, args.batch);
    println!("{:12}{:>24}{:>24}{:>24}", "", "uniform", "Zipf", "miss");
    for Measured { name, hit, zipf, miss } in measured {
        println!("{name:12}{:>24}{:>24}{:>24}", cell(*hit), cell(*zipf), cell(*miss));
    }
    println!(
        "new flows with timer {:.1} million/s, expiry and removal {:.1} million/s, {bytes} bytes per flow",
        per_second(churned.insert) / 1e6,
        per_second(churned.expire) / 1e6
    );
}

fn cell(times: Times) -> String {
    format!("{:.1} ({:.1}..{:.1})", times.median, times.min, times.max)
}
