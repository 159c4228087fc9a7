//! Changing the ruleset under traffic.
//!
//! Each shard has its own [`Reader`], which owns a reference to the ruleset it works with. Control publishes a new one
//! by putting a reference into every reader's mailbox; a reader looks there once per burst, so that a burst is judged
//! by one ruleset, and puts the reference it had into a second queue. Control drops what it finds there: the
//! old ruleset is freed when the last shard has moved on, and by control, not on the data path. Neither side ever
//! waits for the other (quiescent-state based reclamation, with reference counts as the record of who has moved on).
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use crossbeam_queue::ArrayQueue;

use super::Installed;

struct Slot {
    /// Number of the newest ruleset in the mailbox or already taken out of it.
    published: AtomicU64,
    /// Number of the ruleset that the reader works with.
    seen: AtomicU64,
    mailbox: ArrayQueue<Arc<Installed>>,
    /// Two, because that many can come between two visits of the publisher: one taken out of the mailbox just before
    /// the next was put there, and that next one.
    retired: ArrayQueue<Arc<Installed>>,
}

/// Control's side.
pub struct Publisher {
    current: Arc<Installed>,
    serial: u64,
    slots: Vec<Arc<Slot>>,
}

/// One shard's side.
pub struct Reader {
    slot: Arc<Slot>,
    current: Arc<Installed>,
    serial: u64,
}

impl Publisher {
    /// A publisher and one reader per shard, all with `first`.
    #[must_use]
    pub fn new(first: Installed, shards: usize) -> (Self, Vec<Reader>) {
        let current = Arc::new(first);
        let slots: Vec<_> = (0..shards)
            .map(|_| {
                Arc::new(Slot {
                    published: AtomicU64::new(0),
                    seen: AtomicU64::new(0),
                    mailbox: ArrayQueue::new(1),
                    retired: ArrayQueue::new(2),
                })
            })
            .collect();
        let readers =
            slots.iter().map(|slot| Reader { slot: slot.clone(), current: current.clone(), serial: 0 }).collect();
        (Self { current, serial: 0, slots }, readers)
    }

    /// What was published last.
    #[must_use]
    pub fn current(&self) -> &Arc<Installed> {
        &self.current
    }

    /// Hands `next` to every shard. Each uses it from its next burst on.
    pub fn publish(&mut self, next: Installed) {
        self.collect();
        self.current = Arc::new(next);
        self.serial = self.serial.wrapping_add(1);
        for slot in &self.slots {
            // One that the shard never took comes back here.
            drop(slot.mailbox.force_push(self.current.clone()));
            // Release: the mailbox is filled before the number says so.
            slot.published.store(self.serial, Ordering::Release);
        }
    }

    /// Drops what the shards have let go of, and says whether all of them work with the newest.
    pub fn collect(&mut self) -> bool {
        for slot in &self.slots {
            while let Some(old) = slot.retired.pop() {
                drop(old);
            }
        }
        // Acquire: a shard that has moved on is done with everything it did under the old ruleset.
        self.slots.iter().all(|slot| slot.seen.load(Ordering::Acquire) == self.serial)
    }
}

impl Reader {
    /// Moves on to the newest ruleset, if there is a newer one. Call between bursts.
    pub fn refresh(&mut self) {
        // Acquire: pairs with the publisher's release.
        let published = self.slot.published.load(Ordering::Acquire);
        if published == self.serial {
            return;
        }
        if let Some(next) = self.slot.mailbox.pop() {
            let old = core::mem::replace(&mut self.current, next);
            // There is room (see `Slot::retired`); if there were none, the reference would be dropped here.
            drop(self.slot.retired.push(old));
        }
        // A ruleset published after the load above may already have been in the mailbox; it is then used a burst
        // before its number is seen, and the next refresh finds the mailbox empty.
        self.serial = published;
        self.slot.seen.store(published, Ordering::Release);
    }

    /// The ruleset to work with.
    #[must_use]
    pub fn current(&self) -> &Installed {
        &self.current
    }
}
