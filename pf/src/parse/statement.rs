//! Statements: what a line may begin with.

use super::{Fail, Parser, Res};
use crate::ast::{Action, AnchorCall, AnchorKind, Antispoof, FilterOptions, Rule, Statement, TableDef, TablePart};
use crate::keyword;
use crate::lex::{Macro, Tok, Token};
use crate::source::{Span, Spanned};
use crate::suggest::did_you_mean;

/// Longest value of a macro, in bytes: values can double from line to line.
const LONGEST_VALUE: usize = 65_536;

impl Parser<'_> {
    /// Reads one statement, up to but without its line's end.
    pub(super) fn statement(&mut self, out: &mut Vec<Statement>) -> Res<()> {
        let start = self.tok.span;
        if self.tok.string().is_some() {
            out.push(self.named(start)?);
            return Ok(());
        }
        let word = match &self.tok.tok {
            Tok::Word(word) => word.clone(),
            Tok::Bad => return Err(Fail),
            _ => return Err(self.expected("a statement", keyword::STATEMENTS)),
        };
        let rule = match &*word {
            "pass" | "block" | "match" => self.filter_rule()?,
            "scrub" => self.scrub_rule(start, false)?,
            "nat" | "rdr" | "binat" => self.translation_rule(start, false)?,
            "dummynet" => self.dummynet_rule(start, false)?,
            "no" => {
                self.bump();
                match &self.tok.tok {
                    Tok::Word(word) if matches!(&**word, "nat" | "rdr" | "binat") => {
                        self.translation_rule(start, true)?
                    }
                    Tok::Word(word) if &**word == "scrub" => self.scrub_rule(start, true)?,
                    Tok::Word(word) if &**word == "dummynet" => self.dummynet_rule(start, true)?,
                    _ => {
                        let what = "`nat`, `rdr`, `binat`, `scrub` or `dummynet` after `no`";
                        return Err(self.expected(what, &["nat", "rdr", "binat", "scrub", "dummynet"]));
                    }
                }
            }
            "anchor" => self.anchor(start)?,
            "nat-anchor" => self.translation_anchor(AnchorKind::Nat)?,
            "rdr-anchor" => self.translation_anchor(AnchorKind::Rdr)?,
            "binat-anchor" => self.translation_anchor(AnchorKind::Binat)?,
            "scrub-anchor" => self.translation_anchor(AnchorKind::Scrub)?,
            "dummynet-anchor" => self.translation_anchor(AnchorKind::Dummynet)?,
            "set" => {
                self.bump();
                let option = self.set_option()?;
                out.push(Statement::Set(option, self.whole(start)));
                return Ok(());
            }
            "table" => {
                let table = self.table()?;
                out.push(Statement::Table(table));
                return Ok(());
            }
            "antispoof" => {
                let antispoof = self.antispoof()?;
                out.push(Statement::Antispoof(Box::new(antispoof)));
                return Ok(());
            }
            "include" => {
                self.bump();
                let name = self.string("the name of a file")?;
                return self.nested_file(&name, out);
            }
            "load" => {
                let load = self.load_anchor()?;
                out.push(load);
                return Ok(());
            }
            "ether" => {
                let rule = self.ether_rule()?;
                out.push(Statement::Ether(Box::new(rule)));
                return Ok(());
            }
            "altq" | "queue" => {
                let queue = self.queue_statement(&*word == "altq")?;
                out.push(queue);
                return Ok(());
            }
            "state" => {
                self.bump();
                let limiter = self.limiter(start, false)?;
                out.push(limiter);
                return Ok(());
            }
            other => {
                let token = self.tok.clone();
                self.bump();
                if self.tok.is_punct('=') {
                    self.at(&token, format!("`{other}` is a keyword and cannot name a macro"))
                        .hint("choose another name");
                    return Err(Fail);
                }
                let hint = did_you_mean(other, keyword::STATEMENTS.iter().copied());
                self.at(&token, format!("a statement cannot begin with `{other}`")).maybe_hint(hint);
                return Err(Fail);
            }
        };
        out.push(Statement::Rule(Box::new(rule)));
        Ok(())
    }

    /// What begins with a word that is no keyword: a macro, or a source limiter.
    fn named(&mut self, start: Span) -> Res<Statement> {
        let quoted = matches!(self.tok.tok, Tok::Quoted(_));
        let token = self.tok.clone();
        let name = self.string("a statement")?;
        if name.node == "source" && self.tok.is("limiter") {
            return self.limiter(start, true);
        }
        self.macro_definition(quoted, &token, name)
    }

    /// `name = value ...`; the name was read.
    fn macro_definition(&mut self, quoted: bool, token: &Token, name: Spanned<String>) -> Res<Statement> {
        if !self.tok.is_punct('=') {
            let other = match &*name.node {
                "allow" | "permit" | "accept" => Some("pass"),
                "deny" | "reject" | "drop" => Some("block"),
                _ => None,
            };
            let hint = other
                .map(|action| format!("pf's word for it is `{action}`"))
                .or_else(|| did_you_mean(&name.node, keyword::STATEMENTS.iter().copied()));
            let reason = format!("`{}` does not begin a statement", name.node);
            let problem = self.at(token, reason);
            problem.hint(hint.unwrap_or_else(|| "a macro is defined with name = \"value\"".to_owned()));
            return Err(Fail);
        }
        if quoted && name.node.contains(char::is_whitespace) {
            self.sink.error(name.span, "macro name cannot contain whitespace");
        }
        self.bump();
        let mut parts: Vec<String> = Vec::new();
        let value_start = self.tok.span;
        loop {
            match &self.tok.tok {
                Tok::Number(value) => parts.push(value.to_string()),
                _ => match self.tok.string() {
                    Some(text) => parts.push(text.to_string()),
                    None => break,
                },
            }
            self.bump();
        }
        let ends = matches!(self.tok.tok, Tok::Newline | Tok::End);
        let define = |p: &mut Self, value: Option<String>| {
            p.macros.define(Macro {
                name: name.node.clone(),
                value: value.map(Into::into),
                fixed: false,
                used: false,
                span: Some(name.span),
            });
        };
        if parts.is_empty() || !ends {
            define(self, None);
            if self.tok.tok == Tok::Bad {
                return Err(Fail);
            }
            let bare_keyword = matches!(&self.tok.tok, Tok::Word(_));
            let found = self.tok.describe();
            let problem = self.error_here(format!("expected the value of macro `{}`, found {found}", name.node));
            problem.hint(match bare_keyword {
                true => "keywords and lists stand in quotes: name = \"{ a, b }\"",
                false => "write the value in quotes: name = \"{ a, b }\"",
            });
            return Err(Fail);
        }
        let value = parts.join(" ");
        if value.len() > LONGEST_VALUE {
            define(self, None);
            let span = self.span_from(value_start);
            self.sink
                .error(span, format!("the value of macro `{}` is longer than {LONGEST_VALUE} bytes", name.node))
                .hint("put addresses into a table");
            return Err(Fail);
        }
        define(self, Some(value.clone()));
        let span = name.span.to(self.span_from(value_start));
        Ok(Statement::Macro { name: name.node, value, span })
    }

    fn scrub_rule(&mut self, start: Span, no: bool) -> Res<Rule> {
        self.bump();
        let mut rule = Rule::new(Spanned::new(Action::Scrub(no), self.span_from(start)));
        rule.direction = self.direction();
        let quick = self.tok.span;
        self.log_quick(&mut rule)?;
        if rule.quick {
            self.sink.error(quick, "scrub rules do not support 'quick'");
        }
        rule.interfaces = self.interfaces()?;
        rule.family = self.family();
        rule.protocols = self.protocols()?;
        self.source_and_destination(&mut rule)?;
        loop {
            self.take_punct(',');
            let tagging = self.tok.is("tagged") || self.tok.is_punct('!') || self.tok.is("rtable");
            if tagging {
                self.filter_option(&mut rule.options)?;
                continue;
            }
            if !self.scrub_option(&mut rule.options.scrub)? {
                break;
            }
        }
        rule.span = self.span_from(start);
        Ok(rule)
    }

    /// macOS: `[no] dummynet [in|out] [quick] [on if] [af] [proto] [hosts] options (pipe|queue) n`
    fn dummynet_rule(&mut self, start: Span, no: bool) -> Res<Rule> {
        self.bump();
        let mut rule = Rule::new(Spanned::new(Action::Dummynet(no), self.span_from(start)));
        rule.direction = self.direction();
        rule.quick = self.take("quick");
        rule.interfaces = self.interfaces()?;
        rule.family = self.family();
        rule.protocols = self.protocols()?;
        self.source_and_destination(&mut rule)?;
        loop {
            // Here `queue` is followed by a number, not by a name.
            let queue = self.tok.is("queue");
            if queue || self.tok.string().is_some_and(|t| &**t == "pipe") {
                let at = self.tok.span;
                self.bump();
                let number = self.number("the number of a pipe or queue", 1, 65535)?.node as u16;
                let pipe = crate::ast::Pipe { queue, number, reverse: 0 };
                rule.options.pipe = Some(Spanned::new(pipe, self.span_from(at)));
                continue;
            }
            if !self.filter_option(&mut rule.options)? {
                break;
            }
        }
        if rule.options.pipe.is_none() && !no {
            let span = self.span_from(start);
            self.sink
                .error(span, "a dummynet rule needs the pipe or queue to use")
                .hint("end it with `pipe N` or `queue N`");
        }
        rule.span = self.span_from(start);
        Ok(rule)
    }

    fn anchor_name(&mut self) -> Option<Spanned<String>> {
        let text = self.tok.string()?;
        let name = Spanned::new(text.to_string(), self.tok.span);
        self.bump();
        if name.node.starts_with('_') || name.node.contains("/_") {
            self.sink.error(name.span, "anchor names beginning with '_' are reserved for internal use");
        }
        Some(name)
    }

    fn anchor(&mut self, start: Span) -> Res<Rule> {
        self.bump();
        let name = self.anchor_name();
        let action = Action::Anchor(AnchorKind::Filter);
        let mut rule = Rule::new(Spanned::new(action, self.span_from(start)));
        rule.direction = self.direction();
        let quick = self.take("quick");
        rule.quick = quick;
        rule.interfaces = self.interfaces()?;
        // pfctl takes no route here; firewall builders write it all the same.
        rule.route = self.route()?;
        rule.family = self.family();
        rule.protocols = self.protocols()?;
        self.source_and_destination(&mut rule)?;
        while self.filter_option(&mut rule.options)? {}
        rule.span = self.span_from(start);
        let body = self.anchor_body(false)?;
        if body.is_none() && name.is_none() {
            self.sink.error(rule.span, "anchors without explicit rules must specify a name");
        }
        if let (Some(name), Some(_)) = (&name, &body)
            && name.node.contains('/')
        {
            self.sink.error(name.span, "anchor paths containing '/' cannot be used for inline anchors");
        } else if let (Some(name), Some(_)) = (&name, &body)
            && name.node == "*"
        {
            self.sink.error(name.span, "`*` calls other anchors: it cannot have rules of its own");
        }
        rule.anchor = AnchorCall { name, body };
        Ok(rule)
    }

    /// `{`, rules, `}`, if there is a `{`.
    pub(super) fn anchor_body(&mut self, ether: bool) -> Res<Option<Vec<Statement>>> {
        if !self.tok.is_punct('{') {
            return Ok(None);
        }
        let open = self.tok.span;
        if self.nesting >= super::DEEPEST_BRACE {
            self.error_here("anchors are nested too deeply");
            return Err(Fail);
        }
        self.bump();
        self.nesting += 1;
        let mut body = Vec::new();
        self.statements(&mut body, true);
        self.nesting -= 1;
        for statement in &body {
            let filter = |action: &Action| {
                matches!(action, Action::Pass | Action::Block(_) | Action::Match | Action::Anchor(AnchorKind::Filter))
            };
            let fits = match statement {
                Statement::Rule(rule) => filter(&rule.action.node) && !ether,
                Statement::Ether(_) => ether,
                _ => false,
            };
            if !fits {
                self.sink
                    .error(statement.span(), "only rules and anchors can stand in an anchor's braces")
                    .hint("define macros, tables and options before the anchor");
            }
        }
        if !self.take_punct('}') {
            self.sink
                .error(open, "the rules of this anchor never end")
                .hint("close them with `}` on a line of its own");
            return Err(Fail);
        }
        Ok(Some(body))
    }

    fn translation_anchor(&mut self, kind: AnchorKind) -> Res<Rule> {
        let start = self.tok.span;
        self.bump();
        let Some(name) = self.anchor_name() else {
            return Err(self.expected("the name of an anchor", &[]));
        };
        let mut rule = Rule::new(Spanned::new(Action::Anchor(kind), self.span_from(start)));
        rule.interfaces = self.interfaces()?;
        rule.family = self.family();
        rule.protocols = self.protocols()?;
        self.source_and_destination(&mut rule)?;
        if self.tok.is("rtable") {
            self.filter_option(&mut rule.options)?;
        }
        if kind == AnchorKind::Scrub {
            while self.scrub_option(&mut rule.options.scrub)? {}
        }
        rule.anchor.name = Some(name);
        rule.span = self.span_from(start);
        Ok(rule)
    }

    fn load_anchor(&mut self) -> Res<Statement> {
        self.bump();
        self.want("anchor", "after `load`")?;
        let anchor = self.strings("the name of an anchor")?;
        self.want("from", "after the name of the anchor")?;
        let file = self.strings("the name of a file")?;
        let mut body = Vec::new();
        self.nested_file(&file, &mut body)?;
        Ok(Statement::LoadAnchor { anchor, file, body })
    }

    fn table(&mut self) -> Res<TableDef> {
        let start = self.tok.span;
        self.bump();
        let name = self.table_name()?;
        let mut table =
            TableDef { name, constant: false, persist: false, counters: false, parts: Vec::new(), span: start };
        loop {
            if self.take("file") {
                let file = self.string("the name of a file")?;
                table.parts.push(TablePart::File(file));
            } else if self.tok.is_punct('{') {
                let hosts = self.list(super::TABLE_ADDRESS, Self::host_item)?;
                table.parts.push(TablePart::List(hosts));
            } else if let Some(word) = self.tok.string().cloned() {
                match &*word {
                    "const" => table.constant = true,
                    "persist" => table.persist = true,
                    "counters" => table.counters = true,
                    _ => {
                        let hint = did_you_mean(&word, ["const", "persist", "counters", "file"]);
                        self.error_here(format!("invalid table option `{word}`")).maybe_hint(
                            hint.or_else(|| Some("addresses stand in braces: { 10.0.0.1, ... }".to_owned())),
                        );
                        return Err(Fail);
                    }
                }
                self.bump();
            } else {
                break;
            }
        }
        table.span = self.span_from(start);
        Ok(table)
    }

    fn antispoof(&mut self) -> Res<Antispoof> {
        let start = self.tok.span;
        self.bump();
        let mut quick = self.take("quick");
        let log = self.log()?;
        quick = quick || self.take("quick");
        self.want("for", "and an interface in `antispoof`")?;
        let interfaces = self.list("interface", |p, out| {
            let dynamic = p.take_punct('(');
            let mut one = p.interface()?;
            one.dynamic = dynamic;
            if dynamic {
                p.want_punct(')', "after the interface")?;
            }
            out.push(one);
            Ok(())
        })?;
        let family = self.family();
        let mut options = FilterOptions::default();
        while self.tok.is("label") || self.tok.is("rtable") || self.tok.is("ridentifier") {
            self.filter_option(&mut options)?;
        }
        Ok(Antispoof { log, quick, interfaces, family, options, span: self.span_from(start) })
    }
}
