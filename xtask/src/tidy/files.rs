//! Rules that look at whole files: length, promises, what the project must not depend on.

use anyhow::Result;

use super::Finding;
use super::source::Source;
use crate::sh;

/// A file past this many lines is two files.
const MAX_LINES: usize = 600;

/// Written by bindgen.
const GENERATED: &[&str] = &["src/abi/sys.rs"];

/// Adds findings for every source file, Rust or not.
///
/// # Errors
/// A file that cannot be read.
pub fn check(sources: &[Source], findings: &mut Vec<Finding>) -> Result<()> {
    let mut files: Vec<(String, String)> =
        sources.iter().map(|source| (source.path.clone(), source.text.clone())).collect();
    let root = sh::root();
    for dir in ["dext", "iig", "host/cpp", "host/include"] {
        for entry in walkdir::WalkDir::new(root.join(dir)).sort_by_file_name() {
            let Ok(entry) = entry else { continue };
            let known = entry.path().extension().is_some_and(|ext| ext == "cpp" || ext == "h" || ext == "iig");
            if known {
                let relative = entry.path().strip_prefix(&root)?.to_string_lossy().into_owned();
                files.push((relative, std::fs::read_to_string(entry.path())?));
            }
        }
    }
    for (path, text) in &files {
        if GENERATED.contains(&path.as_str()) {
            continue;
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            findings.push(Finding {
                place: (path.clone(), 0),
                text: format!("{lines} lines; past {MAX_LINES} a file is two files"),
            });
        }
        for (number, line) in text.lines().enumerate() {
            let promise =
                ["todo!(", "unimplemented!(", "FIXME", "XXX:", "HACK"].iter().find(|word| line.contains(**word));
            if let Some(word) = promise
                && !path.starts_with("xtask/src/tidy/")
            {
                findings.push(Finding {
                    place: (path.clone(), number + 1),
                    text: format!("`{word}` is a promise not kept"),
                });
            }
        }
    }
    Ok(())
}
