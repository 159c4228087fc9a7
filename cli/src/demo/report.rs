//! What the demo says: one line per test, then throughput, rules and accounting.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::{Counters, RuleCounters};

/// One line of the table.
pub struct Row {
    /// What was tried.
    pub test: String,
    /// Frames, connections or datagrams tried.
    pub sent: u64,
    /// Those that arrived, and whose answer arrived.
    pub passed: u64,
    /// True where the rules are there to stop it.
    pub expect_blocked: bool,
    /// Latency, throughput or anything else worth a short word.
    pub note: String,
}

impl Row {
    /// One line.
    pub fn new(test: &str, sent: u32, passed: u32, expect_blocked: bool, note: String) -> Self {
        Self { test: test.into(), sent: sent.into(), passed: passed.into(), expect_blocked, note }
    }

    /// True if what happened is what the rules say.
    pub fn as_expected(&self) -> bool {
        if self.expect_blocked { self.passed == 0 } else { self.passed == self.sent }
    }
}

/// Everything the demo found.
#[derive(Default)]
pub struct Report {
    /// Where the traffic ran: namespaces or the in-process stack.
    pub setting: String,
    /// The tests.
    pub rows: Vec<Row>,
    /// Per NIC: name, rule counters, counters.
    pub nics: Vec<(String, Vec<RuleCounters>, Counters)>,
}

impl Report {
    /// The first thing that is wrong, if anything.
    pub fn problem(&self) -> Option<String> {
        let row = self.rows.iter().find(|row| !row.as_expected());
        let row = row.map(|row| format!("{}: {} of {} passed", row.test, row.passed, row.sent));
        let accounts = || {
            self.nics
                .iter()
                .find_map(|(name, _, counters)| counters.check().err().map(|error| format!("{name}: {error:#}")))
        };
        row.or_else(accounts)
    }

    /// For people. The last line says `accounting: ok`, or what is wrong.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.setting);
        let _ = writeln!(text, "{:<34} {:>7} {:>7} {:>8}  note", "test", "sent", "passed", "blocked");
        for row in &self.rows {
            let mark = if row.as_expected() { "" } else { "  <- not as it should be" };
            let _ = writeln!(
                text,
                "{:<34} {:>7} {:>7} {:>8}  {}{mark}",
                row.test,
                row.sent,
                row.passed,
                row.sent.saturating_sub(row.passed),
                row.note
            );
        }
        for (name, rules, counters) in &self.nics {
            let _ = writeln!(
                text,
                "\n{name}: rx {} frames, {} delivered, {} dropped; tx {} frames, {} sent, {} dropped",
                counters.get("rx_frames"),
                counters.get("rx_delivered"),
                counters.dropped_total(false),
                counters.get("tx_dequeued"),
                counters.get("tx_sent"),
                counters.dropped_total(true),
            );
            let _ = writeln!(text, "{:>6} {:>10} {:>14}  rule", "nr", "frames", "bytes");
            for rule in rules {
                let _ = writeln!(text, "{:>6} {:>10} {:>14}  {}", rule.number, rule.packets, rule.bytes, rule.text);
            }
        }
        let _ = match self.problem() {
            None => write!(text, "\naccounting: ok"),
            Some(problem) => write!(text, "\naccounting: FAILED: {problem}"),
        };
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "setting": self.setting,
            "tests": self.rows.iter().map(|row| json!({
                "test": row.test, "sent": row.sent, "passed": row.passed,
                "expected": if row.expect_blocked { "blocked" } else { "passed" }, "note": row.note,
            })).collect::<Vec<_>>(),
            "nics": self.nics.iter().map(|(name, rules, counters)| json!({
                "name": name,
                "rules": rules.iter().map(crate::output::rule_json).collect::<Vec<_>>(),
                "counters": crate::output::counters_json(counters),
            })).collect::<Vec<_>>(),
            "accounting": self.problem().unwrap_or_else(|| "ok".into()),
        })
    }
}

/// A duration in the unit a reader wants.
pub fn short(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    if micros < 1000.0 { format!("{micros:.0} us") } else { format!("{:.1} ms", micros / 1000.0) }
}

/// Bytes per second as bits.
pub fn rate(bytes_per_second: f64) -> String {
    format!("{:.2} Gb/s", bytes_per_second * 8.0 / 1e9)
}
