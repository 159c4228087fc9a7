//! Events for people: a bounded ring that never makes the data path wait.
#![forbid(unsafe_code)]

use crossbeam_queue::ArrayQueue;

/// What happened (`WEIR_EVENT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum EventKind {
    /// A rule with `log` matched.
    Log = 1,
    /// The link changed.
    Link = 2,
    /// A ruleset was loaded or cleared; `rule` is its number of rules, `reason` the low bits of its epoch.
    Ruleset = 3,
    /// The data path was misused.
    Misuse = 4,
}

/// One event (`weir_event`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Monotonic time, nanoseconds; 0 = not known.
    pub time_ns: u64,
    /// What happened.
    pub kind: EventKind,
    /// Number of the rule; [`Event::NO_RULE`] = none.
    pub rule: u32,
    /// 1 in, 2 out, 0 neither.
    pub direction: u8,
    /// 0 pass, 1 block.
    pub action: u8,
    /// [`super::DropReason`]; [`Event::NO_REASON`] = none.
    pub reason: u8,
    /// IP protocol; 255 = not IP.
    pub protocol: u8,
    /// The innermost EtherType.
    pub ethertype: u16,
    /// Outermost TCI; 0 = untagged.
    pub vlan: u16,
    /// Source port, or ICMP type.
    pub sport: u16,
    /// Destination port, or ICMP code.
    pub dport: u16,
    /// Frame length in bytes, at most 65535.
    pub len: u16,
    /// 0 none, 4, 6.
    pub family: u8,
    /// Source address, IPv4 in the first four bytes.
    pub src: [u8; 16],
    /// Destination address, likewise.
    pub dst: [u8; 16],
}

impl Event {
    /// [`Event::rule`] without a rule.
    pub const NO_RULE: u32 = u32::MAX;
    /// [`Event::reason`] without a reason.
    pub const NO_REASON: u8 = u8::MAX;

    /// Bytes of `weir_event`.
    pub const LEN: usize = 64;

    /// As `weir_event`.
    #[must_use]
    pub fn bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let parts: [&[u8]; 12] = [
            &self.time_ns.to_ne_bytes(),
            &(self.kind as u32).to_ne_bytes(),
            &self.rule.to_ne_bytes(),
            &[self.direction, self.action, self.reason, self.protocol],
            &self.ethertype.to_ne_bytes(),
            &self.vlan.to_ne_bytes(),
            &self.sport.to_ne_bytes(),
            &self.dport.to_ne_bytes(),
            &self.len.to_ne_bytes(),
            &[self.family, 0],
            &self.src,
            &self.dst,
        ];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// An event that is not about a frame.
    #[must_use]
    pub const fn plain(kind: EventKind, time_ns: u64) -> Self {
        Self {
            time_ns,
            kind,
            rule: Self::NO_RULE,
            direction: 0,
            action: 0,
            reason: Self::NO_REASON,
            protocol: 255,
            ethertype: 0,
            vlan: 0,
            sport: 0,
            dport: 0,
            len: 0,
            family: 0,
            src: [0; 16],
            dst: [0; 16],
        }
    }
}

/// Events on their way to a reader. When it is full, the oldest makes room: the newest events are the ones that
/// explain what is going on, and the loss is counted.
#[derive(Debug)]
pub struct EventRing {
    queue: ArrayQueue<Event>,
}

impl EventRing {
    /// A ring with room for `capacity` events (at least one).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity.max(1)) }
    }

    /// Adds an event; false if an older one was lost for it. Any thread; never waits.
    #[must_use]
    pub fn push(&self, event: Event) -> bool {
        self.queue.force_push(event).is_none()
    }

    /// Takes the oldest event.
    #[must_use]
    pub fn pop(&self) -> Option<Event> {
        self.queue.pop()
    }

    /// Events that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// True when none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
