//! Rules as a person would note them down, and their text.

use std::fmt::{self, Display, Formatter};
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
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub action: Action,
    pub quick: bool,
    pub tests: Tests,
    pub tag: Option<usize>,
    /// `no state`, or `keep state` written or not.
    pub state: bool,
}

#[derive(Clone, Debug)]
pub enum Item {
    Rule(Rule),
    Anchor { quick: bool, tests: Tests, items: Vec<Item> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Source, leaving; `static-port`.
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
    pub to_port: Option<u16>,
}

#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Prefixes, some negated.
    pub tables: Vec<Vec<(bool, IpAddr, u8)>>,
    pub translations: Vec<Translation>,
    pub filter: Vec<Item>,
}

pub const INTERFACE: &str = "weir0";
pub const TAGS: [&str; 3] = ["RED", "GREEN", "BLUE"];
const TABLES: [&str; 3] = ["one", "two", "three"];

impl Display for Address {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if self.negate {
            f.write_str("! ")?;
        }
        match &self.host {
            Host::Any => f.write_str("any"),
            Host::Prefix(addr, len) => write!(f, "{addr}/{len}"),
            Host::Range(a, b) => write!(f, "{a} - {b}"),
            Host::Table(index) => write!(f, "<{}>", TABLES[*index]),
        }
    }
}

impl Display for Port {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Equal(p) => write!(f, " port {p}"),
            Self::Not(p) => write!(f, " port != {p}"),
            Self::Less(p) => write!(f, " port < {p}"),
            Self::LessOrEqual(p) => write!(f, " port <= {p}"),
            Self::Greater(p) => write!(f, " port > {p}"),
            Self::GreaterOrEqual(p) => write!(f, " port >= {p}"),
            Self::Span(a, b) => write!(f, " port {a}:{b}"),
            Self::Between(a, b) => write!(f, " port {a} >< {b}"),
            Self::Outside(a, b) => write!(f, " port {a} <> {b}"),
        }
    }
}

/// pf's letters, FIN first.
fn letters(flags: u8) -> String {
    "FSRPAUEW".chars().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, letter)| letter).collect()
}

impl Tests {
    /// In front of the addresses.
    fn head(&self, f: &mut Formatter, dir: bool) -> fmt::Result {
        if dir {
            self.direction(f)?;
        }
        if let Some((negate, ours)) = self.on {
            write!(f, " on {}{}", if negate { "! " } else { "" }, if ours { INTERFACE } else { "other0" })?;
        }
        if let Some(v6) = self.v6 {
            f.write_str(if v6 { " inet6" } else { " inet" })?;
        }
        if let Some(proto) = self.proto {
            write!(f, " proto {proto}")?;
        }
        write!(f, " from {}", self.src)?;
        if let Some(port) = self.src_port {
            write!(f, "{port}")?;
        }
        write!(f, " to {}", self.dst)?;
        if let Some(port) = self.dst_port {
            write!(f, "{port}")?;
        }
        Ok(())
    }

    fn direction(&self, f: &mut Formatter) -> fmt::Result {
        match self.dir {
            Some(Dir::In) => f.write_str(" in"),
            Some(Dir::Out) => f.write_str(" out"),
            None => Ok(()),
        }
    }

    /// Behind them.
    fn tail(&self, f: &mut Formatter) -> fmt::Result {
        match self.flags {
            Flags::Default => {}
            Flags::Any => f.write_str(" flags any")?,
            Flags::Of(set, of) => write!(f, " flags {}/{}", letters(set), letters(of))?,
        }
        if let Some(kind) = self.icmp_type {
            let word = if self.proto == Some(58) { "icmp6-type" } else { "icmp-type" };
            write!(f, " {word} {kind}")?;
        }
        if let Some(tos) = self.tos {
            write!(f, " tos {tos:#04x}")?;
        }
        self.tagged(f)
    }

    fn tagged(&self, f: &mut Formatter) -> fmt::Result {
        if let Some((negate, tag)) = self.tagged {
            write!(f, "{} tagged {}", if negate { " !" } else { "" }, TAGS[tag])?;
        }
        Ok(())
    }
}

impl Item {
    fn write(&self, f: &mut Formatter, depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        match self {
            Self::Rule(rule) => {
                f.write_str(&indent)?;
                f.write_str(match rule.action {
                    Action::Pass => "pass",
                    Action::Block => "block",
                    Action::Match => "match",
                })?;
                rule.tests.direction(f)?;
                if rule.quick {
                    f.write_str(" quick")?;
                }
                rule.tests.head(f, false)?;
                rule.tests.tail(f)?;
                if let Some(tag) = rule.tag {
                    write!(f, " tag {}", TAGS[tag])?;
                }
                if rule.action == Action::Pass && !rule.state {
                    f.write_str(" no state")?;
                }
                f.write_str("\n")
            }
            Self::Anchor { quick, tests, items } => {
                write!(f, "{indent}anchor")?;
                tests.direction(f)?;
                if *quick {
                    f.write_str(" quick")?;
                }
                tests.head(f, false)?;
                tests.tail(f)?;
                f.write_str(" {\n")?;
                items.iter().try_for_each(|item| item.write(f, depth + 1))?;
                writeln!(f, "{indent}}}")
            }
        }
    }
}

impl Display for Rules {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        for (name, entries) in TABLES.iter().zip(&self.tables) {
            write!(f, "table <{name}> persist {{")?;
            for (negate, addr, len) in entries {
                write!(f, " {}{addr}/{len}", if *negate { "! " } else { "" })?;
            }
            f.write_str(" }\n")?;
        }
        for rule in &self.translations {
            let word = match rule.kind {
                Kind::Nat => "nat",
                Kind::Rdr => "rdr",
                Kind::Binat => "binat",
            };
            write!(f, "{}{word}{}", if rule.no { "no " } else { "" }, if rule.pass { " pass" } else { "" })?;
            rule.tests.head(f, false)?;
            if let Some(tag) = rule.tag {
                write!(f, " tag {}", TAGS[tag])?;
            }
            rule.tests.tagged(f)?;
            if !rule.no {
                write!(f, " -> {}", rule.to)?;
                if let Some(port) = rule.to_port {
                    write!(f, " port {port}")?;
                }
                if rule.kind == Kind::Nat {
                    f.write_str(" static-port")?;
                }
            }
            f.write_str("\n")?;
        }
        self.filter.iter().try_for_each(|item| item.write(f, 0))
    }
}
