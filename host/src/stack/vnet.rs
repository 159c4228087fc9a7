//! `virtio_net_hdr` (virtio 1.2 section 5.1.6, legacy layout of 10 bytes in host byte order), as TAP with
//! `IFF_VNET_HDR` and AF_PACKET with `PACKET_VNET_HDR` put it in front of a frame.
#![forbid(unsafe_code)]

use crate::port::Offload;

/// Bytes of the header.
pub const LEN: usize = 10;

const F_NEEDS_CSUM: u8 = 1;
const F_DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_ECN: u8 = 0x80;

const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const TCP_CWR: u8 = 0x80;

/// The header's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// `VIRTIO_NET_HDR_F_*`.
    pub flags: u8,
    /// `VIRTIO_NET_HDR_GSO_*`.
    pub gso_type: u8,
    /// Bytes of Ethernet, IP and TCP headers of a super-frame.
    pub hdr_len: u16,
    /// TCP payload bytes per segment.
    pub gso_size: u16,
    /// Where the checksum starts, in bytes from the start of the frame.
    pub csum_start: u16,
    /// Where it is stored, in bytes from `csum_start`.
    pub csum_offset: u16,
}

/// A header and the checksum field that goes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// What to write in front of the frame.
    pub header: VnetHeader,
    /// Two bytes to write instead of those at this offset of the frame: the pseudo-header's sum.
    pub seed: Option<(usize, [u8; 2])>,
}

impl VnetHeader {
    /// Decodes the bytes the kernel wrote.
    pub fn from_bytes(bytes: &[u8; LEN]) -> Self {
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = *bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([h0, h1]),
            gso_size: u16::from_ne_bytes([g0, g1]),
            csum_start: u16::from_ne_bytes([s0, s1]),
            csum_offset: u16::from_ne_bytes([o0, o1]),
        }
    }

    /// The bytes the kernel reads.
    pub fn to_bytes(self) -> [u8; LEN] {
        let [h0, h1] = self.hdr_len.to_ne_bytes();
        let [g0, g1] = self.gso_size.to_ne_bytes();
        let [s0, s1] = self.csum_start.to_ne_bytes();
        let [o0, o1] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, h0, h1, g0, g1, s0, s1, o0, o1]
    }

    /// What the header says of the frame behind it.
    pub fn offload(&self) -> Offload {
        let partial_csum = (self.flags & F_NEEDS_CSUM != 0)
            .then(|| (self.csum_start, self.csum_start.saturating_add(self.csum_offset)));
        let gso = self.gso_type & !GSO_ECN;
        Offload {
            partial_csum,
            mss: if gso == GSO_TCPV4 || gso == GSO_TCPV6 { self.gso_size } else { 0 },
            v6: gso == GSO_TCPV6,
            segments: 0,
            data_valid: self.flags & (F_DATA_VALID | F_NEEDS_CSUM) != 0,
        }
    }

    /// The header for a frame that goes to the kernel.
    ///
    /// Linux takes `NEEDS_CSUM` for "this checksum is right once it is completed" and does not look at it again, but
    /// neither TAP nor AF_PACKET acts on `DATA_VALID` alone. A frame that the driver vouches for is therefore turned
    /// into one with a partial checksum; that also makes it right to forward where the sum was never completed.
    pub fn for_kernel(frame: &[u8], offload: &Offload) -> Outgoing {
        let mut out = Outgoing::default();
        let super_frame = offload.mss != 0 && (offload.segments > 1 || offload.partial_csum.is_some());
        let transport = (super_frame || offload.data_valid).then(|| Transport::find(frame)).flatten();
        if let Some((start, stuff)) = offload.partial_csum {
            out.header.flags = F_NEEDS_CSUM;
            out.header.csum_start = start;
            out.header.csum_offset = stuff.saturating_sub(start);
        } else if let Some(t) = transport.filter(|t| offload.data_valid && t.has_checksum(frame)) {
            out.header.flags = F_NEEDS_CSUM | F_DATA_VALID;
            out.header.csum_start = t.start as u16;
            out.header.csum_offset = t.csum_offset;
            out.seed = Some((t.start + usize::from(t.csum_offset), t.pseudo_sum.to_be_bytes()));
        } else if offload.data_valid {
            out.header.flags = F_DATA_VALID;
        }
        if let Some(t) = transport.filter(|t| super_frame && t.protocol == PROTO_TCP) {
            let header_len = t.start + t.header_len;
            if frame.len().saturating_sub(header_len) > usize::from(offload.mss) {
                out.header.gso_type = if t.v6 { GSO_TCPV6 } else { GSO_TCPV4 };
                out.header.gso_type |= if t.cwr { GSO_ECN } else { 0 };
                out.header.gso_size = offload.mss;
                out.header.hdr_len = header_len as u16;
            }
        }
        out
    }
}

/// Puts the right transport checksum into a frame whose checksum the driver left unfinished or vouches for, for
/// receivers that look at it.
pub fn complete_checksum(frame: &mut [u8], offload: &Offload) {
    let Outgoing { header, seed } = VnetHeader::for_kernel(frame, offload);
    if header.flags & F_NEEDS_CSUM == 0 {
        return;
    }
    let start = usize::from(header.csum_start);
    let stuff = start + usize::from(header.csum_offset);
    if let (Some((at, sum)), true) = (seed, frame.len() >= stuff + 2)
        && let Some(field) = frame.get_mut(at..at + 2)
    {
        field.copy_from_slice(&sum);
    }
    // Ethernet's padding of short frames is not covered, but it is zero.
    let mut sum = frame.get(start..).unwrap_or_default().chunks(2).fold(0u64, |sum, pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        sum + u64::from(u16::from_be_bytes([pair.first().copied().unwrap_or(0), low]))
    });
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    if let Some(field) = frame.get_mut(stuff..stuff + 2) {
        // UDP writes a sum of zero as all ones (RFC 768); for TCP both mean the same.
        let checksum = match !(sum as u16) {
            0 => 0xffff,
            n => n,
        };
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Where the TCP or UDP header of an unfragmented frame stands.
#[derive(Clone, Copy)]
struct Transport {
    v6: bool,
    protocol: u8,
    start: usize,
    header_len: usize,
    csum_offset: u16,
    pseudo_sum: u16,
    cwr: bool,
}

impl Transport {
    fn find(frame: &[u8]) -> Option<Self> {
        let u16_at = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
        let (mut at, mut ethertype) = (14, u16_at(12)?);
        while matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
            ethertype = u16_at(at + 2)?;
            at += 4;
        }
        let (v6, protocol, addresses, start, end) = match ethertype {
            0x0800 => {
                let first = *frame.get(at)?;
                let total = usize::from(u16_at(at + 2)?);
                let fragment = u16_at(at + 6)? & 0x3fff != 0;
                if first >> 4 != 4 || first & 15 < 5 || fragment {
                    return None;
                }
                let start = at + usize::from(first & 15) * 4;
                // A super-frame of 64 KiB leaves the field at 0 (Linux's "BIG TCP"): then it reaches to the end.
                let end = if total == 0 { frame.len() } else { at + total };
                (false, *frame.get(at + 9)?, at + 12..at + 20, start, end)
            }
            0x86dd => {
                let payload = usize::from(u16_at(at + 4)?);
                let end = if payload == 0 { frame.len() } else { at + 40 + payload };
                let (mut next, mut start) = (*frame.get(at + 6)?, at + 40);
                // Hop-by-hop, routing and destination options (RFC 8200 section 4); a fragment ends the search.
                while matches!(next, 0 | 43 | 60) {
                    next = *frame.get(start)?;
                    start += (usize::from(*frame.get(start + 1)?) + 1) * 8;
                }
                (true, next, at + 8..at + 40, start, end)
            }
            _ => return None,
        };
        let length = end.min(frame.len()).checked_sub(start)?;
        let (header_len, csum_offset, cwr) = match protocol {
            PROTO_TCP => {
                let header_len = usize::from(*frame.get(start + 12)? >> 4) * 4;
                (header_len, 16, *frame.get(start + 13)? & TCP_CWR != 0)
            }
            PROTO_UDP => (8, 6, false),
            _ => return None,
        };
        if header_len < 8 || length < header_len || start > usize::from(u16::MAX) - 64 {
            return None;
        }
        let mut sum = u64::from(protocol) + length as u64;
        for pair in frame.get(addresses)?.chunks_exact(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair[1]]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        Some(Self { v6, protocol, start, header_len, csum_offset, pseudo_sum: sum as u16, cwr })
    }

    /// UDP over IPv4 may leave the checksum out by writing 0 (RFC 768); that must stay so.
    fn has_checksum(&self, frame: &[u8]) -> bool {
        let at = self.start + usize::from(self.csum_offset);
        self.protocol == PROTO_TCP || frame.get(at..at + 2).is_some_and(|field| field != [0, 0])
    }
}

#[cfg(test)]
mod tests;
