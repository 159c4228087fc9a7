//! Commands to a driver that somebody else runs: `weir show`, `weir load`, `weir mode`.

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use weir_core::abi::sys;

use crate::RuleArgs;
use crate::capture;
use crate::connect::{Target, connect};
use crate::output::{counters_json, event_json, event_line, rule_json};
use crate::rules;

/// Arguments of `weir show`.
#[derive(Args)]
pub struct ShowArgs {
    /// What to look at.
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    target: Target,
    /// Counters of this queue pair only.
    #[arg(long, value_name = "N")]
    queue: Option<u32>,
    /// One JSON value; with `--follow` one a line.
    #[arg(long)]
    json: bool,
    /// Show events as they happen, until Ctrl-C, without taking them from others.
    #[arg(long)]
    follow: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// State of the NIC.
    Info,
    /// Every counter.
    Counters,
    /// Whether every frame and every buffer is accounted for.
    Accounting,
    /// Rules with their counters.
    Rules,
    /// Logged frames and other events since the last look; `--follow` shows those to come.
    Events,
    /// Programs that watch frames or events, and what they lost.
    Captures,
    /// Time and length of bursts, by powers of two.
    Histograms,
    /// Sources that rules with `source-track` count (`pfctl -s Sources`).
    Sources,
    /// What moving frames cost the adapter: register accesses, doorbells, interrupts, copies.
    Nic,
}

/// Arguments of `weir load`.
#[derive(Args)]
pub struct LoadArgs {
    #[command(flatten)]
    rules: RuleArgs,
    /// Remove the ruleset instead: every frame passes.
    #[arg(long, conflicts_with = "file")]
    clear: bool,
    #[command(flatten)]
    target: Target,
}

/// Arguments of `weir mode`.
#[derive(Args)]
pub struct ModeArgs {
    /// What the driver does with frames.
    #[arg(value_enum)]
    mode: ModeName,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeName {
    /// The rules decide.
    Filter,
    /// Nothing is judged, everything passes and is counted.
    Bypass,
    /// Nothing passes.
    Block,
}

/// `weir show`.
///
/// # Errors
/// No driver listens there. An accounting that does not add up makes the exit code 1.
pub fn show(args: &ShowArgs) -> Result<ExitCode> {
    if args.follow {
        ensure!(args.what == What::Events, "--follow is for events");
        return capture::follow(&args.target, args.json);
    }
    ensure!(args.queue.is_none() || args.what == What::Counters, "--queue is for counters");
    let mut control = connect(&args.target)?;
    match args.what {
        What::Info => {
            let info = control.info()?;
            let mode = ["filter", "bypass", "block"].get(info.mode as usize).copied().unwrap_or("unknown");
            let mac = info.mac.map(|byte| format!("{byte:02x}")).join(":");
            if args.json {
                let value = json!({
                    "name": info.name, "mac": mac, "queues": info.queues, "mtu": info.mtu, "mode": mode,
                    "enabled": info.enabled, "link": info.link_up, "rules": info.rules, "epoch": info.epoch,
                    "version": info.version,
                });
                println!("{value}");
            } else {
                println!("{}: {mac} mtu {} queues {} core {}", info.name, info.mtu, info.queues, info.version);
                let state = if info.enabled { "up" } else { "down" };
                let link = if info.link_up { "carrier" } else { "no carrier" };
                println!("\t{state}, {link}, mode {mode}, {} rules (epoch {})", info.rules, info.epoch);
            }
        }
        What::Counters => {
            let counters = control.counters(args.queue)?;
            if args.json {
                println!("{}", counters_json(&counters));
            } else {
                for (name, value) in counters.fields() {
                    println!("{name:<14} {value}");
                }
                for (direction, transmit) in [("rx", false), ("tx", true)] {
                    for (reason, count) in counters.dropped(transmit) {
                        println!("{direction}_dropped {reason} {count}");
                    }
                }
            }
        }
        What::Accounting => {
            let checked = control.counters(None)?.check();
            let text = checked.as_ref().map_or_else(|error| format!("FAILED: {error:#}"), |()| "ok".into());
            if args.json {
                println!("{}", json!({ "accounting": text }));
            } else {
                println!("accounting: {text}");
            }
            if checked.is_err() {
                return Ok(ExitCode::FAILURE);
            }
        }
        What::Rules => {
            let rules = control.rules()?;
            if args.json {
                println!("{}", json!(rules.iter().map(rule_json).collect::<Vec<_>>()));
            } else {
                for rule in rules {
                    println!("@{} {}", rule.number, rule.text);
                    println!(
                        "  [ Evaluations: {:<9} Packets: {:<9} Bytes: {:<11} States: {:<6}]",
                        rule.evaluations, rule.packets, rule.bytes, rule.states
                    );
                }
            }
        }
        What::Nic => nic(&control.nic_stats()?, args.json),
        What::Histograms => {
            let names = ["rx_burst_ns", "tx_burst_ns", "rx_burst_len", "tx_burst_len"];
            let mut all = Vec::new();
            for (which, name) in (0..).zip(names) {
                let (buckets, sum) = control.histogram(which)?;
                if args.json {
                    all.push(json!({ "name": name, "buckets": buckets, "sum": sum }));
                    continue;
                }
                let count: u64 = buckets.iter().sum();
                println!("{name}: {count} bursts, mean {}", sum.checked_div(count).unwrap_or(0));
                for (log2, count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
                    println!("  from {:<12} {count}", 1_u64 << log2);
                }
            }
            if args.json {
                println!("{}", json!(all));
            }
        }
        What::Sources => crate::filter::sources(&mut control, args.json)?,
        What::Events => {
            let events = control.events()?;
            if args.json {
                println!("{}", json!(events.iter().map(event_json).collect::<Vec<_>>()));
            } else {
                events.iter().for_each(|event| println!("{}", event_line(event)));
            }
        }
        What::Captures => {
            let taps = control.taps()?;
            let used = taps.iter().enumerate().filter(|(_, tap)| tap.kinds != 0);
            if args.json {
                let all: Vec<_> = used
                    .map(|(number, tap)| {
                        json!({
                            "nr": number, "events": tap.kinds & sys::WEIR_TAP_EVENTS != 0, "snaplen": tap.snaplen,
                            "seen": tap.seen, "kept": tap.kept, "lost": tap.lost,
                        })
                    })
                    .collect();
                println!("{}", json!(all));
            } else {
                for (number, tap) in used {
                    let what = if tap.kinds & sys::WEIR_TAP_EVENTS != 0 { "events" } else { "frames" };
                    println!("{number} {what}: {} seen, {} kept, {} lost", tap.seen, tap.kept, tap.lost);
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `weir load`.
///
/// # Errors
/// The rules are wrong, or the driver refused them; it keeps those that it has.
pub fn load(args: &LoadArgs) -> Result<ExitCode> {
    if args.clear {
        connect(&args.target)?.clear()?;
        println!("cleared");
        return Ok(ExitCode::SUCCESS);
    }
    let Some(image) = rules::compile(&args.rules)? else {
        bail!("name the rules with -f FILE");
    };
    let epoch = connect(&args.target)?.load(&image)?;
    println!("loaded (epoch {epoch})");
    Ok(ExitCode::SUCCESS)
}

/// `weir mode`.
///
/// # Errors
/// No driver listens there.
pub fn mode(args: &ModeArgs) -> Result<ExitCode> {
    let mode = match args.mode {
        ModeName::Filter => sys::WEIR_MODE_FILTER,
        ModeName::Bypass => sys::WEIR_MODE_BYPASS,
        ModeName::Block => sys::WEIR_MODE_BLOCK,
    };
    connect(&args.target)?.set_mode(mode)?;
    Ok(ExitCode::SUCCESS)
}

/// Counts, and what there is of each per frame.
fn nic(stats: &[(&'static str, u64)], as_json: bool) {
    if as_json {
        let all: serde_json::Map<String, serde_json::Value> =
            stats.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        println!("{}", serde_json::Value::Object(all));
        return;
    }
    let get = |wanted: &str| stats.iter().find(|(name, _)| *name == wanted).map_or(0, |(_, count)| *count);
    let frames = get("frames_in") + get("frames_out");
    for (name, count) in stats {
        let costs = ["doorbells", "interrupts", "registers", "copies"].contains(name);
        if costs && frames > 0 {
            println!("{name:<16}{count:>12}   {:.3} per frame", *count as f64 / frames as f64);
        } else {
            println!("{name:<16}{count:>12}");
        }
    }
}
