//! `cargo xtask bench report`: runs every benchmark, and writes what came of it into docs/performance.md, with plots.
//!
//! The figures stand in docs/performance/figures.json; tables and plots are made of it, so that one benchmark can be
//! repeated without the others.

mod plot;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::setup::{self, Install, Purpose};
use crate::sh;

/// Where the written part of docs/performance.md begins and ends.
const BEGIN: &str = "<!-- report: written by `cargo xtask bench report` -->";
const END: &str = "<!-- end of report -->";

/// Arguments of `bench report`.
#[derive(clap::Args)]
pub struct Args {
    /// Fewer lookups, flows and seconds: minutes instead of half an hour.
    #[arg(long)]
    quick: bool,
    /// A folder of ClassBench rule sets (`acl1_1k.xz` and so on); else sets in their style are made.
    #[arg(long)]
    sets: Option<PathBuf>,
    /// Only these benchmarks; the others' figures stay as they are.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Measure nothing: tables and plots from docs/performance/figures.json.
    #[arg(long)]
    draw: bool,
}

/// One run of a benchmark: what it is, under which name its figures are kept, its arguments.
struct Run {
    bench: &'static str,
    key: String,
    args: Vec<String>,
}

fn run_of(bench: &'static str, key: &str, args: &str) -> Run {
    Run { bench, key: key.to_owned(), args: args.split_whitespace().map(str::to_owned).collect() }
}

/// ClassBench's sets that are there, or what is made in their place.
fn rule_sets(sets: Option<&Path>) -> Result<Vec<(String, String)>> {
    let Some(dir) = sets else {
        let kinds = ["acl", "fw", "ipc"];
        let sizes = [("1k", 1_000), ("10k", 10_000), ("100k", 100_000)];
        let made = |(name, count): (&str, u32)| {
            kinds.map(|kind| (format!("{kind} {name} (made)"), format!("gen:{kind}:{count}:1")))
        };
        return Ok(sizes.into_iter().flat_map(made).collect());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some((kind, size)) = stem.split_once('_')
            && let Some(count) = size.strip_suffix('k').and_then(|count| count.parse::<u32>().ok())
        {
            found.push((count, kind.to_owned(), path.display().to_string()));
        }
    }
    if found.is_empty() {
        bail!("no rule sets with names like acl1_1k.xz in {}", dir.display());
    }
    found.sort();
    Ok(found.into_iter().map(|(count, kind, path)| (format!("{kind} {count}k"), path)).collect())
}

fn plan(args: &Args) -> Result<Vec<Run>> {
    let lookups = if args.quick { 200_000 } else { 1_000_000 };
    let mut runs = Vec::new();
    let sets = rule_sets(args.sets.as_deref())?;
    // What the pipeline is measured under: rules in the style of access lists.
    let rules = |size: &str| {
        let found = sets.iter().find(|(name, _)| name.starts_with("acl") && name.contains(size));
        found.map(|(_, path)| path.clone()).filter(|path| !path.starts_with("gen:"))
    };
    let (some, many) = (rules(" 10k"), rules(" 100k"));
    for (name, path) in sets {
        let mut run = run_of("classify", &name, &format!("--lookups {lookups} --update"));
        run.args.extend(["--rules".to_owned(), path]);
        // Building rte_acl's tries takes most of a minute with 100,000 rules.
        if !(args.quick && name.contains("100k")) {
            run.args.extend(["--peer".to_owned(), "acl".to_owned()]);
        }
        runs.push(run);
    }
    runs.push(run_of("lpm", "lpm", &format!("--lookups {lookups}")));
    let counts: &[(&str, u32)] = if args.quick {
        &[("50k", 50_000), ("1M", 1_000_000)]
    } else {
        &[("50k", 50_000), ("1M", 1_000_000), ("10M", 10_000_000)]
    };
    runs.extend(counts.iter().map(|(name, count)| run_of("flows", name, &format!("--count {count}"))));
    for (key, extra, rules) in [
        ("UDP, 10k flows", "--flows 10000 --mix established", &some),
        ("TCP, 10k flows", "--flows 10000 --mix tcp", &some),
        ("UDP, 1M flows", "--flows 1000000 --mix established", &some),
        ("UDP, 10M flows", "--flows 10000000 --mix established --peer none", &some),
        ("stateless", "--flows 10000 --mix stateless", &None),
        ("SYN flood", "--flows 10000 --mix syn-flood --peer none", &many),
        ("2 shards", "--flows 10000 --shards 2", &some),
    ] {
        if args.quick && key.contains('M') {
            continue;
        }
        let mut run = run_of("pipeline", key, extra);
        run.args.extend(rules.iter().flat_map(|rules| ["--rules".to_owned(), rules.clone()]));
        runs.push(run);
    }
    for bench in ["rings", "parse", "checksum", "ffi", "bpf"] {
        runs.push(run_of(bench, bench, ""));
    }
    let e2e = if args.quick { "--seconds 1 --repeat 3" } else { "" };
    runs.push(run_of("e2e", "e2e", e2e));
    let latency = if args.quick { "--count 5000 --seconds 1" } else { "" };
    runs.push(run_of("latency", "latency", latency));
    runs.retain(|run| args.only.is_empty() || args.only.iter().any(|only| only == run.bench));
    Ok(runs)
}

/// One benchmark's JSON, from a process of its own.
fn measure(run: &Run) -> Result<Value> {
    let mut command = if ["e2e", "latency"].contains(&run.bench) {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", run.bench]);
        command
    } else {
        let mut command = Command::new(sh::target_dir().join("release/weir-bench"));
        command.arg(run.bench);
        command
    };
    let output = command.args(&run.args).arg("--json").output().context("cannot start the benchmark")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{}", text.lines().last().unwrap_or("it failed and said nothing"));
    }
    serde_json::from_slice(&output.stdout).context("its output is no JSON")
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().trim().to_owned()
}

fn machine() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cpu =
        cpu.map_or_else(|| first_line(Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"])), str::to_owned);
    json!({
        "cpu": cpu,
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "system": first_line(Command::new("uname").args(["-sr"])),
        "rustc": first_line(Command::new("rustc").arg("--version")),
        "date": first_line(Command::new("date").args(["-u", "+%F"])),
        "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default(),
    })
}

/// Measures, and writes tables and plots.
///
/// # Errors
/// A build that fails, files that cannot be written. A benchmark that fails is reported in its place.
pub fn run(install: Install, args: &Args) -> Result<()> {
    let docs = sh::root().join("docs");
    let folder = docs.join("performance");
    fs::create_dir_all(&folder)?;
    let figures = folder.join("figures.json");
    let mut all: Map<String, Value> = match fs::read(&figures) {
        Ok(bytes) => serde_json::from_slice(&bytes).context("docs/performance/figures.json")?,
        Err(_) => Map::new(),
    };
    if !args.draw {
        setup::ensure(Purpose::Bench, install)?;
        sh::run(sh::cargo().args(["build", "--quiet", "--release", "--package", "weir-bench", "--features", "dpdk"]))?;
        let runs = plan(args)?;
        // Figures of sets that are not measured any more go.
        for bench in runs.iter().map(|run| run.bench) {
            all.insert(bench.to_owned(), json!([]));
        }
        for run in &runs {
            println!("{}: {}", run.bench, run.key);
            let value = measure(run).unwrap_or_else(|error| {
                println!("  failed: {error:#}");
                json!({ "error": format!("{error:#}") })
            });
            if let Some(Value::Array(of)) = all.get_mut(run.bench) {
                of.push(json!({ "name": run.key, "machine": machine(), "result": value }));
            }
        }
        fs::write(&figures, serde_json::to_string_pretty(&all)? + "\n")?;
    }
    plot::all(&folder, &all)?;
    write(&docs.join("performance.md"), &table::all(&all))
}

/// Puts the text between the marks, or behind everything.
fn write(path: &Path, text: &str) -> Result<()> {
    let before = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let part = format!("{BEGIN}\n\n{text}\n{END}");
    let after = match (before.find(BEGIN), before.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}{part}{}", &before[..begin], &before[end + END.len()..])
        }
        _ => format!("{}\n\n{part}\n", before.trim_end()),
    };
    fs::write(path, after)?;
    println!("{} is written", path.display());
    Ok(())
}
