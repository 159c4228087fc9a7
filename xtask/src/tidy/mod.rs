//! The rules of the house as code.

mod edges;
mod files;
mod source;

use anyhow::{Result, bail};

/// One broken rule.
pub struct Finding {
    /// Path relative to the workspace and line, from 1; 0 = the file as a whole.
    pub place: (String, usize),
    /// What is wrong and what the rule is.
    pub text: String,
}

/// Checks every rule.
///
/// # Errors
/// The number of findings, after each was printed as `path:line: text`.
pub fn run() -> Result<()> {
    let sources = source::load()?;
    let mut findings = Vec::new();
    edges::check(&sources, &mut findings);
    files::check(&sources, &mut findings)?;
    for source in &sources {
        source::check(source, &mut findings);
    }
    findings.sort_by(|a, b| a.place.cmp(&b.place));
    for finding in &findings {
        println!("{}:{}: {}", finding.place.0, finding.place.1, finding.text);
    }
    if findings.is_empty() {
        println!("tidy: {} files, no findings", sources.len());
        Ok(())
    } else {
        bail!("tidy: {} findings", findings.len())
    }
}
