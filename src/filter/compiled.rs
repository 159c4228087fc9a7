//! A ruleset in the form that matchers work on, and what goes with one load of it.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{
    Action, AddrKind, AddrMatch, Direction, Endpoint, Family, IcmpMatch, LookupTable, PortMatch, RuleFlags, Ruleset,
    TcpFlagsMatch,
};
use crate::telemetry::Counter;

/// A rule without its texts, addresses as numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    pub action: Action,
    pub direction: Direction,
    pub flags: RuleFlags,
    /// `inet` or `inet6`, also where only an address says so.
    pub family: Family,
    pub protocol: Option<u8>,
    pub src: Side,
    pub dst: Side,
    pub icmp: Option<IcmpMatch>,
    pub tcp_flags: TcpFlagsMatch,
}

/// One side of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub kind: AddrKind,
    pub negate: bool,
    pub addr: u128,
    pub end: u128,
    pub table: u32,
    pub port: PortMatch,
}

impl Side {
    fn new(side: &Endpoint) -> Self {
        let AddrMatch { kind, negate, addr, end, table } = side.addr;
        let (addr, end) = (u128::from_be_bytes(addr), u128::from_be_bytes(end));
        Self { kind, negate, addr, end, table, port: side.port }
    }

    const fn family(&self) -> Family {
        match self.kind {
            AddrKind::Any | AddrKind::Table => Family::Any,
            AddrKind::Mask4 | AddrKind::Range4 => Family::V4,
            AddrKind::Mask6 | AddrKind::Range6 => Family::V6,
        }
    }
}

/// A ruleset that can judge frames.
#[derive(Debug)]
pub struct Compiled {
    ruleset: Ruleset,
    pub(super) tests: Vec<Test>,
    pub(super) tables: Vec<LookupTable>,
    pub(super) has_ether: bool,
}

impl Compiled {
    /// Prepares a ruleset that [`super::image::parse`] accepted. `None` without memory.
    #[must_use]
    pub fn new(ruleset: Ruleset) -> Option<Self> {
        let mut tests = Vec::new();
        tests.try_reserve_exact(ruleset.rules.len()).ok()?;
        for rule in &ruleset.rules {
            let (src, dst) = (Side::new(&rule.src), Side::new(&rule.dst));
            let family = [rule.family, src.family(), dst.family()].into_iter().find(|family| *family != Family::Any);
            tests.push(Test {
                action: rule.action,
                direction: rule.direction,
                flags: rule.flags,
                family: family.unwrap_or(Family::Any),
                protocol: rule.protocol,
                src,
                dst,
                icmp: rule.icmp,
                tcp_flags: rule.tcp_flags,
            });
        }
        let mut tables = Vec::new();
        tables.try_reserve_exact(ruleset.tables.len()).ok()?;
        for table in &ruleset.tables {
            tables.push(LookupTable::new(table)?);
        }
        let has_ether = tests.iter().any(|test| test.flags.contains(RuleFlags::ETHER));
        Some(Self { ruleset, tests, tables, has_ether })
    }

    /// What it was made of.
    #[must_use]
    pub const fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// For each rule, whether its `on` fits this interface.
    fn applies(&self, if_name: &str) -> Option<Vec<bool>> {
        let mut applies = Vec::new();
        applies.try_reserve_exact(self.ruleset.rules.len()).ok()?;
        applies.extend(self.ruleset.rules.iter().map(|rule| {
            rule.interface.is_empty()
                || interface_matches(&rule.interface, if_name) != rule.flags.contains(RuleFlags::NOT_INTERFACE)
        }));
        Some(applies)
    }
}

/// `on NAME`: the interface itself, or its group, which is its name without the unit's number.
fn interface_matches(wanted: &str, if_name: &str) -> bool {
    wanted == if_name || (!if_name.is_empty() && wanted == if_name.trim_end_matches(|c: char| c.is_ascii_digit()))
}

/// What one shard counted for one rule.
#[derive(Debug, Default)]
pub(super) struct Hits {
    pub evaluations: Counter,
    pub packets: Counter,
    pub bytes: Counter,
}

/// Counters of every rule, one set per shard. They start at zero with each load.
#[derive(Debug)]
pub struct RuleCounters {
    shards: Vec<Vec<Hits>>,
}

impl RuleCounters {
    /// Zeroes. `None` without memory.
    #[must_use]
    pub fn new(rules: usize, shards: usize) -> Option<Self> {
        let mut all = Vec::new();
        all.try_reserve_exact(shards).ok()?;
        for _ in 0..shards {
            let mut shard = Vec::new();
            shard.try_reserve_exact(rules).ok()?;
            shard.resize_with(rules, Hits::default);
            all.push(shard);
        }
        Some(Self { shards: all })
    }

    pub(super) fn shard(&self, shard: usize) -> &[Hits] {
        self.shards.get(shard).map_or(&[], Vec::as_slice)
    }

    /// Evaluations, packets and bytes of one rule, over all shards; `None` if there is no such rule.
    #[must_use]
    pub fn sum(&self, rule: usize) -> Option<[u64; 3]> {
        self.shards.iter().try_fold([0u64; 3], |[evaluations, packets, bytes], shard| {
            let hits = shard.get(rule)?;
            Some([
                evaluations.wrapping_add(hits.evaluations.get()),
                packets.wrapping_add(hits.packets.get()),
                bytes.wrapping_add(hits.bytes.get()),
            ])
        })
    }
}

/// What shards work with: a ruleset, or none, on an interface of a certain name.
#[derive(Debug)]
pub struct Installed {
    /// Counts loads and clears; 0 = none yet.
    pub epoch: u64,
    rules: Option<Bound>,
}

/// A ruleset whose `on` tests are settled.
#[derive(Debug)]
pub(super) struct Bound {
    pub compiled: Arc<Compiled>,
    pub counters: Arc<RuleCounters>,
    pub applies: Vec<bool>,
}

impl Installed {
    /// No ruleset: every frame passes.
    #[must_use]
    pub const fn none(epoch: u64) -> Self {
        Self { epoch, rules: None }
    }

    /// A ruleset on the interface `if_name` (empty = the name is not known yet), counting from zero for `shards`
    /// shards. `None` without memory.
    #[must_use]
    pub fn new(epoch: u64, compiled: Compiled, if_name: &str, shards: usize) -> Option<Self> {
        let counters = Arc::new(RuleCounters::new(compiled.ruleset.rules.len(), shards)?);
        let applies = compiled.applies(if_name)?;
        Some(Self { epoch, rules: Some(Bound { compiled: Arc::new(compiled), counters, applies }) })
    }

    /// The same ruleset, with its counters, on an interface of another name.
    #[must_use]
    pub fn renamed(&self, if_name: &str) -> Option<Self> {
        let Some(Bound { compiled, counters, .. }) = &self.rules else {
            return Some(Self::none(self.epoch));
        };
        let applies = compiled.applies(if_name)?;
        let bound = Bound { compiled: compiled.clone(), counters: counters.clone(), applies };
        Some(Self { epoch: self.epoch, rules: Some(bound) })
    }

    /// True with a ruleset, even one without rules.
    #[must_use]
    pub const fn has_ruleset(&self) -> bool {
        self.rules.is_some()
    }

    pub(super) const fn bound(&self) -> Option<&Bound> {
        self.rules.as_ref()
    }

    /// The ruleset, if there is one.
    #[must_use]
    pub fn ruleset(&self) -> Option<&Ruleset> {
        self.rules.as_ref().map(|bound| &bound.compiled.ruleset)
    }

    /// Counters of its rules.
    #[must_use]
    pub fn counters(&self) -> Option<&RuleCounters> {
        self.rules.as_ref().map(|bound| &*bound.counters)
    }
}
