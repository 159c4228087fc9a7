//! What a model does with the transfers that wait.

use super::{Done, Model, State, next_random, rndis};
use crate::far;
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::usb::PIPE_STALLED;

/// Puts bytes into a transfer's memory.
pub(super) fn fill(memory: &Mem, room: u32, bytes: &[u8]) -> IoResult<u32> {
    let len = u32::try_from(bytes.len()).map_err(|_| IoReturn::OVERRUN)?;
    // USB 2.0 section 5.8.3: more than was asked for is a babble.
    if len > room {
        return Err(IoReturn::OVERRUN);
    }
    memory.write(0, bytes)?;
    Ok(len)
}

impl State {
    pub(super) fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    fn chance(&mut self, one_in: u64) -> bool {
        next_random(&mut self.random).is_multiple_of(one_in)
    }

    pub(super) fn has_work(&self, model: Model) -> bool {
        let sends = !self.out.is_empty() && !self.halted_out && !self.hang_out;
        let has = !self.to_host.is_empty() || self.empty_in || self.dead_in || self.stall_in || self.hostile;
        let receives = has && !self.into.is_empty() && !self.halted_in && self.lets_flow(model);
        sends || receives || (!self.notices.is_empty() && !self.notify.is_empty())
    }

    fn lets_flow(&self, model: Model) -> bool {
        if model == Model::Rndis { self.filter != 0 } else { self.flowing }
    }

    pub(super) fn serve_out(&mut self, model: Model) -> Option<(Done, IoResult<u32>)> {
        if self.halted_out || self.hang_out {
            return None;
        }
        let transfer = self.out.pop_front()?;
        if self.dead_out {
            self.ncm.lost = true;
            return Some((transfer.done, Err(IoReturn::NOT_RESPONDING)));
        }
        if std::mem::take(&mut self.stall_out) {
            self.halted_out = true;
            self.ncm.lost = true;
            return Some((transfer.done, Err(PIPE_STALLED)));
        }
        let mut bytes = vec![0; transfer.length as usize];
        if let Err(error) = transfer.memory.read(0, &mut bytes) {
            return Some((transfer.done, Err(error)));
        }
        if std::mem::take(&mut self.short_out) {
            // What it took of a block or a frame is of no use to it.
            self.ncm.lost = true;
            return Some((transfer.done, Ok(transfer.length / 2)));
        }
        if !bytes.is_empty() {
            self.seen.transfers_out += 1;
            let frames = match model {
                Model::Ncm | Model::Ncm32 => self.ncm.open(&bytes),
                Model::Ecm => Ok(vec![bytes.clone()]),
                Model::Rndis => rndis::open(&bytes),
            };
            match frames {
                Ok(frames) => {
                    self.seen.frames_out += frames.len() as u64;
                    for frame in frames {
                        if self.respond {
                            self.to_host.extend(far::answer(&frame));
                        }
                        self.from_host.push(frame);
                    }
                }
                Err(what) => self.fault(what),
            }
        }
        Some((transfer.done, Ok(transfer.length)))
    }

    pub(super) fn serve_in(&mut self, model: Model) -> Option<(Done, IoResult<u32>)> {
        if self.halted_in || !self.lets_flow(model) {
            return None;
        }
        self.seen.depth_in = self.seen.depth_in.max(self.into.len());
        if std::mem::take(&mut self.stall_in) {
            self.halted_in = true;
            return self.into.pop_front().map(|transfer| (transfer.done, Err(PIPE_STALLED)));
        }
        if self.dead_in {
            return self.into.pop_front().map(|transfer| (transfer.done, Err(IoReturn::NOT_RESPONDING)));
        }
        if self.empty_in {
            return self.into.pop_front().map(|transfer| (transfer.done, Ok(0)));
        }
        if self.to_host.is_empty() && !self.hostile {
            return None;
        }
        let transfer = self.into.pop_front()?;
        let before = self.to_host.len();
        let mut bytes = match model {
            Model::Ncm | Model::Ncm32 => self.ncm.close(&mut self.to_host, transfer.length as usize),
            Model::Ecm => self.to_host.pop_front().unwrap_or_default(),
            Model::Rndis => rndis::close(&mut self.to_host, transfer.length as usize),
        };
        self.seen.transfers_in += 1;
        self.seen.frames_in += (before - self.to_host.len()) as u64;
        if self.hostile {
            self.damage(&mut bytes, transfer.length as usize);
            if self.chance(40) {
                return Some((transfer.done, Err(IoReturn::NOT_RESPONDING)));
            }
            if self.chance(60) {
                self.halted_in = true;
                return Some((transfer.done, Err(PIPE_STALLED)));
            }
        }
        if std::mem::take(&mut self.babble_in) {
            return Some((transfer.done, Err(IoReturn::OVERRUN)));
        }
        if std::mem::take(&mut self.short_in) {
            bytes.truncate(bytes.len() / 2);
        }
        let result = fill(&transfer.memory, transfer.length, &bytes);
        Some((transfer.done, result))
    }

    /// A hostile device's answer to a request, `len` bytes of `data`: now and then it is damaged, cut short or refused.
    pub(super) fn lie(&mut self, len: usize, data: &mut [u8]) -> IoResult<usize> {
        if !self.chance(8) {
            return Ok(len);
        }
        if self.chance(4) {
            return Err([PIPE_STALLED, IoReturn::TIMEOUT][usize::from(self.chance(2))]);
        }
        let mut answer = data.get(..len).unwrap_or_default().to_vec();
        self.damage(&mut answer, data.len());
        let len = answer.len().min(data.len());
        for (to, from) in data.iter_mut().zip(&answer) {
            *to = *from;
        }
        Ok(len)
    }

    /// Changes what is sent: bytes anywhere, most of all in the first words, where headers are; its length; all of it.
    fn damage(&mut self, bytes: &mut Vec<u8>, room: usize) {
        match next_random(&mut self.random) % 8 {
            0..=2 => {}
            3 => {
                let len = (next_random(&mut self.random) as usize) % (room + 1);
                bytes.resize(len, 0xa5);
            }
            4 => {
                let len = (next_random(&mut self.random) as usize) % 200;
                *bytes = (0..len).map(|_| next_random(&mut self.random) as u8).collect();
            }
            _ => {
                for _ in 0..=(next_random(&mut self.random) % 4) {
                    let reach = if self.chance(2) { 64 } else { bytes.len() };
                    let at = (next_random(&mut self.random) as usize).checked_rem(reach.min(bytes.len())).unwrap_or(0);
                    let value = match next_random(&mut self.random) % 3 {
                        0 => 0xff,
                        1 => 0,
                        _ => next_random(&mut self.random) as u8,
                    };
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = value;
                    }
                }
            }
        }
        if self.chance(30) {
            let len = (next_random(&mut self.random) as usize) % 24;
            let notice = (0..len).map(|_| next_random(&mut self.random) as u8).collect();
            self.notices.push_back(notice);
        }
    }
}
