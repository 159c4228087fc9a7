//! Blocks to send: header, datagrams at the places that the device asked for, then one datagram pointer table.

use super::{CRC_LEN, ETHERNET_HEADER, NDP16, NDP16_CRC, NDP32, NDP32_CRC, NTH16, NTH32, Parameters, crc32};

/// Most datagrams in one block.
pub const DATAGRAMS_MAX: usize = 64;
/// Longest block with 16-bit offsets.
const NTB16_MAX: usize = 65535;

/// What the device asked for, and the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// 32-bit offsets.
    pub wide: bool,
    /// Datagrams carry their CRC.
    pub crc: bool,
    /// Longest block, bytes.
    pub max: usize,
    /// Most datagrams.
    pub datagrams: usize,
    /// A datagram's payload lies at `remainder` modulo this.
    pub divisor: usize,
    /// See `divisor`.
    pub remainder: usize,
    /// The table lies at a multiple of this, a power of two.
    pub alignment: usize,
}

impl Layout {
    /// For blocks of at most `room` bytes.
    #[must_use]
    pub fn new(parameters: &Parameters, wide: bool, crc: bool, room: usize) -> Self {
        let limit = match parameters.out_datagrams {
            0 => DATAGRAMS_MAX,
            // The device may count the null entry (section 3.3 leaves it open); at least one must go.
            n => n.min(DATAGRAMS_MAX),
        };
        let max = room.min(parameters.out_max as usize);
        Self {
            wide,
            crc,
            max: if wide { max } else { max.min(NTB16_MAX) },
            datagrams: limit,
            divisor: parameters.divisor,
            remainder: parameters.remainder,
            alignment: parameters.alignment,
        }
    }

    fn header(&self) -> usize {
        if self.wide { 16 } else { 12 }
    }

    /// Bytes of a table for `datagrams`, null entry included.
    fn table(&self, datagrams: usize) -> usize {
        let entries = datagrams.saturating_add(1);
        if self.wide {
            entries.saturating_mul(8).saturating_add(16)
        } else {
            entries.saturating_mul(4).saturating_add(8)
        }
    }

    /// The first place for a datagram from `at` on.
    fn place(&self, at: usize) -> usize {
        // Table 6-3: divisor and remainder place the payload, behind the Ethernet header.
        let payload = at.saturating_add(ETHERNET_HEADER);
        let behind = payload.checked_rem(self.divisor).unwrap_or(0);
        let wait =
            (self.remainder.saturating_add(self.divisor).saturating_sub(behind)).checked_rem(self.divisor).unwrap_or(0);
        at.saturating_add(wait)
    }

    fn align_table(&self, at: usize) -> usize {
        at.checked_next_multiple_of(self.alignment.max(4)).unwrap_or(usize::MAX)
    }
}

/// Fills one block at a time.
#[derive(Debug)]
pub struct Encoder {
    layout: Layout,
    entries: heapless::Vec<(u32, u32), DATAGRAMS_MAX>,
    /// End of the last datagram.
    end: usize,
    sequence: u16,
}

impl Encoder {
    /// With nothing in it.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout, entries: heapless::Vec::new(), end: layout.header(), sequence: 0 }
    }

    /// Sequence numbers begin anew (NCM 1.0 section 3.2.1: at every selection of the data setting).
    pub fn reset(&mut self) {
        self.abandon();
        self.sequence = 0;
    }

    /// Forgets what is in the block.
    pub fn abandon(&mut self) {
        self.entries.clear();
        self.end = self.layout.header();
    }

    /// Puts a frame into the block; false, and no change, if it does not fit.
    pub fn add(&mut self, block: &mut [u8], frame: &[u8]) -> bool {
        let layout = self.layout;
        let at = layout.place(self.end);
        let crc = if layout.crc { CRC_LEN } else { 0 };
        let len = frame.len().saturating_add(crc);
        let end = at.saturating_add(len);
        let datagrams = self.entries.len().saturating_add(1);
        let whole = layout.align_table(end).saturating_add(layout.table(datagrams));
        if frame.is_empty() || datagrams > layout.datagrams || whole > layout.max.min(block.len()) {
            return false;
        }
        let (Ok(index), Ok(length)) = (u32::try_from(at), u32::try_from(len)) else { return false };
        let Some(gap) = block.get_mut(self.end..at) else { return false };
        // What was in the buffer before is nobody's business but ours.
        gap.fill(0);
        let Some(room) = block.get_mut(at..end) else { return false };
        let Some((data, tail)) = room.split_at_mut_checked(frame.len()) else { return false };
        data.copy_from_slice(frame);
        if layout.crc {
            tail.copy_from_slice(&crc32(frame));
        }
        if self.entries.push((index, length)).is_err() {
            return false;
        }
        self.end = end;
        true
    }

    /// Writes header and table; the block's bytes. 0 without a datagram.
    pub fn close(&mut self, block: &mut [u8], packet: usize) -> usize {
        let layout = self.layout;
        let at = layout.align_table(self.end);
        let mut len = at.saturating_add(layout.table(self.entries.len()));
        // Section 3.2.2: a block shorter than the maximum ends with a short packet; one more byte makes it one.
        if len < layout.max && len.checked_rem(packet) == Some(0) {
            len = len.saturating_add(1);
        }
        let written = if self.entries.is_empty() { None } else { self.write(block, at, len) };
        self.abandon();
        if written.is_none() {
            return 0;
        }
        self.sequence = self.sequence.wrapping_add(1);
        len
    }

    fn write(&self, block: &mut [u8], at: usize, len: usize) -> Option<()> {
        let layout = self.layout;
        block.get_mut(self.end..len)?.fill(0);
        let word = |value: u32, out: &mut [u8]| -> Option<()> {
            if layout.wide {
                *out.first_chunk_mut::<4>()? = value.to_le_bytes();
            } else {
                *out.first_chunk_mut::<2>()? = u16::try_from(value).ok()?.to_le_bytes();
            }
            Some(())
        };
        let width = if layout.wide { 4 } else { 2 };
        let header = block.get_mut(..layout.header())?;
        *header.first_chunk_mut::<4>()? = if layout.wide { NTH32 } else { NTH16 };
        *header.get_mut(4..)?.first_chunk_mut::<2>()? = u16::try_from(layout.header()).ok()?.to_le_bytes();
        *header.get_mut(6..)?.first_chunk_mut::<2>()? = self.sequence.to_le_bytes();
        word(u32::try_from(len).ok()?, header.get_mut(8..)?)?;
        word(u32::try_from(at).ok()?, header.get_mut(8 + width..)?)?;

        let table = block.get_mut(at..len)?;
        *table.first_chunk_mut::<4>()? = match (layout.wide, layout.crc) {
            (false, false) => NDP16,
            (false, true) => NDP16_CRC,
            (true, false) => NDP32,
            (true, true) => NDP32_CRC,
        };
        let table_len = u16::try_from(layout.table(self.entries.len())).ok()?;
        *table.get_mut(4..)?.first_chunk_mut::<2>()? = table_len.to_le_bytes();
        let first = if layout.wide { 16 } else { 8 };
        for ((index, length), entry) in self.entries.iter().zip(table.get_mut(first..)?.chunks_exact_mut(2 * width)) {
            word(*index, entry)?;
            word(*length, entry.get_mut(width..)?)?;
        }
        Some(())
    }
}
