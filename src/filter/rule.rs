//! A rule in the form that evaluation works on: one protocol, one source, one destination, one port test a side.
//!
//! This is what `weir-pf` produces by expansion (pf.conf(5): lists expand to one rule each), what the image
//! (`image.rs`) carries, and what every matcher must agree on. Numbers are host order; addresses are network order
//! bytes with IPv4 in the first four.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;
use bitflags::bitflags;

/// What a matching rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    /// Let the frame through.
    Pass = 0,
    /// Drop it.
    Block = 1,
    /// Change nothing about the verdict (OpenBSD's `match`).
    Match = 2,
}

/// The side of the stack a rule looks at, seen from the host that runs the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// No `in` or `out` given.
    Any = 0,
    /// From the wire to the stack.
    In = 1,
    /// From the stack to the wire.
    Out = 2,
}

/// `inet`, `inet6`, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    /// No address family given.
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
        /// A layer 2 rule (FreeBSD's `ether`); it sees every frame, the others see IP only.
        const ETHER = 1 << 4;
        /// `fragment`.
        const FRAGMENT = 1 << 5;
        /// `allow-opts`.
        const ALLOW_OPTS = 1 << 6;
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
    /// Index into [`Ruleset::tables`] for [`AddrKind::Table`].
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

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// `from`.
    pub src: Endpoint,
    /// `to`.
    pub dst: Endpoint,
    /// ICMP type and code.
    pub icmp: Option<IcmpMatch>,
    /// TCP flags.
    pub tcp_flags: TcpFlagsMatch,
    /// `label`, with pf's macros already expanded; empty = none.
    pub label: String,
    /// The rule in normal form, as `pfctl -nv` prints it, for people.
    pub text: String,
    /// Line in the source file, from 1; 0 = not from a file.
    pub line: u32,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Name, without `<>`; at most 31 bytes (pfvar.h PF_TABLE_NAME_SIZE).
    pub name: String,
    /// Contents, in any order, without duplicates.
    pub entries: Vec<TableEntry>,
}

/// What a load replaces as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// In the order of evaluation.
    pub rules: Vec<Rule>,
    /// Tables that rules refer to by index.
    pub tables: Vec<Table>,
}
