//! Defects of the app's executable, planted in a command that is otherwise right.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use object::macho as defs;

use super::{Plant, can_link, codes, command_at, rename_slot, replace, run, set};
use crate::bundle::{macho, stubs};

/// A command that does nothing, and loads what the app loads. Linked once unless the plant wants it otherwise.
pub fn slice(plant: &Plant, arch: &str, dir: &Path) -> Vec<u8> {
    static PLAIN: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut bytes = if plant.app_source.is_empty() && plant.app_link.is_empty() {
        let mut plain = PLAIN.lock().expect("no test panics in here");
        plain.entry(arch.to_owned()).or_insert_with(|| link(plant, arch, dir)).clone()
    } else {
        link(plant, arch, dir)
    };
    (plant.app_patch)(&mut bytes);
    bytes
}

fn link(plant: &Plant, arch: &str, dir: &Path) -> Vec<u8> {
    let sdk = dir.join("sdk-macos");
    let mut symbols = stubs::app_symbols().expect("symbols");
    symbols.insert("_other".to_owned(), ("System".to_owned(), 10));
    stubs::write_app(&symbols, &sdk).expect("stubs");
    let source =
        format!("extern int getenv(const char *);\nint main(void) {{ return getenv(\"\"); }}\n{}", plant.app_source);
    std::fs::write(dir.join("app.c"), source).expect("write");
    let clang = weir_iig::find_clang().expect("clang");
    let target = format!("{arch}-apple-macos12.0");
    run(Command::new(clang).current_dir(dir).args([
        "-target",
        &target,
        "-x",
        "c",
        "-w",
        "-O1",
        "-fno-builtin",
        "-c",
        "app.c",
        "-o",
        "app.o",
    ]));
    let mut lld = Command::new("ld64.lld-19");
    lld.current_dir(dir)
        .args(["-arch", arch, "-platform_version", "macos", "12.0", "15.0", "-fixup_chains", "-no_adhoc_codesign"])
        .args(["-headerpad", "0x400", "-o", "app", "app.o", "-syslibroot", "sdk-macos"])
        .args(["-F", "sdk-macos/System/Library/Frameworks", "-L", "sdk-macos/usr/lib", "-lSystem"])
        .args(["-framework", "IOKit", "-framework", "SystemExtensions"])
        .args(plant.app_link);
    run(&mut lld);
    std::fs::read(dir.join("app")).expect("linked")
}

#[test]
fn defects_of_the_apps_executable_are_found() {
    if !can_link() {
        return;
    }
    let plain = Plant::default;
    let cases: Vec<(&str, Plant)> = vec![
        ("app-filetype", Plant { app_patch: |b| set(b, 12, 6), ..plain() }),
        ("app-pie", Plant { app_patch: |b| set(b, 24, 0x85), ..plain() }),
        (
            "app-platform",
            Plant {
                app_patch: |b| {
                    let at = command_at(b, defs::LC_BUILD_VERSION.0);
                    set(b, at + 8, 10);
                },
                ..plain()
            },
        ),
        (
            "app-minimum",
            Plant {
                app_patch: |b| {
                    let at = command_at(b, defs::LC_BUILD_VERSION.0);
                    set(b, at + 12, 13 << 16);
                },
                ..plain()
            },
        ),
        (
            "app-main",
            Plant {
                app_patch: |b| {
                    macho::remove_command(b, defs::LC_MAIN.0).expect("remove");
                },
                ..plain()
            },
        ),
        (
            "app-dylinker",
            Plant {
                app_patch: |b| {
                    macho::remove_command(b, defs::LC_LOAD_DYLINKER.0).expect("remove");
                },
                ..plain()
            },
        ),
        ("app-uuid", Plant { app_link: &["-no_uuid"], ..plain() }),
        ("app-rpath", Plant { app_link: &["-rpath", "@loader_path"], ..plain() }),
        ("app-dylib", Plant { app_patch: |b| replace(b, b"/usr/lib/libSystem", b"/opt/lib/libSystem"), ..plain() }),
        ("app-dylib-missing", Plant { app_link: &["-dead_strip_dylibs"], ..plain() }),
        ("app-symbol", Plant { app_source: "extern int other(void);\nint use(void) { return other(); }\n", ..plain() }),
        (
            "app-symbol-newer",
            Plant {
                app_source: "extern int kIOMainPortDefault;\nint use(void) { return kIOMainPortDefault; }\n",
                app_patch: |b| {
                    let at = command_at(b, defs::LC_BUILD_VERSION.0);
                    set(b, at + 12, 11 << 16);
                },
                ..plain()
            },
        ),
        ("signature-broken", Plant { app_patch_signed: |b| b[0x1000] ^= 1, ..plain() }),
        ("entitlements-missing", Plant { app_patch_signed: |b| rename_slot(b, 5), ..plain() }),
    ];
    for (code, plant) in cases {
        let found = codes(&plant);
        assert!(found.contains(&code), "{code} was planted, found {found:?}");
    }
}
