//! What is generated compiles, and calls take the way that host/include/README.md describes. Needs clang with blocks.

use std::path::{Path, PathBuf};
use std::process::Command;
use weir_iig::{BuildError, Dext, Generator, build_dext, find_clang, write_framework};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn clang() -> Option<PathBuf> {
    match find_clang() {
        Ok(clang) => Some(clang),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn compiler(clang: &Path, include: &Path) -> Command {
    let mut command = Command::new(clang);
    command.args(["-std=gnu++20", "-fblocks", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Werror"]);
    command.arg("-I").arg(include).arg("-I").arg(root().join("host/include"));
    command
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().expect("start");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{text}");
    text
}

#[test]
fn the_framework_compiles_without_warnings() {
    let Some(clang) = clang() else { return };
    let dir = tempfile::tempdir().expect("temporary directory");
    let include = root().join("host/include");
    write_framework(std::slice::from_ref(&include), dir.path()).expect("generates");
    let generator = Generator::new([&include]);
    let mut all = String::new();
    for framework in ["DriverKit", "NetworkingDriverKit"] {
        for entry in std::fs::read_dir(include.join(framework)).expect("host/include") {
            let path = entry.expect("entry").path();
            if path.extension().is_some_and(|extension| extension == "iig") {
                let name = format!("{}.iig.cpp", path.file_stem().unwrap_or_default().to_string_lossy());
                std::fs::write(dir.path().join(&name), generator.framework(&path).expect("generates").source)
                    .expect("write");
                all.push_str(&format!("#include \"{name}\"\n"));
            }
        }
    }
    let unit = dir.path().join("all.cpp");
    std::fs::write(&unit, all).expect("write");
    run(compiler(&clang, dir.path()).arg("-fsyntax-only").arg(unit));
}

/// Every header on its own, as a driver may include it first.
#[test]
fn each_header_stands_alone() {
    let Some(clang) = clang() else { return };
    let dir = tempfile::tempdir().expect("temporary directory");
    let include = root().join("host/include");
    write_framework(std::slice::from_ref(&include), dir.path()).expect("generates");
    let names = [
        "DriverKit/DriverKit.h",
        "DriverKit/IODMACommand.h",
        "DriverKit/IOKitKeys.h",
        "DriverKit/IOLib.h",
        "DriverKit/IOReportTypes.h",
        "DriverKit/IOService.h",
        "DriverKit/IOUserClient.h",
        "DriverKit/OSAction.h",
        "DriverKit/OSCollections.h",
        "DriverKit/OSSharedPtr.h",
        "DriverKit/safe_allocation.h",
        "NetworkingDriverKit/NetworkingDriverKit.h",
        "NetworkingDriverKit/IOUserNetworkTxSubmissionQueue.h",
        "mach/boolean.h",
        "mach/kern_return.h",
        "mach/vm_types.h",
        "machine/endian.h",
        "net/bpf.h",
        "net/ethernet.h",
        "netinet/in.h",
        "netinet/ip.h",
        "netinet/ip6.h",
        "netinet/tcp.h",
        "netinet/udp.h",
        "USBDriverKit/AppleUSBDefinitions.h",
        "os/log.h",
        "os/overflow.h",
        "sys/queue.h",
        "libkern/OSAtomic.h",
        "libkern/OSByteOrder.h",
        "time.h",
        "string.h",
    ];
    for name in names {
        let unit = dir.path().join("one.cpp");
        std::fs::write(&unit, format!("#include <{name}>\n")).expect("write");
        run(compiler(&clang, dir.path()).arg("-fsyntax-only").arg(unit));
    }
}

#[test]
fn calls_take_the_documented_way() {
    let Some(clang) = clang() else { return };
    let dir = tempfile::tempdir().expect("temporary directory");
    let include = root().join("host/include");
    write_framework(std::slice::from_ref(&include), dir.path()).expect("generates");
    let flow = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flow");
    let generator = Generator::new([&include]);
    let mut units = vec![flow.join("main.cpp")];
    let definitions = [
        (include.join("DriverKit/OSObject.iig"), true),
        (include.join("DriverKit/OSContainer.iig"), true),
        (include.join("DriverKit/OSString.iig"), true),
        (include.join("DriverKit/OSAction.iig"), true),
        (flow.join("Base.iig"), true),
        (flow.join("Sub.iig"), false),
    ];
    for (path, framework) in definitions {
        let output = if framework { generator.framework(&path) } else { generator.user(&path) };
        let output = output.unwrap_or_else(|error| panic!("{error}"));
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.starts_with(&flow) {
            std::fs::write(dir.path().join(format!("{stem}.h")), output.header).expect("write");
        }
        let unit = dir.path().join(format!("{stem}.iig.cpp"));
        std::fs::write(&unit, output.source).expect("write");
        units.push(unit);
    }
    let program = dir.path().join("flow");
    let mut command = compiler(&clang, dir.path());
    // Bodies that the test does not call are missing on purpose: fewer of them, and the linker drops their callers.
    command.args(["-g", "-fsanitize=undefined", "-fno-sanitize=vptr,function", "-fno-sanitize-recover=all"]);
    command.args(["-Wl,--unresolved-symbols=ignore-all", "-Wno-unused-parameter"]);
    run(command.arg("-o").arg(&program).args(units));
    assert!(run(&mut Command::new(&program)).ends_with("ok\n"));
}

#[test]
fn a_driver_of_many_styles_builds() {
    if clang().is_none() {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let dext = Dext {
        src_dirs: vec![root().join("host/tests/fixtures/mirror_nic")],
        include_dirs: vec![root().join("host/include")],
        out: dir.path().join("out/libMirror.so"),
        ..Dext::default()
    };
    build_dext(&dext).unwrap_or_else(|error| panic!("{error}"));
    assert!(dext.out.is_file());
}

#[test]
fn build_errors_say_where() {
    if clang().is_none() {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let dext = Dext {
        src_dirs: vec![dir.path().to_owned()],
        include_dirs: vec![root().join("host/include")],
        out: dir.path().join("lib.so"),
        ..Dext::default()
    };
    assert!(matches!(build_dext(&dext), Err(BuildError::NoSources(_))));

    let source = dir.path().join("Bad.cpp");
    std::fs::write(&source, "#include \"Bad.h\"\n#if KERNEL || DEVELOPMENT\n#error no\n#endif\nint x = y;\n")
        .expect("write");
    std::fs::write(dir.path().join("Bad.h"), "").expect("write");
    let error = build_dext(&dext).expect_err("does not compile").to_string();
    assert!(error.contains("Bad.cpp:5:9: error: use of undeclared identifier 'y'"), "{error}");

    let definition = "#include <DriverKit/IOService.iig>\nclass Bad : public IOService { float f(); };\n";
    std::fs::write(dir.path().join("Bad.iig"), definition).expect("write");
    let error = build_dext(&dext).expect_err("is refused").to_string();
    assert!(error.contains("Bad.iig:2:38: dispatched method `f` returns float"), "{error}");

    let gone = Dext { src_dirs: vec![dir.path().join("gone")], ..dext };
    assert!(matches!(build_dext(&gone), Err(BuildError::Io(..))));
}
