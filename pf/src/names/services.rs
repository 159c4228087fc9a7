//! Services by name: a built-in list, so that a file means the same on every machine.
//!
//! `services.txt` has a line for each name: name, port, protocols (IANA service-names-port-numbers, in the spelling of
//! BSD's /etc/services where that differs), and `alias` for a name that is read but not printed.

use std::sync::OnceLock;

use super::protocols::TCP;

struct Service {
    name: &'static str,
    port: u16,
    tcp: bool,
    udp: bool,
    alias: bool,
}

fn services() -> &'static [Service] {
    static SERVICES: OnceLock<Vec<Service>> = OnceLock::new();
    SERVICES.get_or_init(|| {
        let lines = include_str!("services.txt").lines();
        lines
            .filter_map(|line| {
                let mut fields = line.split(' ');
                let (name, port) = (fields.next()?, fields.next()?.parse().ok()?);
                let protocols = fields.next()?;
                Some(Service {
                    name,
                    port,
                    tcp: protocols.contains("tcp"),
                    udp: protocols.contains("udp"),
                    alias: fields.next().is_some(),
                })
            })
            .collect()
    })
}

/// The port of a name: TCP's if there are two, as pfctl looks it up.
#[must_use]
pub fn port(name: &str) -> Option<u16> {
    let all = services();
    let of = |tcp: bool| all.iter().find(|s| s.name == name && if tcp { s.tcp } else { s.udp });
    of(true).or_else(|| of(false)).map(|s| s.port)
}

/// The name of a port; pfctl takes UDP's for every protocol but TCP. A name that stands for several ports names only the
/// one that [`port`] finds, so that what is printed reads as what it was.
#[must_use]
pub fn name(number: u16, protocol: u8) -> Option<&'static str> {
    let tcp = protocol == TCP;
    services()
        .iter()
        .find(|s| !s.alias && s.port == number && if tcp { s.tcp } else { s.udp })
        .map(|s| s.name)
        .filter(|name| port(name) == Some(number))
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    services().iter().map(|s| s.name)
}
