//! What `cargo xtask bench` runs. It is a program of its own so that it is built with optimisation and may link peers.

#[cfg(feature = "dpdk")]
mod bpf;
mod checksum;
mod classify;
mod ffi;
mod flows;
mod frames;
mod headers;
mod lpm;
mod made;
mod measure;
mod parse;
mod peer;
mod pipeline;
mod reference;
mod rings;
mod rules;
mod update;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measurements of the core.
#[derive(Parser)]
#[command(name = "weir-bench", bin_name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// The classifier over a ClassBench rule set.
    Classify(classify::Args),
    /// Address tables: longest prefix match in bursts.
    Lpm(lpm::Args),
    /// The flow table: lookup hit and miss, insert, expiry.
    Flows(flows::Args),
    /// Parse, states, rules and counters over bursts.
    Pipeline(pipeline::Args),
    /// The ring between two cores.
    Rings(rings::Args),
    /// The parse.
    Parse(parse::Args),
    /// The Internet checksum.
    Checksum(checksum::Args),
    /// The glue's calls.
    Ffi(ffi::Args),
    /// Capture filters.
    #[cfg(feature = "dpdk")]
    Bpf(bpf::Args),
}

#[global_allocator]
static ALLOCATOR: peer::huge::Advised = peer::huge::Advised;

fn main() -> ExitCode {
    let result = match Cli::parse().bench {
        Bench::Classify(args) => classify::run(&args),
        Bench::Lpm(args) => lpm::run(&args),
        Bench::Flows(args) => flows::run(&args),
        Bench::Pipeline(args) => pipeline::run(&args),
        Bench::Rings(args) => rings::run(&args),
        Bench::Parse(args) => parse::run(&args),
        Bench::Checksum(args) => checksum::run(&args),
        Bench::Ffi(args) => ffi::run(&args),
        #[cfg(feature = "dpdk")]
        Bench::Bpf(args) => bpf::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
