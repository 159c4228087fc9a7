//! `bench rings`: the single-producer single-consumer ring between two cores, beside rtrb, crossbeam's ArrayQueue and
//! DPDK's rte_ring.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};
use weir_core::mem::ring;

use crate::measure::{self, Times};

/// Arguments of `bench rings`.
#[derive(ClapArgs)]
pub struct Args {
    /// Items per burst.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
    /// Slots; a power of two.
    #[arg(long, default_value_t = 1024, value_parser = slots)]
    slots: u32,
    /// Items of one repetition.
    #[arg(long, default_value_t = 8_000_000, value_parser = measure::count)]
    items: usize,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
}

fn slots(text: &str) -> Result<u32, String> {
    let slots = text.parse::<u32>().map_err(|error| error.to_string())?;
    // A ring of DPDK does not use one of them.
    if !slots.is_power_of_two() || slots < 2 || slots as usize > ring::CAPACITY_MAX {
        return Err(format!("a ring has a power of two of slots, 2 to {}", ring::CAPACITY_MAX));
    }
    Ok(slots)
}

/// Sends the numbers from 0 on through a ring between cores 0 and 1; nanoseconds per item, and a check of what came.
fn transfer<P, C>(args: &Args, mut push: P, mut pop: C) -> Result<f64>
where
    P: FnMut(&[u64]) -> usize,
    C: FnMut(&mut [u64]) -> usize + Send,
{
    let (items, batch) = (args.items, usize::from(args.batch));
    std::thread::scope(|scope| {
        let consumer = scope.spawn(move || {
            measure::pin(1)?;
            let mut buffer = vec![0; batch];
            let (mut received, mut sum) = (0usize, 0u64);
            while received < items {
                let count = pop(&mut buffer);
                if count == 0 {
                    std::hint::spin_loop();
                }
                sum = buffer.iter().take(count).fold(sum, |sum, item| sum.wrapping_add(*item));
                received += count;
            }
            anyhow::Ok(sum)
        });
        measure::pin(0)?;
        let mut buffer = vec![0u64; batch];
        let started = Instant::now();
        let mut sent = 0usize;
        while sent < items {
            let wanted = batch.min(items - sent);
            for (item, number) in buffer.iter_mut().zip(sent as u64..) {
                *item = number;
            }
            let mut at = 0;
            while at < wanted {
                let count = push(buffer.get(at..wanted).unwrap_or_default());
                if count == 0 {
                    std::hint::spin_loop();
                }
                at += count;
            }
            sent += wanted;
        }
        let sum = consumer.join().map_err(|_| anyhow::anyhow!("the consumer stopped"))??;
        let spent = started.elapsed().as_nanos() as f64 / items as f64;
        let expected = (items as u64).wrapping_mul(items as u64 - 1) / 2;
        ensure!(sum == expected, "items were lost or made up");
        Ok(spent)
    })
}

fn repeat(mut run: impl FnMut() -> Result<f64>) -> Result<Times> {
    run()?;
    Ok(Times::new((0..measure::REPETITIONS).map(|_| run()).collect::<Result<_>>()?))
}

fn ours(args: &Args) -> Result<Times> {
    repeat(|| {
        let (mut producer, mut consumer) =
            ring::channel::<u64>(args.slots as usize).ok_or_else(|| anyhow::anyhow!("not a ring's size"))?;
        transfer(args, move |items| producer.push_slice(items), move |items| consumer.pop_slice(items))
    })
}

fn rtrb(args: &Args) -> Result<Times> {
    repeat(|| {
        let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(args.slots as usize);
        transfer(
            args,
            move |items| {
                let count = items.len().min(producer.slots());
                match producer.write_chunk_uninit(count) {
                    Ok(chunk) => chunk.fill_from_iter(items.iter().copied()),
                    Err(_) => 0,
                }
            },
            move |items| {
                let count = items.len().min(consumer.slots());
                let Ok(chunk) = consumer.read_chunk(count) else { return 0 };
                let (first, second) = chunk.as_slices();
                let (front, back) = items.split_at_mut(first.len());
                front.copy_from_slice(first);
                back[..second.len()].copy_from_slice(second);
                chunk.commit_all();
                count
            },
        )
    })
}

fn array_queue(args: &Args) -> Result<Times> {
    repeat(|| {
        let queue = Arc::new(crossbeam_queue::ArrayQueue::new(args.slots as usize));
        let other = queue.clone();
        transfer(
            args,
            move |items| items.iter().take_while(|item| queue.push(**item).is_ok()).count(),
            move |items| items.iter_mut().map_while(|item| other.pop().map(|value| *item = value)).count(),
        )
    })
}

#[cfg(feature = "dpdk")]
fn rte_ring(args: &Args) -> Result<Times> {
    crate::peer::eal::start(0)?;
    let ring = crate::peer::ring::Ring::new(args.slots)?;
    repeat(|| transfer(args, |items| ring.push(items), |items| ring.pop(items)))
}

/// Runs the benchmark.
///
/// # Errors
/// A ring that loses items.
pub fn run(args: &Args) -> Result<()> {
    let measured = [
        ("weir", ours(args)?),
        ("rtrb", rtrb(args)?),
        ("array_queue", array_queue(args)?),
        #[cfg(feature = "dpdk")]
        ("rte_ring", rte_ring(args)?),
    ];
    let millions = |ns: f64| 1e3 / ns;
    if args.json {
        let mut all = Map::new();
        all.insert("batch".into(), args.batch.into());
        all.insert("slots".into(), args.slots.into());
        for (name, times) in measured {
            let value =
                json!({ "median": millions(times.median), "max": millions(times.min), "min": millions(times.max) });
            all.insert(format!("{name}_m_items_per_s"), value);
        }
        println!("{}", Value::Object(all));
        return Ok(());
    }
    println!(
        "{} slots, bursts of {}, million items a second from core 0 to core 1: median (min..max)",
        args.slots, args.batch
    );
    for (name, times) in measured {
        let [median, min, max] = [times.median, times.max, times.min].map(millions);
        println!("{name:12}{median:>8.0} ({min:.0}..{max:.0})");
    }
    Ok(())
}
