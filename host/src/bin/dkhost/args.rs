//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use weir_host::provider::ProviderSpec;
use weir_host::stack::spec::StackSpec;
use weir_host::{Fault, Prop};

/// Runs DriverKit network drivers on Linux.
#[derive(Parser)]
#[command(name = "dkhost", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0    the driver ran and stopped in order
  1    the driver did not start, or an attachment failed
  2    the command line is wrong
  3    the driver did not stop in order, or left packets behind; with --strict-leaks also: left objects behind
  134  (SIGABRT) the driver broke a rule of the runtime; what and where is on standard error";

#[derive(Subcommand)]
pub enum Command {
    /// Boots a driver, attaches a stack to its interface, and stays until Ctrl-C, SIGTERM or --for.
    Run(RunArgs),
}

#[derive(Args)]
pub struct RunArgs {
    /// The driver, built as a shared object (`cargo xtask dext`).
    #[arg(long, value_name = "LIB.so")]
    pub dext: PathBuf,
    /// Class to boot: IOUserClass of its personality.
    #[arg(long, value_name = "NAME")]
    pub class: String,
    /// What the driver is put on; without it, on nothing (a virtual device). `usb:BUS-DEV` or `usb:VID:PID` (a device of
    /// this machine, taken from its kernel driver) and `sim:ncm`, `sim:ecm`, `sim:rndis` (models) with `,config=N`,
    /// `,interface=N` or `,device`; `qemu:e1000e,tap:NAME`, `qemu:virtio-net[,packed],tap:NAME` (QEMU's model of a PCI NIC whose
    /// cable ends in a TAP interface), `sim:igc[,tap:NAME]` and `vfio:ADDRESS` (a PCI device of this machine).
    #[arg(long, value_name = "SPEC")]
    pub provider: Option<ProviderSpec>,
    /// What to attach: tap:NAME, smoltcp:ADDR/LEN or pcap:FILE, with options.
    #[arg(long, value_name = "SPEC")]
    pub stack: StackSpec,
    /// Virtual time and a schedule chosen by --seed, instead of threads.
    #[arg(long)]
    pub simulate: bool,
    /// Chooses the schedule of --simulate.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "simulate")]
    pub seed: u64,
    /// Stop after so many seconds (virtual ones with --simulate).
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Make the N-th call of NAME fail, with CODE if given; may be repeated.
    #[arg(long, value_name = "NAME:N[=CODE]")]
    pub fail: Vec<Fault>,
    /// Property of the personality: a number, true, false, or text; `Outer/Inner=V` goes into a dictionary. May be
    /// repeated.
    #[arg(long, value_name = "K=V", value_parser = property)]
    pub property: Vec<(String, Prop)>,
    /// At the end, print every call that can be made to fail, and how often it was made.
    #[arg(long)]
    pub list_calls: bool,
    /// Serve user clients of this user and of root on this Unix socket.
    #[arg(long, value_name = "SOCK")]
    pub control: Option<PathBuf>,
    /// Entitlement that --control's clients have; may be repeated.
    #[arg(long, value_name = "KEY", requires = "control")]
    pub entitlement: Vec<String>,
    /// Objects that the driver never frees are a failure, not a warning. (On a Mac they go with the driver's process,
    /// and many drivers leave some.)
    #[arg(long)]
    pub strict_leaks: bool,
    /// Print the driver's os_log.
    #[arg(long)]
    pub log: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

fn property(text: &str) -> Result<(String, Prop), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    if key.split('/').any(str::is_empty) {
        return Err("a key is empty".to_owned());
    }
    let number = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    };
    let value = match (value, number) {
        ("true", _) => Prop::Bool(true),
        ("false", _) => Prop::Bool(false),
        (_, Some(number)) => Prop::from(number),
        (text, None) => Prop::from(text),
    };
    Ok((key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn properties_have_types() {
        assert_eq!(property("A=1"), Ok(("A".into(), Prop::from(1u64))));
        assert_eq!(property("A=0x10"), Ok(("A".into(), Prop::from(16u64))));
        assert_eq!(property("A/B=true"), Ok(("A/B".into(), Prop::Bool(true))));
        assert_eq!(property("A=b=c"), Ok(("A".into(), Prop::from("b=c"))));
        assert!(property("A").is_err());
        assert!(property("=1").is_err());
        assert!(property("A//B=1").is_err());
    }

    #[test]
    fn a_whole_line_and_wrong_ones() {
        let line = "dkhost run --dext a.so --class C --stack tap:x0,queues=2 --for 1.5 --fail A::B:2=0xe00002bd";
        let Ok(Cli { command: Command::Run(args) }) = Cli::try_parse_from(line.split(' ')) else { panic!("refused") };
        assert_eq!(args.duration, Some(Duration::from_millis(1500)));
        assert_eq!((args.fail[0].name.as_str(), args.fail[0].count), ("A::B", 2));
        for wrong in ["tap:", "tap:x0 --for x", "tap:x0 --fail nothing", "tap:x0 --seed 4", "tap:x0 --property k"] {
            let line = format!("dkhost run --dext a.so --class C --stack {wrong}");
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{wrong}");
        }
    }
}
