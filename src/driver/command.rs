//! Carrying out commands.
#![forbid(unsafe_code)]

use alloc::format;
use core::sync::atomic::Ordering;

use super::{Control, Driver, Error, LogLevel};
use crate::control::{Command, CommandError, EVENT_LEN, Info, LOAD_RESULT_LEN, LoadResult, RULE_COUNTERS_LEN, Reply};
use crate::filter::image::{self, ImageError, ImageErrorKind};
use crate::filter::{Compiled, Installed, Place, Ruleset};
use crate::pipeline::Mode;
use crate::telemetry::{Event, EventKind, HistogramKind};

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Length | CommandError::Argument => Self::Invalid,
            CommandError::Version => Self::Version,
            CommandError::Unknown => Self::Unsupported,
        }
    }
}

impl Driver {
    /// Runs one command (`weir_control`); `room` is how long a reply the caller can take. With an error the reply may
    /// still say something: why an image was refused, or how much room was missing.
    pub fn control(&self, request: &[u8], room: usize) -> (Result<(), Error>, Reply) {
        let mut reply = Reply::new(room);
        let result = self.run(request, &mut reply);
        let result = match result {
            Ok(()) if reply.is_short() => Err(Error::NoSpace),
            other => other,
        };
        (result, reply)
    }

    fn run(&self, request: &[u8], reply: &mut Reply) -> Result<(), Error> {
        let command = Command::parse(request)?;
        let mut control = self.claim()?;
        self.take_additions(&mut control);
        match command {
            Command::Info => self.info(&control, reply),
            Command::Counters { queue } => {
                let counters = match queue {
                    None => self.counters(),
                    Some(queue) => {
                        let queue = usize::try_from(queue).map_err(|_| Error::Invalid)?;
                        self.queue_counters(queue).ok_or(Error::Invalid)?
                    }
                };
                reply.counters(&counters);
            }
            Command::RulesetLoad { image } => return self.load(&mut control, image, reply),
            Command::RulesetClear => {
                let epoch = control.publisher.current().epoch.saturating_add(1);
                self.install(&mut control, Installed::none(epoch));
            }
            Command::RuleCounters { first } => rule_counters(&control, first, reply),
            Command::Mode { mode } => {
                self.common.pipeline.set_mode(Mode::from_number(mode).ok_or(Error::Invalid)?);
            }
            Command::Histogram { kind } => self.histogram(kind, reply),
            Command::Events => {
                while reply.has_room(EVENT_LEN)
                    && let Some(event) = self.common.pipeline.events.pop()
                {
                    reply.event(&event);
                }
            }
            Command::RulesetText { first } => ruleset_text(&control, first, reply),
            Command::Addresses { list } => return self.set_addresses(&mut control, list),
            Command::Tables { first } => Self::tables(&control, first, reply),
            Command::TableShow { first, path } => return Self::table_show(&control, path, first, reply),
            Command::TableChange { change, path, entries } => {
                return self.table_change(&mut control, (change, path), entries, reply);
            }
            Command::TableTest { path, entries } => return Self::table_test(&control, path, entries, reply),
            Command::StatesList => self.states_list(&mut control),
            Command::States => self.states(reply),
            Command::StatesKill { filter } => return self.states_kill(&mut control, filter),
            Command::Status => self.status(&control, reply),
            Command::AnchorLoad { path, image } => return self.anchor(&mut control, path, Some(image), reply),
            Command::AnchorFlush { path } => return self.anchor(&mut control, path, None, reply),
            Command::Sources { first } => self.sources(&control, first, reply),
            Command::SourcesKill { filter } => return Self::sources_kill(&control, filter),
            Command::Taps => {
                for tap in self.common.pipeline.taps.infos() {
                    reply.tap(tap.kinds, tap.snaplen, [tap.seen, tap.kept, tap.lost]);
                }
            }
            Command::Clock => {
                reply.time(self.common.host.now_ns());
            }
            Command::NicStats => self.nic_stats(&control, reply),
        }
        Ok(())
    }

    fn info(&self, control: &Control, reply: &mut Reply) {
        let nic = &control.nic;
        let link = nic.link();
        let current = control.publisher.current();
        reply.info(&Info {
            queues: super::count(self.common.shards()),
            mode: self.common.pipeline.mode() as u32,
            mtu: nic.mtu(),
            ruleset_epoch: current.epoch,
            rules: super::count(current.ruleset().map_or(0, |ruleset| ruleset.rules.len())),
            offloads: nic.offloads().bits(),
            mac: nic.mac(),
            enabled: self.is_enabled(),
            promiscuous: nic.promiscuous(),
            multicast_count: super::count(nic.multicast_count()),
            if_name: control.if_name.as_str(),
            link_up: link.up,
            full_duplex: link.full_duplex,
            speed_bps: link.speed_bps,
            version: env!("CARGO_PKG_VERSION"),
        });
    }

    /// In the order of `weir_nic_stats`.
    fn nic_stats(&self, control: &Control, reply: &mut Reply) {
        let stats = control.nic.stats();
        let interrupts = stats.interrupts + self.common.interrupts.load(Ordering::Relaxed);
        reply.numbers(&[
            stats.doorbells,
            interrupts,
            stats.registers,
            stats.transfers_in,
            stats.transfers_out,
            stats.frames_in,
            stats.frames_out,
            stats.copies,
            stats.stalls,
            stats.recoveries,
            stats.timeouts,
            stats.device_errors,
            stats.empty_transfers,
        ]);
    }

    /// Replaces the ruleset, or leaves the running one untouched and says why.
    fn load(&self, control: &mut Control, image: &[u8], reply: &mut Reply) -> Result<(), Error> {
        self.finish_load(control, || image::parse(image), reply)
    }

    /// Installs what was read, or says why it was not.
    pub(super) fn finish_load(
        &self,
        control: &mut Control,
        read: impl FnOnce() -> Result<Ruleset, ImageError>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let running = control.publisher.current();
        let mut result = LoadResult {
            epoch: running.epoch,
            rules: super::count(running.ruleset().map_or(0, |ruleset| ruleset.rules.len())),
            error: None,
        };
        // Asked first: a load whose outcome cannot be told must not happen.
        if !reply.has_room(LOAD_RESULT_LEN) {
            reply.load_result(&result);
            return Err(Error::NoSpace);
        }
        match read().and_then(|ruleset| self.prepare(control, ruleset)) {
            Ok(next) => {
                result.epoch = next.epoch;
                result.rules = super::count(next.ruleset().map_or(0, |ruleset| ruleset.rules.len()));
                reply.load_result(&result);
                self.install(control, next);
                Ok(())
            }
            Err(error) => {
                result.error = Some(error);
                reply.load_result(&result);
                self.common.host.log(LogLevel::Warning, &format!("ruleset refused: {error}"));
                Err(if error.kind == ImageErrorKind::NoMemory { Error::NoMemory } else { Error::Image })
            }
        }
    }

    fn prepare(&self, control: &mut Control, ruleset: Ruleset) -> Result<Installed, ImageError> {
        let no_memory = ImageError { kind: ImageErrorKind::NoMemory, offset: 0 };
        let compiled = Compiled::new(ruleset).ok_or(no_memory)?;
        let before = control.publisher.current().clone();
        let epoch = before.epoch.saturating_add(1);
        let mut rule_id = control.rule_id;
        let place = self.place(control);
        let states = compiled.ruleset().options.limits.states;
        let next = Installed::new(epoch, compiled, place, &before, &mut rule_id).ok_or(no_memory)?;
        self.make_room(control, states).ok_or(no_memory)?;
        control.rule_id = rule_id;
        Ok(next)
    }

    /// The NIC as rulesets see it.
    pub(super) fn place<'a>(&self, control: &'a Control) -> Place<'a> {
        Place { if_name: control.if_name.as_str(), addresses: &control.addresses, shards: self.common.shards() }
    }

    fn install(&self, control: &mut Control, next: Installed) {
        let rules = super::count(next.ruleset().map_or(0, |ruleset| ruleset.rules.len()));
        let epoch = next.epoch;
        self.publish(control, next);
        let plain = Event::plain(EventKind::Ruleset, self.common.host.now_ns());
        self.common.event(Event { rule: rules, reason: epoch as u8, ..plain });
        self.common.host.log(LogLevel::Info, &format!("ruleset {epoch} with {rules} rules"));
    }

    fn histogram(&self, kind: HistogramKind, reply: &mut Reply) {
        let mut total = [0u64; 65];
        for shard in &self.common.counters {
            shard.histograms.of(kind).add_to(&mut total);
        }
        reply.histogram(&total);
    }
}

/// The part of a list from `first` on.
pub(super) fn from_first<T>(list: &[T], first: u64) -> &[T] {
    usize::try_from(first).ok().and_then(|first| list.get(first..)).unwrap_or(&[])
}

fn rule_counters(control: &Control, first: u64, reply: &mut Reply) {
    let current = control.publisher.current();
    let (Some(counters), Ok(first)) = (current.counters(), usize::try_from(first)) else {
        return;
    };
    for rule in first.. {
        let Some(numbers) = counters.sum(rule) else {
            return;
        };
        if !reply.has_room(RULE_COUNTERS_LEN) && rule != first {
            return;
        }
        // The first entry is tried even without room: the reply then says how much is needed.
        if !reply.rule_counters(numbers) {
            return;
        }
    }
}

fn ruleset_text(control: &Control, first: u64, reply: &mut Reply) {
    let Some(ruleset) = control.publisher.current().ruleset() else {
        return;
    };
    for (position, rule) in from_first(&ruleset.rules, first).iter().enumerate() {
        if position > 0 && !reply.has_room(rule.text.len().saturating_add(1)) {
            return;
        }
        if !reply.line(&rule.text) {
            return;
        }
    }
}
