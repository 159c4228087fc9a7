//! From an address to its class: which prefixes it lies in.
//!
//! A trie, 16 bits in the first step and eight in each further one, with an array for each node: steps are the same
//! few instructions for every header, without a branch.

use alloc::vec::Vec;

use crate::mem::locate::NODE;

/// Entries of a root, and one that makes reads of two possible.
const ROOT: usize = (1 << 16) + 1;

/// Entries of a node.
pub(super) const FAN: usize = 256;

/// A prefix: the address in the upper bits, and its length.
pub(super) type Prefix = (u128, u8);

/// The classes of prefixes: 0 is outside of all, else a prefix's number plus one.
pub(super) struct Classes {
    /// The class around each, that of the next shorter prefix.
    pub parent: Vec<u16>,
    /// Where another class begins, and which.
    starts: Vec<(u128, u16)>,
}

/// Adds to a vector unless there is no memory.
pub(super) fn push<T>(vector: &mut Vec<T>, value: T) -> Option<()> {
    vector.try_reserve(1).ok()?;
    vector.push(value);
    Some(())
}

impl Classes {
    /// From different prefixes in the order of address and length.
    pub(super) fn new(prefixes: &[Prefix]) -> Option<Self> {
        if prefixes.len() >= usize::from(NODE) {
            return None;
        }
        let mut classes = Self { parent: Vec::new(), starts: Vec::new() };
        push(&mut classes.parent, 0)?;
        classes.begin(0, 0)?;
        // The prefixes around the current one: last address, class.
        let mut open = heapless::Vec::<(u128, u16), 129>::new();
        for (class, (addr, len)) in (1u16..).zip(prefixes) {
            classes.close(&mut open, Some(*addr))?;
            push(&mut classes.parent, open.last().map_or(0, |(_, class)| *class))?;
            classes.begin(*addr, class)?;
            open.push((addr | u128::MAX.checked_shr(u32::from(*len)).unwrap_or(0), class)).ok()?;
        }
        classes.close(&mut open, None)?;
        Some(classes)
    }

    fn begin(&mut self, at: u128, class: u16) -> Option<()> {
        if self.starts.last().is_some_and(|(start, _)| *start == at) {
            self.starts.pop();
        }
        push(&mut self.starts, (at, class))
    }

    /// Ends what is open before `next`.
    fn close(&mut self, open: &mut heapless::Vec<(u128, u16), 129>, next: Option<u128>) -> Option<()> {
        while let Some((last, _)) = open.last().copied()
            && next.is_none_or(|next| last < next)
        {
            open.pop();
            if let Some(start) = last.checked_add(1) {
                self.begin(start, open.last().map_or(0, |(_, class)| *class))?;
            }
        }
        Some(())
    }

    /// The trie's root; its nodes, no more than `most`, go behind those that are there.
    pub(super) fn trie(&self, nodes: &mut Vec<u16>, most: usize) -> Option<Vec<u16>> {
        let mut root = Vec::new();
        root.try_reserve_exact(ROOT).ok()?;
        root.resize(ROOT, 0);
        fill(root.get_mut(..ROOT - 1)?, &self.starts, 16, nodes, most)?;
        Some(root)
    }
}

/// Fills the entries for the bits of an address that end `end` bits from its top. Classes change as `starts` says, the
/// first of which may lie before what the bits can reach.
fn fill(entries: &mut [u16], starts: &[(u128, u16)], end: u32, nodes: &mut Vec<u16>, most: usize) -> Option<()> {
    let shift = 128u32.checked_sub(end)?;
    let mask = entries.len() - 1;
    let value = |start: u128| (start >> shift) as usize & mask;
    let ((_, mut class), mut rest) = starts.split_first().map(|(first, rest)| (*first, rest))?;
    let mut done = 0;
    while let Some((start, first_class)) = rest.first().copied() {
        let at = value(start);
        let here = rest.iter().take_while(|(start, _)| value(*start) == at).count();
        let (inside, behind) = rest.split_at(here);
        entries.get_mut(done..at)?.fill(class);
        let starts_at_once = start.unbounded_shl(end) == 0;
        let entry = if here == 1 && starts_at_once {
            first_class
        } else {
            // With the class that is there before the first start inside.
            let mut within = Vec::new();
            within.try_reserve_exact(here + 1).ok()?;
            if !starts_at_once {
                within.push((0, class));
            }
            within.extend_from_slice(inside);
            let number = nodes.len() / FAN;
            if number >= most {
                return None;
            }
            nodes.try_reserve(FAN).ok()?;
            nodes.resize(nodes.len() + FAN, 0);
            let mut node = [0; FAN];
            fill(&mut node, &within, end + 8, nodes, most)?;
            nodes.get_mut(number * FAN..)?.first_chunk_mut().map(|to| *to = node)?;
            NODE | u16::try_from(number).ok()?
        };
        *entries.get_mut(at)? = entry;
        class = inside.last()?.1;
        done = at + 1;
        rest = behind;
    }
    entries.get_mut(done..)?.fill(class);
    Some(())
}
