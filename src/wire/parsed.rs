//! What a parse finds.

use bitflags::bitflags;

use super::protocol;

/// Most VLAN tags that are looked through; more make the frame malformed.
pub const VLAN_MAX: usize = 4;

/// Address family of a frame's network layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Family {
    /// Not IP.
    #[default]
    None = 0,
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

/// Why a frame is malformed. The number is the drop reason of pf (`PFRES_*`), or the NIC's own, that goes with it
/// (`WEIR_DROP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ParseError {
    /// A header's own length or version contradicts its surroundings.
    BadOffset = 1,
    /// Fragment fields that cannot be right (RFC 1858, RFC 3128, RFC 8200 section 4.5).
    Fragment = 2,
    /// The frame ends inside a header, or before the length that a header gives.
    Short = 3,
    /// Too many VLAN tags, or a jumbogram.
    Normalize = 4,
    /// An IPv6 type 0 routing header (RFC 5095), or an extension header chain that is too long.
    IpOption = 8,
    /// Shorter than an Ethernet header.
    Runt = 17,
}

bitflags! {
    /// Facts about a frame.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct ParsedFlags: u16 {
        /// Destination is a multicast address, broadcast included.
        const MULTICAST = 1 << 0;
        /// Destination is ff:ff:ff:ff:ff:ff.
        const BROADCAST = 1 << 1;
        /// IPv4 options, or IPv6 hop-by-hop options, destination options or a routing header.
        const IP_OPTIONS = 1 << 2;
        /// Part of a fragmented datagram.
        const FRAGMENT = 1 << 3;
        /// Ports are known (TCP, UDP, SCTP).
        const PORTS = 1 << 4;
        /// A TCP header was read.
        const TCP = 1 << 5;
        /// ICMP or ICMPv6 type and code are known.
        const ICMP = 1 << 6;
        /// An ARP packet for Ethernet and IPv4 was read.
        const ARP = 1 << 7;
        /// IPv4: don't fragment.
        const DONT_FRAGMENT = 1 << 8;
        /// An ICMP or ICMPv6 error, whose payload is the packet it is about.
        const ICMP_ERROR = 1 << 9;
        /// Bytes follow the network layer's length.
        const PADDED = 1 << 10;
        /// IPv6: a routing header, which pf lets pass with `allow-opts` only.
        const ROUTING_HEADER = 1 << 11;
    }
}

/// Fragmentation fields (RFC 791 section 3.1, RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Fragment {
    /// Identification; 16 bits for IPv4. Also set for an IPv4 packet that is not fragmented.
    pub id: u32,
    /// Where this fragment's payload belongs, in bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

/// A frame's offsets and key fields. Offsets are bytes from the start of the frame. Numbers are host order.
///
/// Of a malformed frame ([`Parsed::error`]), the fields in front of the fault are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Parsed {
    /// Source address; IPv4 in the first four bytes, the rest zero. ARP: sender.
    pub src: [u8; 16],
    /// Destination address, the same way. ARP: target.
    pub dst: [u8; 16],
    /// Tag control information of the first [`Parsed::vlan_count`] VLAN tags, outermost first.
    pub vlans: [u16; VLAN_MAX],
    // What is the same for most frames stands together: one store writes it.
    /// EtherType behind the VLAN tags; 1500 and less is an IEEE 802.3 length.
    pub ethertype: u16,
    /// Start of the network header: behind Ethernet and VLAN headers.
    pub l3: u16,
    /// Start of the transport header; 0 when there is none, as in all but the first fragment.
    pub l4: u16,
    /// What is wrong, if anything.
    pub error: Option<ParseError>,
    /// IPv4, IPv6 or neither.
    pub family: Family,
    /// IP protocol behind IPv6 extension headers; [`protocol::NONE`] if not IP.
    pub protocol: u8,
    /// Number of VLAN tags.
    pub vlan_count: u8,
    /// ICMP type, with [`ParsedFlags::ICMP`].
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// TCP flags, FIN in the lowest bit, with [`ParsedFlags::TCP`].
    pub tcp_flags: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Destination port.
    pub dst_port: u16,
    /// Source port, with [`ParsedFlags::PORTS`].
    pub src_port: u16,
    /// Facts.
    pub flags: ParsedFlags,
    /// ARP operation (RFC 826), with [`ParsedFlags::ARP`].
    pub arp_op: u16,
    /// Fragmentation.
    pub fragment: Fragment,
    /// Start of what the innermost header that was read carries.
    pub payload: u32,
    /// Length of that, in bytes, without padding.
    pub payload_len: u32,
}

const _: () = assert!(size_of::<Parsed>() == 80);

/// Who speaks to whom with TCP or UDP over IPv4, in numbers that are at hand when a frame has just been parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Source and destination address as they stand in the header, in little endian order.
    pub addresses: u64,
    /// Ports: the destination's are the lower half.
    pub ports: u32,
    /// TCP or UDP.
    pub protocol: u8,
}

impl Default for Parsed {
    fn default() -> Self {
        Self {
            src: [0; 16],
            dst: [0; 16],
            ethertype: 0,
            vlans: [0; VLAN_MAX],
            flags: ParsedFlags::empty(),
            l3: 0,
            l4: 0,
            src_port: 0,
            dst_port: 0,
            arp_op: 0,
            vlan_count: 0,
            family: Family::None,
            protocol: protocol::NONE,
            tcp_flags: 0,
            icmp_type: 0,
            icmp_code: 0,
            ttl: 0,
            tos: 0,
            error: None,
            fragment: Fragment::default(),
            payload: 0,
            payload_len: 0,
        }
    }
}

impl Parsed {
    /// Part of a fragmented datagram, the first part or another.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.flags.contains(ParsedFlags::FRAGMENT)
    }

    /// Part of a fragmented datagram that does not begin with the transport header.
    #[must_use]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.offset != 0
    }

    /// End of the network layer's packet: what follows is padding.
    #[must_use]
    pub fn end(&self) -> usize {
        self.payload as usize + self.payload_len as usize
    }
}
