//! Where the two ends of a pair find each other: by name, within this process.
//!
//! The lock is taken by control only: when an end comes, goes, or changes its state. The data path sees its peer
//! through its own queue's seat (`PortQueue::peer`), which control closes before it changes it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::port::Port;
use crate::mem::seat::Seat;
use crate::nic::NicError;

/// A pair, or one half of it.
struct Cable {
    name: [u8; 32],
    ends: [Option<Arc<Port>>; 2],
}

/// Never open: claiming it is the lock.
#[cfg(not(all(loom, test)))]
static CABLES: Seat<Vec<Cable>> = Seat::new(Vec::new());
#[cfg(all(loom, test))]
loom::lazy_static! {
    static ref CABLES: Seat<Vec<Cable>> = Seat::new(Vec::new());
}

fn connect(from: &Port, to: Option<&Arc<Port>>) {
    for queue in &from.queues {
        // After this, no burst of `from` that sees the old peer is under way.
        queue.peer.close();
        *queue.peer.lock() = to.cloned();
        if to.is_some() {
            queue.peer.open();
        }
    }
    from.joined.store(to.is_some(), Ordering::Release);
}

/// Puts `port` at a free end of the cable `name`, and connects both ends if the other is taken.
pub(super) fn join(name: [u8; 32], port: &Arc<Port>) -> Result<(), NicError> {
    let mut cables = CABLES.lock();
    let Some(cable) = cables.iter_mut().find(|cable| cable.name == name) else {
        cables.push(Cable { name, ends: [Some(port.clone()), None] });
        return Ok(());
    };
    let [a, b] = &mut cable.ends;
    let (free, other) = match (&a, &b) {
        (None, Some(_)) => (a, b),
        (Some(_), None) => (b, a),
        _ => return Err(NicError::Busy),
    };
    if let Some(other) = other {
        if other.queues.len() != port.queues.len() {
            return Err(NicError::Invalid("both ends of a pair need the same number of queues"));
        }
        *free = Some(port.clone());
        connect(port, Some(other));
        connect(other, Some(port));
        other.events.link_changed();
    }
    Ok(())
}

/// Takes `port` from its cable. On return nobody calls its events or touches its rings from the other end.
pub(super) fn leave(port: &Arc<Port>) {
    let mut cables = CABLES.lock();
    for cable in cables.iter_mut() {
        let [a, b] = &mut cable.ends;
        let is_port = |end: &Option<Arc<Port>>| end.as_ref().is_some_and(|end| Arc::ptr_eq(end, port));
        let (mine, other) = if is_port(a) {
            (a, b)
        } else if is_port(b) {
            (b, a)
        } else {
            continue;
        };
        *mine = None;
        connect(port, None);
        if let Some(other) = other {
            connect(other, None);
            other.events.link_changed();
            other.wake_all();
        }
    }
    cables.retain(|cable| cable.ends.iter().any(Option::is_some));
}

/// The other end of `port`'s cable, and whether there is one, under the lock: it cannot leave meanwhile.
pub(super) fn with_peer<R>(port: &Arc<Port>, f: impl FnOnce(Option<&Port>) -> R) -> R {
    let cables = CABLES.lock();
    let peer = cables.iter().find_map(|cable| match &cable.ends {
        [Some(a), b] if Arc::ptr_eq(a, port) => b.as_deref(),
        [a, Some(b)] if Arc::ptr_eq(b, port) => a.as_deref(),
        _ => None,
    });
    f(peer)
}
