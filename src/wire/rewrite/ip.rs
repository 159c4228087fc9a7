//! Fields of the link and network layers.

use super::Edit;
use crate::wire::ethernet::{HEADER_LEN, TAG_LEN};
use crate::wire::fixed::get;
use crate::wire::parsed::{Family, ParsedFlags};
use crate::wire::{ipv4, ipv6};

/// The ECN bits of a type of service (RFC 3168 section 5).
const ECN: u8 = 0x03;

impl Edit<'_> {
    /// Replaces the source address; IPv4 in the first four bytes.
    pub fn set_src(&mut self, addr: [u8; 16]) -> bool {
        let at = match self.parsed.family {
            Family::V4 => ipv4::SRC_OFFSET,
            Family::V6 => ipv6::SRC_OFFSET,
            Family::None => return false,
        };
        let addr = self.replace_address(at, addr, self.pseudo.0);
        self.parsed.src = addr;
        true
    }

    /// Replaces the destination address; IPv4 in the first four bytes.
    pub fn set_dst(&mut self, addr: [u8; 16]) -> bool {
        let at = match self.parsed.family {
            Family::V4 => ipv4::DST_OFFSET,
            Family::V6 => ipv6::DST_OFFSET,
            Family::None => return false,
        };
        let addr = self.replace_address(at, addr, self.pseudo.1);
        self.parsed.dst = addr;
        true
    }

    /// Writes an address at an offset of the network header and returns it as [`crate::wire::Parsed`] has it.
    fn replace_address(&mut self, offset: usize, addr: [u8; 16], in_pseudo: bool) -> [u8; 16] {
        let at = usize::from(self.parsed.l3) + offset;
        if self.parsed.family == Family::V6 {
            let old: [u8; 16] = get(self.frame, at);
            self.write_ip(at, addr);
            if in_pseudo {
                self.update_transport(0, &old, &addr);
            }
            return addr;
        }
        let old: [u8; 4] = get(self.frame, at);
        let new: [u8; 4] = get(&addr, 0);
        self.write_ip(at, new);
        if in_pseudo {
            self.update_transport(0, &old, &new);
        }
        let [a, b, c, d] = new;
        [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    }

    /// Replaces the time to live, or hop limit.
    pub fn set_ttl(&mut self, ttl: u8) -> bool {
        let l3 = usize::from(self.parsed.l3);
        match self.parsed.family {
            // RFC 791 section 3.1: it shares a checksummed word with the protocol.
            Family::V4 => {
                let [_, protocol] = get(self.frame, l3 + 8);
                self.write_ip(l3 + 8, [ttl, protocol]);
            }
            Family::V6 => self.write_ip(l3 + 7, [ttl]),
            Family::None => return false,
        }
        self.parsed.ttl = ttl;
        true
    }

    /// Raises the time to live to `min` where it is lower: pf's `min-ttl`.
    pub fn raise_ttl(&mut self, min: u8) -> bool {
        self.parsed.ttl < min && self.set_ttl(min)
    }

    /// Replaces the type of service or traffic class, all but the ECN bits: pf's `set-tos`.
    pub fn set_tos(&mut self, tos: u8) -> bool {
        let l3 = usize::from(self.parsed.l3);
        let tos = tos & !ECN | self.parsed.tos & ECN;
        match self.parsed.family {
            Family::V4 => {
                let [version] = get(self.frame, l3);
                self.write_ip(l3, [version, tos]);
            }
            Family::V6 => {
                let [_, label] = get(self.frame, l3);
                self.write_ip(l3, [6 << 4 | tos >> 4, tos << 4 | label & 15]);
            }
            Family::None => return false,
        }
        self.parsed.tos = tos;
        true
    }

    /// Clears IPv4's don't-fragment bit: pf's `no-df`.
    pub fn clear_df(&mut self) -> bool {
        if !self.parsed.flags.contains(ParsedFlags::DONT_FRAGMENT) {
            return false;
        }
        let at = usize::from(self.parsed.l3) + 6;
        let [high, low] = get(self.frame, at);
        self.write_ip(at, [high & !0x40, low]);
        self.parsed.flags.remove(ParsedFlags::DONT_FRAGMENT);
        true
    }

    /// Replaces IPv4's identification; not a fragment's, which would tear its datagram: pf's `random-id`.
    pub fn set_ip_id(&mut self, id: u16) -> bool {
        if self.parsed.family != Family::V4 || self.parsed.is_fragment() {
            return false;
        }
        self.write_ip(usize::from(self.parsed.l3) + 4, id.to_be_bytes());
        self.parsed.fragment.id = u32::from(id);
        true
    }

    /// Replaces tag control information (priority, VLAN identifier) of VLAN tag number `index`, outermost first.
    pub fn set_vlan(&mut self, index: usize, tci: u16) -> bool {
        if index >= usize::from(self.parsed.vlan_count) || self.outer.is_some() {
            return false;
        }
        let Some(known) = self.parsed.vlans.get_mut(index) else {
            return false;
        };
        *known = tci;
        self.write(HEADER_LEN + TAG_LEN * index, tci.to_be_bytes());
        true
    }

    /// Replaces the identification of an IPv4 fragment whose datagram changes as a whole.
    pub(crate) fn set_datagram_id(&mut self, id: u16) {
        if self.parsed.family == Family::V4 {
            self.write_ip(usize::from(self.parsed.l3) + 4, id.to_be_bytes());
            self.parsed.fragment.id = u32::from(id);
        }
    }
}
