//! The text of rules.

use super::model::*;
use std::fmt::{self, Display, Formatter};

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
        if self.fragment {
            f.write_str(" fragment")?;
        }
        if let Some(percent) = self.probability {
            write!(f, " probability {percent}%")?;
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

impl Scrub {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Display for Scrub {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if self.no_df {
            f.write_str(" no-df")?;
        }
        if self.random_id {
            f.write_str(" random-id")?;
        }
        if self.min_ttl != 0 {
            write!(f, " min-ttl {}", self.min_ttl)?;
        }
        if self.max_mss != 0 {
            write!(f, " max-mss {}", self.max_mss)?;
        }
        if let Some(tos) = self.set_tos {
            write!(f, " set-tos {tos:#04x}")?;
        }
        Ok(())
    }
}

impl Display for Keep {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut options = Vec::new();
        if self.max != 0 {
            options.push(format!("max {}", self.max));
        }
        if let Some(track) = &self.track {
            options.push(format!("source-track {}", if track.global { "global" } else { "rule" }));
            for (word, number) in
                [("max-src-states", track.states), ("max-src-nodes", track.nodes), ("max-src-conn", track.connections)]
            {
                if number != 0 {
                    options.push(format!("{word} {number}"));
                }
            }
            if let Some(flush) = track.overload {
                let flush = match flush {
                    Flush::No => "",
                    Flush::Rule => " flush",
                    Flush::Global => " flush global",
                };
                options.push(format!("overload <{}>{flush}", TABLES[BAD]));
            }
        }
        if self.sloppy {
            options.push("sloppy".into());
        }
        if let Some((timeout, seconds)) = self.timeout {
            options.push(format!("{} {seconds}", TIMEOUTS[timeout].0));
        }
        if options.is_empty() { Ok(()) } else { write!(f, " keep state ({})", options.join(", ")) }
    }
}

impl Display for EtherRule {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(if self.block { "ether block" } else { "ether pass" })?;
        match self.dir {
            Some(Dir::In) => f.write_str(" in")?,
            Some(Dir::Out) => f.write_str(" out")?,
            None => {}
        }
        if self.quick {
            f.write_str(" quick")?;
        }
        if let Some(ethertype) = self.ethertype {
            write!(f, " proto {ethertype:#06x}")?;
        }
        for (word, mac) in ["from", "to"].iter().zip(self.macs) {
            if let Some((negate, last)) = mac {
                write!(f, " {word} {}02:00:00:00:00:{last:02x}", if negate { "! " } else { "" })?;
            }
        }
        if let Some(tag) = self.tag {
            write!(f, " tag {}", TAGS[tag])?;
        }
        f.write_str("\n")
    }
}

impl Display for ScrubRule {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(if self.no { "no scrub" } else { "scrub" })?;
        self.tests.head(f, true)?;
        if !self.no {
            write!(f, "{}", self.scrub)?;
            if !self.reassembles {
                f.write_str(" fragment no reassemble")?;
            }
        }
        f.write_str("\n")
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
                if rule.action == Action::Pass {
                    if rule.state {
                        write!(f, "{}", rule.keep)?;
                    } else {
                        f.write_str(" no state")?;
                    }
                }
                if !rule.scrub.is_empty() {
                    write!(f, " scrub ({})", rule.scrub)?;
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
        for (timeout, seconds) in &self.timeouts {
            writeln!(f, "set timeout {} {seconds}", TIMEOUTS[*timeout].0)?;
        }
        for (name, entries) in TABLES.iter().zip(&self.tables) {
            write!(f, "table <{name}> persist {{")?;
            for (negate, addr, len) in entries {
                write!(f, " {}{addr}/{len}", if *negate { "! " } else { "" })?;
            }
            f.write_str(" }\n")?;
        }
        self.ether.iter().try_for_each(|rule| write!(f, "{rule}"))?;
        self.scrubs.iter().try_for_each(|rule| write!(f, "{rule}"))?;
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
                match rule.or {
                    Some(or) => write!(f, " -> {{ {}, {or} }}", rule.to)?,
                    None => write!(f, " -> {}", rule.to)?,
                }
                match (rule.to_port, rule.ports) {
                    (Some(port), _) => write!(f, " port {port}")?,
                    (None, Some((low, high))) if (low, high) != NAT_PORTS => write!(f, " port {low}:{high}")?,
                    _ => {}
                }
                if rule.or.is_some() {
                    f.write_str(" round-robin")?;
                }
                if rule.kind == Kind::Nat && rule.ports.is_none() {
                    f.write_str(" static-port")?;
                }
            }
            f.write_str("\n")?;
        }
        self.filter.iter().try_for_each(|item| item.write(f, 0))
    }
}
