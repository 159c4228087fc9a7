//! TCP segmentation in software, for a far end that does not take super-frames.

use super::checksum::Sum;
use super::ipv4::Ipv4Header;
use super::ipv6::Ipv6Header;
use super::offload::pseudo_header;
use super::parsed::{Family, Parsed, ParsedFlags};
use super::tcp::{self, TcpHeader};

/// How a super-frame is cut. Holds no bytes, so segments can be made in any order and at any time.
///
/// What changes from segment to segment is what hardware changes (Intel 82574 datasheet section 7.3.6, Microsoft's
/// and Linux's definition of TSO): lengths, the IPv4 identification (one more each), the sequence number, CWR only
/// in the first, FIN and PSH only in the last, and the checksums, which are complete in every segment.
#[derive(Clone, Copy, Debug)]
pub struct Segmenter {
    parsed: Parsed,
    header_len: usize,
    payload_len: usize,
    mss: usize,
    segments: usize,
}

impl Segmenter {
    /// Plans the cutting of `frame` into segments of `mss` payload bytes; `parsed` is what
    /// [`super::parse_super`] makes of it. `None` if it is not an unfragmented TCP segment over IP or `mss` is 0.
    #[must_use]
    pub fn new(frame: &[u8], parsed: &Parsed, mss: u16) -> Option<Self> {
        let header_len = parsed.payload as usize;
        let tcp = parsed.flags.contains(ParsedFlags::TCP);
        if !tcp || parsed.is_fragment() || parsed.error.is_some() || mss == 0 {
            return None;
        }
        let payload_len = frame.len().checked_sub(header_len)?;
        let mss = usize::from(mss);
        let segments = payload_len.div_ceil(mss).max(1);
        Some(Self { parsed: *parsed, header_len, payload_len, mss, segments })
    }

    /// How many segments there are; at least 1.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Bytes of the longest segment, headers included.
    #[must_use]
    pub fn segment_max(&self) -> usize {
        self.header_len + self.payload_len.min(self.mss)
    }

    /// Bytes of segment `index`, headers included; `None` if there is no such segment.
    #[must_use]
    pub fn segment_len(&self, index: usize) -> Option<usize> {
        let start = index.checked_mul(self.mss)?;
        if index >= self.segments {
            return None;
        }
        Some(self.header_len + self.payload_len.saturating_sub(start).min(self.mss))
    }

    /// Writes segment `index` of `frame`, the frame that this was made for, to the front of `out` and returns its
    /// length. `None`, and `out` undefined, if there is no such segment or it does not fit.
    #[must_use]
    pub fn write(&self, frame: &[u8], index: usize, out: &mut [u8]) -> Option<usize> {
        let len = self.segment_len(index)?;
        let out = out.get_mut(..len)?;
        let start = self.header_len + index * self.mss;
        let (headers, payload) = out.split_at_mut_checked(self.header_len)?;
        headers.copy_from_slice(frame.get(..self.header_len)?);
        payload.copy_from_slice(frame.get(start..start + payload.len())?);

        let ip = headers.get_mut(usize::from(self.parsed.l3)..)?;
        let ip_len = u16::try_from(len - usize::from(self.parsed.l3)).ok()?;
        match self.parsed.family {
            Family::V4 => {
                let mut ip = Ipv4Header::new(ip)?;
                ip.set_total_len(ip_len);
                ip.set_id(ip.id().wrapping_add(index as u16));
                ip.fill_checksum();
            }
            _ => Ipv6Header::new(ip)?.set_payload_len(ip_len.checked_sub(40)?),
        }

        let l4 = usize::from(self.parsed.l4);
        let mut header = TcpHeader::new(headers.get_mut(l4..)?)?;
        header.set_seq(header.seq().wrapping_add((index * self.mss) as u32));
        let mut flags = header.flags();
        if index > 0 {
            flags &= !tcp::CWR;
        }
        if index + 1 < self.segments {
            flags &= !(tcp::FIN | tcp::PSH);
        }
        header.set_flags(flags);
        header.set_checksum(0);
        let sum = pseudo_header(&self.parsed, len - l4)?.plus(Sum::ZERO.add_bytes(out.get(l4..)?)).checksum();
        TcpHeader::new(out.get_mut(l4..)?)?.set_checksum(sum);
        Some(len)
    }

    /// Writes the length of the whole super-frame, and the IPv4 header checksum that goes with it, into `frame`:
    /// the frame that this was made for, or a copy. False, and no change, if it is too long for the field.
    #[must_use]
    pub fn set_super_lengths(&self, frame: &mut [u8]) -> bool {
        let Some(ip) = frame.get_mut(usize::from(self.parsed.l3)..) else {
            return false;
        };
        let len = u16::try_from(ip.len());
        match self.parsed.family {
            Family::V4 => {
                let (Ok(len), Some(mut ip)) = (len, Ipv4Header::new(ip)) else {
                    return false;
                };
                ip.set_total_len(len);
                ip.fill_checksum();
            }
            _ => {
                let len = u16::try_from(ip.len().saturating_sub(40));
                let (Ok(len), Some(mut ip)) = (len, Ipv6Header::new(ip)) else {
                    return false;
                };
                ip.set_payload_len(len);
            }
        }
        true
    }
}
