//! `_CodeSignature/CodeResources`: hashes of every file of a bundle beside its executable, as `codesign` writes them
//! (version 2 of the format: <https://developer.apple.com/library/archive/technotes/tn2206/>).

use std::path::Path;

use anyhow::{Context, Result, bail};
use plist::{Dictionary, Value};

use super::sign::sha256;
use super::template::xml;

/// Where the seal lies, below the folder that it covers.
pub const PATH: &str = "_CodeSignature/CodeResources";

/// A bundle's form: an app has its things in Contents and some of them in Resources, an extension has all in one folder.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    App,
    Flat,
}

/// The seal of the files below `root`, all but the executable, which carries the seal's hash, and the Info.plist, which
/// is bound by itself.
///
/// # Errors
/// A file cannot be read, or is of a kind that no check build has.
pub fn seal(root: &Path, executable: &str, form: Form) -> Result<Vec<u8>> {
    let mut files = Dictionary::new();
    for path in covered(root, executable)? {
        let bytes = std::fs::read(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
        let mut entry = Dictionary::new();
        entry.insert("hash2".to_owned(), Value::Data(sha256(&bytes).to_vec()));
        files.insert(path, entry.into());
    }
    let (old, new) = rules(form);
    let mut seal = Dictionary::new();
    // Version 1 is for systems that this bundle is not for, and covers Resources only, which it does not have.
    seal.insert("files".to_owned(), Dictionary::new().into());
    seal.insert("files2".to_owned(), files.into());
    seal.insert("rules".to_owned(), old.into());
    seal.insert("rules2".to_owned(), new.into());
    xml(&seal)
}

/// Files below `root` that a seal names, sorted, with `/` between folders.
fn covered(root: &Path, executable: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_dir() {
            continue;
        }
        let path = entry.path().strip_prefix(root)?.to_string_lossy().replace('\\', "/");
        if !entry.file_type().is_file() {
            bail!("{path} is neither a file nor a folder");
        }
        let omitted = ["Info.plist", "PkgInfo", PATH, executable].contains(&path.as_str())
            || entry.file_name() == ".DS_Store"
            || path.starts_with("_CodeSignature/");
        if !omitted {
            found.push(path);
        }
    }
    Ok(found)
}

/// codesign's own rules, which say what has to be sealed and how.
fn rules(form: Form) -> (Dictionary, Dictionary) {
    let rule = |weight: i64, word: Option<&str>| {
        let mut rule = Dictionary::new();
        if let Some(word) = word {
            rule.insert(word.to_owned(), true.into());
        }
        rule.insert("weight".to_owned(), (weight as f64).into());
        Value::Dictionary(rule)
    };
    let resources = if form == Form::App { "Resources/" } else { "" };
    let (mut old, mut new) = (Dictionary::new(), Dictionary::new());
    old.insert(if form == Form::App { "^Resources/" } else { "^.*" }.to_owned(), true.into());
    old.insert("^version.plist$".to_owned(), true.into());
    new.insert("^.*".to_owned(), true.into());
    if form == Form::App {
        new.insert("^Resources/".to_owned(), rule(20, None));
        let nested = "^(Frameworks|SharedFrameworks|PlugIns|Plug-ins|XPCServices|Helpers|MacOS|\
                      Library/(Automator|Spotlight|LoginItems))/";
        new.insert(nested.to_owned(), rule(10, Some("nested")));
        new.insert("^[^/]+$".to_owned(), rule(10, Some("nested")));
    }
    for rules in [&mut old, &mut new] {
        rules.insert(format!("^{resources}.*\\.lproj/"), rule(1000, Some("optional")));
        rules.insert(format!("^{resources}.*\\.lproj/locversion.plist$"), rule(1100, Some("omit")));
        rules.insert(format!("^{resources}Base\\.lproj/"), rule(1010, None));
    }
    for (pattern, weight, word) in [
        (".*\\.dSYM($|/)", 11, None),
        ("^(.*/)?\\.DS_Store$", 2000, Some("omit")),
        ("^Info\\.plist$", 20, Some("omit")),
        ("^PkgInfo$", 20, Some("omit")),
        ("^embedded\\.provisionprofile$", 20, None),
        ("^version\\.plist$", 20, None),
    ] {
        new.insert(pattern.to_owned(), rule(weight, word));
    }
    (old, new)
}

/// What does not agree with the seal: files that were changed, added or taken away. `seal` is the file's contents.
pub fn broken(root: &Path, executable: &str, seal: &[u8]) -> Vec<String> {
    let parsed = Value::from_reader(std::io::Cursor::new(seal)).ok().and_then(Value::into_dictionary);
    let Some(files) = parsed.as_ref().and_then(|seal| seal.get("files2")).and_then(Value::as_dictionary) else {
        return vec![format!("{PATH} has no files2")];
    };
    let mut wrong = Vec::new();
    for (path, entry) in files {
        let optional = entry.as_dictionary().and_then(|entry| entry.get("optional")).is_some();
        let hash = entry.as_dictionary().and_then(|entry| entry.get("hash2")).and_then(Value::as_data);
        match (hash, std::fs::read(root.join(path))) {
            (Some(hash), Ok(bytes)) if hash != sha256(&bytes) => {
                wrong.push(format!("{path} was changed after it was sealed"));
            }
            (Some(_), Err(_)) if !optional => wrong.push(format!("{path} is sealed and not there")),
            // Code that has a seal of its own, and links.
            (None, _) if !optional && std::fs::symlink_metadata(root.join(path)).is_err() => {
                wrong.push(format!("{path} is sealed and not there"));
            }
            _ => {}
        }
    }
    match covered(root, executable) {
        Ok(found) => {
            let sealed = |path: &str| {
                files.contains_key(path)
                    || files.iter().any(|(name, entry)| {
                        path.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('/'))
                            && entry.as_dictionary().is_some_and(|entry| entry.contains_key("cdhash"))
                    })
            };
            wrong.extend(found.iter().filter(|path| !sealed(path)).map(|path| format!("{path} is not sealed")));
        }
        Err(error) => wrong.push(format!("{error:#}")),
    }
    wrong
}
