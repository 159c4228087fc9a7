//! The body of a class: methods that concern the generator, everything else verbatim.

mod signature;

use crate::cond::Macros;
use crate::diag::Diagnostic;
use crate::lex::{Kind, Source, Token};
use crate::model::{Class, Method};
pub use signature::distance;

/// Tokens of a class body, read from left to right.
pub struct Body<'a> {
    pub source: &'a Source,
    pub tokens: &'a [Token],
    pub macros: &'a Macros,
    pub errors: &'a mut Vec<Diagnostic>,
}

const CLASS_KEYS: [&str; 5] = ["class", "struct", "union", "enum", "typename"];

impl Body<'_> {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| self.source.slice(token))
    }

    fn error(&mut self, at: usize, message: impl Into<String>, hint: impl Into<String>) {
        let token = self.tokens.get(at).or(self.tokens.last());
        let (offset, text) = token.map_or((0, String::new()), |t| (t.start, self.source.slice(t).to_owned()));
        self.errors.push(self.source.error(offset, &text, message, hint));
    }

    fn verbatim(&self, from: usize, to: usize) -> String {
        match (self.tokens.get(from), self.tokens.get(to.saturating_sub(1))) {
            (Some(first), Some(last)) => self.source.text.get(first.start..last.end).unwrap_or("").to_owned(),
            _ => String::new(),
        }
    }

    /// Index after the bracket that closes the one at `at`.
    fn after_group(&self, at: usize) -> usize {
        after_group(self.source, self.tokens, at)
    }

    /// Index of the `;` that ends the declaration at `at`, or of the `{` of its body.
    fn declaration_end(&self, mut at: usize) -> usize {
        while at < self.tokens.len() {
            match self.text(at) {
                ";" => return at,
                "(" | "[" => at = self.after_group(at),
                "{" => return at,
                _ => at += 1,
            }
        }
        at
    }

    /// Reads all members into `class`.
    pub fn read(&mut self, class: &mut Class) {
        let mut at = 0;
        while at < self.tokens.len() {
            at = self.member(class, at);
        }
    }

    fn member(&mut self, class: &mut Class, at: usize) -> usize {
        let word = self.text(at).to_owned();
        if word == ";" {
            return at + 1;
        }
        if matches!(word.as_str(), "public" | "private" | "protected") && self.text(at + 1) == ":" {
            return at + 2;
        }
        if self.tokens.get(at).is_some_and(|token| token.kind == Kind::Directive) {
            return at + 1;
        }
        if matches!(word.as_str(), "typedef" | "using" | "static_assert" | "_Static_assert" | "friend") {
            let end = self.skip_to_semicolon(at);
            if matches!(word.as_str(), "typedef" | "using") {
                class.type_names.extend(self.alias_name(at, end));
            }
            class.types.push(self.verbatim(at, end));
            return end;
        }
        if word == "template" {
            let end = self.after_declaration(at);
            class.plain.push(self.verbatim(at, end));
            return end;
        }
        if CLASS_KEYS.contains(&word.as_str())
            && let Some(end) = self.nested_type(at)
        {
            class.type_names.extend(self.nested_name(at));
            class.types.push(self.verbatim(at, end));
            return end;
        }
        self.declaration(class, at)
    }

    fn skip_to_semicolon(&self, mut at: usize) -> usize {
        while at < self.tokens.len() {
            match self.text(at) {
                ";" => return at + 1,
                "(" | "[" | "{" => at = self.after_group(at),
                _ => at += 1,
            }
        }
        at
    }

    /// After a declaration that ends with `;` or with a body.
    fn after_declaration(&self, at: usize) -> usize {
        let end = self.declaration_end(at);
        if self.text(end) != "{" {
            return (end + 1).min(self.tokens.len());
        }
        let after = self.after_group(end);
        if self.text(after) == ";" { after + 1 } else { after }
    }

    /// The end of `struct X {...} ...;` or `struct X;`; `None` if the words only name a member's type.
    fn nested_type(&self, at: usize) -> Option<usize> {
        let mut next = at + 1;
        loop {
            match self.text(next) {
                "{" => return Some(self.skip_to_semicolon(next)),
                ";" if next <= at + 3 => return Some(next + 1),
                "(" if !matches!(self.text(next - 1), "__attribute__" | "alignas") => return None,
                "=" | ";" | "" | "*" | "&" => return None,
                "(" | "[" => next = self.after_group(next),
                // `struct X member;`: two names in a row without a body
                _ => next += 1,
            }
            if next > at + 2 && self.text(next) == ";" && self.text(at) != "enum" {
                let names = self.tokens.get(at + 1..next).unwrap_or(&[]);
                if names.iter().filter(|t| t.kind == Kind::Ident).count() > 1 {
                    return None;
                }
            }
        }
    }

    fn nested_name(&self, at: usize) -> Option<String> {
        let mut next = at + 1;
        while matches!(self.text(next), "class" | "struct" | "__attribute__" | "alignas" | "[") {
            next += 1;
            if matches!(self.text(next), "(" | "[") {
                next = self.after_group(next);
            }
        }
        let token = self.tokens.get(next)?;
        (token.kind == Kind::Ident).then(|| self.source.slice(token).to_owned())
    }

    fn alias_name(&self, at: usize, end: usize) -> Option<String> {
        let mut names = self.tokens.get(at + 1..end)?.iter().filter(|token| token.kind == Kind::Ident);
        let token = if self.text(at) == "using" { names.next() } else { names.next_back() }?;
        Some(self.source.slice(token).to_owned())
    }

    fn declaration(&mut self, class: &mut Class, at: usize) -> usize {
        let end = self.declaration_end(at);
        let after = self.after_declaration(at);
        let Some(open) = self.parameter_list(at, end) else {
            let after = self.field_end(at, after);
            class.type_names.extend(self.field_name(at, after));
            class.types.push(self.verbatim(at, after));
            return after;
        };
        let name = self.text(open - 1).to_owned();
        let special = name == class.name || self.text(open.wrapping_sub(2)) == "~" || self.operator(at, open);
        if special || self.text(end) == "{" {
            self.inline_function(class, at, open, after);
            return after;
        }
        if end >= self.tokens.len() {
            self.error(open - 1, format!("declaration of `{name}` does not end"), "close it with `;`");
            return after;
        }
        if let Some(method) = self.method(at, open, end) {
            if method.qualifiers.contains("= default") || method.qualifiers.contains("= delete") {
                class.plain.push(self.verbatim(at, after));
            } else {
                let local_only = method.local_only || class.local_only;
                class.methods.push(Method { local_only, ..method });
            }
        }
        after
    }

    /// A field may have a braced initialiser: `int a{1}, b{2};`.
    fn field_end(&self, at: usize, after: usize) -> usize {
        if self.text(after.saturating_sub(1)) == ";" { after } else { self.skip_to_semicolon(at) }
    }

    fn field_name(&self, at: usize, after: usize) -> Option<String> {
        let end = (at..after).find(|index| matches!(self.text(*index), "=" | "{" | "[" | ";" | ":" | ","))?;
        let token = self.tokens.get(end.checked_sub(1)?)?;
        (token.kind == Kind::Ident).then(|| self.source.slice(token).to_owned())
    }

    fn operator(&self, at: usize, open: usize) -> bool {
        self.tokens.get(at..open).is_some_and(|head| head.iter().any(|t| self.source.slice(t) == "operator"))
    }

    /// A function with a body, a constructor, an operator: plain C++, copied.
    fn inline_function(&mut self, class: &mut Class, at: usize, open: usize, after: usize) {
        let annotated = (self.after_group(open)..after)
            .take_while(|index| !matches!(self.text(*index), "{" | ";" | ":"))
            .find(|index| self.annotation(*index));
        if let Some(index) = annotated {
            self.error(
                index,
                format!("`{}` has a body here, so it cannot carry this annotation", self.text(open - 1)),
                "declare the method in the class and define it in the .cpp file",
            );
            return;
        }
        class.plain.push(self.verbatim(at, after));
    }

    fn annotation(&self, at: usize) -> bool {
        let word = self.text(at);
        let word = word.strip_prefix("IIG_").unwrap_or(word);
        matches!(
            word,
            "KERNEL"
                | "NATIVE"
                | "LOCAL"
                | "LOCALONLY"
                | "REMOTE"
                | "LOCALHOST"
                | "INVOKEREPLY"
                | "REPLY"
                | "TYPE"
                | "QUEUENAME"
        )
    }

    /// The `(` of a function's parameters; `None` for a data member.
    fn parameter_list(&self, at: usize, end: usize) -> Option<usize> {
        let mut index = at;
        let mut angles = 0_i32;
        while index < end {
            match self.text(index) {
                "=" => return None,
                "<" => angles += 1,
                ">" => angles -= 1,
                "[" => {
                    index = self.after_group(index);
                    continue;
                }
                "(" if angles == 0 => {
                    let before = index.checked_sub(1).filter(|b| *b >= at)?;
                    if matches!(self.text(before), "__attribute__" | "alignas" | "decltype" | "__declspec") {
                        index = self.after_group(index);
                        continue;
                    }
                    if self.operator(at, index) {
                        return Some(index);
                    }
                    if matches!(self.text(index + 1), "*" | "^" | "&") || self.tokens.get(before)?.kind != Kind::Ident {
                        return None;
                    }
                    if self.known_attribute(before) && self.text(self.after_group(index)) != ";" {
                        index = self.after_group(index);
                        continue;
                    }
                    return Some(index);
                }
                _ => {}
            }
            index += 1;
        }
        None
    }
}

/// Index after the bracket that closes the one at `at`.
pub fn after_group(source: &Source, tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_u32;
    let mut index = at;
    while let Some(token) = tokens.get(index) {
        match source.slice(token) {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        index += 1;
        if depth == 0 {
            return index;
        }
    }
    index
}
