//! Fixed records: reading that cannot leave them, and writing.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::error::{ImageError, ImageErrorKind};

/// A record (or the header) and where it stands in the image, read field by field from the front.
pub struct Record<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Record<'a> {
    pub const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { rest: bytes, at }
    }

    /// Offset of the next field in the image.
    pub const fn at(&self) -> usize {
        self.at
    }

    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        let Some((field, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(ImageError::new(ImageErrorKind::Truncated, self.at));
        };
        self.rest = rest;
        self.at = self.at.saturating_add(N);
        Ok(*field)
    }

    pub fn u8(&mut self) -> Result<u8, ImageError> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, ImageError> {
        self.bytes().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, ImageError> {
        self.bytes().map(u32::from_le_bytes)
    }

    /// A field that nobody uses yet.
    pub fn zero<const N: usize>(&mut self) -> Result<(), ImageError> {
        let at = self.at;
        if self.bytes::<N>()? == [0; N] { Ok(()) } else { Err(ImageError::new(ImageErrorKind::NotZero, at)) }
    }

    /// A number that `known` makes sense of.
    pub fn known<T>(&mut self, known: impl FnOnce(u8) -> Option<T>) -> Result<T, ImageError> {
        let at = self.at;
        known(self.u8()?).ok_or(ImageError::new(ImageErrorKind::Enum, at))
    }
}

/// Text of all sections, and references to it.
#[derive(Default)]
pub struct Strings {
    pub text: Vec<u8>,
}

impl Strings {
    /// Appends `text` and writes the reference to it.
    pub fn put(&mut self, out: &mut Vec<u8>, text: &str) {
        let offset = if text.is_empty() { 0 } else { self.text.len() };
        put_u32(out, offset);
        put_u32(out, text.len());
        self.text.extend_from_slice(text.as_bytes());
    }
}

/// Writes a number that the image's limits keep in 32 bits. One that is larger becomes the largest, which no reader
/// accepts.
pub fn put_u32(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
}
