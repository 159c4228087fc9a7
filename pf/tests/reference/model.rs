//! Rules as a person would note them down.

use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Pass,
    Block,
    Match,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dir {
    In,
    Out,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Any,
    Prefix(IpAddr, u8),
    Range(IpAddr, IpAddr),
    Table(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub negate: bool,
    pub host: Host,
}

impl Address {
    pub const ANY: Self = Self { negate: false, host: Host::Any };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Equal(u16),
    Not(u16),
    Less(u16),
    LessOrEqual(u16),
    Greater(u16),
    GreaterOrEqual(u16),
    /// `a:b`, both counted.
    Span(u16, u16),
    /// `a >< b`, neither counted.
    Between(u16, u16),
    /// `a <> b`, outside of both.
    Outside(u16, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// Not written: S/SA for what keeps state.
    Default,
    Any,
    /// Set, out of.
    Of(u8, u8),
}

#[derive(Clone, Debug)]
pub struct Tests {
    pub dir: Option<Dir>,
    /// The interface, or not; false = another one.
    pub on: Option<(bool, bool)>,
    pub v6: Option<bool>,
    pub proto: Option<u8>,
    pub src: Address,
    pub src_port: Option<Port>,
    pub dst: Address,
    pub dst_port: Option<Port>,
    pub flags: Flags,
    pub icmp_type: Option<u8>,
    pub tos: Option<u8>,
    /// `tagged`: negated, which.
    pub tagged: Option<(bool, usize)>,
    /// `fragment`.
    pub fragment: bool,
    /// Per cent.
    pub probability: Option<u8>,
}

/// What a state is made with.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// `max`; 0 = any number.
    pub max: usize,
    pub track: Option<Track>,
    pub sloppy: bool,
    /// Of [`TIMEOUTS`], by number.
    pub timeout: Option<(usize, u32)>,
}

/// Limits for each source; 0 = none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Track {
    /// `source-track global`, which the last two do not go with.
    pub global: bool,
    pub states: usize,
    pub nodes: usize,
    pub connections: usize,
    /// `overload`, with `flush` or `flush global`.
    pub overload: Option<Flush>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    No,
    Rule,
    Global,
}

/// What is normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrub {
    pub no_df: bool,
    pub random_id: bool,
    pub min_ttl: u8,
    pub max_mss: u16,
    pub set_tos: Option<u8>,
}

/// A `scrub` rule: the first that matches.
#[derive(Clone, Debug)]
pub struct ScrubRule {
    pub no: bool,
    pub tests: Tests,
    pub scrub: Scrub,
    /// Not `fragment no reassemble`.
    pub reassembles: bool,
}

/// An `ether` rule.
#[derive(Clone, Debug)]
pub struct EtherRule {
    pub block: bool,
    pub dir: Option<Dir>,
    pub quick: bool,
    pub ethertype: Option<u16>,
    /// A station's last byte, or not: source, destination.
    pub macs: [Option<(bool, u8)>; 2],
    pub tag: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub action: Action,
    pub quick: bool,
    pub tests: Tests,
    pub tag: Option<usize>,
    /// `no state`, or `keep state` written or not.
    pub state: bool,
    pub keep: Keep,
    /// `scrub (...)`.
    pub scrub: Scrub,
    /// Tells it from the others.
    pub id: usize,
}

#[derive(Clone, Debug)]
pub enum Item {
    Rule(Rule),
    Anchor { quick: bool, tests: Tests, items: Vec<Item> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Source, leaving.
    Nat,
    /// Destination, arriving.
    Rdr,
    /// One address for another, both ways.
    Binat,
}

#[derive(Clone, Debug)]
pub struct Translation {
    pub kind: Kind,
    pub no: bool,
    /// `pass`: not filtered.
    pub pass: bool,
    pub tests: Tests,
    pub tag: Option<usize>,
    pub to: IpAddr,
    /// Of a pool: the other address.
    pub or: Option<IpAddr>,
    pub to_port: Option<u16>,
    /// Of `nat`: none = `static-port`.
    pub ports: Option<(u16, u16)>,
}

#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub timeouts: Vec<(usize, u32)>,
    pub ether: Vec<EtherRule>,
    pub scrubs: Vec<ScrubRule>,
    /// Prefixes, some negated. The last is the one that `overload` fills.
    pub tables: Vec<Vec<(bool, IpAddr, u8)>>,
    pub translations: Vec<Translation>,
    pub filter: Vec<Item>,
}

pub const INTERFACE: &str = "weir0";
pub const TAGS: [&str; 3] = ["RED", "GREEN", "BLUE"];
pub const TABLES: [&str; 4] = ["one", "two", "three", "bad"];
/// Where `overload` puts who is too eager.
pub const BAD: usize = 3;
/// Ports of `nat` that says none (pf.conf(5)).
pub const NAT_PORTS: (u16, u16) = (50001, 65535);

/// pf's timeouts and what they are if nobody says otherwise, seconds (pf.conf(5), pfvar.h).
pub const TIMEOUTS: [(&str, u32); 14] = [
    ("tcp.first", 120),
    ("tcp.opening", 30),
    ("tcp.established", 86400),
    ("tcp.closing", 900),
    ("tcp.finwait", 45),
    ("tcp.closed", 90),
    ("udp.first", 60),
    ("udp.single", 30),
    ("udp.multiple", 60),
    ("icmp.first", 20),
    ("icmp.error", 10),
    ("other.first", 60),
    ("other.single", 30),
    ("other.multiple", 60),
];
