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
//! A section is its records one after another, each of whatever length it has (`codec.rs`): fields in the order of the
//! struct, lists and texts behind their count, optional fields behind a byte that says whether they are there.
//!
//! There is one image for one ruleset: every field that is not used is zero, a default is written in one way, a
//! table's entries are sorted. Reading takes time and memory proportional to the image's length, whatever is in it.
//! Anchors that call each other are followed once each; a ruleset whose anchors would multiply to more than
//! [`EXPANDED_MAX`] rules, or call in circles, is refused.
#![forbid(unsafe_code)]

mod anchors;
mod bytes;
mod check;
mod codec;
mod crc;
mod encode;
mod error;
mod parse;

pub(super) use anchors::Children;
pub use check::entry as check_entry;
pub use encode::encode;
pub use error::{ImageError, ImageErrorKind};
pub use parse::parse;

/// First eight bytes of an image.
pub const MAGIC: [u8; 8] = *b"WEIRRULE";
/// Version of the header and the section table.
pub const VERSION: u32 = 2;
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
/// Most interfaces in parentheses.
pub const DYNAMICS_MAX: usize = 1 << 16;
/// Most tags (pf_ioctl.c, TAGID_MAX).
pub const TAGS_MAX: usize = 50_000;
/// Most anchors, the root included.
pub const ANCHORS_MAX: usize = 1 << 16;
/// Most rules that a packet can meet in one list with everything that is called from there, and ends of calls.
pub const EXPANDED_MAX: usize = 4 << 20;
/// Deepest nesting of calls (pf.c, PF_ANCHOR_STACK_MAX).
pub const CALL_DEPTH_MAX: usize = 64;
/// Longest interface name, bytes (IFNAMSIZ without the NUL).
pub const INTERFACE_MAX: usize = 15;
/// Longest label, bytes (PF_RULE_LABEL_SIZE without the NUL).
pub const LABEL_MAX: usize = 63;
/// Most labels of a rule (FreeBSD pfvar.h PF_RULE_MAX_LABEL_COUNT).
pub const LABELS_MAX: usize = 5;
/// Longest tag, bytes (PF_TAG_NAME_SIZE without the NUL).
pub const TAG_MAX: usize = 63;
/// Longest component of an anchor's path, bytes (PF_ANCHOR_NAME_SIZE without the NUL).
pub const ANCHOR_NAME_MAX: usize = 63;
/// Longest path of an anchor, bytes (MAXPATHLEN without the NUL).
pub const ANCHOR_PATH_MAX: usize = 1023;
/// Longest table name, bytes (PF_TABLE_NAME_SIZE without the NUL).
pub const TABLE_NAME_MAX: usize = 31;
/// Longest normal form of a rule, and of any text, bytes.
pub const TEXT_MAX: usize = 4096;

/// Offset of the checksum in the header.
const CRC_AT: usize = 16;
/// Section flag: refuse the image if the section is not known.
const REQUIRED: u16 = 1;

/// Sections that this version knows, all of format version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SectionKind {
    /// `set ...`; one record, or the section is missing.
    Options = 1,
    /// Names of tags.
    Tags = 2,
    /// Tables with their prefixes.
    Tables = 3,
    /// Interfaces in parentheses.
    Dynamics = 4,
    /// Anchors: path, and how many rules each list has.
    Anchors = 5,
    /// Rules, anchor by anchor, list by list.
    Rules = 6,
}

impl SectionKind {
    const ALL: [Self; 6] = [Self::Options, Self::Tags, Self::Tables, Self::Dynamics, Self::Anchors, Self::Rules];

    const fn records_max(self) -> usize {
        match self {
            Self::Options => 1,
            Self::Tags => TAGS_MAX,
            Self::Tables => TABLES_MAX,
            Self::Dynamics => DYNAMICS_MAX,
            Self::Anchors => ANCHORS_MAX,
            Self::Rules => RULES_MAX,
        }
    }
}
