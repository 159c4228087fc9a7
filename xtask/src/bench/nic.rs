//! `cargo xtask bench nic`: instructions and register accesses per frame of the PCI back ends alone, counted by
//! callgrind over the core's own tests, where a device model finishes everything at once. A count does not depend on
//! how busy the machine is.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh;

/// Frames that a `cost_` test moves: 2048 each way.
const FRAMES: f64 = 2.0 * 2048.0;
/// The device model's registers: what stands there for the glue's is not the back end's.
const MODEL: &str = "*model::Model*Registers*";
/// Calls of the data path.
const CALLS: [&str; 5] = ["rx_post", "rx_burst", "tx_burst", "tx_reap", "arm"];
/// Frames a burst.
const BURSTS: [u32; 2] = [32, 1];
/// Name, the test's without its burst, and the type whose calls count.
const BACK_ENDS: [(&str, &str, &str); 4] = [
    ("virtio, split", "nic::virtio::tests::cost_of_split_rings", "VirtioQueue"),
    ("virtio, packed", "nic::virtio::tests::cost_of_packed_rings", "VirtioQueue"),
    ("e1000e", "nic::intel::tests::cost_of_e1000e", "IntelQueue"),
    ("igc", "nic::intel::tests::cost_of_igc", "IntelQueue"),
];

/// # Errors
/// No valgrind, or a run that failed.
pub fn run(json: bool) -> Result<()> {
    if !sh::has("valgrind") {
        bail!("valgrind is missing: `apt-get install valgrind`");
    }
    let program = test_program()?;
    let mut objects = Vec::new();
    if !json {
        println!("per 60-byte frame, as many sent as received a burst; an interrupt whenever the queue was armed");
        print!("{:<16}{:>6}", "", "burst");
        CALLS.iter().for_each(|call| print!("{call:>9}"));
        print!("{:>13}{:>9}{:>9}", "instructions", "received", "sent");
        println!("{:>11}{:>11}{:>12}{:>8}", "registers", "doorbells", "interrupts", "copies");
    }
    for (name, test, queue) in BACK_ENDS {
        for burst in BURSTS {
            let test = format!("{test}_at_burst_{burst}");
            let model = count(&program, &test, &[MODEL])?;
            let alone = |call| count_alone(&program, &test, &format!("*{queue}*NicQueue*::{call}*"), model);
            let counts = CALLS.iter().map(alone).collect::<Result<Vec<_>>>()?;
            let per_frame: Vec<f64> = counts.iter().map(|n| *n as f64 / FRAMES).collect();
            let sum: f64 = per_frame.iter().sum();
            // What one frame costs each way: half of all were received, half sent.
            let [received, sent] = [&per_frame[..2], &per_frame[2..4]].map(|way| 2.0 * way.iter().sum::<f64>());
            let [registers, doorbells, interrupts, copies] = accesses(&program, &test)?.map(|n| n as f64 / FRAMES);
            if json {
                objects.push(format!(
                    "{{\"back_end\":\"{name}\",\"burst\":{burst},\"instructions_per_frame\":{sum:.1},\
                     \"instructions_per_received\":{received:.1},\"instructions_per_sent\":{sent:.1},\
                     \"registers_per_frame\":{registers:.4},\"doorbells_per_frame\":{doorbells:.4},\
                     \"interrupts_per_frame\":{interrupts:.4},\"copies_per_frame\":{copies:.4}}}"
                ));
            } else {
                print!("{name:<16}{burst:>6}");
                per_frame.iter().for_each(|n| print!("{n:>9.1}"));
                print!("{sum:>13.1}{received:>9.1}{sent:>9.1}");
                println!("{registers:>11.4}{doorbells:>11.4}{interrupts:>12.4}{copies:>8.1}");
            }
        }
    }
    if json {
        println!("[{}]", objects.join(","));
    }
    Ok(())
}

/// Register accesses, doorbells, times that the queue was armed, and copies, as the test says them.
fn accesses(program: &str, test: &str) -> Result<[u64; 4]> {
    let run = Command::new(program).args([test, "--exact", "--nocapture"]).output().context("the test program")?;
    let text = String::from_utf8_lossy(&run.stdout);
    let line = text.lines().find_map(|line| line.split_once("cost: ").map(|(_, numbers)| numbers));
    let numbers = line.with_context(|| format!("{test} says no cost"))?.split_whitespace();
    let numbers: Vec<u64> = numbers.map(str::parse).collect::<Result<_, _>>().context("its cost")?;
    numbers.try_into().map_err(|_| anyhow::anyhow!("its cost is not four numbers"))
}

/// Builds the core's tests as they are released and finds them.
fn test_program() -> Result<String> {
    let built = Command::new("cargo")
        .args(["test", "-p", "weir-core", "--lib", "--release", "--no-run", "--message-format=json"])
        .output()
        .context("cargo")?;
    if !built.status.success() {
        bail!("the tests do not build:\n{}", String::from_utf8_lossy(&built.stderr));
    }
    let text = String::from_utf8_lossy(&built.stdout);
    let mut executables = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split_once('"').map(|(path, _)| path.to_owned())
    });
    executables.next_back().context("cargo names no test program")
}

/// Instructions inside one call of the back end over the whole test, without those of the model's registers, `model` in all.
fn count_alone(program: &str, test: &str, call: &str, model: u64) -> Result<u64> {
    let inclusive = count(program, test, &[call])?;
    // Each function's entry and exit turn collecting over: this has the call without its registers, and the registers that
    // are not the call's.
    let turned = count(program, test, &[call, MODEL])?;
    Ok((inclusive + turned).saturating_sub(model) / 2)
}

/// Instructions inside functions, by pattern.
fn count(program: &str, test: &str, functions: &[&str]) -> Result<u64> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .args(functions.iter().map(|function| format!("--toggle-collect={function}")))
        .args([program, test, "--exact", "--test-threads=1"])
        .output()
        .context("valgrind")?;
    let text = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        bail!("{test} failed under valgrind:\n{text}");
    }
    let collected = text.lines().find_map(|line| line.split_once("Collected :").map(|(_, n)| n.trim().parse::<u64>()));
    collected.context("valgrind counted nothing")?.context("valgrind's count")
}
