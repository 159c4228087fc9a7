//! `bench lpm`: address tables, beside a binary search of a sorted list.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::Args as ClapArgs;
use serde_json::{Value, json};
use weir_core::filter::{Family, LookupTable, Table, TableEntry};

use crate::headers::Random;
use crate::measure;

/// Arguments of `bench lpm`.
#[derive(ClapArgs)]
pub struct Args {
    /// IPv4 prefixes.
    #[arg(long, default_value_t = 1_000_000, value_parser = measure::count)]
    v4: usize,
    /// IPv6 prefixes.
    #[arg(long, default_value_t = 200_000, value_parser = measure::count)]
    v6: usize,
    /// Addresses per call.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
    /// Addresses that are looked up.
    #[arg(long, default_value_t = 1_000_000, value_parser = measure::count)]
    lookups: usize,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// The core that the measuring thread stays on.
    #[arg(long, default_value_t = 1)]
    core: usize,
}

/// Prefixes with lengths as in routing tables: a third /24 (/48), the rest from /20 (/28) to hosts; one in 16 with `!`.
fn entries(count: usize, family: Family, random: &mut Random) -> Vec<TableEntry> {
    let mut entries: Vec<TableEntry> = (0..count)
        .map(|_| {
            let mut bits = u128::from(random.bits()) << 96;
            if family == Family::V6 {
                // Global unicast is 2000::/3 (RFC 4291, 2.4, and IANA's registry).
                bits = bits >> 3 | 1 << 125;
                bits |= u128::from(random.bits()) << 64 | u128::from(random.bits()) << 32 | u128::from(random.bits());
            }
            let (usual, least, most) = if family == Family::V4 { (24, 20, 32) } else { (48, 28, 128) };
            let len = if random.below(3) == 0 { usual } else { least + random.below(most - least + 1) as u8 as usize };
            let mask = u128::MAX << (128 - len);
            let negate = random.below(16) == 0;
            TableEntry { family, addr: (bits & mask).to_be_bytes(), len: len as u8, negate }
        })
        .collect();
    entries.sort_unstable_by_key(|entry| (entry.addr, entry.len));
    entries.dedup_by_key(|entry| (entry.addr, entry.len));
    entries
}

/// The longest prefix that covers an address, found by asking for every length.
struct Reference(std::collections::HashMap<(u128, u8), bool>);

impl Reference {
    fn new(entries: &[TableEntry]) -> Self {
        Self(entries.iter().map(|entry| ((u128::from_be_bytes(entry.addr), entry.len), !entry.negate)).collect())
    }

    fn contains(&self, addr: u128, bits: u8) -> bool {
        (0..=bits)
            .rev()
            .find_map(|len| self.0.get(&(addr & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0), len)))
            .copied()
            .unwrap_or(false)
    }
}

/// Prefixes that are taken out and put back.
const CHANGES: usize = 200;

/// Microseconds of a change of one prefix without the list of entries; addresses are then found as before.
fn updates(
    entries: &[TableEntry],
    lookup: &LookupTable,
    addrs: &[u128],
    random: &mut Random,
) -> Result<measure::Times> {
    let (Some(mut changed), mut list, mut times) = (lookup.copy(), entries.to_vec(), vec![]) else {
        bail!("no memory for a second table");
    };
    let sort = |entry: &TableEntry| (entry.addr, entry.len);
    for _ in 0..CHANGES {
        let at = random.below(list.len());
        let entry = list.remove(at);
        let started = measure::cpu_time();
        let mut done = changed.update(&list, &entry);
        times.push((measure::cpu_time() - started).as_nanos() as f64 / 1e3);
        ensure!(list.binary_search_by_key(&sort(&entry), sort) == Err(at), "the list is not sorted");
        list.insert(at, entry);
        let started = measure::cpu_time();
        done = done.and(changed.update(&list, &entry));
        times.push((measure::cpu_time() - started).as_nanos() as f64 / 1e3);
        ensure!(done.is_some(), "no memory for a change");
    }
    let family = entries.first().map_or(Family::Any, |entry| entry.family);
    let is_same = |addr: &u128| {
        let addr = addr.to_be_bytes();
        lookup.contains(family, &addr) == changed.contains(family, &addr)
    };
    ensure!(addrs.iter().all(is_same), "a table is another one after changes that were taken back");
    Ok(measure::Times::new(times))
}

/// Runs the benchmark.
///
/// # Errors
/// A wrong result.
pub fn run(args: &Args) -> Result<()> {
    measure::pin(args.core)?;
    let mut random = Random::new(5);
    let mut report = serde_json::Map::new();
    for (family, count) in [(Family::V4, args.v4), (Family::V6, args.v6)] {
        let entries = entries(count, family, &mut random);
        // Half of the addresses are in some prefix, half are anywhere in the same space.
        let addrs: Vec<u128> = (0..args.lookups)
            .map(|number| {
                let any = (0..4).fold(0u128, |any, _| any << 32 | u128::from(random.bits()));
                let any = if family == Family::V6 { any >> 3 | 1 << 125 } else { any >> 96 << 96 };
                if number % 2 == 0 {
                    return any;
                }
                let entry = &entries[random.below(entries.len())];
                let host = u128::MAX.checked_shr(entry.len.into()).unwrap_or(0);
                let addr = u128::from_be_bytes(entry.addr) | any & host;
                if family == Family::V4 { addr >> 96 << 96 } else { addr }
            })
            .collect();
        let reference = Reference::new(&entries);
        let table = Table { name: "bench".into(), entries, ..Table::default() };
        let started = Instant::now();
        let Some(lookup) = LookupTable::new(&table) else {
            bail!("no memory for the table");
        };
        let build_ms = started.elapsed().as_secs_f64() * 1e3;
        let batch = usize::from(args.batch);
        let mut inside = vec![false; addrs.len()];
        let times = if family == Family::V4 {
            let addrs: Vec<u32> = addrs.iter().map(|addr| (addr >> 96) as u32).collect();
            measure::time(addrs.len(), || {
                for (addrs, inside) in addrs.chunks(batch).zip(inside.chunks_mut(batch)) {
                    lookup.contains_burst4(addrs, inside);
                }
                black_box(&mut inside);
            })
        } else {
            measure::time(addrs.len(), || {
                for (addrs, inside) in addrs.chunks(batch).zip(inside.chunks_mut(batch)) {
                    lookup.contains_burst6(addrs, inside);
                }
                black_box(&mut inside);
            })
        };
        let bits = if family == Family::V4 { 32 } else { 128 };
        let wrong =
            addrs.iter().zip(&inside).filter(|(addr, inside)| reference.contains(**addr, bits) != **inside).count();
        let name = if family == Family::V4 { "v4" } else { "v6" };
        let changes = updates(&table.entries, &lookup, &addrs, &mut random)?;
        let result: Value = json!({
            "prefixes": table.entries.len(),
            "lookups": addrs.len(),
            "batch": batch,
            "ns_per_lookup": times.median,
            "ns_min": times.min,
            "ns_max": times.max,
            "mismatches": wrong,
            "memory_bytes": lookup.memory_bytes(),
            "build_ms": build_ms,
            "update_us": changes.median,
            "update_us_max": changes.max,
        });
        if !args.json {
            println!(
                "{name}: one prefix in or out {:.0} us ({:.0} to {:.0})",
                changes.median, changes.min, changes.max
            );
            println!(
                "{name}: {} prefixes, {} KiB, built in {build_ms:.0} ms: {:.1} ns ({:.1} to {:.1}) in bursts of {batch}, {wrong} wrong",
                table.entries.len(),
                lookup.memory_bytes() / 1024,
                times.median,
                times.min,
                times.max,
            );
        }
        report.insert(name.into(), result);
        if wrong > 0 {
            bail!("{wrong} wrong results");
        }
    }
    if args.json {
        println!("{}", Value::Object(report));
    }
    Ok(())
}
