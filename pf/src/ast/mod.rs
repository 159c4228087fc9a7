//! What a file says, in the order it says it, with the place of everything that may be complained about.
//!
//! Nothing is resolved here: host and service names are still names, lists are still lists.

mod options;
mod queue;
mod rule;

use std::rc::Rc;

pub use options::*;
pub use queue::*;
pub use rule::*;
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
    /// `altq ...` and `queue ...`
    Queue(Box<Queue>),
    /// `state limiter ...` and `source limiter ...`
    Limiter(Box<Limiter>),
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
            Self::Queue(queue) => queue.span,
            Self::Limiter(limiter) => limiter.span,
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
    /// `vlan ...`: ids of the outermost tag, 0 = none.
    pub vlans: Vec<Spanned<u16>>,
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
