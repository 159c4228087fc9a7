//! Transmit: packets into transfers of the OUT pipe, as many as fit into each.
//!
//! A transfer that is not full waits only while [`EAGER`] others are under way: a bulk pipe is served in order, so that
//! a frame could not be at the device earlier for being sent in a transfer of its own, and its wait ends when the
//! transfer before the last one does. Under load blocks fill; an idle pipe sends at once. No clock is needed, and a
//! transfer that never ends is the time-out's business.

use alloc::collections::VecDeque;
use core::sync::atomic::Ordering;

use super::UsbQueue;
use crate::mem::transfer::{SLOTS_MAX, TransferRing};
use crate::mem::{Packet, Status};
use crate::nic::usb::framing::Framing;
use crate::nic::usb::port::{Port, Rest};
use crate::nic::usb::{PIPE_OUT, TransferError};

/// Transfers under way that keep the pipe busy: one that runs and one behind it.
const EAGER: usize = 2;

/// Frames on their way out.
pub(super) struct Tx {
    ring: TransferRing,
    /// Not in a transfer yet.
    pub waiting: VecDeque<Packet>,
    /// In a transfer, oldest first.
    loaded: VecDeque<Packet>,
    /// With a status.
    pub finished: VecDeque<Packet>,
    /// Frames and bytes of each transfer that runs or is staged, oldest first.
    frames: heapless::Deque<(usize, u32), SLOTS_MAX>,
    /// Bytes of transfers that are filled and not submitted.
    staged: heapless::Vec<u32, SLOTS_MAX>,
    /// Frames in the transfer that is being filled; `None` without one.
    open: Option<usize>,
    failures: u32,
}

impl Tx {
    pub fn new(ring: TransferRing, ring_size: usize) -> Self {
        let fifo = || VecDeque::with_capacity(ring_size);
        Self {
            ring,
            waiting: fifo(),
            loaded: fifo(),
            finished: fifo(),
            frames: heapless::Deque::new(),
            staged: heapless::Vec::new(),
            open: None,
            failures: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.waiting.len().saturating_add(self.loaded.len()).saturating_add(self.finished.len())
    }

    pub fn has_work(&self) -> bool {
        !self.finished.is_empty() || self.ring.has_finished()
    }

    fn finish_waiting(&mut self, status: Status) {
        while let Some(mut packet) = self.waiting.pop_front() {
            packet.set_status(status);
            self.finished.push_back(packet);
        }
    }

    fn finish_loaded(&mut self, count: usize, status: Status) {
        for mut packet in self.loaded.drain(..count.min(self.loaded.len())) {
            packet.set_status(status);
            self.finished.push_back(packet);
        }
    }

    /// Ends every frame; transfers that still run have none any more.
    pub fn finish_all(&mut self, status: Status) {
        self.finish_loaded(usize::MAX, status);
        self.finish_waiting(status);
        self.staged.clear();
        self.open = None;
        let running = self.ring.busy();
        while self.frames.len() > running {
            let _ = self.frames.pop_back();
        }
        for (frames, _) in self.frames.iter_mut() {
            *frames = 0;
        }
    }

    /// The framing forgot the transfer that was being filled.
    pub fn drop_open(&mut self) {
        let open = self.open.take().unwrap_or(0);
        for mut packet in self.loaded.drain(self.loaded.len().saturating_sub(open)..) {
            packet.set_status(Status::Dropped);
            self.finished.push_back(packet);
        }
    }

    /// Ends every frame that is in no transfer that runs.
    fn drop_unsent(&mut self, status: Status) {
        let mut unsent = self.open.take().unwrap_or(0);
        for _ in 0..self.staged.len() {
            unsent = unsent.saturating_add(self.frames.pop_back().map_or(0, |(frames, _)| frames));
        }
        self.staged.clear();
        let running = self.loaded.len().saturating_sub(unsent);
        for mut packet in self.loaded.drain(running..) {
            packet.set_status(status);
            self.finished.push_back(packet);
        }
        self.finish_waiting(status);
    }

    /// Takes transfers that ended.
    fn reap(&mut self, port: &Port) {
        while let Some(finished) = self.ring.finished() {
            let result = finished.map(<[u8]>::len);
            self.ring.release();
            port.out_done.fetch_add(1, Ordering::Relaxed);
            let (frames, bytes) = self.frames.pop_front().unwrap_or((0, 0));
            // A device that took a part has no use for it.
            let result = result.and_then(|len| if len < bytes as usize { Err(TransferError::Failed) } else { Ok(()) });
            match result {
                Ok(()) => {
                    self.failures = 0;
                    port.note_worked(PIPE_OUT);
                    port.tallies.frames_out.add(frames as u64);
                    self.finish_loaded(frames, Status::Ok);
                }
                Err(error) => {
                    let gone = error == TransferError::Gone;
                    self.finish_loaded(frames, if gone { Status::NoCarrier } else { Status::Dropped });
                    UsbQueue::failed(port, PIPE_OUT, error, &mut self.failures, false);
                }
            }
        }
    }

    /// Slots for more transfers.
    fn has_slot(&self) -> bool {
        self.staged.len() < self.ring.free()
    }

    fn close(&mut self, framing: &mut Framing, packet: usize) {
        let Some(frames) = self.open.take() else { return };
        let ahead = self.staged.len();
        let len = self.ring.buffer_mut(ahead).map_or(0, |buffer| framing.close(buffer, packet));
        let Ok(bytes) = u32::try_from(len) else { return };
        // A ring has as many slots as these have places.
        let _ = self.staged.push(bytes);
        let _ = self.frames.push_back((frames, bytes));
        if framing.wants_empty() && len.checked_rem(packet) == Some(0) && self.has_slot() {
            let _ = self.staged.push(0);
            let _ = self.frames.push_back((0, 0));
        }
    }

    /// Moves frames into transfers.
    fn fill(&mut self, port: &Port, framing: &mut Framing, packet: usize) {
        while let Some(frame) = self.waiting.front().map(Packet::frame) {
            if !self.has_slot() {
                return;
            }
            let ahead = self.staged.len();
            // One more for the empty transfer that may have to follow.
            if framing.wants_empty() && self.open.is_none() && ahead.saturating_add(1) >= self.ring.free() {
                return;
            }
            let Some(buffer) = self.ring.buffer_mut(ahead) else { return };
            if framing.add(buffer, frame) {
                port.tallies.copies.add(1);
                self.open = Some(self.open.unwrap_or(0).saturating_add(1));
                if let Some(frame) = self.waiting.pop_front() {
                    self.loaded.push_back(frame);
                }
            } else if self.open.is_some() {
                self.close(framing, packet);
            } else if let Some(mut frame) = self.waiting.pop_front() {
                frame.set_status(Status::TooLong);
                self.finished.push_back(frame);
            }
        }
    }

    /// Starts the transfers that are filled.
    fn submit(&mut self, port: &Port) {
        if self.staged.is_empty() {
            return;
        }
        port.tallies.submits.add(1);
        let (started, error) = self.ring.submit(&self.staged);
        port.tallies.transfers_out.add(started as u64);
        self.staged.drain(..started.min(self.staged.len()));
        if let Some(error) = error {
            UsbQueue::failed(port, PIPE_OUT, error, &mut self.failures, self.ring.busy() == 0);
        }
    }
}

impl UsbQueue {
    pub(super) fn send(&mut self) {
        self.begin();
        let port = &*self.port;
        self.tx.reap(port);
        if !port.is_enabled() {
            return;
        }
        if !port.is_up() {
            self.framing.abandon();
            if port.is_gone() {
                self.tx.finish_all(Status::NoCarrier);
            } else {
                self.tx.drop_unsent(Status::NoCarrier);
            }
            return;
        }
        if port.rest(PIPE_OUT) == Rest::No {
            let packet = self.packet_out;
            loop {
                self.tx.fill(port, &mut self.framing, packet);
                let under_way = self.tx.ring.busy().saturating_add(self.tx.staged.len());
                if under_way < EAGER || self.framing.wants_empty() {
                    self.tx.close(&mut self.framing, packet);
                }
                if self.tx.staged.is_empty() {
                    break;
                }
                let before = self.tx.staged.len();
                self.tx.submit(port);
                if self.tx.staged.len() == before || self.tx.waiting.is_empty() {
                    break;
                }
            }
        }
        port.out_busy.store(self.tx.ring.busy() as u32, Ordering::Relaxed);
    }
}
