//! Putting one frame into the receive buffers of a loopback NIC, with what its offload metadata asks for.

use super::port::{Inbox, Port};
use crate::mem::packet::{Packet, PacketFlags, PartialCsum};
use crate::mem::{Status, wire_ring};
use crate::nic::Offloads;
use crate::wire::{Family, offload, parse_super, tso::Segmenter};

/// A frame as its sender hands it over.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub frame: &'a [u8],
    pub csum: Option<PartialCsum>,
    /// The IPv4 header checksum is to be computed.
    pub ipv4_csum: bool,
    /// Payload bytes per segment of a super-frame; 0 = ordinary.
    pub mss: u16,
}

impl<'a> Outgoing<'a> {
    /// What a packet in transmit form asks for. The error is the status to complete it with.
    #[inline(always)]
    pub fn of(packet: &'a Packet) -> Result<Self, Status> {
        let flags = packet.flags();
        let csum = packet.partial_csum();
        if flags.contains(PacketFlags::TX_CSUM_PARTIAL) && csum.is_none() {
            return Err(Status::BadDescriptor);
        }
        let super_frame = flags.intersects(PacketFlags::TX_TSO);
        if super_frame && (packet.mss() == 0 || flags.contains(PacketFlags::TX_TSO)) {
            return Err(Status::BadOffload);
        }
        Ok(Self {
            frame: packet.frame(),
            csum,
            ipv4_csum: flags.contains(PacketFlags::TX_CSUM_IP4),
            mss: if super_frame { packet.mss() } else { 0 },
        })
    }

    /// How to cut it, if it is a super-frame; the error is the status to complete it with.
    pub fn segmenter(&self) -> Result<Option<(Segmenter, bool)>, Status> {
        if self.mss == 0 {
            return Ok(None);
        }
        let parsed = parse_super(self.frame);
        let segmenter = Segmenter::new(self.frame, &parsed, self.mss).ok_or(Status::BadOffload)?;
        Ok(Some((segmenter, parsed.family == Family::V6)))
    }

    /// Its metadata on the wire to a client.
    pub fn meta(&self, v6: bool) -> wire_ring::FrameMeta {
        wire_ring::FrameMeta { csum: self.csum, mss: self.mss, v6, timestamp_ns: 0 }
    }
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// The whole frame is with the receiver.
    Done,
    /// Nothing is posted (any more); try again later, with the same `cut`.
    NoBuffer,
    /// It cannot be sent at all.
    Refused(Status),
}

/// Copies `out` into posted buffers of `inbox`, which is `port`'s; the queue has them once they are handed over. `cut`
/// counts the segments of a super-frame that are delivered already; it is 0 for a new frame and again when the frame is
/// done.
#[inline(always)]
pub(super) fn deliver(inbox: &mut Inbox, port: &Port, out: Outgoing<'_>, cut: &mut usize) -> Delivered {
    if out.mss != 0 {
        return deliver_super(inbox, port, &out, cut);
    }
    deliver_with(inbox, out.frame, |buffer| finish_checksums(buffer, out.csum, out.ipv4_csum, port.offloads()))
}

/// As [`deliver`], a frame that asks for nothing.
#[inline(always)]
pub(super) fn deliver_plain(inbox: &mut Inbox, frame: &[u8]) -> Delivered {
    deliver_with(inbox, frame, |_| {})
}

#[inline(always)]
fn deliver_with(inbox: &mut Inbox, frame: &[u8], finish: impl FnOnce(&mut Packet)) -> Delivered {
    let Some(buffer) = inbox.take() else {
        return Delivered::NoBuffer;
    };
    if buffer.write(frame) {
        finish(buffer);
    } else {
        buffer.set_status(Status::TooLong);
    }
    Delivered::Done
}

/// As [`deliver`], a super-frame.
#[inline(never)]
fn deliver_super(inbox: &mut Inbox, port: &Port, out: &Outgoing<'_>, cut: &mut usize) -> Delivered {
    let offloads = port.offloads();
    let (segmenter, v6) = match out.segmenter() {
        Ok(Some(segmenter)) => segmenter,
        Ok(None) => return Delivered::Refused(Status::BadOffload),
        Err(status) => return Delivered::Refused(status),
    };
    if *cut == 0 && merges(offloads) && segmenter.segments() > 1 {
        let Some(buffer) = inbox.take() else {
            return Delivered::NoBuffer;
        };
        if buffer.write(out.frame) && merge(buffer, &segmenter, out.mss, v6) {
            // As many bytes as a run of others: who receives can begin with it.
            inbox.hand_over();
            return Delivered::Done;
        }
        buffer.reset();
        inbox.untake();
    }
    while *cut < segmenter.segments() {
        let Some(buffer) = inbox.take() else {
            return Delivered::NoBuffer;
        };
        let len = segmenter.segment_len(*cut).unwrap_or(0);
        let written = buffer.set_len(len) && segmenter.write(out.frame, *cut, buffer.frame_mut()).is_some();
        if written {
            vouch(buffer, offloads);
        } else {
            buffer.reset();
            buffer.set_status(Status::TooLong);
        }
        *cut += 1;
    }
    *cut = 0;
    Delivered::Done
}

/// Whether a receiver with these assists takes super-frames: it must not look at their checksums.
pub(super) fn merges(offloads: Offloads) -> bool {
    offloads.contains(Offloads::LRO | Offloads::RX_CSUM)
}

/// Turns a super-frame in a receive buffer into what a NIC that merges segments delivers. False, with the lengths
/// and flags undefined, if its IP length field cannot hold its length.
pub(super) fn merge(buffer: &mut Packet, segmenter: &Segmenter, mss: u16, v6: bool) -> bool {
    if !segmenter.set_super_lengths(buffer.frame_mut()) {
        return false;
    }
    let kind = if v6 { PacketFlags::RX_LRO6 } else { PacketFlags::RX_LRO4 | PacketFlags::RX_IP_CHECKED };
    let valid = if v6 { PacketFlags::empty() } else { PacketFlags::RX_IP_VALID };
    buffer.set_flags(kind | valid | PacketFlags::RX_DATA_VALID);
    buffer.set_segments(mss, u16::try_from(segmenter.segments()).unwrap_or(u16::MAX));
    true
}

/// Does, in the receive buffer, what the sender left to the NIC; what stays undone is vouched for.
pub(super) fn finish_checksums(buffer: &mut Packet, csum: Option<PartialCsum>, ipv4_csum: bool, offloads: Offloads) {
    let mut flags = PacketFlags::empty();
    if ipv4_csum && offload::fill_ipv4_header_of(buffer.frame_mut()) && offloads.contains(Offloads::RX_CSUM) {
        flags |= PacketFlags::RX_IP_CHECKED | PacketFlags::RX_IP_VALID;
    }
    if let Some(PartialCsum { start, stuff }) = csum {
        if offloads.contains(Offloads::RX_CSUM) {
            flags |= PacketFlags::RX_DATA_VALID;
        } else {
            let _ = offload::finish_partial(buffer.frame_mut(), start, stuff);
        }
    }
    buffer.set_flags(flags);
}

/// Vouches for checksums that were made or looked at here.
pub(super) fn vouch(buffer: &mut Packet, offloads: Offloads) {
    if offloads.contains(Offloads::RX_CSUM) {
        let ip = PacketFlags::RX_IP_CHECKED | PacketFlags::RX_IP_VALID;
        buffer.set_flags(ip | PacketFlags::RX_DATA_VALID);
    }
}
