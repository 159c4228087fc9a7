//! Benchmarks in the crate `weir-bench`, which is built with optimisation and may link peers.

use anyhow::Result;

use crate::setup::{self, Install, Purpose};
use crate::sh;

/// Builds and runs it; `peers` says whether DPDK is linked.
///
/// # Errors
/// A build or a benchmark that failed.
pub fn run(install: Install, name: &str, peers: bool, args: &[String]) -> Result<()> {
    if peers {
        setup::ensure(Purpose::Bench, install)?;
    }
    let mut cargo = sh::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "weir-bench"]);
    if peers {
        cargo.args(["--features", "dpdk"]);
    }
    cargo.args(["--", name]).args(args).current_dir(std::env::current_dir()?);
    sh::run(&mut cargo)
}
