//! The far end that is a client with shared rings.

use core::sync::atomic::Ordering;

use super::deliver::{Delivered, Outgoing, deliver, finish_checksums};
use super::port::{ClientQueue, Inbox, Port};
use super::queue::TxFrames;
use crate::mem::Status;
use crate::mem::packet::{Packet, PartialCsum};
use crate::mem::seat::Guard;
use crate::mem::wire_ring::{FrameMeta, WireFault, WireFeatures};
use crate::nic::Refused;
use crate::wire::offload;

fn enter(port: &Port, queue: usize) -> Option<Guard<'_, Option<ClientQueue>>> {
    port.queues.get(queue)?.wire.enter()
}

/// Sends what the client has room for. If it has none left, the client's kick wakes this queue.
pub(super) fn send(port: &Port, queue: usize, tx: &mut TxFrames) {
    let Some(mut guard) = enter(port, queue) else {
        if !port.joined.load(Ordering::Acquire) {
            tx.finish_all(Status::NoCarrier);
        }
        return;
    };
    let Some(client) = guard.as_mut() else {
        tx.finish_all(Status::NoCarrier);
        return;
    };
    loop {
        while let Some((next, cut)) = tx.next() {
            match send_one(client, next, cut) {
                Some(status) => tx.finish(status),
                None => break,
            }
        }
        if client.rings.send.flush() {
            port.events.wire_notify(queue as u32);
        }
        if tx.is_finished() {
            return;
        }
        if client.rings.send.is_dead() {
            tx.finish_all(Status::NoCarrier);
            return;
        }
        if !client.rings.send.wait() {
            return;
        }
    }
}

/// Sends one frame; `None` when the ring is full.
fn send_one(client: &mut ClientQueue, packet: &mut Packet, cut: &mut usize) -> Option<Status> {
    let accepts = client.shared.client_accepts();
    let out = match Outgoing::of(packet) {
        Ok(out) => out,
        Err(status) => return Some(status),
    };
    let (ipv4_csum, csum) = (out.ipv4_csum, out.csum);
    match out.segmenter() {
        Err(status) => return Some(status),
        Ok(None) => {}
        Ok(Some((segmenter, v6))) => {
            let feature = if v6 { WireFeatures::TSO6 } else { WireFeatures::TSO4 };
            let whole = accepts.contains(feature | WireFeatures::CSUM) && csum.is_some();
            if *cut == 0 && whole && out.frame.len() <= client.rings.send.frame_max() {
                let meta = out.meta(v6);
                if ipv4_csum {
                    let _ = segmenter.set_super_lengths(packet.frame_mut());
                }
                return client.rings.send.send(packet.frame(), &meta).then_some(Status::Ok);
            }
            if segmenter.segment_max() > client.rings.send.frame_max() {
                return Some(Status::TooLong);
            }
            while *cut < segmenter.segments() {
                let Some(len) = segmenter.write(out.frame, *cut, &mut client.scratch) else {
                    return Some(Status::TooLong);
                };
                let segment = client.scratch.get(..len).unwrap_or_default();
                if !client.rings.send.send(segment, &FrameMeta::default()) {
                    return None;
                }
                *cut += 1;
            }
            return Some(Status::Ok);
        }
    }
    if packet.is_empty() {
        // A wire carries no frame without a byte; the far end would count a runt.
        return Some(Status::Ok);
    }
    if packet.len() > client.rings.send.frame_max() {
        return Some(Status::TooLong);
    }
    let mut meta = FrameMeta { csum, ..FrameMeta::default() };
    if ipv4_csum {
        let _ = offload::fill_ipv4_header_of(packet.frame_mut());
    }
    if let Some(PartialCsum { start, stuff }) = csum
        && !accepts.contains(WireFeatures::CSUM)
    {
        let _ = offload::finish_partial(packet.frame_mut(), start, stuff);
        let _ = packet.set_partial_csum(None);
        meta.csum = None;
    }
    client.rings.send.send(packet.frame(), &meta).then_some(Status::Ok)
}

/// Takes up to `budget` frames of the client into posted buffers. Without buffers they wait with the client.
pub(super) fn receive(port: &Port, queue: usize, budget: usize, refused: &mut Refused) {
    let (Some(mut guard), Some(shared)) = (enter(port, queue), port.queues.get(queue)) else {
        return;
    };
    let (Some(client), Some(mut inbox)) = (guard.as_mut(), shared.inbox.enter()) else {
        return;
    };
    if !port.is_plugged() {
        return;
    }
    for _ in 0..budget {
        if !receive_one(client, &mut inbox, port, refused) {
            break;
        }
    }
    // It is the queue itself that asks.
    let _ = inbox.leave();
    if client.rings.recv.release() {
        port.events.wire_notify(queue as u32);
    }
}

/// Takes one frame; false when there is none or no buffer for it.
fn receive_one(client: &mut ClientQueue, inbox: &mut Inbox, port: &Port, refused: &mut Refused) -> bool {
    if let Some((len, meta)) = client.cutting {
        let frame = client.scratch.get(..len).unwrap_or_default();
        let out = Outgoing { frame, csum: meta.csum, ipv4_csum: false, mss: meta.mss };
        match deliver(inbox, port, out, &mut client.cut) {
            Delivered::NoBuffer => return false,
            Delivered::Done => {}
            Delivered::Refused(_) => refused.device += 1,
        }
        client.cut = 0;
        client.cutting = None;
        return true;
    }
    if !inbox.has_buffer() {
        return false;
    }
    let offloads = port.offloads();
    match client.rings.recv.peek() {
        None => return false,
        Some(Err(WireFault::Index)) => {
            if !client.faulted {
                client.faulted = true;
                refused.device += 1;
            }
            return false;
        }
        Some(Ok((_, meta))) if meta.mss != 0 => {
            // A super-frame goes through the scratch room: it is merged or cut from there.
            match client.rings.recv.recv(&mut client.scratch) {
                Some(Ok(next)) => client.cutting = Some(next),
                _ => refused.device += 1,
            }
            return true;
        }
        Some(_) => {}
    }
    let Some(buffer) = inbox.take() else {
        return false;
    };
    match client.rings.recv.recv_packet(buffer) {
        Some(Ok(meta)) => finish_checksums(buffer, meta.csum, false, offloads),
        Some(Err(WireFault::TooLong)) => buffer.set_status(Status::TooLong),
        _ => {
            refused.device += 1;
            inbox.untake();
        }
    }
    true
}

/// True when [`receive`] has something to do and the buffers to do it with.
pub(super) fn pending(port: &Port, queue: usize) -> bool {
    let (Some(mut guard), Some(shared)) = (enter(port, queue), port.queues.get(queue)) else {
        return false;
    };
    let Some(client) = guard.as_mut() else {
        return false;
    };
    let waits = client.cutting.is_some() || client.rings.recv.available() > 0;
    waits && port.is_plugged() && shared.inbox.enter().is_some_and(|mut inbox| inbox.has_buffer())
}

/// Asks the client to kick when it has frames. True: there are some, and buffers for them, already.
pub(super) fn arm(port: &Port, queue: usize) -> bool {
    let (Some(mut guard), Some(shared)) = (enter(port, queue), port.queues.get(queue)) else {
        return false;
    };
    let Some(client) = guard.as_mut() else {
        return false;
    };
    let waits = client.rings.recv.wait() || client.cutting.is_some();
    if !waits || !port.is_plugged() {
        return false;
    }
    let Some(mut inbox) = shared.inbox.enter() else {
        return false;
    };
    if inbox.has_buffer() {
        return true;
    }
    // Frames, but nowhere to put them: the next post wakes this queue.
    shared.starved.arm();
    false
}
