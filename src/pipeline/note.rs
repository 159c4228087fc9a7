//! What shards are told besides packets: entries of tables, states to kill, states to list.
#![forbid(unsafe_code)]

use super::Pipeline;
use super::chores::Chore;
use super::tracker::Tracker;
use crate::filter::Family;
use crate::flow::state::StateRef;
use crate::flow::table::{FlowId, FlowTable};
use crate::flow::{FlowKey, Secret};
use crate::wire;

/// Entries that a shard remembers until control has taken them over.
const ADDED: usize = 4096;

/// An address that `overload` puts into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Ruleset that `table` is an index of.
    pub epoch: u64,
    /// The table.
    pub table: u32,
    /// `inet` or `inet6`.
    pub family: Family,
    /// The address; IPv4 in the first four bytes.
    pub addr: [u8; 16],
}

/// Which states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StateFilter {
    /// An end, with a prefix length: states that have an address in it at either end.
    pub host: Option<(Family, [u8; 16], u8)>,
    /// The other end, with [`StateFilter::host`].
    pub peer: Option<(Family, [u8; 16], u8)>,
    /// [`crate::filter::RuleLife::id`] of the rule that made them.
    pub rule_id: Option<u32>,
    /// The state with this number ([`Listed::id`]).
    pub id: Option<u64>,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// An address is in a table from now on.
    Added(Addition),
    /// What was added to tables is in control's copy, or was taken out of it.
    ForgetAdded,
    /// Something that goes through all states.
    Begin(Chore),
}

/// A state as control shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Shard, generation and index: what kill can name.
    pub id: u64,
    /// Number of the rule; `u32::MAX` = gone.
    pub rule: u32,
    /// Ruleset of that number.
    pub epoch: u64,
    /// 1 in, 2 out.
    pub way: u8,
    /// IP protocol.
    pub protocol: u8,
    /// Phases of the end that began and of the other.
    pub phases: [u8; 2],
    /// What the wire shows.
    pub wire: FlowKey,
    /// What the stack says.
    pub stack: FlowKey,
    /// Ticks since it was made, and until it is over.
    pub age: u64,
    /// Ticks until it is over.
    pub expires: u64,
    /// Packets of both ends.
    pub packets: [u64; 2],
    /// Bytes of both ends.
    pub bytes: [u64; 2],
}

/// Addresses that were added to tables since the ruleset was installed.
pub struct Added {
    set: FlowTable<()>,
}

impl Added {
    /// `None` without memory.
    #[must_use]
    pub fn new(seed: u64) -> Option<Self> {
        Some(Self { set: FlowTable::new(ADDED, 0, Secret::from_seed(!seed))? })
    }

    fn key(table: u32, family: Family, addr: &[u8; 16]) -> FlowKey {
        let family = if family == Family::V4 { wire::Family::V4 } else { wire::Family::V6 };
        FlowKey::new((addr, table as u16), (&[0; 16], (table >> 16) as u16), 0, family, 0)
    }

    /// Whether an address was added to a table.
    #[must_use]
    pub fn contains(&self, table: u32, family: Family, addr: &[u8; 16]) -> bool {
        if self.set.is_empty() {
            return false;
        }
        let key = Self::key(table, family, addr);
        self.set.find(self.set.hash(&key), &key).is_some()
    }

    /// Adds one; when there is no room, control's copy has it before long.
    pub fn note(&mut self, table: u32, family: Family, addr: &[u8; 16]) {
        let key = Self::key(table, family, addr);
        let hash = self.set.hash(&key);
        if self.set.find(hash, &key).is_none() {
            let _ = self.set.insert(hash, key, ());
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        for index in 0..ADDED {
            if self.set.is_empty() {
                return;
            }
            if let Some(id) = self.set.id_at(index) {
                self.set.remove(id);
            }
        }
    }
}

fn covers(host: &(Family, [u8; 16], u8), key: &FlowKey, addr: &[u8; 16]) -> bool {
    let (family, prefix, len) = host;
    let same = matches!((family, key.family()), (Family::V4, wire::Family::V4) | (Family::V6, wire::Family::V6));
    let mask = u128::MAX.checked_shl(128u32.saturating_sub(u32::from(*len))).unwrap_or(0);
    same && (u128::from_be_bytes(*prefix) ^ u128::from_be_bytes(*addr)) & mask == 0
}

impl StateFilter {
    pub(super) fn matches(&self, id: u64, state: StateRef<'_>) -> bool {
        let keys = [&state.more.wire, &state.more.stack];
        let ends = |host: &Option<(Family, [u8; 16], u8)>, peer: &Option<(Family, [u8; 16], u8)>| {
            keys.iter().any(|key| {
                let of = |test: &Option<(Family, [u8; 16], u8)>, addr: [u8; 16]| {
                    test.as_ref().is_none_or(|test| covers(test, key, &addr))
                };
                of(host, key.src()) && of(peer, key.dst()) || of(host, key.dst()) && of(peer, key.src())
            })
        };
        self.id.is_none_or(|wanted| wanted == id)
            && self.rule_id.is_none_or(|wanted| wanted == state.more.rule_id)
            && ends(&self.host, &self.peer)
    }
}

impl Pipeline {
    /// Does what control and other shards asked for.
    pub(super) fn take_notes(&mut self) {
        let Some(notes) = self.shared.notes.get(self.shard).filter(|notes| !notes.is_empty()) else { return };
        while self.tracker.chores.has_room()
            && let Some(note) = notes.pop()
        {
            self.tracker.take_note(&mut self.added, note);
        }
    }
}

/// The number by which control knows a state.
pub(super) fn number_of(shard: usize, id: FlowId) -> u64 {
    (shard as u64) << 56 | u64::from(id.generation().get() & 0x00ff_ffff) << 32 | (id.index() as u64 & 0xffff_ffff)
}

impl Tracker {
    /// Does one thing that was asked for, or begins to.
    pub fn take_note(&mut self, added: &mut Added, note: Note) {
        match note {
            Note::Added(addition) => {
                if addition.epoch == self.epoch {
                    added.note(addition.table, addition.family, &addition.addr);
                }
            }
            Note::ForgetAdded => added.clear(),
            Note::Begin(chore) => {
                // There is room: it was asked for before.
                let _ = self.add_chore(chore);
            }
        }
    }
}
