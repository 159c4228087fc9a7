//! Tokens of a C++ source file, with their places. Comments and white space are not tokens; a preprocessor
//! directive is one token, however many lines it has.

use crate::diag::{Diagnostic, Diagnostics};
use std::path::PathBuf;

/// A source file and where its lines start.
#[derive(Debug)]
pub struct Source {
    pub path: PathBuf,
    pub text: String,
    line_starts: Vec<usize>,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Identifier or keyword.
    Ident,
    Number,
    /// String or character literal.
    Literal,
    Punct,
    /// `#` up to the end of the logical line.
    Directive,
}

/// A token: `start..end` are byte offsets into the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// White space or a comment stands before the token.
    pub spaced: bool,
}

impl Source {
    pub fn new(path: PathBuf, text: String) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path, text, line_starts }
    }

    /// Line from 1 of a byte offset.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Column from 1, in characters.
    pub fn column(&self, offset: usize) -> usize {
        let start = self.line_starts.get(self.line(offset).saturating_sub(1)).copied().unwrap_or(0);
        self.text.get(start..offset).map_or(1, |line| line.chars().count() + 1)
    }

    pub fn slice(&self, token: &Token) -> &str {
        self.text.get(token.start..token.end).unwrap_or("")
    }

    /// An error at `offset`, about `token`.
    pub fn error(&self, offset: usize, token: &str, message: impl Into<String>, hint: impl Into<String>) -> Diagnostic {
        Diagnostic {
            file: self.path.clone(),
            line: self.line(offset),
            column: self.column(offset),
            token: token.to_owned(),
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The tokens' text with each gap reduced to one blank and comments left out.
    pub fn join(&self, tokens: &[Token]) -> String {
        let mut out = String::new();
        for (index, token) in tokens.iter().enumerate() {
            if index > 0 && token.spaced {
                out.push(' ');
            }
            out.push_str(self.slice(token));
        }
        out
    }
}

/// Splits a file into tokens.
///
/// # Errors
/// A comment or literal that does not end.
pub fn tokens(source: &Source) -> Result<Vec<Token>, Diagnostics> {
    let mut lexer = Lexer { source, bytes: source.text.as_bytes(), at: 0, line_start: true, spaced: false };
    let mut out = Vec::new();
    while let Some(token) = lexer.next().map_err(|d| Diagnostics(vec![d]))? {
        out.push(token);
    }
    Ok(out)
}

struct Lexer<'a> {
    source: &'a Source,
    bytes: &'a [u8],
    at: usize,
    line_start: bool,
    spaced: bool,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts_with(&self, text: &str) -> bool {
        self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(text.as_bytes()))
    }

    fn next(&mut self) -> Result<Option<Token>, Diagnostic> {
        self.skip_blanks()?;
        let start = self.at;
        let Some(&first) = self.bytes.get(self.at) else { return Ok(None) };
        let spaced = std::mem::take(&mut self.spaced);
        let at_line_start = std::mem::take(&mut self.line_start);
        let kind = match first {
            b'#' if at_line_start => {
                self.directive()?;
                Kind::Directive
            }
            b'"' | b'\'' => {
                self.literal(first)?;
                Kind::Literal
            }
            b'0'..=b'9' => {
                self.number();
                Kind::Number
            }
            b'.' if self.peek(1).is_ascii_digit() => {
                self.number();
                Kind::Number
            }
            _ if is_ident(first) => {
                while is_ident(self.peek(0)) {
                    self.at += 1;
                }
                match (self.peek(0), self.bytes.get(start..self.at)) {
                    (b'"', Some(b"R" | b"LR" | b"uR" | b"UR" | b"u8R")) => {
                        self.raw_string()?;
                        Kind::Literal
                    }
                    (quote @ (b'"' | b'\''), Some(b"L" | b"u" | b"U" | b"u8")) => {
                        self.literal(quote)?;
                        Kind::Literal
                    }
                    _ => Kind::Ident,
                }
            }
            _ => {
                let long = ["...", "::", "->", "&&", "||", "==", "!=", "<=", ">="];
                let width = long
                    .iter()
                    .find(|text| self.starts_with(text))
                    .map_or_else(|| utf8_width(first), |text| text.len());
                self.at += width;
                Kind::Punct
            }
        };
        Ok(Some(Token { kind, start, end: self.at, spaced }))
    }

    fn skip_blanks(&mut self) -> Result<(), Diagnostic> {
        loop {
            match self.peek(0) {
                b'\n' => {
                    self.line_start = true;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'\\' if self.starts_with("\\\n") => self.at += 2,
                b'\\' if self.starts_with("\\\r\n") => self.at += 3,
                b'/' if self.peek(1) == b'/' => self.line_comment(),
                b'/' if self.peek(1) == b'*' => self.block_comment()?,
                0xef if self.at == 0 && self.starts_with("\u{feff}") => self.at += 3,
                _ => return Ok(()),
            }
            self.spaced = true;
        }
    }

    fn line_comment(&mut self) {
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'\n' => return,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at = self.bytes.len();
    }

    fn block_comment(&mut self) -> Result<(), Diagnostic> {
        let rest = self.source.text.get(self.at + 2..).unwrap_or("");
        match rest.find("*/") {
            Some(length) => {
                self.at += 2 + length + 2;
                Ok(())
            }
            None => Err(self.source.error(self.at, "/*", "comment does not end", "close it with */")),
        }
    }

    fn literal(&mut self, quote: u8) -> Result<(), Diagnostic> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                b'\\' => self.at += 2,
                c if c == quote => {
                    self.at += 1;
                    return Ok(());
                }
                b'\n' | 0 => {
                    let token = (quote as char).to_string();
                    return Err(self.source.error(
                        start,
                        &token,
                        "literal does not end on its line",
                        "close the quote",
                    ));
                }
                _ => self.at += 1,
            }
        }
    }

    fn raw_string(&mut self) -> Result<(), Diagnostic> {
        let start = self.at;
        let rest = self.source.text.get(self.at + 1..).unwrap_or("");
        let end = rest.find('(').and_then(|open| {
            let close = format!("){}\"", rest.get(..open)?);
            rest.find(&close).map(|at| at + close.len())
        });
        match end {
            Some(length) => {
                self.at += 1 + length;
                Ok(())
            }
            None => Err(self.source.error(start, "R\"", "raw string does not end", "")),
        }
    }

    fn number(&mut self) {
        while is_ident(self.peek(0)) || matches!(self.peek(0), b'.' | b'\'') || self.exponent_sign() {
            self.at += 1;
        }
    }

    fn exponent_sign(&self) -> bool {
        matches!(self.peek(0), b'+' | b'-')
            && matches!(self.bytes.get(self.at - 1), Some(b'e' | b'E' | b'p' | b'P'))
            && !self.source.text.get(..self.at).is_some_and(in_hex_integer)
    }

    /// Up to the end of the logical line; a comment that begins on it belongs to it.
    fn directive(&mut self) -> Result<(), Diagnostic> {
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'\n' => break,
                b'\\' if self.starts_with("\\\r\n") => self.at += 3,
                b'\\' => self.at += 2,
                b'/' if self.peek(1) == b'/' => self.line_comment(),
                b'/' if self.peek(1) == b'*' => self.block_comment()?,
                b'"' => {
                    // Not a literal in `#error don't`, so an open quote is no error here.
                    let here = self.at;
                    if self.literal(b'"').is_err() {
                        self.at = here + 1;
                    }
                }
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.bytes.len());
        Ok(())
    }
}

fn is_ident(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

/// `0x1e+2` is a sum, `1e+2` a number.
fn in_hex_integer(before: &str) -> bool {
    let start = before.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
    before.get(start..).is_some_and(|number| number.starts_with("0x") && !number.contains(['p', 'P']))
}

fn utf8_width(first: u8) -> usize {
    match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
        _ => 1,
    }
}
