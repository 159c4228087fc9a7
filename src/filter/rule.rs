//! A rule in the form that evaluation works on: one protocol, one source, one destination, one port test a side.
//!
//! This is what `weir-pf` produces by expansion (pf.conf(5): lists expand to one rule each), what the image
//! (`image.rs`) carries, and what every matcher must agree on. Numbers are host order; addresses are network order
//! bytes with IPv4 in the first four.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;
use bitflags::bitflags;

use super::{Answer, Pipe, Pool, Rate, Scrub, StateOptions};

/// What a matching rule says. Each list of rules has its own few ([`super::List::allows`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Action {
    /// Let the frame through.
    #[default]
    Pass = 0,
    /// Drop it.
    Block = 1,
    /// Change nothing about the verdict (OpenBSD's `match`).
    Match = 2,
    /// `scrub`: normalise by [`Rule::scrub`].
    Scrub = 3,
    /// `no scrub`.
    NoScrub = 4,
    /// `nat`, to [`Rule::nat`].
    Nat = 5,
    /// `no nat`.
    NoNat = 6,
    /// `binat`, to [`Rule::nat`].
    Binat = 7,
    /// `no binat`.
    NoBinat = 8,
    /// `rdr`, to [`Rule::rdr`].
    Rdr = 9,
    /// `no rdr`.
    NoRdr = 10,
    /// `dummynet`, through [`Rule::pipe`].
    Dummynet = 11,
    /// `no dummynet`.
    NoDummynet = 12,
    /// Calls the anchor of [`Rule::call`].
    Anchor = 13,
}

/// The side of the stack a rule looks at, seen from the host that runs the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Direction {
    /// No `in` or `out` given.
    #[default]
    Any = 0,
    /// From the wire to the stack.
    In = 1,
    /// From the stack to the wire.
    Out = 2,
}

/// `inet`, `inet6`, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Family {
    /// No address family given.
    #[default]
    Any = 0,
    /// `inet`.
    V4 = 4,
    /// `inet6`.
    V6 = 6,
}

bitflags! {
    /// Switches of a rule.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct RuleFlags: u32 {
        /// `quick`: evaluation ends here.
        const QUICK = 1 << 0;
        /// `log`: matching frames leave an event.
        const LOG = 1 << 1;
        /// `log (all)`: also frames that match a state of this rule.
        const LOG_ALL = 1 << 2;
        /// `on ! IFNAME`.
        const NOT_INTERFACE = 1 << 3;
        /// `log (matches)`: also every rule that matches after this one.
        const LOG_MATCHES = 1 << 4;
        /// `fragment`.
        const FRAGMENT = 1 << 5;
        /// `allow-opts`.
        const ALLOW_OPTS = 1 << 6;
        /// `once`: the first match takes the rule out.
        const ONCE = 1 << 7;
        /// `nat pass` and its kin: what is translated is not filtered.
        const TRANSLATE_PASS = 1 << 8;
        /// `! tagged`.
        const NOT_TAGGED = 1 << 9;
        /// `dup-to`: each packet, also those of states, is shown in the event ring.
        const DUP_TO = 1 << 10;
    }
}

/// An address test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct AddrMatch {
    /// Which test.
    pub kind: AddrKind,
    /// `!` before it.
    pub negate: bool,
    /// Prefix or first address of a range; IPv4 in the first four bytes, the rest zero.
    pub addr: [u8; 16],
    /// Prefix mask, or last address of a range.
    pub end: [u8; 16],
    /// Index into [`super::Ruleset::tables`] for [`AddrKind::Table`], into [`super::Ruleset::dynamics`] for
    /// [`AddrKind::Dynamic`].
    pub table: u32,
}

/// The kinds of [`AddrMatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum AddrKind {
    /// `any`.
    #[default]
    Any = 0,
    /// IPv4 address and mask.
    Mask4 = 1,
    /// IPv6 address and mask.
    Mask6 = 2,
    /// IPv4 `a - b`, inclusive.
    Range4 = 3,
    /// IPv6 `a - b`, inclusive.
    Range6 = 4,
    /// `<name>`.
    Table = 5,
    /// `(interface)`: the addresses it has when the packet comes.
    Dynamic = 6,
}

/// pf's port operators (pf.conf(5), `PORT`): also used for users of a `u16` test elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum PortOp {
    /// No port given.
    #[default]
    Any = 0,
    /// `= a`
    Eq = 1,
    /// `!= a`
    Ne = 2,
    /// `< a`
    Lt = 3,
    /// `<= a`
    Le = 4,
    /// `> a`
    Gt = 5,
    /// `>= a`
    Ge = 6,
    /// `a : b`, both ends included.
    Range = 7,
    /// `a >< b`, both ends excluded.
    Inside = 8,
    /// `a <> b`, outside, both ends excluded.
    Outside = 9,
}

/// A port test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct PortMatch {
    /// The operator.
    pub op: PortOp,
    /// First operand.
    pub a: u16,
    /// Second operand of the three two-sided operators.
    pub b: u16,
}

/// One side of `from .. to ..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Endpoint {
    /// Address test.
    pub addr: AddrMatch,
    /// Port test; TCP and UDP only.
    pub port: PortMatch,
}

/// `icmp-type T [code C]` or `icmp6-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IcmpMatch {
    /// ICMP or ICMPv6 type.
    pub kind: u8,
    /// Code, if given.
    pub code: Option<u8>,
}

/// `flags SET/OUT_OF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct TcpFlagsMatch {
    /// Bits that must be set.
    pub set: u8,
    /// Bits that are looked at; 0 = `flags any`.
    pub out_of: u8,
}

/// A MAC address test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct MacMatch {
    /// `!` before it.
    pub negate: bool,
    /// The address; bits outside the mask are zero.
    pub addr: [u8; 6],
    /// Bits that are compared; all zero = any.
    pub mask: [u8; 6],
}

/// What only a layer 2 rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct EtherMatch {
    /// EtherType behind the VLAN tags; 0 = every one.
    pub protocol: u16,
    /// Source MAC address.
    pub src: MacMatch,
    /// Destination MAC address.
    pub dst: MacMatch,
    /// Outermost VLAN id; `None` = tagged or not. 0 = priority-tagged or untagged (IEEE 802.1Q clause 9.6).
    pub vlan: Option<u16>,
}

/// An anchor that a rule calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// Index into [`super::Ruleset::anchors`].
    pub anchor: u32,
    /// `anchor "path/*"`: not the anchor itself, but those directly in it, in the order of their names.
    pub children: bool,
}

/// One rule of whatever list. What a list has no use for stands at its default.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rule {
    /// Verdict.
    pub action: Action,
    /// `in`, `out` or both.
    pub direction: Direction,
    /// Switches.
    pub flags: RuleFlags,
    /// `on IFNAME`; empty = every interface. Compared with the interface's name and, without digits, its group.
    pub interface: String,
    /// `inet` or `inet6`.
    pub family: Family,
    /// `proto`; `None` = every protocol.
    pub protocol: Option<u8>,
    /// `from`. In a layer 2 rule: `l3 from`.
    pub src: Endpoint,
    /// `to`. In a layer 2 rule: `l3 to`.
    pub dst: Endpoint,
    /// ICMP type and code.
    pub icmp: Option<IcmpMatch>,
    /// TCP flags.
    pub tcp_flags: TcpFlagsMatch,
    /// `tos`: the whole byte.
    pub tos: Option<u8>,
    /// `tagged`: 0 = not tested, else a number of [`super::Ruleset::tags`], which begin with 1.
    pub tagged: u16,
    /// `probability` of 2^32; 0 = always.
    pub probability: u32,
    /// `max-pkt-rate`.
    pub packet_rate: Option<Rate>,
    /// Layer 2 tests; exactly in the list of layer 2 rules.
    pub ether: Option<EtherMatch>,
    /// `anchor`; exactly with [`Action::Anchor`].
    pub call: Option<Call>,
    /// `tag`: 0 = none, else a number of [`super::Ruleset::tags`].
    pub tag: u16,
    /// What `block` answers.
    pub answer: Answer,
    /// What becomes of states.
    pub state: StateOptions,
    /// Normalisation: `scrub` rules and `scrub (...)`.
    pub scrub: Scrub,
    /// `nat`, `binat`, `nat-to`: new source of packets that go with the rule.
    pub nat: Option<Pool>,
    /// `rdr`, `rdr-to`: new destination of packets that go with the rule.
    pub rdr: Option<Pool>,
    /// `dummynet` rules, `dnpipe`, `dnqueue`.
    pub pipe: Option<Pipe>,
    /// `ridentifier`; 0 = none.
    pub ridentifier: u32,
    /// `label`s, with pf's macros already expanded.
    pub labels: Vec<String>,
    /// The rule in normal form, as `pfctl -nv` prints it, for people.
    pub text: String,
    /// Line in the source file, from 1; 0 = not from a file.
    pub line: u32,
}
