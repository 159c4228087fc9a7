//! Writing pcapng.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use pcap_parser::pcapng::{EPB_MAGIC, IDB_MAGIC, SHB_MAGIC};

use super::{Direction, LinkType};

const OPT_COMMENT: u16 = 1;
const OPT_SHB_USERAPPL: u16 = 4;
const OPT_IF_NAME: u16 = 2;
const OPT_IF_TSRESOL: u16 = 9;
const OPT_IF_FILTER: u16 = 11;
const OPT_EPB_FLAGS: u16 = 2;
const OPT_EPB_DROPCOUNT: u16 = 4;
const OPT_EPB_QUEUE: u16 = 6;
const ISB: u32 = 5;
const OPT_ISB_IFRECV: u16 = 4;
const OPT_ISB_FILTERACCEPT: u16 = 6;
const OPT_ISB_OSDROP: u16 = 7;
const OPT_ISB_USRDELIV: u16 = 8;
/// 10^-9 s.
const NANOSECONDS: u8 = 9;

/// One frame to write.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// From [`Writer::add_interface`].
    pub interface: u32,
    /// Nanoseconds since 1970 UTC.
    pub time_ns: u64,
    /// Length on the wire in bytes; at least `bytes.len()`.
    pub original_len: usize,
    /// Goes into `epb_flags`.
    pub direction: Option<Direction>,
    /// Shown by Wireshark beside the frame: a verdict, a rule.
    pub comment: Option<&'a str>,
    /// The frame without FCS.
    pub bytes: &'a [u8],
}

/// What a live capture knows of a frame besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Queue that it came from.
    pub queue: Option<u32>,
    /// Frames that were lost since the one before.
    pub lost_before: u64,
}

/// What came of a live capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Nanoseconds since 1970 UTC.
    pub time_ns: u64,
    /// Frames that were looked at.
    pub seen: u64,
    /// That the filter wanted.
    pub wanted: u64,
    /// That found no room.
    pub lost: u64,
    /// That were written.
    pub written: u64,
}

/// Writes a pcapng file of one section in this machine's byte order.
pub struct Writer<W: Write> {
    output: W,
    block: Vec<u8>,
    interfaces: u32,
}

impl Writer<BufWriter<File>> {
    /// Creates or replaces `path`.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn create(path: &Path) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        Self::new(BufWriter::new(File::create(path).map_err(named)?)).map_err(named)
    }
}

impl<W: Write> Writer<W> {
    /// Writes the section header.
    ///
    /// # Errors
    /// The output's.
    pub fn new(output: W) -> io::Result<Self> {
        let mut writer = Self { output, block: Vec::new(), interfaces: 0 };
        writer.begin(SHB_MAGIC);
        writer.u32(0x1a2b_3c4d);
        writer.block.extend(1u16.to_ne_bytes());
        writer.block.extend(0u16.to_ne_bytes());
        writer.block.extend(u64::MAX.to_ne_bytes()); // section length not told
        writer.option(OPT_SHB_USERAPPL, concat!("weir ", env!("CARGO_PKG_VERSION")).as_bytes());
        writer.end_of_options();
        writer.end()?;
        Ok(writer)
    }

    /// Describes an interface; returns its number.
    ///
    /// # Errors
    /// The output's.
    pub fn add_interface(&mut self, name: &str, link: LinkType) -> io::Result<u32> {
        self.add_live_interface(name, link, 0, None)
    }

    /// Describes an interface that frames are captured from: at most `snaplen` bytes of each (0 = all), and those that a
    /// tcpdump expression names.
    ///
    /// # Errors
    /// The output's.
    pub fn add_live_interface(
        &mut self,
        name: &str,
        link: LinkType,
        snaplen: u32,
        filter: Option<&str>,
    ) -> io::Result<u32> {
        self.begin(IDB_MAGIC);
        self.block.extend(link.0.to_ne_bytes());
        self.block.extend(0u16.to_ne_bytes());
        self.u32(snaplen);
        self.option(OPT_IF_NAME, name.as_bytes());
        self.option(OPT_IF_TSRESOL, &[NANOSECONDS]);
        if let Some(filter) = filter {
            // 0: an expression of libpcap's.
            self.option(OPT_IF_FILTER, &[&[0], filter.as_bytes()].concat());
        }
        self.end_of_options();
        self.end()?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Writes one frame.
    ///
    /// # Errors
    /// The output's; `InvalidInput` for an interface that was not added.
    pub fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.write_with(record, &Details::default())
    }

    /// Writes one frame with what a live capture knows besides.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_with(&mut self, record: &Record<'_>, details: &Details) -> io::Result<()> {
        if record.interface >= self.interfaces {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "interface of a record was not added"));
        }
        self.begin(EPB_MAGIC);
        self.u32(record.interface);
        self.u32((record.time_ns >> 32) as u32);
        self.u32(record.time_ns as u32);
        self.u32(record.bytes.len() as u32);
        self.u32(record.original_len.max(record.bytes.len()) as u32);
        self.padded(record.bytes);
        if let Some(comment) = record.comment {
            self.option(OPT_COMMENT, comment.as_bytes());
        }
        if let Some(direction) = record.direction {
            let flags: u32 = match direction {
                Direction::In => 1,
                Direction::Out => 2,
            };
            self.option(OPT_EPB_FLAGS, &flags.to_ne_bytes());
        }
        if details.lost_before > 0 {
            self.option(OPT_EPB_DROPCOUNT, &details.lost_before.to_ne_bytes());
        }
        if let Some(queue) = details.queue {
            self.option(OPT_EPB_QUEUE, &queue.to_ne_bytes());
        }
        if record.comment.is_some() || record.direction.is_some() || *details != Details::default() {
            self.end_of_options();
        }
        self.end()
    }

    /// Writes what came of the capture on an interface.
    ///
    /// # Errors
    /// The output's.
    pub fn statistics(&mut self, interface: u32, statistics: &Statistics) -> io::Result<()> {
        self.begin(ISB);
        self.u32(interface);
        self.u32((statistics.time_ns >> 32) as u32);
        self.u32(statistics.time_ns as u32);
        self.option(OPT_ISB_IFRECV, &statistics.seen.to_ne_bytes());
        self.option(OPT_ISB_FILTERACCEPT, &statistics.wanted.to_ne_bytes());
        self.option(OPT_ISB_OSDROP, &statistics.lost.to_ne_bytes());
        self.option(OPT_ISB_USRDELIV, &statistics.written.to_ne_bytes());
        self.end_of_options();
        self.end()
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The output's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// The output's.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.u32(kind);
        self.u32(0); // length, known at the end
    }

    fn end(&mut self) -> io::Result<()> {
        let len = self.block.len() as u32 + 4;
        self.u32(len);
        if let Some(field) = self.block.get_mut(4..8) {
            field.copy_from_slice(&len.to_ne_bytes());
        }
        self.output.write_all(&self.block)
    }

    fn u32(&mut self, value: u32) {
        self.block.extend(value.to_ne_bytes());
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
        self.block.extend(code.to_ne_bytes());
        self.block.extend((value.len() as u16).to_ne_bytes());
        self.padded(value);
    }

    fn end_of_options(&mut self) {
        self.u32(0);
    }
}
