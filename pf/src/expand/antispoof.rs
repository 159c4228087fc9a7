//! `antispoof`: block what claims to come from an interface's network or address but does not.

use super::Expander;
use crate::ast::{Action, Antispoof, Direction, Family, Interface, Modifiers, Return, Rule};
use crate::flat::{Addr, FlatHost, FlatRule};

impl Expander<'_> {
    /// Two rules for each interface: its network from elsewhere, and its own address from anywhere.
    pub(super) fn antispoof(&mut self, antispoof: &Antispoof, out: &mut Vec<FlatRule>) {
        for interface in &antispoof.interfaces {
            let network = Modifiers { network: true, ..Modifiers::default() };
            let from_elsewhere = self.addresses(interface, network);
            let elsewhere = Interface { negate: true, ..interface.clone() };
            if !interface.dynamic && from_elsewhere.is_empty() {
                self.sink
                    .warn(
                        interface.span,
                        format!("interface {} has no address: antispoof makes no rule", interface.name),
                    )
                    .hint(format!("write ({}) to look its addresses up later", interface.name));
            }
            self.block(antispoof, Some(elsewhere), from_elsewhere, out);
            if !self.lookup.is_loopback(&interface.name) {
                let own = self.addresses(interface, Modifiers::default());
                self.block(antispoof, None, own, out);
            }
        }
    }

    fn addresses(&self, interface: &Interface, modifiers: Modifiers) -> Vec<FlatHost> {
        if !interface.dynamic {
            return self.lookup.interface_addresses(&interface.name, modifiers, None);
        }
        vec![FlatHost {
            negate: false,
            addr: Addr::Dynamic { interface: interface.name.clone(), modifiers, len: None },
            family: None,
            scope: None,
        }]
    }

    fn block(
        &mut self,
        antispoof: &Antispoof,
        interface: Option<Interface>,
        from: Vec<FlatHost>,
        out: &mut Vec<FlatRule>,
    ) {
        if from.is_empty() {
            return;
        }
        let mut rule = Rule::new(crate::source::Spanned::new(Action::Block(Some(Return::Drop)), antispoof.span));
        rule.direction = Direction::In;
        rule.log = antispoof.log;
        rule.quick = antispoof.quick;
        rule.interfaces = interface.into_iter().collect();
        rule.family = antispoof.family;
        rule.options = antispoof.options.clone();
        let wanted = antispoof.family.map_or(Family::Any, |f| f.node);
        let fits = from.iter().any(|h| wanted == Family::Any || h.family() == Family::Any || h.family() == wanted);
        if !fits {
            return;
        }
        self.rule_with(&rule, None, from, Vec::new(), out);
    }
}
