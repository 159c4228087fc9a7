//! Output that several commands share.

use serde_json::{Map, Value, json};

use weir_core::abi::sys;

use crate::control::{Counters, Event, RuleCounters};

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

fn direction_name(event: &Event) -> &'static str {
    ["", "in", "out"].get(usize::from(event.direction)).copied().unwrap_or("")
}

fn action_name(event: &Event) -> &'static str {
    if event.action == 0 { "pass" } else { "block" }
}

/// One event.
pub fn event_json(event: &Event) -> Value {
    json!({
        "time_ns": event.time_ns, "kind": event.kind, "rule": event.rule, "action": action_name(event),
        "direction": direction_name(event), "protocol": event.protocol, "src": event.source,
        "dst": event.destination, "len": event.len,
    })
}

/// One event for people.
pub fn event_line(event: &Event) -> String {
    let seconds = event.time_ns as f64 / 1e9;
    match event.kind {
        sys::WEIR_EVENT_LOG => {
            let rule = event.rule.map_or_else(|| "-".into(), |rule| format!("rule {rule}"));
            let (action, direction) = (action_name(event), direction_name(event));
            let Event { source, destination, protocol, len, .. } = event;
            format!(
                "{seconds:.6} {rule}: {action} {direction}: {source} > {destination}: proto {protocol} length {len}"
            )
        }
        sys::WEIR_EVENT_LINK => format!("{seconds:.6} link changed"),
        sys::WEIR_EVENT_MISUSE => format!("{seconds:.6} the driver was misused"),
        _ => format!("{seconds:.6} ruleset changed"),
    }
}
