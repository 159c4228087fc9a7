//! Services: kinds of headers divided by their ports.
//!
//! All ports of a service are in the same ranges, so that whatever leads to the service has compared them.

use alloc::vec::Vec;

use super::axis::push;
use super::lists::{Lists, Scope};
use crate::mem::locate::Ports;

/// A port is not worth its read unless one rule in so many wants a range of it.
const SHARE: usize = 8;

/// One of the ports of a kind of headers, each with a number that stands for the ranges it is in.
pub(super) struct Division {
    /// For each port; all behind the last one are as that.
    numbers: Vec<u16>,
    /// One port of each number.
    ports: Vec<u16>,
}

/// The services of a kind.
pub(super) struct Split {
    by: [Option<Division>; 2],
}

/// The first and the last port.
type Range = (u16, u16);

/// The range of ports that a rule wants, unless it takes all.
fn range(scope: &Scope, side: usize) -> Option<Range> {
    let range = (*scope.low.get(side)?, *scope.high.get(side)?);
    (range != (0, u16::MAX)).then_some(range)
}

impl Split {
    /// By both ports or one, or none where that is not worth it: no more than `most` services and `sides` ports, for the rules
    /// that are given by number. `None` without memory.
    pub(super) fn new(
        scopes: &[Scope],
        rules: impl Iterator<Item = u32> + Clone,
        sides: usize,
        most: usize,
        work: &mut usize,
    ) -> Option<Self> {
        let mut wanting = [Vec::new(), Vec::new()];
        for rule in rules.clone() {
            let scope = scopes.get(rule as usize)?;
            for (side, wanting) in wanting.iter_mut().enumerate() {
                if let Some(range) = range(scope, side) {
                    push(wanting, range)?;
                }
            }
        }
        let count = rules.count();
        let [src, dst] = &wanting;
        let mut split = Self { by: [None, None] };
        let (mut left, mut sides) = (most, sides);
        // That which says more first.
        for side in if src.len() > dst.len() { [0, 1] } else { [1, 0] } {
            if let (Some(wanting), Some(to)) = (wanting.get_mut(side), split.by.get_mut(side))
                && sides > 0
                && wanting.len() * SHARE >= count
                && let Some(division) = Division::new(wanting, left, work)
            {
                left /= division.ports.len().max(1);
                sides -= 1;
                *to = Some(division);
            }
        }
        Some(split)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by.iter().flatten().map(|division| division.ports.len()).product()
    }

    /// By how many ports they are.
    pub(super) fn sides(&self) -> usize {
        self.by.iter().flatten().count()
    }

    /// Adds the numbers of ports to those that are there, and says where they are.
    pub(super) fn add_numbers(&self, numbers: &mut Vec<u16>) -> Option<[Ports; 2]> {
        let mut ports = [Ports::default(); 2];
        let mut factor = 1;
        for (ports, division) in ports.iter_mut().zip(&self.by) {
            let Some(division) = division else { continue };
            *ports =
                Ports { at: u32::try_from(numbers.len()).ok()?, last: u16::try_from(division.numbers.len() - 1).ok()? };
            numbers.try_reserve(division.numbers.len()).ok()?;
            numbers.extend(division.numbers.iter().map(|number| number * factor));
            factor *= division.ports.len() as u16;
        }
        Some(ports)
    }

    /// True if a service has the rule.
    pub(super) fn has(&self, mut service: usize, scope: &Scope) -> bool {
        self.by.iter().enumerate().all(|(side, division)| {
            division.as_ref().is_none_or(|division| {
                let port = division.ports.get(service % division.ports.len());
                service /= division.ports.len();
                port.is_some_and(|port| scope.has_port(side, *port))
            })
        })
    }

    /// What a rule says for headers of a service that has it.
    pub(super) fn within(&self, scope: Scope) -> Scope {
        let divided = self.by.iter().enumerate().filter(|(_, division)| division.is_some());
        divided.fold(scope, |scope, (side, _)| scope.without_port(side))
    }
}

impl Division {
    /// By the ranges that rules want, in no more than `most` numbers. `None` if it takes more or only one, if `work` is used up,
    /// or without memory.
    fn new(wanting: &mut Vec<Range>, most: usize, work: &mut usize) -> Option<Self> {
        wanting.sort_unstable();
        wanting.dedup();
        let mut starts = Vec::new();
        push(&mut starts, 0u16)?;
        for (low, high) in wanting.iter() {
            push(&mut starts, *low)?;
            if let Some(behind) = high.checked_add(1) {
                push(&mut starts, behind)?;
            }
        }
        starts.sort_unstable();
        starts.dedup();
        *work = work.checked_sub(starts.len().checked_mul(wanting.len())?)?;
        let mut division = Self { numbers: Vec::new(), ports: Vec::new() };
        division.numbers.try_reserve_exact(1 << 16).ok()?;
        let mut lists = Lists::new()?;
        let (mut here, mut service_of) = (Vec::new(), Vec::<(u32, u16)>::new());
        let ends = starts.iter().skip(1).map(|start| usize::from(*start)).chain([1 << 16]);
        for (start, end) in starts.iter().zip(ends) {
            here.clear();
            here.try_reserve(wanting.len()).ok()?;
            let ranges = (0u32..).zip(wanting.iter());
            here.extend(ranges.filter(|(_, (low, high))| (low..=high).contains(&start)).map(|(range, _)| range));
            let list = lists.number(&here)?;
            let known = service_of.iter().find(|(known, _)| *known == list).map(|(_, service)| *service);
            let service = match known {
                Some(service) => service,
                None if division.ports.len() >= most => return None,
                None => {
                    let service = u16::try_from(division.ports.len()).ok()?;
                    push(&mut service_of, (list, service))?;
                    push(&mut division.ports, *start)?;
                    service
                }
            };
            division.numbers.resize(end, service);
        }
        // Behind the last start all ports are the same.
        division.numbers.truncate(starts.last().map_or(1, |start| usize::from(*start) + 1));
        division.numbers.shrink_to_fit();
        (division.ports.len() > 1).then_some(division)
    }
}
