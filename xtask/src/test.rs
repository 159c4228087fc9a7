//! `cargo xtask test`: every check in one list. Continuous integration runs exactly this.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::setup::{self, Install, Purpose};
use crate::{bindings, bundle, sh, tidy};

/// How a step ended.
enum Outcome {
    Passed,
    /// Not run, and why. An error where `CI` is set.
    Skipped(&'static str),
}

struct Step {
    name: &'static str,
    what: &'static str,
    /// Only with `--all`.
    slow: bool,
    run: fn() -> Result<Outcome>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", what: "cargo fmt --check", slow: false, run: fmt },
    Step { name: "tidy", what: "the rules of the house", slow: false, run: house_rules },
    Step {
        name: "bindings",
        what: "src/abi/sys.rs is what bindgen makes of dext/weir_core.h",
        slow: false,
        run: sys_rs,
    },
    Step {
        name: "rust-only",
        what: "core and rule language: build and test with Rust alone",
        slow: false,
        run: rust_only,
    },
    Step {
        name: "no-std",
        what: "the core as the dext gets it: no std, own allocator and panic handler",
        slow: false,
        run: no_std,
    },
    Step { name: "clippy", what: "cargo clippy -D warnings", slow: false, run: clippy },
    Step { name: "workspace", what: "unit and integration tests of the other members", slow: false, run: workspace },
    Step { name: "doc", what: "rustdoc without warnings", slow: false, run: doc },
    Step {
        name: "command",
        what: "the weir command, replay, and kernel traffic in namespaces",
        slow: false,
        run: command,
    },
    Step { name: "demo", what: "weir demo, twice, without residue", slow: false, run: demo },
    Step {
        name: "apple",
        what: "the command compiles and links for both of Apple's targets, the calls into its frameworks included",
        slow: false,
        run: apple_targets,
    },
    Step {
        name: "bundle",
        what: "the Mac's app and driver extension, cross-built and inspected; the glue for every DriverKit",
        slow: false,
        run: mac_bundle,
    },
    Step {
        name: "vm",
        what: "NICs against Linux's own drivers in virtual machines: USB gadgets, QEMU's USB NIC",
        slow: true,
        run: machine,
    },
    Step { name: "loom", what: "every interleaving of the rings", slow: true, run: loom },
    Step { name: "asan", what: "glue and runtime under AddressSanitizer and LeakSanitizer", slow: true, run: asan },
    Step {
        name: "hostile",
        what: "devices that obey no rule, ten minutes each under AddressSanitizer",
        slow: true,
        run: hostile,
    },
    Step {
        name: "clients",
        what: "clients that call anything and scribble over shared memory, ten minutes under AddressSanitizer",
        slow: true,
        run: hostile_clients,
    },
    Step { name: "tsan", what: "glue and runtime under ThreadSanitizer", slow: true, run: tsan },
    Step {
        name: "reproducible",
        what: "two builds of the bundle from nothing are the same byte for byte",
        slow: true,
        run: reproducible,
    },
    Step {
        name: "semantics",
        what: "engine and reference interpreter agree on ten million cases (WEIR_CASES for another number)",
        slow: true,
        run: semantics,
    },
    Step {
        name: "tcp-mix",
        what: "an hour of TCP connections between kernels (WEIR_TCP_MIX_SECONDS for another time)",
        slow: true,
        run: tcp_mix,
    },
    Step { name: "soak", what: "link flaps, Stop/Start cycles, 10 GB, long runs", slow: true, run: soak },
];

/// Runs the steps and prints a summary.
///
/// # Errors
/// Missing packages, or the names of the steps that failed.
pub fn run(install: Install, all: bool, only: &[String], list: bool) -> Result<()> {
    let named = |step: &Step| only.iter().any(|text| step.name.contains(text.as_str()));
    let steps: Vec<&Step> =
        STEPS.iter().filter(|step| if only.is_empty() { all || !step.slow } else { named(step) }).collect();
    if steps.is_empty() {
        anyhow::bail!("no step has {} in its name; `cargo xtask test --all --list` names them", only.join(" or "));
    }
    if list {
        for step in steps {
            println!("{:<10} {}{}", step.name, step.what, if step.slow { " (--all)" } else { "" });
        }
        return Ok(());
    }
    let slow = steps.iter().any(|step| step.slow);
    setup::ensure(if slow { Purpose::TestAll } else { Purpose::Test }, install)?;
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    let mut lines = Vec::new();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for step in &steps {
        println!("\n== {}: {}", step.name, step.what);
        let start = Instant::now();
        let mut outcome = (step.run)();
        if let (true, Ok(Outcome::Skipped(why))) = (ci, &outcome) {
            outcome = Err(anyhow::anyhow!("skipped where nothing may be skipped: {why}"));
        }
        let seconds = start.elapsed().as_secs_f64();
        lines.push(match outcome {
            Ok(Outcome::Passed) => {
                passed += 1;
                format!("{:<10} ok       {seconds:6.1} s", step.name)
            }
            Ok(Outcome::Skipped(why)) => {
                skipped += 1;
                format!("{:<10} skipped  {why}", step.name)
            }
            Err(error) => {
                failed += 1;
                format!("{:<10} FAILED   {seconds:6.1} s  {error:#}", step.name)
            }
        });
        if let Some(line) = lines.last() {
            println!("== {line}");
        }
    }
    println!("\n{}", lines.join("\n"));
    println!("steps: {passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 {
        bail!("{failed} of {} steps failed", steps.len());
    }
    Ok(())
}

fn passed(command: &mut Command) -> Result<Outcome> {
    sh::run(command)?;
    Ok(Outcome::Passed)
}

fn machine() -> Result<Outcome> {
    if cfg!(not(target_os = "linux")) {
        return Ok(Outcome::Skipped("the machine is built of Debian's packages"));
    }
    crate::vm::run(Install::TellOnly, None)?;
    Ok(Outcome::Passed)
}

fn fmt() -> Result<Outcome> {
    passed(sh::cargo().args(["fmt", "--all", "--check"]))
}

fn house_rules() -> Result<Outcome> {
    tidy::run()?;
    Ok(Outcome::Passed)
}

/// A Mac's own builds are the ordinary ones.
fn apple_targets() -> Result<Outcome> {
    if !cfg!(target_os = "macos") {
        bundle::test_app()?;
    }
    Ok(Outcome::Passed)
}

fn mac_bundle() -> Result<Outcome> {
    bundle::test()?;
    Ok(Outcome::Passed)
}

fn reproducible() -> Result<Outcome> {
    bundle::test_reproducible()?;
    Ok(Outcome::Passed)
}

fn sys_rs() -> Result<Outcome> {
    bindings::check()?;
    Ok(Outcome::Passed)
}

fn rust_only() -> Result<Outcome> {
    // A compiler that is not there must not be missed.
    passed(sh::cargo().env("WEIR_CLANGXX", "/nonexistent").args([
        "test",
        "--quiet",
        "--no-fail-fast",
        "-p",
        "weir-core",
        "-p",
        "weir-pf",
    ]))
}

fn no_std() -> Result<Outcome> {
    sh::run(sh::cargo().args([
        "clippy",
        "--quiet",
        "-p",
        "weir-core",
        "--lib",
        "--release",
        "--no-default-features",
        "--",
        "-D",
        "warnings",
    ]))?;
    // A static library needs every hook resolved: allocator and panic handler are the dext's.
    passed(sh::cargo().args([
        "rustc",
        "--quiet",
        "--release",
        "-p",
        "weir-core",
        "--lib",
        "--no-default-features",
        "--features",
        "dext",
        "--crate-type",
        "staticlib",
        "--",
        "-C",
        "panic=abort",
    ]))
}

fn clippy() -> Result<Outcome> {
    passed(sh::cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn workspace() -> Result<Outcome> {
    passed(sh::cargo().args([
        "test",
        "--quiet",
        "--no-fail-fast",
        "--workspace",
        "--exclude",
        "weir-core",
        "--exclude",
        "weir-pf",
        "--exclude",
        "weir-cli",
    ]))
}

fn doc() -> Result<Outcome> {
    passed(sh::cargo().env("RUSTDOCFLAGS", "-D warnings").args([
        "doc",
        "--quiet",
        "--no-deps",
        "-p",
        "weir-core",
        "-p",
        "weir-pf",
        "-p",
        "weir-host",
    ]))
}

/// The release build of the command, which the tests below drive as its user would.
fn weir() -> Result<std::path::PathBuf> {
    sh::run(sh::cargo().args(["build", "--quiet", "--release", "-p", "weir-cli"]))?;
    Ok(sh::target_dir().join("release/weir"))
}

fn command() -> Result<Outcome> {
    if !setup::is_root() {
        sh::run(sh::cargo().args(["test", "--quiet", "-p", "weir-cli", "--", "--skip", "kernel"]))?;
        return Ok(Outcome::Skipped("kernel traffic needs root for namespaces and TAP devices; the rest passed"));
    }
    passed(sh::cargo().env("WEIR_BIN", weir()?).args(["test", "--quiet", "--no-fail-fast", "-p", "weir-cli"]))
}

fn demo() -> Result<Outcome> {
    let weir = weir()?;
    for _ in 0..2 {
        let before = residue();
        let output = Command::new(&weir).arg("demo").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        print!("{text}{}", String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("weir demo failed ({})", output.status);
        }
        if text.trim_end().lines().last() != Some("accounting: ok") {
            bail!("the last line of weir demo is not `accounting: ok`");
        }
        let after = residue();
        if before != after {
            bail!("weir demo left something behind: before {before:?}, after {after:?}");
        }
    }
    Ok(Outcome::Passed)
}

/// Names of interfaces and namespaces, which a demo must leave as they were.
fn residue() -> Vec<String> {
    let list = |args: &[&str]| {
        let output = Command::new("ip").args(args).output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output)
            .lines()
            .map(|line| line.split_whitespace().take(2).collect())
            .collect::<Vec<String>>()
    };
    let mut all = list(&["netns", "list"]);
    all.extend(list(&["-o", "link", "show"]));
    all
}

fn loom() -> Result<Outcome> {
    passed(sh::cargo().env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", sh::target_dir().join("loom")).args([
        "test",
        "--quiet",
        "--release",
        "-p",
        "weir-core",
        "--lib",
        "loom",
    ]))
}

fn asan() -> Result<Outcome> {
    sanitized("address")
}

fn tsan() -> Result<Outcome> {
    sanitized("thread")
}

/// Devices against drivers.
fn hostile() -> Result<Outcome> {
    crate::hostile::run()?;
    Ok(Outcome::Passed)
}

/// The user client against programs that obey no rule.
fn hostile_clients() -> Result<Outcome> {
    let target = host_triple()?;
    passed(
        sh::cargo()
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", sanitizer_flags("address")?)
            .env("WEIR_SANITIZE", "address")
            .env("CARGO_TARGET_DIR", sh::target_dir().join("sanitize-address"))
            .env("WEIR_HOSTILE_SECONDS", "600")
            .args(["test", "--quiet", "--target", &target, "-p", "weir-cli", "--test", "dext", "--"])
            .args(["no_call_of_a_hostile_client", "memory_that_changes"]),
    )
}

/// Tests of runtime and driver with C++ and Rust code instrumented alike, and of the sanitized `weir` in namespaces.
///
/// `-Z` switches on a stable compiler are for these steps only; what ships is built without them. ThreadSanitizer must
/// also see the standard library's own synchronisation, or it takes every handover by channel, lock or condition
/// variable for a race. That takes its sources built alike, which Debian's compiler package brings (see setup.rs).
fn sanitized(which: &str) -> Result<Outcome> {
    let races = which == "thread";
    if races && !cfg!(target_os = "linux") {
        return Ok(Outcome::Skipped("the instrumented standard library comes from Debian's rust-web-src"));
    }
    let target = host_triple()?;
    let mut cargo = sh::cargo();
    if races {
        cargo = Command::new("/usr/bin/cargo");
        cargo.current_dir(sh::root()).env("RUSTC", "/usr/bin/rustc").env_remove("CARGO");
    }
    cargo
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", sanitizer_flags(which)?)
        .env("WEIR_SANITIZE", which)
        .env("CARGO_TARGET_DIR", sh::target_dir().join(format!("sanitize-{which}")))
        .env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1")
        .env("TSAN_OPTIONS", "halt_on_error=1:second_deadlock_stack=1")
        // The tests then drive the `weir` that is built with them.
        .env_remove("WEIR_BIN");
    // Both packages at once, so that what they share is built once.
    cargo.args(["test", "--quiet", "--no-fail-fast", "--target", &target]);
    cargo.args(["-p", "weir-host", "-p", "weir-cli", "--tests"]);
    if races {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    // A sanitizer's own bookkeeping grows with traffic: resident memory means nothing here.
    cargo.args(["--", "--skip", "kernel_driver_holds_its_memory"]);
    if !setup::is_root() {
        sh::run(cargo.args(["--skip", "kernel"]))?;
        return Ok(Outcome::Skipped("kernel traffic needs root; the simulated tests passed"));
    }
    passed(&mut cargo)
}

/// The compiler's flags for Rust code beside C++ under a sanitizer; the same for all steps, so that they share what is
/// built. The C++ library is named because the sanitizer's C++ part wants it even where a program has no C++.
///
/// # Errors
/// There is no clang.
pub fn sanitizer_flags(which: &str) -> Result<String> {
    let library = if cfg!(target_os = "macos") { "c++" } else { "stdc++" };
    Ok(format!(
        "-Zsanitizer={which} -Zexternal-clangrt -Cunsafe-allow-abi-mismatch=sanitizer -Clinker={} -Clink-arg=-fsanitize={which} \
         -Clink-arg=-l{library}",
        weir_iig::find_clang()?.display()
    ))
}

/// The triple of this machine's own compiler.
///
/// # Errors
/// There is none, or it does not say.
pub fn host_triple() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.ok_or_else(|| anyhow::anyhow!("`rustc -vV` names no host"))?.to_owned())
}

fn soak() -> Result<Outcome> {
    if !setup::is_root() {
        return Ok(Outcome::Skipped("needs root for namespaces and TAP devices"));
    }
    passed(sh::cargo().env("WEIR_BIN", weir()?).env("WEIR_SOAK", "1").args([
        "test",
        "--quiet",
        "--no-fail-fast",
        "-p",
        "weir-cli",
        "--test",
        "kernel",
        "--test",
        "conformance",
        "--",
        // The variable makes the kernel's tests long.
        "kernel",
        "soak",
    ]))
}

/// A variable of the environment, or what it is without.
fn number(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.into())
}

fn semantics() -> Result<Outcome> {
    let cases = number("WEIR_CASES", "10000000");
    passed(sh::cargo().env("WEIR_CASES", cases).args([
        "test",
        "--quiet",
        "--release",
        "-p",
        "weir-pf",
        "--test",
        "reference",
    ]))
}

fn tcp_mix() -> Result<Outcome> {
    if !setup::is_root() {
        return Ok(Outcome::Skipped("needs root for namespaces and TAP devices"));
    }
    let seconds = number("WEIR_TCP_MIX_SECONDS", "3600");
    passed(sh::cargo().env("WEIR_BIN", weir()?).env("WEIR_TCP_MIX_SECONDS", seconds).args([
        "test",
        "--quiet",
        "-p",
        "weir-cli",
        "--test",
        "pf",
        "--",
        "tcp_mix",
        "--nocapture",
    ]))
}
