//! The far end that is another instance: the sender copies straight into the receiver's posted buffers.

use super::deliver::{Delivered, Outgoing, deliver, deliver_plain};
use super::port::{Inbox, Port};
use super::queue::TxFrames;
use crate::mem::Status;
use core::sync::atomic::Ordering;

/// Sends what the peer has buffers for. If it has none left, this queue is woken when it posts some.
pub(super) fn send(port: &Port, queue: usize, tx: &mut TxFrames) {
    let Some(seat) = port.queues.get(queue).map(|shared| &shared.peer) else {
        return;
    };
    let Some(guard) = seat.enter() else {
        // Without a peer, or control is connecting or disconnecting one right now: it wakes us when it is done.
        if !port.joined.load(Ordering::Acquire) {
            tx.finish_all(Status::NoCarrier);
        }
        return;
    };
    let Some(peer) = guard.as_deref() else {
        tx.finish_all(Status::NoCarrier);
        return;
    };
    let Some(shared) = peer.queues.get(queue).filter(|_| peer.is_listening()) else {
        tx.finish_all(Status::NoCarrier);
        return;
    };
    let Some(mut inbox) = shared.inbox.enter() else {
        tx.finish_all(Status::NoCarrier);
        return;
    };
    loop {
        fill(&mut inbox, peer, tx);
        if tx.is_finished() {
            break;
        }
        shared.starved.arm();
        if !inbox.has_buffer() {
            break;
        }
        shared.starved.disarm();
    }
    let is_filled = inbox.leave();
    drop(inbox);
    if is_filled {
        // While this queue sits in its peer seat the peer cannot leave, so its events can be called.
        peer.wake(queue);
    }
}

fn fill(inbox: &mut Inbox, peer: &Port, tx: &mut TxFrames) {
    while let Some((next, cut)) = tx.next() {
        let delivered = if next.flags().is_empty() {
            deliver_plain(inbox, next.frame())
        } else {
            match Outgoing::of(next) {
                Ok(out) => deliver(inbox, peer, out, cut),
                Err(status) => Delivered::Refused(status),
            }
        };
        match delivered {
            Delivered::Done => tx.finish(Status::Ok),
            Delivered::Refused(status) => tx.finish(status),
            Delivered::NoBuffer => return,
        }
    }
}

/// Wakes the peer's queue, which waits for this one's buffers.
pub(super) fn wake(port: &Port, queue: usize) {
    // A seat that cannot be entered is being changed by control, which wakes both ends.
    let guard = port.queues.get(queue).and_then(|shared| shared.peer.enter());
    if let Some(peer) = guard.as_ref().and_then(|guard| guard.as_deref()) {
        peer.events.wake(queue as u32);
    }
}
