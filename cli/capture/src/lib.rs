//! Capture files: reading pcap and pcapng, writing pcapng, and turning captured frames into Ethernet frames.
//!
//! Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng; link types as tcpdump.org lists them.
#![forbid(unsafe_code)]

mod buffer;
mod legacy;
pub mod link;
mod ng;
pub mod player;
pub mod recorder;
#[cfg(test)]
mod tests;
pub mod writer;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use buffer::Buffer;
pub use link::LinkType;
pub use player::Player;
pub use recorder::Recorder;
pub use writer::{Details, Record, Statistics, Writer};

/// Which way a captured frame went, seen from the machine that captured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// One captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Nanoseconds since 1970 UTC; 0 where the file has no time stamp (simple packet blocks).
    pub time_ns: u64,
    /// What `bytes` starts with.
    pub link: LinkType,
    /// Index of the capturing interface over the whole file.
    pub interface: usize,
    /// Length on the wire in bytes without FCS; above `bytes.len()` where the capture cut the frame.
    pub original_len: usize,
    /// Where the file tells it.
    pub direction: Option<Direction>,
    /// The captured bytes, without FCS.
    pub bytes: &'a [u8],
}

/// Why reading ended before the file did. The frames read so far are good.
#[derive(Debug)]
pub struct CaptureError {
    /// Byte offset of the record in the file.
    pub offset: u64,
    /// Frames read before it.
    pub frames: u64,
    /// What is wrong.
    pub what: What,
}

/// What is wrong with a capture.
#[derive(Debug)]
pub enum What {
    /// The operating system's error.
    Io(io::Error),
    /// Neither pcap nor pcapng; the first bytes, as far as there are any.
    NotACapture(Vec<u8>),
    /// The file ends inside a record.
    Truncated,
    /// A field has an impossible value.
    Malformed(String),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, frames, what } = self;
        match what {
            What::Io(e) => write!(f, "byte {offset}, after {frames} frames: {e}"),
            What::NotACapture(magic) if magic.is_empty() => {
                write!(f, "the file is empty: neither pcap nor pcapng")
            }
            What::NotACapture(magic) => {
                write!(f, "neither pcap nor pcapng: it starts with {magic:02x?}")
            }
            What::Truncated => write!(f, "byte {offset}, after {frames} frames: the file ends inside a record"),
            What::Malformed(text) => write!(f, "byte {offset}, after {frames} frames: {text}"),
        }
    }
}

impl std::error::Error for CaptureError {}

impl From<CaptureError> for io::Error {
    fn from(error: CaptureError) -> Self {
        match error.what {
            What::Io(ref e) => io::Error::new(e.kind(), error.to_string()),
            _ => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        }
    }
}

/// Largest frame a record may claim, in bytes (libpcap's `MAXIMUM_SNAPLEN`; more only where a link type has
/// longer messages). It bounds what a malformed length can make the reader allocate.
fn frame_max(link: LinkType) -> usize {
    match link {
        LinkType::DBUS | LinkType::USBPCAP | LinkType::USB_LINUX_MMAPPED => 128 << 20,
        LinkType::EBHSCR => 32 << 20,
        _ => 262_144,
    }
}

enum Format {
    Legacy(legacy::Header),
    Ng(ng::Section),
}

/// Reads a capture frame by frame; memory does not grow with the file.
pub struct Reader<R> {
    input: Buffer<R>,
    format: Format,
    frames: u64,
    ended: bool,
}

impl Reader<File> {
    /// Opens `path`.
    ///
    /// # Errors
    /// The operating system's, with the path, or that the file is no capture.
    pub fn open(path: &Path) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let file = File::open(path).map_err(named)?;
        Self::new(file).map_err(|e| named(e.into()))
    }
}

impl<R: Read> Reader<R> {
    /// Reads the file's header from `input`, which needs no buffering of its own.
    ///
    /// # Errors
    /// [`What::NotACapture`] and the input's own errors.
    pub fn new(input: R) -> Result<Self, CaptureError> {
        let mut input = Buffer::new(input);
        let fail = |what| CaptureError { offset: 0, frames: 0, what };
        let magic: [u8; 4] = match input.peek(4).map_err(|e| fail(What::Io(e)))?.try_into() {
            Ok(magic) => magic,
            Err(_) => {
                return Err(fail(What::NotACapture(input.peek(4).unwrap_or_default().to_vec())));
            }
        };
        // The section header's block type reads the same in both byte orders.
        let format = if magic == [0x0a, 0x0d, 0x0d, 0x0a] {
            Format::Ng(ng::Section::default())
        } else {
            Format::Legacy(legacy::Header::read(&mut input).map_err(fail)?)
        };
        Ok(Self { input, format, frames: 0, ended: false })
    }

    /// The next frame; `None` at the end of the file.
    ///
    /// # Errors
    /// The record at fault; afterwards the reader is at its end.
    #[allow(clippy::should_implement_trait, reason = "it lends: the frame's bytes live until the next call")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        let result = match &mut self.format {
            Format::Legacy(header) => header.next(&mut self.input),
            Format::Ng(section) => section.next(&mut self.input),
        };
        match result {
            Ok(Some(found)) => {
                self.frames += 1;
                let bytes = self.input.last().get(found.bytes).unwrap_or_default();
                Ok(Some(Frame {
                    time_ns: found.time_ns,
                    link: found.link,
                    interface: found.interface,
                    original_len: found.original_len.max(bytes.len()),
                    direction: found.direction,
                    bytes,
                }))
            }
            Ok(None) => {
                self.ended = true;
                Ok(None)
            }
            Err(what) => {
                self.ended = true;
                Err(CaptureError { offset: self.input.record_offset(), frames: self.frames, what })
            }
        }
    }

    /// Frames read so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }
}

/// A frame whose bytes lie in the buffer's last record.
struct Found {
    time_ns: u64,
    link: LinkType,
    interface: usize,
    original_len: usize,
    direction: Option<Direction>,
    bytes: std::ops::Range<usize>,
}

/// Length after taking off an FCS of `fcs` bytes: nothing of it is there if the capture cut the frame before it.
fn without_fcs(captured: usize, original: usize, fcs: usize) -> (usize, usize) {
    let original = original.max(captured);
    let bare = original.saturating_sub(fcs);
    (captured.min(bare), bare)
}
