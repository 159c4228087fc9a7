//! The body of a class: methods that concern the generator, everything else verbatim.

use crate::cond::Macros;
use crate::diag::Diagnostic;
use crate::lex::{Kind, Source, Token};
use crate::model::{CallbackType, Class, Method, Parameter, Placed};

/// Tokens of a class body, read from left to right.
pub struct Body<'a> {
    pub source: &'a Source,
    pub tokens: &'a [Token],
    pub macros: &'a Macros,
    pub errors: &'a mut Vec<Diagnostic>,
}

/// Words that are part of a type and never a parameter's name.
const TYPE_WORDS: [&str; 14] = [
    "void", "bool", "char", "short", "int", "long", "signed", "unsigned", "float", "double", "const", "volatile", "auto",
    "wchar_t",
];
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
            class.plain.push(self.verbatim(at, self.field_end(at, after)));
            return self.field_end(at, after);
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
            "KERNEL" | "NATIVE" | "LOCAL" | "LOCALONLY" | "REMOTE" | "LOCALHOST" | "INVOKEREPLY" | "REPLY" | "TYPE" | "QUEUENAME"
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

    fn method(&mut self, at: usize, open: usize, end: usize) -> Option<Method> {
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
            self.error(name, format!("`{}` has no result type", method.name), "write `kern_return_t` or `void` before it");
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
                if self.text(at + 1) == "(" { self.after_group(at + 1) } else { at + 1 }
            }
            _ => at,
        }
    }

    /// A macro that stands for an attribute: one of the system's families, or any that the file defines or sees.
    fn known_attribute(&self, at: usize) -> bool {
        let word = self.text(at);
        let families = ["DRIVERKIT_", "LIBKERN_", "API_", "__API_", "SPI_", "OS_", "NS_", "AVAILABLE_", "__OSX_", "_Null", "_Non"];
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

fn build_parameter(source: &Source, tokens: &[Token], number: usize, default: Option<String>, target: bool) -> Parameter {
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
    let has_type = (0..last).any(|at| !matches!(text(at), "const" | "volatile" | "class" | "struct" | "union" | "enum" | "typename"));
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
