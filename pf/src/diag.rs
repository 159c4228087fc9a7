//! What is wrong with a file: every problem, each with its place, reason and hint.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use crate::source::{SourceFile, SourceMap, Span};

impl SourceCode for SourceFile {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text().as_ref().read_span(span, context_lines_before, context_lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name().to_owned(),
            inner.data(),
            *inner.span(),
            inner.line(),
            inner.column(),
            inner.line_count(),
        )))
    }
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be loaded.
    Error,
    /// The file can be loaded, but probably does not say what was meant.
    Warning,
}

/// What kind of refusal a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The text is not pf's language, or contradicts itself.
    Language,
    /// It is pf's language, but cannot mean anything in a NIC driver; lenient loading turns it into a warning.
    Meaningless,
    /// A statement stands where pf's order of statements does not have it; lenient loading takes it all the same.
    Order,
    /// It is pf's language, and this version cannot do it yet; lenient loading turns it into a warning too.
    Unsupported,
}

/// One problem at one place.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Whose fault it is.
    pub kind: Kind,
    /// What is wrong, in one sentence without a full stop.
    pub reason: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
    /// The macro the token came from, as `$name = "value"`.
    pub expansion: Option<String>,
    /// Where.
    pub span: Span,
    file: Arc<SourceFile>,
}

impl Problem {
    /// Line and column where the problem begins, from 1.
    #[must_use]
    pub fn line_column(&self) -> (u32, u32) {
        self.file.line_column(self.span.start)
    }

    /// Whether its source line is too long to be drawn.
    #[must_use]
    pub fn has_long_line(&self) -> bool {
        self.file.line(self.line_column().0).len() > LONGEST_LINE
    }

    /// The file's name.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.file.name()
    }

    /// Plain text: `FILE:LINE:COLUMN: error: REASON`, the source line with the token marked, and the hint.
    #[must_use]
    pub fn render(&self) -> String {
        let (line, column) = self.line_column();
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let (text, column_shown) = window(self.file.line(line), column as usize - 1);
        let marked = self.file.text().get(self.span.start as usize..self.span.end as usize).unwrap_or("");
        let room = text.chars().count().saturating_sub(column_shown);
        let marked = marked.lines().next().unwrap_or("").chars().take(LONGEST_LINE).count().min(room).max(1);
        let indent: String = text.chars().take(column_shown).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let mut out = format!(
            "{}:{line}:{column}: {word}: {}\n    {text}\n    {indent}{}\n",
            self.file.name(),
            self.reason,
            "^".repeat(marked),
        );
        if let Some(expansion) = &self.expansion {
            out.push_str(&format!("  in: {expansion}\n"));
        }
        if let Some(hint) = &self.hint {
            out.push_str(&format!("  hint: {hint}\n"));
        }
        out
    }
}

/// Longest source line that is shown whole, in characters.
const LONGEST_LINE: usize = 400;

/// The part of a source line around a column, and the column in it.
fn window(text: &str, column: usize) -> (std::borrow::Cow<'_, str>, usize) {
    if text.chars().take(LONGEST_LINE + 1).count() <= LONGEST_LINE {
        return (text.into(), column);
    }
    let skip = column.saturating_sub(LONGEST_LINE / 4);
    let mut rest = text.chars().skip(skip);
    let mut shown: String = rest.by_ref().take(LONGEST_LINE).collect();
    let before = if skip > 0 { "..." } else { "" };
    if rest.next().is_some() {
        shown.push_str("...");
    }
    (format!("{before}{shown}").into(), column - skip + before.len())
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|h| Box::new(h) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.file.as_ref())
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let length = (self.span.end - self.span.start) as usize;
        Some(Box::new(std::iter::once(LabeledSpan::new(
            self.expansion.as_ref().map(|expansion| format!("in {expansion}")),
            self.span.start as usize,
            length,
        ))))
    }
}

/// All errors of a load, in the order of their places.
#[derive(Clone, Debug)]
pub struct Errors {
    /// The errors, at least one.
    pub errors: Vec<Problem>,
    /// What was only noticed.
    pub warnings: Vec<Problem>,
}

impl Errors {
    /// Every error as plain text, one after the other (see [`Problem::render`]).
    #[must_use]
    pub fn render(&self) -> String {
        self.errors.iter().map(Problem::render).collect()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.errors.first().map_or("", Problem::file_name);
        match self.errors.len() {
            1 => write!(f, "1 error in {file}"),
            n => write!(f, "{n} errors in {file}"),
        }
    }
}

impl std::error::Error for Errors {}

impl Diagnostic for Errors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.errors.iter().map(|p| p as &dyn Diagnostic)))
    }
}

/// How far back a problem is looked for that was noted before: expansion finds the same one many times in a row.
const RECENT: usize = 256;
/// Most problems that are kept; a file with more is not a ruleset.
const MOST_PROBLEMS: usize = 10_000;

/// Collects problems while a file is worked on.
#[derive(Debug, Default)]
pub struct Sink {
    /// The files that spans refer to.
    pub sources: SourceMap,
    problems: Vec<Problem>,
    /// Errors noted, also those that there was no room to keep.
    errors: usize,
    /// Some of them are in the language.
    wrong: bool,
}

impl Sink {
    /// Notes an error in the language.
    pub fn error(&mut self, span: Span, reason: impl Into<String>) -> &mut Problem {
        self.push(Severity::Error, Kind::Language, span, reason.into())
    }

    /// Notes a statement that stands too late.
    pub fn disorder(&mut self, span: Span, reason: impl Into<String>) -> &mut Problem {
        self.push(Severity::Error, Kind::Order, span, reason.into())
    }

    /// Notes something that has no meaning in a NIC driver.
    pub fn meaningless(&mut self, span: Span, reason: impl Into<String>) -> &mut Problem {
        self.push(Severity::Error, Kind::Meaningless, span, reason.into())
    }

    /// Notes something that this version cannot do.
    pub fn unsupported(&mut self, span: Span, what: impl fmt::Display) -> &mut Problem {
        self.push(Severity::Error, Kind::Unsupported, span, format!("{what} is not supported by this version"))
    }

    /// Notes a warning.
    pub fn warn(&mut self, span: Span, reason: impl Into<String>) -> &mut Problem {
        self.push(Severity::Warning, Kind::Language, span, reason.into())
    }

    fn push(&mut self, severity: Severity, kind: Kind, span: Span, reason: String) -> &mut Problem {
        let file = self.sources.file(span.file).clone();
        let recent = self.problems.len().saturating_sub(RECENT);
        let seen = self.problems[recent..]
            .iter()
            .position(|p| p.span == span && p.severity == severity && p.reason == reason)
            .map(|at| recent + at);
        if seen.is_none() && severity == Severity::Error {
            self.errors += 1;
            self.wrong |= kind == Kind::Language;
        }
        let seen = seen.or_else(|| (self.problems.len() >= MOST_PROBLEMS).then(|| self.problems.len() - 1));
        let index = seen.unwrap_or_else(|| {
            self.problems.push(Problem { severity, kind, reason, hint: None, expansion: None, span, file });
            self.problems.len() - 1
        });
        &mut self.problems[index]
    }

    /// The problem noted last.
    pub fn last(&mut self) -> Option<&mut Problem> {
        self.problems.last_mut()
    }

    /// How many errors were noted.
    #[must_use]
    pub fn error_count(&self) -> usize {
        self.errors
    }

    /// Whether the files are correct pf.conf, apart from what the driver cannot do.
    #[must_use]
    pub fn language_ok(&self) -> bool {
        !self.wrong
    }

    /// Whether every statement stands where pf wants it.
    #[must_use]
    pub fn order_ok(&self) -> bool {
        !self.problems.iter().any(|p| p.kind == Kind::Order)
    }

    /// Errors and warnings, each in the order of their places; lenient: meaningless things become warnings.
    #[must_use]
    pub fn finish(self, lenient: bool) -> (Vec<Problem>, Vec<Problem>) {
        let mut problems = self.problems;
        if lenient {
            for problem in &mut problems {
                if problem.kind != Kind::Language {
                    problem.severity = Severity::Warning;
                }
            }
        }
        // Where the language is wrong, it does not help to hear that it could not be done either.
        let wrong: HashSet<(u32, u32)> = problems
            .iter()
            .filter(|p| p.severity == Severity::Error && p.kind == Kind::Language)
            .map(|p| (p.span.file, p.line_column().0))
            .collect();
        problems.retain(|p| {
            matches!(p.kind, Kind::Language | Kind::Order) || !wrong.contains(&(p.span.file, p.line_column().0))
        });
        problems.sort_by_key(|p| (p.span.file, p.span.start));
        problems.into_iter().partition(|p| p.severity == Severity::Error)
    }
}

impl Problem {
    /// Adds a hint.
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a hint if there is one.
    pub fn maybe_hint(&mut self, hint: Option<String>) -> &mut Self {
        if hint.is_some() {
            self.hint = hint;
        }
        self
    }
}
