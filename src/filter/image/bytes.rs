//! Reading that cannot leave a section.
#![forbid(unsafe_code)]

use super::error::{ImageError, ImageErrorKind};

/// The rest of a section (or of the header) and where it stands in the image, read field by field from the front.
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

    pub const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        let Some((field, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(ImageError::new(ImageErrorKind::Truncated, self.at));
        };
        self.rest = rest;
        self.at = self.at.saturating_add(N);
        Ok(*field)
    }

    pub fn slice(&mut self, len: usize) -> Result<&'a [u8], ImageError> {
        let Some((field, rest)) = self.rest.split_at_checked(len) else {
            return Err(ImageError::new(ImageErrorKind::Truncated, self.at));
        };
        self.rest = rest;
        self.at = self.at.saturating_add(len);
        Ok(field)
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
        let [number] = self.bytes()?;
        known(number).ok_or(ImageError::new(ImageErrorKind::Enum, at))
    }
}
