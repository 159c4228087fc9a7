//! All automation of the project: `cargo xtask help`.
#![forbid(unsafe_code)]

mod bench;
mod bindings;
mod bundle;
mod demo;
mod dext;
mod hostile;
mod setup;
mod sh;
mod test;
mod tidy;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Automation for Weir. Every command finds what it needs and installs what is missing.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Only say what would be installed; fail if something is missing.
    #[arg(long, global = true)]
    no_install: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run the main job: real traffic of a real kernel through the driver, with a table of what happened.
    Demo {
        /// Passed on to `weir demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the tests: format, lints, house rules, unit and end-to-end tests.
    Test {
        /// Also the slow suites: sanitizers, loom, long soaks.
        #[arg(long)]
        all: bool,
        /// Only the steps whose name contains one of these texts.
        #[arg(long, value_name = "TEXT", value_delimiter = ',')]
        only: Vec<String>,
        /// Print the steps and stop.
        #[arg(long)]
        list: bool,
    },
    /// Check the house rules: import edges, unsafe, SAFETY comments, file length, data-path discipline.
    Tidy,
    /// Install what building and testing need.
    Setup {
        /// For which command.
        #[arg(long, value_enum, default_value = "test")]
        r#for: setup::Purpose,
    },
    /// Turn .iig files into headers and dispatch code.
    Iig {
        /// The .iig files of a dext.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Where NAME.h and NAME.iig.cpp go.
        #[arg(short, long, default_value = ".")]
        out: PathBuf,
    },
    /// Build any DriverKit network driver's .iig, C++ and C files into a shared object for `dkhost run`.
    Dext {
        /// Folders with the driver's sources.
        #[arg(long, required = true)]
        src: Vec<PathBuf>,
        /// The shared object to write.
        #[arg(short, long)]
        out: PathBuf,
        /// Instrument the driver's code.
        #[arg(long, value_parser = ["address", "thread", "undefined"])]
        sanitize: Option<String>,
        /// A preprocessor macro for the driver's sources.
        #[arg(short = 'D', value_name = "NAME[=VALUE]")]
        define: Vec<String>,
        /// A folder with headers that lie outside of the sources; those inside are found.
        #[arg(short = 'I', long, value_name = "DIR")]
        include: Vec<PathBuf>,
        /// Passed on to the linker: a static library, `-lNAME`.
        #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
        link: Vec<String>,
    },
    /// Measure, with a peer in the same run.
    Bench {
        #[command(subcommand)]
        bench: bench::Bench,
    },
    /// Boot a small virtual machine and hold the driver against the guest kernel's own USB devices.
    Vm {
        /// Only scenarios whose name contains this.
        only: Option<String>,
    },
    /// Build Weir.app with the driver extension, or inspect one.
    Bundle(bundle::BundleArgs),
    /// Write src/abi/sys.rs anew from dext/weir_core.h.
    Bindings {
        /// Compare instead of writing.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let install = setup::Install::from_flag(cli.no_install);
    let result = match cli.command {
        Command::Demo { args } => demo::run(install, &args),
        Command::Test { all, only, list } => test::run(install, all, &only, list),
        Command::Bench { bench } => bench::run(install, &bench),
        Command::Vm { only } => vm::run(install, only.as_deref()),
        Command::Tidy => tidy::run(),
        Command::Setup { r#for } => setup::ensure(r#for, install),
        Command::Iig { files, out } => dext::iig(&files, &out),
        Command::Dext { src, out, sanitize, define, include, link } => setup::ensure(setup::Purpose::Build, install)
            .and_then(|()| dext::build(&src, &out, sanitize.as_deref(), &define, &include, &link)),
        Command::Bundle(args) => setup::ensure(setup::Purpose::Bundle, install).and_then(|()| bundle::run(&args)),
        Command::Bindings { check } => setup::ensure(setup::Purpose::Bindings, install)
            .and_then(|()| if check { bindings::check() } else { bindings::write() }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
