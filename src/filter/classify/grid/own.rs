//! Which columns of a service differ from those beside them. Few do, and the others cost next to nothing.

use alloc::vec::Vec;

use super::axis::push;
use crate::mem::locate::CHUNK;

/// The columns that have rules of their own; each other one is as one of them.
pub(super) struct OwnColumns {
    /// Each, and the place of the one beside it.
    pub columns: Vec<(u16, u16)>,
    /// For every column its own one's place.
    pub places: Vec<u16>,
    /// The different places of each chunk of columns, and where they begin.
    chunks: Vec<u16>,
    starts: Vec<usize>,
}

impl OwnColumns {
    /// From the column around each, and those that have rules.
    pub(super) fn new(left: &[u16], with_rules: impl Iterator<Item = usize>) -> Option<Self> {
        let mut own = Self { columns: Vec::new(), places: Vec::new(), chunks: Vec::new(), starts: Vec::new() };
        let mut is_own = Vec::new();
        is_own.try_reserve_exact(left.len()).ok()?;
        is_own.resize(left.len(), false);
        for column in core::iter::once(0).chain(with_rules) {
            *is_own.get_mut(column)? = true;
        }
        own.places.try_reserve_exact(left.len()).ok()?;
        for ((column, beside), is_own) in (0u16..).zip(left).zip(is_own) {
            let mut place = own.places.get(usize::from(*beside)).copied().unwrap_or(0);
            if is_own {
                push(&mut own.columns, (column, place))?;
                place = u16::try_from(own.columns.len() - 1).ok()?;
            }
            own.places.push(place);
        }
        for chunk in own.places.chunks(CHUNK) {
            let start = own.chunks.len();
            push(&mut own.starts, start)?;
            own.chunks.try_reserve(chunk.len()).ok()?;
            // Runs are what there is mostly; that one comes twice does no harm.
            let mut before = None;
            own.chunks.extend(chunk.iter().filter(|place| before.replace(**place) != Some(**place)));
        }
        let end = own.chunks.len();
        push(&mut own.starts, end)?;
        Some(own)
    }

    /// The different places of a chunk.
    pub(super) fn in_chunk(&self, chunk: usize) -> &[u16] {
        match self.starts.get(chunk..) {
            Some([start, end, ..]) => self.chunks.get(*start..*end).unwrap_or(&[]),
            _ => &[],
        }
    }
}
