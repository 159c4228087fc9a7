//! TCP segments without data.

use super::{Link, Network, TTL, answer, start};
use crate::wire::checksum::Sum;
use crate::wire::fixed::get;
use crate::wire::offload::pseudo_header;
use crate::wire::parsed::{Family, Parsed, ParsedFlags};
use crate::wire::tcp::{self, HEADER_LEN, TcpHeader, option};
use crate::wire::{fixed, protocol};

/// Largest segment that may be sent over IPv4 to a peer that named none (RFC 9293 section 3.7.1).
pub const MSS_DEFAULT: u16 = 536;
/// The same over IPv6.
pub const MSS_DEFAULT_V6: u16 = 1220;
/// Bytes of the option that names one.
const MSS_LEN: usize = 4;

/// What a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Source address, as in [`Parsed`].
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// The constants of [`crate::wire::tcp`].
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// Maximum segment size option, where there is to be one.
    pub mss: Option<u16>,
    /// Time to live; 0 stands for [`TTL`].
    pub ttl: u8,
}

impl Segment {
    /// The same way as `parsed`: addresses and ports; everything else zero.
    #[must_use]
    pub fn along(parsed: &Parsed) -> Self {
        Self {
            family: parsed.family,
            src: parsed.src,
            dst: parsed.dst,
            src_port: parsed.src_port,
            dst_port: parsed.dst_port,
            seq: 0,
            ack: 0,
            flags: 0,
            window: 0,
            mss: None,
            ttl: 0,
        }
    }

    /// The other way: addresses and ports exchanged; everything else zero.
    #[must_use]
    pub fn against(parsed: &Parsed) -> Self {
        Self {
            src: parsed.dst,
            dst: parsed.src,
            src_port: parsed.dst_port,
            dst_port: parsed.src_port,
            ..Self::along(parsed)
        }
    }

    /// The reset that answers a segment, if one may: from where the segment went, with the sequence number that its
    /// sender takes and an acknowledgement of all that it occupies (RFC 9293 section 3.10.7.1; with ACK in any case, as
    /// pf sends it). `ttl` as in [`Segment::ttl`].
    #[must_use]
    pub fn reset(frame: &[u8], parsed: &Parsed, ttl: u8) -> Option<Self> {
        if !answer::may_reset(parsed) {
            return None;
        }
        let header = TcpHeader::new(frame.get(usize::from(parsed.l4)..)?)?;
        let flags = parsed.tcp_flags;
        let seq = if flags & tcp::ACK == 0 { 0 } else { header.ack() };
        let controls = u32::from(flags & tcp::SYN != 0) + u32::from(flags & tcp::FIN != 0);
        let ack = header.seq().wrapping_add(parsed.payload_len).wrapping_add(controls);
        Some(Self { seq, ack, flags: tcp::RST | tcp::ACK, ttl, ..Self::against(parsed) })
    }
}

/// The maximum segment size that a segment's option names.
#[must_use]
pub fn mss_of(frame: &[u8], parsed: &Parsed) -> Option<u16> {
    if !parsed.flags.contains(ParsedFlags::TCP) {
        return None;
    }
    let header = frame.get(usize::from(parsed.l4)..parsed.payload as usize)?;
    let found = tcp::options(header).find(|found| found.kind == option::MSS && found.len == MSS_LEN)?;
    Some(u16::from_be_bytes(get(found.value(header), 0)))
}

/// Writes a segment to the front of `out` and returns the frame's length. `None` if it does not fit.
#[must_use]
pub fn tcp(link: &Link, segment: &Segment, out: &mut [u8]) -> Option<usize> {
    let len = HEADER_LEN + if segment.mss.is_some() { MSS_LEN } else { 0 };
    let network = Network {
        family: segment.family,
        src: segment.src,
        dst: segment.dst,
        protocol: protocol::TCP,
        tos: 0,
        ttl: if segment.ttl == 0 { TTL } else { segment.ttl },
    };
    let (at, end) = start(link, &network, len, out)?;
    let bytes = out.get_mut(at..end)?;
    if let Some(mss) = segment.mss {
        let [high, low] = mss.to_be_bytes();
        fixed::set(bytes, HEADER_LEN, [option::MSS, MSS_LEN as u8, high, low]);
    }
    let mut header = TcpHeader::new(bytes)?;
    header.set_src_port(segment.src_port);
    header.set_dst_port(segment.dst_port);
    header.set_seq(segment.seq);
    header.set_ack(segment.ack);
    header.set_header_len(len);
    header.set_flags(segment.flags);
    header.set_window(segment.window);
    let described = Parsed {
        family: segment.family,
        src: segment.src,
        dst: segment.dst,
        protocol: protocol::TCP,
        ..Parsed::default()
    };
    let sum = pseudo_header(&described, len)?.plus(Sum::ZERO.add_bytes(out.get(at..end)?)).checksum();
    TcpHeader::new(out.get_mut(at..end)?)?.set_checksum(sum);
    Some(end)
}
