//! What a rule does beyond its verdict: answers, states, normalisation, translation.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::{AddrMatch, Timeouts};

/// What `block` sends back (pf.conf(5), "block").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Answer {
    /// `drop`: nothing.
    #[default]
    Drop,
    /// `return`: RST for TCP, an ICMP error for the rest: port unreachable in both families.
    Return,
    /// `return-rst`: RST for TCP, nothing for the rest.
    Rst {
        /// Time to live of the answer; 0 = the default.
        ttl: u8,
    },
    /// `return-icmp` and `return-icmp6`: an ICMP error for everything; type and code of each family, type 0 = none
    /// in that family.
    Icmp {
        /// ICMP type and code.
        v4: (u8, u8),
        /// ICMPv6 type and code.
        v6: (u8, u8),
    },
}

/// What a rule does about states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum StateMode {
    /// None is made.
    #[default]
    No = 0,
    /// `keep state`.
    Keep = 1,
    /// `modulate state`; like `keep` for all but TCP.
    Modulate = 2,
    /// `synproxy state`; like `keep` for all but TCP that comes in.
    Synproxy = 3,
}

/// How many of something in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Rate {
    /// Events.
    pub limit: u32,
    /// Seconds, 1 at least.
    pub seconds: u32,
}

/// `source-track`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum SourceTrack {
    /// Sources are not tracked.
    #[default]
    No = 0,
    /// One node for all rules with `global`.
    Global = 1,
    /// Nodes of this rule's own.
    Rule = 2,
}

/// `overload <table> [flush [global]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Overload {
    /// Index into [`super::Ruleset::tables`].
    pub table: u32,
    /// `flush`: states of the source made by this rule are killed.
    pub flush: bool,
    /// `global`: those of other rules as well.
    pub global: bool,
}

/// `keep state (...)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StateOptions {
    /// The keyword.
    pub mode: StateMode,
    /// `if-bound`, also from `set state-policy`.
    pub if_bound: bool,
    /// `sloppy`.
    pub sloppy: bool,
    /// `no-sync`: nothing is synchronised, but it is shown.
    pub no_sync: bool,
    /// `max`: states of this rule; 0 = no limit.
    pub max: u32,
    /// `source-track`, also where another option implies it.
    pub source_track: SourceTrack,
    /// `max-src-nodes`; 0 = no limit.
    pub max_src_nodes: u32,
    /// `max-src-states`; 0 = no limit.
    pub max_src_states: u32,
    /// `max-src-conn`; 0 = no limit.
    pub max_src_conn: u32,
    /// `max-src-conn-rate`.
    pub max_src_conn_rate: Option<Rate>,
    /// `overload`.
    pub overload: Option<Overload>,
    /// The rule's own timeouts, where they are not zero; those of the ruleset elsewhere.
    pub timeouts: Timeouts,
}

/// What happens to fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum FragmentPolicy {
    /// Not said: a `scrub` rule reassembles, a `scrub (...)` option leaves it to `set reassemble`.
    #[default]
    Default = 0,
    /// `fragment reassemble`.
    Reassemble = 1,
    /// `fragment no reassemble`.
    NoReassemble = 2,
    /// `fragment crop`: IPv4 fragments pass as they come, without what has passed before.
    Crop = 3,
    /// `fragment drop-ovl`: one that overlaps is dropped, and the rest of its datagram.
    DropOverlap = 4,
}

/// Normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Scrub {
    /// `no-df`.
    pub no_df: bool,
    /// `random-id`.
    pub random_id: bool,
    /// `reassemble tcp`.
    pub reassemble_tcp: bool,
    /// `min-ttl`; 0 = none.
    pub min_ttl: u8,
    /// `max-mss`; 0 = none.
    pub max_mss: u16,
    /// `set-tos`.
    pub set_tos: Option<u8>,
    /// `fragment ...`.
    pub fragment: FragmentPolicy,
}

/// How an address of a pool is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum PoolKind {
    /// No keyword: the one address, or the first of its network.
    #[default]
    None = 0,
    /// `bitmask`: the network's bits are replaced.
    Bitmask = 1,
    /// `random`.
    Random = 2,
    /// `source-hash`.
    SourceHash = 3,
    /// `round-robin`.
    RoundRobin = 4,
}

/// Where translated packets go.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pool {
    /// How one is chosen.
    pub kind: PoolKind,
    /// `sticky-address`.
    pub sticky: bool,
    /// `static-port`: `nat` leaves the port as it is.
    pub static_port: bool,
    /// Key of `source-hash`; `None` = a random one at each load.
    pub key: Option<[u32; 4]>,
    /// First and last port. `nat`: where ports are allocated, (0, 0) without `port`: 50001..65535
    /// (pf.conf(5), "static-port"). `rdr`: (0, 0) = the port is left; (a, 0) or (a, a) = port `a`; else the
    /// destination's place in the rule's range is kept.
    pub ports: (u16, u16),
    /// Addresses: prefixes, ranges, tables, interfaces; one at least, none negated.
    pub hosts: Vec<AddrMatch>,
}

/// `pipe` and `queue` of dummynet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pipe {
    /// A queue, not a pipe.
    pub queue: bool,
    /// The number.
    pub number: u16,
    /// The number for the other direction; 0 = none.
    pub reverse: u16,
}

impl Scrub {
    /// Nothing is normalised.
    pub const NONE: Self = Self {
        no_df: false,
        random_id: false,
        reassemble_tcp: false,
        min_ttl: 0,
        max_mss: 0,
        set_tos: None,
        fragment: FragmentPolicy::Default,
    };

    /// What two rules ask for together; where they differ, the later one decides (`pf_rule_to_actions`).
    pub fn add(&mut self, later: &Self) {
        self.no_df |= later.no_df;
        self.random_id |= later.random_id;
        self.reassemble_tcp |= later.reassemble_tcp;
        if later.min_ttl != 0 {
            self.min_ttl = later.min_ttl;
        }
        if later.max_mss != 0 {
            self.max_mss = later.max_mss;
        }
        self.set_tos = later.set_tos.or(self.set_tos);
        if later.fragment != FragmentPolicy::Default {
            self.fragment = later.fragment;
        }
    }
}
