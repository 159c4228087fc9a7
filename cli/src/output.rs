//! Output that several commands share.

use serde_json::{Map, Value, json};

use crate::control::{Counters, RuleCounters};

/// `println!` for what is said at the end of a long run: a reader that went away must not keep it from ending in order.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
pub(crate) use say;

/// One rule with its counters.
pub fn rule_json(rule: &RuleCounters) -> Value {
    json!({
        "nr": rule.number, "text": rule.text, "evaluations": rule.evaluations,
        "packets": rule.packets, "bytes": rule.bytes, "states": rule.states,
    })
}

/// Every counter by name, drops by direction and reason.
pub fn counters_json(counters: &Counters) -> Value {
    let mut all: Map<String, Value> = counters.fields().map(|(name, value)| (name.to_owned(), value.into())).collect();
    for (name, transmit) in [("rx_dropped", false), ("tx_dropped", true)] {
        let reasons: Map<String, Value> =
            counters.dropped(transmit).map(|(reason, count)| (reason.to_owned(), count.into())).collect();
        all.insert(name.to_owned(), Value::Object(reasons));
    }
    Value::Object(all)
}
