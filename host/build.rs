//! Builds the C++ half of the runtime: headers and dispatch code from `include/**/*.iig`, then the object layer in
//! `cpp/`.
//!
//! For dependents (`links = "weir_host"`): `DEP_WEIR_HOST_INCLUDE` is the directory to compile DriverKit sources
//! against, generated and plain headers together, and `DEP_WEIR_HOST_CXX` the compiler that was found. A binary that
//! loads driver extensions must export the framework's symbols: its build script prints
//! `cargo:rustc-link-arg-bins=-rdynamic`.
//!
//! `WEIR_SANITIZE=address` or `thread` instruments the C++. The program must then be linked by the same clang:
//! `RUSTFLAGS="-Clinker=clang++-19 -Clink-arg=-fsanitize=address"`.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::{env, fs, io};

/// Tried in this order; the first that can compile and link a block is taken.
const COMPILERS: [&str; 6] = ["clang++-19", "clang++", "clang++-20", "clang++-18", "clang++-17", "clang++-16"];

const PROBE: &str = "#include <Block.h>
int main(int argc, char **) { int (^block)(void) = Block_copy(^{ return argc - 1; }); int result = block(); Block_release(block); return result; }
";

fn main() {
    for name in ["WEIR_CLANGXX", "WEIR_SANITIZE"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=include");
    println!("cargo:rerun-if-changed=cpp");

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let Some(compiler) = find_compiler(&out) else {
        fail("weir-host needs clang with blocks (clang-19 and libblocksruntime-dev on Debian): run `cargo xtask setup`")
    };
    let include = out.join("include");
    let generated = generate(Path::new("include"), &include, &out.join("iig"));

    // The framework's classes say that they are: see OSClassRegisterFramework in cpp/classes.cpp.
    let mut framework = build(&compiler, &include);
    framework.define("OSClassRegister", "OSClassRegisterFramework").flag("-Wno-unused-parameter");
    framework.files(&generated).compile("weir_driverkit_iig");

    let sources = listing(Path::new("cpp"), "cpp");
    build(&compiler, &include).include("cpp").files(&sources).compile("weir_driverkit");

    if !cfg!(target_os = "macos") {
        println!("cargo:rustc-link-lib=BlocksRuntime");
    }
    println!("cargo:rustc-link-arg=-rdynamic");
    println!("cargo:include={}", include.display());
    println!("cargo:cxx={compiler}");
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    exit(1)
}

/// A build with the flags that every DriverKit source gets.
fn build(compiler: &str, include: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).compiler(compiler).std("gnu++20").warnings(true).extra_warnings(true).include(include);
    for flag in ["-fblocks", "-fno-exceptions", "-fno-rtti", "-pthread"] {
        build.flag(flag);
    }
    // Registration happens in constructors that nothing refers to, and driver extensions refer to the rest at run time.
    build.link_lib_modifier("+whole-archive").link_lib_modifier("-bundle");
    match env::var("WEIR_SANITIZE").as_deref() {
        Ok(kind @ ("address" | "thread")) => {
            build.flag(format!("-fsanitize={kind}")).flag("-fno-omit-frame-pointer");
        }
        Ok("") | Err(_) => {}
        Ok(other) => fail(&format!("WEIR_SANITIZE={other}: expected address or thread")),
    }
    build
}

fn find_compiler(out: &Path) -> Option<String> {
    let source = out.join("probe.cpp");
    write(&source, PROBE);
    let named = env::var("WEIR_CLANGXX").ok();
    let candidates = named.as_deref().into_iter().chain(COMPILERS);
    candidates.map(str::to_owned).find(|compiler| {
        let mut command = Command::new(compiler);
        command.args(["-std=gnu++20", "-fblocks"]).arg(&source).arg("-o").arg(out.join("probe"));
        if !cfg!(target_os = "macos") {
            command.arg("-lBlocksRuntime");
        }
        command.output().is_ok_and(|output| output.status.success())
    })
}

/// Fills `to` with all headers, generated ones included, and returns the generated sources.
fn generate(from: &Path, to: &Path, sources: &Path) -> Vec<PathBuf> {
    // What a definition that is gone left behind must not be found any more.
    for stale in [to, sources] {
        match fs::remove_dir_all(stale) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => fail(&format!("{}: {error}", stale.display())),
        }
    }
    let generator = weir_iig::Generator::new([from]);
    // The definitions too: those of a driver extension import them from here.
    for file in listing(from, "h").into_iter().chain(listing(from, "iig")) {
        let relative = file.strip_prefix(from).expect("listing() stays below its directory");
        write(&to.join(relative), &read(&file));
    }
    let mut generated = Vec::new();
    for definition in listing(from, "iig") {
        let relative = definition.strip_prefix(from).expect("listing() stays below its directory");
        let output = generator.framework(&definition).unwrap_or_else(|errors| fail(&errors.to_string()));
        write(&to.join(relative).with_extension("h"), &output.header);
        let source = sources.join(relative).with_extension("iig.cpp");
        write(&source, &output.source);
        generated.push(source);
    }
    generated
}

/// The files below `directory` with this extension, sorted.
fn listing(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let entries =
            fs::read_dir(&directory).unwrap_or_else(|error| fail(&format!("{}: {error}", directory.display())));
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|is| is == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| fail(&format!("{}: {error}", path.display())))
}

fn write(path: &Path, text: &str) {
    let written = fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).and_then(|()| fs::write(path, text));
    if let Err(error) = written {
        fail(&format!("{}: {error}", path.display()));
    }
}
