//! Tables.

use std::fmt::Write;

use serde_json::{Map, Value};

/// A benchmark's results that are there, by name.
pub(super) fn results<'a>(figures: &'a Map<String, Value>, bench: &str) -> impl Iterator<Item = (String, &'a Value)> {
    let runs = figures.get(bench).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    runs.iter().filter_map(|run| {
        let result = run.get("result").filter(|result| result.get("error").is_none())?;
        Some((run.get("name")?.as_str()?.to_owned(), result))
    })
}

/// A number by its JSON pointer.
pub(super) fn number(value: &Value, pointer: &str) -> Option<f64> {
    value.pointer(pointer)?.as_f64()
}

fn cell(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

fn scaled(value: &Value, pointer: &str, factor: f64) -> String {
    cell(number(value, pointer).map(|value| value * factor))
}

/// The numbers of an object or a list, those of its members behind a dot.
fn flat(value: &Value, prefix: &str, rows: &mut Vec<(String, f64)>) {
    for (number, value) in value.as_array().into_iter().flatten().enumerate() {
        flat(value, &format!("{prefix}.{number}"), rows);
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value.as_f64() {
            Some(number) => rows.push((name, number)),
            None => flat(value, &name, rows),
        }
    }
}

fn image(text: &mut String, name: &str) {
    let _ = writeln!(text, "![{name}](performance/{name}.svg)\n");
}

fn classify(figures: &Map<String, Value>, text: &mut String) {
    text.push_str(
        "| rules | trace | cold | rand | rte_acl trace / cold / rand | ratios | memory, rte_acl's | build, rte_acl's | update: median, 99 %, worst |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, result) in results(figures, "classify") {
        let ns = |path: &str| ["trace", "cold", "rand"].map(|set| number(result, &format!("/{set}{path}")));
        let (ours, peer) = (ns("/ns_per_lookup"), ns("/peer/ns_per_lookup"));
        let ratios: Vec<_> =
            peer.iter().zip(ours).map(|(peer, ours)| cell(peer.zip(ours).map(|(p, o)| p / o))).collect();
        let [trace, cold, rand] = ours.map(cell);
        let _ = writeln!(
            text,
            "| {name} | {trace} | {cold} | {rand} | {} | {} | {}, {} MiB | {}, {} ms | {}, {}, {} ns |",
            peer.map(cell).join(" / "),
            ratios.join(" / "),
            scaled(result, "/memory_bytes", 1.0 / 1_048_576.0),
            scaled(result, "/peer/memory_bytes", 1.0 / 1_048_576.0),
            scaled(result, "/build_ms", 1.0),
            scaled(result, "/peer/build_ms", 1.0),
            scaled(result, "/update_ns", 1.0),
            scaled(result, "/update/p99_ns", 1.0),
            scaled(result, "/update/worst_ns", 1.0),
        );
    }
    text.push('\n');
    ["classify-trace", "classify-cold", "classify-rand"].iter().for_each(|name| image(text, name));
}

/// Every number of a benchmark, a column a run.
fn numbers(figures: &Map<String, Value>, bench: &str, text: &mut String) {
    let columns: Vec<_> = results(figures, bench)
        .map(|(name, result)| {
            let mut rows = Vec::new();
            flat(result, "", &mut rows);
            (name, rows)
        })
        .collect();
    let Some((_, first)) = columns.first() else {
        return;
    };
    let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let _ = writeln!(text, "| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for (key, _) in first {
        let cells = columns.iter().map(|(_, rows)| cell(rows.iter().find(|(name, _)| name == key).map(|(_, n)| *n)));
        let _ = writeln!(text, "| `{key}` | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    text.push('\n');
}

/// Everything that stands between the marks.
pub(super) fn all(figures: &Map<String, Value>) -> String {
    let mut text = String::from("## The last report\n\n");
    for (bench, title, plot) in [
        ("classify", "Classifier, ns per lookup", None),
        ("lpm", "Address tables", None),
        ("flows", "Flow table", Some("flows")),
        ("pipeline", "Pipeline", Some("pipeline")),
        ("rings", "Rings", None),
        ("parse", "Parse", None),
        ("checksum", "Checksum", None),
        ("ffi", "Glue", None),
        ("bpf", "Capture filters", None),
        ("e2e", "Kernel to kernel", None),
        ("latency", "Kernel to kernel, beside nftables", Some("latency")),
    ] {
        let Some(runs) = figures.get(bench).and_then(Value::as_array).filter(|runs| !runs.is_empty()) else {
            continue;
        };
        let of = |key: &str| {
            let value = runs.first().and_then(|run| run.pointer(&format!("/machine/{key}")));
            value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default()
        };
        let _ = writeln!(text, "### {title}\n");
        let _ = writeln!(
            text,
            "`{bench}`, {}: {} with {} cores, {}, {}, load {} at the end.\n",
            of("date"),
            of("cpu"),
            of("cores"),
            of("system"),
            of("rustc"),
            of("load"),
        );
        for run in runs {
            if let (Some(name), Some(error)) = (run.get("name"), run.pointer("/result/error")) {
                let _ = writeln!(text, "Not measured, {name}: {error}\n");
            }
        }
        if bench == "classify" {
            classify(figures, &mut text)
        } else {
            numbers(figures, bench, &mut text)
        }
        if let Some(plot) = plot.filter(|_| results(figures, bench).next().is_some()) {
            image(&mut text, plot);
        }
    }
    text
}
