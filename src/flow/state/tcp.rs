//! TCP connections, followed by their sequence numbers: van Rooij's windows ("Real stateful TCP packet filtering in IP
//! Filter", SANE 2000), as pf has them (`pf_tcp_track_full`, `pf_tcp_track_sloppy`).

use core::num::NonZeroU8;
use core::ops::{Deref, DerefMut};

use super::{Lifetime, StateMut};
use crate::wire::tcp::{self, ACK, FIN, RST, SYN, TcpHeader};
use crate::wire::{Parsed, ParsedFlags};

/// How far an acknowledgement may be behind: a window, and a fragment that is still to come (pf.c, MAXACKWINDOW).
pub(super) const ACK_WINDOW: i32 = 0xffff + 1500;

/// How far one end of a conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Phase(u8);

impl Phase {
    /// TCP: nothing sent yet. Others: the same.
    pub const CLOSED: Self = Self(0);
    /// Others: it has sent.
    pub const SINGLE: Self = Self(1);
    /// Others: and was answered.
    pub const MULTIPLE: Self = Self(2);
    /// TCP: it has sent its SYN.
    pub const SYN_SENT: Self = Self(2);
    /// TCP: its SYN was acknowledged.
    pub const ESTABLISHED: Self = Self(4);
    /// TCP: it has sent its FIN.
    pub const CLOSING: Self = Self(6);
    /// TCP: and that was acknowledged.
    pub const FIN_WAIT_2: Self = Self(9);
    /// TCP: over.
    pub const TIME_WAIT: Self = Self(10);

    /// BSD's number of the TCP state, or pf's of the others.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A window scale option's value, at most 14 (RFC 7323 section 2.3), in one byte with the possibility that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift(NonZeroU8);

impl Shift {
    /// From the option's value; more than 14 counts as 14.
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        let bits = if bits > 14 { 14 } else { bits };
        Self(NonZeroU8::MIN.saturating_add(bits))
    }

    /// Bits that windows are shifted by.
    #[must_use]
    #[inline(always)]
    pub const fn bits(self) -> u8 {
        self.0.get() - 1
    }
}

/// What is remembered of the numbers of one end, besides its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Peer {
    /// The highest sequence number it has sent, plus one.
    pub low: u32,
    /// The highest it may send: what the other end has acknowledged, plus its window.
    pub high: u32,
    /// What is added to its sequence numbers on the way (`modulate state`, `synproxy state`).
    pub shift: u32,
    /// The largest window it has offered, not scaled.
    pub window: u16,
    /// Its window scale; `None` = its SYN had none, or has not been seen.
    pub scale: Option<Shift>,
}

const _: () = assert!(size_of::<Peer>() == 16);

impl Peer {
    /// What its windows are shifted by, as long as it has offered to.
    #[must_use]
    #[inline(always)]
    pub fn scale(&self) -> u32 {
        u32::from(self.scale.map_or(0, Shift::bits))
    }
}

/// One end of a state.
#[derive(Debug)]
pub struct End<'a> {
    /// Its numbers, if it speaks TCP.
    pub peer: &'a mut Peer,
    /// How far it is.
    pub phase: &'a mut Phase,
}

impl Deref for End<'_> {
    type Target = Peer;

    #[inline(always)]
    fn deref(&self) -> &Peer {
        self.peer
    }
}

impl DerefMut for End<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Peer {
        self.peer
    }
}

/// What tracking looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Segment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window, not scaled.
    pub window: u16,
    /// Flags.
    pub flags: u8,
    /// Bytes of payload.
    pub len: u32,
    /// The window scale option of a SYN.
    pub scale: Option<Shift>,
}

impl Segment {
    /// Reads a segment; `None` if it is none.
    #[must_use]
    pub fn read(frame: &[u8], parsed: &Parsed) -> Option<Self> {
        if !parsed.flags.contains(ParsedFlags::TCP) {
            return None;
        }
        let bytes = frame.get(usize::from(parsed.l4)..)?;
        let header = TcpHeader::new(bytes)?;
        let flags = header.flags();
        let scale = if flags & SYN == 0 {
            None
        } else {
            let mut options = tcp::options(bytes);
            let option = options.find(|option| option.kind == tcp::option::WINDOW_SCALE && option.len == 3);
            option.and_then(|option| option.value(bytes).first().map(|shift| Shift::new(*shift)))
        };
        let (seq, ack, window) = (header.seq(), header.ack(), header.window());
        Some(Self { seq, ack, window, flags, len: parsed.payload_len, scale })
    }

    /// The window in the unit that the sender's other segments will have: a SYN's is not scaled (RFC 7323 section
    /// 2.2); this is what it would be if it were, rounded up.
    fn offers(&self, scale: Option<Shift>) -> u16 {
        let shift = if self.has(SYN) { scale.map_or(0, Shift::bits) } else { 0 };
        let rounded = u32::from(self.window).saturating_add((1 << shift) - 1) >> shift;
        u16::try_from(rounded).unwrap_or(u16::MAX)
    }

    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sequence numbers it takes up.
    const fn occupies(&self) -> u32 {
        self.len.wrapping_add(if self.has(SYN) { 1 } else { 0 }).wrapping_add(if self.has(FIN) { 1 } else { 0 })
    }
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// It belongs there.
    Pass,
    /// It belongs there and completes the handshake.
    Established,
    /// It does not belong there.
    Mismatch,
    /// It does not belong there, and the handshake has not got far: its sender is to be told with a RST.
    Reset,
    /// The connection is over, and this begins another one.
    Reused,
}

/// `a - b` as TCP compares sequence numbers (RFC 9293 section 3.4).
pub(super) const fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

pub(super) const fn at_least(a: u32, b: u32) -> bool {
    distance(a, b) >= 0
}

impl StateMut<'_> {
    /// Notes the segment that made the state. It went as it is: shifts are set afterwards.
    pub fn open(&mut self, segment: &Segment) {
        let (mut first, mut second) = self.ends(true);
        first.low = segment.seq;
        first.high = segment.seq.wrapping_add(segment.occupies()).wrapping_add(1);
        first.scale = segment.scale;
        first.window = segment.offers(segment.scale).max(1);
        *first.phase = Phase::SYN_SENT;
        if segment.has(FIN) {
            *first.phase = Phase::CLOSING;
        }
        second.high = 1;
        second.window = 1;
        *second.phase = Phase::CLOSED;
        self.hot.lifetime = Lifetime::TcpFirst;
        self.hot.flags.set(super::StateFlags::FROM_SYN, segment.flags & (SYN | ACK) == SYN);
    }

    /// Follows a segment. `exact` = a RST must have the very number that is expected.
    pub fn track_tcp(&mut self, forward: bool, segment: &Segment, exact: bool) -> Tracked {
        let sloppy = self.hot.flags.contains(super::StateFlags::SLOPPY);
        let [first, second] = self.more.phases;
        if segment.flags & (SYN | ACK) == SYN && first.min(second) >= Phase::FIN_WAIT_2 {
            return Tracked::Reused;
        }
        // What the opener sent is known from its first byte on.
        let is_answer = !forward && self.hot.flags.contains(super::StateFlags::FROM_SYN);
        let (sender, receiver) = self.ends(forward);
        let tracked = if sloppy {
            loosely(sender, receiver, segment)
        } else {
            fully(sender, receiver, segment, (exact, is_answer))
        };
        if matches!(tracked, Tracked::Pass | Tracked::Established) {
            let [first, second] = self.more.phases;
            self.hot.lifetime = lifetime(first.min(second), first.max(second));
            let shifted = self.peers.iter().any(|peer| peer.shift != 0);
            let settled = self.more.phases == [Phase::ESTABLISHED; 2] && !shifted;
            self.hot.settle(settled, settled);
        }
        tracked
    }
}

/// The timeout of a connection whose slower end is in one phase and whose faster end is in the other.
fn lifetime(slower: Phase, faster: Phase) -> Lifetime {
    if slower >= Phase::FIN_WAIT_2 {
        Lifetime::TcpClosed
    } else if slower >= Phase::CLOSING {
        Lifetime::TcpFinWait
    } else if slower < Phase::ESTABLISHED {
        Lifetime::TcpOpening
    } else if faster >= Phase::CLOSING {
        Lifetime::TcpClosing
    } else {
        Lifetime::TcpEstablished
    }
}

/// Moves phases on; true if this was the acknowledgement that completes the handshake.
fn advance(sender: &mut End<'_>, receiver: &mut End<'_>, segment: &Segment) -> bool {
    let mut established = false;
    if segment.has(SYN) && *sender.phase < Phase::SYN_SENT {
        *sender.phase = Phase::SYN_SENT;
    }
    if segment.has(FIN) && *sender.phase < Phase::CLOSING {
        *sender.phase = Phase::CLOSING;
    }
    if segment.has(ACK) {
        if *receiver.phase == Phase::SYN_SENT {
            *receiver.phase = Phase::ESTABLISHED;
            established = *sender.phase == Phase::ESTABLISHED;
        } else if *receiver.phase == Phase::CLOSING {
            *receiver.phase = Phase::FIN_WAIT_2;
        }
    }
    if segment.has(RST) {
        *sender.phase = Phase::TIME_WAIT;
        *receiver.phase = Phase::TIME_WAIT;
    }
    established
}

/// Without a look at sequence numbers: one end may be all that is seen here.
fn loosely(mut sender: End<'_>, mut receiver: End<'_>, segment: &Segment) -> Tracked {
    // The other end's SYN may have gone another way.
    if segment.has(ACK) && *receiver.phase == Phase::CLOSED {
        *receiver.phase = Phase::SYN_SENT;
        *sender.phase = (*sender.phase).max(Phase::SYN_SENT);
    }
    if advance(&mut sender, &mut receiver, segment) { Tracked::Established } else { Tracked::Pass }
}

fn fully(mut sender: End<'_>, mut receiver: End<'_>, segment: &Segment, (exact, is_answer): (bool, bool)) -> Tracked {
    let is_first = sender.low == 0;
    // Scales count when both ends have sent one, and never in a SYN (RFC 7323 section 2.2).
    let scaled = sender.scale.is_some() && receiver.scale.is_some() && !segment.has(SYN);
    let (mut sender_scale, mut receiver_scale) = if scaled { (sender.scale(), receiver.scale()) } else { (0, 0) };
    let mut ack = segment.ack.wrapping_sub(receiver.shift);
    let mut seq = segment.seq;
    let mut end = seq.wrapping_add(segment.occupies());
    let window = u32::from(segment.window);
    if sender.low == 0 {
        // The first that is seen of this end (or, once in 4 billion, one that looks like it).
        if segment.has(SYN) {
            match (segment.scale, receiver.scale) {
                (Some(scale), Some(_)) => {
                    sender.scale = Some(scale);
                    // The SYN's own window is not scaled, those before it were not either.
                    (sender_scale, receiver_scale) = (sender.scale(), receiver.scale());
                }
                (None, Some(shift)) => {
                    // The other end's offer is off: what was scaled down at the start is not.
                    let full = u32::from(receiver.window) << shift.bits();
                    receiver.window = u16::try_from(full).unwrap_or(u16::MAX);
                    receiver.scale = None;
                }
                _ => {}
            }
        }
        sender.low = seq;
        if *sender.phase < Phase::SYN_SENT {
            *sender.phase = Phase::SYN_SENT;
        }
        let reach = end.wrapping_add((u32::from(receiver.window) << receiver_scale).max(1));
        if sender.high == 1 || at_least(reach, sender.high) {
            sender.high = reach;
        }
        sender.window = sender.window.max(segment.offers(sender.scale));
    }
    if !segment.has(ACK) || (ack == 0 && segment.flags & (ACK | RST) == ACK | RST) || *receiver.phase < Phase::SYN_SENT
    {
        // Nothing is acknowledged, or by a stack that leaves the number out.
        ack = receiver.low;
    }
    if seq == end {
        // Without data its place does not matter much: keep-alives and RSTs are taken for in order.
        seq = sender.low;
        end = seq;
    }
    let skew = distance(receiver.low, ack);
    // A SYN's window is what the state began with; nothing is scaled in it.
    let window_scale = if segment.has(SYN) { 0 } else { sender_scale };
    let slide = |high: u32| {
        let reach = ack.wrapping_add((window << window_scale).max(1));
        if at_least(ack.wrapping_add(window << window_scale), high) { reach } else { high }
    };
    let behind = (u32::from(receiver.window)) << receiver_scale;
    // A RST has the number that is expected, or an earlier one if a gap is open and it acknowledges exactly what the other
    // end has sent: a number that who forges it does not know. (OpenBSD's pf_tcp_track_full; RFC 5961 section 3.2.)
    let knows = segment.has(ACK) && segment.ack != 0 && skew == 0;
    let is_early = at_least(sender.low, segment.seq) && at_least(segment.seq, sender.low.wrapping_sub(behind));
    // Of the connection before this one, on the same ports: it acknowledges what was sent before the SYN. (A new initial
    // number may be within a window of the old one's last: RFC 6191.) The SYN's own number acknowledges nothing of either.
    let precedes = is_first && is_answer && skew > 1;
    let rst_fits =
        !segment.has(RST) || !exact || matches!(distance(segment.seq, sender.low), -1..=1) || (knows && is_early);
    if at_least(sender.high, end)
        && at_least(seq, sender.low.wrapping_sub(behind))
        && !precedes
        && skew >= -ACK_WINDOW
        && i64::from(skew) <= i64::from(ACK_WINDOW) << sender_scale
        && rst_fits
    {
        sender.window = sender.window.max(segment.offers(sender.scale));
        if distance(end, sender.low) > 0 {
            sender.low = end;
        }
        receiver.high = slide(receiver.high);
        return if advance(&mut sender, &mut receiver, segment) { Tracked::Established } else { Tracked::Pass };
    }
    let loose =
        *receiver.phase < Phase::SYN_SENT || *receiver.phase >= Phase::FIN_WAIT_2 || *sender.phase >= Phase::FIN_WAIT_2;
    // When it is over, a RST answers what the other end still sends, which has not seen everything: with a number behind.
    let is_over = *receiver.phase >= Phase::FIN_WAIT_2 && *sender.phase >= Phase::FIN_WAIT_2;
    if loose
        && at_least(sender.high.wrapping_add(ACK_WINDOW.cast_unsigned()), end)
        && at_least(seq, sender.low.wrapping_sub(ACK_WINDOW.cast_unsigned()))
        && (rst_fits || (is_over && is_early))
    {
        // Before the other end was seen, or after its end: stragglers, and connections from before the state.
        sender.window = sender.window.max(segment.offers(sender.scale));
        if distance(end, sender.low) > 0 {
            sender.low = end;
        }
        receiver.high = slide(receiver.high);
        if segment.has(FIN) && *sender.phase < Phase::CLOSING {
            *sender.phase = Phase::CLOSING;
        }
        if segment.has(RST) {
            *sender.phase = Phase::TIME_WAIT;
            *receiver.phase = Phase::TIME_WAIT;
        }
        return Tracked::Pass;
    }
    if *receiver.phase == Phase::SYN_SENT && *sender.phase == Phase::SYN_SENT {
        // The answer to a handshake is for another one: forget the answering end, so that the next may fit.
        sender.low = 0;
        sender.high = 1;
        sender.window = 1;
        return if segment.has(RST) { Tracked::Mismatch } else { Tracked::Reset };
    }
    Tracked::Mismatch
}
