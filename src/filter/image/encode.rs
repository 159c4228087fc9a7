//! [`Ruleset`] to image.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::codec::{Codec, put_count};
use super::crc::crc32;
use super::{CRC_AT, HEADER_LEN, MAGIC, REQUIRED, SECTION_LEN, SectionKind, VERSION, check};
use crate::filter::Ruleset;

/// The image of a ruleset.
///
/// Nothing is checked here: what no driver would accept (a name that is too long, a table that does not exist) is
/// written as it is, and [`super::parse`] says what is wrong. Table entries are sorted on the way.
#[must_use]
pub fn encode(ruleset: &Ruleset) -> Vec<u8> {
    let mut options = Vec::new();
    ruleset.options.put(&mut options);
    let mut tables = Vec::new();
    for table in &ruleset.tables {
        let mut table = table.clone();
        table.entries.sort_unstable_by_key(check::prefix_order);
        table.put(&mut tables);
    }
    assemble(&[
        (SectionKind::Options, 1, options),
        (SectionKind::Tags, ruleset.tags.len(), list(&ruleset.tags)),
        (SectionKind::Tables, ruleset.tables.len(), tables),
        (SectionKind::Dynamics, ruleset.dynamics.len(), list(&ruleset.dynamics)),
        (SectionKind::Anchors, ruleset.anchors.len(), list(&ruleset.anchors)),
        (SectionKind::Rules, ruleset.rules.len(), list(&ruleset.rules)),
    ])
}

fn list<T: Codec>(items: &[T]) -> Vec<u8> {
    let mut out = Vec::new();
    items.iter().for_each(|item| item.put(&mut out));
    out
}

fn assemble(sections: &[(SectionKind, usize, Vec<u8>)]) -> Vec<u8> {
    let mut table = Vec::new();
    let mut body = Vec::new();
    let start = HEADER_LEN.saturating_add(SECTION_LEN.saturating_mul(sections.len()));
    for (kind, count, bytes) in sections {
        body.resize(body.len().next_multiple_of(8), 0);
        put_count(*kind as usize, &mut table);
        table.extend_from_slice(&1u16.to_le_bytes());
        table.extend_from_slice(&REQUIRED.to_le_bytes());
        put_count(start.saturating_add(body.len()), &mut table);
        put_count(bytes.len(), &mut table);
        put_count(*count, &mut table);
        put_count(0, &mut table);
        body.extend_from_slice(bytes);
    }
    let mut image = Vec::new();
    image.extend_from_slice(&MAGIC);
    image.extend_from_slice(&VERSION.to_le_bytes());
    put_count(start.saturating_add(body.len()), &mut image);
    put_count(0, &mut image);
    put_count(sections.len(), &mut image);
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
