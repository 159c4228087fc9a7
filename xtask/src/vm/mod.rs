//! A small virtual machine with Debian's kernel, for what only a kernel of one's own shows: gadgets of Linux's on a software
//! USB controller, QEMU's USB devices, owned by the driver through usbfs and held against the kernel's drivers.

mod image;

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::setup::{self, Install, Purpose};
use crate::sh;

/// Every scenario of `init.sh`.
const SCENARIOS: [&str; 6] = ["ncm", "ecm", "rndis", "android", "qemu-ecm", "qemu-rndis"];
/// How long all of them may take under emulation.
const LIMIT: Duration = Duration::from_secs(1200);
/// isa-debug-exit gives QEMU the status 2 n + 1.
const PASSED: i32 = 1;

/// Boots the machine and runs the scenarios whose names contain `only`.
///
/// # Errors
/// Something is missing, or a scenario failed.
pub fn run(install: Install, only: Option<&str>) -> Result<()> {
    setup::ensure(Purpose::TestAll, install)?;
    let chosen: Vec<&str> = SCENARIOS.into_iter().filter(|name| only.is_none_or(|text| name.contains(text))).collect();
    if chosen.is_empty() {
        bail!("no scenario is called so; there are {}", SCENARIOS.join(", "));
    }
    let image = image::make()?;
    let log_path = sh::target_dir().join("vm").join("console.log");
    let mut log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024", "-smp", "1"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
        .args(["-device", "qemu-xhci", "-netdev", "hubport,id=usb,hubid=0", "-device", "usb-net,netdev=usb"])
        .args(["-netdev", "hubport,id=peer,hubid=0", "-device", "e1000e,netdev=peer"])
        .arg("-kernel")
        .arg(&image.kernel)
        .arg("-initrd")
        .arg(&image.initramfs)
        .arg("-append")
        .arg(format!("console=ttyS0 quiet panic=-1 net.ifnames=0 weir.run={}", chosen.join(",")));
    let mut machine = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start qemu-system-x86_64 (`cargo xtask setup --for test-all` installs it)")?;
    let console = machine.stdout.take().context("no console")?;
    let start = Instant::now();
    // The reader ends with the machine; whoever is late is ended.
    let watched = std::thread::scope(|scope| -> Result<std::process::ExitStatus> {
        let reader = scope.spawn(move || {
            let mut done = false;
            for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                let _ = writeln!(log, "{line}");
                done |= line == "vm: done";
                if let Some(text) = line.strip_prefix("vm: ") {
                    println!("{text}");
                }
            }
            done
        });
        let status = loop {
            if let Some(status) = machine.try_wait()? {
                break status;
            }
            if start.elapsed() > LIMIT {
                machine.kill()?;
                machine.wait()?;
                bail!("the machine did not finish in {} s; see {}", LIMIT.as_secs(), log_path.display());
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        if !reader.join().unwrap_or(false) {
            bail!("the machine ended early ({status}); see {}", log_path.display());
        }
        Ok(status)
    })?;
    if watched.code() != Some(PASSED) {
        bail!("a scenario failed; see {}", log_path.display());
    }
    println!("{} passed, 0 failed", chosen.len());
    Ok(())
}
