//! What one load carries: options, tables, anchors and their rules.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use super::{Action, Family, Rule};

/// The seven lists of rules that the root and each anchor have, in the order in which a packet meets them (`Scrub`
/// before `Dummynet` is Apple's order; FreeBSD asks dummynet rules last).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum List {
    /// `ether`: last match.
    Ether = 0,
    /// `scrub`: first match.
    Scrub = 1,
    /// `nat`: first match.
    Nat = 2,
    /// `binat`: first match.
    Binat = 3,
    /// `rdr`: first match.
    Rdr = 4,
    /// `dummynet`: last match.
    Dummynet = 5,
    /// `pass`, `block`, `match`: last match.
    Filter = 6,
}

impl List {
    /// Every list, by its number.
    pub const ALL: [Self; 7] =
        [Self::Ether, Self::Scrub, Self::Nat, Self::Binat, Self::Rdr, Self::Dummynet, Self::Filter];

    /// Whether a rule of this list may say so.
    #[must_use]
    pub const fn allows(self, action: Action) -> bool {
        use Action as A;
        match action {
            A::Anchor => true,
            A::Pass | A::Block => matches!(self, Self::Ether | Self::Filter),
            A::Match => matches!(self, Self::Ether | Self::Filter),
            A::Scrub | A::NoScrub => matches!(self, Self::Scrub),
            A::Nat | A::NoNat => matches!(self, Self::Nat),
            A::Binat | A::NoBinat => matches!(self, Self::Binat),
            A::Rdr | A::NoRdr => matches!(self, Self::Rdr),
            A::Dummynet | A::NoDummynet => matches!(self, Self::Dummynet),
        }
    }
}

/// The root (path "") or an anchor.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Anchor {
    /// Components joined by `/`; empty = the root. An anchor without a name of its own has the one that pf gives it:
    /// `_1`, `_2`, ...
    pub path: String,
    /// How many rules each list has ([`List`]); they stand in [`Ruleset::rules`] one list after another.
    pub lists: [u32; List::ALL.len()],
}

/// An entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableEntry {
    /// `inet` or `inet6`, never `Any`.
    pub family: Family,
    /// Prefix; IPv4 in the first four bytes; host bits are zero.
    pub addr: [u8; 16],
    /// Prefix length in bits.
    pub len: u8,
    /// `!`: the longest matching prefix decides.
    pub negate: bool,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Table {
    /// Path of the anchor it belongs to; empty = the root.
    pub anchor: String,
    /// Name, without `<>`; at most 31 bytes (pfvar.h PF_TABLE_NAME_SIZE).
    pub name: String,
    /// `persist`: stays although no rule refers to it.
    pub persist: bool,
    /// `const`: commands may not change its contents.
    pub constant: bool,
    /// `counters`: hits are counted for each address.
    pub counters: bool,
    /// The ruleset gives its contents; else those that it has (from commands, from `overload`) stay over a reload.
    pub defined: bool,
    /// Contents, in any order, without duplicates.
    pub entries: Vec<TableEntry>,
}

/// `(interface[:network|:broadcast|:peer][:0])[/len]`: addresses that are looked up when they change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Dynamic {
    /// The interface or group.
    pub interface: String,
    /// Which of its addresses.
    pub which: DynamicKind,
    /// `:0`: no aliases.
    pub no_alias: bool,
    /// Prefix length that replaces the whole address' (with `:network`: its network's); for IPv6 as it is, for IPv4
    /// where it is no longer than 32.
    pub len: Option<u8>,
}

/// Which addresses of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum DynamicKind {
    /// Its own.
    #[default]
    Own = 0,
    /// `:network`.
    Network = 1,
    /// `:broadcast`.
    Broadcast = 2,
    /// `:peer`.
    Peer = 3,
}

/// pf's timeouts (pf.conf(5), `set timeout`), in the order of the kernel's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "pf.conf(5) says what each is")]
pub enum Timeout {
    TcpFirst = 0,
    TcpOpening = 1,
    TcpEstablished = 2,
    TcpClosing = 3,
    TcpFinWait = 4,
    TcpClosed = 5,
    UdpFirst = 6,
    UdpSingle = 7,
    UdpMultiple = 8,
    IcmpFirst = 9,
    IcmpError = 10,
    OtherFirst = 11,
    OtherSingle = 12,
    OtherMultiple = 13,
    Fragment = 14,
    Interval = 15,
    AdaptiveStart = 16,
    AdaptiveEnd = 17,
    SrcTrack = 18,
    TcpTsDiff = 19,
}

/// A number for each [`Timeout`]: seconds, but for the two adaptive ones, which count states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Timeouts(pub [u32; 20]);

impl Timeouts {
    /// pf's defaults (xnu pfvar.h, `PFTM_*_VAL`; pf_ioctl.c, `pfattach`).
    pub const PF: Self =
        Self([120, 30, 86400, 900, 45, 90, 60, 30, 60, 20, 10, 60, 30, 60, 30, 10, 6000, 12000, 0, 30]);

    /// One of them.
    #[must_use]
    pub fn get(&self, timeout: Timeout) -> u32 {
        self.0.get(timeout as usize).copied().unwrap_or(0)
    }

    /// Changes one of them.
    pub fn set(&mut self, timeout: Timeout, value: u32) {
        if let Some(slot) = self.0.get_mut(timeout as usize) {
            *slot = value;
        }
    }
}

/// `set limit ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// `states`.
    pub states: u32,
    /// `src-nodes`.
    pub src_nodes: u32,
    /// `frags`.
    pub frags: u32,
    /// `tables`.
    pub tables: u32,
    /// `table-entries`.
    pub table_entries: u32,
}

impl Default for Limits {
    /// pf's (xnu pfvar.h, `PFSTATE_HIWAT` and its kin), but for states, which memory is there for.
    fn default() -> Self {
        Self { states: 100_000, src_nodes: 10_000, frags: 5_000, tables: 1_000, table_entries: 200_000 }
    }
}

/// `set ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `set timeout`, `set optimization`.
    pub timeouts: Timeouts,
    /// `set limit`.
    pub limits: Limits,
    /// `set reassemble yes`: fragments are reassembled without a rule that says so.
    pub reassemble: bool,
    /// `set reassemble yes no-df`.
    pub reassemble_no_df: bool,
    /// `set keepcounters`: counters of rules that do not change go on over a reload.
    pub keep_counters: bool,
    /// `set hostid`; 0 = none.
    pub host_id: u32,
    /// `set skip on`: interfaces and groups where nothing is judged.
    pub skip: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::PF,
            limits: Limits::default(),
            reassemble: false,
            reassemble_no_df: false,
            keep_counters: false,
            host_id: 0,
            skip: Vec::new(),
        }
    }
}

/// What a load replaces as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// Options.
    pub options: Options,
    /// Names of tags; the first has the number 1.
    pub tags: Vec<String>,
    /// Tables that rules refer to by index.
    pub tables: Vec<Table>,
    /// Interfaces in parentheses that rules refer to by index.
    pub dynamics: Vec<Dynamic>,
    /// The root, then every anchor that is called or has rules, sorted by path. Empty = no rules.
    pub anchors: Vec<Anchor>,
    /// All rules: anchor by anchor, list by list. A rule's number, wherever one is shown, is its index here.
    pub rules: Vec<Rule>,
}

impl Ruleset {
    /// Filter rules and tables, nothing else.
    #[must_use]
    pub fn filter(rules: Vec<Rule>, tables: Vec<Table>) -> Self {
        let mut ruleset = Self { tables, ..Self::default() };
        let mut lists = [const { Vec::new() }; List::ALL.len()];
        if let Some(filter) = lists.last_mut() {
            *filter = rules;
        }
        ruleset.push_anchor(String::new(), lists);
        ruleset
    }

    /// Adds an anchor (the root first) behind the others.
    pub fn push_anchor(&mut self, path: String, lists: [Vec<Rule>; List::ALL.len()]) {
        let counts = core::array::from_fn(|list| lists.get(list).map_or(0, |rules| rules.len() as u32));
        self.anchors.push(Anchor { path, lists: counts });
        self.rules.extend(lists.into_iter().flatten());
    }

    /// Index of the anchor with this path.
    #[must_use]
    pub fn anchor(&self, path: &str) -> Option<usize> {
        self.anchors.iter().position(|anchor| anchor.path == path)
    }

    /// For each anchor, where in [`Ruleset::rules`] its lists stand.
    pub fn ranges(&self) -> impl Iterator<Item = [Range<usize>; List::ALL.len()]> {
        let mut next = 0usize;
        self.anchors.iter().map(move |anchor| {
            anchor.lists.map(|count| {
                let start = next;
                next = next.saturating_add(count as usize);
                start..next
            })
        })
    }

    /// The rules of one list of one anchor.
    #[must_use]
    pub fn list(&self, anchor: usize, list: List) -> &[Rule] {
        let range = self.ranges().nth(anchor).and_then(|ranges| ranges.get(list as usize).cloned());
        range.and_then(|range| self.rules.get(range)).unwrap_or(&[])
    }
}
