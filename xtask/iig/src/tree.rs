//! A driver's folders as its author's build system sees them: which files are compiled, where headers are found, and
//! names that differ in case only.

use crate::build::BuildError;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What lies in a driver's source directories.
#[derive(Debug, Default)]
pub struct SrcTree {
    /// The directories themselves, absolute.
    pub roots: Vec<PathBuf>,
    /// `.iig`
    pub definitions: Vec<PathBuf>,
    /// C++ and C. Objective-C and Swift belong to the app that installs a driver, not to the driver.
    pub sources: Vec<PathBuf>,
    pub headers: Vec<PathBuf>,
}

impl SrcTree {
    /// Reads the directories, but not what is hidden in them.
    pub fn read(dirs: &[PathBuf]) -> Result<Self, BuildError> {
        let mut tree = Self::default();
        let mut seen = BTreeSet::new();
        for dir in dirs {
            let root = dir.canonicalize().map_err(|error| BuildError::Io(dir.clone(), error))?;
            for path in walk(&root)?.into_iter().filter(|path| seen.insert(path.clone())) {
                let extension = path.extension().and_then(|is| is.to_str()).unwrap_or("");
                match extension.to_ascii_lowercase().as_str() {
                    "iig" => tree.definitions.push(path),
                    "cpp" | "cc" | "cxx" | "c++" | "c" => tree.sources.push(path),
                    "h" | "hpp" | "hh" | "hxx" => tree.headers.push(path),
                    _ => {}
                }
            }
            tree.roots.push(root);
        }
        // A generated file that was checked in, and one that another file includes, would define everything twice.
        let mut twice: BTreeSet<PathBuf> = tree.definitions.iter().map(|path| path.with_extension("iig.cpp")).collect();
        for path in tree.sources.iter().chain(&tree.headers) {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let dir = path.parent().unwrap_or(path);
            let found = includes(&text).into_iter().filter_map(|name| dir.join(name).canonicalize().ok());
            twice.extend(found.filter(|included| included != path));
        }
        tree.sources.retain(|path| !twice.contains(path));
        Ok(tree)
    }

    /// Where `#include` finds the driver's headers: the directories themselves, those with headers (Xcode finds any header
    /// of a project by its name), and those from which a name with directories in it, as `<a/b.h>`, leads to one.
    pub fn header_dirs(&self) -> Vec<PathBuf> {
        let mut dirs = self.roots.clone();
        let mut add = |dir: Option<&Path>| {
            if let Some(dir) = dir.filter(|dir| !dirs.iter().any(|known| known == dir)) {
                dirs.push(dir.to_owned());
            }
        };
        for path in self.definitions.iter().chain(&self.headers) {
            add(path.parent());
        }
        let mut names = BTreeSet::new();
        for path in self.definitions.iter().chain(&self.headers).chain(&self.sources) {
            names.extend(std::fs::read_to_string(path).iter().flat_map(|text| includes(text)));
        }
        for name in names.iter().filter(|name| name.contains('/')) {
            let depth = Path::new(name).components().count();
            for header in self.headers.iter().chain(&self.definitions) {
                let tail: PathBuf =
                    header.components().skip(header.components().count().saturating_sub(depth)).collect();
                if tail.as_os_str().eq_ignore_ascii_case(name) && self.roots.iter().any(|root| header.starts_with(root))
                {
                    add(header.ancestors().nth(depth));
                }
            }
        }
        dirs
    }
}

/// File names of a text's `#include` lines.
fn includes(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix('#'));
    let rest =
        lines.filter_map(|line| line.trim_start().strip_prefix("include").or(line.trim_start().strip_prefix("import")));
    rest.filter_map(|rest| {
        let rest = rest.trim_start();
        let close = if rest.starts_with('<') { '>' } else { '"' };
        Some(rest.get(1..)?.split_once(close)?.0.to_owned())
    })
    .collect()
}

/// The file that `dir/name` names when case does not count.
pub fn find_ignoring_case(dir: &Path, name: &str) -> Option<PathBuf> {
    let mut at = dir.to_owned();
    for part in name.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let exact = at.join(part);
        at = if part == ".." || exact.exists() {
            exact
        } else {
            let entries = std::fs::read_dir(&at).ok()?.flatten();
            let found = entries.filter(|entry| entry.file_name().eq_ignore_ascii_case(part)).map(|entry| entry.path());
            found.min()?
        };
    }
    at.is_file().then_some(at)
}

/// A file system of clang (-ivfsoverlay) in which these directories ignore case.
pub fn overlay<'a>(dirs: impl Iterator<Item = &'a PathBuf>) -> Result<String, BuildError> {
    let mut out = String::from("{ \"version\": 0, \"case-sensitive\": \"false\", \"roots\": [\n");
    for dir in dirs {
        let Ok(dir) = dir.canonicalize() else { continue };
        for path in walk(&dir)? {
            let _ = writeln!(
                out,
                "{{ \"type\": \"file\", \"name\": {name:?}, \"external-contents\": {name:?} }},",
                name = path.to_string_lossy()
            );
        }
    }
    out.push_str("] }\n");
    Ok(out)
}

/// All files below a directory, sorted; hidden ones and those behind a second way to the same directory left out.
pub fn walk(root: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        let real = dir.canonicalize().map_err(|error| BuildError::Io(dir.clone(), error))?;
        if !seen.insert(real) {
            continue;
        }
        for entry in std::fs::read_dir(&dir).map_err(|error| BuildError::Io(dir.clone(), error))? {
            let entry = entry.map_err(|error| BuildError::Io(dir.clone(), error))?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
