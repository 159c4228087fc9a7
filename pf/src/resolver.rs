//! What a load asks the machine: host names, interfaces, services, accounts, files.
//!
//! It is a trait so that a load gives the same result in a test and on any machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface, with its number.
    pub interface: String,
    /// The address.
    pub addr: IpAddr,
    /// Length of its network's prefix, in bits.
    pub len: u8,
    /// Broadcast address.
    pub broadcast: Option<IpAddr>,
    /// The far end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// Its interface is a loopback.
    pub loopback: bool,
}

impl InterfaceAddress {
    /// Whether the address means something on its own link only.
    #[must_use]
    pub fn is_link_local(&self) -> bool {
        matches!(self.addr, IpAddr::V6(a) if a.is_unicast_link_local())
    }
}

/// Answers the questions of a load.
pub trait Resolver {
    /// Addresses of a host name, IPv4 and IPv6, in the order they are to be used; the error is a reason for people.
    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String>;

    /// Every address of every interface, each interface's addresses together.
    fn interfaces(&self) -> Vec<InterfaceAddress>;

    /// What stands for an interface that is not there: nothing, unless a file of another machine is to be read.
    fn stand_in(&self, _: &str) -> Vec<InterfaceAddress> {
        Vec::new()
    }

    /// A service that the built-in list does not know: its port.
    fn service(&self, name: &str) -> Option<u16>;

    /// What stands for a service that nobody knows: nothing, unless a file of another machine is to be read.
    fn stand_in_service(&self, _: &str) -> Option<u16> {
        None
    }

    /// A user's id, if the built-in list does not know it.
    fn user(&self, name: &str) -> Option<u32>;

    /// A group's id, if the built-in list does not know it.
    fn group(&self, name: &str) -> Option<u32>;

    /// The text of a file that is included or that a table is loaded from.
    fn read(&self, path: &str) -> Result<String, String>;
}

/// The loopback interface every Mac and BSD has: `::1`, `fe80::1` and `127.0.0.1`, in the order BSD lists them.
#[must_use]
pub fn loopback() -> Vec<InterfaceAddress> {
    let one = |addr: IpAddr, len| InterfaceAddress {
        interface: "lo0".to_owned(),
        addr,
        len,
        broadcast: None,
        peer: None,
        loopback: true,
    };
    vec![
        one(Ipv6Addr::LOCALHOST.into(), 128),
        one(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(), 64),
        one(Ipv4Addr::LOCALHOST.into(), 8),
    ]
}

/// A resolver that knows `localhost` and `lo0` and nothing else: for tests, and for checks that must not depend on the
/// machine they run on.
#[derive(Clone, Debug, Default)]
pub struct Isolated {
    /// More interfaces' addresses.
    pub interfaces: Vec<InterfaceAddress>,
    /// Host names and their addresses.
    pub hosts: Vec<(String, Vec<IpAddr>)>,
    /// Files by path.
    pub files: Vec<(String, String)>,
}

impl Resolver for Isolated {
    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        if let Some((_, addrs)) = self.hosts.iter().find(|(host, _)| host == name) {
            return Ok(addrs.clone());
        }
        match name {
            "localhost" => Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
            _ => Err("no such host".to_owned()),
        }
    }

    fn interfaces(&self) -> Vec<InterfaceAddress> {
        let mut all = loopback();
        all.extend(self.interfaces.iter().cloned());
        all
    }

    fn service(&self, _: &str) -> Option<u16> {
        None
    }

    fn user(&self, _: &str) -> Option<u32> {
        None
    }

    fn group(&self, _: &str) -> Option<u32> {
        None
    }

    fn read(&self, path: &str) -> Result<String, String> {
        let found = self.files.iter().find(|(name, _)| name == path);
        found.map(|(_, text)| text.clone()).ok_or_else(|| "no such file".to_owned())
    }
}

/// The machine this runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// The second or a later field of a line whose first field is `name`, as in /etc/passwd.
fn field(path: &str, name: &str, index: usize) -> Option<u32> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))
        .and_then(|fields| fields.get(index)?.parse().ok())
}

impl Resolver for System {
    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        use std::net::ToSocketAddrs;
        let found = (name, 0u16).to_socket_addrs().map_err(|error| error.to_string())?;
        let mut addrs: Vec<IpAddr> = Vec::new();
        for addr in found {
            if !addrs.contains(&addr.ip()) {
                addrs.push(addr.ip());
            }
        }
        if addrs.is_empty() {
            return Err("it has no address".to_owned());
        }
        Ok(addrs)
    }

    fn interfaces(&self) -> Vec<InterfaceAddress> {
        let mut all: Vec<InterfaceAddress> = Vec::new();
        for found in if_addrs::get_if_addrs().unwrap_or_default() {
            let loopback = found.is_loopback();
            let (len, broadcast) = match &found.addr {
                if_addrs::IfAddr::V4(v4) => (v4.prefixlen, v4.broadcast.map(IpAddr::V4)),
                if_addrs::IfAddr::V6(v6) => (v6.prefixlen, None),
            };
            all.push(InterfaceAddress {
                addr: found.ip(),
                interface: found.name,
                len,
                broadcast,
                peer: None,
                loopback,
            });
        }
        if !all.iter().any(|a| a.interface == "lo0") {
            all.extend(loopback());
        }
        all.sort_by(|a, b| a.interface.cmp(&b.interface));
        all
    }

    fn service(&self, name: &str) -> Option<u16> {
        let text = std::fs::read_to_string("/etc/services").ok()?;
        let mut found = None;
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or("");
            let mut fields = line.split_whitespace();
            let (Some(first), Some(port)) = (fields.next(), fields.next()) else {
                continue;
            };
            if first != name && !fields.any(|alias| alias == name) {
                continue;
            }
            match port.split_once('/') {
                Some((number, "tcp")) => return number.parse().ok(),
                Some((number, "udp")) if found.is_none() => found = number.parse().ok(),
                _ => {}
            }
        }
        found
    }

    fn user(&self, name: &str) -> Option<u32> {
        field("/etc/passwd", name, 2)
    }

    fn group(&self, name: &str) -> Option<u32> {
        field("/etc/group", name, 2)
    }

    fn read(&self, path: &str) -> Result<String, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
