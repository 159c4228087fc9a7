//! The packet that an ICMP error is about.

use super::Edit;
use crate::wire::parsed::Parsed;
use crate::wire::{icmp, parse_inner};

impl<'a> Edit<'a> {
    /// For the packet inside an ICMP or ICMPv6 error: `outer` is what the parse made of `frame`, `inner` what
    /// [`parse_inner`] made of it. Checksums of the inner packet and of the error stay in step, as far as the inner
    /// packet is there: it is cut off somewhere, and its transport checksum may be missing. `None` when `inner` is not
    /// the packet inside `outer`.
    #[must_use]
    pub fn inner(frame: &'a mut [u8], outer: &Parsed, inner: &'a mut Parsed) -> Option<Self> {
        if parse_inner(frame, outer).as_ref() != Some(inner) {
            return None;
        }
        let limit = outer.end().min(frame.len());
        let field = usize::from(outer.l4) + icmp::CHECKSUM_OFFSET;
        Some(Self::with(frame, inner, false, limit, Some(field)))
    }
}
