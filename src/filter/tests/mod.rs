mod arbitrary;
mod epoch;
mod foresee;
mod guide;
mod image;
mod linear;
mod merge;
mod oracle;
mod packet;
mod table;

use crate::filter::*;
use crate::wire;

/// A witness that sees nothing and translates nothing.
pub struct Nobody(pub u32);

impl Witness for Nobody {
    fn random(&mut self) -> u32 {
        self.0
    }

    fn translate(&mut self, _: u32, _: &Rule, _: &mut Subject<'_>) -> bool {
        true
    }
}

/// A ruleset on an interface, for `shards` shards.
pub fn install(ruleset: Ruleset, if_name: &str, shards: usize) -> Installed {
    let place = Place { if_name, addresses: &[], shards };
    Installed::new(1, Compiled::new(ruleset).unwrap(), place, &Installed::none(0), &mut 0).unwrap()
}

/// What becomes of a frame that no state is about: layer 2 rules, then filter rules.
pub fn judge(installed: &Installed, shard: usize, direction: Direction, frame: &[u8]) -> Verdict {
    let Some(bound) = installed.bound() else {
        return Verdict::PASS;
    };
    let parsed = wire::parse(frame);
    let mut subject = Subject::new(direction, frame, &parsed);
    let ether = bound.last_match(List::Ether, shard, &mut subject, &mut Nobody(0));
    if ether.block.is_some() {
        return ether;
    }
    if let Some(reason) = malformed(&parsed) {
        return Verdict::refuse(reason);
    }
    if parsed.family == wire::Family::None {
        return Verdict { log: ether.log, ..Verdict::PASS };
    }
    let verdict = bound.last_match(List::Filter, shard, &mut subject, &mut Nobody(0));
    Verdict { log: verdict.log || ether.log, ..verdict }
}
