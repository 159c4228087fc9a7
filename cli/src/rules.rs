//! From a file of rules to the image that the driver takes.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use weir_pf::{Options, Source, System};

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
    let options = Options { defines: defines(&args.define)?, lenient: args.lenient, resolver: &System };
    let checked = weir_pf::check(&source, &options);
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

/// Compiles the file of `args` into an image; `None` if no file is named. Warnings go to standard error.
///
/// # Errors
/// Every error of the file.
pub fn compile(args: &RuleArgs) -> Result<Option<Vec<u8>>> {
    args.file.as_ref().map(|file| compile_source(&read(file)?, &args.define)).transpose()
}

/// Compiles rules that are part of the program.
///
/// # Errors
/// Every error of the text.
pub fn compile_text(name: &str, text: &str, define: &[String]) -> Result<Vec<u8>> {
    compile_source(&Source { name: name.to_owned(), text: text.to_owned() }, define)
}

fn compile_source(source: &Source, define: &[String]) -> Result<Vec<u8>> {
    let options = Options { defines: defines(define)?, ..Options::default() };
    match weir_pf::load(source, &options) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprint!("{}", warning.render());
            }
            Ok(weir_core::filter::image::encode(&loaded.ruleset))
        }
        Err(errors) => {
            eprint!("{}", errors.render());
            bail!("{} was not loaded", source.name)
        }
    }
}
