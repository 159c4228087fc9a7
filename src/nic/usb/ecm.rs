//! ECM framing: each transfer is one frame, ended by a short packet (ECM 1.2 section 3.3.1).

use super::framing::Next;

/// One frame per transfer.
#[derive(Debug, Default)]
pub struct Ecm {
    taken: bool,
    filled: usize,
}

impl Ecm {
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    pub fn open(&mut self, transfer: &[u8]) -> bool {
        self.taken = false;
        !transfer.is_empty()
    }

    pub fn next(&mut self, transfer: &[u8]) -> Next {
        if core::mem::replace(&mut self.taken, true) { Next::End } else { Next::Frame(0, transfer.len()) }
    }

    pub fn add(&mut self, transfer: &mut [u8], frame: &[u8]) -> bool {
        if self.filled != 0 {
            return false;
        }
        let Some(room) = transfer.get_mut(..frame.len()) else { return false };
        room.copy_from_slice(frame);
        self.filled = frame.len();
        true
    }

    pub fn close(&mut self) -> usize {
        core::mem::take(&mut self.filled)
    }
}
