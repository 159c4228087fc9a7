//! Every defect that the verifier and the linter name is planted once, in a small extension that is otherwise right.

mod app;
mod plists;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::macho as defs;
use plist::Value;

use super::verify;
use crate::bundle::config::{Config, Variant};
use crate::bundle::template::{self, CHECK_BUILD, Plists, personalities};
use crate::bundle::{dext_dir, macho, seal, sign, stubs};
use crate::sh;

type Patch = fn(&mut Vec<u8>);
type After = fn(&Path);

/// A bundle to be made, and what is to be wrong with it.
struct Plant {
    variant: Variant,
    /// More C.
    source: &'static str,
    /// More arguments of the linker.
    link: &'static [&'static str],
    /// More exports of the stub C library.
    exports: &'static [&'static str],
    /// Leave out the class table, the other framework, the entry point's removal.
    classes: bool,
    networking: bool,
    keep_main: bool,
    archs: &'static [&'static str],
    /// Before and after signing.
    patch: Patch,
    patch_signed: Patch,
    unsigned: bool,
    identifier: Option<&'static str>,
    plists: fn(&mut Plists),
    /// Entitlements of the second slice.
    second: fn(&mut Plists),
    after: After,
    /// The app's: more C, more arguments of the linker, changes before and after signing.
    app_source: &'static str,
    app_link: &'static [&'static str],
    app_patch: Patch,
    app_patch_signed: Patch,
}

impl Default for Plant {
    fn default() -> Self {
        Self {
            variant: Variant::Development,
            source: "",
            link: &[],
            exports: &[],
            classes: true,
            networking: true,
            keep_main: false,
            archs: &["arm64", "x86_64"],
            patch: |_| {},
            patch_signed: |_| {},
            unsigned: false,
            identifier: None,
            plists: |_| {},
            second: |_| {},
            after: |_| {},
            app_source: "",
            app_link: &[],
            app_patch: |_| {},
            app_patch_signed: |_| {},
        }
    }
}

fn config() -> Config {
    Config::parse(include_str!("../../../../weir.toml")).expect("weir.toml")
}

fn run(command: &mut Command) {
    let output = command.output().expect("starts");
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A C file that imports from both frameworks, with a class table that names every class of the personalities.
fn source(plant: &Plant, plists: &Plists) -> String {
    let mut text = String::from(
        "extern void *memcpy(void *, const void *, unsigned long);\nextern void *IOMalloc(unsigned long);\n\
         __attribute__((visibility(\"default\"))) void *weir_create(void *a, void *b) {\n",
    );
    if plant.networking {
        text.push_str("    extern char gIOUserNetworkEthernetMetaClass;\n    a = &gIOUserNetworkEthernetMetaClass;\n");
    }
    text.push_str("    return memcpy(IOMalloc(8), a == 0 ? b : a, 8);\n}\n");
    if plant.classes {
        let mut classes: Vec<&str> =
            personalities(&plists.dext_info).filter_map(|(_, p)| p.get("IOUserClass")?.as_string()).collect();
        classes.sort_unstable();
        classes.dedup();
        text.push_str("static const char names[] = \"\\0\"");
        for class in classes {
            let _ = write!(text, " \"{class}\\0\"");
        }
        text.push_str(
            ";\n__attribute__((used, section(\"__DATA_CONST,__osclassinfo,regular,no_dead_strip\")))\n\
             static const void *const table = names;\n",
        );
    }
    text.push_str(plant.source);
    text
}

fn slice(plant: &Plant, plists: &Plists, arch: &str, dir: &Path) -> Vec<u8> {
    let sdk = dir.join("sdk");
    let mut symbols = stubs::symbols().expect("symbols");
    for name in plant.exports {
        symbols.insert((*name).to_owned(), ("System".to_owned(), 19));
    }
    stubs::write(&symbols, &sdk).expect("stubs");
    std::fs::write(dir.join("one.c"), source(plant, plists)).expect("write");
    let clang = weir_iig::find_clang().expect("clang");
    run(Command::new(clang).current_dir(dir).args([
        "-target",
        &format!("{arch}-apple-driverkit21.0"),
        "-x",
        "c",
        "-w",
        "-O1",
        "-c",
        "one.c",
        "-o",
        "one.o",
    ]));
    let mut lld = Command::new("ld64.lld-19");
    lld.current_dir(dir)
        .args(["-arch", arch, "-platform_version", "driverkit", "21.0", "25.0", "-fixup_chains", "-no_adhoc_codesign"])
        .args(["-dead_strip_dylibs", "-headerpad", "0x400", "-e", "_weir_create", "-o", "one", "one.o", "-syslibroot"])
        .args(["sdk", "-F", "sdk/System/Library/Frameworks", "-L", "sdk/usr/lib", "-lSystem"])
        .args(["-framework", "DriverKit", "-framework", "NetworkingDriverKit"])
        .args(plant.link);
    run(&mut lld);
    let mut bytes = std::fs::read(dir.join("one")).expect("linked");
    if !plant.keep_main {
        macho::remove_command(&mut bytes, defs::LC_MAIN.0).expect("LC_MAIN");
    }
    bytes
}

/// Puts one bundle's files in place; `signed` makes its slices of the seal.
fn put(
    root: &Path,
    executable: &str,
    form: seal::Form,
    info: &[u8],
    signed: impl FnOnce(&[u8]) -> Vec<(&'static str, Vec<u8>)>,
) {
    std::fs::create_dir_all(root.join("_CodeSignature")).expect("folders");
    std::fs::write(root.join("Info.plist"), info).expect("write");
    let seal = seal::seal(root, executable, form).expect("seal");
    std::fs::write(root.join(seal::PATH), &seal).expect("write");
    let path = root.join(executable);
    std::fs::create_dir_all(path.parent().expect("parent")).expect("folders");
    std::fs::write(path, macho::universal(&signed(&seal)).expect("universal")).expect("write");
}

/// Makes the bundle and returns the codes of what the verifier finds.
fn codes(plant: &Plant) -> Vec<&'static str> {
    let (_dir, app) = build(plant);
    let report = verify(&app).expect("a bundle");
    let mut codes: Vec<&'static str> = report.findings.0.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

fn build(plant: &Plant) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let config = config();
    let mut plists = template::plists(&config, plant.variant).expect("templates");
    plists.dext_info.insert("OSMinimumDriverKitVersion".to_owned(), "21.0".into());
    for info in [&mut plists.app_info, &mut plists.dext_info] {
        info.insert(CHECK_BUILD.to_owned(), "for a test".into());
    }
    if plant.variant == Variant::Release {
        plists.app_info.remove(CHECK_BUILD);
        plists.dext_info.remove(CHECK_BUILD);
    }
    let classes = plists.clone();
    (plant.plists)(&mut plists);
    let info = template::xml(&plists.dext_info).expect("xml");
    let identifier = plant.identifier.map_or_else(|| config.dext_id(), str::to_owned);
    let app = dir.path().join("Weir.app");
    let driver = |seal: &[u8]| {
        let one = |(index, arch): (usize, &&'static str)| {
            let mut bytes = slice(plant, &classes, arch, dir.path());
            (plant.patch)(&mut bytes);
            let mut own = plists.clone();
            if index == 1 {
                (plant.second)(&mut own);
            }
            if !plant.unsigned {
                let bound = sign::Bound {
                    identifier: &identifier,
                    entitlements: &own.dext_entitlements,
                    info_plist: &info,
                    seal,
                };
                sign::sign(&mut bytes, &bound).expect("sign");
            }
            (plant.patch_signed)(&mut bytes);
            (*arch, bytes)
        };
        plant.archs.iter().enumerate().map(one).collect()
    };
    put(&dext_dir(&app, &config), &config.dext_id(), seal::Form::Flat, &info, driver);
    let app_info = template::xml(&plists.app_info).expect("xml");
    let command = |seal: &[u8]| {
        let one = |arch: &&'static str| {
            let mut bytes = app::slice(plant, arch, dir.path());
            let bound = sign::Bound {
                identifier: &config.app_id(),
                entitlements: &plists.app_entitlements,
                info_plist: &app_info,
                seal,
            };
            sign::sign(&mut bytes, &bound).expect("sign");
            (plant.app_patch_signed)(&mut bytes);
            (*arch, bytes)
        };
        plant.archs.iter().map(one).collect()
    };
    put(&app.join("Contents"), "MacOS/weir", seal::Form::App, &app_info, command);
    (plant.after)(&app);
    (dir, app)
}

/// Linking needs lld; everything else of the tests does not.
fn can_link() -> bool {
    let present = sh::has("ld64.lld-19");
    assert!(present || std::env::var_os("CI").is_none(), "lld-19 is not installed");
    present
}

fn command_at(bytes: &[u8], cmd: u32) -> usize {
    macho::commands(bytes).expect("commands").iter().find(|command| command.cmd == cmd).expect("command").at
}

fn set(bytes: &mut [u8], at: usize, value: u32) {
    macho::set_u32(bytes, at, value).expect("in the file");
}

/// Changes the slot number of a blob in the signature.
fn rename_slot(bytes: &mut [u8], from: u32) {
    let command = command_at(bytes, defs::LC_CODE_SIGNATURE.0);
    let start = macho::u32_at(bytes, command + 8).expect("offset") as usize;
    for index in 0..5 {
        let at = start + 12 + index * 8;
        if bytes[at..at + 4] == from.to_be_bytes() {
            bytes[at..at + 4].copy_from_slice(&0x900_u32.to_be_bytes());
        }
    }
}

const DEXT: &str = "Contents/Library/SystemExtensions/dev.weir.driver.dext";

#[test]
fn nothing_is_wrong_with_the_bundles_that_defects_are_planted_in() {
    if !can_link() {
        return;
    }
    assert_eq!(codes(&Plant::default()), [""; 0]);
    assert_eq!(codes(&Plant { variant: Variant::Release, ..Plant::default() }), [""; 0]);
    // A newer function that may be absent is right.
    let weak = "extern void *newer(void) __asm(\"__ZN21IOUserNetworkEthernet15getFeatureFlagsEv\") \
                __attribute__((weak_import));\nvoid *use(void) { return newer ? newer() : 0; }\n";
    assert_eq!(codes(&Plant { source: weak, ..Plant::default() }), [""; 0]);
}

#[test]
fn two_builds_are_the_same_byte_for_byte() {
    if !can_link() {
        return;
    }
    let read = |app: &Path| std::fs::read(app.join(DEXT).join("dev.weir.driver")).expect("executable");
    let (_first, one) = build(&Plant::default());
    let (_second, two) = build(&Plant::default());
    assert!(read(&one) == read(&two));
}

#[test]
fn defects_of_the_executable_are_found() {
    if !can_link() {
        return;
    }
    let plain = Plant::default;
    let cases: Vec<(&str, Plant)> = vec![
        ("filetype", Plant { patch: |b| set(b, 12, 6), ..plain() }),
        ("pie", Plant { patch: |b| set(b, 24, 0x85), ..plain() }),
        (
            "platform",
            Plant {
                patch: |b| {
                    let at = command_at(b, defs::LC_BUILD_VERSION.0);
                    set(b, at + 8, 1);
                },
                ..plain()
            },
        ),
        (
            "minimum",
            Plant {
                patch: |b| {
                    let at = command_at(b, defs::LC_BUILD_VERSION.0);
                    set(b, at + 12, 20 << 16);
                },
                ..plain()
            },
        ),
        ("lc-main", Plant { keep_main: true, ..plain() }),
        (
            "dylinker",
            Plant {
                patch: |b| {
                    macho::remove_command(b, defs::LC_LOAD_DYLINKER.0).expect("remove");
                },
                ..plain()
            },
        ),
        ("uuid", Plant { link: &["-no_uuid"], ..plain() }),
        (
            "encryption",
            Plant {
                patch: |b| {
                    let command: Vec<u8> =
                        [defs::LC_ENCRYPTION_INFO_64.0, 24, 0, 0, 0, 0].iter().flat_map(|w| w.to_le_bytes()).collect();
                    macho::add_command(b, &command).expect("room");
                },
                ..plain()
            },
        ),
        (
            "dylib",
            Plant {
                patch: |b| replace(b, b"Frameworks/DriverKit.framework", b"Frameworks/ObjectKit.framework"),
                ..plain()
            },
        ),
        ("dylib-missing", Plant { networking: false, ..plain() }),
        ("rpath", Plant { link: &["-rpath", "@loader_path"], ..plain() }),
        (
            "symbol",
            Plant {
                source: "extern int socket(int, int, int);\nint use(void) { return socket(2, 1, 0); }\n",
                exports: &["_socket"],
                ..plain()
            },
        ),
        (
            "symbol-newer",
            Plant {
                source: "extern void *newer(void) __asm(\"__ZN21IOUserNetworkEthernet15getFeatureFlagsEv\");\n\
                         void *use(void) { return newer(); }\n",
                ..plain()
            },
        ),
        (
            "tls",
            Plant {
                source: "__attribute__((used, section(\"__DATA,__thread_bss,thread_local_zerofill\"))) static int x;\n",
                ..plain()
            },
        ),
        (
            "tls",
            Plant {
                source: "extern int tlv(void) __asm(\"__tlv_bootstrap\");\nint use(void) { return tlv(); }\n",
                exports: &["__tlv_bootstrap"],
                ..plain()
            },
        ),
        ("tls", Plant { patch: |b| set(b, 24, 0x0080_0085 | 0x0020_0000), ..plain() }),
        (
            "panic",
            Plant {
                source: "void stop(void) __asm(\"__RNvNtCs1_4core9panicking5panic\");\nvoid stop(void) { for (;;) ; }\n",
                ..plain()
            },
        ),
        (
            "unwinding",
            Plant {
                source: "extern void resume(void) __asm(\"__Unwind_Resume\");\nvoid use(void) { resume(); }\n",
                exports: &["__Unwind_Resume"],
                ..plain()
            },
        ),
        (
            "unwinding",
            Plant {
                source: "__attribute__((used, section(\"__TEXT,__gcc_except_tab\"))) static const int pads[4] = {1};\n",
                ..plain()
            },
        ),
        (
            "writable-code",
            Plant {
                patch: |b| {
                    let at = command_at(b, defs::LC_SEGMENT_64.0);
                    let text = at + macho::u32_at(b, at + 4).expect("size") as usize;
                    set(b, text + 60, 7);
                },
                ..plain()
            },
        ),
        ("classes", Plant { classes: false, ..plain() }),
        (
            "constructor",
            Plant { source: "__attribute__((constructor)) static void early(void) { IOMalloc(1); }\n", ..plain() },
        ),
        ("size", Plant { source: "__attribute__((used)) static const char big[3 << 20] = {1};\n", ..plain() }),
        ("architecture", Plant { archs: &["arm64"], ..plain() }),
        ("signature", Plant { unsigned: true, ..plain() }),
        ("signature-broken", Plant { patch_signed: |b| b[0x1000] ^= 1, ..plain() }),
        (
            "signature-broken",
            Plant {
                patch_signed: |b| {
                    let at = command_at(b, defs::LC_CODE_SIGNATURE.0);
                    set(b, at + 8, 0x7fff_fff0);
                },
                ..plain()
            },
        ),
        ("signature-id", Plant { identifier: Some("dev.weir.other"), ..plain() }),
        ("entitlements-missing", Plant { patch_signed: |b| rename_slot(b, 5), ..plain() }),
        ("entitlements-der", Plant { patch_signed: |b| rename_slot(b, 7), ..plain() }),
        (
            "entitlements-differ",
            Plant {
                second: |p| {
                    p.dext_entitlements.insert("com.example.extra".into(), Value::Boolean(true));
                },
                ..plain()
            },
        ),
    ];
    for (code, plant) in cases {
        let found = codes(&plant);
        assert!(found.contains(&code), "{code} was planted, found {found:?}");
    }
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("text");
    bytes[at..at + to.len()].copy_from_slice(to);
}

#[test]
fn defects_of_the_folder_are_found() {
    if !can_link() {
        return;
    }
    let cases: &[(&str, After)] = &[
        ("info-changed", |app| {
            let path = app.join(DEXT).join("Info.plist");
            let text = std::fs::read_to_string(&path).expect("read").replace("filters, meters", "meters, filters");
            std::fs::write(path, text).expect("write");
        }),
        ("dext-name", |app| {
            let dext = app.join(DEXT);
            std::fs::rename(&dext, dext.with_file_name("Weir.dext")).expect("rename");
        }),
        ("dext-count", |app| {
            std::fs::create_dir(app.join(DEXT).with_file_name("other.dext")).expect("folder");
        }),
        ("dext-count", |app| std::fs::remove_dir_all(app.join(DEXT)).expect("remove")),
        ("plist", |app| std::fs::remove_file(app.join(DEXT).join("Info.plist")).expect("remove")),
        ("plist", |app| std::fs::write(app.join("Contents/Info.plist"), "<plist>").expect("write")),
        ("executable", |app| std::fs::remove_file(app.join(DEXT).join("dev.weir.driver")).expect("remove")),
        ("macho", |app| std::fs::write(app.join(DEXT).join("dev.weir.driver"), "#!/bin/sh\n").expect("write")),
        ("macho", |app| {
            let path = app.join(DEXT).join("dev.weir.driver");
            let mut bytes = std::fs::read(&path).expect("read");
            bytes[0x4000 + 20] = 0xff; // sizeofcmds of the first slice
            bytes[0x4000 + 21] = 0xff;
            bytes[0x4000 + 22] = 0xff;
            std::fs::write(path, bytes).expect("write");
        }),
        ("app-executable", |app| std::fs::remove_file(app.join("Contents/MacOS/weir")).expect("remove")),
        ("macho", |app| std::fs::write(app.join("Contents/MacOS/weir"), "#!/bin/sh\n").expect("write")),
        ("info-changed", |app| {
            let path = app.join("Contents/Info.plist");
            let text = std::fs::read_to_string(&path).expect("read").replace("which filters", "that filters");
            std::fs::write(path, text).expect("write");
        }),
        ("seal-missing", |app| std::fs::remove_file(app.join("Contents").join(seal::PATH)).expect("remove")),
        ("seal-missing", |app| std::fs::remove_file(app.join(DEXT).join(seal::PATH)).expect("remove")),
        ("seal-changed", |app| {
            let path = app.join(DEXT).join(seal::PATH);
            let text = std::fs::read_to_string(&path).expect("read").replace("2000", "2001");
            std::fs::write(path, text).expect("write");
        }),
        ("seal-file", |app| std::fs::write(app.join("Contents/Resources.txt"), "new").expect("write")),
        ("seal-file", |app| std::fs::write(app.join(DEXT).join("new.txt"), "new").expect("write")),
        ("seal-file", |app| std::fs::write(app.join(DEXT).join("dev.weir.driver"), "other").expect("write")),
        ("seal-file", |app| std::fs::remove_file(app.join(DEXT).join("Info.plist")).expect("remove")),
        ("seal-file", |app| std::fs::write(app.join("Contents").join(seal::PATH), "<plist/>").expect("write")),
    ];
    for (code, after) in cases {
        let found = codes(&Plant { after: *after, ..Plant::default() });
        assert!(found.contains(code), "{code} was planted, found {found:?}");
    }
}
