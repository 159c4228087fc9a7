//! `cargo xtask bundle --verify`: what is wrong with a built bundle, whoever built it.

mod app;
mod image;
mod slice;
#[cfg(test)]
mod tests;

pub use image::Image;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use plist::{Dictionary, Value};

use super::config::{Config, Variant};
use super::finding::Findings;
use super::template::{CHECK_BUILD, Plists, personalities};
use super::{ARCHS, lint, macho, sign, stubs};

/// What was seen and what is wrong with it.
#[derive(Debug, Default)]
pub struct Report {
    /// Lines for people: architectures, sizes, versions.
    pub facts: Vec<String>,
    /// Defects.
    pub findings: Findings,
}

/// Inspects `Weir.app`.
///
/// # Errors
/// No such bundle. What is wrong *with* it is in the report.
pub fn verify(app: &Path) -> Result<Report> {
    if !app.is_dir() {
        bail!("{} is no bundle; build one with `cargo xtask bundle`", app.display());
    }
    let mut report = Report::default();
    let contents = app.join("Contents");
    let app_info = read_plist(&contents.join("Info.plist"), "app Info.plist", &mut report.findings);
    let Some(dext) = find_dext(&contents.join("Library/SystemExtensions"), &mut report.findings) else {
        return Ok(report);
    };
    let dext_info = read_plist(&dext.join("Info.plist"), "dext Info.plist", &mut report.findings);
    let check_build = app_info.contains_key(CHECK_BUILD) && dext_info.contains_key(CHECK_BUILD);
    if check_build {
        report.facts.push("check build: cross-built, not loadable by macOS".to_owned());
    }

    let name = dext.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let id = text(&dext_info, "CFBundleIdentifier");
    report.findings.expect(
        name == id,
        "dext-name",
        "dext",
        format!("the bundle is called {name}.dext and its id is {id}: macOS looks for it under its id"),
    );
    let signed = executable_of_dext(&dext, &dext_info, &mut report);
    let app_signed = app::check(&contents, &app_info, check_build, &mut report);

    let variant =
        if signed.contains_key("com.apple.security.get-task-allow") { Variant::Development } else { Variant::Release };
    if variant == Variant::Release && check_build {
        report.facts.push("release entitlements in a check build".to_owned());
    }
    let config = described(&app_info, &dext_info);
    let plists = Plists { app_info, dext_info, app_entitlements: app_signed, dext_entitlements: signed };
    report.findings.0.extend(lint::lint(&plists, &config, variant).0);
    Ok(report)
}

fn text(dictionary: &Dictionary, key: &str) -> String {
    dictionary.get(key).and_then(Value::as_string).unwrap_or("").to_owned()
}

fn read_plist(path: &Path, what: &str, findings: &mut Findings) -> Dictionary {
    match Value::from_file(path).ok().and_then(Value::into_dictionary) {
        Some(dictionary) => dictionary,
        None => {
            findings.add("plist", what, format!("{} is missing or is no property list", path.display()));
            Dictionary::new()
        }
    }
}

/// The one driver extension of the app.
fn find_dext(dir: &Path, findings: &mut Findings) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ext| ext == "dext")).collect();
    found.sort();
    if found.len() != 1 {
        findings.add(
            "dext-count",
            "Contents/Library/SystemExtensions",
            format!("{} driver extensions here, must be one", found.len()),
        );
    }
    found.into_iter().next()
}

/// What the bundle says of itself, as the settings that it was built from: the linter then finds contradictions.
fn described(app_info: &Dictionary, dext_info: &Dictionary) -> Config {
    Config {
        team: String::new(),
        bundle_prefix: text(app_info, "CFBundleIdentifier"),
        version: text(app_info, "CFBundleShortVersionString"),
        build: text(dext_info, "CFBundleVersion").parse().unwrap_or(0),
        signing_identity: String::new(),
        app_profile: String::new(),
        dext_profile: String::new(),
        minimum_driverkit: String::new(),
        minimum_macos: text(app_info, "LSMinimumSystemVersion"),
    }
}

/// The slices of an executable, one for each kind of Mac.
fn executable_slices(
    bytes: &[u8],
    path: &Path,
    place: &str,
    findings: &mut Findings,
) -> Option<Vec<(String, usize, usize)>> {
    let slices = match macho::slices(bytes) {
        Ok(slices) => slices,
        Err(error) => {
            findings.add("macho", place, format!("{}: {error:#}", path.display()));
            return None;
        }
    };
    for arch in ARCHS {
        let found = slices.iter().any(|(name, _, _)| name == arch || name.strip_suffix('e') == Some(arch));
        findings.expect(found, "architecture", place, format!("no {arch}: Macs of that kind cannot run it"));
    }
    Some(slices)
}

/// Checks every slice of the extension's executable; returns the entitlements that it is signed with.
fn executable_of_dext(dext: &Path, dext_info: &Dictionary, report: &mut Report) -> Dictionary {
    let name = text(dext_info, "CFBundleExecutable");
    let path = &dext.join(&name);
    let info = std::fs::read(dext.join("Info.plist")).unwrap_or_default();
    let findings = &mut report.findings;
    let sealed = app::read_seal(dext, &name, "dext", findings);
    let Ok(bytes) = std::fs::read(path) else {
        findings.add("executable", "dext", format!("{} is missing", path.display()));
        return Dictionary::new();
    };
    let Some(slices) = executable_slices(&bytes, path, "dext", findings) else { return Dictionary::new() };
    let symbols = match stubs::symbols() {
        Ok(symbols) => symbols,
        Err(error) => {
            findings.add("macho", "dext", format!("{error:#}"));
            return Dictionary::new();
        }
    };
    let mut entitlements: Option<Dictionary> = None;
    let minimum = text(dext_info, "OSMinimumDriverKitVersion");
    for (arch, offset, size) in slices {
        let place = format!("dext {arch}");
        let thin = bytes.get(offset..offset + size).unwrap_or_default();
        let image = match Image::parse(thin) {
            Ok(image) => image,
            Err(error) => {
                findings.add("macho", place, format!("{error:#}"));
                continue;
            }
        };
        report.facts.push(format!("{arch}: {size} bytes, DriverKit {}, {}", image.minimum_text(), image.sizes()));
        slice::check(&image, &place, &symbols, findings);
        if !minimum.is_empty() {
            findings.expect(
                super::config::version(&minimum).map(macho::packed_version) == Some(image.minimum),
                "minimum",
                &place,
                format!("Info.plist says DriverKit {minimum}, the executable {}", image.minimum_text()),
            );
        }
        for (name, personality) in personalities(dext_info) {
            let class = text(personality, "IOUserClass");
            findings.expect(
                class.is_empty() || image.mentions(thin, &class),
                "user-class",
                &place,
                format!("{name} names the class {class}, which the executable does not define"),
            );
        }
        let identifier = text(dext_info, "CFBundleIdentifier");
        let own = signature(thin, &place, &identifier, Some(&info), sealed.as_deref(), findings);
        if let (Some(own), Some(other)) = (&own, &entitlements) {
            findings.expect(
                own == other,
                "entitlements-differ",
                &place,
                "signed with other entitlements than another slice",
            );
        }
        entitlements = entitlements.or(own);
    }
    entitlements.unwrap_or_default()
}

/// Checks that a slice is signed and that nothing was changed since; returns its entitlements.
fn signature(
    thin: &[u8],
    place: &str,
    identifier: &str,
    info: Option<&[u8]>,
    seal: Option<&[u8]>,
    findings: &mut Findings,
) -> Option<Dictionary> {
    let signature = match sign::read(thin) {
        Ok(Some(signature)) => signature,
        Ok(None) => {
            findings.add("signature", place, "not signed: neither entitlements nor anything else counts");
            return None;
        }
        Err(error) => {
            findings.add("signature-broken", place, format!("{error:#}"));
            return None;
        }
    };
    if let Some(why) = &signature.broken {
        findings.add("signature-broken", place, why.clone());
    }
    findings.expect(
        signature.identifier == identifier,
        "signature-id",
        place,
        format!("signed as \"{}\", the bundle id is \"{identifier}\"", signature.identifier),
    );
    if let (Some(info), Some(_)) = (info, signature.info_hash) {
        findings.expect(
            sign::binds(&signature, info),
            "info-changed",
            place,
            "Info.plist was changed after signing: the signature binds another one",
        );
    }
    if let Some(seal) = seal {
        app::check_seal(&signature, seal, place, findings);
    }
    findings.expect(
        signature.entitlements.is_some(),
        "entitlements-missing",
        place,
        "signed without entitlements: DriverKit kills it at launch",
    );
    findings.expect(
        signature.entitlements.is_none() || signature.has_der,
        "entitlements-der",
        place,
        "entitlements in XML only: macOS 12 and later read the DER form",
    );
    findings.expect(
        signature.adhoc || !signature.team.is_empty(),
        "team",
        place,
        "signed with a certificate, and without a team: system extensions need one",
    );
    signature.entitlements
}
