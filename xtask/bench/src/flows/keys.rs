//! Keys that are made from numbers, and orders to look them up in.

use weir_core::flow::FlowKey;
use weir_core::wire::Family;

/// Makes keys.
pub struct Keys {
    seed: u64,
}

/// SplitMix64's finisher: a permutation of 64-bit numbers.
fn scatter(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

impl Keys {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// A TCP flow over IPv4; a different one for each number.
    pub fn get(&self, number: usize) -> FlowKey {
        // 64 bits, all of which the number decides, make address and port of one end and half of the other's.
        let bits = scatter(self.seed << 40 ^ number as u64);
        let mut src = [0; 16];
        src[..4].copy_from_slice(&((bits >> 32) as u32).to_ne_bytes());
        let mut dst = [0; 16];
        dst[..2].copy_from_slice(&[10, 1]);
        dst[2..4].copy_from_slice(&(bits as u16).to_ne_bytes());
        FlowKey::new((&src, (bits >> 16) as u16), (&dst, 443), 6, Family::V4, 0)
    }

    /// `lookups` of `count` keys, each as likely as the next.
    pub fn uniform(&self, count: usize, lookups: usize) -> (Vec<FlowKey>, Vec<usize>) {
        let numbers: Vec<usize> =
            (0..lookups as u64).map(|n| (scatter(n ^ self.seed << 20) % count.max(1) as u64) as usize).collect();
        (numbers.iter().map(|number| self.get(*number)).collect(), numbers)
    }

    /// The same, where the key of rank `k` is `1/k` as likely as the first (Zipf's law with exponent 1): the inverse of
    /// the distribution's continuous form.
    pub fn zipf(&self, count: usize, lookups: usize) -> (Vec<FlowKey>, Vec<usize>) {
        let last = (count.max(2) as f64).ln();
        let numbers: Vec<usize> = (0..lookups as u64)
            .map(|n| {
                let u = scatter(n ^ self.seed << 21) as f64 / u64::MAX as f64;
                let rank = (u * last).exp() as usize;
                // Ranks are spread over the table.
                (scatter(rank as u64) % count.max(1) as u64) as usize
            })
            .collect();
        (numbers.iter().map(|number| self.get(*number)).collect(), numbers)
    }
}
