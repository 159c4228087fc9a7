//! Receive: transfers of the IN pipe, the frames in them, and on into packets.

use super::{EMPTY_MAX, UsbQueue};
use crate::mem::Burst;
use crate::mem::transfer::SLOTS_MAX;
use crate::nic::usb::PIPE_IN;
use crate::nic::usb::framing::Next;
use crate::nic::usb::port::Rest;

/// What to do after a step.
enum Step {
    /// Go on with the same transfer.
    Stay,
    /// The transfer is done with.
    Done,
    /// There is no packet to put the frame into.
    NoPacket,
}

impl UsbQueue {
    pub(super) fn receive(&mut self, out: &mut Burst, budget: usize) -> usize {
        let before = out.len();
        let mut left = budget;
        while left > 0 {
            if !self.reading && !self.next_transfer() {
                break;
            }
            if !self.reading {
                continue;
            }
            match self.step(out) {
                Step::Stay => left = left.saturating_sub(1),
                Step::NoPacket => break,
                Step::Done => {
                    self.reading = false;
                    self.rx.release();
                }
            }
        }
        self.post_transfers();
        out.len().saturating_sub(before)
    }

    /// Looks at the oldest transfer; false if it still runs.
    fn next_transfer(&mut self) -> bool {
        let Some(finished) = self.rx.finished() else { return false };
        match finished {
            Ok([]) => {
                self.port.note_worked(PIPE_IN);
                self.port.tallies.empty_transfers.add(1);
                self.empties = self.empties.saturating_add(1);
                if self.empties >= EMPTY_MAX {
                    self.empties = 0;
                    self.port.put_to_rest(PIPE_IN, Rest::Quiet);
                }
            }
            Ok(transfer) => {
                self.port.note_worked(PIPE_IN);
                self.port.tallies.transfers_in.add(1);
                (self.failures, self.empties) = (0, 0);
                self.reading = self.framing.open(transfer);
                if self.reading {
                    return true;
                }
                self.port.tallies.bad_blocks.add(1);
                self.refused.device = self.refused.device.saturating_add(1);
                self.refused.bytes = self.refused.bytes.saturating_add(transfer.len() as u64);
            }
            Err(error) => Self::failed(&self.port, PIPE_IN, error, &mut self.failures, false),
        }
        self.rx.release();
        true
    }

    /// Takes one frame out of the transfer that is being read.
    fn step(&mut self, out: &mut Burst) -> Step {
        let Some(Ok(transfer)) = self.rx.finished() else { return Step::Done };
        if self.posted.is_empty() {
            return Step::NoPacket;
        }
        let (at, len) = match self.framing.next(transfer) {
            Next::Frame(at, len) => (at, len),
            Next::BadFrame => {
                self.refused.device = self.refused.device.saturating_add(1);
                return Step::Stay;
            }
            Next::Bad => {
                self.port.tallies.bad_blocks.add(1);
                self.refused.device = self.refused.device.saturating_add(1);
                return Step::Done;
            }
            Next::End => return Step::Done,
        };
        let Some(frame) = at.checked_add(len).and_then(|end| transfer.get(at..end)) else { return Step::Done };
        self.port.tallies.frames_in.add(1);
        // A frame proves the cable; a device need not have said so.
        self.port.set_connected(true);
        if let Err(refusal) = self.port.filter.check(frame, false) {
            self.refused.count(refusal, frame.len());
            return Step::Stay;
        }
        let Some(mut packet) = self.posted.pop_front() else { return Step::NoPacket };
        if !packet.write(frame) {
            self.refused.giant = self.refused.giant.saturating_add(1);
            self.refused.bytes = self.refused.bytes.saturating_add(frame.len() as u64);
            self.posted.push_front(packet);
            return Step::Stay;
        }
        self.port.tallies.copies.add(1);
        if let Err(packet) = out.push(packet) {
            // Cannot happen: the budget is what fits.
            self.posted.push_front(packet);
        }
        Step::Stay
    }

    /// Starts as many transfers as there are slots.
    fn post_transfers(&mut self) {
        let free = self.rx.free();
        if free == 0 || self.port.is_gone() || self.port.rest(PIPE_IN) != Rest::No {
            return;
        }
        let lengths = [self.rx.slot_len() as u32; SLOTS_MAX];
        self.port.tallies.submits.add(1);
        let (_, error) = self.rx.submit(lengths.get(..free).unwrap_or(&[]));
        if let Some(error) = error {
            Self::failed(&self.port, PIPE_IN, error, &mut self.failures, self.rx.busy() == 0);
        }
    }
}
