//! A ruleset in the form that matchers work on, and what goes with one load of it.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::foresee::Foresight;
use super::guide::Guide;
use super::image::{Children, EXPANDED_MAX};
use super::{
    Action, AddrKind, AddrMatch, Call, Direction, Endpoint, Family, IcmpMatch, List, PortMatch, Rule, RuleFlags,
    Ruleset, Scrub, TcpFlagsMatch,
};

/// A rule without its texts, addresses as numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    pub action: Action,
    pub direction: Direction,
    pub flags: RuleFlags,
    /// `inet` or `inet6`, also where only an address says so.
    pub family: Family,
    pub protocol: Option<u8>,
    pub src: Side,
    pub dst: Side,
    pub icmp: Option<IcmpMatch>,
    pub tcp_flags: TcpFlagsMatch,
    /// The rule tests or does something that stands only in the [`Rule`].
    pub is_rare: bool,
}

/// One side of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub kind: AddrKind,
    pub negate: bool,
    pub addr: u128,
    pub end: u128,
    pub table: u32,
    pub port: PortMatch,
}

impl Side {
    fn new(side: &Endpoint) -> Self {
        Self { port: side.port, ..Self::of(&side.addr) }
    }

    /// An address without a port.
    pub fn of(test: &AddrMatch) -> Self {
        let AddrMatch { kind, negate, addr, end, table } = *test;
        let (addr, end) = (u128::from_be_bytes(addr), u128::from_be_bytes(end));
        Self { kind, negate, addr, end, table, port: PortMatch::default() }
    }

    pub const fn family(&self) -> Family {
        match self.kind {
            AddrKind::Any | AddrKind::Table | AddrKind::Dynamic => Family::Any,
            AddrKind::Mask4 | AddrKind::Range4 => Family::V4,
            AddrKind::Mask6 | AddrKind::Range6 => Family::V6,
        }
    }
}

impl Test {
    fn new(rule: &Rule) -> Self {
        let (src, dst) = (Side::new(&rule.src), Side::new(&rule.dst));
        let family = [rule.family, src.family(), dst.family()].into_iter().find(|family| *family != Family::Any);
        let is_rare = rule.tos.is_some()
            || rule.tagged != 0
            || rule.tag != 0
            || rule.probability != 0
            || rule.packet_rate.is_some()
            || rule.ether.is_some()
            || rule.nat.is_some()
            || rule.rdr.is_some()
            || rule.scrub != Scrub::NONE
            || rule.flags.contains(RuleFlags::ONCE);
        Self {
            action: rule.action,
            direction: rule.direction,
            flags: rule.flags,
            family: family.unwrap_or(Family::Any),
            protocol: rule.protocol,
            src,
            dst,
            icmp: rule.icmp,
            tcp_flags: rule.tcp_flags,
            is_rare,
        }
    }
}

/// A step of a program: what one list of the root comes to when calls are written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A rule that is not a call.
    Rule(u32),
    /// A rule that is one. If it does not match, go on behind the step `end`.
    Enter {
        /// Number of the rule.
        rule: u32,
        /// The matching [`Step::Leave`].
        end: u32,
    },
    /// The end of what a call called. If the call is `quick` and something matched since, that is the end.
    Leave {
        /// The matching [`Step::Enter`].
        start: u32,
        /// The call is `quick`.
        quick: bool,
    },
}

/// A ruleset that can judge frames.
#[derive(Debug)]
pub struct Compiled {
    ruleset: Ruleset,
    pub(super) tests: Vec<Test>,
    programs: [Vec<Step>; List::ALL.len()],
    guides: [Option<Guide>; List::ALL.len()],
    foresight: Option<Foresight>,
}

impl Compiled {
    /// Prepares a ruleset that [`super::image::parse`] accepted. `None` without memory.
    #[must_use]
    pub fn new(ruleset: Ruleset) -> Option<Self> {
        let mut tests = Vec::new();
        tests.try_reserve_exact(ruleset.rules.len()).ok()?;
        tests.extend(ruleset.rules.iter().map(Test::new));
        let children = Children::new(&ruleset.anchors)?;
        let mut programs = [const { Vec::new() }; List::ALL.len()];
        for (list, program) in List::ALL.into_iter().zip(&mut programs) {
            Expansion::new(&ruleset, list, &children)?.run(program)?;
        }
        let mut guides = [const { None }; List::ALL.len()];
        for ((list, program), guide) in List::ALL.into_iter().zip(&programs).zip(&mut guides) {
            *guide = Guide::new(list, program, &tests);
        }
        let filter = List::Filter as usize;
        let foresight = programs.get(filter).and_then(|program| {
            Foresight::new(program, &tests, &ruleset.rules, guides.get(filter).and_then(Option::as_ref))
        });
        Some(Self { ruleset, tests, programs, guides, foresight })
    }

    /// What it was made of.
    #[must_use]
    pub const fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// A rule by its number.
    #[must_use]
    pub fn rule(&self, number: u32) -> Option<&Rule> {
        self.ruleset.rules.get(number as usize)
    }

    /// What tells which steps of a list a packet could match, if it is a long list.
    pub(super) fn guide(&self, list: List) -> Option<&Guide> {
        self.guides.get(list as usize)?.as_ref()
    }

    /// What decides about packets without a walk through the filter list, if anything does.
    pub(super) const fn foresight(&self) -> Option<&Foresight> {
        self.foresight.as_ref()
    }

    /// One list with its calls written out.
    pub(super) fn program(&self, list: List) -> &[Step] {
        self.programs.get(list as usize).map_or(&[], Vec::as_slice)
    }

    /// For each rule, whether its `on` fits this interface.
    pub(super) fn applies(&self, if_name: &str) -> Option<Vec<bool>> {
        let mut applies = Vec::new();
        applies.try_reserve_exact(self.ruleset.rules.len()).ok()?;
        applies.extend(self.ruleset.rules.iter().map(|rule| {
            rule.interface.is_empty()
                || interface_matches(&rule.interface, if_name) != rule.flags.contains(RuleFlags::NOT_INTERFACE)
        }));
        Some(applies)
    }
}

/// Writes calls out.
struct Expansion<'a> {
    /// First and one behind the last rule of each anchor's list.
    ranges: Vec<(u32, u32)>,
    rules: &'a [Rule],
    children: &'a Children,
    /// Lists that are being gone through: next rule, end, anchors that come after it (for `path/*`), the call.
    way: Vec<Level<'a>>,
}

struct Level<'a> {
    next: u32,
    end: u32,
    siblings: &'a [u32],
    call: Option<u32>,
}

impl<'a> Expansion<'a> {
    fn new(ruleset: &'a Ruleset, list: List, children: &'a Children) -> Option<Self> {
        let mut ranges = Vec::new();
        ranges.try_reserve_exact(ruleset.anchors.len()).ok()?;
        for lists in ruleset.ranges() {
            let range = lists.get(list as usize)?;
            ranges.push((u32::try_from(range.start).ok()?, u32::try_from(range.end).ok()?));
        }
        Some(Self { ranges, rules: &ruleset.rules, children, way: Vec::new() })
    }

    fn enter(&mut self, call: Call, step: Option<u32>) -> Option<()> {
        let anchor = call.anchor as usize;
        let (next, end) = if call.children { (0, 0) } else { self.ranges.get(anchor).copied().unwrap_or((0, 0)) };
        let siblings = if call.children { self.children.of(anchor) } else { &[] };
        self.way.try_reserve(1).ok()?;
        self.way.push(Level { next, end, siblings, call: step });
        Some(())
    }

    /// The steps, from the root's list on.
    fn run(&mut self, program: &mut Vec<Step>) -> Option<()> {
        self.enter(Call { anchor: 0, children: false }, None)?;
        while let Some(level) = self.way.last_mut() {
            if program.len() > EXPANDED_MAX {
                return None;
            }
            let at = u32::try_from(program.len()).ok()?;
            program.try_reserve(1).ok()?;
            if level.next < level.end {
                let number = level.next;
                level.next = number.saturating_add(1);
                let call = self.rules.get(number as usize)?.call;
                program.push(call.map_or(Step::Rule(number), |_| Step::Enter { rule: number, end: 0 }));
                if let Some(call) = call {
                    self.enter(call, Some(at))?;
                }
            } else if let Some((child, rest)) = level.siblings.split_first() {
                level.siblings = rest;
                (level.next, level.end) = self.ranges.get(*child as usize).copied()?;
            } else if let Some(start) = self.way.pop().and_then(|level| level.call) {
                let Some(Step::Enter { rule, end }) = program.get_mut(start as usize) else {
                    return None;
                };
                *end = at;
                let quick = self.rules.get(*rule as usize)?.flags.contains(RuleFlags::QUICK);
                program.push(Step::Leave { start, quick });
            }
        }
        Some(())
    }
}

/// `on NAME`: the interface itself, or its group, which is its name without the unit's number.
pub(super) fn interface_matches(wanted: &str, if_name: &str) -> bool {
    wanted == if_name || (!if_name.is_empty() && wanted == if_name.trim_end_matches(|c: char| c.is_ascii_digit()))
}
