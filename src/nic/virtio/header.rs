//! `struct virtio_net_hdr`: what goes with a frame (virtio 1.2 section 5.1.6).

use super::spec::header::{DATA_VALID, GSO_ECN, GSO_NONE, GSO_TCPV4, GSO_TCPV6, LEN, NEEDS_CSUM};
use crate::mem::packet::{PacketFlags, PartialCsum};
use crate::mem::row::Lengths;
use crate::mem::{Packet, Status};
use crate::nic::Offloads;
use crate::nic::rx_filter::Glance;
use crate::wire::{Family, ParsedFlags, offload, parse_super, tcp};

/// The header of a frame without offloads.
pub(super) const PLAIN: [u8; LEN] = [0; LEN];
/// The same, and what may stand in front of it.
pub(super) const WIDE_PLAIN: [u8; 16] = [0; 16];

/// Bytes of a frame's header (IEEE 802.3 clause 3); a shorter frame is none.
const ETHERNET: u32 = 14;
/// Header and frame that a device writes, at least.
pub(super) const LEAST: u32 = LEN as u32 + ETHERNET;

/// What most frames that arrive look like: the header says nothing of them, they are in one buffer, are for this station alone, and
/// not long. What is so is known from two words of header and frame.
pub(super) struct Usual {
    /// What stands in `num_buffers`, without its lowest bit, and the destination behind it: 1 is what a device shall say of one
    /// buffer (section 5.1.6.4.1), and 0 what some do.
    last: u64,
    /// Header and frame, at most.
    longest: u32,
}

impl Usual {
    /// Bytes that are looked at.
    pub const LOOK: usize = LEN + 6;

    pub fn of(glance: &Glance<'_>) -> Self {
        Self { last: glance.mac(), longest: glance.longest().saturating_add(LEN as u32) }
    }

    #[inline(always)]
    pub fn lengths(&self) -> Lengths {
        Lengths { least: LEAST, most: self.longest, skip: LEN as u32 }
    }

    #[inline(always)]
    pub fn fits(&self, front: &[u8; Self::LOOK]) -> bool {
        let [flags, gso_type, ..] = *front;
        u16::from_ne_bytes([flags, gso_type]) == 0
            && front.last_chunk().is_some_and(|last| u64::from_le_bytes(*last) & !1 == self.last)
    }
}

fn put16(header: &mut [u8; LEN], at: usize, value: u16) {
    for (byte, from) in header.iter_mut().skip(at).zip(value.to_le_bytes()) {
        *byte = from;
    }
}

/// What the device is to do with a frame; the frame is made ready for it.
///
/// # Errors
/// The status to complete the frame with: it asks for something that does not fit it, or that was not negotiated.
#[inline]
pub(super) fn for_transmit(packet: &mut Packet, offloads: Offloads) -> Result<[u8; LEN], Status> {
    if is_plain(packet) { Ok(PLAIN) } else { with_offloads(packet, packet.flags(), offloads) }
}

/// Whether there is nothing to do for a frame.
#[inline(always)]
pub(super) fn is_plain(packet: &Packet) -> bool {
    !packet.flags().intersects(PacketFlags::TX_CSUM_IP4 | PacketFlags::TX_CSUM_PARTIAL | PacketFlags::TX_TSO)
}

#[inline(never)]
fn with_offloads(packet: &mut Packet, flags: PacketFlags, offloads: Offloads) -> Result<[u8; LEN], Status> {
    let mut header = PLAIN;
    if flags.contains(PacketFlags::TX_CSUM_IP4) {
        // virtio has no assist for the IPv4 header.
        let _ = offload::fill_ipv4_header_of(packet.frame_mut());
    }
    if flags.intersects(PacketFlags::TX_TSO) {
        return super_frame(packet, flags, offloads);
    }
    if flags.contains(PacketFlags::TX_CSUM_PARTIAL) {
        let PartialCsum { start, stuff } = packet.partial_csum().ok_or(Status::BadDescriptor)?;
        if offloads.contains(Offloads::TX_CSUM) {
            // Section 5.1.6.2: NEEDS_CSUM, csum_start, csum_offset from there.
            header = [NEEDS_CSUM, GSO_NONE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            put16(&mut header, 6, start);
            put16(&mut header, 8, stuff - start);
        } else if !offload::finish_partial(packet.frame_mut(), start, stuff) {
            return Err(Status::BadDescriptor);
        }
    }
    Ok(header)
}

/// Section 5.1.6.2: gso_type, gso_size, hdr_len, and NEEDS_CSUM with the sum of the pseudo header in place.
fn super_frame(packet: &mut Packet, flags: PacketFlags, offloads: Offloads) -> Result<[u8; LEN], Status> {
    let parsed = parse_super(packet.frame());
    let v6 = flags.contains(PacketFlags::TX_TSO6);
    let (family, wanted, kind) =
        if v6 { (Family::V6, Offloads::TSO6, GSO_TCPV6) } else { (Family::V4, Offloads::TSO4, GSO_TCPV4) };
    let whole = parsed.error.is_none() && parsed.flags.contains(ParsedFlags::TCP) && !parsed.is_fragment();
    if flags.contains(PacketFlags::TX_TSO) || packet.mss() == 0 || !whole || parsed.family != family {
        return Err(Status::BadOffload);
    }
    if !offloads.contains(wanted) {
        return Err(Status::BadOffload);
    }
    let l4 = usize::from(parsed.l4);
    let len = packet.len().checked_sub(l4).ok_or(Status::BadOffload)?;
    let seed = offload::pseudo_header(&parsed, len).ok_or(Status::BadOffload)?.value();
    let at = l4 + tcp::CHECKSUM_OFFSET;
    let field = packet.frame_mut().get_mut(at..at + 2).ok_or(Status::BadOffload)?;
    field.copy_from_slice(&seed.to_be_bytes());
    // CWR in a super-frame: the device must know that only the first segment has it (RFC 3168 section 6.1.2).
    const CWR: u8 = 0x80;
    let ecn = if parsed.tcp_flags & CWR != 0 { GSO_ECN } else { 0 };
    let mut header = [NEEDS_CSUM, kind | ecn, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    put16(&mut header, 2, u16::try_from(parsed.payload).map_err(|_| Status::BadOffload)?);
    put16(&mut header, 4, packet.mss());
    put16(&mut header, 6, parsed.l4);
    put16(&mut header, 8, tcp::CHECKSUM_OFFSET as u16);
    Ok(header)
}

/// What a received frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    flags: u8,
    gso_type: u8,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
    pub buffers: u16,
}

impl Received {
    #[inline]
    pub fn read(header: &[u8; LEN]) -> Self {
        let [flags, gso_type, _, _, s0, s1, a0, a1, o0, o1, b0, b1] = *header;
        Self {
            flags,
            gso_type,
            gso_size: u16::from_le_bytes([s0, s1]),
            csum_start: u16::from_le_bytes([a0, a1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
            buffers: u16::from_le_bytes([b0, b1]),
        }
    }

    /// Nothing to do for the frame, which is in one buffer.
    #[inline(always)]
    pub fn is_usual(header: &[u8; LEN]) -> bool {
        let [flags, gso_type, .., b0, b1] = *header;
        u16::from_ne_bytes([flags, gso_type]) == 0 && u16::from_le_bytes([b0, b1]) <= 1
    }

    /// Nothing to do for the frame.
    pub fn is_plain(&self) -> bool {
        self.flags == 0 && self.gso_type == GSO_NONE
    }

    /// Several segments in one.
    pub fn is_super(&self) -> bool {
        self.gso_type != GSO_NONE
    }

    /// Gives the frame the metadata that the header promises; false if the two do not fit together, or the device was
    /// never allowed to do that.
    #[cold]
    pub fn apply(&self, packet: &mut Packet, offloads: Offloads, negotiated: Offloads) -> bool {
        let mut flags = PacketFlags::empty();
        if self.flags & (NEEDS_CSUM | DATA_VALID) != 0 && !negotiated.contains(Offloads::RX_CSUM) {
            return false;
        }
        if self.flags & NEEDS_CSUM != 0 {
            let stuff = self.csum_start.checked_add(self.csum_offset);
            let Some(stuff) = stuff.filter(|stuff| usize::from(*stuff) + 2 <= packet.len()) else {
                return false;
            };
            if offloads.contains(Offloads::RX_CSUM) {
                flags |= PacketFlags::RX_DATA_VALID;
            } else if !self.is_super() && !offload::finish_partial(packet.frame_mut(), self.csum_start, stuff) {
                return false;
            }
        } else if self.flags & DATA_VALID != 0 && offloads.contains(Offloads::RX_CSUM) {
            flags |= PacketFlags::RX_DATA_VALID;
        }
        if self.is_super() {
            let v6 = match self.gso_type & !GSO_ECN {
                GSO_TCPV4 => false,
                GSO_TCPV6 => true,
                _ => return false,
            };
            let parsed = parse_super(packet.frame());
            let family = if v6 { Family::V6 } else { Family::V4 };
            let tcp = parsed.flags.contains(ParsedFlags::TCP) && parsed.family == family && parsed.error.is_none();
            if !negotiated.contains(Offloads::LRO) || !tcp || self.gso_size == 0 {
                return false;
            }
            let payload = packet.len().saturating_sub(parsed.payload as usize);
            let segments = payload.div_ceil(usize::from(self.gso_size)).max(1);
            flags |= if v6 { PacketFlags::RX_LRO6 } else { PacketFlags::RX_LRO4 } | PacketFlags::RX_DATA_VALID;
            packet.set_segments(self.gso_size, u16::try_from(segments).unwrap_or(u16::MAX));
        }
        packet.set_flags(flags);
        true
    }
}
