//! The rule language of Weir: pf.conf(5), from text to the rules that the driver's core evaluates.
//!
//! | step | module | gives |
//! |---|---|---|
//! | words | [`lex`] | tokens, macros replaced |
//! | grammar | [`parse`] | statements ([`ast`]) |
//! | names | [`resolve`], [`resolver`] | addresses of hosts and interfaces |
//! | lists, defaults | [`expand`] | one rule each ([`flat`]) |
//! | fewer rules | [`optimise`] | the same in less |
//! | text | [`mod@print`] | the normal form of `pfctl -nv` |
//! | driver | [`refuse`], [`compile`], [`lint`] | [`weir_core::filter::Ruleset`] |
//!
//! [`check`] does all of it and reports every problem; [`load`] is for who only wants the ruleset.
#![forbid(unsafe_code)]

pub mod ast;
pub mod compile;
pub mod diag;
pub mod expand;
pub mod flat;
pub mod keyword;
pub mod lex;
pub mod lint;
mod md5;
pub mod names;
pub mod optimise;
pub mod parse;
pub mod print;
pub mod refuse;
pub mod resolve;
pub mod resolver;
pub mod source;
mod suggest;

use std::net::IpAddr;

pub use diag::{Errors, Problem, Severity};
pub use resolver::{Isolated, Resolver, System};
use weir_core::filter::Ruleset;

use crate::flat::Flat;
use crate::lex::{Macro, Macros};
use crate::source::SourceFile;

/// A file to load.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name that messages show.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// A file of bytes; what is not UTF-8 is replaced, and then reported where it stands.
    #[must_use]
    pub fn from_bytes(name: impl Into<String>, bytes: &[u8]) -> Self {
        Self { name: name.into(), text: String::from_utf8_lossy(bytes).into_owned() }
    }
}

/// How to load.
pub struct Options<'a> {
    /// `-D name=value`: macros that definitions in the file do not change.
    pub defines: Vec<(String, String)>,
    /// Who knows hosts, interfaces, files.
    pub resolver: &'a dyn Resolver,
    /// What has no meaning in a NIC driver is a warning, not an error: conditions take their rule with them, other
    /// parts are left out.
    pub lenient: bool,
    /// `-o`: overrules `set ruleset-optimization`.
    pub optimisation: Option<Optimisation>,
}

/// What is done to make a ruleset smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimisation {
    /// Nothing.
    None,
    /// [`optimise::basic`].
    Basic,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { defines: Vec::new(), resolver: &System, lenient: false, optimisation: None }
    }
}

/// A file that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the driver gets.
    pub ruleset: Ruleset,
    /// The normal form.
    pub text: String,
    /// What was noticed.
    pub warnings: Vec<Problem>,
    /// Host names that were looked up, and what they stand for until the next load.
    pub hosts: Vec<(String, Vec<IpAddr>)>,
}

/// All that can be said about a file.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The rules after expansion; what is wrong in the language is missing.
    pub flat: Flat,
    /// The normal form, if the file is correct pf.conf, whether or not the driver can do it.
    pub text: Option<String>,
    /// What the driver gets, if there is no error.
    pub ruleset: Option<Ruleset>,
    /// Every error, in the order of their places.
    pub errors: Vec<Problem>,
    /// Every warning.
    pub warnings: Vec<Problem>,
    /// Host names that were looked up.
    pub hosts: Vec<(String, Vec<IpAddr>)>,
}

/// Reads a file, and tells everything that is wrong with it.
#[must_use]
pub fn check(source: &Source, options: &Options<'_>) -> Checked {
    let mut sink = diag::Sink::default();
    let file = sink.sources.add(SourceFile::new(source.name.clone(), source.text.as_str()));
    let mut macros = Macros::default();
    for (name, value) in &options.defines {
        macros.define(Macro {
            name: name.clone(),
            value: Some(value.as_str().into()),
            fixed: true,
            used: false,
            span: None,
        });
    }
    let (statements, _) = parse::Parser::new(&mut sink, options.resolver, file, macros).file();
    let lookup = resolve::Lookup::new(options.resolver);
    let (flat, hosts) = expand::Expander::new(&mut sink, lookup).file(&statements);
    let language_ok = sink.language_ok();
    let mut flat = flat;
    if language_ok && optimisation(options, &flat) == Optimisation::Basic {
        optimise::basic(&mut flat);
    }
    refuse::Refusal::new(&mut sink).statements(&statements);
    let ruleset = match language_ok {
        true => compile::Compiler::file(&mut sink, &flat),
        false => Ruleset::default(),
    };
    let printable = language_ok && (options.lenient || sink.order_ok());
    let text = printable.then(|| print::file(&flat));
    let (errors, warnings) = sink.finish(options.lenient);
    Checked { flat, text, ruleset: errors.is_empty().then_some(ruleset), errors, warnings, hosts }
}

/// What to optimise. Unlike pfctl, which takes `basic` if nobody says anything, the rules are left as they are: looking
/// a packet up takes no longer for more of them, and numbers and counters stay those of the file.
fn optimisation(options: &Options<'_>, flat: &Flat) -> Optimisation {
    let asked = flat.lines.iter().rev().find_map(|line| match line {
        flat::FlatLine::Set(ast::SetOption::RulesetOptimization(name)) => Some(name == "none"),
        _ => None,
    });
    match (options.optimisation, asked) {
        (Some(given), _) => given,
        (None, Some(false)) => Optimisation::Basic,
        (None, _) => Optimisation::None,
    }
}

/// Reads a file for use.
///
/// # Errors
///
/// Every error of the file, each with its place, reason and, where one is known, a hint.
pub fn load(source: &Source, options: &Options<'_>) -> Result<Loaded, Errors> {
    let checked = check(source, options);
    match (checked.ruleset, checked.text) {
        (Some(ruleset), Some(text)) => Ok(Loaded { ruleset, text, warnings: checked.warnings, hosts: checked.hosts }),
        _ => Err(Errors { errors: checked.errors, warnings: checked.warnings }),
    }
}
