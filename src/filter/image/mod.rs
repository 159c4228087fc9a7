//! The ruleset image: a [`Ruleset`](super::Ruleset) as bytes.
//!
//! All numbers are little-endian. The image is a header, a section table and the sections:
//!
//! | header | bytes | |
//! |---|---|---|
//! | 0 | 8 | magic `WEIRRULE` |
//! | 8 | 4 | format version, [`VERSION`] |
//! | 12 | 4 | length of the whole image |
//! | 16 | 4 | CRC-32 (IEEE 802.3) of the whole image with this field zero |
//! | 20 | 4 | number of sections, at most [`SECTIONS_MAX`] |
//! | 24 | 8 | zero |
//!
//! | section table entry | bytes | |
//! |---|---|---|
//! | 0 | 4 | kind, [`SectionKind`] or one that this version does not know |
//! | 4 | 2 | version of the section's format |
//! | 6 | 2 | bit 0: required; a reader that does not know the section must refuse the image. Others zero |
//! | 8 | 4 | offset |
//! | 12 | 4 | length in bytes |
//! | 16 | 4 | number of records |
//! | 20 | 4 | zero |
//!
//! Sections stand in the order of the table, each at the next multiple of 8 behind the one before, the first behind
//! the table; the bytes between are zero and nothing follows the last. A kind occurs once. What is not known and not
//! required is skipped: that is how the format grows without a new version.
//!
//! There is one image for one ruleset: every field that is not used is zero, a table's entries are sorted. Reading
//! takes time and memory proportional to the image's length, whatever is in it: strings are referred to by offset
//! and length, and all references together may not be longer than the string section.
#![forbid(unsafe_code)]

mod bytes;
mod crc;
mod encode;
mod error;
mod parse;
mod rules;

pub use encode::encode;
pub use error::{ImageError, ImageErrorKind};
pub use parse::parse;

/// First eight bytes of an image.
pub const MAGIC: [u8; 8] = *b"WEIRRULE";
/// Version of the header and the section table.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER_LEN: usize = 32;
/// Bytes of a section table entry.
pub const SECTION_LEN: usize = 24;
/// Most sections.
pub const SECTIONS_MAX: usize = 64;
/// Longest image, bytes.
pub const IMAGE_MAX: usize = 256 << 20;
/// Most rules.
pub const RULES_MAX: usize = 1 << 20;
/// Most tables.
pub const TABLES_MAX: usize = 1 << 16;
/// Most prefixes of all tables together.
pub const PREFIXES_MAX: usize = 8 << 20;
/// Longest interface name, bytes (IFNAMSIZ without the NUL).
pub const INTERFACE_MAX: usize = 15;
/// Longest label, bytes (PF_RULE_LABEL_SIZE without the NUL).
pub const LABEL_MAX: usize = 63;
/// Longest table name, bytes (PF_TABLE_NAME_SIZE without the NUL).
pub const TABLE_NAME_MAX: usize = 31;
/// Longest normal form of a rule, bytes.
pub const TEXT_MAX: usize = 4096;

/// Offset of the checksum in the header.
const CRC_AT: usize = 16;
/// Section flag: refuse the image if the section is not known.
const REQUIRED: u16 = 1;

const RULE_LEN: usize = 136;
const TABLE_LEN: usize = 16;
const PREFIX_LEN: usize = 20;

/// Sections that this version knows, all of format version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SectionKind {
    /// Filter rules, in the order of evaluation.
    Rules = 1,
    /// Tables: name and their part of the prefixes.
    Tables = 2,
    /// Prefixes of all tables, one after another.
    Prefixes = 3,
    /// UTF-8 text that the others refer to.
    Strings = 4,
}

impl SectionKind {
    const ALL: [Self; 4] = [Self::Rules, Self::Tables, Self::Prefixes, Self::Strings];

    const fn record_len(self) -> usize {
        match self {
            Self::Rules => RULE_LEN,
            Self::Tables => TABLE_LEN,
            Self::Prefixes => PREFIX_LEN,
            Self::Strings => 1,
        }
    }

    const fn records_max(self) -> usize {
        match self {
            Self::Rules => RULES_MAX,
            Self::Tables => TABLES_MAX,
            Self::Prefixes => PREFIXES_MAX,
            Self::Strings => IMAGE_MAX,
        }
    }
}
