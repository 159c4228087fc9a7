//! The pcapng format.

use std::io::Read;

use pcap_parser::nom::IResult;
use pcap_parser::pcapng::{
    EPB_MAGIC, EnhancedPacketBlock, IDB_MAGIC, InterfaceDescriptionBlock, SHB_MAGIC, SPB_MAGIC, SimplePacketBlock,
    parse_enhancedpacketblock_be, parse_enhancedpacketblock_le, parse_interfacedescriptionblock_be,
    parse_interfacedescriptionblock_le, parse_simplepacketblock_be, parse_simplepacketblock_le,
};
use pcap_parser::{PcapError, PcapNGOption};

use super::buffer::Buffer;
use super::{Direction, Found, LinkType, What, frame_max, without_fcs};

/// The obsolete Packet Block: like an enhanced packet block, with a 16-bit interface and a drop count.
const PB_MAGIC: u32 = 2;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Type, length and length again.
const BLOCK_MIN: usize = 12;
/// Room for options beside the longest frame.
const BLOCK_SLACK: usize = 1 << 20;

const OPT_EPB_FLAGS: u16 = 2;
const OPT_IF_TSRESOL: u16 = 9;
const OPT_IF_FCSLEN: u16 = 13;
const OPT_IF_TSOFFSET: u16 = 14;

type Parser<'a, T> = fn(&'a [u8]) -> IResult<&'a [u8], T, PcapError<&'a [u8]>>;

#[derive(Clone, Copy)]
struct Interface {
    link: LinkType,
    /// Bytes captured at most; 0 = no limit.
    snaplen: usize,
    /// Ticks per second.
    resolution: u128,
    offset_s: i64,
    fcs: usize,
}

/// The section being read.
#[derive(Default)]
pub(super) struct Section {
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// Interfaces of the sections before.
    base: usize,
}

/// A packet block's fields, whichever kind it was.
struct Packet {
    interface: usize,
    ticks: Option<u64>,
    captured: usize,
    original: usize,
    /// Where the data starts in the block.
    data: usize,
    flags: u32,
}

impl Section {
    pub fn next<R: Read>(&mut self, input: &mut Buffer<R>) -> Result<Option<Found>, What> {
        loop {
            let Some(found) = self.block(input)? else {
                return Ok(None);
            };
            if let Block::Packet(packet) = found {
                return Ok(Some(packet));
            }
        }
    }

    fn block<R: Read>(&mut self, input: &mut Buffer<R>) -> Result<Option<Block>, What> {
        let head = input.peek(BLOCK_MIN).map_err(What::Io)?;
        if head.is_empty() {
            return Ok(None);
        }
        if le(head, 0) == Some(SHB_MAGIC) {
            // A new section may have the other byte order.
            let order = le(head, 8).ok_or(What::Truncated)?;
            if order != BYTE_ORDER && order.swap_bytes() != BYTE_ORDER {
                return Err(What::Malformed(format!("byte-order magic {order:#010x} in a section header")));
            }
            self.big_endian = order != BYTE_ORDER;
            self.base += self.interfaces.len();
            self.interfaces.clear();
        }
        let (kind, len) = match (self.u32(head, 0), self.u32(head, 4)) {
            (Some(kind), Some(len)) => (kind, len as usize),
            _ => return Err(What::Truncated),
        };
        let most = self.interfaces.iter().map(|i| frame_max(i.link)).max().unwrap_or(0).max(1 << 20) + BLOCK_SLACK;
        let packet = matches!(kind, EPB_MAGIC | SPB_MAGIC | PB_MAGIC | IDB_MAGIC | SHB_MAGIC);
        if len < BLOCK_MIN || (packet && len > most) || len > i32::MAX as usize {
            return Err(What::Malformed(format!("a block of type {kind:#x} with length {len}")));
        }
        // Some writers forget to round the length up; readers have always done it for them.
        let len = len.next_multiple_of(4);
        if !packet {
            self.skip(input, len)?;
            return Ok(Some(Block::Other));
        }
        let block = input.peek(len).map_err(What::Io)?;
        if block.len() < len {
            return Err(What::Truncated);
        }
        if self.u32(block, len - 4).map(|l| (l as usize).next_multiple_of(4)) != Some(len) {
            return Err(What::Malformed(format!("the two lengths of a block of type {kind:#x} differ")));
        }
        let found = match kind {
            IDB_MAGIC => {
                let interface = self.interface(block)?;
                self.interfaces.push(interface);
                Block::Other
            }
            SHB_MAGIC => match block.get(12..14).and_then(|b| <[u8; 2]>::try_from(b).ok()) {
                Some([0, 1] | [1, 0]) => Block::Other,
                other => {
                    return Err(What::Malformed(format!("pcapng version {other:02x?}; this reads 1.x")));
                }
            },
            _ => {
                let packet = match kind {
                    EPB_MAGIC => self.enhanced(block)?,
                    SPB_MAGIC => self.simple(block)?,
                    _ => self.obsolete(block)?,
                };
                Block::Packet(self.found(packet)?)
            }
        };
        input.consume(len);
        Ok(Some(found))
    }

    /// Passes over a block of any length without keeping it.
    fn skip<R: Read>(&self, input: &mut Buffer<R>, len: usize) -> Result<(), What> {
        let mut left = len;
        while left > 0 {
            let n = input.peek(left.min(1 << 16)).map_err(What::Io)?.len();
            if n == 0 {
                return Err(What::Truncated);
            }
            input.consume(n);
            left -= n;
        }
        Ok(())
    }

    fn interface(&self, block: &[u8]) -> Result<Interface, What> {
        let b: InterfaceDescriptionBlock<'_> =
            self.parse(block, parse_interfacedescriptionblock_le, parse_interfacedescriptionblock_be)?;
        let tsresol = option(&b.options, OPT_IF_TSRESOL).and_then(|v| v.first()).copied().unwrap_or(6);
        let exponent = u32::from(tsresol & 0x7f);
        let resolution = if tsresol & 0x80 != 0 { 2u128.checked_pow(exponent) } else { 10u128.checked_pow(exponent) };
        let offset = option(&b.options, OPT_IF_TSOFFSET).and_then(|v| <[u8; 8]>::try_from(v).ok());
        let offset = offset.map_or(0, |v| if self.big_endian { i64::from_be_bytes(v) } else { i64::from_le_bytes(v) });
        Ok(Interface {
            link: LinkType(b.linktype.0 as u16),
            snaplen: b.snaplen as usize,
            resolution: resolution.ok_or_else(|| What::Malformed(format!("time stamp resolution {tsresol:#04x}")))?,
            offset_s: offset,
            fcs: option(&b.options, OPT_IF_FCSLEN).and_then(|v| v.first()).copied().map_or(0, usize::from),
        })
    }

    fn enhanced(&self, block: &[u8]) -> Result<Packet, What> {
        let b: EnhancedPacketBlock<'_> =
            self.parse(block, parse_enhancedpacketblock_le, parse_enhancedpacketblock_be)?;
        Ok(Packet {
            interface: b.if_id as usize,
            ticks: Some(u64::from(b.ts_high) << 32 | u64::from(b.ts_low)),
            captured: b.caplen as usize,
            original: b.origlen as usize,
            data: 28,
            flags: option(&b.options, OPT_EPB_FLAGS).and_then(|v| self.u32(v, 0)).unwrap_or(0),
        })
    }

    fn simple(&self, block: &[u8]) -> Result<Packet, What> {
        let b: SimplePacketBlock<'_> = self.parse(block, parse_simplepacketblock_le, parse_simplepacketblock_be)?;
        let snaplen = self.interfaces.first().map_or(0, |i| i.snaplen);
        let original = b.origlen as usize;
        let captured = if snaplen == 0 { original } else { original.min(snaplen) };
        Ok(Packet { interface: 0, ticks: None, captured, original, data: 12, flags: 0 })
    }

    fn obsolete(&self, block: &[u8]) -> Result<Packet, What> {
        let word = |at| self.u32(block, at).ok_or(What::Truncated);
        // The interface is the first 16 bits of the word, whose place depends on the byte order.
        let first = word(8)?;
        let interface = if self.big_endian { first >> 16 } else { first & 0xffff };
        Packet {
            interface: interface as usize,
            ticks: Some(u64::from(word(12)?) << 32 | u64::from(word(16)?)),
            captured: word(20)? as usize,
            original: word(24)? as usize,
            data: 28,
            flags: 0,
        }
        .fitting(block)
    }

    fn found(&self, packet: Packet) -> Result<Found, What> {
        let Some(interface) = self.interfaces.get(packet.interface) else {
            return Err(What::Malformed(format!("a frame of interface {}, which is not described", packet.interface)));
        };
        let most = frame_max(interface.link);
        if packet.captured > most {
            let claimed = packet.captured;
            return Err(What::Malformed(format!("a frame of {claimed} bytes; at most {most} are believed")));
        }
        // epb_flags: bits 0 and 1 direction, bits 5 to 8 FCS length in bytes (0 = not known).
        let fcs = match packet.flags >> 5 & 15 {
            0 => interface.fcs,
            n => n as usize,
        };
        let (len, original_len) = without_fcs(packet.captured, packet.original, fcs);
        let time_ns = packet.ticks.map_or(0, |ticks| {
            let ns = u128::from(ticks) * 1_000_000_000 / interface.resolution;
            let ns =
                i128::try_from(ns).unwrap_or(i128::MAX).saturating_add(i128::from(interface.offset_s) * 1_000_000_000);
            u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
        });
        Ok(Found {
            time_ns,
            link: interface.link,
            interface: self.base + packet.interface,
            original_len,
            direction: match packet.flags & 3 {
                1 => Some(Direction::In),
                2 => Some(Direction::Out),
                _ => None,
            },
            bytes: packet.data..packet.data + len,
        })
    }

    fn parse<'a, T>(&self, block: &'a [u8], le: Parser<'a, T>, be: Parser<'a, T>) -> Result<T, What> {
        match if self.big_endian { be(block) } else { le(block) } {
            Ok((_, parsed)) => Ok(parsed),
            Err(_) => {
                let kind = self.u32(block, 0).unwrap_or(0);
                Err(What::Malformed(format!("a block of type {kind:#x} whose contents exceed it")))
            }
        }
    }

    fn u32(&self, bytes: &[u8], at: usize) -> Option<u32> {
        le(bytes, at).map(|v| if self.big_endian { v.swap_bytes() } else { v })
    }
}

impl Packet {
    /// Refuses a captured length beyond the block, which is checked here where no parser did.
    fn fitting(self, block: &[u8]) -> Result<Self, What> {
        let room = block.len().saturating_sub(self.data + 4);
        if self.captured > room {
            return Err(What::Malformed(format!("a frame of {} bytes in a block with room for {room}", self.captured)));
        }
        Ok(self)
    }
}

enum Block {
    Packet(Found),
    Other,
}

fn le(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes)
}

fn option<'a>(options: &'a [PcapNGOption<'_>], code: u16) -> Option<&'a [u8]> {
    options.iter().find(|o| o.code.0 == code).and_then(|o| o.as_bytes().ok())
}
