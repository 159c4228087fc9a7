//! Kernel and initramfs: Debian's generic kernel, a static busybox, `ip` and `ping`, the `weir` of this tree, and the libraries
//! that they need. Nothing of it is kept but in the build folder.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::sh;

/// What QEMU boots.
pub struct Image {
    /// Debian's bzImage, which QEMU's firmware unpacks: not the ELF image in it, which would start quicker but which QEMU puts
    /// into memory anew when the machine wakes.
    pub kernel: PathBuf,
    /// Compressed cpio archive.
    pub initramfs: PathBuf,
}

/// The first process.
const INIT: &str = include_str!("common.sh");
/// Each machine's own.
const SCRIPTS: &[(&str, &str)] = &[("usb.sh", include_str!("usb.sh")), ("pci.sh", include_str!("pci.sh"))];
/// Modules that the scenarios load; depmod finds what these need.
const MODULES: &[&str] = &[
    "configfs",
    "tun",
    "8021q",
    "dummy_hcd",
    "libcomposite",
    "usb_f_ncm",
    "usb_f_ecm",
    "usb_f_rndis",
    "xhci-pci",
    "e1000e",
    "vfio-pci",
    "vfio_iommu_type1",
];
/// Programs of this machine that the guest gets.
const PROGRAMS: &[&str] = &["ip", "ping"];

fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let got = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {shown}"))?;
    if !got.status.success() {
        bail!("{shown} failed: {}", String::from_utf8_lossy(&got.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&got.stdout).into_owned())
}

/// Builds what is not there yet.
///
/// # Errors
/// A download or a program failed.
pub fn make() -> Result<Image> {
    let folder = sh::target_dir().join("vm");
    fs::create_dir_all(&folder)?;
    let package = kernel_package()?;
    let version = package.trim_start_matches("linux-image-").to_owned();
    let root = folder.join(&package);
    if !root.join("done").exists() {
        download(&folder, &package, &root)?;
    }
    let kernel = root.join("boot").join(format!("vmlinuz-{version}"));
    let initramfs = folder.join("initramfs.cpio");
    let tree = folder.join("initramfs");
    fill(&tree, &root, &version)?;
    archive(&tree, &initramfs)?;
    Ok(Image { kernel, initramfs })
}

/// The kernel that `linux-image-amd64` depends on: the name without `-unsigned` or `cloud`.
fn kernel_package() -> Result<String> {
    let text = output(Command::new("apt-cache").args(["depends", "linux-image-amd64"]))?;
    let found = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-") && name.ends_with("-amd64") && !name.contains("cloud"));
    found.map(str::to_owned).context("linux-image-amd64 depends on no kernel; run `apt-get update`")
}

fn download(folder: &Path, package: &str, root: &Path) -> Result<()> {
    // apt's own user may not write here, which it would complain about.
    let download = ["-qq", "-o", "APT::Sandbox::User=root", "download", package];
    sh::run(Command::new("apt-get").args(download).current_dir(folder))?;
    let archive = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(package) && name.ends_with(".deb")
    });
    let archive = archive.with_context(|| format!("{package} was not downloaded"))?;
    sh::run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(root))?;
    fs::remove_file(archive)?;
    fs::write(root.join("done"), "")?;
    Ok(())
}

fn install(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// Where a program of this machine is.
fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into(), "/bin".into()]);
    folders
        .find_map(|dir| Some(dir.join(program)).filter(|p| p.is_file()))
        .with_context(|| format!("no {program} here"))
}

/// The shared libraries of a program, by `ldd`, the loader included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let text = output(Command::new("ldd").arg(program))?;
    let path = |line: &str| {
        let line = line.trim();
        let after = line.split_once("=> ").map_or(line, |(_, after)| after);
        let path = after.split_whitespace().next().unwrap_or_default();
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    Ok(text.lines().filter_map(path).collect())
}

/// The command that the guest runs: `WEIR_BIN`, as for the tests, or else the optimised build, for emulated instructions are
/// dear.
fn weir() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("WEIR_BIN") {
        return Ok(path.into());
    }
    sh::run(sh::cargo().args(["build", "--quiet", "--release", "-p", "weir-cli"]))?;
    Ok(sh::target_dir().join("release").join("weir"))
}

fn fill(tree: &Path, root: &Path, version: &str) -> Result<()> {
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    fs::create_dir_all(tree.join("bin"))?;
    let init = tree.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let scripts = tree.join("lib/weir");
    fs::create_dir_all(&scripts)?;
    for (name, text) in SCRIPTS {
        fs::write(scripts.join(name), text)?;
    }
    install(&find("busybox")?, &tree.join("bin/busybox"))?;
    let weir = weir()?;
    let mut programs = vec![(weir, "weir")];
    for name in PROGRAMS {
        programs.push((find(name)?, name));
    }
    let mut needed = BTreeSet::new();
    for (from, name) in &programs {
        install(from, &tree.join("usr/local/bin").join(name))?;
        needed.extend(libraries(from)?);
    }
    for library in needed {
        install(&library, &tree.join(library.strip_prefix("/").unwrap_or(&library)))?;
    }
    modules(tree, root, version)
}

/// The modules, each behind what it needs, and the index that modprobe reads.
fn modules(tree: &Path, root: &Path, version: &str) -> Result<()> {
    let depmod = find("depmod")?;
    sh::run(Command::new(&depmod).arg("-b").arg(root).arg(version))?;
    let all = root.join("lib/modules").join(version);
    let index = fs::read_to_string(all.join("modules.dep"))?;
    let is = |path: &str, name: &str| {
        let file = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".ko");
        file.replace('-', "_") == name.replace('-', "_")
    };
    let mut wanted = BTreeSet::new();
    for name in MODULES {
        let line = index.lines().find(|line| line.split(':').next().is_some_and(|path| is(path, name)));
        let line = line.with_context(|| format!("the kernel has no module {name}"))?;
        wanted.extend(line.split([':', ' ']).filter(|word| !word.is_empty()).map(str::to_owned));
    }
    let to = tree.join("lib/modules").join(version);
    for path in wanted {
        install(&all.join(&path), &to.join(&path))?;
    }
    for file in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        install(&all.join(file), &to.join(file))?;
    }
    sh::run(Command::new(depmod).arg("-b").arg(tree).arg(version))
}

fn archive(tree: &Path, to: &Path) -> Result<()> {
    let script = "find . | busybox cpio -o -H newc 2>/dev/null";
    let made = output_bytes(Command::new("sh").arg("-c").arg(script).current_dir(tree))?;
    fs::write(to, made)?;
    Ok(())
}

fn output_bytes(command: &mut Command) -> Result<Vec<u8>> {
    let got = command.stdin(Stdio::null()).output().context("cannot start sh")?;
    if !got.status.success() {
        bail!("the archive cannot be made: {}", String::from_utf8_lossy(&got.stderr).trim());
    }
    Ok(got.stdout)
}
