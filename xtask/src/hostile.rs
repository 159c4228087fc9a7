//! `cargo xtask test --only hostile`: programs that play a device and obey no rule, for ten minutes each of their
//! own processor time under AddressSanitizer, two at a time. `WEIR_HOSTILE_SECONDS` says another time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::sh;

/// One of them: a test that goes on for `WEIR_FUZZ_SECONDS`.
struct Fuzzer {
    name: &'static str,
    /// Package and target (`--lib`, `--test=NAME`).
    at: (&'static str, &'static str),
    /// The test's whole name.
    test: &'static str,
}

const CORE: (&str, &str) = ("weir-core", "--lib");
const USB: (&str, &str) = ("weir-cli", "--test=usb");

const FUZZERS: &[Fuzzer] = &[
    Fuzzer { name: "virtio", at: CORE, test: "nic::virtio::tests::a_hostile_device_breaks_nothing" },
    Fuzzer { name: "e1000e", at: CORE, test: "nic::intel::tests::a_hostile_device_breaks_nothing" },
    Fuzzer { name: "igc", at: CORE, test: "nic::intel::tests::a_hostile_device_of_the_next_family_breaks_nothing" },
    Fuzzer { name: "ncm", at: CORE, test: "nic::usb::tests::hostile::a_hostile_device_of_ncm_breaks_nothing" },
    Fuzzer { name: "rndis", at: CORE, test: "nic::usb::tests::hostile::a_hostile_device_of_rndis_breaks_nothing" },
    Fuzzer { name: "ecm", at: CORE, test: "nic::usb::tests::hostile::a_hostile_device_of_ecm_breaks_nothing" },
    Fuzzer { name: "wire", at: CORE, test: "nic::usb::tests::random_blocks_and_messages_stay_inside_themselves" },
    Fuzzer {
        name: "usb-driver",
        at: USB,
        test: "faults::a_hostile_device_from_the_first_descriptor_on_breaks_nothing",
    },
];

/// Seconds of processor time that each plays.
const SECONDS: u64 = 600;
/// Cores of a CI machine.
const AT_ONCE: usize = 2;
/// What a test may take longer than it was told to, and how many times as long on a machine that others use.
const GRACE: Duration = Duration::from_secs(300);
const SHARED: u64 = 6;

/// Builds and plays all of them.
///
/// # Errors
/// One of them found something; all are named.
pub fn run() -> Result<()> {
    let seconds = match std::env::var("WEIR_HOSTILE_SECONDS") {
        Ok(text) => text.parse().context("WEIR_HOSTILE_SECONDS is not a number")?,
        Err(_) => SECONDS,
    };
    let mut programs = BTreeMap::new();
    for fuzzer in FUZZERS {
        if let Entry::Vacant(place) = programs.entry(fuzzer.at) {
            place.insert(build(fuzzer.at)?);
        }
    }
    let queue = Mutex::new(FUZZERS.iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(fuzzer) = next else { return };
                    let start = Instant::now();
                    let outcome = play(&programs[&fuzzer.at], fuzzer, seconds);
                    let took = start.elapsed().as_secs_f64();
                    match outcome {
                        Ok(()) => println!("{:<10} ok      {took:6.1} s", fuzzer.name),
                        Err(error) => {
                            println!("{:<10} FAILED  {took:6.1} s  {error:#}", fuzzer.name);
                            failed.lock().unwrap_or_else(PoisonError::into_inner).push(fuzzer.name);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("hostile devices broke: {}", failed.join(", "));
    }
    println!("{} passed, 0 failed", FUZZERS.len());
    Ok(())
}

/// Builds a test program with its C++ and Rust code instrumented.
fn build((package, target): (&str, &str)) -> Result<PathBuf> {
    let triple = crate::test::host_triple()?;
    let output = sh::cargo()
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", crate::test::sanitizer_flags("address")?)
        .env("WEIR_SANITIZE", "address")
        .env("CARGO_TARGET_DIR", sh::target_dir().join("sanitize-address"))
        .args([
            "test",
            "--quiet",
            "--no-run",
            "--message-format=json-render-diagnostics",
            "--target",
            &triple,
            "-p",
            package,
            target,
        ])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("{package} {target} does not build ({})", output.status);
    }
    // A package's commands are built along with its tests: only the profile says what is one, the target that it could have some.
    let text = String::from_utf8_lossy(&output.stdout);
    let path = text.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_test = message["profile"]["test"].as_bool()?;
        message["executable"].as_str().filter(|_| is_test).map(PathBuf::from)
    });
    path.with_context(|| format!("cargo names no test program of {package} {target}"))
}

fn play(program: &PathBuf, fuzzer: &Fuzzer, seconds: u64) -> Result<()> {
    let log = sh::target_dir().join(format!("hostile-{}.log", fuzzer.name));
    let file = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = Command::new(program)
        .args([fuzzer.test, "--exact", "--nocapture"])
        .current_dir(sh::root())
        .env("WEIR_FUZZ_SECONDS", seconds.to_string())
        .env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1")
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context("cannot start the test program")?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > Duration::from_secs(seconds * SHARED) + GRACE {
            child.kill()?;
            child.wait()?;
            bail!("it hangs; see {}", log.display());
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    if !status.success() {
        let why = said.lines().find(|line| line.contains("panicked") || line.contains("ERROR:")).unwrap_or("no reason");
        let seed = said.lines().rfind(|line| line.starts_with("seed ")).unwrap_or("no seed");
        bail!("{why} ({status}); {seed} (WEIR_FUZZ_SEED); see {}", log.display());
    }
    // A name that is no test's would pass at once.
    if !said.contains("1 passed") {
        bail!("there is no test {}", fuzzer.test);
    }
    Ok(())
}
