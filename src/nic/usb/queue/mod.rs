//! The data side: packets on one side, the rings of the pipes on the other.

mod rx;
mod tx;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::framing::Framing;
use super::notify::{self, Notice};
use super::port::{Port, Rest};
use super::{PIPE_NOTIFY, TransferError};
use crate::mem::packet::BURST_MAX;
use crate::mem::transfer::{SLOTS_MAX, TransferRing};
use crate::mem::{Burst, Packet, Status};
use crate::nic::{NicQueue, QueueGauges, Reclaimed, Refused};
use tx::Tx;

/// Failures in a row after which a pipe rests.
const FAILURES_MAX: u32 = 8;
/// Empty transfers in a row after which the pipe rests: some devices answer so without end.
const EMPTY_MAX: u32 = 64;

/// The rings of the pipes.
pub struct Rings {
    pub rx: TransferRing,
    pub tx: TransferRing,
    pub notify: Option<TransferRing>,
}

/// See the module.
pub struct UsbQueue {
    port: Arc<Port>,
    framing: Framing,
    ring_size: usize,
    /// Packet size of the OUT endpoint, bytes.
    packet_out: usize,
    epoch: u32,
    /// Empty packets.
    posted: VecDeque<Packet>,
    refused: Refused,
    rx: TransferRing,
    /// The oldest transfer of `rx` is being read.
    reading: bool,
    failures: u32,
    empties: u32,
    notify: Option<TransferRing>,
    tx: Tx,
}

impl UsbQueue {
    /// Allocates; called at Start.
    pub fn new(port: Arc<Port>, framing: Framing, ring_size: usize, packet_out: usize, rings: Rings) -> Self {
        let Rings { rx, tx, notify } = rings;
        let tx = Tx::new(tx, ring_size);
        Self {
            port,
            framing,
            ring_size,
            packet_out,
            epoch: 0,
            posted: VecDeque::with_capacity(ring_size),
            refused: Refused::default(),
            rx,
            reading: false,
            failures: 0,
            empties: 0,
            notify,
            tx,
        }
    }

    /// The interface was enabled since the last call: nothing of its former life counts.
    fn begin(&mut self) {
        let epoch = self.port.epoch.load(Ordering::Acquire);
        if self.epoch != epoch {
            self.epoch = epoch;
            self.framing.reset();
            self.tx.drop_open();
            if core::mem::take(&mut self.reading) {
                self.rx.release();
            }
            (self.failures, self.empties) = (0, 0);
        }
    }

    /// Deals with a transfer of `pipe` that did not work, or could not begin. `idle`: no other runs whose end would have the
    /// pipe looked at again.
    fn failed(port: &Port, pipe: u32, error: TransferError, failures: &mut u32, idle: bool) {
        match error {
            // Control did it, and knows why.
            TransferError::Aborted => return,
            TransferError::Gone => return port.set_gone(),
            TransferError::Stall => {
                port.tallies.stalls.add(1);
                return port.put_to_rest(pipe, Rest::Stalled);
            }
            TransferError::Timeout | TransferError::Failed => port.tallies.failed_transfers.add(1),
        }
        *failures = failures.saturating_add(1);
        if idle && *failures == 1 {
            return port.events.wake(0);
        }
        if *failures >= FAILURES_MAX || idle {
            // Until something works, each one more is enough.
            *failures = FAILURES_MAX - 1;
            port.put_to_rest(pipe, Rest::BackOff);
        }
    }

    fn take_notice(port: &Port, notice: Option<Notice>) {
        match notice {
            Some(Notice::Connected(up)) => port.set_connected(up),
            Some(Notice::Speed { down, up }) => port.set_speed(down.max(up).into()),
            Some(Notice::Response) => {
                port.response.store(true, Ordering::Release);
                port.events.attention();
            }
            None => {}
        }
    }

    /// Reads what the device told and listens on.
    fn listen(&mut self) {
        let Some(ring) = &mut self.notify else { return };
        while let Some(finished) = ring.finished() {
            match finished {
                Ok(bytes) => {
                    self.port.note_worked(PIPE_NOTIFY);
                    let mut rest = bytes;
                    while let Some((notice, behind)) = notify::parse(rest) {
                        Self::take_notice(&self.port, notice);
                        rest = behind;
                    }
                }
                Err(error) => Self::failed(&self.port, PIPE_NOTIFY, error, &mut self.failures, false),
            }
            ring.release();
        }
        if self.port.is_gone() || self.port.rest(PIPE_NOTIFY) != Rest::No {
            return;
        }
        let free = ring.free();
        if free > 0 {
            let lengths = [ring.slot_len() as u32; SLOTS_MAX];
            self.port.tallies.submits.add(1);
            let (_, error) = ring.submit(lengths.get(..free).unwrap_or(&[]));
            if let Some(error) = error {
                Self::failed(&self.port, PIPE_NOTIFY, error, &mut self.failures, ring.busy() == 0);
            }
        }
    }
}

impl NicQueue for UsbQueue {
    fn rx_post(&mut self, burst: &mut Burst) -> usize {
        if !self.port.is_enabled() {
            return 0;
        }
        let count = burst.len().min(self.rx_space());
        for mut packet in burst.drain(..count) {
            packet.reset();
            self.posted.push_back(packet);
        }
        count
    }

    fn rx_space(&mut self) -> usize {
        self.ring_size.saturating_sub(self.posted.len())
    }

    fn rx_burst(&mut self, out: &mut Burst, budget: usize) -> usize {
        if !self.port.is_enabled() {
            return 0;
        }
        self.begin();
        self.listen();
        self.receive(out, budget.min(BURST_MAX.saturating_sub(out.len())))
    }

    fn rx_pending(&mut self) -> bool {
        self.port.is_enabled() && !self.posted.is_empty() && self.rx.has_finished()
    }

    fn take_refused(&mut self) -> Refused {
        core::mem::take(&mut self.refused)
    }

    fn tx_space(&mut self) -> usize {
        self.ring_size.saturating_sub(self.tx.len())
    }

    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        let count = burst.len().min(self.tx_space());
        self.tx.waiting.extend(burst.drain(..count));
        self.send();
        count
    }

    fn tx_reap(&mut self, out: &mut Burst) -> usize {
        self.send();
        let count = self.tx.finished.len().min(BURST_MAX.saturating_sub(out.len()));
        out.extend(self.tx.finished.drain(..count));
        count
    }

    fn arm(&mut self) -> bool {
        if !self.port.is_enabled() {
            return false;
        }
        self.port.bell.arm();
        let told = self.notify.as_ref().is_some_and(TransferRing::has_finished);
        let work = told || self.rx_pending() || self.tx.has_work();
        if work {
            self.port.bell.disarm();
        }
        work
    }

    fn reclaim(&mut self, out: &mut Burst) -> Reclaimed {
        let mut reclaimed = Reclaimed::default();
        if self.port.is_enabled() {
            return reclaimed;
        }
        let room = BURST_MAX.saturating_sub(out.len());
        reclaimed.rx = self.posted.len().min(room);
        out.extend(self.posted.drain(..reclaimed.rx));
        self.framing.abandon();
        self.tx.finish_all(Status::Disabled);
        reclaimed.tx = self.tx.finished.len().min(BURST_MAX.saturating_sub(out.len()));
        out.extend(self.tx.finished.drain(..reclaimed.tx));
        reclaimed
    }

    fn gauges(&self) -> QueueGauges {
        QueueGauges { rx_posted: self.posted.len(), tx_in_flight: self.tx.len() }
    }
}
