//! Addresses and ports of pools (`pf_map_addr`, `pf_get_sport`).
#![forbid(unsafe_code)]

use super::judge::Help;
use super::{Recorder, STEER_SEED};
use crate::filter::{AddrKind, AddrMatch, Family, Pool, PoolKind, Rule, RuleLife, Subject};
use crate::flow::state::Way;
use crate::flow::{FlowKey, Secret};
use crate::wire::{self, Parsed, ParsedFlags};

/// Ports of `nat` without `port` (pf.conf(5), "static-port").
const NAT_PORTS: (u16, u16) = (50001, 65535);
/// Ports tried with one address.
const TRIES: u32 = 1024;
/// Addresses tried.
const ADDRESSES: u32 = 8;

/// A span of addresses of a pool, as numbers whose upper bits are the address.
#[derive(Clone, Copy)]
struct Span {
    first: u128,
    last: u128,
}

const fn bits(family: Family) -> u32 {
    match family {
        Family::V4 => 32,
        Family::V6 | Family::Any => 128,
    }
}

/// The bits of such a number that an address of the family has.
fn mask_of(family: Family) -> u128 {
    u128::MAX.checked_shl(128u32.saturating_sub(bits(family))).unwrap_or(0)
}

impl Span {
    fn len(self, family: Family) -> u128 {
        let width = 128u32.saturating_sub(bits(family));
        self.last.wrapping_sub(self.first).checked_shr(width).unwrap_or(0).saturating_add(1)
    }

    fn nth(self, family: Family, n: u128) -> [u8; 16] {
        let width = 128u32.saturating_sub(bits(family));
        self.first.wrapping_add(n.checked_shl(width).unwrap_or(0)).to_be_bytes()
    }

    /// The network of the span, the host of an address.
    fn host_by_host(self, addr: &[u8; 16]) -> [u8; 16] {
        let hosts = self.last ^ self.first;
        (self.first | (u128::from_be_bytes(*addr) & hosts)).to_be_bytes()
    }
}

impl<R: Recorder> Help<'_, R> {
    /// Spans of a pool in one family, in order, until `each` has had enough.
    fn spans(&self, pool: &Pool, family: Family, mut each: impl FnMut(Span) -> bool) {
        let _ = pool.hosts.iter().any(|host| self.host_spans(host, family, &mut each));
    }

    /// True when `each` has had enough.
    fn host_spans(&self, host: &AddrMatch, family: Family, each: &mut dyn FnMut(Span) -> bool) -> bool {
        let (addr, end) = (u128::from_be_bytes(host.addr), u128::from_be_bytes(host.end));
        match (host.kind, family) {
            (AddrKind::Mask4, Family::V4) | (AddrKind::Mask6, Family::V6) => {
                each(Span { first: addr, last: addr | (!end & mask_of(family)) })
            }
            (AddrKind::Range4, Family::V4) | (AddrKind::Range6, Family::V6) => each(Span { first: addr, last: end }),
            (AddrKind::Table | AddrKind::Dynamic, _) => {
                let contents = if host.kind == AddrKind::Table {
                    self.bound.table(host.table)
                } else {
                    self.bound.dynamic(host.table)
                };
                let entries = contents.map_or(&[][..], |contents| &contents.entries);
                entries.iter().filter(|entry| entry.family == family && !entry.negate).any(|entry| {
                    let first = u128::from_be_bytes(entry.addr);
                    let hosts = u128::MAX.checked_shr(u32::from(entry.len)).unwrap_or(0) & mask_of(family);
                    each(Span { first, last: first | hosts })
                })
            }
            _ => false,
        }
    }

    fn first_span(&self, hosts: &[AddrMatch], family: Family) -> Option<Span> {
        let mut first = None;
        let mut take = |span| {
            first = Some(span);
            true
        };
        let _ = hosts.iter().any(|host| self.host_spans(host, family, &mut take));
        first
    }

    /// An address of the pool for a packet from `src`; `original` is the address that it replaces. `again` counts
    /// attempts for the same packet. `sticky-address` chooses by a hash of the source: the same source has the same
    /// address for as long as the pool is what it is, with nothing to remember.
    fn pool_address(
        &mut self,
        number: u32,
        pool: &Pool,
        family: Family,
        (src, original): (&[u8; 16], &[u8; 16]),
        again: u32,
    ) -> Option<[u8; 16]> {
        if pool.kind == PoolKind::Bitmask {
            return self.first_span(&pool.hosts, family).map(|span| span.host_by_host(original));
        }
        let mut total = 0u128;
        self.spans(pool, family, |span| {
            total = total.saturating_add(span.len(family));
            false
        });
        let by_source = || {
            let key = pool.key.unwrap_or_default();
            let seed = key.iter().fold(u64::from(number), |sum, word| sum.rotate_left(16) ^ u64::from(*word));
            let key = FlowKey::new((src, 0), (&[0; 16], 0), 0, wire::Family::None, 0);
            u128::from(Secret::from_seed(seed).hash(&key)).wrapping_add(u128::from(again))
        };
        let index = match pool.kind {
            _ if pool.sticky => by_source(),
            PoolKind::None | PoolKind::Bitmask => u128::from(again),
            PoolKind::SourceHash => by_source(),
            PoolKind::Random => (0..4).fold(0u128, |sum, _| sum << 32 | u128::from(self.random.bits())),
            PoolKind::RoundRobin => u128::from(self.bound.counters().life(number).map_or(0, RuleLife::next_turn)),
        };
        let (_, mut left) = wire::divide::div_rem(index, total)?;
        let mut found = None;
        self.spans(pool, family, |span| {
            let len = span.len(family);
            if left < len {
                found = Some(span.nth(family, left));
                return true;
            }
            left = left.saturating_sub(len);
            false
        });
        found
    }

    /// New source of a packet that goes out by a `nat` pool. The port is one whose answers come to this shard, if there is
    /// one.
    pub fn nat(&mut self, number: u32, pool: &Pool, subject: &mut Subject<'_>) -> bool {
        let family = subject.family();
        let p = subject.parsed;
        let has_port = p.flags.contains(ParsedFlags::PORTS) || self.query.is_some();
        for again in 0..ADDRESSES {
            let src = subject.src;
            let Some(addr) = self.pool_address(number, pool, family, (&src, &src), again) else {
                return false;
            };
            if !has_port || pool.static_port {
                if self.is_free(p, addr, subject.src_port, subject) {
                    subject.src = addr;
                    return true;
                }
                continue;
            }
            let (low, high) = match pool.ports {
                (0, 0) => NAT_PORTS,
                (low, 0) => (low, low),
                ports => ports,
            };
            let count = u32::from(high.saturating_sub(low)).saturating_add(1);
            let start = self.random.bits();
            // Answers to a port of the second kind come to another shard, which has to ask whose they are.
            let kinds: &[bool] = if self.shards > 1 { &[true, false] } else { &[false] };
            for comes_back in kinds {
                for step in 0..count.min(TRIES) {
                    let offset = start.wrapping_add(step).checked_rem(count).unwrap_or(0);
                    let port = u16::try_from(u32::from(low).saturating_add(offset)).unwrap_or(high);
                    if (!comes_back || self.comes_back(p, addr, port, subject)) && self.is_free(p, addr, port, subject)
                    {
                        subject.src = addr;
                        subject.src_port = port;
                        return true;
                    }
                }
            }
        }
        false
    }

    /// No state of any shard has the key that the packet would have on the wire.
    fn is_free(&self, p: &Parsed, addr: [u8; 16], port: u16, subject: &Subject<'_>) -> bool {
        let (far, near) = match self.query {
            Some(request) => (port, request),
            None => (subject.dst_port, port),
        };
        let key = FlowKey::new((&subject.dst, far), (&addr, near), p.protocol, p.family, 0);
        self.tracker.is_free(&key)
    }

    /// The answer's hash leads to this shard.
    fn comes_back(&self, p: &Parsed, addr: [u8; 16], port: u16, subject: &Subject<'_>) -> bool {
        if self.query.is_some() {
            return true;
        }
        let answer = Parsed { src: addr, src_port: port, dst: subject.dst, dst_port: subject.dst_port, ..*p };
        wire::shard_of(wire::flow_hash(&[], &answer, STEER_SEED), self.shards) == self.shard
    }

    /// New destination of a packet by an `rdr` pool.
    pub fn redirect(&mut self, number: u32, rule: &Rule, pool: &Pool, subject: &mut Subject<'_>) -> bool {
        let (src, dst) = (subject.src, subject.dst);
        let Some(addr) = self.pool_address(number, pool, subject.family(), (&src, &dst), 0) else {
            return false;
        };
        subject.dst = addr;
        let (low, high) = pool.ports;
        if low != 0 && subject.parsed.flags.contains(ParsedFlags::PORTS) {
            subject.dst_port = if high > low {
                let offset = u32::from(subject.dst_port.wrapping_sub(rule.dst.port.a));
                let count = u32::from(high.saturating_sub(low)).saturating_add(1);
                low.saturating_add(u16::try_from(offset.checked_rem(count).unwrap_or(0)).unwrap_or(0))
            } else {
                low
            };
        }
        true
    }

    /// Either direction of a `binat` rule: one network stands for the other, host by host.
    pub fn binat(&mut self, rule: &Rule, pool: &Pool, subject: &mut Subject<'_>) -> bool {
        let family = subject.family();
        let outside = self.first_span(&pool.hosts, family);
        let inside = self.first_span(core::slice::from_ref(&rule.src.addr), family);
        match (self.way, outside, inside) {
            (Way::Out, Some(outside), _) => subject.src = outside.host_by_host(&subject.src),
            (Way::In, _, Some(inside)) => subject.dst = inside.host_by_host(&subject.dst),
            _ => return false,
        }
        true
    }
}
