//! What is right: the linear scan, and something independent that is fast enough to check a million headers against
//! 100,000 rules and is itself checked against the scan.

use std::collections::HashMap;

use weir_core::filter::classify::{Key, Rule};

/// The first rule that matches, rule by rule; `u32::MAX` if none does.
pub fn linear(rules: &[Rule<1>], key: &Key<1>) -> u32 {
    rules.iter().filter(|rule| matches(rule, key)).map(|rule| rule.priority).min().unwrap_or(u32::MAX)
}

fn matches(rule: &Rule<1>, key: &Key<1>) -> bool {
    key.src[0] & rule.src_mask[0] == rule.src[0]
        && key.dst[0] & rule.dst_mask[0] == rule.dst[0]
        && rule.low[0] <= key.ports[0]
        && key.ports[0] <= rule.high[0]
        && rule.low[1] <= key.ports[1]
        && key.ports[1] <= rule.high[1]
        && key.class & rule.class_mask == rule.class
}

/// One table per pair of masks.
struct Tuple<'a> {
    first: u32,
    masks: [u32; 2],
    rules: HashMap<[u32; 2], Vec<&'a Rule<1>>>,
}

/// Tuple space search (Srinivasan, Suri, Varghese, SIGCOMM 1999) over the two addresses, nothing merged.
pub struct Oracle<'a> {
    rules: &'a [Rule<1>],
    tuples: Vec<Tuple<'a>>,
}

impl<'a> Oracle<'a> {
    /// Sorts the rules into their tuples.
    pub fn new(rules: &'a [Rule<1>]) -> Self {
        let mut by_masks = HashMap::<[u32; 2], Tuple<'a>>::new();
        for rule in rules {
            let masks = [rule.src_mask[0], rule.dst_mask[0]];
            let tuple =
                by_masks.entry(masks).or_insert_with(|| Tuple { first: u32::MAX, masks, rules: HashMap::new() });
            tuple.first = tuple.first.min(rule.priority);
            tuple.rules.entry([rule.src[0], rule.dst[0]]).or_default().push(rule);
        }
        let mut tuples: Vec<_> = by_masks.into_values().collect();
        tuples.sort_unstable_by_key(|tuple| tuple.first);
        Self { rules, tuples }
    }

    fn lookup(&self, key: &Key<1>) -> u32 {
        let mut best = u32::MAX;
        for tuple in &self.tuples {
            if tuple.first >= best {
                break;
            }
            let masked = [key.src[0] & tuple.masks[0], key.dst[0] & tuple.masks[1]];
            for rule in tuple.rules.get(&masked).into_iter().flatten() {
                if rule.priority < best && matches(rule, key) {
                    best = rule.priority;
                }
            }
        }
        best
    }

    /// The right answer for each header, and the number of those for which oracle and scan, asked for every `stride`th
    /// header, do not agree.
    pub fn answers(&self, keys: &[Key<1>]) -> (Vec<u32>, usize) {
        // At most this many steps of the scan per set.
        let stride = (self.rules.len() * keys.len() / 400_000_000).max(1);
        let mut known = HashMap::<[u64; 2], u32>::new();
        let mut disagree = 0;
        let answers = keys
            .iter()
            .enumerate()
            .map(|(number, key)| {
                let addresses = u64::from(key.src[0]) << 32 | u64::from(key.dst[0]);
                let rest = u64::from(key.ports[0]) << 32 | u64::from(key.ports[1]) << 16 | u64::from(key.class);
                let answer = *known.entry([addresses, rest]).or_insert_with(|| self.lookup(key));
                if number % stride == 0 && linear(self.rules, key) != answer {
                    disagree += 1;
                }
                answer
            })
            .collect();
        (answers, disagree)
    }
}
