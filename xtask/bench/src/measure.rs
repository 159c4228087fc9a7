//! How things are timed.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Keeps this thread on one core.
///
/// # Errors
/// There is no such core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core).with_context(|| format!("core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot stay on core {core}"))
}

/// Reads the argument that says how many there are: one and more.
///
/// # Errors
/// Anything else.
pub fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("there must be one at least".into()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}

/// Times of repetitions, in nanoseconds per operation.
#[derive(Clone, Copy)]
pub struct Times {
    /// Half of the repetitions were faster.
    pub median: f64,
    /// The fastest.
    pub min: f64,
    /// The slowest.
    pub max: f64,
}

impl Times {
    /// From the times of the repetitions.
    pub fn new(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |index: usize| times.get(index).copied().unwrap_or(0.0);
        Self { median: at(times.len() / 2), min: at(0), max: at(times.len().saturating_sub(1)) }
    }
}

/// Repetitions of a measurement that counts.
pub const REPETITIONS: usize = 11;

/// What this thread has computed so far. Unlike the time of day it does not run while the kernel lets others have the
/// core.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// What reading [`cpu_time`] twice, one behind the other, says: the least of many, to be taken off spans that are short.
pub fn clock_time() -> Duration {
    let span = |_| {
        let started = cpu_time();
        cpu_time() - started
    };
    (0..1000).map(span).min().unwrap_or_default()
}

/// Runs `work`, which does `operations` of something, twice to warm up and then [`REPETITIONS`] times.
pub fn time(operations: usize, mut work: impl FnMut()) -> Times {
    let mut times = Vec::with_capacity(REPETITIONS);
    for repetition in 0..REPETITIONS + 2 {
        let started = cpu_time();
        work();
        if repetition >= 2 {
            times.push((cpu_time() - started).as_nanos() as f64 / operations as f64);
        }
    }
    Times::new(times)
}
