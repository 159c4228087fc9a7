//! Commands about what a running driver's rules work with: `weir table`, `weir states`, `weir kill`, `weir anchor`.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weir_core::abi::sys;
use weir_pf::names::protocols;

use crate::RuleArgs;
use crate::connect::{Target, connect};
use crate::control::{Control, Transport};
use crate::rules;

/// Arguments of `weir table`.
#[derive(Args)]
pub struct TableArgs {
    #[command(subcommand)]
    what: TableCommand,
    #[command(flatten)]
    target: Target,
    /// One JSON value.
    #[arg(long, global = true)]
    json: bool,
}

/// What to do with tables; `pfctl -t NAME -T ...` has the same words. A table of an anchor is PATH/NAME.
#[derive(Subcommand)]
enum TableCommand {
    /// Every table.
    List,
    /// What is in a table.
    Show { table: String },
    /// Adds addresses, `!` before those that are not to be in it.
    Add { table: String, addresses: Vec<String> },
    /// Takes addresses out.
    Delete { table: String, addresses: Vec<String> },
    /// Puts addresses in the place of all that is in it.
    Replace { table: String, addresses: Vec<String> },
    /// Takes everything out.
    Flush { table: String },
    /// Says which addresses are in it; the exit code is 1 if one is not.
    Test { table: String, addresses: Vec<String> },
}

/// Arguments of `weir states`.
#[derive(Args)]
pub struct StatesArgs {
    #[command(flatten)]
    target: Target,
    /// One JSON value.
    #[arg(long)]
    json: bool,
}

/// Arguments of `weir kill`.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["host", "label", "id", "all", "source"])))]
pub struct KillArgs {
    /// States with this address or network at one end; a second one is for the other end (`pfctl -k`).
    #[arg(value_name = "ADDRESS", num_args = 0..=2)]
    host: Vec<String>,
    /// States that a rule with this label made.
    #[arg(long)]
    label: Option<String>,
    /// The state with this number, as `weir states` shows it.
    #[arg(long)]
    id: Option<u64>,
    /// All states.
    #[arg(long)]
    all: bool,
    /// Instead of states, what is counted of sources in this network; `all` for every source (`pfctl -K`).
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["host", "label", "id", "all"])]
    source: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Arguments of `weir anchor`.
#[derive(Args)]
pub struct AnchorArgs {
    /// The anchor's path.
    path: String,
    #[command(flatten)]
    rules: RuleArgs,
    /// Take its rules out (`pfctl -a PATH -F rules`).
    #[arg(long, conflicts_with = "file")]
    flush: bool,
    #[command(flatten)]
    target: Target,
}

/// `[!]ADDRESS[/BITS]` as the driver takes it.
fn entry(text: &str) -> Result<[u8; 20]> {
    let bare = text.trim_start_matches('!');
    let (addr, len) = bare.split_once('/').map_or((bare, None), |(addr, len)| (addr, Some(len)));
    let addr: IpAddr = addr.parse().with_context(|| format!("`{text}` is no address"))?;
    let (octets, bits) = octets(addr);
    let len = len.map_or(Ok(bits), str::parse).ok().filter(|len| *len <= bits);
    let len = len.with_context(|| format!("`{text}`: a prefix has 0 to {bits} bits"))?;
    let keep = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
    let mut out = [0; 20];
    out[..16].copy_from_slice(&(u128::from_be_bytes(octets) & keep).to_be_bytes());
    (out[16], out[17], out[18]) = (if bits == 32 { 4 } else { 6 }, len, u8::from(bare.len() < text.len()));
    Ok(out)
}

fn octets(addr: IpAddr) -> ([u8; 16], u8) {
    let mut out = [0; 16];
    match addr {
        IpAddr::V4(a) => out[..4].copy_from_slice(&a.octets()),
        IpAddr::V6(a) => out = a.octets(),
    }
    (out, if addr.is_ipv4() { 32 } else { 128 })
}

fn entries(texts: &[String]) -> Result<Vec<u8>> {
    ensure!(!texts.is_empty(), "name at least one address");
    Ok(texts.iter().map(|text| entry(text)).collect::<Result<Vec<_>>>()?.concat())
}

fn address(family: u8, bytes: &[u8]) -> String {
    let whole: [u8; 16] = bytes.try_into().unwrap_or_default();
    let [a, b, c, d, ..] = whole;
    if family == 4 { IpAddr::from([a, b, c, d]).to_string() } else { IpAddr::from(whole).to_string() }
}

fn shown(entry: &[u8]) -> String {
    let (family, len, not) = (entry[16], entry[17], entry[18] != 0);
    let whole = if family == 4 { 32 } else { 128 };
    let prefix = if len == whole { String::new() } else { format!("/{len}") };
    format!("{}{}{prefix}", if not { "!" } else { "" }, address(family, &entry[..16]))
}

/// A path as the driver takes it, and what follows it.
fn request(path: &str, rest: &[u8]) -> Vec<u8> {
    let mut out = (path.len() as u32).to_ne_bytes().to_vec();
    out.extend(path.as_bytes());
    out.extend(rest);
    out
}

/// `weir table`.
///
/// # Errors
/// No driver listens there, there is no such table, or an address is none.
pub fn table(args: &TableArgs) -> Result<ExitCode> {
    let mut control = connect(&args.target)?;
    let change = |control: &mut Control<_>, how: u32, table: &str, list: &[u8]| -> Result<ExitCode> {
        let reply = command(control, sys::WEIR_CMD_TABLE_CHANGE, how.into(), &request(table, list))?;
        let mut numbers = reply.chunks_exact(4).map(|n| u32::from_ne_bytes(n.try_into().unwrap_or_default()));
        let mut next = || numbers.next().unwrap_or(0);
        let (added, deleted, changed, left) = (next(), next(), next(), next());
        match args.json {
            true => println!("{}", json!({ "added": added, "deleted": deleted, "changed": changed, "entries": left })),
            false => println!("{added} added, {deleted} deleted, {changed} changed: {left} in <{table}>"),
        }
        Ok(ExitCode::SUCCESS)
    };
    match &args.what {
        TableCommand::List => {
            let mut all: Vec<String> = Vec::new();
            loop {
                let reply = command(&mut control, sys::WEIR_CMD_TABLES, all.len() as u64, &[])?;
                let text = String::from_utf8_lossy(&reply);
                let before = all.len();
                all.extend(text.trim_end_matches('\0').lines().map(str::to_owned));
                if all.len() == before {
                    break;
                }
            }
            match args.json {
                true => println!("{}", json!(all)),
                false => all.iter().for_each(|line| println!("{line}")),
            }
        }
        TableCommand::Show { table } => {
            let mut all: Vec<String> = Vec::new();
            loop {
                let reply = command(&mut control, sys::WEIR_CMD_TABLE_SHOW, all.len() as u64, &request(table, &[]))?;
                if reply.len() < 20 {
                    break;
                }
                all.extend(reply.chunks_exact(20).map(shown));
            }
            match args.json {
                true => println!("{}", json!(all)),
                false => all.iter().for_each(|line| println!("   {line}")),
            }
        }
        TableCommand::Add { table, addresses } => {
            return change(&mut control, sys::WEIR_TABLE_ADD, table, &entries(addresses)?);
        }
        TableCommand::Delete { table, addresses } => {
            return change(&mut control, sys::WEIR_TABLE_DELETE, table, &entries(addresses)?);
        }
        TableCommand::Replace { table, addresses } => {
            return change(&mut control, sys::WEIR_TABLE_REPLACE, table, &entries(addresses)?);
        }
        TableCommand::Flush { table } => return change(&mut control, sys::WEIR_TABLE_REPLACE, table, &[]),
        TableCommand::Test { table, addresses } => {
            let list = entries(addresses)?;
            let reply = command(&mut control, sys::WEIR_CMD_TABLE_TEST, 0, &request(table, &list))?;
            let inside = |at: usize| reply.get(at) == Some(&1);
            match args.json {
                true => {
                    let pairs = addresses.iter().enumerate().map(|(at, a)| (a.clone(), Value::from(inside(at))));
                    println!("{}", Value::Object(pairs.collect()));
                }
                false => (0..addresses.len()).for_each(|at| {
                    println!("{} is {}in <{table}>", addresses[at], if inside(at) { "" } else { "not " });
                }),
            }
            return Ok(if (0..addresses.len()).all(inside) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn command<T: Transport>(control: &mut Control<T>, number: u32, arg: u64, payload: &[u8]) -> Result<Vec<u8>> {
    control.filter_command(number, arg, payload)
}

/// Bytes of a `weir_state`.
const STATE: usize = size_of::<sys::weir_state>();

/// `weir states`.
///
/// # Errors
/// No driver listens there.
pub fn states(args: &StatesArgs) -> Result<ExitCode> {
    let mut control = connect(&args.target)?;
    command(&mut control, sys::WEIR_CMD_STATES_LIST, 0, &[])?;
    // A queue lists at its next burst; an idle one has nothing new to say before long.
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut idle = 0;
    while idle < 5 {
        let reply = command(&mut control, sys::WEIR_CMD_STATES, 0, &[])?;
        idle = if reply.len() < STATE { idle + 1 } else { 0 };
        all.extend(reply.chunks_exact(STATE).map(<[u8]>::to_vec));
        if idle > 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let mut values = Vec::new();
    for state in &all {
        let u64_at = |at: usize| u64::from_ne_bytes(state[at..at + 8].try_into().unwrap_or_default());
        let u16_at = |at: usize| u16::from_ne_bytes(state[at..at + 2].try_into().unwrap_or_default());
        let (direction, family, protocol) = (state[132], state[133], state[134]);
        let end = |at: usize, port: usize| format!("{} port {}", address(family, &state[at..at + 16]), u16_at(port));
        let (far, near) = (end(56, 120), end(72, 122));
        let (stack_far, stack_near) = (end(88, 124), end(104, 126));
        let name = protocols::name(protocol).map_or_else(|| protocol.to_string(), str::to_owned);
        let way = if direction == 2 { "out" } else { "in" };
        let rule = u32::from_ne_bytes(state[128..132].try_into().unwrap_or_default());
        if args.json {
            values.push(json!({
                "id": u64_at(0), "proto": name, "direction": way, "rule": rule,
                "far": far, "near": near, "stack_far": stack_far, "stack_near": stack_near,
                "phases": [state[135], state[136]], "packets": [u64_at(8), u64_at(16)],
                "bytes": [u64_at(24), u64_at(32)], "age_ms": u64_at(40), "expires_ms": u64_at(48),
            }));
            continue;
        }
        let inside = if (&far, &near) == (&stack_far, &stack_near) {
            String::new()
        } else {
            format!(" ({stack_near}, {stack_far} for the stack)")
        };
        println!("{name} {way} {near} <-> {far}{inside} {}:{}", state[135], state[136]);
        println!(
            "   age {} s, expires in {} s, {}:{} pkts, {}:{} bytes, rule {rule}, id {}",
            u64_at(40) / 1000,
            u64_at(48) / 1000,
            u64_at(8),
            u64_at(16),
            u64_at(24),
            u64_at(32),
            u64_at(0)
        );
    }
    if args.json {
        println!("{}", Value::from(values));
    }
    Ok(ExitCode::SUCCESS)
}

/// Bytes of a `weir_source`.
const SOURCE: usize = size_of::<sys::weir_source>();

/// `weir show sources`.
///
/// # Errors
/// The driver is gone.
pub fn sources<T: Transport>(control: &mut Control<T>, json: bool) -> Result<()> {
    let mut values = Vec::new();
    let mut next = 0;
    loop {
        let reply = command(control, sys::WEIR_CMD_SOURCES, next, &[])?;
        for source in reply.chunks_exact(SOURCE) {
            let u64_at = |at: usize| u64::from_ne_bytes(source[at..at + 8].try_into().unwrap_or_default());
            let u32_at = |at: usize| u32::from_ne_bytes(source[at..at + 4].try_into().unwrap_or_default());
            next = u64_at(48);
            let addr = address(source[56], &source[..16]);
            let rule = Some(u32_at(16)).filter(|rule| *rule != u32::MAX);
            let (states, connections, rate) = (u32_at(20), u32_at(24), u32_at(28));
            let (age, expires) = (u64_at(32), u64_at(40));
            if json {
                values.push(json!({
                    "source": addr, "rule": rule, "states": states, "connections": connections,
                    "rate": f64::from(rate) / 1000.0, "age_ms": age, "expires_ms": expires,
                }));
                continue;
            }
            println!(
                "{addr} ( states {states}, connections {connections}, rate {}.{} )",
                rate / 1000,
                rate % 1000 / 100
            );
            let rule = rule.map_or_else(|| "all rules".to_owned(), |rule| format!("rule {rule}"));
            println!("   age {} s, expires in {} s, {rule}", age / 1000, expires / 1000);
        }
        if reply.len() < SOURCE {
            break;
        }
    }
    if json {
        println!("{}", Value::from(values));
    }
    Ok(())
}

/// `weir kill`.
///
/// # Errors
/// No driver listens there, or an address is none.
pub fn kill(args: &KillArgs) -> Result<ExitCode> {
    if let Some(source) = &args.source {
        let network = if source == "all" { Vec::new() } else { entry(source)?.to_vec() };
        ensure!(network.get(18) != Some(&1), "`{source}`: `!` has no meaning here");
        command(&mut connect(&args.target)?, sys::WEIR_CMD_SOURCES_KILL, 0, &network)?;
        println!("sources that match are forgotten");
        return Ok(ExitCode::SUCCESS);
    }
    let mut filter = vec![0u8; size_of::<sys::weir_state_filter>()];
    filter[..8].copy_from_slice(&args.id.unwrap_or(0).to_ne_bytes());
    for (at, host) in args.host.iter().enumerate() {
        let entry = entry(host)?;
        ensure!(entry[18] == 0, "{host}: states that do not have an address cannot be named");
        let (start, family) = ([8, 24][at.min(1)], [40, 42][at.min(1)]);
        filter[start..start + 16].copy_from_slice(&entry[..16]);
        filter[family..family + 2].copy_from_slice(&entry[16..18]);
    }
    if let Some(label) = &args.label {
        ensure!(label.len() < 64, "a label has at most 63 bytes");
        filter[48..48 + label.len()].copy_from_slice(label.as_bytes());
    }
    command(&mut connect(&args.target)?, sys::WEIR_CMD_STATES_KILL, 0, &filter)?;
    println!("states that match are killed with each queue's next burst");
    Ok(ExitCode::SUCCESS)
}

/// `weir anchor`.
///
/// # Errors
/// The rules are wrong, or the driver refused them; the anchor keeps those that it has.
pub fn anchor(args: &AnchorArgs) -> Result<ExitCode> {
    if args.flush {
        command(&mut connect(&args.target)?, sys::WEIR_CMD_ANCHOR_FLUSH, 0, &request(&args.path, &[]))?;
        println!("flushed");
        return Ok(ExitCode::SUCCESS);
    }
    let Some(image) = rules::compile(&args.rules)? else {
        bail!("name the rules with -f FILE, or say --flush");
    };
    let epoch = connect(&args.target)?.load_anchor(&request(&args.path, &image))?;
    println!("loaded into {} (epoch {epoch})", args.path);
    Ok(ExitCode::SUCCESS)
}
