//! `bench classify`: the classifier over a ClassBench rule set, beside DPDK's rte_acl.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::{Map, Value, json};
use weir_core::filter::classify::{Classifier, Key, Rule};

use crate::measure::{self, Times};
use crate::{headers, reference, rules};

/// Arguments of `bench classify`.
#[derive(ClapArgs)]
pub struct Args {
    /// A rule set in ClassBench's format, IPv4 or IPv6; `.xz` is unpacked. `gen:KIND:RULES:SEED` is made: acl, fw, ipc,
    /// lengths, nested, ports, or one of them behind `v6-`.
    #[arg(long)]
    rules: PathBuf,
    /// Headers, `src dst sport dport proto x rule` a line, decimal; else they are drawn from the rules.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Headers per call.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
    /// Headers that are drawn.
    #[arg(long, default_value_t = 1_000_000, value_parser = measure::count)]
    lookups: usize,
    /// Seed of what is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also measure single-rule inserts and deletes.
    #[arg(long)]
    update: bool,
    /// Also measure somebody else's classifier over the same headers.
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// The core that the measuring thread stays on.
    #[arg(long, default_value_t = 1)]
    core: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// DPDK's rte_acl.
    Acl,
}

/// One set of headers and what came of it.
struct Measured {
    name: &'static str,
    lookups: usize,
    mismatches: usize,
    ours: Times,
    peer: Option<(Times, usize)>,
}

/// Runs the benchmark.
///
/// # Errors
/// Files that cannot be read, a peer that does not work, or a wrong result.
pub fn run(args: &Args) -> Result<()> {
    if rules::is_v6(&args.rules)? { run_for::<4>(args) } else { run_for::<1>(args) }
}

fn run_for<const W: usize>(args: &Args) -> Result<()> {
    let rules = rules::load::<W>(&args.rules)?;
    let batch = usize::from(args.batch);
    let mut sets = vec![];
    match &args.trace {
        Some(path) => sets.push(("trace", rules::load_trace(path)?)),
        None => sets.push(("trace", headers::trace(&rules, args.lookups, args.seed))),
    }
    sets.push(("cold", headers::cold(&rules, args.lookups, args.seed + 1)));
    sets.push(("rand", headers::uniform(args.lookups, args.seed + 2)));
    let mut peer = match args.peer {
        Some(Peer::Acl) => match rules::load::<1>(&args.rules) {
            Ok(rules) => Some(PeerAcl::new(&rules, args.core)?),
            Err(_) => bail!("rte_acl is compared with IPv4 rules only"),
        },
        None => None,
    };
    measure::pin(args.core)?;

    let build_ms = Times::new(
        (0..3)
            .map(|_| {
                let started = Instant::now();
                black_box(Classifier::new(black_box(&rules)).is_ok());
                started.elapsed().as_secs_f64() * 1e3
            })
            .collect(),
    );
    let Ok(classifier) = Classifier::new(&rules) else {
        bail!("the classifier refuses the rules");
    };
    let oracle = reference::Oracle::new(&rules);
    let mut results = Vec::new();
    for (name, keys) in &sets {
        results.push(measure_set(name, keys, batch, &classifier, &oracle, peer.as_mut())?);
    }
    let update = if args.update { Some(crate::update::run(&rules, &sets[1].1, batch)?) } else { None };
    if args.json {
        println!("{}", report_json(&rules, batch, &classifier, build_ms, &results, peer.as_ref(), update.as_ref()));
    } else {
        report(args, &rules, &classifier, build_ms, &results, peer.as_ref());
        if let Some(update) = update {
            update.print();
        }
    }
    let wrong: usize = results.iter().map(|set| set.mismatches + set.peer.map_or(0, |(_, wrong)| wrong)).sum();
    if wrong > 0 {
        bail!("{wrong} wrong results");
    }
    Ok(())
}

fn measure_set<const W: usize>(
    name: &'static str,
    keys: &[Key<W>],
    batch: usize,
    classifier: &Classifier<W>,
    oracle: &reference::Oracle<W>,
    peer: Option<&mut PeerAcl>,
) -> Result<Measured> {
    let (right, disagree) = oracle.answers(keys);
    if disagree > 0 {
        bail!("the reference structure disagrees with the linear scan on {disagree} headers of {name}");
    }
    let mut found = vec![0; keys.len()];
    let mut pass = || {
        for (keys, found) in keys.chunks(batch).zip(found.chunks_mut(batch)) {
            classifier.lookup_burst(keys, found);
        }
        black_box(&mut found);
    };
    pass();
    let ours = measure::time(keys.len(), &mut pass);
    let mismatches = found.iter().zip(&right).filter(|(found, right)| found != right).count();
    let peer = peer.map(|peer| {
        // There is a peer for IPv4 only, so no word is lost.
        let narrow = |addr: [u32; W]| [addr[0]];
        let keys: Vec<_> = keys
            .iter()
            .map(|key| Key { src: narrow(key.src), dst: narrow(key.dst), ports: key.ports, class: key.class })
            .collect();
        peer.measure(&keys, &right, batch)
    });
    Ok(Measured { name, lookups: keys.len(), mismatches, ours, peer })
}

fn report_json<const W: usize>(
    rules: &[Rule<W>],
    batch: usize,
    classifier: &Classifier<W>,
    build_ms: Times,
    results: &[Measured],
    peer: Option<&PeerAcl>,
    update: Option<&crate::update::Rates>,
) -> Value {
    let mut object = Map::new();
    object.insert("rules".into(), json!(rules.len()));
    object.insert("batch".into(), json!(batch));
    object.insert("memory_bytes".into(), json!(classifier.memory_bytes()));
    object.insert("build_ms".into(), json!(build_ms.median));
    object.insert("tables".into(), json!(classifier.tables()));
    object.insert("tables_asked".into(), json!(classifier.tables_asked()));
    for set in results {
        let mut one = json!({
            "rules": rules.len(),
            "lookups": set.lookups,
            "batch": batch,
            "ns_per_lookup": set.ours.median,
            "ns_min": set.ours.min,
            "ns_max": set.ours.max,
            "mismatches": set.mismatches,
            "memory_bytes": classifier.memory_bytes(),
            "build_ms": build_ms.median,
        });
        if let (Some(peer), Some((times, mismatches))) = (peer, set.peer) {
            one["peer"] = json!({
                "name": PeerAcl::NAME,
                "ns_per_lookup": times.median,
                "ns_min": times.min,
                "ns_max": times.max,
                "mismatches": mismatches,
                "memory_bytes": peer.memory_bytes(),
                "build_ms": peer.build_ms(),
            });
        }
        object.insert(set.name.into(), one);
    }
    if let Some(update) = update {
        object.insert("update_ns".into(), json!(update.median_ns));
        object.insert("update".into(), update.json());
    }
    if let Some(peer) = peer {
        let mut ns = Map::new();
        for set in results {
            ns.insert(set.name.into(), json!(set.peer.map(|(times, _)| times.median)));
        }
        object.insert(
            "peer".into(),
            json!({"name": PeerAcl::NAME, "ns_per_lookup": ns, "memory_bytes": peer.memory_bytes(), "build_ms": peer.build_ms()}),
        );
    }
    Value::Object(object)
}

fn report<const W: usize>(
    args: &Args,
    rules: &[Rule<W>],
    classifier: &Classifier<W>,
    build_ms: Times,
    results: &[Measured],
    peer: Option<&PeerAcl>,
) {
    println!(
        "{}: {} rules in {} tables of which {} are asked, {} KiB, built in {:.1} ms; bursts of {}",
        args.rules.display(),
        rules.len(),
        classifier.tables(),
        classifier.tables_asked(),
        classifier.memory_bytes() / 1024,
        build_ms.median,
        args.batch,
    );
    if let Some(peer) = peer {
        println!("{}: {} KiB, built in {:.0} ms", PeerAcl::NAME, peer.memory_bytes() / 1024, peer.build_ms());
    }
    println!(
        "{:<6} {:>9} {:>7} {:>7} {:>7} {:>6} {:>9} {:>6}",
        "set", "lookups", "ns", "min", "max", "wrong", "peer ns", "ratio"
    );
    for set in results {
        let Measured { name, lookups, mismatches, ours, .. } = set;
        print!("{name:<6} {lookups:>9} {:>7.1} {:>7.1} {:>7.1} {mismatches:>6}", ours.median, ours.min, ours.max);
        match set.peer {
            Some((times, wrong)) => {
                println!(
                    " {:>9.1} {:>6.1}{}",
                    times.median,
                    times.median / ours.median,
                    if wrong > 0 { " WRONG" } else { "" }
                );
            }
            None => println!(),
        }
    }
}

#[cfg(feature = "dpdk")]
struct PeerAcl(crate::peer::acl::Acl);

#[cfg(feature = "dpdk")]
impl PeerAcl {
    const NAME: &'static str = "rte_acl";

    fn new(rules: &[Rule<1>], core: usize) -> Result<Self> {
        Ok(Self(crate::peer::acl::Acl::build(rules, core)?))
    }

    fn memory_bytes(&self) -> usize {
        self.0.memory_bytes
    }

    fn build_ms(&self) -> f64 {
        self.0.build_ms
    }

    fn measure(&self, keys: &[Key<1>], right: &[u32], batch: usize) -> (Times, usize) {
        let headers: Vec<_> = keys.iter().map(crate::peer::acl::Header::new).collect();
        let pointers: Vec<*const u8> = headers.iter().map(|header| std::ptr::from_ref(header).cast()).collect();
        let mut found = vec![0; keys.len()];
        let times = measure::time(keys.len(), || {
            for (headers, found) in pointers.chunks(batch).zip(found.chunks_mut(batch)) {
                self.0.classify(headers, found);
            }
            black_box(&mut found);
        });
        let wrong = found.iter().zip(right).filter(|(found, right)| found.wrapping_sub(1) != **right).count();
        (times, wrong)
    }
}

#[cfg(not(feature = "dpdk"))]
enum PeerAcl {}

#[cfg(not(feature = "dpdk"))]
impl PeerAcl {
    const NAME: &'static str = "rte_acl";

    fn new(_: &[Rule<1>], _: usize) -> Result<Self> {
        bail!("built without DPDK: run it through `cargo xtask bench classify --peer acl`")
    }

    fn memory_bytes(&self) -> usize {
        match *self {}
    }

    fn build_ms(&self) -> f64 {
        match *self {}
    }

    fn measure(&self, _: &[Key<1>], _: &[u32], _: usize) -> (Times, usize) {
        match *self {}
    }
}
