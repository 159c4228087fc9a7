//! What a machine needs, by command, and how apt or brew bring it.

use std::process::Command;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::sh;

/// What the machine is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// Building everything: a clang that knows blocks.
    Build,
    /// Writing src/abi/sys.rs: libclang.
    Bindings,
    /// `cargo xtask bundle`.
    Bundle,
    /// `cargo xtask demo`.
    Demo,
    /// `cargo xtask test`.
    Test,
    /// `cargo xtask test --all`.
    TestAll,
    /// `cargo xtask bench` with the peers that it links.
    Bench,
}

/// Whether missing things are installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Install {
    /// Install them.
    Yes,
    /// Only say what is missing.
    TellOnly,
}

impl Install {
    /// From `--no-install`.
    pub fn from_flag(no_install: bool) -> Self {
        if no_install { Self::TellOnly } else { Self::Yes }
    }
}

struct Need {
    what: &'static str,
    why: &'static str,
    present: fn() -> bool,
    /// Debian packages; none where the thing has no meaning on Linux.
    apt: &'static [&'static str],
    /// Homebrew formulae; none where macOS or Xcode has it already.
    brew: &'static [&'static str],
    purposes: &'static [Purpose],
}

use Purpose::{Bench, Bindings, Build, Bundle, Demo, Test, TestAll};

const NEEDS: &[Need] = &[
    Need {
        what: "DPDK",
        why: "rte_acl, rte_hash and rte_ring, peers of benchmarks",
        present: || {
            sh::succeeds(
                Command::new("sh").arg("-c").arg("ls /usr/lib/*/librte_acl.so /usr/lib64/librte_acl.so | grep -q ."),
            )
        },
        apt: &["libdpdk-dev", "pkg-config"],
        brew: &[],
        purposes: &[Bench],
    },
    Need {
        what: "libpcap",
        why: "the capture filter's peer",
        present: || {
            sh::succeeds(Command::new("sh").arg("-c").arg("ls /usr/lib/*/libpcap.so /usr/lib64/libpcap.so | grep -q ."))
        },
        apt: &["libpcap-dev"],
        brew: &[],
        purposes: &[Bench],
    },
    Need {
        what: "C compiler",
        why: "links every Rust program",
        present: || sh::has("cc"),
        apt: &["gcc", "libc6-dev"],
        brew: &[],
        purposes: &[Build, Demo, Test, TestAll],
    },
    Need {
        what: "clang++ with blocks",
        why: "compiles the dext and the DriverKit runtime",
        present: || weir_iig::find_clang().is_ok(),
        apt: &["clang-19"],
        brew: &[],
        purposes: &[Build, Bundle, Demo, Test, TestAll],
    },
    Need {
        what: "C++ standard library",
        why: "headers that clang++ includes",
        present: || cfg!(target_os = "macos") || clang_finds("cstdint"),
        apt: &["libstdc++-12-dev"],
        brew: &[],
        purposes: &[Build, Demo, Test, TestAll],
    },
    Need {
        what: "blocks runtime",
        why: "C++ blocks (^{ }) outside macOS",
        present: || cfg!(target_os = "macos") || clang_finds("Block.h"),
        apt: &["libblocksruntime-dev"],
        brew: &[],
        purposes: &[Build, Demo, Test, TestAll],
    },
    Need {
        what: "libclang",
        why: "bindgen reads dext/weir_core.h with it",
        present: has_libclang,
        apt: &["libclang-19-dev"],
        brew: &["llvm"],
        purposes: &[Bindings, Test, TestAll],
    },
    Need {
        what: "iproute2",
        why: "network namespaces for real kernel traffic",
        present: || !cfg!(target_os = "linux") || sh::has("ip"),
        apt: &["iproute2"],
        brew: &[],
        purposes: &[Demo, Test, TestAll],
    },
    Need {
        what: "ping",
        why: "10,000 echo requests through the driver",
        present: || sh::has("ping"),
        apt: &["iputils-ping"],
        brew: &[],
        purposes: &[Test, TestAll],
    },
    Need {
        what: "nftables",
        why: "the kernel's own filter, a peer of `bench latency`",
        present: || !cfg!(target_os = "linux") || sh::has("nft"),
        apt: &["nftables"],
        brew: &[],
        purposes: &[Bench],
    },
    Need {
        what: "QEMU",
        why: "the virtual machine of the USB and PCI tests",
        present: || !cfg!(target_os = "linux") || sh::has("qemu-system-x86_64"),
        apt: &["qemu-system-x86"],
        brew: &[],
        purposes: &[TestAll],
    },
    Need {
        what: "busybox",
        why: "user space of the virtual machine",
        present: || !cfg!(target_os = "linux") || sh::has("busybox"),
        apt: &["busybox-static"],
        brew: &[],
        purposes: &[TestAll],
    },
    Need {
        what: "depmod",
        why: "modules of the virtual machine's kernel",
        present: || !cfg!(target_os = "linux") || sh::has("depmod"),
        apt: &["kmod"],
        brew: &[],
        purposes: &[TestAll],
    },
    Need {
        what: "xz",
        why: "unpacks the virtual machine's kernel",
        present: || !cfg!(target_os = "linux") || sh::has("xz"),
        apt: &["xz-utils"],
        brew: &[],
        purposes: &[TestAll],
    },
    Need {
        what: "iperf3",
        why: "TCP throughput against a veth pair",
        present: || sh::has("iperf3"),
        apt: &["iperf3"],
        brew: &["iperf3"],
        purposes: &[Bench, Test, TestAll],
    },
    Need {
        what: "QEMU",
        why: "device models of PCI network cards, without a guest",
        present: || !cfg!(target_os = "linux") || sh::has("qemu-system-x86_64"),
        apt: &["qemu-system-x86"],
        brew: &[],
        purposes: &[Test, TestAll],
    },
    Need {
        what: "tcpdump",
        why: "an independent eye on the wire",
        present: || sh::has("tcpdump"),
        apt: &["tcpdump"],
        brew: &[],
        purposes: &[Test, TestAll],
    },
    Need {
        what: "tshark and capinfos",
        why: "independent frame counts and dissection",
        present: || sh::has("tshark") && sh::has("capinfos"),
        apt: &["tshark", "wireshark-common"],
        brew: &["wireshark"],
        purposes: &[Test, TestAll],
    },
    Need {
        what: "python3",
        why: "the tests' own senders and receivers in namespaces",
        present: || sh::has("python3"),
        apt: &["python3"],
        brew: &["python"],
        purposes: &[Test, TestAll],
    },
    Need {
        what: "ethtool",
        why: "offload settings of TAP devices",
        present: || !cfg!(target_os = "linux") || sh::has("ethtool"),
        apt: &["ethtool"],
        brew: &[],
        purposes: &[Test, TestAll],
    },
    Need {
        what: "sanitizer runtimes",
        why: "generated dispatch code runs under UndefinedBehaviorSanitizer; AddressSanitizer and ThreadSanitizer runs",
        present: || cfg!(target_os = "macos") || has_sanitizers(),
        apt: &["libclang-rt-19-dev"],
        brew: &[],
        purposes: &[Test, TestAll],
    },
    Need {
        what: "standard library's sources with their compiler",
        why: "ThreadSanitizer must see the locks and channels of std; the core for DriverKit needs its own libcore",
        present: || {
            !cfg!(target_os = "linux")
                || sh::succeeds(Command::new("dpkg").args(["-s", "rustc-web", "cargo-web", "rust-web-src"]))
        },
        apt: &["rustc-web", "cargo-web", "rust-web-src"],
        brew: &[],
        purposes: &[Bundle, Test, TestAll],
    },
    Need {
        what: "linker for Mach-O",
        why: "links the driver extension's check build",
        present: || cfg!(target_os = "macos") || sh::has("ld64.lld-19"),
        apt: &["lld-19"],
        brew: &[],
        purposes: &[Bundle, Test, TestAll],
    },
];

fn clang_finds(header: &str) -> bool {
    let Ok(clang) = weir_iig::find_clang() else {
        return false;
    };
    sh::succeeds(
        Command::new("sh")
            .arg("-c")
            .arg(format!("printf '#include <{header}>\\n' | {} -x c++ -fblocks -fsyntax-only -", clang.display())),
    )
}

fn has_libclang() -> bool {
    if cfg!(target_os = "macos") {
        return sh::succeeds(Command::new("xcrun").args(["--find", "clang"]))
            || sh::succeeds(Command::new("brew").args(["--prefix", "--installed", "llvm"]));
    }
    sh::succeeds(
        Command::new("sh")
            .arg("-c")
            .arg("ls /usr/lib/llvm-*/lib/libclang.so* /usr/lib/*/libclang-*.so* 2>/dev/null | grep -q ."),
    )
}

fn has_sanitizers() -> bool {
    sh::succeeds(
        Command::new("sh")
            .arg("-c")
            .arg("ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.tsan* 2>/dev/null | grep -q ."),
    )
}

/// Makes sure that the machine has what `purpose` needs.
///
/// # Errors
/// Something is missing and may not, or could not, be installed; the text says what to run.
pub fn ensure(purpose: Purpose, install: Install) -> Result<()> {
    let missing: Vec<&Need> =
        NEEDS.iter().filter(|need| need.purposes.contains(&purpose) && !(need.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mac = cfg!(target_os = "macos");
    let mut packages: Vec<&str> = Vec::new();
    println!("missing on this machine:");
    for need in &missing {
        println!("  {:<22} {}", need.what, need.why);
        for package in if mac { need.brew } else { need.apt } {
            if !packages.contains(package) {
                packages.push(package);
            }
        }
    }
    if mac && missing.iter().any(|need| need.brew.is_empty()) {
        println!("install Xcode's command line tools first: xcode-select --install");
    }
    let script = if packages.is_empty() {
        None
    } else if mac {
        Some(format!("brew install {}", packages.join(" ")))
    } else if sh::has("apt-get") {
        let sudo = if is_root() { "" } else { "sudo " };
        Some(format!(
            "{sudo}apt-get update && {sudo}env DEBIAN_FRONTEND=noninteractive apt-get install -y \
             --no-install-recommends {}",
            packages.join(" ")
        ))
    } else {
        None
    };
    let Some(script) = script else {
        bail!("neither apt-get nor brew can bring these; install them by hand and run this again");
    };
    println!("will run: {script}");
    if install == Install::TellOnly {
        bail!("not installing (--no-install); run the line above, then this command again");
    }
    sh::run(Command::new("sh").arg("-c").arg(&script))?;
    for need in missing {
        if !(need.present)() {
            bail!("{} is still missing after `{script}`", need.what);
        }
    }
    Ok(())
}

/// True for the superuser: network namespaces and TAP devices are allowed.
pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
