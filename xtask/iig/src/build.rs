//! Builds a driver extension's sources into a shared object that the Linux runtime loads.

use crate::tree::{self, SrcTree};
use crate::{Diagnostics, Generator};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Run-time checks compiled into the driver; the host has to be built with the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sanitizer {
    #[default]
    None,
    /// AddressSanitizer with leak detection.
    Address,
    /// ThreadSanitizer.
    Thread,
    /// UndefinedBehaviorSanitizer; stops at the first finding.
    Undefined,
}

impl Sanitizer {
    /// The compiler's and linker's flags.
    pub fn flags(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Address => &["-fsanitize=address"],
            Self::Thread => &["-fsanitize=thread"],
            Self::Undefined => &["-fsanitize=undefined", "-fno-sanitize=function,vptr", "-fno-sanitize-recover=all"],
        }
    }
}

/// What to build.
#[derive(Debug, Clone, Default)]
pub struct Dext {
    /// Directories with the driver's `.iig`, C++, C and header files; searched recursively.
    pub src_dirs: Vec<PathBuf>,
    /// Directories with the framework's definitions and headers (host/include).
    pub include_dirs: Vec<PathBuf>,
    /// The shared object to write.
    pub out: PathBuf,
    /// Further linker arguments: static libraries, `-l`.
    pub link_args: Vec<String>,
    /// Further compiler arguments: `-D`, `-I`.
    pub compile_args: Vec<String>,
    pub sanitizer: Sanitizer,
    /// Where to put generated files and objects; a temporary directory if `None`.
    pub work_dir: Option<PathBuf>,
}

/// Why a driver was not built.
#[derive(Debug)]
pub enum BuildError {
    /// No clang that knows blocks; the text says what to install.
    NoCompiler(String),
    /// A file or directory could not be read or written.
    Io(PathBuf, std::io::Error),
    /// Nothing to build in these directories.
    NoSources(Vec<PathBuf>),
    /// Interface definitions are wrong.
    Definitions(Diagnostics),
    /// The compiler or linker refused: the file and what was said.
    Compile(PathBuf, String),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCompiler(text) => f.write_str(text),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NoSources(dirs) => {
                let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
                write!(f, "no C++ file in {}", dirs.join(", "))
            }
            Self::Definitions(diagnostics) => write!(f, "{diagnostics}"),
            Self::Compile(path, output) => write!(f, "{} does not compile\n{}", path.display(), output.trim_end()),
        }
    }
}

impl std::error::Error for BuildError {}

/// The first of clang++-19 and clang++ that compiles blocks, or what $WEIR_CLANGXX names.
///
/// # Errors
/// One line that says what to install.
pub fn find_clang() -> Result<PathBuf, BuildError> {
    let chosen = std::env::var_os("WEIR_CLANGXX").map(PathBuf::from);
    let candidates = chosen.into_iter().chain(["clang++-19", "clang++"].map(PathBuf::from));
    for compiler in candidates {
        let probe = Command::new(&compiler)
            .args(["-fblocks", "-std=gnu++20", "-x", "c++", "-fsyntax-only", "/dev/null"])
            .output();
        if probe.is_ok_and(|output| output.status.success()) {
            return Ok(compiler);
        }
    }
    let hint = if cfg!(target_os = "macos") {
        "xcode-select --install"
    } else {
        "apt-get install clang-19 libblocksruntime-dev"
    };
    Err(BuildError::NoCompiler(format!("no clang++ with blocks found: run `{hint}`, or set WEIR_CLANGXX")))
}

/// Compiler flags for everything that includes DriverKit headers, the runtime included.
const FLAGS: [&str; 5] = ["-fblocks", "-fPIC", "-g", "-O2", "-fvisibility=default"];

/// What a language adds.
const CXX: [&str; 3] = ["-std=gnu++20", "-fno-exceptions", "-fno-rtti"];
const C: [&str; 3] = ["-x", "c", "-std=gnu17"];

/// A driver is written for another compiler and another size of `long long`; its warnings are its author's business.
const WARNINGS: [&str; 2] = ["-w", "-ferror-limit=20"];

/// Generates the headers (and only those) of all framework definitions below `include_dirs` into `out`.
///
/// # Errors
/// A definition is wrong, or a file cannot be read or written.
pub fn write_framework(include_dirs: &[PathBuf], out: &Path) -> Result<(), BuildError> {
    let generator = Generator::new(include_dirs.iter().cloned());
    for dir in include_dirs {
        for path in tree::walk(dir)?.into_iter().filter(|path| path.extension().is_some_and(|is| is == "iig")) {
            let output = generator.framework(&path).map_err(BuildError::Definitions)?;
            let relative = path.strip_prefix(dir).unwrap_or(&path).with_extension("h");
            write(&out.join(relative), &output.header)?;
        }
    }
    Ok(())
}

/// Builds a driver: every `.iig` is generated, every `.cpp` compiled, all linked into `dext.out`. Symbols of the runtime stay
/// undefined; the program that loads the object exports them.
///
/// # Errors
/// See [`BuildError`].
pub fn build_dext(dext: &Dext) -> Result<(), BuildError> {
    let compiler = find_clang()?;
    let temporary;
    let work = match &dext.work_dir {
        Some(dir) => dir.clone(),
        None => {
            temporary = tempfile::tempdir().map_err(|error| BuildError::Io(std::env::temp_dir(), error))?;
            temporary.path().to_owned()
        }
    };
    let include = work.join("include");
    let generated = work.join("generated");
    write_framework(&dext.include_dirs, &include)?;
    let tree = SrcTree::read(&dext.src_dirs)?;
    let mut sources = tree.sources.clone();
    if sources.is_empty() {
        return Err(BuildError::NoSources(dext.src_dirs.clone()));
    }
    let header_dirs = tree.header_dirs();
    let named = dext.compile_args.iter().filter_map(|argument| argument.strip_prefix("-I")).map(PathBuf::from);
    let search: Vec<PathBuf> = named.chain(header_dirs.iter().cloned()).collect();
    let mut generator = Generator::new(search.iter().chain(&dext.include_dirs).cloned());
    for argument in dext.compile_args.iter().filter_map(|argument| argument.strip_prefix("-D")) {
        let (name, value) = argument.split_once('=').unwrap_or((argument, "1"));
        generator = generator.define(name, value);
    }
    let mut diagnostics = Diagnostics::default();
    for path in &tree.definitions {
        match generator.user_in(path) {
            Ok(output) => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                write(&generated.join(format!("{stem}.h")), &output.header)?;
                let source = generated.join(format!("{stem}.iig.cpp"));
                write(&source, &output.source)?;
                sources.push(source);
            }
            Err(found) => diagnostics.0.extend(found.0),
        }
    }
    if !diagnostics.0.is_empty() {
        return Err(BuildError::Definitions(diagnostics));
    }
    // Mac volumes ignore the case of names, so drivers write `#include` as they like.
    let overlay = work.join("names.json");
    let dirs = [&generated, &include].into_iter().chain(&dext.include_dirs).chain(&tree.roots);
    write(&overlay, &tree::overlay(dirs)?)?;
    let mut arguments: Vec<String> = FLAGS.iter().chain(&WARNINGS).map(|flag| (*flag).to_owned()).collect();
    arguments.extend(dext.sanitizer.flags().iter().map(|flag| (*flag).to_owned()));
    arguments.push(format!("-ivfsoverlay{}", overlay.display()));
    arguments.extend(dext.compile_args.iter().cloned());
    for dir in [&generated].into_iter().chain(&header_dirs).chain([&include]).chain(&dext.include_dirs) {
        arguments.push(format!("-I{}", dir.display()));
    }
    let mut objects = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let stem = source.file_stem().unwrap_or_default().to_string_lossy();
        let object = work.join(format!("{index}-{stem}.o"));
        let language = if source.extension().is_some_and(|is| is == "c") { &C } else { &CXX };
        let mut command = Command::new(&compiler);
        command.args(language).args(&arguments).arg("-c").arg(source).arg("-o").arg(&object);
        run(&mut command, source)?;
        objects.push(object);
    }
    link(&compiler, dext, &objects)
}

fn link(compiler: &Path, dext: &Dext, objects: &[PathBuf]) -> Result<(), BuildError> {
    if let Some(parent) = dext.out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| BuildError::Io(parent.to_owned(), error))?;
    }
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC"]).args(dext.sanitizer.flags()).arg("-o").arg(&dext.out).args(objects);
    command.args(&dext.link_args);
    if cfg!(target_os = "macos") {
        command.args(["-undefined", "dynamic_lookup"]);
    } else {
        command.arg("-Wl,--allow-shlib-undefined");
    }
    run(&mut command, &dext.out)
}

fn run(command: &mut Command, about: &Path) -> Result<(), BuildError> {
    let output = command.output().map_err(|error| BuildError::Io(PathBuf::from(command.get_program()), error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(BuildError::Compile(about.to_owned(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn write(path: &Path, text: &str) -> Result<(), BuildError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| BuildError::Io(parent.to_owned(), error))?;
    }
    std::fs::write(path, text).map_err(|error| BuildError::Io(path.to_owned(), error))
}
