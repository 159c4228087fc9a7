//! Which rule of the filter list decides about a packet, from one lookup for a whole burst.
//!
//! Rules are ranked so that the best that matches is the one that decides: the `quick` ones in their order, then the
//! others from the last to the first (pf.conf(5): the last match wins unless a `quick` one comes). The classifier finds
//! the best box that holds a packet. If that box says everything that its rule tests, the rule decides. If it says
//! less, or belongs to a rule that does something also when another decides (`match`, `tag`, `probability` and their
//! kin, which stand first), nothing is foreseen, and the list is gone through as ever.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::classify::{self, Classifier};
use super::compiled::{Side, Step, Test};
use super::guide::{self, Guide, addr_box, boxed, port_box, words};
use super::{Action, AddrKind, Answer, Direction, Family, PortOp, Rule, RuleFlags, SourceTrack, StateMode};
use crate::mem::packet::BURST_MAX;
use crate::wire::{self, Parsed};

/// Shorter lists are gone through.
const WORTH_IT: usize = 8;

/// What is foreseen of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Foreseen {
    /// Nothing.
    #[default]
    Unknown,
    /// No rule matches.
    NoRule,
    /// A rule decides, and there is more to do than to pass or drop the packet.
    Rule(u32),
    /// A rule passes it and keeps a state of it, which nothing limits but what limits all states.
    Keep(u32),
    /// A rule passes it, and that is all.
    Pass(u32),
    /// A rule drops it, and that is all.
    Drop(u32),
}

impl Foreseen {
    /// The rule.
    #[must_use]
    pub const fn rule(self) -> Option<u32> {
        match self {
            Self::Unknown | Self::NoRule => None,
            Self::Rule(number) | Self::Keep(number) | Self::Pass(number) | Self::Drop(number) => Some(number),
        }
    }
}

/// What finds it.
#[derive(Debug)]
pub(super) struct Foresight {
    /// By rank.
    decisions: Vec<Foreseen>,
    /// If the ranks are not the places in the list, which the guide's classifiers know.
    own: Option<(Classifier<1>, Classifier<4>)>,
    looks_up: bool,
    /// What is foreseen of every packet of a direction and family, if it is always the same.
    constant: [[Foreseen; 2]; 2],
}

impl Foresight {
    /// For the filter list; `None` if it gains nothing, also without memory, because nothing depends on it. Allocates.
    pub fn new(program: &[Step], tests: &[Test], rules: &[Rule], guide: Option<&Guide>) -> Option<Self> {
        let mut ranked: Vec<(u8, u32, u32)> = Vec::new();
        ranked.try_reserve_exact(program.len()).ok()?;
        for (at, step) in (0u32..).zip(program) {
            // Calls of anchors are gone through.
            let Step::Rule(number) = *step else { return None };
            let test = tests.get(number as usize)?;
            ranked.push(if acts_anyway(test) {
                (0, at, number)
            } else if test.flags.contains(RuleFlags::QUICK) {
                (1, at, number)
            } else {
                (2, u32::MAX - at, number)
            });
        }
        ranked.sort_unstable();
        let (mut decisions, mut v4, mut v6) = (Vec::new(), Vec::new(), Vec::new());
        decisions.try_reserve_exact(ranked.len()).ok()?;
        let looks_up = program.len() >= WORTH_IT;
        let as_guided = guide.is_some() && ranked.iter().all(|(class, ..)| *class == 1);
        let has_own = looks_up && !as_guided;
        if has_own {
            v4.try_reserve_exact(ranked.len()).ok()?;
            v6.try_reserve_exact(ranked.len()).ok()?;
        }
        for (rank, (class, _, number)) in (0u32..).zip(&ranked) {
            let (test, rule) = (tests.get(*number as usize)?, rules.get(*number as usize)?);
            let is_sure = *class != 0 && is_box(test);
            decisions.push(if is_sure { decision(*number, test, rule) } else { Foreseen::Unknown });
            if has_own && test.family != Family::V6 {
                v4.push(boxed(test, rank, Family::V4, |addr| [(addr >> 96) as u32]));
            }
            if has_own && test.family != Family::V4 {
                v6.push(boxed(test, rank, Family::V6, words));
            }
        }
        let constant = [Direction::In, Direction::Out].map(|direction| {
            [Family::V4, Family::V6].map(|family| {
                let mut first = ranked.iter().zip(&decisions).filter_map(|((.., number), decision)| {
                    let test = tests.get(*number as usize)?;
                    let concerns = (test.direction == Direction::Any || test.direction == direction)
                        && (test.family == Family::Any || test.family == family);
                    concerns.then_some((test, *decision))
                });
                // All looks are counted as long as it takes no more than one.
                let few = looks_up || program.len() == 1;
                first.next().filter(|(test, _)| few && is_all(test)).map_or(Foreseen::Unknown, |(_, decision)| decision)
            })
        });
        let is_constant = constant.iter().flatten().any(|decision| *decision != Foreseen::Unknown);
        if !looks_up && !is_constant {
            return None;
        }
        let own = if has_own { Some((Classifier::new(&v4).ok()?, Classifier::new(&v6).ok()?)) } else { None };
        Some(Self { decisions, own, looks_up, constant })
    }

    /// The same for every packet of a direction, unless it is [`Foreseen::Unknown`].
    pub fn constant(&self, direction: Direction, family: wire::Family) -> Foreseen {
        let [[in4, in6], [out4, out6]] = self.constant;
        match (direction, family) {
            (Direction::In, wire::Family::V4) => in4,
            (Direction::In, wire::Family::V6) => in6,
            (Direction::Out, wire::Family::V4) => out4,
            (Direction::Out, wire::Family::V6) => out6,
            _ => Foreseen::Unknown,
        }
    }

    /// For packets with ports that are no fragments, at most [`BURST_MAX`]; `tell` is told of each by its place.
    pub fn burst<'a>(
        &self,
        guide: Option<&Guide>,
        direction: Direction,
        packets: impl Iterator<Item = (usize, &'a Parsed)>,
        mut tell: impl FnMut(usize, Foreseen),
    ) {
        if !self.looks_up {
            return;
        }
        let mut v4 = Queue::<1>::new();
        let mut v6 = Queue::<4>::new();
        for (place, parsed) in packets {
            let ports = [parsed.src_port, parsed.dst_port];
            let class = guide::class(direction, parsed).into();
            let (src, dst) = (u128::from_be_bytes(parsed.src), u128::from_be_bytes(parsed.dst));
            match parsed.family {
                wire::Family::V4 => {
                    let key = classify::Key { src: [(src >> 96) as u32], dst: [(dst >> 96) as u32], ports, class };
                    v4.push(place, key);
                }
                wire::Family::V6 => v6.push(place, classify::Key { src: words(src), dst: words(dst), ports, class }),
                wire::Family::None => {}
            }
        }
        let guides = guide.map(|guide| (&guide.v4, &guide.v6));
        let Some((for_v4, for_v6)) = self.own.as_ref().map(|(v4, v6)| (v4, v6)).or(guides) else { return };
        v4.look_up(for_v4, &self.decisions, &mut tell);
        v6.look_up(for_v6, &self.decisions, &mut tell);
    }
}

/// Packets that are looked up together.
struct Queue<const W: usize> {
    keys: heapless::Vec<classify::Key<W>, BURST_MAX>,
    places: heapless::Vec<usize, BURST_MAX>,
}

impl<const W: usize> Queue<W> {
    const fn new() -> Self {
        Self { keys: heapless::Vec::new(), places: heapless::Vec::new() }
    }

    #[inline(always)]
    fn push(&mut self, place: usize, key: classify::Key<W>) {
        // Those that do not fit are gone through the list for.
        let _ = self.keys.push(key);
        let _ = self.places.push(place);
    }

    fn look_up(&self, classifier: &Classifier<W>, decisions: &[Foreseen], tell: &mut impl FnMut(usize, Foreseen)) {
        if self.keys.is_empty() {
            return;
        }
        let mut found = [classify::NONE; BURST_MAX];
        classifier.lookup_burst(&self.keys, &mut found);
        for (place, rank) in self.places.iter().zip(found) {
            let foreseen = if rank == classify::NONE {
                Foreseen::NoRule
            } else {
                decisions.get(rank as usize).copied().unwrap_or_default()
            };
            tell(*place, foreseen);
        }
    }
}

/// The rule does something when it matches, also if another decides.
fn acts_anyway(test: &Test) -> bool {
    test.is_rare || !matches!(test.action, Action::Pass | Action::Block)
}

/// Of a packet with ports that is no fragment, the rule tests nothing that its box does not say.
fn is_box(test: &Test) -> bool {
    let side = |side: &Side| {
        let family = if test.family == Family::V4 { Family::V4 } else { Family::V6 };
        let addr = match side.kind {
            AddrKind::Any => true,
            AddrKind::Mask4 | AddrKind::Mask6 => {
                let (addr, mask) = addr_box(side, test.family);
                let within = family == Family::V6 || addr << 32 == 0;
                side.family() == test.family && (addr, mask) == (side.addr, side.end) && addr & !mask == 0 && within
            }
            AddrKind::Range4 | AddrKind::Range6 | AddrKind::Table | AddrKind::Dynamic => false,
        };
        let (low, high) = port_box(side.port);
        let port = match side.port.op {
            PortOp::Any => true,
            PortOp::Eq | PortOp::Le | PortOp::Ge | PortOp::Range => side.port.op != PortOp::Range || low == side.port.a,
            PortOp::Lt => side.port.a > 0,
            PortOp::Gt => side.port.a < u16::MAX,
            PortOp::Inside => {
                side.port.a < u16::MAX && low == side.port.a + 1 && high.checked_add(1) == Some(side.port.b)
            }
            PortOp::Ne | PortOp::Outside => false,
        };
        addr && !side.negate && port
    };
    side(&test.src)
        && side(&test.dst)
        && test.icmp.is_none()
        && (test.tcp_flags.out_of == 0 || guide::is_opening(test.tcp_flags))
}

/// The rule matches every packet of its direction and family.
fn is_all(test: &Test) -> bool {
    let side = |side: &Side| side.kind == AddrKind::Any && !side.negate && side.port.op == PortOp::Any;
    !acts_anyway(test)
        && side(&test.src)
        && side(&test.dst)
        && test.icmp.is_none()
        && test.protocol.is_none()
        && test.tcp_flags.out_of == 0
        && !test.flags.contains(RuleFlags::FRAGMENT)
}

fn decision(number: u32, test: &Test, rule: &Rule) -> Foreseen {
    let shown = test.flags.intersects(RuleFlags::LOG | RuleFlags::LOG_ALL | RuleFlags::DUP_TO);
    match test.action {
        Action::Pass if !shown && rule.state.mode == StateMode::No => Foreseen::Pass(number),
        Action::Pass if !shown && rule.state.max == 0 && rule.state.source_track == SourceTrack::No => {
            Foreseen::Keep(number)
        }
        Action::Block if !shown && rule.answer == Answer::Drop => Foreseen::Drop(number),
        _ => Foreseen::Rule(number),
    }
}
