//! Rules: actions, anchors, routes, pools.

use super::{Direction, Family, FilterOptions, Host, Interface, Peer, Statement};
use crate::source::{Span, Spanned};

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
    /// `endpoint-independent`: a source keeps its translation towards every destination.
    pub endpoint_independent: bool,
    /// `prefer-ipv6-nexthop`: an IPv4 packet may be routed to an IPv6 neighbour.
    pub v6_nexthop: bool,
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
