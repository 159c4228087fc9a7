//! The real bundle, on a Mac: Xcode's clang, iig, SDK, dsymutil and codesign through `xcrun`. No Xcode project.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::config::{Config, Variant, version};
use super::template::{self, Plists};
use super::{ARCHS, PLATFORM_DRIVERKIT, dext_dir, glue, macho as patch, stubs, write_executable};
use crate::sh;

/// A tool of the DriverKit SDK.
fn xcrun(sdk: &str, tool: &str) -> Command {
    let mut command = Command::new("xcrun");
    command.current_dir(sh::root()).args(["--sdk", sdk, tool]);
    command
}

fn sdk_path(sdk: &str) -> Result<String> {
    let output = Command::new("xcrun").args(["--sdk", sdk, "--show-sdk-path"]).output().context("xcrun")?;
    if !output.status.success() {
        bail!("no {sdk} SDK: install Xcode (the command line tools alone have none) and run xcode-select -s");
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn rust_target(arch: &str) -> String {
    format!("{}-apple-darwin", if arch == "arm64" { "aarch64" } else { arch })
}

/// Builds, signs and seals the whole app.
///
/// # Errors
/// A missing tool, or what a tool said.
pub fn build(app: &Path, plists: &Plists, config: &Config, variant: Variant, work: &Path) -> Result<()> {
    let dext = dext_dir(app, config);
    let contents = app.join("Contents");
    std::fs::create_dir_all(&dext)?;
    std::fs::create_dir_all(contents.join("MacOS"))?;
    let sdk = sdk_path("driverkit")?;
    let sources = generate(&sdk, work)?;
    let mut slices = Vec::new();
    for arch in ARCHS {
        let core = core(config, arch, work)?;
        let dir = work.join(arch);
        let objects = glue::compile(&sources, &mut || Ok(clang(arch, config, &sdk)), &dir)?;
        slices.push((arch, link(arch, config, &sdk, &objects, &core, &dir)?));
    }
    let executable = dext.join(config.dext_id());
    finish(&slices, &executable, &app.with_file_name(format!("{}.dext.dSYM", config.dext_id())))?;
    std::fs::write(dext.join("Info.plist"), template::xml(&plists.dext_info)?)?;
    std::fs::write(contents.join("Info.plist"), template::xml(&plists.app_info)?)?;

    let mut slices = Vec::new();
    for arch in ARCHS {
        let target = rust_target(arch);
        sh::run(sh::cargo().env("MACOSX_DEPLOYMENT_TARGET", &config.minimum_macos).args([
            "build",
            "--release",
            "-p",
            "weir-cli",
            "--target",
            &target,
        ]))?;
        slices.push((arch, sh::target_dir().join(target).join("release/weir")));
    }
    finish(&slices, &contents.join("MacOS/weir"), &app.with_file_name("weir.dSYM"))?;

    for (profile, place) in [
        (&config.app_profile, contents.join("embedded.provisionprofile")),
        (&config.dext_profile, dext.join("embedded.provisionprofile")),
    ] {
        if !profile.is_empty() {
            std::fs::copy(sh::root().join(profile), place).with_context(|| format!("cannot copy {profile}"))?;
        }
    }
    // From the inside out: the app's seal covers the extension's.
    codesign(&dext, &plists.dext_entitlements, config, variant, work)?;
    codesign(app, &plists.app_entitlements, config, variant, work)
}

/// Apple's generator over our definitions.
fn generate(sdk: &str, work: &Path) -> Result<glue::Sources> {
    let root = sh::root();
    let generated = work.join("generated");
    std::fs::create_dir_all(&generated)?;
    let mut files = glue::sources(&root.join("dext"), "cpp")?;
    for definition in glue::sources(&root.join("iig"), "iig")? {
        let stem = definition.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let source = generated.join(format!("{stem}.iig.cpp"));
        let mut iig = xcrun("driverkit", "iig");
        iig.arg("--def").arg(&definition);
        iig.arg("--header").arg(generated.join(format!("{stem}.h"))).arg("--impl").arg(&source);
        iig.args(["--deployment-target", "21.0", "--framework-name", "weir", "--", "-isysroot", sdk, "-x", "c++"]);
        iig.args(["-std=gnu++20", "-D__IIG=1"]).arg("-I").arg(root.join("iig"));
        iig.arg(format!("-F{sdk}/System/DriverKit/System/Library/Frameworks"));
        sh::run(&mut iig)?;
        files.push(source);
    }
    Ok(glue::Sources { files, include: vec![root.join("dext"), generated] })
}

fn clang(arch: &str, config: &Config, sdk: &str) -> Command {
    let mut command = xcrun("driverkit", "clang++");
    command.arg("-target").arg(format!("{arch}-apple-driverkit{}", config.minimum_driverkit));
    command.args(["-isysroot", sdk]).arg(format!("-F{sdk}/System/DriverKit/System/Library/Frameworks"));
    command
}

/// The core as a static library of objects that say DriverKit: built for macOS with any stable compiler, then relabelled.
/// It uses no system call, no thread-local storage and no unwinding, so that nothing but the label differs.
fn core(config: &Config, arch: &str, work: &Path) -> Result<PathBuf> {
    let target = rust_target(arch);
    if sh::has("rustup") {
        sh::run(Command::new("rustup").args(["target", "add", &target]))?;
    }
    sh::run(
        sh::cargo()
            .env("MACOSX_DEPLOYMENT_TARGET", &config.minimum_macos)
            .args(["rustc", "--release", "-p", "weir-core", "--lib", "--no-default-features", "--features", "dext"])
            .args(["--crate-type", "staticlib", "--target", &target, "--", "-C", "panic=abort"]),
    )?;
    let built = sh::target_dir().join(&target).join("release/libweir_core.a");
    let mut archive = std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let minimum = patch::packed_version(version(&config.minimum_driverkit).unwrap_or((21, 0, 0)));
    let objects = patch::retarget_archive(&mut archive, PLATFORM_DRIVERKIT, minimum)?;
    println!("{arch}: {objects} objects of the core relabelled for DriverKit");
    let out = work.join(format!("libweir_core-{arch}.a"));
    std::fs::write(&out, archive)?;
    Ok(out)
}

fn link(arch: &str, config: &Config, sdk: &str, objects: &[PathBuf], core: &Path, dir: &Path) -> Result<PathBuf> {
    let out = dir.join("linked");
    let mut command = clang(arch, config, sdk);
    command.args(objects).arg(core).args(["-Wl,-dead_strip", "-Wl,-dead_strip_dylibs", "-nostdlib++", "-o"]).arg(&out);
    for framework in stubs::frameworks(&stubs::symbols()?) {
        command.args([super::link_option(&framework), &framework]);
    }
    sh::run(&mut command)?;
    Ok(out)
}

/// Debug symbols apart, local symbols off, all architectures in one file.
fn finish(slices: &[(&str, PathBuf)], executable: &Path, dsym: &Path) -> Result<()> {
    let read = |slices: &[(&'static str, PathBuf)]| -> Result<Vec<(&'static str, Vec<u8>)>> {
        slices.iter().map(|(arch, path)| Ok((*arch, std::fs::read(path)?))).collect()
    };
    let named: Vec<(&'static str, PathBuf)> = ARCHS
        .iter()
        .filter_map(|arch| slices.iter().find(|(name, _)| name == arch).map(|(_, path)| (*arch, path.clone())))
        .collect();
    write_executable(executable, &patch::universal(&read(&named)?)?)?;
    sh::run(xcrun("macosx", "dsymutil").arg(executable).arg("-o").arg(dsym))?;
    sh::run(xcrun("macosx", "strip").args(["-S", "-x"]).arg(executable))
}

fn codesign(
    bundle: &Path,
    entitlements: &plist::Dictionary,
    config: &Config,
    variant: Variant,
    work: &Path,
) -> Result<()> {
    let name = bundle.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = work.join(format!("{name}.entitlements"));
    std::fs::write(&file, template::xml(entitlements)?)?;
    let mut command = Command::new("codesign");
    command.args(["--force", "--sign", &config.signing_identity, "--generate-entitlement-der", "--options", "runtime"]);
    if variant == Variant::Release {
        command.arg("--timestamp");
    }
    sh::run(command.arg("--entitlements").arg(&file).arg(bundle))
}
