//! Image to [`Ruleset`]: complete validation.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;

use super::bytes::Record;
use super::crc::crc32;
use super::error::{ImageError, ImageErrorKind};
use super::{
    CRC_AT, HEADER_LEN, IMAGE_MAX, MAGIC, REQUIRED, SECTION_LEN, SECTIONS_MAX, SectionKind, TABLE_NAME_MAX, VERSION,
    rules,
};
use crate::filter::{Ruleset, Table};

/// Reads an image.
///
/// Any bytes are either a ruleset that can run or are refused with a reason; it never panics and takes time and
/// memory proportional to `image.len()` (sorting the names of tables apart).
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(image: &[u8]) -> Result<Ruleset, ImageError> {
    let sections = Sections::find(image)?;
    let (text_bytes, text_at, _) = sections.get(SectionKind::Strings);
    let text = core::str::from_utf8(text_bytes)
        .map_err(|error| ImageError::new(ImageErrorKind::StringContent, text_at.saturating_add(error.valid_up_to())))?;
    let mut text = Text { all: text, budget: text.len() };
    let tables = sections.tables(&mut text)?;
    let (bytes, at, count) = sections.get(SectionKind::Rules);
    let mut list = reserve(count, at)?;
    for_each_record(bytes, at, SectionKind::Rules, |record| {
        list.push(rules::take(record, &mut text, tables.len())?);
        Ok(())
    })?;
    Ok(Ruleset { rules: list, tables })
}

fn reserve<T>(count: usize, at: usize) -> Result<Vec<T>, ImageError> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| ImageError::new(ImageErrorKind::NoMemory, at))?;
    Ok(list)
}

fn for_each_record(
    bytes: &[u8],
    at: usize,
    kind: SectionKind,
    mut each: impl FnMut(&mut Record<'_>) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let len = kind.record_len();
    let mut at = at;
    for record in bytes.chunks_exact(len) {
        each(&mut Record::new(record, at))?;
        at = at.saturating_add(len);
    }
    Ok(())
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
            Some(kind) if records.checked_mul(kind.record_len()) != Some(len) => {
                return Err(error(ImageErrorKind::SectionLength));
            }
            Some(_) => {}
        }
        Ok(((number, index), bytes, offset, records, end))
    }

    /// Contents, offset and number of records; a section that is not there is empty.
    fn get(&self, kind: SectionKind) -> (&'a [u8], usize, usize) {
        let index = SectionKind::ALL.iter().position(|other| *other == kind);
        index.and_then(|index| self.known.get(index).copied().flatten()).unwrap_or((&[], 0, 0))
    }

    fn tables(&self, text: &mut Text<'_>) -> Result<Vec<Table>, ImageError> {
        let (prefixes, prefixes_at, prefix_count) = self.get(SectionKind::Prefixes);
        let (bytes, at, count) = self.get(SectionKind::Tables);
        let record_len = SectionKind::Prefixes.record_len();
        let mut tables: Vec<Table> = reserve(count, at)?;
        let mut next = 0usize;
        for_each_record(bytes, at, SectionKind::Tables, |record| {
            let start = record.at();
            let name = text.take(record, TABLE_NAME_MAX, Text::is_plain)?;
            if name.is_empty() {
                return Err(ImageError::new(ImageErrorKind::StringLength, start));
            }
            let first = record.u32()? as usize;
            let entries = record.u32()? as usize;
            let end = first.saturating_add(entries);
            let range = first.saturating_mul(record_len)..end.saturating_mul(record_len);
            let range_at = prefixes_at.saturating_add(range.start);
            let part = prefixes.get(range).filter(|_| first == next);
            let part = part.ok_or(ImageError::new(ImageErrorKind::TablePrefixes, start))?;
            next = end;
            let mut list = reserve(entries, start)?;
            for_each_record(part, range_at, SectionKind::Prefixes, |record| {
                list.push(rules::take_prefix(record, list.last())?);
                Ok(())
            })?;
            tables.push(Table { name, entries: list });
            Ok(())
        })?;
        if next != prefix_count {
            return Err(ImageError::new(ImageErrorKind::TablePrefixes, at));
        }
        let mut names: Vec<&str> = reserve(tables.len(), at)?;
        names.extend(tables.iter().map(|table| table.name.as_str()));
        names.sort_unstable();
        if names.array_windows::<2>().any(|[a, b]| a == b) {
            return Err(ImageError::new(ImageErrorKind::DuplicateTable, at));
        }
        Ok(tables)
    }
}

/// The string section, and how much of it may still be referred to.
pub struct Text<'a> {
    all: &'a str,
    budget: usize,
}

impl Text<'_> {
    /// The string behind the next reference.
    pub fn take(
        &mut self,
        record: &mut Record<'_>,
        longest: usize,
        allowed: fn(char) -> bool,
    ) -> Result<String, ImageError> {
        let at = record.at();
        let error = |kind| ImageError::new(kind, at);
        let offset = record.u32()? as usize;
        let len = record.u32()? as usize;
        if len == 0 {
            return if offset == 0 { Ok(String::new()) } else { Err(error(ImageErrorKind::NotZero)) };
        }
        let end = offset.checked_add(len).ok_or(error(ImageErrorKind::StringRange))?;
        let text = self.all.get(offset..end).ok_or(error(ImageErrorKind::StringRange))?;
        self.budget = match self.budget.checked_sub(len) {
            Some(left) if len <= longest => left,
            _ => return Err(error(ImageErrorKind::StringLength)),
        };
        if !text.chars().all(allowed) {
            return Err(error(ImageErrorKind::StringContent));
        }
        let mut owned = String::new();
        owned.try_reserve_exact(len).map_err(|_| error(ImageErrorKind::NoMemory))?;
        owned.push_str(text);
        Ok(owned)
    }

    /// Characters of an interface's name.
    pub fn is_name(c: char) -> bool {
        c.is_ascii_graphic()
    }

    /// Characters of text that is shown on one line of a terminal.
    pub fn is_plain(c: char) -> bool {
        !c.is_control()
    }
}
