//! What is right: the linear scan, and something independent that is fast enough to check a million headers against
//! 100,000 rules and is itself checked against the scan.

use std::collections::HashMap;

use weir_core::filter::classify::{Key, Rule};

/// The first rule that matches, rule by rule; `u32::MAX` if none does.
pub fn linear<const W: usize>(rules: &[Rule<W>], key: &Key<W>) -> u32 {
    rules.iter().filter(|rule| matches(rule, key)).map(|rule| rule.priority).min().unwrap_or(u32::MAX)
}

fn matches<const W: usize>(rule: &Rule<W>, key: &Key<W>) -> bool {
    masked(&key.src, &rule.src_mask) == rule.src
        && masked(&key.dst, &rule.dst_mask) == rule.dst
        && rule.low[0] <= key.ports[0]
        && key.ports[0] <= rule.high[0]
        && rule.low[1] <= key.ports[1]
        && key.ports[1] <= rule.high[1]
        && key.class & u32::from(rule.class_mask) == u32::from(rule.class)
}

fn masked<const W: usize>(addr: &[u32; W], mask: &[u32; W]) -> [u32; W] {
    let mut words = *addr;
    words.iter_mut().zip(mask).for_each(|(word, mask)| *word &= mask);
    words
}

/// One table per pair of masks.
struct Tuple<'a, const W: usize> {
    first: u32,
    masks: [[u32; W]; 2],
    rules: HashMap<[[u32; W]; 2], Vec<&'a Rule<W>>>,
}

/// Tuple space search (Srinivasan, Suri, Varghese, SIGCOMM 1999) over the two addresses, nothing merged.
pub struct Oracle<'a, const W: usize> {
    rules: &'a [Rule<W>],
    tuples: Vec<Tuple<'a, W>>,
}

impl<'a, const W: usize> Oracle<'a, W> {
    /// Sorts the rules into their tuples.
    pub fn new(rules: &'a [Rule<W>]) -> Self {
        let mut by_masks = HashMap::<[[u32; W]; 2], Tuple<'a, W>>::new();
        for rule in rules {
            let masks = [rule.src_mask, rule.dst_mask];
            let tuple =
                by_masks.entry(masks).or_insert_with(|| Tuple { first: u32::MAX, masks, rules: HashMap::new() });
            tuple.first = tuple.first.min(rule.priority);
            tuple.rules.entry([rule.src, rule.dst]).or_default().push(rule);
        }
        let mut tuples: Vec<_> = by_masks.into_values().collect();
        tuples.sort_unstable_by_key(|tuple| tuple.first);
        Self { rules, tuples }
    }

    fn lookup(&self, key: &Key<W>) -> u32 {
        let mut best = u32::MAX;
        for tuple in &self.tuples {
            if tuple.first >= best {
                break;
            }
            let under = [masked(&key.src, &tuple.masks[0]), masked(&key.dst, &tuple.masks[1])];
            for rule in tuple.rules.get(&under).into_iter().flatten() {
                if rule.priority < best && matches(rule, key) {
                    best = rule.priority;
                }
            }
        }
        best
    }

    /// The right answer for each header, and the number of those for which oracle and scan, asked for every `stride`th
    /// header, do not agree.
    pub fn answers(&self, keys: &[Key<W>]) -> (Vec<u32>, usize) {
        // At most this many steps of the scan per set.
        let stride = (self.rules.len() * keys.len() / 400_000_000).max(1);
        let mut known = HashMap::<Key<W>, u32>::new();
        let mut disagree = 0;
        let answers = keys
            .iter()
            .enumerate()
            .map(|(number, key)| {
                let answer = *known.entry(*key).or_insert_with(|| self.lookup(key));
                if number % stride == 0 && linear(self.rules, key) != answer {
                    disagree += 1;
                }
                answer
            })
            .collect();
        (answers, disagree)
    }
}
