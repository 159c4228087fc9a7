//! Frames in `REMOTE_NDIS_PACKET_MSG`s, several to a transfer (MS-RNDIS 2.2.14).

use super::message::{Limits, PACKET, word};
use crate::nic::usb::framing::Next;

/// Bytes of the message's head; its offsets count from the field behind the length.
pub const HEAD: usize = 44;
const OFFSETS_FROM: usize = 8;
/// Largest alignment that is kept: 2^7 (MS-RNDIS 2.2.3: the factor is 0 to 7).
const ALIGNMENT_MAX: u32 = 7;

/// The way in and the way out.
#[derive(Debug)]
pub struct RndisFraming {
    packets_max: usize,
    transfer_max: usize,
    alignment: usize,
    at: usize,
    /// End of the last message that was put in, and how many there are.
    end: usize,
    last: usize,
    count: usize,
}

impl RndisFraming {
    /// Within what the device takes.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            packets_max: limits.packets.max(1) as usize,
            transfer_max: limits.transfer as usize,
            alignment: 1 << limits.alignment.min(ALIGNMENT_MAX),
            at: 0,
            end: 0,
            last: 0,
            count: 0,
        }
    }

    pub fn reset(&mut self) {
        self.at = 0;
        self.abandon();
    }

    pub fn abandon(&mut self) {
        (self.end, self.last, self.count) = (0, 0, 0);
    }

    pub fn open(&mut self) -> bool {
        self.at = 0;
        true
    }

    pub fn next(&mut self, transfer: &[u8]) -> Next {
        loop {
            let Some(rest) = transfer.get(self.at..) else { return Next::Bad };
            // A sender may add one byte so that the transfer ends with a short packet (MS-RNDIS 2.1.2.1).
            if rest.len() <= 1 {
                return Next::End;
            }
            match Self::message(rest) {
                None => {
                    self.at = transfer.len();
                    return Next::Bad;
                }
                Some((len, frame)) => {
                    let start = self.at;
                    self.at = start.saturating_add(len);
                    if let Some((offset, len)) = frame {
                        return Next::Frame(start.saturating_add(offset), len);
                    }
                }
            }
        }
    }

    /// The message's length, and where its frame is if it is a packet's.
    fn message(bytes: &[u8]) -> Option<(usize, Option<(usize, usize)>)> {
        let len = word(bytes, 4)? as usize;
        if len < OFFSETS_FROM || len > bytes.len() {
            return None;
        }
        if word(bytes, 0)? != PACKET {
            return Some((len, None));
        }
        if len < HEAD {
            return None;
        }
        let offset = (word(bytes, 8)? as usize).checked_add(OFFSETS_FROM)?;
        let size = word(bytes, 12)? as usize;
        if offset < HEAD || offset.checked_add(size)? > len {
            return None;
        }
        Some((len, (size > 0).then_some((offset, size))))
    }

    pub fn add(&mut self, transfer: &mut [u8], frame: &[u8]) -> bool {
        let start = self.end.checked_next_multiple_of(self.alignment).unwrap_or(usize::MAX);
        let len = HEAD.saturating_add(frame.len());
        let end = start.saturating_add(len);
        if self.count >= self.packets_max || end > self.transfer_max.min(transfer.len()) {
            return false;
        }
        // The message before reaches up to this one (MS-RNDIS 2.2.14: MessageLength includes the padding).
        if self.count > 0 {
            let before = u32::try_from(start.saturating_sub(self.last)).unwrap_or(0);
            if let Some(field) = transfer.get_mut(self.last.saturating_add(4)..).and_then(<[u8]>::first_chunk_mut::<4>)
            {
                *field = before.to_le_bytes();
            }
        }
        if let Some(gap) = transfer.get_mut(self.end..start) {
            gap.fill(0);
        }
        let Some(message) = transfer.get_mut(start..end) else { return false };
        let Some((head, data)) = message.split_at_mut_checked(HEAD) else { return false };
        head.fill(0);
        let (Ok(whole), Ok(size)) = (u32::try_from(len), u32::try_from(frame.len())) else { return false };
        let fields = [PACKET, whole, (HEAD - OFFSETS_FROM) as u32, size];
        for (field, value) in head.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
            *field = value.to_le_bytes();
        }
        data.copy_from_slice(frame);
        (self.last, self.end) = (start, end);
        self.count = self.count.saturating_add(1);
        true
    }

    pub fn close(&mut self, transfer: &mut [u8], packet: usize) -> usize {
        let mut len = self.end;
        if len.checked_rem(packet) == Some(0)
            && let Some(extra) = transfer.get_mut(len)
        {
            *extra = 0;
            len = len.saturating_add(1);
        }
        self.abandon();
        len
    }
}
