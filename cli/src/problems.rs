//! Problems of a file of rules: drawn for people at a terminal, plain text for files and other programs.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use miette::{GraphicalReportHandler, GraphicalTheme};
use weir_pf::{Problem, Severity};

/// Columns of a terminal that does not tell.
const WIDTH: usize = 100;

/// `--color`
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// Drawn, if standard error is a terminal and `NO_COLOR` is not set.
    #[default]
    Auto,
    /// Drawn, with colours.
    Always,
    /// Plain text.
    Never,
}

/// How problems are shown.
pub struct Printer {
    drawn: Option<GraphicalReportHandler>,
}

impl Printer {
    /// Decides for standard error.
    pub fn new(colour: Colour) -> Self {
        let unset = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let drawn = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => unset && !dumb && std::io::stderr().is_terminal(),
        };
        let width = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()).unwrap_or(WIDTH);
        let handler =
            || GraphicalReportHandler::new_themed(GraphicalTheme::unicode()).with_context_lines(0).with_width(width);
        Self { drawn: drawn.then(handler) }
    }

    /// One problem, with its source line and the marked word.
    pub fn text(&self, problem: &Problem) -> String {
        let mut out = String::new();
        match &self.drawn {
            Some(handler) if !problem.has_long_line() && handler.render_report(&mut out, problem).is_ok() => out,
            _ => problem.render(),
        }
    }
}

/// `2 errors, 1 warning`
pub fn count(problems: &[Problem]) -> String {
    let of = |severity| problems.iter().filter(|p| p.severity == severity).count();
    let words = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (of(Severity::Error), of(Severity::Warning)) {
        (errors, 0) => words(errors, "error"),
        (0, warnings) => words(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", words(errors, "error"), words(warnings, "warning")),
    }
}
