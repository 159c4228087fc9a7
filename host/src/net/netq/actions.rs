//! Model B: the framework moves packets by calling the driver's action functions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{BURST, MoveAction, NetQ, NetqKind, RawActions};
use crate::diag::Site;
use crate::net::packet::{Packet, state};
use crate::sched::lock;

impl NetQ {
    /// Model B: hands what waits to the driver.
    pub(super) fn push_to_driver(self: &Arc<Self>, actions: &RawActions, f: MoveAction) {
        while self.enabled() {
            let mut bytes = u32::MAX;
            let space = actions.free_space.map_or(u32::MAX, |q| q(actions.ctx, &mut bytes)) as usize;
            let mut packets = [std::ptr::null_mut(); BURST];
            let want = space.min(BURST);
            let Some(room) = packets.get_mut(..want) else { return };
            if want == 0 {
                return;
            }
            let n = self.dequeue_inside(room);
            if n == 0 {
                return;
            }
            let accepted = f(actions.ctx, packets.as_mut_ptr(), n).min(n) as usize;
            let refused = packets.get(accepted..n as usize).unwrap_or_default();
            if refused.is_empty() {
                self.refill();
                continue;
            }
            self.put_back(refused);
            // Only now: packets that came back count against the capacity.
            self.refill();
            return;
        }
    }

    /// Model B: what the driver did not accept goes to the front again, or to the pool if the queue was disabled.
    pub(super) fn put_back(&self, refused: &[*mut Packet]) {
        let (from, back) = match self.kind {
            NetqKind::TxSubmission => (state::TX_DRIVER, state::TX_QUEUED),
            _ => (state::RX_DRIVER, state::RX_POSTED),
        };
        let mut dropped = Vec::new();
        {
            let mut ring = lock(&self.ring);
            let open = self.enabled();
            for index in refused.iter().rev().filter_map(|p| self.pool.index_of(*p)) {
                // One that the driver completed and refused is its mistake; the completion stands.
                if !self.pool.exchange(index, from, back) {
                    self.pool.violation("double completion", index, "completed, and refused by the action", Site::NONE);
                } else if open {
                    ring.push_front(index);
                } else {
                    dropped.push(index);
                }
            }
            self.len.store(ring.len() as u32, Ordering::Relaxed);
        }
        if self.kind == NetqKind::TxSubmission
            && let Some((iface, _)) = self.iface()
        {
            iface.count_tx_dropped(dropped.len());
        }
        self.pool.give(&dropped);
    }

    /// Model B: fetches completions from the driver.
    pub(super) fn pull_from_driver(self: &Arc<Self>, actions: &RawActions, f: MoveAction) {
        while !self.closed.load(Ordering::SeqCst) {
            let mut packets = [std::ptr::null_mut(); BURST];
            let n = (f(actions.ctx, packets.as_mut_ptr(), BURST as u32) as usize).min(BURST);
            let got = packets.get(..n).unwrap_or_default();
            if n == 0 {
                return;
            }
            let taken = self.enqueue(got, Site::NONE) as usize;
            // What was not taken (queue disabled meanwhile) would be lost: the driver has let go of it.
            for p in got.get(taken..).unwrap_or_default() {
                let Some(index) = self.pool.index_of(*p) else { continue };
                let was = self.pool.state_of(index);
                if state::is_driver(was) && self.pool.exchange(index, was, state::FREE) {
                    self.pool.give(&[index]);
                }
            }
            if n < BURST {
                return;
            }
        }
    }
}
