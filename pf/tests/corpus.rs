//! The normal form equals pfctl's for pairs of files: those in `tests/golden`, and more where they are at hand.

use std::path::{Path, PathBuf};

use weir_pf::resolver::InterfaceAddress;
use weir_pf::{Isolated, Options, Resolver, Source, check};

/// What pfctl's own suite is run with: files beside the one that is read, and nothing else of the machine.
struct Beside<'a> {
    folder: &'a Path,
    inner: Isolated,
}

impl Resolver for Beside<'_> {
    fn host(&self, name: &str) -> Result<Vec<std::net::IpAddr>, String> {
        self.inner.host(name)
    }

    fn interfaces(&self) -> Vec<InterfaceAddress> {
        self.inner.interfaces()
    }

    fn service(&self, name: &str) -> Option<u16> {
        self.inner.service(name)
    }

    fn user(&self, name: &str) -> Option<u32> {
        self.inner.user(name)
    }

    fn group(&self, name: &str) -> Option<u32> {
        self.inner.group(name)
    }

    fn read(&self, path: &str) -> Result<String, String> {
        match path {
            "/dev/null" => Ok(String::new()),
            _ => std::fs::read_to_string(self.folder.join(path)).map_err(|error| error.to_string()),
        }
    }
}

/// What a file must come to.
enum Wanted {
    /// This text.
    Text(String),
    /// An error: pfctl has one for it, in words of its own.
    Errors,
}

/// Every `.in` of a folder with the text its `.ok` has, or a `.fail` beside it.
fn pairs(folder: &Path) -> Vec<(PathBuf, String, Wanted)> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut inputs: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "in")).collect();
    inputs.sort();
    inputs
        .into_iter()
        .map(|path| {
            let read = |p: &Path| std::fs::read_to_string(p).unwrap_or_else(|e| panic!("{}: {e}", p.display()));
            let wanted = match path.with_extension("fail").exists() {
                true => Wanted::Errors,
                false => Wanted::Text(read(&path.with_extension("ok"))),
            };
            (path.clone(), read(&path), wanted)
        })
        .collect()
}

fn compare(folder: &Path) -> usize {
    let resolver = Beside { folder, inner: Isolated::default() };
    let mut wrong = Vec::new();
    let pairs = pairs(folder);
    for (path, text, wanted) in &pairs {
        let options = Options { resolver: &resolver, ..Options::default() };
        let source = Source { name: path.file_name().unwrap().to_string_lossy().into_owned(), text: text.clone() };
        let checked = check(&source, &options);
        match (checked.text, wanted) {
            (Some(printed), Wanted::Text(wanted)) if printed == *wanted => {}
            (Some(printed), Wanted::Text(wanted)) => {
                wrong.push(format!("{}:\n--- wanted\n{wanted}--- printed\n{printed}", path.display()));
            }
            (None, Wanted::Text(_)) => {
                let errors: String = checked.errors.iter().map(|e| e.render()).collect();
                wrong.push(format!("{}:\n{errors}", path.display()));
            }
            (Some(printed), Wanted::Errors) => {
                wrong.push(format!("{}: no error\n--- printed\n{printed}", path.display()));
            }
            (None, Wanted::Errors) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), pairs.len(), wrong.join("\n"));
    pairs.len()
}

#[test]
fn own_pairs_print_as_pfctl_prints_them() {
    assert!(compare(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")) > 0);
}

#[test]
fn shared_pairs_print_as_pfctl_prints_them() {
    let shared = std::env::var_os("WEIR_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = shared.join("corpus/pf-freebsd");
    match compare(&folder) {
        0 => eprintln!("skipped: no pairs in {}", folder.display()),
        n => eprintln!("{n} pairs in {}", folder.display()),
    }
}
