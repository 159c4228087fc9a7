//! cli/mac/symbols.txt and app-symbols.txt: what dext and app may import. Stub libraries to link with, and the verifier's
//! allow-lists.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::sh;

/// Symbol -> library and the version of DriverKit, or of macOS, in which it appeared.
pub type Symbols = BTreeMap<String, (String, u32)>;

/// Reads the project's list for the extension.
///
/// # Errors
/// The file is missing or a line is wrong.
pub fn symbols() -> Result<Symbols> {
    read("cli/mac/symbols.txt")
}

/// The list for the app.
///
/// # Errors
/// See [`symbols`].
pub fn app_symbols() -> Result<Symbols> {
    read("cli/mac/app-symbols.txt")
}

fn read(name: &str) -> Result<Symbols> {
    let path = sh::root().join(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| name.to_owned())
}

fn parse(text: &str) -> Result<Symbols> {
    let mut library = String::new();
    let mut symbols = Symbols::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            library = name.to_owned();
            continue;
        }
        let place = || format!("line {}", number + 1);
        let (version, symbol) = line.split_once(' ').with_context(place)?;
        let version = version.parse().with_context(place)?;
        if library.is_empty() || symbols.insert(symbol.to_owned(), (library.clone(), version)).is_some() {
            bail!("{}: no library above it, or a symbol for the second time", place());
        }
    }
    Ok(symbols)
}

/// Where dyld finds a library.
pub fn install_name(library: &str) -> String {
    match library {
        "System" => "/System/DriverKit/usr/lib/libSystem.dylib".to_owned(),
        "c++" => "/System/DriverKit/usr/lib/libc++.dylib".to_owned(),
        name => format!("/System/DriverKit/System/Library/Frameworks/{name}.framework/{name}"),
    }
}

/// Libraries that a dext may load.
pub fn permitted(symbols: &Symbols) -> Vec<String> {
    let mut names: Vec<String> = symbols.values().map(|(library, _)| install_name(library)).collect();
    names.push(install_name("c++"));
    names.sort();
    names.dedup();
    names
}

/// Names of the frameworks, without the C library.
pub fn frameworks(symbols: &Symbols) -> Vec<String> {
    let mut names: Vec<String> =
        symbols.values().map(|(library, _)| library.clone()).filter(|library| library != "System").collect();
    names.sort();
    names.dedup();
    names
}

/// What the app loads: the frameworks whose classes it looks up by name, and libraries that its compiler asks for.
pub const APP_LIBRARIES: [&str; 7] =
    ["System", "iconv", "objc", "CoreFoundation", "Foundation", "IOKit", "SystemExtensions"];

/// Where dyld finds a library of macOS.
pub fn app_install_name(library: &str) -> String {
    match library {
        "System" => "/usr/lib/libSystem.B.dylib".to_owned(),
        "iconv" => "/usr/lib/libiconv.2.dylib".to_owned(),
        "objc" => "/usr/lib/libobjc.A.dylib".to_owned(),
        name => format!("/System/Library/Frameworks/{name}.framework/Versions/A/{name}"),
    }
}

/// Writes text-based stub libraries (tbd, version 4) below `root`, laid out as in an SDK.
///
/// # Errors
/// A file cannot be written.
pub fn write(symbols: &Symbols, root: &Path) -> Result<()> {
    let mut libraries: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (symbol, (library, _)) in symbols {
        libraries.entry(library).or_default().push(symbol);
    }
    for (library, names) in libraries {
        let path = match library {
            "System" => root.join("usr/lib/libSystem.tbd"),
            _ => framework(root, library),
        };
        write_stub(&path, "driverkit", &install_name(library), &names)?;
    }
    Ok(())
}

/// As [`write`], for the app. libc and libm are other names of libSystem there.
///
/// # Errors
/// See [`write`].
pub fn write_app(symbols: &Symbols, root: &Path) -> Result<()> {
    for library in APP_LIBRARIES {
        let names: Vec<&str> =
            symbols.iter().filter(|(_, (of, _))| of == library).map(|(symbol, _)| symbol.as_str()).collect();
        let paths: Vec<_> = match library {
            "System" => ["System", "c", "m"].map(|name| root.join(format!("usr/lib/lib{name}.tbd"))).into(),
            "iconv" | "objc" => vec![root.join(format!("usr/lib/lib{library}.tbd"))],
            _ => vec![framework(root, library)],
        };
        for path in paths {
            write_stub(&path, "macos", &app_install_name(library), &names)?;
        }
    }
    Ok(())
}

fn framework(root: &Path, library: &str) -> PathBuf {
    root.join(format!("System/Library/Frameworks/{library}.framework/{library}.tbd"))
}

fn write_stub(path: &Path, platform: &str, install_name: &str, symbols: &[&str]) -> Result<()> {
    let targets = format!("[ arm64-{platform}, x86_64-{platform} ]");
    let mut text = format!("--- !tapi-tbd\ntbd-version: 4\ntargets: {targets}\ninstall-name: '{install_name}'\n");
    if !symbols.is_empty() {
        let _ = write!(text, "exports:\n  - targets: {targets}\n    symbols: [ ");
        for (index, symbol) in symbols.iter().enumerate() {
            let comma = if index == 0 { "" } else { ",\n               " };
            let _ = write!(text, "{comma}'{symbol}'");
        }
        text.push_str(" ]\n");
    }
    text.push_str("...\n");
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_list_is_well_formed() {
        let symbols = super::symbols().expect("symbols.txt");
        assert!(symbols.len() > 500);
        assert!(symbols.values().all(|(_, version)| (19..=25).contains(version)));
        let app = super::app_symbols().expect("app-symbols.txt");
        assert!(app.values().all(|(library, _)| super::APP_LIBRARIES.contains(&library.as_str())));
        assert!(app.len() > 100 && app.values().all(|(_, version)| (10..=26).contains(version)));
        assert_eq!(symbols.get("_memcpy").map(|(library, _)| library.as_str()), Some("System"));
        assert!(super::parse("19 _a\n").is_err() && super::parse("[X]\n19 _a\n20 _a\n").is_err());
        assert!(super::parse("[X]\nold _a\n").is_err());
    }
}
