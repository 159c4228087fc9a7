//! `dkhost`: DriverKit for Linux as a command. `dkhost run` boots any DriverKit network driver that was built as a
//! shared object and attaches a stack to its interface.
#![forbid(unsafe_code)]

mod args;
mod run;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args::Cli { command: args::Command::Run(args) } = args::Cli::parse();
    run::run(&args)
}
