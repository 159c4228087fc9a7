//! Lists of rules, each kept once and known by number.

use alloc::vec::Vec;

use super::super::Rule;
use super::axis::push;

/// Rules of a list, at most.
const LONGEST: usize = 512;

/// Rules of all lists together, at most.
const ITEMS: usize = 1 << 22;

/// Unions that are remembered.
const UNIONS: usize = 1 << 14;

/// Lists of numbers, each known by its own.
pub(super) struct Lists {
    items: Vec<u32>,
    /// Where each begins; one more for the end.
    starts: Vec<u32>,
    /// By hash.
    slots: Vec<u32>,
}

impl Lists {
    /// With the empty list as number 0.
    pub(super) fn new() -> Option<Self> {
        let mut lists = Self { items: Vec::new(), starts: Vec::new(), slots: Vec::new() };
        push(&mut lists.starts, 0)?;
        lists.slots.try_reserve_exact(1 << 10).ok()?;
        lists.slots.resize(1 << 10, u32::MAX);
        lists.number(&[])?;
        Some(lists)
    }

    pub(super) fn get(&self, number: u32) -> &[u32] {
        match self.starts.get(number as usize..) {
            Some([start, end, ..]) => self.items.get(*start as usize..*end as usize).unwrap_or(&[]),
            _ => &[],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn slot(&self, list: &[u32]) -> usize {
        let hash = list.iter().fold(list.len() as u64, |hash, item| {
            (hash ^ u64::from(*item)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
        });
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & (self.slots.len() - 1)
    }

    /// The number of a list. `None` without memory or with too many.
    pub(super) fn number(&mut self, list: &[u32]) -> Option<u32> {
        let mut slot = self.slot(list);
        loop {
            match *self.slots.get(slot)? {
                u32::MAX => break,
                number if self.get(number) == list => return Some(number),
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
        if list.len() > LONGEST || self.items.len() + list.len() > ITEMS {
            return None;
        }
        let number = u32::try_from(self.len()).ok()?;
        self.items.try_reserve(list.len()).ok()?;
        self.items.extend_from_slice(list);
        push(&mut self.starts, self.items.len() as u32)?;
        *self.slots.get_mut(slot)? = number;
        if self.len() * 2 > self.slots.len() {
            let more = self.slots.len();
            self.slots.try_reserve_exact(more).ok()?;
            self.slots.resize(2 * more, u32::MAX);
            self.slots.fill(u32::MAX);
            for number in 0..self.len() as u32 {
                let mut slot = self.slot(self.get(number));
                while *self.slots.get(slot)? != u32::MAX {
                    slot = (slot + 1) & (self.slots.len() - 1);
                }
                *self.slots.get_mut(slot)? = number;
            }
        }
        Some(number)
    }
}

/// What a rule says beside its addresses.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    pub low: [u16; 2],
    pub high: [u16; 2],
    class: u16,
    class_mask: u16,
}

impl Scope {
    pub(super) const fn of<const W: usize>(rule: &Rule<W>) -> Self {
        Self { low: rule.low, high: rule.high, class: rule.class, class_mask: rule.class_mask }
    }

    /// The same for headers of which one port is known to be right.
    pub(super) fn without_port(mut self, side: usize) -> Self {
        if let (Some(low), Some(high)) = (self.low.get_mut(side), self.high.get_mut(side)) {
            (*low, *high) = (0, u16::MAX);
        }
        self
    }

    /// True if it takes the port.
    pub(super) fn has_port(&self, side: usize, port: u16) -> bool {
        self.low.get(side).zip(self.high.get(side)).is_some_and(|(low, high)| (*low..=*high).contains(&port))
    }

    /// True if all headers match, as far as more than their addresses and the `known` bits of their class are concerned.
    pub(super) fn has_all(&self, known: u16) -> bool {
        self.low == [0; 2] && self.high == [u16::MAX; 2] && self.class_mask & !known == 0
    }

    /// True if whatever matches the other matches this, too. `known` are the bits of the class that are right anyway.
    fn covers(&self, other: &Self, known: u16) -> bool {
        let ([low_a, low_b], [high_a, high_b]) = (self.low, self.high);
        let ([from_a, from_b], [to_a, to_b]) = (other.low, other.high);
        let class_mask = self.class_mask & !known;
        (low_a <= from_a) & (high_a >= to_a) & (low_b <= from_b) & (high_b >= to_b)
            && class_mask & !other.class_mask == 0
            && (self.class ^ other.class) & class_mask == 0
    }
}

/// Unions of two lists, without what is never reached in them.
pub(super) struct Unions<'a> {
    pub scopes: &'a [Scope],
    /// Bits of the class that are right for all rules.
    pub class: u16,
    /// Two lists' numbers and that of their union.
    known: Vec<(u32, u32, u32)>,
    list: Vec<u32>,
}

impl<'a> Unions<'a> {
    pub(super) fn new(scopes: &'a [Scope], class: u16) -> Option<Self> {
        let mut known = Vec::new();
        known.try_reserve_exact(UNIONS).ok()?;
        known.resize(UNIONS, (0, 0, 0));
        Some(Self { scopes, class, known, list: Vec::new() })
    }

    /// The number of the list of these rules, which are in order.
    pub(super) fn list(
        &mut self,
        lists: &mut Lists,
        rules: impl Iterator<Item = u32>,
        work: &mut usize,
    ) -> Option<u32> {
        self.list.clear();
        for rule in rules {
            self.append(rule, work)?;
        }
        lists.number(&self.list)
    }

    fn append(&mut self, rule: u32, work: &mut usize) -> Option<()> {
        *work = work.checked_sub(self.list.len() + 1)?;
        let this = self.scopes.get(rule as usize)?;
        let before = |rule: &u32| self.scopes.get(*rule as usize).is_some_and(|before| before.covers(this, self.class));
        if self.list.iter().any(before) { Some(()) } else { push(&mut self.list, rule) }
    }

    /// The number of the union. `None` if `work`, in comparisons of rules, is used up, too.
    pub(super) fn of(&mut self, lists: &mut Lists, a: u32, b: u32, work: &mut usize) -> Option<u32> {
        if a == b || b == 0 {
            return Some(a);
        }
        if a == 0 {
            return Some(b);
        }
        let slot = (a.wrapping_mul(0x9E37_79B1) ^ b.wrapping_mul(0x85EB_CA77)) >> (32 - UNIONS.ilog2());
        let known = *self.known.get(slot as usize)?;
        if (known.0, known.1) == (a, b) {
            return Some(known.2);
        }
        self.list.clear();
        let (mut from_a, mut from_b) = (lists.get(a), lists.get(b));
        loop {
            let rule = match (from_a, from_b) {
                ([a, ..], [b, ..]) => *a.min(b),
                ([rule, ..], []) | ([], [rule, ..]) => *rule,
                ([], []) => break,
            };
            from_a = from_a.strip_prefix(&[rule]).unwrap_or(from_a);
            from_b = from_b.strip_prefix(&[rule]).unwrap_or(from_b);
            self.append(rule, work)?;
        }
        let union = lists.number(&self.list)?;
        *self.known.get_mut(slot as usize)? = (a, b, union);
        Some(union)
    }
}
