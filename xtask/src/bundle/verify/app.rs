//! Checks of the app's executable and of the seals.

use std::path::Path;

use object::macho as defs;
use plist::Dictionary;

use super::image::Image;
use super::{Report, executable_slices, signature, text};
use crate::bundle::finding::Findings;
use crate::bundle::seal;
use crate::bundle::sign::{self, Signature};
use crate::bundle::stubs::{self, Symbols};
use crate::bundle::{PLATFORM_MACOS, config, macho};

/// Checks every slice of the app's executable; returns the entitlements that it is signed with.
pub fn check(contents: &Path, info: &Dictionary, check_build: bool, report: &mut Report) -> Dictionary {
    let name = format!("MacOS/{}", text(info, "CFBundleExecutable"));
    let sealed = read_seal(contents, &name, "app", &mut report.findings);
    let path = contents.join(&name);
    let findings = &mut report.findings;
    let Ok(bytes) = std::fs::read(&path) else {
        findings.add("app-executable", "app", format!("{} is missing", path.display()));
        return Dictionary::new();
    };
    let Some(slices) = executable_slices(&bytes, &path, "app", findings) else { return Dictionary::new() };
    let symbols = stubs::app_symbols().unwrap_or_default();
    let info_bytes = std::fs::read(contents.join("Info.plist")).unwrap_or_default();
    let mut entitlements: Option<Dictionary> = None;
    for (arch, offset, size) in slices {
        let place = format!("app {arch}");
        let thin = bytes.get(offset..offset + size).unwrap_or_default();
        match Image::parse(thin) {
            Ok(image) => {
                report.facts.push(format!("app {arch}: {size} bytes, macOS {}", image.minimum_text()));
                slice(&image, &place, &symbols, check_build, findings);
                let minimum = text(info, "LSMinimumSystemVersion");
                findings.expect(
                    config::version(&minimum).map(macho::packed_version) == Some(image.minimum),
                    "app-minimum",
                    &place,
                    format!("Info.plist says macOS {minimum}, the executable {}", image.minimum_text()),
                );
            }
            Err(error) => findings.add("macho", place.clone(), format!("{error:#}")),
        }
        let identifier = text(info, "CFBundleIdentifier");
        let own = signature(thin, &place, &identifier, Some(&info_bytes), sealed.as_deref(), findings);
        if let (Some(own), Some(other)) = (&own, &entitlements) {
            let why = "signed with other entitlements than another slice";
            findings.expect(own == other, "entitlements-differ", &place, why);
        }
        entitlements = entitlements.or(own);
    }
    entitlements.unwrap_or_default()
}

fn slice(image: &Image, place: &str, symbols: &Symbols, check_build: bool, findings: &mut Findings) {
    let count = |cmd: u32| image.commands.iter().filter(|found| **found == cmd).count();
    findings.expect(
        image.filetype == defs::MH_EXECUTE.0,
        "app-filetype",
        place,
        format!("Mach-O file type {}, must be {} (executable)", image.filetype, defs::MH_EXECUTE.0),
    );
    findings.expect(image.flags & defs::MH_PIE.0 != 0, "app-pie", place, "not position-independent");
    findings.expect(
        image.platform == Some(PLATFORM_MACOS),
        "app-platform",
        place,
        format!("platform {:?}, LC_BUILD_VERSION must say {PLATFORM_MACOS} (MACOS)", image.platform),
    );
    findings.expect(
        count(defs::LC_MAIN.0) == 1,
        "app-main",
        place,
        format!("{} LC_MAIN, must be 1: there is nothing to start", count(defs::LC_MAIN.0)),
    );
    findings.expect(count(defs::LC_LOAD_DYLINKER.0) == 1, "app-dylinker", place, "no LC_LOAD_DYLINKER, must be 1");
    findings.expect(count(defs::LC_UUID.0) == 1, "app-uuid", place, "no LC_UUID: crash reports find no symbols");
    for path in &image.rpaths {
        findings.add("app-rpath", place, format!("LC_RPATH {path}: everything that it may load has a fixed place"));
    }
    for name in &image.dylibs {
        findings.expect(
            name.starts_with("/usr/lib/") || name.starts_with("/System/Library/"),
            "app-dylib",
            place,
            format!("loads {name}, which is no part of macOS"),
        );
    }
    // Its classes are looked up by name: without the framework there are none.
    for library in ["SystemExtensions", "IOKit"] {
        let name = stubs::app_install_name(library);
        findings.expect(image.dylibs.contains(&name), "app-dylib-missing", place, format!("does not load {name}"));
    }
    for import in &image.imports {
        match symbols.get(&import.name) {
            // Another compiler may call other helpers; there the system's SDK has said that they exist.
            None => findings.expect(
                !check_build,
                "app-symbol",
                place,
                format!("imports {}, which is not in cli/mac/app-symbols.txt", import.name),
            ),
            Some((library, version)) => findings.expect(
                *version <= image.minimum >> 16 || import.weak || *version <= 10,
                "app-symbol-newer",
                place,
                format!("imports {} of {library}, which came with macOS {version}", import.name),
            ),
        }
    }
}

/// Reads a bundle's seal and compares its files with it.
pub fn read_seal(root: &Path, executable: &str, place: &str, findings: &mut Findings) -> Option<Vec<u8>> {
    let Ok(bytes) = std::fs::read(root.join(seal::PATH)) else {
        findings.add("seal-missing", place, format!("no {}: any file could be exchanged", seal::PATH));
        return None;
    };
    for why in seal::broken(root, executable, &bytes) {
        findings.add("seal-file", place, why);
    }
    Some(bytes)
}

/// Does the signature bind this seal?
pub fn check_seal(signature: &Signature, seal: &[u8], place: &str, findings: &mut Findings) {
    findings.expect(
        sign::binds_seal(signature, seal),
        "seal-changed",
        place,
        format!("{} was changed after signing: the signature binds another one", seal::PATH),
    );
}
