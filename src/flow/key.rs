//! What a flow is looked up by, and the hash of it.

use crate::wire::Family;

/// Addresses, ports (or an ICMP query's identifier), protocol and family, in 40 bytes; and 16 bits, the zone, that are
/// the owner's: keys of different zones are never the same.
///
/// A key has a direction: [`FlowKey::reversed`] is another key, unless both ends are the same.
/// [`FlowKey::undirected`] is the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Source address, destination address, rest; in the processor's order, so that nothing is swapped.
    words: [u64; 5],
}

/// The two halves of an address.
#[inline(always)]
fn halves(addr: &[u8; 16]) -> (u64, u64) {
    let number = u128::from_ne_bytes(*addr);
    (number as u64, (number >> 64) as u64)
}

#[inline(always)]
fn address(low: u64, high: u64) -> [u8; 16] {
    (u128::from(low) | u128::from(high) << 64).to_ne_bytes()
}

impl FlowKey {
    /// All zero: of no packet.
    pub const EMPTY: Self = Self { words: [0; 5] };

    /// A key with a direction. Addresses as in [`crate::wire::Parsed`]: IPv4 in the first four bytes.
    #[must_use]
    #[inline(always)]
    pub fn new(
        (src, sport): (&[u8; 16], u16),
        (dst, dport): (&[u8; 16], u16),
        protocol: u8,
        family: Family,
        zone: u16,
    ) -> Self {
        let ((s0, s1), (d0, d1)) = (halves(src), halves(dst));
        let rest = u64::from(sport)
            | u64::from(dport) << 16
            | u64::from(protocol) << 32
            | (family as u64) << 40
            | u64::from(zone) << 48;
        Self { words: [s0, s1, d0, d1, rest] }
    }

    /// `==` without a call and with one branch.
    #[inline(always)]
    pub(super) fn is(&self, other: &Self) -> bool {
        let ([a, b, c, d, e], [v, w, x, y, z]) = (self.words, other.words);
        (a ^ v) | (b ^ w) | (c ^ x) | (d ^ y) | (e ^ z) == 0
    }

    /// The key of the other direction.
    #[must_use]
    #[inline(always)]
    pub const fn reversed(&self) -> Self {
        let [s0, s1, d0, d1, rest] = self.words;
        let rest = rest & !0xffff_ffff | (rest & 0xffff) << 16 | rest >> 16 & 0xffff;
        Self { words: [d0, d1, s0, s1, rest] }
    }

    /// One key for both directions, and whether it is the reverse of this one.
    #[must_use]
    #[inline(always)]
    pub fn undirected(&self) -> (Self, bool) {
        let [s0, s1, d0, d1, rest] = self.words;
        // Any order will do that is the same from both ends.
        let swapped = (s0, s1, rest & 0xffff) > (d0, d1, rest >> 16 & 0xffff);
        (if swapped { self.reversed() } else { *self }, swapped)
    }

    /// The same key in another zone.
    #[must_use]
    #[inline(always)]
    pub const fn in_zone(&self, zone: u16) -> Self {
        let [s0, s1, d0, d1, rest] = self.words;
        Self { words: [s0, s1, d0, d1, rest & (u64::MAX >> 16) | (zone as u64) << 48] }
    }

    /// Source address.
    #[must_use]
    pub fn src(&self) -> [u8; 16] {
        let [low, high, ..] = self.words;
        address(low, high)
    }

    /// Destination address.
    #[must_use]
    pub fn dst(&self) -> [u8; 16] {
        let [_, _, low, high, _] = self.words;
        address(low, high)
    }

    /// Source port.
    #[must_use]
    pub const fn src_port(&self) -> u16 {
        let [.., rest] = self.words;
        rest as u16
    }

    /// Destination port.
    #[must_use]
    pub const fn dst_port(&self) -> u16 {
        let [.., rest] = self.words;
        (rest >> 16) as u16
    }

    /// IP protocol.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        let [.., rest] = self.words;
        (rest >> 32) as u8
    }

    /// Family.
    #[must_use]
    pub const fn family(&self) -> Family {
        let [.., rest] = self.words;
        match (rest >> 40) as u8 {
            4 => Family::V4,
            6 => Family::V6,
            _ => Family::None,
        }
    }

    /// What the owner put there.
    #[must_use]
    pub const fn zone(&self) -> u16 {
        let [.., rest] = self.words;
        (rest >> 48) as u16
    }
}

/// The secret that keys are hashed with, drawn once per start.
///
/// The hash is NH (Black, Halevi, Krawczyk, Krovetz and Rogaway: "UMAC", CRYPTO '99, section 4.1) over three pairs of
/// 64-bit words, and then a multiply-add modulo 2^128 of its 128 bits, of which the upper 64 count (Dietzfelbinger's
/// strongly universal multiply-shift). For two different keys chosen without knowing the secret, NH's sums are equal
/// with a probability of at most 2^-64, and if they are not, any `b` upper bits of the results are equal with one of
/// 2^-b: a sender who cannot see hashes cannot fill one bucket faster than by drawing keys at random. Seven
/// multiplications, no table, no step that depends on the one before it but two.
#[derive(Clone)]
pub struct Secret {
    sum: [u64; 6],
    last: [u128; 3],
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
        let last = core::array::from_fn(|_| u128::from(word()) << 64 | u128::from(word()));
        Self { sum, last }
    }

    /// The hash of a key.
    #[must_use]
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        let [s0, s1, d0, d1, rest] = key.words;
        let [k0, k1, k2, k3, k4, k5] = self.sum;
        let pair = |a: u64, b: u64| u128::from(a) * u128::from(b);
        let sum = pair(s0.wrapping_add(k0), s1.wrapping_add(k1))
            .wrapping_add(pair(d0.wrapping_add(k2), d1.wrapping_add(k3)))
            .wrapping_add(pair(rest.wrapping_add(k4), k5));
        let [a, b, c] = self.last;
        let low = u128::from(sum as u64).wrapping_mul(a);
        let high = (sum >> 64).wrapping_mul(b);
        (low.wrapping_add(high).wrapping_add(c) >> 64) as u64
    }
}
