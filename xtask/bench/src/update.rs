//! Single-rule inserts and deletes, alone and under lookup.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use weir_core::filter::classify::{Classifier, Key, Rule};

use crate::headers::Random;
use crate::measure::{self, Times};

/// Updates a second that lookups must bear.
const RATE: f64 = 1e6;

/// Rules that are deleted and inserted again.
const PICKS: usize = 100_000;

/// Times that each update is measured.
const PASSES: usize = 3;

/// What updates cost.
pub struct Rates {
    /// Half of the updates took at most this.
    pub median_ns: f64,
    p99_ns: f64,
    worst_ns: f64,
    per_second: f64,
    /// Lookups as it was built.
    lookup_built: Times,
    /// Lookups after all updates, without further ones and with so many that there are [`RATE`] a second.
    lookup: Times,
    lookup_under: Times,
}

impl Rates {
    /// For `--json`.
    pub fn json(&self) -> Value {
        json!({
            "median_ns": self.median_ns, "p99_ns": self.p99_ns, "worst_ns": self.worst_ns, "per_second": self.per_second,
            "lookup_ns_as_built": self.lookup_built.median, "lookup_ns": self.lookup.median,
            "lookup_ns_under_update": self.lookup_under.median,
        })
    }

    /// For people.
    pub fn print(&self) {
        println!(
            "update: {:.0} ns median, {:.0} ns 99 %, {:.0} ns worst; {:.2} million a second alone",
            self.median_ns,
            self.p99_ns,
            self.worst_ns,
            self.per_second / 1e6
        );
        println!(
            "lookup: {:.1} ns as built, {:.1} ns after {} updates, {:.1} ns between updates at a million a second, the \
             updates' own time left out",
            self.lookup_built.median,
            self.lookup.median,
            2 * PICKS * PASSES,
            self.lookup_under.median
        );
    }
}

/// Deletes random rules and inserts them again, alone and between bursts of lookups.
///
/// # Errors
/// An update that is refused, or a rule that is not found.
pub fn run<const W: usize>(rules: &[Rule<W>], keys: &[Key<W>], batch: usize) -> Result<Rates> {
    let Ok(mut classifier) = Classifier::new(rules) else {
        bail!("the classifier refuses the rules");
    };
    let lookup_built = lookups(&classifier, keys, batch);
    let mut random = Random::new(7);
    let picks: Vec<_> = (0..PICKS).map(|_| rules[random.below(rules.len())]).collect();
    // The least of several passes over the same updates: what is left of the worst is not the kernel's.
    let mut times = vec![f64::MAX; picks.len() * 2];
    let whole = Instant::now();
    for _ in 0..PASSES {
        for (rule, times) in picks.iter().zip(times.chunks_mut(2)) {
            let started = measure::cpu_time();
            let was_there = classifier.remove(rule);
            let removed = measure::cpu_time();
            let is_there = classifier.insert(rule).is_ok();
            let inserted = measure::cpu_time();
            if !was_there || !is_there {
                bail!("rule {} is not there, or refused", rule.priority);
            }
            for (time, new) in times.iter_mut().zip([removed - started, inserted - removed]) {
                *time = time.min(new.as_nanos() as f64);
            }
        }
    }
    let per_second = (times.len() * PASSES) as f64 / whole.elapsed().as_secs_f64();
    // Reading the clock costs about as much as an update: what it takes alone is taken off.
    let clock = {
        let mut reads: Vec<_> = (0..1001)
            .map(|_| -(measure::cpu_time().as_nanos() as f64) + measure::cpu_time().as_nanos() as f64)
            .collect();
        reads.sort_by(f64::total_cmp);
        reads[500]
    };
    times.iter_mut().for_each(|time| *time = (*time - clock).max(0.0));
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let (lookup, lookup_under) = under_update(&mut classifier, &picks, keys, batch);
    Ok(Rates {
        median_ns: at(0.5),
        p99_ns: at(0.99),
        worst_ns: at(1.0),
        per_second,
        lookup_built,
        lookup,
        lookup_under,
    })
}

fn lookups<const W: usize>(classifier: &Classifier<W>, keys: &[Key<W>], batch: usize) -> Times {
    let mut found = vec![0; keys.len()];
    measure::time(keys.len(), || {
        for (keys, found) in keys.chunks(batch).zip(found.chunks_mut(batch)) {
            classifier.lookup_burst(keys, found);
        }
        black_box(&mut found);
    })
}

/// Lookups with the updates between bursts that make [`RATE`] a second, and without. One thread does both, as a shard
/// does; the time of the updates is measured apart, without lookups, and taken off.
fn under_update<const W: usize>(
    classifier: &mut Classifier<W>,
    picks: &[Rule<W>],
    keys: &[Key<W>],
    batch: usize,
) -> (Times, Times) {
    let mut found = vec![0; keys.len()];
    let lookup = lookups(classifier, keys, batch);
    // A burst takes this long, so this many updates go with each.
    let per_burst = RATE * lookup.median * batch as f64 * 1e-9;
    let mut passes = |with_lookups: bool| {
        let mut next = 0usize;
        measure::time(keys.len(), || {
            let mut due = 0.0;
            for (keys, found) in keys.chunks(batch).zip(found.chunks_mut(batch)) {
                if with_lookups {
                    classifier.lookup_burst(keys, found);
                }
                due += per_burst;
                while due >= 1.0 {
                    let rule = &picks[next / 2 % picks.len()];
                    if next.is_multiple_of(2) {
                        black_box(classifier.remove(rule));
                    } else {
                        black_box(classifier.insert(rule).is_ok());
                    }
                    next += 1;
                    due -= 1.0;
                }
            }
            black_box(&mut found);
        })
    };
    let (both, updates) = (passes(true), passes(false));
    let less = |times: f64, by: f64| (times - by).max(0.0);
    let under = Times {
        median: less(both.median, updates.median),
        min: less(both.min, updates.median),
        max: less(both.max, updates.median),
    };
    (lookup, under)
}
