//! Links the driver into `weir`: generates headers and dispatch code from iig/*.iig, compiles them with dext/*.cpp
//! against the headers of weir-host, and keeps every object, because classes register themselves when loaded.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            for line in text.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    if var("CARGO_CFG_TARGET_OS")? != "linux" {
        // On a Mac the driver is an extension of its own, which `cargo xtask bundle` builds.
        return Ok(());
    }
    let root = PathBuf::from(var("CARGO_MANIFEST_DIR")?).join("..");
    let out = PathBuf::from(var("OUT_DIR")?).join("dext");
    let include = PathBuf::from(var("DEP_WEIR_HOST_INCLUDE")?);
    fs::create_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;

    let generator = weir_iig::Generator::new([&include]);
    let mut sources = files(&root.join("dext"), "cpp")?;
    for definition in files(&root.join("iig"), "iig")? {
        let output = generator.user(&definition).map_err(|e| e.to_string())?;
        let name = definition.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        write(&out.join(format!("{name}.h")), &output.header)?;
        let source = out.join(format!("{name}.iig.cpp"));
        write(&source, &output.source)?;
        sources.push(source);
        for dependency in output.dependencies {
            println!("cargo::rerun-if-changed={}", dependency.display());
        }
    }

    let mut compiler = cc::Build::new();
    compiler
        .cpp(true)
        .compiler(var("DEP_WEIR_HOST_CXX")?)
        .std("gnu++20")
        .warnings(true)
        .extra_warnings(true)
        .warnings_into_errors(true)
        .flags(["-fblocks", "-fno-exceptions", "-fno-rtti", "-pthread", "-isystem"])
        .flag(&include)
        .include(root.join("dext"))
        .include(&out)
        .files(&sources)
        // Static constructors are all that refers to most of the objects.
        .link_lib_modifier("+whole-archive");
    println!("cargo::rerun-if-env-changed=WEIR_SANITIZE");
    match env::var("WEIR_SANITIZE").as_deref() {
        Ok(kind @ ("address" | "thread")) => {
            compiler.flag(format!("-fsanitize={kind}")).flag("-fno-omit-frame-pointer");
        }
        Ok("") | Err(_) => {}
        Ok(other) => return Err(format!("WEIR_SANITIZE={other}: expected address or thread")),
    }
    compiler.try_compile("weir_dext").map_err(|e| e.to_string())?;

    println!("cargo::rerun-if-changed=build.rs");
    for dir in ["dext", "iig"] {
        println!("cargo::rerun-if-changed={}", root.join(dir).display());
    }
    Ok(())
}

fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension() == Some(OsStr::new(extension))).collect();
    found.sort();
    Ok(found)
}

/// Leaves a file alone that is right already, so that nothing is rebuilt for it.
fn write(path: &Path, text: &str) -> Result<(), String> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn var(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set"))
}
