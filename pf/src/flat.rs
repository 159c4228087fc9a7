//! Rules after expansion: one protocol, one source, one destination; the counterpart of the kernel's `pf_rule`.
//!
//! This is what is printed and what is compiled.

use std::net::IpAddr;

use crate::ast::{
    AnchorKind, Direction, Family, FragmentPolicy, IcmpType, IdMatch, Log, Mac, Modifiers, Pipe, Pool, Port, Return,
    RouteKind, StateOption, Translation,
};
use crate::source::Span;

/// An address test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Addr {
    /// `any`
    #[default]
    Any,
    /// A prefix; host bits are zero.
    Prefix {
        /// Its first address.
        addr: IpAddr,
        /// Its length in bits; may be too long for IPv4 until it was checked.
        len: u8,
    },
    /// `a - b`
    Range(IpAddr, IpAddr),
    /// `(interface)`
    Dynamic {
        /// The interface or group.
        interface: String,
        /// `:network` and the like.
        modifiers: Modifiers,
        /// Prefix length, if given.
        len: Option<u8>,
    },
    /// `<name>`
    Table(String),
    /// `no-route`
    NoRoute,
    /// `urpf-failed`
    UrpfFailed,
    /// `route label`
    RouteLabel(String),
}

/// `[!] address` and its family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlatHost {
    /// `!`
    pub negate: bool,
    /// The test.
    pub addr: Addr,
    /// The address' family; `Any` where the address does not tell.
    pub family: Option<Family>,
    /// The interface of a link-local address.
    pub scope: Option<String>,
}

impl FlatHost {
    /// The family the address forces on its rule.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family.unwrap_or(Family::Any)
    }
}

/// A state clause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The keyword; `None` and `No` print alike.
    pub kind: StateMode,
    /// `max`
    pub max: u32,
    /// `no-sync`
    pub no_sync: bool,
    /// Sources are tracked at all.
    pub source_track: bool,
    /// ... for each rule on its own.
    pub source_track_rule: bool,
    /// `max-src-states`
    pub max_src_states: u32,
    /// `max-src-conn`
    pub max_src_conn: u32,
    /// `max-src-conn-rate`
    pub max_src_conn_rate: (u32, u32),
    /// `max-src-nodes`
    pub max_src_nodes: u32,
    /// `overload` table, `flush`, `global`
    pub overload: Option<(String, bool, bool)>,
    /// `if-bound`
    pub if_bound: bool,
    /// `sloppy`
    pub sloppy: bool,
    /// `pflow`
    pub pflow: bool,
    /// Timeouts in the order of `names::timeouts::TIMEOUTS`; 0 = not set.
    pub timeouts: Vec<(&'static str, u32)>,
}

/// What a rule does about states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateMode {
    /// None is made.
    #[default]
    No,
    /// `keep state`
    Keep,
    /// `modulate state`
    Modulate,
    /// `synproxy state`
    Synproxy,
}

/// What an expanded rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlatAction {
    /// `pass`
    Pass,
    /// `block`
    Block(Return),
    /// `match`
    Match,
    /// `scrub`; true = `no scrub`.
    Scrub(bool),
    /// `nat` and its kin; `no`, `pass`.
    Translate(Translation, bool, bool),
    /// `dummynet`; true = `no dummynet`.
    Dummynet(bool),
    /// An anchor's call.
    Anchor(AnchorKind),
}

/// Where translated packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatPool {
    /// Addresses, one at least.
    pub hosts: Vec<FlatHost>,
    /// First and last port; `(0, 0)` = none, for `nat` the default range.
    pub ports: (u16, u16),
    /// Options, with `round-robin` where pfctl implies it.
    pub pool: Pool,
}

/// `nat-to` and its kin on a rule of the newer kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlatRedirects {
    /// `-> ...`
    pub arrow: Option<FlatPool>,
    /// `nat-to`
    pub nat: Option<FlatPool>,
    /// `rdr-to`
    pub rdr: Option<FlatPool>,
    /// `binat-to`
    pub binat: Option<FlatPool>,
    /// `af-to`: the family, `from` and `to`.
    pub af_to: Option<(Family, Option<FlatPool>, Option<FlatPool>)>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatRoute {
    /// The keyword.
    pub kind: RouteKind,
    /// Interface, may be empty, and address.
    pub hosts: Vec<(String, Option<FlatHost>)>,
    /// How one is chosen.
    pub pool: Pool,
}

/// Normalisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlatScrub {
    /// `no-df`
    pub no_df: bool,
    /// `random-id`
    pub random_id: bool,
    /// `min-ttl`; 0 = none.
    pub min_ttl: u8,
    /// `max-mss`; 0 = none.
    pub max_mss: u16,
    /// `set-tos`
    pub set_tos: Option<u8>,
    /// `reassemble tcp`
    pub reassemble_tcp: bool,
    /// `fragment ...`
    pub fragment: Option<FragmentPolicy>,
}

/// An expanded rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatRule {
    /// The statement it came from.
    pub span: Span,
    /// Its number in the file or anchor, from 0, over all rulesets.
    pub number: u32,
    /// Whether the statement had a `flags` clause of its own.
    pub flags_given: bool,
    /// What it does.
    pub action: FlatAction,
    /// For anchors: the path as written, and inline rules.
    pub anchor: Option<FlatAnchor>,
    /// `in` or `out`
    pub direction: Direction,
    /// `log`
    pub log: Option<Log>,
    /// `quick`
    pub quick: bool,
    /// `on ...`: `!` and the name; empty = every interface.
    pub interface: (bool, String),
    /// `received-on ...`
    pub received_on: Option<(bool, String)>,
    /// `route-to` and its kin.
    pub route: Option<FlatRoute>,
    /// `inet` or `inet6`
    pub family: Family,
    /// `proto`; 0 = every one.
    pub protocol: u8,
    /// Source address.
    pub src: FlatHost,
    /// Source port.
    pub src_port: Option<Port>,
    /// `os`
    pub os: Option<String>,
    /// Destination address.
    pub dst: FlatHost,
    /// Destination port.
    pub dst_port: Option<Port>,
    /// `user`
    pub user: Option<IdMatch>,
    /// `group`
    pub group: Option<IdMatch>,
    /// `flags`, set and mask; `(0, 0)` = any or none.
    pub flags: (u8, u8),
    /// ICMP type and code.
    pub icmp: Option<IcmpType>,
    /// `tos`; 0 = none, as the kernel has it.
    pub tos: u8,
    /// `prio`
    pub prio: Option<u8>,
    /// `set prio`
    pub set_prio: Option<(u8, u8)>,
    /// States.
    pub state: State,
    /// `state limiter` (false) and `source limiter` (true): number, and whether the rule does not match over the limit.
    pub limiters: Vec<(bool, u32, bool)>,
    /// `probability`, of 2^32; 0 = none.
    pub probability: u32,
    /// `fragment`
    pub fragment: bool,
    /// `allow-opts`
    pub allow_opts: bool,
    /// `scrub (...)`, or the options of a `scrub` rule.
    pub scrub: FlatScrub,
    /// `label`s
    pub labels: Vec<String>,
    /// `ridentifier`; 0 = none.
    pub ridentifier: u32,
    /// `dnpipe` and its kin.
    pub pipe: Option<Pipe>,
    /// `queue`
    pub queue: Option<(String, Option<String>)>,
    /// `tag`
    pub tag: Option<String>,
    /// `[!] tagged`
    pub tagged: Option<(bool, String)>,
    /// `rtable`
    pub rtable: Option<u32>,
    /// `divert-to`
    pub divert: Option<u16>,
    /// `once`
    pub once: bool,
    /// `max-pkt-rate`
    pub max_pkt_rate: Option<(u32, u32)>,
    /// `max-pkt-size`
    pub max_pkt_size: Option<u16>,
    /// Translation.
    pub redirects: FlatRedirects,
}

/// An anchor's call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatAnchor {
    /// The path as written; empty for a nameless inline anchor.
    pub name: String,
    /// Inline rules.
    pub body: Option<Box<FlatSet>>,
}

/// An expanded `ether` rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatEther {
    /// The statement it came from.
    pub span: Span,
    /// `pass` (true) or `block`.
    pub pass: bool,
    /// `ether anchor`.
    pub anchor: Option<FlatAnchor>,
    /// `in` or `out`
    pub direction: Direction,
    /// `quick`
    pub quick: bool,
    /// `on ...`
    pub interface: (bool, String),
    /// `bridge-to`
    pub bridge_to: Option<String>,
    /// `vlan`
    pub vlan: Option<u16>,
    /// EtherType; 0 = every one.
    pub protocol: u16,
    /// Source MAC address.
    pub src: Option<Mac>,
    /// Destination MAC address.
    pub dst: Option<Mac>,
    /// `l3` addresses.
    pub l3: (FlatHost, FlatHost),
    /// `label`s
    pub labels: Vec<String>,
    /// `ridentifier`; 0 = none.
    pub ridentifier: u32,
    /// `queue`
    pub queue: Option<String>,
    /// `tag`
    pub tag: Option<String>,
    /// `[!] tagged`
    pub tagged: Option<(bool, String)>,
    /// `dnpipe` and its kin.
    pub pipe: Option<Pipe>,
}

/// A table with its addresses resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatTable {
    /// The statement it came from.
    pub span: Span,
    /// The name.
    pub name: String,
    /// `const`
    pub constant: bool,
    /// `persist`
    pub persist: bool,
    /// `counters`
    pub counters: bool,
    /// What was written, for printing: files, and lists of addresses.
    pub parts: Vec<FlatTablePart>,
}

/// A part of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlatTablePart {
    /// A file and what stands in it.
    File(String, Vec<FlatHost>),
    /// A list.
    List(Vec<FlatHost>),
}

/// A line that pfctl prints while it reads.
#[derive(Clone, Debug, PartialEq)]
pub enum FlatLine {
    /// A macro's name and value.
    Macro(String, String),
    /// `set ...`
    Set(crate::ast::SetOption),
    /// `table ...`
    Table(FlatTable),
    /// `altq ...` and `queue ...`
    Queue(Box<FlatQueue>),
    /// `state limiter ...` and `source limiter ...`
    Limiter(crate::ast::Limiter),
}

/// A queue for printing.
#[derive(Clone, Debug, PartialEq)]
pub struct FlatQueue {
    /// The statement it came from.
    pub statement: crate::ast::Queue,
    /// The interface that is printed; empty = none.
    pub interface: String,
    /// The scheduler; `None` for OpenBSD's later queues.
    pub kind: Option<crate::ast::SchedulerKind>,
    /// Bits a second.
    pub bandwidth: u64,
    /// The parent's bits a second.
    pub whole: u64,
    /// The token bucket's size, of `altq`.
    pub tbrsize: u32,
}

/// All rules of a file or of an anchor, by the ruleset they belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlatSet {
    /// `scrub`
    pub scrub: Vec<FlatRule>,
    /// `ether`
    pub ether: Vec<FlatEther>,
    /// `nat`
    pub nat: Vec<FlatRule>,
    /// `rdr`
    pub rdr: Vec<FlatRule>,
    /// `binat`
    pub binat: Vec<FlatRule>,
    /// `dummynet`
    pub dummynet: Vec<FlatRule>,
    /// `pass`, `block`, `match`
    pub filter: Vec<FlatRule>,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flat {
    /// Macros, options and tables in their order.
    pub lines: Vec<FlatLine>,
    /// Rules.
    pub set: FlatSet,
    /// `load anchor`: path and rules.
    pub loaded: Vec<(String, Flat)>,
}

/// State options as they were written last, kept for `set state-defaults`.
pub type StateDefaults = Vec<crate::source::Spanned<StateOption>>;
