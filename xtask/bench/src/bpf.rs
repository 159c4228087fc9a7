//! `bench bpf`: capture filters, beside libpcap's interpreter.

use std::hint::black_box;

use anyhow::{Result, ensure};
use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};
use weir_core::telemetry::bpf::Program;

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

/// Runs the benchmark.
///
/// # Errors
/// A verdict that is not libpcap's.
pub fn run(args: &Args) -> Result<()> {
    measure::pin(args.core)?;
    let frames = frames::mixed(args.frames, args.seed);
    let mut rows: Vec<(&str, usize, usize, Times, Times)> = Vec::new();
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
        let ours = measure::time(frames.len() * 16, || {
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
        rows.push((expression, instructions.len(), kept, ours, theirs));
    }
    if args.json {
        let row = |(expression, instructions, kept, ours, theirs): &(&str, usize, usize, Times, Times)| {
            let spread = json!({ "min": ours.min, "max": ours.max });
            let ns = ours.median;
            let value = json!({ "instructions": instructions, "kept": kept, "ns": ns, "spread": spread, "libpcap_ns": theirs.median });
            ((*expression).to_owned(), value)
        };
        println!("{}", Value::Object(rows.iter().map(row).collect::<Map<_, _>>()));
        return Ok(());
    }
    println!("{} mixed frames, ns per frame: median (min..max)", frames.len());
    println!("{:50}{:>6}{:>7}{:>22}{:>22}", "", "steps", "kept", "weir", "libpcap");
    for (expression, instructions, kept, ours, theirs) in rows {
        let cell = |times: Times| format!("{:.1} ({:.1}..{:.1})", times.median, times.min, times.max);
        println!("{expression:50}{instructions:>6}{kept:>7}{:>22}{:>22}", cell(ours), cell(theirs));
    }
    Ok(())
}
