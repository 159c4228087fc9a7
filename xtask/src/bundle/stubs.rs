//! cli/mac/symbols.txt: what a dext may import. Stub libraries to link with, and the verifier's allow-list.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::sh;

/// Symbol -> library and the version of DriverKit in which it appeared.
pub type Symbols = BTreeMap<String, (String, u32)>;

/// Reads the project's list.
///
/// # Errors
/// The file is missing or a line is wrong.
pub fn symbols() -> Result<Symbols> {
    let path = sh::root().join("cli/mac/symbols.txt");
    parse(&std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?)
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
        let place = || format!("cli/mac/symbols.txt, line {}", number + 1);
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
        let name = install_name(library);
        let path = match library {
            "System" => root.join("usr/lib/libSystem.tbd"),
            _ => root.join(format!("System/Library/Frameworks/{library}.framework/{library}.tbd")),
        };
        let mut text = format!(
            "--- !tapi-tbd\ntbd-version: 4\ntargets: [ arm64-driverkit, x86_64-driverkit ]\ninstall-name: '{name}'\n\
             exports:\n  - targets: [ arm64-driverkit, x86_64-driverkit ]\n    symbols: [ "
        );
        for (index, symbol) in names.iter().enumerate() {
            let comma = if index == 0 { "" } else { ",\n               " };
            let _ = write!(text, "{comma}'{symbol}'");
        }
        text.push_str(" ]\n...\n");
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_list_is_well_formed() {
        let symbols = super::symbols().expect("symbols.txt");
        assert!(symbols.len() > 500);
        assert!(symbols.values().all(|(_, version)| (19..=25).contains(version)));
        assert_eq!(symbols.get("_memcpy").map(|(library, _)| library.as_str()), Some("System"));
        assert!(super::parse("19 _a\n").is_err() && super::parse("[X]\n19 _a\n20 _a\n").is_err());
        assert!(super::parse("[X]\nold _a\n").is_err());
    }
}
