//! The cross-built check bundle's executable: Rust core and glue for the DriverKit platform, linked by lld against stubs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use object::macho;

use super::config::Config;
use super::{ARCHS, glue, macho as patch, stubs};
use crate::sh;

/// Debian's compiler: it comes with the standard library's sources, rustup's does not.
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";

/// What rustc calls an architecture.
pub fn rust_name(arch: &str) -> &str {
    if arch == "arm64" { "aarch64" } else { arch }
}

/// Builds every architecture; returns unsigned thin executables.
///
/// # Errors
/// What a compiler or the linker said.
pub fn build(config: &Config, work: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let symbols = stubs::symbols()?;
    let sdk = work.join("sdk");
    stubs::write(&symbols, &sdk)?;
    let sources = glue::generate(work)?;
    let mut slices = Vec::new();
    for arch in ARCHS {
        let core = core(config, arch, work)?;
        let dir = work.join(arch);
        let mut objects = glue::compile(&sources, &mut || clang(arch, config), &dir)?;
        objects.push(runtime(arch, config, &dir)?);
        objects.push(core);
        let linked = link(arch, config, &objects, &sdk, &stubs::frameworks(&symbols), &dir)?;
        let mut bytes = std::fs::read(&linked)?;
        patch::remove_command(&mut bytes, macho::LC_MAIN.0)?;
        slices.push((arch, bytes));
    }
    Ok(slices)
}

/// Compiles the core for one architecture into one object.
///
/// # Errors
/// What cargo said.
pub fn core(config: &Config, arch: &str, work: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(work)?;
    let target = work.join(format!("{}-driverkit.json", rust_name(arch)));
    write_if_new(&target, &target_spec(arch)?)?;
    let object = work.join(format!("core-{arch}.o"));
    let mut cargo = cargo(&["-Cembed-bitcode=yes", "-Zunstable-options", "-Cpanic=immediate-abort"]);
    cargo
        .env("MACOSX_DEPLOYMENT_TARGET", &config.minimum_driverkit)
        // One object, optimised as a whole: the linker at hand cannot read this compiler's bitcode.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_TARGET_DIR", work.join("cargo"))
        .args(["rustc", "--quiet", "--release", "-p", "weir-core", "--lib", "--no-default-features"])
        .args(["--features", "dext", "--crate-type", "staticlib", "-Zbuild-std=core,alloc", "-Zjson-target-spec"])
        .arg("--target")
        .arg(&target)
        .args(["--", "-Clto=fat"])
        .arg(format!("--emit=obj={}", object.display()));
    if !object.is_file() {
        forget_core(work);
    }
    sh::run(&mut cargo)?;
    if !object.is_file() {
        bail!("{} was not written", object.display());
    }
    check_imports(&std::fs::read(&object)?, arch)?;
    Ok(object)
}

/// The compiler that has the standard library's sources, with these flags and without the paths of this machine.
pub fn cargo(flags: &[&str]) -> Command {
    let home =
        std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap_or_default()));
    let maps = [
        (sh::root().display().to_string(), "weir"),
        (format!("{home}/registry/src"), "registry"),
        ("/usr/lib/rustlib/src/rust".to_owned(), "rust"),
    ];
    let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    flags.extend(maps.map(|(from, to)| format!("--remap-path-prefix={from}={to}")));
    let mut cargo = Command::new(CARGO);
    cargo
        .current_dir(sh::root())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", RUSTC)
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        // Unlike RUSTFLAGS, it takes flags with spaces in them.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    cargo
}

/// All that the core may want from outside: what compilers call by themselves, and the glue's hooks.
const CORE_IMPORTS: &[&str] = &["_memcpy", "_memmove", "_memset", "_memcmp", "_bzero"];

fn check_imports(object: &[u8], arch: &str) -> Result<()> {
    let image = super::verify::Image::parse(object)?;
    let other: Vec<&str> = image
        .imports
        .iter()
        .map(|import| import.name.as_str())
        .filter(|name| !CORE_IMPORTS.contains(name) && !name.starts_with("_weir_hook_"))
        .collect();
    if !other.is_empty() {
        bail!(
            "the core for {arch} needs {}; a driver extension gives it {}",
            other.join(", "),
            CORE_IMPORTS.join(", ")
        );
    }
    println!("core {arch}: needs {}", image.imports.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(" "));
    Ok(())
}

/// Makes cargo build the core again: it does not know of the object, and would find nothing to do.
fn forget_core(work: &Path) {
    for entry in walkdir::WalkDir::new(work.join("cargo")).max_depth(5).into_iter().flatten() {
        if entry.file_type().is_dir() && entry.file_name().to_string_lossy().starts_with("weir-core-") {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// macOS's target with what is different for DriverKit: the platform, no unwinding, no thread-local storage.
fn target_spec(arch: &str) -> Result<String> {
    let output = Command::new(RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["-Zunstable-options", "--print", "target-spec-json", "--target"])
        .arg(format!("{}-apple-darwin", rust_name(arch)))
        .output()
        .with_context(|| format!("cannot start {RUSTC}"))?;
    if !output.status.success() {
        bail!("{RUSTC}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut spec: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    // Without a version: that comes from MACOSX_DEPLOYMENT_TARGET. rustc knows no operating system of that name.
    spec["llvm-target"] = format!("{arch}-apple-driverkit").into();
    spec["panic-strategy"] = "abort".into();
    spec["has-thread-local"] = false.into();
    spec["metadata"]["std"] = false.into();
    Ok(serde_json::to_string_pretty(&spec)?)
}

fn write_if_new(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A compiler for the DriverKit platform that finds our headers only.
pub fn clang(arch: &str, config: &Config) -> Result<Command> {
    let compiler = weir_iig::find_clang()?;
    let resources = Command::new(&compiler).arg("-print-resource-dir").output()?;
    let resources = PathBuf::from(String::from_utf8_lossy(&resources.stdout).trim().to_owned());
    let mut command = Command::new(compiler);
    command
        .current_dir(sh::root())
        .arg("-target")
        .arg(format!("{arch}-apple-driverkit{}", config.minimum_driverkit))
        .arg("-nostdlibinc")
        .arg("-isystem")
        .arg("host/include")
        .arg("-isystem")
        .arg(resources.join("include"))
        .arg("-isystem")
        .arg("cli/mac/include")
        .arg(format!("-ffile-prefix-map={}=weir", sh::root().display()));
    Ok(command)
}

fn runtime(arch: &str, config: &Config, dir: &Path) -> Result<PathBuf> {
    let object = dir.join("check_runtime.o");
    let mut command = clang(arch, config)?;
    command.args(["-x", "c", "-std=c11", "-Oz", "-Wall", "-Wextra", "-Werror", "-c", "cli/mac/check_runtime.c", "-o"]);
    sh::run(command.arg(&object))?;
    Ok(object)
}

fn link(
    arch: &str,
    config: &Config,
    objects: &[PathBuf],
    sdk: &Path,
    frameworks: &[String],
    dir: &Path,
) -> Result<PathBuf> {
    let out = dir.join("linked");
    let mut lld = Command::new("ld64.lld-19");
    lld.args(["-arch", arch, "-platform_version", "driverkit", &config.minimum_driverkit])
        .arg(super::SDK_VERSION)
        .args(["-fixup_chains", "-no_adhoc_codesign", "-dead_strip", "-dead_strip_dylibs", "-S"])
        // Room for LC_CODE_SIGNATURE. Any symbol may be the entry: LC_MAIN is removed again.
        .args(["-headerpad", "0x400", "-e", "_weir_create", "-fatal_warnings", "-o"])
        .arg(&out)
        .args(objects)
        .arg("-syslibroot")
        .arg(sdk)
        .arg("-F")
        .arg(sdk.join("System/Library/Frameworks"))
        .arg("-L")
        .arg(sdk.join("usr/lib"))
        .arg("-lSystem");
    for framework in frameworks {
        lld.args([super::link_option(framework), framework]);
    }
    sh::run(&mut lld)?;
    Ok(out)
}
