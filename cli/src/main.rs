//! `weir`: run the driver, replay captures through it, look into it, change its rules.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod addresses;
mod capture;
mod capture_filter;
mod connect;
mod control;
#[cfg(target_os = "linux")]
mod demo;
mod explain;
mod filter;
mod local;
mod mac;
#[cfg(target_os = "linux")]
mod netns;
#[cfg(target_os = "linux")]
mod nic;
mod output;
mod problems;
mod remote;
#[cfg(target_os = "linux")]
mod replay;
mod rules;
#[cfg(target_os = "linux")]
mod run;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Weir: an Ethernet driver that filters every frame inline.
#[derive(Parser)]
#[command(name = "weir", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Which rules, and what their macros are.
#[derive(Args, Clone, Default)]
pub struct RuleArgs {
    /// Rules in pf.conf's language.
    #[arg(short = 'f', long = "rules", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Set a macro; the file's own definition of it is ignored.
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    pub define: Vec<String>,
    /// What has no meaning in a NIC driver is a warning, not an error.
    #[arg(long)]
    pub lenient: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Boot the driver between a NIC and a stack and stay until Ctrl-C.
    #[cfg(target_os = "linux")]
    Run(run::RunArgs),
    /// Send a capture through the driver, in virtual time, and say what became of each frame.
    #[cfg(target_os = "linux")]
    Replay(replay::ReplayArgs),
    /// Real traffic through the driver, with a table of what happened.
    #[cfg(target_os = "linux")]
    Demo(demo::DemoArgs),
    /// Read rules and report every error, without loading them.
    Check(rules::CheckArgs),
    /// Show a packet's way through rules: what matched, what did not and why, and what comes of it.
    Explain(explain::ExplainArgs),
    /// Look into a running driver: state, counters, rules, events.
    Show(remote::ShowArgs),
    /// Capture frames of a running driver, with what became of them, as pcapng.
    Capture(capture::CaptureArgs),
    /// Show events of a running driver as they happen.
    Events(capture::EventsArgs),
    /// Load rules into a running driver. The running ruleset stays if they are refused.
    Load(remote::LoadArgs),
    /// Look into tables of a running driver, and change them.
    Table(filter::TableArgs),
    /// The connections that a running driver keeps states of.
    States(filter::StatesArgs),
    /// Kill states of a running driver.
    Kill(filter::KillArgs),
    /// Load rules into an anchor of a running driver, or take them out.
    Anchor(filter::AnchorArgs),
    /// Let the running driver filter, pass everything, or block everything.
    Mode(remote::ModeArgs),
    /// macOS: ask the system to activate the driver extension of this app, and follow it until it runs.
    Install(mac::RequestArgs),
    /// macOS: replace an older driver extension by this app's.
    Upgrade(mac::RequestArgs),
    /// macOS: ask the system to remove the driver extension.
    Uninstall(mac::RequestArgs),
    /// State of the driver extension, its NICs and versions, and what to do next.
    Status(mac::StatusArgs),
    /// What about this Mac helps or hinders the driver; or which mechanism suits a job (`--decide`).
    Doctor(mac::DoctorArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        #[cfg(target_os = "linux")]
        Command::Run(args) => run::run(&args),
        #[cfg(target_os = "linux")]
        Command::Replay(args) => replay::run(&args),
        #[cfg(target_os = "linux")]
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => rules::check(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Show(args) => remote::show(&args),
        Command::Capture(args) => capture::run(&args),
        Command::Events(args) => capture::events(&args),
        Command::Load(args) => remote::load(&args),
        Command::Table(args) => filter::table(&args),
        Command::States(args) => filter::states(&args),
        Command::Kill(args) => filter::kill(&args),
        Command::Anchor(args) => filter::anchor(&args),
        Command::Mode(args) => remote::mode(&args),
        Command::Install(args) => mac::request(mac::Goal::Install, &args),
        Command::Upgrade(args) => mac::request(mac::Goal::Upgrade, &args),
        Command::Uninstall(args) => mac::request(mac::Goal::Uninstall, &args),
        Command::Status(args) => mac::status(&args),
        Command::Doctor(args) => mac::doctor(&args),
    };
    // A reader that went away (`| head`) is no failure of ours.
    let _ = std::io::stdout().flush();
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}
