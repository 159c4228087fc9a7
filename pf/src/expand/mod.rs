//! Statements to rules: order of statements, defaults, lists, address families, in pfctl's way.

mod antispoof;
mod check;
mod ether;
mod label;
mod pool;
mod queue;
mod rule;
mod state;
mod table;

use crate::ast::{Action, AnchorKind, Rule, SetOption, Statement, Translation};
use crate::diag::Sink;
use crate::flat::{Flat, FlatLine, FlatSet, StateDefaults};
use crate::resolve::Lookup;
use crate::source::Span;

/// The sections of a file, in the order pfctl wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Start,
    Options,
    Ethernet,
    Normalization,
    Queueing,
    Translation,
    Filter,
}

/// Expands a file's statements.
pub struct Expander<'a> {
    sink: &'a mut Sink,
    lookup: Lookup<'a>,
    section: Section,
    require_order: bool,
    block_return: bool,
    if_bound: bool,
    state_defaults: Option<StateDefaults>,
    /// Number of the next rule in this file or anchor.
    next_number: u32,
    /// Rules so far, of all anchors.
    total: usize,
    /// Queues and limiters so far.
    queues: queue::Queues,
}

impl<'a> Expander<'a> {
    /// Begins with pfctl's defaults.
    pub fn new(sink: &'a mut Sink, lookup: Lookup<'a>) -> Self {
        Self {
            sink,
            lookup,
            section: Section::Start,
            require_order: true,
            block_return: false,
            if_bound: false,
            state_defaults: None,
            next_number: 0,
            total: 0,
            queues: queue::Queues::default(),
        }
    }

    /// Expands a whole file, and reports the host names that were looked up.
    pub fn file(mut self, statements: &[Statement]) -> (Flat, Vec<(String, Vec<std::net::IpAddr>)>) {
        let flat = self.flat(statements);
        (flat, self.lookup.resolved)
    }

    fn flat(&mut self, statements: &[Statement]) -> Flat {
        let mut flat = Flat::default();
        for statement in statements {
            self.statement(statement, &mut flat.lines, &mut flat.set, Some(&mut flat.loaded));
        }
        flat
    }

    fn statement(
        &mut self,
        statement: &Statement,
        lines: &mut Vec<FlatLine>,
        set: &mut FlatSet,
        loaded: Option<&mut Vec<(String, Flat)>>,
    ) {
        match statement {
            Statement::Macro { name, value, .. } => lines.push(FlatLine::Macro(name.clone(), value.clone())),
            Statement::Set(option, span) => self.option(option, *span, lines),
            Statement::Table(table) => {
                if let Some(table) = self.table(table) {
                    lines.push(FlatLine::Table(table));
                }
            }
            Statement::Antispoof(antispoof) => {
                self.enter(Section::Filter, antispoof.span);
                self.antispoof(antispoof, &mut set.filter);
            }
            Statement::LoadAnchor { anchor, body, .. } => {
                let outer = (self.section, self.require_order, self.block_return, self.if_bound);
                let defaults = self.state_defaults.take();
                (self.section, self.require_order, self.block_return) = (Section::Start, true, false);
                let number = std::mem::take(&mut self.next_number);
                let inner = self.flat(body);
                self.next_number = number;
                (self.section, self.require_order, self.block_return, self.if_bound) = outer;
                self.state_defaults = defaults;
                match loaded {
                    Some(loaded) => {
                        let mut inner = inner;
                        let deeper = std::mem::take(&mut inner.loaded);
                        loaded.push((anchor.node.clone(), inner));
                        let below = |name: String| format!("{}/{name}", anchor.node);
                        loaded.extend(deeper.into_iter().map(|(name, flat)| (below(name), flat)));
                    }
                    None => {
                        self.sink.error(anchor.span, "an anchor cannot be loaded from inside another one's braces");
                    }
                }
            }
            Statement::Queue(queue) => self.queue(queue, lines),
            Statement::Limiter(limiter) => self.limiter(limiter, lines),
            Statement::Rule(rule) => self.rule_statement(rule, lines, set),
            Statement::Ether(rule) => {
                self.enter(Section::Ethernet, rule.span);
                self.ether(rule, set);
            }
        }
    }

    fn rule_statement(&mut self, rule: &Rule, lines: &mut Vec<FlatLine>, set: &mut FlatSet) {
        let section = match &rule.action.node {
            Action::Scrub(_) | Action::Anchor(AnchorKind::Scrub) => Section::Normalization,
            Action::Translate { .. } | Action::Anchor(AnchorKind::Nat | AnchorKind::Rdr | AnchorKind::Binat) => {
                Section::Translation
            }
            _ => Section::Filter,
        };
        // macOS' stock file has dummynet anchors before and after filter anchors: they are tied to no section.
        let anywhere = matches!(rule.action.node, Action::Dummynet(_) | Action::Anchor(AnchorKind::Dummynet));
        if !anywhere {
            self.enter(section, rule.span);
        }
        let body = rule.anchor.body.as_ref().map(|statements| {
            let mut inner = FlatSet::default();
            let outer = std::mem::take(&mut self.next_number);
            for statement in statements {
                self.statement(statement, lines, &mut inner, None);
            }
            self.next_number = outer;
            Box::new(inner)
        });
        let out = match &rule.action.node {
            Action::Scrub(_) | Action::Anchor(AnchorKind::Scrub) => &mut set.scrub,
            Action::Translate { kind: Translation::Nat, .. } | Action::Anchor(AnchorKind::Nat) => &mut set.nat,
            Action::Translate { kind: Translation::Rdr, .. } | Action::Anchor(AnchorKind::Rdr) => &mut set.rdr,
            Action::Translate { kind: Translation::Binat, .. } | Action::Anchor(AnchorKind::Binat) => &mut set.binat,
            Action::Dummynet(_) | Action::Anchor(AnchorKind::Dummynet) => &mut set.dummynet,
            _ => &mut set.filter,
        };
        self.rule(rule, body, out);
    }

    /// Enters the section that a statement belongs to, or notes that it stands too late.
    fn enter(&mut self, section: Section, span: Span) {
        // pfctl prints queues before scrub rules, and these before layer 2 rules, and does not read its own print; here
        // it can be read.
        let printed = matches!(
            (self.section, section),
            (Section::Normalization, Section::Ethernet)
                | (Section::Queueing, Section::Normalization | Section::Ethernet)
        );
        if printed {
            return;
        }
        if self.require_order && self.section > section {
            self.sink
                .disorder(
                    span,
                    "rules must be in order: options, ethernet, normalization, queueing, translation, filtering",
                )
                .hint("move it up, or write `set require-order no` above");
            return;
        }
        self.section = section;
    }

    fn option(&mut self, option: &SetOption, span: Span, lines: &mut Vec<FlatLine>) {
        let ordered = matches!(
            option,
            SetOption::Reassemble { .. }
                | SetOption::Optimization(_)
                | SetOption::Timeout(_)
                | SetOption::Limit(_)
                | SetOption::LogInterface(_)
                | SetOption::HostId(_)
                | SetOption::BlockPolicy(_)
                | SetOption::FailPolicy(_)
                | SetOption::Fingerprints(_)
                | SetOption::Debug(_)
        );
        if ordered {
            self.enter(Section::Options, span);
        }
        match option {
            SetOption::BlockPolicy(returns) => self.block_return = *returns,
            SetOption::RequireOrder(on) => self.require_order = *on,
            SetOption::StatePolicy(bound) => self.if_bound = *bound,
            SetOption::StateDefaults(defaults) => {
                if self.state_defaults.is_some() {
                    self.sink.error(span, "cannot redefine state-defaults");
                    return;
                }
                self.state_defaults = Some(defaults.clone());
            }
            _ => {}
        }
        lines.push(FlatLine::Set(option.clone()));
    }
}
