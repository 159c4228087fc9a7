//! A window over an input that grows to the record being looked at and no further.

use std::io::{self, Read};

/// Bytes asked of the input at once, and the step in which a claimed length is believed.
const STEP: usize = 256 * 1024;

pub(super) struct Buffer<R> {
    input: R,
    data: Vec<u8>,
    /// `data[start..]` has not been consumed.
    start: usize,
    /// `data[last..start]` is the record consumed last.
    last: usize,
    /// Offset of `data[0]` in the input.
    base: u64,
    eof: bool,
}

impl<R: Read> Buffer<R> {
    pub fn new(input: R) -> Self {
        Self { input, data: Vec::new(), start: 0, last: 0, base: 0, eof: false }
    }

    /// The next `n` bytes, or fewer at the end of the input.
    pub fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        while self.data.len() - self.start < n && !self.eof {
            self.data.drain(..self.start);
            self.base += self.start as u64;
            (self.start, self.last) = (0, 0);
            let got = self.input.by_ref().take(STEP as u64).read_to_end(&mut self.data)?;
            self.eof = got == 0;
        }
        let rest = self.data.get(self.start..).unwrap_or_default();
        Ok(rest.get(..n).unwrap_or(rest))
    }

    /// Consumes `n` bytes that were seen by `peek`; they stay readable through `last` until the next `peek`.
    pub fn consume(&mut self, n: usize) {
        self.last = self.start;
        self.start = (self.start + n).min(self.data.len());
    }

    /// The record consumed last.
    pub fn last(&self) -> &[u8] {
        self.data.get(self.last..self.start).unwrap_or_default()
    }

    /// Offset of the next record in the input.
    pub fn record_offset(&self) -> u64 {
        self.base + self.start as u64
    }
}
