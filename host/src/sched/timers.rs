//! The heap of armed timers, shared by both modes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// What a timer wakes.
pub trait Expire: Send + Sync {
    /// The timer armed with `generation` is due at `now_ns`. Late generations are to be ignored.
    fn expired(self: Arc<Self>, generation: u64, now_ns: u64);
}

struct Armed {
    at: u64,
    seq: u64,
    target: Arc<dyn Expire>,
    generation: u64,
}

impl PartialEq for Armed {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}
impl Eq for Armed {}
impl PartialOrd for Armed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Armed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// Timers by deadline; equal deadlines in the order they were armed.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Armed>>,
    seq: u64,
}

impl Timers {
    pub fn arm(&mut self, at: u64, target: Arc<dyn Expire>, generation: u64) {
        self.seq += 1;
        self.heap.push(Reverse(Armed { at, seq: self.seq, target, generation }));
    }

    pub fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(a)| a.at)
    }

    /// The first timer that is due at `now`.
    pub fn due(&mut self, now: u64) -> Option<(Arc<dyn Expire>, u64)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(a)| (a.target, a.generation))
    }
}
