//! A capture as a source of Ethernet frames in time.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::{CaptureError, Reader, link};

/// Plays a capture: the next frame and when it is due.
pub struct Player {
    path: PathBuf,
    reader: Reader<File>,
    fast: bool,
    /// Time stamp of the first frame.
    first_ns: Option<u64>,
    due_ns: u64,
    frame: Vec<u8>,
    scratch: Vec<u8>,
    pending: bool,
    /// Frames whose link type or protocol has no Ethernet form.
    unmapped: u64,
    error: Option<CaptureError>,
}

impl Player {
    /// Opens `path`; with `fast` every frame is due at once.
    ///
    /// # Errors
    /// See [`Reader::open`].
    pub fn open(path: &Path, fast: bool) -> io::Result<Self> {
        let mut player = Self {
            path: path.to_owned(),
            reader: Reader::open(path)?,
            fast,
            first_ns: None,
            due_ns: 0,
            frame: Vec::new(),
            scratch: Vec::new(),
            pending: false,
            unmapped: 0,
            error: None,
        };
        player.advance();
        Ok(player)
    }

    /// When the next frame is due, in nanoseconds after the first; `None` at the end.
    pub fn due_ns(&self) -> Option<u64> {
        self.pending.then_some(self.due_ns)
    }

    /// The next frame as Ethernet.
    pub fn frame(&self) -> Option<&[u8]> {
        self.pending.then_some(self.frame.as_slice())
    }

    /// Time stamp of the first frame, in nanoseconds since 1970 UTC; 0 where there is none.
    pub fn first_ns(&self) -> u64 {
        self.first_ns.unwrap_or(0)
    }

    /// Frames without an Ethernet form that were passed over.
    pub fn unmapped(&self) -> u64 {
        self.unmapped
    }

    /// Why the capture ended early, with its path.
    pub fn take_error(&mut self) -> Option<io::Error> {
        let error = self.error.take()?;
        Some(io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", self.path.display())))
    }

    /// Goes to the frame after this one.
    pub fn advance(&mut self) {
        self.pending = false;
        while !self.pending {
            match self.reader.next() {
                Ok(Some(frame)) => {
                    let Some(bytes) = link::to_ethernet(frame.link, frame.bytes, &mut self.scratch) else {
                        self.unmapped += 1;
                        continue;
                    };
                    self.frame.clear();
                    self.frame.extend_from_slice(bytes);
                    let first = *self.first_ns.get_or_insert(frame.time_ns);
                    // Time stamps that go back (merged captures, stepped clocks) do not stop the clock.
                    let due = if self.fast { 0 } else { frame.time_ns.saturating_sub(first) };
                    self.due_ns = self.due_ns.max(due);
                    self.pending = true;
                }
                Ok(None) => return,
                Err(e) => {
                    self.error = Some(e);
                    return;
                }
            }
        }
    }
}
