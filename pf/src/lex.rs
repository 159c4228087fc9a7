//! Text to tokens, by pfctl's lexical rules.
//!
//! Words, numbers, quoted strings, `\` at a line's end, `#` comments. Macros are replaced here, character by
//! character, as pfctl does: `$if:network` is one word if the macro's value is one. What stands inside a macro's
//! value is not searched for macros again.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::diag::Sink;
use crate::keyword;
use crate::source::Span;
use crate::suggest::did_you_mean;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tok {
    /// An unquoted word; may be a keyword.
    Word(Rc<str>),
    /// A quoted string; never a keyword.
    Quoted(Rc<str>),
    /// A whole number that stands alone.
    Number(i64),
    /// A single character that means something.
    Punct(char),
    /// `->`
    Arrow,
    /// `><`
    Inside,
    /// `<>`
    Outside,
    /// End of line.
    Newline,
    /// End of file.
    End,
    /// Something that was already reported; the rest of the line was skipped.
    Bad,
}

/// A macro's use.
#[derive(Debug, PartialEq, Eq)]
pub struct Expansion {
    /// The name, without `$`.
    pub name: String,
    /// The value at that place.
    pub value: Rc<str>,
}

/// A token and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub tok: Tok,
    /// Its place; for a token from a macro, the place of `$name`.
    pub span: Span,
    /// The macro it came from.
    pub expansion: Option<Rc<Expansion>>,
}

/// A macro's definition.
#[derive(Clone, Debug)]
pub struct Macro {
    /// The name, without `$`.
    pub name: String,
    /// The value; `None` if its definition was wrong, so that uses are not reported again.
    pub value: Option<Rc<str>>,
    /// Given on the command line: a definition in the file does not change it.
    pub fixed: bool,
    /// Some `$name` was seen.
    pub used: bool,
    /// Where it was defined; `None` for the command line.
    pub span: Option<Span>,
}

/// All macros that are defined so far.
#[derive(Debug, Default)]
pub struct Macros {
    all: Vec<Macro>,
    by_name: HashMap<String, usize>,
}

impl Macros {
    /// Defines a macro; a later definition in a file replaces an earlier one, but not one of the command line.
    pub fn define(&mut self, new: Macro) {
        match self.by_name.get(&new.name).and_then(|at| self.all.get_mut(*at)) {
            Some(old) if old.fixed && !new.fixed => {}
            Some(old) => *old = new,
            None => {
                self.by_name.insert(new.name.clone(), self.all.len());
                self.all.push(new);
            }
        }
    }

    /// The macro of a name, marked as used.
    pub fn get(&mut self, name: &str) -> Option<&Macro> {
        let found = self.all.get_mut(*self.by_name.get(name)?)?;
        found.used = true;
        Some(found)
    }

    /// Every macro in the order of its last definition.
    pub fn iter(&self) -> impl Iterator<Item = &Macro> {
        self.all.iter()
    }
}

struct Replacement {
    text: Rc<str>,
    at: usize,
    place: Span,
    expansion: Rc<Expansion>,
}

/// Reads tokens from one file.
pub struct Lexer {
    file: u32,
    text: Arc<str>,
    at: usize,
    replacement: Option<Replacement>,
}

/// Longest token; pfctl's buffer is 8096 bytes.
const LONGEST: usize = 8095;

fn ends_number(c: Option<char>) -> bool {
    c.is_none_or(|c| c.is_ascii_whitespace() || matches!(c, ')' | ',' | '/' | '}' | '='))
}

fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || (c.is_ascii_punctuation() && !matches!(c, '(' | ')' | '{' | '}' | '<' | '>' | '!' | '=' | '/' | '#' | ','))
}

impl Lexer {
    /// A lexer at the beginning of a file.
    #[must_use]
    pub fn new(file: u32, text: Arc<str>) -> Self {
        Self { file, text, at: 0, replacement: None }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { file: self.file, start: start as u32, end: end as u32 }
    }

    /// The next character; drops a used-up replacement and steps over continued lines.
    fn peek(&mut self) -> Option<char> {
        if let Some(replacement) = &self.replacement {
            if let Some(c) = replacement.text[replacement.at..].chars().next() {
                return Some(c);
            }
            self.replacement = None;
        }
        loop {
            let rest = &self.text[self.at..];
            if let Some(after) = rest.strip_prefix('\\') {
                let end = if after.starts_with('\n') {
                    2
                } else if after.starts_with("\r\n") {
                    3
                } else {
                    // Before anything else it means nothing, and what follows it means what it means (pfctl's `lgetc`).
                    self.at += 1;
                    return after.chars().next();
                };
                self.at += end;
                continue;
            }
            return rest.chars().next();
        }
    }

    fn bump(&mut self, c: char) {
        match &mut self.replacement {
            Some(replacement) => replacement.at += c.len_utf8(),
            None => self.at += c.len_utf8(),
        }
    }

    fn looking_at(&mut self, text: &str) -> bool {
        match &self.replacement {
            Some(replacement) => replacement.text[replacement.at..].starts_with(text),
            None => self.text[self.at..].starts_with(text),
        }
    }

    /// Throws away the rest of the line; the next token is its end.
    pub fn skip_line(&mut self) {
        self.replacement = None;
        while let Some(c) = self.peek() {
            if c == '\n' {
                break;
            }
            self.bump(c);
        }
    }

    /// The next token.
    pub fn next(&mut self, macros: &mut Macros, sink: &mut Sink) -> Token {
        loop {
            match self.peek() {
                Some(c @ (' ' | '\t' | '\r')) => self.bump(c),
                Some('#') => {
                    while let Some(c) = self.peek() {
                        if c == '\n' {
                            break;
                        }
                        self.bump(c);
                    }
                }
                Some('$') if self.replacement.is_none() => {
                    if let Some(bad) = self.start_macro(macros, sink) {
                        return bad;
                    }
                }
                _ => break,
            }
        }
        let from_file = self.replacement.is_none();
        let start = match &self.replacement {
            Some(replacement) => replacement.place.start as usize,
            None => self.at,
        };
        let expansion = self.replacement.as_ref().map(|r| r.expansion.clone());
        let mut tok = self.scan(start, sink);
        // A macro's value must not end lines: pfctl never sees one, as a quoted newline is dropped.
        if !from_file && tok == Tok::Newline {
            tok = Tok::Punct('\n');
        }
        let end = match &self.replacement {
            Some(replacement) => replacement.place.end as usize,
            None => match &expansion {
                Some(_) if self.at <= start => start,
                _ => self.at,
            },
        };
        Token { tok, span: self.span(start, end.max(start)), expansion }
    }

    fn start_macro(&mut self, macros: &mut Macros, sink: &mut Sink) -> Option<Token> {
        let start = self.at;
        self.at += 1;
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if !(c.is_ascii_alphanumeric() || c == '_') {
                break;
            }
            name.push(c);
            self.bump(c);
        }
        let place = self.span(start, self.at);
        let bad = |lexer: &mut Self| {
            lexer.skip_line();
            Some(Token { tok: Tok::Bad, span: place, expansion: None })
        };
        match macros.get(&name).map(|m| m.value.clone()) {
            Some(Some(text)) => {
                self.replacement = Some(Replacement {
                    expansion: Rc::new(Expansion { name, value: text.clone() }),
                    text,
                    at: 0,
                    place,
                });
                None
            }
            Some(None) => bad(self),
            None => {
                let names: Vec<&str> = macros.iter().map(|m| m.name.as_str()).collect();
                let hint = did_you_mean(&name, names).unwrap_or_else(|| {
                    format!("define it above this line: {name} = \"value\", or give -D {name}=value")
                });
                sink.error(place, format!("macro `{name}` is not defined")).hint(hint);
                bad(self)
            }
        }
    }

    fn scan(&mut self, start: usize, sink: &mut Sink) -> Tok {
        let Some(c) = self.peek() else {
            return Tok::End;
        };
        match c {
            '\n' => {
                self.bump(c);
                return Tok::Newline;
            }
            '"' | '\'' => return self.quoted(c, sink),
            _ => {}
        }
        for (text, tok) in [("->", Tok::Arrow), ("><", Tok::Inside), ("<>", Tok::Outside)] {
            if self.looking_at(text) {
                for c in text.chars() {
                    self.bump(c);
                }
                return tok;
            }
        }
        if let Some(number) = self.number(start, sink) {
            return number;
        }
        if c.is_ascii_alphanumeric() || c == ':' || c == '_' {
            let mut word = String::new();
            while let Some(c) = self.peek() {
                if !in_word(c) {
                    break;
                }
                word.push(c);
                self.bump(c);
            }
            return self.checked(word, start, sink, Tok::Word);
        }
        self.bump(c);
        Tok::Punct(c)
    }

    fn checked(&mut self, text: String, start: usize, sink: &mut Sink, make: fn(Rc<str>) -> Tok) -> Tok {
        if text.len() > LONGEST {
            let span = self.span(start, self.at.max(start));
            sink.error(span, format!("this is longer than {LONGEST} bytes"));
            self.skip_line();
            return Tok::Bad;
        }
        make(text.into())
    }

    /// A number, if all of it is digits up to something that may follow one; else nothing is read.
    fn number(&mut self, start: usize, sink: &mut Sink) -> Option<Tok> {
        let rest = match &self.replacement {
            Some(replacement) => &replacement.text[replacement.at..],
            None => &self.text[self.at..],
        };
        let digits = rest.strip_prefix('-').unwrap_or(rest);
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return None;
        }
        let length = count + (rest.len() - digits.len());
        let text = rest[..length].to_owned();
        let after = rest[length..].chars().next();
        // At a macro's end the number may go on in the file.
        let after = match (&self.replacement, after) {
            (Some(_), None) => self.text[self.at..].chars().next(),
            (_, after) => after,
        };
        let continued = after == Some('\\') && {
            let from = if self.replacement.is_some() { self.at } else { self.at + length };
            self.text[from..].starts_with("\\\n") || self.text[from..].starts_with("\\\r\n")
        };
        if !ends_number(after) && !continued {
            return None;
        }
        for c in text.chars() {
            self.bump(c);
        }
        match text.parse() {
            Ok(value) => Some(Tok::Number(value)),
            Err(_) => {
                let span = self.span(start, self.at.max(start));
                sink.error(span, format!("the number {text} is too large"));
                self.skip_line();
                Some(Tok::Bad)
            }
        }
    }

    /// A quoted string: it may go over several lines, whose ends are dropped.
    fn quoted(&mut self, quote: char, sink: &mut Sink) -> Tok {
        let opening = match &self.replacement {
            Some(replacement) => replacement.place.start as usize,
            None => self.at,
        };
        self.bump(quote);
        let after_opening = self.at;
        let mut text = String::new();
        loop {
            let next = match &self.replacement {
                Some(r) => r.text[r.at..].chars().next(),
                None => None,
            };
            let next = match next {
                Some(c) => Some(c),
                None => {
                    self.replacement = None;
                    self.text[self.at..].chars().next()
                }
            };
            let Some(c) = next else {
                let span = self.span(opening, after_opening.max(opening + 1));
                sink.error(span, "this quoted string never ends").hint(format!("close it with {quote}"));
                self.at = after_opening;
                self.skip_line();
                return Tok::Bad;
            };
            self.bump(c);
            if c == quote {
                break;
            }
            match c {
                '\n' => {}
                '\r' if self.looking_at("\n") => {}
                '\\' if self.looking_at("\n") => self.bump('\n'),
                '\\' if self.looking_at(quote.encode_utf8(&mut [0; 4])) => {
                    self.bump(quote);
                    text.push(quote);
                }
                _ => text.push(c),
            }
        }
        self.checked(text, opening, sink, Tok::Quoted)
    }
}

impl Token {
    /// The text of a word that is not a keyword, or of a quoted string: pfctl's STRING.
    #[must_use]
    pub fn string(&self) -> Option<&Rc<str>> {
        match &self.tok {
            Tok::Quoted(text) => Some(text),
            Tok::Word(text) if !keyword::is_keyword(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is this keyword.
    #[must_use]
    pub fn is(&self, keyword: &str) -> bool {
        matches!(&self.tok, Tok::Word(text) if &**text == keyword)
    }

    /// Whether it is this character.
    #[must_use]
    pub fn is_punct(&self, c: char) -> bool {
        self.tok == Tok::Punct(c)
    }

    /// How messages call it.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.tok {
            Tok::Word(text) => format!("`{text}`"),
            Tok::Quoted(text) => format!("the string \"{text}\""),
            Tok::Number(value) => format!("the number {value}"),
            Tok::Punct('\n') => "a line end inside a macro".to_owned(),
            Tok::Punct(c) => format!("`{}`", c.escape_default()),
            Tok::Arrow => "`->`".to_owned(),
            Tok::Inside => "`><`".to_owned(),
            Tok::Outside => "`<>`".to_owned(),
            Tok::Newline => "the end of the line".to_owned(),
            Tok::End => "the end of the file".to_owned(),
            Tok::Bad => "a bad token".to_owned(),
        }
    }
}
