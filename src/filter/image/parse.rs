//! Image to [`Ruleset`]: complete validation.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;

use super::bytes::Record;
use super::codec::Codec;
use super::crc::crc32;
use super::error::{ImageError, ImageErrorKind};
use super::{
    CRC_AT, HEADER_LEN, IMAGE_MAX, MAGIC, PREFIXES_MAX, REQUIRED, SECTION_LEN, SECTIONS_MAX, SectionKind, VERSION,
    anchors, check,
};
use crate::filter::{Anchor, List, Rule, Ruleset, Table};

/// Reads an image.
///
/// Any bytes are either a ruleset that can run or are refused with a reason; it never panics and takes time and
/// memory proportional to `image.len()` (sorting the names of tables and tags apart).
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(image: &[u8]) -> Result<Ruleset, ImageError> {
    let sections = Sections::find(image)?;
    let mut ruleset = Ruleset::default();
    let mut options = sections.list(SectionKind::Options)?;
    ruleset.options = options.pop().unwrap_or_default();
    let (_, options_at, _) = sections.get(SectionKind::Options);
    let skip = ruleset.options.skip.iter().try_for_each(|name| check::interface(name));
    skip.map_err(|kind| ImageError::new(kind, options_at))?;
    ruleset.tags = sections.checked(SectionKind::Tags, |name: &String| check::tag(name))?;
    ruleset.tables = sections.checked(SectionKind::Tables, check::table)?;
    ruleset.dynamics = sections.checked(SectionKind::Dynamics, check::dynamic)?;
    unique(&sections, &ruleset)?;
    let (_, anchors_at, _) = sections.get(SectionKind::Anchors);
    let anchor_error = |kind| ImageError::new(kind, anchors_at);
    ruleset.anchors = sections.list(SectionKind::Anchors)?;
    anchors::paths(&ruleset.anchors).map_err(anchor_error)?;
    ruleset.rules = rules(&sections, &ruleset)?;
    let children = anchors::Children::new(&ruleset.anchors).ok_or(anchor_error(ImageErrorKind::NoMemory))?;
    anchors::calls(&ruleset.anchors, &ruleset.rules, &children).map_err(anchor_error)?;
    Ok(ruleset)
}

/// Names that must not occur twice.
fn unique(sections: &Sections<'_>, ruleset: &Ruleset) -> Result<(), ImageError> {
    let (_, tags_at, _) = sections.get(SectionKind::Tags);
    let (_, tables_at, _) = sections.get(SectionKind::Tables);
    let mut tags: Vec<&str> = reserve(ruleset.tags.len(), tags_at)?;
    tags.extend(ruleset.tags.iter().map(String::as_str));
    tags.sort_unstable();
    if tags.array_windows::<2>().any(|[a, b]| a == b) {
        return Err(ImageError::new(ImageErrorKind::TagIndex, tags_at));
    }
    let mut names: Vec<(&str, &str)> = reserve(ruleset.tables.len(), tables_at)?;
    names.extend(ruleset.tables.iter().map(|table| (table.anchor.as_str(), table.name.as_str())));
    names.sort_unstable();
    if names.array_windows::<2>().any(|[a, b]| a == b) {
        return Err(ImageError::new(ImageErrorKind::DuplicateTable, tables_at));
    }
    let prefixes = ruleset.tables.iter().fold(0usize, |sum, table: &Table| sum.saturating_add(table.entries.len()));
    if prefixes > PREFIXES_MAX {
        return Err(ImageError::new(ImageErrorKind::Limit, tables_at));
    }
    Ok(())
}

/// The rules, each checked as one of the list it stands in.
fn rules(sections: &Sections<'_>, ruleset: &Ruleset) -> Result<Vec<Rule>, ImageError> {
    let (bytes, at, count) = sections.get(SectionKind::Rules);
    let mut record = Record::new(bytes, at);
    let mut rules: Vec<Rule> = Vec::new();
    let lists = |anchor: &Anchor| List::ALL.into_iter().zip(anchor.lists);
    for (list, len) in ruleset.anchors.iter().flat_map(lists) {
        for _ in 0..len {
            let start = record.at();
            let error = |kind| ImageError::new(kind, start);
            if rules.len() == count {
                return Err(error(ImageErrorKind::AnchorRules));
            }
            let rule = Rule::take(&mut record)?;
            check::rule(&rule, list, ruleset).map_err(error)?;
            rules.try_reserve(1).map_err(|_| error(ImageErrorKind::NoMemory))?;
            rules.push(rule);
        }
    }
    match (rules.len() == count, record.is_at_end()) {
        (false, _) => Err(ImageError::new(ImageErrorKind::AnchorRules, record.at())),
        (true, false) => Err(ImageError::new(ImageErrorKind::SectionLength, record.at())),
        (true, true) => Ok(rules),
    }
}

fn reserve<T>(count: usize, at: usize) -> Result<Vec<T>, ImageError> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| ImageError::new(ImageErrorKind::NoMemory, at))?;
    Ok(list)
}

/// The known sections of an image whose frame is right: contents, offset, number of records.
struct Sections<'a> {
    known: [Option<(&'a [u8], usize, usize)>; SectionKind::ALL.len()],
}

impl<'a> Sections<'a> {
    fn find(image: &'a [u8]) -> Result<Self, ImageError> {
        let error = ImageError::new;
        if image.len() > IMAGE_MAX {
            return Err(error(ImageErrorKind::Limit, IMAGE_MAX));
        }
        let mut header = Record::new(image, 0);
        if header.bytes::<8>()? != MAGIC {
            return Err(error(ImageErrorKind::Magic, 0));
        }
        if header.u32()? != VERSION {
            return Err(error(ImageErrorKind::Version, 8));
        }
        let total = header.u32()? as usize;
        if total != image.len() {
            let kind = if total > image.len() { ImageErrorKind::Truncated } else { ImageErrorKind::Length };
            return Err(error(kind, 12));
        }
        let crc = header.u32()?;
        let count = header.u32()? as usize;
        header.zero::<8>()?;
        let (before, rest) = image.split_at_checked(CRC_AT).unwrap_or((image, &[]));
        let after = rest.get(4..).unwrap_or(&[]);
        if crc32(&[before, &[0; 4], after]) != crc {
            return Err(error(ImageErrorKind::Checksum, CRC_AT));
        }
        if count > SECTIONS_MAX {
            return Err(error(ImageErrorKind::Limit, 20));
        }
        let mut known = [None; SectionKind::ALL.len()];
        let mut kinds = heapless::Vec::<u32, SECTIONS_MAX>::new();
        let mut end = HEADER_LEN.saturating_add(SECTION_LEN.saturating_mul(count));
        for _ in 0..count {
            let entry_at = header.at();
            let (kind, bytes, at, records, next) = Self::entry(&mut header, image, end)?;
            end = next;
            if kinds.contains(&kind.0) || kinds.push(kind.0).is_err() {
                return Err(error(ImageErrorKind::DuplicateSection, entry_at));
            }
            if let Some(slot) = kind.1.and_then(|index| known.get_mut(index)) {
                *slot = Some((bytes, at, records));
            }
        }
        if end != image.len() {
            return Err(error(ImageErrorKind::Length, end.min(image.len())));
        }
        Ok(Self { known })
    }

    /// One entry of the section table: number and index of the kind, contents, offset, records, end.
    #[allow(clippy::type_complexity)]
    fn entry(
        table: &mut Record<'_>,
        image: &'a [u8],
        previous_end: usize,
    ) -> Result<((u32, Option<usize>), &'a [u8], usize, usize, usize), ImageError> {
        let at = table.at();
        let error = |kind| ImageError::new(kind, at);
        let number = table.u32()?;
        let version = table.u16()?;
        let flags = table.u16()?;
        let offset = table.u32()? as usize;
        let len = table.u32()? as usize;
        let records = table.u32()? as usize;
        table.zero::<4>()?;
        if flags & !REQUIRED != 0 {
            return Err(error(ImageErrorKind::NotZero));
        }
        let gap = previous_end..previous_end.next_multiple_of(8);
        let end = offset.checked_add(len).filter(|end| *end <= image.len()).ok_or(error(ImageErrorKind::Truncated))?;
        if offset != gap.end {
            return Err(error(ImageErrorKind::SectionPlace));
        }
        if image.get(gap).is_none_or(|gap| gap.iter().any(|byte| *byte != 0)) {
            return Err(ImageError::new(ImageErrorKind::NotZero, previous_end));
        }
        let bytes = image.get(offset..end).ok_or(error(ImageErrorKind::Truncated))?;
        let index = SectionKind::ALL.iter().position(|kind| *kind as u32 == number);
        match index.and_then(|index| SectionKind::ALL.get(index)) {
            None if flags & REQUIRED != 0 => return Err(error(ImageErrorKind::UnknownSection)),
            None => {}
            Some(_) if version != 1 => return Err(error(ImageErrorKind::SectionVersion)),
            Some(kind) if records > kind.records_max() => return Err(error(ImageErrorKind::Limit)),
            Some(_) => {}
        }
        Ok(((number, index), bytes, offset, records, end))
    }

    /// Contents, offset and number of records; a section that is not there is empty.
    fn get(&self, kind: SectionKind) -> (&'a [u8], usize, usize) {
        let index = SectionKind::ALL.iter().position(|other| *other == kind);
        index.and_then(|index| self.known.get(index).copied().flatten()).unwrap_or((&[], 0, 0))
    }

    /// All records of a section, which they fill.
    fn list<T: Codec>(&self, kind: SectionKind) -> Result<Vec<T>, ImageError> {
        self.checked(kind, |_| Ok(()))
    }

    /// [`Sections::list`] with a check of each record.
    fn checked<T: Codec>(
        &self,
        kind: SectionKind,
        check: impl Fn(&T) -> Result<(), ImageErrorKind>,
    ) -> Result<Vec<T>, ImageError> {
        let (bytes, at, count) = self.get(kind);
        let mut record = Record::new(bytes, at);
        let mut list: Vec<T> = Vec::new();
        for _ in 0..count {
            let start = record.at();
            let error = |kind| ImageError::new(kind, start);
            let item = T::take(&mut record)?;
            check(&item).map_err(error)?;
            list.try_reserve(1).map_err(|_| error(ImageErrorKind::NoMemory))?;
            list.push(item);
        }
        if record.is_at_end() { Ok(list) } else { Err(ImageError::new(ImageErrorKind::SectionLength, record.at())) }
    }
}
