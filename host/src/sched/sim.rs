//! Simulated mode: one thread, virtual time, a seeded schedule.

use std::sync::{Arc, Mutex};

use super::timers::{Expire, Timers};
use super::{Queue, lock};

/// The clock's first value: not 0, so that deadlines before the start can be told apart.
const START_NS: u64 = 1_000_000_000;

struct State {
    now: u64,
    /// splitmix64 (Steele, Lea, Flood 2014).
    rng: u64,
    ready: Vec<Arc<Queue>>,
    timers: Timers,
}

pub(super) struct Sim {
    state: Mutex<State>,
}

fn next_random(rng: &mut u64) -> u64 {
    *rng = rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *rng;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Sim {
    pub fn new(seed: u64) -> Self {
        let state = State { now: START_NS, rng: seed, ready: Vec::new(), timers: Timers::default() };
        Sim { state: Mutex::new(state) }
    }

    pub fn now_ns(&self) -> u64 {
        lock(&self.state).now
    }

    pub fn random(&self) -> u64 {
        next_random(&mut lock(&self.state).rng)
    }

    pub fn arm(&self, deadline: u64, leeway: u64, target: Arc<dyn Expire>, generation: u64) {
        let mut s = lock(&self.state);
        let late = if leeway == 0 { 0 } else { next_random(&mut s.rng) % leeway.saturating_add(1).max(1) };
        s.timers.arm(deadline.saturating_add(late), target, generation);
    }

    pub fn ready(&self, queue: Arc<Queue>) {
        lock(&self.state).ready.push(queue);
    }

    pub fn next_timer(&self) -> Option<u64> {
        lock(&self.state).timers.next()
    }

    pub fn jump(&self, to: u64) {
        let mut s = lock(&self.state);
        let limit = s.timers.next().map_or(to, |t| t.min(to));
        s.now = s.now.max(limit);
    }

    /// Fires one due timer or runs one item of one ready queue. False: nothing to do at this time.
    pub fn step(&self) -> bool {
        let due = {
            let mut s = lock(&self.state);
            let now = s.now;
            s.timers.due(now).map(|d| (d, now))
        };
        if let Some(((target, generation), now)) = due {
            target.expired(generation, now);
            return true;
        }
        // A queue that runs up-stack (this is a nested step of a waiting item) comes back by itself.
        loop {
            let queue = {
                let mut s = lock(&self.state);
                if s.ready.is_empty() {
                    return false;
                }
                let pick = next_random(&mut s.rng) % s.ready.len() as u64;
                s.ready.swap_remove(pick as usize)
            };
            let (ran, more) = queue.drain(1, None);
            if more {
                self.ready(queue);
            }
            if ran {
                return true;
            }
        }
    }

    pub fn clear(&self) {
        let mut s = lock(&self.state);
        let old = (std::mem::take(&mut s.ready), std::mem::take(&mut s.timers));
        // Dropped without the lock: a timer's last reference may call back.
        drop(s);
        drop(old);
    }
}
