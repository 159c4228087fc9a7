//! `bench checksum`: the Internet checksum over headers, frames and super-frames, beside smoltcp's and etherparse's.

use std::hint::black_box;

use anyhow::{Result, ensure};
use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};
use weir_core::wire::checksum::Sum;

use crate::frames::Random;
use crate::measure::{self, Times};

/// Arguments of `bench checksum`.
#[derive(ClapArgs)]
pub struct Args {
    /// Lengths, in bytes.
    #[arg(long, value_delimiter = ',', default_value = "20,64,576,1500,9000,65535", value_parser = length)]
    lengths: Vec<usize>,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// The core that the measuring thread stays on.
    #[arg(long, default_value_t = 1)]
    core: usize,
}

/// The others' sums hold so much.
const LENGTH_MAX: usize = 65_535;

fn length(text: &str) -> Result<usize, String> {
    measure::count(text).and_then(|length| match length {
        0..=LENGTH_MAX => Ok(length),
        _ => Err(format!("at most {LENGTH_MAX} bytes")),
    })
}

fn ours(data: &[u8]) -> u16 {
    Sum::ZERO.add_bytes(data).value()
}

fn smoltcp(data: &[u8]) -> u16 {
    smoltcp::wire::checksum::data(data)
}

fn etherparse(data: &[u8]) -> u16 {
    !etherparse::checksum::Sum16BitWords::new().add_slice(data).ones_complement().to_be()
}

/// Runs the benchmark.
///
/// # Errors
/// Sums that differ.
pub fn run(args: &Args) -> Result<()> {
    measure::pin(args.core)?;
    let mut random = Random(1);
    let mut rows = Vec::new();
    for &length in &args.lengths {
        let data: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        let sum = ours(&data);
        ensure!(sum == smoltcp(&data) && sum == etherparse(&data), "sums over {length} bytes differ");
        let time = |sum: fn(&[u8]) -> u16| {
            let count = (1 << 21) / length.max(64);
            measure::time(count, || {
                for _ in 0..count {
                    black_box(sum(black_box(&data)));
                }
            })
        };
        rows.push((length, [time(ours), time(smoltcp), time(etherparse)]));
    }
    if args.json {
        let row = |(length, [weir, smoltcp, etherparse]): &(usize, [Times; 3])| {
            let spread = json!({ "min": weir.min, "max": weir.max });
            let (smoltcp, etherparse) = (smoltcp.median, etherparse.median);
            let value =
                json!({ "ns": weir.median, "smoltcp_ns": smoltcp, "etherparse_ns": etherparse, "spread": spread });
            (length.to_string(), value)
        };
        println!("{}", Value::Object(rows.iter().map(row).collect::<Map<_, _>>()));
        return Ok(());
    }
    println!("ns per sum, median (GB/s)");
    println!("{:>8}{:>20}{:>20}{:>20}", "bytes", "weir", "smoltcp", "etherparse");
    for (length, times) in rows {
        let cell = |times: Times| format!("{:.1} ({:.1})", times.median, length as f64 / times.median);
        let [weir, smoltcp, etherparse] = times.map(cell);
        println!("{length:>8}{weir:>20}{smoltcp:>20}{etherparse:>20}");
    }
    Ok(())
}
