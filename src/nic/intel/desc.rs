//! Descriptors: 16 bytes, in memory that the device reads and writes.
//!
//! Receive: extended descriptors (82574 datasheet section 7.1.4), which the I210's kin call advanced ones (I210 datasheet
//! section 7.1.4.2) and lay out alike. Transmit: data and context descriptors, whose addresses and flags are alike and whose
//! contexts are each family's own.

use core::sync::atomic::Ordering;

use super::family::Family;
use crate::mem::packet::{PacketFlags, PartialCsum};
use crate::mem::rows::{Entry, OwnedRows};
use crate::mem::{Packet, Status};
use crate::nic::Offloads;
use crate::wire::{self, ParsedFlags, offload, parse, parse_super, protocol, tcp, udp};

/// Bytes of a descriptor.
pub(super) const LEN: usize = 16;

/// What the device wrote into a receive descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RxDone {
    pub status: u32,
    pub len: u16,
}

/// Checksums that were not looked at, or are wrong.
const ODD: u32 = rx::IGNORE | rx::IP_ERROR | rx::TRANSPORT_ERROR;

/// What a device that found nothing wrong vouches for, by what it looked at: UDP, TCP, IP.
pub(super) struct UsualFlags([PacketFlags; 8]);

impl UsualFlags {
    #[inline(always)]
    pub fn of(&self, status: u32) -> PacketFlags {
        let looked = status >> rx::UDP_CHECKED.trailing_zeros();
        self.0.get(looked as usize & 7).copied().unwrap_or_default()
    }
}

const NOTHING: UsualFlags = UsualFlags([PacketFlags::empty(); 8]);
const VOUCHED: UsualFlags = {
    let data = PacketFlags::RX_DATA_VALID;
    let ip = PacketFlags::RX_IP_CHECKED.union(PacketFlags::RX_IP_VALID);
    let both = ip.union(data);
    UsualFlags([PacketFlags::empty(), data, data, data, ip, both, both, both])
};
const _: () = assert!(rx::UDP_CHECKED << 1 == rx::TCP_CHECKED && rx::TCP_CHECKED << 1 == rx::IP_CHECKED);

/// What it vouches for, if that is asked for.
pub(super) fn usual_flags(vouches: bool) -> &'static UsualFlags {
    if vouches { &VOUCHED } else { &NOTHING }
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
}

/// One of them.
pub(super) type Descriptor<'a> = Entry<'a, LEN, 8>;
/// A ring of them, with its memory.
pub(super) type OwnedDescriptors = OwnedRows<LEN, 8>;

/// Gives an empty buffer to the device.
#[inline]
pub(super) fn write_rx(at: Descriptor<'_>, iova: u64) {
    at.store_u64::<0>(iova.to_le(), Ordering::Relaxed);
    // DD is in here: it must be clear before the tail moves.
    at.store_u64::<8>(0, Ordering::Relaxed);
}

/// What the device wrote, if it has.
#[inline(always)]
pub(super) fn read_rx(at: Descriptor<'_>) -> RxDone {
    // Acquire: status and length in one word before the frame.
    let word = u64::from_le(at.load_u64::<8>(Ordering::Acquire));
    RxDone { status: word as u32, len: (word >> 32) as u16 }
}

/// How many bytes more than `least` the device wrote, if that is a whole frame with nothing wrong with it, of whose checksums it says
/// no more than that they are right; else a number of more than 32 bits. And the status.
#[inline(always)]
pub(super) fn read_usual(at: Descriptor<'_>, errors: u32, least: u32) -> (u64, u32) {
    let (checked, right) = (rx::DONE | rx::END | errors | ODD, rx::DONE | rx::END);
    // Acquire: status and length in one word before the frame.
    let word = u64::from_le(at.load_u64::<8>(Ordering::Acquire));
    let said = word & (u64::from(checked) | 0xffff << 32);
    // Whatever is left of the status is above the rest of the length.
    (said.wrapping_sub(u64::from(right) | u64::from(least) << 32).rotate_left(32), word as u32)
}

impl RxDone {
    /// The device has written it.
    #[inline(always)]
    pub fn is_there(self) -> bool {
        self.status & rx::DONE != 0
    }

    /// It has, and it is the end of a frame with nothing wrong with it.
    #[inline(always)]
    pub fn is_good_end(self, errors: u32) -> bool {
        self.status & (rx::DONE | rx::END | errors) == rx::DONE | rx::END
    }

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

/// Commands that every family has in the same place (sections 7.2.10.3; I210: 7.2.2.3.5).
const END_OF_PACKET: u32 = 1 << 24;
const REPORT: u32 = 1 << 27;
/// Options, in the second byte of the fourth word: insert IP, transport checksum.
const OPTION_IP: u32 = 1 << 8;
const OPTION_TRANSPORT: u32 = 1 << 9;
/// Descriptor done.
const TX_DONE: u32 = 1;

/// A context: what the device is to do with the frames that follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Context(pub [u32; 4]);

/// How a frame is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TxPlan {
    /// The context that it needs, if any.
    pub context: Option<Context>,
    /// The third word of its data descriptors, without a length; the fourth.
    pub command: u32,
    pub options: u32,
}

/// What the device is to finish in a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// Where the IP and the transport header begin, and where the transport checksum goes.
    pub l3: usize,
    pub l4: usize,
    pub stuff: usize,
    /// Bytes of the frame.
    pub len: usize,
    pub v4: bool,
    pub tcp: bool,
    /// Insert the IPv4 header's checksum, the transport's.
    pub ip: bool,
    pub transport: bool,
    /// Cut a super-frame: bytes of payload, of header, and of payload per segment.
    pub segments: Option<(usize, usize, u16)>,
}

impl Wanted {
    /// Checksums to insert, as a data descriptor says it.
    pub fn options(&self) -> u32 {
        (if self.ip { OPTION_IP } else { 0 }) | if self.transport { OPTION_TRANSPORT } else { 0 }
    }
}

impl Context {
    pub fn write(&self, at: Descriptor<'_>) {
        let [a, b, c, d] = self.0;
        at.store_u64::<0>((u64::from(a) | u64::from(b) << 32).to_le(), Ordering::Relaxed);
        at.store_u64::<8>((u64::from(c) | u64::from(d) << 32).to_le(), Ordering::Relaxed);
    }
}

/// Writes a data descriptor; `last` ends the frame and asks for a report.
#[inline]
pub(super) fn write_tx(at: Descriptor<'_>, iova: u64, len: u32, plan: &TxPlan, last: bool) {
    let end = if last { END_OF_PACKET | REPORT } else { 0 };
    at.store_u64::<0>(iova.to_le(), Ordering::Relaxed);
    let rest = u64::from(plan.command | end) + u64::from(len) + (u64::from(plan.options) << 32);
    at.store_u64::<8>(rest.to_le(), Ordering::Relaxed);
}

/// Whether the device has reported the descriptor.
#[inline]
pub(super) fn is_sent(at: Descriptor<'_>) -> bool {
    u32::from_le(at.load_u32::<12>(Ordering::Acquire)) & TX_DONE != 0
}

/// Whether a frame goes out as it is.
#[inline]
pub(super) fn is_plain(packet: &Packet) -> bool {
    !packet.flags().intersects(PacketFlags::TX_CSUM_IP4 | PacketFlags::TX_CSUM_PARTIAL | PacketFlags::TX_TSO)
}

/// What the device is to do with a frame; the frame is made ready for it.
///
/// # Errors
/// The status to complete the frame with: what it asks for does not fit it, or is switched off.
pub(super) fn plan<F: Family>(packet: &mut Packet, offloads: Offloads) -> Result<TxPlan, Status> {
    if is_plain(packet) {
        return Ok(F::plain(packet.len()));
    }
    let flags = packet.flags();
    if flags.intersects(PacketFlags::TX_TSO) {
        super_frame::<F>(packet, flags, offloads)
    } else {
        checksums::<F>(packet, flags, offloads)
    }
}

/// What the device cannot be told is done in software.
fn checksums<F: Family>(packet: &mut Packet, flags: PacketFlags, offloads: Offloads) -> Result<TxPlan, Status> {
    let parsed = parse(packet.frame());
    let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let v4 = parsed.family == wire::Family::V4;
    let known = parsed.error.is_none() && !parsed.is_fragment() && l4 != 0;
    let mut wanted = Wanted { l3, l4, stuff: l4, len: packet.len(), v4, ..Wanted::default() };
    let partial = if flags.contains(PacketFlags::TX_CSUM_PARTIAL) {
        Some(packet.partial_csum().ok_or(Status::BadDescriptor)?)
    } else {
        None
    };
    let mut device = None;
    if offloads.contains(Offloads::TX_CSUM) && known {
        wanted.ip = flags.contains(PacketFlags::TX_CSUM_IP4) && v4;
        if let Some(PartialCsum { start, stuff }) = partial {
            let (start, stuff) = (usize::from(start), usize::from(stuff));
            wanted.tcp = parsed.protocol == protocol::TCP && stuff == l4 + tcp::CHECKSUM_OFFSET;
            let udp = parsed.protocol == protocol::UDP && stuff == l4 + udp::CHECKSUM_OFFSET;
            // The device sums to the end of the frame: no padding may stand there.
            wanted.transport = start == l4 && (wanted.tcp || udp) && parsed.end() == packet.len();
            wanted.stuff = if wanted.transport { stuff } else { l4 };
        }
        if wanted.options() != 0 {
            device = F::plan(&wanted);
        }
    }
    let (ip, transport) = if device.is_some() { (wanted.ip, wanted.transport) } else { (false, false) };
    if flags.contains(PacketFlags::TX_CSUM_IP4) && !ip {
        let _ = offload::fill_ipv4_header_of(packet.frame_mut());
    }
    if let (Some(PartialCsum { start, stuff }), false) = (partial, transport)
        && !offload::finish_partial(packet.frame_mut(), start, stuff)
    {
        return Err(Status::BadDescriptor);
    }
    Ok(device.unwrap_or_else(|| F::plain(packet.len())))
}

/// Sections 7.3 (I210: 7.2.4): lengths zero, the IPv4 header checksum zero, the pseudo header's sum without a length.
fn super_frame<F: Family>(packet: &mut Packet, flags: PacketFlags, offloads: Offloads) -> Result<TxPlan, Status> {
    let parsed = parse_super(packet.frame());
    let v6 = flags.contains(PacketFlags::TX_TSO6);
    let (family, switch) = if v6 { (wire::Family::V6, Offloads::TSO6) } else { (wire::Family::V4, Offloads::TSO4) };
    let header = parsed.payload as usize;
    let tcp_segment = parsed.error.is_none() && parsed.flags.contains(ParsedFlags::TCP) && !parsed.is_fragment();
    let mss = packet.mss();
    let payload = packet.len().checked_sub(header).ok_or(Status::BadOffload)?;
    if flags.contains(PacketFlags::TX_TSO)
        || mss == 0
        || !tcp_segment
        || parsed.family != family
        || !offloads.contains(switch)
    {
        return Err(Status::BadOffload);
    }
    let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let wanted = Wanted {
        l3,
        l4,
        stuff: l4 + tcp::CHECKSUM_OFFSET,
        len: packet.len(),
        v4: !v6,
        tcp: true,
        ip: !v6,
        transport: true,
        segments: Some((payload, header, mss)),
    };
    let plan = F::plan(&wanted).ok_or(Status::BadOffload)?;
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
    Ok(plan)
}
