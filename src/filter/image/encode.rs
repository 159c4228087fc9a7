//! [`Ruleset`] to image.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::bytes::{Strings, put_u32};
use super::crc::crc32;
use super::{CRC_AT, HEADER_LEN, MAGIC, REQUIRED, SECTION_LEN, SectionKind, VERSION, rules};
use crate::filter::Ruleset;

/// The image of a ruleset.
///
/// Nothing is checked here: what no driver would accept (a name that is too long, a table that does not exist) is
/// written as it is, and [`super::parse`] says what is wrong. Table entries are sorted on the way.
#[must_use]
pub fn encode(ruleset: &Ruleset) -> Vec<u8> {
    let mut strings = Strings::default();
    let mut rule_bytes = Vec::new();
    for rule in &ruleset.rules {
        rules::put(&mut rule_bytes, &mut strings, rule);
    }
    let mut tables = Vec::new();
    let mut prefixes = Vec::new();
    let mut count = 0usize;
    for table in &ruleset.tables {
        strings.put(&mut tables, &table.name);
        put_u32(&mut tables, count);
        put_u32(&mut tables, table.entries.len());
        count = count.saturating_add(table.entries.len());
        let mut entries = table.entries.clone();
        entries.sort_unstable_by_key(rules::prefix_order);
        for entry in &entries {
            prefixes.extend_from_slice(&entry.addr);
            prefixes.extend_from_slice(&[entry.family as u8, entry.len, u8::from(entry.negate), 0]);
        }
    }
    assemble(&[
        (SectionKind::Rules, ruleset.rules.len(), rule_bytes),
        (SectionKind::Tables, ruleset.tables.len(), tables),
        (SectionKind::Prefixes, count, prefixes),
        (SectionKind::Strings, strings.text.len(), strings.text),
    ])
}

fn assemble(sections: &[(SectionKind, usize, Vec<u8>)]) -> Vec<u8> {
    let mut table = Vec::new();
    let mut body = Vec::new();
    let start = HEADER_LEN.saturating_add(SECTION_LEN.saturating_mul(sections.len()));
    for (kind, count, bytes) in sections {
        body.resize(body.len().next_multiple_of(8), 0);
        put_u32(&mut table, *kind as usize);
        table.extend_from_slice(&1u16.to_le_bytes());
        table.extend_from_slice(&REQUIRED.to_le_bytes());
        put_u32(&mut table, start.saturating_add(body.len()));
        put_u32(&mut table, bytes.len());
        put_u32(&mut table, *count);
        put_u32(&mut table, 0);
        body.extend_from_slice(bytes);
    }
    let mut image = Vec::new();
    image.extend_from_slice(&MAGIC);
    image.extend_from_slice(&VERSION.to_le_bytes());
    put_u32(&mut image, start.saturating_add(body.len()));
    put_u32(&mut image, 0);
    put_u32(&mut image, sections.len());
    image.extend_from_slice(&[0; 8]);
    image.extend_from_slice(&table);
    image.extend_from_slice(&body);
    seal(&mut image);
    image
}

/// Writes the checksum into an image that has everything else.
pub(super) fn seal(image: &mut [u8]) {
    if let Some(field) = image.get_mut(CRC_AT..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *field = [0; 4];
    }
    let crc = crc32(&[image]);
    if let Some(field) = image.get_mut(CRC_AT..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *field = crc.to_le_bytes();
    }
}
