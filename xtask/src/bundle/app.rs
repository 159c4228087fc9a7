//! The app's executable of a check bundle: the `weir` command for macOS, linked by lld against stubs that have what it may
//! import and nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::config::Config;
use super::{ARCHS, linux, stubs};
use crate::sh;

/// A profile that is quick to build: nobody runs the result.
const PROFILE: &str = "cross";

/// Builds and links the command for every architecture; returns unsigned thin executables.
///
/// # Errors
/// What a compiler or the linker said.
pub fn build(config: &Config, work: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let sdk = work.join("sdk-macos");
    stubs::write_app(&stubs::app_symbols()?, &sdk)?;
    let flags = [
        "-Zunstable-options",
        "-Clinker-flavor=ld64.lld",
        // Room for LC_CODE_SIGNATURE, which our own signer adds; local symbols serve nobody here.
        "-Clink-args=-headerpad 0x400 -no_adhoc_codesign -fixup_chains -S -x -fatal_warnings",
    ];
    let mut slices = Vec::new();
    for arch in ARCHS {
        let mut cargo = linux::cargo(&flags);
        cargo
            .env(format!("CARGO_TARGET_{}_APPLE_DARWIN_LINKER", linux::rust_name(arch).to_uppercase()), "ld64.lld-19")
            .env("MACOSX_DEPLOYMENT_TARGET", &config.minimum_macos)
            .env("SDKROOT", &sdk)
            .env("CARGO_TARGET_DIR", work.join("app"))
            .args(["rustc", "--quiet", "-p", "weir-cli", "--bin", "weir", "--profile", PROFILE])
            // Without what prints back traces.
            .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features="])
            .arg("--target")
            .arg(triple(arch))
            // Stripping debug information that is not there takes a tool that Debian's compiler comes without.
            .args(["--", "-Cstrip=none"]);
        sh::run(&mut cargo)?;
        let path = executable(work, arch);
        slices.push((arch, std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?));
    }
    Ok(slices)
}

fn triple(arch: &str) -> String {
    format!("{}-apple-darwin", linux::rust_name(arch))
}

fn executable(work: &Path, arch: &str) -> PathBuf {
    work.join("app").join(triple(arch)).join(PROFILE).join("weir")
}
