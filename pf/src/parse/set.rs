//! `set` lines.

use super::{Parser, Res};
use crate::ast::SetOption;
use crate::lex::Tok;
use crate::names::timeouts::{DEBUG_LEVELS, LIMITS, OPTIMIZATIONS, TIMEOUTS, TIMEOUTS_MORE};
use crate::source::Span;
use crate::suggest::did_you_mean;

#[rustfmt::skip]
const OPTIONS: &[&str] = &[
    "timeout", "ruleset-optimization", "optimization", "limit", "loginterface", "block-policy", "fail-policy",
    "state-policy", "require-order", "fingerprints", "skip", "debug", "hostid", "state-defaults", "reassemble",
    "keepcounters", "syncookies",
];

impl Parser<'_> {
    /// `set` was read.
    pub(super) fn set_option(&mut self) -> Res<SetOption> {
        let word = match &self.tok.tok {
            Tok::Word(word) => word.clone(),
            _ => return Err(self.expected("an option after `set`", OPTIONS)),
        };
        if !OPTIONS.contains(&&*word) {
            let hint = did_you_mean(&word, OPTIONS.iter().copied());
            self.error_here(format!("`{word}` is not an option that can be set")).maybe_hint(hint);
            return Err(super::Fail);
        }
        self.bump();
        Ok(match &*word {
            "timeout" => {
                let known: Vec<&str> = TIMEOUTS.iter().chain(TIMEOUTS_MORE).copied().collect();
                SetOption::Timeout(self.settings("timeout", &known)?)
            }
            "limit" => SetOption::Limit(self.settings("limit", LIMITS)?),
            "optimization" => SetOption::Optimization(self.one_of("optimization", OPTIMIZATIONS)?),
            "ruleset-optimization" => {
                SetOption::RulesetOptimization(self.one_of("ruleset-optimization", &["none", "basic", "profile"])?)
            }
            "debug" => SetOption::Debug(self.one_of("debug level", DEBUG_LEVELS)?),
            "loginterface" => SetOption::LogInterface(match self.take("all") {
                true => "all".to_owned(),
                false => self.string("the name of an interface, or `none`")?.node,
            }),
            "hostid" => SetOption::HostId(self.number("a host id", 1, i64::from(u32::MAX))?.node as u32),
            "block-policy" => SetOption::BlockPolicy(self.choice("return", "drop")?),
            "fail-policy" => SetOption::FailPolicy(self.choice("return", "drop")?),
            "state-policy" => SetOption::StatePolicy(self.choice("if-bound", "floating")?),
            "require-order" => SetOption::RequireOrder(self.choice("yes", "no")?),
            "fingerprints" => SetOption::Fingerprints(self.string("the name of a file")?.node),
            "skip" => SetOption::Skip(self.skip()?),
            "state-defaults" => SetOption::StateDefaults(self.state_options()?),
            "reassemble" => SetOption::Reassemble { on: self.choice("yes", "no")?, no_df: self.take("no-df") },
            "keepcounters" => SetOption::KeepCounters,
            _ => self.syncookies()?,
        })
    }

    fn skip(&mut self) -> Res<Vec<crate::ast::Interface>> {
        if let Some(name) = self.tok.string().cloned() {
            let fail = self.expected("`on` after `set skip`", &[]);
            if let Some(problem) = self.sink.last() {
                problem.hint(format!("write `set skip on {name}`"));
            }
            return Err(fail);
        }
        self.want("on", "after `set skip`")?;
        let interfaces = self.interface_list()?;
        for interface in &interfaces {
            if interface.negate {
                self.sink.error(interface.span, "skip on ! <interface> is not supported");
            }
        }
        Ok(interfaces)
    }

    fn choice(&mut self, yes: &str, no: &str) -> Res<bool> {
        if matches!(&self.tok.tok, Tok::Word(w) if &**w == yes) || self.tok.string().is_some_and(|t| &**t == yes) {
            self.bump();
            return Ok(true);
        }
        if self.take(no) {
            return Ok(false);
        }
        Err(self.expected(&format!("`{yes}` or `{no}`"), &[yes, no]))
    }

    fn one_of(&mut self, what: &str, known: &[&str]) -> Res<String> {
        let name = self.string(&format!("the name of an {what}"))?;
        self.known(&name.node, name.span, what, known);
        Ok(name.node)
    }

    fn known(&mut self, name: &str, span: Span, what: &str, known: &[&str]) {
        if !known.contains(&name) {
            let hint =
                did_you_mean(name, known.iter().copied()).unwrap_or_else(|| format!("one of {}", known.join(", ")));
            self.sink.error(span, format!("unknown {what} `{name}`")).hint(hint);
        }
    }

    /// One `name number`, or several in braces.
    fn settings(&mut self, what: &str, known: &[&str]) -> Res<Vec<(String, u32)>> {
        self.list(what, |p, out| {
            let span = p.tok.span;
            let name = match &p.tok.tok {
                Tok::Word(word) if known.contains(&&**word) => {
                    let name = word.to_string();
                    p.bump();
                    name
                }
                _ if p.tok.string().is_none() => return Err(p.expected(&format!("the name of a {what}"), known)),
                _ => p.string(&format!("the name of a {what}"))?.node,
            };
            p.known(&name, span, what, known);
            out.push((name, p.number_u32("a number")?));
            Ok(())
        })
    }

    fn syncookies(&mut self) -> Res<SetOption> {
        let mode = self.one_of("syncookies mode", &["never", "always", "adaptive"])?;
        let mut watermarks = None;
        if self.take_punct('(') {
            let (mut start, mut end) = (25, 0);
            loop {
                let name = self.string("`start` or `end`")?;
                let value = self.string("a percentage")?;
                let percent = value.node.strip_suffix('%').and_then(|p| p.parse::<u8>().ok());
                let Some(percent) = percent.filter(|p| (1..=100).contains(p)) else {
                    self.sink.error(value.span, "illegal percentage value");
                    continue;
                };
                match name.node.as_str() {
                    "start" => start = percent,
                    "end" => end = percent,
                    _ => {
                        self.sink.error(name.span, "illegal syncookie option").hint("`start` or `end`");
                    }
                }
                self.take_punct(',');
                if self.take_punct(')') {
                    break;
                }
            }
            if end == 0 {
                end = start / 2;
            }
            let span = self.last;
            if mode != "adaptive" {
                self.sink.error(span, "syncookies start/end only apply to adaptive");
            } else if end >= start {
                self.sink.error(span, "start must be higher than end");
            }
            watermarks = Some((start, end));
        }
        Ok(SetOption::SynCookies { mode, watermarks })
    }
}
