//! Checks of one architecture of the extension's executable.

use object::macho as defs;

use super::image::Image;
use crate::bundle::finding::Findings;
use crate::bundle::stubs::{self, Symbols};
use crate::bundle::{PLATFORM_DRIVERKIT, SIZE_LIMIT};

/// Parts of names that belong to Rust's panics.
const PANIC: &[&str] = &["9panicking", "rust_begin_unwind", "rust_panic", "unwrap_failed", "expect_failed"];
/// Parts of names that belong to unwinding and C++ exceptions.
const UNWINDING: &[&str] =
    &["__Unwind_", "rust_eh_personality", "__gxx_personality", "___cxa_throw", "___cxa_begin_catch", "___cxa_rethrow"];
const THREAD_LOCAL: &[&str] = &["__tlv_bootstrap", "__tlv_atexit", "___emutls"];

/// Adds what is wrong.
pub fn check(image: &Image, place: &str, symbols: &Symbols, findings: &mut Findings) {
    kind(image, place, findings);
    libraries(image, place, symbols, findings);
    imports(image, place, symbols, findings);
    contents(image, place, findings);
}

fn kind(image: &Image, place: &str, findings: &mut Findings) {
    findings.expect(
        image.filetype == defs::MH_EXECUTE.0,
        "filetype",
        place,
        format!("Mach-O file type {}, must be {} (executable)", image.filetype, defs::MH_EXECUTE.0),
    );
    findings.expect(
        image.flags & defs::MH_PIE.0 != 0,
        "pie",
        place,
        "not position-independent: the loader refuses it on arm64",
    );
    match image.platform {
        Some(PLATFORM_DRIVERKIT) => {}
        Some(other) => {
            findings.add("platform", place, format!("LC_BUILD_VERSION says platform {other}, must be 10 (DRIVERKIT)"));
        }
        None => findings.add("platform", place, "no LC_BUILD_VERSION"),
    }
    let count = |cmd: u32| image.commands.iter().filter(|found| **found == cmd).count();
    findings.expect(
        (21 << 16..26 << 16).contains(&image.minimum),
        "minimum",
        place,
        format!("minimum version {}: 21.0 to 25.x, the range that the driver is written for", image.minimum_text()),
    );
    findings.expect(
        count(defs::LC_MAIN.0) == 0 && count(defs::LC_UNIXTHREAD.0) == 0,
        "lc-main",
        place,
        "has an entry point (LC_MAIN or LC_UNIXTHREAD): dyld refuses a driver extension with one",
    );
    findings.expect(
        count(defs::LC_LOAD_DYLINKER.0) == 1,
        "dylinker",
        place,
        format!("{} LC_LOAD_DYLINKER, must be 1", count(defs::LC_LOAD_DYLINKER.0)),
    );
    findings.expect(count(defs::LC_UUID.0) == 1, "uuid", place, "no LC_UUID: crash reports find no symbols");
    findings.expect(
        count(defs::LC_ENCRYPTION_INFO_64.0) == 0,
        "encryption",
        place,
        "LC_ENCRYPTION_INFO_64 in a driver extension",
    );
}

fn libraries(image: &Image, place: &str, symbols: &Symbols, findings: &mut Findings) {
    let permitted = stubs::permitted(symbols);
    for name in &image.dylibs {
        findings.expect(
            permitted.contains(name),
            "dylib",
            place,
            format!("loads {name}; a driver extension has {}", permitted.join(", ")),
        );
    }
    for name in [stubs::install_name("DriverKit"), stubs::install_name("NetworkingDriverKit")] {
        findings.expect(image.dylibs.contains(&name), "dylib-missing", place, format!("does not load {name}"));
    }
    for path in &image.rpaths {
        findings.add("rpath", place, format!("LC_RPATH {path}: everything that it may load has a fixed place"));
    }
}

fn imports(image: &Image, place: &str, symbols: &Symbols, findings: &mut Findings) {
    let minimum = image.minimum >> 16;
    for import in &image.imports {
        if THREAD_LOCAL.iter().any(|part| import.name.contains(part)) {
            continue; // reported below under its own name
        }
        match symbols.get(&import.name) {
            None => {
                if !forbidden(&import.name) {
                    findings.add(
                        "symbol",
                        place,
                        format!("imports {}, which is not in cli/mac/symbols.txt", import.name),
                    );
                }
            }
            Some((library, version)) => findings.expect(
                *version <= minimum || import.weak,
                "symbol-newer",
                place,
                format!(
                    "imports {} of {library}, which came with DriverKit {version}; on {minimum} dyld would stop the \
                     driver. Call it behind an availability check",
                    import.name
                ),
            ),
        }
    }
}

fn forbidden(name: &str) -> bool {
    PANIC.iter().chain(UNWINDING).any(|part| name.contains(part))
}

fn contents(image: &Image, place: &str, findings: &mut Findings) {
    let names = || image.imports.iter().map(|import| &import.name).chain(&image.defined);
    for (code, parts, why) in [
        ("panic", PANIC, "a panic is reachable; the core is built to abort without one"),
        ("unwinding", UNWINDING, "nothing may unwind in a driver extension"),
        ("tls", THREAD_LOCAL, "DriverKit has no thread-local storage"),
    ] {
        let found: Vec<&str> =
            names().filter(|name| parts.iter().any(|part| name.contains(part))).map(String::as_str).collect();
        if let Some(first) = found.first() {
            findings.add(code, place, format!("{first} and {} more: {why}", found.len() - 1));
        }
    }
    let thread_local = image.sections.iter().find(|section| (0x11..=0x15).contains(&section.kind));
    if let Some(section) = thread_local {
        findings.add("tls", place, format!("section {} is thread-local: DriverKit has none", section.name));
    }
    if image.flags & defs::MH_HAS_TLV_DESCRIPTORS.0 != 0 && thread_local.is_none() {
        findings.add("tls", place, "the header says that there is thread-local storage");
    }
    // Frame descriptions serve crash reports; tables of landing pads serve exceptions.
    if let Some(section) = image.sections.iter().find(|section| section.name == "__gcc_except_tab") {
        findings.add("unwinding", place, format!("section {}: nothing may unwind in a driver extension", section.name));
    }
    for (name, protection) in &image.segments {
        findings.expect(
            protection & 6 != 6,
            "writable-code",
            place,
            format!("segment {name} is writable and executable: the kernel refuses it"),
        );
    }
    let classes = image.sections.iter().filter(|section| section.name == "__osclassinfo").map(|s| s.size).sum::<u64>();
    findings.expect(
        classes >= 8,
        "classes",
        place,
        "no __osclassinfo section: the loader finds none of the driver's classes",
    );
    let constructors = image.sections.iter().find(|s| matches!(s.kind, 0x9 | 0x16) && s.size > 0);
    if let Some(section) = constructors {
        findings.add(
            "constructor",
            place,
            format!("section {} runs code before the driver is started; the glue has none", section.name),
        );
    }
    findings.expect(image.size <= SIZE_LIMIT, "size", place, format!("{} bytes, more than {SIZE_LIMIT}", image.size));
}
