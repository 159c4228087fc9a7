//! Single-rule inserts and deletes, alone and under lookup.

use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use weir_core::filter::classify::{Classifier, Key, Rule};

use crate::headers::Random;

/// What updates cost.
pub struct Rates {
    /// Half of the updates took at most this.
    pub median_ns: f64,
    p99_ns: f64,
    worst_ns: f64,
    per_second: f64,
}

impl Rates {
    /// For `--json`.
    pub fn json(&self) -> Value {
        json!({
            "median_ns": self.median_ns, "p99_ns": self.p99_ns, "worst_ns": self.worst_ns, "per_second": self.per_second,
        })
    }

    /// For people.
    pub fn print(&self) {
        println!(
            "update: {:.0} ns median, {:.0} ns 99 %, {:.0} ns worst; {:.2} million a second",
            self.median_ns,
            self.p99_ns,
            self.worst_ns,
            self.per_second / 1e6
        );
    }
}

/// Deletes random rules and inserts them again.
///
/// # Errors
/// An update that is refused, or a rule that is not found.
pub fn run(rules: &[Rule<1>], _keys: &[Key<1>], _batch: usize) -> Result<Rates> {
    let Ok(mut classifier) = Classifier::new(rules) else {
        bail!("the classifier refuses the rules");
    };
    let mut random = Random::new(7);
    let picks: Vec<_> = (0..100_000).map(|_| rules[random.below(rules.len())]).collect();
    let mut times = Vec::with_capacity(picks.len() * 2);
    let whole = Instant::now();
    for rule in &picks {
        let started = Instant::now();
        if !classifier.remove(rule) {
            bail!("rule {} is not there", rule.priority);
        }
        let removed = Instant::now();
        if classifier.insert(rule).is_err() {
            bail!("rule {} is refused", rule.priority);
        }
        times.push((removed - started).as_nanos() as f64);
        times.push(removed.elapsed().as_nanos() as f64);
    }
    let per_second = times.len() as f64 / whole.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Ok(Rates { median_ns: at(0.5), p99_ns: at(0.99), worst_ns: at(1.0), per_second })
}
