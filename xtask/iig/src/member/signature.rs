//! One method: result, parameters, annotations.

use super::Body;
use crate::lex::{Kind, Source, Token};
use crate::model::{CallbackType, Method, Parameter, Placed};

/// Words that are part of a type and never a parameter's name.
const TYPE_WORDS: [&str; 14] = [
    "void", "bool", "char", "short", "int", "long", "signed", "unsigned", "float", "double", "const", "volatile",
    "auto", "wchar_t",
];

impl Body<'_> {
    pub(super) fn method(&mut self, at: usize, open: usize, end: usize) -> Option<Method> {
        let errors = self.errors.len();
        let name_token = *self.tokens.get(open - 1)?;
        let mut method = Method {
            name: self.source.slice(&name_token).to_owned(),
            at: name_token.start,
            result: String::new(),
            parameters: Vec::new(),
            is_virtual: false,
            is_static: false,
            is_override: false,
            qualifiers: String::new(),
            pure: false,
            local_only: false,
            kernel: false,
            invoke_reply: false,
            marshalled: None,
            callback_type: None,
            queue: None,
            attributes: String::new(),
            leading: String::new(),
        };
        self.head(&mut method, at, open - 1);
        let close = self.after_group(open) - 1;
        self.parameters(&mut method, open + 1, close);
        self.tail(&mut method, close + 1, end);
        (self.errors.len() == errors).then_some(method)
    }

    fn head(&mut self, method: &mut Method, mut at: usize, name: usize) {
        let mut result = Vec::new();
        let mut leading = Vec::new();
        while at < name {
            let token = self.tokens.get(at).copied();
            match self.text(at) {
                "virtual" => method.is_virtual = true,
                "static" => method.is_static = true,
                "inline" | "explicit" => {}
                "constexpr" | "consteval" => leading.extend(token),
                _ if self.attribute_group(at) > at => {
                    let next = self.attribute_group(at);
                    leading.extend(self.tokens.get(at..next).unwrap_or(&[]));
                    at = next;
                    continue;
                }
                _ => result.extend(token),
            }
            at += 1;
        }
        if result.is_empty() {
            self.error(
                name,
                format!("`{}` has no result type", method.name),
                "write `kern_return_t` or `void` before it",
            );
        }
        method.result = self.source.join(&result);
        method.leading = self.source.join(&leading);
    }

    /// End of an attribute that begins at `at`, or `at`.
    fn attribute_group(&self, at: usize) -> usize {
        match self.text(at) {
            "__attribute__" | "alignas" | "__declspec" => self.after_group(at + 1),
            "[" if self.text(at + 1) == "[" => self.after_group(at),
            _ if self.known_attribute(at) => {
                if self.text(at + 1) == "(" {
                    self.after_group(at + 1)
                } else {
                    at + 1
                }
            }
            _ => at,
        }
    }

    /// A macro that stands for an attribute: one of the system's families, or any that the file defines or sees.
    pub(super) fn known_attribute(&self, at: usize) -> bool {
        let word = self.text(at);
        let families =
            ["DRIVERKIT_", "LIBKERN_", "API_", "__API_", "SPI_", "OS_", "NS_", "AVAILABLE_", "__OSX_", "_Null", "_Non"];
        families.iter().any(|family| word.starts_with(family))
            || matches!(word, "__unused" | "__printflike" | "__deprecated" | "__nonnull" | "__result_use_check")
            || (self.macros.is_defined(word) && !self.annotation(at))
    }

    fn tail(&mut self, method: &mut Method, mut at: usize, end: usize) {
        let mut qualifiers = Vec::new();
        let mut attributes = Vec::new();
        while at < end {
            let word = self.text(at).to_owned();
            let token = self.tokens.get(at).copied();
            let plain = word.strip_prefix("IIG_").unwrap_or(&word).to_owned();
            let group = self.attribute_group(at);
            match plain.as_str() {
                "override" => method.is_override = true,
                "final" => {}
                "const" | "volatile" | "&" | "&&" => qualifiers.extend(token),
                "noexcept" => {
                    let next = if self.text(at + 1) == "(" { self.after_group(at + 1) } else { at + 1 };
                    qualifiers.extend(self.tokens.get(at..next).unwrap_or(&[]));
                    at = next;
                    continue;
                }
                "=" if self.text(at + 1) == "0" => {
                    method.pure = true;
                    at += 1;
                }
                "=" => {
                    qualifiers.extend(self.tokens.get(at..at + 2).unwrap_or(&[]));
                    at += 1;
                }
                "KERNEL" => method.kernel = true,
                "LOCALONLY" => method.local_only = true,
                "NATIVE" | "LOCAL" | "REMOTE" | "LOCALHOST" | "REPLY" => {
                    method.marshalled.get_or_insert(plain);
                }
                "INVOKEREPLY" => method.invoke_reply = true,
                "TYPE" | "QUEUENAME" => {
                    at = self.annotation_argument(method, &plain, at);
                    continue;
                }
                "{" | "->" => {
                    self.error(at, "a trailing result type is not supported in an interface definition", "");
                    return;
                }
                _ if group > at => {
                    attributes.extend(self.tokens.get(at..group).unwrap_or(&[]));
                    at = group;
                    continue;
                }
                _ => {
                    let hint = nearest_annotation(&plain);
                    self.error(at, format!("unknown annotation on `{}`", method.name), hint);
                    return;
                }
            }
            at += 1;
        }
        method.qualifiers = self.source.join(&qualifiers).trim().to_owned();
        method.attributes = self.source.join(&attributes).trim().to_owned();
    }

    /// `TYPE(Class::Method)` or `QUEUENAME(name)` at `at`; returns the index after it.
    fn annotation_argument(&mut self, method: &mut Method, word: &str, at: usize) -> usize {
        if self.text(at + 1) != "(" {
            self.error(at, format!("{word} needs an argument"), format!("write {word}(...)"));
            return at + 1;
        }
        let after = self.after_group(at + 1);
        let inside: Vec<Token> = self.tokens.get(at + 2..after - 1).unwrap_or(&[]).to_vec();
        let offset = self.tokens.get(at).map_or(0, |token| token.start);
        if word == "QUEUENAME" {
            method.queue = Some(Placed { text: self.source.join(&inside), at: offset });
            return after;
        }
        let names: Vec<&str> = inside.iter().map(|token| self.source.slice(token)).collect();
        let (class, name) = match names.as_slice() {
            [class, "::", name] => (Some((*class).to_owned()), *name),
            [name] => (None, *name),
            _ => {
                self.error(at, "TYPE names no method", "write TYPE(Class::Method)");
                return after;
            }
        };
        method.callback_type = Some(CallbackType { class, method: name.to_owned(), at: offset });
        after
    }

    fn parameters(&mut self, method: &mut Method, from: usize, to: usize) {
        let mut start = from;
        let mut at = from;
        let mut angles = 0_i32;
        if to == from || (to == from + 1 && self.text(from) == "void") {
            return;
        }
        loop {
            match self.text(at) {
                "," if angles == 0 && at < to => {
                    self.parameter(method, start, at);
                    start = at + 1;
                }
                _ if at >= to => {
                    self.parameter(method, start, to);
                    return;
                }
                "(" | "[" | "{" => {
                    at = self.after_group(at);
                    continue;
                }
                "<" => angles += 1,
                ">" => angles -= 1,
                _ => {}
            }
            at += 1;
        }
    }

    fn parameter(&mut self, method: &mut Method, from: usize, to: usize) {
        let mut tokens = Vec::new();
        let mut default = None;
        let mut target = false;
        let mut at = from;
        while at < to {
            let word = self.text(at);
            match word.strip_prefix("IIG_").unwrap_or(word) {
                "TARGET" => target = true,
                "PORTMAKESEND" | "PORTCOPYSEND" => {}
                "TYPE" if self.text(at + 1) == "(" => {
                    at = self.after_group(at + 1);
                    continue;
                }
                "=" => {
                    default = Some(self.source.join(self.tokens.get(at + 1..to).unwrap_or(&[])));
                    break;
                }
                _ => tokens.extend(self.tokens.get(at)),
            }
            at += 1;
        }
        if tokens.is_empty() {
            self.error(from, "a parameter is missing here", "remove the comma or name a type");
            return;
        }
        let number = method.parameters.len();
        let parameter = build_parameter(self.source, &tokens, number, default, target);
        method.parameters.push(parameter);
    }
}

fn build_parameter(
    source: &Source,
    tokens: &[Token],
    number: usize,
    default: Option<String>,
    target: bool,
) -> Parameter {
    let position = name_position(source, tokens);
    let pointee = pointee(source, tokens, position);
    let (name, text, type_text) = match position {
        Some(at) => {
            let mut types = tokens.to_vec();
            let name = types.remove(at);
            (source.slice(&name).to_owned(), source.join(tokens), source.join(&types).trim().to_owned())
        }
        None => {
            let name = format!("arg{number}");
            let type_text = source.join(tokens);
            let variadic = type_text == "...";
            let text = if variadic { type_text.clone() } else { format!("{type_text} {name}") };
            (name, text, type_text)
        }
    };
    Parameter { name, text, type_text, default, pointee, target }
}

/// Which token of a parameter is its name.
fn name_position(source: &Source, tokens: &[Token]) -> Option<usize> {
    let text = |at: usize| tokens.get(at).map_or("", |token| source.slice(token));
    // Function and block pointers, references to arrays: `void (^handler)(void)`.
    for at in 0..tokens.len() {
        if text(at) == "(" && matches!(text(at + 1), "*" | "^" | "&") {
            let mut name = at + 2;
            while matches!(text(name), "const" | "_Nonnull" | "_Nullable") {
                name += 1;
            }
            return tokens.get(name).filter(|token| token.kind == Kind::Ident).map(|_| name);
        }
    }
    let end = (0..tokens.len()).find(|at| text(*at) == "[").unwrap_or(tokens.len());
    let last = end.checked_sub(1)?;
    let is_name = tokens.get(last)?.kind == Kind::Ident && !TYPE_WORDS.contains(&text(last));
    let has_type = (0..last)
        .any(|at| !matches!(text(at), "const" | "volatile" | "class" | "struct" | "union" | "enum" | "typename"));
    (is_name && has_type && text(last - 1) != "::").then_some(last)
}

/// `X` of `const X * name`: exactly one pointer to a plain name, no array.
fn pointee(source: &Source, tokens: &[Token], name: Option<usize>) -> Option<String> {
    let words: Vec<&str> = tokens
        .iter()
        .enumerate()
        .filter(|(at, _)| Some(*at) != name)
        .map(|(_, token)| source.slice(token))
        .filter(|word| !matches!(*word, "const" | "class" | "_Nonnull" | "_Nullable"))
        .collect();
    match words.as_slice() {
        [class, "*"] => Some((*class).to_owned()),
        _ => None,
    }
}

fn nearest_annotation(word: &str) -> String {
    let known = ["LOCALONLY", "LOCAL", "KERNEL", "override", "TYPE", "QUEUENAME", "NATIVE", "REMOTE", "INVOKEREPLY"];
    let near = known.iter().find(|name| distance(&word.to_lowercase(), &name.to_lowercase()) <= 2);
    match near {
        Some(name) => format!("did you mean `{name}`?"),
        None => "annotations are override, LOCALONLY, LOCAL, TYPE(Class::Method)".to_owned(),
    }
}

/// Edit distance.
pub fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, b) in right.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(0);
            let left_cell = row.get(j).copied().unwrap_or(0);
            let best = (diagonal + usize::from(a != *b)).min(above + 1).min(left_cell + 1);
            diagonal = above;
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = best;
            }
        }
    }
    row.last().copied().unwrap_or(0)
}
