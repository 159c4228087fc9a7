//! Frames: one parse that everything downstream uses, views to read and change headers in place, checksums, and the
//! work that a NIC does for the stack (partial checksums, TCP segmentation).
//!
//! [`parse`] looks at a frame once and returns offsets and key fields; it never fails, but says what is wrong with
//! a malformed frame. Everything here takes byte slices and works on any input without panicking.
#![forbid(unsafe_code)]

pub mod arp;
pub mod build;
pub mod checksum;
mod crc32c;
pub mod divide;
pub mod ethernet;
pub(crate) mod extensions;
mod fixed;
mod hash;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod offload;
mod parse;
mod parsed;
pub mod rewrite;
pub mod tcp;
pub mod tso;
pub mod udp;

pub use hash::{flow_hash, shard_of};
pub use parse::{parse, parse_head, parse_inner, parse_into, parse_super};
pub use parsed::{Ends, Family, Fragment, ParseError, Parsed, ParsedFlags, VLAN_MAX};

/// EtherTypes (IANA, IEEE 802 numbers).
pub mod ethertype {
    /// Internet protocol, version 4.
    pub const IPV4: u16 = 0x0800;
    /// Address resolution.
    pub const ARP: u16 = 0x0806;
    /// Customer VLAN tag, IEEE 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// Internet protocol, version 6.
    pub const IPV6: u16 = 0x86dd;
    /// Service VLAN tag, IEEE 802.1ad.
    pub const SVLAN: u16 = 0x88a8;
}

/// IP protocol numbers (IANA, assigned Internet protocol numbers).
pub mod protocol {
    /// IPv6 hop-by-hop options (RFC 8200 section 4.3).
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header (RFC 4302).
    pub const AH: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6: nothing follows.
    pub const NO_NEXT: u8 = 59;
    /// IPv6 destination options.
    pub const DEST_OPTS: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// What [`super::Parsed::protocol`] says for a frame that is not IP (255 is reserved by IANA).
    pub const NONE: u8 = 255;
}

#[cfg(test)]
pub(crate) mod tests;
