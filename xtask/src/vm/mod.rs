//! Small virtual machines with Debian's kernel, for what only a kernel of one's own shows: gadgets of Linux's on a software
//! USB controller and QEMU's USB devices, owned by the driver through usbfs, and PCI NICs behind an IOMMU, owned through vfio;
//! all held against the kernel's own drivers. Both machines sleep, too.
//!
//! `common.sh` is the guest's first process; each machine has its script of scenarios (`usb.sh`). Everything runs under
//! emulation: no machine of a CI service has to lend its processor's virtualisation.

mod image;

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use image::Image;

use crate::setup::{self, Install, Purpose};
use crate::sh;

/// A machine to boot: its devices, and what is done with them.
struct Machine {
    /// Names its script.
    name: &'static str,
    /// QEMU's arguments for its devices.
    devices: &'static [&'static str],
    /// More of the kernel's command line.
    kernel: &'static str,
    /// Scenarios of its script, in order.
    scenarios: &'static [&'static str],
}

const MACHINES: &[Machine] = &[
    Machine {
        name: "usb",
        devices: &[
            "-device",
            "qemu-xhci",
            "-netdev",
            "hubport,id=usb,hubid=0",
            "-device",
            "usb-net,netdev=usb",
            "-netdev",
            "hubport,id=peer,hubid=0",
            "-device",
            "e1000e,netdev=peer",
        ],
        kernel: "",
        scenarios: &[
            "ncm",
            "ecm",
            "rndis",
            "android",
            "qemu-ecm",
            "qemu-rndis",
            "unplug-ncm",
            "unplug-ecm",
            "unplug-rndis",
            "suspend-ncm",
            "suspend-ecm",
            "suspend-rndis",
            "suspend-qemu-ecm",
            "suspend-qemu-rndis",
            "sleep-qemu-ecm",
            "sleep-qemu-rndis",
        ],
    },
    // NICs to drive at 00:10.0, 00:12.0 and 00:13.0, each with a NIC of the kernel's on its cable (pci.sh).
    Machine {
        name: "pci",
        devices: &[
            "-device",
            "intel-iommu,intremap=on,caching-mode=on",
            "-netdev",
            "hubport,id=e0,hubid=0",
            "-device",
            "e1000e,netdev=e0,addr=10.0",
            "-netdev",
            "hubport,id=e1,hubid=0",
            "-device",
            "e1000e,netdev=e1,addr=11.0",
            "-netdev",
            "hubport,id=v0,hubid=1",
            "-device",
            "virtio-net-pci,netdev=v0,addr=12.0,disable-legacy=on,iommu_platform=on",
            "-netdev",
            "hubport,id=p0,hubid=2",
            "-device",
            "virtio-net-pci,netdev=p0,addr=13.0,disable-legacy=on,iommu_platform=on,packed=on",
            "-netdev",
            "hubport,id=v1,hubid=1",
            "-device",
            "e1000e,netdev=v1,addr=14.0",
            "-netdev",
            "hubport,id=p1,hubid=2",
            "-device",
            "e1000e,netdev=p1,addr=15.0",
        ],
        // An emulated timer on a busy machine may not tick in time for the kernel's test of it.
        kernel: "intel_iommu=on no_timer_check",
        scenarios: &[
            "vfio-e1000e",
            "vfio-virtio",
            "vfio-packed",
            "suspend-e1000e",
            "suspend-virtio",
            "suspend-packed",
            "sleep-e1000e",
            "sleep-virtio",
            "sleep-packed",
        ],
    },
];

/// How long one machine may take under emulation.
const LIMIT: Duration = Duration::from_secs(1800);
/// isa-debug-exit gives QEMU the status 2 n + 1.
const PASSED: i32 = 1;

/// Boots the machines and runs the scenarios whose names contain `only`.
///
/// # Errors
/// Something is missing, or a scenario failed.
pub fn run(install: Install, only: Option<&str>) -> Result<()> {
    setup::ensure(Purpose::TestAll, install)?;
    let chosen: Vec<(&Machine, Vec<&str>)> = MACHINES
        .iter()
        .map(|machine| {
            (machine, machine.scenarios.iter().copied().filter(|s| only.is_none_or(|o| s.contains(o))).collect())
        })
        .filter(|(_, scenarios): &(_, Vec<&str>)| !scenarios.is_empty())
        .collect();
    if chosen.is_empty() {
        let all: Vec<&str> = MACHINES.iter().flat_map(|machine| machine.scenarios).copied().collect();
        bail!("no scenario is called so; there are {}", all.join(", "));
    }
    let image = image::make()?;
    let mut failed = Vec::new();
    let mut count = 0;
    let start = Instant::now();
    for (machine, scenarios) in &chosen {
        count += scenarios.len();
        if let Err(error) = boot(machine, scenarios, &image) {
            println!("{}: {error:#}", machine.name);
            failed.push(machine.name);
        }
    }
    println!("{count} scenarios in {:.0} s", start.elapsed().as_secs_f64());
    if !failed.is_empty() {
        bail!("a scenario failed on: {}", failed.join(", "));
    }
    println!("{count} passed, 0 failed");
    Ok(())
}

fn boot(machine: &Machine, scenarios: &[&str], image: &Image) -> Result<()> {
    let log_path = sh::target_dir().join("vm").join(format!("{}.log", machine.name));
    let mut log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-M",
        "q35,kernel-irqchip=split",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "max",
        "-m",
        "1024",
        "-smp",
        "1",
    ])
    .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
    .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
    .args(machine.devices)
    .arg("-kernel")
    .arg(&image.kernel)
    .arg("-initrd")
    .arg(&image.initramfs)
    .arg("-append")
    .arg(format!(
        "console=ttyS0 quiet panic=-1 net.ifnames=0 {} weir.machine={} weir.run={}",
        machine.kernel,
        machine.name,
        scenarios.join(",")
    ));
    println!("machine {} (emulated): {}", machine.name, scenarios.join(", "));
    let mut child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start qemu-system-x86_64 (`cargo xtask setup --for test-all` installs it)")?;
    let console = child.stdout.take().context("no console")?;
    let start = Instant::now();
    // The reader ends with the machine; whoever is late is ended.
    let status = std::thread::scope(|scope| -> Result<std::process::ExitStatus> {
        let reader = scope.spawn(move || {
            let mut done = false;
            for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                let _ = writeln!(log, "{line}");
                done |= line == "vm: done";
                if let Some(text) = line.strip_prefix("vm: ") {
                    println!("{:6.1} s  {text}", start.elapsed().as_secs_f64());
                }
            }
            done
        });
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > LIMIT {
                child.kill()?;
                child.wait()?;
                bail!("the machine did not finish in {} s; see {}", LIMIT.as_secs(), log_path.display());
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        if !reader.join().unwrap_or(false) {
            bail!("the machine ended early ({status}); see {}", log_path.display());
        }
        Ok(status)
    })?;
    if status.code() != Some(PASSED) {
        bail!("a scenario failed; see {}", log_path.display());
    }
    Ok(())
}
