//! Which bits of a header a table hashes, and how.

use super::{Key, Rule};
use crate::mem::simd;

/// The bits that all rules of a table have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mask<const W: usize> {
    pub src: [u32; W],
    pub dst: [u32; W],
    pub ports: [u16; 2],
    pub class: u16,
}

/// Words of the longest header: ports, class, two addresses of four words.
pub(super) const WORDS: usize = 10;

/// Odd numbers without structure: the words are multiplied by them, so that each bit reaches the upper bits of the sum.
pub(super) const FACTORS: [u32; WORDS] = [
    0x9E37_79B1,
    0x85EB_CA77,
    0xC2B2_AE3D,
    0x27D4_EB2F,
    0x1656_67B1,
    0xD35A_2D97,
    0xA136_AAAD,
    0x9F69_9F59,
    0xB549_7225,
    0x6C8E_9CF5,
];

impl<const W: usize> Mask<W> {
    /// No bit.
    pub(super) const NOTHING: Self = Self { src: [0; W], dst: [0; W], ports: [0; 2], class: 0 };

    /// The bits that a rule says something about: of a port range, those of the shortest prefix around it.
    pub(super) fn of(rule: &Rule<W>) -> Self {
        let [a, b] = [0, 1].map(|side: usize| {
            let (low, high) = (rule.low.get(side).copied().unwrap_or(0), rule.high.get(side).copied().unwrap_or(0));
            u16::MAX.checked_shl(16 - (low ^ high).leading_zeros()).unwrap_or(0)
        });
        Self { src: rule.src_mask, dst: rule.dst_mask, ports: [a, b], class: rule.class_mask }
    }

    /// True if every bit of `self` is in `other`.
    pub(super) fn within(&self, other: &Self) -> bool {
        let all = |a: &[u32; W], b: &[u32; W]| a.iter().zip(b).all(|(a, b)| a & !b == 0);
        all(&self.src, &other.src)
            && all(&self.dst, &other.dst)
            && self.ports.iter().zip(other.ports).all(|(a, b)| a & !b == 0)
            && self.class & !other.class == 0
    }

    /// The hash of what the mask leaves of a header.
    #[inline(always)]
    pub(super) fn hash(&self, key: &Key<W>) -> u32 {
        let ports = |[a, b]: [u16; 2]| u32::from(a) | u32::from(b) << 16;
        let own = [ports(key.ports) & ports(self.ports), key.class & u32::from(self.class)];
        let src = key.src.iter().zip(&self.src).map(|(word, mask)| word & mask);
        let dst = key.dst.iter().zip(&self.dst).map(|(word, mask)| word & mask);
        let words = own.into_iter().chain(src).chain(dst);
        Self::mix(words.zip(FACTORS).map(|(word, factor)| word.wrapping_mul(factor)))
    }

    /// From the products of words and factors.
    #[inline(always)]
    pub(super) fn mix(products: impl Iterator<Item = u32>) -> u32 {
        let sum = products.fold(0, u32::wrapping_add);
        (sum ^ sum >> 15).wrapping_mul(simd::MIX)
    }

    /// The words that are hashed, under the mask.
    pub(super) fn words(&self) -> [u32; WORDS] {
        let [a, b] = self.ports.map(u32::from);
        let mut words = [0; WORDS];
        let own = [a | b << 16, u32::from(self.class)];
        for (word, from) in words.iter_mut().zip(own.iter().chain(&self.src).chain(&self.dst)) {
            *word = *from;
        }
        words
    }

    /// A rule's hash, if the mask is within the rule's own.
    pub(super) fn hash_rule(&self, rule: &Rule<W>) -> u32 {
        self.hash(&Key { src: rule.src, dst: rule.dst, ports: rule.low, class: rule.class.into() })
    }
}
