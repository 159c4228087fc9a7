//! The trace of a simulated run: a running hash of everything that was scheduled and moved, and the text on demand.

use std::sync::{Mutex, PoisonError};

struct State {
    hash: u64,
    events: u64,
    text: Option<Vec<String>>,
}

/// Records events. The hash is FNV-1a (64 bit) over the events' bytes.
pub struct Trace {
    on: bool,
    state: Mutex<State>,
}

impl Trace {
    /// `on`: hash at all; `text`: keep the lines, too.
    pub(crate) fn new(on: bool, text: bool) -> Self {
        let state = State { hash: 0xcbf2_9ce4_8422_2325, events: 0, text: text.then(Vec::new) };
        Trace { on, state: Mutex::new(state) }
    }

    /// Adds an event: a name and three numbers that are the same in every run with the same seed (never addresses).
    pub(crate) fn event(&self, now_ns: u64, name: &'static str, a: u64, b: u64) {
        if !self.on {
            return;
        }
        let mut s = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut h = s.hash;
        let mut eat = |bytes: &[u8]| {
            for byte in bytes {
                h = (h ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        eat(name.as_bytes());
        eat(&now_ns.to_le_bytes());
        eat(&a.to_le_bytes());
        eat(&b.to_le_bytes());
        s.hash = h;
        s.events += 1;
        if let Some(text) = s.text.as_mut() {
            text.push(format!("{now_ns} {name} {a} {b}"));
        }
    }

    /// Adds a block of bytes (a frame's content).
    pub(crate) fn bytes(&self, now_ns: u64, name: &'static str, a: u64, bytes: &[u8]) {
        if !self.on {
            return;
        }
        let mut h: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in bytes {
            h = (h ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.event(now_ns, name, a, h);
    }

    /// Hash and number of events so far.
    pub fn hash(&self) -> (u64, u64) {
        let s = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (s.hash, s.events)
    }

    /// The lines, if they are kept.
    pub fn text(&self) -> Option<Vec<String>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }
}
