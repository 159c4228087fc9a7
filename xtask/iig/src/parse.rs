//! Reads interface definitions and what they include into a table of classes.

use crate::cond::{Conditions, Macros, split_directive};
use crate::diag::{Diagnostic, Diagnostics};
use crate::lex::{self, Kind, Source, Token};
use crate::member::{Body, after_group};
use crate::model::Class;
use crate::tree::find_ignoring_case;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Classes known while one file is generated.
#[derive(Debug)]
pub struct Table {
    pub classes: HashMap<String, Rc<Class>>,
    /// `class X;` seen anywhere: an object when used through a pointer.
    pub forward: HashSet<String>,
    /// Ordinary C++ classes.
    plain: HashSet<String>,
    pub macros: Macros,
    include_dirs: Vec<PathBuf>,
    visited: HashSet<PathBuf>,
    pub errors: Vec<Diagnostic>,
    /// A definition was not found, so classes are missing and errors about them would mislead.
    pub incomplete: bool,
}

/// One file, read.
#[derive(Debug)]
pub struct File {
    pub source: Rc<Source>,
    /// Classes to generate, in the order of the text.
    pub classes: Vec<Rc<Class>>,
    /// Byte ranges of the file names in `#include <X.iig>`, to become `.h`.
    pub renames: Vec<(usize, usize)>,
    /// Text between `@iig implementation` and `@iig end`.
    pub implementation: String,
}

impl Table {
    pub fn new(include_dirs: &[PathBuf], macros: Macros) -> Self {
        Self {
            classes: HashMap::new(),
            forward: HashSet::new(),
            plain: HashSet::new(),
            macros,
            include_dirs: include_dirs.to_vec(),
            visited: HashSet::new(),
            errors: Vec::new(),
            incomplete: false,
        }
    }

    /// The files that were read, in the order of their names.
    pub fn dependencies(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = self.visited.iter().cloned().collect();
        paths.sort();
        paths
    }

    /// Reads a file and everything it includes.
    ///
    /// # Errors
    /// The file cannot be opened, or is no C++ at the level of tokens and brackets.
    pub fn load(&mut self, path: &Path) -> Result<File, Diagnostics> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Diagnostics(vec![Diagnostic {
                file: path.to_owned(),
                line: 1,
                column: 1,
                token: String::new(),
                message: format!("cannot read the file: {error}"),
                hint: String::new(),
            }])
        })?;
        self.visited.insert(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
        let source = Rc::new(Source::new(path.to_owned(), text));
        let tokens = lex::tokens(&source)?;
        let definition = path.extension().is_some_and(|extension| extension == "iig");
        let mut file = File {
            source: Rc::clone(&source),
            classes: Vec::new(),
            renames: Vec::new(),
            implementation: String::new(),
        };
        let active = self.active_tokens(&source, &tokens, definition, &mut file);
        if definition {
            file.implementation = implementation_text(&source.text);
            check_brackets(&source, &active).map_err(|error| Diagnostics(vec![error]))?;
        }
        self.top_level(&source, &active, definition, &mut file);
        Ok(file)
    }

    /// Drops what `#if` excludes. Included files are read on the way, so that their macros count.
    fn active_tokens(&mut self, source: &Source, tokens: &[Token], definition: bool, file: &mut File) -> Vec<Token> {
        let mut conditions = Conditions::default();
        let mut active = Vec::new();
        let mut last_directive = 0;
        for token in tokens {
            if token.kind != Kind::Directive {
                if conditions.active() {
                    active.push(*token);
                }
                continue;
            }
            last_directive = token.start;
            let (name, rest) = split_directive(source.slice(token));
            if conditions.directive(&name, &rest, &mut self.macros) {
                continue;
            }
            if matches!(name.as_str(), "include" | "import") {
                let renamed = include_name_range(source, token).filter(|range| range.2.ends_with(".iig"));
                if let Some((start, end, _)) = renamed {
                    file.renames.push((start, end));
                }
                if conditions.active() {
                    self.include(source, token, definition);
                }
            }
        }
        if conditions.open() && definition {
            self.errors.push(source.error(last_directive, "#", "a conditional group does not end", "add #endif"));
        }
        active
    }

    fn include(&mut self, source: &Source, token: &Token, definition: bool) {
        let Some((start, _, name)) = include_name_range(source, token) else { return };
        let quoted = source.text.get(..start).is_some_and(|before| before.ends_with('"'));
        let Some(path) = self.find(&source.path, &name, quoted) else {
            if definition && name.ends_with(".iig") {
                self.incomplete = true;
                self.errors.push(source.error(
                    start,
                    &name,
                    "this interface definition is not in the include path",
                    "only DriverKit and NetworkingDriverKit are available, and files next to this one",
                ));
            }
            return;
        };
        if self.visited.contains(&path.canonicalize().unwrap_or_else(|_| path.clone())) {
            return;
        }
        if let Err(diagnostics) = self.load(&path)
            && path.extension().is_some_and(|extension| extension == "iig")
        {
            self.errors.extend(diagnostics.0);
        }
    }

    /// The included file; a header that would be generated stands for its definition.
    fn find(&self, from: &Path, name: &str, quoted: bool) -> Option<PathBuf> {
        let own = quoted.then(|| from.parent().map(Path::to_owned)).flatten();
        let dirs = own.iter().chain(&self.include_dirs);
        let definition = name.strip_suffix(".h").map(|stem| format!("{stem}.iig"));
        let candidates: Vec<_> =
            dirs.flat_map(|dir| [Some((dir, name)), definition.as_deref().map(|name| (dir, name))]).flatten().collect();
        let exact = candidates.iter().map(|(dir, name)| dir.join(name)).find(|path| path.is_file());
        exact.or_else(|| candidates.iter().find_map(|(dir, name)| find_ignoring_case(dir, name)))
    }

    fn top_level(&mut self, source: &Rc<Source>, tokens: &[Token], definition: bool, file: &mut File) {
        let text = |at: usize| tokens.get(at).map_or("", |token| source.slice(token));
        let mut at = 0;
        while at < tokens.len() {
            match text(at) {
                "extern" if tokens.get(at + 1).is_some_and(|t| t.kind == Kind::Literal) && text(at + 2) == "{" => {
                    at += 3
                }
                "template" | "typedef" | "enum" | "using" => at = after_declaration(source, tokens, at),
                "class" | "struct" => at = self.class(source, tokens, at, definition, file),
                "(" | "[" | "{" => at = after_group(source, tokens, at),
                _ => at += 1,
            }
        }
    }

    /// A class definition or declaration at `at`; returns the index after what was understood.
    fn class(&mut self, source: &Rc<Source>, tokens: &[Token], at: usize, definition: bool, file: &mut File) -> usize {
        let text = |at: usize| tokens.get(at).map_or("", |token| source.slice(token));
        let mut next = at + 1;
        let mut extends = false;
        let mut local_only = false;
        let mut name_at = None;
        loop {
            match text(next) {
                "__attribute__" | "alignas" => next = after_group(source, tokens, next + 1),
                "[" => next = after_group(source, tokens, next),
                "EXTENDS" | "IIG_EXTENDS" => {
                    extends = true;
                    next = after_group(source, tokens, next + 1);
                }
                ":" | "{" | ";" => break,
                word if tokens.get(next).is_some_and(|t| t.kind == Kind::Ident) => {
                    match word.strip_prefix("IIG_").unwrap_or(word) {
                        "LOCALONLY" => local_only = true,
                        "final" | "KERNEL" | "NATIVE" | "REMOTE" | "SERIALIZABLE" | "CONCRETE" => {}
                        _ => name_at = Some(next),
                    }
                    next += 1;
                }
                // A use of the class name in another declaration.
                _ => return next.max(at + 1),
            }
        }
        let Some(name) = name_at.map(|at| text(at).to_owned()) else { return next + 1 };
        if text(next) == ";" {
            if text(at) == "class" {
                self.forward.insert(name);
            }
            return next + 1;
        }
        let mut open = next;
        while open < tokens.len() && text(open) != "{" {
            open += 1;
        }
        let close = after_group(source, tokens, open).saturating_sub(1);
        let end = if text(close + 1) == ";" { close + 2 } else { close + 1 };
        let mut bases = split_bases(source, tokens.get(next + 1..open).unwrap_or(&[]));
        let body = tokens.get(open + 1..close).unwrap_or(&[]);
        let takes_part = definition && text(at) == "class" && self.takes_part(source, &name, &bases, body);
        if !takes_part {
            self.plain.insert(name);
            return end;
        }
        let base = if bases.is_empty() { None } else { Some(bases.remove(0).name) };
        let mut class = Class {
            source: Rc::clone(source),
            name: name.clone(),
            base,
            other_bases: bases.into_iter().map(|base| base.text).collect(),
            span: (
                tokens.get(at).map_or(0, |token| token.start),
                tokens.get(end - 1).map_or(source.text.len(), |token| token.end),
            ),
            extends,
            local_only,
            methods: Vec::new(),
            types: Vec::new(),
            type_names: Vec::new(),
            plain: Vec::new(),
        };
        let mut errors = Vec::new();
        Body { source, tokens: body, macros: &self.macros, errors: &mut errors }.read(&mut class);
        self.errors.append(&mut errors);
        let class = Rc::new(class);
        self.classes.insert(name, Rc::clone(&class));
        file.classes.push(class);
        end
    }

    /// Whether a class descends from OSMetaClassBase. An unknown base is an error if the body shows that it should.
    fn takes_part(&mut self, source: &Source, name: &str, bases: &[Base], body: &[Token]) -> bool {
        if name == "OSMetaClassBase" {
            return true;
        }
        let Some(base) = bases.first() else { return false };
        if self.classes.contains_key(&base.name) {
            return true;
        }
        let annotated = body.iter().any(|token| {
            matches!(source.slice(token), "LOCALONLY" | "LOCAL" | "TYPE" | "QUEUENAME" | "IIG_LOCALONLY" | "IIG_TYPE")
        });
        let framework = base.name.starts_with("IO") || base.name.starts_with("OS");
        if !self.incomplete && !self.plain.contains(&base.name) && (annotated || framework) {
            self.errors.push(source.error(
                base.at,
                &base.name,
                format!("base class of `{name}` is not declared in any included interface definition"),
                format!("include the .iig file that declares `{}`", base.name),
            ));
        }
        false
    }
}

struct Base {
    at: usize,
    name: String,
    text: String,
}

fn split_bases(source: &Source, tokens: &[Token]) -> Vec<Base> {
    let mut bases = Vec::new();
    let mut start = 0;
    let mut angles = 0_i32;
    for at in 0..=tokens.len() {
        let word = tokens.get(at).map_or(",", |token| source.slice(token));
        match word {
            "<" => angles += 1,
            ">" => angles -= 1,
            "," if angles == 0 => {
                let part = tokens.get(start..at).unwrap_or(&[]);
                let words: Vec<Token> = part
                    .iter()
                    .filter(|token| !matches!(source.slice(token), "public" | "private" | "protected" | "virtual"))
                    .copied()
                    .collect();
                if let Some(first) = words.first() {
                    let name = source.join(&words).trim().to_owned();
                    bases.push(Base { at: first.start, name, text: source.join(part).trim().to_owned() });
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    bases
}

fn after_declaration(source: &Source, tokens: &[Token], mut at: usize) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| source.slice(token));
    let statement = text(at) != "template";
    while at < tokens.len() {
        match text(at) {
            ";" => return at + 1,
            "{" => {
                at = after_group(source, tokens, at);
                if !statement && text(at) != ";" {
                    return at;
                }
            }
            "(" | "[" => at = after_group(source, tokens, at),
            _ => at += 1,
        }
    }
    at
}

fn check_brackets(source: &Source, tokens: &[Token]) -> Result<(), Diagnostic> {
    let mut open: Vec<&Token> = Vec::new();
    for token in tokens {
        let word = source.slice(token);
        let expected = match word {
            "(" | "[" | "{" => {
                open.push(token);
                continue;
            }
            ")" => "(",
            "]" => "[",
            "}" => "{",
            _ => continue,
        };
        match open.pop() {
            Some(opener) if source.slice(opener) == expected => {}
            Some(opener) => {
                let line = source.line(opener.start);
                let message = format!("`{word}` does not match the `{}` of line {line}", source.slice(opener));
                return Err(source.error(token.start, word, message, ""));
            }
            None => {
                return Err(source.error(
                    token.start,
                    word,
                    format!("`{word}` closes nothing"),
                    format!("a `{expected}` is missing"),
                ));
            }
        }
    }
    match open.last() {
        Some(opener) => {
            let word = source.slice(opener);
            Err(source.error(opener.start, word, format!("`{word}` is not closed"), ""))
        }
        None => Ok(()),
    }
}

/// Start, end and text of the file name of an `#include`.
fn include_name_range(source: &Source, token: &Token) -> Option<(usize, usize, String)> {
    let text = source.slice(token);
    let open = text.find(['<', '"'])?;
    let close_char = if text.get(open..=open)? == "<" { '>' } else { '"' };
    let length = text.get(open + 1..)?.find(close_char)?;
    let start = token.start + open + 1;
    let end = start + length;
    Some((start, end, source.text.get(start..end)?.to_owned()))
}

/// Text between `@iig implementation` and `@iig end` in comments.
fn implementation_text(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("@iig implementation") {
        let (block, next) = after.split_once("@iig end").unwrap_or((after, ""));
        out.push_str(block.trim_start_matches([' ', '\t', '\r', '\n']));
        rest = next;
    }
    out
}
