//! A ruleset at work: bound to an interface, with counters, contents of tables, and what goes on over a reload.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::compiled::{Compiled, interface_matches};
use super::foresee::Foreseen;
use super::linear::{Walk, has_dangerous_options};
use super::{
    Action, Direction, Dynamic, DynamicKind, Family, List, Rate, Rule, RuleFlags, Ruleset, Subject, Table,
    TableContents, TableEntry, Verdict, Witness,
};
use crate::mem::prefetch;
use crate::telemetry::{Counter, DropReason};
use crate::wire::Parsed;

/// What one shard counted for one rule.
#[derive(Debug, Default)]
pub(super) struct Hits {
    pub evaluations: Counter,
    pub packets: Counter,
    pub bytes: Counter,
}

/// What all shards share of one rule, and what stays with it over a reload that does not change it.
#[derive(Debug)]
pub struct RuleLife {
    /// Unlike any other rule's, in this ruleset or an earlier one.
    pub id: u32,
    states: AtomicU32,
    nodes: AtomicU32,
    spent: AtomicBool,
    turn: AtomicU32,
    /// `max-pkt-rate`: when the period began, seconds, and packets since.
    rate: AtomicU64,
}

impl RuleLife {
    /// States that the rule made.
    #[must_use]
    pub fn states(&self) -> u32 {
        // Relaxed: a number to look at.
        self.states.load(Ordering::Relaxed)
    }

    /// The next number for `round-robin`.
    #[must_use]
    pub fn next_turn(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a packet of a rule with `max-pkt-rate`; false when there have been as many as may be.
    pub(super) fn takes_packet(&self, rate: Rate, second: u32) -> bool {
        let next = |old: u64| {
            let (begun, count) = ((old >> 32) as u32, old as u32);
            if second.wrapping_sub(begun) >= rate.seconds {
                return Some(u64::from(second) << 32 | 1);
            }
            (count < rate.limit).then_some(old.wrapping_add(1))
        };
        // Relaxed: the count guards no other memory.
        self.rate.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Counts a state unless there are `max` (0 = any number).
    #[must_use]
    pub fn add_state(&self, max: u32) -> bool {
        // Relaxed: the count guards no other memory.
        let add = |count: u32| if max != 0 && count >= max { None } else { count.checked_add(1) };
        self.states.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Counts a source that is tracked for the rule unless there are `max` (0 = any number).
    #[must_use]
    pub fn add_node(&self, max: u32) -> bool {
        let add = |count: u32| if max != 0 && count >= max { None } else { count.checked_add(1) };
        self.nodes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Takes a source off the count.
    pub fn remove_node(&self) {
        let _ = self.nodes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
    }

    /// Takes a state off the count.
    pub fn remove_state(&self) {
        let remove = |count: u32| count.checked_sub(1);
        // An error: none was counted, which is how it stays.
        let _ = self.states.fetch_update(Ordering::Relaxed, Ordering::Relaxed, remove);
    }
}

/// Counters of every rule, one set per shard, and what they share.
#[derive(Debug)]
pub struct RuleCounters {
    shards: Vec<Vec<Hits>>,
    lives: Vec<Arc<RuleLife>>,
    /// Id and number of each rule, sorted.
    by_id: Vec<(u32, u32)>,
}

/// Where one shard counts.
#[derive(Clone, Copy, Debug)]
pub struct Tally<'a>(&'a [Hits]);

impl Tally<'_> {
    /// Counts a packet of a rule.
    #[inline(always)]
    pub fn count(&self, number: u32, len: usize) {
        if let Some(hits) = self.0.get(number as usize) {
            hits.packets.add(1);
            hits.bytes.add(len as u64);
        }
    }

    /// Counts a look at a rule, and a packet that it decided about.
    #[inline(always)]
    pub fn count_decision(&self, number: u32, len: usize) {
        if let Some(hits) = self.0.get(number as usize) {
            hits.evaluations.add(1);
        }
        self.count(number, len);
    }
}

impl RuleCounters {
    /// Zeroes. `None` without memory.
    fn new(lives: Vec<Arc<RuleLife>>, shards: usize) -> Option<Self> {
        let mut all = Vec::new();
        all.try_reserve_exact(shards).ok()?;
        for _ in 0..shards {
            let mut shard = Vec::new();
            shard.try_reserve_exact(lives.len()).ok()?;
            shard.resize_with(lives.len(), Hits::default);
            all.push(shard);
        }
        let mut by_id = Vec::new();
        by_id.try_reserve_exact(lives.len()).ok()?;
        by_id.extend((0u32..).zip(&lives).map(|(number, life)| (life.id, number)));
        by_id.sort_unstable();
        Some(Self { shards: all, lives, by_id })
    }

    pub(super) fn shard(&self, shard: usize) -> &[Hits] {
        self.shards.get(shard).map_or(&[], Vec::as_slice)
    }

    /// Marks a rule with `once` as used up; false if it was.
    pub(super) fn take_once(&self, number: u32) -> bool {
        // Relaxed: the flag guards nothing but itself.
        self.lives.get(number as usize).is_some_and(|life| !life.spent.swap(true, Ordering::Relaxed))
    }

    /// What goes with a rule for as long as it stays as it is.
    #[must_use]
    pub fn life(&self, number: u32) -> Option<&RuleLife> {
        self.lives.get(number as usize).map(|life| &**life)
    }

    /// The number of the rule with this [`RuleLife::id`].
    #[must_use]
    pub fn number_of(&self, id: u32) -> Option<u32> {
        let at = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.by_id.get(at).map(|(_, number)| *number)
    }

    /// Evaluations, packets, bytes and states of one rule, over all shards; `None` if there is no such rule.
    #[must_use]
    pub fn sum(&self, rule: usize) -> Option<[u64; 4]> {
        let states = u64::from(self.lives.get(rule)?.states());
        self.shards.iter().try_fold([0, 0, 0, states], |[evaluations, packets, bytes, states]: [u64; 4], shard| {
            let hits = shard.get(rule)?;
            Some([
                evaluations.wrapping_add(hits.evaluations.get()),
                packets.wrapping_add(hits.packets.get()),
                bytes.wrapping_add(hits.bytes.get()),
                states,
            ])
        })
    }
}

/// An address of the interface, as control was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// `inet` or `inet6`.
    pub family: Family,
    /// The address; IPv4 in the first four bytes.
    pub addr: [u8; 16],
    /// Length of its network's prefix, bits.
    pub len: u8,
    /// The network's broadcast address (IPv4), if it has one.
    pub broadcast: Option<[u8; 16]>,
    /// The other end of a point-to-point link.
    pub peer: Option<[u8; 16]>,
}

/// The NIC that a ruleset is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// BSD name; empty = not known yet.
    pub if_name: &'a str,
    /// Its addresses, the first of each family first, aliases behind.
    pub addresses: &'a [InterfaceAddress],
    /// Shards that count.
    pub shards: usize,
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
pub struct Bound {
    pub(super) compiled: Arc<Compiled>,
    pub(super) counters: Arc<RuleCounters>,
    pub(super) applies: Vec<bool>,
    tables: Vec<Arc<TableContents>>,
    dynamics: Vec<Arc<TableContents>>,
    skip: bool,
}

impl Bound {
    /// The ruleset.
    #[must_use]
    pub fn ruleset(&self) -> &Ruleset {
        self.compiled.ruleset()
    }

    /// A rule by its number.
    #[must_use]
    pub fn rule(&self, number: u32) -> Option<&Rule> {
        self.compiled.rule(number)
    }

    /// Counters of its rules.
    #[must_use]
    pub fn counters(&self) -> &RuleCounters {
        &self.counters
    }

    /// `set skip on` names this interface: nothing is judged.
    #[must_use]
    pub const fn skips(&self) -> bool {
        self.skip
    }

    /// Contents of a table.
    #[must_use]
    pub fn table(&self, index: u32) -> Option<&TableContents> {
        self.tables.get(index as usize).map(|table| &**table)
    }

    /// Addresses that an interface in parentheses stands for.
    #[must_use]
    pub fn dynamic(&self, index: u32) -> Option<&TableContents> {
        self.dynamics.get(index as usize).map(|table| &**table)
    }

    /// A list without rules says nothing.
    #[must_use]
    pub fn has(&self, list: List) -> bool {
        !self.compiled.program(list).is_empty()
    }

    /// Counts a packet of a rule.
    #[inline]
    pub fn count(&self, shard: usize, number: u32, len: usize) {
        self.tally(shard).count(number, len);
    }

    /// The counters of a shard.
    #[must_use]
    #[inline]
    pub fn tally(&self, shard: usize) -> Tally<'_> {
        Tally(self.counters.shard(shard))
    }

    /// What the filter list will say of every packet of a direction and family, if it is always the same. Here and in
    /// [`Bound::foresee`]: of packets with ports that are no fragments and that nothing translates.
    #[must_use]
    pub fn foresee_all(&self, direction: Direction, family: crate::wire::Family) -> Foreseen {
        let foresight = self.compiled.foresight();
        foresight.map_or(Foreseen::Unknown, |foresight| self.if_applies(foresight.constant(direction, family)))
    }

    /// What the filter list will say of the packets of a burst; `tell` is told of each by its place.
    pub fn foresee<'a>(
        &self,
        direction: Direction,
        packets: impl Iterator<Item = (usize, &'a Parsed)>,
        mut tell: impl FnMut(usize, Foreseen),
    ) {
        if let Some(foresight) = self.compiled.foresight() {
            let guide = self.compiled.guide(List::Filter);
            foresight.burst(guide, direction, packets, |place, foreseen| tell(place, self.if_applies(foreseen)));
        }
    }

    /// A rule `on` another interface does not decide, and what does is not foreseen.
    fn if_applies(&self, foreseen: Foreseen) -> Foreseen {
        let Some(number) = foreseen.rule() else { return foreseen };
        let applies = self.applies.get(number as usize).is_some_and(|applies| *applies);
        if applies { foreseen } else { Foreseen::Unknown }
    }

    /// The verdict of the filter list when it is foreseen; `None` when it is not.
    pub fn foreseen(&self, foreseen: Foreseen, shard: usize, parsed: &Parsed, len: usize) -> Option<Verdict> {
        let mut verdict = match foreseen.rule() {
            Some(rule) => {
                self.tally(shard).count_decision(rule, len);
                Verdict { rule, ..Verdict::PASS }
            }
            None if foreseen == Foreseen::NoRule => Verdict::PASS,
            None => return None,
        };
        let rule = self.rule(verdict.rule);
        let flags = rule.map_or(RuleFlags::empty(), |rule| rule.flags);
        verdict.log = flags.contains(RuleFlags::LOG);
        verdict.copy = flags.contains(RuleFlags::DUP_TO);
        if rule.is_some_and(|rule| rule.action == Action::Block) {
            verdict.block = Some(DropReason::Match);
        } else if has_dangerous_options(parsed) && !flags.contains(RuleFlags::ALLOW_OPTS) {
            return Some(Verdict { block: Some(DropReason::IpOption), log: true, ..verdict });
        }
        Some(verdict)
    }

    /// Begins to fetch what [`Tally::count_decision`] writes.
    #[inline(always)]
    pub fn prefetch_counters(&self, shard: usize, foreseen: Foreseen) {
        if let Some(number) = foreseen.rule() {
            prefetch::element(self.counters.shard(shard), number as usize);
        }
    }

    /// Goes through the layer 2, dummynet or filter rules.
    pub fn last_match<W: Witness>(
        &self,
        list: List,
        shard: usize,
        subject: &mut Subject<'_>,
        witness: &mut W,
    ) -> Verdict {
        Walk { bound: self, shard, witness }.last(list, subject)
    }

    /// Goes through the scrub rules or those of a translation; the number of the rule that matched.
    pub fn first_match<W: Witness>(
        &self,
        list: List,
        shard: usize,
        subject: &mut Subject<'_>,
        witness: &mut W,
    ) -> Option<u32> {
        Walk { bound: self, shard, witness }.first(list, subject)
    }
}

impl Installed {
    /// No ruleset: every frame passes.
    #[must_use]
    pub const fn none(epoch: u64) -> Self {
        Self { epoch, rules: None }
    }

    /// A ruleset at its place. Rules that `before` has as well keep their [`RuleLife`], tables that the ruleset does
    /// not define keep their contents. `next_id` is counted on for rules that are new. `None` without memory.
    #[must_use]
    pub fn new(epoch: u64, compiled: Compiled, place: Place<'_>, before: &Self, next_id: &mut u32) -> Option<Self> {
        let ruleset = compiled.ruleset();
        let lives = lives(ruleset, before.bound(), next_id)?;
        let counters = Arc::new(RuleCounters::new(lives, place.shards)?);
        let mut tables = Vec::new();
        tables.try_reserve_exact(ruleset.tables.len()).ok()?;
        let named = match before.bound() {
            Some(old) => Some(old.tables_by_name()?),
            None => None,
        };
        for table in &ruleset.tables {
            let old = named.as_ref().filter(|_| !table.defined).and_then(|named| named.get(table));
            tables.push(match old {
                Some(old) => old.clone(),
                None => Arc::new(TableContents::new(copy_of(&table.entries)?)?),
            });
        }
        let applies = compiled.applies(place.if_name)?;
        let dynamics = dynamics(ruleset, &place)?;
        let skip = skips(ruleset, place.if_name);
        let bound = Bound { compiled: Arc::new(compiled), counters, applies, tables, dynamics, skip };
        Some(Self { epoch, rules: Some(bound) })
    }

    /// The same ruleset, with its counters and tables, at another place.
    #[must_use]
    pub fn moved(&self, place: Place<'_>) -> Option<Self> {
        let Some(old) = &self.rules else {
            return Some(Self::none(self.epoch));
        };
        let ruleset = old.ruleset();
        let bound = Bound {
            applies: old.compiled.applies(place.if_name)?,
            dynamics: dynamics(ruleset, &place)?,
            skip: skips(ruleset, place.if_name),
            compiled: old.compiled.clone(),
            counters: old.counters.clone(),
            tables: copy_of(&old.tables)?,
        };
        Some(Self { epoch: self.epoch, rules: Some(bound) })
    }

    /// The same with other contents of one table. `None` without memory or such a table.
    #[must_use]
    pub fn with_table(&self, index: u32, contents: TableContents) -> Option<Self> {
        let old = self.rules.as_ref()?;
        let mut tables = copy_of(&old.tables)?;
        *tables.get_mut(index as usize)? = Arc::new(contents);
        let bound = Bound {
            compiled: old.compiled.clone(),
            counters: old.counters.clone(),
            applies: copy_of(&old.applies)?,
            dynamics: copy_of(&old.dynamics)?,
            skip: old.skip,
            tables,
        };
        Some(Self { epoch: self.epoch, rules: Some(bound) })
    }

    /// True with a ruleset, even one without rules.
    #[must_use]
    pub const fn has_ruleset(&self) -> bool {
        self.rules.is_some()
    }

    /// The ruleset at work, if there is one.
    #[must_use]
    pub const fn bound(&self) -> Option<&Bound> {
        self.rules.as_ref()
    }

    /// The ruleset, if there is one.
    #[must_use]
    pub fn ruleset(&self) -> Option<&Ruleset> {
        self.rules.as_ref().map(Bound::ruleset)
    }

    /// Counters of its rules.
    #[must_use]
    pub fn counters(&self) -> Option<&RuleCounters> {
        self.rules.as_ref().map(Bound::counters)
    }
}

/// Tables of a ruleset, sorted by their anchors and names.
struct Named<'a>(Vec<(&'a Table, &'a Arc<TableContents>)>);

impl Named<'_> {
    fn get(&self, wanted: &Table) -> Option<&Arc<TableContents>> {
        let key = |table: &Table| (table.anchor.cmp(&wanted.anchor)).then_with(|| table.name.cmp(&wanted.name));
        let at = self.0.binary_search_by(|(table, _)| key(table)).ok()?;
        self.0.get(at).map(|(_, contents)| *contents)
    }
}

impl Bound {
    fn tables_by_name(&self) -> Option<Named<'_>> {
        let mut all = Vec::new();
        all.try_reserve_exact(self.tables.len()).ok()?;
        all.extend(self.ruleset().tables.iter().zip(&self.tables));
        all.sort_unstable_by(|(a, _), (b, _)| (&a.anchor, &a.name).cmp(&(&b.anchor, &b.name)));
        Some(Named(all))
    }
}

fn copy_of<T: Clone>(items: &[T]) -> Option<Vec<T>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(items.len()).ok()?;
    copy.extend_from_slice(items);
    Some(copy)
}

fn skips(ruleset: &Ruleset, if_name: &str) -> bool {
    ruleset.options.skip.iter().any(|name| interface_matches(name, if_name))
}

/// What tells rules apart over a reload: where they stand and what they say. Rules that say the same in one list are
/// taken in their order.
fn identities(ruleset: &Ruleset) -> Option<Vec<(&str, usize, &Rule, usize)>> {
    let mut all = Vec::new();
    all.try_reserve_exact(ruleset.rules.len()).ok()?;
    let mut number = 0usize;
    for anchor in &ruleset.anchors {
        for (list, count) in anchor.lists.iter().enumerate() {
            for _ in 0..*count {
                all.push((anchor.path.as_str(), list, ruleset.rules.get(number)?, number));
                number = number.saturating_add(1);
            }
        }
    }
    all.sort_unstable_by(|a, b| (a.0, a.1, &a.2.text, a.3).cmp(&(b.0, b.1, &b.2.text, b.3)));
    Some(all)
}

/// Says the same; where it stands in the file does not matter, and indices are left to the text.
fn is_same(a: &Rule, b: &Rule) -> bool {
    a.text == b.text && !a.text.is_empty() || Rule { line: 0, ..a.clone() } == Rule { line: 0, ..b.clone() }
}

fn lives(ruleset: &Ruleset, before: Option<&Bound>, next_id: &mut u32) -> Option<Vec<Arc<RuleLife>>> {
    let mut lives: Vec<Option<Arc<RuleLife>>> = Vec::new();
    lives.try_reserve_exact(ruleset.rules.len()).ok()?;
    lives.resize(ruleset.rules.len(), None);
    if let Some(before) = before {
        let old = identities(before.ruleset())?;
        let mut old = old.iter().peekable();
        for (path, list, rule, number) in identities(ruleset)? {
            let wanted = (path, list, &rule.text);
            while old.next_if(|old| (old.0, old.1, &old.2.text) < wanted).is_some() {}
            if let Some(found) = old.next_if(|old| (old.0, old.1) == (path, list) && is_same(old.2, rule)) {
                *lives.get_mut(number)? = before.counters.lives.get(found.3).cloned();
            }
        }
    }
    let mut all = Vec::new();
    all.try_reserve_exact(lives.len()).ok()?;
    for life in lives {
        all.push(life.unwrap_or_else(|| {
            *next_id = next_id.wrapping_add(1);
            Arc::new(RuleLife {
                id: *next_id,
                states: AtomicU32::new(0),
                nodes: AtomicU32::new(0),
                spent: AtomicBool::new(false),
                turn: AtomicU32::new(0),
                rate: AtomicU64::new(0),
            })
        }));
    }
    Some(all)
}

fn dynamics(ruleset: &Ruleset, place: &Place<'_>) -> Option<Vec<Arc<TableContents>>> {
    let mut all = Vec::new();
    all.try_reserve_exact(ruleset.dynamics.len()).ok()?;
    for dynamic in &ruleset.dynamics {
        let mut entries = Vec::new();
        if interface_matches(&dynamic.interface, place.if_name) {
            entries.try_reserve_exact(place.addresses.len()).ok()?;
            let mut seen: [bool; 2] = [false; 2];
            for address in place.addresses {
                let is_alias = core::mem::replace(seen.get_mut(usize::from(address.family == Family::V6))?, true);
                if !(dynamic.no_alias && is_alias) {
                    entries.extend(entry(dynamic, address));
                }
            }
        }
        all.push(Arc::new(TableContents::new(entries)?));
    }
    Some(all)
}

/// What an address of the interface is to a test of it.
fn entry(dynamic: &Dynamic, address: &InterfaceAddress) -> Option<TableEntry> {
    let bits = if address.family == Family::V4 { 32 } else { 128 };
    let (addr, len) = match dynamic.which {
        DynamicKind::Own => (address.addr, bits),
        DynamicKind::Network => (address.addr, address.len.min(bits)),
        DynamicKind::Broadcast => (address.broadcast?, bits),
        DynamicKind::Peer => (address.peer?, bits),
    };
    let len = dynamic.len.filter(|len| *len <= bits).unwrap_or(len);
    let mask = u128::MAX.checked_shl(128u32.saturating_sub(u32::from(len))).unwrap_or(0);
    let addr = (u128::from_be_bytes(addr) & mask).to_be_bytes();
    Some(TableEntry { family: address.family, addr, len, negate: false })
}

/// A table's name as people write it: with its anchor's path in front.
#[must_use]
pub fn table_path(table: &Table) -> String {
    let mut path = String::new();
    if !table.anchor.is_empty() {
        path.push_str(&table.anchor);
        path.push('/');
    }
    path.push_str(&table.name);
    path
}
