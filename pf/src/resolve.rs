//! Names to addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ast::{Family, Host, HostKind, Modifiers};
use crate::diag::Sink;
use crate::flat::{Addr, FlatHost};
use crate::resolver::{InterfaceAddress, Resolver};
use crate::source::Span;
use crate::suggest::did_you_mean;

/// Looks names up, interfaces once for the whole load.
pub struct Lookup<'a> {
    resolver: &'a dyn Resolver,
    interfaces: Vec<InterfaceAddress>,
    /// Host names that were looked up, with their addresses, for the report.
    pub resolved: Vec<(String, Vec<IpAddr>)>,
}

/// The family of an address.
#[must_use]
pub fn family_of(addr: &IpAddr) -> Family {
    match addr {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// Clears the bits after a prefix; a length past the address' end keeps all of it.
#[must_use]
pub fn mask(addr: IpAddr, len: u8) -> IpAddr {
    match addr {
        IpAddr::V4(a) => {
            let keep = u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0);
            Ipv4Addr::from(u32::from(a) & keep).into()
        }
        IpAddr::V6(a) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0);
            Ipv6Addr::from(u128::from(a) & keep).into()
        }
    }
}

fn bits(addr: &IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Whether an interface is the named one or in the group of that name: `en` is the group of `en0` and `en1`.
#[must_use]
pub fn interface_matches(interface: &str, name: &str) -> bool {
    if interface == name {
        return true;
    }
    let Some(rest) = interface.strip_prefix(name) else {
        return false;
    };
    !name.ends_with(|c: char| c.is_ascii_digit()) && rest.starts_with(|c: char| c.is_ascii_digit())
}

impl<'a> Lookup<'a> {
    /// Asks for the interfaces, nothing else yet.
    pub fn new(resolver: &'a dyn Resolver) -> Self {
        Self { interfaces: resolver.interfaces(), resolver, resolved: Vec::new() }
    }

    /// The resolver.
    #[must_use]
    pub fn resolver(&self) -> &'a dyn Resolver {
        self.resolver
    }

    /// Whether an interface is a loopback.
    #[must_use]
    pub fn is_loopback(&self, name: &str) -> bool {
        self.interfaces.iter().any(|a| a.interface == name && a.loopback)
    }

    /// Every address a host stands for; problems are reported and give an empty list.
    pub fn host(&mut self, host: &Host, sink: &mut Sink) -> Vec<FlatHost> {
        let negate = host.negate;
        let plain = |addr| vec![FlatHost { negate, addr, family: None, scope: None }];
        match &host.kind {
            HostKind::Any => plain(Addr::Any),
            HostKind::NoRoute => plain(Addr::NoRoute),
            HostKind::UrpfFailed => plain(Addr::UrpfFailed),
            HostKind::RouteLabel(label) => plain(Addr::RouteLabel(label.clone())),
            HostKind::Table(name) => plain(Addr::Table(name.clone())),
            HostKind::Dynamic { interface, modifiers, len } => {
                plain(Addr::Dynamic { interface: interface.clone(), modifiers: *modifiers, len: *len })
            }
            HostKind::Range(a, b) => self.range(a, b, host, sink),
            HostKind::Name { text, len } => {
                self.name(text, *len, host.span, sink).into_iter().map(|found| FlatHost { negate, ..found }).collect()
            }
        }
    }

    fn range(&mut self, a: &str, b: &str, host: &Host, sink: &mut Sink) -> Vec<FlatHost> {
        let before = sink.error_count();
        let first = self.name(a, None, host.span, sink);
        let last = self.name(b, None, host.span, sink);
        let ends = match (first.as_slice(), last.as_slice()) {
            (
                [FlatHost { addr: Addr::Prefix { addr: a, len: la }, .. }],
                [FlatHost { addr: Addr::Prefix { addr: b, len: lb }, .. }],
            ) if a.is_ipv4() == b.is_ipv4() && *la == bits(a) && *lb == bits(b) => (*a, *b),
            _ => {
                if sink.error_count() == before {
                    sink.error(host.span, "invalid address range")
                        .hint("both ends must be single addresses of one family");
                }
                return Vec::new();
            }
        };
        if ends.1 < ends.0 {
            sink.error(host.span, format!("the range {} - {} is empty", ends.0, ends.1))
                .hint(format!("did you mean {} - {}?", ends.1, ends.0));
            return Vec::new();
        }
        vec![FlatHost {
            negate: host.negate,
            addr: Addr::Range(ends.0, ends.1),
            family: Some(family_of(&ends.0)),
            scope: None,
        }]
    }

    fn prefix(addr: IpAddr, len: u8, scope: Option<String>) -> FlatHost {
        FlatHost {
            negate: false,
            family: Some(family_of(&addr)),
            addr: Addr::Prefix { addr: mask(addr, len), len },
            scope,
        }
    }

    /// An address, an interface, or a host's name.
    pub fn name(&mut self, text: &str, len: Option<i64>, span: Span, sink: &mut Sink) -> Vec<FlatHost> {
        let wanted = match len {
            None => None,
            Some(len) => match u8::try_from(len).ok().filter(|l| *l <= 128) {
                Some(len) => Some(len),
                None => {
                    sink.error(span, format!("/{len} is not the length of a prefix"))
                        .hint("0 to 32 bits for IPv4, 0 to 128 for IPv6");
                    return Vec::new();
                }
            },
        };
        let v4 = match wanted {
            Some(_) => short_v4(text),
            None => text.parse::<Ipv4Addr>().ok(),
        };
        if let Some(addr) = v4 {
            let len = wanted.unwrap_or(32);
            if len > 32 {
                sink.error(span, format!("netmask {len} invalid for IPv4 address"))
                    .hint("an IPv4 prefix has 0 to 32 bits");
                return Vec::new();
            }
            return vec![Self::prefix(addr.into(), len, None)];
        }
        let (address, scope) = match text.split_once('%') {
            Some((address, scope)) => (address, Some(scope.to_owned())),
            None => (text, None),
        };
        if let Ok(addr) = address.parse::<Ipv6Addr>() {
            return vec![Self::prefix(addr.into(), wanted.unwrap_or(128), scope)];
        }
        if let Some(found) = self.interface(text, wanted, span, sink) {
            return found;
        }
        self.dns(text, wanted, span, sink)
    }

    /// Addresses of an interface, with `:network` and the like; `None` if there is no such interface.
    fn interface(&mut self, text: &str, len: Option<u8>, span: Span, sink: &mut Sink) -> Option<Vec<FlatHost>> {
        let mut parts = text.split(':');
        let name = parts.next()?;
        let mut modifiers = Modifiers::default();
        for part in parts {
            match part {
                "network" => modifiers.network = true,
                "broadcast" => modifiers.broadcast = true,
                "peer" => modifiers.peer = true,
                "0" => modifiers.no_alias = true,
                _ => return None,
            }
        }
        if u8::from(modifiers.network) + u8::from(modifiers.broadcast) + u8::from(modifiers.peer) > 1 {
            sink.error(span, "illegal combination of interface modifiers");
            return Some(Vec::new());
        }
        if name != "self" && !self.interfaces.iter().any(|a| interface_matches(&a.interface, name)) {
            let modified = text.contains(':');
            let found = match modified || looks_like_interface(name) {
                true => self.resolver.stand_in(name),
                false => Vec::new(),
            };
            if found.is_empty() {
                return None;
            }
            self.resolved.push((name.to_owned(), found.iter().map(|a| a.addr).collect()));
            self.interfaces.extend(found);
        }
        if len.is_some() && (modifiers.network || modifiers.broadcast) {
            sink.error(span, "network or broadcast lookup, but extra netmask given");
            return Some(Vec::new());
        }
        let found = self.interface_addresses(name, modifiers, len);
        if found.is_empty() {
            sink.error(span, format!("no IP address found for {text}"));
        }
        Some(found)
    }

    /// Addresses of an interface, a group or `self`.
    #[must_use]
    pub fn interface_addresses(&self, name: &str, modifiers: Modifiers, len: Option<u8>) -> Vec<FlatHost> {
        let mut out = Vec::new();
        let mut last = "";
        let (mut got4, mut got6) = (false, false);
        for found in &self.interfaces {
            if name != "self" && !interface_matches(&found.interface, name) {
                continue;
            }
            let scope = found.is_link_local().then(|| found.interface.clone());
            let v4 = found.addr.is_ipv4();
            let other = match (modifiers.broadcast, modifiers.peer) {
                (true, _) => found.broadcast.filter(|_| v4).map(Some),
                (_, true) => found.peer.map(Some),
                _ => Some(None),
            };
            let Some(other) = other else { continue };
            if modifiers.network && scope.is_some() {
                continue;
            }
            if last != found.interface {
                (got4, got6) = (false, false);
                last = &found.interface;
            }
            if modifiers.no_alias && ((v4 && got4) || (!v4 && (got6 || scope.is_some()))) {
                continue;
            }
            if v4 {
                got4 = true;
            } else {
                got6 = true;
            }
            let addr = other.unwrap_or(found.addr);
            let own = if modifiers.network { found.len } else { bits(&addr) };
            out.push(Self::prefix(addr, len.unwrap_or(own), scope));
        }
        out
    }

    fn dns(&mut self, text: &str, len: Option<u8>, span: Span, sink: &mut Sink) -> Vec<FlatHost> {
        let (name, no_alias) = match text.strip_suffix(":0") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let known = self.resolved.iter().find(|(n, _)| n == name).map(|(_, a)| a.clone());
        let found = match known {
            Some(addrs) => Ok(addrs),
            None if looks_like_name(name) => self.resolver.host(name),
            None => Err(String::new()),
        };
        let addrs = match found {
            Ok(addrs) => addrs,
            Err(reason) => {
                let problem = if reason.is_empty() {
                    sink.error(span, format!("`{text}` is not an address or the name of a host"))
                } else {
                    sink.error(span, format!("no IP address found for `{text}`: {reason}"))
                };
                problem.maybe_hint(address_hint(text).or_else(|| did_you_mean(text, WORDS_OF_HOSTS.iter().copied())));
                return Vec::new();
            }
        };
        if !self.resolved.iter().any(|(n, _)| n == name) {
            self.resolved.push((name.to_owned(), addrs.clone()));
        }
        let (mut got4, mut got6) = (false, false);
        let mut out = Vec::new();
        for addr in addrs {
            let got = if addr.is_ipv4() { &mut got4 } else { &mut got6 };
            if no_alias && *got {
                continue;
            }
            *got = true;
            if let Some(len) = len.filter(|len| *len > bits(&addr)) {
                sink.error(span, format!("netmask {len} invalid for IPv4 address"));
                return Vec::new();
            }
            out.push(Self::prefix(addr, len.unwrap_or(bits(&addr)), None));
        }
        out
    }
}

/// Letters, then a number, as in `em0` and `vlan10`.
fn looks_like_interface(text: &str) -> bool {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    digits.len() < text.len() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn looks_like_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let numeric = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-'));
    !text.is_empty() && text.len() <= 253 && text.chars().all(allowed) && !numeric
}

/// What may stand where a host does, or follow what stands before one.
const WORDS_OF_HOSTS: [&str; 7] = ["port", "any", "self", "no-route", "urpf-failed", "from", "to"];

fn address_hint(text: &str) -> Option<String> {
    if let Some((a, b)) = text.split_once('-')
        && a.parse::<IpAddr>().is_ok()
        && b.parse::<IpAddr>().is_ok()
    {
        return Some(format!("a range needs spaces around the dash: {a} - {b}"));
    }
    let dotted = text.contains('.') && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if dotted {
        let parts: Vec<&str> = text.split('.').collect();
        if parts.len() != 4 {
            return Some(format!("an IPv4 address has four parts, this has {}", parts.len()));
        }
        if let Some(part) = parts.iter().find(|p| p.parse::<u8>().is_err()) {
            return Some(format!("each part of an IPv4 address is 0 to 255, this has `{part}`"));
        }
    }
    let modified = [":network", ":broadcast", ":peer", ":0"].iter().any(|m| text.ends_with(m));
    if modified && text.matches(':').count() <= 2 {
        let name = text.split(':').next().unwrap_or(text);
        return Some(format!("there is no interface {name}; write ({text}) to look it up later"));
    }
    if text.matches(':').count() > 1 {
        return Some("an IPv6 address has eight groups of four hexadecimal digits, or one `::`".to_owned());
    }
    let simple = !text.contains('.') && text.ends_with(|c: char| c.is_ascii_digit());
    simple
        .then(|| format!("if `{text}` is an interface that does not exist yet, write ({text}): it is looked up later"))
}

/// An IPv4 network of one to four parts, as in `10/8`.
fn short_v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    for (at, part) in text.split('.').enumerate() {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        *octets.get_mut(at)? = part.parse().ok().filter(|_| digits)?;
    }
    Some(octets.into())
}
