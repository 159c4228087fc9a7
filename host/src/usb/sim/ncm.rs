//! The NCM device's side: class requests and blocks. Blocks to the host have their tables in front of the datagrams and
//! chain several; blocks from the host are held to every rule of the specification.

use std::collections::VecDeque;

use super::Setup;
use super::descriptors::MULTICAST_FILTERS;

const IN_MAX: u32 = 32768;
const OUT_MAX: u32 = 16384;
const DIVISOR: usize = 4;
const REMAINDER: usize = 2;
const ALIGNMENT: usize = 8;
const OUT_DATAGRAMS: u16 = 40;
/// Datagrams per table of a block to the host.
const TABLE: usize = 8;

/// State of the function.
pub struct Ncm {
    has_ntb32: bool,
    wide: bool,
    crc: bool,
    input: u32,
    sequence: u16,
    expected: u16,
    /// A block from the host did not arrive.
    pub lost: bool,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
}

/// IEEE 802.3's CRC by the definition: long division, lowest bit first.
fn crc(frame: &[u8]) -> u32 {
    let mut value = !0u32;
    for bit in frame.iter().flat_map(|byte| (0..8).map(move |n| byte >> n & 1)) {
        let feedback = value & 1 != u32::from(bit);
        value >>= 1;
        if feedback {
            value ^= 0xedb8_8320;
        }
    }
    !value
}

impl Ncm {
    pub fn new(has_ntb32: bool) -> Self {
        Self { has_ntb32, wide: false, crc: false, input: IN_MAX, sequence: 0, expected: 0, lost: false }
    }

    /// The data interface's setting was selected.
    pub fn restart(&mut self) {
        (self.sequence, self.expected) = (0, 0);
    }

    /// Frames of a block from the host, or the rule that it breaks.
    pub fn open(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let fault = |what: &str| Err(format!("NTB from the host: {what}"));
        let (signature, header, table_header, word) =
            if self.wide { (b"ncmh", 16, 16, 4) } else { (b"NCMH", 12, 8, 2) };
        let at = |at: usize| if word == 4 { u32_at(bytes, at) } else { u16_at(bytes, at) };
        if bytes.get(..4) != Some(&signature[..]) || u16_at(bytes, 4) != Some(header) {
            return fault("the header's signature or length");
        }
        if bytes.len() > OUT_MAX as usize {
            return fault("longer than dwNtbOutMaxSize");
        }
        if bytes.len() < OUT_MAX as usize && bytes.len().is_multiple_of(512) {
            return fault("does not end with a short packet");
        }
        let sequence = u16_at(bytes, 6).unwrap_or(0) as u16;
        let expected = std::mem::replace(&mut self.expected, sequence.wrapping_add(1));
        // A block that was lost on the way leaves a gap, and only that does.
        if !std::mem::take(&mut self.lost) && sequence != expected {
            return fault("the sequence number");
        }
        if at(8) != Some(bytes.len()) {
            return fault("wBlockLength is not the transfer's");
        }
        let mut frames = Vec::new();
        let mut table = at(8 + word).unwrap_or(0);
        if table == 0 {
            return fault("no datagram pointer table");
        }
        while table != 0 {
            if !table.is_multiple_of(ALIGNMENT) || table < header {
                return fault("a table is not aligned as asked for");
            }
            let with_crc = match (bytes.get(table..table + 4), self.wide) {
                (Some(b"NCM0"), false) | (Some(b"ncm0"), true) => false,
                (Some(b"NCM1"), false) | (Some(b"ncm1"), true) => true,
                _ => return fault("a table's signature"),
            };
            if with_crc != self.crc {
                return fault("the CRC mode");
            }
            let len = u16_at(bytes, table + 4).unwrap_or(0);
            if !len.is_multiple_of(4) || table + len > bytes.len() || len < table_header + 4 * word {
                return fault("a table's length");
            }
            let next = if self.wide { u32_at(bytes, table + 8) } else { u16_at(bytes, table + 6) };
            let mut entry = table + table_header;
            let mut null = false;
            while entry + 2 * word <= table + len {
                let (Some(index), Some(size)) = (at(entry), at(entry + word)) else { return fault("an entry") };
                entry += 2 * word;
                if index == 0 && size == 0 {
                    null = true;
                    break;
                }
                let Some(mut datagram) = bytes.get(index..index + size) else {
                    return fault("a datagram leaves the block");
                };
                if (index + 14) % DIVISOR != REMAINDER {
                    return fault("a datagram is not placed as asked for");
                }
                if with_crc {
                    let Some((frame, told)) = datagram.split_last_chunk::<4>() else { return fault("no CRC") };
                    if crc(frame).to_le_bytes() != *told {
                        return fault("a wrong CRC");
                    }
                    datagram = frame;
                }
                if datagram.len() < 14 {
                    return fault("a datagram is shorter than an Ethernet header");
                }
                frames.push(datagram.to_vec());
            }
            if !null || entry != table + len {
                return fault("the null entry is not the last one");
            }
            table = next.unwrap_or(0);
        }
        if frames.len() > OUT_DATAGRAMS.into() {
            return fault("more datagrams than wNtbOutMaxDatagrams");
        }
        Ok(frames)
    }

    /// A block of as many frames as fit.
    pub fn close(&mut self, frames: &mut VecDeque<Vec<u8>>, room: usize) -> Vec<u8> {
        let limit = room.min(self.input as usize);
        let (header, table_header, word) = if self.wide { (16, 16, 4) } else { (12, 8, 2) };
        let table_len = table_header + (TABLE + 1) * 2 * word;
        let mut block = vec![0; header];
        let put = |block: &mut Vec<u8>, at: usize, value: usize| {
            let bytes = (value as u32).to_le_bytes();
            block[at..at + word].copy_from_slice(&bytes[..word]);
        };
        let mut link = 8 + word;
        while !frames.is_empty() {
            let table = block.len().next_multiple_of(4);
            let first = frames.front().map_or(0, Vec::len);
            if table + table_len + first + 8 > limit {
                break;
            }
            block.resize(table + table_len, 0);
            put(&mut block, link, table);
            let name: &[u8; 4] = match (self.wide, self.crc) {
                (false, false) => b"NCM0",
                (false, true) => b"NCM1",
                (true, false) => b"ncm0",
                (true, true) => b"ncm1",
            };
            block[table..table + 4].copy_from_slice(name);
            block[table + 4..table + 6].copy_from_slice(&(table_len as u16).to_le_bytes());
            link = if self.wide { table + 8 } else { table + 6 };
            for entry in 0..TABLE {
                let Some(frame) = frames.front() else { break };
                let at = block.len().next_multiple_of(4) + 2;
                let size = frame.len() + if self.crc { 4 } else { 0 };
                if at + size > limit {
                    break;
                }
                block.resize(at, 0);
                block.extend(frame);
                if self.crc {
                    block.extend(crc(frame).to_le_bytes());
                }
                let slot = table + table_header + entry * 2 * word;
                put(&mut block, slot, at);
                put(&mut block, slot + word, size);
                frames.pop_front();
            }
        }
        let len = block.len();
        block[..4].copy_from_slice(if self.wide { b"ncmh" } else { b"NCMH" });
        block[4..6].copy_from_slice(&(header as u16).to_le_bytes());
        block[6..8].copy_from_slice(&self.sequence.to_le_bytes());
        put(&mut block, 8, len);
        self.sequence = self.sequence.wrapping_add(1);
        block
    }
}

/// Class requests of ECM and NCM.
pub fn control(
    ncm: Option<&mut Ncm>,
    flowing: bool,
    setup: Setup,
    data: &mut [u8],
    filter: &mut u32,
    multicast: &mut Vec<[u8; 6]>,
) -> Result<usize, String> {
    let early = |what: &str| if flowing { Err(format!("{what} while data flows")) } else { Ok(0) };
    match (setup.request, ncm) {
        (0x43, _) => {
            *filter = setup.value.into();
            Ok(0)
        }
        (0x40, _) => {
            if setup.value > MULTICAST_FILTERS || data.len() != 6 * usize::from(setup.value) {
                return Err("SET_ETHERNET_MULTICAST_FILTERS with a wrong number".into());
            }
            *multicast = data.as_chunks::<6>().0.to_vec();
            Ok(data.len())
        }
        (0x80, Some(ncm)) => {
            let mut answer = vec![28, 0, if ncm.has_ntb32 { 3 } else { 1 }, 0];
            answer.extend(IN_MAX.to_le_bytes());
            answer.extend([4, 0, 0, 0, 4, 0, 0, 0]);
            answer.extend(OUT_MAX.to_le_bytes());
            for word in [DIVISOR as u16, REMAINDER as u16, ALIGNMENT as u16, OUT_DATAGRAMS] {
                answer.extend(word.to_le_bytes());
            }
            let len = answer.len().min(data.len());
            data[..len].copy_from_slice(&answer[..len]);
            Ok(len)
        }
        (0x84, Some(ncm)) => {
            ncm.wide = setup.value == 1;
            if setup.value > u16::from(ncm.has_ntb32) {
                return Err("SET_NTB_FORMAT to one that there is not".into());
            }
            early("SET_NTB_FORMAT")
        }
        (0x86, Some(ncm)) => {
            let size = u32_at(data, 0).unwrap_or(0) as u32;
            if !(2048..=IN_MAX).contains(&size) || data.len() != 8 {
                return Err("SET_NTB_INPUT_SIZE outside its range".into());
            }
            ncm.input = size;
            early("SET_NTB_INPUT_SIZE").map(|_| 8)
        }
        (0x88, Some(_)) => early("SET_MAX_DATAGRAM_SIZE").map(|_| data.len()),
        (0x8a, Some(ncm)) => {
            ncm.crc = setup.value == 1;
            early("SET_CRC_MODE")
        }
        (0x82, Some(_)) => Ok(data.len()),
        (request, _) => Err(format!("class request {request:#04x} is not known")),
    }
}
