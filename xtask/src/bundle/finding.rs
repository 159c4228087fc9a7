//! What a check found wrong.

use std::fmt;

/// One defect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable name of the kind of defect.
    pub code: &'static str,
    /// File, slice or key.
    pub place: String,
    /// What is wrong and what would be right.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [{}] {}", self.place, self.code, self.text)
    }
}

/// Findings in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Adds one.
    pub fn add(&mut self, code: &'static str, place: impl Into<String>, text: impl Into<String>) {
        self.0.push(Finding { code, place: place.into(), text: text.into() });
    }

    /// Adds one unless `right`.
    pub fn expect(&mut self, right: bool, code: &'static str, place: &str, text: impl Into<String>) {
        if !right {
            self.add(code, place, text);
        }
    }
}
