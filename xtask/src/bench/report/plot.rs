//! Bars, as SVG (W3C's SVG 1.1, chapters 9 and 10: rectangles, lines and text are all that is needed).

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value};

use super::table::{number, results};

const COLOURS: [&str; 4] = ["#0060a0", "#d87820", "#808080", "#409850"];
/// Height of the plot, and where its axis begins and ends.
const HEIGHT: f64 = 400.0;
const TOP: f64 = 72.0;
const BOTTOM: f64 = 360.0;
const LEFT: f64 = 56.0;
/// Width of a bar.
const BAR: f64 = 30.0;

/// A letter's width under the axis, about.
const LETTER: f64 = 6.0;

/// Groups of bars: what each is about, and a height for each series.
struct Bars<'a> {
    title: &'a str,
    unit: &'a str,
    series: &'a [&'a str],
    groups: Vec<(String, Vec<Option<f64>>)>,
}

/// A step of the axis: 1, 2 or 5 times a power of ten, at most six to the top.
fn step(top: f64) -> f64 {
    let power = 10f64.powf((top / 6.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| top / step <= 6.0).unwrap_or(top)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Bars<'_> {
    fn draw(&self, path: &Path) -> Result<()> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let top =
            self.groups.iter().flat_map(|(_, bars)| bars.iter().flatten()).fold(1e-9f64, |top, bar| top.max(*bar));
        let longest = self.groups.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let group = (BAR * self.series.len() as f64 + 24.0).max(LETTER * longest as f64 + 12.0);
        let bars_width = BAR * self.series.len() as f64;
        let width = (LEFT + group * self.groups.len() as f64 + 16.0).max(480.0);
        let y = |value: f64| BOTTOM - (BOTTOM - TOP) * value / (top * 1.08);
        let mut svg = String::new();
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{HEIGHT:.0}\" \
             viewBox=\"0 0 {width:.0} {HEIGHT:.0}\" font-family=\"sans-serif\" font-size=\"12\">"
        )?;
        writeln!(svg, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>")?;
        writeln!(svg, "<text x=\"{LEFT}\" y=\"22\" font-size=\"16\">{}</text>", escape(self.title))?;
        let mut x = LEFT;
        for (name, colour) in self.series.iter().zip(COLOURS) {
            writeln!(svg, "<rect x=\"{x}\" y=\"36\" width=\"12\" height=\"12\" fill=\"{colour}\"/>")?;
            writeln!(svg, "<text x=\"{}\" y=\"47\">{}</text>", x + 17.0, escape(name))?;
            x += 36.0 + 7.0 * name.len() as f64;
        }
        let step = step(top);
        for line in 0..=(top * 1.08 / step) as u32 {
            let value = f64::from(line) * step;
            let (at, right) = (y(value), width - 8.0);
            writeln!(svg, "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right:.1}\" y2=\"{at:.1}\" stroke=\"#d0d0d0\"/>")?;
            let (x, at) = (LEFT - 6.0, at + 4.0);
            writeln!(svg, "<text x=\"{x}\" y=\"{at:.1}\" text-anchor=\"end\">{}</text>", (value * 1e3).round() / 1e3)?;
        }
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            TOP - 8.0,
            escape(self.unit)
        )?;
        for (number, (name, bars)) in self.groups.iter().enumerate() {
            let left = LEFT + group * number as f64 + (group - bars_width) / 2.0;
            for (number, (bar, colour)) in bars.iter().zip(COLOURS).enumerate() {
                let Some(bar) = bar else {
                    continue;
                };
                let (x, at, inner) = (left + BAR * number as f64, y(*bar), BAR - 2.0);
                let height = BOTTOM - at;
                writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{at:.1}\" width=\"{inner}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
                )?;
                let text = if *bar < 100.0 { format!("{bar:.1}") } else { format!("{bar:.0}") };
                let (x, at) = (x + inner / 2.0, at - 4.0);
                writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{at:.1}\" font-size=\"10\" text-anchor=\"middle\">{text}</text>"
                )?;
            }
            let (x, at) = (left + bars_width / 2.0, BOTTOM + 18.0);
            writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{at}\" font-size=\"11\" text-anchor=\"middle\">{}</text>",
                escape(name)
            )?;
        }
        svg.push_str("</svg>\n");
        fs::write(path, svg)?;
        Ok(())
    }
}

/// All plots for which there are figures.
pub(super) fn all(folder: &Path, figures: &Map<String, Value>) -> Result<()> {
    for set in ["trace", "cold", "rand"] {
        let groups = results(figures, "classify")
            .map(|(name, result)| {
                let ours = number(result, &format!("/{set}/ns_per_lookup"));
                (name, vec![ours, number(result, &format!("/{set}/peer/ns_per_lookup"))])
            })
            .collect();
        let title = format!("Classifier, {set}: ns per lookup, bursts of 32");
        let bars = Bars { title: &title, unit: "ns", series: &["Weir", "rte_acl"], groups };
        bars.draw(&folder.join(format!("classify-{set}.svg")))?;
    }
    let groups = results(figures, "flows")
        .flat_map(|(name, result)| {
            [("hit", "_ns"), ("miss", "_miss_ns")].map(|(what, suffix)| {
                let of = |peer: &str| number(result, &format!("/{peer}{suffix}"));
                (format!("{name} {what}"), vec![of("lookup"), of("hashbrown"), of("rte_hash")])
            })
        })
        .collect();
    let series = ["Weir", "hashbrown", "rte_hash"];
    Bars { title: "Flow table: ns per lookup and update, or miss", unit: "ns", series: &series, groups }
        .draw(&folder.join("flows.svg"))?;
    let groups = results(figures, "pipeline")
        .map(|(name, result)| {
            let of = |path: &str| number(result, path);
            (name, vec![of("/ns_per_packet"), of("/peer/ns_per_packet")])
        })
        .collect();
    let series = ["Weir", "DPDK's forward loop with rte_acl, which keeps no states"];
    Bars { title: "Pipeline: ns per frame of 64 bytes", unit: "ns", series: &series, groups }
        .draw(&folder.join("pipeline.svg"))?;
    let groups = results(figures, "latency")
        .flat_map(|(_, result)| {
            [("50 %", "p50_us"), ("90 %", "p90_us"), ("99 %", "p99_us"), ("99.9 %", "p999_us")].map(|(name, key)| {
                let of = |path: &str| number(result, &format!("/{path}_{key}"));
                (name.to_owned(), ["veth", "nft", "weir", "weir_rules"].map(of).to_vec())
            })
        })
        .collect();
    let series = ["veth pair", "veth pair, nftables", "Weir", "Weir, the same rules"];
    Bars { title: "Round trip of a UDP datagram", unit: "us", series: &series, groups }
        .draw(&folder.join("latency.svg"))
}
