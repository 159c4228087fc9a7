//! The classic pcap format.

use std::io::Read;

use pcap_parser::PcapHeader;
use pcap_parser::nom::Err as NomErr;

use super::buffer::Buffer;
use super::{Found, LinkType, What, frame_max, without_fcs};

const HEADER: usize = 24;
/// Record header: seconds, fraction, captured length, original length; the modified format adds 8 bytes.
const RECORD: usize = 16;
const RECORD_MODIFIED: usize = 24;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Swapped {
    No,
    Maybe,
    Yes,
}

pub(super) struct Header {
    big_endian: bool,
    modified: bool,
    nanoseconds: bool,
    /// Old writers put the original length before the captured one (libpcap, sf-pcap.c).
    swapped: Swapped,
    link: LinkType,
    fcs: usize,
}

impl Header {
    pub fn read<R: Read>(input: &mut Buffer<R>) -> Result<Self, What> {
        let bytes = input.peek(HEADER).map_err(What::Io)?;
        let magic: Vec<u8> = bytes.iter().take(4).copied().collect();
        let header: PcapHeader = match pcap_parser::parse_pcap_header(bytes) {
            Ok((_, header)) => header,
            Err(NomErr::Incomplete(_)) => return Err(What::Truncated),
            Err(_) => return Err(What::NotACapture(magic)),
        };
        if header.version_major != 2 && header.version_major != 543 {
            let (major, minor) = (header.version_major, header.version_minor);
            return Err(What::Malformed(format!("pcap version {major}.{minor}; this reads 2.x")));
        }
        input.consume(HEADER);
        let swapped = match (header.version_major, header.version_minor) {
            (543, _) | (2, 0..=2) => Swapped::Yes,
            (2, 3) => Swapped::Maybe,
            _ => Swapped::No,
        };
        // Bits 28 to 31: length of the FCS in 16-bit words, valid if bit 26 is set; below: the link type.
        let network = header.network.0 as u32;
        let fcs = if network & 0x0400_0000 != 0 { (network >> 28) as usize * 2 } else { 0 };
        Ok(Self {
            big_endian: header.is_bigendian(),
            modified: header.is_modified_format(),
            nanoseconds: header.is_nanosecond_precision(),
            swapped,
            link: LinkType((network & 0xffff) as u16).of_pcap_file(),
            fcs,
        })
    }

    pub fn next<R: Read>(&mut self, input: &mut Buffer<R>) -> Result<Option<Found>, What> {
        let header_len = if self.modified { RECORD_MODIFIED } else { RECORD };
        let head = input.peek(header_len).map_err(What::Io)?;
        if head.is_empty() {
            return Ok(None);
        }
        let big_endian = self.big_endian;
        let word = |bytes: &[u8], at: usize| {
            let word = bytes.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).ok_or(What::Truncated)?;
            Ok(if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
        };
        let (first, second) = (word(head, 8)? as usize, word(head, 12)? as usize);
        let swap = match self.swapped {
            Swapped::No => false,
            Swapped::Maybe => first > second,
            Swapped::Yes => true,
        };
        let (captured, original) = if swap { (second, first) } else { (first, second) };
        let most = frame_max(self.link);
        if captured > most {
            return Err(What::Malformed(format!("a frame of {captured} bytes; at most {most} are believed")));
        }
        let record = input.peek(header_len + captured).map_err(What::Io)?;
        if record.len() < header_len + captured {
            return Err(What::Truncated);
        }
        let seconds = u64::from(word(record, 0)?);
        let fraction = u64::from(word(record, 4)?) * if self.nanoseconds { 1 } else { 1000 };
        let (len, original_len) = without_fcs(captured, original, self.fcs);
        input.consume(header_len + captured);
        Ok(Some(Found {
            time_ns: seconds.saturating_mul(1_000_000_000).saturating_add(fraction),
            link: self.link,
            interface: 0,
            original_len,
            direction: None,
            bytes: header_len..header_len + len,
        }))
    }
}
