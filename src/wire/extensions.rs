//! IPv6 extension headers, where more than the parse keeps has to be known.

use super::fixed::get;
use super::parsed::{Family, Parsed};
use super::{ipv6, protocol};

/// Most headers that are walked, as in the parse.
const EXTENSIONS_MAX: usize = 16;

/// An extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it starts, from the start of the frame.
    pub at: usize,
    /// Where the number that announces it stands.
    pub announced_at: usize,
    /// The number of the header behind it.
    pub next: u8,
}

/// The first extension header `wanted` of an IPv6 packet.
fn find(frame: &[u8], parsed: &Parsed, wanted: u8) -> Option<Found> {
    if parsed.family != Family::V6 {
        return None;
    }
    let l3 = usize::from(parsed.l3);
    let mut announced_at = l3 + ipv6::NEXT_HEADER_OFFSET;
    let mut at = l3 + ipv6::HEADER_LEN;
    for _ in 0..EXTENSIONS_MAX {
        let [kind] = get(frame, announced_at);
        let &[next, len] = frame.get(at..)?.first_chunk()?;
        if kind == wanted {
            return Some(Found { at, announced_at, next });
        }
        let size = match kind {
            protocol::HOP_BY_HOP | protocol::DEST_OPTS | protocol::ROUTING => (usize::from(len) + 1) * 8,
            protocol::AH => (usize::from(len) + 2) * 4,
            protocol::FRAGMENT => 8,
            _ => return None,
        };
        announced_at = at;
        at += size;
    }
    None
}

/// The fragment header (RFC 8200 section 4.5).
pub(crate) fn fragment_header(frame: &[u8], parsed: &Parsed) -> Option<Found> {
    let found = find(frame, parsed, protocol::FRAGMENT)?;
    (frame.len() >= found.at + 8).then_some(found)
}

/// Segments left in the routing header (RFC 8200 section 4.4).
pub(crate) fn segments_left(frame: &[u8], parsed: &Parsed) -> Option<u8> {
    let found = find(frame, parsed, protocol::ROUTING)?;
    frame.get(found.at + 3).copied()
}
