//! Descriptors: 16 bytes, in memory that the device reads and writes.
//!
//! Receive: extended descriptors (82574 datasheet section 7.1.4). Transmit: extended data and context descriptors
//! (sections 7.2.10, 7.3).

use core::sync::atomic::Ordering;

use crate::mem::packet::{PacketFlags, PartialCsum};
use crate::mem::region::Shared;
use crate::mem::{Packet, Status};
use crate::nic::Offloads;
use crate::wire::{Family, Parsed, ParsedFlags, offload, parse, parse_super, protocol, tcp, udp};

/// Bytes of a descriptor.
pub(super) const LEN: usize = 16;

/// What the device wrote into a receive descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RxDone {
    pub status: u32,
    pub len: u16,
}

/// Extended status and errors (section 7.1.4.2).
pub(super) mod rx {
    pub const DONE: u32 = 1 << 0;
    pub const END: u32 = 1 << 1;
    /// Checksums were not looked at.
    pub const IGNORE: u32 = 1 << 2;
    pub const UDP_CHECKED: u32 = 1 << 4;
    pub const TCP_CHECKED: u32 = 1 << 5;
    pub const IP_CHECKED: u32 = 1 << 6;
    pub const TRANSPORT_ERROR: u32 = 1 << 29;
    pub const IP_ERROR: u32 = 1 << 30;
    /// CRC or alignment, symbol, sequence, carrier extension, data.
    pub const FRAME_ERRORS: u32 = 1 << 24 | 1 << 25 | 1 << 26 | 1 << 28 | 1 << 31;
}

/// Gives an empty buffer to the device.
pub(super) fn write_rx(mem: &Shared<'_>, index: usize, iova: u64) {
    mem.store_u64(LEN * index, iova.to_le(), Ordering::Relaxed);
    // DD is in here: it must be clear before the tail moves.
    mem.store_u64(LEN * index + 8, 0, Ordering::Relaxed);
}

/// What the device wrote, if it has.
pub(super) fn read_rx(mem: &Shared<'_>, index: usize) -> Option<RxDone> {
    // Acquire: the status before the length and the frame.
    let status = u32::from_le(mem.load_u32(LEN * index + 8, Ordering::Acquire)?);
    if status & rx::DONE == 0 {
        return None;
    }
    let len = u16::from_le(mem.load_u16(LEN * index + 12, Ordering::Relaxed)?);
    Some(RxDone { status, len })
}

impl RxDone {
    /// What the device vouches for.
    pub fn flags(self) -> PacketFlags {
        let mut flags = PacketFlags::empty();
        if self.status & rx::IGNORE != 0 {
            return flags;
        }
        if self.status & rx::IP_CHECKED != 0 {
            flags |= PacketFlags::RX_IP_CHECKED;
            if self.status & rx::IP_ERROR != 0 {
                // Nothing behind a wrong header is vouched for.
                return flags;
            }
            flags |= PacketFlags::RX_IP_VALID;
        }
        let looked = self.status & (rx::TCP_CHECKED | rx::UDP_CHECKED) != 0;
        if looked && self.status & rx::TRANSPORT_ERROR == 0 {
            flags |= PacketFlags::RX_DATA_VALID;
        }
        flags
    }
}

/// Commands of data descriptors (section 7.2.10.3), in the upper byte of the third word; with DEXT and IFCS always.
const TYPE_DATA: u32 = 1 << 20;
const END_OF_PACKET: u32 = 1 << 24;
const INSERT_FCS: u32 = 1 << 25;
const SEGMENT: u32 = 1 << 26;
const REPORT: u32 = 1 << 27;
const EXTENDED: u32 = 1 << 29;
/// Commands of context descriptors (section 7.2.10.2).
const CONTEXT_TCP: u32 = 1 << 24;
const CONTEXT_IP: u32 = 1 << 25;
/// Options, in the second byte of the fourth word: insert IP, transport checksum.
const OPTION_IP: u32 = 1 << 8;
const OPTION_TRANSPORT: u32 = 1 << 9;
/// Descriptor done.
const TX_DONE: u32 = 1;
/// PAYLEN has 20 bits, HDRLEN and the offsets of a context have 8 (section 7.2.10.2).
const PAYLOAD_MAX: usize = (1 << 20) - 1;
const OFFSET_MAX: usize = 255;
/// Header of a super-frame at most (section 7.3.6.1).
const HEADER_MAX: usize = 240;

/// A context: what the device is to do with the frames that follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Context([u32; 4]);

/// How a frame is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TxPlan {
    /// The context that it needs, if any.
    pub context: Option<Context>,
    command: u32,
    options: u32,
}

impl Context {
    pub fn write(&self, mem: &Shared<'_>, index: usize) {
        let [a, b, c, d] = self.0;
        let at = LEN * index;
        mem.store_u64(at, (u64::from(a) | u64::from(b) << 32).to_le(), Ordering::Relaxed);
        mem.store_u64(at + 8, (u64::from(c) | u64::from(d) << 32).to_le(), Ordering::Relaxed);
    }
}

/// Writes a data descriptor; `last` ends the frame and asks for a report.
pub(super) fn write_tx(mem: &Shared<'_>, index: usize, iova: u64, len: u32, plan: &TxPlan, last: bool) {
    let end = if last { END_OF_PACKET | REPORT } else { 0 };
    let command = TYPE_DATA | INSERT_FCS | EXTENDED | plan.command | end | len;
    mem.store_u64(LEN * index, iova.to_le(), Ordering::Relaxed);
    let rest = u64::from(command) | u64::from(plan.options) << 32;
    mem.store_u64(LEN * index + 8, rest.to_le(), Ordering::Relaxed);
}

/// Whether the device has reported the descriptor.
pub(super) fn is_sent(mem: &Shared<'_>, index: usize) -> bool {
    mem.load_u32(LEN * index + 12, Ordering::Acquire).is_some_and(|word| u32::from_le(word) & TX_DONE != 0)
}

/// What the device is to do with a frame; the frame is made ready for it.
///
/// # Errors
/// The status to complete the frame with: what it asks for does not fit it, or is switched off.
pub(super) fn plan(packet: &mut Packet, offloads: Offloads) -> Result<TxPlan, Status> {
    let flags = packet.flags();
    if !flags.intersects(PacketFlags::TX_CSUM_IP4 | PacketFlags::TX_CSUM_PARTIAL | PacketFlags::TX_TSO) {
        return Ok(TxPlan::default());
    }
    if flags.intersects(PacketFlags::TX_TSO) {
        super_frame(packet, flags, offloads)
    } else {
        checksums(packet, flags, offloads)
    }
}

fn byte(value: usize) -> u32 {
    (value & 0xff) as u32
}

/// First two words of a context (section 7.2.10.2): where the IP and transport checksums start, go and end.
fn context_offsets(parsed: &Parsed, start: usize, stuff: usize) -> [u32; 2] {
    let l3 = usize::from(parsed.l3);
    let ip = if parsed.family == Family::V4 {
        byte(l3) | byte(l3 + 10) << 8 | (u32::from(parsed.l4).saturating_sub(1)) << 16
    } else {
        byte(l3)
    };
    [ip, byte(start) | byte(stuff) << 8]
}

fn checksums(packet: &mut Packet, flags: PacketFlags, offloads: Offloads) -> Result<TxPlan, Status> {
    let parsed = parse(packet.frame());
    let known = parsed.error.is_none() && !parsed.is_fragment() && usize::from(parsed.l4) <= OFFSET_MAX;
    let hardware = offloads.contains(Offloads::TX_CSUM) && known;
    let mut plan = TxPlan::default();
    let mut word = EXTENDED;
    let (mut start, mut stuff) = (usize::from(parsed.l4), usize::from(parsed.l4));
    if flags.contains(PacketFlags::TX_CSUM_IP4) {
        if hardware && parsed.family == Family::V4 && parsed.l4 != 0 {
            plan.options |= OPTION_IP;
            word |= CONTEXT_IP;
        } else {
            let _ = offload::fill_ipv4_header_of(packet.frame_mut());
        }
    }
    if flags.contains(PacketFlags::TX_CSUM_PARTIAL) {
        let PartialCsum { start: from, stuff: to } = packet.partial_csum().ok_or(Status::BadDescriptor)?;
        let (from_at, to_at) = (usize::from(from), usize::from(to));
        let l4 = usize::from(parsed.l4);
        let is_tcp = parsed.protocol == protocol::TCP && to_at == l4 + tcp::CHECKSUM_OFFSET;
        let is_udp = parsed.protocol == protocol::UDP && to_at == l4 + udp::CHECKSUM_OFFSET;
        // The device sums to the end of the frame: no padding may stand there.
        let whole = parsed.end() == packet.len();
        if hardware && from_at == l4 && (is_tcp || is_udp) && whole && to_at <= OFFSET_MAX {
            plan.options |= OPTION_TRANSPORT;
            word |= if is_tcp { CONTEXT_TCP } else { 0 };
            if parsed.family == Family::V4 {
                word |= CONTEXT_IP;
            }
            (start, stuff) = (from_at, to_at);
        } else if !offload::finish_partial(packet.frame_mut(), from, to) {
            return Err(Status::BadDescriptor);
        }
    }
    if plan.options != 0 {
        let [ip, transport] = context_offsets(&parsed, start, stuff);
        plan.context = Some(Context([ip, transport, word, 0]));
    }
    Ok(plan)
}

/// Section 7.3: lengths zero, the IPv4 header checksum zero, the pseudo header's sum without a length.
fn super_frame(packet: &mut Packet, flags: PacketFlags, offloads: Offloads) -> Result<TxPlan, Status> {
    let parsed = parse_super(packet.frame());
    let v6 = flags.contains(PacketFlags::TX_TSO6);
    let (family, wanted) = if v6 { (Family::V6, Offloads::TSO6) } else { (Family::V4, Offloads::TSO4) };
    let header = parsed.payload as usize;
    let tcp_segment = parsed.error.is_none() && parsed.flags.contains(ParsedFlags::TCP) && !parsed.is_fragment();
    let mss = packet.mss();
    let payload = packet.len().checked_sub(header).ok_or(Status::BadOffload)?;
    if flags.contains(PacketFlags::TX_TSO)
        || mss == 0
        || !tcp_segment
        || parsed.family != family
        || !offloads.contains(wanted)
        || header > HEADER_MAX
        || payload > PAYLOAD_MAX
    {
        return Err(Status::BadOffload);
    }
    let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let seed = offload::pseudo_header(&parsed, 0).ok_or(Status::BadOffload)?.value();
    let frame = packet.frame_mut();
    let mut put = |at: usize, value: u16| -> Result<(), Status> {
        let field = frame.get_mut(at..at + 2).ok_or(Status::BadOffload)?;
        field.copy_from_slice(&value.to_be_bytes());
        Ok(())
    };
    put(l4 + tcp::CHECKSUM_OFFSET, seed)?;
    if v6 {
        // Payload length (RFC 8200 section 3).
        put(l3 + 4, 0)?;
    } else {
        // Total length, header checksum (RFC 791 section 3.1).
        put(l3 + 2, 0)?;
        put(l3 + 10, 0)?;
    }
    let [ip, transport] = context_offsets(&parsed, l4, l4 + tcp::CHECKSUM_OFFSET);
    let command = EXTENDED | SEGMENT | CONTEXT_TCP | if v6 { 0 } else { CONTEXT_IP } | payload as u32;
    let context = Context([ip, transport, command, byte(header) << 8 | u32::from(mss) << 16]);
    let options = OPTION_TRANSPORT | if v6 { 0 } else { OPTION_IP };
    Ok(TxPlan { context: Some(context), command: SEGMENT, options })
}
