//! The part of the preprocessor that decides which declarations of an interface definition exist.

use crate::lex::{self, Kind, Source, Token};
use std::collections::HashMap;
use std::path::PathBuf;

/// Object-like macros by name; `None` for a function-like one.
#[derive(Debug, Clone)]
pub struct Macros(HashMap<String, Option<String>>);

impl Macros {
    /// What holds while an .iig is read: we are the generator, in user space, building for DriverKit.
    pub fn predefined() -> Self {
        let one = ["__IIG", "__clang__", "__LP64__", "TARGET_OS_DRIVERKIT", "__BLOCKS__", "__STDC__"];
        let mut map: HashMap<_, _> = one.iter().map(|name| ((*name).to_owned(), Some("1".to_owned()))).collect();
        map.insert("__cplusplus".to_owned(), Some("202002".to_owned()));
        Self(map)
    }

    pub fn define(&mut self, name: &str, value: Option<&str>) {
        self.0.insert(name.to_owned(), value.map(str::to_owned));
    }

    pub fn is_defined(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// A directive's name and the rest of its line, comments removed.
pub fn split_directive(text: &str) -> (String, String) {
    let body = Source::new(PathBuf::new(), text.trim_start_matches('#').replace("\\\n", " "));
    let Ok(tokens) = lex::tokens(&body) else { return (String::new(), String::new()) };
    match tokens.split_first() {
        Some((name, rest)) => (body.slice(name).to_owned(), body.join(rest)),
        None => (String::new(), String::new()),
    }
}

/// The stack of `#if` groups.
#[derive(Debug, Default)]
pub struct Conditions(Vec<Group>);

#[derive(Debug)]
struct Group {
    active: bool,
    taken: bool,
}

impl Conditions {
    pub fn active(&self) -> bool {
        self.0.iter().all(|group| group.active)
    }

    pub fn open(&self) -> bool {
        !self.0.is_empty()
    }

    /// Takes one directive; returns false if it is none that concerns conditions or macros.
    pub fn directive(&mut self, name: &str, rest: &str, macros: &mut Macros) -> bool {
        let outer = self.active();
        match name {
            "if" => self.push(outer && evaluate(rest, macros)),
            "ifdef" => self.push(macros.is_defined(rest.trim())),
            "ifndef" => self.push(!macros.is_defined(rest.trim())),
            "elif" | "else" => {
                let Some(group) = self.0.last_mut() else { return true };
                group.active = !group.taken && (name == "else" || evaluate(rest, macros));
                group.taken |= group.active;
            }
            "endif" => {
                self.0.pop();
            }
            "define" if outer => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                let (word, value) = rest.split_at(end);
                macros.define(word, if value.starts_with('(') { None } else { Some(value.trim()) });
            }
            "undef" if outer => {
                macros.0.remove(rest.trim());
            }
            "define" | "undef" => {}
            _ => return false,
        }
        true
    }

    fn push(&mut self, active: bool) {
        self.0.push(Group { active, taken: active });
    }
}

/// Value of an `#if` expression; what cannot be evaluated is 0, as for an unknown name in C.
fn evaluate(text: &str, macros: &Macros) -> bool {
    let source = Source::new(PathBuf::new(), text.to_owned());
    let tokens = lex::tokens(&source).unwrap_or_default();
    let mut expr = Expr { source: &source, tokens: &tokens, at: 0, macros, depth: 0 };
    expr.ternary() != 0
}

struct Expr<'a> {
    source: &'a Source,
    tokens: &'a [Token],
    at: usize,
    macros: &'a Macros,
    depth: u32,
}

/// Binary operators by rising precedence.
const LEVELS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Expr<'_> {
    fn text(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| self.source.slice(token))
    }

    /// The operator here; shifts are two tokens.
    fn operator(&self) -> (String, usize) {
        let first = self.text(0);
        let joined = self.tokens.get(self.at + 1).is_some_and(|next| !next.spaced);
        if matches!(first, "<" | ">") && joined && self.text(1) == first {
            (first.repeat(2), 2)
        } else {
            (first.to_owned(), 1)
        }
    }

    fn ternary(&mut self) -> i64 {
        let condition = self.binary(0);
        if self.text(0) != "?" {
            return condition;
        }
        self.at += 1;
        let yes = self.ternary();
        if self.text(0) == ":" {
            self.at += 1;
        }
        let no = self.ternary();
        if condition != 0 { yes } else { no }
    }

    fn binary(&mut self, level: usize) -> i64 {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1);
        loop {
            let (operator, width) = self.operator();
            if !operators.contains(&operator.as_str()) {
                return left;
            }
            self.at += width;
            let right = self.binary(level + 1);
            left = apply(&operator, left, right);
        }
    }

    fn unary(&mut self) -> i64 {
        let word = self.text(0).to_owned();
        self.at += 1;
        match word.as_str() {
            "!" => i64::from(self.unary() == 0),
            "-" => self.unary().wrapping_neg(),
            "+" => self.unary(),
            "~" => !self.unary(),
            "(" => {
                let value = self.ternary();
                self.at += 1;
                value
            }
            "defined" => {
                let parens = self.text(0) == "(";
                let name = self.text(usize::from(parens)).to_owned();
                self.at += if parens { 3 } else { 1 };
                i64::from(self.macros.is_defined(&name))
            }
            "true" => 1,
            _ => self.primary(&word),
        }
    }

    fn primary(&mut self, word: &str) -> i64 {
        let Some(token) = self.tokens.get(self.at - 1) else { return 0 };
        match token.kind {
            Kind::Number => number(word),
            Kind::Ident if self.text(0) == "(" => {
                self.skip_parens();
                0
            }
            Kind::Ident => match self.macros.0.get(word) {
                Some(Some(body)) if self.depth < 32 => {
                    let source = Source::new(PathBuf::new(), body.clone());
                    let tokens = lex::tokens(&source).unwrap_or_default();
                    let mut inner =
                        Expr { source: &source, tokens: &tokens, at: 0, macros: self.macros, depth: self.depth + 1 };
                    inner.ternary()
                }
                _ => 0,
            },
            _ => 0,
        }
    }

    fn skip_parens(&mut self) {
        let mut depth = 0_u32;
        while self.at < self.tokens.len() {
            match self.text(0) {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }
}

fn apply(operator: &str, left: i64, right: i64) -> i64 {
    match operator {
        "||" => i64::from(left != 0 || right != 0),
        "&&" => i64::from(left != 0 && right != 0),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => i64::from(left == right),
        "!=" => i64::from(left != right),
        "<=" => i64::from(left <= right),
        ">=" => i64::from(left >= right),
        "<" => i64::from(left < right),
        ">" => i64::from(left > right),
        "<<" => u32::try_from(right).ok().and_then(|by| left.checked_shl(by)).unwrap_or(0),
        ">>" => u32::try_from(right).ok().and_then(|by| left.checked_shr(by)).unwrap_or(0),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" => left.checked_div(right).unwrap_or(0),
        _ => left.checked_rem(right).unwrap_or(0),
    }
}

fn number(text: &str) -> i64 {
    let digits = text.trim_end_matches(['u', 'U', 'l', 'L']).replace('\'', "");
    let value = match digits.get(..2) {
        Some("0x" | "0X") => u64::from_str_radix(digits.get(2..).unwrap_or(""), 16),
        Some("0b" | "0B") => u64::from_str_radix(digits.get(2..).unwrap_or(""), 2),
        _ if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(&digits, 8),
        _ => digits.parse(),
    };
    value.map_or(0, |value| value as i64)
}
