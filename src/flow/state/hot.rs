//! The packet that nearly every packet is: one more of a conversation that is going on, in which nothing changes but
//! numbers.

use super::tcp::{ACK_WINDOW, at_least, distance};
use super::{State, StateFlags, Way};
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

impl State {
    /// Notes a packet of this state if that is all there is to do: it belongs there, nothing in it is to be changed, and
    /// the state stays as it is but for numbers. False, and no change, otherwise; then the long way is to be gone. The packet
    /// has no options: only the long way knows whether these may pass.
    #[must_use]
    #[inline(always)]
    pub fn note_ordinary(&mut self, way: Way, (epoch, now): (u64, u64), frame: &[u8], parsed: &Parsed) -> bool {
        let busy = if way == Way::In { BUSY_IN } else { BUSY_OUT };
        if self.flags.intersects(busy) || !self.is_of_epoch(epoch) {
            return false;
        }
        if parsed.protocol == protocol::TCP && !self.ordinary_segment(self.is_forward(way), frame, parsed) {
            return false;
        }
        self.see(now);
        self.count(way, frame.len());
        true
    }

    #[inline(always)]
    fn ordinary_segment(&mut self, forward: bool, frame: &[u8], parsed: &Parsed) -> bool {
        if parsed.tcp_flags & (SYN | FIN | RST | ACK) != ACK {
            return false;
        }
        let Some(header) = frame.get(usize::from(parsed.l4)..).and_then(TcpHeader::new) else { return false };
        let (mut sender, mut receiver) = self.ends(forward);
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
}
