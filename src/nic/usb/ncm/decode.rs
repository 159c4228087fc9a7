//! Received blocks. Nothing in them is trusted: every offset and length is checked against the block, chains and
//! tables are bounded, and a datagram table ends at its own length whether or not a null entry says so.

use super::{CRC_LEN, NDP16, NDP16_CRC, NDP32, NDP32_CRC, NTH16, NTH32, crc32};
use crate::nic::usb::framing::Next;

/// Datagram pointer tables that one block may chain: an endless chain ends here.
const TABLES_MAX: usize = 64;

/// The sizes that differ between the formats (NCM 1.0 tables 3-1 to 3-4).
#[derive(Clone, Copy, Debug)]
struct Format {
    wide: bool,
    header: usize,
    table_header: usize,
    /// Bytes of an index or length.
    word: usize,
}

const FORMAT16: Format = Format { wide: false, header: 12, table_header: 8, word: 2 };
const FORMAT32: Format = Format { wide: true, header: 16, table_header: 16, word: 4 };

fn field(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let mut value = 0u32;
    for byte in bytes.get(at..at.checked_add(width)?)?.iter().rev() {
        value = value << 8 | u32::from(*byte);
    }
    usize::try_from(value).ok()
}

/// Walks the datagrams of one block at a time.
#[derive(Debug)]
pub struct Decoder {
    /// Longest block that was agreed on (`SET_NTB_INPUT_SIZE`).
    max: usize,
    format: Format,
    /// Bytes of the block that is open.
    block: usize,
    /// Where the current table is, how long, and the next entry in it; 0 = none.
    table: usize,
    table_len: usize,
    entry: usize,
    with_crc: bool,
    next_table: usize,
    tables: usize,
    /// Bytes of datagrams seen in this block: together they cannot be more than the block.
    seen: usize,
    /// `wSequence` that comes next; `None` before the first block.
    sequence: Option<u16>,
    /// Blocks whose sequence number was not the next one.
    pub gaps: u64,
}

impl Decoder {
    /// For blocks of up to `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max,
            format: FORMAT16,
            block: 0,
            table: 0,
            table_len: 0,
            entry: 0,
            with_crc: false,
            next_table: 0,
            tables: 0,
            seen: 0,
            sequence: None,
            gaps: 0,
        }
    }

    /// Sequence numbers begin anew.
    pub fn reset(&mut self) {
        *self = Self { gaps: self.gaps, ..Self::new(self.max) };
    }

    /// Begins with a block; false if its header is not one.
    pub fn open(&mut self, transfer: &[u8]) -> bool {
        self.block = 0;
        self.entry = 0;
        self.table = 0;
        self.tables = 0;
        self.seen = 0;
        self.next_table = 0;
        self.read_header(transfer).is_some()
    }

    fn read_header(&mut self, transfer: &[u8]) -> Option<()> {
        let format = match *transfer.first_chunk::<4>()? {
            NTH16 => FORMAT16,
            NTH32 => FORMAT32,
            _ => return None,
        };
        if field(transfer, 4, 2)? != format.header {
            return None;
        }
        let sequence = u16::try_from(field(transfer, 6, 2)?).ok()?;
        let said = field(transfer, 8, format.word)?;
        // Section 3.2.1: 0 means "up to the end of the transfer".
        let block = if said == 0 { transfer.len() } else { said };
        if block > transfer.len() || block > self.max || block < format.header {
            return None;
        }
        self.next_table = field(transfer, 8 + format.word, format.word)?;
        self.format = format;
        self.block = block;
        if self.sequence.is_some_and(|expected| expected != sequence) {
            self.gaps = self.gaps.saturating_add(1);
        }
        self.sequence = Some(sequence.wrapping_add(1));
        Some(())
    }

    /// Goes to the table at `next_table`. `None`: it is none.
    fn open_table(&mut self, block: &[u8]) -> Option<()> {
        let format = self.format;
        let at = core::mem::take(&mut self.next_table);
        self.tables += 1;
        if self.tables > TABLES_MAX || at < format.header {
            return None;
        }
        let rest = block.get(at..)?;
        let signature = rest.first_chunk::<4>()?;
        let len = field(rest, 4, 2)?;
        // A table has at least one entry and its null entry (tables 3-3 and 3-4), and lies inside the block.
        if len < format.table_header + 4 * format.word || len > rest.len() {
            return None;
        }
        self.next_table = if format.wide { field(rest, 8, 4)? } else { field(rest, 6, 2)? };
        let datagrams = match (*signature, format.wide) {
            (NDP16, false) | (NDP32, true) => Some(false),
            (NDP16_CRC, false) | (NDP32_CRC, true) => Some(true),
            // Another kind of table (section 3.3: to be skipped).
            _ => None,
        };
        self.table = at;
        self.with_crc = datagrams.unwrap_or(false);
        self.table_len = if datagrams.is_some() { len } else { 0 };
        self.entry = format.table_header;
        Some(())
    }

    /// The next datagram.
    pub fn next(&mut self, transfer: &[u8]) -> Next {
        let Some(block) = transfer.get(..self.block) else { return Next::Bad };
        loop {
            if self.table == 0 {
                if self.next_table == 0 {
                    return Next::End;
                }
                if self.open_table(block).is_none() {
                    self.next_table = 0;
                    return Next::Bad;
                }
            }
            let step = 2 * self.format.word;
            let end = self.entry.saturating_add(step);
            if end > self.table_len {
                self.table = 0;
                continue;
            }
            let at = self.table.saturating_add(self.entry);
            let (Some(index), Some(len)) =
                (field(block, at, self.format.word), field(block, at + self.format.word, self.format.word))
            else {
                return self.give_up();
            };
            self.entry = end;
            if index == 0 || len == 0 {
                // Section 3.3: either being 0 ends the table.
                self.table = 0;
                continue;
            }
            return self.datagram(block, index, len);
        }
    }

    fn give_up(&mut self) -> Next {
        self.table = 0;
        self.next_table = 0;
        Next::Bad
    }

    fn datagram(&mut self, block: &[u8], index: usize, len: usize) -> Next {
        self.seen = self.seen.saturating_add(len);
        let datagram = index.checked_add(len).and_then(|end| block.get(index..end));
        let (Some(datagram), true, true) = (datagram, index >= self.format.header, self.seen <= self.block) else {
            return self.give_up();
        };
        if !self.with_crc {
            return Next::Frame(index, len);
        }
        match datagram.split_last_chunk::<CRC_LEN>() {
            Some((frame, crc)) if !frame.is_empty() && crc32(frame) == *crc => Next::Frame(index, frame.len()),
            _ => Next::BadFrame,
        }
    }
}
