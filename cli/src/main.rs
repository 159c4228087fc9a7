//! `weir`: run the driver, replay captures through it, look into it, change its rules.
#![forbid(unsafe_code)]

mod control;
mod demo;
mod explain;
mod netns;
mod nic;
mod output;
mod remote;
mod replay;
mod rules;
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
}

#[derive(Subcommand)]
enum Command {
    /// Boot the driver between a NIC and a stack and stay until Ctrl-C.
    Run(run::RunArgs),
    /// Send a capture through the driver, in virtual time, and say what became of each frame.
    Replay(replay::ReplayArgs),
    /// Real traffic through the driver, with a table of what happened.
    Demo(demo::DemoArgs),
    /// Read rules and report every error, without loading them.
    Check(rules::CheckArgs),
    /// Show a packet's way through rules: what matched, what did not and why, and what comes of it.
    Explain(explain::ExplainArgs),
    /// Look into a running driver: state, counters, rules, events.
    Show(remote::ShowArgs),
    /// Load rules into a running driver. The running ruleset stays if they are refused.
    Load(remote::LoadArgs),
    /// Let the running driver filter, pass everything, or block everything.
    Mode(remote::ModeArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => rules::check(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Show(args) => remote::show(&args),
        Command::Load(args) => remote::load(&args),
        Command::Mode(args) => remote::mode(&args),
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
