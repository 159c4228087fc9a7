//! Which shard a flow belongs to.

use super::parse::parse_inner;
use super::parsed::{Family, Parsed, ParsedFlags};

/// Multiplies and folds the 128-bit product: one round of the wyhash family.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// A keyed hash that is the same for both directions of a flow.
///
/// TCP, UDP and SCTP: addresses, ports and protocol. Other IP packets and every fragment: addresses and protocol.
/// ICMP errors: the flow that they are about. Anything else: one value for all. `frame` is what `parsed` was made
/// of; `seed` keys the hash, so that a sender cannot choose the shard without knowing it.
#[must_use]
pub fn flow_hash(frame: &[u8], parsed: &Parsed, seed: u64) -> u64 {
    if parsed.flags.contains(ParsedFlags::ICMP_ERROR)
        && !parsed.is_fragment()
        && let Some(inner) = parse_inner(frame, parsed)
    {
        return hash(&inner, seed);
    }
    hash(parsed, seed)
}

fn hash(p: &Parsed, seed: u64) -> u64 {
    // Odd constants without structure: the golden ratio's bits and pi's.
    const K0: u64 = 0x9e37_79b9_7f4a_7c15;
    const K1: u64 = 0x2436_3f84_a885_a309;
    const K2: u64 = 0x1319_8a2e_0370_7345;
    if p.family == Family::None {
        return mix(seed ^ K0, K1);
    }
    let ports = if p.is_fragment() { (0, 0) } else { (p.src_port, p.dst_port) };
    let a = (u128::from_be_bytes(p.src), ports.0);
    let b = (u128::from_be_bytes(p.dst), ports.1);
    // The lower end first makes both directions alike.
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let rest = u64::from(low.1) | u64::from(high.1) << 16 | u64::from(p.protocol) << 32 | (p.family as u64) << 40;
    let x = mix((low.0 >> 64) as u64 ^ seed ^ K0, low.0 as u64 ^ K1);
    let y = mix((high.0 >> 64) as u64 ^ seed ^ K1, high.0 as u64 ^ K2);
    mix(x ^ rest ^ K2, y ^ seed.rotate_left(32) ^ K0)
}

/// The shard, out of `shards` (at least 1), that a hash falls to: its upper half scaled, so no division.
#[must_use]
pub fn shard_of(hash: u64, shards: usize) -> usize {
    (((hash >> 32) * shards as u64) >> 32) as usize
}
