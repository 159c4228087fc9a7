//! Addresses, ports, pools.

use std::net::IpAddr;

use weir_core::filter::{AddrKind, AddrMatch, Dynamic, DynamicKind, Endpoint, Pool, PoolKind, PortMatch};

use super::Compiler;
use crate::ast::{self, Modifiers, Port};
use crate::flat::{Addr, FlatHost, FlatPool};
use crate::source::Span;

pub(super) fn octets(addr: &IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(a) => {
            let mut out = [0; 16];
            out[..4].copy_from_slice(&a.octets());
            out
        }
        IpAddr::V6(a) => a.octets(),
    }
}

/// The bytes of a mask of so many bits.
fn mask(len: u8) -> [u8; 16] {
    u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0).to_be_bytes()
}

impl Compiler<'_> {
    pub(super) fn address(&mut self, host: &FlatHost, path: &str, span: Span) -> AddrMatch {
        let mut out = AddrMatch { negate: host.negate, ..AddrMatch::default() };
        match &host.addr {
            Addr::Prefix { addr, len } => {
                out.kind = match addr {
                    IpAddr::V4(_) => AddrKind::Mask4,
                    IpAddr::V6(_) => AddrKind::Mask6,
                };
                out.addr = octets(addr);
                out.end = mask(*len);
                if addr.is_ipv4() {
                    out.end[4..].fill(0);
                }
            }
            Addr::Range(a, b) => {
                out.kind = match a {
                    IpAddr::V4(_) => AddrKind::Range4,
                    IpAddr::V6(_) => AddrKind::Range6,
                };
                out.addr = octets(a);
                out.end = octets(b);
            }
            Addr::Table(name) => {
                out.kind = AddrKind::Table;
                out.table = self.table_index(name, path, span);
            }
            Addr::Dynamic { interface, modifiers, len } => {
                out.kind = AddrKind::Dynamic;
                out.table = self.dynamic_index(interface, *modifiers, *len);
            }
            // Refused before, or left out by a lenient load together with its rule.
            Addr::Any | Addr::NoRoute | Addr::UrpfFailed | Addr::RouteLabel(_) => {}
        }
        out
    }

    fn dynamic_index(&mut self, interface: &str, modifiers: Modifiers, len: Option<u8>) -> u32 {
        let which = match modifiers {
            Modifiers { network: true, .. } => DynamicKind::Network,
            Modifiers { broadcast: true, .. } => DynamicKind::Broadcast,
            Modifiers { peer: true, .. } => DynamicKind::Peer,
            _ => DynamicKind::Own,
        };
        let new = Dynamic { interface: interface.to_owned(), which, no_alias: modifiers.no_alias, len };
        let dynamics = &mut self.ruleset.dynamics;
        let found = dynamics.iter().position(|known| *known == new);
        let index = found.unwrap_or_else(|| {
            dynamics.push(new);
            dynamics.len() - 1
        });
        index as u32
    }

    pub(super) fn endpoint(&mut self, host: &FlatHost, port: Option<Port>, path: &str, span: Span) -> Endpoint {
        Endpoint {
            addr: self.address(host, path, span),
            port: port.map_or(PortMatch::default(), |p| PortMatch { op: p.op, a: p.a, b: p.b }),
        }
    }

    pub(super) fn pool(&mut self, pool: &FlatPool, path: &str, span: Span) -> Pool {
        let (kind, key) = match &pool.pool.kind {
            None => (PoolKind::None, None),
            Some(ast::PoolKind::Bitmask) => (PoolKind::Bitmask, None),
            Some(ast::PoolKind::Random) => (PoolKind::Random, None),
            Some(ast::PoolKind::RoundRobin) => (PoolKind::RoundRobin, None),
            Some(ast::PoolKind::SourceHash(key)) => (PoolKind::SourceHash, *key),
        };
        Pool {
            kind,
            sticky: pool.pool.sticky,
            static_port: pool.pool.static_port,
            key,
            ports: pool.ports,
            hosts: pool.hosts.iter().map(|host| self.address(host, path, span)).collect(),
        }
    }
}
