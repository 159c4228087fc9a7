//! In which order tables are asked.

use alloc::vec::Vec;

use super::plan::MAX_TABLES;
use super::{Classifier, Key, NONE, Rule};

/// So many rules are tried to find out which order is cheaper.
const SAMPLE: usize = 512;

/// What a comparison with a leaf costs, in units of a table that says no.
const COMPARED: u32 = 4;

/// Places of tables.
type Places = heapless::Vec<u16, MAX_TABLES>;

impl<const W: usize> Classifier<W> {
    /// Puts the tables into a better order than that in which they were planned, the largest first, if there is one:
    /// the better the rule that a header finds first, the more of the other tables need not be asked. `leaves` are those
    /// of all tables, each with its table, its best priority and its number of rules.
    pub(super) fn sort_tables(&mut self, rules: &[Rule<W>], leaves: impl Iterator<Item = (u16, u32, usize)>) {
        let mut sums = [(0u64, 0u64); MAX_TABLES];
        for (table, best, len) in leaves {
            if let Some((sum, count)) = sums.get_mut(usize::from(table)) {
                *sum += u64::from(best) * len as u64;
                *count += len as u64;
            }
        }
        let (mut planned, mut sorted) = (Places::new(), Places::new());
        for place in 0..self.tables.len() as u16 {
            if planned.push(place).is_err() || sorted.push(place).is_err() {
                return;
            }
        }
        // What the headers of a table's rules find first there, on average.
        let found = |place: &u16| {
            sums.get(usize::from(*place)).and_then(|(sum, count)| sum.checked_div(*count)).unwrap_or(u64::MAX)
        };
        sorted.sort_by_key(found);
        let sample = || rules.iter().step_by((rules.len() / SAMPLE).max(1)).map(Rule::lowest);
        let cost = |order: &Places| sample().map(|key| u64::from(self.cost(order, &key))).sum::<u64>();
        let (mut tables, mut masks) = (Vec::new(), Vec::new());
        if cost(&sorted) >= cost(&planned)
            || tables.try_reserve_exact(sorted.len()).is_err()
            || masks.try_reserve_exact(sorted.len()).is_err()
        {
            return;
        }
        tables.extend(sorted.iter().filter_map(|place| self.tables.get(usize::from(*place))));
        masks.extend(sorted.iter().filter_map(|place| self.masks.get(usize::from(*place))));
        (self.tables, self.masks) = (tables, masks);
    }

    /// About what a header costs with tables in this order, in units of a table that says no.
    fn cost(&self, order: &Places, key: &Key<W>) -> u32 {
        let (mut best, mut cost) = (NONE, 0);
        let places = order.iter().map(|place| usize::from(*place));
        for (table, mask) in places.filter_map(|place| self.tables.get(place).zip(self.masks.get(place))) {
            if table.loose == 0 || best <= table.best {
                continue;
            }
            cost += 1;
            if let Some(found) = self.find_in(*table, mask, key, best) {
                cost += COMPARED;
                best = best.min(found);
            }
        }
        cost
    }
}
