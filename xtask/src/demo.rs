//! `cargo xtask demo`: build the command, run its demo.

use std::process::Command;

use anyhow::{Result, bail};

use crate::setup::{self, Install, Purpose};
use crate::sh;

/// Builds `weir` and runs `weir demo` with `args`.
///
/// # Errors
/// A missing package, a failed build, or a demo that did not end with 0.
pub fn run(install: Install, args: &[String]) -> Result<()> {
    setup::ensure(Purpose::Demo, install)?;
    sh::run(sh::cargo().args(["build", "--quiet", "--release", "-p", "weir-cli"]))?;
    let weir = sh::target_dir().join("release/weir");
    // Not sh::run: the demo's own last line is the last line of this command too.
    let status = Command::new(weir).arg("demo").args(args).status()?;
    if !status.success() {
        bail!("the demo failed ({status})");
    }
    Ok(())
}
