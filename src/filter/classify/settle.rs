//! Rules that keep a table from being left out.
//!
//! A table is not asked about headers that found something better than its best rule ([`Table::best`]). The tables that
//! are planned last often have rules of little importance, and a few that are better than most because their leaves in a
//! larger table would have been long: they go back there if that costs less than asking the table.
//!
//! [`Table::best`]: super::table::Table

use alloc::vec::Vec;

use super::plan::{MAX_TABLES, Plan, vector};
use super::table::bits;
use super::{Refused, Rule};

/// Leaves do not become longer than this.
const LONGEST: u16 = 64;

/// How many rules each slot of each table has.
struct Lengths {
    /// Where a table's slots begin, and by how much its hashes are shifted.
    tables: heapless::Vec<(usize, u32), MAX_TABLES>,
    slots: Vec<u16>,
}

impl Lengths {
    fn new<const W: usize>(rules: &[Rule<W>], plan: &Plan<W>) -> Result<Self, Refused> {
        let (mut tables, mut base) = (heapless::Vec::new(), 0);
        for (size, mask) in plan.sizes().iter().zip(&plan.masks) {
            let bits = bits(*size, mask);
            let _ = tables.push((base, 32 - bits));
            base += 1 << bits;
        }
        let mut lengths = Self { tables, slots: vector(base)? };
        lengths.slots.resize(base, 0);
        for (rule, table) in rules.iter().zip(&plan.table) {
            if let Some(length) = lengths.of(rule, plan, *table) {
                *length = length.saturating_add(1);
            }
        }
        Ok(lengths)
    }

    fn of<const W: usize>(&mut self, rule: &Rule<W>, plan: &Plan<W>, table: u16) -> Option<&mut u16> {
        let (base, shift) = self.tables.get(usize::from(table))?;
        let hash = plan.masks.get(usize::from(table))?.hash_rule(rule);
        self.slots.get_mut(base + (hash >> shift) as usize)
    }
}

/// Moves rules to tables before theirs where that lets more headers leave a table out than it costs. Allocates.
pub(super) fn settle<const W: usize>(rules: &[Rule<W>], plan: &mut Plan<W>) -> Result<(), Refused> {
    let mut lengths = Lengths::new(rules, plan)?;
    let mut priorities = vector(rules.len())?;
    priorities.extend(rules.iter().map(|rule| rule.priority));
    priorities.sort_unstable();
    // About how many headers of a rule each find something as good.
    let rank = |priority: u32| priorities.partition_point(|other| *other < priority);
    // The rules of a table, with their priorities.
    let mut inside = vector::<(u32, u32)>(rules.len())?;
    let mut moves = vector::<(u32, u16)>(rules.len())?;
    for table in (1..plan.masks.len() as u16).rev() {
        inside.clear();
        let numbered = (0u32..).zip(rules).zip(&plan.table).filter(|(_, of)| **of == table);
        inside.extend(numbered.map(|((number, rule), _)| (rule.priority, number)));
        inside.sort_unstable();
        let Some(best) = inside.first().map(|(priority, _)| rank(*priority)) else { continue };
        // With how many of them gone most is gained, in headers times what a table costs that says no. Another rule in a leaf
        // costs about as much, and as many headers come by as it has rules.
        moves.clear();
        let (mut cost, mut most, mut take) = (0, 0, 0);
        for (at, (_, number)) in inside.iter().enumerate() {
            let Some((to, length)) = shortest(rules, plan, &mut lengths, *number, table) else { break };
            moves.push((*number, to));
            cost += usize::from(length);
            let left = inside.get(at + 1).map_or(rules.len(), |(priority, _)| rank(*priority));
            let gain = (left - best).saturating_sub(cost);
            if gain > most {
                (most, take) = (gain, at + 1);
            }
        }
        for (number, to) in moves.iter().take(take) {
            if let Some((rule, of)) = rules.get(*number as usize).zip(plan.table.get_mut(*number as usize)) {
                *of = *to;
                if let Some(length) = lengths.of(rule, plan, *to) {
                    *length += 1;
                }
            }
        }
    }
    Ok(())
}

/// The table before its own in which a rule's leaf is the shortest, and how long that is.
fn shortest<const W: usize>(
    rules: &[Rule<W>],
    plan: &Plan<W>,
    lengths: &mut Lengths,
    number: u32,
    own: u16,
) -> Option<(u16, u16)> {
    let rule = rules.get(number as usize)?;
    let mask = super::Mask::of(rule);
    let before = (0..own).zip(&plan.masks).filter(|(_, other)| other.within(&mask));
    let lengths = before.filter_map(|(table, _)| Some((table, *lengths.of(rule, plan, table)?)));
    lengths.filter(|(_, length)| *length < LONGEST).min_by_key(|(_, length)| *length)
}
