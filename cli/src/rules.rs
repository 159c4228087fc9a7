//! From a file of rules to the image that the driver takes.

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use weir_core::filter::Ruleset;
use weir_pf::resolver::InterfaceAddress;
use weir_pf::{Checked, Optimisation, Options, Problem, Resolver, Severity, Source, System};

use crate::RuleArgs;

/// Arguments of `weir check`.
#[derive(Args)]
pub struct CheckArgs {
    /// Rules in pf.conf's language; `-` is standard input.
    file: PathBuf,
    /// Print the normal form, as `pfctl -nv` does.
    #[arg(short, long)]
    verbose: bool,
    /// Set a macro; the file's own definition of it is ignored.
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    define: Vec<String>,
    /// What has no meaning in a NIC driver is a warning, not an error.
    #[arg(long)]
    lenient: bool,
    /// Optimise rules, whatever `set ruleset-optimization` says; with -v, the optimised rules are printed.
    #[arg(short = 'o', value_enum, value_name = "LEVEL")]
    optimise: Option<Level>,
    /// An interface that this machine does not have, and one of its addresses; can be given several times.
    #[arg(long = "interface", value_name = "NAME=ADDRESS/BITS", value_parser = interface)]
    interfaces: Vec<InterfaceAddress>,
    /// Print problems, normal form and looked-up host names as JSON.
    #[arg(long)]
    json: bool,
}

/// `pfctl -o`.
#[derive(Clone, Copy, ValueEnum)]
enum Level {
    /// Rules stay as they are written.
    None,
    /// Rules that never decide go, lists of addresses become tables.
    Basic,
}

fn interface(text: &str) -> Result<InterfaceAddress, String> {
    let parts = text.split_once('=').and_then(|(name, address)| Some((name, address.split_once('/')?)));
    let (name, (addr, len)) = parts.ok_or("write NAME=ADDRESS/BITS, for instance en0=192.0.2.7/24")?;
    let addr: IpAddr = addr.parse().map_err(|_| format!("{addr} is no address"))?;
    let bits = if addr.is_ipv4() { 32 } else { 128 };
    let len: u8 = len.parse().ok().filter(|len| *len <= bits).ok_or(format!("{len} is no length of a prefix"))?;
    let broadcast = match addr {
        IpAddr::V4(a) if len < 31 => Some(IpAddr::V4((u32::from(a) | u32::MAX >> len).into())),
        _ => None,
    };
    Ok(InterfaceAddress { interface: name.to_owned(), addr, len, broadcast, peer: None, loopback: false })
}

/// This machine, and interfaces that it does not have.
struct Machine<'a>(&'a [InterfaceAddress]);

impl Resolver for Machine<'_> {
    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        System.host(name)
    }

    fn interfaces(&self) -> Vec<InterfaceAddress> {
        let mut all = System.interfaces();
        all.retain(|known| !self.0.iter().any(|given| given.interface == known.interface));
        all.extend(self.0.iter().cloned());
        all
    }

    fn service(&self, name: &str) -> Option<u16> {
        System.service(name)
    }

    fn user(&self, name: &str) -> Option<u32> {
        System.user(name)
    }

    fn group(&self, name: &str) -> Option<u32> {
        System.group(name)
    }

    fn read(&self, path: &str) -> Result<String, String> {
        System.read(path)
    }
}

fn read(path: &Path) -> Result<Source> {
    let (name, bytes) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes).context("cannot read standard input")?;
        ("stdin".to_owned(), bytes)
    } else {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
        (name, bytes)
    };
    Ok(Source::from_bytes(name, &bytes))
}

fn defines(texts: &[String]) -> Result<Vec<(String, String)>> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => bail!("-D {text}: write NAME=VALUE"),
        })
        .collect()
}

/// Reports every problem of a file.
///
/// # Errors
/// The file cannot be read. What is wrong in it is printed and makes the exit code 1.
pub fn check(args: &CheckArgs) -> Result<ExitCode> {
    let source = read(&args.file)?;
    let options = Options {
        defines: defines(&args.define)?,
        lenient: args.lenient,
        resolver: &Machine(&args.interfaces),
        optimisation: args.optimise.map(|level| match level {
            Level::None => Optimisation::None,
            Level::Basic => Optimisation::Basic,
        }),
    };
    let checked = weir_pf::check(&source, &options);
    if args.json {
        println!("{:#}", checked_json(&source, &checked));
        return Ok(if checked.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for (name, addrs) in checked.hosts.iter().filter(|(name, _)| name != "localhost") {
        let list: Vec<String> = addrs.iter().map(IpAddr::to_string).collect();
        eprintln!("{}: note: `{name}` is {} in this load", source.name, list.join(", "));
    }
    for problem in checked.errors.iter().chain(&checked.warnings) {
        eprint!("{}", problem.render());
    }
    if args.verbose
        && let Some(text) = &checked.text
    {
        print!("{text}");
    }
    if checked.errors.is_empty() {
        if !args.verbose && std::io::stdout().is_terminal() {
            let rules = checked.ruleset.as_ref().map_or(0, |ruleset| ruleset.rules.len());
            println!("{}: {rules} rules", source.name);
        }
        Ok(ExitCode::SUCCESS)
    } else {
        let count = checked.errors.len();
        eprintln!("{}: {count} error{}", source.name, if count == 1 { "" } else { "s" });
        Ok(ExitCode::FAILURE)
    }
}

fn checked_json(source: &Source, checked: &Checked) -> Value {
    let problem = |problem: &Problem| {
        let (line, column) = problem.line_column();
        let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
        json!({
            "file": problem.file_name(), "line": line, "column": column, "severity": severity,
            "reason": problem.reason, "hint": problem.hint, "macro": problem.expansion,
        })
    };
    let hosts: serde_json::Map<String, Value> = checked
        .hosts
        .iter()
        .map(|(name, addrs)| (name.clone(), addrs.iter().map(|a| Value::from(a.to_string())).collect()))
        .collect();
    json!({
        "file": source.name, "loads": checked.ruleset.is_some(),
        "rules": checked.ruleset.as_ref().map(|ruleset| ruleset.rules.len()),
        "problems": checked.errors.iter().chain(&checked.warnings).map(problem).collect::<Vec<_>>(),
        "hosts": hosts, "text": checked.text,
    })
}

/// Compiles the file of `args` into an image; `None` if no file is named. Warnings go to standard error.
///
/// # Errors
/// Every error of the file.
pub fn compile(args: &RuleArgs) -> Result<Option<Vec<u8>>> {
    args.file.as_ref().map(|file| compile_source(&read(file)?, &args.define)).transpose()
}

/// The ruleset of the file of `args`; `None` if no file is named. Warnings go to standard error.
///
/// # Errors
/// Every error of the file.
pub fn ruleset(args: &RuleArgs) -> Result<Option<Ruleset>> {
    args.file.as_ref().map(|file| load(&read(file)?, &args.define)).transpose()
}

/// Compiles rules that are part of the program.
///
/// # Errors
/// Every error of the text.
pub fn compile_text(name: &str, text: &str, define: &[String]) -> Result<Vec<u8>> {
    compile_source(&Source { name: name.to_owned(), text: text.to_owned() }, define)
}

fn compile_source(source: &Source, define: &[String]) -> Result<Vec<u8>> {
    load(source, define).map(|ruleset| weir_core::filter::image::encode(&ruleset))
}

fn load(source: &Source, define: &[String]) -> Result<Ruleset> {
    let options = Options { defines: defines(define)?, ..Options::default() };
    match weir_pf::load(source, &options) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprint!("{}", warning.render());
            }
            Ok(loaded.ruleset)
        }
        Err(errors) => {
            eprint!("{}", errors.render());
            bail!("{} was not loaded", source.name)
        }
    }
}
