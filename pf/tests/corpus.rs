//! The normal form equals pfctl's for pairs of files: those in `tests/golden`, and more where they are at hand.

use std::path::{Path, PathBuf};

use weir_pf::{Isolated, Options, Source, check};

/// Every `.in` of a folder with the text its `.ok` has.
fn pairs(folder: &Path) -> Vec<(PathBuf, String, String)> {
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
            let (text, wanted) = (read(&path), read(&path.with_extension("ok")));
            (path, text, wanted)
        })
        .collect()
}

fn compare(folder: &Path) -> usize {
    let resolver = Isolated::default();
    let mut wrong = Vec::new();
    let pairs = pairs(folder);
    for (path, text, wanted) in &pairs {
        let options = Options { resolver: &resolver, ..Options::default() };
        let source = Source { name: path.file_name().unwrap().to_string_lossy().into_owned(), text: text.clone() };
        let checked = check(&source, &options);
        match checked.text {
            Some(printed) if printed == *wanted => {}
            Some(printed) => wrong.push(format!("{}:\n--- wanted\n{wanted}--- printed\n{printed}", path.display())),
            None => {
                let errors: String = checked.errors.iter().map(|e| e.render()).collect();
                wrong.push(format!("{}:\n{errors}", path.display()));
            }
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
