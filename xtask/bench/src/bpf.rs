//! `bench bpf`: capture filters, beside libpcap's interpreter.

use std::hint::black_box;

use anyhow::{Result, ensure};
use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};
use weir_core::telemetry::bpf::{Program, Scratch};

use crate::frames;
use crate::measure::{self, Times};
use crate::peer::pcap::Filter;

/// Arguments of `bench bpf`.
#[derive(ClapArgs)]
pub struct Args {
    /// tcpdump expressions.
    #[arg(default_values_t = DEFAULT.map(String::from))]
    expressions: Vec<String>,
    /// Different frames.
    #[arg(long, default_value_t = 4096)]
    frames: usize,
    /// Frames of a burst.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
    /// Seed of the frames.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// The core that the measuring thread stays on.
    #[arg(long, default_value_t = 1)]
    core: usize,
}

const DEFAULT: [&str; 5] = [
    "tcp port 80",
    "udp and dst port 53",
    "host 192.0.2.1 and tcp[tcpflags] & tcp-syn != 0",
    "net 10.0.0.0/8 or ip6 net fd00::/8",
    "vlan and (tcp portrange 8000-8999 or udp)",
];

const BATCH_MAX: usize = 64;

struct Row<'a> {
    expression: &'a str,
    instructions: usize,
    kept: usize,
    ours: Times,
    single: Times,
    theirs: Times,
}

/// Runs the benchmark.
///
/// # Errors
/// A verdict that is not libpcap's.
pub fn run(args: &Args) -> Result<()> {
    measure::pin(args.core)?;
    let frames = frames::mixed(args.frames, args.seed);
    let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let mut scratch = Scratch::default();
    let mut verdicts = [0; BATCH_MAX];
    let batch = usize::from(args.batch);
    let mut rows = Vec::new();
    for expression in &args.expressions {
        let filter = Filter::new(expression)?;
        let instructions = filter.instructions();
        let program = Program::new(&instructions)?;
        let mut kept = 0;
        for frame in &frames {
            for len in [frame.len(), frame.len() / 2, 16, 13, 0] {
                let cut = frame.get(..len).unwrap_or(frame);
                ensure!(program.run(cut, len) == filter.run(cut), "{expression}: not libpcap's verdict on {cut:02x?}");
            }
            kept += usize::from(program.run(frame, frame.len()) != 0);
        }
        for len in [usize::MAX, 58, 40, 35, 23, 14, 13, 0] {
            let cut: Vec<&[u8]> = slices.iter().map(|frame| frame.get(..len).unwrap_or(frame)).collect();
            for frames in cut.chunks(batch) {
                program.run_burst(&mut scratch, frames, &mut verdicts);
                for (frame, verdict) in frames.iter().zip(verdicts) {
                    ensure!(verdict == filter.run(frame), "{expression}: not libpcap's verdict on {frame:02x?}");
                }
            }
        }
        let ours = measure::time(frames.len() * 16, || {
            for _ in 0..16 {
                for frames in slices.chunks(batch) {
                    program.run_burst(&mut scratch, black_box(frames), &mut verdicts);
                    black_box(&verdicts);
                }
            }
        });
        let single = measure::time(frames.len() * 16, || {
            for _ in 0..16 {
                for frame in &frames {
                    black_box(program.run(black_box(frame), frame.len()));
                }
            }
        });
        let theirs = measure::time(frames.len() * 16, || {
            for _ in 0..16 {
                for frame in &frames {
                    black_box(filter.run(black_box(frame)));
                }
            }
        });
        rows.push(Row { expression, instructions: instructions.len(), kept, ours, single, theirs });
    }
    if args.json {
        let row = |row: &Row| {
            let spread = json!({ "min": row.ours.min, "max": row.ours.max });
            let value = json!({
                "instructions": row.instructions, "kept": row.kept, "batch": batch, "ns": row.ours.median,
                "spread": spread, "single_ns": row.single.median, "libpcap_ns": row.theirs.median,
            });
            (row.expression.to_owned(), value)
        };
        println!("{}", Value::Object(rows.iter().map(row).collect::<Map<_, _>>()));
        return Ok(());
    }
    println!("{} mixed frames, ns per frame: median (min..max)", frames.len());
    println!("{:50}{:>6}{:>7}{:>22}{:>22}{:>22}", "", "steps", "kept", "weir, bursts", "weir, one by one", "libpcap");
    for row in rows {
        let cell = |times: Times| format!("{:.1} ({:.1}..{:.1})", times.median, times.min, times.max);
        let (expression, steps, kept) = (row.expression, row.instructions, row.kept);
        let [ours, single, theirs] = [row.ours, row.single, row.theirs].map(cell);
        println!("{expression:50}{steps:>6}{kept:>7}{ours:>22}{single:>22}{theirs:>22}");
    }
    Ok(())
}
