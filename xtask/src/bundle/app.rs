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
    let mut cargo = linux::cargo(&flags);
    for arch in ARCHS {
        let target = linux::rust_name(arch).to_uppercase();
        cargo.env(format!("CARGO_TARGET_{target}_APPLE_DARWIN_LINKER"), "ld64.lld-19");
    }
    cargo
        .env("MACOSX_DEPLOYMENT_TARGET", &config.minimum_macos)
        .env("SDKROOT", &sdk)
        .env("CARGO_TARGET_DIR", work.join("app"))
        .args(["build", "--quiet", "-p", "weir-cli", "--bin", "weir", "--profile", PROFILE])
        // Without what prints back traces.
        .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features="]);
    for arch in ARCHS {
        cargo.arg("--target").arg(triple(arch));
    }
    sh::run(&mut cargo)?;
    let read = |arch| {
        let path = executable(work, arch);
        Ok((arch, std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?))
    };
    ARCHS.into_iter().map(read).collect()
}

fn triple(arch: &str) -> String {
    format!("{}-apple-darwin", linux::rust_name(arch))
}

fn executable(work: &Path, arch: &str) -> PathBuf {
    work.join("app").join(triple(arch)).join(PROFILE).join("weir")
}
