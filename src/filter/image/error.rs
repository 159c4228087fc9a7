//! Why an image is refused.
#![forbid(unsafe_code)]

use core::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $value:literal, $text:literal;)*) => {
        /// What is wrong with an image.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum ImageErrorKind {
            $($(#[$doc])* $variant = $value,)*
        }

        impl ImageErrorKind {
            /// In words.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// It ends inside the header, the section table, a section or a record.
    Truncated = 1, "the image is shorter than it says";
    /// The first bytes are not [`super::MAGIC`].
    Magic = 2, "not a ruleset image";
    /// Written for another version of the format.
    Version = 3, "format version not known";
    /// The header's length is not the image's.
    Length = 4, "length field does not fit";
    /// The checksum does not fit.
    Checksum = 5, "checksum does not fit";
    /// Longer than [`super::IMAGE_MAX`], or too many records.
    Limit = 6, "a limit is exceeded";
    /// A section that is required and not known.
    UnknownSection = 7, "required section not known";
    /// A section of a version that is not known.
    SectionVersion = 8, "section version not known";
    /// The same kind twice.
    DuplicateSection = 9, "section occurs twice";
    /// A section is not where it has to be.
    SectionPlace = 10, "section overlaps or leaves a gap";
    /// A section's length is not its number of records times their size.
    SectionLength = 11, "section length does not fit its records";
    /// A field that must be zero is not.
    NotZero = 12, "unused field is not zero";
    /// A number that stands for nothing.
    Enum = 13, "value not known";
    /// A string is longer or shorter than its kind may be.
    StringLength = 15, "string too long or empty";
    /// Not UTF-8, or a name with characters that names do not have.
    StringContent = 16, "string content not allowed";
    /// A table that does not exist.
    TableIndex = 17, "table does not exist";
    /// Two tables of one name.
    DuplicateTable = 19, "table name occurs twice";
    /// Prefixes are not in ascending order, or one occurs twice.
    PrefixOrder = 20, "prefixes not sorted";
    /// A prefix is longer than its family's addresses.
    PrefixLength = 21, "prefix too long";
    /// An address has bits set that its mask does not cover, or the mask is not a prefix's.
    HostBits = 22, "host bits set or mask not a prefix";
    /// A range whose first address is behind its last.
    Range = 23, "range is empty";
    /// Fields contradict each other: ports without TCP or UDP, ICMP types without ICMP, an IPv4 address in an
    /// `inet6` rule, an `ether` rule with IP fields, an action that the list does not have.
    Contradiction = 24, "fields contradict each other";
    /// There is no memory for it.
    NoMemory = 25, "out of memory";
    /// A path of an anchor that is none.
    AnchorPath = 26, "anchor path not allowed";
    /// Anchors are not sorted, or one is missing that another is in.
    AnchorOrder = 27, "anchors not sorted, or one is missing";
    /// The lists of anchors together are not the rules.
    AnchorRules = 28, "anchors do not add up to the rules";
    /// A call of an anchor that does not exist.
    AnchorIndex = 29, "anchor does not exist";
    /// An anchor is called from inside itself.
    AnchorCycle = 30, "anchors call each other in a circle";
    /// Calls are nested too deeply.
    AnchorDepth = 31, "anchors nested too deeply";
    /// A tag that does not exist.
    TagIndex = 32, "tag does not exist";
    /// An interface in parentheses that does not exist.
    DynamicIndex = 33, "interface address does not exist";
    /// A pool without addresses, or with one that is not a place to go to.
    Pool = 34, "pool has no usable address";
}

/// Why an image is refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageError {
    /// What is wrong.
    pub kind: ImageErrorKind,
    /// Offset in the image of the field concerned, bytes.
    pub offset: usize,
}

impl ImageError {
    pub(super) const fn new(kind: ImageErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.kind.text(), self.offset)
    }
}

impl core::error::Error for ImageError {}
