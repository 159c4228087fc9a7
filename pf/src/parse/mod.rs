//! Tokens to statements: recursive descent along pfctl's grammar, statement by statement.
//!
//! A wrong statement is reported once, skipped to its end, and the next one is read as if nothing had happened.
//! What is understood but wrong in itself (an unknown service, a prefix that is too long) is reported, and the rest of
//! the statement is still read.

mod ether;
mod host;
mod option;
mod queue;
mod rule;
mod scrub;
mod set;
mod state;
mod statement;
mod translate;

pub use option::{LONGEST_LABEL, TCP_FLAGS};
pub use rule::{CARRIED_OVER, RETURN_ICMP};

use crate::ast::Statement;
use crate::diag::{Problem, Sink};
use crate::keyword;
use crate::lex::{Lexer, Macros, Tok, Token};
use crate::resolver::Resolver;
use crate::source::{SourceFile, Span, Spanned};
use crate::suggest::did_you_mean;

/// A statement cannot be read further; the reason was reported.
#[derive(Debug)]
pub struct Fail;

type Res<T> = Result<T, Fail>;

/// Deepest nesting of `include`.
const DEEPEST_INCLUDE: usize = 16;
/// Most files of a load.
const MOST_FILES: usize = 1000;
/// Deepest nesting of anchors and of lists in lists.
const DEEPEST_BRACE: usize = 32;
/// What the members of a table are called; theirs is the only list that may be empty.
const TABLE_ADDRESS: &str = "address of the table";

/// Reads one file and what it includes.
pub struct Parser<'a> {
    sink: &'a mut Sink,
    resolver: &'a dyn Resolver,
    macros: Macros,
    lexer: Lexer,
    tok: Token,
    /// End of the token before `tok`.
    last: Span,
    /// Braces open since the statement began.
    depth: usize,
    /// Anchors and lists around here.
    nesting: usize,
    /// Addresses were read in this statement: a port may follow.
    after_hosts: bool,
    /// Names of the files being read.
    files: Vec<String>,
}

impl<'a> Parser<'a> {
    /// Begins to read a file that is in the sink's source map.
    pub fn new(sink: &'a mut Sink, resolver: &'a dyn Resolver, file: u32, macros: Macros) -> Self {
        let source = sink.sources.file(file).clone();
        let mut parser = Self {
            sink,
            resolver,
            macros,
            lexer: Lexer::new(file, source.text().clone()),
            tok: Token { tok: Tok::Newline, span: Span { file, start: 0, end: 0 }, expansion: None },
            last: Span { file, start: 0, end: 0 },
            depth: 0,
            nesting: 0,
            after_hosts: false,
            files: vec![source.name().to_owned()],
        };
        parser.bump();
        parser
    }

    /// Reads everything; the macros are what the file left defined.
    pub fn file(mut self) -> (Vec<Statement>, Macros) {
        let mut statements = Vec::new();
        self.statements(&mut statements, false);
        (statements, self.macros)
    }

    /// Reads statements up to the end of the file, or up to the `}` of an anchor.
    fn statements(&mut self, out: &mut Vec<Statement>, in_anchor: bool) {
        loop {
            match &self.tok.tok {
                Tok::End => return,
                Tok::Newline => {
                    self.bump();
                    continue;
                }
                Tok::Punct('}') if in_anchor => return,
                _ => {}
            }
            self.depth = 0;
            self.after_hosts = false;
            let done = self.statement(out).and_then(|()| match &self.tok.tok {
                Tok::Newline | Tok::End => Ok(()),
                Tok::Punct('}') if in_anchor => Ok(()),
                _ => Err(self.leftover()),
            });
            if done.is_err() {
                self.recover(in_anchor);
            }
        }
    }

    /// Skips to the end of the statement: to the line's end, or, inside a list, to its `}` or to what looks like the
    /// next statement.
    fn recover(&mut self, in_anchor: bool) {
        loop {
            match &self.tok.tok {
                Tok::End => return,
                Tok::Newline if self.depth == 0 => return,
                Tok::Punct('}') if self.depth == 0 && in_anchor => return,
                Tok::Newline => {
                    self.bump();
                    let begins = matches!(&self.tok.tok, Tok::Word(w) if keyword::STATEMENTS.contains(&&**w));
                    if begins || self.tok.tok == Tok::End {
                        return;
                    }
                }
                _ => self.bump(),
            }
        }
    }

    fn bump(&mut self) {
        match self.tok.tok {
            Tok::Punct('{') => self.depth += 1,
            Tok::Punct('}') => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.last = self.tok.span;
        self.tok = self.lexer.next(&mut self.macros, self.sink);
    }

    fn span_from(&self, start: Span) -> Span {
        start.to(self.last)
    }

    /// Notes an error at the current token.
    fn error_here(&mut self, reason: impl Into<String>) -> &mut Problem {
        let (span, expansion) = (self.tok.span, describe_expansion(&self.tok));
        let problem = self.sink.error(span, reason);
        problem.expansion = expansion;
        problem
    }

    /// Notes that the current token is not what the grammar wants.
    fn expected(&mut self, what: &str, candidates: &[&str]) -> Fail {
        if self.tok.tok == Tok::Bad {
            return Fail;
        }
        let hint = match &self.tok.tok {
            Tok::Word(word) => did_you_mean(word, candidates.iter().copied()).or_else(|| {
                (keyword::is_keyword(word) && !candidates.contains(&&**word))
                    .then(|| format!("`{word}` is a keyword of pf; write \"{word}\" in quotes if it is a name"))
            }),
            Tok::End | Tok::Newline => None,
            _ => None,
        };
        let found = self.tok.describe();
        self.error_here(format!("expected {what}, found {found}")).maybe_hint(hint);
        Fail
    }

    fn take(&mut self, keyword: &str) -> bool {
        let found = self.tok.is(keyword);
        if found {
            self.bump();
        }
        found
    }

    fn take_punct(&mut self, c: char) -> bool {
        let found = self.tok.is_punct(c);
        if found {
            self.bump();
        }
        found
    }

    fn want_punct(&mut self, c: char, after: &str) -> Res<()> {
        if self.take_punct(c) {
            return Ok(());
        }
        Err(self.expected(&format!("`{c}` {after}"), &[]))
    }

    fn want(&mut self, keyword: &str, after: &str) -> Res<()> {
        if self.take(keyword) {
            return Ok(());
        }
        Err(self.expected(&format!("`{keyword}` {after}"), &[keyword]))
    }

    fn skip_newlines(&mut self) {
        while self.tok.tok == Tok::Newline {
            self.bump();
        }
    }

    /// pfctl's STRING.
    fn string(&mut self, what: &str) -> Res<Spanned<String>> {
        match self.tok.string() {
            Some(text) => {
                let found = Spanned::new(text.to_string(), self.tok.span);
                self.bump();
                Ok(found)
            }
            None => Err(self.expected(what, &[])),
        }
    }

    /// pfctl's `string`: several STRINGs, joined by a space.
    fn strings(&mut self, what: &str) -> Res<Spanned<String>> {
        let mut joined = self.string(what)?;
        while self.tok.string().is_some() {
            let next = self.string(what)?;
            joined.node.push(' ');
            joined.node.push_str(&next.node);
            joined.span = joined.span.to(next.span);
        }
        Ok(joined)
    }

    /// A whole number within limits.
    fn number(&mut self, what: &str, least: i64, most: i64) -> Res<Spanned<i64>> {
        let value = match &self.tok.tok {
            Tok::Number(value) => *value,
            Tok::Word(text) | Tok::Quoted(text) => match parse_c_number(text) {
                Some(value) => value,
                None => return Err(self.expected(what, &[])),
            },
            _ => return Err(self.expected(what, &[])),
        };
        let span = self.tok.span;
        if value < least || value > most {
            self.error_here(format!("{value} is not {what}: it must be {least} to {most}"));
        }
        self.bump();
        Ok(Spanned::new(value.clamp(least, most), span))
    }

    fn number_u32(&mut self, what: &str) -> Res<u32> {
        Ok(self.number(what, 0, i64::from(u32::MAX))?.node as u32)
    }

    /// One item, or several in braces, with or without commas.
    fn list<T>(&mut self, what: &str, mut item: impl FnMut(&mut Self, &mut Vec<T>) -> Res<()>) -> Res<Vec<T>> {
        let mut items = Vec::new();
        if !self.tok.is_punct('{') {
            item(self, &mut items)?;
            return Ok(items);
        }
        self.nesting += 1;
        let result = self.braced(what, &mut items, &mut item);
        self.nesting -= 1;
        result.map(|()| items)
    }

    fn braced<T>(
        &mut self,
        what: &str,
        items: &mut Vec<T>,
        item: &mut impl FnMut(&mut Self, &mut Vec<T>) -> Res<()>,
    ) -> Res<()> {
        let open = self.tok.span;
        if self.nesting > DEEPEST_BRACE {
            self.error_here("braces are nested too deeply");
            return Err(Fail);
        }
        self.bump();
        self.skip_newlines();
        if self.tok.is_punct('}') && what == TABLE_ADDRESS {
            self.bump();
            return Ok(());
        }
        if self.tok.is_punct('}') {
            self.error_here(format!("this list has no {what}"))
                .hint("a list needs one member at least; leave the whole clause out if it should match everything");
            self.bump();
            return Err(Fail);
        }
        loop {
            if self.tok.is_punct('{') {
                // A macro that is a list, inside a list.
                self.nesting += 1;
                let inner = self.braced(what, items, item);
                self.nesting -= 1;
                inner?;
            } else {
                item(self, items)?;
            }
            self.skip_newlines();
            if self.take_punct('}') {
                return Ok(());
            }
            let comma = self.tok.span;
            if self.take_punct(',') {
                self.skip_newlines();
                if self.tok.is_punct('}') {
                    self.sink
                        .error(comma, format!("expected {what} after `,`"))
                        .hint("remove the last `,` of the list");
                    self.bump();
                    return Err(Fail);
                }
            }
            let begins = matches!(&self.tok.tok, Tok::Word(w) if keyword::STATEMENTS.contains(&&**w));
            if self.tok.tok == Tok::End || begins {
                self.sink.error(open, "this `{` is never closed").hint("close the list with `}`");
                return Err(Fail);
            }
        }
    }

    /// Adds a file to the source map and reads it as if it stood here.
    fn nested_file(&mut self, name: &Spanned<String>, out: &mut Vec<Statement>) -> Res<()> {
        if self.files.contains(&name.node) {
            self.sink.error(name.span, format!("{} includes itself", name.node));
            return Err(Fail);
        }
        if self.files.len() > DEEPEST_INCLUDE {
            self.sink.error(name.span, format!("more than {DEEPEST_INCLUDE} files include one another"));
            return Err(Fail);
        }
        if self.sink.sources.files().len() >= MOST_FILES {
            self.sink.error(name.span, format!("more than {MOST_FILES} files are included"));
            return Err(Fail);
        }
        let text = match self.resolver.read(&name.node) {
            Ok(text) => text,
            Err(reason) => {
                self.sink.error(name.span, format!("cannot read {}: {reason}", name.node));
                return Err(Fail);
            }
        };
        let file = self.sink.sources.add(SourceFile::new(name.node.clone(), text.clone()));
        self.files.push(name.node.clone());
        let lexer = std::mem::replace(&mut self.lexer, Lexer::new(file, text.into()));
        let tok = self.tok.clone();
        let (depth, last) = (self.depth, self.last);
        self.bump();
        self.statements(out, false);
        self.lexer = lexer;
        self.tok = tok;
        self.depth = depth;
        self.last = last;
        self.files.pop();
        Ok(())
    }
}

/// A number as C's `strtoul(..., 0)` reads it: decimal, `0x` or octal.
fn parse_c_number(text: &str) -> Option<i64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok().filter(|v| *v >= 0);
    }
    if text.len() > 1 && text.starts_with('0') {
        return i64::from_str_radix(text, 8).ok().filter(|v| *v >= 0);
    }
    text.parse().ok()
}

fn describe_expansion(token: &Token) -> Option<String> {
    token.expansion.as_ref().map(|e| format!("${} = \"{}\"", e.name, e.value))
}

impl Parser<'_> {
    /// Notes an error at a token that may have been read already.
    fn at(&mut self, token: &Token, reason: String) -> &mut Problem {
        let expansion = describe_expansion(token);
        let problem = self.sink.error(token.span, reason);
        problem.expansion = expansion;
        problem
    }

    /// Refuses what a name that goes into the driver cannot have: control characters, or, for a name that is compared,
    /// anything but visible ASCII.
    fn check_name(&mut self, text: &str, span: Span, compared: bool) {
        let wrong = |c: char| if compared { !c.is_ascii_graphic() } else { c.is_control() };
        if let Some(c) = text.chars().find(|c| wrong(*c)) {
            self.sink.error(span, format!("a name cannot have the character `{}`", c.escape_default()));
        }
    }

    /// Replaces the hint of the problem noted last.
    fn hint_last(&mut self, hint: &str) {
        if let Some(problem) = self.sink.last() {
            problem.hint(hint);
        }
    }
}
