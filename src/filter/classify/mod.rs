//! The classifier: which of many rules is the first that matches a header.
//!
//! Rules sit in a few hash tables, each with a mask that all its rules have in common (tuple space search with merged
//! tuples; docs/decisions says why and what else was tried). A burst is looked up in stages over all its headers, so
//! that every memory access was prefetched a stage before:
//!
//! 1. hash every header for every table;
//! 2. read the table's slot: it knows by a few bits of the hash that nothing can match, and by the best
//!    priority behind it that nothing better can;
//! 3. compare the headers that are left with blocks of four rules at once.
//!
//! A table knows its best priority: headers that have found a better one do not ask it, and a few that have not ask one by one.
//!
//! Where many tables have few rules, a grid over both addresses answers for them, and lookups leave the tables out; bits of all
//! fields do where leaves would be long and a grid too large.
//!
//! Rules are inserted and removed one by one, in place.
#![forbid(unsafe_code)]

mod block;
mod burst;
mod candidates;
mod chains;
mod grid;
mod leaf;
mod mask;
mod order;
mod pair;
mod pairs;
mod plan;
mod settle;
mod table;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use crate::mem::simd::Vector;
pub use candidates::Candidates;
use mask::Mask;
use table::Table;

/// What a lookup says when no rule matches.
pub const NONE: u32 = u32::MAX;

/// The worst priority that a rule can have.
pub const PRIORITY_MAX: u32 = (1 << 30) - 2;

/// Most headers of one burst.
pub const BURST: usize = 64;

/// What of a frame is classified. `W` is the number of 32-bit words of an address: 1 for IPv4, 4 for IPv6, 2 for MAC
/// addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Key<const W: usize> {
    /// Source address, the most significant word first.
    pub src: [u32; W],
    /// Destination address.
    pub dst: [u32; W],
    /// Source and destination port, or any two numbers that rules want in a range.
    pub ports: [u16; 2],
    /// Protocol, and whatever else rules want under a mask; only the lower 16 bits can be asked for.
    pub class: u32,
}

impl<const W: usize> Key<W> {
    /// Both ports, the first in the lower half.
    #[inline(always)]
    const fn port_word(&self) -> u32 {
        let [a, b] = self.ports;
        a as u32 | (b as u32) << 16
    }

    /// A header that has nothing to do with any rule, another one for each number.
    fn scattered(number: u32) -> Self {
        let word = |place: usize| {
            let word = (8 * number + place as u32).wrapping_mul(0x9E37_79B1);
            (word ^ word >> 15).wrapping_mul(0x85EB_CA77)
        };
        let [a, b] = [word(0), word(1)].map(|word| (word >> 16) as u16);
        let class = if number.is_multiple_of(2) { 6 } else { word(2) >> 24 };
        Self {
            src: core::array::from_fn(|at| word(3 + at)),
            dst: core::array::from_fn(|at| !word(4 + at)),
            ports: [a, b],
            class,
        }
    }
}

/// A rule: a header matches if each address and the class are right under their masks and each port is in its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<const W: usize> {
    /// Source address; bits outside the mask do not matter.
    pub src: [u32; W],
    /// Its mask: mostly a prefix, but any will do.
    pub src_mask: [u32; W],
    /// Destination address.
    pub dst: [u32; W],
    /// Its mask.
    pub dst_mask: [u32; W],
    /// Lowest source and destination port.
    pub low: [u16; 2],
    /// Highest, included.
    pub high: [u16; 2],
    /// Class.
    pub class: u16,
    /// Its mask.
    pub class_mask: u16,
    /// The lower, the better; at most [`PRIORITY_MAX`]. A lookup answers with it.
    pub priority: u32,
}

impl<const W: usize> Rule<W> {
    /// True if the header matches.
    #[must_use]
    pub fn matches(&self, key: &Key<W>) -> bool {
        let under = |addr: &[u32; W], mask: &[u32; W], want: &[u32; W]| {
            addr.iter().zip(mask).zip(want).all(|((addr, mask), want)| (addr ^ want) & mask == 0)
        };
        let ports = key.ports.iter().zip(self.low).zip(self.high);
        under(&key.src, &self.src_mask, &self.src)
            && under(&key.dst, &self.dst_mask, &self.dst)
            && ports.into_iter().all(|((port, low), high)| low <= *port && *port <= high)
            && (key.class ^ u32::from(self.class)) & u32::from(self.class_mask) == 0
    }

    /// A header that matches.
    const fn lowest(&self) -> Key<W> {
        Key { src: self.src, dst: self.dst, ports: self.low, class: self.class as u32 }
    }

    /// False if no header can match, or the priority is too large.
    const fn is_valid(&self) -> bool {
        let ([low_a, low_b], [high_a, high_b]) = (self.low, self.high);
        self.priority <= PRIORITY_MAX && low_a <= high_a && low_b <= high_b
    }
}

/// Why rules were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No memory, or more rules than a classifier can hold.
    Full,
    /// A priority above [`PRIORITY_MAX`], or a range of ports that ends before it begins.
    Invalid,
}

/// Rules, ready for lookup.
#[derive(Clone, Debug)]
pub struct Classifier<const W: usize> {
    tables: Vec<Table>,
    masks: Vec<Mask<W>>,
    /// The slots of all tables.
    slots: Vec<u32>,
    /// The leaves of all tables.
    leaves: leaf::Leaves<W>,
    /// Some of them have rules for which no grid answers.
    asks_tables: bool,
    /// How long the leaves of tables that are asked may become: as long as the longest was at first, or a bit.
    longest: u32,
    /// How far a priority is shifted to fit into a slot.
    coarse: u32,
    rules: usize,
    /// What answers for the rules of small tables.
    grid: Option<grid::Grid<W>>,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "there is nothing in it"))]
    vector: Vector,
}

impl<const W: usize> Classifier<W> {
    /// Builds it. Room is left for a quarter more rules, to be inserted later. Allocates.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn new(rules: &[Rule<W>]) -> Result<Self, Refused> {
        table::build(rules, table::Wanted::Fast)
    }

    /// Builds what [`Classifier::candidates`] needs: less than [`Classifier::new`]. Lookups are right, and slower where
    /// rules are few. Allocates.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn for_candidates(rules: &[Rule<W>]) -> Result<Self, Refused> {
        table::build(rules, table::Wanted::Tables)
    }

    /// Number of rules.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rules
    }

    /// True without rules.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules == 0
    }

    /// What it takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let tables = self.tables.capacity() * (size_of::<Table>() + size_of::<Mask<W>>());
        let grid = self.grid.as_ref().map_or(0, grid::Grid::memory_bytes);
        tables + self.slots.capacity() * size_of::<u32>() + self.leaves.memory_bytes() + grid
    }

    /// Number of hash tables.
    #[must_use]
    pub fn tables(&self) -> usize {
        self.tables.len()
    }

    /// Number of hash tables that a lookup asks: those with rules for which no grid answers.
    #[must_use]
    pub fn tables_asked(&self) -> usize {
        self.tables.iter().filter(|table| table.loose > 0).count()
    }
}
