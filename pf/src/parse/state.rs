//! `no state`, `keep state (...)` and its kin.

use super::{Parser, Res};
use crate::ast::{FilterOptions, StateKind, StateOption};
use crate::lex::Tok;
use crate::names::timeouts;
use crate::source::Spanned;
use crate::suggest::did_you_mean;

/// Words that may begin a state option, for suggestions.
#[rustfmt::skip]
pub(super) const STATE_OPTIONS: &[&str] = &[
    "max", "no-sync", "source-track", "max-src-states", "max-src-conn", "max-src-conn-rate", "max-src-nodes",
    "overload", "if-bound", "floating", "sloppy", "pflow",
];

impl Parser<'_> {
    pub(super) fn state(&mut self, word: &str, o: &mut FilterOptions) -> Res<()> {
        let start = self.tok.span;
        self.bump();
        self.want("state", &format!("after `{word}`"))?;
        let kind = match word {
            "no" => StateKind::No,
            "keep" => StateKind::Keep,
            "modulate" => StateKind::Modulate,
            _ => StateKind::Synproxy,
        };
        if o.state.is_some() {
            self.sink.error(start, "modulate or keep cannot be redefined").hint("a rule has one `state` clause");
        }
        o.state = Some(Spanned::new(kind, self.span_from(start)));
        if kind != StateKind::No && self.take_punct('(') {
            o.state_options = self.state_options()?;
            self.want_punct(')', "after the state options")?;
        }
        Ok(())
    }

    /// Options with or without commas, up to what cannot be one.
    pub(super) fn state_options(&mut self) -> Res<Vec<Spanned<StateOption>>> {
        let mut options = Vec::new();
        loop {
            let start = self.tok.span;
            let option = self.state_option()?;
            options.push(Spanned::new(option, self.span_from(start)));
            let comma = self.take_punct(',');
            let ends = matches!(self.tok.tok, Tok::Newline | Tok::End | Tok::Punct(')'));
            if ends && !comma {
                return Ok(options);
            }
        }
    }

    fn state_option(&mut self) -> Res<StateOption> {
        let Tok::Word(word) = self.tok.tok.clone() else {
            return Err(self.expected("a state option", STATE_OPTIONS));
        };
        let positive = |value: u32, name: &str, p: &mut Self| {
            if value == 0 {
                let span = p.last;
                p.sink.error(span, format!("`{name}` must be greater than 0"));
            }
            value
        };
        let option = match &*word {
            "max" => {
                self.bump();
                StateOption::Max(self.number_u32("a number of states")?)
            }
            "no-sync" => {
                self.bump();
                StateOption::NoSync
            }
            "source-track" => {
                self.bump();
                if self.take("rule") {
                    StateOption::SourceTrack(Some(true))
                } else if self.take("global") {
                    StateOption::SourceTrack(Some(false))
                } else {
                    StateOption::SourceTrack(None)
                }
            }
            "max-src-states" | "max-src-conn" | "max-src-nodes" => {
                self.bump();
                let count = self.number_u32("a number")?;
                let count = positive(count, &word, self);
                match &*word {
                    "max-src-states" => StateOption::MaxSrcStates(count),
                    "max-src-conn" => StateOption::MaxSrcConn(count),
                    _ => StateOption::MaxSrcNodes(count),
                }
            }
            "max-src-conn-rate" => {
                self.bump();
                let count = self.number_u32("a number of connections")?;
                if !self.tok.is_punct('/') {
                    self.expected("`/` after the number of connections", &[]);
                    if let Some(problem) = self.sink.last() {
                        problem.hint("write connections/seconds, for instance 5/30");
                    }
                    return Err(super::Fail);
                }
                self.bump();
                let seconds = self.number_u32("a number of seconds")?;
                let count = positive(count, &word, self);
                StateOption::MaxSrcConnRate(count, positive(seconds, &word, self))
            }
            "overload" => {
                self.bump();
                let table = self.table_name()?.node;
                let flush = self.take("flush");
                let global = flush && self.take("global");
                StateOption::Overload { table, flush, global }
            }
            "if-bound" => {
                self.bump();
                StateOption::Bound(true)
            }
            "floating" => {
                self.bump();
                StateOption::Bound(false)
            }
            "sloppy" => {
                self.bump();
                StateOption::Sloppy
            }
            "pflow" => {
                self.bump();
                StateOption::Pflow
            }
            name => match timeouts::timeout(name).filter(|t| t.contains('.')) {
                Some(timeout) => {
                    self.bump();
                    StateOption::Timeout(timeout, self.number_u32("a number of seconds")?)
                }
                None => {
                    let candidates = STATE_OPTIONS.iter().chain(timeouts::TIMEOUTS).copied();
                    let hint = did_you_mean(name, candidates);
                    let reason = format!("`{name}` is not a state option or the name of a timeout");
                    self.error_here(reason).maybe_hint(hint);
                    return Err(super::Fail);
                }
            },
        };
        Ok(option)
    }
}
