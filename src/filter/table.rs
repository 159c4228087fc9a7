//! Address tables: longest prefix match.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::{Family, Table, TableEntry};

/// What a table says about the addresses from a start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// No prefix covers them.
    Absent,
    /// The longest prefix that covers them has no `!`.
    Member,
    /// The longest prefix that covers them has one.
    Negated,
}

/// A table for lookup. The prefixes are flattened into intervals that do not overlap, sorted by their first address,
/// so that a lookup is one binary search whatever their lengths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupTable {
    starts4: Vec<u32>,
    answers4: Vec<Answer>,
    starts6: Vec<u128>,
    answers6: Vec<Answer>,
}

impl LookupTable {
    /// Builds it, in time `n log n`. `None` without memory.
    #[must_use]
    pub fn new(table: &Table) -> Option<Self> {
        let mut entries: Vec<TableEntry> = Vec::new();
        entries.try_reserve_exact(table.entries.len()).ok()?;
        entries.extend_from_slice(&table.entries);
        entries.sort_unstable_by_key(|entry| (entry.addr, entry.len));
        let of = |family: Family| entries.iter().filter(move |entry| entry.family == family);
        let (starts, answers4) = intervals(of(Family::V4), 32)?;
        let mut starts4 = Vec::new();
        starts4.try_reserve_exact(starts.len()).ok()?;
        starts4.extend(starts.iter().map(|start| (start >> 96) as u32));
        let (starts6, answers6) = intervals(of(Family::V6), 128)?;
        Some(Self { starts4, answers4, starts6, answers6 })
    }

    /// True if the longest prefix that covers the address is there and has no `!`. The address is in network order,
    /// IPv4 in the first four bytes.
    #[must_use]
    pub fn contains(&self, family: Family, addr: &[u8; 16]) -> bool {
        let answer = match family {
            Family::V4 => {
                let [a, b, c, d, ..] = *addr;
                let addr = u32::from_be_bytes([a, b, c, d]);
                let behind = self.starts4.partition_point(|start| *start <= addr);
                self.answers4.get(behind.wrapping_sub(1))
            }
            Family::V6 => {
                let addr = u128::from_be_bytes(*addr);
                let behind = self.starts6.partition_point(|start| *start <= addr);
                self.answers6.get(behind.wrapping_sub(1))
            }
            Family::Any => None,
        };
        answer == Some(&Answer::Member)
    }

    /// Number of intervals, both families: what it costs in memory.
    #[must_use]
    pub fn intervals(&self) -> usize {
        self.starts4.len().saturating_add(self.starts6.len())
    }
}

/// Flattens prefixes that are sorted by address and length; `bits` is the length of an address. Addresses stand in
/// the upper bits.
fn intervals<'a>(entries: impl Iterator<Item = &'a TableEntry> + Clone, bits: u8) -> Option<(Vec<u128>, Vec<Answer>)> {
    let mut out = (Vec::new(), Vec::new());
    let most = entries.clone().count().checked_mul(2)?;
    out.0.try_reserve_exact(most).ok()?;
    out.1.try_reserve_exact(most).ok()?;
    // The prefixes that cover the current address, the shortest first, each with its last address.
    let mut open = heapless::Vec::<(u128, Answer), 129>::new();
    for entry in entries {
        let start = u128::from_be_bytes(entry.addr);
        let host_bits = u128::MAX.checked_shr(u32::from(entry.len.min(bits))).unwrap_or(0);
        close(&mut open, &mut out, Some(start));
        let answer = if entry.negate { Answer::Negated } else { Answer::Member };
        begin(&mut out, start, answer);
        // More than 129 nested prefixes do not exist: each is longer than the one around it.
        let _ = open.push((start | host_bits, answer));
    }
    close(&mut open, &mut out, None);
    Some(out)
}

/// Ends the open prefixes that lie before `next`: behind each, the one around it answers again.
fn close(open: &mut heapless::Vec<(u128, Answer), 129>, out: &mut (Vec<u128>, Vec<Answer>), next: Option<u128>) {
    while let Some((last, _)) = open.last().copied()
        && next.is_none_or(|next| last < next)
    {
        open.pop();
        // None: the prefix ends with the last address there is.
        if let Some(start) = last.checked_add(1) {
            begin(out, start, open.last().map_or(Answer::Absent, |(_, answer)| *answer));
        }
    }
}

/// Begins an interval; one that begins at the same address has no addresses and goes away.
fn begin(out: &mut (Vec<u128>, Vec<Answer>), start: u128, answer: Answer) {
    if out.0.last() == Some(&start) {
        out.0.pop();
        out.1.pop();
    }
    if out.1.last() != Some(&answer) {
        out.0.push(start);
        out.1.push(answer);
    }
}
