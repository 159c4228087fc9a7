//! The glue's sources: generated from iig/, compiled with what the bundle's platform offers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::sh;

/// What is compiled, and where its generated headers are.
pub struct Sources {
    /// `.cpp` files.
    pub files: Vec<PathBuf>,
    /// Header folders, in this order.
    pub include: Vec<PathBuf>,
}

/// Runs our own generator over the project's definitions and over the framework's.
///
/// # Errors
/// A definition is wrong.
pub fn generate(work: &Path) -> Result<Sources> {
    let root = sh::root();
    let host = root.join("host/include");
    let framework = work.join("include");
    weir_iig::write_framework(std::slice::from_ref(&host), &framework)?;
    let generated = work.join("generated");
    std::fs::create_dir_all(&generated)?;
    let mut files = sources(&root.join("dext"), "cpp")?;
    for definition in sources(&root.join("iig"), "iig")? {
        let output = weir_iig::Generator::new([&host]).user(&definition)?;
        let stem = definition.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        std::fs::write(generated.join(format!("{stem}.h")), output.header)?;
        let source = generated.join(format!("{stem}.iig.cpp"));
        std::fs::write(&source, output.source)?;
        files.push(source);
    }
    Ok(Sources { files, include: vec![root.join("dext"), generated, framework] })
}

/// Files with an extension, sorted.
///
/// # Errors
/// No such folder.
pub fn sources(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == extension))
        .collect();
    found.sort();
    Ok(found)
}

/// Language and warnings, the same on a Mac and here. A call of an API that is newer than the minimum without an
/// availability check is an error.
pub const FLAGS: &[&str] = &[
    "-std=gnu++20",
    "-fblocks",
    "-fno-exceptions",
    "-fno-rtti",
    "-fvisibility=hidden",
    "-fstack-protector-strong",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Wunguarded-availability",
    "-Werror",
];

/// Compiles everything; `compiler` gives a command with target and system headers. Returns the objects.
///
/// # Errors
/// What the compiler said.
pub fn compile(sources: &Sources, compiler: &mut dyn FnMut() -> Result<Command>, dir: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir)?;
    let output = |object: &Path| vec!["-c".into(), "-o".into(), dir.join(object).into_os_string()];
    let names = run(sources, compiler, &output)?;
    Ok(names.iter().map(|name| dir.join(name)).collect())
}

/// As [`compile`], for the warnings only.
///
/// # Errors
/// What the compiler said.
pub fn check(sources: &Sources, compiler: &mut dyn FnMut() -> Result<Command>) -> Result<()> {
    run(sources, compiler, &|_| vec!["-fsyntax-only".into()]).map(drop)
}

fn run(
    sources: &Sources,
    compiler: &mut dyn FnMut() -> Result<Command>,
    what: &dyn Fn(&Path) -> Vec<OsString>,
) -> Result<Vec<PathBuf>> {
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut objects = Vec::new();
    for chunk in sources.files.chunks(jobs) {
        let mut running = Vec::new();
        for source in chunk {
            let object = Path::new(source.file_name().unwrap_or_default()).with_extension("cpp.o");
            let mut command = compiler()?;
            for include in &sources.include {
                // The framework's generated headers are the system's, whose warnings are not ours.
                command.arg(if include.ends_with("include") { "-isystem" } else { "-I" }).arg(include);
            }
            command.args(FLAGS).args(what(&object)).arg(source);
            running.push((source, command.spawn().context("cannot start the compiler")?));
            objects.push(object);
        }
        for (source, mut child) in running {
            let status = child.wait()?;
            anyhow::ensure!(status.success(), "{} does not compile", source.display());
        }
    }
    Ok(objects)
}
