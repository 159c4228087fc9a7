//! Headers drawn from a rule set, and from nothing.

use weir_core::filter::classify::{Key, Rule};

/// xorshift64*: the same seed gives the same headers everywhere.
pub struct Random(u64);

impl Random {
    /// A generator; every seed will do.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u64::from(self.bits()) * end as u64) >> 32) as usize
    }

    /// In (0, 1].
    fn unit(&mut self) -> f64 {
        (f64::from(self.bits()) + 1.0) / 4_294_967_296.0
    }
}

/// A header that the rule matches: what the rule leaves open is random.
fn inside<const W: usize>(rule: &Rule<W>, random: &mut Random) -> Key<W> {
    let mut port = |side: usize| {
        let (low, high) = (rule.low[side], rule.high[side]);
        low + random.below(usize::from(high - low) + 1) as u16
    };
    let ports = [port(0), port(1)];
    let mut addr = |addr: &[u32; W], mask: &[u32; W]| {
        let mut words = *addr;
        words.iter_mut().zip(mask).for_each(|(word, mask)| *word |= random.bits() & !mask);
        words
    };
    let (src, dst) = (addr(&rule.src, &rule.src_mask), addr(&rule.dst, &rule.dst_mask));
    Key { src, dst, ports, class: u32::from(rule.class | (random.bits() as u16 & !rule.class_mask & 0xff)) }
}

/// With locality of reference, as ClassBench's trace generator makes it (Taylor and Turner, "ClassBench", 2007,
/// section IV.E): a rule is drawn, a header in it is drawn, and repeated as often as a Pareto distribution with a = 1
/// and b = 0.1 says, but not so often that one header is more than a hundredth of the trace.
pub fn trace<const W: usize>(rules: &[Rule<W>], count: usize, seed: u64) -> Vec<Key<W>> {
    let mut random = Random::new(seed);
    let mut keys = Vec::with_capacity(count);
    while keys.len() < count {
        let key = inside(&rules[random.below(rules.len())], &mut random);
        let copies = (0.1 / random.unit()).ceil().clamp(1.0, (count / 100).max(1) as f64) as usize;
        keys.extend(std::iter::repeat_n(key, copies.min(count - keys.len())));
    }
    keys
}

/// In random order, each header in a rule drawn anew.
pub fn cold<const W: usize>(rules: &[Rule<W>], count: usize, seed: u64) -> Vec<Key<W>> {
    let mut random = Random::new(seed);
    (0..count).map(|_| inside(&rules[random.below(rules.len())], &mut random)).collect()
}

/// Every field uniform.
pub fn uniform<const W: usize>(count: usize, seed: u64) -> Vec<Key<W>> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|_| {
            let (ports, class) = (random.bits(), random.bits());
            Key {
                src: [(); W].map(|()| random.bits()),
                dst: [(); W].map(|()| random.bits()),
                ports: [ports as u16, (ports >> 16) as u16],
                class: class & 0xff,
            }
        })
        .collect()
}
