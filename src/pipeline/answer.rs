//! Frames that the driver makes itself: resets, ICMP errors, the segments of a proxied handshake.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::filter::Answer;
use crate::flow::limit::RateLimit;
use crate::flow::state::Way;
use crate::wire::build::{self, IcmpError, Link, Segment};
use crate::wire::{Family, Parsed, protocol};

/// Most frames made in one burst.
const PER_BURST: usize = 16;
/// Frames in a second: what is made must not be a flood itself.
const PER_SECOND: u32 = 1000;
/// Frames in one go.
const AT_ONCE: u32 = 200;

/// Destination unreachable, port unreachable (RFC 792), which `return` answers with.
const UNREACHABLE_PORT: (u8, u8) = (3, 3);
/// The same in ICMPv6 (RFC 4443 section 3.1).
const UNREACHABLE_PORT6: (u8, u8) = (1, 4);

/// A frame, and which way it goes.
struct Made {
    way: Way,
    len: usize,
    bytes: [u8; build::FRAME_MAX],
}

/// Frames made for the current burst.
pub struct Answers {
    made: Box<[Made]>,
    count: usize,
    now_ns: u64,
    limit: RateLimit,
}

impl Answers {
    /// `None` without memory.
    #[must_use]
    pub fn new() -> Option<Self> {
        let mut made = Vec::new();
        made.try_reserve_exact(PER_BURST).ok()?;
        for _ in 0..PER_BURST {
            made.push(Made { way: Way::In, len: 0, bytes: [0; build::FRAME_MAX] });
        }
        let limit = RateLimit::new(PER_SECOND, AT_ONCE);
        Some(Self { made: made.into_boxed_slice(), count: 0, now_ns: 0, limit })
    }

    /// A new burst.
    pub fn begin(&mut self, now_ns: u64) {
        self.count = 0;
        self.now_ns = now_ns;
    }

    /// What was made, and whether it goes to the wire or to the stack.
    pub fn frames(&self) -> impl Iterator<Item = (bool, &[u8])> {
        let frame = |made: &'_ Made| (made.way == Way::Out, made.len);
        self.made.iter().take(self.count).filter_map(move |made| {
            let (to_wire, len) = frame(made);
            Some((to_wire, made.bytes.get(..len)?))
        })
    }

    /// True without any.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn make(&mut self, way: Way, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        if let Some(made) = self.made.get_mut(self.count)
            && let Some(len) = write(&mut made.bytes)
            && self.limit.take(self.now_ns)
        {
            (made.way, made.len) = (way, len);
            self.count = self.count.saturating_add(1);
        }
    }

    /// Answers a frame that came this way and was blocked.
    pub fn blocked(&mut self, answer: Answer, way: Way, frame: &[u8], parsed: &Parsed) {
        let is_tcp = parsed.protocol == protocol::TCP;
        let (v4, v6) = match answer {
            Answer::Drop => return,
            Answer::Return if is_tcp => return self.reset(way, frame, parsed, 0),
            Answer::Rst { ttl } => return self.reset(way, frame, parsed, ttl),
            Answer::Return => (UNREACHABLE_PORT, UNREACHABLE_PORT6),
            Answer::Icmp { v4, v6 } => (v4, v6),
        };
        let (kind, code) = match parsed.family {
            Family::V4 => v4,
            Family::V6 => v6,
            Family::None => return,
        };
        if kind != 0 {
            let error = IcmpError { kind, code, rest: 0 };
            self.make(other(way), |out| build::icmp_error(frame, parsed, error, out));
        }
    }

    /// Resets the connection of a segment that came this way.
    pub fn reset(&mut self, way: Way, frame: &[u8], parsed: &Parsed, ttl: u8) {
        self.make(other(way), |out| {
            let segment = Segment::reset(frame, parsed, ttl)?;
            build::tcp(&Link::of(frame, parsed)?.reversed(), &segment, out)
        });
    }

    /// A segment that goes on the way of `frame`, or back.
    pub fn segment(&mut self, way: Way, back: bool, frame: &[u8], parsed: &Parsed, segment: &Segment) {
        self.make(if back { other(way) } else { way }, |out| {
            let link = Link::of(frame, parsed)?;
            build::tcp(&if back { link.reversed() } else { link }, segment, out)
        });
    }
}

/// The other direction.
#[must_use]
pub const fn other(way: Way) -> Way {
    match way {
        Way::In => Way::Out,
        Way::Out => Way::In,
    }
}
