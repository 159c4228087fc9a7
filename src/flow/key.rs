//! What a flow is looked up by, and the hash of it.

use crate::wire::{Ends, Family};

/// Addresses, ports (or an ICMP query's identifier), protocol and family, in 40 bytes; and 16 bits, the zone, that are
/// the owner's: keys of different zones are never the same.
///
/// An IPv4 key is its first 16 bytes, the rest is zero. The family stands among those 16 bytes, so that they never say
/// the same of a key of another family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// IPv4: both addresses. Others: one half of the source address.
    first: u64,
    /// See [`FlowKey::rest`].
    rest: u64,
    /// The other half of the source address, and the destination address; in the processor's order, so that nothing is
    /// swapped.
    tail: Tail,
}

/// What a key has besides its head.
pub type Tail = [u64; 3];
/// What an IPv4 key consists of.
pub type Head = [u64; 2];

/// A head that no key has: there is no such family.
pub(super) const NO_HEAD: Head = [u64::MAX; 2];

/// The two halves of an address.
#[inline(always)]
fn halves(addr: &[u8; 16]) -> (u64, u64) {
    let number = u128::from_ne_bytes(*addr);
    (number as u64, (number >> 64) as u64)
}

/// An IPv4 address.
#[inline(always)]
fn short(addr: &[u8; 16]) -> u64 {
    let [a, b, c, d, ..] = *addr;
    u64::from(u32::from_le_bytes([a, b, c, d]))
}

fn address(low: u64, high: u64) -> [u8; 16] {
    (u128::from(low) | u128::from(high) << 64).to_ne_bytes()
}

/// The address that [`short`] made a number of, which may stand among others.
fn long(number: u64) -> [u8; 16] {
    let [a, b, c, d] = (number as u32).to_le_bytes();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

impl FlowKey {
    /// All zero: of no packet.
    pub const EMPTY: Self = Self { first: 0, rest: 0, tail: [0; 3] };

    /// A key. Addresses as in [`crate::wire::Parsed`]: of IPv4, nothing counts but the first four bytes.
    #[must_use]
    #[inline(always)]
    pub fn new(
        (src, sport): (&[u8; 16], u16),
        (dst, dport): (&[u8; 16], u16),
        protocol: u8,
        family: Family,
        zone: u16,
    ) -> Self {
        let ports = u32::from(sport) << 16 | u32::from(dport);
        let rest = u64::from(zone) << 16 | Self::rest(family, protocol, ports);
        if family == Family::V4 {
            return Self { first: short(src) | short(dst) << 32, rest, tail: [0; 3] };
        }
        let ((s0, s1), (d0, d1)) = (halves(src), halves(dst));
        Self { first: s0, rest, tail: [s1, d0, d1] }
    }

    /// Ports, zone, protocol, family, the last one the lowest byte: it is asked for most.
    #[inline(always)]
    const fn rest(family: Family, protocol: u8, ports: u32) -> u64 {
        (ports as u64) << 32 | (protocol as u64) << 8 | family as u64
    }

    /// The key of a packet between these ends in zone 0. `swapped`: of one that goes the other way.
    #[must_use]
    #[inline(always)]
    pub const fn of(ends: &Ends, swapped: bool) -> Self {
        let Ends { addresses, ports, protocol } = *ends;
        let (first, ports) =
            if swapped { (addresses.rotate_left(32), ports.rotate_left(16)) } else { (addresses, ports) };
        Self { first, rest: Self::rest(Family::V4, protocol, ports), tail: [0; 3] }
    }

    /// The first 16 bytes.
    #[inline(always)]
    pub(super) const fn head(&self) -> Head {
        [self.first, self.rest]
    }

    #[inline(always)]
    pub(super) const fn tail(&self) -> &Tail {
        &self.tail
    }

    pub(super) const fn from_parts([first, rest]: Head, tail: Tail) -> Self {
        Self { first, rest, tail }
    }

    /// There is more to it than its head: it is not IPv4's.
    #[must_use]
    #[inline(always)]
    pub const fn is_long(&self) -> bool {
        is_long(&self.head())
    }

    /// Its first 16 bytes are these.
    #[inline(always)]
    pub(super) const fn has_head(&self, head: &Head) -> bool {
        let [first, rest] = *head;
        (self.first ^ first) | (self.rest ^ rest) == 0
    }

    /// What comes behind them is this.
    #[inline(always)]
    pub(super) const fn has_tail(&self, tail: &Tail) -> bool {
        let ([a, b, c], [x, y, z]) = (self.tail, *tail);
        (a ^ x) | (b ^ y) | (c ^ z) == 0
    }

    /// The same key in another zone.
    #[must_use]
    #[inline(always)]
    pub const fn in_zone(&self, zone: u16) -> Self {
        Self { rest: self.rest & !0xffff_0000 | (zone as u64) << 16, ..*self }
    }

    /// Source address.
    #[must_use]
    pub fn src(&self) -> [u8; 16] {
        let [high, ..] = self.tail;
        if self.is_long() { address(self.first, high) } else { long(self.first) }
    }

    /// Destination address.
    #[must_use]
    pub fn dst(&self) -> [u8; 16] {
        let [_, low, high] = self.tail;
        if self.is_long() { address(low, high) } else { long(self.first >> 32) }
    }

    /// Source port.
    #[must_use]
    pub const fn src_port(&self) -> u16 {
        (self.rest >> 48) as u16
    }

    /// Destination port.
    #[must_use]
    pub const fn dst_port(&self) -> u16 {
        (self.rest >> 32) as u16
    }

    /// IP protocol.
    #[must_use]
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        (self.rest >> 8) as u8
    }

    /// Family.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self.rest as u8 {
            4 => Family::V4,
            6 => Family::V6,
            _ => Family::None,
        }
    }

    /// What the owner put there.
    #[must_use]
    pub const fn zone(&self) -> u16 {
        (self.rest >> 16) as u16
    }
}

/// The key with this head has more to it: it is not IPv4's.
#[inline(always)]
pub(super) const fn is_long(head: &Head) -> bool {
    let [_, rest] = *head;
    rest as u8 != Family::V4 as u8
}

/// What a table compares keys with.
pub trait Wanted {
    /// The first 16 bytes.
    fn head(&self) -> Head;
    /// What comes behind them, if the key is a long one.
    fn tail(&self) -> &Tail;
}

impl Wanted for FlowKey {
    #[inline(always)]
    fn head(&self) -> Head {
        self.head()
    }

    #[inline(always)]
    fn tail(&self) -> &Tail {
        &self.tail
    }
}

/// Room for a key, one after the other. A short one is 16 bytes to write.
#[derive(Clone, Copy, Debug)]
pub struct KeyPlace {
    head: Head,
    /// The last long key's.
    tail: Tail,
}

impl KeyPlace {
    /// Of no packet.
    pub const EMPTY: Self = Self { head: [0; 2], tail: [0; 3] };

    /// Puts a key there.
    #[inline(always)]
    pub fn set(&mut self, key: &FlowKey) {
        self.head = key.head();
        if key.is_long() {
            self.tail = key.tail;
        }
    }

    /// What is there.
    #[must_use]
    pub fn key(&self) -> FlowKey {
        let key = FlowKey::from_parts(self.head, self.tail);
        if key.is_long() { key } else { FlowKey { tail: [0; 3], ..key } }
    }
}

impl Wanted for KeyPlace {
    #[inline(always)]
    fn head(&self) -> Head {
        self.head
    }

    #[inline(always)]
    fn tail(&self) -> &Tail {
        &self.tail
    }
}

/// The secret that keys are hashed with, drawn once per start.
///
/// What is hashed in the end are 128 bits: an IPv4 key's as they are; of other keys NH's sum (Black, Halevi, Krawczyk,
/// Krovetz and Rogaway: "UMAC", CRYPTO '99, section 4.1) over three pairs of 64-bit words. The last step is a multiply-add
/// of their two halves modulo 2^128, of which the upper 64 bits count: Dietzfelbinger's multiply-shift for vectors,
/// strongly universal because the numbers multiplied have 64 bits and 64 + 64 - 1 is not more than 128. For two keys chosen
/// without knowing the secret any `b` bits of their hashes are equal with a probability of
///
/// - 2^-b for two of IPv4, which differ in the 128 bits;
/// - at most 2^-64 + 2^-b for two of others, whose sums are equal with at most 2^-64;
/// - 2^-b for one of each kind: what is added is another secret number for each.
///
/// So a sender who cannot see hashes cannot fill one bucket faster than by drawing keys at random. Four multiplications
/// (others: nine), no table, no step that depends on the one before it but one (two).
#[derive(Clone)]
pub struct Secret {
    sum: [u64; 6],
    last: [u128; 2],
    /// For IPv4, and for others.
    add: [u128; 2],
}

impl core::fmt::Debug for Secret {
    /// Does not tell it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret")
    }
}

/// Steele, Lea and Flood's SplitMix64: a permutation of a counter. Its output is never shown, so that what counts is
/// that the words have nothing to do with each other.
fn next_word(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

impl Secret {
    /// Makes the secret from a random number that nobody else knows.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut state = seed;
        let mut word = || next_word(&mut state);
        let sum = core::array::from_fn(|_| word());
        let [last, add] =
            core::array::from_fn(|_| core::array::from_fn(|_| u128::from(word()) << 64 | u128::from(word())));
        Self { sum, last, add }
    }

    /// The hash of a key.
    #[must_use]
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        let [short, long] = self.add;
        if !key.is_long() {
            return self.finish(key.head(), short);
        }
        let (s0, rest, [s1, d0, d1]) = (key.first, key.rest, key.tail);
        let [k0, k1, k2, k3, k4, k5] = self.sum;
        let pair = |a: u64, b: u64| u128::from(a) * u128::from(b);
        let sum = pair(s0.wrapping_add(k0), s1.wrapping_add(k1))
            .wrapping_add(pair(d0.wrapping_add(k2), d1.wrapping_add(k3)))
            .wrapping_add(pair(rest.wrapping_add(k4), k5));
        self.finish([sum as u64, (sum >> 64) as u64], long)
    }

    #[inline(always)]
    fn finish(&self, [low, high]: [u64; 2], add: u128) -> u64 {
        let [a, b] = self.last;
        let sum = u128::from(low).wrapping_mul(a).wrapping_add(u128::from(high).wrapping_mul(b));
        (sum.wrapping_add(add) >> 64) as u64
    }
}
