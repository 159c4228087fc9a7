//! What every packet of a state needs, and the packet that nearly every packet is: one more of a conversation that is going
//! on, in which nothing changes but numbers.

use super::tcp::{ACK_WINDOW, at_least, distance};
use super::{Lifetime, Peers, StateFlags, Way, first_lifetime};
use crate::flow::table::Behind;
use crate::wire::tcp::{ACK, FIN, RST, SYN, TcpHeader};
use crate::wire::{Parsed, protocol};

/// With any of these there is more to do than to note the packet.
const BUSY: StateFlags = StateFlags::TRANSLATED
    .union(StateFlags::SLOPPY)
    .union(StateFlags::LOG_ALL)
    .union(StateFlags::COPY)
    .union(StateFlags::SCRUB)
    .union(StateFlags::PROXY_CLIENT)
    .union(StateFlags::PROXY_SERVER)
    .union(StateFlags::TIMESTAMPS);

const BUSY_IN: StateFlags = BUSY.union(StateFlags::OPEN_IN);
const BUSY_OUT: StateFlags = BUSY.union(StateFlags::OPEN_OUT);

/// What every packet of a state reads and writes: with what a table has in front of it, a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Hot {
    /// What it is.
    pub flags: StateFlags,
    /// The way of the packet that made it.
    pub way: Way,
    /// Which timeout applies.
    pub lifetime: Lifetime,
    /// Number of the rule that made it; `u32::MAX` = there is none any more.
    pub rule: u32,
    /// Ruleset that `rule` is a number in, see [`Hot::set_epoch`].
    epoch: u32,
    /// When the last packet came, the lower half of its ticks; see [`Hot::seen`].
    seen: u32,
    /// Bytes that came in, and that went out.
    pub(super) bytes: [u64; 2],
    /// Packets that came in and that went out, the lower halves.
    pub(super) packets: [u32; 2],
}

impl Default for Hot {
    /// Of no packet.
    fn default() -> Self {
        Self::new(Way::In, 0, 0)
    }
}

impl Hot {
    pub(super) const fn new(way: Way, protocol: u8, now: u64) -> Self {
        Self {
            flags: StateFlags::OPEN_IN.union(StateFlags::OPEN_OUT),
            way,
            lifetime: first_lifetime(protocol),
            rule: u32::MAX,
            epoch: 0,
            seen: now as u32,
            bytes: [0; 2],
            packets: [0; 2],
        }
    }

    /// True if `rule` is a number in the ruleset `epoch`. (Four billion loads between two packets would be mistaken.)
    #[must_use]
    #[inline(always)]
    pub const fn is_of_epoch(&self, epoch: u64) -> bool {
        self.epoch == epoch as u32
    }

    /// Says which ruleset `rule` is a number in.
    pub const fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch as u32;
    }

    /// Notes when the last packet came, ticks.
    #[inline(always)]
    pub const fn see(&mut self, now: u64) {
        self.seen = now as u32;
    }

    /// When the last packet came, ticks: the time not after `now` that has the half that is kept.
    #[must_use]
    pub const fn seen(&self, now: u64) -> u64 {
        now.saturating_sub((now as u32).wrapping_sub(self.seen) as u64)
    }

    /// True for packets of the end that began.
    #[must_use]
    #[inline(always)]
    pub fn is_forward(&self, way: Way) -> bool {
        self.way == way
    }

    /// Of the end that began, and of the other, what came in and went out.
    pub(super) const fn by_end(&self, [came_in, went_out]: [u64; 2]) -> [u64; 2] {
        if matches!(self.way, Way::In) { [came_in, went_out] } else { [went_out, came_in] }
    }

    /// Bytes of the end that began, and of the other.
    #[must_use]
    pub const fn bytes(&self) -> [u64; 2] {
        self.by_end(self.bytes)
    }

    /// One more packet of this way is one more than its half of a number counts.
    #[must_use]
    #[inline(always)]
    pub(super) fn carries(&self, way: Way) -> bool {
        self.packets.get(usize::from(way == Way::Out)).is_some_and(|packets| *packets == u32::MAX)
    }

    /// Counts a packet, without the carry.
    #[inline(always)]
    pub(super) fn count(&mut self, way: Way, len: usize) {
        let index = usize::from(way == Way::Out);
        if let (Some(packets), Some(bytes)) = (self.packets.get_mut(index), self.bytes.get_mut(index)) {
            *bytes = bytes.wrapping_add(len as u64);
            *packets = packets.wrapping_add(1);
        }
    }

    /// Says of which end another packet as the last one would change nothing but numbers.
    pub(super) fn settle(&mut self, first: bool, second: bool) {
        let (came_in, went_out) = if self.way == Way::In { (first, second) } else { (second, first) };
        self.flags.set(StateFlags::OPEN_IN, !came_in);
        self.flags.set(StateFlags::OPEN_OUT, !went_out);
    }

    /// Notes a packet of this state if that is all there is to do: it belongs there, nothing in it is to be changed, and
    /// the state stays as it is but for numbers. False, and no change, otherwise; then the long way is to be gone. The packet
    /// has no options: only the long way knows whether these may pass.
    #[must_use]
    #[inline(always)]
    pub fn note_ordinary(
        &mut self,
        peers: Behind<'_, Peers>,
        way: Way,
        (epoch, now): (u64, u64),
        frame: &[u8],
        parsed: &Parsed,
    ) -> bool {
        let busy = if way == Way::In { BUSY_IN } else { BUSY_OUT };
        if self.flags.intersects(busy) || !self.is_of_epoch(epoch) || self.carries(way) {
            return false;
        }
        if parsed.protocol == protocol::TCP {
            let Some(peers) = peers.second() else { return false };
            if !ordinary_segment(peers, self.is_forward(way), frame, parsed) {
                return false;
            }
        }
        self.see(now);
        self.count(way, frame.len());
        true
    }
}

/// Notes a segment, if there is nothing else to do.
#[inline(always)]
fn ordinary_segment(peers: &mut Peers, forward: bool, frame: &[u8], parsed: &Parsed) -> bool {
    if parsed.tcp_flags & (SYN | FIN | RST | ACK) != ACK {
        return false;
    }
    let Some(header) = frame.get(usize::from(parsed.l4)..).and_then(TcpHeader::new) else { return false };
    let [first, second] = peers;
    let (sender, receiver) = if forward { (first, second) } else { (second, first) };
    if sender.low == 0 {
        return false;
    }
    // As in `fully`, of which this is what is left.
    let (sender_scale, receiver_scale) = match (sender.scale, receiver.scale) {
        (Some(sender), Some(receiver)) => (u32::from(sender.bits()), u32::from(receiver.bits())),
        _ => (0, 0),
    };
    let (ack, window) = (header.ack(), header.window());
    let seq = if parsed.payload_len == 0 { sender.low } else { header.seq() };
    let end = seq.wrapping_add(parsed.payload_len);
    let skew = distance(receiver.low, ack);
    let behind = u32::from(receiver.window) << receiver_scale;
    let fits = at_least(sender.high, end)
        & at_least(seq, sender.low.wrapping_sub(behind))
        & (skew >= -ACK_WINDOW)
        & (i64::from(skew) <= i64::from(ACK_WINDOW) << sender_scale);
    if !fits {
        return false;
    }
    sender.window = sender.window.max(window);
    if distance(end, sender.low) > 0 {
        sender.low = end;
    }
    let scaled = u32::from(window) << sender_scale;
    if at_least(ack.wrapping_add(scaled), receiver.high) {
        receiver.high = ack.wrapping_add(scaled.max(1));
    }
    true
}
