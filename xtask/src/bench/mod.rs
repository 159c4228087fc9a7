//! `cargo xtask bench`: measurements that anybody can repeat, with the peer measured beside in the same run.

mod core;
mod e2e;
mod latency;
mod nic;
mod report;

use anyhow::Result;
use clap::Subcommand;

use crate::setup::{self, Install, Purpose};

/// What to measure.
#[derive(Subcommand)]
pub enum Bench {
    /// iperf3 between two namespaces: through the driver with offloads, beside a bare veth pair.
    E2e {
        #[command(flatten)]
        args: e2e::Args,
    },
    /// Address tables: longest prefix match of a million prefixes.
    #[command(disable_help_flag = true)]
    Lpm {
        /// `[--v4 N] [--v6 N] [--batch 32] [--json]`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The classifier over a ClassBench rule set, with `--peer acl` beside DPDK's rte_acl; `--help` of it says more.
    #[command(disable_help_flag = true)]
    Classify {
        /// `--rules FILE [--trace FILE] [--batch 32] [--update] [--peer acl] [--json]`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Round trips and TCP: a bare veth pair, nftables, the driver, the driver with the same rules.
    Latency(latency::Args),
    /// The far end of `latency`.
    #[command(hide = true)]
    LatencyEcho,
    /// The near end of `latency`.
    #[command(hide = true)]
    LatencyAsk {
        /// Round trips.
        count: usize,
    },
    /// Runs all benchmarks and writes their figures and plots into docs/performance.md.
    Report(report::Args),
    /// Instructions per frame of the PCI back ends alone, by callgrind.
    Nic {
        /// One JSON array instead of the table.
        #[arg(long)]
        json: bool,
    },
    /// The flow table beside hashbrown and DPDK's rte_hash.
    #[command(disable_help_flag = true)]
    Flows(Passed),
    /// Parse, states, rules and counters over bursts, in memory.
    #[command(disable_help_flag = true)]
    Pipeline(Passed),
    /// The ring between two cores, beside rtrb, crossbeam's ArrayQueue and DPDK's rte_ring.
    #[command(disable_help_flag = true)]
    Rings(Passed),
    /// The parse, beside etherparse and smoltcp.
    #[command(disable_help_flag = true)]
    Parse(Passed),
    /// The glue's calls: C through weir_core.h beside the core's own functions.
    #[command(disable_help_flag = true)]
    Ffi(Passed),
    /// The Internet checksum, beside smoltcp and etherparse.
    #[command(disable_help_flag = true)]
    Checksum(Passed),
    /// Capture filters, beside libpcap's interpreter.
    #[command(disable_help_flag = true)]
    Bpf(Passed),
}

/// Arguments that the benchmark itself reads; `--help` is one of them.
#[derive(clap::Args)]
pub struct Passed {
    /// See `--help` of the benchmark.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs one benchmark.
///
/// # Errors
/// Missing tools, or a run that failed.
pub fn run(install: Install, bench: &Bench) -> Result<()> {
    match bench {
        Bench::E2e { args } => {
            setup::ensure(Purpose::Test, install)?;
            e2e::run(args)
        }
        Bench::Lpm { args } => core::run(install, "lpm", false, args),
        Bench::Latency(args) => {
            setup::ensure(Purpose::Test, install)?;
            latency::run(args)
        }
        Bench::LatencyEcho => latency::echo(),
        Bench::LatencyAsk { count } => latency::ask(*count),
        Bench::Report(args) => report::run(install, args),
        Bench::Nic { json } => nic::run(*json),
        Bench::Classify { args } => {
            let peers = args.iter().any(|arg| arg.starts_with("--peer"));
            core::run(install, "classify", peers, args)
        }
        Bench::Flows(Passed { args }) => core::run(install, "flows", true, args),
        Bench::Pipeline(Passed { args }) => core::run(install, "pipeline", true, args),
        Bench::Rings(Passed { args }) => core::run(install, "rings", true, args),
        Bench::Parse(Passed { args }) => core::run(install, "parse", true, args),
        Bench::Checksum(Passed { args }) => core::run(install, "checksum", true, args),
        Bench::Ffi(Passed { args }) => core::run(install, "ffi", false, args),
        Bench::Bpf(Passed { args }) => core::run(install, "bpf", true, args),
    }
}
