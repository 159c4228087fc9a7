//! ALTQ's queues: which interface and parent each belongs to, and what its bandwidth comes to.

use std::collections::HashMap;

use super::{Expander, Section};
use crate::ast::{Bandwidth, Curve, Limiter, LimiterName, Queue, SchedulerKind};
use crate::flat::{FlatLine, FlatQueue};

/// Bytes of a packet that the size of a token bucket is a multiple of.
const MTU: u32 = 1500;

/// A queue that an `altq` or another queue names as its child.
struct Named {
    parent: Option<String>,
    interface: String,
    kind: SchedulerKind,
}

/// `altq on interface`
struct Root {
    interface: String,
    bandwidth: u64,
}

/// What queues a file has so far.
#[derive(Default)]
pub(super) struct Queues {
    /// By name, each interface's.
    named: HashMap<String, Vec<Named>>,
    /// Bandwidths by name and interface.
    made: HashMap<(String, String), u64>,
    roots: Vec<Root>,
    limiters: Vec<(bool, String, u32)>,
}

fn of(bandwidth: Option<Bandwidth>, whole: u64) -> u64 {
    match bandwidth {
        Some(Bandwidth::Bits(bits)) if bits > 0 => bits.min(whole),
        Some(Bandwidth::Percent(percent)) => whole / 100 * u64::from(percent),
        _ => whole / 100 * 100,
    }
}

/// A token bucket's bytes, by the link's speed.
fn bucket(bandwidth: u64) -> u32 {
    MTU * match bandwidth {
        0..=1_000_000 => 1,
        1_000_001..=10_000_000 => 4,
        10_000_001..=200_000_000 => 8,
        200_000_001..=2_500_000_000 => 24,
        _ => 128,
    }
}

impl Expander<'_> {
    pub(super) fn queue(&mut self, queue: &Queue, lines: &mut Vec<FlatLine>) {
        let alone = self.queues.roots.is_empty() && queue.scheduler.is_none() && !queue.interfaces.is_empty();
        // OpenBSD's later queues stand anywhere.
        let newer = queue.name.is_some() && (queue.newer.is_some() || alone);
        if !newer {
            self.enter(Section::Queueing, queue.span);
        }
        match &queue.name {
            None => self.altq(queue, lines),
            Some(_) if newer => lines.push(FlatLine::Queue(Box::new(FlatQueue {
                statement: queue.clone(),
                interface: String::new(),
                kind: None,
                bandwidth: 0,
                whole: 0,
                tbrsize: 0,
            }))),
            Some(name) => self.altq_queue(queue, &name.node, lines),
        }
    }

    fn altq(&mut self, queue: &Queue, lines: &mut Vec<FlatLine>) {
        let Some(scheduler) = &queue.scheduler else {
            self.sink
                .error(queue.span, "`altq` needs a scheduler")
                .hint("one of cbq, priq, hfsc, fairq and codel, before `queue`");
            return;
        };
        let kind = scheduler.node.kind;
        for interface in &queue.interfaces {
            if interface.negate {
                self.sink.error(interface.span, "altq on ! <interface> is not supported");
                continue;
            }
            if self.queues.roots.iter().any(|root| root.interface == interface.name) {
                self.sink.error(interface.span, format!("altq is already defined on {}", interface.name));
                continue;
            }
            let bandwidth = match queue.bandwidth {
                Some(Bandwidth::Bits(bits)) if bits > 0 => bits,
                _ => {
                    self.sink
                        .error(queue.span, format!("the bandwidth of {} is not known", interface.name))
                        .hint("give an absolute one: bandwidth 100Mb");
                    continue;
                }
            };
            let bandwidth = if kind == SchedulerKind::Hfsc { bandwidth } else { bandwidth.min(u64::from(u32::MAX)) };
            self.queues.roots.push(Root { interface: interface.name.clone(), bandwidth });
            for child in &queue.children {
                self.queues.named.entry(child.node.clone()).or_default().push(Named {
                    parent: None,
                    interface: interface.name.clone(),
                    kind,
                });
            }
            lines.push(FlatLine::Queue(Box::new(FlatQueue {
                statement: queue.clone(),
                interface: interface.name.clone(),
                kind: Some(kind),
                bandwidth,
                whole: bandwidth,
                tbrsize: queue.tbrsize.map(|t| t.node).filter(|t| *t != 0).unwrap_or_else(|| bucket(bandwidth)),
            })));
        }
    }

    fn altq_queue(&mut self, queue: &Queue, name: &str, lines: &mut Vec<FlatLine>) {
        let place = queue.name.as_ref().map_or(queue.span, |n| n.span);
        if let Some(size) = queue.tbrsize {
            self.sink.error(size.span, "cannot specify tbrsize for queue");
            return;
        }
        let everywhere = queue.interfaces.is_empty();
        let mut printed = false;
        let mut found = false;
        let mut at = 0;
        while let Some(named) = self.queues.named.get(name).and_then(|all| all.get(at)) {
            at += 1;
            let on = everywhere || queue.interfaces.iter().any(|i| (i.name == named.interface) != i.negate);
            if !on {
                continue;
            }
            found = true;
            let (kind, interface, parent) = (named.kind, named.interface.clone(), named.parent.clone());
            if !self.check_queue(queue, name, kind) {
                return;
            }
            let Some((bandwidth, whole)) = self.queue_bandwidth(queue, name, &interface, parent.as_deref(), kind)
            else {
                return;
            };
            self.queues.made.insert((name.to_owned(), interface.clone()), bandwidth);
            for child in &queue.children {
                if child.node == name {
                    self.sink.error(child.span, "queue cannot have itself as child");
                    return;
                }
                self.queues.named.entry(child.node.clone()).or_default().push(Named {
                    parent: Some(name.to_owned()),
                    interface: interface.clone(),
                    kind,
                });
            }
            if !everywhere || !printed {
                printed = true;
                lines.push(FlatLine::Queue(Box::new(FlatQueue {
                    statement: queue.clone(),
                    interface: if everywhere { String::new() } else { interface },
                    kind: Some(kind),
                    bandwidth,
                    whole,
                    tbrsize: 0,
                })));
            }
        }
        if !found {
            self.sink
                .error(place, format!("queue {name} has no parent"))
                .hint("name it in the `altq` line of its interface, or in the queue above it");
        }
    }

    fn check_queue(&mut self, queue: &Queue, name: &str, kind: SchedulerKind) -> bool {
        if let Some(own) = &queue.scheduler
            && own.node.kind != kind
        {
            self.sink.error(own.span, "exactly one scheduler type per interface allowed");
            return false;
        }
        let most = match kind {
            SchedulerKind::Cbq => 7,
            SchedulerKind::Priq => 15,
            _ => 255,
        };
        if let Some(priority) = queue.priority.filter(|p| p.node > most) {
            self.sink.error(priority.span, format!("priority out of range: max {most}"));
            return false;
        }
        if kind == SchedulerKind::Priq {
            if let Some(child) = queue.children.first() {
                self.sink.error(child.span, "priq queues cannot have child queues");
                return false;
            }
            if queue.bandwidth.is_some_and(|b| b != Bandwidth::Percent(100)) {
                self.sink.error(queue.span, format!("queue {name}: priq doesn't take bandwidth"));
                return false;
            }
        }
        true
    }

    /// The queue's bandwidth and its parent's.
    fn queue_bandwidth(
        &mut self,
        queue: &Queue,
        name: &str,
        interface: &str,
        parent: Option<&str>,
        kind: SchedulerKind,
    ) -> Option<(u64, u64)> {
        let place = queue.name.as_ref().map_or(queue.span, |n| n.span);
        let queues = &self.queues;
        let root = queues.roots.iter().find(|root| root.interface == interface).map_or(0, |root| root.bandwidth);
        if queues.made.contains_key(&(name.to_owned(), interface.to_owned())) {
            self.sink.error(place, format!("queue {name} already exists on interface {interface}"));
            return None;
        }
        let whole = match parent {
            None => root,
            Some(parent) => queues.made.get(&(parent.to_owned(), interface.to_owned())).copied().unwrap_or(root),
        };
        if kind == SchedulerKind::Priq {
            return Some((0, root));
        }
        let bandwidth = of(queue.bandwidth, whole);
        if let Some(scheduler) = &queue.scheduler {
            let curves = [scheduler.node.realtime, scheduler.node.linkshare, scheduler.node.upperlimit];
            for Curve { m1, m2, .. } in curves.into_iter().flatten() {
                let (first, after) = (m1.map_or(0, |m1| of(Some(m1), whole)), of(Some(m2), whole));
                if first != 0 && first < after {
                    self.sink.error(scheduler.span, "m1 must be zero for convex curve");
                    return None;
                }
            }
        }
        Some((bandwidth, whole))
    }

    pub(super) fn limiter(&mut self, limiter: &Limiter, lines: &mut Vec<FlatLine>) {
        let known = &mut self.queues.limiters;
        let same = |l: &&(bool, String, u32)| l.0 == limiter.source && (l.1 == limiter.name.node || l.2 == limiter.id);
        if known.iter().find(same).is_some() {
            self.sink.error(limiter.span, "another limiter has that name or number");
            return;
        }
        known.push((limiter.source, limiter.name.node.clone(), limiter.id));
        lines.push(FlatLine::Limiter(limiter.clone()));
    }

    /// The numbers of a rule's limiters.
    pub(super) fn limiters(
        &mut self,
        uses: &[crate::source::Spanned<crate::ast::LimiterUse>],
    ) -> Vec<(bool, u32, bool)> {
        let mut out = Vec::new();
        for one in uses {
            let found = self.queues.limiters.iter().find(|(source, name, id)| {
                *source == one.node.source
                    && match &one.node.name {
                        LimiterName::Name(wanted) => wanted == name,
                        LimiterName::Id(wanted) => wanted == id,
                    }
            });
            match found {
                Some((source, _, id)) => out.push((*source, *id, one.node.no_match)),
                None => {
                    self.sink.error(one.span, "there is no such limiter").hint("define it above the rules");
                }
            }
        }
        out
    }
}
