//! `bench ffi`: what the glue costs: the same bursts over the same cable by calls in C through weir_core.h, and by the
//! core's own functions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;
use serde_json::json;
use weir_core::driver::{Bus, Config, Driver, Host, IfName, LogLevel, Mac, NicKind, WireKind};
use weir_core::mem::{Burst, Packet};

use crate::measure::{self, Times};
use crate::peer::glue::Cable;
use crate::peer::lent::Buffers;

/// Arguments of `bench ffi`.
#[derive(ClapArgs)]
pub struct Args {
    /// Frames per burst.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// The core that the measuring thread stays on.
    #[arg(long, default_value_t = 1)]
    core: usize,
}

/// Frames that are there at a time, and how often they are sent in a repetition.
const FRAMES: usize = 1024;
const ROUNDS: usize = 100;

/// A clock as cheap as that of the glue under test.
struct Quiet(AtomicU64);

impl Host for Quiet {
    fn now_ns(&self) -> u64 {
        // One thread asks; an addition that is locked would be dearer than that of the glue.
        let now = self.0.load(Ordering::Relaxed) + 1000;
        self.0.store(now, Ordering::Relaxed);
        now
    }

    fn log(&self, _: LogLevel, _: &str) {}
    fn wake(&self, _: u32) {}
    fn link_changed(&self) {}
    fn wire_notify(&self, _: u32) {}
}

fn driver(last: u8) -> Result<Driver> {
    let name = heapless::Vec::from_slice(b"bench-rust").map_err(|_| anyhow::anyhow!("too long"))?;
    let config = Config {
        nic: NicKind::Loopback(WireKind::Pair(name)),
        if_name: IfName::new(b"").context("a name")?,
        mac: Mac([2, 0, 0, 0, 0, last]),
        queues: 1,
        ring_size: 1024,
        mtu: 1500,
        mtu_max: 1500,
        buf_len: 2048,
        seed: 1,
        vectors: 0,
    };
    let made = Driver::new(&config, Arc::new(Quiet(AtomicU64::new(1_000_000_000))), Bus::default());
    made.map_err(|error| anyhow::anyhow!("{error:?}"))
}

/// The same as [`Cable::cross`], with the packets in the form that the core has them in.
fn cross(from: &Driver, to: &Driver, waiting: &mut Vec<Burst>) -> usize {
    let mut delivered = 0;
    for burst in waiting {
        // Whoever has a queue of packets asks first how many are taken.
        if from.tx_space(0) as usize >= burst.len() {
            from.tx_submit(0, burst);
        }
        let mut received = Burst::new();
        to.rx_poll(0, 64, &mut received);
        delivered += received.len();
        if to.rx_space(0) as usize >= received.len() {
            received.iter_mut().for_each(Packet::reset);
            to.rx_post(0, &mut received);
        }
        from.tx_reap(0, 64, burst);
    }
    delivered
}

/// Runs the benchmark.
///
/// # Errors
/// Frames that do not arrive.
pub fn run(args: &Args) -> Result<()> {
    measure::pin(args.core)?;
    let batch = usize::from(args.batch);
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 46];
    frame.resize(60, 0);
    let mut cable = Cable::new("bench-c", FRAMES, None)?;
    cable.fill(std::iter::repeat_n(&*frame, FRAMES), false);
    let (from, to) = (driver(2)?, driver(1)?);
    for driver in [&from, &to] {
        driver.enable(true).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    }
    let (mut buffers, mut empties) = (Buffers::new(FRAMES), Buffers::new(FRAMES));
    let mut waiting = buffers.lend_all(std::iter::repeat_n(&*frame, FRAMES), batch);
    for mut burst in empties.lend_all(std::iter::repeat_n(&[][..], FRAMES), 64) {
        to.rx_post(0, &mut burst);
    }
    let (mut in_c, mut in_rust) = (vec![], vec![]);
    for repetition in 0..measure::REPETITIONS + 2 {
        let mut arrived = [0; 2];
        let started = measure::cpu_time();
        arrived[0] += (0..ROUNDS).map(|_| cable.cross(FRAMES, batch, false)).sum::<usize>();
        let between = measure::cpu_time();
        arrived[1] += (0..ROUNDS).map(|_| cross(&from, &to, &mut waiting)).sum::<usize>();
        let ended = measure::cpu_time();
        ensure!(arrived == [ROUNDS * FRAMES; 2], "{arrived:?} of {} frames arrive", ROUNDS * FRAMES);
        if repetition >= 2 {
            let each = |span: std::time::Duration| span.as_nanos() as f64 / (ROUNDS * FRAMES) as f64;
            in_c.push(each(between - started));
            in_rust.push(each(ended - between));
        }
    }
    // A frame goes through the glue of a sender and that of a receiver.
    let glue = Times::new(in_c.iter().zip(&in_rust).map(|(c, rust)| (c - rust) / 2.0).collect());
    let (in_c, in_rust) = (Times::new(in_c), Times::new(in_rust));
    // What the drivers have must not outlive the buffers.
    for driver in [&from, &to] {
        driver.enable(false).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let mut left = Burst::new();
        loop {
            left.clear();
            driver.reclaim(0, 64, &mut left);
            if left.is_empty() {
                break;
            }
        }
    }
    if args.json {
        println!(
            "{}",
            json!({
                "batch": args.batch, "glue_ns_per_packet": glue.median, "glue_ns_per_burst": glue.median * batch as f64,
                "spread": { "min": glue.min, "max": glue.max },
                "through_c_ns_per_packet": in_c.median, "core_ns_per_packet": in_rust.median,
            })
        );
        return Ok(());
    }
    println!("bursts of {batch}, a frame sent by one core and received by another, ns per frame: median (min..max)");
    for (name, times) in [("through weir_core.h from C", in_c), ("the core's own functions", in_rust)] {
        println!("{name:28}{:>8.2} ({:.2}..{:.2})", times.median, times.min, times.max);
    }
    println!("glue, each way: {:.2} ns per packet, {:.0} ns per burst", glue.median, glue.median * batch as f64);
    Ok(())
}
