//! `altq`, `queue`, and limiters of states and sources.

use super::{Fail, Parser, Res};
use crate::ast::{Bandwidth, Curve, Limiter, LimiterName, LimiterUse, Queue, Scheduler, SchedulerKind, Statement};
use crate::lex::Tok;
use crate::source::{Span, Spanned};
use crate::suggest::did_you_mean;

#[rustfmt::skip]
const OPTIONS: &[&str] = &[
    "bandwidth", "priority", "qlimit", "tbrsize", "cbq", "priq", "hfsc", "fairq", "codel", "parent", "min", "max",
    "default", "flows", "quantum", "queue",
];
/// The longest name of a queue, in bytes (PF_QNAME_SIZE - 1).
const LONGEST_NAME: usize = 63;
/// Percentages that `bandwidth` takes.
const WHOLE: f64 = 100.0;

impl Parser<'_> {
    /// `altq on ...` or `queue name ...`
    pub(super) fn queue_statement(&mut self, altq: bool) -> Res<Statement> {
        let start = self.tok.span;
        self.bump();
        let name = match altq {
            true => None,
            false => Some(self.queue_name()?),
        };
        if let Some(name) = name.as_ref().filter(|name| name.node.len() > LONGEST_NAME) {
            self.sink.error(name.span, format!("queue name too long, at most {LONGEST_NAME} bytes"));
        }
        let mut queue = Queue {
            span: start,
            name,
            interfaces: self.interfaces()?,
            bandwidth: None,
            priority: None,
            qlimit: None,
            tbrsize: None,
            scheduler: None,
            children: Vec::new(),
            newer: None,
        };
        if altq && queue.interfaces.is_empty() {
            return Err(self.expected("`on` and an interface after `altq`", &["on"]));
        }
        while self.queue_option(&mut queue)? {}
        if altq && !self.take("queue") {
            let codel = queue.scheduler.as_ref().is_some_and(|s| s.node.kind == SchedulerKind::Codel);
            if !codel {
                return Err(self.expected("`queue` and the names of the queues", OPTIONS));
            }
        }
        if self.tok.is_punct('{') || self.tok.is("prio") || self.tok.string().is_some() {
            queue.children = self.list("queue", |p, out| {
                let name = p.queue_name()?;
                out.push(name);
                Ok(())
            })?;
        }
        queue.span = self.span_from(start);
        Ok(Statement::Queue(Box::new(queue)))
    }

    /// A queue's name; `prio` was no keyword when queues were ALTQ's.
    pub(super) fn queue_name(&mut self) -> Res<Spanned<String>> {
        if self.tok.is("prio") {
            self.bump();
            return Ok(Spanned::new("prio".to_owned(), self.last));
        }
        self.string("the name of a queue")
    }

    fn queue_option(&mut self, queue: &mut Queue) -> Res<bool> {
        let start = self.tok.span;
        let newer = queue.newer.is_some();
        if queue.name.is_some() && self.take_punct(',') {
            return Ok(true);
        }
        let Tok::Word(word) = self.tok.tok.clone() else {
            return Ok(false);
        };
        let twice = match &*word {
            "bandwidth" => queue.bandwidth.is_some(),
            "priority" => queue.priority.is_some(),
            "qlimit" => queue.qlimit.is_some(),
            "tbrsize" => queue.tbrsize.is_some(),
            "cbq" | "priq" | "hfsc" | "fairq" | "codel" | "codelq" => queue.scheduler.is_some(),
            _ => false,
        };
        if twice {
            self.sink.error(start, format!("`{word}` cannot be respecified")).hint("give it once");
        }
        match &*word {
            "bandwidth" => {
                self.bump();
                queue.bandwidth = Some(self.bandwidth()?);
                if self.tok.is("burst") {
                    queue.newer.get_or_insert_default().burst = Some(self.burst()?);
                }
            }
            "priority" => {
                self.bump();
                let priority = self.number("a priority", 0, 255)?;
                queue.priority = Some(Spanned::new(priority.node as u8, priority.span));
            }
            "qlimit" => {
                self.bump();
                queue.qlimit = Some(self.number("a number of packets", 0, 65535)?.node as u16);
            }
            "tbrsize" => {
                self.bump();
                let size = self.number("a number of bytes", 0, i64::from(u32::MAX))?;
                queue.tbrsize = Some(Spanned::new(size.node as u32, self.span_from(start)));
            }
            "cbq" | "priq" | "hfsc" | "fairq" | "codel" | "codelq" => {
                let scheduler = self.scheduler(&word)?;
                queue.scheduler = Some(Spanned::new(scheduler, self.span_from(start)));
            }
            "parent" if queue.name.is_some() => {
                self.bump();
                let parent = self.string("the name of a queue")?.node;
                queue.newer.get_or_insert_default().parent = Some(parent);
            }
            "min" | "max" if queue.name.is_some() => {
                self.bump();
                let m2 = self.bandwidth()?;
                let (m1, d) = match self.tok.is("burst") {
                    true => self.burst().map(|(m1, d)| (Some(m1), d))?,
                    false => (None, 0),
                };
                let newer = queue.newer.get_or_insert_default();
                let slot = if &*word == "min" { &mut newer.min } else { &mut newer.max };
                *slot = Some(Curve { m1, d, m2 });
            }
            "default" if queue.name.is_some() => {
                self.bump();
                queue.newer.get_or_insert_default().default = true;
            }
            "flows" | "quantum" if queue.name.is_some() => {
                self.bump();
                let number = self.number("a number", 1, 32767)?.node as u32;
                let newer = queue.newer.get_or_insert_default();
                *(if &*word == "flows" { &mut newer.flows } else { &mut newer.quantum }) = number;
            }
            "queue" => return Ok(false),
            // Child queues stand in braces, or one alone at the end.
            _ if queue.name.is_some() && !newer && queue.children.is_empty() && !OPTIONS.contains(&&*word) => {
                return Ok(false);
            }
            _ => return Err(self.expected("an option of a queue", OPTIONS)),
        }
        Ok(true)
    }

    /// `10Mb`, `20%`, `1000`
    fn bandwidth(&mut self) -> Res<Bandwidth> {
        let token = self.tok.clone();
        let text = match &self.tok.tok {
            Tok::Number(value) => value.to_string(),
            _ => self.tok.string().map(ToString::to_string).unwrap_or_default(),
        };
        if text.is_empty() {
            return Err(self.expected("a bandwidth", &[]));
        }
        self.bump();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let short = unit.get(1..).is_some_and(|rest| matches!(rest, "b" | "B" | "bit" | "Bit"));
        let unit = if short { &unit[..1] } else { unit };
        let scale = match unit {
            "" | "b" => 1.0,
            "K" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "%" => 0.0,
            _ => {
                self.at(&token, format!("unknown unit `{unit}` of a bandwidth")).hint("write b, Kb, Mb, Gb or %");
                return Err(Fail);
            }
        };
        let Ok(value) = number.parse::<f64>() else {
            self.at(&token, format!("`{text}` is not a bandwidth")).hint("for instance 10Mb or 20%");
            return Err(Fail);
        };
        if unit == "%" {
            if value > WHOLE {
                self.at(&token, "bandwidth out of range: at most 100%".to_owned());
            }
            return Ok(Bandwidth::Percent(value.min(WHOLE) as u8));
        }
        Ok(Bandwidth::Bits((value * scale) as u64))
    }

    /// `burst 10M for 100ms`
    fn burst(&mut self) -> Res<(Bandwidth, u32)> {
        self.bump();
        let burst = self.bandwidth()?;
        self.want("for", "after the burst's bandwidth")?;
        let time = self.string("milliseconds, as in 100ms")?;
        match time.node.strip_suffix("ms").and_then(|t| t.parse().ok()) {
            Some(ms) => Ok((burst, ms)),
            None => {
                self.sink.error(time.span, format!("`{}` is not a time", time.node)).hint("write 100ms");
                Err(Fail)
            }
        }
    }

    fn scheduler(&mut self, word: &str) -> Res<Scheduler> {
        self.bump();
        let kind = match word {
            "cbq" => SchedulerKind::Cbq,
            "priq" => SchedulerKind::Priq,
            "hfsc" => SchedulerKind::Hfsc,
            "fairq" => SchedulerKind::Fairq,
            _ => SchedulerKind::Codel,
        };
        let mut scheduler = Scheduler {
            kind,
            flags: Vec::new(),
            realtime: None,
            linkshare: None,
            upperlimit: None,
            target: 0,
            interval: 0,
        };
        if self.take_punct('(') {
            loop {
                self.scheduler_option(&mut scheduler)?;
                self.take_punct(',');
                if self.take_punct(')') {
                    break;
                }
            }
        }
        Ok(scheduler)
    }

    fn scheduler_option(&mut self, scheduler: &mut Scheduler) -> Res<()> {
        let start = self.tok.span;
        let kind = scheduler.kind;
        let Tok::Word(word) = self.tok.tok.clone() else {
            return Err(self.expected("an option of the scheduler", &[]));
        };
        let curves = match kind {
            SchedulerKind::Hfsc => &["linkshare", "realtime", "upperlimit"][..],
            SchedulerKind::Fairq => &["linkshare"],
            _ => &[],
        };
        if curves.contains(&&*word) {
            self.bump();
            let curve = self.curve()?;
            let slot = match &*word {
                "linkshare" => &mut scheduler.linkshare,
                "realtime" => &mut scheduler.realtime,
                _ => &mut scheduler.upperlimit,
            };
            if slot.replace(curve).is_some() {
                self.sink.error(start, format!("{word} already specified"));
            }
            return Ok(());
        }
        match (&*word, kind) {
            ("target" | "interval", SchedulerKind::Codel) => {
                self.bump();
                let number = self.number_u32("milliseconds")?;
                *(if &*word == "target" { &mut scheduler.target } else { &mut scheduler.interval }) = number;
                return Ok(());
            }
            ("hogs", SchedulerKind::Fairq) => {
                self.bump();
                self.bandwidth()?;
                return Ok(());
            }
            ("buckets", SchedulerKind::Fairq) => {
                self.bump();
                self.number_u32("a number of buckets")?;
                return Ok(());
            }
            _ => {}
        }
        let known = match kind {
            SchedulerKind::Cbq => &["default", "borrow", "red", "ecn", "rio", "codel"][..],
            SchedulerKind::Codel => &["ecn"],
            _ => &["default", "red", "ecn", "rio", "codel"],
        };
        if !known.contains(&&*word) {
            let hint = did_you_mean(&word, known.iter().copied());
            let hint = hint.unwrap_or_else(|| format!("one of {}", known.join(", ")));
            self.error_here(format!("unknown flag `{word}` of the scheduler")).hint(hint);
            return Err(Fail);
        }
        self.bump();
        scheduler.flags.push(word.to_string());
        Ok(())
    }

    /// `10Mb` or `(10Mb 100 5Mb)`
    fn curve(&mut self) -> Res<Curve> {
        if !self.take_punct('(') {
            return Ok(Curve { m1: None, d: 0, m2: self.bandwidth()? });
        }
        let m1 = self.bandwidth()?;
        self.take_punct(',');
        let d = self.number("milliseconds", 0, i64::from(i32::MAX))?.node as u32;
        self.take_punct(',');
        let m2 = self.bandwidth()?;
        self.want_punct(')', "after the service curve")?;
        Ok(Curve { m1: Some(m1), d, m2 })
    }

    /// `state limiter name ...` or `source limiter name ...`; the first word was read.
    pub(super) fn limiter(&mut self, start: Span, source: bool) -> Res<Statement> {
        self.want("limiter", "after `state` or `source`")?;
        let name = self.string("the name of the limiter")?;
        let mut limiter = Limiter {
            span: start,
            source,
            name,
            id: 0,
            limit: 0,
            entries: 0,
            rate: None,
            table: None,
            mask4: None,
            mask6: None,
        };
        // pfctl prints a source limiter's `entries` as `limit` and its `limit` as `states`.
        let mut states = None;
        while let Tok::Word(word) = self.tok.tok.clone() {
            self.bump();
            match &*word {
                "id" => limiter.id = self.number("the number of a limiter", 1, 255)?.node as u32,
                "limit" => limiter.limit = self.number_u32("a number of states")?,
                "entries" if source => limiter.entries = self.number_u32("a number of sources")?,
                "states" if source => states = Some(self.number_u32("a number of states")?),
                "rate" => {
                    let count = self.number_u32("a number")?;
                    self.want_punct('/', "after the number")?;
                    limiter.rate = Some((count, self.number_u32("a number of seconds")?));
                }
                "table" if source => {
                    let table = self.table_name()?.node;
                    self.want("above", "after the table")?;
                    let above = self.number_u32("a number of states")?;
                    let below = match self.take("below") {
                        true => self.number_u32("a number of states")?,
                        false => 0,
                    };
                    limiter.table = Some((table, above, below));
                }
                "inet" | "inet6" if source => {
                    self.want("mask", "after the address family")?;
                    let most = if &*word == "inet" { 32 } else { 128 };
                    let mask = Some(self.number("the length of a prefix", 1, most)?.node as u8);
                    *(if &*word == "inet" { &mut limiter.mask4 } else { &mut limiter.mask6 }) = mask;
                }
                other => {
                    let known = ["id", "limit", "rate", "entries", "table", "inet", "inet6"];
                    let hint = did_you_mean(other, known);
                    let span = self.last;
                    self.sink.error(span, format!("`{other}` is not an option of a limiter")).maybe_hint(hint);
                    return Err(Fail);
                }
            }
        }
        if let Some(states) = states {
            (limiter.entries, limiter.limit) = (limiter.limit, states);
        }
        limiter.span = self.span_from(start);
        for (value, what, wanted) in
            [(limiter.id, "id", true), (limiter.limit, "limit", true), (limiter.entries, "entries", source)]
        {
            if wanted && value == 0 {
                self.sink.error(limiter.span, format!("a limiter needs `{what}`"));
            }
        }
        Ok(Statement::Limiter(Box::new(limiter)))
    }

    /// `limiter name [(no-match|block)]` in a rule; `state` or `source` was read.
    pub(super) fn limiter_use(&mut self, source: bool) -> Res<LimiterUse> {
        self.want("limiter", "after `state` or `source`")?;
        let (name, printed) = match self.take("id") {
            true => (LimiterName::Id(self.number("the number of a limiter", 1, 255)?.node as u32), true),
            false => (LimiterName::Name(self.string("the name of a limiter")?.node), false),
        };
        let mut no_match = false;
        if self.take_punct('(') {
            no_match = self.take("no-match");
            if !no_match {
                self.want("block", "or `no-match`")?;
            }
            self.want_punct(')', "after what is done over the limit")?;
        }
        // Where pfctl prints a number, it prints `(no-match)` for what blocks and nothing for what does not match.
        Ok(LimiterUse { source, name, no_match: no_match != printed })
    }
}
