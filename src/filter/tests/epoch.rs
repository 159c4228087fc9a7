use alloc::sync::Arc;
use alloc::vec;
use core::sync::atomic::{AtomicBool, Ordering};

use super::arbitrary::empty_rule;
use crate::filter::epoch::Publisher;
use crate::filter::*;

fn installed(epoch: u64) -> Installed {
    let rules = vec![empty_rule(Action::Pass, Direction::Any); epoch as usize % 5];
    let mut installed = super::install(Ruleset::filter(rules, vec![]), "", 1);
    installed.epoch = epoch;
    installed
}

#[test]
fn a_ruleset_is_freed_when_the_last_shard_has_moved_on() {
    let (mut publisher, mut readers) = Publisher::new(Installed::none(0), 2);
    publisher.publish(installed(1));
    readers[0].refresh();
    readers[1].refresh();
    assert!(publisher.collect());
    let first = Arc::downgrade(publisher.current());
    publisher.publish(installed(2));
    assert!(!publisher.collect());
    readers[0].refresh();
    assert!(!publisher.collect());
    assert_eq!((readers[0].current().epoch, readers[1].current().epoch), (2, 1));
    assert!(first.upgrade().is_some(), "shard 1 works with it");
    readers[1].refresh();
    assert!(publisher.collect());
    assert!(first.upgrade().is_none());
}

#[test]
fn a_shard_that_sleeps_keeps_one_and_skips_the_rest() {
    let (mut publisher, mut readers) = Publisher::new(Installed::none(0), 1);
    publisher.publish(installed(1));
    let skipped = Arc::downgrade(publisher.current());
    publisher.publish(installed(2));
    assert!(skipped.upgrade().is_none(), "never taken, so freed at once");
    publisher.publish(installed(3));
    readers[0].refresh();
    assert_eq!(readers[0].current().epoch, 3);
    assert!(publisher.collect());
}

#[test]
fn readers_go_forward_only_while_rulesets_come() {
    let (mut publisher, readers) = Publisher::new(Installed::none(0), 3);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for mut reader in readers {
            let stop = &stop;
            scope.spawn(move || {
                let mut last = 0;
                while !stop.load(Ordering::Relaxed) {
                    reader.refresh();
                    let current = reader.current();
                    assert!(current.epoch >= last, "{} after {last}", current.epoch);
                    last = current.epoch;
                    let rules = current.ruleset().map_or(0, |ruleset| ruleset.rules.len());
                    assert_eq!(rules, last as usize % 5);
                }
                reader.refresh();
                assert_eq!(reader.current().epoch, 2000);
            });
        }
        for epoch in 1..=2000 {
            publisher.publish(installed(epoch));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(publisher.collect());
    assert_eq!(Arc::strong_count(publisher.current()), 1, "readers are gone, and with them their references");
}
