//! Which rules of a long list a packet could match at all.
//!
//! The classifier knows of each rule a box that holds every packet that the rule can match: addresses, ports, protocol,
//! direction, whether it is a fragment. Tables, negated addresses, ranges that are no prefix and everything else that
//! a rule may test make the box larger, never smaller. Evaluation goes through the rules whose boxes hold the packet, in
//! the order of the list, and tests each as it always does: what it finds is what the whole list would have said.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::classify::{self, Candidates, Classifier};
use super::compiled::{Side, Step, Test};
use super::linear::Subject;
use super::{AddrKind, Direction, Family, List, PortMatch, PortOp, RuleFlags, TcpFlagsMatch};
use crate::wire::{Parsed, protocol, tcp};

/// Shorter lists are gone through faster than looked up.
const WORTH_IT: usize = 64;

/// Bits of a class above the protocol.
const IS_IN: u16 = 1 << 8;
const IS_FRAGMENT: u16 = 1 << 9;
/// `flags S/SA` is no obstacle: what `keep state` asks of TCP unless told otherwise.
const IS_OPENING: u16 = 1 << 10;

/// The guide to one list.
#[derive(Debug)]
pub(super) struct Guide {
    pub(super) v4: Classifier<1>,
    pub(super) v6: Classifier<4>,
    /// Steps that are never left out: where anchors begin and end.
    always: Vec<u32>,
}

/// Where a walk that is guided goes next.
pub(super) struct Way<'a> {
    guide: &'a Guide,
    candidates: Candidates,
    /// The first candidate not yet visited.
    next: usize,
}

impl Guide {
    /// For a list, if it gains from one: `None` also without memory, because nothing depends on it. Allocates.
    pub(super) fn new(list: List, program: &[Step], tests: &[Test]) -> Option<Self> {
        // Layer 2 rules see packets of no family, and binat's rules look at packets the wrong way round.
        if program.len() < WORTH_IT || matches!(list, List::Ether | List::Binat) {
            return None;
        }
        let always_count = program.iter().filter(|step| !matches!(step, Step::Rule(_))).count();
        if always_count * 4 > program.len() {
            return None;
        }
        let mut always = Vec::new();
        always.try_reserve_exact(always_count).ok()?;
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        v4.try_reserve_exact(program.len()).ok()?;
        v6.try_reserve_exact(program.len()).ok()?;
        for (at, step) in (0u32..).zip(program) {
            let Step::Rule(number) = step else {
                always.push(at);
                continue;
            };
            let test = tests.get(*number as usize)?;
            if test.family != Family::V6 {
                v4.push(boxed(test, at, Family::V4, |addr| [(addr >> 96) as u32]));
            }
            if test.family != Family::V4 {
                v6.push(boxed(test, at, Family::V6, words));
            }
        }
        Some(Self { v4: Classifier::for_candidates(&v4).ok()?, v6: Classifier::for_candidates(&v6).ok()?, always })
    }

    /// The way of a packet through the list.
    pub(super) fn way(&self, subject: &Subject<'_>) -> Way<'_> {
        let mut way = Way { guide: self, candidates: Candidates::new(), next: 0 };
        way.look(0, subject);
        way
    }
}

impl Way<'_> {
    /// Finds the candidates from the step `from` on.
    pub(super) fn look(&mut self, from: usize, subject: &Subject<'_>) {
        self.next = 0;
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        let ports = [subject.src_port, subject.dst_port];
        let class = class(subject.direction, subject.parsed).into();
        let (src, dst) = (u128::from_be_bytes(subject.src), u128::from_be_bytes(subject.dst));
        match subject.family() {
            Family::V4 => {
                let key = classify::Key { src: [(src >> 96) as u32], dst: [(dst >> 96) as u32], ports, class };
                self.guide.v4.candidates(&key, from, &mut self.candidates);
            }
            Family::V6 => {
                let key = classify::Key { src: words(src), dst: words(dst), ports, class };
                self.guide.v6.candidates(&key, from, &mut self.candidates);
            }
            Family::Any => self.candidates = Candidates::new(),
        }
    }

    /// The first step from `from` on that the packet could match.
    pub(super) fn next(&mut self, from: usize, subject: &Subject<'_>) -> usize {
        loop {
            let found = self.candidates.get(self.next).map(|step| step as usize);
            match found {
                Some(step) if step < from => self.next += 1,
                None if self.candidates.is_cut() => self.look(from, subject),
                _ => {
                    let always = &self.guide.always;
                    let always = always.get(always.partition_point(|step| (*step as usize) < from));
                    return found.unwrap_or(usize::MAX).min(always.map_or(usize::MAX, |step| *step as usize));
                }
            }
        }
    }
}

/// Protocol, direction and the rest of what rules ask about a packet.
#[inline(always)]
pub(super) fn class(direction: Direction, parsed: &Parsed) -> u16 {
    let is_in = if direction == Direction::In { IS_IN } else { 0 };
    let is_fragment = if parsed.is_fragment() { IS_FRAGMENT } else { 0 };
    let opens = parsed.protocol != protocol::TCP || parsed.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN;
    u16::from(parsed.protocol) | is_in | is_fragment | if opens { IS_OPENING } else { 0 }
}

/// `flags S/SA`.
pub(super) const fn is_opening(flags: TcpFlagsMatch) -> bool {
    flags.set == tcp::SYN && flags.out_of == tcp::SYN | tcp::ACK
}

pub(super) fn words(addr: u128) -> [u32; 4] {
    [(addr >> 96) as u32, (addr >> 64) as u32, (addr >> 32) as u32, addr as u32]
}

/// The box of a rule for packets of a family.
pub(super) fn boxed<const W: usize>(
    test: &Test,
    at: u32,
    family: Family,
    words: impl Fn(u128) -> [u32; W],
) -> classify::Rule<W> {
    let addr = |side: &Side| {
        let (addr, mask) = addr_box(side, family);
        (words(addr & mask), words(mask))
    };
    let ((src, src_mask), (dst, dst_mask)) = (addr(&test.src), addr(&test.dst));
    let (sport, dport) = (port_box(test.src.port), port_box(test.dst.port));
    let (mut class, mut class_mask) = test.protocol.map_or((0, 0), |protocol| (u16::from(protocol), 0xff));
    match test.direction {
        Direction::Any => {}
        Direction::In => (class, class_mask) = (class | IS_IN, class_mask | IS_IN),
        Direction::Out => class_mask |= IS_IN,
    }
    if test.flags.contains(RuleFlags::FRAGMENT) {
        (class, class_mask) = (class | IS_FRAGMENT, class_mask | IS_FRAGMENT);
    }
    if is_opening(test.tcp_flags) {
        (class, class_mask) = (class | IS_OPENING, class_mask | IS_OPENING);
    }
    classify::Rule {
        src,
        src_mask,
        dst,
        dst_mask,
        low: [sport.0, dport.0],
        high: [sport.1, dport.1],
        class,
        class_mask,
        priority: at,
    }
}

/// Address and mask that every address has which the test can be true of.
pub(super) fn addr_box(side: &Side, family: Family) -> (u128, u128) {
    if side.negate || side.family() != family {
        return (0, 0);
    }
    match side.kind {
        AddrKind::Any | AddrKind::Table | AddrKind::Dynamic => (0, 0),
        AddrKind::Mask4 | AddrKind::Mask6 => (side.addr, side.end),
        // The shortest prefix around both ends.
        AddrKind::Range4 | AddrKind::Range6 => {
            let differ = 128 - (side.addr ^ side.end).leading_zeros();
            (side.addr, u128::MAX.checked_shl(differ).unwrap_or(0))
        }
    }
}

/// The lowest and the highest port that the test can be true of; what is never true is like what always is.
pub(super) const fn port_box(test: PortMatch) -> (u16, u16) {
    let PortMatch { op, a, b } = test;
    let (low, high) = match op {
        PortOp::Any | PortOp::Ne | PortOp::Outside => (0, u16::MAX),
        PortOp::Eq => (a, a),
        PortOp::Lt => (0, a.saturating_sub(1)),
        PortOp::Le => (0, a),
        PortOp::Gt => (a.saturating_add(1), u16::MAX),
        PortOp::Ge => (a, u16::MAX),
        PortOp::Range => (a, b),
        PortOp::Inside => (a.saturating_add(1), b.saturating_sub(1)),
    };
    if low <= high { (low, high) } else { (0, u16::MAX) }
}
