//! `bench bpf`: capture filters, beside libpcap's interpreter.

use std::hint::black_box;

use anyhow::{Result, ensure};
use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};
use weir_core::telemetry::bpf::{Instruction, Program, Scratch};

use crate::frames::{self, Random};
use crate::measure::{self, Times};
use crate::peer::pcap::{Both, Filter};

/// Arguments of `bench bpf`.
#[derive(ClapArgs)]
pub struct Args {
    /// tcpdump expressions.
    #[arg(default_values_t = DEFAULT.map(String::from))]
    expressions: Vec<String>,
    /// Also thirty more of the kinds that people give tcpdump.
    #[arg(long)]
    typical: bool,
    /// Different frames.
    #[arg(long, default_value_t = 4096, value_parser = measure::count)]
    frames: usize,
    /// Frames of a burst.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
    /// Random programs that are compared with libpcap's interpreter first.
    #[arg(long, default_value_t = 20_000)]
    programs: usize,
    /// Seed of the frames and the programs.
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

const TYPICAL: [&str; 30] = [
    "ip",
    "host 192.0.2.1",
    "host 2001:db8::1",
    "ether host 02:00:00:00:00:01",
    "net 192.0.2.0/24",
    "net 10.0.0.0/8 and not net 10.1.0.0/16",
    "port 53",
    "not port 22",
    "portrange 1-1023",
    "(tcp or udp) and portrange 6000-6063",
    "icmp or arp",
    "icmp[icmptype] = icmp-echo",
    "broadcast or multicast",
    "sctp",
    "vlan and ip6",
    "vlan and tcp port 80",
    "vlan 5 and host 192.0.2.1",
    "len > 100",
    "less 64",
    "ip6 and tcp dst port 443",
    "ip[6:2] & 0x1fff != 0",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420",
    "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
    "host 192.0.2.1 and (port 80 or port 443)",
    "src net 10.0.0.0/8 and dst net 172.16.0.0/12 and tcp dst port 443",
    "tcp and not net 192.168.0.0/16 and (port 80 or port 443)",
    "not arp and not icmp and not (udp port 67 or udp port 68)",
    "port 22 or port 25 or port 53 or port 80 or port 123 or port 443 or port 8080 or port 8443",
    "host 192.0.2.1 or host 192.0.2.2 or host 192.0.2.3 or host 192.0.2.4 or host 192.0.2.5 or host 192.0.2.6",
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
    let programs = compare(args.programs, args.seed, &slices, &mut scratch)?;
    let mut verdicts = [0; BATCH_MAX];
    let batch = usize::from(args.batch);
    let mut rows = Vec::new();
    let typical: &[&str] = if args.typical { &TYPICAL } else { &[] };
    for expression in args.expressions.iter().map(String::as_str).chain(typical.iter().copied()) {
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
    println!("{programs} random programs on 64 frames each: every verdict is libpcap's");
    println!("{} mixed frames, ns per frame: median (min..max)", frames.len());
    println!("{:>22}{:>22}{:>22}{:>6}{:>7}", "weir, bursts", "weir, one by one", "libpcap", "steps", "kept");
    for row in rows {
        let cell = |times: Times| format!("{:.1} ({:.1}..{:.1})", times.median, times.min, times.max);
        let (expression, steps, kept) = (row.expression, row.instructions, row.kept);
        let [ours, single, theirs] = [row.ours, row.single, row.theirs].map(cell);
        println!("{ours:>22}{single:>22}{theirs:>22}{steps:>6}{kept:>7}  {expression}");
    }
    Ok(())
}

/// Every operation of bpf(4), and those again that compilers make most of.
const CODES: [u16; 60] = [
    0x06, 0x16, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x81, 0x00, 0x01, 0x60, 0x61, 0xb1, 0x02, 0x03, 0x04, 0x0c,
    0x14, 0x1c, 0x24, 0x2c, 0x34, 0x94, 0x3c, 0x9c, 0x44, 0x4c, 0x54, 0x5c, 0xa4, 0xac, 0x64, 0x6c, 0x74, 0x7c, 0x84,
    0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x07, 0x87, 0x28, 0x30, 0x20, 0x48, 0x50, 0x54, 0x15, 0x25,
    0x35, 0x45, 0xb1,
];

/// Runs random programs on frames and pieces of them, one by one and in bursts. How many were valid.
///
/// # Errors
/// A verdict that is not libpcap's, with the program.
fn compare(count: usize, seed: u64, frames: &[&[u8]], scratch: &mut Scratch) -> Result<usize> {
    let mut random = Random(seed | 1);
    let mut verdicts = [0; BATCH_MAX];
    let mut valid = 0;
    for _ in 0..count {
        let instructions = program(&mut random);
        let Some(both) = Both::new(&instructions) else { continue };
        valid += 1;
        let first = random.next() as usize % frames.len().saturating_sub(BATCH_MAX).max(1);
        let cuts = frames.iter().skip(first).take(BATCH_MAX);
        let cuts: Vec<&[u8]> = cuts
            .map(|frame| {
                let len = if random.next().is_multiple_of(4) {
                    random.next() as usize % (frame.len() + 1)
                } else {
                    frame.len()
                };
                frame.get(..len).unwrap_or(frame)
            })
            .collect();
        both.program.run_burst(scratch, &cuts, &mut verdicts);
        for (frame, verdict) in cuts.iter().zip(verdicts) {
            let (theirs, single) = (both.run_theirs(frame), both.program.run(frame, frame.len()));
            ensure!(
                (verdict, single) == (theirs, theirs),
                "libpcap keeps {theirs} bytes, a burst {verdict}, the interpreter {single}: {instructions:?} on {frame:02x?}"
            );
        }
    }
    Ok(valid)
}

/// A random program, nearly always a valid one.
fn program(random: &mut Random) -> Vec<Instruction> {
    // libpcap's memory begins with whatever there was.
    let mut all: Vec<_> = (0..16).map(|k| Instruction { code: 0x02, jt: 0, jf: 0, k }).collect();
    if !random.next().is_multiple_of(4) {
        all.clear();
    }
    let has_memory = !all.is_empty();
    for _ in 0..random.next() % 24 {
        let code = CODES[random.next() as usize % CODES.len()];
        let (jt, jf) = (random.next() as u8 % 4, random.next() as u8 % 4);
        let k = match random.next() % 5 {
            0 => random.next() as u32,
            1 => 0x0800,
            _ => random.next() as u32 % 64,
        };
        match code {
            0x60 | 0x61 | 0x02 | 0x03 if !has_memory => {}
            0x60 | 0x61 | 0x02 | 0x03 => all.push(Instruction { code, jt: 0, jf: 0, k: k % 16 }),
            // What libpcap makes of more is the compiler's choice.
            0x64 | 0x74 => all.push(Instruction { code, jt: 0, jf: 0, k: k % 32 }),
            // Far jumps leave the program.
            0x05 => all.push(Instruction { code, jt: 0, jf: 0, k: k % 4 }),
            _ => all.push(Instruction { code, jt, jf, k }),
        }
    }
    // Jumps of the last ones end at a return.
    all.extend((0..4).map(|_| Instruction { code: 0x16, jt: 0, jf: 0, k: 0 }));
    all
}
