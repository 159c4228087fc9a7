//! Ports and ICMP identifiers.

use super::Edit;
use crate::wire::fixed::get;
use crate::wire::parsed::{Family, ParsedFlags};
use crate::wire::{crc32c, protocol};

/// ICMP types that carry an identifier: echo, timestamp, information, address mask (RFC 792, RFC 950).
const V4_WITH_ID: [u8; 8] = [0, 8, 13, 14, 15, 16, 17, 18];
/// ICMPv6 types that carry one: echo (RFC 4443 section 4).
const V6_WITH_ID: [u8; 2] = [128, 129];
/// Where SCTP's checksum stands (RFC 9260 section 3.1).
const SCTP_CHECKSUM: usize = 8;

impl Edit<'_> {
    /// Replaces the source port.
    pub fn set_src_port(&mut self, port: u16) -> bool {
        let done = self.set_port(0, port);
        if done {
            self.parsed.src_port = port;
        }
        done
    }

    /// Replaces the destination port.
    pub fn set_dst_port(&mut self, port: u16) -> bool {
        let done = self.set_port(2, port);
        if done {
            self.parsed.dst_port = port;
        }
        done
    }

    fn set_port(&mut self, offset: usize, port: u16) -> bool {
        if !self.parsed.flags.contains(ParsedFlags::PORTS) {
            return false;
        }
        let l4 = usize::from(self.parsed.l4);
        if self.parsed.protocol == protocol::SCTP {
            return self.set_sctp_port(l4, offset, port);
        }
        self.write_transport(l4 + offset, port.to_be_bytes());
        true
    }

    fn set_sctp_port(&mut self, l4: usize, offset: usize, port: u16) -> bool {
        // How much the checksum covers is known of a whole packet only.
        let (false, Some(len)) = (self.parsed.is_fragment(), self.parsed.end().checked_sub(l4)) else {
            return false;
        };
        let old: [u8; 2] = get(self.frame, l4 + offset);
        let new = port.to_be_bytes();
        self.write(l4 + offset, new);
        if self.frame.len() >= l4 + SCTP_CHECKSUM + 4 {
            let changed = u16::from_be_bytes(old) ^ port;
            let delta = crc32c::of_change(changed.to_be_bytes(), len.saturating_sub(offset + 2));
            let sum = u32::from_le_bytes(get(self.frame, l4 + SCTP_CHECKSUM)) ^ delta;
            self.write(l4 + SCTP_CHECKSUM, sum.to_le_bytes());
        }
        true
    }

    /// The identifier of an ICMP query or its answer.
    #[must_use]
    pub fn icmp_id(&self) -> Option<u16> {
        let with_id = match self.parsed.family {
            Family::V4 => V4_WITH_ID.contains(&self.parsed.icmp_type),
            _ => V6_WITH_ID.contains(&self.parsed.icmp_type),
        };
        let at = usize::from(self.parsed.l4) + 4;
        let present = self.parsed.flags.contains(ParsedFlags::ICMP) && with_id && at + 2 <= self.frame.len();
        present.then(|| u16::from_be_bytes(get(self.frame, at)))
    }

    /// Replaces the identifier of an ICMP query or its answer.
    pub fn set_icmp_id(&mut self, id: u16) -> bool {
        if self.icmp_id().is_none() {
            return false;
        }
        self.write_transport(usize::from(self.parsed.l4) + 4, id.to_be_bytes());
        true
    }
}
