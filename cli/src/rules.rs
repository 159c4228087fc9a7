//! From a file of rules to the image that the driver takes.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use weir_core::filter::{Ruleset, image};
use weir_pf::resolver::InterfaceAddress;
use weir_pf::{Checked, Optimisation, Options, Problem, Resolver, Severity, Source, System};

use crate::RuleArgs;
use crate::problems::{Colour, Printer, count};

/// Arguments of `weir check`.
#[derive(Args)]
pub struct CheckArgs {
    /// Rules in pf.conf's language; `-` is standard input.
    #[arg(required_unless_present = "rules")]
    file: Option<PathBuf>,
    /// The same, as pfctl and the other commands have it.
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "file")]
    rules: Option<PathBuf>,
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
    /// Look up neither host names nor interfaces that this machine does not have: addresses of documentation networks
    /// stand for them, files that are not here are empty and unknown services are a port that nobody minds, each with a
    /// note. For files of other machines.
    #[arg(long)]
    no_resolve: bool,
    /// Where the files are that have absolute names: DIR/etc/pf.anchors/x for /etc/pf.anchors/x.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Draw problems with colours, or print them as plain text.
    #[arg(long = "color", value_enum, value_name = "WHEN", default_value_t)]
    colour: Colour,
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

/// This machine, or what stands for another one.
struct Machine<'a> {
    /// Interfaces that it does not have.
    given: &'a [InterfaceAddress],
    /// Nothing is looked up.
    offline: bool,
    /// Where absolute file names begin.
    root: Option<&'a Path>,
    /// Hosts and interfaces that something stands for.
    hosts: Cell<u8>,
    interfaces: Cell<u8>,
    /// What else something stands for, in words.
    absent: RefCell<Vec<String>>,
}

impl Machine<'_> {
    fn note(&self, what: String) {
        let mut absent = self.absent.borrow_mut();
        if !absent.contains(&what) {
            absent.push(what);
        }
    }
}

impl Resolver for Machine<'_> {
    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        if !self.offline || name == "localhost" {
            return System.host(name);
        }
        // RFC 5737's third network and RFC 3849's prefix: 254 hosts, and more names share them.
        let next = self.hosts.get() % 254 + 1;
        self.hosts.set(next);
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, next.into());
        Ok(vec![Ipv4Addr::new(203, 0, 113, next).into(), v6.into()])
    }

    fn interfaces(&self) -> Vec<InterfaceAddress> {
        let mut all = System.interfaces();
        if self.offline {
            all.retain(|known| known.interface == "lo0");
        }
        all.retain(|known| !self.given.iter().any(|given| given.interface == known.interface));
        all.extend(self.given.iter().cloned());
        all
    }

    fn stand_in(&self, name: &str) -> Vec<InterfaceAddress> {
        if !self.offline {
            return Vec::new();
        }
        // RFC 2544's networks and RFC 3849's prefix, one subnet for each interface.
        let subnet = self.interfaces.get();
        self.interfaces.set(subnet.wrapping_add(1));
        let v4 = |host| IpAddr::from(Ipv4Addr::new(198, 18, subnet, host));
        let one = |addr, len, broadcast, peer| InterfaceAddress {
            interface: name.to_owned(),
            addr,
            len,
            broadcast,
            peer,
            loopback: false,
        };
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, u16::from(subnet), 0, 0, 0, 1);
        vec![one(v4(1), 24, Some(v4(255)), Some(v4(2))), one(v6.into(), 64, None, None)]
    }

    fn service(&self, name: &str) -> Option<u16> {
        System.service(name)
    }

    fn stand_in_service(&self, name: &str) -> Option<u16> {
        // RFC 863: nobody minds.
        const DISCARD: u16 = 9;
        self.offline.then(|| {
            self.note(format!("service `{name}` is not known here and is taken as port {DISCARD}"));
            DISCARD
        })
    }

    fn user(&self, name: &str) -> Option<u32> {
        System.user(name)
    }

    fn group(&self, name: &str) -> Option<u32> {
        System.group(name)
    }

    fn read(&self, path: &str) -> Result<String, String> {
        let here = match (self.root, path.strip_prefix('/')) {
            (Some(root), Some(below)) => root.join(below),
            _ => PathBuf::from(path),
        };
        if self.offline && !here.exists() {
            self.note(format!("file {path} is not here and is taken as empty"));
            return Ok(String::new());
        }
        System.read(&here.to_string_lossy())
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
    let file = args.file.as_ref().or(args.rules.as_ref()).context("give the rules")?;
    let source = read(file)?;
    let machine = Machine {
        given: &args.interfaces,
        offline: args.no_resolve,
        root: args.root.as_deref(),
        hosts: Cell::default(),
        interfaces: Cell::default(),
        absent: RefCell::default(),
    };
    let options = Options {
        defines: defines(&args.define)?,
        lenient: args.lenient,
        resolver: &machine,
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
        let why = if args.no_resolve { "is not looked up and is taken as" } else { "is" };
        eprintln!("{}: note: `{name}` {why} {} in this load", source.name, list.join(", "));
    }
    for what in machine.absent.borrow().iter() {
        eprintln!("{}: note: {what}", source.name);
    }
    let printer = Printer::new(args.colour);
    let problems: Vec<Problem> = checked.errors.iter().chain(&checked.warnings).cloned().collect();
    for problem in &problems {
        eprint!("{}", printer.text(problem));
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
        eprintln!("{}: {}", source.name, count(&problems));
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
    args.file
        .as_ref()
        .map(|file| load(&read(file)?, &args.define, args.lenient).map(|rules| image::encode(&rules)))
        .transpose()
}

/// The ruleset of the file of `args`; `None` if no file is named. Warnings go to standard error.
///
/// # Errors
/// Every error of the file.
pub fn ruleset(args: &RuleArgs) -> Result<Option<Ruleset>> {
    args.file.as_ref().map(|file| load(&read(file)?, &args.define, args.lenient)).transpose()
}

/// Compiles rules that are part of the program.
///
/// # Errors
/// Every error of the text.
#[cfg(target_os = "linux")]
pub fn compile_text(name: &str, text: &str, define: &[String]) -> Result<Vec<u8>> {
    let source = Source { name: name.to_owned(), text: text.to_owned() };
    load(&source, define, false).map(|ruleset| image::encode(&ruleset))
}

fn load(source: &Source, define: &[String], lenient: bool) -> Result<Ruleset> {
    let options = Options { defines: defines(define)?, lenient, ..Options::default() };
    let printer = Printer::new(Colour::Auto);
    match weir_pf::load(source, &options) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprint!("{}", printer.text(warning));
            }
            Ok(loaded.ruleset)
        }
        Err(errors) => {
            for error in &errors.errors {
                eprint!("{}", printer.text(error));
            }
            bail!("{} was not loaded", source.name)
        }
    }
}
