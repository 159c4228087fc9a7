//! Layer 2 rules: the product of their lists.

use super::Expander;
use crate::ast::{EtherRule, Family};
use crate::flat::{FlatAnchor, FlatEther, FlatHost, FlatSet};

fn each<T: Clone>(list: &[T]) -> Vec<Option<T>> {
    if list.is_empty() {
        return vec![None];
    }
    list.iter().cloned().map(Some).collect()
}

/// EtherType of a family.
fn ethertype(family: Family) -> u16 {
    match family {
        Family::V4 => 0x0800,
        Family::V6 => 0x86dd,
        Family::Any => 0,
    }
}

impl Expander<'_> {
    pub(super) fn ether(&mut self, rule: &EtherRule, set: &mut FlatSet) {
        let before = self.sink.error_count();
        let (l3_from, l3_to) = match &rule.l3 {
            Some((from, to)) => (self.side(&from.hosts), self.side(&to.hosts)),
            None => (Vec::new(), Vec::new()),
        };
        let anchor = rule.anchor.as_ref().map(|call| FlatAnchor {
            name: call.name.as_ref().map_or(String::new(), |n| n.node.clone()),
            body: call.body.as_ref().map(|statements| {
                let mut inner = FlatSet::default();
                let mut lines = Vec::new();
                for statement in statements {
                    self.statement(statement, &mut lines, &mut inner, None);
                }
                Box::new(inner)
            }),
        });
        if self.sink.error_count() > before {
            return;
        }
        let o = &rule.options;
        let template = FlatEther {
            span: rule.span,
            pass: rule.pass,
            anchor,
            direction: rule.direction,
            quick: rule.quick,
            interface: (false, String::new()),
            bridge_to: rule.bridge_to.as_ref().map(|b| b.node.clone()),
            vlan: None,
            protocol: 0,
            src: None,
            dst: None,
            l3: (FlatHost::default(), FlatHost::default()),
            labels: o.labels.iter().map(|l| l.node.clone()).collect(),
            ridentifier: o.ridentifier.unwrap_or(0),
            queue: o.queue.as_ref().map(|q| q.node.0.clone()),
            tag: o.tag.as_ref().map(|t| t.node.clone()),
            tagged: o.tagged.as_ref().map(|t| t.node.clone()),
            pipe: o.pipe.map(|p| p.node),
        };
        for interface in each(&rule.interfaces) {
            for vlan in each(&rule.vlans) {
                for protocol in each(&rule.protocols) {
                    for src in each(&rule.from) {
                        for dst in each(&rule.to) {
                            for from in each(&l3_from) {
                                for to in each(&l3_to) {
                                    let (from, to) = (from.clone().unwrap_or_default(), to.unwrap_or_default());
                                    let given = protocol.map_or(0, |p| p.node);
                                    let implied = [from.family(), to.family()].map(ethertype);
                                    let inferred = implied.into_iter().find(|e| *e != 0).unwrap_or(0);
                                    set.ether.push(FlatEther {
                                        interface: interface
                                            .as_ref()
                                            .map_or((false, String::new()), |i| (i.negate, i.name.clone())),
                                        vlan: vlan.map(|id| id.node),
                                        protocol: if given == 0 { inferred } else { given },
                                        src,
                                        dst,
                                        l3: (from, to),
                                        ..template.clone()
                                    });
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
