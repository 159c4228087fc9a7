//! What a file says, in the order it says it, with the place of everything that may be complained about.
//!
//! Nothing is resolved here: host and service names are still names, lists are still lists.

use std::rc::Rc;

pub use weir_core::filter::{Direction, Family, PortOp};

use crate::source::{Span, Spanned};

/// One statement.
#[derive(Clone, Debug)]
pub enum Statement {
    /// `name = "value"`
    Macro {
        /// The name.
        name: String,
        /// The value, its parts joined by a space.
        value: String,
        /// Where.
        span: Span,
    },
    /// `set ...`
    Set(SetOption, Span),
    /// `table <name> ...`
    Table(TableDef),
    /// `antispoof for ...`
    Antispoof(Box<Antispoof>),
    /// `load anchor NAME from FILE`
    LoadAnchor {
        /// The anchor's path.
        anchor: Spanned<String>,
        /// The file's name.
        file: Spanned<String>,
        /// The statements of that file.
        body: Vec<Statement>,
    },
    /// Everything that looks like a rule.
    Rule(Box<Rule>),
    /// FreeBSD's `ether ...`
    Ether(Box<EtherRule>),
}

impl Statement {
    /// The whole statement.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Macro { span, .. } | Self::Set(_, span) => *span,
            Self::Table(table) => table.span,
            Self::Antispoof(antispoof) => antispoof.span,
            Self::LoadAnchor { anchor, file, .. } => anchor.span.to(file.span),
            Self::Rule(rule) => rule.span,
            Self::Ether(rule) => rule.span,
        }
    }
}

/// `set ...`
#[derive(Clone, Debug, PartialEq)]
pub enum SetOption {
    /// `timeout name seconds`, one for each of a list.
    Timeout(Vec<(String, u32)>),
    /// `limit name count`
    Limit(Vec<(String, u32)>),
    /// `optimization name`
    Optimization(String),
    /// `ruleset-optimization name`
    RulesetOptimization(String),
    /// `loginterface name`
    LogInterface(String),
    /// `hostid number`
    HostId(u32),
    /// `block-policy drop|return`; true = return.
    BlockPolicy(bool),
    /// `fail-policy drop|return`
    FailPolicy(bool),
    /// `require-order yes|no`
    RequireOrder(bool),
    /// `fingerprints file`
    Fingerprints(String),
    /// `state-policy if-bound|floating`; true = if-bound.
    StatePolicy(bool),
    /// `debug level`
    Debug(String),
    /// `skip on interfaces`
    Skip(Vec<Interface>),
    /// `state-defaults options`
    StateDefaults(Vec<Spanned<StateOption>>),
    /// `reassemble yes|no [no-df]`
    Reassemble {
        /// yes
        on: bool,
        /// `no-df`
        no_df: bool,
    },
    /// `keepcounters`
    KeepCounters,
    /// `syncookies never|always|adaptive [(start n%, end n%)]`
    SynCookies {
        /// The mode's name.
        mode: String,
        /// Start and end in percent.
        watermarks: Option<(u8, u8)>,
    },
}

/// `table <name> { persist | const | counters | file "name" | { addresses } }`
#[derive(Clone, Debug)]
pub struct TableDef {
    /// The name without `<>`.
    pub name: Spanned<String>,
    /// `const`
    pub constant: bool,
    /// `persist`
    pub persist: bool,
    /// `counters`
    pub counters: bool,
    /// Files and lists in their order.
    pub parts: Vec<TablePart>,
    /// The whole statement.
    pub span: Span,
}

/// Where addresses of a table come from.
#[derive(Clone, Debug)]
pub enum TablePart {
    /// `file "name"`
    File(Spanned<String>),
    /// `{ addresses }`
    List(Vec<Host>),
}

/// `[!] address`
#[derive(Clone, Debug)]
pub struct Host {
    /// `!`
    pub negate: bool,
    /// What it names.
    pub kind: HostKind,
    /// Where.
    pub span: Span,
}

/// The kinds of [`Host`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// `any`
    Any,
    /// `no-route`
    NoRoute,
    /// `urpf-failed`
    UrpfFailed,
    /// `route label`
    RouteLabel(String),
    /// An address, an interface with modifiers, `self`, or a host's name, with the text after `/`.
    Name {
        /// As written.
        text: Rc<str>,
        /// Prefix length.
        len: Option<i64>,
    },
    /// `a - b`
    Range(Rc<str>, Rc<str>),
    /// `(interface)`: looked up when it is needed.
    Dynamic {
        /// The interface or group.
        interface: String,
        /// `:network` and the like.
        modifiers: Modifiers,
        /// Prefix length.
        len: Option<u8>,
    },
    /// `<name>`
    Table(String),
}

/// What may follow an interface's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modifiers {
    /// `:network`
    pub network: bool,
    /// `:broadcast`
    pub broadcast: bool,
    /// `:peer`
    pub peer: bool,
    /// `:0`, no aliases.
    pub no_alias: bool,
}

/// A name after `on`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// `!`
    pub negate: bool,
    /// The interface or group.
    pub name: String,
    /// In parentheses (`antispoof for (if)`).
    pub dynamic: bool,
    /// Where.
    pub span: Span,
}

/// A port test; both operands are numbers already, services were looked up when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The operator.
    pub op: PortOp,
    /// First operand.
    pub a: u16,
    /// Second operand, or 0.
    pub b: u16,
}

/// One side of `from ... to ...`.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Addresses; empty = any.
    pub hosts: Vec<Host>,
    /// Ports; empty = any.
    pub ports: Vec<Spanned<Port>>,
}

/// What a rule-like statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `pass`
    Pass,
    /// `block ...`; `None` = as `set block-policy` says.
    Block(Option<Return>),
    /// `match`
    Match,
    /// `scrub`; true = `no scrub`.
    Scrub(bool),
    /// `nat`, `rdr` or `binat`
    Translate {
        /// Which.
        kind: Translation,
        /// `no`
        no: bool,
        /// `pass`
        pass: bool,
    },
    /// `dummynet`; true = `no dummynet`.
    Dummynet(bool),
    /// `anchor` and its kin.
    Anchor(AnchorKind),
}

/// The older translation rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// Source.
    Nat,
    /// Destination.
    Rdr,
    /// Both ways.
    Binat,
}

/// Which ruleset an anchor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorKind {
    /// `anchor`
    Filter,
    /// `nat-anchor`
    Nat,
    /// `rdr-anchor`
    Rdr,
    /// `binat-anchor`
    Binat,
    /// `scrub-anchor`
    Scrub,
    /// `dummynet-anchor`
    Dummynet,
}

/// What a blocked sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Nothing.
    Drop,
    /// RST for TCP, ICMP for the rest.
    Any,
    /// `return-rst`, with the TTL or 0.
    Rst(u8),
    /// `return-icmp` and `return-icmp6`: type and code for each family.
    Icmp {
        /// ICMP type and code.
        v4: (u8, u8),
        /// ICMPv6 type and code.
        v6: (u8, u8),
    },
}

/// `log (...)`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// `all`
    pub all: bool,
    /// `user`
    pub user: bool,
    /// `matches`, OpenBSD's.
    pub matches: bool,
    /// `to pflogN`; `pflog0` is the default.
    pub to: u8,
}

/// An anchor's name and inline rules.
#[derive(Clone, Debug, Default)]
pub struct AnchorCall {
    /// The path, as written; `None` for a nameless inline anchor.
    pub name: Option<Spanned<String>>,
    /// Rules in `{ }`.
    pub body: Option<Vec<Statement>>,
}

/// A rule, an anchor call, or a translation: all have the same parts.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The whole statement.
    pub span: Span,
    /// What it does.
    pub action: Spanned<Action>,
    /// For [`Action::Anchor`].
    pub anchor: AnchorCall,
    /// `in` or `out`
    pub direction: Direction,
    /// `log`
    pub log: Option<Log>,
    /// `quick`
    pub quick: bool,
    /// `on ...`
    pub interfaces: Vec<Interface>,
    /// `route-to` and its kin.
    pub route: Option<Route>,
    /// `inet` or `inet6`
    pub family: Option<Spanned<Family>>,
    /// `proto ...`
    pub protocols: Vec<Spanned<u8>>,
    /// `from ...`
    pub from: Peer,
    /// `os ...`
    pub os: Vec<Spanned<String>>,
    /// `to ...`
    pub to: Peer,
    /// Everything after.
    pub options: FilterOptions,
    /// `-> ...`, or `nat-to`, `rdr-to`, `binat-to`, `af-to`.
    pub redirects: Vec<Redirect>,
}

impl Rule {
    /// A rule that matches everything.
    #[must_use]
    pub fn new(action: Spanned<Action>) -> Self {
        Self {
            span: action.span,
            action,
            anchor: AnchorCall::default(),
            direction: Direction::Any,
            log: None,
            quick: false,
            interfaces: Vec::new(),
            route: None,
            family: None,
            protocols: Vec::new(),
            from: Peer::default(),
            os: Vec::new(),
            to: Peer::default(),
            options: FilterOptions::default(),
            redirects: Vec::new(),
        }
    }
}

/// Where translated packets go.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// Which keyword.
    pub kind: RedirectKind,
    /// Addresses.
    pub hosts: Vec<Host>,
    /// Second pool of `af-to ... to ...`.
    pub to_hosts: Vec<Host>,
    /// First and last port, and whether `:*` was given; `None` without `port`.
    pub port: Option<PoolPort>,
    /// How an address is chosen.
    pub pool: Pool,
    /// Where.
    pub span: Span,
}

/// How a [`Redirect`] was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectKind {
    /// `->`
    Arrow,
    /// `nat-to`
    NatTo,
    /// `rdr-to`
    RdrTo,
    /// `binat-to`
    BinatTo,
    /// `af-to`, with the family.
    AfTo(Family),
}

/// `port a[:b|:*]` of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolPort {
    /// First port.
    pub a: u16,
    /// Last port; 0 = none given.
    pub b: u16,
    /// `:*`
    pub star: bool,
}

/// Pool options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// `bitmask`, `random`, `source-hash`, `round-robin`
    pub kind: Option<PoolKind>,
    /// `sticky-address`
    pub sticky: bool,
    /// `static-port`
    pub static_port: bool,
    /// `map-e-portset offset/length/id`
    pub map_e: Option<(u8, u8, u16)>,
}

/// How a pool's next address is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Network part replaced.
    Bitmask,
    /// At random.
    Random,
    /// By a hash of the source; the key's four words, `None` = a random key at each load.
    SourceHash(Option<[u32; 4]>),
    /// In turn.
    RoundRobin,
}

/// `route-to`, `reply-to`, `dup-to`
#[derive(Clone, Debug)]
pub struct Route {
    /// The keyword.
    pub kind: RouteKind,
    /// Interface and address, one for each of a list.
    pub hosts: Vec<RouteHost>,
    /// How one is chosen.
    pub pool: Pool,
    /// Where.
    pub span: Span,
}

/// The three routing keywords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// `route-to`
    RouteTo,
    /// `reply-to`
    ReplyTo,
    /// `dup-to`
    DupTo,
}

/// `(interface address)` or `interface`
#[derive(Clone, Debug)]
pub struct RouteHost {
    /// The interface; empty in OpenBSD's form, which gives an address alone.
    pub interface: String,
    /// The address.
    pub host: Option<Host>,
    /// Where.
    pub span: Span,
}

/// `user` and `group` tests: operator and ids; `u32::MAX` is `unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMatch {
    /// The operator.
    pub op: PortOp,
    /// First operand.
    pub a: u32,
    /// Second operand.
    pub b: u32,
}

/// ICMP type and code, and the protocol the keyword stood for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType {
    /// 1 or 58.
    pub protocol: u8,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: Option<u8>,
}

/// `no|keep|modulate|synproxy state`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// `no state`
    No,
    /// `keep state`
    Keep,
    /// `modulate state`
    Modulate,
    /// `synproxy state`
    Synproxy,
}

/// One of the options in parentheses after `state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateOption {
    /// `max n`
    Max(u32),
    /// `no-sync`
    NoSync,
    /// `source-track`; `Some(true)` = `rule`, `Some(false)` = `global`.
    SourceTrack(Option<bool>),
    /// `max-src-states n`
    MaxSrcStates(u32),
    /// `max-src-conn n`
    MaxSrcConn(u32),
    /// `max-src-conn-rate n/seconds`
    MaxSrcConnRate(u32, u32),
    /// `max-src-nodes n`
    MaxSrcNodes(u32),
    /// `overload <table> [flush [global]]`
    Overload {
        /// The table.
        table: String,
        /// `flush`
        flush: bool,
        /// `global`
        global: bool,
    },
    /// `if-bound` (true) or `floating`
    Bound(bool),
    /// `sloppy`
    Sloppy,
    /// `pflow`
    Pflow,
    /// A timeout and its seconds.
    Timeout(&'static str, u32),
}

/// `dnpipe`, `dnqueue`, macOS' `pipe`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipe {
    /// A queue, not a pipe.
    pub queue: bool,
    /// The number.
    pub number: u16,
    /// The number for the other direction; 0 = none.
    pub reverse: u16,
}

/// What follows `from ... to ...`.
#[derive(Clone, Debug, Default)]
pub struct FilterOptions {
    /// `user`
    pub user: Vec<Spanned<IdMatch>>,
    /// `group`
    pub group: Vec<Spanned<IdMatch>>,
    /// `flags set/mask`; `(0, 0)` = `any`.
    pub flags: Option<Spanned<(u8, u8)>>,
    /// `icmp-type`, `icmp6-type`
    pub icmp: Vec<Spanned<IcmpType>>,
    /// `tos`
    pub tos: Option<Spanned<u8>>,
    /// `keep state` and its kin.
    pub state: Option<Spanned<StateKind>>,
    /// Options in parentheses.
    pub state_options: Vec<Spanned<StateOption>>,
    /// `fragment`
    pub fragment: Option<Span>,
    /// `allow-opts`
    pub allow_opts: Option<Span>,
    /// `label`s
    pub labels: Vec<Spanned<String>>,
    /// `ridentifier`
    pub ridentifier: Option<u32>,
    /// `queue name` or `queue (name, name)`
    pub queue: Option<Spanned<(String, Option<String>)>>,
    /// `dnpipe` and its kin.
    pub pipe: Option<Spanned<Pipe>>,
    /// `tag`
    pub tag: Option<Spanned<String>>,
    /// `[!] tagged`
    pub tagged: Option<Spanned<(bool, String)>>,
    /// `probability`, as pf stores it: of 2^32.
    pub probability: Option<Spanned<u32>>,
    /// `rtable`
    pub rtable: Option<Spanned<u32>>,
    /// `prio`
    pub prio: Option<Spanned<u8>>,
    /// `set prio`
    pub set_prio: Option<Spanned<(u8, u8)>>,
    /// `divert-to port`
    pub divert: Option<Spanned<u16>>,
    /// `once`
    pub once: Option<Span>,
    /// `received-on interface`
    pub received_on: Option<Interface>,
    /// `max-pkt-rate n/seconds`
    pub max_pkt_rate: Option<Spanned<(u32, u32)>>,
    /// `scrub (...)` and the options of a `scrub` rule.
    pub scrub: ScrubOptions,
}

/// Normalisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubOptions {
    /// The place of `scrub (` or of the first option.
    pub span: Option<Span>,
    /// `no-df`
    pub no_df: bool,
    /// `random-id`
    pub random_id: bool,
    /// `min-ttl`
    pub min_ttl: Option<u8>,
    /// `max-mss`
    pub max_mss: Option<u16>,
    /// `set-tos`
    pub set_tos: Option<u8>,
    /// `reassemble tcp`
    pub reassemble_tcp: bool,
    /// `fragment ...`
    pub fragment: Option<FragmentPolicy>,
}

/// `fragment reassemble|crop|drop-ovl|no reassemble`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentPolicy {
    /// `reassemble`
    Reassemble,
    /// `no reassemble`
    NoReassemble,
    /// `crop`
    Crop,
    /// `drop-ovl`
    DropOverlap,
}

/// `antispoof [log] [quick] for interfaces [af] [label]`
#[derive(Clone, Debug)]
pub struct Antispoof {
    /// `log`
    pub log: Option<Log>,
    /// `quick`
    pub quick: bool,
    /// `for ...`
    pub interfaces: Vec<Interface>,
    /// `inet` or `inet6`
    pub family: Option<Spanned<Family>>,
    /// `label` and the like.
    pub options: FilterOptions,
    /// The whole statement.
    pub span: Span,
}

/// A MAC address and its mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mac {
    /// `!`
    pub negate: bool,
    /// The address.
    pub addr: [u8; 6],
    /// Bits that are compared.
    pub mask: [u8; 6],
}

/// `ether pass|block ...` and `ether anchor ...`
#[derive(Clone, Debug)]
pub struct EtherRule {
    /// The whole statement.
    pub span: Span,
    /// `pass` (true) or `block`.
    pub pass: bool,
    /// `Some` for `ether anchor`.
    pub anchor: Option<AnchorCall>,
    /// `in` or `out`
    pub direction: Direction,
    /// `quick`
    pub quick: bool,
    /// `on ...`
    pub interfaces: Vec<Interface>,
    /// `bridge-to interface`
    pub bridge_to: Option<Spanned<String>>,
    /// EtherTypes.
    pub protocols: Vec<Spanned<u16>>,
    /// Source MAC addresses; empty = any.
    pub from: Vec<Mac>,
    /// Destination MAC addresses.
    pub to: Vec<Mac>,
    /// `l3 from ... to ...`
    pub l3: Option<(Peer, Peer)>,
    /// `tag`, `label`, `queue`, `dnpipe`.
    pub options: FilterOptions,
}
